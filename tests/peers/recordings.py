"""What real servers answered to all dialogues; and the same dialogues played at these answers, without the servers.

A recording is what each want of a conversation was answered. So it needs neither a socket nor a clock, and comes to
the same verdict every time. To make them anew, where all peers are: python -m tests.peers.recordings [NAME…]
"""
from __future__ import annotations

import base64
import json
import re
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from zlib import crc32

from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.server.runner import FAILED, Outcome, Target, play
from smtp_from_scratch.conformance.server.scout import explore
from smtp_from_scratch.conformance.values import Values
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import FLUSH, Conversation, Disconnected, Timeout, Want
from smtp_from_scratch.transcript import Said
from smtp_from_scratch.wire import WireError
from tests.peers import NAMES, Peer, missing, running
from tests.peers.conformity import dialogues, differences, everywhere, name_of, once_more, prepared

FOLDER = Path(__file__).with_name("recordings")
NONCE = "rOprNGfwEbeRWgbNEkqO"                  # the client's, of SCRAM: a recording answers to this one
DATE = "Mon, 30 Nov 2026 12:00:00 -0000"         # a letter's, for the same reason
LOOK = "the look before"                        # the sessions of `explore`, in their order
ALONE = "alone"                                 # the port "smtp", with its address and no option
STALE = "stale"                                 # the status of a dialogue that was not recorded as it is now
RAISED = {"Timeout": Timeout, "Disconnected": Disconnected, "WireError": WireError, "OSError": OSError}


class Stale(Exception):
    """What is said now was not said when the server was recorded."""


@dataclass
class Session:
    """What one connection was answered: lines, `!Timeout` and the like, `!TLS`; and a digest of what was said to it."""

    notes: list[str] = field(default_factory=list)
    digest: int | None = None                   # None: not known yet


class Tape:
    """The sessions of a server, by dialogue; those of LOOK one after another."""

    def __init__(self) -> None:
        self.sessions: dict[str, list[Session]] = {}
        self.looked = 0

    def begin(self, name: str) -> Session:
        """A new session, in place of what was noted before."""
        before = self.sessions.get(LOOK, []) if name == LOOK else []
        self.sessions[name] = [*before, Session()]
        return self.sessions[name][-1]

    def find(self, name: str) -> Session:
        """A session that was noted; raises Stale."""
        sessions = self.sessions.get(name, [])
        number = self.looked if name == LOOK else 0
        self.looked += name == LOOK
        if number >= len(sessions):
            raise Stale("it was not recorded")
        return sessions[number]


@dataclass
class Taped(Target):
    """A server with a tape; `session` says what is played now."""

    tape: Tape = field(default_factory=Tape)
    session: str = LOOK

    @classmethod
    def of(cls, target: Target, tape: Tape) -> Taped:
        """The same server, with this tape."""
        return cls(**{one.name: getattr(target, one.name) for one in fields(target)}, tape=tape)

    def values(self) -> Values:
        return Values(super().values().names | {"nonce": NONCE, "header": f"From: <{self.sender}>\r\nDate: {DATE}\r\n"})

    def play(self, dialogue: Dialogue) -> Outcome:
        """A dialogue, in a session of its own."""
        return play(dialogue, replace(self, session=name_of(dialogue)))


# --- recording -------------------------------------------------------------------------------------------------------


@dataclass
class Notebook:
    """A connection, and what the wants of conversations on it were answered."""

    connection: Connection
    notes: list[str]

    def play(self, conversation: Conversation[Any]) -> Any:
        return self.connection.play(self.noting(conversation))

    def noting(self, conversation: Conversation[Any]) -> Conversation[Any]:
        """The same conversation; an answer is noted as it is given."""
        octets, answer, error = 0, None, None
        while True:
            try:
                said: Any = conversation.throw(error) if error else conversation.send(answer)
            except StopIteration as end:
                return end.value
            octets += len(said) if isinstance(said, bytes) else 0
            answer = error = None
            try:
                answer = yield said
            except Exception as raised:
                error = raised
                what = next(name for name, kind in RAISED.items() if isinstance(error, kind))
                what += f" {error}" if isinstance(error, WireError) else ""
                self.notes.append(f"!{octets} {what}" if isinstance(said, bytes) else f"!{what}")
            else:
                if isinstance(said, Want) and said is not FLUSH:
                    self.notes.append(answer.decode("latin-1") if isinstance(answer, bytes) else "!TLS")


class Recording(Taped):
    """A server that runs."""

    @contextmanager
    def line(self, tap: Callable[[Said], None] | None = None) -> Iterator[Any]:
        session = self.tape.begin(self.session)
        with super().line(tap) as connection:
            yield Notebook(connection, session.notes)


# --- playing at a recording ------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """In place of a connection: wants are answered by notes, in their order."""

    notes: list[str]
    tap: Callable[[Said], None]
    digest: int = 0                             # of what was said
    octets: int = 0

    def play(self, conversation: Conversation[Any]) -> Any:
        answer = error = None
        while True:
            try:
                said: Any = conversation.throw(error) if error else conversation.send(answer)
            except StopIteration as end:
                return end.value
            answer, error = self.to(said)

    def to(self, said: Any) -> tuple[bytes | None, Exception | None]:
        """The answer to a want, or what is raised in its place; while octets are said, the line may break."""
        if isinstance(said, bytes):
            self.tap(Said(0.0, "C", said))
            self.octets, self.digest = self.octets + len(said), crc32(said, self.digest)
        if said is FLUSH or isinstance(said, bytes) and not (
                self.notes and self.notes[0].startswith(f"!{self.octets} ")):
            return None, None
        if not self.notes:
            raise Stale("it wants more answers than it was given then")
        note = self.notes.pop(0)
        if note.startswith("!"):
            name, _, text = note.lstrip("!0123456789 ").partition(" ")
            return None, RAISED[name](text) if name in RAISED else None
        self.tap(Said(0.0, "S", note.encode("latin-1") + b"\r\n"))
        return note.encode("latin-1"), None


class Replaying(Taped):
    """A server that is not here: it answers as it did."""

    def gone(self) -> str:
        """It was there."""
        return ""

    @contextmanager
    def line(self, tap: Callable[[Said], None] | None = None) -> Iterator[Any]:
        session = self.tape.find(self.session)
        answers = Answers(list(session.notes), tap or (lambda said: None))
        try:
            yield answers
        finally:
            if session.digest is None:
                session.digest = answers.digest
            if not answers.notes and answers.digest != session.digest:
                raise Stale("it says something else than it did then")

    def play(self, dialogue: Dialogue) -> Outcome:
        try:
            return super().play(dialogue)
        except Stale as error:
            return Outcome(dialogue, STALE, str(error))


# --- a whole run -----------------------------------------------------------------------------------------------------


def examined(make: Callable[[str], Taped], roles: Iterable[str], name: str) -> tuple[list[Outcome], list[Outcome]]:
    """What comes of all dialogues with all options, at all ports; and with nothing but the address."""
    def playing(target: Any, wanted: Iterable[Dialogue]) -> Iterable[Outcome]:
        with ThreadPoolExecutor(12) as pool:
            return list(pool.map(target.play, wanted))

    targets = [make(role) for role in roles]
    for target in targets:
        explore(target)
    alone = make(ALONE)
    explore(alone, recipient_given=False)
    return (once_more(everywhere(targets, dialogues(), playing), name, playing),
            once_more(everywhere([alone], dialogues(), playing), name, playing))


def described(role: str, **more: Any) -> Target:
    """A port of a peer as `check` is told of it."""
    return Target("127.0.0.1", moment=0.2, **({"patience": 3.0} | more)) if role == ALONE else prepared(role, **more)


def record(peer: Peer) -> tuple[dict[str, Tape], list[str]]:
    """Its tapes by role, and what is wrong with them: new differences, verdicts that tapes do not come to."""
    tapes = {role: Tape() for role in (*peer.ports, ALONE)}
    context = ssl.create_default_context(cafile=peer.ca_file)

    def connected(role: str) -> Taped:
        known = {} if role == ALONE else {"context": context}
        return Recording.of(described(role, port=peer.ports.get(role, peer.port), **known), tapes[role])

    live = examined(connected, peer.ports, peer.name)
    scrub(tapes)
    pairs = [pair for here, there in zip(live, replayed(tapes, peer.name), strict=True)
             for pair in zip(here, there, strict=True)]
    return tapes, [f"{name_of(here.dialogue)}: {here.status} ({here.reason}), on tape {there.status} ({there.reason})"
                   for here, there in pairs if here.status != there.status or (
                       here.status == FAILED and name_of(here.dialogue) not in differences()[peer.name])]


def replayed(tapes: dict[str, Tape], name: str) -> tuple[list[Outcome], list[Outcome]]:
    """What comes of all dialogues at tapes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return examined(lambda role: Replaying.of(described(role, port=0, context=context), tapes[role]),
                    [role for role in tapes if role != ALONE], name)



# --- files -----------------------------------------------------------------------------------------------------------

NAMELESS = [(re.compile(pattern), put) for pattern, put in (     # what differs from run to run
    (r"queued as [0-9A-F]+", "queued as -"), (r" id=\S+", " id=-"), (r"2\.0\.0 [0-9a-f]{8} ", "2.0.0 - "),
    (r"\w{3}, \d+ \w{3} \d{4} [\d:]+ [+-]\d{4}", "-"))]


def scrub(tapes: dict[str, Tape]) -> None:
    """Take names of queue files, times and process numbers out of what was noted."""
    numbers: dict[str, int] = {}
    for session in (session for tape in tapes.values() for sessions in tape.sessions.values() for session in sessions):
        session.notes[:] = [scrubbed(note, numbers) for note in session.notes]


def scrubbed(note: str, numbers: dict[str, int]) -> str:
    """A line without them; challenges of CRAM-MD5 that differed do so still."""
    for pattern, put in NAMELESS:
        note = pattern.sub(put, note)
    if note.startswith("334 ") and re.fullmatch(rb"<.*@.*>", challenge := base64.b64decode(note[4:])):
        host = challenge.rpartition(b"@")[2]
        note = "334 " + base64.b64encode(b"<%d@%b" % (numbers.setdefault(note, len(numbers) + 1), host)).decode()
    return note


def store(name: str, version: str, tapes: dict[str, Tape]) -> None:
    """Write a peer's file: its replies, each once, and for each session their numbers."""
    replies: dict[str, int] = {}

    def row(sessions: Iterable[Session]) -> str:
        return "; ".join(" ".join([f"{session.digest or 0:08x}", *folded(
            replies.setdefault(reply, len(replies)) for reply in whole(session.notes))]) for session in sessions)

    ports = {role: {title: row(sessions) for title, sessions in tape.sessions.items()} for role, tape in tapes.items()}
    ports[ALONE] = {title: told for title, told in ports[ALONE].items() if told != ports["smtp"].get(title)}
    (FOLDER / f"{name}.json").write_text(json.dumps(
        {"version": version, "replies": list(replies), "ports": ports}, indent=0, ensure_ascii=False) + "\n", "utf-8")


def whole(notes: Iterable[str]) -> list[str]:
    """Lines as replies: what follows `250-` belongs to it."""
    replies, goes_on = [""], True
    for note in notes:
        if goes_on:
            replies[-1] += note if not replies[-1] else f"\n{note}"
        else:
            replies.append(note)
        goes_on = note[:3].isdigit() and note[3:4] == "-"
    return list(filter(None, replies))


def folded(numbers: Iterable[int]) -> Iterator[str]:
    """`3*40` in place of forty times 3."""
    for number, same in groupby(numbers):
        times = len(list(same))
        yield f"{number}*{times}" if times > 1 else str(number)


def load(name: str) -> tuple[str, dict[str, Tape]]:
    """A peer's version, and its tapes by role."""
    data = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    replies = [reply.split("\n") for reply in data["replies"]]

    def session(row: str) -> Session:
        digest, *words = row.split()
        notes: list[str] = []
        for number, _, times in (word.partition("*") for word in words):
            notes += replies[int(number)] * int(times or 1)
        return Session(notes, int(digest, 16))

    tapes = {role: Tape() for role in data["ports"]}
    for role, tape in tapes.items():
        rows = (data["ports"]["smtp"] if role == ALONE else {}) | data["ports"][role]
        tape.sessions = {title: list(map(session, row.split("; "))) for title, row in rows.items()}
    return data["version"], tapes


def main(names: list[str]) -> int:
    """Make recordings; none where a peer differs as nobody has settled yet, or its tapes come to another verdict."""
    wrong = 0
    for name in names or NAMES:
        if reason := missing(name):
            print(f"{name} is not here: {reason}", file=sys.stderr)
            wrong += 1
            continue
        with running(name) as peer:
            tapes, odd = record(peer)
        wrong += bool(odd)
        print(f"{name} {peer.version}", *(odd or ["recorded"]), sep="\n    ")
        if not odd:
            store(name, peer.version, tapes)
    return min(wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

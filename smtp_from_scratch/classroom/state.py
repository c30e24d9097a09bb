"""What a room knows: who is there, what their sessions have shown, the letters, the task in hand. All bounded."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import IO, Any

from smtp_from_scratch.dialogue import Dialogue
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.inbox.letters import Entry
from smtp_from_scratch.smtp import ReceivedMessage
from smtp_from_scratch.transcript import Said
from smtp_from_scratch.wire import Reply

MAX_LEARNERS, MAX_LETTERS, MAX_OCTETS = 200, 50, 1_000_000      # people; for each of them; octets of a letter
MAX_TOTAL = 200_000_000                        # octets of all letters
STAGES = ("a mailbox", "said hello", "MAIL", "RCPT", "the body", "a letter", "in one flight")
SEEN = {"HELO": 1, "EHLO": 1, "MAIL": 2, "RCPT": 3, "DATA": 4, "BDAT": 4}


@dataclass(frozen=True, slots=True)
class Task:
    """What an instructor can ask the room for; `done` looks at a letter's envelope and at what its session showed."""

    words: str
    done: Callable[[Envelope, set[str]], bool]


TASKS = {
    "letter": Task("Send a letter to anybody in this room", lambda envelope, shown: True),
    "two": Task("Send one letter to two neighbors", lambda envelope, shown: len(envelope.recipients) > 1),
    "flight": Task("Say MAIL, RCPT and DATA in one flight", lambda envelope, shown: "PIPELINING" in shown),
    "chunk": Task("Send a letter by BDAT", lambda envelope, shown: "CHUNKING" in shown),
    "size": Task("Say how large your letter is before you send it", lambda envelope, shown: "SIZE" in shown),
    "eight": Task("Send an ü in eight bits, and announce it", lambda envelope, shown: "8BITMIME" in shown),
    "utf8": Task("Write to 用户@class.example", lambda envelope, shown: "SMTPUTF8" in shown),
    "report": Task("Ask to be told what becomes of a letter", lambda envelope, shown: "DSN" in shown),
    "sealed": Task("Send a letter under TLS", lambda envelope, shown: "STARTTLS" in shown),
    "known": Task("Log in first, with any password that is none of yours", lambda envelope, shown: "AUTH" in shown),
}


@dataclass(slots=True)
class Learner:
    """Somebody in the room, by the name that they have chosen."""

    name: str
    stage: int = 0
    shown: set[str] = field(default_factory=set)               # extensions that their letters have made use of
    sent: int = 0
    done: set[str] = field(default_factory=set)                # tasks
    progress: dict[str, tuple[int, int]] = field(default_factory=dict)     # by chapter: checks passed, of how many
    letters: deque[Entry] = field(default_factory=lambda: deque(maxlen=MAX_LETTERS))
    dialogue: Dialogue | None = None                           # of their latest session

    def row(self, task: str) -> dict[str, Any]:
        """What the page shows."""
        return {"name": self.name, "stage": STAGES[self.stage], "shown": sorted(self.shown), "sent": self.sent,
                "received": len(self.letters), "done": task in self.done if task else None,
                "progress": {chapter: list(pair) for chapter, pair in sorted(self.progress.items())}}


def called(name: str) -> str:
    """How the room calls somebody of this name: as far as it can be shown."""
    return "".join(c for c in name if c.isprintable()).lower()[:40]


def name_in(address: str) -> str:
    """How the room calls whoever has this address: by what is before the @."""
    return called(address.rpartition("@")[0] or address)


def shown_by(envelope: Envelope, rows: list[dict[str, str]]) -> set[str]:
    """The extensions that a session has made use of, from its envelope and from what was said."""
    body = (envelope.parameters.get("BODY") or "").upper()
    found: set[str] = {name for name in ("SIZE", "SMTPUTF8") if name in envelope.parameters}
    found |= {body} if body in ("8BITMIME", "BINARYMIME") else set()
    wishes = [envelope.parameters, *envelope.options.values()]
    found |= {"DSN"} if any(name in wish for wish in wishes for name in ("RET", "ENVID", "NOTIFY", "ORCPT")) else set()
    found |= {"STARTTLS"} if re.match("(ESMTP|UTF8SMTP)S", envelope.protocol) else set()
    found |= {"AUTH"} if envelope.user else set()
    commands = [row for row in rows if row["kind"] in ("command", "reply")]
    found |= {"CHUNKING"} if any(row["text"].upper().startswith("BDAT ") for row in commands) else set()
    together = zip(commands, commands[1:], strict=False)
    found |= {"PIPELINING"} if any(one["role"] == two["role"] == "C" for one, two in together) else set()
    return found


def forget_oldest(learners: Collection[Learner]) -> None:
    """Keep at most `MAX_TOTAL` octets of their letters."""
    entries = {entry.number: entry for learner in learners for entry in learner.letters}
    octets = sum(len(entry.mail.data) for entry in entries.values())
    for number in sorted(entries):
        if octets <= MAX_TOTAL:
            break
        octets -= len(entries[number].mail.data)
        for learner in learners:               # whose oldest letter it is, if it is theirs
            while learner.letters and learner.letters[0].number == number:
                learner.letters.popleft()


class Board:
    """Everybody in the room, the task in hand, and what pages are told of both."""

    def __init__(self) -> None:
        self.learners: dict[str, Learner] = {}
        self.task, self.numbers = "", 0
        self.changed = threading.Condition()
        self.version = 0                       # counts changes, for pages that are kept up to date

    def note_change(self) -> None:
        """Tell the pages; the lock is held."""
        self.version += 1
        self.changed.notify_all()

    def learner(self, name: str) -> Learner | None:
        """Somebody of this name, who may be new; None when the room is full, or for no name. The lock is held."""
        if name and name not in self.learners and len(self.learners) < MAX_LEARNERS:
            self.learners[name] = Learner(name)
        return self.learners.get(name)

    def set_task(self, name: str) -> None:
        """Ask the room for something, or, with "", for nothing; raises KeyError."""
        with self.changed:
            if name and name not in TASKS:
                raise KeyError(name)
            self.task = name
            self.note_change()

    def tell(self, name: str, chapter: str, passed: int, of: int) -> bool:
        """Somebody tells the room how far they are in a chapter; whether there was a place for that."""
        with self.changed:
            learner = self.learner(called(name))
            full = learner is None or (chapter not in learner.progress and len(learner.progress) >= 50)
            if learner and not full:
                learner.progress[chapter] = (passed, of)
                self.note_change()
            return not full

    def shown(self) -> dict[str, Any]:
        """All that the page shows, in the order of arrival."""
        with self.changed:
            task = {"name": self.task, "words": TASKS[self.task].words} if self.task else None
            return {"version": self.version, "task": task,
                    "learners": [learner.row(self.task) for learner in self.learners.values()]}

    def wait(self, version: int, seconds: float) -> bool:
        """Wait until something is newer than `version`; whether it is."""
        with self.changed:
            return self.changed.wait_for(lambda: self.version > version, seconds)


class Room(Board):
    """A room with its mail: a `deliver`, a policy for senders, and a tap; a thread is a session."""

    def __init__(self) -> None:
        super().__init__()
        self._session, self._unheard = threading.local(), Dialogue()

    def tap(self, said: Said) -> None:
        """Note what was said in this thread's session, and how far its learner has come."""
        session = self._session
        if not hasattr(session, "dialogue"):
            session.dialogue, session.stage, session.learner = Dialogue(), 0, None
        before = len(session.dialogue.rows)
        session.dialogue.feed(said)
        for row in session.dialogue.rows[before:]:
            if row["kind"] == "command":
                session.stage = max(session.stage, SEEN.get(row["text"][:4].upper(), 0))
        if session.learner and session.learner.stage < session.stage:
            with self.changed:
                session.learner.stage = session.stage
                self.note_change()

    def accept_sender(self, address: str, envelope: Envelope) -> Reply | None:
        """MAIL says who is there; the null path is nobody."""
        with self.changed:
            learner = self.learner(name_in(address))
            if learner is None:
                return Reply(452, "the room is full", "4.3.1") if address else None
            self._session.learner, learner.dialogue = learner, self._session.dialogue
            self.note_change()
        return None

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Reply:
        """A letter: into the mailbox of everybody it is for, and what it shows into the account of who sent it."""
        mail, learner = ReceivedMessage(envelope, body.read(MAX_OCTETS)), getattr(self._session, "learner", None)
        with self.changed:
            boxes = [self.learner(name_in(recipient)) for recipient in envelope.recipients]
            if None in boxes:
                return Reply(452, "the room is full", "4.3.1")
            self.numbers += 1
            entry = Entry(self.numbers, "", mail, self._unheard)       # a room shows whole sessions, by learner
            for box in filter(None, boxes):
                box.letters.append(entry)
            forget_oldest(self.learners.values())
            if learner:
                shown = shown_by(envelope, self._session.dialogue.rows)
                learner.shown |= shown
                learner.sent += 1
                learner.stage = max(learner.stage, 6 if "PIPELINING" in shown else 5)
                if self.task and TASKS[self.task].done(envelope, shown):
                    learner.done.add(self.task)
            self.note_change()
        return Reply(250, f"in {len(boxes)} mailbox{'es' if len(boxes) > 1 else ''} of this room", "2.1.5")

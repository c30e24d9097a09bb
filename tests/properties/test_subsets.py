"""Any extensions on one side, any on the other: each letter arrives intact, or is refused for a reason that is stated.

A case is two ends and a few letters. What must become of each letter is worked out here from what both ends have
(`no_session`, `closed_door`, `missing`, `too_large`), and compared with what the server kept and with what the client
was told. What fails is made small before it is shown.
"""
from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from reprlib import Repr
from typing import Any
from unittest.mock import patch

import pytest

from smtp_from_scratch import Reply, chunking
from smtp_from_scratch import session as rules
from smtp_from_scratch.client import Receipt, SMTPException, SMTPNotSupportedError
from smtp_from_scratch.conversation import Conversation, rehearse
from smtp_from_scratch.dsn import request
from smtp_from_scratch.ehlo import ExtensionSet
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import outgoing
from smtp_from_scratch.sasl import SMTPAuthenticationError
from smtp_from_scratch.session import Limits, Session, serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.smtp.sets import KEYWORDS
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import Plan, leave, open_session
from tests.ours import PASSWORD, TLS, USER, USERS

LIMIT = 4000                                    # octets of a letter
LINES = ("plain", "", ".", "..", ".hidden", "QUIT", "BDAT 9", " ", "x" * 1500, "São Paulo", "\xff in Latin-1")


SHORT = Repr()
SHORT.maxstring, SHORT.maxother, SHORT.maxtuple, SHORT.maxlevel = 40, 2000, 20, 9


class Plain:
    """A value that shows what is unusual about it."""

    def __repr__(self) -> str:
        unusual = [f for f in fields(self) if f.repr and getattr(self, f.name) != f.default]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{f.name}={SHORT.repr(getattr(self, f.name))}' for f in unusual)})"


@dataclass(frozen=True, repr=False)
class End(Plain):
    """One end: the extensions that it goes without, and how strict it is."""

    without: tuple[str, ...] = ()
    of_1982: bool = False                       # knows no EHLO; such a client never says it
    requires_tls: bool = False
    requires_auth: bool = False                 # of a server
    insecure: bool = False                      # AUTH in the clear, too
    eager: bool = False                         # of a client

    def server(self) -> list[Any]:
        return server_extensions(tls=TLS.server, users=USERS, insecure_auth=self.insecure,
                                 require_tls=self.requires_tls and "STARTTLS" not in self.without,
                                 require_auth=self.requires_auth and "AUTH" not in self.without, without=self.without)

    def client(self) -> list[Any]:
        secret = {} if "AUTH" in self.without else {"user": USER, "password": PASSWORD}
        return client_extensions(tls=TLS.client, require_tls=self.requires_tls and "STARTTLS" not in self.without,
                                 insecure_auth=self.insecure, eager=self.eager, without=self.without, **secret)


@dataclass(frozen=True, repr=False)
class Note(Plain):
    """A letter to send."""

    lines: tuple[str, ...] = ("plain",)
    recipients: tuple[str, ...] = ("kenji",)    # names; who begins with "no" or "later" is refused
    sender: str = "ana"
    newline: str = "\r\n"
    ended: bool = True                          # its last line is
    header: str = "Subject: hello"
    binary: bool = False
    form: str = "bytes"                         # or "file", "blocks"
    wish: str = ""                              # of RFC 3461

    def octets(self) -> bytes:
        text = self.newline.join([self.header, "", "", *self.lines]) + self.newline * self.ended
        octets = b"".join(b"\xff" if c == "\xff" else c.encode() for c in text)
        return octets + bytes(range(256)) if self.binary else octets

    def arrives(self) -> bytes:
        """What must be delivered: line ends CR LF, the last line ended; a binary letter as it is."""
        if self.binary:
            return self.octets()
        octets = re.sub(rb"\r\n|\r|\n", b"\r\n", self.octets())
        return octets if octets.endswith(b"\r\n") else octets + b"\r\n"

    def envelope(self) -> Envelope:
        envelope = Envelope(f"{self.sender}@rio.example", self.addresses())
        return request(envelope, ret=self.wish, notify="NEVER" if self.wish else "")

    def addresses(self) -> list[str]:
        return [f"{name}@tokyo.example" for name in dict.fromkeys(self.recipients)]

    def body(self) -> Any:
        octets = self.octets()
        pieces = [octets[:7], octets[7:300], octets[300:]]
        return {"bytes": octets, "file": io.BytesIO(octets), "blocks": iter(pieces)}[self.form]


@dataclass(frozen=True, repr=False)
class Case(Plain):
    client: End
    server: End
    notes: tuple[Note, ...]
    cut: int = 0                                # seed of the pieces in which all arrives; 0: uncut
    common: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "common", self.ours() & self.theirs())

    def ours(self) -> frozenset[str]:
        """What the client has."""
        return frozenset() if self.client.of_1982 else frozenset(e.keyword for e in self.client.client())

    def theirs(self) -> frozenset[str]:
        """What the server has."""
        return frozenset() if self.server.of_1982 else frozenset(e.keyword for e in self.server.server())

    @property
    def secure(self) -> bool:
        return "STARTTLS" in self.common

    @property
    def known(self) -> bool:
        """The client has proved who it is."""
        clear = self.client.insecure and self.server.insecure and not (
            self.server.requires_tls and "STARTTLS" in self.theirs())
        return "AUTH" in self.common and (self.secure or clear)

    def no_session(self) -> bool:
        """Whether the client must find the server unfit for any letter."""
        tls_missing = "STARTTLS" in self.ours() and self.client.requires_tls and not self.secure
        return tls_missing or ("AUTH" in self.ours() and not self.known)

    def closed_door(self) -> bool:
        """Whether the server takes no letter of this client."""
        return ("STARTTLS" in self.theirs() and self.server.requires_tls and not self.secure) or (
            "AUTH" in self.theirs() and self.server.requires_auth and not self.known)

    def missing(self, note: Note) -> set[str]:
        """What a letter needs that is not there: then nothing of it may be said."""
        octets, needs = note.octets(), set()
        if not all(name.isascii() for name in (note.sender, *note.recipients)) or not note.header.isascii():
            needs.add("SMTPUTF8")
        if note.binary:
            needs.add("BINARYMIME")
        elif not octets.isascii():
            needs.add("8BITMIME")
        return needs - self.common

    def too_large(self, note: Note) -> bool:
        return len(note.arrives()) > LIMIT


def accept_recipient(address: str, envelope: Envelope) -> Reply | None:
    if address.startswith("no"):
        return Reply(550, "nobody of that name")
    return Reply(450, "not now") if address.startswith("later") else None


Outcomes = list[Receipt | Exception]


def correspond(client: CodedClientSession, notes: tuple[Note, ...]) -> Conversation[Outcomes | Exception]:
    """Offer every letter; returns what became of each, or why there was no session."""
    outcomes: Outcomes = []
    try:
        yield from open_session(client)
    except (SMTPNotSupportedError, SMTPAuthenticationError) as reason:
        return reason
    for note in notes:
        try:
            plan = Plan(client, outgoing(note.envelope(), note.body(), eight_bit=client.uses("8BITMIME"),
                                         binary=note.binary))
        except SMTPNotSupportedError as reason:
            outcomes.append(reason)
            continue
        outcomes.append(plan.receipt)
        yield from plan.run()
    yield from leave(client)
    return outcomes


class Cutter:
    """Cuts a flight in random places."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def __call__(self, flight: bytes) -> Iterator[bytes]:
        places = sorted(self.random.randrange(len(flight) + 1) for _ in range(self.random.choice((0, 1, 3, 20))))
        for start, end in zip([0, *places], [*places, len(flight)], strict=True):
            if start < end:
                yield flight[start:end]


def played(case: Case) -> tuple[Any, list[tuple[Envelope, bytes]]]:
    """What the client was told, and what the server kept."""
    kept: list[tuple[Envelope, bytes]] = []
    settings: dict[str, Any] = {"deliver": lambda envelope, body: kept.append((envelope, body.read())),
                                "accept_recipient": accept_recipient, "limits": Limits(max_size=LIMIT)}
    if case.server.of_1982:
        server = serve(Session("mx.example.org", **settings))
    else:
        server = serve(CodedSession("mx.example.org", extensions=ExtensionSet(case.server.server()), **settings))
    client = CodedClientSession("rio.example", () if case.client.of_1982 else tuple(case.client.client()),
                                "mx.example.org")
    with patch.object(chunking, "CHUNK", 700), patch.object(chunking, "EAGER", 900):
        show = rehearse(correspond(client, case.notes), server, cut=Cutter(case.cut) if case.cut else None)
    return show.client, kept


def case(seed: int) -> Case:
    """A case by lot: about a quarter of all extensions is missing at either end."""
    lot = random.Random(seed)

    def once_in(parts: int) -> bool:
        return lot.randrange(parts) == 0

    def end(**more: bool) -> End:
        without = tuple(keyword for keyword in KEYWORDS if once_in(4))
        return End(without, once_in(20), once_in(4), insecure=once_in(2), **more)

    def note() -> Note:
        abroad = once_in(3)
        names = ("josé", "noé", "kenji") if abroad else ("kenji", "yui", "li", "nobody", "later")
        return Note(tuple(lot.choices(LINES, k=lot.randrange(6))), tuple(lot.choices(names, k=lot.randint(1, 4))),
                    "josé" if abroad and once_in(2) else "ana", lot.choice(("\r\n", "\n", "\r")), once_in(2),
                    "Subject: olá" if abroad and once_in(2) else "Subject: hello", once_in(5),
                    "bytes" if abroad else lot.choice(("bytes", "file", "blocks")), lot.choice(("", "HDRS", "FULL")))

    return Case(end(eager=once_in(2)), end(requires_auth=once_in(4)), tuple(note() for _ in range(lot.randint(1, 5))),
                lot.randrange(3) and seed)


def simpler(case: Case) -> Iterator[Case]:
    """The same case with one thing less to look at."""
    for n, note in enumerate(case.notes):
        for less in (*without_one(note, "lines"), *without_one(note, "recipients"), *plainer(note)):
            yield replace(case, notes=(*case.notes[:n], less, *case.notes[n + 1 :]))
        if len(case.notes) > 1:
            yield replace(case, notes=case.notes[:n] + case.notes[n + 1 :])
    for name in ("client", "server"):
        end = getattr(case, name)
        for less in (*without_one(end, "without"), *plainer(end)):
            yield replace(case, **{name: less})
    yield replace(case, cut=0)


def without_one(thing: Any, name: str) -> Iterator[Any]:
    whole = getattr(thing, name)
    for n in range(len(whole)) if len(whole) > (name == "recipients") else ():
        yield replace(thing, **{name: whole[:n] + whole[n + 1 :]})


def plainer(thing: Any) -> Iterator[Any]:
    """With one field as it usually is."""
    for f in fields(thing):
        yield replace(thing, **{f.name: f.default})


def smallest(case: Case) -> Case:
    """A small case that fails as well."""
    smaller: Case | None = case
    while smaller:
        size = len(repr(smaller))
        case, smaller = smaller, next((c for c in simpler(smaller) if len(repr(c)) < size and failure(c)), None)
    return case


def failure(case: Case) -> str:
    try:
        judge(case)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


PAIRS = 1000


def test_any_two_ends_understand_each_other() -> None:
    pairs = set()
    for seed in range(PAIRS):
        if failure(case(seed)):
            small = smallest(case(seed))
            pytest.fail(f"{failure(small)}\n\n{small}\n\n(case {seed}, made smaller)", pytrace=False)
        pairs.add((case(seed).ours(), case(seed).theirs()))
    assert len(pairs) > 800


def test_a_failure_is_made_small() -> None:
    """This file's own arithmetic is tried, too: a server that loses its last recipient is found, and shown plainly."""
    def forgetful(session: Any, spool: Any, whole: Any = rules.finish) -> Any:
        del session.envelope.recipients[1:]
        return whole(session, spool)

    with patch.object(rules, "finish", forgetful):
        found = next(filter(failure, map(case, range(PAIRS))))
        small = smallest(found)
    assert len(small.notes) == 1 and len(small.notes[0].recipients) == 2, small
    assert not small.cut and str(small).count("=") < 8, small


def judge(case: Case) -> None:
    """Play a case, and compare. Raises AssertionError."""
    outcomes, kept = played(case)
    if case.no_session():
        assert isinstance(outcomes, SMTPException) and str(outcomes) and not kept
        return
    assert isinstance(outcomes, list) and len(outcomes) == len(case.notes)
    delivered = iter(kept)
    for note, outcome in zip(case.notes, outcomes, strict=True):
        missing, known_size = case.missing(note), "SIZE" in case.common
        if isinstance(outcome, Exception):
            assert missing or (known_size and case.too_large(note)), f"{note} could have been sent: {outcome}"
            assert all(word in str(outcome) for word in missing) or str(LIMIT) in str(outcome)
            continue
        assert not missing, f"{note} was sent without {missing}"
        wanted = [a for a in note.addresses() if not a.startswith(("no", "later"))]
        wanted = wanted if not case.closed_door() and not case.too_large(note) else []
        assert outcome.done and outcome.accepted == wanted, f"{note}: {outcome}"
        assert {*outcome.accepted, *outcome.refused} == set(note.addresses())
        assert not any(reply.positive for reply in outcome.refused.values())
        if case.common >= {"ENHANCEDSTATUSCODES"}:
            assert all(reply.enhanced for reply in outcome.recipients.values())
        if wanted:
            envelope, octets = next(delivered)
            assert octets == note.arrives()
            assert (envelope.sender, envelope.recipients) == (f"{note.sender}@rio.example", wanted)
            assert envelope.parameters.get("RET") == (note.wish if note.wish and "DSN" in case.common else None)
            assert envelope.protocol == protocol(case, note)
    assert not list(delivered), "somebody got a letter of which the client knows nothing"


def protocol(case: Case, note: Note) -> str:
    """What `with` in Received must say."""
    if case.server.of_1982:
        return "SMTP"
    international = not all(name.isascii() for name in (note.sender, *note.recipients)) or not note.header.isascii()
    return ("UTF8SMTP" if international else "ESMTP") + "S" * case.secure + "A" * case.known


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("alone", ["client", "server"])
def test_one_end_goes_without_one(keyword: str, alone: str) -> None:
    """Each extension missing at one end, with all the rest there (AUTH on the server's side): a letter arrives."""
    lacking, other = End(("AUTH", keyword)), End(("AUTH",))
    case = Case(*((lacking, other) if alone == "client" else (other, lacking)), (Note(), Note(("one", ".", "two"))))
    outcomes, kept = played(case)
    assert [octets for _, octets in kept] == [note.arrives() for note in case.notes], outcomes


def test_a_user_wants_to_be_asked() -> None:
    """A client with a password sends nothing to a server that does not ask for it, or asks in the clear."""
    for server in (End(("AUTH",)), End(("STARTTLS",)), End(of_1982=True)):
        outcomes, kept = played(Case(End(), server, (Note(),)))
        assert isinstance(outcomes, SMTPNotSupportedError) and not kept

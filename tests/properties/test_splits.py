"""TCP cuts octets wherever it likes: no cut may change a reply, an envelope or a body, at either end."""
from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from smtp_from_scratch import Envelope, Reply, chunking
from smtp_from_scratch.auth import Plain
from smtp_from_scratch.client import SMTPException, deliver
from smtp_from_scratch.conversation import Conversation, Disconnected, Interruption, Timeout, read_reply, rehearse
from smtp_from_scratch.ehlo import ExtensionSet
from smtp_from_scratch.message import outgoing
from smtp_from_scratch.session import Limits, Session, serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.starttls import TLSLayer, Upgrade
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transcript import Said
from smtp_from_scratch.wire import WireError
from tests.ours import PASSWORD, TLS, USER, USERS
from tests.whole_session import whole_session

SPLITS = 20_000 if os.environ.get("EVERYTHING") else 6_000          # in all, half of them in each test
BODIES = (b"", b".", b".\r\n", b"..\r\n.\r\n", b"one\r\n.two\r\n", b"\n.\n",
          b"\r", b"a\r\rb\n\nc", b"x" * 3000, b"\r\n" * 5)
LINES = (b"HELO rio.example", b"MAIL FROM:<ana@rio.example>", b"RCPT TO:<kenji@tokyo.example>", b"RCPT TO:<>", b"NOOP",
         b"RSET", b"DATA", b".", b"..", b".hidden", b"text", b"", b"x" * 600, b"VRFY ana", b"HELP", b"no\0", b"caf\xe9")
ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n")


class Cutter:
    """Cuts every flight in a few random places."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def __call__(self, flight: bytes) -> Iterator[bytes]:
        places = sorted(self.random.randrange(len(flight) + 1) for _ in range(self.random.choice((0, 1, 2, 5, 30))))
        for start, end in zip([0, *places], [*places, len(flight)], strict=True):
            if start < end:
                yield flight[start:end]


def kept() -> tuple[list[tuple[Envelope, bytes]], Session]:
    letters: list[tuple[Envelope, bytes]] = []

    def accept_recipient(address: str, envelope: Envelope) -> Reply | None:
        return Reply(550, "no\nsuch\nuser") if address.startswith("li@") else None

    return letters, Session("mx.example", deliver=lambda envelope, body: letters.append((envelope, body.read())),
                            accept_recipient=accept_recipient)


def shouting(octets: bytes) -> Conversation[list[Reply]]:
    """A client that says everything at once, sense or nonsense, and collects what comes back."""
    replies = []
    try:
        yield octets
        while True:
            replies.append((yield from read_reply(1.0)))
    except (Timeout, Disconnected):
        return replies


@pytest.mark.slow
def test_cuts_do_not_change_what_our_client_and_server_make_of_each_other() -> None:
    rng = random.Random(821)
    for number in range(SPLITS // 20):
        bodies = [rng.choice(BODIES) + rng.choice(BODIES) for _ in range(2)]
        recipients = rng.sample(["kenji@tokyo.example", "li@beijing.example", "yui@tokyo.example"], rng.randint(1, 3))
        results = []
        for cut in (None, *(Cutter(number * 10 + n) for n in range(10))):
            letters, session = kept()
            played = [(Envelope("ana@rio.example", recipients), [body]) for body in bodies]
            outcome = rehearse(deliver("rio.example", played), serve(session), cut=cut)
            results.append((outcome.client, letters, b"".join(said.data for said in outcome.said if said.role == "S")))
        assert all(result == results[0] for result in results), (bodies, recipients)


@pytest.mark.slow
def test_cuts_do_not_change_what_our_server_makes_of_nonsense() -> None:
    rng = random.Random(5321)
    for number in range(SPLITS // 20):
        octets = b"".join(rng.choice(LINES) + rng.choice(ENDS) for _ in range(rng.randint(1, 25)))
        if rng.random() < 0.7:
            octets = b"\r\n".join([*LINES[:3], b"DATA", octets])
        results = []
        for cut in (None, *(Cutter(number * 10 + n) for n in range(10))):
            letters, session = kept()
            outcome = rehearse(shouting(octets), serve(session), cut=cut, patient=True)
            results.append((outcome.client, letters))
        assert all(result == results[0] for result in results), octets


# --- with extensions -------------------------------------------------------------------------------------------------

OFFER = ExtensionSet(server_extensions(tls=TLS.server, users=USERS, insecure_auth=True))
PLAIN = b"AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"
PARAMETERS = (b"", b"", b" SIZE=100", b" SIZE=9999", b" BODY=8BITMIME", b" BODY=BINARYMIME", b" SMTPUTF8", b" RET=HDRS",
              b" X=1", b" SIZE", b" AUTH=<>", b" ENVID=a+3Db", b"SIZE=1")
MORE = (b"EHLO rio.example", b"HELO rio.example", b"RCPT TO:<kenji@tokyo.example> NOTIFY=NEVER",
        b"RCPT TO:<li@x.example>", b"RCPT TO:<jos\xc3\xa9@tokyo.example>", b"RCPT TO:<jos\xe9@tokyo.example>",
        b"DATA", b".", b"text", b"NOOP", b"RSET", PLAIN, b"AUTH PLAIN", b"*", b"=", b"AHRpbQB3cm9uZw==", b"AUTH LOGIN",
        b"dGlt", b"not base64", b"AUTH X", b"BDAT x", b"BDAT 0 LAST", b"STARTTLS x", b"VRFY jos\xc3\xa9 SMTPUTF8",
        b"x" * 1300, b"QUIT")


def extended_session() -> tuple[list[tuple[Envelope, bytes]], CodedSession]:
    letters, plain = kept()
    return letters, CodedSession("mx.example", deliver=plain.deliver, accept_recipient=plain.accept_recipient,
                                 limits=Limits(max_size=5000), extensions=OFFER)


def nonsense(rng: random.Random) -> bytes:
    """Commands with and without sense, chunks with the right number of octets or not."""
    said = []
    for _ in range(rng.randint(1, 25)):
        match rng.randrange(9):
            case 0 | 1:
                said.append(b"MAIL FROM:<ana@rio.example>" + rng.choice(PARAMETERS) + rng.choice(PARAMETERS))
            case 2:
                said.append(b"RCPT TO:<kenji@tokyo.example>" + rng.choice((b"", b"", *PARAMETERS)))
            case 3:
                octets = rng.choice(BODIES) + rng.choice(BODIES) + rng.randbytes(3)
                size = len(octets) + rng.choice((0, 0, 0, 0, -1, 3))
                said.append(b"BDAT %d%s\r\n%s" % (size, rng.choice((b"", b" LAST", b" last")), octets))
                said.append(b"NOOP")
                continue
            case 4:
                chunk = rng.choice(BODIES)
                said.append(b"RSET\r\nMAIL FROM:<ana@rio.example> BODY=BINARYMIME\r\nRCPT TO:<yui@tokyo.example>\r\n"
                            b"BDAT %d\r\n%sBDAT %d LAST\r\n%sNOOP" % (len(chunk), chunk, len(chunk), chunk))
            case 5:
                said.append(b"RSET\r\nMAIL FROM:<ana@rio.example>\r\nRCPT TO:<yui@tokyo.example>\r\nDATA\r\n"
                            + rng.choice(BODIES) + b"\r\n.")
            case _:
                said.append(rng.choice(MORE))
        said[-1] += rng.choice((*ENDS, b"\r\n", b"\r\n", b"\r\n", b"\r\n"))
    return b"EHLO rio.example\r\n" * (rng.random() < 0.9) + b"".join(said)


def under_tls(octets: bytes) -> Conversation[list[Reply]]:
    """The same client, behind STARTTLS."""
    yield from read_reply()
    yield b"EHLO rio.example\r\n"
    yield from read_reply()
    yield b"STARTTLS\r\n"
    yield from read_reply()
    yield Upgrade(TLSLayer(TLS.client, "mx.example.org"))
    return (yield from shouting(octets))


@pytest.mark.slow
@pytest.mark.parametrize("client", [shouting, under_tls], ids=["in the clear", "under TLS"])
def test_cuts_do_not_change_what_our_server_makes_of_extended_nonsense(client: Any) -> None:
    rng, arrived = random.Random(1869), 0
    for number in range(300 if client is shouting else 100):
        octets = nonsense(rng)
        results = []
        for cut in (None, *(Cutter(number * 10 + n) for n in range(8))):
            letters, session = extended_session()
            outcome = rehearse(client(octets), serve(session), cut=cut, patient=True)
            results.append((outcome.client, letters, session.state, session.user))
        assert all(result == results[0] for result in results), octets
        arrived += len(letters)
    assert arrived > 20                        # not only nonsense


def ends(rng: random.Random) -> tuple[CodedClientSession, Any]:
    """A client with some of its extensions, in the clear or under TLS, and its letters."""
    without = rng.sample(("PIPELINING", "CHUNKING", "SIZE", "BINARYMIME", "ENHANCEDSTATUSCODES"), rng.randrange(3))
    tls = TLS.client if rng.random() < 0.3 else None
    secret = {"user": USER, "password": PASSWORD} if rng.randrange(2) else {}
    client = CodedClientSession("rio.example", tuple(client_extensions(
        tls=tls, insecure_auth=True, mechanisms=[Plain()], **secret, eager=rng.random() < 0.5, without=without)),
                           "mx.example.org")
    bodies = [b"Subject: hi\r\n\r\n" + rng.choice(BODIES) + rng.choice(BODIES) for _ in range(rng.randint(1, 3))]
    recipients = rng.sample(["kenji@tokyo.example", "li@beijing.example", "jos\u00e9@rio.example"], rng.randint(1, 3))
    letters = (outgoing(Envelope("ana@rio.example", recipients), body, eight_bit=client.uses("8BITMIME"))
               for body in bodies)
    return client, letters


@pytest.mark.slow
def test_cuts_do_not_change_what_extended_ends_make_of_each_other() -> None:
    for number in range(150):
        results = []
        for cut in (None, *(Cutter(number * 10 + n) for n in range(8))):
            client, sent = ends(random.Random(number))
            letters, session = extended_session()
            with patch.object(chunking, "CHUNK", 999), patch.object(chunking, "EAGER", 400):
                outcome = rehearse(whole_session(client, sent), serve(session), cut=cut)
            results.append((outcome.client, letters, spoken("C", outcome.said), spoken("S", outcome.said)))
        assert all(result == results[0] for result in results), f"ends(random.Random({number}))"


def spoken(who: str, said: Iterable[Said]) -> bytes:
    return b"".join(record.data for record in said if record.role == who)


REPLIES = (b"250 fine", b"250 fine", b"250 fine", b"250 fine", b"354 go on", b"354 go on", b"550 5.1.1 no",
           b"450-4.2.0 a\r\n450 4.2.0 b", b"503 what?", b"421 leaving", b"250", b"250-", b"999 x", b"250-a\r\n550 b",
           b"nonsense", b"", b"2500 x", b"\xff\xfe")
HELLO = b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"


def scripted(octets: bytes) -> Conversation[None]:
    """A server that says everything at once, and hangs up."""
    yield octets


def told(client: CodedClientSession, sent: Any) -> Conversation[tuple[Any, list[Any]]]:
    """What a client makes of it: how the session ends, and what it knows of its letters."""
    try:
        return "", (yield from whole_session(client, sent))
    except (SMTPException, Interruption, WireError) as error:
        return f"{type(error).__name__}: {error}", error.receipts      # type: ignore[union-attr]


@pytest.mark.slow
def test_cuts_do_not_change_what_our_client_makes_of_a_rude_server() -> None:
    rng = random.Random(2920)
    for number in range(400):
        octets = HELLO + b"".join(rng.choice(REPLIES) + b"\r\n" for _ in range(rng.randint(0, 14)))
        options: dict[str, Any] = {"eager": number % 2 == 1, "without": ["CHUNKING"] if number % 3 else []}
        results = []
        for cut in (None, *(Cutter(number * 10 + n) for n in range(8))):
            client = CodedClientSession("rio.example", tuple(client_extensions(**options)))
            envelope = Envelope("ana@rio.example", ["a@x.example", "b@x.example"])
            sent = (outgoing(envelope, b"Subject: x\r\n\r\n" + body, eight_bit=client.uses("8BITMIME"))
                    for body in BODIES[:2])
            outcome = rehearse(told(client, sent), scripted(octets), cut=cut)
            results.append((outcome.client, spoken("C", outcome.said)))
        assert all(result == results[0] for result in results), octets

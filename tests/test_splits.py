"""TCP cuts octets wherever it likes: no cut may change a reply, an envelope or a body, at either end."""
from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from smtp_from_scratch import Envelope, Reply
from smtp_from_scratch.client import deliver
from smtp_from_scratch.conversation import Conversation, Disconnected, Timeout, read_reply, rehearse
from smtp_from_scratch.session import Session, serve

SPLITS = 20_000                                 # in all, half of them in each test
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
            results.append((outcome.client, letters, b"".join(said.data for said in outcome.said if said.who == "S")))
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

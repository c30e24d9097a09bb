"""What five letters have left behind: a Maildir, a queue's file, and three logs. A case for a detective."""
from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:                               # what makes it is imported by whoever makes it
    from smtp_from_scratch.envelope import Envelope
    from smtp_from_scratch.maildir import Maildir
    from smtp_from_scratch.queue import Relayed
    from smtp_from_scratch.rules import Deliver

__all__ = ["five_letters"]

ANA, KENJI, LI, YUKI = "ana@rio.example", "kenji@tokyo.example", "li@tokyo.example", "yuki@tokyo.example"
ORDER = {"C": YUKI, "A": KENJI, "D": KENJI, "B": LI}        # as they came to Rio; E never did
SUBMISSION = """\
09:00  <C@rio.example>  to yuki   250 queued as 1
09:01  <A@rio.example>  to kenji  250 queued as 2
09:02  <D@rio.example>  to kenji  250 queued as 3
09:03  <B@rio.example>  to li     250 queued as 4
09:04  <E@rio.example>  to kenji  354; 5,120 octets of the body; the line broke
"""
RELAY = """\
09:05  1  mx.tokyo.example  550 5.1.1 nobody of that name here
09:05  2  mx.tokyo.example  250 2.6.0 the message is ours now
09:06  3  mx.tokyo.example  the body and its dot are sent; the line broke
09:07  4  mx.tokyo.example  452 4.2.2 the mailbox is full
09:08  5  mx.rio.example    250 2.6.0 the message is ours now
09:35  3  mx.tokyo.example  250 2.6.0 the message is ours now
09:37  4  mx.tokyo.example  452 4.2.2 the mailbox is full
"""
TOKYO = """\
09:05  smtp  RCPT yuki: 550
09:05  smtp  RCPT kenji: 250; 840 octets, kept: 250
09:06  smtp  RCPT kenji: 250; 912 octets, kept: 250; the caller had gone
09:07  smtp  RCPT li: 452
09:20  pop3  kenji: STAT 2; RETR 1; DELE 1; QUIT: 1 removed
09:35  smtp  RCPT kenji: 250; 912 octets, kept: 250
09:37  smtp  RCPT li: 452
"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """`logs` by whose they are, `mail`: the folder of all Maildirs, `queue`: Rio's file."""

    logs: dict[str, str]
    mail: Path
    queue: Path


def letter(name: str, to: str) -> io.BytesIO:
    """One of the five."""
    return io.BytesIO(f"From: {ANA}\r\nTo: {to}\r\nMessage-ID: <{name}@rio.example>\r\nSubject: Choir\r\n\r\n"
                      "Saturday at seven.\r\n".encode())


def five_letters(folder: Path) -> Evidence:
    """Make the evidence in an empty folder: what the logs tell has been done to real files."""
    from smtp_from_scratch.envelope import Envelope
    from smtp_from_scratch.maildir import Maildir
    from smtp_from_scratch.queue import Queue

    mail, now = Maildir(folder / "mail", "mx.tokyo.example"), [0.0]
    answers = tokyo(mail)
    with closing(Queue(folder / "queue", "relay.rio.example", clock=lambda: now[0])) as queue:
        for name, to in ORDER.items():
            queue(Envelope(ANA, [to]), letter(name, to))
        for now[0] in (0.0, 1800.0):
            while queue.attempt(lambda envelope, body: next(answers)(envelope, body)): pass
    return Evidence({"Rio, submission": SUBMISSION, "Rio, relay": RELAY, "Tokyo": TOKYO}, mail.root, folder / "queue")


def tokyo(mail: Maildir) -> Iterator[Deliver]:
    """A `deliver` for each attempt, in the order of the relay's log."""
    from smtp_from_scratch.queue import UNKNOWN, Relayed
    from smtp_from_scratch.wire import Reply

    def answer(reply: Reply, keep: bool = False) -> Deliver:
        def deliver(envelope: Envelope, body: IO[bytes]) -> Relayed:
            if keep:
                mail(envelope, body)
            said = Relayed(dict.fromkeys(envelope.recipients, reply))
            said.remote_mta = "mx.tokyo.example"
            return said
        return deliver

    ours, full = Reply(250, "the message is ours now", "2.6.0"), Reply(452, "the mailbox is full", "4.2.2")
    yield answer(Reply(550, "nobody of that name here", "5.1.1"))
    yield answer(ours)                  # and Kenji has fetched it since
    yield answer(UNKNOWN, True)
    yield answer(full)
    yield answer(ours, True)                   # the report, to Ana
    yield answer(ours, True)
    yield answer(full)

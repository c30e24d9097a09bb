"""What `serve` does with mail for others: it goes through a queue to the next host, or to whom the DNS names."""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from smtp_from_scratch.cli.common import where
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.maildir import Maildir
from smtp_from_scratch.queue import Queue, Runner, forward
from smtp_from_scratch.together import Steps, calling, in_steps

if TYPE_CHECKING:
    from smtp_from_scratch.rules import Deliver
    from smtp_from_scratch.smtp.lines import Lines

AT_A_TIME = 8                                   # messages that are sent on: a slow host holds up one of these places


class Sorted(Queue):
    """A queue in which a message for some of ours and some others is kept as two, by one commit."""

    is_ours: Callable[[str], bool]

    def parts(self, envelope: Envelope) -> list[Envelope]:
        """One for ours, one for others; a part without recipients is none."""
        ours = [address for address in envelope.recipients if self.is_ours(address)]
        others = [address for address in envelope.recipients if not self.is_ours(address)]
        return [replace(envelope, recipients=part) for part in (ours, others) if part]


class Outgoing:
    """Mail for ours goes into their mailboxes, mail for others into the queue, and on from there.

    It begins with `running`, in each process on its own: SQLite's connections do not survive a fork.
    """

    at_once = Maildir.at_once

    def __init__(self, options: argparse.Namespace, hostname: str, is_ours: Callable[[str], bool],
                 keep: Deliver) -> None:
        self.path, self.hostname, self.is_ours, self.keep = options.queue, hostname, is_ours, keep
        self.next_host, self.tls = options.next_host, options.next_tls
        if options.relay:
            check_dns()
        self.queue: Sorted | None = None

    def open(self) -> Sorted:
        """The queue. ValueError for a file that cannot be one."""
        try:
            queue = Sorted(self.path, self.hostname)
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"cannot use {self.path} as a queue: {error}") from None
        queue.is_ours = self.is_ours
        return queue

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Take in and send on, until the end of the block."""
        self.queue = self.open()
        lines = self.lines()
        self.queue.hurried = lines.absent.call_again
        with contextlib.closing(self.queue), lines, Runner(self.queue, self.onward(lines), AT_A_TIME):
            yield

    @in_steps
    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Steps[Any]:
        """What a server calls: a `deliver`."""
        if all(map(self.is_ours, envelope.recipients)):
            return (yield from calling(self.keep, envelope, body))
        assert self.queue
        return self.queue(envelope, body)

    def lines(self) -> Lines:
        """What reaches next hosts, for all letters of this process."""
        from smtp_from_scratch.smtp.lines import Lines
        from smtp_from_scratch.smtp.nexthost import named_host, next_host

        name = self.hostname if "." in self.hostname else ""
        return Lines(named_host(name, self.tls) if self.next_host else next_host(name, seven_bits=True))

    def onward(self, lines: Lines) -> Deliver:
        """What the queue calls: all recipients of a message are ours, or none is."""
        others = to_next_host(self.next_host, lines) if self.next_host else to_anywhere(self.hostname, lines)

        def deliver(envelope: Envelope, body: IO[bytes]) -> Any:
            return (self.keep if self.is_ours(envelope.recipients[0]) else others)(envelope, body)

        return deliver


def to_next_host(address: tuple[str, int], lines: Lines) -> Deliver:
    """What takes mail for others to the host that was named."""
    return forward(partial(lines, address[0], address), address[0] if ":" not in address[0] else where(address))


def to_anywhere(hostname: str, lines: Lines) -> Deliver:
    """What takes it to the servers of its domain."""
    from smtp_from_scratch.relay import Relay
    from smtp_from_scratch.resolver import DnsResolver

    return Relay(hostname, DnsResolver(), lines)


def check_dns() -> None:
    """ValueError, which says what to do, if the DNS cannot be asked."""
    try:
        import dns.resolver
        import idna  # noqa: F401
    except ImportError:
        raise ValueError("--relay asks the DNS with dnspython: pip install 'smtp-from-scratch[relay]'") from None
    try:
        dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration as error:
        raise ValueError(f"--relay finds no DNS to ask: {error}") from None

"""Lines to next hosts, on which one letter follows another."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Self

from smtp_from_scratch.client import Receipt, SMTPServerDisconnected
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import Body
from smtp_from_scratch.resolver import Address
from smtp_from_scratch.smtp.absent import Absent, is_silence
from smtp_from_scratch.smtp.client import Client

LETTERS = 100                                   # that a line takes
SECONDS = 300.0                                 # after which a line takes no other letter
IDLE = 5.0                                      # seconds that a line waits for one
MOST = 50                                       # lines that wait, to all hosts
GOODBYE = 5.0                                   # seconds that a host may take to answer QUIT
CLOSING = 5.0                                   # seconds in which all that wait are closed at the end

Connect = Callable[[str, Address, bool], Client]


@dataclass(eq=False, slots=True)
class Line:
    """A session with a host, and how it was reached."""

    client: Client
    host: str
    address: Address
    secure: bool                                # as `connect` was asked for it
    opened: float
    letters: int = 0
    until: float = 0.0                          # how long it waits

    def is_good(self) -> bool:
        """Whether it may take another letter: it is up, nothing is owed on it, or left over, and it is not too old."""
        connection = self.client.connection
        if connection is None or self.client.session.unanswered or len(connection.channel.inbox):
            return False
        return self.letters < LETTERS and time.monotonic() - self.opened < SECONDS

    def leave(self, patience: float = GOODBYE) -> None:
        """Say QUIT, if the line is up, and close it."""
        try:
            if self.client.connection:
                self.client.connection.channel.longest_wait = patience
                self.client.quit()
        except (OSError, ValueError):
            pass                                # a goodbye gone wrong changes no receipt
        finally:
            self.client.close()


class Waiting:
    """Lines that wait for another letter, the longest first; a thread closes those whose time is over."""

    def __init__(self) -> None:
        self.waiting, self.changed, self.over = deque[Line](), threading.Condition(), False
        self.thread: threading.Thread | None = None

    def find(self, host: str, address: Address) -> Line | None:
        """The line to a host that has waited least, if it is good."""
        with self.changed:
            fitting = [line for line in self.waiting if (line.host, line.address) == (host, address)]
            if not fitting:
                return None
            self.waiting.remove(found := fitting[-1])
        if found.is_good():
            return found
        found.leave()                           # its time is over
        return None

    def put_back(self, line: Line) -> None:
        """Let a line wait for another letter, if it may take one."""
        if self.over or not line.is_good():
            return line.leave()
        with self.changed:
            line.until = time.monotonic() + IDLE
            self.waiting.append(line)
            for surplus in islice(self.waiting, max(0, len(self.waiting) - MOST)):
                surplus.until = 0.0
            if self.thread is None:
                thread = threading.Thread(target=self.run, name="lines", daemon=True)
                with suppress(RuntimeError):    # a browser may have none: then lines wait until the end
                    thread.start()
                    self.thread = thread
            self.changed.notify()

    def run(self) -> None:
        """Close whatever has waited for too long, as long as any line waits."""
        while line := self.overdue():
            line.leave()

    def overdue(self) -> Line | None:
        """Wait for a line that has waited for too long; None: nothing waits any more, and the thread ends."""
        with self.changed:
            while self.waiting and (left := self.waiting[0].until - time.monotonic()) > 0:
                self.changed.wait(left)
            if self.waiting:
                return self.waiting.popleft()
            self.thread = None
            return None

    def close(self) -> None:
        """Leave all hosts; a line in use is closed after its letter."""
        self.over, end = True, time.monotonic() + CLOSING
        with self.changed:
            found = list(self.waiting)
            self.waiting.clear()
            self.changed.notify()
        for line in found:
            line.leave(min(1.0, max(0.001, end - time.monotonic())))


class Lines(Waiting):
    """A `connect` for `Relay` and `forward`, made of another one: letters for a host follow one another on a line.

    A line takes up to `LETTERS` letters in up to `SECONDS` seconds, one at a time. It waits for the next for `IDLE`
    seconds. A host that does not answer is not called again for a while: see `Absent`.
    """

    def __init__(self, connect: Connect, absent: Absent | None = None) -> None:
        super().__init__()
        self.connect, self.absent = connect, absent or Absent()

    def __call__(self, host: str, address: Address, secure: bool = True) -> Turn:
        """A line to a host: one that waits, or a new one. OSError, SMTPException."""
        return Turn(self, self.find(host, address) or self.dial(host, address, secure))

    def dial(self, host: str, address: Address, secure: bool) -> Line:
        """A new line. HostDown, which is an OSError, if nobody answered a moment ago."""
        self.absent.check(address)
        try:
            client = self.connect(host, address, secure)
        except OSError as error:
            if is_silence(error):
                self.absent.failed(address, error)
            else:
                self.absent.answered(address)
            raise
        self.absent.answered(address)
        return Line(client, host, address, secure, time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Turn:
    """A line for one letter, as `forward` uses a Client."""

    def __init__(self, lines: Lines, line: Line) -> None:
        self.lines, self.line = lines, line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.lines.put_back(self.line)

    def has_extn(self, keyword: str) -> bool:
        """Whether the host offers an extension."""
        return self.line.client.has_extn(keyword)

    def transact(self, envelope: Envelope, body: Body, *, binary: bool = False) -> Receipt:
        """One letter. If a line that has waited turns out to be gone before the letter's end, a new one takes it."""
        try:
            return self.say(envelope, body, binary)
        except SMTPServerDisconnected as error:
            if self.line.letters == 1 or not is_untouched(error):
                raise
            self.again(error)
        return self.say(envelope, body, binary)

    def say(self, envelope: Envelope, body: Body, binary: bool) -> Receipt:
        """The letter, on the line in hand. A host whose 250 has refused it has lost count: it is left at once."""
        self.line.letters += 1
        receipt = self.line.client.transact(envelope, body, binary=binary)
        if receipt.refused_by and receipt.reply and receipt.reply.code < 400:
            self.line.client.close()
        return receipt

    def again(self, error: SMTPServerDisconnected) -> None:
        """Take a new line to the same host; raises the error, which has the receipt, if there is none as good."""
        before = self.line
        try:
            self.line = self.lines.dial(before.host, before.address, before.secure)
        except OSError:
            raise error from None
        if self.has_extn("DSN") != before.client.has_extn("DSN"):      # who reports was asked on the old one
            raise error


def is_untouched(error: SMTPServerDisconnected) -> bool:
    """Whether a letter has surely reached nobody: its end was not said, and the host was not too slow, but gone."""
    receipt = error.receipt
    return receipt is not None and not (receipt.ended or receipt.accepted or isinstance(error, TimeoutError))

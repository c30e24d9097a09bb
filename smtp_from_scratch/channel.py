"""A channel: what a connection holds between conversations. Octets to read and to send, a layer such as TLS, a tap."""
from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from .transcript import Said, Tap
from .wire import Inbox

__all__ = ["Arrived", "Channel", "Layer"]

bytearray(1 << 20)                             # once freed, it teaches malloc to keep blocks up to that size


class Arrived(Inbox):
    """An inbox that knows a line again: fifty recipients get the same reply fifty times."""

    __slots__ = ()

    def again(self, line: bytes) -> bool:
        """Take the next line if it is this one, which was the last, CR LF included; whether it was."""
        start = self._start
        if same := self._data.startswith(line, start):
            self._start = start + len(line)
        return same


class Layer(Protocol):
    """Turns octets into octets between the conversation and the wire (TLS is one)."""

    ready: bool
    ended: bool                                # the other end said goodbye: nothing more is fed into it

    def receive(self, data: bytes) -> bytes: ...
    def send(self, data: bytes) -> bytes: ...


class Waited(Protocol):
    """What somebody waits for, and until when."""

    @property
    def timeout(self) -> float: ...
    def deadline(self, now: float) -> float: ...


class Channel:
    """Octets that have arrived, octets that wait to be sent. It does no I/O: a stage carries them."""

    def __init__(self, role: str = "", tap: Tap | None = None, now: Callable[[], float] | None = None) -> None:
        self.role, self.tap, self.now = role, tap, now or time.monotonic       # looked up late: it may be in memory
        self.peer = ""                         # whom the tap believes to hear; empty: only what we say is tapped
        self.inbox = Arrived()
        self._outbox, self._sealed = list[bytes](), b""        # to be sent; what is sealed has passed its layer
        self.waiting = 0                       # octets in the outbox
        self.layer: Layer | None = None
        self.over = False                      # nothing more is read: the layer has ended
        self.failure: OSError | None = None    # what it raised, if it ended so
        self.work: Callable[[Any], Any] | None = None    # does what may block in place of the conversation's thread
        self.longest_wait = self.deadline = math.inf    # seconds that cap every timeout; the time that ends all waits

    def say(self, data: bytes) -> None:
        """Queue octets for the other end."""
        self._outbox.append(data)
        self.waiting += len(data)
        if self.tap is not None:
            self.tap(Said(self.now(), self.role, data))

    def output(self) -> bytes:
        """All that waits to be sent, as it must appear on the wire."""
        if not (self._outbox or self.layer):
            return b""
        data, self._outbox, self.waiting = b"".join(self._outbox), [], 0
        if self.layer:
            data, self._sealed = self._sealed + self.layer.send(data), b""
        return data

    def receive(self, data: bytes) -> None:
        """Take in octets from the wire; after a layer has ended, or has met nonsense, they are dropped."""
        if self.layer:
            data = self._unwrap(self.layer, data)
        if self.tap is not None and self.peer and data:
            self.tap(Said(self.now(), self.peer, data))
        self.inbox.feed(data)

    def _unwrap(self, layer: Layer, data: bytes) -> bytes:
        if self.over:
            return b""
        try:
            data = layer.receive(data)
            self.over = layer.ended
        except OSError as error:
            data, self.over, self.failure = b"", True, error
        return data

    def upgrade(self, layer: Layer) -> None:
        """Put a layer in; what arrived and was not read goes through it, like all that follows."""
        self._sealed, self.layer = self.output(), layer
        self.receive(self.inbox.octets(len(self.inbox)))

    def until(self, want: Waited) -> float:
        """When the wait for a want ends: a shorter `longest_wait` takes as much off it as it takes off the timeout."""
        deadline = want.deadline(self.now())
        if want.timeout > self.longest_wait:   # asked for each line that is waited for: no min and no max
            deadline -= want.timeout - self.longest_wait
        return deadline if deadline < self.deadline else self.deadline

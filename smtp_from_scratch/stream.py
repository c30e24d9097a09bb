"""Two wants of a server: octets that keep coming, each of which earns time; and that a reply leaves first."""
from __future__ import annotations

import math

from .channel import Channel
from .conversation import NOT_YET, NotYet, Want, Work

__all__ = ["BLOCK", "PUSH", "Push", "Stream"]

BLOCK = 262_144                                # octets of a body or a file that are read at a time


class Push(Work):
    """Want: that what was said leaves before more is read. Where nothing more has come, it leaves next anyway."""

    def take(self, channel: Channel) -> NotYet | None:
        return NOT_YET if channel.waiting and len(channel.inbox) else None


PUSH = Push(lambda: None)                      # a reply that may not wait in a buffer (RFC 2920 §3.2)


class Stream(Want):
    """Want: octets that keep coming. Each earns time, but never more than `timeout` seconds ahead.

    `rate` octets a second are the slowest that we put up with. One object waits for one body.
    """

    __slots__ = ("_earned", "_until", "rate", "timeout")
    block = BLOCK

    def __init__(self, timeout: float = 180.0, rate: float = 500.0) -> None:
        self.timeout, self.rate = timeout, rate
        self._until, self._earned = math.inf, 0.0

    def deadline(self, now: float) -> float:
        self._until, self._earned = min(now + self.timeout, self._until + self._earned), 0.0
        return self._until

    def earn(self, block: bytes) -> bytes:
        """The block; its octets have earned time."""
        self._earned += len(block) / self.rate
        return block

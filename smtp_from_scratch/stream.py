"""A want for octets that keep coming: each earns time, so a slow caller is waited for and a stalled one is not."""
from __future__ import annotations

import math

from .conversation import Want

__all__ = ["Stream"]


class Stream(Want):
    """Want: octets that keep coming. Each earns time, but never more than `timeout` seconds ahead.

    `rate` octets a second are the slowest that we put up with. One object waits for one body.
    """

    __slots__ = ("_earned", "_until", "rate", "timeout")
    block = 262_144

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

"""Hosts that did not answer: they are not called again for a while (RFC 5321 §4.5.4.1)."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from smtp_from_scratch.client import SMTPException
from smtp_from_scratch.printable import logger
from smtp_from_scratch.resolver import Address

log = logger(__name__)

FIRST, LONGEST = 60.0, 900.0                    # seconds: the first pause, and the bound to which it doubles
STALE = 86_400.0                                # seconds after which a failure says nothing about the next one
MOST = 1000                                     # addresses that are remembered


class HostDown(ConnectionError):
    """Nobody answered at this address a moment ago, so it was not called."""


class Silence(NamedTuple):
    """What is known of a host that did not answer. Times are seconds since 1970."""

    since: float                                # when it was called in vain
    pause: float
    why: str


class Absent:
    """Which addresses are not called now, and for how long."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock, self.lock, self.silent = clock, threading.Lock(), dict[Address, Silence]()
        self.asked_for = 0.0                    # failures before then do not count

    def is_down(self, silence: Silence) -> bool:
        """Whether its pause runs; a clock that was put back prolongs none."""
        return silence.since > self.asked_for and 0 <= self.clock() - silence.since < silence.pause

    def check(self, address: Address) -> None:
        """Raises HostDown for an address that is not to be called now."""
        silence = self.silent.get(address)
        if silence and self.is_down(silence):
            raise HostDown(f"not called, since {self.clock() - silence.since:.0f} s ago: {silence.why}")

    def failed(self, address: Address, error: Exception) -> None:
        """Nobody answered. The next pause is twice as long, and begins when the last one is over."""
        with self.lock:
            before, now = self.silent.pop(address, None), self.clock()
            if before and self.is_down(before):             # it was called by several at once
                self.silent[address] = before
                return
            fresh = not before or now - before.since > STALE
            pause = FIRST if fresh or not before else min(2 * before.pause, LONGEST)
            self.silent[address] = Silence(now, pause, str(error) or type(error).__name__)
            if len(self.silent) > MOST:
                del self.silent[next(iter(self.silent))]
        log.info("%s does not answer (%s): it is not called again for %d s", address[0], error, pause)

    def answered(self, address: Address) -> None:
        """Somebody is there."""
        with self.lock:
            self.silent.pop(address, None)

    def call_again(self, when: float) -> None:
        """Its owner asked for an attempt at this time: what failed before does not count."""
        self.asked_for = max(self.asked_for, when)


def is_silence(error: Exception) -> bool:
    """Whether a host did not answer, which is no refusal: nobody is there, or nothing is said in time."""
    return isinstance(error, TimeoutError) or not isinstance(error, SMTPException | ssl.SSLError)

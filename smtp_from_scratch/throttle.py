"""Who calls, as limits count it, and a brake for those who guess passwords."""
from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from .conversation import FLUSH, Conversation, Work
from .printable import logger
from .wire import Reply

__all__ = ["Guesses", "Pause", "origin", "wait_for_turn"]

log = logger(__name__)


@lru_cache(1024)                                # whoever calls will call again
def origin(address: str) -> str:
    """What an address counts as: an IPv4 address as itself, an IPv6 address as its network of 64 bits."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address                          # a rehearsal, a Unix socket
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> 64 << 64, 64)))


class Guesses:
    """Guesses by origin, on however many connections: FREE wrong ones cost nothing, then each must wait its turn."""

    FREE, PACE, LONGEST = 40, 3.0, 9.0          # guesses; seconds: until one is forgotten, and that one may wait
    PLACES = 10_000                             # how many origins are remembered

    def __init__(self, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._now, self.sleep, self._lock = now, sleep, threading.Lock()
        self._forgotten: dict[str, float] = {}          # when all of an origin's guesses are; the latest origin last

    def turn(self, address: str) -> float | None:
        """How many seconds a guess from this address must wait, in its place in the line; None: the line is full.

        It counts from now on, since many may guess at once. From no address, in a rehearsal, nobody is slowed.
        """
        with self._lock:
            if not (place := origin(address)):
                return 0.0
            wait = self._forgotten.get(place, 0.0) - self._now() - (self.FREE - 1) * self.PACE
            if wait > self.LONGEST:
                return None
            self._add(place, self.PACE)
            return max(0.0, wait)

    def take_back(self, address: str) -> None:
        """What was said in its turn was right, or no guess: it does not count."""
        with self._lock:
            if (place := origin(address)) in self._forgotten:
                self._add(place, -self.PACE)

    def _add(self, place: str, seconds: float) -> None:
        now = self._now()
        due = max(now, self._forgotten.pop(place, now)) + seconds
        if due > now:
            self._forgotten[place] = due
        if len(self._forgotten) > self.PLACES:
            del self._forgotten[next(iter(self._forgotten))]


@dataclass(frozen=True, slots=True, eq=False)
class Pause(Work):
    """Want: that so many seconds pass. `function` sleeps through them; a stage that knows the time needs no sleep."""

    seconds: float


def wait_for_turn(guesses: Guesses, peer: str) -> Conversation[Reply | None]:
    """Let a caller wait whose place has guessed wrong too often; 454 where too many wait already (RFC 4954 §6)."""
    wait = guesses.turn(peer)
    if wait is None:
        log.info("%s: too many wrong passwords from there", peer)
        return Reply(454, "too many wrong guesses from where you are; please try again later", "4.7.0")
    if wait:
        yield FLUSH
        yield Pause(lambda: guesses.sleep(wait), wait)
    return None

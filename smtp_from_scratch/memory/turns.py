"""Taking turns in one thread: whoever waits lets the others play on, and time that nobody needs is skipped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

monotonic = time.monotonic                     # the machine's own, whatever stands in its place later


class NobodyLeft(OSError):
    """Everybody waits for somebody else, and no time would change that."""


class Player(Protocol):
    """Somebody who has something to do now and then, and never waits."""

    def step(self) -> bool:
        """Do what can be done now; whether that was anything."""

    def due(self) -> float:
        """When time alone will give it something to do; `math.inf` for never."""


class Turns:
    """Who plays, and the clock of this little world."""

    def __init__(self) -> None:
        self.players: list[Player] = []
        self.skipped = 0.0                     # seconds

    def now(self) -> float:
        """The clock: `time.monotonic` and what was skipped."""
        return monotonic() + self.skipped

    def play(self) -> bool:
        """Give everybody a turn; whether anybody had anything to do."""
        done = [player.step() for player in self.players[:]]
        return any(done)

    def wait(self, ready: Callable[[], object], deadline: float = math.inf) -> bool:
        """Let the others play on until it is `ready`; False at the deadline. Raises NobodyLeft."""
        while not ready():
            if deadline <= self.now():
                return False
            if not self.play():
                self.pause(ready, deadline)
        return True

    def sleep(self, seconds: float) -> None:
        """`time.sleep`, in which the others play on."""
        self.wait(lambda: False, self.now() + seconds)

    def pause(self, ready: Callable[[], object], deadline: float) -> None:
        """Nobody has anything to do now: skip to the next time at which somebody has."""
        self.skip_to(min([deadline, *(player.due() for player in self.players)]))

    def skip_to(self, due: float) -> None:
        """Let the clock jump ahead; raises NobodyLeft when there is nothing to jump to."""
        if due == math.inf:
            raise NobodyLeft("everybody waits for somebody else to speak")
        self.skipped += max(0.0, due - self.now())

"""How many calls a server is asked to take at a time: fewer, and later, once it takes no more of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)       # seconds, one after another while it takes none: more than a minute
LONGEST = 300.0                                 # seconds of pauses in a run


class Gate:
    """Lets callers through. When a call was not taken: half as many at a time, and after a pause."""

    def __init__(self, at_once: int, told: Callable[[str], None]) -> None:
        self.at_once, self.told, self.pauses, self.warned = at_once, told, PAUSES, False
        self.inside, self.refusals, self.paused, self.open_at, self.closed = 0, 0, 0.0, 0.0, False
        self._changed = threading.Condition()

    @contextmanager
    def passed(self) -> Iterator[None]:
        """One caller is through, until the block ends."""
        with self._changed:
            while not self.closed and (self.inside >= self.at_once or time.monotonic() < self.open_at):
                self._changed.wait(max(self.open_at - time.monotonic(), 0.0) or None)
            self.inside += 1
        try:
            yield
        finally:
            with self._changed:
                self.inside -= 1
                self._changed.notify_all()

    def taken(self) -> None:
        """The server took a call."""
        with self._changed:
            self.refusals = 0

    def refused(self, began: float, why: str) -> bool:
        """It did not take one that `began` then; whether another try is worth the while."""
        with self._changed:
            if began < self.open_at:            # it knocked before a pause that others have caused
                return not self.closed
            if self.closed or self.refusals >= len(self.pauses) or self.paused >= LONGEST:
                return False
            if not self.warned:
                self.warned = True
                self.told(f"{why}: from here on fewer at a time, with pauses")
            pause = self.pauses[self.refusals]
            self.refusals, self.paused, self.at_once = self.refusals + 1, self.paused + pause, -(-self.at_once // 2)
            self.open_at = time.monotonic() + pause
            return True

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

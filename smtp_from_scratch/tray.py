"""Where work waits for the threads that do it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from typing import Generic, TypeVar

__all__ = ["GROUP", "Tray"]

GROUP = 32                                      # as many go together
Item = TypeVar("Item")


class Tray(Generic[Item]):
    """What waits for one of so many threads, each of which takes up to `most` of what is there.

    First it waits for as many as it took last time, but not longer than `patience`, in seconds: who is answered
    together comes again together, and one who comes alone waits for nobody.
    """

    def __init__(self, threads: int, most: int = 1, patience: float = 0.0) -> None:
        self.threads, self.most, self.patience = threads, most, patience
        self.waiting, self.expected, self.closed = deque[Item](), 1, False
        self._changed = threading.Condition()

    def put(self, items: Collection[Item]) -> None:
        """Some more; as many threads are woken as are needed for them."""
        with self._changed:
            self.waiting.extend(items)
            self._changed.notify(-(-len(items) // self.most))

    def take(self) -> list[Item]:
        """Wait until something is there, and take it; nothing after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self.waiting or self.closed)
            self._changed.wait_for(lambda: len(self.waiting) >= self.expected or self.closed, self.patience)
            found = [self.waiting.popleft() for _ in range(min(self.most, len(self.waiting)))]
            self.expected = len(found)
            return found

    def close(self) -> None:
        """Whatever was put before is still taken, and then nothing."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

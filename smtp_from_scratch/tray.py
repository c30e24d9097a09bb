"""Where work waits for the threads that do it."""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from collections.abc import Collection
from typing import Generic, TypeVar

__all__ = ["Tray"]

GROUP = 32                                      # that one thread takes at a time; of several, each takes one
Item = TypeVar("Item")


class Tray(Generic[Item]):
    """What waits for one of so many threads, each of which takes up to `most` of what is there."""

    def __init__(self, threads: int) -> None:
        self.threads, self.most = threads, GROUP if threads == 1 else 1
        self.waiting, self._tokens = deque[Item](), queue.SimpleQueue[bool]()

    def put(self, items: Collection[Item]) -> None:
        """Some more; as many threads are woken as are needed for them."""
        self.waiting.extend(items)
        for _ in range(0, len(items), self.most):
            self._tokens.put(True)

    def take(self) -> list[Item]:
        """Wait until something is there, and take it; nothing after `close`."""
        found: list[Item] = []
        while not found and self._tokens.get():
            with contextlib.suppress(IndexError):      # no more there, or another thread was faster
                while len(found) < self.most:
                    found.append(self.waiting.popleft())
        return found

    def close(self) -> None:
        """Whatever was put before is still taken, and then nothing."""
        for _ in range(self.threads):
            self._tokens.put(False)

"""Where work waits for the threads that do it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["GROUP", "Tray", "drop"]

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

    def empty(self) -> list[Item]:
        """Take all that is there."""
        with self._changed:
            found = [*self.waiting]
            self.waiting.clear()
            return found

    def close(self) -> None:
        """Whatever was put before is still taken, and then nothing."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


class Trays(Protocol):
    """Trays, and those whose jobs are done, of whom a ring tells."""

    alone: Tray[Any]
    letters: Tray[Any]
    finished: deque[Any]

    def ring(self) -> None: ...


def drop(worker: Trays) -> None:
    """Nobody begins with what still waits: who gave it hears that, and its client keeps the message."""
    for call in worker.alone.empty() + worker.letters.empty():
        if job := call.job:
            job.error = ConnectionAbortedError("the server has stopped")
        worker.finished.append(call)
    worker.ring()

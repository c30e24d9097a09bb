"""Who has a message in hand: a note in the queue's file, renewed for as long as the attempt lives."""
from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from .printable import logger

__all__ = ["Keeper", "Lease"]

log = logger(__name__)

RENEWALS = 4                                    # in the time for which a lease holds: three may fail
Held = TypeVar("Held")


class Lease(Generic[Held]):
    """A message in hand. `extend` notes that it is held for longer, and returns what is held then; None: it is lost."""

    def __init__(self, held: Held, extend: Callable[[Held], Held | None], name: str) -> None:
        self.held, self.extend, self.name = held, extend, name
        self.lock, self.over = threading.Lock(), False

    def renew(self) -> None:
        """Hold it for longer; whoever has lost it notes nothing any more, and goes on: its words are out."""
        with self.lock:
            if self.over:
                return
            try:
                held = self.extend(self.held)
            except Exception:                   # a full disk, say: there will be another try
                log.exception("%s: its lease is not renewed", self.name)
                return
            if held is None:
                self.over = True
                log.warning("%s was dropped, or somebody else has it, while it was tried", self.name)
            else:
                self.held = held

    def end(self) -> Held:
        """Renew it no more; returns what is held."""
        with self.lock:
            self.over = True
            return self.held


class Keeper(Generic[Held]):
    """A thread that renews leases: it begins with the first one, and ends when it is told to."""

    def __init__(self) -> None:
        self.leases, self.lock, self.over = set[Lease[Held]](), threading.Lock(), threading.Event()
        self.thread: threading.Thread | None = None

    def begin(self, lease: Lease[Held], seconds: float) -> None:
        """Renew a lease of so many seconds, until it is over."""
        with self.lock:
            self.leases.add(lease)
            if self.thread is None:
                thread = threading.Thread(target=self.run, args=(seconds / RENEWALS,), name="leases", daemon=True)
                with suppress(RuntimeError):    # a browser may have none: it has no second process either
                    thread.start()
                    self.thread = thread

    def end(self, lease: Lease[Held]) -> None:
        """Renew it no more."""
        lease.end()
        with self.lock:
            self.leases.discard(lease)

    def run(self, pause: float) -> None:
        """Renew all, again and again."""
        while not self.over.wait(pause):
            self.renew()

    def renew(self) -> None:
        """Renew all that are in hand."""
        with self.lock:
            found = list(self.leases)
        for lease in found:
            lease.renew()

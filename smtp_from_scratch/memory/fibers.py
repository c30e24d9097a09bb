"""Threads where the system has none: each has a stack of its own, and one of them runs until it waits.

How a stack is set aside is up to a `Gate`. In the browser WebAssembly does it (JavaScript promise integration).
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from smtp_from_scratch.memory.turns import NobodyLeft, Turns

MAIN = threading.get_ident()
Function = Callable[[], object]


class Gate(Protocol):
    """Where one stack waits until another one lets it go on."""

    def open(self) -> None: ...
    def enter(self) -> None: ...


@dataclass(eq=False, slots=True)
class Waiting:
    """A thread that waits: for what, how long, where, and who it is."""

    ready: Callable[[], object]
    deadline: float
    gate: Gate
    ident: int
    lost: bool = False                         # nothing will ever happen


class Fibers(Turns):
    """Turns for many stacks, of which exactly one runs."""

    def __init__(self, gate: Callable[[], Gate], spawn: Callable[[Function], object]) -> None:
        super().__init__()
        self.gate, self.spawn = gate, spawn
        self.waiting: list[Waiting] = []
        self.fresh: deque[Function] = deque()          # threads that have not begun
        self.current = MAIN

    def start(self, function: Function, handle: Handle) -> None:
        """Begin a thread, as soon as somebody waits."""
        def run() -> None:
            self.current = handle.ident
            try:
                function()
            finally:
                handle.done = True
                self.hand_over(played=False)

        self.fresh.append(run)

    def pause(self, ready: Callable[[], object], deadline: float) -> None:
        me = Waiting(ready, deadline, self.gate(), self.current)
        self.waiting.append(me)
        self.hand_over(played=True)
        me.gate.enter()
        self.current = me.ident
        if me.lost:
            raise NobodyLeft("every thread waits for another one")

    def hand_over(self, played: bool) -> None:
        """Let somebody else run: a thread that has not begun, or one that need not wait any longer."""
        if self.fresh:
            return void(self.spawn(self.fresh.popleft()))
        if not self.waiting:
            return
        if not (found := self.due_now()) and not played:
            found = self.waiting[0]            # the others may have something to do, and who wakes up lets them
        if not found:
            due = min(waiting.deadline for waiting in self.waiting)
            due = min([due, *(player.due() for player in self.players)])
            if due == math.inf:
                found = next((one for one in self.waiting if one.ident == MAIN), self.waiting[-1])
                found.lost = True
            else:
                self.skip_to(due)
                found = self.due_now() or self.waiting[0]
        self.waiting.remove(found)
        found.gate.open()

    def due_now(self) -> Waiting | None:
        """Who need not wait any longer; of those whose time is over, the one whose time was over first."""
        if found := next((one for one in self.waiting if one.ready()), None):
            return found
        first = min(self.waiting, key=lambda one: one.deadline)
        return first if first.deadline <= self.now() else None


def void(_: object) -> None:
    """Nothing."""


class Lock:
    """What stands in for a lock: whoever waits for it lets the others play on."""

    turns: Turns

    def __init__(self) -> None:
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As `Lock.acquire`."""
        if self._held:
            if not blocking:
                return False
            deadline = math.inf if timeout is None or timeout < 0 else self.turns.now() + timeout
            if not self.turns.wait(lambda: not self._held, deadline):
                return False
        self._held = True
        return True

    def release(self) -> None:
        """As `Lock.release`."""
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False

    def locked(self) -> bool:
        """As `Lock.locked`."""
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Handle:
    """What `threading` holds of a thread of the system."""

    numbers = itertools.count(1 << 20)
    turns: Turns

    def __init__(self) -> None:
        self.ident, self.done = next(self.numbers), False

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self.done

    def _set_done(self) -> None:
        self.done = True

    def join(self, timeout: float | None = None) -> None:
        """Wait for it."""
        deadline = math.inf if timeout is None or timeout < 0 else self.turns.now() + timeout
        self.turns.wait(self.is_done, deadline)


def locks(turns: Turns) -> list[tuple[Any, str, Any]]:
    """What stands in for locks, and with them for events, conditions and queues."""
    lock = type("lock", (Lock,), {"turns": turns})
    python_lock: Any = getattr(threading, "_PyRLock")      # noqa: B009  the one that is made of a lock
    return [(threading, "Lock", lock), (threading, "_allocate_lock", lock), (threading, "RLock", python_lock),
            (queue, "SimpleQueue", getattr(queue, "_PySimpleQueue"))]      # noqa: B009


def threads(turns: Fibers) -> list[tuple[Any, str, Any]]:
    """What stands in for threads."""
    handle = type("handle", (Handle,), {"turns": turns})

    def start(function: Function, handle: Handle, daemon: bool = True) -> None:
        turns.start(function, handle)

    return [(threading, "_ThreadHandle", handle), (threading, "_start_joinable_thread", start),
            (threading, "get_ident", lambda: turns.current)]

"""What the lab has started, so that it can be stopped: an interrupted cell leaves its servers behind."""
from __future__ import annotations

from typing import Protocol


class Stoppable(Protocol):
    """Something with a `stop`."""

    def stop(self) -> None: ...


_RUNNING: list[Stoppable] = []


def started(thing: Stoppable) -> None:
    """Remember something that runs."""
    _RUNNING.append(thing)


def stopped(thing: Stoppable) -> None:
    """Forget it again."""
    if thing in _RUNNING:
        _RUNNING.remove(thing)


def stop_all() -> None:
    """Stop every server, link and line that the lab has started and that still runs."""
    for thing in reversed(_RUNNING[:]):
        thing.stop()
        stopped(thing)


def begin_anew() -> None:
    """Begin anew: stop everything, and forget what was recorded about it."""
    stop_all()
    _RUNNING.clear()

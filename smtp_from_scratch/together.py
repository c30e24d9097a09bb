"""Work in steps: a generator that yields what the disk must have before it goes on. Several can share the waiting.

A disk syncs eight files almost as fast as one, and one sync of a folder makes all names in it durable. So whatever
must be durable does not ask the disk itself: whoever plays it asks, for it alone or for several at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable
from functools import partial, wraps
from types import FunctionType, MethodType
from typing import Any, Generic, TypeVar

__all__ = ["Played", "Steps", "Wanted", "alone", "around", "calling", "in_steps", "steps_of", "sync_folder", "together"]

Result = TypeVar("Result")
Wanted = Collection[int | str | os.PathLike[str]]       # descriptors of open files; folders, for the names in them
Steps = Generator[Wanted, None, Result]
SLOW, THREADS = 0.001, 16                               # seconds for one sync; who wait at once after such a one


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable; Windows cannot, and does without."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(wanted: Wanted) -> dict[object, Exception]:
    """Wait until the disk has them all; returns what failed, and why.

    One after the other, which costs least. As soon as one takes long, the disk or the machine is busy; then several
    threads wait for the rest at once, because a disk makes what several wait for durable in one go.
    """
    failed: dict[object, Exception] = {}
    start_writing([what for what in wanted if isinstance(what, int)])
    rest, took = list(wanted)[::-1], 0.0
    while rest and took < SLOW:
        begun = time.monotonic()
        ask([rest.pop()], failed)
        took = time.monotonic() - begun
    parts = [rest[number::THREADS] for number in range(min(THREADS, len(rest)))]
    started = list[threading.Thread]()
    for part in parts:
        thread = threading.Thread(target=ask, args=[part, failed], name="sync", daemon=True)
        try:
            thread.start()
        except RuntimeError:                            # no more threads to be had
            ask(part, failed)
        else:
            started.append(thread)
    for thread in started:
        thread.join()
    return failed


def ask(wanted: Wanted, failed: dict[object, Exception]) -> None:
    """Sync one after the other, and note what fails."""
    for what in wanted:
        try:
            os.fsync(what) if isinstance(what, int) else sync_folder(what)
        except Exception as error:                      # mostly OSError; TypeError for what is neither
            failed[what] = error


def start_writing(files: list[int]) -> None:
    """Have the disk begin with all of several files before we wait for the first: a third less to wait for eight.

    On Linux "these octets are not needed in memory any more" does so. Elsewhere it does nothing, or is not there.
    """
    if len(files) > 1 and hasattr(os, "posix_fadvise"):
        for file in files:
            with contextlib.suppress(OSError):          # advice: whether the disk has the file, fsync will say
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


class Played(Generic[Result]):
    """Work in steps, as far as it has been played: what it wants now; in the end its result, or what it raised."""

    __slots__ = ("error", "result", "steps", "wanted")

    def __init__(self, steps: Steps[Result]) -> None:
        self.steps, self.wanted = steps, dict[Any, None]()
        self.result: Result | None = None
        self.error: BaseException | None = None

    def go_on(self, failed: dict[object, Exception]) -> bool:
        """Play to the next want; what failed is raised in the midst of whoever wanted it. False when it is over."""
        try:
            error = next((failed[what] for what in self.wanted if what in failed), None) if failed else None
            wanted = self.steps.throw(error) if error else next(self.steps)
            try:
                self.wanted = dict.fromkeys(wanted)
            except TypeError as mistake:                # nothing can be wanted so
                self.wanted = dict.fromkeys(self.steps.throw(mistake))
        except StopIteration as end:
            self.result = end.value
        except BaseException as error:                  # also SystemExit: the others have nothing to do with it
            self.error = error
        else:
            return True
        return False


def together(several: Iterable[Steps[Result]]) -> list[Played[Result]]:
    """Play several in step: what they want is synced, each folder once, before any of them goes on.

    An error of one is its own. None of them is over before it has been told that the disk has what it wanted.
    """
    everybody = playing = [Played(steps) for steps in several]
    failed: dict[object, Exception] = {}
    while playing := [one for one in playing if one.go_on(failed)]:
        failed = sync({what: None for one in playing for what in one.wanted})
    return everybody


def alone(steps: Steps[Result]) -> Result:
    """Play by itself; returns its result, raises what it raises. A sync that fails is an OSError in its midst."""
    [played] = together([steps])
    if played.error:
        raise played.error
    return played.result  # type: ignore[return-value]


MARK = "__in_steps__"                                   # where a function keeps its steps


def in_steps(play: Callable[..., Steps[Result]]) -> Callable[..., Result]:
    """Decorator of a generator function: a call plays its steps alone. `steps_of` finds them for playing several."""
    @wraps(play)
    def played(*arguments: Any) -> Result:
        return alone(play(*arguments))

    setattr(played, MARK, play)
    return played


def steps_of(function: Callable[..., Result]) -> Callable[..., Steps[Result]] | None:
    """The steps of a function, a method, or an object's `__call__`, if `in_steps` has decorated it; else None.

    So a subclass of a delivery that has a `__call__` of its own, and calls the other one, is called.
    """
    if isinstance(function, FunctionType):
        return getattr(function, MARK, None)
    called, owner = ((function.__func__, function.__self__) if isinstance(function, MethodType)
                     else (getattr(type(function), "__call__", None), function))      # noqa: B004
    steps = getattr(called, MARK, None)
    return partial(steps, owner) if steps else None


def calling(function: Callable[..., Result], *arguments: Any) -> Steps[Result]:
    """A call within steps: `yield from calling(deliver, envelope, body)` plays those of `deliver`, if it has some."""
    steps = steps_of(function)
    return (yield from steps(*arguments)) if steps else function(*arguments)


def around(function: Callable[..., Any], play: Callable[..., Steps[Result]]) -> Callable[..., Result]:
    """As `in_steps`, for steps that are `calling` a function: only if it has steps itself can they be found."""
    if steps_of(function):
        return in_steps(play)
    return lambda *arguments: alone(play(*arguments))

"""Call something that may never return: a learner's loop without an end must not take the kernel with it.

It runs in a thread of its own. When its time is over, `OutOfTime` is raised inside it, which ends any loop written in
Python; a thread that sits in a call of the system (`recv`, `sleep`) is left behind, and ends with the kernel. Where
there are no threads (in the browser) a trace function looks at the clock instead. Nothing ends a loop within C, such
as `sum(itertools.count())`.
"""
from __future__ import annotations

import contextvars
import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")
PACKAGE = str(Path(__file__).parent.parent)


class OutOfTime(BaseException):
    """The time is over. No `Exception`: a learner's `except Exception` must not swallow it."""


def within(seconds: float, function: Callable[[], Result]) -> Result:
    """What `function()` returns, or raises; raises OutOfTime if it takes longer than `seconds`.

    The error's text says in which line of which function it was then, as far as that can be told.
    """
    done: list[Result] = []
    raised: list[BaseException] = []
    over = Over()

    def work() -> None:
        with suppress(OutOfTime):
            try:
                with suppress(OutOfTime):      # it may strike again while the first one is being noted
                    try:
                        done.append(function())
                    except BaseException as error:
                        raised.append(error)
            finally:
                over.note()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name="check", daemon=True)
    try:
        thread.start()
    except RuntimeError:                       # there are no threads in the browser
        return traced(seconds, function)
    try:
        thread.join(seconds)
    except KeyboardInterrupt:
        interrupt(thread, over)
        raise
    if thread.is_alive():
        where = place_of(sys._current_frames().get(thread.ident or 0))
        interrupt(thread, over)
        raise OutOfTime(where)
    if raised:
        raise raised[0]
    return done[0]


class Over:
    """Whether a thread's work is over: from then on nothing may strike, for nothing would catch it."""

    def __init__(self) -> None:
        self.lock, self.noted = threading.Lock(), False

    def note(self) -> None:
        """Called by the thread itself; a strike that was on its way arrives here at the latest."""
        while not self.noted:
            with suppress(OutOfTime), self.lock:
                self.noted = True

    def strike(self, thread: threading.Thread) -> None:
        """Raise OutOfTime in the thread, if it still works."""
        with self.lock:
            if not self.noted:
                number = ctypes.c_ulong(thread.ident or 0)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(OutOfTime))


def interrupt(thread: threading.Thread, over: Over, patience: float = 1.0) -> None:
    """Raise OutOfTime in the thread, again and again while it is caught there, for `patience` seconds at most.

    The garbage collector rests meanwhile: with a list that grows without end it runs most of the time, and an error
    that strikes in a callback of it (`gc.callbacks`, a weak reference) is printed and ends nothing.
    """
    until, collects = time.monotonic() + patience, gc.isenabled()
    gc.disable()
    try:
        while thread.is_alive() and time.monotonic() < until:
            over.strike(thread)
            thread.join(0.1)
    finally:
        if collects:
            gc.enable()


def traced(seconds: float, function: Callable[[], Result]) -> Result:
    """The same without a thread: every line looks at the clock."""
    until = time.monotonic() + seconds

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > until:
            raise OutOfTime(place_of(frame))
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        return function()
    finally:
        sys.settrace(before)


def place_of(frame: FrameType | None) -> str:
    """The innermost place in a learner's code: ` in line 3 of `my_read``; empty if there is none."""
    while frame:
        if is_learners(frame.f_code):
            return line_of(frame.f_code, frame.f_lineno)
        frame = frame.f_back
    return ""


def is_learners(code: CodeType) -> bool:
    """Whether this was written in a notebook: not by us, and not by Python's or other people's libraries."""
    path = code.co_filename
    return not ("<string>" in path or "<frozen" in path or path.startswith((PACKAGE, sys.prefix, sys.base_prefix)))


def line_of(code: CodeType, number: int) -> str:
    """A line as a sentence names it: counted from the function's `def`."""
    return f" in line {number - code.co_firstlineno + 1} of `{code.co_name}`"

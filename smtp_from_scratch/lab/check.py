"""The decorator that makes a function a check: it never raises, and reports one thing at a time.

    @check(hints=("Which end speaks first?", "Begin with the 220."), solution="01")
    def check_01_order(my_order):
        '''The lines are in an order that a server accepts.'''
        if my_order[0] != …:
            return Problem(gave=…, wire=…, look=…)     # or: yield Problem(…); the first one counts
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from smtp_from_scratch.lab.verdict import NotYet, Problem, Verdict

__all__ = ["NotYet", "Problem", "Verdict", "check", "is_unsolved"]

Checker = Callable[..., Any]


def check(hints: tuple[str, ...] = (), solution: str = "", passed: str = "",
          not_yet: str = "") -> Callable[[Checker], Callable[..., Verdict]]:
    """Make a checker of a function that returns or yields a `Problem`, or None when all is well.

    `passed` and `not_yet` are sentences for those two cases; by default the docstring's first line, and a request.
    """
    def decorate(function: Checker) -> Callable[..., Verdict]:
        praise = passed or (function.__doc__ or "it does what was asked.").strip().splitlines()[0]
        missing = not_yet or "replace the `...` by your answer, run that cell, then this one again."

        @functools.wraps(function)
        def checked(*things: Any, **named: Any) -> Verdict:
            if any(map(is_unsolved, (*things, *named.values()))):
                return Verdict(False, missing)
            try:
                problem = first_problem(function(*things, **named))
            except (NotYet, NotImplementedError) as error:
                return Verdict(False, str(error) or missing)
            except Exception as error:
                problem = problem_of(error)
            if problem is None:
                return Verdict(True, praise)
            return Verdict(False, "", problem, tuple(hints), solution)

        return checked
    return decorate


def first_problem(found: Any) -> Problem | None:
    """What a checker returned, or the first thing that it yields."""
    if isinstance(found, Iterator):
        found = next((problem for problem in found if problem), None)
    return found if found else None


def problem_of(error: Exception) -> Problem:
    """An exception as a problem: which, and in which line of whose function."""
    trace, where = error.__traceback__, ""
    while trace:
        frame = trace.tb_frame.f_code
        if "smtp_from_scratch" not in frame.co_filename and "<string>" not in frame.co_filename:
            where = f" in line {trace.tb_lineno - frame.co_firstlineno + 1} of `{frame.co_name}`"
        trace = trace.tb_next
    text = f": {error}" if str(error) else ""
    return Problem(gave=f"something that raises {type(error).__name__}{where}{text}",
                   look="Call it yourself in a cell of its own: the traceback names the line.")


def is_unsolved(thing: Any) -> bool:
    """Whether this is still the stub: `...`, None, something empty, or a function or class without a body."""
    if thing is None or thing is ...:
        return True
    if isinstance(thing, str | bytes | list | tuple | dict | set):
        blanks = thing.values() if isinstance(thing, dict) else thing
        return not thing or (not isinstance(thing, str | bytes) and any(item is ... for item in blanks))
    if isinstance(thing, FunctionType):
        return _body(thing) in _STUBS
    if isinstance(thing, type):
        return not [name for name in vars(thing) if not name.startswith("__")] and not _own_special(thing)
    return False


def _own_special(thing: type) -> bool:
    return any(isinstance(value, FunctionType) for value in vars(thing).values())


def _body(function: FunctionType) -> tuple[object, ...]:
    code = function.__code__
    consts = tuple(const for const in code.co_consts if const is not None and const != function.__doc__)
    return code.co_code, consts, code.co_names


def _bare() -> None: ...
def _documented() -> None:
    """Only words."""
def _returning() -> Any:
    return ...
def _documented_returning() -> Any:
    """Only words."""
    return ...


_STUBS = {_body(stub) for stub in (_bare, _documented, _returning, _documented_returning)}  # type: ignore[arg-type]

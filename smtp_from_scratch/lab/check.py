"""The decorator that makes a function a check: it never raises, never hangs, and reports one thing at a time.

    @check(
        hints=("Which end speaks first?", "Begin with the 220.", "The idea, in three sentences. …"),
        passed="the lines are in an order that a server accepts.",
    )
    def check_order(my_order):
        '''Exercise 1: an order of lines.'''
        if my_order[0] != …:
            return Problem(gave=…, wire=…, look=…)     # or: yield Problem(…); the first one counts

The check's file is named as its chapter's module, and its first parameter as what the learner writes: by these
`lab.yours` and `lab.progress` find it.
"""
from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from smtp_from_scratch.lab import record
from smtp_from_scratch.lab.deadline import OutOfTime, is_learners, line_of, within
from smtp_from_scratch.lab.figures.faces import Note
from smtp_from_scratch.lab.verdict import Hints, NotYet, Problem, Verdict, hint_of

__all__ = ["Check", "NotYet", "Problem", "Verdict", "as_number", "as_word", "check", "foreseeable", "is_unsolved"]

Checker = Callable[..., Any]
SECONDS = 10.0                                 # for a whole check; the slowest right answer takes a fifth of one
MISSING = "replace the `...` by your answer, run that cell, then this one again."


class Check:
    """A checker that can be called with anything, and has three hints from the beginning."""

    def __init__(self, function: Checker, hints: Hints, passed: str, not_yet: str, seconds: float) -> None:
        functools.update_wrapper(self, function)
        self.function, self.hints, self.seconds = function, hints, seconds
        self.passed = passed or (function.__doc__ or "it does what was asked.").strip().splitlines()[0]
        self.not_yet = not_yet or MISSING
        self.name, self.chapter = function.__name__, function.__module__.rpartition(".")[2]

    def hint(self, number: int = 1) -> Note:
        """1 is a question, 2 a line, 3 the idea in three sentences; no attempt is needed first."""
        return hint_of(self.hints, self.chapter, number)

    def __call__(self, *things: Any, **named: Any) -> Verdict:
        verdict = self.examine(*things, **named)
        if verdict.passed and self.function.__module__.startswith(f"{__package__}.checks."):
            record.passed(self.chapter, self.name)
        return verdict

    def examine(self, *things: Any, **named: Any) -> Verdict:
        """The verdict, whatever the learner's code does."""
        if any(map(is_unsolved, (*things, *named.values()))):
            return self.wants(self.not_yet)
        try:
            problem = within(self.seconds, lambda: first_problem(self.function(*things, **named)))
        except KeyboardInterrupt:
            return self.wants("you stopped the check before it was done.")
        except (NotYet, NotImplementedError) as error:
            return self.wants(str(error) or self.not_yet)
        except OutOfTime as error:
            problem = endless(self.seconds, str(error))
        except BaseException as error:         # SystemExit of an `exit()`, for instance
            problem = problem_of(error) if any(map(callable, (*things, *named.values()))) else unreadable(things)
        if problem is None:
            return Verdict(True, self.passed, None, self.hints, self.chapter)
        return Verdict(False, "", problem, self.hints, self.chapter)

    def wants(self, missing: str) -> Verdict:
        """There is no answer yet."""
        return Verdict(False, missing, None, self.hints, self.chapter)


def check(hints: Hints, passed: str = "", not_yet: str = "", seconds: float = SECONDS) -> Callable[[Checker], Check]:
    """Make a checker of a function that returns or yields a `Problem`, or None when all is well.

    `passed` and `not_yet` are sentences for those two cases; by default the docstring's first line, and a request.
    `seconds` is how long a whole check may take on a busy machine.
    """
    return lambda function: Check(function, hints, passed, not_yet, seconds)


def first_problem(found: Any) -> Problem | None:
    """What a checker returned, or the first thing that it yields."""
    if isinstance(found, Iterator):
        found = next((problem for problem in found if problem), None)
    return found if found else None


def as_number(answer: Any) -> Any:
    """An answer as a number where it is one that was written as text: `"8"` means 8."""
    words = answer.strip() if isinstance(answer, str) else ""
    return int(words) if words.lstrip("-").isdecimal() else answer


def as_word(answer: Any) -> Any:
    """An answer that is a word, in small letters; None where somebody wrote `"None"`."""
    word = answer.strip().lower() if isinstance(answer, str) else answer
    return None if word == "none" else word


def foreseeable(make: Callable[[], Any]) -> bool:
    """Whether a thing that should be a secret comes from `random`: the same seed makes the same thing again."""
    state, made = random.getstate(), []
    for _ in range(3):                         # a clock in it may go on between two of them
        random.seed(4711)
        made.append(make())
    random.setstate(state)
    return bool(made[0] == made[1] or made[1] == made[2])


def endless(seconds: float, where: str) -> Problem:
    """Something that does not end, and where it was when its time was over."""
    return Problem(gave=f"something that was still running after {seconds:g} seconds{where}",
                   wire="The other end waits as well, until one of the two hangs up.",
                   look="Which loop has no end, or what is waited for that never comes? "
                        "When a peer has hung up, `recv` returns `b\"\"`, again and again.")


def problem_of(error: BaseException) -> Problem:
    """An exception as a problem: which, and in which line of whose function."""
    trace, where = error.__traceback__, ""
    while trace:
        if is_learners(trace.tb_frame.f_code):
            where = line_of(trace.tb_frame.f_code, trace.tb_lineno)
        trace = trace.tb_next
    text = f": {error}" if str(error) else ""
    return Problem(gave=f"something that raises {type(error).__name__}{where}{text}",
                   look="Call it yourself in a cell of its own: the traceback names the line.")


def unreadable(things: tuple[Any, ...]) -> Problem:
    """An answer that is no function, and has another form than the one that was asked for."""
    return Problem(gave=f"an answer in another form: {', '.join(map(repr, things)):.80}",
                   look="Keep the form of the cell: the same brackets and names, an answer in place of each `...`.")


def is_unsolved(thing: Any) -> bool:
    """Whether this is still the stub: `...`, None, something empty, or a function or class without a body."""
    if thing is None or thing is ...:
        return True
    if isinstance(thing, str | bytes | list | tuple | dict | set):
        blanks = thing.values() if isinstance(thing, dict) else thing
        return not thing or (not isinstance(thing, str | bytes) and any(item is ... for item in blanks))
    if isinstance(thing, FunctionType):
        return _body(thing) in _STUBS
    if isinstance(thing, type):                # a base of the learner's own counts, one of ours does not
        return not any(_has_body(kind) for kind in thing.__mro__ if kind is thing or kind.__name__.startswith("My"))
    return False


def _has_body(kind: type) -> bool:
    return any(not name.startswith("__") or isinstance(value, FunctionType) for name, value in vars(kind).items())


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

"""Every check answers whatever it is given: it refuses what raises, what never ends, and what is of the wrong kind."""
from __future__ import annotations

import importlib
import pkgutil
import threading
from typing import Any

import pytest

from smtp_from_scratch.lab import checks
from smtp_from_scratch.lab.check import Check


def every_check() -> dict[str, Check]:
    names = [found.name for found in pkgutil.iter_modules(checks.__path__)]
    modules = [importlib.import_module(f"{checks.__name__}.{name}") for name in names]
    return {f"{check.chapter}.{check.name}": check for module in modules for check in vars(module).values()
            if isinstance(check, Check)}


def raises(*things: Any, **named: Any) -> Any:
    raise LookupError("lost")


def leaves(*things: Any, **named: Any) -> Any:
    raise SystemExit


def spins(*things: Any, **named: Any) -> Any:
    while True:
        pass


def yields_for_ever(*things: Any, **named: Any) -> Any:
    while True:
        yield things


class Broken:
    """A class of which no object can be made."""

    def __init__(self, *things: Any, **named: Any) -> None:
        raise LookupError("lost")


ANSWERS: list[Any] = [raises, leaves, spins, yields_for_ever, Broken, print, 42, "no", b"no", {"A": object()}, [None]]


@pytest.mark.slow
@pytest.mark.parametrize("name", every_check())
def test_a_check_answers_whatever_it_is_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = every_check()[name]
    monkeypatch.setattr(check, "seconds", 0.05)
    before = set(threading.enumerate())
    for answer in ANSWERS:
        verdict = check(answer)
        assert not verdict.passed, f"{answer!r} passes"
        assert len(str(verdict)) > 20, f"{answer!r} is refused without a word"
        ended = [thread for thread in set(threading.enumerate()) - before if thread.name == "check"]
        for thread in ended:
            thread.join(20.0)                  # on a busy machine it learns late that its time is over
        assert not any(thread.is_alive() for thread in ended), f"{answer!r} goes on"


@pytest.mark.parametrize("name", every_check())
def test_a_check_has_three_hints(name: str) -> None:
    check = every_check()[name]
    said = [str(check.hint(number)) for number in (1, 2, 3)]
    assert len(set(said)) == 3 and "0 hints" not in "".join(said)
    assert "?" in said[0], "the first is a question"

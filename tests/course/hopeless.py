"""Answers over which no check may stumble: one that never ends, one that raises, and answers in another form."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

OTHER_FORMS: list[Any] = [5, 2.5, True, "hello", b"hello", [1, 2, 3], (None, 1), [[1], 2],
                          {"A": 1}, {"hello": [1]}, object()]


def endless(*given: Any) -> Any:
    while True:
        pass


def endless_talk(*given: Any) -> Iterator[bytes]:
    while True:
        pass
    yield b""


def broken(*given: Any) -> Any:
    raise LookupError("the learner's own mistake")


def broken_talk(*given: Any) -> Iterator[bytes]:
    raise LookupError("the learner's own mistake")
    yield b""


def refuses_the_hopeless(check: Any, monkeypatch: Any, *, talk: bool = False) -> None:
    """What never ends is stopped, and what raises is told with the line of the learner's function."""
    monkeypatch.setattr(check, "seconds", 0.3)             # a whole check has ten
    for answer in (endless, endless_talk)[: 1 + talk]:
        verdict = check(answer)
        assert not verdict.passed and "still running" in str(verdict), str(verdict)
    monkeypatch.undo()
    for answer in (broken, broken_talk)[: 1 + talk]:
        verdict = check(answer)
        assert not verdict.passed and f"LookupError in line 2 of `{answer.__name__}`" in str(verdict), str(verdict)


def refuses_other_forms(check: Any) -> None:
    """An answer that is a number in place of a dictionary is no error of Python."""
    for answer in OTHER_FORMS:
        verdict = check(answer)
        assert not verdict.passed and "Error" not in str(verdict) and len(str(verdict)) < 900, f"{answer!r}: {verdict}"

"""Whatever a learner hands in: a check of these chapters explains it. It never raises, never hangs, is never fooled."""
from __future__ import annotations

from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.ehlo import Extension
from smtp_from_scratch.lab.register import checks_of

CHAPTERS = ("smtputf8", "submission", "dsn", "report", "lmtp", "futurerelease")
ENTRIES = {entry.name: entry for chapter in CHAPTERS for entry in checks_of(chapter)}
TABLES = {"check_utf8_codes": "abcdefgh", "check_doors": "abcdef", "check_wish_codes": "ABCDEFGH",
          "check_tidy": "ABCDE", "check_told": "ABCDEFGH"}
CODE = [name for name in ENTRIES if name not in TABLES]
HOOKS = ("parameters", "plan", "check", "advertise")


def examined(name: str) -> Any:
    return getattr(lab, name)


def as_asked(name: str, answer: Any) -> Any:
    """The function, or a class whose methods are that function, as the check examines it."""
    if not ENTRIES[name].examines.startswith("My"):
        return answer
    keyword = {"check_relay": "DSN", "check_future": "FUTURERELEASE"}[name]
    members = {"keyword": keyword, "__init__": lambda self, *given: None}
    return type("MyExtension", (Extension,), members | dict.fromkeys(HOOKS, answer))


def raises(*given: Any, **named: Any) -> Any:
    raise ZeroDivisionError("divided by the number of letters")


def endless(*given: Any, **named: Any) -> Any:
    while True:
        pass


@pytest.mark.parametrize("name", ENTRIES)
def test_hints_come_before_any_attempt(name: str) -> None:
    question, line, idea = (str(examined(name).hint(number)) for number in (1, 2, 3))
    assert len({question, line, idea}) == 3 and "?" in question and len(idea) > len(question)


@pytest.mark.parametrize("name", CODE)
def test_a_stub_is_not_answered_yet(name: str) -> None:
    def my_stub(*given: Any) -> Any:
        ...

    for stub in (..., None, as_asked(name, my_stub), as_asked(name, lambda *given: None)):
        verdict = examined(name)(stub)
        assert not verdict.passed and "Not yet" in str(verdict), str(verdict)


@pytest.mark.parametrize("name", CODE)
def test_an_answer_that_raises_is_told_where(name: str) -> None:
    verdict = examined(name)(as_asked(name, raises))
    assert not verdict.passed and "ZeroDivisionError in line 2 of `raises`" in str(verdict), str(verdict)


@pytest.mark.parametrize("name", CODE)
def test_an_answer_without_end_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examined(name), "seconds", 0.2)
    verdict = examined(name)(as_asked(name, endless))
    assert not verdict.passed and "still running after 0.2 seconds in line" in str(verdict), str(verdict)


@pytest.mark.parametrize("given", [7, 2.5, "nobody", b"octets", [7], {"a": 7}, object(), True])
@pytest.mark.parametrize("name", [name for name in CODE if not ENTRIES[name].examines.startswith("My")])
def test_an_answer_of_another_kind_is_no_error_of_the_check(name: str, given: Any) -> None:
    verdict = examined(name)(lambda *arguments, **named: given)
    assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_anything_is_refused(name: str) -> None:
    assert "Not yet" in str(examined(name)(dict.fromkeys(TABLES[name], ...)))
    for answer in (7, "x", -1, [250], object(), True, 2.5, b"250"):
        verdict = examined(name)(dict.fromkeys(TABLES[name], answer))
        assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)
    for table in ({}, {"z": 250}):
        assert "Not yet" in str(examined(name)(table))
    verdict = examined(name)([250, 501])
    assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)

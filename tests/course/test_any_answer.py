"""Whatever a learner hands in, the checks of these chapters explain it: they never raise, hang, or are fooled.

`test_every_check.py` asks less, of all checks; here an answer has the form that its check examines.
"""
from __future__ import annotations

from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.ehlo import Extension
from smtp_from_scratch.lab.checks.scram import TRUTH
from smtp_from_scratch.lab.checks.starttls import TICKS
from smtp_from_scratch.lab.register import checks_of
from smtp_from_scratch.sasl import Mechanism

CHAPTERS = ("starttls", "auth", "scram", "smtputf8", "submission", "dsn", "report", "pop3", "attacks", "trust",
            "lmtp", "futurerelease")
NAMES = [entry.name for chapter in CHAPTERS for entry in checks_of(chapter)]
PRICE = {how: dict.fromkeys(("PLAIN", "LOGIN", "CRAM-MD5"), ...) for how in ("one at a time", "PIPELINING")}
TABLES: dict[str, Any] = {                      # untouched
    "check_ticks": dict.fromkeys(TICKS, ...), "check_dialogues": dict.fromkeys("ABC", ...),
    "check_auth_bugs": dict.fromkeys("ABCDEF", ...), "check_price": PRICE,
    "check_matrix": {attacker: dict.fromkeys(row, ...) for attacker, row in TRUTH.items()},
    "check_utf8_codes": dict.fromkeys("abcdefgh", ...), "check_doors": dict.fromkeys("abcdef", ...),
    "check_wish_codes": dict.fromkeys("ABCDEFGH", ...), "check_tidy": dict.fromkeys("ABCDE", ...),
    "check_told": dict.fromkeys("ABCDEFGH", ...), "check_protocols": dict.fromkeys("ABCDEFGH", ...),
    "check_holes": dict.fromkeys("ABCDEF", ...),
    "check_six": dict.fromkeys("ABCDEF", ...), "check_sanitizers": dict.fromkeys("ABCD", ...)}
HOOKS = ("parameters", "plan", "check", "advertise")
CLASSES: dict[str, tuple[type, str, tuple[str, ...]]] = {       # the base, the keyword, the methods that are examined
    "check_requiretls": (Extension, "REQUIRETLS", ("parameters", "plan", "advertise")),
    "check_token": (Mechanism, "XOAUTH2", ("respond",)),
    "check_relay": (Extension, "DSN", HOOKS), "check_future": (Extension, "FUTURERELEASE", HOOKS)}
FUNCTIONS = [name for name in NAMES if name not in TABLES and name not in CLASSES]
TALKS = ("check_secure_server", "check_start_tls", "check_exchange")
RAISING_SAYS = ("check_exchange", "check_settle", "check_token")         # what an answer raises is what they look at
OTHER_KINDS = [7, 2.5, "nobody", b"octets", [7], {"a": 7}, object(), True, (None, b"")]


def examined(name: str) -> Any:
    return getattr(lab, name)


def as_asked(name: str, answer: Any) -> Any:
    """The function, or a class whose methods are that function, as the check examines it."""
    if name not in CLASSES:
        return answer
    base, keyword, methods = CLASSES[name]
    members = {"keyword": keyword, "name": keyword, "__init__": lambda self, *given: None}
    return type("MyClass", (base,), members | dict.fromkeys(methods, answer))


def raises(*given: Any, **named: Any) -> Any:
    raise ZeroDivisionError("divided by the number of letters")


def endless(*given: Any, **named: Any) -> Any:
    while True:
        pass


def endless_talk(*given: Any, **named: Any) -> Any:
    while True:
        yield b"NOOP\r\n"


def filled(table: Any, answer: Any) -> Any:
    """The table with this answer in every place."""
    return {key: filled(value, answer) for key, value in table.items()} if isinstance(table, dict) else answer


def test_every_check_of_these_chapters_is_here() -> None:
    assert set(TABLES) | set(CLASSES) | set(TALKS) <= set(NAMES) and len(FUNCTIONS) == len(NAMES) - 18


@pytest.mark.parametrize("name", NAMES)
def test_the_third_hint_says_more_than_the_first(name: str) -> None:
    question, _, idea = (str(examined(name).hint(number)) for number in (1, 2, 3))
    assert len(idea) > len(question)


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_a_stub_is_not_answered_yet(name: str) -> None:
    def my_stub(*given: Any) -> Any:
        ...

    for stub in (..., None, as_asked(name, my_stub), as_asked(name, lambda *given: None)):
        verdict = examined(name)(stub)
        assert not verdict.passed and "Not yet" in str(verdict), str(verdict)


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_an_answer_that_raises_is_told_where(name: str) -> None:
    verdict = examined(name)(as_asked(name, raises))
    told = "ZeroDivisionError" + " in line 2 of `raises`" * (name not in RAISING_SAYS)
    assert not verdict.passed and told in str(verdict), str(verdict)


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_an_answer_without_end_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (0.2, 2.0, 20.0):           # on a busy machine it has not begun with the answer after the first
        monkeypatch.setattr(examined(name), "seconds", seconds)
        verdict = examined(name)(as_asked(name, endless))
        if " in line" in str(verdict):
            break
    assert not verdict.passed and f"still running after {seconds:g} seconds in line" in str(verdict), str(verdict)


@pytest.mark.parametrize("name", TALKS)
def test_a_conversation_without_end_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examined(name), "seconds", 0.5)
    assert not examined(name)(endless_talk).passed


@pytest.mark.parametrize("given", OTHER_KINDS, ids=lambda given: type(given).__name__)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_answer_of_another_kind_is_no_error_of_the_check(name: str, given: Any) -> None:
    verdict = examined(name)(lambda *arguments, **named: given)
    assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)
    assert len(str(verdict)) < 900


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_anything_is_refused(name: str) -> None:
    for table in (TABLES[name], {}, ..., None):
        assert "Not yet" in str(examined(name)(table)), str(examined(name)(table))
    for answer in (7, "x", -1, [250], object(), 2.5, b"250"):
        verdict = examined(name)(filled(TABLES[name], answer))
        assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)
    for other in ([250, 501], "ABC", 7, object(), {"z": 250}, {"A": {}}):
        verdict = examined(name)(other)
        assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)

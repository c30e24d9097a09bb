"""The checks of `smtputf8` at wrong answers: each is refused for its own reason; right ones pass in any style."""
from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.smtputf8 import is_utf8, plan_utf8


def problem(verdict: Any) -> str:
    """All that a verdict says; it must not have passed."""
    assert not verdict.passed and verdict.problem is not None, str(verdict)
    return str(verdict)


# --- is_utf8 ---------------------------------------------------------------------------------------------------------


def by_encoding(text: str) -> bool:
    try:
        return bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


@pytest.mark.parametrize("answer, says", [
    (lambda text: True, "accepted"), (str.isascii, "refused"), (lambda text: "\udce9" not in text, "accepted"),
    (lambda text: not any("\ud800" <= c <= "\udcfe" for c in text), "accepted"),
    (lambda text: not any(c >= "\ud800" for c in text), "refused"),
    (lambda text: not ("\ud800" <= text[:1] <= "\udfff"), "accepted"),
])
def test_is_utf8(answer: Callable[[str], bool], says: str) -> None:
    assert lab.check_is_utf8(is_utf8).passed and lab.check_is_utf8(by_encoding).passed
    assert says in problem(lab.check_is_utf8(answer))


# --- plan_utf8 -------------------------------------------------------------------------------------------------------


def one_by_one(plan: Any) -> None:
    if "SMTPUTF8" in plan.needs and plan.client.uses("8BITMIME"):
        plan.needs.discard("SMTPUTF8")
        plan.needs.discard("8BITMIME")
        plan.mail.parameters.update({"SMTPUTF8": None, "BODY": plan.mail.parameters.get("BODY", "8BITMIME")})


def always(plan: Any) -> None:
    plan.mail.parameters["SMTPUTF8"] = None
    plan.mail.parameters.setdefault("BODY", "8BITMIME")
    plan.needs -= {"SMTPUTF8", "8BITMIME"}


def alone(plan: Any) -> None:
    if "SMTPUTF8" in plan.needs and plan.client.uses("8BITMIME"):
        plan.mail.parameters["SMTPUTF8"] = None
        plan.needs.discard("SMTPUTF8")


def without_asking(plan: Any) -> None:
    if "SMTPUTF8" in plan.needs:
        always(plan)


def over_binary(plan: Any) -> None:
    if "SMTPUTF8" in plan.needs and plan.client.uses("8BITMIME"):
        plan.mail.parameters |= {"SMTPUTF8": None, "BODY": "8BITMIME"}
        plan.needs -= {"SMTPUTF8", "8BITMIME"}


def with_a_value(plan: Any) -> None:
    if "SMTPUTF8" in plan.needs and plan.client.uses("8BITMIME"):
        plan_utf8(plan)
        plan.mail.parameters["SMTPUTF8"] = ""


@pytest.mark.parametrize("answer, says", [
    (always, "needs nothing"), (alone, "MAIL with {'SMTPUTF8': None}"), (without_asking, "alone is offered"),
    (over_binary, "BINARYMIME"), (with_a_value, "'SMTPUTF8': ''"),
])
def test_plan_utf8(answer: Callable[[Any], None], says: str) -> None:
    assert lab.check_plan_utf8(plan_utf8).passed and lab.check_plan_utf8(one_by_one).passed
    assert says in problem(lab.check_plan_utf8(answer))


# --- the judge and the codes -----------------------------------------------------------------------------------------


def judge(verb: str, argument: str, transaction: dict[str, Any], mail: int = 550, other: int = 553,
          never: int = 501) -> int | None:
    words = argument.upper().split()
    if argument.isascii():
        return None
    if verb not in ("MAIL", "RCPT", "VRFY", "EXPN"):
        return never
    found = "SMTPUTF8" in (transaction if verb == "RCPT" else words)
    return None if found else mail if verb == "MAIL" else other


def by_cases(verb: str, argument: str, transaction: dict[str, Any]) -> int | None:
    if all(character < "\x80" for character in argument):
        return None
    match verb:
        case "RCPT":
            return None if "SMTPUTF8" in transaction else 553
        case "MAIL" | "VRFY" | "EXPN":
            announced = "smtputf8" in argument.lower().split(" ")[1:]
            return None if announced else {"MAIL": 550}.get(verb, 553)
    return 501


@pytest.mark.parametrize("answer, says", [
    (lambda verb, argument, transaction: None if verb == "MAIL" else judge(verb, argument, transaction), "say 550"),
    (lambda verb, argument, transaction: judge(verb, argument, transaction, mail=553), "553 for MAIL"),
    (lambda verb, argument, transaction: judge(verb, argument, transaction, other=550), "550 for RCPT"),
    (lambda verb, argument, transaction: judge(verb, argument, transaction, never=553), "553 for NOOP"),
    (lambda verb, argument, transaction: judge(verb, argument, transaction or {"SMTPUTF8": 0}), "RCPT"),
    (lambda verb, argument, transaction: judge(verb, argument, dict(filter(all, transaction.items()))),
     "its value is None"),
    (lambda verb, argument, transaction: judge(verb, argument + " SMTPUTF8" * ("smtputf8" in argument), transaction),
     "josé-smtputf8"),
    (lambda verb, argument, transaction: judge(verb, argument.replace(" BODY=8BITMIME", "é"), transaction), "BODY"),
])
def test_judge(answer: Callable[..., Any], says: str) -> None:
    assert lab.check_judge(judge).passed
    assert lab.check_judge(by_cases).passed
    assert says in problem(lab.check_judge(answer))


CODES = {"a": 550, "b": 250, "c": 250, "d": 250, "e": 250, "f": 553, "g": 250, "h": 501}


@pytest.mark.parametrize("wrong", [{"a": 553}, {"f": 550}, {"f": 250}, {"g": 553}, {"h": 553}, {"b": 501}])
def test_codes(wrong: dict[str, int]) -> None:
    assert lab.check_utf8_codes(CODES).passed and lab.check_utf8_codes(dict(reversed(CODES.items()))).passed
    assert next(iter(wrong)) in problem(lab.check_utf8_codes(CODES | wrong))
    assert lab.check_utf8_codes({name: str(code) for name, code in CODES.items()}).passed
    assert not lab.check_utf8_codes({}).passed


# --- the way, `with`, twins ------------------------------------------------------------------------------------------


def way(addresses: list[str], header: str, body: str, offered: set[str]) -> set[str] | None:
    needed = set()
    if not (header + "".join(addresses)).isascii():
        needed |= {"SMTPUTF8", "BODY=8BITMIME"}
    if not body.isascii():
        needed.add("BODY=8BITMIME")
    return needed if {word.removeprefix("BODY=") for word in needed} <= offered else None


@pytest.mark.parametrize("answer", [
    lambda addresses, header, body, offered: set(),
    lambda addresses, header, body, offered: {"SMTPUTF8", "BODY=8BITMIME"},
    lambda addresses, header, body, offered: way(addresses, "", body, offered),
    lambda addresses, header, body, offered: way(addresses, header, "", offered),
    lambda addresses, header, body, offered: way(addresses, header, body, {"SMTPUTF8", "8BITMIME"}),
    lambda addresses, header, body, offered: list(way(addresses, header, body, offered) or ()),
])
def test_way(answer: Callable[..., Any]) -> None:
    assert lab.check_way(way).passed
    problem(lab.check_way(answer))


def by_table(extended: bool, utf8: bool, tls: bool, user: bool) -> str:
    return ["SMTP", "SMTP", "ESMTP", "UTF8SMTP"][2 * extended + utf8] + ("S" * tls + "A" * user) * extended


@pytest.mark.parametrize("answer", [
    lambda extended, utf8, tls, user: "ESMTP", lambda extended, utf8, tls, user: by_table(True, utf8, tls, user),
    lambda extended, utf8, tls, user: by_table(extended, False, tls, user),
    lambda extended, utf8, tls, user: by_table(extended, utf8, user, tls),
])
def test_with(answer: Callable[..., Any]) -> None:
    assert lab.check_with(by_table).passed
    problem(lab.check_with(answer))


def bare(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", name.casefold()) if not unicodedata.combining(c))


def form(name: str) -> str:
    return unicodedata.normalize("NFD", name.casefold())


@pytest.mark.parametrize("answer", [
    lambda wanted, taken: wanted in taken, lambda wanted, taken: wanted.casefold() in map(str.casefold, taken),
    lambda wanted, taken: bare(wanted) in map(bare, taken), lambda wanted, taken: form(wanted) in taken,
    lambda wanted, taken: bool(taken),
])
def test_taken(answer: Callable[..., Any]) -> None:
    assert lab.check_taken(lambda wanted, taken: form(wanted) in map(form, taken)).passed
    assert lab.check_taken(lambda wanted, taken: any(form(wanted) == form(name) for name in taken)).passed
    problem(lab.check_taken(answer))

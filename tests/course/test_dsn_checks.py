"""The checks of `dsn` tell right answers from wrong ones, in any style, and say which wrong one it is."""
from __future__ import annotations

import random
import re
from itertools import count
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.dsn import Dsn, parse_envid, parse_notify, request
from smtp_from_scratch.ehlo import Extension
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.xtext import decode_xtext
from tests.solutions import solution


def wrong(verdict: Any, *words: str) -> None:
    """The check has found something, and speaks of it."""
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


# --- NOTIFY ----------------------------------------------------------------------------------------------------------


def any_case(value: str) -> set[str]:
    """Forgets that NEVER stands alone."""
    words = set(value.upper().split(","))
    if not words <= {"SUCCESS", "FAILURE", "DELAY", "NEVER"}:
        raise ValueError(value)
    return words - {"NEVER"}


def case_matters(value: str) -> set[str]:
    if value != "NEVER" and not set(value.split(",")) <= {"SUCCESS", "FAILURE", "DELAY"}:
        raise ValueError(value)
    return set(value.split(",")) - {"NEVER"}


def forgives(value: str) -> set[str]:
    """Lets empty words pass."""
    return set(parse_notify(",".join(filter(None, value.split(",")))))


@pytest.mark.parametrize("answer, says", [
    (lambda value: None, "Not yet"), (lambda value: ..., "Not yet"), (any_case, "NEVER,SUCCESS"),
    (case_matters, "delay,Success"), (lambda value: set(value.upper().split(",")), "NEVER"),
    (forgives, "SUCCESS,,DELAY"),
    (lambda value: set() if set(value.upper().split(",")) == {"NEVER"} else parse_notify(value), "NEVER,NEVER"),
])
def test_notify_refuses(answer: Any, says: str) -> None:
    if says == "Not yet" and answer("SUCCESS") is ...:
        assert not lab.check_notify(answer).passed
    else:
        wrong(lab.check_notify(answer), says)


def by_pattern(value: str) -> list[str]:
    if re.fullmatch("never", value, re.IGNORECASE):
        return []
    if not re.fullmatch("(success|failure|delay)(,(success|failure|delay))*", value, re.IGNORECASE):
        raise ValueError(value)
    return value.upper().split(",")


@pytest.mark.parametrize("answer", [parse_notify, by_pattern, solution("19_dsn", "notify-code")["my_notify"]])
def test_notify_in_any_style(answer: Any) -> None:
    assert lab.check_notify(answer).passed


# --- ENVID -----------------------------------------------------------------------------------------------------------


def longer(value: str, limit: int = 200) -> str:
    text = decode_xtext(value)
    if not text or len(text) > limit or not all(" " <= c <= "~" or c == "\t" for c in text):
        raise ValueError
    return text


def printable(value: str) -> str:
    """Forgets the tab."""
    text = decode_xtext(value)
    if not text.isprintable() or not text.isascii() or not text or len(value) > 100:
        raise ValueError
    return text


def beyond(value: str) -> str:
    text = decode_xtext(value)
    if not text or len(value) > 100 or any(c < " " and c != "\t" or c == "\x7f" for c in text):
        raise ValueError
    return text


@pytest.mark.parametrize("answer, says", [
    (lambda value: None, "Not yet"), (decode_xtext, "line end"), (lambda value: value, "choir"), (longer, "hundred"),
    (printable, "ValueError for 'a+09b'"), (beyond, "ASCII"),
    (lambda value: longer(value, 100), "limit is for the value"),
])
def test_envid_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_envid(answer), says)


@pytest.mark.parametrize("answer", [parse_envid, solution("19_dsn", "envid-code")["my_envid"]])
def test_envid_in_any_style(answer: Any) -> None:
    assert lab.check_envid(answer).passed


# --- a hop -----------------------------------------------------------------------------------------------------------


class Everything(Dsn):
    def plan(self, plan: Any) -> None:
        plan.mail.parameters |= plan.message.envelope.parameters
        for address, parameters in plan.recipients.items():
            parameters |= plan.message.envelope.options.get(address, {})


class TidiesUp(Dsn):
    def plan(self, plan: Any) -> None:
        super().plan(plan)
        for parameters in plan.recipients.values():
            if notify := parameters.get("NOTIFY"):
                parameters["NOTIFY"] = notify.upper()


class MailOnly(Dsn):
    def plan(self, plan: Any) -> None:
        super().plan(plan)
        for parameters in plan.recipients.values():
            parameters.clear()


class FirstForAll(Dsn):
    """What the first recipient wishes is said of everybody."""

    def plan(self, plan: Any) -> None:
        super().plan(plan)
        first = next(iter(plan.recipients.values()))
        plan.recipients = dict.fromkeys(plan.recipients, first)


class AlwaysAsks(Dsn):
    def plan(self, plan: Any) -> None:
        super().plan(plan)
        plan.mail.parameters.setdefault("RET", "HDRS")


class Nothing(Extension):
    keyword = "DSN"


@pytest.mark.parametrize("answer, says", [
    (Nothing, "Not yet"), (Everything, "BODY"), (TidiesUp, "Success"), (MailOnly, "NOTIFY"),
    (FirstForAll, "kenji"), (AlwaysAsks, "Nobody asked"),
])
def test_a_hop_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_relay(answer), says)


@pytest.mark.parametrize("answer", [Dsn, solution("19_dsn", "relay-code")["MyDsn"]])
def test_a_hop_in_any_style(answer: Any) -> None:
    assert lab.check_relay(answer).passed


# --- exercises 1 and 2 -----------------------------------------------------------------------------------------------

CODES = solution("19_dsn", "codes-code")["my_wish_codes"]
TIDY = solution("19_dsn", "tidy-code")["my_tidy"]


@pytest.mark.parametrize("name", CODES)
def test_wish_codes_refuse(name: str) -> None:
    wrong(lab.check_wish_codes(CODES | {name: 751 - CODES[name]}), f"for {name}")
    assert "Not yet" in str(lab.check_wish_codes({key: code for key, code in CODES.items() if key != name}))


def test_wish_codes_as_the_server_has_them() -> None:
    """What the exercise calls right is what our own server says."""
    from smtp_from_scratch.dsn import ON_MAIL, ON_RCPT
    from smtp_from_scratch.status import CodedSession

    values = {"A": ("RET", "full"), "B": ("ENVID", "a=b"), "C": ("ENVID", "QQ314159"), "D": ("ENVID", None),
              "E": ("NOTIFY", "NEVER,DELAY"), "F": ("NOTIFY", "DELAY,SUCCESS"), "G": ("ORCPT", "yui@tokyo.example"),
              "H": ("ORCPT", "x-fax;+2B81-3-5555")}
    table = {**ON_MAIL, **ON_RCPT}
    found = {key: table[name].check(CodedSession(), value) for key, (name, value) in values.items()}
    assert {key: reply.code if reply else 250 for key, reply in found.items()} == CODES
    assert lab.check_wish_codes(CODES).passed
    assert lab.check_wish_codes({key: str(code) for key, code in CODES.items()}).passed


@pytest.mark.parametrize("name", TIDY)
def test_tidy_refuses(name: str) -> None:
    wrong(lab.check_tidy(TIDY | {name: "lost" if TIDY[name] != "lost" else None}), f"for {name}")


def test_tidy() -> None:
    assert lab.check_tidy({name: str(fault).title() for name, fault in TIDY.items()}).passed
    assert lab.check_tidy(TIDY).passed and lab.check_tidy(dict(reversed(TIDY.items()))).passed
    assert not lab.check_tidy({}).passed


# --- a newsletter ----------------------------------------------------------------------------------------------------

NUMBERS = count(1)


def news(issue: str, members: list[str], **wishes: Any) -> Envelope:
    envid = f"{issue} {random.SystemRandom().getrandbits(64):x}"
    wishes = {"ret": "HDRS", "envid": envid, "notify": "FAILURE", "orcpt": {m: m for m in members}} | wishes
    return request(Envelope("news@choir.example", list(members)), **wishes)


def counted(issue: str, members: list[str]) -> Envelope:
    return news(issue, members, envid=f"issue {issue}, number {next(NUMBERS):06}")


@pytest.mark.parametrize("answer, says", [
    (lambda issue, members: None, "Not yet"), (lambda issue, members: {}, "dict"),
    (lambda issue, members: news(issue, members, ret="FULL"), "RET=FULL"),
    (lambda issue, members: news(issue, members, notify=""), "delays comes too"),
    (lambda issue, members: news(issue, members, notify="FAILURE,DELAY"), "something else"),
    (lambda issue, members: news(issue, members, orcpt={}), "ORCPT=None"),
    (lambda issue, members: news(issue, members, envid=f"issue {issue}"), "stranger guesses"),
    (counted, "stranger guesses"),
    (lambda issue, members: news(issue, members, envid=f"{random.getrandbits(90):o}"), "which issue"),
    (lambda issue, members: news(issue, members, envid=f"{issue}-{random.getrandbits(90)}"), "made with `random`"),
    (lambda issue, members: news(issue, members[:1]), "elsewhere"),
])
def test_a_newsletter_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_newsletter(answer), says)


@pytest.mark.parametrize("answer", [news, solution("19_dsn", "newsletter-code")["my_newsletter"]])
def test_a_newsletter_in_any_style(answer: Any) -> None:
    assert lab.check_newsletter(answer).passed

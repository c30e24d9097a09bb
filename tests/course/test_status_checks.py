"""The checks of `status` find what is wrong, say so, and take right answers in any style."""
from __future__ import annotations

import re
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.lab.checks.status import MEANINGS
from smtp_from_scratch.status import BY_CODE, USUAL, split_enhanced, usual_code
from smtp_from_scratch.wire import Reply
from tests.course.hopeless import refuses_other_forms, refuses_the_hopeless


def refused(verdict: Any, says: str) -> None:
    assert not verdict.passed and says in str(verdict), str(verdict)


@pytest.mark.parametrize("wrong, says", [
    (lambda verb, code: BY_CODE.get(code) or USUAL.get((verb, code)) or f"{code // 100}.0.0", "452"),
    (lambda verb, code: USUAL.get((verb, code)) or f"{code // 100}.0.0", "'4.3.2'"),
    (lambda verb, code: USUAL.get((verb, code)) or BY_CODE.get(code), "None"),
    (lambda verb, code: USUAL.get((verb, code)) or BY_CODE.get(code) or "5.0.0", "contradicts"),
    (lambda verb, code: "2.0.0", "not the true one"), (lambda verb, code: USUAL[verb, code], "KeyError"),
    (lambda verb, code: BY_CODE.get(code) or f"{code}"[0] + ".0.0", "2.1.0"),
])
def test_usual_code(wrong: Any, says: str) -> None:
    refused(lab.check_usual_code(wrong), says)


def step_by_step(verb: str, code: int) -> str:
    if (verb, code) in USUAL:
        return USUAL[verb, code]
    if code in BY_CODE:
        return BY_CODE[code]
    return str(code)[0] + ".0.0"


def test_usual_code_in_other_styles() -> None:
    assert lab.check_usual_code(step_by_step).passed and lab.check_usual_code(usual_code).passed


CODE = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?: |$)", re.MULTILINE)


def split(*, believes: bool = False, first_only: bool = False, strip: bool = True, again: bool = False,
          pattern: re.Pattern[str] = CODE, everywhere: bool = False) -> Any:
    def my_split_enhanced(reply: Reply) -> Any:
        found = pattern.match(reply.text)
        if not found or (reply.enhanced and not again) or (found[1] != str(reply.code)[0] and not believes):
            return reply
        code = found[0].rstrip()
        lines = reply.lines
        if everywhere:
            lines = [line.replace(code, "") for line in lines]
        else:
            lines = [line.removeprefix(code) if n == 0 or not first_only else line for n, line in enumerate(lines)]
        return Reply(reply.code, "\n".join(line.lstrip(" ") if strip else line for line in lines), code)

    return my_split_enhanced


@pytest.mark.parametrize("wrong, says", [
    (lambda reply: reply, "reads nothing"), (split(believes=True), "did not give"),
    (split(first_only=True), "ask the choir"),
    (split(strip=False), "'2.1.0 fine'"), (split(again=True), "2.0.0"), (split(everywhere=True), "joke"),
    (split(pattern=re.compile(r"(\d+)\.(\d+)\.(\d+)")), "did not give"),
    (split(pattern=re.compile(r"([245])\.(\d)\.(\d)(?: |$)")), "5.7.509"),
    (split(pattern=re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?: |$)")), "ask the choir"),
    (lambda reply: split_enhanced(reply) if split_enhanced(reply) != reply else None, "no reply"),
    (lambda reply: (split_enhanced(reply).enhanced, reply.text), "2.1.0"),
])
def test_split_enhanced(wrong: Any, says: str) -> None:
    refused(lab.check_split_enhanced(wrong), says)


def by_words(reply: Reply) -> Reply:
    word = reply.text.split("\n")[0].split(" ")[0]
    parts = word.split(".")
    fits = len(parts) == 3 and parts[0] == str(reply.code)[0] and parts[0] in "245" and all(
        re.fullmatch(r"\d{1,3}", part) for part in parts)
    if not fits or reply.enhanced:
        return reply
    lines = [line[len(word):].lstrip(" ") if line.startswith(word) else line for line in reply.lines]
    return Reply(reply.code, "\n".join(lines), word)


def test_split_enhanced_in_other_styles() -> None:
    assert lab.check_split_enhanced(split()).passed and lab.check_split_enhanced(split_enhanced).passed
    assert lab.check_split_enhanced(by_words).passed


FULL = "552: the mailbox of this recipient is full"


@pytest.mark.parametrize("wrong, says", [
    ({FULL: "5.3.4"}, "what is it about"), ({FULL: "4.2.2"}, "first digit of 552"), ({FULL: "5.2.3"}, "The detail"),
    ({FULL: "522"}, "Three numbers"), ({FULL: 5.2}, "Three numbers"),
])
def test_meanings(wrong: dict[str, Any], says: str) -> None:
    refused(lab.check_meanings(MEANINGS | wrong), says)


def test_meanings_in_other_styles() -> None:
    assert lab.check_meanings(MEANINGS).passed
    assert lab.check_meanings({sentence: f" {code} " for sentence, code in MEANINGS.items()}).passed
    assert lab.check_meanings(MEANINGS | {FULL: ...}).problem is None


@pytest.mark.parametrize("wrong, says", [
    ({"A": 6}, "Class 5"), ({"B": 8}, "And this one"), ({"C": 4}, "first word"), ({"C": 8}, "line 8"),
])
def test_bugs(wrong: dict[str, Any], says: str) -> None:
    right = {"A": 8, "B": 10, "C": 3}
    refused(lab.check_status_bugs(right | wrong), says)
    assert lab.check_status_bugs(right).passed and lab.check_status_bugs(right | {"A": " 8"}).passed


def subscriber(*, again: bool = True, own: bool = True, off: bool = True, digit: bool = False,
               bare: str = "ask") -> Any:
    def my_subscriber(reply: Reply) -> Any:
        if reply.positive:
            return "keep"
        if again and reply.temporary:
            return "again"
        if not reply.enhanced:
            return bare
        if (own and reply.enhanced == "5.1.8") or (off and reply.enhanced == "5.2.1"):
            return "ask" if reply.enhanced == "5.1.8" else "remove"
        subject = reply.enhanced[2] if digit else reply.enhanced.split(".")[1]
        return {"1": "remove", "2": "wait"}.get(subject, "ask")

    return my_subscriber


@pytest.mark.parametrize("wrong, says", [
    (subscriber(again=False), "becomes final"), (subscriber(own=False), "does not understand"),
    (subscriber(off=False), "5.2.1"), (subscriber(digit=True), "5.17.1"),
    (subscriber(bare="remove"), "no such mailbox"),
    (lambda reply: "remove", "is bothered"), (lambda reply: None if reply.positive else "ask", "'keep'"),
])
def test_subscriber(wrong: Any, says: str) -> None:
    refused(lab.check_subscriber(wrong), says)


def by_match(reply: Reply) -> str:
    match reply.code // 100, *(reply.enhanced or "5.0.0").split("."):
        case 2, *_: return "keep"
        case 4, *_: return "again"
        case _, _, "1", "8": return "ask"
        case (_, _, "1", _) | (_, _, "2", "1"): return "remove"
        case _, _, "2", _: return "wait"
    return "ask"


def test_subscriber_in_other_styles() -> None:
    assert lab.check_subscriber(subscriber()).passed and lab.check_subscriber(by_match).passed


@pytest.mark.parametrize("check", [lab.check_usual_code, lab.check_split_enhanced, lab.check_subscriber],
                         ids=lambda check: check.name)
def test_what_never_ends_and_what_raises(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses_the_hopeless(check, monkeypatch)


@pytest.mark.parametrize("check", [lab.check_meanings, lab.check_status_bugs], ids=lambda check: check.name)
def test_answers_in_another_form(check: Any) -> None:
    refuses_other_forms(check)


def test_what_is_untouched_is_not_answered_yet() -> None:
    def nothing(*given: Any) -> Any: ...

    for check, answer in ((lab.check_usual_code, nothing), (lab.check_split_enhanced, nothing),
                          (lab.check_subscriber, nothing), (lab.check_meanings, dict.fromkeys(MEANINGS, ...)),
                          (lab.check_status_bugs, dict.fromkeys("ABC", ...))):
        assert "Not yet" in str(check(answer))
        assert all(str(check.hint(number)) for number in (1, 2, 3))

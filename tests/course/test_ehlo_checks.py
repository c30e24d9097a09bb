"""The checks of `ehlo` find what is wrong, say so, and take right answers in any style."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.ehlo import (
    EightBitMime,
    Extension,
    Parameter,
    check_parameters,
    ehlo,
    one_of,
    read_offers,
    read_parameters,
)
from smtp_from_scratch.session import helo
from smtp_from_scratch.wire import Reply


def refused(verdict: Any, says: str) -> None:
    assert not verdict.passed and says in str(verdict), str(verdict)


# -- EHLO --


def listing(**done: bool) -> Callable[[Any, str], Any]:
    """EHLO, with one thing done otherwise."""

    def my_ehlo(session: Any, argument: str) -> Any:
        if done.get("early"):
            session.extended = session.verb == "EHLO"
        reply = helo(session, argument)
        if not reply.positive and not done.get("deaf"):
            return reply if done.get("helo") else Reply(501, reply.text.replace("HELO", session.verb))
        if not done.get("forgets"):
            session.extended = session.verb == "EHLO" or done.get("both", False)
        if session.verb == "HELO" and not done.get("both"):
            return reply
        lines = [extension.advertise(session) for extension in session.extensions.extensions]
        if done.get("keywords"):
            lines = [extension.keyword for extension in session.extensions.extensions]
        if done.get("reverse"):
            lines.reverse()
        lines = [str(line) for line in lines if line is not None or done.get("none")]
        lines = [session.hostname] * (not done.get("nameless")) + lines + ["HELP"] * (not done.get("helpless"))
        return Reply(250, ("\r\n" if done.get("crlf") else "\n").join(lines))

    return my_ehlo


@pytest.mark.parametrize("wrong, says", [
    (lambda session, argument: helo(session, argument), "the lines"), (listing(keywords=True), "SIZE 5000"),
    (listing(none=True), "None is hidden"), (listing(nameless=True), "our name"), (listing(helpless=True), "HELP"),
    (listing(reverse=True), "in its order"), (listing(forgets=True), "hears 555"), (listing(both=True), "of 1982"),
    (listing(helo=True), "EHLO (rio"), (listing(early=True), "the session has changed"), (listing(deaf=True), "501"),
    (listing(crlf=True), "ValueError"), (lambda session, argument: "250 ok", "falls back to HELO"),
])
def test_ehlo(wrong: Any, says: str) -> None:
    refused(lab.check_ehlo(wrong), says)


def test_ehlo_in_other_styles() -> None:
    assert lab.check_ehlo(listing()).passed and lab.check_ehlo(ehlo).passed
    stub = lab.check_ehlo(lambda session, argument: (helo(session, argument), ...)[1])
    assert not stub.passed and stub.problem is None


# -- parameters --


GRAMMAR = re.compile(r"[a-z0-9][a-z0-9-]*(=[^\x00-\x20=\x7f]+)?", re.IGNORECASE)


def by_comprehension(text: str) -> Any:
    words = [word for word in text.split(" ") if word]
    if not all(map(GRAMMAR.fullmatch, words)) or text[:1] not in ("", " "):
        return Reply(501, "no parameter")
    names = [word.split("=")[0].upper() for word in words]
    if len(set(names)) < len(names):
        return Reply(501, "twice")
    return dict(zip(names, (word.split("=", 1)[1] if "=" in word else None for word in words), strict=True))


@pytest.mark.parametrize("wrong, says", [
    (lambda text: dict(word.partition("=")[::2] for word in text.split()), "body"),
    (lambda text: {k.upper(): v for k, v in by_comprehension(text).items()} if text.count("=") < 2 else {}, "BODY"),
    (lambda text: {w.partition("=")[0]: w.partition("=")[2] or None for w in text.split()}, "body"),
    (lambda text: {w.partition("=")[0].upper(): w.partition("=")[2] or None for w in text.split()}, "silently win"),
    (lambda text: by_comprehension(text) if isinstance(by_comprehension(text), dict) else 501, "or a Reply"),
    (lambda text: by_comprehension(f" {text}") if text else {}, "'SIZE=1'"),
    (lambda text: by_comprehension(" ".join(text.split())) if text[:1] != " " else by_comprehension(
        " " + " ".join(text.split())), "SIZE=1\\tBODY"),
    (lambda text: {}, "SIZE=1000"),
])
def test_parameters(wrong: Any, says: str) -> None:
    refused(lab.check_parameters(wrong), says)


def test_parameters_in_other_styles() -> None:
    assert lab.check_parameters(by_comprehension).passed and lab.check_parameters(read_parameters).passed


# -- values --


def values(*, case: bool = True, none: Any = 501, octets: bool = True, wrap: bool = True, code: int = 501) -> Any:
    def my_one_of(*allowed: str, octets_: int = 0, **given: int) -> Any:
        def check(session: Any, value: str | None) -> Any:
            if value is None:
                return Reply(none, "no") if none else None
            found = (value.upper() if case else value) in allowed
            return None if found else Reply(code, "no")

        return Parameter(check, given.get("octets", octets_) if octets else 0) if wrap else check

    return my_one_of


shared: list[str] = []


def one_list(*allowed: str, octets: int = 0) -> Parameter:
    shared.extend(allowed)
    return Parameter(lambda session, value: None if (value or "").upper() in shared else Reply(501, "no"), octets)


@pytest.mark.parametrize("wrong, says", [
    (values(wrap=False), "Return Parameter"), (values(octets=False), "too long"), (values(case=False), "in any case"),
    (values(none=None), "None is a parameter without a value"), (values(code=555), "501"), (one_list, "'YES'"),
    (lambda *allowed, octets=0: Parameter(lambda session, value: None, octets), "do not know"),
    (lambda *allowed, octets=0: Parameter(lambda session, value: value.upper() not in allowed or None, octets), ""),
    (lambda *allowed, octets=0: Parameter(lambda session, value: bool(value) and value.upper() in allowed, octets),
     "returns True for '7BIT'"),
])
def test_one_of(wrong: Any, says: str) -> None:
    refused(lab.check_one_of(wrong), says)


def test_one_of_in_other_styles() -> None:
    assert lab.check_one_of(values()).passed and lab.check_one_of(one_of).passed


def known(*, extended: bool = True, first: bool = False, last: bool = False, verb: str = "", code: int = 555,
          names_first: bool = False) -> Any:
    def my_check_parameters(session: Any, given_verb: str, given: Mapping[str, Any]) -> Any:
        table = session.extensions.parameters.get(verb or given_verb, {})
        if names_first and any(name not in table for name in given):
            return Reply(code, "no")
        for name, value in given.items():
            if name not in table or (extended and not session.extended):
                return Reply(code, "no")
            verdicts = [parameter.check(session, value) for parameter in table[name]]
            if first or (last and None not in verdicts):
                verdicts = [verdicts[0] if first else verdicts[-1]]
            if None not in verdicts:
                return verdicts[0]
        return None

    return my_check_parameters


@pytest.mark.parametrize("wrong, says", [
    (known(extended=False), "after HELO"), (known(first=True), "'B': '7'"), (known(last=True), "504"),
    (known(verb="MAIL"), "RCPT"), (known(code=501), "unknown here"), (known(names_first=True), "another reason"),
    (lambda session, verb, given: Reply(555, "no"), "good command"),
    (lambda session, verb, given: [] if not given else Reply(555, "no"), "or None"),
    (lambda session, verb, given: session.extensions.parameters[verb] and None, ""),
])
def test_known(wrong: Any, says: str) -> None:
    refused(lab.check_known(wrong), says)


def in_one_go(session: Any, verb: str, given: Mapping[str, Any]) -> Any:
    table = session.extensions.parameters.get(verb, {}) if session.extended else {}
    for name in given:
        verdicts = [parameter.check(session, given[name]) for parameter in table.get(name, ())] or [Reply(555, "no")]
        if all(verdicts):
            return verdicts[0]
    return None


def test_known_in_other_styles() -> None:
    assert lab.check_known(known()).passed and lab.check_known(check_parameters).passed
    assert lab.check_known(in_one_go).passed


# -- 8BITMIME --


def eight(keyword: str = "8BITMIME", verb: str = "MAIL", octets: int = 17, name: str = "BODY",
          values: tuple[str, ...] = ("7BIT", "8BITMIME")) -> type:
    body = {"keyword": keyword, "parameters": lambda self: {verb: {name: one_of(*values, octets=octets)}}}
    return type("MyEightBitMime", (Extension,), body)


class Spelled(Extension):
    keyword = "8BITMIME"

    def parameters(self) -> dict[str, Any]:
        return {"MAIL": {"BODY": Parameter(self.look, 17)}}

    def look(self, session: Any, value: str | None) -> Any:
        return None if (value or "").lower() in {"7bit", "8bitmime"} else Reply(501, "no")


@pytest.mark.parametrize("wrong, says", [
    (eight(keyword="8BIT-MIME"), "No client ever"), (eight(verb="RCPT"), "555"), (eight(octets=0), "512"),
    (eight(values=("8BITMIME",)), "BODY=7BIT"), (eight(values=("7BIT", "8BITMIME", "BINARYMIME")), "BINARYMIME"),
    (eight(name="8BITMIME"), "555"), (eight(octets=100), "612"),
    (eight(keyword="8bitmime"), "as the RFC writes it"),
    (type("MyEightBitMime", (), {"keyword": "8BITMIME"}), "class MyEightBitMime(Extension)"),
    (type("MyEightBitMime", (Spelled,), {"parameters": {"MAIL": {}}}), "is no method"),
    (type("MyEightBitMime", (Extension,), {"keyword": "8BITMIME", "parameters": lambda: {"MAIL": {}}}), "`self`"),
    (type("MyEightBitMime", (Extension,), {"keyword": "8BITMIME", "parameters": lambda self: None}), "returns nothing"),
    (type("MyEightBitMime", (Extension,), {"keyword": "8BITMIME", "parameters": lambda self: {"MAIL": {"BODY": (
        "7BIT", "8BITMIME")}}}), "`one_of(…)` makes one"),
    (type("Flat", (Extension,), {"keyword": "8BITMIME", "parameters": lambda self: {"BODY": one_of("7BIT")}}),
     "By verb"),
])
def test_eight_bit(wrong: type, says: str) -> None:
    refused(lab.check_eight_bit(wrong), says)


def test_eight_bit_in_other_styles() -> None:
    assert lab.check_eight_bit(eight()).passed and lab.check_eight_bit(EightBitMime).passed
    assert lab.check_eight_bit(Spelled).passed
    static = staticmethod(lambda: {"MAIL": {"BODY": one_of("7BIT", "8BITMIME", octets=17)}})
    mine = type("MyEightBitMime", (Extension,), {"keyword": "8BITMIME", "parameters": static})
    assert lab.check_eight_bit(mine).passed
    stub = lab.check_eight_bit(type("MyEightBitMime", (Extension,), {"note": 1}))
    assert not stub.passed and stub.problem is None


# -- offers --


def by_regex(reply: Reply) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for line in reply.lines[1:]:
        keyword, *words = re.split(r" |(?<=^[Aa][Uu][Tt][Hh])=", line)
        found.setdefault(keyword.upper(), []).extend(w for w in words if w not in found.get(keyword.upper(), []))
    return {keyword: " ".join(words) for keyword, words in found.items()}


@pytest.mark.parametrize("wrong, says", [
    (lambda reply: {}, "PIPELINING"), (lambda reply: dict.fromkeys(reply.lines[1:], ""), "SIZE 100"),
    (lambda reply: {line.partition(" ")[0].upper(): line.partition(" ")[2] for line in reply.lines}, "'MX'"),
    (lambda reply: {line.partition(" ")[0]: line.partition(" ")[2] for line in reply.lines[1:]}, "pipelining"),
    (lambda reply: {line.partition(" ")[0].upper(): line.partition(" ")[2] for line in reply.lines[1:]}, "AUTH="),
    (lambda reply: {line.replace("=", " ").partition(" ")[0].upper(): line.replace("=", " ").partition(" ")[2]
                    for line in reply.lines[1:]}, "CRAM-MD5"),
    (lambda reply: {k: v.split()[0] if v else "" for k, v in read_offers(reply).items()}, "LOGIN"),
])
def test_offers(wrong: Any, says: str) -> None:
    refused(lab.check_offers(wrong), says)


def test_offers_in_other_styles() -> None:
    assert lab.check_offers(read_offers).passed and lab.check_offers(by_regex).passed


# -- exercises --

LINES = {"A": "MAIL FROM:<ana@rio.example> SIZE=300000 BODY=8BITMIME",
         "B": "MAIL FROM:<ana@rio.example> BODY=8BITMIME", "C": None, "D": None, "E": None}


@pytest.mark.parametrize("wrong, says", [
    ({"A": "MAIL FROM:<ana@rio.example>"}, "Both keywords"), ({"B": None}, "Keywords count in any case"),
    ({"B": "MAIL FROM:<ana@rio.example> SIZE=300000 BODY=8BITMIME"}, "No SIZE"),
    ({"C": "MAIL FROM:<ana@rio.example>"}, "é"),
    ({"D": "MAIL FROM:<ana@rio.example> BODY=8BITMIME"}, "After HELO"),
    ({"E": "MAIL FROM:<ana@rio.example> SIZE=300000 BODY=8BITMIME"}, "limit"),
    ({"A": "MAIL FROM: <ana@rio.example> SIZE=300000 BODY=8BITMIME"}, "no space after the colon"),
    ({"A": "MAIL FROM:ana@rio.example SIZE=300000 BODY=8BITMIME"}, "in the brackets"),
    ({"A": "MAIL FROM:<ana@rio.example> SIZE=300,000 BODY=8BITMIME"}, "digits and nothing else"),
    ({"A": "MAIL FROM:<ana@rio.example> BODY=8BITMIME"}, "has offered more"), ({"A": None}, "would take"),
    ({"C": ""}, "not sent at all"),
])
def test_mail_lines(wrong: dict[str, Any], says: str) -> None:
    refused(lab.check_mail_lines(LINES | wrong), says)


def test_mail_lines_in_other_styles() -> None:
    assert lab.check_mail_lines(LINES).passed
    assert lab.check_mail_lines(LINES | {"B": "mail from:<ana@rio.example> body=8bitmime\r\n"}).passed
    assert lab.check_mail_lines(LINES | {"A": LINES["A"].encode() + b"\r\n", "C": "None"}).passed  # type: ignore[union-attr]


BUGS = {"A": 2, "B": 4, "C": 5, "D": 5, "E": 5}


@pytest.mark.parametrize("wrong, says", [
    ({"A": 3}, "line 3 for A"), ({"B": 3}, "offered in this session"), ({"C": 4}, "named its limit"),
    ({"D": 4}, "code of its own"), ({"E": 4}, "two sizes"),
    ({"B": 3}, "does not say that line"), ({"C": 3}, "may say that"), ({"D": 7}, "has been made"),
])
def test_bugs(wrong: dict[str, Any], says: str) -> None:
    refused(lab.check_ehlo_bugs(BUGS | wrong), says)
    assert lab.check_ehlo_bugs(BUGS).passed


def priority(good: Any = None, busy: str = "after", verb: str = "MAIL", octets: int = 15, code: int = 501,
             keyword: str = "MT-PRIORITY", later: int = 450, hook: bool = False) -> type:
    """MyPriority, with one thing done otherwise."""
    fine = good or (lambda value: value in [str(number) for number in range(-9, 10)])

    def judge(self: Any, session: Any, value: str | None) -> Any:
        low = value is not None and value.startswith("-")
        if busy == "before" and session.notes.get("busy") and low:
            return Reply(later, "busy")
        if value is None or not fine(value):
            return Reply(code, "no")
        if busy == "after" and session.notes.get("busy") and low:
            return Reply(later, "busy")
        return None

    body = {"keyword": keyword, "parameters": lambda self: {verb: {"MT-PRIORITY": Parameter(self.judge, octets)}},
            "judge": judge}
    if hook:
        body["check"] = lambda self, session, command: Reply(450, "busy") if session.notes.get("busy") else None
    return type("MyPriority", (Extension,), body)


def is_int(value: str) -> bool:
    try:
        return -9 <= int(value) <= 9
    except ValueError:
        return False


@pytest.mark.parametrize("wrong, says", [
    (priority(keyword="PRIORITY"), "EHLO reply"), (priority(good=is_int), "MT-PRIORITY=+1"),
    (priority(good=lambda value: len(value) <= 2), "501"), (priority(code=555), "501"),
    (priority(busy="never"), "at a busy server"), (priority(busy="before"), "MT-PRIORITY=-10 at a busy"),
    (priority(later=550), "at a busy server"), (priority(octets=0), "512"), (priority(verb="RCPT"), "MT-PRIORITY=0"),
    (priority(hook=True), "busy server"), (type("MyPriority", (), {"keyword": "MT-PRIORITY"}), "no Extension"),
    (priority(good=lambda value: re.fullmatch(r"-?[0-9]", value)), "MT-PRIORITY=-0"),
])
def test_priority(wrong: type, says: str) -> None:
    refused(lab.check_priority(wrong), says)


def test_priority_in_other_styles() -> None:
    assert lab.check_priority(priority()).passed
    assert lab.check_priority(priority(good=lambda value: re.fullmatch(r"-[1-9]|[0-9]", value))).passed
    assert lab.check_priority(type("MyPriority", (priority(),), {"note": "inherits all"})).passed

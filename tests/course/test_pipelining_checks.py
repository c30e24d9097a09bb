"""The checks of `pipelining` find what is wrong, and say so."""
from __future__ import annotations

from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.ehlo import ExtendedSession, Extension
from smtp_from_scratch.lab.checks.pipelining import TWELVE
from smtp_from_scratch.pipelining import groups
from smtp_from_scratch.transaction import ClientSession, Plan
from smtp_from_scratch.wire import Command, Reply
from tests.course.hopeless import broken, endless, refuses_other_forms, refuses_the_hopeless
from tests.solutions import solution

FREE = {"", "RSET", "MAIL", "SEND", "SOML", "SAML", "RCPT"}


def one_each(verbs: list[str]) -> list[list[str]]:
    return [[verb] for verb in verbs]


def all_together(verbs: list[str]) -> list[list[str]]:
    return [verbs]


def an_empty_one(verbs: list[str]) -> list[list[str]]:
    return [*solution("12_pipelining", "groups-code")["my_groups"](verbs), []]


def only_those_listed(verbs: list[str]) -> list[list[str]]:
    cut: list[list[str]] = [[]]
    for verb in verbs:
        cut[-1].append(verb)
        if verb in {"EHLO", "DATA", "VRFY", "EXPN", "TURN", "QUIT", "NOOP"}:
            cut.append([])
    return [group for group in cut if group]


@pytest.mark.parametrize("wrong, word", [
    (one_each, "round trip"), (all_together, "flies after EHLO"), (an_empty_one, "nothing"),
    (only_those_listed, "flies after STARTTLS"), (lambda verbs: [verbs[:-1]], "Every verb is in one group"),
    (lambda verbs: 7 * verbs[3], "IndexError|Every verb"), (lambda verbs: len(verbs), "A list of groups"),
    (lambda verbs: [], "Every verb is in one group"), (lambda verbs: groups(sorted(verbs)), "in another order"),
])
def test_groups(wrong: Any, word: str) -> None:
    verdict = lab.check_groups(wrong)
    assert not verdict.passed and any(part in str(verdict) for part in word.split("|")), str(verdict)


def by_index(verbs: list[str]) -> list[list[str]]:
    """The same, cut at the places where a group ends."""
    ends = [number + 1 for number, verb in enumerate(verbs) if verb not in FREE] + [len(verbs)]
    return [verbs[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


@pytest.mark.parametrize("right", [groups, by_index, lambda verbs: (tuple(group) for group in groups(verbs))])
def test_groups_in_any_style(right: Any) -> None:
    assert lab.check_groups(right).passed, str(lab.check_groups(right))


def cut_at(*places: int) -> list[list[str]]:
    return [TWELVE[start:end] for start, end in zip((0, *places), (*places, 12), strict=True)]


@pytest.mark.parametrize("wrong, word", [
    (cut_at(1, 3, 5, 6, 10), "five are enough"), (cut_at(1, 5, 10), "NOOP asks"),
    (cut_at(3, 5, 10), "Whether the server"),
    (cut_at(1, 3, 10), "obeyed as a command"), (cut_at(1, 3, 5), "obeyed as a command"),
    ([*cut_at(1, 3, 5)[:-1], TWELVE[5:11]], "number 12"), ([TWELVE[1:2]], "number 1"),
])
def test_flights(wrong: Any, word: str) -> None:
    verdict = lab.check_flights(wrong)
    assert not verdict.passed and word in str(verdict), str(verdict)


def test_flights_as_lists_or_tuples() -> None:
    right = cut_at(1, 3, 5, 10)
    assert lab.check_flights(right).passed and lab.check_flights(tuple(map(tuple, right))).passed


@pytest.mark.parametrize("right", [
    lambda recipients, messages, pipelining: 4 + messages * (1 if pipelining else recipients + 3),
    lambda recipients, messages, pipelining: 4 + sum(1 if pipelining else 3 + recipients for _ in range(messages)),
])
def test_sums_in_any_style(right: Any) -> None:
    assert lab.check_round_trips(right).passed


@pytest.mark.parametrize("wrong", [
    lambda recipients, messages, pipelining: 5 if pipelining else recipients + 7,
    lambda recipients, messages, pipelining: messages + 4 if pipelining else 2 + messages * (recipients + 3),
    lambda recipients, messages, pipelining: 0,
    lambda recipients, messages, pipelining: 2 * messages + 3 if pipelining else 4 + messages * (recipients + 3),
])
def test_round_trips(wrong: Any) -> None:
    verdict = lab.check_round_trips(wrong)
    assert not verdict.passed and "rehearsal takes" in str(verdict)


@pytest.mark.parametrize("five, word", [
    (["250 a", "250 b", "550 c", "250 d", "354 e"], "no yes for a no"),
    (["250 a", "550 b", "550 c", "550 d", "354 e"], "honest"), (["250 a", "250 b", "354 e"], "honest"),
    (["hello", "251 b", "550 c", "250 d", "354 e"], "not a reply"),
    (["250 a", "421 b", "550 c", "250 d", "354 e"], "honest"),
])
def test_replies(five: list[str], word: str) -> None:
    right = solution("12_pipelining", "replies-code")["my_replies"]
    for name in ("by_code", "by_text"):
        verdict = lab.check_replies(right | {name: five})
        assert not verdict.passed and word in str(verdict), str(verdict)


@pytest.mark.parametrize("by_code, by_text", [
    (["250 a", "251 b", "550 c", "250 d", "354 e"],
     ["250 a", "250 <kenji@tokyo.example>", "251 to <sora@tokyo.example>", "550 no", "354 e"]),
    (["250 a", "450 later", "250 c", "550 d", "354 e"],
     ["250 a", "251 to <yui@tokyo.example>", "452 too many", "250 ok", "354 e"]),
])
def test_replies_of_other_servers(by_code: list[str], by_text: list[str]) -> None:
    verdict = lab.check_replies({"by_code": by_code, "by_text": by_text})
    assert verdict.passed, str(verdict)


class Limits(Extension):
    """Right, and the base of what is wrong below."""

    keyword = "LIMITS"

    def __init__(self, most: int) -> None:
        self.most = most

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        too_many = command.verb == "RCPT" and len(session.envelope.recipients) >= self.most
        return Reply(452, "no more") if too_many else None

    def advertise(self, session: ExtendedSession) -> str | None:
        return f"LIMITS RCPTMAX={self.most}"

    def read(self, client: ClientSession) -> int:
        words = dict(word.upper().partition("=")[::2] for word in client.offered["LIMITS"].split())
        said = words.get("RCPTMAX", "")
        return int(said) if said.isdigit() and int(said) else 10**6

    def plan(self, plan: Plan) -> None:
        for address in list(plan.recipients)[self.read(plan.client) :]:
            del plan.recipients[address]
            plan.receipt.recipients[address] = Reply(452, "not now")


class InOneGo(Limits):
    """Right as well: a new dictionary."""

    def plan(self, plan: Plan) -> None:
        most = self.read(plan.client)
        plan.receipt.recipients |= dict.fromkeys(list(plan.recipients)[most:], Reply(452))
        plan.recipients = dict(list(plan.recipients.items())[:most])


class Silent(Limits):
    def advertise(self, session: ExtendedSession) -> str | None:
        return "LIMITS"


class Careless(Limits):
    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        too_many = command.verb == "RCPT" and len(session.envelope.recipients) >= 100
        return Reply(452, "no more") if too_many else None


class OwnNumber(Limits):
    def read(self, client: ClientSession) -> int:
        return self.most


class Believer(Limits):
    def read(self, client: ClientSession) -> int:
        return int(client.offered["LIMITS"].partition("RCPTMAX=")[2] or 10**6)


class Forgetful(Limits):
    def plan(self, plan: Plan) -> None:
        plan.recipients = dict(list(plan.recipients.items())[: self.read(plan.client)])


class OffByOne(Limits):
    def read(self, client: ClientSession) -> int:
        return super().read(client) - 1


@pytest.mark.parametrize("right", [Limits, InOneGo])
def test_limits_passes_what_is_right(right: Any) -> None:
    assert lab.check_limits(right).passed, str(lab.check_limits(right))


@pytest.mark.parametrize("wrong, word", [
    (Silent, "should announce LIMITS RCPTMAX=100"), (Careless, "A limit of 7 was announced"), (OwnNumber, "should be"),
    (Believer, "ValueError|should be"), (Forgetful, "twice, or not at all"), (OffByOne, "should be [100, 1]"),
    (Extension, ""),
])
def test_limits(wrong: Any, word: str) -> None:
    verdict = lab.check_limits(wrong)
    assert not verdict.passed and any(part in str(verdict) for part in word.split("|")), str(verdict)


def test_stubs_are_not_wrong_yet() -> None:
    def my_stub(recipients: int, messages: int, pipelining: bool) -> Any:
        ...

    for check in (lab.check_groups, lab.check_flights, lab.check_round_trips, lab.check_replies, lab.check_limits):
        assert all(str(check.hint(number)) for number in (1, 2, 3))
    for verdict in (lab.check_round_trips(my_stub), lab.check_flights([["EHLO"], ...]),
                    lab.check_replies({"by_code": ["250 a", ..., ..., ..., "354 b"], "by_text": []}),
                    lab.check_groups(lambda verbs: ...)):
        assert not verdict.passed and "Not yet" in str(verdict)


@pytest.mark.parametrize("check", [lab.check_groups, lab.check_round_trips], ids=lambda check: check.name)
def test_what_never_ends_and_what_raises(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses_the_hopeless(check, monkeypatch)


@pytest.mark.parametrize("hook", ["check", "plan"])
def test_limits_that_never_end_or_raise(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.check_limits, "seconds", 1.0)
    assert "still running" in str(lab.check_limits(type("MyLimits", (Limits,), {hook: endless})))
    monkeypatch.undo()
    assert "LookupError" in str(lab.check_limits(type("MyLimits", (Limits,), {hook: broken})))


@pytest.mark.parametrize("check", [lab.check_flights, lab.check_replies], ids=lambda check: check.name)
def test_answers_in_another_form(check: Any) -> None:
    refuses_other_forms(check)

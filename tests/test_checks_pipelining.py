"""The checks of `pipelining` find what is wrong, and say so."""
from __future__ import annotations

from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.ehlo import ClientSession, ExtendedSession, Extension, Letter, Step
from smtp_from_scratch.lab.checks.pipelining import TWELVE
from smtp_from_scratch.wire import Reply
from tests.solutions import solution

FREE = {"", "RSET", "MAIL", "SEND", "SOML", "SAML", "RCPT"}


def one_each(verbs: list[str]) -> list[list[str]]:
    return [[verb] for verb in verbs]


def all_together(verbs: list[str]) -> list[list[str]]:
    return [verbs]


def an_empty_one(verbs: list[str]) -> list[list[str]]:
    return [*solution("09_pipelining", "groups-code")["my_groups"](verbs), []]


def only_those_listed(verbs: list[str]) -> list[list[str]]:
    cut: list[list[str]] = [[]]
    for verb in verbs:
        cut[-1].append(verb)
        if verb in {"EHLO", "DATA", "VRFY", "EXPN", "TURN", "QUIT", "NOOP"}:
            cut.append([])
    return [group for group in cut if group]


@pytest.mark.parametrize("wrong, word", [
    (one_each, "round trip"), (all_together, "flies behind EHLO"), (an_empty_one, "nothing"),
    (only_those_listed, "flies behind STARTTLS"), (lambda verbs: [verbs[:-1]], "Every verb stands in one group"),
    (lambda verbs: 7 * verbs[3], "TypeError|IndexError|Every verb"),
])
def test_groups(wrong: Any, word: str) -> None:
    verdict = lab.check_groups(wrong)
    assert not verdict.passed and any(part in str(verdict) for part in word.split("|")), str(verdict)


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


@pytest.mark.parametrize("wrong", [
    lambda recipients, letters, pipelining: 5 if pipelining else recipients + 7,
    lambda recipients, letters, pipelining: letters + 4 if pipelining else 2 + letters * (recipients + 3),
    lambda recipients, letters, pipelining: 2 * letters + 3 if pipelining else 4 + letters * (recipients + 3),
])
def test_round_trips(wrong: Any) -> None:
    verdict = lab.check_round_trips(wrong)
    assert not verdict.passed and "rehearsal takes" in str(verdict)


@pytest.mark.parametrize("five, word", [
    (["250 a", "250 b", "550 c", "250 d", "354 e"], "no yes for a no"),
    (["250 a", "550 b", "550 c", "550 d", "354 e"], "honest"), (["250 a", "250 b", "354 e"], "honest"),
    (["hello", "251 b", "550 c", "250 d", "354 e"], "no reply"),
    (["250 a", "421 b", "550 c", "250 d", "354 e"], "honest"),
])
def test_replies(five: list[str], word: str) -> None:
    right = solution("09_pipelining", "replies-code")["my_replies"]
    for name in ("by_code", "by_text"):
        verdict = lab.check_replies(right | {name: five})
        assert not verdict.passed and word in str(verdict), str(verdict)


class Limits(Extension):
    """Right, and the base of what is wrong below."""

    keyword = "LIMITS"

    def __init__(self, most: int) -> None:
        self.most = most

    def begin(self, session: ExtendedSession) -> None:  # type: ignore[override]
        session.max_recipients = self.most

    def advertise(self, session: ExtendedSession) -> str | None:
        return f"LIMITS RCPTMAX={self.most}"

    def read(self, client: ClientSession) -> int:
        words = dict(word.upper().partition("=")[::2] for word in client.offered["LIMITS"].split())
        said = words.get("RCPTMAX", "")
        return int(said) if said.isdigit() and int(said) else 10**6

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:  # type: ignore[override]
        for step in [step for step in steps if step.verb == "RCPT"][self.read(client) :]:
            steps.remove(step)
            letter.receipt.recipients[step.about] = Reply(452, "not now")


class Silent(Limits):
    def advertise(self, session: ExtendedSession) -> str | None:
        return "LIMITS"


class Careless(Limits):
    def begin(self, session: ExtendedSession) -> None:  # type: ignore[override]
        session.max_recipients = 100


class OwnNumber(Limits):
    def read(self, client: ClientSession) -> int:
        return self.most


class Believer(Limits):
    def read(self, client: ClientSession) -> int:
        return int(client.offered["LIMITS"].partition("RCPTMAX=")[2] or 10**6)


class Forgetful(Limits):
    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:  # type: ignore[override]
        del steps[1 + self.read(client) :]


class OffByOne(Limits):
    def read(self, client: ClientSession) -> int:
        return super().read(client) - 1


def test_limits_passes_what_is_right() -> None:
    assert lab.check_limits(Limits).passed


@pytest.mark.parametrize("wrong, word", [
    (Silent, "should announce LIMITS RCPTMAX=100"), (Careless, "A limit of 7 was announced"), (OwnNumber, "should be"),
    (Believer, "ValueError|should be"), (Forgetful, "twice, or not at all"), (OffByOne, "should be [100, 1]"),
    (Extension, ""),
])
def test_limits(wrong: Any, word: str) -> None:
    verdict = lab.check_limits(wrong)
    assert not verdict.passed and any(part in str(verdict) for part in word.split("|")), str(verdict)


def test_stubs_are_not_wrong_yet() -> None:
    def my_stub(recipients: int, letters: int, pipelining: bool) -> Any:
        ...

    for verdict in (lab.check_round_trips(my_stub), lab.check_flights([["EHLO"], ...]),
                    lab.check_replies({"by_code": ["250 a", ..., ..., ..., "354 b"], "by_text": []}),
                    lab.check_groups(lambda verbs: ...)):
        assert not verdict.passed and "Not yet" in str(verdict)

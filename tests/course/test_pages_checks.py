"""The checks of the optional pages: LMTP's dialogues at a learner's server, and both ends of FUTURERELEASE."""
from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.chunking import Chunking, bdat
from smtp_from_scratch.ehlo import EightBitMime, Extension, ExtensionSet, Parameter, Size, ehlo
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.session import TO_READY, VERBS, Limits, Verb, data, serve
from smtp_from_scratch.status import CodedSession, EnhancedStatusCodes
from smtp_from_scratch.wire import Reply
from tests.solutions import SOLUTIONS, code, nbformat

REFUSED = "nobody@example.org"


def solved(page: str) -> dict[str, Any]:
    """The names that a page's solutions define."""
    names: dict[str, Any] = {}
    for cell in code(nbformat.read(SOLUTIONS / f"{page}.ipynb", 4)):
        if "verdict" not in cell.source and "lab.dialogues" not in cell.source:
            exec(cell.source, names)
    return names


LMTP = solved("lmtp")
Lmtp = LMTP["Lmtp"]
Future = solved("futurerelease")["MyFutureRelease"]


def wrong(verdict: Any, *words: str) -> None:
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


def test_every_dialogue_of_rfc_2033_is_played_at_the_solution() -> None:
    def accept(address: str, envelope: Any) -> Reply | None:
        return Reply(550, "nobody of that name here", "5.1.1") if address == REFUSED else None

    my_lmtp = LMTP["my_lmtp"]
    played = lab.dialogues(lambda: my_lmtp("store.example", lambda envelope, body: None, accept_recipient=accept),
                           "rfc2033", refused=REFUSED, lmtp=True)
    assert len(played.outcomes) == 22 and {outcome.status for outcome in played.outcomes} == {"passed"}


class OneReply(Lmtp):  # type: ignore[misc, valid-type]
    def verbs(self) -> Any:
        return super().verbs() | {"DATA": replace(VERBS["DATA"], handler=data)}


class AlsoSmtp(Lmtp):  # type: ignore[misc, valid-type]
    def check(self, session: Any, command: Any) -> Reply | None:
        return None


class OneForChunks(Lmtp):  # type: ignore[misc, valid-type]
    def verbs(self) -> Any:
        return super().verbs() | Chunking().verbs()


def lmtp(extension: Any, *others: Any) -> Any:
    """A server of this extension that forgets a dictionary's replies."""
    def my_lmtp(hostname: str, deliver: Any, **policies: Any) -> Any:
        extensions = ExtensionSet([*others, Size(), EightBitMime(), Pipelining(), Chunking(), extension({})])
        limits = Limits(max_size=100_000)
        return serve(CodedSession(hostname, deliver, extensions=extensions, limits=limits, **policies))
    return my_lmtp


@pytest.mark.parametrize("answer, says", [
    (lambda hostname, deliver, **policies: None, "Not yet"), (lmtp(OneReply, EnhancedStatusCodes()), "Two recipients"),
    (lmtp(AlsoSmtp, EnhancedStatusCodes()), "HELO is refused"), (lmtp(Lmtp), "ENHANCEDSTATUSCODES"),
    (lmtp(OneForChunks, EnhancedStatusCodes()), "last chunk"), (lmtp(Lmtp, EnhancedStatusCodes()), "mailbox is full"),
])
def test_lmtp_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_lmtp(answer), says)


def my_lmtp(hostname: str, deliver: Any, **policies: Any) -> Any:
    """The last reply is returned and not said, and one class holds all of it."""

    class OneForEach(Extension):
        def verbs(self) -> Any:
            return {"LHLO": Verb(self.lhlo, TO_READY, "LHLO your.host.name", now=True),
                    "DATA": replace(VERBS["DATA"], handler=self.for_each(data)),
                    "BDAT": replace(Chunking().verbs()["BDAT"], handler=self.for_each(bdat))}

        def lhlo(self, session: Any, argument: str) -> Any:
            session.verb = "EHLO"
            return ehlo(session, argument)

        def for_each(self, handler: Any) -> Any:
            def handle(session: Any, argument: str) -> Any:
                recipients, before = list(session.envelope.recipients), session.envelope
                self.replies: dict[str, Reply] = {}
                reply = yield from handler(session, argument)
                if session.envelope is before or not recipients:
                    return reply
                *most, last = (self.replies.get(recipient, reply) for recipient in recipients)
                for one in most:
                    yield session.reply(one)
                return last
            return handle

        def check(self, session: Any, command: Any) -> Reply | None:
            return Reply(500, "this is LMTP", "5.5.1") if command.verb.endswith(("ELO", "EHLO")) else None

        def deliver(self, envelope: Any, body: Any) -> Any:
            outcome = deliver(envelope, body)
            self.replies = outcome if isinstance(outcome, dict) else {}
            return None if isinstance(outcome, dict) else outcome

    ours = OneForEach()
    offer = ExtensionSet([Chunking(), Pipelining(), EnhancedStatusCodes(), EightBitMime(), Size(), ours])
    limits = Limits(max_size=200_000)
    return serve(CodedSession(hostname, ours.deliver, extensions=offer, limits=limits, **policies))


@pytest.mark.parametrize("answer", [LMTP["my_lmtp"], my_lmtp])
def test_lmtp_in_any_style(answer: Any) -> None:
    assert lab.check_lmtp(answer).passed


def changed(**methods: Any) -> Any:
    return type("MyFutureRelease", (Future,), methods)


def reads_anything(self: Any, session: Any, value: str | None) -> Reply | None:
    """Whatever `fromisoformat` takes."""
    from datetime import UTC, datetime
    try:
        when = datetime.fromisoformat(value or "").replace(tzinfo=UTC)
    except ValueError:
        return Reply(501, "no date", "5.5.4")
    return Reply(501, "too late", "5.5.4") if when > datetime.fromisoformat(self.latest) else None


def copies_all(self: Any, plan: Any) -> None:
    plan.mail.parameters |= plan.message.envelope.parameters
    plan.needs.discard("FUTURERELEASE")


@pytest.mark.parametrize("answer, says", [
    (type("MyFutureRelease", (Extension,), {"keyword": "FUTURERELEASE"}), "TypeError"),
    (changed(parameters=lambda self: {}), "Not yet"),
    (changed(advertise=lambda self, session: "FUTURERELEASE"), "EHLO"),
    (changed(check=lambda self, session, command: None), "HOLDFOR=60 HOLDUNTIL"),
    (changed(hold_for=lambda self, session, value: None), "HOLDFOR=86401"),
    (changed(hold_until=lambda self, session, value: None), "HOLDUNTIL=2025-06-15T18:00:01Z"),
    (changed(hold_until=reads_anything), "HOLDUNTIL=2025-06-14T09:00:00"),
    (changed(parameters=lambda self: {"MAIL": {"HOLDFOR": Parameter(self.hold_for),
                                               "HOLDUNTIL": Parameter(self.hold_until)}}), "octets"),
    (changed(plan=lambda self, plan: None), "refuses"),
    (changed(plan=lambda self, plan: plan.needs.clear()), "leaves at once"), (changed(plan=copies_all), "HOLDFOR=3600"),
])
def test_future_release_refuses(answer: Any, says: str) -> None:
    if says == "TypeError":
        assert not lab.check_future(answer).passed and "Not yet" in str(lab.check_future(answer))
    else:
        wrong(lab.check_future(answer), says)


class ByStrptime(Extension):
    """Reads the whole command, and each value a second time."""

    keyword = "FUTURERELEASE"

    def __init__(self, longest: int, latest: str) -> None:
        self.limits = longest, latest

    def advertise(self, session: Any) -> str:
        return " ".join([self.keyword, *map(str, self.limits)])

    def parameters(self) -> Any:
        return {"MAIL": {"HOLDFOR": Parameter(self.asked(self.short), 40),
                         "HOLDUNTIL": Parameter(self.asked(self.in_time), 40)}}

    def asked(self, good: Any) -> Any:
        return lambda session, value: None if good((value or "").upper()) else Reply(501, "no such time", "5.5.4")

    def short(self, value: str) -> bool:
        return bool(re.fullmatch("[1-9][0-9]{,8}", value)) and int(value) <= self.limits[0]

    def in_time(self, value: str) -> bool:
        try:
            when = time.strptime(re.sub(r"(:\d\d)\.\d+Z$", r"\1Z", value), "%Y-%m-%dT%H:%M:%SZ")
        except ValueError:
            return False
        return when <= time.strptime(self.limits[1], "%Y-%m-%dT%H:%M:%SZ")

    def check(self, session: Any, command: Any) -> Reply | None:
        both = command.verb == "MAIL" and command.argument.upper().count(" HOLD") > 1
        return Reply(501, "one of them", "5.5.4") if both else None

    def plan(self, plan: Any) -> None:
        for name, value in plan.message.envelope.parameters.items():
            if name.startswith("HOLD"):
                plan.mail.parameters[name] = value
        plan.needs -= {"FUTURERELEASE"}


class EitherWay(ByStrptime):
    """Takes a date for HOLDFOR, and seconds for HOLDUNTIL."""

    def asked(self, good: Any) -> Any:
        return super().asked(lambda value: self.short(value) or self.in_time(value))


def test_future_release_tells_seconds_from_dates() -> None:
    wrong(lab.check_future(EitherWay), "HOLDFOR=2025-06-14T09:00:00Z")


@pytest.mark.parametrize("answer", [Future, changed(), ByStrptime])
def test_future_release_in_any_style(answer: Any) -> None:
    assert lab.check_future(answer).passed

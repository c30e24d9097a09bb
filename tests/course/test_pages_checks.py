"""The checks of the optional pages: LMTP's dialogues at a learner's server, and both ends of FUTURERELEASE."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.chunking import Chunking
from smtp_from_scratch.ehlo import EightBitMime, Extension, ExtensionSet, Parameter, Size
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.session import VERBS, Limits, data, serve
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


def test_lmtp() -> None:
    assert lab.check_lmtp(LMTP["my_lmtp"]).passed


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


@pytest.mark.parametrize("answer", [Future, changed()])
def test_future_release(answer: Any) -> None:
    assert lab.check_future(answer).passed

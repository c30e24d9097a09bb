"""The checks of `dsn` tell right answers from wrong ones, and say which wrong one it is."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import nbformat
import pytest
from export import ROOT

from smtp_from_scratch import lab
from smtp_from_scratch.session import VERBS, data
from smtp_from_scratch.wire import Reply


@pytest.fixture(scope="module")
def solved() -> dict[str, Any]:
    """The names that the solutions define."""
    names: dict[str, Any] = {}
    for cell in nbformat.read(ROOT / "notebooks/solutions/16_dsn.ipynb", 4).cells:
        if cell.cell_type == "code" and "verdict" not in cell.source:
            exec(cell.source, names)
    return names


def wrong(verdict: Any, *words: str) -> None:
    """The check has found something, and speaks of it."""
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


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


def test_notify() -> None:
    wrong(lab.check_notify(any_case), "NEVER,SUCCESS")
    wrong(lab.check_notify(case_matters), "delay,Success")
    wrong(lab.check_notify(lambda value: set(value.upper().split(","))), "NEVER")
    assert "Not yet" in str(lab.check_notify(lambda value: None))


def test_told(solved: dict[str, Any]) -> None:
    right = solved["my_told"]
    assert lab.check_told(right).passed
    for name, answer in right.items():
        wrong(lab.check_told(right | {name: "failed" if answer != "failed" else "delayed"}), f"for {name}")
    assert "C is missing" in str(lab.check_told({name: answer for name, answer in right.items() if name != "C"}))


@pytest.mark.parametrize("rule, words", [
    ("about.original or about.recipient -> about.recipient", "forwards to"),
    ('about.action == "failed" and about.status.startswith("5") -> about.action == "failed"', "stayed full"),
    ('about.action == "failed" and about.status.startswith("5") -> about.action in ("failed", "delayed")', "delayed"),
    ("sent.get(report.envelope_id, ()) -> sum(sent.values(), [])", "never sent"),
    ("except ValueError -> except KeyError", "ValueError"),
])
def test_leavers(rule: str, words: str) -> None:
    """The solution without one of its rules."""
    source = next(cell.source for cell in nbformat.read(ROOT / "notebooks/solutions/16_dsn.ipynb", 4).cells
                  if cell.id == "leavers-code")
    old, new = rule.split(" -> ")
    assert source.count(old) == 1
    names: dict[str, Any] = {}
    exec("from smtp_from_scratch.dsn import parse_report\n" + source.replace(old, new), names)
    wrong(lab.check_leavers(names["my_leavers"]), words)


def test_future_release(solved: dict[str, Any]) -> None:
    right = solved["MyFutureRelease"]
    assert lab.check_future(right).passed

    def without(**changes: Any) -> Any:
        return type("MyFutureRelease", (right,), {"mail_parameters": right.mail_parameters} | changes)

    wrong(lab.check_future(without(advertise=lambda self, session: "FUTURERELEASE")), "EHLO")
    wrong(lab.check_future(without(check=None)), "HOLDFOR=60 HOLDUNTIL")
    wrong(lab.check_future(without(hold_for=lambda self, session, value: None)), "HOLDFOR=86401")
    wrong(lab.check_future(without(hold_until=lambda self, session, value: None)), "HOLDUNTIL=2025-06-15T18:00:01Z")
    wrong(lab.check_future(without(line_limits={})), "line_limits")
    wrong(lab.check_future(without(plan=lambda self, client, letter, steps: None)), "refuses")
    wrong(lab.check_future(without(plan=lambda self, client, letter, steps: letter.needs.clear())), "leaves at once")
    empty = type("MyFutureRelease", (solved["Extension"],), {"keyword": "FUTURERELEASE"})
    assert "Not yet" in str(lab.check_future(empty))


def test_lmtp(solved: dict[str, Any]) -> None:
    """The solution with one of its pieces taken out."""
    extension, session = solved["Lmtp"], solved["ExtendedSession"]
    assert lab.check_lmtp(solved["my_lmtp"]).passed
    assert "Not yet" in str(lab.check_lmtp(lambda hostname, deliver, **policies: None))

    def with_extension(lmtp: Any, *others: Any) -> Any:
        def my_lmtp(hostname: str, deliver: Any, **policies: Any) -> Any:
            offer = solved["Offer"]([*others, solved["EightBitMime"](), solved["Pipelining"](), lmtp])
            return solved["serve_extended"](session(hostname, deliver, offer=offer, **policies))
        return my_lmtp

    class OneReply(extension):  # type: ignore[misc, valid-type]
        def verbs(self) -> Any:
            return super().verbs() | {"DATA": replace(VERBS["DATA"], handler=data)}

    class Smtp(extension):  # type: ignore[misc, valid-type]
        def check(self, session: Any, command: Any) -> Reply | None:
            return None

    codes, size, chunking = solved["EnhancedStatusCodes"](), solved["Size"](100_000), solved["Chunking"]()
    wrong(lab.check_lmtp(with_extension(OneReply({}), codes, size, chunking)), "Two recipients, two replies")
    wrong(lab.check_lmtp(with_extension(Smtp({}), codes, size, chunking)), "HELO is refused")
    wrong(lab.check_lmtp(with_extension(extension({}), size, chunking)), "ENHANCEDSTATUSCODES")
    wrong(lab.check_lmtp(with_extension(extension({}), codes, size, chunking)), "mailbox is full")

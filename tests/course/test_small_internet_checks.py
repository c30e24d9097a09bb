"""The checks of `small_internet` refuse what is wrong, say what the wire would do, and take right answers as typed."""
from __future__ import annotations

import mailbox
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.queue import Queue
from smtp_from_scratch.report import parse_report
from tests.course.hopeless import refuses_other_forms, refuses_the_hopeless
from tests.solutions import SOLUTIONS, nbformat, solution

SOLVED = "27_small_internet"


def wrong(verdict: Any, *words: str) -> None:
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


# -- the detective --

WHERE = {"A": "home", "B": "queue", "C": "bounced", "D": "twice", "E": "outbox"}


@pytest.mark.parametrize("answer, says", [
    ({}, "Not yet"), (WHERE | {"E": ...}, "Not yet"), (WHERE | {"A": "lost"}, "no letter lost"),
    (WHERE | {"A": "queue"}, "What did QUIT do"), (WHERE | {"B": "bounced"}, "not now"),
    (WHERE | {"C": "queue"}, "550 is final"), (WHERE | {"D": "home"}, "Kenji gets two"),
    (WHERE | {"E": "lost"}, "who still has it"), (WHERE | {"E": "kenji"}, "One of outbox"),
    ({"A": "home"}, "each of A to E"), (dict.fromkeys("ABCDE", "lost"), "no letter lost"),
])
def test_whereabouts_refuse(answer: Any, says: str) -> None:
    wrong(lab.check_whereabouts(answer), says)


@pytest.mark.parametrize("answer", [WHERE, {name: f" {word.upper()} " for name, word in WHERE.items()},
                                    solution(SOLVED, "whereabouts-code")["my_whereabouts"]])
def test_whereabouts_in_any_style(answer: Any) -> None:
    assert lab.check_whereabouts(answer).passed


def test_the_evidence_is_what_the_logs_say(tmp_path: Path) -> None:
    found = lab.five_letters(tmp_path)
    with closing(Queue(found.queue)) as queue:
        [entry] = queue.entries()
    assert entry.id == 4 and entry.envelope.recipients == ["li@tokyo.example"] and entry.last.startswith("452")
    for number, line in enumerate(found.logs["Rio, submission"].splitlines()[:4], 1):
        assert line.endswith(f"queued as {number}")
    kept = {folder.name: [message["Message-ID"] for message in mailbox.Maildir(str(folder))]
            for folder in found.mail.iterdir()}
    assert kept["kenji@tokyo.example"] == ["<D@rio.example>"] * 2 and list(kept) != ["kenji@tokyo.example"]
    [report] = mailbox.Maildir(str(found.mail / "ana@rio.example"))
    assert [(about.recipient, about.action) for about in parse_report(report).recipients] == [
        ("yuki@tokyo.example", "failed")]
    tried = [line.split()[1] for line in found.logs["Rio, relay"].splitlines()]
    assert tried == ["1", "2", "3", "4", "5", "3", "4"], "due first, then by number"


# -- an answer that loops nowhere --


def answering(empty: bool = True, auto: str = "any", case: bool = True, lists: bool = True, once: str = "sender",
              sender: str = "", to: str = "sender", days: int = 7) -> Any:
    """A `my_vacation` with one of its rules changed."""
    def my_vacation(envelope: Envelope, fields: Mapping[str, str], answered: dict[str, int],
                    today: int) -> Envelope | None:
        name = envelope.sender.lower() if case else envelope.sender
        recent = name in answered and (once == "for ever" or today - answered[name] < days)
        if once == "early" and recent:
            return None
        if once == "early":
            answered[name] = today
        if empty and not envelope.sender or lists and "list-id" in fields:
            return None
        said = fields.get("auto-submitted", "no").strip().lower()
        if auto == "any" and said != "no" or auto == "replied" and said == "auto-replied":
            return None
        if auto == "present" and "auto-submitted" in fields or auto == "exact" and fields.get(
                "auto-submitted", "no") != "no":
            return None
        if once in ("sender", "for ever", "first day") and recent or once == "anybody" and answered:
            return None
        if once == "first day":
            answered.setdefault(name, today)
        elif once != "never":
            answered[name] = today
        return Envelope(sender, [envelope.sender] if to == "sender" else [fields.get("to", "")])
    return my_vacation


@pytest.mark.parametrize("answer, says", [
    (lambda *given: None, "Not yet"), (lambda *given: True, "an answer to a report"),
    (answering(empty=False), "from `<>`"), (answering(auto="none"), "all summer"),
    (answering(auto="replied"), "auto-generated"), (answering(auto="present"), "a person wrote it"),
    (answering(auto="exact"), "capitals"), (answering(lists=False), "Nine hundred"),
    (answering(once="never"), "ten answers"), (answering(once="early"), "not before"),
    (answering(once="for ever"), "day 10"), (answering(once="first day"), "noted the second time"),
    (answering(days=6), "day 9"), (answering(days=8), "day 10"),
    (answering(once="anybody"), "She was never told"), (answering(case=False), "the same mailbox"),
    (answering(sender="kenji@tokyo.example"), "empty sender"), (answering(to="to"), "came from"),
    (lambda *given: answering()(*given) and "away", "Envelope"),
])
def test_vacation_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_vacation(answer), says)


def in_one_go(envelope: Envelope, fields: Mapping[str, str], answered: dict[str, int], today: int) -> Envelope | None:
    person = envelope.sender.casefold()
    silent = {"", *(known for known, day in answered.items() if today not in range(day + 7, 10_000))}
    by_hand = fields.get("auto-submitted", "NO").upper().strip() == "NO" and not any(
        name.startswith("list-") for name in fields)
    if person not in silent and by_hand:
        answered |= {person: today}
        return replace(envelope, sender="", recipients=[envelope.sender])
    return None


@pytest.mark.parametrize("answer", [answering(), in_one_go, solution(SOLVED, "vacation-code")["my_vacation"]])
def test_vacation_in_any_style(answer: Any) -> None:
    verdict = lab.check_vacation(answer)
    assert verdict.passed, str(verdict)


def test_vacation_stops_what_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    refuses_the_hopeless(lab.check_vacation, monkeypatch)


# -- a circle --

THERE, BACK = {"kenji@tokyo.example": "kenji@rio.example"}, {"kenji@rio.example": "kenji@tokyo.example"}
ROUND = {"aliases": THERE | BACK, "status": "5.4.6", "told": "ana"}


@pytest.mark.parametrize("answer, says", [
    ({}, "Not yet"), (ROUND | {"aliases": ...}, "Not yet"), (ROUND | {"aliases": THERE}, "ends at kenji@rio.example"),
    (ROUND | {"aliases": BACK}, "ends at kenji@tokyo.example"), (ROUND | {"status": "5.1.1"}, "too often"),
    (ROUND | {"aliases": {"kenji@tokyo.example": "kenji@tokyo.example"}}, "own tables"),
    (ROUND | {"aliases": THERE | {"kenji@rio.example": "kenji@oslo.example"}}, "two providers"),
    (ROUND | {"aliases": {"kenji@tokyo.example": "ana@rio.example", "ana@rio.example": "kenji@tokyo.example"}},
     "never reads the report"),
    (ROUND | {"told": "kenji"}, "sender of the envelope"), (ROUND | {"aliases": "kenji"}, "a dictionary"),
    (ROUND | {"aliases": {"kenji": "kenji"}}, "a dictionary"), ({"aliases": THERE | BACK}, "three names"),
])
def test_round_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_round(answer), says)


@pytest.mark.parametrize("answer", [
    ROUND, ROUND | {"told": "ana@rio.example"}, solution(SOLVED, "round-code")["my_round"],
    ROUND | {"told": "the sender", "status": "554 5.4.6"},
    {"aliases": {"kenji@tokyo.example": "a@rio.example", "a@rio.example": "b@tokyo.example",
                 "b@tokyo.example": "c@rio.example", "c@rio.example": "b@tokyo.example"},
     "status": " 5.4.6 ", "told": "Ana"},
    ROUND | {"aliases": {"Kenji@Tokyo.example": "kenji@RIO.example", **BACK}},
])
def test_round_in_any_style(answer: Any) -> None:
    verdict = lab.check_round(answer)
    assert verdict.passed, str(verdict)


@pytest.mark.parametrize("check", ["check_whereabouts", "check_vacation", "check_round"])
def test_answers_in_another_form(check: str) -> None:
    refuses_other_forms(getattr(lab, check))


def test_every_solution_is_checked() -> None:
    cells = nbformat.read(SOLUTIONS / f"{SOLVED}.ipynb", as_version=4).cells
    sources = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for name in ("whereabouts", "vacation", "round"):
        assert f"lab.check_{name}(my_{name})" in sources


# -- the figure --


def test_what_traveled_is_told_and_drawn() -> None:
    road = lab.Traveled({"Rio": ["Ana", "relay.rio.example"], "Tokyo": ["mx.tokyo.example", "Kenji"]})
    assert road.text() == "nothing has traveled yet"
    road.note("Ana", "relay.rio.example", "250 2.6.0 queued as 1")
    road.hour = 0.5
    road.note("relay.rio.example", "mx.tokyo.example", "451 4.4.1 no answer")
    road.note("mx.tokyo.example", "Kenji", "fetched", "2 letters")
    assert road.text().splitlines() == [
        " 1. Ana → relay.rio       letter     ✓ 250 2.6.0",
        " 2. relay.rio → mx.tokyo  letter     ~ 451 4.4.1  0.5 h",
        " 3. mx.tokyo → Kenji      2 letters  ↓ fetched    0.5 h"]
    drawn = road._repr_mimebundle_()["image/svg+xml"]
    assert "relay.rio" in drawn and "451 4.4.1" in drawn and "style=" not in drawn and 'width="860"' in drawn

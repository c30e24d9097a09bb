"""The checks of `attacks` tell right answers from wrong ones, in any style, and say which wrong one it is."""
from __future__ import annotations

import gzip
import io
import re
import zlib
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.lab.checks.attacks import HOLES, NASTY, SANITIZERS, VICTIM
from smtp_from_scratch.lab.register import checks_of
from smtp_from_scratch.printable import printable
from tests.course.hopeless import refuses_other_forms, refuses_the_hopeless
from tests.solutions import solution

SOLVED = "24_attacks"


def wrong(verdict: Any, *words: str) -> None:
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


# --- holiday answers --------------------------------------------------------------------------------------------------


def answering(null: bool = True, auto: Any = lambda by: by.partition(";")[0].strip().lower() == "no",
              lists: bool = True) -> Any:
    """A `my_may_answer` with one of its rules changed."""
    def my_may_answer(sender: str, header: Any) -> Any:
        return ((not null or sender != "") and auto(header.get("Auto-Submitted", "no"))
                and (not lists or header.get("List-Id") is None))
    return my_may_answer


@pytest.mark.parametrize("answer, says", [
    (lambda sender, header: None, "Not yet"), (lambda sender, header: True, "letter to nobody"),
    (lambda sender, header: False, "Yui waits"), (answering(null=False), "letter to nobody"),
    (answering(lists=False), "whole choir"), (answering(auto=lambda by: True), "until a disk is full"),
    (answering(auto=lambda by: by != "auto-replied"), "nobody reads"),
    (answering(auto=lambda by: not by.lower().startswith("auto-replied")), "nobody reads"),
    (answering(auto=lambda by: by == "no"), "hears nothing"),
    (answering(auto=lambda by: by == "no" or by[:5] not in ("auto-",)), "until a disk is full"),
    (lambda sender, header: bool(sender) and "Auto-Submitted" not in header and "List-Id" not in header, "field says"),
    (lambda sender, header: bool(sender) and "auto-" not in str(header).lower() and "List-Id" not in header, "hears"),
    (lambda sender, header: sender and header.get("Auto-Submitted") is None, "True or False"),
    (answering(auto=lambda by: "auto" not in by.lower()), "nobody reads"),
    (answering(auto=lambda by: by.lower().startswith("no")), "nobody reads"),
    (answering(auto=lambda by: by.lower() == "no"), "added a parameter"),
])
def test_may_answer_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_may_answer(answer), says)


def step_by_step(sender: str, header: Any) -> bool:
    if sender == "" or "list-id" in header:
        return False
    said = header.get("auto-submitted")
    return said is None or re.match(r"\s*no\s*(;|$)", said, re.IGNORECASE) is not None


@pytest.mark.parametrize("answer", [answering(), step_by_step, solution(SOLVED, "may-answer-code")["my_may_answer"]])
def test_may_answer_in_any_style(answer: Any) -> None:
    assert lab.check_may_answer(answer).passed


# --- a line of a log --------------------------------------------------------------------------------------------------


def controls(text: str) -> str:
    return "".join(c if c >= " " else f"\\x{ord(c):02x}" for c in text)


@pytest.mark.parametrize("answer, says", [
    (lambda text: None, "Not yet"), (lambda text: text, "which Eve wrote"), (repr, "cannot read"),
    (lambda text: text.encode("ascii", "backslashreplace").decode(), "cannot read"),
    (lambda text: text.replace("\n", "\\n"), "paints over"),
    (lambda text: text.replace("\n", "\\n").replace("\r", "\\r"), "the terminal obeys"),
    (lambda text: "".join(filter(str.isprintable, text)), "trace of the attack"), (controls, "control character"),
    (lambda text: " ".join(text.splitlines()), "nobody said"), (lambda text: text.split("\n")[0], "nobody said"),
    (lambda text: text.encode() if "\n" in text else text, "A string"),
    (lambda text: "".join(c if c.isprintable() else " " for c in text), "nobody said"),
])
def test_log_line_refuses(answer: Any, says: str) -> None:
    verdict = lab.check_log_line(answer)
    assert not verdict.passed and says.lower() in str(verdict).lower(), str(verdict)


def by_category(text: str) -> str:
    import unicodedata

    return "".join(f"<{ord(c):X}>" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


@pytest.mark.parametrize("answer", [
    printable, by_category, lambda text: "".join(c if c.isprintable() else "?" for c in text),
    solution(SOLVED, "log-line-code")["my_log_line"]])
def test_log_line_in_any_style(answer: Any) -> None:
    assert lab.check_log_line(answer).passed


def test_our_own_log_is_safe_from_all_of_it() -> None:
    assert all(printable(f"a{what}b").isprintable() for what in NASTY)


# --- find the hole ----------------------------------------------------------------------------------------------------

RIGHT = {name: attack for name, (attack, _) in HOLES.items()}


@pytest.mark.parametrize("name", RIGHT)
def test_holes_refuse(name: str) -> None:
    for other in {"relay", "harvest", "header", "backscatter", "loop", "growth", "log"} - {RIGHT[name]}:
        wrong(lab.check_holes(RIGHT | {name: other}), f"for {name}", HOLES[name][1])
    wrong(lab.check_holes(RIGHT | {name: "smuggling"}), "One of")
    wrong(lab.check_holes({key: it for key, it in RIGHT.items() if key != name}), f"{name} is missing")
    wrong(lab.check_holes(RIGHT | {name: ...}), "Not yet")


def test_holes() -> None:
    assert lab.check_holes(RIGHT).passed
    assert lab.check_holes({name: f" {it.upper()}" for name, it in reversed(RIGHT.items())}).passed
    assert lab.check_holes(solution(SOLVED, "holes-code")["my_holes"]).passed
    refuses_other_forms(lab.check_holes)


# --- unpack -----------------------------------------------------------------------------------------------------------


def afterwards(data: bytes, limit: int) -> bytes:
    found = gzip.decompress(data)
    if len(found) > limit:
        raise ValueError("too much")
    return found


def cut_off(data: bytes, limit: int) -> bytes:
    return gzip.open(io.BytesIO(data)).read(limit)


def believes_the_end(data: bytes, limit: int) -> bytes:
    if int.from_bytes(data[-4:], "little") > limit:
        raise ValueError("too much, it says")
    return gzip.decompress(data)


def one_too_few(data: bytes, limit: int) -> bytes:
    found = gzip.open(io.BytesIO(data)).read(limit)
    if len(found) >= limit:
        raise ValueError("too much")
    return found


def by_ratio(data: bytes, limit: int) -> bytes:
    if len(data) * 1000 > limit:
        raise ValueError("suspicious")
    return gzip.decompress(data)


def by_overflow(data: bytes, limit: int) -> bytes:
    try:
        return by_zlib(data, limit)
    except ValueError:
        raise OverflowError("too much") from None


@pytest.mark.parametrize("answer, says", [
    (by_overflow, "OverflowError for one octet too many"), (one_too_few, "as the limit says are allowed"),
    (lambda data, limit: None, "Not yet"), (lambda data, limit: gzip.decompress(data), "one octet too many"),
    (lambda data, limit: data, "arrives broken"), (cut_off, "one octet too many"), (afterwards, "MB of memory"),
    (believes_the_end, "nine octets"), (one_too_few, "too much"), (by_ratio, "suspicious"),
    (lambda data, limit: gzip.decompress(data)[:limit], "one octet too many"),
])
def test_unpack_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_unpack(answer), says)


def by_zlib(data: bytes, limit: int) -> bytes:
    found = zlib.decompressobj(31).decompress(data, limit + 1)
    if len(found) > limit:
        raise ValueError("too much")
    return found


def in_blocks(data: bytes, limit: int) -> bytes:
    found = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        while block := packed.read(4096):
            found += block
            if len(found) > limit:
                raise ValueError
    return bytes(found)


@pytest.mark.parametrize("answer", [by_zlib, in_blocks, solution(SOLVED, "unpack-code")["my_unpack"]])
def test_unpack_in_any_style(answer: Any) -> None:
    assert lab.check_unpack(answer).passed


# --- sanitizers -------------------------------------------------------------------------------------------------------

NAMES = solution(SOLVED, "sanitizers-code")["my_names"]


@pytest.mark.parametrize("key, name, says", [
    ("A", f"Eve\r\nBcc: {VICTIM}", "need both"), ("A", "Eve", "need both"), ("A", f"Eve\n\nBcc: {VICTIM}", "need both"),
    ("B", f"Eve\nBcc: {VICTIM}", "some parsers"), ("B", f"Eve%0DBcc: {VICTIM}", "some parsers"),
    ("C", f"Eve\rBcc: {VICTIM}", "clean and decode"), ("C", f"Eve%250DBcc: {VICTIM}", "clean and decode"),
    ("D", f"Eve\r\nBcc: {VICTIM}", "in whose middle"), ("D", f"Eve\r\nSubject: {VICTIM}", "in whose middle"),
    ("D", 7, "is a string"), ("C", f"Eve%0DBcc: second@{VICTIM}", "cannot be sent|clean and decode"),
])
def test_sanitizers_refuse(key: str, name: Any, says: str) -> None:
    verdict = lab.check_sanitizers(NAMES | {key: name})
    assert not verdict.passed and any(word in str(verdict) for word in says.split("|")), str(verdict)


def test_a_name_that_is_missing() -> None:
    wrong(lab.check_sanitizers({key: name for key, name in NAMES.items() if key != "C"}), "C is missing")


@pytest.mark.parametrize("names", [
    NAMES, {"A": f"Eve\rCc: {VICTIM}", "B": f"\rTo: x@y.example, {VICTIM}", "C": f"Eve%0aCC:{VICTIM}",
            "D": f"Eve\nBcc: {VICTIM}"},
    NAMES | {"D": f"Eve\r\nBCC: {VICTIM}"}])
def test_sanitizers_in_any_style(names: dict[str, str]) -> None:
    verdict = lab.check_sanitizers(names)
    assert verdict.passed, str(verdict)


def test_what_they_let_through_a_message_refuses() -> None:
    from email.message import EmailMessage

    for key, (clean, _) in SANITIZERS.items():
        with pytest.raises(ValueError, match="linefeed or carriage return"):
            EmailMessage()["Subject"] = clean(NAMES[key])


FUNCTIONS = [entry.name for entry in checks_of("attacks") if entry.examines not in ("my_holes", "my_names")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_hopeless(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses_the_hopeless(getattr(lab, name), monkeypatch)


# --- the figure -------------------------------------------------------------------------------------------------------


def test_what_octets_buy() -> None:
    figure = lab.growth(("a bomb", 100, 1_000_000), ("at ours", 100, 0), ("nothing", 0, 0))
    assert figure.factors == [10_000, 0, 0]
    assert str(figure).splitlines()[1].split() == ["a", "bomb", "100", "1,000,000", "10,000", "for", "1"]
    assert figure.svg().count("<rect") == 1 + 6 and "1,000,000 out" in figure.svg()
    assert lab.growth().svg().startswith("<svg")

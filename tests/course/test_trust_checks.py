"""The checks of `trust` tell right answers from wrong ones, in any style, and say which wrong one it is."""
from __future__ import annotations

import re
from typing import Any

import pytest

from smtp_from_scratch import lab, trust
from smtp_from_scratch.fields import name_of
from smtp_from_scratch.keys import padded
from smtp_from_scratch.questions import BadRecord
from smtp_from_scratch.spf import parse_record
from tests.solutions import SOLUTIONS, nbformat, solution

SOLVED = "25_trust"


def wrong(verdict: Any, *words: str) -> None:
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


def by_start(texts: Any) -> Any:
    found = [text for text in texts if text.startswith("v=spf1")]
    if len(found) > 1:
        raise BadRecord("two")
    return found[0] if found else None


def lenient(texts: Any) -> Any:
    return next((text for text in texts if text.split(" ")[0].lower() == "v=spf1"), None)


def lowered(texts: Any) -> Any:
    return (found := trust.spf_record(texts)) and found.lower()


def eager(texts: Any) -> Any:
    if not texts:
        raise BadRecord("none")
    return trust.spf_record(texts)


@pytest.mark.parametrize("answer, says", [
    (lambda texts: None, "Not yet"), (lambda texts: texts[0] if texts else None, "other TXT records"),
    (by_start, "Capitals"), (lenient, "raise BadRecord"), (lowered, "V=SPF1"), (eager, "BadRecord"),
    (lambda texts: trust.spf_record(texts) or "", "It would be None"),
    (lambda texts: trust.spf_record(list(dict.fromkeys(texts))), "second record"),
])
def test_spf_record_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_spf_record(answer), says)


def counting(texts: Any) -> Any:
    found, count = None, 0
    for text in texts:
        if re.match(r"v=spf1(?: |$)", text, re.IGNORECASE):
            found, count = text, count + 1
    if count > 1:
        raise BadRecord(str(count))
    return found


@pytest.mark.parametrize("answer", [trust.spf_record, counting, solution(SOLVED, "spf-record-code")["my_spf_record"]])
def test_spf_record_in_any_style(answer: Any) -> None:
    assert lab.check_spf_record(answer).passed


def last(terms: Any, hits: Any) -> Any:
    found = None
    for term in terms:
        if hits(term):
            found = trust.RESULTS[term.qualifier]
    return found


@pytest.mark.parametrize("answer, says", [
    (lambda terms, hits: None, "Not yet"), (last, "RFC 7208 §4.6.2"),
    (lambda terms, hits: "pass" if any(map(hits, terms)) else None, "It would be"),
    (lambda terms, hits: ([trust.RESULTS[t.qualifier] for t in terms if hits(t)] or [None])[0], "Stop at the first"),
    (lambda terms, hits: trust.first_match(terms, hits) or "neutral", "None"),
    (lambda terms, hits: next((term.qualifier for term in terms if hits(term)), None), "'pass'"),
    (lambda terms, hits: trust.first_match(terms[::-1], hits), "It would be"),
])
def test_first_match_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_first_match(answer), says)


def recursive(terms: Any, hits: Any) -> Any:
    if not terms:
        return None
    return trust.RESULTS[terms[0].qualifier] if hits(terms[0]) else recursive(terms[1:], hits)


@pytest.mark.parametrize("answer", [trust.first_match, recursive,
                                    solution(SOLVED, "first-match-code")["my_first_match"]])
def test_first_match_in_any_style(answer: Any) -> None:
    assert lab.check_first_match(answer).passed


def relaxing(name: str = "both", fold: bool = True, runs: str = "[ \t]+", ends: bool = True, split: int = 1) -> Any:
    """A `my_relaxed_field` with one of its rules changed."""
    def my_relaxed_field(field: bytes) -> bytes:
        parts = field.split(b":", split)
        first = {"both": parts[0].strip(b" \t").lower(), "case": parts[0].strip(b" \t"),
                 "space": parts[0].lower()}[name]
        value = parts[1].replace(b"\r\n", b"") if fold else parts[1].removesuffix(b"\r\n")
        value = re.sub(runs.encode(), b" ", value)
        return first + b":" + (value.strip(b" ") if ends else value) + b"\r\n"
    return my_relaxed_field


@pytest.mark.parametrize("answer, says", [
    (lambda field: None, "Not yet"), (lambda field: field, "It would be"), (relaxing("case"), "small letters"),
    (relaxing("space"), "around the colon"), (relaxing(fold=False), "one line"), (relaxing(runs="[ ]+"), ""),
    (relaxing(ends=False), "no space"), (relaxing(runs=r"\s+"), "nothing else"), (relaxing(split=-1), "first colon"),
    (lambda field: relaxing()(field)[:-2], "It would be"),
])
def test_relaxed_field_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_relaxed_field(answer), says)


def by_words(field: bytes) -> bytes:
    name, value = field.replace(b"\r\n", b"").split(b":", 1)
    words = [word for word in value.replace(b"\t", b" ").split(b" ") if word]
    return name.replace(b"\t", b" ").strip(b" ").lower() + b":" + b" ".join(words) + b"\r\n"


@pytest.mark.parametrize("answer", [trust.relaxed_field, relaxing(), by_words,
                                    solution(SOLVED, "relaxed-code")["my_relaxed_field"]])
def test_relaxed_field_in_any_style(answer: Any) -> None:
    assert lab.check_relaxed_field(answer).passed


def from_the_top(fields: Any, names: Any) -> Any:
    return trust.select(fields[::-1], names)


def in_place(fields: Any, names: Any) -> Any:
    found = []
    for name in names:
        for place in reversed(range(len(fields))):
            if name_of(fields[place]) == name:
                found.append(fields.pop(place))
                break
    return found


@pytest.mark.parametrize("answer, says", [
    (lambda fields, names: None, "Not yet"), (from_the_top, "at the bottom"), (in_place, "not the caller's any more"),
    (lambda fields, names: [field for field in fields if name_of(field) in names], "It would be"),
    (lambda fields, names: trust.select(fields, dict.fromkeys(names)), "next one above"),
    (lambda fields, names: [field for field in reversed(fields) if field.startswith(tuple(
        name.title().encode() for name in names))], "It would be"),
    (lambda fields, names: trust.select(fields, sorted(names)), "In the order"),
    (lambda fields, names: trust.select(fields, names) + [b""] * (len(names) > 3), "counts as nothing"),
])
def test_select_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_select(answer), says)


def with_marks(fields: Any, names: Any) -> Any:
    used: set[int] = set()
    found = []
    for name in names:
        place = next((p for p in range(len(fields) - 1, -1, -1) if p not in used and name_of(fields[p]) == name), None)
        if place is not None:
            used.add(place)
            found.append(fields[place])
    return tuple(found)


@pytest.mark.parametrize("answer", [trust.select, with_marks, solution(SOLVED, "select-code")["my_select"],
                                    lambda fields, names: in_place(list(fields), names)])
def test_select_in_any_style(answer: Any) -> None:
    assert lab.check_select(answer).passed


def opened(signature: bytes, n: int, e: int) -> bytes:
    return pow(int.from_bytes(signature), e, n).to_bytes(256)


@pytest.mark.parametrize("answer, says", [
    (lambda digest, signature, n, e: None, "Not yet"), (lambda digest, signature, n, e: True, "another text"),
    (lambda digest, signature, n, e: False, "a right signature"),
    (lambda digest, signature, n, e: digest in opened(signature, n, e), ""),
    (lambda digest, signature, n, e: opened(signature, n, e).endswith(digest), ""),
    (lambda digest, signature, n, e: bool(re.match(b"\0\1\xff+\0.{19}" + re.escape(digest), opened(signature, n, e),
                                                    re.DOTALL)), "CVE-2006-4339"),
    (lambda digest, signature, n, e: pow(int.from_bytes(signature), e, n) == padded(digest, 256), "zero before it"),
    (lambda digest, signature, n, e: int.from_bytes(signature) == padded(digest, 256), ""),
])
def test_rsa_verifies_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_rsa_verifies(answer), says)


@pytest.mark.parametrize("answer", [
    trust.rsa_verifies, solution(SOLVED, "rsa-verifies-code")["my_rsa_verifies"],
    lambda digest, signature, n, e: (len(signature) == 256 and opened(signature, n, e)
                                     == padded(digest, 256).to_bytes(256)),
])
def test_rsa_verifies_in_any_style(answer: Any) -> None:
    assert lab.check_rsa_verifies(answer).passed


@pytest.mark.parametrize("answer, says", [
    (lambda *given: None, "Not yet"), (lambda one, author, strict, org: one == author, "One owner"),
    (lambda one, author, strict, org: org(one) == org(author), "Strict"),
    (lambda one, author, strict, org: one == author or (not strict and one.endswith(author)), "both directions"),
    (lambda one, author, strict, org: one == author or (not strict and one.split(".")[-2:] == author.split(".")[-2:]),
     "belongs to neither"),
    (lambda one, author, strict, org: not strict or one == author, "Another owner"),
    (lambda one, author, strict, org: one == author or (strict and org(one) == org(author)), ""),
])
def test_aligned_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_aligned(answer), says)


@pytest.mark.parametrize("answer", [
    trust.aligned, solution(SOLVED, "aligned-code")["my_aligned"],
    lambda one, author, strict, org: one == author if strict else org(one) == org(author),
])
def test_aligned_in_any_style(answer: Any) -> None:
    assert lab.check_aligned(answer).passed


RIGHT = {"A": "pass pass pass", "B": "fail pass pass", "C": "pass fail fail", "D": "pass pass fail",
         "E": "pass pass pass", "F": "pass none pass"}


@pytest.mark.parametrize("answer, says", [
    ({}, "Not yet"), (RIGHT | {"F": ...}, "F"), (RIGHT | {"B": "pass pass pass"}, "last host"),
    (RIGHT | {"C": "fail fail fail"}, "list's own domain"), (RIGHT | {"D": "pass pass pass"}, "neither vouches"),
    (RIGHT | {"E": "pass pass fail"}, "what a name looks like"), (RIGHT | {"F": "pass none fail"}, "one owner"),
    ("pass", "A dictionary"), (RIGHT | {"A": "pass"}, "for A"),
])
def test_six_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_six(answer), says)


@pytest.mark.parametrize("answer", [RIGHT, {case: words.split() for case, words in RIGHT.items()},
                                    {case: words.upper().replace(" ", ", ") for case, words in RIGHT.items()}])
def test_six_in_any_style(answer: Any) -> None:
    assert lab.check_six(answer).passed


DIRECTOR = b"From: director@rio.example\r\n"


@pytest.mark.parametrize("answer, says", [
    (lambda letter: None, "Not yet"), (lambda letter: letter, "first From"),
    (lambda letter: re.sub(rb"(?i)^from:.*\r\n", DIRECTOR, letter, count=1, flags=re.MULTILINE), "says fail"),
    (lambda letter: letter.replace(b"\r\n\r\n", b"\r\n" + DIRECTOR + b"\r\n", 1), "says fail"),
    (lambda letter: letter + DIRECTOR, "says fail"), (lambda letter: DIRECTOR + letter.partition(b"To:")[2], "none"),
    (lambda letter: "From: director@rio.example", "Octets"),
    (lambda letter: b"Sender: director\r\n" + letter, "first From"),
    (lambda letter: b"From: director@rio.example\n" + letter, "nobody reads"),
])
def test_other_author_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_other_author(answer), says)


@pytest.mark.parametrize("answer", [
    solution(SOLVED, "author-code")["my_other_author"], lambda letter: bytearray(b"Subject: x\r\n" + DIRECTOR) + letter,
    lambda letter: letter.replace(b"DKIM-Signature:", DIRECTOR + b"DKIM-Signature:", 1),
])
def test_other_author_in_any_style(answer: Any) -> None:
    assert lab.check_other_author(answer).passed


def pricing(asking: str = "include a mx ptr exists", inside: bool = True, redirect: bool = True,
            once: bool = False) -> Any:
    """A `my_cost` with one of its rules changed."""
    def my_cost(domain: str, dns: Any, seen: Any = None) -> int:
        seen = set() if seen is None else seen
        terms, leads = parse_record(dns[domain])
        cost = sum(term.name in asking.split() for term in terms)
        for term in terms:
            if term.name == "include" and inside and not (once and term.value in seen):
                seen.add(term.value)
                cost += my_cost(term.value, dns, seen)
        return cost + (1 + my_cost(leads, dns, seen) if redirect and leads else 0)
    return my_cost


@pytest.mark.parametrize("answer, says", [
    (lambda domain, dns: None, "Not yet"), (lambda domain, dns: 0, "`a`"), (pricing(inside=False), "counts as well"),
    (pricing("a mx ptr exists"), "An `include` is one"), (pricing(redirect=False), "`redirect`"),
    (pricing(once=True), "twice"), (lambda domain, dns: len(dns[domain].split()) - 1, "ask nobody"),
    (pricing("include a mx ptr"), "exists"),
])
def test_cost_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_cost(answer), says)


def by_hand(domain: str, dns: Any) -> int:
    total = 0
    for word in dns[domain].lower().split()[1:]:
        word = word.lstrip("+-?~")
        name, _, value = word.partition("=" if word.startswith("redirect=") else ":")
        total += re.split("[/:=]", word)[0] in ("include", "a", "mx", "ptr", "exists", "redirect")
        total += by_hand(value, dns) if name in ("include", "redirect") else 0
    return total


@pytest.mark.parametrize("answer", [pricing(), by_hand, solution(SOLVED, "cost-code")["my_cost"]])
def test_cost_in_any_style(answer: Any) -> None:
    assert lab.check_cost(answer).passed


def test_the_solutions_pass() -> None:
    notebook = nbformat.read(SOLUTIONS / f"{SOLVED}.ipynb", as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    verdicts = [source for source in sources if "lab.check_" in source]
    assert len(verdicts) == 9
    exec("\n".join(sources), {"__name__": "solutions"})

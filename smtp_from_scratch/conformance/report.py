"""What a run of dialogues looks like to a person, to a program, and to a CI system."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree import ElementTree

from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, SKIPPED, Outcome
from smtp_from_scratch.printable import printable
from smtp_from_scratch.transcript import Said

SHOWN = 40                                      # lines of a transcript that are shown


def with_progress(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """The same outcomes, with a progress bar on standard error while they come, where that is a terminal."""
    if not sys.stderr.isatty():
        yield from outcomes
        return
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        for number, outcome in enumerate(outcomes, 1):
            print(f"\r{number} of {total}", end="", file=sys.stderr, flush=True)
            yield outcome
        print(file=sys.stderr)
    else:
        yield from track(outcomes, "playing dialogues", total, console=Console(stderr=True), transient=True)


def table(outcomes: list[Outcome]) -> str:
    """Passed, failed and skipped, a row an RFC, and why dialogues were skipped."""
    rfcs = sorted({outcome.dialogue.rfc for outcome in outcomes}, key=int)
    rows = [["RFC", PASSED, FAILED, SKIPPED]]
    for rfc in rfcs:
        counts = Counter(outcome.status for outcome in outcomes if outcome.dialogue.rfc == rfc)
        rows.append([rfc, *(str(counts[status]) for status in (PASSED, FAILED, SKIPPED))])
    counts = Counter(outcome.status for outcome in outcomes)
    rows.append(["all", *(str(counts[status]) for status in (PASSED, FAILED, SKIPPED))])
    text = "\n".join(f"{row[0]:>5} {row[1]:>8} {row[2]:>8} {row[3]:>8}" for row in rows)
    reasons = Counter(outcome.reason for outcome in outcomes if outcome.status == SKIPPED)
    if reasons:
        often = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        text += "\n\nskipped because the other end\n" + "\n".join(
            f"{count:>5} × {printable(reason)}" for reason, count in often)
    return text


def failure(outcome: Outcome) -> str:
    """One failure: the rule, what was said, what differed."""
    dialogue = outcome.dialogue
    head = f"✗ {dialogue.title}\n  RFC {dialogue.rfc} {dialogue.section}, {dialogue.level}: {dialogue.asks}"
    at = f"{dialogue.source.partition(':')[0]}:{outcome.line}" if outcome.line else dialogue.source
    talk = list(transcript(outcome.said))
    if len(talk) > SHOWN:
        talk = [*talk[:5], f"… {len(talk) - SHOWN} lines …", *talk[5 - SHOWN :]]
    note = f"\n  Note: {dialogue.note}" if dialogue.note else ""
    return "\n".join([head, *(f"    {line}" for line in talk), f"  → {printable(outcome.reason)} ({at}){note}"])


def transcript(said: Iterable[Said]) -> Iterator[str]:
    """Lines of a transcript; octets that are no text are escaped, long lines shortened."""
    for who, data in merged(said):
        for line in data.split(b"\n") if not data.endswith(b"\n") else data[:-1].split(b"\n"):
            whole = line[:-1] if line.endswith(b"\r") else line + "␍ is missing".encode()
            text = whole.decode("utf-8", "backslashreplace")
            yield f"{who}: {printable(text[:200])}{f' … ({len(text)} characters)' if len(text) > 200 else ''}"


def merged(said: Iterable[Said]) -> Iterator[tuple[str, bytes]]:
    """Octets that one end said without a break, in one piece."""
    speaker, data = "", b""
    for record in said:
        if record.role != speaker:
            if data:
                yield speaker, data
            speaker, data = record.role, b""
        data += record.data[:65_536]
    if data:
        yield speaker, data


def as_json(outcomes: list[Outcome], target: str) -> str:
    """For programs: one object for each dialogue; in ASCII, since it may be shown by a terminal."""
    return json.dumps({"target": target, "dialogues": [as_dict(outcome) for outcome in outcomes]}, indent=1)


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """An outcome without its transcript, unless it failed."""
    dialogue = outcome.dialogue
    shown = {"title": dialogue.title, "rfc": dialogue.rfc, "section": dialogue.section, "level": dialogue.level,
             "end": dialogue.end, "source": dialogue.source, "status": outcome.status, "reason": outcome.reason}
    return shown | ({"transcript": list(transcript(outcome.said))} if outcome.status == FAILED else {})


def as_junit(outcomes: list[Outcome], target: str) -> str:
    """For CI systems."""
    counts = Counter(outcome.status for outcome in outcomes)
    suite = ElementTree.Element("testsuite", name=f"smtp-from-scratch check {printable(target)}",
                                tests=str(len(outcomes)), failures=str(counts[FAILED]), skipped=str(counts[SKIPPED]))
    for outcome in outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=f"RFC {outcome.dialogue.rfc}",
                                      name=f"{outcome.dialogue.title} ({outcome.dialogue.section})")
        if outcome.status == FAILED:
            broken = ElementTree.SubElement(case, "failure", message=printable(outcome.reason))
            broken.text = failure(outcome)
        elif outcome.status == SKIPPED:
            ElementTree.SubElement(case, "skipped", message=printable(outcome.reason))
    return ElementTree.tostring(suite, "unicode", xml_declaration=True)


def listing(dialogues: Iterable[Dialogue]) -> str:
    """Every dialogue in a line."""
    return "\n".join(f"{d.end:6} RFC {d.rfc:>4} {d.section:14} {d.level:6} {d.title}" for d in dialogues)

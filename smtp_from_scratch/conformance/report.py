"""What a run of dialogues looks like to a person, to a program, and to a CI system."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from xml.etree import ElementTree

from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.server.runner import FAILED, GAP, PASSED, SKIPPED, Outcome
from smtp_from_scratch.printable import printable
from smtp_from_scratch.transcript import Said

SHOWN = 40                                      # lines of a transcript that are shown
INDEXED = 5                                     # failures: more of them are listed again at the end
SCHEMA = 1                                      # of the JSON
PIECE = 65_536                                  # octets of what is said at once that are kept
CR, MISSING, CUT = b"\r", "␍ is missing".encode(), "…".encode()


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
    """Passed, broken by level, and skipped, a row an RFC, and why dialogues were skipped."""
    rfcs = sorted({outcome.dialogue.rfc for outcome in outcomes}, key=int)
    rows = [["RFC", PASSED, "MUST", "SHOULD", SKIPPED]]
    rows += [[rfc, *numbers(outcome for outcome in outcomes if outcome.dialogue.rfc == rfc)] for rfc in rfcs]
    rows.append(["all", *numbers(outcomes)])
    text = "\n".join(f"{row[0]:>5} {row[1]:>8} {row[2]:>8} {row[3]:>8} {row[4]:>8}" for row in rows)
    reasons = Counter(outcome.reason for outcome in outcomes if outcome.status == SKIPPED)
    if reasons:
        often = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        text += "\n\nskipped because the other end\n" + "\n".join(
            f"{count:>5} × {printable(reason)}" for reason, count in often)
    return text


def numbers(outcomes: Iterable[Outcome]) -> list[str]:
    """How many passed, broke a MUST, broke a SHOULD, were skipped."""
    counts = Counter(outcome.status if outcome.status != FAILED else outcome.dialogue.level for outcome in outcomes)
    return [str(counts[word]) for word in (PASSED, "MUST", "SHOULD", SKIPPED)]


def index(failed: Iterable[Outcome]) -> str:
    """The titles of what is broken, each MUST before each SHOULD; empty for a few, which one screen shows whole."""
    def place(outcome: Outcome) -> tuple[str, int, list[int], str]:
        about = outcome.dialogue
        return about.level, int(about.rfc), [int(number) for number in re.findall(r"\d+", about.section)], about.title

    found = [outcome.dialogue for outcome in sorted(failed, key=place)]
    lines = [f"  {one.level:6}  {f'{one.rfc} {one.section}':16} {one.title}" for one in found]
    return "\n".join(["broken", *lines]) if len(lines) > INDEXED else ""


def last_line(outcomes: list[Outcome]) -> str:
    """`4 MUST, 11 SHOULD broken; 356 passed; 105 skipped`."""
    passed, must, should, skipped = numbers(outcomes)
    broken = ", ".join(f"{number} {level}" for number, level in ((must, "MUST"), (should, "SHOULD")) if number != "0")
    return f"{f'{broken} broken' if broken else 'nothing broken'}; {passed} passed; {skipped} skipped"


def failure(outcome: Outcome, color: bool = False) -> str:
    """One failure: the rule, what was said, what differed."""
    dialogue = outcome.dialogue
    head = (f"{painted(f'✗ {dialogue.title}', dialogue.level, color)}\n"
            f"  RFC {dialogue.rfc} {dialogue.section}, {dialogue.level}: {dialogue.asks}")
    at = f"{dialogue.source.partition(':')[0]}:{outcome.line}" if outcome.line else dialogue.source
    talk = list(folded(list(transcript(outcome.said))))
    if len(talk) > SHOWN:
        talk = [*talk[:5], f"… {len(talk) - SHOWN} lines …", *talk[5 - SHOWN :]]
    note = f"\n  Note: {dialogue.note}" if dialogue.note else ""
    reason = painted(f"→ {printable(outcome.reason)}", dialogue.level, color)
    return "\n".join([head, *(f"    {line}" for line in talk), f"  {reason} ({at}){note}"])


def painted(text: str, level: str, color: bool) -> str:
    """A text in the color of a broken rule of this level, for a terminal."""
    return f"\x1b[{31 if level == 'MUST' else 33}m{text}\x1b[0m" if color else text


def in_color() -> bool:
    """Whether standard output is a terminal whose user wants colors (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# --- transcripts -----------------------------------------------------------------------------------------------------


def folded(lines: list[str]) -> Iterator[str]:
    """The same lines, with what is said again and again, but for its numbers, said twice."""
    shapes = [re.sub(r"\d+", "#", line) for line in lines]
    at = 0
    while at < len(lines):
        for period in (1, 2, 3, 4):
            end = at + period
            while shapes[end : end + period] == shapes[at : at + period]:
                end += period
            times = (end - at) // period
            if times > 3:
                yield from lines[at : at + period]
                yield f"… {times - 2} times more …"
                at = end - period
                break
        else:
            period = 1
        yield from lines[at : at + period]
        at += period


def transcript(said: Iterable[Said]) -> Iterator[str]:
    """Lines of a transcript; octets that are no text are escaped, long lines shortened."""
    pieces = list(merged(said))
    for (who, data), (follower, _) in zip(pieces, [*pieces[1:], ("", b"")], strict=False):
        if who == GAP:
            yield f"… {data.decode()} left out …"
            continue
        *whole, rest = data.split(b"\n")
        for line in whole:
            yield f"{who}: {readable(line[:-1] if line[-1:] == CR else line + MISSING)}"
        if rest:
            yield f"{who}: {readable(rest + (b'' if follower == GAP or rest.endswith(CUT) else MISSING))}"


def readable(line: bytes) -> str:
    """A line as it can be shown."""
    text = line.decode("utf-8", "backslashreplace")
    return f"{printable(text[:200])}{f' … ({len(text)} characters)' if len(text) > 200 else ''}"


def merged(said: Iterable[Said]) -> Iterator[tuple[str, bytes]]:
    """Octets that one end said without a break, in one piece; much at once is cut."""
    speaker, data = "", b""
    for record in said:
        if record.role != speaker:
            if data:
                yield speaker, data
            speaker, data = record.role, b""
        data += record.data if len(record.data) <= PIECE else record.data[:PIECE] + CUT
    if data:
        yield speaker, data


def as_json(outcomes: list[Outcome], target: str, known: Callable[[Outcome], bool] = lambda outcome: False) -> str:
    """For programs: a summary, and one object for each dialogue; in ASCII, since it may be shown by a terminal.

    A failure that is `known` has `"known": true`.

    `schema` is raised when a name or its meaning changes, not when something is added.
    """
    passed, must, should, skipped = map(int, numbers(outcomes))
    summary = {"passed": passed, "must": must, "should": should, "skipped": skipped}
    return json.dumps({"schema": SCHEMA, "target": target, "summary": summary,
                       "dialogues": [as_dict(outcome, known(outcome)) for outcome in outcomes]}, indent=1)


def as_dict(outcome: Outcome, known: bool) -> dict[str, Any]:
    """An outcome, with its transcript if it was played; `known`: if it failed, that was expected."""
    dialogue = outcome.dialogue
    shown = {"title": dialogue.title, "rfc": dialogue.rfc, "section": dialogue.section, "level": dialogue.level,
             "end": dialogue.end, "source": dialogue.source, "asks": dialogue.asks, "status": outcome.status,
             "reason": outcome.reason} | ({"known": True} if known and outcome.status == FAILED else {})
    return shown | ({"transcript": list(folded(list(transcript(outcome.said))))} if outcome.said else {})


def as_junit(outcomes: list[Outcome], target: str, counted: Callable[[Outcome], bool] = lambda outcome: True) -> str:
    """For CI systems: a failure is what makes the command fail too; what is broken and not counted is skipped."""
    failed = [outcome for outcome in outcomes if outcome.status == FAILED and counted(outcome)]
    skipped = sum(outcome.status != PASSED for outcome in outcomes) - len(failed)
    suite = ElementTree.Element("testsuite", name=f"smtp-from-scratch check {printable(target)}",
                                tests=str(len(outcomes)), failures=str(len(failed)), skipped=str(skipped))
    for outcome in outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=f"RFC {outcome.dialogue.rfc}",
                                      name=f"{outcome.dialogue.title} ({outcome.dialogue.section})")
        if outcome.status == FAILED and counted(outcome):
            broken = ElementTree.SubElement(case, "failure", message=printable(outcome.reason))
            broken.text = failure(outcome)
        elif outcome.status != PASSED:
            why = f"{outcome.dialogue.level} broken, not counted: " if outcome.status == FAILED else ""
            ElementTree.SubElement(case, "skipped", message=printable(why + outcome.reason))
    return ElementTree.tostring(suite, "unicode", xml_declaration=True)


def listing(dialogues: Iterable[Dialogue]) -> str:
    """Every dialogue in a line."""
    return "\n".join(f"{d.end:6} RFC {d.rfc:>4} {d.section:14} {d.level:6} {d.title}" for d in dialogues)

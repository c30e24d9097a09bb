"""What `check` and `check-client` share: which dialogues are played, and how the outcomes are told."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smtp_from_scratch.cli.common import OK, REFUSED, USAGE, complain

if TYPE_CHECKING:
    from smtp_from_scratch.conformance.notation import Dialogue
    from smtp_from_scratch.conformance.server.runner import Outcome


def add_choice(parser: argparse.ArgumentParser, listed: str) -> None:
    """Which dialogues."""
    parser.add_argument("--rfc", action="append", metavar="N", default=[], help="only this RFC; may be repeated")
    parser.add_argument("--section", action="append", type=section, metavar="N:S", default=[],
                        help="only this section and those within it, such as 5321:4.1.4; may be repeated")
    parser.add_argument("--only", metavar="TITLE", default="", help="only dialogues with this in their title")
    parser.add_argument("--list", action="store_true", help=listed)


def add_report(parser: argparse.ArgumentParser) -> None:
    """How outcomes are told, and what counts."""
    parser.add_argument("--strict", action="store_true", help="a broken SHOULD counts as a broken MUST does")
    parser.add_argument("--baseline", type=Path, metavar="F",
                        help="known failures, each with a reason: only others count; those that pass again are named")
    parser.add_argument("--write-baseline", type=Path, metavar="F", help="write all that failed to such a file")
    parser.add_argument("--json", action="store_true", help="the outcomes as JSON on standard output")
    parser.add_argument("--junit", metavar="F", help="write the outcomes to this file, as CI systems read them")


def section(text: str) -> tuple[str, str]:
    """`5321:4.1.4`: an RFC and a section."""
    if not (found := re.fullmatch(r"(\d+):§?([A-Z0-9]+(?:\.\d+)*)", text)):
        raise argparse.ArgumentTypeError(f"expected an RFC and a section, such as 5321:4.1.4, got {text!r}")
    return found[1], found[2]


def chosen(options: argparse.Namespace, end: str) -> list[Dialogue]:
    """The dialogues for a server or a client that the options name."""
    from smtp_from_scratch.conformance.server import runner

    return [dialogue for dialogue in runner.all_dialogues() if dialogue.end == end
            and (not options.rfc or dialogue.rfc in options.rfc)
            and (not options.section or any(within(dialogue, *place) for place in options.section))
            and options.only.lower() in dialogue.title.lower()]


def none_chosen(options: argparse.Namespace) -> str:
    """That there is no such dialogue, as a sentence that says what was asked for."""
    places = [*(f"RFC {rfc}" for rfc in options.rfc), *(f"§{place} of RFC {rfc}" for rfc, place in options.section)]
    wishes = ([f"about {' and '.join(places)}"] if places else []) + (["called that"] if options.only else [])
    return f"no dialogue is {' and '.join(wishes)}; --list alone shows them all"


def within(dialogue: Dialogue, rfc: str, wanted: str) -> bool:
    """Whether a dialogue is about this section of an RFC, or one within it."""
    return dialogue.rfc == rfc and f"{dialogue.section.removeprefix('§')}.".startswith(f"{wanted}.")


def tell(played: Iterable[Outcome], count: int, where: str, options: argparse.Namespace) -> int:
    """Report what came of dialogues, as the options say; returns the exit code."""
    from smtp_from_scratch.conformance import baseline, report
    from smtp_from_scratch.conformance.server.runner import FAILED

    try:
        known = baseline.read(options.baseline) if options.baseline else {}
    except (OSError, ValueError) as error:
        return complain(f"cannot use the baseline: {error}", USAGE)
    if problem := unwritable([options.junit, options.write_baseline]):
        return complain(problem, USAGE)
    levels = ("MUST", "SHOULD") if options.strict else ("MUST",)

    def counts(outcome: Outcome) -> bool:
        return outcome.status == FAILED and outcome.dialogue.level in levels and not expected(outcome)

    def expected(outcome: Outcome) -> bool:
        return baseline.key(outcome) in known

    outcomes = list(report.with_progress(played, count))
    print(report.as_json(outcomes, where, expected) if options.json else in_words(outcomes, known, options))
    try:
        if options.junit:
            Path(options.junit).write_text(report.as_junit(outcomes, where, counts), "utf-8")
        if options.write_baseline:
            baseline.write(options.write_baseline, outcomes, known)
    except OSError as error:
        return complain(f"cannot write the report: {error}", USAGE)
    return REFUSED if any(map(counts, outcomes)) else OK


def unwritable(files: Iterable[str | Path | None]) -> str:
    """Why one of these files cannot be written, as a sentence; empty when all can. They stay as they are."""
    for path in [Path(file) for file in files if file]:
        there = path.exists()
        if there and not (path.is_file() or path.is_dir()):
            continue                            # opening a pipe would be noticed at its other end
        try:
            path.open("a").close()
            if not there:
                path.unlink()
        except OSError as error:
            return f"cannot write the report: {error}"
    return ""


def in_words(outcomes: Sequence[Outcome], known: dict[str, str], options: argparse.Namespace) -> str:
    """The outcomes for a person: each failure that is new, a table, what has healed, the sum."""
    from smtp_from_scratch.conformance import baseline, report
    from smtp_from_scratch.conformance.server.runner import FAILED

    color = report.in_color()
    failed = [outcome for outcome in outcomes if outcome.status == FAILED]
    new = [outcome for outcome in failed if baseline.key(outcome) not in known]
    told = [*(report.failure(outcome, color) for outcome in new), report.table(list(outcomes)), report.index(new)]
    if old := len(failed) - len(new):
        told.append(f"{old} known failures of {options.baseline} are not shown")
    told += ["\n".join(f"healed: {name}; take it out of {options.baseline}"
                       for name in baseline.healed(outcomes, known))] if known else []
    return "\n\n".join(filter(None, [*told, report.last_line(list(outcomes))]))

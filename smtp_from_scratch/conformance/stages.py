"""A road to a server or a client of one's own: the dialogues as stages, in the order of the course's chapters."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from smtp_from_scratch.conformance.headings import PACKAGE, Heading, headings
from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.runner import FAILED, NO_CALL, PASSED, SKIPPED, Outcome, all_dialogues
from smtp_from_scratch.printable import printable

OTHER_PORTS = {"lmtp", "submission", "implicit"}        # dialogues of servers with such a `setup:` are in no stage
Play = Callable[[Iterable[Dialogue]], Generator[Outcome, None, None]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A group of dialogues with a chapter that explains it. The first must pass; of the others none may fail."""

    heading: Heading
    dialogues: tuple[Dialogue, ...]


@dataclass(slots=True)
class Climb:
    """How far somebody has come: so many stages are green, and what stopped at the next."""

    total: int
    green: int = 0
    stage: Stage | None = None                  # the first that is not green; None when all are
    outcome: Outcome | None = None              # what it stopped at
    passed_over: list[Outcome] = field(default_factory=list)    # in green stages: a SHOULD or MAY that was broken


def stages(end: str) -> list[Stage]:
    """The stages for "server" or "client", with their dialogues; raises KeyError for a dialogue that is not there."""
    known = {f"{dialogue.rfc} {dialogue.title}": dialogue for dialogue in all_dialogues()
             if dialogue.end == end and not (end == "server" and OTHER_PORTS.intersection(dialogue.setup))}
    named = {name for heading in headings(end) for name in heading.dialogues}

    def chosen(heading: Heading) -> Iterator[Dialogue]:
        for name in heading.dialogues:
            if name.endswith(".txt"):
                yield from (dialogue for title, dialogue in known.items()
                            if dialogue.source.startswith(f"{name}:") and title not in named)
            else:
                yield known[name]

    return [Stage(heading, tuple(chosen(heading))) for heading in headings(end)]


def climb(road: Sequence[Stage], play: Play, strict: bool = False,
          begins: Callable[[Stage], None] = lambda stage: None) -> Climb:
    """Play stage by stage, up to the first that is not green; `strict`: a broken SHOULD stops it, too."""
    progress = Climb(len(road))
    for stage in road:
        begins(stage)
        failed = []
        with closing(play(stage.dialogues)) as played:
            for number, outcome in enumerate(played):
                if outcome.status == FAILED:
                    failed.append(outcome)
                if stops(outcome, number == 0, strict):
                    progress.stage, progress.outcome = stage, outcome
                    return progress
        progress.green += 1
        progress.passed_over += failed
    return progress


def stops(outcome: Outcome, first: bool, strict: bool) -> bool:
    """Whether a stage is not green because of this."""
    if first or outcome.reason.startswith(NO_CALL):
        return outcome.status != PASSED
    return outcome.status == FAILED and outcome.dialogue.level in (("MUST", "SHOULD") if strict else ("MUST",))


# --- what a person is shown ------------------------------------------------------------------------------------------


def notebook(chapter: str) -> str:
    """Where a chapter is: its notebook, where the course lies beside the package, or its name."""
    found = sorted((PACKAGE.parent / "notebooks").glob(f"[0-9][0-9]_{chapter}.ipynb"))
    return f"notebooks/{found[0].name}" if found else f"the course's chapter {chapter}"


def address(dialogue: Dialogue) -> str:
    """Where a dialogue's section can be read."""
    section = dialogue.section.split(",")[0].strip(" §")
    kind = "appendix" if section[:1].isalpha() else "section"
    return f"https://www.rfc-editor.org/rfc/rfc{dialogue.rfc}#{kind}-{section}"


def summary(progress: Climb) -> str:
    """Progress in a line: `7 of 19 stages`."""
    over = sum(outcome.dialogue.level == "SHOULD" for outcome in progress.passed_over)
    note = f" ({over} SHOULD broken on the way: --strict stops at them)" if over else ""
    return f"{progress.green} of {progress.total} stages{note}"


def shown(progress: Climb, end: str, told: str = "") -> str:
    """The one dialogue that a climb stopped at, with what explains it, and the line of progress.

    `told` is what the command said of itself meanwhile.
    """
    stage, outcome = progress.stage, progress.outcome
    if stage is None or outcome is None:
        return summary(progress)
    heading = stage.heading
    played = outcome if outcome.status != SKIPPED else Outcome(
        outcome.dialogue, SKIPPED, f"not played: the {end} {outcome.reason}")
    words = "\n".join(["  it said:", *(f"    {printable(line)}" for line in told.splitlines()), ""]) if told else ""
    also = f", and {notebook(heading.also)}" if heading.also else ""
    return "\n".join([f"stage {heading.number}: {heading.name}", "", failure(played),
                      f"{words}  RFC:     {address(outcome.dialogue)}",
                      f"  chapter: {notebook(heading.chapter)}{also}", "", summary(progress)])


def listing(end: str) -> str:
    """Every stage in a line: its number, how many dialogues it has, the chapter that explains it."""
    return "\n".join(f"{stage.heading.number:>2}  {stage.heading.name:46} {len(stage.dialogues):>3} dialogues  "
                     f"{notebook(stage.heading.chapter)}" for stage in stages(end))

"""What a check has to say: passed, not yet, or one thing that is wrong and where to look."""
from __future__ import annotations

from dataclasses import dataclass

from smtp_from_scratch.lab.figures.faces import Face, Note, rich

Hints = tuple[str, str, str]                   # a question, a line, the idea in three sentences


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: what the learner gave, what the wire would do with it, where to look."""

    gave: str
    wire: str = ""
    look: str = ""


class NotYet(Exception):
    """Raised within a check: this is still the stub, not an answer. Its text says what is missing."""


def hint_of(hints: Hints, chapter: str, number: int) -> Note:
    """The hint of this number; beyond the third, where the solution is."""
    if 1 <= number <= len(hints):
        return Note(hints[number - 1])
    return Note(f"There are hints 1, 2 and 3. The answer is in the folder solutions, in the notebook `{chapter}`.")


class Verdict(Face):
    """The outcome of a check; `passed`, `problem`, and hints for the asking."""

    def __init__(self, passed: bool, says: str = "", problem: Problem | None = None, hints: Hints = ("", "", ""),
                 chapter: str = "") -> None:
        self.passed, self.says, self.problem, self.hints, self.chapter = passed, says, problem, hints, chapter

    def __bool__(self) -> bool:
        return self.passed

    def hint(self, number: int = 1) -> Note:
        """The first hint is a question, the second a line, the third the idea in three sentences."""
        return hint_of(self.hints, self.chapter, number)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The headings, and what is said after each."""
        if self.passed:
            return [("Passed", self.says)]
        parts = [("Not yet", self.says)]
        if self.problem:
            parts = [("You gave", self.problem.gave), ("On the wire", self.problem.wire),
                     ("Where to look", self.problem.look)]
        return [(name, text) for name, text in parts if text] + [("Stuck", "put `.hint(1)` after the check")]

    def text(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self.rows)

    def html(self) -> str:
        sign = "✓" if self.passed else "✗" if self.problem else "…"
        first, *others = [f"<b>{name}:</b> {rich(text)}" for name, text in self.rows]
        return "".join(f"<p>{line}</p>" for line in (f"{sign} {first}", *others))

"""What a check has to say: passed, not yet, or one thing that is wrong and where to look."""
from __future__ import annotations

from dataclasses import dataclass
from html import escape

from smtp_from_scratch.lab.faces import Face, card
from smtp_from_scratch.lab.style import TLS, TROUBLE, WAITING


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: what the learner gave, what the wire would do with it, where to look."""

    gave: str
    wire: str = ""
    look: str = ""


class NotYet(Exception):
    """Raised within a check: this is still the stub, not an answer. Its text says what is missing."""


class Note(str):
    """A string that shows itself without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


class Verdict(Face):
    """The outcome of a check; `passed`, `problem`, and hints for the asking."""

    def __init__(self, passed: bool, says: str = "", problem: Problem | None = None, hints: tuple[str, ...] = (),
                 solution: str = "") -> None:
        self.passed, self.says, self.problem, self.hints, self.solution = passed, says, problem, hints, solution

    def __bool__(self) -> bool:
        return self.passed

    def hint(self, number: int = 1) -> Note:
        """The first hint is a question, the second a line; after them comes the solution."""
        if 1 <= number <= len(self.hints):
            return Note(self.hints[number - 1])
        where = f" It is in solutions/, chapter {self.solution}." if self.solution else ""
        return Note(f"There {'is 1 hint' if len(self.hints) == 1 else f'are {len(self.hints)} hints'};"
                    f" what follows is the solution.{where}")

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The heading, and what is said under it."""
        if self.passed:
            return [("Passed", self.says)]
        if self.problem is None:
            return [("Not yet", self.says)]
        parts = [("You gave", self.problem.gave), ("On the wire", self.problem.wire),
                 ("Where to look", self.problem.look), ("Stuck", self._offer())]
        return [(name, text) for name, text in parts if text]

    def _offer(self) -> str:
        calls = " or ".join(f".hint({n})" for n in range(1, len(self.hints) + 1))
        return f"put {calls} behind the check" if calls else ""

    def text(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self.rows)

    def html(self) -> str:
        color = TLS if self.passed else TROUBLE if self.problem else WAITING
        lines = "".join(f'<div style="white-space:pre-wrap"><b>{name}:</b> {escape(text, quote=False)}</div>'
                        for name, text in self.rows)
        return card(f'<div style="border-left:5px solid {color};padding-left:10px">{lines}</div>')

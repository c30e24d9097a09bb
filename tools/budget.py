#!/usr/bin/env python3
"""How long a chapter takes, counted from its notebook, against the budget of the course.

    python tools/budget.py                a table of all chapters
    python tools/budget.py 09 11          of these
    python tools/budget.py --check        the same; exit with status 1 if one is over its budget or says another number

Minutes are words ÷ 200, 40 s for a code cell (110 s above 15 lines, folded or not), 1 min for a prediction, and the
minutes that each exercise states, as in "### Exercise 2: build `my_lines` (10 minutes)", but for those that say "(10
minutes, another day)". What the learner writes within a loop counts as well, and states its minutes: "**Your turn** (4
minutes). Write `my_lines(chunks)`."
"""
from __future__ import annotations

import argparse
import ast
import json
import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from export import ROOT, Problem, chapters

MOST_MINUTES, MOST_WORDS, MOST_CELLS, MOST_DEFINITIONS = 90, 2600, 45, 16
WORDS_A_MINUTE, SHORT, LONG, LONG_FROM = 200, 40, 110, 16       # seconds for a cell; lines
EXPORTED = re.compile(r"^\s*#\s*\|\s*exporti?\b", re.MULTILINE)
HEADING = re.compile(r"^#{2,5}\s+(.*)$", re.MULTILINE)
STATED = re.compile(r"(\d+)\s*(?:minutes|min)\b")
TURN = re.compile(r"^(?:\*\*|#{2,5} +)Your turn\b(?:[^(\n]*\((\d+) minutes?\))?(?!\*\*, once more)", re.MULTILINE)
MINE = re.compile(r"^my_?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a chapter asks of a learner."""

    name: str
    words: int
    code_cells: int
    long_cells: int                            # those above 15 lines
    predictions: int
    exercises: list[int]                       # minutes that each states, 0 where it states none
    exported: list[str]                        # functions and classes
    learners: list[str] = field(default_factory=list)       # those of them that the learner writes first
    stated: int = 0                            # minutes in the line of facts, 0 where there are none
    alike: list[str] = field(default_factory=list)          # predictions that cannot be told apart
    turns: list[int] = field(default_factory=list)          # minutes of what is written within the loops, as stated

    @property
    def exact(self) -> float:
        """Minutes."""
        cells = (self.code_cells - self.long_cells) * SHORT + self.long_cells * LONG
        return self.words / WORDS_A_MINUTE + cells / 60 + self.predictions + sum(self.exercises) + sum(self.turns)

    @property
    def minutes(self) -> int:
        """Minutes as the line of facts says them: rounded up to five."""
        return math.ceil(round(self.exact, 6) / 5) * 5

    @property
    def problems(self) -> list[str]:
        """What is over its budget, or missing."""
        limits = [("minutes", self.exact, MOST_MINUTES), ("words", self.words, MOST_WORDS),
                  ("code cells", self.code_cells, MOST_CELLS),
                  ("exported definitions", len(self.exported), MOST_DEFINITIONS)]
        found = [f"{value:,.0f} {what}, at most {most:,}" for what, value, most in limits if value > most]
        if 3 * len(self.learners) < len(self.exported):
            found.append(f"{len(self.learners)} of {len(self.exported)} definitions are the learner's, a third is due")
        if self.stated != self.minutes:
            found.append(f"says {self.stated or 'no'} minutes, takes {self.minutes}")
        found += [f"{what} {number} does not state its minutes"
                  for what, stated in (("exercise", self.exercises), ("turn", self.turns))
                  for number, minutes in enumerate(stated, 1) if not minutes]
        return found + [f"two predictions ask alike; give one a name: {words}" for words in self.alike]


def words_in(markdown: str) -> int:
    """Words that are read: no code blocks, no addresses of links, no HTML tags."""
    text = re.sub(r"^(```+|~~~+).*?^\1\s*$", " ", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?: {4}|\t).*$", " ", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    text = re.sub(r"<[^<>]+>", " ", text)
    return sum(any(char.isalnum() for char in word) for word in text.split())


def lines_in(source: str) -> int:
    """Lines as they are seen: `#| export` is none."""
    return sum(not re.match(r"\s*#\s*\|", line) for line in source.strip().splitlines())


def defined(source: str) -> list[str]:
    """Functions and classes that a cell defines at its top."""
    plain = "\n".join("pass" if re.match(r"\s*[!%]", line) else line for line in source.splitlines())
    try:
        tree = ast.parse(plain)
    except SyntaxError:
        return []
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def definitions(code: list[str]) -> tuple[list[str], list[str]]:
    """What is exported, and what of it a cell before lets the learner write: `my_groups`, and later `groups`.

    `my_parameters` before `read_parameters` counts, too; and so does whatever `lab.yours(my_…, ours)` names.
    """
    exported, mine, first = list[str](), list[str](), set[str]()
    for source in code:
        names = defined(source)
        if EXPORTED.search(source):
            exported += names
            first |= {name for name in names if any(f"_{name}".lower().endswith(f"_{own}") for own in mine)}
        else:
            mine += [MINE.sub("", name).lower() for name in names if MINE.match(name)]
            first |= {ours.id for call in calls(source, "lab.yours") for ours in call.args[1:2]
                      if isinstance(ours, ast.Name)}
    return exported, [name for name in exported if name in first]


def measured(path: Path) -> Budget:
    """The budget of one chapter."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    prose = [source for kind, source in sources if kind == "markdown"]
    code = [source for kind, source in sources if kind == "code" and source.strip()]
    exported, learners = definitions(code)
    asked = [ast.unparse(call).removeprefix("lab.predict(").removesuffix(")")
             for source in code for call in calls(source, "lab.predict")]
    facts = next((match for source in prose[:3] for match in re.finditer(r"^\*.*\bminutes\b.*$", source, re.MULTILINE)),
                 None)
    return Budget(
        path.stem, sum(map(words_in, prose)), len(code), sum(lines_in(source) >= LONG_FROM for source in code),
        len(asked), sum(map(exercises_in, prose), []), exported, learners,
        int(found[1]) if facts and (found := STATED.search(facts[0])) else 0,
        sorted({call for call in asked if call and asked.count(call) > 1}), sum(map(turns_in, prose), []))


def calls(source: str, name: str) -> list[ast.Call]:
    """The calls of `lab.predict`, for instance, in a cell."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def stated_in(source: str, heading: re.Match[str]) -> int:
    """The minutes that an exercise states: in its heading, or in the first paragraph after it."""
    first = source[heading.end() :].lstrip("\n").partition("\n\n")[0]
    found = STATED.search(heading[1]) or STATED.search(first)
    return int(found[1]) if found else 0


def exercises_in(markdown: str) -> list[int]:
    """The minutes of the exercises of this day."""
    return [stated_in(markdown, heading) for heading in HEADING.finditer(markdown)
            if heading[1].startswith("Exercise ") and "another day" not in heading[1]]


def turns_in(markdown: str) -> list[int]:
    """The minutes that each "Your turn" states, in a heading or at the beginning of a paragraph."""
    return [int(found[1] or 0) for found in TURN.finditer(markdown)]


def table(budgets: list[Budget]) -> str:
    """A line for each chapter."""
    rows = [f"{'chapter':22}{'minutes':>8}{'says':>6}{'words':>7}{'cells':>7}{'long':>6}{'predict':>9}"
            f"{'exercises':>11}{'exported':>10}{'learner’s':>11}"]
    rows += [f"{b.name:22}{b.exact:8.0f}{b.stated:6}{b.words:7,}{b.code_cells:7}{b.long_cells:6}{b.predictions:9}"
             f"{len(b.exercises):5} {f'({sum(b.exercises)})':>5}{len(b.exported):10}{len(b.learners):11}"
             for b in budgets]
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapter", nargs="*", help="number or name of a chapter; none means all")
    parser.add_argument("--check", action="store_true", help="fail if a chapter is over its budget")
    options = parser.parse_args(arguments)
    try:
        budgets = [measured(path) for path in chapters(ROOT, options.chapter)]
    except Problem as problem:
        print(f"budget: {problem}", file=sys.stderr)
        return 1
    print(table(budgets))
    problems = [f"{budget.name}: {problem}" for budget in budgets for problem in budget.problems]
    if options.check:
        print("\n".join(["", *problems]))
    return int(options.check and bool(problems))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""How long each part of a chapter takes, for whoever teaches it: a line in docs/instructor.md for each chapter.

    python tools/minutes.py            show them
    python tools/minutes.py --write    write them into docs/instructor.md, between the marks that are there

A part is what stands under one heading of the second rank. Its minutes are counted by the rules of tools/budget.py, and
rounded so that all parts together are the minutes in the chapter's line of facts.
"""
from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import budget
from export import ROOT, chapters

GUIDE = Path("docs") / "instructor.md"
FENCED = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.MULTILINE | re.DOTALL)
PART = re.compile(r"^## +(.*?) *$", re.MULTILINE)
MARKED = re.compile(r"(<!-- minutes of (\w+) -->\n).*?(?=\n\n|\Z)", re.DOTALL)


def pieces(markdown: str) -> Iterator[tuple[str | None, str]]:
    """The text of a cell, cut before each heading of the second rank; None is what comes before the first."""
    text = FENCED.sub("", markdown)
    heads = list(PART.finditer(text))
    yield None, text[: heads[0].start()] if heads else text
    for head, following in zip(heads, [*heads[1:], None], strict=False):
        yield plain(head[1]), text[head.start() : following.start() if following else None]


def plain(heading: str) -> str:
    """A heading without its number, and without marks."""
    text = re.sub(r"^(?:Loop )?\d+[.:] |[`*]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading))
    return text[:1].upper() + text[1:]


def parts(path: Path) -> dict[str, float]:
    """Minutes under each heading, as they are counted."""
    found, here = {"Opening": 0.0}, "Opening"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for head, text in pieces(source):
                here = head or here
                stated = sum(budget.exercises_in(text) + budget.turns_in(text))
                found[here] = found.get(here, 0.0) + budget.words_in(text) / budget.WORDS_A_MINUTE + stated
        elif cell["cell_type"] == "code" and source.strip():
            long = budget.lines_in(source) >= budget.LONG_FROM
            found[here] += (budget.LONG if long else budget.SHORT) / 60 + len(budget.calls(source, "lab.predict"))
    return found


def shares(exact: dict[str, float], whole: int) -> dict[str, int]:
    """Whole minutes that add up to `whole`: what was cut off most is rounded up first."""
    scale = whole / sum(exact.values())
    found = {name: math.floor(minutes * scale) for name, minutes in exact.items()}
    rest = sorted(exact, key=lambda name: found[name] - exact[name] * scale)
    for name in rest[: whole - sum(found.values())]:
        found[name] += 1
    return found


def line(path: Path) -> str:
    """`*90 minutes: Opening 1 · Recall 1 · Say it yourself 8 · …*`"""
    whole = budget.measured(path).minutes
    found = shares(parts(path), whole)
    return f"*{whole} minutes: " + " · ".join(f"{name} {minutes}" for name, minutes in found.items() if minutes) + "*"


def renewed(guide: str, root: Path = ROOT) -> str:
    """The guide with the lines of today's chapters."""
    lines = {path.stem: line(path) for path in chapters(root, [])}
    return MARKED.sub(lambda mark: mark[1] + lines.get(mark[2], f"*There is no chapter {mark[2]}.*"), guide)


def write(root: Path = ROOT) -> bool:
    """Write the lines into the guide; say whether anything has changed."""
    path = root / GUIDE
    before = path.read_text(encoding="utf-8")
    after = renewed(before, root)
    if changed := after != before:
        path.write_text(after, encoding="utf-8")
    return changed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write them into {GUIDE.as_posix()}")
    options = parser.parse_args(arguments)
    if options.write:
        print(f"{GUIDE.as_posix()}: {'renewed' if write() else 'as before'}")
    else:
        print("\n".join(f"{path.stem}\n  {line(path)}" for path in chapters(ROOT, [])))
    return 0


if __name__ == "__main__":
    sys.exit(main())

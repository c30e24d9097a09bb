"""The instructor's guide: a section for each chapter, minutes that are those of the notebooks, plans that add up."""
from __future__ import annotations

import json
import re
from pathlib import Path

import budget
import minutes
import pytest
from export import ROOT, chapters

CHAPTERS = chapters(ROOT, [])
GUIDE = (ROOT / minutes.GUIDE).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_parts_are_all_of_a_chapter(path: Path) -> None:
    counted, found = budget.measured(path), minutes.parts(path)
    assert sum(found.values()) == pytest.approx(counted.exact)
    assert sum(minutes.shares(found, counted.minutes).values()) == counted.minutes


def test_the_guide_has_the_minutes_of_today() -> None:
    assert minutes.renewed(GUIDE) == GUIDE, "python tools/minutes.py --write"


def test_shares_round_up_what_was_cut_off_most() -> None:
    assert minutes.shares({"a": 1.6, "b": 1.5, "c": 6.4}, 10) == {"a": 2, "b": 1, "c": 7}
    assert minutes.shares({"a": 0.1, "b": 4.9}, 5) == {"a": 0, "b": 5}


def test_a_part_begins_at_a_heading_of_the_second_rank(tmp_path: Path) -> None:
    cells = [("markdown", "# Title\n\none two\n\n## Loop 1: `see`\n\n" + "word " * 200
              + "\n\n```\n## no heading\n```\n"),
             ("code", "lab.predict('a', 'b')"),
             ("markdown", "### Exercise 1: build (7 minutes)\n\n## 2. [End](x.md)\n")]
    path = tmp_path / "90_odd.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": [source]} for kind, source in cells]}))
    found = minutes.parts(path)
    assert list(found) == ["Opening", "See", "End"]
    assert found["Opening"] == pytest.approx(3 / 200)
    assert found["See"] == pytest.approx(205 / 200 + 40 / 60 + 1 + 7 + 5 / 200, abs=0.03)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_each_chapter_has_what_an_instructor_needs(path: Path) -> None:
    title = path.stem[:2]
    found = re.search(rf"^### \[{title} .*?\]\(\.\./notebooks/{path.name}\)\n(.*?)(?=^##|\Z)", GUIDE,
                      re.MULTILINE | re.DOTALL)
    assert found, f"no section for {path.stem} in {minutes.GUIDE.as_posix()}"
    for what in (f"<!-- minutes of {path.stem} -->", "**Ask first.**", "**Show.**", "**Cut.**"):
        assert what in found[1], f"{path.stem} lacks {what}"
    rows = [row for row in found[1].splitlines() if row.startswith("| ")]
    assert rows[0] == "| they say | you ask |" and len(rows) == 4
    assert all(row.rstrip(" |").endswith("?") for row in rows[1:]), "what you ask is a question"


@pytest.mark.parametrize(("plan", "whole"), [("90 minutes", 90), ("Half a day", 210), ("Two days", 720)])
def test_the_minutes_of_a_plan_add_up(plan: str, whole: int) -> None:
    table = GUIDE.partition(f"### {plan}\n")[2].partition("\n#")[0]
    rows = [int(found[1]) for found in re.finditer(r"\| (\d+) \|$", table, re.MULTILINE)]
    assert sum(rows) == whole and f"| **{whole}** |" in table


def test_the_page_to_hand_out_is_one_page() -> None:
    """Lines as they are printed on A4 at ten points, some 110 characters each."""
    text = (ROOT / "docs" / "handout.md").read_text(encoding="utf-8")
    assert sum(1 + len(line) // 120 for line in text.splitlines() if line) <= 60

"""Every chapter within its budget, counted from the notebook; and no export cell that is not run at once."""
from __future__ import annotations

import json
from pathlib import Path

import budget
import pytest
from export import ROOT, chapters

CHAPTERS = chapters(ROOT, [])
MOST_TOGETHER = 10                             # lines of export cells in a row


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_keeps_its_budget_and_says_its_minutes(path: Path) -> None:
    assert budget.measured(path).problems == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_what_is_exported_is_run_at_once(path: Path) -> None:
    row: list[tuple[str, int]] = []
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
             if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    for cell in cells:
        source = "".join(cell["source"])
        if budget.EXPORTED.search(source):
            row.append((cell["id"], budget.lines_in(source)))
            continue
        lines = sum(count for _, count in row)
        assert len(row) < 2 or lines <= MOST_TOGETHER, f"{lines} lines before anything runs: {row}"
        row = []
    assert not row, f"nothing runs after {[name for name, _ in row]}"

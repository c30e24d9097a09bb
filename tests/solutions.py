"""What learners are shown as worked answers, for tests that try it on something else."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

SOLUTIONS = Path(__file__).parent.parent / "notebooks" / "solutions"


def solution(chapter: str, cell: str) -> dict[str, Any]:
    """The names that a cell of a chapter's solutions defines; `chapter` is the notebook's name without its end."""
    notebook = nbformat.read(SOLUTIONS / f"{chapter}.ipynb", as_version=4)
    sources = {c.id: c.source for c in notebook.cells}
    names: dict[str, Any] = {}
    exec(f"{sources['imports']}\n{sources[cell]}", names)
    return names

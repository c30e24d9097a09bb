"""A learner runs a cell once more: each cell of each chapter can be run twice in a row."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from refresh import kernel_environment

from tests.solutions import NOTEBOOKS, code

AGAIN = "-again"
SAYS = "this line is closed: run the cell again"       # what a call that has ended may say
CHAPTERS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))


def doubled(notebook: Any) -> Any:
    """The notebook with each code cell there twice."""
    cells = []
    for cell in code(notebook):
        cell.outputs, cell.execution_count = [], None
        second = nbformat.v4.new_code_cell(cell.source, id=cell.id + AGAIN, metadata=cell.metadata)
        cells += [cell, second]
    notebook.cells = cells
    return notebook


@pytest.mark.long
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_each_cell_runs_twice(path: Path, tmp_path: Path) -> None:
    notebook = doubled(nbformat.read(path, as_version=4))
    assert len(notebook.cells) > 10
    NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False, store_widget_state=False,
                   allow_errors=True, resources={"metadata": {"path": str(path.parent)}}
                   ).execute(env=kernel_environment(str(tmp_path)))
    wrong = {cell.id: output.evalue for cell in notebook.cells for output in cell.outputs
             if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", [])}
    assert not {name: error for name, error in wrong.items() if SAYS not in error}

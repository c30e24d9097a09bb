"""Each chapter that runs on the learner's code (`lab.yours`) runs to its end on the solutions, and says so."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from refresh import kernel_environment

from tests.solutions import NOTEBOOKS, SOLUTIONS, code, solved


def reads(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def run(notebook: Any, folder: Path, scratch: Path) -> str:
    """Everything that the notebook's cells showed as text; an error in a cell is an error."""
    for cell in code(notebook):
        cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False, store_widget_state=False,
                   resources={"metadata": {"path": str(folder)}}).execute(env=kernel_environment(str(scratch)))
    outputs = [out for cell in code(notebook) for out in cell.outputs]
    return "\n".join(out.get("text") or out.get("data", {}).get("text/plain", "") for out in outputs)


def uses_yours(path: Path) -> bool:
    return any("lab.yours(" in cell.source for cell in code(reads(path)))


CHAPTERS = [path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if uses_yours(path)]


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_on_the_solutions(path: Path, tmp_path: Path) -> None:
    chapter = reads(path)
    calls = sum(cell.source.count("lab.yours(") for cell in code(chapter))
    shown = run(solved(chapter, reads(SOLUTIONS / path.name)), path.parent, tmp_path)
    assert "ours: `" not in shown.replace("yours: `", ""), "a solution does not pass its check in the chapter"
    assert shown.count("yours: `") == calls


DIGESTS = """
import hashlib
from smtp_from_scratch.envelope import few_quotes

def my_folder_name(address):
    return hashlib.sha256(few_quotes(address).lower().encode(errors="surrogateescape")).hexdigest()

lab.check_folder_name(my_folder_name)
"""
READS_FIRST = """
def my_send_all(sock, data, channel, timeout=180.0):
    end, events = time.monotonic() + timeout, selectors.EVENT_READ | selectors.EVENT_WRITE
    while data:
        with selectors.DefaultSelector() as selector:
            selector.register(sock, events)
            ready = selector.select(max(0.0, end - time.monotonic()))
        if not ready or time.monotonic() > end:
            raise Timeout
        if ready[0][1] & selectors.EVENT_READ:
            heard = sock.recv(65_536)
            events = events if heard else selectors.EVENT_WRITE
            channel.receive(heard)
        elif ready[0][1] & selectors.EVENT_WRITE:
            data = data[sock.send(data, socket.MSG_DONTWAIT) :]

lab.check_send_all(my_send_all)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name, cell, answer, shows", [
    ("08_maildir", "my-folder-name", DIGESTS, "<ana@rio.example> | Choir |"),
    ("06_connection", "my-send-all", READS_FIRST, "421 closed for lunch\nthe line is broken: True"),
])
def test_a_chapter_runs_on_another_right_answer(name: str, cell: str, answer: str, shows: str, tmp_path: Path) -> None:
    chapter = reads(NOTEBOOKS / f"{name}.ipynb")
    [place] = [one for one in code(chapter) if one["id"] == cell]
    place.source = answer
    shown = run(chapter, NOTEBOOKS, tmp_path)
    assert "yours: `" in shown and shows in shown


def made(*cells: str) -> Any:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.cells[0]["id"] = "imports"
    return notebook


CHAPTER = made(
    "from smtp_from_scratch import lab\nfrom smtp_from_scratch.pipelining import groups",
    "MY_FREE = {'MAIL'}\n\ndef my_groups(verbs):\n    ...\n\nlab.check_groups(my_groups)",
    "groups = lab.yours(my_groups, groups, 'pipelining')",
    "from smtp_from_scratch import pipelining\n"
    "print(groups is my_groups, pipelining.groups is my_groups, len(MY_FREE))")
SOLVED = made(
    "from smtp_from_scratch.pipelining import FREE",
    "def my_groups(verbs):\n    return [list(verbs)]",
    "def my_groups(verbs):\n    cut = [[]]\n    for verb in verbs:\n        cut[-1].append(verb)\n"
    "        if verb not in FREE:\n            cut.append([])\n    return [group for group in cut if group]")


def test_a_small_chapter_runs_on_stubs_and_on_solutions(tmp_path: Path) -> None:
    stubs = run(nbformat.from_dict(CHAPTER), tmp_path, tmp_path)
    assert "ours: `my_groups` is not written yet" in stubs and stubs.endswith("False False 1\n")
    shown = run(solved(CHAPTER, SOLVED), tmp_path, tmp_path)
    assert "Passed: " in shown and "yours: `my_groups` runs from here on" in shown and shown.endswith("True True 1\n")


def test_what_else_a_cell_does_stays() -> None:
    cell = solved(CHAPTER, SOLVED).cells[1].source
    assert cell.startswith("from smtp_from_scratch.pipelining import FREE") and "cut = [[]]" in cell
    assert cell.endswith("lab.check_groups(my_groups)") and "MY_FREE = {'MAIL'}" in cell and "..." not in cell
    assert CHAPTER.cells[1].source.count("...") == 1, "the chapter itself is left alone"

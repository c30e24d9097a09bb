"""Notebooks as files: what STYLE demands of them and nbval does not see."""
from __future__ import annotations

import ast
import json
import re
import statistics
import unicodedata
from pathlib import Path
from typing import Any

import nbformat
import pytest
import refresh
from export import PACKAGE, ROOT, export, module_of
from IPython.core.inputtransformer2 import TransformerManager
from module_text import MARKER

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
EVERY = CHAPTERS + sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb")) + list(refresh.pages().values())

MOST_LINES_EXPORTED, MOST_LINES_CLASS, MOST_LINES_SKETCH, MOST_LINES_MEDIAN = 25, 40, 12, 8
EXERCISES = 3
WIDEST_CODE, WIDEST_FENCE = 112, 105           # letters that fit at 1366 px beside the file browser; code, fenced text
RANDOM_ID = re.compile(r"(?=.*[0-9])[0-9a-f]{6,12}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MACHINE = re.compile(
    r"(?<![\w.])/(?:home/\w+|root|Users/\w+|tmp|work|private|usr/lib|opt)/|site-packages|[A-Z]:\\Users")
ADDRESS = re.compile(r"\b0x[0-9a-f]{8,}\b")
SKIPS = re.compile(r"^\s*#\s*(NBVAL_|PYTEST_VALIDATE_)", re.MULTILINE)

chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
notebooks = pytest.mark.parametrize("path", EVERY, ids=lambda p: f"{p.parent.name}/{p.stem}")


def cells(path: Path, kind: str = "code") -> list[dict[str, Any]]:
    """The cells of one kind that are not empty, each with its source as one string."""
    every = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": source} for cell in every
            if cell["cell_type"] == kind and (source := "".join(cell["source"])).strip()]


def tags(cell: dict[str, Any]) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def is_exported(cell: dict[str, Any]) -> bool:
    return re.match(r"(\s*#\s*\|.*\n)*\s*#\s*\|\s*exporti?\b", cell["source"]) is not None


def length(cell: dict[str, Any]) -> int:
    """The lines of a cell as written, directives such as `#| export` left out."""
    return sum(not re.match(r"\s*#\s*\|", line) for line in cell["source"].strip().splitlines())


def tree(cell: dict[str, Any]) -> ast.Module:
    return ast.parse(TransformerManager().transform_cell(cell["source"]))


def texts(cell: dict[str, Any]) -> list[str]:
    """Everything in a cell's outputs that is text: streams, errors, plain, HTML, SVG."""
    found: list[str] = []
    for output in cell["outputs"]:
        found += ["".join(output.get("text", "")), output.get("evalue", ""), *output.get("traceback", [])]
        found += ["".join(data) for kind, data in output.get("data", {}).items()
                  if kind.startswith("text/") or kind == "image/svg+xml"]
    return found


def test_there_are_notebooks() -> None:
    assert CHAPTERS, "notebooks/ holds no chapter"
    numbers = [path.stem.partition("_")[0] for path in CHAPTERS]
    assert len(numbers) == len(set(numbers)), f"two chapters have one number: {numbers}"


# -- notebook and module --


def test_every_module_is_what_its_notebook_exports(tmp_path: Path) -> None:
    export(CHAPTERS, tmp_path)
    exported = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.py")}
    stored = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / PACKAGE).glob("*.py")}
    orphans = {name for name, text in stored.items() if "# Exported from notebooks/" in text} - set(exported)
    assert not orphans, f"no notebook writes these modules, as they say: {sorted(orphans)}"
    stale = [name for name, text in exported.items() if stored.get(name) != text]
    assert not stale, f"{stale} differ from their notebooks: edit the notebook, then `make export`"


@chapters
def test_notebook_and_module_share_a_name(path: Path) -> None:
    name = module_of(path)
    number, _, title = path.stem.partition("_")
    if name is None:
        assert not any(map(is_exported, cells(path))), "cells marked for export, but no `#| default_exp`"
    else:
        assert name == title, f"{path.name} writes {name}.py; one name for both"


@chapters
def test_chapter_never_imports_the_module_it_exports(path: Path) -> None:
    own = module_of(path)
    wrong = [f"cell {cell['id']}: {ast.unparse(node)}" for cell in cells(path) for node in ast.walk(tree(cell))
             if own is not None and own in imported(node)]
    assert not wrong, f"two classes of one name would not know each other: {wrong}"


def imported(node: ast.AST) -> set[str]:
    """The modules of our package that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return set()
    return {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")}


# -- notebooks as files --


@notebooks
def test_stored_as_refresh_stores_it(path: Path) -> None:
    notebook = refresh.read(path)
    refresh.normalize(path, notebook, refresh.read(path), measure=False)
    assert nbformat.writes(notebook) + "\n" == path.read_text(encoding="utf-8"), "`make refresh`, then commit"


@notebooks
def test_executed_from_top_to_bottom(path: Path) -> None:
    counts = [cell["execution_count"] for cell in cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "nbval passes unexecuted cells without a look: `make refresh`"


@notebooks
def test_a_cell_that_shows_something_stores_it(path: Path) -> None:
    wrong = [cell["id"] for cell in cells(path) if not cell["outputs"] and any(map(shows, tree(cell).body))]
    assert not wrong, f"these cells print, yet store no output: {wrong}"
    wrong = [cell["id"] for cell in cells(path) if "raises-exception" in tags(cell)
             and not any(output["output_type"] == "error" for output in cell["outputs"])]
    assert not wrong, f"tagged raises-exception, yet nothing was raised: {wrong}"


def shows(node: ast.stmt) -> bool:
    """Whether a statement is a plain print(...) or display(...)."""
    return (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and bool(node.value.args)
            and isinstance(node.value.func, ast.Name) and node.value.func.id in ("print", "display"))


@notebooks
def test_no_errors_and_no_stderr(path: Path) -> None:
    for cell in cells(path):
        for output in cell["outputs"]:
            assert output.get("name") != "stderr", f"cell {cell['id']} stores text on stderr"
            if output["output_type"] == "error":
                assert "raises-exception" in tags(cell), f"cell {cell['id']} stores an error without its tag"


@notebooks
def test_outputs_are_the_same_everywhere(path: Path) -> None:
    for cell in cells(path):
        for text in texts(cell):
            assert not (found := MACHINE.search(text)), f"cell {cell['id']} shows a path of the machine: {found[0]}"
            assert not (found := ADDRESS.search(text)), f"cell {cell['id']} shows an address in memory: {found[0]}"


@notebooks
def test_ids_are_readable(path: Path) -> None:
    ids = [cell["id"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert len(ids) == len(set(ids)), "two cells have one id"
    assert not (bad := [i for i in ids if RANDOM_ID.fullmatch(i)]), f"give these cells a readable id: {bad}"


@notebooks
def test_nothing_that_nbval_cannot_check(path: Path) -> None:
    for cell in cells(path):
        assert "interact(" not in cell["source"], f"cell {cell['id']}: a VBox with .observe instead of interact"
        assert not tags(cell) & {"nbval-skip", "skip-execution"}, f"cell {cell['id']} would never be run"
        assert not cell["source"].rstrip().endswith(";"), (
            f"cell {cell['id']}: under nbval a semicolon hides nothing; assign to _ or end with plt.show()")
        assert not SKIPS.search(cell["source"]), f"cell {cell['id']}: tags, not comments, tell nbval what to do"
        for output in cell["outputs"]:
            data = output.get("data", {})
            assert not data or "text/plain" in data, f"cell {cell['id']}: an output without text for GitHub and nbval"
            png = "".join(data.get("image/png", "iVBORw0KGgo"))
            assert png.startswith("iVBORw0KGgo"), f"cell {cell['id']}: nbval does not compare pictures; this is no PNG"


@notebooks
def test_predictions_hide_their_answer(path: Path) -> None:
    for cell in cells(path):
        if "predict" in tags(cell):
            assert cell["metadata"].get("jupyter", {}).get("outputs_hidden") is True, f"cell {cell['id']} gives it away"
            assert cell["outputs"], f"cell {cell['id']}: a prediction with nothing to reveal"


# -- short pieces --


def most_lines(cell: dict[str, Any]) -> int:
    """A class cannot be cut in two; everything else can."""
    holds_class = re.search(r"^class \w+", cell["source"], re.MULTILINE)
    return MOST_LINES_CLASS if holds_class else MOST_LINES_EXPORTED


@chapters
def test_cells_are_short(path: Path) -> None:
    code = cells(path)
    long = {cell["id"]: length(cell) for cell in code if is_exported(cell) and length(cell) > most_lines(cell)}
    assert not long, f"exported cells have at most {MOST_LINES_EXPORTED} lines, {MOST_LINES_CLASS} for a class: {long}"
    long = {cell["id"]: length(cell) for cell in code if "sketch" in tags(cell) and length(cell) > MOST_LINES_SKETCH}
    assert not long, f"sketches have at most {MOST_LINES_SKETCH} lines: {long}"
    median = statistics.median(map(length, code))
    assert median <= MOST_LINES_MEDIAN, f"the median cell has {median} lines, more than {MOST_LINES_MEDIAN}"


@chapters
def test_classes_are_short(path: Path) -> None:
    if not (name := module_of(path)):
        return
    source = (ROOT / PACKAGE / f"{name}.py").read_text(encoding="utf-8")
    markers = [(number, m["cell"]) for number, line in enumerate(source.splitlines(), 1) if (m := MARKER.match(line))]
    long = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = (node.end_lineno or first) - first + 1
            if lines > MOST_LINES_CLASS:
                long[f"{node.name} in cell {[c for n, c in markers if n < first][-1]}"] = lines
    assert not long, f"classes have at most {MOST_LINES_CLASS} lines: {long}"


def wide(line: str) -> int:
    """How many letters wide a line is: one of Chinese or Japanese takes the room of two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line)


def fenced(markdown: str) -> list[str]:
    """The lines of a cell that are not wrapped: between fences, or indented as code."""
    found, fence = list[str](), ""
    for line in markdown.splitlines():
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and not (fence and not line.strip().startswith(fence)):
            fence = "" if fence else mark[1]
        elif fence or line.startswith("    "):
            found.append(line)
    return found


@notebooks
def test_nothing_scrolls_sideways(path: Path) -> None:
    long = {cell["id"]: line for cell in cells(path) for line in cell["source"].splitlines()
            if wide(line) > WIDEST_CODE}
    assert not long, f"a line of code has at most {WIDEST_CODE} letters: {long}"
    long = {cell["id"]: line for cell in cells(path, "markdown") for line in fenced(cell["source"])
            if wide(line) > WIDEST_FENCE}
    assert not long, f"a line of fenced text has at most {WIDEST_FENCE} letters: {long}"


def test_lines_that_are_not_wrapped_are_found() -> None:
    text = "one\n```python\ntwo\n~~~\nthree\n```\nfour\n    five\n~~~\nsix\n~~~\nseven"
    assert fenced(text) == ["two", "~~~", "three", "    five", "six"]
    assert wide("a例") == 3


@notebooks
def test_no_picture_of_a_control_character_is_stored_as_html(path: Path) -> None:
    for cell in cells(path):
        for output in cell["outputs"]:
            html = "".join(output.get("data", {}).get("text/html", ""))
            assert not re.search("[\u2400-\u2421]", html), f"cell {cell['id']}: many fonts have no such letter"


# -- anatomy --


@chapters
def test_exercises_and_solutions(path: Path) -> None:
    if path.stem.startswith("00"):
        return
    tasks = [line[:20] for cell in cells(path, "markdown") for line in cell["source"].splitlines()
             if re.match(r"#{2,5} +Exercise \d|\*\*Your turn\*\* \(", line)]
    assert len(tasks) >= EXERCISES, f"{tasks}: {EXERCISES} are wanted"
    assert (path.parent / "solutions" / path.name).exists(), f"no notebooks/solutions/{path.name}"

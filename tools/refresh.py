#!/usr/bin/env python3
"""Export, execute every notebook in a fresh kernel, and store what it showed: the same bytes every time.

    python tools/refresh.py             every chapter and its solutions, and the optional pages
    python tools/refresh.py 09 11       these chapters and their solutions, and those that draw what others do
    python tools/refresh.py who_implements_what
    python tools/refresh.py --measure   renew measured outputs (cells tagged nbval-ignore-output) as well

A notebook in which a cell fails, or writes to stderr, is left as it was, named, and the exit status is 1.
"""
from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import minutes
import nbformat
from export import ROOT, chapters, export, replace
from module_text import PACKAGE, Problem
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbstripout import strip_output

AT_ONCE = 2
CELL_TIMEOUT = 120  # seconds
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
NOISE = ["cell.metadata." + key for key in
         ("execution", "collapsed", "scrolled", "trusted", "ExecuteTime", "vscode", "editable", "pycharm")]
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def notebooks(wanted: list[str] | None = None, root: Path = ROOT) -> list[Path]:
    """The chapters and the pages that are wanted, then the solutions of those that have some."""
    beside = pages(root)
    names = [name for name in wanted or [] if name not in beside]
    every = chapters(root, names) if names or not wanted else []
    every += [page for name, page in beside.items() if not wanted or name in wanted]
    return every + [s for c in every if (s := root / "notebooks" / "solutions" / c.name).exists()]


def portraits(root: Path = ROOT) -> list[Path]:
    """The chapters that draw what other chapters do with a class: an export can change what they show."""
    return [path for path in chapters(root) if "lab.anatomy(" in path.read_text(encoding="utf-8")]


def pages(root: Path = ROOT) -> dict[str, Path]:
    """The notebooks of notebooks/extra, by name: they have no number, and write no module."""
    return {path.stem: path for path in sorted((root / "notebooks" / "extra").glob("*.ipynb"))}


def read(path: Path) -> Any:
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises many kinds; all mean the same to the author
        raise Problem(f"{path.name} is not a notebook: {error}") from None
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5) or not all("id" in cell for cell in notebook.cells):
        raise Problem(f"{path.name} is older than notebook format 4.5, whose cells have ids")
    return notebook


async def execute(path: Path, notebook: Any, environment: dict[str, str]) -> None:
    """Run all cells of `notebook` in place; raise Problem with the cell that failed."""
    running = "none"

    def note(cell: Any, cell_index: int) -> None:
        nonlocal running
        running = cell.id

    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT, kernel_name="python3", record_timing=False, store_widget_state=False,
        coalesce_streams=True, on_cell_start=note, extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}})
    try:
        await client.async_execute(env=environment)
    except CellExecutionError as error:
        trace = "\n".join(ANSI.sub("", error.traceback).splitlines()[-14:])
        raise Problem(f"{label(path)}, cell {running}: {error.ename}: {error.evalue}\n{trace}") from None
    except CellTimeoutError:
        raise Problem(f"{label(path)}, cell {running}: not done after {CELL_TIMEOUT} seconds") from None
    except DeadKernelError:
        raise Problem(f"{label(path)}, cell {running}: the kernel died") from None


def normalize(path: Path, notebook: Any, before: Any, measure: bool) -> None:
    """Take out of an executed notebook all that would differ the next time."""
    strip_output(notebook, keep_output=True, keep_count=True, keep_id=True, extra_keys=NOISE)
    notebook.metadata = nbformat.from_dict(METADATA)
    kept = {} if measure else {cell.id: cell for cell in before.cells if keeps_output(cell)}
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        refuse_stderr(path, cell)
        was = kept.get(cell.id)
        if was is not None and was.source == cell.source:
            cell.outputs = was.outputs
        if cell.source.strip():
            count += 1
        cell.execution_count = count if cell.source.strip() else None
        for output in cell.outputs:
            normalize_output(path, cell, output)


def keeps_output(cell: Any) -> bool:
    return (cell.cell_type == "code" and "nbval-ignore-output" in cell.metadata.get("tags", [])
            and cell.execution_count is not None)


def normalize_output(path: Path, cell: Any, output: Any) -> None:
    if output.output_type == "error":
        output.traceback = [f"{output.ename}: {output.evalue}" if output.evalue else output.ename]
    if output.output_type == "execute_result":
        output.execution_count = cell.execution_count
    if "data" in output and output.data.pop(WIDGET_VIEW, None) is not None and not output.data:
        raise Problem(f"{label(path)}, cell {cell.id}: shows a widget that has no text for readers without a kernel; "
                      "give it a __repr__")


def refuse_stderr(path: Path, cell: Any) -> None:
    text = "".join(output.text for output in cell.outputs if output.get("name") == "stderr")
    if text:
        raise Problem(f"{label(path)}, cell {cell.id}: writes to stderr, which a notebook must not store:\n"
                      f"{text[-1500:]}")


def label(path: Path) -> str:
    return f"solutions/{path.name}" if path.parent.name == "solutions" else path.name


def kernel_environment(scratch: str) -> dict[str, str]:
    """The environment of a kernel: this checkout's package, and no settings of the person who runs it."""
    environment = dict(os.environ, IPYTHONDIR=scratch, PYDEVD_DISABLE_FILE_VALIDATION="1",
                       MPLBACKEND="module://matplotlib_inline.backend_inline")
    # Cells say `!python ../tools/export.py`: let "python" be this one.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if found := importlib.util.find_spec("matplotlib"):
        environment["MATPLOTLIBRC"] = str(Path(found.origin or "").parent / "mpl-data" / "matplotlibrc")
    return environment


async def refresh(path: Path, measure: bool, environment: dict[str, str], turn: asyncio.Semaphore) -> str | None:
    """Refresh one notebook; return what is wrong with it, if anything is."""
    async with turn:
        start = time.monotonic()
        try:
            before, notebook = read(path), read(path)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            await execute(path, notebook, environment)
            normalize(path, notebook, before, measure)
            changed = replace(path, nbformat.writes(notebook) + "\n")
        except Problem as problem:
            print(f"  {label(path)}: failed", flush=True)
            return str(problem)
        print(f"  {label(path)}: {'renewed' if changed else 'as before'}, {time.monotonic() - start:.1f} s", flush=True)
        return None


async def refresh_all(paths: list[Path], measure: bool) -> list[str]:
    turn = asyncio.Semaphore(AT_ONCE)
    with tempfile.TemporaryDirectory() as scratch:
        environment = kernel_environment(scratch)
        results = await asyncio.gather(*(refresh(path, measure, environment, turn) for path in paths))
    return [problem for problem in results if problem]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapter", nargs="*", help="number or name of a chapter, or name of a page; none means all")
    parser.add_argument("--measure", action="store_true", help="renew the outputs of measuring cells as well")
    options = parser.parse_args(arguments)
    try:
        paths = notebooks(options.chapter)
        export([path for path in paths if path in chapters()], ROOT / PACKAGE)
        paths += [path for path in portraits() if path not in paths]
    except Problem as problem:
        print(f"refresh: {problem}", file=sys.stderr)
        return 1
    print(f"refresh: {len(paths)} notebooks, {AT_ONCE} at a time", flush=True)
    problems = asyncio.run(refresh_all(paths, options.measure))
    if minutes.write():
        print(f"  {minutes.GUIDE.as_posix()}: renewed, with the minutes of today")
    for problem in problems:
        print(f"\nrefresh: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

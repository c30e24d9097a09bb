#!/usr/bin/env python3
"""Write the package's modules from the cells of the notebooks that are marked for export.

    python tools/export.py            every chapter
    python tools/export.py 09 11      these chapters
    python tools/export.py --check    write nothing; exit 1 if a module is not what its notebook says

notebooks/09_pipelining.ipynb says `#| default_exp pipelining`, and so writes smtp_from_scratch/pipelining.py; a
notebook that does not say it writes nothing. Cells marked `#| export` define what other files may use: each of their
names goes into `__all__`, unless it begins with an underscore. Cells marked `#| exporti` are internal to the module.
Imports move to its top, where those from the package become relative. A mistake in any cell changes no file.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from module_text import PACKAGE, Cell, Problem, module_text

ROOT = Path(__file__).resolve().parent.parent
DIRECTIVES = re.compile(r"(?:\s*#[ \t]*\|.*(?:\n|$))*")                       # the lines `#| …` that a cell begins with
DIRECTIVE = re.compile(r"^\s*#[ \t]*\|[ \t]*(default_exp|exporti?)\b[ \t]*(\w*)", re.MULTILINE)


def chapters(root: Path = ROOT, wanted: list[str] | None = None) -> list[Path]:
    """The chapters' notebooks in order; `wanted` picks some by number ("9", "09") or by name."""
    every = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    for name in wanted or []:
        if not any(is_called(path, name) for path in every):
            raise Problem(f"no notebook {name!r} in notebooks/; there are {', '.join(p.stem for p in every) or 'none'}")
    return [path for path in every if not wanted or any(is_called(path, name) for name in wanted)]


def is_called(path: Path, name: str) -> bool:
    number, _, title = path.stem.partition("_")
    wanted = Path(name).stem
    return wanted in (path.stem, title) or (wanted.isdigit() and int(wanted) == int(number))


def code_cells(notebook: Path) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Of each code cell: its id, its directives with what follows them, and its code without them."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        sources = [(cell["id"], "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"{notebook.name} is not a notebook whose cells have ids: {error!r}") from None
    for id, source in sources:
        head = found[0] if (found := DIRECTIVES.match(source)) else ""
        yield id, dict(DIRECTIVE.findall(head)), source[len(head):]


def module_of(notebook: Path) -> str | None:
    """The name of the module that a notebook writes, None if it writes none."""
    return next((marks["default_exp"] for _, marks, _ in code_cells(notebook) if "default_exp" in marks), None)


def text_of(notebook: Path) -> str:
    """The text of the module that a notebook writes."""
    cells = [Cell(notebook.name, id, code, public="export" in marks)
             for id, marks, code in code_cells(notebook) if marks.keys() & {"export", "exporti"}]
    if not cells:
        raise Problem(f"{notebook.name} says '#| default_exp', but no cell is marked '#| export'")
    return module_text(notebook.name, cells)


def export(notebooks: list[Path], package: Path, write: bool = True) -> list[Path]:
    """Write the modules of these notebooks into the folder `package`; return the files that differed."""
    texts = {package / f"{name}.py": text_of(notebook) for notebook in notebooks if (name := module_of(notebook))}
    return [path for path, text in texts.items() if replace(path, text, write)]


def replace(path: Path, text: str, write: bool = True) -> bool:
    """Give the file this text at one stroke; False if it already had it."""
    if path.exists() and path.read_bytes() == text.encode():
        return False
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644 if not path.exists() else path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapter", nargs="*", help="number or name of a chapter; none means all")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a module would change")
    options = parser.parse_args(arguments)
    try:
        differed = export(chapters(ROOT, options.chapter), ROOT / PACKAGE, write=not options.check)
    except Problem as problem:
        print(f"export: {problem}", file=sys.stderr)
        return 1
    names = ", ".join(path.name for path in differed)
    if options.check and differed:
        print(f"export: {names}: not what the notebook says; edit the notebook, then `make export`", file=sys.stderr)
        return 1
    print(f"export: {names or 'nothing changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Write the package's modules from the cells of the notebooks that are marked for export.

    python tools/export.py            every chapter
    python tools/export.py 09 11      these chapters

notebooks/09_pipelining.ipynb writes smtp_from_scratch/pipelining.py. A notebook without `#| default_exp`
writes nothing. A module is replaced whole or not at all: a cell with a syntax error changes no file.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "smtp_from_scratch"
MARKER = re.compile(r"# %% \S*/notebooks/(?P<notebook>\S+) #(?P<cell>\S+)$")
ALL = re.compile(r"^__all__ = \[(.*?)\]", re.MULTILINE | re.DOTALL)
DEFAULT_EXP = re.compile(r"^\s*#\s*\|\s*default_exp\s+(\S+)", re.MULTILINE)


class Problem(Exception):
    """Something the author of a notebook must mend; the message says what and where."""


def chapters(root: Path = ROOT, wanted: list[str] | None = None) -> list[Path]:
    """The chapters' notebooks in order; `wanted` picks some by number ("9", "09") or by name."""
    every = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    if not wanted:
        return every
    chosen = [path for path in every if any(is_called(path, name) for name in wanted)]
    for name in wanted:
        if not any(is_called(path, name) for path in every):
            raise Problem(f"no notebook {name!r} in notebooks/; there are {', '.join(p.stem for p in every) or 'none'}")
    return chosen


def is_called(path: Path, name: str) -> bool:
    number, _, title = path.stem.partition("_")
    wanted = Path(name).stem
    return wanted in (path.stem, title) or (wanted.isdigit() and int(wanted) == int(number))


def module_of(notebook: Path) -> str | None:
    """The name of the module that a notebook writes, None if it writes none."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError) as error:
        raise Problem(f"{notebook.name} is not a notebook: {error}") from None
    for cell in cells:
        if cell["cell_type"] == "code" and (found := DEFAULT_EXP.search("".join(cell["source"]))):
            return found[1]
    return None


def export(notebooks: list[Path], package: Path) -> list[Path]:
    """Write the modules of these notebooks into the folder `package`; return the files that changed."""
    from nbdev.export import nb_export

    changed = []
    with tempfile.TemporaryDirectory() as scratch:
        # nbdev writes in place, and writes each notebook's path relative to the module: work in a small copy.
        stage = Path(scratch, PACKAGE)
        stage.mkdir()
        Path(scratch, "notebooks").mkdir()
        for notebook in notebooks:
            name = module_of(notebook)
            if name is None:
                continue
            copy = Path(scratch, "notebooks", notebook.name)
            shutil.copyfile(notebook, copy)
            written = stage / f"{name}.py"
            try:
                nb_export(copy, lib_path=stage)
            except SyntaxError as error:
                where = (error.text or "").strip()
                raise Problem(f"{notebook.name}: {error.msg} in an exported cell: {where!r}") from None
            if not written.exists():
                raise Problem(f"{notebook.name} has '#| default_exp {name}' but no cell marked '#| export'")
            text = tidy(written.read_text(encoding="utf-8"))
            check_syntax(notebook, text)
            if replace(package / written.name, text):
                changed.append(package / written.name)
    return changed


def tidy(text: str) -> str:
    """Two blank lines before each cell, and an `__all__` that fits the page: as one would write it by hand."""
    text = re.sub(r"\n+(?=# %% )", "\n\n\n", text)
    text = re.sub(r"\n+(?=# %% auto )", "\n\n", text)
    if found := ALL.search(text):
        names = ", ".join(f'"{name}"' for name in re.findall(r"['\"](\w+)['\"]", found[1]))
        one_line = f"__all__ = [{names}]"
        block = "__all__ = [\n" + textwrap.fill(names, 110, initial_indent="    ", subsequent_indent="    ") + ",\n]"
        text = text[:found.start()] + (one_line if len(one_line) <= 110 else block) + text[found.end():]
    return text


def check_syntax(notebook: Path, text: str) -> None:
    try:
        compile(text, notebook.name, "exec")
    except SyntaxError as error:
        line = error.lineno or 1
        cells = [m["cell"] for m in map(MARKER.match, text.splitlines()[:line]) if m]
        raise Problem(f"{notebook.name}, cell {cells[-1] if cells else '?'}: {error.msg}: "
                      f"{(error.text or '').strip()!r}") from None


def replace(path: Path, text: str) -> bool:
    """Give the file this text at one stroke; False if it already had it."""
    if path.exists() and path.read_bytes() == text.encode():
        return False
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
    wanted = parser.parse_args(arguments).chapter
    try:
        changed = export(chapters(ROOT, wanted), ROOT / PACKAGE)
    except Problem as problem:
        print(f"export: {problem}", file=sys.stderr)
        return 1
    print("export: " + (", ".join(path.name for path in changed) if changed else "nothing changed"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

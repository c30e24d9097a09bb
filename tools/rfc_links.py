#!/usr/bin/env python3
"""Make each `RFC 5321 §4.1.2` in the prose of the notebooks a link to that section.

    python tools/rfc_links.py             every chapter, its solutions, and the optional pages
    python tools/rfc_links.py 09 11       these chapters and their solutions
    python tools/rfc_links.py --check     change nothing; name the cells whose links are missing, exit with status 1

What has its links stays as it is, to the byte. Code and links are left alone. Messages of checks need nothing: they
are linked when they are shown.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import nbformat
from export import ROOT, Problem, replace
from refresh import label, notebooks, read

sys.path.insert(0, str(ROOT))

from smtp_from_scratch.lab.figures.rfc import link

__all__ = ["link", "main", "missing"]


def unlinked(notebook: Any) -> list[Any]:
    """The Markdown cells in which an RFC's section is no link yet."""
    return [cell for cell in notebook.cells if cell.cell_type == "markdown" and link(cell.source) != cell.source]


def missing(paths: list[Path]) -> list[str]:
    """`09_pipelining.ipynb, cell pain` for each cell that lacks a link."""
    return [f"{label(path)}, cell {cell.id}" for path in paths for cell in unlinked(read(path))]


def write_links(path: Path) -> bool:
    """Link what is not linked; False if nothing was."""
    notebook = read(path)
    for cell in unlinked(notebook):
        cell.source = link(cell.source)
    return replace(path, nbformat.writes(notebook) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapter", nargs="*", help="number or name of a chapter, or name of a page; none means all")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a link is missing")
    options = parser.parse_args(arguments)
    try:
        paths = notebooks(options.chapter)
        found = missing(paths) if options.check else [label(path) for path in paths if write_links(path)]
    except Problem as problem:
        print(f"rfc_links: {problem}", file=sys.stderr)
        return 1
    what = "without links" if options.check else "linked"
    print(f"rfc_links: {len(found)} {what}" + "".join(f"\n  {line}" for line in found))
    return int(options.check and bool(found))


if __name__ == "__main__":
    sys.exit(main())

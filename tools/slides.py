#!/usr/bin/env python3
"""Talks out of chapters: reveal.js slides, one file each, which fetch nothing when they are opened.

    python tools/slides.py            every chapter that has slides, into talks/
    python tools/slides.py 00 12      these chapters

A cell is on a slide when its metadata say so, as the slide show of Jupyter does:
    "slideshow": {"slide_type": "slide", "text": "## Send it", "shows": "output"}
`slide_type` is `slide`, `subslide`, `fragment` or `-` (goes on with the slide before). `text` is what the slide says in
place of a cell of prose, which then is in the speaker's notes, or above a cell of code. `shows` is `output` or `code`:
the half of a cell of code that is on the slide.

reveal.js comes from the npm registry, once, into .slides/ (Node.js brings npm).
"""
from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
from export import ROOT, Problem, chapters
from nbformat.v4 import new_markdown_cell

REVEAL = "6.0.2"
HERE = Path(__file__).resolve().parent / "talk"
SHOWN = ("output", "code")
TYPES = ("slide", "subslide", "fragment", "-")


def reveal_js(folder: Path = ROOT / ".slides") -> Path:
    """The folder of reveal.js, fetched by npm when it is not there yet."""
    found = folder / "node_modules" / "reveal.js" / "dist"
    if not (found / "reveal.js").exists():
        if not (npm := shutil.which("npm")):
            raise Problem("reveal.js is not here, and neither is npm, which would bring it: install Node.js")
        print(f"slides: fetching reveal.js {REVEAL}", flush=True)
        done = subprocess.run([npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix",
                               str(folder), f"reveal.js@{REVEAL}"], capture_output=True, text=True)
        if done.returncode or not found.exists():
            raise Problem(f"npm could not fetch reveal.js:\n{done.stderr.strip()[-800:]}")
    return found


def has_slides(notebook: Any) -> bool:
    return any("slideshow" in cell.metadata for cell in notebook.cells)


def talk_of(notebook: Any) -> Any:
    """The same notebook with the cells of its slides only, as nbconvert wants them."""
    talk = nbformat.from_dict({**notebook, "cells": []})
    for cell in notebook.cells:
        about = cell.metadata.get("slideshow")
        if about is None:
            continue
        kind, text, shows = about.get("slide_type"), about.get("text", ""), about.get("shows", "")
        if kind not in TYPES or shows not in ("", *SHOWN) or (shows and cell.cell_type != "code"):
            raise Problem(f"cell {cell.id}: {dict(about)} is not what tools/slides.py understands")
        if text:
            talk.cells.append(slide(new_markdown_cell(text), kind))
        if cell.cell_type == "markdown":
            talk.cells.append(slide(new_markdown_cell(cell.source), "notes" if text else kind))
        else:
            talk.cells.append(slide(code(cell, shows), "-" if text else kind))
    return talk


def code(cell: Any, shows: str) -> Any:
    """A copy of a cell of code, or of one half of it."""
    copy = nbformat.from_dict({**cell, "metadata": {}})
    copy.source = "\n".join(line for line in cell.source.splitlines() if not line.startswith(("#|", "lab.reveal(")))
    copy.outputs = [] if shows == "code" else [output for output in copy.outputs if not about_yours(output)]
    if shows == "output":
        copy.metadata.transient = {"remove_source": True}
    return copy


def about_yours(output: Any) -> bool:
    """Whether it says whose code runs from here on, which is nobody's business in a talk."""
    return "is not finished yet" in output.get("data", {}).get("text/plain", "")


def slide(cell: Any, kind: str) -> Any:
    cell.metadata.slideshow = {"slide_type": kind}
    return cell


def written(notebook: Any, title: str, reveal: Path) -> str:
    """The talk as HTML, everything inside."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(template_name=HERE.name, extra_template_basedirs=[str(HERE.parent)],
                              exclude_input_prompt=True, exclude_output_prompt=True)
    files = {"reveal_css": reveal / "reveal.css", "reveal_js": reveal / "reveal.js", "js": HERE / "talk.js",
             "notes_js": reveal / "plugin" / "notes.js", "zoom_js": reveal / "plugin" / "zoom.js",
             "css": HERE / "talk.css"}
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    html, _ = exporter.from_notebook_node(talk_of(notebook), resources={"talk": {"title": title, **texts}})
    return str(html)


def main(arguments: list[str] | None = None, to: Path = ROOT / "talks") -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapter", nargs="*", help="number or name of a chapter; none means all that have slides")
    options = parser.parse_args(arguments)
    try:
        reveal = reveal_js()
        for path in chapters(ROOT, options.chapter):
            notebook = nbformat.read(path, as_version=4)
            if has_slides(notebook):
                title = notebook.cells[0].source.partition("\n")[0].lstrip("# ")
                to.mkdir(exist_ok=True)
                (to / f"{path.stem}.html").write_text(written(notebook, title, reveal), encoding="utf-8")
                print(f"  talks/{path.stem}.html: {title}", flush=True)
            elif options.chapter:
                raise Problem(f"{path.stem} has no slides: none of its cells is tagged")
    except Problem as problem:
        print(f"slides: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

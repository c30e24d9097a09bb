#!/usr/bin/env python3
"""The learner's own copy of the course: what they type stays theirs, and the source stays as it is.

    python tools/my_course.py            make my-course/, or bring in what has changed since
    python tools/my_course.py reset 05   the chapter as it came; the learner's goes into my-course/kept/

A chapter that has changed, by `git pull` for instance, replaces the learner's if nothing was typed in it. Otherwise it
is put beside it, as NN_name.new.ipynb, and the learner is told. Progress and predictions are in a file of their own.
"""
from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE, COPY = ROOT / "notebooks", ROOT / "my-course"
ORIGINALS, KEPT = ".original", "kept"          # folders of the copy: chapters as they came; what a reset put away


def notebooks_in(folder: Path) -> Iterator[Path]:
    """The notebooks of the course, relative to their folder."""
    for path in sorted(folder.rglob("*.ipynb")):
        relative = path.relative_to(folder)
        if not {".ipynb_checkpoints", ORIGINALS, KEPT}.intersection(relative.parts):
            yield relative


def typed(octets: bytes) -> object:
    """What somebody has typed into a notebook: its cells without their outputs. What cannot be read is unlike all."""
    try:
        return [(cell["cell_type"], "".join(cell["source"]).rstrip()) for cell in json.loads(octets)["cells"]]
    except (ValueError, KeyError, TypeError):
        return octets


def put(octets: bytes, *paths: Path) -> None:
    """Write a file, at several places."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)


def free_name(path: Path, old: bytes) -> Path:
    """NN_name.new.ipynb, or with a number if somebody has typed into that one, too."""
    number = 1
    while True:
        name = path.with_name(f"{path.stem}.new{number if number > 1 else ''}.ipynb")
        if not name.exists() or typed(name.read_bytes()) == typed(old):
            return name
        number += 1


def bring(relative: Path, source: Path = SOURCE, copy: Path = COPY) -> str:
    """Bring one notebook into the copy; returns what to tell the learner, or nothing."""
    new = (source / relative).read_bytes()
    mine, original = copy / relative, copy / ORIGINALS / relative
    if not mine.exists():
        put(new, mine, original)
        return ""
    old = original.read_bytes() if original.exists() else b""
    if new == old:
        return ""
    here = typed(mine.read_bytes())
    put(new, original)
    if here == typed(old):
        put(new, mine)
        return f"{relative} is a newer one now"
    if here == typed(new):
        return ""
    beside = free_name(mine, old)
    put(new, beside)
    return f"{relative} has changed; yours stays as it is, and the new one is beside it: {beside.relative_to(copy)}"


def bring_all(source: Path = SOURCE, copy: Path = COPY) -> list[str]:
    """Make the copy, or bring in what has changed; returns what to tell the learner."""
    told = [bring(relative, source, copy) for relative in notebooks_in(source)]
    for folder in ("data", "images"):
        if (source / folder).is_dir():
            shutil.copytree(source / folder, copy / folder, dirs_exist_ok=True)
    return [line for line in told if line]


def reset(chapter: str, source: Path = SOURCE, copy: Path = COPY) -> str:
    """Give a chapter back as it came, and keep what was there; raises ValueError for one that does not exist."""
    found = [relative for relative in notebooks_in(source) if relative.parts[0] != "solutions"
             and chapter in (str(relative), relative.stem, *relative.stem.partition("_")[::2])]
    if len(found) != 1:
        raise ValueError(f"which chapter? {chapter!r} is none; say 05, or session")
    [relative] = found
    mine, kept = copy / relative, copy / KEPT / f"{relative.stem} {time.strftime('%Y-%m-%d %H.%M.%S')}.ipynb"
    where = ""
    if mine.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        mine.replace(kept)
        where = f"; yours is kept: {kept.relative_to(copy)}"
    put((source / relative).read_bytes(), mine, copy / ORIGINALS / relative)
    return f"{relative} is as it came{where}"


def main(arguments: list[str]) -> int:
    """Bring all, or reset a chapter; returns the exit code."""
    if arguments and arguments[0] == "reset":
        try:
            print("my-course: " + reset(*arguments[1:2] or [""]))
        except ValueError as error:
            print(f"my-course: {error}", file=sys.stderr)
            return 2
        return 0
    for line in bring_all():
        print(f"my-course: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What the learner has done, in a file beside the notebooks: checks passed, predictions made. Nothing is ever sent.

It is kept only where somebody sits: in JupyterLab, in an editor, in the browser. Tests and `make refresh` run
notebooks with nobody there; so what they show never depends on the file. SMTP_FROM_SCRATCH_PROGRESS names another
file, or is `off`.
"""
from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face, rich
from smtp_from_scratch.lab.register import checks_of, every_check

NAME = "progress.json"
HERE = Path.cwd()                              # where the notebook is: before any cell goes elsewhere
_chapter = ""                                  # as `lab.map` has said


def file() -> Path | None:
    """Where progress is kept; None where nobody sits, and in the solutions."""
    named = os.environ.get("SMTP_FROM_SCRATCH_PROGRESS", "")
    if named:
        return None if named == "off" else Path(named)
    notebook = os.environ.get("JPY_SESSION_NAME", "")           # as Jupyter's server tells its kernels
    main = sys.modules.get("__main__")
    attended = notebook or hasattr(main, "__vsc_ipynb_file__") or sys.platform == "emscripten"
    return HERE / NAME if attended and "solutions" not in (*Path(notebook).parts, HERE.name) else None


def enter(chapter: str) -> None:
    """This kernel runs that chapter."""
    global _chapter
    _chapter = chapter


def here() -> str:
    """The chapter that this kernel runs: as `lab.map` said, or by the notebook's name."""
    return _chapter or Path(os.environ.get("JPY_SESSION_NAME", "")).stem.lstrip("0123456789").lstrip("_")


def read() -> dict[str, Any]:
    """What is kept: for each chapter the checks passed and the predictions made."""
    path = file()
    if path is not None:
        with suppress(OSError, ValueError):
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
    return {}


def write(chapter: str, kind: str, name: str, value: object) -> None:
    """Keep one thing; where that is not possible, go on without."""
    path = file()
    if path is None:
        return
    kept = read()
    kept.setdefault(chapter, {}).setdefault(kind, {})[name] = value
    with suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(kept, out, indent=1, ensure_ascii=False, sort_keys=True)
        os.replace(temporary, path)


def passed(chapter: str, check: str) -> None:
    """A check has passed."""
    write(chapter, "checks", check, True)


class Progress(Face):
    """Checks passed and predictions made, a line for each chapter with any; `rows` has them as numbers."""

    def __init__(self, chapter: str = "") -> None:
        kept = read()
        self.rows: list[tuple[str, int, int, int, int]] = []     # chapter, passed, of, foreseen, predicted
        for name in dict.fromkeys(entry.chapter for entry in every_check().values()):
            checks = kept.get(name, {}).get("checks", {})
            known = [entry.name for entry in checks_of(name)]
            told = [made for made in kept.get(name, {}).get("predictions", {}).values() if made.get("truth")]
            row = (name, sum(map(checks.__contains__, known)), len(known),
                   sum(bool(made.get("foresaw")) for made in told), len(told))
            if (row[1] or told) and chapter in ("", name):
                self.rows.append(row)

    @property
    def lines(self) -> list[str]:
        """A sentence for each chapter."""
        if not self.rows:
            return ["Nothing is kept yet. A check that passes and a prediction are noted beside the notebooks, "
                    f"in `{NAME}`, and sent nowhere."]
        return [f"`{name}`: {done} of {of} checks passed" + (f", {right} of {told} predictions right" if told else "")
                for name, done, of, right, told in self.rows]

    def text(self) -> str:
        return "\n".join(self.lines)

    def html(self) -> str:
        return "".join(f"<p>{rich(line)}</p>" for line in self.lines)


def progress(chapter: str = "") -> Progress:
    """Checks passed and predictions made: of all chapters, or of one."""
    return Progress(chapter)

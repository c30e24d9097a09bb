"""Figures of measured.md that pages quote: `python -m tests.bench.quotes` writes those of today into the pages.

A quoted figure stands between two comments, which say where it is from: the row, what was measured, against whom
(left out where it is nobody), and the column. A page shows nothing of that:

    <!-- measured S1 · loop: 1 KB, 8 reused connections · aiosmtpd · ratio -->2.54×<!-- measured -->
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "tests/bench/measured.md"
QUOTE = re.compile(r"<!-- measured (?P<key>[^>]+?) -->(?P<figure>.*?)<!-- measured -->")
MEASURE = re.compile(r"\d(?:[\d,.]*\d)?\s?(?:×|times\b|µs|ms\b|KiB|MiB|/s\b|a second\b)")


def pages() -> list[Path]:
    """Those that may quote."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("notebooks/*.ipynb"))]


def prose(path: Path) -> list[str]:
    """The texts of a page: of a notebook, those of its cells that are not code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return [text]
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]


def rows(table: str) -> Iterator[dict[str, str]]:
    """Of a table in Markdown: what stands below each word of its head."""
    lines = [line.removeprefix("| ").removesuffix(" |") for line in table.splitlines() if line.startswith("| ")]
    head, *rest = ([cell.strip() for cell in line.split(" | ")] for line in lines)
    for cells in rest:
        yield dict(zip(head, cells, strict=True))


def figure(table: str, key: str) -> str:
    """What the table says there, without the spread. LookupError where it has no such row or column."""
    row, what, *peer, column = " ".join(key.split()).split(" · ")
    for found in rows(table):
        if (found["row"], found["what"]) == (row, what) and peer in ([], [found["against"]]):
            if said := found.get(column, "").partition(" (")[0]:
                return said
    raise LookupError(f"measured.md has no figure for: {key}")


def quoted(text: str) -> list[tuple[str, str]]:
    """Each quote's key, and the figure that stands there."""
    return [(" ".join(found["key"].split()), found["figure"]) for found in QUOTE.finditer(text)]


def renewed(text: str, table: str) -> str:
    """The text with what the table says."""
    return QUOTE.sub(lambda found: f"<!-- measured {found['key']} -->{figure(table, found['key'])}<!-- measured -->",
                     text)


def unmarked(text: str) -> list[str]:
    """Figures with a unit of measure, in paragraphs that name measured.md, that no comment says the source of."""
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if "measured.md" in part]
    return [found for part in paragraphs for found in MEASURE.findall(QUOTE.sub("", part))]


def renew() -> list[str]:
    """Write the figures of today into the pages; returns a line for each page that has changed."""
    table, changed = TABLE.read_text(encoding="utf-8"), []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (new := renewed(text, table)) != text:
            path.write_text(new, encoding="utf-8")
            changed.append(f"{path.relative_to(ROOT)}: its figures are those of measured.md again")
    return changed


if __name__ == "__main__":
    print(*renew(), sep="\n")

#!/usr/bin/env python3
"""Check that every link from one file of the course to another leads somewhere, headings included; no network is asked.

    python tools/links.py                 all *.md files, and the Markdown of all notebooks
    python tools/links.py README.md       these
"""
from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
TARGETS = (re.compile(r"\]\(\s*<?([^)\s>]+)"),                       # [text](target), ![text](target)
           re.compile(r"^\[[^\]^][^\]]*\]:\s*<?([^\s>]+)", re.MULTILINE),      # [name]: target
           re.compile(r"""(?:src|href)=["']([^"']+)"""))
HEADING = re.compile(r"^ {0,3}#{1,6} +(.+?)(?: +#+)? *$", re.MULTILINE)
NAMED = re.compile(r"""<[a-z]+[^>]*\b(?:id|name)=["']([^"']+)""")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def documents(root: Path = ROOT) -> Iterator[Path]:
    """Every Markdown file and notebook, but for those in hidden folders and what was built."""
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if Path(folder) == root:
            subfolders[:] = [name for name in subfolders if name not in ("build", "site")]
        yield from (Path(folder, name) for name in sorted(files) if name.endswith((".md", ".ipynb")))


def prose(path: Path) -> str:
    """The Markdown of a file, code left in."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def links(text: str) -> list[str]:
    """The targets of Markdown's links and images, and of HTML's src and href; code left out."""
    text = CODE.sub("", text)
    return [target for pattern in TARGETS for target in pattern.findall(text)]


def anchors(path: Path) -> set[str]:
    """The places in a file that a link can name: of a notebook as Jupyter makes them, else as GitHub does."""
    text = prose(path)
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)|<[^>]*>|[*`]", r"\1", line).strip()
                for line in HEADING.findall(re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE))]
    if path.suffix == ".ipynb":
        return {heading.replace(" ", "-") for heading in headings} | set(NAMED.findall(text))
    found: set[str] = set(NAMED.findall(text))
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(next(name for n in range(len(headings)) if (name := f"{slug}-{n}" if n else slug) not in found))
    return found


def broken(path: Path) -> list[str]:
    """The links of a file that lead nowhere, each with the reason."""
    found = []
    for target in dict.fromkeys(links(prose(path))):
        name, _, anchor = unquote(target).partition("#")
        goal = path.parent / name if name else path
        if SCHEME.match(target):
            continue
        if name.startswith("/"):
            found.append(f"{target}: begin with the folder of the file it stands in, not with /")
        elif not goal.exists():
            found.append(f"{target}: there is no such file")
        elif anchor and goal.suffix in (".md", ".ipynb") and anchor not in anchors(goal):
            found.append(f"{target}: there is no such heading")
    return found


def main(arguments: list[str]) -> int:
    paths = [Path(name).resolve() for name in arguments] or list(documents())
    wrong = [f"{os.path.relpath(path, ROOT)}: {reason}" for path in paths for reason in broken(path)]
    for line in wrong:
        print(f"links: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

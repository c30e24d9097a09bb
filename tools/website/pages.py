"""The readable pages: chapters, solutions, docs and the API, by Sphinx."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fetch

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
MERMAID = "11.12.0"
# What the documented package offers; each has docstrings of its own.
MODULES = ("smtp", "message", "testing", "compat", "maildir", "users", "envelope", "wire", "client", "ehlo", "status",
           "pipelining", "chunking", "starttls", "auth", "smtputf8", "submission", "dsn", "report", "queue",
           "relay", "resolver", "pop3", "trust", "keys", "loop", "memory")


def doors(path: Path) -> str:
    """The buttons of a chapter: run it here, or on Binder."""
    name = path.relative_to(ROOT / "notebooks").as_posix()
    up = "../" * (len(path.relative_to(ROOT).parts) - 1)
    links = [f'<a href="{up}lite/lab/index.html?path={quote(name)}">Run this page here</a>']
    if repository := os.environ.get("GITHUB_REPOSITORY"):      # set where GitHub builds the site
        there = quote(f"lab/tree/notebooks/{name}", safe="")
        links.append(f'<a href="https://mybinder.org/v2/gh/{repository}/HEAD?urlpath={there}">Open it on Binder</a>')
    return f'<p class="doors">{" ".join(links)}</p>'


def chapter(path: Path, to: Path) -> None:
    """A notebook with its buttons under the title."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    first = notebook["cells"][0]
    title, _, rest = "".join(first["source"]).partition("\n")
    first["source"] = f"{title}\n\n{doors(path)}\n{rest}"
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(notebook), encoding="utf-8")


def contents_of(paths: list[Path], source: Path, caption: str) -> str:
    """A table of contents for the side bar; chapters have their numbers there."""
    names = "\n".join(named(path, path.relative_to(source).with_suffix("").as_posix()) for path in paths)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n"


def named(path: Path, document: str) -> str:
    """A line of a table of contents."""
    if path.parent.name != "notebooks":
        return document
    title = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"].partition("\n")[0].removeprefix("# ")
    return f"{path.stem[:2]} · {title} <{document}>"


def with_titles(page: str, images: Path) -> str:
    """A page whose figures are told by their titles to whoever does not see them."""
    def told(found: re.Match[str]) -> str:
        title = re.search(r"<title>(.*?)</title>", (images / found[1]).read_text(encoding="utf-8"))
        return f'alt="{title[1] if title else "a figure"}" src="../_images/{found[1]}"'

    return re.sub(r'alt="[^"]*" src="\.\./_images/(\w+\.svg)"', told, page)


def sources(source: Path) -> None:
    """Everything that Sphinx reads."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    shutil.copytree(HERE / "static", source / "_static")
    shutil.copy(HERE / "conf.py", source)
    shutil.copy(fetch.npm(ROOT / "build" / "site", "mermaid", MERMAID) / "dist" / "mermaid.min.js", source / "_static")
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            chapter(path, source / path.relative_to(ROOT))
    for folder in ("data", "images"):
        shutil.copytree(ROOT / "notebooks" / folder, source / "notebooks" / folder)
    shutil.copytree(ROOT / "docs", source / "docs")
    for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "api.rst").write_text(api(), encoding="utf-8")
    (source / "index.md").write_text(index(source), encoding="utf-8")


def api() -> str:
    """The names of the package, with their docstrings."""
    modules = [name for name in MODULES if list((ROOT / "smtp_from_scratch").glob(f"{name}*"))]
    title = "The package, name by name\n=========================\n"
    return title + "".join(f"\n{name}\n{'-' * len(name)}\n\n.. automodule:: smtp_from_scratch.{name}\n   :members:\n"
                           for name in modules)


def index(source: Path) -> str:
    """The README as the first page, with a way into JupyterLite, and the tables of contents."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    door = ('<p class="doors"><a href="lite/lab/index.html?path=00_start_here.ipynb">'
            "Start in your browser, with nothing installed</a></p>")
    title, _, rest = text.partition("\n")
    notebooks = source / "notebooks"
    guides = [*sorted((source / "docs").glob("*.md")), source / "api.rst", source / "CONTRIBUTING.md",
              source / "SECURITY.md", source / "CHANGELOG.md"]
    return f"{title}\n\n{door}\n{rest}" + "".join(contents_of(paths, source, caption) for paths, caption in (
        (sorted(notebooks.glob("[0-9]*.ipynb")), "Chapters"),
        (sorted((notebooks / "extra").glob("*.ipynb")), "Optional pages"),
        (sorted((notebooks / "solutions").glob("*.ipynb")), "Solutions"), (guides, "Guides")))


def build(cache: Path, to: Path) -> None:
    """The pages into `to`, in which JupyterLite may lie already."""
    source = cache / "pages"
    sources(source)
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-j", "2", "-b", "html", "-d", str(cache / "doctrees"),
                    str(source), str(cache / "html")], check=True)
    shutil.copytree(cache / "html", to, dirs_exist_ok=True)
    for path in [*to.glob("*.html"), *(to / "notebooks").rglob("*.html")]:
        page = with_titles(path.read_text(encoding="utf-8"), to / "_images")
        assert not re.search(r"(?:src|href)=[\"']https?://(?:cdn|unpkg|fonts)", page), path
        path.write_text(page, encoding="utf-8")

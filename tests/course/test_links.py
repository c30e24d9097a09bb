"""Links between the files of the course."""
from __future__ import annotations

from pathlib import Path

import links
import nbformat
import pytest


@pytest.mark.parametrize("path", list(links.documents()), ids=lambda p: p.relative_to(links.ROOT).as_posix())
def test_links_resolve(path: Path) -> None:
    assert not links.broken(path)


def test_every_document_is_looked_at() -> None:
    names = {path.relative_to(links.ROOT).as_posix() for path in links.documents()}
    assert {"README.md", "CONTRIBUTING.md", "notebooks/01_wire.ipynb", "notebooks/solutions/01_wire.ipynb"} <= names
    assert not [name for name in names if name.startswith(".")]


README = """
# The house, *rebuilt*
## The house
### The house

[here](#the-house-rebuilt) [second](#the-house) [third](#the-house-1) [not here](#the-roof)
![picture](images/house.svg) [web](https://example.org/x#y) <img src="gone.png">
[chapter](01_wire.ipynb#What-travels) [not there](01_wire.ipynb#what-travels) [gone](02_gone.ipynb#x)
[by name][name] [root](/README.md) [spaced](a%20b.txt)

[name]: nowhere.md

```
# no heading
[code](gone.md)
```
`[code](gone.md)`
"""


def test_a_broken_link_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "house.svg").touch()
    (tmp_path / "a b.txt").touch()
    chapter = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"),
                                              nbformat.v4.new_code_cell("# [no prose](gone.md)"),
                                              nbformat.v4.new_markdown_cell("## What `travels`")])
    nbformat.write(chapter, tmp_path / "01_wire.ipynb")
    assert links.broken(tmp_path / "README.md") == [
        "#the-roof: there is no such heading",
        "01_wire.ipynb#what-travels: there is no such heading",
        "02_gone.ipynb#x: there is no such file",
        "/README.md: begin with the folder of the file it stands in, not with /",
        "nowhere.md: there is no such file",
        "gone.png: there is no such file",
    ]
    assert links.broken(tmp_path / "01_wire.ipynb") == []
    assert list(links.documents(tmp_path)) == [tmp_path / "01_wire.ipynb", tmp_path / "README.md"]


def test_the_command_tells_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("[x](y.md)", encoding="utf-8")
    assert links.main([str(tmp_path / "README.md")]) == 1
    assert "README.md: y.md: there is no such file" in capsys.readouterr().err
    (tmp_path / "y.md").touch()
    assert links.main([str(tmp_path / "README.md")]) == 0

"""The authors' tools: links to RFCs, and the budget of a chapter."""
from __future__ import annotations

import re
from pathlib import Path

import budget
import minutes
import nbformat
import pytest
import rfc_links
from export import ROOT

from smtp_from_scratch.lab.figures.rfc import link, link_html

RFC = "https://www.rfc-editor.org/rfc/rfc"


@pytest.mark.parametrize("text, linked", [
    ("see RFC 5321 §4.1.2.", f"see [RFC 5321 §4.1.2]({RFC}5321#section-4.1.2)."),
    ("(RFC 821 §3)", f"([RFC 821 §3]({RFC}821#section-3))"),
    ("RFC 5322 §A.1.1", f"[RFC 5322 §A.1.1]({RFC}5322#appendix-A.1.1)"),
    ("RFC 5321 §4.2.1, §3.8 and §6", f"[RFC 5321 §4.2.1]({RFC}5321#section-4.2.1), [§3.8]({RFC}5321#section-3.8) and "
                                     f"[§6]({RFC}5321#section-6)"),
    ("RFC 4954 §4, RFC 2920 §3.1", f"[RFC 4954 §4]({RFC}4954#section-4), [RFC 2920 §3.1]({RFC}2920#section-3.1)"),
    ("RFC\n2920 §1", f"[RFC\n2920 §1]({RFC}2920#section-1)"),
    ("**RFC 2033 §4.2**", f"**[RFC 2033 §4.2]({RFC}2033#section-4.2)**"),
    ("| RFC 2033 §4 | x |", f"| [RFC 2033 §4]({RFC}2033#section-4) | x |"),
    ("<details><summary>RFC 1870 §6</summary>\nRFC 2920 §1\n\nRFC 1870 §6\n</details>",
     f'<details><summary><a href="{RFC}1870#section-6">RFC 1870 §6</a></summary>\n'
     f'<a href="{RFC}2920#section-1">RFC 2920 §1</a>\n\n[RFC 1870 §6]({RFC}1870#section-6)\n</details>'),
    ("a <b>RFC 1870 §6</b>", f"a <b>[RFC 1870 §6]({RFC}1870#section-6)</b>"),
    ("```\n<p>RFC 5321 §4\n```\nRFC 5321 §4", f"```\n<p>RFC 5321 §4\n```\n[RFC 5321 §4]({RFC}5321#section-4)"),
    ("RFC 5321 alone, and §4.1.2 alone", None), ("`RFC 5321 §4.1.2`", None), ("``a ` RFC 5321 §4`` b", None),
    ("```\nRFC 5321 §4.1.2\n```", None), ("~~~python\n# RFC 5321 §4\n~~~\n", None), ("    RFC 5321 §4.1.2", None),
    ("[RFC 5321 §4.1.2](other.html)", None), ("[see [RFC 5321 §4] here](x)", None), ("[RFC 5321 §4][ref]", None),
    ("![RFC 5321 §4](picture.svg)", None), ('<a href="x">RFC 5321 §4.1.2</a>', None),
    ('<img alt="RFC 5321 §4.1.2">', None), ("<!-- RFC 5321 §4 -->", None),
])
def test_links_in_markdown(text: str, linked: str | None) -> None:
    assert link(text) == (text if linked is None else linked)
    assert link(link(text)) == link(text), "a second time nothing changes"


def test_a_backtick_alone_does_not_swallow_what_follows() -> None:
    assert link("a ` alone\n\nRFC 5321 §4 and `code`").count("](") == 1


def test_links_in_html() -> None:
    text = "<b>RFC 5321 §4</b> <code>RFC 5321 §4</code>"
    assert link_html(text) == f'<b><a href="{RFC}5321#section-4">RFC 5321 §4</a></b> <code>RFC 5321 §4</code>'


def test_sections_that_chapters_name_exist_where_links_lead() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                targets = re.findall(r"\((https://www\.rfc-editor\.org\S*?)\)", link(cell.source))
                whole = rf"{RFC}\d+(#(section-\d|appendix-[A-Z])[\d.]*)?/?"
                assert all(re.fullmatch(whole, target) for target in targets), targets


def notebook(path: Path, *cells: tuple[str, str]) -> Path:
    """A notebook of (kind, source) cells, on disk."""
    made = nbformat.v4.new_notebook()
    for number, (kind, source) in enumerate(cells):
        cell = (nbformat.v4.new_markdown_cell if kind == "md" else nbformat.v4.new_code_cell)(source)
        cell["id"] = f"cell-{number}"
        made.cells.append(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


def test_the_tool_links_and_finds_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    path = notebook(tmp_path / "09_pipelining.ipynb", ("md", "RFC 2920 §3.1"), ("py", "# RFC 2920 §3.1"), ("md", "no"))
    monkeypatch.setattr(rfc_links, "notebooks", lambda chapter: [path])
    assert rfc_links.main(["--check"]) == 1 and "09_pipelining.ipynb, cell cell-0" in capsys.readouterr().out
    assert rfc_links.main([]) == 0
    assert nbformat.read(path, as_version=4).cells[1].source == "# RFC 2920 §3.1"
    written = path.read_bytes()
    assert rfc_links.main(["--check"]) == 0 and rfc_links.main([]) == 0 and path.read_bytes() == written


CHAPTER = (
    ("md", "# A title\n\n" + "word " * 198 + "\n\n*RFC 2920 · needs `wire` · 15 minutes · writes `x.py`*"),
    ("py", "#| export\ndef helper(): ..."),
    ("md", "see [a link](https://rio.example/a/b) <b>here</b>\n\n```\nnot counted at all\n```\n"),
    ("py", "lab.predict('0.1 s', '1 s')"),
    ("py", "def my_groups(verbs):\n    ...\n"),
    ("py", "#| export\n" + "\n".join(f"a{n} = {n}" for n in range(14)) + "\ndef groups(verbs): ..."),
    ("py", "class MyLimits: ...\nmy_words = 3\n!python x.py"),
    ("py", "#| export\nclass Limits:\n    def f(self): ...\n\ndef read_words(): ...\n\n_private = 1"),
    ("py", "def my_own(): ...\nsend = lab.yours(my_own, send)"), ("py", "  "),
    ("py", "#| export\nasync def send(): ..."),
    ("md", "## Exercises\n\n### Exercise 1: warm up (3 minutes)\n\nDo."),
    ("md", "### Exercise 2: build\n\n*5 min.* Do more.\n\n### Exercise 3: break\n\n"
           "No word about 7 minutes here?\n\n9 minutes"),
)


def test_a_budget_is_counted_from_the_notebook(tmp_path: Path) -> None:
    found = budget.measured(notebook(tmp_path / "09_x.ipynb", *CHAPTER))
    assert (found.code_cells, found.long_cells, found.predictions, found.stated) == (8, 0, 1, 15)
    assert found.exported == ["helper", "groups", "Limits", "read_words", "send"]
    assert found.learners == ["groups", "Limits", "send"] and found.exercises == [3, 5, 7]
    assert found.words == 238
    assert found.exact == pytest.approx(found.words / 200 + 8 * 40 / 60 + 1 + 15)
    assert found.minutes == 25 and found.problems == ["says 15 minutes, takes 25"]


def test_your_turn_counts_and_another_day_does_not(tmp_path: Path) -> None:
    prose = ("**Your turn** (4 minutes). Write it.", "**Your turn.** 7 minutes (or 8 minutes)",
             "### Your turn: x (2 minutes)", "**Your turn**, once more:",
             "### Exercise 4: more (9 minutes, another day)")
    path = notebook(tmp_path / "01_x.ipynb", *(("md", text) for text in prose))
    found, words = budget.measured(path), sum(map(budget.words_in, prose))
    assert (found.turns, found.exercises) == ([4, 0, 2], [])
    assert "turn 2 does not state its minutes" in found.problems
    assert found.exact == pytest.approx(words / 200 + 6) == pytest.approx(sum(minutes.parts(path).values()))


def test_a_long_cell_costs_more_and_directives_are_no_lines(tmp_path: Path) -> None:
    lines = "\n".join(f"a{n} = {n}" for n in range(15))
    short, long = (budget.measured(notebook(tmp_path / f"0{n}_x.ipynb", ("py", f"#| export\n{lines}{more}")))
                   for n, more in enumerate(("", "\nb = 1")))
    assert (short.exact, long.exact) == (pytest.approx(40 / 60), pytest.approx(110 / 60))


def test_what_is_over_its_budget_is_named(tmp_path: Path) -> None:
    cells = [("py", f"#| export\ndef f{n}(): ...") for n in range(46)]
    found = budget.measured(notebook(tmp_path / "01_x.ipynb", ("md", "word " * 20_000), *cells,
                                     ("py", "lab.predict('a', 'b')"), ("py", "lab.predict('a', 'b')"),
                                     ("py", "lab.predict('a', 'b', name='other')"), ("md", "### Exercise 1: x")))
    told = "\n".join(found.problems)
    for part in ("minutes, at most 90", "20,003 words", "49 code cells", "46 exported definitions", "a third is due",
                 "says no minutes, takes 140", "exercise 1 does not state", "two predictions ask alike"):
        assert part in told, told


def test_the_table_has_a_line_for_each_chapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert budget.main(["12"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["chapter", "minutes", "says"] and line.split()[0] == "12_pipelining"
    assert budget.main(["77"]) == 1

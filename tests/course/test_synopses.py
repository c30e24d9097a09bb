"""Each chapter begins with what it leads to, in a few lines that run: the synopsis."""
from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pytest
from export import PACKAGE, ROOT, chapters, module_of

CHAPTERS = [path for path in chapters(ROOT, []) if module_of(path)]
MOST_LINES, MOST_WORDS = 8, 20                 # lines that somebody types; words that introduce them
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REVEALED = re.compile(r"""lab\.reveal\((["'])(.{3,}?)\1""")

every = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def second_cell(path: Path) -> str:
    cell = json.loads(path.read_text(encoding="utf-8"))["cells"][1]
    assert (cell["cell_type"], cell["id"]) == ("markdown", "synopsis"), f"{path.name}: no synopsis after the title"
    return "".join(cell["source"])


def code(path: Path) -> str:
    found = FENCE.findall(second_cell(path))
    assert len(found) == 1, f"{path.name}: one block of Python is wanted in the synopsis, {len(found)} are there"
    return str(found[0])


@every
def test_a_synopsis_shows_what_python_says(path: Path) -> None:
    test = doctest.DocTestParser().get_doctest(code(path), {}, path.stem, path.name, 0)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.attempted == len(test.examples) >= 2
    assert not result.failed, "".join(said)
    assert test.examples[-1].want, "the last line shows nothing"


@every
def test_a_synopsis_is_short_and_uses_the_module_of_its_chapter(path: Path) -> None:
    typed = [line for line in code(path).splitlines() if line.startswith((">>>", "..."))]
    assert len(typed) <= MOST_LINES, f"{len(typed)} lines; a synopsis is read in a glance"
    name = module_of(path)
    imported = rf"from {PACKAGE}\.{name} import|from {PACKAGE} import (?:\w+, )*{name}\b"
    assert re.search(imported, code(path)), f"nothing is imported from {name}"
    sentence = second_cell(path).partition("```")[0]
    assert 0 < len(sentence.split()) <= MOST_WORDS, f"one short sentence introduces it: {sentence!r}"


@every
def test_a_synopsis_gives_no_prediction_away(path: Path) -> None:
    answers = {answer for _, answer in REVEALED.findall(
        "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]))}
    told = [answer for answer in answers if re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", second_cell(path))]
    assert not told, f"the synopsis tells what is to be foreseen: {told}"

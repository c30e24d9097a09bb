"""Talks: tags that tools/slides.py understands; slides that fit, and fetch nothing, in a browser."""
from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
import slides
from export import ROOT, Problem, chapters
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

TALKS = [path for path in chapters(ROOT, []) if slides.has_slides(nbformat.read(path, as_version=4))]
SMALLEST = 0.7                                 # of the size that letters have on a slide with room


def test_the_chapters_that_are_talks() -> None:
    assert {path.stem[:2] for path in TALKS} >= {"00", "01", "05", "12", "14"}


@pytest.mark.parametrize("path", TALKS, ids=lambda path: path.stem)
def test_a_talk_is_made_of_its_cells(path: Path) -> None:
    cells = slides.talk_of(nbformat.read(path, as_version=4)).cells
    kinds = [cell.metadata.slideshow.slide_type for cell in cells]
    assert kinds[0] == "slide" and 12 <= kinds.count("slide") + kinds.count("subslide") <= 40
    assert cells[0].source.startswith("# ")


@pytest.mark.parametrize("path", TALKS, ids=lambda path: path.stem)
def test_what_is_asked_on_a_slide_is_answered_on_a_later_one(path: Path) -> None:
    shown = [cell for cell in nbformat.read(path, as_version=4).cells if "slideshow" in cell.metadata]
    asked = 0
    for cell in shown:
        if "lab.predict(" in cell.source:
            assert cell.metadata.slideshow.get("shows") == "output", f"{cell.id}: show the choices, not the call"
            asked += 1
        if "lab.reveal(" in cell.source:
            assert asked, f"{cell.id} answers what no slide has asked"
            assert cell.metadata.slideshow.slide_type != "-", f"{cell.id} gives it away on the slide of the question"


def one(cell: Any, **about: str) -> Any:
    cell.metadata.slideshow = about
    return cell


def test_text_stands_for_prose_which_the_speaker_keeps() -> None:
    output = new_output("stream", text="1\n")
    yours = new_output("display_data", data={"text/plain": "ours: `my_groups` is not finished yet"})
    talk = slides.talk_of(new_notebook(cells=[
        new_markdown_cell("nobody sees me"),
        one(new_markdown_cell("# A long\n\nstory"), slide_type="slide", text="# Short"),
        one(new_code_cell("#| export\nprint(1)\nlab.reveal(1)", outputs=[output, yours]), slide_type="-"),
        one(new_code_cell("print(1)", outputs=[output]), slide_type="subslide", text="## So", shows="output"),
        one(new_code_cell("print(1)", outputs=[output]), slide_type="fragment", shows="code")]))
    assert [(cell.source, cell.metadata.slideshow.slide_type) for cell in talk.cells] == [
        ("# Short", "slide"), ("# A long\n\nstory", "notes"), ("print(1)", "-"), ("## So", "subslide"),
        ("print(1)", "-"), ("print(1)", "fragment")]
    assert [len(cell.outputs) for cell in talk.cells if cell.cell_type == "code"] == [1, 1, 0]
    assert talk.cells[4].metadata.transient.remove_source


@pytest.mark.parametrize("about", [{"slide_type": "page"}, {"slide_type": "slide", "shows": "nothing"},
                                   {"slide_type": "-", "shows": "output"}])
def test_a_tag_that_nobody_understands_is_an_error(about: dict[str, str]) -> None:
    with pytest.raises(Problem, match="is not what"):
        slides.talk_of(new_notebook(cells=[one(new_markdown_cell("x"), **about)]))


def test_without_npm_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Problem, match="Node.js"):
        slides.reveal_js(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", TALKS, ids=lambda path: path.stem)
def test_every_slide_fits_and_nothing_is_fetched(path: Path, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test does it")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    if not (ROOT / ".slides").exists():
        pytest.skip("reveal.js is not here: make slides fetches it")
    page_file = tmp_path / "talk.html"
    notebook = nbformat.read(path, as_version=4)
    page_file.write_text(slides.written(notebook, path.stem, slides.reveal_js()), encoding="utf-8")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 740}, offline=True)
            page = context.new_page()
            wrong: list[str] = []
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda request: re.match("file:|data:", request.url) or wrong.append(request.url))
            page.goto(page_file.as_uri())
            page.wait_for_function("window.Reveal && Reveal.isReady()")
            seen = page.evaluate("""() => Reveal.getSlides().map((slide) => {
                const {h, v} = Reveal.getIndices(slide);
                Reveal.slide(h, v);
                return [slide.innerText.slice(0, 40), Number(slide.dataset.scale)];
            })""")
            assert wrong == [] and len(seen) >= 12
            assert [what for what in seen if not what[1] >= SMALLEST] == [], "too much for a slide"
        finally:
            browser.close()

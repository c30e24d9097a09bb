"""Cells that a browser cannot run: the list names cells that there are, and they show what was stored."""
from __future__ import annotations

import importlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from export import ROOT

from smtp_from_scratch.lab import elsewhere

LIST = tomllib.loads((ROOT / "tools" / "website" / "elsewhere.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("chapter", LIST)
def test_the_list_names_cells_that_there_are(chapter: str) -> None:
    [path] = (ROOT / "notebooks").glob(f"*/{chapter}.ipynb") if not chapter[0].isdigit() else (
        (ROOT / "notebooks").glob(f"{chapter}.ipynb"))
    code = {cell["id"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"}
    for reason, cells in LIST[chapter].items():
        assert reason in elsewhere.REASONS, f"{reason}: say it in a sentence, in lab/elsewhere.py"
        assert set(cells) <= code, f"{chapter} has no {sorted(set(cells) - code)}"


def test_every_reason_is_used_and_is_one_line() -> None:
    used = {reason for cells in LIST.values() for reason in cells}
    assert used == set(elsewhere.REASONS)
    assert all(text.endswith(".") and "\n" not in text for text in elsewhere.REASONS.values())


def test_chapters_in_the_browser_say_that_their_tls_is_a_stand_in(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "website"))
    lite: Any = importlib.import_module("lite")
    lite.contents(tmp_path)
    told = {path.stem for path in tmp_path.glob("*.ipynb")
            if lite.STAND_IN in json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]}
    assert told == {"14_starttls", "15_auth", "16_scram", "18_submission", "22_relay", "23_pop3",
                    "27_small_internet"}
    assert not any("stand-in does" in path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_it_shows_what_was_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.publish_display_data", published.append)
    outputs = [{"output_type": "stream", "name": "stdout", "text": ["250 OK\n", "354 go on\n"]},
               {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []},
               {"output_type": "display_data", "data": {"text/html": ["<p>", "</p>"]}, "metadata": {}}]
    store = tmp_path / "elsewhere.json"
    store.write_text(json.dumps({"08_maildir/half": outputs}))
    elsewhere.elsewhere("processes 08_maildir/half", "the cell", store)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(elsewhere.REASONS["processes"])
    assert rest == ["250 OK", "354 go on", "ValueError: no"] and published == [{"text/html": "<p></p>"}]

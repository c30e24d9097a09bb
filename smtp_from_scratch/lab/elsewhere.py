"""In the browser: what a cell showed elsewhere, when it needs what a browser does not have.

The site's copy of a chapter begins such a cell with `%%elsewhere REASON CHAPTER/CELL`. The cell is not run; its stored
outputs are shown, under a line that says why.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STORE = Path("/drive/data/elsewhere.json")     # beside the chapters, by the name of chapter and cell
REASONS = {
    "processes": "This cell starts other programs, and a browser has none.",
    "peers": "This cell is about other people's servers, which are not part of the site.",
    "matplotlib": "This cell draws with matplotlib, which is not part of the site.",
    "kernel": "This cell is about your own machine.",
}


def elsewhere(line: str, cell: str = "", store: Path = STORE) -> None:
    """Show what the cell showed on a machine with everything, and say why it is not run here."""
    from IPython.display import publish_display_data

    reason, _, name = line.partition(" ")
    print(f"{REASONS[reason]} With `make lab` it runs, and shows this:")
    outputs: list[dict[str, Any]] = json.loads(store.read_text(encoding="utf-8")).get(name.strip(), [])
    for output in outputs:
        if output["output_type"] == "stream":
            print(text_of(output["text"]), end="")
        elif output["output_type"] == "error":
            print(f"{output['ename']}: {output['evalue']}")
        else:
            data = {kind: text_of(value) for kind, value in output["data"].items()}
            publish_display_data(data)


def text_of(value: Any) -> Any:
    """Notebooks store text as a list of lines."""
    return "".join(value) if isinstance(value, list) else value


def register() -> None:
    """Let cells of this kernel say `%%elsewhere`."""
    from IPython import get_ipython

    if shell := get_ipython():
        shell.register_magic_function(elsewhere, "cell", "elsewhere")

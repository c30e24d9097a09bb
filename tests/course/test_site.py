"""The built site as a learner meets it: JupyterLite in a browser, with no network, and every chapter run in it.

`make test-all` builds the site first; SITE=folder takes one that is there. A cell counts as run when it raises nothing
that its stored run did not raise; what nbval would compare is compared.
"""
from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from export import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
CHAPTERS = sorted(path.relative_to(ROOT / "notebooks").as_posix() for folder in ("notebooks", "notebooks/extra")
                  for path in (ROOT / folder).glob("*.ipynb"))
ELSEWHERE = tomllib.loads((ROOT / "tools" / "website" / "elsewhere.toml").read_text(encoding="utf-8"))
OPENED = 20.0                                  # seconds from opening to the first cell, on two idle cores
ENOUGH = 0.95                                  # of all code cells run in the browser
BEGIN = """async path => {
    const manager = window.jupyterapp.serviceManager
    while (!manager.kernelspecs.specs?.kernelspecs?.python) {
        await new Promise(resolve => setTimeout(resolve, 100))
        await manager.kernelspecs.refreshSpecs()
    }
    window.session = await manager.sessions.startNew({name: path, path, type: 'notebook', kernel: {name: 'python'}})
}"""
RUN = """async ([code, patience]) => {
    const outputs = [], future = window.session.kernel.requestExecute({code, stop_on_error: false})
    future.onIOPub = message => {
        if (['stream', 'display_data', 'execute_result', 'error'].includes(message.header.msg_type))
            outputs.push({output_type: message.header.msg_type, ...message.content})
    }
    const over = new Promise(resolve => setTimeout(() => resolve(null), patience))
    return (await Promise.race([future.done, over])) ? outputs : null
}"""
END = "async () => { await window.session.shutdown() }"


@dataclass
class Course:
    """The site, served and open in a browser; what was asked of other machines; what each cell became."""

    address: str
    page: Any
    foreign: list[str] = field(default_factory=list)
    became: dict[str, dict[str, str]] = field(default_factory=dict)


class Handler(http.server.SimpleHTTPRequestHandler):
    """A static host, as dumb as any."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm",
                      ".mjs": "text/javascript"}

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    if given := os.environ.get("SITE"):
        return Path(given)
    if importlib.util.find_spec("jupyterlite_core") is None or shutil.which("npm") is None:
        pytest.skip("what builds the site is not installed: npm, and `python tools/setup_venv.py site`")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "tools/website", "lite", f"--to={folder}"], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="session")
def course(site: Path) -> Iterator[Course]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test does it")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=program, args=FLAGS)
        found = Course(f"http://127.0.0.1:{server.server_address[1]}", browser.new_page())
        found.page.set_default_timeout(600_000)

        def only_ours(route: Any) -> None:     # there is no network: whoever asks for it is noted, and refused
            if route.request.url.startswith((found.address, "blob:", "data:")):
                return route.continue_()
            found.foreign.append(route.request.url)
            route.abort()

        found.page.context.route("**/*", only_ours)
        yield found
        browser.close()
    server.shutdown()


def test_the_first_cell_runs_soon_after_opening(course: Course) -> None:
    page, begun = course.page, time.monotonic()
    page.goto(f"{course.address}/lite/lab/index.html?path=00_start_here.ipynb")
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.content?.widgets?.length > 5")
    page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.context.sessionContext.ready }")
    page.evaluate("async () => { const book = window.jupyterapp.shell.currentWidget.content\n"
                  "book.activeCellIndex = book.widgets.findIndex(cell => cell.model.type === 'code')\n"
                  "await window.jupyterapp.commands.execute('notebook:run-cell') }")
    page.wait_for_function("window.jupyterapp.shell.currentWidget.content.activeCell.model.executionCount > 0")
    seconds = time.monotonic() - begun
    print(f"first cell after {seconds:.1f} s")
    assert seconds < 10 * OPENED, "on a machine ten times as slow as an idle one"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_in_the_browser(course: Course, chapter: str) -> None:
    """Every cell but those of elsewhere.toml, and none of these."""
    page = course.page
    if not page.url.startswith(course.address):
        page.goto(f"{course.address}/lite/lab/index.html")
        page.wait_for_function("window.jupyterapp?.serviceManager")
    page.evaluate(BEGIN, chapter)
    prepared = "import os; os.environ['SMTP_FROM_SCRATCH_PROGRESS'] = 'off'; import smtp_from_scratch.lab"
    page.evaluate(RUN, [prepared, 60_000])     # progress is not kept, as when outputs were stored
    table = ELSEWHERE.get(Path(chapter).stem, {})
    reasons = {cell: reason for reason, cells in table.items() for cell in cells}
    notebook = json.loads((ROOT / "notebooks" / chapter).read_text(encoding="utf-8"))
    became = course.became.setdefault(chapter, {})
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip():
            became[cell["id"]] = run(page, cell, reasons.get(cell["id"], ""), Path(chapter).stem)
    page.evaluate(END)
    counts = {word: sum(value.startswith(word) for value in became.values()) for word in ("ran", "elsewhere")}
    print(f"{chapter}: {counts} of {len(became)}")
    wrong = {name: value for name, value in became.items() if value not in ("ran", "elsewhere")}
    assert not wrong, f"{chapter} in the browser: {json.dumps(wrong, indent=1)}"


def test_nearly_all_of_the_course_runs_in_the_browser(course: Course) -> None:
    if set(course.became) != set(CHAPTERS):
        pytest.skip("counts when every chapter was run by this process")
    values = [value for cells in course.became.values() for value in cells.values()]
    share = values.count("ran") / len(values)
    print(f"{values.count('ran')} of {len(values)} code cells run in the browser: {share:.1%}")
    assert share >= ENOUGH


def test_nothing_is_fetched_from_elsewhere(course: Course) -> None:
    assert course.foreign == []


# --- one cell --------------------------------------------------------------------------------------------------------


def run(page: Any, cell: dict[str, Any], reason: str, chapter: str) -> str:
    """What becomes of a cell: "ran", "elsewhere", or what is wrong."""
    source, tags, stored = "".join(cell["source"]), cell["metadata"].get("tags", []), shown(cell["outputs"])
    outputs = page.evaluate(RUN, [source, 120_000])
    if outputs is None:
        pytest.fail(f"{chapter}: {cell['id']} does not end")
    wrong = compared(shown(outputs), stored, tags)
    if not reason:
        return wrong or "ran"
    if not wrong:
        return "runs in the browser: take it out of elsewhere.toml"
    again = page.evaluate(RUN, [f"%%elsewhere {reason} {chapter}/{cell['id']}\n{source}", 120_000])
    first, rest = shown(again)[0], shown(again)
    rest[0] = (first[0], first[1].partition("\n")[2])
    told = [(kind, value) for kind, value in rest if value]
    expected = [("stdout" if kind == "error" else kind, value) for kind, value in stored if value]
    alike = sorted(merged(told)) == sorted(merged(expected))
    return "elsewhere" if alike else f"shows something else than was stored: {told}"


def compared(got: list[tuple[str, str]], stored: list[tuple[str, str]], tags: list[str]) -> str:
    """What is wrong with these outputs; empty: nothing."""
    for kind, value in got:
        if kind == "error" and "raises-exception" not in tags:
            return f"raised {value}"
        if kind == "stderr":
            return f"wrote to stderr: {value}"
    if "nbval-ignore-output" in tags or merged(got) == merged(stored):
        return ""
    pairs = [(ours, theirs) for ours, theirs in zip(merged(got), merged(stored), strict=False) if ours != theirs]
    return f"shows {pairs[0][0]} where {pairs[0][1]} was stored" if pairs else f"shows {len(got)}, not {len(stored)}"


def shown(outputs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Outputs as nbval compares them: by kind and text, pictures and widgets left out."""
    found: list[tuple[str, str]] = []
    for output in outputs:
        if output["output_type"] == "stream":
            found.append((output["name"], text(output["text"])))
        elif output["output_type"] == "error":
            name = re.sub(r".*?(\w+)'>$", r"\1", output["ename"])
            found.append(("error", f"{name}: {output['evalue']}"))
        else:
            found += [(kind, text(value)) for kind, value in sorted(output["data"].items())
                      if not kind.startswith("image/png") and not kind.endswith("widget-view+json")]
    return merged(found)


def merged(outputs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What was printed in pieces, in one, as `make refresh` stores it; without what Python 3.14 says otherwise."""
    printed = {name: "".join(value for kind, value in outputs if kind == name) for name in ("stdout", "stderr")}
    found = list(dict.fromkeys((kind, printed.get(kind, value)) for kind, value in outputs))
    return [(kind, alike(value)) for kind, value in found]


def alike(value: str) -> str:
    """Addresses of memory left out, and in one spelling what smtplib says in another since 3.14."""
    value = re.sub(r"0x[0-9a-f]+", "0x", value).strip()
    return re.sub(r"\b(mail from|rcpt to):", lambda found: found[0].lower(), value, flags=re.IGNORECASE)


def text(value: Any) -> str:
    """Notebooks store text as a list of lines."""
    return "".join(value) if isinstance(value, list) else str(value)

"""Chapter 00 as a learner meets it: JupyterLab in a browser, all cells run, the player stepped through."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from export import ROOT

FIRST = ROOT / "notebooks" / "00_start_here.ipynb"
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # render every cell, not only the visible ones
}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium: apt-get install chromium")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves a copy of the notebooks, with settings of its own."""
    for name, value in SETTINGS.items():
        package, plugin = name.split(":")
        path = tmp_path / "settings" / package / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    work = tmp_path / "notebooks"
    shutil.copytree(FIRST.parent, work, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    environment = dict(os.environ, JUPYTER_CONFIG_DIR=str(tmp_path / "config"),
                       JUPYTERLAB_SETTINGS_DIR=str(tmp_path / "settings"),
                       JUPYTERLAB_WORKSPACES_DIR=str(tmp_path / "workspaces"))
    log = tmp_path / "lab.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--LabApp.expose_app_in_browser=True",
             "--ServerApp.ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={work}"],
            stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/api/status", timeout=1)
                break
            time.sleep(0.2)
        else:
            pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.terminate()
        process.wait(20)


@pytest.fixture
def page(lab: str) -> Iterator[Any]:
    """Chapter 00, open in a browser with an idle kernel."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test does it")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.goto(f"{lab}/lab/tree/{FIRST.name}?reset")
            page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
            page.wait_for_selector("#jp-main-statusbar >> text=| Idle", timeout=60_000)
            yield page
        finally:
            browser.close()


@pytest.mark.slow
@pytest.mark.skipif(not FIRST.exists(), reason="chapter 00 is not there yet")
@pytest.mark.skipif(sys.platform == "win32", reason="starts JupyterLab the Unix way")
def test_chapter_00_runs_and_its_player_steps(page: Any) -> None:
    page.set_default_timeout(90_000)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    for kind in ("error", "stderr"):
        assert page.locator(f"[data-mime-type='application/vnd.jupyter.{kind}']").count() == 0, f"output of kind {kind}"

    following = page.get_by_role("button", name="Next").first
    player = page.locator(".jp-OutputArea-child", has=following).first
    seen = [player.inner_text()]
    for _ in range(3):
        following.click()
        page.wait_for_function("([box, before]) => box.innerText !== before", arg=[player.element_handle(), seen[-1]])
        seen.append(player.inner_text())
    page.get_by_role("button", name="Back").first.click()
    page.wait_for_function("([box, before]) => box.innerText !== before", arg=[player.element_handle(), seen[-1]])
    assert player.inner_text() == seen[-2], "Back shows what was there one step before"

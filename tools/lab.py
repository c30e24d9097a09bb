#!/usr/bin/env python3
"""Open the first chapter in JupyterLab, with news pop-ups and update checks off.

    python tools/lab.py              open notebooks/00_start_here.ipynb
    python tools/lab.py --prepare    only write the settings

All settings go into the environment of the Python that runs this (.venv), none into your own configuration.
Without a display it prints the address instead of opening a browser.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST = ROOT / "notebooks" / "00_start_here.ipynb"
SIGNATURES = Path(sys.prefix, "share", "jupyter", "signatures")
OVERRIDES = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def prepare() -> None:
    """Write the overrides of JupyterLab's default settings into this environment."""
    path = Path(sys.prefix, "share", "jupyter", "lab", "settings", "overrides.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(settings | OVERRIDES, indent=2) + "\n", encoding="utf-8")


def trust() -> None:
    """Sign the notebooks as they are: JupyterLab shows the stored SVG only of notebooks that it trusts."""
    import nbformat
    from nbformat.sign import NotebookNotary

    SIGNATURES.mkdir(parents=True, exist_ok=True)
    notary = NotebookNotary(data_dir=str(SIGNATURES))
    for path in sorted(FIRST.parent.rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            notary.sign(nbformat.read(path, as_version=4))


def has_display() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(arguments: list[str]) -> list[str]:
    line = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}",
            f"--NotebookNotary.data_dir={SIGNATURES}",
            f"--LabApp.default_url=/lab/tree/{FIRST.relative_to(ROOT).as_posix()}"]
    if not has_display():
        line.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        line.append("--allow-root")
    return line + arguments


def main(arguments: list[str]) -> int:
    prepare()
    if "--prepare" in arguments:
        return 0
    if not FIRST.exists():
        print(f"lab: {FIRST.relative_to(ROOT)} is missing; is this a complete copy of the course?", file=sys.stderr)
        return 1
    trust()
    # Cells say `!python ../tools/export.py`: let "python" be this one.
    environment = dict(os.environ, PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    print("lab: starting JupyterLab; " + ("your browser opens by itself" if has_display() else
          "there is no display here, so open the address it prints below") + ". Ctrl-C twice ends it.", flush=True)
    try:
        return subprocess.call(command(arguments), env=environment)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

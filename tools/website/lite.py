"""JupyterLite: the chapters in a Lab that needs no server, with the package and all that they import."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pyodide

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
FOLDERS = ("", "extra", "solutions")           # of notebooks
STAND_IN = ("*Python has no TLS in a browser. A stand-in does here what TLS does, and protects nothing; with `make "
            "lab` the real one runs.*")
LAB = {"cell_type": "code", "id": "lab", "metadata": {}, "source": "from smtp_from_scratch import lab", "outputs": [],
       "execution_count": None}
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


def package_wheel(to: Path) -> Path:
    """The package's own wheel."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(to), str(ROOT)],
                   check=True)
    return max(to.glob("smtp_from_scratch-*.whl"), key=lambda path: path.stat().st_mtime)


def contents(to: Path) -> None:
    """The notebooks and what lies beside them, as they are in a copy for learners."""
    for folder in ("data", "images"):
        shutil.copytree(ROOT / "notebooks" / folder, to / folder)
    table, stored = tomllib.loads((HERE / "elsewhere.toml").read_text(encoding="utf-8")), dict[str, Any]()
    for folder in FOLDERS:
        (to / folder).mkdir(parents=True, exist_ok=True)
        for path in sorted((ROOT / "notebooks" / folder).glob("*.ipynb")):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            reasons = {} if folder == "solutions" else reasons_of(table, path.stem)
            code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
            if reasons and not any(re.search(r"\bimport\b.*\blab\b", source) for source in code):
                notebook["cells"].insert(1, LAB)       # which brings %%elsewhere
            for cell in notebook["cells"]:
                if reason := reasons.pop(cell["id"], ""):
                    name = f"{path.stem}/{cell['id']}"
                    stored[name] = cell["outputs"]
                    cell["source"] = f"%%elsewhere {reason} {name}\n" + "".join(cell["source"])
            assert not reasons, f"elsewhere.toml: {path.stem} has no cell {', '.join(reasons)}"
            if any(map(has_tls, code)):
                notebook["cells"][0]["source"] = "".join(notebook["cells"][0]["source"]) + f"\n\n{STAND_IN}"
            (to / folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    (to / "data" / "elsewhere.json").write_text(json.dumps(stored), encoding="utf-8")


def has_tls(source: str) -> bool:
    """Whether a cell uses TLS."""
    return re.search(r"\b(ssl|certificates)\b", source) is not None


def reasons_of(table: dict[str, dict[str, list[str]]], chapter: str) -> dict[str, str]:
    """The cells of a chapter that a browser cannot run, each with the reason."""
    return {cell: reason for reason, cells in table.get(chapter, {}).items() for cell in cells}


def build(cache: Path, to: Path) -> None:
    """JupyterLite into `to`."""
    work = cache / "lite"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    contents(work / "contents")
    packages = pyodide.assemble(cache, work / "static" / "pyodide", package_wheel(cache / "own"))
    (work / "overrides.json").write_text(json.dumps(SETTINGS))
    (work / "jupyter-lite.json").write_text(json.dumps({"jupyter-lite-schema-version": 0, "jupyter-config-data": {
        "appName": "SMTP from Scratch", "exposeAppInBrowser": True,
        "litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": {
            "disablePyPIFallback": True, "loadPyodideOptions": {"packages": packages}}}}}))
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "jupyterlite_core", "build", "--lite-dir", str(work),
                    "--contents", str(work / "contents"), "--output-dir", str(to), "--apps", "lab",
                    "--no-sourcemaps", "--settings-overrides", str(work / "overrides.json")],
                   check=True, cwd=work, env=dict(os.environ, SOURCE_DATE_EPOCH="315619200"))

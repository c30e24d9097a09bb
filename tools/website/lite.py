"""JupyterLite: the chapters in a Lab that needs no server, with the package and all that they import."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyodide

ROOT = Path(__file__).parents[2]
FOLDERS = ("", "extra", "solutions")           # of notebooks
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
    for folder in FOLDERS:
        source, target = ROOT / "notebooks" / folder, to / folder
        target.mkdir(parents=True, exist_ok=True)
        for path in source.glob("*.ipynb"):
            shutil.copy(path, target)
    for folder in ("data", "images"):
        shutil.copytree(ROOT / "notebooks" / folder, to / folder)


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

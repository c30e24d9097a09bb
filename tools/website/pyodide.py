"""Python for the browser: Pyodide from the npm registry, and a lock of the wheels that lie beside it, and no others."""
from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import fetch

HERE = Path(__file__).parent
VERSION = "314.0.6"                            # the one that jupyterlite-pyodide-kernel is built for
PARTS = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
PYTHON = "3.14"
# import names that differ from the name of the wheel
IMPORTS = {"attrs": ["attr", "attrs"], "atpublic": ["public"], "ipython": ["IPython"], "pyodide-kernel": [],
           "prompt-toolkit": ["prompt_toolkit"], "smtp-from-scratch": ["smtp_from_scratch"], "ipykernel": []}
# what no page imports, and every page would unpack: tests, types of other libraries, lexers of other languages
UNUSED = re.compile(r".*/tests/|jedi/third_party/(django-stubs|typeshed/(third_party|stdlib/2/))"
                    r"|pygments/lexers/(?!__init__|_mapping|python)")


def wheels(cache: Path) -> list[Path]:
    """The wheels of wheels.txt; fetched once."""
    wanted = (HERE / "wheels.txt").read_text()
    folder = cache / f"wheels-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    if not folder.exists():
        fresh = folder.with_suffix(".new")
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                        "--python-version", PYTHON, "--platform", "any", "--dest", str(fresh),
                        "-r", str(HERE / "wheels.txt")], check=True)
        fresh.rename(folder)
    return sorted(folder.glob("*.whl"))


def kernel_wheels() -> list[Path]:
    """The wheels that the kernel brings."""
    found = Path(sys.prefix, "share/jupyter/labextensions/@jupyterlite/pyodide-kernel-extension/static/pypi")
    newest = {path.name.partition("-")[0]: path for path in sorted(found.glob("*.whl"))}
    return list(newest.values())


def entry(wheel: Path) -> dict[str, Any]:
    """A wheel, as Pyodide's lock has it."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        header = HeaderParser().parsestr(archive.read(metadata).decode())
    name = header["Name"].lower().replace("_", "-").replace(".", "-")
    return {"name": name, "version": header["Version"], "file_name": wheel.name, "install_dir": "site",
            "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(), "package_type": "package",
            "imports": IMPORTS.get(name, [name.replace("-", "_")]), "depends": [], "unvendored_tests": False}


def trim(wheel: Path, to: Path) -> None:
    """Copy a wheel without what is not used."""
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(to / wheel.name, "w", zipfile.ZIP_DEFLATED) as copy:
        for item in archive.infolist():
            if not UNUSED.match(item.filename):
                copy.writestr(item, archive.read(item), zipfile.ZIP_DEFLATED)


def write_lock(to: Path, lock: dict[str, Any]) -> list[str]:
    """Pyodide's lock for the wheels of a folder; returns the names of the packages."""
    found = map(entry, sorted(to.glob("*.whl")))
    lock["packages"] = {package["name"]: package for package in found}
    (to / "pyodide-lock.json").write_text(json.dumps(lock, indent=1, sort_keys=True))
    return sorted(lock["packages"])


def assemble(cache: Path, to: Path, own: Path) -> list[str]:
    """Pyodide, wheels and lock in one folder; returns the names of the packages. `own` is the package's wheel."""
    source = fetch.npm(cache, "pyodide", VERSION)
    to.mkdir(parents=True)
    for part in PARTS:
        shutil.copy(source / part, to)
    lock = json.loads((source / "pyodide-lock.json").read_text())
    for wheel in [*wheels(cache), *kernel_wheels(), own]:
        trim(wheel, to)
    write_lock(to, lock)
    subprocess.run(["node", str(HERE / "bytecode.mjs"), str(to)], check=True)
    return write_lock(to, lock)                # the wheels have other octets now

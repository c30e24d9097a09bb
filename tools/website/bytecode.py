"""In Pyodide: bytecode beside the source of what a chapter imports, so that a browser need not compile when it starts.

The source stays, since exercises show and examine it. Nobody compares the two ("unchecked"): they come in one archive.
"""
import importlib._bootstrap_external as importing
import importlib.util
import sys
import zipfile
from pathlib import Path

import ipywidgets  # noqa: F401
import piplite.piplite  # noqa: F401
import pyodide_kernel  # noqa: F401

from smtp_from_scratch import Client, Server, lab  # noqa: F401

LIBRARY, PACKAGES = "/lib/python314.zip", "/lib/python3.14/site-packages"
USED = {getattr(module, "__file__", None) for module in list(sys.modules.values())}


def bytecode(source: bytes, place: str) -> bytes:
    """What Python reads in place of a file of source."""
    code = compile(source, place, "exec", dont_inherit=True)
    return bytes(importing._code_to_hash_pyc(code, importlib.util.source_hash(source), False))


def add(archive: Path, folder: str) -> None:
    """Put bytecode into an archive; from inside a zip it is imported if it lies beside the source."""
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        for name in file.namelist():
            place = f"{folder}/{name}"
            if name.endswith(".py") and (place in USED or name.startswith("smtp_from_scratch/")):
                found = place + "c" if folder == LIBRARY else importlib.util.cache_from_source(place)
                entry = zipfile.ZipInfo(found.removeprefix(f"{folder}/"))
                file.writestr(entry, bytecode(file.read(name), place), zipfile.ZIP_DEFLATED)


add(Path("/archives/python_stdlib.zip"), LIBRARY)
for wheel in Path("/archives").glob("*.whl"):
    add(wheel, PACKAGES)

"""Packages from the npm registry, unpacked; each is fetched once."""
from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path


def npm(cache: Path, name: str, version: str) -> Path:
    """The folder of a package."""
    folder = cache / f"{name}-{version}"
    if not folder.exists():
        program = shutil.which("npm")
        if program is None:
            raise SystemExit(f"make site needs npm: {name} comes from its registry")
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([program, "pack", "--silent", f"{name}@{version}"], cwd=cache, check=True,
                       stdout=subprocess.DEVNULL)
        with tarfile.open(cache / f"{name}-{version}.tgz") as archive:
            archive.extractall(cache / f"{name}-unpacked", filter="data")
        (cache / f"{name}-unpacked" / "package").rename(folder)
    return folder

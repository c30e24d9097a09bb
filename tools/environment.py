#!/usr/bin/env python3
"""Write environment.yml, which is for conda, and its copy for Binder, from the course extra and constraints.txt.

    python tools/environment.py            write both
    python tools/environment.py --check    write nothing; exit 1 if one of them would change
"""
from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from export import ROOT, replace

TEXT = """\
# The course as a conda environment:
#     conda env create -f environment.yml && conda activate smtp-from-scratch
#     pip install --no-deps -e . && python tools/lab.py
# Written by `make constraints`, together with binder/environment.yml: Binder reads only that one. A path such as "-e ."
# cannot be here, since Binder builds the environment before it has the files. Versions are those of constraints.txt.
name: smtp-from-scratch
channels:
  - conda-forge
dependencies:
  - python=3.12
  - pip
  - pip:
"""


def environment(root: Path = ROOT) -> str:
    """The text of environment.yml: what the course needs, each in the version that constraints.txt has for it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[\[<>=!~; ]", need)[0] for need in project["optional-dependencies"]["course"]]
    pins = dict(line.split("==") for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
                if re.fullmatch(r"[\w.-]+==[\w.]+", line))
    if missing := [name for name in names if name not in pins]:
        raise SystemExit(f"environment: constraints.txt has no single version of {', '.join(missing)}")
    return TEXT + "".join(f"      - {name}=={pins[name]}\n" for name in names)


def main(arguments: list[str], root: Path = ROOT) -> int:
    check, text = "--check" in arguments, environment(root)
    differed = [name for name in ("environment.yml", "binder/environment.yml")
                if replace(root / name, text, write=not check)]
    print(f"environment: {', '.join(differed) or 'nothing changed'}")
    return 1 if check and differed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

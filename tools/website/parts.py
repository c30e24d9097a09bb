"""The parts of the site, one after another."""
from __future__ import annotations

import time
from pathlib import Path

import lite
import pages

ROOT = Path(__file__).parents[2]
CACHE, SITE = ROOT / "build" / "site", ROOT / "site"


def main(arguments: list[str]) -> None:
    """Build all, or the parts that are named: `lite`, `pages`; into site/, or `--to=FOLDER`."""
    begun, site = time.monotonic(), SITE
    for argument in arguments:
        if argument.startswith("--to="):
            site = Path(argument.removeprefix("--to=")).resolve()
    wanted = [argument for argument in arguments if not argument.startswith("--")] or ["lite", "pages"]
    if "lite" in wanted:
        lite.build(CACHE, site / "lite")
    if "pages" in wanted:
        pages.build(CACHE, site)
    print(f"site: built in {time.monotonic() - begun:.0f} s: {site}")

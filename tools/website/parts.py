"""The parts of the site, one after another."""
from __future__ import annotations

import time
from pathlib import Path

import lite
import pages

ROOT = Path(__file__).parents[2]
CACHE, SITE = ROOT / "build" / "site", ROOT / "site"


def main(arguments: list[str]) -> None:
    """Build all, or the parts that are named: `lite`, `pages`."""
    begun = time.monotonic()
    if "lite" in (arguments or ["lite"]):
        lite.build(CACHE, SITE / "lite")
    if "pages" in (arguments or ["pages"]):
        pages.build(CACHE, SITE)
    print(f"site: built in {time.monotonic() - begun:.0f} s: {SITE}")

"""The parts of the site, one after another."""
from __future__ import annotations

import time
from pathlib import Path

import lite

ROOT = Path(__file__).parents[2]
CACHE, SITE = ROOT / "build" / "site", ROOT / "site"


def main(arguments: list[str]) -> None:
    """Build all, or the parts that are named."""
    begun = time.monotonic()
    lite.build(CACHE, SITE / "lite")
    print(f"site: built in {time.monotonic() - begun:.0f} s: {SITE}")

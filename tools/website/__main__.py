"""Build the static site: `python tools/website`, or `make site`. The result is site/, for any static host."""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import parts

parts.main(sys.argv[1:])

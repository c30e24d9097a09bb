"""What every test may use: tools and tests.peers on the import path, peers on PATH, patience on a loaded machine."""
from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT)]

# tools/peers.sh unpacks software that must not be installed as a service; a test asks shutil.which() for it.
peers = Path(os.environ.get("PEERS", ROOT / ".peers")) / "bin"
if peers.is_dir():
    os.environ["PATH"] = os.pathsep.join([str(peers), os.environ.get("PATH", "")])

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

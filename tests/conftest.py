"""What every test may use: peers on PATH, patience on a loaded machine."""
from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import pytest
from hypothesis import settings
from jupyter_client.connect import LocalPortCache

from smtp_from_scratch.smtp import server as front_door

ROOT = Path(__file__).resolve().parent.parent
# tools/peers.sh unpacks software that must not be installed as a service; a test asks shutil.which() for it.
peers = Path(os.environ.get("PEERS", ROOT / ".peers")) / "bin"
if peers.is_dir():
    os.environ["PATH"] = os.pathsep.join([str(peers), os.environ.get("PATH", "")])

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes, or software that few have, is for `make test-all`; and names are alike in all processes."""
    for item in items:
        if " at 0x" in item.nodeid:             # or pytest-xdist finds that its workers have different tests
            raise pytest.UsageError(f"give its parameters ids that do not name an address in memory: {item.nodeid}")
        if item.get_closest_marker("long") and not os.environ.get("EVERYTHING"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: make test-all runs it"))


@pytest.fixture(params=["threads", "loop"])
def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A test that uses this is played twice: what `Server` does in threads it does on the loop, too."""
    monkeypatch.setitem(front_door.STAGES, "threads", front_door.STAGES[request.param])
    return str(request.param)


def port_for_a_kernel(cache: LocalPortCache, ip: str) -> int:
    """A port for a Jupyter kernel that no server of a test can be given in the moment before the kernel takes it.

    Servers ask for port 0, and get one from 32768 up; kernels get lower ones, each test process from its own range.
    """
    worker = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", ""))) or 0)
    first = 20_000 + worker % 10 * 1_200
    while True:
        port = random.randrange(first, first + 1_200)
        with socket.socket() as probe:
            try:
                probe.bind((ip, port))
            except OSError:
                continue
            if port not in cache.currently_used_ports:
                cache.currently_used_ports.add(port)
                return port


LocalPortCache.find_available_port = port_for_a_kernel  # type: ignore[method-assign]

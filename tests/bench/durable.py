"""Servers whose 250 means that a disk has the letter: ours with a Maildir; Postfix, which takes it into its queue."""
from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator

from tests.bench.servers import STAGES, Served, children, python_server
from tests.peers.servers import Postfix
from tests.peers.stage import Stage

READER = "kenji@peer.example"
KEEPING = """
import sys
from smtp_from_scratch import Server
from smtp_from_scratch.maildir import Maildir
with Server(deliver=Maildir(sys.argv[2], "mx.peer.example"), stage=sys.argv[1]) as server:
    print(server.address[1], flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def durable_servers() -> Iterator[dict[str, Served]]:
    """By name; no Postfix where none can be started."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in STAGES:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            found[name] = stack.enter_context(python_server(name, [sys.executable, "-c", KEEPING, name, folder]))
        if not Postfix().missing():
            before = children(os.getpid())
            stage = stack.enter_context(Stage.set_up())
            stack.enter_context(Postfix().started(stage))
            [master] = children(os.getpid()) - before
            found["Postfix"] = Served("Postfix", stage.ports["smtp"], master)
            time.sleep(1.0)                     # its first processes
        yield found

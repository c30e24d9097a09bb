"""Servers whose 250 means that a disk has the letter: ours with a Maildir; Postfix, which takes it into its queue."""
from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

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
def durable_servers(stages: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """Their ports by name; no Postfix where none can be started."""
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in stages:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            run = stack.enter_context(subprocess.Popen([sys.executable, "-c", KEEPING, name, folder],
                                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(run.terminate)
            assert run.stdout
            ports[f"durable {name}"] = int(run.stdout.readline())
        if not Postfix().missing():
            stage = stack.enter_context(Stage.set_up())
            stack.enter_context(Postfix().started(stage))
            ports["Postfix"] = stage.ports["smtp"]
            time.sleep(1.0)                     # its first processes
        yield ports

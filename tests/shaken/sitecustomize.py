"""Threads and sockets that stumble: Python imports this at its start, where `make shake` puts it on the path.

Each thread sets off and ends late now and then, and so does each call of a socket and each signal between threads. What
depends on their order then shows it. SHAKE says how often a call stumbles, as a share: 0.1 is one in ten.
"""
from __future__ import annotations

import functools
import os
import random
import socket
import sys
import threading
import time
from typing import Any

LONGEST = 0.03                                  # seconds that a call may stumble
CALLS = {socket.socket: ("accept", "close", "connect", "recv", "recv_into", "send", "sendall", "shutdown"),
         threading.Condition: ("notify",), threading.Event: ("set",), threading.Thread: ("run",)}
share = float(os.environ.get("SHAKE") or 0.0)


def stumble(share: float) -> None:
    """Sleep, or not."""
    if random.random() < share:
        time.sleep(random.random() * LONGEST)


def shaken(method: Any, share: float) -> Any:
    """A method that may begin and return late."""
    @functools.wraps(method)
    def late(self: Any, *things: Any, **named: Any) -> Any:
        stumble(share)
        try:
            return method(self, *things, **named)
        finally:
            stumble(share)

    return late


if share:
    sys.setswitchinterval(1e-5)                 # seconds; Python's own is 5 ms
    for kind, names in CALLS.items():
        for name in names:
            setattr(kind, name, shaken(getattr(kind, name), 0.5 if kind is threading.Thread else share))

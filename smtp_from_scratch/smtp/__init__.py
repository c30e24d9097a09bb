"""The front door: a client and a server, assembled from the chapters, and the full set of extensions by name.

Each is loaded when it is asked for: a program that sends mail needs nothing of what receives it, nor the other way.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtp_from_scratch.smtp.client import Client, deliver
    from smtp_from_scratch.smtp.server import MAX_SIZE, ReceivedMessage, Server
    from smtp_from_scratch.smtp.sets import client_extensions, server_extensions

__all__ = ["MAX_SIZE", "Client", "ReceivedMessage", "Server", "client_extensions", "deliver", "server_extensions"]

_HOME = {"Client": "client", "deliver": "client", "client_extensions": "sets", "server_extensions": "sets",
         "MAX_SIZE": "server", "ReceivedMessage": "server", "Server": "server"}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Two options of TCP for short flights: nothing is kept back, and what came is acknowledged at once."""
from __future__ import annotations

import socket

__all__ = ["acknowledge", "send_at_once"]

QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)   # Linux


def set_option(sock: socket.socket, option: int) -> bool:
    """Whether the socket has it; a Unix socket does not."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, 1)
    except OSError:
        return False
    return True


def send_at_once(sock: socket.socket) -> bool:
    """A short flight does not wait until the one before is acknowledged (Nagle's algorithm)."""
    return set_option(sock, socket.TCP_NODELAY)


def acknowledge(sock: socket.socket) -> bool:
    """The next octets are acknowledged when they come, not after 40 ms.

    A server that has Nagle's algorithm keeps its second reply until then. The system soon forgets: say it each time.
    """
    return QUICKACK is not None and set_option(sock, QUICKACK)

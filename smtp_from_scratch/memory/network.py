"""A loopback in memory: who listens where in this process, and what is under way between two ends."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from typing import Any, Protocol

from smtp_from_scratch.memory.turns import Turns

NAMES = {"localhost": "127.0.0.1", "": "127.0.0.1"}
EVERYWHERE = ("", "0.0.0.0", "::")
# What `socket` lacks where there are no sockets; the numbers are those of Linux.
CONSTANTS = {
    "SO_REUSEADDR": 2, "SO_TYPE": 3, "SO_ERROR": 4, "SO_BROADCAST": 6, "SO_SNDBUF": 7, "SO_RCVBUF": 8,
    "SO_KEEPALIVE": 9, "SO_LINGER": 13, "SO_REUSEPORT": 15, "SO_RCVTIMEO": 20, "SO_SNDTIMEO": 21, "SOL_SOCKET": 1,
    "TCP_NODELAY": 1, "IPPROTO_TCP": 6, "IPPROTO_IPV6": 41, "IPV6_V6ONLY": 26, "MSG_PEEK": 2, "MSG_DONTWAIT": 64,
    "SHUT_RD": 0, "SHUT_WR": 1, "SHUT_RDWR": 2, "AI_PASSIVE": 1, "SOMAXCONN": 4096, "AF_UNIX": 1, "EAI_NONAME": -2,
}


def failure(number: int) -> OSError:
    """The system's own error of this number."""
    return OSError(number, os.strerror(number))


class Pipe:
    """Octets on their way in one direction."""

    def __init__(self, capacity: int, local: bool = False) -> None:
        self.capacity, self.data = capacity, bytearray()
        self.local = local                     # of a pair: the system knows at once that the reader is gone
        self.over = False                      # the writer says no more
        self.reset = False                     # the writer closed, and had not read everything
        self.unheard = False                   # the reader is gone, which the first octets will tell
        self.broken = False                    # the reader is gone, and the writer has been told

    def write(self, data: bytes | memoryview) -> int:
        """Take in as much as there is room for; how much that was."""
        if self.unheard:
            self.broken = True
            return len(data)
        count = min(len(data), max(0, self.capacity - len(self.data)))
        self.data += data[:count]
        return count

    def read(self, size: int, keep: bool = False) -> bytes:
        """What has arrived, at most so much of it; after it, once, that the line was broken."""
        data = bytes(self.data[:size])
        if not keep:
            del self.data[:size]
        if not data and self.reset:
            self.reset, self.over = False, True
            raise failure(errno.ECONNRESET)
        return data

    def writable(self) -> bool:
        """Whether octets would be taken, or refused, at once."""
        return self.unheard or self.broken or self.over or len(self.data) < self.capacity

    def lose_reader(self) -> None:
        """Nobody will read any more."""
        self.unheard = True
        self.broken = self.broken or self.local or bool(self.data)

    def readable(self) -> bool:
        """Whether there is something to read, an end included."""
        return bool(self.data) or self.over or self.reset


class Listening(Protocol):
    """A socket that listens: where, who has called, and the sizes of buffers that callers get."""

    name: tuple[Any, ...]
    calls: Any
    buffers: dict[int, int]


class Network:
    """Who listens where in this process."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.listeners: dict[int, Listening] = {}         # by port
        self.ports = itertools.count(40_000)

    def listen(self, sock: Listening, port: int) -> int:
        """Note a listener; returns its port, of which 0 lets us choose."""
        port = port or next(number for number in self.ports if number not in self.listeners)
        if self.listeners.setdefault(port, sock) is not sock:
            raise failure(errno.EADDRINUSE)
        return port

    def listener(self, host: str, port: int) -> Listening:
        """Who listens there; raises ConnectionRefusedError."""
        found = self.listeners.get(port)
        if found is None or found.calls is None or found.name[0] not in (*EVERYWHERE, host):
            raise failure(errno.ECONNREFUSED)
        return found

    def find_address(self, host: str | None, port: int | str | None, *_: Any, **__: Any) -> list[Any]:
        """`socket.getaddrinfo`: addresses are themselves, `localhost` is known, and nobody else."""
        host = NAMES.get(host or "", host or "")
        if ":" in host:
            return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, int(port or 0), 0, 0))]
        if not host.replace(".", "").isdigit():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, int(port or 0)))]

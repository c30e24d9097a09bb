"""Sockets that have a path in place of a host and a port."""
from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Any

__all__ = ["UnixListener", "address_of", "caller_of", "connect", "path_of"]


def path_of(host: str) -> str:
    """The path in `"unix:/run/lmtp"` or `"/run/lmtp"`; empty for any other host."""
    return host.removeprefix("unix:") if host.startswith(("/", "unix:")) else ""


def connect(path: str, timeout: float | None) -> socket.socket:
    """A connected socket; OSError when nobody listens there, ValueError on a system without such sockets."""
    sock = socket.socket(family(), socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def family() -> int:
    """The address family; ValueError on a system without it."""
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError("this system has no Unix sockets: name a host and a port")
    return int(socket.AF_UNIX)


class UnixListener(socket.socket):
    """A listening socket at a path, which names itself in the form that TCP has.

    A socket that a server has left behind is replaced; OSError for anything else at that path.
    """

    def __init__(self, path: str, backlog: int = 512) -> None:
        super().__init__(family(), socket.SOCK_STREAM)
        self.path, self._place = "", (0, 0)     # until it is ours
        try:
            remove_stale(path)
            self.bind(path)
            self.path, self._place = path, place(path)
            self.listen(backlog)
        except OSError:
            self.close()
            raise

    def getsockname(self) -> Any:
        """`("unix:/run/lmtp", 0)`."""
        return f"unix:{self.path}", 0

    def close(self) -> None:
        """Close, and leave no file behind; another server's socket, which has taken the path meanwhile, stays."""
        if self.path:
            with contextlib.suppress(OSError):
                if place(self.path) == self._place:
                    os.unlink(self.path)
            self.path = ""
        super().close()


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Where a listening socket can be reached: host and port, or `("unix:/run/lmtp", 0)`."""
    name = listener.getsockname()
    return name[:2] if isinstance(name, tuple) else (f"unix:{os.fsdecode(name)}", 0)


def caller_of(address: Any) -> str:
    """The host that calls, of the address that `accept` returns; `"unix"` for a process on this machine."""
    return str(address[0]) if isinstance(address, tuple) else "unix"


def place(path: str) -> tuple[int, int]:
    """The device and the number of a file: those of no other that is there at the same time; raises OSError."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def remove_stale(path: str) -> None:
    """Remove a socket at which nobody listens any more; nothing else is touched."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            try:
                connect(path, 1.0).close()
            except ConnectionRefusedError:
                os.unlink(path)

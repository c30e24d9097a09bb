"""A server of somebody's own as a command: started on a free port, and stopped whatever happens."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from smtp_from_scratch.conformance.process import Process

HOSTS = ("127.0.0.1", "::1")                    # where a server that listens on "localhost" may be
GRACE = 2.0                                     # seconds from "please end" to the end
TOLD = 8                                        # lines of what it said that are shown
PORT = "{port}"


class NoServer(OSError):
    """There is no server to examine; the message says why, and what the command said."""


@dataclass(frozen=True, slots=True)
class Program:
    """A running server, and where it listens."""

    process: Process
    words: tuple[str, ...]
    host: str
    port: int

    def gone(self) -> str:
        """How it ended, as a sentence; empty while it runs, or is not about to end."""
        status = self.process.status(0.2)
        return "" if status is None else f"{self.words[0]} ended with status {status}"

    def told(self, since: int, shown: Callable[[str], str] = str) -> str:
        """Its last lines, and how it ended, if it did; while it runs, of those that came after so many octets.

        `shown` makes of what it said what may be seen.
        """
        ended = self.gone()
        return "\n".join(filter(None, [self.process.said(TOLD, 0 if ended else since, shown), ended]))


def said(process: Process) -> str:
    """What a command said last, as the end of a message."""
    lines = process.said(TOLD)
    return f"; it said:\n{lines}" if lines else ", and said nothing"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(words: Sequence[str], patience: float = 10.0) -> Iterator[Program]:
    """The command runs, and listens, while the block does; raises NoServer. `patience` (s): how long it may take."""
    port = free_port()
    filled = tuple(word.replace(PORT, str(port)) for word in words)
    try:
        process = Process(filled)
    except OSError as error:
        raise NoServer(f"cannot start {filled[0]}: {error.strerror or error}") from None
    try:
        yield Program(process, filled, listening(process, filled, port, patience), port)
    finally:
        process.stop(GRACE)


def listening(process: Process, words: Sequence[str], port: int, patience: float) -> str:
    """The address at which it listens, as soon as it does; raises NoServer when it ends or takes too long."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        for host in HOSTS:
            if answers(host, port):
                return host
        status = process.status(0.05)
        if status is not None:
            raise NoServer(f"{words[0]} ended with status {status} before it listened on port {port}{said(process)}")
    raise NoServer(f"{words[0]} runs, but after {patience:g} s it does not listen on port {port} of 127.0.0.1, the "
                   f"number that it got in place of {{port}}{said(process)}")


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there; the caller does what a client may: it hears the greeting, and says QUIT."""
    try:
        with socket.create_connection((host, port), 1.0) as sock:
            sock.settimeout(1.0)
            try:
                if sock.recv(512):
                    sock.sendall(b"QUIT\r\n")
                    sock.recv(512)
            except OSError:
                pass
            return True
    except OSError:
        return False

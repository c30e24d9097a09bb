"""The server's stage: a thread for each connection, limits, and a graceful end (RFC 5321 §4.5.3)."""
# Exported from notebooks/06_server.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import ipaddress
import math
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .conversation import Connection, Conversation, Tap, hang_up
from .wire import Reply, encode_reply, logger

__all__ = ["listen_on", "part", "goodbye", "log", "attend", "origin", "no_place", "dismiss", "ThreadedServer"]


# %% listen-on
def listen_on(host: str, port: int, backlog: int = 512) -> socket.socket:
    """A listening socket; port 0 lets the system choose. IPv6 when the host has a colon."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


# %% part
def part(sock: socket.socket, patience: float = 1.0, last: bytes = b"") -> None:
    """Close so that our last words arrive: with octets unread, `close` alone would destroy them on the way."""
    deadline = time.monotonic() + patience
    with contextlib.suppress(OSError), sock:
        sock.settimeout(patience)              # who never reads does not hold us here
        if last:
            sock.send(last)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536) and (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)


# %% attend
def goodbye(connection: Connection) -> bytes:
    """What a layer says before the line is closed; TLS does (chapter 11). Half a flight is followed by nothing."""
    return b"" if connection.deaf else bytes(getattr(connection.channel.layer, "goodbye", bytes)())


log = logger(__name__)


def attend(server: ThreadedServer, connection: Connection, peer: str) -> None:
    """One caller, from the greeting to the end of the connection."""
    try:
        connection.play(server.conversation(peer))
    except ConnectionError as error:
        log.info("%s: the line broke: %s", peer, error)
    except Exception:
        log.exception("%s: the session failed", peer)
    finally:
        part(connection.socket, last=goodbye(connection))
        server.callers.pop(connection, None)


# %% no-place
def origin(peer: str) -> str:
    """Whose places a caller takes: an IPv4 address counts as one, and all IPv6 addresses of a network of 64 bits."""
    address = ipaddress.ip_address(peer)
    if isinstance(address, ipaddress.IPv4Address):
        return peer
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def no_place(server: ThreadedServer, whence: str) -> Reply | None:
    """421 when there are too many callers, in all or from one place (RFC 5321 §3.8)."""
    present = [other for _, other in server.callers.copy().values()]
    if len(present) >= server.max_connections:
        return Reply(421, "too many connections, please try again later")
    if present.count(whence) >= server.max_connections_per_address:
        return Reply(421, "too many connections from your address, please try again later")
    return None


# %% admit
def admit(server: ThreadedServer, sock: socket.socket, peer: str) -> None:
    """Give a caller a thread, or 421 when there is no place (RFC 5321 §3.1)."""
    whence = origin(peer)
    if refusal := no_place(server, whence):
        log.info("%s: %s", peer, refusal)
        return part(sock, 0.0, encode_reply(refusal))
    try:
        connection = Connection(sock, "S", server.tap)
    except OSError:                            # gone again already
        return sock.close()
    channel = connection.channel
    channel.longest_wait, channel.deadline = server.longest_wait, channel.now() + server.longest_session
    thread = threading.Thread(target=attend, args=(server, connection, peer), name=f"smtp {peer}", daemon=True)
    server.callers[connection] = thread, whence
    try:
        thread.start()
    except RuntimeError:                       # no more threads to be had
        del server.callers[connection]
        sock.close()


# %% answer-calls
def answer_calls(server: ThreadedServer) -> None:
    """The doorman: accept every call, and never talk to a caller."""
    while not server.stopping:
        try:
            sock, peer = server.listener.accept()
        except OSError:
            time.sleep(0 if server.stopping else 0.05)    # out of file descriptors: somebody will leave
        else:
            admit(server, sock, peer[0])


# %% still-here
Caller = tuple[Connection, threading.Thread]


def still_here(present: list[Caller], patience: float) -> list[Caller]:
    """Wait for threads to end, `patience` seconds for all together; returns those that have not."""
    deadline = time.monotonic() + patience
    for _, thread in present:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [(connection, thread) for connection, thread in present if thread.is_alive()]


# %% dismiss
def dismiss(callers: dict[Connection, tuple[threading.Thread, str]], grace: float) -> None:
    """Ask all connections to end when idle (RFC 5321 §3.8); after `grace` seconds, in the middle; then cut them off."""
    present = [(connection, thread) for connection, (thread, _) in callers.copy().items()]
    for connection, _ in present:
        hang_up(connection)
    for how, patience in ((socket.SHUT_RD, grace), (socket.SHUT_RDWR, 1.0)):
        present = still_here(present, patience)
        for connection, _ in present:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(how)
    still_here(present, 1.0)


# %% threaded-server
class ThreadedServer:
    """Plays `conversation(peer)` for every caller, each in a thread of its own."""

    def __init__(self, conversation: Callable[[str], Conversation[Any]], host: str = "127.0.0.1", port: int = 0,
                 *, max_connections: int = 1000, max_connections_per_address: int = 500,
                 tap: Tap | None = None) -> None:
        self.conversation, self.tap = conversation, tap
        self.max_connections, self.max_connections_per_address = max_connections, max_connections_per_address
        self.longest_wait = self.longest_session = math.inf    # seconds
        self.stopping = False
        self.callers: dict[Connection, tuple[threading.Thread, str]] = {}      # with the place they call from
        self.listener = listen_on(host, port)
        self.address: tuple[str, int] = self.listener.getsockname()[:2]
        self._doorman = threading.Thread(target=answer_calls, args=(self,), name="doorman", daemon=True)

    def start(self) -> None:
        """Begin to answer calls."""
        self._doorman.start()

    def stop(self, grace: float = 10.0) -> None:
        """Take no more calls; let transactions in hand finish for `grace` seconds, then cut them off."""
        self.stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)      # wakes the doorman
        self.listener.close()
        if self._doorman.is_alive():
            self._doorman.join(1.0)
        dismiss(self.callers, grace)

    def __enter__(self) -> ThreadedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

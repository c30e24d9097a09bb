"""The server's stage: a thread for each connection, limits, and a graceful end (RFC 5321 §4.5.3)."""
# Exported from notebooks/07_server.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from .connection import Connection, linger
from .conversation import Conversation
from .printable import logger
from .throttle import origin
from .transcript import Tap
from .unix import UnixListener, address_of, caller_of, path_of
from .wire import Reply, encode_reply

__all__ = ["listen_on", "log", "Caller", "handle", "Places", "join_all", "shut_down", "Doorman", "ThreadedServer"]


# %% module
def listen_on(host: str | socket.socket, port: int, backlog: int = 512) -> socket.socket:
    """A listening socket; port 0 lets the system choose. IPv6 when the host has a colon: `::` is for IPv4, too.

    `unix:/run/smtp` is a path. A socket that listens already is taken as it is.
    """
    if isinstance(host, socket.socket):
        return host
    if path := path_of(host):
        return UnixListener(path, backlog)
    if ":" not in host:
        return socket.create_server((host, port), backlog=backlog)
    both = socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=both)


# %% handle
log = logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """A connection, the thread that plays on it, and the place that it counts for."""

    connection: Connection
    thread: threading.Thread
    origin: str


def handle(callers: dict[Connection, Caller], connection: Connection,
           conversation: Callable[[str], Conversation[Any]], peer: str) -> None:
    """One caller, from the greeting to the end of the connection."""
    try:
        connection.play(conversation(peer))
    except ConnectionError as error:
        log.info("%s: the line broke: %s", peer, error)
    except Exception:
        log.exception("%s: the session failed", peer)
    finally:
        linger(connection.socket, last=connection.goodbye())
        callers.pop(connection, None)


# %% places
@dataclass(frozen=True, slots=True)
class Places:
    """How many may call at a time: in all, and from one address (of IPv6, from one network of 64 bits)."""

    in_all: int = 1000
    per_address: int = 500

    def refusal(self, present: list[Caller], place: str) -> Reply | None:
        """421 when there are too many callers (RFC 5321 §3.8)."""
        if len(present) >= self.in_all:
            return Reply(421, "too many connections, please try again later")
        if len(present) >= self.per_address <= sum(caller.origin == place for caller in present):
            return Reply(421, "too many connections from your address, please try again later")
        return None


# %% join-all
def join_all(callers: list[Caller], patience: float) -> list[Caller]:
    """Wait for threads to end, `patience` seconds for all together; returns those that have not."""
    deadline = time.monotonic() + patience
    callers = [caller for caller in callers if caller.thread is not threading.current_thread()]
    for caller in callers:
        caller.thread.join(max(0.0, deadline - time.monotonic()))
    return [caller for caller in callers if caller.thread.is_alive()]


# %% shut-down
def shut_down(callers: list[Caller], grace: float) -> None:
    """Ask all to end when idle (RFC 5321 §3.8); after `grace` seconds, in the middle; then cut them off."""
    for caller in callers:
        caller.connection.hang_up()
    for how, patience in ((socket.SHUT_RD, grace), (socket.SHUT_RDWR, 1.0)):
        callers = join_all(callers, patience)
        for caller in callers:
            with contextlib.suppress(OSError):
                caller.connection.socket.shutdown(how)
    join_all(callers, 1.0)


# %% doorman-export
class Doorman:
    """Answers every call, and never talks to a caller: what becomes of a call is up to `accept`."""

    def __init__(self, host: str | socket.socket = "127.0.0.1", port: int = 0) -> None:
        self.stopping, self.listener = False, listen_on(host, port)
        self.address = address_of(self.listener)
        self._doorman = threading.Thread(target=self.answer_calls, name="doorman", daemon=True)

    def accept(self, sock: socket.socket, peer: str) -> None:
        """A call from `peer`; must not wait for anybody."""
        raise NotImplementedError

    def answer_calls(self) -> None:
        """The loop of the doorman's thread."""
        while not self.stopping:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                time.sleep(0 if self.stopping else 0.05)      # out of file descriptors: somebody will leave
            else:
                self.accept(sock, caller_of(peer))

    def start(self) -> None:
        """Begin to answer calls."""
        self._doorman.start()

    def stop(self, grace: float = 10.0) -> None:
        """Take no more calls; `grace` is for whoever has callers to wait for."""
        self.stopping = True
        with contextlib.suppress(OSError), self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)          # wakes the doorman
        if self._doorman.is_alive():
            self._doorman.join(1.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


# %% threaded-server
class ThreadedServer(Doorman):
    """Plays `conversation(peer)` for every caller, each in a thread of its own."""

    def __init__(self, conversation: Callable[[str], Conversation[Any]],
                 host: str | socket.socket = "127.0.0.1", port: int = 0, *, places: Places = Places(),
                 tap: Tap | None = None) -> None:
        super().__init__(host, port)
        self.conversation, self.places, self.tap = conversation, places, tap
        self.longest_wait = self.longest_session = math.inf   # seconds: of any wait, of a session
        self.no_place = b""                    # what a caller hears who gets no place, if not SMTP's 421
        self.callers: dict[Connection, Caller] = {}

    def accept(self, sock: socket.socket, peer: str) -> None:
        """Give a caller a thread, or 421 when there is no place (RFC 5321 §3.1)."""
        crowded = len(self.callers) >= min(self.places.in_all, self.places.per_address)      # else why count
        if crowded and (refusal := self.places.refusal(list(self.callers.copy().values()), origin(peer))):
            log.info("%s: %s", peer, refusal)
            return linger(sock, 0.0, self.no_place or encode_reply(refusal))
        with contextlib.suppress(OSError, RuntimeError):      # gone again already, or no more threads to be had
            return self.admit(sock, peer)
        sock.close()

    def admit(self, sock: socket.socket, peer: str) -> None:
        """Begin to play with a caller; OSError if it is gone, RuntimeError if there are no more threads."""
        connection = Connection(sock, "S", self.tap)
        channel = connection.channel
        channel.longest_wait, channel.deadline = self.longest_wait, channel.now() + self.longest_session
        thread = threading.Thread(target=handle, args=(self.callers, connection, self.conversation, peer),
                                  name=f"smtp {peer}", daemon=True)
        self.callers[connection] = Caller(connection, thread, origin(peer))
        try:
            thread.start()
        except RuntimeError:
            del self.callers[connection]
            raise

    def stop(self, grace: float = 10.0) -> None:
        """Take no more calls; let transactions in hand finish for `grace` seconds, then cut them off."""
        super().stop()
        shut_down(list(self.callers.copy().values()), grace)

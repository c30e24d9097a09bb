"""The blocking stage: a socket, deadlines, two ends that write, hang-ups (RFC 5321 §4.5.3.2, RFC 2920 §3.1)."""
# Exported from notebooks/06_connection.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
import time

from .channel import Channel
from .conversation import Actor, Closing, Conversation, Disconnected, Interruption, Result, Timeout, flights
from .prompt import acknowledge, send_at_once
from .transcript import Tap

__all__ = ["limit_recv", "INBOX_LIMIT", "SEND_TIMEOUT", "send_all", "linger", "Transport", "Connection"]


# %% module
def limit_recv(sock: socket.socket, seconds: float) -> None:
    """Let `recv` wait no longer than this, in the kernel: no second system call for each read."""
    if sys.platform == "win32":
        value = struct.pack("L", max(1, int(seconds * 1000)))
    else:
        value = struct.pack("ll", int(seconds), max(1, int(seconds % 1 * 1_000_000)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)


# %% send-all
INBOX_LIMIT = 1_048_576                        # octets that may arrive while we write
SEND_TIMEOUT = 180.0                           # seconds that the other end may take to accept what we say


def send_all(sock: socket.socket, data: bytes, channel: Channel, timeout: float = SEND_TIMEOUT) -> None:
    """Send everything, reading meanwhile: two ends that both only write wait forever (RFC 2920 §3.1)."""
    view, deadline, heard = memoryview(data), 0.0, data
    while view:
        try:
            view = view[sock.send(view, getattr(socket, "MSG_DONTWAIT", 0)) :]
        except BlockingIOError:
            deadline = deadline or time.monotonic() + timeout
            if (seconds := deadline - time.monotonic()) <= 0: raise Timeout from None
            hearing = heard and not channel.over and len(channel.inbox) < INBOX_LIMIT
            with selectors.DefaultSelector() as selector:
                selector.register(sock, selectors.EVENT_WRITE | (selectors.EVENT_READ if hearing else 0))
                ready = selector.select(seconds)
            if ready and ready[0][1] & selectors.EVENT_READ:
                if heard := sock.recv(65_536):     # a peer that says no more may still listen
                    channel.receive(heard)


# %% linger
def linger(sock: socket.socket, patience: float = 1.0, last: bytes = b"") -> None:
    """Close so that our last words arrive: with octets unread, `close` alone would destroy them on the way."""
    deadline = time.monotonic() + patience
    with contextlib.suppress(OSError), sock:
        sock.settimeout(patience)              # a peer that never reads does not hold us here
        if last:
            sock.send(last)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536) and (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)


# %% transport
class Transport:
    """A connected socket and its channel: octets out, octets in, each within its time."""

    def __init__(self, sock: socket.socket, role: str = "", tap: Tap | None = None) -> None:
        self.socket, self.channel = sock, Channel(role, tap)
        self.channel.peer = {"C": "S", "S": "C"}.get(role, "")
        self.write_failed = self.closing = self.idle = False       # `closing`: hang up as soon as it is idle
        self._limit = 0.0                      # seconds that `recv` may take
        self._prompt = send_at_once(sock) and role == "C" and acknowledge(sock)
        if sock.gettimeout() is not None: sock.settimeout(None)

    def send(self, data: bytes) -> None:
        """Send octets; raises Timeout. A broken line is noticed by reading: the other end may have said why."""
        if self.write_failed and self.channel.role == "C": raise Disconnected      # a second flight for nobody
        if self.write_failed: return
        left, self.write_failed = self.channel.deadline - self.channel.now(), True
        try:
            send_all(self.socket, data, self.channel, min(SEND_TIMEOUT, self.channel.longest_wait, left))
            self.write_failed = False
        except OSError: pass

    def receive(self, deadline: float, size: int) -> bytes:
        """What arrives before the deadline, `b""` if the other end is gone; raises Timeout."""
        seconds = deadline - self.channel.now()
        if seconds <= 0:
            raise Timeout from None
        if not seconds / 8 <= self._limit <= seconds + 0.1:
            limit_recv(self.socket, seconds)
            self._limit = seconds
        if self._prompt: acknowledge(self.socket)
        try:
            return self.socket.recv(size)
        except (BlockingIOError, TimeoutError):        # woken early, perhaps
            return self.receive(deadline, size)
        except OSError:
            return b""

    def goodbye(self) -> bytes:
        """What a layer says before the line is closed; TLS does. Half a flight is followed by nothing."""
        return b"" if self.write_failed else bytes(getattr(self.channel.layer, "goodbye", bytes)())


# %% connection
class Connection(Transport):
    """The blocking stage: a connected socket, and the conversations played on it one after another."""

    def play(self, conversation: Conversation[Result]) -> Result:
        """Play a conversation to its end and return its result; raises what it raises."""
        actor = Actor(conversation, self.channel)
        while True:
            try:
                for flight in flights(actor):
                    self.send(flight)
                if actor.done:
                    return actor.result  # type: ignore[return-value]
                self.listen(actor)
            except Interruption as error:
                if not actor.done:
                    actor.resume(error=error)

    def listen(self, actor: Actor) -> None:
        """Take in what arrives before the deadline; raises what happened instead."""
        self.idle = actor.want.idle
        try:
            if self.closing and self.idle:
                raise Closing
            data = self.receive(actor.deadline, actor.want.block)
        finally:
            self.idle = False
        if not data:                           # the other end is gone, or `hang_up` woke us
            raise Closing if self.closing else Disconnected
        self.channel.receive(data)

    def hang_up(self) -> None:
        """Called from another thread: end as soon as no transaction is in hand."""
        self.closing = True
        if self.idle:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close, and wait for nobody."""
        linger(self.socket, 0.0, self.goodbye())

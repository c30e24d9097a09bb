"""`serve --processes N`: processes that answer at the same ports, and a parent that keeps up their number."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from smtp_from_scratch.printable import logger

log = logger(__name__)

Listeners = dict[str, socket.socket]            # role: a socket that listens there
Work = Callable[[Listeners, threading.Event], int]      # serve until the event is set; returns an exit status
PATIENCE = 20                                   # seconds for a process to end; its callers have ten
BREATH = 1.0                                    # seconds before one is replaced that has lived no longer
SIGNALS = ("SIGTERM", "SIGINT")


def possible() -> bool:
    """Whether this system can do it: Linux and macOS can."""
    return hasattr(os, "fork") and hasattr(socket, "SO_REUSEPORT")


def listen(host: str, port: int, shared: bool = True) -> socket.socket:
    """A listening socket, at an address that others may share (SO_REUSEPORT), or not; raises OSError."""
    ipv6 = ":" in host
    return socket.create_server((host, port), family=socket.AF_INET6 if ipv6 else socket.AF_INET, backlog=512,
                                reuse_port=shared, dualstack_ipv6=ipv6 and socket.has_dualstack_ipv6())


def claim(host: str, port: int) -> socket.socket:
    """The first socket at an address; OSError if anybody listens there, even somebody who would share it."""
    if port:
        listen(host, port, shared=False).close()
    return listen(host, port)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Meanwhile signals wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, name) for name in SIGNALS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Cradle:
    """Where processes are born, each with listeners of its own.

    The listeners are the parent's: calls that a dead process has not answered wait for the next one.
    """

    def __init__(self, work: Work, listeners: list[Listeners]) -> None:
        self.work, self.listeners = work, listeners
        self.born: dict[int, tuple[int, float]] = {}   # process: its place, and when it was born
        self._alive = os.pipe()                 # its writing end is the parent's alone: it ends with the parent

    def launch(self, place: int) -> None:
        """Let a process begin; OSError when there can be none now, or none of its listeners."""
        with uninterrupted():
            for role, sock in self.listeners[place].items():
                self.listeners[place][role] = renewed(sock)
            process = os.fork()
            if not process:
                self._live(place)
            self.born[process] = place, time.monotonic()

    def close(self, but: Listeners | None = None) -> None:
        """Close the listeners, but those of one process: whoever calls then hears that nobody is there."""
        for listeners in self.listeners:
            for sock in listeners.values():
                if listeners is not but:
                    sock.close()

    def _live(self, place: int) -> NoReturn:
        status = 70                             # sysexits.h: an error in the software
        try:
            for name in (*SIGNALS, "SIGALRM"):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {getattr(signal, name) for name in SIGNALS})
            os.close(self._alive[1])
            self.close(but=self.listeners[place])
            over = threading.Event()
            threading.Thread(target=self._watch_parent, args=(over,), daemon=True).start()
            status = self.work(self.listeners[place], over)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _watch_parent(self, over: threading.Event) -> None:
        os.read(self._alive[0], 1)              # until the writing end is closed
        over.set()


class Family:
    """Processes that all do the same: whichever ends is replaced, until all shall end."""

    def __init__(self, cradle: Cradle) -> None:
        self.cradle, self._over = cradle, threading.Event()

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where they listen."""
        return {role: sock.getsockname()[:2] for role, sock in self.cradle.listeners[0].items()}

    def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C; returns an exit status."""
        for name in SIGNALS:
            signal.signal(getattr(signal, name), self._end)
        signal.signal(signal.SIGALRM, lambda *_: self._tell(signal.SIGKILL))
        for place in range(len(self.cradle.listeners)):
            self._launch(place)
        while self.cradle.born:
            process, status = os.wait()
            place, born = self.cradle.born.pop(process)
            if not self._over.is_set():
                log.warning("process %d has ended (%d); another takes its place", process,
                            os.waitstatus_to_exitcode(status))
                time.sleep(BREATH if time.monotonic() - born < BREATH else 0.0)
                self._launch(place)
        signal.alarm(0)
        return 0

    def _launch(self, place: int) -> None:
        while not self._over.is_set():
            try:
                self.cradle.launch(place)
                break
            except OSError as error:            # no memory or no number for a process, or the listener cannot be had
                if not self._over.is_set():     # else it was closed meanwhile
                    log.warning("no process can begin: %s; I try again", error)
                    time.sleep(BREATH)
        if self._over.is_set():                 # it was born while the others were told
            self._end()

    def _end(self, *_: Any) -> None:
        self._over.set()
        self.cradle.close()
        self._tell(signal.SIGTERM)
        signal.alarm(PATIENCE)

    def _tell(self, number: int) -> None:
        for process in self.cradle.born.copy():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)


def renewed(sock: socket.socket) -> socket.socket:
    """A socket that listens: the same one, unless the process that had it has shut it. OSError leaves it open."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return sock
    new = listen(*sock.getsockname()[:2])
    sock.close()
    return new


def family(work: Work, roles: Mapping[str, tuple[str, int]], count: int) -> Family:
    """So many processes for these roles; raises OSError when an address cannot be had."""
    first = {role: claim(host, port) for role, (host, port) in roles.items()}
    places = [first]
    for _ in range(count - 1):
        places.append({role: listen(*sock.getsockname()[:2]) for role, sock in first.items()})
    return Family(Cradle(work, places))

"""A socket and nothing else: say octets, hear octets."""
from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from types import TracebackType

from smtp_from_scratch.lab.figures.transcript import Transcript
from smtp_from_scratch.lab.wires.peer import Heard
from smtp_from_scratch.lab.wires.running import started, stopped

CLOSED = "this line is closed: run the cell again that called the server, and go on from there"
_REPLY_ENDS = re.compile(rb"(?m)^\d{3}(?: [^\n]*)?\r?\n")


@contextlib.contextmanager
def told_when_closed() -> Iterator[None]:
    """An error of the socket says what to do next; silence stays what it is."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError:
        raise ConnectionError(CLOSED) from None


class raw:
    """`with lab.raw(address) as line:`, then `line.say(b"HELO me.example\\r\\n")` and `line.hear()`.

    `hear` returns one whole reply, however it was cut on its way, or `b""` when the server has hung up. It raises
    TimeoutError when nothing complete comes, and ConnectionError on a line that is closed.
    `transcript` has both sides.
    """

    def __init__(self, address: tuple[str, int], timeout: float = 5.0) -> None:
        self.address, self.timeout = address, timeout
        self.transcript = Transcript()
        self._rest = b""
        self.socket = socket.create_connection(address, timeout)
        started(self)

    def say(self, data: bytes) -> None:
        """Send octets as they are: the CR LF is yours to write."""
        if not isinstance(data, bytes):
            raise TypeError(f"the wire carries bytes: write b{data!r}")
        with told_when_closed():
            self.socket.sendall(data)
        self.transcript(Heard(time.monotonic(), "C", data))

    def hear(self) -> bytes:
        """One complete reply, or what came before the server hung up."""
        while not (end := _REPLY_ENDS.search(self._rest)):
            try:
                data = self.socket.recv(65_536)
            except ConnectionError:
                data = b""
            except TimeoutError:
                raise TimeoutError(f"no complete reply within {self.timeout:g} seconds, only {self._rest!r}: "
                                   "perhaps the server still waits for the end of your line") from None
            except OSError:
                raise ConnectionError(CLOSED) from None
            if not data:
                return self._take(len(self._rest))
            self._rest += data
        return self._take(end.end())

    def _take(self, count: int) -> bytes:
        heard, self._rest = self._rest[:count], self._rest[count:]
        if heard:
            self.transcript(Heard(time.monotonic(), "S", heard))
        return heard

    def stop(self) -> None:
        """Hang up."""
        stopped(self)
        self.socket.close()

    def __enter__(self) -> raw:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

"""Lines between a client and a server: one that is slow, one that is tapped. Both are proxies on loopback."""
from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from types import TracebackType

from smtp_from_scratch.lab.peer import Heard
from smtp_from_scratch.lab.running import started, stopped
from smtp_from_scratch.lab.transcript import Transcript

Parcel = tuple[float, bytes]                   # when it is due (seconds), and the octets; none: hang up


class Link:
    """A proxy: call `link.address` and you talk to the server at `address`."""

    def __init__(self, address: tuple[str, int], rtt: float = 0.0, transcript: Transcript | None = None) -> None:
        self.target, self.rtt, self.transcript = address, rtt, transcript
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._sockets: list[socket.socket] = [self._listener]
        started(self)
        threading.Thread(target=self._answer_calls, name="link", daemon=True).start()

    def _answer_calls(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), name="link", daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        """The dial costs a round trip, and the server hears of it half a one later."""
        self._sockets.append(client)
        time.sleep(self.rtt * 1.5)
        try:
            server = socket.create_connection(self.target, 10.0)
        except OSError:
            client.close()
            return
        self._sockets.append(server)
        for who, source, sink in (("C", client, server), ("S", server, client)):
            for sock in (source,):
                sock.settimeout(None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            parcels: queue.SimpleQueue[Parcel] = queue.SimpleQueue()
            threading.Thread(target=self._take_in, args=(who, source, parcels), name="link", daemon=True).start()
            threading.Thread(target=self._hand_out, args=(sink, parcels), name="link", daemon=True).start()

    def _take_in(self, who: str, source: socket.socket, parcels: queue.SimpleQueue[Parcel]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(65_536)
            except OSError:
                data = b""
            now = time.monotonic()
            if data and self.transcript is not None:
                self.transcript(Heard(now, who, data))
            parcels.put((now + self.rtt / 2, data))

    def _hand_out(self, sink: socket.socket, parcels: queue.SimpleQueue[Parcel]) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = parcels.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)

    def stop(self) -> None:
        """Cut the line."""
        stopped(self)
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()


def slow_link(address: tuple[str, int], rtt: float) -> Link:
    """A line on which a round trip takes `rtt` seconds; dialing takes one, too. Call its `address`."""
    return Link(address, rtt)


def tap(address: tuple[str, int], transcript: Transcript | None = None) -> Link:
    """A line that notes the raw octets of both sides in its `transcript`. Call its `address`."""
    return Link(address, 0.0, Transcript() if transcript is None else transcript)

"""Lines between a client and a server: one that is slow, one that is tapped. Both are proxies on loopback.

A link also counts round trips. Every piece that travels carries the number of one-way trips that had to come before
it: one more than the last piece that its sender had heard when it spoke. So pieces of one flight bear one number,
whatever the kernel made of them, and what nobody waits for (QUIT riding along, session tickets) costs nothing.
Dialing is the first round trip: SYN is trip 1, SYN-ACK trip 2; the server's greeting is trip 4 at the earliest.
The count is exact on a line that is slower than either end says its flights, and at most too high on a faster one,
where an answer may overtake the rest of the question: count over `count_turns` or `slow_link`, look through `tap`.
"""
from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from smtp_from_scratch.lab.figures.transcript import Transcript
from smtp_from_scratch.lab.wires.peer import Heard
from smtp_from_scratch.lab.wires.running import started, stopped

Parcel = tuple[float, int, bytes]              # when it is due (seconds), its trip, the octets; none: hang up
OTHER = {"C": "S", "S": "C"}


@dataclass(frozen=True, slots=True)
class Tampered(Heard):
    """A record that an attacker had a hand in; `note` says how."""

    note: str = ""


class Link:
    """A proxy: call `link.address` and you talk to the server at `address`."""

    def __init__(self, address: tuple[str, int], rtt: float = 0.0, transcript: Transcript | None = None) -> None:
        self.target, self.rtt, self.transcript = address, rtt, transcript
        self.calls: list[Call] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        started(self)
        threading.Thread(target=self._answer_calls, name="link", daemon=True).start()

    def _answer_calls(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.calls.append(self.call(client))

    def call(self, client: socket.socket) -> Call:
        """Somebody dials; an attacker on the line makes more of it."""
        return Call(self, client)

    @property
    def round_trips(self) -> int:
        """How many round trips the sessions over this link took, the dial included; of several sessions the sum."""
        return sum(call.trips.round_trips for call in self.calls)

    @property
    def turns(self) -> int:
        """How often somebody else began to speak, the dial not included; of several sessions the sum."""
        return sum(len(call.trips.carried) for call in self.calls)

    def stop(self) -> None:
        """Cut the line."""
        stopped(self)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for call in self.calls:
            call.cut()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()


class End:
    """One end of a call: its socket, once there is one, and the parcels under way to it."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self.socket = sock
        self.parcels: queue.SimpleQueue[Parcel] = queue.SimpleQueue()

    def listen(self, said: Callable[[bytes], None]) -> None:
        """Read what this end says, until it hangs up: then `said` is told of nothing."""
        sock, data = self.socket, b"-"
        if sock is None:
            return
        with contextlib.suppress(OSError):
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data:
            try:
                data = sock.recv(65_536)
            except OSError:
                data = b""
            said(data)

    def hand_out(self, arrived: Callable[[int], None]) -> None:
        """Give this end what is due, until the other one has hung up; `arrived` is told the number of each trip."""
        with contextlib.suppress(OSError):
            while self.socket:
                due, trip, data = self.parcels.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    return self.socket.shutdown(socket.SHUT_WR)
                arrived(trip)
                self.socket.sendall(data)

    def cut(self) -> None:
        """Hang up."""
        if self.socket:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class Trips:
    """The trips of one connection, by number: see above."""

    def __init__(self) -> None:
        self.heard = {"C": 2, "S": 3}          # the last trip that arrived: SYN-ACK; ACK
        self.carried: set[int] = set()         # flights that carried octets

    @property
    def round_trips(self) -> int:
        """Trips there and back, until the client heard the server's last word."""
        return self.heard["C"] // 2

    def depart(self, who: str, carries: bool) -> int:
        """The number of a trip that begins now."""
        trip = self.heard[who] + 1
        if carries:
            self.carried.add(trip)
        return trip

    def arrive(self, who: str, trip: int) -> None:
        """This end has heard of it."""
        self.heard[who] = max(self.heard[who], trip)


class Call:
    """One connection over a link: two ends, and the trips between them."""

    def __init__(self, link: Link, client: socket.socket) -> None:
        self.link = link
        self.dialed = time.monotonic() + link.rtt        # the client's `connect` returned before: loopback is instant
        self.ends = {"C": End(client), "S": End()}
        self.trips = Trips()
        self.open = 2                          # directions that still carry something
        for work, who in ((self.take_in, "C"), (self.hand_out, "C"), (self.dial, "S")):
            threading.Thread(target=work, args=(who,), name="link", daemon=True).start()

    def dial(self, who: str) -> None:
        """Dialing costs a round trip, and the server hears of it half a one later."""
        time.sleep(max(0.0, self.dialed + self.link.rtt / 2 - time.monotonic()))
        try:
            self.ends[who].socket = socket.create_connection(self.link.target, 10.0)
        except OSError:
            return self.cut()
        if not self.open:                      # the line was cut meanwhile
            return self.cut()
        threading.Thread(target=self.take_in, args=(who,), name="link", daemon=True).start()
        self.hand_out(who)

    def take_in(self, who: str) -> None:
        """Read what one end says."""
        self.ends[who].listen(lambda data: self.pass_on(who, data))

    def pass_on(self, who: str, data: bytes) -> None:
        """What becomes of octets that one end said; none: it hung up."""
        if data:
            self.note(who, data)
        self.send(who, data)

    def now(self, who: str) -> float:
        """When something is said: not before the dial is over."""
        return max(time.monotonic(), self.dialed if who == "C" else 0.0)

    def note(self, who: str, data: bytes, note: str = "") -> None:
        """Write it down; the `note` says what an attacker did."""
        if self.link.transcript is not None:
            self.link.transcript(Tampered(self.now(who), who, data, note) if note else Heard(self.now(who), who, data))

    def send(self, who: str, data: bytes) -> None:
        """Send octets of `who` on their way."""
        trip = self.trips.depart(who, bool(data))
        self.ends[OTHER[who]].parcels.put((self.now(who) + self.link.rtt / 2, trip, data))

    def hand_out(self, who: str) -> None:
        """Give one end what is due."""
        self.ends[who].hand_out(lambda trip: self.trips.arrive(who, trip))
        self.open -= 1
        if not self.open:
            self.cut()

    def cut(self) -> None:
        """Hang up on both."""
        self.open = 0
        for end in self.ends.values():
            end.cut()


def slow_link(address: tuple[str, int], rtt: float, transcript: Transcript | None = None) -> Link:
    """A line on which a round trip takes `rtt` seconds; dialing takes one, too. Call its `address`."""
    return Link(address, rtt, transcript)


def tap(address: tuple[str, int], transcript: Transcript | None = None) -> Link:
    """A line that notes the raw octets of both sides in its `transcript`. Call its `address`."""
    return Link(address, 0.0, Transcript() if transcript is None else transcript)


def count_turns(address: tuple[str, int], rtt: float = 0.05) -> Link:
    """A tapped line that is slow enough to count exactly: read `round_trips` (dial included) and `turns` after it."""
    return Link(address, rtt, Transcript())

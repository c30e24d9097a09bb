"""Attackers on the line: one takes a keyword out of the server's offer, one adds octets of its own.

Both are links: call the attacker's `address`. The `transcript` has what arrived at the ends; records that the
attacker had a hand in carry a `note`.
"""
from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Iterator

from smtp_from_scratch.lab.figures.transcript import Transcript
from smtp_from_scratch.lab.wires.link import Call, Link
from smtp_from_scratch.lab.wires.peer import Heard
from smtp_from_scratch.transcript import HANDSHAKE, Line, Reader

Deed = tuple[str, bytes, str]                  # who seems to say it, the octets, a note if they are not the truth
HELD = b"(held back)"


class Attack(Call):
    """One connection with an attacker in its middle, who reads whole lines. What TLS has sealed passes as it is."""

    def __init__(self, link: Link, client: socket.socket) -> None:
        self.reader, self.lock = Reader(), threading.Lock()
        self.asked = deque([b"(greeting)"])    # what the server still has to answer, in this order
        self.reply: list[bytes] = []           # lines of a reply that is not complete
        super().__init__(link, client)

    def answered(self, line: Line) -> list[bytes]:
        """The whole reply, if this line ends it; it answers what `asked` begins with."""
        self.reply.append(line.data)
        if line.data[3:4] == b"-":
            return []
        reply, self.reply = self.reply, []
        return reply

    def meddle(self, line: Line) -> Iterator[Deed]:
        """What travels on in place of this line."""
        raise NotImplementedError

    def pass_on(self, who: str, data: bytes) -> None:
        with self.lock:
            rest = self.reader.rest.get(who, b"")
            if who in self.reader.sealed or (data[:2] == HANDSHAKE and not rest):
                self.reader.sealed.add(who)
                return super().pass_on(who, data)
            if not data:                       # hung up, perhaps in the middle of a line
                self.act([(who, self.reader.rest.pop(who), "")] if rest else [])
                return self.send(who, b"")
            self.reader.feed(Heard(0.0, who, data))
            lines, self.reader.lines = self.reader.lines, []
            self.act([deed for line in lines for deed in self.meddle(line)])

    def act(self, deeds: list[Deed]) -> None:
        """Note the deeds, and send what flies together in one piece."""
        together: dict[str, bytes] = {}
        for who, data, note in deeds:
            self.note(who, data, note)
            together[who] = together.get(who, b"") + data
        for who, data in together.items():
            self.send(who, data)


class Stripping(Attack):
    """Takes lines with a keyword out of EHLO replies; the reply stays a valid one (RFC 5321 §4.2.1)."""

    def __init__(self, keyword: bytes, link: Link, client: socket.socket) -> None:
        self.keyword = keyword.upper()
        super().__init__(link, client)

    def meddle(self, line: Line) -> Iterator[Deed]:
        if line.role == "S":
            if reply := self.answered(line):
                yield self.stripped(reply)
                if self.asked:
                    self.asked.popleft()
                yield from self.refusals()
        elif line.kind == "command" and word(line.data) == self.keyword:
            self.note("C", line.data, f"the attacker holds {self.keyword.decode()} back")
            self.asked.append(HELD)
            yield from self.refusals()
        else:
            if line.kind != "body":
                self.asked.append(line.data)
            yield "C", line.data, ""

    def refusals(self) -> Iterator[Deed]:
        """Answers to what was held back, once the server has answered everything before it."""
        while self.asked and self.asked[0] is HELD:
            self.asked.popleft()
            yield "S", b"502 5.5.1 no such command\r\n", "the attacker said this"

    def stripped(self, reply: list[bytes]) -> Deed:
        """The server's reply without the keyword."""
        kept = [line for index, line in enumerate(reply)
                if not index or line[:3] != b"250" or word(line[4:]) != self.keyword]
        if kept[-1][3:4] == b"-":
            kept[-1] = kept[-1][:3] + b" " + kept[-1][4:]
        gone = len(kept) < len(reply)
        return "S", b"".join(kept), f"the attacker took {self.keyword.decode()} out" if gone else ""


class Injecting(Attack):
    """Adds octets right after a client's line, or after the server's reply to that line."""

    def __init__(self, when: bytes, what: bytes, into: str, link: Link, client: socket.socket) -> None:
        self.when, self.what, self.into = when.strip().upper(), what, into
        super().__init__(link, client)

    def meddle(self, line: Line) -> Iterator[Deed]:
        yield line.role, line.data, ""
        if line.role == "S":
            matches = self.answered(line) and self.asked and self.asked.popleft().strip().upper() == self.when
        else:
            matches = line.kind == "command" and line.data.strip().upper() == self.when
            if line.kind != "body":
                self.asked.append(line.data)
        if matches and self.into == {"C": "server", "S": "client"}[line.role]:
            yield line.role, self.what, "the attacker added this"


def word(data: bytes) -> bytes:
    """The first word of a line, in capitals."""
    return (data.split() or [b""])[0].upper()


class Stripper(Link):
    """A line whose attacker takes `keyword` out of the server's offer, and says 502 to who asks for it nevertheless."""

    def __init__(self, address: tuple[str, int], keyword: bytes = b"STARTTLS") -> None:
        self.keyword = octets("keyword", keyword)
        super().__init__(address, 0.0, Transcript())

    def call(self, client: socket.socket) -> Call:
        return Stripping(self.keyword, self, client)


class Injector(Link):
    """A line whose attacker adds `what` after the client's line `when`, or `into` the client, after its reply."""

    def __init__(self, address: tuple[str, int], when: bytes, what: bytes, into: str = "server") -> None:
        if into not in ("server", "client"):
            raise ValueError(f"inject into 'server' or 'client', not into {into!r}")
        self.when, self.what, self.into = octets("when", when), octets("what", what), into
        super().__init__(address, 0.0, Transcript())

    def call(self, client: socket.socket) -> Call:
        return Injecting(self.when, self.what, self.into, self, client)


def octets(name: str, value: bytes) -> bytes:
    """The value, if it is what travels on a wire."""
    if not isinstance(value, bytes):
        raise TypeError(f"`{name}` is octets: write b{value!r}")
    return value


def strip(address: tuple[str, int], keyword: bytes = b"STARTTLS") -> Stripper:
    """An attacker who hides an extension: call its `address` instead of the server's."""
    return Stripper(address, keyword)


def inject(address: tuple[str, int], when: bytes, what: bytes, into: str = "server") -> Injector:
    """An attacker who adds octets right after a line, in the same segment: call its `address`."""
    return Injector(address, when, what, into)

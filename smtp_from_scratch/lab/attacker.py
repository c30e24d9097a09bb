"""Attackers on the line: one takes a keyword out of the server's offer, one adds octets of its own.

Both are links: call the attacker's `address`. The `transcript` has what arrived at the ends; records that the
attacker had a hand in carry a `note`.
"""
from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

from smtp_from_scratch.lab.link import Call, Link
from smtp_from_scratch.lab.peer import Heard
from smtp_from_scratch.lab.script import HANDSHAKE, Line, Reader
from smtp_from_scratch.lab.transcript import Transcript

Deed = tuple[str, bytes, str]                  # who seems to say it, the octets, a note if they are not the truth


class Attack(Call):
    """One connection with an attacker in its middle, who reads whole lines. What TLS has sealed passes as it is."""

    def __init__(self, link: Link, client: socket.socket) -> None:
        self.reader, self.lock = Reader(), threading.Lock()
        super().__init__(link, client)

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
        self.keyword, self.reply = keyword.upper(), list[bytes]()
        super().__init__(link, client)

    def meddle(self, line: Line) -> Iterator[Deed]:
        name = self.keyword.decode()
        if line.who == "S":
            self.reply.append(line.data)
            if line.data[3:4] != b"-":
                yield self.answer()
        elif line.kind == "command" and word(line.data) == self.keyword:
            self.note("C", line.data, f"the attacker keeps {name} from the server")
            yield "S", b"502 5.5.1 no such command\r\n", "the attacker says this"
        else:
            yield "C", line.data, ""

    def answer(self) -> Deed:
        """The server's whole reply, without the keyword."""
        reply, self.reply = self.reply, []
        kept = [line for index, line in enumerate(reply)
                if not index or line[:3] != b"250" or word(line[4:]) != self.keyword]
        if kept[-1][3:4] == b"-":
            kept[-1] = kept[-1][:3] + b" " + kept[-1][4:]
        gone = len(kept) < len(reply)
        return "S", b"".join(kept), f"the attacker took {self.keyword.decode()} out" if gone else ""


class Injecting(Attack):
    """Adds octets right after a client's line, or after the server's reply to that line."""

    def __init__(self, when: bytes, what: bytes, into: str, link: Link, client: socket.socket) -> None:
        self.when, self.what, self.into, self.armed = when.strip().upper(), what, into, False
        super().__init__(link, client)

    def meddle(self, line: Line) -> Iterator[Deed]:
        yield line.who, line.data, ""
        if line.who == "C" and line.kind == "command":
            self.armed = line.data.strip().upper() == self.when
        ended = line.who == "C" if self.into == "server" else line.who == "S" and line.data[3:4] != b"-"
        if self.armed and ended:
            self.armed = False
            yield line.who, self.what, "the attacker adds this"


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

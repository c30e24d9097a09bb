"""What was said, read as lines of SMTP: which are commands, replies, body, secrets.

Records are anything with `when`, `who` and `data`; the classes of a notebook and of the package are different
classes, so nobody here asks for a class.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol


class Record(Protocol):
    """One thing that one end said: when (seconds), who ("C" or "S"), and the octets."""

    @property
    def when(self) -> float: ...
    @property
    def who(self) -> str: ...
    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One line, its CR LF included. `kind`: command, reply, body, dot (the end of a body), secret, or sealed (TLS)."""

    when: float
    who: str
    data: bytes
    kind: str

    @property
    def text(self) -> str:
        """The line for people: no line end, secrets masked."""
        if self.kind == "sealed":
            return "(sealed by TLS)"
        text = self.data.removesuffix(b"\r\n").removesuffix(b"\n").decode("utf-8", "backslashreplace")
        if self.kind == "secret":
            return text if text == "*" else "***"
        return masked(text) if self.kind == "command" else text

    @property
    def octets(self) -> str:
        """The same, with every control character visible: CR LF is ␍␊."""
        if self.kind == "sealed":
            return self.text
        end = self.data[len(self.data.rstrip(b"\r\n")) :].decode()
        return "".join(chr(0x2400 + ord(c)) if c < " " else "␡" if c == "\x7f" else c for c in self.text + end)


_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}")           # RFC 4422 §3.1
_RESPONSE = re.compile(rb"([A-Za-z0-9+/=]*|\*)\r?\n?")
VERBS = frozenset(b"AUTH BDAT DATA EHLO EXPN HELO HELP LHLO MAIL NOOP QUIT RCPT RSET STARTTLS VRFY".split()) | {b""}
HANDSHAKE = b"\x16\x03"                        # how TLS begins (RFC 8446 §5.1)
_BDAT = re.compile(rb"(?i)^BDAT +(\d{1,12})\b")


def masked(command: str) -> str:
    """A command without the secret that AUTH may have behind its mechanism, or in its place."""
    verb, *rest = command.split(maxsplit=2) or [""]
    if verb.upper() != "AUTH" or not rest or (len(rest) == 1 and _MECHANISM.fullmatch(rest[0])):
        return command
    return f"{verb} {rest[0]} ***" if _MECHANISM.fullmatch(rest[0]) else f"{verb} ***"


def said_of(source: Any) -> list[Record]:
    """The records of a transcript, of a rehearsal, or of a plain list."""
    return list(getattr(source, "said", source))


def lines_of(source: Any) -> list[Line]:
    """Everything that was said, line by line, however it was cut into records."""
    said = said_of(source)
    reader = Reader(hears_server=any(record.who == "S" for record in said))
    for record in said:
        reader.feed(record)
    return reader.finish()


class Reader:
    """Cuts records into lines, and remembers what the client's next line is."""

    def __init__(self, hears_server: bool = True) -> None:
        self.lines: list[Line] = []
        self.hears_server = hears_server
        self.expected = "command"              # the client's next line: command, body or secret
        self.examined = False                  # an AUTH was not answered for good yet
        self.chunk = 0                         # octets of a BDAT chunk still to come
        self.sealed: set[str] = set()          # who has begun to speak TLS
        self.rest: dict[str, bytes] = {}
        self.began: dict[str, float] = {}

    def feed(self, record: Record) -> None:
        """Read one record; half a line waits for its other half."""
        who = record.who
        if who in self.sealed or (record.data[:2] == HANDSHAKE and not self.rest.get(who)):
            return self.seal(record)
        if not self.rest.get(who):
            self.began[who] = record.when
        data = self.rest.pop(who, b"") + record.data
        while data:
            size = self.chunk_line(data) if who == "C" and self.chunk else data.find(b"\n") + 1
            if not size:
                break
            self.note(self.began[who], who, data[:size])
            data, self.began[who] = data[size:], record.when
        if data:
            self.rest[who] = data

    def seal(self, record: Record) -> None:
        """Octets of TLS: how many pieces they come in says nothing, so one line stands for a turn."""
        self.sealed.add(record.who)
        if not self.lines or (self.lines[-1].who, self.lines[-1].kind) != (record.who, "sealed"):
            self.lines.append(Line(record.when, record.who, record.data, "sealed"))

    def chunk_line(self, data: bytes) -> int:
        return min(data.find(b"\n") + 1 or len(data), self.chunk)

    def note(self, when: float, who: str, data: bytes) -> None:
        """One line is complete: say what it is, and what it makes of the next one."""
        kind = "reply" if who == "S" else self.expected
        if who == "S":
            if self.expected == "secret":      # it was not waited for
                self.expected = "command"
            self.expected = {b"354": "body", b"334": "secret"}.get(data[:3], self.expected)
            self.examined &= data[:1] in b"23" and data[:3] != b"235"
        elif self.chunk:
            kind, self.chunk = "body", self.chunk - len(data)
        elif kind == "body":
            if data == b".\r\n":
                kind, self.expected = "dot", "command"
        elif kind == "command" and self.examined and is_response(data):
            kind = "secret"                    # said before it was asked for
        else:
            self.expected = "command"
            if kind == "command":
                self.examined = self.examined or data[:4].upper() == b"AUTH"
            if match := _BDAT.match(data):
                self.chunk = int(match[1])
            elif data.strip().upper() == b"DATA" and not self.hears_server:
                self.expected = "body"
        self.lines.append(Line(when, who, data, kind))

    def finish(self) -> list[Line]:
        """All lines; what lacks its end stands last."""
        for who, data in self.rest.items():
            self.note(self.began[who], who, data)
        self.rest = {}
        return self.lines


def is_response(data: bytes) -> bool:
    """Whether this is how a client answers in AUTH, and no command."""
    return bool(_RESPONSE.fullmatch(data)) and data.strip().upper() not in VERBS


def speakers(source: Any) -> list[str]:
    """Who spoke, turn by turn."""
    whos = [record.who for record in said_of(source)]
    return [who for before, who in zip(["", *whos], whos, strict=False) if who != before]


def body_size(lines: Iterable[Line]) -> int:
    """Octets on the wire of the body lines among these."""
    return sum(len(line.data) for line in lines if line.kind == "body")

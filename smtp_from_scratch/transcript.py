"""What was said: records of it, read as lines of SMTP (commands, replies, body, secrets), and a transcript of them.

Whoever reads takes anything with `when`, `role` and `data` for a record: the classes of a notebook and of the package
are different classes, so nobody here asks for a class.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol


class Record(Protocol):
    """One thing that one end said: when (seconds), who ("C" or "S"), and the octets."""

    @property
    def when(self) -> float: ...
    @property
    def role(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class Said(NamedTuple):
    """The record that a channel makes."""

    when: float
    role: str
    data: bytes


Tap = Callable[[Said], None]                   # is told all that is said, as it is said


class Rehearsal(NamedTuple):
    """What came of a rehearsal: both results, what was said, and the seconds it would have taken."""

    client: Any
    server: Any
    said: list[Said]
    seconds: float

    @property
    def turns(self) -> int:
        """How often somebody else began to speak."""
        return len(speakers(self))


class Line(NamedTuple):
    """One line, its CR LF included. `kind`: command, reply, body, dot (the end of a body), secret, or sealed (TLS)."""

    when: float
    role: str
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
    """A command without the secret that AUTH may have behind its mechanism, or in its place; PASS of POP3 is one."""
    verb, *rest = command.split(maxsplit=2) or [""]
    if verb.upper() == "PASS" and rest:
        return f"{verb} ***"
    if verb.upper() != "AUTH" or not rest or (len(rest) == 1 and _MECHANISM.fullmatch(rest[0])):
        return command
    return f"{verb} {rest[0]} ***" if _MECHANISM.fullmatch(rest[0]) else f"{verb} ***"


def said_of(source: Any) -> list[Record]:
    """The records of a transcript, of a rehearsal, or of a plain list."""
    return list(getattr(source, "said", source))


def lines_of(source: Any) -> list[Line]:
    """Everything that was said, line by line, however it was cut into records."""
    said = said_of(source)
    reader = Reader(hears_server=any(record.role == "S" for record in said))
    for record in said:
        reader.feed(record)
    return reader.finish()


class Expectation:
    """What the client's next line is: a command, a line of a body, or a secret."""

    def __init__(self, hears_server: bool = True) -> None:
        self.hears_server = hears_server
        self.expected = "command"              # or body, or secret
        self.examined = False                  # an AUTH was not answered for good yet
        self.chunk = 0                         # octets of a BDAT chunk still to come

    def hear_server(self, data: bytes) -> None:
        """What a line of a reply makes of the client's next line."""
        if self.expected == "secret":          # it was not waited for
            self.expected = "command"
        self.expected = {b"354": "body", b"334": "secret"}.get(data[:3], self.expected)
        self.examined &= data[:1] in b"23" and data[:3] != b"235"

    def hear_client(self, data: bytes) -> str:
        """What a line of the client is; and what it makes of the next one."""
        kind = self.expected
        if self.chunk:
            self.chunk -= len(data)
            return "body"
        if kind == "body":
            if data != b".\r\n":
                return kind
            self.expected = "command"
            return "dot"
        if kind == "command" and self.examined and is_response(data):
            return "secret"                    # said before it was asked for
        self.expected = "command"
        if kind == "command":
            self.examined = self.examined or data[:4].upper() == b"AUTH"
        if match := _BDAT.match(data):
            self.chunk = int(match[1])
        elif data.strip().upper() == b"DATA" and not self.hears_server:
            self.expected = "body"
        return kind


class Reader:
    """Cuts records into lines, and says what each is."""

    def __init__(self, hears_server: bool = True) -> None:
        self.lines: list[Line] = []
        self.next = Expectation(hears_server)
        self.sealed: set[str] = set()          # who has begun to speak TLS
        self.rest: dict[str, bytes] = {}
        self.began: dict[str, float] = {}

    def feed(self, record: Record) -> None:
        """Read one record; half a line waits for its other half."""
        who = record.role
        if who in self.sealed or (record.data[:2] == HANDSHAKE and not self.rest.get(who)):
            return self.seal(record)
        if not self.rest.get(who):
            self.began[who] = record.when
        data = self.rest.pop(who, b"") + record.data
        while data:
            size = self.chunk_line(data) if who == "C" and self.next.chunk else data.find(b"\n") + 1
            if not size:
                break
            self.note(self.began[who], who, data[:size])
            data, self.began[who] = data[size:], record.when
        if data:
            self.rest[who] = data

    def seal(self, record: Record) -> None:
        """Octets of TLS: how many pieces they come in says nothing, so one line stands for a turn."""
        self.sealed.add(record.role)
        if not self.lines or (self.lines[-1].role, self.lines[-1].kind) != (record.role, "sealed"):
            self.lines.append(Line(record.when, record.role, record.data, "sealed"))

    def chunk_line(self, data: bytes) -> int:
        """How many octets the next line of a chunk has."""
        return min(data.find(b"\n") + 1 or len(data), self.next.chunk)

    def note(self, when: float, who: str, data: bytes) -> None:
        """One line is complete."""
        if who == "S":
            self.next.hear_server(data)
        self.lines.append(Line(when, who, data, "reply" if who == "S" else self.next.hear_client(data)))

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
    whos = [record.role for record in said_of(source)]
    return [who for before, who in zip(["", *whos], whos, strict=False) if who != before]


def body_size(lines: Iterable[Line]) -> int:
    """Octets on the wire of the body lines among these."""
    return sum(len(line.data) for line in lines if line.kind == "body")


BODY_SHOWN = 4096                              # octets of one body that are shown


class Transcript:
    """A list of records that is also a tap: `Client(…, tap=transcript)` calls it with each `Said`."""

    def __init__(self, said: Iterable[Record] = ()) -> None:
        self.said: list[Record] = list(getattr(said, "said", said))

    def __call__(self, said: Record) -> None:
        """Note what was said."""
        self.said.append(said)

    def __len__(self) -> int:
        return len(self.said)

    def __bool__(self) -> bool:
        return True                            # a tap that has heard nothing is still a tap

    def __iter__(self) -> Iterator[Record]:
        return iter(self.said)

    def __getitem__(self, index: int) -> Record:
        return self.said[index]

    @property
    def turns(self) -> int:
        """How often somebody else began to speak."""
        return len(speakers(self.said))

    @property
    def lines(self) -> list[Line]:
        """Line by line, each with its kind."""
        return lines_of(self.said)

    def clear(self) -> None:
        """Forget everything."""
        self.said.clear()

    def text(self, octets: bool = False) -> str:
        """`C: MAIL FROM:<ana@example.org>`; with `octets`, CR LF shows as ␍␊."""
        rows = shortened(self.lines)
        if not rows:
            return "(nothing was said)"
        return "\n".join(f"{who}: {line_text(line, octets)}".rstrip(" ") for who, line in rows)

    def __str__(self) -> str:
        return self.text()


def line_text(line: Line | str, octets: bool) -> str:
    """A line as it is shown; a note stays what it is."""
    return line if isinstance(line, str) else line.octets if octets else line.text


def shortened(lines: Iterable[Line]) -> list[tuple[str, Line | str]]:
    """Lines with their speakers; of a long body only the beginning, and a note of what is left out."""
    rows: list[tuple[str, Line | str]] = []
    shown, left_out, before = 0, 0, ""
    for line in lines:
        if line.kind == "body":
            if shown + len(line.data) > BODY_SHOWN:
                left_out += len(line.data)
                continue
            shown += len(line.data)
        elif left_out:
            rows.append((before, f"… {left_out:,} octets more …"))
        if line.kind != "body":
            shown = left_out = 0
        before = line.role
        rows.append((line.role, line))
    if left_out:
        rows.append((before, f"… {left_out:,} octets more …"))
    return rows

"""What travels on the wire: lines, replies and commands (RFC 821 §4, RFC 5321 §2.3.8 and §4.2)."""
# Exported from notebooks/01_wire.ipynb; edit the notebook.

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .printable import folded, printable

__all__ = [
    "WireError", "LineTooLong", "BareNewline", "OtherProtocol", "BadReply", "CRLF", "COMMAND_LIMIT", "REPLY_LINE",
    "REPLY_LIMIT", "HOPELESS", "OTHER_PROTOCOLS", "Inbox", "Reply", "encode_reply", "parse_reply", "Command",
    "encode_command", "parse_command",
]


# %% errors
class WireError(ValueError):
    """Octets that no reading of SMTP allows; `hopeless` when nobody can say where the next line begins."""

    hopeless = False


class LineTooLong(WireError):
    """A line beyond its limit; `hopeless` when its end is nowhere in sight (RFC 5321 §4.5.3.1)."""

    def __init__(self, limit: int, hopeless: bool = False) -> None:
        super().__init__(f"a line may have {limit} octets, CR LF included")
        self.hopeless = hopeless


class BareNewline(WireError):
    """A CR without its LF, or an LF without its CR (RFC 5321 §2.3.8)."""

    def __init__(self) -> None:
        super().__init__("a line ends with CR LF; neither may stand alone")


class OtherProtocol(WireError):
    """A line with which another protocol begins: whatever follows is not meant for us."""

    hopeless = True

    def __init__(self, start: bytes) -> None:
        super().__init__(f"this is SMTP, and {start[:20]!r} is not")


class BadReply(WireError):
    """A reply was due and this is none (RFC 5321 §4.2)."""


# %% limits
CRLF = b"\r\n"
COMMAND_LIMIT = 512      # octets of a command line, CR LF included (RFC 5321 §4.5.3.1.4)
REPLY_LINE = 512         # octets of a reply line that we write (§4.5.3.1.5)
REPLY_LIMIT = 8192       # and of one that we read: the world writes more
HOPELESS = 65_536        # octets after which we stop waiting for the end of a line
OTHER_PROTOCOLS = re.compile(          # how TLS, SSH and HTTP begin a line; mostly the first octet tells
    rb"(?=[\x16CDGHOPST])(?:\x16\x03|SSH-|HOST:|"
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI)[ \r\n])", re.IGNORECASE)
_GOOD_LINE = re.compile(rb"(?!%b)([^\r\n]*)\r\n" % OTHER_PROTOCOLS.pattern, re.IGNORECASE)


# %% inbox
class Inbox:
    """Octets that arrived and were not read yet; how `recv` cut them does not matter."""

    __slots__ = ("_data", "_dropped", "_start", "_tainted")

    def __init__(self) -> None:
        self._data, self._start, self._dropped, self._tainted = b"", 0, 0, False  # read; gone; after a bare LF

    def __len__(self) -> int:
        return len(self._data) - self._start

    def feed(self, data: bytes) -> None:
        """Add octets that have arrived."""
        self._data, self._start = self._data[self._start :] + data, 0

    def octets(self, count: int) -> bytes:
        """Take at most `count` octets as they are, `b""` when there are none."""
        chunk = self._data[self._start : self._start + count]
        self._start += len(chunk)
        return chunk

    def line(self, limit: int = COMMAND_LIMIT) -> bytes | None:
        """Take one line without its CR LF, or None while it is incomplete; raises `WireError`."""
        if self._start == len(self._data): return None     # whoever waits asks this for each line
        good = _GOOD_LINE.match(self._data, self._start, self._start + limit)
        if good and not (self._dropped or self._tainted):
            self._start = good.end()
            return good[1]
        if not self._dropped and OTHER_PROTOCOLS.match(self._data, self._start):
            raise OtherProtocol(self.octets(len(self)))
        end = self._data.find(b"\n", self._start) + 1
        if not end and len(self) <= limit:
            return None
        line = self.octets(end - self._start if end else len(self) - 1)
        length = self._dropped + len(line)
        self._dropped = 0 if end else length
        if not end and length <= HOPELESS:
            return None                        # drop what came; its end tells when it is over
        self._tainted = not line.endswith(CRLF)
        raise LineTooLong(limit, hopeless=length > HOPELESS) if length > limit else BareNewline


# %% reply
@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer: three digits for the program, text for people (RFC 5321 §4.2).

    `text` may have several lines, separated by LF. `enhanced` is the code of RFC 3463 (`"2.1.0"`) or empty.
    """

    code: int
    text: str = ""
    enhanced: str = ""

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"a reply code lies between 200 and 599, not {self.code}")
        if "\r" in self.text or "\0" in self.text or "\r" in self.enhanced or "\n" in self.enhanced:
            raise ValueError("the text of a reply may not contain CR or NUL; separate its lines by LF")

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @property
    def positive(self) -> bool:
        """Done: 2yz."""
        return self.code < 300

    @property
    def temporary(self) -> bool:
        """Not now; the same again later may succeed: 4yz."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Not like this, ever: 5yz."""
        return self.code >= 500

    def __str__(self) -> str:
        text = printable(self.text.replace("\n", " / "))
        return " ".join(filter(None, (str(self.code), printable(self.enhanced), text)))


# %% encode-reply
@lru_cache(256)                                # a server says few things, and says them often
def encode_reply(reply: Reply) -> bytes:
    """The octets of a reply; every line but the last has a hyphen after its code (RFC 5321 §4.2.1)."""
    prefix = f"{reply.enhanced} " if reply.enhanced else ""
    room = REPLY_LINE - len(f"{reply.code} {prefix}\r\n")
    *first, last = [prefix + piece for line in reply.text.split("\n") for piece in folded(line, room)]
    lines = [f"{reply.code}-{line}\r\n" for line in first]
    lines.append(f"{reply.code} {last}\r\n" if last else f"{reply.code}\r\n")
    return "".join(lines).encode()


# %% parse-reply
_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n\0]*))?")


def parse_reply(lines: Sequence[bytes]) -> Reply:
    """The reply that these lines are, or `BadReply`; lines come without CR LF (RFC 5321 §4.2)."""
    code, texts = b"", []
    for number, line in enumerate(lines, 1):
        match = _REPLY_LINE.fullmatch(line)
        if not match or (code and match[1] != code):
            raise BadReply(f"expected the next line of a reply, got {line[:80]!r}")
        if (match[2] == b"-") != (number < len(lines)):
            raise BadReply(f"a hyphen follows the code of every line but the last: {line[:80]!r}")
        code = match[1]
        texts.append((match[3] or b"").decode("utf-8", "backslashreplace"))
    if not code:
        raise BadReply("a reply has at least one line")
    return Reply(int(code), "\n".join(texts))


# %% command
class Command(NamedTuple):
    """A client's line: a verb in upper case, and whatever follows it (RFC 5321 §2.4, §4.1.1)."""

    verb: str
    argument: str = ""


def encode_command(verb: str, argument: str = "") -> bytes:
    """The octets of a command line; ValueError when CR, LF or NUL would smuggle in a second one."""
    line = f"{verb} {argument}" if argument else verb
    if "\r" in line or "\n" in line or "\0" in line:
        raise ValueError(f"a command is one line, without CR, LF and NUL: {line!r}")
    return line.encode() + CRLF


def parse_command(line: bytes) -> Command:
    """Split a line at its first space (RFC 5321 §4.1.1); octets that are not UTF-8 become surrogates.

    Only the letters of ASCII have two cases here: `str.upper` would make RSET of `RſET` (§2.4).
    """
    verb, _, argument = line.partition(b" ")
    return Command(verb.upper().decode("utf-8", "surrogateescape"),
                   argument.rstrip(b" \t").decode("utf-8", "surrogateescape"))

"""Who really receives a message: its envelope and paths, and the dot that ends it (RFC 5321 §3.3, §4.5.2)."""
# Exported from notebooks/03_envelope.ipynb; edit the notebook.

from __future__ import annotations

import io
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from functools import lru_cache
from typing import NamedTuple

from .addresses import addresses_in
from .channel import Channel
from .conversation import NOT_YET, NotYet
from .dots import find_dot
from .stream import Stream
from .wire import CRLF

__all__ = [
    "Envelope", "envelope_of", "Path", "NULL_PATH", "BadPath", "LOCAL_LIMIT", "DOMAIN_LIMIT", "PATH_LIMIT",
    "check_path", "PATH", "parse_path", "few_quotes", "encode_path", "has_bare_newline", "normalize", "stuff",
    "END_OF_BODY", "split_tail", "BodyCutter", "Body",
]


# %% envelope
@dataclass(slots=True)
class Envelope:
    """Who sent a message and who shall receive it, whatever its header says (RFC 5321 §2.3.1)."""

    sender: str = ""                                   # the reverse-path: bounces go there; empty for a bounce
    recipients: list[str] = field(default_factory=list)    # the forward-paths
    hello: str = ""                                    # what the client called itself
    peer: str = ""                                     # the address that it came from
    protocol: str = "SMTP"                             # for `with` in Received (RFC 3848)
    parameters: dict[str, str | None] = field(default_factory=dict)     # of MAIL
    options: dict[str, dict[str, str | None]] = field(default_factory=dict, repr=False)     # of each RCPT
    user: str = field(default="", repr=False)          # who has proved to be the sender


# %% envelope-of
def envelope_of(message: Message) -> Envelope:
    """The envelope that a message asks for: Sender or From, and To, Cc and Bcc (RFC 5322 §3.6).

    Once it was resent, its Resent- fields count instead. ValueError: resent twice, no sender, unreadable.
    """
    resent = len(message.get_all("Resent-Date", []))
    if resent > 1:
        raise ValueError("the message was resent more than once: give `sender` and `recipients`")
    prefix = "Resent-" if resent else ""
    senders = addresses_in(message, prefix + "Sender") or addresses_in(message, prefix + "From")
    if not senders:
        raise ValueError(f"the message names no sender: give it a {prefix}From header, or give `sender`")
    recipients = [address for name in ("To", "Cc", "Bcc") for address in addresses_in(message, prefix + name)]
    return Envelope(senders[0], list(dict.fromkeys(recipients)))


# %% path
class Path(NamedTuple):
    """Where a message comes from or goes to; `Path("", "")` is the null path `<>` (RFC 5321 §4.5.5)."""

    local: str
    domain: str
    route: tuple[str, ...] = ()

    @property
    def mailbox(self) -> str:
        """`local@domain`; `postmaster` may stand alone; the null path is empty."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    def __str__(self) -> str:
        route = ",".join(f"@{host}" for host in self.route) + ":" if self.route else ""
        return f"<{route}{self.mailbox}>"


NULL_PATH = Path("", "")


class BadPath(ValueError):
    """A path, or a mailbox in it, that the grammar does not allow (RFC 5321 §4.1.2)."""


# %% check-path
LOCAL_LIMIT, DOMAIN_LIMIT, PATH_LIMIT = 64, 255, 256      # octets (RFC 5321 §4.5.3.1.1 to §4.5.3.1.3)
_TOO_LONG = f"a local part has at most {LOCAL_LIMIT} octets, a domain {DOMAIN_LIMIT}, a path {PATH_LIMIT}"


def check_path(path: Path, octets: int) -> None:
    """Raise BadPath for a path, of so many octets, that is too long, or has a literal that is none (§4.1.3)."""
    if octets > LOCAL_LIMIT:                   # else no part of it is too long
        local, domain = len(path.local.encode()), len(path.domain.encode())
        if octets > PATH_LIMIT or local > LOCAL_LIMIT or domain > DOMAIN_LIMIT:
            raise BadPath(_TOO_LONG)
    if path.domain[:1] == "[":
        v6, literal = path.domain[:6].lower() == "[ipv6:", path.domain[1:-1]
        try:
            ipaddress.IPv6Address(literal[5:]) if v6 else ipaddress.IPv4Address(literal)
        except ValueError as error:
            raise BadPath(f"{path.domain} is not an address literal: {error}") from None


# %% parse-path
_NEVER = r"\x00-\x1f\x7f"                    # what may not be there; all text beyond ASCII may (RFC 6531 §3.3)
_ATOM = rf'[^{_NEVER} "(),.:;<>@\[-\]]+'
_DOT_STRING = rf"{_ATOM}(?:\.{_ATOM})*"
_QUOTED = rf'"(?:[^{_NEVER}"\\]|\\[ -~])*"'
_LABEL = rf"(?!-)[^{_NEVER} -,./:-@\[-`{{-~]+(?<!-)"     # a hyphen neither begins nor ends it
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
PATH = re.compile(
    rf"<(?:(?P<route>@{_DOMAIN}(?:,@{_DOMAIN})*):)?(?P<local>{_DOT_STRING}|{_QUOTED})@"
    rf"(?P<domain>{_DOMAIN}|\[(?:[Ii][Pp][Vv]6:)?[0-9A-Fa-f:.]+\])>")


def parse_path(text: str) -> tuple[Path, str]:
    """The path at the start of `text`, and what follows it; raises BadPath (RFC 5321 §4.1.2)."""
    match, plain = PATH.match(text), text.isascii()
    if not match and text[:2] == "<>":
        return NULL_PATH, text[2:]
    if not match and text[:12].lower() == "<postmaster>":
        return Path(text[1:11], ""), text[12:]
    if not match or (not plain and re.search(r"[\ud800-\udfff]", match[0])):     # see PEP 383
        raise BadPath(f"expected <local-part@domain>, got {text[:80]!r}")
    route, local, domain = match.groups()
    path = Path(local, domain, tuple(re.findall("@([^,]+)", route)) if route else ())
    check_path(path, match.end() if plain else len(match[0].encode()))
    return path, text[match.end() :]


# %% few-quotes
def few_quotes(address: str) -> str:
    """A local part, or a whole mailbox, with no more quotes than it needs (RFC 5321 §4.1.2)."""
    match = re.fullmatch(rf"({_QUOTED})(@[^@]*)?", address)
    if not match:
        return address
    text = re.sub(r"\\(.)", r"\1", match[1][1:-1])
    if not re.fullmatch(_DOT_STRING, text):
        text = '"' + re.sub(r'([\\"])', r"\\\1", text) + '"'
    return text + (match[2] or "")


@lru_cache(1024)                               # those who write, and whom they write to, come again
def encode_path(address: str) -> str:
    """`<address>` as it stands in MAIL and RCPT; raises BadPath unless it is one whole mailbox."""
    path, rest = parse_path(f"<{address}>")
    if rest:
        raise BadPath(f"expected one mailbox, got {address!r}")
    return f"<{address}>" if path.local[:1] != '"' else str(path._replace(local=few_quotes(path.local)))


# %% newlines
def has_bare_newline(text: bytes | str) -> bool:
    """Whether a CR or an LF stands alone in a whole text (RFC 5321 §2.3.8)."""
    decoder = io.IncrementalNewlineDecoder(None, False)
    decoder.decode(text if isinstance(text, str) else text.decode("latin-1"), True)
    return decoder.newlines not in (None, "\r\n")


# %% stuff
_NEWLINE = re.compile(rb"\r\n?|\n")


def normalize(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text with every line end, CR, LF or CR LF, as CR LF (RFC 5321 §2.3.8)."""
    if getattr(blocks, "clean", False):                # somebody has looked, and they cannot change
        return (yield from blocks)
    held = b""                                         # a CR at the end of a block: half a line end?
    for block in blocks:
        block = held + block
        held = b"\r" if block.endswith(b"\r") else b""
        block = block[: len(block) - len(held)]
        yield _NEWLINE.sub(CRLF, block) if has_bare_newline(block) else block
    if held: yield CRLF


def stuff(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """A body made ready for DATA: line ends CR LF, dots at line starts doubled, the end marked (§4.5.2)."""
    tail, ready = CRLF, b""                            # what was said last, as if a line had ended
    for block in filter(None, normalize(blocks)):
        if ready: yield ready
        text = tail + block if b"." in block else b""  # base64 has none: one fast look
        ready = text.replace(b"\r\n.", b"\r\n..")[len(tail) :] if find_dot(text) >= 0 else block
        tail = (tail + block[-2:])[-2:]
    yield ready + (b".\r\n" if tail == CRLF else b"\r\n.\r\n")   # the end leaves with the last block


# %% cutter
END_OF_BODY = b"\r\n.\r\n"


def split_tail(data: bytes) -> tuple[bytes, bytes]:
    """Cut off the octets at the end that may turn out to be the start of the end mark (RFC 5321 §4.5.2)."""
    for length in range(min(len(END_OF_BODY) - 1, len(data)), 0, -1):
        if data.endswith(END_OF_BODY[:length]):
            return data[:-length], data[-length:]
    return data, b""


class BodyCutter:
    """Finds the end of a body that arrives in pieces, and removes doubled dots (RFC 5321 §4.5.2)."""

    __slots__ = ("_held", "_virtual", "ended")

    def __init__(self) -> None:
        self.ended = False
        self._held, self._virtual = CRLF, 2            # the CR LF that ended the DATA line

    def cut(self, data: bytes) -> tuple[bytes, bytes]:
        """The part of the body that is certain by now, and, once it has ended, what follows it."""
        if self._virtual and self._held == CRLF and data[:1] not in b".":
            self._held, self._virtual = b"", 0         # no dot follows it, so a large block need not be copied
        data, rest = self._held + data, b""
        dot = find_dot(data)
        end = data.find(END_OF_BODY, dot) if dot >= 0 else -1
        if end >= 0:
            self.ended, data, rest = True, data[: end + 2], data[end + 5 :]
        else:
            data, self._held = split_tail(data)
        if dot != end:                                 # mostly the first is the end
            data = data.replace(b"\r\n.", CRLF)
        block = data[self._virtual :]
        self._virtual = 0 if data else self._virtual
        return block, rest


# %% body
class Body(Stream):
    """Want: the next block of a body, without doubled dots; `b""` at its end (RFC 5321 §4.5.2)."""
    __slots__ = ("cutter",)

    def __init__(self, cutter: BodyCutter, timeout: float = 180.0, rate: float = 500.0) -> None:
        super().__init__(timeout, rate)
        self.cutter = cutter

    def take(self, channel: Channel) -> bytes | NotYet:
        if not self.cutter.ended and (data := channel.inbox.octets(len(channel.inbox))):
            block, rest = self.cutter.cut(data)
            if rest:
                channel.inbox.feed(rest)               # the next command
            if block:
                return self.earn(block)
        return b"" if self.cutter.ended else NOT_YET

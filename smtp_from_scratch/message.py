"""From an EmailMessage, bytes, a file or an iterator to what travels, and its exact size."""
from __future__ import annotations

import codecs
import contextlib
import copy
import re
from collections.abc import Container, Iterable, Iterator
from email.message import Message
from email.utils import getaddresses
from typing import Any, Protocol, TypeGuard

from .envelope import Envelope, envelope_of, has_bare_newline
from .transaction import OutgoingMessage

__all__ = ["BLOCK", "Body", "addressees", "outgoing", "prepare"]

BLOCK = 262_144                                 # octets read at a time


class HasRead(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes: ...
    def seekable(self) -> bool: ...
    def tell(self) -> int: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


Source = bytes | HasRead | Iterable[bytes]
Body = Source | str | bytearray | memoryview


def is_file(body: object) -> TypeGuard[HasRead]:
    """Whether a body is read from (`isinstance` with a protocol would take longer than to send a short message)."""
    return hasattr(body, "read") and hasattr(body, "seekable")


# --- an EmailMessage ---------------------------------------------------------------------------------------------


def prepare(message: Message, sender: str | None, recipients: str | Iterable[str] | None,
            keywords: Container[str]) -> tuple[Envelope, bytes]:
    """A message's envelope, and its octets, without Bcc, in the form that these extensions let travel.

    Octets in its header that are not UTF-8 are written as encoded words, in 7 bits: no extension lets them travel.
    """
    envelope = envelope_of(message) if sender is None or recipients is None else Envelope()
    if sender is not None:
        envelope.sender = sender
    if recipients is not None:
        envelope.recipients = [recipients] if isinstance(recipients, str) else list(recipients)
    public = copy.copy(message)
    del public["Bcc"]
    del public["Resent-Bcc"]
    international = not all(address.isascii() for address in (envelope.sender, *envelope.recipients))
    form: dict[str, Any] = {"linesep": "\r\n", "cte_type": "8bit" if "8BITMIME" in keywords else "7bit"}
    if hasattr(message.policy, "utf8"):         # a header in UTF-8 needs SMTPUTF8, as such an envelope does
        form["utf8"] = international
    octets = public.as_bytes(policy=message.policy.clone(**form))
    if not is_utf8(header_of(octets)):
        octets = public.as_bytes(policy=message.policy.clone(**form | {"cte_type": "7bit"}))
    return envelope, octets


def addressees(message: Message) -> list[str]:
    """Whom a message is for, as far as that can be read."""
    with contextlib.suppress(Exception):        # `email` raises many
        values = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
        return list(dict.fromkeys(address for _, address in getaddresses(values) if address))
    return []


# --- octets ------------------------------------------------------------------------------------------------------


class Blocks:
    """A source's octets in blocks; from its start each time, where it can be read again."""

    def __init__(self, source: Source) -> None:
        self.source, self.clean = source, False     # clean: every line end is CR LF, and nobody can change that
        self._start = source.tell() if is_file(source) and source.seekable() else 0

    @property
    def rereadable(self) -> bool:
        """Whether it can be read more than once."""
        source = self.source
        if is_file(source):
            return source.seekable()
        return not isinstance(source, Iterator) and iter(source) is not iter(source)   # type: ignore[arg-type]

    @property
    def countable(self) -> bool:
        """Whether it costs nobody anything to read it beforehand."""
        source = self.source
        return isinstance(source, bytes | list | tuple) or (is_file(source) and source.seekable())

    def __iter__(self) -> Iterator[bytes]:
        source = self.source
        if isinstance(source, bytes):
            return (source[start : start + BLOCK] for start in range(0, len(source), BLOCK))
        if not is_file(source):
            return iter(source)                 # type: ignore[arg-type]
        self.rewind()
        return iter(lambda: source.read(BLOCK), b"")

    def rewind(self) -> None:
        """Back to where a file stood."""
        if is_file(self.source) and self.source.seekable():
            self.source.seek(self._start)


_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_BINARY = re.compile(rb"^content-transfer-encoding:\s*binary\s*$", re.IGNORECASE | re.MULTILINE)
NOT_UTF8 = ("the header has octets that are neither ASCII nor UTF-8, and no extension lets them travel: "
            "write them as encoded words (RFC 2047)")


def outgoing(envelope: Envelope, body: Body, *, eight_bit: bool, binary: bool = False) -> OutgoingMessage:
    """A message with all that can be known of its body without reading what can be read only once.

    `eight_bit`: the server takes 8-bit octets, so what is not known may be announced. `binary`: no octet is changed;
    so it is, too, if the header says so. Raises ValueError for a header that can travel nowhere.
    """
    source = Blocks(body.encode() if isinstance(body, str) else bytes(body)
                    if isinstance(body, bytearray | memoryview) else body)
    header = header_of(source)
    if not (header.isascii() or is_utf8(header)):
        raise ValueError(NOT_UTF8)
    binary = binary or bool(_BINARY.search(header))
    if not (eight_bit or binary or source.countable):
        source = Blocks(list(source))
    size = None
    if source.countable:
        size, eight_bit, sound = survey(source, binary)
        source.clean = sound and isinstance(source.source, bytes)
        source.rewind()
    needs = {"BINARYMIME"} if binary else {"8BITMIME"} if eight_bit else set()
    if not header.isascii():
        needs.add("SMTPUTF8")                   # RFC 6531 §3.4; 8BITMIME is about the text below (RFC 6152 §3)
    return OutgoingMessage(envelope, source, size, frozenset(needs), binary)


def survey(text: Iterable[bytes], binary: bool) -> tuple[int, bool, bool]:
    """Octets that a message has on the wire, whether some are beyond ASCII, and whether each line end is CR LF.

    Each line ends with CR LF there, the last one, too; what DATA doubles or adds at the end does not count
    (RFC 1870 §5). Of a binary message nothing is changed.
    """
    size, eight_bit, last, bare = 0, False, b"\n", 0         # bare: octets that are missing at line ends
    for block in filter(None, text):
        size += len(block)
        eight_bit = eight_bit or not block.isascii()
        if not binary and has_bare_newline(block):      # fast where there is nothing to count
            bare += block.count(b"\n") + block.count(b"\r") - 2 * block.count(b"\r\n")
        if not binary and last == b"\r" and block[:1] == b"\n":         # a line end cut in two: each half counted
            bare -= 2
        last = block[-1:]
    return size + bare + (0 if binary or last in b"\r\n" else 2), eight_bit, not (bare or binary)


def is_utf8(header: bytes) -> bool:
    """Whether a header is UTF-8, or ASCII, which is the same; it may be cut off in the middle of a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(header, final=len(header) < BLOCK)
    except UnicodeDecodeError:
        return False
    return True


def header_of(message: Blocks | bytes) -> bytes:
    """What is above a message's first empty line, where it can be read and be read again; else nothing.

    A message whose first line is no field has no header (RFC 5322 §2.2).
    """
    source = Blocks(message) if isinstance(message, bytes) else message
    if not source.countable:
        return b""
    top = b""
    for block in source:
        top += block[: BLOCK - len(top)]
        if len(top) == BLOCK:
            break
    source.rewind()
    if not _FIELD.match(top):
        return b""
    ends = [end for end in map(top.find, (b"\r\n\r\n", b"\n\n", b"\r\r")) if end >= 0]
    return top[: min(ends, default=len(top))]

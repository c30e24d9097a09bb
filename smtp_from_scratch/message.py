"""From an EmailMessage, bytes, a file or an iterator to what travels, and its exact size."""
from __future__ import annotations

import base64
import codecs
import contextlib
import copy
import io
import re
from collections.abc import Container, Iterable, Iterator
from email.message import Message
from typing import Any, Protocol, TypeGuard

from .addresses import listed
from .envelope import Envelope, envelope_of, has_bare_newline
from .stream import BLOCK
from .transaction import OutgoingMessage

__all__ = ["Blocks", "Body", "addressees", "in_base64", "outgoing", "prepare"]



class HasRead(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes: ...
    def seekable(self) -> bool: ...
    def tell(self) -> int: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


Body = bytes | HasRead | Iterable[bytes] | str | bytearray | memoryview


def is_file(body: object) -> TypeGuard[HasRead]:
    """Whether a body is read from; TypeError for a file in text mode.

    (`isinstance` with a protocol would take longer than to send a short message.)
    """
    if isinstance(body, io.TextIOBase):
        raise TypeError(NO_OCTETS.format("str"))
    return hasattr(body, "read") and hasattr(body, "seekable")


# --- an EmailMessage ---------------------------------------------------------------------------------------------


def prepare(message: Message, sender: str | None, recipients: str | Iterable[str] | None,
            keywords: Container[str]) -> tuple[Envelope, bytes]:
    """A message's envelope, and its octets, without Bcc, in the form that these extensions let travel.

    Octets beyond ASCII in its header are written as encoded words, in 7 bits, unless they are UTF-8 and SMTPUTF8 is
    among the extensions.
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
    header = header_of(Octets(octets))
    if not (header.isascii() or (is_utf8(header) and "SMTPUTF8" in keywords)):
        octets = public.as_bytes(policy=message.policy.clone(**form | {"cte_type": "7bit"}))
    return envelope, octets


def in_base64(message: Message) -> Message:
    """The message, with base64 for parts in `binary`: writing them as a message changes what looks like a line end."""
    if not isinstance(message, Message):
        raise TypeError(f"expected an EmailMessage, got {type(message).__name__}: sendmail sends text and octets")
    if not any(map(is_binary, message.walk())):
        return message
    message = copy.deepcopy(message)
    for part in filter(is_binary, message.walk()):
        del part["Content-Transfer-Encoding"]
        if not part.is_multipart():
            octets = part.get_payload(decode=True)
            part.set_payload(base64.encodebytes(octets if isinstance(octets, bytes) else b"").decode())
        part["Content-Transfer-Encoding"] = "8bit" if part.is_multipart() else "base64"
    return message


def is_binary(part: Message) -> bool:
    """Whether a part says of itself that it is in `binary` (RFC 2045 §6.2)."""
    return any(name.lower() == "content-transfer-encoding" and str(value).strip().lower() == "binary"
               for name, value in part.raw_items())


def addressees(message: Message) -> list[str]:
    """Whom a message is for, as far as that can be read."""
    with contextlib.suppress(Exception):        # `email` raises many
        values = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
        return list(dict.fromkeys(listed(values)))
    return []


# --- octets ------------------------------------------------------------------------------------------------------


class Blocks:
    """A source's octets in blocks; from its start each time, where it can be read again."""

    clean = False                               # every line end is CR LF, and nobody can change that

    def __init__(self, source: Iterable[bytes]) -> None:
        self.source = source
        self.countable = isinstance(source, list | tuple)      # it costs nobody anything to read it beforehand
        self.rereadable = not isinstance(source, Iterator) and iter(source) is not iter(source)

    def __iter__(self) -> Iterator[bytes]:
        return map(octets_of, self.source)

    def top(self) -> bytes:
        """The first octets, in which the header is; nothing, where they could not be read again."""
        top = b""
        for block in self if self.countable else ():
            top += block[: BLOCK - len(top)]
            if len(top) == BLOCK:
                break
        self.rewind()
        return top

    def rewind(self) -> None:
        """Back to the start."""


class Octets(Blocks):
    """Octets in memory."""

    countable = rereadable = True

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def __iter__(self) -> Iterator[bytes]:
        octets = self.octets
        if len(octets) <= BLOCK:                # nearly every letter
            return iter((octets,))
        return (octets[start : start + BLOCK] for start in range(0, len(octets), BLOCK))

    def top(self) -> bytes:
        return self.octets[:BLOCK]


class OpenFile(Blocks):
    """An open file, from where it stands."""

    def __init__(self, file: HasRead) -> None:
        self.file = file
        self.countable = self.rereadable = file.seekable()
        self._start = file.tell() if self.rereadable else 0

    def __iter__(self) -> Iterator[bytes]:
        self.rewind()
        while block := self.file.read(BLOCK):
            yield octets_of(block)

    def rewind(self) -> None:
        if self.rereadable:
            self.file.seek(self._start)


NO_OCTETS = 'a body is bytes, a str, or blocks of bytes, not of {}: open a file in binary mode, "rb"'


def octets_of(block: object) -> bytes:
    """A block as bytes; TypeError for one that is none, such as a file gives in text mode."""
    if type(block) is bytes:                    # nearly every block
        return block
    if isinstance(block, bytes | bytearray | memoryview):
        return bytes(block)
    raise TypeError(NO_OCTETS.format(type(block).__name__))


def blocks_of(body: Body) -> Blocks:
    """A body's octets in blocks; text becomes UTF-8. TypeError for an EmailMessage, whose items are names of fields."""
    if isinstance(body, bytes):
        return Octets(body)
    if isinstance(body, str):
        return Octets(body.encode())
    if isinstance(body, bytearray | memoryview):
        return Octets(bytes(body))
    if isinstance(body, Message):
        raise TypeError("a body is text or octets: send_message sends an EmailMessage")
    return OpenFile(body) if is_file(body) else Blocks(body)    # type: ignore[arg-type]


_FIELD = re.compile(rb"[!-9;-~]++[ \t]*+:")
_EMPTY = re.compile(rb"(?>\r\n?|\n){2}")       # CR, LF and CR LF end a line (RFC 5321 §2.3.8)
_BINARY = re.compile(rb"^content-transfer-encoding:\s*binary\s*$", re.IGNORECASE | re.MULTILINE)
NOT_UTF8 = ("the header has octets that are neither ASCII nor UTF-8, and no extension lets them travel: "
            "write them as encoded words (RFC 2047)")


def outgoing(envelope: Envelope, body: Body, *, eight_bit: bool, binary: bool = False,
             sized: bool = True) -> OutgoingMessage:
    """A message with all that can be known of its body without reading what can be read only once.

    `eight_bit`: the server takes 8-bit octets, so what is not known may be announced. `binary`: no octet is changed;
    so it is, too, if the header says so. `sized`: somebody asks for the size, so it is counted before the first octet
    leaves. Raises ValueError for a header that can travel nowhere.
    """
    blocks = blocks_of(body)
    header = header_of(blocks)
    plain = header.isascii()
    if not (plain or is_utf8(header)):
        raise ValueError(NOT_UTF8)
    binary = binary or (b"binary" in header.lower() and bool(_BINARY.search(header)))
    if not (eight_bit or binary or blocks.countable):
        blocks = Blocks(list(blocks))
    size = None
    if blocks.countable and sized:
        size, eight_bit, sound = survey(blocks, binary)
        blocks.clean = sound and isinstance(blocks, Octets)
        blocks.rewind()
    elif blocks.countable:
        eight_bit = not all(block.isascii() for block in blocks)
        blocks.rewind()
    needs = ["BINARYMIME"] if binary else ["8BITMIME"] if eight_bit else []
    if not plain:
        needs.append("SMTPUTF8")                # RFC 6531 §3.4; 8BITMIME is about the text below (RFC 6152 §3)
    return OutgoingMessage(envelope, blocks, size, frozenset(needs), binary)


def survey(text: Iterable[bytes], binary: bool) -> tuple[int, bool, bool]:
    """Octets that a message has on the wire, whether some are beyond ASCII, and whether each line end is CR LF.

    Each line ends with CR LF there, the last one, too; what DATA doubles or adds at the end does not count
    (RFC 1870 §5). Of a binary message nothing is changed.
    """
    size, eight_bit, last, bare = 0, False, b"\n", 0         # bare: octets that are missing at line ends
    for block in filter(None, text):
        size += len(block)
        letters = block.decode("latin-1")               # one for each octet; they know whether they are ASCII
        eight_bit = eight_bit or not letters.isascii()
        if not binary and has_bare_newline(letters):    # fast where there is nothing to count
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


def header_of(message: Blocks) -> bytes:
    """What is above a message's first empty line, where it can be read and be read again; else nothing.

    A message whose first line is no field has no header (RFC 5322 §2.2).
    """
    top = message.top()
    if not _FIELD.match(top):
        return b""
    return _EMPTY.split(top.partition(b"\r\n\r\n")[0], maxsplit=1)[0]

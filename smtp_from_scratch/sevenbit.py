"""A message in 8 bits made one in 7, for a host without 8BITMIME: quoted-printable for its parts (RFC 6152 §3).

It is read as it is written, line by line: the work grows as the message does, and the memory does not.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from .bodies import MEMORY, Spool
from .parts import content_type, fields_of

__all__ = ["quoted_printable", "seven_bit"]

LINE, HEADER, DEPTH = 1_000_000, 262_144, 50    # octets of a line, octets of a header, parts within parts
KIND = re.compile(r"[!-.0-~]+/[!-.0-~]+")
WHITE = b" \t\r\n"                            # after a delimiter; others make another line of it (RFC 2046 §5.1.1)
BOUNDARY = re.compile(r'(?:^|[\s;"])boundary[*0-9]*\s*=', re.IGNORECASE)
SIGNATURES = ("dkim-signature", "arc-message-signature")
ENCODED = [bytes([octet]) if 32 <= octet <= 126 and octet != ord("=") or octet == 9 else b"=%02X" % octet
           for octet in range(256)]


def seven_bit(body: IO[bytes]) -> Spool:
    """The message in an open file, in 7 bits, from where the file stands. ValueError for what cannot be changed safely.

    That is: what is signed, what is no MIME, or says one thing and is another, and fields beyond ASCII.
    """
    spool = Spool(None, MEMORY, binary=True)
    try:
        for block in Conversion(body).message():
            spool.add(block)
        if spool.fault:                         # half a message is none
            raise OSError(spool.fault.text)
    except BaseException:
        spool.close()
        raise
    spool.file.seek(0)
    return spool


def quoted_printable(line: bytes) -> bytes:
    """A line of text, in lines of at most 76 octets; its end stays as it is (RFC 2045 §6.7)."""
    text = line.removesuffix(b"\n").removesuffix(b"\r")
    pieces = [ENCODED[octet] for octet in text]
    if text.endswith((b" ", b"\t")):            # a hop may take it away
        pieces[-1] = b"=%02X" % text[-1]
    written, width = [], 0
    for piece in pieces:
        if width + len(piece) > 75:
            written.append(b"=\r\n")
            width = 0
        written.append(piece)
        width += len(piece)
    return b"".join([*written, line[len(text) :]])


def is_field(line: bytes, name: str) -> bool:
    """Whether a field of this name begins with this line."""
    return bool(re.match(rb"%s[ \t]*:" % name.encode(), line, re.IGNORECASE))


class Entity:
    """What a header says of the content below it. ValueError where it contradicts itself, or is none."""

    def __init__(self, header: list[bytes], default: str) -> None:
        text = b"".join(header)
        if not text.isascii():
            raise ValueError("a field of a header is beyond ASCII")
        self.header, self.fields = header, fields_of(text)
        for name in ("content-type", "content-transfer-encoding", "mime-version"):
            if sum(is_field(line, name) for line in header) > 1:
                raise ValueError(f"{name} is there twice")
        self.kind, self.parameters = content_type(self.fields.get("content-type", "") or default)
        self.coding = self.fields.get("content-transfer-encoding", "7bit").lower()
        if not KIND.fullmatch(self.kind):
            raise ValueError(f"a content type that cannot be read: {self.kind[:50]}")
        if self.kind == "multipart/signed" or any(name in self.fields for name in SIGNATURES):
            raise ValueError("it is signed, and no signature survives a change")
        if len(BOUNDARY.findall(self.fields.get("content-type", ""))) > 1:
            raise ValueError("a boundary is there twice")
        self.has_parts, self.is_message = self.kind.startswith("multipart/"), self.kind == "message/rfc822"
        if self.coding not in ("7bit", "8bit", "quoted-printable", "base64"):
            raise ValueError(f"a part is in {self.coding[:50]}")
        plain = self.coding in ("7bit", "8bit")
        if not plain and (self.has_parts or self.kind.startswith("message/")):
            raise ValueError(f"{self.kind} is in {self.coding} (RFC 2046 §5)")
        if self.coding == "8bit" and self.kind.startswith("message/") and not self.is_message:
            raise ValueError(f"{self.kind} may not be encoded (RFC 2046 §5.2)")

    @property
    def quoted(self) -> bool:
        """Whether the content becomes quoted-printable."""
        return self.coding == "8bit" and not (self.has_parts or self.is_message)

    def written(self) -> Iterator[bytes]:
        """The header, with what is true afterwards."""
        skip = False
        for line in self.header:
            if line[:1] not in b" \t":
                skip = self.coding == "8bit" and is_field(line, "content-transfer-encoding")
                if skip:
                    yield b"Content-Transfer-Encoding: " + (b"quoted-printable" if self.quoted else b"7bit") + b"\r\n"
            if not skip:
                yield line


class Text:
    """A message, line by line; `last` is the line that ended what was read: a delimiter, or nothing."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.last = file, b""

    def line(self) -> bytes:
        """The next line; nothing at the end."""
        line = self.file.readline(LINE)
        if len(line) == LINE and not line.endswith(b"\n"):
            raise ValueError(f"a line has more than {LINE} octets")
        if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
            raise ValueError("a CR stands alone, and to some readers it ends a line")
        return line

    def lines(self, delimiters: tuple[bytes, ...]) -> Iterator[bytes]:
        """The lines up to a delimiter, or to the end."""
        while True:
            self.last = self.line()
            name = self.last.rstrip(WHITE) if self.last[:2] == b"--" else b""
            if not self.last or name in delimiters or name.removesuffix(b"--") in delimiters:
                return
            yield self.last

    def plain(self, delimiters: tuple[bytes, ...]) -> Iterator[bytes]:
        """The same, of what stays as it is."""
        for line in self.lines(delimiters):
            if not line.isascii():
                raise ValueError("octets beyond ASCII where 7 bits are announced")
            yield line

    def header(self, delimiters: tuple[bytes, ...]) -> list[bytes]:
        """The lines of a header; the empty one is read, too."""
        found, size = list[bytes](), 0
        for line in self.lines(delimiters):
            if line in (b"\r\n", b"\n"):
                return found
            size += len(line)
            if size > HEADER or not (re.match(rb"[!-9;-~]+:", line) or (found and line[:1] in b" \t")):
                break
            found.append(line)
        raise ValueError("a header that is none, or has no end")


class Conversion(Text):
    """A message on its way through."""

    depth = 0

    def message(self) -> Iterator[bytes]:
        """All of it."""
        header = self.header(())
        if not re.match(r"1\.0\b", fields_of(b"".join(header)).get("mime-version", "")):
            raise ValueError("it is no MIME: nothing says how its octets are to be read")
        yield from self.entity(header, (), "text/plain")

    def entity(self, header: list[bytes], outer: tuple[bytes, ...], default: str) -> Iterator[bytes]:
        """A message, or a part of one."""
        entity = Entity(header, default)
        self.depth += 1
        if self.depth > DEPTH:
            raise ValueError("parts within parts, without an end")
        yield from entity.written()
        yield b"\r\n"
        if entity.has_parts:
            yield from self.parts(entity, outer)
        elif entity.is_message:
            yield from self.entity(self.header(outer), outer, "text/plain")
        elif entity.quoted:
            yield from map(quoted_printable, self.lines(outer))
        else:
            yield from self.plain(outer)
        self.depth -= 1

    def parts(self, entity: Entity, outer: tuple[bytes, ...]) -> Iterator[bytes]:
        """What its delimiter parts, and the lines around it (RFC 2046 §5.1.1)."""
        own = b"--" + entity.parameters.get("boundary", "").encode()
        if len(own) == 2 or {own, own + b"--", own.removesuffix(b"--")} & {*outer}:
            raise ValueError(f"{entity.kind} has no boundary of its own")
        inner, default = (own, *outer), "message/rfc822" if entity.kind == "multipart/digest" else "text/plain"
        yield from self.plain(inner)            # for readers of before MIME
        while self.last.rstrip(WHITE) == own:
            yield self.last
            yield from self.entity(self.header(inner), inner, default)
        if self.last.rstrip(WHITE) != own + b"--":
            raise ValueError(f"{entity.kind} does not end")
        yield self.last
        yield from self.plain(outer)

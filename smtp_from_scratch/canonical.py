"""A body as a signature sees it: block by block, in memory that does not grow (RFC 6376 §3.4)."""
from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import IO

__all__ = ["body_hash", "canonical_body"]

CRLF, BLOCK = b"\r\n", 65_536
_SPACES = re.compile(rb"[ \t]+")


def canonical_body(blocks: Iterable[bytes], relaxed: bool) -> Iterator[bytes]:
    """A body without empty lines at its end; relaxed: runs of white space are one, at the end of a line none."""
    held, ends, empty = b"", 0, True           # half a line end, or white space; CR LFs that wait for a line
    for block in blocks:
        data = held + block
        cut = len(data) - data.endswith(b"\r")
        if relaxed:
            cut = len(data[:cut].rstrip(b" \t"))
            held = _SPACES.sub(b" ", data[cut:])
            data = _SPACES.sub(b" ", data[:cut]).replace(b" \r\n", CRLF)
        else:
            data, held = data[:cut], data[cut:]
        text, more = without_ends(data)
        if text:
            yield from line_ends(ends)
            yield text
            ends, empty = 0, False
        ends += more
    text = held.rstrip(b" \t") if relaxed else held
    if text:
        yield from line_ends(ends)
        yield text
    if text or not (empty and relaxed):
        yield CRLF


def without_ends(data: bytes) -> tuple[bytes, int]:
    """What comes before the last CR LFs, and how many these are."""
    start = len(data.rstrip(CRLF))
    marks = data[start:].replace(CRLF, b"\0")          # nothing else can be in there but a CR or LF by itself
    bare = marks.rstrip(b"\0")
    return data[:start] + bare.replace(b"\0", CRLF), len(marks) - len(bare)


def line_ends(count: int) -> Iterator[bytes]:
    """So many CR LFs, in pieces."""
    while count > 0:
        yield CRLF * min(count, BLOCK)
        count -= BLOCK


def body_hash(body: IO[bytes], start: int, how: str) -> bytes:
    """The SHA-256 of a body that begins at `start`, "simple" or "relaxed"."""
    body.seek(start)
    hashed = hashlib.sha256()
    for block in canonical_body(iter(lambda: body.read(BLOCK), b""), how == "relaxed"):
        hashed.update(block)
    return hashed.digest()

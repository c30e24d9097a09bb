"""A body as the server reads it."""
from __future__ import annotations

from collections.abc import Iterable

from smtp_from_scratch.envelope import BodyCutter


def unstuffed(blocks: Iterable[bytes]) -> bytes:
    """The body in these octets of DATA, without doubled dots, up to its end and no further."""
    cutter, body = BodyCutter(), b""
    for block in blocks:
        body += cutter.cut(block)[0]
        if cutter.ended:
            break
    return body

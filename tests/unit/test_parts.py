"""A stranger's message as a part of ours: what goes back survives any hop, or its header does."""
from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage

import pytest

from smtp_from_scratch.parts import RETURN_LIMIT, octets_of, returned

HEADER = b"From: ana@rio.example\r\nSubject: Choir\r\n"
WHOLE, HEADER_ONLY = "message/rfc822", "text/rfc822-headers"


@pytest.mark.parametrize("original, full, kind", [
    (HEADER + b"\r\nMonday.\r\n", True, WHOLE), (HEADER + b"\r\nMonday.\r\n", False, HEADER_ONLY),
    (HEADER + b"\r\n" + b"x" * RETURN_LIMIT, True, HEADER_ONLY),
    (HEADER + "Content-Type: text/plain; charset=utf-8\r\n\r\nSão Paulo\r\n".encode(), True, WHOLE),
    (HEADER + b"Content-Type: text/plain; charset=idna\r\n\r\nS\xc3\xa3o Paulo\r\n", True, HEADER_ONLY),
    (HEADER + b"X-Long: " + b"a" * 5_000 + b"\r\n\r\nS\xc3\xa3o Paulo\r\n", True, HEADER_ONLY),
    (b"", True, WHOLE), (b"", False, HEADER_ONLY),
], ids=["whole", "header", "long", "utf-8", "breaks email", "long field", "empty", "empty header"])
def test_what_goes_back(original: bytes, full: bool, kind: str) -> None:
    part = returned(original, full)
    octets = part.as_bytes(policy=part.policy.clone(cte_type="7bit"))
    assert part.get_content_type() == kind and octets.isascii()
    assert not original or b"Subject: Choir" in octets
    if kind == WHOLE:
        [inner] = message_from_bytes(octets).get_payload()
        assert inner.get_payload(decode=True) == original.partition(b"\r\n\r\n")[2]
    else:
        assert b"Monday" not in octets and b"Paulo" not in octets


def test_octets_of_a_message() -> None:
    message = EmailMessage()
    message["Subject"] = "Choir"
    message.set_content("Monday.")
    assert octets_of(b"as they are") == b"as they are"
    assert octets_of(message).startswith(b"Subject: Choir\r\n")


def test_a_message_that_the_library_cannot_write() -> None:
    message = EmailMessage()
    message.set_payload(object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be written"):
        octets_of(message)

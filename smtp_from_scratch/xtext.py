"""xtext, any text as the value of a parameter (RFC 3461 §4), and the mailbox that AUTH= names (RFC 4954 §5)."""
from __future__ import annotations

import re

from .wire import Reply

__all__ = ["check_auth", "decode_xtext", "encode_xtext"]

PLUS = re.compile(r"\+([0-9A-F]{2})")
XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")


def encode_xtext(text: str) -> str:
    """Text as a parameter can carry it: `+` and `=`, and all that is not printable ASCII, in hex (RFC 3461 §4)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else "".join(f"+{octet:02X}" for octet in c.encode())
                   for c in text)


def decode_xtext(text: str) -> str:
    """The text again; ValueError for what is not xtext."""
    if not XTEXT.fullmatch(text):
        raise ValueError(f"not xtext: {text[:80]!r}")
    return PLUS.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1").decode()


def check_auth(session: object, value: str | None) -> Reply | None:
    """MAIL … AUTH=who: `<>`, or a mailbox in xtext; noted, and believed of nobody (RFC 4954 §5)."""
    try:
        local, _, domain = decode_xtext(value or "").rpartition("@")
    except ValueError:
        local = domain = ""
    good = value == "<>" or (local and domain)
    return None if good else Reply(501, "AUTH= takes <>, or a mailbox in xtext", "5.5.4")

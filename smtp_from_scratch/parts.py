"""A stranger's message, taken apart, and sent back (RFC 2045, RFC 2046). The work grows as the message does."""
from __future__ import annotations

import base64
import contextlib
import io
import quopri
import re
from collections.abc import Mapping
from email import message_from_bytes
from email import policy as email_policy
from email.header import decode_header, make_header
from email.message import EmailMessage, Message, MIMEPart
from email.parser import BytesHeaderParser
from typing import NamedTuple

__all__ = ["HOPS", "Part", "fields_of", "has_long_field", "hops", "message_in", "parts_of", "read_part", "value_of"]

# --- as the library reads it, where that is safe ----------------------------------------------------------------------

FIELD_LIMIT = 2_000                            # octets of a field that the library may look into
_FIELD = re.compile(rb"^[!-9;-~]+[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*", re.MULTILINE)
_OLD = email_policy.compat32                   # it parses no field before it must


def has_long_field(message: bytes) -> bool:
    """Whether `email` would need long for a message: its parser is quadratic in the length of a field."""
    return any(len(field[0]) > FIELD_LIMIT for field in _FIELD.finditer(message))


def message_in(octets: bytes) -> Message:
    """A stranger's message; its body is not looked into where that takes long, or breaks the parser."""
    parts: list[Message] = []
    with contextlib.suppress(Exception):       # of every kind
        if not has_long_field(octets):
            parts = list(message_from_bytes(octets, EmailMessage, policy=_OLD).walk())
    parts = parts or [BytesHeaderParser(EmailMessage, policy=_OLD).parsebytes(octets)]
    for part in parts:
        part.policy = email_policy.default     # the fields in Unicode, for whoever reads one
    return parts[0]


def octets_of(message: Message | bytes) -> bytes:
    """A message as it would travel; ValueError if it cannot."""
    if isinstance(message, bytes):
        return message
    try:
        return message.as_bytes(policy=AS_IS)
    except Exception as error:                 # the library's, of many kinds
        raise ValueError(f"a message that cannot be written: {type(error).__name__}") from error


# --- as it goes back --------------------------------------------------------------------------------------------------

RETURN_LIMIT = 100_000                         # octets that come back at most (RFC 3461 §6.2)
AS_IS = email_policy.SMTP.clone(refold_source="none")      # strangers' header lines stay as they are


def returned(original: bytes, full: bool) -> MIMEPart:
    """A message as a part of a report: whole, or its header where that is wanted, or safer (RFC 3461 §6.2)."""
    return (as_part(original) if full and len(original) <= RETURN_LIMIT else None) or header_part(original)


def as_part(original: bytes) -> MIMEPart | None:
    """A message as a part that any hop can carry, even one of 1982; None where that cannot be had."""
    part = MIMEPart(AS_IS)
    part["Content-Type"] = "message/rfc822"
    if original.isascii():
        part.set_payload(original.decode())
        return part
    if not has_long_field(original):
        part.set_payload([message_in(original)])
        with contextlib.suppress(Exception):   # of every kind
            part.as_bytes(policy=AS_IS.clone(cte_type="7bit"))
            return part
    return None


def header_part(original: bytes) -> MIMEPart:
    """A message's header as a part."""
    header = re.split(rb"\r?\n\r?\n", original[:RETURN_LIMIT], maxsplit=1)[0].replace(b"\r\n", b"\n")
    part = MIMEPart(AS_IS)
    part.set_content(header.decode("utf-8", "replace") + "\n", subtype="rfc822-headers")
    return part


# --- fields -----------------------------------------------------------------------------------------------------------

_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


def fields_of(header: bytes) -> dict[str, str]:
    """The fields of a header by name in lower case, each in one line; the first of each name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in header.decode("utf-8", "replace").split("\n"):
        if line[:1] not in (" ", "\t"):
            name, colon, line = line.partition(":")
            name = name.strip().lower()
            lines = found.setdefault(name, []) if colon and name not in found else []
        lines.append(line.strip())
    return {name: " ".join(filter(None, lines)) for name, lines in found.items()}


def content_type(value: str) -> tuple[str, dict[str, str]]:
    """The value of Content-Type: type, and parameters (RFC 2045 §5.1)."""
    parameters: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(value):
        parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or bare)
    return value.partition(";")[0].strip().lower() or "text/plain", parameters


def value_of(fields: Mapping[str, str], name: str, bare: bool = False) -> str:
    """A field's value, printable; `bare`: without the type before its semicolon. Empty if it is missing."""
    value = fields.get(name.lower(), "")
    if "=?" in value and len(value) <= FIELD_LIMIT:
        with contextlib.suppress(Exception):   # no encoded word after all (RFC 3464 §2.1.1)
            value = str(make_header(decode_header(value)))
    value = "".join(c if c.isprintable() else "?" for c in value).strip()
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if bare and semicolon else value


# --- parts ------------------------------------------------------------------------------------------------------------

MAX_PARTS = 200                                # of one message that are looked at

class Part(NamedTuple):
    """A message, or a part of one: what its header says about the content, and the content, as it came."""

    kind: str
    parameters: dict[str, str]
    coding: str
    content: bytes
    content_id: str = ""                       # what an HTML part calls it (RFC 2392)
    file_name: str = ""                        # as the sender gave it: trust it for nothing (RFC 2183 §2.3)

    @property
    def decoded(self) -> bytes:
        """The content, out of base64 or quoted-printable (RFC 2045 §6)."""
        with contextlib.suppress(ValueError):
            if self.coding == "base64":
                return base64.b64decode(self.content + b"==")
        return quopri.decodestring(self.content) if self.coding == "quoted-printable" else self.content

    @property
    def text(self) -> str:
        """The content as text for people, as well as it can be read."""
        return self.decoded.decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def message(self) -> Message | None:
        """The message that this part is, or the header of one; None for a part of another type."""
        kinds = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
        return message_in(self.decoded) if self.kind in kinds else None


HOPS = 100                                      # servers; a message that has passed more goes round in circles


def hops(start: bytes) -> int:
    """How many servers a message has passed: its Received fields, from its first octets (RFC 5321 §6.3)."""
    end = re.search(rb"(?:\A|\n)\r?\n", start)
    return len(re.findall(rb"^received[ \t]*:", start[: end.start()] if end else start, re.IGNORECASE | re.MULTILINE))


def read_part(octets: bytes) -> Part:
    """Split a message, or a part, into header and content."""
    end = re.search(rb"(?:\A|\n)\r?\n", octets)
    fields = fields_of(octets[: end.start()] if end else octets)
    coding = fields.get("content-transfer-encoding", "").lower()
    kind, parameters = content_type(fields.get("content-type", ""))
    name = content_type(fields.get("content-disposition", ""))[1].get("filename") or parameters.get("name", "")
    return Part(kind, parameters, coding, octets[end.end() :] if end else b"",
                fields.get("content-id", "").strip("<> "), value_of({"name": name}, "name")[:200])


def parts_of(message: Part) -> list[Part]:
    """What a message consists of: what its delimiter's lines part (RFC 2046 §5.1.1), the first `MAX_PARTS` of it."""
    delimiter, content = b"--" + message.parameters.get("boundary", "").encode(), message.content
    parts, place, start = list[bytes](), 0, -1             # start: of the part in hand
    for line in io.BytesIO(content) if len(delimiter) > 2 else ():
        if line.startswith(delimiter) and line.rstrip() in (delimiter, delimiter + b"--"):
            if start >= 0:
                parts.append(content[start:place])
            start = place + len(line)
            if line.rstrip() != delimiter or len(parts) == MAX_PARTS:
                break
        place += len(line)
    else:
        if start >= 0:                                     # the last delimiter is missing
            parts.append(content[start:])
    return [read_part(part.removesuffix(b"\n").removesuffix(b"\r")) for part in parts]

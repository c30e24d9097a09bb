"""A DKIM-Signature field: what it says, and whether anybody should believe such a one (RFC 6376 §3.5, RFC 8301)."""
from __future__ import annotations

import re
from dataclasses import dataclass

from .fields import tags_of, value_in
from .keys import PublicKey, base64_of, public_key
from .questions import Questions, is_domain

__all__ = ["CLOCKS", "SIGNATURE_LIMIT", "Refused", "SignatureField", "find_key", "read_signature", "signature_field",
           "without_value"]

SIGNATURE_LIMIT, CLOCKS = 16_384, 3_600        # octets of a field; seconds that clocks may differ
ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519", "rsa-sha1": "sha1"}
_NEEDED = ("v", "a", "b", "bh", "d", "h", "s")
_VALUE = re.compile(rb"([;:][ \t\r\n]*b[ \t\r\n]*=)[^;]*?((?:\r\n)?\Z|;)")


class Refused(ValueError):
    """A signature of a kind that we do not believe, even if it is right (RFC 8601 §2.7.1)."""

    result = "policy"


@dataclass(frozen=True, slots=True)
class SignatureField:
    """What a signature says about itself."""

    domain: str
    selector: str
    kind: str                                  # of key; "sha1" for what nobody believes any more
    header: str                                # simple or relaxed
    body: str
    names: list[str]                           # fields that are signed, in order, in lower case
    body_hash: bytes
    value: bytes
    exact: bool                                # whether i= names d= itself, no subdomain
    length: bool                               # whether it covers a part of the body only
    made: int
    expires: int

    def refused(self, now: float) -> str:
        """Why we believe no such signature, or nothing (RFC 8301 §3.1, RFC 6376 §8.2, §3.5)."""
        if self.kind == "sha1":
            return "SHA-1 is broken"
        if self.length:
            return "l= lets anybody add to the letter"
        if self.expires and self.expires < now:
            return "the signature has expired"
        return "the signature comes from the future" if self.made > now + CLOCKS else ""


def read_signature(field: bytes) -> SignatureField:
    """What a field says; ValueError says why it is none."""
    if len(field) > SIGNATURE_LIMIT:
        raise ValueError(f"a signature with more than {SIGNATURE_LIMIT} octets")
    tags = tags_of(value_in(field))
    if missing := [tag for tag in _NEEDED if tag not in tags]:
        raise ValueError(f"{missing[0]}= is missing")
    header, _, body = tags.get("c", "simple/simple").lower().partition("/")
    names = ["".join(name.split()).lower() for name in tags["h"].split(":")]
    domain, identity = tags["d"].lower(), "".join(tags.get("i", "").split()).rpartition("@")[2].lower()
    made, expires = number_of(tags.get("t", "")), number_of(tags.get("x", ""))
    if problem := fault(tags, domain, identity, {header, body or "simple"}, names):
        raise ValueError(problem)
    if expires and expires < made:
        raise ValueError("it expired before it was made")
    return SignatureField(domain, tags["s"].lower(), ALGORITHMS[tags["a"].lower()], header, body or "simple", names,
                          base64_of(tags["bh"]), base64_of(tags["b"]), identity in ("", domain), "l" in tags,
                          made, expires)


def find_key(said: SignatureField, ask: Questions, now: float) -> PublicKey:
    """The key that a signature names. Refused; ValueError for no key; NoAnswer."""
    if reason := said.refused(now):
        raise Refused(reason)
    key = public_key("".join(ask.texts(f"{said.selector}._domainkey.{said.domain}")[:1]))
    if reason := key.refused(said.kind, said.exact):
        raise Refused(reason)
    return key


def fault(tags: dict[str, str], domain: str, identity: str, ways: set[str], names: list[str]) -> str:
    """What is wrong with a signature's tags, or nothing."""
    if tags["v"] != "1" or tags["a"].lower() not in ALGORITHMS or not ways <= {"simple", "relaxed"}:
        return "another version, algorithm or canonicalization"
    if "dns/txt" not in "".join(tags.get("q", "dns/txt").lower().split()).split(":"):
        return "a key that is nowhere to be found"
    if not is_domain(domain) or not is_domain(f"{tags['s']}._domainkey.{domain}") or re.search(r"[^\w.-]", tags["s"]):
        return "no domain, or no selector"
    if identity and not f".{identity}".endswith(f".{domain}"):
        return "i= is not within d="
    return "" if "from" in names else "From is not signed"


def number_of(text: str) -> int:
    """Seconds since 1970, 0 where nothing is said; ValueError."""
    if not re.fullmatch("[0-9]{0,12}", text):
        raise ValueError("no time")
    return int(text or "0")


def without_value(field: bytes) -> bytes:
    """The field with an empty `b=`, as it was when it was signed (RFC 6376 §3.7)."""
    return _VALUE.sub(rb"\1\2", field, count=1)


def signature_field(tags: dict[str, str], value: str = "") -> bytes:
    """A field with these tags, in lines of at most 78 octets, and `b=` at its end (RFC 6376 §3.5)."""
    lines, line = list[str](), "DKIM-Signature:"
    for piece in [f"{name}={text};" for name, text in tags.items()] + ["b="]:
        pieces = re.split("(?<=:)", piece) if piece.startswith("h=") else [piece]
        for number, part in enumerate(pieces):
            space = "" if number else " "
            if len(line) + len(space) + len(part) > 76:
                lines.append(line)
                line, space = "\t", ""
            line += space + part
    value = "".join("\r\n\t" + value[start : start + 72] for start in range(0, len(value), 72))
    return ("\r\n".join([*lines, line]) + value + "\r\n").encode()

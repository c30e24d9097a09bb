"""Keys: as the DNS has them, as a signature is checked with them, as a file has them (RFC 6376 §3.6, RFC 8463)."""
from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .fields import tags_of

__all__ = ["NoLibrary", "PublicKey", "Sign", "der_of", "ed25519_verifies", "key_record", "padded", "public_key",
           "signing_key"]

Sign = Callable[[bytes], bytes]                # octets in, their signature out
MIN_BITS, MAX_BITS, MAX_EXPONENT = 1024, 8192, 1 << 32     # the least by RFC 8301 §3.2; the most, so that nobody waits
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")     # "this is a key of RSA", in DER


class NoLibrary(ValueError):
    """The extra `trust` is not installed, and without it there is no answer."""

    result = "neutral"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What everybody may know: for RSA two numbers, for Ed25519 32 octets; what its owner says about its use."""

    kind: str
    n: int = 0
    e: int = 0
    raw: bytes = b""
    exact: bool = False                        # t=s: i= has no subdomain
    testing: bool = False                      # t=y: a pass is worth no more than no signature

    def refused(self, kind: str, exact: bool) -> str:
        """Why we believe no signature of this key that calls itself so, or nothing (RFC 8301 §3.2, RFC 6376 §3.6.1)."""
        if kind != self.kind:
            return "the key is of another kind"
        if self.kind == "rsa" and self.n.bit_length() < MIN_BITS:
            return f"a key with less than {MIN_BITS} bits"
        if self.exact and not exact:
            return "i= is a subdomain, and the key has t=s"
        return "the domain is trying its key out" if self.testing else ""


def public_key(record: str) -> PublicKey:
    """The key in a TXT record; ValueError says why there is none."""
    if not record:
        raise ValueError("there is no such key")
    tags = tags_of(record)
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        raise ValueError("a key of another version")
    if "p" not in tags:
        raise ValueError("a record without a key")
    if not tags["p"].strip():
        raise ValueError("the key has been revoked")
    if "sha256" not in words(tags.get("h", "sha256")) or not {"*", "email"} & words(tags.get("s", "*")):
        raise ValueError("a key for other uses")
    kind, flags, octets = tags.get("k", "rsa").lower(), words(tags.get("t", "")), base64_of(tags["p"])
    if kind == "rsa":
        n, e = numbers_of(octets)
        return PublicKey("rsa", n, e, exact="s" in flags, testing="y" in flags)
    if kind == "ed25519" and len(octets) == 32:
        return PublicKey("ed25519", raw=octets, exact="s" in flags, testing="y" in flags)
    raise ValueError("a key of another kind")


def words(text: str) -> set[str]:
    """`sha1 : sha256` as a set."""
    return {word.strip().lower() for word in text.split(":")}


def base64_of(text: str) -> bytes:
    """What base64 stands for, white space left out; ValueError."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None


_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")      # "what follows is a digest of SHA-256"


def padded(digest: bytes, size: int) -> int:
    """The number that RSA signs, of `size` octets: a beginning that never differs, and a digest (RFC 8017 §9.2)."""
    return int.from_bytes(b"\0\1" + (b"\0" + _SHA256 + digest).rjust(size - 2, b"\xff"))


# --- DER: a tag, a length, octets -------------------------------------------------------------------------------------


def der(tag: int, octets: bytes) -> bytes:
    """One thing in DER."""
    size = len(octets)
    length = bytes([size]) if size < 128 else (tail := size.to_bytes((size.bit_length() + 7) // 8)) and bytes(
        [0x80 + len(tail)]) + tail
    return bytes([tag]) + length + octets


def undo(tag: int, octets: bytes) -> tuple[bytes, bytes]:
    """What is in the first thing, which has this tag, and what follows it; ValueError."""
    if len(octets) < 2 or octets[0] != tag:
        raise ValueError("no key in DER")
    size, start = octets[1], 2
    if size >= 128:
        start += size - 128
        size = int.from_bytes(octets[2:start])
    if start > 6 or start + size > len(octets):
        raise ValueError("a key that is cut off")
    return octets[start : start + size], octets[start + size :]


def integer(number: int) -> bytes:
    """A number that is not negative, in DER."""
    return der(2, number.to_bytes(number.bit_length() // 8 + 1))


def der_of(n: int, e: int) -> bytes:
    """A public key of RSA as the DNS has it: a SubjectPublicKeyInfo."""
    return der(0x30, _RSA + der(3, b"\0" + der(0x30, integer(n) + integer(e))))


def numbers_of(octets: bytes) -> tuple[int, int]:
    """`n` and `e` of a public key; ValueError for none, and for one too short or too long (RFC 8301 §3.2)."""
    inner, _ = undo(0x30, octets)
    if inner.startswith(_RSA):
        bits, _ = undo(3, inner[len(_RSA):])
        inner, _ = undo(0x30, bits[1:])
    first, rest = undo(2, inner)
    second, _ = undo(2, rest)
    n, e = int.from_bytes(first), int.from_bytes(second)
    if not (n % 2 and e % 2 and 1 < e < MAX_EXPONENT):
        raise ValueError("no key of RSA")
    if n.bit_length() > MAX_BITS:
        raise ValueError(f"a key with more than {MAX_BITS} bits")
    return n, e


def key_record(octets: bytes, kind: str = "rsa") -> str:
    """What to publish: the text of a TXT record. `octets`: `der_of(n, e)`, or the 32 of Ed25519."""
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"


# --- with the library -------------------------------------------------------------------------------------------------


def ed25519_verifies(message: bytes, signature: bytes, raw: bytes) -> bool:
    """Whether a signature of Ed25519 is right (RFC 8463 §3); NoLibrary where `cryptography` is missing."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise NoLibrary("Ed25519 needs the extra trust") from None
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signing_key(pem: bytes) -> tuple[str, Sign, str]:
    """Of a private key in a file: the algorithm, a function that signs, and the TXT record to publish.

    ValueError for what is no key of RSA with 1024 bits or more, nor of Ed25519; ImportError without the extra `trust`.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key: Any = serialization.load_pem_private_key(pem, None)
    except (TypeError, ValueError) as error:
        raise ValueError("no private key in PEM, or one with a password") from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= MIN_BITS:
        numbers = key.public_key().public_numbers()
        return ("rsa-sha256", lambda octets: key.sign(octets, padding.PKCS1v15(), SHA256()),
                key_record(der_of(numbers.n, numbers.e)))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return ("ed25519-sha256", lambda octets: key.sign(hashlib.sha256(octets).digest()),
                key_record(key.public_key().public_bytes_raw(), "ed25519"))
    raise ValueError(f"a key of RSA with {MIN_BITS} bits or more, or of Ed25519, is wanted")

"""The client's part of SCRAM-SHA-256 (RFC 5802, RFC 7677): honest, or with one flaw that a server must notice."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata
from dataclasses import dataclass, field

FLAWS = ("", "nonce", "proof", "short", "binding")
MOST_ITERATIONS = 1_000_000                     # a server that asks for more would only keep us busy
_SERVER_FIRST = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]*)(,[^m\W\d_]=[^,]+)*")


class BadChallenge(ValueError):
    """A server's challenge breaks its mechanism's rules."""


@dataclass
class Scram:
    """One exchange after another; `first` begins each."""

    user: str
    password: str
    nonce: str                                  # the client's
    header: str = "n,,"                         # the GS2 header (RFC 5802 §7)
    bare: str = ""                              # client-first-message-bare
    signature: bytes = b""                      # what the server must send at the end
    seen: list[tuple[str, bytes, int]] = field(default_factory=list)    # what servers' first messages had

    def first(self, header: str = "n,,", user: str = "-", extension: str = "") -> bytes:
        """The client's first message; `user` is encoded already, or `-` for our own."""
        own = self.user.replace("=", "=3D").replace(",", "=2C")
        self.header, self.signature = header, b""
        self.bare = f"n={own if user == '-' else user},r={self.nonce}{extension}"
        return (header + self.bare).encode()

    def server_first(self, message: bytes) -> tuple[str, bytes, int]:
        """Nonce, salt and iterations of the server's first message; raises BadChallenge."""
        match = _SERVER_FIRST.fullmatch(message.decode("utf-8", "backslashreplace"))
        if not match:
            raise BadChallenge(f"{message!r} is not r=…,s=…,i=…")
        nonce, salt, iterations = match[1], from_base64(match[2]), int(match[3])
        if not nonce.startswith(self.nonce) or nonce == self.nonce:
            raise BadChallenge(f"the nonce {nonce} is not {self.nonce} with the server's own behind it")
        if not salt or iterations > MOST_ITERATIONS:
            raise BadChallenge(f"a salt of {len(salt)} octets and {iterations} iterations")
        self.seen.append((nonce, salt, iterations))
        return nonce, salt, iterations

    def final(self, message: bytes, flaw: str = "") -> bytes:
        """The client's final message, in answer to the server's first (RFC 5802 §3)."""
        if flaw not in FLAWS:
            raise ValueError(f"no such flaw: {flaw!r}; there are {', '.join(FLAWS[1:])}")
        nonce, salt, iterations = self.server_first(message)
        self.seen.pop()
        binding = base64.b64encode((self.header if flaw != "binding" else "y,,").encode()).decode()
        without_proof = f"c={binding},r={nonce}{'x' if flaw == 'nonce' else ''}"
        auth_message = b",".join([self.bare.encode(), message, without_proof.encode()])
        password = unicodedata.normalize("NFKC", self.password).encode()        # most of SASLprep (RFC 4013)
        salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
        key = mac(salted, b"Client Key")
        stamp = mac(hashlib.sha256(key).digest(), auth_message)
        proof = bytes(a ^ b for a, b in zip(key, stamp, strict=True))
        if flaw == "proof":
            proof = bytes([proof[0] ^ 1]) + proof[1:]
        if flaw == "short":
            proof = proof[:-1]
        self.signature = mac(mac(salted, b"Server Key"), auth_message)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, message: bytes) -> None:
        """See whether the server knew the password as well; raises BadChallenge."""
        word, _, rest = message.decode("utf-8", "backslashreplace").partition("=")
        if word != "v" or from_base64(rest.partition(",")[0]) != self.signature:
            raise BadChallenge(f"{message!r} does not prove that the server knows the password")


def compare(seen: list[tuple[str, bytes, int]], what: str) -> None:
    """See whether what the last exchanges had is as it should be; raises BadChallenge."""
    *_, (_, salt, iterations) = seen or [("", b"", 0)]
    salts = [entry[1] for entry in seen]
    changing = len(salts) > 3 and salts[0] != salts[1]          # known users' salts do not stay either
    if what == "same-salt" and not changing and salts[-2:-1] != [salt]:
        raise BadChallenge("another salt than before: this user does not exist, and it shows")
    if what == "iterations" and iterations < 4096:                              # RFC 7677 §3
        raise BadChallenge(f"{iterations} iterations")


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.new(key, data, hashlib.sha256).digest()


def from_base64(text: str) -> bytes:
    """Strictly decoded; raises BadChallenge."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadChallenge(f"{text!r} is not base64") from None

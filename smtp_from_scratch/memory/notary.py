"""Certificates for the stand-in of TLS: names, signed by an authority. What `trustme` is elsewhere.

Signatures are Schnorr's, in group 5 of RFC 3526. They are true, and made for a chapter in a browser, not for secrets.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF"
    , 16)
MARK = "-----{} CERTIFICATE OF THE STAND-IN-----"


def private_key() -> int:
    """A number that nobody guesses."""
    return secrets.randbits(256)


def public_key(private: int) -> int:
    """What everybody may know of it."""
    return pow(2, private, PRIME)


def sign(private: int, data: bytes) -> list[str]:
    """Proof that whoever has the key has seen the data."""
    nonce = secrets.randbits(640)
    challenge = digest(pow(2, nonce, PRIME), data)
    return [f"{challenge:x}", f"{nonce + private * challenge:x}"]


def signed(public: int, data: bytes, signature: list[str]) -> bool:
    """Whether the owner of the key has signed the data."""
    challenge, response = (int(part, 16) for part in signature)
    return digest(pow(2, response, PRIME) * pow(public, -challenge, PRIME) % PRIME, data) == challenge


def digest(number: int, data: bytes) -> int:
    """A number that depends on both."""
    return int.from_bytes(hashlib.sha256(f"{number:x} ".encode() + data).digest(), "big")


def pem(entry: dict[str, Any]) -> str:
    """As text, between two marks."""
    return f"{MARK.format('BEGIN')}\n{base64.b64encode(json.dumps(entry).encode()).decode()}\n{MARK.format('END')}\n"


def entries(text: str) -> Iterator[dict[str, Any]]:
    """What is between marks."""
    for piece in text.split(MARK.format("BEGIN"))[1:]:
        found: dict[str, Any] = json.loads(base64.b64decode(piece.partition("-----")[0]))
        yield found


class Blob:
    """Octets in PEM form, as `trustme` hands them out."""

    def __init__(self, text: str) -> None:
        self._text = text

    def bytes(self) -> bytes:
        """The octets."""
        return self._text.encode()

    def write_to_path(self, path: str | Path, append: bool = False) -> None:
        """Write them to a file."""
        with open(path, "a" if append else "w", encoding="ascii") as file:
            file.write(self._text)


class LeafCert:
    """A certificate, and its key."""

    def __init__(self, certificate: dict[str, Any], private: int) -> None:
        self.private_key_and_cert_chain_pem = Blob(pem(certificate | {"private": f"{private:x}"}))
        self.private_key_pem = self.private_key_and_cert_chain_pem
        self.cert_chain_pems = [Blob(pem(certificate))]

    def configure_cert(self, context: Any) -> None:
        """Give it to a server."""
        context.load_text(self.private_key_and_cert_chain_pem.bytes().decode())


class CA:
    """An authority that signs for names."""

    def __init__(self, organization_name: str = "an authority", **_: Any) -> None:
        self._private = private_key()
        self._entry = {"organization": organization_name, "public": f"{public_key(self._private):x}"}
        self.cert_pem = Blob(pem(self._entry))

    def issue_cert(self, *names: str, **_: Any) -> LeafCert:
        """A certificate for these names."""
        private = private_key()
        body = {"names": list(names), "public": f"{public_key(private):x}", "issuer": self._entry["public"]}
        text = json.dumps(body)
        return LeafCert({"body": text, "signature": sign(self._private, text.encode())}, private)

    def configure_trust(self, context: Any) -> None:
        """Let a client believe this authority."""
        context.load_verify_locations(cadata=self.cert_pem.bytes().decode())

"""What stands in braces where the runner plays the server: challenges, and the answers that they deserve."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from smtp_from_scratch.conformance.scram import mac
from smtp_from_scratch.conformance.values import UnknownValue, Values

SALT, ITERATIONS = b"W22ZaJ0SNY7soEsUEjb6gQ==", 4096
GREEDY = 2_000_000_000                          # iterations that no client should go through


@dataclass
class HostValues(Values):
    """The values of one dialogue at play, for the server; `line` is the client's last."""

    line: str = ""
    client_first: bytes = b""
    server_first: bytes = b""

    def value(self, name: str) -> object:
        """What a name in braces stands for."""
        word, _, argument = name.partition(" ")
        if name == "star":                      # in a pattern, where `*` means anything
            return b"*"
        if name == "challenge":                 # of CRAM-MD5 (RFC 2195 §2)
            return base64.b64encode(b"<1896.697170952@server.example>")
        if word == "scram-first" and argument in ("", "nonce", "weak", "greedy"):
            return base64.b64encode(self.first(argument))
        if name == "scram-proof":
            return base64.b64encode(self.client_final())
        if word == "scram-final" and argument in ("", "wrong", "error"):
            return base64.b64encode(self.last(argument))
        if word.startswith("scram"):
            raise UnknownValue(f"no such value: {{{name}}}; there are scram-first, scram-proof, scram-final")
        return super().value(name)

    def first(self, flaw: str) -> bytes:
        """The server's first message, in answer to the client's (RFC 5802 §5); `flaw` is one that must be noticed."""
        self.client_first = base64.b64decode(self.line.split(" ")[-1])
        nonce = self.client_first.rpartition(b"r=")[2] + b"%server"
        iterations = {"weak": 1, "greedy": GREEDY}.get(flaw, ITERATIONS)
        self.server_first = b"r=%b,s=%b,i=%d" % (b"another%nonce" if flaw == "nonce" else nonce, SALT, iterations)
        return self.server_first

    def client_final(self) -> bytes:
        """What the client must answer."""
        without_proof, key, stamp = self.keys()
        proof = bytes(a ^ b for a, b in zip(key, stamp, strict=True))
        return without_proof + b",p=" + base64.b64encode(proof)

    def last(self, flaw: str) -> bytes:
        """The server's last message, which proves that it knows the password as well."""
        if flaw == "error":
            return b"e=other-error"
        without_proof, *_ = self.keys()
        server_key = mac(self.salted(), b"Server Key")
        signature = mac(server_key, self.spoken(without_proof))
        return b"v=" + base64.b64encode(bytes([signature[0] ^ 1]) + signature[1:] if flaw == "wrong" else signature)

    def keys(self) -> tuple[bytes, bytes, bytes]:
        """client-final-message-without-proof, the client's key and its signature."""
        header = self.client_first.partition(b"n=")[0]
        nonce = self.server_first.partition(b",")[0]
        without_proof = b"c=" + base64.b64encode(header) + b"," + nonce
        key = mac(self.salted(), b"Client Key")
        return without_proof, key, mac(hashlib.sha256(key).digest(), self.spoken(without_proof))

    def salted(self) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", self.secret("password"), base64.b64decode(SALT), ITERATIONS)

    def spoken(self, without_proof: bytes) -> bytes:
        bare = b"n=" + self.client_first.partition(b"n=")[2]
        return b",".join([bare, self.server_first, without_proof])

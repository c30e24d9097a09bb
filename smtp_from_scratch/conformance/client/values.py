"""What stands in braces where the runner plays the server: challenges, and the answers that they deserve."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from smtp_from_scratch.conformance.scram import mac
from smtp_from_scratch.conformance.values import UnknownValue, Values

SALT, ITERATIONS = b"W22ZaJ0SNY7soEsUEjb6gQ==", 4096
GREEDY = 2_000_000_000                          # iterations that no client should go through


@dataclass
class ServerScram:
    """The server's end of SCRAM-SHA-256 (RFC 5802), honest or with one flaw that a client must notice."""

    password: bytes
    client_first: bytes = b""
    server_first: bytes = b""

    def first(self, client_first: bytes, flaw: str) -> bytes:
        """The server's first message, in answer to the client's (RFC 5802 §5)."""
        self.client_first = client_first
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
        signature = mac(server_key, self.auth_message(without_proof))
        return b"v=" + base64.b64encode(bytes([signature[0] ^ 1]) + signature[1:] if flaw == "wrong" else signature)

    def keys(self) -> tuple[bytes, bytes, bytes]:
        """client-final-message-without-proof, the client's key and its signature."""
        header = self.client_first.partition(b"n=")[0]
        nonce = self.server_first.partition(b",")[0]
        without_proof = b"c=" + base64.b64encode(header) + b"," + nonce
        key = mac(self.salted(), b"Client Key")
        return without_proof, key, mac(hashlib.sha256(key).digest(), self.auth_message(without_proof))

    def salted(self) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(SALT), ITERATIONS)

    def auth_message(self, without_proof: bytes) -> bytes:
        bare = b"n=" + self.client_first.partition(b"n=")[2]
        return b",".join([bare, self.server_first, without_proof])


@dataclass
class ServerValues(Values):
    """The values of one dialogue at play, for the server; `line` is the client's last."""

    line: str = ""
    server_scram: ServerScram = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.server_scram = ServerScram(self.secret("password"))

    def value(self, name: str) -> object:
        """What a name in braces stands for."""
        word, _, argument = name.partition(" ")
        if name == "star":                      # in a pattern, where `*` means anything
            return b"*"
        if name == "challenge":                 # of CRAM-MD5 (RFC 2195 §2)
            return base64.b64encode(b"<1896.697170952@server.example>")
        if word == "scram-first" and argument in ("", "nonce", "weak", "greedy"):
            client_first = base64.b64decode(self.line.split(" ")[-1])
            return base64.b64encode(self.server_scram.first(client_first, argument))
        if name == "scram-proof":
            return base64.b64encode(self.server_scram.client_final())
        if word == "scram-final" and argument in ("", "wrong", "error"):
            return base64.b64encode(self.server_scram.last(argument))
        if word.startswith("scram"):
            raise UnknownValue(f"no such value: {{{name}}}; there are scram-first, scram-proof, scram-final")
        return super().value(name)

    def octets_of(self, braces: str) -> bytes:
        """What a name, in its braces, stands for."""
        return b"".join(self.expand(braces))

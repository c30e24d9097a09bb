"""A stand-in for TLS in a browser, where Python has none: its names, its records, its errors, and another inside.

The key exchange is Diffie and Hellman's, the seal is HMAC's. It keeps what a chapter shows true: a wiretap sees records
it cannot read, an octet that was changed breaks the seal, a stranger's certificate is not believed. Nobody has examined
it, no other program speaks it, and it is never loaded where there is TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import ssl
from collections.abc import Generator, Iterator
from typing import Any

from smtp_from_scratch.memory.notary import PRIME, entries, private_key, public_key, sign, signed

ALERT, CHANGE, HANDSHAKE, DATA = b"\x15", b"\x14", b"\x16", b"\x17"
LARGEST = 16_384                               # octets of a record
Steps = Generator[None, None, None]


class MemoryBIO:
    """As `ssl.MemoryBIO`: a bucket of octets."""

    def __init__(self) -> None:
        self._data, self.eof = bytearray(), False

    @property
    def pending(self) -> int:
        """How many there are."""
        return len(self._data)

    def write(self, data: Any) -> int:
        """Pour in."""
        self._data += data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Pour out."""
        count = len(self._data) if size < 0 else size
        data = bytes(self._data[:count])
        del self._data[:count]
        return data

    def write_eof(self) -> None:
        """Nothing follows."""
        self.eof = True


def refused(reason: str, message: str) -> ssl.SSLError:
    """An error as OpenSSL tells it."""
    error = ssl.SSLError(1, f"[SSL: {reason}] {message}")
    error.library, error.reason = "SSL", reason
    return error


def not_believed(why: str) -> ssl.SSLCertVerificationError:
    """An error of a certificate."""
    text = f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {why}"
    error = ssl.SSLCertVerificationError(1, text)
    error.library, error.reason = "SSL", "CERTIFICATE_VERIFY_FAILED"
    error.verify_code, error.verify_message = 1, why
    return error


class Seal:
    """One direction: what is sealed, in order."""

    def __init__(self, secret: bytes, role: str) -> None:
        self.key, self.count = hmac.digest(secret, role.encode(), "sha256"), 0

    def mask(self, data: bytes) -> bytes:
        """The same octets behind a mask, which takes itself off again."""
        blocks = (hmac.digest(self.key, b"%d %d" % (self.count, number), "sha256")
                  for number in range(len(data) // 32 + 1))
        stream = int.from_bytes(b"".join(blocks)[: len(data)], "big")
        return (int.from_bytes(data, "big") ^ stream).to_bytes(len(data), "big")

    def close(self, data: bytes) -> bytes:
        """Seal."""
        hidden = self.mask(data)
        self.count += 1
        return hidden + hmac.digest(self.key, hidden + b"%d" % self.count, "sha256")[:16]

    def open(self, sealed: bytes) -> bytes:
        """Unseal; raises SSLError when a single bit was changed."""
        hidden, tag = sealed[:-16], sealed[-16:]
        data = self.mask(hidden)
        self.count += 1
        if not hmac.compare_digest(tag, hmac.digest(self.key, hidden + b"%d" % self.count, "sha256")[:16]):
            raise refused("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "decryption failed or bad record mac")
        return data


def vector(data: bytes, octets: int = 2) -> bytes:
    """Octets behind their length."""
    return len(data).to_bytes(octets, "big") + data


def hello(kind: int, public: int, name: str = "") -> bytes:
    """ClientHello (1) or ServerHello (2) of TLS 1.3, with a share of the key (RFC 8446 §4.1)."""
    version = b"\x03\x04" if kind == 2 else vector(b"\x03\x04", 1)
    share = public.to_bytes(192, "big")
    extensions = b"\0\x2b" + vector(version) + b"\0\x33" + vector(share)
    if name:
        extensions += b"\0\0" + vector(vector(b"\0" + vector(name.encode())))
    ciphers = b"\x13\x01\0" if kind == 2 else vector(b"\x13\x01") + b"\x01\0"
    body = b"\x03\x03" + secrets.token_bytes(32) + vector(secrets.token_bytes(32), 1) + ciphers + vector(extensions)
    return bytes([kind]) + vector(body, 3)


def share_of(message: bytes, kind: int) -> int:
    """The other end's share of the key; raises SSLError for what is no hello."""
    place = message.rfind(b"\0\x33\0\xc0") if message[:1] == bytes([kind]) else -1
    if place < 0:
        raise refused("UNEXPECTED_MESSAGE", "unexpected message")
    return int.from_bytes(message[place + 4 : place + 196], "big")


class Records:
    """Records in and out of two buckets, sealed once there is a key."""

    def __init__(self, incoming: MemoryBIO, outgoing: MemoryBIO) -> None:
        self.incoming, self.outgoing, self.rest = incoming, outgoing, b""
        self.sealing: Seal | None = None
        self.opening: Seal | None = None
        self.transcript = b""                  # of the handshake
        self.failure: ssl.SSLError | None = None       # nothing is heard after it

    def say(self, kind: bytes, data: bytes, inner: bytes = b"") -> None:
        """One record, sealed if it has an inner kind."""
        if inner and self.sealing:
            data = self.sealing.close(data + inner)
        if kind == HANDSHAKE:
            self.transcript += data
        self.outgoing.write(kind + b"\x03\x03" + vector(data))

    def hear(self) -> tuple[bytes, bytes] | None:
        """The next record, its kind and its octets; None if it has not come. Raises SSLError, and again."""
        if self.failure:
            raise self.failure
        try:
            return self.next_record()
        except ssl.SSLError as error:
            self.failure = error
            raise

    def next_record(self) -> tuple[bytes, bytes] | None:
        """The same, the first time."""
        self.rest += self.incoming.read()
        head = self.rest[:5]
        if head and (head[:1] not in (ALERT, CHANGE, HANDSHAKE, DATA) or head[1:2] not in (b"", b"\x03")):
            raise refused("WRONG_VERSION_NUMBER", "wrong version number")
        length = int.from_bytes(head[3:], "big")
        if len(head) < 5 or len(self.rest) < 5 + length:
            return None
        data, self.rest = self.rest[5 : 5 + length], self.rest[5 + length :]
        kind = head[:1]
        if kind == HANDSHAKE:
            self.transcript += data
        if kind != DATA:
            return kind, data
        if self.opening is None:
            raise refused("UNEXPECTED_MESSAGE", "unexpected message")
        plain = self.opening.open(data)
        return plain[-1:], plain[:-1]

    def agree(self, private: int, other: int, server_side: bool) -> None:
        """Both know the secret now, and nobody else does."""
        secret = hashlib.sha256(pow(other, private, PRIME).to_bytes(192, "big")).digest()
        roles = ("server", "client") if server_side else ("client", "server")
        self.sealing, self.opening = Seal(secret, roles[0]), Seal(secret, roles[1])


class Handshake:
    """The two halves of the handshake, each as a generator that waits for records."""

    records: Records
    context: SSLContext
    server_hostname: str | None
    certificate: dict[str, Any]

    def expect(self, kind: bytes) -> Generator[None, None, bytes]:
        """Wait for a record of this kind."""
        while True:
            while (record := self.records.hear()) is None:
                yield
            if record[0] == kind:
                return record[1]
            if record[0] == ALERT:
                raise refused("TLSV1_ALERT_" + record[1].decode("ascii", "replace").upper(), "the other end gave up")
            if record[0] != CHANGE:
                raise refused("UNEXPECTED_MESSAGE", "unexpected message")

    def as_client(self) -> Steps:
        """Say hello, believe the certificate or not, and say that all is well."""
        records, private = self.records, private_key()
        records.say(HANDSHAKE, hello(1, public_key(private), self.server_hostname or ""))
        other = share_of((yield from self.expect(HANDSHAKE)), 2)
        so_far = records.transcript
        records.agree(private, other, False)
        proof = json.loads((yield from self.expect(HANDSHAKE)))
        records.say(CHANGE, b"\x01")
        try:
            self.context.believe(proof, so_far, self.server_hostname)
        except ssl.SSLError:
            records.say(DATA, b"unknown_ca", ALERT)
            raise
        self.certificate = proof["certificate"]
        records.say(DATA, b"finished", HANDSHAKE)
        yield from ()

    def as_server(self) -> Steps:
        """Answer hello with a certificate, and wait for the other end's yes."""
        records, private = self.records, private_key()
        other = share_of((yield from self.expect(HANDSHAKE)), 1)
        certificate = self.context.certificate
        if not certificate:
            raise refused("NO_SHARED_CIPHER", "no shared cipher")
        records.say(HANDSHAKE, hello(2, public_key(private)))
        records.say(CHANGE, b"\x01")
        so_far = records.transcript
        records.agree(private, other, True)
        shown = {key: value for key, value in certificate.items() if key != "private"}
        proof = {"certificate": shown, "proof": sign(int(certificate["private"], 16), so_far)}
        records.say(DATA, json.dumps(proof).encode(), HANDSHAKE)
        yield from self.expect(HANDSHAKE)
        for _ in range(self.context.num_tickets):
            records.say(DATA, b"ticket", HANDSHAKE)


class Facts(Handshake):
    """What can be asked of one end."""

    _plain = b""
    _ready = False

    def pending(self) -> int:
        """As there."""
        return len(self._plain)

    def version(self) -> str | None:
        """As there."""
        return "TLSv1.3" if self._ready else None

    def cipher(self) -> tuple[str, str, int] | None:
        """As there, with the truth."""
        return ("A_STAND_IN_FOR_TLS", "TLSv1.3", 256) if self._ready else None

    def getpeercert(self, binary_form: bool = False) -> Any:
        """As there."""
        names = json.loads(self.certificate["body"])["names"] if self.certificate else []
        return {"subjectAltName": tuple(("DNS", name) for name in names)} if names else None

    def selected_alpn_protocol(self) -> None:
        """As there: none."""

    compression = selected_alpn_protocol


class SSLObject(Facts):
    """As `ssl.SSLObject`: one end of a sealed line, on two buckets."""

    def __init__(self, context: SSLContext, incoming: MemoryBIO, outgoing: MemoryBIO, server_side: bool,
                 server_hostname: str | None) -> None:
        self.context, self.server_side, self.server_hostname = context, server_side, server_hostname
        self.records = Records(incoming, outgoing)
        self._over = False
        self._steps = self.as_server() if server_side else self.as_client()
        self.certificate, self.session, self.session_reused = {}, None, False

    def do_handshake(self) -> None:
        """As there; raises SSLWantReadError until it is done."""
        if not self._ready:
            try:
                next(self._steps)
            except StopIteration:
                self._ready = True
            except ssl.SSLCertVerificationError:
                raise
            except ssl.SSLError:
                self.records.say(ALERT, b"protocol_version")
                raise
            else:
                raise ssl.SSLWantReadError(2, "The operation did not complete (read)")

    def read(self, size: int = 1024, buffer: Any = None) -> Any:
        """As there: `b""` after the other end's goodbye."""
        self.do_handshake()
        while not self._plain and not self._over:
            if (record := self.records.hear()) is None:
                if self.records.incoming.eof:
                    raise ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
                raise ssl.SSLWantReadError(2, "The operation did not complete (read)")
            self._plain += record[1] if record[0] == DATA else b""
            self._over = record[0] == ALERT
        data, self._plain = self._plain[:size], self._plain[size:]
        if buffer is None:
            return data
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        """As there."""
        self.do_handshake()
        octets = bytes(data)
        for start in range(0, len(octets), LARGEST):
            self.records.say(DATA, octets[start : start + LARGEST], DATA)
        return len(octets)

    def unwrap(self) -> None:
        """As there: say goodbye."""
        self.do_handshake()
        self.records.say(DATA, b"close_notify", ALERT)
        while not self._over and (record := self.records.hear()) is not None:
            self._over = record[0] == ALERT
        if not self._over:
            raise ssl.SSLWantReadError(2, "The operation did not complete (read)")

    shutdown = unwrap


class Trust:
    """Who one is, and whom one believes."""

    check_hostname: bool
    verify_mode: int

    def __init__(self) -> None:
        self.certificate: dict[str, Any] = {}
        self.trusted: set[str] = set()

    def load_text(self, text: str) -> None:
        """A certificate and its key; raises SSLError."""
        found = next((entry for entry in entries(text) if "private" in entry), None)
        if found is None:
            raise refused("NO_START_LINE", "no start line")
        self.certificate = found

    def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
        """As there."""
        with open(certfile, encoding="ascii") as file:
            self.load_text(file.read())

    def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        """As there."""
        if cafile:
            with open(cafile, encoding="ascii") as file:
                cadata = file.read()
        self.trusted |= {entry["public"] for entry in entries(cadata or "")}

    def believe(self, proof: dict[str, Any], so_far: bytes, name: str | None) -> None:
        """Raises SSLError unless the other end is who it should be."""
        certificate = proof["certificate"]
        body = json.loads(certificate["body"])
        if not signed(int(body["public"], 16), so_far, proof["proof"]):
            raise refused("BAD_SIGNATURE", "bad signature")
        if self.verify_mode == ssl.CERT_NONE:
            return
        issuer = body["issuer"]
        if issuer not in self.trusted or not signed(int(issuer, 16), certificate["body"].encode(),
                                                    certificate["signature"]):
            raise not_believed("unable to get local issuer certificate")
        if self.check_hostname and name not in body["names"]:
            what = "IP address" if name and name.replace(".", "").isdigit() else "Hostname"
            raise not_believed(f"{what} mismatch, certificate is not valid for '{name}'.")


class SSLContext(Trust):
    """As `ssl.SSLContext`: the settings of one end."""

    def __init__(self, protocol: int = ssl.PROTOCOL_TLS_CLIENT, *_: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.check_hostname = protocol == ssl.PROTOCOL_TLS_CLIENT
        self.verify_mode = ssl.CERT_REQUIRED if self.check_hostname else ssl.CERT_NONE
        self.minimum_version, self.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED
        self.num_tickets, self.options, self.verify_flags = 2, 0, 0

    def load_default_certs(self, purpose: Any = None) -> None:
        """As there: nobody is believed by default."""

    def set_ciphers(self, names: str) -> None:
        """As there: there is one."""

    set_alpn_protocols = set_ciphers

    def wrap_bio(self, incoming: Any, outgoing: Any, server_side: bool = False, server_hostname: str | None = None,
                 session: Any = None) -> SSLObject:
        """As there."""
        if self.check_hostname and not server_side and not server_hostname:
            raise ValueError("check_hostname requires server_hostname")
        return SSLObject(self, incoming, outgoing, server_side, server_hostname)

    def wrap_socket(self, sock: Any, server_side: bool = False, do_handshake_on_connect: bool = True,
                    suppress_ragged_eofs: bool = True, server_hostname: str | None = None, session: Any = None) -> Any:
        """As there: the same socket, sealed."""
        from smtp_from_scratch.memory.sealed import sealed_socket

        return sealed_socket(self, sock, server_side, server_hostname)


def parts() -> Iterator[tuple[Any, str, Any]]:
    """What stands in for parts of `ssl`."""
    for part in (MemoryBIO, SSLObject, SSLContext):
        yield ssl, part.__name__, part

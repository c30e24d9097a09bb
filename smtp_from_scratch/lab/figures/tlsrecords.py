"""What TLS leaves in the open: record headers, and a handshake's first words (RFC 8446 §4 and §5.1, RFC 6066 §3)."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

HANDSHAKES = {0: "HelloRequest", 1: "ClientHello", 2: "ServerHello", 4: "NewSessionTicket", 11: "Certificate",
              12: "ServerKeyExchange", 13: "CertificateRequest", 14: "ServerHelloDone", 15: "CertificateVerify",
              16: "ClientKeyExchange", 20: "Finished", 22: "CertificateStatus"}
VERSIONS = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
SERVER_NAME, SUPPORTED_VERSIONS = 0, 43        # extensions
CHANGE, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23          # kinds of records
HEADER = 5                                     # octets


@dataclass(frozen=True, slots=True)
class Sealed:
    """One record as an eavesdropper sees it: what can be told of it, and whether its content is sealed."""

    size: int                                  # octets, header included
    text: str
    opaque: bool
    server_name: str = ""


@dataclass(slots=True)
class Records:
    """One direction of a TLS connection, in pieces of any size."""

    rest: bytes = b""
    enciphered: bool = False                   # after ChangeCipherSpec even handshakes are sealed
    seen: list[Sealed] = field(default_factory=list)

    def feed(self, data: bytes) -> Iterator[Sealed]:
        """The records that are complete now."""
        self.rest += data
        while len(self.rest) >= HEADER and len(self.rest) >= (size := HEADER + int.from_bytes(self.rest[3:5], "big")):
            record, self.rest = self.rest[:size], self.rest[size:]
            yield self.read(record)

    def read(self, record: bytes) -> Sealed:
        """What one record tells."""
        size, kind = len(record), record[0]
        if kind == CHANGE:
            self.enciphered = True
            return Sealed(size, "ChangeCipherSpec", False)
        if kind == HANDSHAKE and not self.enciphered:
            return handshake(record)
        if kind == ALERT and size == HEADER + 2:
            return Sealed(size, f"alert {record[6]}", False)
        names = {ALERT: "alert", HANDSHAKE: "handshake", DATA: "data"}
        return Sealed(size, names.get(kind, f"record of kind {kind}"), True)


def handshake(record: bytes) -> Sealed:
    """The messages in a handshake record; a long one may go on in the next record."""
    content, names, server_name = record[HEADER:], list[str](), ""
    while len(content) >= 4:
        kind, length = content[0], int.from_bytes(content[1:4], "big")
        message, content = content[4 : 4 + length], content[4 + length :]
        name = HANDSHAKES.get(kind, f"message {kind}")
        if kind in (1, 2):
            try:
                version, server_name = hello(message, client=kind == 1)
                name += f" ({version})" if version else ""
            except IndexError:
                name += " (damaged)"
        names.append(name)
    return Sealed(len(record), ", ".join(names) or "handshake", False, server_name)


def hello(message: bytes, client: bool) -> tuple[str, str]:
    """Version and server name in a ClientHello or a ServerHello; raises IndexError if it ends too early."""
    cursor = Cursor(message)
    version, server_name = cursor.number(2), ""
    cursor.take(32)                            # the random octets
    cursor.vector(1)                           # the session's id
    cursor.vector(2) if client else cursor.take(2)       # ciphers
    cursor.vector(1) if client else cursor.take(1)       # compression
    extensions = Cursor(cursor.vector(2) if cursor.data else b"")
    while extensions.data:
        kind, inside = extensions.number(2), Cursor(extensions.vector(2))
        if kind == SERVER_NAME and client:
            names = Cursor(inside.vector(2))
            names.take(1)                      # a host's name, the only kind there is
            server_name = names.vector(2).decode("ascii", "backslashreplace")
        elif kind == SUPPORTED_VERSIONS:
            offered = Cursor(inside.vector(1)) if client else inside
            version = max(offered.number(2) for _ in range(len(offered.data) // 2)) if client else offered.number(2)
    return VERSIONS.get(version, "" if client else f"version {version:#x}"), server_name


class Cursor:
    """Octets that are read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        if len(self.data) < count:
            raise IndexError(f"{count} octets wanted, {len(self.data)} left")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A vector whose length stands before it in `size` octets."""
        return self.take(self.number(size))

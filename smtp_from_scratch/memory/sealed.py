"""A socket in memory under the stand-in of TLS, as `ssl.SSLContext.wrap_socket` returns one."""

from __future__ import annotations

import ssl
from typing import Any

from smtp_from_scratch.memory.sockets import Socket


def sealed_socket(context: Any, sock: Socket, server_side: bool, server_hostname: str | None) -> Socket:
    """The socket, sealed: it takes the other one's place, once the handshake is done."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls: Any = context.wrap_bio(incoming, outgoing, server_side, server_hostname)
    kind = sock.__class__

    class Sealed(kind):  # type: ignore[misc, valid-type]
        """A socket whose octets are sealed."""

        def attempt(self, function: Any, *arguments: Any) -> Any:
            """Call it, and fetch what it wants."""
            while True:
                try:
                    done = function(*arguments)
                except ssl.SSLWantReadError:
                    flush(self)
                    incoming.write(heard) if (heard := kind.recv(self, 65_536)) else incoming.write_eof()
                else:
                    flush(self)
                    return done

        def recv(self, size: int = 1024, flags: int = 0) -> bytes:
            try:
                found: bytes = self.attempt(tls.read, size)
            except ssl.SSLEOFError:
                return b""
            return found

        def send(self, data: Any, flags: int = 0) -> int:
            count: int = self.attempt(tls.write, data)
            return count

        def sendall(self, data: Any, flags: int = 0) -> None:
            self.send(data)

        def readable(self) -> bool:
            return bool(tls.pending() or kind.readable(self))

        def version(self) -> Any:
            return tls.version()

        def getpeercert(self, binary_form: bool = False) -> Any:
            return tls.getpeercert()

        def unwrap(self) -> Socket:
            self.attempt(tls.unwrap)
            return self

    def flush(self: Any) -> None:
        if data := outgoing.read():
            kind.sendall(self, data)

    other = Sealed.__new__(Sealed)
    other.__dict__.update(sock.__dict__)
    sock.__dict__ |= {"coming": None, "going": None, "closed": True}
    try:
        other.attempt(tls.do_handshake)
    except ssl.SSLError:
        flush(other)
        raise
    return other

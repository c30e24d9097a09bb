"""A socket in memory under the stand-in of TLS, as `ssl.SSLContext.wrap_socket` returns one."""

from __future__ import annotations

import ssl
from typing import Any

from smtp_from_scratch.memory.sockets import Socket


class Sealed(Socket):
    """A socket whose octets are sealed; the handshake is done when it is made. Raises SSLError."""

    def __init__(self, context: Any, sock: Socket, server_side: bool, server_hostname: str | None) -> None:
        super().__init__(sock.family)
        number = self.number
        self.__dict__.update(sock.__dict__)
        self.number = number
        sock.coming = sock.going = None        # the other one is a husk from now on
        sock.closed = True
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: Any = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        try:
            self._attempt(self._tls.do_handshake)
        except ssl.SSLError:
            self._flush()
            raise

    def _flush(self) -> None:
        view = memoryview(self._outgoing.read())
        while view:
            view = view[super().send(view) :]

    def _attempt(self, function: Any, *arguments: Any) -> Any:
        """Call it, and fetch what it wants."""
        while True:
            try:
                done = function(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                if heard := super().recv(65_536):
                    self._incoming.write(heard)
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return done

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        try:
            found: bytes = self._attempt(self._tls.read, size)
        except ssl.SSLEOFError:                # a cut, which `ssl` hides too unless it is asked not to
            return b""
        return found

    def send(self, data: Any, flags: int = 0) -> int:
        count: int = self._attempt(self._tls.write, data)
        return count

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.send(data)

    def readable(self) -> bool:
        return bool(self._tls.pending()) or super().readable()

    def version(self) -> Any:
        """As `ssl.SSLSocket.version`."""
        return self._tls.version()


def sealed_socket(context: Any, sock: Any, server_side: bool, server_hostname: str | None) -> Sealed:
    """The socket, sealed, on the network that it is on."""
    kind = type("socket", (Sealed,), {"network": sock.network})
    found: Sealed = kind(context, sock, server_side, server_hostname)
    return found

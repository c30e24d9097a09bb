"""TLS for the runner: a layer of octets, as `Upgrade` wants one."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any


class TLSClient:
    """The client's end of TLS on two `ssl.MemoryBIO`s; `ready` after the handshake."""

    server_side = False

    def __init__(self, context: ssl.SSLContext | None, hostname: str = "", **options: Any) -> None:
        if context is None:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE    # conduct is examined, not identity
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if self.server_side else hostname or None
        self._tls = context.wrap_bio(self._incoming, self._outgoing, self.server_side, name)
        self.ready = self.over = False
        self._shake()

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
            self.ready = True
        except ssl.SSLWantReadError:
            pass

    def receive(self, data: bytes) -> bytes:
        """Octets from the wire in, plain octets out, none after a goodbye; raises ssl.SSLError, an OSError."""
        if self.over:
            return b""
        self._incoming.write(data)
        if not self.ready:
            self._shake()
        plain = bytearray()
        while self.ready and not self.over:
            try:
                block = self._tls.read(65_536)
            except ssl.SSLWantReadError:
                break
            plain += block
            if not block:                       # the other end says goodbye, and may wait for ours before it hangs up
                self.over = True
                with suppress(ssl.SSLError):
                    self._tls.unwrap()
                break
        return bytes(plain)

    def send(self, data: bytes) -> bytes:
        """Plain octets in, octets for the wire out, those of the handshake included."""
        if data and not self.over:
            self._tls.write(data)
        return self._outgoing.read()


class TLSServer(TLSClient):
    """The server's end."""

    server_side = True

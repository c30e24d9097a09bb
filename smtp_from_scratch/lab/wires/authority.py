"""A certificate authority of one's own, made on the spot: whom it signs for, `client` believes."""
from __future__ import annotations

import ssl
from functools import cached_property
from pathlib import Path


class Authority:
    """One certificate, for all the names given, and the authority that signed it.

    `server` and `client` are TLS settings for either end; `ca_pem` and `server_pem` (the chain and its key) are
    octets in PEM form, and `save(folder)` writes them to files. `other.client` trusts another authority.
    """

    def __init__(self, *names: str) -> None:
        import trustme

        self.names = names
        authority = trustme.CA(organization_name="Authority of the course")
        issued = authority.issue_cert(*names)
        self.ca_pem: bytes = authority.cert_pem.bytes()
        self.server_pem: bytes = issued.private_key_and_cert_chain_pem.bytes()
        self._issued = issued

    @cached_property
    def server(self) -> ssl.SSLContext:
        """For a server. Without session tickets, which would add a flight after the handshake."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version, context.num_tickets = ssl.TLSVersion.TLSv1_2, 0
        self._issued.configure_cert(context)
        return context

    @cached_property
    def client(self) -> ssl.SSLContext:
        """For a client that believes this authority and no other, and insists on the right name."""
        return ssl.create_default_context(cadata=self.ca_pem.decode("ascii"))

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write `ca.pem` and `server.pem`; returns both paths."""
        ca, server = Path(folder, "ca.pem"), Path(folder, "server.pem")
        ca.write_bytes(self.ca_pem)
        server.write_bytes(self.server_pem)
        return ca, server

    def __repr__(self) -> str:
        return f"<a certificate for {', '.join(self.names)}>"


def certificates(*names: str) -> Authority:
    """A certificate for these names or IP addresses, by an authority that nobody else trusts.

    `lab.certificates("mx.tokyo.example", "127.0.0.1")`; without names, for "mx.tokyo.example". Takes milliseconds.
    """
    return Authority(*names or ("mx.tokyo.example",))

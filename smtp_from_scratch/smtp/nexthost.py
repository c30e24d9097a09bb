"""The clients that reach next hosts: every extension, and TLS with whoever answers, or as its owner says."""

from __future__ import annotations

from collections.abc import Callable

from smtp_from_scratch.smtp.client import Client
from smtp_from_scratch.smtp.sets import client_extensions


def next_host(hostname: str, *, timeout: float | None = None) -> Callable[[str, tuple[str, int], bool], Client]:
    """A `connect` for `Relay`, which calls itself `hostname`. STARTTLS is used where it is offered, and no certificate
    is asked for: between servers, a sealed line to anybody is better than an open one (RFC 7435)."""

    def connect(host: str, address: tuple[str, int], secure: bool) -> Client:
        tls = None
        if secure:
            from smtp_from_scratch.starttls import unverified

            tls = unverified()
        extensions = client_extensions(tls=tls, require_tls=False)
        return Client(*address, local_hostname=hostname, timeout=timeout, extensions=extensions)

    return connect


def named_host(hostname: str, tls: bool) -> Callable[[str, tuple[str, int], bool], Client]:
    """A `connect` for the one host that an owner has named: with TLS that is verified, or in the clear."""

    def connect(host: str, address: tuple[str, int], secure: bool) -> Client:
        return Client(*address, local_hostname=hostname, tls=tls or None)

    return connect

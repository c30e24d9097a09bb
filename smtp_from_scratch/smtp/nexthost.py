"""The clients that reach next hosts: every extension, and TLS with whoever answers, or as its owner says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import IO, TYPE_CHECKING, cast

from smtp_from_scratch.client import Receipt, SMTPNotSupportedError
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import Body
from smtp_from_scratch.printable import logger
from smtp_from_scratch.smtp.client import Client
from smtp_from_scratch.smtp.sets import client_extensions

if TYPE_CHECKING:
    from smtp_from_scratch.bodies import Spool

log = logger(__name__)
Connect = Callable[[str, tuple[str, int], bool], Client]       # to a host, at an address; True: with TLS


class OnwardClient(Client):
    """A client that passes on what others wrote: a host without 8BITMIME gets it in 7 bits (RFC 6152 §3)."""

    def transact(self, envelope: Envelope, body: Body, *, binary: bool = False) -> Receipt:
        """As `Client.transact`. SMTPNotSupportedError says why a message cannot be changed."""
        try:
            return super().transact(envelope, body, binary=binary)
        except SMTPNotSupportedError as error:
            if binary or self.session.uses("8BITMIME") or "8BITMIME" not in str(error):
                raise
            text = in_seven_bits(body, error)
        log.info("%s has no 8BITMIME: a message from <%s> goes in 7 bits", self.session.host, envelope.sender)
        with closing(text):
            return super().transact(envelope, text.file)


def in_seven_bits(body: Body, error: SMTPNotSupportedError) -> Spool:
    """An open file's message, in 7 bits; the error, with the reason, if that cannot be had."""
    from smtp_from_scratch.sevenbit import seven_bit

    if not hasattr(body, "readline"):
        raise error
    file = cast("IO[bytes]", body)
    start = file.tell()
    try:
        return seven_bit(file)
    except ValueError as why:
        raise SMTPNotSupportedError(f"{error}, and it cannot be sent in 7 bits: {why}") from None
    finally:
        file.seek(start)


def next_host(hostname: str, *, timeout: float | None = None, seven_bits: bool = False) -> Connect:
    """A `connect` for `Relay`, which calls itself `hostname`. STARTTLS is used where it is offered, and no certificate
    is asked for: between servers, a sealed line to anybody is better than an open one (RFC 7435). `seven_bits`: a host
    without 8BITMIME gets a message in 7 bits, where that can be had; else such a message is refused."""

    def connect(host: str, address: tuple[str, int], secure: bool) -> Client:
        tls = None
        if secure:
            from smtp_from_scratch.starttls import unverified

            tls = unverified()
        extensions = client_extensions(tls=tls, require_tls=False)
        kind = OnwardClient if seven_bits else Client
        return kind(*address, local_hostname=hostname, timeout=timeout, extensions=extensions)

    return connect


def named_host(hostname: str, tls: bool) -> Connect:
    """A `connect` for the one host that an owner has named: with TLS that is verified, or in the clear."""

    def connect(host: str, address: tuple[str, int], secure: bool) -> Client:
        return OnwardClient(*address, local_hostname=hostname, tls=tls or None)

    return connect

"""The client behind the names of `smtplib`: `SMTP`, `SMTP_SSL` and `LMTP` take, return and raise what those do.

    from smtp_from_scratch import compat as smtplib

What is underneath is ours: the connection with its deadlines, TLS, line ends, bounded replies. So some things differ,
on purpose. TLS without a context verifies; octets go out with CR LF at the end of each line; a reply's lines end with
CR LF, too, and there is an end to them; every wait has an end; `LMTP` reads a reply for each recipient (RFC 2033 §4.2).
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from smtp_from_scratch.client import (
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from smtp_from_scratch.compat.answers import Answer, Options, quoteaddr, quotedata, refusal, reply_of
from smtp_from_scratch.compat.identity import context_of
from smtp_from_scratch.compat.sender import Talk
from smtp_from_scratch.refusals import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused
from smtp_from_scratch.sasl import SMTPAuthenticationError
from smtp_from_scratch.starttls import secure_client
from smtp_from_scratch.transaction import ClientSession
from smtp_from_scratch.wire import REPLY_LIMIT

__all__ = ["LMTP", "SMTP", "SMTP_SSL", "SMTPAuthenticationError", "SMTPConnectError", "SMTPDataError", "SMTPException",
           "SMTPHeloError", "SMTPNotSupportedError", "SMTPRecipientsRefused", "SMTPResponseException",
           "SMTPSenderRefused", "SMTPServerDisconnected", "quoteaddr", "quotedata"]

SMTP_PORT, SMTP_SSL_PORT, LMTP_PORT = 25, 465, 2003
CRLF, bCRLF = "\r\n", b"\r\n"
_MAXLINE = REPLY_LIMIT
_DEFAULT: Any = getattr(socket, "_GLOBAL_DEFAULT_TIMEOUT")      # noqa: B009  mypy does not know it


class SMTP(Talk):
    """A client, as `smtplib.SMTP`: with a host it connects at once, and raises SMTPConnectError if it is not wanted."""

    default_port: ClassVar[int] = SMTP_PORT

    def __init__(self, host: str = "", port: int = 0, local_hostname: str | None = None,
                 timeout: float | None = _DEFAULT, source_address: tuple[str, int] | None = None) -> None:
        self.timeout, self.source_address, self.session = timeout, source_address, ClientSession("")
        self.forget()
        if host:
            answer = self.connect(host, port)
            if answer[0] != 220:
                self.close()
                raise refusal(SMTPConnectError, answer)
        self.local_hostname = own_name() if local_hostname is None else local_hostname

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        if timeout is not None and not timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        if self.debuglevel > 0:
            self._print_debug("connect: to", (host, port), self.source_address)
        return socket.create_connection((host, port), timeout, self.source_address)

    def connect(self, host: str = "localhost", port: int = 0,
                source_address: tuple[str, int] | None = None) -> Answer:
        """Connect, to `"host:port"`, too; returns the greeting, whatever it is."""
        self.source_address = source_address or self.source_address
        if not port and host.count(":") == 1:
            host, _, number = host.partition(":")
            if not number.isdigit():
                raise OSError("nonnumeric port")
            port = int(number)
        port = port or self.default_port
        sys.audit("smtplib.connect", self, host, port)
        return self.greeted(host, self._get_socket(host, port, self.timeout))


def own_name() -> str:
    """What to call ourselves: our full name, or our address in brackets."""
    name = socket.getfqdn()
    if "." in name:
        return name
    try:
        return f"[{socket.gethostbyname(socket.gethostname())}]"
    except socket.gaierror:
        return "[127.0.0.1]"


class SMTP_SSL(SMTP):
    """The same, under TLS from the first octet on. Without a context, one that verifies."""

    default_port = SMTP_SSL_PORT

    def __init__(self, host: str = "", port: int = 0, local_hostname: str | None = None, keyfile: str | None = None,
                 certfile: str | None = None, timeout: float | None = _DEFAULT,
                 source_address: tuple[str, int] | None = None, context: ssl.SSLContext | None = None) -> None:
        self.keyfile, self.certfile, self.context = keyfile, certfile, context_of(keyfile, certfile, context)
        super().__init__(host, port, local_hostname, timeout, source_address)

    def secure(self) -> None:
        self.play(secure_client(self.session, self.context))


class PerRecipient(SMTP):
    """A reply to the message for each recipient (RFC 2033 §4.2)."""

    answers: Sequence[tuple[str, Answer]] = ()  # to the last message, recipient by recipient
    _named: Sequence[str] = ()                  # those whom the server has accepted

    def mail(self, sender: str, options: Options = ()) -> Answer:
        self._named, self.answers = [], ()
        return super().mail(sender, options)

    def rcpt(self, recip: str, options: Options = ()) -> Answer:
        answer = super().rcpt(recip, options)
        self._named = [*self._named, recip] if answer[0] in (250, 251) else self._named
        return answer

    def data(self, msg: str | bytes) -> Answer:
        """As before; of the replies to the message, a 250 if there is one. `answers` has them all."""
        answers = [super().data(msg)]
        try:
            while len(answers) < len(self._named) and answers[-1][0] != 421:
                answers.append(self.getreply())
        finally:
            if answers[-1][0] == 421:           # for all who were not answered for
                answers += answers[-1:] * (len(self._named) - len(answers))
                self.close()
            self.answers = list(zip(self._named, answers, strict=False))
        return next((answer for answer in answers if answer[0] == 250), answers[0])

    def sendmail(self, from_addr: str, to_addrs: str | Sequence[str], msg: str | bytes, mail_options: Options = (),
                 rcpt_options: Options = ()) -> dict[str, Answer]:
        """As before; those are in what it returns, too, for whom the message itself was refused."""
        try:
            refused = super().sendmail(from_addr, to_addrs, msg, mail_options, rcpt_options)
        except SMTPException as error:
            if error.receipt:                   # each knows what was said of them
                replies = {address: reply_of(answer) for address, answer in self.answers}
                error.receipt.recipients |= replies
                error.receipt.unknown = [address for address in error.receipt.unknown if address not in replies]
            raise
        return refused | {address: answer for address, answer in self.answers if answer[0] != 250}


class LMTP(PerRecipient):
    """The same in LMTP (RFC 2033): LHLO, a path such as `"/run/lmtp"` as the host, a reply for each recipient."""

    ehlo_msg = "lhlo"

    def __init__(self, host: str = "", port: int = LMTP_PORT, local_hostname: str | None = None,
                 source_address: tuple[str, int] | None = None, timeout: float | None = _DEFAULT) -> None:
        super().__init__(host, port, local_hostname, timeout, source_address)

    def connect(self, host: str = "localhost", port: int = 0,
                source_address: tuple[str, int] | None = None) -> Answer:
        """Connect, to a path as well."""
        if not host.startswith("/"):
            return super().connect(host, port, source_address)
        if self.timeout is not None and not self.timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self.timeout is not _DEFAULT:
                sock.settimeout(self.timeout)
            sock.connect(host)
        except OSError:
            if self.debuglevel > 0:
                self._print_debug("connect fail:", host)
            sock.close()
            raise
        return self.greeted("", sock)

"""The client at the front door, assembled from the chapters."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from typing import TYPE_CHECKING, Any, Self, TypeVar

from smtp_from_scratch.client import Receipt, SMTPException, SMTPServerDisconnected
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation
from smtp_from_scratch.dsn import request
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import Body, in_base64, prepare
from smtp_from_scratch.refusals import raise_for_refusal
from smtp_from_scratch.smtp.base import (
    AnyClient,
    host_and_port,
    make_ready_again,
    outgoing_to,
    proving,
    resetting,
    saying,
    sealing,
    sending_one,
    verifying,
)
from smtp_from_scratch.smtp.sending import Sending, ended, send_alone
from smtp_from_scratch.transaction import Plan, hello, leave
from smtp_from_scratch.unix import connect, path_of
from smtp_from_scratch.wire import Reply

if TYPE_CHECKING:
    from smtp_from_scratch.sasl import Mechanism

T = TypeVar("T")
LONGEST = 86_400.0                              # seconds that connecting may take: no clock of a system counts to `inf`


class Line(AnyClient):
    """A connection, and the session on it: connect, play conversations, close."""

    connection: Connection | None = None

    def begin(self, host: str, port: int) -> None:
        """With a host, connect at once."""
        if host:
            self.connect(host, port)

    def connect(self, host: str, port: int = 0) -> Reply:
        """Connect, hear the greeting, say EHLO or HELO; returns the reply. ValueError for a port that is given twice.

        Raises OSError, SMTPConnectError, SMTPHeloError; with TLS and a user also ssl.SSLError, SMTPNotSupportedError,
        SMTPAuthenticationError.
        """
        host, port = host_and_port(host, port, self._port)
        sock = self.dial(host, port)
        try:
            return self.play(self.opening(host, sock))
        except SMTPException:
            self.close()
            raise

    def dial(self, host: str, port: int) -> socket.socket:
        """Connect; raises OSError, ValueError when there is a connection already."""
        if self.connection:
            raise ValueError("already connected: quit or close first")
        seconds = min(self.timeout or 30.0, LONGEST)
        path = path_of(host)
        sock = connect(path, seconds) if path else socket.create_connection((host, port), seconds, self.source_address)
        self.connection = Connection(sock, "C", self.tap)
        if self.timeout is not None:
            self.connection.channel.longest_wait = self.timeout
        return sock

    def check_connected(self) -> Connection:
        """The connection; raises SMTPServerDisconnected without one."""
        if not self.connection:
            raise SMTPServerDisconnected("not connected: call connect first")
        return self.connection

    def play(self, conversation: Conversation[T]) -> T:
        """Play a conversation; whatever leaves the line in an unknown state closes it."""
        connection = self.check_connected()
        try:
            return connection.play(conversation)
        except BaseException as error:
            self.fail(conversation, error)

    def close(self) -> None:
        """Close the connection without a word."""
        if self.connection:
            self.connection.close()
            self.connection = None


class Commands(Line):
    """One command at a time."""

    def docmd(self, verb: str, argument: str = "") -> Reply:
        """Say any one command, and return the reply, whatever it is. ValueError for CR, LF or NUL in it."""
        return self.play(saying(self.session, verb, argument))

    def ehlo(self) -> Reply:
        """Say EHLO again."""
        return self.play(hello(self.session))

    def noop(self) -> Reply:
        """Is the server still there?"""
        return self.docmd("NOOP")

    def rset(self) -> Reply:
        """Give up the transaction."""
        return self.play(resetting(self.session))

    def verify(self, address: str) -> Reply:
        """Ask whether a mailbox exists; most servers answer 252, which says nothing."""
        return self.play(verifying(self.session, address))

    def quit(self) -> Reply:
        """Say goodbye and close."""
        try:
            return self.play(self.session.command("QUIT"))
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.connection and kind is None:
            with contextlib.suppress(SMTPServerDisconnected):     # a refused login is told
                self.quit()
        self.close()


class Sender(Commands):
    """One message at a time, and the receipt for it."""

    def send_message(self, message: Message, from_addr: str | None = None,
                     to_addrs: str | Iterable[str] | None = None, *, ret: str = "", envid: str = "",
                     notify: str | Mapping[str, str] = "", orcpt: Mapping[str, str] | None = None) -> Receipt:
        """Send an `EmailMessage`. The envelope comes from its header, unless given; Bcc is not sent.

        `ret`, `envid`, `notify` and `orcpt` say which delivery reports are wanted: see `dsn.request`; a server
        without DSN is not told. Returns the receipt, with a reply for each recipient. Raises SMTPSenderRefused,
        SMTPRecipientsRefused (everybody was refused), SMTPDataError, SMTPServerDisconnected, each with the `receipt`
        so far; ValueError or SMTPNotSupportedError before anything is sent.
        """
        envelope, octets = prepare(in_base64(message), from_addr, to_addrs, self.session.keywords)
        request(envelope, ret=ret, envid=envid, notify=notify, orcpt=orcpt)
        return raise_for_refusal(self.transact(envelope, octets))

    def sendmail(self, from_addr: str, to_addrs: str | Iterable[str], msg: Body, *, binary: bool = False,
                 ret: str = "", envid: str = "", notify: str | Mapping[str, str] = "",
                 orcpt: Mapping[str, str] | None = None) -> Receipt:
        """Send a message as it is: octets, text, an open file, or blocks of octets; line ends become CR LF.

        A file is read from where it stands, in binary mode, and stands there again unless everybody has it. With
        `binary`, no octet is changed, line ends neither: the server must offer BINARYMIME. Returns and raises what
        `send_message` does; SMTPNotSupportedError, before MAIL, for octets beyond ASCII without 8BITMIME.
        """
        envelope = Envelope(from_addr, [to_addrs] if isinstance(to_addrs, str) else list(to_addrs))
        request(envelope, ret=ret, envid=envid, notify=notify, orcpt=orcpt)
        return raise_for_refusal(self.transact(envelope, msg, binary=binary))

    def transact(self, envelope: Envelope, body: Body, *, binary: bool = False) -> Receipt:
        """One message to whom the envelope says; returns the receipt, refusals included.

        Recipients that were too many for one transaction get another, with a body that can be read again.
        Raises ValueError or SMTPNotSupportedError before anything is sent; SMTPServerDisconnected, whose `receipt`
        says who had been answered for.
        """
        message = outgoing_to(self.session, envelope, body, binary)
        self.check_connected()
        plan = Plan(self.session, message)      # an error here costs no connection
        try:
            self.play(send_alone(plan))
        except BaseException as error:
            ended(plan, error)
        finally:
            make_ready_again(plan)
        return plan.receipt


class SeriesSender(Sender):
    """Messages one after another, and a receipt for each."""

    def send_messages(self, messages: Iterable[Message]) -> Iterator[Receipt]:
        """Send messages one after another; yields a receipt for each, in order, refusals included.

        With PIPELINING a body shares its flight with the next envelope, so a receipt comes when it is settled. One
        that cannot go to this server, or to any, is refused on its own, 554, and the others go on. When the line
        breaks, messages in hand get a receipt, too, which says for whom nothing is known (`unknown`); then
        SMTPServerDisconnected is raised, with all the `receipts`: what is not in there has not been begun.
        """
        return self.send_all(messages)

    def send_all(self, messages: Iterable[Message | tuple[Envelope, Body]], *,
                 goodbye: bool = False) -> Iterator[Receipt]:
        """The same, for messages and for bodies with their envelopes; with `goodbye`, QUIT rides along with the last.

        When something ends the session, each message that was begun still has a receipt, and the exception has all.
        """
        sending = Sending(self.session)
        try:
            for message in messages:
                self.check_connected()
                sending.check_line(self.session)
                self.play(sending_one(sending, message))
                yield from sending.settled()
            self.play(leave(self.session) if goodbye else self.session.read_replies())
        except GeneratorExit:                   # nobody wants more receipts; whatever is said next reads the rest
            raise
        except BaseException as error:
            try:
                if self.connection and self.session.unanswered:        # it was not the line that broke
                    with contextlib.suppress(SMTPException):
                        self.play(self.session.read_replies())
            except BaseException as worse:
                sending.account_for(worse)
                raise
            sending.account_for(error)
            yield from sending.untold()
            raise
        yield from sending.untold()


class Identity(SeriesSender):
    """Who the server is, and who we are: TLS and AUTH."""

    def starttls(self, context: ssl.SSLContext | None = None) -> None:
        """Seal the line now. Raises SMTPNotSupportedError, SMTPResponseException, ssl.SSLError (RFC 3207)."""
        self.play(sealing(self.session, context or self._context))

    def login(self, user: str, password: str, *, mechanisms: Iterable[Mechanism] | None = None,
              insecure: bool = False) -> str:
        """Prove who we are, and return the mechanism that it was done by, such as "SCRAM-SHA-256".

        `mechanisms`: those that may be used, the best first; None: all of them. Without TLS only if `insecure`, here
        or as `insecure_auth`. Raises SMTPAuthenticationError, SMTPNotSupportedError (RFC 4954); ValueError, before
        anything is said, for what no user or password may have in it.
        """
        self.check_connected()
        return self.play(proving(self.session, user, password, mechanisms, insecure or self._insecure))


class Client(Identity):
    """A client for one connection; takes and raises what `smtplib.SMTP` does wherever the thing is the same.

    With a host, `"mx.tokyo.example"` or `"mx.tokyo.example:2525"`, it connects at once: greeting and EHLO, and what the
    extensions do then. The port is 25, or 587 with a user, or 465 with `implicit_tls`. `extensions` are objects such as
    `Pipelining()`; by default everything that needs no decision of yours; None: none, and HELO, as in 1982. `tls`: a
    context, or True for the system's certificates: STARTTLS is then required; with `implicit_tls` TLS begins at once.
    `user` and `password` prove who we are, or a `token`, or a function that fetches one (OAUTHBEARER, XOAUTH2); nothing
    made of these travels without TLS, unless `insecure_auth`. They take effect beside `extensions`, too; ValueError
    where they cannot. `timeout` (seconds) caps every wait; by default they are those of RFC 5321 §4.5.3.2, from two to
    ten minutes. `source_address`: where to call from. `tap` is called with every `Said`; `debug` prints the dialogue on
    standard error, passwords masked. `lmtp`: speak LMTP, with a reply for each recipient in the receipt (port 24). A
    host may be a path, `"/run/lmtp"`. One thread at a time may use it.
    """


def deliver(address: tuple[str, int], messages: Iterable[Message], **options: Any) -> list[Receipt]:
    """A whole session: connect, send every message, quit, in as few round trips as the server allows.

    Options are those of Client. A receipt for each message, refusals included. Raises what connecting raises, and
    SMTPServerDisconnected, with the `receipts` so far.
    """
    client = Client(**options)
    try:
        client.connect(*address)
        return list(client.send_all(messages, goodbye=True))
    finally:
        client.close()

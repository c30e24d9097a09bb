"""The client at the front door, assembled from the chapters."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from typing import Any, Self, TypeVar

from smtp_from_scratch.auth import log_in
from smtp_from_scratch.client import (
    Receipt,
    SMTPException,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
    greet,
    quit_if_refused,
)
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Disconnected, Timeout
from smtp_from_scratch.dsn import request
from smtp_from_scratch.ehlo import Extension, check_requirements
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import Body, addressees, outgoing, prepare
from smtp_from_scratch.oauth import Token
from smtp_from_scratch.printable import printable
from smtp_from_scratch.refusals import SMTPTimeout, raise_for_refusal
from smtp_from_scratch.sasl import Mechanism
from smtp_from_scratch.smtp.sending import Sending
from smtp_from_scratch.smtp.sets import EVERYTHING, MECHANISMS, Extensions, client_extensions, client_security, joined
from smtp_from_scratch.starttls import secure_client, start_tls
from smtp_from_scratch.status import CodedClientSession
from smtp_from_scratch.transaction import ClientSession, hello, leave, open_session
from smtp_from_scratch.transcript import Reader, Said, Tap
from smtp_from_scratch.wire import Reply, WireError, encode_command

T = TypeVar("T")


class Line:
    """A connection, and the session on it: connect, play conversations, close."""

    def __init__(self, local_hostname: str, timeout: float | None, tap: Tap | None,
                 source_address: tuple[str, int] | None = None) -> None:
        self.local_hostname, self.timeout, self.tap, self.source_address = local_hostname, timeout, tap, source_address
        self.session: ClientSession = CodedClientSession("")
        self.connection: Connection | None = None

    def dial(self, host: str, port: int) -> socket.socket:
        """Connect; raises OSError, ValueError when there is a connection already."""
        if self.connection:
            raise ValueError("already connected: quit or close first")
        sock = socket.create_connection((host, port), self.timeout or 30.0, self.source_address)
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
        except SMTPResponseException:
            if self.session.unanswered:         # more was said than has been answered
                self.close()
            raise                               # a refusal; the session goes on
        except BaseException as error:
            self.close()                        # half a command or half a body may be out: no way back
            if isinstance(error, Disconnected):
                raise SMTPServerDisconnected("the server hung up") from None
            if isinstance(error, Timeout):
                raise SMTPTimeout("the server did not answer in time") from None
            if isinstance(error, WireError):
                raise SMTPServerDisconnected(f"the server does not speak SMTP: {error}") from error
            raise

    def close(self) -> None:
        """Close the connection without a word."""
        if self.connection:
            self.connection.close()
            self.connection = None


class Commands(Line):
    """One command at a time."""

    @property
    def offered(self) -> dict[str, str]:
        """What the server offers: `{"SIZE": "10000000", "PIPELINING": ""}`."""
        return dict(self.session.offered)

    def has_extn(self, keyword: str) -> bool:
        """Whether the server offers an extension."""
        return keyword.upper() in self.session.offered

    def docmd(self, verb: str, argument: str = "") -> Reply:
        """Say any one command, and return the reply, whatever it is. ValueError for CR, LF or NUL in it."""
        if not verb:
            raise ValueError("name a command")
        encode_command(verb, argument)          # an error here costs no connection
        return self.play(self.session.command(verb, argument))

    def ehlo(self) -> Reply:
        """Say EHLO again."""
        return self.play(hello(self.session))

    def noop(self) -> Reply:
        """Is the server still there?"""
        return self.docmd("NOOP")

    def rset(self) -> Reply:
        """Give up the transaction."""
        reply = self.docmd("RSET")
        self.session.open = self.session.open and not reply.positive
        return reply

    def verify(self, address: str) -> Reply:
        """Ask whether a mailbox exists; most servers answer 252, which says nothing."""
        if not (address.isascii() or self.has_extn("SMTPUTF8")):       # RFC 6531 §3.7.4.2
            raise SMTPNotSupportedError(f"{address!r} needs SMTPUTF8, which is not offered here")
        return self.docmd("VRFY", address if address.isascii() else f"{address} SMTPUTF8")

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
            with contextlib.suppress(SMTPException):
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
        envelope, octets = prepare(message, from_addr, to_addrs, keywords_of(self.session))
        request(envelope, ret=ret, envid=envid, notify=notify, orcpt=orcpt)
        return raise_for_refusal(self.transact(envelope, octets))

    def sendmail(self, from_addr: str, to_addrs: str | Iterable[str], msg: Body, *, binary: bool = False,
                 ret: str = "", envid: str = "", notify: str | Mapping[str, str] = "",
                 orcpt: Mapping[str, str] | None = None) -> Receipt:
        """Send a message as it is: octets, text, an open file, or blocks of octets; line ends become CR LF.

        With `binary`, no octet is changed, line ends neither: the server must offer BINARYMIME. Returns and raises
        what `send_message` does; SMTPNotSupportedError, before MAIL, for octets beyond ASCII without 8BITMIME.
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
        message = outgoing(envelope, body, eight_bit=self.session.uses("8BITMIME"), binary=binary)
        self.check_connected()
        sending = Sending(self.session)
        plan = sending.begin(message)           # an error here costs no connection
        try:
            self.play(sending.carry_out(plan, alone=True))
        except BaseException as error:
            sending.account_for(error)
            if not (isinstance(error, SMTPServerDisconnected) and plan.receipt.accepted):
                raise
        return plan.receipt                     # some have the message, and this must be told, whatever came then


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
        sending, told = Sending(self.session), 0
        receipts = sending.receipts
        try:
            for message in messages:
                self.check_connected()
                self.play(self._send(sending, message))
                while told < len(receipts) and receipts[told].done:
                    told += 1
                    yield receipts[told - 1]
            self.play(leave(self.session) if goodbye else self.session.read_replies())
        except GeneratorExit:                   # nobody wants more receipts; whatever is said next reads the rest
            raise
        except BaseException as error:
            if self.connection and self.session.unanswered:        # it was not the line that broke
                with contextlib.suppress(SMTPException):
                    self.play(self.session.read_replies())
            sending.account_for(error)
            yield from receipts[told:]
            raise
        yield from receipts[told:]

    def _send(self, sending: Sending, message: Message | tuple[Envelope, Body]) -> Conversation[None]:
        """A message, in the form that this server can take; one that cannot be written is refused, with the reason."""
        if not isinstance(message, Message | tuple):
            raise TypeError(f"expected an EmailMessage, got {type(message).__name__}")
        try:
            envelope, body = (message if isinstance(message, tuple) else
                              prepare(message, None, None, keywords_of(self.session)))
            ready = outgoing(envelope, body, eight_bit=self.session.uses("8BITMIME"))
        except Exception as error:              # `email` has many; the other messages go on
            known = message[0] if isinstance(message, tuple) else Envelope("", addressees(message))
            return sending.refuse(known.recipients, error, known.sender)
        yield from sending.send(ready)


class Identity(SeriesSender):
    """Who the server is, and who we are: TLS and AUTH."""

    _context: ssl.SSLContext | None
    _insecure: bool

    def starttls(self, context: ssl.SSLContext | None = None) -> None:
        """Seal the line now. Raises SMTPNotSupportedError, SMTPResponseException, ssl.SSLError (RFC 3207)."""
        self.play(start_tls(self.session, context or self._context or ssl.create_default_context()))

    def login(self, user: str, password: str, *, mechanisms: Iterable[Mechanism] = MECHANISMS,
              insecure: bool = False) -> str:
        """Prove who we are, and return the mechanism that it was done by, such as "SCRAM-SHA-256".

        Without TLS only if `insecure`, here or as `insecure_auth`. Raises SMTPAuthenticationError,
        SMTPNotSupportedError (RFC 4954).
        """
        def talk() -> Conversation[str]:
            insecure_too = insecure or self._insecure
            chosen = yield from advised(self.session, log_in(self.session, user, password, mechanisms, insecure_too))
            yield from self.session.read_replies()
            return chosen

        return self.play(talk())


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
    standard error, passwords masked.
    """

    def __init__(self, host: str = "", port: int = 0, *, local_hostname: str = "", timeout: float | None = None,
                 tap: Tap | None = None, extensions: Extensions = EVERYTHING, tls: ssl.SSLContext | bool | None = None,
                 implicit_tls: bool = False, user: str = "", password: str = "", token: Token = "",
                 insecure_auth: bool = False, source_address: tuple[str, int] | None = None,
                 debug: bool = False) -> None:
        super().__init__(local_hostname, timeout, debugging(tap) if debug else tap, source_address)
        if implicit_tls and tls is False:
            raise ValueError("implicit_tls and tls=False contradict each other: leave one of them out")
        self._context = ssl.create_default_context() if tls is True or (implicit_tls and not tls) else tls or None
        self._implicit, self._insecure = implicit_tls, insecure_auth
        self._port = 465 if implicit_tls else 587 if user else 25
        asked = client_security(None if implicit_tls else self._context, True, user, password, insecure_auth,
                                token=token)
        self._extensions = client_set(extensions, asked, insecure_auth and not user)
        if host:
            self.connect(host, port)

    def connect(self, host: str, port: int = 0) -> Reply:
        """Connect, hear the greeting, say EHLO or HELO; returns the reply. ValueError for a port that is given twice.

        Raises OSError, SMTPConnectError, SMTPHeloError; with TLS and a user also ssl.SSLError, SMTPNotSupportedError,
        SMTPAuthenticationError.
        """
        host, port = host_and_port(host, port, self._port)
        sock = self.dial(host, port)
        self.session = CodedClientSession(self.local_hostname or host_literal(sock), self._extensions or (), host)
        try:
            return self.play(self._open())
        except SMTPException:
            self.close()
            raise

    def _open(self) -> Conversation[Reply]:
        if self._implicit and self._context:
            yield from secure_client(self.session, self._context)
        if self._extensions is None:
            return (yield from quit_if_refused(greet(self.session.hostname)))
        return (yield from quit_if_refused(advised(self.session, open_session(self.session))))


def host_and_port(host: str, port: int, default: int) -> tuple[str, int]:
    """`"mx:2525"`, `"[::1]:2525"`, or both apart; ValueError for a port that is none, or is given twice."""
    name, colon, number = host.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        name, colon = host, ""
    elif colon and ":" in name and not (name.startswith("[") and name.endswith("]")):
        colon = ""                              # an IPv6 address, and no port
    if not colon:
        return (name[1:-1] if name.startswith("[") and name == host else host), port or default
    if port:
        raise ValueError(f"the port is given twice: in {host!r}, and as {port}")
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 65_536):
        raise ValueError(f"expected a host, or HOST:PORT, not {host!r}")
    return name.strip("[]"), int(number)


def debugging(tap: Tap | None) -> Tap:
    """A tap that prints each line as it is said, and tells the other tap."""
    reader, shown = Reader(), itertools.count()

    def print_lines(said: Said) -> None:
        reader.feed(said)
        for line in reader.lines:
            if line.kind != "sealed" or next(shown) == 0:
                print(f"{line.role}: {printable(line.text)}", file=sys.stderr)
        reader.lines.clear()
        if tap:
            tap(said)

    return print_lines


def client_set(extensions: Extensions, asked: list[Extension], insecure_login: bool) -> tuple[Extension, ...] | None:
    """The extensions of a client, in an order in which they work. ValueError where arguments contradict each other."""
    found = joined(extensions, client_extensions, asked)
    if insecure_login and (found is None or any(e.keyword == "AUTH" for e in found)):
        raise ValueError("insecure_auth is about user=… and about login; extensions=None has no AUTH, and an "
                         "Auth(…) in extensions has `insecure` of its own")
    return None if found is None else check_requirements(found)


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


def keywords_of(session: ClientSession) -> frozenset[str]:
    """Keywords of the extensions that both ends have."""
    return frozenset(extension.keyword for extension in session.active)


def host_literal(sock: socket.socket) -> str:
    """What to call ourselves: our full host name, or our address in brackets (RFC 5321 §4.1.4)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def advised(session: ClientSession, logging_in: Conversation[T]) -> Conversation[T]:
    """The same; when it fails because the line is in the clear, the error says what to do."""
    try:
        return (yield from logging_in)
    except SMTPNotSupportedError as error:
        if session.secure or "STARTTLS" not in session.offered:
            raise
        raise SMTPNotSupportedError(f"{error}; the server offers STARTTLS: pass tls=True") from None

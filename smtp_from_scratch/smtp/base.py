"""What every client has, whether a thread or an event loop plays its conversations: options, a session, a line."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable
from email.message import Message
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from smtp_from_scratch.client import (
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
    greet,
    quit_if_refused,
)
from smtp_from_scratch.conversation import Conversation, Disconnected, Timeout
from smtp_from_scratch.ehlo import Extension, check_requirements
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import Blocks, Body, addressees, in_base64, outgoing, prepare
from smtp_from_scratch.printable import printable
from smtp_from_scratch.refusals import SMTPTimeout
from smtp_from_scratch.smtp.sending import Sending
from smtp_from_scratch.smtp.sets import EVERYTHING, Extensions, client_extensions, client_security, joined
from smtp_from_scratch.status import CodedClientSession
from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, Plan, open_session
from smtp_from_scratch.transcript import Reader, Said, Tap
from smtp_from_scratch.unix import path_of
from smtp_from_scratch.wire import Reply, WireError, encode_command

if TYPE_CHECKING:                               # what only some clients need is imported where they need it
    from smtp_from_scratch.oauth import Token
    from smtp_from_scratch.sasl import Mechanism

    AnyToken = Token | Callable[[], Awaitable[str]]

T = TypeVar("T")


class HasName(Protocol):
    """A connected socket, as far as we ask it."""

    def getsockname(self) -> Any: ...


class Guard:
    """A session, and what becomes of its line when a conversation fails."""

    session: ClientSession

    def close(self) -> None:
        """Close the connection without a word."""
        raise NotImplementedError

    def fail(self, conversation: Conversation[T], error: BaseException) -> NoReturn:
        """A conversation has raised this. Whatever leaves the line in an unknown state closes it."""
        if isinstance(error, SMTPResponseException | SMTPNotSupportedError):
            waiting = isinstance(error, SMTPResponseException) and error.smtp_code // 100 == 3
            if self.session.unanswered or waiting:      # more was said than has been answered, or it waits for more
                self.close()
            raise error                         # a refusal, the server's or our own; the session goes on
        conversation.close()                    # it may have somebody to account for
        self.close()                            # half a command or half a body may be out: no way back
        if isinstance(error, Disconnected):
            raise SMTPServerDisconnected("the server hung up") from None
        if isinstance(error, Timeout):
            raise SMTPTimeout("the server did not answer in time") from None
        if isinstance(error, WireError):
            raise SMTPServerDisconnected(f"the server does not speak SMTP: {error}") from error
        if isinstance(error, ConnectionAbortedError):          # what TLS makes of a broken record, if it is up
            raise SMTPServerDisconnected(str(error)) from error
        raise error


class Options:
    """The options of a client; see `Client`."""

    def __init__(self, host: str = "", port: int = 0, *, local_hostname: str = "", timeout: float | None = None,
                 tap: Tap | None = None, extensions: Extensions = EVERYTHING, tls: ssl.SSLContext | bool | None = None,
                 implicit_tls: bool = False, user: str = "", password: str = "", token: AnyToken = "",
                 insecure_auth: bool = False, source_address: tuple[str, int] | None = None,
                 debug: bool = False, lmtp: bool = False) -> None:
        self.local_hostname, self.timeout, self.source_address = local_hostname, timeout, source_address
        self.tap = debugging(tap) if debug else tap
        if not (isinstance(port, int) and 0 <= port <= 65_535):
            raise ValueError(f"a port is a number from 0 to 65535, not {port!r}")
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            raise ValueError(f"timeout is a number of seconds above 0, or None, not {timeout!r}")
        if not (tls is None or isinstance(tls, bool | ssl.SSLContext)):
            raise ValueError(f"tls is True, for the certificates of the system, or a context, not {tls!r}")
        if implicit_tls and tls is False:
            raise ValueError("implicit_tls and tls=False contradict each other: leave one of them out")
        self._context = ssl.create_default_context() if tls is True or (implicit_tls and not tls) else tls or None
        if lmtp and extensions is None:
            raise ValueError("LMTP has extensions: give a list, or leave extensions out")
        self._implicit, self._insecure, self._lmtp = implicit_tls, insecure_auth, lmtp
        self._port = default_port(lmtp, implicit_tls, bool(user))
        asked = client_security(None if implicit_tls else self._context, True, user, password, insecure_auth,
                                token=self.plain(token))
        self._extensions = client_set(extensions, asked, insecure_auth and not user)
        self.session: ClientSession = CodedClientSession("")
        self.begin(host, port)

    def begin(self, host: str, port: int) -> None:
        """What is done with the address that was given, or with none."""
        raise NotImplementedError

    def plain(self, token: AnyToken) -> Token:
        """A token as a conversation can use it; TypeError for one that nobody here can wait for."""
        if inspect.iscoroutinefunction(token):
            raise TypeError("token is an async function, which nobody runs here: AsyncClient does")
        return token  # type: ignore[return-value]


class AnyClient(Guard, Options):
    """A session on a line, whoever plays the conversations on it."""

    @property
    def offered(self) -> dict[str, str]:
        """What the server offers: `{"SIZE": "10000000", "PIPELINING": ""}`."""
        return dict(self.session.offered)

    def has_extn(self, keyword: str) -> bool:
        """Whether the server offers an extension."""
        return keyword.upper() in self.session.offered

    def opening(self, host: str, ours: HasName) -> Conversation[Reply]:
        """On a new line: TLS, where it begins at once, greeting and hello; from `ours`, this end of the line."""
        session = self.session = session_kind(self._lmtp)(
            self.local_hostname or host_literal(ours), self._extensions or (), "" if path_of(host) else host)

        def talk() -> Conversation[Reply]:
            if self._implicit and self._context:
                from smtp_from_scratch.starttls import secure_client

                yield from secure_client(session, self._context)
            if self._extensions is None:
                return (yield from quit_if_refused(greet(session.hostname)))
            return (yield from quit_if_refused(advised(session, open_session(session))))

        return talk()


def session_kind(lmtp: bool) -> type[ClientSession]:
    """What a session is an instance of."""
    if lmtp:
        from smtp_from_scratch.lmtp import LmtpClientSession

        return LmtpClientSession
    return CodedClientSession


def default_port(lmtp: bool, implicit_tls: bool, login: bool) -> int:
    """The port where nobody names one."""
    if lmtp:
        from smtp_from_scratch.lmtp import PORT

        return PORT
    return 465 if implicit_tls else 587 if login else 25


def saying(session: ClientSession, verb: str, argument: str = "") -> Conversation[Reply]:
    """Any one command; ValueError for one that is none, before anything is said."""
    if not verb:
        raise ValueError("name a command")
    encode_command(verb, argument)
    return session.command(verb, argument)


def resetting(session: ClientSession) -> Conversation[Reply]:
    """RSET."""
    reply = yield from session.command("RSET")
    session.open = session.open and not reply.positive
    return reply


def verifying(session: ClientSession, address: str) -> Conversation[Reply]:
    """VRFY; SMTPNotSupportedError for an address that cannot be asked about here."""
    if not (address.isascii() or "SMTPUTF8" in session.offered):       # RFC 6531 §3.7.4.2
        raise SMTPNotSupportedError(f"{address!r} needs SMTPUTF8, which is not offered here")
    return saying(session, "VRFY", address if address.isascii() else f"{address} SMTPUTF8")


def sealing(session: ClientSession, context: ssl.SSLContext | None) -> Conversation[None]:
    """STARTTLS; without a context, with the system's certificates."""
    from smtp_from_scratch.starttls import start_tls

    return start_tls(session, context or ssl.create_default_context())


def proving(session: ClientSession, user: str, password: str, mechanisms: Iterable[Mechanism] | None,
            insecure: bool) -> Conversation[str]:
    """AUTH; returns the mechanism. ValueError for a password that cannot be said, before anything is."""
    from smtp_from_scratch.smtp.logins import logging_in

    return begun(advised(session, logging_in(session, user, password, mechanisms, insecure)))


def begun(conversation: Conversation[T]) -> Conversation[T]:
    """The same, begun at once: what it raises before its first words is raised here, and costs no connection."""
    first = next(conversation)

    def rest() -> Conversation[T]:
        yield first
        return (yield from conversation)

    return rest()


def outgoing_to(session: ClientSession, envelope: Envelope, body: Body, binary: bool = False) -> OutgoingMessage:
    """A message in the form that this server can take; ValueError for a header that can travel nowhere."""
    return outgoing(envelope, body, eight_bit=session.uses("8BITMIME"), binary=binary, sized=session.uses("SIZE"))


def make_ready_again(plan: Plan) -> None:
    """Put a file back to where it stood, unless everybody has it: whoever was refused may be sent it again."""
    body = plan.message.body
    if isinstance(body, Blocks) and len(plan.receipt.accepted) < plan.recipient_count:
        with contextlib.suppress(OSError, ValueError):         # it may be closed by now
            body.rewind()


def sending_one(sending: Sending, message: Message | tuple[Envelope, Body]) -> Conversation[None]:
    """A message, in the form that this server can take; one that cannot be written is refused, with the reason.

    TypeError for what is no message, before anything is said.
    """
    if not isinstance(message, Message | tuple):
        raise TypeError(f"expected an EmailMessage, got {type(message).__name__}")

    def talk() -> Conversation[None]:
        session = sending.client
        try:
            envelope, body = (message if isinstance(message, tuple) else
                              prepare(in_base64(message), None, None, session.keywords))
            ready = outgoing_to(session, envelope, body)
        except Exception as error:              # `email` has many; the other messages go on
            known = message[0] if isinstance(message, tuple) else Envelope("", addressees(message))
            return sending.refuse(known.recipients, error, known.sender)
        yield from sending.send(ready)

    return talk()


def host_and_port(host: str, port: int, default: int) -> tuple[str, int]:
    """`"mx:2525"`, `"[::1]:2525"`, or both apart; ValueError for a port that is none, or is given twice.

    A path such as `"unix:/run/lmtp"` has no port.
    """
    if path_of(host):
        return host, 0
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
        if tap is not None:
            tap(said)

    return print_lines


def client_set(extensions: Extensions, asked: list[Extension], insecure_login: bool) -> tuple[Extension, ...] | None:
    """The extensions of a client, in an order in which they work. ValueError where arguments contradict each other."""
    found = joined(extensions, client_extensions, asked)
    if insecure_login and (found is None or any(e.keyword == "AUTH" for e in found)):
        raise ValueError("insecure_auth is about user=… and about login; extensions=None has no AUTH, and an "
                         "Auth(…) in extensions has `insecure` of its own")
    return None if found is None else check_requirements(found)


def host_literal(sock: HasName) -> str:
    """What to call ourselves: our full host name, or our address in brackets (RFC 5321 §4.1.4)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    ours = sock.getsockname()
    if not isinstance(ours, tuple):             # of a Unix socket
        return name if name.isascii() else "localhost"
    address = ours[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def advised(session: ClientSession, logging_in: Conversation[T]) -> Conversation[T]:
    """The same; when it fails because the line is in the clear, the error says what to do."""
    try:
        return (yield from logging_in)
    except SMTPNotSupportedError as error:
        if session.secure or "STARTTLS" not in session.offered:
            raise
        raise SMTPNotSupportedError(f"{error}; the server offers STARTTLS: pass tls=True") from None

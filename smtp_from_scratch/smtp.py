"""The front door: a client and a server, assembled from the chapters, and the full set of extensions by name."""

from __future__ import annotations

import codecs
import contextlib
import copy
import inspect
import itertools
import re
import socket
import ssl
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.utils import getaddresses
from functools import partial
from typing import IO, Any, Protocol, TypeGuard, TypeVar

from smtp_from_scratch import auth, ehlo
from smtp_from_scratch.auth import Auth, Mechanism, Users, log_in
from smtp_from_scratch.chunking import BinaryMime, Chunking
from smtp_from_scratch.client import (
    Receipt,
    SMTPException,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeout,
    end_early,
    greet,
    opened,
    raise_for_refusal,
)
from smtp_from_scratch.conversation import Closing, Connection, Conversation, Disconnected, Tap, Timeout
from smtp_from_scratch.dsn import Dsn, request
from smtp_from_scratch.ehlo import (
    ClientSession,
    EightBitMime,
    EnhancedStatusCodes,
    ExtendedSession,
    Extension,
    Letter,
    Offer,
    Size,
    Step,
    ask_in_turn,
    carry_out,
    closed,
    hear,
    hello,
    make_plan,
    open_session,
    send_letter,
    serve_extended,
)
from smtp_from_scratch.envelope import Envelope, envelope_of, has_bare_newline
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.scram import ScramSha256
from smtp_from_scratch.server import ThreadedServer, goodbye, part
from smtp_from_scratch.session import Deliver, Policy, Session, serve
from smtp_from_scratch.smtputf8 import SmtpUtf8
from smtp_from_scratch.starttls import StartTLS, secure_client, secure_server, start_tls
from smtp_from_scratch.wire import Reply, WireError, encode_command

__all__ = ["Client", "ReceivedMessage", "Server", "client_extensions", "deliver", "server_extensions"]

T = TypeVar("T")
MAX_SIZE = 200_000_000                          # octets of a letter


# --- the full set ------------------------------------------------------------------------------------------------

MECHANISMS: tuple[Mechanism, ...] = (ScramSha256(), *auth.MECHANISMS)           # the best first


def server_extensions(*, max_size: int = MAX_SIZE, tls: ssl.SSLContext | None = None, require_tls: bool = False,
                      users: Users | None = None, require_auth: bool = False, insecure_auth: bool = False,
                      without: Iterable[str] = ()) -> list[Extension]:
    """Everything that a server can offer: STARTTLS with a TLS context, AUTH with users; `without` some keywords.

    ValueError for what cannot take effect: see `server_security`, `leave_out`.
    """
    everything: list[Extension] = [Size(max_size), EightBitMime(), EnhancedStatusCodes(), Pipelining(), Chunking(),
                                   BinaryMime(), SmtpUtf8(), Dsn()]
    everything += server_security(tls, require_tls, users, require_auth, insecure_auth)
    return leave_out(everything, without, {"STARTTLS": require_tls, "AUTH": require_auth})


def client_extensions(*, tls: ssl.SSLContext | None = None, require_tls: bool = True, user: str = "",
                      password: str = "", insecure_auth: bool = False, eager: bool = False,
                      mechanisms: Iterable[Mechanism] = MECHANISMS, without: Iterable[str] = ()) -> list[Extension]:
    """Everything that a client can make use of: STARTTLS with a TLS context, AUTH with a user and a password.

    `eager`: see `Chunking`. What follows from others, such as SMTPUTF8 from 8BITMIME, leaves with them. ValueError for
    what cannot take effect: see `client_security`, `leave_out`.
    """
    everything: list[Extension] = [Size(), EightBitMime(), EnhancedStatusCodes(), Pipelining(), Chunking(eager),
                                   BinaryMime(), SmtpUtf8(), Dsn()]
    everything += client_security(tls, require_tls, user, password, insecure_auth, mechanisms)
    return leave_out(everything, without, {"STARTTLS": bool(tls) and require_tls, "AUTH": bool(user)})


KEYWORDS = ("SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "BINARYMIME", "SMTPUTF8",
            "DSN", "STARTTLS", "AUTH")


def leave_out(extensions: Iterable[Extension], without: Iterable[str],
              required: Mapping[str, bool] | None = None) -> list[Extension]:
    """The extensions without some, and without those that need them.

    ValueError for a keyword that does not exist, and for one that is required.
    """
    gone = {keyword.upper() for keyword in without}
    if unknown := gone.difference(KEYWORDS):
        raise ValueError(f"no such extension: {', '.join(sorted(unknown))}; there are {', '.join(KEYWORDS)}")
    for keyword, needed in (required or {}).items():
        if needed and keyword in gone:
            raise ValueError(f"{keyword} is required and left out: without it, do not ask for what it does")
    left = list(extensions)
    while left_over := [e for e in left if e.keyword in gone or e.requires & gone]:
        gone |= {e.keyword for e in left_over}
        left = [e for e in left if e not in left_over]
    return left


# --- security: what is asked for takes effect, or is refused when the object is made ------------------------------


def client_security(tls: ssl.SSLContext | None, require_tls: bool, user: str, password: str, insecure_auth: bool,
                    mechanisms: Iterable[Mechanism] = MECHANISMS) -> list[Extension]:
    """STARTTLS and AUTH for a client; ValueError for a user without a password, or a password without a user."""
    if bool(user) != bool(password):
        raise ValueError(f"user and password go together: there is no {'password' if user else 'user'}")
    asked: list[Extension] = [StartTLS(tls, require_tls)] if tls else []
    if user:
        asked.append(Auth(user=user, password=password, insecure=insecure_auth, mechanisms=mechanisms))
    return asked


def server_security(tls: ssl.SSLContext | None, require_tls: bool, users: Users | None, require_auth: bool,
                    insecure_auth: bool) -> list[Extension]:
    """STARTTLS and AUTH for a server; ValueError for rules about what is not there."""
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise ValueError(f"tls is a context with a certificate, as server_context(…) makes it, not {tls!r}")
    if require_tls and tls is None:
        raise ValueError("require_tls needs a context with a certificate: tls=…")
    if users is None and (require_auth or insecure_auth):
        raise ValueError(f"{'require_auth' if require_auth else 'insecure_auth'} is about users: say who they are by "
                         "users=…; an Auth(…) in extensions has arguments of its own")
    asked: list[Extension] = [StartTLS(tls, require_tls)] if tls else []
    if users is not None:
        asked.append(Auth(users, required=require_auth, insecure=insecure_auth, mechanisms=MECHANISMS))
    return asked


def joined(extensions: Extensions, everything: Callable[[], list[Extension]],
           asked: list[Extension]) -> list[Extension] | None:
    """The extensions, and what other arguments ask for; AUTH stands last, behind STARTTLS. None as it came.

    ValueError for what is asked for twice, or asked of a session that knows no EHLO.
    """
    names = " and ".join(extension.keyword for extension in asked)
    if extensions is None:
        if asked:
            raise ValueError(f"extensions=None is SMTP as in 1982, without {names}: give a list, or leave it out")
        return None
    found = everything() if isinstance(extensions, _Everything) else list(extensions)
    if twice := {e.keyword for e in found} & {e.keyword for e in asked}:
        raise ValueError(f"{' and '.join(sorted(twice))} stands in extensions, and is asked for by another argument: "
                         "say it in one of these places")
    return sorted([*found, *asked], key=lambda extension: extension.keyword == "AUTH")


class _Everything:
    """The default of `extensions`: all that can be had with the other arguments."""

    def __repr__(self) -> str:
        return "everything"


EVERYTHING = _Everything()
Extensions = Iterable[Extension] | None | _Everything


# --- the client --------------------------------------------------------------------------------------------------


class HasRead(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes: ...
    def seekable(self) -> bool: ...
    def tell(self) -> int: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


Source = bytes | HasRead | Iterable[bytes]
Body = Source | str | bytearray | memoryview


def is_file(body: object) -> TypeGuard[HasRead]:
    """Whether a body is read from (`isinstance` with a protocol would take longer than to send a short letter)."""
    return hasattr(body, "read") and hasattr(body, "seekable")


BLOCK = 262_144


class Client:
    """A client for one connection; takes and raises what `smtplib.SMTP` does wherever the thing is the same.

    With a host it connects at once: greeting and EHLO, and what the extensions do then. `extensions` are objects
    such as `Pipelining()`; by default everything that needs no decision of yours; None: none, and HELO, as in 1982.
    `tls`: a context, or True for the system's certificates: STARTTLS is then required; with `implicit_tls` TLS
    begins at once (port 465). `user` and `password` prove who we are; nothing that is made of a password travels
    without TLS, unless `insecure_auth`. These take effect beside `extensions`, too; ValueError where they cannot.
    `timeout` (seconds) caps every wait, for a whole reply too; by default they are those of RFC 5321 §4.5.3.2, from
    two to ten minutes.
    `tap` is called with every `Said`.
    """

    def __init__(self, host: str = "", port: int = 25, *, local_hostname: str = "", timeout: float | None = None,
                 tap: Tap | None = None, extensions: Extensions = EVERYTHING, tls: ssl.SSLContext | bool | None = None,
                 implicit_tls: bool = False, user: str = "", password: str = "", insecure_auth: bool = False) -> None:
        self.local_hostname, self.timeout, self.tap = local_hostname, timeout, tap
        if implicit_tls and tls is False:
            raise ValueError("implicit_tls and tls=False contradict each other: leave one of them out")
        self._context = ssl.create_default_context() if tls is True or (implicit_tls and not tls) else tls or None
        self._implicit, self._insecure = implicit_tls, insecure_auth
        asked = client_security(None if implicit_tls else self._context, True, user, password, insecure_auth)
        found = joined(extensions, client_extensions, asked)
        if insecure_auth and not user and (found is None or any(e.keyword == "AUTH" for e in found)):
            raise ValueError("insecure_auth is about user=… and about login; extensions=None has no AUTH, and an "
                             "Auth(…) in extensions has `insecure` of its own")
        self._extensions = None if found is None else closed(found)
        self.session = ClientSession("")
        self.connection: Connection | None = None
        if host:
            self.connect(host, port)

    def connect(self, host: str, port: int = 25) -> Reply:
        """Connect, hear the greeting, say EHLO or HELO; returns the reply. Raises OSError, SMTPConnectError,
        SMTPHeloError; with TLS and a user also ssl.SSLError, SMTPNotSupportedError, SMTPAuthenticationError."""
        self._dial(host, port)
        try:
            return self._play(self._open())
        except SMTPException:
            self.close()
            raise

    def _dial(self, host: str, port: int) -> None:
        if self.connection:
            raise ValueError("already connected: quit or close first")
        sock = socket.create_connection((host, port), self.timeout or 30.0)
        self.connection = Connection(sock, "C", self.tap)
        if self.timeout is not None:
            self.connection.channel.longest_wait = self.timeout
        self.session = ClientSession(self.local_hostname or host_literal(sock), self._extensions or (), host)

    def _open(self) -> Conversation[Reply]:
        if self._implicit and self._context:
            yield from secure_client(self.session, self._context)
        if self._extensions is None:
            return (yield from opened(greet(self.session.hostname)))
        return (yield from advised(self.session, opened(open_session(self.session))))

    @property
    def offered(self) -> dict[str, str]:
        """What the server offers: `{"SIZE": "10000000", "PIPELINING": ""}`."""
        return dict(self.session.offered)

    def has_extn(self, keyword: str) -> bool:
        """Whether the server offers an extension."""
        return keyword.upper() in self.session.offered

    def ehlo(self) -> Reply:
        """Say EHLO again."""

        def talk() -> Conversation[Reply]:
            yield from hear(self.session)
            return (yield from hello(self.session))

        return self._play(talk())

    def starttls(self, context: ssl.SSLContext | None = None) -> None:
        """Seal the line now. Raises SMTPNotSupportedError, SMTPResponseException, ssl.SSLError (RFC 3207)."""
        self._play(start_tls(self.session, context or self._context or ssl.create_default_context()))

    def login(self, user: str, password: str, *, mechanisms: Iterable[Mechanism] = MECHANISMS,
              insecure: bool = False) -> None:
        """Prove who we are; without TLS only if `insecure`, here or as `insecure_auth`.

        Raises SMTPAuthenticationError, SMTPNotSupportedError (RFC 4954).
        """
        def talk() -> Conversation[None]:
            insecure_too = insecure or self._insecure
            yield from advised(self.session, log_in(self.session, user, password, mechanisms, insecure_too))
            yield from hear(self.session)

        self._play(talk())

    def send_message(self, message: Message, from_addr: str | None = None,
                     to_addrs: str | Iterable[str] | None = None, *, ret: str = "", envid: str = "",
                     notify: str | Mapping[str, str] = "", orcpt: Mapping[str, str] | None = None) -> Receipt:
        """Send an `EmailMessage`. The envelope comes from its header, unless given; Bcc is not sent.

        `ret`, `envid`, `notify` and `orcpt` say which delivery reports are wanted: see `dsn.request`; a server
        without DSN is not told. Returns the receipt, with a reply for each recipient. Raises SMTPSenderRefused,
        SMTPRecipientsRefused (everybody was refused), SMTPDataError, SMTPServerDisconnected, each with the `receipt`
        so far; ValueError or SMTPNotSupportedError before anything is sent.
        """
        envelope, octets = prepare(message, from_addr, to_addrs, in_use(self.session))
        request(envelope, ret=ret, envid=envid, notify=notify, orcpt=orcpt)
        return raise_for_refusal(self.transact(envelope, octets))

    def sendmail(self, from_addr: str, to_addrs: str | Iterable[str], msg: Body, *, binary: bool = False,
                 ret: str = "", envid: str = "", notify: str | Mapping[str, str] = "",
                 orcpt: Mapping[str, str] | None = None) -> Receipt:
        """Send a letter as it is: octets, text, an open file, or blocks of octets; line ends become CR LF.

        With `binary`, no octet is changed, line ends neither: the server must offer BINARYMIME. Returns and raises
        what `send_message` does; SMTPNotSupportedError, before MAIL, for octets beyond ASCII without 8BITMIME.
        """
        envelope = Envelope(from_addr, [to_addrs] if isinstance(to_addrs, str) else list(to_addrs))
        request(envelope, ret=ret, envid=envid, notify=notify, orcpt=orcpt)
        return raise_for_refusal(self.transact(envelope, msg, binary=binary))

    def send_messages(self, messages: Iterable[Message]) -> Iterator[Receipt]:
        """Send messages one after another; yields a receipt for each, in order, refusals included.

        With PIPELINING a body shares its flight with the next envelope, so a receipt comes when it is settled. One
        that cannot go to this server, or to any, is refused on its own, 554, and the others go on. When the line
        breaks, messages in hand get a receipt, too, which says for whom nothing is known (`unknown`); then
        SMTPServerDisconnected is raised, with all the `receipts`: what is not in there has not been begun.
        """
        return self._send_all(map(self._letter, messages))

    def transact(self, envelope: Envelope, body: Body, *, binary: bool = False) -> Receipt:
        """One letter to whom the envelope says; returns the receipt, refusals included.

        Recipients that were too many for one transaction get another, with a body that can be read again.
        Raises ValueError or SMTPNotSupportedError before anything is sent; SMTPServerDisconnected, whose `receipt`
        says who had been answered for.
        """
        letter = letter_for(self.session, envelope, body, binary)
        try:
            list(self._send_all([letter], alone=True))
        except SMTPServerDisconnected:
            if not letter.receipt.accepted:
                raise
        return letter.receipt                  # some have the letter, and this must be told, whatever came then

    def docmd(self, verb: str, argument: str = "") -> Reply:
        """Say any one command, and return the reply, whatever it is. ValueError for CR, LF or NUL in it."""
        if not verb:
            raise ValueError("name a command")
        encode_command(verb, argument)         # an error here costs no connection
        return self._play(ask_in_turn(self.session, verb, argument))

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
            return self._play(ask_in_turn(self.session, "QUIT"))
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection without a word."""
        if self.connection:
            part(self.connection.socket, 0.0, goodbye(self.connection))        # if it fits: nobody is waited for
            self.connection = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.connection and kind is None:
            with contextlib.suppress(SMTPException):
                self.quit()
        self.close()

    def whole_session(self, host: str, port: int, letters: Callable[[], Iterable[Letter]],
                      receipts: list[Receipt]) -> None:
        """Connect, send what `letters` yields once the server's offer is known, quit: QUIT rides along.

        Puts what `send_messages` would yield into `receipts`, also when it raises: what `connect` raises, and
        SMTPServerDisconnected.
        """
        self._dial(host, port)
        try:
            self._play(self._open())
            for receipt in self._send_all(letters(), goodbye=True):
                receipts.append(receipt)
        finally:
            self.close()

    def _letter(self, message: Message) -> Letter:
        """A message as a letter, in the form that this server can take; one that cannot be written says why."""
        if not isinstance(message, Message):
            raise TypeError(f"expected an EmailMessage, got {type(message).__name__}")
        try:
            return letter_for(self.session, *prepare(message, None, None, in_use(self.session)))
        except Exception as error:             # `email` has many; the other messages go on
            return Letter(Envelope("", addressees(message)), (), fault=str(error) or type(error).__name__)

    def _send_all(self, letters: Iterable[Letter], *, alone: bool = False, goodbye: bool = False) -> Iterator[Receipt]:
        """Letters, and their receipts as soon as they are settled, in order: all that is sent goes this way.

        What cannot go to this server is refused on its own; `alone`, it raises. When something ends the session, each
        letter that was begun still has a receipt, and the exception has them all. `goodbye`: QUIT rides along.
        """
        receipts, waiting = list[Receipt](), list[Letter]()    # of all that were begun; and who is not settled
        try:
            for letter in letters:
                if not self.connection:
                    raise SMTPServerDisconnected("not connected: call connect first")
                steps = make_plan(self.session, letter) if alone else plan_or_refuse(self.session, letter)
                receipts.append(letter.receipt)
                waiting.append(letter)
                self._play(send_planned(self.session, letter, steps, alone))
                while waiting and waiting[0].settled:
                    yield waiting.pop(0).receipt
            self._play(ehlo.leave(self.session) if goodbye else hear(self.session))
        except GeneratorExit:                  # nobody wants more receipts; whatever is said next hears the rest
            raise
        except BaseException as error:
            self._lose(waiting)
            error.receipts = receipts  # type: ignore[attr-defined]
            yield from (letter.receipt for letter in waiting)
            raise
        yield from (letter.receipt for letter in waiting)

    def _lose(self, letters: list[Letter]) -> None:
        """Note of letters for whom nothing is known, once nothing more can be heard."""
        if self.connection and self.session.unanswered:        # it was not the line that broke
            with contextlib.suppress(SMTPException):
                self._play(hear(self.session))
        for letter in letters:
            letter.lose()

    def _play(self, conversation: Conversation[T]) -> T:
        if not self.connection:
            raise SMTPServerDisconnected("not connected: call connect first")
        try:
            return self.connection.play(conversation)
        except SMTPResponseException:
            if self.session.unanswered:        # more was said than has been answered
                self.close()
            raise                              # a refusal; the session goes on
        except BaseException as error:
            self.close()                       # half a command or half a body may be out: no way back
            if isinstance(error, Disconnected):
                raise SMTPServerDisconnected("the server hung up") from None
            if isinstance(error, Timeout):
                raise SMTPTimeout("the server did not answer in time") from None
            if isinstance(error, WireError):
                raise SMTPServerDisconnected(f"the server does not speak SMTP: {error}") from error
            raise


def deliver(address: tuple[str, int], messages: Iterable[Message], **options: Any) -> list[Receipt]:
    """A whole session: connect, send every message, quit, in as few round trips as the server allows.

    Options are those of Client. A receipt for each message, refusals included. Raises what connecting raises, and
    SMTPServerDisconnected, whose `receipts` are those of the messages that were begun: see `Client.send_messages`.
    """
    smtp, receipts = Client(**options), list[Receipt]()
    smtp.whole_session(*address, lambda: map(smtp._letter, messages), receipts)
    return receipts


def host_literal(sock: socket.socket) -> str:
    """What to call ourselves: our full host name, or our address in brackets (RFC 5321 §4.1.4)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def prepare(message: Message, sender: str | None, recipients: str | Iterable[str] | None,
            keywords: Container[str]) -> tuple[Envelope, bytes]:
    """A message's envelope, and its octets, without Bcc, in the form that these extensions let travel.

    Octets in its header that are not UTF-8 are written as encoded words, in 7 bits: no extension lets them travel.
    """
    if sender is None or recipients is None:
        envelope = envelope_of(message)
    else:
        envelope = Envelope()
    if sender is not None:
        envelope.sender = sender
    if recipients is not None:
        envelope.recipients = [recipients] if isinstance(recipients, str) else list(recipients)
    public = copy.copy(message)
    del public["Bcc"]
    del public["Resent-Bcc"]
    international = not all(address.isascii() for address in (envelope.sender, *envelope.recipients))
    form: dict[str, Any] = {"linesep": "\r\n", "cte_type": "8bit" if "8BITMIME" in keywords else "7bit"}
    if hasattr(message.policy, "utf8"):        # a header in UTF-8 needs SMTPUTF8, as such an envelope does
        form["utf8"] = international
    octets = public.as_bytes(policy=message.policy.clone(**form))
    if not is_utf8(header_of(octets)):
        octets = public.as_bytes(policy=message.policy.clone(**form | {"cte_type": "7bit"}))
    return envelope, octets


def addressees(message: Message) -> list[str]:
    """Whom a message is for, as far as that can be read."""
    with contextlib.suppress(Exception):       # `email` raises many
        values = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
        return list(dict.fromkeys(address for _, address in getaddresses(values) if address))
    return []


def advised(client: ClientSession, logging_in: Conversation[T]) -> Conversation[T]:
    """The same; when it fails because the line is in the clear, the error says what to do."""
    try:
        return (yield from logging_in)
    except SMTPNotSupportedError as error:
        if client.secure or "STARTTLS" not in client.offered:
            raise
        raise SMTPNotSupportedError(f"{error}; the server offers STARTTLS: pass tls=True") from None


def plan_or_refuse(client: ClientSession, letter: Letter) -> list[Step]:
    """A letter's plan; or none, and a letter that is refused: nothing was said of it, and others can go on."""
    try:
        return make_plan(client, letter)
    except (ValueError, SMTPNotSupportedError) as error:
        sentence = " ".join(str(error).replace("\0", " ").split())
        end_early(letter.receipt, "MAIL", Reply(554, sentence), letter.envelope.recipients)
        return []


def send_planned(client: ClientSession, letter: Letter, steps: list[Step], alone: bool) -> Conversation[None]:
    """A letter that was planned, in as many transactions as it takes; the replies to the last may be out."""
    if letter.hopeless:
        return
    yield from carry_out(client, letter, steps)
    if alone or letter.people > MANY or too_many(letter.receipt, "SIZE" in client.offered):
        yield from hear(client)
        yield from send_to_the_rest(client, letter)


def in_use(client: ClientSession) -> frozenset[str]:
    """Keywords of the extensions that both ends have."""
    return frozenset(extension.keyword for extension in client.active)


def letter_for(client: ClientSession, envelope: Envelope, body: Body, binary: bool = False) -> Letter:
    """A letter with all that can be known of its body without reading what can be read only once.

    It is binary, too, if its header says so: then its line ends are none of ours.
    """
    source = source_of(body)
    size: int | None = None
    eight_bit = "8BITMIME" in in_use(client)   # where it may be said, it is said of what is not known
    header = header_of(source)
    binary = binary or bool(_BINARY.search(header))
    if not (eight_bit or binary or can_be_counted(source)):
        source = list(blocks(source))
    copies = rereadings(source)
    if can_be_counted(source):
        size, eight_bit = survey(blocks(next(copies)), binary)
    needs = {"BINARYMIME"} if binary else {"8BITMIME"} if eight_bit else set()
    if not header.isascii():
        needs.add("SMTPUTF8")                  # RFC 6531 §3.4; 8BITMIME is about the text below (RFC 6152 §3)

    def again(recipients: list[str]) -> Letter:
        return letter_for(client, replace(envelope, recipients=recipients), next(copies), binary)

    return OwnLetter(envelope, blocks(next(copies)), size, needs, binary, "" if is_utf8(header) else NOT_UTF8,
                     again=again if is_rereadable(source) else None)


_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_BINARY = re.compile(rb"^content-transfer-encoding:\s*binary\s*$", re.IGNORECASE | re.MULTILINE)
NOT_UTF8 = ("the header has octets that are neither ASCII nor UTF-8, and no extension lets them travel: "
            "write them as encoded words (RFC 2047)")


def survey(text: Iterable[bytes], binary: bool) -> tuple[int, bool]:
    """Octets that a letter has on the wire, and whether some are beyond ASCII.

    Each line ends with CR LF there, the last one, too; what DATA doubles or adds at the end does not count
    (RFC 1870 §5). Of a binary letter nothing is changed.
    """
    size, eight_bit, last = 0, False, b"\n"
    for block in filter(None, text):
        size += len(block)
        eight_bit = eight_bit or not block.isascii()
        if not binary and has_bare_newline(block.decode("latin-1")):   # fast where there is nothing to count
            size += block.count(b"\n") + block.count(b"\r") - 2 * block.count(b"\r\n")
        if not binary and last == b"\r" and block[:1] == b"\n":        # a line end cut in two: each half counted as one
            size -= 2
        last = block[-1:]
    return size + (0 if binary or last in b"\r\n" else 2), eight_bit


def is_utf8(header: bytes) -> bool:
    """Whether a header is UTF-8, or ASCII, which is the same; it may be cut off in the middle of a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(header, final=len(header) < BLOCK)
    except UnicodeDecodeError:
        return False
    return True


def header_of(letter: Source) -> bytes:
    """What stands above a letter's first empty line, where it can be read and be read again; else nothing.

    A letter whose first line is no field has no header (RFC 5322 §2.2).
    """
    if not can_be_counted(letter):
        return b""
    copies = rereadings(letter)
    top = b""
    for block in blocks(next(copies)):
        top += block[: BLOCK - len(top)]
        if len(top) == BLOCK:
            break
    next(copies)                               # back to where it stood
    if not _FIELD.match(top):
        return b""
    ends = [end for end in map(top.find, (b"\r\n\r\n", b"\n\n", b"\r\r")) if end >= 0]
    return top[: min(ends, default=len(top))]


def source_of(body: Body) -> Source:
    """What a body's octets are read from."""
    if isinstance(body, str):
        return body.encode()
    return bytes(body) if isinstance(body, bytearray | memoryview) else body


def blocks(body: Source) -> Iterable[bytes]:
    """A letter in blocks, whatever it came as."""
    if isinstance(body, bytes):
        whole = body
        return (whole[start : start + BLOCK] for start in range(0, len(whole), BLOCK))
    if is_file(body):
        file = body
        return iter(lambda: file.read(BLOCK), b"")
    assert isinstance(body, Iterable)
    return body


@dataclass(slots=True, eq=False)
class OwnLetter(Letter):
    """A letter that knows how to be sent once more, to others."""

    again: Callable[[list[str]], Letter] | None = None


def is_rereadable(body: Source) -> bool:
    """Whether a body can be read more than once."""
    if is_file(body):
        return body.seekable()
    assert isinstance(body, Iterable)
    return not isinstance(body, Iterator) and iter(body) is not iter(body)      # a new reading each time


def can_be_counted(body: Source) -> bool:
    """Whether it costs nobody anything to read a body beforehand."""
    return isinstance(body, bytes | list | tuple) or (is_file(body) and body.seekable())


def rereadings(body: Source) -> Iterator[Source]:
    """The same body again and again, from where it stands now."""
    start = body.tell() if is_file(body) and body.seekable() else 0
    while True:
        if is_file(body) and body.seekable():
            body.seek(start)
        yield body


# --- recipients that are too many --------------------------------------------------------------------------------

MANY = 100                                     # recipients that every server takes at once (RFC 5321 §4.5.3.1.8)
TRANSACTIONS = 20                              # that one letter may take at most


def send_to_the_rest(client: ClientSession, letter: Letter) -> Conversation[None]:
    """Transactions for those who were too many for the first; what came of them is noted in the first's receipt."""
    part = letter
    for _ in range(TRANSACTIONS - 1):
        rest = too_many(part.receipt, "SIZE" in client.offered)
        if not rest or not isinstance(part, OwnLetter) or part.again is None:
            return
        part = part.again(rest)
        try:
            yield from send_letter(client, part)
            yield from hear(client)
        except BaseException as error:
            part.lose()
            if not (isinstance(error, SMTPServerDisconnected) and error.reply):    # 421: nobody has it, as with 452
                letter.receipt.unknown += part.receipt.unknown
            raise
        finally:
            merge(letter.receipt, part.receipt)


def too_many(receipt: Receipt, sized: bool) -> list[str]:
    """The last recipients, if they were one too many for a transaction: 452, or as RFC 821 had it 552.

    They are sent to in another (RFC 5321 §4.5.3.1.10). An enhanced code can tell that something else is full; and
    where sizes are declared, a bare 552 may be about this one's (RFC 1870 §6.4).
    """
    def put_off(address: str) -> bool:
        reply = receipt.recipients[address]
        bare = not reply.enhanced and not (reply.code == 552 and sized)
        return reply.code in (452, 552) and (bare or reply.enhanced[2:] == "5.3")

    if not receipt.accepted:
        return []
    return list(itertools.takewhile(put_off, reversed(receipt.recipients)))[::-1]


def merge(receipt: Receipt, part: Receipt) -> None:
    """Note what came of those who got a transaction of their own; a 2yz to RCPT is no promise yet."""
    accepted, refused = set(part.accepted), part.refused
    receipt.recipients |= {address: reply for address, reply in part.recipients.items()
                           if address in accepted or (address in refused and not reply.positive)}


# --- the server --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A letter that a server took in: its envelope, and its octets as they came, line ends CR LF."""

    envelope: Envelope
    data: bytes

    @property
    def message(self) -> EmailMessage:
        """The letter, parsed."""
        return message_from_bytes(self.data, policy=policy.default)


def check_callable(**functions: object) -> None:
    """Raise TypeError, by name, for what is neither None nor a function that answers as soon as it is called."""
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise TypeError(f"{name} is a function, not {function!r}")
        for way in (function, getattr(function, "__call__", None)):        # noqa: B004  an object with a method, too
            if inspect.iscoroutinefunction(way) or inspect.isasyncgenfunction(way) or inspect.isgeneratorfunction(way):
                raise TypeError(f"{name} is an async function or a generator, which nobody runs here: give a plain "
                                "function (`asyncio.run` calls an async one from there)")


class Server:
    """A server in threads of its own: `with Server() as server:` listens until the block ends.

    Port 0 lets the system choose; `address` tells. `deliver(envelope, body)` returns a Reply, or {recipient: Reply},
    or None for 250; `body` is an open file. Without it letters are kept in `messages`. `accept_sender(address,
    envelope)` and `accept_recipient(address, envelope)` return a Reply to refuse, or None. `extensions` are objects
    such as `Pipelining()`; by default everything that the other arguments allow; None: none, as in 1982.
    `tls`: a context with a certificate, for STARTTLS, or with `implicit_tls` from the first octet on (port 465).
    `users`: a store, for AUTH, under TLS only unless `insecure_auth`; `require_auth` turns strangers away. These take
    effect beside `extensions`, too; ValueError where they cannot. A session ends with 421 after more than
    `max_errors` commands that make no sense, `max_idle_talk` that lead nowhere, `max_refused` refused recipients.
    Beyond `max_connections`, and beyond `max_connections_per_address` (of IPv6, per network of 64 bits), callers hear
    421. `timeout` (seconds) caps every wait, and `session_timeout` is for a session as a whole. Raises TypeError for a
    `deliver` or a policy that cannot be called here, OSError when the address cannot be had.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, deliver: Deliver | None = None, hostname: str = "",
                 accept_sender: Policy | None = None, accept_recipient: Policy | None = None,
                 max_size: int = MAX_SIZE, max_recipients: int = 1000, max_connections: int = 1000,
                 max_errors: int = 20, max_idle_talk: int = 100, max_refused: int = 100,
                 max_connections_per_address: int = 500, timeout: float = 300.0, session_timeout: float = 14_400.0,
                 tap: Tap | None = None, extensions: Extensions = EVERYTHING,
                 tls: ssl.SSLContext | None = None, implicit_tls: bool = False, users: Users | None = None,
                 require_auth: bool = False, insecure_auth: bool = False) -> None:
        check_callable(deliver=deliver, accept_sender=accept_sender, accept_recipient=accept_recipient)
        self.messages: list[ReceivedMessage] = []
        self.hostname = hostname or socket.gethostname() or "localhost"
        self._deliver = deliver or self._keep
        self._settings: dict[str, Any] = {"max_size": max_size, "max_recipients": max_recipients,
                                          "max_errors": max_errors, "max_idle_talk": max_idle_talk,
                                          "max_refused": max_refused}
        if accept_sender:
            self._settings["accept_sender"] = accept_sender
        if accept_recipient:
            self._settings["accept_recipient"] = accept_recipient
        if implicit_tls and (tls is None or extensions is None):
            raise ValueError("implicit_tls needs a context with a certificate, tls=…, and a list of extensions, if an "
                             "empty one: in 1982 there was no TLS")
        asked = server_security(None if implicit_tls else tls, False, users, require_auth, insecure_auth)
        found = joined(extensions, partial(server_extensions, max_size=max_size), asked)
        sealable = implicit_tls or any(e.keyword == "STARTTLS" for e in found or ())
        if users is not None and not (sealable or insecure_auth):
            raise ValueError("users log in under TLS only: give tls=…, or insecure_auth=True")
        self.offer = None if found is None else Offer(found)
        self._implicit = tls if implicit_tls else None
        self._arrival = threading.Condition()
        self._stage = ThreadedServer(self._conversation, host, port, max_connections=max_connections,
                                     max_connections_per_address=max_connections_per_address, tap=tap)
        self._stage.longest_wait, self._stage.longest_session = timeout, session_timeout
        self.address = self._stage.address

    def _conversation(self, peer: str) -> Conversation[None]:
        if self.offer is None:
            return serve(Session(self.hostname, self._deliver, peer=peer, **self._settings))
        session = ExtendedSession(self.hostname, self._deliver, peer=peer, offer=self.offer, **self._settings)
        return serve_extended(session) if self._implicit is None else sealed(session, self._implicit)

    def _keep(self, envelope: Envelope, body: IO[bytes]) -> None:
        with self._arrival:
            self.messages.append(ReceivedMessage(envelope, body.read()))
            self._arrival.notify_all()

    def wait_for(self, count: int, timeout: float = 10.0) -> list[ReceivedMessage]:
        """The messages, as soon as there are `count`; raises TimeoutError after `timeout` seconds."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.messages) >= count, timeout):
                raise TimeoutError(f"{len(self.messages)} of {count} messages after {timeout} seconds")
            return list(self.messages)

    def start(self) -> None:
        """Begin to answer."""
        self._stage.start()

    def stop(self, grace: float = 10.0) -> None:
        """Take no more calls, let transactions in hand finish for `grace` seconds, then cut them off."""
        self._stage.stop(grace)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def sealed(session: ExtendedSession, context: ssl.SSLContext) -> Conversation[None]:
    """A session that shakes hands before the greeting (RFC 8314 §3.3)."""
    try:
        ready = yield from secure_server(session, context)
    except (Timeout, Disconnected, Closing):
        return
    if ready:
        yield from serve_extended(session)

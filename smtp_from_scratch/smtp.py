"""The front door: a client and a server, assembled from the chapters."""

from __future__ import annotations

import contextlib
import copy
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from typing import IO, Any, Protocol, TypeVar, runtime_checkable

from smtp_from_scratch.client import (
    Receipt,
    SMTPException,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeout,
    ask,
    check_envelope,
    greet,
    leave,
    raise_for_refusal,
    transaction,
)
from smtp_from_scratch.conversation import Connection, Conversation, Disconnected, Tap, Timeout
from smtp_from_scratch.envelope import Envelope, envelope_of
from smtp_from_scratch.server import ThreadedServer
from smtp_from_scratch.session import Deliver, Policy, Session, serve
from smtp_from_scratch.wire import Reply, WireError, encode_command

__all__ = ["Client", "ReceivedMessage", "Server", "deliver"]

T = TypeVar("T")


@runtime_checkable
class HasRead(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes: ...
    def seekable(self) -> bool: ...
    def tell(self) -> int: ...
    def seek(self, offset: int, /) -> int: ...


Body = bytes | str | HasRead | Iterable[bytes]
BLOCK = 262_144


class Client:
    """A client for one connection; takes and raises what `smtplib.SMTP` does wherever the thing is the same.

    With a host it connects at once: greeting and HELO. `timeout` (seconds) caps every wait; by default they are
    those of RFC 5321 §4.5.3.2, from two to ten minutes. `tap` is called with every `Said`.
    """

    def __init__(self, host: str = "", port: int = 25, *, local_hostname: str = "", timeout: float | None = None,
                 tap: Tap | None = None) -> None:
        self.local_hostname, self.timeout, self.tap = local_hostname, timeout, tap
        self.connection: Connection | None = None
        if host:
            self.connect(host, port)

    def connect(self, host: str, port: int = 25) -> Reply:
        """Connect, hear the greeting, say HELO; returns its reply. Raises OSError, SMTPConnectError, SMTPHeloError."""
        if self.connection:
            raise ValueError("already connected: quit or close first")
        sock = socket.create_connection((host, port), self.timeout or 30.0)
        self.connection = Connection(sock, "C", self.tap)
        if self.timeout is not None:
            self.connection.channel.longest_wait = self.timeout
        try:
            return self._play(greet(self.local_hostname or host_literal(sock)))
        except SMTPException as error:
            if isinstance(error, SMTPResponseException) and error.reply.code != 421:
                with contextlib.suppress(SMTPException):
                    self._play(leave())        # a server that refuses a session still waits for QUIT (§3.1, §4.1.4)
            self.close()
            raise

    def send_message(self, message: Message, from_addr: str | None = None,
                     to_addrs: str | Iterable[str] | None = None) -> Receipt:
        """Send an `EmailMessage`. The envelope comes from its header, unless given; Bcc is not sent.

        Returns the receipt, with a reply for each recipient. Raises SMTPSenderRefused, SMTPRecipientsRefused
        (everybody was refused), SMTPDataError, SMTPServerDisconnected; ValueError before anything is sent.
        """
        return raise_for_refusal(self.transact(*prepare(message, from_addr, to_addrs)))

    def sendmail(self, from_addr: str, to_addrs: str | Iterable[str], msg: Body) -> Receipt:
        """Send a letter as it is: octets, ASCII text, an open file, or blocks of octets; line ends become CR LF.

        Returns and raises what `send_message` does; SMTPNotSupportedError, before MAIL, for octets beyond ASCII.
        """
        envelope = Envelope(from_addr, [to_addrs] if isinstance(to_addrs, str) else list(to_addrs))
        return raise_for_refusal(self.transact(envelope, msg))

    def send_messages(self, messages: Iterable[Message]) -> Iterator[Receipt]:
        """Send messages one after another; yields a receipt for each, refusals included."""
        for message in messages:
            yield self.transact(*prepare(message, None, None))

    def transact(self, envelope: Envelope, body: Body) -> Receipt:
        """One letter to whom the envelope says; returns the receipt, refusals included.

        Raises ValueError or SMTPNotSupportedError before anything is sent; SMTPServerDisconnected.
        """
        check_envelope(envelope)               # before the conversation begins: an error here costs no connection
        return self._play(transaction(envelope, seven_bit(body)))

    def docmd(self, verb: str, argument: str = "") -> Reply:
        """Say any one command, and return the reply, whatever it is. ValueError for CR, LF or NUL in it."""
        encode_command(verb, argument)         # an error here costs no connection
        return self._play(ask(verb, argument))

    def noop(self) -> Reply:
        """Is the server still there?"""
        return self.docmd("NOOP")

    def rset(self) -> Reply:
        """Give up the transaction."""
        return self.docmd("RSET")

    def verify(self, address: str) -> Reply:
        """Ask whether a mailbox exists; most servers answer 252, which says nothing."""
        return self.docmd("VRFY", address)

    def quit(self) -> Reply:
        """Say goodbye and close."""
        try:
            return self._play(leave())
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection without a word."""
        if self.connection:
            self.connection.socket.close()
            self.connection = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.connection and kind is None:
            with contextlib.suppress(SMTPException):
                self.quit()
        self.close()

    def _play(self, conversation: Conversation[T]) -> T:
        if not self.connection:
            raise SMTPServerDisconnected("not connected: call connect first")
        try:
            return self.connection.play(conversation)
        except SMTPResponseException:
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
    """A whole session: connect, send every message, quit. Options are those of Client."""
    with Client(*address, **options) as smtp:
        return list(smtp.send_messages(messages))


def host_literal(sock: socket.socket) -> str:
    """What to call ourselves: our full host name, or our address in brackets (RFC 5321 §4.1.4)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def prepare(
    message: Message, sender: str | None, recipients: str | Iterable[str] | None
) -> tuple[Envelope, bytes]:
    """A message's envelope, and its octets for a 7-bit channel, without Bcc."""
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
    flat = public.as_bytes(policy=message.policy.clone(linesep="\r\n", cte_type="7bit"))
    return envelope, flat


def blocks(body: Body) -> Iterable[bytes]:
    """A letter in blocks, whatever it came as."""
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes):
        whole = body
        return (whole[start : start + BLOCK] for start in range(0, len(whole), BLOCK))
    if isinstance(body, HasRead):
        file = body
        return iter(lambda: file.read(BLOCK), b"")
    return body


def seven_bit(body: Body) -> Iterable[bytes]:
    """The blocks of a letter; raises SMTPNotSupportedError when one holds octets that 1982 has no room for."""
    if isinstance(body, str | bytes):
        ascii_only = body.isascii()
    elif isinstance(body, HasRead) and body.seekable():
        start = body.tell()
        ascii_only = all(block.isascii() for block in blocks(body))
        body.seek(start)
    else:
        body = list(blocks(body))
        ascii_only = all(block.isascii() for block in body)
    if not ascii_only:
        raise SMTPNotSupportedError("the letter has 8-bit octets, and the server has not said that it takes them")
    return blocks(body)


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A letter that a server took in: its envelope, and its octets as they came, line ends CR LF."""

    envelope: Envelope
    data: bytes

    @property
    def message(self) -> EmailMessage:
        """The letter, parsed."""
        return message_from_bytes(self.data, policy=policy.default)


class Server:
    """A server in threads of its own: `with Server() as server:` listens until the block ends.

    Port 0 lets the system choose; `address` tells. `deliver(envelope, body)` returns a Reply, or {recipient: Reply},
    or None for 250; `body` is an open file. Without it letters are kept in `messages`. `accept_sender(address,
    envelope)` and `accept_recipient(address, envelope)` return a Reply to refuse, or None. Raises OSError when the
    address cannot be had.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, deliver: Deliver | None = None, hostname: str = "",
                 accept_sender: Policy | None = None, accept_recipient: Policy | None = None,
                 max_size: int = 200_000_000, max_recipients: int = 1000, max_connections: int = 1000,
                 timeout: float = 300.0, tap: Tap | None = None) -> None:
        self.messages: list[ReceivedMessage] = []
        self.hostname = hostname or socket.gethostname() or "localhost"
        self._deliver = deliver or self._keep
        self._settings: dict[str, Any] = {"max_size": max_size, "max_recipients": max_recipients}
        if accept_sender:
            self._settings["accept_sender"] = accept_sender
        if accept_recipient:
            self._settings["accept_recipient"] = accept_recipient
        self._arrival = threading.Condition()
        self._stage = ThreadedServer(self._conversation, host, port, max_connections=max_connections, tap=tap)
        self._stage.longest_wait = timeout
        self.address = self._stage.address

    def _conversation(self, peer: str) -> Conversation[None]:
        return serve(Session(self.hostname, self._deliver, peer=peer, **self._settings))

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

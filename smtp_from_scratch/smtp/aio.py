"""The client for asyncio: the same conversations, played by an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from email.message import Message
from typing import TYPE_CHECKING, Self, TypeVar

from smtp_from_scratch.aio import AsyncConnection, dial
from smtp_from_scratch.client import Receipt, SMTPException, SMTPServerDisconnected
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
from smtp_from_scratch.wire import Reply

if TYPE_CHECKING:
    from smtp_from_scratch.oauth import Token
    from smtp_from_scratch.sasl import Mechanism
    from smtp_from_scratch.smtp.base import AnyToken

T = TypeVar("T")
Messages = Iterable[Message] | AsyncIterable[Message]
Outgoing = Iterable[Message | tuple[Envelope, Body]] | AsyncIterable[Message | tuple[Envelope, Body]]


class Patient(AnyClient):
    """What is done before anybody is called: note where, and how to come by a token."""

    _fetch: Callable[[], str | Awaitable[str]] | None = None
    _token = ""

    def begin(self, host: str, port: int) -> None:
        """Note whom to call; nobody is called before somebody waits for it."""
        self._address = host, port
        self._turn = asyncio.Lock()             # one conversation at a time, however many tasks use this client

    def plain(self, token: AnyToken) -> Token:
        """A token that is there when it is asked for: `connect` fetches it."""
        if not callable(token):
            return token
        self._fetch = token
        return lambda: self._token

    async def _fetch_token(self) -> None:
        """Call the function that fetches a token, if there is one: in a thread, since it may block."""
        if self._fetch:
            plain = not inspect.iscoroutinefunction(self._fetch)
            found = await asyncio.to_thread(self._fetch) if plain else self._fetch()
            self._token = found if isinstance(found, str) else await found


class AsyncLine(Patient):
    """A connection, and the session on it: connect, play conversations, close."""

    connection: AsyncConnection | None = None

    async def connect(self, host: str = "", port: int = 0) -> Reply:
        """Connect, hear the greeting, say EHLO or HELO; returns the reply. Without a host: where the client was told.

        Raises OSError, SMTPConnectError, SMTPHeloError; with TLS and a user also ssl.SSLError, SMTPNotSupportedError,
        SMTPAuthenticationError; ValueError for a port that is given twice.
        """
        host, port = host_and_port(*((host, port) if host else self._address), self._port)
        async with self._turn:
            if self.connection:
                raise ValueError("already connected: quit or close first")
            await self._fetch_token()
            self.connection = line = await dial(host, port, self.timeout or 30.0, self.tap,
                                                local_addr=self.source_address)
            if self.timeout is not None:
                line.channel.longest_wait = self.timeout
            try:
                return await self._play(self.opening(host, line.transport.get_extra_info("socket")))
            except SMTPException:
                self.close()
                raise

    def check_connected(self) -> AsyncConnection:
        """The connection; raises SMTPServerDisconnected without one, RuntimeError in another event loop."""
        if not self.connection:
            raise SMTPServerDisconnected("not connected: call connect first")
        if self.connection.loop is not asyncio.get_running_loop():
            raise RuntimeError("this client is connected in another event loop: make one for this loop")
        return self.connection

    async def play(self, conversation: Conversation[T]) -> T:
        """Play a conversation, when it is its turn; whatever leaves the line in an unknown state closes it.

        So does a task that is canceled in the middle of it.
        """
        async with self._turn:
            return await self._play(conversation)

    async def _play(self, conversation: Conversation[T]) -> T:
        connection = self.check_connected()
        try:
            return await connection.play(conversation)
        except BaseException as error:
            self.fail(conversation, error)

    def close(self) -> None:
        """Close the connection without a word."""
        if connection := self.connection:
            self.connection = None
            self.session.unanswered.clear()     # nobody will answer that
            connection.close()


class AsyncCommands(AsyncLine):
    """One command at a time."""

    async def docmd(self, verb: str, argument: str = "") -> Reply:
        """Say any one command, and return the reply, whatever it is. ValueError for CR, LF or NUL in it."""
        return await self.play(saying(self.session, verb, argument))

    async def ehlo(self) -> Reply:
        """Say EHLO again."""
        return await self.play(hello(self.session))

    async def noop(self) -> Reply:
        """Is the server still there?"""
        return await self.docmd("NOOP")

    async def rset(self) -> Reply:
        """Give up the transaction."""
        return await self.play(resetting(self.session))

    async def verify(self, address: str) -> Reply:
        """Ask whether a mailbox exists; most servers answer 252, which says nothing."""
        return await self.play(verifying(self.session, address))

    async def starttls(self, context: ssl.SSLContext | None = None) -> None:
        """Seal the line now. Raises SMTPNotSupportedError, SMTPResponseException, ssl.SSLError (RFC 3207)."""
        await self.play(sealing(self.session, context or self._context))

    async def login(self, user: str, password: str, *, mechanisms: Iterable[Mechanism] | None = None,
                    insecure: bool = False) -> str:
        """Prove who we are, and return the mechanism that it was done by; see `Client.login`."""
        self.check_connected()
        return await self.play(proving(self.session, user, password, mechanisms, insecure or self._insecure))

    async def quit(self) -> Reply:
        """Say goodbye and close."""
        line = self.check_connected()
        try:
            return await self.play(self.session.command("QUIT"))
        finally:
            self.close()
            await line.gone.wait()

    async def __aenter__(self) -> Self:
        if self._address[0] and not self.connection:
            await self.connect()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        line = self.connection
        if line and kind is None:
            with contextlib.suppress(SMTPServerDisconnected):     # a refused login is told
                await self.quit()
        self.close()
        if line:
            await line.gone.wait()              # one turn of the event loop: nothing is left in its hands


class AsyncSender(AsyncCommands):
    """One message at a time, and the receipt for it."""

    async def send_message(self, message: Message, from_addr: str | None = None,
                           to_addrs: str | Iterable[str] | None = None, *, ret: str = "", envid: str = "",
                           notify: str | Mapping[str, str] = "", orcpt: Mapping[str, str] | None = None) -> Receipt:
        """Send an `EmailMessage`; takes, returns and raises what `Client.send_message` does."""
        envelope, octets = prepare(in_base64(message), from_addr, to_addrs, self.session.keywords)
        request(envelope, ret=ret, envid=envid, notify=notify, orcpt=orcpt)
        return raise_for_refusal(await self.transact(envelope, octets))

    async def sendmail(self, from_addr: str, to_addrs: str | Iterable[str], msg: Body, *, binary: bool = False,
                       ret: str = "", envid: str = "", notify: str | Mapping[str, str] = "",
                       orcpt: Mapping[str, str] | None = None) -> Receipt:
        """Send a message as it is; takes, returns and raises what `Client.sendmail` does."""
        envelope = Envelope(from_addr, [to_addrs] if isinstance(to_addrs, str) else list(to_addrs))
        request(envelope, ret=ret, envid=envid, notify=notify, orcpt=orcpt)
        return raise_for_refusal(await self.transact(envelope, msg, binary=binary))

    async def transact(self, envelope: Envelope, body: Body, *, binary: bool = False) -> Receipt:
        """One message to whom the envelope says; returns the receipt, refusals included. See `Client.transact`.

        Whatever ends it, a cancellation too, has the `receipt`, which says for whom nothing is known.
        """
        async with self._turn:
            message = outgoing_to(self.session, envelope, body, binary)
            self.check_connected()
            plan = Plan(self.session, message)  # an error here costs no connection
            try:
                await self._play(send_alone(plan))
            except BaseException as error:
                ended(plan, error)
            finally:
                make_ready_again(plan)
            return plan.receipt


class AsyncClient(AsyncSender):
    """A client for asyncio: `async with AsyncClient("mx.tokyo.example:2525") as smtp: await smtp.send_message(m)`.

    It takes the arguments of `Client`, has its methods, to be awaited, and raises what it raises. It connects in
    `async with`, or in `connect`, and is for one event loop: RuntimeError in another. Its tasks may share it: each
    conversation waits for its turn. A task that is canceled, or runs out of its `asyncio.timeout`, in the middle of a
    conversation closes the line; the CancelledError (which is the `__context__` of a TimeoutError) has the `receipts`
    of what was begun. `token` may be an async function; any other is called in a thread.
    """

    def send_messages(self, messages: Messages) -> AsyncIterator[Receipt]:
        """Send messages one after another; yields a receipt for each, in order, refusals included.

        `messages` may be an async iterable. See `Client.send_messages`. A CancelledError comes at once: receipts that
        were not yielded are in its `receipts`.
        """
        return self.send_all(messages)

    async def send_all(self, messages: Outgoing, *, goodbye: bool = False) -> AsyncIterator[Receipt]:
        """The same, for messages and for bodies with their envelopes; with `goodbye`, QUIT rides along with the last.

        When something ends the session, each message that was begun still has a receipt, and the exception has all.
        """
        sending = Sending(self.session)
        try:
            async for message in each(messages):
                self.check_connected()
                sending.check_line(self.session)
                await self.play(sending_one(sending, message))
                for receipt in sending.settled():
                    yield receipt
            await self.play(leave(self.session) if goodbye else self.session.read_replies())
        except GeneratorExit:                   # nobody wants more receipts; whatever is said next reads the rest
            raise
        except asyncio.CancelledError as error:
            sending.account_for(error)
            raise
        except BaseException as error:
            try:
                if self.connection and self.session.unanswered:        # it was not the line that broke
                    with contextlib.suppress(SMTPException):
                        await self.play(self.session.read_replies())
            except BaseException as worse:
                sending.account_for(worse)
                raise
            sending.account_for(error)
            for receipt in sending.untold():
                yield receipt
            raise
        for receipt in sending.untold():
            yield receipt


async def each(things: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Things one after another, from an iterable of either kind."""
    if isinstance(things, AsyncIterable):
        async for thing in things:
            yield thing
    else:
        for thing in things:
            yield thing

"""The stage of asyncio: conversations on a connection that an event loop looks after (RFC 5321 §4.5.3.2)."""
from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from .channel import Channel
from .connection import INBOX_LIMIT, SEND_TIMEOUT
from .conversation import OUTBOX_LIMIT, Actor, Conversation, Disconnected, Interruption, Result, Timeout, flights
from .prompt import acknowledge
from .transcript import Tap
from .unix import path_of

__all__ = ["AsyncConnection", "dial"]


class Events(asyncio.Protocol):
    """What an event loop tells of a connection: octets go into the channel, and whoever waits is woken."""

    transport: asyncio.Transport

    def __init__(self, role: str = "", tap: Tap | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.channel = Channel(role, tap, self.loop.time)
        self.channel.peer = {"C": "S", "S": "C"}.get(role, "")
        self.full = self.ended = self.lost = False     # the line takes no more now; nothing more comes; nobody is there
        self.failure: Exception | None = None          # why it ended so
        self.gone = asyncio.Event()
        self._waiter: asyncio.Future[bool] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=0)      # full as soon as something is left: memory is bounded
        self._socket = transport.get_extra_info("socket")
        prompt = self.channel.role == "C" and hasattr(self._socket, "setsockopt")
        self._prompt = prompt and acknowledge(self._socket)

    def data_received(self, data: bytes) -> None:
        try:
            self.channel.receive(data)
        except Exception as error:                     # a tap's; the event loop would only log it
            self.failure, self.ended = error, True
        if len(self.channel.inbox) >= INBOX_LIMIT:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self.ended = True
        self._wake()
        return True                                    # a peer that says no more may still listen

    def connection_lost(self, error: Exception | None) -> None:
        if error:
            self._hear_last_words()
        self.ended = self.lost = True
        self.gone.set()
        self._wake()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._wake()

    def _hear_last_words(self) -> None:
        """A transport that cannot send reads no more; but the other end may have said why it left."""
        with contextlib.suppress(Exception), self._socket.dup() as sock:
            sock.setblocking(False)
            while (data := sock.recv(65_536)) and len(self.channel.inbox) < INBOX_LIMIT:
                self.channel.receive(data)

    def _wake(self, late: bool = False) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(late)


class AsyncConnection(Events):
    """Conversations played on a connection, one after another; what they call, such as a file, runs in the event loop.

    Whoever plays looks after one at a time.
    """

    async def play(self, conversation: Conversation[Result]) -> Result:
        """Play a conversation to its end and return its result; raises what it raises."""
        actor = Actor(conversation, self.channel)
        while True:
            try:
                for flight in flights(actor):
                    await self.send(flight)
                if actor.done:
                    return actor.result  # type: ignore[return-value]
                await self.listen(actor)
            except Interruption as error:
                if not actor.done:
                    actor.resume(error=error)

    async def send(self, data: bytes) -> None:
        """Send octets; raises Timeout. A broken line is noticed by reading: the other end may have said why."""
        if self.lost:
            if self.full: raise Disconnected           # a second flight for nobody
            self.full = True
            return await asyncio.sleep(0)
        self.transport.write(data)
        until = min(self.channel.now() + min(SEND_TIMEOUT, self.channel.longest_wait), self.channel.deadline)
        while self.full and not self.lost:
            await self.something_happens(until)
        if len(data) >= OUTBOX_LIMIT:                  # more follows, perhaps: it is the turn of others
            await asyncio.sleep(0)

    async def listen(self, actor: Actor) -> None:
        """Wait until something has come; raises what happened instead."""
        if self.ended:
            raise self.failure or Disconnected
        self.transport.resume_reading()
        if self._prompt: acknowledge(self._socket)
        await self.something_happens(actor.deadline)

    async def something_happens(self, deadline: float) -> None:
        """Wait for what the event loop tells next; raises Timeout."""
        self._waiter = self.loop.create_future()
        alarm = self.loop.call_at(deadline, self._wake, True)
        try:
            if await self._waiter:
                raise Timeout
        finally:
            alarm.cancel()
            self._waiter = None

    def close(self) -> None:
        """Close, and wait for nobody: what the line has not taken by now is not sent. Half a flight has no goodbye."""
        if self.loop.is_closed(): return               # and the line, as soon as nobody has it in hand
        if self.full or self.lost:
            return self.transport.abort()
        if last := bytes(getattr(self.channel.layer, "goodbye", bytes)()):
            self.transport.write(last)
        self.transport.abort() if self.full else self.transport.close()


async def dial(host: str, port: int, timeout: float, tap: Tap | None = None, **options: Any) -> AsyncConnection:
    """Connect as a client; raises OSError, TimeoutError after `timeout` seconds. Options: as of `create_connection`."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        if path := path_of(host):
            _, connection = await loop.create_unix_connection(lambda: AsyncConnection("C", tap), path)
        else:
            _, connection = await loop.create_connection(lambda: AsyncConnection("C", tap), host, port, **options)
    return connection

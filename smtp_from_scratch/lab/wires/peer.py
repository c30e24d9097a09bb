"""Software that nobody here wrote: aiosmtpd, or a protocol of asyncio, in a thread of its own, on a free port."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from smtp_from_scratch.lab.figures.transcript import Transcript
from smtp_from_scratch.lab.wires.running import started, stopped

PATIENCE = 86_400.0                            # seconds: a learner may go for lunch, or to bed


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that aiosmtpd took in."""

    mail_from: str
    rcpt_tos: list[str]
    data: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """One record of a transcript."""

    when: float
    role: str
    data: bytes


class asyncio_server:
    """`with lab.asyncio_server(Protocol) as peer:` plays a protocol for each caller of `peer.address`."""

    def __init__(self, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self.address = ("127.0.0.1", 0)
        self._protocol = protocol
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncio", daemon=True)
        self._thread.start()                   # a kernel runs a loop of its own in this thread
        listening = self._loop.create_server(self._protocol, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(5.0)
        self.address = self._server.sockets[0].getsockname()[:2]
        started(self)

    def stop(self) -> None:
        """Stop listening and hang up; safe to call twice."""
        stopped(self)
        if self._thread:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)
            self._loop.close()
            self._thread = None

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()


class aiosmtpd_server(asyncio_server):
    """`with lab.aiosmtpd_server() as peer:` listens on `peer.address` until the block ends.

    `messages` holds what was delivered, `transcript` what both ends said. Recipients in `refuse` get 550.
    A `handler` of your own replaces ours; further options go to aiosmtpd's `SMTP`.
    """

    def __init__(self, handler: Any = None, *, refuse: Container[str] = (), **options: Any) -> None:
        super().__init__(lambda: recorded(self._handler, self._note, loop=self._loop, **self._options))
        self.messages: list[Letter] = []
        self.transcript = Transcript()
        self._handler = handler or Keeper(self.messages, refuse)
        self._options: dict[str, Any] = {
            "hostname": "mx.example", "ident": "aiosmtpd", "timeout": PATIENCE} | options

    def start(self) -> None:
        """Begin to listen."""
        for name in ("mail.log", "mail.debug", "mail.error", "asyncio"):
            logger = logging.getLogger(name)
            if not logger.handlers:
                logger.addHandler(logging.NullHandler())     # a server's thread never prints
        super().start()

    def _note(self, who: str, data: bytes) -> None:
        self.transcript(Heard(time.monotonic(), who, bytes(data)))


def recorded(handler: Any, note: Callable[[str, bytes], None], **options: Any) -> asyncio.BaseProtocol:
    """aiosmtpd's server for one connection, overheard."""
    from aiosmtpd.smtp import SMTP

    class Recorded(SMTP):  # type: ignore[misc, unused-ignore]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(cast(Any, Overheard(transport, note)))

        def data_received(self, data: bytes) -> None:
            note("C", data)
            super().data_received(data)

    return Recorded(handler, **options)


class Keeper:
    """A handler that keeps what it is given."""

    def __init__(self, messages: list[Letter], refuse: Container[str]) -> None:
        self.messages, self.refuse = messages, refuse

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        """aiosmtpd asks about each recipient."""
        if address in self.refuse:
            return "550 5.1.1 nobody of that name here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd hands over a letter."""
        self.messages.append(Letter(envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        return "250 OK, kept"


class Overheard:
    """A transport that notes what is written to it, and is otherwise the one it wraps."""

    def __init__(self, transport: Any, note: Any) -> None:
        self._transport, self._note = transport, note

    def write(self, data: bytes) -> None:
        self._note("S", data)
        self._transport.write(data)

    def set_protocol(self, protocol: Any) -> None:
        """TLS takes over: from here on its octets pass, and the plain ones are noted above it."""
        self._note = lambda who, data: None
        self._transport.set_protocol(protocol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

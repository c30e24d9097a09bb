"""An event loop whose clock nobody waits for, and connections in memory: asyncio without a socket and without luck."""
from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import pytest

from smtp_from_scratch.aio import AsyncConnection
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.conversation import Actor, Conversation, Disconnected, flights
from smtp_from_scratch.smtp import aio

T = TypeVar("T")
Cut = Callable[[bytes], Iterable[bytes]]


class Jumping(selectors.SelectSelector):
    """When nothing is ready, the clock jumps to what comes next. In turn `limit`, a task is canceled."""

    def __init__(self, limit: int | None) -> None:
        super().__init__()
        self.now, self.turns, self.limit = 0.0, 0, limit
        self.task: asyncio.Task[Any] | None = None

    def select(self, timeout: float | None = None) -> Any:
        if self.task and self.turns == self.limit:
            self.task.cancel()
            timeout = 0.0
        assert timeout is not None, "all wait, and nothing will ever happen"
        self.turns += 1
        self.now += max(0.0, timeout)
        return super().select(0)


def run(main: Coroutine[Any, Any, T], limit: int | None = None) -> tuple[T, float, int]:
    """Run it; returns the result, the seconds on its clock, and the turns of the loop. Cancel it in turn `limit`."""
    selector = Jumping(limit)
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    try:
        selector.task = task = loop.create_task(main)
        result = loop.run_until_complete(task)
        passed, turns, selector.task = selector.now, selector.turns, None
        loop.run_until_complete(loop.shutdown_asyncgens())
        assert not asyncio.all_tasks(loop)
        return result, passed, turns
    finally:
        selector.task = None
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class Memory(asyncio.Transport):
    """One end of a connection; at the other, a conversation is played. `cut` says in which pieces its octets come."""

    def __init__(self, protocol: AsyncConnection, conversation: Conversation[Any], cut: Cut | None = None,
                 takes: int = 1 << 40) -> None:
        super().__init__({"socket": self})
        self.loop, self.protocol, self.cut = asyncio.get_running_loop(), protocol, cut or (lambda octets: (octets,))
        self.takes, self.closed, self.over = takes, False, False
        self.on_the_way = deque[bytes | None]()
        self.server = Actor(conversation, Channel("S", now=self.loop.time))
        self.loop.call_soon(self.serve)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 40_000)

    def serve(self) -> None:
        if not self.on_the_way:
            self.loop.call_soon(self.arrive)
        for flight in flights(self.server):
            self.on_the_way += self.cut(flight)
        if self.server.done and not self.over:
            self.over = True
            self.on_the_way.append(None)

    def arrive(self) -> None:
        """One piece in each turn of the loop."""
        if self.on_the_way:
            self.hand_over(self.on_the_way.popleft())
            self.loop.call_soon(self.arrive)

    def hand_over(self, piece: bytes | None) -> None:
        if not self.closed:
            self.protocol.eof_received() if piece is None else self.protocol.data_received(piece)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed or not data:
            return
        if len(data) > self.takes:
            self.protocol.pause_writing()
        self.takes -= min(len(data), self.takes)
        self.server.channel.receive(bytes(data))
        self.loop.call_soon(self.serve)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.server.done:
                with contextlib.suppress(Disconnected):
                    self.server.resume(error=Disconnected())
            self.loop.call_soon(self.protocol.connection_lost, None)

    abort = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def server_in_memory(monkeypatch: pytest.MonkeyPatch, conversation: Callable[[], Conversation[Any]],
                     cut: Cut | None = None, takes: int = 1 << 40) -> list[Memory]:
    """Let each AsyncClient call this server; returns the connections."""
    lines: list[Memory] = []

    async def dial(host: str, port: int, timeout: float, tap: Any = None, **_: Any) -> AsyncConnection:
        await asyncio.sleep(0)
        connection = AsyncConnection("C", tap)
        lines.append(Memory(connection, conversation(), cut, takes))
        connection.connection_made(lines[-1])
        return connection

    monkeypatch.setattr(aio, "dial", dial)
    return lines

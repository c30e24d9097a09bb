"""Async functions for a server: its sessions are played by threads, and these functions by an event loop."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.rules import Deliver, Outcome, Policy
from smtp_from_scratch.wire import Reply

if TYPE_CHECKING:                               # `asyncio` is large, and few servers have async functions
    import asyncio
    from concurrent.futures import Future

AnyDeliver = Deliver | Callable[[Envelope, IO[bytes]], Awaitable[Outcome]]
AnyPolicy = Policy | Callable[[str, Envelope], Awaitable[Reply | None]]


def ways(function: object) -> tuple[object, ...]:
    """A function, or an object that has such a method."""
    return function, getattr(function, "__call__", None)        # noqa: B004


class Waiting:
    """An event loop, and the threads that wait for it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: set[int] = set()          # threads that wait for an answer, or are about to

    def holds_up_sessions(self) -> bool:
        """Whether sessions wait for what the event loop of this very thread has in hand."""
        if not self._asking:
            return False
        from asyncio import _get_running_loop

        return _get_running_loop() is self._loop

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        raise NotImplementedError

    def _wait_for(self, function: Callable[..., Any], *arguments: Any) -> Any:
        here = threading.get_ident()
        self._asking.add(here)                  # before it runs: it may stop the server at once
        try:
            return self._ask(function, *arguments)
        finally:
            self._asking.discard(here)


class Bridge(Waiting):
    """Lets the thread of a session wait for what an async function returns in the event loop.

    So nothing about a session is different: its limits, its deadlines, and what becomes of an exception.
    """

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage, self._closed = stage, False
        self._names: list[str] = []             # the functions that need the loop
        self._awaited: set[Future[Any]] = set()

    def plain(self, name: str, function: Any) -> Any:
        """The function, as a thread can call it. TypeError, by name, for what nobody can call and wait for."""
        if function is not None and not callable(function):
            raise TypeError(f"{name} is a function, not {function!r}")
        if any(inspect.isasyncgenfunction(way) or inspect.isgeneratorfunction(way) for way in ways(function)):
            raise TypeError(f"{name} is a generator, which nobody runs here: give a function, plain or async")
        if not any(inspect.iscoroutinefunction(way) for way in ways(function)):
            return function
        if self._stage == "loop":
            raise TypeError(f"{name} is an async function: the stage \"loop\" has one thread for all callers, which "
                            "waits for nobody; leave out stage=…, or give a plain function")
        self._names.append(name)
        return partial(self._wait_for, function)

    def open(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """From now on functions run in this loop; TypeError without one, where there are some that need it."""
        if self._names and loop is None:
            raise TypeError(f"{' and '.join(self._names)}: an async function needs an event loop: start the server by "
                            "`async with`, or by `await server.serve_forever()`")
        self._loop = loop

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        import asyncio

        assert self._loop
        if self._closed:
            raise RuntimeError("the server has stopped")
        coroutine = function(*arguments)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:                    # the loop has ended
            coroutine.close()
            raise
        self._awaited.add(future)
        try:
            return future.result()
        finally:
            self._awaited.discard(future)

    def cancel(self) -> None:
        """Cancel what still runs: its sessions have been cut off, and the client keeps the message."""
        self._closed = True
        for future in self._awaited.copy():
            future.cancel()

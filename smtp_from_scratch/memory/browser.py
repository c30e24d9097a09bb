"""What a browser offers: stacks that can be set aside, where it has JavaScript promise integration."""

from __future__ import annotations

import asyncio
import asyncio.selector_events
import errno
import gc
import os
import selectors
import shutil
import ssl
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

from smtp_from_scratch.memory import notary, seal
from smtp_from_scratch.memory.fibers import Fibers
from smtp_from_scratch.memory.turns import Turns
from smtp_from_scratch.printable import logger


class Promised:
    """A gate that is a promise of JavaScript."""

    loop: ClassVar[Any]                        # the browser's own

    def __init__(self) -> None:
        self.made = import_module("js").Promise.withResolvers()

    def open(self) -> None:
        """Let it go on."""
        self.made.resolve()

    def enter(self) -> None:
        """Wait, and come back into the same world: each stack may run a loop of `asyncio`."""
        loop = asyncio._get_running_loop()
        task = swap_task(loop, None)
        asyncio._set_running_loop(self.loop)
        import_module("pyodide.ffi").run_sync(self.made.promise)
        swap_task(asyncio._get_running_loop(), None)
        asyncio._set_running_loop(loop)
        swap_task(loop, task)


def swap_task(loop: Any, task: Any) -> Any:
    """Say which task of a loop runs now; returns which one did."""
    return asyncio.tasks._swap_current_task(loop, task) if loop else None  # type: ignore[attr-defined]


def spawn(loop: Any) -> Callable[[Callable[[], object]], object]:
    """How a new stack begins: as a call of the browser's own loop."""
    def begin(function: Callable[[], object]) -> None:
        def run() -> None:
            asyncio._set_running_loop(None)
            try:
                function()
            finally:
                asyncio._set_running_loop(loop)

        loop.call_soon(run)

    return begin


def turns() -> Turns:
    """With stacks where they can be had, else without."""
    ffi = import_module("pyodide.ffi")
    if not ffi.can_run_sync():
        return Turns()
    Promised.loop = asyncio.get_event_loop()
    return Fibers(Promised, spawn(Promised.loop))


def collect_between_cells() -> None:
    """Collect garbage after a cell, and at no other time.

    A collection that Python 3.14 begins by itself follows the frames of all callers, and those of a stack that is set
    aside are not where they were: it reads whatever is there now, and the interpreter dies. One that is asked for does
    not follow them.
    """
    gc.disable()
    notebook = sys.modules.get("IPython")
    if notebook and (shell := notebook.get_ipython()):
        shell.events.register("post_run_cell", lambda result: gc.collect())


def loops(selector: type[selectors.BaseSelector]) -> list[tuple[Any, str, Any]]:
    """What stands in for the loops of `asyncio` that a program makes: those of Python, on sockets in memory."""
    def new_event_loop() -> asyncio.AbstractEventLoop:
        return asyncio.selector_events.BaseSelectorEventLoop(selector())

    return [(asyncio, "new_event_loop", new_event_loop), (asyncio.events, "new_event_loop", new_event_loop)]


def files() -> list[tuple[Any, str, Any]]:
    """What stands in for a second name of a file: its copy. Nothing of it outlives the page."""
    def link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
        shutil.copyfile(source, target)

    return [] if hasattr(os, "link") else [(os, "link", link)]


def tls() -> list[tuple[Any, str, Any]]:
    """What stands in for TLS and certificates where Python's `ssl` has the names, and nothing behind them."""
    try:
        context = ssl.create_default_context()
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="mx.example").do_handshake()
    except ssl.SSLWantReadError:               # it waits for the other end: there is TLS
        return []
    except Exception as error:
        logger(__name__).info("no TLS here: %s", error)
    sys.modules["trustme"] = notary
    return list(seal.parts())

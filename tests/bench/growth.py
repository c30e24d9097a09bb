"""How long one letter takes among many callers, and what a server's work grows with."""
from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.driver import CODES, said
from tests.bench.figures import Spent
from tests.bench.loads import Load, at, idle, pipelined, smtp_source
from tests.bench.servers import Served

CALLERS = (8, 32, 256)
LETTER = said("")


def called(port: int) -> socket.socket:
    """A caller who has said HELO."""
    sock = socket.create_connection(("127.0.0.1", port), 60)
    sock.recv(1000)
    sock.sendall(b"HELO rio.example\r\n")
    assert sock.recv(1000).startswith(b"250")
    return sock


def latencies(port: int, callers: int, letters: int) -> list[float]:
    """Seconds of each letter of 1 KB from MAIL to the last 250, while so many callers send one after another.

    Each caller's first one is left out: until all have begun, there are fewer.
    """
    taken: list[float] = []
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        socks = [stack.enter_context(called(port)) for _ in range(callers)]
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ, [0, time.perf_counter()])
            sock.sendall(LETTER[0])
        while len(taken) < letters + callers:
            ready = selector.select(60)
            assert ready, "the server has not answered anybody for a minute"
            for key, _ in ready:
                reply, state = key.fileobj.recv(1000), key.data          # type: ignore[union-attr]
                assert reply.startswith(CODES[state[0]]), reply
                state[0] = (state[0] + 1) % len(CODES)
                if state[0] == 0:
                    taken.append(time.perf_counter() - state[1])
                    state[1] = time.perf_counter()
                key.fileobj.sendall(LETTER[state[0]])                    # type: ignore[union-attr]
    return taken[callers:]


# --- what it grows with ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """Loads of growing size: what each is called, and what makes it. A unit of each ought to cost the same, or less."""

    unit: str
    loads: tuple[tuple[str, Load], ...]


def among_idle(served: Served, count: int, letters: int) -> Load:
    """Letters of 1 KB from eight callers, while so many others say nothing."""
    load = at(served, letters, smtp_source(served.port, 8, letters, 1000, True))

    def run() -> Spent:
        with ExitStack() as silent:
            for sock in idle(served.port, count):
                silent.enter_context(sock)
            return load()

    return run


def axes(served: Served) -> Iterator[Axis]:
    """Size, recipients, callers at once, sessions one after another, callers who say nothing."""
    def sized(kilobytes: int) -> Load:
        letters = max(3, 1000 // kilobytes)
        return at(served, letters * kilobytes, smtp_source(served.port, 1, letters, kilobytes * 1000, True))

    def addressed(count: int) -> Load:
        letters = 1000 // count + 3
        return at(served, letters * count, pipelined(served.port, count, letters))

    def among(count: int) -> Load:
        letters = 10 * count + 1500
        return at(served, letters, smtp_source(served.port, count, letters, 1000, True))

    def dialed(count: int) -> Load:
        return at(served, count, smtp_source(served.port, 8, count, 1000, False))

    yield Axis("KB", tuple((f"a letter of {size:,} KB", sized(size)) for size in (1, 10, 100, 1000, 10_000, 100_000)))
    yield Axis("recipient", tuple((f"{count:,} recipients", addressed(count)) for count in (1, 10, 100, 1000)))
    yield Axis("letter", tuple((f"{count} callers", among(count)) for count in (1, 8, 32, 128, 256)))
    yield Axis("session", tuple((f"{count:,} sessions", dialed(count)) for count in (100, 300, 1000, 3000)))
    yield Axis("letter", tuple((f"8 callers beside {count:,} silent ones", among_idle(served, count, 1000))
                               for count in (0, 100, 1000, 4000)))

"""How long one letter takes among many callers, and what a server's work grows with."""
from __future__ import annotations

import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

LETTER = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 12 + b".\r\n"
STEPS = ((b"MAIL FROM:<ana@rio.example>\r\n", b"250"), (b"RCPT TO:<kenji@tokyo.example>\r\n", b"250"),
         (b"DATA\r\n", b"354"), (LETTER, b"250"))
FASTER = 1.5                                    # times what the work has grown: more than noise


def latencies(port: int, callers: int, letters: int) -> list[float]:
    """Seconds of each letter of 1 KB from MAIL to the last 250, while so many callers send one after another."""
    taken: list[float] = []
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(callers):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            sock.recv(1000)
            sock.sendall(b"HELO rio.example\r\n")
            assert sock.recv(1000).startswith(b"250")
            selector.register(sock, selectors.EVENT_READ, [0, time.perf_counter()])
            sock.sendall(STEPS[0][0])
        while len(taken) < letters:
            for key, _ in selector.select(60):
                reply, state = key.fileobj.recv(1000), key.data          # type: ignore[union-attr]
                assert reply.startswith(STEPS[state[0]][1]), reply
                state[0] = (state[0] + 1) % len(STEPS)
                if state[0] == 0:
                    taken.append(time.perf_counter() - state[1])
                    state[1] = time.perf_counter()
                key.fileobj.sendall(STEPS[state[0]][0])                  # type: ignore[union-attr]
    return taken


def tails(ports: dict[str, int]) -> Iterator[tuple[str, float, float]]:
    """Who, and for how many callers; the median and the 99th percentile of a letter, in milliseconds."""
    for callers in (8, 32, 256):
        for name, port in ports.items():
            hundredths = statistics.quantiles(latencies(port, callers, 10 * callers + 1000), n=100)
            yield f"{name}: a letter among {callers} callers", hundredths[49] * 1000, hundredths[98] * 1000


def growth(worked: Callable[[], float], sized: Callable[[int, int, int], Callable[[], float]],
           addressed: Callable[[int, int], Callable[[], float]]) -> Iterator[tuple[str, float, str]]:
    """What, microseconds of processors for each unit of it, and a remark where these grow faster than the work.

    `sized(callers, letters, octets)` and `addressed(recipients, letters)` make a load; `worked` is the server's clock.
    """
    rows: dict[str, list[tuple[str, Callable[[], float], float]]] = {
        "KB": [(f"a letter of {size:,} KB", sized(1, max(3, 1000 // size), size * 1000), max(3, 1000 // size) * size)
               for size in (1, 10, 100, 1000, 10_000, 100_000)],
        "recipient": [(f"{count:,} recipients", addressed(count, 400 // count + 3), (400 // count + 3) * count)
                      for count in (1, 10, 100, 1000)],
        "letter": [(f"{count} callers", sized(count, 20 * count + 2000, 1000), 20 * count + 2000)
                   for count in (1, 8, 32, 128, 256)],
    }
    for unit, loads in rows.items():
        least = float("inf")
        for what, load, units in loads:
            before = worked()
            load()
            cost = (worked() - before) / units * 1e6
            yield f"{what}, for each {unit}", cost, "grows faster than its work" if cost > FASTER * least else ""
            least = min(least, cost)

"""A client that only sends prepared octets and looks at the first digits of replies, in a process of its own.

`python -m tests.bench.driver PORT CONNECTIONS LETTERS FIRST` prints how many seconds its letters of 1 KB took. Their
addresses have numbers from FIRST on, so that none comes twice; with `same` for FIRST, all have the same addresses.
"""
from __future__ import annotations

import socket
import sys
import time
from contextlib import ExitStack

BODY = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 12 + b".\r\n"
CODES = (b"250", b"250", b"354", b"250")


def said(number: str) -> tuple[bytes, ...]:
    """What a letter takes, each of which is answered before the next is said."""
    return (b"MAIL FROM:<ana%b@rio%b.example>\r\n" % (number.encode(), number.encode()),
            b"RCPT TO:<kenji%b@tokyo%b.example>\r\n" % (number.encode(), number.encode()), b"DATA\r\n", BODY)


def hear(sock: socket.socket, code: bytes) -> None:
    reply = sock.recv(1000)
    while not reply.endswith(b"\n"):
        more = sock.recv(1000)
        assert more, "the server hung up"
        reply += more
    assert reply.startswith(code), reply


def play(port: int, connections: int, letters: int, first: str) -> float:
    """Seconds from the first MAIL to the last 250; the callers take turns, each with a letter on its way."""
    numbers = ["" if first == "same" else str(int(first) + n) for n in range(letters)]
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(connections)]
        for sock in socks:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            hear(sock, b"220")
            sock.sendall(b"HELO rio.example\r\n")
            hear(sock, b"250")
        steps = [[said(number)[step] for number in numbers[start : start + connections]]
                 for start in range(0, letters, connections) for step in range(len(CODES))]
        start, expected = time.perf_counter(), b""
        for number, lines in enumerate(steps):
            for sock, line in zip(socks, lines, strict=False):
                if expected:
                    hear(sock, expected)
                sock.sendall(line)
            expected = CODES[number % len(CODES)]
        for sock, _ in zip(socks, steps[-1], strict=False):
            hear(sock, expected)
        return time.perf_counter() - start


if __name__ == "__main__":
    port, connections, letters = map(int, sys.argv[1:4])
    assert letters % connections == 0, "each connection has as many letters as the others"
    print(play(port, connections, letters, sys.argv[4]))

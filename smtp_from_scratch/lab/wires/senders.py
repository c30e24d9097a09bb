"""Callers in a process of their own, so that what a server costs can be told from what its callers cost."""
from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

Address = tuple[str, int]
GUARD = 60.0                                    # seconds for one reply
TEXT = b"Subject: Rehearsal\r\n\r\n" + 12 * (b"x" * 76 + b"\r\n")


def senders(address: Address, callers: int = 8, letters: int = 250) -> float:
    """Let so many callers send so many letters of a kilobyte each, and wait for all; returns the seconds it took.

    Raises RuntimeError, with what they saw, when a letter is not accepted.
    """
    command = [sys.executable, "-m", __name__, *map(str, (*address, callers, letters))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * GUARD)
    if done.returncode:
        raise RuntimeError(f"the callers gave up: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout)


def call(address: Address, letters: int, problems: list[str]) -> None:
    """One caller, one command at a time, as in 1982."""
    try:
        with socket.create_connection(address, GUARD) as sock, sock.makefile("rb") as replies:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            expect(replies.readline(), b"2")
            for said in (b"HELO rio.example\r\n", *letters * LETTER, b"QUIT\r\n"):
                sock.sendall(said)
                expect(replies.readline(), b"3" if said == b"DATA\r\n" else b"2")
    except (OSError, ValueError) as error:
        problems.append(str(error))


LETTER = (b"MAIL FROM:<ana@rio.example>\r\n", b"RCPT TO:<kenji@tokyo.example>\r\n", b"DATA\r\n", TEXT + b".\r\n")


def expect(reply: bytes, kind: bytes) -> None:
    """ValueError for a reply of another kind."""
    if reply[:1] != kind:
        raise ValueError(f"not what was expected: {reply!r}")


def main(host: str, port: str, callers: str, letters: str) -> None:
    """The process: prints the seconds that all callers took."""
    problems = list[str]()
    threads = [threading.Thread(target=call, args=((host, int(port)), int(letters), problems))
               for _ in range(int(callers))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        sys.exit(problems[0])
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main(*sys.argv[1:])

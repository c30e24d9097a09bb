"""Loads: each is a function that runs once and returns what it took, with nothing prepared within that time.

Where a load is cold, no address in it has ever been said before, and none is said twice: what a server or a client
remembers of the ones before (parsed paths, for one) is of no use.
"""
from __future__ import annotations

import itertools
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from smtp_from_scratch import Client, Envelope
from smtp_from_scratch.client import deliver
from smtp_from_scratch.conversation import rehearse
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.smtp import client_extensions
from tests.bench.figures import Spent
from tests.bench.servers import ROOT, Served

Load = Callable[[], Spent]
READER = "kenji@tokyo.example"
LIMIT = 120                                     # seconds for one run of one load, whatever happens
numbers = itertools.count(1_000_000)            # of addresses: none comes again in a whole run of the bench


def addresses(count: int, cold: bool) -> list[str]:
    """So many readers, each at a domain of their own if they have never been written to."""
    if cold:
        return [f"reader{n}@tokyo{n}.example" for n in itertools.islice(numbers, count)]
    return [f"reader{n}@tokyo.example" for n in range(count)]


def envelopes(letters: int, recipients: int, cold: bool) -> list[tuple[str, list[str]]]:
    """Sender and recipients of each letter."""
    return [(f"ana@rio{next(numbers)}.example" if cold else "ana@rio.example", addresses(recipients, cold))
            for _ in range(letters)]


def at(served: Served, letters: float, load: Callable[[], float]) -> Load:
    """A load for a server, which takes so many seconds: those of a letter, with those that the server worked."""
    def run() -> Spent:
        before = served.worked()
        wall = load()
        after = served.worked()
        return Spent(wall, None if before is None or after is None else after - before).each(letters)

    return run


def clocked(work: Callable[[], None], letters: float) -> Spent:
    """What this very process takes."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - start, time.process_time() - cpu).each(letters)


# --- for servers -----------------------------------------------------------------------------------------------------


def smtp_source(port: int, connections: int, letters: int, octets: int, reuse: bool,
                reader: str = READER) -> Callable[[], float]:
    """Postfix's own client for such tests: in C, one command at a time, always with the same addresses."""
    command = ["smtp-source", *(["-d"] if reuse else []), "-s", str(connections), "-m", str(letters),
               "-l", str(octets), "-f", "ana@rio.example", "-t", reader, f"inet:127.0.0.1:{port}"]

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, timeout=LIMIT)
        return time.perf_counter() - start

    return run


def driver(port: int, connections: int, letters: int, cold: bool) -> Callable[[], float]:
    """The same from `tests.bench.driver`, which can have other addresses in each letter."""
    def run() -> float:
        first = str([*itertools.islice(numbers, letters)][0]) if cold else "same"
        command = [sys.executable, "-m", "tests.bench.driver", *map(str, (port, connections, letters)), first]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT, cwd=ROOT)
        return float(done.stdout)

    return run


def dialed(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), LIMIT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def hear(sock: socket.socket, lines: int) -> bytes:
    """What has come when so many lines have."""
    heard = b""
    while heard.count(b"\n") < lines:
        data = sock.recv(65_536)
        assert data, "the server hung up"
        heard += data
    return heard


def pipelined(port: int, recipients: int, letters: int, cold: bool = False) -> Callable[[], float]:
    """Whole transactions, each in one write for the envelope and one for the body, from a client that does nothing."""
    def run() -> float:
        flights = [b"".join([b"MAIL FROM:<%b>\r\n" % sender.encode(),
                             *(b"RCPT TO:<%b>\r\n" % reader.encode() for reader in readers), b"DATA\r\n"])
                   for sender, readers in envelopes(letters, recipients, cold)]
        with dialed(port) as sock:
            replies = sock.makefile("rb")
            replies.readline()
            sock.sendall(b"HELO rio.example\r\n")
            replies.readline()
            start = time.perf_counter()
            for flight in flights:
                sock.sendall(flight)
                hear(sock, recipients + 2)
                sock.sendall(b"Subject: x\r\n\r\nhello\r\n.\r\n")
                assert hear(sock, 1).startswith(b"250")
            return time.perf_counter() - start

    return run


def chunked(port: int, letters: int) -> Callable[[], float]:
    """10 MB by BDAT, from a client that does nothing but send."""
    body = b"x" * 10_000_000

    def run() -> float:
        with dialed(port) as sock:
            replies = sock.makefile("rb")
            replies.readline()
            sock.sendall(b"EHLO rio.example\r\n")
            while replies.readline()[3:4] == b"-":
                pass
            start = time.perf_counter()
            for _ in range(letters):
                sock.sendall(b"MAIL FROM:<ana@rio.example>\r\nRCPT TO:<kenji@tokyo.example>\r\n"
                             b"BDAT 10000000 LAST\r\n")
                sock.sendall(body)
                for _ in range(3):
                    assert replies.readline().startswith(b"250")
            return time.perf_counter() - start

    return run


def raw(port: int, letters: int) -> Callable[[], float]:
    """The same octets into a server that only reads."""
    body = b"x" * 10_000_000

    def run() -> float:
        with dialed(port) as sock:
            start = time.perf_counter()
            for _ in range(letters):
                sock.sendall(body)
                assert sock.recv(1) == b"!"
            return time.perf_counter() - start

    return run


# --- for clients, which are in this process ------------------------------------------------------------------------


def with_smtplib(port: int, letters: int, recipients: int, body: bytes, cold: bool = False) -> Load:
    def run() -> Spent:
        mail = envelopes(letters, recipients, cold)

        def work() -> None:
            for sender, readers in mail:
                smtp.sendmail(sender, readers, body)

        with smtplib.SMTP("127.0.0.1", port, timeout=LIMIT) as smtp:
            smtp.ehlo()
            return clocked(work, letters)

    return run


def with_ours(port: int, letters: int, recipients: int, body: bytes, cold: bool = False, *, overlapped: bool = False,
              without: tuple[str, ...] = ()) -> Load:
    """Letters one by one, each a call that takes octets; or overlapped, in one go, as `send_messages` does it."""
    def run() -> Spent:
        mail = envelopes(letters, recipients, cold)

        def one_by_one() -> None:
            for sender, readers in mail:
                smtp.sendmail(sender, readers, body)

        def in_one_go() -> None:
            receipts = smtp.send_all((Envelope(sender, readers), body) for sender, readers in mail)
            assert all(receipt.accepted == readers for receipt, (_, readers) in zip(receipts, mail, strict=True))

        with Client("127.0.0.1", port, timeout=LIMIT, extensions=client_extensions(without=list(without))) as smtp:
            return clocked(in_one_go if overlapped else one_by_one, letters)

    return run


def rehearsals(sessions: int, cold: bool) -> Load:
    """Complete sessions in memory, both ends in this process."""
    def run() -> Spent:
        mail = [[(Envelope(sender, readers), [b"x" * 1000])] for sender, readers in envelopes(sessions, 1, cold)]

        def work() -> None:
            for letter in mail:
                rehearse(deliver("rio.example", letter), serve(Session("tokyo.example")))

        return clocked(work, sessions)

    return run


def imports(statement: str, times: int, environment: dict[str, str]) -> Load:
    """In a fresh interpreter, whose processor time this process is told when it has ended."""
    def run() -> Spent:
        start, before = time.perf_counter(), of_children()
        for _ in range(times):
            subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT, timeout=LIMIT,
                           env=environment)
        after = of_children()
        cpu = None if before is None or after is None else after - before
        return Spent(time.perf_counter() - start, cpu).each(times)

    return run


def of_children() -> float | None:
    """Seconds of processors of children that have ended."""
    try:
        import resource
    except ImportError:
        return None
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def idle(port: int, connections: int) -> Iterator[socket.socket]:
    """So many callers, each of whom has heard the greeting, and says nothing."""
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port), LIMIT)
        assert sock.recv(100)
        yield sock

"""Servers, each in a process of its own, so that a client never shares its interpreter; and how long they worked."""
from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROC = Path("/proc")
STAGES = ("threads", "loop")                    # of ours

THREADS = """
import sys
from smtp_from_scratch import Server
server = Server(deliver=lambda envelope, body: None, max_connections=12_000, max_connections_per_address=12_000)
server.start()
print(server.address[1], flush=True)
sys.stdin.read()
"""
LOOP = THREADS.replace("Server(deliver=lambda envelope, body: None,", 'Server(stage="loop", deliver=keep,').replace(
    "server =", "def keep(envelope, body): pass\nkeep.at_once = 0          # as aiosmtpd's: on the spot\nserver =", 1)
AIOSMTPD = """
import asyncio, sys
from aiosmtpd.smtp import SMTP
class Sink:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"
async def main():
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Sink(), data_size_limit=200_000_000), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""
RAW = """
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    buffer = bytearray(262_144)
    while True:                                 # octets in, one octet back for each 10 MB
        sock, count = listener.accept()[0], 0
        with sock:
            while got := sock.recv_into(buffer):
                count += got
                if count >= 10_000_000:
                    count -= 10_000_000
                    sock.sendall(b"!")
"""
PROGRAMS = {"threads": THREADS, "loop": LOOP, "aiosmtpd": AIOSMTPD, "raw octets": RAW}


@dataclass(frozen=True)
class Served:
    """A server that runs: where, and in which process."""

    name: str
    port: int
    pid: int

    def worked(self) -> float | None:
        """Seconds that processors have worked for it until now; None where the system does not tell."""
        return worked(self.pid) if PROC.joinpath("self/stat").exists() else None

    def status(self, field: str) -> float:
        """A figure of its memory, in KiB: `VmRSS` is what it has now, `VmHWM` the most that it had."""
        text = (PROC / str(self.pid) / "status").read_text()
        return float(text.partition(f"{field}:")[2].split()[0])


def stat(pid: int) -> list[str]:
    """What the system knows of a process, from its state on: field 3 of proc(5)."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def parents() -> dict[int, int]:
    """Of all processes that run."""
    found = {}
    for path in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):      # it has just ended
            found[int(path.name)] = int(stat(int(path.name))[1])
    return found


def children(pid: int) -> set[int]:
    return {child for child, parent in parents().items() if parent == pid}


def worked(pid: int) -> float:
    """Seconds of processors, of a process with all its threads and children, those that have ended included.

    A process's clock counts in nanoseconds, and keeps what its ended threads did, which /proc/PID/task does not. What
    ended children did is known in hundredths of seconds.
    """
    known, family, seconds = parents(), {pid}, 0.0
    while more := {child for child, parent in known.items() if parent in family} - family:
        family |= more
    for member in family:
        with contextlib.suppress(OSError):
            ended = sum(map(int, stat(member)[13:15])) / os.sysconf("SC_CLK_TCK")
            seconds += time.clock_gettime(~member << 3 | 2) + ended
    return seconds


@contextlib.contextmanager
def running(name: str) -> Iterator[Served]:
    """One of PROGRAMS, under this interpreter; or smtp-sink."""
    if name == "smtp-sink":
        with smtp_sink() as served:
            yield served
        return
    with python_server(name, [sys.executable, "-c", PROGRAMS[name]]) as served:
        yield served


@contextlib.contextmanager
def python_server(name: str, command: list[str]) -> Iterator[Served]:
    """A program that prints its port, and runs until its input ends."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as run:
        assert run.stdout and run.stdin
        try:
            yield Served(name, int(run.stdout.readline()), run.pid)
        finally:
            run.kill()                          # at once: the last words of ten thousand threads take minutes


@contextlib.contextmanager
def smtp_sink() -> Iterator[Served]:
    """Postfix's own server for such tests: in C, without policy, limits or storage."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["smtp-sink", "-u", "root", "-m", "12000", f"127.0.0.1:{port}", "512"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as run:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.02)
            yield Served("smtp-sink", port, run.pid)
        finally:
            run.terminate()

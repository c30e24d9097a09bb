"""Measure, against a peer in the same run, and print a table: `python -m tests.bench [NAME]… [--rounds N]`.

Every row is the median of several rounds, in which ours and the peer's take turns; the spread is the middle half
of the rounds' ratios. No row is a promise about another machine. Loopback only; every load is bounded.
"""
from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import smtplib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
peers = Path(os.environ.get("PEERS", ROOT / ".peers")) / "bin"
os.environ["PATH"] = os.pathsep.join([str(peers), os.environ.get("PATH", "")])

from smtp_from_scratch import Client, Envelope  # noqa: E402
from smtp_from_scratch.client import deliver  # noqa: E402
from smtp_from_scratch.conversation import rehearse  # noqa: E402
from smtp_from_scratch.session import Session, serve  # noqa: E402

Measured = Callable[[], float]                  # runs once; returns seconds


# --- servers, each in a process of its own, so that a client never shares its interpreter -------------------------

OURS = """
import sys
from smtp_from_scratch import Server
server = Server(deliver=lambda envelope, body: None)
server.start()
print(server.address[1], flush=True)
sys.stdin.read()
"""
AIOSMTPD = """
import asyncio, socket, sys
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


@contextlib.contextmanager
def python_server(program: str) -> Iterator[int]:
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as run:
        assert run.stdout and run.stdin
        yield int(run.stdout.readline())
        run.stdin.close()
        run.terminate()


@contextlib.contextmanager
def smtp_sink() -> Iterator[int]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(["smtp-sink", "-u", "root", f"127.0.0.1:{port}", "512"], stderr=subprocess.DEVNULL) as run:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield port
        run.terminate()


# --- rows ----------------------------------------------------------------------------------------------------------


def smtp_source(port: int, connections: int, messages: int, length: int, reuse: bool) -> Measured:
    command = ["smtp-source", *(["-d"] if reuse else []), "-s", str(connections), "-m", str(messages),
               "-l", str(length), "-f", "ana@rio.example", "-t", "kenji@tokyo.example", f"inet:127.0.0.1:{port}"]

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        return time.perf_counter() - start

    return run


def with_smtplib(port: int, send: Callable[[smtplib.SMTP], None]) -> Measured:
    def run() -> float:
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            smtp.helo()
            start = time.perf_counter()
            send(smtp)
            return time.perf_counter() - start

    return run


def with_ours(port: int, send: Callable[[Client], None]) -> Measured:
    def run() -> float:
        with Client("127.0.0.1", port) as smtp:
            start = time.perf_counter()
            send(smtp)
            return time.perf_counter() - start

    return run


def repeat(times: int, recipients: list[str], letter: bytes) -> Callable[[object], None]:
    def send(smtp: object) -> None:
        for _ in range(times):
            smtp.sendmail("ana@rio.example", recipients, letter)  # type: ignore[attr-defined]

    return send


def rehearsals(count: int) -> Measured:
    letter = [(Envelope("ana@rio.example", ["kenji@tokyo.example"]), [b"x" * 1000])]

    def run() -> float:
        start = time.perf_counter()
        for _ in range(count):
            rehearse(deliver("rio.example", letter), serve(Session("tokyo.example")))
        return (time.perf_counter() - start) / count

    return run


def imports(module: str, count: int = 20) -> Measured:
    def run() -> float:
        start = time.perf_counter()
        for _ in range(count):
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=ROOT)
        return (time.perf_counter() - start) / count

    return run


def table(ports: dict[str, int]) -> Iterator[tuple[str, str, Measured, Measured | None, str, str]]:
    """Rows: number and name, what is measured, ours, the peer's, the peer's name, the goal."""
    rivals = [name for name in ("aiosmtpd", "smtp-sink") if name in ports]
    goals = {("S1", "aiosmtpd"): "≥ 4", ("S1", "smtp-sink"): "≥ 0.8",
             ("S2", "aiosmtpd"): "≥ 4", ("S2", "smtp-sink"): "≥ 0.8",
             ("S4", "aiosmtpd"): "≥ 12", ("S4", "smtp-sink"): "≥ 1.8"}
    if shutil.which("smtp-source"):
        for rival in rivals:
            for row, what, shape in (
                ("S1", "1 KB, 8 reused connections", (8, 2000, 1000, True)),
                ("S1", "1 KB, 32 reused connections", (32, 2000, 1000, True)),
                ("S2", "1 KB, a connection each, 8 at once", (8, 1000, 1000, False)),
                ("S4", "100 KB by DATA, 8 connections", (8, 400, 100_000, True)),
                ("S4", "10 MB by DATA", (2, 10, 10_000_000, True)),
            ):
                yield (row, f"server: {what}", smtp_source(ports["ours"], *shape), smtp_source(ports[rival], *shape),
                       rival, goals[row, rival])
    long_lines = (b"x" * 76 + b"\r\n")
    for what, times, recipients, size, goal in (
        ("1 KB, reused connection", 300, 1, 1000, "≥ 3"),
        ("50 recipients", 10, 50, 1000, "≥ 20"),
        ("25 MB by DATA", 1, 1, 25_000_000, "≥ 2.5"),
    ):
        readers = [f"reader{n}@tokyo.example" for n in range(recipients)]
        send = repeat(times, readers, long_lines * (size // len(long_lines)))
        ours, theirs = with_ours(ports["ours"], send), with_smtplib(ports["ours"], send)
        yield ("S8", f"client: {what}", ours, theirs, "smtplib", goal)
    yield ("S11", "sessions rehearsed in memory", rehearsals(500), None, "", "≥ 20,000/s")
    yield ("S13", "import, fresh interpreter", imports("smtp_from_scratch"), imports("smtplib"), "smtplib", "≤ 1.2")


def measure(ours: Measured, theirs: Measured | None, rounds: int) -> tuple[float, list[float]]:
    """The median of our seconds, and the ratio theirs/ours of each round."""
    mine, ratios = [], []
    for number in range(rounds):
        if theirs is None:
            mine.append(ours())
        else:                                   # take turns at going first
            a, b = (ours(), theirs()) if number % 2 else (theirs(), ours())[::-1]
            mine.append(a)
            ratios.append(b / a)
    return statistics.median(mine), ratios


def main() -> int:
    options = argparse.ArgumentParser("tests.bench", description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("rows", nargs="*", metavar="ROW", help="S1, S2, … (default: all)")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"aiosmtpd {version('aiosmtpd')}")
    with contextlib.ExitStack() as stack:
        ports = {"ours": stack.enter_context(python_server(OURS)),
                 "aiosmtpd": stack.enter_context(python_server(AIOSMTPD))}
        if shutil.which("smtp-sink"):
            ports["smtp-sink"] = stack.enter_context(smtp_sink())
        else:
            print("without smtp-source and smtp-sink: sh tools/peers.sh brings them")
        print(f"{'row':4} {'what':46} {'ours':>12}  {'against':10} {'ratio':>7} {'middle half':>15}  goal")
        for row, what, ours, theirs, rival, goal in table(ports):
            if chosen.rows and row not in chosen.rows:
                continue
            seconds, ratios = measure(ours, theirs, chosen.rounds)
            if row == "S11":
                print(f"{row:4} {what:46} {1 / seconds:10,.0f}/s  {'':10} {'':>7} {'':>15}  {goal}", flush=True)
                continue
            if row == "S13":
                ratios = [1 / ratio for ratio in ratios]
            low, middle, high = statistics.quantiles(ratios, n=4)
            spread = f"{low:.2f}–{high:.2f}×"
            print(f"{row:4} {what:46} {seconds * 1000:9.1f} ms  {rival:10} {middle:6.2f}× {spread:>15}  {goal}",
                  flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

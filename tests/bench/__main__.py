"""Measure, against a peer in the same run, and print a table: `python -m tests.bench [NAME]… [--rounds N]`.

Every row is the median of several rounds, in which ours and the peer's take turns; the spread is the middle half
of the rounds' ratios. No row is a promise about another machine. Loopback only; every load is bounded.
`--write FILE` keeps the table of a run of all rows, with the machine and the versions, as Markdown: `make bench` does.
"""
from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import shutil
import smtplib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
peers = Path(os.environ.get("PEERS", ROOT / ".peers")) / "bin"
os.environ["PATH"] = os.pathsep.join([str(peers), os.environ.get("PATH", "")])

from smtp_from_scratch import Client, Envelope  # noqa: E402
from smtp_from_scratch.client import deliver  # noqa: E402
from smtp_from_scratch.conversation import rehearse  # noqa: E402
from smtp_from_scratch.session import Session, serve  # noqa: E402
from smtp_from_scratch.smtp import client_extensions  # noqa: E402
from tests.bench.durable import READER, durable_servers  # noqa: E402
from tests.bench.growth import growth, tails  # noqa: E402

Measured = Callable[[], float]                  # runs once; returns seconds


# --- servers, each in a process of its own, so that a client never shares its interpreter -------------------------

OURS = """
import sys, time
from smtp_from_scratch import Server
server = Server(deliver=lambda envelope, body: None, max_connections=12_000, max_connections_per_address=12_000)
server.start()
print(server.address[1], flush=True)
for line in sys.stdin:
    print(time.process_time(), flush=True)
"""
LOOP = OURS.replace("Server(deliver=lambda envelope, body: None,", 'Server(stage="loop", deliver=keep,').replace(
    "server =", "def keep(envelope, body): pass\nkeep.at_once = 0          # as aiosmtpd's: on the spot\nserver =", 1)
AIOSMTPD = """
import asyncio, socket, sys, time
from aiosmtpd.smtp import SMTP
def tell():
    for line in sys.stdin:
        print(time.process_time(), flush=True)
class Sink:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"
async def main():
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Sink(), data_size_limit=200_000_000), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, tell)
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
PROCESSES: dict[int, int] = {}                  # port: process id
TALKS: dict[int, subprocess.Popen[bytes]] = {}        # port: a server that tells its processor time


def worked(port: int) -> float:
    """Seconds that processors have worked for a server until now; 0 where it does not tell."""
    if port not in TALKS:
        return 0.0
    run = TALKS[port]
    assert run.stdin and run.stdout
    run.stdin.write(b"?\n")
    run.stdin.flush()
    return float(run.stdout.readline())


@contextlib.contextmanager
def python_server(program: str) -> Iterator[int]:
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as run:
        assert run.stdout and run.stdin
        port = int(run.stdout.readline())
        PROCESSES[port] = run.pid
        if "process_time" in program:
            TALKS[port] = run
        yield port
        run.stdin.close()
        run.terminate()


@contextlib.contextmanager
def smtp_sink() -> Iterator[int]:
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


def smtp_source(port: int, connections: int, messages: int, length: int, reuse: bool,
                reader: str = "kenji@tokyo.example") -> Measured:
    command = ["smtp-source", *(["-d"] if reuse else []), "-s", str(connections), "-m", str(messages),
               "-l", str(length), "-f", "ana@rio.example", "-t", reader, f"inet:127.0.0.1:{port}"]

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        return time.perf_counter() - start

    return run


def with_smtplib(port: int, send: Callable[[smtplib.SMTP], None], clock: Measured) -> Measured:
    def run() -> float:
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            smtp.ehlo()
            start = clock()
            send(smtp)
            return clock() - start

    return run


def with_ours(port: int, send: Callable[[Client], None], without: list[str], clock: Measured) -> Measured:
    def run() -> float:
        with Client("127.0.0.1", port, extensions=client_extensions(without=without)) as smtp:
            start = clock()
            send(smtp)
            return clock() - start

    return run


def repeat(times: int, recipients: list[str], letter: bytes) -> Callable[[object], None]:
    """Messages one by one, each a call that takes octets, with either client."""
    def send(smtp: object) -> None:
        for _ in range(times):
            smtp.sendmail("ana@rio.example", recipients, letter)  # type: ignore[attr-defined]

    return send


def overlapped(times: int, recipients: list[str], letter: bytes) -> Callable[[Client], None]:
    """The same messages in one go, as `send_messages` does it; of octets, too, so that nobody composes anything."""
    def send(smtp: Client) -> None:
        receipts = smtp.send_all((Envelope("ana@rio.example", recipients), letter) for _ in range(times))
        assert all(receipt.accepted == recipients for receipt in receipts)

    return send


def pipelined(port: int, recipients: int, times: int) -> Measured:
    """Whole transactions, each in one write for the envelope and one for the body, from a client that does nothing."""
    envelope = b"".join([b"MAIL FROM:<ana@rio.example>\r\n",
                         *(b"RCPT TO:<reader%d@tokyo.example>\r\n" % n for n in range(recipients)), b"DATA\r\n"])

    def run() -> float:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            replies = sock.makefile("rb")
            replies.readline()
            sock.sendall(b"HELO rio.example\r\n")
            replies.readline()
            start = time.perf_counter()
            for _ in range(times):
                sock.sendall(envelope)
                for _ in range(recipients + 2):
                    replies.readline()
                sock.sendall(b"Subject: x\r\n\r\nhello\r\n.\r\n")
                assert replies.readline().startswith(b"250")
            return time.perf_counter() - start

    return run


def chunked(port: int, times: int = 10) -> Measured:
    """10 MB by BDAT, from a client that does nothing but send."""
    body = b"x" * 10_000_000

    def run() -> float:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            replies = sock.makefile("rb")
            replies.readline()
            sock.sendall(b"EHLO rio.example\r\n")
            while replies.readline()[3:4] == b"-":
                pass
            start = time.perf_counter()
            for _ in range(times):
                sock.sendall(b"MAIL FROM:<ana@rio.example>\r\nRCPT TO:<kenji@tokyo.example>\r\n"
                             b"BDAT 10000000 LAST\r\n")
                sock.sendall(body)
                for _ in range(3):
                    assert replies.readline().startswith(b"250")
            return time.perf_counter() - start

    return run


def raw(port: int, times: int = 10) -> Measured:
    """The same octets into a server that only reads."""
    body = b"x" * 10_000_000

    def run() -> float:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            start = time.perf_counter()
            for _ in range(times):
                sock.sendall(body)
                assert sock.recv(1) == b"!"
            return time.perf_counter() - start

    return run


# --- round trips and memory: counted, not timed ----------------------------------------------------------------------


def round_trips() -> Iterator[tuple[str, str, int]]:
    """What, ours, and the goal, over a line that delays each way, the dial included."""
    from email.message import EmailMessage

    from smtp_from_scratch import lab
    from smtp_from_scratch.auth import Passwords, Plain
    from smtp_from_scratch.smtp import Server, client_extensions
    from smtp_from_scratch.smtp import deliver as send

    certificates = lab.certificates("localhost")

    def count(messages: int, recipients: int, sealed: bool = False, **options: Any) -> int:
        message = EmailMessage()
        message["From"], message["Subject"] = "ana@rio.example", "round trips"
        message["To"] = ", ".join(f"reader{n}@tokyo.example" for n in range(recipients))
        message.set_content("hello\n")
        secret = {"tls": certificates.client, "user": "ana", "password": "tides"} if sealed else {}
        extensions = client_extensions(**secret, **options, mechanisms=[Plain()])
        users = Passwords({"ana": "tides"})
        with Server(tls=certificates.server if sealed else None, users=users if sealed else None) as server, \
                lab.count_turns(server.address, rtt=0.04) as line:
            receipts = send(("localhost", line.address[1]), [message] * messages, extensions=extensions)
        assert all(len(receipt.accepted) == recipients for receipt in receipts)
        return int(line.round_trips)

    for recipients in (1, 50):
        yield f"one message by DATA, {recipients} recipients", count(1, recipients, without=["CHUNKING"]), 5
        yield f"one message by BDAT, {recipients} recipients", count(1, recipients), 5
        yield f"the same, eager, {recipients} recipients", count(1, recipients, eager=True), 4
    yield "with STARTTLS and AUTH PLAIN", count(1, 1, sealed=True), 8
    yield "the same, eager", count(1, 1, sealed=True, eager=True), 7
    yield "ten messages", count(10, 1), 14
    yield "ten messages, eager", count(10, 1, eager=True), 4


SEND = """
import sys
from smtp_from_scratch import Client
def peak():                                     # not ru_maxrss, which may be that of the process that started this one
    with open("/proc/self/status") as status:
        return int(status.read().partition("VmHWM:")[2].split()[0]) / 1024
with Client("127.0.0.1", int(sys.argv[1])) as smtp:
    smtp.sendmail("ana@rio.example", "kenji@tokyo.example", b"small")
    before = peak()
    with open(sys.argv[2], "rb") as file:
        smtp.sendmail("ana@rio.example", "kenji@tokyo.example", file)
    print(peak() - before)
"""


def memory(port: int) -> Iterator[tuple[str, float, float]]:
    """MiB on top of the idle process for a letter of 100 MB from a file: what, ours, and the goal."""
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        for _ in range(100):
            file.write((b"x" * 76 + b"\r\n") * 12_820)
        file.flush()
        status = Path(f"/proc/{PROCESSES[port]}/status")
        Path(f"/proc/{PROCESSES[port]}/clear_refs").write_text("5")

        def peak() -> float:
            return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024

        before = peak()
        done = subprocess.run([sys.executable, "-c", SEND, str(port), file.name], check=True, capture_output=True,
                              text=True, cwd=ROOT)
        yield "client, 100 MB from a file", float(done.stdout), 2
        yield "server, 100 MB, spooled", peak() - before, 4


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


STAGES = ("threads", "loop")                    # of ours


def raise_limit() -> None:
    """Let this process and those that it starts have files enough for thousands of connections."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000) if hard > 0 else 20_000, hard))


def client_rows(ports: dict[str, int],
                clock: Measured) -> Iterator[tuple[str, str, Measured, Measured | None, str, str]]:
    """Our client and smtplib, both at the server that costs least: smtp-sink, or for BDAT, which it lacks, our loop."""
    long_lines = b"x" * 76 + b"\r\n"
    for what, times, recipients, size, goal in (
        ("1 KB, reused connection", 300, 1, 1000, "≥ 3"),
        ("1 KB, overlapped", 300, 1, 1000, ""),
        ("50 recipients", 10, 50, 1000, "≥ 20"),
        ("25 MB by DATA", 1, 1, 25_000_000, "≥ 2.5"),
        ("25 MB by BDAT", 1, 1, 25_000_000, "≥ 8"),
    ):
        readers = [f"reader{n}@tokyo.example" for n in range(recipients)]
        letter = long_lines * (size // len(long_lines))
        send = repeat(times, readers, letter)
        port = ports["loop"] if "BDAT" in what else ports.get("smtp-sink", ports["loop"])
        ours = with_ours(port, overlapped(times, readers, letter) if "overlapped" in what else send,
                         ["CHUNKING"] if "DATA" in what else [], clock)
        yield "S8", f"client: {what}", ours, with_smtplib(port, send, clock), "smtplib", goal


def table(ports: dict[str, int], clock: Measured) -> Iterator[tuple[str, str, Measured, Measured | None, str, str]]:
    """Rows: number and name, what is measured, ours, the peer's, the peer's name, the goal."""
    rivals = [name for name in ("aiosmtpd", "smtp-sink") if name in ports]
    goals = {("S1", "aiosmtpd"): "≥ 4", ("S1", "smtp-sink"): "≥ 0.8",
             ("S2", "aiosmtpd"): "≥ 4", ("S2", "smtp-sink"): "≥ 0.8",
             ("S4", "aiosmtpd"): "≥ 12", ("S4", "smtp-sink"): "≥ 1.8"}
    if shutil.which("smtp-source"):
        for stage, rival in itertools.product(STAGES, rivals):
            for row, what, shape in (
                ("S1", "1 KB, 8 reused connections", (8, 2000, 1000, True)),
                ("S1", "1 KB, 32 reused connections", (32, 2000, 1000, True)),
                ("S2", "1 KB, a connection each, 8 at once", (8, 1000, 1000, False)),
                ("S4", "100 KB by DATA, 8 connections", (8, 400, 100_000, True)),
                ("S4", "10 MB by DATA", (2, 10, 10_000_000, True)),
            ):
                yield (row, f"{stage}: {what}", smtp_source(ports[stage], *shape), smtp_source(ports[rival], *shape),
                       rival, goals[row, rival])
    for stage in STAGES:
        yield ("S3", f"{stage}: 50 recipients in one flight", pipelined(ports[stage], 50, 40),
               pipelined(ports["aiosmtpd"], 50, 40), "aiosmtpd", "≥ 20")
        yield ("S5", f"{stage}: 10 MB by BDAT", chunked(ports[stage]), raw(ports["raw"]), "raw octets", "≥ 0.8")
    if "Postfix" in ports:
        for stage in STAGES:
            ours, theirs = (smtp_source(ports[name], 8, 400, 1000, True, READER)
                            for name in (f"durable {stage}", "Postfix"))
            yield ("S10", f"{stage}: 1 KB into a Maildir, 8 connections", ours, theirs, "Postfix", "≥ 2.5")
    yield from client_rows(ports, clock)
    yield ("S11", "sessions rehearsed in memory", rehearsals(500), None, "", "≥ 20,000/s")
    yield ("S13", "import, fresh interpreter", imports("smtp_from_scratch"), imports("smtplib"), "smtplib", "≤ 1.2")
    yield ("S13", "import of Client and Server", imports("smtp_from_scratch.smtp"), imports("smtplib"), "smtplib", "")


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


def by_processor(run: Measured, ports: dict[str, int]) -> Measured:
    """The same, in seconds of processors instead of the clock's, of whichever of the servers worked for it."""

    def measured() -> float:
        before = {name: worked(port) for name, port in ports.items()}
        run()
        return max(worked(port) - before[name] for name, port in ports.items())

    return measured


def idle_memory(port: int, count: int = 2000) -> float:
    """KiB that a connection takes which has heard its greeting and says nothing."""
    status = Path(f"/proc/{PROCESSES[port]}/status")

    def resident() -> int:
        return int(status.read_text().partition("VmRSS:")[2].split()[0])

    with contextlib.ExitStack() as stack:
        before = resident()
        for _ in range(count):
            assert stack.enter_context(socket.create_connection(("127.0.0.1", port))).recv(100)
        return (resident() - before) / count


class Lines:
    """The table, line by line: printed at once, and kept for a file."""

    def __init__(self) -> None:
        self.machine = (f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
                        f"aiosmtpd {version('aiosmtpd')}, {time.strftime('%Y-%m-%d')}")
        self.rows = [("row", "what", "ours", "against", "ratio", "middle half", "goal")]
        print(self.machine)
        self._print(self.rows[0])

    def add(self, row: str, what: str, ours: str, against: str = "", ratio: str = "", spread: str = "",
            goal: str = "") -> None:
        self.rows.append((row, what, ours, against, ratio, spread, goal))
        self._print(self.rows[-1])

    @staticmethod
    def _print(row: tuple[str, ...]) -> None:
        print("{:4} {:46} {:>15}  {:10} {:>8} {:>15}  {}".format(*row), flush=True)

    def markdown(self) -> str:
        """What README.md and the chapters may quote."""
        head, *rest = ("| " + " | ".join(row) + " |" for row in self.rows)
        where = f"By `make bench`, on {self.machine}. The ratio is the peer's time to ours."
        return "\n".join(["# Measured", "", where, "", head, "|---" * len(self.rows[0]) + "|", *rest, ""])


def main() -> int:
    options = argparse.ArgumentParser("tests.bench", description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("rows", nargs="*", metavar="ROW", help="S1, S2, …, tail, grow (default: all)")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--cpu", action="store_true",
                         help="seconds of processors, not of the clock, for a busy machine (S8; rows against aiosmtpd)")
    options.add_argument("--write", type=Path, metavar="FILE", help="keep the table of a run of all rows there")
    chosen = options.parse_args()
    raise_limit()
    lines = Lines()
    with contextlib.ExitStack() as stack:
        ports = {"threads": stack.enter_context(python_server(OURS)), "loop": stack.enter_context(python_server(LOOP)),
                 "aiosmtpd": stack.enter_context(python_server(AIOSMTPD)),
                 "raw": stack.enter_context(python_server(RAW))}
        if shutil.which("smtp-sink"):
            ports["smtp-sink"] = stack.enter_context(smtp_sink())
        else:
            print("without smtp-source and smtp-sink: sh tools/peers.sh brings them")
        if not chosen.rows or "S10" in chosen.rows:
            ports |= stack.enter_context(durable_servers(STAGES))
        clock = time.process_time if chosen.cpu else time.perf_counter
        for row, what, ours, theirs, rival, goal in table(ports, clock):
            if chosen.rows and row not in chosen.rows:
                continue
            if chosen.cpu and row != "S8":      # these measure the client's own process
                if theirs is None or rival != "aiosmtpd":
                    continue
                ours, theirs = by_processor(ours, ports), by_processor(theirs, ports)
            seconds, ratios = measure(ours, theirs, chosen.rounds)
            if row == "S11":
                lines.add(row, what, f"{1 / seconds:,.0f}/s", goal=goal)
                continue
            if row == "S13":
                ratios = [1 / ratio for ratio in ratios]
            low, middle, high = statistics.quantiles(ratios, n=4)
            lines.add(row, what, f"{seconds * 1000:.1f} ms", rival, f"{middle:.2f}×", f"{low:.2f}–{high:.2f}×", goal)

        def wanted(row: str, file: str = "/") -> bool:
            return (not chosen.rows or row in chosen.rows) and Path(file).exists()

        for what, found, limit in round_trips() if wanted("S7") else ():
            lines.add("S7", what, f"{found} round trips", goal=f"≤ {limit}")
        for count, stages in ((2000, STAGES), (10_000, STAGES[1:])) if wanted("S6", "/proc/self/status") else ():
            for name in stages:
                what = f"{name}: {count:,} idle connections"
                lines.add("S6", what, f"{idle_memory(ports[name], count):.1f} KiB", goal="≤ 4")
        for what, mib, most in memory(ports["threads"]) if wanted("S9", "/proc/self/clear_refs") else ():
            lines.add("S9", what, f"{mib:.1f} MiB", goal=f"≤ {most}")
        many = {name: ports[name] for name in (*STAGES, "aiosmtpd")}
        for what, median, late in tails(many) if wanted("tail") else ():
            lines.add("tail", what, f"{median:.1f} ms", goal=f"99 of 100: {late:.1f} ms")
        if wanted("grow") and shutil.which("smtp-source"):
            port = ports["loop"]
            for what, cost, remark in growth(lambda: worked(port), lambda *shape: smtp_source(port, *shape, True),
                                             lambda count, times: pipelined(port, count, times)):
                lines.add("grow", f"loop: {what}", f"{cost:.2f} µs", goal=remark)
    if chosen.write and not chosen.rows:
        chosen.write.write_text(lines.markdown(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure, against peers in the same run, and print a table: `python -m tests.bench [ROW]… [--rounds N]`.

All take turns in every round; the table has the median, and the middle half of the rounds' ratios. `--write FILE` keeps
the table of a run of all rows, with the machine and the versions, as Markdown, and renews the figures that pages quote
from it: `make bench` does. Every load is bounded, and no row begins after `--minutes`.
"""
from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PATH"] = os.pathsep.join([str(Path(os.environ.get("PEERS", ROOT / ".peers")) / "bin"),
                                      os.environ.get("PATH", "")])

from tests.bench import counted, quotes, rows  # noqa: E402
from tests.bench.durable import durable_servers  # noqa: E402
from tests.bench.figures import cpus, growth_named, median_duration, walls  # noqa: E402
from tests.bench.growth import Axis, axes  # noqa: E402
from tests.bench.loads import smtp_source  # noqa: E402
from tests.bench.servers import PROC, PROGRAMS, STAGES, Served, running  # noqa: E402
from tests.bench.table import Group, Table, in_turns  # noqa: E402

ROWS = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "tail", "grow")
SECONDS = 40.0                                  # for the rounds of one group


class Bench:
    """One run: which rows, with how many rounds, until when. A row that fails says so, and the next one begins."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.rows, self.rounds = set(chosen.rows or ROWS), chosen.rounds
        self.end, self.table = time.monotonic() + chosen.minutes * 60, Table(chosen.rounds)
        self.lost = 0                           # rows that failed, or were left out

    def run(self, row: str, what: str, measure: Callable[[], None]) -> None:
        """Measure this, if its row is asked for, and there is still time for it."""
        if row not in self.rows:
            return
        why = "left out: no time left" if time.monotonic() > self.end else ""
        try:
            if not why:
                measure()
        except (AssertionError, ImportError, OSError, subprocess.SubprocessError) as error:
            why = f"failed: {type(error).__name__} {error}".splitlines()[0][:100]
        if why:
            self.lost += 1
            self.table.add(row, what, "", goal=why)

    def add(self, groups: Iterator[Group]) -> None:
        """Measure those that are asked for."""
        for group in groups:
            def measure(group: Group = group) -> None:
                self.table.add_group(group, in_turns({**group.ours, **group.peers}, self.rounds, SECONDS))

            self.run(group.row, group.what, measure)

    def all(self, servers: dict[str, Served]) -> None:
        self.add(rows.received(servers))
        self.add(rows.in_one_flight(servers))
        self.run("S10", "durable delivery", self.durable)
        self.add(rows.sent(servers))
        self.add(rows.alone())
        if "S12" in self.rows:
            self.table.add("S12", "the whole course, executed and compared", "not here", goal="≤ 3 min: pytest --nbval")
        with tempfile.TemporaryDirectory() as folder:
            self.add(rows.imported(folder))
        self.run("S7", "round trips", self.round_trips)
        if PROC.joinpath("self/clear_refs").exists():
            self.run("S6", "idle connections", lambda: self.idle(servers))
            self.run("S9", "100 MB", lambda: self.large(servers["loop"].port))
        self.run("tail", "a letter among many callers", lambda: self.tail(servers))
        for stage in STAGES if shutil.which("smtp-source") else ():
            for axis in axes(servers[stage]):
                self.run("grow", f"{stage}: {axis.loads[-1][0]}", partial(self.grow, stage, axis))

    def durable(self) -> None:
        with durable_servers() as durable:
            self.add(rows.kept(durable))

    def round_trips(self) -> None:
        for what, ours, smtplibs, goal in counted.round_trips():
            self.table.add("S7", what, f"{ours} round trips", "", f"smtplib: {smtplibs}" if smtplibs else "",
                           goal=f"≤ {goal}")

    def idle(self, servers: dict[str, Served]) -> None:
        for count, peers in ((2000, ("aiosmtpd", "smtp-sink")), (10_000, ("aiosmtpd",))):
            beside = ", ".join(f"{peer}: {counted.idle_memory(peer, count):.1f} KiB" for peer in peers
                               if peer in servers)
            for stage in STAGES:
                self.table.add("S6", f"{stage}: {count:,} idle connections",
                               f"{counted.idle_memory(stage, count):.1f} KiB", against=beside, goal="≤ 4 KiB")

    def large(self, port: int) -> None:
        with counted.large_file() as file:
            ours, theirs = (counted.client_memory(port, file, client) for client in ("ours", "smtplib"))
            self.table.add("S9", "client: 100 MB from a file", f"{ours:.1f} MiB", "", f"smtplib: {theirs:.0f} MiB",
                           goal="≤ 2 MiB")
            for stage in STAGES:
                self.table.add("S9", f"{stage}: 100 MB, spooled", f"{counted.server_memory(stage, file):.1f} MiB",
                               goal="≤ 4 MiB")

    def tail(self, servers: dict[str, Served]) -> None:
        for group, found in rows.tail(servers, self.rounds, SECONDS):
            self.table.add_group(group, found)

    def grow(self, stage: str, axis: Axis) -> None:
        """A line for each load; words where a unit costs more than in a smaller one."""
        found = in_turns(dict(axis.loads), min(self.rounds, 3), SECONDS)
        costs = [(what, statistics.median(cpus(spent) or walls(spent))) for what, spent in found.items()]
        for (what, spent), words in zip(found.items(), growth_named(costs), strict=True):
            self.table.add("grow", f"{stage}: {what}, for each {axis.unit}", median_duration(walls(spent)),
                           median_duration(cpus(spent)), goal=words)


@contextlib.contextmanager
def all_servers() -> Iterator[dict[str, Served]]:
    """Those that hold nothing; each has had a few letters, so that it is awake."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(running(name)) for name in PROGRAMS}
        if shutil.which("smtp-sink"):
            servers["smtp-sink"] = stack.enter_context(running("smtp-sink"))
            for name in (*STAGES, "aiosmtpd", "smtp-sink"):
                smtp_source(servers[name].port, 8, 200, 1000, True)()
        else:
            print("without smtp-source and smtp-sink: sh tools/peers.sh brings them")
        yield servers


def raise_limit() -> None:
    """Let this process and those that it starts have files enough for thousands of connections."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000) if hard > 0 else 20_000, hard))


def under(python: str) -> int:
    """The same run under another interpreter, with the packages of this one's environment."""
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--python=")]
    if "--python" in arguments:
        where = arguments.index("--python")
        del arguments[where : where + 2]
    return subprocess.run([python, "-m", "tests.bench", *arguments], cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": path}).returncode


def main() -> int:
    options = argparse.ArgumentParser("tests.bench", description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)} (default: all)")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--minutes", type=float, default=12.0, help="after which no row begins (default 12)")
    options.add_argument("--python", metavar="PATH",
                         help="the interpreter of servers and clients, such as /usr/bin/python3, which may be faster")
    options.add_argument("--write", type=Path, metavar="FILE", help="keep the table of a run of all rows there")
    chosen = options.parse_args()
    if unknown := set(chosen.rows) - set(ROWS):
        options.error(f"there is no row {', '.join(sorted(unknown))}: {', '.join(ROWS)}")
    if chosen.python:
        return under(chosen.python)
    raise_limit()
    bench = Bench(chosen)
    with all_servers() as servers:
        bench.all(servers)
    if chosen.write and not chosen.rows:
        chosen.write.write_text(bench.table.markdown(), encoding="utf-8")
        print(*quotes.renew(), sep="\n")
    return 1 if bench.lost else 0


if __name__ == "__main__":
    sys.exit(main())

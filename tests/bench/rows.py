"""The rows of GOALS that are timed, beside their peers."""
from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence

from tests.bench.durable import READER
from tests.bench.figures import Spent, percentile
from tests.bench.growth import CALLERS, latencies
from tests.bench.loads import (
    Load,
    at,
    chunked,
    driver,
    imports,
    pipelined,
    raw,
    rehearsals,
    smtp_source,
    with_ours,
    with_smtplib,
)
from tests.bench.servers import STAGES, Served
from tests.bench.table import Group, in_turns

RIVALS = ("aiosmtpd", "smtp-sink")
QUICK = 4                                       # times the letters for smtp-sink, which is done too soon otherwise
# connections, letters, octets, whether connections are used again; the goals against RIVALS
SOURCES = (
    ("S1", "1 KB, 8 reused connections", (8, 2000, 1000, True), ("≥ 4", "≥ 0.8")),
    ("S1", "1 KB, 32 reused connections", (32, 2000, 1000, True), ("≥ 4", "≥ 0.8")),
    ("S2", "1 KB, a connection each, 8 at once", (8, 1000, 1000, False), ("≥ 4", "≥ 0.8")),
    ("S4", "100 KB by DATA, 8 connections", (8, 400, 100_000, True), ("≥ 12", "≥ 1.8")),
    ("S4", "10 MB by DATA", (2, 6, 10_000_000, True), ("≥ 12", "≥ 1.8")),
)
LINE = b"x" * 76 + b"\r\n"


def sides(servers: Mapping[str, Served], loads: Mapping[str, Load],
          rivals: Sequence[str]) -> tuple[dict[str, Load], dict[str, Load]]:
    """Ours, and those of the rivals that are there."""
    return ({name: loads[name] for name in STAGES}, {name: loads[name] for name in rivals if name in servers})


def received(servers: Mapping[str, Served]) -> Iterator[Group]:
    """S1, S2, S4: what smtp-source and our driver send, one command after another."""
    there = [servers[name] for name in (*STAGES, *RIVALS) if name in servers]
    for row, what, (connections, letters, octets, reuse), goals in SOURCES if shutil.which("smtp-source") else ():
        def sent(served: Served, connections: int = connections, letters: int = letters, octets: int = octets,
                 reuse: bool = reuse) -> Load:
            count = letters * (QUICK if served.name == "smtp-sink" and octets == 1000 and reuse else 1)
            return at(served, count, smtp_source(served.port, connections, count, octets, reuse))

        ours, peers = sides(servers, {served.name: sent(served) for served in there}, RIVALS)
        yield Group(row, what, ours, peers, dict(zip(RIVALS, goals, strict=True)))
    for cold in (False, True):
        loads = {served.name: at(served, 2000, driver(served.port, 8, 2000, cold)) for served in there}
        ours, peers = sides(servers, loads, RIVALS)
        yield Group("S1", f"1 KB, 8 reused connections, our driver{', cold' * cold}", ours, peers,
                    {"aiosmtpd": "≥ 4", "smtp-sink": "≥ 0.8"})


def in_one_flight(servers: Mapping[str, Served]) -> Iterator[Group]:
    """S3, S5: what is said without waiting for replies."""
    there = [servers[name] for name in (*STAGES, "aiosmtpd")]
    for cold in (False, True):
        loads = {served.name: at(served, 40, pipelined(served.port, 50, 40, cold)) for served in there}
        ours, peers = sides(servers, loads, ["aiosmtpd"])
        yield Group("S3", f"50 recipients in one flight{', cold' * cold}", ours, peers, {"aiosmtpd": "≥ 20"})
    ours = {name: at(servers[name], 20, chunked(servers[name].port, 20)) for name in STAGES}
    octets = servers["raw octets"]
    yield Group("S5", "10 MB by BDAT", ours, {"raw octets": at(octets, 20, raw(octets.port, 20))},
                {"raw octets": "≥ 0.8"})


def kept(servers: Mapping[str, Served]) -> Iterator[Group]:
    """S10: durable delivery."""
    if shutil.which("smtp-source"):
        loads = {name: at(served, 400, smtp_source(served.port, 8, 400, 1000, True, READER))
                 for name, served in servers.items()}
        ours, peers = sides(servers, loads, ["Postfix"])
        yield Group("S10", "1 KB into a Maildir, 8 connections", ours, peers, {"Postfix": "≥ 1"})


def sent(servers: Mapping[str, Served]) -> Iterator[Group]:
    """S8: our client and smtplib, both at the server that costs least: smtp-sink; for BDAT, our loop."""
    least, loop = servers.get("smtp-sink", servers["loop"]).port, servers["loop"].port
    small, large, quick = LINE * 12, LINE * 320_512, {"smtplib": "≥ 3"}
    for what, goals, ours, peer in (
        ("1 KB, reused connection", quick, with_ours(least, 600, 1, small), with_smtplib(least, 600, 1, small)),
        ("1 KB, reused connection, cold", quick, with_ours(least, 600, 1, small, True),
         with_smtplib(least, 600, 1, small, True)),
        ("1 KB, overlapped", quick, with_ours(least, 600, 1, small, overlapped=True),
         with_smtplib(least, 600, 1, small)),
        ("50 recipients", {"smtplib": "≥ 20"}, with_ours(least, 40, 50, small), with_smtplib(least, 10, 50, small)),
        ("50 recipients, cold", {"smtplib": "≥ 20"}, with_ours(least, 40, 50, small, True),
         with_smtplib(least, 10, 50, small, True)),
        ("25 MB by DATA", {"smtplib": "≥ 2.5"}, with_ours(least, 2, 1, large, without=("CHUNKING",)),
         with_smtplib(least, 2, 1, large)),
        ("25 MB by BDAT", {"smtplib": "≥ 8"}, with_ours(loop, 2, 1, large), with_smtplib(loop, 2, 1, large)),
    ):
        yield Group("S8", f"client: {what}", {"": ours}, {"smtplib": peer}, goals)


def per_second(seconds: Sequence[float]) -> str:
    return f"{1 / statistics.median(seconds):,.0f}/s" if seconds else ""


def alone() -> Iterator[Group]:
    """S11: no socket."""
    for cold in (False, True):
        yield Group("S11", f"sessions rehearsed in memory{', cold' * cold}", {"": rehearsals(500, cold)},
                    goals={"": "≥ 20,000/s"}, shown=per_second)


def imported(folder: str) -> Iterator[Group]:
    """S13: in a fresh interpreter, with everything compiled before, in a folder for that."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = folder
    theirs = imports("import smtplib", 5, environment)
    for what, statement, goal in (
        ("import, fresh interpreter", "import smtp_from_scratch", "≥ 0.83: at most 1.2 times as long"),
        ("import of Client", "from smtp_from_scratch import Client", ""),
        ("import of Client and Server", "from smtp_from_scratch import Client, Server", ""),
    ):
        imports(statement, 1, environment)()
        yield Group("S13", what, {"": imports(statement, 5, environment)}, {"smtplib": theirs}, {"smtplib": goal})


def tail(servers: Mapping[str, Served], rounds: int, seconds: float) -> Iterator[tuple[Group, dict[str, list[Spent]]]]:
    """How long half of the letters take at most, and 99 of 100, among so many callers."""
    there = [servers[name] for name in (*STAGES, *RIVALS) if name in servers]
    for callers in CALLERS:
        letters, halves = 10 * callers + 1000, {served.name: list[Spent]() for served in there}

        def taken(served: Served, callers: int = callers, letters: int = letters,
                  halves: dict[str, list[Spent]] = halves) -> Load:
            found: list[float] = []

            def run() -> float:
                found[:] = latencies(served.port, callers, letters)
                return 0.0

            def late() -> Spent:
                cpu = at(served, letters + callers, run)().cpu
                halves[served.name].append(Spent(percentile(found, 50), cpu))
                return Spent(percentile(found, 99), cpu)

            return late

        loads = {served.name: taken(served) for served in there}
        ours, peers = sides(servers, loads, RIVALS)
        found = in_turns(loads, rounds, seconds)
        yield Group("tail", f"half of the letters among {callers} callers", ours, peers), halves
        yield Group("tail", f"99 of 100 letters among {callers} callers", ours, peers), found

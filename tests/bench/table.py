"""The table: rows that are measured in turns, and their lines, printed at once and kept for a file."""
from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from tests.bench.figures import LEAST, NEIGHBORS, Spent, cpus, median_duration, ratios, times, walls
from tests.bench.interpreter import described
from tests.bench.loads import Load

HEAD = ("row", "what", "ours", "CPU", "against", "ratio", "CPU ratio", "goal")
FEWEST = 2                                      # rounds, however long they take
BUSY = 0.5                                      # load average before the bench's own
READ = """\
"Ours" is what one letter takes by the clock, and "CPU" how long processors worked for it: the server's, with all its
threads and children, or in rows that begin with "client" the client's. A ratio is the peer's time to ours: the median
of {rounds} rounds, in which all take turns, and the middle half of them. "Cold" means that no address is ever said
twice. In rows of "grow", words say where a unit costs more than {neighbors:g} times as much as with the load before, or
{least:g} times the least so far. Loopback only. No figure is a promise about another machine."""


@dataclass(frozen=True)
class Group:
    """What is measured in one go, each contender once a round: ours, and the peers that each of these is beside."""

    row: str
    what: str
    ours: Mapping[str, Load]
    peers: Mapping[str, Load] = field(default_factory=dict)
    goals: Mapping[str, str] = field(default_factory=dict)             # by peer; "" without one
    shown: Callable[[Sequence[float]], str] = median_duration          # seconds of ours


def in_turns(loads: Mapping[str, Load], rounds: int, seconds: float) -> dict[str, list[Spent]]:
    """What each took in each round. Another begins first each time; no round begins after so many seconds."""
    names, found = list(loads), {name: list[Spent]() for name in loads}
    end = time.monotonic() + seconds
    for number in range(rounds):
        if number >= FEWEST and time.monotonic() > end:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(loads[name]())
    return found


class Table:
    """Line by line."""

    def __init__(self, rounds: int) -> None:
        self.began, self.rounds = time.monotonic(), rounds
        self.load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        self.machine = (f"{platform.platform()}, {os.cpu_count()} cores, load average {self.load:.1f} before, "
                        f"{time.strftime('%Y-%m-%d')}. {described()}. aiosmtpd {version('aiosmtpd')}")
        self.rows = [HEAD]
        print(self.machine)
        if self.load > BUSY:
            print("This machine is busy: look at the ratios of CPU, and do not keep this table.")
        self._print(HEAD)

    def add(self, row: str, what: str, ours: str, cpu: str = "", against: str = "", ratio: str = "",
            cpu_ratio: str = "", goal: str = "") -> None:
        self.rows.append((row, what, ours, cpu, against, ratio, cpu_ratio, goal))
        self._print(self.rows[-1])

    def add_group(self, group: Group, found: Mapping[str, list[Spent]]) -> None:
        """A line for each of ours and each peer."""
        for name in group.ours:
            mine, what = found[name], f"{name}: {group.what}" if name else group.what
            shown = (group.row, what, group.shown(walls(mine)), group.shown(cpus(mine)))
            for peer in group.peers or [""]:
                theirs = found[peer] if peer else []
                self.add(*shown, peer, times(ratios(walls(theirs), walls(mine))),
                         times(ratios(cpus(theirs), cpus(mine))), group.goals.get(peer, ""))

    @staticmethod
    def _print(row: tuple[str, ...]) -> None:
        print("{:4} {:64} {:>18} {:>10}  {:18} {:>22} {:>22}  {}".format(*row), flush=True)

    def markdown(self) -> str:
        """What README.md and the chapters may quote."""
        head, *rest = ("| " + " | ".join(row) + " |" for row in self.rows)
        minutes = (time.monotonic() - self.began) / 60
        where = f"By `make bench`, in {minutes:.0f} minutes, on {self.machine}."
        read = READ.format(rounds=self.rounds, neighbors=NEIGHBORS, least=LEAST)
        return "\n".join(["# Measured", "", where, "", read, "", head, "|---" * len(HEAD) + "|", *rest, ""])

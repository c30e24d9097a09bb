"""Figures of several rounds, and what they say: medians, spreads, ratios, and what grows faster than its work."""
from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

NEIGHBORS = 1.3                                 # times the cost of a unit in the next smaller load: more than noise
LEAST = 1.5                                     # the same, of the least cost in any smaller load


@dataclass(frozen=True)
class Spent:
    """Seconds of the clock, and seconds that processors worked; None where nobody can say."""

    wall: float
    cpu: float | None = None

    def each(self, count: float) -> Spent:
        """What one of so many took."""
        return Spent(self.wall / count, None if self.cpu is None else self.cpu / count)


def walls(rounds: Sequence[Spent]) -> list[float]:
    return [spent.wall for spent in rounds]


def cpus(rounds: Sequence[Spent]) -> list[float]:
    """Of all rounds, or of none: a median of some of them would be that of other rounds than the clock's."""
    known = [spent.cpu for spent in rounds if spent.cpu is not None]
    return known if len(known) == len(rounds) else []


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Theirs by ours, round by round; rounds in which ours did not measurably work say nothing."""
    return [a / b for a, b in zip(theirs, ours, strict=False) if b > 0]


def quartiles(figures: Sequence[float]) -> tuple[float, float, float]:
    """Where the middle half begins, its middle, and where it ends."""
    if len(figures) == 1:
        return figures[0], figures[0], figures[0]
    low, middle, high = statistics.quantiles(figures, n=4, method="inclusive")
    return low, middle, high


def percentile(figures: Sequence[float], hundredth: int) -> float:
    """The least figure that so many of a hundred do not exceed."""
    ordered = sorted(figures)
    return ordered[max(0, math.ceil(len(ordered) * hundredth / 100) - 1)]


def plain(figure: float) -> str:
    """Three digits, and all of those before the point: `0.845`, `2.54`, `13.1`, `1,300`."""
    digits = 2 - math.floor(math.log10(abs(figure))) if figure else 0
    return f"{figure:,.{max(0, digits)}f}"


def duration(seconds: float) -> str:
    """`1.24 s`, `652 ms`, `35.3 µs`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{plain(seconds / size)} {unit}"
    return f"{plain(seconds * 1e6)} µs"


def median_duration(seconds: Sequence[float]) -> str:
    """Nothing, if there is nothing to be measured."""
    return duration(statistics.median(seconds)) if seconds else ""


def times(found: Sequence[float]) -> str:
    """`2.54× (2.45–2.71)`: the median and the middle half of the rounds' ratios."""
    if not found:
        return ""
    low, middle, high = quartiles(found)
    return f"{middle:.2f}× ({low:.2f}–{high:.2f})"


def growth_named(costs: Sequence[tuple[str, float]]) -> list[str]:
    """For each load, from the smallest to the largest, and what a unit of it costs: words where that has grown.

    A cost for each unit that falls, or stays, is that of a program whose work grows as what it is given.
    """
    words = []
    for number, (_, cost) in enumerate(costs):
        before = costs[:number]
        least = min(before, key=lambda pair: pair[1], default=("", math.inf))
        if before and cost > NEIGHBORS * before[-1][1]:
            words.append(f"grows faster than its work: {cost / before[-1][1]:.2f}× that of {before[-1][0]}")
        elif cost > LEAST * least[1]:
            words.append(f"grows faster than its work: {cost / least[1]:.2f}× that of {least[0]}")
        else:
            words.append("")
    return words

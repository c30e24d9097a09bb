"""A session as a ladder: time runs down, client left, server right, an arrow for each flight."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import COLORS, NAMES, WAITING, plural, shorten
from smtp_from_scratch.lab.figures.svg import Drawing
from smtp_from_scratch.transcript import Line, body_size, lines_of

ROW, STEP = 16.0, 34.0                         # px: one line of text; one flight on its way
MOST_FLIGHTS = 26                              # a longer ladder is shown without its middle
LETTER = 7.4                                   # px: one letter of the labels


@dataclass(slots=True)
class Flight:
    """Octets that leave without waiting: when (seconds), who, and the lines in it."""

    number: int
    role: str
    left: float
    arrived: float
    lines: list[Line] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """What is written beside the arrow: commands and replies; a letter is one line."""
        labels: list[str] = []
        size = body_size(self.lines)
        for line in self.lines:
            if line.kind not in ("body", "dot"):
                labels.append(line.text)
            elif size and (not labels or not labels[-1].startswith("(letter")):
                labels.append(f"(letter, {plural(size, 'octet')})")
        return labels or ["."]


class Ladder(Face):
    """A ladder of a transcript, of a rehearsal, or of a list of records.

    `latency` (seconds, one way) slants the arrows and puts a clock beside them. A rehearsal brings its own clock;
    for anything else the time is computed: a flight leaves when the one before it has arrived.
    """

    def __init__(self, source: Any, latency: float | None = None, title: str = "") -> None:
        self.title = title
        clock = bool(getattr(source, "seconds", 0.0))
        lines = lines_of(source)
        if latency is None and clock:
            latency = min((line.when for line in lines if line.when > 0), default=0.0)
        self.latency = latency or 0.0
        self.flights = flights_of(lines, self.latency, clock)
        self.seconds = max((flight.arrived for flight in self.flights), default=0.0) if self.latency else 0.0

    @property
    def summary(self) -> str:
        """How many flights, and how long they took."""
        took = f", {self.seconds:.2f} s" if self.latency else ""
        return plural(len(self.flights), "flight") + took

    def shown(self) -> list[Flight | int]:
        """The flights that are drawn; a number stands for so many that are not."""
        if len(self.flights) <= MOST_FLIGHTS:
            return list(self.flights)
        first, last = self.flights[: MOST_FLIGHTS - 10], self.flights[-8:]
        return [*first, len(self.flights) - len(first) - len(last), *last]

    def text(self) -> str:
        wide = min(46, max((len(text) for flight in self.flights for text in flight.labels), default=0) + 2)
        clock = " " * 10 if self.latency else ""
        head = f"{clock}    client {' ' * (wide - 2)} server"
        rows = [*([self.title] if self.title else []), head]
        for flight in self.shown():
            rows += [f"{clock}     ⋮  {flight} flights more"] if isinstance(flight, int) else self._rows(flight, wide)
        return "\n".join([*rows, self.summary])

    def _rows(self, flight: Flight, wide: int) -> list[str]:
        rows = []
        for index, label in enumerate(flight.labels):
            text, last = shorten(label, wide), index == len(flight.labels) - 1
            clock = (f"{flight.left:7.3f} s " if not index else " " * 10) if self.latency else ""
            number = f"{flight.number:3}" if not index else "   "
            space = "─" if last else " "
            fill = space * (wide - len(text))
            if flight.role == "C":
                arrow = f"{space}{space} {text} {fill}{space}{'>' if last else ' '}"
            else:
                arrow = f"{'<' if last else ' '}{space} {text} {fill}{space}{space}"
            rows.append(f"{clock}{number}  │{arrow}│")
        return rows

    def svg(self, width: float = 720) -> str:
        return Rungs(self, width).svg()


class Rungs:
    """One drawing of a ladder: labels outside, arrows between the two lifelines."""

    def __init__(self, ladder: Ladder, width: float) -> None:
        self.ladder, self.width, self.pen = ladder, width, Drawing()
        self.clock = 52.0 if ladder.latency else 0.0
        side = (width - self.clock) * (0.36 if width > 600 else 0.4)
        self.x = {"C": self.clock + side, "S": width - side}
        self.room = int((side - 26) / LETTER)
        self.top = 66.0 if ladder.title else 44.0
        self.bottom = dict.fromkeys("CS", self.top)            # where the labels of a side end
        self.heard = dict.fromkeys("CS", self.top)             # where an end last heard something
        self.spoke: dict[str, float] = {}

    def svg(self) -> str:
        """Draw everything, lifelines last, since only then their length is known."""
        y, before = self.top + 10, 0.0
        for flight in self.ladder.shown():
            if isinstance(flight, int):
                y = max(*self.bottom.values(), *self.heard.values()) + 16
                self.pen.text(sum(self.x.values()) / 2, y, f"⋮ {flight} flights more ⋮", anchor="middle")
                y, self.spoke = y + 18, {}
                before = -1.0
                continue
            y = max(y + (self.fall(flight.left - before) if before >= 0 else 0.0), self.bottom[flight.role])
            y, before = self.flight(flight, y), flight.left
        end = max(*self.bottom.values(), *self.heard.values()) + 8
        return finish(self, end)

    def fall(self, seconds: float) -> float:
        """How far down the page so much time is."""
        latency = self.ladder.latency
        return min(3.0, seconds / latency) * STEP if latency else 0.0

    def flight(self, flight: Flight, y: float) -> float:
        """One flight that leaves at height `y`; returns where the next one may leave."""
        pen, who, other = self.pen, flight.role, "S" if flight.role == "C" else "C"
        away = -1 if who == "C" else 1
        start, end = self.x[who], self.x[other]
        slant = STEP if self.ladder.latency else 0.0
        self.wait(who)
        pen.arrow((start - away * 2, y), (end + away * 2, y + slant), COLORS[who])
        middle = (start + end) / 2
        pen.box(middle - 11, y + slant / 2 - 9, 22, 18, fill="#ffffff", stroke=COLORS[who], radius=9)
        pen.text(middle, y + slant / 2 + 4.5, str(flight.number), anchor="middle")
        anchor = "end" if who == "C" else "start"
        for index, label in enumerate(flight.labels):
            pen.text(start + away * 12, y + 4 + index * ROW, shorten(label, self.room), anchor=anchor, mono=True)
        if self.clock:
            pen.text(10, y + 4, f"{flight.left:.2f} s", color="#555555")
        self.spoke[who] = y
        self.heard[other] = y + slant
        self.bottom[who] = y + len(flight.labels) * ROW + 6
        return y if self.ladder.latency else max(y + 26, self.bottom[who])

    def wait(self, who: str) -> None:
        """Gray along a lifeline where this end stands still: from what it said to what it heard."""
        start, end = self.spoke.get(who), self.heard[who]
        if start is not None and end > start + 4:
            self.pen.box(self.x[who] - 4, start, 8, end - start, fill=WAITING, stroke="none", radius=2)


def finish(rungs: Rungs, end: float) -> str:
    """Lifelines, once their length is known; what was drawn already lies over them."""
    ladder, words = rungs.ladder, rungs.pen
    for who in "CS":
        rungs.wait(who)
    paper, pen = words.shapes, Drawing()
    if ladder.title:
        pen.text(rungs.width / 2, 24, ladder.title, anchor="middle", size=15, bold=True)
    for who, x in rungs.x.items():
        pen.text(x, rungs.top - 8, NAMES[who], anchor="middle", size=14, bold=True, color=COLORS[who])
        pen.line((x, rungs.top), (x, end), stroke=COLORS[who], line=2)
    pen.shapes += paper
    note = " · gray: waiting" if 'fill="#999999"' in "".join(paper) else ""
    pen.text(rungs.width / 2, end + 22, ladder.summary + note, anchor="middle", size=13)
    return pen.render(rungs.width, end + 36, ladder.title or f"A ladder of {ladder.summary}", ladder.text())


def flights_of(lines: Iterable[Line], latency: float, clock: bool) -> list[Flight]:
    """Lines as flights. With a clock of their own they keep their times; else one flight waits for the other."""
    flights: list[Flight] = []
    for line in lines:
        last = flights[-1] if flights else None
        same = last and last.role == line.role and (not clock or abs(last.left - line.when) < 1e-9)
        if not same or last is None:
            left = line.when if clock else last.arrived if last else 0.0
            last = Flight(len(flights) + 1, line.role, left, left + latency)
            flights.append(last)
        last.lines.append(line)
    return flights

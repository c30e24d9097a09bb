"""The glass line: what a session costs on a long line, flight by flight, with extensions on and off."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.ladder import LETTER, Flight, flights_of
from smtp_from_scratch.lab.figures.style import COLORS, FAINT, NAMES, TLS, WAITING, plural, shorten, shown
from smtp_from_scratch.lab.figures.svg import Drawing, Point
from smtp_from_scratch.lab.figures.widget import Interactive, column, pane, row
from smtp_from_scratch.transcript import Line, body_size, lines_of

TRIP, ROW, CUT = 25.0, 15.0, 62.0              # px: a trip one way, a line of text, the middle that is left out
MOST, FIRST, LAST = 14, 7, 4                   # round trips that are shown; if there are more, the first and last ones
WIDE, GAP, HEAD = 860.0, 12.0, 46.0            # px: the figure, between ladders, above them
CLOCK, CLIENTS, SERVERS = 50.0, 136.0, 118.0   # px: seconds, what the client says, what the server says
SOFT = "#555555"


class Passage:
    """A session as flights over a line. Times are counted in trips: half a round trip each, from the first SYN on.

    A rehearsal's clock is taken as it is. On a real clock, `latency` (seconds one way) tells who had heard what before
    speaking, and that counts, not the time it took. Records with neither take turns.
    """

    def __init__(self, source: Any, dial: bool = True, latency: float | None = None) -> None:
        lines = lines_of(source)
        start = lines[0].when if lines else 0.0
        whens = [line.when - start for line in lines]
        unit = beat(whens)
        shift = (3 if lines[0].role == "S" else 2) if dial and lines else 0
        if unit:
            timed = [line._replace(when=round(when / unit, 1)) for line, when in zip(lines, whens, strict=True)]
        else:
            timed = caused(lines, latency) if latency else lines
        timed = sorted(timed, key=lambda line: (line.when, line.role)) if unit or latency else timed
        self.dial = dial
        self.flights = flights_of(timed, 1.0, bool(unit or latency))
        for flight in self.flights:
            flight.left, flight.arrived = round(flight.left + shift, 1), round(flight.arrived + shift, 1)
        self.trips = max((flight.arrived for flight in self.flights if flight.role == "S"), default=2.0 * dial)

    @property
    def round_trips(self) -> int:
        """Until the client has heard the last word, the dial included."""
        return -int(-(self.trips - 0.02) // 2) if self.trips else 0

    def seconds(self, rtt: float) -> float:
        """How long it takes on a line whose round trip takes `rtt` seconds."""
        return self.trips * rtt / 2

    def summary(self, rtt: float) -> str:
        return f"{plural(self.round_trips, 'round trip')}, {self.seconds(rtt):.2f} s"

    @property
    def cut(self) -> tuple[float, float]:
        """The trips between which nothing is shown."""
        if self.round_trips <= MOST:
            return (0.0, 0.0)
        return 2.0 * FIRST, 2.0 * (self.round_trips - LAST)

    @property
    def note(self) -> str:
        start, end = self.cut
        return f"… {int(end - start) // 2} more round trips …"

    def shown(self) -> list[Flight]:
        """The flights that are drawn."""
        start, end = self.cut
        return [flight for flight in self.flights if not start <= flight.left < end]

    @property
    def hidden(self) -> list[Flight]:
        """Flights that were not noted, but that time passed for: a TLS handshake, heard above TLS."""
        return unheard_in(self.flights)


class GlassLine(Interactive):
    """Sessions on a long line, beside one another: without extensions, and with those that are switched on.

    `play(recipients, switches)` returns records (`rehearse(…, latency=…)`, its `said`, a transcript) of a session to
    so many recipients with these extensions. Its times are scaled to `rtt` (seconds). `base` names the ladder that
    has none of the extensions; `dial` counts TCP's round trip.
    """

    def __init__(self, play: Callable[[int, tuple[str, ...]], Any], rtt: float = 0.186, recipients: int = 50,
                 switches: Sequence[str] = ("PIPELINING", "CHUNKING"), *, dial: bool = True,
                 base: str = "one command at a time") -> None:
        self.play, self.rtt, self.recipients, self.dial, self.base = play, rtt, recipients, dial, base
        self.switches, self.on = tuple(switches), tuple(switches)
        self._played: dict[tuple[int, tuple[str, ...]], Passage] = {}

    def passage(self, switches: Iterable[str]) -> Passage:
        """The session with these extensions, played once."""
        key = (self.recipients, tuple(switches))
        if key not in self._played:
            self._played[key] = Passage(self.play(*key), self.dial)
        return self._played[key]

    @property
    def ladders(self) -> Ladders:
        """What is shown now."""
        on = " and ".join(self.on)
        title = f"{plural(self.recipients, 'recipient')}, {self.rtt * 1000:g} ms a round trip"
        with_them = {f"with {on}": self.passage(self.on)} if on else {}
        return Ladders({self.base: self.passage(())} | with_them, self.rtt, title)

    def text(self) -> str:
        return self.ladders.text()

    def svg(self) -> str:
        return self.ladders.svg()

    def build(self) -> Any:
        import ipywidgets

        wide = {"layout": ipywidgets.Layout(width="420px"), "style": {"description_width": "130px"}}
        self._rtt = ipywidgets.IntSlider(value=round(self.rtt * 1000), min=1, max=max(600, round(self.rtt * 1000)),
                                         description="round trip (ms)", **wide)
        self._recipients = ipywidgets.IntSlider(value=self.recipients, min=1, max=max(100, self.recipients),
                                                description="recipients", **wide)
        self._toggles = [ipywidgets.ToggleButton(value=name in self.on, description=name, tooltip=f"{name} on or off",
                                                 icon="check" if name in self.on else "") for name in self.switches]
        self._pane = pane()
        for control in (self._rtt, self._recipients, *self._toggles):
            control.observe(lambda _: self._show(), "value")
        self._show()
        return column(row(self._rtt, self._recipients), row(*self._toggles), self._pane)

    def _show(self) -> None:
        self.rtt, self.recipients = self._rtt.value / 1000, self._recipients.value
        self.on = tuple(toggle.description for toggle in self._toggles if toggle.value)
        for toggle in self._toggles:
            toggle.icon = "check" if toggle.value else ""
        self._pane.value = self.svg()


class Ladders(Face):
    """Passages beside one another, at one scale, and under them their clocks."""

    def __init__(self, passages: Mapping[str, Passage], rtt: float, title: str = "") -> None:
        self.passages, self.rtt, self.title = dict(passages), rtt, title

    @cached_property
    def summary(self) -> str:
        """`10.6 s / 0.9 s`."""
        return " / ".join(f"{passage.seconds(self.rtt):.1f} s" for passage in self.passages.values())

    def text(self) -> str:
        parts = ["\n".join(self._table(name, passage)) for name, passage in self.passages.items()]
        return "\n\n".join([f"{self.title}: {self.summary}" if self.title else self.summary, *parts])

    def _table(self, name: str, passage: Passage) -> Iterable[str]:
        yield f"{name}: {passage.summary(self.rtt)}"
        yield "flight   leaves   arrives  from    says"
        noted = not any(passage.cut)
        for flight in in_order(passage):
            if not noted and flight.left >= passage.cut[1]:
                noted = True
                yield f"         {passage.note}"
            left, arrived = (trips * self.rtt / 2 for trips in (flight.left, flight.arrived))
            said = ", ".join(labels_of(flight, sizes=True)) if flight.number else hidden_label(flight, passage)
            number = f"{flight.number:6}" if flight.number else "     –"
            yield f"{number}{left:8.3f} s{arrived:8.3f} s  {NAMES[flight.role]}  {said}"

    def svg(self, width: float = WIDE) -> str:
        pen, room = Drawing(), (width - 3 * GAP) / 2
        slowest = max((passage.seconds(self.rtt) for passage in self.passages.values()), default=0.0)
        pen.text(width / 2, 26, self.title or "A long line", anchor="middle", size=15, bold=True)
        foot, names = 38.0, list(self.passages)
        for pair in (names[index : index + 2] for index in range(0, len(names), 2)):
            foot = max(Rungs(pen, self.passages[name], self.rtt, (left, foot), room).draw(name)
                       for name, left in zip(pair, (GAP, 2 * GAP + room), strict=False))
        for name, passage in self.passages.items():
            foot += clock(pen, passage, self.rtt, slowest, foot + 18, width, name)
        pen.text(width - GAP, foot + 34, "gray: the client waits · numbers: flights · dashed: dialing", anchor="end",
                 color=SOFT)
        return pen.render(width, foot + 46, f"{self.title or 'A long line'}: {self.summary}", self.text())


class Rungs:
    """One ladder: time runs down, client left, server right, seconds at the margin."""

    def __init__(self, pen: Drawing, passage: Passage, rtt: float, corner: Point, room: float) -> None:
        self.pen, self.passage, self.rtt, self.room = pen, passage, rtt, room
        self.left, self.top = corner[0], corner[1] + HEAD
        self.x = {"C": self.left + CLOCK + CLIENTS, "S": self.left + room - SERVERS}
        self.flights = in_order(passage)
        letters = {"C": int((CLIENTS - 16) // LETTER), "S": int((SERVERS - 12) // LETTER)}
        self.rows = {id(flight): packed(labels_of(flight), letters[flight.role]) for flight in self.flights}
        self.heights, self.bottom = scale(self.flights, self.rows, passage.cut, self.top)

    def draw(self, name: str) -> float:
        """Draw it; returns where it ends."""
        pen, end = self.pen, self.bottom + 10
        pen.text(self.left + 2, self.top - 34, shorten(name, int(self.room / 7)), bold=True, size=13)
        for who, x in self.x.items():
            pen.text(x, self.top - 8, NAMES[who], anchor="middle", size=13, bold=True, color=COLORS[who])
            pen.line((x, self.top), (x, end), stroke=COLORS[who], line=2)
        self.wait()
        for flight in self.flights:
            self.arrow(flight)
        if any(self.passage.cut):
            leave_out(self)
        pen.text(self.left + self.room / 2, end + 20, self.passage.summary(self.rtt), anchor="middle", size=14,
                 bold=True)
        return end + 26

    def wait(self) -> None:
        """Gray over the line where the client stands still: from the end of its flight until it hears something."""
        leaving = sorted({flight.left for flight in self.flights if flight.role == "C"} | {0.0})
        heard = sorted(flight.arrived for flight in self.flights if flight.role == "S")
        for moment in leaving:
            until = next((time for time in heard if time > moment), None)
            if until is not None and moment in self.heights and until in self.heights:
                top, low = self.heights[moment], self.heights[until]
                self.pen.box(self.x["C"] - 5, top, 10, low - top, fill=WAITING, stroke="none", radius=2)

    def arrow(self, flight: Flight) -> None:
        """One flight, its number in the middle, its words outside."""
        pen, who = self.pen, flight.role
        if flight.arrived not in self.heights:
            return
        label = str(flight.number or hidden_label(flight, self.passage).removesuffix(" handshake"))
        away, color = 1 if who == "C" else -1, TLS if "TLS" in label else COLORS[who]
        other = self.x["S" if who == "C" else "C"]
        y0, y1 = self.heights[flight.left], self.heights[flight.arrived]
        pen.arrow((self.x[who] + away * 2, y0), (other - away * 2, y1), color, dash="" if flight.number else "5 4")
        middle, y = (self.x["C"] + self.x["S"]) / 2, (y0 + y1) / 2
        patch = 8 + 7.6 * len(label)
        pen.box(middle - patch / 2, y - 8, patch, 16, fill="#ffffff", stroke=color if flight.number else "none",
                radius=8)
        pen.text(middle, y + 4.5, label, anchor="middle", color="#1a1a1a" if flight.number else SOFT)
        for index, words in enumerate(self.rows[id(flight)] if flight.number else []):
            pen.text(self.x[who] - away * 10, y0 + 4 + index * ROW, words, anchor="end" if who == "C" else "start",
                     mono=True)
        if who == "C":
            pen.text(self.left + 2, y0 + 4, f"{flight.left * self.rtt / 2:.2f} s", color=SOFT)


def leave_out(rungs: Rungs) -> None:
    """The middle: so many round trips more, drawn as a band."""
    (start, end), pen = rungs.passage.cut, rungs.pen
    top, low = rungs.heights[start] + 10, rungs.heights[end] - 10
    x0, x1, count = rungs.x["C"], rungs.x["S"], int(end - start) // 2
    pen.box(x0 - 5, top, 10, low - top, fill=WAITING, stroke="none", radius=2)
    height, strokes = low - top, min(2 * count, 24)
    points = [(x1 if index % 2 else x0, top + height * index / strokes) for index in range(strokes + 1)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    pen.path(f"M{path}", stroke="#c4c4c4", line=1)
    middle = (rungs.left + CLOCK + x1) / 2
    pen.box(middle - 98, (top + low) / 2 - 11, 196, 22, fill="#ffffff", stroke=SOFT, radius=11)
    pen.text(middle, (top + low) / 2 + 4.5, rungs.passage.note, anchor="middle", size=13)


def scale(flights: Sequence[Flight], rows: Mapping[int, list[str]], cut: tuple[float, float],
          top: float) -> tuple[dict[float, float], float]:
    """How far down each moment is, and the end: even steps, wider where words need room, the middle left out."""
    start, end = cut
    moments = {moment for flight in flights for moment in (flight.left, flight.arrived)} | {start, end}
    moments = {moment for moment in moments if not start < moment < end}
    heights, y, before = dict[float, float](), top + 8, 0.0
    free = dict.fromkeys("CS", y)
    for moment in sorted(moments):
        y += CUT if end and moment == end else min(2.0, moment - before) * TRIP
        leaving = [flight for flight in flights if flight.left == moment]
        y = max([y, *(free[flight.role] for flight in leaving)])
        for flight in leaving:
            free[flight.role] = y + ROW * len(rows[id(flight)]) + 5
        heights[moment], before = y, moment
    return heights, max([y, *(height - ROW for height in free.values())])


def clock(pen: Drawing, passage: Passage, rtt: float, slowest: float, y: float, width: float, name: str) -> float:
    """A bar as long as the session took, all at one scale, a tick for each round trip; returns its height."""
    room = width - 2 * GAP - 150
    long = room * passage.seconds(rtt) / slowest if slowest else 0.0
    pen.text(GAP, y + 10, name, size=12, color=SOFT)
    pen.box(GAP, y + 16, max(1.0, long), 16, fill=FAINT, stroke=WAITING, radius=2)
    for trip in range(1, passage.round_trips):
        x = GAP + long * trip * 2 / passage.trips
        pen.line((x, y + 16), (x, y + 32), stroke=WAITING, line=0.8)
    pen.text(GAP + long + 8, y + 29, f"{passage.seconds(rtt):.1f} s", size=15, bold=True)
    return 42.0


def glass_line(panels: Mapping[str, Any], rtt: float = 0.186, *, title: str = "", dial: bool = True,
               latency: float | None = None) -> Ladders:
    """Ladders of records you have, beside one another: `{"plain": rehearsal, "pipelined": transcript}`.

    `latency` (seconds one way) is that of records noted on a real line; a rehearsal's is found in it.
    """
    passages = {name: Passage(source, dial, latency) for name, source in panels.items()}
    return Ladders(passages, rtt, title)


def caused(lines: Iterable[Line], latency: float) -> list[Line]:
    """Lines with the number of trips that had to come before them in place of their time."""
    heard = {"C": 0, "S": 0}
    flying: dict[str, list[tuple[float, int]]] = {"C": [], "S": []}      # to whom: when it arrives, its trip
    result = []
    for line in sorted(lines, key=lambda line: line.when):
        arrived = [trip for due, trip in flying[line.role] if due <= line.when + latency / 20]
        flying[line.role] = flying[line.role][len(arrived) :]
        trips = heard[line.role] = max([heard[line.role], *arrived])
        flying["S" if line.role == "C" else "C"].append((line.when + latency, trips + 1))
        result.append(line._replace(when=float(trips)))
    return result


def beat(whens: Iterable[float]) -> float:
    """The latency of a rehearsal: every moment is a multiple of it. Else zero: a clock of the real world."""
    unit = min((when for when in whens if when > 0), default=0.0)
    even = unit and all(abs(when / unit - round(when / unit)) < 0.02 for when in whens)
    return unit if even else 0.0


def in_order(passage: Passage) -> list[Flight]:
    """What is drawn, by time: the dial, flights that nobody heard of, flights."""
    dial = [Flight(0, "C", 0.0, 1.0), Flight(0, "S", 1.0, 2.0), Flight(0, "C", 2.0, 3.0)] if passage.dial else []
    start, end = passage.cut
    unheard = [flight for flight in passage.hidden if not start <= flight.left < end]
    return sorted([*dial, *unheard, *passage.shown()], key=lambda flight: flight.left)


def unheard_in(flights: Sequence[Flight]) -> list[Flight]:
    """Flights between these that were not noted, but that time passed for."""
    found: list[Flight] = []
    asked = False
    for before, after in pairwise(flights):
        missing = round(after.left - before.arrived)
        asked = asked or any(label_of(line) == "STARTTLS" for line in before.lines)
        if asked and before.role != after.role and missing >= 2:
            found += [Flight(0, (after.role, before.role)[n % 2], before.arrived + n, before.arrived + n + 1)
                      for n in range(missing)]
    return found


def hidden_label(flight: Flight, passage: Passage) -> str:
    """What a flight without words is: part of the dial, or of a handshake."""
    if passage.dial and flight.left < 3 and flight.arrived <= 3:
        return ("SYN", "SYN-ACK", "ACK")[int(flight.left)]
    return "TLS handshake"


def labels_of(flight: Flight, sizes: bool = False) -> list[str]:
    """What a flight carries, in few words: verbs, reply codes, how often."""
    labels = []
    named = ((label_of(line), line) for line in flight.lines)
    for name, same in groupby((pair for pair in named if pair[0]), key=lambda pair: pair[0]):
        lines = [line for _, line in same]
        count, size = len(lines), f" ({plural(body_size(lines), 'octet')})" if sizes else ""
        labels.append(f"letter{size}" if name == "letter" else name if count == 1 else f"{count} × {name}")
    return labels


def label_of(line: Line) -> str:
    """One line in one word; nothing for a line that goes on."""
    if line.kind in ("body", "dot"):
        return "letter"
    if line.kind in ("secret", "sealed"):
        return {"secret": "(secret)", "sealed": "(TLS)"}[line.kind]
    if line.kind == "reply":
        return "" if line.data[3:4] == b"-" else shown(line.data[:3])
    return shown((line.data.split() or [b"(empty)"])[0].upper())


def packed(labels: Sequence[str], room: int) -> list[str]:
    """Labels in lines of at most `room` letters; at most three."""
    rows: list[str] = []
    for label in labels:
        if rows and len(rows[-1]) + 2 + len(label) <= room:
            rows[-1] += f", {label}"
        else:
            rows.append(label)
    if len(rows) > 3:
        rows = [*rows[:2], f"… {len(rows) - 2} more"]
    return [shorten(text, room) for text in rows]

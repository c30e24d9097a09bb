"""When a message was tried: a row for each day, a mark for each attempt, a word where its sender was told."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import CLIENT, FAINT, SERVER, plural
from smtp_from_scratch.lab.figures.svg import Drawing

LEFT, HOUR, ROW, TOP = 58.0, 31.0, 30.0, 26.0    # px
HALVES = 48                                    # half hours of a day


class Attempts(Face):
    """The attempts for one message, in hours since it came; `told` says after how many hours its sender heard what."""

    def __init__(self, hours: Sequence[float], told: Mapping[float, str] | None = None) -> None:
        self.hours, self.told = list(hours), dict(told or {})
        last = max([*self.hours, *self.told], default=0.0)
        self.days = int(last // 24) + 1

    @property
    def title(self) -> str:
        """What the picture says, in a sentence."""
        news = "".join(f"; after {hours:g} hours the sender hears: {word}" for hours, word in self.told.items())
        return f"{plural(len(self.hours), 'attempt')} in {plural(self.days, 'day')}{news}"

    def text(self) -> str:
        rows = [self.title, "each place is half an hour; | is an attempt, ! one after which the sender is told"]
        for day in range(self.days):
            places = ["."] * HALVES
            for hours, mark in [*((hours, "|") for hours in self.hours), *((hours, "!") for hours in self.told)]:
                if hours // 24 == day:
                    places[int(hours % 24 * 2)] = mark
            rows.append(f"day {day + 1}  {''.join(places)}")
        return "\n".join(rows)

    def svg(self) -> str:
        pen, width = Drawing(), LEFT + 24 * HOUR + 24
        for hour in range(0, 25, 6):
            pen.text(LEFT + hour * HOUR, 16, f"{hour} h", anchor="middle")
        for day in range(self.days):
            y = TOP + ROW * day
            pen.text(8, y + 17, f"day {day + 1}", bold=True)
            pen.box(LEFT, y + 4, 24 * HOUR, 18, stroke=FAINT)
        for hours in self.hours:
            x, y = self.place(hours)
            pen.line((x, y + 4), (x, y + 22), stroke=CLIENT, line=3)
        for hours, word in self.told.items():
            x, y = self.place(hours)
            pen.line((x, y + 2), (x, y + 24), stroke=SERVER, line=5)
            pen.text(x + 5, y + 17, word, size=10.5, bold=True, color=SERVER)
        return pen.render(width, TOP + ROW * self.days + 6, "When the message was tried", self.title)

    def place(self, hours: float) -> tuple[float, float]:
        """Where an hour is in the picture."""
        return LEFT + hours % 24 * HOUR, TOP + ROW * (hours // 24)

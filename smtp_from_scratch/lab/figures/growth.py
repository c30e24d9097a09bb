"""What an attacker's octets buy: two bars for each attack, on a scale where each step is ten times the last."""
from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log10

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import CLIENT, FAINT, SERVER, shorten
from smtp_from_scratch.lab.figures.svg import Drawing

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 860.0, 230.0, 130.0, 48.0, 52.0, 16.0      # px


class Growth(Face):
    """For each attack, the octets that somebody sent and those that came of them; `factors` is how many for one."""

    def __init__(self, rows: Iterable[tuple[str, int, int]]) -> None:
        self.rows = [(what, int(sent), int(came)) for what, sent, came in rows]
        self.factors = [came / sent if sent else 0.0 for _, sent, came in self.rows]

    @property
    def lines(self) -> list[str]:
        """A line for each attack."""
        return [f"{shorten(what, 32):32} {sent:>10,} {came:>12,}   {factor:,.0f} for 1"
                for (what, sent, came), factor in zip(self.rows, self.factors, strict=True)]

    def text(self) -> str:
        return "\n".join([f"{'':32} {'octets in':>10} {'octets out':>12}", *self.lines])

    def svg(self) -> str:
        pen, height = Drawing(), TOP + ROW * len(self.rows) + 8
        decades = max([ceil(log10(octets)) for row in self.rows for octets in row[1:] if octets > 1], default=1)
        step = (WIDTH - LEFT - RIGHT) / decades
        for power in range(decades + 1):
            pen.line((LEFT + step * power, TOP - 12), (LEFT + step * power, height - 8), stroke=FAINT)
            pen.text(LEFT + step * power, TOP - 20, f"{10 ** power:,}", anchor="middle", size=11)
        for number, (what, sent, came) in enumerate(self.rows):
            y = TOP + ROW * number
            pen.text(LEFT - 12, y + 22, shorten(what, 32), anchor="end")
            for octets, side, color, top in ((sent, "in", CLIENT, y), (came, "out", SERVER, y + BAR + 4)):
                long = step * log10(octets) if octets > 1 else 0.0
                pen.box(LEFT, top, max(long, 2.0), BAR, fill=color, stroke=color, radius=2)
                pen.text(LEFT + max(long, 2.0) + 6, top + 12, f"{octets:,} {side}", size=11)
        return pen.render(WIDTH, height, "What an attacker's octets buy", "; ".join(" ".join(line.split())
                                                                                   for line in self.lines))


def growth(*rows: tuple[str, int, int]) -> Growth:
    """What each attack, octets in and octets out, buys."""
    return Growth(rows)

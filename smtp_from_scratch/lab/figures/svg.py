"""A small pen for SVG: white paper, legible letters, no ids, no outside resources."""
from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import atan2, cos, pi, sin

from smtp_from_scratch.lab.figures.style import FIT, INK, MONO, PAPER, SANS

Point = tuple[float, float]


def num(value: float) -> str:
    """A coordinate, short and the same on every machine."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


class Drawing:
    """Shapes in the order in which they are drawn; `render` makes them a picture."""

    def __init__(self) -> None:
        self.shapes: list[str] = []

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", size: float = 12, mono: bool = False,
             bold: bool = False, color: str = INK) -> None:
        """Text whose baseline begins, ends or has its middle at (x, y)."""
        weight = ' font-weight="bold"' if bold else ""
        self.shapes.append(f'<text x="{num(x)}" y="{num(y)}" text-anchor="{anchor}" font-size="{num(size)}"{weight} '
                           f'font-family="{MONO if mono else SANS}" fill="{color}" xml:space="preserve">'
                           f"{escape(text, quote=False)}</text>")

    def box(self, x: float, y: float, width: float, height: float, *, fill: str = "none", stroke: str = INK,
            line: float = 1, radius: float = 4, dash: str = "") -> None:
        """A rectangle with rounded corners."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.shapes.append(f'<rect x="{num(x)}" y="{num(y)}" width="{num(width)}" height="{num(height)}" '
                           f'rx="{num(radius)}" fill="{fill}" stroke="{stroke}" stroke-width="{num(line)}"{dashed}/>')

    def path(self, d: str, *, stroke: str = INK, line: float = 1.5, dash: str = "", fill: str = "none") -> None:
        """A path, in SVG's own words."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.shapes.append(f'<path d="{d}" fill="{fill}" stroke="{stroke}" stroke-width="{num(line)}"{dashed}/>')

    def line(self, start: Point, end: Point, *, stroke: str = INK, line: float = 1.5, dash: str = "") -> None:
        """A straight line."""
        self.path(f"M{num(start[0])} {num(start[1])}L{num(end[0])} {num(end[1])}", stroke=stroke, line=line, dash=dash)

    def head(self, at: Point, angle: float, color: str, size: float = 8) -> None:
        """An arrow's head, its tip at `at`."""
        corners = [at] + [(at[0] + size * cos(angle + turn), at[1] + size * sin(angle + turn))
                          for turn in (pi - 0.42, pi + 0.42)]
        points = " ".join(f"{num(x)},{num(y)}" for x, y in corners)
        self.shapes.append(f'<polygon points="{points}" fill="{color}"/>')

    def arrow(self, start: Point, end: Point, color: str = INK, *, line: float = 1.8, dash: str = "") -> None:
        """A straight arrow."""
        self.line(start, end, stroke=color, line=line, dash=dash)
        self.head(end, atan2(end[1] - start[1], end[0] - start[0]), color)

    def curve(self, points: Sequence[Point], color: str = INK, *, line: float = 1.5) -> None:
        """An arrow along a cubic curve: start, two handles, end."""
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = points
        self.path(f"M{num(x0)} {num(y0)}C{num(x1)} {num(y1)} {num(x2)} {num(y2)} {num(x3)} {num(y3)}",
                  stroke=color, line=line)
        self.head((x3, y3), atan2(y3 - y2, x3 - x2), color)

    def render(self, width: float, height: float, title: str, description: str = "") -> str:
        """The picture, with a title and a description for those who do not see it."""
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{num(width)}" height="{num(height)}" '
                f'viewBox="0 0 {num(width)} {num(height)}" role="img" aria-label="{escape(title)}"'
                f'{FIT}>'
                f"<title>{escape(title)}</title><desc>{escape(description or title)}</desc>"
                f'<rect width="{num(width)}" height="{num(height)}" rx="10" fill="{PAPER}"/>'
                f"{''.join(self.shapes)}</svg>")

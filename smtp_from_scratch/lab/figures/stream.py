"""Where the reply ends: octets as they were sent, as `recv` cut them, as lines and as replies."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import CLIENT, PAPER, SERVER, TLS, WAITING, plural
from smtp_from_scratch.lab.figures.svg import Drawing
from smtp_from_scratch.lab.figures.widget import Interactive, column, pane

WIDE = 76                                      # octets in a row of text
ROOM, CELL, CONTROL, LEFT = 780.0, 11.4, 19.0, 62.0    # px: a row, an octet in it, a CR or LF, the margin
CONTROLS = {13: "CR", 10: "LF", 9: "HT", 0: "NUL"}
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cutting(Face):
    """Octets and where they were cut; `pieces`, `lines` and `replies` are spans of offsets."""

    data: bytes
    cuts: tuple[int, ...] = ()

    @property
    def pieces(self) -> list[Span]:
        """What each `recv` returned."""
        inside = sorted({cut for cut in self.cuts if 0 < cut < len(self.data)})
        return list(pairwise([0, *inside, len(self.data)]))

    @property
    def lines(self) -> list[Span]:
        """Up to each LF; what lacks its end is no line yet."""
        return list(pairwise([0, *(index + 1 for index, octet in enumerate(self.data) if octet == 10)]))

    @property
    def replies(self) -> list[Span]:
        """Lines up to one without a hyphen behind its code (RFC 5321 §4.2.1); unfinished ones are left out."""
        replies, start = [], 0
        for begin, end in self.lines:
            if self.data[begin + 3 : begin + 4] != b"-":
                replies.append((start, end))
                start = end
        return replies

    @property
    def title(self) -> str:
        count, replies = len(self.pieces), len(self.replies)
        return f"{plural(count, 'recv')} → {replies} repl{'y' if replies == 1 else 'ies'}".replace("recvs", "recv")

    def text(self) -> str:
        rows = [self.title]
        for start, end in rows_of(self.data, WIDE):
            rows += [f"recv     {brackets(self.pieces, start, end)}",
                     f"octets   {visible(self.data[start:end])}",
                     f"lines    {brackets(self.lines, start, end)}",
                     f"replies  {brackets(self.replies, start, end)}"]
        return "\n".join(row.rstrip() for row in rows)

    def svg(self) -> str:
        return draw([self])


class RepliesInStream(Interactive):
    """The octets of replies, cut at `cuts`; the pieces change with the cuts, the replies never do.

    `cuts` are offsets, or several lists of offsets. The static face shows three cuttings: none, these, and one
    through every CR LF.
    """

    def __init__(self, data: bytes, cuts: Sequence[int] | Sequence[Sequence[int]] = ()) -> None:
        self.data = data
        several = [tuple(cut) for cut in cuts if not isinstance(cut, int)]
        own = tuple(cut for cut in cuts if isinstance(cut, int)) or (several[0] if several else ())
        through = tuple(index for index in range(1, len(data)) if data[index - 1 : index + 1] == b"\r\n")
        self.cutting = Cutting(data, own or (len(data) // 3, 2 * len(data) // 3))
        self.cuttings = [Cutting(data, cut) for cut in several] or [Cutting(data), self.cutting, Cutting(data, through)]

    def text(self) -> str:
        return "\n\n".join(map(str, self.cuttings))

    def svg(self) -> str:
        return draw(self.cuttings)

    def build(self) -> Any:
        import ipywidgets

        self._pane = pane()
        self._sliders = [ipywidgets.IntSlider(value=cut, min=0, max=len(self.data), description=f"cut {number}",
                                              layout=ipywidgets.Layout(width="620px"))
                         for number, cut in enumerate(self.cutting.cuts, 1)]
        for slider in self._sliders:
            slider.observe(lambda _: self._show(), "value")
        self._show()
        return column(*self._sliders, self._pane)

    def _show(self) -> None:
        self.cutting = Cutting(self.data, tuple(slider.value for slider in self._sliders))
        self._pane.value = self.cutting.svg()


def rows_of(data: bytes, room: float, wide: float = 1, control: float = 1) -> list[Span]:
    """Where to break octets into rows: where the room ends, or better at the last line end before that."""
    rows, start, used, line_end = list[Span](), 0, 0.0, 0
    for place, octet in enumerate(data):
        used += control if octet < 32 else wide
        if used > room:
            end = line_end if line_end > start else place - (octet == 10 and place - 1 > start)
            rows.append((start, end))
            start = end
            used = sum(control if octet < 32 else wide for octet in data[start : place + 1])
        if octet == 10:
            line_end = place + 1
    return [*rows, (start, len(data))]


def visible(data: bytes) -> str:
    """One character for each octet: controls as their pictures, octets beyond ASCII as ▯."""
    return "".join(chr(0x2400 + octet) if octet < 32 else chr(octet) if octet < 127 else "▯" for octet in data)


def brackets(spans: Iterable[Span], start: int, end: int) -> str:
    """Spans as `[1───][2──]` under the octets from `start` to `end`; what goes on in the next row stays open."""
    row = [" "] * (end - start)
    for number, (begin, stop) in enumerate(spans, 1):
        for place in range(max(begin, start), min(stop, end)):
            row[place - start] = "─"
        if start <= stop - 1 < end:
            row[stop - 1 - start] = "]"
        if start <= begin < end:
            row[begin - start] = "[" if stop - begin > 1 else "|"
        first = max(begin, start) - start + (begin >= start)
        name = str(number)
        if first + len(name) < min(stop, end) - start:
            row[first : first + len(name)] = name
    return "".join(row)


def draw(cuttings: Sequence[Cutting]) -> str:
    """Cuttings below one another, as a picture."""
    pen, y, wide = Drawing(), 14.0, 320.0
    for cutting in cuttings:
        pen.text(12, y + 14, cutting.title, bold=True, size=13)
        y += 22
        for start, end in rows_of(cutting.data, ROOM, CELL, CONTROL):
            grid = Grid(pen, cutting, start, end, y)
            grid.draw()
            wide, y = max(wide, grid.x[end] + 14), y + 98
        y += 8
    words = "\n\n".join(map(str, cuttings))
    return pen.render(wide, y, "Where the reply ends: recv cuts anywhere, replies end where they end", words)


class Grid:
    """One row of octets: pieces above, lines and replies below."""

    def __init__(self, pen: Drawing, cutting: Cutting, start: int, end: int, y: float) -> None:
        self.pen, self.cutting, self.start, self.end, self.y = pen, cutting, start, end, y
        widths = (CONTROL if octet < 32 else CELL for octet in cutting.data[start:end])
        self.x = dict(zip(range(start, end + 1), accumulate(widths, initial=LEFT), strict=True))

    def draw(self) -> None:
        for name, height in (("recv", 18), ("octets", 44), ("lines", 68), ("replies", 88)):
            self.pen.text(12, self.y + height, name, color="#555555")
        for place in range(self.start, self.end):
            self.octet(place, self.cutting.data[place])
        for spans, top, color, up in ((self.cutting.pieces, 22, CLIENT, True), (self.cutting.lines, 56, WAITING, False),
                                      (self.cutting.replies, 76, TLS, False)):
            for number, span in enumerate(spans, 1):
                if span[0] < self.end and span[1] > self.start:
                    self.bracket(span, self.y + top, color, up, number)

    def octet(self, place: int, octet: int) -> None:
        """One cell; CR LF get a box around both."""
        x, wide, y = self.x[place], self.x[place + 1] - self.x[place], self.y
        control = octet < 32
        name = CONTROLS.get(octet, "??") if control else visible(bytes([octet]))
        self.pen.box(x, y + 28, wide, 22, fill="#fff3e8" if control else PAPER, stroke="#d0d0d0", line=0.7, radius=0)
        self.pen.text(x + wide / 2, y + 44, name, anchor="middle", size=12 if control else 13, mono=not control)
        if octet == 10:
            first = self.x.get(place - 1, x) if self.cutting.data[place - 1 : place] == b"\r" else x
            self.pen.box(first, y + 28, x + wide - first, 22, stroke=SERVER, line=1.6, radius=2)

    def bracket(self, span: Span, y: float, color: str, up: bool, number: int) -> None:
        """A bracket over or under octets, with its number; open where the span goes on in another row."""
        begin, stop = max(span[0], self.start), min(span[1], self.end)
        x0, x1 = self.x[begin] + 1.5, self.x[stop] - 1.5
        level, foot = (y - 8, y + 3) if up else (y + 8, y - 3)
        first = f"M{x0:.1f} {foot:g}V{level:g}" if begin == span[0] else f"M{x0:.1f} {level:g}"
        last = f"V{foot:g}" if stop == span[1] else ""
        self.pen.path(f"{first}H{x1:.1f}{last}", stroke=color, line=2)
        if x1 - x0 > 12:
            middle, patch = (x0 + x1) / 2, 6 + 6 * len(str(number))
            self.pen.box(middle - patch / 2, level - 7, patch, 14, fill=PAPER, stroke="none", radius=0)
            self.pen.text(middle, level + 4.5, str(number), anchor="middle", bold=True)

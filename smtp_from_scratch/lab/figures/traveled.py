"""What really traveled: a lane for each machine, a row for each step, as `Journey` draws it for the letter of 00."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.journey import SOFT, letter
from smtp_from_scratch.lab.figures.style import CLASSES, CLIENT, FAINT, INK, PAPER, SIGNS, plural
from smtp_from_scratch.lab.figures.svg import Drawing

WIDTH, LEFT, HEAD, ROW = 860.0, 96.0, 66.0, 44.0            # px
TINTS = ("#eef5fa", "#fcf2ec", "#eef7f2", "#f6f6f6")


@dataclass(frozen=True, slots=True)
class Step:
    """Something went from one machine to another, or would have."""

    start: str
    end: str
    what: str                                  # letter, report
    said: str                                  # a reply; or how it was fetched
    hour: float

    @property
    def kind(self) -> int:
        """The first digit of the reply; 0: it was fetched."""
        return int(self.said[0]) if self.said[:1].isdigit() else 0

    @property
    def sign(self) -> str:
        return SIGNS.get(self.kind, "↓")


class Traveled(Face):
    """The machines of some towns, and the steps between them that `note` was told of."""

    def __init__(self, towns: Mapping[str, Sequence[str]]) -> None:
        self.towns = {town: list(lanes) for town, lanes in towns.items()}
        self.lanes = [lane for lanes in self.towns.values() for lane in lanes]
        self.steps: list[Step] = []
        self.hour = 0.0                        # hours since the story began

    def note(self, start: str, end: str, said: object, what: str = "letter") -> None:
        """A step between two lanes, and the reply to it; of that, code and enhanced code are shown."""
        codes = " ".join(word for word in str(said).split()[:2] if word[:1].isdigit()) or str(said)
        self.steps.append(Step(start, end, what, codes, self.hour))

    def text(self) -> str:
        rows = [(f"{short(step.start)} → {short(step.end)}", f"{step.what}", f"{step.sign} {step.said}", after(step))
                for step in self.steps]
        wide = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = [f"{number:2}. {way:{wide[0]}}  {what:{wide[1]}}  {said:{wide[2]}}  {when}".rstrip()
                 for number, (way, what, said, when) in enumerate(rows, 1)]
        return "\n".join(lines or ["nothing has traveled yet"])

    def svg(self) -> str:
        pen, height = Drawing(), HEAD + ROW * len(self.steps) + 14
        self.stations(pen, height)
        for number, step in enumerate(self.steps):
            draw_step(pen, number, step, self.lane(step.start), self.lane(step.end), HEAD + ROW * number)
        return pen.render(WIDTH, height, f"What traveled, in {plural(len(self.steps), 'step')}", self.text())

    def lane(self, name: str) -> float:
        """Where a machine's lane is."""
        wide = (WIDTH - LEFT) / len(self.lanes)
        return LEFT + wide * (self.lanes.index(name) + 0.5)

    def stations(self, pen: Drawing, height: float) -> None:
        """Towns, and a lane for each machine."""
        half = (WIDTH - LEFT) / len(self.lanes) / 2
        for number, (town, lanes) in enumerate(self.towns.items()):
            first, last = self.lane(lanes[0]) - half + 3, self.lane(lanes[-1]) + half - 3
            pen.box(first, 6, last - first, height - 12, fill=TINTS[number % len(TINTS)], stroke="none", radius=10)
            pen.text((first + last) / 2, 24, town, anchor="middle", color=SOFT)
        for name in self.lanes:
            pen.text(self.lane(name), 48, short(name), anchor="middle", bold=True)
            pen.line((self.lane(name), 56), (self.lane(name), height - 10), stroke="#cfcfcf", line=1)


def draw_step(pen: Drawing, number: int, step: Step, start: float, end: float, top: float) -> None:
    """A row: the letter, where it was and where it is, and what was said about it."""
    y = top + 26
    if number:
        pen.line((9, top + 2), (WIDTH - 9, top + 2), stroke=PAPER, line=2)
    pen.text(14, y + 4, f"{number + 1}", size=14, bold=True, color=INK)
    pen.text(34, y + 4, after(step), color=SOFT)
    arrived, way = step.kind in (0, 2), 1 if end > start else -1
    letter(pen, start, y, gone=arrived)
    caller, called = (end, start) if step.kind == 0 else (start, end)
    toward = 1 if called > caller else -1
    pen.arrow((caller + 19 * toward, y), (called - 19 * toward, y), CLIENT if arrived else SOFT,
              dash="" if arrived else "4 3")
    if arrived:
        letter(pen, end, y)
    else:
        pen.box(end - 15, y - 10.5, 30, 21, fill=PAPER, stroke=FAINT, radius=2.5)
        pen.text(end, y + 5, step.sign, anchor="middle", size=14, bold=True, color=CLASSES[step.kind])
    middle = (start + end) / 2 + 4 * way
    pen.text(middle, y - 6, f"{step.sign} {step.said}", anchor="middle", bold=True)
    pen.text(middle, y + 14, step.what, anchor="middle", color=SOFT)


def after(step: Step) -> str:
    """When it was, where hours pass."""
    return f"{step.hour:g} h" if step.hour else ""


def short(name: str) -> str:
    """A host without the part that all share."""
    return name.removesuffix(".example")

"""Where a message was offered: its recipients, the hosts that were tried for them, and what each said."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import CLASSES, FAINT, INK, SIGNS, WAITING, plural, shorten
from smtp_from_scratch.lab.figures.svg import Drawing

WIDTH, LEFT, ROW, STEM, SAID = 860.0, 16.0, 24.0, 28.0, 300.0    # px
Row = tuple[str, str, int]                     # what is on the left, what on the right, the reply's class; 0: a heading


class Tried(Face):
    """The outcome of a `Relay`: a branch for recipients that travel together, a row for each host."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.rows = list(rows(outcome))

    @property
    def title(self) -> str:
        """What the picture says, in a sentence."""
        counts = [sum(reply.code // 100 == kind for reply in self.outcome.values()) for kind in (2, 4, 5)]
        return (f"{plural(len(self.outcome), 'recipient')}, {plural(len(self.outcome.attempts), 'attempt')}: "
                f"{counts[0]} handed on, {counts[1]} for later, {counts[2]} refused")

    def text(self) -> str:
        width = max((len(left) for left, _, kind in self.rows if kind), default=0)
        lines = [f"  {SIGNS[kind]} {left:{width}}  {right}".rstrip() if kind else left
                 for left, right, kind in self.rows]
        return "\n".join([self.title, "", *lines])

    def svg(self) -> str:
        pen, y, stem = Drawing(), 0.0, 0.0
        for left, right, kind in self.rows:
            y += ROW
            if not kind:
                pen.text(LEFT, y, shorten(left, 110), bold=True, size=13)
                stem = y + 6
                continue
            pen.line((STEM, stem), (STEM, y - 4), stroke=WAITING)
            pen.line((STEM, y - 4), (STEM + 14, y - 4), stroke=WAITING)
            pen.text(STEM + 20, y, SIGNS[kind], bold=True, size=13, color=CLASSES[kind] if kind != 4 else INK)
            pen.text(STEM + 38, y, shorten(left, 32), mono=True)
            pen.text(SAID, y, shorten(right, 88), color=INK)
        pen.line((LEFT, y + 10), (WIDTH - LEFT, y + 10), stroke=FAINT)
        pen.text(LEFT, y + 28, f"{self.title}.   ✓ handed on   ~ later, or the next host   ✗ refused")
        return pen.render(WIDTH, y + 40, "Where the message was offered", self.title)


def rows(outcome: Any) -> Iterator[Row]:
    """The rows of the picture. Hosts that were tried for some of the same recipients belong to one branch."""
    branch, told = list[str](), set[str]()
    for host, said in outcome.attempts:
        if not set(said) <= set(branch):
            branch = list(said)
            yield ", ".join(branch), "", 0
        told |= set(said)
        yield from said_by(host, said)
    for address in [address for address in outcome if address not in told]:
        yield address, "", 0
        yield "no host to ask", str(outcome[address]), outcome[address].code // 100


def said_by(host: str, said: Mapping[str, Any]) -> Iterator[Row]:
    """What a host said: a row for each different reply, with those who got it, if it was not the same for all."""
    groups: dict[str, list[str]] = {}
    for address, reply in said.items():
        groups.setdefault(str(reply), []).append(address)
    for number, (words, addresses) in enumerate(groups.items()):
        names = "" if len(groups) == 1 else " ".join(address.partition("@")[0] for address in addresses) + ": "
        yield "" if number else host, names + words, said[addresses[0]].code // 100

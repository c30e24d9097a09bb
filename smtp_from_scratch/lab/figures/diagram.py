"""The state machine, drawn from the table of verbs."""
from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import CLIENT, PAPER, SERVER, WAITING
from smtp_from_scratch.lab.figures.svg import Drawing

LETTER = 7.6                                   # px: one letter of a label


class StateDiagram(Face):
    """States, and the verbs that lead from one to another. `edges[before, after]` lists verbs."""

    def __init__(self, verbs: Mapping[str, Any]) -> None:
        moves = {name: dict(verb.moves) for name, verb in verbs.items()}
        self.states = states_in_order(moves)
        alive = [state for state in self.states if any(state in move for move in moves.values())]
        self.everywhere = [name for name, move in moves.items() if move and all(move.get(s) == s for s in alive)]
        self.edges: dict[tuple[str, str], list[str]] = {}
        for name, move in moves.items():
            for before, after in move.items():
                if name not in self.everywhere:
                    self.edges.setdefault((before, after), []).append(name)
        last = {after for _, after in self.edges} - set(alive)
        self.ends = {(name, end) for end in last for name, move in moves.items()
                     if all(move.get(state) == end for state in alive)}

    def text(self) -> str:
        wide = max(map(len, self.states), default=0)
        rows = []
        for before in self.states:
            ways = [f"{' '.join(names)} → {after}" if after != before else f"{' '.join(names)} (stays)"
                    for (state, after), names in self.edges.items() if state == before]
            rows.append(f"{before.ljust(wide)}  {'; '.join(ways) or '(the end)'}")
        if self.everywhere:
            rows.append(f"in every state, changing nothing: {' '.join(self.everywhere)}")
        return "\n".join(rows)

    def svg(self) -> str:
        return Sketch(self).svg()


def states_in_order(moves: Mapping[str, Mapping[str, str]]) -> list[str]:
    """All states, each behind the one it was first reached from; those that nothing leaves come last."""
    found = ["start"] if any("start" in move for move in moves.values()) else []
    for seed in [*found, *(state for move in moves.values() for state in move)]:
        queue = [seed]
        while queue:
            state = queue.pop(0)
            if state not in found:
                found.append(state)
            queue += [after for move in moves.values() if (after := move.get(state, state)) not in (*found, *queue)]
    alive = {state for move in moves.values() for state in move}
    return [*(s for s in found if s in alive), *(s for s in found if s not in alive)]


class Sketch:
    """One drawing: forward straight, over several states above, back below, the end along the bottom."""

    def __init__(self, diagram: StateDiagram) -> None:
        self.diagram, self.pen = diagram, Drawing()
        count = len(diagram.states)
        self.gap = max(min(172.0, 760.0 / max(1, count - 1)), room_for_loops(diagram))
        self.width = max(520.0, self.gap * (count - 1) + 140)
        self.x = {state: 70 + index * self.gap for index, state in enumerate(diagram.states)}
        self.half = max(min(42.0, self.gap / 2 - 18), 6 + 4.5 * max(map(len, diagram.states), default=0))
        reach = [list(diagram.states).index(b) - list(diagram.states).index(a) for a, b in diagram.edges]
        self.y = 92.0 + 34 * max([0, *(r - 1 for r in reach)]) * bool(self.skips())
        self.deep = max([0, *(-r for r in reach)])

    def skips(self) -> list[tuple[str, str]]:
        """Edges that jump forward over a state, other than to the end along the bottom."""
        place = list(self.diagram.states).index
        return [edge for edge in self.diagram.edges if place(edge[1]) - place(edge[0]) > 1 and self.names(edge)]

    def names(self, edge: tuple[str, str]) -> list[str]:
        return [name for name in self.diagram.edges[edge] if (name, edge[1]) not in self.diagram.ends]

    def svg(self) -> str:
        place = list(self.diagram.states).index
        for edge in self.diagram.edges:
            if names := self.names(edge):
                self.edge(edge, place(edge[1]) - place(edge[0]), names)
        bottom = self.y + 44 + 44 * self.deep
        for name, end in sorted(self.diagram.ends):
            bottom += 22
            to_the_end(self, name, end, bottom)
        for state, x in self.x.items():
            self.pen.box(x - self.half, self.y - 18, 2 * self.half, 36, fill=PAPER, stroke=SERVER, line=2, radius=12)
            self.pen.text(x, self.y + 5, state, anchor="middle", size=14, bold=True)
        if self.diagram.everywhere:
            bottom += 30
            self.pen.text(self.width / 2, bottom, f"in every state, changing nothing: "
                          f"{' '.join(self.diagram.everywhere)}", anchor="middle")
        return self.pen.render(self.width, bottom + 18, "The states of a session, and the verbs that lead from one "
                               "to another", self.diagram.text())

    def edge(self, edge: tuple[str, str], reach: int, names: list[str]) -> None:
        """One arrow with its verbs."""
        x0, x1, y, half, pen = self.x[edge[0]], self.x[edge[1]], self.y, self.half, self.pen
        if reach == 0:
            pen.curve([(x0 - 16, y - 18), (x0 - 26, y - 54), (x0 + 26, y - 54), (x0 + 16, y - 19)], CLIENT)
            label(pen, (x0, y - 52), names)
        elif reach == 1:
            pen.arrow((x0 + half + 1, y), (x1 - half - 2, y), CLIENT)
            label(pen, ((x0 + x1) / 2, y - 8), names)
        elif reach > 1:
            top = y - 18 - 46 * (reach - 1)
            pen.curve([(x0 + 20, y - 18), (x0 + 30, top), (x1 - 30, top), (x1 - 20, y - 19)], CLIENT)
            label(pen, ((x0 + x1) / 2, y - 18 - 34 * (reach - 1) - 8), names)
        else:
            low = y + 18 + 56 * -reach
            points = [(x0 - 8, y + 18), (x0 - 18, low), (x1 - 8 * reach, low), (x1 - 6 * (reach + 1), y + 19)]
            pen.curve(points, CLIENT)
            label(pen, ((x0 + x1) / 2 - 4, y + 18 + 42 * -reach + 5), names)


def room_for_loops(diagram: StateDiagram) -> float:
    """How far apart states must be, so that the verbs that stay in one are not written over those of the next."""
    wide = [LETTER * len(" ".join(diagram.edges.get((state, state), []))) for state in diagram.states]
    return max((6 + (one + other) / 2 for one, other in pairwise(wide) if one and other), default=0.0)


def to_the_end(sketch: Sketch, name: str, end: str, y: float) -> None:
    """A verb that leads to the end from everywhere: one line along the bottom."""
    pen, x_of = sketch.pen, sketch.x
    for state, x in x_of.items():
        if state != end:
            pen.line((x - sketch.half + 8, sketch.y + 18), (x - sketch.half + 8, y), stroke=WAITING, dash="3 3")
    first = min(x_of.values()) - sketch.half + 8
    pen.line((first, y), (x_of[end], y), stroke=WAITING, dash="3 3")
    pen.arrow((x_of[end], y), (x_of[end], sketch.y + 20), WAITING)
    label(pen, (x_of[end] - sketch.gap / 2, y + 4), [name])


def label(pen: Drawing, at: tuple[float, float], names: list[str]) -> None:
    """Verbs on a patch of paper."""
    text = " ".join(names)
    wide = len(text) * LETTER + 4
    pen.box(at[0] - wide / 2, at[1] - 12, wide, 16, fill="#ffffff", stroke="none")
    pen.text(at[0], at[1], text, anchor="middle", mono=True)


def state_diagram(verbs: Mapping[str, Any]) -> StateDiagram:
    """The diagram of a table of verbs: anything whose values have `moves`."""
    return StateDiagram(verbs)

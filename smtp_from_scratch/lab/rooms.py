"""The package as rooms, floor above floor, drawn from its imports; the room that a chapter builds is lit."""
from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from smtp_from_scratch.conformance import headings
from smtp_from_scratch.lab import record
from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import CLIENT, FAINT, PAPER, SERVER, TLS
from smtp_from_scratch.lab.figures.svg import Drawing

PACKAGE = "smtp_from_scratch"
EXPORTED = "# Exported from notebooks/"            # a module with this is a room; the others are the house's cupboards
PART_III = 21                                      # the number of its first chapter
LAST = "small_internet"                            # the chapter that goes through all rooms
LEGEND = "lit: this chapter · solid blue: what it uses · dashed red: what uses it"
WIDTH, FLOOR, ROOM, GAP, LINE = 860.0, 52.0, 30.0, 10.0, 20.0    # px


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """For each module that a notebook writes those that it imports, at its top or where it needs one.

    The files are read, not run.
    """
    here = Path(__file__).parent.parent
    rooms = {path.stem: [path] for path in sorted(here.glob("*.py")) if EXPORTED in path.read_text(encoding="utf-8")}
    rooms["smtp"] = sorted((here / "smtp").glob("*.py"))       # the front door has several files
    named = {name: {module for path in files for module in modules_in(ast.parse(path.read_text(encoding="utf-8")))}
             for name, files in rooms.items()}
    return {name: frozenset(found & set(rooms) - {name}) for name, found in named.items()}


@cache
def numbers() -> Mapping[str, int]:
    """The number of the chapter that writes a module."""
    here = Path(__file__).parent.parent
    texts = {path.stem: path.read_text(encoding="utf-8") for path in here.glob("*.py")}
    return {name: int(text.partition(EXPORTED)[2][:2]) for name, text in texts.items() if EXPORTED in text}


def seen_from(chapter: str) -> Mapping[str, frozenset[str]]:
    """The rooms on the map of a chapter: those of the first two parts, then all up to its own.

    And what the front door is made of. So a new chapter of the third part changes no map before it. The last chapter
    has all.
    """
    graph, last = imports(), max(PART_III - 1, 99 if chapter == LAST else numbers().get(chapter, 0))
    seen = {name for name in graph if numbers().get(name, 0) <= last or name in graph["smtp"]}
    return {name: graph[name] & seen for name in graph if name in seen}


def modules_in(tree: ast.AST) -> Iterator[str]:
    """The package's modules that a module's imports name; those for a type checker, under an `if`, do not count."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                pass
            case ast.ImportFrom(level=1, module=None, names=names) | ast.ImportFrom(module="smtp_from_scratch",
                                                                                     names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(level=1, module=str(module)):
                yield module.partition(".")[0]
            case ast.ImportFrom(module=str(module)) if module.startswith(f"{PACKAGE}."):
                yield module.split(".")[1]
            case _:
                yield from modules_in(node)


def floors(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Rooms by floor, the ground floor first: each stands above everything that it imports."""
    found: dict[str, int] = {}

    def floor(name: str, above: tuple[str, ...] = ()) -> int:
        if name not in found:
            below = [floor(other, (*above, name)) for other in graph[name] if other not in above]
            found[name] = 1 + max(below, default=-1)
        return found[name]

    for name in graph:
        floor(name)
    return [[name for name in graph if found[name] == level] for level in range(1 + max(found.values(), default=-1))]


class RoomMap(Face):
    """The package's rooms. `lit` is this chapter's, `uses` what it stands on, `used_by` what stands on it."""

    def __init__(self, lit: str = "", graph: Mapping[str, frozenset[str]] | None = None) -> None:
        self.graph = seen_from(lit) if graph is None else graph
        self.lit = lit if lit in self.graph else ""
        self.floors = floors(self.graph)
        self.uses = sorted(self.graph.get(self.lit, ()))
        self.used_by = [name for name, below in self.graph.items() if self.lit in below]
        self.stages = headings.lit(self.lit)    # of a server of one's own

    @property
    def words(self) -> str:
        """What the picture says, in sentences."""
        if not self.lit:
            return f"{len(self.graph)} rooms, each above those that it imports."
        uses = f"{self.lit} uses {', '.join(self.uses)}." if self.uses else f"{self.lit} uses none of the others."
        used = f" It is used by {', '.join(self.used_by)}." if self.used_by else " Nothing uses it yet."
        return f"{uses}{used} {self.stages}".rstrip()

    def text(self) -> str:
        rows = [" · ".join(f"[{name}]" if name == self.lit else name for name in floor)
                for floor in reversed(self.floors)]
        return "\n".join([*rows, "", self.words])

    def svg(self) -> str:
        pen, rooms = Drawing(), FLOOR * len(self.floors)
        legend = [LEGEND, self.stages] if self.stages else [LEGEND if self.lit else ""]
        height = rooms + GAP + LINE * len(legend)
        places = {name: place for level, floor in enumerate(self.floors)
                  for name, place in spread(floor, level, rooms)}
        if self.lit:
            for name in self.uses:
                self.draw_line(pen, places, self.lit, name, CLIENT)
            for name in self.used_by:
                self.draw_line(pen, places, name, self.lit, SERVER)
        for name, (x, y, width) in places.items():
            self.draw_room(pen, name, x, y, width)
        for number, line in enumerate(filter(None, legend), 1):
            pen.text(16, rooms + LINE * number - 2, line)
        title = f"The package, and its room {self.lit}" if self.lit else "The package as rooms"
        return pen.render(WIDTH, height, title, self.words)

    def draw_line(self, pen: Drawing, places: Mapping[str, tuple[float, float, float]], above: str, below: str,
                  color: str) -> None:
        """From the floor of a room to the ceiling of one below."""
        (x0, y0, w0), (x1, y1, w1) = places[above], places[below]
        pen.line((x0 + w0 / 2, y0 + ROOM), (x1 + w1 / 2, y1), stroke=color, dash="4 3" if color == SERVER else "")

    def draw_room(self, pen: Drawing, name: str, x: float, y: float, width: float) -> None:
        """One room: how it is drawn tells what it is to the lit one, its line too and not its color alone."""
        lit = name == self.lit
        if lit:
            pen.box(x - 3, y - 3, width + 6, ROOM + 6, stroke=TLS, line=2)
        stroke = CLIENT if name in self.uses else SERVER if name in self.used_by else FAINT
        pen.box(x, y, width, ROOM, fill=TLS if lit else PAPER, stroke=TLS if lit else stroke, line=2,
                dash="4 3" if name in self.used_by else "")
        pen.text(x + width / 2, y + 20, name, anchor="middle", size=13, mono=True, bold=lit,
                 color=PAPER if lit else "#1a1a1a")


def spread(floor: list[str], level: int, rooms: float) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Rooms of one floor beside one another, in the middle of the picture: x, y and width of each."""
    widths = [8.0 * len(name) + 24 for name in floor]
    room = WIDTH - 2 * GAP - GAP * (len(floor) - 1)
    if sum(widths) > room:
        widths = [width * room / sum(widths) for width in widths]
    x = (WIDTH - sum(widths) - GAP * (len(floor) - 1)) / 2
    for name, width in zip(floor, widths, strict=True):
        yield name, (x, rooms - FLOOR * (level + 1) + (FLOOR - ROOM) / 2, width)
        x += width + GAP


def map(chapter: str) -> RoomMap:
    """The package with this chapter's room lit; predictions and progress of this kernel are this chapter's."""
    record.enter(chapter)
    return RoomMap(chapter)

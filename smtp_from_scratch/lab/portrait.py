"""A class as a picture: its members by kind, its bases, and what other chapters do with it."""
from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from smtp_from_scratch.lab import lineage, record
from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import CLIENT, FAINT, PAPER, SERVER, TLS, shorten
from smtp_from_scratch.lab.figures.svg import Drawing

KINDS = ("of the class", "fields", "properties", "methods", "conversations")   # conversations take turns
BESIDE = "beside a name: other chapters that use it, or do it in their own way"
AROUND = "lit: this class · solid blue: what it is made of · dashed red: what is made of it"
MUTED = "#595959"
WIDTH, WIDEST, EDGE, GAP, LINE, HEAD = 860.0, 450.0, 16.0, 14.0, 17.0, 30.0     # px; of all, of one box
LETTER, NARROW = 7.4, 6.6                                         # px of a letter, monospaced or not, at 12


@dataclass(frozen=True, slots=True)
class Member:
    """One name of a class, what kind of thing it is, and the other chapters that use it or change it."""

    name: str
    kind: str
    owner: str                                 # the class that has it
    chapters: tuple[str, ...] = ()


def members_of(made: type) -> Iterator[tuple[str, str]]:
    """The names that a class itself defines, each with its kind; private ones are left out."""
    kinds = {name: "of the class" if "ClassVar" in str(note) else "fields"
             for name, note in inspect.get_annotations(made).items()}
    kinds |= dict.fromkeys(fields_of(made), "fields")
    for name, thing in vars(made).items():
        if isinstance(thing, property):
            kinds[name] = "properties"
        elif inspect.isfunction(plain := getattr(thing, "__func__", thing)):
            kinds[name] = "conversations" if talks(plain) else "methods"
    for kind in KINDS:
        yield from ((name, kind) for name, its in kinds.items() if its == kind and not name.startswith("_"))


def fields_of(made: type) -> Iterator[str]:
    """The fields that `__init__` sets, where somebody wrote one, in the order of the code."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(vars(made)["__init__"])))
    except (KeyError, OSError, SyntaxError, TypeError):
        return
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else \
            [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in (part for whole in targets for part in ast.walk(whole)):
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                yield target.attr


def talks(function: Any) -> bool:
    """Whether a method is a conversation: it wants things, and takes turns."""
    return inspect.isgeneratorfunction(function) or "Conversation[" in str(function.__annotations__.get("return", ""))


class Anatomy(Face):
    """A class: `members` are those of its bases, too; `heirs` are the classes made of it."""

    def __init__(self, made: type, chapter: str) -> None:
        self.name, self.chapter = made.__name__, chapter
        self.classes = [base.__name__ for base in reversed(made.__mro__) if base is not object]
        users = lineage.users_of(self.classes[0])
        self.members = [Member(name, kind, base.__name__, tuple(c for c in users.get(name, ()) if c != chapter))
                        for base in reversed(made.__mro__) if base is not object for name, kind in members_of(base)]
        mine = {member.name for member in self.members if member.kind != "of the class"}
        self.heirs = [lineage.Heir(heir.name, heir.chapter, tuple(n for n in heir.members if n in mine))
                      for heir in lineage.heirs(self.name)]

    def of(self, owner: str) -> list[Member]:
        """The members that one of the classes defines."""
        return [member for member in self.members if member.owner == owner]

    def text(self) -> str:
        wide = max((len(member.name) for member in self.members), default=0) + 3
        rows = [f"{'':16}{'':{wide}}other chapters that use it, or do it in their own way"]
        for owner in self.classes:
            rows.append(owner if owner == self.classes[0] else f"{owner}: a {self.classes[0]} that has also")
            for kind, group in groupby(self.of(owner), key=lambda member: member.kind):
                rows += [f"  {kind if first else '':14}{member.name:{wide}}{', '.join(member.chapters)}"
                         for member, first in first_of(group)]
        rows += [f"made of {self.name}"] if self.heirs else []
        rows += [f"  {heir.chapter:14}{heir.name}: {', '.join(heir.members)}".removesuffix(": ") for heir in self.heirs]
        return "\n".join(map(str.rstrip, rows))

    def svg(self) -> str:
        columns = len(self.classes) + bool(self.heirs)
        width = min(WIDEST, (WIDTH - 2 * EDGE - GAP * (columns - 1)) / columns)
        pen, bottoms = Drawing(), list[float]()
        for number, owner in enumerate(self.classes):
            bottoms.append(draw_class(pen, EDGE + number * (width + GAP), width, owner, self.of(owner),
                                      TLS if owner == self.name else CLIENT))
        if self.heirs:
            bottoms.append(draw_heirs(pen, EDGE + (columns - 1) * (width + GAP), width, self.heirs))
        legend = [BESIDE, AROUND] if columns > 1 else [BESIDE]
        for number, line in enumerate(legend, 1):
            pen.text(EDGE, max(bottoms) + 6 + LINE * number, line)
        return pen.render(2 * EDGE + columns * (width + GAP) - GAP, max(bottoms) + 16 + LINE * len(legend),
                          f"The class {self.name}", self.text())


def first_of(group: Iterator[Member]) -> Iterator[tuple[Member, bool]]:
    """Each of a group, and whether it is the first."""
    return ((member, number == 0) for number, member in enumerate(group))


def draw_class(pen: Drawing, x: float, width: float, name: str, members: Sequence[Member], color: str) -> float:
    """A class as a box: members by kind, other chapters beside each; returns where it ends."""
    y = EDGE + HEAD + 8
    for kind, group in groupby(members, key=lambda member: member.kind):
        y += LINE
        pen.text(x + 10, y, kind, color=MUTED, bold=True)
        for member in group:
            y += LINE
            pen.text(x + 20, y, member.name, mono=True)
            room = int((width - 40 - LETTER * len(member.name)) / NARROW)
            if words := fit(member.chapters, room):
                pen.text(x + width - 10, y, words, anchor="end", color=MUTED)
        y += 4
    frame(pen, x, y - EDGE + 8, width, name, color)
    return y + 8


def draw_heirs(pen: Drawing, x: float, width: float, heirs: Sequence[lineage.Heir]) -> float:
    """What was made of a class, each with what it does in its own way; returns where it ends."""
    y = EDGE + HEAD + 8
    for heir in heirs:
        y += LINE
        pen.text(x + 10, y, heir.name, mono=True)
        pen.text(x + width - 10, y, heir.chapter, anchor="end", color=MUTED)
        if heir.members:
            y += LINE
            pen.text(x + 20, y, shorten(", ".join(heir.members), int((width - 30) / NARROW)), color=MUTED)
        y += 4
    frame(pen, x, y - EDGE + 8, width, "made of it", SERVER, dash="4 3")
    return y + 8


def frame(pen: Drawing, x: float, height: float, width: float, title: str, color: str, dash: str = "") -> None:
    """The box around a class, and its title; the kind of line says what it is, and not the color alone."""
    lit = color == TLS
    pen.box(x, EDGE, width, height, stroke=color, line=2, dash=dash)
    pen.box(x + 1, EDGE + 1, width - 2, HEAD - 2, fill=TLS if lit else PAPER, stroke=TLS if lit else FAINT)
    pen.text(x + width / 2, EDGE + 20, title, anchor="middle", size=13, mono=not dash, bold=lit,
             color=PAPER if lit else "#1a1a1a")


def fit(words: Sequence[str], room: int) -> str:
    """As many of the words as there is room for, and how many more there are."""
    for count in range(len(words), -1, -1):
        more = [f"+{len(words) - count}"] if count < len(words) else []
        line = ", ".join([*words[:count], *more])
        if len(line) <= room:
            return line
    return ""


def anatomy(made: type) -> Anatomy:
    """What a class of this chapter is made of, and what becomes of it."""
    return Anatomy(made, record.here())

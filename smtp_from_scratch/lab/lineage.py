"""What the chapters do with a class: read from the package's source, which is not run."""
from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

EXPORTED = re.compile(r"^# Exported from notebooks/(\S+?)\.ipynb", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Heir:
    """A class that a chapter made out of another one: what it does in its own way."""

    name: str
    chapter: str
    members: tuple[str, ...]


@cache
def chapters() -> Mapping[str, ast.Module]:
    """The modules that notebooks write, in the order of the notebooks."""
    found = {}
    for path in Path(__file__).parent.parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if notebook := EXPORTED.search(text):
            found[notebook[1]] = (path.stem, ast.parse(text))
    return dict(found[notebook] for notebook in sorted(found))


def heirs(name: str) -> Iterator[Heir]:
    """The classes made out of this one, and out of those, in the order of the chapters."""
    names = {name}
    for chapter, tree in chapters().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and names & {ast.unparse(base) for base in node.bases}:
                names.add(node.name)
                yield Heir(node.name, chapter, tuple(defined_in(node)))


def defined_in(node: ast.ClassDef) -> Iterator[str]:
    """The names that stand in the body of a class, those of private members left out."""
    for part in node.body:
        match part:
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                found = [name]
            case ast.Assign(targets=targets):
                found = [target.id for target in targets if isinstance(target, ast.Name)]
            case _:
                found = []
        yield from (name for name in found if not name.startswith("_"))


def users_of(name: str) -> Mapping[str, list[str]]:
    """For each member of a class the chapters that use it or do it in their own way, in order.

    A chapter uses `state` of Session when a function there takes a Session, or an heir, and says `session.state`;
    so does a method of an heir that says `self.state`.
    """
    family = {name, *(heir.name for heir in heirs(name))}
    found: dict[str, list[str]] = {}
    for chapter, tree in chapters().items():
        used = {member for node in ast.walk(tree) for member in used_in(node, family)}
        used |= {member for heir in heirs(name) if heir.chapter == chapter for member in heir.members}
        for member in used:
            found.setdefault(member, []).append(chapter)
    return found


def used_in(node: ast.AST, family: Container[str]) -> Iterator[str]:
    """What a function says of its parameters that are of this family, or a class of the family of itself."""
    if isinstance(node, ast.FunctionDef):
        names = {argument.arg for argument in node.args.args if argument.annotation
                 and any(isinstance(part, ast.Name) and part.id in family for part in ast.walk(argument.annotation))}
    elif isinstance(node, ast.ClassDef) and node.name in family:
        names = {"self"}
    else:
        return
    yield from (part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)
                and isinstance(part.value, ast.Name) and part.value.id in names)

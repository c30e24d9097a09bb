"""A class as a picture: what is drawn of it, and what the package's source says of the chapters that use it."""
from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.conversation import Conversation
from smtp_from_scratch.ehlo import Extension
from smtp_from_scratch.lab import lineage, record
from smtp_from_scratch.session import Session
from smtp_from_scratch.transaction import Plan

BUILT = [(Session, "session"), (Extension, "ehlo"), (Plan, "transaction")]


@pytest.fixture(autouse=True)
def no_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_chapter", "")


def of_chapter(made: type, chapter: str) -> Any:
    lab.map(chapter)
    return lab.anatomy(made)


def kinds(figure: Any) -> dict[str, str]:
    return {member.name: member.kind for member in figure.members}


def used(figure: Any, name: str) -> tuple[str, ...]:
    [found] = [member.chapters for member in figure.members if member.name == name]
    return tuple(found)


@pytest.mark.parametrize("made, chapter", BUILT)
def test_the_picture_has_what_the_text_has(made: type, chapter: str) -> None:
    figure = of_chapter(made, chapter)
    bundle = figure._repr_mimebundle_()
    root = ElementTree.fromstring(bundle["image/svg+xml"])
    drawn = {"".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")}
    names = {member.name for member in figure.members} | {heir.name for heir in figure.heirs} | set(figure.classes)
    assert names <= drawn
    assert all(name in bundle["text/plain"] for name in names) and max(map(len, str(figure).splitlines())) <= 100
    assert float(root.get("width", "999")) <= 860 and "style=" not in bundle["image/svg+xml"]
    assert all(float(size) >= 12 for size in re.findall(r'font-size="([\d.]+)"', bundle["image/svg+xml"]))
    assert str(figure) == str(of_chapter(made, chapter))


def test_a_session_has_what_its_base_has() -> None:
    figure = of_chapter(Session, "session")
    assert figure.classes == ["SessionState", "Session"]
    assert kinds(figure) | {"service": "of the class", "state": "fields", "reset": "methods", "refuse": "methods",
                            "dispatch": "conversations"} == kinds(figure)
    assert [member.name for member in figure.of("Session")] == ["line", "refuse", "reply", "dispatch"]
    assert used(figure, "refuse") == ("ehlo",) and "status" in used(figure, "reply")
    assert "session" not in {chapter for member in figure.members for chapter in member.chapters}
    assert ("ExtendedSession", "ehlo", ("line", "refuse")) in [(h.name, h.chapter, h.members) for h in figure.heirs]


def test_an_extension_shows_which_chapter_fills_what() -> None:
    figure = of_chapter(Extension, "ehlo")
    assert used(figure, "after_hello") == ("starttls", "auth") and kinds(figure)["after_hello"] == "conversations"
    assert set(kinds(figure)) == {"keyword", "requires", "advertise", "verbs", "parameters", "check", "after_hello",
                                  "plan"}
    heirs = {heir.name: heir.members for heir in figure.heirs}
    assert heirs["Size"] == ("advertise", "parameters", "plan") and heirs["Pipelining"] == ()


def test_a_plan_shows_the_fields_that_its_init_sets() -> None:
    figure = of_chapter(Plan, "transaction")
    assert [name for name, kind in kinds(figure).items() if kind == "fields"] == [
        "client", "message", "receipt", "mail", "recipients", "recipient_count", "waits", "body", "needs",
        "lines"]
    assert kinds(figure)["failed"] == "properties" and kinds(figure)["run"] == "conversations"
    assert used(figure, "body") == ("chunking",) and "dsn" in used(figure, "recipients")
    assert not figure.heirs and "made of" not in str(figure)


def test_a_class_of_the_notebook_is_drawn_as_it_is_now() -> None:
    @dataclass(slots=True)
    class Session:                             # as the chapter defines it, with fewer members
        kept: ClassVar[int] = 0
        state: str = "start"
        _hidden: list[str] = field(default_factory=list)

        def talk(self) -> Conversation[None]:
            yield b""

        @staticmethod
        def plain() -> int:
            return 1

    figure = of_chapter(Session, "session")
    assert kinds(figure) == {"kept": "of the class", "state": "fields", "plain": "methods", "talk": "conversations"}
    assert used(figure, "state")[:1] == ("ehlo",) and used(figure, "talk") == ()


def test_chapters_are_in_the_order_of_their_notebooks() -> None:
    names = list(lineage.chapters())
    assert names[0] == "wire" and names.index("ehlo") < names.index("transaction") < names.index("auth")


def test_what_a_function_uses_is_known_by_the_type_of_its_parameter() -> None:
    source = """
def one(session: Session | None, other): session.state, other.hidden
def two(found: dict[str, Later]): found.items
class Later(Session):
    def own(self): self.own_field
class Stranger:
    def own(self): self.no_field
"""
    found = {name for node in ast.walk(ast.parse(source)) for name in lineage.used_in(node, {"Session", "Later"})}
    assert found == {"state", "items", "own_field"}


def test_a_row_has_as_many_chapters_as_there_is_room_for() -> None:
    from smtp_from_scratch.lab.portrait import fit

    words = ("ehlo", "starttls", "auth")
    assert [fit(words, room) for room in (20, 19, 8, 2, 1)] == ["ehlo, starttls, auth", "ehlo, starttls, +1",
                                                                "ehlo, +2", "+3", ""]


def test_a_class_without_members_or_source_is_drawn_all_the_same() -> None:
    made = type("Bare", (), {"__init__": lambda self: None, "x": 1})
    assert "Bare" in str(lab.anatomy(made)) and "<svg" in lab.anatomy(made).svg()


def test_a_member_is_in_the_row_of_its_kind() -> None:
    row = next(row for row in str(of_chapter(Plan, "transaction")).splitlines() if " failed " in row)
    assert row.split()[:2] == ["properties", "failed"]

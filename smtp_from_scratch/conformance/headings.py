"""What the stages are called, and which chapter each belongs to: `stages.toml`, without the dialogues."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

PACKAGE = Path(str(files("smtp_from_scratch")))


@dataclass(frozen=True, slots=True)
class Heading:
    """What `stages.toml` says of a stage; `chapter` and `also` are names of modules, and of their notebooks."""

    number: int
    name: str
    chapter: str
    also: str
    dialogues: tuple[str, ...]                  # "5321 A letter is taken", or "rfc1870.txt" for the rest of a file


@cache
def headings(end: str) -> tuple[Heading, ...]:
    """The stages for "server" or "client"."""
    text = (PACKAGE / "conformance" / "stages.toml").read_text("utf-8")
    return tuple(Heading(number, stage["name"], stage["chapter"], stage.get("also", ""), tuple(stage["dialogues"]))
                 for number, stage in enumerate(tomllib.loads(text)[end], 1))


def lit(chapter: str) -> str:
    """Which stages for servers a chapter lights, in a sentence; empty when there is none."""
    road = headings("server")
    found = [heading for heading in road if heading.chapter == chapter]
    if not found:
        return ""
    first, last = found[0], found[-1]
    which = (f"stage {first.number} of {len(road)}, {first.name}" if first is last else
             f"stages {first.number} to {last.number} of {len(road)}, from {first.name} to {last.name}")
    return f"Your own server, in any language: this chapter lights {which}."

"""Which checks there are. `checks/` is read and not imported: asking for one check loads no other chapter's."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

_CHECK = re.compile(r"^def (check_\w+)\(\s*\*?(\w+)", re.MULTILINE)
_NUMBERED = re.compile(r"check_(\d\d)_(\w+)")
# What once shared its name with a check of another chapter. (`check_09_groups` is `check_groups` by rule.)
_RENAMED = {
    "00_order": "commands", "01_order": "eight_lines", "03_break": "cutters", "04_bugs": "client_bugs",
    "05_break": "conviction", "05_bugs": "session_bugs", "05_codes": "session_codes", "06_bugs": "server_bugs",
    "07_holders": "owners", "07_order": "steps", "08_bugs": "ehlo_bugs", "08_lines": "mail_lines",
    "12_bugs": "auth_bugs", "14_codes": "utf8_codes",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A check: its name (`check_groups`), its chapter (`pipelining`), and what it examines (`my_groups`)."""

    name: str
    chapter: str
    examines: str


@cache
def every_check() -> dict[str, Entry]:
    """All checks by name, in the order of their files."""
    found: dict[str, Entry] = {}
    for path in sorted(Path(__file__).with_name("checks").glob("[a-z]*.py")):
        for name, examines in _CHECK.findall(path.read_text(encoding="utf-8")):
            if name in found:
                raise ValueError(f"{name} is in {found[name].chapter} and in {path.stem}; give one another name")
            found[name] = Entry(name, path.stem, examines)
    return found


def checks_of(chapter: str) -> list[Entry]:
    """The checks of one chapter."""
    return [entry for entry in every_check().values() if entry.chapter == chapter]


def check_called(name: str) -> Callable[..., Any] | None:
    """The check of this name, or of the name that it once had; None if there is no such check."""
    if numbered := _NUMBERED.fullmatch(name):
        name = "check_" + _RENAMED.get("_".join(numbered.groups()), numbered[2])
    entry = every_check().get(name)
    if entry is None:
        return None
    found: Callable[..., Any] = getattr(import_module(f"{__package__}.checks.{entry.chapter}"), entry.name)
    return found


def check_of(name: str, chapter: str = "") -> Callable[..., Any] | None:
    """The check that examines what the learner calls `name`; of several, that of this chapter. None without one."""
    entries = [entry for entry in every_check().values() if entry.examines == name]
    entries = [entry for entry in entries if entry.chapter == chapter] or entries
    return check_called(entries[0].name) if entries else None

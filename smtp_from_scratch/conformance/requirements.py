"""What the RFCs ask of a client and a server, in our own words, and what proves that ours keep it.

One file an RFC in `requirements/`. A rule has a `proof` (dialogues and tests by name), or a `why` (it does not apply
to us), or neither: then it is open, and `waits` may name what ours does not pass yet. `[counts]` says how many words
of obligation each section of the RFC has (MUST, MUST NOT, SHALL, SHALL NOT, REQUIRED), so that a test can tell that
none was left out.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

MUSTS = ("MUST", "MUST NOT")
LEVELS = (*MUSTS, "SHOULD", "SHOULD NOT")
WHO = ("client", "server", "both", "relay", "gateway", "site")
DIALOGUE = re.compile(r"(server|client) (\d+): (\S.*)")           # server 5321: An empty letter
TEST = re.compile(r"(tests/\w+/\w+\.py)::(\w+(?:::\w+)?)")        # tests/unit/test_session.py::test_syntax
_SECTION = re.compile(r"[1-9A-F]\d*(\.\d+)*")
_WANTED = {"id": str, "section": str, "level": str, "who": str, "says": str}
_ALLOWED = _WANTED | {"proof": list, "waits": list, "why": str, "covers": int}


class BadTable(ValueError):
    """A file of requirements breaks its form; the message names the file and the rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that an RFC asks."""

    id: str                                     # "5321-4.1.1.4-a"
    rfc: str
    section: str
    level: str
    who: str                                    # whom it binds
    says: str                                   # in our own words
    proof: tuple[str, ...] = ()                 # names of dialogues and tests
    waits: tuple[str, ...] = ()                 # names of what will prove it, and does not yet
    why: str = ""                               # why it does not apply to us
    covers: int = 1                             # how many of the section's words of obligation it stands for

    @property
    def status(self) -> str:
        """`proved`, `not ours` or `open`."""
        return "proved" if self.proof else "not ours" if self.why else "open"


@dataclass(frozen=True, slots=True)
class Table:
    """The requirements of one RFC."""

    rfc: str
    title: str
    rules: tuple[Rule, ...]
    counts: dict[str, int] = field(default_factory=dict)

    def missing(self) -> dict[str, int]:
        """Sections whose words of obligation and whose rules differ, and by how many."""
        listed: Counter[str] = Counter()
        for rule in self.rules:
            if rule.level in MUSTS:
                listed[rule.section] += rule.covers
        return {section: difference for section in sorted({*self.counts, *listed})
                if (difference := self.counts.get(section, 0) - listed[section])}


def tables() -> list[Table]:
    """The requirements of every RFC, lowest number first; raises BadTable."""
    folder = Path(str(files("smtp_from_scratch.conformance"))) / "requirements"
    return sorted((load(path) for path in folder.glob("*.toml")), key=lambda table: int(table.rfc))


@cache
def load(path: Path) -> Table:
    """One file of requirements; raises BadTable."""
    try:
        text = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadTable(f"{path.name}: {error}") from None
    return read(text, path.name)


def read(text: dict[str, Any], name: str) -> Table:
    """A table from what its file has; `name` is what errors call it."""
    if unknown := set(text) - {"rfc", "title", "counts", "rule"}:
        raise BadTable(f"{name}: knows rfc, title, [counts] and [[rule]], not {', '.join(sorted(unknown))}")
    rfc, title, counts = text.get("rfc", ""), text.get("title", ""), text.get("counts", {})
    if not (isinstance(rfc, str) and rfc.isdigit() and isinstance(title, str) and title):
        raise BadTable(f"{name}: needs `rfc`, its number as a string, and `title`")
    for section, count in counts.items():
        if not (_SECTION.fullmatch(section) and type(count) is int and count > 0):
            raise BadTable(f"{name}: [counts] has a number above 0 for a section such as \"4.1.1\", "
                           f"not {count!r} for {section!r}")
    rules = tuple(rule(entry, rfc, name) for entry in text.get("rule", []))
    for identity, times in Counter(entry.id for entry in rules).items():
        if times > 1:
            raise BadTable(f"{name}: {identity}: this id is there {times} times")
    return Table(rfc, title, rules, counts)


def rule(entry: dict[str, Any], rfc: str, name: str) -> Rule:
    """One `[[rule]]`; raises BadTable."""
    where = f"{name}: {entry.get('id', 'a rule without an id')}"
    for key in _WANTED:
        if key not in entry:
            raise BadTable(f"{where}: `{key}` is missing")
    for key, value in entry.items():
        if key not in _ALLOWED or type(value) is not _ALLOWED[key]:
            raise BadTable(f"{where}: `{key}` is not known, or of the wrong type")
    made = Rule(**entry | {"rfc": rfc, "proof": tuple(entry.get("proof", ())), "waits": tuple(entry.get("waits", ()))})
    if not _SECTION.fullmatch(made.section):
        raise BadTable(f"{where}: `section` is written like 4.1.1, not {made.section!r}")
    if not re.fullmatch(rf"{rfc}-{re.escape(made.section)}-[a-z]{{1,2}}", made.id):
        raise BadTable(f"{where}: an id is RFC, section and letter, such as {rfc}-{made.section}-a")
    for value, choice in ((made.level, LEVELS), (made.who, WHO)):
        if value not in choice:
            raise BadTable(f"{where}: {value!r} is none of {', '.join(choice)}")
    if not made.says.endswith(".") or made.covers < 0:
        raise BadTable(f"{where}: `says` is a sentence, with its full stop; `covers` is not negative")
    if made.why and (made.proof or made.waits):
        raise BadTable(f"{where}: a rule has a proof, or a reason why it does not apply, not both")
    for text in made.proof + made.waits:
        if not (isinstance(text, str) and (DIALOGUE.fullmatch(text) or TEST.fullmatch(text))):
            raise BadTable(f"{where}: a proof is written `server 5321: A title` or `tests/test_x.py::test_y`, "
                           f"not {text!r}")
    return made


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many rules there are of each status."""

    rfc: str
    listed: int
    proved: int
    not_ours: int
    open: int

    @property
    def share(self) -> float:
        """The share that is proved or not ours, from 0 to 1."""
        return 1.0 - self.open / self.listed if self.listed else 1.0


def coverage(levels: Iterable[str] = LEVELS, all_tables: Iterable[Table] | None = None) -> list[Coverage]:
    """For each RFC how many rules of these levels there are, and how many of them are proved."""
    wanted = set(levels)
    found = []
    for table in tables() if all_tables is None else all_tables:
        counts = Counter(entry.status for entry in table.rules if entry.level in wanted)
        found.append(Coverage(table.rfc, counts.total(), counts["proved"], counts["not ours"], counts["open"]))
    return found


def coverage_table(rfcs: Iterable[str] = ()) -> str:
    """A row an RFC, for `check --list`; only these RFCs, if any are named."""
    wanted = [table for table in tables() if not rfcs or table.rfc in rfcs]
    rows = [("RFC", "rules", "proved", "not ours", "open", "MUST proved or not ours")]
    for all_rules, musts in zip(coverage(LEVELS, wanted), coverage(MUSTS, wanted), strict=True):
        rows.append((all_rules.rfc, str(all_rules.listed), str(all_rules.proved), str(all_rules.not_ours),
                     str(all_rules.open), f"{musts.listed - musts.open} of {musts.listed}"))
    return "\n".join(f"{row[0]:>5} {row[1]:>6} {row[2]:>7} {row[3]:>9} {row[4]:>5}  {row[5]}" for row in rows)

"""Known failures with a reason, in a file: a run in somebody's CI complains of new ones only."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, Outcome

HEAD = """\
# Dialogues that are known to fail: "RFC title" = "why, in your words". Only others count, and those that pass again are
# named. --write-baseline keeps the reasons that stand here.
"""
NO_REASON = "no reason given yet: "


def key(outcome: Outcome) -> str:
    """What a dialogue is called in the file."""
    return f"{outcome.dialogue.rfc} {outcome.dialogue.title}"


def read(path: Path) -> dict[str, str]:
    """The reasons, by dialogue; raises OSError, ValueError."""
    try:
        known = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML: {error}") from None
    for name, reason in known.items():
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"{path}: {name!r} needs a reason in quotes")
    return known


def write(path: Path, outcomes: Collection[Outcome], known: Mapping[str, str]) -> int:
    """Write what failed, with the reasons that are known; returns how many there are. Raises OSError.

    What is known of dialogues that were not played, or were skipped, is kept.
    """
    status = {key(outcome): outcome.status for outcome in outcomes}
    failed = {key(outcome): known.get(key(outcome), NO_REASON + outcome.reason)
              for outcome in outcomes if outcome.status == FAILED}
    kept = {name: reason for name, reason in known.items() if status.get(name) not in (PASSED, FAILED)}
    lines = [f"{quoted(name)} = {quoted(reason)}\n" for name, reason in (failed | kept).items()]
    path.write_text(HEAD + "".join(lines), "utf-8")
    return len(lines)


def quoted(text: str) -> str:
    """A text as a basic string of TOML, which is JSON's but for DEL, and for characters that are two escapes there."""
    text = text.encode("utf-8", "replace").decode()            # a surrogate is no character of TOML
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def healed(outcomes: Iterable[Outcome], known: Mapping[str, str]) -> list[str]:
    """Those in the file that pass."""
    return [key(outcome) for outcome in outcomes if outcome.status == PASSED and key(outcome) in known]

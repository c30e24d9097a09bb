"""Dialogues that have to pass a door first: TLS, or a login, before a server lets anybody send."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from smtp_from_scratch.conformance.notation import Act, Block, Dialogue, Hear, Say, Step

HELLOS = ("EHLO {client}", "HELO {client}")
_MEASURED = re.compile(r"\{(?:body|octets) (\d+)[^}]*\}")
GUARDED = ("MAIL", "VRFY", "EXPN", "AUTH")
FREE = frozenset({"NOOP", "EHLO", "STARTTLS", "QUIT", "AUTH"})   # of what is said in the clear, never to a closed door


def verbs(steps: Iterable[Step]) -> Iterator[str]:
    """Which of MAIL, VRFY, EXPN and AUTH a dialogue says, in their order."""
    for step in steps:
        if isinstance(step, Block):
            yield from verbs(step.steps)
        elif isinstance(step, Say) and (verb := step.text.replace("{cut}", "")[:4].upper()) in GUARDED:
            yield verb


def commands(steps: Iterable[Step]) -> Iterator[str]:
    """The first words of all lines that a dialogue says."""
    for step in steps:
        if isinstance(step, Block):
            yield from commands(step.steps)
        elif isinstance(step, Say):
            yield from (line.split(" ")[0].upper() for line in step.text.replace("{cut}", "").split("\r\n") if line)


def under_tls(steps: Iterable[Step]) -> bool:
    """Whether a dialogue goes under TLS of its own accord."""
    return any(under_tls(step.steps) if isinstance(step, Block) else
               isinstance(step, Act) and step.verb in ("tls", "secure") for step in steps)


def names(steps: Iterable[Step]) -> set[str]:
    """The names in braces that a dialogue says, and `to`, if it says RCPT, `postmaster`, if it names that one too."""
    found: set[str] = set()
    for step in steps:
        if isinstance(step, Block):
            found |= names(step.steps)
        elif isinstance(step, Say):
            found |= {name for name in ("recipient", "domain", "DOMAIN", "refused") if f"{{{name}}}" in step.text}
            found |= {"postmaster"} if "postmaster@{domain}" in step.text else set()
            found |= {"to"} if "RCPT" in step.text.replace("{cut}", "").upper() else set()
    return found


def amount(steps: Iterable[Step]) -> int:
    """Octets of text that a dialogue makes to measure."""
    total = 0
    for step in steps:
        if isinstance(step, Block):
            total += amount(step.steps) * (int(step.argument) if step.verb == "repeat" else 1)
        elif isinstance(step, Say):
            total += sum(map(int, _MEASURED.findall(step.text)))
    return total


def opened(dialogue: Dialogue, login: bool) -> Dialogue | None:
    """The same dialogue after STARTTLS, where it is offered, and a `login`; None where it has no place for that.

    It has one if it begins with a greeting and a usual EHLO or HELO, and says neither STARTTLS nor AUTH later.
    """
    first, *rest = dialogue.steps
    secured = len(rest) > 2 and rest[2] == Act(rest[2].line, "secure")
    plain = rest[3:] if secured else rest[2:]
    if not (isinstance(first, Hear) and len(rest) > 1 and isinstance(rest[0], Say) and rest[0].text in HELLOS
            and isinstance(rest[1], Hear)) or not_plain(plain):
        return None
    line = first.line
    steps: list[Step] = [replace(first, optional=True), Say(line, HELLOS[0]), Hear(line, ("250",), optional=True),
                         Act(line, "secure")]
    if login:
        steps += [Say(line, "AUTH PLAIN {plain}"), Hear(line, ("235",), optional=True)]
    if rest[0].text == HELLOS[1]:
        steps += [rest[0], replace(rest[1], optional=True)]
    return replace(dialogue, steps=(*steps, *plain))


def not_plain(steps: Iterable[Step]) -> bool:
    """Whether steps go under TLS, or log in."""
    return under_tls(steps) or any(not_plain(step.steps) if isinstance(step, Block) else
               isinstance(step, Say) and step.text.replace("{cut}", "")[:4].upper() in ("STAR", "AUTH")
               for step in steps)

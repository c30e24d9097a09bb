"""The notation of dialogues: how a file of them is read, strictly, with line numbers in errors.

GRAMMAR.md beside this file has it on one page, with examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from smtp_from_scratch.conformance.client import words as client_words

LEVELS = ("MUST", "SHOULD", "MAY")
SETUPS = ("tls", "starttls", "user", "refused", "size", "lmtp", "submission", "implicit")
FACTS = ("rfc", "level", "end", "needs", "setup", "asks", "note", "after", "may")
FORMS = ("ehlo", "enhanced", "plain")           # what `form` may ask of every line of a reply
PRELUDE = {                                     # what `after: EHLO MAIL RCPT DATA` stands for
    "EHLO": ("EHLO {client}", "250"), "HELO": ("HELO {client}", "250"), "LHLO": ("LHLO {client}", "250"),
    "MAIL": ("MAIL FROM:<{sender}>", "250"), "RCPT": ("RCPT TO:<{recipient}>", "250"), "DATA": ("DATA", "354"),
    "AUTH": ("AUTH PLAIN {plain}", "235"), "TLS": ("", ""),     # TLS: the act `secure`
}
CHECKS = ("base64", "empty", "cram-md5", "server-first", "same-salt", "fresh", "iterations", "server-final",
          "server-error")                       # of the last 334


MOST_DEEP = 16                                  # blocks in each other


class NotationError(ValueError):
    """A dialogue file breaks the grammar; the message begins with file and line."""


@dataclass(frozen=True, slots=True)
class Say:
    """Octets to send: `text` with its variables still in braces; CR LF follows unless `raw`."""

    line: int
    text: str
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Hear:
    """What must come now: one of `patterns`; for replies, lines that must or must not be in it, and their form."""

    line: int
    patterns: tuple[str, ...]
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    optional: bool = False                      # `C?`, `S?`: whoever says something else is not examined further


@dataclass(frozen=True, slots=True)
class Act:
    """Something that is neither said nor heard: `tls`, `secure`, `check`, `wait`, `hang up`, `body`."""

    line: int
    verb: str
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Steps that are repeated (`repeat N`), or played only after a certain reply (`when 354`)."""

    line: int
    verb: str
    argument: str
    steps: tuple[Step, ...]


Step = Say | Hear | Act | Block


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One rule of an RFC, as the exchange that shows whether it is kept."""

    title: str
    source: str                                 # file:line
    rfc: str                                    # "5321"
    section: str                                # "§4.1.4"
    level: str                                  # MUST, SHOULD, MAY
    end: str                                    # whose conduct is examined: "server" or "client"
    asks: str                                   # the rule in our own words
    steps: tuple[Step, ...]
    needs: tuple[str, ...] = ()                 # extensions that must be offered
    setup: tuple[str, ...] = ()                 # what the other end must be prepared for
    note: str = ""
    facts: dict[str, str] = field(default_factory=dict)


# --- reading ---------------------------------------------------------------------------------------------------------

_FACT = re.compile(r"([a-z]+):\s*(.*)")
_RFC = re.compile(r"(\d+) (§\S.*)")
_ACTS = {"tls": None, "secure": 0, "check": 1, "wait": 1, "hang": 1}      # of a client; a server's: client/words.py
_BLOCKS = ("repeat", "when")
_REPLY_PATTERN = re.compile(r"[2-5]([0-9][0-9]|[0-9]z|yz)( [245x]\.[0-9*]+\.[0-9*]+)?|any|nothing|closed")


def load(path: Path) -> list[Dialogue]:
    """All dialogues of a file; raises NotationError."""
    return list(parse(path.read_text("utf-8"), path.name))


def parse(text: str, name: str = "dialogues") -> Iterator[Dialogue]:
    """The dialogues in a text; `name` is what errors call it."""
    lines = list(enumerate(text.splitlines(), 1))
    starts = [index for index, (_, line) in enumerate(lines) if line.startswith("== ")]
    if not starts:
        raise NotationError(f"{name}:1: no dialogue begins here: expected a line `== title`")
    for number, line in lines[: starts[0]]:
        if line.strip() and not line.startswith("#"):
            raise NotationError(f"{name}:{number}: expected `== title` or a comment, got {line!r}")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield read_dialogue(_Lines(name, lines[start:end]))


class _Lines:
    """The lines of one dialogue that are no comments, and how far they are read."""

    def __init__(self, name: str, lines: list[tuple[int, str]]) -> None:
        self.name = name
        self.kept = [(number, line.rstrip()) for number, line in lines
                     if line.strip() and not line.lstrip().startswith("#")]
        self.at = 0
        self.speaker = "C"                      # whose part the runner plays

    def wrong(self, what: str) -> NotationError:
        """The error for the line at hand."""
        number, _ = self.kept[min(self.at, len(self.kept) - 1)]
        return NotationError(f"{self.name}:{number}: {what}")


def read_dialogue(lines: _Lines) -> Dialogue:
    """One dialogue, from its title to its last step."""
    first, title = lines.kept[0]
    lines.at = 1
    facts = read_facts(lines)
    rfc = _RFC.fullmatch(facts.get("rfc", ""))
    if not rfc:
        raise lines.wrong("the fact `rfc:` must read like `5321 §4.1.4`")
    if facts.get("level") not in LEVELS:
        raise lines.wrong(f"the fact `level:` must be one of {', '.join(LEVELS)}")
    if facts.get("end", "server") not in ("server", "client"):
        raise lines.wrong("the fact `end:` must be server or client")
    if not facts.get("asks"):
        raise lines.wrong("the fact `asks:` must say what the RFC asks, in our own words")
    lines.speaker = "C" if facts.get("end", "server") == "server" else "S"
    setup = tuple(facts.get("setup", "").split())
    for word in setup:
        if word not in (known := SETUPS if lines.speaker == "C" else tuple(client_words.TASKS)):
            raise lines.wrong(f"no such setup: {word!r}; there are {', '.join(known)}")
    if facts.get("may", "refuse") != "refuse" or ("may" in facts and lines.speaker == "C"):
        raise lines.wrong("the fact `may:` says `refuse`, where a client is examined")
    if "TLS" in facts.get("after", "").split() and "tls" not in setup:
        setup += ("tls",)
    steps = read_steps(lines)
    if not steps:
        raise lines.wrong("a dialogue has at least one step")
    steps = prelude(lines, first, facts.get("after", "")) + steps
    return Dialogue(title[3:].strip(), f"{lines.name}:{first}", rfc[1], rfc[2], facts["level"],
                    facts.get("end", "server"), facts["asks"], steps, needs_of(lines, facts),
                    setup, facts.get("note", ""), facts)


def read_facts(lines: _Lines) -> dict[str, str]:
    """The facts, up to the line `--`."""
    facts: dict[str, str] = {}
    key = ""
    while True:
        if lines.at >= len(lines.kept):
            raise lines.wrong("the facts end with a line `--`")
        line = lines.kept[lines.at][1]
        match = _FACT.fullmatch(line)
        if line == "--":
            lines.at += 1
            return facts
        if match and match[1] in FACTS and match[1] not in facts:
            key, facts[match[1]] = match[1], match[2]
        elif line.startswith("  ") and key:
            facts[key] += " " + line.strip()
        else:
            raise lines.wrong(f"expected a fact ({', '.join(FACTS)}, each once) or `--`, got {line!r}")
        lines.at += 1


def needs_of(lines: _Lines, facts: dict[str, str]) -> tuple[str, ...]:
    """The extensions a dialogue needs; one that says EHLO needs a server that knows it."""
    needs = facts.get("needs", "").upper().split()
    lmtp = "lmtp" in facts.get("setup", "").split()      # where EHLO is there to be refused
    if lines.speaker == "C" and not lmtp and "EHLO" not in needs and any("EHLO" in line for _, line in lines.kept[1:]
                                                                        if line.startswith(("C: EHLO", "after:"))):
        needs.insert(0, "EHLO")
    return tuple(needs)


def prelude(lines: _Lines, number: int, after: str) -> tuple[Step, ...]:
    """The steps that `after:` stands for: the greeting, and each verb with its usual reply."""
    if not after:
        return ()
    if lines.speaker == "S":
        return server_prelude(lines, number, after)
    steps: list[Step] = [Hear(number, ("220",), optional=True)]
    for verb in after.split():
        if verb not in PRELUDE or lines.speaker != "C":
            raise lines.wrong(f"`after:` takes {', '.join(PRELUDE)}, where a server is examined; got {verb!r}")
        text, code = PRELUDE[verb]
        codes = ("250", "251") if verb == "RCPT" else (code,)
        steps += [Say(number, text), Hear(number, codes, optional=True)] if text else [Act(number, "secure")]
    return tuple(steps)


def server_prelude(lines: _Lines, number: int, after: str) -> tuple[Step, ...]:
    """The same where the runner plays the server."""
    steps: list[Step] = [Say(number, "220 server.example ESMTP ready")]
    for verb in after.split():
        if verb not in client_words.PRELUDE:
            raise lines.wrong(f"for a client, `after:` takes {', '.join(client_words.PRELUDE)}; got {verb!r}")
        if verb == "TLS":
            steps += [Hear(number, ("STARTTLS",), optional=True), Say(number, "220 go ahead"), Act(number, "tls")]
        if verb in ("EHLO", "TLS"):
            steps.append(Act(number, "hello"))
        else:
            pattern = {"MAIL": "MAIL FROM:<*", "RCPT": "RCPT TO:<*", "DATA": "DATA"}[verb]
            steps += [Hear(number, (pattern,)), Say(number, "354 go on" if verb == "DATA" else "250 fine")]
    return tuple(steps)


def read_steps(lines: _Lines, depth: int = 0) -> tuple[Step, ...]:
    """Steps up to the end, or, within so many blocks, up to the `end` of theirs."""
    steps: list[Step] = []
    while lines.at < len(lines.kept):
        number, line = lines.kept[lines.at]
        line = line.strip()
        word, _, rest = line.partition(" ")
        if line == "end":
            if not depth:
                raise lines.wrong("`end` without `repeat` or `when`")
            lines.at += 1
            return tuple(steps)
        if word in _BLOCKS:
            steps.append(read_block(lines, number, word, rest.strip(), depth + 1))
            continue
        steps.append(read_step(lines, number, line, word, rest.strip()))
        lines.at += 1
    if depth:
        raise lines.wrong("`end` is missing")
    return tuple(steps)


def read_block(lines: _Lines, number: int, word: str, argument: str, depth: int) -> Block:
    """`repeat` or `when`, and the steps within."""
    if word == "repeat" and not (argument.isdigit() and 0 < int(argument) <= 100_000):
        raise lines.wrong("`repeat` takes a number up to 100000")
    if word == "when" and not argument:
        raise lines.wrong("`when` takes the reply codes it waits for, such as `354` or `2yz|354`")
    if depth > MOST_DEEP:
        raise lines.wrong(f"more than {MOST_DEEP} blocks lie in each other")
    lines.at += 1
    return Block(number, word, argument, read_steps(lines, depth))


def read_step(lines: _Lines, number: int, line: str, word: str, rest: str) -> Step:
    """One line: said, heard, or an act."""
    who, mark = line[:1], line[1:3].strip()
    if word == {"C": "S?", "S": "C?"}[lines.speaker]:
        return replace(read_hear(lines, number, rest), optional=True)
    if lines.speaker == "S" and word in client_words.ACTS:
        if problem := client_words.act_problem(word, rest):
            raise lines.wrong(problem)
        return Act(number, word, rest)
    if who in ("C", "S") and mark in (":", "=") and word in (f"{who}:", f"{who}="):
        if who == lines.speaker:
            return read_say(lines, number, rest, raw=mark == "=")
        if mark == "=":
            raise lines.wrong(f"`{who}=` sends octets; this dialogue examines that end, so it is heard: `{who}:`")
        return read_hear(lines, number, rest)
    if word in _ACTS and lines.speaker == "C":
        wanted = _ACTS[word]
        if wanted == 0 and rest or wanted == 1 and not rest:
            raise lines.wrong(f"`{word}` takes {'no' if wanted == 0 else 'an'} argument")
        if word == "tls" and rest not in ("", "or closed"):
            raise lines.wrong("`tls` stands alone, or `tls or closed` lets the server give up the handshake")
        if word == "check" and rest not in CHECKS:
            raise lines.wrong(f"`check` takes one of {', '.join(CHECKS)}, got {rest!r}")
        return Act(number, word, rest)
    raise lines.wrong(f"expected `C:`, `S:`, `C=`, `S=`, {', '.join([*_ACTS, *_BLOCKS])} or `end`, got {line!r}")


def read_say(lines: _Lines, number: int, text: str, raw: bool) -> Say:
    """What the runner says."""
    if raw:
        try:
            text = text.encode("latin-1", "backslashreplace").decode("unicode_escape")
        except UnicodeDecodeError as error:
            raise lines.wrong(f"an escape that Python does not know: {error}") from None
    return Say(number, text, raw)


def read_hear(lines: _Lines, number: int, text: str) -> Hear:
    """What must be heard."""
    if lines.speaker == "S":
        try:
            return Hear(number, *client_words.heard(text))
        except ValueError as error:
            raise lines.wrong(str(error)) from None
    words = re.split(r"\s+(has|lacks|form)\s+", text)
    has, lacks, forms = (tuple(words[i + 1] for i in range(1, len(words), 2) if words[i] == clause)
                         for clause in ("has", "lacks", "form"))
    for form in forms:
        if form not in FORMS:
            raise lines.wrong(f"no such form of a reply: {form!r}; there are {', '.join(FORMS)}")
    patterns = tuple(part.strip() for part in re.split(r"\||\bor\b", words[0]))
    if not all(patterns):
        raise lines.wrong("what is expected is missing")
    for pattern in patterns:
        if not _REPLY_PATTERN.fullmatch(pattern):
            raise lines.wrong(f"expected 250, 5yz, 550 5.7.*, any, nothing or closed, got {pattern!r}")
    return Hear(number, patterns, has, lacks, forms)

"""The notation's other half: dialogues that examine a client, in which the runner plays the server.

GRAMMAR.md beside this file has it on one page, with examples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

TASKS = {                                       # words of `setup:`, and the placeholders that each needs
    "two": ("recipients",), "utf8": ("recipient|recipients",), "newline-recipient": ("recipient|recipients",),
    "newline-sender": ("sender",), "dots": ("file",), "lf": ("file",), "smuggle": ("file",), "8bit": ("file",),
    "utf8-header": ("file",), "binary": ("file",), "long": ("file",), "big": ("file",), "unended": ("file",),
    "user": ("user", "password_file|password"), "long-password": ("password_file|password",), "tls": ("ca_file",),
    "implicit": ("implicit_ca_file",), "twice": ("again",),
    "notify": ("notify",), "ret": ("ret",), "envid": ("envid",), "orcpt": ("orcpt",),
}
FLAGS = ("same", "exact", "strict", "7bit", "8bit", "short", "empty", "sized", "text")     # what a letter can be
CERTIFICATES = ("untrusted", "misnamed", "expired")             # what a client must refuse
PRELUDE = ("EHLO", "TLS", "MAIL", "RCPT", "DATA")               # what `after:` takes
ACTS = ("hello", "tls", "serve", "never", "letter", "exit", "wait", "hang")

Check = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]     # flags, has, lacks


def split_checks(text: str) -> Check:
    """The words before, the texts behind `has`, and those behind `lacks`."""
    words = re.split(r"(?:^|\s+)(has|lacks)\s+", text)
    found: dict[str, list[str]] = {"has": [], "lacks": []}
    for kind, what in zip(words[1::2], words[2::2], strict=True):
        found[kind].append(what)
    return tuple(words[0].split()), tuple(found["has"]), tuple(found["lacks"])


def heard(text: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Patterns, `has` and `lacks` of a `C:` line that is heard; raises ValueError with the reason."""
    words = re.split(r"\s+(has|lacks)\s+", text)
    patterns = tuple(part.strip() for part in words[0].split("|"))
    if not all(patterns):
        raise ValueError("what is expected is missing; an empty line is called `empty`")
    bodies = [pattern for pattern in patterns if pattern.split()[0] == "body"]
    for pattern in bodies:
        known(pattern.split()[1:])
    if bodies and any(pattern not in (*bodies, "closed") for pattern in patterns):
        raise ValueError("a body is heard after a 354, and then nothing else can be meant but `closed`")
    if len(words) > 1 and not bodies:
        raise ValueError("`has` and `lacks` look into a body: `C: body has …`")
    _, has, lacks = split_checks(text)
    return patterns, has, lacks


def known(flags: Iterable[str]) -> None:
    """Raise ValueError for what a letter cannot be."""
    for flag in flags:
        if flag not in FLAGS:
            raise ValueError(f"a body can be {', '.join(FLAGS)}, not {flag!r}")


def act_problem(word: str, rest: str) -> str:
    """What is wrong with an act, or an empty text."""
    if word in ("never", "exit", "wait", "hang", "letter") and not rest:
        return f"`{word}` takes an argument"
    if word == "tls" and rest not in ("", "or closed", *CERTIFICATES):
        return f"`tls` stands alone or takes `or closed`, {', '.join(CERTIFICATES)}; got {rest!r}"
    if word == "exit" and not re.fullmatch(r"failure|\d+(\|\d+)*", rest):
        return f"`exit` takes 0, failure, or statuses such as 1|75; got {rest!r}"
    if word == "wait" and not re.fullmatch(r"\d+(\.\d+)?", rest):
        return f"`wait` takes seconds, got {rest!r}"
    if word == "letter" and rest != "none":
        flags, has, lacks = split_checks(rest)
        try:
            known(flags)
        except ValueError as error:
            return str(error)
    return ""


# --- patterns --------------------------------------------------------------------------------------------------------


def matcher(pattern: str, expand: Callable[[str], bytes]) -> re.Pattern[str]:
    """A regular expression for a pattern; letters in either case, except in what braces stand for.

    `*` is anything, `?` one character, `#` a number.
    """
    parts = []
    for piece in re.split(r"(\{[^{}]*\}|[*?#])", pattern):
        if piece == "*":
            parts.append(".*")
        elif piece == "?":
            parts.append(".")
        elif piece == "#":
            parts.append("[0-9]+")
        elif piece.startswith("{"):
            parts.append(re.escape(expand(piece).decode("utf-8", "backslashreplace")))
        elif piece:
            parts.append(f"(?i:{re.escape(piece)})")
    return re.compile("".join(parts), re.DOTALL)


def fits(pattern: str, line: str, expand: Callable[[str], bytes]) -> bool:
    """Whether a line is what a pattern asks for; ` +WORD` at its end: a parameter, in any place, like this."""
    head, *wanted = pattern.split(" +")
    if not wanted:
        return bool(matcher(head, expand).fullmatch(line))
    match = re.match(f"{matcher(head, expand).pattern}(?= |$)", line, re.DOTALL)
    words = line[match.end() :].split(" ") if match else []
    return all(any(matcher(word, expand).fullmatch(got) for got in words) for word in wanted)

"""What a dialogue asks a client to do: a letter, its envelope, who to be; and how a command line is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smtp_from_scratch.conformance.client.words import TASKS
from smtp_from_scratch.conformance.notation import Dialogue

SENDER, RECIPIENT, SECOND = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"
USER, PASSWORD = "ana", "tanstaaf tanstaaf"
HEADER = (f"From: Ana <{SENDER}>\r\nTo: Yui <{RECIPIENT}>\r\nSubject: Choir\r\n"
          "Date: Tue, 24 Nov 2026 20:00:00 +0000\r\nMessage-ID: <1@rio.example>\r\n")
MIME = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {}\r\n"
SECOND_LETTER = f"MAIL FROM:<mallory@evil.example>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"

FALSE_ENDS = ("\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r")


def letter(text: str | bytes, header: str = "") -> bytes:
    """A letter of this text, with a few more lines in its header."""
    return (HEADER + header + "\r\n").encode() + (text.encode() if isinstance(text, str) else text)


PLAIN = letter("Monday, 8 pm.\r\n")
LETTERS = {
    "dots": letter(".\r\n..\r\n.hidden\r\n...three\r\nin . the middle.\r\n.\r\n.\r\nlast\r\n"),
    "lf": PLAIN.replace(b"\r\n", b"\n"),
    "smuggle": letter("".join(f"text{end}{SECOND_LETTER}" for end in FALSE_ENDS) + "\r\n"),
    "8bit": letter("Grüße aus Rio, 20 °C\r\n", MIME.format("8bit")),
    "utf8-header": letter("Hello\r\n", "Comments: from ανα@ρίο.example\r\n"),
    "binary": letter(bytes(range(256)) + b"\r\n.\r\nends without a line end\0",
                     "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
                     "Content-Transfer-Encoding: binary\r\n"),
    "long": letter("x" * 3000 + "\r\n"),
    "big": letter("".join(f"line {number:6} of a letter that is not small\r\n" for number in range(30_000))),
    "unended": letter("the last line has no end"),
}


@dataclass(frozen=True, slots=True)
class Task:
    """What the client is to send, to whom and as whom; `active` names the placeholders that matter for it."""

    sender: str = SENDER
    recipients: tuple[str, ...] = (RECIPIENT,)
    letter: bytes = PLAIN
    user: str = ""
    password: str = ""
    tls: bool = False                           # TLS is required, and the certificate verified
    implicit: bool = False                      # so it is, and begins at once
    twice: bool = False                         # the same letter is sent two times
    ca_file: str = ""
    notify: str = ""                            # RFC 3461: NOTIFY=, RET=, ENVID=, ORCPT=
    ret: str = ""
    envid: str = ""
    orcpt: str = ""


CHANGES: dict[str, dict[str, Any]] = {word: {"letter": whole} for word, whole in LETTERS.items()} | {
    "two": {"recipients": (RECIPIENT, SECOND)},
    "utf8": {"recipients": ("γιούι@tokyo.example",)},
    "newline-recipient": {"recipients": (f"{RECIPIENT}>\r\nRCPT TO:<mallory@evil.example",)},
    "newline-sender": {"sender": f"{SENDER}>\r\nRCPT TO:<mallory@evil.example>\r\nNOOP <"},
    "user": {"user": USER, "password": PASSWORD},
    "long-password": {"password": "correct horse battery staple " * 20},
    "tls": {"tls": True},
    "implicit": {"tls": True, "implicit": True},
    "twice": {"twice": True},
    "notify": {"notify": "SUCCESS,DELAY"},
    "ret": {"ret": "HDRS"},
    "envid": {"envid": "QQ+1=314"},
    "orcpt": {"orcpt": "rfc822;Yui+choir@tokyo.example"},
}


def task_of(dialogue: Dialogue) -> Task:
    """The task that the words of `setup:` make."""
    return replace(Task(), **{key: value for word in dialogue.setup for key, value in CHANGES[word].items()})


# --- command lines ---------------------------------------------------------------------------------------------------

PLACEHOLDERS = ("host", "port", "sender", "recipient", "recipients", "recipients,", "file", "user", "password",
                "password_file", "ca_file", "implicit_ca_file", "again", "notify", "ret", "envid", "orcpt")
_PLACEHOLDER = re.compile(r"\{([a-z_,]+)\}")


class BadCommand(ValueError):
    """A command line that cannot be used; the message says why."""


def placeholders(words: Iterable[str]) -> list[str]:
    """The placeholders in some words."""
    return [name for word in words for name in _PLACEHOLDER.findall(word)]


def check_command(words: Sequence[str]) -> None:
    """Raise BadCommand for a command that no client can be made of."""
    if not words:
        raise BadCommand("the command is missing: check-client [options] -- COMMAND…")
    if "port" not in placeholders(words):
        raise BadCommand("the command must have {port} where the server's port belongs (and {host}, unless it knows)")
    for name in placeholders(words):
        if name not in PLACEHOLDERS:
            raise BadCommand(f"no such placeholder: {{{name}}}; there are {{{'}, {'.join(PLACEHOLDERS)}}}")
    list(groups(words))


def groups(words: Sequence[str]) -> Iterator[tuple[bool, list[str]]]:
    """Runs of words; True for what stands between the words `[` and `]`, and is left out when it does not apply."""
    run: list[str] = []
    inside = False
    for word in words:
        if word in ("[", "]"):
            if inside != (word == "]"):
                raise BadCommand("`[` and `]`, words of their own, stand in pairs and not within one another")
            yield inside, run
            inside, run = not inside, []
        else:
            run.append(word)
    if inside:
        raise BadCommand("`]` is missing")
    yield False, run


def lacking(dialogue: Dialogue, words: Sequence[str], stdin: bool) -> str:
    """Why a command cannot be told what the dialogue asks of it, or an empty text."""
    there = {name.rstrip(",") for name in placeholders(words)} | ({"file"} if stdin else set())
    for word in dialogue.setup:
        for need in TASKS[word]:
            if not there.intersection(need.split("|")):
                return f"cannot be told {' or '.join(f'{{{name}}}' for name in need.split('|'))}"
    return ""


def fill(words: Sequence[str], task: Task, host: str, port: int, folder: Path) -> list[str]:
    """The command line for a task; files that it names are written into `folder`."""
    (folder / "letter.eml").write_bytes(task.letter)
    (folder / "password").write_text(f"{task.password or PASSWORD}\n", encoding="utf-8")
    values = {"host": host, "port": str(port), "sender": task.sender, "recipient": task.recipients[0],
              "recipients,": ",".join(task.recipients), "file": str(folder / "letter.eml"),
              "user": task.user or USER, "password": task.password or PASSWORD,
              "password_file": str(folder / "password"), "ca_file": "" if task.implicit else task.ca_file,
              "implicit_ca_file": task.ca_file if task.implicit else "",
              "again": str(folder / "letter.eml") if task.twice else "", "notify": task.notify,
              "ret": task.ret, "envid": task.envid, "orcpt": task.orcpt}
    active = {"user": task.user, "password": task.user, "password_file": task.user} | {
        name: values[name] for name in ("ca_file", "implicit_ca_file", "again", "notify", "ret", "envid", "orcpt")}
    filled: list[str] = []
    for optional, run in groups(words):
        if optional and not all(active.get(name, "always") for name in placeholders(run)):
            continue
        filled += [_PLACEHOLDER.sub(lambda match: values[match[1]], word) for word in spread(run, task.recipients)]
    return filled


def spread(words: Sequence[str], recipients: Sequence[str]) -> Iterator[str]:
    """A word `{recipients}` once for each recipient, with the option before it; `--to={recipients}` likewise."""
    for at, word in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else ""
        if word.startswith("-") and word.strip("-") and following == "{recipients}":
            continue                            # said together with what follows
        option = words[at - 1] if at and word == "{recipients}" and words[at - 1].strip("-") else ""
        for recipient in recipients if "{recipients}" in word else ("",):
            if option.startswith("-"):
                yield option
            yield word.replace("{recipients}", recipient)

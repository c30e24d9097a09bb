"""Follow a session from outside: which state the server is in after each thing said, and what that thing is for."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smtp_from_scratch.transcript import Line, lines_of

# Where a positive reply leads, whatever the state before (RFC 5321 §4.1.4).
LEADS_TO = {"HELO": "ready", "EHLO": "ready", "LHLO": "ready", "MAIL": "mail", "RCPT": "rcpt", "RSET": "ready",
            "QUIT": "closed", "STARTTLS": "start", "(letter)": "ready"}
MEANS = {
    "220": "The server answers the call and gives its name.",
    "HELO": "The client says who it is.",
    "EHLO": "The client says who it is, and asks what the server can do.",
    "MAIL": "A transaction begins. This is the address for a bounce.",
    "RCPT": "One recipient; a line for each.",
    "DATA": "May I send the letter?",
    "(letter)": "Header, empty line, text; a line with a dot alone ends it.",
    "RSET": "Forget the transaction.",
    "NOOP": "Are you still there?",
    "QUIT": "Goodbye.",
    "354": "Go on: what follows is the letter.",
    "334": "Go on with the login.",
    "250(letter)": "250 to a letter is a promise: from here on the server is responsible for it.",
    "2": "Done.", "3": "Go on.", "4": "Not now; later, perhaps.", "5": "No, and asking again will not help.",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing said: its lines, the server's state after it, who speaks next, and what it means."""

    role: str
    lines: tuple[Line, ...]
    state: str
    next: str
    means: str


def steps_of(source: Any) -> list[Step]:
    """A session step by step; a reply, a command and a whole letter are one step each."""
    groups = grouped(lines_of(source))
    state, waiting, steps = "start", list[str](), list[Step]()
    for number, group in enumerate(groups):
        if group[0].role == "C":
            name = name_of(group)
            waiting.append(name)
            means = MEANS.get(name, "")
        else:
            state, means = hear_reply(group[-1].text, state, waiting)
        following = groups[number + 1][0].role if number + 1 < len(groups) else ""
        steps.append(Step(group[0].role, tuple(group), state, following, means))
    return steps


def grouped(lines: list[Line]) -> list[list[Line]]:
    """Lines that belong together: those of a reply, those of a letter."""
    groups: list[list[Line]] = []
    going_on = ""                              # who has not finished yet
    for line in lines:
        if going_on == line.role:
            groups[-1].append(line)
        else:
            groups.append([line])
        goes_on = line.text[3:4] == "-" if line.role == "S" else line.kind == "body"
        going_on = line.role if goes_on else ""
    return groups


def name_of(group: list[Line]) -> str:
    """A command's verb, `(letter)` or `(login)`."""
    kind = group[0].kind
    if kind in ("body", "dot"):
        return "(letter)"
    return "(login)" if kind == "secret" else group[0].text.split(" ")[0].upper()


def hear_reply(text: str, state: str, waiting: list[str]) -> tuple[str, str]:
    """The state after a reply to the oldest command that waits for one, and what the reply means."""
    code = text[:3]
    name = waiting.pop(0) if waiting else ""
    means = MEANS.get(code + name, MEANS.get(code, MEANS.get(code[:1], ""))) if name or code != "220" else MEANS["220"]
    if code == "421":
        return "closed", "The server ends the session."
    if not name:
        return "start", means
    if code == "220":
        means = MEANS["2"]
    if code == "354":
        return "body", means
    if name == "(letter)":
        return "ready", means
    return (LEADS_TO.get(name, state) if code[:1] == "2" else state), means

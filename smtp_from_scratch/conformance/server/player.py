"""Plays a dialogue against one end of SMTP: over a socket, or in rehearsal. It is a conversation like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from smtp_from_scratch.conformance.notation import Act, Block, Dialogue, Hear, Say, Step
from smtp_from_scratch.conformance.scram import BadChallenge
from smtp_from_scratch.conformance.values import Values, check_challenge
from smtp_from_scratch.conversation import FLUSH, Conversation, Disconnected, Line, Timeout, read_reply
from smtp_from_scratch.starttls import TLSLayer, Upgrade, unverified
from smtp_from_scratch.wire import Reply, WireError

LATE = "nothing within"


class Difference(Exception):
    """Something other than what the dialogue has came; `line` is the line of its file."""

    def __init__(self, line: int, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.line, self.expected, self.got = line, expected, got

    @property
    def surprise(self) -> str:
        """The code that came, where no such code was expected at all; empty where the code is not what differs."""
        code, patterns = self.got[:3], self.expected.split(" or ")
        foreseen = any(pattern.startswith("any") or code_matches(code, pattern[:3]) for pattern in patterns)
        return code if code.isdigit() and not foreseen else ""

    @property
    def wants_success(self) -> bool:
        """Whether a 2yz or 3yz was expected, perhaps among others."""
        return any(pattern[:1] in ("2", "3") for pattern in self.expected.split(" or "))


class NotReached(Difference):
    """What a dialogue builds on does not hold; `reason` completes "the server …"."""

    def __init__(self, difference: Difference, said: str) -> None:
        super().__init__(difference.line, difference.expected, difference.got)
        word = difference.got.split(" ")[0].split("-")[0]
        how = f"answers {said} with {word}" if word.isdigit() else f"does not answer {said} as usual ({difference.got})"
        self.reason = f"{how}, and this builds on another answer"


class Over(Exception):
    """The dialogue has come to a permitted end before its last line."""


@dataclass(slots=True)
class ClientPart:
    """Plays the client's part at a server; `moment` (s) is how long silence must last to be believed."""

    dialogue: Dialogue
    values: Values
    moment: float = 0.3
    patience: float = 10.0
    context: Any = None                         # an ssl.SSLContext for `tls`
    last: str = ""                              # the code of the last reply
    said: str = "a call"                        # the verb of the last command
    sent: bool = False                          # a message was, by DATA or BDAT
    heard: list[Reply] = field(default_factory=list)
    at_handshake: bool = False                  # STARTTLS was said: what comes now may be TLS, an alert for instance

    def conversation(self) -> Conversation[None]:
        """The whole dialogue; raises Difference."""
        try:
            yield from self.play(self.dialogue.steps)
        except Over:
            return
        except Disconnected:
            raise Difference(0, "an open connection", "closed") from None

    def play(self, steps: Iterable[Step]) -> Conversation[None]:
        """Some steps, one after another."""
        for step in steps:
            if isinstance(step, Say):
                yield from self.say(step)
            elif isinstance(step, Hear):
                yield from (hear_before(self, step) if step.optional else hear(self, step))
            elif isinstance(step, Block):
                yield from self.block(step)
            elif step.verb in ACTS:
                yield from ACTS[step.verb](self, step)
            else:
                raise Difference(step.line, "a step of a client", f"`{step.verb}`, which only a server does")

    def say(self, step: Say) -> Conversation[None]:
        """A line, in as many segments as it is cut into."""
        try:
            first, *others = self.values.expand(step.text, step.raw)
        except BadChallenge as error:
            raise Difference(step.line, "a challenge that can be answered", str(error)) from None
        note(self, step.text.replace("{cut}", ""))
        yield first
        for segment in others:
            yield FLUSH
            yield segment
        if not step.raw:
            yield b"\r\n"

    def block(self, step: Block) -> Conversation[None]:
        """`repeat N`, with `{n}` counting from 1; `when CODE`, played if the last reply was of that kind."""
        if step.verb == "repeat":
            for number in range(1, int(step.argument) + 1):
                self.values.numbers["n"] = number
                yield from self.play(step.steps)
        elif any(code_matches(self.last, pattern.strip()) for pattern in step.argument.split("|")):
            yield from self.play(step.steps)


def note(part: ClientPart, text: str) -> None:
    """Remember what a command is about to make of the session."""
    part.said = text.split(" ")[0].split(":")[0][:20] or "an empty line"
    part.sent |= "BDAT" in text.upper()
    part.at_handshake |= text.upper().startswith("STARTTLS")


def hear_before(part: ClientPart, step: Hear) -> Conversation[None]:
    """`S?`: a reply on which the dialogue builds; raises NotReached for another."""
    try:
        yield from hear(part, step)
    except Difference as difference:
        raise NotReached(difference, part.said) from None


def hear(part: ClientPart, step: Hear) -> Conversation[None]:
    """A reply, silence, or the end of the connection, as the line demands."""
    expected = " or ".join(step.patterns)
    silence = "nothing" in step.patterns
    try:
        reply = yield from read_reply(part.moment if silence else part.patience)
    except Timeout:
        if silence:
            return
        raise Difference(step.line, expected, f"{LATE} {part.patience:g} s") from None
    except Disconnected:
        if "closed" in step.patterns:
            raise Over from None
        raise Difference(step.line, expected, "the end of the connection") from None
    except WireError as error:
        if part.at_handshake and "closed" in step.patterns:
            raise Over from None
        raise Difference(step.line, expected, f"what is no reply ({error})") from None
    part.last = str(reply.code)
    part.sent |= reply.code == 354
    part.heard.append(reply)
    if reply.code == 334:
        part.values.before, part.values.challenge = part.values.challenge, reply.text
    compare(reply, step)


def compare(reply: Reply, step: Hear) -> None:
    """Raise Difference for a reply that is not what the line demands."""
    expected = " or ".join(step.patterns)
    if not any(matches(reply, pattern) for pattern in step.patterns):
        raise Difference(step.line, expected, str(reply))
    for word in step.has:
        if not has_line(reply, word):
            raise Difference(step.line, f"{expected} with a line {word}", str(reply))
    for word in step.lacks:
        if has_line(reply, word):
            raise Difference(step.line, f"{expected} without a line {word}", str(reply))
    for form in step.forms:
        if what := misformed(reply, form):
            raise Difference(step.line, f"{expected}, {what}", str(reply))


# --- what is neither said nor heard ----------------------------------------------------------------------------------


def handshake(part: ClientPart, step: Act) -> Conversation[None]:
    """`tls`: the client's end of a handshake."""
    try:
        part.at_handshake = False
        yield Upgrade(TLSLayer(part.context or unverified(), part.values.names.get("server")), part.patience)
    except (OSError, Timeout, Disconnected) as error:
        if step.argument:                       # "or closed"
            raise Over from None
        raise Difference(step.line, "a TLS handshake", f"{type(error).__name__}: {error}") from None


def secure(part: ClientPart, step: Act) -> Conversation[None]:
    """`secure`: STARTTLS, the handshake and EHLO, where the last EHLO was offered it; raises NotReached."""
    if part.heard and has_line(part.heard[-1], "STARTTLS"):
        try:
            yield from part.play((Say(step.line, "STARTTLS"), Hear(step.line, ("220",)), Act(step.line, "tls"),
                                  Say(step.line, "EHLO {client}"), Hear(step.line, ("250",))))
        except Difference as difference:
            raise NotReached(difference, part.said) from None


def look_at_challenge(part: ClientPart, step: Act) -> Conversation[None]:
    """`check`: the last challenge is as it should be."""
    yield from ()
    try:
        check_challenge(part.values, step.argument)
    except BadChallenge as error:
        raise Difference(step.line, f"a challenge that passes `check {step.argument}`", str(error)) from None


def wait(part: ClientPart, step: Act) -> Conversation[None]:
    """`wait`: time in which nothing is said."""
    try:
        line = yield Line(8192, float(step.argument))
    except Timeout:
        return
    raise Difference(step.line, "silence", line.decode("utf-8", "backslashreplace").rstrip("\r\n"))


def hang_up(part: ClientPart, step: Act) -> Conversation[None]:
    """`hang up`: the client is gone."""
    yield from ()
    raise Over


ACTS: dict[str, Callable[[ClientPart, Act], Conversation[None]]] = {
    "tls": handshake, "secure": secure, "check": look_at_challenge, "wait": wait, "hang": hang_up,
}


# --- replies ---------------------------------------------------------------------------------------------------------


def code_matches(code: str, pattern: str) -> bool:
    """Whether a code is what a pattern such as 250, 25z or 5yz asks for."""
    return len(code) == 3 and all(p in (c, "y", "z") for c, p in zip(code, pattern, strict=False))


def matches(reply: Reply, pattern: str) -> bool:
    """Whether a reply is what a pattern asks for: `250`, `5yz`, `550 5.7.*`, `any`."""
    code, _, enhanced = pattern.partition(" ")
    if pattern == "any":
        return True
    if pattern in ("nothing", "closed") or not code_matches(str(reply.code), code):
        return False
    return not enhanced or all(fnmatchcase(line.split(" ")[0], enhanced.replace("x", "?")) for line in reply.lines)


def has_line(reply: Reply, word: str) -> bool:
    """Whether a line of the reply is the word, begins with it, or matches it as a pattern."""
    lines = [line.upper() for line in reply.lines]
    word = word.upper()
    return any(line == word or line.startswith(word + " ") or fnmatchcase(line, word) for line in lines)


_EHLO_LINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*( [!-~]+)*")
_EHLO_FIRST = re.compile(r"(\[[!-Z^-~]+\]|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*)( .*)?")
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?= |$)")


def misformed(reply: Reply, form: str) -> str:
    """What the form asks and the reply is not, or an empty text.

    ehlo: a domain, then a keyword with its parameters in each line (RFC 5321 §4.1.1.1). enhanced: in each line of a
    2yz, 4yz or 5yz the same code of RFC 3463, of the reply's class (RFC 2034 §4). plain: no such code in any line.
    """
    codes = [match and match[1] for match in map(_ENHANCED.match, reply.lines)]
    first, *others = reply.lines
    if form == "ehlo" and not (_EHLO_FIRST.fullmatch(first) and all(map(_EHLO_LINE.fullmatch, others))):
        return "a domain, then a keyword with its parameters in each line"
    if form == "plain" and any(codes):
        return "without an enhanced status code"
    if form == "enhanced" and not 300 <= reply.code < 400 and (
            not codes[0] or len(set(codes)) > 1 or codes[0][0] != str(reply.code)[0]):
        return f"with the same enhanced status code {str(reply.code)[0]}.x.x in every line"
    return ""

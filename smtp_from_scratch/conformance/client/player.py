"""Plays the server's part of a dialogue at a client. It is a conversation like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from smtp_from_scratch.chunking import Octets
from smtp_from_scratch.conformance.client.letters import problem
from smtp_from_scratch.conformance.client.talk import Silence, Talk, matches
from smtp_from_scratch.conformance.client.tasks import Task
from smtp_from_scratch.conformance.client.values import ServerValues
from smtp_from_scratch.conformance.client.words import split_checks
from smtp_from_scratch.conformance.notation import Act, Block, Dialogue, Hear, Say, Step
from smtp_from_scratch.conformance.server.player import Difference, Over
from smtp_from_scratch.conversation import FLUSH, Conversation, Disconnected, Timeout
from smtp_from_scratch.starttls import TLSLayer, Upgrade

PATIENTLY = ("RSET", "NOOP")                    # may be said whenever; answered 250 where nothing else is planned


class NotExercised(Exception):
    """The client does not use what the dialogue examines; the message completes "the client …"."""


class ServerPart:
    """Plays the server; `patience` (s) is how long it waits for the client to say something.

    `contexts` makes an ssl.SSLContext for "", "untrusted", "misnamed", "expired".
    """

    def __init__(self, dialogue: Dialogue, task: Task, contexts: Callable[[str], Any], patience: float = 10.0) -> None:
        self.dialogue, self.task, self.contexts = dialogue, task, contexts
        self.talk = Talk(values_for(task), patience)
        self.refused = False                    # the client declined the task, where it may
        self.last = ""                          # the client's last line
        self.secure = False

    def conversation(self) -> Conversation[None]:
        """The whole dialogue; raises Difference or NotExercised."""
        try:
            yield from self.play(self.dialogue.steps)
        except Over:
            return

    def play(self, steps: Iterable[Step]) -> Conversation[None]:
        """Some steps, one after another."""
        for step in steps:
            if isinstance(step, Say):
                yield from self.talk.say(self.talk.values.expand(step.text, step.raw), step.raw)
            elif isinstance(step, Hear):
                yield from (hear_body(self, step) if step.patterns[0].split()[0] == "body" else hear(self, step))
            elif isinstance(step, Block):
                yield from self.block(step)
            else:
                yield from ACTS[step.verb](self, step)

    def block(self, step: Block) -> Conversation[None]:
        """`repeat N`, with `{n}` counting from 1; `when PATTERN`, played if the client's last line is like that."""
        if step.verb == "repeat":
            for number in range(1, int(step.argument) + 1):
                self.talk.values.numbers["n"] = number
                yield from self.play(step.steps)
        elif self.fits(self.last, [pattern.strip() for pattern in step.argument.split("|")]):
            yield from self.play(step.steps)

    def fits(self, line: str, patterns: Iterable[str]) -> bool:
        """Whether a line is what one of the patterns asks for."""
        return any(matches(line, pattern, self.talk.values) for pattern in patterns)

    def problem(self, flags: Iterable[str], has: Iterable[str], lacks: Iterable[str]) -> str:
        """What is wrong with the last letter, or an empty text."""
        return problem(self.talk.letters, self.task.letter, flags, has, lacks, self.talk.values.octets_of)


def values_for(task: Task) -> ServerValues:
    """The names that a dialogue uses."""
    return ServerValues({
        "sender": task.sender, "recipient": task.recipients[0], "second": task.recipients[-1], "user": task.user,
        "password": task.password, "notify": task.notify, "ret": task.ret, "envid": task.envid,
        "orcpt": task.orcpt, "nonce": "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "size": str(len(task.letter)),
    })


# --- hearing ---------------------------------------------------------------------------------------------------------


def hear(part: ServerPart, step: Hear) -> Conversation[None]:
    """A line that one of the patterns fits, or the end of the connection."""
    expected = " or ".join(step.patterns)
    for _ in range(20):
        try:
            line = yield from part.talk.line(step.line)
        except Silence as silence:
            if step.optional:
                raise NotExercised(f"does not say {expected}") from None
            raise Difference(step.line, expected, silence.got) from None
        if line is None and "closed" in step.patterns:
            raise Over
        if line is not None and part.fits(line, step.patterns):
            part.last = line
            return
        if line is None or line.upper() == "QUIT":
            yield from leave(part, line, step, expected)
        elif step.optional:
            raise NotExercised(f"does not say {expected}")
        elif line.split(" ")[0].upper() not in PATIENTLY:
            raise Difference(step.line, expected, line[:200] or "an empty line")
        else:
            yield from part.talk.answer("250 fine")
    raise Difference(step.line, expected, "RSET and NOOP without end")


def leave(part: ServerPart, line: str | None, step: Hear, expected: str) -> Conversation[None]:
    """The client leaves: it declines the task, does not use what is examined, or breaks a rule."""
    if line is not None and (part.dialogue.facts.get("may") or step.optional):
        yield from part.talk.answer("221 goodbye")
    if part.dialogue.facts.get("may"):
        part.refused = True
        raise Over
    if step.optional:
        raise NotExercised(f"does not say {expected}")
    raise Difference(step.line, expected, line or "the end of the connection")


def hear_body(part: ServerPart, step: Hear) -> Conversation[None]:
    """A body up to its lone dot, and what must be true of it."""
    try:
        yield from read_body(part, step.line)
    except Disconnected:
        if "closed" in step.patterns:
            raise Over from None
        raise Difference(step.line, "a body and its end", "the end of the connection") from None
    problems = [part.problem(pattern.split()[1:], step.has, step.lacks)
                for pattern in step.patterns if pattern != "closed"]
    if all(problems):
        raise Difference(step.line, "a body that is right", problems[0])


def read_body(part: ServerPart, at: int) -> Conversation[None]:
    """Take in a body, which waits for its answer; raises Disconnected."""
    yield from part.talk.letters.read_body(at)
    part.talk.turns.pending.append("BODY")


# --- what is neither said nor heard ----------------------------------------------------------------------------------


def offer(part: ServerPart, argument: str) -> list[str]:
    """The keywords after the greeting of EHLO: `AUTH=PLAIN,LOGIN` becomes `AUTH PLAIN LOGIN`."""
    words = argument.split() if argument else [need for need in part.dialogue.needs if need != "EHLO"]
    words = [word for word in words if not (part.secure and word == "STARTTLS") and word != "nothing"]
    return [word.replace("=", " ").replace(",", " ") for word in words]


def welcome(part: ServerPart, keywords: list[str]) -> Conversation[None]:
    """The reply to EHLO or HELO."""
    *lines, last = ["server.example", *keywords]
    for line in lines:
        yield from part.talk.answer(f"250-{line}")
    yield from part.talk.answer(f"250 {last}")


def hello(part: ServerPart, step: Act) -> Conversation[None]:
    """EHLO, answered with what the dialogue offers; HELO where nothing is needed."""
    yield from hear(part, Hear(step.line, ("EHLO *", "HELO *")))
    if part.last.upper().startswith("EHLO"):
        yield from welcome(part, offer(part, step.argument))
    elif part.dialogue.needs:
        raise NotExercised("says HELO, and is offered nothing")
    else:
        yield from welcome(part, [])


def shake_hands(part: ServerPart, step: Act) -> Conversation[None]:
    """The server's end of a TLS handshake, with a good certificate or one that must be refused."""
    good = step.argument in ("", "or closed")
    try:
        yield Upgrade(TLSLayer(part.contexts("" if good else step.argument), server_side=True), part.talk.patience)
    except (OSError, Timeout, Disconnected) as error:
        if step.argument:
            raise Over from None
        raise Difference(step.line, "a TLS handshake", f"{type(error).__name__}: {error}") from None
    part.secure = True
    part.talk.restart()
    if not good:
        line = yield from part.talk.line(step.line)
        if line is not None and line.upper() != "QUIT":
            raise Difference(step.line, f"nothing but QUIT under an {step.argument} certificate", line[:200])
        raise Over


def wait(part: ServerPart, step: Act) -> Conversation[None]:
    """A moment in which the client has nothing to say."""
    try:
        data = yield Octets(200, float(step.argument))
    except Timeout:
        yield FLUSH                             # the next want has a time of its own
        return
    except Disconnected:
        raise Difference(step.line, "a client that waits", "the end of the connection") from None
    raise Difference(step.line, "a client that waits", repr(data))


def serve(part: ServerPart, step: Act) -> Conversation[None]:
    """A plain server, until the client leaves, or says what the argument has."""
    patterns = [pattern.strip() for pattern in step.argument.split("|")] if step.argument else []
    while True:
        line = yield from part.talk.line(step.line)
        if line is not None and part.fits(line, patterns):
            part.last = line
            return
        if line is None or line.upper() == "QUIT":
            if line is not None:
                yield from part.talk.answer("221 goodbye")
            if part.dialogue.facts.get("may") and not part.talk.letters.whole:
                part.refused = True
                raise Over
            if patterns:
                raise Difference(step.line, " or ".join(patterns), line or "the end of the connection")
            return
        yield from respond(part, line.split(" ")[0].upper(), step.line)


def respond(part: ServerPart, verb: str, at: int) -> Conversation[None]:
    """What a plain server answers; it keeps the order of commands."""
    talk = part.talk
    if verb == "DATA" and talk.turns.state == "rcpt":
        yield from talk.answer("354 go on")
        try:
            yield from read_body(part, at)
        except Disconnected:
            return
        yield from talk.answer("250 kept")
    elif verb in ("EHLO", "HELO"):
        yield from welcome(part, offer(part, "") if verb == "EHLO" else [])
    elif talk.turns.has(verb):
        yield from talk.answer("252 perhaps" if verb == "VRFY" else "250 fine")
    else:
        known = ("MAIL", "RCPT", "DATA", "BDAT")
        yield from talk.answer("503 out of order" if verb in known else "502 not here")


def forbid(part: ServerPart, step: Act) -> Conversation[None]:
    """From here on the client must never say this."""
    yield from ()
    part.talk.never.append(step)


def look_at_letter(part: ServerPart, step: Act) -> Conversation[None]:
    """Whether the last letter is right, or, with `none`, whether there is none."""
    yield from ()
    if step.argument == "none":
        if letters := part.talk.letters.whole:
            raise Difference(step.line, "no message", f"one of {len(letters[-1])} octets")
    elif complaint := part.problem(*split_checks(step.argument)):
        raise Difference(step.line, "a message that is right", complaint)


def hang_up(part: ServerPart, step: Act) -> Conversation[None]:
    """The server is gone."""
    yield from ()
    raise Over


def leave_to_the_end(part: ServerPart, step: Act) -> Conversation[None]:
    """`exit` is looked at when the client has ended."""
    yield from ()


ACTS: dict[str, Callable[[ServerPart, Act], Conversation[None]]] = {
    "hello": hello, "tls": shake_hands, "serve": serve, "never": forbid, "wait": wait, "hang": hang_up,
    "letter": look_at_letter, "exit": leave_to_the_end,
}

"""Plays the server's part of a dialogue at a client. It is a conversation like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from smtp_from_scratch.conformance.clients import fits, matcher, split_checks
from smtp_from_scratch.conformance.host_values import HostValues
from smtp_from_scratch.conformance.notation import Act, Block, Dialogue, Hear, Say, Step
from smtp_from_scratch.conformance.player import Difference, Over
from smtp_from_scratch.conformance.tasks import Task
from smtp_from_scratch.conversation import FLUSH, Body, Conversation, Disconnected, Line, Octets, Timeout, Upgrade
from smtp_from_scratch.envelope import BodyCutter
from smtp_from_scratch.wire import WireError

LETTER_LIMIT = 64_000_000                       # octets of a letter that are taken in
LINES_LIMIT = 20_000                            # lines of a client that are heard
MOMENT = 1.0                                    # seconds to wait for what follows without an answer
PATIENTLY = ("RSET", "NOOP")                    # may be said whenever; answered 250 where nothing else is planned


class Silence(Difference):
    """The client says nothing."""


class NotExercised(Exception):
    """The client does not use what the dialogue examines; the message completes "the client …"."""


@dataclass(slots=True)
class Host:
    """Plays the server; `patience` (s) is how long it waits for the client to say something."""

    dialogue: Dialogue
    task: Task
    contexts: Callable[[str], Any]              # an ssl.SSLContext for "", "untrusted", "misnamed", "expired"
    patience: float = 10.0
    refused: bool = False                       # the client declined the task, where it may
    last: str = ""                              # the client's last line
    pending: list[str] = field(default_factory=list)       # verbs that are not answered yet
    begun: bytes = b""                          # of a line that we have not said to its end
    state: str = "start"                        # start, ready, mail, rcpt
    secure: bool = False
    never: list[Act] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)      # of the letter at hand
    letters: list[bytes] = field(default_factory=list)     # those that were received whole
    lines: int = 0
    declared: int = 0                           # octets, by SIZE= in the last MAIL
    values: HostValues = field(init=False)

    def __post_init__(self) -> None:
        task = self.task
        self.values = HostValues({
            "sender": task.sender, "recipient": task.recipients[0], "second": task.recipients[-1], "user": task.user,
            "password": task.password, "notify": task.notify, "ret": task.ret, "envid": task.envid,
            "orcpt": task.orcpt, "nonce": "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "size": str(len(task.letter)),
        })

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
                yield from self.say(self.values.expand(step.text, step.raw), step.raw)
            elif isinstance(step, Hear):
                yield from self.hear(step)
            elif isinstance(step, Block):
                yield from self.block(step)
            else:
                yield from self.act(step)

    # --- saying ------------------------------------------------------------------------------------------------------

    def say(self, segments: list[bytes], raw: bool = False) -> Conversation[None]:
        """A reply, or a line of one, in as many segments as it is cut into."""
        for number, segment in enumerate(segments):
            if number:
                yield FLUSH
            yield segment
        if not raw:
            yield b"\r\n"
        *lines, self.begun = (self.begun + b"".join(segments) + (b"" if raw else b"\r\n")).split(b"\r\n")
        for line in lines:
            if re.match(rb"[2-5]\d\d(?!-)", line):
                self.note(int(line[:3]), line[4:].decode("latin-1"))

    def answer(self, text: str) -> Conversation[None]:
        """A reply of our own."""
        yield from self.say([text.encode()])

    def note(self, code: int, text: str) -> None:
        """What a reply makes of the transaction."""
        if code == 334:
            self.values.challenge = text
        verb = self.pending.pop(0) if self.pending else ""
        moves = {"EHLO": "ready", "HELO": "ready", "RSET": "ready", "MAIL": "mail", "RCPT": "rcpt", "LAST": "ready",
                 "BODY": "ready"}
        if code < 300 or verb in ("LAST", "BODY"):
            self.state = moves.get(verb, self.state)

    # --- hearing -----------------------------------------------------------------------------------------------------

    def line(self, at: int) -> Conversation[str | None]:
        """The client's next line, and the octets that a BDAT announces; None when the client is gone."""
        seconds = min(MOMENT, self.patience) if self.pending else self.patience
        try:
            data = yield Line(16_384, seconds)
        except Timeout:
            raise Silence(at, "a line", f"nothing within {seconds:g} s") from None
        except Disconnected:
            return None
        except WireError as error:
            raise Difference(at, "a line", f"what is none ({error})") from None
        line: str = data.decode("utf-8", "backslashreplace")
        verb, *words = line.upper().split(" ") if line else [""]
        self.lines += 1
        if self.lines > LINES_LIMIT:
            raise Difference(at, "an end", f"more than {LINES_LIMIT} lines")
        for ban in self.never:
            if self.matches(line, ban.argument):
                raise Difference(ban.line, f"never {ban.argument}", line[:200])
        self.pending.append(verb)
        self.values.line = line
        if verb == "MAIL" and (size := re.search(r" SIZE=(\d{1,20})( |$)", line.upper())):
            self.declared = int(size[1])
        if verb == "BDAT":
            yield from self.chunk(at, words)
        return line

    def chunk(self, at: int, words: list[str]) -> Conversation[None]:
        """The octets behind a BDAT line (RFC 3030 §2)."""
        if not words or not words[0].isdigit() or words[1:] not in ([], ["LAST"]):
            raise Difference(at, "BDAT with a number, and LAST or nothing", " ".join(["BDAT", *words])[:200])
        left = int(words[0])
        if left + sum(map(len, self.chunks)) > LETTER_LIMIT:
            raise Difference(at, f"at most {LETTER_LIMIT} octets", f"BDAT {left}")
        while left:
            try:
                block = yield Octets(left, self.patience)
            except (Timeout, Disconnected):
                raise Difference(at, f"the {words[0]} octets that BDAT announced", f"{left} octets less") from None
            self.chunks.append(block)
            left -= len(block)
        if words[1:]:
            self.pending[-1] = "LAST"
            self.finish()

    def finish(self) -> None:
        self.letters.append(b"".join(self.chunks))
        self.chunks = []

    def hear(self, step: Hear) -> Conversation[None]:
        """A line that one of the patterns fits, a body, or the end of the connection."""
        if step.patterns[0].split()[0] == "body":
            yield from self.body(step)
            return
        expected = " or ".join(step.patterns)
        for _ in range(20):
            try:
                line = yield from self.line(step.line)
            except Silence as silence:
                if step.optional:
                    raise NotExercised(f"does not say {expected}") from None
                raise Difference(step.line, expected, silence.got) from None
            if line is None and "closed" in step.patterns:
                raise Over
            if line is not None and any(self.matches(line, pattern) for pattern in step.patterns):
                self.last = line
                return
            if line is None or line.upper() == "QUIT":
                yield from self.leave(line, step, expected)
            elif step.optional:
                raise NotExercised(f"does not say {expected}")
            elif line.split(" ")[0].upper() not in PATIENTLY:
                raise Difference(step.line, expected, line[:200] or "an empty line")
            else:
                yield from self.answer("250 fine")
        raise Difference(step.line, expected, "RSET and NOOP without end")

    def leave(self, line: str | None, step: Hear, expected: str) -> Conversation[None]:
        """The client leaves: it declines the task, does not use what is examined, or breaks a rule."""
        if line is not None and (self.dialogue.facts.get("may") or step.optional):
            yield from self.answer("221 goodbye")
        if self.dialogue.facts.get("may"):
            self.refused = True
            raise Over
        if step.optional:
            raise NotExercised(f"does not say {expected}")
        raise Difference(step.line, expected, line or "the end of the connection")

    def matches(self, line: str, pattern: str) -> bool:
        """Whether a line is what a pattern asks for."""
        if pattern == "empty":
            return line == ""
        return pattern != "closed" and fits(pattern, line, self.value)

    def value(self, braces: str) -> bytes:
        """What a name in braces stands for."""
        return b"".join(self.values.expand(braces))

    def body(self, step: Hear) -> Conversation[None]:
        """A body up to its lone dot, and what must be true of it."""
        try:
            yield from self.read_body(step.line)
        except Disconnected:
            if "closed" in step.patterns:
                raise Over from None
            raise Difference(step.line, "a body and its end", "the end of the connection") from None
        problems = [self.problem(pattern.split()[1:], step.has, step.lacks)
                    for pattern in step.patterns if pattern != "closed"]
        if all(problems):
            raise Difference(step.line, "a body that is right", problems[0])

    def read_body(self, at: int) -> Conversation[None]:
        """Take in a body; raises Disconnected."""
        cutter, size = BodyCutter(), 0
        self.chunks = []
        try:
            while block := (yield Body(cutter, self.patience)):
                self.chunks.append(block)
                size += len(block)
                if size > LETTER_LIMIT:
                    raise Difference(at, f"a body of at most {LETTER_LIMIT} octets", "more")
        except Timeout:
            raise Difference(at, "the end of a body", f"nothing within {self.patience:g} s") from None
        self.pending.append("BODY")
        self.finish()

    # --- letters -----------------------------------------------------------------------------------------------------

    def problem(self, flags: Iterable[str], has: Iterable[str], lacks: Iterable[str]) -> str:
        """What is wrong with the last letter, or an empty text."""
        if not self.letters:
            return "no letter was received"
        data = self.letters[-1]
        lines = data.decode("utf-8", "backslashreplace").split("\r\n")
        for flag in flags:
            if flag == "sized" and len(data) > self.declared:
                return f"it has {len(data)} octets, and {self.declared} were declared"
            if complaint := flaw(flag, data, self.task.letter):
                return complaint
        for text in has:
            if not any(matcher(text, self.value).fullmatch(line) for line in lines):
                return f"it has no line {text}"
        for text in lacks:
            if any(matcher(text, self.value).fullmatch(line) for line in lines):
                return f"it has a line {text}"
        return ""

    # --- the rest ----------------------------------------------------------------------------------------------------

    def block(self, step: Block) -> Conversation[None]:
        """`repeat N`, with `{n}` counting from 1; `when PATTERN`, played if the client's last line is like that."""
        if step.verb == "repeat":
            for number in range(1, int(step.argument) + 1):
                self.values.numbers["n"] = number
                yield from self.play(step.steps)
        elif any(self.matches(self.last, pattern.strip()) for pattern in step.argument.split("|")):
            yield from self.play(step.steps)

    def act(self, step: Act) -> Conversation[None]:
        """What is neither said nor heard."""
        if step.verb == "hello":
            yield from self.hello(step)
        elif step.verb == "tls":
            yield from self.tls(step)
        elif step.verb == "serve":
            yield from self.serve(step)
        elif step.verb == "never":
            self.never.append(step)
        elif step.verb == "wait":
            yield from self.wait(step)
        elif step.verb == "hang":
            raise Over
        elif step.verb == "letter":
            flags, has, lacks = split_checks(step.argument)
            if step.argument == "none":
                if self.letters:
                    raise Difference(step.line, "no letter", f"one of {len(self.letters[-1])} octets")
            elif complaint := self.problem(flags, has, lacks):
                raise Difference(step.line, "a letter that is right", complaint)

    def offer(self, argument: str) -> list[str]:
        """The keywords behind the greeting of EHLO: `AUTH=PLAIN,LOGIN` becomes `AUTH PLAIN LOGIN`."""
        words = argument.split() if argument else [need for need in self.dialogue.needs if need != "EHLO"]
        words = [word for word in words if not (self.secure and word == "STARTTLS") and word != "nothing"]
        return [word.replace("=", " ").replace(",", " ") for word in words]

    def hello(self, step: Act) -> Conversation[None]:
        """EHLO, answered with what the dialogue offers; HELO where nothing is needed."""
        yield from self.hear(Hear(step.line, ("EHLO *", "HELO *")))
        offer = self.offer(step.argument)
        if self.last.upper().startswith("EHLO"):
            yield from self.welcome(offer)
        elif self.dialogue.needs:
            raise NotExercised("says HELO, and is offered nothing")
        else:
            yield from self.welcome([])

    def welcome(self, offer: list[str]) -> Conversation[None]:
        """The reply to EHLO or HELO."""
        *lines, last = ["server.example", *offer]
        for line in lines:
            yield from self.answer(f"250-{line}")
        yield from self.answer(f"250 {last}")

    def tls(self, step: Act) -> Conversation[None]:
        """The server's end of a TLS handshake, with a good certificate or one that must be refused."""
        from smtp_from_scratch.conformance.tls import TLSServer

        good = step.argument in ("", "or closed")
        try:
            yield Upgrade(TLSServer(self.contexts("" if good else step.argument)), self.patience)
        except (OSError, Timeout, Disconnected) as error:
            if step.argument:
                raise Over from None
            raise Difference(step.line, "a TLS handshake", f"{type(error).__name__}: {error}") from None
        self.secure, self.state, self.pending, self.begun = True, "start", [], b""
        if not good:
            line = yield from self.line(step.line)
            if line is not None and line.upper() != "QUIT":
                raise Difference(step.line, f"nothing but QUIT under an {step.argument} certificate", line[:200])
            raise Over

    def wait(self, step: Act) -> Conversation[None]:
        """A moment in which the client has nothing to say."""
        try:
            data = yield Octets(200, float(step.argument))
        except Timeout:
            yield FLUSH                         # the next want has a time of its own
            return
        except Disconnected:
            raise Difference(step.line, "a client that waits", "the end of the connection") from None
        raise Difference(step.line, "a client that waits", repr(data))

    def serve(self, step: Act) -> Conversation[None]:
        """A plain server, until the client leaves, or says what the argument has."""
        patterns = [pattern.strip() for pattern in step.argument.split("|")] if step.argument else []
        while True:
            line = yield from self.line(step.line)
            if line is not None and any(self.matches(line, pattern) for pattern in patterns):
                self.last = line
                return
            if line is None or line.upper() == "QUIT":
                if line is not None:
                    yield from self.answer("221 goodbye")
                if self.dialogue.facts.get("may") and not self.letters:
                    self.refused = True
                    raise Over
                if patterns:
                    raise Difference(step.line, " or ".join(patterns), line or "the end of the connection")
                return
            yield from self.obey(line.split(" ")[0].upper(), step.line)

    def obey(self, verb: str, at: int) -> Conversation[None]:
        """What a plain server answers; it keeps the order of commands."""
        if verb == "DATA" and self.state == "rcpt":
            yield from self.answer("354 go on")
            try:
                yield from self.read_body(at)
            except Disconnected:
                return
            yield from self.answer("250 kept")
        elif verb in ("EHLO", "HELO"):
            yield from self.welcome(self.offer("") if verb == "EHLO" else [])
        elif self.in_turn(verb):
            yield from self.answer("252 perhaps" if verb == "VRFY" else "250 fine")
        else:
            known = ("MAIL", "RCPT", "DATA", "BDAT")
            yield from self.answer("503 out of order" if verb in known else "502 not here")

    def in_turn(self, verb: str) -> bool:
        """Whether a command has its turn."""
        return verb in ("RSET", "NOOP", "VRFY") or (verb == "MAIL" and self.state == "ready") or (
            verb == "RCPT" and self.state in ("mail", "rcpt")) or (verb == "BDAT" and self.state == "rcpt")


def flaw(flag: str, data: bytes, original: bytes) -> str:
    """Why a letter is not what a flag says, or an empty text."""
    if flag == "empty" and data:
        return f"it is not empty, but has {len(data)} octets"
    if flag == "strict" and re.search(rb"\r(?!\n)|(?<!\r)\n", data):
        return "a CR or an LF stands alone in it"
    if flag == "text" and b"\0" in data:
        return "it has a NUL, and is not declared as binary"
    if flag == "7bit" and (b"\0" in data or not data.isascii()):
        return "it has NULs or octets above 127"
    if flag == "8bit" and data.isascii():
        return "it has no octets above 127"
    if flag == "short" and any(len(line) > 998 for line in data.split(b"\r\n")):
        return "it has a line of more than 998 octets"
    if flag in ("same", "exact"):
        got, wanted = text_of(data), text_of(original)
        if got != wanted and (flag == "exact" or got.rstrip(b"\r\n") != wanted.rstrip(b"\r\n")):
            return f"its text is not what was to be sent: {got[:200]!r}"
    return ""


def text_of(data: bytes) -> bytes:
    """What stands behind the header; line ends CR LF, unless the letter is binary, and one at the end."""
    if b"\0" not in data:
        data = re.sub(rb"\r\n?|\n", b"\r\n", data)
    text = data.partition(b"\r\n\r\n")[2]
    return text if b"\0" in data or text.endswith(b"\r\n") else text + b"\r\n"

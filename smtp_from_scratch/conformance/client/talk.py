"""The server's end of a connection as the examiner has it: what is said and heard, line by line, and in what order."""

from __future__ import annotations

import re

from smtp_from_scratch.conformance.client.letters import Letters
from smtp_from_scratch.conformance.client.values import ServerValues
from smtp_from_scratch.conformance.client.words import fits
from smtp_from_scratch.conformance.notation import Act
from smtp_from_scratch.conformance.server.player import Difference
from smtp_from_scratch.conversation import FLUSH, Conversation, Disconnected, Line, Timeout
from smtp_from_scratch.wire import WireError

LINES_LIMIT = 20_000                            # lines of a client that are heard
MOMENT = 1.0                                    # seconds to wait for what follows without an answer


class Silence(Difference):
    """The client says nothing."""


class Turns:
    """The verbs that are not answered yet, and what the answers make of the transaction."""

    MOVES = {"EHLO": "ready", "HELO": "ready", "RSET": "ready", "MAIL": "mail", "RCPT": "rcpt", "LAST": "ready",
             "BODY": "ready"}

    def __init__(self) -> None:
        self.state = "start"                    # start, ready, mail, rcpt
        self.pending: list[str] = []            # LAST: BDAT with LAST; BODY: what came after DATA

    def answered(self, code: int) -> None:
        """A reply was said: to the first that waits for one."""
        verb = self.pending.pop(0) if self.pending else ""
        if code < 300 or verb in ("LAST", "BODY"):
            self.state = self.MOVES.get(verb, self.state)

    def has(self, verb: str) -> bool:
        """Whether a command has its turn at a plain server."""
        return verb in ("RSET", "NOOP", "VRFY") or (verb == "MAIL" and self.state == "ready") or (
            verb == "RCPT" and self.state in ("mail", "rcpt")) or (verb == "BDAT" and self.state == "rcpt")


class Talk:
    """One connection; `patience` (s) is how long the client may take for its next line."""

    def __init__(self, values: ServerValues, patience: float) -> None:
        self.values, self.patience = values, patience
        self.turns, self.letters = Turns(), Letters(patience)
        self.never: list[Act] = []
        self._begun = b""                       # of a line that we have not said to its end
        self._lines = 0

    def restart(self) -> None:
        """TLS: all begins anew."""
        self.turns, self._begun = Turns(), b""

    def say(self, segments: list[bytes], raw: bool = False) -> Conversation[None]:
        """A reply, or a line of one, in as many segments as it is cut into."""
        for number, segment in enumerate(segments):
            if number:
                yield FLUSH
            yield segment
        if not raw:
            yield b"\r\n"
        *lines, self._begun = (self._begun + b"".join(segments) + (b"" if raw else b"\r\n")).split(b"\r\n")
        for line in lines:
            if re.match(rb"[2-5]\d\d(?!-)", line):
                if line[:3] == b"334":
                    self.values.challenge = line[4:].decode("latin-1")
                self.turns.answered(int(line[:3]))

    def answer(self, text: str) -> Conversation[None]:
        """A reply of our own."""
        yield from self.say([text.encode()])

    def line(self, at: int) -> Conversation[str | None]:
        """The client's next line, and the octets that a BDAT announces; None when the client is gone."""
        line = yield from read_line(at, min(MOMENT, self.patience) if self.turns.pending else self.patience)
        if line is None:
            return None
        self._lines += 1
        if self._lines > LINES_LIMIT:
            raise Difference(at, "an end", f"more than {LINES_LIMIT} lines")
        for ban in self.never:
            if matches(line, ban.argument, self.values):
                raise Difference(ban.line, f"never {ban.argument}", line[:200])
        verb, *words = line.upper().split(" ") if line else [""]
        self.turns.pending.append(verb)
        self.values.line = line
        if verb == "MAIL":
            self.letters.declare(line)
        if verb == "BDAT" and (yield from self.letters.read_chunk(at, words)):
            self.turns.pending[-1] = "LAST"
        return line


def read_line(at: int, seconds: float) -> Conversation[str | None]:
    """A client's line within so many seconds; None when the client is gone."""
    try:
        data: bytes = yield Line(16_384, seconds)
    except Timeout:
        raise Silence(at, "a line", f"nothing within {seconds:g} s") from None
    except Disconnected:
        return None
    except WireError as error:
        raise Difference(at, "a line", f"what is none ({error})") from None
    return data.decode("utf-8", "backslashreplace")


def matches(line: str, pattern: str, values: ServerValues) -> bool:
    """Whether a line is what a pattern asks for."""
    if pattern == "empty":
        return line == ""
    return pattern != "closed" and fits(pattern, line, values.octets_of)

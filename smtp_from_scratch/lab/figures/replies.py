"""What a server replies to a verb in a state, found out by rehearsal."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from smtp_from_scratch.lab.figures.style import SIGNS
from smtp_from_scratch.lab.figures.transcript import Transcript

# What a client says behind each verb; a verb that is not here stands alone.
ARGUMENTS = {
    "HELO": "client.example", "EHLO": "client.example", "MAIL": "FROM:<ana@client.example>",
    "RCPT": "TO:<kenji@server.example>", "VRFY": "kenji", "EXPN": "harbor-watch",
}
LETTER = b"Subject: tide\r\n\r\nHigh water at nine.\r\n.\r\n"


@dataclass(frozen=True, slots=True)
class Cell:
    """What a verb got in a state. `code` is 0 when no reply came, and `fault` says why."""

    code: int
    fault: str
    transcript: Transcript
    ruled: bool                                # the table of verbs has a rule for this verb in this state

    def __str__(self) -> str:
        return f"{SIGNS.get(self.code // 100, '?')} {self.code or self.fault}"


def server_of(session: Any, serve: Callable[[Any], Any] | None) -> Any:
    """The server's conversation for a session; a conversation is taken as it is."""
    if hasattr(session, "send"):
        return session
    return (serve or import_module("smtp_from_scratch.session").serve)(session)


def ways(moves: Mapping[str, Mapping[str, str]], start: str = "start") -> dict[str, list[str]]:
    """The shortest list of verbs to each state that can be left again."""
    found: dict[str, list[str]] = {start: []}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        for verb, move in moves.items():
            after = move.get(state, state)
            if after not in found:
                found[after] = [*found[state], verb]
                queue.append(after)
    alive = {state for move in moves.values() for state in move}
    return {state: path for state, path in found.items() if state in alive}


def try_out(server: Any, verbs: Sequence[str], arguments: Mapping[str, str], ruled: bool) -> Cell:
    """Play the verbs at a server; the cell is about the last one."""
    from smtp_from_scratch.conversation import rehearse

    transcript, codes = Transcript(), list[int]()
    try:
        rehearsal = rehearse(caller(verbs, arguments, codes), server)
        transcript = Transcript(rehearsal.said)
        fault = "" if len(codes) == len(verbs) else "no way"
    except RuntimeError as error:
        fault = "hangs" if type(error).__name__ == "BothListening" else "crash"
    except Exception:
        fault = "crash"
    code = codes[-1] if len(codes) == len(verbs) else 0
    return Cell(code, fault or ("" if code else "no reply"), transcript, ruled)


def caller(verbs: Sequence[str], arguments: Mapping[str, str], codes: list[int]) -> Any:
    """A client that says these commands, notes each code, and gives up when one on the way is refused."""
    from smtp_from_scratch.conversation import read_reply

    yield from read_reply()
    for number, verb in enumerate(verbs, 1):
        yield f"{verb} {arguments.get(verb, '')}".rstrip().encode() + b"\r\n"
        reply = yield from read_reply()
        codes.append(reply.code)
        if reply.code == 354:
            yield LETTER
            reply = yield from read_reply()
        if reply.code >= 400 and number < len(verbs):
            return

"""The reply matrix: every verb in every state, and the code it gets, found out by rehearsal."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import Any

from smtp_from_scratch.lab.faces import Face, card
from smtp_from_scratch.lab.style import INK, SIGNS
from smtp_from_scratch.lab.transcript import Transcript

# What a client says behind each verb; a verb that is not here stands alone.
ARGUMENTS = {
    "HELO": "client.example", "EHLO": "client.example", "MAIL": "FROM:<ana@client.example>",
    "RCPT": "TO:<kenji@server.example>", "VRFY": "kenji", "EXPN": "harbor-watch",
}
LETTER = b"Subject: tide\r\n\r\nHigh water at nine.\r\n.\r\n"
LEGEND = "✓ done   … go on   ~ not now   ✗ no"
TINTS = {2: "#d5efe6", 3: "#d3e6f3", 4: "#ececec", 5: "#f5e3ed"}


@dataclass(frozen=True, slots=True)
class Cell:
    """What a verb got in a state. `code` is 0 when no reply came, and `fault` says why."""

    code: int
    fault: str
    transcript: Transcript
    ruled: bool                                # the table of verbs has a rule for this verb in this state

    def __str__(self) -> str:
        return f"{SIGNS.get(self.code // 100, '?')} {self.code or self.fault}"


class ReplyMatrix(Face):
    """A table of codes. `rows[verb][state]` is a code, `cell(verb, state)` tells the whole story."""

    def __init__(self, cells: Mapping[str, Mapping[str, Cell]], moves: Mapping[str, Mapping[str, str]]) -> None:
        self.cells, self.moves = cells, moves

    @property
    def states(self) -> list[str]:
        """The columns."""
        return list(next(iter(self.cells.values()), {}))

    @property
    def rows(self) -> dict[str, dict[str, int]]:
        """The codes alone."""
        return {verb: {state: cell.code for state, cell in row.items()} for verb, row in self.cells.items()}

    def cell(self, verb: str, state: str) -> Cell:
        """One cell: its code, and the dialogue that led to it."""
        return self.cells[verb][state]

    def rule(self, verb: str, state: str) -> str:
        """The rule behind a cell, in a sentence (RFC 5321 §4.1.4)."""
        moves = self.moves.get(verb)
        if moves is None:
            return f"{verb} is not in the table: a server answers 500 (RFC 5321 §4.2.4)."
        if state not in moves:
            return (f"{verb} has no rule in state {state}, only in {', '.join(moves)}: "
                    "out of order is 503 (RFC 5321 §4.1.4).")
        after = moves[state]
        leads = "the state stays" if after == state else f"a positive reply leads to state {after}"
        return f"{verb} is allowed in state {state}; {leads}."

    def diff(self, other: ReplyMatrix) -> dict[tuple[str, str], tuple[int, int]]:
        """Where two matrices differ: (verb, state) to the code here and the code there, 0 for none."""
        mine, theirs = self.rows, other.rows
        places = dict.fromkeys((verb, state) for rows in (mine, theirs) for verb, row in rows.items() for state in row)
        pairs = {(verb, state): (mine.get(verb, {}).get(state, 0), theirs.get(verb, {}).get(state, 0))
                 for verb, state in places}
        return {place: pair for place, pair in pairs.items() if pair[0] != pair[1]}

    def text(self) -> str:
        wide = max([8, *(len(str(cell)) + 2 for row in self.cells.values() for cell in row.values())])
        first = max([6, *(len(verb) + 2 for verb in self.cells)])
        rows = ["".join([" " * first, *(state.ljust(wide) for state in self.states)])]
        rows += ["".join([verb.ljust(first), *(str(cell).ljust(wide) for cell in row.values())])
                 for verb, row in self.cells.items()]
        return "\n".join([*(row.rstrip() for row in rows), LEGEND])

    def html(self) -> str:
        cell_style = "padding:3px 14px;border:1px solid #cccccc;text-align:left;"
        head = "".join(f'<th scope="col" style="{cell_style}">{escape(state)}</th>' for state in ["", *self.states])
        body = "".join(f'<tr style="background:none"><th scope="row" style="{cell_style}">{escape(verb)}</th>'
                       + "".join(f'<td style="{cell_style}{tint(cell)}">{escape(str(cell))}</td>'
                                 for cell in row.values()) + "</tr>" for verb, row in self.cells.items())
        return card(f'<table style="border-collapse:collapse;font-size:13px;color:{INK};margin:0">'
                    f'<tr style="background:none">{head}</tr>{body}</table>'
                    f'<div style="margin-top:6px">{LEGEND}   (hatched: no rule)</div>')

    def explore(self) -> Any:
        """The same as buttons: choosing a cell shows the shortest dialogue to it, and its rule."""
        from smtp_from_scratch.lab.matrix_widget import MatrixWidget

        return MatrixWidget(self)


def tint(cell: Cell) -> str:
    """A cell's background: a tint of its class, hatched when no rule allows the verb there."""
    color = TINTS.get(cell.code // 100, "#ffffff")
    if cell.ruled:
        return f"background:{color}"
    return f"background:repeating-linear-gradient(135deg,{color} 0 6px,#ffffff 6px 9px)"


def reply_matrix(make_session: Callable[[], Any], verbs: Mapping[str, Any] | None = None, *,
                 extra: Iterable[str] = (), arguments: Mapping[str, str] | None = None,
                 serve: Callable[[Any], Any] | None = None) -> ReplyMatrix:
    """Rehearse every verb in every state that the verbs' `moves` lead to.

    `make_session()` returns a fresh session, or a server's conversation if `verbs` is given too. `extra` names
    rows beyond the table, `arguments` what is said behind a verb.
    """
    table = verbs or getattr(make_session(), "verbs", None) or import_module("smtp_from_scratch.session").VERBS
    moves = {name: dict(verb.moves) for name, verb in table.items()}
    said = ARGUMENTS | dict(arguments or {})
    paths = ways(moves)
    cells = {verb: {state: try_out(server_of(make_session(), serve), [*path, verb], said, state in moves.get(verb, {}))
                    for state, path in paths.items()} for verb in (*moves, *extra)}
    return ReplyMatrix(cells, moves)


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

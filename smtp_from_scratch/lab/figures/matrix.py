"""The reply matrix: every verb in every state, and the code it gets, as a table and as buttons."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from importlib import import_module
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face, card, table
from smtp_from_scratch.lab.figures.replies import ARGUMENTS, Cell, server_of, try_out, ways
from smtp_from_scratch.lab.figures.style import INK, PAPER
from smtp_from_scratch.lab.figures.widget import Interactive, button, column, pane, row

LEGEND = "✓ done   … go on   ~ not now   ✗ no"
TINTS = {2: "#d5efe6", 3: "#d3e6f3", 4: "#ececec", 5: "#f5e3ed"}


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
        body = [[f"<b>{escape(verb)}</b>", *map(tinted, row.values())] for verb, row in self.cells.items()]
        return table(["", *map(escape, self.states)], body) + f"<p>{LEGEND}   <i>italic</i>: no rule</p>"

    def explore(self) -> MatrixWidget:
        """The same as buttons: choosing a cell shows the shortest dialogue to it, and its rule."""
        return MatrixWidget(self)


class MatrixWidget(Interactive):
    """Choosing a cell shows the shortest dialogue that leads to it, and its rule."""

    def __init__(self, matrix: ReplyMatrix) -> None:
        self.matrix = matrix
        self.chosen = ("", "")

    def text(self) -> str:
        return self.matrix.text()

    def html(self) -> str:
        return self.matrix.html()

    def choose(self, verb: str, state: str) -> None:
        """Show one cell."""
        self.chosen = (verb, state)
        cell = self.matrix.cell(verb, state)
        self._pane.value = (card(f"<b>{escape(verb)} in state {escape(state)}: {escape(str(cell))}</b><br>"
                                 f"{escape(self.matrix.rule(verb, state))}") + cell.transcript.html())

    def build(self) -> Any:
        import ipywidgets

        def label(text: str) -> Any:
            return ipywidgets.Label(text, layout=ipywidgets.Layout(width="90px"))

        def chooser(verb: str, state: str) -> Any:
            cell = self.matrix.cell(verb, state)
            made = button(str(cell), lambda: self.choose(verb, state), f"{verb} in state {state}")
            made.style.button_color, made.style.text_color = TINTS.get(cell.code // 100), INK
            return made

        self._pane = pane()
        self._pane.value = card("Choose a cell.")
        rows = [ipywidgets.HBox([label(""), *map(label, self.matrix.states)])]
        rows += [ipywidgets.HBox([label(verb), *(chooser(verb, state) for state in cells)])
                 for verb, cells in self.matrix.cells.items()]
        return column(*rows, row(self._pane))


def tinted(cell: Cell) -> str:
    """A cell on a tint of its class where colors are shown; italic when no rule allows the verb there."""
    words = escape(str(cell)) if cell.ruled else f"<i>{escape(str(cell))}</i>"
    return f'<span style="background:{TINTS.get(cell.code // 100, PAPER)};color:{INK};padding:2px 8px">{words}</span>'


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

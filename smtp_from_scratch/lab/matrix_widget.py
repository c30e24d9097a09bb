"""The reply matrix as buttons."""
from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from smtp_from_scratch.lab.faces import card
from smtp_from_scratch.lab.matrix import TINTS
from smtp_from_scratch.lab.style import INK
from smtp_from_scratch.lab.widget import Interactive, button, column, pane, row

if TYPE_CHECKING:
    from smtp_from_scratch.lab.matrix import ReplyMatrix


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

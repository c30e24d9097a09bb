"""Figures beside one another."""
from __future__ import annotations

from inspect import signature
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face

ROOM, GAP = 860, 8                             # px


class SideBySide(Face):
    """Several figures in a row; their text faces one after another."""

    def __init__(self, figures: tuple[Any, ...]) -> None:
        self.figures = figures

    def text(self) -> str:
        return "\n\n".join(map(str, self.figures))

    def html(self) -> str:
        width = (ROOM - GAP * (len(self.figures) - 1)) // max(1, len(self.figures))
        panes = "".join(f'<div style="flex:0 1 auto;max-width:100%">{picture(figure, width)}</div>'
                        for figure in self.figures)
        return (f'<div style="display:flex;flex-wrap:wrap;gap:{GAP}px;align-items:flex-start;max-width:{ROOM}px">'
                f"{panes}</div>")


def picture(figure: Any, width: float) -> str:
    """A figure's SVG or HTML; narrower if the figure knows how."""
    if hasattr(figure, "svg") and "width" in signature(figure.svg).parameters:
        return str(figure.svg(width=width))
    return (figure.svg() if hasattr(figure, "svg") else "") or (figure.html() if hasattr(figure, "html") else "")


def side_by_side(*figures: Any) -> SideBySide:
    """Figures of the lab beside one another, as far as the page is wide."""
    return SideBySide(figures)

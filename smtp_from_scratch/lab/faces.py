"""One object, several faces: text for GitHub, terminals and nbval, SVG or HTML for Jupyter, data for tests."""
from __future__ import annotations

from html import escape

from smtp_from_scratch.lab.style import INK, MONO, PAPER


class Face:
    """Something that shows itself. A subclass writes `text`, and `svg` or `html`."""

    def text(self) -> str:
        raise NotImplementedError

    def svg(self) -> str:
        return ""

    def html(self) -> str:
        return ""

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        faces = {"text/plain": str(self), "image/svg+xml": self.svg(), "text/html": self.html()}
        return {kind: face for kind, face in faces.items() if face or kind == "text/plain"}


def card(content: str) -> str:
    """HTML on a white card, readable in dark themes too."""
    return (f'<div style="background:{PAPER};color:{INK};border-radius:8px;padding:10px 14px;max-width:832px;'
            f'font-size:13px;line-height:1.45;overflow-x:auto">{content}</div>')


def pre(text: str) -> str:
    """Text as it stands, in HTML."""
    return (f'<pre style="margin:0;font-family:{MONO};font-size:13px;color:{INK};background:transparent;'
            f'white-space:pre-wrap;overflow-wrap:anywhere">{escape(text)}</pre>')

"""One object, several faces: text for GitHub, terminals and nbval, SVG or HTML for Jupyter, data for tests."""
from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from html import escape

from smtp_from_scratch.lab.figures.rfc import link_html
from smtp_from_scratch.lab.figures.style import COLORS, CONTROLS, FIT, INK, NAMES, PAPER


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
        faces = {"text/plain": str(self), "image/svg+xml": self.svg().replace(FIT, "", 1), "text/html": self.html()}
        return {kind: face for kind, face in faces.items() if face or kind == "text/plain"}


def card(content: str) -> str:
    """HTML on a white card, readable in dark themes too; for what a widget shows, which is stored nowhere."""
    return (f'<div style="background:{PAPER};color:{INK};border-radius:8px;padding:10px 14px;max-width:832px;'
            f'font-size:13px;line-height:1.45;overflow-x:auto">{content}</div>')


def pre(text: str) -> str:
    """Text as it stands, in HTML, in the theme's own colors; the `style` only wraps what is too long."""
    return ('<pre style="white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal;margin:0;background:none;'
            f'line-height:inherit">{spelled(escape(text, quote=False))}</pre>')


def spelled(text: str) -> str:
    """The pictures of CR, LF and their like as small letters: many fonts lack them, and show an empty box."""
    def letters(match: re.Match[str]) -> str:
        names = [CONTROLS[ord(picture) - 0x2400] for picture in match[0]]
        return "".join(f"<sup>{one}</sup>" if number % 2 == 0 else f"<sub>{one}</sub>"
                       for number, one in enumerate(names))

    return re.sub("[\u2400-\u2421]+", letters, text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells of HTML under their headings, without any `style`: GitHub strips it, and themes bring their own."""
    def cells(kind: str, row: Sequence[str]) -> str:
        return "".join(f'<{kind} valign="top"><div align="left">{cell}</div></{kind}>' for cell in row)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def speaker(who: str) -> str:
    """`client` or `server`, with a bar in its color where colors are shown."""
    return f'<b style="border-left:4px solid {COLORS.get(who, INK)};padding-left:6px">{escape(NAMES.get(who, who))}</b>'


def rich(text: str) -> str:
    """A sentence as HTML: `code` between backticks, RFCs as links, lines as they are; no `style`: GitHub strips it."""
    lines = [re.sub(r"^ +", lambda spaces: "&nbsp;" * len(spaces[0]), line)
             for line in escape(text, quote=False).split("\n")]
    return link_html(re.sub(r"`([^`]+)`", r"<code>\1</code>", spelled("<br>".join(lines))))


class Note(Face):
    """A few words that show themselves without quotation marks: plain, and rendered where that is possible."""

    def __init__(self, words: str) -> None:
        self.words = words

    def text(self) -> str:
        return self.words

    def html(self) -> str:
        return f"<p>{rich(self.words)}</p>"


def say(words: str) -> None:
    """Show a note in the middle of a cell; without a notebook, print it."""
    shell = sys.modules.get("IPython")
    if shell and shell.get_ipython():
        shell.display.display(Note(words))
    else:
        print(words)

"""Who said what: a transcript in the RFCs' notation, with the octets one click away."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from smtp_from_scratch.lab.faces import Face, card, pre
from smtp_from_scratch.lab.script import Line, Record, lines_of, speakers
from smtp_from_scratch.lab.style import COLORS, INK, MONO, NAMES

BODY_SHOWN = 4096                              # octets of one body that are shown


class Transcript(Face):
    """A list of records that is also a tap: `Client(…, tap=transcript)` calls it with each `Said`."""

    def __init__(self, said: Iterable[Record] = ()) -> None:
        self.said: list[Record] = list(getattr(said, "said", said))

    def __call__(self, said: Record) -> None:
        """Note what was said."""
        self.said.append(said)

    def __len__(self) -> int:
        return len(self.said)

    def __bool__(self) -> bool:
        return True                            # a tap that has heard nothing is still a tap

    def __iter__(self) -> Iterator[Record]:
        return iter(self.said)

    def __getitem__(self, index: int) -> Record:
        return self.said[index]

    @property
    def turns(self) -> int:
        """How often somebody else began to speak."""
        return len(speakers(self.said))

    @property
    def lines(self) -> list[Line]:
        """Line by line, each with its kind."""
        return lines_of(self.said)

    def clear(self) -> None:
        """Forget everything."""
        self.said.clear()

    def text(self, octets: bool = False) -> str:
        """`C: MAIL FROM:<ana@example.org>`; with `octets`, CR LF shows as ␍␊."""
        rows = shortened(self.lines)
        if not rows:
            return "(nothing was said)"
        return "\n".join(f"{who}: {line_text(line, octets)}".rstrip(" ") for who, line in rows)

    def html(self) -> str:
        rows = [(who, line_text(line, octets=False)) for who, line in shortened(self.lines)]
        if not rows:
            return card("<em>(nothing was said)</em>")
        speech = "".join(html_row(who, text, before != who)
                         for before, (who, text) in zip(["", *(who for who, _ in rows)], rows, strict=False))
        table = f'<div role="list" aria-label="transcript">{speech}</div>'
        octets = pre(self.text(octets=True))
        return card(f'{table}<details style="margin-top:8px"><summary>the octets</summary>{octets}</details>')


def line_text(line: Line | str, octets: bool) -> str:
    """A line as it is shown; a note stays what it is."""
    return line if isinstance(line, str) else line.octets if octets else line.text


def shortened(lines: Iterable[Line]) -> list[tuple[str, Line | str]]:
    """Lines with their speakers; of a long body only the beginning, and a note of what is left out."""
    rows: list[tuple[str, Line | str]] = []
    shown, left_out, before = 0, 0, ""
    for line in lines:
        if line.kind == "body":
            if shown + len(line.data) > BODY_SHOWN:
                left_out += len(line.data)
                continue
            shown += len(line.data)
        elif left_out:
            rows.append((before, f"… {left_out:,} octets more …"))
        if line.kind != "body":
            shown = left_out = 0
        before = line.who
        rows.append((line.who, line))
    if left_out:
        rows.append((before, f"… {left_out:,} octets more …"))
    return rows


def html_row(who: str, text: str, first: bool) -> str:
    """One line in HTML: a colored bar, the speaker's name where the speaker changes."""
    color = COLORS.get(who, INK)
    label = NAMES.get(who, who) if first else ""
    return (f'<div role="listitem" style="display:flex;{"margin-top:4px" if first else ""}">'
            f'<span style="flex:0 0 52px;color:{color};font-weight:600">{label}</span>'
            f'<span style="border-left:4px solid {color};padding-left:8px;font-family:{MONO};white-space:pre-wrap;'
            f'overflow-wrap:anywhere;min-height:1.45em">{escape(text, quote=False)}</span></div>')

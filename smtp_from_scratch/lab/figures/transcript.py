"""Who said what: a transcript in the RFCs' notation, with the octets one click away."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from smtp_from_scratch.lab.figures.faces import Face, pre, speaker, table
from smtp_from_scratch.lab.figures.script import Line, Record, lines_of, speakers

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
            return "<p><em>(nothing was said)</em></p>"
        turns = [(who, [text for _, text in turn]) for who, turn in groupby(rows, key=lambda row: row[0])]
        said = table(["who", "what is said"], [[speaker(who), pre("\n".join(texts))] for who, texts in turns])
        return f"{said}<details><summary>the same, octet for octet</summary>{pre(self.text(octets=True))}</details>"


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

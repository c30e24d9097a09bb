"""Who said what: a transcript in the RFCs' notation, with the octets one click away."""
from __future__ import annotations

from itertools import groupby

from smtp_from_scratch import transcript
from smtp_from_scratch.lab.figures.faces import Face, pre, speaker, table
from smtp_from_scratch.transcript import line_text, shortened


class Transcript(transcript.Transcript, Face):
    """A list of records that is also a tap: `Client(…, tap=transcript)` calls it with each `Said`."""

    def html(self) -> str:
        rows = [(who, line_text(line, octets=False)) for who, line in shortened(self.lines)]
        if not rows:
            return "<p><em>(nothing was said)</em></p>"
        turns = [(who, [text for _, text in turn]) for who, turn in groupby(rows, key=lambda row: row[0])]
        said = table(["who", "what is said"], [[speaker(who), pre("\n".join(texts))] for who, texts in turns])
        return f"{said}<details><summary>the same, octet for octet</summary>{pre(self.text(octets=True))}</details>"

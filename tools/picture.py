"""Draw the picture of the README, out of a rehearsed session: `python tools/picture.py`.

It is small on purpose: 280 px high, and its letters can still be read where a phone shows it at three quarters.
"""
from __future__ import annotations

import sys
from pathlib import Path

from smtp_from_scratch import Envelope, lab
from smtp_from_scratch.client import deliver
from smtp_from_scratch.conversation import rehearse
from smtp_from_scratch.lab.figures.style import CLIENT, SERVER, WAITING
from smtp_from_scratch.lab.figures.svg import Drawing
from smtp_from_scratch.session import Session, serve

TARGET = Path(__file__).resolve().parent.parent / "notebooks" / "images" / "first_letter.svg"
LETTER = b"From: Ana <ana@rio.example>\nTo: Kenji <kenji@tokyo.example>\nSubject: Hello, Tokyo\n\nThe first letter.\n"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, STEP = 470.0, 280.0, 166.0, 318.0, 34.0, 16.4     # px; a step is one way of the line
WORDS = {"MAIL": "MAIL from Ana", "RCPT": "RCPT for Kenji", "(letter,": "the letter", "220": "220 ready",
         "354": "354 go on", "221": "221 goodbye"}


def session() -> lab.Ladder:
    """A whole session between Rio and Tokyo, 93 ms apart."""
    letters = [(Envelope("ana@rio.example", ["kenji@tokyo.example"]), [LETTER])]
    return lab.Ladder(rehearse(deliver("rio.example", letters), serve(Session("mx.tokyo.example")), latency=0.093),
                      title="A letter from Rio to Tokyo")


def words(label: str) -> str:
    """What is said, as short as it can be."""
    first = label.split()[0]
    return "250 it is ours now" if "ours" in label else WORDS.get(first, first)


def picture(ladder: lab.Ladder) -> str:
    """Time runs down: the client left, the server right, an arrow for each flight, gray where an end waits."""
    pen, spoke = Drawing(), dict[str, float]()
    end = TOP + STEP * ladder.seconds / ladder.latency
    for who, x, color in (("Ana, in Rio", LEFT, CLIENT), ("Tokyo", RIGHT, SERVER)):
        pen.text(x, TOP - 14, who, anchor="middle", size=15, bold=True, color=color)
        pen.line((x, TOP - 6), (x, end + 4), stroke=color, line=2)
    arrows = Drawing()
    for flight in ladder.flights:
        client = flight.role == "C"
        here, there, away, color = (LEFT, RIGHT, -1, CLIENT) if client else (RIGHT, LEFT, 1, SERVER)
        leaves, arrives = (TOP + STEP * when / ladder.latency for when in (flight.left, flight.arrived))
        if (since := spoke.get(flight.role)) is not None and leaves > since + 1:
            pen.box(here - 4, since, 8, leaves - since, fill=WAITING, stroke="none", radius=2)
        spoke[flight.role] = leaves
        arrows.arrow((here - away * 5, leaves), (there + away * 5, arrives), color)
        arrows.text(here + away * 13, leaves + 5, words(flight.labels[0]), anchor="end" if client else "start", size=15)
    pen.box(LEFT - 4, spoke["C"], 8, end - spoke["C"], fill=WAITING, stroke="none", radius=2)
    arrows.text(WIDTH / 2, HEIGHT - 9, f"{ladder.seconds:.2f} seconds, and gray is waiting", anchor="middle", size=15)
    pen.shapes += arrows.shapes
    return pen.render(WIDTH, HEIGHT, ladder.title, ladder.text())


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(picture(session()), "utf-8")
    sys.stdout.write(f"{TARGET.name} drawn\n")

"""Draw the picture of the README, out of a rehearsed session: `python tools/picture.py`."""
from __future__ import annotations

import sys
from pathlib import Path

from smtp_from_scratch import Envelope, lab
from smtp_from_scratch.client import deliver
from smtp_from_scratch.conversation import rehearse
from smtp_from_scratch.session import Session, serve

TARGET = Path(__file__).resolve().parent.parent / "notebooks" / "images" / "first_letter.svg"
LETTER = b"From: Ana <ana@rio.example>\nTo: Kenji <kenji@tokyo.example>\nSubject: Hello, Tokyo\n\nThe first letter.\n"


def picture() -> str:
    """A whole session between Rio and Tokyo, 93 ms apart, as SVG."""
    letters = [(Envelope("ana@rio.example", ["kenji@tokyo.example"]), [LETTER])]
    play = rehearse(deliver("rio.example", letters), serve(Session("mx.tokyo.example")), latency=0.093)
    return str(lab.Ladder(play, title="A letter from Rio to Tokyo").svg(860))


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(picture(), "utf-8")
    sys.stdout.write(f"{TARGET.name} drawn\n")

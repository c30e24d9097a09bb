"""What was said in a session, as it is said."""
from __future__ import annotations

import random
import time

import pytest

from smtp_from_scratch.dialogue import Dialogue
from smtp_from_scratch.transcript import BODY_SHOWN, Said

LONG = b"".join(b"%04d They are ripe.\r\n" % number for number in range(400)) + b"..dot\r\n"
BY_DATA = [("C", b"DATA\r\n"), ("S", b"354 go on\r\n"), ("C", LONG + b".\r\nRSET\r\n"), ("S", b"250 ok\r\n250 ok\r\n")]
BY_BDAT = [("C", b"BDAT %d LAST\r\n" % len(LONG) + LONG + b"RSET\r\n"), ("S", b"250 ok\r\n250 ok\r\n")]


def rows(said: list[tuple[str, bytes]], cut: int) -> list[tuple[str, str]]:
    """What is kept of it, heard in pieces of about so many octets."""
    dialogue, chance = Dialogue(), random.Random(cut)
    for role, data in said:
        while data:
            size = chance.randint(1, cut)
            dialogue.feed(Said(0.0, role, data[:size]))
            data = data[size:]
    return [(row["kind"], row["text"]) for row in dialogue.rows]


@pytest.mark.parametrize("said", [BY_DATA, BY_BDAT], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("cut", [30, 100, 5000, 10**6])
def test_a_long_body_is_counted_however_it_is_cut(said: list[tuple[str, bytes]], cut: int) -> None:
    kept = rows(said, cut)
    [note] = [text for kind, text in kept if kind == "note"]
    shown = len(LONG) - int(note.split()[1].replace(",", ""))
    assert BODY_SHOWN - 100 < shown <= BODY_SHOWN
    assert kept[-3:] == [("command", "RSET"), ("reply", "250 ok"), ("reply", "250 ok")]


def test_a_body_that_is_not_shown_is_not_read_line_by_line() -> None:
    def seconds(line: bytes) -> float:
        dialogue, piece = Dialogue(), line * (65_000 // len(line))
        for role, data in [*BY_DATA[:2], ("C", LONG)]:
            dialogue.feed(Said(0.0, role, data))
        began = time.process_time()
        for _ in range(100):
            dialogue.feed(Said(0.0, "C", piece))
        assert dialogue.rows[-1]["text"].endswith("octets more")
        return time.process_time() - began

    assert seconds(b"a\r\n") < 10 * seconds(b"a" * 998 + b"\r\n") + 0.5

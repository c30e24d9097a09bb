"""Lines of limited length. (What `printable` and `logger` do is tested where things are shown and logged.)"""
from __future__ import annotations

import pytest

from smtp_from_scratch.printable import folded


@pytest.mark.parametrize("text, pieces", [
    ("", [""]), ("ten octets", ["ten octets"]), ("ten octets!", ["ten ", "octets!"]),
    ("0123456789a", ["0123456789", "a"]),
    ("a b c d e f g", ["a b c d e ", "f g"]), ("mangoes    for Li", ["mangoes   ", " for Li"]),
])
def test_a_line_is_cut_at_spaces_where_there_are_some(text: str, pieces: list[str]) -> None:
    assert folded(text, 10) == pieces


@pytest.mark.parametrize("room", [4, 5, 7, 11])
def test_no_piece_is_too_long_and_no_character_is_cut(room: int) -> None:
    text = "José e Ana 用户 😀😀 não"
    pieces = folded(text, room)
    assert "".join(pieces) == text and max(len(piece.encode()) for piece in pieces) <= room

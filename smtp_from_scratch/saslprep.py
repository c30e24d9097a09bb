"""One spelling for each name and password, however it was typed: SASLprep (RFC 4013, RFC 3454)."""
from __future__ import annotations

import stringprep
from collections.abc import Mapping
from typing import TypeVar
from unicodedata import ucd_3_2_0

__all__ = ["by_name", "saslprep"]

T = TypeVar("T")
PROHIBITED = {                                 # RFC 4013 §2.3
    stringprep.in_table_c21_c22: "a control character", stringprep.in_table_c3: "a private character",
    stringprep.in_table_c4: "what is no character", stringprep.in_table_c5: "half a surrogate pair",
    stringprep.in_table_c6: "a stand-in for what cannot be shown", stringprep.in_table_c7: "a description of a glyph",
    stringprep.in_table_c8: "a character that changes how others are shown", stringprep.in_table_c9: "a tag"}


def saslprep(text: str, stored: bool = False) -> str:
    """One spelling of a name or password, however it was typed; ValueError for what may not be in it (RFC 4013).

    `stored`: characters that Unicode 3.2 did not have are refused; a password is such a string (RFC 5802 §2.2).
    """
    spaced = (" " if stringprep.in_table_c12(c) else c for c in text)
    normal = ucd_3_2_0.normalize("NFKC", "".join(c for c in spaced if not stringprep.in_table_b1(c)))
    if not normal:
        raise ValueError("a name or a password has at least one character")
    for prohibited, what in PROHIBITED.items():
        if any(map(prohibited, normal)):
            raise ValueError(f"a name or a password may not have {what} in it (RFC 4013 §2.3)")
    if stored and any(map(stringprep.in_table_a1, normal)):
        raise ValueError("a password may not have a character newer than Unicode 3.2 in it (RFC 5802 §2.2)")
    check_direction(normal)
    return normal


def check_direction(text: str) -> None:
    """ValueError for text that runs from right to left in parts (RFC 4013 §2.4, RFC 3454 §6)."""
    to_the_left = [stringprep.in_table_d1(c) for c in text]
    if any(to_the_left):
        if any(map(stringprep.in_table_d2, text)) or not (to_the_left[0] and to_the_left[-1]):
            raise ValueError("a name or a password runs from right to left as a whole, or not at all (RFC 4013 §2.4)")


def by_name(users: Mapping[str, T]) -> dict[str, T]:
    """The same by prepared name; ValueError for a name that is refused, or stands there in two spellings."""
    prepared: dict[str, T] = {}
    for user, what in users.items():
        name = saslprep(user)
        if name in prepared:
            raise ValueError(f"{name!r} is there twice, in two spellings: one user has one line")
        prepared[name] = what
    return prepared

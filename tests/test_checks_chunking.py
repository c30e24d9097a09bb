"""The checks of `chunking` say what is wrong, one thing at a time, whatever a learner hands in."""
from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.chunking import parse_bdat
from smtp_from_scratch.conversation import read_reply

COUNTS = {"A": "BDAT 10", "B": "BDAT 3 LAST", "C": "BDAT 0 LAST", "D": "BDAT 10 LAST", "E": None}
MISTAKES = {"A": 4, "B": 5, "C": 7, "D": 6, "E": 2}
BRIDGE = b"Subject: Your bridge\r\n\r\nIt is closed again.\r\n"
FORGED = b"MAIL FROM:<kenji@tokyo.example>\r\nRCPT TO:<mayor@tokyo.example>\r\n"


def test_the_chapter_s_own_passes() -> None:
    assert lab.check_bdat(parse_bdat).passed
    assert lab.check_counts(COUNTS).passed and lab.check_mistakes(MISTAKES).passed


def friendly(argument: str) -> Any:
    size, _, marker = argument.partition(" ")
    return (int(size), marker.upper() == "LAST") if size.strip("-+").isdigit() else None


@pytest.mark.parametrize("my_bdat, says", [
    (lambda argument: None, "Not yet"), (lambda argument: ..., "Not yet"), (friendly, "for '-1'"),
    (lambda argument: parse_bdat(argument) and (1, True), "for '86'"),
    (lambda argument: int(argument.split()[0]), "86 for '86'"),
    (lambda argument: parse_bdat(argument.replace("FIRST", "LAST")), "'86 FIRST'"),
])
def test_sizes(my_bdat: Any, says: str) -> None:
    assert says in lab.check_bdat(my_bdat).text() and not lab.check_bdat(my_bdat).passed


@pytest.mark.parametrize("change, says", [
    ({"A": "BDAT 8"}, "octets, not characters"), ({"A": "BDAT 10 LAST"}, "for A"), ({"B": "BDAT 4 LAST"}, "for B"),
    ({"C": None}, "empty chunk"), ({"E": "BDAT 9 LAST"}, "§2.3.8"), ({"D": ...}, "Not yet"), ({"D": 10}, "10 for D"),
])
def test_counts(change: dict[str, Any], says: str) -> None:
    verdict = lab.check_counts(COUNTS | change)
    assert says.lower() in verdict.text().lower() and not verdict.passed


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str) -> None:
    verdict = lab.check_mistakes(MISTAKES | {name: 1})
    assert f"line 1 for {name}" in verdict.text() and verdict.problem
    assert "Not yet" in lab.check_mistakes(MISTAKES | {name: "four"}).text()


@pytest.mark.parametrize("flight, says", [
    (..., "Not yet"), ("BDAT 5", "a str"), (b"BDAT 6 LAST\r\noops\r\n", "correct server answers"),
    (b"BDAT 4294967302 LAST\r\noops\r\n", "what leaves the other server"),
    (b"BDAT 4294967302 LAST\r\noops\r\n" + FORGED + b"BDAT 4 LAST\r\nhi\r\n", "that reads"),
    (b"BDAT 4294967290 LAST\r\noops\r\n", "what leaves the other server"), (b"NOOP\r\n", "correct server answers"),
    (b"BDAT x LAST\r\noops\r\n", "ValueError"),
])
def test_flights(flight: Any, says: str) -> None:
    verdict = lab.check_flight(flight)
    assert says in verdict.text() and not verdict.passed


def test_a_forged_letter_by_data_counts_as_well() -> None:
    assert lab.check_flight(b"BDAT 4294967302 LAST\r\noops\r\n" + FORGED + b"DATA\r\n" + BRIDGE + b".\r\n").passed


def sender(last: bool = True, count: int = 0, rset: bool = True, empty: bool = True, waits: bool = False,
           counts: int = 0) -> Any:
    """A client with a mistake, or without one."""
    def my_sender(pieces: list[bytes]) -> Generator[Any, Any, Any]:
        pieces, replies = pieces or [b""] * empty, []
        for number, piece in enumerate(pieces, 1):
            yield b"BDAT %d%s\r\n" % (len(piece) + count, b" LAST" * (last and number == len(pieces))) + piece
            if waits:
                replies.append((yield from read_reply()))
        for _ in pieces[len(replies) :]:
            replies.append((yield from read_reply()))
        refused = [reply for reply in replies if not reply.positive]
        if refused and rset:
            yield b"RSET\r\n"
            yield from read_reply()
        return (refused or replies)[counts] if refused else replies[-1] if replies else None

    return my_sender


@pytest.mark.parametrize("options, says", [
    ({"last": False}, "LAST stands on the last"), ({"count": 1}, "octets counted"), ({"rset": False}, "RSET after"),
    ({"empty": False}, "chunk that is empty"), ({"waits": True}, "listens between chunks"),
    ({"counts": -1}, "first refusal"),
])
def test_senders(options: dict[str, Any], says: str) -> None:
    assert lab.check_sender(sender()).passed
    verdict = lab.check_sender(sender(**options))
    assert says in verdict.text() and not verdict.passed


def test_a_sender_that_is_not_written_yet() -> None:
    def stub(pieces: list[bytes]) -> Any:
        yield

    assert "Not yet" in lab.check_sender(stub).text()

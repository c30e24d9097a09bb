"""SIZE says exactly how many octets are sent, or nothing (RFC 1870 §5): every source, every line end, DATA and BDAT."""
from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Client, Reply, Server, SMTPNotSupportedError, message
from smtp_from_scratch.conversation import Conversation, Line, rehearse
from smtp_from_scratch.ehlo import ExtensionSet
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.session import serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.status import CodedClientSession, CodedSession
from tests.bodies import unstuffed
from tests.whole_session import ready, whole_session

WITHOUT = {"DATA": ["CHUNKING"], "BDAT": [], "DATA, step by step": ["CHUNKING", "PIPELINING"]}


class Reread:
    """An iterable that can be read again and again, and says no length."""

    def __init__(self, blocks: list[bytes]) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)


class Pipe(io.BytesIO):
    """A file that can be read once."""

    def seekable(self) -> bool:
        return False


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    """Octets in pieces, cut in these places."""
    ends = sorted({min(place, len(octets)) for place in places})
    return [octets[start:end] for start, end in zip([0, *ends], [*ends, len(octets)], strict=True)]


SOURCES: dict[str, Any] = {
    "bytes": lambda octets, places: octets, "bytearray": lambda octets, places: bytearray(octets),
    "str": lambda octets, places: octets.decode("utf-8", "replace"),
    "file": lambda octets, places: io.BytesIO(octets), "list": cut, "tuple": lambda *given: tuple(cut(*given)),
    "iterator": lambda octets, places: iter(cut(octets, places)), "pipe": lambda octets, places: Pipe(octets),
    "iterable": lambda octets, places: Reread(cut(octets, places)),
}
KNOWN = ("bytes", "bytearray", "str", "file", "list", "tuple")


def said_and_sent(body: Any, how: str, binary: bool = False, without: tuple[str, ...] = ()) -> tuple[str, int]:
    """What SIZE= says in MAIL, empty when it is not said; and the octets that the server has taken in."""
    kept: list[bytes] = []
    server = CodedSession("mx", lambda envelope, file: kept.append(file.read()),
                          extensions=ExtensionSet(server_extensions()))
    client = CodedClientSession("c.example", tuple(client_extensions(without=[*WITHOUT[how], *without])))

    def messages() -> Iterator[Any]:
        yield ready(client, Envelope("a@x.example", ["b@y.example"]), body, binary)

    show = rehearse(whole_session(client, messages()), serve(server))
    assert show.client[0].accepted == ["b@y.example"], show.client[0]
    said = b"".join(record.data for record in show.said if record.role == "C")
    found = re.search(rb"^MAIL [^\r]* SIZE=(\d+)", said, re.MULTILINE)
    if "DATA" in how:                          # what travelled, without the dots that DATA adds, is what arrived
        travelled = unstuffed([said.partition(b"DATA\r\n")[2]])
        assert travelled == kept[0]
    return found[1].decode() if found else "", len(kept[0])


# the header's line end, then the body's lines, then the last line's end
TEXT = st.builds(
    lambda end, lines, last: b"Subject: x" + end + end + b"".join(lines) + last,
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
    st.lists(st.sampled_from([b".", b"..", b"a", b"\xc3\xa9", b"\n", b"\r", b"\r\n", b"\r\n.\r\n", b"\n.\n",
                              b"\r\r\n"]), max_size=12),
    st.sampled_from([b"", b"z", b"\n", b"\r", b"\r\n"]))


@given(TEXT | st.binary(max_size=8).map(b"\r\n".__add__), st.sampled_from(sorted(SOURCES)),
       st.sampled_from(sorted(WITHOUT)), st.lists(st.integers(0, 40), max_size=5), st.integers(1, 7), st.booleans())
def test_size_is_exact_or_not_said(octets: bytes, source: str, how: str, places: list[int], block: int,
                                   old: bool) -> None:
    """An `old` client does not use 8BITMIME: then it must read all there is before it knows whether it may go."""
    octets = octets.decode("ascii", "replace").encode("ascii", "replace") if old else octets
    with patch.object(message, "BLOCK", block):
        said, sent = said_and_sent(SOURCES[source](octets, places), how,
                                   without=("8BITMIME",) if old else ())
    assert said == str(sent) or (said == "" and source not in KNOWN and not old)


@given(st.binary(max_size=40), st.sampled_from(sorted(SOURCES)), st.lists(st.integers(0, 40), max_size=5),
       st.integers(1, 7))
def test_the_size_of_a_binary_letter_is_its_own(octets: bytes, source: str, places: list[int], block: int) -> None:
    with patch.object(message, "BLOCK", block):
        if source == "str":
            octets = octets.decode("utf-8", "replace").encode()
        said, sent = said_and_sent(SOURCES[source](octets, places), "BDAT", binary=True)
    assert sent == len(octets) and said == (str(sent) if source in KNOWN else "")


@pytest.mark.parametrize("octets", [
    b"Subject: x\r\n\r\na\nb\nc\n", b"Subject: x\n\na\nb", b"Subject: x\r\ra\rb", b"Subject: x\r\n\r\na\r\nb",
    b"Subject: x\r\n\r\n" + b"a\n" * 200_000, b"Subject: x\r\n\r\n" + b"a" * 262_128 + b"\r\n\r\nb\n", b"", b"\r", b".",
])
@pytest.mark.parametrize("how", WITHOUT)
@pytest.mark.parametrize("source", KNOWN)
def test_line_ends_that_are_not_the_headers(octets: bytes, how: str, source: str) -> None:
    said, sent = said_and_sent(SOURCES[source](octets, [5, 14, 262_144]), how)
    assert said == str(sent)


def test_a_file_is_sent_from_where_it_stands() -> None:
    file = io.BytesIO(b"leave this out\nSubject: x\n\nhello\n")
    file.readline()
    assert said_and_sent(file, "DATA") == ("21", 21)


def test_what_can_be_read_only_once_is_not_read_beforehand() -> None:
    """Neither an iterator, nor an object that only looks as if it could be read again."""
    class Once:
        def __init__(self) -> None:
            self.blocks = iter([b"Subject: x\r\n\r\n", b"hello\r\n"])

        def __iter__(self) -> Iterator[bytes]:
            return self.blocks

    for body in (iter([b"Subject: x\r\n\r\n", b"hello\r\n"]), Once()):
        assert said_and_sent(body, "BDAT") == ("", 21)


def test_what_can_be_read_only_once_is_sent_once() -> None:
    class Once:
        blocks = iter([b"hello\r\n"])

        def __iter__(self) -> Iterator[bytes]:
            return self.blocks

    with Server(max_recipients=1) as server, Client(*server.address) as client:
        receipt = client.sendmail("a@x.example", ["b@y.example", "c@y.example"], Once())
        assert receipt.accepted == ["b@y.example"] and receipt.refused["c@y.example"].code == 452
        assert [letter.data for letter in server.wait_for(1)] == [b"hello\r\n"]


# --- limits that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [b"9" * 5000, b"lots", b"-1", b"1_000", b"1e3", b"\xd9\xa1", b"0", b"", b"1 000"],
                         ids=lambda size: size.decode()[:9] or "empty")
def test_a_limit_that_is_no_number_is_no_limit_known(size: bytes) -> None:
    """`250 SIZE` with 5,000 digits is more than Python makes an int of."""
    client = CodedClientSession("c.example", tuple(client_extensions()))

    def server() -> Conversation[None]:
        yield b"220 mx\r\n"
        for reply in (b"250-mx\r\n250 SIZE %b\r\n" % size, b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"):
            yield Line()
            yield reply
        while (yield Line()) != b".":
            pass
        yield b"250 kept\r\n"
        yield Line()
        yield b"221 bye\r\n"

    messages = (ready(client, Envelope("a@x.example", ["b@y.example"]), b"x\r\n" * 700) for _ in range(1))
    assert rehearse(whole_session(client, messages), server()).client[0].accepted == ["b@y.example"]


def test_a_limit_is_still_a_limit() -> None:
    def nobody(envelope: Envelope, body: Any) -> Reply:
        raise AssertionError("nothing was to be sent")

    with Server(max_size=1000, deliver=nobody) as server, Client(*server.address) as client, \
            pytest.raises(SMTPNotSupportedError, match="1002 octets; the server takes 1000"):
        client.sendmail("a@x.example", "b@y.example", io.BytesIO(b"a\n" * 334))

"""Bodies in counted pieces (RFC 3030): octets that a server does not want, and octets that a client never sends."""
from __future__ import annotations

import errno
import math
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Client, Envelope, Reply, Server, SMTPNotSupportedError, bodies, chunking, lab
from smtp_from_scratch.bodies import Spool
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.chunking import BinaryMime, Chunking, Octets, once, parse_bdat, regroup, whole_lines
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Disconnected, Line, NotYet, read_reply, rehearse
from smtp_from_scratch.ehlo import EightBitMime, ExtensionSet, Size, check_requirements
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.session import Limits, serve
from smtp_from_scratch.status import CodedClientSession, CodedSession, EnhancedStatusCodes
from smtp_from_scratch.transaction import OutgoingMessage, Plan
from tests.whole_session import whole_session

LIMIT = 10_000                                  # octets of a letter
HEAD = b"Subject: hi\r\n\r\n"
Cut = Callable[[bytes], Iterable[bytes]]
ENVELOPE = b"MAIL FROM:<ana@rio.example>\r\nRCPT TO:<kenji@tokyo.example>\r\n"
BINARY = b"MAIL FROM:<ana@rio.example> BODY=BINARYMIME\r\nRCPT TO:<kenji@tokyo.example>\r\n"


def chunk(octets: bytes, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" * last) + octets


class Tokyo:
    """Our server, rehearsed: what it was left with, and what it opened to put chunks aside."""

    def __init__(self, **options: Any) -> None:
        self.letters: list[bytes] = []
        self.spools: list[Any] = []
        options.setdefault("deliver", lambda envelope, body: self.letters.append(body.read()))
        extensions = [Size(), EightBitMime(), Pipelining(), Chunking(), BinaryMime()]
        self.session = CodedSession("mail.tokyo.example", extensions=ExtensionSet(extensions),
                                    limits=Limits(max_size=options.pop("limit", LIMIT)), **options)

    def hears(self, said: bytes, cut: Cut | None = None, hello: bool = True) -> list[int]:
        """The codes of its replies to these octets, from the one to EHLO on; the greeting is left out."""
        real = bodies.BytesIO

        def noted(*arguments: Any, **named: Any) -> Any:
            self.spools.append(real(*arguments, **named))
            return self.spools[-1]

        with patch.object(bodies, "BytesIO", noted):
            show = rehearse(caller((b"EHLO rio.example\r\n" if hello else b"") + said), serve(self.session),
                            cut=cut, patient=True)
        return [reply.code for reply in show.client[1:]]


def caller(said: bytes) -> Conversation[list[Reply]]:
    """Says all at once, then listens to the end."""
    replies: list[Reply] = []
    yield said
    with suppress(Disconnected):
        while True:
            replies.append((yield from read_reply(timeout=100_000.0)))
    return replies


# --- the server: what is refused is read -----------------------------------------------------------------------------

REFUSED = {
    "before EHLO": (b"", [503]),
    "before MAIL": (b"EHLO rio.example\r\n", [250, 503]),
    "before RCPT": (b"EHLO rio.example\r\nMAIL FROM:<ana@rio.example>\r\n", [250, 250, 503]),
    "after HELO": (b"HELO rio.example\r\n", [250, 503]),
    "after a refused MAIL": (b"EHLO rio.example\r\nMAIL FROM:<ana@rio.example> FROB=1\r\n", [250, 555, 503]),
    "after the last chunk": (b"EHLO rio.example\r\n" + ENVELOPE + chunk(HEAD, last=True), [250, 250, 250, 250, 503]),
}


@pytest.mark.parametrize("octets", [b"MAIL FROM", b"QUIT\r\n", b"NOOP\r\nNOOP\r\n", b".\r\n", b"\n" * 3000,
                                    b"x" * 100_000])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("case", REFUSED)
def test_the_octets_of_a_refused_chunk_are_no_commands(case: str, last: bool, octets: bytes) -> None:
    before, codes = REFUSED[case]
    with patch.object(bodies, "SPOOL_IN_MEMORY", 100):
        tokyo = Tokyo(limit=100_000)
        assert tokyo.hears(before + chunk(octets, last) + b"NOOP\r\nQUIT\r\n", hello=False) == [*codes, 250, 221]
    assert tokyo.letters == [HEAD] * ("last" in case)


def test_when_all_recipients_were_refused_chunks_are_read_and_refused() -> None:
    tokyo = Tokyo(accept_recipient=lambda address, envelope: Reply(550, "nobody"))
    said = ENVELOPE + chunk(b"RSET\r\n") + chunk(b"QUIT\r\n", last=True)
    assert tokyo.hears(said + b"NOOP\r\nQUIT\r\n") == [250, 250, 550, 503, 503, 250, 221]
    assert not tokyo.letters and not tokyo.spools


@pytest.mark.parametrize("size", [b"-1", b"abc", b"+5", b"0x10", b"1e3", b"5 FOO", b"", b"99999999999999999999",
                                  b"5 LAST LAST", b"LAST", b"LAST 5", b"5LAST", b"5 6", b"5.0", b"1_000", b"5,",
                                  b"5\tLAST", b"''"])
def test_a_size_that_cannot_be_read_ends_the_session(size: bytes) -> None:
    """Nobody knows where the next command begins: what follows is not obeyed (security by closing)."""
    tokyo = Tokyo()
    codes = tokyo.hears(ENVELOPE + b"BDAT " + size + b"\r\n" + HEAD + chunk(b"more", last=True) + b"NOOP\r\nQUIT\r\n")
    assert codes == [250, 250, 250, 421] and not tokyo.letters


@pytest.mark.parametrize("line", ["BDAT 5é".encode(), b"BDAT \xff5", b"BDAT 5\0"])
def test_a_line_that_cannot_be_read_ends_the_session(line: bytes) -> None:
    tokyo = Tokyo()
    assert tokyo.hears(ENVELOPE + line + b"\r\nRSET\r\nNOOP\r\nQUIT\r\n") == [250, 250, 250, 421]
    assert not tokyo.letters


@pytest.mark.parametrize("size", [2 * LIMIT + 1_000_001, 2**31 + 6, 2**32 + 6, 2**59, 999_999_999_999_999_999])
def test_a_size_beyond_all_measure_ends_the_session(size: int) -> None:
    """It would be read for hours, only to be refused."""
    tokyo = Tokyo()
    assert tokyo.hears(ENVELOPE + b"BDAT %d LAST\r\nNOOP\r\nQUIT\r\n" % size) == [250, 250, 250, 421]
    assert not tokyo.letters


def test_no_room_is_made_for_what_is_only_announced() -> None:
    tokyo = Tokyo(limit=None)
    tracemalloc.start()
    try:
        assert tokyo.hears(ENVELOPE + b"BDAT 99999999999 LAST\r\nten octets") == [250, 250, 250, 421]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert not tokyo.letters and tokyo.spools[0].closed


@pytest.mark.parametrize("argument", ["5", "5 last", "05 LAST", "000000000000000005 LaSt", " 5  LAST ", "0", "0 LAST"])
def test_what_a_size_may_look_like(argument: str) -> None:
    assert parse_bdat(argument) == (int(argument.split()[0]), argument.upper().strip().endswith("LAST"))


@pytest.mark.parametrize("argument", ["\u0665", "\uff15 LAST", "5\u00a0LAST", "5 LA\u017fT", "5\n", "5\x0bLAST",
                                      "1" * 19])
def test_what_is_no_size(argument: str) -> None:
    """Digits of other scripts, and letters that are only similar, are none of RFC 3030's."""
    assert parse_bdat(argument) is None


def test_chunks_without_octets() -> None:
    tokyo = Tokyo()
    said = ENVELOPE + chunk(b"") + chunk(HEAD) + chunk(b"") + chunk(b"", last=True)
    said += ENVELOPE + chunk(b"", last=True) + b"QUIT\r\n"
    assert tokyo.hears(said) == [250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 221]
    assert tokyo.letters == [HEAD, b""]


@given(st.lists(st.binary(min_size=1, max_size=40)), st.integers(0, 200))
def test_octets_are_taken_as_they_come_and_not_one_too_many(pieces: list[bytes], count: int) -> None:
    want, channel, taken = Octets(count), Channel(), b""
    for piece in pieces:
        channel.receive(piece)
        block = want.take(channel)
        if isinstance(block, NotYet):
            assert not want.left, "what has come is not held back"
        else:
            taken += block
    whole = b"".join(pieces)
    assert taken == whole[:count] and want.left == count - len(taken)
    assert channel.inbox.octets(10_000) == whole[count:], "what follows stays for whoever wants it next"


# --- the server: order -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [b"DATA", b"RCPT TO:<yui@tokyo.example>", b"MAIL FROM:<li@beijing.example>"])
def test_between_chunks_nothing_else_is_said_of_the_letter(command: bytes) -> None:
    tokyo = Tokyo()
    said = ENVELOPE + chunk(HEAD) + command + b"\r\n" + chunk(b"text\r\n", last=True) + b"QUIT\r\n"
    assert tokyo.hears(said) == [250, 250, 250, 250, 503, 250, 221]
    assert tokyo.letters == [HEAD + b"text\r\n"]


def test_data_and_bdat_in_one_session() -> None:
    tokyo = Tokyo()
    by_data = b"DATA\r\nSubject: DATA\r\n\r\n..dot\r\n.\r\n"
    said = ENVELOPE + by_data + ENVELOPE + chunk(HEAD + b"..dot\r\n.\r\n", last=True) + ENVELOPE + by_data + b"QUIT\r\n"
    assert tokyo.hears(said) == [250, 250, 250, 354, 250, 250, 250, 250, 250, 250, 354, 250, 221]
    kept = b"Subject: DATA\r\n\r\n.dot\r\n"
    assert tokyo.letters == [kept, HEAD + b"..dot\r\n.\r\n", kept]


@pytest.mark.parametrize("command", [b"NOOP", b"VRFY kenji", b"HELP", b"FROB"])
def test_between_chunks_other_things_may_be_said(command: bytes) -> None:
    tokyo = Tokyo()
    tokyo.hears(ENVELOPE + chunk(HEAD) + command + b"\r\n" + chunk(b"text\r\n", last=True) + b"QUIT\r\n")
    assert tokyo.letters == [HEAD + b"text\r\n"]


@pytest.mark.parametrize("command", [b"RSET", b"EHLO rio.example"])
def test_chunks_are_dropped_and_forgotten(command: bytes) -> None:
    tokyo = Tokyo()
    said = ENVELOPE + chunk(b"Subject: dropped\r\n\r\n") + command + b"\r\n"
    assert tokyo.hears(said + ENVELOPE + chunk(HEAD, last=True) + b"QUIT\r\n") == [250] * 8 + [221]
    assert tokyo.letters == [HEAD] and [spool.closed for spool in tokyo.spools] == [True, True]


ENDS = {
    "QUIT": b"QUIT\r\n", "a bad size": b"BDAT x\r\n", "too many errors": b"FROB\r\n" * 30, "a broken line": b"",
    "a broken line within a chunk": b"BDAT 100\r\nhello",
    "a broken line within the last chunk": b"BDAT 100 LAST\r\nhello",
}


@pytest.mark.parametrize("end", ENDS)
def test_an_unfinished_letter_is_dropped_and_never_delivered(end: str) -> None:
    tokyo = Tokyo()
    tokyo.hears(ENVELOPE + chunk(HEAD) + ENDS[end])
    assert not tokyo.letters and [spool.closed for spool in tokyo.spools] == [True] and not tokyo.session.resources


def test_a_caller_who_hangs_up_within_a_chunk() -> None:
    """Over a socket: the thread ends, and nothing is left open."""
    with Server() as server:
        with lab.raw(server.address) as line:
            line.say(b"EHLO rio.example\r\n" + ENVELOPE + b"BDAT 1000 LAST\r\nonly this")
        deadline = time.monotonic() + 5
        while server._stage.callers and time.monotonic() < deadline:
            time.sleep(0.01)
    assert not server._stage.callers and not server.messages


# --- the server: limits ----------------------------------------------------------------------------------------------


def test_a_letter_at_the_limit_and_one_above() -> None:
    for octets, codes in ((LIMIT, [250, 250]), (LIMIT + 1, [250, 552])):
        tokyo = Tokyo()
        body = (b"x" * 98 + b"\r\n") * 101
        said = chunk(body[: LIMIT - 50]) + chunk(body[: octets - LIMIT + 50], last=True)
        assert tokyo.hears(ENVELOPE + said + b"NOOP\r\nQUIT\r\n") == [250, 250, 250, *codes, 250, 221]
        assert [len(letter) for letter in tokyo.letters] == [octets] * (octets == LIMIT)


def test_after_a_fault_each_chunk_is_read_and_refused_until_last() -> None:
    tokyo = Tokyo()
    said = chunk(b"x" * LIMIT) + chunk(b"y") + chunk(b"QUIT\r\n") + chunk(b"RSET\r\n", last=True)
    said += chunk(b"QUIT\r\n", last=True)
    assert tokyo.hears(ENVELOPE + said + ENVELOPE + chunk(HEAD, last=True) + b"QUIT\r\n") == [
        250, 250, 250, 250, 552, 552, 552, 503, 250, 250, 250, 221]
    assert tokyo.letters == [HEAD] and all(spool.closed for spool in tokyo.spools)


def test_what_is_too_large_takes_no_room() -> None:
    tokyo = Tokyo()
    sizes: list[int] = []
    with patch.object(Spool, "close", lambda self: (sizes.append(self.file.tell()), self.file.close())):
        assert 552 in tokyo.hears(ENVELOPE + chunk(b"x" * 500_000) + b"RSET\r\nQUIT\r\n", cut=in_pieces(1000))
    assert sizes and max(sizes) <= LIMIT


def test_a_full_disk_is_told_when_the_chunk_is_read() -> None:
    """452 (RFC 5321 §4.2.3), and the session goes on."""
    def full(spool: Spool, octets: int) -> None:
        if octets == len(b"full"):
            raise OSError(errno.ENOSPC, "no space left")

    tokyo = Tokyo()
    with patch.object(Spool, "_make_room", full):
        codes = tokyo.hears(ENVELOPE + chunk(HEAD) + chunk(b"full") + chunk(b"QUIT\r\n") + chunk(b"", last=True)
                            + ENVELOPE + chunk(HEAD, last=True) + b"QUIT\r\n")
    assert codes == [250, 250, 250, 250, 452, 452, 452, 250, 250, 250, 221] and tokyo.letters == [HEAD]


class FullDisk:
    """A spool that takes a while, and then nothing more; closing it complains once more."""

    def __init__(self, *_: Any) -> None:
        self.closed = False

    def write(self, block: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    def close(self) -> None:
        self.closed = True
        raise OSError(errno.ENOSPC, "no space left")


def test_a_spool_that_cannot_even_be_closed() -> None:
    tokyo = Tokyo()
    with patch.object(bodies, "BytesIO", FullDisk):
        assert tokyo.hears(ENVELOPE + chunk(HEAD) + b"RSET\r\nNOOP\r\nQUIT\r\n") == [250, 250, 250, 452, 250, 250, 221]


@pytest.mark.parametrize("outcome, code", [(Reply(451, "later"), 451), (Reply(554, "never"), 554), (None, 250),
                                           ({"kenji@tokyo.example": Reply(452, "full")}, 452), (OSError("disk"), 451)])
def test_the_last_reply_is_that_of_the_delivery(outcome: Any, code: int) -> None:
    def deliver_so(envelope: Envelope, body: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    tokyo = Tokyo(deliver=deliver_so)
    assert tokyo.hears(ENVELOPE + chunk(HEAD, last=True) + b"NOOP\r\nQUIT\r\n") == [250, 250, 250, code, 250, 221]
    assert tokyo.spools[0].closed


# --- the server: octets ----------------------------------------------------------------------------------------------


def in_pieces(size: int) -> Callable[[bytes], Iterator[bytes]]:
    return lambda data: (data[start : start + size] for start in range(0, len(data), size))


TEXTS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.\r\n", b"BDAT 5\r\n", b"\0", b"\xff",
                                  b"hello", b"QUIT"]))


@given(TEXTS, st.lists(st.integers(0, 40), max_size=12), st.integers(0, 2**32), st.booleans())
def test_however_it_is_chunked_and_cut_the_letter_is_the_same(
        parts: list[bytes], sizes: list[int], seed: int, binary: bool) -> None:
    body, rest, said, dice = b"".join(parts), b"".join(parts), b"", random.Random(seed)
    for size in sizes:
        said, rest = said + chunk(rest[:size]), rest[size:]
    tokyo = Tokyo()
    codes = tokyo.hears((BINARY if binary else ENVELOPE) + said + chunk(rest, last=True) + b"NOOP\r\nQUIT\r\n",
                        cut=lambda data: random_pieces(data, dice))
    good = binary or not set(body.replace(b"\r\n", b"")) & set(b"\r\n")
    assert codes == [250, 250, 250, *[250] * len(sizes), 250 if good else 554, 250, 221]
    assert tokyo.letters == ([body] if good else [])


def random_pieces(data: bytes, dice: random.Random) -> Iterator[bytes]:
    while data:
        size = dice.choice((1, 2, 3, 10, 1000))
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"no line end", b"\0", b"\r\r\n", b"\r\n.\r\n"])
def test_binary_octets_are_carried_untouched(end: bytes) -> None:
    body = b"Content-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) * 20 + b"x" * 3000 + end
    tokyo = Tokyo()
    said = chunk(body[:39]) + chunk(body[39:40]) + chunk(body[40:], last=True)
    assert tokyo.hears(BINARY + said + b"QUIT\r\n") == [250, 250, 250, 250, 250, 250, 221]
    assert tokyo.letters == [body]


@pytest.mark.parametrize("end", [b"a\nb\r\n", b"a\rb\r\n", b"a\n.\nb\r\n", b"\r", b"\n", b"\r\r\n"])
def test_a_text_by_bdat_has_no_bare_newlines_either(end: bytes) -> None:
    """RFC 5321 §2.3.8, and the defense against smuggling: whoever relays it by DATA would open the hole again."""
    tokyo = Tokyo()
    assert tokyo.hears(ENVELOPE + chunk(HEAD + end, last=True) + b"NOOP\r\nQUIT\r\n") == [250, 250, 250, 554, 250, 221]
    assert not tokyo.letters


def test_a_binary_letter_does_not_come_by_data() -> None:
    tokyo = Tokyo()
    said = BINARY + b"DATA\r\n" + chunk(b"\n", last=True) + ENVELOPE + b"DATA\r\nhi\r\n.\r\nQUIT\r\n"
    assert tokyo.hears(said) == [250, 250, 250, 503, 250, 250, 250, 354, 250, 221]
    assert tokyo.letters == [b"\n", b"hi\r\n"]


def test_binarymime_is_not_known_without_its_extension() -> None:
    session = CodedSession("mail.tokyo.example", extensions=ExtensionSet([EightBitMime(), Chunking()]))
    show = rehearse(caller(b"EHLO rio.example\r\n" + BINARY + b"QUIT\r\n"), serve(session), patient=True)
    assert [reply.code for reply in show.client] == [220, 250, 501, 503, 221]
    with pytest.raises(ValueError, match="BINARYMIME needs CHUNKING"):
        ExtensionSet([BinaryMime()])


# --- the client ------------------------------------------------------------------------------------------------------


def peer(offers: str, answer: Callable[[str], Reply], swallow: bool = True) -> Conversation[list[tuple[str, bytes]]]:
    """A server that answers each line as it is told, and reads the octets of BDAT; returns what it heard."""
    heard: list[tuple[str, bytes]] = []
    yield Reply(220, "mx.example")
    with suppress(Disconnected):
        while True:
            line = (yield from lines())
            reply, octets = answer(line), b""
            if line.startswith("BDAT") and (swallow or reply.positive):
                octets = yield from exactly(int(line.split()[1]))
            heard.append((line, octets))
            yield Reply(250, f"mx.example\n{offers}".replace(" ", "\n")) if line.startswith("EHLO") else reply
            if line == "QUIT":
                break
    return heard


def lines() -> Conversation[str]:
    return bytes((yield Line())).decode()


def exactly(count: int) -> Conversation[bytes]:
    want, octets = Octets(count), b""
    while want.left:
        octets += yield want
    return octets


def yes(line: str) -> Reply:
    return Reply(221) if line == "QUIT" else Reply(354) if line == "DATA" else Reply(250)


def no_to(*starts: str, code: int = 552) -> Callable[[str], Reply]:
    return lambda line: Reply(code, "no") if line.startswith(starts) else yes(line)


def ours(eager: bool = False) -> CodedClientSession:
    return CodedClientSession("rio.example", check_requirements(
        [EightBitMime(), Pipelining(), Chunking(eager), BinaryMime()]))


def letter(*blocks: bytes, to: str = "kenji@tokyo.example", **options: Any) -> OutgoingMessage:
    return OutgoingMessage(Envelope("ana@rio.example", [to]), blocks or [HEAD], **options)


def verbs(heard: list[tuple[str, bytes]]) -> list[str]:
    return [line.split(" ")[0] for line, _ in heard]


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(1, 50), st.booleans(), st.booleans(), st.booleans())
def test_what_the_client_counts_is_what_it_sends(
        blocks: list[bytes], size: int, eager: bool, binary: bool, flies: bool) -> None:
    sent = OutgoingMessage(Envelope("ana@rio.example", ["kenji@tokyo.example"]), blocks, binary=binary)
    with patch.object(chunking, "CHUNK", size), patch.object(chunking, "EAGER", 20):
        show = rehearse(whole_session(ours(eager), [sent]), peer("CHUNKING" + " PIPELINING" * flies, yes))
    chunks = [(line, octets) for line, octets in show.server if line.startswith("BDAT")]
    assert b"".join(octets for _, octets in chunks) == b"".join(blocks if binary else whole_lines(blocks))
    assert [line.endswith("LAST") for line, _ in chunks] == [False] * (len(chunks) - 1) + [True]
    assert verbs(show.server) == ["EHLO", "MAIL", "RCPT", *["BDAT"] * len(chunks), "QUIT"]
    assert show.client[0].accepted == ["kenji@tokyo.example"]


@pytest.mark.parametrize("offers", ["CHUNKING", "CHUNKING PIPELINING"])
@pytest.mark.parametrize("code", [451, 452, 552, 554])
def test_after_a_refused_chunk_the_client_sends_no_more_of_the_letter(offers: str, code: int) -> None:
    """And says RSET before the next one, whose fate is its own."""
    count = [0]

    def answer(line: str) -> Reply:
        count[0] += line.startswith("BDAT")
        return Reply(code, "no") if count[0] == 3 and line.startswith("BDAT") else yes(line)

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 98 + b"\r\n"

    with patch.object(chunking, "CHUNK", 1000):
        first = OutgoingMessage(Envelope("ana@rio.example", ["kenji@tokyo.example"]), endless())
        show = rehearse(whole_session(ours(), [first, letter()]), peer(offers, answer))
    assert [receipt.refused_by for receipt in show.client] == ["body", ""]
    assert [receipt.accepted for receipt in show.client] == [[], ["kenji@tokyo.example"]]
    assert show.client[0].recipients["kenji@tokyo.example"].code == code
    said = verbs(show.server)
    assert said.count("BDAT") == (chunking.CHUNKS_AT_ONCE if "PIPELINING" in offers else 3) + 1
    assert said[-5:] == ["RSET", "MAIL", "RCPT", "BDAT", "QUIT"]


@pytest.mark.parametrize("eager", [False, True])
def test_a_refused_last_chunk_is_followed_by_rset(eager: bool) -> None:
    answers = iter([Reply(552, "no"), Reply(250)])
    show = rehearse(whole_session(ours(eager), [letter(), letter()]),
                    peer("CHUNKING", lambda line: next(answers) if line.startswith("BDAT") else yes(line)))
    assert verbs(show.server) == ["EHLO", "MAIL", "RCPT", "BDAT", "RSET", "MAIL", "RCPT", "BDAT", "QUIT"]
    assert [receipt.refused_by for receipt in show.client] == ["body", ""]


def test_the_client_waits_before_the_first_chunk_unless_it_is_eager() -> None:
    for eager, sent in ((False, []), (True, [HEAD])):
        show = rehearse(whole_session(ours(eager), [letter()]),
                        peer("CHUNKING PIPELINING", no_to("RCPT", "BDAT", code=550)))
        assert [octets for line, octets in show.server if line.startswith("BDAT")] == sent
        assert show.client[0].refused_by == "RCPT" and not show.client[0].accepted


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "BDAT"])
def test_an_eager_client_whose_letter_is_refused_at_a_server_that_reads_it(verb: str) -> None:
    """The second letter, in the same flight, is not lost: RSET stands before its MAIL."""
    def answer(line: str) -> Reply:
        bad = line.startswith("BDAT") and not state["good"]
        if line.startswith("MAIL"):
            state["good"] = not state.pop("first", False)
        refused = not state["good"] and (line.startswith(verb) or (verb == "MAIL" and line.startswith("RCPT")))
        return Reply(503 if bad and verb != "BDAT" else 550, "no") if refused or bad else yes(line)

    state = {"first": True, "good": False}
    letters = [letter(b"first\r\n"), letter(b"second\r\n")]
    show = rehearse(whole_session(ours(eager=True), letters), peer("CHUNKING PIPELINING", answer))
    assert [receipt.accepted for receipt in show.client] == [[], ["kenji@tokyo.example"]]
    assert show.client[0].refused_by == {"BDAT": "body"}.get(verb, verb)
    assert verbs(show.server)[-5:] == ["RSET", "MAIL", "RCPT", "BDAT", "QUIT"]
    assert [octets for _, octets in show.server if octets] == [b"first\r\n", b"second\r\n"]


SMUGGLED = b"RSET\r\nMAIL FROM:<mayor@tokyo.example>\r\nRCPT TO:<yui@tokyo.example>\r\nBDAT 6 LAST\r\nevil\r\n"


@pytest.mark.parametrize("eager, obeyed", [(False, False), (True, True)])
def test_why_eager_is_not_the_default(eager: bool, obeyed: bool) -> None:
    """At a server that does not read what it refuses, a letter's text is obeyed; who waits never sends it there."""
    def answer(line: str) -> Reply:
        stranger = line.startswith("RCPT") and "nobody" in line
        closed_ = line.startswith("BDAT") and not line.startswith("BDAT 6 ")
        return Reply(550 if stranger else 503, "no") if stranger or closed_ else yes(line)

    sent = letter(SMUGGLED, to="nobody@tokyo.example")
    show = rehearse(whole_session(ours(eager), [sent]), peer("CHUNKING PIPELINING", answer, swallow=False))
    assert (("BDAT 6 LAST", b"evil\r\n") in show.server) == obeyed
    assert ("MAIL FROM:<mayor@tokyo.example>" in [line for line, _ in show.server]) == obeyed
    assert show.client[0].refused_by == "RCPT"


def test_where_chunking_is_not_offered_there_is_data_and_no_binary_letter() -> None:
    session = CodedSession("mx.example", extensions=ExtensionSet([EightBitMime()]))
    show = rehearse(whole_session(ours(), [letter()]), serve(session))
    assert b"DATA\r\n" in [said.data for said in show.said]
    for offers in ("8BITMIME", "CHUNKING", "BINARYMIME", "8BITMIME CHUNKING"):
        client = ours()
        client.learn(dict.fromkeys(offers.split(), ""))
        with pytest.raises(SMTPNotSupportedError, match="BINARYMIME"):
            Plan(client, letter(b"\n", binary=True, needs=frozenset({"BINARYMIME"})))


def test_421_between_chunks() -> None:
    with patch.object(chunking, "CHUNK", 10), pytest.raises(Exception, match="421"):
        rehearse(whole_session(ours(), [letter(b"x" * 50)]), peer("CHUNKING", no_to("BDAT", code=421)))


def test_what_was_said_is_not_kept() -> None:
    """Several chunks may wait for their replies; their octets may not wait with them."""
    client = ours()
    client.learn({"CHUNKING": "", "PIPELINING": ""})
    commands = []
    for command in Chunking().chunks(Plan(client, letter(*[b"x" * chunking.CHUNK] * 5))):
        assert sum(map(len, command.octets())) == int(command.argument.split()[0])
        commands.append(command)
    assert len(commands) == 6 and not any(list(command.octets()) for command in commands)      # the last one: CR LF


# --- pieces ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300)), st.integers(1, 100), st.integers(0, 100))
def test_regrouping_changes_no_octet(blocks: list[bytes], size: int, first: int) -> None:
    pieces = [(b"".join(octets), last) for octets, last in regroup(blocks, size, first)]
    assert b"".join(piece for piece, _ in pieces) == b"".join(blocks)
    assert [last for _, last in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(len(piece) <= 2 * size for piece, _ in pieces[1:])
    assert len(pieces[0][0]) <= (first or 2 * size)


@pytest.mark.parametrize("blocks", [[b"x" * 78] * 128_000, [b"x" * 10_000_000]], ids=["small blocks", "one block"])
def test_regrouping_takes_time_in_proportion(blocks: list[bytes]) -> None:
    """10 MB copied for each chunk would take seconds."""
    start = time.process_time()
    said = sum(len(octets) for piece, _ in regroup(blocks, chunking.CHUNK) for octets in once(piece))
    assert said == sum(map(len, blocks))
    assert time.process_time() - start < 1.0


@given(TEXTS, st.integers(1, 7))
def test_a_text_has_whole_lines(parts: list[bytes], size: int) -> None:
    text = b"".join(parts)
    whole = b"".join(whole_lines(text[start : start + size] for start in range(0, len(text), size)))
    assert not set(whole.replace(b"\r\n", b"")) & set(b"\r\n") and whole[-2:] in (b"", b"\r\n")
    assert whole.splitlines() == text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").splitlines() or b"\x0b" in text


# --- 100 MB ----------------------------------------------------------------------------------------------------------

PEAK = """
from pathlib import Path
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
"""
RECEIVE = PEAK + """
import sys, tempfile                           # which a server imports with its first large message
from smtp_from_scratch import Server
sizes = []
server = Server(deliver=lambda envelope, body: sizes.append(body.seek(0, 2)))
server.start()
print(server.address[1], flush=True)
sys.stdin.readline()
before = peak()
print(flush=True)
sys.stdin.readline()
print(peak() - before, sizes[-1], flush=True)
server.stop()
"""
SEND = PEAK + """
import sys
from smtp_from_scratch import Client
with Client("127.0.0.1", int(sys.argv[1])) as smtp:
    smtp.sendmail("ana@rio.example", "kenji@tokyo.example", b"small")
    before = peak()
    with open(sys.argv[2], "rb") as file:
        smtp.sendmail("ana@rio.example", "kenji@tokyo.example", file)
    print(peak() - before)
"""


def peaks(root: Path, file: Path) -> tuple[float, float]:
    """MiB that a client and a server, both fresh, took for a letter on top of what they had."""
    with subprocess.Popen([sys.executable, "-c", RECEIVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          cwd=root) as server:
        assert server.stdin and server.stdout
        port = server.stdout.readline().strip()
        for _ in range(2):                      # a small one first: imports are not what is measured
            with Client("127.0.0.1", int(port)) as smtp:
                smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], b"small")
        print(file=server.stdin, flush=True)
        server.stdout.readline()
        sent = subprocess.run([sys.executable, "-c", SEND, port, str(file)], check=True, stdout=subprocess.PIPE,
                              text=True, cwd=root, timeout=120)
        print(file=server.stdin, flush=True)
        received, size = server.stdout.readline().split()
    assert int(size) == file.stat().st_size
    return float(sent.stdout), float(received)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_100_mb_in_a_few(tmp_path: Path, kind: str) -> None:
    """GOALS S9: at most 2 MiB more at the client, which reads a file, and 4 MiB more at the server."""
    file = tmp_path / "letter"
    with file.open("wb") as letter_file:
        if kind == "binary":
            letter_file.write(b"Content-Transfer-Encoding: binary\r\n\r\n")
            letter_file.truncate(100_000_000)   # zeros that take no room on the disk
        else:
            for _ in range(100):
                letter_file.write((b"x" * 76 + b"\r\n") * 12_820)
    root, least = Path(__file__).parents[2], [math.inf, math.inf]
    try:
        for _ in range(5):                      # what the system tells may be some MiB too much, of a bare loop, too
            least = list(map(min, least, peaks(root, file)))
            if least[0] <= 2 and least[1] <= 4:
                break
    finally:
        file.unlink(missing_ok=True)
    assert least[0] <= 2 and least[1] <= 4, f"client {least[0]}, server {least[1]} MiB"


# --- software that nobody here wrote ---------------------------------------------------------------------------------

DATA = Path(__file__).parents[2] / "notebooks" / "data"


def bring(name: str) -> Any:
    from tests import peers

    if reason := peers.missing(name):
        pytest.skip(f"{name} is not here: {reason}")
    return peers.running(name)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_our_chunks_at_other_servers(name: str, eager: bool) -> None:
    overheard = lab.Transcript()
    letters = [letter(HEAD, b"one\r\n.\r\n..two\r\n", to="kenji@peer.example"), letter(to="nobody@elsewhere.example"),
               letter(b"x" * 998 + b"\r\n", to="yui@peer.example")]
    extensions = check_requirements([Pipelining(), Chunking(eager), EnhancedStatusCodes()])
    client = CodedClientSession("rio.example", extensions)
    with bring(name) as there, socket.create_connection((there.host, there.port), 10) as sock, \
            patch.object(chunking, "CHUNK", 20), patch.object(chunking, "EAGER", 15):
        receipts = Connection(sock, "C", overheard).play(whole_session(client, letters))
    assert [receipt.accepted for receipt in receipts] == [["kenji@peer.example"], [], ["yui@peer.example"]]
    assert receipts[1].refused_by == "RCPT"
    said = [line.text for line in overheard.lines if line.role == "C"]
    assert "BDAT 15" in said and "DATA" not in said


def test_exim_sends_chunks_to_us(tmp_path: Path) -> None:
    """Exim says BDAT in the flight of the envelope, without waiting for the recipients' fate."""
    from tests.peers.servers import ACCOUNT, Exim, accounts

    if reason := Exim().missing():
        pytest.skip(f"Exim is not here: {reason}")
    with tempfile.TemporaryDirectory() as name, Server(accept_recipient=not_nobody) as server, \
            lab.tap(server.address) as line:
        folder = Path(name)
        text = (Path(__file__).parents[1] / "peers" / "exim_client.conf").read_text()
        for key, value in {"folder": folder, "program": Exim.program, "port": line.address[1]}.items():
            text = text.replace(f"@{key}@", str(value))
        (folder / "exim.conf").write_text(text)
        (folder / "spool").mkdir()
        folder.chmod(0o755)
        for place in (folder, folder / "spool"):
            os.chown(place, ACCOUNT, ACCOUNT)
        for recipients in (["kenji@tokyo.example", "nobody@tokyo.example"], ["nobody@tokyo.example"]):
            command = [Exim.program, "-C", folder / "exim.conf", "-odf", "-oi", "-f", "ana@rio.example", *recipients]
            subprocess.run(command, input=b"Subject: from Exim\n\nBDAT 5\n.\n..\nQUIT\n", check=True, timeout=60,
                           capture_output=True, env={**os.environ, **accounts(folder, "Debian-exim")})
        [received] = [message for message in server.messages if message.envelope.sender]      # the others are reports
    assert received.envelope.recipients == ["kenji@tokyo.example"]
    assert received.data.endswith(b"\r\n\r\nBDAT 5\r\n.\r\n..\r\nQUIT\r\n")
    said = [part.text for part in line.transcript.lines if part.role == "C"]
    assert sum(part.startswith("BDAT ") and part.endswith(" LAST") for part in said) >= 2      # the refused one, too
    assert not [part for part in line.transcript.lines if part.text.startswith("500")]


def not_nobody(address: str, envelope: Envelope) -> Reply | None:
    return Reply(550, "nobody of that name") if address.startswith("nobody") else None

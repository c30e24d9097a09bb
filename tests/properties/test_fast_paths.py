"""Each fast path beside its slow twin: the same answer, for any octets, however they are cut."""
from __future__ import annotations

import io
import random
import re
from collections import deque
from collections.abc import Iterator
from typing import IO, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as some

from smtp_from_scratch import Envelope, envelope, message
from smtp_from_scratch.bodies import Newlines
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.chunking import whole_lines
from smtp_from_scratch.client import deliver
from smtp_from_scratch.conversation import NOT_YET, Actor, known_reply, read_reply, rehearse
from smtp_from_scratch.dots import FEW, find_dot
from smtp_from_scratch.ehlo import ExtendedSession, ExtensionSet
from smtp_from_scratch.envelope import BadPath, BodyCutter, Path, encode_path, has_bare_newline, parse_path, stuff
from smtp_from_scratch.known import PLACES
from smtp_from_scratch.message import outgoing
from smtp_from_scratch.replies import Due, Replies
from smtp_from_scratch.session import Session, path_argument, serve
from smtp_from_scratch.smtp import server_extensions
from smtp_from_scratch.status import CodedClientSession, CodedSession, EnhancedStatusCodes, split_enhanced, usual_code
from smtp_from_scratch.transaction import PlannedCommand
from smtp_from_scratch.wire import (
    CRLF,
    BareNewline,
    Command,
    Inbox,
    LineTooLong,
    OtherProtocol,
    Reply,
    WireError,
    encode_reply,
    parse_reply,
)

TEXT = some.lists(some.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"\0", b"\xff"]), max_size=30).map(b"".join)
WORDS = some.text(some.characters(codec="utf-8", exclude_characters="\r\0"), max_size=60)
REPLIES = some.builds(Reply, some.integers(200, 599), WORDS, some.sampled_from(["", "2.1.0", "5.7.13"]))


def cut(data: bytes, seed: int) -> list[bytes]:
    """The same octets in pieces of any length."""
    chance, pieces = random.Random(seed), list[bytes]()
    while data:
        size = chance.choice((1, 2, 3, 5, len(data)))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def without_dots(wire: bytes) -> tuple[bytes, bytes]:
    """Line by line: a body whose first line begins after CR LF, and what follows the lone dot."""
    lines, rest = wire.split(CRLF), b""
    if "." in [line.decode("latin-1") for line in lines[:-1]]:
        end = lines.index(b".")
        lines, rest = [*lines[:end], b""], CRLF.join(lines[end + 1 :])
    return CRLF.join(line.removeprefix(b".") for line in lines), rest


@given(TEXT, some.integers())
def test_a_body_is_cut_as_line_by_line(text: bytes, seed: int) -> None:
    wire = text + b"\r\n.\r\nQUIT\r\n"
    cutter, body, rest = BodyCutter(), b"", b""
    for piece in cut(wire, seed):
        if cutter.ended:
            rest += piece
        else:
            block, rest = cutter.cut(piece)
            body += block
    assert (body, rest) == without_dots(wire)


@given(TEXT, some.integers())
def test_blocks_without_a_line_end_are_not_looked_at_and_a_bare_one_is_found(text: bytes, seed: int) -> None:
    newlines = Newlines()
    for piece in cut(text, seed):
        newlines.see(piece)
    newlines.see(b"", final=True)
    lone = text.replace(CRLF, b"")
    assert newlines.bare == has_bare_newline(text) == (b"\r" in lone or b"\n" in lone)


class OnTheSpot:
    """A delivery that never blocks, so that nobody hands it to another thread; or one that says nothing about it."""

    def __init__(self, at_once: int | None, outcome: object) -> None:
        self.outcome, self.kept = outcome, list[tuple[str, bytes]]()
        if at_once is not None:
            self.at_once = at_once

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Any:
        self.kept.append((envelope.sender, body.read()))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("outcome", [None, Reply(250, "kept"), Reply(550, "no"), OSError("no disk"), "nonsense",
                                     {"kenji@tokyo.example": Reply(452, "later")}], ids=str)
def test_a_delivery_on_the_spot_is_as_one_that_is_waited_for(outcome: object) -> None:
    letter = [(Envelope("ana@rio.example", ["kenji@tokyo.example"]), [b"Subject: x\r\n\r\nhello\r\n"])]
    fast, slow = OnTheSpot(0, outcome), OnTheSpot(None, outcome)
    said = [rehearse(deliver("rio.example", letter), serve(Session("tokyo.example", keep))).said
            for keep in (fast, slow)]
    assert said[0] == said[1] and fast.kept == slow.kept and len(fast.kept) == 1


@given(TEXT.filter(lambda text: b"\n" not in text.replace(CRLF, b"") and b"\r" not in text.replace(CRLF, b"")),
       some.integers())
def test_a_body_is_stuffed_as_line_by_line(text: bytes, seed: int) -> None:
    lines = text.removesuffix(CRLF).split(CRLF) if text else []
    slow = b"".join((b"." if line.startswith(b".") else b"") + line + CRLF for line in lines) + b".\r\n"
    assert b"".join(stuff(cut(text, seed))) == slow


@given(TEXT, some.sampled_from([1, 2, 3, 262_144]))
def test_what_is_clean_leaves_as_what_must_be_looked_at(text: bytes, block: int) -> None:
    """Octets that cannot change are looked at once; what could change in between, a file or a list, twice."""
    with patch.object(message, "BLOCK", block):
        known = outgoing(Envelope("ana@rio.example", ["kenji@tokyo.example"]), text, eight_bit=True)
        assert known.body.clean == (not has_bare_newline(text))       # type: ignore[attr-defined]
        for way in (stuff, whole_lines):
            assert b"".join(way(known.body)) == b"".join(way([text]))
        for other in (io.BytesIO(text), [text], iter([text])):
            assert not outgoing(known.envelope, other, eight_bit=True).body.clean      # type: ignore[attr-defined]


def slow_line(data: bytes, limit: int) -> bytes | str | None:
    """The first line of whatever has arrived, looked at octet by octet; the name of what is wrong with it."""
    if data[:4].upper() == b"GET " or data[:2] == b"\x16\x03":
        return "OtherProtocol"
    for at, octet in enumerate(data):
        if octet == 10:
            if at + 1 > limit:
                return "LineTooLong"
            return data[: at - 1] if at and data[at - 1] == 13 and 13 not in data[: at - 1] else "BareNewline"
    return None


@given(TEXT.map(lambda text: text.replace(b"\xff", b"GET ")), some.integers(2, 20))
def test_a_line_is_found_as_octet_by_octet(text: bytes, limit: int) -> None:
    inbox = Inbox()
    inbox.feed(text)
    try:
        found: bytes | str | None = inbox.line(limit)
    except (BareNewline, LineTooLong, OtherProtocol) as error:
        found = type(error).__name__
    assert found == slow_line(text, limit)


@given(REPLIES, some.sampled_from(["MAIL", "RCPT", "DATA", "QUIT", "FROB"]))
def test_a_reply_that_comes_again_is_the_same(reply: Reply, verb: str) -> None:
    """The caches: encoding, the usual code, and the client's way back."""
    session = CodedSession("tokyo.example", extensions=ExtensionSet(server_extensions()))
    session.verb = verb
    for _ in range(2):
        octets = encode_reply(reply)
        assert octets == encode_reply.__wrapped__(reply)
        coded = session.reply(reply)
        plain = reply.enhanced or reply.code // 100 == 3
        assert coded == (reply if plain else Reply(reply.code, reply.text, usual_code(verb, reply.code)))
        lines = octets.removesuffix(CRLF).split(CRLF)
        talk = read_reply()
        next(talk)
        with pytest.raises(StopIteration) as end:
            for line in lines:
                talk.send(line)
        assert end.value.value == parse_reply(lines)
        client = CodedClientSession("rio.example", (EnhancedStatusCodes(),))
        assert client.reader()(tuple(lines)) == parse_reply(lines)
        client.learn({"ENHANCEDSTATUSCODES": ""})
        assert client.reader()(tuple(lines)) == split_enhanced(parse_reply(lines))


def one_by_one(channel: Channel, count: int) -> Iterator[Reply | str]:
    """So many replies, each read by a conversation of its own; the name of what ends that."""
    for _ in range(count):
        actor = Actor(read_reply(), channel)
        try:
            actor.run()
            if not actor.done:
                return
            yield actor.result or Reply(200)
        except WireError as error:
            return (yield type(error).__name__)


def together(channel: Channel, due: deque[Due], read: Replies) -> str:
    """Answer what has its reply by now; the name of what ends that."""
    try:
        while due and read.take(channel) is not NOT_YET:
            pass
    except WireError as error:
        return type(error).__name__
    return ""


LINES = some.lists(some.sampled_from([b"250 ok", b"250-and", b"550-no", b"550 no", b"354 go on", b"250", b"25x no", b"",
                                      b"250-" + 8000 * b"x", b"250 a\rb"]), max_size=12)


@given(LINES, some.integers(1, 6), some.integers())
def test_replies_that_are_taken_together_are_those_read_one_by_one(lines: list[bytes], count: int, seed: int) -> None:
    """As many, in their order, and no more than are due; what comes after a line that is wrong is not a reply."""
    wire, slow, fast = b"".join(line + CRLF for line in lines), Channel(), Channel()
    slow.receive(wire)
    expected = list(one_by_one(slow, count))
    commands = [PlannedCommand("NOOP") for _ in range(count)]
    due, trouble = deque[Due](commands), ""
    want = Replies(due, known_reply)
    for piece in cut(wire, seed):
        fast.receive(piece)
        trouble = trouble or together(fast, due, want)
    found: list[Reply | str] = [command.reply for command in commands if command.reply]
    assert found + [trouble] * bool(trouble) == expected and len(due) == count - len(found)
    if not trouble and not due:
        assert fast.inbox.octets(1_000_000) == slow.inbox.octets(1_000_000), "what is not due stays"


PATHS = some.sampled_from(["<>", "<Postmaster>", "<ana@rio.example>", '<"ana maria"@rio.example>',
                           "<@a.example:b@c.example>", "<ana@[192.0.2.1]>", "<ana@[IPv6:::1]>", "<ana@[300.1.1.1]>",
                           "<ana>", f"<{'a' * 65}@b.example>"])


@given(PATHS, some.sampled_from(["", " SIZE=1000", "x"]), some.sampled_from(["FROM:", "TO:"]))
def test_a_path_that_comes_again_is_the_same(path: str, rest: str, keyword: str) -> None:
    slow = path_argument.__wrapped__(keyword + path + rest, keyword)
    assert path_argument(keyword + path + rest, keyword) == path_argument(keyword + path + rest, keyword) == slow
    if isinstance(slow, Reply):
        with pytest.raises(BadPath, match=re.escape(slow.text)):
            parse_path(path + rest)
        return
    assert parse_path(path + rest) == slow == (slow[0], rest)
    address = path[1:-1]
    assert encode_path(address) == encode_path(address) == encode_path.__wrapped__(address)


WIDE = r"\u0080-\ud7ff\ue000-\U0010ffff"     # beyond ASCII, for SMTPUTF8; a set of these takes 5 ms to compile
ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{WIDE}-]+"
QUOTED = rf'"(?:[ !#-\[\]-~{WIDE}]|\\[ -~])*"'
LABEL = rf"[A-Za-z0-9{WIDE}](?:[A-Za-z0-9{WIDE}-]*[A-Za-z0-9{WIDE}])?"
DOMAIN = rf"{LABEL}(?:\.{LABEL})*"
SLOW_PATH = re.compile(
    rf"<(?:(?P<route>@{DOMAIN}(?:,@{DOMAIN})*):)?(?P<local>{ATOM}(?:\.{ATOM})*|{QUOTED})@"
    rf"(?P<domain>{DOMAIN}|\[(?:[Ii][Pp][Vv]6:)?[0-9A-Fa-f:.]+\])>")


def matched(pattern: re.Pattern[str], text: str) -> tuple[str | None, ...] | None:
    """What a pattern makes of a path; octets that are no text are none, and only the slow one knows that itself."""
    found = pattern.match(text)
    if found and re.search("[\ud800-\udfff]", found[0]):
        with pytest.raises(BadPath):
            parse_path(text)
        return None
    return found and (found[0], *found.groups())


EDGES = sorted({*range(0x300), *(edge + step for edge in (0x7FF, 0xD7FF, 0xDFFF, 0xFFFF) for step in range(-2, 4)),
                0x10FFFE, 0x10FFFF})


@pytest.mark.parametrize("path", ["<{}@b.example>", '<"{}"@b.example>', '<"\\{}"@b.example>', "<a@{}.example>",
                                  "<a@x{}y.example>", "<a@x{}.example>", "<@{}.example:a@b.example>"])
def test_what_a_path_may_not_have_is_what_the_grammar_does_not_list(path: str) -> None:
    for point in EDGES:
        text = path.format(chr(point))
        assert matched(envelope.PATH, text) == matched(SLOW_PATH, text), hex(point)


@given(some.lists(some.sampled_from(list("ab9-.@:,<>[]\"\\ \x7f\néß\ud800\U0010ffff")), max_size=14).map("".join))
def test_a_path_is_read_as_the_grammar_lists_it(text: str) -> None:
    for path in (f"<{text}>", f"<{text}@b.example>", f"<a@{text}>"):
        assert matched(envelope.PATH, path) == matched(SLOW_PATH, path)


def test_no_cache_grows_without_end() -> None:
    for number in range(5000):
        path_argument(f"TO:<reader{number}@tokyo.example>", "TO:")
        encode_path(f"reader{number}@tokyo.example")
        encode_reply(Reply(250, f"kept as {number}"))
    assert all(cache.cache_info().currsize <= 1024 for cache in (path_argument, encode_path, encode_reply))


def test_a_path_says_its_route() -> None:
    assert str(Path("b", "c.example", ("a.example", "d.example"))) == "<@a.example,@d.example:b@c.example>"
    assert encode_path("b@c.example") == str(Path("b", "c.example")) == "<b@c.example>"


@given(some.lists(some.sampled_from([b".", b"\r\n", b"\r", b"\n", b"x", b"words.", b"..", b"\r\n."]), max_size=120))
def test_a_line_with_a_dot_is_found_whether_dots_are_few_or_many(parts: list[bytes]) -> None:
    text = b"".join(parts)
    assert find_dot(text) == text.find(b"\r\n.")


@pytest.mark.parametrize("dots", [0, 1, FEW - 1, FEW, FEW + 1, 3 * FEW])
def test_a_dot_at_the_start_of_a_line_is_found_behind_others(dots: int) -> None:
    before = b"one. two\r\n" * dots
    assert find_dot(before) == -1 and find_dot(before + b"\r\n.\r\n") == len(before)
    assert find_dot(before + b"..") == len(before) - 2 or not dots


def test_extensions_are_asked_about_their_verbs_and_would_not_object_to_others() -> None:
    everything = server_extensions()
    offered = ExtensionSet(everything)
    session = ExtendedSession("a.example", extensions=offered)
    session.resources["spool"] = io.BytesIO()           # what CHUNKING and BINARYMIME look at
    session.envelope.parameters["BODY"] = "BINARYMIME"
    assert {len(asked) for (_, plain), asked in offered.checks.items() if plain} == {0, 1, 2}   # of MAIL; RCPT; DATA
    for (verb, plain), asked in offered.checks.items():
        for each in everything:
            said = "BODY=BINARYMIME" if plain else "BODY=文"
            assert bool(each.check(session, Command(verb, said))) == (each.check in asked), (verb, plain, each)


AGAIN = [
    b"EHLO rio.example", b"MAIL FROM:<ana@rio.example>", b"MAIL FROM:<ana@rio.example> SIZE=9", b"mail from:<>",
    b"MAIL FROM:<ana@rio.example> FROB", "MAIL FROM:<文@rio.example>".encode(), b"RCPT TO:<kenji@tokyo.example>",
    b"RCPT TO:<kenji@tokyo.example> ", b"RCPT TO:<" + b"k" * 600 + b"@tokyo.example>", b"RCPT", b"RSET", b"rset now",
    b"DATA\0", b"FROB", b"NOOP", b"QUIT later", b"AUTH PLAIN AGFuYQBub3Rlcw==", b"BDAT x",
]


@given(some.lists(some.sampled_from(AGAIN), max_size=40))
def test_lines_that_come_again_are_answered_as_if_they_came_first(lines: list[bytes]) -> None:
    quick, slow = (CodedSession("a.example", extensions=ExtensionSet(server_extensions())) for _ in "ab")
    for line in lines:
        slow.extensions.known.clear()
        if quick.state == "closed":
            break
        assert list(quick.dispatch(line)) == list(slow.dispatch(line)), line
        assert (quick.state, quick.envelope, quick.counts) == (slow.state, slow.envelope, slow.counts)


def test_of_lines_that_come_again_few_are_kept_and_no_password() -> None:
    session = CodedSession("a.example", extensions=ExtensionSet(server_extensions()))
    known = session.extensions.known
    for number in range(2 * PLACES):
        for line in (b"EHLO x", b"MAIL FROM:<ana%d@rio.example>" % number, b"AUTH PLAIN %d" % number, b"RSET", b"FROB"):
            list(session.dispatch(line))
            assert len(known) <= PLACES
        session.counts.clear()
    assert {command.verb for command in known.values()} == {"MAIL", "RSET"}


def test_sessions_share_replies_and_nothing_else() -> None:
    """A reply is made once for all sessions; what they note is their own."""
    first, second = Session("a.example"), Session("b.example")
    for session in (first, second):
        for line in (b"HELO rio.example", b"MAIL FROM:<ana@rio.example>", b"RCPT TO:<kenji@tokyo.example>"):
            list(session.dispatch(line))
    first.envelope.recipients.append("li@beijing.example")
    assert second.envelope.recipients == ["kenji@tokyo.example"]

"""Rules that a change of one character would break, each with a test that notices: the wire and the envelope."""
from __future__ import annotations

import logging
import sys
from email import message_from_string, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch.bodies import Memory, Spool
from smtp_from_scratch.envelope import (
    DOMAIN_LIMIT,
    LOCAL_LIMIT,
    NULL_PATH,
    PATH_LIMIT,
    BadPath,
    BodyCutter,
    Envelope,
    Path,
    encode_path,
    envelope_of,
    few_quotes,
    has_bare_newline,
    normalize,
    parse_path,
    split_tail,
    stuff,
)
from smtp_from_scratch.printable import logger, printable, printable_record
from smtp_from_scratch.wire import (
    COMMAND_LIMIT,
    CRLF,
    HOPELESS,
    REPLY_LIMIT,
    REPLY_LINE,
    BadReply,
    BareNewline,
    Command,
    Inbox,
    LineTooLong,
    Reply,
    WireError,
    encode_command,
    encode_reply,
    folded,
    parse_command,
    parse_reply,
)
from tests.bodies import unstuffed

# --- RFC 5321 §4.5.3.1: limits ---------------------------------------------------------------------------------------


def test_the_limits_are_those_of_the_rfc() -> None:
    assert (COMMAND_LIMIT, REPLY_LINE, CRLF) == (512, 512, b"\r\n")
    assert (LOCAL_LIMIT, DOMAIN_LIMIT, PATH_LIMIT) == (64, 255, 256)
    assert REPLY_LIMIT == 8192 and HOPELESS == 65_536


# --- the wire --------------------------------------------------------------------------------------------------------


def taken(inbox: Inbox, limit: int = COMMAND_LIMIT) -> bytes | str | None:
    try:
        return inbox.line(limit)
    except LineTooLong as error:
        assert str(error) == f"a line may have {limit} octets, CR LF included"
        return "hopeless" if error.hopeless else "long"
    except BareNewline as error:
        assert "CR LF" in str(error) and isinstance(error, WireError) and isinstance(error, ValueError)
        return "bare"


def filled(*pieces: bytes) -> Inbox:
    inbox = Inbox()
    for piece in pieces:
        inbox.feed(piece)
    return inbox


def test_an_inbox_knows_how_much_is_in_it() -> None:
    inbox = filled(b"a\r\nbc", b"d")
    assert len(inbox) == 6
    assert inbox.line() == b"a" and len(inbox) == 3
    assert inbox.octets(2) == b"bc" and inbox.octets(5) == b"d" and inbox.octets(1) == b"" and len(inbox) == 0
    inbox.feed(b"\r\n")
    assert inbox.line() == b"" and inbox.line() is None


@pytest.mark.parametrize("octets,limit,found", [
    (b"x" * 510 + b"\r\n", 512, [b"x" * 510, None]), (b"x" * 511 + b"\r\n", 512, ["long", None]),
    (b"12\r\n", 4, [b"12"]), (b"123\r\n", 4, ["long"]), (b"123\r\nA\r\n", 4, ["long", b"A"]),
    (b"1234", 4, [None, None]),
    (b"12345", 4, [None, None]), (b"\r\n\r\n", 4, [b"", b"", None]),
    (b"a\nb\r\nc\r\n", 9, ["bare", "bare", b"c", None]),
    (b"a\rb\r\nc\r\n", 9, ["bare", b"c"]), (b"a\r\r\nc\r\n", 9, ["bare", b"c"]),
    (b"\n\r\nc\r\n", 9, ["bare", "bare", b"c"]),
    (b"abcdef\nxy\r\nz\r\n", 4, ["long", "bare", b"z"]), (b"a\r", 9, [None]), (b"a", 9, [None]),
])
def test_a_line_ends_with_cr_lf_within_its_limit(octets: bytes, limit: int, found: list[bytes | str | None]) -> None:
    inbox = filled(octets)
    assert [taken(inbox, limit) for _ in found] == found
    inbox, again = Inbox(), list[bytes | str | None]()
    for number in range(len(octets)):
        inbox.feed(octets[number : number + 1])
        while (line := taken(inbox, limit)) is not None:
            again.append(line)
    assert again == [line for line in found if line is not None]


def test_a_line_without_end_is_given_up_and_not_kept() -> None:
    inbox, fed = Inbox(), 0
    while (line := taken(inbox)) is None:
        inbox.feed(b"x" * 1000)
        fed += 1000
        assert len(inbox) <= 1513 and fed <= HOPELESS + 2000       # dropped while it comes
    assert line == "hopeless" and fed > HOPELESS
    inbox = filled(b"x" * (HOPELESS - 2) + b"\r\n", b"A\r\n")
    assert [taken(inbox), taken(inbox)] == ["long", b"A"]            # its end is there: no reason to give up
    assert taken(filled(b"x" * (HOPELESS + 2) + b"\r\n")) == "hopeless"


def test_a_cr_at_the_end_of_what_was_dropped_still_belongs_to_the_line_end() -> None:
    inbox = filled(b"x" * 600 + b"\r")
    assert taken(inbox) is None
    inbox.feed(b"\nA\r\n")
    assert [taken(inbox), taken(inbox)] == ["long", b"A"]


def test_a_reply_code_lies_between_200_and_599() -> None:
    for code in (200, 599):
        assert Reply(code).code == code
    for code in (199, 600, 0, -250):
        with pytest.raises(ValueError, match=f"not {code}"):
            Reply(code)


@pytest.mark.parametrize("text,enhanced", [("a\rb", ""), ("a\0b", ""), ("a", "2.0.0\r"), ("a", "2.0.0\n"),
                                           ("\r\n", "")])
def test_a_reply_cannot_hold_a_second_one(text: str, enhanced: str) -> None:
    with pytest.raises(ValueError, match="CR or NUL"):
        Reply(250, text, enhanced)


@pytest.mark.parametrize("code,positive,temporary,permanent", [
    (200, True, False, False), (299, True, False, False), (300, False, False, False), (399, False, False, False),
    (400, False, True, False), (499, False, True, False), (500, False, False, True), (599, False, False, True)])
def test_the_first_digit_says_what_to_do(code: int, positive: bool, temporary: bool, permanent: bool) -> None:
    reply = Reply(code)
    assert (reply.positive, reply.temporary, reply.permanent) == (positive, temporary, permanent)


@pytest.mark.parametrize("reply,octets", [
    (Reply(250, "a"), b"250 a\r\n"), (Reply(250), b"250\r\n"), (Reply(250, "a\nb"), b"250-a\r\n250 b\r\n"),
    (Reply(250, "a\n"), b"250-a\r\n250\r\n"), (Reply(250, "\na"), b"250-\r\n250 a\r\n"),
    (Reply(250, "a\nb\nc", "2.1.0"), b"250-2.1.0 a\r\n250-2.1.0 b\r\n250 2.1.0 c\r\n"),
    (Reply(250, "", "2.1.0"), b"250 2.1.0 \r\n"), (Reply(550, "né"), "550 né\r\n".encode()),
])
def test_a_reply_in_octets(reply: Reply, octets: bytes) -> None:
    assert encode_reply(reply) == octets
    assert parse_reply(octets.removesuffix(CRLF).split(CRLF)).lines == [
        f"{reply.enhanced} {line}".lstrip() if reply.enhanced else line for line in reply.lines]


@pytest.mark.parametrize("text", ["x" * 100, "x" * 505, "x" * 506, "x" * 507, "word " * 300, "é" * 600, "東京" * 300,
                                  "a" * 504 + "é", "\U0010ffff" * 200, "x " * 253 + "y"])
@pytest.mark.parametrize("enhanced", ["", "5.1.1", "5.999.999"])
def test_no_line_of_a_reply_has_more_than_512_octets(text: str, enhanced: str) -> None:
    """More is said in further lines (RFC 5321 §4.5.3.1.5); nothing is lost."""
    reply = Reply(550, text, enhanced)
    lines = encode_reply(reply).split(CRLF)
    assert lines.pop() == b"" and all(len(line) + 2 <= 512 for line in lines)
    room = 512 - len(f"550 {enhanced} \r\n" if enhanced else "550 \r\n")
    assert (len(lines) == 1) == (len(text.encode()) <= room)
    back = parse_reply(lines)
    prefix = f"{enhanced} " if enhanced else ""
    assert "".join(line.removeprefix(prefix) for line in back.lines) == text


def test_a_long_reply_is_cut_at_spaces() -> None:
    assert folded("one two three", 8) == ["one two ", "three"]
    assert folded("onetwothree", 8) == ["onetwoth", "ree"]
    assert folded("12345678", 8) == ["12345678"] and folded("", 8) == [""]
    assert folded(" 23456789", 8) == [" ", "23456789"]


@pytest.mark.parametrize("lines,what", [
    ([b"25 x"], "next line"), ([b"150 x"], "next line"), ([b"650 x"], "next line"), ([b"250x"], "next line"),
    ([b"2500 x"], "next line"), ([b"250-a", b"251 b"], "next line"), ([b"250-a"], "hyphen"),
    ([b"250 a", b"250 b"], "hyphen"),
    ([b"250", b"250 b"], "hyphen"), ([], "at least one"), ([b""], "next line"), ([b"250 a\0"], "next line"),
    ([b"250 a\rb"], "next line"), ([b"250 a\n250 b"], "next line"), ([b"250-a\r", b"250 b"], "next line")])
def test_what_is_no_reply(lines: list[bytes], what: str) -> None:
    with pytest.raises(BadReply, match=what) as error:
        parse_reply(lines)
    assert len(str(error.value)) < 500


def test_what_a_reply_said_is_shown_in_short() -> None:
    with pytest.raises(BadReply) as error:
        parse_reply([b"HTTP" * 100])
    assert str(error.value) == f"expected the next line of a reply, got {b'HTTP' * 20!r}"
    with pytest.raises(BadReply) as error:
        parse_reply([b"250-" + b"y" * 100])
    assert str(error.value).endswith(f"{b'250-' + b'y' * 76!r}")


@pytest.mark.parametrize("lines,reply", [
    ([b"250"], Reply(250)), ([b"250 "], Reply(250)), ([b"250-", b"250 x"], Reply(250, "\nx")),
    ([b"299 x"], Reply(299, "x")),
    ([b"250 \xff\xe9"], Reply(250, "\\xff\\xe9")), ([b"200 a"], Reply(200, "a")), ([b"599 a"], Reply(599, "a"))])
def test_what_is_one(lines: list[bytes], reply: Reply) -> None:
    assert parse_reply(lines) == reply


def test_a_reply_as_a_person_reads_it() -> None:
    assert str(Reply(550, "no\x1b[2J\nask Li", "5.1.1")) == "550 5.1.1 no\\x1b[2J / ask Li"
    assert str(Reply(250)) == "250" and str(Reply(250, "", "2.0\x9b")) == "250 2.0\\x9b"
    assert LineTooLong(5).hopeless is False
    for value, name in ((Reply(250), "code"), (Command("QUIT"), "verb"), (Path("a", "b"), "local")):
        with pytest.raises(AttributeError):
            setattr(value, name, None)


@pytest.mark.parametrize("text,shown", [
    ("a é 東京 \u05d0", "a é 東京 \u05d0"), ("\x1b\x9b\x7f", "\\x1b\\x9b\\x7f"), ("\r\n\t", "\\r\\n\\t"),
    ("\u2028\u2029", "\\u2028\\u2029"), ("\u202e\u2066", "\\u202e\\u2066"), ("\udc9b", "\\udc9b"),
    ("\U000e0001", "\\U000e0001"), ("", "")])
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_record_is_one_line_and_an_indented_traceback() -> None:
    try:
        raise ValueError("a\x1b\nb")
    except ValueError:
        record = logging.LogRecord("x", 20, "f", 1, "%s %d %s", ("\u2028", 3, 0.5), sys.exc_info())
    assert printable_record(record)
    assert record.args == ("\\u2028", 3, 0.5)
    text = logging.Formatter("%(message)s").format(record)
    first, *others = text.split("\n")
    assert first == "\\u2028 3 0.5" and others[0] == "  Traceback (most recent call last):"
    assert others[-2:] == ["  ValueError: a\\x1b", "  b"] and all(line.startswith("  ") for line in others)
    before = record.exc_text
    assert printable_record(record) and record.exc_text == before
    plain = logging.LogRecord("x", 20, "f", 1, "no values", None, None)
    assert printable_record(plain) and not plain.exc_text and plain.getMessage() == "no values"
    logger("smtp_from_scratch.test_rules").debug("there it is")
    assert logging.getLogger("smtp_from_scratch.test_rules").filters == [printable_record]


def test_commands() -> None:
    assert encode_command("QUIT") == b"QUIT\r\n" and encode_command("HELO", "x y") == b"HELO x y\r\n"
    assert encode_command("RCPT", "TO:<é@x>") == "RCPT TO:<é@x>\r\n".encode()
    assert parse_command(b"helo  a b \t ") == Command("HELO", " a b")
    assert parse_command(b"quit") == Command("QUIT") == Command("QUIT", "")
    assert parse_command(b"X \xff") == Command("X", "\udcff") and parse_command(b"\xff x").verb == "\udcff"
    for verb, argument in (("A\rB", ""), ("A\nB", ""), ("A\0", ""), ("A", "\r"), ("A", "x\ny"), ("A", "\0")):
        with pytest.raises(ValueError, match="one line"):
            encode_command(verb, argument)


# --- the envelope ----------------------------------------------------------------------------------------------------


def header(*lines: str) -> Envelope:
    return envelope_of(message_from_string("\n".join(lines) + "\n\nhello\n", policy=policy.default))


def test_an_envelope_of_one_letter_has_each_recipient_once() -> None:
    assert header("From: a@x.example", "To: b@x.example, b@x.example", "Cc: c@x.example",
                  "Bcc: b@x.example, d@x.example") == Envelope("a@x.example", ["b@x.example", "c@x.example",
                  "d@x.example"])
    assert Envelope().protocol == "SMTP" and "ana" not in repr(Envelope(user="ana", options={"ana": {}}))
    assert header("From: a@x.example, z@x.example").sender == "a@x.example"
    assert header("From: a@x.example").recipients == []


def test_once_resent_only_the_new_fields_count() -> None:
    resent = ("Resent-Date: Tue, 24 Nov 2026 09:00:00 +0900", "Resent-From: k@x.example", "Resent-To: l@x.example",
              "Resent-Cc: m@x.example", "Resent-Bcc: n@x.example")
    first = ("From: a@x.example", "To: b@x.example")
    assert header(*resent, *first) == Envelope("k@x.example", ["l@x.example", "m@x.example", "n@x.example"])
    assert header(*resent, *first, "Resent-Sender: s@x.example").sender == "s@x.example"
    with pytest.raises(ValueError, match="Resent-From"):
        header("Resent-Date: Tue, 24 Nov 2026 09:00:00 +0900", *first)
    with pytest.raises(ValueError, match="give it a From"):
        header("To: b@x.example")


@pytest.mark.parametrize("text,path,rest", [
    ("<>", NULL_PATH, ""), ("<> X", NULL_PATH, " X"), ("<postmaster>", Path("postmaster", ""), ""),
    ("<PostMaster> X", Path("PostMaster", ""), " X"), ("<a@b.c>", Path("a", "b.c"), ""),
    ("<@r.example,@s.example:a@b.c>", Path("a", "b.c", ("r.example", "s.example")), ""),
    ("<@r.example:a@b.c>", Path("a", "b.c", ("r.example",)), ""), ('<"a b"@b.c>x', Path('"a b"', "b.c"), "x"),
    ("<a@[192.0.2.1]>", Path("a", "[192.0.2.1]"), ""), ("<a@[IPv6:2001:db8::1]>", Path("a", "[IPv6:2001:db8::1]"), ""),
    ("<é@例え.example>", Path("é", "例え.example"), ""),
    ("<a@[IPv6:1:2:3:4:5:6:7:8]>", Path("a", "[IPv6:1:2:3:4:5:6:7:8]"), "")])
def test_a_path_and_the_rest(text: str, path: Path, rest: str) -> None:
    assert parse_path(text) == (path, rest)
    assert str(path) + rest == text
    assert path.mailbox == (f"{path.local}@{path.domain}" if path.domain else path.local)


@pytest.mark.parametrize("text", [
    "", "<", "a@b.c", "<a@b.c", "<a>", "<@b.c>", "<a@>", "<a@.b>", "<a@b.>", "<a@b..c>", "<.a@b>", "<a.@b>", "<a..b@c>",
    "<a@-b.c>", "<a@b-.c>", "<a b@c>", "<a@b c>", '<"a@b.c>', '<"a"b@c>', "<a@[192.0.2]>", "<a@[192.0.2.256]>",
    "<a@[2001:db8::1]>", "<a@[IPv6:192.0.2.1]>", "<a@[IPv6:2001:db8::g]>", "<postmaster", "<postmasters>",
    "<\ud800@b.c>"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(BadPath):
        parse_path(text)


def long_domain(octets: int) -> str:
    return ("d" * 49 + ".") * 5 + "d" * (octets - 250)


@pytest.mark.parametrize("local,domain,fine", [
    ("l" * 64, "b.c", True), ("l" * 65, "b.c", False), ("é" * 32, "b.c", True), ("é" * 32 + "l", "b.c", False),
    ("l", long_domain(252), True), ("l", long_domain(253), False), ("l" * 64, "d" * 189, True),
    ("l" * 64, "d" * 190, False)])
def test_how_long_a_path_may_be(local: str, domain: str, fine: bool) -> None:
    """A local part 64, a path 256, its brackets included (RFC 5321 §4.5.3.1.1 to §4.5.3.1.3)."""
    if fine:
        assert parse_path(f"<{local}@{domain}>")[0] == Path(local, domain)
    else:
        with pytest.raises(BadPath, match="at most 64 octets"):
            parse_path(f"<{local}@{domain}>")


@pytest.mark.parametrize("address,few", [
    ('"ana"@x.example', "ana@x.example"), ('"a b"@x.example', '"a b"@x.example'), ('"a\\b"@x.example', "ab@x.example"),
    ('"a\\"b"', '"a\\"b"'), ('"a\\\\b"@x', '"a\\\\b"@x'), ("ana@x", "ana@x"), ('""@x', '""@x'), ('"ana"', "ana"),
    ('"a.b"@x', "a.b@x"), ('"a..b"@x', '"a..b"@x'), ('"a\\ b"@x', '"a b"@x')])
def test_no_more_quotes_than_needed(address: str, few: str) -> None:
    assert few_quotes(address) == few
    if "@" in address:
        assert encode_path(address) == f"<{few}>"


@pytest.mark.parametrize("address", ["a@b.c> x", "a@b.c>,<d@e.f", "a b@c", "a", "<a@b.c>", "a@b.c x"])
def test_an_address_is_one_mailbox(address: str) -> None:
    with pytest.raises(BadPath):
        encode_path(address)
    assert encode_path("") == "<>" and encode_path("a@b.c") == "<a@b.c>"


@pytest.mark.parametrize("text,bare", [("", False), ("a", False), ("a\r\nb\r\n", False), ("a\rb", True), ("a\nb", True),
                                       ("a\r", True), ("\n", True), ("a\r\n\r", True), ("a\r\n\n", True),
                                       ("\n\r", True)])
def test_bare(text: str, bare: bool) -> None:
    assert has_bare_newline(text.encode()) == bare


@given(st.lists(st.text("a.\r\n", max_size=5).map(str.encode), max_size=5))
def test_line_ends_become_cr_lf_wherever_the_blocks_are_cut(blocks: list[bytes]) -> None:
    whole = b"".join(blocks)
    text = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert b"".join(normalize(blocks)) == text
    said = b"".join(stuff(blocks))
    ended = text if text.endswith(b"\r\n") or not text else text + b"\r\n"
    lines = ended.split(b"\r\n")[:-1]
    assert said == b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in lines) + b".\r\n"
    assert unstuffed([said]) == ended
    assert unstuffed([said[:3], said[3:], b"MAIL"]) == ended


@pytest.mark.parametrize("data,held", [(b"a\r\n.\r", b"\r\n.\r"), (b"a\r\n.", b"\r\n."), (b"a\r\n", b"\r\n"),
                                       (b"a\r", b"\r"),
                                       (b"a", b""), (b"", b""), (b"\r\n.x", b""), (b"\r\r", b"\r"),
                                       (b".\r\n", b"\r\n")])
def test_what_may_be_the_beginning_of_the_end_is_held(data: bytes, held: bytes) -> None:
    assert split_tail(data) == (data[: len(data) - len(held)], held)


@pytest.mark.parametrize("data,body,rest", [
    (b".\r\n", b"", b""), (b"\r\n.\r\n", b"\r\n", b""), (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
    (b"..\r\n.\r\n", b".\r\n", b""), (b"a\r\n..b\r\n...\r\n.\r\nx", b"a\r\n.b\r\n..\r\n", b"x"),
    (b".a\r\n.\r\n", b"a\r\n", b""), (b"a\n.\n\r\n.\r\n", b"a\n.\n\r\n", b""), (b"a\r.\r\n.\r\n", b"a\r.\r\n", b"")])
def test_a_body_ends_at_its_lone_dot(data: bytes, body: bytes, rest: bytes) -> None:
    for at in range(len(data) + 1):
        cutter, found, left = BodyCutter(), b"", b""
        for piece in (data[:at], data[at:]):
            if cutter.ended:
                left += piece
                continue
            block, left = cutter.cut(piece)
            found += block
        assert (found, left, cutter.ended) == (body, rest, True)
        spool = spooled(body[:at], body[at:])
        assert spool.octets == len(body)
        assert (spool.finish() is not None) == (b"\n." in body.replace(b"\r\n", b"") or b"\r." in body)


@pytest.mark.parametrize("limit,kept,too_large", [(None, True, False), (7, True, False), (6, False, True),
                                                  (0, False, True)])
def test_a_body_beyond_its_limit_is_counted_and_not_kept(limit: int | None, kept: bool, too_large: bool) -> None:
    block, rest = BodyCutter().cut(b"12345\r\n.\r\nQUIT")
    assert (block, rest) == (b"12345\r\n", b"QUIT")
    spool = spooled(block, limit=limit)
    fault = spool.finish()
    assert (spool.octets, fault is not None and fault.code == 552, spool.limit) == (7, too_large, limit)
    spool.file.seek(0)
    assert spool.file.read() == (block if kept else b"")


def spooled(*blocks: bytes, limit: int | None = None) -> Spool:
    """A body taken in, block by block."""
    spool = Spool(limit, Memory())
    for block in blocks:
        spool.add(block)
    return spool

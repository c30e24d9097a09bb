"""What travels on the wire: lines however they are cut, replies and commands."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from smtp_from_scratch.wire import (
    COMMAND_LIMIT,
    HOPELESS,
    REPLY_LINE,
    BadReply,
    BareNewline,
    Command,
    Inbox,
    LineTooLong,
    OtherProtocol,
    Reply,
    WireError,
    encode_command,
    encode_reply,
    parse_command,
    parse_reply,
)


def read(inbox: Inbox, limit: int = COMMAND_LIMIT) -> Iterator[bytes | str]:
    """Every line that an inbox has, the name of the exception where it refuses one."""
    while True:
        try:
            line = inbox.line(limit)
        except WireError as error:
            line = None
            yield type(error).__name__
            if error.hopeless:
                return
        else:
            if line is None:
                return
            yield line


def heard(*pieces: bytes, limit: int = COMMAND_LIMIT) -> list[bytes | str]:
    """The lines of these pieces, asked for after each piece."""
    inbox, lines = Inbox(), []
    for piece in pieces:
        inbox.feed(piece)
        lines += read(inbox, limit)
    return lines


# --- lines ----------------------------------------------------------------------------------------------------------

LINES = [
    (b"NOOP\r\n\r\nQUIT\r\n", [b"NOOP", b"", b"QUIT"]),
    (b"NOOP\nRSET\r\nQUIT\r\n", ["BareNewline", "BareNewline", b"QUIT"]),         # what follows an LF is refused, too
    (b"NO\rOP\r\nQUIT\r\n", ["BareNewline", b"QUIT"]),
    (b"NOOP\r\r\nQUIT\r\n", ["BareNewline", b"QUIT"]),
    (b"NOOP a line\r\nQUIT\r\n", ["LineTooLong", b"QUIT"]),
    (b"NOOP a l\r\nQUIT\r\n", [b"NOOP a l", b"QUIT"]),                            # ten octets with its CR LF
]


@pytest.mark.parametrize("octets, lines", LINES)
def test_lines_are_the_same_however_they_are_cut(octets: bytes, lines: list[bytes | str]) -> None:
    assert heard(octets, limit=10) == lines
    assert heard(*(bytes([octet]) for octet in octets), limit=10) == lines
    for first, second in combinations(range(1, len(octets)), 2):
        assert heard(octets[:first], octets[first:second], octets[second:], limit=10) == lines


def test_half_a_line_is_none_and_waits() -> None:
    inbox = Inbox()
    inbox.feed(b"QUI")
    assert inbox.line() is None and len(inbox) == 3
    inbox.feed(b"T\r")
    assert inbox.line() is None
    inbox.feed(b"\n")
    assert inbox.line() == b"QUIT" and len(inbox) == 0


def test_a_long_line_is_dropped_while_it_arrives_and_refused_at_its_end() -> None:
    inbox = Inbox()
    for _ in range(60):
        inbox.feed(b"x" * 1000)
        assert inbox.line() is None and len(inbox) <= COMMAND_LIMIT
    inbox.feed(b"\r\nQUIT\r\n")
    with pytest.raises(LineTooLong) as told:
        inbox.line()
    assert not told.value.hopeless and inbox.line() == b"QUIT"


def test_a_line_whose_end_is_nowhere_in_sight_is_hopeless() -> None:
    inbox = Inbox()
    inbox.feed(b"x" * (HOPELESS + 2))
    with pytest.raises(LineTooLong) as told:
        inbox.line()
    assert told.value.hopeless and len(inbox) <= 1


@pytest.mark.parametrize("start", [
    b"\x16\x03\x01\x02\x00", b"SSH-2.0-client\r\n", b"GET / HTTP/1.1\r\n", b"post / HTTP/1.1\r\n",
    b"Host: tokyo.example\r\n", b"PRI * HTTP/2.0\r\n",
])
def test_another_protocol_is_noticed_at_once(start: bytes) -> None:
    inbox = Inbox()
    inbox.feed(b"NOOP\r\n" + start)
    assert inbox.line() == b"NOOP"
    with pytest.raises(OtherProtocol, match="this is SMTP") as told:
        inbox.line()
    assert told.value.hopeless and len(inbox) == 0


def test_what_only_looks_like_another_protocol_is_a_line() -> None:
    assert heard(b"GETTING\r\nPRINT\r\nHOSTS\r\nSSH\r\n") == [b"GETTING", b"PRINT", b"HOSTS", b"SSH"]


def test_a_bare_newline_is_told_in_words() -> None:
    inbox = Inbox()
    inbox.feed(b"NOOP\n")
    with pytest.raises(BareNewline, match="CR LF; neither may stand alone"):
        inbox.line()


def test_octets_are_taken_as_they_are() -> None:
    inbox = Inbox()
    inbox.feed(b"BDAT 4\r\na\nb\rQUIT\r\n")
    assert (inbox.line(), inbox.octets(4), inbox.octets(0), inbox.line()) == (b"BDAT 4", b"a\nb\r", b"", b"QUIT")
    assert inbox.octets(9) == b""


# --- replies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply, octets", [
    (Reply(250, "fine"), b"250 fine\r\n"), (Reply(354), b"354\r\n"),
    (Reply(250, "mx.tokyo.example\nSIZE 1000\nHELP"), b"250-mx.tokyo.example\r\n250-SIZE 1000\r\n250 HELP\r\n"),
    (Reply(550, "no Kenji here\nask Li", "5.1.1"), b"550-5.1.1 no Kenji here\r\n550 5.1.1 ask Li\r\n"),
    (Reply(250, "José"), "250 José\r\n".encode()),
])
def test_a_reply_as_octets(reply: Reply, octets: bytes) -> None:
    assert encode_reply(reply) == octets


@pytest.mark.parametrize("text", ["", "fine", "one\ntwo", "\n", "a - b\n- c", "José\n用户"])
def test_there_and_back(text: str) -> None:
    reply = Reply(451, text)
    assert parse_reply(encode_reply(reply).removesuffix(b"\r\n").split(b"\r\n")) == reply


def test_no_line_of_ours_is_longer_than_it_may_be() -> None:
    lines = encode_reply(Reply(250, 100 * "mangoes " + "\n" + 600 * "é", "2.0.0")).split(b"\r\n")
    assert max(map(len, lines)) <= REPLY_LINE - 2 and all(line[:10].startswith(b"250") for line in lines[:-1])
    text = parse_reply(lines[:-1]).text.replace("2.0.0 ", "").replace("\n", "")
    assert text == 100 * "mangoes " + 600 * "é"


@pytest.mark.parametrize("lines", [
    [], [b""], [b"25"], [b"199 ok"], [b"600 ok"], [b"2x0 ok"], [b"250ok"], [b"250-half"], [b"250 one", b"250 two"],
    [b"250-welcome", b"550 but not you"], [b"HTTP/1.1 400"], [b" 250 ok"], [b"250 a\rb"], [b"250 a\0"],
])
def test_what_is_no_reply(lines: list[bytes]) -> None:
    with pytest.raises(BadReply):
        parse_reply(lines)


def test_octets_that_are_no_utf_8_become_visible() -> None:
    assert parse_reply([b"250 Jos\xe9"]).text == "Jos\\xe9"


@pytest.mark.parametrize("fields", [
    (199,), (600,), (250, "a\rb"), (250, "a\0b"), (250, "", "2.0\r.0"), (250, "", "2.0\n.0"),
])
def test_what_nobody_could_say_is_no_reply(fields: tuple[int | str, ...]) -> None:
    with pytest.raises(ValueError):
        Reply(*fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("code, means", [
    (250, "positive"), (354, ""), (421, "temporary"), (450, "temporary"), (550, "permanent"),
])
def test_what_a_code_means(code: int, means: str) -> None:
    reply = Reply(code, "x")
    assert [name for name in ("positive", "temporary", "permanent") if getattr(reply, name)] == [means] * bool(means)


def test_a_reply_for_people_is_one_line_that_no_terminal_obeys() -> None:
    assert str(Reply(550, "no\nKenji \x1b[31m", "5.1.1")) == r"550 5.1.1 no / Kenji \x1b[31m"


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line, command", [
    (b"QUIT", Command("QUIT")), (b"quit", Command("QUIT")), (b"", Command("")), (b" NOOP", Command("", "NOOP")),
    (b"rcpt TO:<Li@tokyo.example> ", Command("RCPT", "TO:<Li@tokyo.example>")),
    (b"NOOP  two", Command("NOOP", " two")), (b"HELP \t", Command("HELP")),
])
def test_a_line_is_a_verb_and_an_argument(line: bytes, command: Command) -> None:
    assert parse_command(line) == command


def test_octets_of_a_command_come_back_as_they_were() -> None:
    command = parse_command(b"VRFY jos\xe9")
    assert command.argument.encode("utf-8", "surrogateescape") == b"jos\xe9"


def test_only_the_letters_of_ascii_have_two_cases() -> None:
    assert parse_command("rſet".encode()).verb == "RſET"


@pytest.mark.parametrize("verb, argument, octets", [("QUIT", "", b"QUIT\r\n"), ("MAIL", "FROM:<>", b"MAIL FROM:<>\r\n"),
                                                    ("VRFY", "josé", "VRFY josé\r\n".encode())])
def test_a_command_as_octets(verb: str, argument: str, octets: bytes) -> None:
    assert encode_command(verb, argument) == octets


@pytest.mark.parametrize("argument", ["a\r\nRCPT TO:<b>", "a\nb", "a\rb", "a\0b"])
def test_a_second_command_is_not_smuggled_in(argument: str) -> None:
    for verb, rest in (("MAIL", argument), (argument, "")):
        with pytest.raises(ValueError, match="one line"):
            encode_command(verb, rest)

"""The checks of `wire` find what is wrong, say so, and take right answers in any style."""
from __future__ import annotations

import re
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.wire import (
    COMMAND_LIMIT,
    BadReply,
    BareNewline,
    Inbox,
    LineTooLong,
    Reply,
    encode_command,
    encode_reply,
    parse_command,
    parse_reply,
)
from tests.solutions import solution


def refused(verdict: Any, says: str) -> None:
    assert not verdict.passed and says in str(verdict), str(verdict)


def test_the_solutions_pass() -> None:
    for cell, name, check in (
            ("my-inbox", "MyInbox", lab.check_inbox), ("my-encode-reply", "my_encode_reply", lab.check_encode),
            ("my-parse-reply", "my_parse_reply", lab.check_parse_reply),
            ("my-commands", "my_encode_command", lab.check_encode_command),
            ("my-commands", "my_parse_command", lab.check_parse_command),
            ("my-order", "my_order", lab.check_eight_lines),
            ("my-lines", "my_lines", lab.check_lines), ("my-pieces", "my_pieces", lab.check_pieces),
            ("my-complete", "my_complete", lab.check_complete)):
        verdict = check(solution("01_wire", cell)[name])
        assert verdict.passed, str(verdict)


# -- a box that gives out lines --


class Empty:
    def feed(self, data: bytes) -> None: ...

    def line(self, limit: int = COMMAND_LIMIT) -> Any: ...


class Box:
    """Every mistake can be switched on."""

    generous = forgetful = endless = unlimited = False

    def __init__(self) -> None:
        self.data, self.dropped = b"", 0

    def feed(self, data: bytes) -> None:
        self.data += data

    def line(self, limit: int = COMMAND_LIMIT) -> bytes | None:
        line, end, rest = self.data.partition(b"\n")
        if not end:
            if len(line) > limit and not self.endless:
                self.dropped, self.data = self.dropped + len(line) - 1, line[-1:]
                if self.forgetful:
                    self.dropped, self.data = 0, b""
                    raise LineTooLong(limit)
            return None
        length, self.data, self.dropped = self.dropped + len(line) + 1, rest, 0
        if length > limit and not self.unlimited:
            raise LineTooLong(limit)
        if self.generous:
            return line.removesuffix(b"\r")
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise BareNewline
        return line[:-1]


class Generous(Box):
    generous = True


class Forgetful(Box):
    forgetful = True


class Endless(Box):
    endless = True


class Unlimited(Box):
    unlimited = True


class OneLimit(Box):
    def line(self, limit: int = COMMAND_LIMIT) -> bytes | None:
        return super().line()


class EmptyIsNone(Box):
    def line(self, limit: int = COMMAND_LIMIT) -> bytes | None:
        return super().line(limit) or None


class ByPiece(Box):
    def feed(self, data: bytes) -> None:
        self.data = data


class Hoarder(Box):
    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self.pieces.append(data)

    def line(self, limit: int = COMMAND_LIMIT) -> bytes | None:
        line, end, rest = b"".join(self.pieces).partition(b"\n")
        if not end:
            return None
        self.pieces = [rest]
        if len(line) + 1 > limit:
            raise LineTooLong(limit)
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise BareNewline
        return line[:-1]


@pytest.mark.parametrize("wrong, says", [
    (Hoarder, "fills your memory"),
    (Empty, "gives no line yet"), (Generous, "An LF without its CR"), (Forgetful, "gave"),
    (Endless, "fills your memory"),
    (OneLimit, "with a `limit` of 8192 gave LineTooLong"),
    (Unlimited, "too many"), (EmptyIsNone, "An empty line"), (ByPiece, "A line ends at CR LF"),
])
def test_inbox(wrong: Any, says: str) -> None:
    refused(lab.check_inbox(wrong), says)


@pytest.mark.parametrize("right", [Inbox, Box])
def test_right_inboxes(right: Any) -> None:
    verdict = lab.check_inbox(right)
    assert verdict.passed, str(verdict)


# -- the octets of a reply --


def all_with(mark: str, end: str = "\r\n") -> Any:
    return lambda reply: "".join(f"{reply.code}{mark}{line}{end}" for line in reply.lines).encode()


@pytest.mark.parametrize("wrong, says", [
    (lambda reply: None, "Not yet"), (all_with(" "), "a hyphen promises another line"),
    (all_with("-"), "a space ends the reply"), (all_with(" ", "\n"), "no CR LF"),
    (lambda reply: encode_reply(reply).decode(), "carries bytes"),
    (lambda reply: f"{reply.code} {reply.lines[-1]}\r\n".encode(), "ends of lines"),
])
def test_encode(wrong: Any, says: str) -> None:
    refused(lab.check_encode(wrong), says)


def by_number(reply: Reply) -> bytes:
    return b"".join(b"%d%s%s\r\n" % (reply.code, b" " if number == len(reply.lines) else b"-", line.encode())
                    for number, line in enumerate(reply.lines, 1))


@pytest.mark.parametrize("right", [encode_reply, by_number])
def test_right_encodes(right: Any) -> None:
    assert lab.check_encode(right).passed


# -- a reply again --


def hasty(lines: list[bytes]) -> Reply:
    return Reply(int(lines[0][:3]), "\n".join(line[4:].decode() for line in lines))


def codes_only(lines: list[bytes]) -> Reply:
    if not lines or len({line[:3] for line in lines}) != 1 or not re.fullmatch(rb"[2-5]\d\d", lines[0][:3]):
        raise BadReply("other codes")
    return hasty(lines)


def plain_errors(lines: list[bytes]) -> Reply:
    try:
        return parse_reply(lines)
    except BadReply as error:
        raise ValueError("no") from error


def no_bare_code(lines: list[bytes]) -> Reply:
    if any(len(line) < 4 for line in lines):
        raise BadReply("too short")
    return parse_reply(lines)


@pytest.mark.parametrize("wrong, says", [
    (lambda lines: None, "Not yet"), (hasty, "believes what nobody said"), (codes_only, "promises another"),
    (plain_errors, "expect BadReply"), (no_bare_code, "[b'354']"),
    (lambda lines: Reply(250, "OK"), "We expected Reply(354"),
])
def test_parse_reply(wrong: Any, says: str) -> None:
    refused(lab.check_parse_reply(wrong), says)


def by_whole(lines: list[bytes]) -> Reply:
    match = re.fullmatch(rb"(?:([2-5]\d\d)-[^\r\n]*\n(?:\1-[^\r\n]*\n)*\1|([2-5]\d\d))(?: [^\r\n]*)?",
    b"\n".join(lines))
    if not match:
        raise BadReply("no")
    return Reply(int(match[1] or match[2]), "\n".join(line[4:].decode() for line in lines))


@pytest.mark.parametrize("right", [parse_reply, by_whole])
def test_right_parse_replies(right: Any) -> None:
    verdict = lab.check_parse_reply(right)
    assert verdict.passed, str(verdict)


# -- one line, never two --


def argument_only(verb: str, argument: str = "") -> bytes:
    if set(argument) & set("\r\n\0"):
        raise ValueError
    return f"{verb} {argument}".rstrip().encode() + b"\r\n"


def crlf_only(verb: str, argument: str = "") -> bytes:
    line = f"{verb} {argument}".rstrip(" ")
    if "\r\n" in line:
        raise ValueError
    return line.encode() + b"\r\n"


@pytest.mark.parametrize("wrong, says", [
    (lambda verb, argument="": None, "Not yet"),
    (lambda verb, argument="": f"{verb} {argument}\r\n".encode(), "'QUIT'"),
    (argument_only, "in the verb"), (crlf_only, "rides along"),
    (lambda verb, argument="": encode_command(verb, argument)[:-2], "hears another line"),
])
def test_encode_command(wrong: Any, says: str) -> None:
    refused(lab.check_encode_command(wrong), says)


def by_ands(verb: str, argument: str = "") -> bytes:
    for octet in "\r\n\0":
        if octet in verb or octet in argument:
            raise ValueError(octet)
    return b" ".join(part.encode() for part in (verb, argument) if part) + b"\r\n"


@pytest.mark.parametrize("right", [encode_command, by_ands])
def test_right_encode_commands(right: Any) -> None:
    assert lab.check_encode_command(right).passed


def strictly_decoded(line: bytes) -> tuple[str, str]:
    verb, _, argument = line.decode().partition(" ")
    return verb.upper(), argument.rstrip()


@pytest.mark.parametrize("wrong, says", [
    (lambda line: None, "Not yet"), (lambda line: tuple(line.decode().split(" ")), "QUIT"),
    (lambda line: tuple(line.decode("latin-1").upper().partition(" ")[::2]), "rcpt"),
    (lambda line: tuple(line.decode("latin-1").partition(" ")[::2]), "rcpt"), (lambda line: "QUIT", "QUIT"),
    (strictly_decoded, "surrogateescape"),
])
def test_parse_command(wrong: Any, says: str) -> None:
    refused(lab.check_parse_command(wrong), says)


def by_split(line: bytes) -> tuple[str, str]:
    verb, *rest = line.decode("utf-8", "surrogateescape").split(" ", 1)
    return verb.upper(), (rest[0] if rest else "").rstrip(" \t")


@pytest.mark.parametrize("right", [parse_command, by_split])
def test_right_parse_commands(right: Any) -> None:
    assert lab.check_parse_command(right).passed


# -- the exercises at the end --


@pytest.mark.parametrize("wrong, says", [
    ("", "Not yet"), ("ABCDEFGH", "server"), ("FHBDCGA", "eight"), ("FHBIDEGA", "this is the letter"),
    ("FHBIDCAG", "letter"), ("FHDBICGA", "D"),
])
def test_eight_lines(wrong: str, says: str) -> None:
    refused(lab.check_eight_lines(wrong), says)


@pytest.mark.parametrize("right", ["FHBIDCGA", "f h i b d c g a"])
def test_right_eight_lines(right: str) -> None:
    assert lab.check_eight_lines(right).passed


@pytest.mark.parametrize("wrong, says", [
    (lambda chunks: [], "even uncut"), (lambda chunks: [c.removesuffix(b"\r\n") for c in chunks], "two lines"),
    (lambda chunks: b"".join(chunks).split(b"\r\n"), "even uncut"),
    (lambda chunks: b"".join(chunks).splitlines(), "not over"),
    (lambda chunks: b"".join(chunks).decode().split("\r\n")[:-1], "Do not decode"),
    (lambda chunks: [line for chunk in chunks for line in chunk.split(b"\r\n")[:-1]], "the cut fell"),
])
def test_lines(wrong: Any, says: str) -> None:
    refused(lab.check_lines(wrong), says)


@pytest.mark.parametrize("right", [lambda chunks: b"".join(chunks).split(b"\r\n")[:-1],
                                   lambda chunks: re.findall(rb"(.*?)\r\n", b"".join(chunks), re.DOTALL)])
def test_right_lines(right: Any) -> None:
    assert lab.check_lines(right).passed


TRUE = [b"220 hi\r\n", b"250 hi\r\n", b"250 OK\r\n", b"550 no\r\n", b"250 OK\r\n", b"221 bye\r\n"]


@pytest.mark.parametrize("wrong, says", [
    ([], "Not yet"), (TRUE, "the truth"), ([b"".join(TRUE)], "before the client has asked"),
    ([*TRUE[:3], b"550 no Li\r\n", b"550 no\r\n", TRUE[5]], "where the 250"), ([*TRUE[:5]], "where the 221"),
    ([b"", *TRUE], "never an empty piece"),
])
def test_pieces(wrong: Any, says: str) -> None:
    refused(lab.check_pieces(wrong), says)


@pytest.mark.parametrize("right", [[b"220-a\r\n", b"220 b\r\n", *TRUE[1:]], [TRUE[0], b"250-a\r\n", b"250 b\r\n",
    *TRUE[2:]]])
def test_right_pieces(right: Any) -> None:
    assert lab.check_pieces(right).passed


COMPLETE: dict[int, Any] = {1: [220], 2: [], 3: [], 4: [250, 354], 5: [552]}


@pytest.mark.parametrize("change", [{1: [220, 250]}, {2: [250]}, {3: [250]}, {4: [250, 250, 354]}, {5: [2]},
    {4: [354]}])
def test_complete(change: dict[int, Any]) -> None:
    refused(lab.check_complete(COMPLETE | change), f"after recv {next(iter(change))}")


@pytest.mark.parametrize("change", [{}, {1: 220, 4: (250, 354)}, {1: "220", 5: ["552"]}])
def test_right_complete(change: dict[int, Any]) -> None:
    assert lab.check_complete(COMPLETE | change).passed


# -- whatever a learner hands in --


def raises(*given: Any, **named: Any) -> Any:
    raise ZeroDivisionError("divided by the number of letters")


def endless(*given: Any, **named: Any) -> Any:
    while True:
        pass


def as_asked(name: str, answer: Any) -> Any:
    """The function, or a box with it as its `line`."""
    return type("MyBox", (Box,), {"line": answer}) if name == "check_inbox" else answer


EVERY = ["check_inbox", "check_encode", "check_parse_reply", "check_encode_command", "check_parse_command",
         "check_lines"]


@pytest.mark.parametrize("name", [*EVERY, "check_eight_lines", "check_pieces", "check_complete"])
def test_hints_come_before_any_attempt(name: str) -> None:
    hints = [str(getattr(lab, name).hint(number)) for number in (1, 2, 3)]
    assert len(set(hints)) == 3 and "?" in hints[0]


@pytest.mark.parametrize("name", EVERY)
def test_an_answer_that_raises_is_told_where(name: str) -> None:
    refused(getattr(lab, name)(as_asked(name, raises)), "ZeroDivisionError in line 2 of `raises`")


@pytest.mark.parametrize("name", EVERY)
def test_an_answer_without_end_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getattr(lab, name), "seconds", 0.2)
    refused(getattr(lab, name)(as_asked(name, endless)), "still running after 0.2 seconds")


@pytest.mark.parametrize("answer", [7, 2.5, "QUIT", b"QUIT", [b"QUIT"], ["QUIT"], (1, 2), {"a": 7}, object(), True])
@pytest.mark.parametrize("name", EVERY)
def test_an_answer_of_another_kind_is_no_error_of_the_check(name: str, answer: Any) -> None:
    verdict = getattr(lab, name)(as_asked(name, lambda *given, **named: answer))
    assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)


@pytest.mark.parametrize("answer", [7, 2.5, "what", b"FHBIDCGA", [7], {"a": 7}, object(), True])
@pytest.mark.parametrize("name", ["check_eight_lines", "check_pieces", "check_complete"])
def test_anything_in_place_of_a_table_is_refused(name: str, answer: Any) -> None:
    verdict = getattr(lab, name)(answer)
    assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)

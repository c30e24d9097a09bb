"""The checks of `chunking` say what is wrong, one thing at a time, whatever a learner hands in."""
from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.chunking import BinaryMime, Octets, bdat, parse_bdat, spool_of, whole_lines
from smtp_from_scratch.conversation import read_reply
from smtp_from_scratch.ehlo import ExtendedSession, Extension, Parameter, one_of
from smtp_from_scratch.envelope import normalize
from smtp_from_scratch.session import finish
from smtp_from_scratch.transaction import Plan
from smtp_from_scratch.wire import CRLF, Command, Reply
from tests.course.hopeless import broken, endless, refuses_other_forms, refuses_the_hopeless
from tests.solutions import solution

COUNTS = {"A": "BDAT 10", "B": "BDAT 3 LAST", "C": "BDAT 0 LAST", "D": "BDAT 9 LAST", "E": None}
MISTAKES = {"A": 4, "B": 7, "C": 5, "D": 4, "E": 2}
BRIDGE = b"Subject: Your bridge\r\n\r\nIt is closed again.\r\n"
FORGED = b"MAIL FROM:<kenji@tokyo.example>\r\nRCPT TO:<mayor@tokyo.example>\r\n"


def test_the_chapter_s_own_passes() -> None:
    assert lab.check_bdat_size(parse_bdat).passed and lab.check_bdat(bdat).passed
    assert lab.check_whole_lines(whole_lines).passed and lab.check_binarymime(BinaryMime).passed
    assert lab.check_counts(COUNTS).passed and lab.check_mistakes(MISTAKES).passed


def friendly(argument: str) -> Any:
    size, _, marker = argument.partition(" ")
    return (int(size), marker.upper() == "LAST") if size.strip("-+").isdigit() else None


@pytest.mark.parametrize("my_parse_bdat, says", [
    (lambda argument: None, "Not yet"), (lambda argument: ..., "Not yet"), (friendly, "for '-1'"),
    (lambda argument: parse_bdat(argument) and (1, True), "for '86'"),
    (lambda argument: int(argument.split()[0]), "86 for '86'"),
    (lambda argument: parse_bdat(argument.replace("FIRST", "LAST")), "'86 FIRST'"),
    (lambda argument: (argument.partition(" ")[0], "LAST" in argument), "an `int` and a `bool`"),
    (lambda argument: [*(parse_bdat(argument) or ())] or None, "Return a tuple"),
])
def test_sizes(my_parse_bdat: Any, says: str) -> None:
    assert says in lab.check_bdat_size(my_parse_bdat).text() and not lab.check_bdat_size(my_parse_bdat).passed


def by_pattern(argument: str) -> tuple[int, bool] | None:
    match = re.fullmatch(r"([0-9]+)( LAST)?", argument, re.IGNORECASE | re.ASCII)
    return (int(match[1]), bool(match[2])) if match else None


@pytest.mark.parametrize("right", [by_pattern, parse_bdat, solution("13_chunking", "parse-code")["my_parse_bdat"]])
def test_sizes_in_any_style(right: Any) -> None:
    assert lab.check_bdat_size(right).passed, lab.check_bdat_size(right).text()


def handler(reads: bool = True, once: bool = False, faults: bool = True, refuses: bool = True, keeps: bool = True,
            ends: bool = True, last: bool = True, closes: bool = True) -> Callable[[Any, str], Any]:
    """A handler with a mistake, or without one: it counts down, and asks for the rest anew each time."""
    def my_bdat(session: ExtendedSession, argument: str) -> Generator[Any, Any, Reply]:
        size = parse_bdat(argument)
        if size is None or size[0] > 10_000_000:
            return session.closing("no") if closes else Reply(501, "no")
        left, refusal = size[0], session.objection(Command("BDAT", argument)) if refuses else None
        spool = None if refusal else spool_of(session)
        if spool is None and not reads:
            return refusal or Reply(503)
        while left:
            block = yield Octets(left)
            left = 0 if once else left - len(block)
            if spool and keeps:
                spool.add(block)
        if spool is None:
            return refusal or Reply(503)
        if not size[1] or not last:
            return (spool.fault if faults else None) or Reply(250)
        if not ends:
            session.reset()
            return Reply(250)
        return (yield from finish(session, spool))

    return my_bdat


def stub(session: ExtendedSession, argument: str) -> Generator[Any, Any, Reply]:
    """As the chapter shows it."""
    spool = spool_of(session)
    return (yield from finish(session, spool))  # type: ignore[arg-type]


def without_a_spool(adds: bool = False, judges: bool = True, reply: Any = None) -> Callable[[Any, str], Any]:
    """A handler that forgets that there may be no spool, or answers with what is no reply."""
    def my_bdat(session: ExtendedSession, argument: str) -> Generator[Any, Any, Any]:
        if (size := parse_bdat(argument)) is None:
            return session.closing("no")
        want, spool = Octets(size[0]), spool_of(session)
        while want.left:
            block = yield want
            if spool or adds:
                spool.add(block)  # type: ignore[union-attr]
        if judges and not size[1]:
            return (reply or Reply(503)) if spool is None else spool.fault or Reply(250)
        if reply == 503 and spool is None:
            return reply
        return (yield from finish(session, spool))  # type: ignore[arg-type]

    return my_bdat


@pytest.mark.parametrize("my_bdat, says", [
    (without_a_spool(), "`finish` called for a message when there is none, after b'BDAT 6 LAST"),
    (without_a_spool(adds=True), "a block put into a spool when there is none"),
    (without_a_spool(judges=False), "`finish` is for the last chunk alone"),
    (without_a_spool(reply=503), "returns a `Reply`, not 503"),
    (lambda session, argument: ..., "Not yet"), (stub, "Not yet"), (handler(reads=False), "Read them all"),
    (handler(once=True), "in pieces"), (handler(faults=False), "552"), (handler(refuses=False), "530"),
    (handler(keeps=False), "kept of"), (handler(ends=False), "kept of"), (handler(last=False), "kept of"),
    (handler(closes=False), "421"), (lambda session, argument: Reply(250), "Not yet"),
    (lambda session, argument: 250, "a handler returns a `Reply`"),
])
def test_handlers(my_bdat: Any, says: str) -> None:
    verdict = lab.check_bdat(my_bdat)
    assert says in verdict.text() and not verdict.passed, verdict.text()


@pytest.mark.parametrize("right", [handler(), solution("13_chunking", "bdat-code")["my_bdat"]])
def test_handlers_in_any_style(right: Any) -> None:
    assert lab.check_bdat(right).passed, lab.check_bdat(right).text()


def unended(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from normalize(blocks)


def always(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from normalize(blocks)
    yield CRLF


def last_block_only(blocks: Iterable[bytes]) -> Iterator[bytes]:
    block = b""
    for block in normalize(blocks):
        yield block
    if not block.endswith(CRLF):
        yield CRLF


def hoards(blocks: Iterable[bytes]) -> Iterator[bytes]:
    text = b"".join(normalize(blocks))
    yield text if text.endswith(CRLF) or not text else text + CRLF


def line_feeds(blocks: Iterable[bytes]) -> Iterator[bytes]:
    end = b"\n"
    for block in blocks:
        yield block
        end = block[-1:] or end
    if end != b"\n":
        yield CRLF


def with_a_flag(blocks: Iterable[bytes]) -> Iterator[bytes]:
    end = b""
    for block in normalize(blocks):
        end = (end + block)[-2:]
        if block:
            yield block
    if end and end != CRLF:
        yield b"\r\n"


@pytest.mark.parametrize("my_whole_lines, says", [
    (lambda blocks: None, "Not yet"), (lambda blocks: [], "Not yet"), (unended, "for [b'one\\ntwo\\n', b'three']"),
    (always, "two octets"), (last_block_only, "two blocks"), (hoards, "of 1,000 were read"), (line_feeds, "two octets"),
    (lambda blocks: ["text"], "Yield bytes"), (lambda blocks: 5, "Not yet"),
])
def test_whole_lines(my_whole_lines: Any, says: str) -> None:
    verdict = lab.check_whole_lines(my_whole_lines)
    assert says in verdict.text() and not verdict.passed, verdict.text()


@pytest.mark.parametrize("right", [with_a_flag, solution("13_chunking", "whole-lines-code")["my_whole_lines"]])
def test_whole_lines_in_any_style(right: Any) -> None:
    assert lab.check_whole_lines(right).passed, lab.check_whole_lines(right).text()


class Alone(BinaryMime):
    requires = frozenset()


class Unknown(BinaryMime):
    def parameters(self) -> dict[str, dict[str, Parameter]]:
        return {"MAIL": {"BODY": one_of("7BIT", "8BITMIME", octets=17)}}


class Anything(BinaryMime):
    def parameters(self) -> dict[str, dict[str, Parameter]]:
        return {"MAIL": {"BODY": Parameter(lambda session, value: None, octets=17)}}


class ByData(BinaryMime):
    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        return None


class InCapitals(BinaryMime):
    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        binary = session.envelope.parameters.get("BODY") == "BINARYMIME"
        return Reply(503) if command.verb == "DATA" and binary else None


class NoData(BinaryMime):
    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        return Reply(503) if command.verb == "DATA" else None


class Always(BinaryMime):
    def plan(self, plan: Plan) -> None:
        plan.mail.parameters["BODY"] = "BINARYMIME"
        plan.needs -= {"BINARYMIME", "8BITMIME"}


class WithoutChunks(BinaryMime):
    def plan(self, plan: Plan) -> None:
        if "BINARYMIME" in plan.needs:
            plan.mail.parameters["BODY"] = "BINARYMIME"
            plan.needs -= {"BINARYMIME", "8BITMIME"}


class HalfDone(BinaryMime):
    def plan(self, plan: Plan) -> None:
        if "BINARYMIME" in plan.needs and plan.client.uses("CHUNKING"):
            plan.mail.parameters["BODY"] = "BINARYMIME"
            plan.needs -= {"BINARYMIME"}


class InLetters(BinaryMime):
    requires = "CHUNKING"  # type: ignore[assignment]


class InAList(BinaryMime):
    requires = ["CHUNKING"]  # type: ignore[assignment]


class AndMore(BinaryMime):
    requires = frozenset({"CHUNKING", "8BITMIME"})


class SaysText(BinaryMime):
    def check(self, session: ExtendedSession, command: Command) -> Any:
        return "503 not by DATA" if super().check(session, command) else None


class Open(BinaryMime):
    requires = ...  # type: ignore[assignment]


@pytest.mark.parametrize("wrong, says", [
    (Extension, "requires nothing"), (Open, "Not yet"), (Alone, "without BDAT"),
    (InLetters, "a set of that one keyword"), (InAList, "requires ['CHUNKING']"), (AndMore, "a set of that one"),
    (SaysText, "'503 not by DATA' from `check`"), (Unknown, "must let BODY=BINARYMIME pass"),
    (Anything, "No other value"), (ByData, "is 503"), (InCapitals, "in capitals or not"),
    (NoData, "every other message"), (Always, "It should be None"), (WithoutChunks, "It should be nothing"),
    (HalfDone, "needs ['8BITMIME', 'BINARYMIME']"),
])
def test_binarymime(wrong: Any, says: str) -> None:
    verdict = lab.check_binarymime(wrong)
    assert says in verdict.text() and not verdict.passed, verdict.text()


class Otherwise(Extension):
    """Right, in another style."""

    keyword = "BINARYMIME"
    requires = frozenset(["CHUNKING"])

    def parameters(self) -> dict[str, dict[str, Parameter]]:
        def known(session: ExtendedSession, value: str | None) -> Reply | None:
            return None if (value or "").lower() in ("7bit", "8bitmime", "binarymime") else Reply(501, "what?")

        return {"MAIL": {"BODY": Parameter(known, 17)}}

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        binary = str(session.envelope.parameters.get("BODY")).casefold() == "binarymime"
        return Reply(503, "BDAT, please") if binary and command.verb == "DATA" else None

    def plan(self, plan: Plan) -> None:
        if plan.client.uses("CHUNKING") and "BINARYMIME" in plan.needs:
            plan.needs.discard("BINARYMIME")
            plan.needs.discard("8BITMIME")
            plan.mail.parameters |= {"BODY": "BINARYMIME"}


@pytest.mark.parametrize("right", [Otherwise, solution("13_chunking", "binarymime-code")["MyBinaryMime"]])
def test_binarymime_in_any_style(right: Any) -> None:
    assert lab.check_binarymime(right).passed, lab.check_binarymime(right).text()


@pytest.mark.parametrize("change, says", [
    ({"A": "BDAT 8"}, "octets, not characters"), ({"A": "BDAT 10 LAST"}, "for A"), ({"B": "BDAT 4 LAST"}, "for B"),
    ({"C": None}, "empty chunk"), ({"E": "BDAT 9 LAST"}, "§2.3.8"), ({"D": ...}, "Not yet"), ({"D": 11}, "11 for D"),
    ({"A": "10"}, "begins with the verb"), ({"D": None}, "so it may be sent"),
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
    (..., "Not yet"), ("BDAT 5", "the type str"), (b"BDAT 6 LAST\r\noops\r\n", "correct server answers"),
    (b"BDAT 4294967302 LAST\r\noops\r\n", "what leaves the other server"),
    (b"BDAT 4294967302 LAST\r\noops\r\n" + FORGED + b"BDAT 4 LAST\r\nhi\r\n", "that reads"),
    (b"BDAT 4294967290 LAST\r\noops\r\n", "what leaves the other server"), (b"NOOP\r\n", "correct server answers"),
    (b"BDAT x LAST\r\noops\r\n", "what leaves the other server"), (FORGED, "have been said already. Begin with BDAT"),
])
def test_flights(flight: Any, says: str) -> None:
    verdict = lab.check_flight(flight)
    assert says in verdict.text() and not verdict.passed


def test_counts_and_mistakes_in_any_style() -> None:
    assert lab.check_counts(COUNTS | {"A": "bdat 10", "D": "BDAT  9  last"}).passed
    assert lab.check_counts(COUNTS | {"A": b"BDAT 10\r\n", "E": "None"}).passed
    assert lab.check_mistakes({name: f" {line}" for name, line in MISTAKES.items()}).passed


def test_the_solution_s_flight_passes() -> None:
    my_flight = solution("13_chunking", "flight-code")["my_flight"]
    assert lab.check_flight(my_flight).passed and lab.check_flight(bytearray(my_flight)).passed


def test_a_forged_letter_by_data_counts_as_well() -> None:
    assert lab.check_flight(b"BDAT 4294967302 LAST\r\noops\r\n" + FORGED + b"DATA\r\n" + BRIDGE + b".\r\n").passed


def sender(last: bool = True, count: int = 0, rset: bool = True, empty: bool = True, waits: bool = False,
                  counts: int = 0, hears: bool = True) -> Any:
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
            if hears:
                yield from read_reply()
        return (refused or replies)[counts] if refused else replies[-1] if replies else None

    return my_sender


@pytest.mark.parametrize("options, says", [
    ({"last": False}, "LAST belongs on the last"), ({"count": 1}, "octets counted"), ({"rset": False}, "RSET after"),
    ({"empty": False}, "one empty chunk"), ({"waits": True}, "listens between chunks"),
    ({"counts": -1}, "first refusal"), ({"hears": False}, "RSET too"),
])
def test_senders(options: dict[str, Any], says: str) -> None:
    assert lab.check_sender(sender()).passed
    assert lab.check_sender(solution("13_chunking", "sender-code")["my_sender"]).passed
    verdict = lab.check_sender(sender(**options))
    assert says in verdict.text() and not verdict.passed


def test_a_sender_that_is_not_written_yet() -> None:
    def stub(pieces: list[bytes]) -> Any:
        yield

    assert "Not yet" in lab.check_sender(stub).text()

    assert "Not yet" in lab.check_sender(lambda pieces: 5).text()
    assert "Not yet" in lab.check_sender(lambda pieces: ...).text()


def test_a_mistake_before_the_first_octet_is_told() -> None:
    def my_sender(pieces: list[bytes]) -> Any:
        yield f"BDAT {len(pieces)}\r\n" + b"".join(pieces)  # type: ignore[operator]

    assert "TypeError in line 2" in lab.check_sender(my_sender).text()


@pytest.mark.parametrize("check", [lab.check_bdat_size, lab.check_bdat, lab.check_whole_lines, lab.check_sender],
                         ids=lambda check: check.name)
def test_what_never_ends_and_what_raises(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses_the_hopeless(check, monkeypatch, talk=check is not lab.check_bdat_size)


@pytest.mark.parametrize("hook", ["parameters", "check", "plan"])
def test_a_class_that_never_ends_or_raises(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.check_binarymime, "seconds", 1.0)
    assert "still running" in lab.check_binarymime(type("MyBinaryMime", (BinaryMime,), {hook: endless})).text()
    monkeypatch.undo()
    assert "LookupError" in lab.check_binarymime(type("MyBinaryMime", (BinaryMime,), {hook: broken})).text()


@pytest.mark.parametrize("check", [lab.check_counts, lab.check_mistakes, lab.check_flight],
                         ids=lambda check: check.name)
def test_answers_in_another_form(check: Any) -> None:
    refuses_other_forms(check)


def test_hints_before_an_attempt() -> None:
    for check in (lab.check_bdat_size, lab.check_bdat, lab.check_whole_lines, lab.check_binarymime, lab.check_counts,
                  lab.check_mistakes, lab.check_flight, lab.check_sender):
        assert all(str(check.hint(number)) for number in (1, 2, 3))


@pytest.mark.parametrize("check", [lab.check_sender, lab.check_bdat_size, lab.check_whole_lines, lab.check_binarymime],
                         ids=lambda check: check.name)
def test_a_hint_that_is_a_line_is_python(check: Any) -> None:
    line = check.hints[1].replace("…", "...")
    compile(f"def my_answer():\n    {line}{' pass' if line.endswith(':') else ''}", "hint", "exec")

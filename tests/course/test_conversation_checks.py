"""The checks of `conversation` find what is wrong, and accept what is right in any style."""
from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.conversation import (
    NOT_YET,
    Actor,
    BothListening,
    Disconnected,
    Line,
    Timeout,
    Want,
    flights,
    interrupt,
    play,
    read_reply,
)
from smtp_from_scratch.wire import REPLY_LIMIT, Inbox, parse_reply


def refused(check: Any, wrong: Any, says: str) -> None:
    verdict = check(wrong)
    assert not verdict.passed and says in str(verdict), str(verdict)


def line_with(take: Callable[[Any, Any], Any]) -> Any:
    @dataclass(frozen=True)
    class MyLine(Want):
        limit: int = 512
        timeout: float = 300.0
        idle: bool = False

    MyLine.take = take  # type: ignore[method-assign]
    return MyLine


def by_or(self: Any, channel: Any) -> Any:
    return channel.inbox.line(self.limit) or NOT_YET


def stub(self: Any, channel: Any) -> Any:
    ...


def early(self: Any, channel: Any) -> Any:
    line = channel.inbox.line(self.limit)
    return b"" if line is None else line


@pytest.mark.parametrize("take, says", [
    (stub, "Not yet"), (by_or, "An empty line is a line"), (early, "no line is there"),
    (lambda self, channel: channel.inbox.line(self.limit), "None when"),
    (lambda self, channel: NOT_YET if (line := channel.inbox.line()) is None else line, "Hand `self.limit`"),
    (lambda self, channel: NOT_YET if (line := channel.inbox.line(self.limit)) is None else line[:3], "in place of"),
    (lambda self, channel: channel.inbox.octets(9) or NOT_YET, "in place of"),
])
def test_line(take: Any, says: str) -> None:
    refused(lab.check_line, line_with(take), says)


def patient_line(self: Any, channel: Any) -> Any:
    found = channel.inbox.line(self.limit)
    if found is not None:
        return found
    return NOT_YET


def test_line_in_two_styles() -> None:
    assert lab.check_line(line_with(patient_line)).passed and lab.check_line(Line).passed


def reply_line_with(deadline: Callable[[Any, float], Any]) -> Any:
    @dataclass
    class MyReplyLine(Want):
        timeout: float = 300.0
        until: float = math.inf

    MyReplyLine.deadline = deadline  # type: ignore[method-assign]
    return MyReplyLine


KEPT: dict[str, float] = {}


def shared(self: Any, now: float) -> float:
    KEPT.setdefault("until", now + self.timeout)
    return KEPT["until"]


def later(self: Any, now: float) -> float:
    self.until = max(self.until if self.until < math.inf else 0.0, now + self.timeout)
    return self.until


def fixed(self: Any, now: float) -> float:
    self.until = min(self.until, now + 300.0)
    return self.until


def untouched(self: Any, now: float) -> Any:
    ...


@pytest.mark.parametrize("deadline, says", [
    (untouched, "Not yet"), (lambda self, now: now + self.timeout, "listening for days"), (later, "listening for days"),
    (shared, "the deadline of the first"), (fixed, "does not ask `self.timeout`"),
    (lambda self, now: self.until, "asked at second 1000"),
])
def test_reply_line(deadline: Any, says: str) -> None:
    KEPT.clear()
    refused(lab.check_reply_line, reply_line_with(deadline), says)


def by_if(self: Any, now: float) -> float:
    if self.until == math.inf:
        self.until = now + self.timeout
    return self.until


def by_min(self: Any, now: float) -> float:
    self.until = min(self.until, now + self.timeout)
    return self.until


def test_reply_line_in_two_styles() -> None:
    assert lab.check_reply_line(reply_line_with(by_if)).passed and lab.check_reply_line(reply_line_with(by_min)).passed


def one_line() -> Any:
    return parse_reply([(yield Line(REPLY_LIMIT))])


def nothing_returned() -> Any:
    yield Line(REPLY_LIMIT)


def any_hyphen() -> Any:
    lines = [(yield Line(REPLY_LIMIT))]
    while b"-" in lines[-1]:
        lines.append((yield Line(REPLY_LIMIT)))
    return parse_reply(lines)


def three_lines() -> Any:
    lines = [(yield Line(REPLY_LIMIT))]
    while lines[-1][3:4] == b"-" and len(lines) < 3:
        lines.append((yield Line(REPLY_LIMIT)))
    return parse_reply(lines)


def gives_up() -> Any:
    line = yield Line(REPLY_LIMIT)
    return parse_reply([line.replace(b"-", b" ", 1)])


def last_only() -> Any:
    line = yield Line(REPLY_LIMIT)
    while line[3:4] == b"-":
        line = yield Line(REPLY_LIMIT)
    return parse_reply([line])


def short_lines() -> Any:
    lines = [(yield Line())]
    while lines[-1][3:4] == b"-":
        lines.append((yield Line()))
    return parse_reply(lines)


def raises_at_a_bare_code() -> Any:
    lines = [(yield Line(REPLY_LIMIT))]
    while chr(lines[-1][3]) == "-":
        lines.append((yield Line(REPLY_LIMIT)))
    return parse_reply(lines)


def yields_its_reply() -> Any:
    yield parse_reply([(yield Line(REPLY_LIMIT))])


@pytest.mark.parametrize("wrong, says", [
    (lambda: 220, "a `yield`"), (yields_its_reply, "is what it returns"), (nothing_returned, "Not yet"),
    (one_line, "BadReply"), (any_hyphen, "Both ends listen"), (three_lines, "BadReply"),
    (gives_up, "The rest is taken"), (last_only, "of all the lines"),
    (short_lines, "REPLY_LIMIT"), (raises_at_a_bare_code, "IndexError for a reply of [b'250']"),
])
def test_read_reply(wrong: Any, says: str) -> None:
    refused(lab.check_read_reply, wrong, says)


def by_break() -> Any:
    lines = []
    while True:
        line = yield Line(REPLY_LIMIT)
        lines.append(line)
        if not line[3:].startswith(b"-"):
            return parse_reply(lines)


def test_read_reply_in_three_styles() -> None:
    assert lab.check_read_reply(by_break).passed and lab.check_read_reply(read_reply).passed


def never_run(actor: Any) -> Any:
    while flight := actor.channel.output():
        yield flight


def run_once(actor: Any) -> Any:
    actor.run()
    while flight := actor.channel.output():
        yield flight


def only_first(actor: Any) -> Any:
    actor.run()
    yield actor.channel.output()


def too_many(actor: Any) -> Any:
    while True:
        actor.run()
        yield actor.channel.output()


@pytest.mark.parametrize("wrong, says", [
    (lambda actor: None, "Not yet"), (never_run, "the flights []"), (run_once, "354 go on"),
    (only_first, "No output, no flight"), (too_many, "No output, no flight"),
    (lambda actor: [b"QUIT\r\n"], "No output, no flight"),
])
def test_flights(wrong: Any, says: str) -> None:
    refused(lab.check_all_flights, wrong, says)


def listed(actor: Any) -> Any:
    said = []
    actor.run()
    while actor.channel.waiting:
        said.append(actor.channel.output())
        actor.run()
    return said


def test_flights_in_two_styles() -> None:
    assert lab.check_all_flights(listed).passed and lab.check_all_flights(flights).passed


def spins(conversation: Any, sock: Any) -> Any:
    actor = Actor(conversation, Channel())
    while True:
        for flight in flights(actor):
            sock.sendall(flight)
        if actor.done:
            return actor.result
        actor.channel.receive(sock.recv(65_536))


def forgets_last_words(conversation: Any, sock: Any) -> Any:
    actor = Actor(conversation, Channel())
    while not actor.done:
        for flight in flights(actor):
            sock.sendall(flight)
            if actor.done:
                break
        if not actor.done:
            if data := sock.recv(65_536):
                actor.channel.receive(data)
                actor.run()
            else:
                actor.resume(error=Disconnected())
    return actor.result


def asks_too_late(conversation: Any, sock: Any) -> Any:
    actor = Actor(conversation, Channel())
    while not actor.done:
        for flight in flights(actor):
            sock.sendall(flight)
        if data := sock.recv(65_536):
            actor.channel.receive(data)
        else:
            actor.resume(error=Disconnected())
    return actor.result


def one_piece_one_line(conversation: Any, sock: Any) -> Any:
    try:
        want = next(conversation)
        while True:
            if isinstance(want, bytes):
                sock.sendall(want)
                want = next(conversation)
            elif isinstance(want, Line):
                want = conversation.send(sock.recv(4096).rstrip(b"\r\n"))
            else:
                want = conversation.send(None)
    except StopIteration as end:
        return end.value


def no_result(conversation: Any, sock: Any) -> Any:
    play(conversation, sock)


def lets_it_out(conversation: Any, sock: Any) -> Any:
    inbox, want = Inbox(), next(conversation)
    while True:
        if isinstance(want, bytes):
            sock.sendall(want)
            want = next(conversation)
        elif not isinstance(want, Line):
            want = conversation.send(None)
        elif (line := inbox.line(want.limit)) is not None:
            want = conversation.send(line)
        else:
            inbox.feed(sock.recv(4096))


def own_limit(limit: int) -> Any:
    """Asks the inbox by itself, and not the want."""
    def my_play(conversation: Any, sock: Any) -> Any:
        inbox = Inbox()
        try:
            want = next(conversation)
            while True:
                if isinstance(want, bytes):
                    sock.sendall(want)
                    want = next(conversation)
                elif not isinstance(want, Line):
                    want = conversation.send(None)
                elif (line := inbox.line(limit)) is not None:
                    want = conversation.send(line)
                else:
                    inbox.feed(sock.recv(4096))
        except StopIteration as end:
            return end.value
    return my_play


@pytest.mark.parametrize("wrong, says", [
    (own_limit(512), "refuses a line of 602 octets"), (own_limit(8192), "hands on a line of 15 octets"),
    (lambda conversation, sock: None, "Not yet"), (spins, "spins forever"), (forgets_last_words, "sends b'EHLO"),
    (asks_too_late, "when the conversation is over"),
    (one_piece_one_line, "recv"), (no_result, "actor.result"), (lets_it_out, "StopIteration"),
])
def test_play(wrong: Any, says: str) -> None:
    refused(lab.check_play, wrong, says)


def by_hand(conversation: Any, sock: Any) -> Any:
    channel = Channel()
    try:
        want = next(conversation)
        while True:
            if isinstance(want, bytes):
                sock.sendall(want)
                want = next(conversation)
            elif (answer := want.take(channel)) is not NOT_YET:
                want = conversation.send(answer)
            elif data := sock.recv(7):
                channel.receive(data)
            else:
                want = conversation.throw(Disconnected())
    except StopIteration as end:
        return end.value


def test_play_in_two_styles() -> None:
    assert lab.check_play(by_hand).passed and lab.check_play(play).passed


def never_complains(ends: Any, clock: Any, patient: bool) -> None:
    listening = [end for end in ends if not end.done]
    if len(listening) == 1:
        return listening[0].resume(error=Disconnected())
    first = min(listening, key=lambda end: end.deadline)
    clock[0] = max(clock[0], first.deadline)
    first.resume(error=Timeout())


def variant(pick: Any = min, both: bool = False, back: bool = False, alone: Any = Disconnected) -> Any:
    def my_interrupt(ends: Any, clock: Any, patient: bool) -> None:
        listening = [end for end in ends if not end.done]
        if len(listening) == 1:
            return listening[0].resume(error=alone())
        if not patient:
            raise BothListening("both")
        first = pick(listening, key=lambda end: end.deadline)
        clock[0] = first.deadline if back else max(clock[0], first.deadline)
        for end in listening if both else [first]:
            end.resume(error=Timeout())
    return my_interrupt


@pytest.mark.parametrize("wrong, says", [
    (lambda ends, clock, patient: clock, "the ends hear [] and []"), (never_complains, "no exception when both listen"),
    (variant(max), "They should hear"), (variant(both=True), "They should hear"), (variant(back=True), "never back"),
    (variant(alone=Timeout), "They should hear"),
    (lambda ends, clock, patient: ends[1].resume(error=Disconnected()), "They should hear"),
])
def test_interrupt(wrong: Any, says: str) -> None:
    refused(lab.check_interrupt, wrong, says)


def test_interrupt_in_two_styles() -> None:
    assert lab.check_interrupt(variant()).passed and lab.check_interrupt(interrupt).passed


RIGHT = {"a": ("C", b"\r\n"), "b": ("S", b"220 hi\r\n"), "c": ("C", b"QUIT\r\n")}


@pytest.mark.parametrize("change, says", [
    ({}, "Not yet"), ({"a": ("S", b"500 what?\r\n")}, "still waits"), ({"a": ("C", b"\n")}, "a"),
    ({"b": ("S", b"220-more\r\n")}, "Another line with a hyphen"),
    ({"b": ("S", b"250 hi\r\n")}, "The client refuses it"),
    ({"c": ("C", b"QUIT")}, "no line yet"), ({"c": ("C", b"250 go on\r\n")}, "answers 500"),
    ({"c": ("S", b"250 go on\r\n")}, "still waits"), ({"c": "QUIT"}, "A pair"), ({"c": []}, "A pair"),
])
def test_words(change: Any, says: str) -> None:
    refused(lab.check_words, RIGHT | change if change else {}, says)


def test_words_in_two_styles() -> None:
    assert lab.check_words(RIGHT).passed
    assert lab.check_words(RIGHT | {"a": ["c", b"\r\n"], "b": ("s ", b"220 hi\r\n")}).passed
    assert lab.check_words(RIGHT | {"b": ("S", b"220-a\r\n220\r\n"), "c": ("C", b"HELP\r\nQUIT\r\n")}).passed


def guesser(ends: bytes = b"\r\n", hear_greeting: bool = True, wrong_result: bool = False, step: bool = False) -> Any:
    def my_guesser() -> Any:
        if hear_greeting:
            yield from read_reply()
        low, high = 1, 100
        for count in itertools.count(1):
            guess = count if step else (low + high) // 2
            yield b"%d" % guess + ends
            reply = yield from read_reply()
            if reply.code == 250:
                return None if wrong_result else guess
            low, high = (guess + 1, high) if reply.text == "higher" else (low, guess - 1)
    return my_guesser


@pytest.mark.parametrize("wrong, says", [
    (lambda: None, "Not yet"), (lambda: 50, "generator"), (guesser(ends=b""), "listens too"),
    (guesser(step=True), "an eighth guess"), (guesser(hear_greeting=False), "You gave"),
    (guesser(wrong_result=True), "None when"),
])
def test_guesser(wrong: Any, says: str) -> None:
    refused(lab.check_guesser, wrong, says)


def by_line() -> Any:
    yield Line()
    numbers = list(range(1, 101))
    while True:
        middle = numbers[len(numbers) // 2]
        yield str(middle).encode()
        yield b"\r\n"
        said = yield Line()
        if said.startswith(b"250"):
            return middle
        numbers = [number for number in numbers if (number > middle) == said.endswith(b"higher") and number != middle]


def test_guesser_in_two_styles() -> None:
    assert lab.check_guesser(guesser()).passed and lab.check_guesser(by_line).passed


# -- whatever a learner hands in --


def raises(*given: Any, **named: Any) -> Any:
    raise ZeroDivisionError("divided by the number of letters")


def endless(*given: Any, **named: Any) -> Any:
    while True:
        pass


def as_asked(name: str, answer: Any) -> Any:
    """The function, or a class with it as its method."""
    method = {"check_line": "take", "check_reply_line": "deadline"}.get(name)
    fields = {"limit": 512, "timeout": 300.0, "until": math.inf, "__init__": lambda self, *given, **named: None}
    return type("MyWant", (Want,), fields | {method: answer}) if method else answer


EVERY = ["check_line", "check_reply_line", "check_read_reply", "check_all_flights", "check_play",
         "check_interrupt", "check_guesser"]


@pytest.mark.parametrize("name", EVERY)
def test_hints_come_before_any_attempt(name: str) -> None:
    hints = [str(getattr(lab, name).hint(number)) for number in (1, 2, 3)]
    assert len(set(hints)) == 3 and "?" in hints[0]


@pytest.mark.parametrize("name", EVERY)
def test_an_answer_that_raises_is_told_where(name: str) -> None:
    refused(getattr(lab, name), as_asked(name, raises), "ZeroDivisionError in line 2 of `raises`")


@pytest.mark.parametrize("name", EVERY)
def test_an_answer_without_end_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getattr(lab, name), "seconds", 0.2)
    refused(getattr(lab, name), as_asked(name, endless), "still running after 0.2 seconds")


@pytest.mark.parametrize("answer", [7, "QUIT", b"QUIT\r\n", [b"QUIT\r\n"], {}, object(), True])
@pytest.mark.parametrize("name", EVERY)
def test_an_answer_of_another_kind_is_no_error_of_the_check(name: str, answer: Any) -> None:
    verdict = getattr(lab, name)(as_asked(name, lambda *given, **named: answer))
    assert not verdict.passed and "something that raises" not in str(verdict), str(verdict)

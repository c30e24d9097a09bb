"""The checks of `loop` find what is wrong, and accept what is right in any style."""
from __future__ import annotations

import math
from dataclasses import dataclass
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.connection import INBOX_LIMIT
from smtp_from_scratch.conversation import NOT_YET, Want
from smtp_from_scratch.loop import FLIGHTS, SWEEP, Job, events_for, overdue, play, send_some


def refused(check: Any, wrong: Any, says: str) -> None:
    verdict = check(wrong)
    assert not verdict.passed and says in str(verdict), str(verdict)


# --- half a send ------------------------------------------------------------------------------------------------------


def nothing(*_: Any) -> Any:
    ...


def number_only(sock: Any, data: bytes) -> Any:
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0


def until_it_blocks(sock: Any, data: bytes) -> bytes:
    try:
        while data:
            data = data[sock.send(data) :]
    except BlockingIOError:
        pass
    return data


def forgets(sock: Any, data: bytes) -> bytes:
    try:
        sock.send(data)
    except BlockingIOError:
        return data
    return b""


def forgives_everything(sock: Any, data: bytes) -> bytes:
    try:
        return data[sock.send(data) :]
    except OSError:
        return data


def full_is_lost(sock: Any, data: bytes) -> bytes:
    try:
        return data[sock.send(data) :]
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("wrong, says", [
    (nothing, "Not yet"), (lambda sock, data: data[sock.send(data) :], "gets out"), (number_only, "not their number"),
    (until_it_blocks, "calls of"), (forgets, "twice, or not at all"), (forgives_everything, "talking to nobody"),
    (full_is_lost, "twice, or not at all"), (lambda sock, data: sock.sendall(data), "gets out"),
])
def test_send_some(wrong: Any, says: str) -> None:
    refused(lab.check_send_some, wrong, says)


def by_view(sock: Any, data: bytes) -> Any:
    sent = 0
    try:
        sent = sock.send(data)
    except BlockingIOError:
        pass
    return memoryview(data)[sent:]


@pytest.mark.parametrize("right", [send_some, by_view])
def test_send_some_in_two_styles(right: Any) -> None:
    assert lab.check_send_some(right).passed


# --- a job ------------------------------------------------------------------------------------------------------------


def job(do: Any, take: Any) -> Any:
    @dataclass(eq=False)
    class MyJob(Want):
        function: Any
        until: float = math.inf
        outcome: Any = NOT_YET
        error: BaseException | None = None

    MyJob.do, MyJob.take = do, take  # type: ignore[attr-defined, method-assign]
    return MyJob


def do(self: Any) -> None:
    try:
        self.outcome = self.function()
    except BaseException as error:
        self.error = error


def do_exceptions(self: Any) -> None:
    try:
        self.outcome = self.function()
    except Exception as error:
        self.error = error


def do_carelessly(self: Any) -> None:
    self.outcome = self.function()


def do_nothing_about_it(self: Any) -> None:
    try:
        self.outcome = self.function()
    except BaseException:
        pass


def take(self: Any, channel: Any) -> Any:
    if self.error:
        raise self.error
    return self.outcome


def take_at_once(self: Any, channel: Any) -> Any:
    do(self)
    return take(self, channel)


def take_truth(self: Any, channel: Any) -> Any:
    if self.error:
        raise self.error
    return self.outcome or NOT_YET


@pytest.mark.parametrize("methods, says", [
    ((nothing, nothing), "Not yet"), ((do, nothing), "Not yet"),
    ((do, lambda self, channel: self.outcome), "look at `error`"), ((do_exceptions, take), "ends the worker"),
    ((do_carelessly, take), "gets out"), ((do_nothing_about_it, take), "look at `error`"),
    ((do, take_at_once), "calls nothing"), ((do, take_truth), "waits for ever"),
    ((lambda self: (do(self), do(self)), take), "2 times"),
])
def test_job(methods: Any, says: str) -> None:
    refused(lab.check_job, job(*methods), says)


def do_by_result(self: Any) -> None:
    result: Any = None
    try:
        result = self.function()
    except BaseException as error:
        self.error = error
    else:
        self.outcome = result


@pytest.mark.parametrize("right", [Job, job(do, take), job(do_by_result, take)])
def test_job_in_three_styles(right: Any) -> None:
    assert lab.check_job(right).passed


# --- a turn -----------------------------------------------------------------------------------------------------------


def once(call: Any) -> bool:
    call.actor.run()
    if flight := call.channel.output():
        call.send(flight)
    return False


def without_end(call: Any) -> bool:
    while True:
        call.actor.run()
        flight = call.channel.output()
        if not flight:
            return False
        call.send(flight)
        if call.unsent:
            return False


def regardless(call: Any) -> bool:
    for _ in range(FLIGHTS):
        call.actor.run()
        flight = call.channel.output()
        if not flight:
            return False
        call.send(flight)
    return True


def never_more(call: Any) -> bool:
    play(call)
    return False


def always_more(call: Any) -> bool:
    play(call)
    return True


@pytest.mark.parametrize("wrong, says", [
    (nothing, "Not yet"), (lambda call: call.actor.run(), "Not yet"), (once, "never answered"),
    (without_end, "no end"), (regardless, "lost, or overtaken"), (never_more, "who waits for us"),
    (always_more, "never sleeps"),
])
def test_turn(wrong: Any, says: str) -> None:
    refused(lab.check_turn, wrong, says)


def counting(call: Any) -> bool:
    left = FLIGHTS
    call.actor.run()
    while flight := call.channel.output():
        call.send(flight)
        left -= 1
        if call.unsent:
            break
        if not left:
            return True
        call.actor.run()
    return False


@pytest.mark.parametrize("right", [play, counting])
def test_turn_in_two_styles(right: Any) -> None:
    verdict = lab.check_turn(right)
    assert verdict.passed, str(verdict)


# --- what to look out for ---------------------------------------------------------------------------------------------


def always_both(call: Any) -> int:
    return EVENT_READ | EVENT_WRITE


def only_write(call: Any) -> int:
    return EVENT_WRITE if call.unsent else 0 if call.busy or call.job else EVENT_READ


def forgets_busy(call: Any) -> int:
    return events_for(call) if call.unsent else 0 if call.job else EVENT_READ


def forgets_job(call: Any) -> int:
    return events_for(call) if call.unsent else 0 if call.busy else EVENT_READ


def unbounded(call: Any) -> int:
    if call.unsent:
        return EVENT_WRITE if call.deaf or call.channel.over else EVENT_READ | EVENT_WRITE
    return events_for(call)


def one_too_many(call: Any) -> int:
    if call.unsent and not (call.deaf or call.channel.over) and len(call.channel.inbox) <= INBOX_LIMIT:
        return EVENT_READ | EVENT_WRITE
    return events_for(call)


def bounded_at_all_times(call: Any) -> int:
    return events_for(call) & ~EVENT_READ if len(call.channel.inbox) >= INBOX_LIMIT else events_for(call)


@pytest.mark.parametrize("wrong, says", [
    (nothing, "Not yet"), (lambda call: None, "Not yet"), (always_both, "EVENT_READ | EVENT_WRITE for a call"),
    (only_write, "both are stuck"), (forgets_busy, "hears the end before"), (forgets_job, "without a bound"),
    (unbounded, "fills up"), (one_too_many, "fills up"), (bounded_at_all_times, "waits for ever"),
])
def test_events_for(wrong: Any, says: str) -> None:
    refused(lab.check_events_for, wrong, says)


def by_adding(call: Any) -> int:
    full = len(call.channel.inbox) >= INBOX_LIMIT
    if not call.unsent:
        return EVENT_READ * (not call.job and not call.busy)
    events = EVENT_WRITE
    if not call.deaf and not call.channel.over and not full:
        events += EVENT_READ
    return events


@pytest.mark.parametrize("right", [events_for, by_adding])
def test_events_for_in_two_styles(right: Any) -> None:
    assert lab.check_events_for(right).passed


# --- who is late ------------------------------------------------------------------------------------------------------


def next_of_all(calls: Any, now: float) -> Any:
    return overdue(calls, now)[0], max(now + SWEEP, min((call.deadline for call in calls), default=math.inf))


def at_once(calls: Any, now: float) -> Any:
    return overdue(calls, now)[0], min((call.deadline for call in calls if call.deadline > now), default=math.inf)


def before_now(calls: Any, now: float) -> Any:
    return [call for call in calls if call.deadline < now], overdue(calls, now)[1]


def every_sweep(calls: Any, now: float) -> Any:
    return overdue(calls, now)[0], now + SWEEP


def their_deadlines(calls: Any, now: float) -> Any:
    late, look = overdue(calls, now)
    return [call.deadline for call in late], look


@pytest.mark.parametrize("wrong, says", [
    (nothing, "Not yet"), (lambda calls, now: overdue(calls, now)[0], "the moment of the next look"),
    (next_of_all, "a next look at"), (at_once, "a thousand looks"), (before_now, "the loop spins"),
    (every_sweep, "wakes up for nobody"), (their_deadlines, "Return the calls themselves"),
])
def test_overdue(wrong: Any, says: str) -> None:
    refused(lab.check_overdue, wrong, says)


def in_one_pass(calls: Any, now: float) -> Any:
    late, ahead = [], math.inf
    for call in calls:
        if call.deadline > now:
            ahead = min(ahead, call.deadline)
        else:
            late.append(call)
    return [late, now + SWEEP if ahead < now + SWEEP else ahead]


@pytest.mark.parametrize("right", [overdue, in_one_pass])
def test_overdue_in_two_styles(right: Any) -> None:
    assert lab.check_overdue(right).passed


# --- who stops the loop -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers, says", [
    (..., "Not yet"), (set(), "Not yet"), ({"B"}, "F does not stop"), ({"F"}, "B does not stop"),
    ({"A", "B", "F"}, "A stops"), ({"B", "E", "F"}, "E stops"), ("ABCDEF", "A stops"), ({"B", "X"}, "letters A to F"),
])
def test_stoppers(answers: Any, says: str) -> None:
    refused(lab.check_stoppers, answers, says)


@pytest.mark.parametrize("answers", [{"B", "F"}, "bf", ["F", "B"]])
def test_stoppers_in_three_styles(answers: Any) -> None:
    assert lab.check_stoppers(answers).passed


# --- what learners gave, and passed with once, or did not understand --------------------------------------------------


def a_hundred_flights(call: Any) -> bool:
    for _ in range(100):
        call.actor.run()
        flight = call.channel.output()
        if not flight:
            return False
        call.send(flight)
        if call.unsent:
            return False
    return True


def sends_nothing_too(call: Any) -> bool:
    for _ in range(FLIGHTS):
        call.actor.run()
        flight = call.channel.output()
        call.send(flight)                      # `send` of nothing is harmless
        if call.unsent or not flight:
            return False
    return True


def forgets_the_late(calls: Any, now: float) -> Any:
    late, moment = overdue(calls, now)
    for call in late:
        del calls[call]
    return late, moment


@pytest.mark.parametrize("check, wrong, says", [
    (lab.check_turn, a_hundred_flights, "100 flights in one turn"),
    (lab.check_events_for, lambda call: (EVENT_READ, EVENT_WRITE), "The selector takes a number"),
    (lab.check_events_for, lambda call: "EVENT_READ", "'EVENT_READ' for a call with nothing to say"),
    (lab.check_overdue, lambda calls, now: (None, None), "an empty one, if nobody is late"),
    (lab.check_overdue, forgets_the_late, "1 fewer in it"),
    (lab.check_job, job(do, lambda self, channel: self.outcome), "`NOT_YET` from `take`"),
])
def test_told_what_is_wrong(check: Any, wrong: Any, says: str) -> None:
    refused(check, wrong, says)


def test_a_flight_of_nothing_is_no_flight() -> None:
    assert lab.check_turn(sends_nothing_too).passed

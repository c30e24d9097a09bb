"""The checks of `server` find what is wrong, and accept what is right in any style."""
from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.server import Places, join_all, shut_down
from smtp_from_scratch.wire import Reply

FULL = Reply(421, "full")


def refused(check: Any, wrong: Any, says: str) -> None:
    verdict = check(wrong)
    assert not verdict.passed and says in str(verdict), str(verdict)


# --- places -----------------------------------------------------------------------------------------------------------


def places(refusal: Any) -> Any:
    @dataclass
    class MyPlaces:
        in_all: int = 1000
        per_address: int = 500

    MyPlaces.refusal = refusal  # type: ignore[attr-defined]
    return MyPlaces


def stub(self: Any, present: Any, place: str) -> Any:
    ...


def near(self: Any, present: Any, place: str) -> int:
    return sum(caller.origin == place for caller in present)


@pytest.mark.parametrize("refusal, says", [
    (stub, "Not yet"),
    (lambda self, present, place: FULL, "the first caller is refused"),
    (lambda self, present, place: FULL if len(present) >= self.in_all else None, "Oslo takes place after place"),
    (lambda self, present, place: FULL if len(present) > self.in_all or near(self, present, place) >= self.per_address
     else None, "eleventh"),
    (lambda self, present, place: FULL if len(present) >= self.in_all or near(self, present, place) > self.per_address
     else None, "Oslo takes"),
    (lambda self, present, place: FULL if len(present) >= min(self.in_all, self.per_address) else None,
     "still allowed"),
    (lambda self, present, place: FULL if len(present) >= self.in_all or near(self, present, place) >= 20 else None,
     "The five hundredth"),
    (lambda self, present, place: Reply(554, "no") if len(present) >= self.in_all
     or near(self, present, place) >= self.per_address else None, "Not a code of a server that is full"),
    (lambda self, present, place: 421 if len(present) >= self.in_all
     or near(self, present, place) >= self.per_address else None, "Not a code of a server that is full"),
])
def test_places(refusal: Any, says: str) -> None:
    refused(lab.check_places, places(refusal), says)


def by_count(self: Any, present: Any, place: str) -> Reply | None:
    everywhere = [caller.origin for caller in present]
    if everywhere.count(place) < self.per_address and len(everywhere) < self.in_all:
        return None
    return Reply(421, "come back later")


def test_places_in_two_styles() -> None:
    assert lab.check_places(places(by_count)).passed and lab.check_places(Places).passed


# --- wait -------------------------------------------------------------------------------------------------------------


def each_in_turn(callers: Any, patience: float) -> Any:
    for caller in callers:
        caller.thread.join(patience)
    return [caller for caller in callers if caller.thread.is_alive()]


def nobody_waits(callers: Any, patience: float) -> Any:
    return [caller for caller in callers if caller.thread.is_alive()]


def all_of_them(callers: Any, patience: float) -> Any:
    join_all(callers, patience)
    return callers


def threads_only(callers: Any, patience: float) -> Any:
    return [caller.thread for caller in join_all(callers, patience)]


def in_shares(callers: Any, patience: float) -> Any:
    for caller in callers:
        caller.thread.join(patience / len(callers))
    return nobody_waits(callers, patience)


@pytest.mark.parametrize("wrong, says", [
    (lambda callers, patience: None, "Not yet"), (each_in_turn, "half an hour"),
    (in_shares, "all the time that is left"), (nobody_waits, "within your patience"),
    (all_of_them, "which had ended"), (threads_only, "which connections to cut"),
    (lambda callers, patience: join_all(callers, patience)[:3], "still alive"),
    (lambda callers, patience: len(join_all(callers, patience)), "Return those callers"),
    (lambda callers, patience: time.sleep(patience) or nobody_waits(callers, patience), "all threads had ended"),
    (lambda callers, patience: join_all(callers, patience) or callers, "Nobody is left"),
    (lambda callers, patience: [*join_all(callers, patience), None], "None"),
])
def test_join_all(wrong: Any, says: str) -> None:
    refused(lab.check_join_all, wrong, says)


def by_sleeping(callers: Any, patience: float) -> Any:
    end = time.monotonic() + patience
    while any(caller.thread.is_alive() for caller in callers) and time.monotonic() < end:
        time.sleep(0.01)
    return [caller for caller in callers if caller.thread.is_alive()]


def test_join_all_in_two_styles() -> None:
    assert lab.check_join_all(by_sleeping).passed and lab.check_join_all(join_all).passed


# --- closing time -----------------------------------------------------------------------------------------------------


def steps(callers: Any, grace: float, *, waits: bool = True, halves: bool = True, everybody: bool = False,
          suppresses: bool = True, tells: bool = True) -> None:
    """Right but for one thing."""
    for caller in callers:
        if tells:
            caller.connection.hang_up()
    for how, patience in ((socket.SHUT_RD, grace if waits else 0.0), (socket.SHUT_RDWR, 1.0))[0 if halves else 1:]:
        left = join_all(callers, patience)
        callers = callers if everybody else left
        for caller in callers:
            with contextlib.suppress(OSError) if suppresses else contextlib.nullcontext():
                caller.connection.socket.shutdown(how)


def only_tells(callers: Any, grace: float) -> None:
    for caller in callers:
        caller.connection.hang_up()
    join_all(callers, grace)


def one_by_one(callers: Any, grace: float) -> None:
    for caller in callers:
        caller.connection.hang_up()
        for how, patience in ((socket.SHUT_RD, grace), (socket.SHUT_RDWR, 1.0)):
            if join_all([caller], patience):
                with contextlib.suppress(OSError):
                    caller.connection.socket.shutdown(how)


@pytest.mark.parametrize("wrong, says", [
    (lambda callers, grace: None, "Not yet"), (lambda callers, grace: callers, "Not yet"), (only_tells, "who is stuck"),
    (lambda *things: steps(*things, halves=False), "a caller who is"),
    (lambda *things: steps(*things, waits=False), "with a grace of"),
    (lambda *things: steps(*things, everybody=True), "who is busy"),
    (lambda *things: steps(*things, suppresses=False), "an OSError"),
    (lambda *things: steps(*things, tells=False), "who is stuck"), (one_by_one, "told one after another"),
], ids=range(9))
def test_shut_down(wrong: Any, says: str) -> None:
    refused(lab.check_shut_down, wrong, says)


def unrolled(callers: Any, grace: float) -> None:
    [caller.connection.hang_up() for caller in callers]
    busy = join_all(callers, grace)
    for caller in busy:
        try:
            caller.connection.socket.shutdown(socket.SHUT_RD)
        except OSError:
            continue
    stuck = join_all(busy, 1.0)
    for caller in stuck:
        try:
            caller.connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
    join_all(stuck, 1.0)


@pytest.mark.parametrize("right", [steps, unrolled, shut_down])
def test_shut_down_in_three_styles(right: Any) -> None:
    verdict = lab.check_shut_down(right)
    assert verdict.passed, str(verdict)


# --- what is known ----------------------------------------------------------------------------------------------------

LINES = {"A": 4, "B": 5, "C": 4, "D": 3}


@pytest.mark.parametrize("answers, says", [
    ({}, "Not yet"), ({"A": 4}, "a line number for B"), (LINES | {"A": 2}, "line 2 for A"),
    (LINES | {"B": 1}, "line 1 for B"),
    (LINES | {"C": 2}, "line 2 for C"), (LINES | {"D": 1}, "line 1 for D"),
])
def test_server_bugs(answers: Any, says: str) -> None:
    refused(lab.check_server_bugs, answers, says)


@pytest.mark.parametrize("answers", [LINES, {"A": "3", "B": "4", "C": "4", "D": "2"}])
def test_server_bugs_in_two_styles(answers: Any) -> None:
    assert lab.check_server_bugs(answers).passed


@pytest.mark.parametrize("answers, says", [
    (set(), "Not yet"), ({"A"}, "C does not stop"), ({"A", "C"}, "B does not stop"), ({"A", "B", "C", "D"}, "D stops"),
    ({"D"}, "A does not stop"), ({"A", "B", "X"}, "letters A to D"),
])
def test_blockers(answers: Any, says: str) -> None:
    refused(lab.check_blockers, answers, says)


@pytest.mark.parametrize("answers", [{"A", "B", "C"}, "ABC", ["c", "b", "a"]])
def test_blockers_in_three_styles(answers: Any) -> None:
    assert lab.check_blockers(answers).passed

"""The checks of `server`: places on the line, waiting for many, closing time, and what one caller never shows."""
from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check, is_unsolved
from smtp_from_scratch.throttle import origin

# --- places --------------------------------------------------------------------------------------------------------

OSLO = [f"2001:db8:0:5::{number:x}" for number in range(1, 21)]
OTHERS = [f"198.51.100.{number}" for number in range(10)]
CASES: list[tuple[list[str], str, dict[str, int], bool, str]] = [
    ([], "192.0.2.7", {}, False, "Nobody is on the line, and the first caller is refused."),
    (OTHERS, "192.0.2.7", {"in_all": 10}, True, "The eleventh caller gets one of ten places."),
    (OTHERS[:9], "192.0.2.7", {"in_all": 10}, False, "The tenth place stays empty for good."),
    (20 * ["192.0.2.7"], "192.0.2.7", {"per_address": 20}, True, "Oslo takes place after place; nobody else gets in."),
    (19 * ["192.0.2.7"] + OTHERS, "192.0.2.7", {"per_address": 20}, False,
     "The twentieth from one address is still allowed."),
    (20 * ["192.0.2.7"], "192.0.2.8", {"per_address": 20}, False, "Bergen, next door, is refused for what Oslo does."),
    (OSLO, "2001:db8:0:5:ffff::9", {"per_address": 20}, True, "Oslo has 2⁶⁴ addresses, and a new one for each call."),
    (OSLO, "192.0.2.7", {"per_address": 20}, False, "A caller with IPv4 is refused for what others do with IPv6."),
    (499 * ["192.0.2.7"], "192.0.2.7", {}, False, "The five hundredth is refused."),
    (500 * ["192.0.2.7"], "192.0.2.7", {}, True, "Half of a thousand places are taken by one address, and more."),
]


@check(
    hints=(
        "Which two numbers do you compare with the two limits?",
        "sum(caller.origin == place for caller in present)",
        "There are two limits: one for all callers, and one for those from the same place. The first is compared with "
        "how many are present, the second with how many of these have the new caller's origin. A limit that is "
        "reached leaves no place: 421. Otherwise None.",
    ),
    passed="a thousand places, and no laptop gets them all.",
)
def check_places(MyPlaces: Any) -> Iterator[Problem]:
    """421 for too many, and for too many from one place."""
    if is_unsolved(MyPlaces.refusal):
        raise NotYet
    for addresses, peer, limits, refused, wire in CASES:
        present = [SimpleNamespace(origin=origin(address), connection=None, thread=None) for address in addresses]
        reply = MyPlaces(**limits).refusal(present, origin(peer))
        if refused and reply is not None and getattr(reply, "code", None) != 421:
            yield Problem(gave=f"{reply!r}", wire="Not a code of a server that is full.",
                          look="Which code says that we leave, and that it is not about you? Return a `Reply`.")
        if (reply is not None) != refused:
            given = ", ".join(f"{name}={value}" for name, value in limits.items()) or "the usual limits"
            yield Problem(gave=f"{reply!r} for {peer}, with {given} and {len(present)} on the line"
                               + (f", {addresses[-1]} among them" if present else ""),
                          wire=wire, look="How many are present, and how many of them have the same origin?")


# --- wait ------------------------------------------------------------------------------------------------------------


def caller_of(thread: threading.Thread) -> Any:
    return SimpleNamespace(thread=thread, connection=None, origin="")


@check(
    hints=(
        "When must all of them be done? You know that moment before the loop begins.",
        "caller.thread.join(max(0.0, deadline - time.monotonic()))",
        "One deadline holds for all threads together, so compute it once, before the loop. Give each `join` only "
        "the seconds which are left until then, and never less than zero. Afterward ask each thread whether it is "
        "still alive.",
    ),
    passed="one deadline for all of them, and the list of those who are still there.",
)
def check_join_all(my_join_all: Callable[[list[Any], float], Any]) -> Problem | None:
    """Threads are waited for together."""
    go = threading.Event()
    stuck = [threading.Thread(target=go.wait, args=(30,), daemon=True) for _ in range(8)]
    done = [threading.Thread(target=lambda: None, daemon=True) for _ in range(3)]
    quick = [threading.Thread(target=time.sleep, args=(0.05,), daemon=True) for _ in range(2)]
    callers = [caller_of(thread) for thread in (*done, *stuck[:4], *quick, *stuck[4:])]
    for caller in callers:
        caller.thread.start()
    start = time.monotonic()
    try:
        left = my_join_all(callers, 0.3)
    finally:
        seconds = time.monotonic() - start
        go.set()
    if left is None or left is ...:
        raise NotYet("it returns nothing yet.")
    if seconds > 1.5:
        return Problem(gave=f"eight stuck threads and a patience of 0.3 seconds took you {seconds:.1f} seconds",
                       wire="Two hundred silent callers and ten seconds would be half an hour of closing time.",
                       look="The deadline is one for all: compute it once, before the loop.")
    return (problem_of_list(left) or problem_of_those_left([caller.thread for caller in left], stuck, quick, seconds)
            or problem_of_patience(my_join_all, [caller_of(thread) for thread in done])
            or problem_of_shares(my_join_all))


class Endless:
    """Looks like a thread that never ends, and notes how long it was waited for."""

    given: float | None = None

    def join(self, timeout: float | None = None) -> None:
        self.given = timeout

    def is_alive(self) -> bool:
        return True


def problem_of_shares(my_join_all: Callable[[list[Any], float], Any]) -> Problem | None:
    """Whether the first has all the patience, and not a share of it."""
    callers = [SimpleNamespace(thread=Endless(), connection=None, origin="") for _ in range(4)]
    my_join_all(callers, 0.4)
    if (given := callers[0].thread.given) is None or given > 0.2:
        return None
    return Problem(gave=f"a first caller who is given {given:.1f} of 0.4 seconds, since three others are there",
                   wire="The others may have left already, and this one is cut off in the middle.",
                   look="Whoever is waited for has all the time that is left.")


def problem_of_list(left: Any) -> Problem | None:
    """Whether it is a list of callers at all."""
    if not isinstance(left, list | tuple):
        return Problem(gave=f"{left!r}", look="Return those callers whose threads are still alive: a list.")
    if any(isinstance(item, threading.Thread) for item in left):
        return Problem(gave="a list of threads", wire="Nobody knows which connections to cut.",
                       look="A caller has a thread, and a connection. Return callers.")
    if strange := [item for item in left if not hasattr(item, "thread")]:
        return Problem(gave=f"a list with {strange[0]!r} in it", wire="Nobody knows which connections to cut.",
                       look="Return those of `callers` whose threads are still alive.")
    return None


def problem_of_those_left(threads: list[Any], stuck: list[Any], quick: list[Any], seconds: float) -> Problem | None:
    """Whether it lists the stuck threads, and no others."""
    if any(thread not in threads for thread in stuck):
        return Problem(gave=f"a list of {len(threads)}, though 8 threads are still alive",
                       wire="Whoever is not on the list is never cut off.", look="`caller.thread.is_alive()` tells.")
    if any(thread in threads for thread in quick) and seconds < 0.25:
        return Problem(gave="a list with threads that would have ended within your patience",
                       wire="Their last reply would be cut off in the middle.",
                       look="Does `join` get the seconds that are left, or nothing at all?")
    if len(threads) > 8:
        return Problem(gave="a list that also has threads which had ended",
                       wire="A line that is gone already is cut, and the log says so.",
                       look="`caller.thread.is_alive()` tells, after the last `join`.")
    return None


def problem_of_patience(my_join_all: Callable[[list[Any], float], Any], gone: list[Any]) -> Problem | None:
    """Whether it waits for nobody."""
    start = time.monotonic()
    left = my_join_all(gone, 4.0)
    if time.monotonic() - start > 2.0:
        return Problem(gave="four seconds of patience used up, though all threads had ended",
                       wire="Every restart takes as long as your patience.",
                       look="`join` returns as soon as its thread has ended.")
    return Problem(gave=f"{left!r} when all threads had ended", wire="Nobody is left to be cut off.",
                   look="Return a list that is empty then.") if left else None


# --- closing time ----------------------------------------------------------------------------------------------------


class Line:
    """A caller on the line: what was done to it, and when its thread ends."""

    def __init__(self, name: str, ends_at: str, gone: bool = False) -> None:
        self.name, self.ends_at, self.gone, self.done_to = name, ends_at, gone, list[tuple[float, str]]()
        self.start, self.over = time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self.over.wait, args=(30,), daemon=True)
        self.connection = SimpleNamespace(hang_up=lambda: self.note("hang_up"), socket=self)
        self.origin = ""
        self.thread.start()

    def note(self, what: str) -> None:
        self.done_to.append((time.monotonic() - self.start, what))
        if what == self.ends_at:
            self.over.set()

    def shutdown(self, how: int) -> None:
        self.note({socket.SHUT_RD: "half a cut", socket.SHUT_RDWR: "a cut"}.get(how, f"shutdown({how})"))
        if self.gone:
            raise OSError(107, "Transport endpoint is not connected")

    @property
    def what(self) -> list[str]:
        return [what for _, what in self.done_to]


IDLE, BUSY, STUCK = ["hang_up"], ["hang_up", "half a cut"], ["hang_up", "half a cut", "a cut"]
GRACE = 0.4


@check(
    hints=(
        "Who is still there after each step? Which function of this chapter tells?",
        "callers = join_all(callers, grace)",
        "First hang up on all of them, then wait `grace` seconds for all together. For those who are left, close "
        "the reading half and wait another second. Then close both halves of the rest, and wait one last second. Let "
        "no OSError out: a line may be gone already.",
    ),
    seconds=40.0,
    passed="a word to everybody, patience, then one half of the line, then both.",
)
def check_shut_down(my_shut_down: Callable[[list[Any], float], Any]) -> Iterator[Problem]:
    """Three steps of closing."""
    lines = [Line("stuck", ""), Line("busy", "half a cut"), Line("idle", "hang_up"), Line("gone", "a cut", gone=True),
             Line("stuck", "")]
    start = time.monotonic()
    try:
        my_shut_down(list(lines), GRACE)
    except OSError:
        yield Problem("an OSError", "One caller's line is gone already, and all after it are never cut.",
                      "`with contextlib.suppress(OSError):` around one shutdown.")
        return
    finally:
        seconds = time.monotonic() - start
        for line in lines:
            line.over.set()
    if not any(line.what for line in lines):
        raise NotYet("nothing is done to any caller yet.")
    yield from problems_of_steps(lines)
    if seconds > 6.0:
        yield Problem(f"{seconds:.1f} s, with a grace of {GRACE} s", "Closing time has no end.",
                      "Grace, a second, and another one: for all callers together.")


def problems_of_steps(lines: list[Line]) -> Iterator[Problem]:
    """What was done to each, and when: grace before the first cut, a word to all before the grace."""
    first_cut = min((when for line in lines for when, what in line.done_to if what != "hang_up"), default=GRACE)
    if first_cut < GRACE * 0.9:
        yield Problem(f"a cut after {first_cut:.2f} s, with a grace of {GRACE} s",
                      "A transaction that would have ended in time is cut in the middle.", "Wait before you cut.")
    for line, wanted in zip(lines, (STUCK, BUSY, IDLE, STUCK, STUCK), strict=True):
        if line.what != wanted:
            yield Problem(f"a caller who is {line.name} gets {' and '.join(line.what) or 'nothing'}",
                          f"It should be {' and '.join(wanted)}.",
                          "After each step, wait, and go on with those who are still there.")
    told = max(when for line in lines for when, what in line.done_to if what == "hang_up")
    if told > GRACE * 0.9:
        yield Problem("callers who are told one after another", "The last of two hundred hears it half an hour later.",
                      "First a word to all, and then wait for all.")


# --- bugs ------------------------------------------------------------------------------------------------------------

BUGS = {
    "A": ((3, 4), "A handler raises in line 2. Which lines are skipped, and who stays on the table?"),
    "B": ((4, 5), "The caller hangs up at once. Can the thread be done before line 5? What is on the table then?"),
    "C": ((4,), "Between which two lines can another thread run, and write what it has read?"),
    "D": ((2, 3), "Somebody dials while line 2 waits ten seconds. Who sends them away?"),
}


@check(
    hints=(
        "What if a second caller came, or an exception, between any two lines?",
        "In B, read lines 4 and 5 in the other order. In D, lines 2 and 3.",
        "A server with threads must be right between any two lines. For each snippet imagine that an exception is "
        "raised there, or that another thread runs there, or that the caller hangs up there. The wrong line is the "
        "one after which something is left behind, or comes too late.",
    ),
    passed="four bugs that one caller would never have shown.",
)
def check_server_bugs(my_bugs: dict[str, Any]) -> Problem | None:
    """The numbers of the lines that are wrong."""
    for name, (lines, look) in BUGS.items():
        if name not in my_bugs:
            raise NotYet(f"a line number for {name} is missing.")
        if as_number(my_bugs[name]) not in lines:
            return Problem(gave=f"line {my_bugs[name]} for {name}", wire="That line does what it should.", look=look)
    return None


# --- who stops the doorman ---------------------------------------------------------------------------------------

WHY = {
    "A": "The line holds some hundred thousand octets. Where is the doorman while nobody reads the rest?",
    "B": "`sendall` raises, in the thread of the doorman. What becomes of his loop?",
    "C": "Twenty million octets, a thousand a second: when is the doorman back at the door?",
    "D": "The greeting has left, and the doorman is back at the door. Whose thread waits for the next line?",
}


@check(
    hints=(
        "In which thread does `sendall` wait, and what does it wait for?",
        "D is harmless: its hour is spent in a thread of its own.",
        "The doorman is stopped by whatever he has to wait for, and by whatever ends his loop. A caller who does not "
        "read, or reads slowly, makes `sendall` wait. A caller who hangs up makes it raise.",
    ),
    passed="three kinds of callers can stop a doorman who talks.",
)
def check_blockers(my_blockers: Any) -> Problem | None:
    """Those who stop a doorman."""
    given = {str(letter).upper() for letter in my_blockers if str(letter).strip(" ,")}
    if strange := given - set(WHY):
        return Problem(f"{sorted(strange)!r}", wire="None of the four callers has that name.",
                       look="A set of the letters A to D.")
    for letter in ("A", "C", "B"):
        if letter not in given:
            return Problem(f"a server that {letter} does not stop", look=WHY[letter])
    if "D" in given:
        return Problem("a server that D stops", look=WHY["D"])
    return None

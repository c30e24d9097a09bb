"""The checks of `server`: waiting for many, the limits of patience, and places on the line."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from types import EllipsisType
from typing import Any

from smtp_from_scratch.conversation import Disconnected, Line, Timeout, read_reply, rehearse
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.wire import CRLF, parse_reply

Talk = Generator[Any, Any, Any]

# --- your turn: wait ------------------------------------------------------------------------------------------------


@check(
    hints=(
        "When must all of them be done? You know that moment before the loop begins.",
        "thread.join(max(0.0, deadline - time.monotonic()))",
        "One deadline holds for all threads together, so compute it once, before the loop. Give each `join` only "
        "the seconds which are left until then, and never less than zero. Afterwards ask each thread whether it is "
        "still alive.",
    ),
    passed="One deadline for all of them, and the list of those who are still there.",
)
def check_wait(my_wait: Callable[[list[Any], float], Any]) -> Problem | None:
    """Threads are waited for together."""
    go = threading.Event()
    stuck = [threading.Thread(target=go.wait, args=(30,), daemon=True) for _ in range(8)]
    done = [threading.Thread(target=lambda: None, daemon=True) for _ in range(3)]
    quick = [threading.Thread(target=time.sleep, args=(0.05,), daemon=True) for _ in range(2)]
    threads = [*done, *stuck[:4], *quick, *stuck[4:]]
    for thread in threads:
        thread.start()
    start = time.monotonic()
    try:
        left = my_wait(threads, 0.2)
    except TypeError:
        raise NotYet("fill in the three blanks: the deadline, what is left of it, and who is still alive.") from None
    finally:
        seconds = time.monotonic() - start
        go.set()
    if left is None or isinstance(left, EllipsisType):
        raise NotYet("fill in the three blanks: the deadline, what is left of it, and who is still alive.")
    if seconds > 0.9:
        return Problem(gave=f"eight stuck threads and a patience of 0.2 seconds took you {seconds:.1f} seconds",
                       wire="Two hundred silent callers and ten seconds would be half an hour of closing time.",
                       look="The deadline is one for all: compute it once, before the loop.")
    if not isinstance(left, list | tuple | set):
        return Problem(gave=f"{left!r}", look="Return those threads that are still alive: a list.")
    if any(thread not in left for thread in stuck):
        return Problem(gave=f"a list of {len(left)}, though 8 threads are still alive",
                       wire="Who is not on the list is never cut off.", look="`thread.is_alive()` tells.")
    if any(thread in left for thread in quick) and seconds < 0.15:
        return Problem(gave="a list with threads that would have ended within your patience",
                       wire="Their last reply would be cut off in the middle.",
                       look="Does `join` get the seconds that are left, or nothing at all?")
    if len(left) > 8:
        return Problem(gave="a list that also has threads which had ended",
                       look="`thread.is_alive()` tells, after the last `join`.")
    return None


# --- exercise 1: seconds ----------------------------------------------------------------------------------------


def drip(octets: bytes, pause: float, size: int = 1) -> Talk:
    """Say octets in pieces, with a pause after each, until the server answers."""
    for start in range(0, len(octets), size):
        yield octets[start : start + size]
        with suppress(Timeout, Disconnected):
            return parse_reply([(yield Line(timeout=pause))])
    return None


def silent() -> Talk:
    """Hear the greeting and say nothing."""
    yield from read_reply()
    return parse_reply([(yield Line(timeout=1e9))])


def dripping() -> Talk:
    """HELO, an octet every 100 seconds."""
    yield from read_reply()
    return (yield from drip(b"HELO oslo.example\r\n", 100))


def polite() -> Talk:
    """A whole NOOP every 299 seconds."""
    reply = yield from read_reply()
    while reply.code != 421:
        yield b"NOOP\r\n"
        reply = yield from read_reply()
        with suppress(Timeout, Disconnected):
            yield Line(timeout=299)
    return reply


def trickle() -> Talk:
    """250 octets of a letter each second."""
    yield from read_reply()
    for command in ("HELO oslo.example", "MAIL FROM:<o@oslo.example>", "RCPT TO:<kenji@tokyo.example>", "DATA"):
        yield command.encode() + CRLF
        yield from read_reply()
    return (yield from drip(1_000_000 * b"x", 1, 250))


def flood() -> Talk:
    """25 MB without a line end."""
    yield from read_reply()
    yield 25_000_000 * b"x"
    return (yield from read_reply())


CALLERS = {"silent": silent, "dripping": dripping, "polite": polite, "trickle": trickle, "flood": flood}
WHERE = {
    "silent": "Loop 2: how long may the next command take?",
    "dripping": "Loop 2: what does an octet prove, and does it move the deadline?",
    "polite": "Each NOOP is complete, so no timeout strikes. Which limit of `session` does? When was the first?",
    "trickle": "Loop 2: a balance of 180 seconds, one is spent each second. How many are earned?",
    "flood": "It is not about time. What does `LineTooLong` do in chapter `wire` when no end is in sight?",
}


@check(
    hints=(
        "For each caller: which want does the server have, and what would end it?",
        "The polite one: 100 * 299. The trickle: 180 / (1 - 250 / 500).",
        "A deadline for a line begins when the server starts to want it, and an octet does not move it. During a "
        "letter seconds are earned by octets: the balance falls by one each second and rises by what arrives, "
        "divided by the required rate. The polite caller breaks no deadline, so count its commands instead.",
    ),
    passed="You know by which limit each of the five is ended.",
)
def check_seconds(my_seconds: dict[str, float]) -> Problem | None:
    """The seconds until each caller is sent away."""
    for name, talk in CALLERS.items():
        if name not in my_seconds:
            raise NotYet(f"a number of seconds for `{name}` is missing.")
        show = rehearse(talk(), serve(Session("mail.tokyo.example")), patient=True)
        truth = min(said.when for said in show.said if said.who == "S" and said.data[:3] in (b"421", b"500"))
        if not abs(float(my_seconds[name]) - truth) <= 0.02 * truth + 1:
            earlier = "earlier" if truth < float(my_seconds[name]) else "later"
            return Problem(gave=f"{float(my_seconds[name]):,.0f} seconds for `{name}`",
                           wire=f"In the rehearsal the server ends it {earlier} than that.", look=WHERE[name])
    return None


# --- exercise 2: bugs -------------------------------------------------------------------------------------------

BUGS = {
    "A": ((3, 4), "A handler raises in line 2. Which lines are skipped, and who stays on the table?"),
    "B": ((4, 5), "The caller hangs up at once. Can the thread be done before line 5? What is on the table then?"),
    "C": ((4,), "A byte every 299 seconds: which line gives it another 300?"),
    "D": ((2, 3), "Somebody dials while line 2 waits ten seconds. Who dismisses them?"),
}


@check(
    hints=(
        "For each: imagine a second caller, or an exception, between any two lines.",
        "In B, read lines 4 and 5 in the other order. In D, lines 2 and 3.",
        "A server with threads must be right between any two lines. For each snippet imagine that an exception is "
        "raised there, or that another thread runs there, or that the caller hangs up there. The wrong line is the "
        "one after which something is left behind, or comes too late.",
    ),
    passed="Four lines that one caller alone would never have shown.",
)
def check_server_bugs(my_bugs: dict[str, int]) -> Problem | None:
    """The numbers of the lines that are wrong."""
    for name, (lines, look) in BUGS.items():
        if name not in my_bugs:
            raise NotYet(f"a line number for {name} is missing.")
        if as_number(my_bugs[name]) not in lines:
            return Problem(gave=f"line {my_bugs[name]} for {name}", wire="That line does what it should.", look=look)
    return None


# --- exercise 3: refusal ----------------------------------------------------------------------------------------

OSLO = [f"2001:db8:0:5::{number:x}" for number in range(1, 21)]


@check(
    hints=(
        "What is a place: for IPv4, for IPv6? When are two addresses in the same one?",
        "ipaddress.ip_network((address, 64 if ':' in address else 32), strict=False)",
        "There are two limits: one for all callers, and one for those from the same place. For IPv4 a place is one "
        "address; for IPv6 it is a /64, since a customer has a whole /64 of addresses. Count how many of those "
        "present are in the caller's place, and compare that and the total with their limits.",
    ),
    passed="A thousand places, and no laptop gets them all.",
)
def check_refusal(my_refusal: Callable[..., Any]) -> Problem | None:
    """421 for too many, and for too many from one place."""
    others = [f"198.51.100.{number}" for number in range(10)]
    cases: list[tuple[list[str], str, dict[str, int], bool, str]] = [
        ([], "192.0.2.7", {}, False, "Nobody is on the line, and the first caller is refused."),
        (others, "192.0.2.7", {"most": 10}, True, "The eleventh caller gets one of ten places."),
        (others[:9], "192.0.2.7", {"most": 10}, False, "The tenth place stays empty for good."),
        (20 * ["192.0.2.7"], "192.0.2.7", {}, True, "Oslo takes place after place; nobody else gets in."),
        (19 * ["192.0.2.7"] + others, "192.0.2.7", {}, False, "The twentieth from one place is still allowed."),
        (20 * ["192.0.2.7"], "192.0.2.8", {}, False, "Bergen, next door, is refused for what Oslo does."),
        (OSLO, "2001:db8:0:5:ffff::9", {}, True, "Oslo has 2⁶⁴ addresses and takes a new one for each call."),
        (OSLO, "2001:db8:0:6::1", {}, False, "Another customer of Oslo's provider is refused."),
        (OSLO, "192.0.2.7", {}, False, "A caller with IPv4 is refused for what others do with IPv6."),
        (20 * ["192.0.2.7"], "2001:db8::1", {}, False, "A caller with IPv6 is refused for what others do with IPv4."),
    ]
    for present, peer, limits, refused, wire in cases:
        reply = my_refusal(present, peer, **limits)
        if refused and reply is not None and getattr(reply, "code", None) != 421:
            return Problem(gave=f"{reply!r}", wire="Not a code of a server that is full.",
                           look="Loop 3: which code says come back later, and that we leave? Return a `Reply`.")
        if (reply is not None) != refused:
            return Problem(gave=f"{reply!r} for {peer}, with {len(present)} on the line"
                                + (f", {present[-1]} among them" if present else ""),
                           wire=wire, look="How many of `present` are in the same place as `peer`?")
    return None

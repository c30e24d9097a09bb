"""The checks of `loop`: half a send, work done elsewhere, a turn that ends, what to look out for, who is late."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from smtp_from_scratch.channel import Channel
from smtp_from_scratch.connection import INBOX_LIMIT
from smtp_from_scratch.conversation import FLUSH, NOT_YET, Actor, Conversation, Line
from smtp_from_scratch.lab.check import NotYet, Problem, check, is_unsolved
from smtp_from_scratch.loop import FLIGHTS

# --- your turn: half a send ------------------------------------------------------------------------------------------


class Wire:
    """A socket that never waits: it takes so many octets of each `send`, and none when it is told to take none."""

    def __init__(self, *takes: int) -> None:
        self.takes, self.taken, self.calls = list(takes), b"", 0

    def send(self, data: Any) -> int:
        self.calls += 1
        room = self.takes.pop(0) if self.takes else 0
        if room < 0:
            raise BrokenPipeError(32, "Broken pipe")
        if not room:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.taken += bytes(data)[:room]
        return min(room, len(data))

    def sendall(self, data: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")


@check(
    hints=(
        "What does `send` return, and what of `data` was not sent then?",
        "return data[sock.send(data) :]",
        "`send` returns how many octets the line has taken. The octets after these are the rest. When the line takes "
        "nothing at all, `send` raises `BlockingIOError`, and the rest is everything.",
    ),
    passed="the line takes what it takes, and nothing is lost or said twice.",
)
def check_send_some(my_send_some: Callable[[Any, bytes], Any]) -> Iterator[Problem]:
    """Send once, return the rest."""
    data = b"250-one\r\n250 two\r\n"
    for takes, wire in (((9,), "The line took nine octets."), ((18,), "The line took everything."),
                        ((0,), "The line is full, and takes nothing."), ((100,), "The line had room for more.")):
        line = Wire(*takes)
        try:
            rest = my_send_some(line, data)
        except BlockingIOError:
            yield Problem("a `BlockingIOError` that gets out", wire, "It says *nothing now*. What is the rest then?")
            return
        if rest is None:
            raise NotYet("return what was not sent.")
        if line.calls > 1:
            yield Problem(f"{line.calls} calls of `send`", wire,
                          "One is enough: the selector says when the line has room again.")
        if not isinstance(rest, bytes | bytearray | memoryview):
            yield Problem(repr(rest), wire, "Return the octets that are left, not their number.")
            return
        if line.taken + bytes(rest) != data:
            yield Problem(f"{bytes(rest)!r} as the rest, after the line took {line.taken!r}",
                          "The other end hears some octets twice, or not at all.",
                          "What follows those that were taken?")
    try:
        my_send_some(Wire(-1), data)
    except OSError:
        return
    yield Problem("nothing, though the line is broken", "We go on talking to nobody, for three minutes.",
                  "Catch `BlockingIOError` alone.")


# --- your turn: a job ------------------------------------------------------------------------------------------------


def named(answer: Any) -> str:
    """An answer in a sentence: `NOT_YET` by its name."""
    return "`NOT_YET`" if answer is NOT_YET else repr(answer)


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


@check(
    hints=(
        "Which of the two methods runs in the worker's thread, and which in the loop's?",
        "except BaseException as error: self.error = error",
        "`do` puts what the function returns into `outcome`, and whatever it raises into `error`. `take` looks at "
        "`error` first, and raises it. Otherwise it returns `outcome`, which is `NOT_YET` as long as nobody has "
        "called `do`.",
    ),
    passed="the work is done in one thread, and its answer taken in another.",
)
def check_job(MyJob: Any) -> Iterator[Problem]:
    """`do` notes, `take` tells."""
    if is_unsolved(MyJob.do) or is_unsolved(MyJob.take):
        raise NotYet
    calls = list[int]()
    job = MyJob(lambda: calls.append(1))
    if (got := job.take(Channel())) is not NOT_YET or calls:
        yield Problem(f"{named(got)} before anybody did the job" + (", which `take` did itself" if calls else ""),
                      "The loop waits for the disk, and everybody with it.", "`take` calls nothing.")
    job.do()
    if len(calls) != 1:
        yield Problem(f"a function that was called {len(calls)} times", "A letter is delivered as often.",
                      "`do` calls it once.")
    if (got := job.take(Channel())) is not None:
        yield Problem(f"{named(got)}, where the function returned None", "The conversation waits for ever.",
                      "Nothing but `NOT_YET` means that there is no answer.")
    for result in (b"", 0, False, "250 kept"):
        job = MyJob(lambda result=result: result)
        job.do()
        if (got := job.take(Channel())) is not result:
            yield Problem(f"{named(got)}, where the function returned {result!r}",
                          "A wrong password is a right one, perhaps.", "An empty answer is an answer.")
    for error in (OSError(28, "No space left on device"), SystemExit("from a library")):
        yield from problems_of_a_failure(MyJob, error)


def problems_of_a_failure(MyJob: Any, error: BaseException) -> Iterator[Problem]:
    """What the function raises is raised by `take`, and not by `do`."""
    job, name = MyJob(raising(error)), type(error).__name__
    try:
        job.do()
    except BaseException:
        yield Problem(f"`{name}`, which gets out of `do`", "It ends the worker's thread; no letter is delivered again.",
                      "`except BaseException as error:` and note it.")
        return
    try:
        got = job.take(Channel())
    except BaseException as raised:
        if raised is not error:
            yield Problem(f"`{raised!r}` instead of `{error!r}`", look="Raise what was raised.")
        return
    yield Problem(f"{named(got)} from `take`, where the function raised `{name}`",
                  "250 for a letter that is on no disk, or silence for ever.", "Does `take` look at `error` first?")


# --- your turn: a turn -----------------------------------------------------------------------------------------------


class Played:
    """A call without a socket: its line takes so many flights, and then no more."""

    def __init__(self, talk: Conversation[Any], room: int = 1000) -> None:
        self.channel = Channel()
        self.actor = Actor(talk, self.channel)
        self.room, self.flights, self.unsent, self.lost = room, list[bytes](), b"", False
        self.job = None

    def send(self, data: bytes) -> None:
        if not data and not self.unsent:
            return                             # nothing to say, and that is no flight
        self.lost = self.lost or bool(self.unsent)
        if len(self.flights) < self.room:
            self.flights.append(bytes(data))
        else:
            self.unsent = bytes(data)
        if len(self.flights) > 100:
            raise Endless

    def set_off(self) -> None:
        if data := self.channel.output():
            self.send(data)

    def end_of_turn(self) -> None:
        """What still waits in the channel leaves, as the loop has it, if the line takes it."""
        if self.flights and not self.unsent:
            self.set_off()


class Endless(Exception):
    """It goes on and on."""


def two_words() -> Conversation[None]:
    yield b"354 go on\r\n"
    yield FLUSH
    yield b"250 kept\r\n"
    yield Line()


def many_words(count: int) -> Conversation[None]:
    for number in range(count):
        yield b"%d\r\n" % number
        yield FLUSH


@check(
    hints=(
        "A flight has left. Which want can `run` answer now, and could not before?",
        "if call.unsent or not flight: return False",
        "Up to `FLIGHTS` times: run the actor, take its output, and send that if there is any. If the line did not "
        "take all of it, or if nothing had to leave, this call has had its turn: False. When the loop ends by itself, "
        "the call has more to do: True.",
    ),
    passed="it plays as far as it goes now, waits for nobody, and leaves room for the others.",
)
def check_turn(my_play: Callable[[Any], Any]) -> Iterator[Problem]:
    """Play as far as it goes, in a turn."""
    call = Played(two_words())
    more = my_play(call)
    call.end_of_turn()
    if not call.flights and call.channel.waiting:
        raise NotYet("nothing has left yet: `run`, `output`, `send`.")
    if len(call.flights) < 2:
        yield Problem(f"{b''.join(call.flights)!r} sent, and then nothing",
                      "A FLUSH is never answered: the 250 stays here.", "Run again after a flight has left.")
        return
    if more:
        yield Problem(f"{more!r} when nothing is left to do",
                      "The loop never sleeps, and turns and turns for one caller.",
                      "Return False where no flight must leave.")
    call = Played(two_words(), room=0)
    more = my_play(call)
    if call.lost or more or call.flights:
        yield Problem(f"{more!r}, and more said while the line was full",
                      "What did not fit on the line is lost, or overtaken.",
                      "After each `send`, look at `call.unsent`.")
    yield from problems_of_a_flood(my_play)


def problems_of_a_flood(my_play: Callable[[Any], Any]) -> Iterator[Problem]:
    """A caller with a lot to do has a turn, and then another."""
    call = Played(many_words(1000))
    try:
        more = my_play(call)
    except Endless:
        yield Problem("a hundred flights in one turn, and no end",
                      "A caller says NOOP a hundred thousand times. All others wait.",
                      "At most `FLIGHTS` flights: `for _ in range(FLIGHTS):`")
        return
    if not more:
        yield Problem(f"{more!r} after {len(call.flights)} flights, with more to come",
                      "The loop waits for this caller, who waits for us.", "True says: I could go on at once.")
    if len(call.flights) > FLIGHTS:
        yield Problem(f"{len(call.flights)} flights in one turn", "The others wait longer than they need to.",
                      f"At most `FLIGHTS` flights, which are {FLIGHTS}: `for _ in range(FLIGHTS):`")
    if len(call.flights) < 2:
        yield Problem("one flight a turn", "Each FLUSH costs a whole turn of the loop.", "Go on up to `FLIGHTS` times.")
    call = Played(many_words(20))
    for _ in range(200):
        my_play(call)
    if not call.actor.done or b"".join(call.flights) != b"".join(b"%d\r\n" % number for number in range(20)):
        yield Problem("a conversation that is not played to its end, turn after turn",
                      look="What is left out between two turns?")


# --- your turn: what to look out for ---------------------------------------------------------------------------------

NAMES = {0: "nothing", 1: "EVENT_READ", 2: "EVENT_WRITE", 3: "EVENT_READ | EVENT_WRITE"}
CASES: list[tuple[dict[str, Any], int, str]] = [
    ({}, 1, "A caller says EHLO, and nobody looks."),
    ({"unsent": b"250"}, 3, "Two ends that both talk, and neither listens: both are stuck."),
    ({"unsent": b"250", "deaf": True}, 2, "The end of what it says is there to read, again and again: the loop spins."),
    ({"unsent": b"250", "over": OSError()}, 2, "What comes after TLS has ended is taken in, and thrown away."),
    ({"unsent": b"250", "inbox": INBOX_LIMIT}, 2, "It talks and never reads, and our memory fills up."),
    ({"unsent": b"250", "inbox": INBOX_LIMIT - 1}, 3, "There is room for one more octet, and nobody listens."),
    ({"job": "work"}, 0, "What it says meanwhile is heard, and kept in our memory, without a bound."),
    ({"busy": True}, 0, "It hears the end before its last commands are answered."),
    ({"inbox": INBOX_LIMIT + 1}, 1, "A conversation that wants more than that gets no more, and waits for ever."),
]


@check(
    hints=(
        "What does a call with unsent octets wait for? And a call that somebody works for?",
        "hearing = not (call.deaf or call.channel.over) and len(call.channel.inbox) < INBOX_LIMIT",
        "With something unsent, the answer is EVENT_WRITE, and EVENT_READ as well if we may hear more. We may not, if "
        "the caller is deaf, if TLS is over, or if the inbox is full. With nothing unsent it is EVENT_READ, unless "
        "somebody works for the call or it is busy: then it is 0.",
    ),
    passed="octets in both directions, each within its bounds.",
)
def check_events_for(my_events_for: Callable[[Any], Any]) -> Iterator[Problem]:
    """Events for a call in each of its states."""
    if is_unsolved(my_events_for):
        raise NotYet
    for state, right, wire in CASES:
        channel = SimpleNamespace(over=state.get("over"), inbox=range(state.get("inbox", 0)))
        call = SimpleNamespace(unsent=state.get("unsent", b""), deaf=state.get("deaf", False), job=state.get("job"),
                               busy=state.get("busy", False), channel=channel)
        got = my_events_for(call)
        if got is None:
            raise NotYet(f"it returns nothing for a call with {told(state)}.")
        if not isinstance(got, int):
            yield Problem(f"{got!r:.60} for a call with {told(state)}", "The selector takes a number.",
                          "EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE, or 0.")
            return
        if int(got) != right:
            yield Problem(f"{NAMES.get(int(got), got)} for a call with {told(state)}", wire,
                          "Go through the three points of the exercise.")


def told(state: dict[str, Any]) -> str:
    words = {"unsent": "unsent octets", "deaf": "nothing more to hear", "over": "TLS that has ended",
             "job": "a job in hand", "busy": "more to do"}
    inbox = {INBOX_LIMIT: "a full inbox", INBOX_LIMIT - 1: "an almost full inbox",
             INBOX_LIMIT + 1: "an inbox beyond the limit"}
    found = [inbox[value] if key == "inbox" else words[key] for key, value in state.items()]
    return " and ".join(found) or "nothing to say"


# --- your turn: who is late ------------------------------------------------------------------------------------------

class Waiting:
    """A call that waits until its deadline."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline


DEADLINES: list[tuple[list[float], float, list[float], float, str]] = [
    ([], 10.0, [], math.inf, "Nobody is there, and the loop wakes up for nobody."),
    ([300.0, 200.0], 10.0, [], 200.0, "Somebody is late, and nobody looks."),
    ([5.0, 300.0], 10.0, [5.0], 300.0, "A caller is heard of after the deadline, again and again."),
    ([10.0, 300.0], 10.0, [10.0], 300.0, "The alarm rings, and the caller is not late yet: the loop spins."),
    ([5.0, 7.0], 10.0, [5.0, 7.0], math.inf, "All have been told; the loop wakes up for those who leave."),
    ([10.01, 300.0], 10.0, [], 10.1, "A thousand deadlines, a millisecond apart: a thousand looks at everybody."),
    ([math.inf, math.inf], 10.0, [], math.inf, "They wait for the worker, which is late for nobody."),
]


@check(
    hints=(
        "Which calls are late? Which of the others can be late next?",
        "ahead = min((call.deadline for call in calls if call.deadline > now), default=math.inf)",
        "Late are those whose deadline is at or before `now`. The next look is due at the earliest deadline among the "
        "others, and `math.inf` if there are no others. If that is less than `SWEEP` away, take `now + SWEEP` instead.",
    ),
    passed="everybody who is late hears of it, and the loop sleeps in between.",
)
def check_overdue(my_overdue: Callable[[Any, float], Any]) -> Iterator[Problem]:
    """Who is late, and when to look again."""
    if is_unsolved(my_overdue):
        raise NotYet
    for deadlines, now, right, look, wire in DEADLINES:
        calls = {Waiting(deadline): "a caller" for deadline in deadlines}      # as the loop has them
        got = my_overdue(calls, now)
        if got is None:
            raise NotYet("return two things: a list, and a moment.")
        asked = f"deadlines {deadlines}, at {now}"
        if not isinstance(got, tuple | list) or len(got) != 2:
            yield Problem(repr(got), look="Return a list of calls, and the moment of the next look.")
            return
        if not isinstance(got[0], Iterable):
            yield Problem(f"{got[0]!r} as those who are late", look="A list of calls; an empty one, if nobody is late.")
            return
        late, moment = list(got[0]), got[1]
        if len(calls) < len(deadlines):
            yield Problem(f"`calls` with {len(deadlines) - len(calls)} fewer in it",
                          "The server has forgotten them: nobody closes their sockets.", "Make a list of your own.")
            return
        if sorted(getattr(call, "deadline", -1.0) for call in late) != right:
            yield Problem(f"{len(late)} who are late, with {asked}", wire,
                          "At or before `now`. Return the calls themselves.")
            return
        if not isinstance(moment, int | float) or not (moment == look or abs(moment - look) < 0.001):
            yield Problem(f"a next look at {moment}, with {asked}", wire,
                          f"The earliest of the others, but not before `now + SWEEP`: {look}.")


# --- exercise 1: who stops the loop ----------------------------------------------------------------------------------

WHY = {
    "A": "A delivery is `Work`. Whose thread waits for it? Can another caller say HELO meanwhile?",
    "B": "Who calls the policy: the worker, or the session, in the middle of a turn?",
    "C": "Its replies stay in `unsent`. Does anybody wait for it before its deadline?",
    "D": "Two hundred octets a second are two hundred turns. How long does one take?",
    "E": "A password check is `Work`, too.",
    "F": "The channel calls the tap for each thing that is said. In which thread?",
}


@check(
    hints=(
        "Which thread waits in each case: the loop's, the worker's, or none?",
        "A is harmless for all who do not deliver or log in: the worker waits.",
        "The loop is stopped by whatever runs in its own thread and takes long. Deliveries and password checks are "
        "`Work`, and the worker does them. Policies and the tap are called in the middle of a turn. Slow callers cost "
        "nothing but a place.",
    ),
    passed="two that run in the middle of a turn; the others wait elsewhere, or for nobody.",
)
def check_stoppers(my_stoppers: Any) -> Problem | None:
    """Those who keep everybody waiting."""
    if my_stoppers is ...:
        raise NotYet
    given = {str(letter).upper() for letter in my_stoppers if str(letter).strip(" ,")}
    if strange := given - set(WHY):
        return Problem(f"{sorted(strange)!r}", look="A set of the letters A to F.")
    if not given:
        return Problem("nobody", look="Two of the six run in the loop's own thread.")
    for letter in sorted(given - {"B", "F"}):
        return Problem(f"a loop that {letter} stops", look=WHY[letter])
    for letter in sorted({"B", "F"} - given):
        return Problem(f"a loop that {letter} does not stop", look=WHY[letter])
    return None

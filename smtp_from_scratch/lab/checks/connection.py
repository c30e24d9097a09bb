"""The checks of `connection`: writing while the other end writes, parting, how long callers stay, broken stages."""
from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

from smtp_from_scratch.channel import Channel
from smtp_from_scratch.conversation import Disconnected, Line, Timeout, read_reply, rehearse
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.wire import CRLF, parse_reply

Talk = Generator[Any, Any, Any]
GUARD = 4.0                                    # seconds after which the other end gives up, and so the check goes on

# --- send, and read ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def both_ends(behave: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """A line, with somebody at its far end who behaves so until the time is over."""
    near, far = socket.socketpair()
    far.settimeout(GUARD)

    def run() -> None:
        with suppress(OSError), far:           # when it leaves, whoever waits for it is told
            behave(far)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield near
    finally:
        near.close()
        thread.join(GUARD)


def much(count: int) -> bytes:
    return bytes(range(256)) * (count // 256)


class Ear(socket.socket):
    """Counts how often it was asked when nothing more was to be heard."""

    silences = 0

    def recv(self, *size: int) -> bytes:
        data = super().recv(*size)
        self.silences += not data
        return data


class Talkative:
    """Says a lot, and listens afterward."""

    def __init__(self, data: bytes, wanted: int) -> None:
        self.data, self.wanted, self.said, self.heard = data, wanted, False, bytearray()
        self.done = threading.Event()

    def __call__(self, sock: socket.socket) -> None:
        sock.sendall(self.data)
        self.said = True
        while len(self.heard) < self.wanted and (data := sock.recv(65_536)):
            self.heard += data
        self.done.set()


def hangs_on(sock: socket.socket) -> None:
    """Talks on and on in single octets, and never reads."""
    end = time.monotonic() + GUARD
    while time.monotonic() < end:
        sock.send(b".")
        time.sleep(0.02)


@check(
    hints=(
        "For how many events does your selector wait, and what do you do for each?",
        "selector.register(sock, selectors.EVENT_WRITE | selectors.EVENT_READ)",
        "Compute the deadline before the loop begins. When nothing fits, wait until the socket is ready for either, "
        "but only as long as time is left. If nothing was ready by then, raise Timeout. If there is something to read, "
        "hand it to the channel; after `recv` has returned nothing, wait for writing alone.",
    ),
    seconds=30.0,
    passed="it sends, listens meanwhile, keeps what it hears, and gives up in time.",
)
def check_send_all(my_send_all: Callable[..., Any]) -> Iterator[Problem]:
    """Everything is sent while the other end talks."""
    data = much(900_000)
    other, channel = Talkative(data, len(data)), Channel()
    with both_ends(other) as sock:
        try:
            my_send_all(sock, data, channel, 60.0)
        except (OSError, Timeout):
            pass
        if other.said:
            other.done.wait(GUARD)
    if not other.said:
        yield Problem("a send that stops reading" if len(channel.inbox) else "a send that does not read",
                      "Both ends write 900,000 octets. The line is full in both directions, and each end waits.",
                      "What else could the socket be ready for while it is not ready for writing?")
    elif bytes(other.heard) != data:
        yield Problem(f"{len(other.heard):,} octets arrived of {len(data):,}"
                      if len(other.heard) < len(data) else "other octets arrived than were sent",
                      "The message is damaged.", "`send` returns how many octets it took. Go on with the others.")
    yield from problems_of_listening(my_send_all)
    yield from problems_of_time(my_send_all)


def problems_of_listening(my_send_all: Callable[..., Any]) -> Iterator[Problem]:
    """A peer that says little, says that it will say no more, and listens."""
    def behave(sock: socket.socket) -> None:
        sock.sendall(b"250 fine\r\n")
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        while len(heard) < len(data) and (piece := sock.recv(65_536)):
            heard.extend(piece)
        done.set()

    data, heard, channel, done = much(900_000), bytearray(), Channel(), threading.Event()
    with both_ends(behave) as near, Ear(fileno=near.detach()) as sock:
        with suppress(OSError, Timeout, Disconnected):
            my_send_all(sock, data, channel, 60.0)
        done.wait(GUARD) if len(heard) else None
        silences = sock.silences
    if bytes(heard) != data:
        yield Problem(f"{len(heard):,} of {len(data):,} octets sent to somebody who has finished speaking",
                      "They still listen, and get half a message.", '`recv` returned b"". Who says no more may listen.')
    elif channel.inbox.line() != b"250 fine":
        yield Problem("what was heard while sending is gone", "A 250 arrived, and nobody will ever read it.",
                      "`channel.receive(data)` keeps it.")
    elif silences > 3:
        yield Problem(f"a send that asked again after b\"\", {silences} times",
                      "The answer is b\"\" again, at once: your loop spins until the other end reads.",
                      "From the first b\"\" on wait for EVENT_WRITE alone.")


def problems_of_time(my_send_all: Callable[..., Any]) -> Iterator[Problem]:
    """A peer that reads nothing, and talks."""
    start, raised = time.monotonic(), False
    with both_ends(hangs_on) as sock:
        try:
            my_send_all(sock, much(9_000_000), Channel(), 0.3)
        except Timeout:
            raised = True
        except OSError:
            pass
    if time.monotonic() - start > GUARD / 2:
        yield Problem("a send that was still waiting long after its time",
                      "The other end reads nothing and says an octet now and then. Each one buys it more time.",
                      "One deadline for the whole, computed before the loop.")
    elif not raised:
        yield Problem("a send that does not raise Timeout", "The other end read nothing for all the time that it had.",
                      "`selector.select(seconds)` returns an empty list when the time is over.")


# --- part ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: ours, and a caller's."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as caller:
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(GUARD)
            caller.settimeout(GUARD)
            yield sock, caller


LAST = b"421 closed for lunch\r\n"


def speaks_on(caller: socket.socket, heard: list[Any]) -> None:
    """Has more to say after the last words of the other end."""
    try:
        words = b""
        while data := caller.recv(1000):
            words += data
        heard.append(words)
        for _ in range(20):
            caller.sendall(b"x" * 10_000)
            time.sleep(0.002)
        heard.append("spoke on")
    except TimeoutError:
        heard.append("silence")
    except OSError:
        heard.append("broken")
    finally:
        caller.close()


def chatters(caller: socket.socket, heard: list[Any]) -> None:
    """Never stops."""
    end = time.monotonic() + GUARD
    with suppress(OSError):
        while time.monotonic() < end:
            caller.sendall(b"x" * 1000)
            time.sleep(0.005)


def vanishes(caller: socket.socket, heard: list[Any]) -> None:
    """As a computer whose power failed and came back."""
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()


def silent_end(caller: socket.socket, heard: list[Any]) -> None:
    """Neither speaks nor closes."""


def parted(my_linger: Callable[..., Any], behave: Callable[..., None],
           patience: float) -> tuple[list[Any], float, bool]:
    """What the caller heard, how long the parting took, and whether the socket was closed."""
    heard = list[Any]()
    with tcp() as (sock, caller):
        caller.sendall(b"x" * 100_000)
        thread = threading.Thread(target=behave, args=(caller, heard), daemon=True)
        if behave is vanishes:
            behave(caller, heard)
        else:
            thread.start()
        start = time.monotonic()
        my_linger(sock, patience, LAST)
        seconds, closed = time.monotonic() - start, sock.fileno() == -1
        sock.close()
        if behave is speaks_on:
            thread.join(2 * GUARD)
    return heard, seconds, closed


@check(
    hints=(
        "How does the caller learn that you have finished speaking, while you still listen?",
        "sock.shutdown(socket.SHUT_WR)",
        "Say the last words and shut down the writing half, so that the caller hears the end. Then read and throw away "
        "until `recv` returns nothing or the time is over: one deadline for all reads. Put all of it into "
        "`suppress(OSError)`, and close the socket whatever happens.",
    ),
    seconds=30.0,
    passed="the last words arrive, and nobody can hold you there.",
)
def check_linger(my_linger: Callable[..., Any]) -> Iterator[Problem]:
    """Last words that arrive."""
    yield from problems_of_last_words(my_linger)
    yield from problems_of_patience(my_linger)
    yield from problems_of_vanishing(my_linger)


def problems_of_last_words(my_linger: Callable[..., Any]) -> Iterator[Problem]:
    """A caller who still has something to say, and who gives up long before our patience does."""
    heard, seconds, closed = parted(my_linger, speaks_on, 2 * GUARD)
    if not closed:
        yield Problem("a socket that is still open afterward", "Each caller costs you one, until there are no more.",
                      "Close it, whatever happens.")
    elif heard == ["silence"]:
        yield Problem("a caller who hears silence, and never the end", "It waits for what you say next, and waits.",
                      "`shutdown(socket.SHUT_WR)` tells it that you are done.")
    elif heard[:1] != [LAST]:
        yield Problem("last words that do not arrive: the caller hears "
                      + ("that the line broke" if heard == ["broken"] else f"{heard[:1]}"),
                      "The octets that the caller had sent were unread when the socket was closed.",
                      "Send `last`, close the writing half, read on, and close last.")
    elif seconds >= GUARD:
        yield Problem("a caller who waits for the end of your words until you lose patience",
                      "It does not know that you are done.", "`shutdown(socket.SHUT_WR)` tells it.")
    elif heard[1:] != ["spoke on"]:
        yield Problem("a caller who still speaks is cut off", "It has not closed its half yet.",
                      'Read until `recv` returns b"".')


def problems_of_patience(my_linger: Callable[..., Any]) -> Iterator[Problem]:
    """Two callers who would stay forever."""
    for behave, what in ((chatters, "a caller who never stops"), (silent_end, "a caller who never closes")):
        try:
            _, seconds, closed = parted(my_linger, behave, 0.2)
        except OSError as error:
            yield Problem(f"{type(error).__name__} for {what}", "The thread that says goodbye dies of it.",
                          f"{type(error).__name__} is an OSError: let none out, and close in any case.")
            return
        if seconds > GUARD / 2:
            yield Problem(f"{what} is listened to for {seconds:.1f} seconds, with a patience of 0.2",
                          "A thousand of these, and nobody else gets in.",
                          "One deadline, and each `recv` gets what is left of it.")
        elif not closed:
            yield Problem(f"a socket that is still open after {what}", "Each such caller costs you one for good.",
                          "Close it, whatever happens.")


def problems_of_vanishing(my_linger: Callable[..., Any]) -> Iterator[Problem]:
    """A caller whose line is broken already."""
    try:
        _, _, closed = parted(my_linger, vanishes, 0.2)
    except OSError as error:
        yield Problem(f"{type(error).__name__} when the caller has vanished",
                      "The thread that says goodbye dies of it.",
                      "`with suppress(OSError):` around all of it.")
    else:
        if not closed:
            yield Problem("a socket that is still open when the caller has vanished",
                          "Each such caller costs you one for good.", "Close it, whatever happens.")


# --- seconds ---------------------------------------------------------------------------------------------------------


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
    """250 octets of a body each second."""
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
    "silent": "Section 1: how long may the next command take?",
    "dripping": "Section 1: what does an octet prove, and does it move the deadline?",
    "polite": "Each NOOP is complete, so no timeout strikes. Which limit of `session` does? When was the first?",
    "trickle": "Section 2: a balance of 180 seconds, one is spent each second. How many are earned?",
    "flood": "It is not about time. What does `LineTooLong` do in chapter `wire` when no end is in sight?",
}


@check(
    hints=(
        "For each caller: which want does the server have, and what would end it?",
        "The polite one: 100 * 299. The trickle: 180 / (1 - 250 / 500).",
        "A deadline for a line begins when the server starts to want it, and an octet does not move it. During a "
        "body seconds are earned by octets: the balance falls by one each second and rises by what arrives, "
        "divided by the required rate. The polite caller breaks no deadline, so count its commands instead.",
    ),
    passed="You know which limit ends each of the five.",
)
def check_seconds(my_seconds: dict[str, float]) -> Problem | None:
    """The seconds until each caller is sent away."""
    for name, talk in CALLERS.items():
        if name not in my_seconds:
            raise NotYet(f"a number of seconds for `{name}` is missing.")
        show = rehearse(talk(), serve(Session("mail.tokyo.example")), patient=True)
        truth = min(said.when for said in show.said if said.role == "S" and said.data[:3] in (b"421", b"500"))
        if not abs(float(my_seconds[name]) - truth) <= 0.02 * truth + 1:
            earlier = "earlier" if truth < float(my_seconds[name]) else "later"
            return Problem(gave=f"{float(my_seconds[name]):,.0f} seconds for `{name}`",
                           wire=f"In the rehearsal the server ends it {earlier} than that.", look=WHERE[name])
    return None


# --- bugs ------------------------------------------------------------------------------------------------------------

BUGS = {
    "A": ((4,), "A byte every 299 seconds: which line gives it another 300?"),
    "B": ((3, 4), "The server answers each command. Who reads the answers while line 3 runs, and what if nobody does?"),
    "C": ((3, 4), "What becomes of octets that arrive after the socket is closed, and of the last words with them?"),
    "D": ((4, 5), "The server said 421 and hung up, before `command` was sent. Where are those words now?"),
}


@check(
    hints=(
        "Which line would the rudest peer of this chapter make use of?",
        "In A, read lines 3 and 4 in the other order. In C, lines 3 and 4.",
        "One of the four gives each octet a new timeout. One writes without reading, one closes before it has read, "
        "and one does not read what was said before the line broke. Find the line that does it, or the one that comes "
        "too late.",
    ),
    passed="four bugs that one polite peer would never have shown.",
)
def check_stage_bugs(my_stage_bugs: dict[str, Any]) -> Problem | None:
    """The numbers of the lines that are wrong."""
    for name, (lines, look) in BUGS.items():
        if name not in my_stage_bugs:
            raise NotYet(f"a line number for {name} is missing.")
        answer = my_stage_bugs[name]
        number = as_number(answer.strip().lower().removeprefix("line") if isinstance(answer, str) else answer)
        if not isinstance(number, int):
            return Problem(gave=f"{answer!r:.40} for {name}", look="The number of a line, please, such as 3.")
        if number not in lines:
            return Problem(gave=f"line {number} for {name}", wire="That line does what it should.",
                           look=look)
    return None

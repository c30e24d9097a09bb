"""Flights that are kept until the end of a turn."""
from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from smtp_from_scratch.conversation import FLUSH, OUTBOX_LIMIT, Conversation, Line, Want
from smtp_from_scratch.flight import TOGETHER, Flights
from smtp_from_scratch.loop import Call
from tests.unit.test_loop import GUARD, Played, one, pair
from tests.unit.test_loop import played as played


def echo() -> Conversation[None]:
    while True:
        yield Line()
        yield b"250 fine\r\n"


def parrot(said: bytes, times: int) -> Conversation[None]:
    for _ in range(times):
        yield said
    yield b"221 bye\r\n"


@pytest.fixture
def line() -> Iterator[tuple[Call, socket.socket]]:
    with pair() as (near, far):
        yield Call(near, "192.0.2.7", one(Line())), far


def test_what_was_said_waits_until_it_sets_off(line: tuple[Call, socket.socket]) -> None:
    call, far = line
    far.setblocking(False)
    call.channel.say(b"250 a\r\n")
    call.channel.say(b"250 b\r\n")
    with pytest.raises(BlockingIOError):
        far.recv(100)
    call.set_off()
    assert far.recv(100) == b"250 a\r\n250 b\r\n" and not call.channel.waiting
    call.set_off()                              # nothing is left
    with pytest.raises(BlockingIOError):
        far.recv(100)


def test_who_parts_has_said_all(line: tuple[Call, socket.socket]) -> None:
    call, far = line
    call.channel.say(b"221 bye\r\n")
    call.part()
    assert far.recv(100) + far.recv(100) == b"221 bye\r\n" and call.parting


def test_what_the_line_does_not_take_is_kept_in_its_order(line: tuple[Call, socket.socket]) -> None:
    call, far = line
    said = bytes(range(256)) * 40_000
    full: list[Call] = []
    flights = Flights(full.append)
    call.channel.say(said)
    flights.lines.append(call)
    flights.leave()
    assert full == [call] and call.unsent and not flights.lines
    call.channel.say(b"more")                   # it waits behind that
    heard = bytearray()
    far.settimeout(GUARD)
    while len(heard) < len(said) + 4:
        heard += far.recv(1_000_000)
        call.set_off()
    assert heard == said + b"more"


class Broken:
    """A layer that hears, and cannot speak."""

    ready, ended = True, False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def receive(self, data: bytes) -> bytes:
        return data

    def send(self, data: bytes) -> bytes:
        if data: raise self.error
        return b""


@pytest.mark.parametrize("error", [ConnectionAbortedError("no more"), ssl.SSLError("no more"), RuntimeError("no more")])
@pytest.mark.parametrize("want", [Line(), FLUSH])
def test_a_layer_that_breaks_ends_its_own_line_alone(played: Played, error: Exception, want: Want) -> None:
    """Whether it breaks while the call plays, or at the end of the turn."""
    heard: list[BaseException] = []

    def talk() -> Conversation[None]:
        yield Line()
        yield b"250 fine\r\n"
        try:
            yield want
            yield Line()
        except OSError as met:
            heard.append(met)
            raise

    (call, far), (_, other) = played.call(talk()), played.call(echo())
    call.channel.upgrade(Broken(error))
    far.sendall(b"NOOP\r\n")
    played.turn_until(lambda: call.parting)
    other.sendall(b"NOOP\r\n")
    played.turn_until(lambda: not call.channel.waiting)
    played.loop.turn()
    assert other.recv(100) == b"250 fine\r\n" and [str(met) for met in heard] == [str(error)]
    assert far.recv(100) == b""


def test_many_do_not_wait_for_the_end_of_the_turn(played: Played) -> None:
    """Who is let go on first in a turn is not kept until hundreds of others have played."""
    left: list[int] = []
    leave = played.loop.flights.leave

    def noted() -> None:
        left.append(len(played.loop.flights.lines))
        leave()

    ends = [played.call(echo())[1] for _ in range(TOGETHER + 3)]
    played.loop.flights.leave = noted           # type: ignore[method-assign]
    for far in ends:
        far.sendall(b"NOOP\r\n")
    played.loop.turn()
    assert left == [TOGETHER, 3] and all(far.recv(100) == b"250 fine\r\n" for far in ends)


def test_a_goodbye_that_is_too_long_for_the_line_arrives_whole(played: Played) -> None:
    """A caller who has much to hear, says QUIT with it, and reads late."""
    said = b"x" * OUTBOX_LIMIT
    call, far = played.call(parrot(said, 100))
    played.turn_until(lambda: call.unsent)
    heard = bytearray()
    far.settimeout(0.01)
    while not call.gone:
        with contextlib.suppress(OSError):      # nothing yet; or closed
            heard += far.recv(1_000_000)
        played.loop.alarm = min(played.loop.alarm, time.monotonic() + 0.01)
        played.loop.turn()
        if heard.endswith(b"bye\r\n"):
            far.close()
    assert len(heard) == 100 * len(said) + len(b"221 bye\r\n")

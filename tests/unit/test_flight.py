"""Flights that are kept until the end of a turn."""
from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from smtp_from_scratch.conversation import Line
from smtp_from_scratch.flight import TOGETHER, Flights
from smtp_from_scratch.loop import Call
from tests.unit.test_loop import GUARD, one, pair


@pytest.fixture
def line() -> Iterator[tuple[Call, socket.socket]]:
    with pair() as (near, far):
        yield Call(near, "192.0.2.7", one(Line())), far


def test_one_flight_waits_and_a_second_takes_it_along(line: tuple[Call, socket.socket]) -> None:
    call, far = line
    far.setblocking(False)
    call.send(b"250 a\r\n")
    with pytest.raises(BlockingIOError):
        far.recv(100)
    call.send(b"250 b\r\n")
    assert far.recv(100) == b"250 a\r\n250 b\r\n" and not call.flight
    call.send(b"250 c\r\n")
    call.set_off()
    assert far.recv(100) == b"250 c\r\n"
    call.set_off()                              # nothing is left
    with pytest.raises(BlockingIOError):
        far.recv(100)


def test_who_parts_has_said_all(line: tuple[Call, socket.socket]) -> None:
    call, far = line
    call.send(b"221 bye\r\n")
    call.part()
    assert far.recv(100) + far.recv(100) == b"221 bye\r\n" and call.parting


def test_what_the_line_does_not_take_is_kept_in_its_order(line: tuple[Call, socket.socket]) -> None:
    call, far = line
    said = bytes(range(256)) * 40_000
    full: list[Call] = []
    flights = Flights(full.append)
    call.send(said)
    flights.add(call)
    flights.leave()
    assert full == [call] and call.unsent
    call.send(b"more")                          # it waits behind that
    heard = bytearray()
    far.settimeout(GUARD)
    while len(heard) < len(said) + 4:
        heard += far.recv(1_000_000)
        call.set_off()
    assert heard == said + b"more"


def test_they_leave_when_there_are_many(line: tuple[Call, socket.socket]) -> None:
    call, far = line
    flights = Flights[Call](lambda call: pytest.fail("the line took it all"))
    for _ in range(TOGETHER - 1):
        flights.add(call)
    call.send(b"250 a\r\n")
    assert call.flight
    flights.add(call)
    assert not call.flight and not flights.lines and far.recv(100) == b"250 a\r\n"

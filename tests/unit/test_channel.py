"""A channel: octets both ways, a tap on both, a layer, and until when to wait."""
from __future__ import annotations

import math

import pytest

from smtp_from_scratch.channel import Channel
from smtp_from_scratch.conversation import Want
from smtp_from_scratch.transcript import Said


def fed(*pieces: bytes) -> Channel:
    channel = Channel()
    for piece in pieces:
        channel.receive(piece)
    return channel


def test_what_is_said_leaves_in_one_piece() -> None:
    channel = Channel()
    channel.say(b"250-tokyo.example\r\n")
    channel.say(b"250 HELP\r\n")
    assert channel.waiting == 29 and channel.output() == b"250-tokyo.example\r\n250 HELP\r\n"
    assert channel.waiting == 0 and channel.output() == b""


def test_both_ends_of_a_channel_are_tapped() -> None:
    said = list[Said]()
    channel = Channel("S", said.append, lambda: 7.0)
    channel.receive(b"not tapped")
    channel.peer = "C"
    channel.receive(b"QUIT\r\n")
    channel.say(b"221 bye\r\n")
    assert said == [(7.0, "C", b"QUIT\r\n"), (7.0, "S", b"221 bye\r\n")]


class Shift:
    """A layer that adds one to each octet on its way out, and ends at an `!`."""

    ready, ended = True, False

    def send(self, data: bytes) -> bytes:
        return bytes(octet + 1 for octet in data)

    def receive(self, data: bytes) -> bytes:
        if b"?" in data:
            raise ConnectionError("nonsense")
        self.ended = b"!" in data
        return bytes(octet - 1 for octet in data.partition(b"!")[0])


def test_a_layer_takes_what_was_not_read_and_leaves_what_was_said() -> None:
    channel = fed(b"STARTTLS\r\nBCD")
    assert channel.inbox.line() == b"STARTTLS"
    channel.say(b"220 go ahead\r\n")
    channel.upgrade(Shift())
    channel.say(b"HAL")
    assert channel.output() == b"220 go ahead\r\nIBM" and channel.inbox.octets(9) == b"ABC"


@pytest.mark.parametrize("last, failure", [(b"!", type(None)), (b"?", ConnectionError)])
def test_nothing_is_read_after_a_layer_has_ended(last: bytes, failure: type) -> None:
    channel = Channel()
    channel.upgrade(Shift())
    assert not channel.over
    for piece in (b"IBM", last, b"\x0e\x0b"):
        channel.receive(piece)
    assert channel.over and type(channel.failure) is failure and channel.inbox.octets(9) == b"HAL"


@pytest.mark.parametrize("longest, end, ends", [(math.inf, math.inf, 310.0), (20.0, math.inf, 30.0),
                                                (900.0, math.inf, 310.0), (20.0, 25.0, 25.0), (math.inf, 25.0, 25.0)])
def test_a_cap_takes_as_much_off_the_deadline_as_off_the_timeout(longest: float, end: float, ends: float) -> None:
    channel = Channel(now=lambda: 10.0)
    channel.longest_wait, channel.deadline = longest, end
    assert channel.until(Want()) == ends

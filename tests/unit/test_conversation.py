"""Conversations, and the two stages that need no clock: wants, an actor, flights, a rehearsal, the short `play`."""
from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from smtp_from_scratch.channel import Channel
from smtp_from_scratch.conversation import (
    FLUSH,
    NOT_YET,
    OUTBOX_LIMIT,
    Actor,
    BothListening,
    Conversation,
    Disconnected,
    Line,
    ReplyLine,
    Timeout,
    Want,
    Work,
    flights,
    play,
    read_reply,
    rehearse,
)
from smtp_from_scratch.envelope import Body, BodyCutter
from smtp_from_scratch.wire import BadReply, BareNewline, LineTooLong, Reply


def latest(want: Want, channel: Channel) -> float:
    """Until when an actor waits for it."""
    actor = Actor(one(want), channel)
    actor.run()
    return actor.deadline


def channel_at(*times: float, **caps: float) -> Channel:
    """A channel on a clock that says these times, one after another."""
    clock = iter(times)
    channel = Channel(now=lambda: next(clock))
    for name, value in caps.items():
        setattr(channel, name, value)
    return channel


def fed(*pieces: bytes) -> Channel:
    channel = Channel()
    for piece in pieces:
        channel.receive(piece)
    return channel


def one(thing: Any) -> Conversation[Any]:
    """Wants one thing, and returns the answer, or what came in its place."""
    try:
        return (yield thing)
    except Exception as error:
        return error


# --- wants ----------------------------------------------------------------------------------------------------------


def test_a_line_is_taken_when_it_is_complete_and_not_before() -> None:
    channel = fed(b"NOOP\r\n\r\nQUI")
    assert [Line().take(channel) for _ in range(3)] == [b"NOOP", b"", NOT_YET]
    channel.receive(b"T\r\n")
    assert Line().take(channel) == b"QUIT"
    with pytest.raises(LineTooLong):
        Line(limit=5).take(fed(b"NOOP\r\n"))


def test_what_take_raises_is_thrown_into_the_conversation() -> None:
    actor = Actor(one(Line()), fed(b"NOOP\nRSET\r\n"))
    actor.run()
    assert actor.done and isinstance(actor.result, BareNewline)


def test_flush_and_work_wait_until_everything_has_left() -> None:
    channel, calls = Channel(), list[int]()
    work = Work(lambda: calls.append(1))
    channel.say(b"354 go on\r\n")
    assert FLUSH.take(channel) is NOT_YET and work.take(channel) is NOT_YET and not calls
    assert channel.output() == b"354 go on\r\n"
    assert FLUSH.take(channel) is None and work.take(channel) is None and calls == [1]


def test_an_error_of_a_work_is_the_conversations_to_handle() -> None:
    actor = Actor(one(Work(lambda: 1 // 0)), Channel())
    actor.run()
    assert isinstance(actor.result, ZeroDivisionError)


def test_a_conversation_that_yields_nonsense_is_told_so() -> None:
    with pytest.raises(TypeError, match="bytes, a Reply or a want, not 'QUIT'"):
        Actor(one("QUIT"), Channel())


# --- until when -----------------------------------------------------------------------------------------------------


def test_all_lines_of_a_reply_have_one_deadline() -> None:
    want = ReplyLine(timeout=300.0)
    assert [want.deadline(now) for now in (1000.0, 1299.0, 1e9)] == [1300.0] * 3
    assert ReplyLine().deadline(5.0) == 305.0


@pytest.mark.parametrize("longest, deadlines", [(math.inf, [300.0, 310.0]), (20.0, [20.0, 30.0]),
                                                (900.0, [300.0, 310.0])])
def test_a_cap_shortens_the_wait_for_a_line(longest: float, deadlines: list[float]) -> None:
    channel = channel_at(0.0, 10.0, longest_wait=longest)
    assert [latest(Line(), channel) for _ in range(2)] == deadlines


@pytest.mark.parametrize("longest, last", [(math.inf, 300.0), (20.0, 20.0)])
def test_a_cap_is_for_a_reply_as_a_whole(longest: float, last: float) -> None:
    want, channel = ReplyLine(), channel_at(0.0, 15.0, 19.0, longest_wait=longest)
    assert [latest(want, channel) for _ in range(3)] == [last] * 3


def test_a_cap_is_for_the_balance_of_a_body_too() -> None:
    """A trickle of octets, each of which is a block: with a cap for each, it went on for three minutes."""
    want, channel = Body(BodyCutter()), channel_at(0.0, 0.1, 0.2, 0.25, longest_wait=0.3)
    found = []
    for _ in range(4):
        found.append(latest(want, channel))
        channel.inbox.feed(b"x")
        want.take(channel)
    assert found == pytest.approx([0.3, 0.3, 0.302, 0.304], abs=0.003)


def test_nothing_is_waited_for_beyond_the_end_of_the_channel() -> None:
    channel = channel_at(0.0, 90.0, 99.0, deadline=100.0)
    assert [latest(Line(timeout=60.0), channel) for _ in range(3)] == [60.0, 100.0, 100.0]


def test_a_deadline_is_asked_for_once_each_time() -> None:
    actor = Actor(read_reply(), channel_at(1.0, 2.0, 3.0))
    for heard in (b"", b"250", b"-one\r\n", b"250 t"):
        actor.channel.receive(heard)
        actor.run()
        assert actor.deadline == 301.0


# --- a reply --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets, text", [(b"220 ready\r\n", "ready"), (b"250-a\r\n250-b\r\n250 c\r\n", "a\nb\nc"),
                                          (b"250\r\n", ""), (b"250 a - b\r\n", "a - b")])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_reply_in_pieces(octets: bytes, text: str, size: int) -> None:
    def server() -> Conversation[None]:
        yield octets

    def cut(flight: bytes) -> list[bytes]:
        return [flight[at : at + size] for at in range(0, len(flight), size)]

    show = rehearse(read_reply(), server(), cut=cut)
    assert show.client == Reply(int(octets[:3]), text)


def test_a_reply_without_an_end_is_given_up() -> None:
    actor = Actor(read_reply(), fed(2000 * b"250-and another thing\r\n"))
    with pytest.raises(BadReply, match="more than 32768"):
        actor.run()


# --- an actor whose layer ends ----------------------------------------------------------------------------------------


class Ends:
    """A layer that ends at an `!`, and breaks at a `?`."""

    ready, ended = True, False

    def send(self, data: bytes) -> bytes:
        return data

    def receive(self, data: bytes) -> bytes:
        if b"?" in data:
            raise ConnectionError("nonsense")
        self.ended = b"!" in data
        return data.partition(b"!")[0]


@pytest.mark.parametrize("last, why", [(b"!", Disconnected), (b"?", ConnectionError)])
def test_a_conversation_hears_why_nothing_more_is_read(last: bytes, why: type[Exception]) -> None:
    actor = Actor(one(Line()), Channel())
    actor.channel.upgrade(Ends())
    for piece in (b"HAL", last, b" 9000\r\n"):
        actor.channel.receive(piece)
    actor.run()
    assert isinstance(actor.result, why) and actor.channel.inbox.octets(9) == b"HAL"


# --- an actor, and what it says ---------------------------------------------------------------------------------------


def test_what_is_said_leaves_together_unless_it_is_flushed() -> None:
    def talk(between: Any) -> Conversation[None]:
        yield Reply(250, "fine")
        yield from between
        yield b"354 go on\r\n"

    assert list(flights(Actor(talk(()), Channel()))) == [b"250 fine\r\n354 go on\r\n"]
    assert list(flights(Actor(talk((FLUSH,)), Channel()))) == [b"250 fine\r\n", b"354 go on\r\n"]


def test_no_more_than_the_outbox_holds_waits() -> None:
    def talk() -> Conversation[None]:
        for _ in range(10):
            yield bytes(OUTBOX_LIMIT // 2)

    assert [len(flight) for flight in flights(Actor(talk(), Channel()))] == 5 * [OUTBOX_LIMIT]


def test_an_actor_runs_on_when_its_layer_swallows_what_was_said() -> None:
    """A layer that is broken says nothing more; the conversation must still hear of it, and not wait."""
    actor = Actor(answering(), Channel())
    actor.channel.layer = SimpleNamespace(  # type: ignore[assignment]
        ready=True, ended=False, send=lambda data: b"", receive=lambda data: data)
    actor.channel.receive(b"NOOP\r\nNOOP\r\n")
    actor.channel.over, actor.channel.failure = True, ConnectionError("broken")
    assert list(flights(actor)) == [] and actor.done and actor.result == "broken"


def answering() -> Conversation[str]:
    try:
        while True:
            yield Line()
            yield Reply(250, "fine")
            yield FLUSH
    except ConnectionError as error:
        return str(error)


# --- the two stages ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def peer_says(*pieces: bytes) -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        for piece in pieces:
            far.sendall(piece)
        far.shutdown(socket.SHUT_WR)
        yield near, far


def test_play_sends_receives_and_returns() -> None:
    def client() -> Conversation[tuple[int, int]]:
        greeting = yield from read_reply()
        yield b"NOOP\r\n"
        reply = yield from read_reply()
        yield b"QUIT\r\n"
        return greeting.code, reply.code

    with peer_says(b"220 re", b"ady\r\n250 fine\r\n") as (near, far):
        assert play(client(), near) == (220, 250)
        near.shutdown(socket.SHUT_WR)
        assert far.makefile("rb").read() == b"NOOP\r\nQUIT\r\n"


@pytest.mark.parametrize("said", [b"", b"220-rea", b"220-ready\r\n"])
def test_play_tells_of_the_end(said: bytes) -> None:
    with peer_says(said) as (near, _), pytest.raises(Disconnected):
        play(read_reply(), near)


def test_both_listening_names_what_both_want() -> None:
    with pytest.raises(BothListening, match=r"Line\(limit=9.* and Line\(limit=8"):
        rehearse(one(Line(9)), one(Line(8)))


@pytest.mark.parametrize("patient", [False, True])
def test_an_end_that_is_left_alone_is_told(patient: bool) -> None:
    def leaves() -> Conversation[None]:
        yield b"220-wait, I hear the children\r\n"

    show = rehearse(one(Line(5)), leaves(), patient=patient)
    assert isinstance(show.client, LineTooLong)
    show = rehearse(one(Line(limit=1000)), one(Work(lambda: None)), patient=patient)
    assert isinstance(show.client, Disconnected) and show.seconds == 0.0


@pytest.mark.parametrize("client, server, first", [(300.0, 60.0, "server"), (60.0, 300.0, "client")])
def test_the_clock_jumps_to_the_first_deadline(client: float, server: float, first: str) -> None:
    show = rehearse(one(Line(timeout=client)), one(Line(timeout=server)), patient=True)
    other = {"server": "client", "client": "server"}[first]
    assert isinstance(getattr(show, first), Timeout) and isinstance(getattr(show, other), Disconnected)
    assert show.seconds == 60.0


def test_a_rehearsal_counts_turns_and_travel() -> None:
    def client() -> Conversation[None]:
        yield from read_reply()
        yield b"NOOP\r\n"
        yield b"QUIT\r\n"
        yield from read_reply()
        yield from read_reply()

    def server() -> Conversation[None]:
        yield b"220 hi\r\n"
        while (yield Line()) != b"QUIT":
            yield Reply(250, "fine")
        yield Reply(221, "bye")

    show = rehearse(client(), server(), latency=0.5)
    assert (show.turns, show.seconds) == (3, 1.5)
    assert [(said.when, said.role) for said in show.said] == [(0, "S"), (.5, "C"), (.5, "C"), (1, "S"), (1, "S")]
    cuts: list[Callable[[bytes], list[bytes]]] = [
        lambda flight: [flight], lambda flight: [bytes([octet]) for octet in flight],
        lambda flight: [flight[:-1], flight[-1:]]]
    assert all(rehearse(client(), server(), cut=cut).turns == 3 for cut in cuts)

"""The blocking stage over real sockets: deadlines, two ends that both write, hang-ups, last words."""
from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import call, patch

import pytest

from smtp_from_scratch import connection
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.connection import Connection, Transport, limit_recv, linger, send_all
from smtp_from_scratch.conversation import Closing, Conversation, Disconnected, Line, Timeout, read_reply
from smtp_from_scratch.envelope import Body, BodyCutter
from smtp_from_scratch.wire import Reply

GUARD = 20.0                                   # seconds after which a test gives up


def one(want: Any) -> Conversation[Any]:
    """Wants one thing, and returns the answer, or what came in its place, after a last word."""
    try:
        answer: Any = yield want
    except (Timeout, Disconnected, Closing) as error:
        answer = type(error)
        yield Reply(421, answer.__name__)
    return answer


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    far.settimeout(GUARD)
    with near, far:
        yield near, far


@contextlib.contextmanager
def beside(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Do something in a thread of its own; what it returned is in the list afterward."""
    results = list[Any]()
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    yield results
    thread.join(GUARD)
    assert not thread.is_alive(), "it never ends"


def rest_of(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65_536):
        data += piece
    return data


# --- until when -----------------------------------------------------------------------------------------------------


def test_recv_waits_no_longer_than_it_was_told() -> None:
    with pair() as (near, far):
        limit_recv(near, 0.01)
        with pytest.raises(BlockingIOError):
            near.recv(1)
        far.send(b"x")
        assert near.recv(1) == b"x"


@pytest.mark.parametrize("seconds", [0.0, -1.0, -0.05])
def test_a_wait_that_is_over_has_no_time_left(seconds: float) -> None:
    with pair() as (near, far):
        far.send(b"too late")
        with pytest.raises(Timeout):
            Transport(near).receive(time.monotonic() + seconds, 100)


def test_a_shorter_limit_of_before_ends_no_longer_wait_and_a_longer_one_stretches_none() -> None:
    with pair() as (near, far), patch.object(connection, "limit_recv", wraps=limit_recv) as limited:
        transport = Transport(near)
        for seconds in (0.2, 0.3, 0.2):
            start = time.monotonic()
            with pytest.raises(Timeout):
                transport.receive(time.monotonic() + seconds, 100)
            assert seconds <= time.monotonic() - start < 5.0
        threading.Timer(0.5, far.send, [b"late"]).start()
        assert transport.receive(time.monotonic() + 20.0, 100) == b"late"
        limited.reset_mock()
        for seconds in (20.0, 12.0, 30.0):     # MAIL, DATA and body, message by message
            far.send(b"x")
            assert transport.receive(time.monotonic() + seconds, 100) == b"x"
        assert limited.call_args_list == [call(near, pytest.approx(12.0, abs=1.0))]


@pytest.mark.parametrize("want", [Line(timeout=0.2), Line(timeout=0.2, idle=True)])
def test_a_silent_end_is_told_why(want: Line) -> None:
    with pair() as (near, far):
        assert Connection(near).play(one(want)) is Timeout
        assert far.recv(100) == b"421 Timeout\r\n"


@pytest.mark.parametrize("want", [Line(timeout=0.3), Body(BodyCutter(), timeout=0.3, rate=10_000.0)],
                         ids=["line", "body"])
def test_a_dripping_end_gets_no_more_time(want: Any) -> None:
    def drip() -> None:
        while not done.is_set():
            far.send(b"x")
            done.wait(0.02)

    def hear() -> Conversation[Any]:
        try:
            while True:
                yield want
        except Timeout:
            return "timeout"

    done = threading.Event()
    with pair() as (near, far), beside(drip):
        assert Connection(near).play(hear()) == "timeout"
        done.set()


def test_what_a_conversation_does_not_catch_is_raised() -> None:
    with pair() as (near, far):
        with pytest.raises(Timeout):
            Connection(near).play(read_reply(timeout=0.1))
        far.close()
        with pytest.raises(Disconnected):
            Connection(near).play(read_reply())


def test_longest_wait_caps_a_timeout() -> None:
    with pair() as (near, _far):
        connection = Connection(near)
        connection.channel.longest_wait = 0.1
        assert connection.play(one(Line(timeout=3600.0))) is Timeout


# --- both write -----------------------------------------------------------------------------------------------------


def test_two_ends_that_both_write_first() -> None:
    def talkative() -> Conversation[Any]:
        for _ in range(30):
            yield 30_000 * b"x"
        yield b"\r\n"
        return (yield Line(limit=1_000_000))

    with pair() as (near, far):
        far.settimeout(None)
        with beside(lambda: Connection(far).play(talkative())) as heard:
            assert len(Connection(near).play(talkative())) == 900_000
        assert len(heard[0]) == 900_000


def test_who_has_finished_speaking_still_gets_everything() -> None:
    data = bytes(range(256)) * 8000
    with pair() as (near, far):
        far.sendall(b"250 fine\r\n")
        far.shutdown(socket.SHUT_WR)
        with beside(lambda: rest_of(far)) as heard:
            send_all(near, data, Channel())
            near.shutdown(socket.SHUT_WR)
        assert heard == [data]


def test_an_end_that_reads_nothing_costs_one_timeout() -> None:
    with pair() as (near, _far), pytest.raises(Timeout):
        send_all(near, bytes(20_000_000), Channel(), 0.2)


# --- hang-ups -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [b"", b"250-half a re"])
def test_an_end_that_is_gone(what: bytes) -> None:
    near, far = socket.socketpair()
    with near:
        far.sendall(what)
        far.close()
        assert Connection(near).play(one(Line())) is Disconnected


def test_who_hung_up_may_have_said_why() -> None:
    near, far = socket.socketpair()
    with near:
        far.sendall(b"421 closed for lunch\r\n")
        far.close()
        connection = Connection(near)

        def talk() -> Conversation[Reply]:
            yield b"MAIL FROM:<ana@rio.example>\r\n"
            return (yield from read_reply())

        assert connection.play(talk()) == Reply(421, "closed for lunch")
        assert connection.write_failed and connection.goodbye() == b""


def test_a_broken_line_is_the_end_of_the_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()                         # with a RST
        with sock:
            assert Connection(sock).play(one(Line())) is Disconnected


def test_conversations_in_turn_share_what_has_arrived() -> None:
    with pair() as (near, far):
        far.sendall(b"220 ready\r\n250 fine\r\n221 b")
        connection = Connection(near)
        assert [connection.play(read_reply()).code for _ in range(2)] == [220, 250]
        far.sendall(b"ye\r\n")
        assert connection.play(read_reply()) == Reply(221, "bye")


def test_both_ends_are_tapped_by_their_roles() -> None:
    said = list[Any]()
    with pair() as (near, far):
        far.sendall(b"QUIT\r\n")
        Connection(near, "S", said.append).play(one(Line()))
    assert [(word.role, word.data) for word in said] == [("C", b"QUIT\r\n")]


# --- closing time -----------------------------------------------------------------------------------------------------


def test_hang_up_wakes_an_idle_conversation() -> None:
    with pair() as (near, far):
        connection = Connection(near)
        with beside(lambda: connection.play(one(Line(idle=True)))) as result:
            end = time.monotonic() + GUARD
            while not connection.idle and time.monotonic() < end:
                time.sleep(0.001)
            connection.hang_up()
            assert far.recv(100) == b"421 Closing\r\n"
        assert result == [Closing]


def test_hang_up_before_the_conversation_is_idle() -> None:
    def talk() -> Conversation[Any]:
        assert (yield Line()) == b"DATA"
        yield b"250 kept\r\n"
        return (yield from one(Line(idle=True)))

    with pair() as (near, far):
        connection = Connection(near)
        connection.hang_up()
        far.sendall(b"DATA\r\n")
        assert connection.play(talk()) is Closing
        near.shutdown(socket.SHUT_WR)
        assert rest_of(far) == b"250 kept\r\n421 Closing\r\n"


def test_what_is_there_already_is_answered_before_an_idle_end_closes() -> None:
    with pair() as (near, far):
        connection = Connection(near)
        connection.hang_up()
        connection.channel.receive(b"NOOP\r\n")
        assert connection.play(one(Line(idle=True))) == b"NOOP"


@pytest.mark.parametrize("patience", [0.0, 0.2])
def test_linger_closes_in_any_case(patience: float) -> None:
    near, far = socket.socketpair()
    with far:
        linger(near, patience, b"221 bye\r\n")
        assert near.fileno() == -1 and rest_of(far) == b"221 bye\r\n"
    gone, far = socket.socketpair()
    far.close()
    linger(gone, patience, b"221 bye\r\n")
    assert gone.fileno() == -1
    linger(gone, patience)


def test_close_waits_for_nobody() -> None:
    with pair() as (near, far):
        start = time.monotonic()
        Connection(near).close()
        assert near.fileno() == -1 and rest_of(far) == b"" and time.monotonic() - start < GUARD / 2

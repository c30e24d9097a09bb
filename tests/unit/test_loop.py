"""The loop: what test_server.py does not ask of both stages. Most of it is played turn by turn, without its thread."""
from __future__ import annotations

import contextlib
import errno
import math
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from selectors import EVENT_READ
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

import pytest

from smtp_from_scratch import Client, Envelope, Server
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.connection import INBOX_LIMIT
from smtp_from_scratch.conversation import FLUSH, NOT_YET, Conversation, Line, Timeout, Want, Work, rehearse
from smtp_from_scratch.loop import (
    ACCEPTS,
    FLIGHTS,
    Call,
    Job,
    Loop,
    LoopServer,
    Worker,
    do_all,
    events_for,
    play,
    send_some,
)
from smtp_from_scratch.session import serve
from smtp_from_scratch.throttle import Pause
from smtp_from_scratch.wire import Reply
from tests.properties.test_splits import ENDS, LINES, Cutter, kept, shouting

GUARD = 30.0                                   # seconds after which a test gives up


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    far.settimeout(GUARD)
    with near, far:
        yield near, far


class Played:
    """A loop that turns when it is told to, and callers on it."""

    def __init__(self) -> None:
        self.loop = Loop({})
        self.ends: list[socket.socket] = []

    def call(self, conversation: Conversation[Any]) -> tuple[Call, socket.socket]:
        """One more caller: our end, and theirs."""
        near, far = socket.socketpair()
        far.settimeout(GUARD)
        self.ends.append(far)
        call = Call(near, "192.0.2.7", conversation)
        self.loop.calls[call] = None
        self.loop.attend(call)
        self.loop.flights.leave()
        return call, far

    def turn_until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + GUARD
        while not condition():
            assert time.monotonic() < end, "it never ends"
            self.loop.alarm = min(self.loop.alarm, time.monotonic() + 0.05)        # a turn may wait for ever
            self.loop.turn()


@pytest.fixture
def played() -> Iterator[Played]:
    played = Played()
    played.loop.worker.start()
    yield played
    for end in played.ends:
        end.close()
    for call in played.loop.calls:
        call.socket.close()
    played.loop.close()
    played.loop.worker.threads[0].join(GUARD)


def one(want: Want) -> Conversation[None]:
    """Wants one thing, and says what it was given."""
    answer = yield want
    yield f"{answer}\r\n".encode()


# --- the pieces -------------------------------------------------------------------------------------------------------


def test_a_line_takes_what_it_takes_and_the_rest_is_handed_back() -> None:
    with pair() as (near, far):
        near.setblocking(False)
        data = bytes(range(256)) * 40_000
        rest = send_some(near, data)
        assert 0 < len(rest) < len(data) and send_some(near, rest) == rest
        heard = far.recv(len(data))
        while len(heard) < len(data) - len(rest):
            heard += far.recv(len(data))
        assert heard + rest == data
        far.close()
        with pytest.raises(OSError):
            while True:
                send_some(near, b"x")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("nor this")])
def test_a_job_keeps_what_came_of_it(error: BaseException) -> None:
    def fail() -> None:
        raise error

    job, failing, channel = Job(lambda: 42), Job(fail), Channel()
    assert job.take(channel) is NOT_YET and failing.take(channel) is NOT_YET
    job.do()
    failing.do()
    assert job.take(channel) == 42
    with pytest.raises(type(error)):
        failing.take(channel)


def test_letters_of_a_batch_go_together_and_one_that_fails_fails_alone() -> None:
    order = list[str]()

    def letter(name: str) -> Callable[[], dict[str, str]]:
        def steps() -> Generator[list[Any], None, dict[str, str]]:
            order.append(f"{name} begins")
            yield []
            order.append(f"{name} ends")
            if name == "b":
                raise ValueError("the disk is full")
            return {name: "kept"}

        def deliver() -> dict[str, str]:
            raise AssertionError("not alone")

        deliver.together = steps  # type: ignore[attr-defined]
        return deliver

    jobs = [*(Job(letter(name)) for name in "abc"), Job(lambda: "another")]
    do_all(jobs)
    assert order == ["a begins", "b begins", "c begins", "a ends", "b ends", "c ends"]
    assert [job.outcome for job in jobs if job.error is None] == [{"a": "kept"}, {"c": "kept"}, "another"]
    assert isinstance(jobs[1].error, ValueError)


def test_letters_that_go_together_are_told_of_by_one_ring_and_others_one_by_one() -> None:
    worker, steps = Worker(), SimpleNamespace(together=lambda: nothing())

    def nothing() -> Generator[list[int], None, int]:
        yield []
        return 250

    several: list[Any] = [SimpleNamespace(job=Job(steps)) for _ in range(20)]  # type: ignore[arg-type]
    worker.hand_over(several)                  # before its thread begins: all are there when it looks
    worker.start()
    assert select.select([worker.bell], [], [], GUARD)[0]
    assert worker.collect() == several and worker.collect() == []

    held, told = threading.Event(), list[Any]()
    first, second = SimpleNamespace(job=Job(lambda: None)), SimpleNamespace(job=Job(lambda: held.wait(GUARD)))
    worker.hand_over([first, second])  # type: ignore[list-item]
    while not told:
        assert select.select([worker.bell], [], [], GUARD)[0]
        told += worker.collect()
    assert told == [first]                     # who is done does not wait for the next
    held.set()
    worker.close()
    worker.ring()                              # nobody is there, and that is no error
    for thread in worker.threads:
        thread.join(GUARD)
        assert not thread.is_alive()


# --- turns ------------------------------------------------------------------------------------------------------------


def test_work_of_one_turn_goes_to_the_worker_together(played: Played) -> None:
    doing, go_on = list[str](), threading.Event()

    def work() -> str:
        doing.append(threading.current_thread().name)
        go_on.wait(GUARD)
        return "done"

    ends = [played.call(one(Work(work)))[1] for _ in range(5)]
    assert len(played.loop.batch) == 5 and not doing
    collected, collect = list[int](), played.loop.worker.collect

    def counted() -> list[Call]:
        calls = collect()
        collected.append(len(calls))
        return calls

    played.loop.worker.collect = counted  # type: ignore[method-assign]
    go_on.set()
    played.turn_until(lambda: all(call.parting for call in played.loop.calls))
    assert [end.recv(100) for end in ends] == 5 * [b"done\r\n"]
    assert sum(collected) == 5 and doing == 5 * ["worker"]


class Together:
    """A delivery that may be called for several letters at once. It waits for all of them, or for its own turn."""

    at_once = 3

    def __init__(self) -> None:
        self.all = threading.Barrier(3)
        self.synced = {name: threading.Event() for name in ("slow", "quick")}

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> None:
        name = envelope.sender.partition("@")[0]
        assert self.synced[name].wait(GUARD) if name in self.synced else self.all.wait(GUARD) >= 0


def test_a_delivery_that_may_be_called_at_once_is() -> None:
    """Each of three letters waits until all three are with it: one worker would never come to the second."""
    with Server(deliver=Together(), stage="loop") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(*server.address)) for _ in range(3)]
        threads = [threading.Thread(target=smtp.sendmail, args=("ana@rio.example", "kenji@tokyo.example", b"x"))
                   for smtp in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GUARD)
        assert not any(thread.is_alive() for thread in threads)


def test_a_250_waits_for_its_own_delivery_and_for_no_other() -> None:
    deliver = Together()
    with Server(deliver=deliver, stage="loop") as server, contextlib.ExitStack() as stack:
        lines = {}
        for name in deliver.synced:
            sock = lines[name] = stack.enter_context(socket.create_connection(server.address, GUARD))
            said = f"HELO x\r\nMAIL FROM:<{name}@rio.example>\r\nRCPT TO:<kenji@tokyo.example>\r\nDATA\r\n"
            sock.sendall(said.encode())
            while not (heard := sock.recv(1000)).startswith(b"354") and b"\r\n354" not in heard:
                pass
            sock.sendall(b"Hi\r\n.\r\n")
        deliver.synced["quick"].set()
        assert lines["quick"].recv(100).startswith(b"250")
        lines["slow"].setblocking(False)
        with pytest.raises(BlockingIOError):
            lines["slow"].recv(100)
        lines["slow"].settimeout(GUARD)
        deliver.synced["slow"].set()
        assert lines["slow"].recv(100).startswith(b"250")


def test_a_delivery_that_never_blocks_is_called_by_the_loop_itself() -> None:
    threads = list[str]()

    def keep(envelope: Envelope, body: IO[bytes]) -> None:
        threads.append(threading.current_thread().name)

    for at_once in (0, 1):
        keep.at_once = at_once  # type: ignore[attr-defined]
        with Server(deliver=keep, stage="loop") as server, Client(*server.address) as smtp:
            smtp.sendmail("ana@rio.example", "kenji@tokyo.example", b"x")
    assert threads == ["doorman", "worker"]


@pytest.mark.parametrize("deliver, count", [(None, 1), (lambda envelope, body: None, 1), (Together(), 3)])
def test_whoever_says_nothing_is_called_for_one_letter_at_a_time(deliver: Any, count: int) -> None:
    server = Server(deliver=deliver, stage="loop")
    stage = server._stage
    server.stop()
    assert isinstance(stage, LoopServer) and stage.loop.worker.alone.threads == count


def test_what_was_said_before_work_leaves_first_and_nobody_is_heard_meanwhile(played: Played) -> None:
    """Octets that come while others work wait in the system's buffer, and cannot fill our memory."""
    go_on = threading.Event()

    def talk() -> Conversation[None]:
        yield b"354 go on\r\n"
        yield from one(Work(lambda: go_on.wait(GUARD)))
        yield (yield Line()) + b"\r\n"

    call, end = played.call(talk())
    assert end.recv(100) == b"354 go on\r\n" and events_for(call) == 0
    end.sendall(b"NOOP\r\n")
    other, far = played.call(one(Line()))
    far.sendall(b"QUIT\r\n")
    played.turn_until(lambda: other.parting)
    assert far.recv(100) == b"b'QUIT'\r\n" and len(call.channel.inbox) == 0 and call.watched == 0
    go_on.set()
    played.turn_until(lambda: call.parting)
    assert end.recv(100) == b"True\r\nNOOP\r\n"


def test_a_pause_needs_no_thread(played: Played) -> None:
    call, end = played.call(one(Pause(lambda: pytest.fail("nobody sleeps"), 0.05)))
    assert not played.loop.batch and events_for(call) == 0
    played.turn_until(lambda: call.parting)
    assert end.recv(100) == b"None\r\n" and not played.loop.worker.alone.waiting


def test_work_in_hand_is_waited_for_when_the_session_s_time_is_over(played: Played) -> None:
    """And then it is over: the answer is said, and nothing else is waited for."""
    go_on = threading.Event()

    def talk() -> Conversation[None]:
        yield f"{(yield Work(lambda: go_on.wait(GUARD)))}\r\n".encode()
        try:
            yield Line()
        except Timeout:
            yield b"421\r\n"

    call, end = played.call(talk())
    played.loop.alarm = 0.0
    played.loop.turn()                         # the work is handed over
    call.channel.deadline = call.channel.now()
    played.loop.sweep(time.monotonic() + 1_000_000)
    assert call.job and not call.parting and call.deadline == math.inf
    go_on.set()
    played.turn_until(lambda: call.parting)
    assert end.recv(100) == b"True\r\n421\r\n"


def test_nobody_has_more_than_a_turn_at_a_time(played: Played) -> None:
    def flood() -> Conversation[None]:
        for _ in range(3 * FLIGHTS):
            yield 1000 * b"x"
            yield FLUSH

    call, end = played.call(flood())
    assert call.busy and call in played.loop.busy and events_for(call) == 0
    played.loop.turn()
    played.loop.turn()
    played.turn_until(lambda: call.parting)
    heard = 0
    while piece := end.recv(65_536):
        heard += len(piece)
    assert heard == 3 * FLIGHTS * 1000


def test_both_directions_are_bounded(played: Played) -> None:
    """An end that says a lot and reads nothing: we hear until the inbox is full, and no more."""
    def talk() -> Conversation[None]:
        yield bytes(5_000_000)
        yield from one(Line())

    call, end = played.call(talk())
    assert call.unsent
    end.setblocking(False)
    sent, most = 0, 0
    for _ in range(400):
        with contextlib.suppress(BlockingIOError):
            sent += end.send(bytes(65_536))
        played.loop.alarm = 0.0
        played.loop.turn()
        most = max(most, len(call.channel.inbox))
    assert INBOX_LIMIT <= most <= INBOX_LIMIT + 65_536 and sent > most
    assert call.unsent and call.deadline < time.monotonic() + 181


def test_an_end_that_takes_nothing_costs_one_timeout(played: Played) -> None:
    told = list[Any]()

    def talk() -> Conversation[None]:
        try:
            yield bytes(5_000_000)
            yield Line()
        except Timeout as error:
            told.append(type(error))
            yield b"421 too slow\r\n"

    near, far = socket.socketpair()
    far.settimeout(GUARD)
    played.ends.append(far)
    call = Call(near, "192.0.2.7", talk())
    call.channel.longest_wait = 0.1
    played.loop.calls[call] = None
    played.loop.attend(call)
    played.turn_until(lambda: call.parting)
    assert told == [Timeout] and call.write_failed and call.goodbye() == b""


def test_a_broken_call_ends_alone_and_says_so(played: Played, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise SystemExit("from a function of somebody else's")

    def bug() -> Conversation[None]:
        yield Line()
        raise ZeroDivisionError("a bug")

    def break_off() -> Conversation[None]:
        yield Line()
        raise ConnectionAbortedError("no TLS any more")

    calls = [played.call(talk) for talk in (one(Work(fail)), bug(), break_off(), one(Line()))]
    for _, end in calls:
        end.sendall(b"QUIT\r\n")
    played.turn_until(lambda: all(call.parting for call, _ in calls))
    assert [end.recv(100) for _, end in calls] == [b"", b"", b"", b"b'QUIT'\r\n"]
    text = caplog.text
    assert "somebody else's" in text and "a bug" in text and played.loop.worker.threads[0].is_alive()


def test_whoever_plays_decides_nothing_about_time() -> None:
    """`play` itself waits for nobody, and says whether it had enough."""
    with pair() as (near, far):
        call = Call(near, "192.0.2.7", one(Line()))
        assert play(call) is False and not call.actor.done
        call.channel.receive(b"QUIT\r\n")
        assert play(call) is False and call.actor.done
        call.set_off()
        assert far.recv(100) == b"b'QUIT'\r\n"


# --- the door ---------------------------------------------------------------------------------------------------------


def greeting_only(peer: str) -> Conversation[None]:
    yield Reply(220, "hello")
    yield Line()


def test_a_storm_of_callers_is_let_in_a_few_at_a_time() -> None:
    server = LoopServer(greeting_only)
    server.door.open()
    with contextlib.ExitStack() as stack:
        for _ in range(2 * ACCEPTS + 5):
            stack.enter_context(socket.create_connection(server.address, GUARD))
        present = []
        for _ in range(3):
            server.loop.turn()
            present.append(len(server.callers))
        assert present[0] <= ACCEPTS and present[1] <= 2 * ACCEPTS < present[2]
        for call in server.callers:
            call.socket.close()
    server.stop()


def test_without_file_descriptors_the_door_is_shut_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    server, tries = LoopServer(greeting_only), list[float]()
    listener = server.listener

    class Exhausted:
        """A listening socket that fails three times."""

        def __getattr__(self, name: str) -> Any:
            return getattr(listener, name)

        def accept(self) -> Any:
            tries.append(time.monotonic())
            if len(tries) <= 3:
                raise OSError(errno.EMFILE, "too many open files")
            return listener.accept()

    server.door.listener = Exhausted()  # type: ignore[assignment]
    with server, socket.create_connection(server.address, GUARD) as caller:
        caller.settimeout(GUARD)
        assert caller.recv(100) == b"220 hello\r\n"
    assert len(tries) >= 4 and tries[3] - tries[0] >= 0.15          # it does not spin


def test_a_door_that_is_shut_is_looked_at_again_whatever_a_sweep_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LoopServer(greeting_only)
    door, loop = server.door, server.loop
    door.open()
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", mock.Mock(side_effect=OSError(errno.EMFILE, "too many open files")))
        door.answer(EVENT_READ)
    assert server.listener not in loop.selector.get_map() and door.shut_until < math.inf
    loop.sweep(time.monotonic())
    assert loop.alarm == math.inf              # nobody else waits for anything
    door.shut_until = time.monotonic() + GUARD
    door.open()
    assert loop.alarm == door.shut_until and server.listener not in loop.selector.get_map()
    door.shut_until = time.monotonic()
    door.open()
    assert server.listener in loop.selector.get_map()
    server.stop()


def test_a_stage_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="threads, loop"):
        Server(stage="fibers")


# --- cuts -------------------------------------------------------------------------------------------------------------


def test_cuts_do_not_change_what_the_loop_makes_of_nonsense(played: Played) -> None:
    """The same octets, cut at random and played over a socket, as in one piece in rehearsal."""
    rng = random.Random(2026)
    for number in range(60):
        octets = b"".join(rng.choice(LINES) + rng.choice(ENDS) for _ in range(rng.randint(1, 25)))
        if rng.random() < 0.7:
            octets = b"\r\n".join([*LINES[:3], b"DATA", octets])
        letters, session = kept()
        expected = rehearse(shouting(octets), serve(session), patient=True).said
        found, session = kept()
        call, end = played.call(serve(session))
        for piece in Cutter(number)(octets):
            end.sendall(piece)
            played.loop.alarm = 0.0            # nothing to do is no reason to wait
            played.loop.turn()
        end.shutdown(socket.SHUT_WR)
        played.turn_until(lambda call=call: call.parting)
        heard = b""
        while data := end.recv(65_536):
            heard += data
        said = b"".join(word.data for word in expected if word.role == "S")
        assert found == letters and heard[:4] == b"220 " and said.startswith(heard)
        assert said[len(heard) :][:4] in (b"", b"421 ")
        end.close()


# --- a good client among bad ones -------------------------------------------------------------------------------------


def test_a_good_client_beside_idle_ones_trickles_and_an_endless_line() -> None:
    """2,000 callers who say nothing, 200 who say an octet at a time, and a line that does not end (GOALS T8)."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * 2_250 + 200
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip("this machine has too few file descriptors for so many callers")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    over = threading.Event()

    def trickle(callers: list[socket.socket]) -> None:
        while not over.is_set():
            for caller in callers:
                with contextlib.suppress(OSError):
                    caller.send(b"x")

    def endless(address: tuple[str, int]) -> None:
        while not over.is_set():               # 421 after a megabyte, and then again
            with contextlib.suppress(OSError), socket.create_connection(address, GUARD) as caller:
                while not over.is_set():
                    caller.sendall(65_536 * b"x")

    try:
        with Server(stage="loop", max_connections=3000, max_connections_per_address=3000) as server, \
                contextlib.ExitStack() as stack:
            callers = [stack.enter_context(socket.create_connection(server.address, GUARD)) for _ in range(2_200)]
            bad = [threading.Thread(target=trickle, args=(callers[:200],), daemon=True),
                   threading.Thread(target=endless, args=(server.address,), daemon=True)]
            for thread in bad:
                thread.start()
            with Client(*server.address, timeout=GUARD) as smtp:
                for number in range(20):
                    receipt = smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], b"letter %d\r\n" % number)
                    assert receipt.accepted
            assert len(server.wait_for(20)) == 20 and len(server._stage.callers) >= 2_200
            over.set()
            for thread in bad:
                thread.join(GUARD)
    finally:
        over.set()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_delivery_that_takes_its_time_holds_up_no_dialogue() -> None:
    go_on = threading.Event()

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        go_on.wait(GUARD)

    def send() -> None:
        with Client(*server.address, timeout=GUARD) as smtp:
            smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], b"slow\r\n")

    with Server(stage="loop", deliver=deliver) as server:
        slow = threading.Thread(target=send, daemon=True)
        slow.start()
        with Client(*server.address, timeout=GUARD) as smtp:
            for _ in range(50):
                assert smtp.noop().code == 250
        go_on.set()
        slow.join(GUARD)
        assert not slow.is_alive()

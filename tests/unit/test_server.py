"""What callers get wrong, over real sockets: each gets its reply or is closed at a limit; the next one is served."""
from __future__ import annotations

import contextlib
import errno
import logging
import select
import smtplib
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import pytest

from smtp_from_scratch import Envelope, Reply, Server, loop
from smtp_from_scratch import server as server_module
from smtp_from_scratch.conversation import FLUSH, Conversation
from smtp_from_scratch.loop import LoopServer
from smtp_from_scratch.server import ThreadedServer, listen_on

Address = tuple[str, int]
TRANSACTION = b"HELO rio.example\r\nMAIL FROM:<ana@rio.example>\r\nRCPT TO:<kenji@tokyo.example>\r\nDATA\r\n"

pytestmark = pytest.mark.usefixtures("stage")


class Caller:
    """Somebody on the line who says whatever octets they like."""

    def __init__(self, address: Address, receive_buffer: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(8)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def code(self) -> int:
        """The code of the next reply; 0 when the server has hung up."""
        line = b"250-"
        while line[3:4] == b"-":
            try:
                line = self.file.readline()
            except ConnectionError:
                return 0
        return int(line[:3] or b"0")

    def codes(self, count: int) -> list[int]:
        return [self.code() for _ in range(count)]

    def all_codes(self) -> list[int]:
        """The codes of all replies until the server hangs up."""
        return list(iter(self.code, 0))

    def vanish(self) -> None:
        """Close with a RST, as a computer does whose power failed and came back."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def running(**options: Any) -> Iterator[Server]:
    """A server; afterwards somebody is served as ever, and nobody is left on the line."""
    with Server(hostname="tokyo.example", **options) as server:
        yield server
        before = len(server.messages)
        with smtplib.SMTP(*server.address, timeout=5) as smtp:
            smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], "Still there?\r\n")
        if "deliver" not in options:
            assert server.wait_for(before + 1)[-1].data == b"Still there?\r\n"
        nobody_left(server)


def nobody_left(server: Server, within: float = 4.0) -> None:
    assert eventually(lambda: not server._stage.callers, within), f"still there: {server._stage.callers}"


def eventually(condition: Callable[[], bool], within: float = 4.0) -> bool:
    end = time.monotonic() + within
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.005)
    return true


@contextlib.contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak:,} octets of memory at the peak, {limit:,} allowed"


# --- what one line can get wrong ------------------------------------------------------------------------------------

MAIL = b"MAIL FROM:<ana@rio.example>\r\n"


@pytest.mark.parametrize(("said", "codes"), [
    pytest.param(b"NOOP " + b"x" * 600 + b"\r\n", [500], id="oversize"),
    pytest.param(b"NOOP " + b"x" * 60_000 + b"\r\n", [500], id="very-oversize"),
    pytest.param(b"NOOP " + b"x" * 505 + b"\r\n", [250], id="512-octets-are-allowed"),
    pytest.param(b"NOOP " + b"x" * 506 + b"\r\n", [500], id="513-are-not"),
    pytest.param(b"XYZZY\r\n", [500], id="unknown-verb"),
    pytest.param(b"\r\n", [500], id="empty-line"),
    pytest.param(b"EXPN everybody\r\n", [502], id="known-but-not-done"),
    pytest.param(b"RCPT TO:<kenji@tokyo.example>\r\nDATA\r\n", [503, 503], id="wrong-order"),
    pytest.param(MAIL + MAIL + b"DATA\r\nRSET\r\n", [250, 503, 503, 250], id="wrong-order-in-a-transaction"),
    pytest.param(b"MAIL ana@rio.example\r\nMAIL FROM:ana\r\nMAIL FROM:<a b@x>\r\n", [501] * 3, id="bad-syntax"),
    pytest.param(b"DATA now\r\n", [503], id="order-before-syntax"),
    pytest.param(b"HELP XYZZY\r\n", [504], id="no-such-help"),
    pytest.param(b"NOOP\nNOOP\r\nNOOP\r\n", [500, 500, 250], id="bare-LF"),
    pytest.param(b"NOOP a\rRSET\r\n", [500], id="bare-CR"),
    pytest.param(b"NOOP a\0b\r\n", [501], id="NUL"),
    pytest.param("NOOP é\r\n".encode(), [501], id="8-bit-octets"),
    pytest.param(b"\xff\xfe\xfd\r\n", [500], id="noise"),
])
def test_a_bad_line_gets_its_code_and_the_session_goes_on(said: bytes, codes: list[int]) -> None:
    with running() as server, Caller(server.address) as caller:
        caller.say(b"HELO rio.example\r\n" + said + b"NOOP\r\n")
        assert caller.codes(3 + len(codes)) == [220, 250, *codes, 250]
        caller.say(TRANSACTION + b"A letter.\r\n.\r\nQUIT\r\n")
        assert caller.all_codes() == [250, 250, 250, 354, 250, 221]
        assert server.wait_for(1)[0].data == b"A letter.\r\n"


def test_nonsense_without_end_is_ended() -> None:
    with running() as server, Caller(server.address) as caller:
        caller.say(b"XYZZY\r\n" * 1000)
        assert caller.all_codes() == [220] + 20 * [500] + [421]


def test_a_line_of_25_megabytes_without_an_end() -> None:
    with running() as server, memory_below(3_000_000), Caller(server.address) as caller:
        replies: list[int] = []
        reader = threading.Thread(target=lambda: replies.extend(caller.all_codes()), daemon=True)
        reader.start()
        with contextlib.suppress(ConnectionError):     # the server may hang up before we are done
            for _ in range(400):
                caller.say(b"x" * 65_536)
        reader.join(5)
        assert replies == [220, 421]


# --- bodies ---------------------------------------------------------------------------------------------------------


def test_a_body_of_one_line_of_25_megabytes_streams() -> None:
    sizes: list[int] = []

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        sizes.append(sum(map(len, iter(lambda: body.read(65_536), b""))))

    with running(deliver=deliver) as server:
        with memory_below(6_000_000), Caller(server.address) as caller:
            caller.say(TRANSACTION)
            for _ in range(400):
                caller.say(b"x" * 65_536)
            caller.say(b"\r\n.\r\nQUIT\r\n")
            assert caller.all_codes() == [220, 250, 250, 250, 354, 250, 221]
        assert sizes == [400 * 65_536 + 2]


def test_a_body_beyond_the_limit_is_read_to_its_end_and_refused() -> None:
    with running(max_size=100_000) as server, memory_below(6_000_000), Caller(server.address) as caller:
        caller.say(TRANSACTION)
        for _ in range(400):
            caller.say(b"y" * 65_534 + b"\r\n")
        caller.say(b".\r\nNOOP\r\nQUIT\r\n")
        assert caller.all_codes() == [220, 250, 250, 250, 354, 552, 250, 221]
        assert server.messages == []


@pytest.mark.parametrize("how", ["close", "vanish"])
@pytest.mark.parametrize("body", [b"", b"Dear Kenji,\r\n", b"Dear Kenji,\r\n.\r", b"x" * 3_000_000], ids=len)
def test_a_client_that_vanishes_in_the_middle_of_a_body_delivers_nothing(how: str, body: bytes) -> None:
    with running() as server:
        caller = Caller(server.address)
        caller.say(TRANSACTION)
        assert caller.codes(5) == [220, 250, 250, 250, 354]
        caller.say(body)
        getattr(caller, how)()
        nobody_left(server)
        assert server.messages == []


def test_a_delivery_that_fails_is_451_and_the_letter_stays_with_the_client(caplog: pytest.LogCaptureFixture) -> None:
    broken = [True]

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        if broken and broken.pop():
            raise OSError(errno.ENOSPC, "no space left")

    with running(deliver=deliver) as server, Caller(server.address) as caller:
        caller.say(TRANSACTION + b"x\r\n.\r\n" + TRANSACTION + b"x\r\n.\r\nQUIT\r\n")
        assert caller.all_codes() == [220, 250, 250, 250, 354, 451, 250, 250, 250, 354, 250, 221]
    assert "no space left" in caplog.text


# --- time -----------------------------------------------------------------------------------------------------------


def test_who_says_nothing_is_sent_away() -> None:
    with running(timeout=0.2) as server, Caller(server.address) as caller:
        start = time.monotonic()
        assert caller.all_codes() == [220, 421]
        assert 0.15 < time.monotonic() - start < 2


@pytest.mark.parametrize("before", [b"", b"HELO rio.example\r\n", TRANSACTION], ids=["greeting", "ready", "body"])
def test_one_octet_at_a_time_does_not_reset_the_clock(before: bytes) -> None:
    with running(timeout=0.3) as server, Caller(server.address) as caller:
        caller.say(before)
        replies = caller.codes(1 + before.count(b"\r\n"))
        start = time.monotonic()
        while not select.select([caller.socket], [], [], 0.02)[0]:     # until the server has something to say
            caller.say(b"x")
            assert time.monotonic() - start < 2, "the server puts up with a trickle"
        assert caller.all_codes() == [421] and 421 not in replies
        assert server.messages == []


@pytest.mark.parametrize("said", [
    pytest.param(b"NOOP\r\n" * 100_000, id="NOOP"),
    pytest.param(b"VRFY ana\r\n" * 100_000, id="VRFY"),
    pytest.param(b"HELO rio.example\r\n" + MAIL + b"HELP\r\n" * 100_000, id="HELP-in-a-transaction"),
])
def test_who_never_reads_is_cut_off(said: bytes) -> None:
    with running(timeout=0.4) as server:
        server._stage.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with memory_below(5_000_000), Caller(server.address, receive_buffer=4096) as caller:
            caller.socket.settimeout(0.1)
            end, view = time.monotonic() + 4, memoryview(said)
            assert eventually(lambda: bool(server._stage.callers))
            with contextlib.suppress(ConnectionError):
                while server._stage.callers and time.monotonic() < end:
                    with contextlib.suppress(TimeoutError):
                        view = view[caller.socket.send(view[:65_536]) :] if view else view
                        if not view:
                            time.sleep(0.02)
            nobody_left(server, within=max(0.5, end - time.monotonic()))


# --- how many -------------------------------------------------------------------------------------------------------


def test_too_many_callers_hear_421_and_a_free_place_is_given_away() -> None:
    with running(max_connections=2) as server:
        with Caller(server.address) as first, Caller(server.address) as second:
            assert [first.code(), second.code()] == [220, 220]
            for _ in range(3):
                with Caller(server.address) as third:
                    assert third.all_codes() == [421]
            first.say(b"QUIT\r\n")
            assert first.all_codes() == [221]
            first.close()
            assert eventually(lambda: len(server._stage.callers) == 1, within=2)
            with Caller(server.address) as third:
                assert third.code() == 220
                third.say(b"QUIT\r\n")
                assert third.all_codes() == [221]
        nobody_left(server)


def test_64_callers_at_once() -> None:
    def send(number: int) -> None:
        try:
            with smtplib.SMTP(*server.address, timeout=10) as smtp:
                everybody.wait(10)
                for letter in range(3):
                    smtp.sendmail(f"c{number}@rio.example", [f"l{letter}@tokyo.example"], text(number, letter))
        except Exception as error:
            errors.append(error)

    def text(number: int, letter: int) -> bytes:
        return f"From {number}, letter {letter}\r\n".encode() * (1 + 500 * letter)

    errors: list[Exception] = []
    everybody = threading.Barrier(64)
    with running() as server:
        threads = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)
        assert errors == []
        expected = {(f"c{n}@rio.example", f"l{i}@tokyo.example", text(n, i)) for n in range(64) for i in range(3)}
        got = [(m.envelope.sender, *m.envelope.recipients, m.data) for m in server.wait_for(192)]
        assert len(got) == 192 and set(got) == expected


def test_200_silent_callers_hinder_nobody() -> None:
    with running(timeout=30) as server, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Caller(server.address)) for _ in range(200)]
        assert [caller.code() for caller in silent] == 200 * [220]
        with smtplib.SMTP(*server.address, timeout=5) as smtp:
            assert smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], "x") == {}
        stack.close()


# --- who has finished speaking --------------------------------------------------------------------------------------


def test_half_closed_client_gets_every_reply() -> None:
    with running() as server, Caller(server.address) as caller:
        caller.say(TRANSACTION + b"x\r\n.\r\nNOOP\r\n")
        caller.socket.shutdown(socket.SHUT_WR)
        assert caller.all_codes() == [220, 250, 250, 250, 354, 250, 250]
        assert len(server.messages) == 1


def test_half_closed_client_gets_more_replies_than_the_buffers_hold() -> None:
    count = 15_000
    with running(timeout=5, max_idle_commands=2 * count) as server:
        server._stage.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with Caller(server.address, receive_buffer=4096) as caller:
            caller.say(b"HELO rio.example\r\n" + MAIL + count * b"NOOP\r\n")
            caller.socket.shutdown(socket.SHUT_WR)
            time.sleep(0.1)                            # the server fills every buffer and has to wait for us
            assert caller.all_codes() == [220, 250, 250] + count * [250]


def test_last_words_arrive_though_octets_are_unread() -> None:
    with running() as server:
        for _ in range(20):
            with Caller(server.address) as caller:
                caller.say(b"QUIT\r\n" + b"x" * 300_000)
                assert caller.all_codes() == [220, 221]


# --- the graceful end -----------------------------------------------------------------------------------------------


def test_stop_sends_the_idle_away_and_lets_a_transaction_finish() -> None:
    server = Server(hostname="tokyo.example")
    server.start()
    with Caller(server.address) as new, Caller(server.address) as idle, Caller(server.address) as busy:
        assert new.code() == 220
        idle.say(b"HELO rio.example\r\n")
        assert idle.codes(2) == [220, 250]
        busy.say(TRANSACTION + b"Dear Kenji,\r\n")
        assert busy.codes(5) == [220, 250, 250, 250, 354]
        start = time.monotonic()
        stopping = threading.Thread(target=server.stop, args=(5.0,), daemon=True)
        stopping.start()
        assert new.all_codes() == [421] and idle.all_codes() == [421]
        with pytest.raises(OSError):
            Caller(server.address)
        assert stopping.is_alive()
        busy.say(b"the rest.\r\n.\r\n")
        assert busy.all_codes() == [250, 421]
        for caller in (new, idle, busy):
            caller.close()
        stopping.join(4)
        assert not stopping.is_alive() and time.monotonic() - start < 3
    assert [letter.data for letter in server.messages] == [b"Dear Kenji,\r\nthe rest.\r\n"]


def test_stop_with_a_transaction_that_never_ends_takes_its_grace_and_says_so() -> None:
    server = Server()
    server.start()
    with Caller(server.address) as caller, Caller(server.address) as between:
        caller.say(TRANSACTION + b"Dear Kenji,\r\n")
        between.say(b"HELO rio.example\r\n" + MAIL)
        assert (caller.codes(5), between.codes(3)) == ([220, 250, 250, 250, 354], [220, 250, 250])
        start = time.monotonic()
        stopping = threading.Thread(target=server.stop, args=(0.3,), daemon=True)
        stopping.start()
        assert caller.all_codes() == [421] and between.all_codes() == [421]
        caller.close(), between.close()
        stopping.join(3)
        assert not stopping.is_alive() and 0.25 < time.monotonic() - start < 1.5
    assert server.messages == [] and not server._stage.callers


def test_stop_waits_neither_for_silent_callers_nor_for_those_who_never_read() -> None:
    server = Server()
    server._stage.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server.start()
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(Caller(server.address, receive_buffer=4096)) for _ in range(10)]
        assert [caller.code() for caller in callers] == 10 * [220]
        callers[0].say(b"HELO rio.example\r\n" + MAIL + b"HELP\r\n" * 30_000)     # and reads no more
        time.sleep(0.1)
        server.stop(grace=0.2)
        nobody_left(server, within=60)                 # a send may take three minutes, and silence five


def test_stop_does_not_wait_for_deliveries_that_hang() -> None:
    go_on, begun = threading.Event(), list[str]()

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        begun.append(envelope.sender)
        go_on.wait(120)

    server = Server(deliver=deliver)
    server.start()
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            caller = stack.enter_context(Caller(server.address))
            caller.say(TRANSACTION + b"x\r\n.\r\n")
            assert caller.codes(5)[-1] == 354
        server.stop(grace=0.1)
        assert 1 <= len(begun) <= len(server._stage.callers), "stop has waited for them"     # others may have left
        go_on.set()
        nobody_left(server)


def test_stop_while_callers_pour_in_leaves_nobody() -> None:
    def call() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), Caller(server.address) as caller:
                caller.all_codes()

    for _ in range(5):
        server, over = Server(), threading.Event()
        server.start()
        threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        server.stop(grace=2)
        left = list(server._stage.callers)
        over.set()
        for thread in threads:
            thread.join(5)
        assert not left and not any(thread.is_alive() for thread in threads)


def test_stop_twice_and_stop_without_start() -> None:
    server = Server()
    server.stop()
    server.stop()
    with Server() as server:
        pass
    server.stop()


# --- addresses ------------------------------------------------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        listen_on("::1", 0).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6() -> None:
    with Server("::1") as server:
        assert server.address[0] == "::1" and server.address[1] > 0
        with Caller(server.address) as caller:
            caller.say(TRANSACTION + b"x\r\n.\r\nQUIT\r\n")
            assert caller.all_codes()[-1] == 221
        assert server.messages[0].envelope.peer == "::1"


@pytest.mark.skipif(not (has_ipv6() and socket.has_dualstack_ipv6()), reason="no socket here takes both IPv4 and IPv6")
def test_a_socket_of_ipv6_takes_ipv4_callers() -> None:
    """As at `::`: where the system would keep IPv4 out, a mapped address cannot even be bound."""
    with listen_on("::ffff:127.0.0.1", 0) as listener:
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            sock, (peer, *_) = listener.accept()
            sock.close()
    assert peer == "::ffff:127.0.0.1"


def test_port_0_finds_a_free_port_and_a_busy_one_is_an_error() -> None:
    with Server() as first, Server() as second:
        assert first.address[1] != second.address[1] and 0 not in (first.address[1], second.address[1])
        with pytest.raises(OSError) as caught:
            Server(*first.address)
        assert caught.value.errno == errno.EADDRINUSE
    with Server(*first.address) as again:              # at once after the first has ended
        assert again.address == first.address


# --- a stage is not to be shaken by what it plays --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ThreadedServer, LoopServer])
def test_a_conversation_that_fails_ends_one_connection_only(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    def conversation(peer: str) -> Conversation[None]:
        yield Reply(220, "hello")
        yield FLUSH
        yield from failing.pop() if failing else ()
        yield Reply(221, "goodbye")

    def fail() -> Iterable[Any]:
        raise ZeroDivisionError("a bug in a handler")
        yield

    failing = [fail()]
    with caplog.at_level(logging.ERROR), kind(conversation) as server:
        with Caller(server.address) as caller:
            assert caller.all_codes() == [220]
        with Caller(server.address) as caller:
            assert caller.all_codes() == [220, 221]
    assert "a bug in a handler" in caplog.text


@pytest.mark.parametrize("stage", ["threads"], indirect=True)
def test_no_more_threads_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with running() as server:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with Caller(server.address) as caller:
                assert caller.all_codes() == []
        assert not server._stage.callers


def test_a_caller_that_is_gone_before_it_is_admitted(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise OSError(errno.EINVAL, "the socket is not connected")

    with running() as server:
        with monkeypatch.context() as patch:
            patch.setattr(*{"threads": (server_module, "Connection"), "loop": (loop, "Call")}[stage], gone)
            with Caller(server.address) as caller:
                assert caller.all_codes() == []

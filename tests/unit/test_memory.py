"""The stage in memory: both ends in one thread, sockets that know only this process, threads without threads."""
from __future__ import annotations

import errno
import gc
import hashlib
import selectors
import smtplib
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from email.message import EmailMessage
from types import SimpleNamespace
from typing import IO

import pytest
from IPython.core.events import EventManager, available_events

from smtp_from_scratch import Client, Server, memory
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.memory import browser
from smtp_from_scratch.memory.fibers import Fibers, Handle, Lock
from smtp_from_scratch.memory.stretch import pbkdf2_hmac
from smtp_from_scratch.memory.turns import NobodyLeft, Turns, monotonic
from smtp_from_scratch.refusals import SMTPTimeout
from smtp_from_scratch.server import ThreadedServer
from smtp_from_scratch.wire import Reply


@pytest.fixture(autouse=True)
def network() -> Iterator[memory.Network]:
    threads = threading.active_count()
    with memory.installed() as network:
        yield network
    assert threading.active_count() <= threads, "nothing here starts a thread"


def letter(text: str = "Hello.\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "aiko@tokyo.example", "ben@berlin.example", "hi"
    message.set_content(text)
    return message


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


# --- a client and a server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["threads", "loop"])
def test_a_client_that_waits_lets_the_server_play_on(stage: str) -> None:
    with Server(stage=stage) as server, Client(*server.address) as client:
        receipt = client.send_message(letter())
        assert receipt.recipients["ben@berlin.example"].code == 250
        assert [received.envelope.sender for received in server.messages] == ["aiko@tokyo.example"]
        assert {"PIPELINING", "CHUNKING"} < client.offered.keys()


def test_smtplib_talks_to_it() -> None:
    with Server() as server:
        with smtplib.SMTP(*server.address) as client:
            assert client.send_message(letter()) == {}
            assert client.noop()[0] == 250
        assert server.messages[0].message.get_content() == "Hello.\n"


def test_two_clients_take_turns_and_a_large_message_passes() -> None:
    with Server() as server, Client(*server.address) as one, Client(*server.address) as other:
        for client in (one, other, one):
            client.send_message(letter("x" * 70 + "\n" * 1 + ("y" * 70 + "\n") * 60_000))
        assert [len(received.data) > 4_000_000 for received in server.messages] == [True] * 3


def test_a_server_may_be_a_client_of_another() -> None:
    def relay(envelope: Envelope, body: IO[bytes]) -> Reply:
        with Client(*last.address) as client:
            client.sendmail(envelope.sender, envelope.recipients, body.read())
        return Reply(250, "passed on")

    with Server() as last, Server(deliver=relay) as first, Client(*first.address) as client:
        assert client.send_message(letter()).reply == Reply(250, "passed on", "2.6.0")
        assert len(last.messages) == 1


def test_places_are_limited_and_a_server_that_stops_says_so() -> None:
    with Server(max_connections=1) as server:
        line = socket.create_connection(server.address)
        assert line.recv(1000).startswith(b"220 ")
        refused = socket.create_connection(server.address)
        assert refused.recv(1000).startswith(b"421 ")
    assert line.recv(1000).startswith(b"421 ") and line.recv(1000) == b""
    with pytest.raises(ConnectionRefusedError):
        Client(*server.address)


def test_a_caller_that_is_gone_leaves_no_trace(network: memory.Network) -> None:
    with Server() as server:
        players = len(network.turns.players)
        socket.create_connection(server.address).close()
        with Client(*server.address):
            pass
        with Client(*server.address) as client:
            client.noop()
            assert len(network.turns.players) == players + 1
    with pytest.raises(NobodyLeft):
        network.turns.wait(lambda: False)
    assert network.turns.players == []


def test_time_that_nobody_needs_is_skipped(network: memory.Network) -> None:
    begun = monotonic()
    with Server(timeout=250.0) as server:
        line = socket.create_connection(server.address)
        assert line.recv(1000).startswith(b"220 ")
        assert line.recv(1000).startswith(b"421 ")
    assert network.turns.skipped >= 249.0
    assert monotonic() - begun < 100


def test_a_client_hears_that_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(SMTPTimeout):
        Client(*listener.getsockname()[:2], timeout=3.0)


def test_a_session_that_fails_is_logged_and_the_line_closed(caplog: pytest.LogCaptureFixture) -> None:
    def conversation(peer: str) -> Iterator[bytes]:
        yield b"220 hello\r\n"
        raise RuntimeError("a bug")

    with ThreadedServer(conversation) as server:  # type: ignore[arg-type]
        line = socket.create_connection(server.address)
        assert (line.recv(1000), line.recv(1000)) == (b"", b"") and "a bug" in caplog.text
        assert not server.callers


# --- sockets ---------------------------------------------------------------------------------------------------------


def test_the_end_of_a_line_is_heard_as_on_a_real_one() -> None:
    client, server = pair()
    client.sendall(b"unread")
    server.sendall(b"last words")
    server.close()
    assert client.recv(100) == b"last words"
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    assert client.recv(100) == b""
    with pytest.raises(BrokenPipeError):
        client.send(b"x")

    client, server = pair()
    server.close()
    assert client.recv(1) == b"" and client.send(b"x") == 1
    with pytest.raises(BrokenPipeError):
        client.send(b"x")
    with pytest.raises(OSError) as raised:
        server.recv(1)
    assert raised.value.errno == errno.EBADF


def test_a_pair_knows_at_once_that_the_other_end_is_gone() -> None:
    one, other = socket.socketpair()
    other.sendall(b"last words")
    other.close()
    with pytest.raises(BrokenPipeError):
        one.send(b"x")
    assert (one.recv(100), one.recv(100)) == (b"last words", b"")


def test_a_line_that_is_full_takes_no_more() -> None:
    client, server = pair()
    client.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            sent += client.send(b"x" * 65_536)
    client.settimeout(2.0)
    with pytest.raises(TimeoutError):
        client.send(b"x")
    assert len(server.recv(sent + 1)) == sent and client.send(b"x") == 1


def test_files_keep_a_socket_open() -> None:
    client, server = pair()
    file = server.makefile("rb")
    server.close()
    client.sendall(b"one\ntwo\n")
    assert (file.readline(), file.readline()) == (b"one\n", b"two\n")
    file.close()
    assert client.recv(10) == b""


def test_a_selector_sees_who_can_read_and_write() -> None:
    client, server = pair()
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE, "client")
        assert [(key.data, events) for key, events in selector.select()] == [("client", selectors.EVENT_WRITE)]
        server.sendall(b"x")
        assert [events for _, events in selector.select(0)] == [selectors.EVENT_READ | selectors.EVENT_WRITE]
        selector.modify(client, selectors.EVENT_READ, "client")
        client.recv(1)
        assert selector.select(5.0) == []
        assert selector.unregister(client).data == "client"


def test_addresses_are_numbers_and_a_name_is_unknown() -> None:
    with socket.create_server(("localhost", 0)) as listener:
        socket.create_connection(("localhost", listener.getsockname()[1])).close()
    with pytest.raises(socket.gaierror):
        socket.create_connection(("mx.tokyo.example", 25))
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(OSError) as raised:
        socket.create_server(listener.getsockname())
    assert raised.value.errno == errno.EADDRINUSE


# --- threads without threads -----------------------------------------------------------------------------------------


class Baton:
    """A gate made of a thread of the system, which only one holds at a time."""

    def __init__(self) -> None:
        self.lock = threading.Semaphore(0)

    def open(self) -> None:
        self.lock.release()

    def enter(self) -> None:
        assert self.lock.acquire(timeout=60), "nobody opened the gate"


def fibers() -> tuple[Fibers, list[threading.Thread]]:
    begun: list[threading.Thread] = []

    def spawn(function: object) -> None:
        thread = threading.Thread(target=function, daemon=True)  # type: ignore[arg-type]
        begun.append(thread)
        thread.start()

    return Fibers(Baton, spawn), begun


def start(turns: Fibers, function: object) -> Handle:
    handle = type("handle", (Handle,), {"turns": turns})()
    turns.start(function, handle)  # type: ignore[arg-type]
    return handle


def test_fibers_run_one_at_a_time_and_time_is_skipped() -> None:
    turns, begun = fibers()
    said: list[str] = []

    def work(name: str, seconds: float) -> None:
        for number in range(2):
            said.append(f"{name}{number}")
            turns.sleep(seconds)

    one, two = start(turns, lambda: work("a", 100.0)), start(turns, lambda: work("b", 70.0))
    assert said == []                          # they begin when somebody waits
    one.join()
    two.join()
    assert said == ["a0", "b0", "b1", "a1"] and one.is_done() and two.is_done()
    assert 199 < turns.skipped < 201
    for thread in begun:
        thread.join(60)


def test_a_lock_is_waited_for_and_a_deadlock_is_told() -> None:
    turns, begun = fibers()
    lock = type("lock", (Lock,), {"turns": turns})()
    seen: list[bool] = []

    def work() -> None:
        with lock:
            turns.sleep(10.0)
            seen.append(lock.locked())

    handle = start(turns, work)
    turns.sleep(1.0)
    assert not lock.acquire(False) and not lock.acquire(timeout=2.0)
    with lock:
        assert seen == [True] and handle.is_done()
        with pytest.raises(NobodyLeft):
            lock.acquire()
    with pytest.raises(RuntimeError):
        lock.release()
    for thread in begun:
        thread.join(60)


def test_sockets_between_fibers() -> None:
    turns, begun = fibers()
    network = memory.Network(turns)
    memory.put([*memory.sockets(network)])     # the fixture puts the real ones back
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        caller, _ = listener.accept()
        with caller:
            while data := caller.recv(100):
                caller.sendall(data.upper())

    handle = start(turns, serve)
    with socket.create_connection(listener.getsockname()) as line:
        for word in (b"helo", b"quit"):
            line.sendall(word)
            assert line.recv(100) == word.upper()
    handle.join()
    for thread in begun:
        thread.join(60)


def test_buffers_are_as_small_as_asked_before_there_is_a_connection() -> None:
    listener, client = socket.create_server(("127.0.0.1", 0)), socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 3000)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1000)
    client.connect(listener.getsockname())
    server, _ = listener.accept()
    for end, room in ((client, 6000), (server, 2000)):
        end.settimeout(0)
        assert end.send(b"x" * 100_000) == room
        with pytest.raises(BlockingIOError):
            end.send(b"x")
    for end in (client, server, listener):
        end.close()


# --- what Python lacks in a browser ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "length", "rounds"), [("sha256", None, 1), ("sha1", 50, 3), ("sha512", 20, 2)])
def test_keys_are_stretched_as_openssl_does_it(name: str, length: int | None, rounds: int) -> None:
    arguments = (name, b"pencil", b"salt", rounds, length)
    assert pbkdf2_hmac(*arguments) == hashlib.pbkdf2_hmac(*arguments)
    with pytest.raises(ValueError):
        pbkdf2_hmac(name, b"", b"", 0)


def test_garbage_is_collected_after_a_cell_and_never_within(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop:
        def __init__(self) -> None:
            self.itself = self

    shell = SimpleNamespace()
    shell.events = EventManager(shell, available_events)
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    try:
        browser.collect_between_cells()
        assert not gc.isenabled()
        garbage = weakref.ref(Loop())
        kept = [[number] for number in range(100_000)]         # many more than a collection waits for
        assert garbage() and kept
        shell.events.trigger("post_run_cell", None)
        assert garbage() is None
    finally:
        gc.enable()


# --- and where there are sockets -------------------------------------------------------------------------------------


def test_nothing_of_it_is_loaded_where_there_are_sockets() -> None:
    code = ("import sys; from smtp_from_scratch import Client, Server\n"
            "print([name for name in sys.modules if '.memory' in name and 'smtp' in name])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_real_sockets_come_back(network: memory.Network) -> None:
    assert isinstance(network.turns, Turns) and "memory" in socket.socket.__mro__[1].__module__
    with memory.installed():
        pass
    assert "memory" in socket.socket.__mro__[1].__module__


def test_afterwards_all_is_as_it_was() -> None:
    code = ("import socket, selectors; from smtp_from_scratch import memory\n"
            "from smtp_from_scratch.server import ThreadedServer\n"
            "from smtp_from_scratch.loop import LoopServer\n"
            "names = lambda: (socket.socket, selectors.DefaultSelector, LoopServer.start, ThreadedServer.admit)\n"
            "before = names()\n"
            "try:\n    with memory.installed(): assert names() != before; raise KeyError\n"
            "except KeyError: pass\n"
            "assert names() == before\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

"""Ends that come at an odd moment, at both stages: what was taken is answered for, and everybody else is served on."""
from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from smtp_from_scratch import Envelope, Passwords, Reply, Server
from smtp_from_scratch import together as steps
from smtp_from_scratch.smtp.server import STAGES
from smtp_from_scratch.together import in_steps
from tests.ours import TLS

GUARD = 30.0                                   # seconds after which a test gives up
both = pytest.mark.parametrize("stage", STAGES)
unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
LETTER = b"Subject: Mangoes\r\n\r\nThey are ripe.\r\n.\r\n"
ENVELOPE = (b"EHLO rio.example", b"MAIL FROM:<ana@rio.example>", b"RCPT TO:<kenji@tokyo.example>", b"DATA")


class Line:
    """A client that says octets; under TLS after `seal`, where several records may leave in one segment."""

    def __init__(self, address: Any, family: int = socket.AF_INET) -> None:
        self.sock = socket.socket(family)
        self.sock.settimeout(GUARD)
        self.sock.connect(address)
        self.arrived, self.ready = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.layer: ssl.SSLObject | None = None
        self.heard = b""

    def recv(self) -> bytes:
        while True:
            try:
                return self.layer.read(65_536) if self.layer else self.sock.recv(65_536)
            except ssl.SSLWantReadError:
                data = self.sock.recv(65_536)
                self.arrived.write(data) if data else self.arrived.write_eof()

    def reply(self) -> int:
        """The code of the next reply; 0 at the end."""
        while True:
            line, newline, rest = self.heard.partition(b"\r\n")
            if not newline:
                try:
                    data = self.recv()
                except (ssl.SSLError, OSError):
                    return 0
                if not data:
                    return 0
                self.heard += data
                continue
            self.heard = rest
            if line[3:4] != b"-":
                return int(line[:3])

    def say(self, *lines: bytes) -> list[int]:
        """Say them one by one; the codes that are heard."""
        codes = []
        for line in lines:
            self.leave(line + b"\r\n")
            codes.append(self.reply())
        return codes

    def leave(self, octets: bytes, goodbye: bool = False) -> None:
        """Send octets; with `goodbye` TLS's close_notify in the same segment."""
        if not self.layer:
            return self.sock.sendall(octets)
        self.layer.write(octets)
        if goodbye:
            with contextlib.suppress(ssl.SSLError):
                self.layer.unwrap()
        self.sock.sendall(self.ready.read())

    def seal(self) -> None:
        assert self.say(b"EHLO rio.example", b"STARTTLS") == [250, 220]
        self.layer = TLS.client.wrap_bio(self.arrived, self.ready, server_hostname="localhost")
        while True:
            try:
                self.layer.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(self.ready.read())
                self.arrived.write(self.sock.recv(65_536))
        self.sock.sendall(self.ready.read())


@contextlib.contextmanager
def calling(server: Server) -> Iterator[Line]:
    line = Line(server.address)
    with line.sock:
        assert line.reply() == 220
        yield line


def is_served(server: Server) -> bool:
    with calling(server) as line:
        return line.say(b"NOOP", b"QUIT") == [250, 221]


@both
@pytest.mark.parametrize("leaves", [True, False])
def test_tls_that_ends_before_a_message_is_kept(stage: str, leaves: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A close_notify closes one direction only (RFC 8446 §6.1): whoever still listens hears what became of it."""
    kept, many = list[bytes](), threading.Semaphore(0)

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        kept.append(body.read())
        many.release()

    with caplog.at_level(logging.ERROR), Server(stage=stage, tls=TLS.server, deliver=deliver) as server:
        with calling(server) as line:
            line.seal()
            assert line.say(*ENVELOPE) == [250, 250, 250, 354]
            line.leave(LETTER, goodbye=True)
            if not leaves:
                line.sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ssl.SSLError, OSError):
                    while line.sock.recv(65_536):
                        pass
        assert many.acquire(timeout=GUARD) and is_served(server)
    assert kept == [LETTER[:-3]], "once"
    assert not caplog.records


@both
@pytest.mark.parametrize("goodbye", [True, False])
def test_a_login_whose_line_ends_meanwhile(stage: str, goodbye: bool) -> None:
    """AUTH is work, too: whoever leaves before its answer is nobody's trouble."""
    asked = threading.Semaphore(0)

    class Store(Passwords):
        def verify(self, user: str, password: str) -> bool:
            asked.release()
            return super().verify(user, password)

    with Server(stage=stage, tls=TLS.server, users=Store({"ana": "mango"})) as server:
        for _ in range(3):
            with calling(server) as line:
                line.seal()
                line.say(b"EHLO rio.example")
                line.leave(b"AUTH PLAIN AGFuYQBtYW5nbw==\r\n", goodbye)
            assert asked.acquire(timeout=GUARD)
        assert is_served(server)


@both
@pytest.mark.parametrize("lmtp", [False, True])
def test_a_delivery_may_empty_the_list_of_recipients(stage: str, lmtp: bool) -> None:
    kept = list[str]()

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        while envelope.recipients:
            kept.append(envelope.recipients.pop())

    with Server(stage=stage, deliver=deliver, lmtp=lmtp) as server, calling(server) as line:
        hello = b"LHLO rio.example" if lmtp else b"EHLO rio.example"
        line.say(hello, *ENVELOPE[1:3], b"RCPT TO:<yui@tokyo.example>", b"DATA")
        line.leave(LETTER)
        assert [line.reply() for _ in range(1 + lmtp)] == [250] * (1 + lmtp)
        assert line.say(b"QUIT") == [221]
    assert sorted(kept) == ["kenji@tokyo.example", "yui@tokyo.example"]


@both
@unix
def test_a_unix_socket_that_listens_already(stage: str, tmp_path: Path) -> None:
    """As systemd hands one over."""
    path = str(tmp_path / "lmtp")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    with Server(listener, lmtp=True, stage=stage) as server:
        assert server.address == (f"unix:{path}", 0)
        for _ in range(2):
            line = Line(path, socket.AF_UNIX)
            with line.sock:
                assert [line.reply(), *line.say(b"LHLO rio.example", b"QUIT")] == [220, 250, 221]


def test_a_tap_that_ends_everything_ends_one_call() -> None:
    said = list[Any]()

    def tap(one: Any) -> None:
        said.append(one)
        if len(said) == 1:
            raise SystemExit

    with Server(stage="loop", tap=tap) as server:
        with contextlib.closing(Line(server.address).sock) as sock:
            assert sock.recv(100) == b""
        assert is_served(server)


@both
def test_refusals_at_rcpt_have_a_bound_whoever_refuses(stage: str) -> None:
    with Server(stage=stage, max_refused=10) as server:
        for refused, code in ((b"RCPT TO:<a@b.example> COLOR=blue", 555), ("RCPT TO:<ü@b.example>".encode(), 553)):
            with calling(server) as line:
                line.say(*ENVELOPE[:3])
                assert line.say(*[refused] * 11) == [code] * 10 + [421]


@both
def test_syncs_without_a_thread_to_be_had(stage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @in_steps
    def deliver(envelope: Envelope, body: IO[bytes]) -> Any:
        with (tmp_path / "letter").open("wb") as file:
            yield [file.fileno(), tmp_path]
        return Reply(250, "kept")

    def start(thread: threading.Thread) -> None:
        if thread.name == "sync":
            raise RuntimeError("can't start new thread")
        started(thread)

    started = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(steps, "SLOW", -1.0)    # any disk is a slow one
    with Server(stage=stage, deliver=deliver) as server:
        for _ in range(2):
            with calling(server) as line:
                line.say(*ENVELOPE)
                line.leave(LETTER)
                assert line.reply() == 250


def test_a_loop_that_is_held_up_is_stopped_all_the_same() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow(address: str, envelope: Envelope) -> None:
        reached.set()
        assert go_on.wait(GUARD)

    server = Server(stage="loop", accept_sender=slow)
    server.start()
    with calling(server) as line:
        line.say(ENVELOPE[0])
        line.leave(ENVELOPE[1] + b"\r\n")
        assert reached.wait(GUARD)
        stopping = threading.Thread(target=server.stop, args=[0.0])
        stopping.start()
        stopping.join(1.5)                      # it has waited for its second
        go_on.set()
        stopping.join(GUARD)
        assert not stopping.is_alive()
        while line.reply():
            pass                                # the line has an end
    server._stage._doorman.join(GUARD)
    assert not server._stage._doorman.is_alive() and not server._stage.callers




@both
@pytest.mark.parametrize("wanted", [None, 7, [[]]], ids=repr)
def test_steps_that_want_what_nobody_can_sync_are_451(stage: str, wanted: Any) -> None:
    @in_steps
    def deliver(envelope: Envelope, body: IO[bytes]) -> Any:
        yield wanted

    with Server(stage=stage, deliver=deliver) as server, calling(server) as line:
        line.say(*ENVELOPE)
        line.leave(LETTER)
        assert line.reply() == 451 and line.say(b"QUIT") == [221]


@both
def test_a_store_that_fails_is_no_mistake_of_the_clients(stage: str) -> None:
    class Broken(Passwords):
        def verify(self, user: str, password: str) -> bool:
            return bool(int("no number"))      # a ValueError of its own

    with Server(stage=stage, users=Broken({"ana": "mango"}), insecure_auth=True) as server, calling(server) as line:
        assert line.say(b"EHLO rio.example", b"AUTH PLAIN AGFuYQBtYW5nbw==") == [250, 454]


def test_what_nobody_has_begun_is_not_delivered_after_the_end() -> None:
    reached, go_on, kept = threading.Semaphore(0), threading.Event(), list[str]()

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        reached.release()
        assert go_on.wait(GUARD)
        kept.append(envelope.sender)

    server = Server(stage="loop", deliver=deliver)
    server.start()
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(calling(server)) for _ in range(3)]
        for line in lines:
            line.say(*ENVELOPE)
            line.leave(LETTER)
        assert reached.acquire(timeout=GUARD)
        stopping = threading.Thread(target=server.stop, args=[0.0])
        stopping.start()
        stopping.join(GUARD)                    # it does not wait for the one that somebody has begun with
        go_on.set()
        server._stage._doorman.join(GUARD)
        assert not server._stage._doorman.is_alive() and kept == ["ana@rio.example"]


@pytest.mark.parametrize("count, sentence", [(-1, "not -1"), (object(), "")])
def test_how_often_a_delivery_may_be_called(count: Any, sentence: str) -> None:
    class Deliver:
        at_once = count

        def __call__(self, envelope: Envelope, body: IO[bytes]) -> None: ...

    with contextlib.ExitStack() as stack:
        if sentence:
            stack.enter_context(pytest.raises(ValueError, match=sentence))
        with Server(stage="loop", deliver=Deliver()) as server, calling(server) as line:
            line.say(*ENVELOPE)
            line.leave(LETTER)
            assert line.reply() == 250


@both
def test_a_server_that_was_stopped_does_not_begin(stage: str) -> None:
    server = Server(stage=stage)
    server.stop()
    with pytest.raises(RuntimeError, match="make another one"):
        server.start()


def test_a_session_that_is_broken_off_lets_go_of_its_body() -> None:
    """Also where nobody collects garbage."""
    closed = list[bool]()

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        files.append(body)
        raise SystemExit

    files: list[IO[bytes]] = []
    with Server(stage="loop", deliver=deliver) as server, calling(server) as line:
        line.say(*ENVELOPE)
        line.leave(LETTER)
        assert line.reply() == 0
        closed += [file.closed for file in files]
    assert closed == [True]


def test_the_end_of_a_line_is_not_told_to_a_session_that_is_over(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), Server(stage="loop", tls=TLS.server) as server:
        for _ in range(5):
            with calling(server) as line:
                line.seal()
                line.say(b"EHLO rio.example")
                line.leave(b"NOOP\r\n" * 50 + b"QUIT\r\n", goodbye=True)
                line.sock.shutdown(socket.SHUT_WR)
        assert is_served(server)
    assert not caplog.records

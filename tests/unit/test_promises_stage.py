"""What a stage promises: memory and time have bounds, whoever is at the other end, and nobody takes all the places."""
from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smtp_from_scratch import Client, Server, SMTPServerDisconnected, connection, lab, loop, starttls
from smtp_from_scratch import server as server_module
from smtp_from_scratch.__main__ import main, parser
from smtp_from_scratch.auth import Passwords, Plain
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.chunking import Octets
from smtp_from_scratch.cli.serve import server_for
from smtp_from_scratch.connection import INBOX_LIMIT, Connection, linger, send_all
from smtp_from_scratch.conversation import FLUSH, Actor, Conversation, Disconnected, Line, Timeout, read_reply, rehearse
from smtp_from_scratch.refusals import SMTPTimeout
from smtp_from_scratch.sasl import SMTPAuthenticationError
from smtp_from_scratch.server import Caller, Places
from smtp_from_scratch.smtp import client_extensions
from smtp_from_scratch.starttls import ANSWERS_LIMIT, TLSLayer, Upgrade
from smtp_from_scratch.throttle import origin
from smtp_from_scratch.users import UserFile
from smtp_from_scratch.wire import Reply

NAME = "mx.tokyo.example"
GOOD = lab.certificates(NAME, "127.0.0.1")
GUARD = 30.0                                   # seconds after which a test gives up: what is right takes a moment


def eventually(condition: Callable[[], Any]) -> bool:
    end = time.monotonic() + GUARD
    while not (true := bool(condition())) and time.monotonic() < end:
        time.sleep(0.005)
    return true


def in_time(work: Callable[[], Any]) -> Any:
    """What `work` returns or raises; a failure where it never ends."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(GUARD)
    assert outcome, "it never ends"
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


@contextlib.contextmanager
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        with near, far:
            yield near, far


def fill(sock: socket.socket) -> None:
    """Send until nothing more can leave; the socket blocks again afterwards."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65_536))
    sock.setblocking(True)


# --- the memory of a TLS layer ---------------------------------------------------------------------------------------


class Recorded(TLSLayer):
    """A layer that notes the most octets it ever held."""

    layers: list[Recorded] = []
    most = 0

    def receive(self, data: bytes) -> bytes:
        if self not in self.layers:
            self.layers.append(self)
        try:
            return super().receive(data)
        finally:
            self.most = max(self.most, held(self))


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """All layers that servers and clients make."""
    monkeypatch.setattr(Recorded, "layers", [])
    monkeypatch.setattr(starttls, "TLSLayer", Recorded)
    return Recorded.layers


def held(layer: TLSLayer) -> int:
    return layer._incoming.pending + layer._outgoing.pending


def layer_of(end: str, context: ssl.SSLContext | None = None) -> TLSLayer:
    if end == "client":
        return TLSLayer(context or GOOD.client, NAME)
    return TLSLayer(context or GOOD.server, server_side=True)


def shake(client: TLSLayer, server: TLSLayer) -> None:
    while not (client.ready and server.ready):
        server.receive(client.send(b""))
        client.receive(server.send(b""))


def shaken(end: str, context: ssl.SSLContext | None = None) -> tuple[TLSLayer, TLSLayer]:
    """A layer at this end, and its peer, after the handshake."""
    client, server = layer_of("client", context), layer_of("server")
    shake(client, server)
    return (client, server) if end == "client" else (server, client)


def pour(layer: TLSLayer, pieces: Iterator[bytes]) -> int:
    """Feed octets, whatever becomes of them, and never take an answer away; returns the most octets held at a time."""
    most = 0
    for piece in pieces:
        with contextlib.suppress(OSError):
            layer.receive(piece)
        most = max(most, held(layer))
    return most


def junk(kind: str) -> Iterator[bytes]:
    """8 MB of it."""
    zeros = bytes(16_384)
    piece = {"no TLS": zeros, "records of the handshake": b"\x16\x03\x03\x40\x00\x0b\xff\xff\xff" + zeros[4:],
             "records with broken seals": b"\x17\x03\x03\x40\x00" + zeros,
             "empty records": 3276 * b"\x17\x03\x03\0\0", "warnings": 2340 * b"\x15\x03\x03\0\x02\x01\x5a",
             "changes of cipher": 2730 * b"\x14\x03\x03\0\x01\x01", "one octet of a record": b"\x17"}[kind]
    return iter(512 * [piece])


KINDS = ["no TLS", "records of the handshake", "records with broken seals", "empty records", "warnings",
         "changes of cipher", "one octet of a record"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["handshake", "ready", "ended", "broken"])
@pytest.mark.parametrize("end", ["client", "server"])
def test_a_layer_holds_little_whatever_comes(end: str, state: str, kind: str) -> None:
    if state == "handshake":
        layer = layer_of(end)
    else:
        layer, peer = shaken(end)
        if state == "ended":
            assert layer.receive(peer.goodbye()) == b"" and layer.ended
        elif state == "broken":
            with pytest.raises(ConnectionError):
                layer.receive(b"QUIT\r\n")
    assert pour(layer, junk(kind)) < 300_000


def expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label with SHA-384, for no more than one block (RFC 8446 §7.1)."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\x01"
    return hmac.digest(secret, info, hashlib.sha384)[:length]


def key_updates(secret: bytes) -> Iterator[bytes]:
    """Records that each ask for new keys, which must be answered, sealed with one key after another (§4.6.3, §5.2)."""
    for _ in range(12_000):
        header = b"\x17\x03\x03" + (5 + 1 + 16).to_bytes(2, "big")
        sealer = AESGCM(expand(secret, b"key", 32))
        yield header + sealer.encrypt(expand(secret, b"iv", 12), b"\x18\0\0\x01\x01" + b"\x16", header)
        secret = expand(secret, b"traffic upd", 48)


@pytest.mark.parametrize("end", ["client", "server"])
def test_a_layer_does_not_pile_up_answers_that_nobody_reads(end: str, tmp_path: Path) -> None:
    """Each request for new keys is answered: 27 octets in, 27 out."""
    context = ssl.create_default_context(cadata=GOOD.ca_pem.decode())
    context.keylog_filename = str(tmp_path / "keys")
    layer, peer = shaken(end, context)
    cipher = peer._tls.cipher()
    if cipher is None or cipher[0] != "TLS_AES_256_GCM_SHA384":
        pytest.skip(f"this OpenSSL prefers {cipher}")
    label = "CLIENT_TRAFFIC_SECRET_0" if end == "server" else "SERVER_TRAFFIC_SECRET_0"
    [secret] = [line.split()[2] for line in (tmp_path / "keys").read_text().splitlines() if line.startswith(label)]
    assert pour(layer, key_updates(bytes.fromhex(secret))) < ANSWERS_LIMIT + 1000
    assert layer.ended


def test_new_keys_are_welcome_as_long_as_the_answers_are_read(tmp_path: Path) -> None:
    context = ssl.create_default_context(cadata=GOOD.ca_pem.decode())
    context.keylog_filename = str(tmp_path / "keys")
    layer, peer = shaken("server", context)
    keys = (tmp_path / "keys").read_text().splitlines()
    [secret] = [line.split()[2] for line in keys if line.startswith("CLIENT_TRAFFIC_SECRET_0")]
    if (peer._tls.cipher() or "")[0] != "TLS_AES_256_GCM_SHA384":
        pytest.skip("this OpenSSL prefers another cipher")
    answers = 0
    for update in key_updates(bytes.fromhex(secret)):
        assert layer.receive(update) == b""
        answers += len(layer.send(b""))
    assert answers > ANSWERS_LIMIT and not layer.ended


def test_a_peer_that_wants_another_handshake_breaks_the_line() -> None:
    """TLS 1.2 has renegotiation; OpenSSL then wants to read where we want to write."""
    layer, _ = shaken("client")

    def write(data: bytes) -> None:
        error = ssl.SSLWantReadError(2, "the operation did not complete")
        error.reason = ""
        raise error

    layer._tls = SimpleNamespace(write=write)  # type: ignore[assignment]
    with pytest.raises(ConnectionError):
        layer.send(b"NOOP\r\n")


def test_an_end_that_has_heard_the_goodbye_may_still_speak() -> None:
    """RFC 8446 §6.1: each direction has its own end."""
    layer, peer = shaken("server")
    assert layer.receive(peer.send(b"QUIT\r\n") + peer._outgoing.read() + goodbye_of(peer)) == b"QUIT\r\n"
    assert layer.ended and len(layer.send(b"221 bye\r\n")) > 9


@pytest.mark.parametrize("noise", [b"QUIT\r\n", b"\x17\x03\x03\0\x20" + bytes(32)])
def test_a_broken_layer_says_why_and_then_nothing_more(noise: bytes) -> None:
    """Not even in the clear; and no error for each thing that is still said."""
    layer, _ = shaken("server")
    with pytest.raises(ConnectionError, match="not what was sent"):
        layer.receive(noise)
    assert layer.send(b"a secret\r\n")[:1] == b"\x17"          # an alert, sealed
    assert layer.send(b"a secret\r\n") == b"" == layer.receive(b"NOOP\r\n") == layer.goodbye()


def goodbye_of(layer: TLSLayer) -> bytes:
    with contextlib.suppress(ssl.SSLError):
        layer._tls.unwrap()
    return layer._outgoing.read()


def leaving(*before: bytes) -> Callable[[TLSLayer], Conversation[None]]:
    """Says something under TLS, its goodbye, then octets that are no TLS."""
    def talk(layer: TLSLayer) -> Conversation[None]:
        yield Upgrade(layer)
        yield from (*before, FLUSH)
        layer.send = lambda data: goodbye_of(layer) + data  # type: ignore[method-assign]
        yield bytes(100_000)

    return talk


@pytest.mark.parametrize("end", ["client", "server"])
def test_a_goodbye_is_heard_after_all_that_came_before_it(end: str) -> None:
    heard: list[Any] = []

    def listen(layer: TLSLayer) -> Conversation[None]:
        yield Upgrade(layer)
        try:
            while True:
                heard.append((yield Line()))
        except Disconnected as error:
            heard.append(type(error))

    talks = [listen(layer_of(end)), leaving(b"one\r\ntwo\r\nhalf")(layer_of("server" if end == "client" else "client"))]
    rehearse(*(talks if end == "client" else talks[::-1]))
    assert heard == [b"one", b"two", Disconnected]


class Peer:
    """The other end of a line under TLS, with the octets in its hands."""

    def __init__(self, sock: socket.socket, layer: TLSLayer) -> None:
        self.socket, self.layer = sock, layer
        sock.settimeout(GUARD)
        sock.sendall(layer.send(b""))
        while not layer.ready:
            layer.receive(sock.recv(65_536))
            sock.sendall(layer.send(b""))

    def say(self, data: bytes) -> None:
        self.socket.sendall(self.layer.send(data))

    def hear(self) -> bytes:
        return self.layer.receive(self.socket.recv(65_536))

    def pour(self, size: int) -> None:
        """Octets, until somebody hangs up."""
        with contextlib.suppress(ConnectionError):
            for _ in range(size // 65_536):
                self.socket.sendall(bytes(65_536))


def call(address: tuple[str, int], receive_buffer: int = 0) -> Peer:
    """Call a server that begins with TLS."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(address)
    return Peer(sock, layer_of("client"))


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("before", [b"", b"EHLO rio.example\r\n", b"HELO rio.example\r\nMAIL FROM:<a@b.example>\r\n"
                                    b"RCPT TO:<c@d.example>\r\nDATA\r\nSubject:"], ids=["new", "ready", "body"])
def test_a_server_drops_what_comes_after_a_goodbye(before: bytes, layers: list[Recorded]) -> None:
    with Server(tls=GOOD.server, implicit_tls=True) as server:
        caller = call(server.address)
        with caller.socket:
            caller.say(before)
            caller.socket.sendall(goodbye_of(caller.layer))
            caller.pour(20_000_000)
            assert eventually(lambda: not server._stage.callers)
    [layer] = layers
    assert layer.ended and layer.most < 300_000


def test_a_client_drops_what_comes_after_a_goodbye(layers: list[Recorded]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                server = Peer(sock, layer_of("server"))
                server.say(b"220-half a greeting\r\n220")
                sock.sendall(goodbye_of(server.layer))
                server.pour(20_000_000)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(SMTPServerDisconnected):
            Client(*listener.getsockname(), tls=GOOD.client, implicit_tls=True, timeout=GUARD)
        thread.join(GUARD)
    [layer] = layers
    assert layer.ended and layer.most < 300_000


# --- one line in the log ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("noise", [b"\x17\x03\x03\0\x20" + bytes(32), b"QUIT\r\n"])
@pytest.mark.parametrize("while_writing", [False, True])
def test_a_broken_record_is_one_line_of_the_log(noise: bytes, while_writing: bool, monkeypatch: pytest.MonkeyPatch,
                                                caplog: pytest.LogCaptureFixture) -> None:
    """Also when it comes while we write, and there are still commands to answer."""
    def send_and_hear(sock: socket.socket, data: bytes, channel: Channel, timeout: float) -> None:
        send_all(sock, data, channel, timeout)
        if len(channel.inbox):
            channel.receive(noise)

    class Hearing(loop.Call):
        """The same for the loop."""

        def send(self, data: bytes) -> None:
            super().send(data)
            if len(self.channel.inbox):
                self.channel.receive(noise)

    if while_writing:
        monkeypatch.setattr(connection, "send_all", send_and_hear)
        monkeypatch.setattr(loop, "Call", Hearing)
    caplog.set_level(logging.INFO)
    with Server(tls=GOOD.server, implicit_tls=True) as server:
        caller = call(server.address)
        with caller.socket:
            while not caller.hear():           # the greeting
                pass
            caller.say(3 * b"NOOP\r\n")
            if not while_writing:
                while caller.hear().count(b"250") < 1:
                    pass
                caller.socket.sendall(noise)
            assert eventually(lambda: not server._stage.callers)
    [record] = [record for record in caplog.records if record.name.startswith("smtp_from_scratch")]
    assert "what came is not what was sent" in record.getMessage() and not record.exc_info


# --- nobody waits for ever -------------------------------------------------------------------------------------------


def test_the_goodbye_waits_for_nobody() -> None:
    with tcp() as (near, _far):
        fill(near)
        in_time(lambda: linger(near, 0.2, b"goodbye"))
        assert near.fileno() == -1


def test_a_client_closes_at_once_though_nobody_reads() -> None:
    with tcp() as (near, _far):
        fill(near)
        smtp = Client()
        smtp.connection = Connection(near, "C")
        smtp.connection.channel.layer = SimpleNamespace(goodbye=lambda: b"goodbye")  # type: ignore[assignment]
        in_time(smtp.close)
        assert near.fileno() == -1 and smtp.connection is None


@pytest.mark.usefixtures("stage")
def test_a_caller_under_tls_that_never_reads_does_not_hold_its_thread() -> None:
    with Server(tls=GOOD.server, implicit_tls=True, timeout=0.3) as server:
        server._stage.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        caller = call(server.address, receive_buffer=4096)
        with caller.socket:
            caller.socket.settimeout(0.5)
            with contextlib.suppress(OSError):
                caller.say(b"HELO rio.example\r\nMAIL FROM:<ana@rio.example>\r\n" + 20_000 * b"HELP\r\n")
            assert eventually(lambda: not server._stage.callers)


def test_who_talks_and_never_reads_does_not_extend_a_send() -> None:
    near, far = socket.socketpair()
    with near, far:
        class Chatter(Channel):
            """For each piece that is heard, another one comes; and nothing is kept, as of records without content."""

            def receive(self, data: bytes) -> None:
                far.send(b"more")

        far.send(b"some")
        with pytest.raises(Timeout):
            in_time(lambda: send_all(near, bytes(20_000_000), Chatter(), 0.3))


def test_after_a_goodbye_nothing_more_is_taken_from_the_system(layers: list[Recorded]) -> None:
    """While we write: what is not read there keeps the other end from pouring."""
    heard: list[int] = []

    class Counting(Channel):
        def receive(self, data: bytes) -> None:
            heard.append(len(data))
            super().receive(data)

    layer, peer = shaken("server")
    channel = Counting()
    channel.layer = layer
    with tcp() as (near, far):
        far.sendall(goodbye_of(peer))
        threading.Thread(target=lambda: fill(far), daemon=True).start()
        with pytest.raises(Timeout):
            send_all(near, bytes(20_000_000), channel, 0.3)
    assert len(heard) == 1


# --- a reply has one deadline ----------------------------------------------------------------------------------------


def pause(seconds: float) -> Conversation[None]:
    with contextlib.suppress(Timeout):
        yield Line(timeout=seconds)


def dripping(*pieces: bytes, each: float = 1.0) -> Conversation[None]:
    """Say one piece after another, with a pause before each."""
    try:
        for piece in pieces:
            yield from pause(each)
            yield piece
    except Disconnected:
        pass


def hearing(count: int = 1, timeout: float = 2.5) -> Conversation[list[Reply] | str]:
    try:
        replies = []
        for _ in range(count):
            replies.append((yield from read_reply(timeout)))
        return replies
    except Timeout:
        return "timeout"


@pytest.mark.parametrize("pieces", [
    100 * [b"250-still more\r\n"],
    [b"250-a first line, at once"] + 10 * [b"\r\n250-and"],
    [b"250-two lines\r\n250-in one piece\r\n"] + 10 * [b"250-x\r\n"],
    [bytes([octet]) for octet in b"250-an octet at a time\r\n250 done\r\n"],
], ids=["lines", "half-lines", "pairs", "octets"])
def test_a_reply_that_drips_has_one_deadline(pieces: list[bytes]) -> None:
    show = rehearse(hearing(), dripping(*pieces), patient=True)
    assert show.client == "timeout"
    assert max(said.when for said in show.said if said.when <= 2.5) == 2.0


def test_a_reply_of_which_lines_are_there_already_has_the_same_time() -> None:
    def server() -> Conversation[None]:
        yield b"220 hello\r\n250-one\r\n"
        yield from dripping(b"250-two\r\n", b"250 three\r\n")

    [_, reply] = rehearse(hearing(2), server(), patient=True).client
    assert reply.lines == ["one", "two", "three"]
    assert rehearse(hearing(2, timeout=1.5), server(), patient=True).client == "timeout"


def test_each_reply_of_a_group_has_a_deadline_of_its_own() -> None:
    lines = [b"250-a\r\n", b"250 b\r\n", b"250 c\r\n", b"250-d\r\n", b"250 e\r\n"]
    replies = rehearse(hearing(3), dripping(*lines), patient=True).client
    assert [reply.lines for reply in replies] == [["a", "b"], ["c"], ["d", "e"]]


def test_the_clients_timeout_is_for_a_whole_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            sock, _ = listener.accept()
            with sock, contextlib.suppress(OSError):
                for _ in range(100):
                    sock.sendall(b"220-wait\r\n")
                    time.sleep(0.05)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(SMTPTimeout):
            Client(*listener.getsockname(), timeout=0.5)
        thread.join(GUARD)


# --- a session has an end --------------------------------------------------------------------------------------------


def test_no_wait_goes_beyond_the_end_of_a_session() -> None:
    now = [0.0]
    channel = Channel(now=lambda: now[0])
    channel.deadline = 100.0

    def talk() -> Conversation[None]:
        yield Line(timeout=60.0)
        yield Line(timeout=60.0)
        octets = Octets(1_000_000)
        octets.timeout, octets.rate = 60.0, 1.0
        yield octets
        yield octets

    actor, deadlines = Actor(talk(), channel), []
    for heard in (b"NOOP\r\n", b"NOOP\r\n", b"x", b""):
        actor.run()
        deadlines.append(actor.deadline)
        now[0] += 30.0
        channel.receive(heard)
    assert deadlines == [60.0, 90.0, 100.0, 100.0]


@pytest.mark.usefixtures("stage")
def test_a_busy_caller_is_sent_away_at_the_end_of_its_session() -> None:
    with Server(session_timeout=0.4) as server, socket.create_connection(server.address) as caller:
        caller.settimeout(0.02)
        heard, end = b"", time.monotonic() + GUARD
        while b"421" not in heard and time.monotonic() < end:
            with contextlib.suppress(OSError):
                caller.sendall(b"NOOP\r\n")
                time.sleep(0.1)
                heard += caller.recv(65_536)
        assert b"waited long enough" in heard
        assert eventually(lambda: not server._stage.callers)


# --- a place for everybody -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("peer", "whence"), [
    ("192.0.2.7", "192.0.2.7"),
    ("::ffff:192.0.2.7", "192.0.2.7"),
    ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
    ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
    ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
    ("fe80::1%lo", "fe80::/64"),
    ("::1", "::/64"),
])
def test_where_a_caller_comes_from(peer: str, whence: str) -> None:
    assert origin(peer) == whence


def test_places_are_counted_in_all_and_for_each_network() -> None:
    places, present, refusals = Places(4, 2), list[Caller](), []
    for peer in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "192.0.2.7", "192.0.2.8"):
        refusals.append(places.refusal(present, origin(peer)))
        if not refusals[-1]:
            present.append(stranger(peer))
    assert [refusal and refusal.code for refusal in refusals] == [None, None, 421, None, None, 421]
    assert "your address" in str(refusals[2]) and "your address" not in str(refusals[5])


def stranger(peer: str, end: Any = None) -> Caller:
    """Somebody on the line, as far as the counting goes."""
    return Caller(end, end or threading.Thread(), origin(peer))


def greeting(address: tuple[str, int], source: str = "127.0.0.1") -> tuple[socket.socket, int]:
    sock = socket.create_connection(address, GUARD, source_address=(source, 0))
    return sock, int(sock.recv(1000)[:3])


def strangers_can_call() -> bool:
    try:
        with socket.socket() as sock:
            sock.bind(("127.0.0.2", 0))
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("stage")
@pytest.mark.skipif(not strangers_can_call(), reason="this machine has one loopback address only")
def test_one_address_does_not_shut_everybody_out() -> None:
    with Server(max_connections_per_address=3) as server, contextlib.ExitStack() as stack:
        def call(source: str) -> int:
            sock, code = greeting(server.address, source)
            stack.enter_context(sock)
            return code

        assert [call("127.0.0.1") for _ in range(5)] == [220, 220, 220, 421, 421]
        assert call("127.0.0.2") == 220
        stack.close()
        assert eventually(lambda: not server._stage.callers)
        assert call("127.0.0.1") == 220


@pytest.mark.skipif(not strangers_can_call(), reason="this machine has one loopback address only")
def test_a_server_as_it_comes_leaves_places_to_others() -> None:
    """One address may have half of the places of a `Server`, and of `serve` a tenth."""
    options = parser().parse_args(["serve"])
    assert options.max_connections_per_address < options.max_connections
    with Server() as server:
        stage = server._stage
        taken = stage.places.per_address
        stage.callers.update({object(): stranger("127.0.0.1") for _ in range(taken)})  # type: ignore[misc]
        for source, code in (("127.0.0.1", 421), ("127.0.0.2", 220)):
            sock, said = greeting(server.address, source)
            sock.close()
            assert said == code
        for caller in list(stage.callers):
            if type(caller) is object:
                del stage.callers[caller]


def test_the_limits_can_be_set_on_the_command_line(tmp_path: Path) -> None:
    options = parser().parse_args(["serve", "--max-connections", "3", "--max-connections-per-address", "2",
                                   "--session-timeout", "7.5", "--maildir", str(tmp_path)])
    with server_for("smtp", ("127.0.0.1", 0), options, None, None) as server, contextlib.ExitStack() as stack:
        codes = []
        for _ in range(3):
            sock, code = greeting(server.address)
            stack.enter_context(sock)
            codes.append(code)
        assert codes == [220, 220, 421]
        assert (server._stage.places, server._stage.longest_session) == (Places(3, 2), 7.5)


@pytest.mark.parametrize("option", ["--max-connections", "--max-connections-per-address", "--session-timeout"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", ""])
def test_a_limit_that_is_none_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", option, value])
    assert ended.value.code == 2 and "expected a number" in capsys.readouterr().err


# --- closing time ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("implicit", [False, True])
def test_a_handshake_that_nobody_finishes_does_not_delay_the_end(implicit: bool) -> None:
    """Nothing is lost with it: it is as idle as a caller between two messages."""
    server = Server(tls=GOOD.server, implicit_tls=implicit)
    server.start()
    with socket.create_connection(server.address, GUARD) as caller:
        if not implicit:
            for said in (b"EHLO rio.example\r\n", b"STARTTLS\r\n"):
                caller.recv(1000)
                caller.sendall(said)
            assert caller.recv(1000).startswith(b"220")
        assert eventually(lambda: any(connection.idle for connection in server._stage.callers.copy()))
        in_time(lambda: server.stop(grace=10 * GUARD))
        assert not server._stage.callers


def test_sigterm_ends_three_roles_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    """Each `stop` goes on only when all three have begun: one after another, they never would."""
    all_three = threading.Barrier(3)
    stop, start, stopped, started = Server.stop, Server.start, list[Server](), list[Server]()

    def stop_with_the_others(server: Server, grace: float = 10.0) -> None:
        all_three.wait(GUARD)
        stop(server, grace)
        stopped.append(server)

    def start_and_be_told(server: Server) -> None:
        start(server)
        started.append(server)
        if len(started) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Server, "stop", stop_with_the_others)
    monkeypatch.setattr(Server, "start", start_and_be_told)
    _, pem = GOOD.save(tmp_path)
    UserFile(str(tmp_path / "users"), create=True).add("tim", "tanstaaftanstaaf")
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        code = main(["serve", "--smtp", "127.0.0.1:0", "--submission", "127.0.0.1:0", "--submissions", "127.0.0.1:0",
                     "--maildir", str(tmp_path), "--tls-cert", str(pem), "--users", str(tmp_path / "users")])
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert code == 0 and len(stopped) == 3 and capsys.readouterr().out.count("listening on") == 3


class Stuck:
    """A connection and its thread, which does not end."""

    def __init__(self, clock: list[float], cut: list[int]) -> None:
        self.socket, self.clock, self.told = SimpleNamespace(shutdown=cut.append), clock, False

    def hang_up(self) -> None:
        self.told = True

    def join(self, timeout: float) -> None:
        self.clock[0] += timeout

    def is_alive(self) -> bool:
        return True


def test_at_closing_time_all_callers_have_one_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cut = [0.0], list[int]()
    monkeypatch.setattr(server_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    stuck = [Stuck(clock, cut) for _ in range(200)]
    server_module.shut_down([stranger("192.0.2.7", end) for end in stuck], 10.0)
    assert clock == [12.0] and all(end.told for end in stuck)
    assert cut == 200 * [socket.SHUT_RD] + 200 * [socket.SHUT_RDWR]


# --- rules that somebody could change, and nobody would notice -------------------------------------------------------


def test_earned_patience_is_never_more_than_one_timeout() -> None:
    """Ten megabytes in an instant would earn five and a half hours."""
    def pours_and_falls_silent() -> Conversation[None]:
        yield 10_000_000 * b"x"
        yield from pause(1_000_000.0)

    def server() -> Conversation[str]:
        octets = Octets(100_000_000)
        try:
            while True:
                yield octets
        except Timeout:
            yield b"421 waited long enough\r\n"
            return "waited long enough"

    def cut(flight: bytes) -> Iterator[bytes]:
        return (flight[start : start + 100_000] for start in range(0, len(flight), 100_000))

    show = rehearse(pours_and_falls_silent(), server(), cut=cut, latency=1.0, patient=True)
    assert show.server == "waited long enough" and show.said[-1].when == 181.0


def test_a_stage_takes_in_no_more_than_its_inbox_holds_while_it_writes() -> None:
    """An end that says a lot and reads nothing has to wait, and gets all of it when it reads."""
    most = [0]

    class Watched(Channel):
        def receive(self, data: bytes) -> None:
            super().receive(data)
            most[0] = max(most[0], len(self.inbox))

    channel, ours, theirs = Watched(), bytes(5_000_000), bytes(4 * INBOX_LIMIT)
    with tcp() as (near, far):
        far.settimeout(GUARD)
        ours_out = threading.Thread(target=send_all, args=(near, ours, channel, GUARD), daemon=True)
        theirs_out = threading.Thread(target=far.sendall, args=(theirs,), daemon=True)
        ours_out.start()
        theirs_out.start()
        assert eventually(lambda: len(channel.inbox) >= INBOX_LIMIT)
        theirs_out.join(0.5)                   # a stage without the bound reads all of it meanwhile
        heard = 0
        while heard < len(ours):
            heard += len(far.recv(262_144))
        ours_out.join(GUARD)
        assert not ours_out.is_alive() and most[0] <= INBOX_LIMIT + 65_536
        while theirs_out.is_alive():
            near.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                near.recv(262_144)


@pytest.mark.parametrize("trouble", [Timeout, BrokenPipeError])
def test_to_an_end_that_takes_no_octets_nothing_more_is_said(trouble: type[Exception],
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each of the last words would wait for its own three minutes, or follow half a record."""
    tried: list[bytes] = []

    def fail(sock: socket.socket, data: bytes, channel: Channel, timeout: float) -> None:
        tried.append(data)
        raise trouble

    def talk() -> Conversation[str]:
        try:
            yield b"250 fine\r\n"
            line = yield Line()
            yield b"250 fine, too\r\n"
            line = yield Line()
        except Timeout:
            yield b"421 waited long enough\r\n"
            return "timeout"
        return line.decode()

    monkeypatch.setattr(connection, "send_all", fail)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"NOOP\r\nQUIT\r\n")
        end = Connection(ours)
        end.channel.layer = SimpleNamespace(  # type: ignore[assignment]
            ready=True, ended=False, send=bytes, receive=bytes, goodbye=lambda: b"goodbye")
        assert end.play(talk()) == ("timeout" if trouble is Timeout else "QUIT")
        assert tried == [b"250 fine\r\n"] and end.goodbye() == b""


def test_linger_reads_on_so_that_a_caller_who_still_speaks_hears_the_last_words() -> None:
    """Without that, its next octets would be answered by a reset, and the last words be lost to many."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as caller:
        caller.settimeout(GUARD)
        sock, _ = listener.accept()
        caller.sendall(b"x" * 100_000)         # more than one `recv` takes
        parting = threading.Thread(target=linger, args=(sock, GUARD, b"421 too much\r\n"), daemon=True)
        parting.start()
        assert caller.recv(100) == b"421 too much\r\n"
        for _ in range(50):
            caller.sendall(b"x" * 10_000)      # ConnectionError, if nobody listens any more
        assert caller.recv(100) == b""
        caller.close()
        parting.join(GUARD)
        assert not parting.is_alive()


def test_linger_does_not_read_on_for_ever() -> None:
    with tcp() as (near, far):
        def chatter() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near.sendall(bytes(1000))

        threading.Thread(target=chatter, daemon=True).start()
        in_time(lambda: linger(far, 0.2))


def test_a_session_is_closed_when_a_refusal_leaves_replies_outstanding() -> None:
    """AUTH rides along with MAIL, RCPT and DATA; it is refused: whoever went on would take their replies for others."""
    def client(address: tuple[str, int], password: str) -> Client:
        extensions = client_extensions(user="tim", password=password, insecure_auth=True, mechanisms=[Plain()])
        return Client(*address, extensions=extensions)

    with Server(users=Passwords({"tim": "tanstaaftanstaaf"}), insecure_auth=True) as server:
        with client(server.address, "tanstaaftanstaaf") as smtp:
            assert smtp.sendmail("tim@rio.example", "ana@rio.example", b"x\r\n").accepted
        smtp = client(server.address, "a wrong one")
        with pytest.raises(SMTPAuthenticationError):
            smtp.sendmail("tim@rio.example", "ana@rio.example", b"x\r\n")
        assert smtp.connection is None

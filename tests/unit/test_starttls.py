"""STARTTLS and TLS from the first octet on: the layer, the handshake, what is forgotten, and who attacks (security)."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtp_from_scratch import (
    AsyncClient,
    Client,
    Server,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
    compat,
    deliver,
    lab,
)
from smtp_from_scratch.chunking import Octets
from smtp_from_scratch.client import Receipt, command
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import (
    BothListening,
    Conversation,
    Disconnected,
    Line,
    Timeout,
    read_reply,
    rehearse,
)
from smtp_from_scratch.ehlo import Extension, ExtensionSet, check_requirements
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.server import ThreadedServer
from smtp_from_scratch.session import serve
from smtp_from_scratch.starttls import StartTLS, TLSLayer, Upgrade, secure_client, server_context, unverified
from smtp_from_scratch.status import CodedClientSession, CodedSession, EnhancedStatusCodes
from smtp_from_scratch.transaction import OutgoingMessage, PlannedCommand, open_session
from smtp_from_scratch.transcript import Rehearsal
from smtp_from_scratch.wire import Reply
from tests.whole_session import whole_session

NAME = "mx.tokyo.example"
GOOD = lab.certificates(NAME, "127.0.0.1")
STRANGE = lab.certificates(NAME, "127.0.0.1")              # another authority
MISNAMED = lab.certificates("mx.osaka.example")
LETTER = b"Subject: Choir\r\n\r\nMonday, 8 pm.\r\n"


def mailbox() -> tuple[list[tuple[Envelope, bytes]], Callable[..., None]]:
    """Letters, and what keeps them."""
    letters: list[tuple[Envelope, bytes]] = []
    return letters, lambda envelope, body: letters.append((envelope, body.read()))


def tokyo(*extensions: Extension, keep: Callable[..., None] | None = None) -> CodedSession:
    """A server's session; by default it offers STARTTLS."""
    offer = ExtensionSet(extensions or [StartTLS(GOOD.server)])
    return CodedSession(NAME, keep or (lambda envelope, body: None), extensions=offer)


def rio(*extensions: Extension, body: bytes = LETTER) -> Conversation[list[Receipt]]:
    """A client's whole session, one letter."""
    extensions = extensions or (StartTLS(GOOD.client, required=True),)
    client = CodedClientSession("rio.example", check_requirements(extensions), host=NAME)
    return whole_session(client, [OutgoingMessage(Envelope("ana@rio.example", ["kenji@tokyo.example"]), [body])])


def play(client: Conversation[Any], session: CodedSession, **options: Any) -> Rehearsal:
    return rehearse(client, serve(session), **options)


def under_tls(*lines: str, before: tuple[str, ...] = ()) -> Conversation[list[Reply]]:
    """EHLO, `before` in the clear, STARTTLS, then `lines`; returns the replies to those."""
    yield from read_reply()
    yield from command("EHLO", "rio.example")
    for line in before:
        yield from command(*line.split(" ", 1))
    assert (yield from command("STARTTLS")).code == 220
    yield Upgrade(TLSLayer(GOOD.client, NAME))
    replies = []
    for line in lines:
        replies.append((yield from command(*line.split(" ", 1))))
    return replies


# --- the layer -------------------------------------------------------------------------------------------------------


def shaken() -> tuple[TLSLayer, TLSLayer]:
    client, server = TLSLayer(GOOD.client, NAME), TLSLayer(GOOD.server, server_side=True)
    while not (client.ready and server.ready):
        assert not server.receive(client.send(b"")) and not client.receive(server.send(b""))
    return client, server


def carry(ends: tuple[TLSLayer, TLSLayer], wires: list[bytes], heard: list[bytes], chance: random.Random) -> None:
    """Bring everything over, in pieces; `wires[0]` leads to `ends[0]`."""
    while True:
        for index in (0, 1):
            wires[1 - index] += ends[index].send(b"")
        if not any(wires):
            return
        for index in (0, 1):
            cut = chance.choice((1, 3, 5, 100, 17_000, len(wires[index])))
            piece, wires[index] = wires[index][:cut], wires[index][cut:]
            heard[index] += ends[index].receive(piece) if piece else b""


@given(st.lists(st.tuples(st.sampled_from((0, 1)), st.integers(0, 40_000)), max_size=6), st.integers())
@settings(max_examples=60)
def test_octets_arrive_however_they_are_cut(said: list[tuple[int, int]], seed: int) -> None:
    """Both ways, pieces of any size, the handshake included: what comes out is what went in."""
    chance = random.Random(seed)
    ends = TLSLayer(GOOD.client, NAME), TLSLayer(GOOD.server, server_side=True)
    heard, wires, expected = [b"", b""], [b"", b""], [b"", b""]
    carry(ends, wires, heard, chance)
    assert all(end.ready for end in ends)
    for speaker, size in said:
        data = chance.randbytes(size)
        expected[1 - speaker] += data
        wires[1 - speaker] += ends[speaker].send(data)
    carry(ends, wires, heard, chance)
    assert heard == expected


def test_large_blocks_pass_whole() -> None:
    client, server = shaken()
    block = random.Random(11).randbytes(5_000_000)
    assert server.receive(client.send(block)) == block
    wire = server.send(block)
    assert b"".join(client.receive(wire[start : start + 65_536]) for start in range(0, len(wire), 65_536)) == block


@pytest.mark.parametrize("where", [0, 5, -1])
def test_a_record_that_was_changed_breaks_the_line(where: int) -> None:
    client, server = shaken()
    record = bytearray(client.send(b"MAIL FROM:<ana@rio.example>\r\n"))
    record[where] ^= 1
    with pytest.raises(ConnectionError, match="not what was sent"):
        server.receive(bytes(record))


def test_a_record_played_again_breaks_the_line() -> None:
    client, server = shaken()
    record = client.send(b"NOOP\r\n")
    assert server.receive(record) == b"NOOP\r\n"
    with pytest.raises(ConnectionError):
        server.receive(record)


def test_the_first_octets_are_no_tls() -> None:
    with pytest.raises(ssl.SSLError):
        TLSLayer(GOOD.server, server_side=True).receive(b"EHLO rio.example\r\n")


def test_the_end_of_tls_is_no_error() -> None:
    client, server = shaken()
    client._tls.write(b"QUIT\r\n")
    with pytest.raises(ssl.SSLError):                      # it has said goodbye and would wait for the server's
        client._tls.unwrap()
    assert server.receive(client.send(b"")) == b"QUIT\r\n"
    assert server.receive(b"") == b""


def test_contexts_are_those_we_mean(tmp_path: Any) -> None:
    ca, pem = GOOD.save(tmp_path)
    server = server_context(str(pem))
    assert server.minimum_version >= ssl.TLSVersion.TLSv1_2 and server.num_tickets == 0
    assert unverified().verify_mode == ssl.CERT_NONE
    assert unverified().minimum_version >= ssl.TLSVersion.TLSv1_2
    receipts = play(rio(StartTLS(ssl.create_default_context(cafile=ca), True)), tokyo(StartTLS(server))).client
    assert receipts[0].reply.code == 250
    with pytest.raises(OSError):
        server_context(str(tmp_path / "nothing.pem"))
    with pytest.raises(ssl.SSLError):
        server_context(str(ca))                            # a certificate without its key


def test_nothing_older_than_tls_1_2() -> None:
    old = ssl.create_default_context(cadata=GOOD.ca_pem.decode())
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        play(rio(StartTLS(old, True)), tokyo())


# --- a session -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_letter_in_pieces(version: ssl.TLSVersion, size: int) -> None:
    letters, keep = mailbox()
    context = ssl.create_default_context(cadata=GOOD.ca_pem.decode())
    context.minimum_version = context.maximum_version = version
    body = b"x" * 70 + b"\r\n"
    show = play(rio(StartTLS(context, True), body=body * 100), tokyo(StartTLS(GOOD.server), keep=keep),
                cut=lambda flight: (flight[start : start + size] for start in range(0, len(flight), size)))
    assert show.client[0].reply.code == 250
    assert [(envelope.protocol, kept) for envelope, kept in letters] == [("ESMTPS", body * 100)]


def test_it_costs_three_round_trips() -> None:
    plain, sealed = play(rio(Pipelining()), tokyo(), latency=1.0), play(rio(), tokyo(), latency=1.0)
    assert sealed.seconds - plain.seconds == 6.0


def test_the_ehlo_in_the_clear_counts_for_nothing() -> None:
    """Security §2 b: the name, the envelope and the offer are forgotten (RFC 3207 §4.2)."""
    mail, rcpt, noop, hello, again = play(under_tls(
        "MAIL FROM:<ana@rio.example>", "RCPT TO:<kenji@tokyo.example>", "NOOP", "EHLO ana.example",
        "RCPT TO:<kenji@tokyo.example>", before=("HELO eve.shady.example", "EHLO rio.example")), tokyo()).client
    assert (mail.code, rcpt.code, noop.code, hello.code, again.code) == (503, 503, 250, 250, 503)
    assert "STARTTLS" not in hello.lines


def test_what_extensions_noted_and_who_logged_in_are_forgotten() -> None:
    session = tokyo()
    session.notes["X"], session.user = "said in the clear", "eve"

    def talk() -> Conversation[Reply]:
        replies = yield from under_tls("EHLO rio.example")
        return replies[0]

    assert play(talk(), session).client.code == 250
    assert session.notes == {} and session.user == "" and session.secure


def test_a_client_forgets_the_offer_too() -> None:
    class Secret(Extension):
        """Offered in the clear only."""

        keyword = "X-CLEAR"

        def advertise(self, session: CodedSession) -> str | None:
            return None if session.secure else self.keyword

    ours = check_requirements([StartTLS(GOOD.client), Secret()])
    client = CodedClientSession("rio.example", ours, host=NAME, user="ana")
    play(open_session(client), tokyo(StartTLS(GOOD.server), Secret()))
    assert not client.offered.keys() & {"STARTTLS", "X-CLEAR"} and client.active == ()
    assert client.secure and client.user == ""


def test_starttls_is_refused_where_it_makes_no_sense() -> None:
    """Security §2 d."""
    def clear(*lines: str) -> list[int]:
        def talk() -> Conversation[list[int]]:
            codes = [(yield from read_reply()).code]
            for line in lines:
                codes.append((yield from command(*line.split(" ", 1))).code)
            return codes[1:]
        return list(play(talk(), tokyo(StartTLS(GOOD.server), EnhancedStatusCodes())).client)

    assert clear("STARTTLS", "NOOP") == [503, 250]
    assert clear("HELO rio.example", "STARTTLS", "NOOP") == [250, 503, 250]
    assert clear("EHLO rio.example", "STARTTLS now", "NOOP") == [250, 501, 250]
    assert clear("EHLO rio.example", "MAIL FROM:<a@rio.example>", "STARTTLS", "RCPT TO:<b@rio.example>") == [
        250, 250, 503, 250]
    twice = play(under_tls("EHLO rio.example", "STARTTLS", "NOOP"), tokyo()).client
    assert [reply.code for reply in twice] == [250, 503, 250]


def test_required_by_the_server() -> None:
    """All but NOOP, EHLO, STARTTLS and QUIT are put off until TLS is up (§4)."""
    lines = ("HELO rio.example", "EHLO rio.example", "MAIL FROM:<ana@rio.example>", "VRFY kenji", "RSET", "HELP",
             "NOOP")

    def talk() -> Conversation[list[Reply]]:
        yield from read_reply()
        replies = []
        for line in (*lines, "QUIT"):
            replies.append((yield from command(*line.split(" ", 1))))
        return replies

    replies = play(talk(), tokyo(StartTLS(GOOD.server, required=True), EnhancedStatusCodes())).client
    assert [reply.code for reply in replies] == [530, 250, 530, 530, 530, 530, 250, 221]
    assert all(reply.text.startswith("5.7.0 ") or reply.enhanced == "5.7.0" for reply in replies if reply.code == 530)
    assert play(rio(), tokyo(StartTLS(GOOD.server, required=True))).client[0].reply.code == 250
    assert play(rio(Pipelining()), tokyo(StartTLS(GOOD.server, required=True))).client[0].refused_by == "MAIL"


# --- who is there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [STRANGE.client, MISNAMED.client])
def test_a_certificate_that_is_not_believed(context: ssl.SSLContext) -> None:
    letters, keep = mailbox()
    session = tokyo(keep=keep)
    with pytest.raises(ssl.SSLCertVerificationError):
        play(rio(StartTLS(context, required=False)), session)          # not even when TLS is optional
    assert not letters


def test_a_name_that_is_not_the_servers() -> None:
    client = CodedClientSession("rio.example", check_requirements([StartTLS(MISNAMED.client)]), host=NAME)
    with pytest.raises(ssl.SSLCertVerificationError, match="mx.tokyo.example"):
        play(open_session(client), tokyo(StartTLS(MISNAMED.server)))


def test_the_server_learns_why(caplog: pytest.LogCaptureFixture) -> None:
    """A client that refuses a certificate says so in an alert (RFC 8446 §6)."""
    caplog.set_level(logging.INFO)
    with Server(tls=GOOD.server) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            Client(*server.address, tls=STRANGE.client)
        wait_until_alone(server)                # a server that stops before it has read the alert has learned nothing
    assert "unknown ca" in caplog.text.lower().replace("_", " ") and "Traceback" not in caplog.text


def test_unverified_takes_any_certificate() -> None:
    assert play(rio(StartTLS(unverified(), True)), tokyo(StartTLS(MISNAMED.server))).client[0].reply.code == 250


def test_the_servers_name_is_said() -> None:
    """Security §2 g: SNI."""
    asked: list[str | None] = []
    context = lab.certificates(NAME)
    context.server.sni_callback = lambda sock, name, settings: asked.append(name)
    play(rio(StartTLS(context.client, True)), tokyo(StartTLS(context.server)))
    assert asked == [NAME]


# --- who attacks -----------------------------------------------------------------------------------------------------

INJECTED = [b"NOOP\r\n", b"RSET\r\nNOOP\r\n", b"MAIL FROM:<eve", b"\r\n", b"\x16\x03\x01\0\x05hello",
            b"EHLO x\r\nMAIL FROM:<eve@shady.example>\r\nRCPT TO:<eve@shady.example>\r\nDATA\r\n"]


@pytest.mark.parametrize("what", INJECTED)
def test_commands_injected_behind_starttls(what: bytes) -> None:
    """Security §2 a (CVE-2011-0411): nothing is delivered, nothing but one 220 is said."""
    letters, keep = mailbox()
    with (ThreadedServer(lambda peer: serve(tokyo(StartTLS(GOOD.server), keep=keep))) as server,
          lab.inject(server.address, b"STARTTLS\r\n", what) as eve, socket.create_connection(eve.address) as sock):
        with pytest.raises((Disconnected, OSError)):
            Connection(sock, "C").play(rio())
    assert not letters
    said = b"".join(record.data for record in eve.transcript if record.role == "S")
    clear = said[: said.index(b"220 shake hands\r\n")]
    assert clear.count(b"220 ") == 1 and clear.count(b"250 ") == 1         # the greeting, and EHLO's reply
    assert said[len(clear) + 17 :][:1] in (b"", b"\x15")                   # then nothing, or an alert


def test_half_a_record_in_front_of_the_handshake() -> None:
    """The server takes the client's hello for the rest of it, and waits, but not for long."""
    with (Server(tls=GOOD.server, timeout=0.5) as server,
          lab.inject(server.address, b"STARTTLS\r\n", b"\x16\x03") as eve):
        with pytest.raises(SMTPServerDisconnected):
            Client(*eve.address, tls=GOOD.client, timeout=5)
    assert not server.messages


@pytest.mark.parametrize("what", INJECTED)
def test_what_stands_behind_starttls_breaks_the_handshake(what: bytes) -> None:
    def talk() -> Conversation[None]:
        yield from read_reply()
        yield from command("EHLO", "rio.example")
        yield b"STARTTLS\r\n" + what
        yield from read_reply()
        yield Upgrade(TLSLayer(GOOD.client, NAME), timeout=1.0)

    session = tokyo()
    with pytest.raises((Disconnected, OSError, Timeout)):
        play(talk(), session, patient=True)
    assert session.state == "closed" and not session.secure


def test_a_command_between_220_and_the_handshake() -> None:
    """Security §2 c (CVE-2024-34083)."""
    with Server(tls=GOOD.server) as server, lab.raw(server.address) as line:
        line.hear()
        line.say(b"EHLO rio.example\r\n")
        line.hear()
        line.say(b"STARTTLS\r\n")
        assert line.hear().startswith(b"220")
        line.say(b"NOOP\r\n")
        assert not line.hear().startswith(b"2")            # an alert, or nothing


@pytest.mark.parametrize("what", [b"250-x\r\n250 AUTH PLAIN\r\n", b"250-AUTH", b"250 ok\r\n" * 50, b"\r\n", b"2"])
def test_replies_injected_into_the_client(what: bytes) -> None:
    """Security §2 e: what came with the 220 is never taken for the answer to EHLO."""
    heard: list[bytes] = []

    def server() -> Conversation[None]:
        yield Reply(220, NAME)
        yield Line()
        yield b"250-x\r\n250 STARTTLS\r\n"
        yield Line()
        yield b"220 go\r\n" + what
        with contextlib.suppress(Disconnected):
            while True:
                heard.append((yield Octets(100_000)))

    client = CodedClientSession("rio.example", check_requirements([StartTLS(GOOD.client)]), host=NAME)
    with pytest.raises((ssl.SSLError, BothListening)):
        rehearse(open_session(client), server())
    assert not client.secure and b"EHLO" not in b"".join(heard)


def clear_server(reply: str) -> Conversation[list[bytes]]:
    """Offers STARTTLS, answers it with `reply`, and notes what it hears."""
    heard = []
    yield Reply(220, NAME)
    try:
        while True:
            line = yield Line()
            heard.append(line)
            if line.startswith(b"EHLO"):
                yield b"250-x\r\n250 STARTTLS\r\n"
            else:
                yield (reply if line == b"STARTTLS" else "250 fine").encode() + b"\r\n"
    except Disconnected:
        return heard


@pytest.mark.parametrize("reply", ["454 not now", "500 what?", "502 no", "250 fine", "354 go on"])
def test_a_refusal_stops_a_client_that_requires_tls(reply: str) -> None:
    """Security §2 f (CVE-2016-0772): nothing more is said in the clear."""
    heard: list[list[bytes]] = []

    def server() -> Conversation[None]:
        heard.append((yield from clear_server(reply)))

    with pytest.raises(SMTPResponseException):
        rehearse(rio(), server())
    with Server(extensions=[]) as plain, pytest.raises(SMTPNotSupportedError):
        Client(*plain.address, tls=GOOD.client)


@pytest.mark.parametrize("reply", ["454 not now", "500 what?", "502 no"])
def test_a_refusal_does_not_stop_who_takes_what_there_is(reply: str) -> None:
    """RFC 3207 §4: the client decides; `required` is how a user tells it."""
    assert rehearse(rio(StartTLS(GOOD.client)), plain_server(reply)).client[0].reply.code == 250


def plain_server(reply: str) -> Conversation[None]:
    """A server that knows STARTTLS by name, and cannot do it now."""
    class Unable(StartTLS):
        def starttls(self, session: Any, argument: str) -> Any:
            yield from ()
            return Reply(int(reply[:3]), "no TLS")

    return serve(tokyo(Unable(GOOD.server)))


def test_stripping() -> None:
    with Server(tls=GOOD.server) as server:
        with lab.strip(server.address) as eve, pytest.raises(SMTPNotSupportedError, match="STARTTLS"):
            Client(*eve.address, tls=GOOD.client)
        said = "\n".join(line for line in str(eve.transcript).splitlines() if line.startswith("C: "))
        assert "MAIL" not in said and "AUTH" not in said
        with lab.strip(server.address) as eve, Client(*eve.address) as client:
            assert not client.has_extn("STARTTLS")
            with pytest.raises(SMTPNotSupportedError):
                client.starttls(GOOD.client)


# --- handshakes that fail, or never end ------------------------------------------------------------------------------

GARBAGE = [b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\x80\x2e\x01\0\x02"]


@pytest.mark.parametrize("octets", GARBAGE)
def test_a_handshake_that_fails_ends_the_session(octets: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Never back to the clear, and no traceback in the log."""
    with Server(tls=GOOD.server) as server, lab.raw(server.address) as line:
        for command in (b"", b"EHLO rio.example\r\n", b"STARTTLS\r\n"):
            if command:
                line.say(command)
            assert line.hear()[:1] == b"2"
        line.say(octets + b"\r\nNOOP\r\n")
        line.socket.shutdown(socket.SHUT_WR)
        rest = line.hear()
        assert not rest.startswith(b"250") and line.hear() == b""
    assert "Traceback" not in caplog.text


def wait_until_alone(server: Server) -> None:
    deadline = time.monotonic() + 10
    while server._stage.callers:
        assert time.monotonic() < deadline, "the connection is still open"
        time.sleep(0.01)


@pytest.mark.parametrize("implicit", [False, True])
def test_a_slow_client_hello(implicit: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Octet by octet: the handshake has one deadline, however often something comes."""
    hello = TLSLayer(GOOD.client, "127.0.0.1").send(b"")
    with Server(tls=GOOD.server, implicit_tls=implicit, timeout=0.5) as server, lab.raw(server.address) as line:
        if not implicit:
            for command in (b"", b"EHLO rio.example\r\n", b"STARTTLS\r\n"):
                if command:
                    line.say(command)
                line.hear()
        start = time.monotonic()
        stop = threading.Event()

        def drip() -> None:
            for octet in hello:
                if stop.wait(0.05):
                    return
                try:
                    line.socket.sendall(bytes([octet]))
                except OSError:
                    return

        dripper = threading.Thread(target=drip, daemon=True)
        dripper.start()
        try:
            assert line.hear() == b""
            assert time.monotonic() - start < 4
            wait_until_alone(server)
        finally:
            stop.set()
            dripper.join()
    assert "Traceback" not in caplog.text and "421" not in str(line.transcript)


@pytest.mark.parametrize("implicit", [False, True])
def test_a_client_that_leaves_in_the_handshake(implicit: bool, caplog: pytest.LogCaptureFixture) -> None:
    with Server(tls=GOOD.server, implicit_tls=implicit) as server:
        with lab.raw(server.address) as line:
            if not implicit:
                for command in (b"", b"EHLO rio.example\r\n", b"STARTTLS\r\n"):
                    if command:
                        line.say(command)
                    line.hear()
            line.socket.sendall(TLSLayer(GOOD.client, "127.0.0.1").send(b"")[:100])
        wait_until_alone(server)
        with Client(*server.address, tls=GOOD.client, implicit_tls=implicit) as client:
            assert client.noop().code == 250
    assert "Traceback" not in caplog.text


def test_a_server_that_stops_in_the_handshake(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(tls=GOOD.server, implicit_tls=True)
    server.start()
    with lab.raw(server.address) as line:
        line.socket.sendall(b"\x16\x03\x01")
        time.sleep(0.05)
        server.stop(grace=0.1)
        assert line.hear() == b""
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("noise", [b"\x17\x03\x03\0\x20" + b"\0" * 32, b"QUIT\r\n", b"\x16\x03\x03\0\x01\0"])
def test_noise_in_the_middle_of_a_session(noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A seal that is broken ends the session, quietly."""
    with Server(tls=GOOD.server) as server:
        client = Client(*server.address, tls=GOOD.client)
        assert client.connection
        client.connection.socket.sendall(noise)
        with pytest.raises(SMTPServerDisconnected):
            client.noop()
        wait_until_alone(server)
        assert not server.messages
    assert "Traceback" not in caplog.text


def test_a_slow_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        Client(*listener.getsockname(), tls=GOOD.client, implicit_tls=True, timeout=0.3)


class Spoilt(TLSLayer):
    """Seals what holds a word so that nobody can open it."""

    word = b"221"

    def send(self, data: bytes) -> bytes:
        sealed = super().send(data)
        return b"\x15\x03\x03\x00\x13" + b"x" * 19 if self.word in data else sealed


def spoilt(peer: str) -> Conversation[None]:
    """A server under TLS whose goodbye is damaged on the way."""
    yield Upgrade(Spoilt(GOOD.server, server_side=True))
    session = CodedSession("mx.tokyo.example")
    session.secure = True
    yield from serve(session)


async def with_async_client(address: tuple[str, int]) -> list[str]:
    async with AsyncClient(*address, tls=GOOD.client, implicit_tls=True) as smtp:
        return (await smtp.sendmail("ana@rio.example", "kenji@tokyo.example", LETTER)).accepted


def with_client(address: tuple[str, int]) -> list[str]:
    with Client(*address, tls=GOOD.client, implicit_tls=True) as smtp:
        return smtp.sendmail("ana@rio.example", "kenji@tokyo.example", LETTER).accepted


def with_compat(address: tuple[str, int]) -> list[str]:
    with compat.SMTP_SSL(*address, context=GOOD.client) as smtp:
        return ["kenji@tokyo.example", *smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], LETTER)]


def with_deliver(address: tuple[str, int]) -> list[str]:
    letter = message_from_bytes(b"From: ana@rio.example\r\nTo: kenji@tokyo.example\r\n" + LETTER)
    [receipt] = deliver(address, [letter], tls=GOOD.client, implicit_tls=True)
    return receipt.accepted


@pytest.mark.parametrize("send", [with_client, lambda address: asyncio.run(with_async_client(address)), with_compat,
                                  with_deliver], ids=["Client", "AsyncClient", "compat", "deliver"])
def test_a_seal_that_breaks_at_the_goodbye_takes_nothing_back(send: Callable[[tuple[str, int]], list[str]]) -> None:
    with ThreadedServer(spoilt) as server:
        assert send(server.address) == ["kenji@tokyo.example"]


def test_a_seal_that_breaks_earlier_is_the_end_of_the_line() -> None:
    with ThreadedServer(spoilt) as server, Client(*server.address, tls=GOOD.client, implicit_tls=True) as smtp:
        with pytest.raises(SMTPServerDisconnected, match="not what was sent") as caught:
            smtp.quit()
        assert isinstance(caught.value.__cause__, ConnectionAbortedError)


# --- TLS from the first octet on -------------------------------------------------------------------------------------


def test_implicit_tls() -> None:
    """Security §2 g (RFC 8314 §3.3): no STARTTLS there, and names are checked by default."""
    with Server(tls=GOOD.server, implicit_tls=True) as server:
        with Client(*server.address, tls=GOOD.client, implicit_tls=True) as client:
            assert not client.has_extn("STARTTLS") and client.session.secure
            client.sendmail("ana@rio.example", "kenji@tokyo.example", LETTER)
            with pytest.raises(SMTPResponseException):
                client.play(refused_starttls())
        [kept] = server.messages
        assert kept.envelope.protocol == "ESMTPS"
        with pytest.raises(ssl.SSLCertVerificationError):
            Client(*server.address, implicit_tls=True)                 # the system's authorities do not know ours
        with pytest.raises(ssl.SSLCertVerificationError):
            Client(*server.address, tls=STRANGE.client, implicit_tls=True)
        with smtplib.SMTP_SSL(*server.address, context=GOOD.client) as smtp:
            smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], LETTER)
        server.wait_for(2)
    with pytest.raises(ValueError, match="certificate"):
        Server(implicit_tls=True)


def refused_starttls() -> Conversation[None]:
    reply = yield from command("STARTTLS")
    raise SMTPResponseException(reply, "STARTTLS")


def test_the_wrong_kind_of_server() -> None:
    """TLS at a server that greets in the clear, and the other way round: an error, never a letter in the clear."""
    with Server(tls=GOOD.server) as server, pytest.raises((ssl.SSLError, SMTPServerDisconnected)):
        Client(*server.address, tls=GOOD.client, implicit_tls=True, timeout=5)
    with Server(tls=GOOD.server, implicit_tls=True) as server, pytest.raises(SMTPServerDisconnected):
        Client(*server.address, tls=GOOD.client, timeout=0.5)


# --- software that nobody here wrote ---------------------------------------------------------------------------------


@pytest.fixture
def ten_megabytes() -> Iterator[bytes]:
    yield b"".join(b"%08d %s\r\n" % (number, b"x" * 60) for number in range(140_000))


def test_smtplib_sends_to_us(ten_megabytes: bytes) -> None:
    with Server(tls=GOOD.server) as server, smtplib.SMTP(*server.address) as smtp:
        smtp.starttls(context=GOOD.client)
        smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], ten_megabytes)
        assert server.wait_for(1)[0].data == ten_megabytes
        with pytest.raises(smtplib.SMTPNotSupportedError):
            smtp.starttls(context=GOOD.client)


def test_we_send_to_aiosmtpd(ten_megabytes: bytes) -> None:
    with lab.aiosmtpd_server(tls_context=GOOD.server, require_starttls=True) as peer:
        with Client(*peer.address, tls=GOOD.client) as client:
            receipt = client.sendmail("ana@rio.example", "kenji@tokyo.example", ten_megabytes)
    assert receipt.reply and receipt.reply.positive and peer.messages[0].data == ten_megabytes


def test_the_client_says_starttls_when_asked_to() -> None:
    with Server(tls=GOOD.server) as server, Client(*server.address) as client:
        assert client.has_extn("STARTTLS") and not client.session.secure
        client.starttls(GOOD.client)
        client.starttls(GOOD.client)                       # TLS is up: nothing is said
        assert client.session.secure and not client.has_extn("STARTTLS")
        client.sendmail("ana@rio.example", "kenji@tokyo.example", LETTER)
        assert server.wait_for(1)[0].envelope.protocol == "ESMTPS"


def test_secure_client_then_nothing_but_ehlo() -> None:
    client = CodedClientSession("rio.example", host=NAME)

    def talk() -> Conversation[Reply]:
        yield from read_reply()
        yield from command("EHLO", "rio.example")
        yield from command("STARTTLS")
        yield from secure_client(client, GOOD.client)
        step = PlannedCommand("MAIL", "FROM:<ana@rio.example>")
        yield from client.send(step)
        assert step.reply
        return step.reply

    assert play(talk(), tokyo()).client.code == 503 and client.secure


def test_both_ends_say_goodbye_before_they_close() -> None:
    """RFC 8446 §6.1: without close_notify the end of a session could be a cut."""
    certificates = lab.certificates("localhost")
    with Server(tls=certificates.server, implicit_tls=True) as server:
        with socket.create_connection(server.address) as sock:
            with certificates.client.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as line:
                line.recv(1000)
                line.sendall(b"QUIT\r\n")
                assert line.recv(1000).startswith(b"221")
                assert line.recv(1000) == b""                  # a ragged end would raise SSLEOFError
    ends: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as sock, certificates.server.wrap_socket(
                    sock, server_side=True, suppress_ragged_eofs=False) as line:
                line.sendall(b"220 hello\r\n")
                line.recv(1000)
                line.sendall(b"250 hello\r\n")
                line.recv(1000)
                line.sendall(b"221 bye\r\n")
                ends.append(repr(line.recv(1000)))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with Client("localhost", listener.getsockname()[1], tls=certificates.client, implicit_tls=True):
            pass
        thread.join(10)
    assert ends == ["b''"]

"""Lines to next hosts take several letters, and mix up no receipts; hosts that do not answer are left alone."""
from __future__ import annotations

import io
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client, Envelope, Queue, Relay, Reply, Server, lab
from smtp_from_scratch.client import SMTPServerDisconnected
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.queue import UNKNOWN, Relayed, Runner, forward
from smtp_from_scratch.refusals import SMTPTimeout
from smtp_from_scratch.relay import Zone, reach
from smtp_from_scratch.server import ThreadedServer
from smtp_from_scratch.smtp import absent as hosts
from smtp_from_scratch.smtp import lines as module
from smtp_from_scratch.smtp.absent import FIRST, LONGEST, STALE, Absent, HostDown
from smtp_from_scratch.smtp.lines import Lines
from smtp_from_scratch.smtp.nexthost import next_host

ANA, LETTER = "ana@rio.example", b"From: ana@rio.example\r\nSubject: Choir\r\n\r\nSaturday.\r\n"
CUT_OFF = 451
Address = tuple[str, int]


class Caller:
    """A `connect` that counts, and keeps its clients."""

    def __init__(self, **options: Any) -> None:
        self.options, self.clients = options, list[Client]()
        self.broken: Exception | None = None
        self.calls = 0

    def __call__(self, host: str, address: Address, secure: bool) -> Client:
        self.calls += 1
        if self.broken:
            raise self.broken
        self.clients.append(Client(*address, local_hostname="relay.rio.example", **self.options))
        return self.clients[-1]


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def lines(caller: Caller) -> Iterator[Lines]:
    with Lines(caller) as found:
        yield found


def send(lines: Lines, address: Address, *recipients: str, octets: bytes = LETTER) -> Relayed:
    """A letter to a host, as a Relay sends it."""
    deliver = forward(lambda: reach(lines, "mx.tokyo.example", address), "mx.tokyo.example")
    said = deliver(Envelope(ANA, list(recipients or ("yui@tokyo.example",))), io.BytesIO(octets))
    assert isinstance(said, Relayed)
    return said


def codes(said: Relayed) -> list[int]:
    return [reply.code for reply in said.values()]


# --- one line, many letters ------------------------------------------------------------------------------------------


def test_fifty_letters_to_one_host_take_one_connection(tmp_path: Path, caller: Caller, lines: Lines) -> None:
    with closing(Queue(tmp_path / "queue", "relay.rio.example")) as queue, Server() as tokyo:
        zone = Zone({f"{city}.example": [(10, "mx.tokyo.example")] for city in ("tokyo", "osaka")},
                    {"mx.tokyo.example": [tokyo.address]})
        for number in range(50):
            city = "osaka" if number % 3 == 0 else "tokyo"
            assert queue(Envelope(ANA, [f"u{number}@{city}.example"]), io.BytesIO(LETTER)).code == 250
        assert queue.attempt(Relay("relay.rio.example", zone, lines)) == 50 and queue.entries() == []
    assert caller.calls == 1
    assert [message.envelope.recipients[0].partition("@")[0] for message in tokyo.messages] == [
        f"u{number}" for number in range(50)]


def test_software_of_other_people_takes_several_letters_on_a_line(caller: Caller, lines: Lines) -> None:
    pytest.importorskip("aiosmtpd", reason="aiosmtpd is not installed")
    with lab.aiosmtpd_server(refuse={"li@tokyo.example"}) as tokyo:
        for number in range(10):
            said = send(lines, tokyo.address, f"u{number}@tokyo.example", "li@tokyo.example")
            assert codes(said) == [250, 550] and codes(send(lines, tokyo.address, "li@tokyo.example")) == [550]
        assert len(tokyo.messages) == 10 and caller.calls == 1


def test_a_letter_takes_two_round_trips_on_a_line_that_is_up() -> None:
    trips = list[str]()
    with Server() as tokyo, Lines(Caller(tap=lambda said: trips.append(said.role))) as lines:
        send(lines, tokyo.address)
        for _ in range(3):
            trips.clear()
            send(lines, tokyo.address)
            flights = "".join(trips[i] for i in range(len(trips)) if i == 0 or trips[i] != trips[i - 1])
            assert flights == "CSCS", "MAIL, RCPT and DATA; then the body"


def test_receipts_are_not_mixed_up(lines: Lines) -> None:
    """Letter by letter another fate; each has its own replies, and the server's state is fresh."""
    def accept(address: str, envelope: Envelope) -> Reply | None:
        return Reply(550, f"no {address}", "5.1.1") if address.startswith("no") else None

    def keep(envelope: Envelope, body: Any) -> Reply:
        return Reply(554, "spam", "5.7.1") if b"spam" in body.read() else Reply(250, envelope.recipients[0])

    with Server(accept_recipient=accept, deliver=keep) as tokyo:
        for number in range(5):
            yes, no = f"yes{number}@tokyo.example", f"no{number}@tokyo.example"
            said = send(lines, tokyo.address, yes, no)
            assert codes(said) == [250, 550] and said[yes].text == yes and said[no].text == f"no {no}"
            assert codes(send(lines, tokyo.address, no)) == [550]
            assert codes(send(lines, tokyo.address, yes, octets=b"\r\nspam")) == [554]


def test_a_line_serves_so_many_letters_and_so_long(caller: Caller, lines: Lines,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LETTERS", 3)
    with Server() as tokyo:
        for _ in range(7):
            send(lines, tokyo.address)
        assert caller.calls == 3
        monkeypatch.setattr(module, "SECONDS", 0.0)
        send(lines, tokyo.address)
        send(lines, tokyo.address)
        assert caller.calls == 5
        assert len(tokyo.messages) == 9


def test_two_hosts_and_two_addresses_have_lines_of_their_own(caller: Caller, lines: Lines) -> None:
    with Server() as tokyo, Server() as oslo:
        for _ in range(3):
            for server in (tokyo, oslo):
                send(lines, server.address)
        assert caller.calls == 2
        with lines("other.tokyo.example", tokyo.address):      # TLS knows it by another name
            assert caller.calls == 3
        assert len(tokyo.messages) == len(oslo.messages) == 3


def test_two_threads_have_two_lines(caller: Caller, lines: Lines) -> None:
    with Server() as tokyo:
        with lines("mx", tokyo.address) as one, lines("mx", tokyo.address) as other:
            assert one.line is not other.line and caller.calls == 2
        with lines("mx", tokyo.address), lines("mx", tokyo.address):
            assert caller.calls == 2


def test_a_runner_with_many_threads_mixes_up_nothing(tmp_path: Path, caller: Caller, lines: Lines) -> None:
    def keep(envelope: Envelope, body: Any) -> Reply | None:
        number = int(envelope.recipients[0][1:].partition("@")[0])
        assert body.read().endswith(b"\r\n\r\n%d\r\n" % number)
        return Reply(550, str(number)) if number % 4 == 0 else None

    with closing(Queue(tmp_path / "queue", "relay.rio.example")) as queue, Server(deliver=keep) as tokyo:
        said = dict[str, Reply]()
        deliver = forward(lambda: lines("mx", tokyo.address))

        def note(envelope: Envelope, body: Any) -> Any:
            outcome: Any = deliver(envelope, body)
            said.update(outcome)
            return outcome

        for number in range(200):
            queue(Envelope("", [f"u{number}@tokyo.example"]), io.BytesIO(b"Subject: x\r\n\r\n%d\r\n" % number))
        with Runner(queue, note, 8):
            eventually(lambda: not queue.entries())
    assert caller.calls <= 8 + 200 // module.LETTERS
    assert {address for address, reply in said.items() if reply.code == 550 and address[1:].startswith(reply.text)} == {
        f"u{number}@tokyo.example" for number in range(0, 200, 4)}


def eventually(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


# --- a line that is gone ---------------------------------------------------------------------------------------------


GREETING = ["220 mx", "250-mx\r\n250 PIPELINING", "250 sender", "250 recipient", "354 go on", "250 kept"]
ONE = GREETING + ["250 sender", "250 recipient", "354 go on"]


@contextmanager
def hosts_that_say(*scripts: list[str]) -> Iterator[tuple[Address, list[int]]]:
    """A host that says these replies to the first caller, those to the second; an empty one: it hangs up."""
    callers = list[int]()

    def play(peer: Any) -> Any:
        callers.append(1)
        return lab.scripted(*scripts[min(len(callers), len(scripts)) - 1])

    with ThreadedServer(play) as server:
        yield server.address, callers


@pytest.mark.parametrize("then", [[], ["421 idle for too long"], ["250 sender"], ["250 sender", "421 bye"],
                                  ["250 sender", "250 recipient"], ["250 sender", "250 recipient", "421 bye"]],
                         ids=["hung up", "421 to MAIL", "gone after MAIL", "421 to RCPT", "gone after RCPT",
                              "421 to DATA"])
def test_a_line_that_is_gone_is_followed_by_a_new_one(lines: Lines, then: list[str]) -> None:
    with hosts_that_say(GREETING + then, GREETING) as (address, callers):
        assert codes(send(lines, address)) == [250]
        assert codes(send(lines, address)) == [250] and len(callers) == 2


def test_a_letter_that_may_have_arrived_is_not_sent_again(lines: Lines) -> None:
    with hosts_that_say(ONE, GREETING) as (address, callers):
        assert codes(send(lines, address)) == [250]
        [reply] = send(lines, address).values()
        assert (reply.code, reply.enhanced) == (451, "4.4.2") and "nobody knows" in reply.text and len(callers) == 1


@pytest.mark.parametrize("then", [["250 one too many", "250 sender", "250 recipient"],
                                  ["250 sender", "250 recipient", "220 what"]], ids=["an old reply", "no 354"])
def test_a_host_that_has_lost_count_has_taken_nothing(lines: Lines, then: list[str]) -> None:
    """Nobody has a letter whose DATA was answered with 250, which means something else; and the line is left."""
    with hosts_that_say(GREETING + then, GREETING) as (address, callers):
        send(lines, address)
        assert [str(reply) for reply in send(lines, address).values()] == [str(UNKNOWN)]
        assert codes(send(lines, address)) == [250] and len(callers) == 2


def test_what_nobody_asked_for_is_no_reply_to_the_next_letter(lines: Lines) -> None:
    first = [*GREETING[:-1], "250 kept\r\n550 one reply too many", *ONE[-3:]]
    with hosts_that_say(first, GREETING) as (address, callers):
        send(lines, address)
        assert [str(reply) for reply in send(lines, address).values()] == ["250 kept"] and len(callers) == 2


def test_421_to_a_body_is_for_later(lines: Lines) -> None:
    with hosts_that_say(ONE + ["421 bye"], GREETING) as (address, callers):
        send(lines, address)
        assert codes(send(lines, address)) == [421] and len(callers) == 1


def test_a_new_line_that_breaks_is_not_followed_by_another(lines: Lines) -> None:
    with hosts_that_say(GREETING[:3]) as (address, callers):
        assert codes(send(lines, address)) == [CUT_OFF] and len(callers) == 1
    with hosts_that_say(GREETING, GREETING[:3]) as (address, callers):
        send(lines, address)
        assert codes(send(lines, address)) == [CUT_OFF] and len(callers) == 2
        assert "nobody knows" not in str(send(lines, address))


def test_a_host_that_is_gone_for_good_gets_the_letter_later(caller: Caller, lines: Lines) -> None:
    """And the next host may have it now: it is known that it did not arrive."""
    with hosts_that_say(GREETING) as (address, _):
        send(lines, address)
        caller.broken = ConnectionRefusedError("refused")
        [reply] = send(lines, address).values()
    assert reply.code == 451 and "before its end" in reply.text
    with pytest.raises(HostDown):
        lines("mx.tokyo.example", address)


def test_a_new_line_without_dsn_does_not_take_the_place_of_one_with_it(lines: Lines) -> None:
    """Who reports was decided by the first one's offer."""
    with hosts_that_say(["220 mx", "250-mx\r\n250 DSN", *GREETING[2:]], GREETING) as (address, _):
        assert send(lines, address).success == ""
        said = send(lines, address)
        assert codes(said) == [CUT_OFF]
        said = send(lines, address)
        assert codes(said) == [250] and said.success == "relayed"


def test_the_body_starts_anew_on_the_new_line(lines: Lines) -> None:
    with Server() as tokyo:
        send(lines, tokyo.address)
        [line] = lines.waiting
        assert line.client.connection
        line.client.connection.socket.shutdown(socket.SHUT_RDWR)
        send(lines, tokyo.address, octets=LETTER * 20_000)
        assert [len(message.data) for message in tokyo.messages] == [len(LETTER), 20_000 * len(LETTER)]


def test_a_slow_host_is_not_called_a_second_time() -> None:
    with hosts_that_say(GREETING) as (address, callers):
        with Lines(Caller()) as lines:
            send(lines, address)
            [line] = lines.waiting
            error = SMTPTimeout("slow")
            error.receipts = [module.Receipt(ANA, ended=False)]

            def slow(*_: Any, **__: Any) -> Any:
                raise error

            line.client.transact = slow  # type: ignore[method-assign]
            with lines("mx.tokyo.example", address) as turn, pytest.raises(SMTPTimeout):
                turn.transact(Envelope(ANA, ["yui@tokyo.example"]), LETTER)
            assert len(callers) == 1


def test_a_refusal_of_ours_keeps_the_line(caller: Caller, lines: Lines) -> None:
    with Server(extensions=[]) as old:
        assert codes(send(lines, old.address)) == [250]
        assert codes(send(lines, old.address, "ユイ@tokyo.example")) == [554]
        assert codes(send(lines, old.address)) == [250]
    assert caller.calls == 1


def test_a_line_in_the_clear_is_used_again_where_tls_fails() -> None:
    secured = list[bool]()
    connect = next_host("relay.rio.example")

    def counting(host: str, address: Address, secure: bool) -> Client:
        secured.append(secure)
        return connect(host, address, secure)

    tls = ["220 mx", "250-mx\r\n250 STARTTLS", "220 shake hands"]
    with hosts_that_say(tls, ["220 mx", "250-mx\r\n250 STARTTLS", *GREETING[2:], *GREETING[2:]]) as (address, _):
        with Lines(counting) as lines:
            assert codes(send(lines, address)) == codes(send(lines, address)) == [250]
    assert secured == [True, False]


# --- the end of a line -----------------------------------------------------------------------------------------------


def test_a_line_that_waits_says_goodbye_after_a_while(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 0.02)
    said = list[bytes]()
    with Server(tap=lambda what: said.append(what.data)) as tokyo:
        send(lines, tokyo.address)
        eventually(lambda: any(b"QUIT" in octets for octets in said))
        eventually(lambda: lines.thread is None)
        send(lines, tokyo.address)
        assert len(tokyo.messages) == 2


def test_only_so_many_lines_wait(caller: Caller, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    with Server() as tokyo:
        for number in range(5):
            with lines(f"mx{number}", tokyo.address):
                pass
        eventually(lambda: sum(client.connection is not None for client in caller.clients) == 2)
        assert len(lines.waiting) == 2


def test_without_threads_lines_wait_until_the_end(caller: Caller, lines: Lines,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a browser."""
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "lines":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with Server() as tokyo:
        assert codes(send(lines, tokyo.address)) == codes(send(lines, tokyo.address)) == [250] and caller.calls == 1
        assert len(lines.waiting) == 1 and lines.thread is None
        lines.close()
        assert caller.clients[0].connection is None


def test_at_the_end_all_lines_are_closed(caller: Caller, lines: Lines) -> None:
    with Server() as tokyo:
        with lines("mx", tokyo.address) as used:
            send(lines, tokyo.address)
            lines.close()
            assert [client.connection is not None for client in caller.clients] == [True, False]
            assert used.transact(Envelope(ANA, ["yui@tokyo.example"]), LETTER).accepted
        assert all(client.connection is None for client in caller.clients) and not lines.waiting
        eventually(lambda: lines.thread is None)


def test_hosts_that_do_not_answer_quit_hold_nobody_up(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty of them would take twenty seconds, or hours by the times of RFC 5321 §4.5.3.2."""
    monkeypatch.setattr(module, "CLOSING", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = mute.getsockname()[:2]
        for number in range(20):
            client = Client()
            sock = socket.create_connection(address)
            client.connection = Connection(sock, "C")
            lines.waiting.append(module.Line(client, f"mx{number}", address, False, time.monotonic()))
        before = time.monotonic()
        lines.close()
        assert time.monotonic() - before < 15 and not lines.waiting


# --- hosts that do not answer ----------------------------------------------------------------------------------------


class Clock:
    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


AWAY = ("192.0.2.1", 25)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def dead(clock: Clock, error: Exception) -> tuple[Lines, Caller]:
    caller = Caller()
    caller.broken = error
    return Lines(caller, Absent(clock)), caller


def test_a_hundred_letters_for_a_dead_host_wait_for_one_timeout(tmp_path: Path, clock: Clock) -> None:
    lines, caller = dead(clock, TimeoutError("timed out"))
    with closing(Queue(tmp_path / "queue", "relay.rio.example", clock=clock)) as queue:
        for number in range(100):
            queue(Envelope(ANA, [f"u{number}@tokyo.example"]), io.BytesIO(LETTER))
        zone = Zone({"tokyo.example": [(10, "mx.tokyo.example")]}, {"mx.tokyo.example": [AWAY]})
        assert queue.attempt(Relay("relay.rio.example", zone, lines)) == 100
        assert caller.calls == 1
        assert {entry.last for entry in queue.entries()} == {"451 4.4.1 no answer from the next host"}
        clock.now = queue.next_due()           # half an hour later, one of them calls again
        assert queue.attempt(Relay("relay.rio.example", zone, lines)) == 100 and caller.calls == 2


def test_the_second_host_is_asked_at_once(clock: Clock) -> None:
    lines, caller = dead(clock, ConnectionRefusedError("refused"))
    with pytest.raises(ConnectionRefusedError):
        lines("mx", AWAY)
    caller.broken = None
    with Server() as backup:
        zone = Zone({"tokyo.example": [(10, "mx"), (20, "backup")]}, {"mx": [AWAY], "backup": [backup.address]})
        said = Relay("relay.rio.example", zone, lines)(Envelope(ANA, ["yui@tokyo.example"]), io.BytesIO(LETTER))
        assert codes(said) == [250] and caller.calls == 2 and [host for host, _ in said.attempts] == ["mx", "backup"]


def test_the_pause_grows_to_a_bound_and_a_success_ends_it(clock: Clock) -> None:
    lines, caller = dead(clock, ConnectionRefusedError("refused"))
    pauses = list[float]()
    for _ in range(7):
        with pytest.raises(ConnectionRefusedError):
            lines("mx", AWAY)
        begun = clock.now
        while True:
            clock.now += 10
            try:
                lines.absent.check(AWAY)
            except HostDown as error:
                assert "refused" in str(error)
                continue
            break
        pauses.append(clock.now - begun)
    assert pauses == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, LONGEST, LONGEST, LONGEST]
    lines.absent.answered(AWAY)
    lines.absent.failed(AWAY, OSError("again"))
    assert lines.absent.silent[AWAY].pause == FIRST
    clock.now += STALE + FIRST
    lines.absent.failed(AWAY, OSError("a day later"))
    assert lines.absent.silent[AWAY].pause == FIRST
    assert caller.calls == 7


def test_several_that_fail_at_once_are_one_failure(clock: Clock) -> None:
    absent = Absent(clock)
    for _ in range(8):
        absent.failed(AWAY, OSError("timed out"))
    assert absent.silent[AWAY].pause == FIRST


def test_a_clock_that_is_put_back_prolongs_no_pause(clock: Clock) -> None:
    absent = Absent(clock)
    absent.failed(AWAY, OSError("timed out"))
    clock.now -= 3600
    absent.check(AWAY)
    clock.now += 3600
    with pytest.raises(HostDown):
        absent.check(AWAY)


def test_so_many_are_remembered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "MOST", 3)
    absent = Absent(clock)
    for number in range(5):
        absent.failed((f"192.0.2.{number}", 25), OSError("timed out"))
    assert list(absent.silent) == [(f"192.0.2.{number}", 25) for number in (2, 3, 4)]


def refused(code: int = 421) -> SMTPServerDisconnected:
    error = SMTPServerDisconnected("leaving")
    error.reply = Reply(code, "not now")
    return error


@pytest.mark.parametrize("error, down", [
    (ConnectionRefusedError("refused"), True), (TimeoutError("timed out"), True), (OSError("no route"), True),
    (SMTPTimeout("no greeting"), True), (socket.gaierror("no such name"), True),
    (ssl.SSLError("bad record"), False), (SMTPServerDisconnected("hung up"), False), (refused(), False)])
def test_a_host_that_answers_is_not_down(clock: Clock, error: Exception, down: bool) -> None:
    """What it says is its own business, and costs no time; and TLS that fails is followed by the clear."""
    lines, _ = dead(clock, error)
    with pytest.raises(type(error)):
        lines("mx", AWAY)
    assert (AWAY in lines.absent.silent) == down


def test_whoever_asks_for_an_attempt_gets_one(tmp_path: Path, clock: Clock) -> None:
    """`queue --now`: a host that was down a minute ago is called, once for all letters."""
    lines, caller = dead(clock, TimeoutError("timed out"))
    deliver = forward(lambda: lines("mx", AWAY))
    with closing(Queue(tmp_path / "queue", "relay.rio.example", clock=clock)) as queue:
        queue.hurried = lines.absent.call_again
        for number in range(5):
            queue(Envelope(ANA, [f"u{number}@tokyo.example"]), io.BytesIO(LETTER))
        assert queue.attempt(deliver) == 5 and caller.calls == 1
        clock.now += 10
        assert queue.hurry() == 5
        clock.now += 1
        assert queue.attempt(deliver) == 5 and caller.calls == 2
        assert queue.attempt(deliver) == 0


def test_the_log_says_it_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "smtp_from_scratch.smtp.absent")
    lines, _ = dead(clock, TimeoutError("timed out"))
    for _ in range(3):
        with pytest.raises(OSError):
            lines("mx", AWAY)
    assert caplog.text.count("192.0.2.1 does not answer (timed out): it is not called again for 60 s") == 1

"""A server that limits calls is examined all the same, slower; and it is not accused of its limits."""
from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from smtp_from_scratch import Reply, Server
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.conformance.report import index
from smtp_from_scratch.conformance.server import gate
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, SKIPPED, Outcome, Target, all_dialogues, check
from smtp_from_scratch.conformance.server.scout import explore

BY_TITLE = {dialogue.title: dialogue for dialogue in all_dialogues() if dialogue.end == "server"}
ORDER = [dialogue for dialogue in BY_TITLE.values() if dialogue.source.startswith("rfc5321-order")]


@contextmanager
def listening(session: Callable[[socket.socket], object]) -> Iterator[Target]:
    """Calls one after another, each played by a function."""
    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, suppress(OSError):
                session(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield Target(*listener.getsockname(), moment=0.1)
        listener.shutdown(socket.SHUT_RDWR)


def limited(every: int, server: Server) -> Callable[[socket.socket], object]:
    """One call of so many is passed on to a server, the others hear 421."""
    count = 0

    def session(sock: socket.socket) -> None:
        nonlocal count
        count += 1
        if count % every:
            return sock.sendall(b"421 4.7.0 too many connections from your address\r\n")
        with socket.create_connection(server.address) as other:
            threading.Thread(target=pump, args=(other, sock), daemon=True).start()
            pump(sock, other)

    return session


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_calls_that_are_not_taken_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAUSES", (0.0,) * 6)
    told: list[str] = []
    with Server() as server, listening(limited(3, server)) as target:
        target.keywords = {"EHLO": "", "PIPELINING": ""}
        outcomes = list(check(target, ORDER, 4, told.append))
        freely = list(check(replace(target, host=server.address[0], port=server.address[1]), ORDER))
    assert [outcome.status for outcome in outcomes] == [outcome.status for outcome in freely]
    assert PASSED in {outcome.status for outcome in outcomes}
    assert told == ["does not take this call (421): from here on fewer at a time, with pauses"]


def test_a_server_that_takes_no_more_calls_ends_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAUSES", (0.0, 0.0))
    told: list[str] = []
    door = gate.Gate(8, told.append)
    with door.passed():
        assert door.refused(1e12, "421") and door.refused(1e12, "421") and not door.refused(1e12, "421")
    assert door.at_once == 2 and told == ["421: from here on fewer at a time, with pauses"]
    door.taken()
    assert door.refused(1e12, "421")
    door.close()
    assert not door.refused(1e12, "421")


def test_who_did_not_take_calls_is_put_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gate, "PAUSES", ())
    calls = 0

    def session(sock: socket.socket) -> None:
        nonlocal calls
        calls += 1
        sock.sendall(b"220 ready\r\n" if calls <= 2 else b"421 4.7.0 enough\r\n")
        while sock.recv(1000):
            sock.sendall(b"221 bye\r\n")

    with listening(session) as target:
        assert main(["check", "--only", "EHLO twice", f"{target.host}:{target.port}"]) == 75
    assert "did not take 1 calls" in capsys.readouterr().err


def putting_off(everybody: bool) -> Callable[[socket.socket], object]:
    """450 to every recipient, or to one whose path is no path."""
    def session(sock: socket.socket) -> None:
        sock.sendall(b"220 ready\r\n")
        with sock.makefile("rb") as lines:
            for line in lines:
                off = line.startswith(b"RCPT") and (everybody or b">" not in line)
                sock.sendall(b"450 4.7.1 too many recipients this minute\r\n" if off else b"250 fine\r\n")

    return session


@pytest.mark.parametrize("everybody", [True, False])
def test_a_limit_of_recipients_is_no_wrong_answer(everybody: bool) -> None:
    """What should be refused for good and is put off proves nothing, where everybody is."""
    with listening(putting_off(everybody)) as target:
        [outcome] = check(target, [BY_TITLE["RCPT with an open bracket"]])
    told = "says 450, and so to any recipient: not now" if everybody else "expected 501 or 5yz, got 450 4.7.1"
    assert outcome.status == (SKIPPED if everybody else FAILED) and outcome.reason.startswith(told)


def test_graylisting_is_told() -> None:
    seen: set[str] = set()

    def accept(address: str, envelope: object) -> Reply | None:
        new = address not in seen
        seen.add(address)
        return Reply(451, "greylisted", "4.7.1") if new else None

    with Server(hostname="localhost", accept_recipient=accept) as server:
        target = Target(*server.address)
        [sentence] = explore(target, recipient_given=False)
        assert sentence.startswith("it puts postmaster@example.org off (451 4.7.1 greylisted): if it is graylisting")
        reasons = {outcome.reason for outcome in check(target, ORDER) if outcome.status == SKIPPED}
    assert any(reason.startswith("puts postmaster@example.org off (451)") for reason in reasons)


def test_a_guess_demands_nothing() -> None:
    """530 without AUTH is no server for users."""
    with Server(accept_sender=lambda address, envelope: Reply(530, "STARTTLS first", "5.7.0")) as server:
        target = Target(*server.address)
        told = explore(target, recipient_given=False)
        assert not target.submission and told[0].startswith("it answers MAIL with 530 5.7.0 STARTTLS first, and offers")


def test_many_failures_are_listed_at_the_end() -> None:
    failed = [Outcome(dialogue, FAILED) for dialogue in BY_TITLE.values() if dialogue.section.startswith("§4.1.1.")]
    lines = index(failed).splitlines()
    assert lines[0] == "broken" and len(lines) == len(failed) + 1
    levels = [line.split()[0] for line in lines[1:]]
    assert levels == sorted(levels) and "MUST" in levels
    assert index(failed[:5]) == ""

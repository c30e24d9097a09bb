"""The checks of `connection` find what is wrong, and accept what is right in any style."""
from __future__ import annotations

import select
import selectors
import socket
import time
from contextlib import suppress
from typing import Any

import nbformat
import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.connection import linger, send_all
from smtp_from_scratch.conversation import Timeout
from smtp_from_scratch.lab.deadline import within
from tests.solutions import NOTEBOOKS


def refused(check: Any, wrong: Any, says: str) -> None:
    verdict = check(wrong)
    assert not verdict.passed and says in str(verdict), str(verdict)


# --- send, and read -------------------------------------------------------------------------------------------------


def only_sends(sock: Any, data: bytes, channel: Any, timeout: float = 180.0) -> None:
    sock.sendall(data)


def only_waits_to_write(sock: Any, data: bytes, channel: Any, timeout: float = 180.0) -> None:
    while data:
        try:
            data = data[sock.send(data, socket.MSG_DONTWAIT):]
        except BlockingIOError:
            if not select.select([], [sock], [], timeout)[1]:
                raise Timeout from None


def variant(sock: Any, data: bytes, channel: Any, timeout: float, *, keeps: bool = True, fresh: bool = False,
            stops: bool = False, gives_up: bool = True, loses: int = 0, spins: bool = False) -> None:
    """Right but for one thing."""
    deadline, listening = time.monotonic() + timeout, True
    while data:
        try:
            data = data[sock.send(data, socket.MSG_DONTWAIT) + loses:]
        except BlockingIOError:
            left = timeout if fresh else max(0.0, deadline - time.monotonic())
            readable, writable, _ = select.select([sock] if listening else [], [sock], [], left)
            if not readable and not writable or (not fresh and time.monotonic() >= deadline):
                if gives_up:
                    raise Timeout from None
                return
            if readable:
                heard = sock.recv(65_536)
                listening = spins or bool(heard)
                if not heard and stops:
                    return
                if keeps:
                    channel.receive(heard)


@pytest.mark.parametrize("wrong, says", [
    (lambda sock, data, channel, timeout: None, "Not yet"),
    (lambda sock, data, channel, timeout: sock.send(data), "does not read"),
    (only_sends, "a send that does not read"), (only_waits_to_write, "a send that does not read"),
    (lambda *things: variant(*things, keeps=False), "what was heard while sending is gone"),
    (lambda *things: variant(*things, stops=True), "Who says no more may listen"),
    (lambda *things: variant(*things, fresh=True), "long after its time"),
    (lambda *things: variant(*things, spins=True), "asked again"),
    (lambda *things: variant(*things, gives_up=False), "does not raise Timeout"),
    (lambda *things: variant(*things, loses=1), "octets arrived"),
], ids=range(10))
def test_send_all(wrong: Any, says: str) -> None:
    refused(lab.check_send_all, wrong, says)


def with_a_selector(sock: Any, data: bytes, channel: Any, timeout: float = 180.0) -> None:
    end, view, events = time.monotonic() + timeout, memoryview(data), selectors.EVENT_READ | selectors.EVENT_WRITE
    with selectors.DefaultSelector() as selector:
        selector.register(sock, events)
        while len(view):
            if time.monotonic() > end:
                raise Timeout
            for _, ready in selector.select(max(0.0, end - time.monotonic())):
                if ready & selectors.EVENT_READ:
                    piece = sock.recv(4096)
                    channel.receive(piece)
                    if not piece:
                        selector.modify(sock, selectors.EVENT_WRITE)
                if ready & selectors.EVENT_WRITE:
                    with suppress(BlockingIOError):
                        view = view[sock.send(view, socket.MSG_DONTWAIT):]


@pytest.mark.parametrize("right", [send_all, variant, with_a_selector])
def test_send_all_in_three_styles(right: Any) -> None:
    verdict = lab.check_send_all(right)
    assert verdict.passed, str(verdict)


# --- part -----------------------------------------------------------------------------------------------------------


def close_at_once(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    with suppress(OSError):
        sock.send(last)
    sock.close()


def forgets_to_say_it_is_done(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    with suppress(OSError), sock:
        sock.settimeout(patience)
        sock.send(last)
        while sock.recv(65_536):
            pass


def reads_for_ever(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    with suppress(OSError), sock:
        sock.settimeout(patience)
        sock.send(last)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536):
            pass


def leaves_it_open(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    with suppress(OSError):
        sock.settimeout(patience)
        sock.send(last)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536):
            pass


def lets_it_out(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    end = time.monotonic() + patience
    with sock:
        sock.send(last)
        sock.shutdown(socket.SHUT_WR)
        while time.monotonic() < end:
            sock.settimeout(max(0.001, end - time.monotonic()))
            try:
                if not sock.recv(65_536):
                    break
            except TimeoutError:
                break


def says_nothing(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    linger(sock, patience)


def shuts_both(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    with suppress(OSError), sock:
        sock.send(last)
        sock.shutdown(socket.SHUT_RDWR)


def out_of_patience(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    until = time.monotonic() + patience
    sock.sendall(last)
    sock.shutdown(socket.SHUT_WR)
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        if not sock.recv(65_536):
            break
    sock.close()


@pytest.mark.parametrize("wrong, says", [
    (out_of_patience, "TimeoutError is an OSError"),
    (lambda sock, patience, last: None, "Not yet"), (close_at_once, "last words that do not arrive"),
    (forgets_to_say_it_is_done, "silence"),
    (reads_for_ever, "never stops"), (leaves_it_open, "still open"), (lets_it_out, "when the caller has vanished"),
    (says_nothing, "last words that do not arrive"), (shuts_both, "cut off"),
], ids=range(9))
def test_linger(wrong: Any, says: str) -> None:
    refused(lab.check_linger, wrong, says)


def by_finally(sock: Any, patience: float = 1.0, last: bytes = b"") -> None:
    until = time.monotonic() + patience
    try:
        sock.sendall(last)
        sock.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            if sock.recv(1000) == b"":
                break
    except OSError:
        pass
    finally:
        sock.close()


@pytest.mark.parametrize("right", [linger, by_finally])
def test_linger_in_two_styles(right: Any) -> None:
    verdict = lab.check_linger(right)
    assert verdict.passed, str(verdict)


# --- what is known ----------------------------------------------------------------------------------------------------

SECONDS = {"silent": 300, "dripping": 300, "polite": 29_900, "trickle": 360, "flood": 0}


@pytest.mark.parametrize("change, says", [
    ({"silent": ...}, "Not yet"), ({"dripping": 600}, "earlier than that"), ({"polite": 30_000 * 10}, "earlier"),
    ({"polite": 300}, "later"), ({"trickle": 180}, "later"), ({"trickle": 1e9}, "earlier"), ({"flood": 300}, "earlier"),
])
def test_seconds(change: Any, says: str) -> None:
    refused(lab.check_seconds, SECONDS | change, says)


def test_seconds_in_two_styles() -> None:
    assert lab.check_seconds(SECONDS).passed
    other = {"polite": 100 * 299.0, "trickle": 180 / (1 - 250 / 500), "silent": 300.4}
    assert lab.check_seconds(SECONDS | other).passed


def test_the_line_that_is_heard_too_patiently_has_that_bug_alone() -> None:
    [text] = [cell["source"] for cell in nbformat.read(NOTEBOOKS / "06_connection.ipynb", as_version=4).cells
              if cell["id"] == "ex-bugs"]
    source = text.partition("```python\n")[2].partition("\n\n")[0]
    found: dict[str, Any] = {"CRLF": b"\r\n", "time": time}
    exec(source, found)
    near, far = socket.socketpair()
    with near:
        far.sendall(b"220 tok")
        far.close()                            # chapter wire: b"" again and again, and a loop that never ends
        assert within(5.0, lambda: found["hear_line"](near)) == b"220 tok"


@pytest.mark.parametrize("answers, says", [
    ({}, "Not yet"), ({"A": 4, "B": 4, "C": 3}, "a line number for D"),
    ({"A": 6, "B": 4, "C": 3, "D": 5}, "line 6 for A"),
    ({"A": 4, "B": 1, "C": 3, "D": 5}, "line 1 for B"), ({"A": 4, "B": 4, "C": 2, "D": 5}, "line 2 for C"),
    ({"A": 4, "B": 4, "C": 3, "D": 3}, "line 3 for D"), ({"A": "four", "B": 4, "C": 3, "D": 5}, "number of a line"),
    ({"A": 4, "B": 4, "C": "line 2", "D": 5}, "line 2 for C"),
])
def test_stage_bugs(answers: Any, says: str) -> None:
    refused(lab.check_stage_bugs, answers, says)


@pytest.mark.parametrize("answers", [{"A": 4, "B": 4, "C": 3, "D": 5}, {"A": "4", "B": "3", "C": " 3", "D": 4},
                                     {"A": 4, "B": "Line 4", "C": 4, "D": "line 5"}])
def test_stage_bugs_in_two_styles(answers: Any) -> None:
    assert lab.check_stage_bugs(answers).passed

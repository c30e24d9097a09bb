"""TCP that waits for nothing."""
from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from smtp_from_scratch import connection
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Line
from smtp_from_scratch.prompt import QUICKACK, acknowledge, send_at_once


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), 10)
        far, _ = listener.accept()
    with near, far:
        yield near, far


def test_a_short_flight_leaves_at_once(line: tuple[socket.socket, socket.socket]) -> None:
    assert not line[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert send_at_once(line[0]) and line[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_unix_socket_has_no_such_options() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert not send_at_once(near) and not acknowledge(near)


@pytest.mark.skipif(QUICKACK is None, reason="this system has no TCP_QUICKACK")
@pytest.mark.parametrize("role, times", [("C", 2), ("S", 0)])
def test_a_client_acknowledges_whenever_it_listens(line: tuple[socket.socket, socket.socket], role: str, times: int,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two replies waits for that, where a server has Nagle's algorithm."""
    asked = []
    ours = Connection(line[0], role)
    monkeypatch.setattr(connection, "acknowledge", lambda sock: asked.append(sock) or acknowledge(sock))

    def listen() -> Iterator[Line]:
        for number in range(2):
            line[1].sendall(b"%d\r\n" % number)
            yield Line()

    ours.play(listen())  # type: ignore[arg-type]
    assert asked == [line[0]] * times


@pytest.mark.skipif(QUICKACK is None, reason="this system has no TCP_QUICKACK")
def test_that_is_said_each_time_since_the_system_forgets(line: tuple[socket.socket, socket.socket]) -> None:
    assert acknowledge(line[0]) and line[0].getsockopt(socket.IPPROTO_TCP, QUICKACK or 0)

"""The client as people know it: addresses, default ports, where it calls from, and what it prints when asked to."""
from __future__ import annotations

import socket

import pytest

from smtp_from_scratch import Client, Passwords, Server
from smtp_from_scratch.smtp.base import host_and_port


@pytest.mark.parametrize(("host", "port", "found"), [
    ("mx.tokyo.example", 0, ("mx.tokyo.example", 25)), ("mx.tokyo.example", 2525, ("mx.tokyo.example", 2525)),
    ("mx.tokyo.example:2525", 0, ("mx.tokyo.example", 2525)), ("127.0.0.1:587", 0, ("127.0.0.1", 587)),
    ("::1", 0, ("::1", 25)), ("[::1]", 0, ("::1", 25)), ("[::1]:465", 0, ("::1", 465)), ("::1", 26, ("::1", 26)),
    ("[::1]", 26, ("::1", 26))])
def test_an_address_in_one_word_or_two(host: str, port: int, found: tuple[str, int]) -> None:
    assert host_and_port(host, port, 25) == found


@pytest.mark.parametrize(("host", "port"), [("mx:25", 25), ("mx:0", 0), ("mx:", 0), ("mx:smtp", 0), ("mx:70000", 0),
                                             ("mx:²", 0)])
def test_a_port_that_is_none_is_told(host: str, port: int) -> None:
    with pytest.raises(ValueError, match="HOST:PORT|twice"):
        host_and_port(host, port, 25)


@pytest.mark.parametrize(("options", "port"), [
    ({}, 25), ({"user": "ana", "password": "x"}, 587), ({"user": "ana", "token": "x"}, 587),
    ({"implicit_tls": True}, 465), ({"implicit_tls": True, "user": "ana", "password": "x"}, 465), ({"tls": True}, 25)])
def test_the_port_follows_from_what_is_asked(options: dict[str, object], port: int,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], *_: object) -> socket.socket:
        called.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(ConnectionRefusedError):
        Client("mx.tokyo.example", **options)              # type: ignore[arg-type]
    assert called == [("mx.tokyo.example", port)]


def test_it_calls_from_where_it_is_told_to() -> None:
    with Server() as server, Client(*server.address, source_address=("127.0.0.2", 0)) as smtp:
        smtp.sendmail("ana@rio.example", "kenji@tokyo.example", "hi")
        assert server.messages[0].envelope.peer == "127.0.0.2"


@pytest.mark.parametrize("seconds", [float("inf"), 1e12])
def test_a_timeout_of_any_size_is_one(seconds: float) -> None:
    """`inf` caps nothing: the waits are those of the RFC."""
    with Server() as server, Client(*server.address, timeout=seconds) as smtp:
        assert smtp.sendmail("ana@rio.example", "kenji@tokyo.example", "hi").accepted


def test_debug_prints_the_dialogue_and_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(users=Passwords({"ana": "mango"}), insecure_auth=True) as server:
        with Client("{}:{}".format(*server.address), debug=True) as smtp:
            assert smtp.login("ana", "mango", insecure=True) in ("CRAM-MD5", "PLAIN", "LOGIN")
            smtp.sendmail("ana@rio.example", "kenji@tokyo.example", "Subject: hi\x1b[2J\r\n\r\nthere\r\n")
    said = capsys.readouterr().err
    assert said.startswith("S: 220 ") and "C: MAIL FROM:<ana@rio.example>" in said and "C: QUIT\n" in said
    assert "mango" not in said and "AG1hbmdv" not in said and "\x1b" not in said

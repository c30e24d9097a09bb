"""What RFC 5321 asks of a client beyond the other tests: its name, its patience, its goodbye, and how it reads."""
from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client, Reply, Server
from smtp_from_scratch import client as c
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.conversation import read_reply, rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.smtp import host_literal

YUI, KENJI = "yui@tokyo.example", "kenji@tokyo.example"


@contextmanager
def scripted(*replies: bytes, hang_up: bool = False) -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """A server that says the first of these, and one more for each line it hears; yields its address and the lines."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def run() -> None:
            with listener.accept()[0] as sock, sock.makefile("rb") as lines:
                sock.settimeout(10)
                for reply in replies:
                    sock.sendall(reply)
                    heard.append(lines.readline())
                if not hang_up:
                    heard.extend(lines)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname(), heard
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("name, expected", [
    ("mail.rio.example", "mail.rio.example"), ("laptop", "[127.0.0.1]"), ("localhost", "[127.0.0.1]"),
    ("josés-laptop.rio.example", "[127.0.0.1]"), ("", "[127.0.0.1]"),
])
def test_the_client_calls_itself_by_its_full_name_or_its_address(
        name: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    with Server() as server, Client(*server.address) as smtp:
        assert smtp.connection and host_literal(smtp.connection.socket) == expected
        smtp.sendmail("ana@rio.example", KENJI, "hello")
        assert server.wait_for(1)[0].envelope.hello == expected


def test_the_client_waits_for_each_reply() -> None:
    letters = [(Envelope("ana@rio.example", [YUI, KENJI]), [b"Subject: x\r\n\r\ntext\r\n"])]
    show = rehearse(c.deliver("rio.example", letters), serve(Session("tokyo.example")))
    turns: list[tuple[str, bytes]] = []
    for said in show.said:
        if turns and turns[-1][0] == said.who:
            turns[-1] = said.who, turns[-1][1] + said.data
        else:
            turns.append((said.who, said.data))
    assert [who for who, _ in turns] == ["S", "C"] * 7 + ["S"], "the server first; then a reply to each command"
    assert all(data.count(b"\r\n") == 1 for who, data in turns if who == "C" and b"Subject" not in data)
    assert turns[-2:] == [("C", b"QUIT\r\n"), ("S", turns[-1][1])] and turns[-1][1].startswith(b"221 ")


@pytest.mark.parametrize("line, code", [(b"250\r\n", 250), (b"250 \r\n", 250), (b"250-\r\n250\r\n", 250),
                                        (b"250-\r\n250 \r\n", 250), (b"354\r\n", 354), (b"550\r\n", 550)])
def test_a_reply_needs_no_text(line: bytes, code: int) -> None:
    def mute() -> Iterator[Any]:
        yield line

    reply = rehearse(read_reply(), mute()).client
    assert reply.code == code and not reply.text.strip()


@pytest.mark.parametrize("text", ["", "550 no such user", "error", "421 closing", "5.1.1 unknown", "QUIT", "x" * 500])
def test_the_text_of_a_reply_means_nothing(text: str) -> None:
    good = [f"{code} {text}\r\n".encode() for code in (220, 250, 250, 250, 354)]
    with scripted(*good[:4], good[4], b"", f"250 {text}\r\n".encode(), b"221 bye\r\n") as (address, heard), \
            Client(*address, timeout=5) as smtp:
        assert smtp.sendmail("ana@rio.example", YUI, "x").accepted == [YUI]
    assert heard[-1] == b"QUIT\r\n" or heard[-2] == b"QUIT\r\n"


@pytest.mark.parametrize("refusal", ["sender", "recipient", "body"])
def test_quit_is_said_whatever_was_refused(refusal: str) -> None:
    said: list[bytes] = []

    def no(*_: object) -> Reply:
        return Reply(550, "no")

    options: dict[str, Any] = {"sender": {"accept_sender": no}, "recipient": {"accept_recipient": no},
                               "body": {"deliver": no}}[refusal]
    with Server(**options) as server:
        with Client(*server.address, tap=lambda record: said.append(record.data)) as smtp:
            with pytest.raises(c.SMTPException):
                smtp.sendmail("ana@rio.example", KENJI, "hello")
    assert said[-2] == b"QUIT\r\n" and said[-1].startswith(b"221 ")


@pytest.mark.parametrize("refusal", [b"554 not for you\r\n", b"220 hi\r\n"])
def test_quit_is_said_to_a_server_that_refuses_the_session(refusal: bytes) -> None:
    rest = [b"550 nor for you\r\n"] * refusal.startswith(b"220")
    with scripted(refusal, *rest, *rest, b"221 bye\r\n") as (address, heard):
        with pytest.raises(c.SMTPResponseException, match="for you"):
            Client(*address, timeout=5)
    assert b"QUIT\r\n" in heard


def test_nothing_is_said_to_a_server_that_greets_with_421() -> None:
    with scripted(b"421 too busy\r\n") as (address, heard), pytest.raises(c.SMTPException, match="busy"):
        Client(*address, timeout=5)
    assert heard == [b""]


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "gone"])
def test_a_connection_that_breaks_is_a_letter_put_off(
        silent: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "letter"
    file.write_bytes(b"hello\r\n")
    with scripted(b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", hang_up=not silent) as (address, _):
        code = main(["send", "--server", "{}:{}".format(*address), "--from", "ana@rio.example", "--to", KENJI,
                     "--timeout", "0.3" if silent else "5", str(file)])
    assert code == 75 and "Traceback" not in capsys.readouterr().err

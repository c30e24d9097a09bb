"""LMTP at both ends: a reply for each recipient, whatever the transaction looks like (RFC 2033)."""
from __future__ import annotations

import asyncio
import smtplib
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import IO, Any

import pytest

from smtp_from_scratch import (
    AsyncClient,
    Client,
    Envelope,
    Pipelining,
    Reply,
    Server,
    SMTPDataError,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPServerDisconnected,
    Submission,
    client_extensions,
    compat,
    server_extensions,
)
from smtp_from_scratch.chunking import Octets
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Line
from smtp_from_scratch.smtp.server import STAGES

YUI, KENJI, SORA = "yui@tokyo.example", "kenji@tokyo.example", "sora@tokyo.example"
ANA, LETTER = "ana@rio.example", b"Subject: Choir\r\n\r\nMonday.\r\n"
FULL = Reply(452, "the mailbox is full", "4.2.2")
unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")

BODIES: dict[str, Any] = {
    "BDAT": lambda: client_extensions(), "BDAT that may not wait": lambda: client_extensions(eager=True),
    "DATA": lambda: client_extensions(without=["CHUNKING"]),
    "DATA, one command at a time": lambda: client_extensions(without=["CHUNKING", "PIPELINING"]),
    "no extension": list,
}


def yui_is_full(envelope: Envelope, body: IO[bytes]) -> dict[str, Reply]:
    return {address: FULL if address == YUI else Reply(250, f"kept for {address}") for address in envelope.recipients}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("body", BODIES)
def test_each_recipient_has_a_reply(stage: str, body: str) -> None:
    with Server(lmtp=True, deliver=yui_is_full, stage=stage) as server, \
            Client(*server.address, lmtp=True, extensions=BODIES[body](), timeout=10) as client:
        for _ in range(2):                      # no reply is left over for the next
            receipt = client.sendmail(ANA, [KENJI, YUI, SORA], LETTER)
            assert receipt.accepted == [KENJI, SORA] and receipt.done
            said = [reply.text.removeprefix("4.2.2 ").removeprefix("2.6.0 ") for reply in receipt.recipients.values()]
            assert said == [f"kept for {KENJI}", "the mailbox is full", f"kept for {SORA}"]
        assert client.noop().positive


@pytest.mark.parametrize("body", BODIES)
def test_nobody_gets_it(body: str) -> None:
    with Server(lmtp=True, deliver=lambda envelope, body: FULL) as server, \
            Client(*server.address, lmtp=True, extensions=BODIES[body](), timeout=10) as client:
        with pytest.raises(SMTPDataError) as caught:
            client.sendmail(ANA, [KENJI, YUI], LETTER)
        assert caught.value.receipt and list(caught.value.receipt.refused) == [KENJI, YUI]
        assert client.noop().positive


def test_a_series_in_few_flights() -> None:
    with Server(lmtp=True, deliver=yui_is_full) as server, Client(*server.address, lmtp=True, timeout=10) as client:
        receipts = list(client.send_messages(message(to) for to in ([KENJI, YUI], [YUI], [SORA, KENJI])))
    assert [receipt.accepted for receipt in receipts] == [[KENJI], [], [SORA, KENJI]]
    assert [list(receipt.refused) for receipt in receipts] == [[YUI], [YUI], []]


def message(to: Iterable[str]) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = ANA, ", ".join(to), "Choir"
    made.set_content("Monday.\n")
    return made


def test_a_recipient_who_is_refused_is_not_answered_for_again() -> None:
    def accept(address: str, envelope: Envelope) -> Reply | None:
        return Reply(550, "no such mailbox", "5.1.1") if address == SORA else None

    with Server(lmtp=True, deliver=yui_is_full, accept_recipient=accept) as server, \
            Client(*server.address, lmtp=True, timeout=10) as client:
        receipt = client.sendmail(ANA, [SORA, YUI, KENJI], LETTER)
        assert receipt.accepted == [KENJI] and {a: r.code for a, r in receipt.refused.items()} == {SORA: 550, YUI: 452}


def test_deliver_that_breaks_refuses_for_each() -> None:
    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        raise RuntimeError("the disk is gone")

    with Server(lmtp=True, deliver=deliver) as server, Client(*server.address, lmtp=True, timeout=10) as client:
        receipt = client.transact(Envelope(ANA, [KENJI, YUI]), LETTER)
        assert [reply.code for reply in receipt.refused.values()] == [451, 451]


def test_a_message_that_is_too_large_is_refused_for_each() -> None:
    with Server(lmtp=True, max_size=100) as server, \
            Client(*server.address, lmtp=True, timeout=10, extensions=[Pipelining()]) as client:
        receipt = client.transact(Envelope(ANA, [KENJI, YUI]), b"x" * 1000)
        assert [reply.code for reply in receipt.refused.values()] == [552, 552]
        assert client.noop().positive


def test_received_says_lmtp() -> None:
    with Server(lmtp=True) as server, Client(*server.address, lmtp=True, timeout=10) as client:
        client.sendmail(ANA, [KENJI], LETTER)
        client.sendmail("josé@rio.example", [KENJI], LETTER)
    assert [one.envelope.protocol for one in server.messages] == ["LMTP", "UTF8LMTP"]


def test_smtplib_speaks_to_it_and_compat_hears_all_replies() -> None:
    with Server(lmtp=True, deliver=yui_is_full) as server:
        with smtplib.LMTP(*server.address, local_hostname="mx.example") as lmtp:
            assert lmtp.sendmail(ANA, [KENJI], LETTER) == {}
        with compat.LMTP(*server.address, local_hostname="mx.example") as ours:
            assert ours.sendmail(ANA, [KENJI, YUI], LETTER) == {YUI: (452, b"4.2.2 the mailbox is full")}
            assert ours.noop()[0] == 250


# --- who speaks what ---------------------------------------------------------------------------------------------


def test_one_end_in_lmtp_and_the_other_not() -> None:
    with Server() as server, pytest.raises(SMTPNotSupportedError, match="not LMTP"):
        Client(*server.address, lmtp=True, timeout=10)
    with Server(lmtp=True) as server, pytest.raises(SMTPHeloError, match="I know .*LHLO"):
        Client(*server.address, timeout=10)


def test_what_lmtp_cannot_be() -> None:
    class At25(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return "127.0.0.1", 25

    with pytest.raises(ValueError, match="25"):
        Server(port=25, lmtp=True)
    with At25() as listening, pytest.raises(ValueError, match="25"):
        Server(listening, lmtp=True)
    with pytest.raises(ValueError, match="submission"):
        Server(submission=Submission(), lmtp=True)
    with pytest.raises(ValueError, match="offers ENHANCEDSTATUSCODES and PIPELINING"):
        Server(extensions=None, lmtp=True)
    with pytest.raises(ValueError, match="offers PIPELINING"):
        Server(extensions=server_extensions(without=["PIPELINING"]), lmtp=True)
    with pytest.raises(ValueError, match="LMTP has extensions"):
        Client(lmtp=True, extensions=None)


def test_a_hint_names_lhlo() -> None:
    with Server(lmtp=True) as server, socket.create_connection(server.address, 10) as sock:
        lines = sock.makefile("rb")
        assert b"LMTP ready" in lines.readline()
        sock.sendall(b"MAIL FROM:<>\r\nLHLO\r\nHELP LHLO\r\n")
        assert b"LHLO first" in lines.readline() and b"say LHLO" in lines.readline() and b"LHLO" in lines.readline()


# --- the line breaks among the replies ---------------------------------------------------------------------------


def lmtp_script(*after: str) -> Conversation[None]:
    """A server that says this after a body for three, and hangs up."""
    yield b"220 hi\r\n"
    for reply in ("250-hi\r\n250 ENHANCEDSTATUSCODES", "250 ok", "250 ok", "250 ok", "250 ok", "354 go"):
        yield Line()
        yield f"{reply}\r\n".encode()
    while (yield Line(65_536)) != b".":
        pass
    for line in after:
        yield f"{line}\r\n".encode()


def against(script: Conversation[None], use: Callable[[Client], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            connection = Connection(listener.accept()[0], "S")
            connection.play(script)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with suppress(SMTPServerDisconnected), Client(*listener.getsockname(), lmtp=True, timeout=10) as client:
            use(client)
        thread.join(10)


@pytest.mark.parametrize("after, accepted, refused, unknown", [
    ([], [], [], [KENJI, YUI, SORA]),
    (["250 2.6.0 kept"], [KENJI], [], [YUI, SORA]),
    (["452 4.2.2 full"], [], [KENJI], [YUI, SORA]),
    (["452 4.2.2 full", "250 2.6.0 kept"], [YUI], [KENJI], [SORA]),
    (["250 2.6.0 kept", "421 4.3.2 leaving"], [KENJI], [YUI, SORA], []),
    (["452 4.2.2 full", "421 4.3.2 leaving"], [], [KENJI, YUI, SORA], []),
    (["421 4.3.2 leaving"], [], [KENJI, YUI, SORA], []),
    (["250 2.6.0 a", "250 2.6.0 b", "250 2.6.0 c"], [KENJI, YUI, SORA], [], [])])
def test_what_is_known_when_the_line_breaks(after: list[str], accepted: list[str], refused: list[str],
                                            unknown: list[str]) -> None:
    def use(client: Client) -> None:
        try:
            receipt = client.transact(Envelope(ANA, [KENJI, YUI, SORA]), LETTER)
        except SMTPServerDisconnected as error:
            assert error.receipt and not accepted
            receipt = error.receipt
        seen.append((receipt.accepted, list(receipt.refused), receipt.unknown))

    seen: list[tuple[list[str], list[str], list[str]]] = []
    against(lmtp_script(*after), use)
    assert seen == [(accepted, refused, unknown)]


@pytest.mark.parametrize("first", [503, 552])
def test_where_there_is_no_transaction_one_reply_is_all(first: int) -> None:
    """A server may forget a message whose piece it refused; we waited ten minutes for two more replies."""
    def script() -> Conversation[None]:
        yield b"220 hi\r\n"
        for reply in ("250-hi\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES", *["250 ok"] * 4):
            yield Line()
            yield f"{reply}\r\n".encode()
        code, line = first, b""
        while not line.endswith(b" LAST"):
            octets = Octets(int((line := (yield Line())).split()[1]))
            while octets.left:
                yield octets
            yield f"{code} 5.5.0 no\r\n".encode()
            code = 503
        for _ in range(2):
            yield f"252 {(yield Line()).decode()}\r\n".encode()

    def use(client: Client) -> None:
        letter = b"mangoes\r\n" * (1 if first == 503 else 400_000)      # several pieces
        receipt = client.transact(Envelope(ANA, [KENJI, YUI, SORA]), letter)
        codes.extend([reply.code for reply in receipt.refused.values()])
        assert receipt.refused_by == "body" and not receipt.unknown
        assert [client.rset().text, client.noop().text] == ["RSET", "NOOP"]

    codes = list[int]()
    against(script(), use)
    assert codes == [first] * 3


# --- sockets with a path -----------------------------------------------------------------------------------------


async def sent_by_a_task(host: str) -> list[str]:
    async with AsyncClient(host, lmtp=True, timeout=10) as client:
        return (await client.sendmail(ANA, [KENJI, YUI], LETTER)).accepted


@unix
@pytest.mark.parametrize("stage", STAGES)
def test_a_path_in_place_of_host_and_port(tmp_path: Path, stage: str) -> None:
    path = tmp_path / "lmtp"
    with Server(f"unix:{path}", lmtp=True, deliver=yui_is_full, stage=stage) as server:
        assert server.address == (f"unix:{path}", 0)
        for host in (str(path), server.address[0]):
            with Client(host, lmtp=True, timeout=10) as client:
                assert client.sendmail(ANA, [KENJI, YUI], LETTER).accepted == [KENJI]
        assert asyncio.run(sent_by_a_task(str(path))) == [KENJI]
        with compat.LMTP(str(path)) as lmtp:
            assert lmtp.noop()[0] == 250
        with pytest.raises(OSError), Server(f"unix:{path}"):
            pass                                # somebody listens there
    assert not path.exists()
    with pytest.raises(OSError):
        Client(str(path))


@unix
def test_a_socket_that_another_server_has_put_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    with Server(f"unix:{path}") as old:
        path.unlink()                           # as a script that starts a service does
        with Server(f"unix:{path}") as new:
            old.stop()
            with Client(new.address[0], timeout=10) as client:
                assert client.noop().positive
        assert not path.exists()


@unix
def test_a_socket_left_behind_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "smtp"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with Server(f"unix:{path}") as server, Client(server.address[0], timeout=10) as client:
        assert client.noop().positive           # SMTP, too
    path.write_text("precious")
    with pytest.raises(OSError):
        Server(f"unix:{path}")
    assert path.read_text() == "precious"

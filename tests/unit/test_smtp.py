"""The front door: what users of the package see."""
from __future__ import annotations

import io
import logging
import smtplib
import socket
import ssl
import threading
from email.message import EmailMessage
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import pytest

import smtp_from_scratch
from smtp_from_scratch import (
    Client,
    Envelope,
    Maildir,
    Reply,
    Server,
    SMTPDataError,
    SMTPException,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeout,
    deliver,
)
from tests.ours import TLS


def letter(subject: str = "Hello", **header: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ana <ana@rio.example>"
    message["To"] = "kenji@tokyo.example"
    message["Subject"] = subject
    for name, value in header.items():
        message[name] = value
    message.set_content("One line.\n")
    return message


def test_public_names_are_these() -> None:
    assert smtp_from_scratch.__all__ == [
        "AsyncClient", "Auth", "BinaryMime", "Chunking", "Client", "Dsn", "EightBitMime", "EnhancedStatusCodes",
        "Envelope", "Extension", "Maildir", "Passwords", "Pipelining", "Pop3Server", "Queue", "Receipt",
        "ReceivedMessage", "Relay", "Reply", "SMTPAuthenticationError", "SMTPConnectError", "SMTPDataError",
        "SMTPException", "SMTPHeloError", "SMTPNotSupportedError", "SMTPRecipientsRefused", "SMTPResponseException",
        "SMTPSenderRefused", "SMTPServerDisconnected", "SMTPTimeout", "Server", "Signer", "Size", "SmtpUtf8",
        "StartTLS", "Submission", "Trust", "UserFile", "client_extensions", "deliver", "send_all", "server_extensions",
    ]
    for name in smtp_from_scratch.__all__:
        assert getattr(smtp_from_scratch, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Postman'"):
        smtp_from_scratch.Postman  # noqa: B018


def test_the_fixture_keeps_what_it_is_sent(smtp_server: Server) -> None:
    with smtplib.SMTP(*smtp_server.address) as smtp:
        smtp.send_message(letter())
    [kept] = smtp_server.wait_for(1)
    assert kept.envelope.recipients == ["kenji@tokyo.example"]
    assert kept.message["Subject"] == "Hello" and kept.envelope.peer == "127.0.0.1"


def test_a_message_for_seven_bits(smtp_server: Server) -> None:
    message = letter("Olá, São Paulo", Bcc="secret@oslo.example")
    message.set_content("É março em Tóquio.\n")
    old = MIMEText("Grüße", _charset="utf-8")
    old["From"], old["To"] = "ana@rio.example", "kenji@tokyo.example"
    with Client(*smtp_server.address, extensions=None) as smtp:
        assert smtp.send_message(message).accepted == ["kenji@tokyo.example", "secret@oslo.example"]
        smtp.send_message(old)
    first, second = smtp_server.wait_for(2)
    assert first.data.isascii() and first.message.get_content() == "É março em Tóquio.\r\n".replace("\r\n", "\n")
    assert first.message["Subject"] == "Olá, São Paulo" and "Bcc" not in first.message
    assert message["Bcc"] == "secret@oslo.example"                  # the caller's message is left alone
    assert second.data.isascii() and "Grüße" in second.message.get_content()


def test_bodies_of_every_kind(smtp_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_bytes(b"from a file\n")
    with Client(*smtp_server.address) as smtp, path.open("rb") as file:
        for body in ("text\n", b"octets\n", file, io.BytesIO(b"memory\n"), [b"blo", b"cks\n"], iter([b"once\n"])):
            assert smtp.sendmail("ana@rio.example", "kenji@tokyo.example", body).accepted
    assert [kept.data for kept in smtp_server.wait_for(6)] == [
        b"text\r\n", b"octets\r\n", b"from a file\r\n", b"memory\r\n", b"blocks\r\n", b"once\r\n"]


@pytest.mark.parametrize("body", ["São", "São".encode(), [b"S\xc3", b"\xa3o"], io.BytesIO(b"S\xe3o")])
def test_eight_bits_are_refused_before_anything_is_sent(smtp_server: Server, body: object) -> None:
    with Client(*smtp_server.address, extensions=None) as smtp:
        with pytest.raises(SMTPNotSupportedError):
            smtp.sendmail("ana@rio.example", "kenji@tokyo.example", body)  # type: ignore[arg-type]
        assert smtp.noop().positive and not smtp_server.messages


@pytest.mark.parametrize("sender, recipients", [
    ("ana@rio.example", "kenji@tokyo.example>\r\nRCPT TO:<evil@x.example"), ("ana@rio.example\r\nDATA", "a@b.example"),
    ("ana@rio.example", "ken\0ji@tokyo.example"), ("ana@rio.example", "josé @exemplo.example"), ("ana@rio.example", []),
    ("ana@rio.example", ""), ("ana@rio.example", "two words@tokyo.example"), ("", "a" * 65 + "@b.example"),
])
def test_bad_addresses_cost_nothing(smtp_server: Server, sender: str, recipients: list[str] | str) -> None:
    with Client(*smtp_server.address) as smtp:
        with pytest.raises(ValueError):
            smtp.sendmail(sender, recipients, "hello")
        with pytest.raises(ValueError):
            smtp.docmd("NOOP", "a\r\nQUIT")
        assert smtp.sendmail("ana@rio.example", "kenji@tokyo.example", "hello").accepted


def test_refusals_are_named_as_in_smtplib() -> None:
    def sender(address: str, envelope: object) -> Reply | None:
        return Reply(550, "we do not write to each other") if address.startswith("mallory") else None

    def recipient(address: str, envelope: object) -> Reply | None:
        return Reply(450, "later") if address.startswith("li@") else None

    with Server(accept_sender=sender, accept_recipient=recipient, max_size=1000) as server, \
            Client(*server.address) as smtp:
        with pytest.raises(SMTPSenderRefused) as mail:
            smtp.sendmail("mallory@x.example", "kenji@tokyo.example", "x")
        with pytest.raises(SMTPRecipientsRefused) as rcpt:
            smtp.sendmail("ana@rio.example", "li@beijing.example", "x")
        with pytest.raises(SMTPNotSupportedError, match="2002 octets; the server takes 1000"):
            smtp.sendmail("ana@rio.example", "kenji@tokyo.example", "x" * 2000)
        with pytest.raises(SMTPDataError) as data:     # of such a body nobody knows the size beforehand
            smtp.sendmail("ana@rio.example", "kenji@tokyo.example", iter([b"x" * 1000, b"y" * 1000]))
        assert (mail.value.smtp_code, data.value.smtp_code) == (550, 552)
        assert mail.value.smtp_error == b"5.0.0 we do not write to each other"
        assert rcpt.value.recipients == {"li@beijing.example": (450, b"4.0.0 later")}
        assert rcpt.value.receipt and rcpt.value.receipt.refused == {"li@beijing.example": Reply(450, "later", "4.0.0")}
        receipts = list(smtp.send_messages([letter(), letter(To2="x"), letter(Cc="li@beijing.example")]))
        assert [len(receipt.accepted) for receipt in receipts] == [1, 1, 1]
        assert list(receipts[2].refused) == ["li@beijing.example"]
    assert len(deliver_to_a_new_server()) == 2


def test_a_letter_that_cannot_go_here_stops_no_other() -> None:
    abroad = letter("to José")
    del abroad["To"]
    abroad["To"] = "josé@exemplo.example"
    with Server(extensions=[]) as server:
        receipts = deliver(server.address, [letter("one"), abroad, letter("two")])
        assert [letter.message["Subject"] for letter in server.wait_for(2)] == ["one", "two"]
    assert [len(receipt.accepted) for receipt in receipts] == [1, 0, 1]
    assert receipts[1].refused["josé@exemplo.example"].code == 554 and "SMTPUTF8" in str(receipts[1].reply)


def deliver_to_a_new_server() -> list[object]:
    with Server() as server:
        return list(deliver(server.address, [letter("one"), letter("two")]))


def scripted(*lines: bytes) -> tuple[tuple[str, int], threading.Thread]:
    """A server that says one of these for each thing it hears, then hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with listener, listener.accept()[0] as sock:
            for line in lines:
                sock.sendall(line)
                sock.recv(65_536)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return listener.getsockname(), thread


@pytest.mark.parametrize("lines, kind", [
    ((b"220 hi\r\n", b"250 hi\r\n", b"421 leaving\r\n"), SMTPServerDisconnected),
    ((b"220 hi\r\n", b"250 hi\r\n"), SMTPServerDisconnected),
    ((b"220 hi\r\n", b"250 hi\r\n", b"HTTP/1.1 400\r\n"), SMTPServerDisconnected),
    ((b"220 hi\r\n", b"250 hi\r\n", b""), SMTPTimeout),
])
def test_servers_that_leave_are_left(lines: tuple[bytes, ...], kind: type[SMTPException]) -> None:
    address, thread = scripted(*lines)
    smtp = Client(*address, timeout=0.3)
    with pytest.raises(kind):
        smtp.sendmail("ana@rio.example", "kenji@tokyo.example", "x")
    with pytest.raises(SMTPServerDisconnected, match="not connected"):
        smtp.noop()
    thread.join(5)


@pytest.mark.parametrize("greeting, kind", [
    (b"554 go away\r\n", SMTPException), (b"x\r\n", SMTPServerDisconnected), (b"", SMTPTimeout)])
def test_greetings_that_are_none(greeting: bytes, kind: type[SMTPException]) -> None:
    address, thread = scripted(greeting)
    with pytest.raises(kind):
        Client(*address, timeout=0.3)
    thread.join(5)


def test_nobody_there_is_an_oserror() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            Client(*nobody.getsockname())


def test_deliver_may_answer_for_each_recipient_or_fail(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[object] = [
        {"a@x.example": Reply(250, "fine"), "b@x.example": Reply(452, "disk full")}, Reply(550, "no"), None,
        ValueError("broken")]

    def deliver(envelope: object, body: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Server(deliver=deliver) as server, smtplib.SMTP(*server.address) as smtp, \
            caplog.at_level(logging.CRITICAL + 1, "smtp_from_scratch"):
        codes = []
        for _ in range(4):
            try:
                smtp.sendmail("ana@rio.example", ["a@x.example", "b@x.example"], "x")
                codes.append(250)
            except smtplib.SMTPDataError as error:
                codes.append(error.smtp_code)
                assert b"broken" not in error.smtp_error or error.smtp_code == 451
    assert codes == [452, 550, 250, 451]


@pytest.mark.parametrize("stage", ["threads", "loop"])
def test_a_server_is_there_before_it_starts_and_starts_once(stage: str) -> None:
    server = Server(stage=stage)
    with socket.create_connection(server.address, 10) as early, early.makefile("rb") as file:
        server.start()
        assert file.readline().startswith(b"220 ")
    server.stop()
    with pytest.raises(RuntimeError):
        server.start()


@pytest.mark.parametrize("stage", ["threads", "loop"])
@pytest.mark.parametrize("who", ["deliver", "accept_recipient"])
@pytest.mark.parametrize("at_once", [0, 1])
def test_a_server_may_be_stopped_by_whom_it_calls(stage: str, who: str, at_once: int) -> None:
    """In the thread of its loop, or of a worker, it waited for itself until its grace was over."""
    def stop(*_: object) -> None:
        server.stop(grace=60.0)

    def take(envelope: Envelope, body: Any) -> None:
        letters.append(body.read())
        if who == "deliver":
            stop()

    vars(take)["at_once"] = at_once
    letters = list[bytes]()
    server = Server(stage=stage, deliver=take, accept_recipient=stop if who == "accept_recipient" else None)
    server.start()
    smtp = Client(*server.address, timeout=20.0)
    receipt = smtp.transact(Envelope("ana@rio.example", ["kenji@tokyo.example"]), b"hello\r\n")
    assert receipt.accepted == ["kenji@tokyo.example"] and letters == [b"hello\r\n"]
    server.stop()                              # whoever waits for the end does so as before
    smtp.close()
    with pytest.raises(OSError):
        socket.create_connection(server.address, 10)


@pytest.mark.parametrize("refusal", [None, Reply(550, "who is that", "5.1.1"), Reply(452, "full", "4.2.2")])
def test_a_relay_answers_what_the_next_server_said(refusal: Reply | None) -> None:
    """As docs/package.md has it; a recipient who is missing would be a 451."""
    def accept(address: str, envelope: Envelope) -> Reply | None:
        return refusal if address.startswith("yui@") else None

    def forward(envelope: Envelope, body: Any) -> Any:
        with Client(*last.address) as smtp:
            return smtp.transact(envelope, body).recipients

    with Server(accept_recipient=accept) as last, Server(deliver=forward) as first, Client(*first.address) as smtp:
        receipt = smtp.transact(Envelope("ana@rio.example", ["kenji@tokyo.example", "yui@tokyo.example"]), b"hello\r\n")
        assert last.messages[0].data.endswith(b"hello\r\n")
    assert receipt.reply == (refusal or Reply(250, "the message is ours now", "2.6.0"))


def test_with_tls_from_the_first_octet_on_421_comes_in_the_clear() -> None:
    """As docs/package.md says: a handshake costs more than a refusal may. A client sees that there is no TLS yet."""
    with Server(tls=TLS.server, implicit_tls=True, max_connections=1) as server:
        with Client("localhost", server.address[1], tls=TLS.client, implicit_tls=True, timeout=20):
            with socket.create_connection(server.address, 20) as sock, sock.makefile("rb") as lines:
                assert lines.read().startswith(b"421 ")
            with pytest.raises((ssl.SSLError, ConnectionError, SMTPServerDisconnected)):
                Client("localhost", server.address[1], tls=TLS.client, implicit_tls=True, timeout=20)


def test_a_message_and_a_text_are_not_taken_for_each_other(smtp_server: Server) -> None:
    """The one closed the line after MAIL, the other had no attribute `walk`."""
    with Client(*smtp_server.address) as smtp:
        with pytest.raises(TypeError, match="send_message"):
            smtp.sendmail("ana@rio.example", "kenji@tokyo.example", letter())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="sendmail"):
            smtp.send_message("Subject: Mangoes\n\nThey are ripe.\n")  # type: ignore[arg-type]
        assert smtp.send_message(letter()).accepted


def test_into_a_maildir(tmp_path: Path) -> None:
    with Server(deliver=Maildir(tmp_path)) as server:
        [receipt] = deliver(server.address, [letter()])
    assert receipt.accepted == ["kenji@tokyo.example"]
    [file] = (tmp_path / "kenji@tokyo.example" / "new").iterdir()
    assert b"\nSubject: Hello\n" in file.read_bytes()


def test_more_recipients_than_a_transaction_takes_in_a_whole_session() -> None:
    everybody = [f"reader{number}@tokyo.example" for number in range(250)]
    many = letter("many")
    del many["To"]
    many["To"] = ", ".join(everybody)
    with Server(max_recipients=100) as server:
        receipts = deliver(server.address, [many, letter("one more")])
        kept = server.wait_for(4)
    assert [len(receipt.accepted) for receipt in receipts] == [250, 1]
    assert sorted(sum((part.envelope.recipients for part in kept[:3]), [])) == sorted(everybody)


@pytest.mark.parametrize("options, sentence", [
    ({"max_connections": -5}, "max_connections is a number above 0, not -5"),
    ({"hostname": "a\r\nb"}, "a host name is one word in ASCII"), ({"hostname": "tóquio"}, "one word in ASCII"),
    ({"port": 70_000}, "a port at most 65535, not '' and 70000"), ({"port": "2525"}, "not '' and '2525'"),
    ({"timeout": 0}, "timeout is a number above 0"),
    ({"session_timeout": -1.0}, "session_timeout is a number above 0"),
    ({"max_recipients": 0}, "max_recipients is a number, at least 1"),
    ({"max_errors": -1}, "max_errors is a number, at least 0"),
    ({"max_size": "1"}, "max_size is a number of octets above 0.*not '1'"),
    ({"extensions": ["SIZE"]}, r"extensions are objects, such as Pipelining\(\), and not 'SIZE'"),
    ({"users": {"ana": "mango"}, "insecure_auth": True}, r"users is a store.*not a dict$"),
])
def test_a_server_says_which_argument_it_cannot_use(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Server(**options)


@pytest.mark.parametrize("options, sentence", [
    ({"timeout": 0}, "timeout is a number of seconds above 0, or None"),
    ({"port": 70_000}, "a port is a number from 0 to 65535, not 70000"),
    ({"port": "2525"}, "a port is a number from 0 to 65535, not '2525'"), ({"timeout": "30"}, "above 0, .*not '30'"),
    ({"tls": "cert.pem"}, "tls is True, .*not 'cert.pem'"),
    ({"extensions": ["SIZE"]}, "extensions are objects"),
])
def test_a_client_says_which_argument_it_cannot_use(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Client(**options)

"""What RFCs ask of a client beyond the other tests: its name, its patience, its goodbye, and how it reads."""
from __future__ import annotations

import base64
import io
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

import smtp_from_scratch
from smtp_from_scratch import Client, Reply, Server, SMTPRecipientsRefused
from smtp_from_scratch import client as c
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.conversation import Conversation, Line, read_reply, rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.sasl import Mechanism, Responses
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.smtp.base import host_literal
from smtp_from_scratch.smtp.sending import TRANSACTIONS
from smtp_from_scratch.status import CodedClientSession
from smtp_from_scratch.wire import WireError
from tests.whole_session import whole_session

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
        if turns and turns[-1][0] == said.role:
            turns[-1] = said.role, turns[-1][1] + said.data
        else:
            turns.append((said.role, said.data))
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


# --- extensions ------------------------------------------------------------------------------------------------------


@contextmanager
def answering(answer: Callable[[bytes], bytes], offer: bytes = b"", **buffers: int) -> Iterator[
        tuple[tuple[str, int], list[bytes]]]:
    """A server that answers each line by a rule, reads the octets of a BDAT, and notes the verbs that it hears."""
    verbs: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name, size in buffers.items():
            listener.setsockopt(socket.SOL_SOCKET, getattr(socket, name), size)

        def run() -> None:
            with listener.accept()[0] as sock, sock.makefile("rb") as lines, suppress(ConnectionError):
                sock.settimeout(20)
                sock.sendall(b"220 hi\r\n")
                for line in lines:
                    words = line.split()
                    verbs.append(words[0].upper())
                    if verbs[-1] == b"BDAT":
                        lines.read(int(words[1]))
                    sock.sendall(b"250-hi\r\n" + offer + b"250 HELP\r\n" if verbs[-1] == b"EHLO" else answer(line))
                    while verbs[-1] == b"DATA" and next(lines) != b".\r\n":
                        pass
                    if verbs[-1] == b"DATA":
                        sock.sendall(answer(b"."))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname(), verbs
        thread.join(20)
        assert not thread.is_alive()


def test_a_client_reads_while_it_writes() -> None:
    """Both ends' buffers are full long before the group is out: who only writes would wait forever (RFC 2920 §3.1)."""
    many = [f"recipient-number-{number}@tokyo.example" for number in range(2000)]

    def answer(line: bytes) -> bytes:
        return b"354 go on\r\n" if line == b"DATA\r\n" else b"250 " + b"x" * 200 + b"\r\n"

    with answering(answer, b"250-PIPELINING\r\n", SO_RCVBUF=4096, SO_SNDBUF=4096) as (address, verbs):
        with Client(*address, timeout=20) as smtp:
            assert smtp.connection
            for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                smtp.connection.socket.setsockopt(socket.SOL_SOCKET, name, 4096)
            assert len(smtp.sendmail("ana@rio.example", many, "hello").accepted) == 2000
    assert verbs.count(b"RCPT") == 2000


@pytest.mark.parametrize("offer", [b"250-CHUNKING\r\n", b"250-CHUNKING\r\n250-PIPELINING\r\n"])
def test_after_a_refused_chunk_rset_comes_before_mail(offer: bytes) -> None:
    chunks: list[bytes] = []

    def answer(line: bytes) -> bytes:
        if line.startswith(b"BDAT"):
            chunks.append(line)
            return b"552 too much\r\n" if len(chunks) == 1 else b"250 ok\r\n"
        return b"221 bye\r\n" if line == b"QUIT\r\n" else b"250 ok\r\n"

    with answering(answer, offer) as (address, verbs), Client(*address, timeout=10) as smtp:
        first = smtp.transact(Envelope("ana@rio.example", [YUI]), b"x" * 10)
        second = smtp.transact(Envelope("ana@rio.example", [KENJI]), b"y" * 10)
    assert first.refused[YUI].code == 552 and second.accepted == [KENJI]
    after = verbs[verbs.index(b"BDAT") + 1 :]
    assert after[0] == b"RSET" and after.index(b"RSET") < after.index(b"MAIL")


def test_an_empty_initial_response_is_an_equals_sign() -> None:
    class External(Mechanism):
        """The server knows who we are from elsewhere (RFC 4422, appendix A)."""

        name = "EXTERNAL"
        clear = False

        def respond(self, user: str, password: str) -> Responses:
            yield b""

    said: list[bytes] = []

    def answer(line: bytes) -> bytes:
        said.append(line)
        return b"235 welcome\r\n" if line.startswith(b"AUTH") else b"250 ok\r\n"

    with answering(answer, b"250-AUTH EXTERNAL\r\n") as (address, _), Client(*address, timeout=10) as smtp:
        smtp.login("ana", "", mechanisms=[External()])
    assert said[0] == b"AUTH EXTERNAL =\r\n"


def test_utf_8_in_replies_is_understood() -> None:
    def answer(line: bytes) -> bytes:
        if line.startswith(b"RCPT"):
            return "551 now at <josé@exemplo.example>\r\n".encode()
        return "250 José <josé@exemplo.example>\r\n".encode()

    with answering(answer, b"250-8BITMIME\r\n250-SMTPUTF8\r\n") as (address, _), Client(*address, timeout=10) as smtp:
        assert smtp.verify("josé@exemplo.example") == Reply(250, "José <josé@exemplo.example>")
        receipt = smtp.transact(Envelope("ana@rio.example", ["josé@exemplo.example"]), "x")
    assert receipt.refused["josé@exemplo.example"] == Reply(551, "now at <josé@exemplo.example>")


@pytest.mark.parametrize("length, at_once", [(10, True), (369, True), (370, False), (2000, False)])
def test_a_response_that_is_too_long_for_the_command_comes_later(length: int, at_once: bool) -> None:
    """An AUTH line has 512 octets at most, its initial response included (RFC 4954 §4)."""
    said: list[bytes] = []

    def answer(line: bytes) -> bytes:
        said.append(line)
        return b"334 \r\n" if line == b"AUTH PLAIN\r\n" else b"235 welcome\r\n" if len(said) < 3 else b"250 ok\r\n"

    with answering(answer, b"250-AUTH PLAIN\r\n") as (address, _), Client(*address, timeout=10) as smtp:
        smtp.login("ana", "x" * (length - 2), insecure=True)
        smtp.noop()
    response = base64.b64encode(b"\0ana\0" + b"x" * (length - 2))
    assert said[:2] == ([b"AUTH PLAIN " + response + b"\r\n", b"NOOP\r\n"] if at_once
                        else [b"AUTH PLAIN\r\n", response + b"\r\n"])
    assert all(len(line) <= 512 for line in said if line.startswith(b"AUTH"))


# --- too many recipients for one transaction -------------------------------------------------------------------------

CROWD = [f"singer{number}@tokyo.example" for number in range(25)]


def choir(limit: int, code: int = 452, **options: Any) -> Server:
    """A server that takes so many recipients in a transaction, and puts the others off with this code."""
    def accept(address: str, envelope: Envelope) -> Reply | None:
        return Reply(code, "too many recipients", f"{code // 100}.5.3") if len(envelope.recipients) >= limit else None

    return Server(accept_recipient=accept, **options)


def bodies(text: bytes, tmp_path: Path) -> Iterator[Any]:
    """A body in every form that can be read twice."""
    path = tmp_path / "letter"
    path.write_bytes(b"not this line\n" + text)
    with path.open("rb") as file:
        file.readline()
        yield from (text, text.decode(), [text[:7], text[7:]], file)


@pytest.mark.parametrize("code", [452, 552])
@pytest.mark.parametrize("without", [(), ("ENHANCEDSTATUSCODES", "SIZE"), ("CHUNKING", "PIPELINING")])
def test_recipients_too_many_for_one_transaction_get_another(code: int, without: tuple[str, ...],
                                                             tmp_path: Path) -> None:
    text = b"Subject: x\n\nMonday\n.\n"
    for body in bodies(text, tmp_path):
        with choir(10, code, extensions=server_extensions(without=without)) as server, Client(*server.address) as smtp:
            receipt = smtp.sendmail("ana@rio.example", CROWD, body)
            kept = server.wait_for(3)
            assert [len(each.envelope.recipients) for each in kept] == [10, 10, 5]
            assert [each for letter in kept for each in letter.envelope.recipients] == CROWD == receipt.accepted
            assert {letter.data for letter in kept} == {text.replace(b"\n", b"\r\n")} and not receipt.refused_by


def test_552_without_enhanced_codes_is_understood_as_452() -> None:
    with choir(10, 552, extensions=None) as server, Client(*server.address, extensions=None) as smtp:
        assert smtp.transact(Envelope("ana@rio.example", CROWD), b"x").accepted == CROWD
        assert len(server.messages) == 3


def test_552_without_enhanced_codes_may_be_about_the_size_that_was_declared() -> None:
    """RFC 1870 §6.4: then it is not sent to that recipient again."""
    with choir(10, 552, extensions=server_extensions(without=["ENHANCEDSTATUSCODES"])) as server, \
            Client(*server.address) as smtp:
        assert smtp.transact(Envelope("ana@rio.example", CROWD), b"x").accepted == CROWD[:10]
        assert len(server.messages) == 1


def test_a_message_for_many_is_sent_in_parts() -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Bcc"] = "ana@rio.example", ", ".join(CROWD[:20]), ", ".join(CROWD[20:])
    message.set_content("Monday, 8 pm.\n")
    with choir(20) as server, Client(*server.address) as smtp:
        receipt = smtp.send_message(message, notify="NEVER")
        first, second = server.wait_for(2)
        assert receipt.accepted == CROWD and first.data == second.data and b"Bcc" not in first.data
        assert second.envelope.options == dict.fromkeys(CROWD[20:], {"NOTIFY": "NEVER"})


@pytest.mark.parametrize("reply", [Reply(452, "mailbox full", "4.2.2"), Reply(452, "no disk", "4.3.1"),
                                   Reply(550, "nobody"), Reply(552, "too large", "5.3.4"),
                                   Reply(552, "mailbox full", "5.2.2")])
def test_other_refusals_open_no_second_transaction(reply: Reply) -> None:
    said: list[bytes] = []

    def accept(address: str, envelope: Envelope) -> Reply | None:
        return reply if envelope.recipients else None

    with Server(accept_recipient=accept) as server, \
            Client(*server.address, tap=lambda record: said.append(record.data)) as smtp:
        receipt = smtp.sendmail("ana@rio.example", CROWD, "x")
        assert receipt.accepted == CROWD[:1] and list(receipt.refused) == CROWD[1:]
    assert b"".join(said).count(b"MAIL FROM") == 1


def test_who_is_put_off_for_ever_costs_a_bounded_number_of_transactions() -> None:
    people = [f"singer{number}@tokyo.example" for number in range(TRANSACTIONS + 5)]
    with choir(1) as server, Client(*server.address) as smtp:
        receipt = smtp.sendmail("ana@rio.example", people, "x")
        assert receipt.accepted == people[:TRANSACTIONS] and len(server.messages) == TRANSACTIONS
        assert all(reply.code == 452 for reply in receipt.refused.values()) and len(receipt.refused) == 5
    with choir(0) as server, Client(*server.address) as smtp, pytest.raises(SMTPRecipientsRefused):
        smtp.sendmail("ana@rio.example", people, "x")
    assert not server.messages


MULTITUDE = [f"singer{number}@tokyo.example" for number in range(230)]


def test_a_whole_session_sends_to_a_multitude_in_hundreds() -> None:
    """§4.5.3.1.8; and the letter behind it is on time."""
    messages = []
    for people in (MULTITUDE, CROWD):
        message = EmailMessage()
        message["From"], message["To"] = "ana@rio.example", ", ".join(people)
        message.set_content("Monday, 8 pm.\n")
        messages.append(message)
    with choir(100) as server:
        receipts = smtp_from_scratch.deliver(server.address, messages)
        assert [receipt.accepted for receipt in receipts] == [MULTITUDE, CROWD]
        assert [len(kept.envelope.recipients) for kept in server.wait_for(4)] == [100, 100, 30, 25]


@pytest.mark.parametrize("stdin", [True, False])
def test_send_sends_to_a_multitude_in_hundreds(stdin: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "letter"
    path.write_bytes(b"Subject: Choir\n\nMonday\n")
    with choir(100) as server, path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        address = "{}:{}".format(*server.address)
        to = [word for somebody in MULTITUDE for word in ("--to", somebody)]
        status = main(["send", "--server", address, "--from", "ana@rio.example", *to, "-" if stdin else str(path)])
        kept = server.wait_for(3)
    lines = capsys.readouterr().out.splitlines()
    assert status == 0 and len(lines) == 230 and all(": 250 " in line for line in lines)
    assert {letter.data for letter in kept} == {b"Subject: Choir\r\n\r\nMonday\r\n"}


def test_a_body_that_can_be_read_once_is_sent_once() -> None:
    with choir(10) as server, Client(*server.address) as smtp:
        receipt = smtp.sendmail("ana@rio.example", CROWD, iter([b"once\r\n"]))
        assert receipt.accepted == CROWD[:10] and list(receipt.refused) == CROWD[10:]
        assert len(server.messages) == 1


@pytest.mark.parametrize("end", ["refused", "hung up"])
def test_what_the_first_transaction_achieved_is_never_forgotten(end: str) -> None:
    """The second one fails at its body: the first ten have the letter, and their senders must not be told else."""
    letters: list[Envelope] = []

    def deliver(envelope: Envelope, body: Any) -> Reply:
        letters.append(envelope)
        return Reply(250, "fine") if len(letters) == 1 else Reply(421 if end == "hung up" else 554, "no more")

    with choir(10, deliver=deliver) as server, Client(*server.address) as smtp:
        receipt = smtp.sendmail("ana@rio.example", CROWD, "x")
        assert receipt.accepted == CROWD[:10] and list(receipt.refused) == CROWD[10:]
        assert receipt.refused[CROWD[10]].code == (421 if end == "hung up" else 554)
        assert receipt.refused[CROWD[24]].code == 452 and len(letters) == 2


# --- what is asked only where it was offered -------------------------------------------------------------------------


def test_an_international_address_is_verified_only_where_smtputf8_is_offered() -> None:
    said: list[bytes] = []
    for extensions in (server_extensions(), server_extensions(without=["SMTPUTF8"])):
        with Server(extensions=extensions) as server, \
                Client(*server.address, tap=lambda record: said.append(record.data)) as smtp:
            assert smtp.verify("yui@tokyo.example").code == 252
            if smtp.has_extn("SMTPUTF8"):
                assert smtp.verify("γιούι@tokyo.example").code == 252
            else:
                with pytest.raises(c.SMTPNotSupportedError, match="SMTPUTF8"):
                    smtp.verify("γιούι@tokyo.example")
    assert sum("γιούι@tokyo.example SMTPUTF8".encode() in data for data in said) == 1
    assert not any(b"yui@tokyo.example SMTPUTF8" in data for data in said)


@pytest.mark.parametrize("line", [b"SSH-2.0-OpenSSH_9.2", b"abc-x", b"+OK-ready", b"22 -x", b"\xb2\xb2\xb2-", b"   -x"])
def test_a_line_without_a_code_is_no_reply_and_is_not_waited_on(line: bytes) -> None:
    def greeting() -> Iterator[Any]:
        yield line + b"\r\n"
        yield Line(timeout=1e6)

    with pytest.raises(WireError, match="expected the next line|this is SMTP"):
        rehearse(read_reply(), greeting())


# --- AUTH: another mechanism -----------------------------------------------------------------------------------------


def logs_in(offer: str, answers: dict[str, bytes], secure: bool = True) -> list[str]:
    """The mechanisms that our client tries, one after another, at a server that answers them like this."""
    tried: list[str] = []

    def server() -> Conversation[None]:
        yield b"220 mx\r\n"
        while True:
            line = (yield Line(12_288)).decode()
            if line.startswith("AUTH "):
                tried.append(line.split()[1])
                yield answers[tried[-1]] + b"\r\n"
            elif line == "QUIT":
                yield b"221 bye\r\n"
                return
            else:
                yield f"250-mx\r\n250 AUTH {offer}\r\n".encode()

    session = CodedClientSession("rio.example", tuple(client_extensions(user="ana", password="tides")), "mx",
                                 secure=secure)
    with suppress(c.SMTPResponseException):
        rehearse(whole_session(session, []), server(), patient=True)
    assert (session.user == "ana") == (answers[tried[-1]][:3] == b"235")
    return tried


WEAK, UNKNOWN, WRONG = b"534 5.7.9 too weak for her", b"504 5.5.4 not for her", b"535 5.7.8 wrong"
DONE = b"235 2.7.0 welcome"


@pytest.mark.parametrize("offer, answers, tried", [
    ("SCRAM-SHA-256 PLAIN", {"SCRAM-SHA-256": WEAK, "PLAIN": DONE}, ["SCRAM-SHA-256", "PLAIN"]),
    ("PLAIN SCRAM-SHA-256 CRAM-MD5", {"SCRAM-SHA-256": UNKNOWN, "PLAIN": DONE, "CRAM-MD5": DONE},
     ["SCRAM-SHA-256", "PLAIN"]),
    ("SCRAM-SHA-256 PLAIN", {"SCRAM-SHA-256": WRONG}, ["SCRAM-SHA-256"]),      # a wrong password is wrong everywhere
    ("SCRAM-SHA-256", {"SCRAM-SHA-256": WEAK}, ["SCRAM-SHA-256"]),
    ("SCRAM-SHA-256 PLAIN", {"SCRAM-SHA-256": WEAK, "PLAIN": WEAK}, ["SCRAM-SHA-256", "PLAIN"]),
    ("PLAIN LOGIN", {"PLAIN": DONE}, ["PLAIN"]),
])
def test_after_534_another_mechanism_is_tried(offer: str, answers: dict[str, bytes], tried: list[str]) -> None:
    """RFC 4954 §6."""
    assert logs_in(offer, answers) == tried


def test_in_the_clear_no_mechanism_is_tried_at_all() -> None:
    with pytest.raises(c.SMTPNotSupportedError, match="the line is not sealed"):
        logs_in("SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5", {}, secure=False)

"""The names of `smtplib` over our client: side by side with `smtplib` they return and raise the same."""
from __future__ import annotations

import inspect
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import compat
from smtp_from_scratch.testing import FakeServer
from smtp_from_scratch.wire import Reply
from tests.ours import TLS

YUI, KENJI, SORA = "yui@tokyo.example", "kenji@tokyo.example", "sora@tokyo.example"
ANA = "ana@rio.example"
LETTER = "Subject: Mangoes\n\nThey are ripe.\n.and many\n"
Talk = Callable[[Any], Any]


def message(to: str = KENJI, text: str = "They are ripe.\n") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Bcc"], made["Subject"] = ANA, to, YUI, "Mangoes"
    made.set_content(text)
    return made


# --- the same names ----------------------------------------------------------------------------------------------


def test_every_public_name_is_there() -> None:
    assert set(smtplib.__all__) <= set(compat.__all__)
    assert set(compat.__all__) - set(smtplib.__all__) == {"LMTP"}
    for name in ("CRLF", "bCRLF", "SMTP_PORT", "SMTP_SSL_PORT", "LMTP_PORT"):
        assert getattr(compat, name) == getattr(smtplib, name)


def methods(kind: type) -> dict[str, list[tuple[str, Any, Any]]]:
    """The parameters of each public method: name, kind, default."""
    found = {}
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_") or name == "__init__":
            parameters = inspect.signature(method).parameters.values()
            found[name] = [(one.name, one.kind, one.default) for one in parameters]
    return found


@pytest.mark.parametrize("name", ["SMTP", "SMTP_SSL", "LMTP"])
def test_methods_take_the_same_arguments(name: str) -> None:
    """Python 3.12 took `keyfile` and `certfile` away; here they stay where they were."""
    ours, theirs = methods(getattr(compat, name)), methods(getattr(smtplib, name))
    for method, parameters in theirs.items():
        kept = [one for one in ours[method] if one[0] not in ("keyfile", "certfile") or one in parameters]
        if kept == ours[method]:
            assert ours[method] == parameters, method
        else:
            assert [one[0] for one in kept] == [one[0] for one in parameters], method


def test_attributes_before_a_connection_are_the_same() -> None:
    ours, theirs = compat.SMTP(local_hostname="rio.example"), smtplib.SMTP(local_hostname="rio.example")
    for name in ("sock", "helo_resp", "ehlo_resp", "ehlo_msg", "does_esmtp", "esmtp_features", "debuglevel", "timeout",
                 "source_address", "local_hostname", "default_port", "command_encoding"):
        assert getattr(ours, name) == getattr(theirs, name), name


@given(st.text(alphabet='ab@.<>" ,é', max_size=12))
def test_addresses_are_quoted_alike(text: str) -> None:
    assert compat.quoteaddr(text) == smtplib.quoteaddr(text)


@given(st.text(alphabet="a.\r\n", max_size=12))
def test_texts_are_quoted_alike(text: str) -> None:
    assert compat.quotedata(text) == smtplib.quotedata(text)


# --- the same answers --------------------------------------------------------------------------------------------

ALIKE: dict[str, Talk] = {
    "a letter": lambda smtp: smtp.sendmail(ANA, [KENJI, YUI], LETTER),
    "octets": lambda smtp: smtp.sendmail(ANA, KENJI, LETTER.replace("\n", "\r\n").encode()),
    "a message": lambda smtp: smtp.send_message(message()),
    "a message that names others": lambda smtp: smtp.send_message(message(), "x@rio.example", [SORA]),
    "one is refused": lambda smtp: smtp.sendmail(ANA, [KENJI, "nobody@tokyo.example"], LETTER),
    "all are refused": lambda smtp: smtp.sendmail(ANA, ["nobody@tokyo.example", "nobody@rio.example"], LETTER),
    "a sender is refused": lambda smtp: smtp.sendmail("mallory@x.example", [KENJI], LETTER),
    "a body is refused": lambda smtp: smtp.sendmail(ANA, [SORA], LETTER),
    "no sender": lambda smtp: smtp.sendmail("", KENJI, LETTER),
    "an address that is none": lambda smtp: smtp.sendmail(ANA, "kenji", LETTER),
    "a parameter that is none": lambda smtp: smtp.sendmail(ANA, KENJI, LETTER, ["NOSUCH=1"]),
    "a text beyond ASCII": lambda smtp: smtp.sendmail(ANA, KENJI, "é"),
    "a message beyond ASCII": lambda smtp: smtp.send_message(message("josé@rio.example")),
    "options": lambda smtp: smtp.sendmail(ANA, KENJI, LETTER, ["RET=HDRS"], ["NOTIFY=NEVER"]),
    "hello": lambda smtp: (smtp.ehlo(), smtp.helo("x.example"), smtp.esmtp_features.keys(), smtp.has_extn("Size")),
    "small talk": lambda smtp: (smtp.noop(), smtp.rset(), smtp.vrfy(f"Kenji <{KENJI}>"), smtp.expn("choir")),
    "help": lambda smtp: (smtp.help(), smtp.help("MAIL"), smtp.docmd("NOOP", "x"), smtp.docmd("NOSUCH")),
    "two lines": lambda smtp: smtp.docmd("NOOP\nRSET"),
    "step by step": lambda smtp: (smtp.ehlo(), smtp.mail(ANA), smtp.rcpt(KENJI), smtp.data(b"x"), smtp.quit()),
    "DATA too early": lambda smtp: (smtp.ehlo(), smtp.data(b"x")),
    "a login": lambda smtp: smtp.login("ana", "mango"),
    "a wrong login": lambda smtp: smtp.login("ana", "melon"),
    "a login, and again": lambda smtp: (smtp.login("ana", "mango"), smtp.login("ana", "mango")),
    "STARTTLS where it is not offered": lambda smtp: smtp.starttls(),
    "after quit": lambda smtp: (smtp.quit(), smtp.sock, smtp.esmtp_features, smtp.noop()),
    "after close": lambda smtp: (smtp.close(), smtp.sendmail(ANA, KENJI, LETTER)),
    "a hang-up": lambda smtp: smtp.sendmail("gone@rio.example", KENJI, LETTER),
}


def outcome(module: ModuleType, talk: Talk) -> tuple[object, object, list[tuple[str, list[str], bytes]], bool]:
    """What a talk returns, or raises, what then came in, and whether the line is still there."""
    with FakeServer(users={"ana": "mango"}, require_auth=False) as server:
        server.refuse("nobody@*", "550 5.1.1 nobody")
        server.refuse("mallory@*", "550 5.7.1 not you", at="MAIL")
        server.refuse(SORA, "554 5.6.0 not this", at="END")
        server.disconnect(after="MAIL", pattern="gone@*")
        server.disconnect(after="DATA", pattern="lost@*")
        smtp = module.SMTP(server.host, server.port, local_hostname="rio.example", timeout=10)
        try:
            result: object = talk(smtp)
        except Exception as error:
            result = (error.args if not isinstance(error, smtplib.SMTPServerDisconnected) else None)
            kind = type(error).__name__
        else:
            kind = ""
        alive = smtp.sock is not None
        smtp.close()
    taken = [(one.envelope.sender, one.envelope.recipients, one.data) for one in server.messages]
    return result, kind, taken, alive


@pytest.mark.parametrize("name", ALIKE)
def test_side_by_side(name: str) -> None:
    assert outcome(compat, ALIKE[name]) == outcome(smtplib, ALIKE[name])


def test_what_is_sent_side_by_side_arrives() -> None:
    for name, recipients in {"a letter": [KENJI, YUI], "a message": [KENJI, YUI], "one is refused": [KENJI]}.items():
        result, kind, taken, alive = outcome(compat, ALIKE[name])
        assert [found[:2] for found in taken] == [(ANA, recipients)] and alive, (name, result, kind)


def test_octets_beyond_ascii_are_announced() -> None:
    """smtplib sends them as they are, and says nothing of them (RFC 6152 §3)."""
    with FakeServer() as server, compat.SMTP(server.host, server.port) as smtp:
        smtp.send_message(message(text="Já!\n"))
    assert server.messages[0].envelope.parameters["BODY"] == "8BITMIME"


def test_line_ends_go_out_as_cr_lf() -> None:
    with FakeServer() as server, compat.SMTP(server.host, server.port) as smtp:
        assert smtp.sendmail(ANA, KENJI, b"Subject: x\n\none\rtwo\n.\n") == {}
    assert server.messages[0].data == b"Subject: x\r\n\r\none\r\ntwo\r\n.\r\n"


# --- TLS, time, the socket ---------------------------------------------------------------------------------------


def test_starttls_forgets_what_was_heard_before() -> None:
    with FakeServer(tls=True, users={"ana": "mango"}) as server, compat.SMTP(server.host, server.port) as smtp:
        smtp.ehlo()
        assert smtp.starttls(context=server.context)[0] == 220
        assert (smtp.esmtp_features, smtp.ehlo_resp, smtp.does_esmtp) == ({}, None, False)
        assert smtp.login("ana", "mango")[0] == 235
        assert smtp.sock and smtp.sock.version() in ("TLSv1.2", "TLSv1.3") and smtp.sock.getpeercert()
        assert smtp.sendmail(ANA, KENJI, LETTER) == {}
    assert server.messages[0].envelope.user == "ana"


def test_tls_from_the_first_octet_on() -> None:
    with FakeServer(implicit_tls=True) as server:
        with compat.SMTP_SSL(server.host, server.port, context=server.context) as smtp:
            assert smtp.send_message(message()) == {}
        assert server.assert_sent(to=KENJI)


def test_close_says_goodbye_in_tls() -> None:
    """So the other end knows that nothing was cut off (RFC 8446 §6.1)."""
    def play(sock: socket.socket) -> None:
        with TLS.server.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as line:
            line.sendall(b"220 hi\r\n")
            heard.append(line.recv(100))

    heard = list[bytes]()
    with socket.create_server(("127.0.0.1", 0)) as listener, playing(listener, play):
        compat.SMTP_SSL("localhost", listener.getsockname()[1], context=TLS.client, timeout=10).close()
    assert heard == [b""]                      # without it, SSLEOFError


@pytest.mark.parametrize("implicit", [True, False])
def test_without_a_context_strangers_are_not_believed(implicit: bool) -> None:
    with FakeServer(tls=not implicit, implicit_tls=implicit) as server, pytest.raises(ssl.SSLCertVerificationError):
        if implicit:
            compat.SMTP_SSL(server.host, server.port)
        else:
            compat.SMTP(server.host, server.port).starttls()


def test_a_context_and_a_certificate_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):
        compat.SMTP_SSL(keyfile="key.pem", context=ssl.create_default_context())


@contextmanager
def playing(listener: socket.socket, play: Callable[[socket.socket], None]) -> Iterator[None]:
    """Somebody answers one call, by a script."""
    def answer() -> None:
        with listener, listener.accept()[0] as line:
            line.settimeout(10)
            play(line)

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


def test_a_server_that_says_nothing() -> None:
    done = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    with playing(listener, lambda line: None if done.wait(10) else None):
        with pytest.raises(smtplib.SMTPServerDisconnected) as caught:
            compat.SMTP(*listener.getsockname(), timeout=0.1)
        done.set()
    assert isinstance(caught.value, TimeoutError)


def test_a_reply_without_an_end() -> None:
    def play(line: socket.socket) -> None:
        try:
            while True:
                line.sendall(b"220-and so on\r\n" * 1000)
        except OSError:
            pass

    listener = socket.create_server(("127.0.0.1", 0))
    with playing(listener, play), pytest.raises(smtplib.SMTPServerDisconnected, match="reply of more than"):
        compat.SMTP(*listener.getsockname(), timeout=10)


def test_a_greeting_that_is_no_reply() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with playing(listener, lambda line: line.sendall(b"hello\r\n")), pytest.raises(smtplib.SMTPConnectError) as caught:
        compat.SMTP(*listener.getsockname(), timeout=10)
    assert (caught.value.smtp_code, caught.value.smtp_error) == (-1, b"o")


def test_a_socket_of_ones_own() -> None:
    with FakeServer() as server:
        smtp = compat.SMTP(local_hostname="rio.example")
        smtp.sock = socket.create_connection(server.address, 7.0)
        assert smtp.sock and smtp.sock.gettimeout() == 7.0 and smtp.sock.getpeername() == server.address
        assert smtp.getreply()[0] == 220 and smtp.sendmail(ANA, KENJI, LETTER) == {}
        smtp.sock.settimeout(3.0)
        assert smtp.noop()[0] == 250 and smtp.quit()[0] == 221 and smtp.sock is None


def test_the_dialogue_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer() as server:
        smtp = compat.SMTP(server.host, server.port)
        smtp.set_debuglevel(1)
        smtp.noop()
        smtp.quit()
    assert capsys.readouterr().err.splitlines() == [
        r"send: 'noop\r\n'", "reply: retcode (250); Msg: b'2.0.0 still here'",
        r"send: 'quit\r\n'", f"reply: retcode (221); Msg: b'2.0.0 {server.hostname} says goodbye'"]


# --- LMTP --------------------------------------------------------------------------------------------------------

LMTP_REPLIES = [b"220 hi\r\n", b"250-hi\r\n250 SIZE\r\n", b"250 ok\r\n", b"250 ok\r\n", b"550 who\r\n", b"250 ok\r\n",
                b"354 go\r\n", b"452 full\r\n250 kept\r\n", b"221 bye\r\n"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_lmtp_hears_a_reply_for_each_recipient(tmp_path: Path) -> None:
    heard = []

    def play(line: socket.socket) -> None:
        with line.makefile("rb") as lines:
            for number, reply in enumerate(LMTP_REPLIES):
                if number:
                    heard.append(lines.readline())
                while number == 7 and heard[-1] != b".\r\n":
                    heard[-1] = lines.readline()
                line.sendall(reply)

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "lmtp"))
    listener.listen()
    with playing(listener, play), compat.LMTP(str(tmp_path / "lmtp"), local_hostname="rio.example", timeout=10) as lmtp:
        assert lmtp.sendmail(ANA, [KENJI, SORA, YUI], LETTER) == {SORA: (550, b"who"), KENJI: (452, b"full")}
        assert lmtp.answers == [(KENJI, (452, b"full")), (YUI, (250, b"kept"))]
    assert heard[0] == b"lhlo rio.example\r\n" and heard[-1].strip().lower() == b"quit"


WHERE = {"MAIL": ("mallory@x.example", [KENJI]), "RCPT": (ANA, ["nobody@tokyo.example", KENJI]),
         "DATA": (ANA, [YUI]), "body": (ANA, [SORA]), "nobody": ("gone@rio.example", [KENJI]),
         "no 354": ("lost@rio.example", [KENJI])}


LOST = {"nobody", "no 354"}                    # the line breaks before anything of the message was said


@pytest.mark.parametrize("where", WHERE)
def test_an_exception_has_the_receipt(where: str) -> None:
    sender, recipients = WHERE[where]
    with FakeServer() as server, compat.SMTP(server.host, server.port) as smtp:
        server.refuse("nobody@*", "550 5.1.1 nobody")
        if where == "RCPT":
            server.refuse(KENJI, "421 4.3.2 no more", at="RCPT")
        server.refuse("mallory@*", "550 5.7.1 not you", at="MAIL")
        server.refuse(YUI, "554 5.5.1 nothing now", at="DATA")
        server.refuse(SORA, "554 5.6.0 not this", at="END")
        server.disconnect(after="MAIL", pattern="gone@*")
        server.disconnect(after="DATA", pattern="lost@*")
        with pytest.raises(compat.SMTPException) as caught:
            smtp.sendmail(sender, recipients, LETTER)
    receipt = caught.value.receipt
    assert receipt and receipt.sender == sender and receipt.accepted == []
    assert (receipt.refused_by, receipt.unknown) == ("line" if where in LOST else where, [])
    assert sorted(receipt.refused) == sorted(recipients)
    assert receipt.recipients[recipients[0]].code in ((451,) if where in LOST else (550, 554))


def test_what_was_never_begun_has_no_receipt() -> None:
    with FakeServer(without=["SMTPUTF8"]) as server, compat.SMTP(server.host, server.port) as smtp:
        with pytest.raises(compat.SMTPNotSupportedError) as caught:
            smtp.sendmail(ANA, KENJI, LETTER, ["SMTPUTF8"])
        assert caught.value.receipt is None
        assert smtp.sendmail(ANA, KENJI, LETTER) == {}


@pytest.mark.parametrize("last, unknown", [(b"", [SORA]), (b"554 nor for her\r\n", [])])
def test_a_receipt_of_lmtp_tells_them_apart(last: bytes, unknown: list[str]) -> None:
    """After the message is out: refused for one, and for the other refused as well, or the line breaks."""
    replies = [b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n",
               b"552 full\r\n" + last]

    def play(sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as lines:
            for reply in replies:
                sock.sendall(reply)
                while reply[:3] == b"354" and lines.readline() not in (b".\r\n", b""):
                    pass
                if reply[:3] not in (b"354", b"552"):
                    lines.readline()

    with socket.create_server(("127.0.0.1", 0)) as listener, playing(listener, play):
        smtp = compat.LMTP(*listener.getsockname(), local_hostname="rio.example", timeout=10)
        with pytest.raises(compat.SMTPException) as caught:
            smtp.sendmail(ANA, [KENJI, SORA], LETTER)
        smtp.close()
    receipt = caught.value.receipt
    assert receipt and receipt.unknown == unknown
    assert {address: reply.code for address, reply in receipt.refused.items()} == (
        {KENJI: 552} if unknown else {KENJI: 552, SORA: 554})


def test_a_refusal_says_what_the_server_said() -> None:
    with FakeServer() as server, compat.SMTP(server.host, server.port) as smtp:
        server.refuse(at="MAIL", reply=Reply(451, "later\nnot now", "4.7.1"))
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            smtp.sendmail(ANA, KENJI, LETTER)
    assert caught.value.args == (451, b"4.7.1 later\n4.7.1 not now", ANA)
    assert caught.value.sender == ANA

"""The server for other people's tests: it fails when it is told to, and shows what came."""
from __future__ import annotations

import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client, SMTPRecipientsRefused, SMTPServerDisconnected
from smtp_from_scratch.testing import FakeServer

Factory = Callable[..., FakeServer]


def message(subject: str = "Mangoes", to: str = "kenji@tokyo.example") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ana@rio.example", to, subject
    made.set_content("They are ripe.")
    return made


def send(server: FakeServer, *messages: EmailMessage) -> None:
    with smtplib.SMTP(server.host, server.port) as smtp:
        for one in messages or (message(),):
            smtp.send_message(one)


def test_a_recipient_is_refused_and_the_others_are_not(smtp_server: FakeServer) -> None:
    smtp_server.refuse("Nobody@*", "550 5.1.1 who is that")
    with smtplib.SMTP(smtp_server.host, smtp_server.port) as smtp:
        refused = smtp.send_message(message(to="nobody@tokyo.example, yui@tokyo.example"))
    assert refused == {"nobody@tokyo.example": (550, b"5.1.1 who is that")}
    assert smtp_server.assert_sent().envelope.recipients == ["yui@tokyo.example"]


@pytest.mark.parametrize(("at", "error", "code"), [
    ("MAIL", smtplib.SMTPSenderRefused, 550), ("RCPT", smtplib.SMTPRecipientsRefused, 550),
    ("DATA", smtplib.SMTPDataError, 451), ("END", smtplib.SMTPDataError, 554)])
def test_each_step_can_be_refused(smtp_server: FakeServer, at: str, error: type[smtplib.SMTPException],
                                  code: int) -> None:
    smtp_server.refuse(at=at)
    with pytest.raises(error) as caught:
        send(smtp_server)
    found = caught.value
    assert code == (found.smtp_code if isinstance(found, smtplib.SMTPResponseException)
                    else found.recipients["kenji@tokyo.example"][0])
    assert smtp_server.messages == []


def test_the_greeting_can_be_a_refusal(smtp_server: FakeServer) -> None:
    smtp_server.refuse(at="CONNECT", reply="421 4.3.2 gone for lunch", once=True)
    with pytest.raises(smtplib.SMTPConnectError, match="gone for lunch"):
        send(smtp_server)
    send(smtp_server)
    smtp_server.assert_sent()


def test_a_chunk_can_be_refused_as_data_is(smtp_server: FakeServer) -> None:
    smtp_server.refuse("kenji@*", "452 4.3.1 disk full", at="DATA")
    with Client(*smtp_server.address) as smtp:
        assert smtp.has_extn("CHUNKING")
        receipt = smtp.transact(*pair())
        assert receipt.refused["kenji@tokyo.example"].code == 452
        assert smtp.noop().code == 250         # both ends still know where the next command begins


def pair() -> tuple[object, bytes]:
    from smtp_from_scratch import Envelope

    return Envelope("ana@rio.example", ["kenji@tokyo.example"]), b"Subject: x\r\n\r\nripe\r\n"


def test_once_is_once(smtp_server: FakeServer) -> None:
    smtp_server.refuse(reply="451 4.3.0 later", once=True)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(smtp_server)
    send(smtp_server)
    assert len(smtp_server.messages) == 1


def test_a_rule_for_somebody_waits_for_them(smtp_server: FakeServer) -> None:
    smtp_server.refuse("*@spam.example", at="MAIL", once=True)
    send(smtp_server)
    assert len(smtp_server.messages) == 1


@pytest.mark.parametrize("after", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
def test_it_hangs_up_without_a_word(smtp_server: FakeServer, after: str) -> None:
    smtp_server.disconnect(after=after, once=True)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(smtp_server)
    assert smtp_server.messages == []


def test_a_line_lost_after_the_message_leaves_the_message(smtp_server: FakeServer) -> None:
    smtp_server.disconnect(after="END")
    with pytest.raises(SMTPServerDisconnected) as caught, Client(*smtp_server.address) as smtp:
        smtp.send_message(message())
    assert caught.value.receipts[0].unknown == ["kenji@tokyo.example"]
    smtp_server.assert_sent(to="kenji@tokyo.example")


@pytest.mark.parametrize("header", [b"Subject: =?utf-7?q?+2AA-?=", b"Content-Type: =?utf-7?q?+2AA-?=\r\nSubject: ripe",
                                    b"Subject: \xff"])
def test_a_header_that_cannot_be_decoded_hides_no_other_message(smtp_server: FakeServer, header: bytes) -> None:
    with smtplib.SMTP(smtp_server.host, smtp_server.port) as smtp:
        smtp.sendmail("ana@rio.example", ["yui@tokyo.example"], header + b"\r\n\r\nripe\r\n")
    send(smtp_server)
    assert smtp_server.assert_sent(to="kenji@tokyo.example").message["Subject"] == "Mangoes"
    assert smtp_server.assert_sent(subject="Mangoes").envelope.recipients == ["kenji@tokyo.example"]
    with pytest.raises(AssertionError, match=r"1\. from <ana@rio.example> to <yui@tokyo.example>"):
        smtp_server.assert_sent(to="li@*", timeout=0)


@pytest.mark.parametrize("tries", [-1, "2", None])
def test_greylisting_counts_tries(smtp_server: FakeServer, tries: Any) -> None:
    with pytest.raises(ValueError, match="tries"):
        smtp_server.greylist(tries)


def test_greylisting_refuses_each_pair_at_first(smtp_server: FakeServer) -> None:
    smtp_server.greylist()
    for to in ("kenji@tokyo.example", "yui@tokyo.example"):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            send(smtp_server, message(to=to))
        assert caught.value.recipients[to] == (451, b"4.7.1 greylisted, please try again later")
        send(smtp_server, message(to=to))
    assert len(smtp_server.messages) == 2


def test_a_delay_lets_the_client_run_into_its_timeout(smtp_server: FakeServer) -> None:
    smtp_server.delay(600, at="RCPT")
    with smtplib.SMTP(smtp_server.host, smtp_server.port, timeout=0.2) as smtp:
        smtp.ehlo()
        smtp.mail("ana@rio.example")
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            smtp.rcpt("kenji@tokyo.example")
        smtp.close()
    started = time.monotonic()
    smtp_server.stop()
    assert time.monotonic() - started < 60     # and a server that waits ends at once, not after ten minutes


def test_a_short_delay_delays(smtp_server: FakeServer) -> None:
    smtp_server.delay(0.05, at="DATA", once=True)
    started = time.monotonic()
    send(smtp_server)
    assert time.monotonic() - started >= 0.05
    smtp_server.assert_sent()


def test_clear_forgets_messages_and_rules(smtp_server: FakeServer) -> None:
    send(smtp_server)
    smtp_server.refuse()
    smtp_server.greylist(3)
    smtp_server.clear()
    assert smtp_server.messages == []
    send(smtp_server)
    assert len(smtp_server.messages) == 1


def test_what_was_sent_is_found(smtp_server: FakeServer) -> None:
    send(smtp_server, message("Mangoes"), message("Grüße", to="yui@tokyo.example"))
    assert [one.message["Subject"] for one in smtp_server.sent(to="*@TOKYO.example")] == ["Mangoes", "Grüße"]
    assert len(smtp_server.sent(subject="grüße", sender="ana@*")) == 1
    assert smtp_server.assert_sent(to="yui@*").message.get_content() == "They are ripe.\n"
    with pytest.raises(AssertionError) as caught:
        smtp_server.assert_sent(to="yui@tokyo.example", subject="Mangos", timeout=0)
    assert str(caught.value).splitlines() == [
        "no message (to 'yui@tokyo.example', subject 'Mangos'); 2 came",
        "  1. from <ana@rio.example> to <kenji@tokyo.example>, 'Mangoes': another recipient and another subject",
        "  2. from <ana@rio.example> to <yui@tokyo.example>, 'Grüße': another subject"]


def test_a_message_can_be_read_without_its_tree_of_parts(smtp_server: FakeServer) -> None:
    made = message("Grüße")
    made.set_content("Ripe: 12 €\n")
    made.add_alternative("<b>12 €</b>\n", subtype="html")
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="bill.pdf")
    send(smtp_server, made)
    found = smtp_server.assert_sent()
    assert (found.subject, found.text, found.html) == ("Grüße", "Ripe: 12 €\n", "<b>12 €</b>\n")
    line = "from <ana@rio.example> to <kenji@tokyo.example>, 'Grüße'"
    assert repr(found) == f"<message {line}, {len(found.data)} octets>"
    send(smtp_server, message())
    assert smtp_server.messages[1].html == ""


def test_as_many_as_asked_for_and_no_more(smtp_server: FakeServer) -> None:
    send(smtp_server, message(), message())
    assert smtp_server.assert_sent(count=2).subject == "Mangoes"
    smtp_server.assert_not_sent(to="yui@*")
    for count, told in ((1, "2 messages, and not 1, (to 'kenji@*'); 2 came"), (3, "2 of 3 messages (to 'kenji@*'); 2")):
        with pytest.raises(AssertionError) as caught:
            smtp_server.assert_sent(to="kenji@*", count=count, timeout=0)
        assert str(caught.value).startswith(told)
    with pytest.raises(AssertionError) as caught:
        smtp_server.assert_not_sent(subject="Mangoes")
    line = "from <ana@rio.example> to <kenji@tokyo.example>, 'Mangoes'"
    assert str(caught.value) == f"a message (subject 'Mangoes') was sent\n  1. {line}\n  2. {line}"
    with pytest.raises(ValueError, match="assert_not_sent"):
        smtp_server.assert_sent(count=0)


def why(server: FakeServer) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        server.assert_sent(timeout=0)
    return str(caught.value).splitlines()


def test_an_error_says_why_nothing_came(smtp_server: FakeServer) -> None:
    assert why(smtp_server) == ["no message (any); 0 came", f"  nobody has called 127.0.0.1:{smtp_server.port}"]
    smtp_server.refuse("kenji@*", "452 4.2.2 full")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(smtp_server)
    told = why(smtp_server)
    assert told[:2] == ["no message (any); 0 came",
                        "  calls that brought none, or heard a refusal: 1; the end of the latest:"]
    assert "    S: 452 4.2.2 full" in told and len(told) < 12
    smtp_server.clear()
    send(smtp_server)
    smtp_server.assert_sent()
    with pytest.raises(AssertionError) as caught:
        smtp_server.assert_sent(subject="Kiwis", timeout=0)
    assert "calls" not in str(caught.value)    # that one brought what it should


async def waiting(server: FakeServer) -> list[str]:
    return why(server)


def test_an_event_loop_that_stands_still_is_told(smtp_server: FakeServer) -> None:
    import asyncio

    assert "asyncio.to_thread" in asyncio.run(waiting(smtp_server))[-1]


def test_what_was_said_is_kept_call_by_call_without_passwords(smtp_server_factory: Factory) -> None:
    server = smtp_server_factory(tls=True, users={"ana": "mango-secret"})
    with smtplib.SMTP(server.host, server.port) as smtp:
        smtp.starttls(context=server.context)
        smtp.login("ana", "mango-secret")
        smtp.send_message(message())
        server.clear()                         # the session goes on, and so does what is kept of it
        smtp.send_message(message())
    said = server.calls()
    assert said.splitlines()[0].lower().startswith("c: mail from:") and "S: 250 2.6.0" in said
    assert "mango" not in said and "They are ripe" in said


IN_PYTEST = """
import pytest, smtplib
from smtp_from_scratch.testing import FakeServer

@pytest.fixture(scope="session")
def mine():
    with FakeServer() as server:
        yield server

def test_it(smtp_server, mine):
    with smtplib.SMTP(*mine.address) as smtp:
        smtp.noop()
    smtp_server.assert_sent(timeout=0)
"""


def test_a_test_that_fails_shows_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(IN_PYTEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    first, second = done.stdout.split("mail server at 127.0.0.1:")[1:3]
    assert "(nobody called)" in first and "C: noop" in second and "assert_sent(self" not in done.stdout


def test_an_attribute_that_does_not_exist_raises(smtp_server: FakeServer) -> None:
    for name in ("accept_recipient", "reply", "messages", "refuse"):
        with pytest.raises(AttributeError, match="refuse"):
            setattr(smtp_server, name, None)
    with pytest.raises(AttributeError):
        smtp_server.letters                    # noqa: B018


@pytest.mark.parametrize("wrong", ["250 fine", "no", "550 4.1.1 of two minds", "55", ""])
def test_a_refusal_refuses(smtp_server: FakeServer, wrong: str) -> None:
    if wrong:
        with pytest.raises(ValueError, match="refusal"):
            smtp_server.refuse(reply=wrong)
    for call in (lambda: smtp_server.refuse(at="DINNER"), lambda: smtp_server.refuse("ana@*", at="EHLO"),
                 lambda: smtp_server.delay(0), lambda: smtp_server.disconnect(after="354")):
        with pytest.raises(ValueError):
            call()


def test_tls_and_a_login(smtp_server_factory: Factory) -> None:
    server = smtp_server_factory(tls=True, users={"ana": "mango"})
    with smtplib.SMTP(server.host, server.port) as smtp:
        with pytest.raises(smtplib.SMTPSenderRefused):
            smtp.send_message(message())
        smtp.starttls(context=server.context)
        smtp.login("ana", "mango")
        smtp.send_message(message())
    assert server.messages[0].envelope.protocol == "ESMTPSA"
    assert server.url == f"smtp://ana:mango@127.0.0.1:{server.port}"


def test_tls_from_the_first_octet_and_a_refusal_in_it(smtp_server_factory: Factory) -> None:
    server = smtp_server_factory(implicit_tls=True)
    server.refuse(at="CONNECT", once=True)
    with pytest.raises(smtplib.SMTPConnectError):
        smtplib.SMTP_SSL(server.host, server.port, context=server.context)
    with smtplib.SMTP_SSL(server.host, server.port, context=server.context) as smtp:
        smtp.send_message(message())
    assert len(server.messages) == 1
    with pytest.raises(ssl.SSLError):          # nobody else trusts it
        smtplib.SMTP_SSL(server.host, server.port, context=ssl.create_default_context())


def test_a_login_without_tls_and_extensions_left_out(smtp_server_factory: Factory) -> None:
    server = smtp_server_factory(users={"ana": "mango"}, require_auth=False, without=["CHUNKING"], max_size=50)
    with smtplib.SMTP(server.host, server.port) as smtp:
        smtp.login("ana", "mango")
        assert not smtp.has_extn("chunking")
        with pytest.raises(smtplib.SMTPSenderRefused, match="50 octets"):
            smtp.send_message(message())


def test_settings_for_programs(smtp_server_factory: Factory) -> None:
    server = smtp_server_factory(tls=True, users={"ana": "a/b"})
    env = server.env()
    assert env["EMAIL_PORT"] == env["MAIL_PORT"] == env["SMTP_PORT"] == str(server.port)
    assert (env["EMAIL_USE_TLS"], env["EMAIL_USE_SSL"], env["MAIL_PASSWORD"]) == ("True", "False", "a/b")
    assert env["SMTP_URL"] == f"smtp://ana:a%2Fb@127.0.0.1:{server.port}"
    assert ssl.create_default_context(cafile=env["SSL_CERT_FILE"]) and env["NODE_EXTRA_CA_CERTS"] == server.ca_file
    settings = server.settings()
    assert {name: str(value) for name, value in settings.items()}.items() <= env.items()
    assert (settings["EMAIL_PORT"], settings["EMAIL_USE_TLS"], settings["MAIL_USE_SSL"]) == (server.port, True, False)
    assert smtp_server_factory().context is None


def test_brackets_in_a_pattern_mean_themselves(smtp_server: FakeServer) -> None:
    with smtplib.SMTP(*smtp_server.address) as smtp:
        smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], "Subject: [Django] Disk full [!\r\n\r\nNo room.\r\n")
    assert smtp_server.assert_sent(subject="[django] disk full [!").envelope.sender == "ana@rio.example"
    assert smtp_server.sent(subject="[Django]*") and not smtp_server.sent(subject="[D]jango*")


def test_what_is_no_pattern_or_reply_is_told(smtp_server: FakeServer) -> None:
    with pytest.raises(TypeError, match="^to is one pattern"):
        smtp_server.assert_sent(to=["kenji@tokyo.example"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not 550"):
        smtp_server.refuse("kenji@*", 550)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seconds, not '5'"):
        smtp_server.delay("5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name: password"):
        FakeServer(users=["ana"])  # type: ignore[arg-type]


def test_our_own_client_hears_it_too(smtp_server: FakeServer) -> None:
    smtp_server.refuse("kenji@*", "450 4.2.1 mailbox busy")
    with Client(*smtp_server.address) as smtp, pytest.raises(SMTPRecipientsRefused) as caught:
        smtp.send_message(message())
    assert caught.value.receipt.refused["kenji@tokyo.example"].enhanced == "4.2.1"


def test_a_subject_is_found_in_the_header_alone(smtp_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attachment of 20 MB took seconds, each time that a subject was compared."""
    send(smtp_server, message("Grüße"))

    def parsed(octets: bytes, **_: object) -> EmailMessage:
        raise AssertionError("the whole letter was parsed")

    monkeypatch.setattr("email.message_from_bytes", parsed)
    assert smtp_server.assert_sent(subject="grü*").subject == "Grüße"

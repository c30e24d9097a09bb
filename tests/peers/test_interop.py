"""Both ends against software that nobody here wrote: real programs over real sockets on loopback."""
from __future__ import annotations

import asyncio
import email
import email.policy
import io
import re
import shutil
import smtplib
import socket
import subprocess
import time
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from smtp_from_scratch import (
    Client,
    Envelope,
    Extension,
    Relay,
    Reply,
    Server,
    SMTPRecipientsRefused,
    client_extensions,
)
from smtp_from_scratch.lab import aiosmtpd_server
from smtp_from_scratch.relay import Zone
from smtp_from_scratch.smtp.nexthost import next_host
from tests.peers import missing, running

LETTER = EmailMessage()
LETTER["From"] = "Ana <ana@rio.example>"
LETTER["To"] = "Kenji <kenji@tokyo.example>, Li <li@beijing.example>"
LETTER["Bcc"] = "secret@oslo.example"
LETTER["Subject"] = "A dot alone"
LETTER.set_content("Dear all,\n.\n..two\n.hidden\nlast line, Ana\n")
RECIPIENTS = ["kenji@tokyo.example", "li@beijing.example", "secret@oslo.example"]


def peer(name: str, hint: str) -> str:
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed: {hint}")
    return path


def body_of(data: bytes) -> str:
    return email.message_from_bytes(data, policy=email.policy.default).get_content().replace("\r\n", "\n")


# --- our server, their clients -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stage")
def test_smtplib_sends_to_us() -> None:
    with Server() as server, smtplib.SMTP(*server.address, timeout=10) as smtp:
        assert smtp.send_message(LETTER) == {}
        assert smtp.noop()[0] == 250 and smtp.vrfy("ana")[0] == 252
        [letter] = server.wait_for(1)
    assert letter.envelope.sender == "ana@rio.example"
    assert sorted(letter.envelope.recipients) == sorted(RECIPIENTS)
    assert body_of(letter.data) == LETTER.get_content()
    assert b"secret" not in letter.data


@pytest.mark.usefixtures("stage")
def test_smtplib_sees_what_we_refuse() -> None:
    def accept(address: str, envelope: object) -> Reply | None:
        return Reply(550, "nobody of that name") if address.startswith("li@") else None

    with Server(accept_recipient=accept) as server, smtplib.SMTP(*server.address, timeout=10) as smtp:
        assert smtp.send_message(LETTER) == {"li@beijing.example": (550, b"5.1.1 nobody of that name")}
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail("ana@rio.example", ["li@x.example"], "x")
        smtp.sendmail("ana@rio.example", ["kenji@x.example"], "still here")
        assert len(server.wait_for(2)) == 2


@pytest.mark.usefixtures("stage")
def test_aiosmtplib_sends_to_us() -> None:
    with Server() as server:
        errors, _ = asyncio.run(aiosmtplib.send(LETTER, hostname=server.address[0], port=server.address[1],
                                                start_tls=False, timeout=10))
        [letter] = server.wait_for(1)
    assert errors == {}
    assert body_of(letter.data) == LETTER.get_content()


@pytest.mark.usefixtures("stage")
def test_swaks_sends_to_us() -> None:
    swaks = peer("swaks", "apt-get install swaks")
    with Server() as server:
        done = subprocess.run(
            [swaks, "--server", server.address[0], "--port", str(server.address[1]), "--from", "ana@rio.example",
             "--to", "kenji@tokyo.example,li@beijing.example", "--helo", "rio.example", "--protocol", "SMTP",
             "--header", "Subject: swaks", "--body", "one\n.\n.two"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        [letter] = server.wait_for(1)
    assert letter.envelope.recipients == ["kenji@tokyo.example", "li@beijing.example"]
    assert "one\n.\n.two" in body_of(letter.data)


@pytest.mark.usefixtures("stage")
def test_curl_sends_to_us(tmp_path: Path) -> None:
    curl = peer("curl", "apt-get install curl")
    mail = tmp_path / "mail.eml"
    mail.write_bytes(b"Subject: curl\r\n\r\n.\r\nhello\r\n")
    with Server() as server:
        url = "smtp://{}:{}/rio.example".format(*server.address)
        done = subprocess.run([curl, "-sS", url, "--mail-from", "ana@rio.example", "--mail-rcpt", "kenji@tokyo.example",
                               "--upload-file", str(mail)], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        [letter] = server.wait_for(1)
    assert letter.data == mail.read_bytes()


@pytest.mark.usefixtures("stage")
def test_msmtp_sends_to_us() -> None:
    msmtp = peer("msmtp", "apt-get install msmtp")
    with Server() as server:
        done = subprocess.run(
            [msmtp, f"--host={server.address[0]}", f"--port={server.address[1]}", "--from=ana@rio.example", "--tls=off",
             "--auth=off", "--file=/dev/null", "kenji@tokyo.example"],
            input=b"Subject: msmtp\n\n.dot\nlast", capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr
        [letter] = server.wait_for(1)
    assert letter.data.endswith(b"Subject: msmtp\r\n\r\n.dot\r\nlast\r\n")


@pytest.mark.parametrize("reuse", [True, False], ids=["one connection a session", "reused connections"])
@pytest.mark.usefixtures("stage")
def test_smtp_source_sends_to_us(reuse: bool) -> None:
    source = peer("smtp-source", "sh tools/peers.sh unpacks Postfix's")
    with Server() as server:
        done = subprocess.run(
            [source, "-c", *(["-d"] if reuse else []), "-s", "8", "-l", "2000", "-m", "200", "-r", "3",
             "-f", "ana@rio.example", "-t", "kenji@tokyo.example", "inet:{}:{}".format(*server.address)],
            capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        letters = server.wait_for(200)
    assert {len(letter.envelope.recipients) for letter in letters} == {3}
    assert len({len(letter.data) // 100 for letter in letters}) == 1


# --- our client, their servers -------------------------------------------------------------------------------------


def test_we_send_to_aiosmtpd() -> None:
    with aiosmtpd_server() as theirs, Client(*theirs.address, timeout=10) as smtp:
        receipt = smtp.send_message(LETTER)
        again = smtp.sendmail("", ["kenji@tokyo.example"], b"a bounce\n.\n")
        assert receipt.accepted == RECIPIENTS and not receipt.refused and again.accepted
        first, second = theirs.messages
    assert first.rcpt_tos == RECIPIENTS and first.mail_from == "ana@rio.example"
    assert body_of(bytes(first.data)) == LETTER.get_content()
    assert bytes(second.data) == b"a bounce\r\n.\r\n"


def test_aiosmtpd_refuses_and_we_report() -> None:
    class Handler:
        async def handle_RCPT(self, server, session, envelope, address, options):  # type: ignore[no-untyped-def]
            if address.startswith("li@"):
                return "550 nobody of that name"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):  # type: ignore[no-untyped-def]
            return "250 OK"

    with aiosmtpd_server(handler=Handler()) as theirs, Client(*theirs.address, timeout=10) as smtp:
        receipt = smtp.send_message(LETTER)
        assert {address: reply.code for address, reply in receipt.recipients.items()} == {
            "kenji@tokyo.example": 250, "li@beijing.example": 550, "secret@oslo.example": 250}
        with pytest.raises(SMTPRecipientsRefused) as refused:
            smtp.sendmail("ana@rio.example", "li@x.example", "x")
        assert refused.value.recipients["li@x.example"] == (550, b"nobody of that name")
        assert smtp.noop().positive


def test_we_send_to_smtp_sink(tmp_path: Path) -> None:
    sink = peer("smtp-sink", "sh tools/peers.sh unpacks Postfix's")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    template = tmp_path / "%M."
    run = subprocess.Popen([sink, "-u", "root", "-d", str(template), f"127.0.0.1:{port}", "100"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            try:
                smtp = Client("127.0.0.1", port, timeout=10)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        else:
            raise AssertionError(f"smtp-sink does not listen: {run.stderr and run.stderr.read()!r}")
        with smtp:
            assert smtp.send_message(LETTER).accepted == RECIPIENTS
    finally:
        run.terminate()
        run.wait(10)
    [kept] = tmp_path.iterdir()
    assert re.search(rb"Dear all,\r?\n\.\r?\n\.\.two\r?\n\.hidden\r?\n", kept.read_bytes())




@pytest.mark.parametrize("name", ["nodemailer", "aiosmtpd"])
def test_we_speak_lmtp_to(name: str) -> None:
    """aiosmtpd has one reply however many recipients there are, against RFC 2033 §4.2; so it gets one."""
    if reason := missing(name):
        pytest.skip(reason)
    with running(name) as peer:
        people = [peer.recipient, "yui@peer.example"] if name == "nodemailer" else [peer.recipient]
        for extensions in (client_extensions(), list[Extension]()):
            with Client(peer.host, peer.ports["lmtp"], lmtp=True, timeout=10, extensions=extensions) as client:
                assert client.sendmail(peer.sender, people, LETTER.as_bytes()).accepted == people
                assert client.noop().positive


# --- a relay of ours, their servers as its next hosts ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["postfix", "exim", "aiosmtpd"])
def test_a_relay_hands_letters_to_other_servers(name: str) -> None:
    """A host that is down comes first; who is unknown there is refused for good, the others are handed on, sealed."""
    if reason := missing(name):
        pytest.skip(reason)
    with Server() as closed:
        gone = closed.address
    connect, sealed = next_host("relay.rio.example"), list[bool]()

    def noted(host: str, address: tuple[str, int], secure: bool) -> Client:
        client = connect(host, address, secure)
        sealed.append(client.session.secure)
        return client

    with running(name) as stage:
        zone = Zone({"peer.example": [(20, "mx.peer.example"), (10, "down.peer.example")],
                     "elsewhere.example": [(10, "mx.peer.example")]},
                    {"mx.peer.example": [("127.0.0.1", stage.ports["smtp"])], "down.peer.example": [gone]})
        relay = Relay("relay.rio.example", zone, noted)
        people = ["yui@peer.example", "li@elsewhere.example"]
        outcome = relay(Envelope("ana@rio.example", people), io.BytesIO(LETTER.as_bytes(policy=email.policy.SMTP)))
    assert outcome[people[0]].positive, outcome
    assert outcome[people[1]].permanent, "a stranger's mail for another domain"
    assert [host for host, _ in outcome.attempts] == ["down.peer.example", "mx.peer.example", "mx.peer.example"]
    assert name == "aiosmtpd" or all(sealed), "no authority of ours knows its certificate"

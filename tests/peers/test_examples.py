"""The five small programs of docs/examples.md, each with what it talks to."""
from __future__ import annotations

import re
import shutil
import smtplib
import sqlite3
import ssl
import subprocess
import sys
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smtp_from_scratch import Envelope, Reply, Server
from smtp_from_scratch.testing import FakeServer
from tests.peers import missing, running
from tests.peers.test_interop import aiosmtpd_server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "examples.md"
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
MEMBERS = [f"member{number}@tokyo.example" for number in range(500)]


def programs(title: str) -> list[str]:
    """The blocks of code under a heading."""
    [section] = [text for heading, text in SECTIONS.items() if heading.startswith(title)]
    return re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def ran(title: str, number: int = 0) -> dict[str, Any]:
    """The names that a program defines."""
    names: dict[str, Any] = {}
    exec(compile(programs(title)[number], f"docs/examples.md: {title}", "exec"), names)
    return names


def letter(to: str = "kenji@tokyo.example") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ana@rio.example", to, "Mangoes"
    made.set_content("They are ripe.\n")
    return made


def test_there_are_five_and_each_is_short() -> None:
    assert len(SECTIONS) == 5
    for title in SECTIONS:
        assert programs(title) and all(len(code.splitlines()) < 25 for code in programs(title)), title


# --- a letter to a submission server -----------------------------------------------------------------------------


def test_a_letter_is_handed_to_postfix() -> None:
    if reason := missing("postfix"):
        pytest.skip(f"no Postfix: {reason}")
    submit = ran("Hand a letter")["submit"]
    with running("postfix") as peer:
        host, trusting = f"{peer.host}:{peer.ports['submission']}", ssl.create_default_context(cafile=peer.ca_file)
        assert submit(host, peer.user, peer.password, letter(peer.recipient), trusting) == "sent to 1"
        assert submit(host, peer.user, "melon", letter(peer.recipient), trusting) == "wrong user or password"
        assert "CERTIFICATE_VERIFY_FAILED" in submit(host, peer.user, peer.password, letter(peer.recipient))


def test_what_a_submission_server_refuses_is_told() -> None:
    submit = ran("Hand a letter")["submit"]
    with FakeServer(tls=True, users={"ana": "mango"}) as server:
        server.refuse("nobody@*", "550 5.1.1 who is that")
        host = f"{server.host}:{server.port}"
        found = submit(host, "ana", "mango", letter("kenji@tokyo.example, nobody@tokyo.example"), server.context)
        assert found == "sent to 1; nobody@tokyo.example: 550 5.1.1 who is that"
        assert submit(host, "ana", "mango", letter("nobody@tokyo.example"), server.context).startswith("not sent: ")
        assert submit(host, "ana", "melon", letter(), server.context) == "wrong user or password"
        server.refuse(at="AUTH", reply="454 4.7.0 no database now", once=True)
        assert submit(host, "ana", "mango", letter(), server.context) == "not now: AUTH: 454 4.7.0 no database now"
    with FakeServer(users={"ana": "mango"}) as server:              # nobody hears a password in the clear
        assert "STARTTLS" in submit(f"{server.host}:{server.port}", "ana", "mango", letter())
        assert not server.messages


def test_a_submission_server_that_hangs_up_leaves_it_open_only_after_the_end() -> None:
    submit = ran("Hand a letter")["submit"]
    with FakeServer(tls=True, users={"ana": "mango"}) as server:
        def tried(after: str) -> str:
            server.disconnect(after=after, once=True)
            return str(submit(f"{server.host}:{server.port}", "ana", "mango", letter(), server.context))

        assert tried("END") == "sent to 0; kenji@tokyo.example: nobody knows whether it was sent"
        assert len(server.messages) == 1                            # as it happens, it was
        assert tried("EHLO") == "not sent: the server hung up"


# --- a fixture ---------------------------------------------------------------------------------------------------


def test_an_application_is_tested(tmp_path: Path) -> None:
    [code] = programs("Test an application")
    (tmp_path / "test_welcome.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_welcome.py"],
                          cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr


# --- SQLite ------------------------------------------------------------------------------------------------------


def test_letters_end_up_in_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ran("Letters into SQLite")["server"] as server, smtplib.SMTP(*server.address) as smtp:
        smtp.send_message(letter("kenji@tokyo.example, yui@tokyo.example"))
        with sqlite3.connect("letters.db") as db:                   # it is there as soon as 250 was said
            rows = db.execute("SELECT sender, recipient, subject, octets FROM letters").fetchall()
        db.close()
        assert [row[:3] for row in rows] == [("ana@rio.example", "kenji@tokyo.example", "Mangoes"),
                                             ("ana@rio.example", "yui@tokyo.example", "Mangoes")]
        assert message_from_bytes(rows[0][3])["To"] == "kenji@tokyo.example, yui@tokyo.example"
        shutil.move("letters.db", "elsewhere.db")
        with pytest.raises(smtplib.SMTPDataError) as caught:        # no table: the client keeps the letter
            smtp.send_message(letter())
        assert caught.value.smtp_code == 451


# --- a handler of aiosmtpd ---------------------------------------------------------------------------------------


def exchanged(address: tuple[str, int]) -> list[object]:
    """What a client hears: codes only, since texts may differ."""
    with smtplib.SMTP(*address, timeout=10) as smtp:
        both = smtp.sendmail("ana@rio.example", ["kenji@example.com", "yui@tokyo.example"], "Subject: x\r\n\r\nx\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            smtp.sendmail("ana@rio.example", ["yui@tokyo.example"], "x")
    return [{who: code for who, (code, _) in found.items()} for found in (both, caught.value.recipients)]


def test_a_handler_of_aiosmtpd_and_ours_do_the_same() -> None:
    theirs, ours = ran("A handler of aiosmtpd"), ran("A handler of aiosmtpd", 1)
    with aiosmtpd_server(handler=theirs["Handler"]()) as peer:
        heard = exchanged(peer.address)
    with ours["server"] as server:
        assert exchanged(server.address) == heard == [{"yui@tokyo.example": 550}] * 2
    assert ours["seen"] == theirs["seen"] == [
        ("ana@rio.example", ["kenji@example.com"], b"Subject: x\r\n\r\nx\r\n")]


# --- five hundred letters ----------------------------------------------------------------------------------------


def inviting() -> tuple[dict[str, Any], list[float]]:
    """The names of the last program, whose pauses take no time, and the pauses."""
    names: dict[str, Any] = {}
    pauses: list[float] = []
    for code in programs("Five hundred"):
        exec(compile(code, "docs/examples.md: Five hundred letters", "exec"), names)
    names["time"] = SimpleNamespace(sleep=pauses.append)
    return names, pauses


def told(server: Server) -> list[str]:
    """Who has a letter."""
    return [one.envelope.recipients[0] for one in server.messages]


def test_five_hundred_letters() -> None:
    def accept(address: str, envelope: Envelope) -> Reply | None:
        return Reply(550, "no such mailbox", "5.1.1") if address.startswith("member7@") else None

    with Server(accept_recipient=accept) as server:
        names, pauses = inviting()
        assert names["invite"](server.address, MEMBERS) == {"member7@tokyo.example": "550 5.1.1 no such mailbox"}
        assert told(server) == [who for who in MEMBERS if "r7@" not in who]
    assert pauses == [0]                                            # a 5yz is not tried again


def test_who_is_refused_for_now_is_tried_again() -> None:
    with FakeServer() as server:
        server.refuse("member7@*", "451 4.3.0 not now", once=True)
        server.refuse("member8@*", "451 4.3.0 not now")
        names, pauses = inviting()
        assert names["invite"](server.address, MEMBERS[:20], pause=5) == {"member8@tokyo.example": "451 4.3.0 not now"}
        assert told(server) == [who for who in MEMBERS[:20] if who not in MEMBERS[7:9]] + [MEMBERS[7]]
    assert pauses == [5, 5, 0]


@pytest.mark.parametrize("after", ["MAIL", "RCPT", "DATA", "END"])
def test_a_line_that_breaks_loses_no_letter_and_repeats_none(after: str) -> None:
    with FakeServer() as server:
        server.disconnect(after=after, pattern="member100@*" if after != "MAIL" else "*", once=True)
        failed = inviting()[0]["invite"](server.address, MEMBERS)
        there = told(server)
    assert len(there) == len(set(there))
    assert set(there) | set(failed) == set(MEMBERS) and set(failed.values()) <= {"nobody knows"}
    assert len(failed) < 10


def test_a_server_that_always_hangs_up_is_left_alone() -> None:
    with FakeServer() as server:
        server.disconnect(after="MAIL")
        names, pauses = inviting()
        failed = names["invite"](server.address, MEMBERS[:20])
    assert list(failed) == MEMBERS[:20] and failed[MEMBERS[19]] == "not sent: the server hung up"
    assert pauses == [60, 60, 0]


def test_a_server_that_goes_away_for_good_costs_no_report() -> None:
    """The next call is refused, with an OSError that has no receipts."""
    with Server() as server:
        names, _ = inviting()
        invitation = names["invitation"]

        def leaving(member: str) -> EmailMessage:
            if member == MEMBERS[50]:
                server.stop(0.0)
            return invitation(member)  # type: ignore[no-any-return]

        names["invitation"] = leaving
        failed = names["invite"](server.address, MEMBERS[:100])
        assert set(told(server)) | set(failed) == set(MEMBERS[:100]) and len(failed) >= 50
    assert "not sent: " in failed[MEMBERS[99]] and "refused" in failed[MEMBERS[99]]
    assert {who for who in failed if who in told(server)} <= {who for who in failed if failed[who] == "nobody knows"}


def test_a_server_that_greets_nobody_is_in_the_report() -> None:
    with FakeServer() as server:
        server.refuse(at="CONNECT", reply="554 5.3.2 closed today")
        failed = inviting()[0]["invite"](server.address, MEMBERS[:2])
    assert failed == dict.fromkeys(MEMBERS[:2], "not sent: greeting: 554 5.3.2 closed today")

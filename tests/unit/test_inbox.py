"""The inbox for eyes: what it keeps, what it shows, and what it does not let a message do."""
from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import smtplib
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from export import ROOT

from smtp_from_scratch import Client, Server
from smtp_from_scratch.inbox.letters import MAX_ROWS, Dialogue, Letters
from smtp_from_scratch.inbox.web import routes
from smtp_from_scratch.transcript import Said
from smtp_from_scratch.web import WebServer, may_be_called

Inbox = tuple[Server, str, Letters]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    letters = Letters(max_messages=3)
    with Server(deliver=letters, tap=letters.tap) as smtp, WebServer(("127.0.0.1", 0), routes(letters)) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield smtp, f"http://127.0.0.1:{web.server_address[1]}", letters
        web.shutdown()
        thread.join()


def get(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
        return json.load(answer) if "json" in answer.headers["Content-Type"] else answer.read()


def message(subject: str = "Mangoes") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ana@rio.example", "kenji@tokyo.example", subject
    made.set_content("They are ripe: Grüße.\n")
    made.add_alternative('<p>ripe <img src="cid:fruit"><img src="https://spy.example/p.png">', subtype="html")
    made.get_payload()[1].add_related(b"\x89PNG", "image", "png", cid="<fruit>")
    made.add_attachment(b"\0\1\2", "application", "octet-stream", filename="ma\"ngo.bin")
    return made


def send(smtp: Server, *messages: EmailMessage) -> None:
    with Client(*smtp.address) as client:
        for one in messages:
            client.send_message(one)


def test_what_came_is_listed_and_shown(inbox: Inbox) -> None:
    smtp, url, _ = inbox
    assert get(f"{url}/api/messages") == {"messages": []}
    send(smtp, message("Grüße"), message("Papayas"))
    listed = get(f"{url}/api/messages")["messages"]
    assert [(one["id"], one["from"], one["to"], one["subject"]) for one in listed] == [
        (1, "ana@rio.example", ["kenji@tokyo.example"], "Grüße"),
        (2, "ana@rio.example", ["kenji@tokyo.example"], "Papayas")]
    assert [one["id"] for one in get(f"{url}/api/messages?after=1")["messages"]] == [2]
    assert [one["id"] for one in get(f"{url}/api/messages?subject=gr%C3%BC")["messages"]] == [1]
    found = get(f"{url}/api/messages/1")
    assert found["text"] == "They are ripe: Grüße.\n" and found["has_html"]
    assert [(part["type"], part["name"], part["size"]) for part in found["parts"]][-2:] == [
        ("image/png", "", 4), ("application/octet-stream", 'ma"ngo.bin', 3)]
    assert get(f"{url}/api/messages/1/parts/3") == b"\0\1\2"
    assert get(f"{url}/api/messages/1/source") == smtp_source(inbox, 1)
    said = [(line["role"], line["text"]) for line in found["dialogue"]]
    assert said[0][0] == "S" and said[0][1].startswith("220 ") and ("C", "QUIT") in said


def smtp_source(inbox: Inbox, number: int) -> bytes:
    entry = inbox[2].get(number)
    assert entry
    return entry.mail.data


def test_it_forgets_the_oldest_and_what_it_is_told_to(inbox: Inbox) -> None:
    smtp, url, letters = inbox
    send(smtp, *[message(str(number)) for number in range(5)])
    assert [one["subject"] for one in get(f"{url}/api/messages")["messages"]] == ["2", "3", "4"]
    get(f"{url}/api/messages/4", "DELETE")
    assert [one["id"] for one in get(f"{url}/api/messages")["messages"]] == [3, 5]
    get(f"{url}/api/messages", "DELETE")
    assert letters.all() == []
    letters.max_octets = 3_000                 # the latest one stays, however large
    send(smtp, message("a"), message("b"), message("c"))
    kept = letters.all()
    assert kept[-1].mail.message["Subject"] == "c"
    assert len(kept) == 1 or sum(len(one.mail.data) for one in kept) <= 3_000


def test_a_strangers_html_is_inert(inbox: Inbox) -> None:
    smtp, url, _ = inbox
    send(smtp, message())
    with urllib.request.urlopen(f"{url}/api/messages/1/html", timeout=30) as answer:
        policy, html = answer.headers["Content-Security-Policy"], answer.read().decode()
    assert policy.startswith("sandbox;") and "default-src 'none'" in policy and "script" not in policy
    assert "http" not in policy                # no server to fetch anything from
    assert 'src="data:image/png;base64,iVBORw=="' in html


def test_a_part_is_saved_and_never_shown(inbox: Inbox) -> None:
    smtp, url, _ = inbox
    made = EmailMessage()
    made["From"], made["To"] = "ana@rio.example", "kenji@tokyo.example"
    made.set_content("<script>alert(1)</script>", subtype="html")
    send(smtp, made)
    with urllib.request.urlopen(f"{url}/api/messages/1/parts/0", timeout=30) as answer:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_sets_a_message_only_as_text() -> None:
    script = (ROOT / "smtp_from_scratch" / "inbox" / "page.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    page = (ROOT / "smtp_from_scratch" / "inbox" / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:", page), "nothing is fetched from elsewhere"


@pytest.mark.parametrize(("host", "fine"), [
    ("localhost:8025", True), ("127.0.0.1:8025", True), ("[::1]:8025", True), ("192.168.1.7", True),
    ("evil.example", False), ("evil.example:8025", False), ("", False), ("localhost.evil.example", False)])
def test_only_this_machine_s_names_are_answered(host: str, fine: bool, inbox: Inbox) -> None:
    assert may_be_called(host) is fine
    connection = http.client.HTTPConnection("127.0.0.1", int(inbox[1].rpartition(":")[2]), timeout=30)
    connection.putrequest("GET", "/api/messages", skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    assert connection.getresponse().status == (200 if fine else 403)
    connection.close()


@pytest.mark.parametrize("path", ["/api/messages/99", "/nothing", "/../etc/passwd", "/api/messages/1/parts/77",
                                  "/api/messages/x"])
def test_what_is_not_there_is_404(path: str, inbox: Inbox) -> None:
    send(inbox[0], message())
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(inbox[1] + path)
    assert caught.value.code == 404


@pytest.mark.parametrize("kind", ["plain", "html"])
@pytest.mark.parametrize("charset", [b"undefined", b"idna", b"utf-7", b"unicode_escape", b"hex", b"utf\0x", b"none"])
def test_an_odd_charset_hides_no_message(charset: bytes, kind: str, inbox: Inbox) -> None:
    smtp, url, letters = inbox
    with smtplib.SMTP(*smtp.address) as client:
        client.sendmail("ana@rio.example", ["kenji@tokyo.example"], b'Content-Type: text/%b; charset="%b"\r\n\r\n'
                        b"ripe \\ud800 +2AA-\r\n" % (kind.encode(), charset))
    found = get(f"{url}/api/messages/1")
    assert found["text"].startswith("ripe ") if kind == "plain" else found["has_html"]
    assert get(f"{url}/api/messages/1/html").startswith(b"ripe " if kind == "html" else b"")


@pytest.mark.parametrize(("after", "found"), [("9" * 5_000, 1), ("1", 0), ("٠", 1), ("x", 1)])
def test_a_number_that_is_none_is_no_number(after: str, found: int, inbox: Inbox) -> None:
    send(inbox[0], message())
    assert len(get(f"{inbox[1]}/api/messages?after={urllib.parse.quote(after)}")["messages"]) == found


def test_a_long_session_and_a_long_body_take_little() -> None:
    dialogue = Dialogue()
    for said in (Said(0, "S", b"220 hi\r\n"), Said(0, "C", b"DATA\r\n"), Said(0, "S", b"354 go on\r\n"),
                 *[Said(0, "C", b"x" * 998 + b"\r\n")] * 5_000, Said(0, "C", b".\r\n"), Said(0, "S", b"250 kept\r\n")):
        dialogue.feed(said)
    assert dialogue.lines == [] and len(dialogue.rows) < 12
    assert [row["text"] for row in dialogue.rows[-3:]] == ["… 4,996,000 octets more", ".", "250 kept"]
    for _ in range(MAX_ROWS):
        dialogue.feed(Said(0, "C", b"NOOP\r\n"))
    assert len(dialogue.rows) == MAX_ROWS


def test_the_command_takes_any_login_and_ends_well() -> None:
    process = subprocess.Popen([sys.executable, "-m", "smtp_from_scratch", "inbox", "--smtp", "127.0.0.1:0", "--http",
                                "127.0.0.1:0"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdout
        ports = [int(process.stdout.readline().partition("127.0.0.1:")[2].split("/")[0].split()[0]) for _ in range(2)]
        smtp_port, web_port = ports
        with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
            smtp.login("whoever", "whatever")
            smtp.send_message(message())
        found = get(f"http://127.0.0.1:{web_port}/api/messages/1")
        assert found["envelope"]["user"] == "whoever"
        assert "whatever" not in json.dumps(found["dialogue"])
        assert b"<title>Inbox" in get(f"http://127.0.0.1:{web_port}/")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

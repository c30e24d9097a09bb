"""The inbox for eyes: what it keeps, what it shows, and what it does not let a message do."""
from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import re
import signal
import smtplib
import socket
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

from smtp_from_scratch import Client, Server, web
from smtp_from_scratch.dialogue import MAX_ROWS, Dialogue
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.inbox import letters as inbox_letters
from smtp_from_scratch.inbox import web as inbox_web
from smtp_from_scratch.inbox.letters import Letters, text_of
from smtp_from_scratch.inbox.web import routes
from smtp_from_scratch.parts import MAX_PARTS, Part, parts_of
from smtp_from_scratch.transcript import Said
from smtp_from_scratch.web import Deadline, WebServer, may_be_called

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
    assert get(f"{url}/api/messages")["messages"] == []
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


def html_of(inbox: Inbox, html: str, kind: str = "image/png", image: bytes = b"") -> str:
    """What is shown of a message with this HTML and an image that it calls `x`."""
    made = ("Content-Type: multipart/related; boundary=B\r\n\r\n"
            f"--B\r\nContent-Type: text/html\r\n\r\n{html}\r\n--B\r\n"
            f"Content-Type: {kind}\r\nContent-ID: <x>\r\n\r\n").encode() + image + b"\r\n--B--\r\n"
    with smtplib.SMTP(*inbox[0].address) as client:
        client.sendmail("ana@rio.example", ["kenji@tokyo.example"], made)
    shown: bytes = get(f"{inbox[1]}/api/messages/1/html")
    return shown.decode()


@pytest.mark.parametrize("html", [
    '<link rel=preconnect href="https://spy.example">', "<LINK\r\nrel=dns-prefetch href=//spy.example>",
    "<iframe src=https://spy.example></iframe>", '<iframe srcdoc="<link rel=preconnect href=https://spy.example>">',
    "<object data=https://spy.example>", "<embed/src=https://spy.example>", "<frame src=https://spy.example>",
    "<base href=https://spy.example>", "<meta http-equiv=x-dns-prefetch-control content=on>"])
def test_no_tag_of_a_letter_calls_its_sender(html: str, inbox: Inbox) -> None:
    shown = html_of(inbox, f"<p>ripe</p>{html}")
    assert "<p>ripe</p>" in shown and "<x-" in shown
    assert not re.search(r"<(link|i?frame|object|embed|base|meta)\b", shown, re.IGNORECASE)


def test_an_image_that_names_an_odd_type_is_no_tag(inbox: Inbox) -> None:
    assert html_of(inbox, "<img src=cid:x>", "image/png><link") == "<img src=data:,>"


def test_an_image_that_is_shown_often_is_bounded(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_web, "MAX_INLINED", 1_500)
    shown = html_of(inbox, "<img src=cid:x>\r\n" * 50, image=b"\x89PNG" * 75)
    found = re.findall("data:[^>]*", shown)
    assert len(found) == 50 and found[2].startswith("data:image/png;base64,iVBO")
    assert found[3:] == ["data:,"] * 47


@pytest.mark.parametrize(("path", "who"), [("/", "'none'"), ("/api/messages", "'none'"),
                                           ("/api/messages/1/html", "'self'")])
def test_no_page_from_elsewhere_has_this_one_in_it(path: str, who: str, inbox: Inbox) -> None:
    html_of(inbox, "<p>ripe</p>")
    with urllib.request.urlopen(inbox[1] + path, timeout=30) as answer:
        assert answer.headers["Content-Security-Policy"].endswith(f"frame-ancestors {who}")
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-DNS-Prefetch-Control"] == "off"


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


@pytest.mark.parametrize("charset", ["punycode", "Punycode", "idna"])
def test_what_is_no_charset_of_mail_is_not_decoded(charset: str) -> None:
    assert text_of(Part("text/plain", {"charset": charset}, "", b"mangoes-kva")) == "mangoes-kva"


def test_no_more_parts_are_made_than_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    many = Part("multipart/mixed", {"boundary": "B"}, "", b"--B\r\n\r\nripe\r\n" * (MAX_PARTS + 5))
    assert [part.content for part in parts_of(many)] == [b"ripe"] * MAX_PARTS
    inner = b"--A\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n" + many.content
    opened: list[Part] = []
    monkeypatch.setattr(inbox_letters, "parts_of", lambda part: opened.append(part) or parts_of(part))
    letters = Letters()
    letters(Envelope("ana@rio.example"), io.BytesIO(b"Content-Type: multipart/mixed; boundary=A\r\n\r\n" + inner * 3))
    assert len(letters.all()[0].parts) == MAX_PARTS and len(opened) == 2


@pytest.mark.parametrize(("after", "found"), [("9" * 5_000, 1), ("1", 0), ("٠", 1), ("x", 1)])
def test_a_number_that_is_none_is_no_number(after: str, found: int, inbox: Inbox) -> None:
    send(inbox[0], message())
    assert len(get(f"{inbox[1]}/api/messages?after={urllib.parse.quote(after)}")["messages"]) == found


def test_a_page_can_tell_that_the_numbers_began_again(inbox: Inbox) -> None:
    assert get(f"{inbox[1]}/api/messages")["run"] == get(f"{inbox[1]}/api/messages?after=7")["run"] == inbox[2].run
    assert Letters().run != inbox[2].run
    script = (ROOT / "smtp_from_scratch" / "inbox" / "page.js").read_text(encoding="utf-8")
    assert "run !== found.run" in script


def caller(inbox: Inbox, request: bytes, timeout: float = 30) -> socket.socket:
    """A line on which this was said."""
    line = socket.create_connection(("127.0.0.1", int(inbox[1].rpartition(":")[2])), timeout)
    line.sendall(request)
    return line


def test_a_path_that_is_no_address_is_told_so(inbox: Inbox) -> None:
    with caller(inbox, b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n") as line, line.makefile("rb") as answer:
        assert answer.readline().split()[1] == b"400"


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/nothing", 404)])
def test_head_is_get_without_the_body(path: str, status: int, inbox: Inbox) -> None:
    answers = []
    for method in (b"HEAD", b"GET"):
        with (caller(inbox, b"%b %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (method, path.encode())) as line,
              line.makefile("rb") as answer):
            answers.append(answer.read().partition(b"\r\n\r\n"))
    (head, _, nothing), (same, _, body) = answers
    assert int(head.split()[1]) == status and nothing == b"" and body
    assert re.sub(b"Date:.*", b"", head) == re.sub(b"Date:.*", b"", same)


def test_a_request_has_a_deadline_however_often_an_octet_comes(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "monotonic", itertools.count(0, 6).__next__)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"GET")
        slow, octet = Deadline(ours, 10), bytearray(1)
        assert slow.readinto(octet) == 1 and octet == b"G"
        with pytest.raises(TimeoutError):
            slow.readinto(octet)
    with caller(inbox, b"GET / HTTP/1.1\r\n", timeout=5) as line:
        assert line.recv(1) == b""


def test_those_who_say_nothing_keep_nobody_out(inbox: Inbox) -> None:
    """They had all places until their ten seconds were over."""
    _, url, _ = inbox
    address = url.removeprefix("http://").split(":")
    silent = list[socket.socket]()
    with contextlib.ExitStack() as stack:
        for number in range(web.CALLERS):
            silent.append(stack.enter_context(socket.create_connection((address[0], int(address[1])), 30)))
            if number % 2:                     # half a request is none
                silent[-1].sendall(b"GET /api/messages HTTP/1.0\r\nHost: localhost\r\nX-Sl")
        assert [get(f"{url}/api/messages")["messages"] for _ in range(3)] == [[]] * 3
        assert silent[0].recv(1) == b""        # the first to come has made room


def test_a_caller_for_whom_no_thread_can_be_had_keeps_no_place(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    _, url, _ = inbox
    with monkeypatch.context() as patch:
        patch.setattr(web.threading.Thread, "start", none_left)
        for _ in range(web.CALLERS + 1):
            with pytest.raises((OSError, http.client.HTTPException)):
                get(f"{url}/api/messages")
    assert get(f"{url}/api/messages")["messages"] == []


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

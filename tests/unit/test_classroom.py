"""The server of a room: who is there, what their letters show, tasks, switches, and what is not told."""
from __future__ import annotations

import contextlib
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
from typing import Any

import pytest
from export import ROOT

from smtp_from_scratch import Client, Server, client_extensions
from smtp_from_scratch.classroom import state
from smtp_from_scratch.classroom.state import TASKS, Room, name_in
from smtp_from_scratch.classroom.web import Switches, routes
from smtp_from_scratch.lab import record
from smtp_from_scratch.lab.room import classroom
from smtp_from_scratch.web import MAX_BODY, STREAMS, WebServer

Place = tuple[Server, str, Room]


@pytest.fixture
def place() -> Iterator[Place]:
    room = Room()
    with Server(deliver=room, accept_sender=room.accept_sender, tap=room.tap) as smtp:
        switches = Switches(["PIPELINING", "CHUNKING"], lambda off: None)
        with WebServer(("127.0.0.1", 0), routes(room, switches, "secret")) as web:
            thread = threading.Thread(target=web.serve_forever)
            thread.start()
            yield smtp, f"http://127.0.0.1:{web.server_address[1]}", room
            web.shutdown()
            thread.join()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def post(url: str, body: object, key: str = "", kind: str = "application/json") -> int:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": kind, "X-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def mail(smtp: Server, sender: str, *to: str, without: tuple[str, ...] = (), text: str = "hi") -> None:
    with Client(*smtp.address, extensions=client_extensions(without=without)) as client:
        client.sendmail(f"{sender}@class.example", [f"{one}@class.example" for one in to], text)


def rows(url: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in get(f"{url}/api/room")["learners"]}


def test_who_writes_is_there_and_who_is_written_to_has_a_mailbox(place: Place) -> None:
    smtp, url, _ = place
    mail(smtp, "Ana", "kenji", "yui", text="Subject: tea\r\n\r\nat four?\r\n")
    found = rows(url)
    assert list(found) == ["ana", "kenji", "yui"]
    assert (found["ana"]["sent"], found["kenji"]["received"], found["yui"]["stage"]) == (1, 1, "a mailbox")
    [letter] = get(f"{url}/api/letters/kenji")["letters"]
    assert (letter["from"], letter["subject"], letter["text"]) == ("Ana@class.example", "tea", "at four?\n")
    said = get(f"{url}/api/dialogue/ana")["dialogue"]
    assert any(row["text"].startswith("MAIL FROM:<Ana@") for row in said)
    with pytest.raises(urllib.error.HTTPError):
        get(f"{url}/api/letters/eva")


@pytest.mark.parametrize(("without", "stage", "shown"), [
    ((), "in one flight", ["CHUNKING", "PIPELINING", "SIZE"]), (("PIPELINING",), "a letter", ["CHUNKING", "SIZE"]),
    (("PIPELINING", "CHUNKING", "SIZE"), "a letter", [])])
def test_a_session_shows_what_it_makes_use_of(place: Place, without: tuple[str, ...], stage: str,
                                             shown: list[str]) -> None:
    mail(place[0], "ana", "kenji", without=without)
    row = rows(place[1])["ana"]
    assert (row["stage"], row["shown"]) == (stage, shown)


def test_how_far_somebody_has_come_before_a_letter_is_there(place: Place) -> None:
    smtp, url, _ = place
    with smtplib.SMTP(*smtp.address) as line:
        line.helo("here")
        line.mail("ana@class.example")
        assert rows(url)["ana"]["stage"] == "MAIL"
        line.rcpt("kenji@class.example")
        assert rows(url)["ana"]["stage"] == "RCPT"
    assert rows(url)["ana"]["shown"] == []


def test_a_task_is_done_by_a_letter_after_it_was_set(place: Place) -> None:
    smtp, url, _ = place
    mail(smtp, "ana", "kenji")
    assert rows(url)["ana"]["done"] is None
    assert post(f"{url}/api/command", {"task": "flight"}, "secret") == 200
    mail(smtp, "yui", "kenji", without=("PIPELINING",))
    assert (rows(url)["ana"]["done"], rows(url)["yui"]["done"]) == (False, False)
    mail(smtp, "yui", "kenji")
    assert (rows(url)["ana"]["done"], rows(url)["yui"]["done"]) == (False, True)
    assert get(f"{url}/api/room")["task"]["words"] == TASKS["flight"].words
    assert post(f"{url}/api/command", {"task": ""}, "secret") == 200 and get(f"{url}/api/room")["task"] is None


def test_only_the_key_sets_tasks_and_switches(place: Place) -> None:
    _, url, _ = place
    assert {post(f"{url}/api/command", {"task": "letter"}, key) for key in ("", "guess", "secret ")} == {403}
    assert post(f"{url}/api/command", {"switch": "CHUNKING", "on": False}, "secret") == 200
    assert get(f"{url}/api/room")["off"] == ["CHUNKING"]
    for wrong in ({"task": "dinner"}, {"switch": "SIZE", "on": True}, {"switch": "CHUNKING", "on": 1}, [], 7,
                  {"task": 3}):
        assert post(f"{url}/api/command", wrong, "secret") == 400
    assert post(f"{url}/api/command", {"task": "letter"}, "secret", kind="text/plain") == 415


def test_progress_is_what_somebody_tells(place: Place) -> None:
    _, url, _ = place
    told = {"name": "ana", "chapter": "wire", "passed": 3, "of": 4}
    assert post(f"{url}/api/progress", told) == 200
    assert rows(url)["ana"]["progress"] == {"wire": [3, 4]}
    assert post(f"{url}/api/progress", {**told, "name": "用" * 40}) == 200
    assert get(f"{url}/api/letters/{urllib.parse.quote('用' * 40)}") == {"letters": []}
    for wrong in ({**told, "passed": 5}, {**told, "passed": "3"}, {**told, "chapter": "<b>"}, {"name": "ana"}, None):
        assert post(f"{url}/api/progress", wrong) == 400


def test_the_room_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    smtp, url, room = place
    monkeypatch.setattr(state, "MAX_LEARNERS", 2)
    mail(smtp, "ana", "kenji")
    with smtplib.SMTP(*smtp.address) as line:
        line.ehlo()
        assert line.mail("yui@class.example")[0] == 452
        assert line.mail("ana@class.example")[0] == 250
        assert line.rcpt("eva@class.example")[0] == 250 and line.data("hi")[0] == 452
    assert post(f"{url}/api/progress", {"name": "li", "chapter": "wire", "passed": 1, "of": 4}) == 507
    for _ in range(state.MAX_LETTERS + 5):
        mail(smtp, "ana", "kenji")
    assert rows(url)["kenji"]["received"] == state.MAX_LETTERS and len(room.learners) == 2
    assert name_in("x" * 500 + "@class.example") == "x" * 40 and name_in("a\x07b@c") == "ab"


def test_the_letters_of_a_room_are_bounded_together(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    smtp, url, _ = place
    monkeypatch.setattr(state, "MAX_TOTAL", 3_000)
    mail(smtp, "ana", "yui", text="Subject: 0\r\n\r\nhi\r\n")
    for number in range(1, 6):                 # a letter to several is there once; one to the same twice, too
        mail(smtp, "ana", "kenji", "Kenji", "li", text=f"Subject: {number}\r\n\r\n{'x' * 900}\r\n")
    subjects = {name: [letter["subject"] for letter in get(f"{url}/api/letters/{name}")["letters"]]
                for name in ("yui", "kenji", "li")}
    assert subjects == {"yui": [], "kenji": ["3", "3", "4", "4", "5", "5"], "li": ["3", "4", "5"]}


@pytest.mark.parametrize(("local", "name"), [('"A@b"', '"a@b"'), ("用" * 21, "用" * 21)])
def test_every_name_in_the_room_has_a_dialogue(local: str, name: str, place: Place) -> None:
    smtp, url, _ = place
    with Client(*smtp.address) as client:
        client.sendmail(f"{local}@class.example", ["kenji@class.example"], "hi")
    assert list(rows(url)) == [name, "kenji"]
    assert get(f"{url}/api/dialogue/{urllib.parse.quote(name, safe='')}")["dialogue"]
    assert get(f"{url}/api/letters/{urllib.parse.quote(local, safe='')}")["letters"] == []
    assert post(f"{url}/api/progress", {"name": local, "chapter": "wire", "passed": 1, "of": 4}) == 200
    assert rows(url)[name]["progress"] == {"wire": [1, 4]}


def ask(url: str, request: bytes) -> tuple[socket.socket, bytes]:
    """A line, and the status of the answer to a request."""
    line = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 30)
    line.sendall(request + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with line.makefile("rb", buffering=0) as answer:
        return line, answer.readline().split()[1]


def test_streams_leave_places_for_others(place: Place) -> None:
    _, url, _ = place
    with contextlib.ExitStack() as stack:
        statuses = []
        for _ in range(STREAMS + 1):
            line, status = ask(url, b"GET /api/events")
            stack.enter_context(line)
            statuses.append(status)
        assert statuses == [b"200"] * STREAMS + [b"503"]
        assert post(f"{url}/api/command", {"task": "letter"}, "secret") == 200


def test_head_of_a_stream_ends(place: Place) -> None:
    line, status = ask(place[1], b"HEAD /api/events")
    with line, line.makefile("rb") as rest:
        assert status == b"200" and b"\r\n\r\n" in rest.read()


def test_json_in_json_without_end_is_told_so(place: Place) -> None:
    request = urllib.request.Request(f"{place[1]}/api/command", b"[" * (MAX_BODY - 1),
                                     {"Content-Type": "application/json", "X-Key": "secret"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code == 400


def test_no_page_from_elsewhere_has_this_one_in_it(place: Place) -> None:
    with urllib.request.urlopen(place[1], timeout=30) as answer:
        assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")


def test_the_page_is_told_of_every_change(place: Place) -> None:
    smtp, url, _ = place
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 30) as line:
        line.sendall(b"GET /api/events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        stream = line.makefile("rb")
        while stream.readline().strip():
            pass
        assert json.loads(stream.readline()[6:])["learners"] == []
        mail(smtp, "ana", "kenji")
        while True:
            if (event := stream.readline()).startswith(b"data: "):
                found = {row["name"]: row for row in json.loads(event[6:])["learners"]}
                if found["ana"]["sent"]:
                    break
    assert found["kenji"]["received"] == 1


def test_the_page_sets_what_people_chose_only_as_text() -> None:
    script, page = ((ROOT / "smtp_from_scratch" / "classroom" / name).read_text(encoding="utf-8")
                    for name in ("page.js", "page.html"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert not re.search(r"https?:", page), "nothing is fetched from elsewhere"


def test_the_command_and_a_notebook_in_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-m", "smtp_from_scratch", "class", "--smtp", "127.0.0.1:0", "--http",
                                "127.0.0.1:0"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
        port = int(lines[0].partition("127.0.0.1:")[2].split()[0])
        url, key = lines[2].split()[-1].split("/#key=")
        monkeypatch.setenv("SMTP_CLASS", f"127.0.0.1:{port}")
        ana, kenji = classroom("ana"), classroom("kenji")
        assert kenji.letters() == []
        assert ana.send("kenji", "Are you there?").accepted == ["kenji@class.example"]
        assert [letter["text"] for letter in kenji.letters()] == ["Are you there?\n"]
        monkeypatch.setattr(record, "Progress", lambda chapter: type("P", (), {"rows": [("wire", 2, 4, 0, 0)]}))
        assert "2 of 4" in str(ana.tell("wire")) and rows(url)["ana"]["progress"] == {"wire": [2, 4]}
        assert post(f"{url}/api/command", {"switch": "SMTPUTF8", "on": False}, key) == 200
        with Client("127.0.0.1", port) as smtp:
            assert not smtp.has_extn("SMTPUTF8") and smtp.has_extn("CHUNKING")
            smtp.login("ana", "not-my-own", insecure=True)
            smtp.sendmail("ana@class.example", "kenji@class.example", "hi")
        said = json.dumps(get(f"{url}/api/dialogue/ana"))
        assert "AUTH" in said and "not-my-own" not in said and "bm90LW15" not in said
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    monkeypatch.delenv("SMTP_CLASS")
    with pytest.raises(LookupError, match="SMTP_CLASS"):
        classroom("ana")
    with Server() as other, pytest.raises(ValueError, match="no room"):
        classroom("ana", "{}:{}".format(*other.address))


def test_a_room_that_does_not_answer_says_what_to_look_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        where = f"127.0.0.1:{nobody.getsockname()[1]}"
    with pytest.raises(LookupError, match=f"No room answers at {where}.*0.0.0.0:2525"):
        classroom("ana", where)

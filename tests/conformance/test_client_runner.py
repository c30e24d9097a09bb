"""What examines clients: whatever a client does costs bounded time, and is said; the command line."""
from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from smtp_from_scratch.conformance.client.runner import (
    ClientTarget,
    InThread,
    check,
)
from smtp_from_scratch.conformance.client.tasks import Task, fill
from smtp_from_scratch.conformance.notation import parse
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.runner import FAILED, SKIPPED
from tests.our_client import DIALOGUES
from tests.peers.clients import COMMANDS

PEERS_FILES = Path(__file__).parents[1] / "peers"


def dialling(conduct: Callable[[socket.socket], object], status: int = 1) -> Callable[[str, int, Task], int]:
    """A client that calls, and then does whatever `conduct` does."""
    def client(host: str, port: int, task: Task) -> int:
        with socket.create_connection((host, port), 5) as sock:
            conduct(sock)
        return status

    return client


def flood(line: bytes) -> Callable[[socket.socket], None]:
    def conduct(sock: socket.socket) -> None:
        deadline = time.monotonic() + 5                  # bounded, whatever the other end does
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                sock.sendall(line * 1000)

    return conduct


def not_smtp(host: str, port: int, task: Task) -> int:
    return 0


HELLO = b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@c.example>\r\n"
CONDUCTS: dict[str, tuple[Callable[[str, int, Task], int], str]] = {
    "says nothing": (dialling(lambda sock: time.sleep(1.5)), "nothing within 0.5 s"),
    "hangs up at once": (dialling(lambda sock: None), "the end of the connection"),
    "never calls": (not_smtp, "ended with status 0 and never called"),
    "never ends its line": (dialling(flood(b"x" * 1000)), "what is none"),
    "ends its lines with LF": (dialling(lambda sock: sock.sendall(b"EHLO c.example\n")), "what is none"),
    "speaks another protocol": (dialling(lambda sock: sock.sendall(b"GET / HTTP/1.1\r\n\r\n")),
                                "got what is none (this is SMTP, and b'GET / HTTP/1.1"),
    "says NOOP for ever": (dialling(flood(b"NOOP\r\n")), "RSET and NOOP without end"),
    "announces too much": (dialling(lambda sock: sock.sendall(HELLO + b"BDAT 99999999999999\r\n")), "got BDAT 9999"),
    "sends less than it announced": (dialling(lambda sock: sock.sendall(HELLO + b"BDAT 10\r\nhello")), "5 octets less"),
    "never ends its letter": (dialling(lambda sock: sock.sendall(HELLO + b"DATA\r\nhello")), "end of the connection"),
}


@pytest.mark.parametrize("name", CONDUCTS)
def test_misconduct_costs_bounded_time_and_is_reported(name: str) -> None:
    conduct, expected = CONDUCTS[name]
    source = """
== a rule
rfc: 5321 §3.3
level: MUST
end: client
asks: something
after: EHLO
needs: CHUNKING
--
C: MAIL FROM:<*
S: 250 fine
C: RCPT TO:<*
S: 250 fine
C: BDAT *|DATA
when DATA
  S: 354 go on
  C: body
end
"""
    [dialogue] = parse(source)
    start = time.monotonic()
    target = ClientTarget(lambda host, port, task, folder: InThread(conduct, host, port, task), authority=None,
                          patience=0.5, start=1.0, limit=3.0)
    [outcome] = check(target, [dialogue])
    assert outcome.status == FAILED and expected in outcome.reason, outcome.reason
    assert time.monotonic() - start < 6
    assert "a rule" in failure(outcome)


def test_a_success_that_is_none_is_caught() -> None:
    """A client that is refused, and exits with 0; one that declines the task it may decline, and exits with 0."""
    talk = dialling(lambda sock: [sock.sendall(HELLO + b"QUIT\r\n"), sock.recv(1000), time.sleep(0.3)], status=0)
    target = ClientTarget(lambda host, port, task, folder: InThread(talk, host, port, task), authority=None)
    by_title = {dialogue.title: dialogue for dialogue in DIALOGUES}
    titles = "An unknown 5yz to RCPT", "A letter whose lines end with LF"
    refused, declined = check(target, [by_title[title] for title in titles])
    assert refused.status == FAILED and "expected exit failure, got 0" in refused.reason
    assert declined.status == FAILED and "declined" in declined.reason

# --- as a command ----------------------------------------------------------------------------------------------------


def check_client(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "smtp_from_scratch", "check-client", *arguments],
                          capture_output=True, text=True, timeout=170)


SEND = [sys.executable, "-m", "smtp_from_scratch", "send", "--server", "{host}:{port}", "--from", "{sender}", "--to",
        "{recipients}", "[", "--user", "{user}", "--password-file", "{password_file}", "]",
        "[", "--starttls", "--ca-file", "{ca_file}", "]", "[", "--notify", "{notify}", "]", "[", "--ret", "{ret}", "]",
        "[", "--envid", "{envid}", "]", "[", "--orcpt", "{orcpt}", "]",
        "[", "--implicit-tls", "--ca-file", "{implicit_ca_file}", "]", "{file}", "[", "{again}", "]"]


@pytest.mark.long
def test_check_our_own_command() -> None:
    done = check_client("--at-once", "3", "--json", "--", *SEND)
    outcomes = json.loads(done.stdout)["dialogues"]
    assert done.returncode == 0, [outcome for outcome in outcomes if outcome["status"] == FAILED]
    assert not [outcome["reason"] for outcome in outcomes if outcome["status"] == SKIPPED]


def test_check_a_few_at_our_own_command(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    done = check_client("--only", "dots", "--junit", str(junit), "--", *SEND)
    assert done.returncode == 0 and "5321        1        0        0        0" in done.stdout, done.stdout
    assert ElementTree.parse(junit).getroot().attrib["failures"] == "0"


def test_check_finds_what_smtplib_does_differently() -> None:
    done = check_client("--only", "554: QUIT", "--json", "--", *COMMANDS["smtplib"])
    assert done.returncode == 1
    assert [entry["status"] for entry in json.loads(done.stdout)["dialogues"]] == ["failed"]


@pytest.mark.parametrize("arguments, code, complaint", [
    ([], 2, "the command is missing"),
    (["--", "send", "{host}"], 2, "must have {port}"),
    (["--", "send", "{port}", "{hots}"], 2, "no such placeholder: {hots}"),
    (["--", "send", "{port}", "[", "{file}"], 2, "`]` is missing"),
    (["--", "send", "{port}", "]"], 2, "stand in pairs"),
    (["--only", "no such title", "--", "send", "{port}"], 2, "no dialogue is called that"),
    (["--rfc", "9999", "--", "send", "{port}"], 2, "no dialogue is about RFC 9999;"),
    (["--section", "9999:1", "--only", "x", "--", "send", "{port}"], 2, "is about §1 of RFC 9999 and called that;"),
    (["--", "no-such-command", "{port}"], 69, "there is no command 'no-such-command'"),
    (["--", sys.executable, "-c", "raise SystemExit('out of order')", "{port}"], 69, "out of order"),
])
def test_check_client_says_what_it_cannot_do(arguments: list[str], code: int, complaint: str) -> None:
    done = check_client(*arguments)
    assert done.returncode == code and complaint in done.stderr and "Traceback" not in done.stderr


def test_check_client_lists_its_dialogues() -> None:
    listed = check_client("--list")
    assert listed.returncode == 0 and len(listed.stdout.splitlines()) == len(DIALOGUES)


@pytest.mark.parametrize("words, expected", [
    ("send {host} {port} {recipients}", "send h 1 a@x.example b@x.example"),
    ("send --to {recipients} -- {recipients}", "send --to a@x.example --to b@x.example -- a@x.example b@x.example"),
    ("send --to={recipients} {recipients,}", "send --to=a@x.example --to=b@x.example a@x.example,b@x.example"),
    ("send [ --user {user} ] [ --ca-file {ca_file} ] {host}", "send h"),
    ("send [ --host {host} ] {user}", "send --host h ana"),
])
def test_a_command_is_filled_in(words: str, expected: str, tmp_path: Path) -> None:
    task = Task(recipients=("a@x.example", "b@x.example"))
    assert fill(words.split(), task, "h", 1, tmp_path) == expected.split()
    assert (tmp_path / "letter.eml").read_bytes() == task.letter

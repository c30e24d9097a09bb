"""`serve --queue` and `queue`, as processes: whose mail goes on, whose does not, and what an owner sees of it."""
from __future__ import annotations

import contextlib
import io
import mailbox
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client, Envelope, Queue, Reply, Server, SMTPRecipientsRefused, UserFile
from smtp_from_scratch.cli.queue import spell
from smtp_from_scratch.ledger import Ledger
from smtp_from_scratch.report import parse_report

COMMAND = [sys.executable, "-m", "smtp_from_scratch"]
ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@rio.example"
LETTER = b"From: ana@rio.example\r\nSubject: Choir\r\n\r\nSaturday.\r\n"


@contextlib.contextmanager
def serving(tmp_path: Path, next_host: tuple[str, int], *options: str) -> Iterator[dict[str, tuple[str, int]]]:
    """`serve` with a queue; yields the address of each role, and expects a good end."""
    if not (tmp_path / "users").exists():
        UserFile(tmp_path / "users", create=True).add("ana", "open sesame", 4096)
    command = [*COMMAND, "serve", "--smtp", "127.0.0.1:0", "--submission", "127.0.0.1:0", "--insecure-auth",
               "--users", str(tmp_path / "users"), "--maildir", str(tmp_path / "mail"), "--hostname", "mx.rio.example",
               "--domain", "rio.example", "--queue", str(tmp_path / "queue"),
               "--next-host", f"{next_host[0]}:{next_host[1]}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout and run.stderr
        try:
            found = [re.fullmatch(r"listening on (.*):(\d+) \((\w+)\)\n", run.stdout.readline()) for _ in range(2)]
            yield {match[3]: (match[1], int(match[2])) for match in found if match}
            run.terminate()
            assert (run.wait(60), run.stderr.read()) == (0, "")
        finally:
            run.kill()


def as_user(address: tuple[str, int]) -> Client:
    return Client(*address, user="ana", password="open sesame", insecure_auth=True, timeout=30)


def gone() -> tuple[str, int]:
    """An address where nobody is."""
    with Server() as server:
        return server.address


def eventually(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def waiting(tmp_path: Path) -> list[Any]:
    with contextlib.closing(Ledger(tmp_path / "queue")) as ledger:
        return ledger.entries()


def queue(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, "queue", *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("options", [[], ["--stage", "threads"],
                                     pytest.param(["--processes", "2"], marks=pytest.mark.skipif(
                                         not hasattr(socket, "SO_REUSEPORT") or not hasattr(os, "fork"),
                                         reason="needs fork and SO_REUSEPORT"))])
def test_users_write_to_everybody_and_strangers_to_us_alone(tmp_path: Path, options: list[str]) -> None:
    with Server() as tokyo, serving(tmp_path, tokyo.address, *options) as roles:
        with as_user(roles["submission"]) as ana:
            assert ana.sendmail(ANA, [YUI, KENJI], LETTER).accepted == [YUI, KENJI]
        with Client(*roles["smtp"], timeout=30) as stranger:
            for address in (YUI, "yui@[127.0.0.1]", "x@notrio.example", "x@rio.example.org"):
                with pytest.raises(SMTPRecipientsRefused) as refused:
                    stranger.sendmail("li@beijing.example", [address], LETTER)
                assert refused.value.recipients[address][0] == 550
            assert stranger.sendmail("li@beijing.example", [KENJI], LETTER).accepted
        [onward] = tokyo.wait_for(1, 60)
        ours = mailbox.Maildir(tmp_path / "mail" / KENJI, create=False)
        eventually(lambda: len(ours) == 2 and not waiting(tmp_path))
    assert len(tokyo.messages) == 1
    assert (onward.envelope.recipients, onward.envelope.hello) == ([YUI], "mx.rio.example")
    assert onward.data.startswith(b"Received: from ") and b"Return-Path" not in onward.data


def test_a_failure_comes_back_into_the_users_mailbox(tmp_path: Path) -> None:
    def nobody(address: str, envelope: Envelope) -> Reply:
        return Reply(550, "nobody of that name", "5.1.1")

    with Server(accept_recipient=nobody) as tokyo, serving(tmp_path, tokyo.address) as roles:
        with as_user(roles["submission"]) as ana:
            assert ana.sendmail(ANA, [YUI], LETTER).accepted == [YUI]
        box = eventually(lambda: list(tmp_path.glob(f"mail/{ANA}/new/*")))
    [about] = parse_report(box[0].read_bytes()).recipients
    assert (about.recipient, about.status, about.action) == (YUI, "5.1.1", "failed")


def test_what_waits_outlives_a_restart_and_leaves_when_it_is_told_to(tmp_path: Path) -> None:
    with serving(tmp_path, gone()) as roles:
        with as_user(roles["submission"]) as ana:
            for address in (YUI, "li@beijing.example", "bo@oslo.example"):
                assert ana.sendmail(ANA, [address], LETTER).accepted
        eventually(lambda: len(waiting(tmp_path)) == 3 and all(entry.last for entry in waiting(tmp_path)))
    shown = queue(str(tmp_path / "queue"))
    assert shown.returncode == 0 and shown.stdout.count("451 4.4.1 no answer") == 3
    assert f"from <{ANA}>, next attempt in " in shown.stdout and f"for <{YUI}>" in shown.stdout
    assert queue(str(tmp_path / "queue"), "--drop", "2").stdout == "1 message dropped\n"
    with Server() as tokyo, serving(tmp_path, tokyo.address):
        time.sleep(0.5)
        assert not tokyo.messages              # they are not due
        assert queue(str(tmp_path / "queue"), "--now", "1").stdout == "1 message due now\n"
        assert tokyo.wait_for(1, 60)[0].envelope.recipients == [YUI]
        assert queue(str(tmp_path / "queue"), "--now").stdout == "1 message due now\n"
        tokyo.wait_for(2, 60)
        eventually(lambda: not waiting(tmp_path))
    assert {message.envelope.recipients[0] for message in tokyo.messages} == {YUI, "bo@oslo.example"}
    assert queue(str(tmp_path / "queue")).stdout == ""


def test_now_calls_a_host_that_was_down_a_moment_ago(tmp_path: Path) -> None:
    """What it has for others waits for a minute; its owner need not."""
    address = gone()
    with serving(tmp_path, address) as roles, as_user(roles["submission"]) as ana:
        assert ana.sendmail(ANA, [YUI], LETTER).accepted
        eventually(lambda: [entry for entry in waiting(tmp_path) if entry.last])
        with Server(*address) as tokyo:
            assert ana.sendmail(ANA, ["li@beijing.example"], LETTER).accepted
            eventually(lambda: all(entry.last for entry in waiting(tmp_path)))
            assert not tokyo.messages          # put off at once
            assert queue(str(tmp_path / "queue"), "--now").stdout == "2 messages due now\n"
            assert len(tokyo.wait_for(2, 60)) == 2
            eventually(lambda: not waiting(tmp_path))


@pytest.mark.parametrize("words, says", [
    (["--queue", "q"], "belong together"), (["--next-host", "127.0.0.1:25"], "belong together"),
    (["--next-tls"], "belong together"), (["--queue", "q", "--next-host", "127.0.0.1:25"], "--domain"),
    (["--queue", "missing/q", "--next-host", "127.0.0.1:25", "--domain", "rio.example"], "as a queue"),
    (["--queue", "letter", "--next-host", "127.0.0.1:25", "--domain", "rio.example"], "as a queue"),
])
def test_what_is_wrong_is_said_before_it_serves(tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "letter").write_bytes(LETTER * 50)
    done = subprocess.run([*COMMAND, "serve", "--smtp", "127.0.0.1:0", *words], capture_output=True, text=True,
                          timeout=60, cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1 and not done.stdout
    assert (tmp_path / "letter").read_bytes() == LETTER * 50


def test_a_next_host_without_tls_gets_nothing_when_tls_is_asked_for(tmp_path: Path) -> None:
    with Server() as tokyo, serving(tmp_path, tokyo.address, "--next-tls") as roles:
        with as_user(roles["submission"]) as ana:
            assert ana.sendmail(ANA, [YUI], LETTER).accepted
        [entry] = eventually(lambda: [entry for entry in waiting(tmp_path) if entry.last])
        assert entry.last.startswith("451 4.4.1") and not tokyo.messages


@pytest.mark.parametrize("words, status, says", [
    (["none"], 2, "there is no queue none"), (["letter"], 2, "cannot use letter"), (["."], 2, "there is no queue"),
    (["queue", "--drop", "7"], 1, "no message 7"), (["queue", "--now", "7"], 1, "no message 7"),
    (["queue", "--now", "-1"], 2, "above 0"), (["queue", "--drop", "1", "--now"], 2, "not allowed"),
])
def test_queue_says_what_is_wrong(tmp_path: Path, words: list[str], status: int, says: str,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    Queue(tmp_path / "queue").close()
    (tmp_path / "letter").write_bytes(LETTER * 50)
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.chdir(tmp_path)
    done = queue(*words)
    assert done.returncode == status and says in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letter", "queue"]


def test_a_strangers_words_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with contextlib.closing(Queue(tmp_path / "queue")) as waits:
        waits(Envelope('"\x1b[2J"@x.example', ["ユイ@tokyo.example"]), io.BytesIO(LETTER))
        waits.attempt(lambda envelope, body: Reply(451, "wipe\x1b[2J\nthe screen"))
    shown = queue(str(tmp_path / "queue")).stdout
    assert "\x1b" not in shown and "wipe" in shown and len(shown.splitlines()) == 3


def test_what_was_set_aside_is_shown_with_its_reason(tmp_path: Path) -> None:
    with contextlib.closing(Queue(tmp_path / "queue")) as waits:
        for address in (YUI, KENJI):
            waits(Envelope(ANA, [address]), io.BytesIO(LETTER))
        waits.db.execute("UPDATE message SET envelope = '{\"\\u001b[2J\": 1}' WHERE id = 1")
        waits.db.execute("DELETE FROM body WHERE id = 2")
        waits.db.commit()
        assert waits.attempt(lambda envelope, body: None) == 1
    shown = queue(str(tmp_path / "queue"))
    assert shown.returncode == 0 and "\x1b" not in shown.stdout
    assert shown.stdout.count("set aside: nobody tries it") == 2
    assert "unexpected keyword argument" in shown.stdout and "its octets cannot be read: there are none" in shown.stdout
    assert f"for <{KENJI}>" in shown.stdout
    assert queue(str(tmp_path / "queue"), "--now").stdout == "2 messages due now\n"
    assert queue(str(tmp_path / "queue"), "--drop", "1").stdout == "1 message dropped\n"
    assert len(queue(str(tmp_path / "queue")).stdout.splitlines()) == 3


@pytest.mark.parametrize("seconds, said", [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (5400, "1.5 h"),
                                           (432_000, "5 d"), (1790, "29.8 min")])
def test_times_are_spelled(seconds: float, said: str) -> None:
    assert spell(seconds) == said

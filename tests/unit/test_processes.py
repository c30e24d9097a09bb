"""`serve --processes N`: they share the work, whoever dies is replaced, nothing acknowledged is lost, all end."""
from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.cli import processes

pytestmark = pytest.mark.skipif(not processes.possible(), reason="needs fork and SO_REUSEPORT")
ANA, KENJI = "ana@rio.example", "kenji@tokyo.example"
NUMBERS = itertools.count()
COMMAND = [sys.executable, "-m", "smtp_from_scratch", "serve"]


@contextlib.contextmanager
def family(tmp_path: Path, *options: str, number: int = 3) -> Iterator[tuple[tuple[str, int], subprocess.Popen[str]]]:
    """A family that serves; yields its address, and its parent."""
    command = [*COMMAND, "--smtp", "127.0.0.1:0", "--maildir", str(tmp_path / "Maildir"), "--processes", str(number),
               *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout
        match = re.fullmatch(r"listening on (127\.0\.0\.1):(\d+) \(smtp\)\n", run.stdout.readline())
        assert match
        try:
            yield (match[1], int(match[2])), run
        finally:
            run.kill()


def soon(true: Callable[[], Any]) -> Any:
    """Wait until it is; a minute is more than any of this takes."""
    deadline = time.monotonic() + 60
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def send(address: tuple[str, int], subject: str) -> None:
    with Client(*address, timeout=60) as smtp:
        smtp.sendmail(ANA, KENJI, f"Subject: {subject}\r\n\r\nMonday\r\n".encode())


def kept(tmp_path: Path) -> dict[str, str]:
    """Subjects of the letters in the Maildir, and the process that has written each."""
    found = {}
    for path in (tmp_path / "Maildir" / KENJI / "new").iterdir():
        subject = re.search(r"^Subject: (.*)$", path.read_text(), re.MULTILINE)
        process = re.search(r"P(\d+)Q", path.name)
        assert subject and process
        found[subject[1]] = process[1]
    return found


def there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def children(tmp_path: Path, address: tuple[str, int], number: int) -> list[int]:
    """All processes, as their letters tell."""
    for _ in range(1000):
        send(address, f"who {next(NUMBERS)}")
        if len(found := set(kept(tmp_path).values())) == number:
            return [int(process) for process in found]
    raise AssertionError(found)


@pytest.mark.parametrize("stage", ["threads", "loop"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_they_share_the_work_and_end_together(stage: str, how: signal.Signals, tmp_path: Path) -> None:
    with family(tmp_path, "--stage", stage) as (address, parent):
        processes = children(tmp_path, address, 3)
        in_hand = Client(*address, timeout=60)
        assert in_hand.docmd("MAIL", f"FROM:<{ANA}>").positive
        parent.send_signal(how)
        soon(lambda: refused(address))
        assert in_hand.docmd("RCPT", f"TO:<{KENJI}>").positive
        assert in_hand.docmd("DATA").code == 354
        in_hand.connection.socket.sendall(b"Subject: in hand\r\n\r\n.\r\n")  # type: ignore[union-attr]
        assert parent.wait(60) == 0
        assert "in hand" in kept(tmp_path)
        assert not any(map(there, processes))
        assert parent.stderr and parent.stderr.read() == ""


def refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 5).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("stage", ["threads", "loop"])
def test_killed_again_and_again_nothing_acknowledged_is_lost(stage: str, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()

    def caller(name: int) -> None:
        for count in range(100_000):
            if enough.is_set():
                return
            with contextlib.suppress(OSError):
                send(address, f"{name} {count}")
                acknowledged.append(f"{name} {count}")

    with family(tmp_path, "--stage", stage) as (address, parent):
        callers = [threading.Thread(target=caller, args=(name,)) for name in range(3)]
        for thread in callers:
            thread.start()
        killed: set[int] = set()
        for _ in range(4):
            more = len(acknowledged) + 5
            soon(lambda more=more: len(acknowledged) > more)
            process = soon(lambda: {int(one) for one in kept(tmp_path).values()} - killed).pop()
            killed.add(process)
            os.kill(process, signal.SIGKILL)
        more = len(acknowledged) + 20
        soon(lambda: len(acknowledged) > more)
        enough.set()
        for thread in callers:
            thread.join(60)
        children(tmp_path, address, len(killed) + 3)
        parent.terminate()
        assert parent.wait(60) == 0
        assert parent.stderr and parent.stderr.read().count("another takes its place") == len(killed)
    assert len(acknowledged) > 30 and set(acknowledged) <= kept(tmp_path).keys()


@pytest.mark.parametrize("stage", ["threads", "loop"])
def test_one_that_is_told_to_end_shuts_its_door_and_is_replaced_with_a_new_one(stage: str, tmp_path: Path) -> None:
    with family(tmp_path, "--stage", stage, number=2) as (address, _):
        first, second = children(tmp_path, address, 2)
        os.kill(first, signal.SIGTERM)
        soon(lambda: not there(first))
        assert second in children(tmp_path, address, 3)


@pytest.mark.parametrize("stage", ["threads", "loop"])
def test_without_the_parent_they_end(stage: str, tmp_path: Path) -> None:
    with family(tmp_path, "--stage", stage, number=2) as (address, parent):
        processes = children(tmp_path, address, 2)
        parent.kill()
        parent.wait(60)
        soon(lambda: not any(map(there, processes)))
        assert refused(address)


def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    program = """
import os, signal, sys, time
from smtp_from_scratch.cli import processes
processes.PATIENCE = 1
def work(listeners, over):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, b"%d\\n" % os.getpid())         # in one piece, also where Python does not buffer
    while True:
        time.sleep(60)
sys.exit(processes.family(work, {"smtp": ("127.0.0.1", 0)}, 2).run())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        try:
            born = [int(run.stdout.readline()) for _ in range(2)]
        finally:
            run.terminate()
        assert run.wait(60) == 0 and not any(map(there, born))


def complaints(program: str, line: str, times: int) -> str:
    """What a program says on standard error until it is told to end, after it has said a line so many times."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as run:
        assert run.stdout and run.stderr
        assert [run.stdout.readline() for _ in range(times)] == [line] * times
        run.terminate()
        assert run.wait(60) == 0
        return run.stderr.read()


def test_one_that_cannot_begin_is_tried_again_and_says_why() -> None:
    program = """
import sys
from smtp_from_scratch.cli import processes
processes.BREATH = 0.1
def work(listeners, over):
    print("begun", flush=True)
    raise ValueError("no use")
sys.exit(processes.family(work, {"smtp": ("127.0.0.1", 0)}, 1).run())
"""
    said = complaints(program, "begun\n", 3)
    assert "ValueError: no use" in said and "(70); another takes its place" in said


@pytest.mark.parametrize("culprit", ["os.fork", "processes.listen"])
def test_a_moment_in_which_none_can_begin_ends_nothing(culprit: str) -> None:
    program = f"""
import os, socket, sys
from smtp_from_scratch.cli import processes
processes.BREATH = 0.1
def work(listeners, over):
    for sock in listeners.values():
        print("listens", sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), flush=True)
        sock.shutdown(socket.SHUT_RDWR)
    return 0
family, real, calls = processes.family(work, {{"smtp": ("127.0.0.1", 0), "lmtp": ("127.0.0.1", 0)}}, 1), {culprit}, []
def now_and_then(*arguments):
    calls.append(arguments)
    if len(calls) == 2:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return real(*arguments)
{culprit} = now_and_then
sys.exit(family.run())
"""
    assert complaints(program, "listens 1\n", 6).count("no process can begin") == 1


def serve(*options: str) -> int:
    return main(["serve", "--processes", "2", *options])


def test_an_address_that_somebody_has_cannot_be_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also when the other one would share it."""
    with family(tmp_path) as ((host, port), _):
        assert serve("--smtp", f"{host}:{port}", "--maildir", str(tmp_path / "other")) == 69
    assert "cannot serve on" in capsys.readouterr().err


def test_mistakes_are_told_once_and_before_anybody_is_born(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert serve("--smtp", "127.0.0.1:0", "--maildir", str(tmp_path / "file")) == 69
    assert capsys.readouterr().err.count("cannot serve") == 1
    for wrong in ("0", "-1", "two"):
        with pytest.raises(SystemExit) as usage:
            main(["serve", "--processes", wrong])
        assert usage.value.code == 2


def test_a_path_is_for_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve("--lmtp", f"unix:{tmp_path}/lmtp", "--maildir", str(tmp_path / "Maildir")) == 2
    assert "HOST:PORT" in capsys.readouterr().err


def test_a_system_without_fork_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delattr(os, "fork")
    assert serve("--smtp", "127.0.0.1:0") == 2
    assert "Linux and macOS" in capsys.readouterr().err

"""The road to a server or a client of one's own: its stages, how far it goes, and the commands that are started."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import pytest

from smtp_from_scratch.conformance import stages
from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.server import runner
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, SKIPPED, Outcome, all_dialogues
from tests.ours import ROLES
from tests.peers.clients import COMMANDS

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "smtp_from_scratch"]
PAGE = (ROOT / "docs" / "own_server.md").read_text(encoding="utf-8")
SERVERS = {"python": [sys.executable, "server.py"], "js": ["node", "server.js"]}


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, cwd=cwd or ROOT)


def sources() -> dict[str, str]:
    """The servers on the page, by language."""
    return dict(re.findall(r"^```(python|js)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


# --- the stages ------------------------------------------------------------------------------------------------------


def test_nineteen_stages_from_a_greeting_to_dsn() -> None:
    road = stages.headings("server")
    assert (len(road), road[0].name, road[-1].name) == (19, "A greeting", "DSN")
    assert len(stages.headings("client")) == 17


@pytest.mark.parametrize("end", ["server", "client"])
def test_stages_are_in_the_order_of_the_chapters(end: str) -> None:
    notebooks = [path.stem.partition("_")[2] for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
    places = [notebooks.index(heading.chapter) for heading in stages.headings(end)]
    assert places == sorted(places)
    assert all(heading.also in ("", *notebooks) for heading in stages.headings(end))


@pytest.mark.parametrize("end", ["server", "client"])
def test_every_dialogue_is_in_one_stage(end: str) -> None:
    there = [dialogue.source for stage in stages.stages(end) for dialogue in stage.dialogues]
    assert len(there) == len(set(there)) and all(stage.dialogues for stage in stages.stages(end))
    left = [dialogue for dialogue in all_dialogues() if dialogue.end == end and dialogue.source not in there]
    if end == "client":
        assert not left
    else:
        assert left and all({"lmtp", "submission", "implicit"}.intersection(dialogue.setup) for dialogue in left)


def test_our_own_server_has_come_to_the_end() -> None:
    with ROLES["smtp"].listening() as target:
        progress = stages.climb(stages.stages("server"), lambda dialogues: runner.check(target, dialogues))
    assert progress.stage is None, stages.shown(progress, "server")
    assert stages.shown(progress, "server") == "19 of 19 stages"


# --- how far ---------------------------------------------------------------------------------------------------------


def playing(**ends: str) -> stages.Play:
    """A run in which dialogues of these levels, or the first of a stage, end so; the others pass."""
    def play(dialogues: Iterable[Dialogue]) -> Generator[Outcome, None, None]:
        for number, dialogue in enumerate(dialogues):
            yield Outcome(dialogue, ends.get("first" if number == 0 else dialogue.level, PASSED), "does not offer it")

    return play


@pytest.mark.parametrize("ends, strict, green", [
    ({}, True, 19), ({"MUST": FAILED}, False, 0), ({"SHOULD": FAILED}, False, 19), ({"SHOULD": FAILED}, True, 1),
    ({"MAY": FAILED}, True, 19), ({"first": FAILED}, False, 0), ({"first": SKIPPED}, False, 0),
    ({"MUST": SKIPPED, "SHOULD": SKIPPED, "MAY": SKIPPED}, True, 19),
])
def test_what_makes_a_stage_green(ends: dict[str, str], strict: bool, green: int) -> None:
    progress = stages.climb(stages.stages("server"), playing(**ends), strict)
    assert (progress.green, progress.stage is None) == (green, green == 19)


def test_one_dialogue_is_shown_with_what_explains_it() -> None:
    road = stages.stages("server")[9:]
    lines = stages.shown(stages.climb(road, playing(first=SKIPPED)), "server", "line 1\nline \x1b2").splitlines()
    assert lines[0] == "stage 10: SIZE" and lines[-1] == "0 of 10 stages"
    assert "  → not played: the server does not offer it (rfc1870.txt:" in "\n".join(lines)
    assert "  RFC:     https://www.rfc-editor.org/rfc/rfc1870#section-3" in lines
    assert "  chapter: notebooks/09_ehlo.ipynb" in lines
    assert "    line \\x1b2" in lines, "a server says nothing to our terminal"
    assert sum("✗" in line for line in lines) == 1


def test_a_should_that_was_passed_over_is_counted() -> None:
    progress = stages.climb(stages.stages("server"), playing(SHOULD=FAILED))
    many = sum(dialogue.level == "SHOULD" for stage in stages.stages("server") for dialogue in stage.dialogues[1:])
    assert stages.summary(progress) == f"19 of 19 stages ({many} SHOULD broken on the way: --strict stops at them)"


# --- a server of one's own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", SERVERS)
def test_the_servers_on_the_page_pass_five_stages(language: str, tmp_path: Path) -> None:
    program, file = SERVERS[language]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    (tmp_path / file).write_text(sources()[language], encoding="utf-8")
    done = run("check", "--stages", "--", program, file, "{port}", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.endswith("\n5 of 19 stages\n"), done.stdout + done.stderr
    without_lines = re.compile(r"(?<=\.txt):\d+")         # of the dialogue's file, which move with every new one
    assert without_lines.sub("", done.stdout) in without_lines.sub("", PAGE), "the page shows something else"


def test_the_server_in_python_has_thirty_lines_and_nothing_of_ours() -> None:
    lines = [line for line in sources()["python"].splitlines() if line.strip()]
    assert len(lines) <= 30 and not any("smtp_from_scratch" in line for line in lines)
    assert set(sources()) == set(SERVERS)


def test_a_server_that_runs_already() -> None:
    with ROLES["1982"].listening() as target:
        done = run("check", "--stages", f"{target.host}:{target.port}")
    assert done.returncode == 1 and done.stdout.startswith("stage 9: A list after EHLO\n"), done.stdout + done.stderr
    assert "not played: the server does not offer EHLO" in done.stdout and done.stdout.endswith("\n8 of 19 stages\n")


LISTEN = "import socket, sys; server = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
WRONG: dict[str, tuple[list[str], str]] = {
    "there is no such command": (["no-such-command", "{port}"], "cannot start no-such-command"),
    "it ends": ([sys.executable, "-c", "print('no configuration'); raise SystemExit(3)", "{port}"],
                "ended with status 3 before it listened on port"),
    "and says why": ([sys.executable, "-c", "raise SystemExit('\x1b no configuration')", "{port}"],
                     "; it said:\n  \\x1b no configuration"),
    "it does not listen": ([sys.executable, "-c", "input() if 0 else __import__('time').sleep(60)", "{port}"],
                           "runs, but after 1 s it does not listen on port"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_server_that_is_none_is_told_of_in_a_sentence(what: str) -> None:
    words, complaint = WRONG[what]
    done = run("check", "--stages", "--patience", "1", "--", *words)
    assert done.returncode == 69 and complaint in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""


def test_what_a_server_said_shows_no_password(tmp_path: Path) -> None:
    """It prints what it hears, and breaks down after the login of the look before."""
    (tmp_path / "server.py").write_text(f"""{LISTEN}
import base64
def talk(sock):
    sock.sendall(b"220 hello\\r\\n")
    for line in sock.makefile("rb"):
        print("heard", line, flush=True)
        if line.startswith(b"AUTH"):
            raise RuntimeError(base64.b64decode(line.split()[2]))
        sock.sendall(b"250-hello\\r\\n250 AUTH PLAIN\\r\\n" if line.startswith(b"EHLO") else b"530 log in\\r\\n")
while True:
    try:
        talk(server.accept()[0])
    except OSError:
        pass
""")
    (tmp_path / "secret").write_text("open sesame\n")
    done = run("check", "--stages", "--user", "ana", "--password-file", str(tmp_path / "secret"), "--", sys.executable,
               "server.py", "{port}", cwd=tmp_path)
    assert done.returncode == 1 and "heard b'AUTH PLAIN ***\\r\\n'" in done.stdout, done.stdout + done.stderr
    assert r"RuntimeError: b'\x00ana\x00***'" in done.stdout and "sesame" not in done.stdout


def test_a_stage_is_not_green_because_nobody_answers() -> None:
    road = stages.stages("server")
    missing = road[-1].dialogues[-1]

    def play(dialogues: Iterable[Dialogue]) -> Generator[Outcome, None, None]:
        for dialogue in dialogues:
            gone = dialogue == missing
            yield Outcome(dialogue, SKIPPED if gone else PASSED, "does not take this call (closed)" if gone else "")

    progress = stages.climb(road, play)
    assert progress.stage == road[-1] and progress.outcome and progress.outcome.dialogue == missing


def test_a_server_that_breaks_down_shows_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(f"""{LISTEN}
for _ in range(3):
    sock = server.accept()[0]
    sock.sendall(b"220 hello\\r\\n")
    sock.recv(100)
    sock.close()
raise RuntimeError("out of envelopes")
""")
    done = run("check", "--stages", "--", sys.executable, "server.py", "{port}", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.startswith("stage 1: A greeting\n"), done.stdout + done.stderr
    assert "RuntimeError: out of envelopes" in done.stdout and "ended with status 1" in done.stdout


@pytest.mark.parametrize("arguments, complaint", [
    (["--stages"], "check needs HOST:PORT"),
    (["--stages", "--json", "127.0.0.1:25"], "leave out --json"),
    (["--stages", "--", "python", "server.py"], "a command with {port} where its port belongs"),
    (["--", "python", "server.py", "{port}"], "a command is for `check --stages`"),
    (["127.0.0.1:port"], "expected HOST:PORT"),
])
def test_what_cannot_be_meant(arguments: list[str], complaint: str) -> None:
    done = run("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "") and complaint in done.stderr, done.stderr


# --- its end ---------------------------------------------------------------------------------------------------------

SHELL = ["sh", "-c", f"'{sys.executable}' server.py $0 & wait", "{port}"]
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within a minute"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process is at work; one that has ended and that nobody has asked for yet is not."""
    try:
        os.kill(pid, 0)
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:                   # a system without /proc, or the process ended just now
        return not Path("/proc/self").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("words, first", [
    ([sys.executable, "server.py", "{port}"], ""), ([sys.executable, "server.py", "{port}"], STUBBORN), (SHELL, "")],
    ids=["a server", "one that does not want to end", "one behind a shell"])
def test_it_is_stopped_when_we_are(words: list[str], first: str, number: int, code: int, tmp_path: Path) -> None:
    """Ctrl-C or SIGTERM in the middle of a dialogue, in which the server says nothing."""
    pid, called = tmp_path / "pid", tmp_path / "called"
    (tmp_path / "server.py").write_text(f"""{first}{LISTEN}
import os
open("pid.new", "w").write(str(os.getpid()))
os.rename("pid.new", "pid")
server.accept()[0].close()
while True:
    sock = server.accept()
    open("called", "w").close()
""")
    check = subprocess.Popen([*COMMAND, "check", "--stages", "--patience", "60", "--", *words], cwd=tmp_path,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        wait_for(called.exists)
        check.send_signal(number)
        out, err = check.communicate(timeout=60)
    finally:
        check.kill()
    assert (check.returncode, out) == (code, ""), err
    wait_for(lambda: not alive(int(pid.read_text())))


def test_it_is_stopped_when_the_road_ends(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(f"""{LISTEN}
import os
open("pid", "w").write(str(os.getpid()))
while True:
    server.accept()[0].close()
""")
    done = run("check", "--stages", "--", sys.executable, "server.py", "{port}", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.endswith("\n0 of 19 stages\n")
    wait_for(lambda: not alive(int((tmp_path / "pid").read_text())))


# --- clients ---------------------------------------------------------------------------------------------------------


def test_the_road_of_a_client() -> None:
    done = run("check-client", "--stages", "--", *COMMANDS["smtplib"])
    assert done.returncode == 1 and done.stdout.startswith("stage 2: Replies, whatever their form\n"), done.stdout
    assert "✗ Codes that nobody knows" in done.stdout and done.stdout.endswith("\n1 of 17 stages\n")
    assert run("check-client", "--stages", "--rfc", "5321", "--", "x", "{port}").returncode == 2


def test_stages_are_listed() -> None:
    for command, many in (("check", 19), ("check-client", 17)):
        lines = run(command, "--stages", "--list").stdout.splitlines()
        assert len(lines) == many and all(".ipynb" in line for line in lines)

"""The command line as outside tools use it: processes, exit codes, and letters that come out as they went in."""
from __future__ import annotations

import contextlib
import importlib.util
import mailbox
import os
import poplib
import random
import re
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from smtp_from_scratch import Reply, Server
from smtp_from_scratch.__main__ import COMMANDS, main
from smtp_from_scratch.cli.letters import kind_of
from smtp_from_scratch.lab import aiosmtpd_server

COMMAND = [sys.executable, "-m", "smtp_from_scratch"]


@contextlib.contextmanager
def serving(tmp_path: Path, *options: str) -> Iterator[tuple[str, int, subprocess.Popen[str]]]:
    """`serve` in a process of its own; yields host, port and process."""
    command = [*COMMAND, "serve", "--smtp", "127.0.0.1:0", "--maildir", str(tmp_path / "Maildir"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout
        line = run.stdout.readline()
        match = re.fullmatch(r"listening on (127\.0\.0\.1):(\d+) \(smtp\)\n", line)
        assert match, line
        try:
            yield match[1], int(match[2]), run
        finally:
            run.kill()


def send(host: str, port: int, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, "send", "--server", f"{host}:{port}", "--from", "ana@rio.example", *arguments],
                          input=stdin, capture_output=True, timeout=60)


def delivered(tmp_path: Path, address: str) -> list[bytes]:
    """Bodies and headers as they were sent, without the two trace fields, oldest first."""
    box = mailbox.Maildir(tmp_path / "Maildir" / address, create=False)
    letters = [box.get_bytes(key) for key in sorted(box.keys())]
    stripped = []
    for letter in letters:
        assert letter.startswith(b"Return-Path: <"), letter[:100]
        head = re.match(rb"Return-Path: [^\n]*\nReceived: [^\n]*\n(?:\t[^\n]*\n)*", letter)
        assert head
        stripped.append(letter[head.end():])
    return stripped


# --- real letters ----------------------------------------------------------------------------------------------------


def hostile() -> dict[str, bytes]:
    """Letters that break naive software."""
    head = b"From: ana@rio.example\r\nSubject: hostile\r\n\r\n"
    return {
        "empty": b"",
        "only a dot": b".",
        "only dots": b".\r\n..\r\n...\r\n.\r\n",
        "dots everywhere": head + b".\r\n.a\r\n..\r\nb.\r\n.\r\n\r\n.\r\n",
        "no final line end": head + b"the end",
        "final CR": head + b"the end\r",
        "100 kB line": head + b"x" * 100_000 + b"\r\n",
        "LF only": head.replace(b"\r\n", b"\n") + b"one\n.\ntwo\n",
        "CR only": head + b"one\r.\rtwo\r",
        "NUL": head + b"a\0b\r\n",
        "8 bit": head + bytes(range(128, 256)) + b"\r\n",
        "UTF-8": head + "São Paulo, 東京\r\n".encode(),
        "looks like SMTP": head + b"\n.\nMAIL FROM:<evil@x.example>\nRCPT TO:<b@y.example>\n.\r\nQUIT\r\n",
        "1 MiB of lines": head + b"".join(b"%06d .\r\n" % n for n in range(100_000)),
    }


def real() -> dict[str, bytes]:
    """CPython's own email test data, where the interpreter ships it."""
    spec = importlib.util.find_spec("test.test_email")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else Path("absent")
    return {path.name: path.read_bytes() for path in sorted(folder.glob("msg_*.txt"))}


def need(letters: dict[str, bytes]) -> None:
    if not letters:
        pytest.skip("this interpreter comes without test.test_email (Debian: apt-get install libpython3-testsuite)")


def as_kept(letter: bytes) -> bytes:
    """Line ends LF, and one at the end, without the Return-Path of an earlier journey: what a letter is after this."""
    text = letter.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = text if text.endswith(b"\n") or not text else text + b"\n"
    end = 0 if text.startswith(b"\n") else text.find(b"\n\n") + 1 or len(text)
    return re.sub(rb"(?im)^return-path[ \t]*:.*\n(?:[ \t].*\n)*", b"", text[:end]) + text[end:]


@pytest.mark.parametrize("kind", ["hostile", "real"])
def test_letters_travel_from_send_to_maildir(tmp_path: Path, kind: str) -> None:
    letters = hostile() if kind == "hostile" else real()
    need(letters)
    if kind == "real":
        assert len(letters) >= 40
    folder = tmp_path / "letters"
    folder.mkdir()
    for number, letter in enumerate(letters.values()):
        (folder / f"{number:03}").write_bytes(letter)
    with serving(tmp_path) as (host, port, _):
        done = send(host, port, "--to", "kenji@tokyo.example", *map(str, sorted(folder.iterdir())))
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(letters), done.stderr
    kept = delivered(tmp_path, "kenji@tokyo.example")
    for (name, letter), line in zip(letters.items(), lines, strict=True):
        assert ": 250 " in line, (name, line)
        assert kept.pop(0) == as_kept(letter), name
    assert not kept
    assert done.returncode == 0


@pytest.mark.parametrize("kind", ["hostile", "real"])
def test_letters_travel_through_smtplib(tmp_path: Path, kind: str) -> None:
    letters = hostile() if kind == "hostile" else real()
    need(letters)
    with serving(tmp_path) as (host, port, _), smtplib.SMTP(host, port, timeout=30) as smtp:
        outcomes = {}
        for name, letter in letters.items():
            try:
                smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], letter)
                outcomes[name] = 250
            except smtplib.SMTPDataError as error:
                outcomes[name] = error.smtp_code
    kept = delivered(tmp_path, "kenji@tokyo.example")
    for name, letter in letters.items():
        # smtplib sends octets as they are: a bare CR or LF must be refused, everything else kept, 8 bits included
        bare = re.search(rb"\r(?!\n)|(?<!\r)\n", letter)
        assert outcomes[name] == (554 if bare else 250), name
        if not bare:
            assert kept.pop(0) == (as_kept(letter) or b"\n"), name      # of no letter smtplib makes an empty line
    assert not kept


# --- exit codes ------------------------------------------------------------------------------------------------------


def test_send_to_several_recipients_and_show(tmp_path: Path) -> None:
    with serving(tmp_path, "--domain", "tokyo.example", "--domain", "OSLO.example") as (host, port, _):
        good = send(host, port, "--to", "Kenji@Tokyo.example", "--to", "<eva@oslo.example>", "--show", "-",
                    stdin=b"Subject: hi\n\nhello\n")
        part = send(host, port, "--to", "kenji@tokyo.example", "--to", "li@beijing.example", "-", stdin=b"hello")
        none = send(host, port, "--to", "li@beijing.example", "-", stdin=b"hello")
    assert good.returncode == 0 and len(good.stdout.splitlines()) == 2
    assert b"C: MAIL FROM:<ana@rio.example>" in good.stderr and b"C: BDAT 22 LAST" in good.stderr
    assert part.returncode == 1 and b"li@beijing.example: 550 5.7.1" in part.stdout and b": 250 " in part.stdout
    assert none.returncode == 1
    assert len(delivered(tmp_path, "kenji@tokyo.example")) == 2
    assert delivered(tmp_path, "eva@oslo.example") == [b"Subject: hi\n\nhello\n"]


def run_send(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, "send", *arguments], input=stdin, capture_output=True, timeout=60)


def test_send_makes_a_message(tmp_path: Path) -> None:
    (tmp_path / "mango.png").write_bytes(b"\x89PNG")
    with Server() as server:
        done = run_send("--server", "{}:{}".format(*server.address), "--from", "ana@rio.example", "--to",
                        "kenji@tokyo.example", "--subject", "Grüße", "--body", "ripe", "--attach",
                        str(tmp_path / "mango.png"))
    assert done.returncode == 0, done.stderr
    [received] = server.messages
    text, picture = received.message.iter_parts()
    assert (received.message["Subject"], text.get_content()) == ("Grüße", "ripe\n")
    assert (picture.get_filename(), picture.get_content_type()) == ("mango.png", "image/png")
    assert received.message["Date"] and received.message["Message-ID"]


@pytest.mark.parametrize(("name", "kind"), [
    ("r.csv", "text/csv"), ("r.csv.gz", "application/octet-stream"), ("l.eml", "application/octet-stream"),
    ("m.mht", "application/octet-stream"), ("none", "application/octet-stream"), ("p.png", "image/png")])
def test_an_attachment_is_called_what_it_is(name: str, kind: str) -> None:
    assert "/".join(kind_of(name)) == kind


@pytest.mark.parametrize("address", ["ü@tokyo.example", "ana@bücher.example"])
def test_an_address_is_no_encoded_word(address: str) -> None:
    """RFC 2047 §5 (3): in no address, and RFC 6532 §3.2: as it is."""
    with Server() as server:
        done = run_send("--server", "{}:{}".format(*server.address), "--from", "ana@rio.example", "--to", address,
                        "--subject", "x", "--body", "ripe")
    assert done.returncode == 0, done.stderr
    assert f"To: {address}\r\n".encode() in server.messages[0].data and b"=?" not in server.messages[0].data


def test_send_takes_the_envelope_from_the_header() -> None:
    letter = b"From: Ana <ana@rio.example>\nTo: kenji@tokyo.example\nCc: yui@tokyo.example\nSubject: x\n\nripe\n"
    with Server() as server:
        where = "{}:{}".format(*server.address)
        assert run_send("--server", where, "-", stdin=letter).returncode == 0
        assert run_send("--server", where, "--to", "li@tokyo.example", "-", stdin=letter).returncode == 0
        for wrong, told in ((b"Subject: x\n\nripe\n", b"--from"), (b"From: a@b.example\n\nripe\n", b"--to"),
                            (letter.replace(b"Cc:", b"Bcc:"), b"Bcc")):
            done = run_send("--server", where, "-", stdin=wrong)
            assert done.returncode == 2 and told in done.stderr
    assert [one.envelope.recipients for one in server.messages] == [
        ["kenji@tokyo.example", "yui@tokyo.example"], ["li@tokyo.example"]]
    assert {one.envelope.sender for one in server.messages} == {"ana@rio.example"}


@pytest.mark.parametrize("words", [[], ["--subject", "x"], ["--subject", "x", "-"], ["--attach", "/no/such/file"],
                                   ["--from", "<>", "--to", "kenji@tokyo.example", "--body", "x"]])
def test_send_says_what_is_missing(words: list[str]) -> None:
    done = run_send("--server", "127.0.0.1:1", *words)
    assert done.returncode == 2 and done.stderr.startswith(b"smtp-from-scratch: ")


def test_send_says_deferred_and_unreachable(tmp_path: Path) -> None:
    with Server(accept_recipient=lambda address, envelope: Reply(450, "come back later")) as server:
        later = send(*server.address, "--to", "kenji@tokyo.example", "-", stdin=b"hello")
    assert later.returncode == 75 and b"450 4.0.0 come back later" in later.stdout
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = send(*nobody.getsockname(), "--to", "kenji@tokyo.example", "-", stdin=b"hello")
    assert gone.returncode == 69 and b"cannot talk to" in gone.stderr


def test_send_to_aiosmtpd() -> None:
    with aiosmtpd_server() as theirs:
        done = send(*theirs.address, "--to", "kenji@tokyo.example", "-", stdin=b"Subject: x\n\n.\n")
        assert done.returncode == 0, done.stderr
        assert bytes(theirs.messages[0].data) == b"Subject: x\r\n\r\n.\r\n"


@pytest.mark.parametrize("arguments", [
    [], ["sned"], ["send", "--server", "localhost", "--from", "a@b", "--to", "c@d", "-"],
    ["send", "--server", "::1:25", "--from", "a@b", "--to", "c@d", "-"],
    ["send", "--server", "127.0.0.1:1", "--from", "a b", "--to", "c@d", "-"],
    ["send", "--server", "127.0.0.1:1", "--from", "a@b.example", "--to", "c@d.example>\r\nDATA", "-"],
    ["send", "--server", "127.0.0.1:1", "--from", "a@b.example", "--to", "c@d.example", "/no/such/letter"],
    *(["serve", "--lmtp", "127.0.0.1:25", "--processes", number] for number in "12"),
    ["serve", "--max-size", "-1"], ["serve", "--smtp", "127.0.0.1:99999"], ["talk", "nowhere"],
    ["send", "--server", "127.0.0.1:1", "--timeout", "inf", "--from", "a@b", "--to", "c@d", "--body", "x"],
    *(["check", "127.0.0.1:1", "--patience", seconds] for seconds in ("-1", "0", "nan", "inf", "1e9", "x")),
    ["check-client", "--patience", "nan", "--", "true", "{port}"],
])
def test_usage_errors_exit_2(arguments: list[str]) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr and done.stderr


@pytest.mark.parametrize("name", ["a..b", f"{'x' * 64}.example"])
@pytest.mark.parametrize("words", [["talk"], ["check"], ["check", "--stages"]], ids=" ".join)
def test_a_name_that_no_host_can_have_is_no_host(words: list[str], name: str) -> None:
    done = subprocess.run([*COMMAND, *words, f"{name}:25"], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 69 and "Traceback" not in done.stderr and name in done.stderr and not done.stdout


def shell(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of ours with what a shell makes of standard input and output."""
    return subprocess.run(["sh", "-c", f'exec "$@" {command}', "sh", *COMMAND, *words], capture_output=True, text=True,
                          timeout=60)


@pytest.mark.skipif(os.name == "nt", reason="no shell of this kind")
def test_a_closed_standard_input_is_an_empty_one(tmp_path: Path) -> None:
    with Server() as server:
        where = "{}:{}".format(*server.address)
        sent = shell("<&-", "send", "--server", where, "--from", "ana@rio.example", "--to", "kenji@tokyo.example", "-")
        talked = shell("<&-", "talk", where)
    added = shell("<&-", "user", "add", str(tmp_path / "users"), "ana")
    assert [done.returncode for done in (sent, talked, added)] == [0, 0, 2], (sent, talked, added)
    assert "Traceback" not in sent.stderr + talked.stderr + added.stderr
    assert [one.data for one in server.messages] == [b""]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
def test_a_full_disk_changes_nothing_about_what_was_accepted(tmp_path: Path) -> None:
    with Server(accept_recipient=lambda address, envelope: Reply(550) if "nobody" in address else None) as server:
        where = "{}:{}".format(*server.address)
        to = ["send", "--server", where, "--from", "ana@rio.example", "--body", "ripe", "--to"]
        sent, refused = (shell(">/dev/full", *to, f"{name}@tokyo.example") for name in ("kenji", "nobody"))
    assert (sent.returncode, refused.returncode) == (0, 1)
    assert "No space left" in sent.stderr and "kenji@tokyo.example: 250 " in sent.stderr
    assert "nobody@tokyo.example: 550" in refused.stderr
    listed = shell(">/dev/full", "check", "--list")
    assert listed.returncode == 74 and "No space left" in listed.stderr
    assert not [done for done in (sent, refused, listed) if "Traceback" in done.stderr or "ignored" in done.stderr]


def test_an_address_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, "serve", "--smtp", f"127.0.0.1:{port}", "--maildir", str(tmp_path / "m")],
                              capture_output=True, text=True, timeout=30)
    assert done.returncode == 69 and "in use" in done.stderr and "Traceback" not in done.stderr


# --- the end of serve ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM for others")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_serve_finishes_the_transaction_in_hand(tmp_path: Path, how: signal.Signals) -> None:
    with serving(tmp_path, "--hostname", "mx.tokyo.example") as (host, port, run):
        with socket.create_connection((host, port), 10) as idle, socket.create_connection((host, port), 10) as busy:
            idle_file, busy_file = idle.makefile("rb"), busy.makefile("rb")
            assert idle_file.readline() == busy_file.readline() == b"220 mx.tokyo.example ESMTP ready\r\n"
            for line in ("HELO rio.example", "MAIL FROM:<ana@rio.example>", "RCPT TO:<kenji@tokyo.example>", "DATA"):
                busy.sendall(line.encode() + b"\r\n")
                assert busy_file.readline()[:1] in b"23"
            busy.sendall(b"half a let")
            run.send_signal(how)
            assert idle_file.readline().startswith(b"421 ")
            with pytest.raises(OSError):
                time.sleep(0.2)
                socket.create_connection((host, port), 2).close()
            busy.sendall(b"ter\r\n.\r\n")
            assert busy_file.readline().startswith(b"250 ")
            assert busy_file.readline().startswith(b"421 ")
        assert run.wait(10) == 0
    assert delivered(tmp_path, "kenji@tokyo.example") == [b"half a letter\n"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_random_instants_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Every 250 stands for a whole letter on disk; nothing half appears in `new`. The kill comes at any moment of a
    letter of 3 KB or 1 MB (test_promises_maildir.py kills at every moment, one after another)."""
    acknowledged, sent = set[bytes](), set[bytes]()
    rng = random.Random(7)
    for life in range(12):
        with serving(tmp_path, "--stage", ("threads", "loop")[life % 2]) as (host, port, run):
            killer = threading.Timer(rng.uniform(0.02, 0.25), run.kill)
            with contextlib.suppress(smtplib.SMTPException, OSError):
                smtp = smtplib.SMTP(host, port, timeout=30)
                for number in range(10_000):
                    size = 1_000_000 if number % 2 else 3_000
                    text = b"life %d letter %d\r\n" % (life, number) + b"x" * size + b"\r\n"
                    sent.add(text.replace(b"\r\n", b"\n"))
                    smtp.sendmail("ana@rio.example", ["kenji@tokyo.example", "li@tokyo.example"], text)
                    acknowledged.add(text.replace(b"\r\n", b"\n"))
                    if not number:
                        killer.start()
            killer.join()
    assert len(acknowledged) >= 12
    for address in ("kenji@tokyo.example", "li@tokyo.example"):
        kept = set(delivered(tmp_path, address))
        assert acknowledged <= kept <= sent


# --- talk ------------------------------------------------------------------------------------------------------------


def test_talk_shows_the_octets() -> None:
    with Server(hostname="mx.example") as server:
        done = subprocess.run([*COMMAND, "talk", "{}:{}".format(*server.address)], input="HELO me\nQUIT\n",
                              capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert done.stdout == "220 mx.example ESMTP ready␍␊\n250 mx.example␍␊\n221 2.0.0 mx.example says goodbye␍␊\n"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_lmtp_over_a_socket_with_a_path(tmp_path: Path) -> None:
    place, letter = f"unix:{tmp_path / 'lmtp'}", tmp_path / "letter.eml"
    letter.write_bytes(b"Subject: Choir\n\nMonday.\n")
    command = [*COMMAND, "serve", "--lmtp", place, "--domain", "tokyo.example", "--maildir", str(tmp_path / "Maildir")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout and run.stdout.readline() == f"listening on {place} (lmtp)\n"
            done = subprocess.run([*COMMAND, "send", "--server", place, "--lmtp", "--from", "ana@rio.example",
                                   "--to", "kenji@tokyo.example", "--to", "yui@tokyo.example",
                                   "--to", "li@oslo.example", str(letter)], capture_output=True, text=True, timeout=60)
        finally:
            run.terminate()
    assert [line[:line.index(" ", 1) + 4] for line in done.stdout.splitlines()] == [
        "kenji@tokyo.example: 250", "yui@tokyo.example: 250", "li@oslo.example: 550"], done.stderr
    assert done.returncode == 1 and len(delivered(tmp_path, "yui@tokyo.example")) == 1
    assert not Path(place.removeprefix("unix:")).exists()


@pytest.mark.parametrize("arguments, sentence", [
    (["--users", "users"], "users log in under TLS only: --tls-cert FILE, or --insecure-auth"),
    (["--tls-cert", "cert.pem"], "cannot use cert.pem: .*--tls-key"),
    (["--without", "FOO"], "no such extension: FOO"),
])
def test_serve_names_what_it_cannot_use(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    trustme.CA().issue_cert("localhost").cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    (tmp_path / "users").touch()
    done = subprocess.run([*COMMAND, "serve", "--smtp", "127.0.0.1:0", *arguments], cwd=tmp_path, capture_output=True,
                          text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and re.search(sentence, done.stderr)


def test_what_serve_has_kept_is_fetched_from_pop3(tmp_path: Path) -> None:
    from smtp_from_scratch import UserFile, lab

    trust = lab.certificates("localhost")
    _, server_pem = trust.save(tmp_path)
    UserFile(tmp_path / "users", create=True).add("kenji", "tenor", iterations=4096)
    with serving(tmp_path) as (host, port, _):
        done = send(host, port, "--to", "kenji@tokyo.example", "-", stdin=b"Subject: Choir\n\n.\nMonday.\n")
        assert done.returncode == 0, done.stderr
    command = [*COMMAND, "pop3", "--pop3", "127.0.0.1:0", "--pop3s", "127.0.0.1:0", "--domain", "tokyo.example",
               "--maildir", str(tmp_path / "Maildir"), "--users", str(tmp_path / "users"),
               "--tls-cert", str(server_pem),
               "--verbose"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout and run.stderr
            ports = dict(re.findall(r"listening on 127\.0\.0\.1:(\d+) \((\w+)\)\n", run.stdout.readline() +
                                    run.stdout.readline()))
            doors = {role: int(port) for port, role in ports.items()}
            plain = poplib.POP3("localhost", doors["pop3"], timeout=30)
            plain.stls(trust.client)
            plain.user("kenji")
            plain.pass_("tenor")
            assert plain.retr(1)[1][-2:] == [b".", b"Monday."]
            plain.quit()
            sealed = poplib.POP3_SSL("localhost", doors["pop3s"], context=trust.client, timeout=30)
            sealed.user("kenji")
            sealed.pass_("tenor")
            sealed.dele(1)
            sealed.quit()
            run.send_signal(signal.SIGTERM)
            assert run.wait(30) == 0
            said = run.stderr.read()
            assert "kenji has removed 1 of 1 letters" in said and "tenor" not in said
        finally:
            run.kill()
    assert delivered(tmp_path, "kenji@tokyo.example") == []


@pytest.mark.parametrize("arguments, sentence", [
    ([], "the following arguments are required: --users"), (["--users", "users"], "TLS only: --tls-cert FILE"),
    (["--users", "users", "--pop3s", "127.0.0.1:0", "--insecure-auth"], "--pop3s is TLS"),
    (["--users", "nobody", "--insecure-auth"], "cannot use nobody"),
    (["--users", "users", "--insecure-auth", "--tls-key", "x"], "--tls-key needs"),
    (["--users", "users", "--tls-cert", "absent"], "cannot use absent"),
])
def test_pop3_names_what_it_cannot_use(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "users").touch()
    done = subprocess.run([*COMMAND, "pop3", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and sentence in done.stderr


def test_pop3_says_that_an_address_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "users").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run([*COMMAND, "pop3", "--users", "users", "--insecure-auth", "--pop3",
                               f"127.0.0.1:{taken.getsockname()[1]}"], cwd=tmp_path, capture_output=True, text=True,
                              timeout=30)
    assert done.returncode == 69 and "cannot serve on" in done.stderr


def test_without_a_command_all_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr().err
    assert all(name in told and what in told for name, what in COMMANDS.items())

"""Promises kept on the screen and in the log: what strangers say is shown, and never obeyed; verbs are ASCII."""
from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import re
import socket
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import smtp_from_scratch
from smtp_from_scratch import Passwords, Reply, Server
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.cli.talk import octets_shown
from smtp_from_scratch.conformance import report
from smtp_from_scratch.conformance.client.runner import finding
from smtp_from_scratch.conformance.server import runner
from smtp_from_scratch.conversation import Conversation, rehearse
from smtp_from_scratch.ehlo import ExtensionSet
from smtp_from_scratch.printable import logger, printable
from smtp_from_scratch.session import VERBS, Session, serve
from smtp_from_scratch.smtp import server_extensions
from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.transcript import Said
from smtp_from_scratch.wire import Command, parse_command

OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}         # Unicode's categories of what is obeyed, not shown
EVIL = "\x1b[2J\x9b31m\x85\u2028\u2029\u202e\u2066\u200f\x07\x08\x7f\t\x0b\x0c\x1c\x00\ufeff"
WIRED = EVIL.replace("\0", "").encode()          # a reply with NUL is none
strangers = st.text(st.one_of(st.sampled_from(EVIL + "\r\n\ud800\udc9b ab"), st.characters()), max_size=40)


def obeyed(text: str) -> list[str]:
    """Characters of a line that would not be shown."""
    return [c for c in text if unicodedata.category(c) in OBEYED]


def assert_shown(output: str) -> None:
    """Every line is shown as it is; only LF ends one."""
    assert output
    assert not obeyed(output.replace("\n", "")), repr(output)
    assert output.splitlines() == output.removesuffix("\n").split("\n")


# --- one function ----------------------------------------------------------------------------------------------------


@given(strangers)
@example(EVIL)
@example("\ud83d\udca9\udcff")
@example("Olá, 東京 é")
def test_printable_shows_everything_and_obeys_nothing(text: str) -> None:
    shown = printable(text)
    assert not obeyed(shown) and "\n" not in shown and shown.isprintable()
    assert printable(shown) == shown
    assert shown == text or not text.isprintable()
    shown.encode()                              # no surrogates: it can be written anywhere
    if "\\" not in text:                        # nothing is lost: the escapes are Python's
        assert re.sub(r"\\(?:x..|u....|U.{8}|[nrt])", lambda m: m[0].encode().decode("unicode_escape"), shown) == text


@given(strangers)
def test_a_reply_as_text_is_one_line_that_is_shown(text: str) -> None:
    text = text.replace("\r", "").replace("\0", "")
    assert not obeyed(str(Reply(550, text, "5.1.1"))) and str(Reply(550, text)).startswith("550")


@given(st.binary(max_size=60))
@example("a\r\n\u2028\x9b\x1b[0m\r".encode())
@example(b"\xff\x9b\n\n")
def test_talk_keeps_line_ends_and_shows_the_rest(data: bytes) -> None:
    shown = octets_shown(data)
    assert not obeyed(shown.replace("\n", ""))
    assert (shown.count("␊\n"), shown.count("␍")) == (data.count(b"\n"), data.count(b"\r") + data.count("␍".encode()))
    assert shown.count("\n") == data.count(b"\n")


# --- the log ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def log_of_the_package() -> Iterator[tuple[io.StringIO, list[logging.LogRecord]]]:
    """What a plain handler writes, tracebacks included, and the records it is given."""
    written, records = io.StringIO(), list[logging.LogRecord]()
    handler = logging.StreamHandler(written)
    handler.addFilter(lambda record: records.append(record) or True)
    handler.setFormatter(logging.Formatter("LINE %(levelname)s %(message)s"))
    top = logging.getLogger("smtp_from_scratch")
    before = top.level
    top.addHandler(handler)
    top.setLevel(logging.DEBUG)
    try:
        yield written, records
    finally:
        top.removeHandler(handler)
        top.setLevel(before)


def session_for(deliver: Callable[..., Any], policy: Callable[..., Any], peer: str = "192.0.2.1") -> CodedSession:
    return CodedSession("mx.example", deliver, accept_recipient=policy, peer=peer,
                        extensions=ExtensionSet(server_extensions()))


def accepts(*_: object) -> None:
    """A policy that takes everybody, and a delivery that takes everything."""


def say(octets: bytes) -> Conversation[None]:
    yield octets


@given(strangers, strangers)
@example(EVIL, "\u2028LINE INFO 192.0.2.1 from=<boss@x.example> to=1 size=1: 250 OK")
@example("\nLINE INFO forged", "\nLINE INFO forged")
def test_nothing_of_a_stranger_stands_unescaped_in_the_log(local: str, words: str) -> None:
    """The sender's address, a policy that breaks with a stranger's text, a delivery that does, a reply made of it."""
    def breaks(*_: object) -> None:
        raise ValueError(words)

    reply = Reply(250, words.replace("\r", "").replace("\0", ""))
    local = re.sub('[\0-\x1f"\\\\\x7f\ud800-\udfff]', "", local)[:15]
    letter = (f'EHLO x\r\nMAIL FROM:<"{local}"@x.example> SMTPUTF8 BODY=8BITMIME\r\nRCPT TO:<kenji@tokyo.example>\r\n'
              "DATA\r\n\r\nhello\r\n.\r\nQUIT\r\n").encode()
    with log_of_the_package() as (written, records):
        for deliver, policy in ((lambda *_: reply, accepts), (breaks, accepts), (accepts, breaks)):
            rehearse(say(letter), serve(session_for(deliver, policy)))
    assert_shown(written.getvalue())
    lines = [line for line in written.getvalue().split("\n") if line.startswith("LINE ")]
    assert len(lines) == len(records) >= 4, written.getvalue()     # no line of a traceback poses as one of the log


def test_every_logger_of_the_package_passes_the_filter(caplog: pytest.LogCaptureFixture) -> None:
    for path in Path(smtp_from_scratch.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "printable.py" and "lab" not in path.parts:
            assert "getLogger" not in text, f"{path.name}: printable.logger makes printable what strangers say"
    log = logger("smtp_from_scratch.test")
    with caplog.at_level(logging.DEBUG):
        log.info("%s: %d %.1f %s", "a\x1bb", 3, 0.5, Reply(250, "c\x9b"))
        for say in (log.debug, log.info, log.warning, log.error, log.exception):
            say("no values")
        logger("smtp_from_scratch.test").info("again")
    assert caplog.messages == ["a\\x1bb: 3 0.5 250 c\\x9b", *["no values"] * 5, "again"]
    assert len(logging.getLogger("smtp_from_scratch.test").filters) == 1
    assert {(record.funcName, record.filename) for record in caplog.records} == {
        ("test_every_logger_of_the_package_passes_the_filter", "test_promises_cli.py")}
    levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.ERROR]
    assert [record.levelno for record in caplog.records[1:6]] == levels


# --- the commands, with a hostile stranger at the other end ----------------------------------------------------------


@contextlib.contextmanager
def stranger(answer: Callable[[bytes], bytes], greeting: bytes = b"220 mx.example\r\n") -> Iterator[str]:
    """A server that gives each line the octets that `answer` makes of it; `HOST:PORT`."""
    def attend(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock, sock.makefile("rb") as lines:
            sock.sendall(greeting)
            for line in lines:
                sock.sendall(answer(line))
                if line[:4].upper() == b"QUIT":
                    return

    def doorman() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=attend, args=(sock,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=doorman, daemon=True)
        thread.start()
        try:
            yield "{}:{}".format(*listener.getsockname())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def hostile(line: bytes) -> bytes:
    """Takes everything, and dresses every reply with what a terminal would obey."""
    code = {b"DATA": b"354", b"QUIT": b"221"}.get(line.strip()[:4].upper(), b"250")
    return code + b" " + WIRED + b"\r\n"


def refuses(line: bytes) -> bytes:
    return hostile(line) if line[:4] in (b"EHLO", b"QUIT") else b"550-5.1.1 " + WIRED + b"\r\n550 5.1.1 no\r\n"


SEND = ("--from", "ana@rio.example", "--to", "kenji@tokyo.example")


@pytest.mark.parametrize("answer", [hostile, refuses])
def test_send_shows_what_the_server_says(answer: Callable[[bytes], bytes], tmp_path: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter").write_bytes(b"Subject: x\r\n\r\n" + WIRED + b"\r\n")
    with stranger(answer, b"220 " + WIRED + b"\r\n") as where:
        main(["send", "--server", where, *SEND, "--show", "--without", "8BITMIME", str(tmp_path / "letter")])
    out, err = capsys.readouterr()
    assert_shown(out)
    assert_shown(err)
    assert "\\x1b[2J" in out + err and "\\u202e" in err


@pytest.mark.parametrize("greeting", [b"554 " + WIRED + b"\r\n", b"421 " + WIRED + b"\r\n", WIRED + b"\r\n"])
def test_send_complains_in_a_line_that_is_shown(greeting: bytes, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter").write_bytes(b"hello")
    with stranger(hostile, greeting) as where:
        assert main(["send", "--server", where, *SEND, str(tmp_path / "letter")]) in (1, 69, 75)
    out, err = capsys.readouterr()
    assert not out
    assert_shown(err)


def test_talk_shows_what_the_server_says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with stranger(hostile, b"220 " + WIRED + b"\r\n") as where:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"NOOP\nQUIT\n")))
        assert main(["talk", where]) == 0
    out, _ = capsys.readouterr()
    assert_shown(out)
    assert out.count("␍␊\n") == 3 and "\\x1b[2J\\x9b31m\\x85\\u2028" in out


def test_talk_shows_how_a_stranger_declines_tls(capsys: pytest.CaptureFixture[str]) -> None:
    with stranger(refuses) as where:
        assert main(["talk", "--starttls", where]) == 69
    out, err = capsys.readouterr()
    assert_shown(out)
    assert out.startswith("STARTTLS: 550 5.1.1 \\x1b[2J") and "does not start TLS" in err


@pytest.mark.parametrize("how", ["text", "--json", "--junit"])
def test_check_shows_what_the_server_says(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "junit.xml"
    options = {"text": [], "--json": ["--json"], "--junit": ["--junit", str(file)]}[how]
    with stranger(hostile, b"220 " + WIRED + b"\r\n") as where:
        assert main(["check", where, "--only", "verb", "--patience", "5", *options]) == 1
    out, err = capsys.readouterr()
    assert_shown(out)
    assert not err
    if how == "--json":
        failed = [one for one in json.loads(out)["dialogues"] if one["status"] == "failed"]
        assert any("\\x1b[2J" in line for one in failed for line in one["transcript"])
    elif how == "--junit":
        text = file.read_text(encoding="utf-8")
        assert_shown(text)
        assert ElementTree.fromstring(text).find("testcase/failure") is not None
    else:
        assert "got 250 \\x1b[2J" in out


@pytest.mark.parametrize("greeting", [b"554 " + WIRED + b"\r\n", WIRED + b"\r\n"])
def test_check_complains_in_a_line_that_is_shown(greeting: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with stranger(hostile, greeting) as where:
        assert main(["check", where]) == 69
    out, err = capsys.readouterr()
    assert not out
    assert_shown(err)


def gossip(line: bytes) -> bytes:
    """Refuses every login, and says aloud what it was told."""
    word = line.strip()
    if word[:4] == b"EHLO":
        return b"250-mx.example\r\n250 AUTH PLAIN LOGIN CRAM-MD5\r\n"
    if word in (b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH CRAM-MD5"):
        return b"334 " + base64.b64encode(b"<1.2@mx.example>" if b"CRAM" in word else b"") + b"\r\n"
    with contextlib.suppress(ValueError):
        word += b" or " + base64.b64decode(word.split()[-1], validate=True).replace(b"\0", b" ")
    return hostile(line) if word in (b"QUIT", b"NOOP") else b"535 5.7.8 no, not " + word + b"\r\n"


def made_of(password: str, text: str) -> list[str]:
    """The words of a text in which a password is, as it is or in base64."""
    words = re.findall(r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", text)
    decoded = {word: base64.b64decode(word) for word in words}
    return [password] * (password in text) + [word for word, data in decoded.items() if password.encode() in data]


@pytest.mark.parametrize("how", ["text", "--json", "--junit"])
@pytest.mark.parametrize("answer", [None, gossip], ids=["a good server", "a gossip"])
def test_check_shows_no_password(answer: Callable[[bytes], bytes] | None, how: str, tmp_path: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    file, secret = tmp_path / "junit.xml", tmp_path / "password"
    secret.write_text("mango-secret\n", encoding="utf-8")
    options = {"text": [], "--json": ["--json"], "--junit": ["--junit", str(file)]}[how]
    users = Passwords({"ana": "mango-secret"})
    with Server(users=users, insecure_auth=True) if answer is None else stranger(answer) as place:
        where = place if isinstance(place, str) else "{}:{}".format(*place.address)
        code = main(["check", where, "--user", "ana", "--password-file", str(secret), "--rfc", "4954", "--rfc", "4616",
                     "--rfc", "7677", "--rfc", "5802", "--recipient", "kenji@tokyo.example", *options])
    shown = capsys.readouterr().out + (file.read_text(encoding="utf-8") if file.exists() else "")
    assert code == (answer is not None) and not made_of("mango-secret", shown)
    if answer is not None or how == "--json":
        assert "C: AUTH PLAIN ***" in shown
        wrong = base64.b64encode(b"\0ana\0not-the-password").decode()
        assert how != "--json" or f"C: AUTH PLAIN {wrong}" in shown         # what is no secret is not hidden


def test_who_stops_early_does_not_wait_for_dialogues_in_hand() -> None:
    """As Ctrl-C does, at a server that answers the first caller, and keeps the others waiting."""
    called, waited_for, tired = threading.Event(), threading.Semaphore(0), threading.Event()

    def answer(line: bytes) -> bytes:
        if called.is_set():
            waited_for.release()
            tired.wait(60)
        called.set()
        return b"500 what?\r\n"

    dialogues = [dialogue for dialogue in runner.all_dialogues() if dialogue.title.startswith("NOOP")]
    with stranger(answer) as where:
        host, _, port = where.rpartition(":")
        target = runner.Target(host, int(port), patience=600.0, dialogue_limit=600.0)
        played = runner.check(target, [*dialogues] * 20, at_once=3)
        giving_up = threading.Timer(20.0, tired.set)
        giving_up.start()
        try:
            next(played)
            waited_for.acquire(timeout=60)
            played.close()
            assert not tired.is_set() and not target.calls.over and not target.calls.socks
        finally:
            giving_up.cancel()
            tired.set()


def test_a_secret_in_pieces_is_hidden() -> None:
    said = [Said(0.0, "S", b"535 no, not s3cr"), Said(0.1, "S", b"et\r\n"), Said(0.2, "C", b"s3cr"),
            Said(0.3, "S", b"et")]
    assert list(runner.without({b"s3cret", b"s3cret-as-well"}, said)) == [
        Said(0.0, "S", b"535 no, not ***\r\n"), *said[2:]]


CLIENT = r"""
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.recv(1000)
sock.sendall("MAIL \x9b\u2028\x1b[2J\r\n".encode())
sock.recv(1000)
print("died of \x1b[2J \x9b \u202e", flush=True)
sys.exit(3)
"""


def test_check_client_shows_what_the_client_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "client.py").write_text(CLIENT, encoding="utf-8")
    command = [sys.executable, "-X", "utf8", str(tmp_path / "client.py"), "{host}", "{port}"]
    assert main(["check-client", "--only", "greeting", "--patience", "5", "--", *command]) in (0, 1)
    assert_shown(capsys.readouterr().out)


@given(strangers, st.binary(max_size=50), strangers)
@example(EVIL, WIRED, EVIL)
def test_a_report_of_any_failure_is_shown(reason: str, said: bytes, words: str) -> None:
    """Whatever a peer, a client's last words or an exception brought into an outcome."""
    class Calls:
        def said(self) -> str:
            return words

    dialogue = runner.all_dialogues()[0] if not DIALOGUE else DIALOGUE[0]
    DIALOGUE[:] = [dialogue]
    outcome = finding(runner.Outcome(dialogue, "failed", said=[Said(0.0, "S", said)]), "failed", reason, 0,
                      Calls())                  # type: ignore[arg-type]
    skipped = runner.Outcome(dialogue, "skipped", reason)
    for text in (report.failure(outcome), report.table([outcome, skipped]), report.as_json([outcome, skipped], words),
                 report.as_junit([outcome, skipped], words)):
        assert_shown(text)
        text.encode()
    ElementTree.fromstring(report.as_junit([outcome, skipped], words))


DIALOGUE: list[Any] = []                        # read once


@pytest.mark.parametrize("text", ["東京", "\u202e"])
def test_a_terminal_that_lacks_a_sign_ends_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LC_ALL=en_US.ISO-8859-1 is no reason for a traceback after the letter has gone."""
    (tmp_path / "letter").write_bytes(b"hello")
    screen = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", screen)
    with stranger(lambda line: hostile(line)[:4] + text.encode() + b"\r\n") as where:
        assert main(["send", "--server", where, *SEND, str(tmp_path / "letter")]) == 0
    screen.flush()
    assert screen.buffer.getvalue().startswith(b"kenji@tokyo.example: 250 \\u")     # type: ignore[attr-defined]


# --- SIZE lines that are none ----------------------------------------------------------------------------------------

SIZES = [("9" * 5000, 0), ("lots", 0), ("²", 0), ("१०", 0), ("-5", 0), ("", 0), ("0", 0), ("1" * 21, 0), ("0x10", 0),
         ("1 000", 0), ("1_000", 0), ("+1000", 0), ("9" * 20, 10**20 - 1), (" 1000 ", 1000), ("0000500", 500)]


@pytest.mark.parametrize("text,size", SIZES, ids=[text[:8] for text, _ in SIZES])
def test_a_size_that_is_none_is_no_limit(text: str, size: int) -> None:
    target = runner.Target("127.0.0.1", 25, keywords={"EHLO": "", "SIZE": text})
    assert target.size == size
    for dialogue in runner.all_dialogues():
        reason = runner.obstacle(dialogue, target)
        assert "size" not in dialogue.setup or reason or 0 < size <= 50_000_000
    assert target.values().expand("SIZE={size}") == [f"SIZE={size or ''}".encode()]


@given(st.dictionaries(st.sampled_from(["SIZE", "AUTH", "STARTTLS", "CHUNKING", "DSN", ""]), strangers))
@settings(max_examples=50)
def test_no_offer_breaks_the_examiner(keywords: dict[str, str]) -> None:
    target = runner.Target("127.0.0.1", 25, keywords=keywords, secured=keywords, refused="x@y", user="1²", password="٣")
    DIALOGUES[:] = DIALOGUES or runner.all_dialogues()
    for dialogue in DIALOGUES:
        assert isinstance(runner.obstacle(dialogue, target), str)
    target.values().number("size+1")


DIALOGUES: list[Any] = []                       # read once


@pytest.mark.parametrize("size", ["9" * 5000, "lots", "²"], ids=["5000 digits", "lots", "a sign"])
def test_check_bears_an_odd_size(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(line: bytes) -> bytes:
        return f"250-mx\r\n250 SIZE {size}\r\n".encode() if line[:4] == b"EHLO" else hostile(line)

    with stranger(answer) as where:
        assert main(["check", where, "--rfc", "1870", "--patience", "5"]) in (0, 1)
    assert "has no size limit" in capsys.readouterr().out


# --- verbs are ASCII -------------------------------------------------------------------------------------------------

LOOKALIKES = ["MAıL", "RſET", "QUıT", "VRFY\u0301", "ｑｕｉｔ", "hEſLO", "NOOP\u00a0", "ﬁ", "ß", "ĿHLO"]


@pytest.mark.parametrize("word", LOOKALIKES)
def test_only_the_letters_of_ascii_have_two_cases(word: str) -> None:
    assert parse_command(word.encode() + b" x") == Command(
        "".join(c.upper() if c.isascii() else c for c in word), "x")


@given(st.text(max_size=20))
def test_no_verb_that_is_not_ascii_is_in_the_table(word: str) -> None:
    verb = parse_command(word.encode(errors="surrogatepass")).verb
    assert verb not in VERBS or word.isascii()


@given(st.binary(max_size=30))
def test_a_command_keeps_every_octet(line: bytes) -> None:
    command = parse_command(line)
    again = f"{command.verb} {command.argument}".encode(errors="surrogateescape")
    assert again.rstrip(b" \t").upper() == (line if b" " in line else line + b" ").rstrip(b" \t").upper() or (
        not command.argument and again.strip(b" \t").upper() == line.strip(b" \t").upper())


@pytest.mark.parametrize("verb", ["QUıT", "RſET", "ｑｕｉｔ"])
@pytest.mark.parametrize("extended", [True, False])
def test_a_lookalike_is_not_obeyed(verb: str, extended: bool) -> None:
    serving = serve(session_for(lambda *_: None, lambda *_: None) if extended else Session("mx.example"))
    octets = f"HELO x\r\nMAIL FROM:<a@x.example>\r\n{verb}\r\nNOOP\r\nMAIL FROM:<b@x.example>\r\n".encode()
    codes = [int(said.data[:3]) for said in rehearse(say(octets), serving).said if said.role == "S"]
    assert codes[:3] == [220, 250, 250] and codes[3] in (500, 501) and codes[4:] == [250, 503]

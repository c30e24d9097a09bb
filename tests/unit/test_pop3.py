"""POP3: every command in every state, what a line that breaks leaves behind, who gets in, and what it may cost."""
from __future__ import annotations

import contextlib
import io
import logging
import os
import poplib
import random
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Client, Maildir, Passwords, Pop3Server, Server, UserFile, desk, lab, pop3
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.conversation import Actor, Conversation, Disconnected, Line, Work, flights, rehearse
from smtp_from_scratch.desk import BLOCK, Claim, Refused, Row, blocks_of, top
from smtp_from_scratch.envelope import BodyCutter, normalize, stuff
from smtp_from_scratch.maildir import make_maildir
from smtp_from_scratch.pop3 import VERBS, Maildrop, Pop3Session, octets_of, scan, serve, uid_of
from smtp_from_scratch.smtp import pop3 as door
from smtp_from_scratch.throttle import Guesses
from smtp_from_scratch.transcript import Said, Transcript

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither such locks nor folders that can be synced")
KENJI, YUI = "kenji@tokyo.example", "yui@tokyo.example"
USERS = Passwords({KENJI: "tenor sax", YUI: "alto", "..": "burglar", "ana": "short"})
TLS = lab.certificates("127.0.0.1", "localhost")
LETTERS = {"1730000100.P1Q1.mx": b"Subject: one\n\n.\n..two\nend\n", "1730000200.P1Q2.mx": b"Subject: two\n\nno end",
           "1730000300.P1Q3.mx": b"Subject: three\n\nx\n"}
WIRE = {name: b"".join(normalize([text])) for name, text in LETTERS.items()}
LOGIN = f"USER {KENJI}\r\nPASS tenor sax\r\n".encode()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Kenji has three letters, of which somebody has seen the second; Yui has none."""
    make_maildir(tmp_path / KENJI)
    for name, text in LETTERS.items():
        place = "cur/" + name + ":2,S" if "Q2" in name else "new/" + name
        (tmp_path / KENJI / place).write_bytes(text)
    return tmp_path


def left(root: Path) -> list[str]:
    """The letters that Kenji has."""
    return list(scan(str(root / KENJI)))


def session(root: Path, **rules: Any) -> Pop3Session:
    return Pop3Session(root, USERS, **({"insecure": True} | rules))


class Caller:
    """A client on a line of its own to a session, both in memory; what was said is in `said`."""

    def __init__(self, talking: Conversation[None]) -> None:
        self.said = list[Said]()
        self.actor = Actor(talking, Channel("S", self.said.append))
        self.actor.channel.peer = "C"
        self.greeting = self.hears()

    def hears(self) -> bytes:
        return b"".join(flights(self.actor))

    def says(self, data: bytes) -> bytes:
        """Say this; what comes back at once."""
        self.actor.channel.receive(data)
        return self.hears()

    def hangs_up(self, error: BaseException | None = None) -> bytes:
        if not self.actor.done:
            self.actor.resume(error=error or Disconnected())
        heard = self.hears()
        assert self.actor.done
        return heard


def hear(talking: Conversation[None], *pieces: bytes) -> bytes:
    """All that a server says to a caller who says these pieces and hangs up, the greeting left out."""
    caller = Caller(talking)
    return b"".join([caller.says(piece) for piece in pieces] + [caller.hangs_up()])


def talk(root: Path, *lines: str, **rules: Any) -> list[bytes]:
    """All that a session answers to these lines, line by line."""
    data = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")
    return hear(serve(session(root, **rules)), data).split(b"\r\n")[:-1]


def kenji(root: Path, *lines: str, **rules: Any) -> list[bytes]:
    """The same, after Kenji has logged in."""
    heard = talk(root, f"USER {KENJI}", "PASS tenor sax", *lines, **rules)
    assert heard[:2] == [b"+OK and the password?", b"+OK welcome"], heard
    return heard[2:]


# --- every command in every state -------------------------------------------------------------------------------------

BEFORE = {"CAPA": b"+OK", "QUIT": b"+OK", "USER kenji": b"+OK", "PASS x": b"-ERR say USER first",
          "STLS": b"-ERR there is no TLS"}
AFTER = {"STAT": b"+OK 3 ", "LIST": b"+OK 3", "LIST 1": b"+OK 1 ", "UIDL": b"+OK 3", "RETR 1": b"+OK",
         "UIDL 2": b"+OK 2 1730000200.P1Q2.mx", "TOP 1 0": b"+OK", "DELE 3": b"+OK",
         "RSET": b"+OK", "NOOP": b"+OK", "CAPA": b"+OK", "QUIT": b"+OK goodbye"}


@pytest.mark.parametrize("line", sorted({*BEFORE, *AFTER}))
def test_each_command_in_each_state(root: Path, line: str) -> None:
    assert talk(root, line)[0].startswith(BEFORE.get(line, b"-ERR not in the state AUTHORIZATION"))
    assert kenji(root, line)[0].startswith(AFTER.get(line, b"-ERR not in the state TRANSACTION"))
    assert talk(root, line.lower())[0].startswith(BEFORE.get(line, b"-ERR not in the state AUTHORIZATION")), "any case"


def test_the_table_has_every_verb_above() -> None:
    assert {line.split()[0] for line in (*BEFORE, *AFTER)} == set(VERBS)


@pytest.mark.parametrize("line, says", [
    ("RETR", "say RETR number"), ("RETR 0", "no such letter"), ("RETR 4", "no such letter"), ("RETR one", "no such"),
    ("RETR -1", "no such letter"), ("RETR ²", "no such letter"), ("RETR 1 2", "no such letter"), ("DELE", "say DELE"),
    ("TOP 1", "say TOP number lines"), ("TOP 1 x", "how many lines?"), ("TOP 1 -1", "how many lines?"),
    ("LIST 1 2", "no such letter"), ("STAT 1", "say STAT"), ("NOOP x", "say NOOP"), ("", "no such command"),
    ("AUTH PLAIN", "no such command"), ("APOP kenji x", "no such command"), ("RETR " + "9" * 200, "no such letter"),
    ("\udcff\udcfe", "no such command"), ("QUIT now", "say QUIT"), ("DELE \udcff", "no such letter"),
])
def test_what_does_not_fit_is_refused_and_the_session_goes_on(root: Path, line: str, says: str) -> None:
    heard = kenji(root, line, "STAT", "QUIT")
    assert heard[0].startswith(b"-ERR " + says.encode()) and heard[1].startswith(b"+OK 3 "), heard
    assert len(left(root)) == 3


def test_what_is_heard_in_a_whole_session(root: Path) -> None:
    sizes = [len(WIRE[name]) + (2 if "Q2" in name else 0) for name in LETTERS]
    lines = "STAT", "LIST", "DELE 2", "STAT", "LIST", "UIDL", "LIST 2", "RETR 2", "RSET", "LIST 2", "QUIT"
    assert kenji(root, *lines) == [
        b"+OK 3 %d" % sum(sizes), b"+OK 3 letters", *(b"%d %d" % pair for pair in enumerate(sizes, 1)), b".",
        b"+OK marked",
        b"+OK 2 %d" % (sizes[0] + sizes[2]), b"+OK 2 letters", b"1 %d" % sizes[0], b"3 %d" % sizes[2], b".",
        b"+OK 2 letters", b"1 1730000100.P1Q1.mx", b"3 1730000300.P1Q3.mx", b".", b"-ERR no such letter",
        b"-ERR no such letter", b"+OK nothing is marked", b"+OK 2 %d" % sizes[1], b"+OK goodbye"]
    assert len(left(root)) == 3


def test_retr_sends_every_octet_and_top_as_many_lines(root: Path) -> None:
    heard = kenji(root, "RETR 1", "TOP 1 0", "TOP 1 2", "TOP 1 99", "RETR 2")
    assert heard == [b"+OK 31 octets", b"Subject: one", b"", b"..", b"...two", b"end", b".",
                     b"+OK 31 octets", b"Subject: one", b"", b".",
                     b"+OK 31 octets", b"Subject: one", b"", b"..", b"...two", b".",
                     b"+OK 31 octets", b"Subject: one", b"", b"..", b"...two", b"end", b".",
                     b"+OK 24 octets", b"Subject: two", b"", b"no end", b"."]


def test_an_empty_maildrop_and_one_that_was_never_made(root: Path) -> None:
    make_maildir(root / "ana")
    for user, word in ((YUI, "alto"), ("ana", "short")):
        assert talk(root, f"USER {user}", f"PASS {word}", "STAT", "LIST", "UIDL", "QUIT")[2:] == [
            b"+OK 0 0", b"+OK 0 letters", b".", b"+OK 0 letters", b".", b"+OK goodbye"]
    assert not (root / YUI).exists()


@given(st.lists(st.sampled_from([*BEFORE, *AFTER, "DELE 1", "RETR 3", "LIST 9", "x"]), max_size=12), st.randoms())
def test_however_the_octets_come_the_answers_are_the_same(lines: list[str], chance: random.Random) -> None:
    with new_root() as root:
        data = LOGIN + "".join(f"{line}\r\n" for line in lines).encode()

        whole = hear(serve(session(root)), data)
        after = left(root)
    cuts = sorted(chance.randrange(len(data)) for _ in range(chance.randrange(20)))
    with new_root() as root:
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert hear(serve(session(root)), *pieces) == whole
        assert left(root) == after


@contextlib.contextmanager
def new_root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        for place in ("new", "cur"):
            Path(folder, KENJI, place).mkdir(parents=True)
        for name, text in LETTERS.items():
            Path(folder, KENJI, "new", name).write_bytes(text)
        yield Path(folder)


# --- octets and names -------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.sampled_from([b"a", b".", b"\n", b"\r", b"\r\n", b"..", b"\n.\n"])).map(b"".join)))
def test_what_list_says_is_what_arrives(blocks: list[bytes]) -> None:
    arrives, rest = BodyCutter().cut(b"".join(stuff(blocks)))
    assert octets_of(blocks) == octets_of([b"".join(blocks)]) == len(arrives) and not rest


@given(st.lists(st.sampled_from([b"a", b".", b"\n", b"\r\n", b"Subject: x\n", b"x" * 70_000])).map(b"".join),
       st.integers(0, 9))
def test_top_is_the_start_of_the_letter(text: bytes, lines: int) -> None:
    found = b"".join(top(io.BytesIO(text), lines))
    assert text.startswith(found)
    head = text.split(b"\n")
    blank = next((number for number, line in enumerate(head[:-1]) if line in (b"", b"\r")), None)
    body = head if blank is None else head[: blank + 1 + lines]
    whole = blank is None or blank + 1 + lines >= len(head)
    assert found == (text if whole else b"".join(line + b"\n" for line in body))


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"x" * 65_535])).map(b"".join))
def test_a_file_in_blocks_is_what_normalize_makes_of_it(text: bytes) -> None:
    blocks = list(blocks_of(io.BytesIO(text)))
    assert b"".join(normalize(blocks)) == b"".join(normalize([text])) and max(map(len, blocks)) <= 2 * BLOCK
    if b"\r" not in text.replace(b"\r\n", b""):
        assert b"".join(blocks) == b"".join(normalize([text]))


def test_names_for_uidl() -> None:
    assert uid_of("1730.P1Q2.mx") == "1730.P1Q2.mx" and uid_of("x" * 70) == "x" * 70
    others = ["", "x" * 71, "x" * 72, "a b", "東京", "\udcff", "a\tb", "x" * 70 + "\n"]
    uids = [uid_of(name) for name in others]
    assert len(set(uids)) == len(others) and all(len(uid) == 64 for uid in uids)


def test_what_is_no_letter_is_not_listed(root: Path) -> None:
    box = root / KENJI
    (box / "new" / ".nfs1").write_bytes(b"x")
    (box / "new" / "folder").mkdir()
    with contextlib.suppress(OSError):
        (box / "new" / "link").symlink_to("/etc/passwd")
    (box / "tmp" / "half").write_bytes(b"x")
    (box / "new" / "1730000200.P1Q2.mx").write_bytes(b"is being moved to cur\n")
    assert list(scan(str(box))) == list(LETTERS)


def test_no_more_letters_than_a_session_may_list(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pop3, "MOST_LETTERS", 2)
    assert kenji(root, "UIDL")[1:3] == [b"1 1730000100.P1Q1.mx", b"2 1730000200.P1Q2.mx"]


# --- what is removed, and when ----------------------------------------------------------------------------------------


def test_only_quit_removes(root: Path) -> None:
    kenji(root, "DELE 1", "DELE 3")
    assert len(left(root)) == 3, "the line broke"
    kenji(root, "DELE 1", "RSET", "DELE 2", "QUIT")
    assert left(root) == ["1730000100.P1Q1.mx", "1730000300.P1Q3.mx"]
    talk(root, "QUIT", "USER x")
    assert len(left(root)) == 2


@pytest.mark.parametrize("cut", range(1, 60, 3))
def test_wherever_the_line_breaks_before_quit_nothing_is_removed(root: Path, cut: int) -> None:
    data = (LOGIN + b"RETR 1\r\nDELE 1\r\nDELE 2\r\nQUIT\r\n")[:-cut]
    hear(serve(session(root)), data)
    assert len(left(root)) == 3
    assert kenji(root, "STAT")[0].startswith(b"+OK 3 "), "and the maildrop is free"


def test_silence_removes_nothing_and_nothing_is_said_about_it(root: Path) -> None:
    def silent() -> Conversation[list[bytes]]:
        heard = []
        yield LOGIN + b"DELE 1\r\n"
        with contextlib.suppress(Disconnected):
            while True:
                heard.append((yield Line(timeout=100_000)))
        return heard

    show = rehearse(silent(), serve(session(root)), patient=True)
    assert show.client[1:] == [b"+OK and the password?", b"+OK welcome", b"+OK marked"] and len(left(root)) == 3
    assert show.seconds >= 600, "RFC 1939 §3: ten minutes at least"


def test_a_letter_that_comes_meanwhile_waits_for_the_next_session(root: Path) -> None:
    caller = Caller(serve(session(root)))
    caller.says(LOGIN)
    (root / KENJI / "new" / "1730000000.P0Q0.mx").write_bytes(b"Subject: an early one\n")
    assert caller.says(b"STAT\r\n").startswith(b"+OK 3 ") and caller.says(b"LIST 4\r\n").startswith(b"-ERR")
    caller.says(b"DELE 1\r\nQUIT\r\n")
    assert left(root) == ["1730000000.P0Q0.mx", "1730000200.P1Q2.mx", "1730000300.P1Q3.mx"]


def test_a_letter_that_another_program_moves_or_removes(root: Path) -> None:
    drop = Maildrop(str(root / KENJI))
    drop.open()
    (root / KENJI / "new" / "1730000100.P1Q1.mx").rename(root / KENJI / "cur" / "1730000100.P1Q1.mx:2,RS")
    (root / KENJI / "new" / "1730000300.P1Q3.mx").unlink()
    with drop.file(0) as file:
        assert file.read() == LETTERS["1730000100.P1Q1.mx"]
    with pytest.raises(Refused, match="this letter is gone"):
        drop.file(2)
    drop.marked = {0, 2}
    assert drop.remove() == 0 and left(root) == ["1730000200.P1Q2.mx"]
    drop.claim.give_back()


def test_retr_of_a_letter_that_is_gone_and_the_session_goes_on(root: Path) -> None:
    caller = Caller(serve(session(root)))
    caller.says(LOGIN)
    (root / KENJI / "new" / "1730000300.P1Q3.mx").unlink()
    heard = caller.says(b"RETR 3\r\nTOP 3 1\r\nRETR 1\r\nQUIT\r\n")
    assert heard.startswith(b"-ERR this letter is gone\r\n-ERR this letter is gone\r\n+OK 31 octets\r\n")
    assert heard.endswith(b".\r\n+OK goodbye\r\n")


def test_what_cannot_be_removed_is_said_and_the_session_ends(root: Path, monkeypatch: pytest.MonkeyPatch,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    real = os.unlink

    def unlink(path: str) -> None:
        if "Q2" in path:
            raise PermissionError(13, "no")
        real(path)

    monkeypatch.setattr(desk.os, "unlink", unlink)
    heard = kenji(root, "DELE 1", "DELE 2", "QUIT", "NOOP")
    assert heard[2:] == [b"-ERR some deleted messages not removed"]
    assert left(root) == ["1730000200.P1Q2.mx", "1730000300.P1Q3.mx"] and "cannot be removed" in caplog.text


@posix
def test_the_disk_has_forgotten_them_before_quit_is_answered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = os.unlink
    monkeypatch.setattr(desk.os, "unlink", lambda path: (order.append("unlink"), real(path)))
    monkeypatch.setattr(desk, "sync_folder", lambda folder: order.append("sync " + Path(folder).name))
    heard = hear(serve(session(root)), LOGIN + b"DELE 1\r\nDELE 2\r\nQUIT\r\n")
    assert order == ["unlink", "unlink", "sync cur", "sync new"] and heard.endswith(b"+OK goodbye\r\n")


@posix
@pytest.mark.parametrize("marks", [b"DELE 1\r\nDELE 2\r\n", b"DELE 1\r\nRETR 3\r\n"])
def test_killed_in_the_midst_nothing_is_removed_and_the_maildrop_is_free(root: Path, marks: bytes) -> None:
    program = ("import sys; from smtp_from_scratch import Passwords, Pop3Server\n"
               f"server = Pop3Server(sys.argv[1], Passwords({{{KENJI!r}: 'tenor sax'}}), insecure_auth=True)\n"
               "server.start(); print(server.address[1], flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", program, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), 30) as line:
            line.sendall(LOGIN + marks)
            with line.makefile("rb") as heard:
                while b"welcome" not in heard.readline():
                    pass
                assert heard.readline() == b"+OK marked\r\n"
                with pytest.raises(Refused, match="IN-USE"):
                    Claim(str(root / KENJI)).take()        # another process has it
                process.send_signal(signal.SIGKILL)
                process.wait(30)
    assert len(left(root)) == 3
    assert kenji(root, "STAT")[0].startswith(b"+OK 3 ")


# --- one at a time ----------------------------------------------------------------------------------------------------


def test_two_sessions_at_one_maildrop(root: Path) -> None:
    first = Caller(serve(session(root)))
    assert first.says(LOGIN).endswith(b"+OK welcome\r\n")
    heard = talk(root, f"USER {KENJI}", "PASS tenor sax", "STAT")
    assert heard[1].startswith(b"-ERR [IN-USE] ") and heard[2].startswith(b"-ERR not in the state AUTHORIZATION")
    assert talk(root, f"USER {YUI}", "PASS alto")[1] == b"+OK welcome", "another maildrop is free"
    assert first.says(b"QUIT\r\n") == b"+OK goodbye\r\n"
    assert kenji(root, "NOOP") == [b"+OK"]


def test_in_use_can_be_tried_again_in_the_same_session(root: Path) -> None:
    first, second = Caller(serve(session(root))), Caller(serve(session(root)))
    first.says(LOGIN)
    assert b"[IN-USE]" in second.says(LOGIN)
    first.says(b"QUIT\r\n")
    assert second.says(LOGIN).endswith(b"+OK welcome\r\n")
    second.actor.conversation.close()          # as a stage does that breaks off
    assert kenji(root, "NOOP") == [b"+OK"]


def test_a_browser_has_no_locks_of_files_and_claims_hold_within_the_process(tmp_path: Path) -> None:
    """Its Python has a module `fcntl` without `flock`."""
    code = """
import sys, types
sys.modules["fcntl"] = types.ModuleType("fcntl")
from smtp_from_scratch.desk import Claim, Refused
Claim(sys.argv[1]).take()
try:
    Claim(sys.argv[1]).take()
except Refused as refusal:
    print(refusal)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[IN-USE] another session has this maildrop\n", done.stderr


def test_a_claim_given_back_while_it_is_taken_comes_to_nothing(tmp_path: Path) -> None:
    claim, other = Claim(str(tmp_path)), Claim(str(tmp_path))
    claim.give_back()                          # the line broke; a worker is about to open the maildrop
    with pytest.raises(Refused):
        claim.take()
    other.take()
    claim.give_back()                          # which is not its own any more
    with pytest.raises(Refused, match="IN-USE"):
        Claim(str(tmp_path)).take()
    other.give_back()
    Claim(str(tmp_path / "not there")).take()


def test_a_maildrop_that_cannot_be_opened_is_free_again(root: Path, monkeypatch: pytest.MonkeyPatch,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    def broken(folder: str) -> dict[str, str]:
        raise OSError(5, "the disk is broken")

    with monkeypatch.context() as patch:
        patch.setattr(pop3, "scan", broken)
        heard = talk(root, f"USER {KENJI}", "PASS tenor sax", "STAT")
    assert heard[1] == b"-ERR [SYS/TEMP] something is broken here" and heard[2].startswith(b"-ERR not in the state")
    assert "the disk is broken" in caplog.text and kenji(root, "NOOP") == [b"+OK"]


# --- who gets in ------------------------------------------------------------------------------------------------------


def test_no_password_in_the_clear_unless_asked(root: Path) -> None:
    heard = talk(root, "CAPA", f"USER {KENJI}", "PASS tenor sax", "STAT", insecure=False)
    assert b"USER" not in heard and heard[-3] == b"-ERR not in the clear: say STLS first"
    assert heard[-2] == b"-ERR say USER first"


def test_what_capa_says_when(root: Path) -> None:
    always = {b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING"}
    for rules, more in (({}, {b"USER"}), ({"insecure": False}, set()), ({"tls": TLS.server}, {b"USER", b"STLS"}),
                        ({"tls": TLS.server, "insecure": False}, {b"STLS"})):
        heard = talk(root, "CAPA", **rules)
        assert heard[0].startswith(b"+OK") and heard[-1] == b"." and set(heard[1:-1]) == always | more
    assert b"STLS" not in kenji(root, "CAPA", tls=TLS.server), "not any more"


def test_the_third_wrong_password_ends_the_session(root: Path) -> None:
    wrong = [line for name in (KENJI, "nobody", "Kenji") for line in (f"USER {name}", "PASS wrong")]
    heard = talk(root, *wrong, "NOOP")
    assert heard == 3 * [b"+OK and the password?", b"-ERR [AUTH] wrong user or password"], "and no word about which"
    for password in ("", " tenor sax", "tenor", "\udcff", "tenor sax "):
        assert b"+OK welcome" not in talk(root, f"USER {KENJI}", f"PASS {password}"), password


def test_guesses_are_counted_for_all_sessions_from_an_address(root: Path) -> None:
    slept: list[float] = []
    guesses = Guesses(now=lambda: 0.0, sleep=slept.append)
    for _ in range(20):
        assert talk(root, *3 * (f"USER {KENJI}", "PASS no"), peer="192.0.2.1", guesses=guesses)[-1].startswith(b"-ERR")
    heard = talk(root, f"USER {KENJI}", "PASS tenor sax", peer="192.0.2.1", guesses=guesses)
    assert slept and heard[1].startswith(b"-ERR [SYS/TEMP] too many wrong guesses")
    assert talk(root, f"USER {KENJI}", "PASS tenor sax", peer="192.0.2.2", guesses=guesses)[1] == b"+OK welcome"


def test_a_name_leads_to_no_other_folder(root: Path) -> None:
    assert talk(root, "USER ..", "PASS burglar", "STAT")[1:] == [
        b"-ERR nobody has such a maildrop", b"-ERR not in the state AUTHORIZATION"]
    for name in ("../yui@tokyo.example", "/etc", "a/../../b", ".", "..", "...", "\\..\\b", "a\0b"):
        with contextlib.suppress(Refused):
            folder = session(root, name=name).own().folder
            assert os.path.dirname(os.path.realpath(folder)) == os.path.realpath(root), name


def test_a_domain_for_names_without_one(root: Path) -> None:
    users = Passwords({"kenji": "x"})
    heard = hear(serve(Pop3Session(root, users, insecure=True, domain="tokyo.example")),
                 b"USER kenji\r\nPASS x\r\nSTAT\r\n")
    assert b"+OK 3 " in heard


@pytest.mark.parametrize("answer", [None, 1, RuntimeError("the directory is down"), ValueError("odd")])
def test_a_store_that_fails_lets_nobody_in(root: Path, answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Store(Passwords):
        def verify(self, user: str, password: str) -> bool:
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]

    heard = hear(serve(Pop3Session(root, Store({}), insecure=True)), LOGIN + b"STAT\r\n")
    assert b"-ERR [SYS/TEMP]" in heard and b"-ERR not in the state" in heard
    assert "a command failed" in caplog.text and "tenor sax" not in caplog.text


def test_no_secret_in_a_log_or_a_transcript(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caller = Caller(serve(session(root)))
    caller.says(LOGIN.replace(b"PASS", b"pass") + b"PASS tenor sax\r\nDELE 1\r\nQUIT\r\n")
    hear(serve(session(root)), f"USER {KENJI}\r\nPASS tenor saxx\r\n".encode())
    text = str(Transcript(caller.said)) + Transcript(caller.said).text(octets=True)
    assert "tenor" not in text and "pass ***" in text and "PASS ***" in text
    assert "tenor" not in caplog.text and "has removed 1 of 3 letters" in caplog.text


def test_a_name_cannot_write_a_line_of_the_log(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hear(serve(session(root)), "USER kenji\x1b[2J\x85\r\nPASS x\r\n".encode())
    assert "\x1b" not in caplog.text and "wrong user or password" in caplog.text


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_line_has_at_most_255_octets(root: Path) -> None:
    fits = "RETR " + "1" * 248
    assert kenji(root, fits, "STAT")[0].startswith(b"-ERR no such letter")
    heard = kenji(root, fits + "1", "STAT")
    assert heard[0].startswith(b"-ERR ") and b"255" in heard[0] and heard[1].startswith(b"+OK 3 ")


def test_nonsense_is_heard_twenty_times(root: Path) -> None:
    assert len(kenji(root, *["WHAT"] * 30)) == 21
    assert len(talk(root, *["NOOP"] * 30)) == 21
    assert talk(root, "x" * 70_000, "CAPA")[1:] == []


def test_a_page_of_a_browser_is_no_client(root: Path) -> None:
    assert len(talk(root, "GET / HTTP/1.1", "Host: tokyo", "", f"USER {KENJI}")) == 1


def test_a_large_letter_takes_no_memory(root: Path) -> None:
    size = 30_000_000
    with open(root / KENJI / "new" / "1730000400.large", "wb") as file:
        for _ in range(size // 60_000):
            file.write(b"." + b"x" * 58 + b"\n" + 999 * (b"y" * 59 + b"\n"))
    most = heard = 0
    talking = serve(session(root))
    said: Any = next(talking)
    lines = iter([f"USER {KENJI}".encode(), b"PASS tenor sax", b"RETR 4", b"TOP 4 9999999", b"QUIT"])
    tracemalloc.start()
    try:
        while True:
            answer: Any = None
            if isinstance(said, bytes):
                most, heard = max(most, len(said)), heard + len(said)
            else:
                answer = said.function() if isinstance(said, Work) else next(lines)
            said = talking.send(answer)
    except StopIteration:
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert heard > 2 * size and most < 3 * BLOCK and peak < 2_000_000, (heard, most, peak)


def test_a_disk_that_fails_in_the_midst_of_a_letter_ends_the_line_without_a_dot(
        root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Bad(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 2 * BLOCK - 1:
                raise OSError(5, "the disk is broken")
            return super().read(size)

    (root / KENJI / "new" / "1730000400.large").write_bytes(b"Subject: large\n\n" + b"x\n" * 200_000)
    monkeypatch.setattr(Maildrop, "file", lambda drop, index: Bad(b"y\n" * 200_000))
    heard = hear(serve(session(root)), LOGIN + b"RETR 4\r\nSTAT\r\n")
    assert heard.endswith(b"y\r\n") and b"\r\n.\r\n" not in heard and "cannot be read" in caplog.text
    monkeypatch.setattr(Maildrop, "file", lambda drop, index: Broken())
    assert kenji(root, "RETR 1", "STAT")[0] == b"-ERR [SYS/TEMP] something is broken here", "before a word is said"


class Broken(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise OSError(5, "the disk is broken")


def test_words_of_a_row() -> None:
    row = Row(lambda session: "", {}, "TOP number [lines]")
    assert row.words("1") == ["1"] and row.words("1 2 3") == ["1", "2 3"]
    with pytest.raises(Refused, match=r"say TOP number \[lines\]"):
        row.words("")
    assert Row(lambda session: "", {}, "PASS password").words(" a  b ") == [" a  b "]


# --- over sockets -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def counter(root: Path, stage: str, **rules: Any) -> Iterator[Pop3Server]:
    with Pop3Server(root, USERS, stage=stage, **({"tls": TLS.server} | rules)) as server:
        yield server


STAGES = pytest.mark.parametrize("stage", ["threads", "loop"])


@STAGES
@pytest.mark.parametrize("implicit", [False, True])
def test_poplib_fetches_under_tls(root: Path, stage: str, implicit: bool) -> None:
    with counter(root, stage, implicit_tls=implicit) as server:
        if implicit:
            pop: poplib.POP3 = poplib.POP3_SSL(*server.address, context=TLS.client, timeout=30)
        else:
            pop = poplib.POP3(*server.address, timeout=30)
            assert "STLS" in pop.capa() and "USER" not in pop.capa()
            with pytest.raises(poplib.error_proto, match="not in the clear"):
                pop.user(KENJI)
            pop.stls(TLS.client)
        assert "STLS" not in pop.capa() and "USER" in pop.capa()
        pop.user(KENJI)
        pop.pass_("tenor sax")
        count, octets = pop.stat()
        assert count == 3 and octets == sum(int(line.split()[1]) for line in pop.list()[1])
        for number, text in enumerate(LETTERS.values(), 1):
            _, lines, size = pop.retr(number)
            assert b"".join(line + b"\n" for line in lines).rstrip(b"\n") == text.rstrip(b"\n")
            assert int(pop.list(number).split()[2]) == sum(len(line) + 2 for line in lines)
        assert [line.split()[1].decode() for line in pop.uidl()[1]] == list(LETTERS)
        pop.dele(1)
        pop.quit()
    assert left(root) == list(LETTERS)[1:]


@STAGES
def test_the_whole_journey_octet_for_octet(tmp_path: Path, stage: str) -> None:
    letters = [b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n", b"Subject: long\r\n\r\n" + b"x" * 900 + b"\r\n",
               b"Subject: many\r\n\r\n" + b"".join(b".%d\r\n" % n for n in range(50_000))]
    with Server(deliver=Maildir(tmp_path)) as tokyo, Client(*tokyo.address) as ana:
        for letter in letters:
            ana.sendmail("ana@rio.example", KENJI, letter)
    with counter(tmp_path, stage) as server:
        pop = poplib.POP3(*server.address, timeout=30)
        pop.stls(TLS.client)
        pop.user(KENJI)
        pop.pass_("tenor sax")
        for number, letter in enumerate(letters, 1):
            lines = pop.retr(number)[1]
            arrived = b"".join(line + b"\r\n" for line in lines)
            assert arrived.endswith(letter) and arrived.startswith(b"Return-Path: <ana@rio.example>\r\n")
            pop.dele(number)
        pop.quit()
    assert left(tmp_path) == []


@STAGES
def test_what_is_slipped_in_before_the_handshake_breaks_it(root: Path, stage: str) -> None:
    with counter(root, stage) as server, socket.create_connection(server.address, 30) as line:
        line.sendall(b"STLS\r\nUSER " + KENJI.encode() + b"\r\n")
        heard = line.makefile("rb")
        assert heard.readline().startswith(b"+OK POP3") and heard.readline() == b"+OK shake hands\r\n"
        with pytest.raises((ssl.SSLError, OSError)):
            TLS.client.wrap_socket(line, server_hostname="127.0.0.1").do_handshake()


@STAGES
def test_a_name_said_in_the_clear_does_not_count_after_the_handshake(root: Path, stage: str) -> None:
    with counter(root, stage, insecure_auth=True) as server:
        pop = poplib.POP3(*server.address, timeout=30)
        pop.user(KENJI)
        pop.stls(TLS.client)
        with pytest.raises(poplib.error_proto, match="say USER first"):
            pop.pass_("tenor sax")
        with pytest.raises(poplib.error_proto, match="no such command|TLS is up already"):
            pop._shortcmd("STLS")  # type: ignore[attr-defined]
        pop.close()


@STAGES
def test_a_line_that_breaks_frees_the_maildrop(root: Path, stage: str) -> None:
    with counter(root, stage, insecure_auth=True) as server:
        for _ in range(5):
            with socket.create_connection(server.address, 30) as line, line.makefile("rb") as heard:
                line.sendall(LOGIN + b"DELE 1\r\n")
                while (said := heard.readline()) and b"marked" not in said:
                    if b"IN-USE" in said:      # the last one has not been noticed yet
                        line.sendall(LOGIN + b"DELE 1\r\n")
    assert len(left(root)) == 3 and kenji(root, "NOOP") == [b"+OK"]


@STAGES
def test_stopped_in_the_midst_nothing_is_removed(root: Path, stage: str) -> None:
    with counter(root, stage, insecure_auth=True) as server:
        line = socket.create_connection(server.address, 30)
        heard = line.makefile("rb")
        line.sendall(LOGIN + b"DELE 1\r\n")
        while b"marked" not in heard.readline():
            pass
    assert heard.readline() == b"" and len(left(root)) == 3
    heard.close()
    line.close()
    assert kenji(root, "NOOP") == [b"+OK"]


@STAGES
def test_more_callers_than_places_hear_err(root: Path, stage: str) -> None:
    with counter(root, stage, max_connections=1) as server, socket.create_connection(server.address, 30) as first:
        assert first.recv(100).startswith(b"+OK")
        with socket.create_connection(server.address, 30) as second:
            assert second.recv(200) == door.FULL


@STAGES
def test_a_reader_that_does_not_read_holds_up_nobody(root: Path, stage: str) -> None:
    (root / KENJI / "new" / "1730000400.large").write_bytes(b"Subject: large\n\n" + b"x" * 60 + b"\n" * 8_000_000)
    with counter(root, stage, insecure_auth=True) as server, socket.create_connection(server.address, 30) as slow:
        slow.sendall(LOGIN + b"RETR 4\r\n")
        assert slow.recv(10)
        pop = poplib.POP3(*server.address, timeout=30)
        pop.user(YUI)
        pop.pass_("alto")
        assert pop.stat() == (0, 0)
        pop.quit()
        slow.shutdown(socket.SHUT_RDWR)


def test_the_tap_of_a_server_hears_no_password(root: Path) -> None:
    tap = Transcript()
    with counter(root, "threads", tap=tap) as server:
        pop = poplib.POP3(*server.address, timeout=30)
        pop.stls(TLS.client)
        pop.user(KENJI)
        pop.pass_("tenor sax")
        pop.quit()
    assert "PASS ***" in str(tap) and "tenor" not in str(tap)


def test_users_in_a_file(root: Path, tmp_path: Path) -> None:
    users = UserFile(tmp_path / "users", create=True)
    users.add(KENJI, "tenor sax", iterations=4096)
    with Pop3Server(root, users, insecure_auth=True, stage="threads") as server:
        pop = poplib.POP3(*server.address, timeout=30)
        pop.user(KENJI)
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            pop.pass_("tenor")
        pop.user(KENJI)
        pop.pass_("tenor sax")
        assert pop.stat()[0] == 3
        pop.quit()


@pytest.mark.parametrize("rules, says", [
    ({}, "under TLS only"), ({"implicit_tls": True, "insecure_auth": True}, "certificate"), ({"stage": "x"}, "stage"),
    ({"tls": TLS.client}, "client's context"), ({"tls": 1}, "tls is a context"), ({"timeout": 0}, "timeout"),
    ({"users": {KENJI: "x"}}, "users is a store"),
])
def test_arguments_that_contradict_each_other(root: Path, rules: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Pop3Server(root, **({"users": USERS} | rules))


def test_a_server_is_started_once(root: Path) -> None:
    server = Pop3Server(root, USERS, insecure_auth=True)
    server.start()
    with pytest.raises(RuntimeError, match="answers already"):
        server.start()
    server.stop()
    with pytest.raises(RuntimeError, match="has been stopped"):
        server.start()


def test_what_is_not_a_failure_of_ours_is_not_logged_as_one(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kenji(root, "NOPE", "RETR 9")
    assert [record.levelname for record in caplog.records] == ["INFO"] and "gone without QUIT" in caplog.text

"""250 is kept whatever happens: the power goes, the process dies, two come at once, somebody is curious."""
from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import mailbox
import os
import random
import re
import shutil
import smtplib
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smtp_from_scratch import Envelope, Maildir, Reply, Server, together
from smtp_from_scratch import maildir as module
from smtp_from_scratch.maildir import folder_name, trace, unique_name
from smtp_from_scratch.together import alone, sync_folder
from smtp_from_scratch.tray import Tray
from smtp_from_scratch.users import UserFile
from tests.disk import Disk
from tests.dying import in_threes

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither these modes, nor a sync of folders, nor fork")
KENJI, YUI, LI = "kenji@tokyo.example", "yui@tokyo.example", "li@beijing.example"
LETTER = b"Subject: hello\r\n\r\none\r\n.two\r\n"


def envelope(*recipients: str, **more: Any) -> Envelope:
    return Envelope("ana@rio.example", list(recipients) or [KENJI], "rio.example", "192.0.2.7", **more)


def kept(root: Path) -> list[Path]:
    return sorted(root.glob("*/new/*"))


# --- the power goes --------------------------------------------------------------------------------------------------

FIRST, SECOND = b"Subject: first\n\n" + b"1" * 40 + b"\n", b"Subject: second\n\n" + b"2" * 50 + b"\n"
Job = Callable[[], object]


def judge(disk: Disk, at_least: int = 1) -> None:
    """Whatever is left: each letter in `new` is whole, and whoever was told 250 for a letter has it."""
    moments = 0
    for said, tree in disk.cuts():
        found: dict[str, list[bytes]] = {}
        for path, octets in tree.paths():
            *_, box, folder, _ = path.split("/")
            if folder == "new":
                found.setdefault(box, []).append(octets)
                whole = octets.startswith(b"Return-Path: <") and octets.endswith((FIRST, SECOND))
                assert whole, f"half a letter in {path}"
        for box, text in said:
            assert any(octets.endswith(text) for octets in found.get(box, [])), f"250 was said, and {box} has nothing"
        moments += bool(said)
    assert moments >= at_least


def post(disk: Disk, deliver: Maildir, text: bytes, *recipients: str) -> None:
    """Deliver, and note the 250."""
    assert deliver(envelope(*recipients), BytesIO(text.replace(b"\n", b"\r\n"))).code == 250
    for address in recipients:
        disk.say((folder_name(address), text))


def meanwhile(disk: Disk, first: Job, second: Job, call: int) -> bool:
    """Stop the first job before its system call of this number, do the second, then go on; False if there is none."""
    here, go_on, calls = threading.Event(), threading.Event(), itertools.count(1)

    def before() -> None:
        if threading.current_thread() is thread and next(calls) == call:
            here.set()
            go_on.wait()

    def run() -> None:
        try:
            first()
            done.append(True)
        finally:
            here.set()

    done = list[bool]()
    thread = threading.Thread(target=run)
    disk.before = before
    thread.start()
    try:
        here.wait()
        met = not done
        second()
    finally:
        go_on.set()
        thread.join()
    assert done
    return met


class OldMakeMaildir(Maildir):
    """Who sees `new` relies on it, also when it is not on the disk yet."""

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Reply:
        name = unique_name(self.hostname)
        folders = [self.root / folder_name(address) for address in envelope.recipients]
        for folder in folders:
            if not (folder / "new").is_dir():
                for each in ("tmp", "cur", "new"):
                    (folder / each).mkdir(parents=True, exist_ok=True)
                sync_folder(folder)
                sync_folder(folder.parent)
        return self.put(folders, name, trace(envelope, self.hostname, name), body)

    def put(self, folders: list[Path], name: str, head: bytes, body: IO[bytes]) -> Reply:
        temporary = folders[0] / "tmp" / name
        alone(module.write_durably(temporary, module.with_lf([head, body.read()])))
        alone(module.publish(temporary, [folder / "new" / name for folder in folders]))
        temporary.unlink()
        return Reply(250, "kept")


class InPlace(OldMakeMaildir):
    """Writes each letter where it is read."""

    def put(self, folders: list[Path], name: str, head: bytes, body: IO[bytes]) -> Reply:
        for folder in folders:
            body.seek(0)
            alone(module.write_durably(folder / "new" / name, module.with_lf([head, body.read()])))
            sync_folder(folder / "new")
        return Reply(250, "kept")


class FileNotSynced(OldMakeMaildir):
    """The name is durable, the octets are not."""

    def put(self, folders: list[Path], name: str, head: bytes, body: IO[bytes]) -> Reply:
        (folders[0] / "tmp" / name).write_bytes(head + body.read().replace(b"\r\n", b"\n"))
        alone(module.publish(folders[0] / "tmp" / name, [folder / "new" / name for folder in folders]))
        return Reply(250, "kept")


class NameNotSynced(OldMakeMaildir):
    """The octets are durable, the name is not."""

    def put(self, folders: list[Path], name: str, head: bytes, body: IO[bytes]) -> Reply:
        alone(module.write_durably(folders[0] / "tmp" / name, module.with_lf([head, body.read()])))
        for folder in folders:
            os.link(folders[0] / "tmp" / name, folder / "new" / name)
        return Reply(250, "kept")


def two_letters(top: Path, kind: type[Maildir]) -> None:
    with Disk(top) as disk:
        deliver = kind(top / "mail" / "inbox")
        post(disk, deliver, FIRST, KENJI, YUI)
        post(disk, deliver, SECOND, YUI)
    judge(disk)


@posix
def test_two_letters_survive_a_cut_at_any_moment(tmp_path: Path) -> None:
    two_letters(tmp_path, Maildir)


def play_two(top: Path, kind: type[Maildir]) -> None:
    """The same, with both letters in step: 250 is noted when all that is played is over."""
    with Disk(top) as disk:
        deliver = kind(top / "mail" / "inbox")
        letters = [(FIRST, (KENJI, YUI)), (SECOND, (YUI,))]
        played = together.together(together.calling(deliver, envelope(*people), BytesIO(text.replace(b"\n", b"\r\n")))
                                   for text, people in letters)
        for one, (text, people) in zip(played, letters, strict=True):
            assert one.result and one.result.code == 250
            for address in people:
                disk.say((folder_name(address), text))
    judge(disk)


class TogetherNotSynced(Maildir):
    """One that goes on before the disk has what it wanted."""

    @together.in_steps
    def __call__(self, envelope: Envelope, body: IO[bytes]) -> together.Steps[Reply]:
        steps = together.calling(super().__call__, envelope, body)
        with patch.object(together, "sync", lambda wanted: {}):
            return together.alone(steps)
        yield []


@posix
def test_two_letters_that_are_played_together_survive_a_cut_at_any_moment(tmp_path: Path) -> None:
    play_two(tmp_path, Maildir)


@posix
def test_the_disk_notices_who_goes_on_too_early(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"half a letter|has nothing"):
        play_two(tmp_path, TogetherNotSynced)


@posix
@pytest.mark.parametrize("kind, what", [(InPlace, "half a letter"), (FileNotSynced, "half a letter"),
                                        (NameNotSynced, "has nothing")])
def test_the_disk_notices_what_is_not_synced(tmp_path: Path, kind: type[Maildir], what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        two_letters(tmp_path, kind)


def two_at_once(tmp_path: Path, kind: type[Maildir], processes: int) -> int:
    """Two deliveries, the second at each moment of the first; returns at how many."""
    for call in itertools.count(1):
        top = tmp_path / str(call)
        (top / "mail").mkdir(parents=True)
        with Disk(top) as disk:
            shared = [kind(top / "mail")] if processes == 1 else []

            def deliver(text: bytes, *recipients: str, disk: Disk = disk, top: Path = top,
                        shared: list[Maildir] = shared) -> None:
                post(disk, shared[0] if shared else kind(top / "mail"), text, *recipients)

            met = meanwhile(disk, lambda: deliver(FIRST, KENJI), lambda: deliver(SECOND, KENJI, YUI), call)
        judge(disk)
        shutil.rmtree(top)
        if not met:
            return call
    raise AssertionError("unreachable")


@posix
@pytest.mark.parametrize("processes", [1, 2])
def test_a_mailbox_is_durable_before_anybodys_250(tmp_path: Path, processes: int) -> None:
    """One delivery stops at any of its steps, or has died there; another one says 250; the power goes."""
    assert two_at_once(tmp_path, Maildir, processes) > 10


@posix
@pytest.mark.parametrize("processes", [1, 2])
def test_the_disk_notices_who_relies_on_another_delivery(tmp_path: Path, processes: int) -> None:
    with pytest.raises(AssertionError, match="has nothing"):
        two_at_once(tmp_path, OldMakeMaildir, processes)


@posix
def test_the_root_and_what_is_above_it_are_durable_too(tmp_path: Path) -> None:
    """A server that died just after it had created `a/b/c` has left folders of which the disk knows nothing."""
    for depth in range(1, 4):
        top = tmp_path / str(depth)
        top.mkdir()
        with Disk(top) as disk:
            folder = top
            for name in "abc"[:depth]:                     # as a server does it; the last one it has not synced
                folder = folder / name
                folder.mkdir()
                if name != "abc"[depth - 1]:
                    sync_folder(folder.parent)
            post(disk, Maildir(top / "a" / "b" / "c"), FIRST, KENJI)
        judge(disk)


@posix
def test_a_user_who_was_added_is_still_there(tmp_path: Path) -> None:
    """The new file is synced, then takes the place of the old one, then the folder is synced (`user add`)."""
    with Disk(tmp_path) as disk:
        for name in ("ana", "yui"):
            UserFile(tmp_path / "users", create=True).add(name, "open sesame", 4096)
            disk.say(name)
    moments = 0
    for said, tree in disk.cuts():
        files = dict(tree.paths())
        if "users" in files:
            (tmp_path / "found").write_bytes(files["users"])
            assert UserFile(tmp_path / "found").names() in ([], ["ana"], ["ana", "yui"])
        assert set(said) <= set(UserFile(tmp_path / "found").names() if "users" in files else [])
        moments += len(said)
    assert moments


# --- the process dies ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dying_servers(kind: str, root: Path) -> Iterator[Callable[[int], int]]:
    """What starts a server that dies at a moment, and returns its port."""
    command = [sys.executable, str(Path(__file__).parent.parent / "dying.py"), kind, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin and run.stdout
        stdin, stdout = run.stdin, run.stdout

        def start(moment: int) -> int:
            stdin.write(f"{moment}\n")
            stdin.flush()
            return int(stdout.readline())

        yield start


def die_everywhere(kind: str, root: Path) -> int:
    """A server dies at its first moment, the next at its second, and so on; returns how many have died."""
    with dying_servers(kind, root) as start:
        sent, known = set[bytes](), set[tuple[str, bytes]]()
        for moment in itertools.count(1):
            answered = 0
            with contextlib.suppress(smtplib.SMTPException, OSError), smtplib.SMTP("127.0.0.1", start(moment)) as smtp:
                for size, people in ((3_000, [f"life{moment}@x.example", KENJI]), (1_000_000, [LI, YUI])):
                    text = b"Subject: life %d\r\n\r\n" % moment + b"x" * size + b"\r\n"
                    sent.add(text.replace(b"\r\n", b"\n"))
                    smtp.sendmail("ana@rio.example", people, text)
                    answered += 1
                    known |= {(address, text.replace(b"\r\n", b"\n")) for address in people}
            for file in kept(root):
                octets = file.read_bytes()
                texts = [text for text in sent if octets.endswith(text)]
                assert octets.startswith(b"Return-Path: <") and texts, f"half a letter in {file.parent.parent.name}"
                known.discard((file.parent.parent.name, texts[0]))
                file.unlink()
            assert not known, "a letter is lost for which 250 was said"
            if answered == 2:
                return moment - 1
    raise AssertionError("unreachable")


def die_together(kind: str, root: Path) -> int:
    """The same for a loop and three letters at once, to mailboxes that they share; returns how many have died."""
    with dying_servers(kind, root) as start:
        texts, answered = set[bytes](), list[tuple[str, bytes]]()

        def send(port: int, people: list[str], text: bytes) -> None:
            with contextlib.suppress(smtplib.SMTPException, OSError), smtplib.SMTP("127.0.0.1", port) as smtp:
                smtp.sendmail("ana@rio.example", people, text)
                answered.extend((address, text.replace(b"\r\n", b"\n")) for address in people)

        for moment in itertools.count(1):
            port, before = start(moment), len(answered)
            letters = [(people, b"Subject: life %d of %d\r\n\r\n" % (moment, number) + b"x" * 3000 + b"\r\n")
                       for number, people in enumerate(([KENJI], [KENJI, LI], [f"new{moment}@x.example", KENJI]))]
            texts |= {text.replace(b"\r\n", b"\n") for _, text in letters}
            senders = [threading.Thread(target=send, args=(port, *letter)) for letter in letters]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            found = set()
            for file in kept(root):
                octets = file.read_bytes()
                whole = [text for text in texts if octets.endswith(text)]
                assert octets.startswith(b"Return-Path: <") and whole, f"half a letter in {file.parent.parent.name}"
                found.add((file.parent.parent.name, whole[0]))
            assert found.issuperset(answered), "a letter is lost for which 250 was said"
            if len(answered) - before == sum(len(people) for people, _ in letters):
                return moment - 1
    raise AssertionError("unreachable")


@posix
@pytest.mark.parametrize("kind", ["Loop", "Together"])
def test_killed_with_several_letters_at_once_nothing_acknowledged_is_lost(tmp_path: Path, kind: str) -> None:
    """As they come, and all three in one batch."""
    assert die_together(kind, tmp_path) > 20


@posix
@pytest.mark.long
def test_five_hundred_kills_under_load(tmp_path: Path) -> None:
    """kill -9 at any instant, while eight clients send one letter after the other (GOALS T5)."""
    rng, sent, known = random.Random(2026), set[bytes](), list[tuple[str, bytes]]()

    def send(port: int, life: int, client: int) -> None:
        with contextlib.suppress(smtplib.SMTPException, OSError), smtplib.SMTP("127.0.0.1", port) as smtp:
            for number in itertools.count():
                people = [f"box{client % 3}@x.example", KENJI][: 1 + number % 2]
                text = b"Subject: %d.%d.%d\n\n" % (life, client, number) + b"x" * 1000 + b"\n"
                sent.add(text)
                smtp.sendmail("ana@rio.example", people, text.replace(b"\n", b"\r\n"))
                known.extend((address, text) for address in people)

    total = 0
    with dying_servers("Loop", tmp_path) as start:
        port = start(0)
        for life in range(500):
            clients = [threading.Thread(target=send, args=(port, life, client)) for client in range(8)]
            for client in clients:
                client.start()
            time.sleep(rng.uniform(0.0, 0.15))
            port = start(0)                    # the end of the one before
            for client in clients:
                client.join()
            for file in kept(tmp_path):
                head, _, text = file.read_bytes().partition(b"Subject: ")
                assert head.startswith(b"Return-Path: <") and b"Subject: " + text in sent, "half a letter"
                if (letter := (file.parent.parent.name, b"Subject: " + text)) in known:
                    known.remove(letter)
                    total += 1
                file.unlink()
            assert not known, "a letter is lost for which 250 was said"
            sent.clear()
    assert total > 500


@posix
def test_killed_in_the_middle_of_anything_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """kill -9 before each system call of two deliveries, and before each piece of a letter of 1 MB."""
    assert die_everywhere("Maildir", tmp_path) > 30


@posix
def test_a_kill_in_the_middle_betrays_who_writes_in_place(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="half a letter"):
        die_everywhere("InPlace", tmp_path)


# --- nobody else reads it --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


@posix
@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_mail_belongs_to_its_owner_alone(tmp_path: Path, mask: int) -> None:
    root = tmp_path / "var" / "mail"
    with umask(mask):
        assert Maildir(root)(envelope(KENJI, YUI), BytesIO(LETTER)).code == 250
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root.parent, root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert len(modes) == 12


@posix
def test_mail_belongs_to_its_owner_from_the_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when somebody comes to shut the door."""
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)
    with umask(0):
        Maildir(tmp_path / "mail")(envelope(), BytesIO(LETTER))
    assert not any(path.stat().st_mode & 0o077 for path in tmp_path.rglob("*"))


@posix
def test_what_was_there_keeps_its_mode(tmp_path: Path) -> None:
    """Somebody lets a group in on purpose."""
    root = tmp_path / "mail"
    for folder in (root, root / KENJI):
        folder.mkdir()
        folder.chmod(0o750)
    assert Maildir(root)(envelope(KENJI), BytesIO(LETTER)).code == 250
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (root, root / KENJI, root / KENJI / "new")] == [
        0o750, 0o750, 0o700]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o660])
def test_a_file_of_users_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "users"
    UserFile(file, create=True).add("ana", "open sesame", 4096)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(mode)
    with umask(0o077):
        UserFile(file).add("yui", "open sesame", 4096)
        UserFile(file).remove("ana")
    assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_users_keeps_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "users"
    UserFile(file, create=True).add("ana", "open sesame", 4096)
    os.chown(file, 12_345, 23_456)
    file.chmod(0o640)
    UserFile(file).add("yui", "open sesame", 4096)
    status = file.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12_345, 23_456, 0o640)


@posix
def test_a_group_that_cannot_be_kept_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0640 says that a certain group may read; it must not become another one."""
    def refused(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    file = tmp_path / "users"
    UserFile(file, create=True).add("ana", "open sesame", 4096)
    file.chmod(0o640)
    monkeypatch.setattr(os, "chown", refused)
    UserFile(file).add("yui", "open sesame", 4096)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and UserFile(file).names() == ["ana", "yui"]


# --- one Return-Path -------------------------------------------------------------------------------------------------

PATHS = [b"Return-Path: <liar@x.example>\r\n", b"return-path:<liar@x.example>\r\n",
         b"RETURN-PATH \t: <liar@x.example>\r\n\t(folded\r\n  twice)\r\n", b"Return-Path:\r\n <liar@x.example>\r\n"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("letter", [b"%sSubject: x\r\n\r\nbody\r\n", b"Subject: x\r\n%s\r\nbody\r\n",
                                    b"To: a,\r\n b\r\n%sSubject: x\r\n%s\r\nbody\r\n", b"%s\r\nbody\r\n"])
def test_a_delivered_letter_has_one_return_path(tmp_path: Path, letter: bytes, path: bytes) -> None:
    """RFC 5321 §4.4: final delivery removes what came with the letter, and only that."""
    assert Maildir(tmp_path)(envelope(), BytesIO(letter.replace(b"%s", path))).code == 250
    [message] = mailbox.Maildir(tmp_path / KENJI, create=False)
    assert message.get_all("Return-Path") == ["<ana@rio.example>"]
    octets = kept(tmp_path)[0].read_bytes()
    assert octets.endswith(letter.replace(b"%s", b"").replace(b"\r\n", b"\n")) and b"liar" not in octets


def test_a_return_path_in_the_body_stays(tmp_path: Path) -> None:
    letter = b"Subject: you asked\r\nX-Return-Path: <a@x.example>\r\n\r\nReturn-Path: <b@x.example>\r\n\r\nSee?\r\n"
    assert Maildir(tmp_path)(envelope(), BytesIO(letter)).code == 250
    assert kept(tmp_path)[0].read_bytes().endswith(letter.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("length", [10, 65_534, 65_535, 65_536, 65_537, 200_000])
def test_a_long_line_does_not_hide_a_return_path(tmp_path: Path, length: int) -> None:
    liar = b"Return-Path: " + b"z" * length + b"\r\n\tReturn-Path: q\r\n"
    letter = b"X: " + b"y" * length + b"\r\n" + liar + b"To: b\r\n\r\nbody\r\n"
    assert Maildir(tmp_path)(envelope(), BytesIO(letter)).code == 250
    octets = kept(tmp_path)[0].read_bytes()
    assert octets.endswith(b"X: " + b"y" * length + b"\nTo: b\n\nbody\n") and octets.count(b"Return-Path") == 1


@pytest.mark.parametrize("length", range(155, 166))
def test_a_return_path_within_a_long_line_stays(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a block ends just before it."""
    monkeypatch.setattr(module, "BLOCK", 80)
    letter = b"X: " + b"y" * (length - 3) + b"Return-Path: z\r\n\r\nbody\r\n"
    assert b"".join(module.own_return_path(b"", BytesIO(letter))) == letter


PIECES = st.sampled_from([b"a", b" ", b"\t", b":", b"\r", b"\n", b"\r\n", b"\r\n", b"Return-Path:", b"return-path ",
                          *PATHS])


def line_by_line(text: bytes) -> bytes:
    """The same once more, as slowly and as simply as can be."""
    kept, removed, lines = b"", False, re.findall(rb"[^\n]*\n|[^\n]+$", text)
    for number, line in enumerate(lines):
        if line in (b"\n", b"\r\n"):
            return kept + b"".join(lines[number:])
        removed = removed if line[:1] in b" \t" else bool(re.match(rb"(?i)return-path[ \t]*:", line))
        kept += b"" if removed else line
    return kept


@given(st.lists(PIECES, max_size=60).map(b"".join), st.sampled_from([80, 100, 1_000]))
def test_wherever_a_block_ends_every_return_path_goes(text: bytes, block: int) -> None:
    with patch.object(module, "BLOCK", block):             # a line of the text is shorter than that
        assume(max(map(len, text.split(b"\n"))) < block)
        assert b"".join(module.own_return_path(b"", BytesIO(text))) == line_by_line(text)


# --- tmp -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["tmp", "new", "cur"])
def test_a_missing_folder_is_made_again(tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once where we need it. `cur` is for readers: within the hour, which is over at once here."""
    deliver = Maildir(tmp_path)
    if missing == "cur":
        monkeypatch.setattr(module, "HOUR", 0.0)
    for expected in (1, 2):
        assert deliver(envelope(KENJI), BytesIO(LETTER)).code == 250
        assert len(kept(tmp_path)) == expected or missing == "new"
        shutil.rmtree(tmp_path / KENJI / missing)
    assert Maildir(tmp_path)(envelope(KENJI), BytesIO(LETTER)).code == 250     # and by another process
    assert sorted(path.name for path in (tmp_path / KENJI).iterdir()) == ["cur", "new", "tmp"]


def test_a_mailbox_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    deliver = Maildir(tmp_path / "mail")
    for gone in (tmp_path / "mail" / KENJI, tmp_path / "mail"):
        assert deliver(envelope(KENJI), BytesIO(LETTER)).code == 250
        shutil.rmtree(gone)
    assert deliver(envelope(KENJI), BytesIO(LETTER)).code == 250
    assert len(kept(tmp_path / "mail")) == 1


def leave(tmp: Path, name: str, hours: float) -> None:
    (tmp / name).write_bytes(b"half a let")
    os.utime(tmp / name, (time.time() - hours * 3600,) * 2)


def test_what_a_killed_delivery_left_is_swept_after_36_hours(tmp_path: Path) -> None:
    Maildir(tmp_path)(envelope(KENJI), BytesIO(LETTER))
    for name, hours in (("older", 36.1), ("ancient", 9_999.0), ("younger", 35.9), ("now", 0.0)):
        leave(tmp_path / KENJI / "tmp", name, hours)
    (tmp_path / KENJI / "tmp" / "folder").mkdir()
    os.utime(tmp_path / KENJI / "tmp" / "folder", (0, 0))
    leave(tmp_path / KENJI / "new", "old mail", 9_999.0)
    assert Maildir(tmp_path)(envelope(KENJI), BytesIO(LETTER)).code == 250
    assert sorted(path.name for path in (tmp_path / KENJI / "tmp").iterdir()) == ["folder", "now", "younger"]
    assert (tmp_path / KENJI / "new" / "old mail").exists()


def test_a_server_that_never_rests_sweeps_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver, now = Maildir(tmp_path), time.monotonic()
    deliver(envelope(KENJI), BytesIO(LETTER))
    leave(tmp_path / KENJI / "tmp", "old", 40.0)
    monkeypatch.setattr(time, "monotonic", lambda: now + 36 * 3600)
    assert deliver(envelope(KENJI), BytesIO(LETTER)).code == 250
    assert not list((tmp_path / KENJI / "tmp").iterdir())


def test_what_cannot_be_swept_keeps_no_letter_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an old file nor our own undoes a delivery: the letter has its name, and 250 is true."""
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    Maildir(tmp_path)(envelope(KENJI), BytesIO(LETTER))
    leave(tmp_path / KENJI / "tmp", "old", 40.0)
    monkeypatch.setattr(os, "unlink", broken)
    assert Maildir(tmp_path)(envelope(KENJI), BytesIO(LETTER)).code == 250
    assert len(kept(tmp_path)) == 2


def test_what_is_remembered_of_mailboxes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 5)
    deliver = Maildir(tmp_path)
    for number in range(23):
        assert deliver(envelope(f"user{number}@x.example"), BytesIO(LETTER)).code == 250
        assert len(deliver._seen) <= 5


@pytest.mark.parametrize("call", ["mkdir", "fsync", "link"])
def test_a_full_disk_is_452_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    deliver = Maildir(tmp_path)
    monkeypatch.setattr(os, call, full)
    assert deliver(envelope(KENJI), BytesIO(LETTER)).code == 452
    monkeypatch.undo()
    assert not kept(tmp_path) and deliver(envelope(KENJI), BytesIO(LETTER)).code == 250


def three_at_once(server: Server, sizes: tuple[int, int, int]) -> list[int]:
    """What three clients hear for letters of these sizes, to mailboxes that they share."""
    codes: dict[int, int] = {}

    def send(size: int) -> None:
        with smtplib.SMTP(*server.address) as smtp:
            try:
                smtp.sendmail("ana@rio.example", [KENJI, YUI], b"Subject: x\r\n\r\n" + b"x" * size)
                codes[size] = 250
            except smtplib.SMTPDataError as refused:
                codes[size] = refused.smtp_code

    clients = [threading.Thread(target=send, args=(size,)) for size in sizes]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return [codes[size] for size in sizes]


@posix
@pytest.mark.parametrize("number, code", [(errno.ENOSPC, 452), (errno.EDQUOT, 452), (errno.EIO, 451)])
@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_one_of_several_letters_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int,
                                            call: str, caplog: pytest.LogCaptureFixture) -> None:
    """Three letters are delivered together. The disk has no room for one of them, or is broken there."""
    link, fsync = os.link, os.fsync

    def large(size: int) -> None:
        if size > 5_000:
            raise OSError(number, os.strerror(number))

    def failing_link(source: Any, target: Any) -> None:
        large(os.stat(source).st_size)
        link(source, target)

    def failing_fsync(descriptor: int) -> None:
        large(0 if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        fsync(descriptor)

    def failing_blocks(*arguments: Any, **options: Any) -> Iterator[bytes]:
        for block in with_lf(*arguments, **options):
            large(len(block))
            yield block

    with_lf = module.with_lf
    monkeypatch.setattr(Tray, "take", in_threes())
    caplog.set_level(logging.CRITICAL + 1, "smtp_from_scratch")
    with Server(deliver=Maildir(tmp_path), stage="loop") as server:
        assert three_at_once(server, (1000, 2000, 3000)) == [250, 250, 250]
        where = {"write": (module, "with_lf", failing_blocks), "fsync": (os, "fsync", failing_fsync),
                 "link": (os, "link", failing_link)}[call]
        monkeypatch.setattr(*where)
        assert three_at_once(server, (1001, 6000, 3001)) == [250, code, 250]
        monkeypatch.setattr(*where[:2], {"write": with_lf, "fsync": fsync, "link": link}[call])
        assert three_at_once(server, (1002, 6001, 3002)) == [250, 250, 250]
    assert len(kept(tmp_path)) == 2 * 8 and not list(tmp_path.glob("*/tmp/*"))


@posix
def test_a_folder_that_cannot_be_synced_is_no_250_for_anybody_in_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing is left of those letters: their senders will send them again."""
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "the disk is broken")
        fsync(descriptor)

    monkeypatch.setattr(Tray, "take", in_threes())
    caplog.set_level(logging.CRITICAL + 1, "smtp_from_scratch")
    with Server(deliver=Maildir(tmp_path), stage="loop") as server:
        three_at_once(server, (1000, 2000, 3000))
        monkeypatch.setattr(os, "fsync", failing)
        assert three_at_once(server, (1001, 2001, 3001)) == [451, 451, 451]
        monkeypatch.setattr(os, "fsync", fsync)
    assert len(kept(tmp_path)) == 6 and not list(tmp_path.glob("*/tmp/*"))


# --- what is in the way of a name ------------------------------------------------------------------------------------


@pytest.mark.parametrize("people", [[KENJI, YUI], [KENJI, LI, YUI], [KENJI, KENJI.upper()]])
def test_received_names_nobody_when_there_are_several(tmp_path: Path, people: list[str]) -> None:
    """RFC 5321 §7.2: each would learn of the others."""
    with Server(deliver=Maildir(tmp_path)) as server, smtplib.SMTP(*server.address) as smtp:
        smtp.sendmail("ana@rio.example", people, LETTER)
    for file in kept(tmp_path):
        octets = file.read_bytes().lower()
        assert not any(address.lower().encode() in octets for address in people) and b"for <" not in octets


def test_a_folder_name_fits_whatever_the_address(tmp_path: Path) -> None:
    """A file system takes 255 octets; longer ones end in a digest, so that no two addresses share a folder."""
    names = set[str]()
    for length in range(150, 400):
        for last in "ab":
            address = f"kenji@{'t' * (length - 8)}.{last}"
            assert len(address) == length
            names.add(folder_name(address))
    assert len(names) == 500 and max(len(os.fsencode(name)) for name in names) <= 255
    longest = ("k" * 64 + "@" + "t" * 183 + ".example", '"' + "%" * 62 + '"@' + "t" * 60 + ".example", "é" * 120 + "@x")
    for address in longest:
        assert Maildir(tmp_path)(envelope(address), BytesIO(LETTER)).code == 250
    assert len(kept(tmp_path)) == 3


@posix
def test_the_names_of_new_folders_are_synced_before_the_letter_has_one(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    link = os.link

    def noted(folder: Path | str) -> None:
        calls.append(Path(folder).name)
        sync_folder(folder)

    monkeypatch.setattr(module, "sync_folder", noted)
    monkeypatch.setattr(together, "sync_folder", noted)
    monkeypatch.setattr(os, "link", lambda *names: (calls.append("link"), link(*names))[1])
    deliver = Maildir(tmp_path / "mail")
    assert calls[-1] == tmp_path.name                      # where the root's name is
    calls.clear()
    deliver(envelope(KENJI), BytesIO(LETTER))
    assert {"mail", KENJI} <= set(calls[: calls.index("link")]) and calls[calls.index("link"):] == ["link", "new"]
    calls.clear()
    deliver(envelope(KENJI), BytesIO(LETTER))
    assert calls == ["link", "new"]                        # that was durable already

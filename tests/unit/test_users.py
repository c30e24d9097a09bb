"""Users in a file: what is written, what is read, who reads meanwhile, and the commands for it."""
from __future__ import annotations

import io
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from smtp_from_scratch import users as users_file
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.auth import Auth, Users
from smtp_from_scratch.conversation import rehearse
from smtp_from_scratch.ehlo import ExtensionSet, check_requirements
from smtp_from_scratch.sasl import SMTPAuthenticationError
from smtp_from_scratch.scram import ScramSha256, scram_keys
from smtp_from_scratch.session import serve
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import open_session
from smtp_from_scratch.users import BadUserFile, UserFile

USER, PASSWORD = "user", "pencil"
KEYS = scram_keys(PASSWORD, b"a salt of 16 oct", 4096)
ODD = ["ana@rio.example", "a:b", "100%", "#1", "two words", "josé@exemplo.example", "用户@例え.example", "%41", "a%3Ab",
       "=,"]


def test_users_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "users"
    users = UserFile(path, create=True)
    for name in ODD:
        users.add(name, f"password of {name}", iterations=4096)
    assert users.names() == sorted(ODD) == UserFile(path).names()
    assert all(users.verify(name, f"password of {name}") and not users.verify(name, "x") for name in ODD)
    assert "password" not in path.read_text("utf-8")
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["users"]
    users.remove("100%")
    assert not users.verify("100%", "password of 100%") and len(users.names()) == len(ODD) - 1
    with pytest.raises(KeyError):
        users.remove("100%")
    users.add("a:b", "another", iterations=4096)
    assert users.verify("a:b", "another") and not users.verify("a:b", "password of a:b")
    with pytest.raises(ValueError):
        users.add("\x07", "x")
    with pytest.raises(ValueError):
        users.add("li", "")
    assert os.listdir(tmp_path) == ["users"] and len(users.names()) == len(ODD) - 1


def test_a_server_sees_what_changes_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users"
    UserFile(path, create=True).add("ana", "one", iterations=4096)
    server, elsewhere = UserFile(path), UserFile(path)
    assert server.verify("ana", "one")
    elsewhere.add("ana", "two", iterations=4096)
    assert server.verify("ana", "two") and not server.verify("ana", "one")
    elsewhere.remove("ana")
    assert not server.verify("ana", "two") and server.names() == []


def test_salts_of_unknown_users_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "users"
    UserFile(path, create=True).add("ana", "one", iterations=5000)
    first, second = UserFile(path), UserFile(path)
    before = first.scram_keys("nobody")
    assert before == second.scram_keys("nobody") and before.iterations == 5000
    second.add("li", "two", iterations=5000)
    assert first.scram_keys("nobody") == before


def test_what_people_write_into_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"# ours\r\n\r\nana:{KEYS.to_text()}\r\n")
    users = UserFile(path)
    assert users.verify("ana", PASSWORD)
    users.add("li", "two", iterations=4096)
    assert path.read_text().startswith(f"# ours\n\nana:{KEYS.to_text()}\nli:SCRAM-SHA-256$4096:")


@pytest.mark.parametrize("line, what", [
    ("ana", "line 2"), ("ana:secret", "line 2"), ("ana:" + KEYS.to_text()[:-4], "line 2"), (":!", "line 2"),
    ("a\x07:" + KEYS.to_text(), "control"), ("%ff:" + KEYS.to_text(), "line 2"), ("\udcff:" + KEYS.to_text(), "line 2"),
    ("%C2%AD:" + KEYS.to_text(), "line 2"), ("li:" + KEYS.to_text() + "\nli:" + KEYS.to_text(), "line 3")])
def test_a_file_that_cannot_be_understood(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"#\n{line}\n", "utf-8", "surrogateescape")
    with pytest.raises(BadUserFile, match=what) as caught:
        UserFile(path)
    assert "secret" not in str(caught.value)
    before = path.read_bytes()
    with pytest.raises(BadUserFile):
        users_file.rewrite(path, "x", "x:" + KEYS.to_text())
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["users"]


def visit(users: Users) -> None:
    """A client that logs in by SCRAM at a server with these users; raises what it raises."""
    theirs = Auth(user=USER, password=PASSWORD, mechanisms=[ScramSha256()], insecure=True)
    ours = Auth(users, mechanisms=[ScramSha256()], insecure=True)
    client = CodedClientSession("rio.example", check_requirements([theirs]))
    rehearse(open_session(client), serve(CodedSession("mx.example", extensions=ExtensionSet([ours]))), patient=True)


def test_a_file_that_breaks_while_we_serve_is_our_fault_and_not_the_clients(tmp_path: Path) -> None:
    path = tmp_path / "users"
    UserFile(path, create=True).add(USER, PASSWORD, iterations=4096)
    users = UserFile(path)
    path.write_text("nonsense\n")
    with pytest.raises(SMTPAuthenticationError) as caught:
        visit(users)
    assert caught.value.reply.code == 454
    path.unlink()
    with pytest.raises(SMTPAuthenticationError) as caught:
        visit(users)
    assert caught.value.reply.code == 454


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        UserFile(tmp_path / "users")
    users = UserFile(tmp_path / "users", create=True)
    assert users.names() == [] and not users.verify("ana", "x")


def test_who_reads_meanwhile_sees_an_old_or_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "users"
    users = UserFile(path, create=True)
    users.add("ana", "x", iterations=4096)
    over = threading.Event()
    trouble: list[object] = []

    def read() -> None:
        while not over.is_set():
            try:
                if "ana" not in UserFile(path).names():
                    trouble.append("ana is gone")
            except Exception as error:
                trouble.append(error)

    def write(number: int) -> None:
        for _ in range(3):
            UserFile(path).add(f"user {number}", "x", iterations=4096)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    assert trouble == [] and users.names() == ["ana", *(f"user {number}" for number in range(4))]


def test_an_update_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "users"
    users = UserFile(path, create=True)
    users.add("ana", "x", iterations=4096)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            users.add("li", "y", iterations=4096)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["users"]
    (tmp_path / "users.new").touch()
    monkeypatch.setattr(users_file, "PATIENCE", 0.1)
    with pytest.raises(FileExistsError, match="remove it"):
        users.add("li", "y", iterations=4096)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no symbolic links for everybody")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "users").symlink_to(tmp_path / "etc/users")
    UserFile(tmp_path / "users", create=True).add("ana", "x", iterations=4096)
    assert (tmp_path / "users").is_symlink() and UserFile(tmp_path / "etc/users").names() == ["ana"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no symbolic links for everybody")
def test_a_link_that_leads_elsewhere_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Kubernetes changes a secret: users -> data/users, and data -> one folder, then another."""
    for version, password in (("one", "old"), ("two", "new")):
        (tmp_path / version).mkdir()
        UserFile(tmp_path / version / "users", create=True).add("ana", password, iterations=4096)
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "users").symlink_to("data/users")
    monkeypatch.chdir(tmp_path)
    users = UserFile("users")
    monkeypatch.chdir("/")
    assert users.verify("ana", "old")
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(tmp_path / "data")
    assert users.verify("ana", "new") and not users.verify("ana", "old")
    users.add("li", "pencil", iterations=4096)
    assert UserFile(tmp_path / "two/users").names() == ["ana", "li"]
    assert UserFile(tmp_path / "one/users").names() == ["ana"] and (tmp_path / "users").is_symlink()


def test_a_file_that_is_taken_away_takes_its_users_with_it(tmp_path: Path) -> None:
    users = UserFile(tmp_path / "users", create=True)
    users.add("ana", "x", iterations=4096)
    assert users.verify("ana", "x")
    (tmp_path / "users").unlink()
    assert users.names() == [] and not users.verify("ana", "x")
    users.add("li", "y", iterations=4096)
    assert users.names() == ["li"] and users.verify("li", "y")


# --- the command line --------------------------------------------------------------------------------------------


def user(monkeypatch: pytest.MonkeyPatch, *words: str, typed: str = "") -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return main(["user", *words])


def test_user_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "users")
    assert user(monkeypatch, "add", path, "ana@rio.example", typed="pencil\n") == 0
    assert user(monkeypatch, "add", path, "li", typed="two words \r\n") == 0
    assert user(monkeypatch, "list", path) == 0
    assert capsys.readouterr().out == "ana@rio.example\nli\n"
    assert UserFile(path).verify("ana@rio.example", "pencil") and UserFile(path).verify("li", "two words ")
    assert user(monkeypatch, "remove", path, "li") == 0
    assert user(monkeypatch, "remove", path, "li") == 1
    assert user(monkeypatch, "add", path, "li", typed="") == 2
    assert user(monkeypatch, "add", path, "l\x07i", typed="x\n") == 2
    assert user(monkeypatch, "list", str(tmp_path / "none")) == 2
    assert "no user 'li'" in capsys.readouterr().err
    assert UserFile(path).names() == ["ana@rio.example"] and not (tmp_path / "none").exists()


def test_a_password_is_asked_for_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = iter(["pencil", "pencil", "pencil", "pen"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    monkeypatch.setattr(sys, "stdin", Terminal())
    path = str(tmp_path / "users")
    assert main(["user", "add", path, "ana"]) == 0
    assert main(["user", "add", path, "li"]) == 2
    assert UserFile(path).names() == ["ana"] and UserFile(path).verify("ana", "pencil")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs to see which files are open")
def test_a_file_is_closed_before_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows removes no file that is open: a name that is not there would stop all updates."""
    users = UserFile(tmp_path / "users", create=True)
    users.add(USER, PASSWORD, iterations=4096)
    unlink, removed = Path.unlink, []

    def only_closed(path: Path, missing_ok: bool = False) -> None:
        links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        assert str(path) not in [os.readlink(link) for link in links if os.path.lexists(link)], "it is open"
        removed.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", only_closed)
    with pytest.raises(KeyError):
        users.remove("nobody")
    assert removed == ["users.new"] and users.names() == [USER]

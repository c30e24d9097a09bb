"""250 is a promise: what `Maildir` asks of the disk, in which order, and what it leaves when anything breaks."""
from __future__ import annotations

import errno
import logging
import mailbox
import os
import smtplib
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Envelope, Maildir, Server
from smtp_from_scratch.envelope import few_quotes
from smtp_from_scratch.maildir import folder_name, trace, unique_name, with_lf

posix = pytest.mark.skipif(os.name == "nt", reason="Windows syncs no folders")
LETTER = b"Subject: hello\r\n\r\none\r\n.two\r\n"


def envelope(*recipients: str) -> Envelope:
    return Envelope("ana@rio.example", list(recipients) or ["kenji@tokyo.example"], "rio.example", "192.0.2.7")


def kept(root: Path) -> list[Path]:
    return sorted(root.glob("*/new/*"))


@posix
def test_the_file_is_synced_before_it_has_a_name_and_the_name_before_250(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = Maildir(tmp_path, "mx.example")
    deliver(envelope("kenji@tokyo.example", "yui@tokyo.example"), BytesIO(LETTER))
    calls: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}") if os.path.exists("/proc/self/fd") else ""
        path = Path(name)
        calls.append(f"fsync {path.name if path.is_dir() else path.parent.name}")
        fsync(descriptor)

    def noted_link(source: Any, target: Any) -> None:
        calls.append(f"link {Path(target).parent.parent.name}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    assert deliver(envelope("kenji@tokyo.example", "yui@tokyo.example"), BytesIO(LETTER)).code == 250
    assert calls == ["fsync tmp", "link kenji@tokyo.example", "link yui@tokyo.example", "fsync new", "fsync new"]


@pytest.mark.parametrize("call", ["fsync", "link"])
@pytest.mark.parametrize("number", range(1, 9))
def test_an_error_at_any_step_leaves_all_or_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    deliver, real, count = Maildir(tmp_path), getattr(os, call), [0]

    def failing(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == number:
            raise OSError(errno.EIO, "the disk is broken")
        return real(*arguments)

    monkeypatch.setattr(os, call, failing)
    recipients = ("kenji@tokyo.example", "yui@tokyo.example")
    try:
        deliver(envelope(*recipients), BytesIO(LETTER))
    except OSError:
        assert kept(tmp_path) == []
    else:
        assert count[0] < number and len(kept(tmp_path)) == 2
    assert not [path for path in tmp_path.rglob("*") if path.parent.name == "tmp"]
    monkeypatch.setattr(os, call, real)
    assert deliver(envelope(*recipients), BytesIO(LETTER)).code == 250          # and the next letter is delivered


def test_a_letter_is_whole_when_the_disk_takes_a_few_octets_at_a_time(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, octets: write(file, octets[:7]))
    assert Maildir(tmp_path)(envelope(), BytesIO(LETTER)).code == 250
    [path] = kept(tmp_path)
    assert path.read_bytes().endswith(LETTER.replace(b"\r\n", b"\n"))


def test_a_disk_that_is_full_in_the_middle_of_a_letter_is_452(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = os.write, [100]

    def full(file: int, octets: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(file, octets[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", full)
    assert Maildir(tmp_path)(envelope(), BytesIO(LETTER)).code == 452
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("number, code", [(errno.ENOSPC, 452), (errno.EDQUOT, 452), (errno.EIO, 451)])
def test_a_full_disk_is_452_and_a_broken_one_451(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int,
        caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with Server(deliver=Maildir(tmp_path)) as server, smtplib.SMTP(*server.address) as smtp, \
            caplog.at_level(logging.CRITICAL + 1, "smtp_from_scratch"):
        monkeypatch.setattr(os, "link", broken)
        with pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], LETTER)
        assert refused.value.smtp_code == code
        monkeypatch.undo()
        smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], LETTER)       # the session and the disk are usable
    assert len(kept(tmp_path)) == 1


HOSTILE = ['/etc/passwd@x.example', '"../../evil"@x.example', '".."@x.example', '"."@x.example', '"a/b"@x.example',
           '"a\\"b"@x.example', '"nul\0"@x.example', "é@x.example", "\udcff@x.example", "postmaster", "a:b@x.example",
           '"con"@x.example', "x" * 64 + "@" + "y." * 90 + "example", '"' + "%" * 60 + '"@' + "z." * 90 + "example"]


@pytest.mark.parametrize("address", HOSTILE)
def test_no_address_leaves_the_root(tmp_path: Path, address: str) -> None:
    root = tmp_path / "root"
    assert Maildir(root)(envelope(address), BytesIO(LETTER)).code == 250
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    [folder] = root.iterdir()
    assert folder.name == folder_name(address) and len(os.fsencode(folder.name)) <= 255
    assert sorted(path.name for path in folder.iterdir()) == ["cur", "new", "tmp"]


@given(st.text(max_size=300), st.text(max_size=300))
def test_two_addresses_share_a_folder_only_by_case_and_needless_quotes(one: str, other: str) -> None:
    same = few_quotes(one).lower() == few_quotes(other).lower()
    assert (folder_name(one) == folder_name(other)) == same


def test_quotes_make_no_second_mailbox(tmp_path: Path) -> None:
    recipients = ["kenji@x.example", '"kenji"@x.example', '"\\K\\enji"@x.example', '"ken ji"@x.example']
    assert Maildir(tmp_path)(envelope(*recipients), BytesIO(LETTER)).positive
    assert {path.name: len(list((path / "new").iterdir())) for path in tmp_path.iterdir()} == {
        "kenji@x.example": 1, folder_name('"ken ji"@x.example'): 1}


def test_mailbox_reads_what_we_write(tmp_path: Path) -> None:
    deliver = Maildir(tmp_path, "mx.tokyo.example")
    recipients = ["kenji@tokyo.example", "Kenji@tokyo.example", "yui@tokyo.example"]
    assert deliver(envelope(*recipients), BytesIO(LETTER)).positive
    for address in ("kenji@tokyo.example", "yui@tokyo.example"):
        [message] = mailbox.Maildir(tmp_path / address, create=False)
        assert message["Return-Path"] == "<ana@rio.example>" and message.get_payload() == "one\n.two\n"
        assert "from rio.example ([192.0.2.7])" in message["Received"] and " for " not in message["Received"]


def test_trace_names_the_only_recipient_and_an_ipv6_peer() -> None:
    single = envelope()
    single.peer, single.sender = "2001:db8::1", ""
    text = trace(single, "mx.example", "4711").decode()
    assert text.startswith("Return-Path: <>\r\nReceived: from rio.example ([IPv6:2001:db8::1])\r\n")
    assert "\tby mx.example with SMTP id 4711\r\n\tfor <kenji@tokyo.example>;\r\n" in text
    assert all(line.startswith(("\t", "Return-Path", "Received")) for line in text.splitlines())


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"xyz"]), max_size=40).map(b"".join), st.integers(1, 9))
def test_line_ends_at_block_borders(text: bytes, block: int) -> None:
    class Slow(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(block)

    assert b"".join(with_lf(Slow(text))) == text.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("value", ["BINARYMIME", "binarymime"])
def test_the_octets_of_a_binary_letter_stay_as_they_are(tmp_path: Path, value: str) -> None:
    """RFC 3030 §3: what is no text has no line ends; in a picture CR LF are two octets like any other."""
    picture = b"\x89PNG\r\n\x1a\n\r\r\n\n\0" + bytes(range(256)) + b"\r"
    body = b"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + picture
    sent = envelope()
    sent.parameters["BODY"] = value
    assert Maildir(tmp_path, "mx.example")(sent, BytesIO(body)).code == 250
    [file] = kept(tmp_path)
    assert file.read_bytes().startswith(b"Return-Path: <ana@rio.example>\r\n") and file.read_bytes().endswith(body)
    [letter] = mailbox.Maildir(str(file.parent.parent))
    assert letter["Return-Path"] == "<ana@rio.example>" and letter["Content-Type"] == "image/png"


@pytest.mark.parametrize("parameters", [{}, {"BODY": "8BITMIME"}, {"BODY": None}])
def test_the_lines_of_a_text_end_with_lf(tmp_path: Path, parameters: dict[str, str | None]) -> None:
    sent = envelope()
    sent.parameters.update(parameters)
    assert Maildir(tmp_path)(sent, BytesIO(LETTER)).code == 250
    assert b"\r" not in kept(tmp_path)[0].read_bytes()


def test_many_at_once(tmp_path: Path) -> None:
    deliver = Maildir(tmp_path)
    threads = [threading.Thread(target=lambda: [deliver(envelope(), BytesIO(LETTER)) for _ in range(10)])
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept(tmp_path)) == 80
    assert len({unique_name("a/b:c") for _ in range(1000)}) == 1000 and "/" not in unique_name("a/b:c")

"""Other people's programs fetch mail from our POP3 server: curl, mpop, fetchmail."""

from __future__ import annotations

import mailbox
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtp_from_scratch import Client, Maildir, Passwords, Pop3Server, Server, lab
from smtp_from_scratch.pop3 import scan
from tests.peers.test_interop import peer

KENJI, WORD = "kenji@tokyo.example", "tenor sax"
TRUST = lab.certificates("127.0.0.1", "localhost")
LETTERS = [b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n", b"Subject: long\r\n\r\n" + b"x" * 900 + b"\r\n",
           b"From: ana@rio.example\r\nSubject: many\r\n\r\n" + b"".join(b".%d\r\n" % n for n in range(20_000))]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three letters for Kenji, delivered by our server."""
    with Server(deliver=Maildir(tmp_path / "mail")) as tokyo, Client(*tokyo.address) as ana:
        for letter in LETTERS:
            ana.sendmail("ana@rio.example", KENJI, letter)
    return tmp_path


@pytest.fixture(params=["STLS", "TLS from the first octet on"])
def server(request: pytest.FixtureRequest, root: Path) -> Iterator[Pop3Server]:
    TRUST.save(root)
    with Pop3Server(root / "mail", Passwords({KENJI: WORD}), tls=TRUST.server,
                    implicit_tls=request.param != "STLS") as counter:
        yield counter


def implicit(server: Pop3Server) -> bool:
    return server._implicit is not None


def left(root: Path) -> int:
    return len(scan(str(root / "mail" / KENJI)))


def test_curl_fetches_from_us(root: Path, server: Pop3Server) -> None:
    curl = peer("curl", "apt-get install curl")
    address = ("pop3s" if implicit(server) else "pop3") + "://{}:{}/".format(*server.address)

    def fetch(path: str, *options: str) -> bytes:
        done = subprocess.run([curl, "-sS", "--max-time", "30", "--ssl-reqd", "--cacert", str(root / "ca.pem"),
                               "--user", f"{KENJI}:{WORD}", address + path, *options], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    sizes = [int(line.split()[1]) for line in fetch("").splitlines()]
    names = fetch("", "--request", "UIDL").split()[1::2]
    assert len(set(names)) == len(sizes) == 3
    for number, letter in enumerate(LETTERS, 1):
        found = fetch(str(number))
        assert found.endswith(letter) and len(found) == sizes[number - 1]
    assert fetch("", "--request", "TOP 1 2").endswith(b"Subject: dots\r\n\r\n.\r\n..\r\n")
    fetch("2", "--request", "DELE", "--head")
    assert left(root) == 2


def test_mpop_fetches_from_us(root: Path, server: Pop3Server) -> None:
    mpop = peer("mpop", "apt-get install mpop")
    box = root / "home"
    mailbox.Maildir(box)                       # makes it
    command = [mpop, f"--host={server.address[0]}", f"--port={server.address[1]}", f"--user={KENJI}", "--auth=user",
               f"--passwordeval=printf '%s' '{WORD}'", "--tls=on",
               f"--tls-starttls={'off' if implicit(server) else 'on'}",
               f"--tls-trust-file={root / 'ca.pem'}", f"--uidls-file={root / 'uidls'}", f"--delivery=maildir,{box}",
               "--file=/dev/null", "--received-header=off"]
    for options, kept in (("--keep=on", 3), ("--keep=on", 3), ("--keep=off", 0)):
        done = subprocess.run([*command, options], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert left(root) == kept and len(mailbox.Maildir(box)) == 3, "what it has seen it does not fetch again"
    home = sorted(len(mailbox.Maildir(box).get_bytes(key)) for key in mailbox.Maildir(box).keys())
    assert home[-1] > len(LETTERS[2]) - 20_010


def test_fetchmail_fetches_from_us(root: Path, server: Pop3Server) -> None:
    fetchmail = peer("fetchmail", "apt-get install fetchmail")
    kept, rc = root / "fetched", root / "rc"
    rc.write_text(f"poll localhost protocol POP3 port {server.address[1]} user '{KENJI}' password '{WORD}' "
                  f"{'ssl' if implicit(server) else 'sslproto tls1.2+'} no sslcertck "     # it wants a CommonName
                  f"mda 'cat >> {kept}' no keep\n")
    rc.chmod(0o600)
    done = subprocess.run([fetchmail, "-f", str(rc), "--pidfile", str(root / "pid"), "--nosyslog", "-vv"],
                          capture_output=True, timeout=60, env={**os.environ, "FETCHMAILHOME": str(root)})
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    text = kept.read_bytes()
    assert left(root) == 0 and b"\n.19999\n" in text and b"\n.\n..\n.x\nend\n" in text

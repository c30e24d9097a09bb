"""`serve --verify-senders` refuses a forgery, `--sign` signs what users write, and what is missing is said."""
from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest

from smtp_from_scratch import Envelope
from smtp_from_scratch.__main__ import main, parser
from smtp_from_scratch.cli.identity import checked
from smtp_from_scratch.resolver import NameTable

LETTER = b"From: ana@rio.example\r\nSubject: Choir\r\n\r\nSaturday.\r\n"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519",
                                  reason="cryptography is not installed: `python tools/setup_venv.py test` brings it")
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "key.pem"
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(*form))
    return path


def test_strangers_letters_are_checked_and_users_signed(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dns.resolver", reason="dnspython is not installed")
    zone = NameTable({"_dmarc.rio.example TXT": ["v=DMARC1; p=reject"]})
    monkeypatch.setattr("smtp_from_scratch.resolver.DnsResolver", lambda: zone)
    options = parser(["serve"]).parse_args(["serve", "--verify-senders", "--sign", f"rio.example:k1:{key}"])
    kept: list[bytes] = []

    def send(role: str) -> object:
        deliver = checked(lambda envelope, body: kept.append(body.read()), role, options, "mx.tokyo.example")
        return deliver(Envelope("eve@shady.example", ["kenji@tokyo.example"], "x", "192.0.2.1"), io.BytesIO(LETTER))

    assert getattr(send("smtp"), "code", None) == 550 and not kept
    for role in ("submission", "submissions", "lmtp"):
        send(role)
    assert [letter.partition(b":")[0] for letter in kept] == [b"DKIM-Signature", b"DKIM-Signature", b"From"]


MIME = b"From: ana@rio.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
EIGHT = MIME + "Content-Transfer-Encoding: 8bit\r\n\r\nSábado.\r\n".encode()
NO_MIME = "From: ana@rio.example\r\n\r\nSábado.\r\n".encode()


@pytest.mark.parametrize("letter, says", [(EIGHT, b"S=C3=A1bado."), (NO_MIME, "Sábado.".encode()),
                                          (LETTER, b"Saturday.")])
def test_what_is_signed_needs_no_change_on_the_way(letter: bytes, says: bytes, key: Path) -> None:
    from smtp_from_scratch.dkim import read_signature
    from smtp_from_scratch.fields import read_header
    from smtp_from_scratch.keys import signing_key
    from smtp_from_scratch.questions import Questions
    from smtp_from_scratch.trust import body_hash, check_signature

    options = parser(["serve"]).parse_args(["serve", "--sign", f"rio.example:k1:{key}"])
    kept: list[bytes] = []
    deliver = checked(lambda envelope, body: kept.append(body.read()), "submission", options, "mx.rio.example")
    deliver(Envelope("ana@rio.example", ["kenji@tokyo.example"]), io.BytesIO(letter))
    assert says in kept[0] and kept[0].count(b"\r\n\r\n") == 1

    fields, start = read_header(body := io.BytesIO(kept[0]))
    zone = NameTable({"k1._domainkey.rio.example TXT": [signing_key(key.read_bytes())[2]]})
    found = check_signature(fields[0], fields, lambda how: body_hash(body, start, how), Questions(zone), time.time())
    assert found.result == "pass" and read_signature(fields[0]).domain == "rio.example"


def test_what_is_missing_is_said(key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = str(tmp_path / "users")
    Path(users).touch()
    submission = ["--submission", "127.0.0.1:0", "--users", users, "--insecure-auth",
                  "--maildir", str(tmp_path / "mail")]
    for words, says in ((["--sign", f"rio.example:k1:{key}"], "--submission or"), (
            [*submission, "--verify-senders"], "--smtp HOST:PORT"), (
            [*submission, "--sign", "rio.example"], "DOMAIN:SELECTOR:KEYFILE"), (
            [*submission, "--sign", "rio.example:k1:/nowhere"], "cannot sign with /nowhere"), (
            [*submission, "--sign", f"rio.example:k1:{users}"], "no private key")):
        assert main(["serve", *words]) == 2
        assert says in capsys.readouterr().err


def test_without_the_libraries_it_says_what_to_install(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    assert main(["serve", "--smtp", "127.0.0.1:0", "--verify-senders", "--maildir", str(tmp_path / "mail")]) == 2
    assert "smtp-from-scratch[trust]" in capsys.readouterr().err

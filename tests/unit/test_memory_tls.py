"""The stand-in for TLS in a browser: its names and errors are those of `ssl`, and what it seals is sealed."""
from __future__ import annotations

import poplib
import smtplib
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtp_from_scratch import Client, Passwords, Pop3Server, Server, memory
from smtp_from_scratch.lab.wires.authority import Authority, certificates
from smtp_from_scratch.memory import notary, seal
from smtp_from_scratch.starttls import TLSLayer, server_context, unverified


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "trustme", notary)
    for target, name, part in seal.parts():
        monkeypatch.setattr(target, name, part)
    with memory.installed():
        yield


@pytest.fixture
def keys() -> Authority:
    return certificates("mx.tokyo.example", "127.0.0.1")


def shaken(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "mx.tokyo.example") -> tuple[TLSLayer, TLSLayer]:
    """Two layers after their handshake."""
    one, other = TLSLayer(client, name), TLSLayer(server, server_side=True)
    for _ in range(4):
        other.receive(one.send(b""))
        one.receive(other.send(b""))
    assert one.ready and other.ready
    return one, other


def test_a_session_under_tls_for_our_client_and_for_smtplib(keys: Authority) -> None:
    users = Passwords({"ana": "tides"})
    with Server(tls=keys.server, users=users) as server:
        with Client(*server.address, tls=keys.client, user="ana", password="tides") as client:
            assert client.session.secure and client.noop().code == 250
        with smtplib.SMTP(*server.address) as other:
            other.starttls(context=keys.client)
            assert other.login("ana", "tides")[0] == 235
    with Server(tls=keys.server, implicit_tls=True) as server:
        with smtplib.SMTP_SSL(*server.address, context=keys.client) as last:
            assert last.noop()[0] == 250


@pytest.mark.parametrize(("name", "why"), [
    ("mx.osaka.example", "Hostname mismatch, certificate is not valid for 'mx.osaka.example'."),
    ("10.0.0.1", "IP address mismatch, certificate is not valid for '10.0.0.1'."),
])
def test_another_name_is_not_believed(keys: Authority, name: str, why: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        shaken(keys.client, keys.server, name)
    assert raised.value.verify_message == why


def test_a_stranger_is_not_believed_unless_anybody_is(keys: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        shaken(certificates("mx.tokyo.example").client, keys.server)
    assert raised.value.verify_message == "unable to get local issuer certificate"
    shaken(unverified(), keys.server, "whoever.example")


def test_a_certificate_whose_key_somebody_else_has_is_not_believed(keys: Authority) -> None:
    thief = certificates("mx.tokyo.example").server
    thief.certificate = keys.server.certificate | {"private": thief.certificate["private"]}  # type: ignore[attr-defined]
    with pytest.raises(ssl.SSLError) as raised:
        shaken(keys.client, thief)
    assert raised.value.reason == "BAD_SIGNATURE"


def test_a_name_that_the_authority_never_signed_is_not_believed(keys: Authority) -> None:
    forged = keys.server.certificate["body"].replace("mx.tokyo", "mx.osaka")  # type: ignore[attr-defined]
    keys.server.certificate |= {"body": forged}  # type: ignore[attr-defined]
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(keys.client, keys.server, "mx.osaka.example")


def test_what_travels_cannot_be_read_and_not_be_changed(keys: Authority) -> None:
    client, server = shaken(keys.client, keys.server)
    large = b"It is a girl. " * 5000
    wire = client.send(large)
    assert b"girl" not in wire and server.receive(wire) == large
    again = client.send(b"NOOP\r\n")
    assert again != client.send(b"NOOP\r\n")
    changed = bytearray(again)
    changed[-1] ^= 1
    with pytest.raises(ConnectionAbortedError):
        server.receive(bytes(changed))
    assert server.ended


def test_every_cut_of_the_wire_gives_the_same(keys: Authority) -> None:
    client, server = shaken(keys.client, keys.server)
    heard = b"".join(server.receive(bytes([octet])) for octet in client.send(b"MAIL FROM:<>\r\n") + client.goodbye())
    assert heard == b"MAIL FROM:<>\r\n" and server.ended


def test_octets_in_the_clear_break_the_handshake(keys: Authority) -> None:
    with pytest.raises(ssl.SSLError) as raised:
        TLSLayer(keys.server, server_side=True).receive(b"EHLO me.example\r\n")
    assert raised.value.reason == "WRONG_VERSION_NUMBER"


def test_files_hold_what_was_written_to_them(keys: Authority, tmp_path: Path) -> None:
    ca, server = keys.save(tmp_path)
    client = ssl.create_default_context(cafile=str(ca))
    shaken(client, server_context(str(server)))
    (tmp_path / "empty").write_text("")
    with pytest.raises(ssl.SSLError):
        server_context(str(tmp_path / "empty"))


def test_poplib_fetches_under_tls(keys: Authority, tmp_path: Path) -> None:
    with Pop3Server(tmp_path, Passwords({"kenji": "tenor"}), tls=keys.server) as server:
        pop = poplib.POP3(*server.address)
        pop.stls(keys.client)
        assert pop.user("kenji") == b"+OK and the password?" and pop.pass_("tenor") == b"+OK welcome"
        assert pop.stat() == (0, 0) and pop.quit() == b"+OK goodbye"

"""Security arguments of `Client` and `Server`: each takes effect on the wire, or is refused when the object is made.

All combinations are made. What must happen is worked out here from the arguments alone; what happens is looked at from
outside: the octets that cross the wire, the replies that they get, and who the server believes to have spoken.
"""
from __future__ import annotations

import base64
import re
import socket
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client, Server, SMTPException, deliver, lab
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.auth import Auth, Passwords
from smtp_from_scratch.conversation import Conversation, read_reply, rehearse
from smtp_from_scratch.ehlo import EightBitMime, Extension, Size
from smtp_from_scratch.scram import Keys, scram_keys
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.starttls import StartTLS, TLSLayer, Upgrade
from smtp_from_scratch.wire import Reply
from tests.ours import TLS

USER, PASSWORD = "ana@rio.example", "tides"
DEFAULT: dict[str, Any] = {}                    # `extensions` is not given


class Nobody(Passwords):
    """A store that is empty, and says so to whoever asks for its truth."""

    def __len__(self) -> int:
        return 0


class Everything(Passwords):
    """A store for all mechanisms."""

    knows = frozenset({"verify", "secret", "scram_keys"})
    keys = Keys({USER: scram_keys(PASSWORD, iterations=4096)})

    def scram_keys(self, user: str) -> Any:
        return self.keys.scram_keys(user)


USERS, NOBODY = Everything({USER: PASSWORD}), Nobody({})

# --- the server ------------------------------------------------------------------------------------------------------


def server_lists() -> dict[str, dict[str, Any]]:
    """What `extensions` may be."""
    return {
        "default": DEFAULT, "1982": {"extensions": None}, "none": {"extensions": []},
        "plain": {"extensions": [Size(), EightBitMime()]}, "tls": {"extensions": [StartTLS(TLS.server)]},
        "auth": {"extensions": [Auth(USERS)]}, "both": {"extensions": [Auth(USERS), StartTLS(TLS.server)]},
    }


SERVERS = list(product(server_lists(), (False, True), (False, True), ("", "users", "nobody"), (False, True),
                       (False, True)))


def makes_sense(kind: str, tls: bool, implicit: bool, users: str, require: bool, insecure: bool) -> bool:
    """Whether a server with these arguments can do what each of them says."""
    listed = {"tls": {"tls"}, "auth": {"auth"}, "both": {"tls", "auth"}}.get(kind, set())
    sealed = tls or "tls" in listed
    return not (
        (implicit and (not tls or kind == "1982"))                  # no certificate; no TLS in 1982
        or (kind == "1982" and (tls or users))
        or (tls and not implicit and "tls" in listed) or (users and "auth" in listed)       # said in two places
        or ((require or insecure) and not users)                    # rules about nobody
        or (users and not sealed and not insecure))                 # users who can never log in


class Wire:
    """Flights as they cross the wire, from both ends."""

    def __init__(self) -> None:
        self.octets = b""

    def __call__(self, flight: bytes) -> Iterator[bytes]:
        self.octets += flight
        yield flight


def visit(server: Server, tls_first: bool, seal: bool, lines: list[str]) -> tuple[dict[str, Reply], bytes]:
    """A caller who says these lines: the reply to each, and what somebody on the way has seen."""
    wire = Wire()

    def call() -> Conversation[dict[str, Reply]]:
        if tls_first:
            yield Upgrade(TLSLayer(TLS.client, "localhost"))
        replies = {"": (yield from read_reply())}
        for line in [*(["EHLO rio.example", "STARTTLS"] if seal else []), *lines]:
            yield f"{line}\r\n".encode()
            replies[line] = yield from read_reply()
            if line == "STARTTLS":
                yield Upgrade(TLSLayer(TLS.client, "localhost"))
        return replies

    played = rehearse(call(), server._conversation("192.0.2.1"), cut=wire)
    return played.client, wire.octets


EHLO, LOGIN, MAIL = "EHLO rio.example", "AUTH PLAIN " + base64.b64encode(
    f"\0{USER}\0{PASSWORD}".encode()).decode(), "MAIL FROM:<ana@rio.example>"


@pytest.mark.parametrize("kind, tls, implicit, users, require, insecure", SERVERS)
def test_a_server_does_what_each_argument_says_or_is_not_made(kind: str, tls: bool, implicit: bool, users: str,
                                                             require: bool, insecure: bool) -> None:
    arguments: dict[str, Any] = {
        "tls": TLS.server if tls else None, "implicit_tls": implicit, "require_auth": require,
        "insecure_auth": insecure, "users": {"": None, "users": USERS, "nobody": NOBODY}[users], **server_lists()[kind]}
    if not makes_sense(kind, tls, implicit, users, require, insecure):
        with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):       # a sentence
            Server(**arguments)
        return
    server = Server(**arguments)
    try:
        look_at(server, kind, tls, implicit, users, require, insecure)
    finally:
        server.stop(0)


def look_at(server: Server, kind: str, tls: bool, implicit: bool, users: str, require: bool, insecure: bool) -> None:
    """Call a server in every way that its arguments are about."""
    logs_in, can_seal = 235 if users == "users" else 535, tls or kind in ("tls", "both")
    hello = "HELO rio.example" if kind == "1982" else EHLO
    replies, seen = visit(server, implicit, False, [hello, MAIL])
    assert (b"220 " in seen) == (not implicit), "implicit_tls: is the greeting in the clear?"
    assert replies[MAIL].code == (530 if require else 250), "require_auth: is MAIL of a stranger refused?"
    in_the_clear = offered(replies[hello])
    assert ("STARTTLS" in in_the_clear) == (can_seal and not implicit), "tls: is it offered?"
    if users and not implicit:
        assert ("AUTH" in in_the_clear) == insecure, "insecure_auth: who may log in on an open line?"
        assert visit(server, False, False, [EHLO, LOGIN])[0][LOGIN].code == (logs_in if insecure else 538)
    if can_seal:
        replies, seen = visit(server, implicit, not implicit, [EHLO, *[LOGIN] * bool(users), MAIL])
        assert MAIL.encode() not in seen, "is the line sealed?"
        assert not users or replies[LOGIN].code == logs_in, "users: do they log in?"
        assert replies[MAIL].code == (530 if require and logs_in != 235 else 250)


def offered(reply: Reply) -> set[str]:
    return {line.split()[0] for line in reply.lines[1:]}


def test_the_combinations_are_of_both_kinds() -> None:
    """The test above would be worth little if all, or none, were refused."""
    sense = [makes_sense(*case) for case in SERVERS]
    assert len(sense) == 336 and sense.count(True) > 60


@pytest.mark.parametrize("tls", [True, "server.pem"])
def test_a_server_takes_no_certificate_out_of_the_air(tls: Any) -> None:
    with pytest.raises(ValueError, match="a context with a certificate"):
        Server(tls=tls)


def test_arguments_of_the_full_set_are_not_dropped_either() -> None:
    for wrong in ({"require_tls": True}, {"require_auth": True}, {"insecure_auth": True},
                  {"users": USERS, "require_auth": True, "without": ["AUTH"]},
                  {"tls": TLS.server, "require_tls": True, "without": ["starttls"]}):
        with pytest.raises(ValueError):
            server_extensions(**wrong)          # type: ignore[arg-type]
    for wrong in ({"user": USER}, {"password": PASSWORD}, {"user": USER, "password": PASSWORD, "without": ["AUTH"]},
                  {"tls": TLS.client, "without": ["STARTTLS"]}):
        with pytest.raises(ValueError):
            client_extensions(**wrong)          # type: ignore[arg-type]
    assert "STARTTLS" not in {e.keyword for e in server_extensions(tls=TLS.server, without=["STARTTLS"])}
    assert "STARTTLS" not in {e.keyword for e in client_extensions(tls=TLS.client, require_tls=False,
                                                                   without=["STARTTLS"])}


SUBMISSION = "serve --submission 127.0.0.1:0 --tls-cert cert --users users"
SEND = "send --server 127.0.0.1:1 --from a@b.example --to c@d.example users"


@pytest.mark.parametrize("command, word", [
    (f"{SUBMISSION} --without AUTH", "AUTH"), (f"{SUBMISSION} --without STARTTLS", "STARTTLS"),
    ("serve --smtp 127.0.0.1:0 --insecure-auth", "users"), (f"{SEND} --starttls --without STARTTLS", "STARTTLS"),
    (f"{SEND} --user ana", "password"),
])
def test_nor_are_options_of_the_command_line(command: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cert").write_bytes(TLS.server_pem)
    Path("users").write_text("# nobody yet\n")
    assert main(command.split()) == 2
    assert word in capsys.readouterr().err


# --- the client ------------------------------------------------------------------------------------------------------


def client_lists() -> dict[str, dict[str, Any]]:
    """What `extensions` may be."""
    return {
        "default": DEFAULT, "1982": {"extensions": None}, "none": {"extensions": []},
        "plain": {"extensions": [Size(), EightBitMime()]}, "tls": {"extensions": [StartTLS(TLS.client, required=True)]},
        "auth": {"extensions": [Auth(user=USER, password=PASSWORD)]},
    }


CLIENTS = list(product(client_lists(), (None, False, True, "context"), (False, True), ("", USER), ("", PASSWORD),
                       (False, True)))


def can_be_made(kind: str, tls: Any, implicit: bool, user: str, password: str, insecure: bool) -> bool:
    """Whether a client with these arguments can do what each of them says."""
    starttls = bool(tls) and not implicit
    return not (
        bool(user) != bool(password)
        or (implicit and tls is False)
        or (kind == "1982" and (starttls or user or insecure))
        or (kind == "tls" and starttls) or (kind == "auth" and (user or insecure)))


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(TLS.save(tmp_path_factory.mktemp("ca"))[0])


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[str, Server]]:
    """Servers of three kinds: TLS and AUTH under it; TLS from the first octet on; all mechanisms, but never TLS."""
    with Server(tls=TLS.server, users=USERS) as both, Server(users=USERS, insecure_auth=True) as clear, \
            Server(tls=TLS.server, implicit_tls=True, users=USERS) as implicit:
        yield {"both": both, "implicit": implicit, "clear": clear}


def seen_by_eve(octets: bytes) -> str:
    """What can be read of what a client has said: all up to the handshake."""
    return re.split(rb"\x16\x03[\x01-\x03]", octets)[0].decode("latin-1")


@pytest.mark.parametrize("kind, tls, implicit, user, password, insecure", CLIENTS)
def test_a_client_does_what_each_argument_says_or_is_not_made(
        kind: str, tls: Any, implicit: bool, user: str, password: str, insecure: bool, ca_file: str,
        doors: dict[str, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)        # tls=True: the system's certificates
    arguments: dict[str, Any] = {
        "tls": TLS.client if tls == "context" else tls, "implicit_tls": implicit, "user": user, "password": password,
        "insecure_auth": insecure, **client_lists()[kind]}
    if not can_be_made(kind, tls, implicit, user, password, insecure):
        with socket.create_server(("127.0.0.1", 0)) as door:
            with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
                Client(*door.getsockname(), **arguments)
            door.setblocking(False)
            with pytest.raises(BlockingIOError):
                door.accept()                  # it did not even call
        return
    seals, logs_in = bool(tls) or implicit or kind == "tls", bool(user) or kind == "auth"
    for name, server in doors.items():
        if name == "implicit" and not implicit:
            continue                           # each would wait for the other to begin
        came, eve = attempt(server, arguments)
        if implicit:
            assert eve == "", "implicit_tls: was anything said in the clear?"
        if seals:
            assert not re.search("MAIL|AUTH|Subject", eve), "tls: did anything travel before the line was sealed?"
            assert all("S" in protocol.removeprefix("ESMTP") for protocol, _ in came) or kind == "1982"
            assert bool(came) == (name == ("implicit" if implicit else "both"))
        elif name == "clear":
            assert bool(came) == (insecure or not logs_in), "insecure_auth: may a password travel in the clear?"
        assert insecure or "AUTH" not in eve, "did something made of a password travel in the clear?"
        assert all(who == (USER if logs_in else "") for _, who in came), "user: who sent it?"


def attempt(server: Server, arguments: dict[str, Any]) -> tuple[list[tuple[str, str]], str]:
    """A client sends a letter: how it came, and as whose; and what of it Eve could read."""
    server.messages.clear()
    with lab.tap(server.address) as line:
        try:
            with Client("localhost", line.address[1], timeout=60.0, **arguments) as smtp:
                smtp.sendmail("ana@rio.example", "kenji@tokyo.example", b"Subject: tides\r\n\r\nlow\r\n")
        except (SMTPException, OSError):
            pass
    said = b"".join(said.data for said in line.transcript.said if said.role == "C")
    return [(letter.envelope.protocol, letter.envelope.user) for letter in server.messages], seen_by_eve(said)


def test_clients_of_both_kinds() -> None:
    sense = [can_be_made(*case) for case in CLIENTS]
    assert len(sense) == 384 and sense.count(True) > 60


@pytest.mark.parametrize("extensions", [
    [Auth(user=USER, password=PASSWORD), StartTLS(TLS.client, required=True)], [Auth(user=USER, password=PASSWORD)]])
def test_a_login_comes_after_tls_in_whatever_order_they_are_named(extensions: list[Extension],
                                                                  doors: dict[str, Server]) -> None:
    tls = {} if len(extensions) > 1 else {"tls": TLS.client}
    came, eve = attempt(doors["both"], {"extensions": extensions, **tls})
    assert came == [("ESMTPSA", USER)] and "AUTH" not in eve


def test_insecure_auth_is_about_login_too(doors: dict[str, Server]) -> None:
    for insecure in (False, True):
        with Client(*doors["clear"].address, timeout=60.0, insecure_auth=insecure) as smtp:
            if insecure:
                smtp.login(USER, PASSWORD)
                assert smtp.session.user == USER
            else:
                with pytest.raises(SMTPException, match="not sealed"):
                    smtp.login(USER, PASSWORD)


def test_a_user_without_tls_is_told_what_to_do(doors: dict[str, Server]) -> None:
    with pytest.raises(SMTPException, match="pass tls=True"):
        Client(*doors["both"].address, timeout=60.0, user=USER, password=PASSWORD)
    with Server(tls=TLS.server, users=USERS, insecure_auth=True) as server, \
            pytest.raises(SMTPException, match="pass tls=True"):
        Client(*server.address, timeout=60.0, user=USER, password=PASSWORD)
    with pytest.raises(SMTPException) as refusal:
        Client(*doors["clear"].address, timeout=60.0, user=USER, password=PASSWORD)
    assert "tls=True" not in str(refusal.value), "there is no TLS to be had"


def test_a_whole_session_keeps_the_same_promises(doors: dict[str, Server]) -> None:
    with pytest.raises(ValueError):
        deliver(doors["both"].address, [], extensions=None, tls=TLS.client)
    with lab.tap(doors["clear"].address) as line, pytest.raises(SMTPException):
        deliver(line.address, [], user=USER, password=PASSWORD)
    assert b"AUTH" not in b"".join(said.data for said in line.transcript.said if said.role == "C")

"""Attacks on what extensions added, octet by octet, at both ends: each test says what must come.

`ELSEWHERE` names attacks that other tests or dialogues play already; the names are checked.
"""
from __future__ import annotations

import base64
import logging
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client, Envelope, Reply, Server, SMTPException, lab
from smtp_from_scratch.auth import Auth, CramMd5, Login, Passwords, Plain, cram_md5
from smtp_from_scratch.client import SMTPNotSupportedError, SMTPServerDisconnected
from smtp_from_scratch.conformance.server.runner import all_dialogues
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Disconnected, Line, Timeout, read_reply, rehearse
from smtp_from_scratch.dsn import request
from smtp_from_scratch.ehlo import ExtensionSet
from smtp_from_scratch.message import outgoing
from smtp_from_scratch.session import Limits, serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.starttls import TLSLayer, Upgrade
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import OutgoingMessage, open_session
from smtp_from_scratch.wire import BadReply, WireError, encode_reply, parse_reply
from tests.ours import PASSWORD, TLS, USER, USERS
from tests.whole_session import whole_session

HERE = Path(__file__).parents[1]
ELSEWHERE = {
    "smuggling at the server of 1982, the terminator cut": ["unit/test_session.py::test_nothing_is_smuggled",
                                                            "unit/test_session.py::test_however_the_octets_are_cut"],
    "smuggling by our client": ["unit/test_client.py::test_half_a_letter_has_no_end"],
    "commands injected behind STARTTLS": ["unit/test_starttls.py::test_commands_injected_behind_starttls",
                                          "unit/test_starttls.py::test_what_stands_behind_starttls_breaks_the_handshake",
                                          "dialogue: A transaction behind STARTTLS in one segment"],
    "all is forgotten under TLS": ["unit/test_starttls.py::test_what_extensions_noted_and_who_logged_in_are_forgotten",
                                   "dialogue: A sender given in the clear is no sender under TLS",
                                   "dialogue: The name of EHLO is forgotten"],
    "a command between 220 and the handshake": ["unit/test_starttls.py::test_a_command_between_220_and_the_handshake"],
    "STARTTLS twice, with an argument, a failed handshake": [
        "unit/test_starttls.py::test_starttls_is_refused_where_it_makes_no_sense", "dialogue: STARTTLS twice",
        "dialogue: STARTTLS with an argument", "unit/test_starttls.py::test_a_handshake_that_fails_ends_the_session"],
    "replies injected into the client": ["unit/test_starttls.py::test_replies_injected_into_the_client"],
    "stripping": ["unit/test_starttls.py::test_stripping",
                  "unit/test_starttls.py::test_a_refusal_stops_a_client_that_requires_tls"],
    "certificates": ["unit/test_starttls.py::test_a_certificate_that_is_not_believed",
                     "unit/test_starttls.py::test_a_name_that_is_not_the_servers",
                     "unit/test_starttls.py::test_the_servers_name_is_said",
                     "unit/test_starttls.py::test_nothing_older_than_tls_1_2"],
    "SCRAM": ["unit/test_scram.py::test_a_first_message_that_is_none",
              "unit/test_scram.py::test_a_final_message_that_proves_nothing",
              "unit/test_scram.py::test_235_without_a_proof_is_not_believed",
              "unit/test_scram.py::test_a_client_gives_up_before_it_has_proved_anything",
              "unit/test_scram.py::test_an_unknown_user_is_examined_like_a_known_one"],
    "AUTH too long for its line": [
        "conformance/test_requirements_client.py::test_a_response_that_is_too_long_for_the_command_comes_later"],
    "a letter cut off in the middle": [
        "unit/test_server.py::test_a_client_that_vanishes_in_the_middle_of_a_body_delivers_nothing"],
    "a line of 25 MB": ["unit/test_server.py::test_a_line_of_25_megabytes_without_an_end"],
    "slow and silent callers": ["unit/test_server.py::test_one_octet_at_a_time_does_not_reset_the_clock",
                                "unit/test_server.py::test_who_never_reads_is_cut_off",
                                "unit/test_starttls.py::test_a_slow_client_hello"],
}


@pytest.mark.parametrize("attack", ELSEWHERE)
def test_what_is_proved_elsewhere_is_there(attack: str) -> None:
    titles = {dialogue.title for dialogue in all_dialogues()}
    for name in ELSEWHERE[attack]:
        file, _, test = name.partition("::")
        if name.startswith("dialogue: "):
            assert name.removeprefix("dialogue: ") in titles, name
        else:
            assert f"def {test}" in (HERE / file).read_text("utf-8"), name


# --- tools -----------------------------------------------------------------------------------------------------------

HELLO = b"EHLO evil.example\r\n"
ENVELOPE = HELLO + b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n"


@dataclass
class Told:
    """What a client that said everything at once was told, and what the server kept."""

    replies: list[Reply]
    letters: list[tuple[Envelope, bytes]]
    session: CodedSession

    @property
    def codes(self) -> str:
        """All codes behind the greeting, with their enhanced ones."""
        return " ".join(f"{reply.code}{'/' + match[0] if (match := re.match(ENHANCED, reply.text)) else ''}"
                        for reply in self.replies[1:])

    @property
    def plain(self) -> list[int]:
        return [reply.code for reply in self.replies[1:]]


ENHANCED = r"[245]\.\d+\.\d+"


def told(octets: bytes, *, tls: bool = False, max_size: int = 5000, without: tuple[str, ...] = (),
         **options: Any) -> Told:
    """Say all of it at once to our server, under TLS if you like, and listen."""
    letters: list[tuple[Envelope, bytes]] = []
    settings = {name: options.pop(name) for name in ("deliver", "accept_recipient") if name in options}
    settings.setdefault("deliver", lambda envelope, body: letters.append((envelope, body.read())))
    extensions = server_extensions(**{"tls": TLS.server, "users": USERS, "without": without, **options})
    session = CodedSession("mx.example", extensions=ExtensionSet(extensions), limits=Limits(max_size), **settings)

    def client() -> Conversation[list[Reply]]:
        replies = []
        try:
            if tls:
                yield from read_reply()
                yield HELLO + b"STARTTLS\r\n"
                yield from read_reply()
                replies.append((yield from read_reply()))
                yield Upgrade(TLSLayer(TLS.client, "mx.example.org"))
            yield octets
            while True:
                replies.append((yield from read_reply(1.0)))
        except (Timeout, Disconnected):
            return replies

    return Told(rehearse(client(), serve(session), patient=True).client, letters, session)


# --- §1 smuggling ----------------------------------------------------------------------------------------------------

FALSE_ENDS = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\rX", b"\r\n\0.\r\n",
              b"\r\n.\0\r\n")
SMUGGLED = b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"


@pytest.mark.parametrize("end", FALSE_ENDS)
@pytest.mark.parametrize("limit", [5000, 30], ids=["within the limit", "while too large"])
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_nothing_is_smuggled_by_a_false_end(end: bytes, limit: int, tls: bool) -> None:
    body = b"Subject: a\r\n\r\nx" + b"y" * 30 * (limit == 30)
    came = told(ENVELOPE + b"DATA\r\n" + body + end + SMUGGLED + b"\r\n.\r\nNOOP\r\n", tls=tls, max_size=limit)
    *before, last, noop = came.plain
    assert before == [250, 250, 250, 354] and noop == 250
    if last == 250:                            # no CR and no LF stands alone in it: then it is one letter
        assert len(came.letters) == 1 and b"MAIL FROM:<evil" in came.letters[0][1]
    else:
        assert last in (552, 554) and not came.letters


@pytest.mark.parametrize("body, kept", [(b".\r\n", b""), (b"..\r\n.\r\n", b".\r\n")])
def test_an_end_may_come_at_once(body: bytes, kept: bytes) -> None:
    came = told(ENVELOPE + b"DATA\r\n" + body + b"NOOP\r\n")
    assert came.plain == [250, 250, 250, 354, 250, 250] and [octets for _, octets in came.letters] == [kept]


@pytest.mark.parametrize("end", [b"\n.\r\n", b"\r.\r", b"\n.\n", b"\r\n.\r\n"])
@pytest.mark.parametrize("without", [("CHUNKING",), ()], ids=["DATA", "BDAT"])
def test_our_client_smuggles_nothing(end: bytes, without: tuple[str, ...]) -> None:
    body = b"Subject: a\r\n\r\nx" + end + SMUGGLED
    letters, client = [], CodedClientSession("c.example", tuple(client_extensions(without=without)))
    session = CodedSession("mx.example", lambda envelope, octets: letters.append(octets.read()),
                              extensions=ExtensionSet(server_extensions()))
    sent = (outgoing(Envelope("a@x.example", ["b@y.example"]), body, eight_bit=client.uses("8BITMIME"))
            for _ in range(1))
    [receipt] = rehearse(whole_session(client, sent), serve(session)).client
    assert receipt.accepted and letters == [re.sub(rb"\r\n|\r|\n", b"\r\n", body) + b"\r\n"]


@pytest.mark.parametrize("octets", [b"a\nb", b"a\rb", b"x\n.\nMAIL FROM:<evil@x.example>\r\n", b"\r", b"a\r\n\n"])
def test_bare_line_ends_in_chunks_are_refused_unless_the_letter_is_binary(octets: bytes) -> None:
    chunk = b"BDAT %d LAST\r\n%s" % (len(octets), octets)
    came = told(ENVELOPE + chunk + b"NOOP\r\n")
    assert came.codes.endswith("554/5.6.0 250/2.0.0") and not came.letters
    came = told(ENVELOPE.replace(b"<a@x.example>", b"<a@x.example> BODY=BINARYMIME") + chunk + b"NOOP\r\n")
    assert came.plain[-2:] == [250, 250] and [kept for _, kept in came.letters] == [octets]


# --- §2 STARTTLS -----------------------------------------------------------------------------------------------------

def test_who_logged_in_before_starttls_is_nobody_under_tls() -> None:
    """STARTTLS behind AUTH (RFC 3207 §4.2): whatever is answered, nobody is logged in under TLS."""
    plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())

    def hear(count: int) -> Conversation[list[int]]:
        codes = []
        for _ in range(count):
            codes.append((yield from read_reply()).code)
        return codes

    def client() -> Conversation[list[int]]:
        yield HELLO + b"AUTH PLAIN " + plain + b"\r\nSTARTTLS\r\n"
        codes = yield from hear(4)
        if codes[-1] == 220:
            yield Upgrade(TLSLayer(TLS.client, "mx.example.org"))
            yield HELLO + b"MAIL FROM:<a@x.example>\r\n"
            codes += yield from hear(2)
        return codes

    extensions = server_extensions(tls=TLS.server, users=USERS, insecure_auth=True, require_auth=True)
    session = CodedSession("mx.example", extensions=ExtensionSet(extensions))
    codes = rehearse(client(), serve(session)).client
    assert codes in ([220, 250, 235, 503], [220, 250, 235, 220, 250, 530])


# --- §3 AUTH ---------------------------------------------------------------------------------------------------------

GOOD = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())


def b64(text: bytes) -> bytes:
    return base64.b64encode(text)


@pytest.mark.parametrize("command",
                         [b"AUTH PLAIN " + GOOD, b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH SCRAM-SHA-256", b"AUTH X"])
def test_auth_in_the_clear_is_neither_offered_nor_looked_at(command: bytes) -> None:
    came = told(HELLO + command + b"\r\nNOOP\r\n")
    assert not any(line.startswith("AUTH") for line in came.replies[1].lines)
    assert came.codes.endswith("538/5.7.11 250/2.0.0") and not came.session.user


@pytest.mark.parametrize("said, codes", [
    (b"AUTH PLAIN " + GOOD, "235/2.7.0"),
    (b"AUTH PLAIN\r\n" + GOOD, "334 235/2.7.0"),
    (b"AUTH PLAIN " + GOOD + b"\r\nAUTH PLAIN " + GOOD, "235/2.7.0 503/5.5.1"),
    (b"MAIL FROM:<a@x.example>\r\nAUTH PLAIN " + GOOD, "250/2.1.0 503/5.5.1"),
    (b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nAUTH PLAIN " + GOOD, "250/2.1.0 250/2.1.5 503/5.5.1"),
    (b"AUTH PLAIN\r\n*", "334 501/5.7.0"),
    (b"AUTH LOGIN\r\n*", "334 501/5.7.0"),
    (b"AUTH LOGIN\r\ndGlt\r\n*", "334 334 501/5.7.0"),
    (b"AUTH PLAIN !!!", "501/5.5.2"), (b"AUTH PLAIN\r\nAHR", "334 501/5.5.2"),
    (b"AUTH PLAIN " + GOOD + b"=", "501/5.5.2"),
    (b"AUTH PLAIN AAAA====", "501/5.5.2"),
    (b"AUTH PLAIN " + GOOD[:4] + b" " + GOOD[4:], "501/5.5.2"), (b"AUTH PLAIN ==", "501/5.5.2"),
    (b"AUTH PLAIN =", "501/5.5.2"), (b"AUTH PLAIN\r\n", "334 501/5.5.2"),
    (b"AUTH PLAIN\r\n" + b"A" * 12_300, "334 500/5.5.6"),
    (b"AUTH PLAIN\r\n" + b"A" * 12_284 + b"\r\n" + GOOD, "334 501/5.5.2 500/5.5.1"),
    (b"AUTH X-NONE", "504/5.5.4"), (b"AUTH", "501/5.5.4"), (b"AUTH PLAINX " + GOOD, "504/5.5.4"),
    (b"AUTH CRAM-MD5 " + b64(b"tim 0"), "501/5.7.0"),
    (b"AUTH PLAIN " + b64(b"\0tim\0wrong"), "535/5.7.8"), (b"AUTH PLAIN " + b64(b"\0nobody\0wrong"), "535/5.7.8"),
    (b"AUTH LOGIN\r\n" + b64(b"nobody") + b"\r\n" + b64(b"x"), "334 334 535/5.7.8"),
    (b"AUTH LOGIN dGlt\r\n" + b64(PASSWORD.encode()), "334 235/2.7.0"),
    (b"AUTH CRAM-MD5\r\n" + b64(b"nobody 00"), "334 535/5.7.8"), (b"AUTH CRAM-MD5\r\n" + b64(b"\xff"), "334 501/5.5.2"),
    (b"AUTH PLAIN " + b64(b"\0tim\0wrong") + b"\r\nAUTH PLAIN " + GOOD, "535/5.7.8 235/2.7.0"),
    ((b"AUTH PLAIN " + b64(b"\0tim\0wrong") + b"\r\n") * 2 + b"AUTH PLAIN " + b64(b"\0tim\0bad") + b"\r\nNOOP",
     "535/5.7.8 535/5.7.8 421/4.7.0"),
])
def test_what_auth_answers(said: bytes, codes: str) -> None:
    came = told(HELLO + said + b"\r\n", tls=True)
    assert came.codes == f"250 {codes}"
    assert bool(came.session.user) == ("235" in codes)


@pytest.mark.parametrize("message", [
    b"", b"\0", b"tim\0tanstaaftanstaaf", b"\0tim\0tanstaaftanstaaf\0", b"\0\0tanstaaftanstaaf", b"\0tim\0", b"\0\0",
    b"\xff\0tim\0tanstaaftanstaaf", b"\0\xff\0tanstaaftanstaaf", b"\0tim\0\xff"])
def test_plain_has_three_parts_of_utf_8(message: bytes) -> None:
    came = told(HELLO + b"AUTH PLAIN " + (b64(message) or b"=") + b"\r\n", tls=True)
    assert came.codes == "250 501/5.5.2" and not came.session.user


@pytest.mark.parametrize("identity, code", [(b"", 235), (b"tim", 235), (b"root", 535), (b"TIM", 535)])
def test_nobody_acts_for_somebody_else(identity: bytes, code: int) -> None:
    came = told(HELLO + b"AUTH PLAIN " + b64(identity + b"\0tim\0" + PASSWORD.encode()) + b"\r\n", tls=True)
    assert came.plain == [250, code]


def test_an_unknown_user_is_told_what_a_known_one_is_told() -> None:
    for mechanism, said in (("PLAIN", [b"\0%b\0wrong"]), ("LOGIN", [b"%b", b"wrong"]), ("CRAM-MD5", [b"%b 0000"])):
        lines = [b"AUTH " + mechanism.encode(), *(b64(line % ((name,) if b"%b" in line else ())) for name in (b"tim",)
                                                  for line in said)]
        other = [lines[0], *(b64(line % ((b"eve",) if b"%b" in line else ())) for line in said)]
        answers = [told(HELLO + b"\r\n".join(these) + b"\r\n", tls=True).replies[-1] for these in (lines, other)]
        assert answers[0] == answers[1] and answers[0].code == 535


def test_prompts_of_login_are_those_that_clients_know() -> None:
    came = told(HELLO + b"AUTH LOGIN\r\ndGlt\r\nx\r\n", tls=True)
    assert [reply.text for reply in came.replies[2:4]] == ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"]


def test_cram_md5_has_the_value_of_rfc_2195() -> None:
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert cram_md5("tanstaaftanstaaf", challenge) == "b913a602c7eda7a495b4e6e7334d3890"


@pytest.mark.parametrize("offer, insecure, said", [
    ("AUTH PLAIN LOGIN", False, ""), ("AUTH PLAIN LOGIN", True, "AUTH PLAIN "), ("AUTH LOGIN", True, "AUTH LOGIN"),
    ("AUTH PLAIN CRAM-MD5", False, ""), ("AUTH CRAM-MD5", True, "AUTH CRAM-MD5"),
    ("SIZE 1", False, ""), ("AUTH X", True, "")])
def test_our_client_says_no_password_in_the_clear_unless_told(offer: str, insecure: bool, said: str) -> None:
    heard: list[str] = []

    def server() -> Conversation[None]:
        yield Reply(220, "mx")
        yield Line()
        yield Reply(250, f"mx\n{offer}")
        heard.append((yield Line()).decode())

    auth = Auth(user=USER, password=PASSWORD, insecure=insecure, mechanisms=(Plain(), Login(), CramMd5()))

    def client() -> Conversation[str]:
        try:
            yield from open_session(CodedClientSession("c.example", (auth,)))
        except SMTPNotSupportedError as error:
            return str(error)
        except Disconnected:
            return ""

    with_reason = rehearse(client(), quiet(server())).client
    assert heard == [] if not said else heard[0].startswith(said)
    assert bool(with_reason) == (not said)
    assert PASSWORD not in with_reason


def quiet(talk: Conversation[None]) -> Conversation[None]:
    """Nobody minds when the client hangs up."""
    try:
        yield from talk
    except Disconnected:
        pass


@pytest.mark.usefixtures("stage")
def test_no_secret_in_logs_reprs_and_transcripts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "smtp_from_scratch")
    transcript, shown = lab.Transcript(), list[str]()
    extensions = server_extensions(users=USERS, insecure_auth=True)
    with Server(extensions=extensions, tap=lab.Transcript()) as server:
        for mechanism in (Plain(), Login()):
            with Client(*server.address, tap=transcript) as smtp:
                smtp.login(USER, PASSWORD, mechanisms=[mechanism], insecure=True)
                with pytest.raises(SMTPException) as error:
                    smtp.login(USER, "wrong-password", mechanisms=[mechanism], insecure=True)
                shown += [repr(smtp), repr(smtp.session), str(error.value)]
    shown += [caplog.text, str(transcript), repr(Passwords({USER: PASSWORD})), repr(USERS), repr(extensions),
              repr(Auth(user=USER, password=PASSWORD))]
    secrets = [PASSWORD, "wrong-password", b64(PASSWORD.encode()).decode(), GOOD.decode()]
    for text in shown:
        assert not [secret for secret in secrets if secret in text]


# --- §4 one line is one line -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("bad", ["\r\nRCPT TO:<evil@x.example>", "\r", "\n", "\0", "\u2028\r\n"])
@pytest.mark.parametrize("where",
                         ["hostname", "sender", "recipient", "verify", "user", "password", "envid", "orcpt", "docmd"])
def test_nothing_is_said_when_an_argument_would_be_more_than_one_line(where: str, bad: str) -> None:
    said: list[bytes] = []

    def tap(record: Any) -> None:
        if record.role == "C":
            said.append(record.data)

    extensions = server_extensions(users=USERS, insecure_auth=True)
    with Server(extensions=extensions) as server, Client(*server.address, tap=tap) as smtp:
        said.clear()
        envelope = Envelope("a@x.example", ["b@y.example"])
        deeds: dict[str, Callable[[], Any]] = {
            "hostname": lambda: Client(*server.address, local_hostname=f"c{bad}.example", tap=tap),
            "sender": lambda: smtp.sendmail(f"a@x.example>{bad}", "b@y.example", b"x"),
            "recipient": lambda: smtp.sendmail("a@x.example", f"b@y.example>{bad}", b"x"),
            "verify": lambda: smtp.verify(f"b{bad}"),
            "user": lambda: smtp.login(f"tim{bad}", PASSWORD, insecure=True, mechanisms=[Plain()]),
            "password": lambda: smtp.login("tim", f"x{bad}", insecure=True, mechanisms=[Plain()]),
            "envid": lambda: request(envelope, envid=f"id{bad}"),
            "orcpt": lambda: request(envelope, orcpt={"b@y.example": f"b@y.example{bad}"}),
            "docmd": lambda: smtp.docmd("NOOP", f"x{bad}"),
        }
        if where in ("user", "password") and bad != "\0":
            with pytest.raises(SMTPException):               # it travels in base64, and is merely wrong
                deeds[where]()
            assert len(said) == 1 and said[0].count(b"\r\n") == 1
            return
        if where == "orcpt" and not bad.isascii():           # it is written out in ASCII (RFC 6533 §3)
            assert "\n" not in str(deeds[where]().options) and not said
            return
        with pytest.raises(ValueError):
            deeds[where]()
        assert said == []


@pytest.mark.parametrize("command, code", [
    (b"NOOP a\0b", 501), (b"MAIL FROM:<a\0@x.example>", 501), (b"NOOP \xc3\xa9", 501), (b"NOOP \xff", 501),
    (b"MAIL FROM:<\xff@x.example> SMTPUTF8", 501), (b"MAIL FROM:<jos\xc3\xa9@x.example>", 550),
    (b"MAIL FROM:<a@jos\xc3\xa9.example>", 550), (b"VRFY jos\xc3\xa9", 553), (b"VRFY jos\xff SMTPUTF8", 501),
    (b"MAIL FROM:<jos\xc3\xa9@x.example> SMTPUTF8", 250), (b"MAIL FROM:<\xc3\xa9\xc3@x.example> SMTPUTF8", 501),
    (b"MAIL FROM:<\xed\xa0\x80@x.example> SMTPUTF8", 501), (b"MAIL FROM:<\xc0\xaf@x.example> SMTPUTF8", 501),
    (b"\xc3\xa9", 500), (b"MAIL FROM:<a@x.example> X=\xc3\xa9", 550), (b"HELO \xc3\xa9", 501), (b"EHLO \xc3\xa9", 501),
])
def test_octets_above_127_where_they_are_announced(command: bytes, code: int) -> None:
    came = told(HELLO + command + b"\r\nNOOP\r\n")
    assert came.plain in ([250, code, 250], [250, 501, 250] if code == 500 else [])


@pytest.mark.parametrize("line", [b"NOOP a\rMAIL FROM:<a@x.example>\r\n", b"MAIL FROM:<a@x.example>\n", b"NOOP\r\r\n",
                                  b"NOOP\n\r\n", b"NOOP\rRSET\nQUIT\r\n",
                                  b"MAIL FROM:<a@x.example>\nMAIL FROM:<a@x.example>\r\n"])
def test_a_line_ends_with_cr_lf_and_nothing_else(line: bytes) -> None:
    came = told(HELLO + line + b"NOOP\r\n" * (not line.endswith(b"\r\n")) + b"NOOP\r\n")
    assert set(came.plain[1:-1]) == {500} and came.plain[-1] == 250 and came.session.state == "ready"


@pytest.mark.parametrize("text", ["ok\r\n550 x", "ok\n550 x", "ok\r550 x", "250 ok\r\n\r\n", "a\0b"])
def test_a_policy_cannot_say_two_replies(text: str) -> None:
    came = told(ENVELOPE + b"NOOP\r\n", accept_recipient=lambda address, envelope: Reply(550, text))
    assert came.plain == [250, 250, 550 if text == "ok\n550 x" else 451, 250]


@pytest.mark.parametrize("lines",
                         [[b"250-a", b"550 b"], [b"250a"], [b"2500 a"], [b"25 a"], [b"abc x"], [b""], [b"\xff50 a"]])
def test_what_is_no_reply_is_an_error(lines: list[bytes]) -> None:
    with pytest.raises(BadReply):
        parse_reply(lines)


def test_replies_with_little_or_odd_text_are_replies() -> None:
    assert parse_reply([b"250"]).code == 250 and parse_reply([b"250-", b"250 "]).lines == ["", ""]
    assert parse_reply([b"250 caf\xe9"]).code == 250
    assert encode_reply(Reply(250, "a\nb")) == b"250-a\r\n250 b\r\n"


# --- §5 pipelining and desynchronization -----------------------------------------------------------------------------

def test_commands_before_the_greeting_are_answered_in_order() -> None:
    assert told(HELLO + b"NOOP\r\nRSET\r\nMAIL FROM:<a@x.example>\r\n").plain == [250, 250, 250, 250]


@pytest.mark.parametrize("line",
                         [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"CONNECT mx.example:25 HTTP/1.1", b"Host: mx.example",
                                  b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_other_protocols_are_no_commands(line: bytes) -> None:
    came = told(line + b"\r\n" + b"Accept: */*\r\n\r\n" + b"MAIL FROM:<a@x.example>\r\n")
    assert came.plain == [421] and came.session.state == "closed"


def test_many_wrong_commands_end_the_session() -> None:
    came = told(HELLO + b"XYZZY\r\n" * 200)
    assert came.plain[-1] == 421 and len(came.plain) < 30


def test_data_without_a_recipient_is_refused_and_its_letter_is_not_obeyed_in_silence() -> None:
    none = {"accept_recipient": lambda address, envelope: Reply(550, "no")}
    came = told(ENVELOPE + b"DATA\r\nRSET\r\n", **none)
    assert came.codes == "250 250/2.1.0 550/5.1.1 503/5.5.1 250/2.0.0"


@pytest.mark.parametrize("after", ["354 go on", "503 no"])
@pytest.mark.parametrize("without", [("CHUNKING",), ()], ids=["DATA", "BDAT"])
def test_our_client_sends_no_letter_when_nobody_may_have_it(after: str, without: tuple[str, ...]) -> None:
    """All recipients refused, and 354 all the same: one dot, nothing of the letter (RFC 2920 §3.1)."""
    heard: list[bytes] = []

    def server() -> Conversation[None]:
        yield b"220 mx\r\n"
        heard.append((yield Line()))
        yield b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
        while True:
            line = yield Line()
            heard.append(line)
            verb = line.split(b" ")[0]
            answers = {b"RCPT": b"550 no", b"DATA": after.encode(), b".": b"554 no valid recipients",
                       b"QUIT": b"221 bye"}
            yield answers.get(verb, b"250 ok") + b"\r\n"

    client = CodedClientSession("c.example", tuple(client_extensions(without=without)))
    letters = (outgoing(Envelope("a@x.example", ["b@y.example", "c@y.example"]), b"SECRET",
                        eight_bit=client.uses("8BITMIME")) for _ in range(2))
    receipts = rehearse(whole_session(client, letters), quiet(server())).client
    assert [receipt.refused_by for receipt in receipts] == ["RCPT", "RCPT"]
    assert not [line for line in heard if b"SECRET" in line or line.startswith(b"BDAT")]
    if without:
        assert heard.count(b".") == 2 * (after[0] == "3")


# --- §6 BDAT ---------------------------------------------------------------------------------------------------------

MINE = b"BDAT 9 LAST\r\nMAIL FROM"


@pytest.mark.parametrize("before, codes", [
    (b"", "503"), (HELLO, "503"), (HELLO + b"MAIL FROM:<a@x.example>\r\n", "503"),
])
def test_octets_of_a_refused_chunk_are_read(before: bytes, codes: str) -> None:
    came = told(before + MINE + b"NOOP\r\n")
    assert came.plain[-2:] == [503, 250] and not came.letters


@pytest.mark.parametrize("size",
                         [b"-1", b"abc", b"+5", b"0x10", b"1e3", b"5 FOO", b"", b"5 LAST LAST", b"5,LAST", b"5LAST",
                                  b"9" * 20, b"99999999999999999999 LAST", b"5\tLAST", b" "])
@pytest.mark.parametrize("begun", [True, False], ids=["in a transaction", "outside"])
def test_a_size_that_cannot_be_read_ends_the_connection(size: bytes, begun: bool) -> None:
    came = told((ENVELOPE if begun else HELLO) + b"BDAT " + size + b"\r\nRSET\r\nNOOP\r\n")
    assert came.plain[-1] == 421 and len(came.plain) == (4 if begun else 2)
    assert came.session.state == "closed" and not came.letters


@pytest.mark.parametrize("said, codes", [
    (b"BDAT 0\r\nBDAT 0 LAST\r\n", "250 250"), (b"BDAT 0 LAST\r\n", "250"), (b"BDAT 2 last\r\nhi", "250"),
    (b"bdat 2 LaSt\r\nhi", "250"), (b"BDAT 000000000000000002 LAST\r\nhi", "250"), (b"BDAT   2   LAST  \r\nhi", "250"),
    (b"BDAT 2\r\nhiDATA\r\nRSET\r\n", "250 503 250"), (b"BDAT 2\r\nhiMAIL FROM:<e@x.example>\r\n", "250 503"),
    (b"BDAT 2\r\nhiRCPT TO:<e@x.example>\r\nBDAT 0 LAST\r\n", "250 503 250"),
    (b"BDAT 2\r\nhiRSET\r\nBDAT 2\r\nhi", "250 250 503"),
    (b"BDAT 2\r\nhiNOOP\r\nBDAT 0 LAST\r\n", "250 250 250"),
    (b"BDAT 2\r\nhiEHLO c.example\r\nBDAT 2\r\nhi", "250 250 503"),
    (b"BDAT 2 LAST\r\nhiBDAT 2 LAST\r\nhi", "250 503"), (b"BDAT 2\r\nhiVRFY x\r\nBDAT 0 LAST\r\n", "250 252 250"),
    (b"BDAT 2\r\nhiQUIT\r\n", "250 221"),
])
def test_chunks_and_what_stands_between_them(said: bytes, codes: str) -> None:
    assert " ".join(map(str, told(ENVELOPE + said).plain[3:])) == codes


def test_chunks_beyond_the_limit_are_read_and_refused_until_the_last() -> None:
    chunk = b"BDAT 3000\r\n" + b"x" * 3000
    came = told(ENVELOPE + chunk * 3 + b"BDAT 3000 LAST\r\n" + b"x" * 3000 + b"NOOP\r\n", max_size=5000)
    assert came.codes.endswith("250/2.6.0 552/5.3.4 552/5.3.4 552/5.3.4 250/2.0.0") and not came.letters
    came = told(ENVELOPE + b"BDAT 5001 LAST\r\n" + b"x" * 5001 + b"NOOP\r\n", max_size=5000)
    assert came.codes.endswith("552/5.3.4 250/2.0.0") and not came.letters
    came = told(ENVELOPE + b"BDAT 5000 LAST\r\n" + b"x" * 5000, max_size=5000)
    assert came.plain[-1] == 250 and len(came.letters[0][1]) == 5000


def test_what_is_announced_is_not_allocated() -> None:
    tracemalloc.start()
    try:
        came = told(ENVELOPE + b"BDAT 190000000\r\n" + b"x" * 1000, max_size=200_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert came.plain == [250, 250, 250] and not came.letters and peak < 4_000_000


@pytest.mark.parametrize("end", [b"BDAT 10 LAST\r\nhalf", b"BDAT 4\r\nhalf", b"BDAT 4 LAST\r\nhal", b"BDAT 4", b""])
def test_a_client_that_leaves_between_chunks_delivers_nothing(end: bytes) -> None:
    came = told(ENVELOPE + end)
    assert not came.letters and not came.session.resources


def test_chunks_are_neither_unstuffed_nor_searched() -> None:
    octets = b"..\r\n.\r\nMAIL FROM:<evil@x.example>\r\n.\r\n"
    came = told(ENVELOPE + b"BDAT 3\r\n" + octets[:3] + b"BDAT %d LAST\r\n" % len(octets[3:]) + octets[3:])
    assert came.plain[3:] == [250, 250] and [kept for _, kept in came.letters] == [octets]


def test_a_binary_letter_comes_by_bdat_only() -> None:
    binary = ENVELOPE.replace(b"<a@x.example>", b"<a@x.example> BODY=BINARYMIME")
    came = told(binary + b"DATA\r\nBDAT 3 LAST\r\n\r\0\n")
    assert came.plain[3:] == [503, 250] and [kept for _, kept in came.letters] == [b"\r\0\n"]


# --- §7 limits -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("command, octets, code", [
    # SIZE, BODY (two extensions have it, it stands there once), SMTPUTF8, AUTH, RET and ENVID
    (b"MAIL FROM:<a@x.example> AUTH=", 512 + 26 + 17 + 10 + 500 + 117, 250), (b"NOOP ", 512, 250),
    (b"MAIL FROM:<a@x.example> AUTH=", 512 + 26 + 17 + 10 + 500 + 117 + 1, 500),
    (b"EHLO ", 512, 501), (b"RSET ", 513, 500), (b"NOOP ", 513, 500), (b"AUTH PLAIN ", 12_288, 501),
    (b"AUTH PLAIN ", 12_289, 500), (b"VRFY ", 522, 252), (b"VRFY ", 523, 500), (b"RCPT TO:<", 512 + 538, 500),
    (b"MAIL FROM:<a@x.example> AUTH=", 1300, 500),
])
def test_a_command_may_be_as_long_as_its_extensions_need(command: bytes, octets: int, code: int) -> None:
    filled = command + b"x" * (octets - len(command) - 2)
    if b"AUTH=" in command:
        filled = filled[:-2] + b"@x"
    came = told(HELLO + filled + b"\r\nNOOP\r\n", tls=True)
    assert came.plain == [250, code, 250]


@pytest.mark.parametrize("parameters",
                         [b"SIZE=1 SIZE=1", b"size=1 SIZE=2", b"BODY=7BIT BODY=8BITMIME", b"SMTPUTF8 SMTPUTF8",
                                        b"RET=HDRS RET=FULL"])
def test_a_parameter_is_given_once(parameters: bytes) -> None:
    assert told(HELLO + b"MAIL FROM:<a@x.example> " + parameters + b"\r\nMAIL FROM:<a@x.example>\r\n").plain == [250,
                                                                                                                 501,
                                                                                                                 250]


@pytest.mark.parametrize("parameters, code", [
    (b"X=1", 555), (b"SIZE=1 X", 555), (b"SIZE", 501), (b"SIZE=", 501), (b"SIZE=-1", 501), (b"SIZE=1e3", 501),
    (b"SIZE=5001", 552), (b"SIZE=5000", 250), (b"SIZE=99999999999999999999", 552), (b"SIZE=100000000000000000000", 501),
    (b"BODY=", 501), (b"BODY=9BIT", 501), (b"BODY", 501), (b"body=8bitmime", 250), (b"SMTPUTF8=1", 501), (b"=1", 501),
    (b"-X=1", 501), (b"X==1", 501), (b"SIZE=1\x7f", 501), (b"AUTH=<>", 250), (b"AUTH=e+3Dmc2@x.example", 250),
    (b"AUTH=", 501), (b"AUTH=+3d@x", 501), (b"AUTH=nobody", 501), (b"AUTH=+FF@x.example", 501),
    (b"NOTIFY=NEVER", 555), (b"RET=ALL", 501), (b"ENVID=+0D+0AX", 501),
])
def test_what_a_parameter_may_be(parameters: bytes, code: int) -> None:
    came = told(HELLO + b"MAIL FROM:<a@x.example> " + parameters + b"\r\nRSET\r\nMAIL FROM:<b@x.example>\r\n", tls=True)
    assert came.plain == [250, code, 250, 250]


@pytest.mark.parametrize("parameters", [b"SIZE=1", b"BODY=8BITMIME", b"SMTPUTF8", b"X=1"])
def test_no_parameters_for_who_said_helo(parameters: bytes) -> None:
    for hello in (b"HELO c.example\r\n", HELLO + b"HELO c.example\r\n"):
        came = told(hello + b"MAIL FROM:<a@x.example> " + parameters + b"\r\nMAIL FROM:<a@x.example>\r\n")
        assert came.plain[-2:] == [555, 250]


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("by", ["DATA", "BDAT"])
def test_a_letter_too_large_is_read_to_its_end_in_little_memory(by: str) -> None:
    block, blocks = b"x" * 98 + b"\r\n" + b"y" * 65_434 + b"\r\n", 300
    begin = b"DATA\r\n" if by == "DATA" else b"BDAT %d LAST\r\n" % (len(block) * blocks)
    with Server(extensions=server_extensions(), max_size=10_000_000) as server:
        with socket.create_connection(server.address, 10) as sock, sock.makefile("rb") as heard:
            tracemalloc.start()
            try:
                sock.sendall(ENVELOPE + begin)
                for _ in range(blocks):
                    sock.sendall(block)
                sock.sendall(b".\r\n" * (by == "DATA") + b"NOOP\r\nQUIT\r\n")
                codes = re.findall(rb"^(\d{3}) (\S*)", heard.read(), re.MULTILINE)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert codes[-3:] == [(b"552", b"5.3.4"), (b"250", b"2.0.0"), (b"221", b"2.0.0")]
    assert peak < 4_000_000                    # of 20 MB
    assert not server.messages


# --- full buffers ----------------------------------------------------------------------------------------------------

def small(sock: socket.socket) -> socket.socket:
    """Buffers that hold a tenth of what is said. (With the smallest, TCP waits for its own timers now and then.)"""
    for which in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, which, 32_768)
    return sock


@dataclass
class Ends:
    """Both ends of a TCP connection with small buffers."""

    client: socket.socket
    server: socket.socket
    errors: list[BaseException] = field(default_factory=list)


@contextmanager
def connected() -> Iterator[Ends]:
    with small(socket.create_server(("127.0.0.1", 0))) as listener:
        client = small(socket.socket())
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            yield Ends(client, small(server))


def serving(ends: Ends, patience: float = 60.0) -> threading.Thread:
    def work() -> None:
        connection = Connection(ends.server, "S")
        connection.channel.longest_wait = patience
        session = CodedSession("mx.example", extensions=ExtensionSet(server_extensions()),
                               limits=Limits(max_recipients=20_000))
        try:
            connection.play(serve(session))
        except BaseException as error:
            ends.errors.append(error)
        finally:
            ends.server.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_ten_thousand_recipients_through_small_buffers() -> None:
    """Both ends write more than all buffers hold: who writes reads meanwhile (RFC 2920 §3.1)."""
    with connected() as ends:
        thread = serving(ends)
        connection = Connection(ends.client, "C")
        connection.channel.longest_wait = 60.0
        client = CodedClientSession("c.example", tuple(client_extensions()))
        envelope = Envelope("a@x.example", [f"reader{n}@y.example" for n in range(10_000)])
        letter = OutgoingMessage(envelope, [b"hello\r\n"])
        [receipt] = connection.play(whole_session(client, [letter]))
        thread.join(10)
    assert len(receipt.accepted) == 10_000 and not ends.errors and not thread.is_alive()


def test_a_client_that_reads_only_when_it_has_said_everything() -> None:
    """400 KB of commands before the first reply is read: our server keeps on reading while it cannot write."""
    with connected() as ends:
        thread = serving(ends)
        ends.client.settimeout(60)
        said = HELLO + b"MAIL FROM:<a@x.example>\r\n" + b"".join(
            b"RCPT TO:<reader%d@y.example>\r\n" % n for n in range(10_000)) + b"QUIT\r\n"
        ends.client.sendall(said)
        heard = b""
        while data := ends.client.recv(65_536):
            heard += data
        thread.join(10)
    replies = re.findall(rb"^(\d{3}) .*\r\n", heard, re.MULTILINE)
    assert replies.count(b"250") == 10_002 and replies[-1] == b"221" and not ends.errors


@pytest.mark.parametrize("bulk", ["recipients", "body", "chunks"])
def test_a_server_that_never_reads_is_given_up(bulk: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        small(listener)

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"220 mx\r\n")
                sock.recv(1000)
                sock.sendall(b"250-mx\r\n250-%s\r\n250 PIPELINING\r\n" % (b"CHUNKING" if bulk == "chunks" else b"X"))
                if bulk != "recipients":
                    sock.recv(1000)
                    sock.sendall(b"250 ok\r\n250 ok\r\n" + b"354 go on\r\n" * (bulk == "body"))
                done.wait(60)

        done = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        smtp = Client(*listener.getsockname(), timeout=0.5)
        recipients = [f"{n}{'x' * 50}@{'y' * 50}.example" for n in range(100_000 if bulk == "recipients" else 1)]
        began = time.monotonic()
        with pytest.raises(SMTPServerDisconnected):
            smtp.sendmail("a@x.example", recipients, b"x" * 20_000_000 if bulk != "recipients" else b"x")
        assert time.monotonic() - began < 30    # the server would wait for a minute
        done.set()
        thread.join(5)
    assert smtp.connection is None


# --- what our client makes of a server's whims -----------------------------------------------------------------------

@pytest.mark.parametrize("offer",
                         ["SIZE", "SIZE x", "SIZE -1", "SIZE 0", "SIZE " + "9" * 4000, "SIZE 10 20", "AUTH", "AUTH=",
                                   "PIPELINING x", "8BITMIME\0", "\xff", "", " SIZE 1", "CHUNKING=1", "=", "SIZE=5"])
def test_odd_offers_are_put_up_with(offer: str) -> None:
    heard: list[bytes] = []

    def server() -> Conversation[None]:
        yield b"220 mx\r\n"
        yield Line()
        yield b"250-mx\r\n250-" + offer.encode("latin-1") + b"\r\n250 HELP\r\n"
        while (line := (yield Line())) != b"QUIT":
            heard.append(line)
            yield b"354 go on\r\n" if line == b"DATA" else b"250 ok\r\n" if not line.startswith(b"Subject") else b""
        yield b"221 bye\r\n"

    client = CodedClientSession("c.example", tuple(client_extensions()))
    letters = (outgoing(Envelope("a@x.example", ["b@y.example"]), b"Subject: hi\r\n",
                        eight_bit=client.uses("8BITMIME")) for _ in range(1))
    try:
        receipts = rehearse(whole_session(client, letters), quiet(server())).client
        assert receipts[0].accepted and not [line for line in heard if b"\0" in line]
    except (SMTPNotSupportedError, WireError) as error:
        assert offer in ("SIZE 10 20", "SIZE=5") or "\0" in offer, error


def test_a_step_that_waits_for_its_answer_shows_no_password() -> None:
    smtp_session = CodedClientSession("c.example", tuple(client_extensions(
        user=USER, password=PASSWORD, insecure_auth=True, mechanisms=[Plain()])))

    def server() -> Conversation[None]:
        yield b"220 mx\r\n"
        yield Line()
        yield b"250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"
        yield Line()

    with pytest.raises(Disconnected):
        rehearse(whole_session(smtp_session, []), server())
    assert len(smtp_session.unanswered) > 0 and GOOD.decode() not in repr(smtp_session)


def test_what_is_heard_while_we_send_is_obeyed_before_we_listen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end has said its last word while our buffers were full: waiting for more would be for ever."""
    def send_all(sock: socket.socket, data: bytes, channel: Any, timeout: float) -> None:
        sock.sendall(data)
        if data == b"one\r\n":
            channel.receive(b"all that there is\r\n")

    def talk() -> Conversation[bytes]:
        yield b"one\r\n"
        line = yield Line(timeout=0.2)
        yield b"two\r\n"
        return line

    monkeypatch.setattr("smtp_from_scratch.connection.send_all", send_all)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert Connection(ours).play(talk()) == b"all that there is"
        assert theirs.recv(100) == b"one\r\ntwo\r\n"

"""AUTH at both ends (RFC 4954), its mechanisms (RFC 4616, 2195), and where a secret must not be seen.

What a server answers to attacks, octet by octet, is in test_attacks.py; SCRAM in test_scram.py.
"""
from __future__ import annotations

import base64
import copy
import logging
import random
import smtplib
import time
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult

from smtp_from_scratch import Client, Server, lab
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.auth import (
    AUTH_LIMIT,
    MOST_FAILURES,
    Auth,
    CramMd5,
    Login,
    Passwords,
    Plain,
    Users,
    choose,
    cram_md5,
    decode64,
    fresh,
    read_plain,
)
from smtp_from_scratch.client import SMTPNotSupportedError, SMTPServerDisconnected
from smtp_from_scratch.conversation import Conversation, Disconnected, Line, Work, read_reply, rehearse
from smtp_from_scratch.ehlo import ExtensionSet, check_requirements
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.sasl import (
    AuthError,
    BadResponse,
    Examination,
    Mechanism,
    Responses,
    SMTPAuthenticationError,
    encode64,
)
from smtp_from_scratch.saslprep import saslprep
from smtp_from_scratch.server import ThreadedServer
from smtp_from_scratch.session import serve
from smtp_from_scratch.starttls import StartTLS
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import OutgoingMessage, PlannedCommand, open_session
from smtp_from_scratch.transcript import Rehearsal, Said
from smtp_from_scratch.wire import COMMAND_LIMIT, CRLF, Reply
from smtp_from_scratch.xtext import encode_xtext
from tests.ours import TLS
from tests.whole_session import whole_session

ANA, TIDES = "ana@rio.example", "tides at ½ moon"
USERS = Passwords({ANA: TIDES, "kenji@tokyo.example": "friday"})
METHODS: tuple[Mechanism, ...] = (Plain(), Login(), CramMd5())
methods = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def meet(exam: Examination, talk: Responses, client_first: bool) -> str:
    """Both ends of a mechanism without SMTP; returns the user, raises what the exam raises."""
    first, asked = next(talk), next(exam)
    try:
        if client_first:
            asked = exam.send(first)
        while True:
            while isinstance(asked, Work):
                asked = exam.send(asked.function())
            asked = exam.send(talk.send(asked))
    except StopIteration as end:
        return str(end.value)


def server(users: Users | None = USERS, **options: Any) -> Conversation[None]:
    options = {"insecure": True} | options
    return serve(CodedSession("mx.example", extensions=ExtensionSet([Auth(users, **options)])))


def said_to(lines: list[bytes], talk: Conversation[None] | None = None) -> list[Reply]:
    """The replies to these lines, each said when the one before was answered; those before 421 at the most."""
    def client() -> Conversation[list[Reply]]:
        replies = [(yield from read_reply())]
        for line in (b"EHLO rio.example", *lines):
            if replies[-1].code == 421:
                break
            yield line + CRLF
            replies.append((yield from read_reply()))
        return replies[2:]

    return list(rehearse(client(), talk or server()).client)


def b64(text: bytes | str) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def log_in(method: Mechanism, user: str = ANA, password: str = TIDES, talk: Conversation[Any] | None = None,
           **options: Any) -> tuple[CodedClientSession, Rehearsal]:
    """A client that logs in, at our server, or at another; raises what it raises."""
    options = {"insecure": True} | options
    ours = [Auth(user=user, password=password, mechanisms=[method], **options)]
    client = CodedClientSession("rio.example", check_requirements(ours))
    return client, rehearse(open_session(client), talk or server())


# --- mechanisms ------------------------------------------------------------------------------------------------------

LETTERS = "abcXYZ019 =,@.<>\"\\%é½漢ａ\u00a0\u00ad"          # all of them, and in any order, may be in a password


@methods
def test_both_ends_agree_about_any_user_and_password(method: Mechanism) -> None:
    lot = random.Random(method.name)
    for _ in range(200):
        user, password = ("a" + "".join(lot.choices(LETTERS, k=lot.randint(0, 60))) for _ in range(2))
        users = Passwords({user: password, "other": "x"})
        assert meet(method.examine(users), method.respond(user, password), method.client_first) == saslprep(user)
        near = [(user, password + "x"), (user, password[:-1] or "y"), (user + "x", password), ("other", password)]
        for wrong in near:
            if users.verify(*wrong):
                continue
            with pytest.raises(AuthError):
                meet(method.examine(users), method.respond(*wrong), method.client_first)


@methods
def test_both_ends_agree_in_a_session(method: Mechanism) -> None:
    lot = random.Random(12)
    for length in (1, 5, 80, 170, 180, 190, 400, 9000):
        password = "a" + "".join(lot.choices(LETTERS, k=length - 1))
        if len(b64(password)) + 50 > AUTH_LIMIT:
            continue
        client, played = log_in(method, password=password, talk=server(Passwords({ANA: password})))
        assert client.user == ANA
        commands = [said.data for said in played.said if said.data.startswith(b"AUTH")]
        assert all(len(command) <= COMMAND_LIMIT for command in commands)


@methods
def test_random_octets_are_no_proof(method: Mechanism) -> None:
    lot = random.Random(method.name)
    for _ in range(300):
        exam = method.examine(USERS)
        next(exam)
        with pytest.raises((AuthError, ValueError)):
            while True:
                octets = lot.choice([lot.randbytes(lot.randint(0, 40)), b"\0ana\0", b"", b"\0\0", b" " * 32])
                said: Any = exam.send(octets)
                while isinstance(said, Work):
                    said = exam.send(said.function())


def test_the_value_of_rfc_2195_at_both_ends() -> None:
    challenge = "<1896.697170952@postoffice.reston.mci.net>"
    response = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    mechanism, users = CramMd5(lambda: challenge), Passwords({"tim": "tanstaaftanstaaf"})
    talk, exam = mechanism.respond("tim", "tanstaaftanstaaf"), mechanism.examine(users)
    assert next(talk) == b"" and next(exam) == challenge.encode()
    assert encode64(talk.send(challenge.encode())) == response
    assert meet(mechanism.examine(users), mechanism.respond("tim", "tanstaaftanstaaf"), client_first=False) == "tim"
    replies = said_to([b"AUTH CRAM-MD5", response.encode()], server(users, mechanisms=[mechanism]))
    assert [reply.code for reply in replies] == [334, 235] and decode64(replies[0].text) == challenge.encode()


def test_a_challenge_is_a_message_id_and_new_each_time() -> None:
    challenges = {fresh("mx.example") for _ in range(100)}
    assert len(challenges) == 100
    for challenge in challenges:
        digits, _, host = challenge[1:-1].partition("@")
        assert (challenge[0], challenge[-1], host) == ("<", ">", "mx.example")
        assert abs(int(digits.split(".")[1]) - time.time()) < 60


@pytest.mark.parametrize("digest", ["", "0" * 32, "x", cram_md5(TIDES, b"<1@mx>").upper(), cram_md5(TIDES, b"<2@mx>")])
def test_a_digest_is_compared_as_it_is(digest: str) -> None:
    mechanism = CramMd5(lambda: "<1@mx>")
    exam = mechanism.examine(USERS)
    next(exam)
    wanted = exam.send(f"{ANA} {digest}".encode())
    assert isinstance(wanted, Work)
    with pytest.raises(AuthError):
        exam.send(wanted.function())


def test_cram_md5_is_not_offered_by_a_store_that_has_no_passwords() -> None:
    class Digests(Passwords):
        knows = frozenset({"verify"})

    assert [m.name for m in Auth(Digests({ANA: TIDES})).possible] == ["PLAIN", "LOGIN"]
    assert said_to([b"AUTH CRAM-MD5"], server(Digests({ANA: TIDES})))[0].code == 504


@pytest.mark.parametrize("user, password", [("", "x"), ("x", ""), ("a\0b", "x"), ("x", "a\0b")])
def test_plain_says_nothing_that_it_cannot_say(user: str, password: str) -> None:
    with pytest.raises(ValueError):
        next(Plain().respond(user, password))


@methods
def test_an_unknown_user_is_looked_up_and_refused_like_a_known_one(method: Mechanism) -> None:
    class Counted(Passwords):
        asked = 0

        def verify(self, user: str, password: str) -> bool:
            self.asked += 1
            return super().verify(user, password)

        def secret(self, user: str) -> str | None:
            self.asked += 1
            return super().secret(user)

    outcomes = []
    for user in (ANA, "nobody@rio.example"):
        users = Counted({ANA: TIDES})
        with pytest.raises(AuthError) as error:
            meet(method.examine(users), method.respond(user, "wrong"), method.client_first)
        outcomes.append((type(error.value), str(error.value), users.asked))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("text", ["!", "AAA", "AAAAA", "A===", "====", "=AAA", "AA=A", "AAA=BBBB", "AAAA\n", " AAAA",
                                  "AA AA", "AAA\r", "AAAé", "-AAA", "AA==AA==", "AAAA====", "AAAA="])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode64(text)


def test_base64_there_and_back() -> None:
    lot = random.Random(64)
    for length in range(60):
        octets = lot.randbytes(length)
        assert decode64(encode64(octets)) == octets


@pytest.mark.parametrize("response", [b"", b"a", b"\0", b"\0\0", b"\0a", b"a\0b", b"\0a\0", b"\0\0b", b"\0a\0b\0",
                                      b"\0a\0b\0c", b"\xff\0a\0b", b"\0\xff\0b", b"\0a\0\xff"])
def test_what_is_not_of_plains_form(response: bytes) -> None:
    with pytest.raises(BadResponse):
        read_plain(response)


def test_plain_in_its_parts() -> None:
    assert read_plain("\0ana\0maré alta".encode()) == ("", "ana", "maré alta")
    assert read_plain(b"kenji\0ana\0 ") == ("kenji", "ana", " ")


# --- the server's end ------------------------------------------------------------------------------------------------

GOOD, WRONG = b64(f"\0{ANA}\0{TIDES}"), b64(f"\0{ANA}\0wrong")


@pytest.mark.parametrize("lines, codes", [
    ([b"AUTH PLAIN " + GOOD], "235"), ([b"auth plain " + GOOD], "235"), ([b"AUTH PLAIN", GOOD], "334 235"),
    ([b"AUTH LOGIN", b64(ANA), b64(TIDES)], "334 334 235"), ([b"AUTH LOGIN " + b64(ANA), b64(TIDES)], "334 235"),
    ([b"AUTH LOGIN", b"*"], "334 501"), ([b"AUTH LOGIN", b64(ANA), b"*"], "334 334 501"),
    ([b"AUTH CRAM-MD5", b"*"], "334 501"),
    ([b"AUTH LOGIN =", b""], "334 535"), ([b"AUTH LOGIN", b"", b""], "334 334 535"),
    ([b"AUTH PLAIN ="], "501"), ([b"AUTH PLAIN", b""], "334 501"), ([b"AUTH PLAIN", b"="], "334 501"),
    ([b"AUTH PLAIN " + GOOD + b" x"], "501"), ([b"AUTH PLAIN *"], "501"), ([b"AUTH"], "501"), ([b"AUTH  PLAIN"], "501"),
    ([b"AUTH X"], "504"), ([b"AUTH CRAM-MD5 " + GOOD], "501"), ([b"AUTH CRAM-MD5 ="], "501"),
    ([b"AUTH PLAIN " + GOOD, b"AUTH PLAIN " + GOOD, b"RSET", b"AUTH LOGIN"], "235 503 250 503"),
    ([b"AUTH PLAIN " + GOOD, b"EHLO rio.example", b"AUTH LOGIN"], "235 250 503"),
    ([b"MAIL FROM:<a@x.example>", b"AUTH PLAIN " + GOOD, b"RCPT TO:<b@x.example>", b"AUTH LOGIN"], "250 503 250 503"),
    ([b"HELO rio.example", b"AUTH PLAIN " + GOOD], "250 503"),
    ([b"AUTH PLAIN " + WRONG, b"NOOP", b"AUTH PLAIN " + GOOD], "535 250 235"),
    ([b"AUTH PLAIN", b"AAAA\rAAAA"], "334 500"), ([b"AUTH PLAIN", b"A" * 12_288], "334 500"),
    ([b"AUTH PLAIN", b64(b"\0" + b"a" * 9_000 + b"\0b")], "334 535"),
    ([b"AUTH PLAIN " + b64(b"\0" + b"a" * 9_000 + b"\0b")], "535"),
    ([b"AUTH PLAIN " + b"A" * 12_276], "500"),
])
def test_what_is_answered(lines: list[bytes], codes: str) -> None:
    assert " ".join(str(reply.code) for reply in said_to(lines)) == codes


def test_the_longest_line_is_read_and_one_octet_more_is_not() -> None:
    fits, too_long = (b64(b"\0a\0" + b"b" * count) for count in (9_210, 9_213))
    assert len(fits) + 2 <= AUTH_LIMIT < len(too_long) + 2
    replies = said_to([b"AUTH PLAIN", fits, b"AUTH PLAIN", too_long, b"NOOP"])
    assert [str(reply)[:9] for reply in replies] == ["334", "535 5.7.8", "334", "500 5.5.6", "250 still"]


@methods
def test_many_wrong_guesses_end_the_session(method: Mechanism) -> None:
    lines: list[bytes] = []
    for _ in range(MOST_FAILURES):
        lines += {"PLAIN": [b"AUTH PLAIN " + WRONG], "LOGIN": [b"AUTH LOGIN", b64(ANA), b64("wrong")],
                  "CRAM-MD5": [b"AUTH CRAM-MD5", b64(f"{ANA} {'0' * 32}")]}[method.name]
    codes = [reply.code for reply in said_to([*lines, b"NOOP"]) if reply.code not in (334, 250)]
    assert codes == [535] * (MOST_FAILURES - 1) + [421]


def test_ehlo_and_rset_do_not_forget_wrong_guesses() -> None:
    again = [b"AUTH PLAIN " + WRONG, b"EHLO rio.example", b"RSET"]
    assert said_to(again * MOST_FAILURES)[-1].code == 421


def test_a_store_that_breaks_is_no_fault_of_the_clients(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Passwords):
        def verify(self, user: str, password: str) -> bool:
            raise OSError("the disk is gone")

    replies = said_to([b"AUTH PLAIN " + GOOD] * 5 + [b"NOOP"], server(Broken({})))
    assert [reply.code for reply in replies] == [454] * 5 + [250]
    assert "the disk is gone" in caplog.text and GOOD.decode() not in caplog.text and TIDES not in caplog.text


def test_a_client_that_leaves_in_the_middle_is_nobody() -> None:
    session = CodedSession("mx.example", extensions=ExtensionSet([Auth(USERS, insecure=True)]))

    def client() -> Conversation[None]:
        yield from read_reply()
        yield b"EHLO rio.example\r\nAUTH LOGIN\r\n" + b64(ANA) + CRLF + b64(TIDES)[:-1]

    rehearse(client(), serve(session))
    assert session.user == ""


@pytest.mark.parametrize("command, code", [
    (b"MAIL FROM:<a@x.example>", 530), (b"RCPT TO:<a@x.example>", 530), (b"DATA", 530), (b"VRFY ana", 530),
    (b"NOOP", 250), (b"RSET", 250), (b"EHLO b", 250), (b"HELP", 214), (b"QUIT", 221), (b"XYZZY", 500)])
def test_strangers_where_auth_is_required(command: bytes, code: int) -> None:
    assert said_to([command], server(required=True))[0].code == code
    assert said_to([b"AUTH PLAIN " + GOOD, command], server(required=True))[1].code != 530


@pytest.mark.parametrize("insecure", [False, True])
def test_nothing_is_offered_in_the_clear_unless_asked_by_name(insecure: bool) -> None:
    auth = Auth(USERS, insecure=insecure)
    session = CodedSession(extensions=ExtensionSet([auth]))
    assert (auth.advertise(session) or "").split()[1:] == (["PLAIN", "LOGIN", "CRAM-MD5"] if insecure else [])
    session.secure = True
    assert auth.advertise(session) == "AUTH PLAIN LOGIN CRAM-MD5"
    codes = [reply.code for reply in said_to([b"AUTH PLAIN " + GOOD, b"AUTH CRAM-MD5", b"AUTH X", b"AUTH"],
                                             server(insecure=insecure))]
    assert codes == ([235, 503, 503, 503] if insecure else [538] * 4)


def test_the_parameter_of_mail_is_noted_and_believed_of_nobody() -> None:
    noted: list[Envelope] = []
    offer = ExtensionSet([Auth(USERS, insecure=True)])
    session = CodedSession("mx.example", lambda envelope, body: noted.append(copy.copy(envelope)),
                           extensions=offer)
    codes = [reply.code for reply in said_to([b"MAIL FROM:<a@x.example> AUTH=" + encode_xtext(ANA).encode(),
                                              b"RCPT TO:<b@x.example>", b"DATA", b"Hi\r\n."], serve(session))]
    assert codes == [250, 250, 354, 250]
    assert noted[0].user == "" and noted[0].parameters == {"AUTH": ANA}


# --- the client's end ------------------------------------------------------------------------------------------------

def other_server(offer: str, *answers: bytes) -> Conversation[list[bytes]]:
    """A server that says what it was told to, whatever it hears; returns what it has heard after EHLO."""
    heard = []
    try:
        yield b"220 mx\r\n"
        yield Line()
        yield f"250-mx\r\n250{offer if offer[:1] == '-' else ' ' + offer}".encode() + CRLF
        for answer in answers:
            heard.append((yield Line(AUTH_LIMIT)))
            yield answer + CRLF
        while True:
            heard.append((yield Line(AUTH_LIMIT)))
    except Disconnected:
        return heard


def attempt(method: Mechanism, offer: str, *answers: bytes, **options: Any) -> tuple[Any, list[bytes], str]:
    """A client at such a server: what it raised, what the server heard, who the client believes to be."""
    options = {"insecure": True} | options
    auth = Auth(user=ANA, password=TIDES, mechanisms=[method], **options)
    client = CodedClientSession("rio.example", check_requirements([auth]))

    def talk() -> Conversation[Any]:
        try:
            yield from open_session(client)
        except Exception as error:
            return error

    played = rehearse(talk(), other_server(offer, *answers))
    return played.client, played.server, client.user


DIGEST = cram_md5(saslprep(TIDES), b"<1@mx>")
AGAIN = [b"AUTH PLAIN " + GOOD, GOOD]


@pytest.mark.parametrize("method, answers, heard", [
    (Plain(), [b"235 in"], [b"AUTH PLAIN " + GOOD]), (Plain(), [b"334 ", b"235 in"], AGAIN),
    (Login(), [b"334 VXNlcjo=", b"334 UGFzcw==", b"235 in"], [b"AUTH LOGIN", b64(ANA), b64(TIDES)]),
    (Login(), [b"334 ", b"334 ", b"235 in"], [b"AUTH LOGIN", b64(ANA), b64(TIDES)]),
    (CramMd5(), [b"334 " + b64("<1@mx>"), b"235 in"], [b"AUTH CRAM-MD5", b64(f"{ANA} {DIGEST}")]),
])
def test_what_the_client_says(method: Mechanism, answers: list[bytes], heard: list[bytes]) -> None:
    error, said, user = attempt(method, f"AUTH {method.name}", *answers)
    assert error is None and said == heard and user == ANA


@pytest.mark.parametrize("offer", ["auth plain", "AUTH=PLAIN", "AUTH login PLAIN", "AUTH  PLAIN"])
def test_odd_spellings_of_an_offer(offer: str) -> None:
    error, said, user = attempt(Plain(), offer, b"235 in")
    assert error is None and said == [b"AUTH PLAIN " + GOOD] and user == ANA


@pytest.mark.parametrize("code, enhanced", [
    (535, "5.7.8"), (454, "4.7.0"), (534, "5.7.9"), (504, "5.5.4"), (250, ""), (354, "")])
@methods
def test_whatever_is_not_235_is_no_welcome(method: Mechanism, code: int, enhanced: str) -> None:
    asked = {"PLAIN": [], "LOGIN": [b"334 ", b"334 "], "CRAM-MD5": [b"334 PDFAbXg+"]}[method.name]
    error, _, user = attempt(method, f"AUTH {method.name}", *asked, f"{code} {enhanced} no".encode())
    assert isinstance(error, SMTPAuthenticationError) and error.reply.code == code and user == ""
    assert TIDES not in str(error) and GOOD.decode() not in str(error)


@pytest.mark.parametrize("challenge", [b"334 !!!!", b"334 AAA", b"334 =AAA", b"334-AAAA\r\n334 AAAA", b"334 AAA=BBBB"])
@pytest.mark.parametrize("method", [Login(), CramMd5()], ids=lambda method: method.name)
def test_a_challenge_that_makes_no_sense_is_answered_with_a_star(method: Mechanism, challenge: bytes) -> None:
    error, said, user = attempt(method, f"AUTH {method.name}", challenge, b"501 as you like")
    assert isinstance(error, SMTPAuthenticationError) and said == [f"AUTH {method.name}".encode(), b"*"] and user == ""


@pytest.mark.parametrize("method", [Plain(), Login()], ids=lambda method: method.name)
def test_one_challenge_too_many(method: Mechanism) -> None:
    challenges = [b"334 "] * (3 if method.name == "LOGIN" else 2)
    error, said, user = attempt(method, f"AUTH {method.name}", *challenges, b"501 as you like")
    assert isinstance(error, SMTPAuthenticationError) and said[-1] == b"*" and user == ""


@pytest.mark.parametrize("code", [504, 534])
@pytest.mark.parametrize("offer", ["-PIPELINING\r\n250 AUTH PLAIN LOGIN", "AUTH PLAIN LOGIN"])
def test_a_login_by_hand_tries_the_next_mechanism(offer: str, code: int) -> None:
    answers = [f"{code} no".encode(), b"334 ", b"334 ", b"235 in", b"221 bye"]
    with ThreadedServer(lambda peer: other_server(offer, *answers)) as there:
        with Client(*there.address, timeout=30) as smtp:
            assert smtp.login(ANA, TIDES, insecure=True) == "LOGIN"


def test_a_challenge_to_plain_that_rode_along_ends_the_line() -> None:
    """What was said next was taken for the response: nobody knows any more which reply is whose."""
    with ThreadedServer(lambda peer: other_server("-PIPELINING\r\n250 AUTH PLAIN", b"334 ", b"501 no")) as there:
        smtp = Client(*there.address, timeout=30, user=ANA, password=TIDES, insecure_auth=True)
        with pytest.raises(SMTPAuthenticationError) as caught:
            list(smtp.send_messages([]))
        assert caught.value.smtp_code == 334 and smtp.connection is None


@pytest.mark.parametrize("method", [Login(), CramMd5()], ids=lambda method: method.name)
def test_235_that_comes_too_early_is_not_believed(method: Mechanism) -> None:
    error, said, user = attempt(method, f"AUTH {method.name}", b"235 welcome")
    assert said == [f"AUTH {method.name}".encode()]
    assert user == "" and isinstance(error, SMTPAuthenticationError)


def test_421_is_a_goodbye() -> None:
    for method, before in ((Plain(), []), (Login(), [b"334 "])):
        error, _, user = attempt(method, f"AUTH {method.name}", *before, b"421 closing")
        assert isinstance(error, SMTPServerDisconnected) and user == ""


@pytest.mark.parametrize("offer, method, insecure, raised", [
    ("AUTH PLAIN", Plain(), False, True), ("AUTH LOGIN", Login(), False, True),
    ("AUTH CRAM-MD5", CramMd5(), False, True), ("AUTH CRAM-MD5", CramMd5(), True, False),
    ("AUTH PLAIN", Plain(), True, False), ("AUTH LOGIN", Plain(), True, True), ("SIZE 1", Plain(), True, True),
    ("AUTH", Plain(), True, True), ("AUTH PLAINER XPLAIN", Plain(), True, True)])
def test_when_nothing_is_said_at_all(offer: str, method: Mechanism, insecure: bool, raised: bool) -> None:
    error, said, _ = attempt(method, offer, b"334 PDFAbXg+" if method.name == "CRAM-MD5" else b"235 in", b"235 in",
                             insecure=insecure)
    assert isinstance(error, SMTPNotSupportedError) == raised
    assert (said == []) == raised
    if raised:
        assert TIDES not in str(error)


def test_the_first_mechanism_that_fits_is_taken() -> None:
    def taken(secure: bool, offered: str) -> str:
        client = CodedClientSession("rio.example", offered={"AUTH": offered})
        client.secure = secure
        return choose(client, METHODS, insecure=False).name

    assert taken(True, "CRAM-MD5 LOGIN PLAIN") == "PLAIN" and taken(True, "LOGIN CRAM-MD5") == "LOGIN"
    with pytest.raises(SMTPNotSupportedError):
        taken(False, "CRAM-MD5 LOGIN PLAIN")


def test_after_an_upgrade_the_client_logs_in_anew_and_once() -> None:
    theirs = [StartTLS(TLS.client), Auth(user=ANA, password=TIDES)]
    client = CodedClientSession("rio.example", check_requirements(theirs), host="localhost")
    session = CodedSession("mx.example", extensions=ExtensionSet([StartTLS(TLS.server), Auth(USERS, insecure=True)]))
    played = rehearse(open_session(client), serve(session))
    heard = [said.data for said in played.said if said.role == "C" and said.data.startswith((b"AUTH", b"STARTTLS"))]
    assert [said.split()[0] for said in heard] == [b"STARTTLS", b"AUTH"]
    assert client.user == session.user == ANA and session.secure


def test_mail_flies_with_plain_and_waits_for_login() -> None:
    def order(method: Mechanism) -> list[str]:
        ours = [Auth(USERS, insecure=True), Pipelining()]
        theirs = [Auth(user=ANA, password=TIDES, mechanisms=[method], insecure=True), Pipelining()]
        letter = OutgoingMessage(Envelope(ANA, ["b@x.example"]), [b"Hi\r\n"])
        played = rehearse(whole_session(CodedClientSession("rio.example", check_requirements(theirs)), [letter]),
                          serve(CodedSession("mx.example", extensions=ExtensionSet(ours))), latency=1.0)
        said = [(record.role, record.data.split()[0]) for record in sorted(played.said, key=lambda record: record.when)]
        return [word.decode() for who, word in said if word in (b"AUTH", b"235", b"MAIL")]

    assert order(Plain()) == ["AUTH", "MAIL", "235"] and order(Login()) == ["AUTH", "235", "MAIL"]


def test_who_submitted_a_letter_is_passed_on() -> None:
    envelope = Envelope(ANA, ["b@x.example"], parameters={"AUTH": "ana+2Bchoir@rio.example"})
    client = CodedClientSession("rio.example", check_requirements([Auth(user=ANA, password=TIDES, insecure=True)]))
    played = rehearse(whole_session(client, [OutgoingMessage(envelope, [b"Hi\r\n"])]), server())
    assert b"MAIL FROM:<ana@rio.example> AUTH=ana+2Bchoir@rio.example\r\n" in [said.data for said in played.said]


class Token(Mechanism):
    """A mechanism of somebody else's: empty first, then a word."""

    name = "X-TOKEN"
    turns = 2

    def examine(self, users: Users) -> Examination:
        if (yield b""):
            raise BadResponse("the first response is empty")
        token = yield b"token?"
        if not (yield Work(lambda: users.verify(ANA, token.decode()))):
            raise AuthError("wrong")
        return ANA

    def respond(self, user: str, password: str) -> Responses:
        yield b""
        yield password.encode()


def test_a_mechanism_of_ones_own_needs_nothing_but_its_class() -> None:
    client, played = log_in(Token(), talk=server(mechanisms=[Token()]))
    assert client.user == ANA and b"AUTH X-TOKEN =\r\n" in [said.data for said in played.said]
    with pytest.raises(SMTPAuthenticationError):
        log_in(Token(), password="wrong", talk=server(mechanisms=[Token()]))


# --- programs that nobody here wrote ---------------------------------------------------------------------------------

@methods
def test_smtplib_logs_in_under_tls(method: Mechanism) -> None:
    users = Passwords({ANA: "tides"})
    with Server(tls=TLS.server, users=users, require_auth=True) as ours, \
            smtplib.SMTP(*ours.address, timeout=10) as smtp:
        assert smtp.ehlo()[0] == 250 and not smtp.has_extn("auth")
        smtp.starttls(context=TLS.client)
        smtp.ehlo()
        assert method.name in smtp.esmtp_features["auth"].split()
        smtp.user, smtp.password = ANA, "wrong"                     # type: ignore[attr-defined]
        by = getattr(smtp, f"auth_{method.name.lower().replace('-', '_')}")
        with pytest.raises(smtplib.SMTPAuthenticationError) as error:
            smtp.auth(method.name, by)
        assert error.value.smtp_code == 535
        smtp.password = "tides"                                     # type: ignore[attr-defined]
        assert smtp.auth(method.name, by)[0] == 235
        smtp.sendmail(ANA, ["kenji@tokyo.example"], b"Subject: Hi\r\n\r\nHi\r\n")
        assert ours.wait_for(1)[0].envelope.user == ANA


@pytest.mark.parametrize("method", [Plain(), Login()], ids=lambda method: method.name)
def test_our_client_logs_in_at_aiosmtpd(method: Mechanism) -> None:
    def judge(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login.decode(), data.password.decode()) == (ANA, TIDES), handled=False)

    with lab.aiosmtpd_server(tls_context=TLS.server, authenticator=judge, auth_required=True) as peer:
        for password in ("wrong", TIDES):
            with Client(*peer.address, tls=TLS.client, timeout=10) as smtp:
                if password == "wrong":
                    with pytest.raises(SMTPAuthenticationError):
                        smtp.login(ANA, password, mechanisms=[method])
                else:
                    smtp.login(ANA, password, mechanisms=[method])
                    assert smtp.sendmail(ANA, ["kenji@tokyo.example"], b"Subject: Hi\r\n\r\nHi\r\n").accepted
    assert len(peer.messages) == 1


# --- where a secret must not be seen ---------------------------------------------------------------------------------

SECRETS = [TIDES, GOOD.decode(), b64(TIDES).decode(), WRONG.decode(), b64("wrong").decode()]


def shows_a_secret(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@methods
def test_transcripts_and_logs_of_both_ends_show_no_secret(method: Mechanism, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ours, theirs = lab.Transcript(), lab.Transcript()
    faces: list[str] = []
    with Server(users=USERS, insecure_auth=True, tap=ours) as server:
        for password in ("wrong", TIDES):
            with Client(*server.address, tap=theirs, timeout=10) as smtp:
                try:
                    smtp.login(ANA, password, mechanisms=[method], insecure=True)
                except SMTPAuthenticationError as error:
                    faces += [str(error), repr(error)]
                faces += [repr(smtp), repr(smtp.session), repr(smtp.session.extensions)]
    digests = [text for said in theirs.said if (text := said.data.decode()).startswith(b64(f"{ANA} ").decode()[:20])]
    for transcript in (ours, theirs):
        faces += [transcript.text(), transcript.text(octets=True), transcript.html(), repr(transcript)]
        assert f"AUTH {method.name}" in transcript.text() and "***" in transcript.text()
    for text in [*faces, caplog.text, lab.Ladder(ours).text()]:
        assert not shows_a_secret(text) and not [digest for digest in digests if digest.strip() in text]
    assert "wrong user or password" in caplog.text


@pytest.mark.parametrize("octets, shown", [
    (b"AUTH PLAIN " + GOOD, ["AUTH PLAIN ***"]), (b"auth  plain\t" + GOOD, ["auth plain ***"]),
    (b"AUTH " + GOOD, ["AUTH ***"]), (b" AUTH PLAIN " + GOOD, ["AUTH PLAIN ***"]),
    (b"AUTH LOGIN\r\n" + b64(ANA) + CRLF + b64(TIDES), ["AUTH LOGIN", "***", "***"]),
    (b"AUTH PLAIN\r\n" + GOOD + CRLF + b"MAIL FROM:<a@x.example>\r\nQUIT",
     ["AUTH PLAIN", "***", "MAIL FROM:<a@x.example>", "QUIT"]),
    (b"AUTH PLAIN " + GOOD + b"\r\nMAIL FROM:<a@x.example>\r\nDATA",
     ["AUTH PLAIN ***", "MAIL FROM:<a@x.example>", "DATA"]),
    (b"AUTH CRAM-MD5\r\n*\r\nNOOP", ["AUTH CRAM-MD5", "*", "NOOP"]),
])
def test_a_secret_that_nobody_asked_for_is_masked_as_well(octets: bytes, shown: list[str]) -> None:
    """Said all at once, before any reply: by a client that does not wait."""
    alone = lab.Transcript([Said(0.0, "C", octets + CRLF)])
    assert alone.text().splitlines() == [f"C: {line}" for line in shown]
    greeted = lab.Transcript([Said(0.0, "S", b"220 mx\r\n"), Said(1.0, "C", octets + CRLF),
                              Said(2.0, "S", b"334 \r\n334 \r\n535 no\r\n"), Said(3.0, "C", b"NOOP\r\nXYZZY\r\n")])
    assert greeted.text().splitlines()[1:] == [
        *(f"C: {line}" for line in shown), "S: 334", "S: 334", "S: 535 no", "C: NOOP", "C: XYZZY"]


def test_a_server_that_is_talked_at_masks_what_it_was_told() -> None:
    transcript = lab.Transcript()
    everything = b"EHLO rio.example\r\nAUTH LOGIN\r\n" + b64(ANA) + CRLF + b64(TIDES) + CRLF + b"NOOP\r\nQUIT\r\n"
    with Server(users=USERS, insecure_auth=True, tap=transcript) as ours, lab.raw(ours.address) as line:
        line.say(everything)
        while line.hear():                     # until it hangs up
            pass
    assert not shows_a_secret(transcript.text()) and "C: NOOP" in transcript.text().splitlines()


def test_send_shows_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ca, _ = TLS.save(tmp_path)
    secret, letter = tmp_path / "password", tmp_path / "letter"
    secret.write_text(f"{TIDES}\n", encoding="utf-8")
    letter.write_bytes(b"Subject: Hi\r\n\r\nHi\r\n")
    with Server(users=USERS, tls=TLS.server, require_auth=True) as ours:
        host, port = ours.address
        code = main(["send", "--server", f"{host}:{port}", "--from", ANA, "--to", "b@x.example", "--user", ANA,
                     "--ca-file", str(ca), "--password-file", str(secret), "--show", str(letter)])
    shown = capsys.readouterr()
    assert code == 0 and "AUTH PLAIN ***" in shown.err
    assert not shows_a_secret(shown.err) and not shows_a_secret(shown.out)


def test_nothing_that_holds_a_secret_shows_it() -> None:
    holders: list[Any] = [USERS, Auth(USERS), Auth(user=ANA, password=TIDES), Plain(), Login(), CramMd5(),
                          PlannedCommand("AUTH", f"PLAIN {GOOD.decode()}")]
    client = CodedClientSession("rio.example", check_requirements([Auth(user=ANA, password=TIDES)]))
    client.unanswered.append(holders[-1])
    offer = ExtensionSet([Auth(USERS)])
    for holder in [*holders, holders, client, offer, CodedSession(extensions=offer)]:
        assert not shows_a_secret(f"{holder!r} {holder}")


def test_the_word_for_a_wrong_password_counts_and_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said_to([b"AUTH PLAIN " + WRONG, b"AUTH LOGIN", b64("nobody@x.example"), b64("wrong")])
    assert [record.getMessage() for record in caplog.records if "wrong user" in record.getMessage()] == [
        "client: wrong user or password, 1 times", "client: wrong user or password, 2 times"]
    assert ANA not in caplog.text and "nobody@" not in caplog.text

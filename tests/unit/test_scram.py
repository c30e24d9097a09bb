"""SCRAM-SHA-256 (RFC 5802, 7677): the RFC's values, dishonest servers and clients, and keys in memory."""
from __future__ import annotations

import base64
import hashlib
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smtp_from_scratch import Client, Server, scram
from smtp_from_scratch.auth import Auth, Users, decode64
from smtp_from_scratch.conversation import Conversation, Line, Work, rehearse
from smtp_from_scratch.ehlo import ExtensionSet, check_requirements
from smtp_from_scratch.lab import certificates
from smtp_from_scratch.sasl import AuthError, BadResponse, Mechanism, SMTPAuthenticationError
from smtp_from_scratch.saslprep import saslprep
from smtp_from_scratch.scram import Keys, ScramKeys, ScramSha256, decode_name, decoy, encode_name, scram_keys
from smtp_from_scratch.session import serve
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import open_session
from smtp_from_scratch.users import UserFile
from tests.peers import missing, running

USER, PASSWORD = "user", "pencil"                       # RFC 7677 §3
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
OURS, THEIRS = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
KEYS = scram_keys(PASSWORD, SALT, 4096)
USERS = Keys({USER: KEYS})


class Exam:
    """The server's end; `say` answers its last challenge, and `work` counts what it had to look up."""

    def __init__(self, users: Users = USERS, mechanism: Mechanism | None = None) -> None:
        self.talk = (mechanism or ScramSha256(lambda: THEIRS)).examine(users)
        self.work = 0
        self.user: str | None = None
        assert next(self.talk) == b""

    def say(self, response: bytes) -> bytes | None:
        answer: object = response
        while True:
            try:
                said = self.talk.send(answer)
            except StopIteration as end:
                self.user = end.value
                return None
            if not isinstance(said, Work):
                return said
            self.work += 1
            answer = said.function()


# --- RFC 7677 §3 -------------------------------------------------------------------------------------------------


def test_the_server_says_what_the_rfc_says() -> None:
    exam = Exam()
    assert exam.say(CLIENT_FIRST) == SERVER_FIRST
    assert exam.say(CLIENT_FINAL) == SERVER_FINAL
    assert exam.say(b"") is None and exam.user == USER


def test_the_client_says_what_the_rfc_says() -> None:
    talk = ScramSha256(lambda: OURS).respond(USER, PASSWORD)
    assert next(talk) == CLIENT_FIRST
    assert talk.send(SERVER_FIRST) == CLIENT_FINAL
    assert talk.send(SERVER_FINAL) == b""
    with pytest.raises(StopIteration):
        talk.send(None)


# --- dishonest servers, at our client ----------------------------------------------------------------------------


def started() -> scram.Responses:
    talk = ScramSha256(lambda: OURS).respond(USER, PASSWORD)
    next(talk)
    return talk


def answered() -> scram.Responses:
    talk = started()
    talk.send(SERVER_FIRST)
    return talk


BOTH = OURS + THEIRS
BAD_FIRSTS = {
    "nothing": "",
    "no SCRAM": "r=nonsense",
    "another nonce": f"r=x{BOTH},s=c2FsdA==,i=4096",
    "our nonce in other letters": f"r={OURS.upper()}{THEIRS},s=c2FsdA==,i=4096",
    "our nonce alone": f"r={OURS},s=c2FsdA==,i=4096",
    "part of our nonce": f"r={OURS[:-1]},s=c2FsdA==,i=4096",
    "a nonce with a blank": f"r={BOTH} x,s=c2FsdA==,i=4096",
    "a nonce with an accent": f"r={BOTH}é,s=c2FsdA==,i=4096",
    "no salt": f"r={BOTH},s=,i=4096",
    "a salt that is not base64": f"r={BOTH},s=c2FsdA,i=4096",
    "4095 iterations": f"r={BOTH},s=c2FsdA==,i=4095",
    "a million and one": f"r={BOTH},s=c2FsdA==,i=1000001",
    "iterations without end": f"r={BOTH},s=c2FsdA==,i={'9' * 5000}",
    "no iterations": f"r={BOTH},s=c2FsdA==",
    "iterations with a sign": f"r={BOTH},s=c2FsdA==,i=+4096",
    "iterations in other digits": f"r={BOTH},s=c2FsdA==,i=٤٠٩٦",
    "another order": f"s=c2FsdA==,r={BOTH},i=4096",
    "what must be understood, first": f"m=x,r={BOTH},s=c2FsdA==,i=4096",
    "what must be understood, last": f"r={BOTH},s=c2FsdA==,i=4096,m=x",
    "an error": "e=unknown-user",
}


@pytest.mark.parametrize("first", BAD_FIRSTS.values(), ids=BAD_FIRSTS)
def test_a_client_gives_up_before_it_has_proved_anything(first: str) -> None:
    with pytest.raises((AuthError, ValueError)):
        started().send(first.encode())


def test_octets_that_are_no_text_are_no_challenge() -> None:
    with pytest.raises(AuthError):
        started().send(b"r=\xff\xfe,s=c2FsdA==,i=4096")


@pytest.mark.parametrize("final", [b"", b"v=", b"e=invalid-proof", b"e=", b"v=AAAA", b"x" + SERVER_FINAL,
                                   SERVER_FINAL + b",m=x", b"v=" + b"A" * 43 + b"=", b"\xff"])
def test_a_client_believes_no_server_that_has_not_proved_itself(final: bytes) -> None:
    with pytest.raises((AuthError, ValueError)):
        answered().send(final)


@pytest.mark.parametrize("bit", range(256))
def test_a_server_signature_with_one_wrong_bit_is_none(bit: int) -> None:
    octets = bytearray(decode64(SERVER_FINAL.decode()[2:]))
    octets[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthError):
        answered().send(b"v=" + base64.b64encode(octets))


@pytest.mark.parametrize("begin", [started, answered])
def test_235_without_a_proof_is_not_believed(begin: Callable[[], scram.Responses]) -> None:
    with pytest.raises(AuthError):
        begin().send(None)


def test_a_server_that_goes_on_asking() -> None:
    talk = answered()
    talk.send(SERVER_FINAL)
    with pytest.raises(AuthError):
        talk.send(b"")


def test_extensions_that_nobody_must_understand_are_ignored_and_count_in_the_proof() -> None:
    exam, talk = Exam(), started()
    challenge = exam.say(CLIENT_FIRST + b",x=1,y=a=b")
    assert challenge == SERVER_FIRST
    proof = talk.send(SERVER_FIRST + b",x=1")
    assert proof != CLIENT_FINAL
    assert answered().send(SERVER_FINAL + b",x=1") == b""
    with pytest.raises(AuthError):
        exam.say(CLIENT_FINAL)                          # it was made without the client's extensions


@pytest.mark.parametrize("user, password", [("", "x"), ("ana", ""), ("a\0b", "x"), ("ana", "a\x07"), ("\u00ad", "x"),
                                            ("ana", "\U0001f600"), ("\udc80", "x"), ("ana", "\udc80")])
def test_what_cannot_be_prepared_is_an_error_before_a_word_is_said(user: str, password: str) -> None:
    with pytest.raises(ValueError):
        next(ScramSha256().respond(user, password))


# --- dishonest clients, at our server ----------------------------------------------------------------------------


@pytest.mark.parametrize("first", [
    b"", b"n", b"n,,", b"n=user,r=x", b"n,,n=user", b"n,,r=x,n=user", b"n,,n=,r=x", b"n,,n=user,r=", b"x,,n=user,r=x",
    b"p=tls-unique,,n=user,r=x", b"p=,,n=user,r=x", b"N,,n=user,r=x", b"n,a=,n=user,r=x", b"n,user,n=user,r=x",
    b"n,,m=x,n=user,r=x", b"n,,n=user,r=x,m=x", b"n,,n=us=er,r=x", b"n,,n=user=,r=x", b"n,,n=user=2c,r=x",
    b"n,,n=us\0er,r=x", b"n,,n=us\x07er,r=x", b"n,,n=user,r=a b", b"n,,n=user,r=x,", b"n,,n=user,r=x,xyz",
    b"n,,n=\xc2\xad,r=x", b"n,,n=\xff,r=x", b"n,a=a=b,n=user,r=x", b"n,,n=user,r=\xc3\xa9", b"n,,n=user,r=x,x=",
    b"n,,n=user,r=x,1=x"])
def test_a_first_message_that_is_none(first: bytes) -> None:
    with pytest.raises(BadResponse):
        Exam().say(first)


def finals() -> dict[str, bytes]:
    start, _, proof = CLIENT_FINAL.rpartition(b",p=")
    binding, nonce = start.split(b",", 1)
    return {
        "no proof": start, "an empty proof": start + b",p=", "a proof that is not base64": start + b",p=!!!!",
        "31 octets": start + b",p=" + base64.b64encode(decode64(proof.decode())[:31]),
        "33 octets": start + b",p=" + base64.b64encode(decode64(proof.decode()) + b"x"),
        "zeros": start + b",p=" + base64.b64encode(bytes(32)),
        "another nonce": CLIENT_FINAL.replace(b"r=rO", b"r=xO"), "a longer nonce": CLIENT_FINAL.replace(b",p", b"x,p"),
        "only the client's nonce": binding + b",r=" + OURS.encode() + b",p=" + proof,
        "another binding": CLIENT_FINAL.replace(b"biws", b"eSws"), "no binding": nonce + b",p=" + proof,
        "another order": nonce + b"," + binding + b",p=" + proof, "what must be understood": start + b",m=x,p=" + proof,
        "an extension that is not proved": start + b",x=1,p=" + proof, "not UTF-8": CLIENT_FINAL + b"\xff",
        "nothing": b"", "twice": CLIENT_FINAL + b"," + CLIENT_FINAL}


@pytest.mark.parametrize("final", finals().values(), ids=finals())
def test_a_final_message_that_proves_nothing(final: bytes) -> None:
    exam = Exam()
    exam.say(CLIENT_FIRST)
    with pytest.raises((AuthError, ValueError)):
        exam.say(final)


@pytest.mark.parametrize("bit", range(256))
def test_a_proof_with_one_wrong_bit_is_none(bit: int) -> None:
    start, _, proof = CLIENT_FINAL.rpartition(b",p=")
    octets = bytearray(decode64(proof.decode()))
    octets[bit // 8] ^= 1 << bit % 8
    exam = Exam()
    exam.say(CLIENT_FIRST)
    with pytest.raises(AuthError):
        exam.say(start + b",p=" + base64.b64encode(octets))


def client(user: str, password: str, header: str = "n,,", final_header: str | None = None) -> Conversation[None]:
    """The client's end by hand, with another header; raises what our own raises. Yields what it says."""
    talk = scram.prove(user, password, OURS)
    bare = next(talk).decode().removeprefix("n,,")
    challenge = (yield (header + bare).encode()).decode()
    both, salt, iterations = scram.server_first(challenge, OURS)
    final = f"c={scram.encode64((final_header or header).encode())},r={both}"
    salted = scram.salted_password(password, salt, iterations)
    key, spoken = scram.mac(salted, b"Client Key"), f"{bare},{challenge},{final}".encode()
    yield f"{final},p={scram.encode64(scram.xor(key, scram.mac(scram.sha256(key), spoken)))}".encode()


@pytest.mark.parametrize("header, passes", [("n,,", True), ("y,,", True), ("n,a=user,", True), ("y,a=user,", True),
                                            ("n,a=ana,", False)])
def test_the_header_comes_back_and_nobody_acts_for_others(header: str, passes: bool) -> None:
    exam, talk = Exam(), client(USER, PASSWORD, header)
    challenge = exam.say(next(talk))
    if passes:
        assert (exam.say(talk.send(challenge)) or b"").startswith(b"v=")
    else:
        with pytest.raises(AuthError):
            exam.say(talk.send(challenge))


@pytest.mark.parametrize("first, final", [("n,,", "y,,"), ("y,,", "n,,"), ("n,a=user,", "n,,"), ("n,,", "n,a=user,")])
def test_another_header_than_at_first_is_refused_with_a_good_proof_too(first: str, final: str) -> None:
    exam, talk = Exam(), client(USER, PASSWORD, first, final)
    challenge = exam.say(next(talk))
    with pytest.raises(AuthError):
        exam.say(talk.send(challenge))


def test_there_is_nothing_to_say_after_the_servers_proof() -> None:
    exam = Exam()
    exam.say(CLIENT_FIRST)
    exam.say(CLIENT_FINAL)
    with pytest.raises(BadResponse):
        exam.say(b"more")
    assert exam.user is None


def test_every_exchange_has_nonces_of_its_own() -> None:
    firsts = {next(ScramSha256().respond(USER, PASSWORD)) for _ in range(20)}
    mechanism = ScramSha256()
    challenges = {Exam(USERS, mechanism).say(CLIENT_FIRST) for _ in range(20)}
    assert len(firsts) == len(challenges) == 20
    assert all(re.fullmatch(rb"r=rOprNGfwEbeRWgbNEkqO[!-+\--~]{18,},s=W22Z[^,]*,i=4096", c or b"") for c in challenges)


# --- who is unknown ----------------------------------------------------------------------------------------------


def test_an_unknown_user_is_examined_like_a_known_one() -> None:
    seen = []
    for user in (b"user", b"nobody"):
        exam = Exam()
        challenge = exam.say(b"n,,n=" + user + b",r=" + OURS.encode()) or b""
        seen.append((exam.work, re.sub(rb"s=[^,]*", b"s=", challenge), len(challenge)))
        with pytest.raises(AuthError, match="^wrong$"):
            exam.say(CLIENT_FINAL.replace(b"p=d", b"p=e"))
        assert exam.work == 1
    assert seen[0] == seen[1]


def test_a_salt_stays_and_belongs_to_one_user_of_one_server() -> None:
    one, other = Keys({USER: KEYS}, b"secret"), Keys({USER: KEYS}, b"other secret")
    assert one.scram_keys("nobody") == one.scram_keys("nobody") == decoy(b"secret", "nobody", 4096)
    assert len({keys.salt for keys in map(one.scram_keys, ["nobody", "somebody", USER])}) == 3
    assert one.scram_keys("nobody").salt != other.scram_keys("nobody").salt


def test_a_store_that_knows_nothing_of_a_user_gives_it_away_no_more() -> None:
    class Forgetful(Keys):
        def scram_keys(self, user: str) -> ScramKeys | None:        # type: ignore[override]
            return self._keys.get(user)

    mechanism = ScramSha256(lambda: THEIRS)
    said = {Exam(Forgetful({USER: KEYS}), mechanism).say(b"n,,n=nobody,r=x") for _ in range(3)}
    assert len(said) == 1 and Exam(Forgetful({}), ScramSha256(lambda: THEIRS)).say(b"n,,n=nobody,r=x") not in said


@pytest.mark.parametrize("user, password, right", [
    (USER, PASSWORD, True), (USER, "pencils", False), ("nobody", PASSWORD, False), (USER, "", False),
    ("", PASSWORD, False), (USER, "a\x07", False), ("a\0", "x", False), (" user", PASSWORD, False),
    ("us\u00ader", PASSWORD, True)])
def test_a_password_can_be_checked_with_keys(user: str, password: str, right: bool) -> None:
    assert USERS.verify(user, password) is right


def test_as_much_work_for_an_unknown_user(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    slow = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        done.append(iterations)
        return slow(name, password, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    users = Keys({"a": scram_keys("x", iterations=5000), "b": scram_keys("x", iterations=5000), "c": KEYS})
    done.clear()
    assert not users.verify("a", "y") and not users.verify("nobody", "y") and done == [5000, 5000]


def test_nothing_secret_shows() -> None:
    shown = repr(KEYS) + repr(USERS) + repr(ScramSha256())
    for octets in (KEYS.stored_key, KEYS.server_key):
        assert repr(octets) not in shown and scram.encode64(octets) not in shown
    with pytest.raises(ValueError) as caught:
        scram_keys("hunter2\x07")
    assert "hunter2" not in str(caught.value)


# --- names and passwords -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, prepared", [            # RFC 4013 §3, RFC 5802 §3, and the two tables' one overlap
    ("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("\u00bd", "1\u20442"),
    ("\u00b4", " \u0301"), ("a\u00a0b", "a b"), ("a\u200bb", "a b"), ("a\u3000b", "a b"), ("e\u0301", "\u00e9"),
    ("\u0627\u0031\u0628", "\u0627\u0031\u0628"), ("\u05d0\u05d1", "\u05d0\u05d1"), ("\ufb01", "fi"),
    ("\U0001f600", "\U0001f600")])
def test_saslprep(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared and saslprep(prepared) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "", "\u00ad", "\x7f", "\x85", "\ue000", "\ufdd0", "\ufffe",
                                  "\ud800", "\ufffd", "\u2ff0", "\u202e", "\U000e0041", "\u05d0a\u05d0",
                                  "a\u05d0", "\u05d0a", "\u0000"])
def test_what_saslprep_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        saslprep(text)


def test_a_password_is_a_stored_string() -> None:
    with pytest.raises(ValueError, match="Unicode 3.2"):
        saslprep("\U0001f600", stored=True)
    assert scram_keys("\u2168", SALT, 4096) == scram_keys("IX", SALT, 4096) != KEYS


@given(st.text(max_size=20))
def test_saslprep_has_one_spelling_for_all(text: str) -> None:
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    assert prepared and saslprep(prepared) == prepared


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=30))
def test_names_survive(name: str) -> None:
    try:
        name = saslprep(name)
    except ValueError:
        assume(False)
    quoted = encode_name(name)
    assert "," not in quoted and decode_name(quoted) == name


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("é½´ª用户ßﬁⅨ,=\u00ad\u00a0\u0301"),
                min_size=1, max_size=12)


@given(WORDS, WORDS, WORDS)
@settings(max_examples=60)
def test_whoever_knows_the_password_is_let_in_and_nobody_else(user: str, password: str, other: str) -> None:
    try:
        users = Keys({user: scram_keys(password, iterations=4096)})
        talk = ScramSha256().respond(user, other)
        first = next(talk)
    except ValueError:
        assume(False)
    exam = Exam(users, ScramSha256())
    final = talk.send(exam.say(first))
    if saslprep(password) == saslprep(other):
        assert talk.send(exam.say(final)) == b"" and exam.say(b"") is None and exam.user == saslprep(user)
    else:
        with pytest.raises(AuthError):
            exam.say(final)


# --- within SMTP -------------------------------------------------------------------------------------------------


def visit(users: Users, password: str = PASSWORD,
          mechanism: Mechanism | None = None) -> tuple[CodedClientSession, object]:
    """A client that logs in by SCRAM at a server with these users; returns it, and what was said."""
    theirs = Auth(user=USER, password=password, mechanisms=[ScramSha256()], insecure=True)
    client = CodedClientSession("rio.example", check_requirements([theirs]))
    ours = Auth(users, mechanisms=[mechanism or ScramSha256()], insecure=True)
    server = CodedSession("mx.example", extensions=ExtensionSet([ours]))

    def talk() -> Conversation[None]:
        yield from open_session(client)
        yield from client.read_replies()

    return client, rehearse(talk(), serve(server), patient=True)


def test_over_smtp_both_are_sure() -> None:
    client, said = visit(USERS)
    assert client.user == USER
    assert PASSWORD not in str(said)


def test_an_empty_challenge_has_its_blank() -> None:
    """RFC 4954 §8; msmtp takes anything else for no reply."""
    def talk() -> Conversation[list[bytes]]:
        said = [(yield Line(512))]
        for line in (b"EHLO rio.example\r\n", b"AUTH SCRAM-SHA-256\r\n", b"*\r\n", b"QUIT\r\n"):
            yield line
            said.append((yield Line(512)))
            while said[-1][3:4] == b"-":
                said.append((yield Line(512)))
        return said

    ours = Auth(USERS, mechanisms=[ScramSha256()], insecure=True)
    server = CodedSession("mx.example", extensions=ExtensionSet([ours]))
    assert b"334 " in rehearse(talk(), serve(server)).client


def test_over_smtp_a_wrong_password_is_refused() -> None:
    with pytest.raises(SMTPAuthenticationError) as caught:
        visit(USERS, "pen")
    assert caught.value.reply.code == 535


def test_over_smtp_a_server_that_knows_no_password_is_found_out() -> None:
    class Impostor(ScramSha256):
        def examine(self, users: Users) -> scram.Examination:
            first = yield b""
            nonce = first.rpartition(b"r=")[2]
            yield b"r=" + nonce + b"x,s=c2FsdA==,i=4096"
            yield b"v=" + base64.b64encode(bytes(32))
            return USER

    with pytest.raises(SMTPAuthenticationError, match="does not know the password"):
        visit(USERS, mechanism=Impostor())


def test_over_smtp_a_server_that_is_content_at_once_is_found_out() -> None:
    class Generous(ScramSha256):
        def examine(self, users: Users) -> scram.Examination:
            yield b""
            return USER

    with pytest.raises(SMTPAuthenticationError, match="235") as caught:
        visit(USERS, mechanism=Generous())
    assert caught.value.reply.code == 235


# --- the store ---------------------------------------------------------------------------------------------------


def test_keys_as_text() -> None:
    text = KEYS.to_text()
    assert text == ("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
    assert ScramKeys.from_text(text) == KEYS
    for wrong in ("", text[:-1], text + "x", text.replace("4096", "0"), text.replace("4096", "-1"), "x" + text,
                  text.replace("$WG5d", "$"), text.replace("SHA-256", "SHA-1"), text + "\n"):
        with pytest.raises(ValueError):
            ScramKeys.from_text(wrong)


# --- software that nobody here wrote -----------------------------------------------------------------------------

AUTHORITY = certificates("127.0.0.1")


@pytest.mark.parametrize("password, status", [("pencil, ½ é", 0), ("pencil", 77)])
def test_msmtp_logs_in(tmp_path: Path, password: str, status: int) -> None:
    """GNU SASL's SCRAM, with a password that SASLprep changes (RFC 5802 §3)."""
    msmtp = shutil.which("msmtp")
    if not msmtp:
        pytest.skip("msmtp is not installed: apt-get install msmtp")
    AUTHORITY.save(tmp_path)
    users = UserFile(tmp_path / "users", create=True)
    users.add("josé=,x", "pencil, ½ é")
    with Server(tls=AUTHORITY.server, users=users, require_auth=True) as server:
        done = subprocess.run(
            [msmtp, f"--host={server.address[0]}", f"--port={server.address[1]}", "--from=ana@rio.example", "--tls=on",
             f"--tls-trust-file={tmp_path / 'ca.pem'}", "--auth=scram-sha-256", "--user=josé=,x",
             f"--passwordeval=printf '%s\\n' '{password}'", "--file=/dev/null", "kenji@tokyo.example"],
            input=b"Subject: msmtp\n\nlogged in", capture_output=True, timeout=60)
        assert done.returncode == status, done.stderr
        assert len(server.messages) == (status == 0)


@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_we_log_in_at(name: str) -> None:
    """Cyrus SASL's SCRAM; both ends prove themselves."""
    if reason := missing(name):
        pytest.skip(f"{name} is not here: {reason}")
    with running(name) as peer:
        context = ssl.create_default_context(cafile=peer.ca_file)
        said: list[str] = []
        with Client(peer.host, peer.port, tls=context, tap=lambda one: said.append(str(one))) as smtp:
            smtp.login(peer.user, peer.password, mechanisms=[ScramSha256()])
            assert smtp.session.user == peer.user
            receipt = smtp.sendmail(peer.sender, peer.recipient, "Subject: SCRAM\r\n\r\nlogged in\r\n")
            assert not receipt.refused
        with Client(peer.host, peer.port, tls=context) as smtp:
            with pytest.raises(SMTPAuthenticationError) as caught:
                smtp.login(peer.user, peer.password + "x", mechanisms=[ScramSha256()])
            assert caught.value.reply.code == 535

"""Promises about who somebody is: one user has one name, guessers are slowed, what is compared is compared in constant
time, and a name beyond ASCII is announced where a parameter stands."""
from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest

from smtp_from_scratch import Client, Reply, Server
from smtp_from_scratch.auth import MOST_FAILURES, Auth, CramMd5, Login, Passwords, Plain, Users, cram_md5
from smtp_from_scratch.chunking import Chunking
from smtp_from_scratch.conversation import Conversation, Work, read_reply, rehearse
from smtp_from_scratch.ehlo import EightBitMime, Extension, ExtensionSet, check_requirements
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.oauth import Tokens, XOAuth2
from smtp_from_scratch.sasl import Examination, Mechanism, Responses, SMTPAuthenticationError
from smtp_from_scratch.scram import Keys, ScramKeys, ScramSha256, scram_keys
from smtp_from_scratch.session import serve
from smtp_from_scratch.smtputf8 import SmtpUtf8
from smtp_from_scratch.status import CodedClientSession, CodedSession, EnhancedStatusCodes
from smtp_from_scratch.submission import Submission, own_address
from smtp_from_scratch.throttle import Guesses, origin
from smtp_from_scratch.transaction import OutgoingMessage, open_session
from tests.whole_session import whole_session

ANA, TIDES = "ana@rio.example", "maré, ½ alta"
SPELLINGS = {"wide": "\uff41na@rio.example", "soft hyphen": "a\u00adna@rio.example", "wide at": "ana\uff20rio.example",
             "joiner": "\u2060ana@rio.example", "non-joiner": "ana\u200c@rio.example",
             "selector": "ana\ufe0f@rio.example", "as it is": ANA}


class Store(Passwords):
    """A store for all mechanisms, which notes whom it was asked for."""

    knows = frozenset({"verify", "secret", "scram_keys"})

    def __init__(self, passwords: dict[str, str]) -> None:
        super().__init__(passwords)
        self.keys = Keys({user: scram_keys(word, iterations=4096) for user, word in passwords.items()})
        self.asked: list[str] = []

    def verify(self, user: str, password: str) -> bool:
        self.asked.append(user)
        return super().verify(user, password)

    def secret(self, user: str) -> str | None:
        self.asked.append(user)
        return super().secret(user)

    def scram_keys(self, user: str) -> ScramKeys:
        self.asked.append(user)
        return self.keys.scram_keys(user)


MECHANISMS: tuple[Mechanism, ...] = (Plain(), Login(), CramMd5(), ScramSha256())
mechanisms = pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda mechanism: mechanism.name)


def served(*extensions: Extension, **settings: Any) -> CodedSession:
    """A session of a server with these extensions."""
    return CodedSession("mx.example", extensions=ExtensionSet(extensions), **settings)


def caller(user: str, password: str, mechanism: Mechanism, *more: Extension) -> CodedClientSession:
    """A client that logs in, on any line."""
    known = Auth(user=user, password=password, mechanisms=[mechanism], insecure=True)
    return CodedClientSession("rio.example", check_requirements([*more, known]))


def sit(mechanism: Mechanism, users: Users, user: str, password: str, *more: Extension) -> tuple[CodedSession, Any]:
    """A login in SMTP, in memory: the server's session, and the client's error or None."""
    session = served(Auth(users, insecure=True, mechanisms=[mechanism]), *more)
    client = caller(user, password, mechanism, *more)

    def talk() -> Conversation[Any]:
        try:
            yield from whole_session(client, [])
        except (SMTPAuthenticationError, ValueError) as error:
            return error

    return session, rehearse(talk(), serve(session)).client


def told(lines: list[bytes], session: CodedSession) -> list[Reply]:
    """The replies to these lines, each said when the one before was answered, after greeting and EHLO."""
    def client() -> Conversation[list[Reply]]:
        replies = [(yield from read_reply())]
        for line in (b"EHLO rio.example", *lines):
            if replies[-1].code == 421:
                break
            yield line + b"\r\n"
            replies.append((yield from read_reply()))
        return replies[2:]

    return list(rehearse(client(), serve(session)).client)


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


# --- one user, one name ----------------------------------------------------------------------------------------------


class AsTyped(Mechanism):
    """Somebody else's mechanism, which passes a name on as it came."""

    name = "X-AS-TYPED"

    def examine(self, users: Users) -> Examination:
        user = (yield b"").decode()
        yield Work(lambda: users.verify(user, TIDES))
        return user

    def respond(self, user: str, password: str) -> Responses:
        yield user.encode()


@pytest.mark.parametrize("mechanism", [*MECHANISMS, AsTyped()], ids=lambda mechanism: mechanism.name)
@pytest.mark.parametrize("typed", SPELLINGS.values(), ids=SPELLINGS)
def test_however_a_name_is_typed_the_user_is_who_it_means(mechanism: Mechanism, typed: str) -> None:
    users = Store({ANA: TIDES})
    session, error = sit(mechanism, users, typed, TIDES)
    assert error is None and session.user == ANA
    if mechanism.name != "X-AS-TYPED":
        assert users.asked == [ANA], "a store is asked for names in their one spelling"


@mechanisms
@pytest.mark.parametrize("typed", SPELLINGS.values(), ids=SPELLINGS)
def test_no_spelling_passes_a_list_of_those_who_may_not_send(mechanism: Mechanism, typed: str) -> None:
    def not_ana(address: str, envelope: Envelope) -> Reply | None:
        return Reply(550, "not this week", "5.7.1") if envelope.user == ANA else None

    session = served(Auth(Store({ANA: TIDES}), insecure=True, mechanisms=[mechanism]), accept_sender=not_ana)
    client = caller(typed, TIDES, mechanism)
    letter = OutgoingMessage(Envelope(ANA, ["kenji@tokyo.example"]), [b"Hi\r\n"])
    [receipt] = rehearse(whole_session(client, [letter]), serve(session)).client
    assert receipt.refused_by == "MAIL" and session.user == ANA


@pytest.mark.parametrize("identity, code", [
    ("", 235), (ANA, 235), (SPELLINGS["wide"], 235), ("kenji@tokyo.example", 535), ("\u00ad", 535), ("ana\x07", 535)])
def test_whoever_acts_as_themselves_may_spell_it_in_any_way(identity: str, code: int) -> None:
    session = served(Auth(Store({ANA: TIDES}), insecure=True))
    [reply] = told([b"AUTH PLAIN " + b64(f"{identity}\0{SPELLINGS['wide']}\0{TIDES}")], session)
    assert reply.code == code and session.user == (ANA if code == 235 else "")


NOBODYS = ["\u00ad", "ana\x07", "ana\u202e@rio.example", "\ue000", "\u0627b"]


@pytest.mark.parametrize("name", NOBODYS)
def test_a_name_that_nobody_can_have_is_wrong_like_any_other(name: str) -> None:
    users = Store({ANA: TIDES})
    lines = [b"AUTH PLAIN " + b64(f"\0{name}\0{TIDES}"), b"AUTH LOGIN", b64(name), b64(TIDES)]
    cram = [b"AUTH CRAM-MD5", b64(f"{name} {'0' * 32}")]
    session = served(Auth(users, insecure=True))
    assert [str(reply)[:9] for reply in told(lines, session)][::3] == ["535 5.7.8"] * 2
    assert [reply.code for reply in told(cram, served(*session.extensions.extensions))] == [334, 535]
    assert users.asked == [] and session.counts["AUTH"] == 2


PASSWORDS = [("maré", "mare\u0301"), ("½", "1\u20442"), ("two words", "two\u00a0words"), ("ﬁsh", "fish"),
             ("x", "\uff58"), ("ab", "a\u00adb"), ("ab", "a b"), ("a", "A"), ("a", "a "), ("x", "\u00ad"),
             ("x", "x\x07"), ("x", "x\U0001f30a")]


@mechanisms
@pytest.mark.parametrize("kept, typed", PASSWORDS)
def test_all_mechanisms_and_stores_agree_about_a_password(mechanism: Mechanism, kept: str, typed: str) -> None:
    keys = Keys({ANA: scram_keys(kept, iterations=4096)})
    right = keys.verify(ANA, typed)
    assert Passwords({ANA: kept}).verify(ANA, typed) is right
    session, _ = sit(mechanism, Store({ANA: kept}), ANA, typed)
    assert (session.user == ANA) is right
    if mechanism.needs == "verify":
        assert (sit(mechanism, keys, ANA, typed)[0].user == ANA) is right


@pytest.mark.parametrize("user, password", [("\x07", "x"), ("", "x"), (ANA, ""), (ANA, "a\tb"), (ANA, "\U0001f30a")])
def test_what_one_store_refuses_to_keep_the_other_does_too(user: str, password: str) -> None:
    with pytest.raises(ValueError):
        Passwords({user: password})
    with pytest.raises(ValueError):
        Keys({user: scram_keys(password, iterations=4096)})


def test_a_user_is_not_kept_in_two_spellings() -> None:
    with pytest.raises(ValueError, match="two spellings"):
        Passwords({ANA: "one", SPELLINGS["wide"]: "two"})
    with pytest.raises(ValueError, match="two spellings"):
        Keys(dict.fromkeys((ANA, SPELLINGS["wide"]), scram_keys("one", iterations=4096)))


def test_a_store_that_is_empty_is_a_store() -> None:
    class Empty(Passwords):
        def __len__(self) -> int:
            return 0

    session = served(Auth(Empty({}), insecure=True, required=True))
    replies = told([b"AUTH PLAIN " + b64(f"\0{ANA}\0x"), b"MAIL FROM:<a@b.example>"], session)
    assert [reply.code for reply in replies] == [535, 530]


@pytest.mark.parametrize("user, sender, may", [
    ("ana", "ana@rio.example", False), ("ana", "ana@localhost", False), ("ana", "ana", True), ("ana", "", True),
    ("ana", "ana@", False), ("", "ana@rio.example", False), ("rio.example", "ana@rio.example", False),
    (ANA, "ana", False), (ANA, ANA.upper(), True), (ANA.upper(), ANA, True), (ANA, "xana@rio.example", False),
    (ANA, ANA + ".example", False),
])
def test_a_user_has_one_address_and_without_a_domain_none(user: str, sender: str, may: bool) -> None:
    assert own_address(user, sender) is may


def test_a_user_without_a_domain_sends_bounces_only() -> None:
    submission = Submission(own_address)
    session = served(Auth(Passwords({"ana": TIDES}), insecure=True),
                     accept_sender=submission.accept_sender(lambda address, envelope: None))
    replies = told([b"AUTH PLAIN " + b64(f"\0ana\0{TIDES}"), b"MAIL FROM:<ana@rio.example>", b"MAIL FROM:<>"], session)
    assert [reply.code for reply in replies] == [235, 550, 250]


@pytest.mark.parametrize("secret", ["", "None", ANA, "nobody"])
def test_nobody_has_an_empty_password(secret: str) -> None:
    users = Passwords({ANA: TIDES})
    assert not any(users.verify(user, word) for user in ("nobody", ANA) for word in (secret, ""))
    mechanism = CramMd5(lambda: "<1@mx>")
    for user in ("nobody", ANA):
        session = served(Auth(users, insecure=True, mechanisms=[mechanism]))
        digest = cram_md5(secret, b"<1@mx>")
        assert told([b"AUTH CRAM-MD5", b64(f"{user} {digest}")], session)[1].code == 535 and session.user == ""


# --- guessers --------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes only when somebody sleeps, and notes for how long."""

    def __init__(self) -> None:
        self.time, self.slept = 1000.0, list[float]()

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept.append(seconds)


def guessed(address: str, auth: Auth, password: str = "wrong") -> int:
    """A connection from this address, with one guess."""
    session = served(auth, peer=address)
    return told([b"AUTH PLAIN " + b64(f"\0{ANA}\0{password}")], session)[0].code


def slow() -> tuple[Clock, Guesses, Auth]:
    clock = Clock()
    guesses = Guesses(clock.now, clock.sleep)
    return clock, guesses, Auth(Passwords({ANA: TIDES}), insecure=True, guesses=guesses)


def test_wrong_guesses_from_one_address_are_slowed_on_however_many_connections() -> None:
    clock, guesses, auth = slow()
    assert [guessed("192.0.2.7", auth) for _ in range(guesses.FREE + 5)] == [535] * (guesses.FREE + 5)
    assert len(clock.slept) == 5 and min(clock.slept) == guesses.PACE, "some cost nothing, each further one its time"
    assert guessed("192.0.2.8", auth) == 535 and guessed("192.0.2.8", auth, TIDES) == 235
    assert len(clock.slept) == 5, "others wait for nobody"
    assert guessed("192.0.2.7", auth, TIDES) == 235 and len(clock.slept) == 6
    assert [guessed("192.0.2.7", auth) for _ in range(3)] == [535] * 3
    assert len(clock.slept) == 8, "the right one has waited as long as a wrong one, which so costs nothing; no more"


@pytest.mark.parametrize("mechanism", [Plain(), Login(), CramMd5(), ScramSha256()], ids=lambda m: m.name)
def test_every_mechanism_is_slowed(mechanism: Mechanism) -> None:
    clock = Clock()
    guesses = Guesses(clock.now, clock.sleep)
    users = Store({ANA: TIDES})
    for number in range(guesses.FREE + 3):
        client = caller(ANA, "wrong", mechanism)
        session = served(Auth(users, insecure=True, mechanisms=[mechanism], guesses=guesses), peer="192.0.2.7")

        def talk(client: CodedClientSession = client) -> Conversation[Any]:
            try:
                yield from whole_session(client, [])
            except SMTPAuthenticationError as error:
                return error

        assert rehearse(talk(), serve(session)).client.reply.code == 535
        assert len(clock.slept) == max(0, number + 1 - guesses.FREE)


def test_those_who_wait_at_once_wait_in_line_and_the_line_is_short() -> None:
    """Connections at the same moment: as if no time passed between their guesses."""
    clock, guesses, auth = slow()
    for _ in range(guesses.FREE):
        guesses.turn("192.0.2.7")
    turns = [guesses.turn("192.0.2.7") for _ in range(10)]
    line = [turn for turn in turns if turn is not None]
    assert line == [guesses.PACE * (n + 1) for n in range(len(line))] and max(line) <= guesses.LONGEST
    assert turns[len(line):] == [None] * (10 - len(line)) and 1 < len(line) < 10
    assert guessed("192.0.2.7", auth, TIDES) == 454 and clock.slept == [], "no look at the password, no wait"
    assert guessed("192.0.2.8", auth, TIDES) == 235
    clock.time += guesses.PACE
    assert guessed("192.0.2.7", auth, TIDES) == 235 and clock.slept == [guesses.LONGEST]


def test_wrong_guesses_are_forgotten_in_time() -> None:
    clock, guesses, _ = slow()
    for _ in range(500):
        guesses.turn("192.0.2.7")
    assert guesses.turn("192.0.2.7") is None
    clock.time += guesses.PACE
    assert guesses.turn("192.0.2.7") == guesses.LONGEST, "however many there were, there is a line to stand in"
    clock.time += guesses.FREE * guesses.PACE + guesses.LONGEST
    assert [guesses.turn("192.0.2.7") for _ in range(guesses.FREE + 1)] == [0.0] * guesses.FREE + [guesses.PACE]


def test_guesses_at_the_same_moment_count_before_anybody_knows_that_they_are_wrong() -> None:
    _, guesses, _ = slow()
    turns = [guesses.turn("192.0.2.7") for _ in range(150)]
    assert turns == [0.0] * guesses.FREE + [3.0, 6.0, 9.0] + [None] * (150 - guesses.FREE - 3)
    for _ in range(guesses.FREE + 3):
        guesses.take_back("192.0.2.7")          # all were right
    assert not guesses._forgotten and guesses.turn("192.0.2.7") == 0.0


def test_each_wrong_guess_costs_its_pace_and_no_more() -> None:
    clock, guesses, auth = slow()
    for _ in range(guesses.FREE + 20):
        assert guessed("192.0.2.7", auth) == 535
    assert clock.slept == [guesses.PACE] * 20


def test_a_wrong_token_is_a_guess_even_if_the_client_gives_up_then() -> None:
    clock, guesses, _ = slow()
    auth = Auth(Tokens(lambda user, token: False), insecure=True, guesses=guesses, mechanisms=[XOAuth2()])
    token = b64(f"user={ANA}\1auth=Bearer wrong\1\1")
    for _ in range(guesses.FREE + 1):
        replies = told([b"AUTH XOAUTH2 " + token, b"*"], served(auth, peer="192.0.2.7"))
        assert [reply.code for reply in replies] == [334, 535]
    assert clock.slept == [guesses.PACE]


class Slow:
    """A store whose functions are async, which no session waits for."""

    knows = frozenset({"verify", "token"})

    async def verify(self, user: str, password: str) -> bool:
        return False

    async def verify_token(self, user: str, token: str) -> bool:
        return False


@pytest.mark.parametrize("line", [b"AUTH PLAIN " + b64(f"\0{ANA}\0wrong"),
                                  b"AUTH XOAUTH2 " + b64(f"user={ANA}\1auth=Bearer wrong\1\1")])
def test_a_store_that_answers_neither_yes_nor_no_lets_nobody_in(line: bytes) -> None:
    session = served(Auth(Slow(), insecure=True, mechanisms=[Plain(), XOAuth2()]))  # type: ignore[arg-type]
    assert told([line], session)[0].code == 454 and session.user == ""
    with pytest.raises(TypeError, match="verify is an async function"):
        Server(users=Slow(), insecure_auth=True)  # type: ignore[arg-type]


def test_another_protocol_in_place_of_a_response_ends_the_session() -> None:
    """Nobody can say where the next line begins; what followed was dropped without a word."""
    session = served(Auth(Passwords({ANA: TIDES}), insecure=True))
    replies = told([b"AUTH LOGIN", b"\x16\x03\x01 hello", b"NOOP"], session)
    assert [reply.code for reply in replies[:2]] == [334, 421] and session.state == "closed"


def test_a_login_without_a_password_asks_nobody() -> None:
    users = Store({ANA: TIDES})
    assert told([b"AUTH LOGIN", b64(ANA), b""], served(Auth(users, insecure=True)))[-1].code == 535
    assert users.asked == []


def test_what_is_remembered_has_a_bound_and_the_latest_stay() -> None:
    _, guesses, _ = slow()
    for _ in range(guesses.FREE):
        guesses.turn("192.0.2.7")
    for number in range(guesses.PLACES * 2):
        guesses.turn(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1")
        if number == guesses.PLACES // 2:
            guesses.turn("192.0.2.7")
        if number == guesses.PLACES:
            assert guesses.turn("192.0.2.7") == 2 * guesses.PACE, "whoever goes on is not pushed out"
    assert len(guesses._forgotten) == guesses.PLACES


@pytest.mark.parametrize("address, other, same", [
    ("192.0.2.7", "192.0.2.8", False), ("192.0.2.7", "::ffff:192.0.2.7", True),
    ("2001:db8:1:2::1", "2001:db8:1:2:f::9", True), ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ("fe80::1%eth0", "fe80::2%eth1", True), ("::1", "127.0.0.1", False)])
def test_a_house_has_one_place(address: str, other: str, same: bool) -> None:
    assert (origin(address) == origin(other)) is same


def test_in_rehearsal_nobody_waits() -> None:
    clock, guesses, auth = slow()
    assert [guessed("", auth) for _ in range(guesses.FREE * 3)] == [535] * guesses.FREE * 3 and clock.slept == []


def test_what_is_no_guess_is_not_counted() -> None:
    clock, guesses, auth = slow()
    for _ in range(guesses.FREE * 2):
        session = served(auth, peer="192.0.2.7")
        told([b"AUTH PLAIN", b"*", b"AUTH PLAIN !", b"AUTH PLAIN AAAA", b"AUTH X"], session)
    assert guesses.turn("192.0.2.7") == 0.0 and clock.slept == []


def test_over_sockets_addresses_are_those_of_the_callers() -> None:
    clock, guesses, auth = slow()
    with Server(extensions=[auth]) as server:
        for _ in range(guesses.FREE + 1):
            with Client(*server.address, timeout=60.0) as smtp, pytest.raises(SMTPAuthenticationError):
                smtp.login(ANA, "wrong", mechanisms=[Login()], insecure=True)
    assert list(guesses._forgotten) == ["127.0.0.1"] and clock.slept == [guesses.PACE]


def test_a_connection_has_its_own_bound_as_before() -> None:
    _, _, auth = slow()
    session = served(auth, peer="192.0.2.7")
    replies = told([b"AUTH PLAIN " + b64(f"\0{ANA}\0wrong")] * 9, session)
    assert [reply.code for reply in replies] == [535] * (MOST_FAILURES - 1) + [421]
    assert session.state == "closed"


def test_a_stranger_who_says_bdat_is_refused_and_goes_on() -> None:
    """The octets after it are taken, whoever says it: nobody must take them for commands (RFC 3030 §2)."""
    ours = [Chunking(), Auth(Passwords({ANA: TIDES}), insecure=True, required=True)]
    session = served(*ours)
    replies = told([b"BDAT 6 LAST\r\nQUIT", b"NOOP"], session)         # the last two octets are the line end
    assert 500 <= replies[0].code < 600 and [reply.code for reply in replies[1:]] == [250]


# --- what is secret is compared in constant time ---------------------------------------------------------------------


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[set[bytes]]:
    """The pairs that `hmac.compare_digest` was asked to compare."""
    pairs: list[set[bytes]] = []
    honest = hmac.compare_digest

    def compare_digest(one: bytes, other: bytes) -> bool:
        pairs.append({one, other})
        return honest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    return pairs


@pytest.mark.parametrize("user", [ANA, "nobody"])
def test_passwords_are_compared_in_constant_time(user: str, compared: list[set[bytes]]) -> None:
    assert not Passwords({ANA: "right"}).verify(user, "wrong")
    assert compared == [{b"right" if user == ANA else b"", b"wrong"}]


@pytest.mark.parametrize("user", [ANA, "nobody"])
def test_digests_are_compared_in_constant_time(user: str, compared: list[set[bytes]]) -> None:
    exam = CramMd5(lambda: "<1@mx>").examine(Passwords({ANA: "right"}))
    next(exam)
    work: Any = exam.send(f"{user} {'0' * 32}".encode())
    with pytest.raises(Exception, match="wrong"):
        exam.send(work.function())
    right = cram_md5("right" if user == ANA else "", b"<1@mx>")
    assert compared == [{right.encode(), b"0" * 32}]


def test_keys_and_signatures_are_compared_in_constant_time(compared: list[set[bytes]]) -> None:
    keys = scram_keys("right", iterations=4096)
    users = Keys({ANA: keys})
    assert not users.verify(ANA, "wrong") and len(compared) == 1 and keys.stored_key in compared.pop()
    session, error = sit(ScramSha256(), users, ANA, "right")
    assert error is None and session.user == ANA
    assert len(compared) == 2 and keys.stored_key in compared[0], "the server compares the proof"
    assert len(compared[1]) == 1, "the client compares the server's signature"


# --- refusals at the client ------------------------------------------------------------------------------------------


@mechanisms
def test_a_refusal_has_its_enhanced_code_in_its_field(mechanism: Mechanism) -> None:
    _, error = sit(mechanism, Store({ANA: TIDES}), ANA, "wrong", EnhancedStatusCodes())
    assert isinstance(error, SMTPAuthenticationError)
    assert (error.reply.code, error.reply.enhanced, error.reply.text) == (535, "5.7.8", "wrong user or password")


def test_so_has_the_answer_to_a_star() -> None:
    class Puzzling(Login):
        def examine(self, users: Users) -> Examination:
            yield b"Username:"
            yield b"Password:"
            yield b"And your mother's name:"
            return ANA

    session = served(Auth(Store({}), insecure=True, mechanisms=[Puzzling()]), EnhancedStatusCodes())
    client = caller(ANA, TIDES, Login(), EnhancedStatusCodes())
    with pytest.raises(SMTPAuthenticationError) as refusal:
        rehearse(open_session(client), serve(session))
    assert (refusal.value.reply.enhanced, refusal.value.reply.text) == ("5.7.0", "as you like")


# --- names beyond ASCII ----------------------------------------------------------------------------------------------

UTF8 = (EightBitMime(), SmtpUtf8())


@pytest.mark.parametrize("line, code", [
    ('MAIL FROM:<"é SMTPUTF8 x"@x.example>', "550 5.6.7"), ('MAIL FROM:<"é SMTPUTF8"@x.example>', "550 5.6.7"),
    ('MAIL FROM:<"é\\" SMTPUTF8 "@x.example>', "550 5.6.7"), ('MAIL FROM:<"é SMTPUTF8 x"@x.example> SMTPUTF8', "250"),
    ("MAIL FROM:<é@x.example>", "550 5.6.7"), ("MAIL FROM:<a@é.example>", "550 5.6.7"),
    ("MAIL FROM:<é@x.example> BODY=8BITMIME", "550 5.6.7"), ("MAIL FROM:<é@x.example> smtputf8", "250"),
    ("MAIL FROM:<é@x.example> X-SMTPUTF8", "550 5.6.7"), ("MAIL FROM:<é@x.example> SMTPUTF8=1", "501 5.5.4"),
    ("MAIL FROM:<é@x.example SMTPUTF8", "501 5.1.7"), ("MAIL FROM:<é é@x.example> SMTPUTF8", "501 5.1.7"),
    ('VRFY "é SMTPUTF8 x"', "553 5.6.7"), ("VRFY é", "553 5.6.7"), ("VRFY é SMTPUTF8", "252"),
    ('VRFY "é x" SMTPUTF8', "252"), ("VRFY é@x.example smtputf8", "252"), ("VRFY SMTPUTF8é", "553 5.6.7"),
    ("VRFY SMTPUTF8 é", "553 5.6.7"),
    ("VRFY é SMTPUTF8x", "553 5.6.7"), ("EXPN é", "553 5.6.7"), ("EXPN é SMTPUTF8", "502"),
    ("MAIL FROM:<kenji@xn--r8jz45g.example>", "250"), ("VRFY kenji@xn--r8jz45g.example", "252"),
])
def test_only_a_parameter_announces(line: str, code: str) -> None:
    [reply] = told([line.encode()], served(*UTF8))
    assert str(reply).startswith(code)


@pytest.mark.parametrize("mail, rcpt, code", [
    ('FROM:<"a SMTPUTF8 b"@x.example>', "TO:<é@x.example>", "553 5.6.7"),
    ("FROM:<a@x.example>", 'TO:<"é SMTPUTF8"@x.example>', "553 5.6.7"),
    ("FROM:<a@x.example> SMTPUTF8", "TO:<é@x.example>", "250"),
    ("FROM:<a@x.example>", "TO:<kenji@xn--r8jz45g.example>", "250")])
def test_a_recipient_relies_on_mail(mail: str, rcpt: str, code: str) -> None:
    replies = told([f"MAIL {mail}".encode(), f"RCPT {rcpt}".encode()], served(*UTF8))
    assert replies[0].code == 250 and str(replies[1]).startswith(code)


def test_without_ehlo_nothing_is_announced() -> None:
    session = served(*UTF8)
    assert [reply.code for reply in told([b"HELO rio.example", "MAIL FROM:<é@x.example> SMTPUTF8".encode()],
                                         session)] == [250, 550]


@pytest.mark.parametrize("extensions", [[], [EightBitMime()], list(UTF8)])
def test_an_ascii_local_part_at_a_domain_of_a_labels_needs_nothing(extensions: list[Any]) -> None:
    with Server(extensions=extensions) as server, Client(*server.address, timeout=60.0) as smtp:
        receipt = smtp.sendmail("ana@xn--bcher-kva.example", "kenji@xn--r8jz45g.example", b"Subject: hi\r\n\r\nhi\r\n")
        assert receipt.accepted == ["kenji@xn--r8jz45g.example"]
    assert server.messages[0].envelope.parameters.get("SMTPUTF8", "no") == "no"


@pytest.mark.parametrize("start, limit, code", [
    ("MAIL FROM:<a@x.example> X=", 512 + 17 + 10, 555), ("VRFY ", 522, 252), ("EXPN ", 522, 502)])
def test_its_ten_octets_are_added_to_three_commands(start: str, limit: int, code: int) -> None:
    """For MAIL there are those of 8BITMIME, too (RFC 6531 §3.1 (6), RFC 6152 §2 (7))."""
    lines = [start.ljust(length, "x").encode() for length in (limit - 2, limit - 1)]
    replies = told(lines, served(*UTF8))
    assert [reply.code for reply in replies] == [code, 500]


def test_a_mechanism_that_says_nothing_of_a_password_may_be_used_in_the_clear() -> None:
    class Guest(Mechanism):
        name = "X-GUEST"
        clear = False

        def examine(self, users: Users) -> Examination:
            yield b""
            return "guest"

        def respond(self, user: str, password: str) -> Responses:
            yield b"let me in"

    ours = Auth(Store({}), insecure=True, mechanisms=[Plain(), Guest()])
    session = served(ours)
    theirs = Auth(user="guest", password="-", mechanisms=[Plain(), Guest()])
    client = CodedClientSession("rio.example", check_requirements([theirs]))
    rehearse(whole_session(client, []), serve(session))
    assert session.user == client.user == "guest"

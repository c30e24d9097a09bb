"""The checks of `auth` at wrong answers: each is told what is wrong with it."""
from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import random
import re
import secrets
from typing import Any
from urllib.parse import quote, unquote

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.auth import choose, cram_md5, decode64, exchange, fresh, read_plain, settle_auth
from smtp_from_scratch.client import SMTPNotSupportedError
from smtp_from_scratch.lab.checks.auth import BUGS, RESTON
from smtp_from_scratch.sasl import (
    AuthError,
    BadResponse,
    Mechanism,
    Responses,
    SMTPAuthenticationError,
    as_text,
    encode64,
)
from smtp_from_scratch.wire import Reply
from smtp_from_scratch.xtext import check_auth, decode_xtext, encode_xtext
from tests.solutions import solution


def gave(verdict: Any) -> str:
    """What a check found, in words; it must not have passed."""
    assert not verdict.passed
    return verdict.problem.gave if verdict.problem else str(verdict)


def matches(verdict: Any, words: str) -> None:
    """One of these words, which `|` parts, is in what the check found."""
    found = gave(verdict)
    assert any(word in found for word in words.split("|")), found


# -- base64 --


def by_pattern(text: str) -> bytes:
    if not re.fullmatch(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", text):
        raise ValueError(text)
    return base64.b64decode(text)


def all_value_errors(text: str) -> bytes:
    try:
        assert text.encode("ascii").decode() == text and "====" not in text and len(text) % 4 == 0
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (AssertionError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None


def never(text: str) -> bytes:
    raise ValueError(text)


@pytest.mark.parametrize("wrong, words", [
    (lambda text: b"", "b'' for 'dGlk"), (base64.b64decode, "dGl-!-kZXM="), (lambda text: b"tides", "b'tides' for ''"),
    (lambda text: base64.b64decode(text, validate=True), "dGlk===="),
    (lambda text: base64.b64decode(text + "=" * (-len(text) % 4), validate=True), "dGlkZXM"),
    (lambda text: base64.b64decode(text, validate=True).decode(), "'tides'"), (never, "ValueError"),
])
def test_decode64(wrong: Any, words: str) -> None:
    matches(lab.check_decode64(wrong), words)


@pytest.mark.parametrize("right", [decode64, by_pattern, all_value_errors])
def test_decode64_in_more_than_one_way(right: Any) -> None:
    assert lab.check_decode64(right).passed


# -- PLAIN --


def strict(response: bytes, harm: str = "") -> Any:
    parts = response.split(b"\0")
    if len(parts) != 3 and not (harm == "fourth" and len(parts) == 4):
        raise BadResponse("parts")
    if harm != "empty" and not all(parts[1:3]):
        raise BadResponse("empty")
    if harm == "utf8":
        return tuple(part.decode() for part in parts[:3])
    return tuple(part.decode("latin-1") if harm == "latin" else as_text(part) for part in parts[:3])


def by_partition(response: bytes) -> list[str]:
    identity, one, rest = response.partition(b"\0")
    user, two, password = rest.partition(b"\0")
    if not (one and two and user and password) or b"\0" in password:
        raise BadResponse("form")
    return [as_text(part) for part in (identity, user, password)]


@pytest.mark.parametrize("wrong, words", [
    (lambda response: None, "Not yet"), (lambda response: "ana", "'ana'"),
    (lambda response: tuple(response.split(b"\0")), "b'ana"), (lambda response: strict(response, "fourth"), "more"),
    (lambda response: strict(response, "empty"), "nobody"),
    (lambda response: strict(response, "utf8"), "UnicodeDecode"),
    (lambda response: strict(response, "latin"), "corrente"),
    (lambda response: tuple(as_text(part.strip()) for part in response.split(b"\0")), "' a b '|a b"),
    (lambda response: tuple(response.decode().split("\0", 2)), "more"),
])
def test_plain(wrong: Any, words: str) -> None:
    matches(lab.check_plain(wrong), words)


@pytest.mark.parametrize("right", [read_plain, strict, by_partition])
def test_plain_in_more_than_one_way(right: Any) -> None:
    assert lab.check_plain(right).passed


# -- CRAM-MD5 --


@pytest.mark.parametrize("wrong, words", [
    (lambda secret, challenge: None, "Not yet"), (lambda secret, challenge: "", "''"),
    (lambda secret, challenge: hashlib.md5(secret.encode() + challenge).hexdigest(), "tanstaaf"),
    (lambda secret, challenge: hmac.new(challenge, secret.encode(), "md5").hexdigest(), "tanstaaf"),
    (lambda secret, challenge: hmac.new(secret.encode(), challenge, "md5").digest(), "tanstaaf"),
    (lambda secret, challenge: cram_md5(secret, challenge).upper(), "tanstaaf"),
    (lambda secret, challenge: cram_md5(secret, RESTON), "mx.tokyo"),
    (lambda secret, challenge: hmac.new(secret.encode("latin-1"), challenge, "md5").hexdigest(), "maré"),
])
def test_cram_md5(wrong: Any, words: str) -> None:
    matches(lab.check_cram_md5(wrong), words)


def by_hand(secret: str, challenge: bytes) -> str:
    """HMAC as RFC 2104 defines it."""
    key = secret.encode()
    key = (hashlib.md5(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.md5(bytes(octet ^ 0x36 for octet in key) + challenge).digest()
    return hashlib.md5(bytes(octet ^ 0x5C for octet in key) + inner).hexdigest()


@pytest.mark.parametrize("right", [cram_md5, by_hand])
def test_cram_md5_in_more_than_one_way(right: Any) -> None:
    assert lab.check_cram_md5(right).passed


@pytest.mark.parametrize("wrong, words", [
    (lambda host: None, "Not yet"), (lambda host: "", "''"), (lambda host: f"<1896.697170952@{host}>", "1 challenges"),
    (lambda host: f"<{next(NUMBERS)}@{host}>", "counted up"),
    (lambda host: f"<{random.getrandbits(63)}.1700000000@{host}>", "made with `random`"),
    (lambda host: f"{secrets.randbits(63)}@{host}", "@mx.tokyo.example'"),
    (lambda host: f"<{secrets.randbits(63)}>", "<"),
    (lambda host: f"<{secrets.randbits(63)}@{host}>".encode(), "b'<"),
])
def test_fresh(wrong: Any, words: str) -> None:
    matches(lab.check_fresh(wrong), words)


NUMBERS = itertools.count(1_000_000)


@pytest.mark.parametrize("right", [
    fresh, lambda host: f"<{secrets.token_hex(16)}@{host}>",
    lambda host: f"<{next(NUMBERS)}.{secrets.token_hex(9)}@{host}>"])
def test_fresh_in_more_than_one_way(right: Any) -> None:
    assert lab.check_fresh(right).passed


# -- xtext --


def loop_encode(text: str) -> str:
    result = ""
    for octet in text.encode():
        plain = 33 <= octet <= 126 and octet not in b"+="
        result += chr(octet) if plain else f"+{octet:02X}"
    return result


def loop_decode(text: str) -> str:
    octets, rest = b"", text
    while rest:
        if rest[0] == "+":
            if not re.fullmatch("[0-9A-F]{2}", rest[1:3]):
                raise ValueError(text)
            octets, rest = octets + bytes.fromhex(rest[1:3]), rest[3:]
        elif "!" <= rest[0] <= "~" and rest[0] != "=":
            octets, rest = octets + rest[0].encode(), rest[1:]
        else:
            raise ValueError(text)
    return octets.decode()


@pytest.mark.parametrize("wrong, words", [
    (lambda text: None, "Not yet"), (lambda text: text, "ana+choir"), (lambda text: text.replace("+", "+2B"), "a=b"),
    (lambda text: loop_encode(text).lower(), "+2b"), (lambda text: quote(text).replace("%", "+"), "ana"),
    (lambda text: "".join(c if c.isalnum() or c in "@." else f"+{ord(c):02X}" for c in text), "josé"),
    (lambda text: loop_encode(loop_encode(text)), "ana+choir"),
])
def test_encode_xtext(wrong: Any, words: str) -> None:
    matches(lab.check_encode_xtext(wrong), words)


@pytest.mark.parametrize("wrong, words", [
    (lambda text: None, "Not yet"), (lambda text: text, "2B"), (lambda text: loop_decode(text.strip()), "ana+2B"),
    (lambda text: unquote(text.replace("+", "%")), "a=b|ana"),
    (lambda text: loop_decode(loop_decode(text)), "'+2B2B'|ValueError"),
    (lambda text: re.sub(r"\+([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), text), "josé|jos"),
    (lambda text: loop_decode(text.upper()), "ANA"),
])
def test_decode_xtext(wrong: Any, words: str) -> None:
    matches(lab.check_decode_xtext(wrong), words)


@pytest.mark.parametrize("encode, decode", [(encode_xtext, decode_xtext), (loop_encode, loop_decode)])
def test_xtext_in_more_than_one_way(encode: Any, decode: Any) -> None:
    assert lab.check_encode_xtext(encode).passed and lab.check_decode_xtext(decode).passed


NO = Reply(501, "no", "5.5.4")


def by_cases(session: Any, value: str | None) -> Reply | None:
    match value:
        case None | "":
            return NO
        case "<>":
            return None
    try:
        mailbox = decode_xtext(value)
    except ValueError:
        return NO
    return None if re.fullmatch(".+@[^@]+", mailbox) else NO


@pytest.mark.parametrize("wrong, words", [
    (lambda session, value: None, "Not yet"), (lambda session, value: NO, "501"),
    (lambda session, value: None if "@" in (value or "") else NO, "'<>'"),
    (lambda session, value: None if value == "<>" or "@" in (value or "") else NO, "'ana@'"),
    (lambda session, value: None if value == "<>" or re.fullmatch("[^@]+@[^@]+", decode_xtext(value or "")) else NO,
     "a@b@|ValueError"),
    (lambda session, value: None if not check_auth(session, value) else 501, "501 for 'ana'"),
    (lambda session, value: None if not check_auth(session, value) else Reply(555, "no"), "555"),
    (lambda session, value: check_auth(session, value) if value else None, "None for None"),
])
def test_auth_value(wrong: Any, words: str) -> None:
    matches(lab.check_auth_value(wrong), words)


@pytest.mark.parametrize("right", [check_auth, by_cases])
def test_auth_value_in_more_than_one_way(right: Any) -> None:
    assert lab.check_auth_value(right).passed


# -- the client --


def by_set(client: Any, mechanisms: Any, insecure: bool) -> Any:
    offered = set(client.offered["AUTH"].upper().split()) if "AUTH" in client.offered else set()
    found = [m for m in mechanisms if m.name in offered and not (m.clear and not insecure and not client.secure)]
    if not found:
        raise SMTPNotSupportedError("none")
    return found[0]


def careless(client: Any, mechanisms: Any, insecure: bool) -> Any:
    offered = client.offered.get("AUTH", "").upper().split()
    return next((m for m in mechanisms if m.name in offered), None)


def theirs_first(client: Any, mechanisms: Any, insecure: bool) -> Any:
    known = {m.name: m for m in mechanisms}
    for name in client.offered.get("AUTH", "").upper().split():
        if name in known and (client.secure or insecure or not known[name].clear):
            return known[name]
    raise SMTPNotSupportedError("none")


def substring(client: Any, mechanisms: Any, insecure: bool) -> Any:
    for m in mechanisms:
        if m.name in client.offered.get("AUTH", "").upper() and (client.secure or insecure or not m.clear):
            return m
    raise SMTPNotSupportedError("none")


def gives_up(client: Any, mechanisms: Any, insecure: bool) -> Any:
    if not client.secure and not insecure:
        raise SMTPNotSupportedError("in the clear")
    return by_set(client, mechanisms, insecure)


def no_offer(client: Any, mechanisms: Any, insecure: bool) -> Any:
    client.offered["AUTH"]
    return by_set(client, mechanisms, insecure)


@pytest.mark.parametrize("wrong, words", [
    (lambda *given: None, "Not yet"), (lambda client, ours, insecure: ours[0], "PLAIN for `LOGIN`"),
    (careless, "None|PLAIN for `PLAIN LOGIN` on an open"), (theirs_first, "LOGIN for `LOGIN PLAIN`"),
    (substring, "XPLAIN"), (gives_up, "SCRAM-SHA-256"), (no_offer, "KeyError"),
    (lambda client, ours, insecure: by_set(client, ours, True), "open line"),
])
def test_choose(wrong: Any, words: str) -> None:
    matches(lab.check_choose(wrong), words)


@pytest.mark.parametrize("right", [choose, by_set])
def test_choose_in_more_than_one_way(right: Any) -> None:
    assert lab.check_choose(right).passed


def by_recursion(client: Any, talk: Any, reply: Reply, first: bytes | None) -> Any:
    if reply.code != 334:
        return reply
    said, trouble = b"*", None
    try:
        challenge = decode64(reply.text)
        said = encode64(talk.send(challenge) if first is None else first).encode()
    except (ValueError, AuthError, StopIteration) as error:
        trouble = error
    yield said + b"\r\n"
    reply = yield from client.read(300.0)
    if trouble:
        raise SMTPAuthenticationError(reply, str(trouble))
    return (yield from by_recursion(client, talk, reply, None))


def flawed(flaw: str) -> Any:
    """The worked answer with one flaw."""
    def mine(client: Any, talk: Any, reply: Reply, first: bytes | None) -> Any:
        while reply.code == 334 if flaw != "once" else reply.code == 334 and first != b"over":
            try:
                challenge = decode64(reply.text) if flaw != "lax" else base64.b64decode(reply.text + "==")
                response = talk.send(challenge) if first is None or flaw == "talk first" else first
                first = first if flaw == "again" else b"over" if flaw == "once" else None
            except (ValueError, AuthError, StopIteration) as error:
                if flaw == "silent":
                    raise SMTPAuthenticationError(reply, str(error)) from None
                yield b"*\r\n" if flaw != "quit" else b"QUIT\r\n"
                reply = yield from client.read(300.0)
                if flaw == "content":
                    return reply
                raise SMTPAuthenticationError(reply, str(error)) from None
            yield (encode64(response).encode() if flaw != "raw" else response) + b"\r\n"
            reply = yield from client.read(300.0)
        return reply if flaw != "code" else reply.code
    return mine


@pytest.mark.parametrize("flaw, words", [
    ("once", "334|Reply|lines|raises"), ("talk first", "a response that waits"), ("again", "a response that waits"),
    ("silent", "not in base64"), ("quit", "QUIT"), ("content", "501"), ("raw", "b'ana'"), ("code", "235"),
    ("lax", "not in base64"),
])
def test_exchange(flaw: str, words: str) -> None:
    matches(lab.check_exchange(flawed(flaw)), words)


def test_exchange_that_returns_nothing() -> None:
    def nothing(client: Any, talk: Any, reply: Reply, first: bytes | None) -> Any:
        yield from ()

    assert "Not yet" in gave(lab.check_exchange(nothing))


@pytest.mark.parametrize("right", [exchange, by_recursion, flawed("")])
def test_exchange_in_more_than_one_way(right: Any) -> None:
    assert lab.check_exchange(right).passed


def with_sentinel(client: Any, talk: Any, user: str, reply: Reply) -> None:
    if reply.code == 235:
        try:
            more = next(talk, "over")
        except AuthError as error:
            raise SMTPAuthenticationError(reply, str(error)) from error
        if more == "over":
            client.user = user
            return
    raise SMTPAuthenticationError(reply, "not known")


def settles(flaw: str) -> Any:
    def mine(client: Any, talk: Any, user: str, reply: Reply) -> None:
        if flaw == "no code":
            client.user = user
            return
        if reply.code != 235 and not (flaw == "positive" and reply.positive):
            raise SMTPAuthenticationError(reply, "AUTH") if flaw != "value" else ValueError("AUTH")
        if flaw == "trusting":
            client.user = user
            return
        try:
            talk.send(None)
        except StopIteration:
            client.user = user if flaw != "name" else "ana"
            return
        except AuthError as error:
            if flaw == "auth error":
                raise
            raise SMTPAuthenticationError(reply, str(error)) from None
        if flaw != "early":
            raise SMTPAuthenticationError(reply, "too early")
    return mine


@pytest.mark.parametrize("flaw, words", [
    ("no code", "535"), ("positive", "250"), ("trusting", "more to say"), ("value", "ValueError"), ("name", "'ana'"),
    ("auth error", "AuthError"), ("early", "more to say"),
])
def test_settle(flaw: str, words: str) -> None:
    matches(lab.check_settle(settles(flaw)), words)
    assert "Not yet" in gave(lab.check_settle(lambda client, talk, user, reply: reply.code or None))


@pytest.mark.parametrize("right", [settle_auth, with_sentinel, settles("")])
def test_settle_in_more_than_one_way(right: Any) -> None:
    assert lab.check_settle(right).passed


# -- the exercises --


@pytest.mark.parametrize("name", BUGS)
def test_bugs(name: str) -> None:
    right = {key: line for key, (line, _) in BUGS.items()}
    assert lab.check_auth_bugs(right).passed
    for line in range(5):
        if line != right[name]:
            assert name in gave(lab.check_auth_bugs(right | {name: line}))
    assert "Not yet" in gave(lab.check_auth_bugs({"A": 2}))
    assert "'four'" in gave(lab.check_auth_bugs(right | {name: "four"}))


class Right(Mechanism):
    name = "XOAUTH2"
    turns = 2

    def respond(self, user: str, password: str) -> Responses:
        if (yield f"user={user}\1auth=Bearer {password}\1\1".encode()) is not None:
            yield b""


class Once(Right):
    turns = 1


class InTheClear(Right):
    clear = False


class Stops(Right):
    def respond(self, user: str, password: str) -> Responses:
        yield f"user={user}\1auth=Bearer {password}\1\1".encode()


class GoesOn(Right):
    def respond(self, user: str, password: str) -> Responses:
        yield f"user={user}\1auth=Bearer {password}\1\1".encode()
        yield b""


class Argues(Right):
    def respond(self, user: str, password: str) -> Responses:
        if (yield f"user={user}\1auth=Bearer {password}\1\1".encode()) is not None:
            yield b"but why?"


class Unended(Right):
    def respond(self, user: str, password: str) -> Responses:
        yield f"user={user}\1auth=Bearer {password}\1".encode()


class Words(Right):
    def respond(self, user: str, password: str) -> Responses:
        yield f"user={user}\1auth=Bearer {password}\1\1"                # type: ignore[misc]


class WaitsToBeAsked(Right):
    client_first = False

    def respond(self, user: str, password: str) -> Responses:
        yield b""
        yield from super().respond(user, password)


@pytest.mark.parametrize("wrong, word", [
    (Mechanism, "Not yet"), (Once, "second challenge for the end"), (InTheClear, "in the clear"), (Stops, "run out"),
    (GoesOn, "good token"), (Argues, "but why?"), (Unended, "Bearer"), (Words, "could read"),
])
def test_token(wrong: type[Mechanism], word: str) -> None:
    assert word in gave(lab.check_token(wrong))


@pytest.mark.parametrize("right", [Right, WaitsToBeAsked])
def test_token_in_more_than_one_way(right: type[Mechanism]) -> None:
    assert lab.check_token(right).passed


def by_password_prompt(call: Any, names: list[str]) -> list[str]:
    def asked(name: str) -> bool:
        say = call()
        say("AUTH LOGIN")
        return bool(say(encode64(name.encode())).startswith("334"))
    return [name for name in names if asked(name)]


def by_code(call: Any, names: list[str]) -> list[str]:
    def code(name: str) -> str:
        say = call()
        say("AUTH LOGIN")
        say(encode64(name.encode()))
        return str(say(encode64(b"x"))[:3])
    return [name for name in names if code(name) == "535"]


def on_one_line(call: Any, names: list[str]) -> list[str]:
    say = call()
    return [name for name in names for _ in range(3)
            if [say(line) for line in ("AUTH LOGIN", encode64(name.encode()), "eA==")]]


@pytest.mark.parametrize("wrong, word", [
    (lambda call, names: None, "Not yet"), (lambda call, names: [], "refuses a stranger"),
    (by_password_prompt, "another code"), (by_code, "our server"), (on_one_line, "hung up|stranger"),
    (lambda call, names: names, "refuses a stranger"),
])
def test_census(wrong: Any, word: str) -> None:
    assert any(part in gave(lab.check_census(wrong)) for part in word.split("|"))


def by_comparison(call: Any, names: list[str]) -> list[str]:
    def replies(name: str) -> list[str]:
        say = call()
        return [say(line) for line in ("AUTH LOGIN", encode64(name.encode()), encode64(b"wrong"))]

    stranger = replies("zzz@nowhere.example")
    return [name for name in names if replies(name) != stranger]


def by_majority(call: Any, names: list[str]) -> tuple[str, ...]:
    """Another way: an exchange as one text, and two strangers to compare with."""
    def whole(name: str) -> str:
        say, text = call(), ""
        for line in ("AUTH LOGIN", encode64(name.encode()), encode64(b"guess")):
            text += say(line) + "|"
        return text

    usual = {whole("nobody"), whole("nobody-else")}
    return tuple(name for name in names if whole(name) not in usual)


@pytest.mark.parametrize("right", [by_comparison, by_majority])
def test_census_in_more_than_one_way(right: Any) -> None:
    assert lab.check_census(right).passed


@pytest.mark.parametrize("how, name, answer", [
    ("one at a time", "PLAIN", 0), ("PIPELINING", "PLAIN", 1), ("one at a time", "LOGIN", 2),
    ("PIPELINING", "CRAM-MD5", 1)])
def test_price(how: str, name: str, answer: int) -> None:
    right = solution("15_auth", "price-code")["my_price"]
    assert lab.check_price(right).passed
    assert f"{answer} for {name}, {how}" in gave(lab.check_price(right | {how: right[how] | {name: answer}}))
    assert "Not yet" in gave(lab.check_price({how: right[how]}))


# -- what a check says to wrong answers that learners gave --


def told(verdict: Any) -> str:
    assert not verdict.passed
    return str(verdict)


def refuses_by_type_error(text: str) -> bytes:
    try:
        return decode64(text)
    except ValueError:
        raise TypeError("not base64") from None


def wants_all_three(response: bytes) -> Any:
    if not all(response.split(b"\0")):
        raise BadResponse("three parts")
    return read_plain(response)


def by_name(client: Any, mechanisms: Any, insecure: bool) -> str:
    return choose(client, mechanisms, insecure).name


def none_at_all(client: Any, mechanisms: Any, insecure: bool) -> Any:
    try:
        return choose(client, mechanisms, insecure)
    except SMTPNotSupportedError:
        return None


def value_error(client: Any, mechanisms: Any, insecure: bool) -> Any:
    if (found := none_at_all(client, mechanisms, insecure)) is None:
        raise ValueError("none")
    return found


def too_early(client: Any, talk: Any, user: str, reply: Reply) -> None:
    client.user = user
    settle_auth(client, talk, user, reply)


def without_its_reply(client: Any, talk: Any, user: str, reply: Reply) -> None:
    try:
        settle_auth(client, talk, user, reply)
    except SMTPAuthenticationError:
        raise SMTPAuthenticationError("why") from None  # type: ignore[call-arg, arg-type]


def lets_out(session: Any, value: str | None) -> Reply | None:
    return check_auth(session, value) if value == "<>" or decode_xtext(value or "") else Reply(501, "no")


@pytest.mark.parametrize("check, wrong, says", [
    (lab.check_decode64, refuses_by_type_error, "Raise a ValueError"),
    (lab.check_plain, wants_all_three, "The first part may be empty"),
    (lab.check_fresh, lambda hostname: f"<{secrets.randbits(63)}@mx.tokyo.example>", "the host that was given"),
    (lab.check_choose, by_name, "the mechanism itself, not its name"),
    (lab.check_choose, none_at_all, "goes on with None"),
    (lab.check_choose, value_error, "Raise SMTPNotSupportedError"),
    (lab.check_settle, too_early, "has noted its user"),
    (lab.check_settle, without_its_reply, 'SMTPAuthenticationError(reply, "why")'),
    (lab.check_auth_value, lets_out, "Answer both with 501"),
])
def test_told_what_to_do(check: Any, wrong: Any, says: str) -> None:
    assert says in told(check(wrong)), told(check(wrong))


class OfTheExample(Right):
    def respond(self, user: str, password: str) -> Responses:
        yield b"user=ana@rio.example\1auth=Bearer TOKEN\1\1"


def test_the_token_of_the_example_is_told() -> None:
    assert "the token is `password`" in told(lab.check_token(OfTheExample))


def test_generators_and_numbers_as_text_are_right() -> None:
    assert lab.check_plain(lambda response: (part for part in read_plain(response))).passed
    assert lab.check_census(lambda call, names: iter(by_comparison(call, names))).passed
    one, other = ({"PLAIN": "1", "LOGIN": "3", "CRAM-MD5": "2"}, {"PLAIN": "0", "LOGIN": 3, "CRAM-MD5": 2})
    assert lab.check_price({"one at a time": one, "PIPELINING": other}).passed

"""The checks of `scram` at wrong answers: each is told what is wrong with it, and no more than that."""
from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from urllib.parse import quote

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.auth import decode64
from smtp_from_scratch.lab.checks.scram import TRUTH
from smtp_from_scratch.sasl import AuthError, BadResponse
from smtp_from_scratch.saslprep import saslprep
from smtp_from_scratch.scram import (
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    Keys,
    ScramKeys,
    attributes,
    decode_name,
    decoy,
    encode_name,
    mac,
    proves,
    scram_keys,
    server_first,
    sha256,
    xor,
)


def gave(verdict: Any) -> str:
    """What a check found, in words; it must not have passed."""
    assert not verdict.passed
    return verdict.problem.gave if verdict.problem else "not yet"


# -- keys --


def by_numbers(one: bytes, other: bytes) -> bytes:
    if len(one) != len(other):
        raise ValueError("not of one length")
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


@pytest.mark.parametrize(("answer", "about"), [
    (lambda one, other: None, "not yet"), (lambda one, other: b"", "b''"), (lambda one, other: one, "b'tides'"),
    (lambda one, other: [a ^ b for a, b in zip(one, other, strict=True)], "["),
    (lambda one, other: bytes(a | b for a, b in zip(one, other, strict=True)), "b'"),
    (lambda one, other: by_numbers(one, other).lstrip(b"\0"), "b'"), (lambda one, other: one ^ other, "TypeError"),
    (lambda one, other: bytes(a ^ b for a, b in zip(one, other)), "different lengths"),      # noqa: B905
])
def test_xor(answer: Callable[..., Any], about: str) -> None:
    assert about in gave(lab.check_xor(answer))


@pytest.mark.parametrize("answer", [xor, by_numbers])
def test_xor_in_more_than_one_way(answer: Callable[..., Any]) -> None:
    assert lab.check_xor(answer).passed


ONE_SALT = secrets.token_bytes(16)


def keys_of(password: str, salt: bytes | None = None, iterations: int = 4096, flaw: str = "") -> Any:
    """The worked answer, in another style, with a flaw."""
    if salt is None or flaw == "own salt":
        salt = ONE_SALT if flaw == "one salt" else secrets.token_bytes(4 if flaw == "short" else 16)
    plain = password if flaw == "unprepared" else saslprep(password, stored=True)
    used = secrets.token_bytes(16) if flaw == "another salt" and len(salt) == 16 and salt[:1] != b"[" else salt
    salted = hashlib.pbkdf2_hmac("sha256", plain.encode(), used, 4096 if flaw == "rounds" else iterations)
    stored, server = (hmac.new(salted, what, "sha256").digest() for what in (b"Client Key", b"Server Key"))
    return ScramKeys(salt, iterations, stored if flaw == "client key" else hashlib.sha256(stored).digest(),
                     hashlib.sha256(server).digest() if flaw == "digest" else server)


@pytest.mark.parametrize(("flaw", "about"), [
    ("own salt", "as `salt`"), ("one salt", "twice"), ("short", "a salt of 4"), ("unprepared", "as `stored_key`"),
    ("another salt", "another salt"), ("rounds", "as `stored_key`"), ("client key", "as `stored_key`"),
    ("digest", "as `server_key`"),
])
def test_scram_keys(flaw: str, about: str) -> None:
    assert about in gave(lab.check_scram_keys(functools.partial(keys_of, flaw=flaw)))
    assert gave(lab.check_scram_keys(lambda password, salt=None, iterations=4096: None)) == "not yet"


def test_scram_keys_says_which_step_was_left_out() -> None:
    assert "SASLprep" in str(lab.check_scram_keys(functools.partial(keys_of, flaw="unprepared")))
    assert "Here it is 5000" in str(lab.check_scram_keys(functools.partial(keys_of, flaw="rounds")))
    assert "a nonce of its own" in str(lab.check_server_first(functools.partial(reads_first, flaw="own nonce")))


@pytest.mark.parametrize("answer", [scram_keys, keys_of])
def test_scram_keys_in_more_than_one_way(answer: Callable[..., Any]) -> None:
    assert lab.check_scram_keys(answer).passed


# -- a proof --


def right(keys: ScramKeys, said: bytes, proof: bytes) -> bool:
    stamped = by_numbers(proof, mac(keys.stored_key, said)) if len(proof) == 32 else b""
    return hmac.compare_digest(hashlib.sha256(stamped).digest(), keys.stored_key)


@pytest.mark.parametrize(("answer", "about"), [
    (lambda keys, said, proof: None, "not yet"),
    (lambda keys, said, proof: False, "False for the proof of somebody who knows"),
    (lambda keys, said, proof: True, "True for a proof made with another password"),
    (lambda keys, said, proof: sha256(proof) == keys.stored_key, "False for the proof"),
    (lambda keys, said, proof: right(keys, said, proof) or proof == keys.stored_key, "True for the stored key itself"),
    (lambda keys, said, proof: right(keys, said, proof) or proof == bytes(32), "True for 32 zeros"),
    (lambda keys, said, proof: right(keys, said, proof) or b"Osaka" in said, "True for yesterday's proof"),
    (lambda keys, said, proof: sha256(xor(proof, mac(keys.stored_key, said))) == keys.stored_key, "a ValueError for"),
    (lambda keys, said, proof: right(keys, said, proof[:32]), "an octet too many"),
    (lambda keys, said, proof: 1 // 0, "ZeroDivisionError"),
])
def test_proves(answer: Callable[..., Any], about: str) -> None:
    assert about in gave(lab.check_proves(answer))


@pytest.mark.parametrize("answer", [proves, right])
def test_proves_passes(answer: Callable[..., Any]) -> None:
    assert lab.check_proves(answer).passed


# -- names, and a first message --


def by_character(name: str) -> str:
    return "".join({"=": "=3D", ",": "=2C"}.get(char, char) for char in name)


def by_split(text: str) -> str:
    first, *rest = text.split("=")
    for part in rest:
        if part[:2] not in ("2C", "3D"):
            raise BadResponse(text)
        first += {"2C": ",", "3D": "="}[part[:2]] + part[2:]
    try:
        return saslprep(first)
    except ValueError:
        raise BadResponse(text) from None


@pytest.mark.parametrize(("answer", "about"), [
    (lambda name: None, "not yet"), (lambda name: name, "'a,b'"), (lambda name: name.replace(",", "=2C"), "'a=b'"),
    (lambda name: name.replace(",", "=2C").replace("=", "=3D"), "a=3D2Cb"), (lambda name: quote(name), "%40"),
    (lambda name: by_character(name).lower(), "a=2cb"),
])
def test_encode_name(answer: Callable[..., Any], about: str) -> None:
    assert about in gave(lab.check_encode_name(answer))


def unchecked(text: str) -> str:
    return saslprep(text.replace("=2C", ",").replace("=3D", "="))


@pytest.mark.parametrize(("answer", "about"), [
    (lambda text: None, "not yet"), (lambda text: text, "'a=2Cb'"), (unchecked, "'a=b', which is a lone"),
    (lambda text: by_split(text.replace("=3D", "=").replace("=2C", ",")), "BadResponse"),
    (lambda text: by_split(text.upper()), "ANA"),
    (lambda text: by_split(text) if "\u0301" not in text else text, "e\u0301"),
    (lambda text: decode_name(text) if "\x07" not in text else saslprep(text), "ValueError for 'a\\x07'"),
    (lambda text: decode_name(text.replace("=2c", "=2C")), "small letters"),
])
def test_decode_name(answer: Callable[..., Any], about: str) -> None:
    assert about in gave(lab.check_decode_name(answer))


@pytest.mark.parametrize(("encode", "decode"), [(encode_name, decode_name), (by_character, by_split)])
def test_names_in_more_than_one_way(encode: Callable[..., Any], decode: Callable[..., Any]) -> None:
    assert lab.check_encode_name(encode).passed and lab.check_decode_name(decode).passed


def reads_first(message: str, nonce: str, flaw: str = "") -> Any:
    """The worked answer by another way, with a flaw."""
    try:
        both, salt, rounds = attributes(message, "rsi")
    except BadResponse:
        if flaw == "index":
            raise IndexError("list index out of range") from None
        raise
    if flaw != "nonce" and not (both.startswith(nonce) and len(both) > len(nonce) - (flaw == "own nonce")):
        raise AuthError("nonce")
    if flaw != "int" and not (rounds.isascii() and rounds.isdigit()):
        raise AuthError("rounds")
    least, most = 1 if flaw == "few" else MIN_ITERATIONS, 1e12 if flaw == "many" else MAX_ITERATIONS
    if not least <= int(rounds) <= most:
        raise ValueError("rounds") if flaw == "value" else AuthError("rounds")
    return both, salt if flaw == "text" else decode64(salt), int(rounds)


@pytest.mark.parametrize(("flaw", "about"), [
    ("nonce", "another nonce"), ("own nonce", "only our own nonce"), ("few", "4095"), ("many", "two billion"),
    ("value", "ValueError"), ("text", "'c2FsdA=='"), ("index", "IndexError"), ("int", "ValueError"),
])
def test_server_first(flaw: str, about: str) -> None:
    assert about in gave(lab.check_server_first(functools.partial(reads_first, flaw=flaw)))
    assert gave(lab.check_server_first(lambda message, nonce: None)) == "not yet"


@pytest.mark.parametrize("answer", [server_first, reads_first, lambda *said: list(server_first(*said))])
def test_server_first_in_more_than_one_way(answer: Callable[..., Any]) -> None:
    assert lab.check_server_first(answer).passed


# -- a decoy --


def made_up(secret: bytes, user: str, iterations: int = 4096, flaw: str = "") -> Any:
    """The worked answer by one long stamp, with a flaw."""
    if flaw == "random":
        return ScramKeys(secrets.token_bytes(16), iterations, bytes(32), bytes(32))
    seed = (b"" if flaw == "public" else secret) + b"\0" + (b"" if flaw == "one for all" else user.encode())
    octets = hashlib.shake_256(seed).digest(80)
    if flaw == "one stamp":
        return ScramKeys(octets[:16], iterations, octets[:32], octets[:32])
    if flaw == "one key":                      # nobody sees it, so it is none
        return ScramKeys(octets[:16], iterations, octets[16:48], octets[16:48])
    if flaw == "zeros":
        return ScramKeys(octets[:16], iterations, bytes(32), bytes(32))
    return ScramKeys(octets[: 8 if flaw == "short" else 16], 1 if flaw == "rounds" else iterations, octets[16:48],
                     octets[48:])


@pytest.mark.parametrize(("flaw", "about"), [
    ("random", "other keys"), ("public", "with another secret"), ("one for all", "for two names"),
    ("one stamp", "part of a key"), ("zeros", "for two names"), ("short", "a salt of 8"), ("rounds", "1 rounds"),
])
def test_decoy(flaw: str, about: str) -> None:
    assert about in gave(lab.check_decoy(functools.partial(made_up, flaw=flaw)))
    assert gave(lab.check_decoy(lambda secret, user, iterations: None)) == "not yet"


@pytest.mark.parametrize("answer", [decoy, made_up, functools.partial(made_up, flaw="one key")])
def test_decoy_in_more_than_one_way(answer: Callable[..., Any]) -> None:
    assert lab.check_decoy(answer).passed


# -- the exercises --


@pytest.mark.parametrize(("attacker", "mechanism"), [(a, m) for a in TRUTH for m in TRUTH[a]])
def test_matrix(attacker: str, mechanism: str) -> None:
    answer: dict[str, dict[str, Any]] = deepcopy(TRUTH)
    assert lab.check_matrix(answer).passed
    for wrong in {"in", "guess", "nothing", "?"} - {TRUTH[attacker][mechanism]}:
        answer[attacker][mechanism] = wrong
        assert repr(wrong) in gave(lab.check_matrix(answer))
    answer[attacker][mechanism] = ...
    assert gave(lab.check_matrix(answer)) == "not yet"
    answer[attacker][mechanism] = f" {TRUTH[attacker][mechanism].title()}"
    assert lab.check_matrix(answer).passed


def burglar(stored_key: bytes, first: str, challenge: str, final: str) -> bytes:
    without_proof, _, proof = final.rpartition(",p=")
    return xor(decode64(proof), mac(stored_key, ",".join([first[3:], challenge, without_proof]).encode()))


@pytest.mark.parametrize(("answer", "about"), [
    (lambda key, first, challenge, final: None, "not yet"),
    (lambda key, first, challenge, final: decode64(final.rpartition(",p=")[2]), "32 octets that are not Ana's key"),
    (lambda key, first, challenge, final: burglar(key, "n,," + first, challenge, final), "32 octets that are not"),
    (lambda key, first, challenge, final: bytes(31), repr(bytes(31))),
    (lambda key, first, challenge, final: "key", "'key'"),
])
def test_burglar(answer: Callable[..., Any], about: str) -> None:
    assert about in gave(lab.check_burglar(answer))


def by_attributes(stored_key: bytes, first: str, challenge: str, final: str) -> bytes:
    """Another way: messages taken apart at their commas, the xor by numbers."""
    parts = [*first.split(",")[2:], *challenge.split(","), *final.split(",")[:-1]]
    stamp = hmac.new(stored_key, ",".join(parts).encode(), "sha256").digest()
    return by_numbers(decode64(final.split(",")[-1][2:]), stamp)


@pytest.mark.parametrize("answer", [burglar, by_attributes, lambda *stolen: bytearray(burglar(*stolen))])
def test_burglar_in_more_than_one_way(answer: Callable[..., Any]) -> None:
    assert lab.check_burglar(answer).passed


def moving(old: dict[str, str], keys: dict[str, Any], user: str, password: str, *, check: bool = True,
           forget: bool = True, again: bool = False, make: bool = True, stumble: bool = False, early: bool = False,
           shut: bool = False) -> bool:
    """The worked answer, with holes."""
    if user in keys and not again:
        return Keys(keys).verify(user, password)
    fits = old.get(user) == hashlib.sha256(password.encode()).hexdigest() or (again and user in keys)
    if check and not fits:
        return False
    if early:
        del old[user]
    try:
        if make:
            keys[user] = scram_keys(password, iterations=4096)
    except ValueError:
        if stumble or early:
            raise
        return not shut
    if forget:
        old.pop(user, None)
    return True


def by_movers(old: dict[str, str], keys: dict[str, Any], user: str, password: str) -> bool:
    """Another way: first who it is, then the move."""
    known = user in keys and Keys(keys).verify(user, password)
    if not known and user not in keys and old.get(user) == hashlib.sha256(password.encode()).hexdigest():
        with contextlib.suppress(ValueError):
            keys |= {user: scram_keys(password, iterations=5000)}
            del old[user]
        known = True
    return known


@pytest.mark.parametrize(("holes", "about"), [
    ({"check": False}, "a user who moved with a wrong password"), ({"make": False}, "no keys for Ana"),
    ({"forget": False}, "Ana's old digest, still there"), ({"again": True}, "new keys, with a new salt"),
    ({"stumble": True}, "a ValueError for a password with an emoji"), ({"shut": True}, "False for Tim"),
    ({"early": True}, "neither keys nor the old digest of Tim"),
])
def test_moving(holes: dict[str, bool], about: str) -> None:
    assert about in gave(lab.check_moving(lambda *words: moving(*words, **holes)))


@pytest.mark.parametrize("answer", [moving, by_movers])
def test_moving_in_more_than_one_way(answer: Callable[..., Any]) -> None:
    assert lab.check_moving(answer).passed


def test_moving_without_an_answer() -> None:
    assert gave(lab.check_moving(lambda old, keys, user, password: None)) == "not yet"
    assert "False for the right password" in gave(lab.check_moving(lambda old, keys, user, password: False))

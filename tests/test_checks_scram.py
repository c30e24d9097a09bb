"""The checks of `scram` at wrong answers: each is told what is wrong with it, and no more than that."""
from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.auth import decode64
from smtp_from_scratch.lab.checks.scram import TRUTH
from smtp_from_scratch.scram import Keys, mac, scram_keys, sha256, xor


def gave(verdict: Any) -> str:
    """What a check found, in words; it must not have passed."""
    assert not verdict.passed
    return verdict.problem.gave if verdict.problem else "not yet"


def right(stored_key: bytes, spoken: bytes, proof: bytes) -> bool:
    return hmac.compare_digest(sha256(xor(proof, mac(stored_key, spoken))), stored_key)


@pytest.mark.parametrize(("answer", "about"), [
    (lambda key, spoken, proof: None, "not yet"),
    (lambda key, spoken, proof: False, "False for the proof of somebody who knows"),
    (lambda key, spoken, proof: True, "True for a proof made with another password"),
    (lambda key, spoken, proof: sha256(proof) == key, "False for the proof"),
    (lambda key, spoken, proof: right(key, spoken, proof) or proof == key, "True for the stored key itself"),
    (lambda key, spoken, proof: right(key, spoken, proof) or proof == bytes(32), "True for 32 zeros"),
    (lambda key, spoken, proof: right(key, spoken, proof) or b"Osaka" in spoken, "True for yesterday's proof"),
    (lambda key, spoken, proof: 1 // 0, "ZeroDivisionError"),
])
def test_proves(answer: Callable[..., Any], about: str) -> None:
    assert about in gave(lab.check_proves(answer))


def test_proves_passes() -> None:
    assert lab.check_proves(right).passed


@pytest.mark.parametrize(("attacker", "mechanism"), [(a, m) for a in TRUTH for m in TRUTH[a]])
def test_matrix(attacker: str, mechanism: str) -> None:
    answer: dict[str, dict[str, Any]] = deepcopy(TRUTH)
    assert lab.check_matrix(answer).passed
    for wrong in {"in", "guess", "nothing", "?"} - {TRUTH[attacker][mechanism]}:
        answer[attacker][mechanism] = wrong
        assert repr(wrong) in gave(lab.check_matrix(answer))
    answer[attacker][mechanism] = ...
    assert gave(lab.check_matrix(answer)) == "not yet"


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
    assert lab.check_burglar(burglar).passed


def moving(old: dict[str, str], keys: dict[str, Any], user: str, password: str, *, check: bool = True,
           forget: bool = True, again: bool = False, make: bool = True) -> bool:
    """The worked answer, with holes."""
    if user in keys and not again:
        return Keys(keys).verify(user, password)
    fits = old.get(user) == hashlib.sha256(password.encode()).hexdigest() or (again and user in keys)
    if check and not fits:
        return False
    if make:
        keys[user] = scram_keys(password, iterations=4096)
    if forget:
        old.pop(user, None)
    return True


@pytest.mark.parametrize(("holes", "about"), [
    ({"check": False}, "a user who moved with a wrong password"), ({"make": False}, "no keys for Ana"),
    ({"forget": False}, "Ana's old digest, still there"), ({"again": True}, "new keys, with a new salt"),
])
def test_moving(holes: dict[str, bool], about: str) -> None:
    assert about in gave(lab.check_moving(lambda *words: moving(*words, **holes)))
    assert lab.check_moving(moving).passed


def test_moving_without_an_answer() -> None:
    assert gave(lab.check_moving(lambda old, keys, user, password: None)) == "not yet"
    assert "False for the right password" in gave(lab.check_moving(lambda old, keys, user, password: False))

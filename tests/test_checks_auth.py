"""The checks of `auth` at wrong answers: each is told what is wrong with it."""
from __future__ import annotations

from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.auth import Mechanism, Responses, encode64
from smtp_from_scratch.lab.checks.auth import BUGS
from tests.solutions import solution


def gave(verdict: Any) -> str:
    """What a check found, in words; it must not have passed."""
    assert not verdict.passed
    return verdict.problem.gave if verdict.problem else str(verdict)


def loose(response: bytes, passwords: dict[str, str]) -> Any:
    acting_as, user, password = response.decode("utf-8", "replace").split("\0", 2)
    return user if passwords.get(user) == password else None


@pytest.mark.parametrize("wrong, word", [
    (lambda response, passwords: None, "Not yet"), (lambda response, passwords: "ana@rio.example", "friday|corrente"),
    (loose, "ValueError|kenji"),
    (lambda response, passwords: passwords[response.split(b"\0")[1].decode()], "tides|KeyError"),
    (lambda response, passwords: response.split(b"\0")[1], "b'ana@rio.example'"),
])
def test_plain(wrong: Any, word: str) -> None:
    assert any(part in gave(lab.check_plain(wrong)) for part in word.split("|"))


@pytest.mark.parametrize("harm", ["acting", "empty", "utf8", "fourth", "unknown"])
def test_plain_that_is_nearly_right(harm: str) -> None:
    def mine(response: bytes, passwords: dict[str, str]) -> Any:
        parts = response.split(b"\0")
        if len(parts) != 3 and not (harm == "fourth" and len(parts) == 4):
            return None
        if harm != "empty" and not all(parts[1:3]):
            return None
        errors = "strict" if harm == "utf8" else "replace"
        acting_as, user, password = (part.decode("utf-8", errors) for part in parts[:3])
        if harm != "acting" and acting_as not in ("", user):
            return None
        right = passwords[user] if harm == "unknown" else passwords.get(user)
        return user if right == password else None

    words = {"acting": "kenji@tokyo.example", "empty": "nobody", "utf8": "UnicodeDecodeError", "fourth": "more",
             "unknown": "KeyError"}
    assert words[harm] in gave(lab.check_plain(mine))


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


@pytest.mark.parametrize("how, name, answer", [
    ("one at a time", "PLAIN", 0), ("PIPELINING", "PLAIN", 1), ("one at a time", "LOGIN", 2),
    ("PIPELINING", "CRAM-MD5", 1)])
def test_price(how: str, name: str, answer: int) -> None:
    right = solution("12_auth", "price-code")["my_price"]
    assert lab.check_price(right).passed
    assert f"{answer} for {name}, {how}" in gave(lab.check_price(right | {how: right[how] | {name: answer}}))
    assert "Not yet" in gave(lab.check_price({how: right[how]}))

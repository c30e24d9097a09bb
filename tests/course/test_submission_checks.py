"""The checks of `submission` at wrong answers: each is refused for its own reason; right ones pass in any style."""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.lab.checks.submission import DOORS
from smtp_from_scratch.submission import LINE_LIMIT, has_long_line, header_fields, own_address, unqualified
from smtp_from_scratch.wire import Reply


def problem(verdict: Any) -> str:
    """All that a verdict says; it must not have passed."""
    assert not verdict.passed and verdict.problem is not None, str(verdict)
    return str(verdict)


# --- fields ----------------------------------------------------------------------------------------------------------


def unfolded_first(header: str) -> list[tuple[str, str]]:
    lines = re.sub(r"\r\n([ \t])", r"\1", header.removesuffix("\r\n")).split("\r\n")
    if bad := [line for line in lines if not re.match(r"[^\s:]+:", line)]:
        raise ValueError(bad[0])
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def as_written(header: str) -> list[tuple[str, str]]:
    return [(name.upper(), value) for name, value in header_fields(header)]


def no_folding(header: str) -> list[tuple[str, str]]:
    return [field for line in header.removesuffix("\r\n").split("\r\n") for field in header_fields(line)]


def anything(header: str) -> list[tuple[str, str]]:
    try:
        return header_fields(header)
    except ValueError:
        return [("subject", header)]


@pytest.mark.parametrize("answer", [lambda header: [("from", "a")], as_written, no_folding, anything,
                                    lambda header: list(dict(header_fields(header)).items())])
def test_fields(answer: Callable[[str], Any]) -> None:
    assert lab.check_fields(header_fields).passed and lab.check_fields(unfolded_first).passed
    problem(lab.check_fields(answer))
    assert "small letters" in problem(lab.check_fields(as_written))
    assert "its space" in problem(lab.check_fields(lambda header: header_fields(re.sub(r"\r\n[ \t]+", "", header))))


# --- unqualified -----------------------------------------------------------------------------------------------------


def by_pattern(address: str, enhanced: str) -> Reply | None:
    return Reply(554, "no", enhanced) if re.search(r"@[^.@\[]*$", address) else None


@pytest.mark.parametrize("answer, says", [
    (lambda address, enhanced: Reply(554, "no", enhanced) if "." not in address else None, "a.b@mail"),
    (lambda address, enhanced: by_pattern(address, enhanced) or by_pattern(f"@{address}", enhanced), "postmaster"),
    (lambda address, enhanced: Reply(554, "no", enhanced) if "@" in address and "." not in address.partition("@")[2]
     else None, '"kenji@tokyo.example"@mail'),
    (lambda address, enhanced: Reply(554, "no", enhanced) if "@" in address and "." not in address.rpartition("@")[2]
     else None, "IPv6"),
    (lambda address, enhanced: by_pattern(address, enhanced) and 554, "Reply(554"),
    (lambda address, enhanced: by_pattern(address, "5.6.0"), "5.6.0"),
    (lambda address, enhanced: by_pattern(address, enhanced) and Reply(550, "no", enhanced), "550"),
])
def test_unqualified(answer: Callable[[str, str], Any], says: str) -> None:
    assert lab.check_unqualified(unqualified).passed and lab.check_unqualified(by_pattern).passed
    assert says in problem(lab.check_unqualified(answer))
    assert lab.check_unqualified(lambda address, enhanced: None).problem is None


# --- long lines ------------------------------------------------------------------------------------------------------


def octet_by_octet(body: Any) -> bool:
    count, cr = 0, False
    while block := body.read(65_536):
        for octet in block:
            if cr and octet == 10:
                if count - 1 > LINE_LIMIT:
                    return True
                count, cr = 0, False
            else:
                count, cr = count + 1, octet == 13
    return count > LINE_LIMIT


def whole(body: Any) -> bool:
    return any(len(line) > LINE_LIMIT for line in body.read().split(b"\r\n"))


def each_block(body: Any) -> bool:
    blocks = iter(lambda: body.read(262_144), b"")
    return any(len(line) > LINE_LIMIT for block in blocks for line in block.split(b"\r\n"))


def forgets_the_last(body: Any) -> bool:
    rest = b""
    while block := body.read(262_144):
        *lines, rest = (rest + block).split(b"\r\n")
        if any(len(line) > LINE_LIMIT for line in lines):
            return True
    return False


def impatient(body: Any) -> bool:
    rest = b""
    while block := body.read(262_144):
        *lines, rest = (rest + block).split(b"\r\n")
        if any(len(line) > LINE_LIMIT for line in [*lines, rest]):
            return True
    return False


@pytest.mark.parametrize("answer, says", [
    (lambda body: False, "999 octets"), (whole, "read in blocks"), (each_block, "next block"),
    (forgets_the_last, "without an end"), (impatient, "LF in the next block"),
    (lambda body: any(len(line) > LINE_LIMIT + 2 for line in body), "999 octets"),
    (lambda body: any(len(line.rstrip(b"\r\n")) > LINE_LIMIT for line in body), "bare LFs"),
])
def test_has_long_line(answer: Callable[[Any], Any], says: str) -> None:
    assert lab.check_has_long_line(has_long_line).passed and lab.check_has_long_line(octet_by_octet).passed
    assert says in problem(lab.check_has_long_line(answer))


# --- who may be whom -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer, says", [
    (lambda user, sender: True, "Kenji reads"), (lambda user, sender: user == sender, "Her own letter"),
    (lambda user, sender: sender.lower() == user.lower(), "Reports"),
    (lambda user, sender: not sender or sender.lower().startswith(user.lower() or "?"), "evil"),
    (lambda user, sender: sender.lower() in user.lower() or sender.lower().endswith(user.lower()), "Kenji reads"),
    (lambda user, sender: sender.lower() in user.lower(), "bana@rio.example as ana@rio.example"),
    (lambda user, sender: not sender or re.fullmatch(re.escape(user), sender, re.IGNORECASE), "True or False"),
])
def test_own_address(answer: Callable[[str, str], Any], says: str) -> None:
    assert lab.check_own_address(own_address).passed
    assert lab.check_own_address(lambda user, sender: not sender or sender.casefold() == user.casefold()).passed
    assert says in problem(lab.check_own_address(answer))


def may(user: str, sender: str) -> bool:
    tagged = re.sub(r"\+[^@]*@", "@", sender.lower())
    return sender == "" or tagged == user.lower() or (user, sender) == ("ana@rio.example", "choir@rio.example")


@pytest.mark.parametrize("answer", [
    lambda user, sender: True, own_address, lambda user, sender: may(user, sender) or sender.startswith(user[:3]),
    lambda user, sender: may(user, sender) or sender == "choir@rio.example",
    lambda user, sender: may(user, re.sub(r"@.*", "@rio.example", sender)),
    lambda user, sender: may(user, sender) and user == user.lower(),
])
def test_may_send(answer: Callable[[str, str], Any]) -> None:
    assert lab.check_may_send(may).passed and lab.check_may_send(lambda user, sender: int(may(user, sender))).passed
    problem(lab.check_may_send(answer))


# --- doors, additions, recipients ------------------------------------------------------------------------------------


def test_doors() -> None:
    assert lab.check_doors({name: str(port) for name, port in DOORS.items()}).passed
    assert lab.check_doors(DOORS).passed and lab.check_doors(dict(reversed(DOORS.items()))).passed
    for name in DOORS:
        assert name in problem(lab.check_doors(DOORS | {name: 2525}))
    assert not lab.check_doors({}).passed


def mended(fields: list[tuple[str, str]], user: str) -> Any:
    names = [name for name, _ in fields]
    authors = re.findall(r"[^\s<>,]+@[^\s<>,]+", dict(fields).get("from", "").lower())
    if not authors or any(names.count(name) > 1 for name in ("from", "date", "message-id", "sender", "to", "subject")):
        return Reply(554, "no", "5.6.0")
    return [name for name in ("date", "message-id") if name not in names] + (
        ["sender"] if authors != [user] and "sender" not in names else [])


@pytest.mark.parametrize("answer", [
    lambda fields, user: [], lambda fields, user: getattr(mended(fields, user), "code", mended(fields, user)),
    lambda fields, user: ["date", "message-id"], lambda fields, user: mended(list(dict(fields).items()), user),
    lambda fields, user: mended(fields, dict(fields).get("from", "")),
])
def test_additions(answer: Callable[..., Any]) -> None:
    assert lab.check_additions(mended).passed
    assert lab.check_additions(lambda fields, user: found if isinstance(found := mended(fields, user), Reply)
                               else tuple(found)).passed
    problem(lab.check_additions(answer))


def accepts(role: str, user: str, address: str, domains: list[str]) -> Reply | None:
    here = address.lower() == "postmaster" or any(address.lower().endswith(f"@{domain}") for domain in domains)
    return None if (here if role == "smtp" else user) else Reply(550, "no")


@pytest.mark.parametrize("answer", [
    lambda role, user, address, domains: Reply(550, "no"),
    lambda role, user, address, domains: accepts("smtp", user, address, domains),
    lambda role, user, address, domains: accepts(role, user, address.replace("%", "@"), domains) if "%" not in address
    else Reply(550, "no"),
    lambda role, user, address, domains: accepts(role, user, address, domains) and Reply(450, "later"),
    lambda *given: Reply(550, "no") if given[2] == "postmaster" else accepts(*given),
    lambda *given: None if given[0] == "smtp" and given[2].endswith("postmaster") else accepts(*given),
    lambda role, user, address, domains: None if "rio.example" in address else accepts(role, user, address, domains),
])
def test_accepts(answer: Callable[..., Any]) -> None:
    assert lab.check_accepts(accepts).passed
    assert lab.check_accepts(lambda *given: Reply(530, "no") if accepts(*given) else None).passed
    problem(lab.check_accepts(answer))

"""The checks of `start_here` refuse what is wrong, say what the wire would do, and take right answers as typed."""
from __future__ import annotations

from typing import Any

import pytest

from smtp_from_scratch import lab
from tests.solutions import solution


def refused(verdict: Any, says: str) -> None:
    assert not verdict.passed and says in str(verdict), str(verdict)


def test_the_solutions_pass() -> None:
    for name, check in (("my_order", lab.check_commands), ("my_holders", lab.check_holders),
                        ("my_ports", lab.check_ports)):
        verdict = check(solution("00_start_here", name.replace("_", "-"))[name])
        assert verdict.passed, str(verdict)


@pytest.mark.parametrize("name", ["check_commands", "check_holders", "check_ports"])
def test_hints_come_before_any_attempt(name: str) -> None:
    hints = [str(getattr(lab, name).hint(number)) for number in (1, 2, 3)]
    assert len(set(hints)) == 3 and "?" in hints[0]


# -- five commands --


@pytest.mark.parametrize("order", ["EDBAC", "edbac", "E D B A C", "E, D, B, A, C", ["E", "D", "B", "A", "C"]])
def test_the_order_in_any_spelling(order: Any) -> None:
    assert lab.check_commands(order).passed


@pytest.mark.parametrize("order, says", [
    (..., "Not yet"), ("", "Not yet"), ("EDABC", "503"), ("DEBAC", "503"), ("EBDAC", "503"), ("ABCDE", "503"),
    ("EDBCA", "said goodbye before"), ("CEDBA", "said goodbye before"), ("EDBA", "must be said once"),
    ("EDBACC", "must be said once"), ("HELO MAIL RCPT DATA QUIT", "must be said once"), (42, "must be said once"),
    (lambda order: "EDBAC", "must be said once"), (b"CABDE", "must be said once"),
])
def test_another_order_is_played_until_the_server_objects(order: Any, says: str) -> None:
    refused(lab.check_commands(order), says)


# -- who holds the letter --

HOLDERS = {"a": "laptop", "b": "rio", "c": "rio", "d": "tokyo"}


@pytest.mark.parametrize("holders", [HOLDERS, {name: f" {where.upper()} " for name, where in HOLDERS.items()}])
def test_holders_in_any_case(holders: dict[str, str]) -> None:
    assert lab.check_holders(holders).passed


@pytest.mark.parametrize("change, says", [
    ({"a": ...}, "Not yet"), ({"a": "rio"}, "Not one octet"), ({"b": "laptop"}, "may forget the letter"),
    ({"c": "tokyo"}, "Tokyo took nothing"), ({"c": "laptop"}, "Rio tries again"), ({"d": "rio"}, "off its queue"),
    ({"d": "kenji"}, "One of laptop, rio, tokyo"), ({"b": 250}, "One of laptop"), ({"b": ["rio"]}, "One of laptop"),
])
def test_another_holder_is_told_what_happens(change: dict[str, Any], says: str) -> None:
    refused(lab.check_holders(HOLDERS | change), says)


@pytest.mark.parametrize("answer", [{}, {"a": "laptop"}, "laptop", ["laptop", "rio", "rio", "tokyo"], 7, set])
def test_holders_in_another_form_are_no_error_of_the_check(answer: Any) -> None:
    verdict = lab.check_holders(answer)
    assert not verdict.passed and "Traceback" not in str(verdict)


# -- which door --

PORTS = {"a": 465, "b": 587, "c": 25, "d": 993, "e": 587}


@pytest.mark.parametrize("ports", [PORTS, PORTS | {"e": 465}, {name: str(port) for name, port in PORTS.items()}])
def test_ports_as_numbers_or_text(ports: dict[str, Any]) -> None:
    assert lab.check_ports(ports).passed


@pytest.mark.parametrize("change, says", [
    ({"e": ...}, "Not yet"), ({"a": 587}, "TLS comes first"), ({"b": 465}, "plain text comes first"),
    ({"c": 587}, "Rio has none there"), ({"d": 995}, "POP3 has fetched"), ({"d": 25}, "SMTP pushes"),
    ({"e": 25}, "data centers"), ({"a": 143}, "One of 25, 465"), ({"a": "submissions"}, "One of 25, 465"),
    ({"a": (465, 587)}, "One of 25, 465"),
])
def test_another_port_is_told_what_waits_there(change: dict[str, Any], says: str) -> None:
    refused(lab.check_ports(PORTS | change), says)

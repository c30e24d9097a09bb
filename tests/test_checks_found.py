"""Answers that checks once praised wrongly, refused wrongly, or explained badly."""
from __future__ import annotations

import os
import re
import ssl
from contextlib import suppress
from email import message_from_bytes
from typing import Any

import nbformat
import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.client import leaving, transaction
from smtp_from_scratch.conversation import Body, read_reply
from smtp_from_scratch.ehlo import Extension
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.wire import Reply, encode_command
from tests.solutions import SOLUTIONS, solution


def refused(verdict: Any, says: str) -> None:
    assert not verdict.passed and says in str(verdict), str(verdict)


# -- praised wrongly --


def write_without_flush(path: Any, head: bytes, body: Any) -> None:
    with open(path, "xb") as file:
        file.write(head)
        file.write(body.read())
        os.fsync(file.fileno())


def test_an_fsync_of_nothing_is_noticed_with_a_short_letter() -> None:
    refused(lab.check_write(write_without_flush), "fsync when the file had 0 octets")


def refuses_at_once(cutter: Any) -> Any:
    yield Reply(354, "go on")
    body = b""
    while block := (yield Body(cutter)):
        body += block
        if cutter.bare:
            yield Reply(554, "no bare line ends")
            return None
    yield Reply(250, "taken")
    return body


def test_a_refusal_before_the_true_end_is_smuggling() -> None:
    refused(lab.check_receive(refuses_at_once), "before the end mark")


def test_lines_compared_by_value() -> None:
    def my_encode(code: int, lines: list[str]) -> bytes:
        return b"".join(f"{code}{' ' if line == lines[-1] else '-'}{line}\r\n".encode() for line in lines)

    refused(lab.check_encode(my_encode), "'OK', 'OK'")


def test_an_ask_that_raises_on_every_4yz() -> None:
    def my_ask(verb: str, argument: str = "") -> Any:
        yield encode_command(verb, argument)
        reply = yield from read_reply()
        if reply.code // 100 == 4:
            raise leaving(reply)
        return reply

    refused(lab.check_ask(my_ask), "450 later")


def test_a_split_that_tries_any_4yz_again_at_once() -> None:
    def my_split(envelope: Envelope, body: list[bytes]) -> Any:
        replies: dict[str, Reply] = {}
        waiting = envelope.recipients
        while waiting:
            receipt = yield from transaction(Envelope(envelope.sender, waiting), body)
            replies |= receipt.recipients
            waiting = [who for who, reply in receipt.refused.items() if reply.code // 100 == 4 and receipt.accepted]
        return replies

    refused(lab.check_split(my_split), "transactions with")


def test_a_server_that_ends_after_all() -> None:
    def my_endless() -> Any:
        for _ in range(5_000):
            yield b"220-and another thing\r\n"

    refused(lab.check_endless(my_endless), "a server that stops after")


class Priority(Extension):
    """Both ends, as they should be."""

    keyword = "MT-PRIORITY"
    line_limits = {"MAIL": 15}

    def mail_parameters(self) -> dict[str, Any]:
        good = [str(number) for number in range(-9, 10)]
        return {"MT-PRIORITY": lambda session, value: None if value in good else Reply(501, "no")}

    def plan(self, client: Any, letter: Any, steps: Any) -> None:
        if value := letter.envelope.parameters.get("MT-PRIORITY"):
            steps[0].parameters["MT-PRIORITY"] = value


class Bare(Priority):
    """Says the parameter without a value when nobody asked."""

    def plan(self, client: Any, letter: Any, steps: Any) -> None:
        steps[0].parameters["MT-PRIORITY"] = letter.envelope.parameters.get("MT-PRIORITY")


class OnEverything(Priority):
    """Says it on RCPT as well."""

    def plan(self, client: Any, letter: Any, steps: Any) -> None:
        if value := letter.envelope.parameters.get("MT-PRIORITY"):
            for step in steps:
                step.parameters["MT-PRIORITY"] = value


def test_a_priority_that_nobody_asked_for_or_on_the_wrong_command() -> None:
    assert lab.check_priority(Priority).passed
    refused(lab.check_priority(Bare), "Nobody asked for it")
    refused(lab.check_priority(OnEverything), "on MAIL, and on nothing else")


MAIL_LINES = {"A": "MAIL FROM:<ana@rio.example> SIZE=300000 BODY=8BITMIME",
              "B": "MAIL FROM:<ana@rio.example> BODY=8BITMIME", "C": None, "D": None, "E": None}


@pytest.mark.parametrize("line", [
    "SIZE=300000 MAIL FROM:<ana@rio.example> BODY=8BITMIME", "FROM:<ana@rio.example> MAIL BODY=8BITMIME SIZE=300000",
    "MAIL FROM:<ana@rio.example> SIZE=300000 SIZE=300000 BODY=8BITMIME",
    "MAIL  FROM:<ana@rio.example> SIZE=300000 BODY=8BITMIME"])
def test_the_words_of_a_line_have_an_order(line: str) -> None:
    assert not lab.check_mail_lines(MAIL_LINES | {"A": line}).passed


def test_a_conviction_for_another_fault() -> None:
    opens = [("HELO rio.example", 250)]
    refused(lab.check_conviction([*opens, ("RSET now", 501)]), "the weak server passes too")
    told = lab.check_conviction([*opens, ("MAIL FROM:<a@b.example>", 250), ("RCPT TO:<postmaster>", 250),
                                 ("RSET", 250), ("MAIL FROM:<a@b.example>", 250)])
    assert told.passed and "letter for nobody" not in str(told), "MAIL after RSET shows it, and no letter was taken"


def test_a_reader_that_swallows_a_broken_record() -> None:
    def my_read(tls: Any) -> bytes:
        plain = b""
        with suppress(ssl.SSLError):
            while block := tls.read(262_144):
                plain += block
        return plain

    refused(lab.check_read(my_read), "tampered")


def deaf_at_the_end(pieces: list[bytes]) -> Any:
    pieces = pieces or [b""]
    for number, piece in enumerate(pieces, 1):
        yield f"BDAT {len(piece)}{' LAST' if number == len(pieces) else ''}\r\n".encode() + piece
    replies = []
    for _ in pieces:
        replies.append((yield from read_reply()))
    refusals = [reply for reply in replies if not reply.positive]
    if refusals:
        yield b"RSET\r\n"
    return refusals[0] if refusals else replies[-1]


def test_a_reply_to_rset_that_nobody_hears() -> None:
    refused(lab.check_sender(deaf_at_the_end), "replies")


def test_a_number_is_no_reply() -> None:
    right = solution("15_submission", "additions-code")["my_additions"]

    def my_additions(fields: Any, user: str) -> Any:
        return getattr(right(fields, user), "code", right(fields, user))

    refused(lab.check_additions(my_additions), "A refusal is a Reply")


@pytest.mark.parametrize("value", ["SUCCESS,,DELAY", "NEVER,NEVER"])
def test_empty_words_and_never_twice(value: str) -> None:
    right = solution("16_dsn", "notify-code")["my_notify"]
    refused(lab.check_notify(lambda given: {"SUCCESS"} if given == value else right(given)), repr(value))


# -- refused wrongly --


def test_fsync_takes_a_file_as_well() -> None:
    def my_write(path: Any, head: bytes, body: Any) -> None:
        with open(path, "xb") as file:
            file.write(head + body.read())
            file.flush()
            os.fsync(file)

    assert lab.check_write(my_write).passed


def test_a_route_of_bytes() -> None:
    assert lab.check_route(lambda header: [host.encode() for host in route_of_text(header)]).passed


def route_of_text(header: bytes) -> list[str]:
    fields = message_from_bytes(header).get_all("Received", [])
    plain = [re.sub(r"\([^()]*\)", " ", " ".join(str(field).split())) for field in fields]
    return [found[1] for field in reversed(plain) if (found := re.search(r"(?:^| )by ([^\s;]+)", field))]


def test_capitals_of_a_verb_and_of_from_are_free() -> None:
    assert lab.check_mail_lines(MAIL_LINES | {"A": "Mail From:<ana@rio.example> body=8bitmime size=300000\r\n"}).passed


@pytest.mark.parametrize("check, answers", [
    (lab.check_ehlo_bugs, {"A": "2", "B": "7", "C": " 5", "D": "5", "E": "4"}),
    (lab.check_client_bugs, {"A": "8", "B": "4", "C": "6", "D": "8"}),
    (lab.check_mistakes, {"A": "4", "B": "5", "C": "7", "D": "6", "E": "2"}),
    (lab.check_server_bugs, {"A": "3", "B": "4", "C": "4", "D": "2"}),
    (lab.check_auth_bugs, {"A": "2", "B": "4", "C": "4", "D": "2", "E": "0", "F": "4"}),
    (lab.check_session_codes, ["250", "250", "503", "250", "250", "501", "354", "250", "503", "501"]),
], ids=lambda thing: getattr(thing, "__name__", ""))
def test_numbers_may_be_written_as_text(check: Any, answers: Any) -> None:
    assert check(answers).passed, str(check(answers))


def test_a_class_may_inherit_its_hooks() -> None:
    future = solution_class("16_dsn", "MyFutureRelease", lab.check_future)
    requiretls = solution_class("11_starttls", "MyRequireTLS", lab.check_requiretls)
    assert future.passed and requiretls.passed


def solution_class(chapter: str, name: str, check: Any) -> Any:
    """The verdict on a class that inherits everything from the solution's."""
    cells = [cell.source for cell in nbformat.read(SOLUTIONS / f"{chapter}.ipynb", as_version=4).cells
             if cell.cell_type == "code" and (cell.id == "imports" or f"class {name}" in cell.source)]
    names: dict[str, Any] = {}
    exec("\n".join(line for source in cells for line in source.splitlines() if "lab.check" not in line
                   and not line.startswith(("verdict", "assert verdict"))), names)
    return check(type(name, (names[name],), {}))


# -- explained badly --


def test_none_for_a_wrong_proof_is_no_burglary() -> None:
    right = solution("13_scram", "proves-code")["my_proves"]
    verdict = lab.check_proves(lambda *proof: True if right(*proof) else None)
    refused(verdict, "returns True or False")
    assert "reads Ana's mail" not in str(verdict)


def test_no_verdict_quotes_our_own_server_as_the_rule() -> None:
    told = dict.fromkeys("ABCDEFGH", "failed")
    assert "Our own server" not in str(lab.check_told(told))

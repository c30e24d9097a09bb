"""Answers that checks once praised wrongly, refused wrongly, or explained badly."""
from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any

import nbformat
import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.conversation import read_reply
from smtp_from_scratch.envelope import Body, has_bare_newline
from smtp_from_scratch.scram import proves
from smtp_from_scratch.wire import Reply
from tests.solutions import SOLUTIONS, solution


def refused(verdict: Any, says: str) -> None:
    assert not verdict.passed and says in str(verdict), str(verdict)


# -- praised wrongly --


def refuses_at_once(cutter: Any) -> Any:
    yield Reply(354, "go on")
    body, want = b"", Body(cutter)
    while block := (yield want):
        body += block
        if has_bare_newline(body):
            yield Reply(554, "no bare line ends")
            return None
    yield Reply(250, "taken")
    return body


def test_a_refusal_before_the_true_end_is_smuggling() -> None:
    refused(lab.check_receive(refuses_at_once), "before the end mark")


def test_lines_compared_by_value() -> None:
    def my_encode_reply(reply: Reply) -> bytes:
        return b"".join(f"{reply.code}{' ' if line == reply.lines[-1] else '-'}{line}\r\n".encode()
                        for line in reply.lines)

    refused(lab.check_encode(my_encode_reply), "'OK', 'OK'")


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
    right = solution("18_submission", "additions-code")["my_additions"]

    def my_additions(fields: Any, user: str) -> Any:
        return getattr(right(fields, user), "code", right(fields, user))

    refused(lab.check_additions(my_additions), "A refusal is a Reply")


# -- refused wrongly --


def test_capitals_of_a_verb_and_of_from_are_free() -> None:
    assert lab.check_mail_lines(MAIL_LINES | {"A": "Mail From:<ana@rio.example> body=8bitmime size=300000\r\n"}).passed


@pytest.mark.parametrize("check, answers", [
    (lab.check_ehlo_bugs, {"A": "2", "B": "4", "C": " 5", "D": "5", "E": "5"}),
    (lab.check_client_bugs, {"A": "8", "B": "4", "C": "6", "D": "8"}),
    (lab.check_mistakes, {"A": "4", "B": "7", "C": "5", "D": "4", "E": "2"}),
    (lab.check_server_bugs, {"A": "3", "B": "4", "C": "4", "D": "2"}),
    (lab.check_auth_bugs, {"A": "2", "B": "4", "C": "4", "D": "2", "E": "0", "F": "4"}),
    (lab.check_session_codes, ["250", "250", "503", "250", "250", "501", "354", "250", "503", "501"]),
], ids=lambda thing: getattr(thing, "__name__", ""))
def test_numbers_may_be_written_as_text(check: Any, answers: Any) -> None:
    assert check(answers).passed, str(check(answers))


def test_a_class_may_inherit_its_hooks() -> None:
    requiretls = solution_class("14_starttls", "MyRequireTLS", lab.check_requiretls)
    assert requiretls.passed


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
    verdict = lab.check_proves(lambda *proof: True if proves(*proof) else None)
    refused(verdict, "returns True or False")
    assert "reads Ana's mail" not in str(verdict)

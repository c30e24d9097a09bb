"""What RFC 5321 asks of a server and no dialogue can ask: what is kept, what the trace says, which codes there are."""
from __future__ import annotations

import ast
import io
import re
import smtplib
import sys
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Envelope, Maildir, Reply, Server
from smtp_from_scratch.__main__ import only
from smtp_from_scratch.conversation import Conversation, rehearse
from smtp_from_scratch.maildir import trace
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.wire import encode_reply

PACKAGE = Path(sys.modules["smtp_from_scratch"].__file__ or "").parent
OPENING = b"HELO rio.example\r\nMAIL FROM:<Ana.Lima@Rio.example>\r\nRCPT TO:<Kenji@Tokyo.example>\r\n"


def pour(data: bytes) -> Conversation[None]:
    """A client that says everything at once and hangs up."""
    yield data


# --- envelopes -------------------------------------------------------------------------------------------------------


def test_a_local_part_keeps_its_case() -> None:
    kept: list[Envelope] = []
    more = b'RCPT TO:<kenji@Tokyo.example>\r\nRCPT TO:<"Yui San"@Tokyo.example>\r\nDATA\r\n.\r\n'
    rehearse(pour(OPENING + more), serve(Session(deliver=lambda envelope, body: kept.append(envelope))))
    assert kept[0].sender == "Ana.Lima@Rio.example"
    assert kept[0].recipients == ["Kenji@Tokyo.example", "kenji@Tokyo.example", '"Yui San"@Tokyo.example']


def test_a_null_reverse_path_stays_null(tmp_path: Path) -> None:
    with Server(deliver=Maildir(tmp_path)) as server, smtplib.SMTP(*server.address) as smtp:
        smtp.sendmail("", ["ana@rio.example"], "Subject: undeliverable\r\n\r\nSorry.\r\n")
    [file] = (tmp_path / "ana@rio.example" / "new").iterdir()
    assert file.read_bytes().startswith(b"Return-Path: <>\n")


def test_a_server_for_some_domains_refuses_others_with_550() -> None:
    with Server(accept_recipient=only(["Tokyo.example"])) as server, smtplib.SMTP(*server.address) as smtp:
        smtp.helo("rio.example")
        smtp.mail("ana@rio.example")
        assert smtp.rcpt("li@beijing.example")[0] == 550
        assert smtp.rcpt("li%beijing.example@elsewhere.example")[0] == 550
        assert smtp.docmd("RCPT", "TO:<@tokyo.example:li@beijing.example>")[0] == 550
        assert smtp.rcpt("kenji@TOKYO.example")[0] == 250
        assert smtp.docmd("RCPT", "TO:<Postmaster>")[0] == 250


# --- trace -----------------------------------------------------------------------------------------------------------

RECEIVED = re.compile(                                  # RFC 5321 §4.4: Time-stamp-line, with what we use of it
    r"from (?P<hello>\S+)(?: \(\[(?:IPv6:)?[0-9a-f.:]+\]\))?\r\n"
    r"\tby (?P<by>\S+) with (?P<protocol>\S+) id (?P<id>\S+)(?:\r\n\tfor <[^<>]+>)?;\r\n"
    r"\t(?P<date>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [+-][0-9]{4}"
    r"(?: \([A-Z]+\))?)\r\n")
REGISTERED = {"SMTP", "ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA", "LMTP", "LMTPA", "LMTPS", "LMTPSA",
              "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"}       # RFC 3848, RFC 6531 §4.3


@pytest.mark.parametrize("recipients", [["kenji@tokyo.example"], ["kenji@tokyo.example", "yui@tokyo.example"]])
@pytest.mark.parametrize("peer", ["", "192.0.2.7", "2001:db8::1"])
def test_a_received_field_has_the_form_of_the_grammar(peer: str, recipients: list[str]) -> None:
    envelope = Envelope("ana@rio.example", recipients, "rio.example", peer)
    path, _, received = trace(envelope, "mx.example", "4711.P1Q1.mx").decode().partition("\r\nReceived: ")
    assert path == "Return-Path: <ana@rio.example>"
    match = RECEIVED.fullmatch(received)
    assert match, received
    assert match["protocol"] in REGISTERED and match["hello"] == "rio.example" and match["by"] == "mx.example"
    assert parsedate_to_datetime(match["date"]).tzinfo is not None and "-0000" not in match["date"]


def test_trace_fields_go_before_all_others(tmp_path: Path) -> None:
    old = b"Received: from a.example by b.example; 24 Nov 2026 09:00:00 +0900\r\nSubject: hello\r\n" \
          b"Received: from 0.example by a.example; 24 Nov 2026 08:59:59 +0900\r\n\r\ntext\r\n"
    envelope = Envelope("ana@rio.example", ["kenji@tokyo.example"], "b.example")
    assert Maildir(tmp_path, "mx.example")(envelope, io.BytesIO(old)).code == 250
    [file] = (tmp_path / "kenji@tokyo.example" / "new").iterdir()
    text = file.read_bytes()
    assert text.startswith(b"Return-Path: <ana@rio.example>\nReceived: from b.example\n\tby mx.example ")
    assert text.endswith(old.replace(b"\r\n", b"\n")) and text.count(b"Received:") == 3


def test_the_reply_to_a_letter_waits_for_delivery_alone() -> None:
    """When the end mark comes, all that came before has been unstuffed and put aside already (§6.1)."""
    handed: list[int] = []
    talk = serve(Session(deliver=lambda envelope, body: handed.append(len(body.read()))))
    want: Any = next(talk)
    lines = OPENING.split(b"\r\n")[:-1] + [b"DATA"]
    while type(want).__name__ != "Body":
        want = talk.send(lines.pop(0) if type(want).__name__ == "Line" else None)
    cutter, text, steps = want.cutter, b"x" * 998 + b"\r\n", 0
    for _ in range(100):
        block, rest = cutter.cut(text)
        assert rest == b"" and len(block) >= 998
        want = talk.send(block)
    want = talk.send(cutter.cut(b".\r\n")[0] or b"")
    while not isinstance(want, Reply):
        steps += 1
        want = talk.send(want.function() if hasattr(want, "function") else b"")
    assert want.code == 250 and handed == [100_000] and steps <= 2


# --- replies ---------------------------------------------------------------------------------------------------------

# RFC 5321 §4.2.3; 521 and 556: RFC 7504; 235, 334, 432, 454, 530, 534, 535, 538: RFC 4954; 555: §4.1.1.11
CODES = {211, 214, 220, 221, 235, 250, 251, 252, 334, 354, 421, 432, 450, 451, 452, 454, 455, 500, 501, 502, 503, 504,
         521, 530, 534, 535, 538, 550, 551, 552, 553, 554, 555, 556}


def test_our_reply_codes_are_those_of_the_rfcs() -> None:
    found = 0
    for path in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reply"
                    and node.args and isinstance(node.args[0], ast.Constant)):
                found += 1
                assert node.args[0].value in CODES, f"{path.name}:{node.lineno}"
                assert len(node.args) > 1 and ast.unparse(node.args[1]) != "''" or node.args[0].value == 334, (
                    f"{path.name}:{node.lineno}: a reply has a text (§4.2)")
    assert found > 20


@pytest.mark.parametrize("code", [0, 99, 100, 150, 199, 600, 999, 2500, -250])
def test_no_reply_has_a_code_outside_200_to_599(code: int) -> None:
    with pytest.raises(ValueError, match="between 200 and 599"):
        Reply(code, "no")


@pytest.mark.parametrize("text", ["one", "one\ntwo", "one\n\nthree", "250 looks like a code\n550 this too", "\n"])
def test_every_line_of_a_reply_has_its_code(text: str) -> None:
    *first, last, nothing = encode_reply(Reply(550, text, "5.7.1")).split(b"\r\n")
    assert nothing == b"" and len(first) == text.count("\n")
    assert all(line.startswith(b"550-5.7.1") for line in first) and last.startswith(b"550 5.7.1")

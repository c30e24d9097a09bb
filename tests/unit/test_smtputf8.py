"""SMTPUTF8: what may be beyond ASCII was announced, in octets that are UTF-8, and nothing is translated (RFC 6531)."""
from __future__ import annotations

import pytest

from smtp_from_scratch.client import SMTPNotSupportedError
from smtp_from_scratch.conversation import Conversation, read_reply, rehearse
from smtp_from_scratch.ehlo import EightBitMime, ExtensionSet, Size
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.session import serve
from smtp_from_scratch.smtputf8 import SmtpUtf8
from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, Plan

JOSE, YONG = "josé@exemplo.example", "用户@例え.example"


def codes(*lines: str | bytes, hello: str = "EHLO") -> list[tuple[int, str]]:
    """Codes of a server's replies to lines after EHLO."""
    session = CodedSession("mx.example", extensions=ExtensionSet([Size(), EightBitMime(), SmtpUtf8()]))

    def client() -> Conversation[list[tuple[int, str]]]:
        found = []
        yield from read_reply()
        for line in (f"{hello} rio.example", *lines):
            yield (line if isinstance(line, bytes) else line.encode()) + b"\r\n"
            reply = yield from read_reply()
            found.append((reply.code, reply.text.partition(" ")[0]))
        return found[1:]

    replies: list[tuple[int, str]] = rehearse(client(), serve(session)).client
    return replies


def test_what_was_not_announced_is_550_for_a_sender_and_553_for_the_rest() -> None:
    """RFC 6531 §3.5."""
    lines = [f"MAIL FROM:<{JOSE}>", "MAIL FROM:<ana@rio.example>", f"RCPT TO:<{YONG}>", "VRFY josé", "EXPN josé"]
    assert codes(*lines) == [
        (550, "5.6.7"), (250, "sender"), (553, "5.6.7"), (553, "5.6.7"), (553, "5.6.7")]


def test_what_was_announced_is_taken() -> None:
    assert [code for code, _ in codes(f"MAIL FROM:<{JOSE}> SMTPUTF8", f"RCPT TO:<{YONG}>", "VRFY josé SMTPUTF8")] == [
        250, 250, 252]


@pytest.mark.parametrize("line, code", [
    ("MAIL FROM:<josé@x.example> SMTPUTF8=1", 501), ("MAIL FROM:<josé@x.example> smtputf8", 250),
    ('MAIL FROM:<"é SMTPUTF8"@x.example>', 550), ('VRFY "é SMTPUTF8"', 553), ("NOOP é", 501), ("RSET é", 501),
    (b"MAIL FROM:<jos\xe9@x.example> SMTPUTF8", 501), (b"MAIL FROM:<\xed\xa0\x80@x.example> SMTPUTF8", 501),
    (f"MAIL FROM:<{'用' * 21}@x.example> SMTPUTF8", 250), (f"MAIL FROM:<{'用' * 22}@x.example> SMTPUTF8", 501),
])
def test_one_command(line: str | bytes, code: int) -> None:
    assert codes(line)[0][0] == code


def test_an_announcement_ends_with_its_transaction() -> None:
    lines = [f"MAIL FROM:<{JOSE}> SMTPUTF8", "RSET", "MAIL FROM:<ana@rio.example>", f"RCPT TO:<{YONG}>"]
    assert [code for code, _ in codes(*lines)] == [250, 250, 250, 553]


def test_an_ascii_address_at_a_domain_of_a_labels_needs_nothing() -> None:
    lines = ["MAIL FROM:<ana@xn--r8jz45g.example>", "RCPT TO:<kenji@xn--r8jz45g.example>"]
    assert [code for code, _ in codes(*lines)] == [250, 250]
    client = ClientSession("rio.example")
    plan = Plan(client, OutgoingMessage(Envelope("ana@xn--r8jz45g.example", ["a@rio.example"]), []))
    assert plan.mail.parameters == {}


def test_after_helo_nothing_can_be_announced() -> None:
    assert codes(f"MAIL FROM:<{JOSE}> SMTPUTF8", hello="HELO")[0][0] // 100 == 5


@pytest.mark.parametrize("offered", [{}, {"SMTPUTF8": ""}, {"8BITMIME": ""}])
def test_a_client_sends_it_as_it_is_or_not_at_all(offered: dict[str, str]) -> None:
    client = ClientSession("rio.example", (EightBitMime(), SmtpUtf8()))
    client.learn(offered)
    with pytest.raises(SMTPNotSupportedError, match="SMTPUTF8"):
        Plan(client, OutgoingMessage(Envelope(JOSE, [YONG]), []))
    client.learn({"SMTPUTF8": "", "8BITMIME": ""})
    plan = Plan(client, OutgoingMessage(Envelope(JOSE, [YONG]), []))
    assert plan.mail.parameters == {"SMTPUTF8": None, "BODY": "8BITMIME"}

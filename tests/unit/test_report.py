"""Delivery reports, written and read: who is told, what a report says, what a strange one cannot do (RFC 3464)."""
from __future__ import annotations

import email
import io
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Client, Server
from smtp_from_scratch.dsn import request
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.parts import RETURN_LIMIT
from smtp_from_scratch.report import DeliveryReport, build_report, parse_report, reporting
from smtp_from_scratch.wire import Reply

ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"
LETTER = b"From: ana@rio.example\r\nSubject: rehearsal\r\n\r\nSaturday at seven.\r\n"
GONE, FULL, FINE = Reply(550, "nobody of that name", "5.1.1"), Reply(452, "no room", "4.2.2"), Reply(250, "ok", "2.0.0")


def envelope(*recipients: str, sender: str = ANA, **wishes: Any) -> Envelope:
    return request(Envelope(sender, list(recipients or (YUI,))), **wishes)


def report(*about: tuple[str, Reply], original: bytes = LETTER, **wishes: Any) -> DeliveryReport | None:
    built = build_report(envelope(*(a for a, _ in about), **wishes), dict(about), original, "mx.tokyo.example")
    return built and parse_report(built.as_bytes())


# --- who is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notify, told", [
    ("", {"failed", "delayed"}), ("NEVER", set()), ("SUCCESS", {"delivered", "relayed", "expanded"}),
    ("FAILURE", {"failed"}), ("DELAY", {"delayed"}),
    ("SUCCESS,FAILURE,DELAY", {"failed", "delayed", "delivered", "relayed", "expanded"}),
])
def test_notify_decides_which_reports_are_written(notify: str, told: set[str]) -> None:
    """RFC 3461 §5.2.2 to §5.2.7."""
    wished = envelope(notify=notify)
    built = [build_report(wished, {YUI: reply}, LETTER, "mx.example") for reply in (GONE, FULL)]
    built += [build_report(wished, {YUI: FINE}, LETTER, "mx.example", success=success)
              for success in ("delivered", "relayed", "expanded")]
    assert {parse_report(b).recipients[0].action for b in built if b} == told


def test_nobody_is_told_of_a_report() -> None:
    """RFC 3461 §5.2: never a report about a letter from `<>`."""
    assert report((YUI, GONE), sender="", notify="FAILURE") is None


def test_a_report_names_only_those_who_are_reported() -> None:
    """RFC 3461 §5.2.8."""
    found = report((YUI, GONE), (KENJI, GONE), ("bo@oslo.example", FINE), notify={KENJI: "NEVER"})
    assert found and [r.recipient for r in found.recipients] == [YUI]


def test_a_delay_becomes_a_failure_with_the_last_attempt() -> None:
    built = build_report(envelope(), {YUI: FULL}, LETTER, "mx.example", give_up=True)
    assert built and parse_report(built).recipients[0].action == "failed"
    assert parse_report(built).recipients[0].status == "4.2.2"


# --- what it says ----------------------------------------------------------------------------------------------------


def test_a_report_has_three_parts_and_all_fields() -> None:
    """RFC 3461 §6.3, RFC 3464 §2."""
    wished = envelope(envid="QQ 314", orcpt={YUI: "Yui+choir@tokyo.example"})
    built = build_report(wished, {YUI: Reply(550, "no\nsuch user")}, LETTER, "mx.rio.example",
                         remote_mta="mx.tokyo.example")
    assert built and built["To"] == ANA and built["Auto-Submitted"] == "auto-replied"
    parsed = email.message_from_bytes(built.as_bytes(), policy=policy.default)
    kinds = [part.get_content_type() for part in parsed.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"] and not parsed.defects
    found = parse_report(parsed)
    [about] = found.recipients
    assert (found.reporting_mta, found.envelope_id) == ("mx.rio.example", "QQ 314")
    assert (about.recipient, about.original, about.action) == (YUI, "Yui+choir@tokyo.example", "failed")
    assert (about.status, about.remote_mta) == ("5.0.0", "mx.tokyo.example")
    assert about.diagnostic == "550 no / such user" and "550 no / such user" in found.text
    assert found.returned and found.returned["Subject"] == "rehearsal"


@pytest.mark.parametrize("host, kind", [("mx.example", b"dns"), ("laptop", b"x-local-hostname"),
                                        ("[127.0.0.1]", b"x-local-hostname")])
def test_a_host_without_a_full_name_does_not_claim_one(host: str, kind: bytes) -> None:
    """RFC 3461 §6.3 (b)."""
    built = build_report(envelope(), {YUI: GONE}, LETTER, host)
    assert built and b"\r\nReporting-MTA: " + kind + b"; " + host.encode() in built.as_bytes()
    assert parse_report(built).reporting_mta == host


@pytest.mark.parametrize("ret, reply, whole", [
    ("FULL", GONE, True), ("full", GONE, True), ("HDRS", GONE, False), ("", GONE, False), ("FULL", FULL, False),
    ("FULL", FINE, False),
])
def test_ret_decides_how_much_comes_back(ret: str, reply: Reply, whole: bool) -> None:
    """RFC 3461 §4.3, §6.2: the whole letter only of a failure."""
    found = report((YUI, reply), ret=ret, notify="SUCCESS,FAILURE,DELAY")
    assert found and found.returned
    assert ("Saturday" in found.returned.as_string()) == whole


def test_a_large_letter_comes_back_as_its_header() -> None:
    found = report((YUI, GONE), ret="FULL", original=LETTER + b"x" * RETURN_LIMIT)
    assert found and found.returned and found.returned["Subject"] == "rehearsal" and not found.returned.get_payload()


@given(st.binary(max_size=300), st.sampled_from(["FULL", "HDRS"]))
def test_no_letter_breaks_a_report(letter: bytes, ret: str) -> None:
    """Whatever came back, the report is sent through 7 bits, and read again."""
    built = build_report(envelope(ret=ret), {YUI: GONE}, letter, "mx.example")
    assert built
    octets = built.as_bytes(policy=built.policy.clone(cte_type="7bit"))
    assert octets.isascii() and parse_report(octets).recipients[0].recipient == YUI


@given(st.text().filter(lambda text: not set("\r\0") & set(text)))
def test_no_reply_breaks_a_report(text: str) -> None:
    built = build_report(envelope(), {YUI: Reply(550, text)}, LETTER, "mx.example", remote_mta="mx.tokyo.example")
    assert built
    octets = built.as_bytes(policy=built.policy.clone(cte_type="7bit"))
    [about] = parse_report(octets).recipients
    assert about.action == "failed" and about.diagnostic.startswith("550") and about.diagnostic.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_addresses_beyond_ascii_are_written_in_ascii() -> None:
    """RFC 6533 §3."""
    wished = Envelope(ANA, ["用户@例え.example"])
    wished.options = {"用户@例え.example": {"ORCPT": "utf-8;用户@例え.example"}}
    built = build_report(wished, {"用户@例え.example": GONE}, LETTER, "mx.example")
    assert built and rb"Final-Recipient: utf-8; \x{7528}\x{6237}@\x{4F8B}\x{3048}.example" in built.as_bytes()
    assert rb"Original-Recipient: utf-8; \x{7528}\x{6237}@" in built.as_bytes()


# --- reports that others write ---------------------------------------------------------------------------------------

STRANGE = b"""From: MAILER-DAEMON@mx.example
To: ana@rio.example
Content-Type: multipart/report; boundary=b; Report-Type=Delivery-Status

--b

A sentence.
--b
Content-Type: message/delivery-status

reporting-mta: dns;mx.example
X-Queue-ID: 1234

final-recipient: RFC822;yui@tokyo.example
action: FAILED
status: 5.1.1 (no such mailbox)
diagnostic-code: smtp; 550 folded
 over two lines

--b--
"""


def test_a_strange_report_is_read() -> None:
    """Names and words in any case, folded lines, comments, fields that we do not know, no third part."""
    found = parse_report(STRANGE)
    [about] = found.recipients
    assert (found.reporting_mta, found.envelope_id, found.text) == ("mx.example", "", "A sentence.")
    assert (about.recipient, about.action, about.status) == (YUI, "failed", "5.1.1")
    assert about.diagnostic == "550 folded over two lines" and found.returned is None


@pytest.mark.parametrize("change, complaint", [
    ((b"multipart/report", b"multipart/mixed"), "no delivery report"),
    ((b"Delivery-Status", b"disposition-notification"), "no delivery report"),
    ((b"message/delivery-status", b"text/plain"), "no part that says"),
    ((b"final-recipient:", b"recipient:"), "without Final-Recipient"), ((b"action:", b"x-action:"), "without Action"),
    ((b"status: 5", b"x: 5"), "without Status"),
])
def test_what_is_no_report_is_refused(change: tuple[bytes, bytes], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_report(STRANGE.replace(*change))
    with pytest.raises(ValueError, match="no delivery report"):
        parse_report(LETTER)


@given(st.binary(max_size=200))
def test_no_octets_break_the_reader(octets: bytes) -> None:
    for damaged in (octets, STRANGE.replace(b"A sentence.", octets), STRANGE.replace(b"dns;mx.example", octets)):
        try:
            parse_report(damaged)
        except ValueError as error:
            assert str(error)


# --- a delivery that reports -----------------------------------------------------------------------------------------


def delivery(outcome: Any) -> tuple[Any, list[tuple[EmailMessage, Envelope]], list[bytes]]:
    """A delivery with this outcome, what it sends, and what it was given."""
    sent: list[tuple[EmailMessage, Envelope]] = []
    seen: list[bytes] = []

    def deliver(envelope: Envelope, body: Any) -> Any:
        seen.append(body.read())
        return outcome

    return reporting(deliver, "mx.tokyo.example", lambda message, back: sent.append((message, back))), sent, seen


def test_a_delivery_reports_what_was_asked_for() -> None:
    """RFC 3461 §5.2.3, §6.1: from `<>`, to the sender, and no report about the report."""
    deliver, sent, seen = delivery(None)
    with Server(deliver=deliver) as server, Client(*server.address) as smtp:
        smtp.sendmail(ANA, [YUI, KENJI], LETTER, notify={YUI: "SUCCESS"}, envid="1")
    [(message, back)] = sent
    assert seen == [LETTER]
    assert (back.sender, back.recipients, back.options) == ("", [ANA], {ANA: {"NOTIFY": "NEVER"}})
    assert [r.recipient for r in parse_report(message).recipients] == [YUI]


@pytest.mark.parametrize("outcome, answer, reported", [
    ({YUI: FINE, KENJI: GONE}, 250, ["failed"]),           # we have it for somebody: the others are our business
    ({YUI: GONE, KENJI: GONE}, 550, []),                   # refused: the client's business
    (GONE, 550, []), (FULL, 452, []),
    ({YUI: FINE, KENJI: FULL}, 452, []),                   # the client tries again
    (FINE, 250, []), ({}, 451, []), ({YUI: FINE}, 451, []),
])
def test_whoever_keeps_the_letter_reports(outcome: Any, answer: int, reported: list[str]) -> None:
    deliver, sent, _ = delivery(outcome)
    with Server(deliver=deliver) as server, Client(*server.address) as smtp:
        receipt = smtp.transact(Envelope(ANA, [YUI, KENJI]), LETTER)
        assert receipt.reply and receipt.reply.code == answer
    assert [r.action for message, _ in sent for r in parse_report(message).recipients] == reported


def test_a_body_is_read_once_more_in_bounded_memory() -> None:
    deliver, sent, _ = delivery({YUI: FINE, KENJI: GONE})
    deliver(request(Envelope(ANA, [YUI, KENJI]), ret="FULL"), io.BytesIO(LETTER + b"x" * 10 * RETURN_LIMIT))
    [(message, _)] = sent
    assert len(message.as_bytes()) < RETURN_LIMIT

"""Delivery reports: wishes on the envelope, at both ends, and reports written and read (RFC 3461, RFC 3464)."""
from __future__ import annotations

import email
import io
import smtplib
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Client, Server
from smtp_from_scratch.dsn import (
    RETURN_LIMIT,
    DeliveryReport,
    Dsn,
    build_report,
    encode_orcpt,
    parse_envid,
    parse_notify,
    parse_orcpt,
    parse_report,
    reporting,
    request,
)
from smtp_from_scratch.ehlo import Size, decode_xtext, encode_xtext
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab import aiosmtpd_server
from smtp_from_scratch.wire import Reply

ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"
LETTER = b"From: ana@rio.example\r\nSubject: rehearsal\r\n\r\nSaturday at seven.\r\n"
GONE, FULL, FINE = Reply(550, "nobody of that name", "5.1.1"), Reply(452, "no room", "4.2.2"), Reply(250, "ok", "2.0.0")
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)


def envelope(*recipients: str, sender: str = ANA, **wishes: Any) -> Envelope:
    return request(Envelope(sender, list(recipients or (YUI,))), **wishes)


def report(*about: tuple[str, Reply], original: bytes = LETTER, **wishes: Any) -> DeliveryReport | None:
    built = build_report(envelope(*(a for a, _ in about), **wishes), dict(about), original, "mx.tokyo.example")
    return built and parse_report(built.as_bytes())


# --- values ----------------------------------------------------------------------------------------------------------


@given(st.text())
def test_xtext_gives_back_any_text_and_fits_a_parameter(text: str) -> None:
    coded = encode_xtext(text)
    assert decode_xtext(coded) == text
    assert all("!" <= c <= "~" and c != "=" for c in coded)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_xtext_has_one_reading(text: str) -> None:
    """What is xtext decodes and encodes to a spelling that means the same; what is none is refused."""
    try:
        meant = decode_xtext(text)
    except ValueError:
        return
    assert decode_xtext(encode_xtext(meant)) == meant


@given(printable)
def test_envid_and_orcpt_give_back_what_was_meant(text: str) -> None:
    wished = envelope(envid=text[:30], orcpt={YUI: f"x-note;{text[:150]}"})
    assert parse_envid(wished.parameters["ENVID"] or "") == text[:30]
    assert parse_orcpt(wished.options[YUI]["ORCPT"] or "") == ("x-note", text[:150])


@pytest.mark.parametrize("value, events", [
    ("NEVER", set()), ("never", set()), ("SUCCESS", {"SUCCESS"}), ("delay,Failure", {"DELAY", "FAILURE"}),
])
def test_notify_is_never_alone_or_a_list(value: str, events: set[str]) -> None:
    assert parse_notify(value) == events


@pytest.mark.parametrize("value", ["", "NEVER,SUCCESS", "SUCCESS,", "SUCCESS,,DELAY", "ALWAYS", "SUCCESS DELAY",
                                   "ſUCCESS"])
def test_notify_refuses_everything_else(value: str) -> None:
    with pytest.raises(ValueError, match="NOTIFY= takes NEVER alone"):
        parse_notify(value)


@pytest.mark.parametrize("value", ["", "yui@tokyo.example", ";yui", "rfc822;", "rfc822;a+", "rfc822;a+0Db", "r c;x",
                                   "rfc822;" + "x" * 494, "utf-8;a\u0085b", "rfc822;é"])
def test_orcpt_refuses_what_is_no_typed_address(value: str) -> None:
    with pytest.raises(ValueError):
        parse_orcpt(value)


def test_orcpt_takes_utf8_addresses() -> None:
    """RFC 6533 §3: as they are where SMTPUTF8 is spoken, or in a notation of their own."""
    assert parse_orcpt("utf-8;用户@例え.example") == ("utf-8", "用户@例え.example")
    assert parse_orcpt(r"utf-8;\x{7528}@tokyo.example") == ("utf-8", r"\x{7528}@tokyo.example")
    assert encode_orcpt(YUI) == "rfc822;yui@tokyo.example"
    assert encode_orcpt("用户@tokyo.example") == r"utf-8;\x{7528}\x{6237}@tokyo.example"


# --- the client's end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wishes, complaint", [
    ({"ret": "HALF"}, "FULL or HDRS"), ({"ret": "HDRS\r\nQUIT"}, "FULL or HDRS"), ({"ret": "HDRſ"}, "FULL or HDRS"),
    ({"envid": "a\r\nQUIT"}, "printable ASCII"), ({"envid": "é"}, "printable ASCII"), ({"envid": "x" * 95}, "100"),
    ({"notify": "NEVER,DELAY"}, "NEVER alone"), ({"notify": {KENJI: "DELAY"}}, "not among the recipients: kenji@"),
    ({"orcpt": {YUI: "yui\r\n@tokyo.example"}}, "printable ASCII"),
    ({"orcpt": {YUI: "x" * 500}}, "500"),
    ({"orcpt": {KENJI: KENJI}}, "not among the recipients"),
])
def test_a_bad_wish_is_refused_before_anything_changes(wishes: dict[str, Any], complaint: str) -> None:
    untouched = Envelope(ANA, [YUI])
    with pytest.raises(ValueError, match=complaint):
        request(untouched, **({"ret": "FULL", "notify": "DELAY"} | wishes))
    assert untouched == Envelope(ANA, [YUI]) and not untouched.options


def test_wishes_travel_from_one_envelope_to_the_other() -> None:
    with Server() as server, Client(*server.address) as smtp:
        smtp.sendmail(ANA, [YUI, KENJI], LETTER, ret="hdrs", envid="QQ+1=314", orcpt={YUI: "Yui+choir@tokyo.example"},
                      notify={YUI: "delay,success", KENJI: "never"})
        arrived = server.wait_for(1)[0].envelope
    assert arrived.parameters.items() >= {"RET": "HDRS", "ENVID": "QQ+2B1+3D314"}.items()
    assert arrived.options == {YUI: {"NOTIFY": "SUCCESS,DELAY", "ORCPT": "rfc822;Yui+2Bchoir@tokyo.example"},
                               KENJI: {"NOTIFY": "NEVER"}}


def test_wishes_are_relayed_as_they_came() -> None:
    """RFC 3461 §5.2.1: the next hop gets the same values, letter by letter."""
    with Server() as first, Server() as second:
        with smtplib.SMTP(*first.address) as peer:         # passes what it is given
            peer.sendmail(ANA, [YUI], LETTER, ["RET=hdrs", "ENVID=a+2Bb"],
                          ["NOTIFY=dElAy", "ORCPT=RFC822;yUI@x.example"])
        received = first.wait_for(1)[0]
        with Client(*second.address) as smtp:
            smtp.transact(received.envelope, received.data)
        relayed = second.wait_for(1)[0].envelope
    assert {k: relayed.parameters[k] for k in ("RET", "ENVID")} == {"RET": "hdrs", "ENVID": "a+2Bb"}
    assert relayed.options == {YUI: {"NOTIFY": "dElAy", "ORCPT": "RFC822;yUI@x.example"}}


def test_a_server_without_dsn_is_not_told() -> None:
    with aiosmtpd_server() as other, Client(*other.address) as smtp:
        assert "DSN" not in smtp.offered
        smtp.sendmail(ANA, [YUI], LETTER, ret="FULL", envid="1", notify="SUCCESS", orcpt={YUI: YUI})
    with Server(extensions=[Size()]) as server, Client(*server.address) as smtp:
        message = EmailMessage()
        message["From"], message["To"] = ANA, YUI
        smtp.send_message(message, notify="NEVER", envid="1")
        assert not {"ENVID", "RET"} & set(server.wait_for(1)[0].envelope.parameters)


# --- the server's end ------------------------------------------------------------------------------------------------


def test_the_longest_values_are_taken() -> None:
    """RFC 3461 §5.4: ENVID 100, ORCPT 500, NOTIFY 28, RET 8 characters, on lines long enough for them."""
    longest = f"{'x' * 64}@{'y' * 60}.{'y' * 60}.example"
    with Server(extensions=[Dsn()]) as server, smtplib.SMTP(*server.address) as peer:
        peer.ehlo()
        assert peer.docmd(f"MAIL FROM:<{longest}> RET=FULL ENVID={'e' * 100}")[0] == 250
        assert peer.docmd(f"RCPT TO:<{longest}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{'o' * 493}")[0] == 250
        assert peer.docmd(f"RCPT TO:<{YUI}> ORCPT=rfc822;{'o' * 494}")[0] == 501
        assert peer.docmd("RSET")[0] == 250 and peer.docmd(f"MAIL FROM:<{ANA}> ENVID={'e' * 101}")[0] == 501


def test_a_value_that_is_missing_is_named() -> None:
    with Server() as server, smtplib.SMTP(*server.address) as peer:
        peer.ehlo()
        code, text = peer.docmd("MAIL FROM:<ana@rio.example> RET")
    assert (code, text) == (501, b"5.5.4 a value is missing: RET=HDRS")


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

"""Wishes on the envelope, at both ends (RFC 3461)."""
from __future__ import annotations

import smtplib
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Client, Server
from smtp_from_scratch.dsn import Dsn, encode_orcpt, parse_envid, parse_notify, parse_orcpt, request
from smtp_from_scratch.ehlo import Size
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab import aiosmtpd_server

ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"
LETTER = b"From: ana@rio.example\r\nSubject: rehearsal\r\n\r\nSaturday at seven.\r\n"
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)


def envelope(*recipients: str, sender: str = ANA, **wishes: Any) -> Envelope:
    return request(Envelope(sender, list(recipients or (YUI,))), **wishes)


# --- values ----------------------------------------------------------------------------------------------------------


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

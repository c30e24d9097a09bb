"""Reports: one that cannot be written undoes no 250, and one that a stranger wrote neither breaks nor stops anybody."""
from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import signal
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtp_from_scratch import Client, Server
from smtp_from_scratch.dsn import request
from smtp_from_scratch.envelope import BadPath, Envelope, encode_path
from smtp_from_scratch.parts import RETURN_LIMIT
from smtp_from_scratch.report import DeliveryReport, build_report, parse_report, reporting
from smtp_from_scratch.wire import Reply

ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"
GONE, FULL, FINE = Reply(550, "nobody of that name", "5.1.1"), Reply(452, "no room", "4.2.2"), Reply(250, "ok", "2.0.0")
HALL = "Content-Type: {}\r\nSubject: rehearsal\r\n\r\nIn the small hall, São Paulo.\r\n"
HOSTILE = ["text/plain; charset=é", 'text/plain; charset="a\0b"', "multipart/report; x; bou*", "text/plain; charset=x",
           "text/plain; charset*=utf-8''%ff", "multipart/mixed; boundary*=a; boundary*0=b", "message/rfc822",
           "text/plain; charset=undefined", "text/plain; charset=idna", "text/plain; name*" + "9" * 5_000 + "=x",
           "multipart/mixed; boundary="]


class TooMuchWork(BaseException):
    """No Exception, so that nobody suppresses it."""


@contextlib.contextmanager
def cpu_seconds(most: int) -> Iterator[None]:
    """An end to what would take minutes or days; seconds of this process, however busy the machine is."""
    def late(*_: object) -> None:
        raise TooMuchWork(f"this takes more than {most} seconds of work")

    if not hasattr(signal, "setitimer"):
        pytest.skip("no clock for the work of a process")
    old = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)


# --- a report that cannot be written ---------------------------------------------------------------------------------


def delivery(outcome: Any, send: Any = None) -> tuple[Any, list[bytes], list[EmailMessage]]:
    """A delivery with this outcome, the letters that it was given, and the reports that it sent."""
    letters, reports = list[bytes](), list[EmailMessage]()

    def deliver(envelope: Envelope, body: Any) -> Any:
        letters.append(body.read())
        return outcome

    send = send or (lambda message, envelope: reports.append(message))
    return reporting(deliver, "mx.tokyo.example", send), letters, reports


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("ret", ["FULL", "HDRS"])
def test_a_hostile_letter_is_delivered_once_and_reported(kind: str, ret: str) -> None:
    deliver, letters, reports = delivery({YUI: GONE, KENJI: FINE})
    with Server(deliver=deliver) as server, Client(*server.address) as smtp:
        receipt = smtp.sendmail(ANA, [YUI, KENJI], HALL.format(kind).encode(), ret=ret)
        assert receipt.reply and receipt.reply.code == 250
    assert len(letters) == 1
    [report] = reports
    assert b"rehearsal" in report.as_bytes()
    assert report.as_bytes(policy=report.policy.clone(cte_type="7bit")).isascii()
    assert [about.recipient for about in parse_report(report).recipients] == [YUI]


class Broken(io.BytesIO):
    """A body that can be read only once."""

    def seek(self, *_: Any) -> int:
        raise OSError("the disk is broken")


@pytest.mark.parametrize("error", [OSError("\x1b[31mno route"), LookupError("é\u2028\x9b"), RecursionError()])
def test_a_report_that_fails_undoes_no_250(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """The letter is delivered: 451 would bring it again and again. The log says that somebody was not told."""
    def send(report: EmailMessage, envelope: Envelope) -> None:
        raise error

    deliver, letters, _ = delivery({YUI: GONE, KENJI: FINE}, send)
    with Server(deliver=deliver) as server, Client(*server.address) as smtp:
        receipt = smtp.sendmail(ANA, [YUI, KENJI], b"Subject: x\r\n\r\n")
        assert receipt.reply and receipt.reply.code == 250
    assert len(letters) == 1
    [record] = [record for record in caplog.records if record.name == "smtp_from_scratch.report"]
    line = record.getMessage()
    assert record.levelno >= logging.WARNING and ANA in line and type(error).__name__ in line
    assert line.isprintable() and line.isascii()


def test_a_body_that_cannot_be_read_again_undoes_no_250(caplog: pytest.LogCaptureFixture) -> None:
    deliver, letters, reports = delivery({YUI: GONE, KENJI: FINE})
    assert deliver(Envelope(ANA, [YUI, KENJI]), Broken(b"Subject: x\r\n\r\n")).code == 250
    assert len(letters) == 1 and not reports and "the disk is broken" in caplog.text


@pytest.mark.parametrize("outcome", [
    "554 5.7.1 spam", "", True, False, 0, 250, (250, "ok"), [], Reply(354),
])
def test_what_is_no_answer_becomes_none_by_being_reported(outcome: Any) -> None:
    """What the server would answer with 451 is a mistake here, too, and nobody is told anything."""
    deliver, _, reports = delivery(outcome)
    with pytest.raises((TypeError, ValueError)):
        deliver(request(Envelope(ANA, [YUI, KENJI]), notify="SUCCESS,FAILURE"), io.BytesIO())
    assert not reports


@pytest.mark.parametrize("outcome", [
    {}, {YUI: FINE}, {YUI: FINE, KENJI: None}, {YUI: FINE, KENJI: "550 no"}, {YUI: FINE, KENJI: Reply(354)},
])
def test_a_mapping_that_lacks_an_answer_is_passed_on(outcome: Any) -> None:
    """The server will say 451, and so nobody is told anything."""
    deliver, _, reports = delivery(outcome)
    assert deliver(request(Envelope(ANA, [YUI, KENJI]), notify="SUCCESS,FAILURE"), io.BytesIO()) is outcome
    assert not reports


def test_a_deliver_that_must_be_awaited_is_refused_at_once() -> None:
    async def deliver(envelope: Envelope, body: Any) -> None:
        await asyncio.sleep(0)

    class Deliver:
        async def __call__(self, envelope: Envelope, body: Any) -> None:
            await asyncio.sleep(0)

    for each in (deliver, Deliver()):
        with pytest.raises(TypeError, match="async"):
            reporting(each, "mx.example", lambda report, envelope: None)


# --- reports that are built ------------------------------------------------------------------------------------------

FIELDS = st.sampled_from([
    "Content-Type: ", "content-type:", "Content-Transfer-Encoding: ", "Subject: ", "text/plain", "multipart/mixed",
    "message/rfc822", "multipart/report", "; ", "charset", "boundary", "bou*", "name*0", "*", "=", "b", '"', "'", "%ff",
    "utf-8", "\xff", "é", "=?utf-8?q?=0A?=", "base64", "quoted-printable", "\r\n", "\r\n", "\r\n ", "\r\n\r\n", "--b",
    "--b--", "\\", "(", ")", "<", ">", ",", "\0", "\r", "\n", "text"])
STRANGE = st.lists(FIELDS, max_size=40).map(lambda pieces: "".join(pieces).encode())


def seven_bit(report: EmailMessage) -> bytes:
    return report.as_bytes(policy=report.policy.clone(cte_type="7bit"))


@given(STRANGE, st.sampled_from(["FULL", "HDRS"]))
@example("Content-Type: multipart/report; x; bou*\r\n\r\né".encode(), "FULL")
def test_no_letter_breaks_a_report(letter: bytes, ret: str) -> None:
    built = build_report(request(Envelope(ANA, [YUI]), ret=ret), {YUI: GONE}, letter, "mx.example")
    assert built
    assert seven_bit(built).isascii() and parse_report(seven_bit(built)).recipients[0].recipient == YUI
    assert parse_report(built.as_bytes()).recipients[0].recipient == YUI


def is_address(text: str) -> bool:
    with contextlib.suppress(BadPath):
        return bool(encode_path(text))
    return False


LOCAL = st.text(st.sampled_from("ab.+=?_-!#$%&'*/^`{|}~é中"), min_size=1, max_size=20)
QUOTED = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
ADDRESS = st.builds("{}@{}".format, LOCAL | QUOTED, st.sampled_from(
    ["x.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "例え.example", "a-b.c"])).filter(is_address)


@given(ADDRESS, ADDRESS)
@example('""@x.example', '"\\\\"@x.example')
def test_no_address_breaks_a_report(sender: str, recipient: str) -> None:
    built = build_report(Envelope(sender, [recipient]), {recipient: GONE}, b"Subject: x\r\n\r\n", "mx.example")
    assert built and parse_report(built.as_bytes()).recipients


@pytest.mark.parametrize("kind", ["text/plain; x=" + " " * 90_000, "text/plain" + ";" * 90_000, "a" * 90_000,
                                  'text/plain; x="' + ";" * 90_000, "text/plain;" + "\r\n x=y;" * 12_000,
                                  "(" * 90_000, "=?" * 45_000, "text/plain; charset=" + "\\" * 90_000])
@pytest.mark.parametrize("name", ["Content-Type", "Subject", "Content-Transfer-Encoding"])
@pytest.mark.parametrize("text", ["hall", "Saal für acht"])
def test_no_letter_keeps_the_writer_busy(name: str, kind: str, text: str) -> None:
    letter = f"{name}: {kind}\r\n\r\n{text}\r\n".encode()
    assert len(letter) <= RETURN_LIMIT
    with cpu_seconds(10):
        built = build_report(request(Envelope(ANA, [YUI]), ret="FULL"), {YUI: GONE}, letter, "mx.example")
        assert built and seven_bit(built).isascii()


@pytest.mark.parametrize("text", ["x" * 5_000, "é" * 900, "word " * 1_000, "a\n" * 2_000])
def test_a_long_diagnostic_fits_a_line_and_says_as_much_as_fits(text: str) -> None:
    """`one_line` stops at 900 characters: with its name, a field fits the 998 of RFC 5322 §2.1.1."""
    built = build_report(Envelope(ANA, [YUI]), {YUI: Reply(550, text)}, b"", "mx.example", remote_mta="mx.x.example")
    assert built
    octets = seven_bit(built)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    [about] = parse_report(octets).recipients
    assert about.diagnostic.startswith("550 ") and 890 <= len(about.diagnostic) <= 900


# --- reports that strangers wrote ------------------------------------------------------------------------------------

REPORT = b"""Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

A sentence.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; yui@tokyo.example
Action: failed
Status: 5.1.1
%s
--b
Content-Type: message/rfc822

Subject: rehearsal
Content-Type: multipart/mixed; boundary=c

--c

In the hall.
--c--
--b--
"""


def test_a_letter_in_a_report_is_read_with_its_parts() -> None:
    found = parse_report(REPORT.replace(b"%s", b""))
    assert found.returned and found.returned["Subject"] == "rehearsal" and found.returned.is_multipart()
    [part] = found.returned.get_payload()
    assert isinstance(part, EmailMessage) and part.get_content() == "In the hall."
    assert parse_report(REPORT.replace(b"%s", b"").replace(b"\n", b"\r\n")).recipients == found.recipients
    assert parse_report(message_from_bytes(REPORT.replace(b"%s", b""))).recipients == found.recipients


@pytest.mark.parametrize("coding, text", [(b"base64", b"QSBzZW50ZW5jZTog5p2x5LqsLg"),
                                          (b"BASE64", b"QSBzZW50ZW5jZTog5p2x5LqsLg=="),
                                          (b"Quoted-Printable", b"A sentence: =E6=9D=\n=B1=E4=BA=AC.")])
def test_encoded_parts_are_decoded(coding: bytes, text: bytes) -> None:
    part = b"--b\nContent-Transfer-Encoding: " + coding + b"\n\n" + text
    octets = REPORT.replace(b"--b\n\nA sentence.", part, 1).replace(b"%s", b"")
    assert parse_report(octets).text == "A sentence: 東京."


@pytest.mark.parametrize("boundary", [b"", b"; boundary", b"; boundary=", b'; boundary=""'])
def test_parts_without_a_delimiter_are_none(boundary: bytes) -> None:
    """RFC 2046 §5.1.1: it has at least one character."""
    with pytest.raises(ValueError, match="no part that says"):
        parse_report(REPORT.replace(b"; boundary=b", boundary, 1).replace(b"--b", b"--"))


def test_a_diagnostic_in_encoded_words_is_read() -> None:
    """RFC 3464 §2.1.1."""
    octets = REPORT.replace(b"%s", b"Diagnostic-Code: smtp; 550 =?utf-8?q?n=C3=A3o?=")
    assert parse_report(octets).recipients[0].diagnostic == "550 não"


@pytest.mark.parametrize("value", ["550 \x1b]0;you are root\x07", "550 \x9b31m", "550 a\u2028b\u202ec", "550 \x00",
                                   "550 =?utf-8?q?=1B=0AStatus=3A_2.0.0?="])
def test_what_a_report_says_is_printable_and_of_one_line(value: str) -> None:
    about = parse_report(REPORT.replace(b"%s", f"Diagnostic-Code: smtp; {value}".encode())).recipients[0]
    assert about.diagnostic.startswith("550 ") and about.diagnostic.isprintable() and about.status == "5.1.1"


def read(octets: bytes) -> DeliveryReport | None:
    """Read, or refused with a sentence."""
    try:
        return parse_report(octets)
    except ValueError as error:
        assert str(error)
        return None


TOP = st.sampled_from([b"multipart/report", b"; ", b";", b"report-type=delivery-status", b"boundary=b", b'boundary="b"',
                       b"bou*", b"boundary*0", b"*=", b"*0*=utf-8''b", b"=", b'"', b"\\", b" ", b"\n ", b"\n\t", b"x",
                       b"\xff", b"\0", b"(", b"9" * 5_000])
PARTS = st.sampled_from([
    b"\n--b\n", b"\n--b--\n", b"--", b"b", b"\n\n", b"\n", b"\r", b":", b" ", b";", b"\xff", b"=?utf-8?b?A?=",
    b"Content-Type: message/delivery-status\n\n", b"Content-Type: message/rfc822\n\n",
    b"Content-Type: message/global\n\n", b"Content-Type: text/rfc822-headers\n\n",
    b"Content-Type: multipart/report; x; bou*\n\n", b"name*=x; name*0=y",
    b"Content-Transfer-Encoding: base64\n", b"Reporting-MTA: dns; x\n\n", b"Final-Recipient: rfc822; y\n",
    b"Action: failed\n", b"Status: 5\n", b"Status: \x1c\n"])


@given(st.lists(TOP, max_size=12), st.lists(PARTS, max_size=40))
@example([b"multipart/report", b"; ", b"report-type=delivery-status", b"; ", b"bou*"], [])
@example([b"multipart/report; report-type=delivery-status; bou*"], [])
def test_no_report_raises_anything_but_value_error(top: list[bytes], parts: list[bytes]) -> None:
    body, kind = b"".join(parts), b"multipart/report; report-type=delivery-status; boundary=b"
    octets = b"Content-Type: " + b"".join(top) + b"\n\n"
    whole = b"Content-Type: " + kind + b"\n\n" + body
    for each in (octets + body, octets + REPORT, whole, REPORT.replace(b"%s", body)):
        read(each)
        try:
            message = message_from_bytes(each, policy=policy.default)
        except Exception:                                  # the library's reader breaks
            continue
        with contextlib.suppress(ValueError):
            parse_report(message)


@given(st.binary(max_size=400), st.integers(0, len(REPORT)), st.integers(0, 40))
def test_no_damage_raises_anything_but_value_error(octets: bytes, at: int, gone: int) -> None:
    read(REPORT[:at] + octets + REPORT[at + gone :])


BIG = 2_000_000                                 # octets; what is quadratic would take hours
BUSY = {
    "blanks in a field": REPORT.replace(b"%s", b"Diagnostic-Code: smtp; " + b" " * BIG + b"x"),
    "blanks and line ends": REPORT.replace(b"%s", b"Diagnostic-Code: smtp; " + b" \n" * (BIG // 2) + b" x"),
    "tabs in a required field": REPORT.replace(b"5.1.1", b"\t" * BIG + b"5.1.1"),
    "a folded field": REPORT.replace(b"%s", b"X: y\n" + b" z\n" * (BIG // 3)),
    "encoded words": REPORT.replace(b"%s", b"Diagnostic-Code: smtp; " + b"=?a?q?x" * (BIG // 7)),
    "fields": REPORT.replace(b"%s", b"X: y\n" * (BIG // 5)),
    "empty lines": REPORT.replace(b"%s", b"\n" * BIG),
    "groups": REPORT.replace(b"%s", b"\nFinal-Recipient: a; b\nAction: failed\nStatus: 5.1.1\n" * (BIG // 55)),
    "no group": REPORT.replace(b"%s", b"\n\nx" * (BIG // 3)),
    "blanks in the type": REPORT.replace(b"; boundary", b";" + b" " * BIG + b"boundary"),
    "semicolons in the type": REPORT.replace(b"; boundary", b";" * BIG + b" boundary"),
    "quotes in the type": REPORT.replace(b"; boundary", b'; x="' + b";" * BIG + b'"; boundary'),
    "an open quote": REPORT.replace(b"; boundary", b'; x="' + b'\\";a=' * (BIG // 5) + b"; boundary"),
    "backslashes in the type": REPORT.replace(b"boundary=b", b'boundary="' + b"\\" * BIG),
    "names in the type": REPORT.replace(b"; boundary", b"; x" * (BIG // 3) + b"; boundary"),
    "parts": REPORT.replace(b"--b--", b"--b\n\n" * (BIG // 5) + b"--b--"),
    "near delimiters": REPORT.replace(b"%s", b"--b-\n" * (BIG // 5)),
    "letter: type": REPORT.replace(b"Content-Type: multipart/mixed", b"Content-Type: x/y" + b";" * BIG),
    "letter: quotes": REPORT.replace(b"Content-Type: multipart/mixed", b'Content-Type: x/y; z="' + b";" * BIG),
    "letter: blanks": REPORT.replace(b"rehearsal", b" " * BIG + b"x"),
    "letter: parts": REPORT.replace(b"--c--", b"--c\nContent-Type: a/b; c=\";;;\n\n" * (BIG // 30) + b"--c--"),
    "letter: parts in parts": REPORT.replace(b"In the hall.", b"".join(
        b"--c%d\nContent-Type: multipart/mixed; boundary=c%d\n\n" % (n, n + 1) for n in range(BIG // 50))),
    "letter: letters in letters": REPORT.replace(b"In the hall.", b"Content-Type: message/rfc822\n\n" * (BIG // 30)),
    "letter: colons": REPORT.replace(b"In the hall.", b"a:" * (BIG // 2)),
}


@pytest.mark.parametrize("kind", BUSY)
def test_no_report_keeps_the_reader_busy(kind: str) -> None:
    """Whatever a stranger sends, the work grows as the report does."""
    with cpu_seconds(20):
        found = read(BUSY[kind])
    assert found is None or found.recipients[0].recipient == YUI

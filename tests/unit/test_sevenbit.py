"""A message in 8 bits for a host that takes 7: another spelling of the same content, or none at all."""
from __future__ import annotations

import io
import random
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest

from smtp_from_scratch import Envelope, Server
from smtp_from_scratch.ehlo import EightBitMime
from smtp_from_scratch.queue import Relayed, forward
from smtp_from_scratch.sevenbit import quoted_printable, seven_bit
from smtp_from_scratch.smtp.lines import Lines
from smtp_from_scratch.smtp.nexthost import next_host

ANA, YUI = "ana@rio.example", "yui@tokyo.example"
TOP = b"From: ana@rio.example\r\nSubject: Choir\r\nMIME-Version: 1.0\r\n"
TEXT = b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
WORDS = "Sábado às sete = 19:00. \r\n\r\n.\r\nFrom: você\t\r\n".encode()


def converted(octets: bytes) -> bytes:
    spool = seven_bit(io.BytesIO(octets))
    try:
        return spool.file.read()
    finally:
        spool.close()


def contents(octets: bytes) -> list[tuple[str, Any]]:
    """Type and content of each part, whatever it is encoded in."""
    found = []
    for part in message_from_bytes(octets).walk():
        payload: Any = None if part.is_multipart() else part.get_payload(decode=True)
        found.append((part.get_content_type(), payload))
    return found


def multipart(*parts: bytes, kind: bytes = b"mixed", coding: bytes = b"Content-Transfer-Encoding: 8bit\r\n",
              boundary: bytes = b"cut here") -> bytes:
    between = b"\r\n--" + boundary
    return (b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n' + coding + b"\r\nfor old readers"
            + b"".join(between + b"\r\n" + part for part in parts) + between + b"--\r\n")


@pytest.mark.parametrize("octets", [
    TOP + TEXT + WORDS,
    TOP + TEXT + WORDS.rstrip(),
    TOP + TEXT,
    TOP.lower() + TEXT.replace(b"8bit", b" 8BIT ") + WORDS,
    TOP + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + WORDS,
    TOP + multipart(TEXT + WORDS, b"\r\nplain\r\n", b"Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n"),
    TOP + multipart(TEXT + WORDS, coding=b""),
    TOP + multipart(multipart(TEXT + WORDS, TEXT + WORDS * 3, boundary=b"inner", kind=b"alternative"), TEXT + b"\xff"),
    TOP + multipart(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TOP + TEXT + WORDS),
    TOP + multipart(b"\r\n" + TOP + TEXT + WORDS, kind=b"digest"),
    TOP + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TOP + TEXT + WORDS,
    TOP + multipart(TEXT + "--cut here, é\r\n--cut hereabouts\r\n".encode(), TEXT + WORDS) + b"and after\r\n",
    TOP + multipart(TEXT + WORDS, boundary=b"a--"),
    TOP + multipart(TEXT + "--cut here\x0c\r\nNo: part\r\n\r\né\r\n".encode(), TEXT + WORDS),
])
def test_the_content_is_the_same_in_seven_bits(octets: bytes) -> None:
    done = converted(octets)
    assert done.isascii() and all(len(line) <= 998 for line in done.split(b"\r\n"))
    before, after = contents(octets), contents(done)
    assert after == before and b"8bit" not in done.lower()
    assert done.count(b"\n") == done.count(b"\r\n")
    assert converted(done) == done


def test_what_needs_no_change_has_none() -> None:
    first = TOP + multipart(TEXT + WORDS, b"Content-Type: text/plain\r\nX-Odd:  two  spaces\r\n\r\nas it  is \r\n")
    done = converted(first)
    assert done.startswith(TOP) and b"X-Odd:  two  spaces\r\n\r\nas it  is \r\n\r\n--cut here--\r\n" in done
    assert b"for old readers\r\n--cut here\r\n" in done
    assert b"Content-Transfer-Encoding: quoted-printable\r\n\r\nS=C3=A1bado =C3=A0s sete =3D 19:00.=20\r\n" in done


SIGNED = b"DKIM-Signature: v=1; a=rsa-sha256\r\n"


@pytest.mark.parametrize("octets, why", [
    (SIGNED + TOP + TEXT + WORDS, "signed"),
    (b"ARC-Message-Signature: i=1\r\n" + TOP + TEXT + WORDS, "signed"),
    (TOP + multipart(TEXT + WORDS, kind=b"signed"), "signed"),
    (TOP + multipart(multipart(TEXT + WORDS, kind=b"Signed", boundary=b"in"), TEXT + WORDS), "signed"),
    (TOP + multipart(b"Content-Type: message/rfc822\r\n\r\n" + SIGNED + TOP + TEXT + WORDS), "signed"),
    (b"Subject: Choir\r\n\r\n" + WORDS, "no MIME"),
    (b"MIME-Version: 2.0\r\n" + TEXT + WORDS, "no MIME"),
    (TOP + b"\r\n" + WORDS, "beyond ASCII"),
    (TOP + TEXT.replace(b"8bit", b"7bit") + WORDS, "beyond ASCII"),
    (TOP + TEXT.replace(b"8bit", b"base64") + WORDS, "beyond ASCII"),
    (TOP + TEXT.replace(b"8bit", b"binary") + WORDS, "in binary"),
    (TOP + TEXT.replace(b"8bit", b"x-own") + WORDS, "in x-own"),
    (TOP + "X-Name: José\r\n".encode() + TEXT + WORDS, "field"),
    (TOP + multipart("X-Name: José\r\n".encode() + TEXT + WORDS), "field"),
    (TOP + multipart(TEXT + WORDS).replace(b"old", b"\xc3\xb6ld"), "beyond ASCII"),
    (TOP + multipart(TEXT + WORDS) + WORDS, "beyond ASCII"),
    (TOP + multipart(TEXT + WORDS).replace(b"--cut here--", b""), "does not end"),
    (TOP + multipart(TEXT + WORDS).replace(b'; boundary="cut here"', b""), "boundary"),
    (TOP + multipart(TEXT + WORDS).replace(b"multipart/mixed", b"multipart/mixed (a; b)"), "cannot be read"),
    (TOP + multipart(multipart(TEXT + WORDS)), "boundary of its own"),
    (TOP + multipart(multipart(TEXT + WORDS, boundary=b"in").replace(b"--in--", b"")), "does not end"),
    (TOP + multipart(TEXT + WORDS, coding=b"Content-Transfer-Encoding: base64\r\n"), "in base64"),
    (TOP + b"Content-Type: text/html\r\n" + TEXT + WORDS, "twice"),
    (TOP + TEXT[:-2] + TEXT + WORDS, "twice"),
    (TOP + TEXT.replace(b"text/plain", b"message/partial") + WORDS, "may not be encoded"),
    (TOP + multipart(b"Content-Type: text/plain"), "no end"),
    (TOP + b"no field\r\n" + TEXT + WORDS, "none"),
    (TOP + b"X-Space : readers differ\r\n" + TEXT + WORDS, "none"),
    (TOP + TEXT + b"a\r--cut here\r\n" + WORDS, "a CR stands alone"),
    (TOP + multipart(TEXT + WORDS).replace(b'; boundary', b'; boundary=other; boundary', 1), "twice"),
    (TOP + multipart(TEXT + WORDS).replace(b'; boundary', b'; x=a"b; boundary=other"; boundary', 1), "twice"),
    (TOP, "no end"),
    (b"", "no end"),
    (TOP + TEXT + b"\xff" * 1_000_001, "a line has more"),
])
def test_what_cannot_be_changed_safely_is_not_changed(octets: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        seven_bit(io.BytesIO(octets))


def test_parts_within_parts_have_a_bound() -> None:
    octets = TEXT + WORDS
    for number in range(200):
        octets = multipart(octets, boundary=b"b%d" % number)
    with pytest.raises(ValueError, match="without an end"):
        seven_bit(io.BytesIO(TOP + octets))


@pytest.mark.parametrize("line, written", [
    (b"plain\r\n", b"plain\r\n"), (b"a=b\r\n", b"a=3Db\r\n"), (b"end \r\n", b"end=20\r\n"),
    (b"end\t\r\n", b"end=09\r\n"),
    (b"\xc3\xa9", b"=C3=A9"), (b" \t a", b" \t a"), (b"\r\n", b"\r\n"), (b"", b""), (b"a\rb\r\n", b"a=0Db\r\n"),
    (b"x" * 75 + b"\r\n", b"x" * 75 + b"\r\n"), (b"x" * 76 + b"\r\n", b"x" * 75 + b"=\r\nx\r\n"),
    (b"x" * 74 + b"\xff\r\n", b"x" * 74 + b"=\r\n=FF\r\n")])
def test_quoted_printable(line: bytes, written: bytes) -> None:
    assert quoted_printable(line) == written


def test_any_octets_come_back_as_they_were() -> None:
    import quopri

    dice = random.Random(6152)
    for _ in range(300):
        line = bytes(dice.choice(b" \tax=.\x80\xff\x01") for _ in range(dice.randrange(200))) + b"\r\n"
        done = quoted_printable(line)
        assert quopri.decodestring(done) == line and all(len(part) <= 76 for part in done.split(b"\r\n"))


def test_what_the_library_writes_is_what_it_reads() -> None:
    message = EmailMessage(policy=SMTP.clone(cte_type="8bit"))
    message["From"], message["Subject"] = ANA, "Choir"
    message.set_content("Sábado às sete\n" * 3, cte="8bit")
    message.add_alternative("<p>Sábado</p>\n", subtype="html", cte="8bit")
    message.add_attachment(b"\0\xff" * 100, maintype="image", subtype="png")
    other = EmailMessage(policy=SMTP.clone(cte_type="8bit"))
    other["Subject"] = "within"
    other.set_content("às\n", cte="8bit")
    message.add_attachment(other)
    octets = message.as_bytes()
    assert not octets.isascii() and contents(converted(octets)) == contents(octets)


# --- to a host -------------------------------------------------------------------------------------------------------


def send(server: Server, octets: bytes, *recipients: str, **about: Any) -> Relayed:
    with Lines(next_host("relay.rio.example", seven_bits=True)) as lines:
        said = forward(lambda: lines("mx.tokyo.example", server.address), "mx.tokyo.example")(
            Envelope(ANA, list(recipients or (YUI,)), **about), io.BytesIO(octets))
    assert isinstance(said, Relayed)
    return said


def test_a_host_without_8bitmime_gets_seven_bits() -> None:
    with Server(extensions=[]) as old:
        assert send(old, TOP + TEXT + WORDS, parameters={"BODY": "8BITMIME"})[YUI].code == 250
        [message] = old.messages
    assert bytes(message.data).isascii() and contents(bytes(message.data)) == contents(TOP + TEXT + WORDS)
    assert not message.envelope.parameters


def test_a_host_with_it_gets_the_octets_as_they_are() -> None:
    with Server(extensions=[EightBitMime()]) as new:
        assert send(new, TOP + TEXT + WORDS)[YUI].code == 250
        assert bytes(new.messages[0].data) == TOP + TEXT + WORDS


@pytest.mark.parametrize("octets, recipient, code, why", [
    (SIGNED + TOP + TEXT + WORDS, YUI, "5.6.3", "it is signed"),
    (b"Subject: Choir\r\n\r\n" + WORDS, YUI, "5.6.3", "it is no MIME"),
    (TOP + TEXT + WORDS, "ユイ@tokyo.example", "5.6.7", "needs SMTPUTF8"),
    ("Subject: às\r\n".encode() + TOP + TEXT + WORDS, YUI, "5.6.7", "field of a header"),
])
def test_what_cannot_go_in_seven_bits_comes_back_with_the_reason(octets: bytes, recipient: str, code: str,
                                                                 why: str) -> None:
    with Server(extensions=[]) as old:
        reply = send(old, octets, recipient)[recipient]
        assert (reply.code, reply.enhanced) == (554, code) and why in reply.text and not old.messages


def test_binary_stays_what_it_is() -> None:
    with Server(extensions=[]) as old:
        reply = send(old, TOP + TEXT + WORDS, parameters={"BODY": "BINARYMIME"})[YUI]
        assert reply.code == 554 and "BINARYMIME" in reply.text and not old.messages


def test_a_large_message_is_never_whole_in_memory() -> None:
    import tracemalloc

    class Endless(io.BytesIO):
        """So many lines; nothing of them is kept."""

        left = 30_000

        def readline(self, size: int | None = -1, /) -> bytes:
            if found := super().readline(size):
                return found
            self.left -= 1
            return "é".encode() * 40 + b"\r\n" if self.left > 0 else b""

    tracemalloc.start()
    spool = seven_bit(Endless(TOP + TEXT))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spool.octets > 7_000_000 and most < 3_000_000
    spool.close()


def test_by_default_nothing_is_changed() -> None:
    """A relay of a program returns such a message, unless it says otherwise."""
    with Server(extensions=[]) as old:
        said = forward(lambda: next_host("relay.rio.example")("mx.tokyo.example", old.address, False))(
            Envelope(ANA, [YUI]), io.BytesIO(TOP + TEXT + WORDS))
        assert isinstance(said, Relayed) and said[YUI].enhanced == "5.6.3" and not old.messages

"""Who sent this? SPF, DKIM and DMARC, rule by rule; what is refused, what is written down, what is not believed."""
from __future__ import annotations

import base64
import io
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from hashlib import sha256
from typing import Any

import pytest

from smtp_from_scratch import Client, Envelope, Reply, Server, SMTPDataError, keys
from smtp_from_scratch.canonical import body_hash, canonical_body
from smtp_from_scratch.dkim import read_signature, signature_field, without_value
from smtp_from_scratch.dmarc import Policies
from smtp_from_scratch.fields import (
    HEADER_LIMIT,
    Finding,
    author_domains,
    authority_of,
    read_header,
    results_field,
    tags_of,
)
from smtp_from_scratch.keys import der_of, key_record, padded, public_key
from smtp_from_scratch.lab.wires.signed import course_key, football
from smtp_from_scratch.questions import BadRecord, Questions
from smtp_from_scratch.resolver import DnsResolver, NameTable
from smtp_from_scratch.spf import Caller, expand, parse_record
from smtp_from_scratch.trust import (
    MOST_SIGNATURES,
    Signer,
    Trust,
    check_dmarc,
    check_signature,
    check_spf,
    evaluate,
    relaxed_field,
    signed_octets,
)

ANA, EVE, KENJI = "ana@rio.example", "eve@shady.example", "kenji@tokyo.example"
KEY = course_key()
LETTER = b"From: Ana <ana@rio.example>\r\nTo: kenji@tokyo.example\r\nSubject: Choir\r\n\r\nMonday, 8 pm.\r\n"
ZONE: dict[str, list[str] | None] = {
    "rio.example TXT": ["v=spf1 ip4:192.0.2.1 -all"], "shady.example TXT": ["v=spf1 ip4:203.0.113.66 -all"],
    "k._domainkey.rio.example TXT": [KEY.record], "k._domainkey.shady.example TXT": [KEY.record],
    "_dmarc.rio.example TXT": ["v=DMARC1; p=reject"],
}
RIO, SHADY, OSLO = "192.0.2.1", "203.0.113.66", "192.0.2.77"


def sign(octets: bytes) -> bytes:
    return pow(padded(sha256(octets).digest(), 256), KEY.d, KEY.n).to_bytes(256)


def signed(letter: bytes = LETTER, domain: str = "rio.example") -> bytes:
    fields, start = read_header(body := io.BytesIO(letter))
    return Signer(domain, "k", sign).field(fields, body, start) + letter


def with_tags(letter: bytes = LETTER, signer: Any = sign, **changed: str | None) -> bytes:
    """A letter with a signature in which some tags are others, and which is right all the same."""
    fields, start = read_header(body := io.BytesIO(letter))
    tags = {"v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "rio.example", "s": "k", "h": "from:to:subject",
            "bh": base64.b64encode(body_hash(body, start, "relaxed")).decode()}
    tags = {name: value for name, value in (tags | changed).items() if value is not None}
    bare = signature_field(tags)
    octets = signed_octets(bare, fields, tags.get("h", "from").lower().split(":"), "relaxed")
    return signature_field(tags, base64.b64encode(signer(octets)).decode()) + letter


def dkim(letter: bytes, zone: dict[str, list[str] | None] | None = None) -> list[Finding]:
    fields, start = read_header(body := io.BytesIO(letter))
    ask = Questions(NameTable(ZONE | (zone or {})))
    return [check_signature(field, fields, lambda how: body_hash(body, start, how), ask, time.time())
            for field in fields if field.startswith(b"DKIM-Signature")]


def result(letter: bytes, **zone: Any) -> str:
    return dkim(letter, {f"k._domainkey.{name.replace('_', '.')} TXT": value for name, value in zone.items()})[0].result


def spf(record: str | list[str] | None, peer: str = "192.0.2.1", sender: str = ANA, **zone: Any) -> Finding:
    records = {"rio.example TXT": [record] if isinstance(record, str) else record}
    table = NameTable(records | {key.replace("__", " ").replace("_", "."): value for key, value in zone.items()})
    return check_spf(Envelope(sender, [KENJI], "mail.rio.example", peer), table)


# --- SPF -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record, peer, expected", [
    ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.200", "pass"), ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.3.1", "fail"),
    ("v=spf1 ip4:192.0.2.1 ~all", "192.0.2.2", "softfail"), ("v=spf1 ?all", "192.0.2.2", "neutral"),
    ("v=spf1", "192.0.2.2", "neutral"), ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8:1::2", "pass"),
    ("v=spf1 ip6:2001:db8::/32 -all", "192.0.2.1", "fail"), ("v=spf1 ip4:0.0.0.0/0 -all", "2001:db8::1", "fail"),
    ("v=spf1 ip4:192.0.2.1 -all", "::ffff:192.0.2.1", "pass"), ([], "192.0.2.1", "none"),
    (None, "192.0.2.1", "temperror"),
    (["v=spf1 -all", "v=spf1 +all"], "192.0.2.1", "permerror"),
    ("v=spf1 ip4:192.0.2.1 bogus -all", "192.0.2.1", "permerror"),
    ("v=spf1 ip4:192.0.2.1/33 -all", "192.0.2.1", "permerror"), ("v=spf1 ip4:192.0.2 -all", "192.0.2.1", "permerror"),
    ("v=spf1 include:%{x}.example", "192.0.2.1", "permerror"), ("v=spf1 a:rio.example/33", "192.0.2.1", "permerror"),
    ("v=spf1 -all redirect=a.example redirect=b.example", "192.0.2.1", "permerror"),
    ("v=spf1 redirect=gone.example", "192.0.2.1", "permerror"),
    ("v=spf1 include:gone.example ?all", "192.0.2.1", "permerror"),
    ("v=spf1 exists:" + "a" * 600 + ".example", "192.0.2.1", "permerror"),
    ("v=spf1 \xfc:x -all", "192.0.2.1", "permerror"),
])
def test_spf(record: Any, peer: str, expected: str) -> None:
    assert spf(record, peer).result == expected


def test_spf_asks_the_dns() -> None:
    table = NameTable({
        "rio.example TXT": ["v=spf1 a mx include:list.example exists:%{ir}.ok.example ptr redirect=last.example"],
        "rio.example A": ["192.0.2.1"], "rio.example MX": ["mx.rio.example."], "mx.rio.example A": ["192.0.2.2"],
        "list.example TXT": ["v=spf1 ip4:192.0.2.3 -all"], "5.2.0.192.ok.example A": ["127.0.0.2"],
        "6.2.0.192.in-addr.arpa PTR": ["web.rio.example."], "web.rio.example A": ["192.0.2.6"],
        "last.example TXT": ["v=spf1 ip4:192.0.2.7 ~all"],
    })
    found = {last: evaluate("rio.example", Caller(f"192.0.2.{last}", ANA, ""), Questions(table))
             for last in range(1, 9)}
    assert found == {1: "pass", 2: "pass", 3: "pass", 4: "softfail", 5: "pass", 6: "pass", 7: "pass", 8: "softfail"}


def test_a_record_asks_ten_questions_and_no_more() -> None:
    zone = {f"n{number}.example A": ["192.0.2.9"] for number in range(11)}
    for count, expected in ((10, "fail"), (11, "permerror")):
        names = " ".join(f"a:n{number}.example" for number in range(count))
        table = NameTable({"rio.example TXT": [f"v=spf1 {names} -all"], **zone})
        assert check_spf(Envelope(ANA, [], "", "192.0.2.1"), table).result == expected
        assert len(table.asked) == 11                      # the record, and ten


def test_two_answers_without_anything_are_borne() -> None:
    assert spf("v=spf1 a:x.example a:y.example -all").result == "fail"
    assert spf("v=spf1 a:x.example a:y.example a:z.example -all").result == "permerror"


def test_records_that_include_each_other_end() -> None:
    found = spf("v=spf1 include:rio.example -all")
    assert (found.result, found.reason) == ("permerror", "more than 10 terms ask the DNS")


def test_a_caller_is_asked_for_its_names_once() -> None:
    """However often a stranger's record has %{p}, and ptr: each time could cost eleven questions."""
    hosts = [f"n{number}.shady.example" for number in range(12)]
    table = NameTable({"rio.example TXT": ["v=spf1 " + "ptr exists:%{p}%{p}.x.example " * 5 + "-all"],
                       "66.113.0.203.in-addr.arpa PTR": hosts})
    check_spf(Envelope(EVE.replace("shady", "rio"), [], "", SHADY), table)
    assert len([asked for asked in table.asked if asked.endswith(" PTR")]) == 1 and len(table.asked) < 20


def test_the_names_of_a_caller_take_no_longer_than_all_the_rest() -> None:
    table = NameTable({"1.2.0.192.in-addr.arpa PTR": [f"n{number}.rio.example" for number in range(10)]})
    ask = Questions(table)

    class Slow:
        def records(self, name: str, kind: str) -> Any:
            ask.end = time.monotonic() + (60 if kind == "PTR" else -1)
            return table.records(name, kind)

    ask.resolver = Slow()
    assert expand("%{p}", "rio.example", Caller(RIO, ANA, ""), ask) == "unknown" and len(table.asked) == 2


def test_too_many_servers() -> None:
    table = NameTable({"rio.example TXT": ["v=spf1 mx -all"],
                       "rio.example MX": [f"mx{n}.rio.example" for n in range(11)]})
    assert check_spf(Envelope(ANA, [], "", RIO), table).result == "permerror"


def test_the_null_path_is_the_name_in_ehlo() -> None:
    found = check_spf(Envelope("", [], "mail.rio.example", RIO), NameTable({"mail.rio.example TXT": ["v=spf1 a -all"],
                                                                             "mail.rio.example A": [RIO]}))
    assert str(found) == "spf=pass smtp.helo=mail.rio.example"


@pytest.mark.parametrize("hello", ["", "localhost", "[192.0.2.1]", "a..b", "x" * 64 + ".example"])
def test_a_name_that_the_dns_cannot_have_is_not_asked_about(hello: str) -> None:
    table = NameTable({})
    assert check_spf(Envelope("", [], hello, RIO), table).result == "none" and not table.asked


def test_a_caller_on_a_path_has_no_address() -> None:
    assert check_spf(Envelope(ANA, [KENJI], "x", ""), NameTable(ZONE)).result == "none"


def test_a_slow_dns_ends_after_twenty_seconds() -> None:
    ask = Questions(NameTable(ZONE))
    ask.end = time.monotonic() - 1
    with pytest.raises(Exception, match="20 seconds"):
        evaluate("rio.example", Caller(RIO, ANA, ""), ask)


def test_macros() -> None:
    """The examples of RFC 7208 §7.4."""
    caller = Caller("192.0.2.3", "strong-bad@email.example.com", "mail.example.com")
    ask = Questions(NameTable({"3.2.0.192.in-addr.arpa PTR": ["mx.example.org"], "mx.example.org A": ["192.0.2.3"]}))
    for spec, expected in (
            ("%{s}", "strong-bad@email.example.com"), ("%{o}", "email.example.com"), ("%{d4}", "email.example.com"),
            ("%{d2}", "example.com"), ("%{d1}", "com"), ("%{dr}", "com.example.email"), ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"), ("%{l-}", "strong.bad"), ("%{lr-}", "bad.strong"), ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"), ("%{p}", "mx.example.org"),
            ("%{h}.%%.%-x", "mail.example.com.%.%20x"), ("%{S}", "strong-bad%40email.example.com")):
        assert expand(spec, "email.example.com", caller, ask) == expected
    six = Caller("2001:db8::cb01", "strong-bad@email.example.com", "")
    assert expand("%{ir}.%{v}", "email.example.com", six, ask).startswith("1.0.b.c.0.0")


@pytest.mark.parametrize("term", [
    "a:", "a:.", "include", "exists", "ip4", "ip4:", "all:x", "ptr/24", "a:x.example/024", "mx//129",
    "include:x.example/24", "redirect=", "a:%{d", "a:x.%", "a:1", "a:x.-y", "exp=", "=x", "a=%x",
])
def test_terms_that_are_none(term: str) -> None:
    with pytest.raises(BadRecord):
        parse_record(f"v=spf1 {term}")


def test_a_long_record_is_read_in_time_that_grows_with_it() -> None:
    begun = time.process_time()
    for text in ("v=spf1 " + "a " * 30_000, "v=spf1 a:" + "a" * 60_000, "v=spf1 " + "x=%{d}" * 10_000,
                 "v=spf1 " + ("a:" + "1." * 200 + "- ") * 100):
        try:
            parse_record(text)
        except BadRecord:
            pass
    assert time.process_time() - begun < 20                # quadratic would be minutes


# --- DKIM ------------------------------------------------------------------------------------------------------------


def test_a_signature_holds_until_something_changes() -> None:
    letter = signed()
    assert str(dkim(letter)[0]) == "dkim=pass header.d=rio.example"
    for old, new, reason in ((b"8 pm", b"9 pm", "body"), (b"Choir", b"Money", "header"),
                             (b"kenji", b"mallo", "header"), (b"\r\n\r\n", b"\r\nCc: x@y.example\r\n\r\n", "header"),
                             (b"\r\n\r\n", b"\r\nFrom: x@y.example\r\n\r\n", "header"), (b"bh=", b"bh=AAAA", "body")):
        found = dkim(letter.replace(old, new, 1))[0]
        assert found.result == "fail" and reason in found.reason, (new, found)


@pytest.mark.parametrize("old, new", [
    (b"Choir", b"  Choir \t"), (b"Subject: Choir", b"subject:\r\n Choir"), (b"8 pm.\r\n", b"8 \t pm. \r\n\r\n\r\n"),
    (b"From: Ana", b"FROM:  Ana"), (b"DKIM-Signature:", b"Received: by oslo\r\nDKIM-Signature:"),
])
def test_what_servers_do_on_the_way_breaks_nothing(old: bytes, new: bytes) -> None:
    assert result(signed().replace(old, new, 1)) == "pass"


def test_a_second_from_above_breaks_ours() -> None:
    assert result(b"From: director@rio.example\r\n" + signed()) == "fail"


@pytest.mark.parametrize("changed, expected, reason", [
    ({"a": "rsa-sha1"}, "policy", "SHA-1"), ({"l": "5"}, "policy", "l="), ({"x": "1000"}, "policy", "expired"),
    ({"t": "99999999999"}, "policy", "future"), ({"t": "2000", "x": "1000"}, "permerror", "before"),
    ({"x": "99999999999"}, "pass", ""), ({"i": "@news.rio.example"}, "pass", ""),
    ({"i": "ana@rio.example"}, "pass", ""),
    ({"i": "@notrio.example"}, "permerror", "within"), ({"i": "@example"}, "permerror", "within"),
    ({"h": "to:subject"}, "permerror", "From is not signed"), ({"v": "2"}, "permerror", "version"),
    ({"a": "rsa-md5"}, "permerror", "algorithm"), ({"c": "nice/relaxed"}, "permerror", "canonicalization"),
    ({"q": "http"}, "permerror", "key"), ({"q": "http:dns/txt"}, "pass", ""), ({"d": "example"}, "permerror", "domain"),
    ({"s": "a;b"}, "permerror", ""), ({"s": "x y"}, "permerror", "selector"), ({"bh": "%"}, "permerror", "base64"),
    ({"s": None}, "permerror", "s= is missing"), ({"t": "soon"}, "permerror", "time"),
    ({"s": "other"}, "permerror", "no such key"),
    ({"bh": None}, "permerror", "bh= is missing"), ({"zz": "x"}, "pass", ""), ({"h": "from:from:to"}, "pass", ""),
])
def test_what_a_signature_says(changed: dict[str, str | None], expected: str, reason: str) -> None:
    found = dkim(with_tags(**changed))[0]
    assert found.result == expected and reason in found.reason, found


@pytest.mark.parametrize("record, expected", [
    (KEY.record.replace("v=DKIM1; ", ""), "pass"), (KEY.record + "; t=s; n=a note", "pass"),
    (KEY.record + "; t=y", "policy"),
    (KEY.record.replace("k=rsa", "k=ed25519"), "permerror"), ("v=DKIM1; p=", "permerror"), ("v=DKIM1", "permerror"),
    (KEY.record.replace("DKIM1", "DKIM2"), "permerror"), (KEY.record + "; h=sha1", "permerror"), ("", "permerror"),
    (KEY.record + "; h=sha1:sha256; s=email", "pass"), (KEY.record + "; s=other", "permerror"), ("p=AAAA", "permerror"),
    (KEY.record + "; p=AAAA", "permerror"), (KEY.record[:300], "permerror"), ("v=DKIM1; p=%%%", "permerror"),
])
def test_what_a_key_says(record: str, expected: str) -> None:
    assert result(signed(), rio_example=[record]) == expected


def test_a_key_that_binds_i_to_its_domain() -> None:
    strict = [KEY.record + "; t=s"]
    assert result(with_tags(i="@news.rio.example"), rio_example=strict) == "policy"
    assert result(with_tags(i="@rio.example"), rio_example=strict) == "pass"


def test_no_key_and_no_answer_are_different() -> None:
    assert result(signed(), rio_example=[]) == "permerror" and result(signed(), rio_example=None) == "temperror"


def test_a_short_key_is_not_believed() -> None:
    """Whoever can factor it can sign (RFC 8301 §3.2); and nobody waits for one of 16,384 bits."""
    p, q = (1 << 127) - 1, (1 << 521) - 1                  # primes, by Mersenne
    n, d = p * q, pow(65537, -1, (p - 1) * (q - 1))
    size = (n.bit_length() + 7) // 8
    short = key_record(der_of(n, 65537))
    letter = with_tags(signer=lambda octets: pow(padded(sha256(octets).digest(), size), d, n).to_bytes(size))
    found = dkim(letter, {"k._domainkey.rio.example TXT": [short]})[0]
    assert (found.result, found.reason) == ("policy", "a key with less than 1024 bits")
    with pytest.raises(ValueError, match="more than 8192 bits"):
        public_key(key_record(der_of((1 << 9000) + 1, 65537)))
    with pytest.raises(ValueError, match="no key of RSA"):
        public_key(key_record(der_of(KEY.n, (1 << 40) + 1)))


def test_the_letter_of_rfc_8463() -> None:
    letter, zone = football()
    found = dkim(letter, dict(zone))
    pytest.importorskip("cryptography", reason="Ed25519 needs it: pip install 'smtp-from-scratch[trust]'")
    assert [finding.result for finding in found] == ["pass", "pass"]
    assert [finding.result for finding in dkim(letter.replace(b"game", b"ball"), dict(zone))] == ["fail", "fail"]


def test_without_the_library_ed25519_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    letter, zone = football()
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    ed25519, rsa = dkim(letter, dict(zone))
    assert (ed25519.result, rsa.result) == ("neutral", "pass") and "extra trust" in ed25519.reason


def test_keys_from_a_file() -> None:
    pytest.importorskip("cryptography", reason="keys in files need it: pip install 'smtp-from-scratch[trust]'")
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    def pem(key: Any) -> bytes:
        return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    for key in (rsa.generate_private_key(65537, 1024), ed25519.Ed25519PrivateKey.generate()):
        algorithm, signer, record = keys.signing_key(pem(key))
        fields, start = read_header(body := io.BytesIO(LETTER))
        field = Signer("rio.example", "k", signer, algorithm).field(fields, body, start)
        assert result(field + LETTER, rio_example=[record]) == "pass"
    with pytest.raises(ValueError, match="Ed25519, is wanted"):
        keys.signing_key(pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(ValueError, match="PEM"):
        keys.signing_key(b"no key")


def test_lines_of_a_signature_are_short() -> None:
    assert max(map(len, signed().partition(b"From:")[0].split(b"\r\n"))) <= 78


def test_the_place_of_the_signature() -> None:
    for field in (b"DKIM-Signature: b=AAA=; bh=b=x\r\n", b"DKIM-Signature: v=1; b = AA\r\n A=; bh=b=x\r\n"):
        assert without_value(field).replace(b"v=1;", b"").replace(b" ", b"") == b"DKIM-Signature:b=;bh=b=x\r\n"
    assert without_value(b"DKIM-Signature: bh=b; b=AAA\r\n AAA\r\n") == b"DKIM-Signature: bh=b; b=\r\n"
    assert read_signature(signature_field({"v": "1", "a": "rsa-sha256", "bh": "YQ==", "d": "rio.example", "h": "from",
                                           "s": "k"}, "Yg==")).value == b"b"


# --- bodies ----------------------------------------------------------------------------------------------------------

BODIES = [  # body, simple, relaxed (RFC 6376 §3.4.3 to §3.4.5)
    (b"", b"\r\n", b""), (b"\r\n\r\n", b"\r\n", b""),
    (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),
    (b"a", b"a\r\n", b"a\r\n"), (b"a\r\n \t\r\n\r\n", b"a\r\n \t\r\n", b"a\r\n"), (b" \r\n", b" \r\n", b""),
    (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"), (b"a \t", b"a \t\r\n", b"a\r\n"),
]


@pytest.mark.parametrize("body, simple, relaxed", BODIES)
def test_a_body_in_any_cuts(body: bytes, simple: bytes, relaxed: bytes) -> None:
    for first in range(len(body) + 1):
        for second in range(first, len(body) + 1):
            blocks = [body[:first], body[first:second], body[second:]]
            assert b"".join(canonical_body(blocks, False)) == simple
            assert b"".join(canonical_body(blocks, True)) == relaxed


class Film:
    """A file of zeros, spaces or line ends that nobody has in memory."""

    def __init__(self, octets: int, pattern: bytes) -> None:
        self.left, self.octets, self.pattern = octets, octets, pattern

    def seek(self, place: int) -> int:
        self.left = self.octets - place
        return place

    def read(self, count: int) -> bytes:
        count = min(count, self.left)
        self.left -= count
        return (self.pattern * (count // len(self.pattern) + 1))[:count]


@pytest.mark.parametrize("pattern", [b"\r\n", b" ", b"x \t", b"x\r\n", b"\r"])
def test_a_large_body_is_hashed_in_little_memory(pattern: bytes) -> None:
    tracemalloc.start()
    try:
        for how in ("simple", "relaxed"):
            body_hash(Film(20_000_000, pattern), 0, how)   # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


# --- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header, expected", [
    (b"From: ana@rio.example\r\n", ["rio.example"]), (b"from :Ana <ana@RIO.example.>\r\n", None),
    (b"FROM : Ana <ana@RIO.Example>\r\n", ["rio.example"]), (b"From:\r\n ana@rio.example\r\n", ["rio.example"]),
    (b"From: a@rio.example, b@oslo.example, c@rio.example\r\n", ["rio.example", "oslo.example"]),
    (b'From: "ana@rio.example" <eve@shady.example>\r\n', ["shady.example"]), (b"To: x@y.example\r\n", None),
    (b"From: ana@rio.example\r\nfrom: eve@shady.example\r\n", None), (b"From: ana\r\n", None), (b"From:\r\n", None),
    (b"From: ana@rio.example <eve@shady.example>\r\n", None), (b"From: <" + b"(" * 900 + b"\r\n", None),
    (b"From: friends:;\r\n", None), (b"From: " + b"x" * 3000 + b" <ana@rio.example>\r\n", None),
    ("From: jos\u00e9 <ana@rio.example>\r\n".encode("latin-1"), ["rio.example"]),
    ("From: ana@br\u00e9sil.example\r\n".encode(), ["xn--brsil-csa.example"]),
    ("From: ana@rio.exam\u200dple\r\n".encode(), None), (b"From: ana@rio.example\xff\r\n", None),
    (b"From: ana@rio.example\x01\r\n", None), ("From: a@rio.example\u2028.shady.example\r\n".encode(), None),
    (b"From: ana@rio.example/x\r\n", None), (b"From: ana@rio.example%shady.example\r\n", None),
    (b"From: ana@rio\x0b.example\r\n", None), (b"From: a@[192.0.2.1]\r\n", ["[192.0.2.1]"]),
    (b"From: ana@[rio.example]\r\n", None), (b"From: x:;, eve@shady.example\r\n", ["shady.example"]),
    (b"From: ana@=?utf-8?q?rio.example?=\r\n", ["rio.example"]),
    ("From: a@rio\u3002example\r\n".encode(), ["rio.example"]),
    (b"From\x0b: ana@rio.example\r\nFrom: eve@shady.example\r\n", None), (b"From\xa0: ana@rio.example\r\n", None),
    (b"\xef\xbb\xbfFrom: ana@rio.example\r\nFrom: eve@shady.example\r\n", None),
    (b"From: " + b",".join(b"a@%d.example" % n for n in range(5)) + b"\r\n", [f"{n}.example" for n in range(5)]),
    (b"From: " + b",".join(b"a@%d.example" % n for n in range(6)) + b"\r\n", None),
])
def test_the_author_is_one_that_everybody_reads_alike(header: bytes, expected: list[str] | None) -> None:
    fields, _ = read_header(io.BytesIO(header + b"\r\nbody\r\n"))
    if expected is None:
        with pytest.raises(ValueError):
            author_domains(fields)
    else:
        assert author_domains(fields) == expected


@pytest.mark.parametrize("letter", [
    b"X: a\nFrom: ana@rio.example\r\nFrom: eve@shady.example\r\n\r\n", b"X: a\rFrom: ana@rio.example\r\n\r\n",
    b"X: a\0\r\n\r\n", b"X: " + b"a" * HEADER_LIMIT + b"\r\n\r\n",
    b" ; dmarc=pass header.from=rio.example\r\nFrom: eve@shady.example\r\n\r\n",
    b"\t(\r\nFrom: eve@shady.example\r\n\r\n", b" \r\n\r\nFrom: eve@shady.example\r\n",
])
def test_a_header_that_readers_part_differently_is_refused(letter: bytes) -> None:
    reply = Trust("mx.tokyo.example", NameTable(ZONE)).checked(Envelope(EVE, [KENJI], "", SHADY), io.BytesIO(letter))
    assert isinstance(reply, Reply) and (reply.code, reply.enhanced) == (554, "5.6.0")


def test_where_the_body_begins() -> None:
    for letter, count, start in ((LETTER, 3, LETTER.index(b"Monday")), (b"\r\nbody", 0, 2), (b"A: b\r\n", 1, 6),
                                 (b"A: b", 1, 4), (b"", 0, 0), (b"A: b\r\n c\r\n\r\n", 1, 12)):
        fields, place = read_header(io.BytesIO(letter))
        assert (len(fields), place) == (count, start), letter


@pytest.mark.parametrize("text", ["", "a", "a=1; a=2", "a=1;;b=2", "1=a", "a=\x01"])
def test_lists_of_tags_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        tags_of(text)


def test_results_are_quoted_where_they_must_be() -> None:
    found = [Finding("spf", "fail", 'a";\r\nX: y', "smtp.mailfrom", "it's \u00e9"), Finding("dkim", "none")]
    assert results_field("mx.tokyo.example", found) == (
        b'Authentication-Results: mx.tokyo.example;\r\n\tspf=fail reason="it\'s ?" '
        b'smtp.mailfrom="a\\";??X: y";\r\n\tdkim=none\r\n')


@pytest.mark.parametrize("field, expected", [
    (b"Authentication-Results: mx.tokyo.example; spf=pass\r\n", "mx.tokyo.example"), (b"Subject: x\r\n", None),
    (b"authentication-results :\r\n (a (b)) MX.tokyo.example 1; none\r\n", "mx.tokyo.example"),
    (b'Authentication-Results: "mx.tokyo.example"; none\r\n', "mx.tokyo.example"),
    (b"Authentication-Results: (mx.tokyo.example) other.example; none\r\n", "other.example"),
    (b"Authentication-Results:\r\n", ""), (b"Authentication-Results: " + b"(" * 100_000 + b"\r\n", ""),
    (b"Authentication-Results: mx.tokyo.example.; dmarc=pass\r\n", "mx.tokyo.example"),
    (b"Authentication-Results: mx.tokyo.example\xff; dmarc=pass\r\n", ""),
    (b"Authentication-Results: =?utf-8?q?mx.tokyo.example?=; dmarc=pass\r\n", ""),
    (b"Authentication-Results: mx.tokyo.example, dmarc=pass\r\n", ""),
    (b"Authentication-Results\xa0: mx.tokyo.example; dmarc=pass\r\n", "mx.tokyo.example"),
    (b"Authentication-Results: " + b"(" * 40 + b")" * 40 + b"mx.tokyo.example\r\n", ""),
])
def test_whose_results_these_are(field: bytes, expected: str | None) -> None:
    assert authority_of(field) == expected


# --- DMARC -----------------------------------------------------------------------------------------------------------

SPF, DKIM = Finding("spf", "pass", "rio.example", "smtp.mailfrom"), Finding("dkim", "pass", "rio.example", "header.d")


def dmarc(author: str, record: list[str] | None, *findings: Finding, **zone: Any) -> tuple[str, str]:
    table = {"_dmarc.rio.example TXT": record} | {f"_dmarc.{name.replace('_', '.')} TXT": v for name, v in zone.items()}
    found, wants = check_dmarc(author, findings, Policies(Questions(NameTable(table))))
    return found.result, wants


@pytest.mark.parametrize("author, record, findings, expected", [
    ("rio.example", "v=DMARC1; p=reject", [SPF], ("pass", "reject")),
    ("rio.example", "v=DMARC1; p=reject", [], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=none", [DKIM], ("pass", "none")),
    ("rio.example", "v=DMARC1; p=reject", [SPF._replace(domain="shady.example")], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=reject", [SPF._replace(result="softfail")], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=quarantine", [SPF._replace(result="temperror")], ("temperror", "quarantine")),
    ("rio.example", "v=DMARC1; p=reject", [Finding("spf", "temperror", "shady.example")], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=reject", [SPF._replace(domain="news.rio.example")], ("pass", "reject")),
    ("rio.example", "v=DMARC1; p=reject; aspf=s", [SPF._replace(domain="news.rio.example")], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=reject; aspf=s", [DKIM._replace(domain="news.rio.example")], ("pass", "reject")),
    ("rio.example", "v=DMARC1; p=reject; adkim=s", [DKIM._replace(domain="news.rio.example")], ("fail", "reject")),
    ("news.rio.example", "v=DMARC1; p=reject", [SPF], ("pass", "reject")),
    ("news.rio.example", "v=DMARC1; p=reject; sp=none", [], ("fail", "none")),
    ("rio.example", "v=DMARC1; p=reject; sp=none", [], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=reject; pct=0", [], ("fail", "quarantine")),
    ("rio.example", "v=DMARC1; p=reject; t=y", [], ("fail", "quarantine")),
    ("rio.example", "v=DMARC1", [], ("none", "none")), ("rio.example", "p=reject; v=DMARC1", [], ("none", "none")),
    ("rio.example", "v=DMARC1; p=reject; p=none", [], ("none", "none")),
    ("rio.example", "v=DMARC2; p=reject", [], ("none", "none")),
    ("rio.example", "v=DMARC1; p=reject;;", [], ("fail", "reject")),         # RFC 7489 §6.3: v= and p= are enough
    ("rio.example", "v=DMARC1; p=reject; rua=mailto:j\u00f3@rio.example", [], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=reject; rua=mailto:a; rua=mailto:b; oops", [], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=reject; sp=none; sp=reject", [], ("fail", "reject")),
    ("news.rio.example", "v=DMARC1; p=reject; sp=none; sp=none", [], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=reject; v=DMARC1", [], ("none", "none")),
    ("rio.example", "v=DMARC1; p=reject; adkim=S", [DKIM._replace(domain="news.rio.example")], ("fail", "reject")),
    ("rio.example", "v=DMARC1; p=burn; rua=mailto:a@rio.example", [], ("fail", "none")),
    ("shady.example", "v=DMARC1; p=reject", [], ("none", "none")),
    ("rio.example", "v=DMARC1; p=reject", [Finding("spf", "pass", "", "smtp.helo")], ("fail", "reject")),
])
def test_dmarc(author: str, record: str, findings: list[Finding], expected: tuple[str, str]) -> None:
    assert dmarc(author, [record], *findings) == expected


def test_two_records_are_none() -> None:
    assert dmarc("rio.example", ["v=DMARC1; p=reject", "v=DMARC1; p=none"]) == ("none", "none")


def test_a_silent_dns_puts_off_what_nothing_vouches_for() -> None:
    assert dmarc("rio.example", None) == ("temperror", "reject")
    assert dmarc("rio.example", None, SPF) == ("temperror", "none")


def test_neighbors_under_a_public_suffix_are_strangers() -> None:
    neighbor = DKIM._replace(domain="shady.co.example")
    zone = {"co_example": ["v=DMARC1; psd=y"], "rio_co_example": ["v=DMARC1; p=reject"]}
    assert dmarc("rio.co.example", [], neighbor, **zone) == ("fail", "reject")
    assert dmarc("a.rio.co.example", [], neighbor._replace(domain="b.rio.co.example"), **zone) == ("pass", "reject")
    apart = {"rio_example": ["v=DMARC1; p=reject"], "own_rio_example": ["v=DMARC1; p=reject; psd=n"]}
    assert dmarc("own.rio.example", [], SPF, **apart) == ("fail", "reject")


def test_a_list_of_suffixes_may_be_used_instead() -> None:
    table = NameTable({"_dmarc.rio.co.example TXT": ["v=DMARC1; p=reject"]})
    policies = Policies(Questions(table), lambda domain: ".".join(domain.split(".")[-3:]))
    assert check_dmarc("rio.co.example", [DKIM._replace(domain="x.rio.co.example")], policies)[0].result == "pass"
    assert check_dmarc("rio.co.example", [DKIM._replace(domain="shady.co.example")], policies)[0].result == "fail"


def test_a_walk_asks_a_bounded_number_of_names() -> None:
    table = NameTable({})
    Policies(Questions(table)).organization(".".join("abcdefghijklmnopqrst") + ".example")
    assert len(table.asked) <= 8


# --- the server ------------------------------------------------------------------------------------------------------


class Kept(list[bytes]):
    """A delivery that keeps."""

    def __call__(self, envelope: Envelope, body: Any) -> None:
        self.append(body.read())


@pytest.fixture
def kept() -> Iterator[Kept]:
    yield Kept()


def deliver(kept: Kept, letter: bytes, peer: str = RIO, sender: str = ANA, user: str = "", **zone: Any) -> Any:
    table = NameTable(ZONE | {key.replace("__", " ").replace("_", "."): value for key, value in zone.items()})
    envelope = replace(Envelope(sender, [KENJI], "mail.example", peer), user=user)
    return Trust("mx.tokyo.example", table).deliver(kept)(envelope, io.BytesIO(letter))


@pytest.mark.parametrize("letter, peer, sender", [
    (LETTER, SHADY, EVE), (LETTER, SHADY, ANA), (LETTER, SHADY, ""), (LETTER, OSLO, ANA),
    (signed(domain="shady.example"), SHADY, EVE), (signed().replace(b"8 pm", b"9 pm"), OSLO, ANA),
])
def test_a_forgery_is_refused(kept: Kept, letter: bytes, peer: str, sender: str) -> None:
    reply = deliver(kept, letter, peer, sender)
    assert (reply.code, reply.enhanced) == (550, "5.7.26") and not kept


@pytest.mark.parametrize("letter, peer, sender", [(LETTER, RIO, ANA), (signed(), OSLO, ANA), (signed(), OSLO, ""),
                                                  (signed(), SHADY, EVE), (signed(), RIO, ANA)])
def test_what_is_vouched_for_comes_in(kept: Kept, letter: bytes, peer: str, sender: str) -> None:
    assert deliver(kept, letter, peer, sender) is None
    assert kept[0].endswith(letter) and b"dmarc=pass header.from=rio.example\r\n" in kept[0]


def test_two_authors_both_have_a_say(kept: Kept) -> None:
    both = LETTER.replace(b"Ana <ana@rio.example>", b"eve@shady.example, ana@rio.example")
    assert deliver(kept, both, SHADY, EVE).code == 550
    twice = b"From: eve@shady.example\r\n" + LETTER
    assert deliver(kept, twice, RIO, ANA).code == 554 and deliver(kept, LETTER + twice) is None


def test_a_silent_dns_puts_a_letter_off(kept: Kept) -> None:
    for zone in ({"rio.example__TXT": None}, {"_dmarc.rio.example__TXT": None}):
        table = NameTable(ZONE | {key.replace("__", " "): value for key, value in zone.items()})
        checked = Trust("mx.tokyo.example", table).checked(Envelope(ANA, [KENJI], "", SHADY), io.BytesIO(LETTER))
        assert isinstance(checked, Reply) and (checked.code, checked.enhanced) == (451, "4.4.3")
    table = NameTable(ZONE | {"rio.example TXT": None})    # a signature is enough
    assert not isinstance(Trust("mx", table).checked(Envelope(ANA, [KENJI], "", OSLO), io.BytesIO(signed())), Reply)


def test_results_in_our_name_are_removed_and_those_of_others_stay(kept: Kept) -> None:
    lies = (b"authentication-results: (well) MX.tokyo.example 1; dmarc=pass\r\nAuthentication-Results:\r\n"
            b'Authentication-Results:\r\n "mx.tokyo.example"; spf=pass\r\n')
    other = b"Authentication-Results: mx.oslo.example; spf=pass smtp.mailfrom=rio.example\r\n"
    deliver(kept, lies + other + signed(), OSLO)
    assert kept[0].lower().count(b"mx.tokyo.example") == 1
    assert kept[0].startswith(b"Authentication-Results: mx.tokyo.example;")
    assert other in kept[0] and b"dkim=pass" in kept[0]


def test_a_domain_without_a_policy_is_let_in_and_written_down(kept: Kept) -> None:
    letter = LETTER.replace(b"rio.example", b"oslo.example")
    assert deliver(kept, letter, SHADY, EVE) is None
    assert b"spf=pass smtp.mailfrom=shady.example;\r\n\tdmarc=none header.from=oslo.example\r\n" in kept[0]


def test_quarantine_is_for_whoever_reads_the_field(kept: Kept) -> None:
    table = NameTable(ZONE | {"_dmarc.rio.example TXT": ["v=DMARC1; p=quarantine"]})
    Trust("mx", table).deliver(kept)(Envelope(EVE, [KENJI], "", SHADY), io.BytesIO(LETTER))
    assert b'dmarc=fail reason="the domain asks for quarantine" header.from=rio.example' in kept[0]


def test_whoever_has_logged_in_is_no_stranger(kept: Kept) -> None:
    assert deliver(kept, LETTER, SHADY, ANA, user=ANA) is None
    assert kept[0].startswith(b"Authentication-Results: mx.tokyo.example;\r\n\tauth=pass smtp.auth=ana@rio.example\r\n")


def test_a_letter_with_many_signatures_costs_few_questions(kept: Kept) -> None:
    table = NameTable(ZONE)
    field = b"DKIM-Signature: v=1; a=rsa-sha256; d=x%d.example; s=k; h=from; bh=; b=\r\n"
    letter = b"".join(field % number for number in range(90))
    Trust("mx", table).deliver(kept)(Envelope(ANA, [KENJI], "", RIO), io.BytesIO(letter + LETTER))
    assert kept[0].count(b"dkim=permerror") == MOST_SIGNATURES and len(table.asked) < 20


def test_a_signer_signs_its_own_domain_only(kept: Kept) -> None:
    rio = Signer("rio.example", "k", sign).deliver(kept)
    for letter in (LETTER.replace(b"ana@rio", b"ana@notrio"), b"No: From\r\n\r\n", b"x",
                   b"From: a@rio.example\r\n" + LETTER):
        rio(Envelope(ANA, [KENJI]), io.BytesIO(letter))
        assert kept.pop() == letter
    rio(Envelope(ANA, [KENJI]), io.BytesIO(LETTER.replace(b"ana@rio", b"ana@news.rio")))
    assert result(kept[0]) == "pass"


def test_as_many_letters_at_once_as_the_delivery_takes() -> None:
    """A check waits for the DNS: in a loop, other letters do not wait for it."""
    class Many(Kept):
        at_once = 16

    trust = Trust("mx", NameTable(ZONE))
    assert getattr(trust.deliver(Many()), "at_once") == 16     # noqa: B009
    assert not hasattr(trust.deliver(Kept()), "at_once")


def test_names_that_no_alphabet_has(kept: Kept) -> None:
    """Octets that are no UTF-8 come as surrogates; no check may break on them."""
    table = NameTable(ZONE | {"rio.example TXT": ["v=spf1 exists:%{L}.%{S}.x.example a:%{o}.x.example -all"]})
    for sender in ("\udce9@rio.example", "ana@\udce9.example", "ana@" + "\u00e9" * 80 + ".example"):
        checked = Trust("mx", table).checked(Envelope(sender, [KENJI], "\udce9", SHADY), io.BytesIO(LETTER))
        assert isinstance(checked, Reply) and checked.code == 550


def test_a_key_that_fails_loses_no_letter(kept: Kept) -> None:
    def broken(octets: bytes) -> bytes:
        raise OSError("the key is on a disk that is gone")

    with pytest.raises(OSError):                           # a server says 451 to that
        Signer("rio.example", "k", broken).deliver(kept)(Envelope(ANA, [KENJI]), io.BytesIO(LETTER))
    with Server(deliver=Signer("rio.example", "k", broken).deliver(kept)) as server, Client(*server.address) as client:
        with pytest.raises(SMTPDataError) as refused:
            client.sendmail(ANA, KENJI, LETTER)
    assert refused.value.smtp_code == 451 and not kept


def test_over_a_real_line(kept: Kept) -> None:
    """All callers have one address here; the domain allows it."""
    zone = ZONE | {"shady.example TXT": ["v=spf1 ip4:127.0.0.1 -all"], "rio.example TXT": ["v=spf1 -all"]}
    tokyo = Trust("mx.tokyo.example", NameTable(zone)).deliver(kept)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ANA, KENJI, "Choir"
    message.set_content("Monday.\n" * 20_000)
    with Server(deliver=tokyo) as server, Client(*server.address) as client:
        with pytest.raises(SMTPDataError) as refused:
            client.send_message(message, from_addr=EVE)
        assert refused.value.smtp_code == 550 and b"5.7.26" in str(refused.value).encode()
        with Server(deliver=Signer("rio.example", "k", sign).deliver(
                lambda envelope, body: client.sendmail(envelope.sender, KENJI, body.read()) and None)) as rio:
            with Client(*rio.address) as ana:
                ana.send_message(message)
    assert len(kept) == 1 and b"dkim=pass header.d=rio.example" in kept[0] and b"spf=fail" in kept[0]


def test_relaxed_field_is_the_rfcs() -> None:
    """The example of RFC 6376 §3.4.5."""
    assert relaxed_field(b"A: X\r\n") == b"a:X\r\n" and relaxed_field(b"B : Y\t\r\n\tZ  \r\n") == b"b:Y Z\r\n"


# --- the real DNS ----------------------------------------------------------------------------------------------------


def test_the_resolver_answers_by_text() -> None:
    pytest.importorskip("dns", reason="the real DNS needs dnspython: pip install 'smtp-from-scratch[trust]'")
    import dns.resolver
    import dns.rrset

    class Answers:
        def resolve(self, name: str, kind: str, **_: Any) -> Any:
            if name == "gone.example.":
                raise dns.resolver.NXDOMAIN
            texts = {"TXT": ['"v=spf1 " "-all"'], "A": [RIO], "MX": ["10 mx.rio.example."], "PTR": ["web.rio.example."]}
            return dns.rrset.from_text_list(name, 60, "IN", kind, texts[kind])

    found: Any = DnsResolver(resolver=Answers())           # type: ignore[arg-type]
    assert [found.records("rio.example", kind) for kind in ("TXT", "A", "MX", "PTR")] == [
        ["v=spf1 -all"], [RIO], ["mx.rio.example."], ["web.rio.example."]]
    assert found.records("gone.example", "TXT") == []

"""Software that others wrote agrees: dkimpy verifies what we sign, we verify what it signs, pyspf says what we say."""
from __future__ import annotations

import io
import time
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smtp_from_scratch import Envelope
from smtp_from_scratch.canonical import body_hash
from smtp_from_scratch.fields import name_of, read_header
from smtp_from_scratch.keys import signing_key
from smtp_from_scratch.questions import Questions
from smtp_from_scratch.resolver import NameTable
from smtp_from_scratch.trust import Signer, check_signature, check_spf

HINT = "is not installed: `python tools/setup_venv.py test` brings it"
OFTEN = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

# --- DKIM ------------------------------------------------------------------------------------------------------------


class Keys:
    """A key of each kind, as files, and what their owner publishes."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        self.ed25519 = ed25519.Ed25519PrivateKey.generate()
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.pem = rsa.generate_private_key(65537, 1024).private_bytes(*form)
        self.ours = {"rsa": signing_key(self.pem), "ed25519": signing_key(self.ed25519.private_bytes(*form))}
        self.zone = NameTable({f"{kind}._domainkey.rio.example TXT": [record]
                               for kind, (_, _, record) in self.ours.items()})

    def ask(self, name: bytes, timeout: int = 5) -> bytes:
        """The DNS, as dkimpy asks it."""
        return "".join(self.zone.records(name.decode().rstrip("."), "TXT")).encode()


@pytest.fixture(scope="module")
def dkim() -> Any:
    return pytest.importorskip("dkim", reason=f"dkimpy {HINT}")


@pytest.fixture(scope="module")
def keys() -> Keys:
    pytest.importorskip("cryptography", reason=f"cryptography {HINT}")
    return Keys()


VALUES = st.lists(st.sampled_from([b" ", b"\t", b"x", b"Y", b"\r\n ", b"\r\n\tz", b":", b";", b"\xe9"])).map(b"".join)
FIELDS = st.builds(lambda name, value: b"%b:%b\r\n" % (name, value), st.sampled_from(
    [b"Subject", b"SUBJECT", b"To", b"X-a", b"Date", b"Received", b"reply-to"]), VALUES)
HEADERS = st.lists(FIELDS, max_size=8).map(lambda fields: b"".join([b"From: ana@rio.example\r\n", *fields]))
BODIES = st.lists(st.sampled_from([b"\r\n", b"a", b" ", b"\t", b" \r\n", b"text", b".", b"\xe6"]), max_size=20)
LETTERS = st.builds(lambda header, body, end: header + b"\r\n" + b"".join(body) + end, HEADERS, BODIES,
                    st.sampled_from([b"\r\n", b"x\r\n", b"\r\n\r\n"]))
WAYS = st.sampled_from([b"simple", b"relaxed"])


def verdict(letter: bytes, keys: Keys) -> str:
    """What we say of a letter's first signature."""
    fields, start = read_header(body := io.BytesIO(letter))
    field = next(field for field in fields if name_of(field) == "dkim-signature")
    return check_signature(field, fields, lambda how: body_hash(body, start, how), Questions(keys.zone),
                           time.time()).result


@OFTEN
@given(letter=LETTERS, kind=st.sampled_from(["rsa", "ed25519"]))
@example(letter=b"From: ana@rio.example\r\n\r\n", kind="rsa")
def test_dkimpy_verifies_what_we_sign(dkim: Any, keys: Keys, letter: bytes, kind: str) -> None:
    pytest.importorskip("nacl", reason=f"pynacl {HINT}")
    algorithm, sign, _ = keys.ours[kind]
    fields, start = read_header(body := io.BytesIO(letter))
    signed = Signer("rio.example", kind, sign, algorithm).field(fields, body, start) + letter
    assert dkim.verify(signed, dnsfunc=keys.ask) and verdict(signed, keys) == "pass"


@OFTEN
@given(letter=LETTERS, header=WAYS, body=WAYS, kind=st.sampled_from(["rsa", "ed25519"]),
       names=st.sampled_from([None, [b"from"], [b"from", b"subject", b"subject", b"x-a"]]))
def test_we_verify_what_dkimpy_signs(dkim: Any, keys: Keys, letter: bytes, header: bytes, body: bytes, kind: str,
                                     names: Any) -> None:
    pytest.importorskip("nacl", reason=f"pynacl {HINT}")
    from base64 import b64encode

    key = keys.pem if kind == "rsa" else b64encode(keys.ed25519.private_bytes_raw())
    field = dkim.sign(letter, kind.encode(), b"rio.example", key, canonicalize=(header, body), include_headers=names,
                      signature_algorithm=f"{kind}-sha256".encode())
    assert verdict(field + letter, keys) == "pass"


@OFTEN
@given(letter=LETTERS, other=LETTERS, header=WAYS, body=WAYS)
def test_both_say_the_same_of_another_letter(dkim: Any, keys: Keys, letter: bytes, other: bytes, header: bytes,
                                             body: bytes) -> None:
    """A signature of one letter above another: mostly wrong, and right where the canonical forms are the same."""
    field = dkim.sign(letter, b"rsa", b"rio.example", keys.pem, canonicalize=(header, body), include_headers=[b"from"])
    assert (verdict(field + other, keys) == "pass") == dkim.verify(field + other, dnsfunc=keys.ask)


# --- SPF -------------------------------------------------------------------------------------------------------------

NAMES = ["rio.example", "a.example", "b.example", "c.example", "gone.example"]
TERMS = st.one_of(
    st.sampled_from(["all", "a", "mx", "a:a.example", "mx:b.example", "include:a.example", "include:b.example", "ptr",
                     "include:gone.example", "ip4:192.0.2.0/28", "ip4:192.0.2.7", "ip6:2001:db8::/64", "a/29", "a//64",
                     "exists:%{l}.c.example", "exists:%{ir}.a.example", "redirect=c.example", "x=y", "bogus",
                     "a:c.example/24//96", "mx/28", "a:gone.example", "exp=why.example", "a:b", "ip4:1.2.3"]))
RECORDS = st.lists(st.tuples(st.sampled_from(["", "", "", "-", "~", "?", "+"]), TERMS), max_size=6).map(
    lambda terms: " ".join(["v=spf1", *(term if "=" in term else sign + term for sign, term in terms)]))
PEERS = ["192.0.2.1", "192.0.2.7", "192.0.2.20", "198.51.100.1", "2001:db8::1"]


@st.composite
def zones(draw: Any) -> dict[str, list[str] | None]:
    """A few domains; some have records, about some nobody answers.

    pyspf counts as mistakes what is none: an unknown modifier that is there twice (RFC 7208 §6), and a domain that
    includes itself after a term that hits. It asks for the addresses of all servers, we for one after the other.
    """
    found: dict[str, list[str] | None] = {}
    for name in NAMES[:-1]:
        record = RECORDS.filter(
            lambda text, name=name: f"include:{name}" not in text and text.count("x=y") < 2).map(lambda text: [text])
        found[f"{name} TXT"] = draw(st.one_of(st.none(), *[record] * 8,
                                              st.just(["v=spf1 -all", "v=spf1 ?all"]), st.just(["other"])))
        found[f"{name} A"] = draw(st.lists(st.sampled_from(PEERS[:4]), max_size=2, unique=True))
        found[f"{name} AAAA"] = draw(st.sampled_from([[], ["2001:db8::1"]]))
        found[f"{name} MX"] = draw(st.lists(st.sampled_from(NAMES), max_size=1))
    return found


@OFTEN
@given(zone=zones(), peer=st.sampled_from(PEERS), sender=st.sampled_from(["ana@rio.example", "a@a.example", ""]))
def test_pyspf_says_what_we_say(zone: dict[str, list[str] | None], peer: str, sender: str) -> None:
    spf = pytest.importorskip("spf", reason=f"pyspf {HINT}")
    import ipaddress

    def look_up(name: str, kind: str, tcpfallback: bool = True, timeout: float = 20) -> list[Any]:
        found = zone.get(f"{name.lower().rstrip('.')} {kind}", [])
        if found is None:
            raise spf.TempError("nobody answers")
        forms: dict[str, Any] = {"TXT": lambda text: (text.encode(),), "MX": lambda host: (10, host),
                                 "AAAA": lambda text: ipaddress.ip_address(text).packed}
        return [((name, kind), forms.get(kind, str)(value)) for value in found]

    with patch.object(spf, "DNSLookup", look_up):
        theirs = spf.query(i=peer, s=sender, h="b.example", strict=True).check()[0]
    ours = check_spf(Envelope(sender, [], "b.example", peer), NameTable(zone))
    assert ours.result == theirs, (ours, theirs)

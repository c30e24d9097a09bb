"""The real DNS: asked over UDP, of a small server on loopback."""
from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from smtp_from_scratch.relay import exchanges
from smtp_from_scratch.resolver import DnsResolver, NoRoute, NoSuchDomain, ascii_name, literal

dns_resolver = pytest.importorskip("dns.resolver", reason="dnspython is not installed: pip install '.[relay]'")
import dns.flags  # noqa: E402
import dns.message  # noqa: E402
import dns.rcode  # noqa: E402
import dns.rrset  # noqa: E402

RECORDS = {
    ("tokyo.example.", "MX"): ["20 backup.tokyo.example.", "10 MX.tokyo.example."],
    ("list.example.", "MX"): ["0 ."],
    ("xn--r8jz45g.example.", "MX"): ["10 mx.tokyo.example."],
    ("mx.tokyo.example.", "A"): ["192.0.2.1", "127.0.0.1"], ("mx.tokyo.example.", "AAAA"): ["2001:db8::1", "::1"],
    ("oslo.example.", "A"): ["192.0.2.7"], ("oslo.example.", "AAAA"): ["SERVFAIL"],
    ("kyoto.example.", "MX"): ["SERVFAIL"], ("kyoto.example.", "A"): ["SERVFAIL"],
    ("kyoto.example.", "AAAA"): ["SERVFAIL"],
}
NAMES = {name for name, _ in RECORDS}


def answer(octets: bytes) -> bytes:
    """What the server says to a question."""
    asked = dns.message.from_wire(octets)
    said = dns.message.make_response(asked)
    said.flags |= dns.flags.RA
    [question] = asked.question
    name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
    found = RECORDS.get((name, kind), [])
    if found == ["SERVFAIL"]:
        said.set_rcode(dns.rcode.SERVFAIL)
    elif name not in NAMES:
        said.set_rcode(dns.rcode.NXDOMAIN)
    elif found:
        said.answer.append(dns.rrset.from_text(question.name, 300, "IN", kind, *found))
    return said.to_wire()


@pytest.fixture
def asked() -> Iterator[Any]:
    """A `dns.resolver.Resolver` that asks our server alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                octets, caller = server.recvfrom(4096)
                if not octets:
                    return
                server.sendto(answer(octets), caller)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        resolver = dns_resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
        yield resolver
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", server.getsockname())
        thread.join()


def test_mx_records(asked: Any) -> None:
    dns = DnsResolver(resolver=asked)
    assert exchanges("Tokyo.example", dns) == [(10, "mx.tokyo.example"), (20, "backup.tokyo.example")]
    assert exchanges("例え.example", dns) == [(10, "mx.tokyo.example")]
    assert exchanges("oslo.example", dns) == [(0, "oslo.example")]


@pytest.mark.parametrize("domain, code", [("list.example", 556), ("nowhere.example", 550), ("kyoto.example", 451),
                                          ("a" * 64 + ".example", 550), ("☃☃-.example", 550)])
def test_no_route(asked: Any, domain: str, code: int) -> None:
    with pytest.raises(NoRoute) as caught:
        exchanges(domain, DnsResolver(resolver=asked))
    assert caught.value.reply.code == code


def test_addresses(asked: Any) -> None:
    dns = DnsResolver(resolver=asked)
    assert dns.addresses("mx.tokyo.example") == [("192.0.2.1", 25), ("2001:db8::1", 25)], "never ourselves"
    assert len(DnsResolver(2525, resolver=asked, local=True).addresses("mx.tokyo.example")) == 4
    assert dns.addresses("oslo.example") == [("192.0.2.7", 25)], "half an answer is better than none"
    assert dns.addresses("tokyo.example") == []
    with pytest.raises(NoSuchDomain):
        dns.addresses("nowhere.example")
    with pytest.raises(dns_resolver.NoNameservers):
        dns.addresses("kyoto.example")


def test_an_address_in_brackets(asked: Any) -> None:
    dns = DnsResolver(resolver=asked)
    assert dns.addresses("[192.0.2.1]") == [("192.0.2.1", 25)]
    assert dns.addresses("[IPv6:2001:db8::1]") == [("2001:db8::1", 25)]
    assert dns.addresses("[127.0.0.1]") == dns.addresses("[IPv6:::ffff:127.0.0.1]") == []
    assert literal("[ipv6:::1]") == "::1"
    with pytest.raises(NoSuchDomain):
        literal("[tokyo]")


def test_names_as_the_dns_has_them() -> None:
    assert ascii_name("例え.example.") == "xn--r8jz45g.example" and ascii_name("Tokyo.example") == "Tokyo.example"

"""Who knows what the DNS says: what a relay asks, and a receiver that checks; the real one needs the extra `relay`."""
from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .wire import Reply

if TYPE_CHECKING:
    import dns.resolver

__all__ = ["Address", "DnsResolver", "NameTable", "NoRoute", "NoSuchDomain", "Record", "Records", "Resolver",
           "ascii_name", "literal"]

Record = tuple[int, str]                        # an MX record: preference, host
Address = tuple[str, int]                       # where a host listens: IP address, port
SECONDS = 15.0                                  # that a question may take, with all its servers


class NoSuchDomain(Exception):
    """The DNS knows no domain of this name."""


class NoRoute(Exception):
    """No host can be named; `reply` says why, and whether to ask again."""

    def __init__(self, code: int, text: str, enhanced: str) -> None:
        super().__init__(code, text, enhanced)
        self.reply = Reply(code, text, enhanced)


class Resolver(Protocol):
    """Whoever answers questions about names. Any exception but NoSuchDomain means: no answer now."""

    def mx(self, domain: str) -> Iterable[Record]:
        """A domain's MX records, in any order; nothing, if it has none."""

    def addresses(self, host: str) -> Iterable[Address]:
        """Where a host listens, or an address in brackets; the best first."""


class Records(Protocol):
    """Whoever knows what the DNS says about a name. Any exception means: no answer now."""

    def records(self, name: str, kind: str) -> Iterable[str]:
        """The records of a kind, "TXT", "A", "AAAA", "MX" or "PTR", each as text, of MX the host; nothing, if there is
        none, or no such name."""


class NameTable:
    """A small DNS in memory: `{"rio.example TXT": ["v=spf1 -all"]}`. None in place of a list: nobody answers."""

    def __init__(self, table: Mapping[str, Iterable[str] | None]) -> None:
        self.table = {key.lower(): found for key, found in table.items()}
        self.asked: list[str] = []                  # the questions so far

    def records(self, name: str, kind: str) -> Iterable[str]:
        """What the table has."""
        self.asked.append(f"{name} {kind}")
        found = self.table.get(f"{name} {kind}".lower(), ())
        if found is None:
            raise TimeoutError(f"nobody answers for {name}")
        return found


class DnsResolver:
    """MX and address records from the servers that this machine asks, or from those of a dnspython `resolver`.

    `port`: where hosts listen. An address that no other host can have, such as 127.0.0.1, is left out unless `local`:
    a stranger's MX record should not make this host call itself.
    """

    def __init__(self, port: int = 25, *, resolver: dns.resolver.Resolver | None = None, local: bool = False) -> None:
        import dns.resolver

        self.port, self.local, self.resolver = port, local, resolver or dns.resolver.Resolver()

    def mx(self, domain: str) -> list[Record]:
        """The MX records of a domain; nothing, if it has none. NoSuchDomain; dnspython's errors for no answer now."""
        return [(record.preference, record.exchange.to_text()) for record in self.ask(domain, "MX")]

    def addresses(self, host: str) -> list[Address]:
        """Where a host listens, IPv4 first; or an address in brackets."""
        found = [literal(host)] if host.startswith("[") else self.both(host)
        return [(address, self.port) for address in found if self.local or elsewhere(address)]

    def records(self, name: str, kind: str) -> list[str]:
        """The records of a kind, as text; dnspython's errors for no answer now."""
        try:
            return [text_of(record, kind) for record in self.ask(name, kind)]
        except NoSuchDomain:
            return []

    def both(self, host: str) -> list[str]:
        """A and AAAA records; an error only if neither kind was answered with anything."""
        found, errors = list[str](), list[Exception]()
        for kind in ("A", "AAAA"):
            try:
                found += [record.address for record in self.ask(host, kind)]
            except NoSuchDomain:
                raise
            except Exception as error:
                errors.append(error)
        if errors and not found:
            raise errors[0]
        return found

    def ask(self, name: str, kind: str) -> Any:
        """The records of a kind."""
        import dns.exception
        import dns.resolver

        try:
            return self.resolver.resolve(ascii_name(name) + ".", kind, raise_on_no_answer=False, lifetime=SECONDS)
        except (dns.resolver.NXDOMAIN, dns.exception.SyntaxError, dns.exception.FormError):    # a label too long, say
            raise NoSuchDomain(name) from None


def text_of(record: Any, kind: str) -> str:
    """What a record says; the strings of a TXT record are one text (RFC 7208 §3.3, RFC 6376 §3.6.2.2)."""
    match kind:
        case "TXT": return b"".join(record.strings).decode("utf-8", "replace")
        case "MX": return str(record.exchange.to_text())
        case "PTR": return str(record.target.to_text())
    return str(record.address)


def ascii_name(name: str) -> str:
    """A domain as the DNS has it, in A-labels; NoSuchDomain for one that cannot be there (RFC 5890)."""
    name = name.rstrip(".")
    if name.isascii():
        return name
    import idna

    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        raise NoSuchDomain(name) from None


def literal(host: str) -> str:
    """The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]`; NoSuchDomain for anything else (RFC 5321 §4.1.3)."""
    text = host[1:-1]
    try:
        return str(ipaddress.ip_address(text[5:] if text[:5].lower() == "ipv6:" else text))
    except ValueError:
        raise NoSuchDomain(host) from None


def elsewhere(address: str) -> bool:
    """Whether another machine may have this address."""
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return not (found.is_loopback or found.is_unspecified or found.is_multicast or found.is_link_local)

"""The terms of an SPF record, its macros, and who calls (RFC 7208 §4.6, §5, §7)."""
from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import quote

from .fields import plain_domain
from .questions import NAMES, BadRecord, NoAnswer, Questions, answer, is_domain

__all__ = ["Caller", "Term", "expand", "parse_record", "validated"]

LONG = 512                                     # characters of a term


class Term(NamedTuple):
    """A mechanism: what its hit means, its name, a domain or a network, and how many bits of an address count."""

    qualifier: str
    name: str
    value: str = ""
    bits4: int = 32
    bits6: int = 128


# --- who calls --------------------------------------------------------------------------------------------------------


class Caller:
    """Who is on the line: an address, the reverse-path, and how the client introduced itself."""

    def __init__(self, peer: str, sender: str, hello: str) -> None:
        found = ipaddress.ip_address(peer.partition("%")[0])
        self.address = getattr(found, "ipv4_mapped", None) or found
        sender = sender or f"postmaster@{hello}"           # RFC 7208 §2.4
        local, at, domain = sender.rpartition("@")
        self.local, self.domain, self.hello = local or "postmaster", plain_domain(domain), hello
        self.sender = f"{self.local}@{self.domain}"

    @property
    def kind(self) -> str:
        """The records that could have this address."""
        return "A" if self.address.version == 4 else "AAAA"

    def is_in(self, addresses: Iterable[str], term: Term) -> bool:
        """Whether the first bits of the caller's address are those of one of these."""
        bits = term.bits4 if self.address.version == 4 else term.bits6
        shift = self.address.max_prefixlen - bits
        return any(int(found) >> shift == int(self.address) >> shift for found in map(ipaddress.ip_address, addresses)
                   if found.version == self.address.version)

    @property
    def dotted(self) -> str:
        """The address as macros have it: an IPv6 one digit by digit."""
        return (str(self.address) if self.address.version == 4
                else ".".join(self.address.exploded.replace(":", "")))


def validated(caller: Caller, ask: Questions) -> list[str]:
    """The names of the caller's address that have this address in turn, asked for once (RFC 7208 §5.5)."""
    if ask.names is None:
        ask.names = []                         # also if what follows raises BadRecord
        ask.names += names_of(caller, ask)
    return ask.names


def names_of(caller: Caller, ask: Questions) -> Iterator[str]:
    """The same, asked for now, as long as there is time."""
    try:
        names = ask.ask(caller.address.reverse_pointer, "PTR")[:NAMES]
    except NoAnswer:
        return
    for name in names:
        name = name.rstrip(".")
        if time.monotonic() > ask.end:
            return
        try:
            if is_domain(name) and caller.is_in(answer(ask.resolver, name, caller.kind), Term("", "ptr")):
                yield name
        except NoAnswer:
            continue


# --- terms ------------------------------------------------------------------------------------------------------------

_MACRO = r"%(?:\{[slodipvhcrtSLODIPVHCRT][0-9]*[rR]?[.+,/_=-]*\}|[%_-])"
_STRING = rf"(?:[!-$&-~]|{_MACRO})*"
_SPEC = rf"{_STRING}(?:\.(?:[A-Za-z0-9-]*[A-Za-z-][A-Za-z0-9-]*)\.?|%\{{[^{{}}]*\}})"
_TERM = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9._-]*)(?:(:)(.*?))?(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?")
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)")
_SPECIFIC = {"all": "", "include": ":", "a": ":/", "mx": ":/", "ptr": ":", "ip4": ":/", "ip6": ":/", "exists": ":"}
_OPTIONAL = frozenset({"a", "mx", "ptr"})      # whose domain is the one in hand, if none is written


def parse_record(record: str) -> tuple[list[Term], str]:
    """The mechanisms of a record, in order, and where `redirect` points; BadRecord for a mistake anywhere in it."""
    terms, modifiers = list[Term](), dict[str, str]()
    for word in filter(None, record.split(" ")[1:]):
        if len(word) > LONG:
            raise BadRecord(f"a term with more than {LONG} characters")
        modifier = _MODIFIER.fullmatch(word)
        if not modifier:
            terms.append(parse_mechanism(word))
            continue
        name, value = modifier[1].lower(), modifier[2]
        if name in ("redirect", "exp"):
            if name in modifiers:
                raise BadRecord(f"{name} is there twice")
            check_spec(value)
        elif not re.fullmatch(_STRING, value):
            raise BadRecord(f"no value of a modifier: {word}")
        modifiers[name] = value
    return terms, modifiers.get("redirect", "")


def parse_mechanism(word: str) -> Term:
    """One mechanism; BadRecord."""
    if word[:4].lower().lstrip("+-?~").startswith("ip"):
        return parse_network(word)
    found = _TERM.fullmatch(word)
    name = found[2].lower() if found else ""
    if not found or name not in _SPECIFIC:
        raise BadRecord(f"no term of SPF: {word}")
    value, bits4, bits6 = found[4] or "", found[5], found[6]
    allowed = _SPECIFIC[name]
    if (found[3] and ":" not in allowed) or ((bits4 or bits6) and "/" not in allowed):
        raise BadRecord(f"{name} takes no such value: {word}")
    if found[3] or (":" in allowed and name not in _OPTIONAL):
        check_spec(value)
    return Term(found[1] or "+", name, value, bits_of(bits4, 32), bits_of(bits6, 128))


def parse_network(word: str) -> Term:
    """`ip4:` or `ip6:`; BadRecord."""
    found = re.fullmatch(r"([-+?~]?)ip([46]):([0-9A-Fa-f:.]+)(?:/(0|[1-9][0-9]{0,2}))?", word, re.IGNORECASE)
    try:
        version = int(found[2]) if found else 0
        address = ipaddress.ip_address(found[3] if found else "")
    except ValueError:
        raise BadRecord(f"no network: {word}") from None
    if not found or address.version != version:
        raise BadRecord(f"no network: {word}")
    bits = bits_of(found[4], address.max_prefixlen)
    return Term(found[1] or "+", f"ip{version}", str(address), *((bits, 128) if version == 4 else (32, bits)))


def bits_of(text: str | None, most: int) -> int:
    """How many bits count; BadRecord for more than there are."""
    bits = most if text is None else int(text)
    if bits > most:
        raise BadRecord(f"an address has {most} bits, not {bits}")
    return bits


def check_spec(spec: str) -> None:
    """BadRecord for what is no domain, macros included (RFC 7208 §7.1)."""
    if not re.fullmatch(_SPEC, spec) or re.search(r"\.-[^.]*\.?$|-\.?$", re.sub(r"%\{[^}]*\}", "x", spec)):
        raise BadRecord(f"no domain: {spec}")
    for letter, digits in re.findall(r"%\{([A-Za-z])([0-9]*)", spec):
        if letter in "crtCRT" or (digits and not int(digits)):
            raise BadRecord(f"no macro here: {letter}{digits}")


# --- macros -----------------------------------------------------------------------------------------------------------


def expand(spec: str, domain: str, caller: Caller, ask: Questions) -> str:
    """A domain with its macros replaced, without what is too long at its beginning (RFC 7208 §7.3)."""
    def replaced(macro: re.Match[str]) -> str:
        if not macro[1]:
            return {"%%": "%", "%_": " ", "%-": "%20"}[macro[0]]
        parts = re.split(f"[{re.escape(macro[4] or '.')}]", value_of(macro[1].lower(), domain, caller, ask))
        if macro[3]:
            parts.reverse()
        text = ".".join(parts[-int(macro[2]):] if macro[2] else parts)
        return quote(text, safe="-._~", errors="replace") if macro[1].isupper() else text

    name = re.sub(r"%(?:\{([A-Za-z])([0-9]*)([rR]?)([.+,/_=-]*)\}|[%_-])", replaced, spec) or domain
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]
    return name


def value_of(letter: str, domain: str, caller: Caller, ask: Questions) -> str:
    """What a macro stands for (RFC 7208 §7.2)."""
    match letter:
        case "s": return caller.sender
        case "l": return caller.local
        case "o": return caller.domain
        case "d": return domain
        case "i": return caller.dotted
        case "v": return "in-addr" if caller.address.version == 4 else "ip6"
        case "h": return caller.hello
    names = validated(caller, ask)                         # p
    ours = sorted((name for name in names if f".{name}".lower().endswith(f".{domain}".lower())), key=len)
    return next(iter(ours or names), "unknown")

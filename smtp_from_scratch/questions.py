"""What a check may ask the DNS, and what may come of it (RFC 7208 §4.6.4)."""
from __future__ import annotations

import time

from .resolver import Records

__all__ = ["NAMES", "BadRecord", "NoAnswer", "Questions", "answer", "is_domain"]

TERMS, VOID, NAMES, SECONDS = 10, 2, 10, 20.0  # that ask; answers without anything; MX or PTR names; in all


class BadRecord(ValueError):
    """What a domain says about itself cannot be right."""

    result = "permerror"


class NoAnswer(Exception):
    """The DNS gives no answer now."""

    result = "temperror"


class Questions:
    """What one check may ask: ten terms of a record, two answers without anything, twenty seconds (RFC 7208 §4.6.4)."""

    def __init__(self, resolver: Records) -> None:
        self.resolver, self.terms, self.void, self.end = resolver, TERMS, VOID, time.monotonic() + SECONDS
        self.names: list[str] | None = None    # of the caller's address, once somebody has asked

    def spend(self) -> None:
        """One more term that asks; BadRecord for the eleventh."""
        self.terms -= 1
        if self.terms < 0:
            raise BadRecord(f"more than {TERMS} terms ask the DNS")

    def texts(self, name: str) -> list[str]:
        """The TXT records of a name, none if it is no name; NoAnswer."""
        if not is_domain(name):
            return []
        if time.monotonic() > self.end:
            raise NoAnswer(f"no result after {SECONDS:.0f} seconds")
        return answer(self.resolver, name, "TXT")

    def ask(self, name: str, kind: str) -> list[str]:
        """The records of a name; BadRecord after too many answers without anything, NoAnswer."""
        if time.monotonic() > self.end:
            raise NoAnswer(f"no result after {SECONDS:.0f} seconds")
        found = answer(self.resolver, name, kind) if is_domain(name) else []
        if not found:
            self.void -= 1
            if self.void < 0:
                raise BadRecord(f"more than {VOID} questions were answered with nothing")
        return found

    def hosts(self, name: str) -> list[str]:
        """The servers of a domain; BadRecord for more than ten."""
        found = self.ask(name, "MX")
        if len(found) > NAMES:
            raise BadRecord(f"a domain with more than {NAMES} servers")
        return [host.rstrip(".") for host in found]


def answer(resolver: Records, name: str, kind: str) -> list[str]:
    """What a resolver says; NoAnswer for any exception, also a mistake of ours: it costs time, and no letter."""
    try:
        return list(resolver.records(name.rstrip("."), kind))
    except Exception as error:
        raise NoAnswer(f"the DNS gives no answer about {name}") from error


def is_domain(name: str) -> bool:
    """Whether the DNS could know it: labels of 1 to 63 octets, more than one (RFC 7208 §4.3)."""
    labels = name.removesuffix(".").split(".")
    return (len(labels) > 1 and len(name) <= 254 and name.isascii() and name.isprintable() and "[" not in name
            and all(0 < len(label) < 64 for label in labels))

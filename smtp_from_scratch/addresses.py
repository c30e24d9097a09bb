"""The addresses in a message's fields, as the library reads them (RFC 5322 §3.4)."""
from __future__ import annotations

import email.utils
from collections.abc import Iterable
from email.errors import InvalidHeaderDefect
from email.message import Message
from typing import Any

__all__ = ["addresses_in", "listed"]

_LENIENT = {"strict": False} if hasattr(email.utils, "supports_strict_parsing") else {}


def addresses_in(message: Message, name: str) -> list[str]:
    """The addresses that a message's fields of this name hold; ValueError when not all of them can be read.

    `email.utils.getaddresses` is of no use: what it cannot read it leaves out, and newer Pythons, unless they are told
    otherwise, answer a comma in a comment with no address at all.
    """
    found: list[str] = []
    for field in fields(message, name):
        if any(isinstance(defect, InvalidHeaderDefect) for defect in field.defects):
            raise ValueError(f"cannot read the addresses in {name}: {str(field)[:80]!r}")
        found += [address.addr_spec for address in field.addresses]
    return found


def listed(values: Iterable[str]) -> list[str]:
    """The addresses in fields' values, as far as they can be read, alike on every Python.

    ValueError for comments within comments without end.
    """
    try:
        return [address for _, address in email.utils.getaddresses(values, **_LENIENT) if address]
    except RecursionError:
        raise ValueError("a field with too many parentheses") from None


def fields(message: Message, name: str) -> list[Any]:
    """Those of this name, parsed; ValueError where the library's parser breaks, as at `From: <` and `From: ::;b`."""
    try:
        return [value if hasattr(value, "addresses") else parsed(name, value) for value in message.get_all(name, [])]
    except Exception:                           # IndexError, AttributeError, RecursionError
        raise ValueError(f"cannot read the addresses in {name}") from None


def parsed(name: str, value: object) -> Any:
    """A field as an `EmailMessage` would have parsed it; a server never needs that large parser."""
    from email.policy import default

    return default.header_factory(name, "".join(str(value).splitlines()))

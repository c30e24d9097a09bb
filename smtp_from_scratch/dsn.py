"""Asking to be told what became of a message: wishes on its envelope (RFC 3461)."""
# Exported from notebooks/19_dsn.ipynb; edit the notebook.

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .ehlo import ExtendedSession, Extension, Parameter
from .envelope import Envelope
from .transaction import Plan
from .wire import Reply
from .xtext import decode_xtext, encode_xtext

__all__ = [
    "EVENTS", "parse_notify", "parse_ret", "parse_envid", "parse_orcpt", "readable", "ON_MAIL", "ON_RCPT", "Dsn",
    "encode_orcpt", "seven_bit", "request",
]


# %% notify
EVENTS = ("SUCCESS", "FAILURE", "DELAY")


def parse_notify(value: str) -> frozenset[str]:
    """The events to report; none for NEVER, which stands alone; ValueError (RFC 3461 §4.1)."""
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return frozenset()
    if not value.isascii() or not set(words) <= set(EVENTS):
        raise ValueError(f"NOTIFY= takes NEVER alone, or any of {', '.join(EVENTS)}, not {value[:80]!r}")
    return frozenset(words)


# %% ret-envid
_PRINTABLE = re.compile(r"[\t -~]+")           # a line end in one of these would end a line of the report


def parse_ret(value: str) -> str:
    """FULL or HDRS: how much of the message comes back; ValueError (RFC 3461 §4.3)."""
    if value.upper() not in ("FULL", "HDRS") or not value.isascii():
        raise ValueError(f"RET= takes FULL or HDRS, not {value[:80]!r}")
    return value.upper()


def parse_envid(value: str) -> str:
    """What the sender calls this message, out of its xtext; ValueError (RFC 3461 §4.4)."""
    envid = decode_xtext(value)
    if len(value) > 100 or not _PRINTABLE.fullmatch(envid):
        raise ValueError("ENVID= takes at most 100 characters, which stand for printable ASCII")
    return envid


# %% orcpt
_ORCPT = re.compile(r"([!#$%&'*+/0-9?A-Z^_`a-z{|}~-]+);(.+)")


def parse_orcpt(value: str) -> tuple[str, str]:
    """The type of the sender's address, and the address; ValueError (RFC 3461 §4.2, RFC 6533 §3)."""
    match = _ORCPT.fullmatch(value)
    if not match or len(value) > 500:
        raise ValueError(f"ORCPT= takes type;address, in at most 500 characters, not {value[:80]!r}")
    kind, coded = match[1], match[2]
    address = coded if kind.lower() == "utf-8" and coded.isprintable() else decode_xtext(coded)
    if kind.lower() != "utf-8" and not _PRINTABLE.fullmatch(address):
        raise ValueError(f"the address in ORCPT= stands for printable ASCII, not {address[:80]!r}")
    return kind, address


# %% readable
def readable(parse: Callable[[str], Any], example: str, octets: int) -> Parameter:
    """A parameter with a value that this function can read; 501 for another one (RFC 3461 §5.1)."""

    def check(session: ExtendedSession, value: str | None) -> Reply | None:
        try:
            parse(value or "")
        except ValueError as error:
            return Reply(501, str(error) if value else f"a value is missing: {example}", "5.5.4")
        return None

    return Parameter(check, octets)


# %% tables
ON_MAIL = {"RET": readable(parse_ret, "RET=HDRS", 10),     # octets: a little more than RFC 3461 §5.4 asks for
           "ENVID": readable(parse_envid, "ENVID=QQ314159", 107)}
ON_RCPT = {"NOTIFY": readable(parse_notify, "NOTIFY=FAILURE,DELAY", 30),
           "ORCPT": readable(parse_orcpt, "ORCPT=rfc822;yui@tokyo.example", 507)}


# %% dsn
class Dsn(Extension):
    """DSN: the sender says which reports it wants; every hop passes that on, unchanged (RFC 3461)."""

    keyword = "DSN"

    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        return {"MAIL": ON_MAIL, "RCPT": ON_RCPT}

    def plan(self, plan: Plan) -> None:
        """Say what the envelope asks for; not called where DSN is not offered (RFC 3461 §5.2.1, §5.2.2)."""
        envelope = plan.message.envelope
        if not (envelope.parameters or envelope.options):      # nearly every message
            return
        plan.mail.parameters |= {name: value for name, value in envelope.parameters.items() if name in ON_MAIL}
        for address, parameters in plan.recipients.items():
            wishes = envelope.options.get(address, {})
            parameters |= {name: value for name, value in wishes.items() if name in ON_RCPT}


# %% encode
def encode_notify(events: str) -> str:
    """The events in one order, each once (RFC 3461 §4.1)."""
    asked = parse_notify(events)
    return ",".join(event for event in EVENTS if event in asked) or "NEVER"


def encode_envid(envid: str) -> str:
    """What we call a message, in xtext (RFC 3461 §4.4)."""
    value = encode_xtext(envid)
    parse_envid(value)
    if len("ENVID=" + value) > 100:            # what everybody must take (§5.4); we take a little more
        raise ValueError("ENVID may have 100 characters, its name and its xtext included")
    return value


# %% encode-orcpt
def encode_orcpt(address: str) -> str:
    """An address with its type, in xtext; rfc822, or what is before a semicolon (RFC 3461 §4.2)."""
    kind, semicolon, rest = address.partition(";")
    if not semicolon or "@" in kind:
        kind, rest = "rfc822" if address.isascii() else "utf-8", address
    value = f"{kind};{encode_xtext(rest) if rest.isascii() else seven_bit(rest)}"
    parse_orcpt(value)
    if len("ORCPT=" + value) > 500:
        raise ValueError("ORCPT may have 500 characters, its name and its xtext included")
    return value


def seven_bit(address: str) -> str:
    """An address beyond ASCII, in ASCII (RFC 6533 §3)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=\\" else f"\\x{{{ord(c):X}}}" for c in address)


# %% request
def request(envelope: Envelope, *, ret: str = "", envid: str = "", notify: str | Mapping[str, str] = "",
            orcpt: Mapping[str, str] | None = None) -> Envelope:
    """Put wishes on an envelope: `notify` for everybody, or by recipient; addresses and `envid` as they are.

    ValueError, and the envelope unchanged, for what no server would understand (RFC 3461 §4).
    """
    if not (ret or envid or notify or orcpt):
        return envelope                        # nearly every message
    notify = dict.fromkeys(envelope.recipients, notify) if isinstance(notify, str) else notify
    if strangers := {*notify, *(orcpt or {})}.difference(envelope.recipients):
        raise ValueError(f"not among the recipients: {', '.join(sorted(strangers))}")
    mail: dict[str, str | None] = {"RET": parse_ret(ret)} if ret else {}
    if envid:
        mail["ENVID"] = encode_envid(envid)
    rcpt: dict[str, dict[str, str | None]] = {a: {"NOTIFY": encode_notify(n)} for a, n in notify.items() if n}
    for address, original in (orcpt or {}).items():
        rcpt.setdefault(address, {})["ORCPT"] = encode_orcpt(original)
    envelope.parameters |= mail
    for address, wishes in rcpt.items():
        envelope.options[address] = envelope.options.get(address, {}) | wishes
    return envelope

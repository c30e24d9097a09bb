"""The first server that a message meets: submission (RFC 6409) on ports 587 and 465 (RFC 8314)."""
# Exported from notebooks/18_submission.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate, make_msgid
from typing import IO, Any

from .addresses import listed
from .bodies import MEMORY, Spool
from .envelope import BadPath, Envelope, encode_path
from .session import Deliver, Policy
from .together import Steps, around, calling
from .wire import Reply

__all__ = [
    "header_fields", "HEADER_LIMIT", "LINE_LIMIT", "addresses_in", "unqualified", "has_long_line", "additions",
    "is_mailbox", "MaySend", "anybody", "own_address", "Submission",
]


# %% header
_FIELD = re.compile(r"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)


def header_fields(header: str) -> list[tuple[str, str]]:
    """The fields of a header in order, names in lower case; ValueError for what is not one (RFC 5322 §2.2)."""
    fields = []
    for line in re.split(r"\r\n(?![ \t])", header.removesuffix("\r\n")):
        field = _FIELD.fullmatch(line)
        if not field:
            raise ValueError(f"no header field: {line[:60]!r}" if line else "the message has no header")
        fields.append((field[1].lower(), field[2].replace("\r\n", "").strip()))
    return fields


# %% addresses
HEADER_LIMIT, LINE_LIMIT = 262_144, 998        # octets that a header, and a line, may have (RFC 5322 §2.1.1)


def addresses_in(value: str) -> list[str]:
    """The addresses in a field; ValueError for comments within comments without end."""
    return listed([value])


def unqualified(address: str, enhanced: str) -> Reply | None:
    """A refusal of `kenji@mail`: in another house that is another host."""
    domain = address.rpartition("@")[2]
    if "@" not in address or "." in domain or domain.startswith("["):
        return None
    return Reply(554, f"{domain} is not the full name of a host", enhanced)


# %% fit
_WHO = "from sender reply-to to cc bcc"
ONCE = frozenset(f"{_WHO} date message-id in-reply-to references subject".split())
ADDRESSES = frozenset(f"{_WHO} resent-from resent-sender resent-to resent-cc resent-bcc".split())


def fit_header(start: bytes, utf8: bool) -> dict[str, str]:
    """The header of a message that may leave as it is; ValueError says why not (RFC 6409 §4.2, §8)."""
    header, end, _ = start.partition(b"\r\n\r\n")
    if not end and len(start) >= HEADER_LIMIT:
        raise ValueError(f"the header has more than {HEADER_LIMIT} octets")
    if not (header.isascii() or utf8):
        raise ValueError("a header beyond ASCII needs SMTPUTF8, which MAIL did not say")
    have: dict[str, str] = {}
    for name, value in header_fields("" if start.startswith(b"\r\n") else header.decode()):
        if name in ONCE and name in have:
            raise ValueError(f"{name.title()} is there twice")
        have[name] = f"{have[name]}, {value}" if name in have else value
    if not addresses_in(have.get("from", "")):
        raise ValueError("a message names its author: From is missing")
    if empty := [name for name in ("date", "message-id") if have.get(name) == ""]:
        raise ValueError(f"{empty[0].title()} is there, and says nothing")
    for address in addresses_in(", ".join(have[name] for name in sorted(ADDRESSES.intersection(have)))):
        if refusal := unqualified(address, ""):
            raise ValueError(refusal.text)
    return have


# %% long-lines
def has_long_line(body: IO[bytes]) -> bool:
    """Whether a line has more octets than a message's may (RFC 5322 §2.1.1); reads to the end."""
    tail = b""
    while block := body.read(262_144):
        *lines, tail = (tail + block).split(b"\r\n")
        if len(tail) > LINE_LIMIT + 1 or max(map(len, lines), default=0) > LINE_LIMIT:   # CR may end the tail
            return True
    return len(tail) > LINE_LIMIT


# %% additions
def additions(start: bytes, user: str, hostname: str, utf8: bool = True) -> bytes | Reply:
    """Lines that a message lacks (RFC 6409 §8.1 to §8.3), or the reply that refuses it."""
    try:
        have = fit_header(start, utf8)
    except ValueError as error:
        return Reply(554, str(error).encode("ascii", "backslashreplace").decode(), "5.6.0")
    lines = []
    if "date" not in have:
        lines.append(f"Date: {formatdate(localtime=True)}")
    if "message-id" not in have:
        lines.append(f"Message-ID: {make_msgid(domain=hostname)}")
    authors = [author.lower() for author in addresses_in(have["from"])]
    if "sender" not in have and is_mailbox(user) and [user.lower()] != authors:
        lines.append(f"Sender: {user}")
    return "".join(f"{line}\r\n" for line in lines).encode()


def is_mailbox(name: str) -> bool:
    """Whether a user's name is an address that everybody can write to."""
    try:
        return name.isascii() and encode_path(name) == f"<{name}>" and "@" in name and not unqualified(name, "")
    except BadPath:
        return False


# %% may-send
MaySend = Callable[[str, str], bool]           # user, reverse-path


def anybody(user: str, sender: str) -> bool:
    """Whoever has logged in may use any address."""
    return True


def own_address(user: str, sender: str) -> bool:
    """Only your own address, or the null path."""
    return sender.lower() in ("", user.lower())


# %% whats-missing
def whats_missing(envelope: Envelope, body: IO[bytes], hostname: str) -> bytes | Reply:
    """The lines that a message lacks, or the reply that refuses it; leaves the body at its start."""
    missing = additions(body.read(HEADER_LIMIT), envelope.user, hostname, "SMTPUTF8" in envelope.parameters)
    body.seek(0)
    if (envelope.parameters.get("BODY") or "").upper() != "BINARYMIME" and has_long_line(body):
        missing = Reply(554, f"a line has more than {LINE_LIMIT} octets", "5.6.0")
    body.seek(0)
    return missing


# %% submission
@dataclass(frozen=True, slots=True)
class Submission:
    """The role of a submission server, no extension: it wraps what a server does (RFC 6409 §6, §8).

    `Auth(users, required=True)` keeps strangers out (§4.3); `may_send(user, address)`: who may send as whom.
    """

    may_send: MaySend = anybody

    def accept_sender(self, accept: Policy) -> Policy:
        """The policy, for addresses that this user may send from (RFC 6409 §6.1)."""

        def accept_sender(address: str, envelope: Envelope) -> Reply | None:
            if self.may_send(envelope.user, address) not in {True}:        # a coroutine is true, and no answer
                return Reply(550, f"{envelope.user} does not send as {address or 'nobody'}", "5.7.1")
            return unqualified(address, "5.1.8") or accept(address, envelope)

        return accept_sender

    def accept_recipient(self, accept: Policy) -> Policy:
        """The policy, for domains that mean the same everywhere (RFC 6409 §4.2)."""
        return lambda address, envelope: unqualified(address, "5.1.2") or accept(address, envelope)

    def deliver(self, deliver: Deliver, hostname: str) -> Deliver:
        """A delivery that mends the message first."""

        def mend_and_deliver(envelope: Envelope, body: IO[bytes]) -> Steps[Any]:
            missing = whats_missing(envelope, body, hostname)
            if isinstance(missing, Reply):
                return missing
            if not missing:
                return (yield from calling(deliver, envelope, body))
            with contextlib.closing(Spool(None, MEMORY)) as mended:
                mended.add(missing)
                while block := body.read(262_144):
                    mended.add(block)
                mended.file.seek(0)
                return mended.fault or (yield from calling(deliver, envelope, mended.file))

        return around(deliver, mend_and_deliver)       # letters of users go together, too

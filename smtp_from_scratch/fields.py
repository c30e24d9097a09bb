"""A header as octets, and lists of tags in it: what signatures cover, and what checks are written into.

Two programs that read the same header differently are a hole. So what another reader could take for something else is
refused.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from typing import IO, Any, NamedTuple

from .addresses import parsed
from .bodies import MEMORY, Spool
from .together import Steps, alone, calling
from .wire import Reply

__all__ = ["HEADER_LIMIT", "Changed", "Finding", "author_domains", "authority_of", "changed", "name_of", "plain_domain",
           "read_header", "results_field", "tags_of", "value_in"]

HEADER_LIMIT, AUTHOR_LIMIT = 262_144, 2_000    # octets of a header; characters of a field that is read with care
AUTHORS, COMMENTS = 5, 20                      # domains in From, each costs questions; comments within comments
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_FIELD = re.compile(rb"[^\r\n][^\n]*\n(?:[ \t][^\n]*\n)*")
_CONTROLS = re.compile("[\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029]")
_DOMAIN = re.compile(r"[a-z0-9._-]+|\[[0-9a-z:.-]*[0-9:][0-9a-z:.-]*\]")


# --- a header ---------------------------------------------------------------------------------------------------------


def read_header(body: IO[bytes]) -> tuple[list[bytes], int]:
    """The fields of a message, each with its line ends, and the place where the body begins.

    ValueError for a header that is too long, has a CR, an LF or a NUL by itself, or begins with white space: that
    would go on with whatever field a server puts above it.
    """
    body.seek(0)
    data = body.read(HEADER_LIMIT)
    end = -2 if data.startswith(b"\r\n") else data.find(b"\r\n\r\n")
    if end == -1:
        if len(data) == HEADER_LIMIT:
            raise ValueError(f"the header has more than {HEADER_LIMIT} octets")
        header = data if data.endswith(b"\r\n") or not data else data + b"\r\n"
        end = len(data) - 4
    else:
        header = data[: end + 2]
    if _BARE.search(header):
        raise ValueError("a CR, an LF or a NUL stands alone in the header")
    if header.startswith((b" ", b"\t")):
        raise ValueError("the header begins with white space")
    return _FIELD.findall(header), end + 4


def name_of(field: bytes) -> str:
    """The name of a field, in lower case; empty if it is none."""
    name, colon, _ = field.partition(b":")
    return name.rstrip(b" \t").decode("latin-1").lower() if colon else ""


def looks_like(field: bytes, name: str) -> bool:
    """Whether some reader could take it for a field of this name: one who overlooks what no name may have in it."""
    return re.sub(r"[^!-~]", "", name_of(field)) == name


def value_in(field: bytes) -> str:
    """What a field says, in one line."""
    return re.sub(r"\r\n(?=[ \t])", "", field.partition(b":")[2].decode("utf-8", "replace")).strip()


def author_domains(fields: list[bytes]) -> list[str]:
    """The domains of the authors, in A-labels where they can be had, the first first (RFC 7489 §6.6.1).

    ValueError for none, for many, for a second From field, and for one that not everybody reads alike.
    """
    authors = [field for field in fields if looks_like(field, "from")]
    if len(authors) != 1 or name_of(authors[0]) != "from":
        raise ValueError(f"a letter has one From field, and this one has {len(authors)}")
    value = value_in(authors[0])
    if len(value) > AUTHOR_LIMIT:
        raise ValueError(f"a From field with more than {AUTHOR_LIMIT} characters")
    try:
        found = parsed("from", value)
        whole = not any("invalid" in type(defect).__name__.lower() for defect in found.defects)
        domains = [address.domain for address in found.addresses]
    except Exception:                          # of every kind, from the library's parser
        raise ValueError("nobody can read From") from None
    if not whole or not domains or _CONTROLS.search(value):
        raise ValueError("nobody can read From")
    found = dict.fromkeys(map(author_domain, domains))
    if len(found) > AUTHORS:
        raise ValueError(f"From has authors of more than {AUTHORS} domains")
    return list(found)


def author_domain(domain: str) -> str:
    """As `plain_domain`; ValueError for what can be no domain, and may look like one: `rio.example` and a letter of no
    width has no policy, and every reader shows it as `rio.example` (RFC 7489 §6.6.1)."""
    name = plain_domain(domain)
    if not _DOMAIN.fullmatch(name) and (name.isascii() or not name.isprintable() or can_encode()):
        raise ValueError("nobody can read the domain in From")
    return name


def can_encode() -> bool:
    """Whether A-labels can be had here."""
    from importlib.util import find_spec

    return find_spec("idna") is not None


def plain_domain(domain: str) -> str:
    """A domain in lower case, without a dot at its end, in A-labels where that can be had."""
    from .resolver import NoSuchDomain, ascii_name

    domain = domain.lower().rstrip(".")
    try:
        return ascii_name(domain).lower()
    except (NoSuchDomain, ImportError, UnicodeError):
        return domain


Changed = tuple[list[bytes], int]              # other fields, and the place where the body begins


def with_fields(fields: list[bytes], start: int, body: IO[bytes]) -> Spool:
    """A copy of a letter with other fields, in memory that does not grow."""
    whole = Spool(None, MEMORY)
    whole.add(b"".join(fields) + b"\r\n")
    body.seek(start)
    while block := body.read(HEADER_LIMIT):
        whole.add(block)
    return whole


def changed(deliver: Callable[..., Any], change: Callable[..., Changed | Spool | Reply | None]) -> Callable[..., Any]:
    """A delivery of letters with other fields. `change(envelope, body)` returns them, or a whole letter, or None for
    one that stays as it is, or a Reply for one that is refused.

    A change may wait for the DNS, so letters do not share their steps; as many at once as the delivery takes.
    """

    def play(envelope: Any, body: IO[bytes]) -> Steps[Any]:
        found = change(envelope, body)
        if isinstance(found, Reply):
            return found
        if found is None:
            body.seek(0)
            return (yield from calling(deliver, envelope, body))
        with closing(found if isinstance(found, Spool) else with_fields(*found, body)) as whole:
            whole.file.seek(0)
            return whole.fault or (yield from calling(deliver, envelope, whole.file))

    def deliver_changed(envelope: Any, body: IO[bytes]) -> Any:
        return alone(play(envelope, body))

    if isinstance(count := getattr(deliver, "at_once", None), int):
        setattr(deliver_changed, "at_once", max(count, 1))  # noqa: B010
    return deliver_changed


# --- tags -------------------------------------------------------------------------------------------------------------

_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=([!-:<-~\s]*)")


def tags_of(text: str) -> dict[str, str]:
    """`v=1; d=rio.example`, in order; ValueError for a tag that is there twice, or is none (RFC 6376 §3.2)."""
    found: dict[str, str] = {}
    for part in text.rstrip().removesuffix(";").split(";"):
        tag = _TAG.fullmatch(part)
        if not tag or tag[1] in found:
            raise ValueError(f"{tag[1]}= is there twice" if tag else "no list of tags")
        found[tag[1]] = tag[2].strip()
    return found


# --- results ----------------------------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """What a check has found: `dkim`, `pass`, whose domain, where that domain was (RFC 8601 §2.2), and why."""

    method: str
    result: str
    domain: str = ""
    about: str = ""
    reason: str = ""

    def __str__(self) -> str:
        reason = f' reason={quoted(self.reason)}' if self.reason else ""
        about = f" {self.about}={word(self.domain)}" if self.domain and self.about else ""
        return f"{self.method}={self.result}{reason}{about}"


def word(text: str) -> str:
    """A value as Authentication-Results has it: bare where it may be, else in quotes."""
    return text if re.fullmatch(r"[A-Za-z0-9._@-]+", text) else quoted(text)


def quoted(text: str) -> str:
    """A stranger's words in quotes, in ASCII."""
    text = "".join(c if " " <= c <= "~" else "?" for c in text[:200])
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def results_field(hostname: str, findings: list[Finding]) -> bytes:
    """The field in which a server says what it has found (RFC 8601 §2.2)."""
    lines = [f"Authentication-Results: {hostname}", *map(str, findings)]
    return (";\r\n\t".join(lines) + "\r\n").encode()


_AUTHORITY = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^]\s;"()<>@,:\\/[?=]+))(?=[\s;]|\Z)')


def authority_of(field: bytes) -> str | None:
    """Who wrote an Authentication-Results field, in lower case; None for another field. Empty if nobody can tell."""
    if not looks_like(field, "authentication-results"):
        return None
    text = value_in(field)
    if len(text) > AUTHOR_LIMIT:
        return ""
    for _ in range(COMMENTS):                  # the inner ones first
        text = re.sub(r"\((?:[^()\\]|\\.)*\)", " ", text)
    found = _AUTHORITY.match(text)
    name = found[2] or re.sub(r"\\(.)", r"\1", found[1]) if found else ""
    return name.lower().rstrip(".") if name.isascii() else ""

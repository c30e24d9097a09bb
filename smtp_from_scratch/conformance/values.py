"""What stands in braces in a dialogue: names given by the user, octets made to measure, answers to challenges."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import repeat

from smtp_from_scratch.conformance.scram import BadChallenge, Scram, compare, from_base64

CUT = object()                                  # `{cut}`: here the octets are cut into two segments
CONSTANT: dict[str, object] = {"cut": CUT, "all-octets": bytes(range(256)), "high-octets": bytes(range(128, 256))}
MADE_HERE = ("cut, n, body N, octets N, all-octets, high-octets, base64 …, xtext …, plain, cram-md5, scram-first, "
             "scram-final")
_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"(\d+|[a-z]+)([+-](\d+|[a-z]+))*")
_TERM = re.compile(r"([+-]?)(\d+|[a-z]+)")
_MADE_OF_PASSWORD = re.compile(r"plain|cram-md5|scram-final.*|.*\(password\).*")
_LINE = b"0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789abcd\r\n"


class UnknownValue(ValueError):
    """A name in braces that means nothing."""


@dataclass
class Values:
    """The values of one dialogue at play."""

    names: dict[str, str]
    challenge: str = ""                         # the text of the last 334
    before: str = ""                            # and of the one before it
    numbers: dict[str, int] = field(default_factory=dict)
    secrets: set[bytes] = field(default_factory=set)            # what was made of the password, as it travels
    scram: Scram = field(init=False)

    def __post_init__(self) -> None:
        self.numbers |= {name: len(value.encode()) for name, value in self.names.items() if name == "header"}
        self.scram = Scram(self.names.get("user", ""), self.names.get("password", ""), self.names.get("nonce", ""))

    def expand(self, text: str, raw: bool = False) -> list[bytes]:
        """The octets of a line, in the segments that `{cut}` makes of it."""
        parts, at = [list[bytes]()], 0         # joined once: a message of a server's limit may have 50 MB
        for match in _BRACES.finditer(text):
            parts[-1].append(octets(text[at : match.start()], raw))
            value = self.value(match[1])
            if value is CUT:
                parts.append([])
            elif isinstance(value, bytes):
                parts[-1].append(value)
            at = match.end()
        parts[-1].append(octets(text[at:], raw))
        return [b"".join(part) for part in parts]

    def value(self, name: str) -> object:
        """What a name in braces stands for."""
        word, _, argument = name.partition(" ")
        if name in CONSTANT:
            return CONSTANT[name]
        if name in self.names:
            return self.names[name].encode()
        if (number := self.number(name)) is not None:    # {n}, {size+1}
            return str(number).encode()
        count = self.number(argument)
        if word in ("body", "octets") and count is not None:
            return text_of(count) if word == "body" else b"x" * count
        if (answer := coded(self, name)) is not None:
            return answer
        raise UnknownValue(f"no such value: {{{name}}}; there are {', '.join(sorted(self.names))}, {MADE_HERE}")

    def inner(self, text: str) -> bytes:
        """The octets of an argument, in which names stand in parentheses."""
        return b"".join(self.expand(text.replace("(", "{").replace(")", "}"), raw=True))

    def number(self, text: str) -> int | None:
        """What `1000`, `size`, `size+1`, `size-1-header` or `n` comes to; None when that is no number."""
        if not _NUMBER.fullmatch(text):
            return None
        known = {name: value for name, value in self.names.items() if re.fullmatch("[0-9]{1,20}", value)} | self.numbers
        return total((sign, int(word if word.isdigit() else known.get(word, -1))) for sign, word in _TERM.findall(text))

    def secret(self, name: str) -> bytes:
        return self.names.get(name, "").encode()


def total(terms: Iterable[tuple[str, int]]) -> int | None:
    """The sum of numbers with their signs, at least 0; None when one of them is not known, which is below 0."""
    numbers = list(terms)
    if any(number < 0 for _, number in numbers):
        return None
    return max(0, sum(-number if sign == "-" else number for sign, number in numbers))


def text_of(count: int) -> bytes:
    """So many octets of text, line ends included; made in one piece, since a server's limit may be 50 MB."""
    lines, rest = divmod(max(0, count - 2), len(_LINE))
    return b"".join([*repeat(_LINE, lines), _LINE[:rest], b"\r\n"])


def coded(values: Values, name: str) -> bytes | None:
    """Octets in a coding, and what AUTH has to say, which is noted if it is a secret; None for other names."""
    answer = encoded(values, name)
    if answer and _MADE_OF_PASSWORD.fullmatch(name):
        values.secrets.add(answer)
    return answer


def encoded(values: Values, name: str) -> bytes | None:
    word, _, argument = name.partition(" ")
    if word == "base64":
        return base64.b64encode(values.inner(argument))
    if word == "xtext":
        return xtext(values.inner(argument))
    if name == "plain":
        return base64.b64encode(b"\0%b\0%b" % (values.secret("user"), values.secret("password")))
    if name == "cram-md5":
        digest = hmac.new(values.secret("password"), from_base64(values.challenge), hashlib.md5).hexdigest()
        return base64.b64encode(values.secret("user") + b" " + digest.encode())
    if word == "scram-first" and argument.count(" ") < 3:
        return base64.b64encode(values.scram.first(*argument.split()))
    if word == "scram-final":
        answer = base64.b64encode(values.scram.final(from_base64(values.challenge), argument))
        values.secrets.add(base64.b64encode(b"v=" + base64.b64encode(values.scram.signature)))     # the server's proof
        return answer
    return None


def check_challenge(values: Values, what: str) -> None:
    """See whether the last challenge is what a dialogue's `check` wants; raises BadChallenge."""
    plain = from_base64(values.challenge)
    if what == "empty" and plain:
        raise BadChallenge(f"{plain!r} where nothing should be said")
    if what == "cram-md5" and not re.fullmatch(rb"<[!-;=?-~]+@[!-;=?-~]+>", plain):     # RFC 2195 §2
        raise BadChallenge(f"{plain!r} does not look like a message id")
    if what == "server-first":
        values.scram.server_first(plain)
    if what == "fresh" and values.challenge == values.before:
        raise BadChallenge(f"{values.challenge!r} again")
    if what in ("same-salt", "iterations"):
        compare(values.scram.seen, what)
    if what == "server-error" and not plain.startswith(b"e="):
        raise BadChallenge(f"{plain!r} where only an error could be said")
    if what == "server-final":
        values.scram.verify(plain)


def octets(text: str, raw: bool) -> bytes:
    """A line's octets: UTF-8; in a raw line, whose escapes are resolved, each character up to 255 is one octet."""
    return text.encode("latin-1") if raw and all(ord(c) < 256 for c in text) else text.encode()


def xtext(data: bytes) -> bytes:
    """Octets as a parameter's value carries them (RFC 3461 §4)."""
    return b"".join(b"%c" % o if 33 <= o <= 126 and o not in b"+=" else b"+%02X" % o for o in data)

"""What stands in braces in a dialogue: names given by the user, octets made to measure, answers to challenges."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

CUT = object()                                  # `{cut}`: here the octets are cut into two segments
_BRACES = re.compile(r"\{([^{}]*)\}")
_LINE = b"0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789abcd\r\n"


class UnknownValue(ValueError):
    """A name in braces that means nothing."""


@dataclass
class Values:
    """The values of one dialogue at play."""

    names: dict[str, str]
    challenge: str = ""                         # the text of the last 334
    numbers: dict[str, int] = field(default_factory=dict)

    def expand(self, text: str, raw: bool = False) -> list[bytes]:
        """The octets of a line, in the segments that `{cut}` makes of it."""
        segments, at = [b""], 0
        for match in _BRACES.finditer(text):
            segments[-1] += octets(text[at : match.start()], raw)
            value = self.value(match[1])
            if value is CUT:
                segments.append(b"")
            elif isinstance(value, bytes):
                segments[-1] += value
            at = match.end()
        segments[-1] += octets(text[at:], raw)
        return segments

    def value(self, name: str) -> object:
        """What a name in braces stands for."""
        word, _, argument = name.partition(" ")
        if name == "cut":
            return CUT
        if name in self.names:
            return self.names[name].encode()
        if name in self.numbers:
            return str(self.numbers[name]).encode()
        if word == "body" and argument.isdigit():        # so many octets of text, line ends included
            whole = _LINE * (int(argument) // len(_LINE) + 1)
            return whole[: max(0, int(argument) - 2)] + b"\r\n"
        if word == "octets" and argument.isdigit():
            return b"x" * int(argument)
        if word == "base64":
            return base64.b64encode(b"".join(self.expand(argument.replace("(", "{").replace(")", "}"), raw=True)))
        if name == "plain":
            return base64.b64encode(b"\0%b\0%b" % (self.secret("user"), self.secret("password")))
        if name == "cram-md5":
            digest = hmac.new(self.secret("password"), base64.b64decode(self.challenge), hashlib.md5).hexdigest()
            return base64.b64encode(self.secret("user") + b" " + digest.encode())
        raise UnknownValue(f"no such value: {{{name}}}; there are {', '.join(sorted(self.names))}, cut, n, body N, "
                           "octets N, base64 …, plain, cram-md5")

    def secret(self, name: str) -> bytes:
        return self.names.get(name, "").encode()


def octets(text: str, raw: bool) -> bytes:
    """A line's octets: UTF-8; in a raw line, whose escapes are resolved, each character up to 255 is one octet."""
    return text.encode("latin-1") if raw and all(ord(c) < 256 for c in text) else text.encode()

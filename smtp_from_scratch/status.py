"""Why, said to a program: ENHANCEDSTATUSCODES (RFC 2034, RFC 3463)."""
# Exported from notebooks/11_status.ipynb; edit the notebook.

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from .conversation import known_reply
from .ehlo import ExtendedSession, Extension
from .session import Verb
from .transaction import ClientSession
from .wire import Reply

__all__ = [
    "EnhancedStatusCodes", "USUAL", "BY_CODE", "usual_code", "CodedSession", "split_enhanced", "read_coded",
    "CodedClientSession",
]


# %% usual-code
class EnhancedStatusCodes(Extension):
    """ENHANCEDSTATUSCODES: three numbers that say what is wrong, in every language (RFC 2034, RFC 3463)."""

    keyword = "ENHANCEDSTATUSCODES"


USUAL = {
    ("MAIL", 250): "2.1.0", ("RCPT", 250): "2.1.5", ("DATA", 250): "2.6.0", ("BDAT", 250): "2.6.0",
    ("RCPT", 452): "4.5.3", ("RCPT", 550): "5.1.1", ("VRFY", 252): "2.5.0",
}
BY_CODE = {
    421: "4.3.2", 451: "4.3.0", 452: "4.3.1", 500: "5.5.2", 501: "5.5.4",
    502: "5.5.1", 503: "5.5.1", 504: "5.5.4", 552: "5.3.4", 555: "5.5.4",
}


def usual_code(verb: str, code: int) -> str:
    """The enhanced code that a reply has unless it has one of its own (RFC 3463)."""
    return USUAL.get((verb, code)) or BY_CODE.get(code) or f"{code // 100}.0.0"


# %% coded-session
@lru_cache(256)                                # a server says few things, and says them often
def _coded(verb: str, reply: Reply) -> Reply:
    """The same reply with its usual code, unless it has one, or must not have one (RFC 2034 §4)."""
    if reply.enhanced or reply.code // 100 == 3 or verb in ("EHLO", "HELO"):
        return reply
    return Reply(reply.code, reply.text, usual_code(verb, reply.code))


class CodedSession(ExtendedSession):
    """A session whose replies say why, where that is offered."""

    __slots__ = ()

    def reply(self, reply: Reply, verb: Verb | None = None) -> Reply:
        """A code on each 2yz, 4yz and 5yz, but not on the greeting or the reply to EHLO, HELO (RFC 2034 §4)."""
        reply = ExtendedSession.reply(self, reply, verb)
        return _coded(self.verb, reply) if "ENHANCEDSTATUSCODES" in self.extensions.keywords else reply


# %% split-enhanced
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?: |$)", re.MULTILINE)


def split_enhanced(reply: Reply) -> Reply:
    """The same reply, its enhanced code in a field of its own, if it begins with one (RFC 2034 §4)."""
    found = _ENHANCED.match(reply.text)
    if not found or found[1] != str(reply.code)[0] or reply.enhanced:
        return reply
    code = found[0].rstrip()
    lines = [line.removeprefix(code).lstrip(" ") for line in reply.lines]
    return Reply(reply.code, "\n".join(lines), code)


# %% coded-client-session
read_coded = lru_cache(64)(lambda lines: split_enhanced(known_reply(lines)))


class CodedClientSession(ClientSession):
    """A client's session that reads why, where the server says so."""

    __slots__ = ()

    def reader(self) -> Callable[[tuple[bytes, ...]], Reply]:
        return read_coded if self.uses("ENHANCEDSTATUSCODES") else ClientSession.reader(self)

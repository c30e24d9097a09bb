"""Names that 7 bits cannot write: SMTPUTF8 (RFC 6531; framework RFC 6530, which replaced 4952)."""
# Exported from notebooks/14_smtputf8.ipynb; edit the notebook.

from __future__ import annotations

import re
from collections.abc import Mapping

from .ehlo import ClientSession, ExtendedSession, Extension, Letter, Parameter, Step, path_and_parameters
from .wire import Command, Reply

__all__ = ["SmtpUtf8"]


# %% no-value
def no_value(session: ExtendedSession, value: str | None) -> Reply | None:
    """A parameter that stands alone."""
    return None if value is None else Reply(501, "SMTPUTF8 takes no value", "5.5.4")


def is_utf8(text: str) -> bool:
    """Whether what was read off the wire was UTF-8: other octets have become surrogates (chapter 01)."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


# %% announces
TOLD_NOTHING = "an address beyond ASCII must be announced: SMTPUTF8"
_WORD = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^" ])+')    # up to a space outside quotes


def announces(session: ExtendedSession, command: Command) -> bool | None:
    """Whether a command may have names beyond ASCII (RFC 6531 §3.1); None: in a command of this kind, never.

    What stands within a path or within quotes is no parameter.
    """
    match command.verb:
        case "MAIL":
            found = path_and_parameters(command.argument, "FROM:")
            return isinstance(found, Reply) or "SMTPUTF8" in found[1]      # MAIL itself says what is wrong with it
        case "RCPT":
            return "SMTPUTF8" in session.envelope.parameters
        case "VRFY" | "EXPN":
            return "SMTPUTF8" in map(str.upper, _WORD.findall(command.argument)[1:])
    return None


# %% smtputf8
class SmtpUtf8(Extension):
    """SMTPUTF8: addresses, headers and replies in UTF-8, for letters that say so (RFC 6531)."""

    keyword = "SMTPUTF8"
    requires = frozenset({"8BITMIME"})         # RFC 6531 §3.1 (8)
    line_limits = {"MAIL": 10, "VRFY": 10, "EXPN": 10}

    def mail_parameters(self) -> Mapping[str, Parameter]:
        return {"SMTPUTF8": no_value}

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """UTF-8 where it was announced, and nowhere else (RFC 6531 §3.3, §3.5)."""
        if command.argument.isascii():
            return None
        if not is_utf8(command.argument):
            return Reply(501, "that is not UTF-8", "5.5.2")
        announced = announces(session, command)
        if announced is None:
            return Reply(501, "a command is 7-bit ASCII, without NUL", "5.5.2")
        if not announced or not session.extended:
            return Reply(550 if command.verb == "MAIL" else 553, TOLD_NOTHING, "5.6.7")
        return None

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:
        """Announce what needs it. UTF-8 in a header is 8-bit as well (RFC 6531 §3.6)."""
        if "SMTPUTF8" not in letter.needs or "8BITMIME" not in client.offered:
            return
        steps[0].parameters["SMTPUTF8"] = None
        steps[0].parameters.setdefault("BODY", "8BITMIME")
        letter.needs -= {"SMTPUTF8", "8BITMIME"}

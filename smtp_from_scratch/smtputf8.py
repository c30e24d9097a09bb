"""Names that 7 bits cannot write: SMTPUTF8 (RFC 6531; framework RFC 6530, which replaced 4952)."""
# Exported from notebooks/17_smtputf8.ipynb; edit the notebook.

from __future__ import annotations

import re
from collections.abc import Mapping

from .ehlo import ExtendedSession, Extension, Parameter, read_parameters
from .rules import about_utf8
from .session import path_argument
from .transaction import Plan
from .wire import Command, Reply

__all__ = ["is_utf8", "no_value", "SmtpUtf8", "plan_utf8"]


# %% no-value
def is_utf8(text: str) -> bool:
    """Whether what was read off the wire was UTF-8: other octets have become surrogates."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def no_value(session: ExtendedSession, value: str | None) -> Reply | None:
    """A parameter that stands alone."""
    return None if value is None else Reply(501, "SMTPUTF8 takes no value", "5.5.4")


# %% announces
TOLD_NOTHING = "an address beyond ASCII must be announced: SMTPUTF8"
_WORD = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^" ])+')    # up to a space outside quotes


def announces(session: ExtendedSession, command: Command) -> bool | None:
    """Whether a command may have names beyond ASCII (RFC 6531 §3.1); None: in a command of this kind, never.

    What stands within a path or within quotes is no parameter.
    """
    match command.verb:
        case "MAIL":
            found = path_argument(command.argument, "FROM:")
            given = found if isinstance(found, Reply) else read_parameters(found[1])
            return isinstance(given, Reply) or "SMTPUTF8" in given     # MAIL itself says what is wrong with it
        case "RCPT":
            return "SMTPUTF8" in session.envelope.parameters
        case "VRFY" | "EXPN":
            return "SMTPUTF8" in map(str.upper, _WORD.findall(command.argument)[1:])
    return None


# %% smtputf8
class SmtpUtf8(Extension):
    """SMTPUTF8: addresses, headers and replies in UTF-8, for messages that say so (RFC 6531)."""

    keyword = "SMTPUTF8"
    requires = frozenset({"8BITMIME"})         # RFC 6531 §3.1 (8)

    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        return dict.fromkeys(("MAIL", "VRFY", "EXPN"), {"SMTPUTF8": Parameter(no_value, octets=10)})   # §3.4

    @about_utf8
    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """UTF-8 where it was announced, and nowhere else (RFC 6531 §3.3, §3.5)."""
        if command.argument.isascii() and command.verb.isascii():
            return None
        if not is_utf8(command.argument):
            return Reply(501, "that is not UTF-8", "5.5.2")
        announced = announces(session, command)
        if announced is None:
            return Reply(501, "a command is 7-bit ASCII, without NUL", "5.5.2")
        if not announced or not session.extended:
            return Reply(550 if command.verb == "MAIL" else 553, TOLD_NOTHING, "5.6.7")
        return None

    def plan(self, plan: Plan) -> None:
        plan_utf8(plan)


# %% plan-utf8
def plan_utf8(plan: Plan) -> None:
    """Announce what needs it. UTF-8 in a header is 8-bit as well (RFC 6531 §3.6)."""
    if "SMTPUTF8" not in plan.needs or not plan.client.uses("8BITMIME"):
        return
    plan.mail.parameters["SMTPUTF8"] = None
    plan.mail.parameters.setdefault("BODY", "8BITMIME")
    plan.needs -= {"SMTPUTF8", "8BITMIME"}

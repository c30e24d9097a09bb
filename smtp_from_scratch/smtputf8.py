"""Names that 7 bits cannot write: SMTPUTF8 (RFC 6531; framework RFC 6530, which replaced 4952)."""
# Exported from notebooks/14_smtputf8.ipynb; edit the notebook.

from __future__ import annotations

from collections.abc import Mapping

from .ehlo import ClientSession, ExtendedSession, Extension, Letter, Parameter, Step
from .wire import Command, Reply

__all__ = ["SmtpUtf8"]


# %% no-value
def no_value(session: ExtendedSession, value: str | None) -> Reply | None:
    """A parameter that stands alone."""
    return None if value is None else Reply(501, "SMTPUTF8 takes no value", "5.5.4")


def is_utf8(text: str) -> bool:
    """Whether what was read off the wire was UTF-8: other octets have become surrogates (chapter 01)."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


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
        if command.argument.isascii() and command.verb.isascii():
            return None
        if not is_utf8(command.argument):
            return Reply(501, "that is not UTF-8", "5.5.2")
        words = {word.partition("=")[0] for word in command.argument.upper().split()}
        announced = {"MAIL": "SMTPUTF8" in words, "VRFY": "SMTPUTF8" in words, "EXPN": "SMTPUTF8" in words,
                     "RCPT": "SMTPUTF8" in session.envelope.parameters}
        if command.verb not in announced:
            return Reply(501, "a command is 7-bit ASCII, without NUL", "5.5.2")
        if not announced[command.verb] or not session.extended:
            return Reply(553, "an address beyond ASCII needs MAIL with SMTPUTF8", "5.6.7")
        return None

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:
        """Announce what needs it. UTF-8 in a header is 8-bit as well (RFC 6531 §3.6)."""
        if "SMTPUTF8" not in letter.needs or "8BITMIME" not in client.offered:
            return
        steps[0].parameters["SMTPUTF8"] = None
        steps[0].parameters.setdefault("BODY", "8BITMIME")
        letter.needs -= {"SMTPUTF8", "8BITMIME"}

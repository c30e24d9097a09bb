"""Commands that come again, letter after letter: what they say is read once."""
from __future__ import annotations

from .wire import Command

__all__ = ["KnownLines"]

AGAIN = frozenset({"MAIL", "RCPT", "DATA", "RSET", "QUIT"})    # never AUTH: a password must not stay behind
PLACES = 1024


class KnownLines(dict[bytes, Command]):
    """Lines without a fault, whatever the session; the last thousand or so."""

    def note(self, line: bytes, command: Command) -> None:
        """A line has no fault."""
        if command.verb in AGAIN:
            if len(self) >= PLACES:
                self.clear()
            self[line] = command

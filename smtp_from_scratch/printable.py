"""Text made fit for its place: what strangers said, in a terminal or a log; what we say, in lines of limited length."""
from __future__ import annotations

from functools import cached_property
from sys import modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

__all__ = ["folded", "logger", "printable"]


def printable(text: str) -> str:
    """A stranger's text in one line that a terminal shows and does not obey; the same text if it is that already.

    Escaped, as Python writes them: C0, DEL, C1, U+2028 and U+2029, marks that change the direction, surrogates.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def folded(text: str, room: int) -> list[str]:
    """A line in pieces of at most `room` octets, cut at spaces where there are some (RFC 5321 §4.5.3.1.5)."""
    pieces = []
    while len(octets := text.encode()) > room:
        piece = octets[:room].decode(errors="ignore")
        piece = piece[: piece.rfind(" ") + 1] or piece
        pieces.append(piece)
        text = text[len(piece) :]
    return [*pieces, text]


def printable_record(record: logging.LogRecord) -> bool:
    """A filter for loggers that lets all records pass, and makes printable what they say."""
    if isinstance(record.args, tuple):
        record.args = tuple(a if isinstance(a, int | float) else printable(str(a)) for a in record.args)
    if record.exc_info and not record.exc_text:
        import traceback

        lines = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n").split("\n")
        record.exc_text = "\n".join(f"  {printable(line)}" for line in lines)
    return True


class Log:
    """A logger; `logging`, a tenth of what a client would import, is loaded when there is something to log."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def _logger(self) -> logging.Logger:
        from logging import getLogger

        found = getLogger(self.name)
        found.addFilter(printable_record)
        return found

    def debug(self, text: str, *values: object, exc_info: Any = None) -> None:
        """What only somebody who looks for a fault wants to know."""
        if "logging" in modules:                # else nobody can have asked for it
            self._logger.debug(text, *values, exc_info=exc_info, stacklevel=2)     # the caller's line is the record's

    def info(self, text: str, *values: object) -> None:
        """What happens every day."""
        if "logging" in modules:
            self._logger.info(text, *values, stacklevel=2)

    def warning(self, text: str, *values: object) -> None:
        """What somebody should look at."""
        self._logger.warning(text, *values, stacklevel=2)

    def error(self, text: str, *values: object, exc_info: Any = None) -> None:
        """What went wrong."""
        self._logger.error(text, *values, exc_info=exc_info, stacklevel=2)

    def exception(self, text: str, *values: object) -> None:
        """What went wrong, with the traceback of the exception in hand."""
        self._logger.exception(text, *values, stacklevel=2)


def logger(name: str) -> Log:
    """The logger of that name; what strangers said stands in its records as `printable` writes it."""
    return Log(name)

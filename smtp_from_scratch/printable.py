"""What strangers said, made fit to be shown: on a terminal, in a log."""
from __future__ import annotations

import logging
import traceback

__all__ = ["logger", "printable"]


def printable(text: str) -> str:
    """A stranger's text in one line that a terminal shows and does not obey; the same text if it is that already.

    Escaped, as Python writes them: C0, DEL, C1, U+2028 and U+2029, marks that change the direction, surrogates.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_record(record: logging.LogRecord) -> bool:
    """A filter for loggers that lets all records pass, and makes printable what they say."""
    if isinstance(record.args, tuple):
        record.args = tuple(a if isinstance(a, int | float) else printable(str(a)) for a in record.args)
    if record.exc_info and not record.exc_text:
        lines = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n").split("\n")
        record.exc_text = "\n".join(f"  {printable(line)}" for line in lines)
    return True


def logger(name: str) -> logging.Logger:
    """The logger of that name; what strangers said stands in its records as `printable` writes it."""
    log = logging.getLogger(name)
    log.addFilter(printable_record)
    return log

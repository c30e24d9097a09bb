"""A server that only reads from a script: it says its next line, whatever it hears."""
from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any


def scripted(*lines: str) -> Generator[Any, Any, None]:
    """Say the first line as a greeting, and one more after each command; after 354, one after the lone dot.

    A line may hold CR LF: then it is a reply of several lines. When the script is over, it hangs up.
    """
    from smtp_from_scratch.conversation import Disconnected, Line  # lab loads no chapter

    with suppress(Disconnected):
        for number, line in enumerate(lines):
            if number and (yield Line(8192)) != b"." and lines[number - 1].startswith("3"):
                while (yield Line(8192)) != b".":
                    pass
            yield line.encode() + b"\r\n"

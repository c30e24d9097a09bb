"""Flights of one turn leave together: whoever has eight replies to read is woken once, not eight times."""
from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from .connection import Connection

__all__ = ["TOGETHER", "Flights", "Kept"]

TOGETHER = 32                                   # flights that leave one after the other


class Kept(Connection):
    """Mixed into a line that waits for nobody: what was said stays in its channel until it may set off."""

    unsent: bytes                               # what the line did not take at once
    gone: bool                                  # nobody is there

    def set_off(self) -> None:
        """Send what was said, after what has waited for room on the line. A layer that breaks ends this line alone."""
        channel = self.channel
        try:
            data = channel.output()
        except Exception as error:              # the conversation hears of it, as of one that breaks while it hears
            data, channel.over = b"", True
            channel.failure = error if isinstance(error, OSError) else ConnectionAbortedError(str(error))
        if self.unsent: data = self.unsent + data
        if data: self.send(data)

    def part(self, patience: float = 1.0) -> None:
        self.set_off()
        super().part(patience)  # type: ignore[misc]    # of that line


Line = TypeVar("Line", bound=Kept)


class Flights(Generic[Line]):
    """Lines that have something to say; `again` is called with each that is full then, or whose layer has ended."""

    def __init__(self, again: Callable[[Line], object]) -> None:
        self.again, self.lines = again, list[Line]()

    def leave(self) -> None:
        """All set off."""
        lines, self.lines = self.lines, []
        for line in lines:
            line.set_off()
            if (line.unsent or line.channel.over) and not line.gone:
                self.again(line)

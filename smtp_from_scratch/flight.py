"""Flights of one turn leave together: whoever has eight replies to read is woken once, not eight times."""
from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from .connection import Connection

__all__ = ["TOGETHER", "Flights", "Kept"]

TOGETHER = 32                                   # flights that leave one after the other


class Kept(Connection):
    """Mixed into a line that waits for nobody: it keeps a flight until it may set off. A second one takes it along."""

    unsent: bytes                               # what the line did not take at once
    flight = b""

    def send(self, data: bytes) -> None:
        if not self.flight:
            self.flight = data
        else:
            data, self.flight = self.flight + data, b""
            super().send(data)

    def set_off(self) -> None:
        """Send what has waited for the end of the turn, or for room on the line."""
        data, self.flight = self.unsent + self.flight, b""
        if data:
            super().send(data)

    def part(self, patience: float = 1.0) -> None:
        self.set_off()
        super().part(patience)  # type: ignore[misc]    # of that line


Line = TypeVar("Line", bound=Kept)


class Flights(Generic[Line]):
    """Those that have a flight; `full` is called with each whose line does not take all of it."""

    def __init__(self, full: Callable[[Line], object]) -> None:
        self.full, self.lines = full, list[Line]()

    def add(self, line: Line) -> None:
        """One more; they leave when there are many."""
        self.lines.append(line)
        if len(self.lines) >= TOGETHER:
            self.leave()

    def leave(self) -> None:
        """All set off."""
        lines, self.lines = self.lines, []
        for line in lines:
            line.set_off()
            if line.unsent:
                self.full(line)

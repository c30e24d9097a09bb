"""What stands in for `selectors.DefaultSelector`: it watches sockets in memory."""

from __future__ import annotations

import contextlib
import math
import selectors
from collections.abc import Mapping
from typing import Any, ClassVar

from smtp_from_scratch.memory.sockets import SOCKETS, Named
from smtp_from_scratch.memory.turns import NobodyLeft, Turns


class Selector(selectors.BaseSelector):
    """A selector of sockets in memory."""

    turns: ClassVar[Turns]

    def __init__(self) -> None:
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = number_of(fileobj)
        if number in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        self._keys[number] = key = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        number = number_of(fileobj)
        if number == -1:                       # closed already
            number = next((key.fd for key in self._keys.values() if key.fileobj is fileobj), -1)
        return self._keys.pop(number)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            with contextlib.suppress(NobodyLeft):
                self.turns.wait(self._ready, math.inf if timeout is None else self.turns.now() + timeout)
        return self._ready()

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        found = []
        for number, key in list(self._keys.items()):
            if mask := events_of(SOCKETS.get(number)) & key.events:
                found.append((key, mask))
        return found

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {key.fileobj: key for key in self._keys.values()}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[number_of(fileobj)]

    def close(self) -> None:
        self._keys.clear()


def number_of(fileobj: Any) -> int:
    """The number of a socket, or the number itself."""
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()


def events_of(sock: Named | None) -> int:
    """What could be done with a socket at once."""
    if sock is None:
        return 0
    writable = sock.calls is None and sock.writable()
    return selectors.EVENT_READ * sock.readable() | selectors.EVENT_WRITE * writable


def selector_class(turns: Turns) -> type[Selector]:
    """A class in place of `selectors.DefaultSelector`."""
    return type("selector", (Selector,), {"turns": turns})

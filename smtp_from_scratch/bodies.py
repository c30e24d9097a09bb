"""Where a body waits until it is delivered: in memory while there is room, then on disk."""
from __future__ import annotations

import threading
from io import BytesIO, IncrementalNewlineDecoder
from typing import IO

from .printable import logger
from .wire import Reply

__all__ = ["MEMORY", "SPOOL_IN_MEMORY", "Memory", "Newlines", "Spool"]

log = logger(__name__)


CR, LF = b"\r\n"                                        # numbers: bytes are searched for a number at once


class Newlines:
    """Watches a text that comes in pieces for a CR or an LF that stands alone (RFC 5321 §2.3.8)."""

    __slots__ = ("_decoder", "_half")

    def __init__(self) -> None:
        self._decoder = IncrementalNewlineDecoder(None, False)         # counts kinds of line ends, and is fast
        self._half = False                              # a CR came last

    def see(self, block: bytes, final: bool = False) -> None:
        """Look at the next piece; `final`: no other follows, and a CR at its end has no LF."""
        if self._half or LF in block or CR in block:                    # else there is nothing to count
            self._decoder.decode(block.decode("latin-1"), final)
            self._half = block.endswith(b"\r")

    @property
    def bare(self) -> bool:
        """Whether one was seen."""
        return self._decoder.newlines not in (None, "\r\n")


class Memory:
    """Octets that all bodies on their way in may keep in memory together; the rest goes to disk."""

    def __init__(self, octets: int = 67_108_864) -> None:
        self.free, self._lock = octets, threading.Lock()

    def take(self, octets: int) -> bool:
        """Whether there is room for so many more."""
        with self._lock:
            if octets > self.free:
                return False
            self.free -= octets
            return True

    def give_back(self, octets: int) -> None:
        """So many are free again."""
        with self._lock:
            self.free += octets


MEMORY = Memory()                                       # of this process
SPOOL_IN_MEMORY = 1_048_576                             # octets of one body kept in memory, the rest on disk


def file_on_disk() -> IO[bytes]:
    """A file without a name; `tempfile` brings much along, and few bodies are so large."""
    from tempfile import TemporaryFile

    return TemporaryFile()


class Spool:
    """A body on its way in: counted, its line ends checked; in memory as long as there is room, then on disk.

    `limit`: octets that it may have. `fault` is the reply that is due at its end because something is wrong with it;
    from then on nothing is kept.
    """

    def __init__(self, limit: int | None, memory: Memory, binary: bool = False) -> None:
        self.limit, self.memory, self.binary, self.octets = limit, memory, binary, 0
        self.fault: Reply | None = None
        self.file: IO[bytes] = BytesIO()                # SpooledTemporaryFile would cost a short body dear
        self._in_memory, self._on_disk = 0, False
        self._newlines = Newlines()

    def add(self, block: bytes) -> None:
        """Take in some octets; beyond the limit they are only counted (RFC 5321 §4.5.3.1.9)."""
        self.octets += len(block)
        if not self.binary:
            self._newlines.see(block)
        if self.limit is not None and self.octets > self.limit:
            self.fault = self.fault or Reply(552, f"a message may have {self.limit} octets", "5.3.4")
        if self.fault is None:
            try:
                self._make_room(len(block))
                self.file.write(block)
            except OSError:
                log.exception("no room for a message")
                self.fault = Reply(452, "no room for the message now; please try again later", "4.3.1")

    def _make_room(self, octets: int) -> None:
        if self._on_disk:
            return
        self._on_disk = self._in_memory + octets > SPOOL_IN_MEMORY or not self.memory.take(octets)
        if self._on_disk:
            before, self.file = self.file, file_on_disk()
            assert isinstance(before, BytesIO)
            with before.getbuffer() as kept:            # `read` would copy it
                self.file.write(kept)
            self._give_back()
        else:
            self._in_memory += octets

    def _give_back(self) -> None:
        self.memory.give_back(self._in_memory)
        self._in_memory = 0

    def finish(self) -> Reply | None:
        """What is wrong with the whole body, or None: a CR or an LF that stands alone comes first (RFC 5321 §2.3.8)."""
        self._newlines.see(b"", final=True)
        if self._newlines.bare:
            return Reply(554, "a CR or an LF stands alone in the message; lines end with CR LF", "5.6.0")
        return self.fault

    def close(self) -> None:
        """Drop it."""
        self._give_back()
        try:
            self.file.close()
        except OSError:
            pass                                        # a full disk complains once more here

"""What a POP3 server has at its desk: rows for its table of verbs, refusals, claims on folders, the top of a letter."""
from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from .passwords import Users, sure
from .printable import logger
from .sasl import AuthError, name_of
from .together import sync_folder
from .wire import CRLF

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:                            # Windows, a browser: the claims of one process hold, those of two do not
    flock = None  # type: ignore[assignment]

__all__ = ["BLOCK", "Claim", "Handler", "Refused", "Row", "blocks_of", "discard", "proves", "top"]

BLOCK = 65_536                                 # octets that are read at a time

log = logger(__name__)
_guard = threading.Lock()
_claimed: set[str] = set()                     # the folders that sessions of this process have


class Refused(Exception):
    """What a session answers with `-ERR`; its text is for the client."""


Handler = Callable[..., "str | Generator[Any, Any, str | None]"]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row of a table of verbs: who answers, from which state to which it leads, and how it is said.

    `usage` is `"TOP number lines"`; what stands in brackets may be left out. A handler takes the session and these
    words. It returns the text after `+OK`, or a conversation that does, or that has said all itself and returns None.
    """

    handler: Handler
    moves: Mapping[str, str]
    usage: str

    def words(self, rest: str) -> list[str]:
        """What follows the verb, word by word, the last one with all the spaces in it; Refused if it does not fit."""
        due = self.usage.split()[1:]
        words = rest.split(" ", max(0, len(due) - 1)) if rest else []
        if not sum("[" not in word for word in due) <= len(words) <= len(due):
            raise Refused(f"say {self.usage}")
        return words


class Claim:
    """A folder for one session at a time. `take` and `give_back` may be called by different threads.

    The system locks the folder itself: no file is left behind, and with the process the lock is gone.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self._descriptor = -1
        self._ours = self._over = False

    def take(self) -> None:
        """Claim the folder; Refused when another session has it, or when this claim was given back already."""
        with _guard:
            if self._over or self.folder in _claimed:
                raise Refused("[IN-USE] another session has this maildrop")        # RFC 2449 §8.1.1
            self._lock()
            _claimed.add(self.folder)
            self._ours = True

    def _lock(self) -> None:
        if flock is None or not os.path.isdir(self.folder):
            return                              # no letter has ever come: nothing that others could take
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Refused("[IN-USE] another program has this maildrop") from None
        except OSError:                         # a file system without such locks
            os.close(descriptor)
            return
        self._descriptor = descriptor

    def give_back(self) -> None:
        """Let others have it; a `take` that is under way in another thread comes to nothing."""
        with _guard:
            self._over = True
            if self._ours:
                self._ours = False
                _claimed.discard(self.folder)
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(self._descriptor)
                self._descriptor = -1


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    """A file in blocks, with each LF a CR LF: `normalize` does it, too, and takes five times as long for such lines."""
    held = b""                                  # a CR at the end of a block: half a line end?
    while block := file.read(BLOCK):
        if b"\r" in block or held:
            block = held + block
            held = block[-1:] if block.endswith(b"\r") else b""
            block = block[: len(block) - len(held)].replace(CRLF, b"\n")
        yield block.replace(b"\n", CRLF)
    yield held


def top(file: IO[bytes], lines: int) -> Iterator[bytes]:
    """The header, the empty line, and so many lines of the body, in blocks (RFC 1939 §7)."""
    whole, left, block = True, -1, bytearray()         # at a line's start; lines still due, -1 within the header
    while left and (piece := file.readline(BLOCK)):
        block += piece
        if left < 0:
            left = lines if whole and piece in (b"\n", b"\r\n") else -1
        elif piece.endswith(b"\n"):
            left -= 1
        whole = piece.endswith(b"\n")
        if len(block) >= BLOCK:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def proves(users: Users, name: str, password: str) -> bool:
    """Whether this is the password of that user; it may take a while."""
    try:
        return bool(password) and sure(users.verify(name_of(name), password))      # "" opens some stores
    except AuthError:                          # nobody can be called so
        return False


def discard(paths: Iterable[str]) -> int:
    """Remove files, and return when the disk has forgotten their names; how many could not be removed."""
    left, folders = 0, set[str]()
    for path in paths:
        folders.add(os.path.dirname(path))
        try:
            os.unlink(path)
        except FileNotFoundError:               # another program was faster
            pass
        except OSError as error:
            log.error("%s cannot be removed: %s", path, error)
            left += 1
    for folder in sorted(folders):
        sync_folder(folder)
    return left

"""The file in which a queue keeps its messages: two tables of SQLite, for the eyes of their owner alone."""
from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from .bodies import MEMORY, Spool
from .envelope import Envelope
from .stream import BLOCK
from .together import sync_folder

__all__ = ["Entry", "Ledger", "entry_of", "open_file"]

OURS = 5321                                     # by this number SQLite's file says whose it is
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "journal_size_limit = 10000000")
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, came REAL NOT NULL, due REAL NOT NULL, held REAL NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0, envelope TEXT NOT NULL, last TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS body (
    id INTEGER PRIMARY KEY REFERENCES message ON DELETE CASCADE, octets BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_due ON message (due);
PRAGMA application_id = {OURS};
COMMIT;
"""
_CREATING = threading.Lock()                    # to close a file lets go of the locks that this process has on it


class Entry(NamedTuple):
    """A message in the queue. Times are seconds since 1970."""

    id: int
    came: float
    due: float                                  # for its next attempt
    held: float                                 # until when somebody tries it; 0: nobody does
    told: bool                                  # its sender has heard that it is late
    envelope: Envelope                          # the recipients are those who still wait
    last: str                                   # what the latest attempt heard


def entry_of(row: tuple[Any, ...]) -> Entry:
    """A row of the table `message`."""
    number, came, due, held, told, envelope, last = row
    return Entry(number, came, due, held, bool(told), Envelope(**json.loads(envelope)), last)


def open_file(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """A queue's file, made where there is none. OSError, sqlite3.Error; ValueError for what is somebody else's."""
    with suppress(FileExistsError), _CREATING:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        sync_folder(Path(path).absolute().parent)
    db = sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    try:
        [whose], [tables] = db.execute("PRAGMA application_id").fetchone(), db.execute(
            "SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and whose != OURS:
            raise ValueError(f"{os.fspath(path)} is a database, and not one of a queue: name another file")
        for pragma in PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        if whose != OURS:
            db.executescript(SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


class Ledger:
    """The file, and what may be done with it at any time; one thread of a process at a time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.db, self.lock, self.news = open_file(path), threading.Lock(), threading.Event()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done within is kept by one commit, or nothing of it is."""
        with self.lock, self.db:
            yield self.db

    def parts(self, envelope: Envelope) -> list[Envelope]:
        """The envelopes by which a message is kept, each on its own way from here on: one, or what a subclass says."""
        return [envelope]

    def entries(self) -> list[Entry]:
        """What waits, the oldest first."""
        with self.lock:
            return [entry_of(row) for row in self.db.execute("SELECT * FROM message ORDER BY id")]

    def body(self, number: int) -> Spool:
        """A copy of a message's octets, in memory or on disk; the file is nobody's meanwhile. KeyError, OSError."""
        spool = Spool(None, MEMORY, binary=True)
        with self.lock:
            try:
                blob = self.db.blobopen("body", "octets", number, readonly=True)
            except sqlite3.OperationalError:    # no such row
                raise KeyError(number) from None
            with blob:
                while block := blob.read(BLOCK):
                    spool.add(block)
        if spool.fault:                         # half a message is none
            spool.close()
            raise OSError(spool.fault.text)
        spool.file.seek(0)
        return spool

    def next_due(self) -> float:
        """When somebody may take the next message; infinity when nothing waits."""
        with self.lock:
            [due] = self.db.execute("SELECT min(max(due, held)) FROM message").fetchone()
        return float("inf") if due is None else due

    def hurry(self, number: int | None = None) -> int:
        """Make one message due at once, or all; returns how many that were."""
        with self.transaction() as db:
            done = db.execute("UPDATE message SET due = 0 WHERE id = coalesce(?, id)", (number,))
        self.news.set()
        return done.rowcount

    def drop(self, number: int) -> int:
        """Forget a message: nobody gets it, and nobody is told; returns how many that were."""
        with self.transaction() as db:
            return db.execute("DELETE FROM message WHERE id = ?", (number,)).rowcount

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.db.close()

"""The file in which a queue keeps its messages: two tables of SQLite, for the eyes of their owner alone."""
from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .bodies import MEMORY, Spool
from .envelope import Envelope
from .lease import Keeper, Lease
from .printable import logger, printable
from .stream import BLOCK
from .together import sync_folder

__all__ = ["Aside", "Entry", "Ledger", "Missing", "Unreadable", "entry_of", "open_file"]

log = logger(__name__)

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
ASIDE = float("inf")                            # held until then: nobody tries it
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


class Aside(NamedTuple):
    """A message that nobody tries, because its row cannot be read; nothing of it is lost."""

    id: int
    came: float
    why: str


class Unreadable(ValueError):
    """A row of the table `message` that is none to us: damaged, or of a newer version."""

    def __init__(self, number: int, came: float, why: str) -> None:
        super().__init__(f"message {number}: {why}")
        self.aside = Aside(number, came, why)


class Missing(KeyError):
    """No message has this number."""


def entry_of(row: tuple[Any, ...]) -> Entry:
    """A row of the table `message`; raises Unreadable."""
    number, came, due, held, told, envelope, last = row[:7]        # a newer version may have added columns
    try:
        if not all(isinstance(when, float | int) for when in (came, due, held)):
            raise TypeError("a time is no number")
        return Entry(number, came, due, held, bool(told), envelope_in(envelope), str(last))
    except Exception as error:                 # RecursionError is one of many
        why = printable(f"its row cannot be read: {type(error).__name__}: {error}")[:300]
        raise Unreadable(number, came if isinstance(came, float | int) else 0.0, why) from None


def entry_or_aside(row: tuple[Any, ...]) -> Entry | Aside:
    """A row, whether it can be read or not."""
    try:
        return entry_of(row)
    except Unreadable as error:
        return error.aside


def envelope_in(text: str) -> Envelope:
    """An envelope, out of JSON. Errors of many kinds for what is none."""
    text.encode()                              # what was not UTF-8 is noticed here
    envelope = Envelope(**json.loads(text))
    for field in fields(Envelope):
        if type(getattr(envelope, field.name)) is not type(getattr(Envelope(), field.name)):
            raise TypeError(f"{field.name} is {getattr(envelope, field.name)!r:.100}")
    if not envelope.recipients or not all(isinstance(address, str) for address in envelope.recipients):
        raise TypeError(f"recipients are {envelope.recipients!r:.100}")
    return envelope


def as_text(octets: bytes) -> str:
    """Text from the file, also from a damaged one."""
    return octets.decode("utf-8", "surrogateescape")


def open_file(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """A queue's file, made where there is none. OSError, sqlite3.Error; ValueError for what is somebody else's."""
    with suppress(FileExistsError), _CREATING:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        sync_folder(Path(path).absolute().parent)
    db = sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    db.text_factory = as_text
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


class Book:
    """The file, and what is in it; one thread of a process at a time."""

    clock: Callable[[], float] = staticmethod(time.time)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.db, self.lock, self.news = open_file(path), threading.Lock(), threading.Event()
        self.keeper = Keeper[Entry]()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done within is kept by one commit, or nothing of it is."""
        with self.lock, self.db:
            yield self.db

    def rows(self) -> list[Entry | Aside]:
        """All messages, the oldest first: what waits, and what cannot be read."""
        with self.lock:
            found = self.db.execute("SELECT * FROM message ORDER BY id").fetchall()
        return [entry_or_aside(row) for row in found]

    def entries(self) -> list[Entry]:
        """What waits, the oldest first."""
        return [row for row in self.rows() if isinstance(row, Entry)]

    def body(self, number: int) -> Spool:
        """A copy of a message's octets, in memory or on disk; the file is nobody's meanwhile. Missing, OSError."""
        spool = Spool(None, MEMORY, binary=True)
        with self.lock:
            try:
                blob = self.db.blobopen("body", "octets", number, readonly=True)
            except sqlite3.OperationalError:    # no such row
                raise Missing(number) from None
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
            [due] = self.db.execute("SELECT min(max(due, held)) FROM message "
                                    "WHERE typeof(due) = 'real' AND typeof(held) = 'real'").fetchone()
        return float("inf") if due is None else due

    def close(self) -> None:
        """Close the file."""
        self.keeper.over.set()
        with self.lock:
            self.db.close()


class Taken(Book):
    """What is taken out of the file for an attempt."""

    hurried: Callable[[float], object] = staticmethod(float)       # is told when somebody asked for what is taken now

    def next(self, take: Callable[[sqlite3.Connection, float], Entry | None], now: float) -> Entry | None:
        """What `take` takes, in one commit; what cannot be read is set aside, and the next one is taken."""
        while True:
            try:
                with self.transaction() as db:
                    entry = take(db, now)
            except Unreadable as error:
                self.set_aside(error.aside.id, error.aside.why)
            else:
                if entry and entry.due < 0:
                    self.hurried(-entry.due)
                return entry

    def set_aside(self, number: int, why: str) -> None:
        """Let nobody try a message until its owner says so; a line in the log says why."""
        with self.transaction() as db:
            done = db.execute("UPDATE message SET held = ?, last = ? WHERE id = ?", (ASIDE, why, number))
        if done.rowcount:
            log.error("message %d is set aside: %s", number, why)

    @contextmanager
    def holding(self, entry: Entry, seconds: float) -> Iterator[Lease[Entry]]:
        """Renew the lease of what was taken, as long as the block runs. If its octets are gone, it is set aside."""
        lease = Lease(entry, partial(self.extend, seconds), f"message {entry.id}")
        if sys.platform != "emscripten":        # a browser: nobody else has the file
            self.keeper.begin(lease, seconds)
        try:
            yield lease
        except (Missing, sqlite3.DatabaseError) as error:
            damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
            if not (damaged or isinstance(error, Missing)):
                raise
            why = "there are none" if isinstance(error, Missing) else str(error)
            self.set_aside(entry.id, f"its octets cannot be read: {why}")
        finally:
            self.keeper.end(lease)

    def extend(self, seconds: float, entry: Entry) -> Entry | None:
        """Hold an entry for so many seconds from now; None if it is not ours any more."""
        until = self.clock() + seconds
        with self.transaction() as db:
            done = db.execute("UPDATE message SET held = ? WHERE id = ? AND held = ?", (until, entry.id, entry.held))
        return entry._replace(held=until) if done.rowcount else None


class Ledger(Taken):
    """The file, and what may be done with it at any time."""

    def parts(self, envelope: Envelope) -> list[Envelope]:
        """The envelopes by which a message is kept, each on its own way from here on: one, or what a subclass says."""
        return [envelope]

    def hurry(self, number: int | None = None) -> int:
        """Make one message due at once, or all, also what was set aside; returns how many that were.

        `due` is below 0 then: it says when that was asked for.
        """
        with self.transaction() as db:
            done = db.execute("UPDATE message SET due = ?, held = CASE held WHEN ? THEN 0 ELSE held END "
                              "WHERE id = coalesce(?, id)", (-self.clock(), ASIDE, number))
        self.news.set()
        return done.rowcount

    def drop(self, number: int) -> int:
        """Forget a message: nobody gets it, and nobody is told; returns how many that were."""
        with self.transaction() as db:
            return db.execute("DELETE FROM message WHERE id = ?", (number,)).rowcount

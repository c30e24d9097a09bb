"""A queue that outlives the process: what cannot leave now is tried again later (RFC 5321 §4.5.4, §6.1)."""
# Exported from notebooks/21_queue.ipynb; edit the notebook.

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from datetime import datetime
from io import BytesIO
from typing import IO, Any, Self

from .client import Receipt, SMTPException, SMTPNotSupportedError
from .envelope import Envelope
from .ledger import Entry, Ledger, entry_of
from .maildir import trace, unique_name
from .parts import HOPS, RETURN_LIMIT, hops
from .printable import logger
from .report import action_of, build_report, one_line
from .rules import BROKEN, Deliver, reply_for_each
from .stream import BLOCK
from .wire import Reply

__all__ = [
    "insert", "HALF_HOUR", "HOUR", "DAY", "LIFETIME", "LATE", "wait", "LEASE", "take", "sort_out", "UNKNOWN",
    "replies_of", "Relayed", "forward", "Queue", "ask", "attempt_one", "POLL", "Runner",
]


# %% module
log = logger(__name__)


# %% insert
def insert(db: sqlite3.Connection, envelope: Envelope, head: bytes, body: IO[bytes], now: float) -> int:
    """Add a message to the transaction in hand, and return its number; whoever calls this commits."""
    row = (now, now, json.dumps(asdict(envelope)))
    number = db.execute("INSERT INTO message (came, due, envelope) VALUES (?, ?, ?)", row).lastrowid or 0
    size = len(head) + body.seek(0, os.SEEK_END)
    db.execute("INSERT INTO body VALUES (?, zeroblob(?))", (number, size))
    body.seek(0)
    with db.blobopen("body", "octets", number) as blob:
        blob.write(head)
        while block := body.read(BLOCK):
            blob.write(block)
    return number


# %% wait
HALF_HOUR, HOUR, DAY = 1800.0, 3600.0, 86_400.0
LIFETIME, LATE = 5 * DAY, 4 * HOUR             # when we give up; when the sender is told of a delay


def wait(age: float) -> float:
    """Seconds until the next attempt, for a message that has waited so many (RFC 5321 §4.5.4.1)."""
    return min(max(age, HALF_HOUR), 3 * HOUR)


# %% take
LEASE = HOUR                                   # how long the note holds, unless it is renewed
_TAKE = """UPDATE message SET held = :until WHERE id = (
    SELECT id FROM message WHERE due <= :now AND held <= :now ORDER BY due, id LIMIT 1) RETURNING *"""


def take(db: sqlite3.Connection, now: float) -> Entry | None:
    """What has been due for longest, if anything is; for an hour nobody else gets it."""
    rows = db.execute(_TAKE, {"now": now, "until": now + LEASE}).fetchall()
    return entry_of(rows[0]) if rows else None


# %% sort-out
def sort_out(actions: Mapping[str, str], late: bool) -> tuple[list[str], list[str]]:
    """Who is tried again, and about whom the sender may be told something; a delay only when it is `late`."""
    waiting = [address for address, action in actions.items() if action == "delayed"]
    return waiting, [address for address, action in actions.items() if action and (action != "delayed" or late)]


# %% replies-of
UNKNOWN = Reply(451, "the line broke, and nobody knows whether the message arrived", "4.4.2")


def replies_of(receipt: Receipt, recipients: list[str]) -> dict[str, Reply]:
    """A reply for each recipient: what is unknown counts as not yet (RFC 5321 §4.5.4.1)."""
    has = receipt.accepted if receipt.done or receipt.unknown else []  # nobody, if DATA heard 250
    known = {a: reply for a, reply in receipt.recipients.items() if a in has or not reply.positive}
    return {address: known.get(address, UNKNOWN) for address in recipients}


# %% forward
class Relayed(dict[str, Reply]):
    """What another host said of each recipient. `success`: what 2yz means; empty, when that host reports it."""

    remote_mta, success = "", "relayed"


def forward(connect: Callable[[], Any], remote_mta: str = "") -> Deliver:
    """A `deliver` to the next host: `connect` returns a Client; whatever goes wrong on the way is a 4yz."""

    def deliver(envelope: Envelope, body: IO[bytes]) -> Relayed:
        result, receipt, otherwise = Relayed(), None, Reply(451, "no answer from the next host", "4.4.1")
        binary = (envelope.parameters.get("BODY") or "").upper() == "BINARYMIME"
        try:
            with connect() as client:
                result.remote_mta, otherwise = remote_mta, UNKNOWN
                result.success = "" if client.has_extn("DSN") else "relayed"
                receipt = client.transact(envelope, body, binary=binary)
        except (OSError, SMTPException, ValueError) as error:
            receipt = receipt or getattr(error, "receipt", None)
            if otherwise is UNKNOWN and isinstance(error, SMTPNotSupportedError | ValueError):
                code = "5.6.7" if "SMTPUTF8" in str(error) else "5.6.3"
                otherwise = Reply(554, one_line(str(error)), code)        # it needs what this host cannot do
                result.remote_mta = ""         # which has said nothing
            log.info("%s: %s", remote_mta or "the next host", one_line(str(error)))
        people = envelope.recipients
        result |= replies_of(receipt, people) if receipt else dict.fromkeys(people, otherwise)
        return result

    return deliver


# %% queue
class Queue(Ledger):
    """A `deliver` that keeps what another `deliver` will get later; `attempt` gives it whatever is due.

    `wait` and `lifetime` are the schedule, in seconds, `clock` says what time it is.
    """

    def __init__(self, path: str | os.PathLike[str], hostname: str = "", *, lifetime: float = LIFETIME,
                 wait: Callable[[float], float] = wait, clock: Callable[[], float] = time.time) -> None:
        super().__init__(path)
        self.hostname = hostname or socket.gethostname() or "localhost"
        self.clock, self.wait, self.lifetime = clock, wait, lifetime

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Reply:
        """Keep a message; 452: the disk is full; 554: it goes in circles; raises sqlite3.Error."""
        if hops(body.read(BLOCK)) > HOPS:
            return Reply(554, f"more than {HOPS} servers have had this message", "5.4.6")
        head = trace(envelope, self.hostname, unique_name(self.hostname)).partition(b"\r\n")[2]
        try:
            with self.transaction() as db:
                numbers = [insert(db, part, head, body, self.clock()) for part in self.parts(envelope)]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            return Reply(452, "the disk is full; please try again later", "4.3.1")
        self.news.set()
        return Reply(250, f"queued as {numbers[0]}")

    def attempt(self, deliver: Deliver) -> int:
        """One turn: whatever is due now is tried once; returns how many messages that were."""
        count, now = 0, self.clock()
        while attempt_one(self, deliver, now):
            count += 1
        return count


# %% strike-off
def strike_off(db: sqlite3.Connection, entry: Entry, waiting: list[str], due: float, told: bool,
               last: str) -> bool:
    """Note who still waits; False if we have held the message for too long, and somebody else has it."""
    if waiting:
        envelope = json.dumps(asdict(replace(entry.envelope, recipients=waiting)))
        done = db.execute("UPDATE message SET due = ?, held = 0, told = ?, envelope = ?, last = ? "
                          "WHERE id = ? AND held = ?", (due, told, envelope, last, entry.id, entry.held))
    else:
        done = db.execute("DELETE FROM message WHERE id = ? AND held = ?", (entry.id, entry.held))
    return done.rowcount == 1


# %% report-on
def report_on(entry: Entry, outcome: Any, news: Mapping[str, Reply], body: IO[bytes],
              **more: Any) -> bytes:
    """The report that the sender is owed, or nothing; that it cannot be written is logged, no more."""
    try:
        body.seek(0)
        report = build_report(entry.envelope, news, body.read(RETURN_LIMIT + 1), **more,
                              remote_mta=getattr(outcome, "remote_mta", ""))
        return report.as_bytes() if report else b""
    except Exception:
        log.exception("no report to <%s>", one_line(entry.envelope.sender))
        return b""


# %% settle
def settle(queue: Queue, entry: Entry, outcome: Mapping[str, Reply], body: IO[bytes]) -> None:
    """One commit for all that an attempt has changed: who still waits, until when, and reports."""
    now, sender, waiting, reports = queue.clock(), entry.envelope.sender, list[str](), list[bytes]()
    age = now - entry.came
    due = now + queue.wait(age)
    give_up, late = due - entry.came > queue.lifetime, age >= LATE and not entry.told
    for part in getattr(outcome, "parts", [outcome]):          # one for each host that spoke
        success = getattr(part, "success", "delivered")
        again, told = sort_out({a: action_of(reply, success, give_up) for a, reply in part.items()}, late)
        waiting += again
        reports.append(report_on(entry, part, {a: part[a] for a in told}, body, reporting_mta=queue.hostname,
                                 success=success or "delivered", give_up=give_up,
                                 now=datetime.fromtimestamp(now).astimezone()))
    last = str(outcome[waiting[-1]]) if waiting else ""
    with queue.transaction() as db:
        if strike_off(db, entry, waiting, due, entry.told or late, last):
            about = Envelope("", [sender], options={sender: {"NOTIFY": "NEVER"}})
            for report in filter(None, reports): insert(db, about, report, BytesIO(), now)


# %% attempt
def ask(deliver: Deliver, envelope: Envelope, body: IO[bytes]) -> Mapping[str, Reply]:
    """What `deliver` says of each recipient; 451 when it breaks."""
    try:
        outcome = deliver(replace(envelope, recipients=[*envelope.recipients]), body)
        replies = reply_for_each(envelope.recipients, outcome)
        if not isinstance(outcome, Relayed):
            return replies
        outcome.update(replies)
        return outcome                         # and who said it
    except Exception:
        log.exception("%s: an attempt failed", envelope.peer)
        return dict.fromkeys(envelope.recipients, BROKEN)


def attempt_one(queue: Queue, deliver: Deliver, now: float) -> bool:
    """Try what has been due for longest; False when nothing is."""
    entry = queue.next(take, now)
    if entry:
        with queue.holding(entry, LEASE) as lease, closing(queue.body(entry.id)) as spool:
            outcome = ask(deliver, entry.envelope, spool.file)
            settle(queue, lease.end(), outcome, spool.file)
    return entry is not None


# %% runner
POLL = 5.0                                     # seconds: then we look for what others have queued


class Runner:
    """Threads that give a queue's messages to `deliver` whenever they are due, until they are stopped."""

    def __init__(self, queue: Queue, deliver: Deliver, count: int = 1) -> None:
        self.queue, self.deliver, self.over = queue, deliver, threading.Event()
        self.threads = [threading.Thread(target=self.run, name="queue", daemon=True) for _ in range(count)]

    def run(self) -> None:
        """Take turns."""
        while not self.over.is_set():
            self.queue.news.clear()
            try:
                while not self.over.is_set():
                    if not attempt_one(self.queue, self.deliver, self.queue.clock()):
                        self.queue.news.wait(min(POLL, max(0.0, self.queue.next_due() - self.queue.clock())))
                        break
            except Exception:                  # a full disk, say: nothing is lost, and we look again
                log.exception("a turn failed")
                self.over.wait(POLL)

    def stop(self, grace: float = 10.0) -> None:
        """Finish the attempts in hand; one that takes more than `grace` seconds will be made again."""
        self.over.set()
        self.queue.news.set()
        until = time.monotonic() + grace
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))

    def __enter__(self) -> Self:
        for thread in self.threads: thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

"""The queue keeps what it has promised: over restarts and kills, a full disk, two runners; and somebody is told."""
from __future__ import annotations

import io
import json
import logging
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pytest

from smtp_from_scratch import Client, Envelope, Maildir, Queue, Reply, Server, Submission
from smtp_from_scratch import queue as module
from smtp_from_scratch.dsn import request
from smtp_from_scratch.ledger import Aside, Ledger, open_file
from smtp_from_scratch.queue import DAY, HOUR, LATE, LEASE, LIFETIME, Relayed, Runner, attempt_one, forward, wait
from smtp_from_scratch.report import DeliveryReport, parse_report
from tests import keeping

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes, nor SIGKILL")
ANA, YUI, KENJI, LI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example", "li@beijing.example"
LETTER = b"From: ana@rio.example\r\nSubject: Choir\r\n\r\nSaturday.\r\n"
NOT_NOW, NEVER = Reply(451, "not now", "4.3.2"), Reply(550, "nobody of that name", "5.1.1")


class Clock:
    """A clock that somebody sets."""

    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[Queue]:
    with closing(Queue(tmp_path / "queue", "relay.rio.example", clock=clock)) as found:
        yield found


def put(queue: Queue, *recipients: str, sender: str = ANA, octets: bytes = LETTER, **wishes: Any) -> Envelope:
    """Queue a letter; 250 is asserted."""
    envelope = request(Envelope(sender, list(recipients or (YUI,)), "laptop.rio.example", "192.0.2.7"), **wishes)
    assert queue(envelope, io.BytesIO(octets)).code == 250
    return envelope


class Next:
    """A next server that answers by address, and keeps what it has seen; reports to senders are read."""

    def __init__(self, clock: Clock, outcome: Callable[[str], Reply], **about: Any) -> None:
        self.clock, self.outcome, self.about = clock, outcome, about
        self.seen: list[tuple[float, Envelope, bytes]] = []
        self.reports: list[tuple[float, DeliveryReport]] = []

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Relayed:
        octets = body.read()
        if not envelope.sender and envelope.recipients == [ANA]:
            self.reports.append((self.clock.now, parse_report(octets)))
            return Relayed({ANA: Reply(250)})
        self.seen.append((self.clock.now, envelope, octets))
        said = Relayed((address, self.outcome(address)) for address in envelope.recipients)
        vars(said).update(self.about)
        return said

    @property
    def told(self) -> list[tuple[str, str]]:
        """Recipient and action, in the order in which Ana heard of them."""
        return [(about.recipient, about.action) for _, report in self.reports for about in report.recipients]


def until_empty(queue: Queue, clock: Clock, deliver: Any) -> float:
    """Turn after turn, each when something is due; returns the hours that it took."""
    begun = clock.now
    while queue.entries():
        clock.now = max(clock.now, queue.next_due())
        assert queue.attempt(deliver) > 0
    return (clock.now - begun) / HOUR


# --- the schedule ----------------------------------------------------------------------------------------------------


def test_the_schedule_is_that_of_the_rfc() -> None:
    """RFC 5321 §4.5.4.1: 30 minutes at least, two attempts in the first hour, then one every two or three hours."""
    ages = [0.0]
    while ages[-1] < 5 * DAY:
        ages.append(ages[-1] + wait(ages[-1]))
    gaps = [after - before for before, after in zip(ages, ages[1:], strict=False)]
    assert min(gaps) >= 1800 and gaps == sorted(gaps)
    assert sum(age < HOUR for age in ages) == 2 and set(gaps[5:]) <= {3 * HOUR}
    assert wait(-5.0) == 1800                  # the clock was set back


def test_a_letter_is_tried_for_more_than_four_days_and_then_given_up(queue: Queue, clock: Clock) -> None:
    put(queue, YUI)
    tokyo = Next(clock, lambda address: NOT_NOW)
    hours = until_empty(queue, clock, tokyo)
    assert 4 * 24 < hours <= LIFETIME / HOUR and len(tokyo.seen) < 50
    assert tokyo.told == [(YUI, "delayed"), (YUI, "failed")]
    (late, delayed), (_, failed) = tokyo.reports
    assert LATE <= late - 1_000_000_000.0 < LATE + 3 * HOUR
    assert delayed.recipients[0].status == failed.recipients[0].status == "4.3.2"


def test_the_schedule_is_the_owners(tmp_path: Path, clock: Clock) -> None:
    queue = Queue(tmp_path / "q", "relay", clock=clock, wait=lambda age: 60.0, lifetime=600.0)
    put(queue, YUI)
    tokyo = Next(clock, lambda address: NOT_NOW)
    assert until_empty(queue, clock, tokyo) == 600 / HOUR and len(tokyo.seen) == 11
    assert tokyo.told == [(YUI, "failed")]
    queue.close()


def test_nothing_is_tried_before_it_is_due(queue: Queue, clock: Clock) -> None:
    put(queue, YUI)
    tokyo = Next(clock, lambda address: NOT_NOW)
    assert [queue.attempt(tokyo) for _ in range(3)] == [1, 0, 0]
    clock.now += 1799
    assert queue.attempt(tokyo) == 0
    clock.now += 1
    assert queue.attempt(tokyo) == 1 and queue.hurry() == 1 and queue.attempt(tokyo) == 1


# --- what a reply means ----------------------------------------------------------------------------------------------


def test_each_recipient_has_a_fate_of_its_own(queue: Queue, clock: Clock) -> None:
    put(queue, YUI, KENJI, LI)
    fates = {YUI: Reply(250), KENJI: NOT_NOW, LI: NEVER}
    tokyo = Next(clock, fates.__getitem__)
    queue.attempt(tokyo)
    [entry] = queue.entries()
    assert entry.envelope.recipients == [KENJI] and entry.last == str(NOT_NOW) and tokyo.told == [(LI, "failed")]
    fates[KENJI] = Reply(250)
    until_empty(queue, clock, tokyo)
    assert [envelope.recipients for _, envelope, _ in tokyo.seen] == [[YUI, KENJI, LI], [KENJI]]
    assert tokyo.told == [(LI, "failed")]


@pytest.mark.parametrize("notify, told", [
    ("", [(YUI, "delayed"), (YUI, "failed")]), ("NEVER", []), ("FAILURE", [(YUI, "failed")]),
    ("DELAY", [(YUI, "delayed")]), ("SUCCESS", []), ("FAILURE,DELAY", [(YUI, "delayed"), (YUI, "failed")])])
def test_a_sender_is_told_what_it_asked_for(queue: Queue, clock: Clock, notify: str, told: list[Any]) -> None:
    put(queue, YUI, notify=notify)
    tokyo = Next(clock, lambda address: NOT_NOW)
    until_empty(queue, clock, tokyo)
    assert tokyo.told == told


@pytest.mark.parametrize("success, told", [("relayed", [(YUI, "relayed")]), ("", []),
                                           ("delivered", [(YUI, "delivered")])])
def test_success_is_reported_by_whoever_knows_of_it(queue: Queue, clock: Clock, success: str, told: list[Any]) -> None:
    """RFC 3461 §5.2.2: a host that does not know DSN will never report; one that does, will."""
    put(queue, YUI, notify="SUCCESS", envid="choir, 14 June", orcpt={YUI: YUI})
    tokyo = Next(clock, lambda address: Reply(250), success=success, remote_mta="mx.tokyo.example")
    until_empty(queue, clock, tokyo)
    assert tokyo.told == told
    for _, report in tokyo.reports:
        assert report.envelope_id == "choir, 14 June" and report.recipients[0].remote_mta == "mx.tokyo.example"


def test_into_a_maildir_success_is_delivered(queue: Queue, clock: Clock, tmp_path: Path) -> None:
    put(queue, YUI, notify="SUCCESS")
    ours, tokyo = Maildir(tmp_path / "mail", "tokyo.example"), Next(clock, lambda address: Reply(250))
    queue.attempt(lambda envelope, body: (ours if envelope.sender else tokyo)(envelope, body))
    assert tokyo.told == [(YUI, "delivered")] and len(list(tmp_path.glob("mail/*/new/*"))) == 1


def test_a_report_says_what_the_other_server_said(queue: Queue, clock: Clock) -> None:
    put(queue, YUI, ret="FULL", envid="QQ314159")
    tokyo = Next(clock, lambda address: NEVER, remote_mta="mx.tokyo.example")
    queue.attempt(tokyo)
    [(_, report)] = tokyo.reports
    [about] = report.recipients
    assert (about.remote_mta, about.diagnostic) == ("mx.tokyo.example", "smtp; 550 5.1.1 nobody of that name"[6:])
    assert report.returned is not None and "Saturday." in str(report.returned) and not queue.entries()


def test_nobody_is_told_of_a_report(queue: Queue, clock: Clock) -> None:
    """RFC 5321 §6.1: also when it is a report of ours that cannot be sent."""
    put(queue, YUI, sender="", notify="FAILURE")
    put(queue, YUI, sender="ghost@gone.example")
    tokyo = Next(clock, lambda address: NEVER)
    assert queue.attempt(tokyo) == 3 and not queue.entries() and tokyo.told == []
    assert tokyo.seen[-1][1].sender == "" and tokyo.seen[-1][1].recipients == ["ghost@gone.example"]


@pytest.mark.parametrize("broken", [lambda *_: 1 / 0, lambda *_: "yes", lambda *_: {}, lambda *_: {YUI: "250"}])
def test_a_next_server_that_breaks_is_tried_again(queue: Queue, clock: Clock, broken: Any,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    put(queue, YUI)
    caplog.set_level(logging.CRITICAL + 1, "smtp_from_scratch")
    assert queue.attempt(broken) == 1
    [entry] = queue.entries()
    assert entry.last.startswith("451") and entry.due == clock.now + 1800 and entry.held == 0


def test_a_report_that_cannot_be_written_stops_nothing(queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    """Or the letter would be sent again, and again."""
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("a header of the worst kind")

    monkeypatch.setattr(module, "build_report", broken)
    put(queue, YUI, KENJI)
    tokyo = Next(clock, lambda address: NEVER if address == YUI else Reply(250))
    assert queue.attempt(tokyo) == 1 and not queue.entries() and "no report" in caplog.text


def test_a_deliver_that_changes_the_envelope_changes_nothing_here(queue: Queue, clock: Clock) -> None:
    put(queue, YUI, KENJI)

    def greedy(envelope: Envelope, body: IO[bytes]) -> Reply:
        envelope.recipients.clear()
        return NOT_NOW

    queue.attempt(greedy)
    assert queue.entries()[0].envelope.recipients == [YUI, KENJI]


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_all_of_the_envelope_outlives_the_process(tmp_path: Path) -> None:
    envelope = request(Envelope("josé@rio.example", ["ユイ@tokyo.example", "a\udce9@x.example"], hello="[192.0.2.7]",
                                peer="192.0.2.7", protocol="ESMTPSA", parameters={"SMTPUTF8": None, "SIZE": "5"},
                                user="josé"), notify="DELAY", envid="x")
    with closing(Queue(tmp_path / "it's \"a\" queue", "relay")) as queue:
        assert queue(envelope, io.BytesIO(LETTER)).code == 250
    with closing(Queue(tmp_path / "it's \"a\" queue", "relay")) as queue:
        [entry] = queue.entries()
        assert entry.envelope == envelope
        octets = queue.body(entry.id).file.read()
    assert octets.endswith(LETTER)
    assert octets.startswith(b"Received: from [192.0.2.7] ([192.0.2.7])\r\n\tby relay with ESMTPSA")
    assert b"Return-Path" not in octets        # a relay adds none (RFC 5321 §4.4)


@pytest.mark.parametrize("octets", [b"", b"\r\n", bytes(range(256)) * 2000, b"x" * 262_144, b"x" * 262_143])
def test_octets_stay_as_they_are(queue: Queue, octets: bytes) -> None:
    put(queue, YUI, octets=octets)
    assert queue.body(1).file.read().partition(b"\r\n\t")[2].endswith(octets)
    seen = list[bytes]()
    queue.attempt(lambda envelope, body: seen.append(body.read()))
    assert seen[0].split(b"+0000\r\n", 1)[-1].endswith(octets)


@posix
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_files_are_for_their_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        queue = Queue(tmp_path / "queue")
        put(queue)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    queue.close()


def test_a_large_letter_is_never_whole_in_memory(tmp_path: Path) -> None:
    size = 100_000_000
    (tmp_path / "letter").write_bytes(b"")
    os.truncate(tmp_path / "letter", size)
    sizes = list[int]()

    def count(envelope: Envelope, body: IO[bytes]) -> None:
        sizes.append(sum(len(block) for block in iter(lambda: body.read(262_144), b"")))

    with closing(Queue(tmp_path / "queue", "relay")) as queue, open(tmp_path / "letter", "rb") as body:
        tracemalloc.start()
        try:
            assert queue(Envelope(ANA, [YUI]), body).code == 250
            queue.attempt(count)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert size < sizes[0] < size + 1000 and most < 5_000_000


@posix
def test_sqlite_takes_little_memory_for_a_large_letter_too(tmp_path: Path) -> None:
    """`tracemalloc` sees only what Python takes."""
    code = ("import io, os, resource, sys\nfrom smtp_from_scratch import Envelope, Queue\n"
            "queue, size = Queue(sys.argv[1]), 60_000_000\n"
            "file = open(sys.argv[2], 'w+b'); file.truncate(size)\n"
            "def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "queue(Envelope('a@b.example', ['c@d.example']), io.BytesIO(b'x' * 1000))\n"
            "queue.attempt(lambda e, b: None)\n"
            "before = most()\nassert queue(Envelope('a@b.example', ['c@d.example']), file).code == 250\n"
            "queue.attempt(lambda e, b: sum(len(x) for x in iter(lambda: b.read(262_144), b'')) and None)\n"
            "print(most() - before)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "queue"), str(tmp_path / "body")],
                          capture_output=True, text=True, check=True)
    assert int(done.stdout) * (1 if sys.platform == "darwin" else 1024) < 20_000_000


def test_a_letter_that_goes_in_circles_is_refused(queue: Queue) -> None:
    """RFC 5321 §6.3: a hundred servers are many, and not too many."""
    field = b"Received: from a.example by b.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    assert queue(Envelope(ANA, [YUI]), io.BytesIO(field * 100 + LETTER)).code == 250
    refused = queue(Envelope(ANA, [YUI]), io.BytesIO(field.upper() * 101 + LETTER))
    assert (refused.code, refused.enhanced) == (554, "5.4.6")
    assert queue(Envelope(ANA, [YUI]), io.BytesIO(b"\r\n" + field * 200)).code == 250      # that is its text
    assert queue(Envelope(ANA, [YUI]), io.BytesIO(LETTER + field * 200)).code == 250


# --- a disk that is full, a file that is something else --------------------------------------------------------------


def test_a_full_disk_is_452_and_nothing_is_kept(queue: Queue, clock: Clock) -> None:
    put(queue, YUI)
    [pages] = queue.db.execute("PRAGMA page_count").fetchone()
    queue.db.execute(f"PRAGMA max_page_count = {pages + 5}")
    assert queue(Envelope(ANA, [KENJI]), io.BytesIO(b"x" * 500_000)).code == 452
    assert [entry.envelope.recipients for entry in queue.entries()] == [[YUI]]
    tokyo = Next(clock, lambda address: Reply(250))
    assert queue.attempt(tokyo) == 1
    queue.db.execute("PRAGMA max_page_count = 1000000")
    assert queue(Envelope(ANA, [KENJI]), io.BytesIO(b"x" * 500_000)).code == 250


def test_a_body_that_breaks_leaves_nothing(queue: Queue) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 300_000:
                raise OSError("the disk is broken")
            return super().read(size)

    with pytest.raises(OSError, match="broken"):
        queue(Envelope(ANA, [YUI]), Breaking(b"x" * 900_000))
    assert queue.entries() == [] and queue.db.execute("SELECT count(*) FROM body").fetchone() == (0,)
    put(queue, YUI)


def test_a_locked_file_is_451_in_a_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "smtp_from_scratch")
    with closing(Queue(tmp_path / "queue")) as queue, closing(open_file(tmp_path / "queue")) as other:
        queue.db.execute("PRAGMA busy_timeout = 10")
        other.execute("BEGIN IMMEDIATE")
        with Server(deliver=queue) as server, Client(*server.address) as client:
            assert client.transact(Envelope(ANA, [YUI]), LETTER).refused[YUI].code == 451
            other.rollback()
            assert client.transact(Envelope(ANA, [YUI]), LETTER).accepted == [YUI]
        assert len(queue.entries()) == 1


def test_half_a_copy_is_never_sent(queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has no room for what is to be sent: the letter waits."""
    def full() -> IO[bytes]:
        raise OSError("no space left")

    put(queue, YUI, octets=b"x" * 3_000_000)
    monkeypatch.setattr("smtp_from_scratch.bodies.file_on_disk", full)
    tokyo = Next(clock, lambda address: Reply(250))
    with pytest.raises(OSError, match="no room"):
        queue.attempt(tokyo)
    assert len(queue.entries()) == 1 and not tokyo.seen
    monkeypatch.undo()
    clock.now += LEASE
    assert queue.attempt(tokyo) == 1 and not queue.entries()


@pytest.mark.parametrize("octets", [b"From: ana@rio.example\r\n" * 100, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "queue").write_bytes(octets)
    with pytest.raises(sqlite3.DatabaseError):
        Queue(tmp_path / "queue")
    assert (tmp_path / "queue").read_bytes() == octets


def test_somebody_elses_database_is_told_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "queue")) as db:
        db.execute("CREATE TABLE message (text)")
    with pytest.raises(ValueError, match="name another file"):
        Queue(tmp_path / "queue")
    with closing(sqlite3.connect(tmp_path / "queue")) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("message",)]


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Queue(tmp_path / "nowhere" / "queue")


def test_250_is_said_when_the_disk_has_the_letter(tmp_path: Path, queue: Queue) -> None:
    """What was synced by then is in these two files: as after a power cut, they are opened elsewhere."""
    assert queue.db.execute("PRAGMA synchronous").fetchone() == (2,)       # FULL: each commit waits for the disk
    for number in range(1, 6):
        put(queue, f"u{number}@tokyo.example")
        (tmp_path / str(number)).mkdir()
        for name in ("queue", "queue-wal"):
            if (tmp_path / name).exists():
                shutil.copy(tmp_path / name, tmp_path / str(number))
        with closing(Queue(tmp_path / str(number) / "queue")) as found:
            assert len(found.entries()) == number


@pytest.mark.parametrize("failing", ["insert", "strike_off"])
def test_a_failure_is_noted_together_with_its_report_or_not_at_all(
        queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Or the power could fail between the two: Yui is struck off, and Ana never hears."""
    put(queue, YUI)
    real = getattr(module, failing)

    def cut(*given: Any) -> Any:
        real(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, failing, cut)
    tokyo = Next(clock, lambda address: NEVER)
    with pytest.raises(KeyboardInterrupt):
        queue.attempt(tokyo)
    monkeypatch.undo()
    [entry] = queue.entries()
    assert entry.envelope.recipients == [YUI] and entry.envelope.sender == ANA
    clock.now += LEASE
    assert queue.attempt(tokyo) == 2 and tokyo.told == [(YUI, "failed")] and not queue.entries()


# --- a row that nobody can read --------------------------------------------------------------------------------------

GOOD = Envelope(ANA, ["li@tokyo.example"])


@pytest.mark.parametrize("envelope", [
    "", "{", "[]", "null", "17", '"ana"', '{"sender": "ana@rio.example"}', "[" * 100_000, b"\x00\x01",
    json.dumps(asdict(GOOD) | {"priority": 5}), json.dumps(asdict(GOOD) | {"recipients": "yui@tokyo.example"}),
    json.dumps(asdict(GOOD) | {"recipients": []}), json.dumps(asdict(GOOD) | {"recipients": [7]}),
    json.dumps(asdict(GOOD) | {"sender": None}), json.dumps(asdict(GOOD) | {"options": []})])
def test_a_row_that_cannot_be_read_stops_nobody_else(queue: Queue, clock: Clock, caplog: pytest.LogCaptureFixture,
                                                     envelope: Any) -> None:
    for number in range(3):
        put(queue, f"u{number}@tokyo.example")
    queue.db.execute("UPDATE message SET envelope = ? WHERE id = 1", [envelope])
    queue.db.commit()
    before = queue.db.execute("SELECT came, envelope FROM message WHERE id = 1").fetchone()
    tokyo = Next(clock, lambda address: Reply(250))
    assert queue.attempt(tokyo) == 2 and queue.attempt(tokyo) == 0
    clock.now += 10 * DAY
    assert queue.attempt(tokyo) == 0 and queue.next_due() == float("inf")
    [aside] = queue.rows()
    assert isinstance(aside, Aside) and aside.id == 1 and "cannot be read" in aside.why and queue.entries() == []
    assert queue.db.execute("SELECT came, envelope FROM message WHERE id = 1").fetchone() == before
    assert queue.body(1).file.read().endswith(LETTER)
    assert caplog.text.count("message 1 is set aside: its row cannot be read") == 1


@pytest.mark.parametrize("octets", [b'{"sender": "\xff"}', b'{"sender": "ana", "recipients": ["\xfc@tokyo.example"]}'])
def test_text_that_is_none_stops_nobody_else(queue: Queue, clock: Clock, octets: bytes) -> None:
    for number in range(2):
        put(queue, f"u{number}@tokyo.example")
    queue.db.execute("UPDATE message SET envelope = CAST(? AS TEXT), last = CAST(x'ff41' AS TEXT) WHERE id = 1",
                     [octets])
    queue.db.commit()
    assert queue.attempt(Next(clock, lambda address: Reply(250))) == 1
    assert [type(row) for row in queue.rows()] == [Aside]


@pytest.mark.parametrize("column", ["came", "due", "held"])
def test_a_time_that_is_none_stops_nobody_else(queue: Queue, clock: Clock, column: str) -> None:
    for number in range(2):
        put(queue, f"u{number}@tokyo.example")
    queue.db.execute(f"UPDATE message SET {column} = 'soon' WHERE id = 1")
    queue.db.commit()
    assert queue.attempt(Next(clock, lambda address: Reply(250))) == 1
    assert queue.next_due() == float("inf") and [type(row) for row in queue.rows()] == [Aside]


def test_columns_of_a_newer_version_are_passed_over(queue: Queue, clock: Clock) -> None:
    put(queue, YUI)
    queue.db.execute("ALTER TABLE message ADD COLUMN priority INTEGER NOT NULL DEFAULT 5")
    queue.db.commit()
    assert queue.attempt(Next(clock, lambda address: Reply(250))) == 1 and queue.rows() == []


def test_what_was_mended_is_tried_when_its_owner_says_so(queue: Queue, clock: Clock) -> None:
    put(queue, YUI)
    [good] = queue.db.execute("SELECT envelope FROM message").fetchone()
    queue.db.execute("UPDATE message SET envelope = 'x'")
    queue.db.commit()
    tokyo = Next(clock, lambda address: Reply(250))
    assert queue.attempt(tokyo) == 0
    assert queue.hurry(1) == 1 and queue.attempt(tokyo) == 0       # it is as it was
    queue.db.execute("UPDATE message SET envelope = ?", [good])
    queue.db.commit()
    assert queue.attempt(tokyo) == 0 and queue.entries()[0].held == float("inf")
    assert queue.hurry() == 1 and queue.attempt(tokyo) == 1 and queue.rows() == []


def test_a_letter_whose_octets_are_gone_stops_nobody_else(queue: Queue, clock: Clock,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        put(queue, f"u{number}@tokyo.example")
    queue.db.execute("DELETE FROM body WHERE id = 1")
    queue.db.commit()
    tokyo = Next(clock, lambda address: Reply(250))
    assert queue.attempt(tokyo) == 2 and len(tokyo.seen) == 1
    clock.now += 10 * DAY
    assert queue.attempt(tokyo) == 0
    [entry] = queue.entries()
    assert entry.last == "its octets cannot be read: there are none" and entry.held == float("inf")
    assert caplog.text.count("is set aside") == 1


def test_a_letter_on_a_damaged_page_stops_nobody_else(tmp_path: Path, clock: Clock) -> None:
    with closing(Queue(tmp_path / "queue", clock=clock)) as queue:
        put(queue, "u0@tokyo.example", octets=b"x" * 100_000)
        put(queue, "u1@tokyo.example")
        queue.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    octets = (tmp_path / "queue").read_bytes()
    page = octets.index(b"x" * 4000) & ~4095                       # the first four octets lead to the next page
    (tmp_path / "queue").write_bytes(octets[:page] + b"\xff" * 4 + octets[page + 4 :])
    tokyo = Next(clock, lambda address: Reply(250))
    with closing(Queue(tmp_path / "queue", clock=clock)) as queue:
        assert queue.attempt(tokyo) == 2 and len(tokyo.seen) == 1
        [entry] = queue.entries()
        assert entry.envelope.recipients == ["u0@tokyo.example"] and "malformed" in entry.last
        assert entry.held == float("inf")


# --- several at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["threads", "loop"])
def test_many_callers_at_once_lose_nothing(tmp_path: Path, stage: str) -> None:
    with closing(Queue(tmp_path / "queue")) as queue, Server(deliver=queue, stage=stage) as server:
        def call(number: int) -> None:
            with Client(*server.address) as client:
                for letter in range(5):
                    assert client.sendmail(ANA, f"u{number}.{letter}@tokyo.example", LETTER).accepted

        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [entry.envelope.recipients[0] for entry in queue.entries()]
    assert len(found) == len(set(found)) == 40


def test_two_runners_send_nothing_twice(tmp_path: Path, clock: Clock) -> None:
    """Two connections, as two processes have; four threads, as fast as they can."""
    queues = [Queue(tmp_path / "queue", clock=clock) for _ in range(2)]
    for number in range(60):
        put(queues[0], f"u{number}@tokyo.example")
    sent = Counter[str]()

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        time.sleep(0.0005)
        sent.update(envelope.recipients)

    threads = [threading.Thread(target=queues[number % 2].attempt, args=(deliver,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 60 and set(sent.values()) == {1} and not queues[0].entries()
    for queue in queues:
        queue.close()


def test_several_make_the_file_at_once(tmp_path: Path) -> None:
    code = ("import io, sys\nfrom smtp_from_scratch import Envelope, Queue\n"
            "assert Queue(sys.argv[1])(Envelope('a@b.example', ['c@d.example']), io.BytesIO(b'x')).code == 250")
    several = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "queue")]) for _ in range(6)]
    assert [one.wait() for one in several] == [0] * 6
    with closing(Queue(tmp_path / "queue")) as queue:
        assert len(queue.entries()) == 6


def test_what_a_dead_runner_held_is_tried_again_after_its_lease(queue: Queue, clock: Clock) -> None:
    put(queue, YUI)
    with queue.transaction() as db:
        assert module.take(db, clock.now)      # and then it dies
    tokyo = Next(clock, lambda address: Reply(250))
    assert queue.attempt(tokyo) == 0 and queue.hurry() == 1 and queue.attempt(tokyo) == 0
    assert queue.next_due() == clock.now + LEASE
    clock.now += LEASE
    assert queue.attempt(tokyo) == 1 and not queue.entries()


@pytest.mark.parametrize("late", [Reply(250), NEVER, Reply(452, "too late")])
def test_whoever_has_outlived_the_lease_notes_nothing(queue: Queue, clock: Clock, late: Reply) -> None:
    """Somebody else has the letter by then; two copies are a nuisance, a letter or a report that is lost is not one."""
    put(queue, YUI)
    other = Next(clock, lambda address: NOT_NOW)

    def slow(envelope: Envelope, body: IO[bytes]) -> Reply:
        clock.now += LEASE
        assert attempt_one(queue, other, clock.now)
        return late

    assert attempt_one(queue, slow, clock.now)
    [entry] = queue.entries()
    assert entry.last == str(NOT_NOW) and entry.held == 0 and len(other.seen) == 1


def test_an_attempt_longer_than_its_lease_is_made_once(tmp_path: Path, clock: Clock) -> None:
    """As long as it lives, it is renewed; the other connection is another process."""
    path = tmp_path / "queue"
    with closing(Queue(path, clock=clock)) as queue, closing(Queue(path, clock=clock)) as other:
        put(queue, YUI)
        sent = list[str]()

        def slow(envelope: Envelope, body: IO[bytes]) -> None:
            for _ in range(5):
                clock.now += LEASE - 1
                queue.keeper.renew()
                assert other.attempt(lambda envelope, body: sent.append("twice")) == 0
            sent.append("once")

        assert queue.attempt(slow) == 1 and sent == ["once"] and queue.rows() == []


def test_a_thread_renews_leases(queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp_from_scratch.lease.RENEWALS", 1e6)   # every four thousandths of a second
    put(queue, YUI)

    def slow(envelope: Envelope, body: IO[bytes]) -> Reply:
        for _ in range(3):
            clock.now += LEASE / 2
            eventually(lambda: queue.entries()[0].held == clock.now + LEASE)
        return NOT_NOW

    assert attempt_one(queue, slow, clock.now)
    [entry] = queue.entries()
    assert entry.held == 0 and entry.last == str(NOT_NOW)          # and the latest lease is the one that is given back
    thread = queue.keeper.thread
    queue.close()
    assert thread
    thread.join(30)
    assert not thread.is_alive()


def test_where_no_thread_can_be_started_an_attempt_is_made_all_the_same(queue: Queue, clock: Clock,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    def no_threads(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", no_threads)
    queue(Envelope(ANA, [YUI]), io.BytesIO(LETTER))
    assert queue.attempt(lambda envelope, body: None) == 1 and not queue.entries()


def test_a_lease_that_is_lost_is_not_renewed(queue: Queue, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    put(queue, YUI)

    def slow(envelope: Envelope, body: IO[bytes]) -> Reply:
        clock.now += LEASE                     # the machine slept, and another one has taken it
        assert attempt_one(queue, Next(clock, lambda address: NOT_NOW), clock.now)
        queue.keeper.renew()
        queue.keeper.renew()
        return Reply(250)

    assert attempt_one(queue, slow, clock.now)
    assert [entry.last for entry in queue.entries()] == [str(NOT_NOW)]
    assert caplog.text.count("somebody else has it") == 1


def test_a_disk_that_is_full_for_a_while_costs_no_lease(queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch,
                                                        caplog: pytest.LogCaptureFixture) -> None:
    put(queue, YUI)

    def slow(envelope: Envelope, body: IO[bytes]) -> Reply:
        clock.now += LEASE / 4
        with monkeypatch.context() as full:
            full.setattr(queue, "clock", lambda: 1 / 0)
            queue.keeper.renew()
        queue.keeper.renew()
        assert queue.entries()[0].held == clock.now + LEASE
        return NOT_NOW

    assert attempt_one(queue, slow, clock.now)
    assert "its lease is not renewed" in caplog.text and queue.entries()[0].held == 0


def test_a_letter_that_was_dropped_meanwhile_is_gone(queue: Queue, clock: Clock) -> None:
    put(queue, YUI)

    def dropping(envelope: Envelope, body: IO[bytes]) -> Reply:
        assert queue.drop(1) == 1
        return NEVER

    assert attempt_one(queue, dropping, clock.now) and queue.entries() == [] and queue.drop(1) == 0
    assert queue.db.execute("SELECT count(*) FROM body").fetchone() == (0,)


# --- the runner ------------------------------------------------------------------------------------------------------


def eventually(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_runner_sends_what_comes_in_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 1000.0)
    with closing(Queue(tmp_path / "queue")) as queue, Server() as tokyo:
        with Runner(queue, forward(lambda: Client(*tokyo.address))):
            for number in range(3):
                put(queue, f"u{number}@tokyo.example")
                assert len(tokyo.wait_for(number + 1)) == number + 1
            eventually(lambda: not queue.entries())


def test_a_runner_finds_what_another_process_has_queued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.05)
    with closing(Queue(tmp_path / "queue")) as queue, closing(Queue(tmp_path / "queue")) as other:
        sent = list[Any]()
        with Runner(queue, lambda envelope, body: sent.append(envelope.recipients)):
            eventually(lambda: not queue.news.is_set())
            put(other, YUI)
            eventually(lambda: sent == [[YUI]])


def test_a_runner_stops_after_the_attempt_in_hand(tmp_path: Path) -> None:
    with closing(Queue(tmp_path / "queue")) as queue:
        for number in range(5):
            put(queue, f"u{number}@tokyo.example")
        begun, sent = threading.Event(), list[Any]()

        def slow(envelope: Envelope, body: IO[bytes]) -> None:
            begun.set()
            runner.over.wait(30)
            sent.append(envelope)

        runner = Runner(queue, slow)
        with runner:
            begun.wait()
        assert not any(thread.is_alive() for thread in runner.threads)
        assert len(sent) == 1 and len(queue.entries()) == 4
        assert all(entry.held == 0 for entry in queue.entries())


def test_a_slow_host_holds_up_one_of_two_threads_and_no_end(tmp_path: Path) -> None:
    with closing(Queue(tmp_path / "queue")) as queue:
        wakes, sent = threading.Event(), list[str]()

        def deliver(envelope: Envelope, body: IO[bytes]) -> None:
            if envelope.recipients == [YUI]:
                wakes.wait(30)
            sent.extend(envelope.recipients)

        put(queue, YUI)
        for number in range(5):
            put(queue, f"u{number}@tokyo.example")
        runner = Runner(queue, deliver, 2)
        with runner:
            eventually(lambda: len(sent) == 5)
            runner.stop(0.0)
            assert [entry.envelope.recipients for entry in queue.entries()] == [[YUI]]
            wakes.set()
        assert queue.entries() == [] and sent[-1] == YUI


def test_a_runner_survives_its_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "POLL", 0.01)
    real, failures = module.take, [sqlite3.OperationalError("disk I/O error"), OSError("no room")]

    def failing(*given: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*given)

    monkeypatch.setattr(module, "take", failing)
    with closing(Queue(tmp_path / "queue")) as queue:
        put(queue, YUI)
        sent = list[Any]()
        with Runner(queue, lambda envelope, body: sent.append(envelope)):
            eventually(lambda: sent)
    assert "a turn failed" in caplog.text


# --- to the next host ------------------------------------------------------------------------------------------------


def ask(connect: Any, *recipients: str, octets: bytes = LETTER, **about: Any) -> Relayed:
    said = forward(connect, "mx.tokyo.example")(Envelope(ANA, list(recipients or (YUI,)), **about), io.BytesIO(octets))
    assert isinstance(said, Relayed)
    return said


def test_nobody_answers() -> None:
    with Server() as server:
        gone = server.address
    said = ask(lambda: Client(*gone), YUI, KENJI)
    assert [(reply.code, reply.enhanced) for reply in said.values()] == [(451, "4.4.1")] * 2 and said.remote_mta == ""


def scripted(*replies: str, cut: bool = False) -> Any:
    """A server that says these lines, one after another, and hangs up."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        sock, _ = listener.accept()
        with sock, listener, sock.makefile("rb") as lines:
            for reply in replies:
                sock.sendall(reply.encode() + b"\r\n")
                if reply.startswith("354"):
                    while lines.readline() not in (b".\r\n", b""):
                        pass
                elif not lines.readline():
                    return

    threading.Thread(target=serve, daemon=True).start()
    return lambda: Client(*listener.getsockname(), timeout=20)


@pytest.mark.parametrize("replies, due", [
    (["554 no mail here"], [451, 451]), (["421 later"], [451, 451]), (["220 mx", "550 no", "550 no"], [451, 451]),
    (["220 mx", "250 mx", "550 not you"], [550, 550]), (["220 mx", "250 mx", "451 not now"], [451, 451]),
    (["220 mx", "250 mx", "250 ok", "250 ok", "550 nobody", "354 go on", "250 kept"], [250, 550]),
    (["220 mx", "250 mx", "250 ok", "250 ok", "550 nobody", "354 go on", "552 too large"], [552, 550]),
    (["220 mx", "250 mx", "250 ok", "250 ok", "550 nobody", "354 go on", "421 leaving"], [421, 550]),
    (["220 mx", "250 mx", "250 ok", "250 ok", "550 nobody", "354 go on"], [451, 550]),      # nobody knows
    (["220 mx", "250 mx", "250 ok", "250 ok"], [451, 451]), (["220 mx", "250 mx", "250 ok", "421 bye"], [421, 421]),
    (["220 mx", "250 mx", "250 ok", "nonsense"], [451, 451]),
])
def test_whatever_goes_wrong_on_the_way_loses_nothing(replies: list[str], due: list[int]) -> None:
    said = ask(scripted(*replies), YUI, KENJI)
    assert [said[YUI].code, said[KENJI].code] == due


def test_what_the_next_host_cannot_do_fails_for_good() -> None:
    with Server(extensions=[]) as server:
        said = ask(lambda: Client(*server.address), "ユイ@tokyo.example")
        assert said["ユイ@tokyo.example"].code == 554 and said.remote_mta == ""        # our words, and not that host's
        assert ask(lambda: Client(*server.address), YUI, octets=b"\0\1\r\n", parameters={"BODY": "BINARYMIME"}
                   )[YUI].enhanced == "5.6.3"
        assert not server.messages


def test_wishes_travel_on_as_they_came() -> None:
    wishes: Any = {"parameters": {"RET": "HDRS", "ENVID": "a+2Bb"}, "options": {
        YUI: {"NOTIFY": "Success,failure", "ORCPT": "RFC822;Yui+40@tokyo.example"}}}
    with Server() as server:
        said = ask(lambda: Client(*server.address), YUI, KENJI, **wishes)
        [message] = server.messages
    assert said.success == "" and message.envelope.options[YUI] == wishes["options"][YUI]
    assert message.envelope.parameters.items() >= wishes["parameters"].items()
    assert message.envelope.options.get(KENJI, {}) == {}
    with Server(extensions=[]) as server:
        assert ask(lambda: Client(*server.address), YUI, **wishes).success == "relayed"


def test_binary_octets_travel_on_unchanged(queue: Queue) -> None:
    octets = b"Subject: a photo\r\n\r\n" + bytes(range(256)) * 3
    assert queue(Envelope(ANA, [YUI], parameters={"BODY": "BINARYMIME"}), io.BytesIO(octets)).code == 250
    with Server() as server:
        queue.attempt(forward(lambda: Client(*server.address)))
        [message] = server.messages
    assert message.data.endswith(octets) and not queue.entries()


def test_users_mail_goes_through_the_queue(tmp_path: Path) -> None:
    """Submission mends a message first; its report comes back to its sender, by way of the same queue."""
    def accept(address: str, envelope: Envelope) -> Reply | None:
        return NEVER if address == YUI else None

    with closing(Queue(tmp_path / "queue", "rio.example")) as queue, Server(accept_recipient=accept) as tokyo:
        with Server(deliver=queue, submission=Submission()) as rio, Client(*rio.address) as client:
            assert client.sendmail(ANA, [YUI, KENJI], LETTER).accepted == [YUI, KENJI]
        onward = forward(lambda: Client(*tokyo.address), "mx.tokyo.example")
        assert queue.attempt(onward) + queue.attempt(onward) == 2
        letter, report = tokyo.messages
    assert letter.envelope.recipients == [KENJI] and b"Message-ID: <" in letter.data
    [about] = parse_report(report.data).recipients
    assert report.envelope.recipients == [ANA] and report.envelope.sender == "" and about.status == "5.1.1"


@pytest.mark.parametrize("sink", [[], ["-Q", "."], ["-r", "."], ["-q", "."]])
def test_postfix_takes_what_it_says_it_takes(queue: Queue, clock: Clock, sink: list[str]) -> None:
    """Its smtp-sink refuses, or hangs up, where it is told to; what it has not taken waits, or is reported."""
    import socket

    program = shutil.which("smtp-sink")
    if program is None:
        pytest.skip("smtp-sink of Postfix is not here: sh tools/peers.sh")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [program, *(sink and [sink[0], "." if sink[0] in ("-q", "-Q", "-r") else ""]), f"127.0.0.1:{port}", "10"]
    user = ["-u", "nobody"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with subprocess.Popen([command[0], *user, *command[1:]], stderr=subprocess.DEVNULL) as peer:
        try:
            eventually(lambda: not isinstance(reached(port), OSError))
            put(queue, YUI)
            assert queue.attempt(forward(lambda: Client("127.0.0.1", port, timeout=20))) == 1
            waiting = queue.entries()
        finally:
            peer.kill()
    assert bool(waiting) == bool(sink)


def reached(port: int) -> OSError | None:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError as error:
        return error
    return None


# --- killed ----------------------------------------------------------------------------------------------------------

FEW = pytest.param(12, id="few")
MANY = pytest.param(150, id="many", marks=pytest.mark.long)


def killed(command: list[str], after: float) -> list[str]:
    """What a process said before it was killed, so many seconds after its first line."""
    program = [sys.executable, "-m", "tests.keeping"]
    with subprocess.Popen([*program, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        first = process.stdout.readline()
        time.sleep(after)
        process.kill()
        return [first, *process.stdout]


@posix
@pytest.mark.slow
@pytest.mark.parametrize("times", [FEW, MANY])
def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path, times: int) -> None:
    dice, path, promised = random.Random(21), tmp_path / "queue", list[int]()
    for _ in range(times):
        said = killed(["keep", str(path)], dice.uniform(0, 0.1))
        promised += [int(line) for line in said if line.endswith("\n")]
    with closing(Queue(path)) as queue:
        octets = {entry.id: queue.body(entry.id).file.read() for entry in queue.entries()}
        assert queue.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert queue.db.execute("SELECT count(*) FROM body").fetchone() == (len(octets),)
    assert all(text.endswith(b"x" * 20_000) for text in octets.values()), "half a letter"
    kept = Counter(int(text.partition(b"Subject: ")[2].partition(b"\r\n")[0]) for text in octets.values())
    said_often = Counter(promised)
    assert all(kept[number] >= count for number, count in said_often.items())
    assert sum(kept.values()) - len(promised) <= times     # one in hand at each kill, at most


@posix
@pytest.mark.slow
@pytest.mark.parametrize("times", [FEW, MANY])
def test_killed_while_sending_nobody_is_forgotten(tmp_path: Path, times: int) -> None:
    """Each has the letter once, or twice if it was the one in hand; each failure is reported exactly as often."""
    letters, path, delivered = 5 * times, tmp_path / "queue", tmp_path / "delivered"
    with closing(Queue(path)) as queue:
        for number in range(letters):
            assert queue(*keeping.letter(number)).code == 250
    dice = random.Random(5321)
    for _ in range(times):
        killed(["send", str(path), str(delivered)], dice.uniform(0, 0.03))
        with closing(Queue(path)) as queue, queue.transaction() as db:
            db.execute("UPDATE message SET held = 0")      # an hour has passed
    subprocess.run([sys.executable, "-m", "tests.keeping", "send", str(path), str(delivered)], check=True,
                   stdout=subprocess.DEVNULL)
    lines = [line.split() for line in delivered.read_text().splitlines()]
    got = Counter(address for address, sender in lines if sender != "<>")
    reports = sum(sender == "<>" for _, sender in lines)
    for number in range(letters):
        for address in keeping.letter(number)[0].recipients:
            assert address.startswith("nobody") == (got[address] == 0), f"{address}: {got[address]} copies"
    failures = len(range(0, letters, 3))
    assert failures <= reports <= failures + times
    assert sum(got.values()) - len(got) <= 2 * times


def test_the_ledger_is_no_more_than_a_file(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "queue")) as ledger:
        assert ledger.entries() == [] and ledger.next_due() == float("inf") and ledger.hurry() == ledger.drop(1) == 0
        with pytest.raises(KeyError):
            ledger.body(1)

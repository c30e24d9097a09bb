"""The checks of `queue` tell right answers from wrong ones, in any style, and say which wrong one it is."""
from __future__ import annotations

import json
import os
import shutil
import sqlite3
from dataclasses import asdict
from typing import Any

import pytest

from smtp_from_scratch import lab, queue
from smtp_from_scratch.ledger import entry_of
from smtp_from_scratch.wire import Reply
from tests.course.hopeless import OTHER_FORMS
from tests.solutions import solution

SOLVED = "21_queue"
YUI = "yui@tokyo.example"


def wrong(verdict: Any, *words: str) -> None:
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


# --- insert ----------------------------------------------------------------------------------------------------------


def inserting(octets: Any, size: Any = None, after: Any = lambda db: None, back: bool = True, number: Any = None,
              wishes: bool = True) -> Any:
    """A `my_insert` with one of its steps changed."""
    def my_insert(db: Any, envelope: Any, head: bytes, body: Any, now: float) -> Any:
        kept = asdict(envelope) if wishes else {"sender": envelope.sender, "recipients": envelope.recipients}
        row = (now, now, json.dumps(kept))
        new = db.execute("INSERT INTO message (came, due, envelope) VALUES (?, ?, ?)", row).lastrowid
        whole = body.seek(0, os.SEEK_END) + len(head)
        body.seek(0 if back else whole)
        db.execute("INSERT INTO body VALUES (?, zeroblob(?))", (new, size(head, body) if size else whole))
        with db.blobopen("body", "octets", new) as blob:
            octets(blob, head, body)
        after(db)
        return new if number is None else number
    return my_insert


def by_blocks(blob: Any, head: bytes, body: Any) -> None:
    blob.write(head)
    shutil.copyfileobj(body, blob, 65_536)


def at_a_stroke(blob: Any, head: bytes, body: Any) -> None:
    blob.write(head + body.read())


@pytest.mark.parametrize("answer, says", [
    (inserting(by_blocks, size=lambda head, body: ...), "two places"), (inserting(lambda *given: ...), "Not yet"),
    (inserting(by_blocks, after=lambda db: db.commit()), "a commit"), (inserting(at_a_stroke), "in memory at once"),
    (inserting(lambda blob, head, body: shutil.copyfileobj(body, blob)), "`head` comes first"),
    (inserting(by_blocks, back=False), "Where does the body stand"),
    (inserting(by_blocks, number=7), "Return `number`"),
    (inserting(by_blocks, size=lambda head, body: len(body.getbuffer())), "ValueError"),
    (inserting(by_blocks, size=lambda head, body: len(head) + len(body.getbuffer()) + 9), "Yui gets another letter"),
    (inserting(by_blocks, wishes=False), "wishes"), (lambda *given: 1, "0 messages"),
])
def test_insert_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_insert(answer), says)


def without_a_blob(db: Any, envelope: Any, head: bytes, body: Any, now: float) -> int:
    """Grows the octets block by block."""
    number: int = db.execute("INSERT INTO message (came, due, envelope) VALUES (?, ?, ?)",
                             (now, now, json.dumps(asdict(envelope)))).lastrowid
    db.execute("INSERT INTO body VALUES (?, ?)", (number, head))
    body.seek(0)
    while block := body.read(500_000):
        db.execute("UPDATE body SET octets = CAST(octets || ? AS BLOB) WHERE id = ?", (block, number))
    return number


@pytest.mark.parametrize("answer", [queue.insert, inserting(by_blocks), without_a_blob,
                                    solution(SOLVED, "insert-code")["my_insert"]])
def test_insert_in_any_style(answer: Any) -> None:
    assert lab.check_insert(answer).passed


# --- wait ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer, says", [
    (lambda age: None, "Not yet"), (lambda age: 0.0, "too soon"), (lambda age: age, "too soon"),
    (lambda age: 30, "too soon"), (lambda age: max(1800, age), "longer than it has to"),
    (lambda age: 1800, "Two hundred calls"), (lambda age: 3 * 3600, "one attempt in the first hour"),
    (lambda age: age + 1800, "longer"), (lambda age: "1800", "'1800'"),
    (lambda age: 1800 if age % 7200 else 10_800, "longer it is down"),
    (lambda age: 1800 if age > 7200 else 7200 if age else 1800, "the longer it is down"),
])
def test_wait_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_wait(answer), says)


def by_table(age: float) -> int:
    for until, seconds in ((3599, 1800), (3 * 3600, 7200)):
        if age <= until:
            return seconds
    return 9000


@pytest.mark.parametrize("answer", [queue.wait, by_table, lambda age: 1800 if age < 3600 else 10_800,
                                    solution(SOLVED, "wait-code")["my_wait"]])
def test_wait_in_any_style(answer: Any) -> None:
    assert lab.check_wait(answer).passed


# --- take ------------------------------------------------------------------------------------------------------------

CHOOSE = "SELECT * FROM message WHERE due <= :now AND held <= :now ORDER BY due LIMIT 1"


def in_two_steps(db: Any, now: float, choose: str = CHOOSE, hold: str = "held = :until WHERE id = :id") -> Any:
    """Reads, then notes: somebody may come between."""
    row = db.execute(choose, {"now": now}).fetchone()
    if row is None:
        return None
    db.execute(f"UPDATE message SET {hold}", {"until": now + 3600.0, "id": row[0]})
    return entry_of(row)._replace(held=now + 3600.0)


def in_one(choose: str = CHOOSE, until: float = 3600.0, make: Any = entry_of) -> Any:
    def my_take(db: Any, now: float) -> Any:
        rows = db.execute(f"UPDATE message SET held = :until WHERE id IN ({choose.replace('*', 'id')}) RETURNING *",
                          {"now": now, "until": now + until}).fetchall()
        return make(rows[0]) if rows else None
    return my_take


@pytest.mark.parametrize("answer, says", [
    (lambda db, now: None, "Not yet"), (in_two_steps, "another runner has, too"),
    (in_one(make=lambda row: row), "Nobody can send that"),
    (in_one(CHOOSE.replace(" AND held <= :now", "")), "not for us"),
    (in_one(CHOOSE.replace(" ORDER BY due", "")), "Another one"),
    (in_one(CHOOSE.replace("due <= :now AND ", "").replace(" ORDER BY due", " ORDER BY due DESC")), "not yet"),
    (in_one(until=0.0), "held until"), (in_one(until=60.0), "held until"),
    (in_one(CHOOSE.replace(" LIMIT 1", "")), "are held now"),
    (lambda db, now: in_two_steps(db, now, hold="held = 0 WHERE id = :id"), "held until"),
    (lambda db, now: in_two_steps(db, now, hold="held = :until WHERE id = :id AND held <= 9e9"), "another runner has"),
])
def test_take_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_take(answer), says)


def seen_and_compared(db: Any, now: float) -> Any:
    """Reads, and then notes only where nobody has noted anything meanwhile."""
    while row := db.execute(CHOOSE, {"now": now}).fetchone():
        entry = entry_of(row)
        if db.execute("UPDATE message SET held = ? WHERE id = ? AND held = ?",
                      (now + 3600.0, entry.id, entry.held)).rowcount:
            return entry._replace(held=now + 3600.0)
    return None


def behind_a_lock(db: Any, now: float) -> Any:
    """Keeps all others out, reads, notes."""
    if not db.in_transaction:
        db.execute("BEGIN IMMEDIATE")
    entry = in_two_steps(db, now)
    db.commit()
    return entry


@pytest.mark.parametrize("answer", [queue.take, in_one(), seen_and_compared, behind_a_lock,
                                    solution(SOLVED, "take-code")["my_take"]])
def test_take_in_any_style(answer: Any) -> None:
    assert lab.check_take(answer).passed


# --- sort out, replies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer, says", [
    (lambda actions, late: None, "Not yet"), (lambda actions, late: [*actions], "two lists"),
    (lambda actions, late: ([*actions], [*actions]), "who wait"),
    (lambda actions, late: (queue.sort_out(actions, late)[0], [*actions]), "as news"),
    (lambda actions, late: (queue.sort_out(actions, late)[0], [a for a in actions if actions[a]]), "as news"),
    (lambda actions, late: (queue.sort_out(actions, late)[0], [a for a in actions if actions[a] == "failed"]),
     "as news"),
    (lambda actions, late: queue.sort_out(actions, False), "late=True"), (lambda actions, late: queue.sort_out(
        actions, True), "late=False"),
    (lambda actions, late: queue.sort_out(actions, late)[::-1], "who wait"),
    (lambda actions, late: tuple(map(set, queue.sort_out(actions, late))), "two lists"),
])
def test_sort_out_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_sort_out(answer), says)


def in_a_loop(actions: dict[str, str], late: bool) -> list[list[str]]:
    waiting, news = list[str](), list[str]()
    for address, action in reversed(actions.items()):
        match action:
            case "delayed":
                waiting.append(address)
                news += [address] * late
            case "":
                pass
            case _:
                news.append(address)
    return [waiting, news]


@pytest.mark.parametrize("answer", [queue.sort_out, in_a_loop, solution(SOLVED, "sort-out-code")["my_sort_out"]])
def test_sort_out_in_any_style(answer: Any) -> None:
    assert lab.check_sort_out(answer).passed


def answering(unknown: Any, believes: bool = False) -> Any:
    def my_replies_of(receipt: Any, recipients: list[str]) -> Any:
        known = receipt.recipients if believes or receipt.done or receipt.unknown else receipt.refused
        return {address: known.get(address, unknown) for address in recipients}
    return my_replies_of


@pytest.mark.parametrize("answer, says", [
    (lambda *given: None, "Not yet"), (answering(...), "Not yet"), (answering(Reply(250, "ok")), "may be lost"),
    (answering(Reply(550, "no")), "not true"), (answering(Reply(451), believes=True), "between two RCPT"),
    (lambda receipt, recipients: dict(receipt.recipients), "no reply for"), (answering("451"), "wants a Reply"),
    (lambda receipt, recipients: dict.fromkeys(recipients, receipt.reply or Reply(451)), "550"),
    (lambda receipt, recipients: dict.fromkeys(recipients, Reply(451)), "sent again"),
])
def test_replies_of_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_replies_of(answer), says)


def one_by_one(receipt: Any, recipients: list[str]) -> dict[str, Reply]:
    found = {}
    for address in recipients:
        if address in receipt.refused:
            found[address] = receipt.refused[address]
        elif receipt.done and address in receipt.accepted:
            found[address] = receipt.recipients[address]
        else:
            found[address] = Reply(421, "who knows")
    return found


@pytest.mark.parametrize("answer", [queue.replies_of, answering(Reply(451)), one_by_one,
                                    solution(SOLVED, "replies-of-code")["my_replies_of"]])
def test_replies_of_in_any_style(answer: Any) -> None:
    assert lab.check_replies_of(answer).passed


# --- exercises -------------------------------------------------------------------------------------------------------

FATES = solution(SOLVED, "fates-code")["my_fates"]


@pytest.mark.parametrize("name", FATES)
def test_fates_refuse(name: str) -> None:
    copies, heard = FATES[name]
    wrong(lab.check_fates(FATES | {name: (copies + 1, heard)}), f"for {name}")
    wrong(lab.check_fates(FATES | {name: (copies, None if heard else "failed")}), f"for {name}")
    wrong(lab.check_fates(FATES | {name: (..., ...)}), "Not yet", name)
    wrong(lab.check_fates(FATES | {name: copies}), f"for {name}")


def test_fates() -> None:
    assert lab.check_fates(FATES).passed
    assert lab.check_fates({name: [str(copies), heard or ""] for name, (copies, heard) in FATES.items()}).passed


def awake(same: Any, where: str = "due > :now", value: str = "due = :now", after: Any = lambda db: None,
          back: Any = lambda count: count) -> Any:
    def my_awake(db: Any, domain: str, now: float) -> Any:
        rows = db.execute(f"SELECT id, envelope FROM message WHERE {where}", {"now": now}).fetchall()
        due = [number for number, envelope in rows if any(same(address, domain)
                                                          for address in json.loads(envelope)["recipients"])]
        for number in due:
            db.execute(f"UPDATE message SET {value} WHERE id = :id", {"now": now, "id": number})
        after(db)
        return back(len(due))
    return my_awake


def right(address: str, domain: str) -> bool:
    return address.rpartition("@")[2].casefold() == domain.casefold()


@pytest.mark.parametrize("answer, says", [
    (lambda *given: None, "Not yet"), (awake(right, after=lambda db: db.commit()), "a commit"),
    (awake(lambda address, domain: address.lower().endswith(domain.lower())), "nottokyo"),
    (awake(lambda address, domain: domain.lower() in address.lower()), "too soon"),
    (awake(lambda address, domain: address.endswith("@" + domain)), "capitals"),
    (awake(right, value="due = :now, held = 0"), "Two runners"), (awake(right, where=":now"), "too soon"),
    (awake(right, where="due > :now AND held = 0"), "waits although"), (awake(right, value="due = 0"), "now due at 0"),
    (awake(right, back=lambda count: None), "None messages"), (awake(right, back=lambda count: True), "True messages"),
    (awake(lambda address, domain: True), "too soon"),
])
def test_awake_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_awake(answer), says)


def in_sql(db: sqlite3.Connection, domain: str, now: float) -> int:
    return db.execute("""UPDATE message SET due = ? WHERE due > ? AND EXISTS (
        SELECT 1 FROM json_each(envelope, '$.recipients') WHERE lower(value) LIKE '%@' || ?
        AND value NOT LIKE '%"%')""", (now, now, domain.lower())).rowcount


@pytest.mark.parametrize("answer", [awake(right), in_sql, solution(SOLVED, "awake-code")["my_awake"]])
def test_awake_in_any_style(answer: Any) -> None:
    assert lab.check_awake(answer).passed


@pytest.mark.parametrize("answer, says", [
    (..., "Not yet"), ("AABBC", "after its end"), ("AABC", "1 have it"), ("ABCABC", "3 have it"),
    ("ABAC", "B has read"),
    ("ABABD", "'D'"), ("ABABCC", "after its end"), ("ABAB", "0 stopped"), ("AAB", "1 have it"), (["A"], "A has read"),
])
def test_a_race_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_race(answer), says)


@pytest.mark.parametrize("answer", ["ABABC", "BAABC", "ACCAB", [*"BCBCA"], "ABACB",
                                    solution(SOLVED, "race-code")["my_race"]])
def test_a_race_in_any_order(answer: Any) -> None:
    assert lab.check_race(answer).passed


@pytest.mark.parametrize("name", ["insert", "wait", "take", "sort_out", "replies_of", "awake", "race", "fates"])
def test_another_form_is_no_error_of_ours(name: str) -> None:
    check = getattr(lab, f"check_{name}")
    for form in OTHER_FORMS:
        answer = form if name in ("race", "fates") else lambda *given, form=form: form
        verdict = check(answer)
        assert not verdict.passed and "Error" not in str(verdict) and len(str(verdict)) < 900, f"{form!r}: {verdict}"

"""The checks of `queue`: kept whole, tried again in time, by one at a time; what replies and receipts mean; fates."""
from __future__ import annotations

import io
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from smtp_from_scratch import queue as ours
from smtp_from_scratch.client import Receipt
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.ledger import Entry, entry_of, open_file
from smtp_from_scratch.wire import Reply

ANA, YUI, KENJI, LI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example", "li@beijing.example"
HOUR = 3600.0


@contextmanager
def two_connections() -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Two programs that have one file open; the second waits for nobody."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        one, two = [stack.enter_context(closing(open_file(Path(folder, "queue")))) for _ in range(2)]
        two.execute("PRAGMA busy_timeout = 0")
        yield one, two


def stored(db: sqlite3.Connection) -> list[Entry]:
    """What is in the table."""
    return [entry_of(row) for row in db.execute("SELECT * FROM message ORDER BY id")]


def blank(value: object) -> bool:
    """Whether this is still what the stub returns."""
    return value is None or value is ...


# --- your turn: insert -----------------------------------------------------------------------------------------------


class Large(io.BytesIO):
    """An open file that notes how much of it was wanted at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        rest = len(self.getbuffer()) - self.tell()
        self.most = max(self.most, rest if size is None or size < 0 else min(size, rest))
        return super().read(size)


ASKED = Envelope(ANA, [YUI], parameters={"RET": "HDRS"}, options={YUI: {"NOTIFY": "NEVER"}})
HEAD, LETTER = b"Received: by rio.example\r\n", b"Subject: Choir\r\n\r\nSaturday.\r\n"


@check(
    hints=(
        "How many octets must there be room for, and where does the file stand after you have asked?",
        "size = len(head) + body.seek(0, 2), and body.seek(0) before the first read",
        "`seek` to the end says how long the body is; the head comes on top. Go back to the start, write the head "
        "into the blob, then read and write a block at a time until there is none. Whoever calls you commits: so do "
        "not use `with db` or `db.commit` here.",
    ),
    passed="Head and body are in the file, a block at a time, as soon as somebody commits.",
    not_yet="two places wait: the size, and the octets.",
)
def check_insert(my_insert: Callable[..., Any]) -> Problem | None:
    """A message that is added to a transaction."""
    for head, text in ((HEAD, LETTER), (b"", LETTER), (HEAD, b"x" * 998 + b"\r\n" + LETTER * 40_000), (HEAD, b"")):
        body = Large(text)
        body.seek(0, 2)                        # where whoever measured it has left it
        with two_connections() as (db, other):
            number = inserted(my_insert, db, head, body)
            if problem := problem_of_insert(db, other, number, head, body):
                return problem
    return None


def inserted(my_insert: Callable[..., Any], db: sqlite3.Connection, head: bytes, body: Large) -> Any:
    """What it returns; NotYet while its places are empty."""
    try:
        return my_insert(db, ASKED, head, body, 17.0)
    except sqlite3.Error as error:
        if "ellipsis" in str(error):
            raise NotYet("two places wait: the size, and the octets.") from None
        raise


def problem_of_insert(db: sqlite3.Connection, other: sqlite3.Connection, number: Any, head: bytes,
                      body: Large) -> Problem | None:
    """What is wrong with a message that was inserted and not committed."""
    whole = head + body.getvalue()
    if stored(other):
        return Problem("a commit", "What comes after it is another step: killed between the two, Ana is not told.",
                       "Leave `commit` and `with db` to whoever calls.")
    found = stored(db)
    if len(found) != 1 or found[0].envelope != ASKED or found[0].due != 17.0:
        return Problem(f"{len(found)} messages, and not the one with its wishes that is due now",
                       "Nobody sends it, or not as Ana wanted.", "The first two lines of the stub do this.")
    [octets] = db.execute("SELECT octets FROM body WHERE id = ?", (found[0].id,)).fetchone() or (None,)
    if octets is None:
        return Problem("no row in `body`", "An envelope without a letter.", "INSERT INTO body, with zeroblob.")
    if whole and not octets.strip(b"\0"):
        raise NotYet("the octets wait to be written.")
    if octets != whole:
        look = "Where does the body stand when you begin to read?" if octets.startswith(head) else "`head` comes first."
        return Problem(f"{len(octets.strip(bytes(1)))} octets of {len(whole)}, or others", "Yui gets another letter.",
                       look)
    if body.most > 1_048_576:
        return Problem(f"{body.most:,} octets in memory at once", "A hundred letters of 100 MB: the server is gone.",
                       "`while block := body.read(BLOCK)`.")
    if number != found[0].id:
        return Problem(f"{number!r}", "Nobody can say which message that was.", "Return `number`.")
    return None


# --- your turn: wait -------------------------------------------------------------------------------------------------


@check(
    hints=(
        "What is the least that may ever come out, and what the most?",
        "min(max(age, 1800), 3 * 3600)",
        "The interval is at least half an hour and at most three hours. In between, let it be as long as the message "
        "has waited already: then it doubles from attempt to attempt. All numbers are seconds.",
    ),
    passed="Two attempts in the first hour, then every two or three hours.",
)
def check_wait(my_wait: Callable[[float], Any]) -> Problem | None:
    """The schedule."""
    age, attempts, before = 0.0, [0.0], 0.0
    for given in (0.0, 1.0, 1800.0, 3600.0, 4 * HOUR, 100 * HOUR):
        seconds = my_wait(given)
        if blank(seconds):
            raise NotYet("return a number of seconds.")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1800 <= seconds <= 3 * HOUR:
            return Problem(f"{seconds!r} for a message that came {given:g} seconds ago",
                           "Tokyo is called again too soon." if isinstance(seconds, int | float) and seconds < 1800
                           else "The letter waits longer than it has to.",
                           "Between half an hour and three hours, in seconds: 1800 to 10800.")
    while age < 24 * HOUR:
        seconds = my_wait(age)
        if seconds < before:
            return Problem(f"{seconds:g} after {before:g}", "Tokyo is called more often the longer it is down.",
                           "An interval is never shorter than the one before it.")
        age, before = age + seconds, seconds
        attempts.append(age)
    if sum(age < HOUR for age in attempts) < 2:
        return Problem("one attempt in the first hour", "A machine that restarts in a minute is missed for an hour.",
                       "30 minutes after the first attempt comes the second.")
    if my_wait(8 * HOUR) < 2 * HOUR:
        return Problem(f"{my_wait(8 * HOUR):g} seconds after eight hours", "Two hundred calls, and nobody is there.",
                       "Then one every two or three hours (RFC 5321 §4.5.4.1).")
    return None


# --- your turn: take -------------------------------------------------------------------------------------------------


class Watched:
    """A connection, or a cursor of one; somebody comes in between, after the first SELECT."""

    def __init__(self, real: Any, between: list[Callable[[], None]]) -> None:
        self._real, self._between = real, between

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> Watched:
        self._real.__enter__()
        return self

    def __exit__(self, *given: Any) -> Any:
        return self._real.__exit__(*given)

    def cursor(self) -> Watched:
        """A cursor that is watched, too."""
        return Watched(self._real.cursor(), self._between)

    def execute(self, sql: str, *given: Any) -> Any:
        """Run a statement."""
        done = self._real.execute(sql, *given)
        if sql.lstrip().upper().startswith("SELECT") and self._between:
            rows = done.fetchall()             # as somebody who reads at once
            self._between.pop()()
            return Rows(rows)
        return done


class Rows:
    """Rows that were read before somebody came in between."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        while self._rows:
            yield self._rows.pop(0)

    def fetchone(self) -> Any:
        """The next row."""
        return next(iter(self), None)

    def fetchall(self) -> list[Any]:
        """All of them."""
        return list(self)


def filled(db: sqlite3.Connection, *rows: tuple[float, float]) -> None:
    """A message for each pair of `due` and `held`."""
    with db:
        for due, held in rows:
            number = ours.insert(db, Envelope(ANA, [YUI]), b"", io.BytesIO(LETTER), 0.0)
            db.execute("UPDATE message SET due = ?, held = ? WHERE id = ?", (due, held, number))


WAITING = ((900.0, 0.0), (700.0, 1500.0), (800.0, 300.0), (2000.0, 0.0), (1000.0, 1000.0))
INTENDED = [3, 1, 5]                           # of these, at 1000: the second is held, the fourth is not due


@check(
    hints=(
        "How many statements may there be, so that nobody gets in between?",
        "UPDATE message SET held = ? WHERE id = (SELECT id FROM message WHERE due <= ? AND held <= ? ORDER BY due "
        "LIMIT 1) RETURNING *",
        "One UPDATE chooses its row by a SELECT in brackets and returns it. `fetchall` on it, and make an Entry of the "
        "first row, if there is one. The SELECT asks for `due` and `held` up to now, orders by `due`, and takes one.",
    ),
    passed="One runner at a time has a message, and nobody for ever.",
)
def check_take(my_take: Callable[..., Any]) -> Problem | None:
    """Who takes what."""
    with two_connections() as (db, _):
        if not blank(my_take(db, 5.0)):
            return Problem("something from an empty queue", "There is no letter to send.", "Return None.")
        db.execute("DROP INDEX by_due")        # or SQLite finds the oldest first by luck
        filled(db, *WAITING)
        for wanted in INTENDED:
            found = my_take(db, 1000.0)
            if blank(found):
                if wanted == INTENDED[0] and not any(entry.held == 1000.0 + HOUR for entry in stored(db)):
                    raise NotYet("return the message that has been due for longest.")
                return Problem("None, and something is due", "A letter waits that could leave.",
                               "`due <= now AND held <= now`, and return `entry_of(row)`.")
            if problem := problem_of_take(db, found, wanted):
                return problem
        db.commit()
        if (found := my_take(db, 1000.0)) is not None:
            return Problem(f"message {getattr(found, 'id', found)!r}", "Nothing is due that nobody holds.",
                           "`due <= now AND held <= now`.")
    return at_the_same_time(my_take)


def problem_of_take(db: sqlite3.Connection, found: Any, wanted: int) -> Problem | None:
    """What is wrong with a message that was taken."""
    if not isinstance(found, Entry):
        return Problem(f"{found!r:.100}", "Nobody can send that.", "`entry_of(row)` makes an Entry of a row.")
    held = {entry.id: entry.held for entry in stored(db)}
    taken = [number for number, until in held.items() if until == 1000.0 + HOUR]
    if len(taken) > INTENDED.index(wanted) + 1:
        return Problem(f"{len(taken)} messages are held now", "Nobody sends the others for an hour.", "LIMIT 1.")
    if found.id != wanted:
        return Problem(f"the message that is due since {found.due:g}, and held until {found.held:g}",
                       "Another one waits for longer." if found.id in INTENDED else "It is not for us, or not yet.",
                       "Of those with `due <= now AND held <= now`, take the first by `due`.")
    if held[wanted] != 1000.0 + HOUR or found.held != held[wanted]:
        return Problem(f"held until {held[wanted]:g} in the file, and {found.held:g} in the entry, at 1000",
                       "Another runner takes it at once, or what we note later is not believed.",
                       "`held` becomes `now + HOUR`, and the row that you return says so.")
    return None


def at_the_same_time(my_take: Callable[..., Any]) -> Problem | None:
    """Two runners, and the second comes at the worst moment."""
    with two_connections() as (db, other):
        filled(db, (0.0, 0.0))
        theirs: list[Entry | None] = []

        def second() -> None:
            with suppress(sqlite3.OperationalError), other:        # locked: the first has seen to it
                theirs.append(ours.take(other, 10.0))

        mine = None
        with suppress(sqlite3.OperationalError):                   # or it hears that it came too late
            mine = my_take(Watched(db, [second]), 10.0)
        if mine is not None and any(theirs):
            return Problem("a message that another runner has, too", "Yui gets the letter twice.",
                           "Between your SELECT and your UPDATE the other one came. Make one statement of them.")
    return None


# --- your turn: what it means ----------------------------------------------------------------------------------------

ACTIONS: list[tuple[dict[str, str], bool, list[str], list[str]]] = [
    ({YUI: "failed", KENJI: "delayed", LI: "delivered"}, False, [KENJI], [YUI, LI]),
    ({YUI: "failed", KENJI: "delayed", LI: "delivered"}, True, [KENJI], [YUI, KENJI, LI]),
    ({YUI: "", KENJI: "relayed"}, False, [], [KENJI]), ({YUI: ""}, True, [], []),
    ({YUI: "delayed", KENJI: "delayed"}, False, [YUI, KENJI], []),
    ({YUI: "delayed", KENJI: ""}, True, [YUI], [YUI]), ({}, True, [], []),
]


@check(
    hints=(
        "Which of the words means another attempt, and which two are sometimes no news?",
        '[a for a, action in actions.items() if action == "delayed"]',
        "Whoever is delayed waits. News are all those with a word, but the delayed only when `late` is true. Return "
        "two lists, the waiting first.",
    ),
    passed="Nobody waits for nothing, and Ana hears once what she has to hear.",
)
def check_sort_out(my_sort_out: Callable[..., Any]) -> Problem | None:
    """Who waits, and who is news."""
    for actions, late, waiting, news in ACTIONS:
        found = my_sort_out(dict(actions), late)
        if blank(found):
            raise NotYet("return two lists.")
        if not (isinstance(found, tuple | list) and len(found) == 2
                and all(isinstance(part, list | tuple) for part in found)):
            return Problem(f"{found!r:.100}", "The next line wants two lists.", "`return waiting, news`.")
        what = f"for {actions}, late={late}"
        if sorted(map(str, found[0])) != sorted(waiting):
            return Problem(f"{found[0]} who wait, {what}", "Somebody is never tried again, or gets it twice.",
                           "Those with `delayed` wait, and nobody else.")
        if sorted(map(str, found[1])) != sorted(news):
            return Problem(f"{found[1]} as news, {what}", "Ana hears too much, or not what she must.",
                           "Everybody with a word; but `delayed` is news only when it is late.")
    return None


def receipt(refused_by: str = "", reply: Reply | None = None, unknown: Sequence[str] = (),
            **about: Reply) -> tuple[Receipt, dict[str, int]]:
    """A receipt, and the first digit that is due for each."""
    names = {"yui": YUI, "kenji": KENJI, "li": LI}
    made = Receipt(ANA, {names[name]: said for name, said in about.items()}, refused_by, reply, list(unknown))
    sure = made.done or made.unknown
    return made, {address: (made.recipients[address].code if address in made.recipients
                            and (sure or not made.recipients[address].positive) else 4) for address in (YUI, KENJI, LI)}


KEPT, WOULD, NOBODY, FULL = Reply(250, "kept"), Reply(250, "I would"), Reply(550, "nobody"), Reply(452, "full")
RECEIPTS = [
    ("somebody has it, one was refused", receipt(reply=KEPT, yui=KEPT, kenji=NOBODY, li=KEPT)),
    ("the body was refused", receipt("body", FULL, yui=FULL, kenji=NOBODY, li=FULL)),
    ("the line broke after the dot", receipt(unknown=[YUI, LI], kenji=NOBODY)),
    ("the line broke between two RCPT", receipt(yui=WOULD, kenji=NOBODY)),
    ("nothing was said at all", receipt()),
    ("one has it, of the rest nothing is known", receipt(reply=KEPT, yui=KEPT, unknown=[KENJI, LI])),
]


@check(
    hints=(
        "Which of the replies in a receipt may you believe, if it was cut off?",
        "known.get(address, UNKNOWN), where known is all of receipt.recipients or only receipt.refused",
        "If the receipt is done, or knows whom it does not know, believe all of its recipients. Otherwise a 250 was "
        "only to RCPT: believe the refusals. Everybody else is unknown, which is a 4yz: it is tried again.",
    ),
    passed="Two copies are a nuisance, and none is lost.",
)
def check_replies_of(my_replies_of: Callable[..., Any]) -> Problem | None:
    """A reply for each recipient."""
    for what, (given, due) in RECEIPTS:
        found = my_replies_of(given, [YUI, KENJI, LI])
        if blank(found) or (isinstance(found, Mapping) and ... in found.values()):
            raise NotYet("return a reply for each recipient, and choose the one for whom nothing is known.")
        if not isinstance(found, Mapping) or not all(isinstance(reply, Reply) for reply in found.values()):
            return Problem(f"{found!r:.120}", "The queue wants a Reply for each address.",
                           "`{address: … for address in recipients}`.")
        if missing := [address for address in due if address not in found]:
            return Problem(f"no reply for {missing[0]} when {what}", "Nobody knows whether it is tried again.",
                           "One for each of `recipients`.")
        for address, code in due.items():
            if (found[address].code != code) if code > 9 else not found[address].temporary:
                look = (f"Its receipt says {given.recipients[address]}." if code > 9 else
                        "Nothing is known, so the reply is a 4yz.")
                lost = found[address].positive or found[address].permanent
                return Problem(f"{found[address]} for {address} when {what}", "The letter may be lost, or Ana hears "
                               "what is not true." if lost else "It is sent again to somebody who needs it no more.",
                               look)
    return None


# --- exercises -------------------------------------------------------------------------------------------------------

FATES = {"A": (1, None), "B": (2, None), "C": (0, "failed"), "D": (1, "delayed"), "E": (0, "failed"), "F": (0, None)}
BECAUSE = {"A": "When is a delay told?", "B": "Which commit is missing, and what does the lease do?",
           "C": "What does a 5yz mean, and who must hear of it?", "D": "After how many hours is a delay told?",
           "E": "What becomes of a 4yz at the last attempt?", "F": "Who is told of a report (RFC 5321 §6.1)?"}


@check(
    hints=(
        "For each row: which commits has the disk, and what will the next turn do?",
        "B is (2, None): Rio has not noted Tokyo's 250.",
        "A 4yz waits, a 5yz is reported at once, and the last 4yz is reported as failed. A delay is told once, after "
        "four hours. What was not noted is sent again. Nobody is told of a report.",
    ),
    passed="You can tell what becomes of a letter, whatever happens to it.",
)
def check_fates(my_fates: Mapping[str, Any]) -> Problem | None:
    """Exercise 1: copies, and the last word to Ana."""
    for name, fate in FATES.items():
        found = my_fates.get(name, ...)
        if found is ... or (isinstance(found, tuple | list) and ... in found):
            raise NotYet(f"{name} is missing.")
        if not isinstance(found, tuple | list) or len(found) != 2:
            return Problem(f"{found!r:.80} for {name}", look="Two things in brackets: copies, and what Ana hears.")
        if as_number(found[0]) != fate[0]:
            return Problem(f"{found[0]!r:.80} copies for {name}", "Yui counts another number.", BECAUSE[name])
        if (found[1] or None) != fate[1]:
            return Problem(f"{found[1]!r:.80} as the last word to Ana for {name}", "Ana hears something else.",
                           BECAUSE[name])
    return None


# Who waits for what, due at, held until; and whether Tokyo's call changes it at 1000.
SLEEPERS = [([YUI], 5000.0, 0.0, True), ([LI], 5000.0, 0.0, False), ([LI, "mai@TOKYO.example"], 9000.0, 0.0, True),
            (["x@nottokyo.example"], 5000.0, 0.0, False), (["x@tokyo.example.org"], 5000.0, 0.0, False),
            ([KENJI], 400.0, 0.0, False), ([KENJI], 6000.0, 3000.0, True),
            (['"@tokyo.example"@rio.example'], 5000.0, 0.0, False), ([YUI, KENJI], 7000.0, 0.0, True)]


@check(
    hints=(
        "What exactly is the domain of an address, and which rows need a change?",
        'address.rpartition("@")[2].lower() == domain.lower()',
        "Read id and envelope of all messages that are due later than now. Make a list of the recipients' domains in "
        "small letters. If ours is among them, set `due` to now, and count it. Text search in the JSON finds domains "
        "that only look alike.",
    ),
    passed="Tokyo's mail leaves at once, and nobody else's.",
)
def check_awake(my_awake: Callable[..., Any]) -> Problem | None:
    """Exercise 2: the mail of a domain is due."""
    with two_connections() as (db, other):
        with db:
            for recipients, due, held, _ in SLEEPERS:
                number = ours.insert(db, Envelope("yui@tokyo.example", recipients, options={
                    LI: {"ORCPT": "rfc822;li@tokyo.example"}}), b"", io.BytesIO(LETTER), 0.0)
                db.execute("UPDATE message SET due = ?, held = ? WHERE id = ?", (due, held, number))
        count = my_awake(db, "Tokyo.example", 1000.0)
        found = stored(db)
        if blank(count) and all(entry.due == due for entry, (_, due, *_) in zip(found, SLEEPERS, strict=True)):
            raise NotYet("change what is due, and return how many you changed.")
        if any(entry.due == 1000.0 for entry in stored(other)):
            return Problem("a commit", "Whoever calls cannot take it back.", "Leave `commit` and `with db` to them.")
        if len(found) != len(SLEEPERS):
            return Problem(f"{len(found)} messages of {len(SLEEPERS)}", "Letters are gone.", "Only `due` changes.")
        for entry, (recipients, due, held, changes) in zip(found, SLEEPERS, strict=True):
            about = f"the message for {', '.join(recipients)}, due at {due:g}"
            if entry.held != held:
                return Problem(f"held until {entry.held:g}: {about}", "Two runners send it.", "Leave `held` alone.")
            if entry.due != (1000.0 if changes else due):
                return Problem(f"now due at {entry.due:g}: {about}", "It waits although Tokyo is up." if changes
                               else "It is tried too soon, or loses its place.",
                               "The domain is what follows the last @, capitals aside; what is due already stays.")
        changed = sum(changes for *_, changes in SLEEPERS)
        if count != changed or isinstance(count, bool):
            return Problem(f"{count!r} messages", "Nobody can say in the log what happened.", f"It was {changed}.")
    return None


def raced(steps: Sequence[Any]) -> tuple[str, str, str]:
    """Who has the message, who has stopped, and what is wrong with the steps."""
    held, places, has, stopped = False, dict.fromkeys("ABC", 0), "", ""
    for runner in steps:
        if runner not in places:
            return has, stopped, f"{runner!r} is not A, B or C"
        if runner in has + stopped:
            return has, stopped, f"{runner} takes a step after its end"
        places[runner] += 1
        if places[runner] == 1 and held:
            stopped += runner
        elif places[runner] == 2:
            held, has = True, has + runner
    waiting = "".join(runner for runner, place in places.items() if place == 1 and runner not in stopped)
    return has, stopped, f"{waiting} has read, and noted nothing" if waiting else ""


@check(
    hints=(
        "What must two runners have done before either of them does what?",
        "Begin with A and B, who both read.",
        "Two runners read while nobody has noted anything: both find the message. Then both note, and both have it. "
        "The third takes its first step after that, finds nothing, and stops.",
    ),
    passed="Two have it, and neither has made a mistake. That is what one statement prevents.",
)
def check_race(my_race: Sequence[Any]) -> Problem | None:
    """Exercise 3: an order of steps."""
    if not isinstance(my_race, str | list | tuple):
        return Problem(f"{my_race!r:.80}", look='An order such as "AABBC".')
    has, stopped, wrong = raced(my_race)
    if wrong:
        return Problem(f"{''.join(map(str, my_race)):.40}: {wrong}", look="Read, note: two steps, or one and a stop.")
    if len(has) != 2 or len(stopped) != 1:
        return Problem(f"{''.join(my_race):.40}: {len(has)} have it, {len(stopped)} stopped",
                       f"Yui gets {len(has)} copies.", "When does the second one read, and when the third?")
    return None

"""The checks of `pop3`: what is there, its names and octets, long replies, listings, QUIT, a client, a faked reply."""
from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from smtp_from_scratch.conversation import Line, Want, Work, rehearse
from smtp_from_scratch.desk import Refused
from smtp_from_scratch.envelope import stuff
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.pop3 import octets_of, uid_of

# --- your turn: what is there -----------------------------------------------------------------------------------------

FILES = {
    "new/1730000300.P7Q1.mx": "1730000300.P7Q1.mx", "cur/1730000100.P7Q2.mx:2,S": "1730000100.P7Q2.mx",
    "cur/1730000200.P7Q3.mx:2,": "1730000200.P7Q3.mx", "cur/1730000400.P7Q4.mx": "1730000400.P7Q4.mx",
    "new/.nfs0001": "", "cur/.hidden:2,S": "", "tmp/1730000500.P7Q5.mx": "",
}


@contextmanager
def maildir(files: Iterable[str]) -> Iterator[str]:
    """A Maildir with these files, a folder and a link that are no letters."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tmp", "new", "cur"):
            Path(folder, name).mkdir()
        for name in files:
            Path(folder, name).write_bytes(b"Subject: x\n")
        Path(folder, "new", "1730000600.folder").mkdir()
        try:
            Path(folder, "new", "1730000700.link").symlink_to(Path(folder, "tmp"))
            Path(folder, "cur", "1730000800.link").symlink_to(Path(folder, "new", "1730000300.P7Q1.mx"))
        except OSError:                        # Windows asks for a right
            pass
        yield folder


@check(
    hints=(
        "Which part of `1730.P1Q2.mx:2,S` is the unique name, and which entries of a folder are letters?",
        'name.partition(":")[0], for each entry of os.scandir(f"{folder}/{place}"), place in ("new", "cur")',
        "Go through new, then cur; a folder that does not exist raises FileNotFoundError, which you let pass. Of each "
        "entry that is a plain file (`is_file(follow_symlinks=False)`) and does not begin with a dot, note the unique "
        "name and the path. In the end make a dictionary of the sorted items.",
    ),
    passed="Every letter once, under the name that lasts.",
)
def check_scan(my_scan: Callable[[str], Any]) -> Iterator[Problem]:
    """The letters of a Maildir."""
    with maildir(FILES) as folder:
        found = my_scan(folder)
        if found is None or found is ...:
            raise NotYet("return a dictionary: unique name to path.")
        if not isinstance(found, dict):
            yield Problem(gave=f"{found!r:.200}", look="A dictionary was asked for: unique name to path.")
            return
        paths = {unique: f"{folder}/{name}" for name, unique in FILES.items() if unique}
        for name in paths.keys() - found.keys():
            yield Problem(gave=f"{sorted(found)}, without {name}", wire="Kenji never sees that letter.",
                          look="There are letters in new and in cur, and in cur a colon and flags may follow the name.")
        for name in found.keys() - paths.keys():
            yield Problem(gave=f"a letter called {name!r}", wire="Kenji is told of a letter that is none.",
                          look="Not in tmp, no folder, no link, no name that begins with a dot; and the unique name "
                               "ends before the colon.")
        for name, path in found.items():
            if str(path).replace("\\", "/") != paths[name].replace("\\", "/"):
                yield Problem(gave=f"{path!r} as the path of {name}", wire="The letter is not found there.",
                              look="The path is where the file is now, flags included.")
        if list(found) != sorted(paths):
            yield Problem(gave=f"the order {list(found)}", look="Sort by unique name: it begins with the time.",
                          wire="The letters have other numbers than the order in which they came.")
        if not all(isinstance(path, str) for path in found.values()):
            yield Problem(gave="a path that is no string", look="`entry.path`, or `str(path)`.")
    yield from where_none_are(my_scan)
    yield from in_order(my_scan)


def in_order(my_scan: Callable[[str], Any]) -> Iterator[Problem]:
    """Whether `cur` is read after `new`."""
    with maildir(FILES) as folder:
        read = listed(lambda: my_scan(folder))
    if "new" in read[read.index("cur") if "cur" in read else len(read) :]:
        yield Problem(gave="`cur` read before `new`", look='`for place in ("new", "cur")`: in this order.',
                      wire="Another program moves a letter from new to cur in between. You find it in neither.")


def listed(function: Callable[[], Any]) -> list[str]:
    """The names of the folders that a call lists, in order, as far as it asks `os` for them."""
    names: list[str] = []
    real: dict[str, Callable[..., Any]] = {"scandir": os.scandir, "listdir": os.listdir}

    def noting(asks: Callable[..., Any]) -> Callable[..., Any]:
        def ask(path: Any = ".") -> Any:
            names.append(os.path.basename(str(path).rstrip("/\\")))
            return asks(path)

        return ask

    try:
        for name, asks in real.items():
            setattr(os, name, noting(asks))
        function()
    finally:
        for name, asks in real.items():
            setattr(os, name, asks)
    return names


def where_none_are(my_scan: Callable[[str], Any]) -> Iterator[Problem]:
    """A Maildir that lacks a folder, and one that nobody has made."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "new").mkdir()
        for empty in (folder, f"{folder}/nobody"):
            try:
                found = my_scan(empty)
            except FileNotFoundError:
                found = None
            if found != {}:
                yield Problem(gave=f"{found!r} where a folder is missing", wire="A user without letters cannot log in.",
                              look="A folder that does not exist holds no letters: an empty dictionary.")


# --- your turn: names -------------------------------------------------------------------------------------------------

NAMES = ("1730000000.P1Q2.mx.tokyo.example", "x" * 70, "a!~b", "x" * 71, "x" * 72, "a b", "a\tb", "東京", "東方",
         "café", "a\udcffb", "y" * 200, "x\x7f", "mx\n")


@check(
    hints=(
        "Which names are good as they are? And what makes a short text of a long one, the same text every day?",
        "hashlib.sha256(os.fsencode(name)).hexdigest()",
        "A name with 1 to 70 characters, all of them from ! to ~, is its own uid. For any other take a digest: "
        "SHA-256 in hex has 64 characters. Python's own `hash` is another one in each process.",
    ),
    passed="Kenji knows tomorrow what he has fetched today.",
)
def check_uid_of(my_uid_of: Callable[[str], Any]) -> Iterator[Problem]:
    """Names for UIDL."""
    uids: dict[Any, str] = {}
    for name in NAMES:
        uid = my_uid_of(name)
        if uid is None or uid is ...:
            raise NotYet("return a name for UIDL.")
        given = f"{uid!r:.120} for {name!r:.90}"
        if not isinstance(uid, str) or not 1 <= len(uid) <= 70 or not all("!" <= c <= "~" for c in uid):
            yield Problem(gave=given, wire="A client takes it for something else, or cuts it.",
                          look="RFC 1939 §7: 1 to 70 characters, from ! to ~.")
        if uid in uids:
            yield Problem(gave=f"{given}, and for {uids[uid]!r:.90}", look="What was cut off, or made alike?",
                          wire="Kenji's program takes the second letter for one that it has, and never fetches it.")
        if name in NAMES[:3] and uid != name:
            yield Problem(gave=given, wire="It works, but nobody finds the file that a client complains about.",
                          look="This name is good as it is.")
        if my_uid_of(name) != uid or uid == f"{hash(name)}" or f"{hash(name) & (1 << 64) - 1:x}" in str(uid):
            yield Problem(gave=f"{given}, and another one later", wire="Kenji fetches everything again every day.",
                          look="No counter, no random number, no `hash`: the name alone decides.")
        uids[uid] = name


# --- your turn: octets ------------------------------------------------------------------------------------------------

BODIES: tuple[tuple[bytes, ...], ...] = (
    (b"Subject: Six\n\n.\nthree lines\nand a dot\nx\n",), (b"",), (), (b"no end",), (b"a\r\n", b"b\r\n"),
    (b"a\r", b"\nb\r", b"\n"), (b"a\n", b"", b".\n", b"..\n"), (b"ends with CR\r",), (b"x", b"y", b"\n", b"\n"),
    (b"\n",),
    (b".", b"\n", b"."), (b"a\rb\n",),
)


@check(
    hints=(
        "What does `stuff` do to a letter, and which part of that does not count?",
        "sum(len(block) for block in normalize(blocks))",
        "Add up the lengths of the blocks that `normalize` yields. Remember the last two octets that came: a block may "
        "be empty, or hold one octet. If they are not CR LF, and anything came at all, `stuff` adds two.",
    ),
    passed="What LIST says is what arrives.",
)
def check_octets_of(my_octets_of: Callable[[Iterable[bytes]], Any]) -> Iterator[Problem]:
    """The octets that travel."""
    for blocks in BODIES:
        found, said = my_octets_of(iter(blocks)), octets_of(blocks)
        if found is None or found is ...:
            raise NotYet("return a number of octets.")
        if found != said or not isinstance(found, int):
            yield Problem(gave=f"{found!r} for the blocks {list(blocks)!r}", look="Line ends are CR LF, the last line "
                          "has one, too, and dots that `stuff` adds do not count (RFC 1939 §11).",
                          wire=f"LIST says {found!r}, and {said} octets arrive.")
    held: list[int] = []

    def large() -> Iterator[bytes]:
        for _ in range(100):
            block = bytearray(b"a line of a film\n" * 4000)
            held.append(1)
            yield bytes(block)

    peak = highest(lambda: my_octets_of(large()))
    if peak > 4_000_000:
        yield Problem(gave=f"a count that took {peak // 1_000_000} MB of memory for one of {len(held) * 68 // 1000} MB",
                      wire="Ten such letters, and the server falls.", look="Count block by block, and keep none.")


def highest(function: Callable[[], Any]) -> int:
    """The octets of memory that a call takes at most, if somebody can say."""
    import tracemalloc

    if tracemalloc.is_tracing():
        function()
        return 0
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- your turn: long replies ------------------------------------------------------------------------------------------


def told(conversation: Any) -> tuple[bytes, list[bytes]]:
    """All that is said, and what was said before each `Work`; NotYet for what is no conversation."""
    if not inspect.isgenerator(conversation):
        raise NotYet("make it a generator: what it says, it yields.")
    answer: Any = None
    said, before = b"", list[bytes]()
    try:
        for _ in range(10_000):
            thing = conversation.send(answer)
            answer = None
            if isinstance(thing, Work):
                before.append(said)
                answer = outcome_of_work(thing)
            elif isinstance(thing, bytes):
                said += thing
            elif isinstance(thing, Want):
                raise LookupError(f"the conversation wants {thing!r}, and the client says nothing now")
            else:
                raise TypeError(f"a conversation yields bytes or a want, not {thing!r}")
        raise RuntimeError("this reply has no end")
    except StopIteration:
        return said, before


class Exhausted(Exception):
    """The function of a `Work` has raised StopIteration."""


def outcome_of_work(work: Work) -> Any:
    """What its function returns; NotYet for what is no function."""
    if not callable(work.function):
        raise NotYet("`Work` takes a function, not what it returns: `Work(lambda: …)`.")
    try:
        return work.function()
    except StopIteration:
        raise Exhausted from None


@check(
    hints=(
        "What comes first, what between the blocks, and when is it over?",
        'while block := (yield Work(lambda: next(lines, b""))): yield block',
        "Yield the line `+OK`, a space, the text, CR LF, as octets. Then ask for a block with `yield Work(…)`: its "
        "answer is the value of the `yield`. As long as it is not empty, yield the block and ask again.",
    ),
    passed="Dots doubled, an end that nobody mistakes, and one block in memory.",
)
def check_multi_line(my_multi_line: Callable[[str, Iterable[bytes]], Any]) -> Iterator[Problem]:
    """`+OK`, and lines up to a dot."""
    for text, blocks in (("2 letters", [b"1 40\r\n2 136\r\n"]), ("the letter", [b"Subject: x\n\n", b".\n..\nend\n"]),
                         ("nothing", []), ("no end", [b"a"]), ("many", [b"line %d\n" % n for n in range(50)])):
        due = f"+OK {text}\r\n".encode() + b"".join(stuff(blocks))
        taken: list[int] = []

        def counted(blocks: list[bytes] = blocks, taken: list[int] = taken) -> Iterator[bytes]:
            for block in blocks:
                taken.append(1)
                yield block

        try:
            said, before = told(my_multi_line(text, counted()))
        except Exhausted:
            yield Problem(gave=f"a `Work` whose function raises StopIteration, for {blocks!r:.200}",
                          wire="After the last line the session breaks off with an error.",
                          look='`next(lines, b"")`: an empty block says that there is no more.')
            return
        if not said.strip():
            raise NotYet("say the `+OK` line, then the blocks.")
        if said != due:
            wire = "The client waits for the dot, and hears nothing more." if not said.endswith(b".\r\n") else \
                   "The client reads something else than what was there."
            yield Problem(gave=f"{said!r:.300} for {blocks!r:.200}", wire=wire, look=f"It would be {due!r:.300}.")
        if len(before) < len(blocks):
            yield Problem(gave=f"{len(before)} times `Work` for {len(blocks)} blocks", look="A `Work` for each.",
                          wire="The loop of all callers waits for this disk; or the whole letter is in memory.")
        if len(blocks) > 9 and len(set(before)) < len(blocks) / 2:
            yield Problem(gave="all blocks fetched before one is said", look="Say a block, then ask for the next.",
                          wire="A letter of 100 MB is in memory, as often as somebody reads it.")


# --- your turn: LIST and UIDL -----------------------------------------------------------------------------------------


class Drop(SimpleNamespace):
    """A maildrop for the check: three letters."""

    @property
    def present(self) -> list[int]:
        return [index for index in range(len(self.names)) if index not in self.marked]

    def index(self, number: str) -> int:
        if number not in [str(index + 1) for index in self.present]:
            raise Refused("no such letter")
        return int(number) - 1


def three(*marked: int) -> Any:
    """A session in which some letters are marked."""
    return SimpleNamespace(maildrop=Drop(names=["one", "two", "three"], octets=[40, 136, 7], marked=set(marked)))


@check(
    hints=(
        "Which letters have a line, and with which number? What is answered when a number was given?",
        'f"{index + 1} {column(drop, index)}\\r\\n" for index in drop.present',
        "With a number, ask `index` for the letter and return the number, a space and the column as text. Without one, "
        "make a line for each index in `present`, its number one above the index. Return `multi_line` of some words "
        "and these lines as octets.",
    ),
    passed="One line for each letter that is there, and a number that stays.",
)
def check_listing(my_listing: Callable[[Any], Any]) -> Iterator[Problem]:
    """A handler for LIST and UIDL."""
    for column in (lambda drop, index: drop.octets[index], lambda drop, index: uid_of(drop.names[index])):
        handle = my_listing(column)
        if not callable(handle):
            raise NotYet("return the handler.")
        for marked in ((), (0,), (0, 2), (0, 1, 2)):
            yield from of_all(handle, column, marked)
        yield from of_one(handle, column)


def of_all(handle: Callable[..., Any], column: Callable[[Any, int], object],
           marked: tuple[int, ...]) -> Iterator[Problem]:
    """What a handler answers without a number, when some of three letters are marked."""
    try:
        answer = handle(three(*marked))
        if answer is None or answer is ...:
            raise NotYet("the handler returns text, or a conversation: `multi_line(…)`.")
        if isinstance(answer, str):
            yield Problem(gave=f"{answer!r:.100} without a number", look="`multi_line` makes the long reply.",
                          wire="The client waits for lines, and for a dot.")
        said = told(answer)[0]
    except Refused as refusal:
        yield Problem(gave=f"Refused, {str(refusal)!r}, when no number is given", look="`if number:` first.",
                      wire="LIST alone asks for all, and hears -ERR.")
        return
    except TypeError as error:
        if "can't concat" not in str(error):
            raise
        yield Problem(gave=f"a reply that cannot be said: {error}", wire="The session breaks off.",
                      look="The blocks of `multi_line` are a list of bytes: `[text.encode()]`.")
        return
    lines = said.split(b"\r\n")[1:-2]
    due = [f"{index + 1} {column(three().maildrop, index)}".encode() for index in {0, 1, 2}.difference(marked)]
    if lines != due or not said.startswith(b"+OK"):
        yield Problem(gave=f"the lines {lines} when of 1, 2, 3 are marked: {[one + 1 for one in marked]}",
                      wire="Kenji fetches one letter and deletes another.",
                      look=f"They would be {due}: the number, and what `column` says.")


def of_one(handle: Callable[..., Any], column: Callable[[Any, int], object]) -> Iterator[Problem]:
    """What a handler answers to a number, when the first of three letters is marked."""
    answer = handle(three(0), "2")
    if answer is None or answer is ...:
        raise NotYet("and when a number is given?")
    due_text = f"2 {column(three().maildrop, 1)}"
    if answer != due_text:
        yield Problem(gave=f"{answer!r:.100} for number 2", wire="The client waits for a line that it understands.",
                      look=f"With a number the answer is text: {due_text!r}.")
    for number in ("1", "4"):
        try:
            answer = handle(three(0), number)
            answer = told(answer)[0] if inspect.isgenerator(answer) else answer
        except Refused:
            continue
        yield Problem(gave=f"{answer!r:.100} for letter {number} of 3, when 1 is marked",
                      wire="Kenji believes that it is there.", look="`index` raises Refused: let it out.")


# --- your turn: QUIT --------------------------------------------------------------------------------------------------


@check(
    hints=(
        "In which state is there something to remove, and what if the disk refuses?",
        'left = yield Work(session.maildrop.remove)',
        "If the state is transaction, yield a Work with `remove`, which answers how many are left. If there are any, "
        "set the state to update and raise Refused. In every other case return goodbye.",
    ),
    passed="Marked letters are gone, and nothing else is.",
)
def check_quit(my_quit: Callable[[Any], Any]) -> Iterator[Problem]:
    """QUIT in both states."""
    for state, left in (("transaction", 0), ("transaction", 2), ("authorization", 0)):
        removed: list[str] = []
        session = SimpleNamespace(state=state, peer="", name="kenji", maildrop=Drop(
            names=["one", "two"], marked={0, 1}, remove=lambda removed=removed, left=left: removed.append("x") or left))
        wished, answered, refusal = outcome_of(my_quit(session))
        what = f"QUIT in {state.upper()}" + (f", {left} could not be removed" if left else "")
        if answered is None and refusal is None or answered is ...:
            raise NotYet(f'return "goodbye", for {what}.')
        if not refusal:
            yield from of_words(answered, what)
        if len(removed) != (state == "transaction"):
            wire = "The letters stay for ever: QUIT is the only way to remove them." if state == "transaction" else \
                   "A caller who has not logged in removes letters."
            yield Problem(gave=f"{len(removed)} times `remove` for {what}", wire=wire,
                          look="`remove` once, in TRANSACTION, and nowhere else (RFC 1939 §6).")
        if removed and not wished:
            yield Problem(gave=f"`remove` called by the conversation itself, for {what}",
                          wire="A disk is slow, and a loop waits with all its callers.",
                          look="`yield Work(session.maildrop.remove)`: the stage calls it.")
        if any(not isinstance(thing, Work) for thing in wished):
            yield Problem(gave=f"{wished} for {what}", look="Only the Work; the answer is returned.",
                          wire="The client hears two answers to one command.")
        if bool(refusal) != bool(left):
            yield Problem(gave=f"{'a refusal' if refusal else 'goodbye'} for {what}",
                          wire="Kenji's program believes the wrong thing about what is left.",
                          look="`remove` returns how many could not be removed: raise Refused if there are some.")
        if left and session.state != "update":
            yield Problem(gave=f"the state {session.state!r} after a QUIT that failed", look='"update".',
                          wire="The session goes on after QUIT, and the maildrop stays locked (RFC 1939 §6).")


def of_words(answered: Any, what: str) -> Iterator[Problem]:
    """What `serve` would say of an answer."""
    if not isinstance(answered, str) or answered[:1] in "+-":
        yield Problem(gave=f"{answered!r:.80} for {what}", look='Text alone: return "goodbye", or raise Refused.',
                      wire=f"The client hears `+OK {answered!s:.80}`.")


def outcome_of(talk: Any) -> tuple[list[Any], Any, Refused | None]:
    """What a conversation has wished for, what it has returned, or with what it was refused."""
    if not inspect.isgenerator(talk):
        raise NotYet("make it a generator: `yield Work(…)`.")
    answer: Any = None
    wished: list[Any] = []
    try:
        while len(wished) < 9:
            thing = talk.send(answer)
            if isinstance(thing, Work) and not callable(thing.function):
                raise NotYet("what is the work?" if thing.function is ... else
                             "`Work` takes the function, not what it returns: `session.maildrop.remove`, without `()`.")
            wished.append(thing)
            answer = thing.function() if isinstance(thing, Work) else None
    except StopIteration as end:
        return wished, end.value, None
    except Refused as refusal:
        return wished, None, refusal
    raise RuntimeError("QUIT has no end")


# --- exercise 1: which protocol ---------------------------------------------------------------------------------------

PROTOCOLS = {
    "A": ("IMAP", "Who keeps the mark, so that both devices see it?"),
    "B": ("POP3", "Fetch, remove, done: nothing more is needed."),
    "C": ("SMTP", "Is that pushed or pulled?"),
    "D": ("IMAP", "TOP stops after so many lines of the raw text. Who knows where a part begins?"),
    "E": ("IMAP", "Who has all the letters, and can look through them?"),
    "F": ("POP3", "Whose disk shall be used?"),
    "G": ("IMAP", "In which of them may the server speak first?"),
    "H": ("SMTP", "Is that pushed or pulled?"),
}


@check(
    hints=(
        "For each wish: is something pushed or pulled? And on whose disk are the letters afterwards?",
        "Four of the eight are IMAP, two are SMTP.",
        "Whatever leaves is SMTP. What needs the letters, or marks on them, on the server for more than one device is "
        "IMAP. What empties the mailbox is POP3.",
    ),
    passed="You know which door to knock at.",
)
def check_protocols(my_protocols: dict[str, str]) -> Iterator[Problem]:
    """POP3, IMAP or SMTP."""
    for name, (protocol, look) in PROTOCOLS.items():
        if name not in my_protocols:
            raise NotYet(f"an answer for {name} is missing.")
        if str(my_protocols[name]).strip().upper().rstrip("34") != protocol.rstrip("3"):
            yield Problem(gave=f"{my_protocols[name]!r} for {name}", look=look)


# --- exercise 2: fetch ------------------------------------------------------------------------------------------------


class Post:
    """A POP3 server for the check: what a line that breaks leaves behind. `steps` commands, then it breaks."""

    def __init__(self, letters: dict[str, bytes]) -> None:
        self.letters, self.steps, self.said = letters, 0, list[str]()

    def call(self, steps: int) -> Post:
        """A new session, whose line breaks after so many commands: some are obeyed, and their answers are lost."""
        self.steps, self.listed, self.marked, self.said = steps, dict(enumerate(self.letters, 1)), set[int](), []
        return self

    def step(self, what: str) -> None:
        self.said.append(what)
        self.steps -= 1
        if self.steps < 0:
            raise EOFError("the line broke")

    def uidl(self) -> list[tuple[int, str]]:
        self.step("uidl")
        return [(number, uid) for number, uid in self.listed.items() if number not in self.marked]

    def retr(self, number: int) -> bytes:
        self.step(f"retr {number}")
        if number in self.marked:
            raise Refused("no such letter: it is marked")
        return self.letters[self.listed[number]]

    def dele(self, number: int) -> None:
        self.step(f"dele {number}")
        self.marked.add(number)

    def quit(self) -> None:
        if self.steps == 0:                    # obeyed, and the answer never came
            self.remove()
        self.step("quit")
        self.remove()

    def remove(self) -> None:
        for number in self.marked:
            self.letters.pop(self.listed[number], None)


THREE = {"u1": b"Subject: one\r\n\r\n", "u2": b"Subject: two\r\n\r\n", "u3": b"Subject: three\r\n\r\n"}


def fetched(my_fetch: Callable[..., Any], breaks: list[int], full: int = -1) -> tuple[list[bytes], Post, str]:
    """Call until it succeeds: the letters kept, the server, and what is wrong; `full`: which `keep` fails."""
    post, seen, kept, tries = Post(dict(THREE)), set[str](), list[bytes](), [0]

    failed = [-1]                              # in which call `keep` has raised

    def keep(letter: bytes) -> None:
        tries[0] += 1
        failed[0] = number if tries[0] == full else failed[0]
        if tries[0] == full:
            raise OSError("the disk is full")
        kept.append(bytes(letter))

    for number, steps in enumerate([*breaks, 99]):
        try:
            my_fetch(post.call(steps), seen, keep)
            if failed[0] == number:
                return kept, post, "the disk was swallowed"
            if any(uid not in post.letters and letter not in kept for uid, letter in THREE.items()):
                return kept, post, "lost"
            if steps >= 99 or post.said[-1:] == ["quit"]:
                if post.said[-1:] != ["quit"]:
                    return kept, post, "no quit"
                if number >= len(breaks):
                    return kept, post, ""
            elif post.steps < 0:
                return kept, post, "swallowed"
        except EOFError:
            if steps >= 99:
                return kept, post, "EOFError without reason"
        except Refused:
            return kept, post, "marked"
        except OSError:
            if full < 0:
                raise
        lost = [uid for uid, letter in THREE.items() if uid not in post.letters and letter not in kept]
        if lost:
            return kept, post, "lost"
    return kept, post, ""


@check(
    hints=(
        "In which order do you fetch, keep, note in `seen`, mark and say goodbye? What if the line breaks between two?",
        "if uid not in seen: keep(pop.retr(number)); seen.add(uid)",
        "Go through the list. What is not in `seen` is fetched and kept, and then noted, nothing in between. Mark each "
        "letter with DELE after that, also one that you had seen before: its QUIT never came. At the end QUIT.",
    ),
    passed="Any tunnel, any number of tunnels: every letter once.",
)
def check_fetch(my_fetch: Callable[..., Any]) -> Iterator[Problem]:
    """The client's half."""
    kept, post, wrong = fetched(my_fetch, [])
    if not post.said:
        raise NotYet("fetch, keep, mark, say goodbye.")
    if wrong == "marked":
        yield Problem(gave=f"`{post.said[-1]}` after DELE of that letter", look="Fetch a letter before you mark it.",
                      wire="-ERR: a marked letter is not shown any more (RFC 1939 §5).")
    if wrong == "no quit":
        yield Problem(gave="a session without `pop.quit()` at its end", look="Which command removes what is marked?",
                      wire="Nothing is removed: the maildrop fills up.")
    if sorted(kept) != sorted(THREE.values()):
        yield Problem(gave=f"{len(kept)} letters kept of three, on a good line", look="Go through all of `pop.uidl()`.",
                      wire="Kenji misses some.")
    if post.letters:
        yield Problem(gave=f"{len(post.letters)} letters still in Tokyo, on a good line", look="DELE each, then QUIT.",
                      wire="The maildrop fills up.")
    yield from through_tunnels(my_fetch)
    for full in (1, 2, 3):
        kept, post, wrong = fetched(my_fetch, [98], full)
        if wrong == "the disk was swallowed" and len(kept) == len(set(kept)):
            yield Problem(gave=f"an OSError that nobody hears of, when the disk was full at the {full}. letter",
                          wire="Kenji's program says that all is well.", look="Let it out.")
        if len(kept) != len(set(kept)):
            yield Problem(gave=f"a letter kept twice, when the disk was full at the {full}. of them once",
                          wire="Kenji reads it again, or answers twice.",
                          look="Note each letter in `seen` as soon as `keep` has returned.")
        if wrong == "lost" or len(set(kept)) < 3 or len(kept) != len(set(kept)):
            yield Problem(gave=f"{len(set(kept))} of three letters, when the disk was full at the {full}. of them once",
                          wire="The letter that did not fit is gone.", look="Mark and note a letter only after `keep` "
                          "has returned, and let its OSError out before anything is said.")


def through_tunnels(my_fetch: Callable[..., Any]) -> Iterator[Problem]:
    """One or two lines that break, at each step."""
    for first in range(9):
        for second in (99, *range(9)):
            kept, post, wrong = fetched(my_fetch, [first] if second == 99 else [first, second])
            when = f"when the line breaks after {first} commands" + (f", then after {second}" if second < 99 else "")
            if wrong == "lost":
                yield Problem(gave=f"a letter that is nowhere, {when}", wire="QUIT has removed what nobody had kept.",
                              look="Keep a letter before you mark it, and before you note it in `seen`.")
            if wrong == "swallowed":
                yield Problem(gave=f"an EOFError that nobody hears of, {when}", look="Let it out.",
                              wire="Kenji's program says that all is well.")
            if len(kept) != len(set(kept)):
                yield Problem(gave=f"a letter kept twice, {when}", look="What is in `seen`, and from when on?",
                              wire="Kenji reads it again, or answers twice.")
            if len(set(kept)) < 3 or post.letters:
                yield Problem(gave=f"{len(set(kept))} letters kept, {len(post.letters)} still in Tokyo, {when}",
                              wire="What was seen and not removed stays for ever, or is never fetched.",
                              look="A letter in `seen` that is still there needs no RETR, and a DELE.")


# --- exercise 3: a letter that answers --------------------------------------------------------------------------------


def careless(letter: bytes) -> Any:
    """A server that does not stuff."""
    yield b"+OK ready\r\n"
    while (verb := (yield Line())[:4]) != b"QUIT":
        yield b"+OK\r\n" + letter + b".\r\n" if verb == b"RETR" else b"+OK 1 %d\r\n" % len(letter)


def careful(letter: bytes) -> Any:
    """The same, with `stuff`."""
    yield b"+OK ready\r\n"
    while (verb := (yield Line())[:4]) != b"QUIT":
        yield b"+OK\r\n" + b"".join(stuff([letter])) if verb == b"RETR" else b"+OK 1 %d\r\n" % len(letter)


def asks() -> Any:
    """Kenji's program: RETR 1, then STAT; the letter, and the answer to STAT."""
    yield Line(2000)
    yield b"RETR 1\r\n"
    yield Line(2000)
    lines = []
    while (line := (yield Line(2000))) != b".":
        lines.append(line.removeprefix(b"."))
    yield b"STAT\r\n"
    answer = yield Line(2000)
    yield b"QUIT\r\n"
    return lines, answer


@check(
    hints=(
        "What ends the letter for Kenji's program, and what does it read after that?",
        r'b"…\r\n.\r\n+OK 0 0\r\n"',
        "Write a header, an empty line and some words. Then a line with a dot alone: for Kenji's program the letter is "
        "over. The next line is what it takes for the answer to STAT: no letters, no octets.",
    ),
    passed="One dot, and the letter speaks for the server. Ours doubles it.",
)
def check_letter(my_letter: Callable[[], Any]) -> Problem | None:
    """A letter that answers STAT."""
    letter = my_letter()
    if letter is None or letter is ...:
        raise NotYet("return the octets of a letter.")
    if not isinstance(letter, bytes) or letter.count(b"\n") != letter.count(b"\r\n") or not letter.endswith(b"\r\n"):
        return Problem(gave=f"{letter!r:.200}", look="Octets, whose lines end with CR LF.")
    try:
        lines, answer = rehearse(asks(), careless(letter)).client
    except Exception as error:
        return Problem(gave=f"{letter!r:.200}", wire=f"Kenji's program stops: {error}",
                       look="Is there a line for STAT?")
    header = lines[: lines.index(b"")] if b"" in lines else lines
    if not any(line.lower().startswith(b"subject:") for line in header):
        return Problem(gave=f"a letter that begins {lines[:1]}", look="A Subject, an empty line, a few words.",
                       wire="Kenji sees that something is wrong.")
    if any(line.startswith(b"+OK") for line in lines):
        return Problem(gave=f"a letter in which Kenji reads {lines[-1]!r}", look="Is it after the end of the letter?",
                       wire="It is only a line of the letter.")
    if answer.split()[:3] != [b"+OK", b"0", b"0"]:
        return Problem(gave=f"the answer {answer!r} to STAT", wire="Kenji's program believes that something is there.",
                       look="What does a server say when a maildrop is empty?")
    lines, answer = rehearse(asks(), careful(letter)).client
    if answer.split()[:2] != [b"+OK", b"1"]:
        return Problem(gave="a letter that fools our server, too", look="Which line does `stuff` change?")
    return None

"""The checks of `maildir`: names, line ends, durable files, all or none; who has it, the steps, the route."""
from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.together import alone

# --- your turn: write ------------------------------------------------------------------------------------------------


@check(
    hints=(
        "Whose buffers does flush empty, and whose does fsync?",
        'open(path, "xb"), then file.flush() and yield [file.fileno()] before the with ends',
        "Python keeps octets in a buffer, and the system keeps them in another one. `flush` empties the first into "
        "the second. Whoever plays your steps calls `os.fsync`, which empties the second onto the disk: so flush, then "
        "yield. The mode `x` makes it an error when the name exists already.",
    ),
    passed="The octets are in the file, the disk was asked, and an older letter is safe.",
)
def check_write(my_write: Callable[[str, Iterable[bytes]], Any]) -> Problem | None:
    """The file is new, whole and synced."""
    for text in (b"x" * 200_000 + b"\nthe end\n", b"Monday, at nine.\n"):
        if problem := written(my_write, [b"Return-Path: <>\n", text]):
            return problem
    return None


def played(steps: Any, what: str) -> Problem | None:
    """Play what a generator asks for; a problem if it is none."""
    if not isinstance(steps, Generator):
        return Problem("no generator", "It waits for the disk by itself, and nobody can ask for eight at once.",
                       f"`yield {what}` says what to wait for.")
    odd = list[Any]()
    alone(watched(steps, odd))
    return Problem(f"`yield {odd[0]!r}`", "Whoever plays your steps finds nothing to sync in that.",
                   f"`yield {what}`: a list, of numbers of open files and of folders.") if odd else None


def watched(steps: Generator[Any, Any, Any], odd: list[Any]) -> Generator[Any, None, None]:
    """The same steps, up to one that asks for something that no disk has."""
    error: OSError | None = None
    with suppress(StopIteration):
        while True:
            asked = steps.throw(error) if error else next(steps)
            error = None
            things = list(asked) if isinstance(asked, Iterable) and not isinstance(asked, str | bytes) else [None]
            if not all(isinstance(thing, int | str | os.PathLike) for thing in things):
                odd.append(asked)
                return
            try:
                yield things
            except OSError as raised:
                error = raised


def written(my_write: Callable[[str, Iterable[bytes]], Any], blocks: list[bytes]) -> Problem | None:
    """One letter; a short one stays in Python's buffer until somebody flushes it."""
    synced: list[int] = []
    real, whole = os.fsync, b"".join(blocks)

    def fsync(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "letter"
        with patch("os.fsync", fsync):
            if (steps := my_write(str(path), iter(blocks))) is ...:
                raise NotYet("open the file, write all blocks, and yield its number.")
            if problem := played(steps, "[file.fileno()]"):
                return problem
        if not path.exists():
            return Problem("no file", "Kenji's mailbox stays empty.", "Open the path with a mode that creates a file.")
        if path.read_bytes() != whole:
            return Problem(f"a file of {path.stat().st_size} octets, not {len(whole)}",
                           "Kenji gets another letter than Ana wrote.", "Write all blocks, in their order.")
        if not synced:
            return Problem("no sync of the file", "Tokyo says 250, the cable goes, the letter is gone.",
                           "`yield [file.fileno()]` asks the disk (RFC 5321 §6.1).")
        if synced[-1] != len(whole):
            return Problem(f"synced when the file had {synced[-1]} octets",
                           "The rest was still in Python's buffer: half a letter survives.",
                           "`file.flush()` comes first.")
        return over_an_older_one(my_write, path, blocks)


def over_an_older_one(my_write: Callable[[str, Iterable[bytes]], Any], path: Path, blocks: list[bytes]
                      ) -> Problem | None:
    """A name that is taken. Whoever looks first sees no file, as if another delivery made it just then."""
    path.write_bytes(b"an older letter\n")
    try:
        with ExitStack() as stack:
            for look in LOOKS:
                stack.enter_context(patch(look, lambda *path, **how: False))
            alone(my_write(str(path), iter(blocks)))
    except FileExistsError:
        return None if path.read_bytes() == b"an older letter\n" else Problem(
            "a name that is taken, and the letter under it is gone", "Yesterday's letter is overwritten.",
            "The mode \"xb\" refuses a name that is taken.")
    return Problem("no error for a name that is taken, or was taken right after you looked",
                   "Yesterday's letter is overwritten, or that of another delivery.",
                   'The mode "xb" looks and makes the file in one step.')


LOOKS = ("os.path.exists", "os.path.lexists", "os.path.isfile", "pathlib.Path.exists", "pathlib.Path.is_file")


# --- your turn: names, line ends, all or none ------------------------------------------------------------------------


@check(
    hints=(
        "Which four things differ between two deliveries: on one host, in one process, at one time?",
        'f"{time.time():.6f}.P{os.getpid()}Q{next(counter)}.{host}", with a counter made outside the function',
        "The time alone is not enough, because two deliveries may share a microsecond and clocks are set back. The "
        "process tells two servers of one host apart, the counter two threads of one process, and the host two "
        "machines that share a disk. Replace slash and colon in the host's name.",
    ),
    passed="Any two deliveries have two names, whatever the clock says.",
)
def check_unique_name(my_unique_name: Callable[[str], Any]) -> Problem | None:
    """A name for each delivery, and never one twice."""
    name = my_unique_name("mx.tokyo.example")
    if name is None or name is ...:
        raise NotYet("return a name for a file.")
    if not isinstance(name, str) or not name:
        return Problem(f"{name!r}", "No file can be called that.", "Return text that is not empty.")
    with patch("time.time", lambda: 1.0), patch("time.time_ns", lambda: 10**9), \
            patch("time.monotonic", lambda: 1.0), patch("time.perf_counter", lambda: 1.0):
        if len({my_unique_name("mx.tokyo.example") for _ in range(100)}) < 100:
            return Problem("one name for two deliveries at one time", "The second letter has no name to be linked to.",
                           "Add a counter: `itertools.count` makes one.")
        if my_unique_name("a.example").rpartition("a.example") == my_unique_name("b.example").rpartition("b.example") \
                or "b.example" not in my_unique_name("b.example"):
            return Problem("a name without the host", "Two hosts that share a disk may choose the same one.",
                           "Put `hostname` into it.")
    wrong = next((c for c in "/:\0" if c in my_unique_name("mx/one:two.example")), "")
    if wrong:
        return Problem(f"{my_unique_name('mx/one:two.example')!r}", f"{wrong!r} means something in a Maildir's names.",
                       '`hostname.replace("/", "_")`, and the same for the colon.')
    return problem_of_twins(my_unique_name)


def problem_of_twins(my_unique_name: Callable[[str], str]) -> Problem | None:
    """Whether a second server on the host, or this one after a restart, would choose the same names."""
    processes = {form for pid in (87_654_321, os.getpid()) for form in (str(pid), f"{pid:x}", f"{pid:o}")}
    seconds = (1_234_567_890.25, time.time())
    moments = {str(time.localtime().tm_year), *(str(int(moment))[:8] for moment in seconds),
               *(f"{int(moment * scale):x}"[:6] for moment in seconds for scale in (1, 10**9))}
    with patch("time.time", lambda: 1_234_567_890.25), patch("time.time_ns", lambda: 1_234_567_890_250_000_000), \
            patch("os.getpid", lambda: 87_654_321):
        one, two = my_unique_name("mx.tokyo.example"), my_unique_name("mx.tokyo.example")
    if sum(a != b for a, b in zip(one, two, strict=False)) >= 5:
        return None                            # drawn by lot, or a digest: no two are alike
    if not any(form in one.lower() for form in processes):
        return Problem(f"{one!r}: a name without the process", "A second server on this host may choose the same one.",
                       "Put `os.getpid()` into it.")
    if not any(form in one.lower() for form in moments):
        return Problem(f"{one!r}: a name without the time", "After a restart the counter begins again, and so do the "
                       "names.", "Put `time.time()` into it.")
    return None


ADDRESSES = [
    "kenji@tokyo.example", "/etc/cron.d/hello@tokyo.example", '"../../root"@tokyo.example', "a\0b@x.example",
    "a%2Fb@x.example", "a/b@x.example", '"a b"@x.example', '"a:b"@x.example', "kenji+choir@tokyo.example", "postmaster",
    '"a\\\\b"@x.example', "麻衣@tokyo.example", "\udce9@x.example",
]


@check(
    hints=(
        "Which of the two steps must come first, small letters or hex? And what of the quotes?",
        'quote(few_quotes(address).lower(), safe="@+=", errors="surrogateescape")',
        "Take the needless quotes away and make the letters small. Write all but a few characters in hex, the "
        "percent sign among them, so that no two addresses get one name. If the name is too long, keep a piece of "
        "it and append a digest of the whole.",
    ),
    passed="Every mailbox has a folder, inside the one that you chose.",
)
def check_folder_name(my_folder_name: Callable[[str], Any]) -> Iterator[Problem]:
    """A folder for each mailbox, whatever the address."""
    names: dict[str, str] = {}
    for address in ADDRESSES:
        name = my_folder_name(address)
        if name is None or name is ...:
            raise NotYet("return a name for a folder.")
        bad = next((c for c in "/\0\\:" if c in name), "")
        if bad or name in ("", ".", "..") or not name.isprintable():
            yield Problem(f"{name!r} for {address!r}", "A stranger chooses where your server writes.",
                          f"{bad or name!r} means something to a file system: write it in hex.")
        if name.lower() in names:              # not every file system minds capitals
            yield Problem(f"{name!r} for {address!r} and for {names[name.lower()]!r}", "One reads the other's mail.",
                          "What is written in hex must not be mistaken for what was there: `%` becomes `%25`.")
        names[name.lower()] = address
    for one, two in (("Kenji@Tokyo.example", "kenji@tokyo.example"), ('"kenji"@tokyo.example', "kenji@tokyo.example")):
        if my_folder_name(one) != my_folder_name(two):
            yield Problem(f"{my_folder_name(one)!r} for {one!r}", "Kenji has two mailboxes, and reads one.",
                          "Use `few_quotes`, and small letters.")
    yield from problems_of_long(my_folder_name)


def problems_of_long(my_folder_name: Callable[[str], Any]) -> Iterator[Problem]:
    """Whether long names fit, and differ, today and tomorrow."""
    long = ["ü" * 60 + "@" + domain for domain in ("x.example", "y.example")]
    hashed, real = list[object](), hash

    def noted(value: object) -> int:
        hashed.append(value)
        return real(value)

    with patch("builtins.hash", noted):
        found = [my_folder_name(address) for address in long]
    if hashed:
        yield Problem(f"{found[0]!r}, made with `hash`",
                      "After a restart the same address has another folder, and Kenji does not find his mail.",
                      "Python's `hash` differs from process to process, a digest of `hashlib` does not.")
    if max(len(name.encode()) for name in found) > 255:
        yield Problem(f"a name of {max(len(name.encode()) for name in found)} octets",
                      "The system refuses it, and the letter hears 451 for ever.",
                      "Append `hashlib.sha256` of what is too long.")
    if found[0] == found[1]:
        yield Problem(f"{found[0]!r} for two addresses", "One reads the other's mail.",
                      "Append a digest of the whole name.")


@check(
    hints=(
        "What can the last octet of a block be half of?",
        'held = b"\\r" if block.endswith(b"\\r") else b""',
        "Replace in each block, but not its last octet when that is a CR: hold it back and put it in front of the "
        "next block. When no block is left, what is held back is part of the letter.",
    ),
    passed="Cut anywhere, the letter is the same; and a lone CR stays.",
)
def check_with_lf(my_with_lf: Callable[[Iterable[bytes]], Any]) -> Problem | None:
    """Every CR LF an LF, wherever blocks end."""
    for text in (b"one\r\ntwo\r\n", b"a\rb\r\r\nc\n\r\n", b"the last octet is\r", b"", b"\r\n" * 5):
        wanted = text.replace(b"\r\n", b"\n")
        for blocks in ([text], [text[i : i + 1] for i in range(len(text))], *(
                [text[:cut], b"", text[cut:]] for cut in range(len(text)))):
            found = my_with_lf(iter(blocks))
            if found is None or found is ...:
                raise NotYet("yield the blocks with their line ends changed.")
            octets = found if isinstance(found, bytes) else b"".join(found)
            if octets != wanted:
                return Problem(f"{octets!r} for {blocks}", "Kenji gets another letter than Ana wrote.",
                               f"It would be {wanted!r}.")
    return None


TMP_IS_GONE = Problem("the file in tmp is gone", "The next of its names has nothing to be linked to.",
                      "`os.link`, and not `os.rename`: whoever calls removes the name in tmp.")


@check(
    hints=(
        "Which names must go if the last one fails, and which must never go?",
        "done.append(name) after each os.link; in `except OSError`: unlink what is in done, and raise",
        "Give the names one by one with os.link and note which you have given. Then yield the list of their folders. "
        "If anything fails, also at the yield, take away those that you gave and no others, and let the error rise.",
    ),
    passed="All or none, durable, and nobody else's letter is touched.",
)
def check_publish(my_publish: Callable[[str, list[str]], Any]) -> Iterator[Problem]:
    """All names or none."""
    with tempfile.TemporaryDirectory() as top:
        file, boxes = Path(top) / "letter", [Path(top) / name for name in ("kenji", "yui", "li")]
        file.write_bytes(b"Monday\n")
        for box in boxes:
            box.mkdir()
        names = [box / "one" for box in boxes]
        synced: list[str] = []
        real = os.fsync

        def fsync(descriptor: int) -> None:
            synced.extend(box.name for box in boxes if os.path.samestat(os.fstat(descriptor), box.stat())
                          and (box / "one").exists())
            real(descriptor)

        with patch("os.fsync", fsync):
            problem = published(my_publish(str(file), list(map(str, names))), file)
        if not any(name.exists() for name in names):
            raise NotYet("give `temporary` each of the names.")
        yield from filter(None, [problem])
        if not all(name.exists() and name.read_bytes() == b"Monday\n" for name in names):
            yield Problem(f"{sum(name.exists() for name in names)} of 3 names", "Somebody gets no letter.",
                          "`os.link` gives a name: call it for each.")
        if os.name != "nt" and set(synced) != {box.name for box in boxes}:
            yield Problem(f"synced with its name in it: {sorted(set(synced)) or 'nothing'}", "The cable goes after the "
                          "250, and the name with it.", "`yield` the folders of all names, once these are given.")
        if not file.exists():
            yield TMP_IS_GONE
        yield from all_or_none(my_publish, file, names)


def published(steps: Any, file: Path) -> Problem | None:
    """Play the steps; a problem if one of them needs the file in tmp, and another has taken it away."""
    try:
        return played(steps, "[os.path.dirname(name), …]")
    except OSError:
        if file.exists():
            raise
        return TMP_IS_GONE


def all_or_none(my_publish: Callable[[str, list[str]], Any], file: Path, names: list[Path]) -> Iterator[Problem]:
    """What is left when the last name is taken."""
    for name in names:
        name.unlink(missing_ok=True)
    names[2].write_bytes(b"an older letter\n")
    try:
        alone(my_publish(str(file), list(map(str, names))))
        yield Problem("no error when a name is taken", "Li's older letter, or this one, is lost.",
                      "`os.link` refuses a name that exists: let its error rise.")
    except OSError:
        if not names[2].exists() or names[2].read_bytes() != b"an older letter\n":
            yield Problem("the letter whose name was taken is gone", "Li loses yesterday's letter.",
                          "Take away only the names that you gave.")
        if left := [name.parent.name for name in names[:2] if name.exists()]:
            yield Problem(f"names for {' and '.join(left)}, and an error", "Ana sends it again: they get it twice.",
                          "All or none: take away what you gave.")
    yield from or_the_disk_fails(my_publish, file, names)


def or_the_disk_fails(my_publish: Callable[[str, list[str]], Any], file: Path, names: list[Path]) -> Iterator[Problem]:
    """What is left when the folders cannot be synced."""
    for name in names:
        name.unlink(missing_ok=True)
    steps = my_publish(str(file), list(map(str, names)))
    next(steps)
    if not all(name.exists() for name in names):
        yield Problem("a `yield` before the last name", "While the disk works Kenji opens his letter. The next name "
                      "fails, and the letter is gone from under him.", "Give all the names, and then `yield`.")
    try:
        while True:
            steps.throw(OSError("the disk is broken"))
    except StopIteration:
        yield Problem("no error when a folder cannot be synced", "250 is said, and the name is gone with the cable.",
                      "The error rises at the `yield`: let it out.")
    except OSError:
        if left := [name.parent.name for name in names if name.exists()]:
            yield Problem(f"names for {' and '.join(left)}, and an error at the `yield`",
                          "Ana sends it again: they get it twice.", "The `yield` belongs into the `try`.")


# --- exercise 1 ------------------------------------------------------------------------------------------------------

HOLDERS = {
    "354 has arrived": ("Ana", "Nothing was sent yet."),
    "the dot has left Rio": ("Ana", "A dot on the way obliges nobody."),
    "Tokyo has written tmp, without fsync": ("Ana", "What is not on the disk goes with the cable; no 250 yet."),
    "the folder is synced, 250 is not said": ("both", "Ana has heard nothing and keeps it; Tokyo can produce it."),
    "250 is somewhere under the Pacific": ("both", "Tokyo has promised; Ana does not know it yet."),
    "250 has arrived": ("Tokyo", "Ana may delete her copy."),
}


@check(
    hints=(
        "When may Ana delete her copy? From when on must Tokyo find its own?",
        "Ana until she has heard 250; Tokyo from the moment the name is durable",
        "Ana keeps the letter until she has heard 250. Tokyo has it as soon as the letter and its name are on the "
        "disk, whether it has said so or not. Between those two moments both have it, and that is intended: twice "
        "is better than never.",
    ),
    passed="At every moment somebody has it, and for a while two have.",
)
def check_owners(my_holders: Mapping[str, str]) -> Problem | None:
    """Responsibility passes with the 250, and overlaps (RFC 5321 §6.1)."""
    for moment, (holder, why) in HOLDERS.items():
        given = my_holders.get(moment)
        if str(given).strip().lower() != holder.lower():
            return Problem(f"{moment}: {given!r}", why, "See the table of loop 1 (RFC 5321 §6.1).")
    return None


# --- exercise 2 ------------------------------------------------------------------------------------------------------

LURE = "sync the folder cur"
BEFORE = (
    ("read up to the lone dot", "write the octets into tmp", "The letter is not there yet."),
    ("make the Maildir if it is missing", "write the octets into tmp", "There is no folder to write into."),
    ("write the octets into tmp", "sync the file", "The disk is asked for a file that is still empty."),
    ("sync the file", "link into new", "Cut between the two: a name without octets. Kenji sees an empty letter."),
    ("link into new", "sync the folder new", "The folder is synced before it holds the name."),
    ("link into new", "remove the name in tmp", "The only name is gone, and with it the letter."),
    ("sync the folder new", "say 250", "Cut after the 250: the octets are on the disk, and no name leads to them."),
    ("read up to the lone dot", "say 250", "250 to half a letter."),
)
STEPS = {step for rule in BEFORE for step in rule[:2]}


@check(
    hints=(
        "What must be on the disk before a reader may see the name? And before Ana may hear of it?",
        "octets, sync, name, sync, word",
        "Each step makes true what the next one relies on. The octets must be on the disk before the name appears, "
        "and the name must be on the disk before the 250 is said. Nothing was changed in one of the folders, so "
        "syncing that one is the lure.",
    ),
    passed="Cut it anywhere: no letter is lost, none is half.",
)
def check_steps(my_order: Sequence[str]) -> Problem | None:
    """Every order that keeps the promise is right."""
    order = list(my_order)
    for step in order:
        if step == LURE:
            return Problem(LURE, "Nothing was put into cur; mail programs do that.", "Which folders changed?")
        if step not in STEPS:
            return Problem(repr(step), "That is none of the steps.", "Copy the strings from the list above.")
    for step in sorted(STEPS):
        if order.count(step) != 1:
            return Problem(f"{step}: {order.count(step)} times", "A delivery does it once.",
                           "There are eight steps, each once.")
    for first, then, story in BEFORE:
        if order.index(first) > order.index(then):
            return Problem(f"{then}, before {first}", story, "Read loops 1 and 2 again.")
    return None


# --- exercise 3 ------------------------------------------------------------------------------------------------------

HEADERS: tuple[tuple[bytes, list[str], str], ...] = (
    (b"Received: from rio.example by mx.tokyo.example with SMTP; Mon, 2 Mar 2026 09:00:00 +0900\r\n"
     b"Subject: one\r\n\r\n",
     ["mx.tokyo.example"], "There is one handover."),
    (b"Received: from relay.example ([192.0.2.7])\r\n\tby mx.tokyo.example with SMTP id 2;\r\n"
     b"\tMon, 2 Mar 2026 09:00:00 +0900\r\n"
     b"Received: from laptop.rio.example\r\n by relay.example with SMTP id 1; Sun, 1 Mar 2026 20:59:00 -0300\r\n\r\n",
     ["relay.example", "mx.tokyo.example"], "Lines are folded, and the lowest Received is the first."),
    (b"Subject: sung by a choir\r\nReceived: from rio.example (kept by hand)\r\n"
     b"\tby mx.tokyo.example; Mon, 2 Mar 2026 09:00:00 +0900\r\n\r\n",
     ["mx.tokyo.example"], "A `by` in a comment or in another field is no handover."),
    (b"Subject: nobody touched it\r\n\r\nReceived: by nobody\r\n", [], "The body is not the header."),
)


@check(
    hints=(
        "Which lines belong to one field? Which end of the header is the older one?",
        "message_from_bytes(header).get_all('Received'), comments removed, reversed",
        "Each server that takes a letter over puts a Received field on top, so the oldest is at the bottom. A "
        "field may go on in further lines, which begin with a space or a tab. Comments in parentheses are for "
        "people, so take them out before you look for `by`.",
    ),
    passed="Every handover, the first one first.",
)
def check_route(my_route: Callable[[bytes], Any]) -> Problem | None:
    """The hosts after `by`, oldest first (RFC 5321 §4.4)."""
    for header, route, what in HEADERS:
        given = my_route(header)
        if given is ...:
            raise NotYet("return the hosts that took the letter over, first one first.")
        hosts = [host.decode("ascii", "replace") if isinstance(host, bytes) else host for host in given or []]
        if hosts != route:
            return Problem(f"{given!r}, for\n{header.decode().replace(chr(13), '').strip()}",
                           f"The letter went {' → '.join(route) or 'nowhere'}.", what)
    return None

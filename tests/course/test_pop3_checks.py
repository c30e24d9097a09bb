"""The checks of `pop3` tell right answers from wrong ones, in any style, and say which wrong one it is."""
from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import lab, pop3
from smtp_from_scratch.conversation import Work
from smtp_from_scratch.desk import Refused
from smtp_from_scratch.envelope import normalize, stuff
from smtp_from_scratch.lab.checks.pop3 import PROTOCOLS, maildir
from smtp_from_scratch.lab.register import checks_of
from tests.course.hopeless import refuses_the_hopeless
from tests.solutions import solution

SOLVED = "23_pop3"


def wrong(verdict: Any, *words: str) -> None:
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


# --- what is there ----------------------------------------------------------------------------------------------------


def listing_of(*places: str, key: Callable[[str], str] = lambda name: name.partition(":")[0], dots: bool = False,
               links: bool = False, order: bool = True, full: bool = True, kind: Any = str) -> Any:
    """A scan with one of its rules changed."""
    def scan(folder: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for place in places:
            if not Path(folder, place).is_dir():
                continue
            for path in Path(folder, place).iterdir():
                if (dots or path.name[0] != ".") and (links or not path.is_symlink()) and (
                        path.is_file() or (links and path.is_dir())):
                    found[key(path.name)] = kind(path if full else path.name)
        return dict(sorted(found.items(), reverse=not order))
    return scan


def without_patience(folder: str) -> dict[str, str]:
    return pop3.scan(folder) if os.listdir(f"{folder}/new") and os.listdir(f"{folder}/cur") else {}


@pytest.mark.parametrize("answer, says", [
    (lambda folder: None, "Not yet"), (lambda folder: [], "A dictionary"), (lambda folder: {}, "never sees"),
    (listing_of("new"), "never sees"), (listing_of("new", "cur", "tmp"), "told of a letter"),
    (listing_of("new", "cur", key=str), "never sees"), (listing_of("new", "cur", dots=True), "told of a letter"),
    (listing_of("new", "cur", links=True), "told of a letter"), (listing_of("new", "cur", order=False), "Sort"),
    (listing_of("new", "cur", full=False), "as the path"), (listing_of("new", "cur", kind=Path), "no string"),
    (without_patience, "folder is missing"),
])
def test_scan_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_scan(answer), says)


@pytest.mark.parametrize("answer", [
    pop3.scan, listing_of("new", "cur"), solution(SOLVED, "scan-code")["my_scan"]])
def test_scan_in_any_style(answer: Any) -> None:
    assert lab.check_scan(answer).passed


def test_the_maildir_of_the_check_is_as_the_module_sees_it() -> None:
    with maildir(["new/1.a", "cur/2.b:2,"]) as folder:
        assert list(pop3.scan(folder)) == ["1.a", "2.b"]


# --- names ------------------------------------------------------------------------------------------------------------

_numbers = itertools.count()


@pytest.mark.parametrize("answer, says", [
    (lambda name: None, "Not yet"), (lambda name: name, "1 to 70"), (lambda name: name[:70], "and for"),
    (lambda name: name.encode("ascii", "ignore").decode()[:70] or "x", "1 to 70|and for"),
    (lambda name: hashlib.sha256(os.fsencode(name)).hexdigest(), "good as it is"),
    (lambda name: pop3.uid_of(name) if name.isascii() and len(name) < 71 else hex(hash(name))[-16:], "1 to 70|later"),
    (lambda name: pop3.uid_of(name) if len(pop3.uid_of(name)) < 64 or name == pop3.uid_of(name)
     else f"u{next(_numbers)}", "later"),
    (lambda name: pop3.uid_of(name) if name == pop3.uid_of(name) else "odd", "and for"),
    (lambda name: pop3.uid_of(name) if len(name) <= 70 else name[-70:], "and for|1 to 70"),
    (lambda name: os.fsencode(name), "1 to 70"),
])
def test_uid_of_refuses(answer: Any, says: str) -> None:
    verdict = lab.check_uid_of(answer)
    assert not verdict.passed and any(word in str(verdict) for word in says.split("|")), str(verdict)


def by_characters(name: str) -> str:
    if 0 < len(name) < 71 and not set(map(ord, name)) - set(range(0x21, 0x7F)):
        return name
    return "h" + hashlib.md5(os.fsencode(name)).hexdigest()


@pytest.mark.parametrize("answer", [pop3.uid_of, by_characters, solution(SOLVED, "uid-of-code")["my_uid_of"]])
def test_uid_of_in_any_style(answer: Any) -> None:
    assert lab.check_uid_of(answer).passed


# --- octets -----------------------------------------------------------------------------------------------------------


def plain_sum(blocks: Iterable[bytes]) -> int:
    return sum(map(len, normalize(blocks)))


def by_last_block(blocks: Iterable[bytes]) -> int:
    """Looks at the last block only, which may be empty or hold one octet."""
    octets, last = 0, b"\r\n"
    for block in normalize(blocks):
        octets, last = octets + len(block), block
    return octets + 2 * (not last.endswith(b"\r\n"))


@pytest.mark.parametrize("answer, says", [
    (lambda blocks: None, "Not yet"), (plain_sum, "one, too"), (lambda blocks: sum(map(len, blocks)), "LIST says"),
    (lambda blocks: sum(map(len, stuff(blocks))), "LIST says"),
    (lambda blocks: sum(map(len, stuff(blocks))) - 3, "LIST says"),
    (lambda blocks: sum(len(block) + block.count(b"\n") for block in blocks), "LIST says"),
    (by_last_block, "LIST says"), (lambda blocks: plain_sum(blocks) + 2, "LIST says"),
    (lambda blocks: pop3.octets_of([b"".join(blocks)]), "MB of memory"),
    (lambda blocks: pop3.octets_of(list(blocks)), "MB of memory"),
])
def test_octets_of_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_octets_of(answer), says)


def by_flag(blocks: Iterable[bytes]) -> int:
    octets, last = 0, b""
    for block in normalize(blocks):
        octets += len(block)
        last = block[-1:] or last
    return octets + (2 if last not in (b"", b"\n") else 0)


@pytest.mark.parametrize("answer", [
    pop3.octets_of, by_flag, solution(SOLVED, "octets-of-code")["my_octets_of"]])
def test_octets_of_in_any_style(answer: Any) -> None:
    assert lab.check_octets_of(answer).passed


# --- long replies -----------------------------------------------------------------------------------------------------


def replying(first: str = "+OK {}\r\n", lines: Any = stuff, work: bool = True, ahead: bool = False) -> Any:
    """A `my_multi_line` with one of its rules changed."""
    def my_multi_line(text: str, blocks: Iterable[bytes]) -> Iterator[Any]:
        if first:
            yield first.format(text).encode()
        ready = iter(lines(blocks))
        if ahead:
            fetched = []
            while block := (yield Work(lambda: next(ready, b""))):
                fetched.append(block)
            yield from fetched
        elif work:
            while block := (yield Work(lambda: next(ready, b""))):
                yield block
        else:
            yield from ready
    return my_multi_line


def no_end(blocks: Iterable[bytes]) -> Iterator[bytes]:
    return normalize(blocks)


def bare(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from normalize(blocks)
    yield b".\r\n"


def never_over(text: str, blocks: Iterable[bytes]) -> Iterator[Any]:
    while True:
        yield b"x"


@pytest.mark.parametrize("answer, says", [
    (lambda text, blocks: None, "Not yet"), (replying(first="", lines=lambda blocks: []), "Not yet"),
    (replying(first=""), "It would be"), (replying(first="+OK {}\n"), "It would be"),
    (replying(first="OK {}\r\n"), "It would be"), (replying(lines=bare), "It would be"),
    (replying(lines=no_end), "waits for the dot"), (replying(work=False), "times `Work`"),
    (replying(ahead=True), "fetched before"), (never_over, "no end"),
    (replying(lines=lambda blocks: stuff([b"".join(blocks)])), "times `Work`"),
    (lambda text, blocks: f"+OK {text}", "Not yet"),
])
def test_multi_line_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_multi_line(answer), says)


def by_exception(text: str, blocks: Iterable[bytes]) -> Iterator[Any]:
    lines = stuff(blocks)
    yield b"+OK " + text.encode() + b"\r\n"
    while True:
        block = yield Work(lambda: next(lines, None))
        if block is None:
            return
        yield block


@pytest.mark.parametrize("answer", [
    pop3.multi_line, replying(), by_exception, solution(SOLVED, "multi-line-code")["my_multi_line"]])
def test_multi_line_in_any_style(answer: Any) -> None:
    assert lab.check_multi_line(answer).passed


# --- LIST and UIDL ----------------------------------------------------------------------------------------------------


def showing(number: Any = lambda place, index: index + 1, present: Any = lambda drop: drop.present, end: str = "\r\n",
            one: Any = lambda drop, number, column: f"{number} {column(drop, drop.index(number))}",
            many: bool = True) -> Any:
    """A `my_listing` with one of its rules changed."""
    def my_listing(column: Any) -> Any:
        def handle(session: Any, which: str = "") -> Any:
            drop = session.maildrop
            if which:
                return one(drop, which, column)
            lines = [f"{number(place, index)} {column(drop, index)}{end}" for place, index in enumerate(present(drop))]
            return pop3.multi_line("letters", [line.encode() for line in lines]) if many else "".join(lines)
        return handle
    return my_listing


@pytest.mark.parametrize("answer, says", [
    (lambda column: None, "Not yet"), (lambda column: lambda session, number="": None, "Not yet"),
    (showing(number=lambda place, index: place + 1), "deletes another"), (showing(number=lambda place, index: index),
                                                                          "deletes another"),
    (showing(present=lambda drop: range(3)), "deletes another"), (showing(end=" "), "deletes another"),
    (showing(many=False), "long reply"), (showing(one=lambda drop, number, column: None), "Not yet"),
    (showing(one=lambda drop, number, column: str(column(drop, drop.index(number)))), "for number 2"),
    (showing(one=lambda drop, number, column: f"{drop.index(number)} {column(drop, drop.index(number))}"), "number 2"),
    (showing(one=lambda drop, number, column: f"{number} {column(drop, int(number) - 1)}"), "IndexError|for letter 1"),
])
def test_listing_refuses(answer: Any, says: str) -> None:
    verdict = lab.check_listing(answer)
    assert not verdict.passed and any(word in str(verdict) for word in says.split("|")), str(verdict)


def in_one_block(column: Any) -> Any:
    def handle(session: Any, number: str | None = None) -> Any:
        drop = session.maildrop
        if number is not None:
            index = drop.index(number)
            return str(index + 1) + " " + str(column(drop, index))
        text = "".join(f"{index + 1} {column(drop, index)}\r\n" for index in drop.present)
        return pop3.multi_line("here they are", [text.encode()])
    return handle


@pytest.mark.parametrize("answer", [
    pop3.listing, showing(), in_one_block, solution(SOLVED, "listing-code")["my_listing"]])
def test_listing_in_any_style(answer: Any) -> None:
    assert lab.check_listing(answer).passed


# --- QUIT -------------------------------------------------------------------------------------------------------------


def quitting(where: tuple[str, ...] = ("transaction",), over: str = "update", refuse: bool = True, work: bool = True,
             says: bytes = b"", twice: bool = False) -> Any:
    """A `my_quit` with one of its rules changed."""
    def my_quit(session: Any) -> Any:
        left = 0
        if session.state in where:
            left = (yield Work(session.maildrop.remove)) if work else session.maildrop.remove()
            if twice:
                yield Work(session.maildrop.remove)
        if says:
            yield says
        if left and refuse:
            session.state = over or session.state
            raise Refused("some deleted messages not removed")
        return "goodbye"
    return my_quit


def nothing_removed(session: Any) -> Any:
    if False:
        yield
    return "goodbye"


@pytest.mark.parametrize("answer, says", [
    (lambda session: None, "Not yet"), (lambda session: "goodbye", "Not yet"),
    (quitting(where=("transaction", "authorization")), "not logged in"), (nothing_removed, "stay for ever"),
    (quitting(where=("authorization",)), "stay for ever"), (quitting(refuse=False), "what is left"),
    (quitting(over=""), "stays locked"), (quitting(says=b"+OK goodbye\r\n"), "two answers"),
    (quitting(twice=True), "2 times"),
])
def test_quit_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_quit(answer), says)


def early_return(session: Any) -> Any:
    if session.state != "transaction":
        return "nothing to do"
    if not (yield Work(lambda: session.maildrop.remove())):
        return "done"
    session.state = "update"
    raise Refused("not all")


@pytest.mark.parametrize("answer", [quitting(), early_return, solution(SOLVED, "quit-code")["my_quit"], pop3.quit_])
def test_quit_in_any_style(answer: Any) -> None:
    assert lab.check_quit(answer).passed


# --- the exercises ----------------------------------------------------------------------------------------------------

RIGHT = {name: protocol for name, (protocol, _) in PROTOCOLS.items()}


@pytest.mark.parametrize("name", RIGHT)
def test_protocols_refuse(name: str) -> None:
    for other in {"POP3", "IMAP", "SMTP"} - {RIGHT[name]}:
        wrong(lab.check_protocols(RIGHT | {name: other}), f"for {name}")
    assert f"{name} is missing" in str(lab.check_protocols({key: it for key, it in RIGHT.items() if key != name}))


def test_protocols() -> None:
    assert lab.check_protocols(RIGHT).passed
    assert lab.check_protocols({name: it.lower() for name, it in reversed(RIGHT.items())}).passed
    assert lab.check_protocols(solution(SOLVED, "protocols-code")["my_protocols"]).passed


def fetching(steps: str = "retr keep note dele", again: str = "dele", end: bool = True, quiet: bool = False,
             first: int | None = None, trusts: bool = True) -> Any:
    """A `my_fetch` whose steps come in another order, or are missing."""
    def my_fetch(pop: Any, seen: set[str], keep: Any) -> None:
        try:
            for number, uid in pop.uidl()[:first]:
                new, letter = uid not in seen, b""
                for step in (steps if new or not trusts else again).split():
                    if step == "retr":
                        letter = pop.retr(number)
                    elif step == "keep":
                        keep(letter)
                    elif step == "note":
                        seen.add(uid)
                    elif step == "dele":
                        pop.dele(number)
            if end:
                pop.quit()
        except EOFError:
            if not quiet:
                raise
    return my_fetch


def all_at_the_end(pop: Any, seen: set[str], keep: Any) -> None:
    """Keeps everything when the session is over: too late."""
    letters = [(uid, pop.retr(number), pop.dele(number)) for number, uid in pop.uidl() if uid not in seen]
    pop.quit()
    for uid, letter, _ in letters:
        keep(letter)
        seen.add(uid)


def swallows_the_disk(pop: Any, seen: set[str], keep: Any) -> None:
    for number, uid in pop.uidl():
        if uid not in seen:
            try:
                keep(pop.retr(number))
            except OSError as error:
                if isinstance(error, EOFError):
                    raise
            seen.add(uid)
        pop.dele(number)
    pop.quit()


@pytest.mark.parametrize("answer, says", [
    (lambda pop, seen, keep: None, "Not yet"), (fetching(end=False), "pop.quit()"),
    (fetching("retr keep note"), "still in Tokyo"), (fetching("retr note dele"), "kept of three"),
    (fetching("dele note"), "kept of three"), (fetching("retr keep dele"), "kept twice"),
    (fetching("retr keep dele note"), "kept twice"), (fetching("note retr keep dele"), "letters kept|nowhere"),
    (fetching("retr note keep dele"), "letters kept|nowhere|disk was full"), (fetching(again=""), "still in Tokyo"),
    (fetching(trusts=False), "kept twice"), (fetching(quiet=True), "EOFError|still in Tokyo|letters kept"),
    (fetching(first=2), "kept of three"), (all_at_the_end, "nowhere"), (swallows_the_disk, "disk was full"),
])
def test_fetch_refuses(answer: Any, says: str) -> None:
    verdict = lab.check_fetch(answer)
    assert not verdict.passed and any(word in str(verdict) for word in says.split("|")), str(verdict)


def in_two_rounds(pop: Any, seen: set[str], keep: Any) -> None:
    there = dict(pop.uidl())
    for number in [number for number, uid in there.items() if uid not in seen]:
        keep(pop.retr(number))
        seen |= {there[number]}
    for number in reversed(there):
        pop.dele(number)
    pop.quit()


@pytest.mark.parametrize("answer", [fetching(), in_two_rounds, solution(SOLVED, "fetch-code")["my_fetch"]])
def test_fetch_in_any_style(answer: Any) -> None:
    assert lab.check_fetch(answer).passed


HEAD = b"Subject: Choir\r\n\r\nMonday.\r\n"


@pytest.mark.parametrize("answer, says", [
    (lambda: None, "Not yet"), (lambda: "text", "Octets"), (lambda: HEAD, "for STAT|is there"),
    (lambda: b"x", "Octets"),
    (lambda: HEAD + b".\r\n", "believes|for STAT|is there"), (lambda: HEAD + b"+OK 0 0\r\n", "a line of the letter"),
    (lambda: HEAD + b".\n+OK 0 0\n", "Octets"), (lambda: b".\r\n+OK 0 0\r\n", "A Subject"),
    (lambda: HEAD + b".\r\n+OK 3 99\r\n", "maildrop is empty"),
    (lambda: HEAD + b"..\r\n+OK 0 0\r\n", "line of the letter"),
])
def test_letter_refuses(answer: Any, says: str) -> None:
    verdict = lab.check_letter(answer)
    assert not verdict.passed and any(word in str(verdict) for word in says.split("|")), str(verdict)


@pytest.mark.parametrize("answer", [
    lambda: HEAD + b".\r\n+OK 0 0\r\n", lambda: b"Subject: x\r\nTo: k\r\n\r\n.\r\n+OK 0 0\r\n+OK goodbye\r\n",
    solution(SOLVED, "letter-code")["my_letter"]])
def test_letter_in_any_style(answer: Any) -> None:
    assert lab.check_letter(answer).passed


@pytest.mark.parametrize("name", [entry.name for entry in checks_of("pop3") if entry.examines != "my_protocols"])
def test_the_hopeless(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses_the_hopeless(getattr(lab, name), monkeypatch)


# --- what learners gave, and passed with once -------------------------------------------------------------------------


def by_listdir(folder: str) -> dict[str, str]:
    found = {}
    for place in ("cur", "new"):
        if os.path.isdir(f"{folder}/{place}"):
            for name in os.listdir(f"{folder}/{place}"):
                path = f"{folder}/{place}/{name}"
                if name[0] != "." and os.path.isfile(path) and not os.path.islink(path):
                    found[name.partition(":")[0]] = path
    return dict(sorted(found.items()))


@pytest.mark.parametrize("answer", [by_listdir, listing_of("cur", "new")])
def test_cur_is_not_read_before_new(answer: Any) -> None:
    wrong(lab.check_scan(answer), "`cur` read before `new`")
    assert os.listdir.__name__ == "listdir" and os.scandir.__name__ == "scandir"       # as they were


def to_the_dollar(name: str) -> str:
    return name if re.match(r"[!-~]{1,70}$", name) else pop3.uid_of(name + ".")


def without_a_default(text: str, blocks: Iterable[bytes]) -> Iterator[Any]:
    lines = stuff(blocks)
    yield f"+OK {text}\r\n".encode()
    while True:
        yield (yield Work(lambda: next(lines)))


def work_done_already(text: str, blocks: Iterable[bytes]) -> Iterator[Any]:
    lines = stuff(blocks)
    yield f"+OK {text}\r\n".encode()
    yield Work(next(lines, b""))  # type: ignore[arg-type]


def strings(column: Any) -> Any:
    def handle(session: Any, number: str = "") -> Any:
        drop = session.maildrop
        return pop3.multi_line("letters", [f"{index + 1} {column(drop, index)}\r\n" for index in drop.present])
    return handle


def one_alone(column: Any) -> Any:
    def handle(session: Any, number: str = "") -> Any:
        return f"{number} {column(session.maildrop, session.maildrop.index(number))}"
    return handle


def quit_with(answer: Any) -> Any:
    def my_quit(session: Any) -> Any:
        yield from pop3.quit_(session)
        return answer
    return my_quit


def removes_itself(session: Any) -> Any:
    if session.state == "transaction" and session.maildrop.remove():
        session.state = "update"
        raise Refused("some deleted messages not removed")
    return "goodbye"
    yield


def removes_too_early(session: Any) -> Any:
    yield Work(session.maildrop.remove())


def goes_on(pop: Any, seen: set[str], keep: Any) -> None:
    """Lets the line break, and says nothing of a full disk."""
    for number, uid in pop.uidl():
        if uid not in seen:
            letter = pop.retr(number)
            try:
                keep(letter)
            except OSError:
                continue
            seen.add(uid)
        pop.dele(number)
    pop.quit()


def in_one_go(pop: Any, seen: set[str], keep: Any) -> None:
    """Keeps all, and then notes all."""
    there = pop.uidl()
    letters = {uid: pop.retr(number) for number, uid in there if uid not in seen}
    for letter in letters.values():
        keep(letter)
    seen.update(letters)
    for number, _ in there:
        pop.dele(number)
    pop.quit()


@pytest.mark.parametrize("check, answer, says", [
    (lab.check_uid_of, to_the_dollar, "for 'mx\\n'"),
    (lab.check_octets_of, lambda blocks: float(pop3.octets_of(blocks)), "LIST says 46.0"),
    (lab.check_multi_line, without_a_default, 'next(lines, b"")'),
    (lab.check_multi_line, work_done_already, "takes a function"),
    (lab.check_listing, strings, "a list of bytes"), (lab.check_listing, one_alone, "`if number:` first"),
    (lab.check_listing, lambda column: pop3.listing(lambda drop, index: drop.octets[index]), "what `column` says"),
    (lab.check_quit, quit_with("+OK goodbye"), "+OK +OK goodbye"),
    (lab.check_quit, quit_with(b"goodbye"), "Text alone"),
    (lab.check_quit, removes_itself, "by the conversation itself"), (lab.check_quit, removes_too_early, "without `()`"),
    (lab.check_fetch, fetching("dele retr keep note"), "after DELE of that letter"),
    (lab.check_fetch, fetching("note retr keep dele"), "before you note it"),
    (lab.check_fetch, goes_on, "nobody hears of, when the disk was full"),
    (lab.check_fetch, in_one_go, "kept twice, when the disk was full"),
])
def test_told_what_is_wrong(check: Any, answer: Any, says: str) -> None:
    wrong(check(answer), says)


def test_right_in_another_spelling() -> None:
    assert lab.check_letter(lambda: b"From: ana@rio.example\r\n" + HEAD + b".\r\n+OK 0 0\r\n").passed
    assert lab.check_protocols({name: f" {it.replace('IMAP', 'IMAP4')} " for name, it in RIGHT.items()}).passed

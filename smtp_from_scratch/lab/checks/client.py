"""The checks of `client`: what a client says, to whom it listens, and what it concludes."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

from smtp_from_scratch.conversation import LINE, BothListening, Disconnected, rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.wire import Reply

Talk = Generator[Any, Any, Any]


def by_heart(greeting: str, *replies: str) -> Talk:
    """A server that knows its lines by heart: one for each command, one for the body."""
    yield greeting.encode() + b"\r\n"
    with suppress(Disconnected):
        for said, reply in zip((greeting, *replies), replies, strict=False):
            while (yield LINE) != b"." and said.startswith("354"):
                pass
            yield reply.encode() + b"\r\n"


def after_greeting(talk: Talk) -> Talk:
    """Hear the server's 220, then let a learner's conversation begin."""
    yield LINE
    return (yield from talk)


def overheard(talk: Talk, said: list[str]) -> Talk:
    """Pass on what a conversation says and wants, and note what it says, also when it breaks off."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            thing = talk.throw(error) if error else talk.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(thing, bytes):
            said.append(thing.decode("ascii", "backslashreplace").rstrip("\r\n"))
        answer = error = None
        try:
            answer = yield thing
        except Exception as interruption:
            error = interruption


def play(talk: Any, server: Talk) -> tuple[Any, Exception | None, list[str]]:
    """What a client's conversation returns, what it raises instead, and what it said."""
    said: list[str] = []
    if not hasattr(talk, "send"):
        return talk, None, said
    try:
        return rehearse(overheard(after_greeting(talk), said), server).client, None, said
    except NotImplementedError:
        raise
    except Exception as error:
        return None, error, said


# --- your turn: ask ------------------------------------------------------------------------------------------------


@check(
    hints=(
        "What does `yield from read_reply()` give you that `read_reply()` does not?",
        "if reply.code == 421: raise leaving(reply)",
        "`read_reply()` makes a generator, and only `yield from` runs it to its end and gives you the whole reply, "
        "however many lines it has. Return every reply, good or bad, since the caller decides what it means. A 421 "
        "is different: the server is leaving, so no further command makes sense, and an exception says so.",
    ),
    passed="One command, one whole reply; a 421 is an exception that keeps what the server said.",
)
def check_ask(my_ask: Callable[..., Talk]) -> Problem | None:
    """One command, one reply, and 421 raised."""
    for lines in (["250 fine"], ["250-fine", "250 and more"], ["550 no"], ["450 later"], ["354 go on"]):
        reply, error, said = play(my_ask("VRFY", "yui"), by_heart("220 hi", "\r\n".join(lines)))
        if reply is ... or "VRFY yui" in said and reply is None and not error:
            raise NotYet("hear a whole reply and return it.")
        if error or getattr(reply, "code", None) != int(lines[0][:3]) or len(reply.lines) != len(lines):
            return Problem(gave=f"{described(reply, error)} for the reply {' / '.join(lines)}",
                           wire="The rest of the reply would be taken for the answer to the next command.",
                           look="Loop 1 and chapter `conversation`: `yield from` hears every line of a reply.")
    reply, error, _ = play(my_ask("NOOP"), by_heart("220 hi", "421 closing for the night"))
    if type(error).__name__ != "SMTPServerDisconnected":
        return Problem(gave=f"{described(reply, error)} for a 421",
                       wire="The client would say its next command to a closed door.",
                       look="A 421 is to be raised, by what `leaving` makes of it.")
    if getattr(getattr(error, "reply", None), "code", None) != 421:
        return Problem(gave="an exception without the reply", wire="Nobody will learn why the server left.",
                       look="`leaving(reply)` makes an exception that keeps it.")
    return None


def described(result: Any, error: Exception | None) -> str:
    """What came of a rehearsal, for a person."""
    if isinstance(error, BothListening):
        return "a conversation that listens while the server listens too"
    if isinstance(result, Generator):
        return "a generator that nobody has started"
    return type(error).__name__ if error else repr(result)


# --- one line too many ---------------------------------------------------------------------------------------------

_BUGS = {
    "A": (8, "Which recipient does the server have when it is asked for DATA?"),
    "B": (4, "Chapter `wire`: what does the fourth octet of line 3 promise?"),
    "C": (6, "What did the server say last, and does it still listen?"),
    "D": (8, "What does a first digit of 5 say about the same words said again?"),
}


@check(
    hints=(
        "Which client says something that the reply before it has forbidden, or before the reply has ended?",
        "In A nobody has been accepted when the client says DATA.",
        "Read each transcript as the client and keep in mind what the last reply allowed. A refused RCPT names no "
        "recipient, a hyphen promises another line, and a 5yz says that the same words will be refused again. The "
        "wrong line is the first one that ignores such a message.",
    ),
    passed="All four found: a client is known by what it says after bad news.",
)
def check_client_bugs(my_bugs: dict[str, int]) -> Iterator[Problem]:
    """The line in each transcript that the client should not have said."""
    for name, (number, question) in _BUGS.items():
        if name not in my_bugs:
            raise NotYet(f"give a number for {name} as well.")
        if as_number(my_bugs[name]) != number:
            yield Problem(gave=f"line {my_bugs[name]} of session {name}",
                          wire="With that line taken out, the session would still go wrong.", look=question)


# --- keep, bounce or forget ----------------------------------------------------------------------------------------

_FATES: list[tuple[int | None, str, str, str]] = [
    (250, "body", "done", "The server has the letter. Another try would be a second copy."),
    (550, "RCPT", "bounce", "Tomorrow the answer would be the same, and the sender would never hear of it."),
    (450, "RCPT", "retry", "A mailbox that was locked for a minute would lose a letter."),
    (571, "RCPT", "bounce", "You do not know 571? Its first digit you know."),
    (471, "DATA", "retry", "You do not know 471? Its first digit you know."),
    (452, "body", "retry", "The server has no room today."),
    (554, "body", "bounce", "The server will not have this letter."),
    (552, "body", "bounce", "The letter is too large, and will be tomorrow."),
    (552, "RCPT", "retry", "An old server says 552 where it means 452, too many recipients: the others would be lost."),
    (250, "RCPT", "retry", "\"I would\" is not \"I have\": the body was never taken, and nobody would send it again."),
    (250, "DATA", "retry", "A 2yz to DATA is nonsense; no letter was handed over."),
    (354, "body", "retry", "A 3yz to the body is nonsense; nobody said that the letter was taken."),
    (421, "RCPT", "retry", "The server is leaving, and says nothing about the letter."),
    (None, "body", "retry", "Nobody knows whether the server has the letter. Rather twice than never."),
    (None, "RCPT", "retry", "The line broke: that counts as 451."),
]


@check(
    hints=(
        "Which single reply takes the letter off your hands?",
        'Only a 2yz to the body is "done"; a 5yz is "bounce", but for 552 to RCPT; the rest is "retry".',
        "Only a 2yz to the body says that the server has taken the letter. A 5yz says that trying again will not "
        "help, so the sender must be told; everything else means not now, or nobody knows, so try again. One 5yz "
        "is an exception: RFC 5321 §4.5.3.1.10 reads 552 to RCPT as too many recipients for this transaction.",
    ),
    passed="Nobody loses a letter, and nobody waits for ever.",
)
def check_fate(my_fate: Callable[[Reply | None, str], Any]) -> Iterator[Problem]:
    """What becomes of one recipient after the last reply about them."""
    for code, command, fate, why in _FATES:
        given = my_fate(Reply(code, "") if code else None, command)
        if given is ...:
            raise NotYet('return "done", "retry" or "bounce".')
        if given != fate:
            yield Problem(gave=f"{given!r} for {code or 'a line that broke'}, the answer to {command}",
                          wire=why, look="RFC 5321 §4.2.1 for the digits, §3.8 for broken lines, §4.5.3.1.10 for 552.")


# --- ask before you send -------------------------------------------------------------------------------------------

_VERIFIED = [("250 Yui <yui@tokyo.example>", True), ("251 will forward", True), ("252 send it and see", None),
             ("550 no such mailbox", False), ("553 not a name", False), ("551 she moved", False),
             ("450 ask later", None), ("500 what?", None), ("502 not here", None), ("504 not that", None)]


@check(
    hints=(
        'Which digit tells "no such mailbox" from "no such command"?',
        "reply.code // 10 == 55",
        "The first digit tells yes from no, and the second tells what the reply is about. In 55z the mail system "
        "itself says no; in 50z the server only says that it does not understand the question. Everything that is "
        "neither a clear yes nor a clear no is None.",
    ),
    passed="Yes, no, and nobody knows.",
)
def check_verify(my_verify: Callable[[str], Talk]) -> Problem | None:
    """VRFY as a step of a client."""
    for line, expected in _VERIFIED:
        known, error, said = play(my_verify("yui"), by_heart("220 hi", line))
        if known is ...:
            raise NotYet("return True, False or None.")
        if error or known is not expected:
            return Problem(gave=f"{described(known, error)} for {line!r}",
                           wire=f"This reply means {expected}.", look="The table of first and second digits in loop 1.")
        if said != ["VRFY yui"]:
            return Problem(gave=f"a client that says {said}", wire="One step, one command.",
                           look="The text of the exercise.")
    _, error, said = play(my_verify("yui\r\nMAIL FROM:<x@shady.example>"), by_heart("220 hi", "250 ok"))
    if not isinstance(error, ValueError) or said:
        return Problem(gave="a step that accepts CR LF in the address", wire="The server would see two commands.",
                       look="Loop 3; `ask` refuses it for you.")
    _, error, _ = play(my_verify("yui"), by_heart("220 hi", "421 leaving"))
    if type(error).__name__ != "SMTPServerDisconnected":
        return Problem(gave=f"{described(None, error)} for a 421", wire="The server is leaving.",
                       look="Loop 2; `ask` raises for you.")
    return None


# --- more people than fit ------------------------------------------------------------------------------------------


def small_server(room: int, body: str, log: list[list[str]]) -> Talk:
    """A server with room for so many recipients in a transaction; leaves after ten transactions."""
    yield b"220 small.example\r\n"
    taken: list[str] = []
    with suppress(Disconnected):
        while True:
            line = (yield LINE).decode()
            if line.startswith("MAIL"):
                taken = []
                if len(log) == 10:
                    return
                log.append(taken)
                yield b"250 ok\r\n"
            elif line.startswith("RCPT") and "nobody" in line:
                yield b"550 nobody of that name\r\n"
            elif line.startswith("RCPT") and "locked" in line:
                yield b"450 the mailbox is locked\r\n"
            elif line.startswith("RCPT") and len(taken) >= room:
                yield b"452 too many recipients\r\n"
            elif line.startswith("RCPT"):
                taken.append(line.partition("<")[2].rstrip(">"))
                yield b"250 ok\r\n"
            elif line == "DATA" and taken:
                yield b"354 go on\r\n"
                while (yield LINE) != b".":
                    pass
                yield body.encode() + b"\r\n"
            else:
                yield b"250 ok\r\n" if line in ("RSET", "QUIT") else b"503 not now\r\n"


@check(
    hints=(
        "After which transactions would another one find more room than this one did?",
        "waiting = [a for a, r in receipt.refused.items() if r.code == 452 and receipt.accepted]",
        "Somebody who got 452 fits into another transaction only if this one made room, which means that it "
        "accepted somebody. So after each transaction keep those who got 452, and only if somebody was accepted in "
        "it. When nobody was accepted, another try would get the same answer, and the loop must end.",
    ),
    passed="Everybody who fits has the letter once, and the loop ends.",
)
def check_split(my_split: Callable[[Envelope, list[bytes]], Talk]) -> Problem | None:
    """Further transactions for those who got 452."""
    people = [f"{name}@tokyo.example" for name in ("yui", "kenji", "nobody", "locked", "sora", "mei", "ren")]
    letter = Envelope("ana@rio.example", list(people))
    got_it = "250 got it"
    for room, body, rounds in ((10, got_it, 1), (2, got_it, 3), (0, got_it, 1), (2, "452 no room", 1)):
        log: list[list[str]] = []
        replies, error, _ = play(my_split(letter, [b"Monday, 8 pm.\r\n"]), small_server(room, body, log))
        if isinstance(error, TypeError) and log:
            raise NotYet("say who is to be tried again.")
        what = f"a server with room for {room}, which says {body!r} to the body"
        if len(log) == 10:
            return Problem(gave=f"a client that never stops asking {what}", wire="MAIL, RCPT, 452, MAIL, RCPT, 452, …",
                           look="When does another transaction promise more than this one did?")
        if error or not isinstance(replies, dict) or set(replies) != set(people):
            return Problem(gave=f"{described(replies, error)} from {what}",
                           wire="Somebody's fate is unknown.", look="Return the last reply for each address.")
        got = [person for group in log for person in group]
        if len(log) != rounds or len(got) != len(set(got)):
            return Problem(gave=f"{len(log)} transaction{'s' * (len(log) > 1)} with {what}",
                           wire=f"{rounds} would do, and nobody should be in two of them.",
                           look="Who is left after the first one, and would they fit into the next?")
        done = {person for person, reply in replies.items() if reply.positive}
        if done != (set(got) if body.startswith("2") else set()):
            return Problem(gave=f"{sorted(done)} as those who have the letter", wire=f"The server has it for {got}.",
                           look="The reply of the last transaction is the one that counts.")
    return None

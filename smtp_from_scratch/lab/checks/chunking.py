"""The checks of `chunking`: sizes and counts, mistakes in sessions, a number that is cut, and half a pair."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any

from smtp_from_scratch.conversation import LINE, BothListening, Disconnected, Octets, read_reply, rehearse
from smtp_from_scratch.ehlo import ExtendedSession, Extension, Offer, Size, serve_extended
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.session import STATES, Verb, forget
from smtp_from_scratch.wire import Reply

Talk = Generator[Any, Any, Any]

# --- your turn: a size -----------------------------------------------------------------------------------------------

SIZES: dict[str, tuple[int, bool] | None] = {
    "86": (86, False), "86 LAST": (86, True), "0 last": (0, True), "0086 LaSt": (86, True), "": None, "-1": None,
    "+5": None, "1e3": None, "0x10": None, "86 FIRST": None, "LAST": None, "86 LAST LAST": None, "٨٦": None,
    "1_000": None, "86LAST": None, "²": None,
}


@check(
    hints=(
        "Which texts does `int` accept that are not only digits, and which digits are not ASCII?",
        "if not (size.isascii() and size.isdigit()): return None",
        "`int` is too generous: it accepts signs, spaces, underscores and digits of other scripts. The RFC means "
        "the digits 0 to 9 and nothing else. After the number there may be one space and the word LAST, in any "
        "case of letters.",
    ),
    passed="A number, perhaps LAST, or nothing at all.",
)
def check_bdat(my_bdat: Callable[[str], Any]) -> Problem | None:
    """What stands behind BDAT is read."""
    if my_bdat("86") is None and my_bdat("86 LAST") is None:
        raise NotYet("return the number and whether LAST stands behind it: `my_bdat('86 LAST') == (86, True)`.")
    for argument, expected in SIZES.items():
        answer = my_bdat(argument)
        if answer != expected:
            wire = "The server would read on at a place that the client never meant." if expected is None else ""
            look = ("Anything but digits 0 to 9, and then at most the word LAST, is no size." if expected is None
                    else "Digits are decimal, with zeros in front or without; LAST counts in any case.")
            return Problem(gave=f"{answer!r} for {argument!r}", wire=wire or f"The client said {expected}.", look=look)
    return None


# --- exercise 1: counts ----------------------------------------------------------------------------------------------

CHUNKS = {"A": ("Até já\r\n", False), "B": (".\r\n", True), "C": ("", True), "D": ("京都\r\n\r\n", True),
          "E": ("one\ntwo\r\n", True)}
WHY = {
    "A": "Octets, not characters: é and á are two each. And is it the last?",
    "B": "A dot is a dot: nothing is doubled, and CR LF are two octets.",
    "C": "An empty chunk has a number, too.",
    "D": "京 is E4 BA AC.",
    "E": "How do the lines of a text end on the wire (RFC 5321 §2.3.8), by BDAT as well?",
}


def truth(text: str, last: bool) -> str | None:
    """What a client says before this chunk of a text, or None where a lone CR or LF forbids it."""
    if set(text.replace("\r\n", "")) & {"\r", "\n"}:
        return None
    return f"BDAT {len(text.encode())}" + " LAST" * last


@check(
    hints=(
        "How many octets has é in UTF-8, and how many has a line end?",
        "C is `BDAT 0 LAST`. In A, é and á have two octets each, and the line end has two.",
        "BDAT counts octets, after the text has been encoded and its line ends have become CR LF. In UTF-8 é has "
        "two octets and 京 has three. A text with an LF alone is not ready for the wire, so there is no number for "
        "it.",
    ),
    passed="Every octet counted, and none twice.",
)
def check_counts(my_counts: dict[str, Any]) -> Problem | None:
    """The BDAT line of each chunk."""
    for name, (text, last) in CHUNKS.items():
        if name not in my_counts or my_counts[name] is ...:
            raise NotYet(f"a line such as `BDAT 10 LAST`, or None, is missing for `{name}`.")
        given, expected = my_counts[name], truth(text, last)
        words = None if given is None else " ".join(str(given).upper().split())
        if words != expected:
            wire = ""
            if words and expected and words.split()[1:2] != expected.split()[1:2]:
                wire = "What is counted too little is read as a command; what is counted too much is waited for."
            return Problem(gave=f"{given!r} for {name}", wire=wire, look=WHY[name])
    return None


# --- exercise 2: mistakes --------------------------------------------------------------------------------------------

MISTAKES = {"A": 4, "B": 5, "C": 7, "D": 6, "E": 2}
MISTAKES_LOOK = {
    "A": "Whose turn is it to give up after the 452, and with which verb?",
    "B": "BDAT and DATA in one transaction: what must a server say to the second of them?",
    "C": "503 leaves a transaction behind. What clears it?",
    "D": "The server refused six octets. Where did it leave them, and what is in line 6?",
    "E": "Which command is answered with 354, and what does BDAT get before its octets?",
}


@check(
    hints=(
        "For each: which end is it that does what RFC 3030 §2 or §3 forbids, and in which line first?",
        "D: line 6. Nobody said QUIT; it stood in the text.",
        "RFC 3030 §2 and §3 have few rules: BDAT and DATA do not mix, a refused chunk ends the transaction, and "
        "every octet of a chunk is read in any case. Ask for each transcript which end breaks one of these. The "
        "line you give is the first in which it does.",
    ),
    passed="All five, at the line where the RFC is broken.",
)
def check_mistakes(my_mistakes: dict[str, Any]) -> Problem | None:
    """The line of each mistake."""
    for name, line in MISTAKES.items():
        if not isinstance(as_number(my_mistakes.get(name)), int):
            raise NotYet(f"the number of a line for `{name}` is missing.")
        if as_number(my_mistakes[name]) != line:
            return Problem(gave=f"line {my_mistakes[name]} for {name}", look=MISTAKES_LOOK[name])
    return None


# --- exercise 3: a number in 32 bits ---------------------------------------------------------------------------------

BRIDGE = b"Subject: Your bridge\r\n\r\nIt is closed again.\r\n"
HELLO = b"EHLO rio.example\r\nMAIL FROM:<mallory@li.example>\r\nRCPT TO:<kenji@tokyo.example>\r\n"
Kept = list[tuple[str, list[str], bytes]]


def narrow_bdat(session: Any, argument: str) -> Talk:
    """Keeps the number in 32 bits."""
    size, _, marker = argument.partition(" ")
    octets, body = int(size) % 2**32, b""
    while len(body) < octets:
        body += yield Octets(octets - len(body))
    if session.state != "rcpt":
        return Reply(503, "MAIL and RCPT come first")
    session.notes["BDAT"] = body = session.notes.get("BDAT", b"") + body
    if marker.upper() == "LAST":
        envelope = session.envelope
        session.notes["kept"].append((envelope.sender, envelope.recipients, session.notes.pop("BDAT")))
        forget(session)
    return Reply(250, "taken")


class Narrow(Extension):
    """CHUNKING by such a server."""

    keyword = "CHUNKING"

    def verbs(self) -> dict[str, Verb]:
        return {"BDAT": Verb(narrow_bdat, {state: state for state in STATES[:-1]}, "", now=True)}


def plays(flight: bytes, extension: Extension) -> tuple[list[Reply], Kept]:
    """What a server answers to a flight behind the envelope, and which letters it has then."""
    kept: Kept = []

    def caller() -> Talk:
        replies: list[Reply] = []
        yield HELLO + flight
        with suppress(Disconnected):
            while True:
                replies.append((yield from read_reply(timeout=100_000.0)))
        return replies

    session = ExtendedSession("mx.example", lambda envelope, body: kept.append(
        (envelope.sender, envelope.recipients, body.read())), offer=Offer([Size(1_000_000), extension]))
    session.notes["kept"] = kept
    show = rehearse(caller(), serve_extended(session), patient=True)
    return [reply for reply in show.client[4:] if "waited long enough" not in reply.text], kept


@check(
    hints=(
        "Which number is 6 in 32 bits, and is not 6?",
        "b'BDAT 4294967302 LAST\\r\\n' and six octets; what stands behind them is obeyed by one of the two.",
        "A number that is kept in 32 bits loses everything above them, so 2**32 + n becomes n. A correct server "
        "sees a size beyond its limit, refuses and hangs up. The other one reads n octets and obeys what follows, "
        "so put your commands there.",
    ),
    passed="Two servers, one stream of octets, two readings. That is all a smuggler needs.",
)
def check_flight(my_flight: Any) -> Problem | None:
    """A flight that one server refuses and another one obeys."""
    from smtp_from_scratch.chunking import Chunking

    if not isinstance(my_flight, bytes):
        return Problem(gave=f"a {type(my_flight).__name__}", look="The wire carries bytes: b'BDAT …\\r\\n' b'…'.")
    replies, kept = plays(my_flight, Chunking())
    if kept or len(replies) != 1 or replies[0].positive:
        return Problem(gave=f"what a correct server answers with {[str(reply) for reply in replies]}, {len(kept)} kept",
                       look="It must find one thing to refuse, a number beyond its limit, and hang up.")
    _, kept = plays(my_flight, Narrow())
    forged = [letter for letter in kept if letter[:2] == ("kenji@tokyo.example", ["mayor@tokyo.example"])]
    if not forged:
        return Problem(gave=f"what leaves the other server with {kept}",
                       look="How many octets does it read after your BDAT? Your first command stands behind them.")
    if forged[0][2] != BRIDGE:
        return Problem(gave=f"a letter to the mayor that reads {forged[0][2]!r}",
                       look="Send it by DATA, or by a BDAT that counts.")
    return None


# --- exercise 4: half a pair -----------------------------------------------------------------------------------------


def taker(answers: Iterable[Reply], heard: list[tuple[str, bytes]]) -> Talk:
    """A server that reads chunks and answers as it is told."""
    waiting = iter(answers)
    with suppress(Disconnected):
        while True:
            line = bytes((yield LINE)).decode("ascii", "replace")
            octets, reply = b"", Reply(250, "fine")
            if line.upper().startswith("BDAT"):
                count, reply = int(line.split()[1]), next(waiting, Reply(503, "nothing more is expected"))
                while len(octets) < count:
                    octets += yield Octets(count - len(octets))
            heard.append((line, octets))
            yield reply


def overheard(talk: Talk, lines: list[bytes]) -> Talk:
    """Pass on what a conversation says and wants, and note the lines that it was given."""
    answer: Any = None
    while True:
        try:
            thing = talk.send(answer)
        except StopIteration as end:
            return end.value
        answer = yield thing
        lines += [answer] if thing is not None and not isinstance(thing, bytes) and isinstance(answer, bytes) else []


FINE, FULL, OVER = Reply(250, "taken"), Reply(452, "no room"), Reply(503, "it failed already")
CASES: list[tuple[list[bytes], list[Reply], Reply]] = [
    ([b"Subject: Hi\r\n\r\n", b".\r\n", b"caf\xc3\xa9\r\n"], [FINE, FINE, Reply(250, "kept")], Reply(250, "kept")),
    ([b"one\r\n"], [Reply(250, "kept")], Reply(250, "kept")),
    ([], [Reply(250, "kept")], Reply(250, "kept")),
    ([b"QUIT\r\n", b"NOOP\r\n", b"x"], [FINE, FULL, OVER], FULL),
    ([b"a\r\n", b"b\r\n"], [FINE, Reply(554, "no")], Reply(554, "no")),
]


@check(
    hints=(
        "What is said before anything is heard, and how many replies are then on their way?",
        "replies = [(yield from read_reply()) for …], then: the first that is not positive, else replies[-1]",
        "Nothing that is heard changes what comes next, so say all chunks first. Then hear exactly one reply for "
        "each BDAT. The first refusal is the result, and RSET has to follow it; its reply must be heard, too.",
    ),
    passed="One flight, a reply for each chunk, and a clean table after a refusal.",
)
def check_sender(my_sender: Callable[[list[bytes]], Talk]) -> Problem | None:
    """Chunks in one flight, and what counts of their replies."""
    for pieces, answers, expected in CASES:
        heard: list[tuple[str, bytes]] = []
        try:
            lines: list[bytes] = []
            show = rehearse(overheard(my_sender(list(pieces)), lines), taker(answers, heard))
        except TypeError:
            if heard:
                raise
            raise NotYet("say `BDAT n` and the n octets of each piece, then hear the replies.") from None
        except BothListening:
            return Problem(gave=f"for {pieces!r} a client that listens while the server does, too",
                           wire=f"The server has heard {[line for line, _ in heard]}, and answered each.",
                           look="One reply for each chunk, neither more nor fewer. Is every count right?")
        if problem := wrong(pieces, answers, expected, heard, show):
            return problem
        if len(lines) != len(heard):
            return Problem(gave=f"a client that has heard {len(lines)} of {len(heard)} replies",
                           wire="The next command takes the reply that is left over for its own.",
                           look="Every command has a reply, RSET too.")
    return None


def wrong(pieces: list[bytes], answers: list[Reply], expected: Reply, heard: list[tuple[str, bytes]],
          show: Any) -> Problem | None:
    """What is not as it should be, if anything."""
    chunks = [(line, octets) for line, octets in heard if line.upper().startswith("BDAT")]
    lines = [line for line, _ in chunks]
    if [octets for _, octets in chunks if octets] != pieces or len(chunks) != len(answers):
        return Problem(gave=f"{chunks!r} for {pieces!r}", wire="Those are other chunks.",
                       look="A piece, a chunk, its octets counted; and for no pieces one chunk that is empty.")
    if [line.upper().endswith(" LAST") for line in lines] != [False] * (len(lines) - 1) + [True]:
        return Problem(gave=f"{lines}", wire="The server does not know where the letter ends.",
                       look="LAST stands on the last BDAT, and on no other.")
    first_answer = [said.who for said in show.said].index("S")
    if any(said.who == "C" and b"BDAT" in said.data for said in show.said[first_answer:]):
        return Problem(gave="a client that listens between chunks", wire="Each chunk costs a round trip.",
                       look="BDAT may fly (RFC 3030 §4.2): say all, then hear.")
    refused = any(not reply.positive for reply in answers)
    if heard[-1][0].upper().startswith("RSET") != refused:
        return Problem(gave=f"{heard[-1][0]!r} as the last line", look="RSET after a refusal, and only then (§2).")
    if show.client != expected:
        return Problem(gave=f"{show.client} where the replies were {[str(reply) for reply in answers]}",
                       look="The first refusal counts; without one, the last reply does.")
    return None

"""The checks of `chunking`: sizes and counts, mistakes in sessions, a number that is cut, and half a pair."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from smtp_from_scratch.chunking import Octets
from smtp_from_scratch.conversation import BothListening, Disconnected, Line, Want, read_reply, rehearse
from smtp_from_scratch.ehlo import EightBitMime, ExtendedSession, Extension, ExtensionSet, Size, check_requirements
from smtp_from_scratch.envelope import Envelope, normalize
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.session import STAY, Limits, Verb, serve
from smtp_from_scratch.wire import CRLF, Command, Reply

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
def check_bdat_size(my_parse_bdat: Callable[[str], Any]) -> Problem | None:
    """What follows BDAT is read."""
    if my_parse_bdat("86") is None and my_parse_bdat("86 LAST") is None:
        raise NotYet("return the number and whether LAST follows it: `my_parse_bdat('86 LAST') == (86, True)`.")
    for argument, expected in SIZES.items():
        answer = my_parse_bdat(argument)
        if answer != expected:
            wire = "The server would read on at a place that the client never meant." if expected is None else ""
            look = ("Anything but digits 0 to 9, and then at most the word LAST, is no size." if expected is None
                    else "Digits are decimal, with zeros in front or without; LAST counts in any case.")
            if expected is not None and list(map(str, answer or ()) if isinstance(answer, tuple | list) else ()) == \
                    list(map(str, expected)):
                look = "Return a tuple, of an `int` and a `bool`."
            return Problem(gave=f"{answer!r} for {argument!r}", wire=wire or f"The client said {expected}.", look=look)
    return None


# --- your turn: the handler ------------------------------------------------------------------------------------------

HELLO = b"EHLO rio.example\r\n"
ENVELOPE = b"MAIL FROM:<ana@rio.example>\r\nRCPT TO:<kenji@tokyo.example>\r\n"
LIMIT = 1000                                    # octets of a message


def chunk(octets: bytes, last: bool = False) -> bytes:
    """A chunk on the wire."""
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" * last) + octets


class Reserved(Extension):
    """Wants everybody to prove who they are first."""

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        return Reply(530, "log in first", "5.7.0") if command.verb == "BDAT" else None


@dataclass(frozen=True)
class Case:
    """What a client says after EHLO, the codes that it should hear, what is kept then, and what it is about."""

    said: bytes
    codes: list[int]
    kept: list[bytes]
    look: str
    extensions: list[Extension] = field(default_factory=list)


NOOP = b"NOOP\r\n"
READ = "RFC 3030 §2: the octets are on their way whatever the answer. Read them all, then refuse."
HANDLED = [
    Case(ENVELOPE + chunk(b".\r\n", True) + NOOP, [250, 250, 250, 250], [b".\r\n"],
         "`want = Octets(octets)`, and `yield want` as long as `want.left`; then `finish`."),
    Case(ENVELOPE + chunk(b"Subject: Hi\r\n\r\n") + chunk(b".\r\n", True) + NOOP, [250, 250, 250, 250, 250],
         [b"Subject: Hi\r\n\r\n.\r\n"], "LAST goes on to `finish`; any other chunk is "
         "answered at once."),
    Case(chunk(b"QUIT\r\n", True) + NOOP, [503, 250], [], READ),
    Case(chunk(b"QUIT\r\n") + NOOP, [503, 250], [], READ),
    Case(ENVELOPE + chunk(b"", True) + NOOP, [250, 250, 250, 250], [b""], "An empty chunk may be the last one."),
    Case(ENVELOPE + chunk(b"x" * (LIMIT - 2)) + chunk(b"QUIT\r\n") + chunk(b"RSET\r\n") + chunk(b"", True) + NOOP,
         [250, 250, 250, 552, 552, 552, 250], [], "The spool's `fault` is the reply that is due from then on."),
    Case(ENVELOPE + chunk(b"a lone \n is no line end\r\n", True) + NOOP, [250, 250, 554, 250], [],
         "`finish` finds it, if the blocks went into the spool as they came."),
    Case(ENVELOPE + chunk(b"QUIT\r\n") + NOOP + ENVELOPE[:29] + b"RSET\r\n", [250, 250, 530, 250, 503, 250], [],
         "What `session.objection` returned is the reply; and the octets are read all the same.", [Reserved()]),
    Case(ENVELOPE + b"BDAT -1\r\n" + NOOP, [250, 250, 421], [], "Nobody knows where the next command begins: 421."),
    Case(ENVELOPE + b"BDAT 999999999 LAST\r\n" + NOOP, [250, 250, 421], [], "So much is never read: 421."),
]


@check(
    hints=(
        "What does `want.left` say before the first octet has come, and after the last one?",
        "while want.left: block = yield want; if spool: spool.add(block)",
        "Read all octets of the chunk first, and give them to the spool if there is one. Then answer: without a spool, "
        "the refusal or else 503; with one, if this is not the last chunk, the spool's fault or else 250. After the "
        "last chunk go on to `finish`.",
    ),
    passed="It reads first and judges later: no octet of a chunk is ever obeyed.",
)
def check_bdat(my_bdat: Callable[[Any, str], Any]) -> Problem | None:
    """A handler that reads what it refuses."""
    wanted: list[Any] = []
    for number, case in enumerate(HANDLED):
        for cut in (None, lambda data: [data[start : start + 7] for start in range(0, len(data), 7)]):
            try:
                kept, replies = handled(my_bdat, case, cut, wanted)
            except AttributeError as error:
                if problem := without_a_spool(error, case):
                    return problem
                raise
            if not number and not wanted:
                raise NotYet("read the octets, then answer.")
            codes = [reply.code for reply in replies]
            if codes != case.codes:
                return Problem(gave=f"{codes} to {shortened(case.said)}" + (", in pieces" if cut else ""),
                               wire=f"It should be {case.codes}, one for each command and chunk.", look=case.look)
            if kept != case.kept:
                return Problem(gave=f"{kept} kept of {shortened(case.said)}", wire=f"The client has sent {case.kept}.",
                               look=case.look)
    return None


def without_a_spool(error: AttributeError, case: Case) -> Problem | None:
    """What a handler has done with a spool that it does not have, if that is what was raised."""
    if error.obj is not None or error.name not in ("add", "file", "fault", "octets", "finish"):
        return None
    done = {"add": "a block put into a spool", "file": "`finish` called for a message"}.get(error.name, "a spool asked")
    return Problem(gave=f"{done} when there is none, after {shortened(case.said)}",
                   wire="The session breaks off, and the client hears no reply to this chunk.",
                   look="Without a spool the octets are read and dropped. The reply is the refusal, or else 503, to "
                        "the last chunk, too. And `finish` is for the last chunk alone.")


def shortened(said: bytes) -> str:
    """What was said, without what is of no interest."""
    return repr(said.replace(b"x" * (LIMIT - 2), b"x" * 3 + b"...").replace(ENVELOPE, b""))


def handled(my_bdat: Callable[[Any, str], Any], case: Case, cut: Any,
            wanted: list[Any]) -> tuple[list[bytes], list[Reply]]:
    """What is kept with such a handler, and the replies after the one to EHLO."""
    kept: list[bytes] = []

    def handler(session: Any, argument: str) -> Talk:
        answer = my_bdat(session, argument)
        if isinstance(answer, Reply):
            return answer
        if not isinstance(answer, Generator):
            raise NotYet(f"a handler returns a `Reply`, not {answer!r}: read the octets, then answer.")
        reply = yield from noted(answer, wanted)
        if not isinstance(reply, Reply):
            raise NotYet(f"a handler returns a `Reply`, not {reply!r}.")
        return reply

    class Counting(Extension):
        keyword = "CHUNKING"

        def verbs(self) -> dict[str, Verb]:
            return {"BDAT": Verb(handler, STAY, "", now=True, counts_octets=True)}

    session = ExtendedSession("mx.example", lambda envelope, body: kept.append(body.read()),
                              limits=Limits(max_size=LIMIT), extensions=ExtensionSet([Counting(), *case.extensions]))
    show = rehearse(hears(HELLO + case.said), serve(session), cut=cut, patient=True)
    return kept, [reply for reply in show.client[2:] if "waited long enough" not in reply.text]


def noted(talk: Talk, wanted: list[Any]) -> Talk:
    """Pass on what a conversation says and wants, and note what it wants that is not bytes."""
    answer: Any = None
    while True:
        try:
            thing = talk.send(answer)
        except StopIteration as end:
            return end.value
        wanted += [thing] if isinstance(thing, Want) and hasattr(thing, "left") else []
        answer = yield thing


def hears(said: bytes) -> Talk:
    """Says all at once, then listens to the end."""
    replies: list[Reply] = []
    yield said
    with suppress(Disconnected):
        while True:
            replies.append((yield from read_reply(timeout=100_000.0)))
    return replies


# --- your turn: whole lines ------------------------------------------------------------------------------------------

TEXTS: list[list[bytes]] = [
    [b"one\ntwo\n", b"three"], [b"one\r\n"], [b"one\r", b"\ntwo\r\n"], [b"one", b"\r\n"], [b"one\r\n", b""], [], [b""],
    [b"\n"], [b"one\r\n", b"t", b"wo"], [b"one\r"], [b"one\r\n\r\n"],
]


@check(
    hints=(
        "Which octets does a text end with when its last line is whole, and in how many blocks may they be?",
        "tail = (tail + block)[-2:]",
        "Yield each block, and keep the last two octets of all that was yielded so far. After the loop, yield one "
        "CR LF if these two are something else. A text without octets needs none.",
    ),
    passed="Every line whole, wherever the text was cut.",
)
def check_whole_lines(my_whole_lines: Callable[[Iterable[bytes]], Any]) -> Problem | None:
    """A text's last line ends, too."""
    for number, blocks in enumerate(TEXTS):
        given = my_whole_lines(list(blocks))
        answer = list(given) if isinstance(given, Iterable) else []
        if not number and not answer:
            raise NotYet("yield the blocks, and CR LF if the last line has no end.")
        if not all(isinstance(block, bytes) for block in answer):
            return Problem(gave=f"{answer!r} for {blocks!r}", look="Yield bytes, block by block.")
        plain = b"".join(normalize(blocks))
        expected = plain + CRLF * (not plain.endswith(CRLF) and plain != b"")
        if b"".join(answer) != expected:
            return Problem(gave=f"{b''.join(answer)!r} for {blocks!r}", wire=f"It should be {expected!r}.",
                           look="The last two octets of the whole text count, and they may be in two blocks.")
    asked = [0]
    next(iter(my_whole_lines(many(asked))))
    if asked[0] > 100:
        return Problem(gave=f"a first block after {asked[0]} of 1,000 were read",
                       wire="A film of 4 GB would be in memory before its first octet leaves.",
                       look="Yield each block as it comes.")
    return None


def many(asked: list[int]) -> Iterator[bytes]:
    """A long text; `asked` counts how much of it was wanted."""
    for _ in range(1000):
        asked[0] += 1
        yield b"one more line\r\n"


# --- your turn: BINARYMIME -------------------------------------------------------------------------------------------

BINARY = b"MAIL FROM:<ana@rio.example> BODY=%s\r\nRCPT TO:<kenji@tokyo.example>\r\n"
BY_DATA = b"DATA\r\nhi\r\n.\r\n"
AT_THE_SERVER: list[tuple[bytes, list[int], list[bytes], str]] = [
    (BINARY % b"BINARYMIME" + chunk(b"a lone \n", True), [250, 250, 250], [b"a lone \n"],
     "`parameters` must let BODY=BINARYMIME pass."),
    (BINARY % b"binarymime" + b"DATA\r\nRSET\r\n", [250, 250, 503, 250], [],
     "`check`: DATA after BODY=BINARYMIME is 503, in capitals or not (RFC 3030 §3)."),
    (BINARY % b"8BITMIME" + BY_DATA, [250, 250, 354, 250], [b"hi\r\n"], "DATA may carry every other message."),
    (ENVELOPE + BY_DATA, [250, 250, 354, 250], [b"hi\r\n"], "MAIL may come without BODY: its value is None then."),
    (BINARY % b"TERNARYMIME" + b"NOOP\r\n", [501, 503, 250], [], "No other value of BODY may pass."),
]


@check(
    hints=(
        "Which keyword must be offered beside BINARYMIME, and which command may never carry such a message?",
        'if "BINARYMIME" in plan.needs and plan.client.uses("CHUNKING"): plan.mail.parameters["BODY"] = "BINARYMIME"',
        "It requires CHUNKING, lets BODY=BINARYMIME pass, and refuses DATA with 503 when the envelope says so. In the "
        "plan it announces the body of a message that needs it, where the client uses CHUNKING. Then it crosses off "
        "what it provides: BINARYMIME, and 8BITMIME with it.",
    ),
    passed="Both ends of BINARYMIME, and no bit is lost.",
)
def check_binarymime(MyBinaryMime: type[Extension]) -> Problem | None:
    """BINARYMIME at both ends."""
    from smtp_from_scratch.chunking import Chunking

    requires: Any = MyBinaryMime.requires
    if requires is ...:
        raise NotYet("which keyword does it require?")
    if not isinstance(requires, set | frozenset) or requires != {"CHUNKING"} or MyBinaryMime.keyword != "BINARYMIME":
        without = "A server would offer it without BDAT, the only way for such a message to come."
        return Problem(gave=f"{MyBinaryMime.keyword} that requires {repr(requires) if requires else 'nothing'}",
                       wire="" if "CHUNKING" in str(requires) else without,
                       look='`requires = frozenset({"CHUNKING"})`: a set of that one keyword.')
    refusal: Any = MyBinaryMime().check(binary_session(), Command("DATA", ""))
    if not isinstance(refusal, Reply | None):
        return Problem(gave=f"{refusal!r:.60} from `check` for DATA", wire="The session breaks off without a reply.",
                       look="Return a `Reply`, as in `Reply(503, \"…\")`, or None.")
    for said, codes, kept, look in AT_THE_SERVER:
        session = ExtendedSession("mx.example", extensions=ExtensionSet([EightBitMime(), Chunking(), MyBinaryMime()]))
        answers, bodies = answered(session, said)
        if answers != codes or bodies != kept:
            return Problem(gave=f"{answers} to {said!r}" + (f", {bodies} kept" if bodies != kept else ""),
                           wire=f"It should be {codes}.", look=look)
    return at_the_client(MyBinaryMime)


def binary_session() -> ExtendedSession:
    """A session in which MAIL has said BODY=BINARYMIME."""
    session = ExtendedSession("mx.example")
    session.envelope.parameters["BODY"] = "BINARYMIME"
    return session


def answered(session: ExtendedSession, said: bytes) -> tuple[list[int], list[bytes]]:
    """The codes that follow the reply to EHLO, and the bodies that are kept."""
    kept: list[bytes] = []
    session.deliver = lambda envelope, body: kept.append(body.read())
    show = rehearse(hears(HELLO + said), serve(session), patient=True)
    return [reply.code for reply in show.client[2:] if "waited long enough" not in reply.text], kept


def at_the_client(my_binary: type[Extension]) -> Problem | None:
    """What it makes of a plan."""
    from smtp_from_scratch.chunking import Chunking
    from smtp_from_scratch.client import SMTPNotSupportedError
    from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, Plan

    everything = {"8BITMIME": "", "CHUNKING": "", "BINARYMIME": ""}
    for needs, offered, expected in (
            ({"BINARYMIME"}, everything, "BINARYMIME"), ({"BINARYMIME", "8BITMIME"}, everything, "BINARYMIME"),
            (set(), everything, None), ({"8BITMIME"}, everything, "8BITMIME"),
            ({"BINARYMIME"}, {"8BITMIME": "", "BINARYMIME": ""}, "nothing")):
        for order in (1, -1):
            ours = [EightBitMime(), Chunking(), my_binary()]
            client = ClientSession("rio.example", check_requirements(ours[::order]))
            client.learn(offered)
            message = OutgoingMessage(Envelope("ana@rio.example", ["kenji@tokyo.example"]), [b""],
                                      needs=frozenset(needs))
            try:
                said = Plan(client, message).mail.parameters.get("BODY")
            except SMTPNotSupportedError:
                said = "nothing"
            if said != expected:
                return Problem(gave=f"BODY={said} for a message that needs {sorted(needs)}, where {sorted(offered)} "
                               "are offered", wire=f"It should be {expected}.", look="`plan`: only what needs it, only "
                               "where CHUNKING is used, and cross off what it provides.")
    return None


# --- exercise 1: counts ----------------------------------------------------------------------------------------------

CHUNKS = {"A": ("Até já\r\n", False), "B": (".\r\n", True), "C": ("", True), "D": ("5 €\r\n\r\n", True),
          "E": ("one\ntwo\r\n", True)}
WHY = {
    "A": "Octets, not characters: é and á are two each. And is it the last?",
    "B": "A dot is a dot: nothing is doubled, and CR LF are two octets.",
    "C": "An empty chunk has a number, too.",
    "D": "In UTF-8, € is E2 82 AC.",
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
        "two octets and € has three. A text with an LF alone is not ready for the wire, so there is no number for "
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
        line = given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
        words = None if line.strip() == "None" else " ".join(line.upper().split())
        if words is None and expected and name != "C":
            return Problem(gave=f"None for {name}", look="Each of its lines ends with CR LF, so it may be sent. "
                           f"{WHY[name]}")
        if words and expected and words != expected and words.removeprefix("BDAT ") == expected.removeprefix("BDAT "):
            return Problem(gave=f"{given!r} for {name}", look="The count is right. The line begins with the verb.")
        if words != expected:
            wire = ""
            if words and expected and words.split()[1:2] != expected.split()[1:2]:
                wire = "Too few, and the rest is read as a command; too many, and the server waits for more."
            return Problem(gave=f"{given!r} for {name}", wire=wire, look=WHY[name])
    return None


# --- exercise 2: mistakes --------------------------------------------------------------------------------------------

MISTAKES = {"A": 4, "B": 7, "C": 5, "D": 4, "E": 2}
MISTAKES_LOOK = {
    "A": "Whose turn is it to give up after the 452, and with which verb?",
    "B": "BDAT and DATA in one transaction (RFC 3030 §2): who mixes them? A server that answers 503 does right.",
    "C": "By which command may a message with BODY=BINARYMIME not come (RFC 3030 §3)? 503 is right, and so is RSET.",
    "D": "The server refused six octets. Where did it leave them, and what does line 4 answer?",
    "E": "Which command is answered with 354, and what does BDAT get before its octets?",
}


@check(
    hints=(
        "For each: which end does what RFC 3030 §2 or §3 forbids, and in which line first?",
        "D: line 4. Nobody said QUIT; it was in the text.",
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
MALLORY = b"MAIL FROM:<mallory@li.example>\r\nRCPT TO:<kenji@tokyo.example>\r\n"
Kept = list[tuple[str, list[str], bytes]]


def narrow_bdat(session: Any, argument: str) -> Talk:
    """Keeps the number in 32 bits."""
    size, _, marker = argument.partition(" ")
    if not size.isdecimal():
        return Reply(501, "no number")
    want, body = Octets(int(size) % 2**32), b""
    while want.left:
        body += yield want
    if session.state != "rcpt":
        return Reply(503, "MAIL and RCPT come first")
    session.notes["BDAT"] = body = session.notes.get("BDAT", b"") + body
    if marker.upper() == "LAST":
        envelope = session.envelope
        session.notes["kept"].append((envelope.sender, envelope.recipients, session.notes.pop("BDAT")))
        session.reset()
    return Reply(250, "taken")


class Narrow(Extension):
    """CHUNKING by such a server."""

    keyword = "CHUNKING"

    def verbs(self) -> dict[str, Verb]:
        return {"BDAT": Verb(narrow_bdat, STAY, "", now=True)}


def plays(flight: bytes, extension: Extension) -> tuple[list[Reply], Kept]:
    """What a server answers to a flight after the envelope, and which messages it has then."""
    kept: Kept = []
    session = ExtendedSession("mx.example", lambda envelope, body: kept.append(
        (envelope.sender, envelope.recipients, body.read())), limits=Limits(max_size=1_000_000),
        extensions=ExtensionSet([Size(), extension]))
    session.notes["kept"] = kept
    show = rehearse(hears(HELLO + MALLORY + flight), serve(session), patient=True)
    return [reply for reply in show.client[4:] if "waited long enough" not in reply.text], kept


@check(
    hints=(
        "Which number is 6 in 32 bits, and is not 6?",
        "b'BDAT 4294967302 LAST\\r\\n' and six octets; one of the two servers obeys what follows.",
        "A number that is kept in 32 bits loses everything above them, so 2**32 + n becomes n. A correct server "
        "sees a size beyond its limit, refuses and hangs up. The other one reads n octets and obeys what follows, "
        "so put your commands there.",
    ),
    passed="Two servers, one stream of octets, two readings. That is all a smuggler needs.",
)
def check_flight(my_flight: Any) -> Problem | None:
    """A flight that one server refuses and another one obeys."""
    from smtp_from_scratch.chunking import Chunking

    if not isinstance(my_flight, bytes | bytearray):
        return Problem(gave=f"something of the type {type(my_flight).__name__}",
                       look="The wire carries bytes: b'BDAT …\\r\\n' b'…'.")
    my_flight = bytes(my_flight)
    replies, kept = plays(my_flight, Chunking())
    if my_flight.upper().startswith((b"EHLO", b"HELO", b"MAIL", b"RCPT")):
        return Problem(gave=f"a flight that begins {my_flight[:24]!r}", wire=f"The answer is {replies[0]}.",
                       look="EHLO, MAIL and RCPT have been said already. Begin with BDAT.")
    if kept or len(replies) != 1 or replies[0].positive:
        return Problem(gave=f"what a correct server answers with {[str(reply) for reply in replies]}, {len(kept)} kept",
                       look="It must find one thing to refuse, a number beyond its limit, and hang up.")
    _, kept = plays(my_flight, Narrow())
    forged = [letter for letter in kept if letter[:2] == ("kenji@tokyo.example", ["mayor@tokyo.example"])]
    if not forged:
        return Problem(gave=f"what leaves the other server with {kept}",
                       look="How many octets does it read after your BDAT? Your first command follows them.")
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
            line = bytes((yield Line())).decode("ascii", "replace")
            octets, reply = b"", Reply(250, "fine")
            if line.upper().startswith("BDAT"):
                want, reply = Octets(int(line.split()[1])), next(waiting, Reply(503, "nothing more is expected"))
                while want.left:
                    octets += yield want
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
        "What do you say before you hear anything, and how many replies are then on their way?",
        "for _ in pieces: replies.append((yield from read_reply()))",
        "No reply changes what comes next, so say all chunks first. Then hear exactly one reply for "
        "each BDAT. The first refusal is the result, and RSET has to follow it; its reply must be heard, too.",
    ),
    passed="One flight, a reply for each chunk, and a clean table after a refusal.",
)
def check_sender(my_sender: Callable[[list[bytes]], Talk]) -> Problem | None:
    """Chunks in one flight, and what counts of their replies."""
    for pieces, answers, expected in CASES:
        heard: list[tuple[str, bytes]] = []
        if not isinstance(talk := my_sender(list(pieces)), Generator):
            raise NotYet(f"a conversation yields what it says; this returns {talk!r}.")
        try:
            lines: list[bytes] = []
            show = rehearse(overheard(talk, lines), taker(answers, heard))
        except TypeError as error:
            if heard or "not None" not in str(error):
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
                           wire="The next command takes the reply that is left over as its own.",
                           look="Every command has a reply, RSET too.")
    return None


def wrong(pieces: list[bytes], answers: list[Reply], expected: Reply, heard: list[tuple[str, bytes]],
          show: Any) -> Problem | None:
    """What is not as it should be, if anything."""
    chunks = [(line, octets) for line, octets in heard if line.upper().startswith("BDAT")]
    lines = [line for line, _ in chunks]
    if [octets for _, octets in chunks if octets] != pieces or len(chunks) != len(answers):
        return Problem(gave=f"{chunks!r} for {pieces!r}", wire="Those are other chunks.",
                       look="One chunk for each piece, its octets counted; for no pieces, one empty chunk.")
    if [line.upper().endswith(" LAST") for line in lines] != [False] * (len(lines) - 1) + [True]:
        return Problem(gave=f"{lines}", wire="The server does not know where the message ends.",
                       look="LAST belongs on the last BDAT, and on no other.")
    first_answer = [said.role for said in show.said].index("S")
    if any(said.role == "C" and b"BDAT" in said.data for said in show.said[first_answer:]):
        return Problem(gave="a client that listens between chunks", wire="Each chunk costs a round trip.",
                       look="BDAT may fly (RFC 3030 §4.2): say all, then hear.")
    refused = any(not reply.positive for reply in answers)
    if heard[-1][0].upper().startswith("RSET") != refused:
        return Problem(gave=f"{heard[-1][0]!r} as the last line", look="RSET after a refusal, and only then (§2).")
    if show.client != expected:
        return Problem(gave=f"{show.client} where the replies were {[str(reply) for reply in answers]}",
                       look="The first refusal counts; without one, the last reply does.")
    return None

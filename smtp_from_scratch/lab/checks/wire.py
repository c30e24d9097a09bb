"""The checks of `wire`: octets of a reply, an order of lines, lines out of a stream, a server that deceives."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any

from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.lab.wires.peer import aiosmtpd_server
from smtp_from_scratch.lab.wires.rawline import raw
from smtp_from_scratch.wire import COMMAND_LIMIT, Reply, encode_command, parse_command, parse_reply

CR_LF = b"\r\n"


def text_of(octets: bytes) -> str:
    """One line of a reply without its end."""
    return octets.decode("utf-8", "backslashreplace").rstrip("\r\n")


# --- a box that gives out lines -------------------------------------------------------------------------------------

LONG = b"NOOP " + b"x" * 700
# what is fed, and what comes out in order: a line, or the name of what is raised
FED: tuple[tuple[bytes, list[Any], str], ...] = (
    (b"NOOP\r\nQUIT\r\n", [b"NOOP", b"QUIT"], "A line ends at CR LF."),
    (b"\r\n", [b""], "An empty line is a line: return b\"\", not None."),
    (b"HELO laptop\nQUIT\r\n", ["BareNewline"], "An LF without its CR ends nothing (RFC 5321 §2.3.8)."),
    (b"\nQUIT\r\n", ["BareNewline"], "An LF without its CR ends nothing, not even at the start."),
    (b"HELO\rlaptop\r\nQUIT\r\n", ["BareNewline", b"QUIT"], "A CR without its LF is refused; the next line is sound."),
    (b"QUIT\r\r\nNOOP\r\n", ["BareNewline", b"NOOP"], "Two CRs: the first has no LF after it."),
    (b"x" * 510 + b"\r\nQUIT\r\n", [b"x" * 510, b"QUIT"], "512 octets with CR LF are allowed."),
    (b"x" * 511 + b"\r\nQUIT\r\n", ["LineTooLong", b"QUIT"], "513 octets with CR LF are one too many."),
    (LONG + b"\r\nQUIT\r\n", ["LineTooLong", b"QUIT"], "The line after a long one is sound."),
    (LONG + b"MAIL FROM:<>\r\nQUIT\r\n", ["LineTooLong", b"QUIT"],
     "What comes after dropped octets is the same line, until its CR LF."),
)


def heard(box: Any, pieces: Iterable[bytes]) -> list[Any]:
    """All lines, and the names of what was raised, in order."""
    found: list[Any] = []
    for piece in pieces:
        box.feed(piece)
        for _ in range(len(piece) + 2):
            try:
                line = box.line(COMMAND_LIMIT)
            except ValueError as error:
                found.append(type(error).__name__)
                continue
            if line is None:
                break
            found.append(line)
    return found


@check(
    hints=(
        "When LF has not come, what do you keep, and what do you count?",
        "if not end and len(self.data) > limit: self.dropped += len(self.data) - 1; self.data = self.data[-1:]",
        "Look for the first LF. Without one, return None; over the limit, throw away all but the last octet and count "
        "what you threw away. With one, take the line off, add the count to its length, set the count to 0, and judge: "
        "too long, no CR before the LF, another CR inside, or a line to return.",
    ),
    passed="however it was cut: lines at CR LF, and nothing that pretends to be one.",
)
def check_inbox(MyInbox: Callable[[], Any]) -> Problem | None:
    """A box: pieces in, lines out."""
    if MyInbox().line(COMMAND_LIMIT) is ...:
        raise NotYet("return a line or None, then run the cell again.")
    box = MyInbox()
    box.feed(b"NOOP\r\n")
    if box.line(COMMAND_LIMIT) is None:
        raise NotYet("`line` gives no line yet, though b\"NOOP\\r\\n\" is one.")
    for octets, right, look in FED:
        for how, pieces in cuttings(octets):
            given = heard(MyInbox(), pieces)
            if given[: len(right)] != right or (right[-1] != "BareNewline" and len(given) > len(right)):
                shown = octets if len(octets) < 60 else octets[:12] + b"..." + octets[-24:]
                return Problem(f"{shown!r} {how} gave {shortly(given)}", f"It should be {shortly(right)}.", look)
    if problem := problem_of_limit(MyInbox):
        return problem
    box = MyInbox()
    for _ in range(200):
        box.feed(b"x" * 1000)
        with suppress(ValueError):             # ours gives up such a line in the end
            box.line(COMMAND_LIMIT)
    if (kept := octets_in(list(vars(box).values()) if hasattr(box, "__dict__") else [])) > 10_000:
        return Problem(f"{kept:,} octets are kept of a line that never ends", "One caller fills your memory.",
                       "Drop what is over the limit while it arrives.")
    return None


def octets_in(kept: Any) -> int:
    """How many octets lie in a value, or in the pieces that it is a list of."""
    if isinstance(kept, bytes | bytearray):
        return len(kept)
    return sum(map(octets_in, kept)) if isinstance(kept, list | tuple) else 0


def problem_of_limit(MyInbox: Callable[[], Any]) -> Problem | None:
    """A client hears longer lines than a server: `limit` is the caller's to choose."""
    for octets, limit, right in ((LONG, 8192, LONG), (b"NOOP now", 9, "LineTooLong"), (b"NOOP now", 10, b"NOOP now")):
        box = MyInbox()
        box.feed(octets + b"\r\n")
        try:
            given = box.line(limit)
        except ValueError as error:
            given = type(error).__name__
        if given != right:
            return Problem(f"a line of {len(octets) + 2} octets with a `limit` of {limit} gave {shortly([given])}",
                           f"It should be {shortly([right])}.", "A client allows a reply 8,192 octets in a line, "
                           "and a server a command 512: `limit` says which.")
    return None


def cuttings(octets: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """In one piece, cut in two at some places, and octet by octet."""
    yield "in one piece", [octets]
    for at in [*range(1, min(len(octets), 24)), *range(max(24, len(octets) - 24), len(octets))]:
        yield f"cut after {at} octets", [octets[:at], octets[at:]]
    yield "octet by octet", [octets[i : i + 1] for i in range(len(octets))]


def shortly(found: list[Any]) -> str:
    """Lines and names, long lines shortened."""
    return ", ".join(name if isinstance(name, str) else repr(name) if len(str(name)) < 60 else f"{len(name)} octets"
                     for name in found) or "nothing"


# --- the octets of a reply -----------------------------------------------------------------------------------------


@check(
    hints=(
        "Which of the lines has no line after it?",
        'f"{reply.code}-{text}\\r\\n" for reply.lines[:-1], the '
        'same with a space for reply.lines[-1]; then .encode().',
        "Every line of a reply begins with the code and ends with CR LF. The octet after the code tells whether "
        "another line follows: a hyphen says yes, a space says no. So all lines but the last get the hyphen, and "
        "the text becomes octets at the very end.",
    ),
    passed="one line or many, the client knows where your reply ends.",
)
def check_encode(my_encode_reply: Callable[[Reply], Any]) -> Iterator[Problem | None]:
    """A reply becomes octets."""
    for code, lines in ((250, ["OK"]), (250, ["mx.tokyo.example", "HELP"]), (550, ["no", "Kenji", "here"]),
                        (220, ["mx.tokyo.example", "250 is a number", "welcome"]), (250, ["OK", "OK"]),
                        (250, ["OK", "more", "OK"])):
        given, right = my_encode_reply(Reply(code, "\n".join(lines))), reply_octets(code, lines)
        if given is None or given is ...:
            raise NotYet("return the octets of the reply, then run both cells again.")
        if given != right:
            yield Problem(gave=f"for Reply({code}) with the lines {lines}: {given!r}", wire=wrong_octets(given, right),
                          look=f"The client expects {right!r}.")


def reply_octets(code: int, lines: Sequence[str]) -> bytes:
    """What RFC 5321 §4.2.1 wants."""
    marks = ["-"] * (len(lines) - 1) + [" "]
    return "".join(f"{code}{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode()


def wrong_octets(given: object, right: bytes) -> str:
    """What the client makes of these octets, in a sentence."""
    if not isinstance(given, bytes):
        return f"a socket carries bytes; this is of type {type(given).__name__}, and sendall would refuse it."
    if not given.endswith(CR_LF):
        return "the last line has no CR LF, so it is not over; the client listens on."
    if given.count(CR_LF) != right.count(CR_LF):
        return f"ends of lines that the client finds: {given.count(CR_LF)}; there should be {right.count(CR_LF)}."
    for number, (line, want) in enumerate(zip(given.split(CR_LF), right.split(CR_LF), strict=True), 1):
        if line != want and line[:3] == want[:3] and line[3:4] != want[3:4]:
            what = "a hyphen promises another line" if want[3:4] == b"-" else "a space ends the reply"
            return f"in line {number}, {line!r}, the octet after the code misleads the client: {what}."
    return "the client hears something that was not meant."


# --- a reply again ---------------------------------------------------------------------------------------------------

GOOD_REPLIES = ([b"250 OK"], [b"354"], [b"250-mx.tokyo.example", b"250 HELP"], [b"250-a", b"250-", b"250 250-c"],
                [b"421 "], [b"220 one - two"], [b"250-x", b"250"], [b"250--", b"250 -"])
BAD_REPLIES: tuple[tuple[list[bytes], str], ...] = (
    ([b"250-welcome", b"550 but not you"], "All lines carry the same code."),
    ([b"250-half"], "The last line promises another."), ([b"250 done", b"250 more"], "A space ended the reply before."),
    ([b"HTTP/1.1 400"], "A code has three digits."), ([b"25 OK"], "A code has three digits."),
    ([b"2500 OK"], "After three digits comes a space or a hyphen."), ([b"999 OK"], "A code lies between 200 and 599."),
    ([b"100 OK"], "A code lies between 200 and 599."), ([b""], "An empty line has no code."),
    ([b"250-a", b"550-b", b"250 c"], "All lines carry the same code, those in the middle too."),
    ([b"250-a", b"250 b", b"250 c"], "Only the last line has a space."), ([b"250\tOK"], "A tab is no space."),
    ([], "No line is no reply."),
)


@check(
    hints=(
        "What must be true of each line, and what of the last alone?",
        "code, mark, text = line[:3], line[3:4], line[4:]",
        "Cut each line into its code, the octet after it, and the text. The code is the same in all of them, and a "
        "number from 200 to 599. The mark is a hyphen in every line but the last, and a space or nothing in the last.",
    ),
    passed="what is a reply is read, and the rest is not believed.",
)
def check_parse_reply(my_parse_reply: Callable[[list[bytes]], Any]) -> Problem | None:
    """Lines become a reply, or BadReply."""
    for lines in GOOD_REPLIES:
        right = parse_reply(lines)
        try:
            given = my_parse_reply(list(lines))
        except ValueError as error:
            return Problem(f"for {lines}: {type(error).__name__}: {error}", "The client gives up a sound server.",
                           f"This is the reply {right.code} with the text {right.text!r}.")
        if given is None or given is ...:
            raise NotYet("return a Reply, then run the cell again.")
        if (getattr(given, "code", None), getattr(given, "text", None)) != (right.code, right.text):
            return Problem(f"for {lines}: {given!r}", "The program acts on the code, people read the text.",
                           f"We expected Reply({right.code}, {right.text!r}).")
    for lines, look in BAD_REPLIES:
        try:
            given = my_parse_reply(list(lines))
        except ValueError as error:
            if type(error).__name__ == "BadReply":
                continue
            return Problem(f"for {lines}: {type(error).__name__}: {error}", "Callers expect BadReply alone.",
                           f"{look} Raise BadReply.")
        return Problem(f"for {lines}: {given!r}", "The client believes what nobody said.", f"{look} Raise BadReply.")
    return None


# --- one line, never two ---------------------------------------------------------------------------------------------


@check(
    hints=(
        "Which octets may a command line not contain, and where is its one CR LF added?",
        'line = f"{verb} {argument}" if argument else verb',
        "Put the verb and, if there is one, a space and the argument together. If a CR, an LF or a NUL is anywhere in "
        "it, raise ValueError. Else encode it and add CR LF.",
    ),
    passed="one line for each call, whoever chose the address.",
)
def check_encode_command(my_encode_command: Callable[..., Any]) -> Problem | None:
    """A command becomes one line."""
    for words in (("QUIT",), ("MAIL", "FROM:<>"), ("RCPT", "TO:<li@tokyo.example>"), ("NOOP", ""), ("HELO", "exämple")):
        given, right = my_encode_command(*words), encode_command(*words)
        if given is None or given is ...:
            raise NotYet("return the octets, then run the cell again.")
        if given != right:
            return Problem(f"for {words}: {given!r}", "The server hears another line.", f"We expected {right!r}.")
    for words in (("RCPT", "TO:<a@b.example>\r\nDATA"), ("RCPT", "TO:<a\n"), ("NOOP", "a\rb"), ("NOOP", "\0"),
                  ("QUIT\r\nNOOP",), ("MAIL", "FROM:<>\r\n")):
        try:
            given = my_encode_command(*words)
        except ValueError:
            continue
        return Problem(f"for {words}: {given!r}", "A second command, or half of one, rides along.",
                       "Raise ValueError for CR, LF and NUL, in the verb and in the argument.")
    return None


@check(
    hints=(
        "At which space is the line cut, when the argument has spaces too?",
        'verb, _, argument = line.partition(b" ")',
        "Cut at the first space: before it is the verb, after it the argument. Put the verb in upper case and leave "
        "the argument as it is, apart from spaces at its end. Decode with errors=\"surrogateescape\", so that no "
        "octets make it raise.",
    ),
    passed="verb and argument, as they were meant.",
)
def check_parse_command(my_parse_command: Callable[[bytes], Any]) -> Problem | None:
    """A line becomes a verb and an argument."""
    for line in (b"QUIT", b"rcpt TO:<Li@tokyo.example>", b"MAIL FROM:<a@b.example> SIZE=5", b"Noop \t ", b"noop a  b",
                 b"", b"HELO \xff"):
        try:
            given, right = my_parse_command(line), parse_command(line)
        except UnicodeDecodeError as error:
            return Problem(f"UnicodeDecodeError for {line!r}: {error.reason}",
                           "One odd octet, and the server hangs up on whoever sent it.",
                           'Decode with errors="surrogateescape": then every octet has its place.')
        if given is None or given is ...:
            raise NotYet("return the verb and the argument, then run the cell again.")
        pair = (given.verb, given.argument) if hasattr(given, "verb") else given
        if not isinstance(pair, tuple | list) or tuple(pair) != (right.verb, right.argument):
            return Problem(f"for {line!r}: {given!r}", "The server hears another verb, or another argument.",
                           f"We expected {(right.verb, right.argument)!r}.")
    return None


# --- eight lines and a lure ----------------------------------------------------------------------------------------

LINES = {
    "A": "QUIT",
    "B": "RCPT TO:<kenji@tokyo.example>",
    "C": "Subject: Rain on Monday, bring the boat",
    "D": "DATA",
    "E": "SUBJECT Rain on Monday, bring the boat",
    "F": "HELO laptop.rio.example",
    "G": ".",
    "H": "MAIL FROM:<ana@rio.example>",
    "I": "RCPT TO:<li@tokyo.example>",
}
LETTER = f"{LINES['C']}\r\n".encode()
READERS = ["kenji@tokyo.example", "li@tokyo.example"]


@check(
    hints=(
        "What must a server know before it takes the letter? And which lines are the letter?",
        "F H, then both recipients, D, one line of letter, G, A.",
        "First the client says who it is, then who sends the letter, then who receives it, once for each "
        "recipient. After DATA every line is letter, until a line that holds only a dot. One of the two lines that "
        "look like a subject is not how a header field is written.",
    ),
    passed="aiosmtpd took every line, and Kenji and Li each know about the boat.",
)
def check_eight_lines(my_order: str) -> Problem | None:
    """The lines, said one by one to aiosmtpd."""
    given = "".join(letter for letter in str(my_order).upper() if letter.isalnum())
    if not set(given) <= set(LINES) or len(given) != 8 or len(set(given)) != 8:
        return Problem(gave=given, wire="nothing: eight of the nine lines are said, each once.",
                       look="Write eight different letters from A to I into one string.")
    with aiosmtpd_server(hostname="mx.tokyo.example") as tokyo, raw(tokyo.address) as phone:
        phone.hear()
        problem = speak(phone, given)
        letters = list(tokyo.messages)
    problem = problem or misdelivered(given, letters)
    if problem is None and not given.endswith("A"):
        problem = unfinished(given, "the letter is in Tokyo, and nobody has said goodbye.", "end")
    return problem


def speak(phone: raw, order: str) -> Problem | None:
    """Say the lines in this order; the first that the server refuses is a problem."""
    in_letter = False
    for name in order:
        phone.say(LINES[name].encode() + CR_LF)
        if in_letter and name != "G":
            continue
        heard = phone.hear()
        if not heard or heard[:1] not in b"23":
            says = f"the server says: {text_of(heard)}" if heard else "nobody answers: the server has hung up."
            return Problem(gave=order, wire=f"you come to {name}, `{LINES[name]}`, and {says}",
                           look="What did it want to hear before this line? Is this line a command at all?" if heard
                           else "Which line ends the conversation, and so stands last?")
        in_letter = heard.startswith(b"354")
    if in_letter:
        return unfinished(order, "Tokyo still waits for the end of the letter; what follows DATA is text to it.", "dot")
    return None


def unfinished(order: str, wire: str, missing: str) -> Problem:
    look = {"end": "Which line ends the conversation?", "dot": "Which line ends the letter, and what may follow it?"}
    return Problem(gave=order, wire=wire, look=look[missing])


def misdelivered(order: str, letters: Sequence[Any]) -> Problem | None:
    """Every line was taken; did the right letter reach the right people?"""
    if not letters:
        return Problem(gave=order, wire="every line was taken, and the letter is still in Rio.",
                       look="Which lines carry the letter?")
    if sorted(letters[0].rcpt_tos) != READERS:
        return Problem(gave=order, wire=f"the letter reached {' and '.join(letters[0].rcpt_tos)} alone.",
                       look="How many RCPT does a letter to two people need?")
    if letters[0].data != LETTER:
        text = letters[0].data.decode()
        return Problem(gave=order, wire=f"the server said yes to everything, and this is the letter: {text!r}",
                       look="Which lines belong between DATA and the dot?")
    return None


# --- lines out of a stream -----------------------------------------------------------------------------------------


@check(
    hints=(
        "What is left over when a piece has been read, and where do you keep it until the next piece comes?",
        'rest += chunk; then, while b"\\r\\n" in rest: line, _, rest = rest.partition(b"\\r\\n").',
        "A piece from `recv` may hold half a line, one line or several. Keep what is left over, put the next piece "
        "after it, and cut off a line as long as there is a CR LF in it. What comes after the last CR LF is not a "
        "line yet, so it waits.",
    ),
    passed="every cutting gives the same lines; what is incomplete waits.",
)
def check_lines(my_lines: Callable[[list[bytes]], Any]) -> Iterator[Problem | None]:
    """A reply cut at every place, the smallest failing cutting first."""
    reply = b"250-hi\r\n250 OK\r\n"
    yield lines_differ(my_lines, [b"250 OK\r\n"], "even uncut it is not read.", "Where does a line end?")
    yield lines_differ(my_lines, [reply], "two lines came in one piece.", "How often do you look into one piece?")
    for i in range(1, len(reply)):
        inside = reply[i - 1 : i + 1] == CR_LF
        yield lines_differ(my_lines, [reply[:i], reply[i:]],
                           "the cut fell between CR and LF." if inside else "the cut fell inside a line."
                           if reply[i - 1 : i] != b"\n" else "the cut fell between two lines.",
                           "What do you remember from the piece before?")
    for i, j in combinations(range(1, len(reply)), 2):
        yield lines_differ(my_lines, [reply[:i], reply[i:j], reply[j:]], "two cuts, three pieces.",
                           "What if a piece holds no end of a line at all?")
    yield lines_differ(my_lines, [reply[i : i + 1] for i in range(len(reply))], "every octet came alone.",
                       "Does it still hold with one octet at a time?")
    yield lines_differ(my_lines, [b"", b"\r\n", b"250 OK\r\n"], "an empty line is a line: it ends with CR LF too.",
                       "How do you tell an empty line from no line?")
    yield lines_differ(my_lines, [b"250 OK\r\n250 hal"], "the last line is not over.",
                       "What becomes of octets after the last CR LF?")
    yield lines_differ(my_lines, [b"a\nb\rc\r\n"], "a CR or an LF stood alone.",
                       "RFC 5321 §2.3.8: which two octets end a line, and in which order?")


def lines_differ(my_lines: Callable[[list[bytes]], Any], pieces: list[bytes], wire: str, look: str) -> Problem | None:
    *right, _ = b"".join(pieces).split(CR_LF)
    given = my_lines(list(pieces))
    if given is None or given is ...:
        raise NotYet("return a list of lines, then run both cells again.")
    given = list(given) if isinstance(given, Iterable) and not isinstance(given, bytes | str) else given
    if given == right:
        return None
    if isinstance(given, list) and any(isinstance(line, str) for line in given):
        return Problem(gave=f"my_lines({pieces}) = {given!r}", wire="what arrives is bytes, and need not be text.",
                       look="Do not decode: a line is bytes as well.")
    return Problem(gave=f"my_lines({pieces}) = {given!r}", wire=f"{wire} The lines are {right!r}.", look=look)


# --- break the hasty client ----------------------------------------------------------------------------------------

QUESTIONS = ("(connect)", "HELO", "MAIL", "RCPT Kenji", "RCPT Li", "QUIT")
CODES = [220, 250, 250, 550, 250, 221]
REPLY = re.compile(rb"(?:([2-5]\d\d)-[^\r\n]*\r\n)*([2-5]\d\d)(?: [^\r\n]*)?\r\n")


@check(
    hints=(
        "Which reply would you cut, so that each of its two pieces passes for a reply of its own?",
        'Make the greeting two lines, b"220-welcome\\r\\n" and b"220 to Tokyo\\r\\n", each a piece of its own.',
        "This client takes every `recv` for one whole reply. If one reply arrives in two pieces, every later "
        "answer is taken for the answer to the next question. So cut a reply of two lines between its lines, early "
        "enough that Kenji's question gets Li's answer or an earlier one.",
    ),
    passed="you kept every rule, and the client reports what nobody said.",
)
def check_pieces(my_pieces: list[bytes]) -> Problem | None:
    """A server that keeps every rule, and deceives."""
    pieces = list(my_pieces)
    if not all(isinstance(piece, bytes) and piece for piece in pieces):
        return Problem(gave=f"{pieces!r}", wire="`recv` returns bytes, and never an empty piece while the line stands.",
                       look='Write a list such as [b"220 hi\\r\\n", …].')
    ends = replies_in(b"".join(pieces))
    if isinstance(ends, str):
        return Problem(gave=f"{pieces!r}", wire=ends, look="Put the pieces together first. Are these six sound "
                       "replies, with the codes 220, 250, 250, 550, 250, 221?")
    if (early := prophecy(pieces, ends)) is not None:
        return Problem(gave=f"{pieces!r}", wire=f"the reply to {QUESTIONS[early]} begins before the client has asked: "
                       "no server knows the next question.",
                       look=f"Reply {early + 1} may begin in piece {early + 1} or later.")
    said = [piece.startswith(b"2") for piece in pieces[: len(QUESTIONS)]]
    if len(said) < len(QUESTIONS):
        return Problem(gave=f"{pieces!r}", wire=f"{len(said)} pieces for six questions.", look="Cut once more.")
    kenji, li = said[3], said[4]
    if (kenji, li) == (False, True):
        return Problem(gave=f"{pieces!r}", wire="the client reports that Li is there and Kenji is not: the truth.",
                       look="Every piece is taken for the answer to one question. Which reply could be two pieces?")
    return None


def replies_in(octets: bytes) -> list[int] | str:
    """Where the six replies end, or what is wrong with them."""
    ends, at = [], 0
    for code in CODES:
        match = REPLY.match(octets, at)
        if not match:
            return f"where the {code} should be stands {octets[at : at + 30]!r}, which is no complete reply."
        codes = {line[:3] for line in match[0].split(CR_LF)[:-1]}
        if codes != {b"%d" % code}:
            return f"where the {code} should be stands {match[0]!r}."
        at = match.end()
        ends.append(at)
    return ends if at == len(octets) else f"after the sixth reply comes {octets[at : at + 30]!r}."


def prophecy(pieces: Sequence[bytes], ends: Sequence[int]) -> int | None:
    """The first reply that begins in a piece which arrived before its command was sent."""
    piece_of = [number for number, piece in enumerate(pieces) for _ in piece]
    return next((reply for reply, start in enumerate([0, *ends[:-1]]) if piece_of[start] < reply), None)


# --- which replies are complete? -----------------------------------------------------------------------------------

COMPLETE: dict[int, tuple[list[int], str]] = {
    1: ([220], "the greeting is whole; of the next line no end has come."),
    2: ([], "a line ended, with a hyphen after its code: more follows. The CR at the end is half an end."),
    3: ([], "the LF ends a line that has a hyphen; `250 ` has no end yet."),
    4: ([250, 354], "`250 250 is the code` is the last line of the first reply, and a bare 354 is a reply too."),
    5: ([552], "its code came in two pieces, 55 and 2."),
}


@check(
    hints=(
        "Write all octets in one row. Where are the CR LF, and which of the lines they end has no hyphen?",
        "Two of the five lists are empty, and one has two codes.",
        "A reply is complete when the CR LF of a line without a hyphen after its code has arrived. A line with a "
        "hyphen promises another line, and a code without a line end promises the rest of its line. Put all octets "
        "received so far in one row, and look for those line ends.",
    ),
    passed="you read as a stream reader does.",
)
def check_complete(my_complete: Mapping[int, Any]) -> Problem | None:
    """Codes that are complete after each recv."""
    for number, (codes, wire) in COMPLETE.items():
        given = my_complete.get(number, "nothing")
        given = [given] if isinstance(given, int | str) else given
        if not isinstance(given, list | tuple) or [str(code) for code in given] != [str(code) for code in codes]:
            return Problem(gave=f"after recv {number}: {given}", wire=wire,
                           look="A reply is complete when the CR LF of a line without a hyphen has arrived.")
    return None

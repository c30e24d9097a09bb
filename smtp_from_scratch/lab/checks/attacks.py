"""The checks of `attacks`: holiday answers, a line of a log, holes, a letter that unpacks, sanitizers that do not."""
from __future__ import annotations

import email
import gzip
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Mapping
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote

from smtp_from_scratch.envelope import envelope_of
from smtp_from_scratch.lab.check import NotYet, Problem, as_word, check

# --- your turn: holiday answers ---------------------------------------------------------------------------------------

YUI, ANA = "yui@tokyo.example", "ana@rio.example"
LOOPS = "Two programs write to each other until a disk is full."
# What comes in: the reverse-path, the header, whether it may be answered, and what else would happen.
LETTERS: tuple[tuple[str, dict[str, str], bool, str], ...] = (
    (YUI, {"From": YUI, "Subject": "Choir"}, True, "Yui waits for an answer, and does not learn that Kenji is away."),
    ("", {"From": "mailer-daemon@rio.example"}, False, "A report of a failure is answered, with a letter to nobody."),
    ("", {"From": YUI, "Auto-Submitted": "auto-replied"}, False, LOOPS),
    (YUI, {"From": YUI, "Auto-Submitted": "auto-replied"}, False, LOOPS),
    (YUI, {"From": YUI, "Auto-Submitted": "auto-generated"}, False, "A machine gets an answer that nobody reads."),
    (ANA, {"From": ANA, "auto-submitted": "Auto-Replied; owner-email=\"x@rio.example\""}, False, LOOPS),
    (ANA, {"From": ANA, "Auto-Submitted": "no"}, True, "A person wrote this, as the field says, and hears nothing."),
    (ANA, {"From": ANA, "Auto-Submitted": "No"}, True, "A person wrote this, as the field says, and hears nothing."),
    (ANA, {"From": ANA, "Auto-Submitted": "no; by=hand"}, True, "A person wrote this, and added a parameter."),
    (YUI, {"From": YUI, "Auto-Submitted": "notification"}, False, "A machine gets an answer that nobody reads."),
    ("choir-bounces@lists.example", {"From": ANA, "List-Id": "<choir.lists.example>"}, False,
     "A whole choir learns that Kenji is away, once for each letter."),
    ("choir-bounces@lists.example", {"From": ANA, "LIST-ID": "The choir <choir.lists.example>"}, False,
     "A whole choir learns that Kenji is away, once for each letter."),
    (ANA, {"From": ANA, "Subject": "Auto-Submitted: auto-replied, List-Id"}, True, "A Subject is no other field."),
)


def header_of(fields: Mapping[str, str]) -> EmailMessage:
    """A message with these fields."""
    message = EmailMessage()
    for name, value in fields.items():
        message[name] = value
    return message


@check(
    hints=(
        "Which three things tell you that no person waits for this answer?",
        'header.get("Auto-Submitted", "no").partition(";")[0].strip().lower() == "no"',
        "Do not answer the null sender. Do not answer what a program has sent: Auto-Submitted is there, and says "
        "another word than `no`, in any case of letters, perhaps with parameters behind a semicolon. Do not answer a "
        "list: List-Id is there.",
    ),
    passed="People hear that Kenji is away; machines and lists do not.",
)
def check_may_answer(my_may_answer: Callable[[str, Any], Any]) -> Iterator[Problem]:
    """Whether a holiday answer may be sent (RFC 3834 §2)."""
    for sender, fields, truth, wire in LETTERS:
        answer = my_may_answer(sender, header_of(fields))
        if answer is None or answer is ...:
            raise NotYet("return True or False for each letter.")
        if answer is not truth:
            yield Problem(gave=f"{answer!r:.60} for <{sender}> and {fields}", wire=wire,
                          look="RFC 3834 §2: not to `<>`, not to what was Auto-Submitted, not to lists. True or False.")


# --- your turn: a line of a log ---------------------------------------------------------------------------------------

PLAIN = ("kenji", "josé@exemplo.example", "東京", "two words", "a\\b", "100 %")
NASTY = {
    "\n": "A second line of the log, which Eve wrote.", "\r": "The terminal goes back to the start of the line, and "
    "what follows paints over it.", "\x1b[2J": "The terminal obeys: the screen is empty.",
    "\x08": "The cursor goes back, and the name is another one.", "\x00": "Some programs take this for the end.",
    "\x7f": "A control character is left.", "\x85": "A line end of Unicode: `splitlines` obeys it.",
    "\x9b2J": "ESC and [ in one character: some terminals obey it.",
    "\u2028": "A line end of Unicode: `splitlines` obeys it.", "\u202e": "What follows is shown from right to left.",
    "\udc80": "It cannot be encoded: the log raises UnicodeEncodeError.", "\x0b": "`splitlines` obeys it.",
}


@check(
    hints=(
        "Which method of a string tells you whether a character may be shown as it is?",
        "ascii(c)[1:-1] if not c.isprintable() else c",
        "Go through the characters. One that is printable stays as it is, so that names in any script can be read. "
        "Any other one is written as Python would write it: `ascii(c)` without its quotes.",
    ),
    passed="One line, whatever was said, and everything in it can be seen.",
)
def check_log_line(my_log_line: Callable[[str], Any]) -> Iterator[Problem]:
    """A stranger's text in one line that a terminal does not obey."""
    for text in PLAIN:
        line = my_log_line(text)
        if line is None or line is ...:
            raise NotYet("return the text as it may stand in a log.")
        if line != text:
            yield Problem(gave=f"{line!r:.80} for {text!r}", wire="Whoever reads the log cannot read that name.",
                          look="What can be shown stays as it is, in any script.")
    for what, wire in NASTY.items():
        line = my_log_line(f"ana{what}root")
        if not isinstance(line, str):
            yield Problem(gave=f"{line!r:.80}", look="A string was asked for.")
        elif not line.isprintable():
            yield Problem(gave=f"{line!r:.80} for {f'ana{what}root'!r}", wire=wire,
                          look="`str.isprintable` knows all of them: control characters, line ends, directions.")
        elif line.count("ana") != 1 or line.count("root") != 1 or line == "anaroot" or " " in line:
            yield Problem(gave=f"{line!r:.80} for {f'ana{what}root'!r}",
                          wire="The log shows a name that nobody said: the trace of the attack is gone.",
                          look="Replace the character by something that shows it, such as a backslash and its number.")


# --- exercise 1: find the hole ----------------------------------------------------------------------------------------

HOLES = {
    "A": ("relay", "Which addresses have these letters somewhere in them?"),
    "B": ("backscatter", "Who chose the address that this server writes to?"),
    "C": ("harvest", "How long does this take for a name that does not exist?"),
    "D": ("growth", "How many octets does that line make of one?"),
    "E": ("log", "What may be in a name that somebody says?"),
    "F": ("loop", "What if the other end is a program of the same kind?"),
}
ATTACKS = {"relay", "harvest", "header", "backscatter", "loop", "growth", "log"}


@check(
    hints=(
        "For each server: what of it has a stranger chosen, and where does that go?",
        "Each of the seven names occurs once, but for `header`.",
        "Follow what the stranger gives from where it comes in to where it is used. An address leads to `relay` or "
        "to `backscatter`, a name to `harvest` or `log`. What is packed leads to `growth`, and an answer to `loop`.",
    ),
    passed="You read a server as an enemy would.",
)
def check_holes(my_holes: dict[str, str]) -> Iterator[Problem]:
    """Six servers, six holes."""
    for name, (attack, look) in HOLES.items():
        if name not in my_holes:
            raise NotYet(f"an answer for {name} is missing.")
        if as_word(my_holes[name]) not in ATTACKS:
            yield Problem(gave=f"{my_holes[name]!r:.60} for {name}", look=f"One of {', '.join(sorted(ATTACKS))}.")
        elif as_word(my_holes[name]) != attack:
            yield Problem(gave=f"{my_holes[name]!r:.60} for {name}", look=look)


# --- exercise 2: unpack -----------------------------------------------------------------------------------------------

WORDS = b"Monday, 8 pm. Bring a chair.\r\n" * 40


@check(
    hints=(
        "Where do you count: before, while or after the octets are made?",
        "with gzip.open(io.BytesIO(data)) as packed: packed.read(limit + 1)",
        "Ask for one octet more than is allowed, and for no more. If it comes, there is too much: raise ValueError. "
        "The number at the end of the data says how much there is, but whoever packed it wrote that number.",
    ),
    passed="Ten million octets knocked, and a hundred thousand were let in.",
)
def check_unpack(my_unpack: Callable[[bytes, int], Any]) -> Iterator[Problem]:
    """A gzip that is unpacked up to a limit."""
    yield from accepts(my_unpack)
    for limit in (len(WORDS) - 1, 1):
        yield from refuses(my_unpack, gzip.compress(WORDS), limit, "one octet too many")
    bomb = gzip.compress(bytes(10_000_000))
    for data, what in ((bomb, "a bomb of ten million octets"),
                       (bomb[:-4] + bytes([9, 0, 0, 0]), "a bomb that says at its end that it has nine octets"),
                       (gzip.compress(bytes(10_000_000 - len(WORDS)) + WORDS), "ten million octets")):
        tracemalloc.start()
        try:
            yield from refuses(my_unpack, data, 100_000, what)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        if most > 2_000_000:
            yield Problem(gave=f"{most / 1e6:.0f} MB of memory for {what}, when 100,000 octets are allowed",
                          wire="A letter of ten kilobytes takes all memory that there is.",
                          look="Stop in the middle: count while you unpack, not afterwards.")


def accepts(my_unpack: Callable[[bytes, int], Any]) -> Iterator[Problem]:
    """A problem with what is within the limit."""
    for limit in (len(WORDS) + 1, len(WORDS), 10_000_000):
        try:
            found = my_unpack(gzip.compress(WORDS), limit)
        except ValueError as error:
            yield Problem(gave=f"ValueError, {str(error)!r:.60}, for {len(WORDS)} octets and the limit {limit}",
                          look="So many octets as the limit says are allowed.",
                          wire="A letter within the limit is refused.")
            return
        if found is None or found is ...:
            raise NotYet("return what was packed.")
        if found != WORDS:
            yield Problem(gave=f"{found!r:.60} for {len(WORDS)} octets and the limit {limit}",
                          look="So many octets as the limit says are allowed, and all of them are wanted.",
                          wire="A letter within the limit arrives broken.")


def refuses(my_unpack: Callable[[bytes, int], Any], data: bytes, limit: int, what: str) -> Iterator[Problem]:
    """A problem unless ValueError is raised; what lies about itself may be called broken as well."""
    broken = (OSError, EOFError, zlib.error) if "nine" in what else ()
    try:
        found = my_unpack(data, limit)
    except (ValueError, *broken):
        return
    except Exception as error:
        yield Problem(gave=f"{type(error).__name__} for {what}", look="Raise ValueError: who called you catches that.",
                      wire="The session answers 451, and the letter comes again in half an hour.")
        return
    octets = f"{len(found):,} octets" if isinstance(found, bytes) else f"{found!r:.60}"
    yield Problem(gave=f"{octets} for {what}", look="Raise ValueError when there is more than the limit.",
                  wire="Half of it looks like all of it to whoever comes next.")


# --- exercise 3: sanitizers -------------------------------------------------------------------------------------------

VICTIM = "victim@far.example"
SANITIZERS: dict[str, tuple[Callable[[str], str], str]] = {
    "A": (lambda name: name.replace("\r\n", " "), "It looks for two characters. Does a parser need both?"),
    "B": (lambda name: name.replace("\n", " "), "What else ends a line, for some parsers?"),
    "C": (lambda name: unquote(re.sub(r"[\r\n]", " ", name)), "In which order does it clean and decode?"),
    "D": (lambda name: name.replace("\r\nBcc:", ""), "What is left of a text in whose middle something was removed?"),
}


def letter(name: str) -> str:
    """What the form's program makes of a name."""
    return f"From: form@choir.example\r\nTo: ana@rio.example\r\nSubject: A word from {name}\r\n\r\nHello\r\n"


@check(
    hints=(
        "What does each of them still let through, and who takes that for the end of a line?",
        r'"Eve\rBcc: victim@far.example" is one of the four.',
        "A line may end with CR, with LF or with both, if a parser is kind. What is decoded after it was cleaned has "
        "not been cleaned: `%0D` is such a way to write CR. And what is removed once may leave the same behind.",
    ),
    passed="Four sanitizers, four ways in. `EmailMessage` does not clean: it refuses, where the header is written.",
)
def check_sanitizers(my_names: dict[str, Any]) -> Iterator[Problem]:
    """A name that each sanitizer lets through."""
    for key, (clean, look) in SANITIZERS.items():
        if key not in my_names:
            raise NotYet(f"a name for {key} is missing.")
        name = my_names[key]
        if not isinstance(name, str):
            yield Problem(gave=f"{name!r:.60} for {key}", look="A name is a string: what somebody types into a form.")
            return
        try:
            recipients = envelope_of(email.message_from_string(letter(clean(name)))).recipients
        except ValueError as error:
            yield Problem(gave=f"{name!r:.90} for {key}", wire=f"the letter cannot be sent: {error}",
                          look="Leave From, and make one line of the header that is whole.")
            return
        if VICTIM not in recipients:
            yield Problem(gave=f"{name!r:.90} for {key}", look=look,
                          wire=f"after cleaning it is {clean(name)!r:.90}, and the letter goes to {recipients}.")

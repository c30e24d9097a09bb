"""The checks of `submission`: header fields, doors, what is mended, who may be whom, who may go where."""
from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.wire import Reply

# --- your turn: fields ----------------------------------------------------------------------------------------------

HEADERS: dict[str, list[tuple[str, str]] | None] = {
    "From: ana@rio.example\r\n": [("from", "ana@rio.example")],
    "FROM:ana@rio.example\r\nSubject: a: b\r\n": [("from", "ana@rio.example"), ("subject", "a: b")],
    "To: kenji@x.example,\r\n yui@x.example\r\nDate: x\r\n": [("to", "kenji@x.example, yui@x.example"), ("date", "x")],
    "Subject:\r\n\tlate\r\n": [("subject", "late")], "To: a\r\nTo: b\r\n": [("to", "a"), ("to", "b")],
    "Dear Kenji,\r\n": None, "From: a\r\nno field\r\n": None, " begins with nothing\r\n": None,
    "Two words: x\r\n": None,
}


@check(
    hints=(
        "What do you do with a line that begins with a space, when the list is empty? And when it is not?",
        "name, value = fields[-1]; fields[-1] = (name, value + line)",
        "A line that begins with a space or a tab belongs to the field before it, so there must be one. Every "
        "other line is a name, a colon and a value. A line without a colon, or with a space in its name, is no "
        "field.",
    ),
    passed="Fields, continued lines, and nothing that is neither.",
)
def check_fields(my_fields: Callable[[str], Any]) -> Problem | None:
    """A header's fields."""
    if my_fields("From: a\r\n") == []:
        raise NotYet("two places wait: what belongs to the field before, and what begins a new one?")
    for header, expected in HEADERS.items():
        try:
            given = my_fields(header)
        except ValueError:
            given = None
        except IndexError:
            return Problem(gave=f"an IndexError for {header!r}", look="Nothing stands before the first line.")
        if given is not None and not are_fields(given):
            return Problem(gave=f"{given!r} for {header!r}", look="A list of tuples, (name, value), both of them str.")
        if given is not None:
            given = [(name, value.replace("\t", " ").strip()) for name, value in given]
        if given != expected:
            look = "The name ends at the first colon, and has no space in it. Write it in small letters."
            if expected and re.search(r"\r\n[ \t]", header):
                look = "What comes after the line end goes on with the value before it, its space included."
            return Problem(gave=f"{'a ValueError' if given is None else given} for {header!r}",
                           wire="That is no header." if expected is None else f"It has {expected}.",
                           look=look)
    return None


def are_fields(given: Any) -> bool:
    """Whether this is a list of names and values, right or wrong."""
    return isinstance(given, list | tuple) and all(
        isinstance(field, tuple | list) and len(field) == 2 and all(isinstance(text, str) for text in field)
        for field in given)


# --- your turn: a full name -----------------------------------------------------------------------------------------

QUALIFIED = {
    "kenji@mail": False, "kenji@localhost": False, "a.b@mail": False, "@mail": False,
    '"kenji@tokyo.example"@mail': False,
    "kenji@tokyo.example": True, "kenji@x.y.example": True, "postmaster": True, "": True, "a.b": True,
    "kenji@[192.0.2.1]": True, "kenji@[IPv6:2001:db8::1]": True, "kenji@[IPv6:::1]": True,
}


@check(
    hints=(
        "Which part of the address is the domain, and which addresses have none?",
        'domain = address.rpartition("@")[2]',
        "The domain is what follows the last @. Without an @ there is none, and nothing to refuse. A domain in "
        "brackets is an address of the net; any other must have a dot.",
    ),
    passed="Names that mean the same in every house.",
)
def check_unqualified(my_unqualified: Callable[[str, str], Any]) -> Problem | None:
    """A refusal of `kenji@mail`."""
    answers = {address: my_unqualified(address, "5.1.2") for address in QUALIFIED}
    if not any(answers.values()):
        raise NotYet("`kenji@mail` needs a Reply.")
    for address, qualified in QUALIFIED.items():
        given = answers[address]
        if (given is None) != qualified:
            return Problem(gave=f"{given} for {address or 'an empty address'}",
                           wire="It is a whole name, and the letter is refused." if qualified
                           else "The next server delivers to a host of its own that is called so.",
                           look="What follows the last @ needs a dot, or a bracket before it.")
        if given is not None and not isinstance(given, Reply):
            return Problem(gave=f"{given!r} for {address}", look="A refusal is a Reply: Reply(554, \"…\", enhanced).")
        if given is not None and (given.code, given.enhanced) != (554, "5.1.2"):
            return Problem(gave=f"{given} for {address}, with enhanced='5.1.2'", wire="554 5.1.2 was asked for.",
                           look="RFC 6409 §4.2 names the code, and the caller the enhanced one.")
    return None


# --- your turn: long lines ------------------------------------------------------------------------------------------

BLOCK = 262_144


def letter(*lengths: int, end: bytes = b"\r\n") -> bytes:
    """Lines of these lengths."""
    return b"\r\n".join(b"x" * length for length in lengths) + end


LONG: list[tuple[str, bytes, bool]] = [
    ("no letter at all", b"", False), ("lines of 10 and 998 octets", letter(10, 998), False),
    ("lines of 10 and 999 octets", letter(10, 999), True),
    ("a line of 999 octets, then a short one", letter(999, 1), True),
    ("a line of 999 octets without an end", letter(999, end=b""), True),
    ("a line of 998 octets without an end", letter(998, end=b""), False),
    ("a line of 1,000 octets with bare LFs in it", b"x" * 499 + b"\n" + b"y" * 500 + b"\r\n", True),
    ("many lines of 998 octets", letter(*[998] * 600), False),
    ("998 octets and CR, and the LF in the next block", letter(*[998] * 261, BLOCK - 261 * 1000 - 1001, 998), False),
    ("999 octets, half of them in the next block", letter(*[998] * 261, BLOCK - 261 * 1000 - 502, 999), True),
    ("a long line at the end of many", letter(*[998] * 600, 1200), True),
]


class Once(io.BytesIO):
    """A letter that is read in blocks, and never twice."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > 4 * BLOCK:
            raise ValueError("read in blocks: a letter may have more octets than there is memory")
        return super().read(size)


@check(
    hints=(
        "A block ends in the middle of a line. Where is the beginning of that line when the next block comes?",
        '*lines, rest = (rest + block).split(b"\\r\\n")',
        "Put the rest of the block before in front of each block, and split at CR LF. All parts but the last are whole "
        "lines; the last one waits. At the end it is a line, too. A CR that waits for its LF does not count.",
    ),
    passed="Lines, wherever a block ends.",
)
def check_has_long_line(my_has_long_line: Callable[[Any], Any]) -> Problem | None:
    """Whether a line has more than 998 octets."""
    for what, octets, expected in LONG:
        given = my_has_long_line(Once(octets))
        if given is None or given is ...:
            raise NotYet("return True or False.")
        if bool(given) != expected:
            return Problem(gave=f"{given!r} for {what}",
                           wire="Some server on the way cuts the line, and the signature is broken." if expected
                           else "A letter by the book is refused.",
                           look="998 octets, CR LF not counted. A line may begin in one block and end in the next.")
    return None


# --- your turn: the own address -------------------------------------------------------------------------------------

OWN = [
    ("ana@rio.example", "ana@rio.example", True), ("ana@rio.example", "Ana@RIO.example", True),
    ("Ana@rio.example", "ana@rio.example", True), ("ana@rio.example", "", True),
    ("ana@rio.example", "director@bank.example", False), ("ana@rio.example", "ana@rio.example.evil.example", False),
    ("ana@rio.example", "bana@rio.example", False), ("bana@rio.example", "ana@rio.example", False),
    ("", "ana@rio.example", False),
]


@check(
    hints=(
        "Which two senders may Ana use?",
        "sender.lower() == user.lower()",
        "Two senders are hers: her own address and the empty one. Compare whole addresses, in one case of letters. "
        "An address that only begins like hers is somebody else's.",
    ),
    passed="Her own address, and the empty one.",
)
def check_own_address(my_own_address: Callable[[str, str], Any]) -> Problem | None:
    """Only the own address, or the null path."""
    for user, sender, expected in OWN:
        given = my_own_address(user, sender)
        if given is None or given is ...:
            raise NotYet("return True or False.")
        if bool(given) != expected:
            return Problem(gave=f"{given!r} for {user or 'nobody'} as {sender or '<>'}",
                           wire="Reports could not be sent." if not sender else
                           "Her own letter is refused." if expected else f"Kenji reads a letter from {sender}.",
                           look="Compare whole addresses, both in small letters. The empty sender is everybody's.")
        if given not in (True, False):
            return Problem(gave=f"{given!r:.60} for {user} as {sender or '<>'}",
                           wire="`Submission` takes nothing but True for a yes: 550.", look="Return True or False.")
    return None


# --- exercise 1: doors ----------------------------------------------------------------------------------------------

DOORS = {"a": 465, "b": 25, "c": 587, "d": 25, "e": 465, "f": 25}
DOORS_LOOK = {
    "a": "RFC 8314 §3.3: which of the two doors for users does it prefer?", "b": "Can Tokyo's server log in at Rio's?",
    "c": "It begins in the clear, and then asks for TLS.", "d": "Between servers: whose user would the list server be?",
    "e": "A user again. Which door is left?", "f": "Who brings it: a user, or a server?",
}


@check(
    hints=(
        "Is the caller one of the server's own people, or another server?",
        "Servers: 25. Users: 465, or 587 where TLS can only begin with STARTTLS.",
        "Servers talk to servers at 25, without a password. Users have an account, and go to 465, where TLS comes "
        "first, or to 587, where it begins with STARTTLS. RFC 8314 §3.3 prefers 465 for whoever can use it.",
    ),
    passed="Everybody at the right door.",
)
def check_doors(my_doors: Any) -> Problem | None:
    """The port for each."""
    if not isinstance(my_doors, dict):
        return Problem(gave=f"{my_doors!r}", look="A dict, as in the cell: a port for each letter.")
    for name, port in DOORS.items():
        if not isinstance(as_number(my_doors.get(name)), int):
            raise NotYet(f"a port for `{name}` is missing.")
        if as_number(my_doors[name]) != port:
            return Problem(gave=f"{my_doors[name]} for {name}", look=DOORS_LOOK[name])
    return None


# --- exercise 2: mending --------------------------------------------------------------------------------------------

ANA = ("from", "Ana <ana@rio.example>")
MENDED: list[tuple[list[tuple[str, str]], Any]] = [
    ([ANA], ["date", "message-id"]), ([ANA, ("date", "x"), ("message-id", "<1@x>")], []),
    ([("from", "choir@rio.example")], ["date", "message-id", "sender"]),
    ([("from", "choir@rio.example"), ("sender", "ana@rio.example"), ("date", "x")], ["message-id"]),
    ([("from", "ANA@Rio.example"), ("date", "x")], ["message-id"]),
    ([("from", "ana@rio.example, yui@rio.example"), ("date", "x")], ["message-id", "sender"]),
    ([("subject", "x")], 554), ([], 554), ([ANA, ANA], 554), ([ANA, ("date", "x"), ("date", "y")], 554),
    ([ANA, ("received", "a"), ("received", "b")], ["date", "message-id"]), ([("from", "")], 554),
]


@check(
    hints=(
        "How often is each name there? Then: is the user the author, and the only one?",
        "authors = [address.lower() for _, address in email.utils.getaddresses([value])]",
        "First refuse a letter that has a field twice which it may have once, or that names no author. Then add Date "
        "and Message-ID if they are missing. Add Sender if there is none, and the author is not exactly the one user "
        "who has logged in.",
    ),
    passed="What is missing is added, what is wrong is refused, what is there stays.",
)
def check_additions(my_additions: Callable[..., Any]) -> Problem | None:
    """What an MSA adds."""
    for fields, expected in MENDED:
        given = my_additions(list(fields), "ana@rio.example")
        if given is None:
            raise NotYet("return a list of names, or a Reply.")
        if isinstance(given, int):
            return Problem(gave=f"the number {given} for {fields}", look="A refusal is a Reply: Reply(554, \"…\").")
        if not isinstance(given, list | tuple | Reply):
            return Problem(gave=f"{given!r} for {fields}", look="A list of names in their order, or a Reply.")
        given = given.code if isinstance(given, Reply) else list(given)
        if given != expected:
            wish = f"It is refused, {expected}." if expected == 554 else f"An MSA adds {expected or 'nothing'}."
            return Problem(gave=f"{given} for {fields}", wire=wish,
                           look="One author who is the user: no Sender. Received may stand there as often as it likes.")
    return None


# --- exercise 3: may send -------------------------------------------------------------------------------------------

MAY: list[tuple[str, str, bool]] = [
    ("ana@rio.example", "ana@rio.example", True), ("ana@rio.example", "Ana@RIO.example", True),
    ("ana@rio.example", "", True), ("yui@rio.example", "", True), ("ana@rio.example", "ana+choir@rio.example", True),
    ("ana@rio.example", "choir@rio.example", True), ("yui@rio.example", "choir@rio.example", False),
    ("ana@rio.example", "anabel@rio.example", False), ("ana@rio.example", "ana@rio.example.evil.example", False),
    ("ana@rio.example", "ana+choir@evil.example", False), ("ana@rio.example", "yui@rio.example", False),
    ("ana@rio.example", "ana@evil.example", False), ("yui@rio.example", "yui+@rio.example", True),
    ("Yui@Rio.example", "yui@rio.example", True),
]


@check(
    hints=(
        "Take the tag away first. What do you compare then?",
        'local, _, domain = sender.lower().rpartition("@"); local.partition("+")[0]',
        "Compare whole parts, the domain with the domain and the local part with the local part, in any case of "
        "letters. A tag after a plus is taken away before that. The null path is everybody's, and the choir's "
        "address is Ana's alone.",
    ),
    passed="The own address in all its forms, and nobody else's.",
)
def check_may_send(my_may_send: Callable[[str, str], Any]) -> Problem | None:
    """Who may be whom."""
    for user, sender, expected in MAY:
        given = my_may_send(user, sender)
        if given is None:
            raise NotYet("return True or False.")
        if bool(given) != expected:
            return Problem(gave=f"{given!r} for {user} as {sender or '<>'}",
                           wire="A user's own letter is refused." if expected
                           else f"Kenji reads a letter from {sender}.",
                           look="Compare whole parts, domain and local part each, in small letters.")
    return None


# --- exercise 4: recipients -----------------------------------------------------------------------------------------


@check(
    hints=(
        "Two questions, in this order: which door, and then: whose mailbox is it?",
        'domain = address.rpartition("@")[2].lower()',
        "At the door for servers it matters whose mailbox it is: the domain after the last @ must be ours, or the "
        "recipient is a bare postmaster. At the doors for users it matters who asks: a user may write to anybody, "
        "a stranger to nobody. A refusal here is for good, so it is 5yz.",
    ),
    passed="Closed to strangers, open to users, and the old tricks are names like any other.",
)
def check_accepts(my_accepts: Callable[..., Any]) -> Problem | None:
    """No open relay."""
    ours = ["rio.example"]
    cases = [
        ("smtp", "", "ana@rio.example", True), ("smtp", "", "ana@RIO.Example", True), ("smtp", "", "postmaster", True),
        ("smtp", "", "kenji@tokyo.example", False), ("smtp", "", "kenji%tokyo.example@rio.example", True),
        ("smtp", "", '"kenji@tokyo.example"@rio.example', True), ("smtp", "", "ana@rio.example@tokyo.example", False),
        ("smtp", "", "ana@notrio.example", False), ("submission", "ana@rio.example", "kenji@tokyo.example", True),
        ("submissions", "ana@rio.example", "yui@rio.example", True), ("submission", "", "yui@rio.example", False),
        ("submissions", "", "postmaster", False), ("smtp", "", "kenji@postmaster", False),
    ]
    answers = [my_accepts(role, user, address, ours) for role, user, address, _ in cases]
    if all(answer is None for answer in answers):
        raise NotYet("whoever is not to be served needs a Reply.")
    for (role, user, address, expected), answer in zip(cases, answers, strict=True):
        if (answer is None) != expected:
            who = user or "a stranger"
            return Problem(gave=f"{answer} for {who} at {role}, to {address}",
                           wire="That mailbox is ours." if expected else "That would be a courtesy to spammers.",
                           look="The domain comes after the last @. A user may write to anywhere.")
        if answer is not None and not getattr(answer, "permanent", False):
            return Problem(gave=f"{answer}", look="It will not be better tomorrow: 5yz, such as 550 or 530.")
    return None

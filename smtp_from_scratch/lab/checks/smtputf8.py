"""The checks of `smtputf8`: what was announced, codes, the way a letter can go, `with`, and twins."""
from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from smtp_from_scratch.client import SMTPException
from smtp_from_scratch.ehlo import EightBitMime, Extension
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, Plan

# --- your turn: the judge -------------------------------------------------------------------------------------------

JUDGED: list[tuple[str, str, dict[str, str | None], int | None]] = [
    ("RCPT", "TO:<kenji@tokyo.example>", {}, None), ("MAIL", "FROM:<josé@exemplo.example>", {}, 550),
    ("MAIL", "FROM:<josé@exemplo.example> SMTPUTF8", {}, None), ("MAIL", "FROM:<josé@x.example> smtputf8", {}, None),
    ("RCPT", "TO:<用户@例え.example>", {}, 553), ("RCPT", "TO:<用户@例え.example>", {"SMTPUTF8": None}, None),
    ("RCPT", "TO:<用户@例え.example> SMTPUTF8", {}, 553), ("VRFY", "josé", {"SMTPUTF8": None}, 553),
    ("VRFY", "josé SMTPUTF8", {}, None), ("MAIL", "FROM:<josé@x.example> SMTPUTF8 BODY=8BITMIME", {}, None),
    ("MAIL", "FROM:<josé-smtputf8@exemplo.example>", {}, 550),
    ("NOOP", "é", {"SMTPUTF8": None}, 501), ("EHLO", "josé.example", {}, 501),
]


@check(
    hints=(
        "Where does each verb find its announcement: in its own line, or in the MAIL before it?",
        'announced = "SMTPUTF8" in argument.upper().split(), or "SMTPUTF8" in transaction',
        "Only octets beyond ASCII need an announcement. MAIL, VRFY and EXPN carry it in their own line, and RCPT "
        "relies on the MAIL before it. No other verb can announce anything, so there such octets are a syntax "
        "error.",
    ),
    passed="Each verb looks where its announcement stands.",
)
def check_judge(my_judge: Callable[..., Any]) -> Problem | None:
    """What is beyond ASCII was announced."""
    if ... in (my_judge("RCPT", "TO:<用户@例え.example>", {}), my_judge("NOOP", "é", {})):
        raise NotYet("five places wait: two answers, two ways to find the announcement, and the refusal.")
    for verb, argument, transaction, expected in JUDGED:
        given = my_judge(verb, argument, transaction)
        if given != expected:
            look = "MAIL and VRFY carry it as a word of its own, in any case of letters; RCPT relies on MAIL."
            if verb == "RCPT" and transaction:
                look = "The parameter is there, and its value is None: `in` asks whether a dict has a name."
            return Problem(gave=f"{given!r} for {verb} {argument}, after {' '.join(transaction) or 'nothing'}",
                           wire=f"The server should say {expected}." if expected else "The server should obey it.",
                           look=look)
    return None


# --- your turn: was it UTF-8? ---------------------------------------------------------------------------------------

READ: list[tuple[bytes, bool]] = [
    (b"", True), (b"ana", True), ("josé".encode(), True), ("用户 🙂".encode(), True), ("\ue000\uffff".encode(), True),
    (b"jos\xe9", False), (b"\xff", False), (b"\xe9", False), ("josé".encode() + b"\xc3", False),
    (b"\xed\xa0\x80", False), (b"\x80ana", False),
]


@check(
    hints=(
        "What does an octet that is not UTF-8 become when the session reads the line?",
        'any("\\ud800" <= character <= "\\udfff" for character in text)',
        "Octets that are not UTF-8 become surrogates, U+D800 to U+DFFF. No other text has them. "
        "So look at each character, or try to encode the text, which raises at a surrogate.",
    ),
    passed="What was read is told from what could not be.",
)
def check_is_utf8(my_is_utf8: Callable[[str], Any]) -> Problem | None:
    """Whether a text off the wire was UTF-8."""
    for octets, expected in READ:
        text = octets.decode("utf-8", "surrogateescape")
        given = my_is_utf8(text)
        if given is None or given is ...:
            raise NotYet("return True or False.")
        if bool(given) != expected:
            return Problem(gave=f"{given!r} for {text!a}, read from {octets!r}",
                           wire="An address that nobody can have read is accepted." if not expected
                           else "A name in UTF-8 is refused, though it was announced.",
                           look="U+D800 to U+DFFF, both included, and nothing else.")
    return None


# --- your turn: the plan --------------------------------------------------------------------------------------------


class Utf8(Extension):
    """SMTPUTF8, as the learner plans it; `before` is what another extension has said already."""

    keyword = "SMTPUTF8"

    def __init__(self, planner: Callable[[Plan], Any], before: dict[str, str | None]) -> None:
        self.planner, self.before = planner, before

    def plan(self, plan: Plan) -> None:
        plan.mail.parameters |= self.before
        self.planner(plan)


PLANNED: list[tuple[str, set[str], bool, dict[str, str | None], dict[str, str | None] | None]] = [
    ("josé@exemplo.example", {"8BITMIME"}, True, {}, {"SMTPUTF8": None, "BODY": "8BITMIME"}),
    ("josé@exemplo.example", set(), True, {}, {"SMTPUTF8": None, "BODY": "8BITMIME"}),
    ("ana@rio.example", {"SMTPUTF8"}, True, {}, {"SMTPUTF8": None, "BODY": "8BITMIME"}),
    ("ana@rio.example", set(), True, {}, {}),
    ("josé@exemplo.example", set(), False, {}, None),
    ("josé@exemplo.example", set(), True, {"BODY": "BINARYMIME"}, {"BODY": "BINARYMIME", "SMTPUTF8": None}),
]


@check(
    hints=(
        "Which need is on the list, and what else must the server offer?",
        'plan.mail.parameters["SMTPUTF8"] = None',
        "Look for the need, and for 8BITMIME at both ends. If both are there, MAIL gets SMTPUTF8 without a value, and "
        "a BODY where it has none. Then cross off both needs, since the plan refuses to send while one is left.",
    ),
    passed="What needs it says so, and nothing else does.",
)
def check_plan_utf8(my_plan_utf8: Callable[[Plan], Any]) -> Problem | None:
    """What MAIL says."""
    for number, (sender, needs, eight, before, expected) in enumerate(PLANNED):
        client = ClientSession("rio.example", (Utf8(my_plan_utf8, before), *([EightBitMime()] if eight else [])))
        client.learn(dict.fromkeys(("SMTPUTF8", "8BITMIME") if eight else ("SMTPUTF8",), ""))
        message = OutgoingMessage(Envelope(sender, ["kenji@tokyo.example"]), [], needs=frozenset(needs))
        said: dict[str, str | None] | None
        try:
            said = Plan(client, message).mail.parameters
        except SMTPException:
            said = None
        if number == 0 and said is None:
            raise NotYet("the need is still on the list. What does MAIL say, and which needs are met?")
        if said != expected:
            shown = "a message that stays here" if said is None else f"MAIL with {said or 'nothing more'}"
            where = f"from {sender}, which needs {' and '.join(sorted(needs)) or 'nothing'}"
            where += f", where SMTPUTF8 {'and 8BITMIME are' if eight else 'alone is'} offered"
            where += f" and MAIL says {before} already" if before else ""
            return Problem(gave=f"{shown}, {where}",
                           wire="It stays here." if expected is None else f"MAIL says {expected or 'nothing more'}.",
                           look="`setdefault` keeps a BODY that is there. Without 8BITMIME, change nothing.")
    return None


# --- exercise 1: codes ----------------------------------------------------------------------------------------------

CODES = {"a": 550, "b": 250, "c": 250, "d": 250, "e": 250, "f": 553, "g": 250, "h": 501}
CODES_LOOK = {
    "a": "BODY= is about the body. And which code is MAIL's?", "b": "Announcing more than is needed does no harm.",
    "c": "It was announced one line earlier.", "d": "RSET is RSET.", "e": "A letter of the old kind.",
    "f": "What did the MAIL of *this* transaction announce?", "g": "Look at the octets: is any beyond ASCII?",
    "h": "For which verbs can it be announced at all?",
}


@check(
    hints=(
        "Which of the eight lines have octets beyond ASCII, and what did their MAIL say?",
        "Not announced: 550 for MAIL, 553 for RCPT. No way to announce it: 501. All others: 250.",
        "First look whether a line has octets beyond ASCII at all; if not, it is an old line and gets its old "
        "answer. If it has, find its announcement: in the line itself, or in the MAIL of the same transaction. An "
        "A-label such as xn--r8jz45g is ASCII.",
    ),
    passed="All eight.",
)
def check_utf8_codes(my_codes: Any) -> Problem | None:
    """The code of each reply."""
    if not isinstance(my_codes, dict):
        return Problem(gave=f"{my_codes!r}", look="A dict, as in the cell: a code for each letter.")
    for name, code in CODES.items():
        if not isinstance(as_number(my_codes.get(name)), int):
            raise NotYet(f"the code for `{name}` is missing.")
        if as_number(my_codes[name]) != code:
            return Problem(gave=f"{my_codes[name]} for {name}", look=CODES_LOOK[name])
    return None


# --- exercise 2: the way --------------------------------------------------------------------------------------------


def truth(addresses: Iterable[str], header: str, body: str, offered: set[str]) -> set[str] | None:
    """What MAIL must say, or None."""
    utf8 = not all(map(str.isascii, [*addresses, header]))
    eight = utf8 or not body.isascii()
    if (utf8 and "SMTPUTF8" not in offered) or (eight and "8BITMIME" not in offered):
        return None
    return {word for word, needed in (("SMTPUTF8", utf8), ("BODY=8BITMIME", eight)) if needed}


@check(
    hints=(
        "What is beyond ASCII: an address or the header, or only the body? What does each need?",
        "utf8 = not all(text.isascii() for text in [*addresses, header])",
        "Look at addresses and header first: anything beyond ASCII there needs SMTPUTF8, and 8BITMIME with it. "
        "Then look at the body, which alone needs only 8BITMIME. If something that is needed was not offered, the "
        "answer is None.",
    ),
    passed="Every letter says what it needs, and no more.",
)
def check_way(my_way: Callable[..., Any]) -> Problem | None:
    """The parameters of MAIL."""
    texts = (["ana@rio.example"], ["josé@exemplo.example"]), ("Subject: Hi", "Subject: Olá"), ("hello", "olá")
    offers: tuple[set[str], ...] = (set(), {"8BITMIME"}, {"8BITMIME", "SMTPUTF8"}, {"SMTPUTF8"})
    answers = [(case, my_way(*case)) for case in product(*texts, offers)]
    if all(answer is None for _, answer in answers):
        raise NotYet("a letter in ASCII can always be sent: return an empty set for it.")
    for (addresses, header, body, offered), answer in answers:
        expected = truth(addresses, header, body, offered)
        if answer is not None and not isinstance(answer, set):
            return Problem(gave=f"{answer!r}", look="Return a set, such as `set()` or {'BODY=8BITMIME'}, or None.")
        if answer != expected:
            shown = "nothing" if not offered else " and ".join(sorted(offered))
            return Problem(gave=f"{answer!r} for {addresses[0]}, {header!r}, {body!r}, where {shown} is offered",
                           wire="It stays here." if expected is None else f"MAIL says {expected or 'nothing'}.",
                           look="UTF-8 in an address or header needs both keywords; in the body alone, one.")
    return None


# --- exercise 3: with -----------------------------------------------------------------------------------------------


@check(
    hints=(
        "What comes first: the kind of mail, or how it was protected?",
        'name = "UTF8SMTP" if utf8 else "ESMTP"; then S, then A',
        "The word names the protocol, and then what protected it. HELO makes it SMTP in any case; after EHLO it is "
        "ESMTP or UTF8SMTP. An S for TLS and an A for a user who has logged in follow, in this order.",
    ),
    passed="SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, and the same with UTF8SMTP.",
)
def check_with(my_with: Callable[..., Any]) -> Problem | None:
    """The word after `with`."""
    for extended, utf8, tls, user in product((False, True), repeat=4):
        expected = (("UTF8SMTP" if utf8 else "ESMTP") + "S" * tls + "A" * user) if extended else "SMTP"
        given = my_with(extended, utf8, tls, user)
        if given is None:
            raise NotYet("return the word.")
        if given != expected:
            return Problem(gave=f"{given!r} for extended={extended}, utf8={utf8}, tls={tls}, user={user}",
                           wire=f"Received says {expected}.", look="Two names to begin with, two letters to follow.")
    return None


# --- exercise 4: twins ----------------------------------------------------------------------------------------------


@check(
    hints=(
        "How do you write both names so that only what looks alike is equal?",
        'unicodedata.normalize("NFC", name.casefold())',
        "The same name can be written with different code points, and in different case. Bring both names to one "
        "form, first without case, then normalized. Then compare them as wholes, and do not remove accents, since "
        "jose and josé are two people.",
    ),
    passed="Twins are found, and nobody is turned away for a likeness that is none.",
)
def check_taken(my_taken: Callable[..., Any]) -> Problem | None:
    """Names that would be confused."""
    apart = unicodedata.normalize("NFD", "josé")
    cases = [("josé", ["josé"], True), (apart, ["josé"], True), ("josé", [apart], True), ("JOSÉ", [apart], True),
             ("jose", ["josé"], False), ("josé", ["jose"], False), ("用户", ["用戶"], False), ("ana", [], False),
             ("Straße", ["strasse"], True), ("ana", ["kenji", "ANA"], True)]
    for wanted, taken, expected in cases:
        given = my_taken(wanted, taken)
        if given is None or given is ...:
            raise NotYet("return True or False.")
        if bool(given) != expected:
            return Problem(gave=f"{given!r} for {wanted!r} ({len(wanted)} code points) beside {taken!r}",
                           wire="They look alike." if expected else "They are two people.",
                           look="`unicodedata.normalize` brings names to one form; do it to all of them.")
    return None

"""The checks of `status`: three numbers put on a reply, taken off again, understood and acted upon."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.status import BY_CODE, USUAL, split_enhanced, usual_code
from smtp_from_scratch.wire import Reply

# --- your turn: the usual code --------------------------------------------------------------------------------------


@check(
    hints=(
        "In which of the two tables do you look first, and what is a key in it?",
        'return USUAL.get((verb, code)) or BY_CODE.get(code) or f"{code // 100}.0.0"',
        "A pair of verb and code comes before the code alone, since 250 means something else after MAIL and after "
        "RCPT. If neither table has an entry, the class is still known: it is the reply's first digit. Subject and "
        "detail are then 0, which says that nothing more is known.",
    ),
    passed="The verb first, then the code, then the class alone.",
    not_yet="write the body of `my_usual_code`, then run the cell again.",
)
def check_usual_code(my_usual_code: Callable[[str, int], Any]) -> Iterator[Problem]:
    """The enhanced code that a reply usually has."""
    cases = [*USUAL, *(("NOOP", code) for code in BY_CODE), ("RCPT", 503), ("MAIL", 452), ("MAIL", 550), ("DATA", 554),
             ("NOOP", 250), ("QUIT", 221), ("", 421), ("AUTH", 235), ("RCPT", 450), ("FROB", 500), ("VRFY", 250)]
    for verb, code in cases:
        found, right = my_usual_code(verb, code), usual_code(verb, code)
        if found != right:
            wire = "A program reads a reason that is not the true one."
            if isinstance(found, str) and found[:1] != right[:1]:
                wire = "The class contradicts the reply's first digit: should the client try again?"
            yield Problem(gave=f"{found!r} for {code} to {verb or 'a line that is not a command'}", wire=wire,
                          look=f"It should be {right!r}: first USUAL with the pair, then BY_CODE, then class.0.0.")


# --- your turn: split -----------------------------------------------------------------------------------------------

SPLITS = [
    Reply(250, "2.1.0 fine"), Reply(550, "5.1.1 nobody of that name\n5.1.1 ask the choir"), Reply(250, "2.1.0"),
    Reply(452, "4.3.1   no room"), Reply(250, "fine"), Reply(250, "5.1.0 wrong class"), Reply(550, "4.1.1 nobody"),
    Reply(250, "2.1 short"), Reply(250, "2.1.0x"), Reply(250, "2.1000.0 long"), Reply(220, "192.0.2.1 at your service"),
    Reply(250, "2.1.0 fine", "2.0.0"), Reply(354, "3.0.0 go on"), Reply(550, "5.7.509 blocked\n5.7.509"),
    Reply(250, "mx.example\n2.1.0 SIZE"), Reply(554, "5.6.0 5.6.0 is not a joke"), Reply(550, "5.1.1 first\nsecond"),
    Reply(550, "5.1.1\n5.1.1 ask the choir"),
]


@check(
    hints=(
        "Three things must be true before you believe the numbers. Which?",
        'code = found[0].rstrip(); lines = [line.removeprefix(code).lstrip(" ") for line in reply.lines]',
        "Match at the beginning of the text, and compare the class with the reply's first digit. If anything is "
        "missing, or the reply has a code already, return it as it is. Else take the code off the front of every line "
        "that has it, once, and the spaces after it.",
    ),
    passed="The code for the program, the text for the person, and nothing believed that contradicts itself.",
    not_yet="write the body of `my_split_enhanced`, then run the cell again.",
)
def check_split_enhanced(my_split_enhanced: Callable[[Reply], Any]) -> Iterator[Problem]:
    """The enhanced code in a field of its own."""
    for reply in SPLITS:
        found, right = my_split_enhanced(reply), split_enhanced(reply)
        if found is None or found is ...:
            yield Problem(gave=f"no reply for {reply!r}", wire="The client has a reply, and nobody gets it.",
                          look="Where there is nothing to split, return the reply as it came.")
        elif found != right:
            wire = "A person reads numbers, and a program reads nothing."
            if right == reply:
                wire = "The client believes a reason that the server did not give."
            yield Problem(gave=f"{found!r} for {reply!r}", wire=wire, look=f"It should be {right!r}.")


# --- exercise 1: meanings -------------------------------------------------------------------------------------------

MEANINGS = {
    "250 to RCPT: this recipient is fine": "2.1.5", "550: there is no such mailbox": "5.1.1",
    "452: the server has no room now": "4.3.1", "552: the message is too large for this server": "5.3.4",
    "552: the mailbox of this recipient is full": "5.2.2", "503: this command is out of order": "5.5.1",
    "550: our policy does not allow that": "5.7.1",
}


@check(
    hints=(
        "Is it the address, the mailbox, or the server? And what does the reply's first digit say?",
        "552 for a full mailbox: class 5, subject 2. The detail is in the table.",
        "The first number is the first digit of the reply. The second says where to look: 1 the address, 2 the "
        "mailbox, 3 the server, 5 the protocol, 7 policy. The third is the example in the table of loop 1.",
    ),
    passed="Seven reasons, in every language.",
)
def check_meanings(my_meanings: Mapping[str, Any]) -> Iterator[Problem]:
    """A code for each sentence."""
    for sentence, right in MEANINGS.items():
        answer = my_meanings.get(sentence)
        if answer is None or answer is ...:
            raise NotYet(f"`{sentence}` has no code yet.")
        said, due = str(answer).strip().split("."), right.split(".")
        if said == due:
            continue
        if len(said) != 3:
            look = "Three numbers with dots between them."
        elif said[0] != due[0]:
            look = f"The class repeats the first digit of {sentence[:3]}."
        elif said[1] != due[1]:
            look = "The subject: what is it about? RFC 3463 §3, and the table in loop 1."
        else:
            look = "Class and subject are right. The detail is among the examples in the table of loop 1."
        yield Problem(gave=f"{answer!r} for “{sentence}”", wire="A program would do something else.", look=look)


# --- exercise 2: bugs -----------------------------------------------------------------------------------------------

BUGS = {"A": (8, "Class 5 in the reply: what does the class of its enhanced code say?"),
        "B": (10, "A code belongs on 2yz, 4yz and 5yz. And this one?"),
        "C": (3, "What does a client do with the first word of each line in the reply to EHLO?")}


@check(
    hints=(
        "Which replies have no code, whatever happens? And which two digits must be equal?",
        "One of the three has a code where there must be none, after the command that begins the message.",
        "A 2yz, 4yz or 5yz has a code, but the greeting, the reply to EHLO or HELO, and a 3yz have none. The first "
        "number of a code is the first digit of its reply. Look for the line that breaks one of these rules.",
    ),
    passed="All three: a class that contradicts, and two places where no code is allowed.",
)
def check_status_bugs(my_bugs: Mapping[str, Any]) -> Iterator[Problem]:
    """The line of each bug."""
    for name, (line, look) in BUGS.items():
        if not isinstance(as_number(my_bugs.get(name)), int):
            raise NotYet(f"the number of a line for `{name}` is missing.")
        if as_number(my_bugs[name]) != line:
            yield Problem(gave=f"line {my_bugs[name]} for {name}", wire="That reply is as it should be.", look=look)


# --- exercise 3: the list's program ---------------------------------------------------------------------------------

SUBSCRIBERS = [
    (Reply(250, "fine", "2.1.5"), "keep"), (Reply(251, "moved"), "keep"), (Reply(450, "later", "4.2.1"), "again"),
    (Reply(451, "later"), "again"), (Reply(452, "full", "4.2.2"), "again"), (Reply(450, "who?", "4.1.1"), "again"),
    (Reply(550, "nobody", "5.1.1"), "remove"), (Reply(553, "what?", "5.1.3"), "remove"),
    (Reply(550, "your address", "5.1.8"), "ask"), (Reply(552, "full", "5.2.2"), "wait"),
    (Reply(552, "large", "5.2.3"), "wait"), (Reply(550, "off", "5.2.1"), "remove"),
    (Reply(550, "policy", "5.7.1"), "ask"),
    (Reply(554, "content", "5.6.0"), "ask"), (Reply(550, "no such mailbox"), "ask"), (Reply(550, "no", "5.0.0"), "ask"),
    (Reply(550, "blocked", "5.7.1"), "ask"), (Reply(550, "moved", "5.1.6"), "remove"),
    (Reply(550, "x", "5.17.1"), "ask"),
    (Reply(550, "x", "5.1.18"), "remove"), (Reply(252, "perhaps", "2.5.2"), "keep"),
]


@check(
    hints=(
        "Which digit comes first: that of the reply, or the subject?",
        'subject = reply.enhanced.split(".")[1] if reply.enhanced else ""',
        "The reply's own class decides first: 2yz keeps, 4yz tries again, whatever follows. For a 5yz look at the two "
        "codes that are exceptions, then at the subject. What is left, or has no enhanced code, goes to a person.",
    ),
    passed="Nobody is struck off for a full mailbox, a policy or a bad day.",
    not_yet="write the body of `my_subscriber`, then run the cell again.",
)
def check_subscriber(my_subscriber: Callable[[Reply], Any]) -> Iterator[Problem]:
    """What the list does about a member."""
    for reply, right in SUBSCRIBERS:
        answer = my_subscriber(reply)
        if answer != right:
            wire = {"keep": "A member who has the message is bothered.",
                    "again": "A bad day of a server becomes final.",
                    "remove": "Every message to the list is refused again.",
                    "wait": "A member whose mailbox is full today is treated as something else.",
                    "ask": "A program decides what it does not understand."}[right]
            yield Problem(gave=f"{answer!r} for `{reply}`", wire=wire,
                          look=f"It should be {right!r}: first the class, then the two exceptions, then the subject, "
                          "which is the whole number between the dots.")

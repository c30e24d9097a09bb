"""The checks of `start_here`: order, responsibility, ports."""
from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from smtp_from_scratch.client import command
from smtp_from_scratch.conversation import Conversation, Disconnected, read_reply, rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import Problem, check
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.wire import Reply

LINES = {
    "A": "DATA",
    "B": "RCPT TO:<kenji@tokyo.example>",
    "C": "QUIT",
    "D": "MAIL FROM:<ana@rio.example>",
    "E": "HELO laptop.rio.example",
}
LETTER = b"Subject: The mangoes are ripe\r\n\r\nCome before the children find out.\r\n.\r\n"


def play(order: str) -> Conversation[list[tuple[str, Reply | None]]]:
    """Say the lines in this order, up to the first that is refused; None: nobody was there any more."""
    heard: list[tuple[str, Reply | None]] = []
    yield from read_reply()
    for name in order:
        try:
            reply = yield from command(LINES[name])
            if reply.code == 354:
                yield LETTER
                reply = yield from read_reply()
        except Disconnected:
            heard.append((name, None))
            return heard
        heard.append((name, reply))
        if not reply.positive:
            return heard
    return heard


@check(
    hints=(
        "You ring a stranger's bell: what do you say first, and what last? What must be known before the letter?",
        "First E, last C. Between them: who sends it, who receives it, the letter.",
        "A dialogue begins with a name and ends with a goodbye, so E is first and C is last. The server must know "
        "who sends a letter before it hears who receives it. The letter itself comes when both are known.",
    ),
    passed="the server said yes five times, and Kenji has the letter.",
)
def check_commands(my_order: str) -> Problem | None:
    """Exercise 1: five commands, played at our server in memory."""
    given = "".join(letter for letter in str(my_order).upper() if letter.isalnum())
    if sorted(given) != sorted(LINES):
        return Problem(gave=given, wire="nothing: each of the five lines must be said once.",
                       look="Write the letters A to E into one string, in the order in which they are said.")
    kept: list[Envelope] = []

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        kept.append(envelope)

    heard = rehearse(play(given), serve(Session("mx.tokyo.example", deliver))).client
    name, reply = heard[-1]
    line = f"you come to {name}, `{LINES[name]}`, and "
    if reply is None:
        return Problem(gave=given, wire=line + "nobody answers: the server has said goodbye before.",
                       look="Which line ends the conversation?")
    if not reply.positive:
        return Problem(gave=given, wire=line + f"the server says: {reply}",
                       look="What did it want to hear before this line?")
    if not kept:
        return Problem(gave=given, wire="the dialogue ended politely, and the letter is still in Rio.",
                       look="Which line carries the letter?")
    return None


def first_wrong(given: Mapping[str, Any], right: Mapping[str, tuple[tuple[Any, ...], str, str]],
                possible: tuple[Any, ...]) -> Problem | None:
    """The first answer that is not among the right ones, and why."""
    for name, (answers, wire, look) in right.items():
        answer = given[name] if name in given else "nothing"
        if isinstance(answer, str):
            answer = answer.strip().lower()
            answer = int(answer) if answer.isdigit() else answer
        if answer in answers:
            continue
        said = f"{name}: {answer!r}"
        if answer not in possible:
            return Problem(gave=said, look=f"One of {', '.join(map(str, possible))} is wanted.")
        return Problem(gave=said, wire=wire, look=look)
    return None


HOLDERS: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "a": (("laptop",), "that 250 puts Kenji on the list of recipients. Not one octet of the letter has left.",
          "Which reply comes after the letter itself?"),
    "b": (("rio",), "Rio said 250 after the dot. From then on the laptop may forget the letter, and it does.",
          "Who was the last to say 250 to the letter?"),
    "c": (("rio",), "4yz is 'not now': Tokyo took nothing. Rio's own 250 still stands, so Rio tries again.",
          "Who was the last to say 250 to the letter?"),
    "d": (("tokyo",), "Tokyo said 250 after the dot, and Rio takes the letter off its queue.",
          "Who was the last to say 250 to the letter?"),
}


@check(
    hints=(
        "Which reply moves the letter: the one to RCPT, or the one after the dot?",
        "Only b and d are a 250 after the dot.",
        "The letter belongs to the last machine that said 250 to the letter itself. A 250 to RCPT only says that "
        "this recipient would be accepted. A 451 means that the machine which asked still has the letter and tries "
        "again.",
    ),
    passed="the letter is with the last machine that said 250 to it, and before that with the one that wrote it.",
)
def check_holders(my_holders: Mapping[str, str]) -> Problem | None:
    """Exercise 2: whose promise the letter is."""
    return first_wrong(my_holders, HOLDERS, ("laptop", "rio", "tokyo"))


PORTS: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "a": ((465,), "TLS comes first here; on 587 the talk begins in the clear, and 25 is for other servers.",
          "Which of the two submission ports is encrypted from the first octet?"),
    "b": ((587,), "plain text comes first here; on 465 a TLS handshake is due, and 25 is for other servers.",
          "Which of the two submission ports begins in the clear?"),
    "c": ((25,), "the MX listens on 25. On 465 and 587 it would ask Rio for a password, and Rio has none there.",
          "At which door may a stranger knock, a mail server without an account?"),
    "d": ((993,), "SMTP pushes and never pulls. What POP3 has fetched is mostly gone from the server.",
          "Which of the two reading protocols keeps the letters on the server?"),
    "e": ((587, 465), "most data centers let no call to 25 out; and a shop is no mail server. It has an account, "
          "and a new letter.", "Is the shop somebody's mail server, or somebody with a new letter?"),
}


@check(
    hints=(
        "Is it a new letter, a letter between two servers, or a letter to be read?",
        "New letters: 465 or 587. Between servers: 25. To be read: 993 or 995.",
        "Ask who calls and what for. A user with a password submits a new letter at 465 or 587, and a mail server "
        "hands a letter to another server at 25. Reading is not SMTP: 993 leaves letters on the server, 995 "
        "fetches them.",
    ),
    passed="new letters, letters between servers, letters to be read: each at its door.",
)
def check_ports(my_ports: Mapping[str, int]) -> Problem | None:
    """Exercise 3: a port for each task."""
    return first_wrong(my_ports, PORTS, (25, 465, 587, 993, 995))

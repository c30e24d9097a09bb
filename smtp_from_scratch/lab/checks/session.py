"""The checks of `session`: what a server says, to which line, in which state."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from smtp_from_scratch.conversation import Disconnected, read_reply, rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.session import STAY, VERBS, Session, Verb, serve
from smtp_from_scratch.wire import Reply

HOST = "mail.tokyo.example"


def caller(lines: Sequence[str], replies: list[Any]) -> Any:
    """A client that says these lines and notes each reply, the greeting left out."""
    yield from read_reply()
    with suppress(Disconnected):
        for line in lines:
            yield line.encode() + b"\r\n"
            replies.append((yield from read_reply()))


def codes_of(lines: Sequence[str], **settings: Any) -> list[int]:
    """The code that a server of ours gives to each line."""
    replies: list[Any] = []
    rehearse(caller(lines, replies), serve(Session(HOST, **settings)))
    return [reply.code for reply in replies]


def shown(reply: Any) -> str:
    """A reply as a problem quotes it, or what stands in its place."""
    return str(reply) if hasattr(reply, "code") else repr(reply)


def is_blank(thing: Any) -> bool:
    """Whether this is a blank that nobody has filled."""
    return thing is None or thing is ...


# --- fill in: rset -------------------------------------------------------------------------------------------------


def a_transaction() -> Session:
    """A session in which Kenji has been named as a recipient."""
    session = Session(HOST, state="rcpt")
    session.envelope = Envelope("ana@rio.example", ["kenji@tokyo.example"], hello="rio.example")
    return session


@check(
    hints=(
        "Which of the functions above gives a session a new envelope?",
        "code = 501 in the first blank, forget(session) in the second.",
        "RSET takes no argument, so with one it is a command that is known and written wrongly. Without one it "
        "ends the transaction and leaves the greeting as it was. The function that ends a transaction after a "
        "letter does exactly that.",
    ),
    passed="The transaction is gone, the caller's name is not, and an argument is 501.",
    not_yet="fill in both blanks, then run the cell again.",
)
def check_rset(my_rset: Callable[[Any, str], Any]) -> Problem | None:
    """RSET forgets the transaction and not the client."""
    session = a_transaction()
    try:
        strict = my_rset(session, "now")
    except TypeError as error:
        if "llipsis" in str(error):
            raise NotYet("which code says: I know this verb, and it is written wrongly?") from None
        raise
    if getattr(strict, "code", 0) != 501:
        return Problem(gave=f"{shown(strict)} to `RSET now`",
                       wire="The client believes that you understood what `now` means.",
                       look="The table in loop 3: the verb is known, what follows it is wrong.")
    session = a_transaction()
    reply = my_rset(session, "")
    if session.envelope.recipients:
        if getattr(reply, "code", 0) == 250:
            return Problem(gave="250, with Kenji still on the list of recipients",
                           wire="The next letter of this caller goes to Kenji too, whoever it is meant for.",
                           look="The second blank: something must end the transaction before the 250 is true.")
        return Problem(gave=f"{shown(reply)} and kept the transaction", look="The second blank.")
    if session.envelope.hello != "rio.example" or session.state != "ready":
        return Problem(gave=f"a session in state {session.state} whose caller is called {session.envelope.hello!r}",
                       wire="The client will say MAIL next, and it has said HELO already.",
                       look="RFC 5321 §4.1.1.5: RSET does not undo HELO. `forget` knows that.")
    if getattr(reply, "code", 0) != 250:
        return Problem(gave=f"{shown(reply)} to RSET", wire="RSET cannot fail: the client waits for 250.",
                       look="The last line of the function.")
    return None


# --- your turn: mail -----------------------------------------------------------------------------------------------


@check(
    hints=(
        "`path_argument` returns one of two things. How do you tell a Reply from a Path?",
        'path = path_argument(argument, "FROM:"); if isinstance(path, Reply): return path',
        "`path_argument` returns a Path when the argument is well formed, and the Reply to give when it is not. "
        "Pass such a Reply on. Of a good path ask one more thing, that a bounce could come back: it is the null "
        "path, or it has a domain; only then note its mailbox and say 250.",
    ),
    passed="You note good reverse-paths, the empty one included, and say what is wrong with the others.",
    not_yet="write the body of `my_mail`, then run the cell again.",
)
def check_mail(my_mail: Callable[[Any, str], Any]) -> Iterator[Problem]:
    """MAIL notes the reverse-path."""
    for argument, code, sender in [
        ("FROM:<ana@rio.example>", 250, "ana@rio.example"),
        ("FROM:<>", 250, ""),
        ("from:<ana@rio.example>", 250, "ana@rio.example"),
        ("FROM:ana@rio.example", 501, "before"),
        ("TO:<ana@rio.example>", 501, "before"),
        ("", 501, "before"),
        ("FROM:<postmaster>", 501, "before"),
        ("FROM:<@relay.example:ana@rio.example>", 250, "ana@rio.example"),
    ]:
        session = Session(HOST, state="ready", envelope=Envelope(sender="before"))
        reply = my_mail(session, argument)
        if hasattr(reply, "send"):
            yield Problem(gave="a generator: there is a `yield` in your handler", look="`return` the reply; "
                          "one place says it.")
        elif is_blank(reply):
            yield Problem(gave=f"no reply to `MAIL {argument}`",
                          wire="The client waits five minutes, then it hangs up.",
                          look="Every path through a handler ends with `return` and a Reply.")
        elif not hasattr(reply, "code"):
            yield Problem(gave=f"{reply!r} to `MAIL {argument}`", look="A handler returns a Reply: Reply(250, \"…\").")
        elif reply.code != code:
            yield Problem(gave=f"{reply.code} to `MAIL {argument}`", wire=consequence(argument, reply.code),
                          look=advice(argument))
        elif session.envelope.sender != sender:
            yield Problem(gave=f"{code} to `MAIL {argument}`, with {session.envelope.sender!r} noted as the sender",
                          wire="A bounce would go there." if code == 250 else "A refused MAIL leaves no trace.",
                          look="`session.envelope.sender` is the path's `mailbox`, and only when the reply is 250.")


def consequence(argument: str, code: int) -> str:
    """What a wrong code to this MAIL does."""
    if argument == "FROM:<>":
        return "Bounces come from the null path. Refuse it, and nobody ever learns that a letter was lost."
    if code == 250:
        return "You accepted a sender to whom no bounce can ever be sent."
    return "A good letter is sent back to Ana."


def advice(argument: str) -> str:
    """Where to look for the right code."""
    if argument in ("FROM:<>", "FROM:<postmaster>"):
        return "`NULL_PATH` is the null path; of any other path ask `path.domain` (RFC 5321 §4.1.1.2)."
    return "What `path_argument(argument, \"FROM:\")` returns: a Path, or the Reply that is due."


# --- exercise 1: five bugs -----------------------------------------------------------------------------------------

BUGS = {
    "A": (5, "ready", "Kenji now has a letter from nobody.", "which state does RCPT need?"),
    "B": (7, "mail", "Eve has replaced Ana as the sender of a letter that Ana began.", "where may MAIL stand?"),
    "C": (9, "mail", "The letter has no recipient, and the server will say 250 to it.",
          "did the RCPT that was refused move anything?"),
    "D": (9, "rcpt", "A client that starts afresh with HELO is told that it may not.",
          "HELO has a move in every state; what does it do to a transaction (RFC 5321 §4.1.4)?"),
    "E": (13, "ready", "Sora is noted for a letter that has already left.",
          "what happens to a transaction after the 250 to the letter?"),
}


@check(
    hints=(
        "Follow the state diagram with a finger: where does the finger stand when the line is said?",
        "Two of the five are at state mail, two at ready, one at rcpt.",
        "Keep a finger on the state diagram: start, ready, mail, rcpt. Each positive reply may move the finger, a "
        "refusal never does. The wrong reply is the first one that the state under your finger does not allow.",
    ),
    passed="Five bugs found, each in its state. Two of them lose mail without a trace: C and E.",
)
def check_session_bugs(my_bugs: Mapping[str, tuple[int, str]]) -> Iterator[Problem]:
    """Line and state of five bugs."""
    for name, (line, state, wire, look) in BUGS.items():
        answer = my_bugs.get(name)
        if is_blank(answer):
            raise NotYet(f"transcript {name} has no answer yet.")
        if not isinstance(answer, tuple) or len(answer) != 2:
            yield Problem(gave=f"{answer!r} for {name}", look="An answer is a pair: (3, \"start\").")
        elif as_number(answer[0]) != line:
            yield Problem(gave=f"line {answer[0]} for {name}",
                          wire="Up to that line, or after it, a good server would say the same.",
                          look=f"The wrong reply is the one that breaks an order: {look}")
        elif answer[1] != state:
            yield Problem(gave=f"state {answer[1]!r} for line {line} of {name}", wire=wire,
                          look=f"The line is right. Which state was the session in by then? Ask yourself: {look}")


# --- exercise 2: postmaster only -----------------------------------------------------------------------------------

OPEN = ["HELO rio.example", "MAIL FROM:<ana@rio.example>"]


@check(
    hints=(
        "Which row decides who receives, and what does its handler have to say about everybody but one?",
        'if path.local.lower() != "postmaster": return Reply(550, …); else return rcpt(session, argument)',
        "Only the row of RCPT needs to change, so make a new table that has another row there. Its handler reads "
        "the path first, refuses every local part but postmaster in any case of letters, and leaves the rest to "
        "the old handler. The moves stay those of the old row, since the order of commands is the same.",
    ),
    passed="The postmaster gets mail, nobody else does, and the table of others is untouched.",
)
def check_postmaster(my_verbs: Mapping[str, Any]) -> Iterator[Problem]:
    """Only the postmaster receives."""
    row = my_verbs.get("RCPT")
    if not hasattr(row, "moves"):
        yield Problem(gave=f"a {type(row).__name__} in the row of RCPT", look="A row is a Verb(handler, moves, usage).")
    for line, code, wire in [
        ("RCPT TO:<kenji@tokyo.example>", 550, "Kenji's letter is accepted in a house where nobody opens letters."),
        ("RCPT TO:<postmaster@tokyo.example>", 250, "The postmaster is refused: nobody can report a problem."),
        ("RCPT TO:<postmaster>", 250, "Without a domain it is this server's own postmaster (RFC 5321 §4.5.1)."),
        ("RCPT TO:<PostMaster@tokyo.example>", 250, "Any mixture of capitals is the postmaster (RFC 5321 §4.5.1)."),
        ("RCPT TO:<postmaster.kenji@tokyo.example>", 550, "That is somebody else, whose name begins alike."),
        ("RCPT TO:postmaster", 501, "A path has angle brackets, with or without mercy."),
        ("RCPT TO:<>", 501, "The null path names nobody."),
    ]:
        got = codes_of([*OPEN, line], verbs=my_verbs)[-1]
        if got != code:
            yield Problem(gave=f"{got} to `{line}`, where {code} is due", wire=wire,
                          look="Your handler for RCPT: `path_argument` first, then its `local`.")
    kept: list[list[str]] = []
    letter = [*OPEN, "RCPT TO:<postmaster>", "RCPT TO:<kenji@tokyo.example>", "DATA", "Help!\r\n.",
              "RCPT TO:<postmaster>"]
    codes = codes_of(letter, verbs=my_verbs, deliver=lambda envelope, body: kept.append(envelope.recipients))
    if codes[4:] != [354, 250, 503]:
        yield Problem(gave=f"{codes[4:]} to DATA, a letter, and RCPT after it, where 354, 250, 503 are due",
                      wire="The order of a session must not depend on who receives.",
                      look="`moves`: take those of the old row, VERBS[\"RCPT\"].moves.")
    if kept != [["postmaster"]]:
        yield Problem(gave=f"a letter to {kept[0] if kept else 'nobody'}", wire="The postmaster waits for it, alone.",
                      look="A 250 to RCPT needs a note in `session.envelope.recipients`; `rcpt` does both.")
    if codes_of([*OPEN, "RCPT TO:<kenji@tokyo.example>"])[-1] != 250:
        yield Problem(gave="a change to everybody's table", look="`VERBS | {…}` makes a new table.")


# --- exercise 3: break a server ------------------------------------------------------------------------------------


def weak_rset(session: Any, argument: str) -> Reply:
    """RSET as the exercise has it: the envelope is new, the state is not. It has no other fault."""
    if argument:
        return Reply(501, "RSET stands alone")
    session.envelope = Envelope()
    return Reply(250, "forgotten")


WEAK = VERBS | {"RSET": Verb(weak_rset, STAY, "RSET forgets the transaction")}


@check(
    hints=(
        "What does a session remember besides its envelope?",
        "Say RSET when a recipient has been named, then the verb that is allowed only there.",
        "The weak RSET makes a new envelope and forgets that the session has a state as well. After a recipient "
        "was named the state is rcpt, and there it stays. So say RSET then, and after it a command which is "
        "allowed only when a recipient is known.",
    ),
    passed="Convicted. After RSET the weak server believes that a transaction is open, and obeys or refuses by that.",
)
def check_conviction(my_dialogue: Sequence[Any]) -> Problem | None:
    """A dialogue that passes at our server and fails at the weak one."""
    for number, step in enumerate(my_dialogue, 1):
        if is_blank(step):
            raise NotYet("the dialogue goes on behind HELO.")
        if not (isinstance(step, tuple) and len(step) == 2 and isinstance(step[0], str) and isinstance(step[1], int)):
            return Problem(gave=f"{step!r} as step {number}", look="A step is a line and a code: (\"RSET\", 250).")
    lines, expected = [line for line, _ in my_dialogue], [code for _, code in my_dialogue]
    ours, weak = codes_of(lines), codes_of(lines, verbs=WEAK)
    for number, (line, code) in enumerate(my_dialogue):
        got = ours[number] if number < len(ours) else "nothing"
        if got != code:
            return Problem(gave=f"{code} as the reply to `{line}`, step {number + 1}",
                           wire=f"Our server says {got}, and so should every good one.",
                           look="A fair trial first acquits the innocent: correct the code, or the line.")
    if weak == expected:
        return Problem(gave="a dialogue that the weak server passes too", wire=f"Both say {' '.join(map(str, weak))}.",
                       look="`weak_rset` renews the envelope. What else is different after a RSET that works?"
                       if "RSET" in " ".join(lines).upper() else "The weak verb does not occur in it.")
    return None


# --- exercise 4: be the server -------------------------------------------------------------------------------------

LINES = [
    ("helo rio.example", 250, "verbs may be written in any mixture of capitals (RFC 5321 §2.4)"),
    ("MAIL FROM:<>", 250, "the null path is a good sender: a bounce has it (RFC 5321 §4.5.5)"),
    ("DATA", 503, "a letter needs a recipient first"),
    ("RCPT TO:<PostMaster>", 250, "postmaster may stand alone, in any capitals (RFC 5321 §4.5.1)"),
    ("RCPT TO:<@relay.example:yui@tokyo.example>", 250, "a source route is accepted and ignored (chapter `envelope`)"),
    ("RCPT TO: yui@tokyo.example", 501, "a path has angle brackets"),
    ("data", 354, "two recipients are noted, the refused one changed nothing"),
    ("QUIT\r\n..\r\n.", 250, "after 354 all is letter up to a dot alone: a line QUIT, and a line with one dot"),
    ("RCPT TO:<yui@tokyo.example>", 503, "the transaction was forgotten with the 250"),
    ("QUIT now", 501, "QUIT stands alone"),
]


@check(
    hints=(
        "Which lines are commands, and which are letter?",
        "QUIT, .. and . together get one reply. The third code is 503.",
        "After 354 every line is part of the letter until a line that holds only a dot, and all of it gets one "
        "reply. A refused command changes nothing, and an accepted letter ends its transaction. Read the rest with "
        "the three questions in this order: is the verb known, is this its time, is its argument well formed?",
    ),
    passed="Ten lines, ten codes. Such a server can be put on port 25.",
)
def check_session_codes(my_codes: Sequence[int]) -> Iterator[Problem]:
    """The codes of a session."""
    if len(my_codes) != len(LINES):
        yield Problem(gave=f"{len(my_codes)} codes", wire=f"The server says {len(LINES)} replies, greeting left out.",
                      look="After 354 the lines are letter, and only the lone dot is answered.")
    for code, (line, right, rule) in zip(my_codes, LINES, strict=False):
        if as_number(code) != right:
            name = "the letter" if right == 250 and "\r\n" in line else f"`{line}`"
            yield Problem(gave=f"{code} for {name}", wire="A good server says something else.",
                          look=f"Think of this: {rule}.")

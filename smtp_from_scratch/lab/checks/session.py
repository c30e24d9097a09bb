"""The checks of `session`: what a server says, to which line, in which state."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from smtp_from_scratch.conversation import Disconnected, read_reply, rehearse
from smtp_from_scratch.envelope import NULL_PATH, Envelope, Path
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, as_word, check
from smtp_from_scratch.rules import Limits
from smtp_from_scratch.session import STAY, VERBS, Session, SessionState, Verb, serve
from smtp_from_scratch.wire import Reply, parse_command

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


# --- your turn: rset and helo --------------------------------------------------------------------------------------


class Resource:
    """Something that a transaction keeps open."""

    closed = False

    def close(self) -> None:
        self.closed = True


def a_transaction() -> SessionState:
    """A session in which Kenji has been named as a recipient."""
    envelope = Envelope("ana@rio.example", ["kenji@tokyo.example"], hello="rio.example")
    return SessionState(HOST, state="rcpt", envelope=envelope, resources={"spool": Resource()})


def no_reply(reply: Any, command: str) -> Problem | None:
    """What is wrong when a handler returns something else than a Reply."""
    if hasattr(reply, "send"):
        return Problem(gave="a generator: there is a `yield` in your handler",
                       look="`return` the reply; one place says it.")
    if is_blank(reply):
        return Problem(gave=f"no reply to `{command}`", wire="The client waits five minutes, then it hangs up.",
                       look="Every path through a handler ends with `return` and a Reply.")
    if not isinstance(reply, Reply):
        return Problem(gave=f"{reply!r} to `{command}`", wire="The stage has no code to say.",
                       look='A handler returns a Reply: Reply(250, "…").')
    return None


@check(
    hints=(
        "Which method of the session gives it a new envelope?",
        'session.reset(), and then return Reply(250, "…")',
        "RSET ends the transaction and leaves the greeting as it was. The method that ends a transaction after a "
        "message does exactly that. Call it, and answer 250.",
    ),
    passed="The transaction is gone, the caller's name is not.",
    not_yet="write the body of `my_rset`, then run the cell again.",
)
def check_rset(my_rset: Callable[[Any, str], Any]) -> Iterator[Problem]:
    """RSET forgets the transaction and not the client."""
    session = a_transaction()
    spool = session.resources["spool"]
    reply = my_rset(session, "")
    if problem := no_reply(reply, "RSET"):
        yield problem
    if reply.code != 250:
        yield Problem(gave=f"{shown(reply)} to RSET", wire="RSET cannot fail: the client waits for 250.",
                      look="The last line of the function.")
    if session.envelope.recipients or session.envelope.sender:
        yield Problem(gave="250, with Ana and Kenji still in the envelope",
                      wire="The next message of this caller goes to Kenji too, whoever it is meant for.",
                      look="Something must end the transaction before the 250 is true.")
    if session.state != "ready" or session.envelope.hello != "rio.example":
        yield Problem(gave=f"a session in state {session.state} whose caller is called {session.envelope.hello!r}",
                      wire="The client will say MAIL next, and it has said HELO already.",
                      look="RFC 5321 §4.1.1.5: RSET does not undo HELO. `session.reset` knows that.")
    if not spool.closed or session.resources:
        yield Problem(gave="250, with a file of the old transaction still open",
                      wire="A caller that says RSET often enough uses up all files that a process may open.",
                      look="`session.reset` does more than make an envelope: read it once more.")
    early = SessionState(HOST)
    my_rset(early, "")
    if early.state != "start":
        yield Problem(gave=f"state {early.state!r} after RSET before HELO",
                      wire="A caller may say MAIL without ever saying who it is.", look="`session.reset` knows that.")


NAMES = ("lima.example", "localhost", "a_b.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "LIMA")
NO_NAMES = ("", "a b", "a(b", "a;b", "<lima.example>", "a\x1b[2J", "[", "m\xfcnchen.example", "lima.example\n")


@check(
    hints=(
        "What does `HOST.match` say to a name with a bracket at its end, and what does `HOST.fullmatch` say?",
        "if not HOST.fullmatch(argument): return Reply(501, …); then session.reset()",
        "Look at the name first, and leave with 501 before anything has changed. A good HELO ends whatever "
        "transaction was open, so reset the session. Then note the name in the new envelope, and answer with our own.",
    ),
    passed="Good names are noted, transactions end, and a bad name changes nothing.",
    not_yet="write the body of `my_helo`, then run the cell again.",
)
def check_helo(my_helo: Callable[[Any, str], Any]) -> Iterator[Problem]:
    """HELO notes who is calling."""
    for name in (*NAMES, *NO_NAMES):
        session = a_transaction()
        session.hostname = "mx.kyoto.example" if name == "LIMA" else HOST
        reply, command = my_helo(session, name), f"HELO {name}"
        if problem := no_reply(reply, command):
            yield problem
        code = 250 if name in NAMES else 501
        if reply.code != code:
            yield Problem(gave=f"{reply.code} to `{ascii(command)[1:-1]}`",
                          wire="A good caller is sent away." if code == 250 else
                          "This text will stand in Received of every message: it could close a comment there.",
                          look="`HOST.fullmatch(argument)` is None for what is no name.")
        elif code == 501 and session.envelope != a_transaction().envelope:
            yield Problem(gave="501, and the transaction is changed", wire="A refused command moves nothing.",
                          look="Look at the name before you call `session.reset`.")
        elif code == 250 and session.envelope.hello != name:
            yield Problem(gave=f"250, with {session.envelope.hello!r} noted for {name!r}",
                          wire="Received will name somebody else.",
                          look="`reset` keeps the old name in the new envelope: note the new one after it.")
        elif code == 250 and (session.envelope.recipients or session.state != "ready"):
            yield Problem(gave="250 to HELO, with a transaction still open",
                          wire="The next message goes to Kenji too.",
                          look="RFC 5321 §4.1.4: HELO clears all state, as RSET does.")
        elif code == 250 and reply.text.split(" ")[0] != session.hostname:
            yield Problem(gave=f"{shown(reply)} from the host {session.hostname}",
                          wire="The client wants to know who answers.",
                          look="The reply begins with our own name, `session.hostname` (RFC 5321 §4.1.1.1).")


# --- your turn: sender and recipient -------------------------------------------------------------------------------

ANA, ROUTED = Path("ana", "rio.example"), Path("ana", "rio.example", ("relay.example",))
POSTMASTER = Path("postmaster", "")


@check(
    hints=(
        "Which two paths have no domain, and which of them is good?",
        "if path != NULL_PATH and not path.domain: return Reply(501, …)",
        "A bounce must be able to come back. So a reverse-path is the null path, or it has a domain. If not, say 501 "
        "and note nothing. Otherwise note its mailbox and say 250.",
    ),
    passed="You note good reverse-paths, the empty one included.",
    not_yet="write the body of `my_note_sender`, then run the cell again.",
)
def check_note_sender(my_note_sender: Callable[[Any, Path], Any]) -> Iterator[Problem]:
    """MAIL notes the reverse-path."""
    for path, code, sender in ((ANA, 250, "ana@rio.example"), (NULL_PATH, 250, ""), (ROUTED, 250, "ana@rio.example"),
                               (POSTMASTER, 501, "before"), (Path("ana", "[192.0.2.1]"), 250, "ana@[192.0.2.1]"),
                               (Path("", ""), 250, "")):
        session = Session(HOST, state="ready", envelope=Envelope(sender="before", hello="rio.example"))
        reply, command = my_note_sender(session, path), f"MAIL FROM:{path}"
        if problem := no_reply(reply, command):
            yield problem
        if reply.code != code:
            wire = "You accepted a sender to whom no bounce can ever be sent."
            if path == NULL_PATH:
                wire = "Bounces come from the null path. Refuse it, and nobody ever learns that a message was lost."
            elif code == 250:
                wire = "A good message is sent back to Ana."
            yield Problem(gave=f"{reply.code} to `{command}`", wire=wire,
                          look="`NULL_PATH` is the null path; of any other path ask `path.domain` (RFC 5321 §4.1.1.2).")
        elif session.envelope.sender != sender:
            yield Problem(gave=f"{code} to `{command}`, with {session.envelope.sender!r} noted as the sender",
                          wire="A bounce would go there." if code == 250 else "A refused MAIL leaves no trace.",
                          look="`session.envelope.sender` is the path's `mailbox`, and only when the reply is 250.")
        elif session.envelope.hello != "rio.example":
            yield Problem(gave="a new envelope, without the name that HELO has noted",
                          wire="Received will not say who handed the message in.",
                          look="Fill the envelope that is there: `session.envelope.sender = …`")


@check(
    hints=(
        "Which comes first: who it is, or how many there are?",
        "if len(session.envelope.recipients) >= session.limits.max_recipients: return Reply(452, …)",
        "The null path names nobody, so it is 501. When the envelope is full, 452 asks for another transaction, and "
        "nothing is added. Everybody else is appended to the envelope's list, and that is a 250.",
    ),
    passed="One more on the list, nobody for the null path, and no more than the limit.",
    not_yet="write the body of `my_note_recipient`, then run the cell again.",
)
def check_note_recipient(my_note_recipient: Callable[[Any, Path], Any]) -> Iterator[Problem]:
    """RCPT notes a forward-path."""
    for limit, before, path, code in ((100, 0, ANA, 250), (100, 1, POSTMASTER, 250), (100, 0, NULL_PATH, 501),
                                      (2, 1, ANA, 250), (2, 2, ANA, 452), (2, 2, NULL_PATH, 501),
                                      (100, 1, ROUTED, 250)):
        names = [f"r{number}@tokyo.example" for number in range(before)]
        session = Session(HOST, state="mail", envelope=Envelope("ana@rio.example", list(names)),
                          limits=Limits(max_recipients=limit))
        reply, command = my_note_recipient(session, path), f"RCPT TO:{path}"
        if problem := no_reply(reply, command):
            yield problem
        added = [path.mailbox] if code == 250 else []
        if reply.code != code:
            wire = {250: "Somebody who lives here gets no mail.", 501: "A message for nobody is taken.",
                    452: "A caller with a million recipients fills the memory."}[code]
            yield Problem(gave=f"{reply.code} to `{command}`, with {before} of {limit} noted", wire=wire,
                          look=f"{code} is due here.")
        elif session.envelope.recipients != names + added:
            yield Problem(gave=f"{code} to `{command}`, with the list {session.envelope.recipients!r}",
                          wire="The 250 was a promise." if code == 250 else "A refused RCPT leaves no trace.",
                          look="Append the path's `mailbox` when the reply is 250, and only then.")


# --- your turn: refuse ---------------------------------------------------------------------------------------------

REFUSALS = [
    ("start", b"MAIL FROM:<ana@rio.example>", 503), ("start", b"HELO rio.example", None), ("ready", b"RCPT TO:<>", 503),
    ("ready", b"FROB", 500), ("rcpt", b"DATA", None), ("rcpt", b"DATA now", 501), ("ready", b"DATA now", 503),
    ("mail", b"VRFY", 501), ("mail", b"VRFY kenji", None), ("start", b"NOOP whatever", None), ("start", b"", 500),
    ("ready", b"NOOP \xc3\xa9", 501), ("ready", b"NO\0OP", 501), ("ready", b"FROB\xff", 501), ("ready", b"RSET x", 501),
    ("mail", b"MAIL FROM:<>", 503), ("ready", b"quit", None), ("ready", b"EHLO rio.example", 500),
    ("ready", b"XLOUD", None), ("ready", b"EXPN tenors", 500),         # where the table is another one
]
OWN = {"HELO": VERBS["HELO"], "XLOUD": VERBS["NOOP"]}


@check(
    hints=(
        "`session.verbs.get(command.verb)` returns one of two things. Which questions are left for each?",
        "if session.state not in verb.moves: return Reply(503, …); return verb.misused(command)",
        "Ask four questions, one after another; the first no is the reply. Ask about the line first, because its "
        "octets may not even be text. Then look for the verb's row. If there is one, ask about its moves and its "
        "argument.",
    ),
    passed="Line, verb, turn, argument: the first no is the reply.",
    not_yet="write the body of `my_refuse`, then run the cell again.",
)
def check_refuse(my_refuse: Callable[[Any, bytes, Any], Any]) -> Iterator[Problem]:
    """Why a command is not dispatched."""
    for state, line, code in REFUSALS:
        session = Session(HOST, state=state, verbs=OWN if line[:5] in (b"XLOUD", b"EXPN ") else VERBS)
        reply = my_refuse(session, line, parse_command(line))
        if reply is not None and not isinstance(reply, Reply):
            yield Problem(gave=f"{reply!r} for `{ascii(line)[2:-1]}`", wire="The stage has no code to say.",
                          look="Return a Reply, or None when nothing is wrong.")
        elif (reply.code if reply else None) != code:
            yield Problem(gave=f"{reply.code if reply else None} for `{ascii(line)[2:-1]}` in state {state}",
                          wire=WHY_REFUSED[code], look=f"{code or 'None'} is due. Ask about the line, the verb, its "
                          "turn, its argument, in this order." if session.verbs is VERBS else
                          f"This session has a table of its own, with {' and '.join(OWN)}: ask `session.verbs`.")
        elif session.state != state:
            yield Problem(gave=f"a session in state {session.state}", wire="A refused command moves nothing.",
                          look="This function only asks. `dispatch` moves the state.")


WHY_REFUSED = {
    None: "A good command is refused.", 500: "A client must learn that this verb is not known here, and try another.",
    501: "A handler would see what no command may hold, or a second argument would be ignored without a word.",
    503: "The client learns the wrong reason: the verb is known, and it is not its turn.",
}


# --- your turn: limit errors ---------------------------------------------------------------------------------------

WORK, TALK = VERBS["RCPT"], VERBS["NOOP"]
COUNTED: list[tuple[str, list[tuple[str, int, Verb]], Limits, list[int]]] = [
    ("five errors, three allowed", [("rcpt", 500, WORK)] * 5, Limits(max_errors=3), [500] * 3 + [421] * 2),
    ("five times 504, three allowed", [("rcpt", 504, WORK)] * 5, Limits(max_errors=3), [504] * 3 + [421] * 2),
    ("an error where none is allowed", [("rcpt", 501, WORK)], Limits(max_errors=0), [421]),
    ("five refused recipients", [("rcpt", 550, WORK)] * 5, Limits(max_errors=3), [550] * 5),
    ("five times 451", [("rcpt", 451, WORK)] * 5, Limits(max_errors=3, max_idle_commands=3), [451] * 5),
    ("five good recipients", [("rcpt", 250, WORK)] * 5, Limits(max_idle_commands=3), [250] * 5),
    ("five NOOPs within a transaction", [("rcpt", 250, TALK)] * 5, Limits(max_idle_commands=3),
     [250] * 3 + [421] * 2),
    ("five replies before a transaction", [("ready", 250, WORK)] * 5, Limits(max_idle_commands=3),
     [250] * 3 + [421] * 2),
    ("five NOOPs before HELO", [("start", 250, TALK)] * 5, Limits(max_idle_commands=3), [250] * 3 + [421] * 2),
    ("twenty errors, by default", [("rcpt", 500, WORK)] * 21, Limits(), [500] * 20 + [421]),
]


def told(my_limit_errors: Callable[..., Any], said: Sequence[tuple[str, int, Verb]], limits: Limits) -> list[Any]:
    """What becomes of these replies, each said in a state to a verb, one after another in a session."""
    session = Session(HOST, limits=limits)
    answers = []
    for state, code, verb in said:
        session.state = state
        answers.append(my_limit_errors(session, Reply(code, "as it was"), verb))
    return answers


def problems_of_counts(my_limit_errors: Callable[..., Any]) -> Iterator[Problem]:
    """A count under another name is one that nobody sets back."""
    session = Session(HOST)
    my_limit_errors(session, Reply(500, "as it was"), TALK)
    for name in ("errors", "idle commands"):
        if session.counts[name] != 1:
            yield Problem(gave=f"a count of {session.counts[name]} for {name!r}, after 500 to NOOP",
                          wire="A message sets \"idle commands\" back to 0. Without that, a caller with many "
                          "messages is sent away.", look=f'`session.counts["{name}"]`, by this name.')


@check(
    hints=(
        "Is the command that reaches the limit still answered, or the first one after it?",
        'if session.counts["errors"] > session.limits.max_errors or …: return Reply(421, "…")',
        "Each reply adds to one count, to both or to none, before anything is compared. A session in the states start "
        "and ready is idle whatever was said there, and a verb with idle is idle in every state. When a count is above "
        "its limit the reply is 421; else it is the reply that came in.",
    ),
    passed="Twenty mistakes are forgiven, the next one is not, and work is never counted.",
    not_yet="write what is missing in `my_limit_errors`, then run the cell again.",
)
def check_limit_errors(my_limit_errors: Callable[[Any, Reply, Any], Any]) -> Iterator[Problem]:
    """421 for a client that has said too much."""
    first = my_limit_errors(Session(HOST), Reply(250, "as it was"), WORK)
    if is_blank(first):
        raise NotYet("write what is missing in `my_limit_errors`, then run the cell again.")
    if first != Reply(250, "as it was"):
        yield Problem(gave=f"{shown(first)} for a reply within the limits",
                      wire="The client hears something else than the handler said.", look="Return `reply` itself.")
    for name, said, limits, expected in COUNTED:
        answers = told(my_limit_errors, said, limits)
        if not all(isinstance(answer, Reply) for answer in answers):
            yield Problem(gave=f"{answers} for {name}", wire="The stage has no code to say.",
                          look='Return a Reply each time: the one that came in, or Reply(421, "…").')
            continue
        codes = [answer.code for answer in answers]
        if codes != expected:
            yield Problem(gave=f"{codes} for {name}",
                          wire="One caller keeps the line forever." if codes.count(421) < expected.count(421) else
                          "A caller is sent away too early." if 421 in expected else
                          "A caller is sent away for replies that do not count here.",
                          look=f"{expected} is due: count each reply once, then compare with `>`.")
    yield from problems_of_counts(my_limit_errors)


# --- your turn: one reply ------------------------------------------------------------------------------------------

YES, MOVED, LATER, FULL, NO, SPAM = (Reply(250, "kept"), Reply(251, "moved"), Reply(451, "later"), Reply(452, "full"),
                                     Reply(550, "nobody"), Reply(554, "spam"))


@check(
    hints=(
        "What does the client do with its copy after 4yz, and what after 5yz?",
        "return next((reply for reply in replies if reply.temporary), …)",
        "Look for the first reply that is temporary: the client will come again, and nobody is lost. If there is none, "
        "look for the first that is not positive. If all are positive, the first one says so.",
    ),
    passed="Nobody is lost: a message comes twice rather than never.",
    not_yet="write what is missing in `my_one_reply`, then run the cell again.",
)
def check_one_reply(my_one_reply: Callable[[Mapping[str, Reply]], Any]) -> Iterator[Problem]:
    """One reply for all recipients."""
    for replies, expected in (((YES,), YES), ((YES, NO), NO), ((NO, YES), NO), ((NO, LATER), LATER),
                              ((LATER, NO), LATER), ((YES, LATER, NO), LATER), ((YES, MOVED), YES),
                              ((MOVED, YES), MOVED), ((NO, SPAM), NO), ((SPAM, NO), SPAM), ((FULL, LATER), FULL),
                              ((YES, NO, FULL, LATER), FULL)):
        outcome = {f"r{number}@tokyo.example": reply for number, reply in enumerate(replies)}
        answer = my_one_reply(outcome)
        if is_blank(answer):
            raise NotYet("write what is missing in `my_one_reply`, then run the cell again.")
        if answer != expected:
            codes = " ".join(str(reply.code) for reply in replies)
            yield Problem(gave=f"{shown(answer)} for {codes}", wire=lost(answer, expected),
                          look="First a 4yz, else a 5yz, else a 2yz; the first of its kind.")


def lost(answer: Any, expected: Reply) -> str:
    """What a wrong reply for all does."""
    if not isinstance(answer, Reply):
        return "The stage has no code to say."
    if answer.code // 100 == expected.code // 100:
        return "The text is somebody else's: of several, the first one is due."
    if answer.positive:
        return "The client throws its copy away, and one of the recipients never gets the message."
    if answer.permanent:
        return "The client gives up, and whoever could have had it tomorrow never gets it."
    return "The client tries for days what will never succeed."


# --- exercise 1: five bugs -----------------------------------------------------------------------------------------

BUGS = {
    "A": (5, "ready", "Kenji now has a message from nobody.", "which state does RCPT need?"),
    "B": (7, "mail", "Eve has replaced Ana as the sender of a message that Ana began.", "where may MAIL stand?"),
    "C": (9, "mail", "The message has no recipient, and the server will say 250 to it.",
          "did the RCPT that was refused move anything?"),
    "D": (9, "rcpt", "A client that starts afresh with HELO is told that it may not.",
          "HELO has a move in every state; what does it do to a transaction (RFC 5321 §4.1.4)?"),
    "E": (13, "ready", "Sora is noted for a message that has already left.",
          "what happens to a transaction after the 250 to the message?"),
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
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            yield Problem(gave=f"{answer!r} for {name}", look="An answer is a pair: (3, \"start\").")
        elif not isinstance(as_number(answer[0]), int):
            yield Problem(gave=f"{answer!r} for {name}", look="The line first, then the state: (3, \"start\").")
        elif as_number(answer[0]) != line:
            yield Problem(gave=f"line {answer[0]} for {name}",
                          wire="That line is the client's: each bug is a server's." if line % 2 != int(
                              as_number(answer[0])) % 2 else "A good server would say the same there.",
                          look=f"The wrong reply is the one that breaks an order: {look}")
        elif as_word(answer[1]) != state:
            yield Problem(gave=f"state {answer[1]!r} for line {line} of {name}", wire=wire,
                          look=f"The line is right. Which state was the session in by then? Ask yourself: {look}")


# --- exercise 2: break a server ------------------------------------------------------------------------------------


def weak_rset(session: Any, argument: str) -> Reply:
    """RSET as the exercise has it: the envelope is new, the state is not. It has no other fault."""
    session.envelope = Envelope()
    return Reply(250, "forgotten")


WEAK = VERBS | {"RSET": Verb(weak_rset, STAY, "RSET forgets the transaction", argument=False)}


@check(
    hints=(
        "What does a session remember besides its envelope?",
        "Say RSET when a recipient has been named, then the verb that is allowed only there.",
        "The weak RSET makes a new envelope and forgets that the session has a state as well. After a recipient "
        "was named the state is rcpt, and there it stays. So say RSET then, and after it a command which is "
        "allowed only when a recipient is known.",
    ),
    passed="Convicted. After RSET the weak server still believes that a transaction is open.",
)
def check_conviction(my_dialogue: Sequence[Any]) -> Problem | None:
    """A dialogue that passes at our server and fails at the weak one."""
    for number, step in enumerate(my_dialogue, 1):
        if is_blank(step):
            raise NotYet("the dialogue goes on after HELO.")
        if not (isinstance(step, tuple | list) and len(step) == 2 and isinstance(step[0], str)
                and isinstance(as_number(step[1]), int)):
            return Problem(gave=f"{step!r} as step {number}", look="A step is a line and a code: (\"RSET\", 250).")
    lines, expected = [line for line, _ in my_dialogue], [as_number(code) for _, code in my_dialogue]
    ours, weak = codes_of(lines), codes_of(lines, verbs=WEAK)
    for number, (line, code) in enumerate(zip(lines, expected, strict=True)):
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


# --- exercise 3: be the server -------------------------------------------------------------------------------------

LINES = [
    ("helo rio.example", 250, "verbs may be written in any mixture of capitals (RFC 5321 §2.4)"),
    ("MAIL FROM:<>", 250, "the null path is a good sender: a bounce has it (RFC 5321 §4.5.5)"),
    ("DATA", 503, "a message needs a recipient first"),
    ("RCPT TO:<PostMaster>", 250, "postmaster may stand alone, in any capitals (RFC 5321 §4.5.1)"),
    ("RCPT TO:<@relay.example:yui@tokyo.example>", 250, "a source route is accepted and ignored (chapter `envelope`)"),
    ("RCPT TO: yui@tokyo.example", 501, "a path has angle brackets"),
    ("data", 354, "two recipients are noted, the refused one changed nothing"),
    ("QUIT\r\n..\r\n.", 250, "after 354 all is message up to a dot alone: a line QUIT, and a line with one dot"),
    ("RCPT TO:<yui@tokyo.example>", 503, "the transaction was forgotten with the 250"),
    ("QUIT now", 501, "QUIT stands alone"),
]


@check(
    hints=(
        "Which lines are commands, and which belong to the message?",
        "QUIT, .. and . together get one reply. The third code is 503.",
        "After 354 every line is part of the message until a line that holds only a dot, and all of it gets one "
        "reply. A refused command changes nothing, and an accepted message ends its transaction. Read the rest with "
        "the three questions in this order: is the verb known, is this its time, is its argument well formed?",
    ),
    passed="Ten lines, ten codes. Such a server can be put on port 25.",
)
def check_session_codes(my_codes: Any) -> Iterator[Problem]:
    """The codes of a session."""
    if isinstance(my_codes, str):
        my_codes = my_codes.replace(",", " ").split()
    if len(my_codes) != len(LINES):
        yield Problem(gave=f"{len(my_codes)} codes", wire=f"The server says {len(LINES)} replies, greeting left out.",
                      look="After 354 the lines are the message, and only the lone dot is answered.")
    for code, (line, right, rule) in zip(my_codes, LINES, strict=False):
        if as_number(code) != right:
            name = "the message" if right == 250 and "\r\n" in line else f"`{line}`"
            yield Problem(gave=f"{code} for {name}", wire="A good server says something else.",
                          look=f"Think of this: {rule}.")

"""The checks of `client`: what a client says, to whom it listens, and what it concludes."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

from smtp_from_scratch import client as ours
from smtp_from_scratch.conversation import BothListening, Disconnected, Line, rehearse
from smtp_from_scratch.envelope import Envelope, stuff
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, as_word, check
from smtp_from_scratch.lab.wires.scripted import scripted
from smtp_from_scratch.wire import Reply

Talk = Generator[Any, Any, Any]
YUI, KENJI, SORA = "yui@tokyo.example", "kenji@tokyo.example", "sora@tokyo.example"
LETTER = [b"Subject: Choir\r\n\r\nRehearsal moved\r\n", b".to Monday, 8 pm.\r\n"]


def after_greeting(talk: Talk) -> Talk:
    """Hear the server's 220, then let a learner's conversation begin."""
    yield Line()
    return (yield from talk)


def overheard(talk: Talk, said: list[bytes]) -> Talk:
    """Pass on what a conversation says and wants, and note what it says, also when it breaks off."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            thing = talk.throw(error) if error else talk.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(thing, bytes):
            said.append(thing)
        answer = error = None
        try:
            answer = yield thing
        except Exception as interruption:
            error = interruption


def play(talk: Any, server: Talk, greeted: bool = True) -> tuple[Any, Exception | None, list[str]]:
    """What a client's conversation returns, what it raises instead, and the lines that it said."""
    said: list[bytes] = []
    if not hasattr(talk, "send"):
        return talk, None, []
    result, trouble = None, None
    try:
        whole = overheard(talk, said)
        result = rehearse(after_greeting(whole) if greeted else whole, server).client
    except NotImplementedError:
        raise
    except Exception as error:
        if "ellipsis" in str(error).lower():           # a blank that is still open
            raise NotYet("replace each `...` by what belongs there.") from None
        trouble = error
    return result, trouble, b"".join(said).decode("ascii", "backslashreplace").split("\r\n")[:-1]


def kinds(error: object) -> set[str]:
    """The names of an exception's classes: the chapter's own are not the package's."""
    return {kind.__name__ for kind in type(error).__mro__}


def described(result: Any, error: Exception | None) -> str:
    """What came of a rehearsal, for a person."""
    if isinstance(error, BothListening):
        return "a conversation that listens while the server listens too"
    if isinstance(result, Generator):
        return "a generator that nobody has started"
    if error:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return repr(result)


def dots(lines: list[str]) -> str:
    """A session's lines, for a person."""
    return " · ".join(lines) or "nothing"


def slip(error: Exception | None) -> Problem | None:
    """What no server has caused: a `yield` of something else, or an exception, which `check` then finds a line for."""
    if error is None or kinds(error) & {"SMTPException", "Interruption", "WireError", "BothListening"}:
        return None
    if str(error).startswith("a conversation yields"):
        return Problem(gave=f"{type(error).__name__}: {error}", wire="Not one octet of that is said.",
                       look="Another conversation is played by `yield from`; what is said is `yield`ed, as bytes.")
    raise error


# --- your turn: 421, and a command -----------------------------------------------------------------------------------


@check(
    hints=(
        "What does a caller need to learn from the exception, besides that the server is gone?",
        "error = SMTPServerDisconnected(f\"the server is leaving: {reply}\"); error.reply = reply",
        "Make the exception first and give it a text that quotes the server. Then put the reply into its `reply`. "
        "Return it: whoever calls says `raise`, at the place where the session ends.",
    ),
    passed="An exception that keeps what the server said.",
)
def check_disconnected_by(my_disconnected_by: Callable[[Reply], Any]) -> Problem | None:
    """The exception for a 421."""
    before: list[tuple[Any, Reply]] = []
    for text in ("closing for the night", "too many callers\ntry tomorrow"):
        reply = Reply(421, text)
        try:
            error = my_disconnected_by(reply)
        except OSError as raised:
            return Problem(gave=f"a function that raises {type(raised).__name__}", wire="The caller says `raise`.",
                           look="Return the exception that you have made.")
        if error is None or error is ...:
            raise NotYet("make an exception and return it.")
        if "SMTPServerDisconnected" not in kinds(error):
            return Problem(gave=described(error, None), wire="Nobody catches that as a server that has left.",
                           look="The exception is `SMTPServerDisconnected(…)`, made and returned.")
        if getattr(error, "reply", None) != reply:
            return Problem(gave="an exception whose `reply` is not the server's reply",
                           wire="Nobody will learn why the server left.", look="`error.reply = reply`")
        if text.split("\n")[0] not in str(error):
            return Problem(gave=f"an exception that says {str(error)!r}", wire=f"The server said {text!r}.",
                           look="Quote the reply in the exception's text.")
        before.append((error, reply))
    if any(error.reply != reply for error, reply in before):
        return Problem(gave="two exceptions with one `reply`, that of the second",
                       wire="Two servers have left, and each gave a reason of its own.",
                       look="Make a new exception each time, and put the reply into it, not into its class.")
    return None


@check(
    hints=(
        "What does `yield from read_reply()` give you that `read_reply()` does not?",
        "if reply.code == 421: raise my_disconnected_by(reply)",
        "`read_reply()` makes a generator, and only `yield from` runs it to its end and gives you the whole reply, "
        "however many lines it has. Return every reply, good or bad, since the caller decides what it means. A 421 "
        "is different: the server is leaving, so no further command makes sense, and an exception says so.",
    ),
    passed="One command, one whole reply; a 421 is an exception that keeps what the server said.",
)
def check_command(my_command: Callable[..., Talk]) -> Problem | None:
    """One command, one reply, and 421 raised."""
    for lines in (["250 fine"], ["250-fine", "250 and more"], ["550 no"], ["450 later"], ["354 go on"], ["299 odd"]):
        reply, error, said = play(my_command("VRFY", "yui"), scripted("220 hi", "\r\n".join(lines)))
        if reply is ... or ("VRFY yui" in said and reply is None and not error):
            raise NotYet("read a whole reply and return it.")
        if problem := slip(error):
            return problem
        if isinstance(error, BothListening) and not said:
            return Problem(gave="a client that listens, and has said nothing", wire="The server waits for a command.",
                           look="`yield encode_command(verb, argument)` comes before the reply is read.")
        if error or getattr(reply, "code", None) != int(lines[0][:3]) or len(reply.lines) != len(lines):
            return Problem(gave=f"{described(reply, error)} for the reply {' / '.join(lines)}",
                           wire="The rest of the reply would be taken for the answer to the next command.",
                           look="The chapter on conversation: `yield from` reads every line of a reply.")
        if said != ["VRFY yui"]:
            return Problem(gave=f"a client that says {dots(said)}", wire="The server hears another command.",
                           look="One command: `encode_command(verb, argument)`.")
    reply, error, _ = play(my_command("NOOP"), scripted("220 hi", "421 closing for the night"))
    if "SMTPServerDisconnected" not in kinds(error):
        return Problem(gave=f"{described(reply, error)} for a 421",
                       wire="The client would say its next command to a closed door.",
                       look="Raise what `my_disconnected_by` makes of a 421.")
    if getattr(getattr(error, "reply", None), "code", None) != 421:
        return Problem(gave="an exception without the reply", wire="Nobody will learn why the server left.",
                       look="`my_disconnected_by(reply)` makes an exception that keeps it.")
    return no_patience(my_command)


def no_patience(my_command: Callable[..., Talk]) -> Problem | None:
    """What is wrong when a command does not wait as long as it was told to."""
    try:
        talk = my_command("NOOP", "", 7.0)
    except TypeError:
        return Problem(gave="a command that cannot be told how long to wait",
                       wire="A server may need ten minutes for a letter, and two for DATA.",
                       look='`def my_command(verb, argument="", timeout=300.0):`')
    thing = next(talk)
    while isinstance(thing, bytes):
        thing = talk.send(None)
    if (seconds := getattr(thing, "timeout", None)) != 7.0:
        return Problem(gave=f"a command that was told to wait 7 seconds, and waits {seconds}",
                       wire="A client that gives up too early sends a letter twice.", look="`read_reply(timeout)`")
    return None


# --- your turn: greet ------------------------------------------------------------------------------------------------

_GREETINGS: list[tuple[tuple[str, ...], str, str]] = [      # the second one hears the name of another host
    (("220 hi", "250 hello"), "", ""),
    (("220-hi\r\n220 there", "250-hello\r\n250 again"), "", ""),
    (("299 odd", "251 odd"), "", ""),
    (("554 no mail here",), "SMTPConnectError", "A 554 greeting says that there is no service."),
    (("421 too many callers",), "SMTPException", "A greeting of 421 is no welcome either."),
    (("354 go on",), "SMTPConnectError", "Only a 2yz greeting lets a client go on."),
    (("220 hi", "550 not you"), "SMTPHeloError", "The server has refused the name."),
    (("220 hi", "421 closing"), "SMTPServerDisconnected", "`command` raises this for you."),
]


@check(
    hints=(
        "Who speaks first when a connection is new?",
        "greeting = yield from read_reply(GREETING_TIMEOUT)",
        "The server speaks first, so read its greeting before you say anything. If it is not 2yz, raise "
        "SMTPConnectError with it. Then say HELO by `command`, raise SMTPHeloError for a reply that is not 2yz, and "
        "return that reply otherwise.",
    ),
    passed="It listens first, then says its name, and each refusal has a name of its own.",
)
def check_greet(my_greet: Callable[[str], Talk]) -> Iterator[Problem | None]:
    """The first two replies of a session."""
    for number, (lines, kind, why) in enumerate(_GREETINGS):
        host = "lima.example" if number == 1 else "rio.example"
        reply, error, said = play(my_greet(host), scripted(*lines), greeted=False)
        if reply is ... or (reply is None and not error and not said):
            raise NotYet("read the greeting, then say HELO.")
        session = " / ".join(lines).replace("\r\n", " / ")
        yield slip(error)
        if said[:1] == ["HELO rio.example"] != [f"HELO {host}"]:
            yield Problem(gave=f"HELO rio.example from a host that is called {host}",
                          wire="The server notes the name of somebody else.", look='`command("HELO", hostname)`')
        if isinstance(error, BothListening) or said[:1] not in ([], [f"HELO {host}"]) or len(said) > 1:
            yield Problem(gave=f"a client that says {dots(said)} to {session}", wire="The server speaks first, once.",
                          look="Read the greeting, then say HELO with the name that was given, and nothing more.")
        if kind and kind not in kinds(error):
            yield Problem(gave=f"{described(reply, error)} for {session}", wire=why,
                          look="`raise SMTPConnectError(greeting, \"greeting\")`, and SMTPHeloError for HELO.")
        if kind and len(lines) == 2 and getattr(error, "reply", None) != Reply(int(lines[1][:3]), lines[1][4:]):
            yield Problem(gave=f"{described(reply, error)} for {session}", wire="Ana is told the wrong reason.",
                          look="The exception keeps the reply that ended the session: here the one to HELO.")
        if kind and said != ([f"HELO {host}"] if len(lines) > 1 else []):
            yield Problem(gave=f"a client that says {dots(said)} to {session}", wire=why,
                          look="Look at the greeting before you say HELO.")
        if not kind and str(getattr(reply, "code", "")) == lines[0][:3] != lines[1][:3]:
            yield Problem(gave=f"{described(reply, error)} for {session}", wire="That is the greeting.",
                          look="Read the greeting before you say anything, and return the reply to HELO.")
        if not kind and (error or str(getattr(reply, "code", "")) != lines[1][:3]):
            yield Problem(gave=f"{described(reply, error)} for {session}", wire="Any 2yz is a welcome.",
                          look="Return the reply to HELO; `.positive` looks at the first digit alone.")


# --- your turn: the receipt ------------------------------------------------------------------------------------------

_RECEIPTS: list[tuple[dict[str, int], str, list[str], str]] = [
    ({YUI: 250, KENJI: 550, SORA: 450}, "", [YUI], "One was accepted, two were not."),
    ({YUI: 251, KENJI: 299}, "", [YUI, KENJI], "The first digit decides, and both are 2yz."),
    ({YUI: 354}, "", [], "A 3yz to RCPT accepts nobody."),
    ({YUI: 250, KENJI: 550}, "body", [], "The body was refused, so what RCPT said no longer counts."),
    ({YUI: 250}, "DATA", [], "DATA was refused, so there was no body."),
    ({}, "", [], "Nobody was named."),
]


@check(
    hints=(
        "What is a 250 to RCPT worth once the body has been refused?",
        "return [] if self.refused_by else [a for a, r in self.recipients.items() if r.positive]",
        "As long as nothing ended the transaction early, those with a 2yz are accepted and the others are refused. "
        "Once `refused_by` says that something did, nobody is accepted and all are refused. Each recipient is in one "
        "of the two, never in both.",
    ),
    passed="Each recipient is in one of the two, and a refusal of the whole counts for all.",
)
def check_receipt(MyReceipt: type) -> Iterator[Problem]:
    """Who was accepted, and who was refused."""
    if MyReceipt("ana@rio.example").recipients is MyReceipt("ben@rio.example").recipients:
        yield Problem(gave="receipts that share one dictionary", wire="Ben's recipients would be on Ana's receipt.",
                      look="`field(default_factory=dict)` makes one for each.")
    for codes, refused_by, accepted, why in _RECEIPTS:
        receipt = MyReceipt("ana@rio.example")
        receipt.recipients |= {address: Reply(code) for address, code in codes.items()}
        receipt.refused_by = refused_by
        if receipt.accepted in (None, ...) or receipt.refused in (None, ...):
            raise NotYet("write both: `accepted`, a list of addresses, and `refused`, a dictionary with their replies.")
        case = f"{codes or 'no recipients'}" + (f", refused by {refused_by}" if refused_by else "")
        if callable(receipt.accepted) or callable(receipt.refused):
            yield Problem(gave="a method that is not a property", wire="`receipt.accepted` is a method, and no list.",
                          look="`@property` in the line above `def`: then nobody has to write parentheses.")
        if not isinstance(receipt.accepted, list):
            yield Problem(gave=f"{receipt.accepted!r} as `accepted`",
                          wire="`if receipt.accepted:` is to ask whether there is anybody, and lists keep the order.",
                          look="A list of addresses: `[…]`.")
        if receipt.accepted != accepted:
            yield Problem(gave=f"accepted: {receipt.accepted} for {case}", wire=why,
                          look="`.positive`, and `refused_by` before it.")
        refused = {address: Reply(code) for address, code in codes.items() if address not in accepted}
        if receipt.refused != refused:
            yield Problem(gave=f"refused: {receipt.refused} for {case}", wire=why,
                          look="A dictionary of those who were not accepted: address and reply.")


# --- your turn: send_body, transaction, deliver -----------------------------------------------------------------------

State = dict[str, Any]


def state(receipt: Any) -> State:
    """What a receipt says, however it was made."""
    names = ("recipients", "accepted", "refused", "refused_by", "reply")
    return {name: getattr(receipt, name, "missing") for name in names}


def differs(mine: Any, theirs: Any, error: Exception | None, what: str) -> Problem | None:
    """The first thing that one receipt says otherwise than the other."""
    if not hasattr(mine, "recipients"):
        return Problem(gave=f"{described(mine, error)} for {what}", wire="Ana is to be told about each recipient.",
                       look="Return the receipt.")
    for name, value in state(theirs).items():
        if state(mine)[name] != value:
            return Problem(gave=f"{name} = {state(mine)[name]} for {what}", wire=f"It is {value}.",
                           look="Which reply was the last one about each recipient, and what ended it?")
    return None


_BODIES = [("354 go on", "250 kept"), ("334 go on", "251 kept"), ("503 RCPT first",), ("250 what",), ("450 later",),
           ("354 go on", "552 full"), ("354 go on", "450-not\r\n450 now"), ("354 go on", "354 more")]


@check(
    hints=(
        "Which first digit invites the text, and which one takes it?",
        "if reply.code // 100 != 3: return give_up(receipt, \"DATA\", reply)",
        "Say DATA by `command`, and go on only after a 3yz. Then say all that `stuff` makes of the body, and read one "
        "more reply. A 2yz is the last word about everybody accepted so far; anything else ended it at the body.",
    ),
    passed="The text goes out after a 3yz alone, and its reply is the last word.",
)
def check_send_body(my_send_body: Callable[..., Talk]) -> Iterator[Problem | None]:
    """DATA, the body, and its reply."""
    text = b"".join(stuff(LETTER)).decode().split("\r\n")[:-1]
    for script in _BODIES:
        mine, theirs = [ours.Receipt("ana@rio.example", {YUI: Reply(250, "ok"), KENJI: Reply(550, "no")})
                        for _ in range(2)]
        result, error, said = play(my_send_body(mine, LETTER), scripted("220 hi", *script))
        if result is ... or not (error or mine.refused_by or mine.reply or mine.recipients != theirs.recipients):
            raise NotYet("read the reply to the text, and note what it means in the receipt.")
        yield slip(error)
        play(ours.send_body(theirs, LETTER), scripted("220 hi", *script))
        what = f"the replies {' / '.join(script)}".replace("\r\n", " / ")
        if said != ["DATA", *(text if script[0][0] == "3" else [])]:
            yield Problem(gave=f"a client that says {dots(said)} after {script[0]}",
                          wire="The server would take the text for commands." if script[0][0] != "3" else
                          "The server waits for the text, and for the lone dot after it.",
                          look="The text follows a 3yz, made ready by `stuff`, and nothing else.")
        if error:
            yield Problem(gave=f"{described(None, error)} for {what}", wire="A refusal is a normal result.",
                          look="Note it in the receipt.")
        if problem := differs(mine, theirs, None, what):
            yield problem
        if problem := differs(result, theirs, None, what):
            yield problem
    yield from problems_of_a_421(my_send_body)


def problems_of_a_421(my_send_body: Callable[..., Talk]) -> Iterator[Problem]:
    """What becomes of a server that leaves in place of its reply to the text."""
    result, error, _ = play(my_send_body(ours.Receipt("ana@rio.example", {YUI: Reply(250)}), LETTER),
                            scripted("220 hi", "354 go on", "421 bye"))
    if "SMTPServerDisconnected" not in kinds(error):
        yield Problem(gave=f"{described(result, error)} for a 421 after the text", wire="The server is leaving.",
                      look="`command` raises for you; after the text you raise yourself.")
    elif getattr(getattr(error, "reply", None), "code", None) != 421:
        yield Problem(gave="an exception without the reply", wire="Nobody will learn why the server left.",
                      look="`raise disconnected_by(reply)`")


_SCRIPTS: list[tuple[str, ...]] = [
    ("250 ok", "250 yui", "250 kenji", "354 go on", "250 kept"),
    ("250 ok", "250 yui", "550 no Kenji", "354 go on", "250 kept"),
    ("250 ok", "450 later", "250 kenji", "354 go on", "554 no"),
    ("250 ok", "550 no Yui", "450 later", "250 reset"),
    ("451 later", "250 ok", "250 ok", "354 go on", "250 kept"),
    ("250 ok", "250 yui", "251 kenji", "450 later", "250 reset"),
    ("250 ok", "550 no Yui", "550 no Kenji"),
    ("250 ok", "550 no Yui", "550 no Kenji", "421 leaving"),
]
_BROKEN: list[tuple[tuple[str, ...], str]] = [
    (("421 leaving",), "421 to MAIL"), (("250 ok", "421 leaving"), "421 to the first RCPT"),
    (("250 ok", "250 yui"), "a line that breaks at the second RCPT"),
    (("250 ok", "250 yui", "250 kenji", "354 go on"), "a line that breaks after the text"),
]


@check(
    hints=(
        "After which replies does the server still hold your MAIL, although nobody will get the letter?",
        "receipt.recipients[address] = yield from command(\"RCPT\", f\"TO:{path}\")",
        "Say MAIL; when it is refused, that is the reply about everybody. Say RCPT for each, and keep each reply. If "
        "somebody was accepted, send the body; otherwise it ended at RCPT, and RSET closes what MAIL has opened.",
    ),
    passed="Each reply is kept for the recipient it was about, and no MAIL of yours stays open.",
)
def check_transaction(my_transaction: Callable[..., Talk]) -> Iterator[Problem | None]:
    """MAIL, RCPT for each, DATA for those who were accepted."""
    envelope = Envelope("ana@rio.example", [YUI, KENJI])
    for script in _SCRIPTS:
        theirs, _, expected = play(ours.transaction(envelope, LETTER), scripted("220 hi", *script))
        mine, error, said = play(my_transaction(envelope, LETTER), scripted("220 hi", *script))
        if mine is ... or ... in getattr(mine, "recipients", {}).values() or not (error or mine):
            raise NotYet("say RCPT for each, and keep the replies in the receipt.")
        what = f"the replies {' / '.join(script)}"
        yield slip(error)
        if said != expected:
            wrong = next((pair for pair in zip(said, expected, strict=False) if pair[0] != pair[1]), None)
            yield Problem(gave=f"a client that says {dots(said)} to {what}",
                          wire=f"It is to say {dots(expected)}",
                          look=f"Compare {wrong[0]!r} with {wrong[1]!r}." if wrong and wrong[0][:4] == wrong[1][:4] else
                          "No DATA without a recipient; RSET when the server still holds MAIL; else no word more.")
        if error:
            yield Problem(gave=f"{described(None, error)} for {what}", wire="A refusal is a normal result.",
                          look="The receipt has it. A server that leaves at RSET has forgotten MAIL as well.")
        if problem := differs(mine, theirs, error, what):
            yield problem
    yield from problems_of_a_broken_session(my_transaction, envelope)


def problems_of_a_broken_session(my_transaction: Callable[..., Talk], envelope: Envelope) -> Iterator[Problem]:
    """What must not be covered up, and what must be found before a word is said."""
    for script, what in _BROKEN:
        mine, error, _ = play(my_transaction(envelope, LETTER), scripted("220 hi", *script))
        if error is None:
            yield Problem(gave=f"{described(mine, None)} for {what}", wire="Nobody learns that the session is over.",
                          look="Suppress what goes wrong at RSET, and nothing before it.")
    bad = Envelope("ana@rio.example", [YUI, f"{KENJI}>\r\nRCPT TO:<everyone@shady.example"])
    _, error, said = play(my_transaction(bad, LETTER), scripted("220 hi", *_SCRIPTS[0]))
    if said or not isinstance(error, ValueError):
        yield Problem(gave=f"a client that says {dots(said)} before it finds a bad address",
                      wire="A transaction stays open with half of its recipients.",
                      look="`check_envelope` comes before MAIL.")


_GOOD = ("250 ok", "250 yui", "354 go on", "250 kept")
_SESSIONS: list[tuple[int, tuple[str, ...], str]] = [
    (1, ("220 hi", "250 hello", *_GOOD, "221 bye"), "a good session"),
    (0, ("220 hi", "250 hello", "221 bye"), "a session without letters"),
    (2, ("220 hi", "250 hello", *_GOOD, *_GOOD, "221 bye"), "two letters"),
    (2, ("220 hi", "250 hello", "550 no", *_GOOD, "221 bye"), "two letters, the first refused"),
    (1, ("220 hi", "250 hello", *_GOOD), "a server that hangs up at QUIT"),
    (1, ("220 hi", "250 hello", *_GOOD, "421 leaving"), "421 to QUIT"),
    (1, ("220 hi", "250 hello", *_GOOD, "bye?"), "nonsense to QUIT"),
    (1, ("220 hi", "250 hello", *_GOOD, "500 what?"), "500 to QUIT"),
]


@check(
    hints=(
        "The body was answered with 250. What can the reply to QUIT still change?",
        "with contextlib.suppress(Interruption, SMTPServerDisconnected, WireError): yield from command(\"QUIT\")",
        "Greet by `quit_if_refused(greet(hostname))`, then play a transaction for each letter and collect the "
        "receipts. Say QUIT at the end. By then all is decided, so whatever goes wrong there is suppressed and the "
        "receipts are returned.",
    ),
    passed="A receipt for each letter, and no goodbye can take one back.",
)
def check_deliver(my_deliver: Callable[..., Talk]) -> Iterator[Problem | None]:
    """A whole session."""
    letter = (Envelope("ana@rio.example", [YUI]), LETTER)
    for count, script, what in _SESSIONS:
        theirs, _, expected = play(ours.deliver("rio.example", [letter] * count), scripted(*script), greeted=False)
        mine, error, said = play(my_deliver("rio.example", [letter] * count), scripted(*script), greeted=False)
        if mine is ... or (not error and not mine and count):
            raise NotYet("collect the receipts, say QUIT, and return them.")
        yield slip(error)
        if error:
            yield Problem(gave=f"{described(None, error)} for {what}",
                          wire="Ana would send again what Tokyo has taken already.",
                          look="Suppress what goes wrong at QUIT, and nothing before it.")
        if said != expected:
            yield Problem(gave=f"a client that says {dots(said)} for {what}", wire=f"It is to say {dots(expected)}",
                          look="`greet`, a `transaction` for each letter, one QUIT.")
        if not isinstance(mine, list) or len(mine) != count:
            yield Problem(gave=f"{described(mine, None)} for {what}", wire=f"There were {count} letters.",
                          look="Return a list with a receipt for each.")
        for one, other in zip(mine, theirs, strict=True):
            if problem := differs(one, other, None, what):
                yield problem
    yield from problems_of_an_end(my_deliver, letter)


def problems_of_an_end(my_deliver: Callable[..., Talk], letter: tuple[Envelope, list[bytes]]) -> Iterator[Problem]:
    """What ends a session before its QUIT, and whether the answer to QUIT is read."""
    for script, what in ((("220 hi", "250 hello", "250 ok"), "a line that breaks after MAIL"),
                         (("554 no", "221 bye"), "a greeting of 554")):
        mine, error, said = play(my_deliver("rio.example", [letter]), scripted(*script), greeted=False)
        if error is None:
            yield Problem(gave=f"{described(mine, None)} for {what}", wire="Nobody in Tokyo has the letter.",
                          look="Suppress nothing but what goes wrong at QUIT.")
    if said != ["QUIT"]:
        yield Problem(gave=f"a client that says {dots(said)} to a greeting of 554", wire="The server waits for QUIT.",
                      look="`quit_if_refused(greet(hostname))`")
    if not list(listened(my_deliver("rio.example", []), ("220 hi", "250 hello", "221 bye")))[-1]:
        yield Problem(gave="a client that says QUIT and does not read the answer",
                      wire="The server says 221 to nobody (RFC 5321 §4.1.1.10).", look='`yield from command("QUIT")`')


def listened(talk: Talk, lines: tuple[str, ...]) -> Iterator[bool]:
    """For each thing that a conversation yields, whether it wants to hear something; it is handed these lines."""
    answers, answer = iter(lines), None
    with suppress(StopIteration, Disconnected):
        while True:
            thing = talk.send(answer)
            wants = not isinstance(thing, bytes)
            yield wants
            answer = next(answers).encode() if wants else None


# --- one line too many -----------------------------------------------------------------------------------------------

_BUGS = {                                      # the line, a question, and all lines that the client says
    "A": (8, "Which recipient does the server have when it is asked for DATA?", (2, 4, 6, 8)),
    "B": (4, "Chapter `wire`: what does the fourth octet of line 3 promise?", (2, 4, 7)),
    "C": (6, "What did the server say last, and does it still listen?", (2, 4, 6)),
    "D": (8, "What does a first digit of 5 say about the same words said again?", (2, 4, 6, 8)),
}


@check(
    hints=(
        "Which client says something that the reply before it has forbidden, or before the reply has ended?",
        "In A nobody has been accepted when the client says DATA.",
        "Read each transcript as the client and keep in mind what the last reply allowed. A refused RCPT names no "
        "recipient, a hyphen promises another line, and a 5yz says that the same words will be refused again. The "
        "wrong line is the first one that ignores such a message.",
    ),
    passed="All four found: bad news shows what a client is worth.",
)
def check_client_bugs(my_bugs: dict[str, int]) -> Iterator[Problem]:
    """The line in each transcript that the client should not have said."""
    for name, (number, question, its_lines) in _BUGS.items():
        if name not in my_bugs:
            raise NotYet(f"give a number for {name} as well.")
        line = as_number(my_bugs[name])
        if line != number:
            wire = "The client does not say that line." if line not in its_lines else (
                "A good client says the same there." if line < number else "By then the mistake has been made.")
            yield Problem(gave=f"line {my_bugs[name]} of session {name}", wire=wire, look=question)


# --- who has it when the line is cut ---------------------------------------------------------------------------------

_CUTS: dict[str, tuple[str, str, str]] = {
    "A": ("again", "drop", "Half a text has no lone dot, so the server has nothing that it could deliver."),
    "B": ("again", "drop", "The last octet of the end mark is missing: to the server the text goes on."),
    "C": ("again", "drop", "The server has read it all and promised nothing, and nothing is on its disk."),
    "D": ("again", "deliver", "The server has said 250, so the letter is its own. The client never heard that."),
    "E": ("again", "deliver", "A hyphen is no end: half a reply tells the client nothing, and the server has said it."),
    "F": ("forget", "deliver", "The client has heard the 250. What becomes of QUIT changes nothing."),
}


@check(
    hints=(
        "At which octet, read by whom, does the letter stop being the client's?",
        "my_cuts = {\"A\": (\"again\", \"drop\"), …}",
        "The client may forget the letter when it has read a whole 2yz reply to the text, and not before. The server "
        "must deliver it from the moment in which it says 250. Between the two moments both have it, and that is where "
        "a second copy comes from.",
    ),
    passed="Both have the letter only between the server's 250 and the client's reading of it: two copies, never none.",
)
def check_cuts(my_cuts: dict[str, Any]) -> Iterator[Problem]:
    """What each end does when the line is cut."""
    for name, (client, server, why) in _CUTS.items():
        pair = my_cuts.get(name, ...)
        if pair is ... or pair is None or (isinstance(pair, list | tuple) and ... in pair):
            raise NotYet(f"say for {name} what the client does, and what the server does.")
        words = [str(word).strip().lower() for word in (pair if isinstance(pair, list | tuple) else str(pair).split())]
        if [word.strip(",") for word in words] != [client, server]:
            yield Problem(gave=f"{pair} for cut {name}", wire=why,
                          look="RFC 5321 §4.2.5 and §6.1: with its 250 the server takes the letter over.")


# --- keep, bounce or forget ------------------------------------------------------------------------------------------

_FATES: list[tuple[int | None, str, str, str]] = [
    (250, "body", "done", "The server has the letter. Another try would be a second copy."),
    (550, "RCPT", "bounce", "Tomorrow the answer would be the same, and the sender would never hear of it."),
    (450, "RCPT", "retry", "A mailbox that was locked for a minute would lose a letter."),
    (571, "RCPT", "bounce", "You do not know 571? Its first digit you know."),
    (471, "DATA", "retry", "You do not know 471? Its first digit you know."),
    (452, "body", "retry", "The server has no room today."),
    (554, "body", "bounce", "The server will not have this letter."),
    (552, "body", "bounce", "The letter is too large, and will be tomorrow."),
    (552, "RCPT", "retry", "An old server says 552 where it means 452, too many recipients: the others would be lost."),
    (250, "RCPT", "retry", "\"I would\" is not \"I have\": the body was never taken, and nobody would send it again."),
    (250, "DATA", "retry", "A 2yz to DATA is nonsense; no letter was handed over."),
    (354, "body", "retry", "A 3yz to the body is nonsense; nobody said that the letter was taken."),
    (421, "RCPT", "retry", "The server is leaving, and says nothing about the letter."),
    (None, "body", "retry", "Nobody knows whether the server has the letter. Rather twice than never."),
    (None, "RCPT", "retry", "The line broke: that counts as 451."),
]


@check(
    hints=(
        "Which single reply takes the letter off your hands?",
        'Only a 2yz to the body is "done"; a 5yz is "bounce", but for 552 to RCPT; the rest is "retry".',
        "Only a 2yz to the body says that the server has taken the letter. A 5yz says that trying again will not "
        "help, so the sender must be told; everything else means not now, or nobody knows, so try again. One 5yz "
        "is an exception: RFC 5321 §4.5.3.1.10 reads 552 to RCPT as too many recipients for this transaction.",
    ),
    passed="Nobody loses a letter, and nobody waits for ever.",
)
def check_fate(my_fate: Callable[[Reply | None, str], Any]) -> Iterator[Problem]:
    """What becomes of one recipient after the last reply about them."""
    for code, command, fate, why in _FATES:
        given = my_fate(Reply(code, "") if code else None, command)
        if given is ...:
            raise NotYet('return "done", "retry" or "bounce".')
        if as_word(given) not in ("done", "retry", "bounce"):
            yield Problem(gave=f"{given!r} for {code or 'a line that broke'}, the answer to {command}",
                          wire="The queue knows three words.", look='"done", "retry" or "bounce", on every path.')
        if as_word(given) != fate:
            yield Problem(gave=f"{given!r} for {code or 'a line that broke'}, the answer to {command}",
                          wire=why, look="RFC 5321 §4.2.1 for the digits, §3.8 for broken lines, §4.5.3.1.10 for 552.")


# --- more people than fit ------------------------------------------------------------------------------------------


def small_server(room: int, body: str, log: list[list[str]]) -> Talk:
    """A server with room for so many recipients in a transaction; leaves after ten transactions."""
    yield b"220 small.example\r\n"
    taken: list[str] = []
    with suppress(Disconnected):
        while True:
            line = (yield Line()).decode()
            if line.startswith("MAIL"):
                taken = []
                if len(log) == 10:
                    return
                log.append(taken)
                yield b"250 ok\r\n"
            elif line.startswith("RCPT") and "nobody" in line:
                yield b"550 nobody of that name\r\n"
            elif line.startswith("RCPT") and "locked" in line:
                yield b"450 the mailbox is locked\r\n"
            elif line.startswith("RCPT") and len(taken) >= room:
                yield b"452 too many recipients\r\n"
            elif line.startswith("RCPT"):
                taken.append(line.partition("<")[2].rstrip(">"))
                yield b"250 ok\r\n"
            elif line == "DATA" and taken:
                yield b"354 go on\r\n"
                while (yield Line()) != b".":
                    pass
                yield body.encode() + b"\r\n"
            else:
                yield b"250 ok\r\n" if line in ("RSET", "QUIT") else b"503 not now\r\n"


@check(
    hints=(
        "After which transactions would another one find more room than this one did?",
        "waiting = [a for a, r in receipt.refused.items() if r.code == 452 and receipt.accepted]",
        "Somebody who got 452 fits into another transaction only if this one made room, which means that it "
        "accepted somebody. So after each transaction keep those who got 452, and only if somebody was accepted in "
        "it. When nobody was accepted, another try would get the same answer, and the loop must end.",
    ),
    passed="Everybody who fits has the letter once, and the loop ends.",
)
def check_split(my_split: Callable[[Envelope, list[bytes]], Talk]) -> Problem | None:
    """Further transactions for those who got 452."""
    people = [f"{name}@tokyo.example" for name in ("yui", "kenji", "nobody", "locked", "sora", "mei", "ren")]
    letter = Envelope("ana@rio.example", list(people))
    got_it = "250 got it"
    for room, body, rounds in ((10, got_it, 1), (2, got_it, 3), (0, got_it, 1), (2, "452 no room", 1)):
        log: list[list[str]] = []
        replies, error, _ = play(my_split(letter, [b"Monday, 8 pm.\r\n"]), small_server(room, body, log))
        if isinstance(error, TypeError) and log:
            raise NotYet("say who is to be tried again.")
        what = f"a server with room for {room}, which says {body!r} to the body"
        if len(log) == 10:
            return Problem(gave=f"a client that never stops asking {what}", wire="MAIL, RCPT, 452, MAIL, RCPT, 452, …",
                           look="When does another transaction promise more than this one did?")
        if error or not isinstance(replies, dict) or set(replies) != set(people):
            return Problem(gave=f"{described(replies, error)} from {what}",
                           wire="Somebody's fate is unknown.", look="Return the last reply for each address.")
        got = [person for group in log for person in group]
        if len(log) != rounds or len(got) != len(set(got)):
            return Problem(gave=f"{len(log)} transaction{'s' * (len(log) > 1)} with {what}",
                           wire=f"{rounds} would do, and nobody should be in two of them.",
                           look="Who is left after the first one, and would they fit into the next?")
        done = {person for person, reply in replies.items() if reply.positive}
        if done != (set(got) if body.startswith("2") else set()):
            return Problem(gave=f"{sorted(done)} as those who have the letter", wire=f"The server has it for {got}.",
                           look="The reply of the last transaction is the one that counts.")
    return None

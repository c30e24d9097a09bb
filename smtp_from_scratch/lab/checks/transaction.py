"""The checks of `transaction`: a client that asks what is offered, plans what it says, and knows what replies mean."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from smtp_from_scratch import transaction as ours
from smtp_from_scratch.client import Receipt, SMTPNotSupportedError
from smtp_from_scratch.conversation import Conversation, read_reply
from smtp_from_scratch.ehlo import EightBitMime, Extension, Size
from smtp_from_scratch.envelope import Envelope, stuff
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, as_word, check
from smtp_from_scratch.lab.checks.client import described, dots, kinds, play, slip
from smtp_from_scratch.lab.wires.scripted import scripted
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.wire import Reply

Talk = Generator[Any, Any, Any]
YUI, KENJI = "yui@tokyo.example", "kenji@tokyo.example"
LETTER = [b"Subject: Choir\r\n\r\nRehearsal moved\r\n", b".to Monday, 8 pm.\r\n"]


def new_plan(*recipients: str) -> ours.Plan:
    """A plan that was made and not said yet."""
    envelope = Envelope("ana@rio.example", list(recipients or (KENJI, YUI)))
    return ours.Plan(ours.ClientSession("rio.example"), ours.OutgoingMessage(envelope, LETTER))


def known(plan: ours.Plan) -> dict[str, Any]:
    """What a plan knows of its message by now."""
    receipt: Receipt = plan.receipt
    return {"receipt.accepted": receipt.accepted, "receipt.refused": receipt.refused,
            "receipt.refused_by": receipt.refused_by, "receipt.reply": receipt.reply,
            "receipt.recipients": receipt.recipients, "client.open": plan.client.open}


def blank(value: object) -> bool:
    """Whether this is still what the stub has put there."""
    return value is None or value is ...


def differs(mine: ours.Plan, theirs: ours.Plan, what: str, look: str) -> Problem | None:
    """The first thing that one plan knows otherwise than the other."""
    for name, value in known(theirs).items():
        if known(mine)[name] != value:
            return Problem(gave=f"{name} = {known(mine)[name]!r} after {what}", wire=f"It should be {value!r}.",
                           look=look if name != "client.open" else
                           "`plan.client.open`: after this reply, does the server hold a MAIL of ours?")
    return None


# --- your turn: hello ------------------------------------------------------------------------------------------------

_HELLOS = [("250-mx\r\n250-SIZE 1000\r\n250 8BITMIME",), ("250 mx",), ("500 what?", "250 mx"), ("502 no", "250 mx"),
           ("550 no", "550 no"), ("451 later",), ("421 leaving",), ("500 what?", "450 later"), ("354 odd",)]


@check(
    hints=(
        "Which first digit of the reply to EHLO says that another word may help?",
        "elif reply.permanent: reply = yield from client.command(\"HELO\", client.hostname)",
        "Say EHLO; after a 2yz, learn what it offers. After a 5yz the server may be of 1982, so say HELO, and learn "
        "nothing. If the last reply is not 2yz, raise SMTPHeloError with it.",
    ),
    passed="One question, one list; and HELO for those who never heard of EHLO.",
)
def check_hello(my_hello: Callable[[Any], Talk]) -> Iterator[Problem | None]:
    """EHLO, and HELO where that is not understood."""
    for script in _HELLOS:
        sides = []
        for function in (my_hello, ours.hello):
            name = "lima.example" if script == ("250 mx",) else "rio.example"
            client = ours.ClientSession(name, (Size(), EightBitMime()))
            client.learn({"SIZE": "7"})            # what was offered before, by somebody else perhaps
            sides.append((client, *play(function(client), scripted("220 hi", *script))))
        (mine, reply, error, said), (theirs, expected, trouble, words) = sides
        what = " / ".join(script).replace("\r\n", " / ")
        if reply is ... or (reply is None and not error and not said):
            raise NotYet("say EHLO, and look at the reply.")
        yield slip(error)
        if said != words:
            yield Problem(gave=f"a client that says {dots(said)} to {what}", wire=f"It should say {dots(words)}",
                          look="`client.hostname` is its name." if said and said[0] != words[0] else
                          "5yz means: not like this. 4yz means: not now, whatever the words.")
        if trouble and type(trouble).__name__ not in kinds(error):
            yield Problem(gave=f"{described(reply, error)} for {what}", wire="The session cannot begin.",
                          look="`raise SMTPHeloError(reply, \"EHLO\")`; a 421 is raised for you.")
        if not trouble and (error or reply != expected):
            yield Problem(gave=f"{described(reply, error)} for {what}", wire="That was a welcome.",
                          look="Return the reply that welcomed you.")
        if mine.offered != theirs.offered:
            yield Problem(gave=f"offered: {mine.offered} after {what}", wire=f"It should be {theirs.offered}.",
                          look="`client.learn(read_offers(reply))` after EHLO's 2yz; before it, `client.learn({})`.")


# --- your turn: what a reply means -----------------------------------------------------------------------------------


@check(
    hints=(
        "Does the server hold a MAIL of ours after a 250? And after a 451?",
        "refuse_rest(plan.receipt, \"MAIL\", reply, plan.message.envelope.recipients)",
        "`client.open` is whether the server holds our MAIL: yes after a 2yz, no after anything else. Without a 2yz "
        "nobody will get the message. So the reply is the last word about every recipient, and `refused_by` is MAIL.",
    ),
    passed="A MAIL that was accepted is open; one that was not is a refusal for everybody.",
)
def check_settle_mail(my_settle_mail: Callable[[Any, Reply], Any]) -> Iterator[Problem]:
    """What the reply to MAIL means."""
    for code in (250, 251, 550, 451, 354):
        mine, theirs = new_plan(), new_plan()
        mine.client.open = theirs.client.open = code == 451
        done = my_settle_mail(mine, Reply(code))
        if done is ... or blank(mine.client.open) or (code == 250 and known(mine) == known(new_plan())):
            raise NotYet("note in `plan.client.open`, and in the receipt, what the reply means.")
        ours.settle_mail(theirs, Reply(code))
        if problem := differs(mine, theirs, f"{code} to MAIL", "`reply.positive`, and `refuse_rest` for everybody."):
            yield problem


SORA = "sora@tokyo.example"
# the reply to MAIL, and those to RCPT; the message is for Kenji and Yui, and for Sora where she is named
_RCPTS: list[tuple[int, list[tuple[str, int]]]] = [
    (250, [(KENJI, 250), (YUI, 550)]), (250, [(KENJI, 550), (YUI, 450)]), (250, [(KENJI, 550)]), (250, [(YUI, 251)]),
    (250, [(KENJI, 550), (YUI, 250)]), (550, [(KENJI, 250)]), (550, [(KENJI, 503), (YUI, 503)]),
    (250, [(KENJI, 550), (YUI, 550), (SORA, 250)]), (250, [(SORA, 550), (KENJI, 450), (YUI, 550)]),
]


@check(
    hints=(
        "When do you know that nobody is left, and how many replies must be in by then?",
        "if len(receipt.recipients) == plan.recipient_count and not receipt.accepted: receipt.refused_by = \"RCPT\"",
        "Keep the reply for its recipient. When all replies are in and nobody was accepted, RCPT has ended it. And "
        "once the plan has failed, at MAIL for instance, a reply to RCPT changes nothing any more.",
    ),
    passed="Each reply for the one it is about, and the last refusal ends it.",
)
def check_settle_rcpt(my_settle_rcpt: Callable[[Any, str, Reply], Any]) -> Iterator[Problem]:
    """What the reply to RCPT means."""
    for mail, replies in _RCPTS:
        people = {KENJI, YUI, *dict(replies)}
        mine, theirs = new_plan(*sorted(people)), new_plan(*sorted(people))
        for plan in (mine, theirs):
            ours.settle_mail(plan, Reply(mail))
        what = f"{mail} to MAIL"
        for recipient, code in replies:
            if my_settle_rcpt(mine, recipient, Reply(code)) is ...:
                raise NotYet("note the reply in the receipt.")
            ours.settle_rcpt(theirs, recipient, Reply(code))
            what += f", {code} for {recipient}"
        if mail == 250 and not mine.receipt.recipients:
            raise NotYet("keep each reply: `plan.receipt.recipients[recipient] = reply`.")
        what += f"; the message is for {len(people)}"
        look = ("A failed plan stays as it is: `plan.failed`." if mail != 250 else
                "RCPT has ended it when all `plan.recipient_count` replies are in and nobody was accepted.")
        if problem := differs(mine, theirs, what, look):
            yield problem


@check(
    hints=(
        "Whose reply does this become, and who keeps the one they had?",
        "receipt.recipients |= dict.fromkeys(receipt.accepted, reply); receipt.reply = reply",
        "After the text the transaction is over, and the server holds no MAIL of ours. A 2yz becomes the reply of "
        "everybody who was accepted, and any other reply refuses them, at the body. Those who were refused before "
        "keep their reply, and when the plan has failed, nothing changes.",
    ),
    passed="The reply to the body is the last word about those who were accepted, and about nobody else.",
)
def check_settle_body(my_settle_body: Callable[[Any, Reply], Any]) -> Iterator[Problem]:
    """What the reply to a whole body means."""
    for yui, code in ((250, 250), (550, 250), (550, 251), (550, 552), (250, 450), (550, 354), (0, 250), (0, 554)):
        mine, theirs = new_plan(), new_plan()
        for plan in (mine, theirs):
            ours.settle_mail(plan, Reply(250))
            ours.settle_rcpt(plan, KENJI, Reply(250 if yui else 550))
            ours.settle_rcpt(plan, YUI, Reply(yui or 550))
        before = known(mine)
        done = my_settle_body(mine, Reply(code, "text"))
        if done is ... or blank(mine.client.open) or (yui and known(mine) == before):
            raise NotYet("note in the receipt what the reply means, and that the server holds no MAIL of ours.")
        ours.settle_body(theirs, Reply(code, "text"))
        what = f"{250 if yui else 550} for Kenji, {yui or 550} for Yui, {code} to the body"
        if problem := differs(mine, theirs, what, "`receipt.accepted` names those whom the reply is about; "
                                  "`receipt.reply` keeps it."):
            yield problem


# --- your turn: data -------------------------------------------------------------------------------------------------


def say(command: Any) -> list[str]:
    """The lines of a planned command and its octets."""
    octets = (command.line() if command.verb else b"") + b"".join(command.octets())
    return octets.decode().split("\r\n")[:-1]


def step_through(plan: ours.Plan, steps: Any, replies: tuple[int, ...],
                 fails_after: int | None = None) -> tuple[list[str], list[Any]]:
    """What is said when the commands get these replies; and the commands."""
    said, commands = list[str](), list[Any]()
    for number, command in enumerate(steps):
        if number >= len(replies):
            return [*said, "…"], commands
        if not hasattr(command, "octets"):
            raise NotYet(f"yield each step as a `PlannedCommand`; {command!r} is not one.")
        said += say(command)
        commands.append(command)
        if replies[number]:
            command.answer(Reply(replies[number], "text"))
        if number == fails_after:
            plan.receipt.refused_by = "RCPT"
    return said, commands


_DATAS: list[tuple[tuple[int, ...], int | None, str]] = [
    ((354, 250), None, "354 and 250"), ((334, 552), None, "334 and 552"), ((451,), None, "451 to DATA"),
    ((250,), None, "250 to DATA, which invites nobody"), ((354, 554), 0, "354, after which the last RCPT is refused"),
]


@check(
    hints=(
        "When the server says 354 and nobody is left, what must it still hear?",
        "yield PlannedCommand(\"\", octets=lambda: stuff(() if plan.failed else plan.message.body), …)",
        "If the plan has failed by now, plan nothing. Otherwise yield DATA, and look at its reply: only a 3yz lets the "
        "text follow, as a command with no verb. When the plan fails between the two, the server still waits for a "
        "text, so it gets an empty one: the lone dot.",
    ),
    passed="DATA, then the text if it is wanted, and a lone dot where it is wanted and nobody is left.",
)
def check_data(my_data: Callable[[Any], Any]) -> Iterator[Problem]:
    """DATA and the text, as planned commands."""
    failed = new_plan()
    failed.receipt.refused_by = "MAIL"
    if not isinstance(steps := my_data(failed), Iterable):
        raise NotYet("yield the commands, one after another.")
    first = next(iter(steps), None)
    for replies, fails_after, what in _DATAS:
        sides = []
        for function in (my_data, ours.data):
            plan = new_plan()
            ours.settle_mail(plan, Reply(250))
            ours.settle_rcpt(plan, KENJI, Reply(250))
            ours.settle_rcpt(plan, YUI, Reply(550))
            sides.append((plan, *step_through(plan, function(plan), replies, fails_after)))
        (mine, said, commands), (theirs, expected, _) = sides
        if said != expected:
            if not said or said == ["DATA"] and replies == (354, 250):
                raise NotYet("yield DATA, and then the text, as a command without a verb.")
            yield Problem(gave=f"a client that says {dots(said)} for {what}", wire=f"It should say {dots(expected)}",
                          look="A 3yz to DATA invites the text; `stuff(())` is the lone dot.")
        if commands[0].may_fly:
            yield Problem(gave="a DATA that may fly", wire="The text would leave before the 354.",
                          look="Leave `may_fly` of DATA as it is.")
        if problem := differs(mine, theirs, what, "`settle=partial(settle_data, plan)`, and settle_body for the text."):
            yield problem
    if first is not None:
        yield Problem(gave=f"{first.verb or 'a text'} for a plan that has failed", wire="503: there is no recipient.",
                      look="Look at `plan.failed` first.")


# --- your turn: leave ------------------------------------------------------------------------------------------------

# the replies that come, how many commands wait before QUIT, what `leave` returns, and what this is about
_GOODBYES: list[tuple[tuple[str, ...], int, int | str | None, str]] = [
    (("221 bye",), 0, 221, "221"), (("500 what?",), 0, 500, "500 to QUIT"), ((), 0, None, "a line that breaks"),
    (("421 leaving",), 0, None, "421 to QUIT"), (("bye?",), 0, None, "nonsense to QUIT"),
    (("250 kept", "221 bye"), 1, 221, "250 to the text, then 221"),
    (("250 kept",), 1, None, "250 to the text, then a line that breaks"),
    ((), 1, "raises", "a line that breaks before the text was answered"),
    (("421 leaving",), 1, "raises", "421 to the text"),
    (("kept?",), 1, "raises", "nonsense to the text"),
]


def leaving(my_leave: Callable[[Any], Talk], pending: int) -> Conversation[Any]:
    """A session at its end: so many commands were said and not answered yet, then the goodbye."""
    client = ours.ClientSession("rio.example")
    client.extensions = (Pipelining(),)
    client.learn({"PIPELINING": ""})
    for _ in range(pending):
        yield from client.send(ours.PlannedCommand("NOOP", may_fly=True))
    if not isinstance(goodbye := my_leave(client), Generator):
        raise NotYet("say QUIT by `yield from client.send(…)`.")
    return (yield from goodbye)


def wrong_goodbye(reply: Any, error: Exception | None, expected: int | str | None, what: str) -> Problem | None:
    """What is wrong with the way in which a session ended."""
    gave = f"{described(reply, error)} for {what}"
    if expected == "raises":
        return None if error else Problem(
            gave=gave, wire="Nobody knows whether the server has the message, and nobody is told.",
            look="Look at `client.unanswered`: QUIT is not the only one there.")
    if error or getattr(reply, "code", None) != expected:
        return Problem(gave=gave, wire="Every message of this session has its reply.",
                       look="Return the reply to QUIT, or None when none came.")
    return None


@check(
    hints=(
        "Which command had no answer yet when the line broke: QUIT, or one before it?",
        "if client.unanswered and client.unanswered[0] is not goodbye: raise",
        "Say QUIT as a planned command and return its reply. If QUIT is the only command without an answer, an "
        "exception does no harm. If another one waits for its reply, a receipt depends on it, so let the exception "
        "pass.",
    ),
    passed="A goodbye gone wrong changes no receipt, and nothing else is covered up.",
)
def check_leave(my_leave: Callable[[Any], Talk]) -> Iterator[Problem | None]:
    """QUIT, after what was not answered yet."""
    for script, pending, expected, what in _GOODBYES:
        reply, error, said = play(leaving(my_leave, pending), scripted("220 hi", *script))
        yield slip(error)
        if reply is ... or (not error and len(said) <= pending):
            raise NotYet("say QUIT by `client.send`.")
        yield wrong_goodbye(reply, error, expected, what)
        waiting = ["NOOP"] * pending
        if said != [*waiting, "QUIT"] and (expected != "raises" or said != waiting):
            yield Problem(gave=f"a client that says {dots(said)}", wire="One QUIT.", look="`PlannedCommand(\"QUIT\")`")


# --- exercise 1: what is said next -----------------------------------------------------------------------------------

_NEXT: dict[str, tuple[str | None, str, str]] = {
    "A": ("HELO rio.example", "The server does not know that word.", "Which word did servers know in 1982?"),
    "B": ("DATA", "Kenji was accepted, and gets no letter.", "Is there somebody who may still get it?"),
    "C": ("RSET", "The second letter does not get through.", "Does the server still hold the first MAIL?"),
    "D": ("QUIT", "No letter is left to say this for.", "What does a client say when it has nothing more to send?"),
    "E": ("MAIL FROM:<ana@rio.example>", "The second letter waits in vain, or a round trip longer than it must.",
          "The text was refused. Does the server still hold the first MAIL?"),
    "F": ("RSET", "The second letter does not get through.", "No text was sent. Who has ended the transaction?"),
    "G": (None, "Nobody hears that.", "What does a server do after it has said 421?"),
}


def without_spaces(line: Any) -> str:
    """A command as it would be without any space in it, to find the one that is too many."""
    return spelled(line).replace(" ", "") if isinstance(line, str | bytes) else ""


def spelled(line: str | bytes) -> str:
    """A command with its verb in capitals, without its line end; what is in angle brackets stays as it is."""
    text = line.decode("ascii", "replace") if isinstance(line, bytes) else line
    words, bracket, path = text.strip().partition("<")
    return words.upper() + bracket + path


@check(
    hints=(
        "For each row: does the server hold a MAIL now, and may somebody still get the letter?",
        'C: "RSET", since the server holds a MAIL that is good for nobody.',
        "DATA comes when somebody was accepted. When nobody was, the letter is over, but the server holds its MAIL "
        "until RSET or QUIT. The reply to the text ends the transaction, whatever it says; a refused DATA does not. "
        "And after 421 nobody is there.",
    ),
    passed="You know what the server holds after each reply, and so what comes next.",
)
def check_next(my_next: dict[str, Any]) -> Iterator[Problem]:
    """The line that our client says after each reply."""
    for name, (expected, wire, look) in _NEXT.items():
        if my_next.get(name, ...) is ...:
            raise NotYet(f"a line (or None) for `{name}` is missing.")
        said = None if as_word(my_next[name]) is None else my_next[name]
        if said is None or expected is None:
            good = said is expected
        else:
            good = isinstance(said, str | bytes) and spelled(said) == spelled(expected)
        if not good and expected and without_spaces(said) == without_spaces(expected):
            wire, look = "501: no space stands after the colon.", "Take the space out, the rest is right."
        if not good:
            yield Problem(gave=f"{my_next[name]!r} in session {name}", wire=wire, look=look)


# --- exercise 2: bugs ------------------------------------------------------------------------------------------------

_BUGS = {                                      # the line, a question, and all lines that the client says
    "A": (6, "After HELO nothing is offered, whatever the server of yesterday said.", (2, 4, 6)),
    "B": (7, "What did the 452 say about this letter, and what does the server hold?", (2, 5, 7)),
    "C": (6, "Which keyword would allow that parameter, and is it in the list?", (2, 6)),
    "D": (9, "Nobody will get the first letter. Does the server hold a MAIL?", (2, 5, 7, 9)),
}


@check(
    hints=(
        "In which line does the client say something that the server's words have not allowed?",
        "A: the session began with HELO, so MAIL has a path and nothing else.",
        "Keep two things in mind while you read: what the last reply to EHLO or HELO has offered, and whether the "
        "server holds a MAIL. A parameter needs its keyword in the offer. RCPT and DATA need an open MAIL, and a "
        "second MAIL needs that the first is closed.",
    ),
    passed="All four: a client says what was offered, and knows what the server holds.",
)
def check_plan_bugs(my_bugs: dict[str, Any]) -> Iterator[Problem]:
    """The line in each transcript that the client should not have said."""
    for name, (number, question, its_lines) in _BUGS.items():
        if not isinstance(line := as_number(my_bugs.get(name)), int):
            raise NotYet(f"the number of a line for `{name}` is missing.")
        if line != number:
            yield Problem(gave=f"line {line} of session {name}", wire="Nothing is wrong with that line."
                          if line in its_lines else "The client does not say that line.", look=question)


# --- exercise 3: DELIVERBY -------------------------------------------------------------------------------------------

_BY: list[tuple[int, dict[str, str], str | None]] = [
    (3600, {"DELIVERBY": ""}, "3600;R"), (3600, {"DELIVERBY": "1800"}, "3600;R"),
    (3600, {"DELIVERBY": "3600"}, "3600;R"), (3600, {"DELIVERBY": "7200"}, None),
    (120, {"DELIVERBY": "soon"}, "120;R"), (120, {"DELIVERBY": "60,X-NEW"}, "120;R"),
    (30, {"DELIVERBY": "60,X-NEW"}, None),
]


@check(
    hints=(
        "Where does a plan keep the parameters of MAIL, and who knows what the server's line said?",
        "plan.mail.parameters[\"BY\"] = f\"{self.seconds};R\"",
        "`plan.client.offered[\"DELIVERBY\"]` is what followed the keyword: a number, nothing, or words that you do "
        "not know. If it is a number above your seconds, raise SMTPNotSupportedError. Otherwise put BY among the "
        "parameters of MAIL, and touch nothing else.",
    ),
    passed="Said where it is offered, and kept back where the server is too slow.",
)
def check_deliver_by(MyDeliverBy: Callable[[int], Any]) -> Iterator[Problem]:
    """A client's half of DELIVERBY."""
    if getattr(MyDeliverBy, "plan", None) in (None, Extension.plan) or not getattr(MyDeliverBy, "keyword", ""):
        raise NotYet("give it its keyword, and a method `plan(self, plan)`.")
    for seconds, offered, expected in _BY:
        client = ours.ClientSession("rio.example", (MyDeliverBy(seconds),))
        client.learn(offered)
        what = f"{seconds} seconds and a server that says DELIVERBY {offered['DELIVERBY']}".rstrip()
        try:
            plan = ours.Plan(client, ours.OutgoingMessage(Envelope("ana@rio.example", [KENJI]), []))
            said = plan.mail.line().decode().strip()
        except SMTPNotSupportedError as error:
            if expected:
                yield Problem(gave=f"SMTPNotSupportedError: {error} for {what}", wire="The server would take it.",
                              look="Only a number can be too large; a comma may follow it.")
            continue
        if expected is None:
            yield Problem(gave=f"{said} for {what}", wire="The server refuses what must be there sooner.",
                          look="Compare the number in the offer with `self.seconds`.")
        elif said != f"MAIL FROM:<ana@rio.example> BY={expected}":
            yield Problem(gave=f"{said} for {what}", wire=f"It should say BY={expected}, on MAIL.",
                          look="`plan.mail.parameters`, a dictionary of names and values.")
        if any(plan.recipients.values()):
            yield Problem(gave="a parameter on RCPT", wire="501: BY belongs to MAIL.", look="Leave `plan.recipients`.")
    yield from problems_beside_others(MyDeliverBy)


def problems_beside_others(MyDeliverBy: Callable[[int], Any]) -> Iterator[Problem]:
    """What becomes of SIZE, and of a server that offers SIZE alone."""
    client = ours.ClientSession("rio.example", (Size(), MyDeliverBy(60)))
    client.learn({"SIZE": "", "DELIVERBY": ""})
    said = ours.Plan(client, ours.OutgoingMessage(Envelope("ana@rio.example", [KENJI]), [], 9)).mail.line().decode()
    if "SIZE=9" not in said:
        yield Problem(gave=f"{said.strip()} from a client that has SIZE, too", wire="The size is not said any more.",
                      look="Add to `plan.mail.parameters`: what another extension has put there stays.")
    client = ours.ClientSession("rio.example", (MyDeliverBy(60),))
    client.learn({"SIZE": ""})
    if ours.Plan(client, ours.OutgoingMessage(Envelope("ana@rio.example", [KENJI]), [])).mail.parameters:
        yield Problem(gave="BY for a server that has not offered it", wire="555: no such parameter.",
                      look="The keyword is DELIVERBY, and a client uses what is offered.")


# --- exercise 4: break the list --------------------------------------------------------------------------------------


def list_client(lines: list[str], body: list[bytes]) -> Conversation[str]:
    """The sketch of the chapter: it says a list, and hears nothing."""
    yield from read_reply()
    for line in lines:
        yield line.encode() + b"\r\n"
        yield from read_reply()
    yield from stuff(body)
    yield from read_reply()
    return "sent"


def with_a_plan(messages: int, receipts: list[Receipt]) -> Conversation[None]:
    """Our client with a letter for Yui."""
    client = ours.ClientSession("rio.example", (Size(),))
    yield from ours.open_session(client)
    plan = ours.Plan(client, ours.OutgoingMessage(Envelope("ana@rio.example", [YUI]), LETTER))
    receipts.append(plan.receipt)
    yield from plan.run()


@check(
    hints=(
        "Which replies does the list client read and not look at? All of them.",
        "[\"250 mx\", \"250 ok\", \"550 no Yui\", \"503 RCPT first\", …]: count what is said after that.",
        "The list client says `sent` whatever it hears. So any honest server that refuses something will do, as long "
        "as it answers each line that it hears. After a refused DATA the text is commands to it, one reply each.",
    ),
    passed="The list client says `sent`, the plan says no, and the server has told both of them the truth.",
)
def check_script(my_script: list[str]) -> Iterator[Problem]:
    """Replies at which a client that does not listen tells a lie."""
    replies = [str(reply) for reply in my_script]
    if not all(len(reply) >= 3 and reply[:3].isdigit() and reply[3:4] in ("", " ") for reply in replies):
        yield Problem(gave=f"{my_script}", look="A list of replies, each three digits, a space and a text.")
    lines = ["EHLO rio.example", "MAIL FROM:<ana@rio.example>", f"RCPT TO:<{YUI}>", "DATA"]
    data = replies[3] if len(replies) > 3 else ""
    if not replies or replies[0][0] != "2":
        yield Problem(gave="a server that refuses EHLO", wire="A plan says HELO then: the two clients part too early.",
                      look="Let the session begin: `250 mx`.")
    if len(replies) >= 5 and data[:1] == "3" and replies[4][:1] == "2":
        yield Problem(gave=f"a server that says {replies[4]!r} to the text",
                      wire="Then the letter is there, and `sent` is true.", look="Somewhere the server has to refuse.")
    result, error, _ = play(list_client(lines, LETTER), scripted("220 hi", *replies), greeted=False)
    if error or result != "sent":
        yield Problem(gave=f"a script at which the list client does not say `sent`: {described(result, error)}",
                      wire="It reads a reply to each of its four lines, and one after the text.",
                      look="After a 3yz the text has one reply. After any other, each of its lines is a command.")
    receipts: list[Receipt] = []
    _, error, _ = play(with_a_plan(1, receipts), scripted("220 hi", *replies), greeted=False)
    if receipts and receipts[0].accepted and receipts[0].reply:
        yield Problem(gave="a script at which the plan says that Yui has the letter", look="Refuse something.")



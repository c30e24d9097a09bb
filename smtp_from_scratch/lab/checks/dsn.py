"""The checks of `dsn`: NOTIFY, who is told, who leaves the list, FUTURERELEASE, LMTP."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from smtp_from_scratch.client import SMTPNotSupportedError
from smtp_from_scratch.conversation import Conversation, read_reply, rehearse
from smtp_from_scratch.dsn import Dsn, build_report, request
from smtp_from_scratch.ehlo import ClientSession, ExtendedSession, Extension, Letter, Offer, deliver, serve_extended
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.lab.figures.conformity import PASSED, dialogues
from smtp_from_scratch.wire import Reply

ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"

# --- your turn: notify -----------------------------------------------------------------------------------------------

GOOD: dict[str, set[str]] = {
    "SUCCESS": {"SUCCESS"}, "FAILURE,DELAY": {"FAILURE", "DELAY"}, "delay,Success": {"DELAY", "SUCCESS"},
    "SUCCESS,FAILURE,DELAY": {"SUCCESS", "FAILURE", "DELAY"}, "NEVER": set(), "never": set(),
}
BAD = {
    "NEVER,SUCCESS": "Never, and when it arrives: what shall the server do?",
    "FAILURE,NEVER": "Never, and when it fails: what shall the server do?",
    "SUCCESS,,DELAY": "Between two commas stands no word.", "NEVER,NEVER": "NEVER stands alone, and once.",
    "ALWAYS": "There are three events.", "SUCCESS,ALWAYS": "One bad word spoils the list.",
    "": "A parameter without a value asks for nothing, and not even for NEVER.",
    "SUCCESS DELAY": "A space ends a parameter; commas separate the events.",
}


@check(
    hints=(
        "Split the value at its commas, in upper case. Which one list is allowed besides those of the events?",
        'words = value.upper().split(","), and raise ValueError unless set(words) <= {"SUCCESS", …}',
        "NOTIFY is a list of words with commas between them, in any case of letters. The words are SUCCESS, "
        "FAILURE and DELAY in any combination, or NEVER, which stands alone. An empty word is not among them, so "
        "two commas in a row are an error, too.",
    ),
    passed="Three events in any combination, or NEVER, alone.",
)
def check_notify(my_notify: Callable[[str], Any]) -> Problem | None:
    """The events that NOTIFY asks for."""
    for value, events in GOOD.items():
        try:
            found = my_notify(value)
        except ValueError as error:
            return Problem(gave=f"ValueError for {value!r}: {error}",
                           wire="A good value is never refused (RFC 3461 §5.1).",
                           look="The words may be written in any mixture of upper and lower case.")
        if found is None:
            raise NotYet(f"return the set of events for {value!r}.")
        if set(found) != events:
            return Problem(gave=f"{found!r} for {value!r}",
                           wire=f"Ana asked for {sorted(events) or 'nothing, ever'}.",
                           look="A set of the words in upper case; for NEVER, an empty one.")
    for value, why in BAD.items():
        try:
            found = my_notify(value)
        except ValueError:
            continue
        return Problem(gave=f"{found!r} for {value!r}", wire=why, look="Raise ValueError.")
    return None


# --- exercise 1: who is told -----------------------------------------------------------------------------------------


def told(notify: str, reply: Reply, sender: str = ANA, **facts: Any) -> str | None:
    """What the module reports."""
    envelope = request(Envelope(sender, [YUI]), notify=notify)
    report = build_report(envelope, {YUI: reply}, b"", "relay.rio.example", **facts)
    return report["Subject"].rpartition(" ")[2] if report else None


NO, LATER, OK = Reply(550, "no"), Reply(452, "full"), Reply(250, "ok")
TOLD: dict[str, tuple[str | None, str]] = {
    "A": (told("", NO), "Without NOTIFY it is as in 1982."),
    "B": (told("SUCCESS", NO), "NOTIFY names all the events that Ana wants to hear of. Is this one among them?"),
    "C": (told("SUCCESS", OK, success="relayed"), "Nobody behind this host will ever report. Has it been delivered?"),
    "D": (None, "The next host has heard the same wish. Who reports: one of them, or both?"),
    "E": (told("FAILURE", LATER), "4yz is not a failure yet. Which word would ask for news of a delay?"),
    "F": (told("FAILURE", LATER, give_up=True), "There will be no further attempt. What is a 4yz then?"),
    "G": (told("FAILURE", NO, sender=""), "To whom would the report go?"),
    "H": (told("SUCCESS,DELAY", OK), "The journey of the envelope ends here."),
}


@check(
    hints=(
        "For each: which event is it, was it asked for, and by whom?",
        "Three of the eight are None.",
        "For each letter find the event first: success, failure, delay, or none of them at this host. Then ask "
        "whether NOTIFY named that event, or whether it is one that is reported without NOTIFY. Last, ask whether "
        "somebody else will report it, and whether there is anybody to report to.",
    ),
    passed="You know who is told, what, and by which host.",
)
def check_told(my_told: dict[str, str | None]) -> Iterator[Problem]:
    """The action that is reported, or None."""
    for name, (action, look) in TOLD.items():
        if name not in my_told:
            raise NotYet(f"an answer for {name} is missing.")
        if my_told[name] != action:
            yield Problem(gave=f"{my_told[name]!r} for {name}", wire="RFC 3461 has it otherwise.", look=look)


# --- exercise 2: who leaves ------------------------------------------------------------------------------------------

SENT = {"issue 7, a6F2": [YUI, KENJI, "li@beijing.example", "bo@oslo.example"], "issue 8, Qx19": [YUI, KENJI]}
HOLIDAY = b"From: bo@oslo.example\r\nSubject: On holiday\r\n\r\nBack in August.\r\n"


def report_on(recipient: str, reply: Reply, envid: str = "issue 7, a6F2", now: str = "", **facts: Any) -> bytes:
    """A report about an issue; `now` is where the recipient's mail is forwarded to."""
    final = now or recipient
    envelope = request(Envelope("news@choir.example", [final]), envid=envid, notify="SUCCESS,FAILURE,DELAY",
                       orcpt={final: recipient})
    report = build_report(envelope, {final: reply}, b"Subject: news\r\n\r\n", "mx.tokyo.example", **facts)
    assert report
    return report.as_bytes()


GONE = Reply(550, "nobody of that name", "5.1.1")
LEAVERS: list[tuple[bytes, set[str], str, str]] = [
    (report_on(YUI, GONE), {YUI}, "a report that Yui's mailbox is gone", "A failure for good: strike her off."),
    (report_on(YUI, GONE, now="y.tanaka@kyoto.example"), {YUI}, "a report about the address that Yui forwards to",
     "`original` is the address as we wrote it; `recipient` is where the letter had come to."),
    (report_on(KENJI, Reply(452, "full", "4.2.2")), set(), "a report that Kenji's letter is delayed",
     "It may still arrive. Which actions end the matter?"),
    (report_on(KENJI, Reply(452, "full", "4.2.2"), give_up=True), set(), "a report that Kenji's mailbox stayed full",
     "Failed, but not for good: what is the first digit of Status?"),
    (report_on(KENJI, Reply(250, "ok", "2.0.0")), set(), "a report that Kenji's letter was delivered",
     "Which of the five actions is bad news?"),
    (report_on(KENJI, GONE, envid="issue 9, 0000"), set(), "a report about an issue that was never sent",
     "Anybody can write such a letter. Is its envelope id one of ours?"),
    (report_on("li@beijing.example", GONE, envid="issue 8, Qx19"), set(), "a report about an issue that Li did not get",
     "Was the recipient among those of that issue?"),
    (HOLIDAY, set(), "a holiday reply", "`parse_report` raises ValueError for what is no report."),
    (report_on(YUI, GONE).replace(b"Final-Recipient", b"X-Recipient"), set(), "a broken report",
     "`parse_report` raises ValueError for it."),
]


@check(
    hints=(
        "Ask three things of each recipient of a report: failed for good? an issue of ours? sent to them?",
        "if about.action == 'failed' and about.status[0] == '5' and address in sent.get(found.envelope_id, ())",
        "Anybody can write a letter that looks like a report, so believe it only if its envelope id is one of "
        "yours and its recipient was on that issue. Strike the address under which you wrote, which is the "
        "original recipient. Do it only for a failure for good, whose status begins with 5, and let a letter that "
        "is no report pass.",
    ),
    passed="Whoever is gone leaves the list, and nobody can be struck off by a stranger.",
)
def check_leavers(my_leavers: Callable[[list[bytes], dict[str, list[str]]], Any]) -> Iterator[Problem]:
    """The addresses to strike."""
    for letter, leave, what, look in LEAVERS:
        found = my_leavers([letter], SENT)
        if found is None:
            raise NotYet("return a set of addresses.")
        if set(found) != leave:
            wire = "A member who is gone is written to for ever." if leave else "A member gets no more news."
            yield Problem(gave=f"{set(found) or 'nobody'} for {what}", wire=wire, look=look)
    everybody = my_leavers([letter for letter, *_ in LEAVERS], SENT)
    if set(everybody) != {YUI}:
        yield Problem(gave=f"{everybody!r} for all of these letters together",
                      look="One letter must not stop the others.")


# --- exercise 3: FUTURERELEASE ---------------------------------------------------------------------------------------

LONGEST, LATEST = 86_400, "2025-06-15T18:00:00Z"
HOLDS = {
    "HOLDFOR=3600": 250, "HOLDFOR=86400": 250, "holdfor=1": 250, "HOLDFOR=86401": 501, "HOLDFOR=0": 501,
    "HOLDFOR=007": 501, "HOLDFOR=-5": 501, "HOLDFOR=1h": 501, "HOLDFOR=²": 501, "HOLDFOR": 501,
    "HOLDFOR=1234567890": 501,
    "HOLDUNTIL=2025-06-14T09:00:00Z": 250, "HOLDUNTIL=2025-06-14T09:00:00-03:00": 250,
    "HOLDUNTIL=2025-06-15T18:00:00Z": 250, "HOLDUNTIL=2025-06-15T18:00:01Z": 501,
    "HOLDUNTIL=2025-06-15T16:00:00-03:00": 501, "HOLDUNTIL=2025-06-14T09:00:00": 501, "HOLDUNTIL=2025-06-14": 501,
    "HOLDUNTIL=tomorrow": 501, "HOLDUNTIL": 501, "HOLDFOR=60 HOLDUNTIL=2025-06-14T09:00:00Z": 501,
    "HOLDUNTIL=2025-06-14T09:00:00Z HOLDFOR=60": 501,
}
WHY = {
    "HOLDUNTIL=2025-06-15T16:00:00-03:00": "16:00 in Rio is 19:00 UTC, an hour later than what is advertised.",
    "HOLDUNTIL=2025-06-14T09:00:00": "Nine o'clock where? A date without Z or an offset is none of RFC 3339.",
    "HOLDUNTIL=2025-06-14": "Nine o'clock where? A date without Z or an offset is none of RFC 3339.",
    "HOLDFOR=²": "`isdigit` is true for a superscript two, `int` raises. RFC 4865 means 0 to 9.",
}


def say(*commands: str) -> Conversation[list[Reply]]:
    """A client that says these, and returns all replies."""
    replies = [(yield from read_reply())]
    for command in commands:
        yield f"{command}\r\n".encode()
        replies.append((yield from read_reply()))
    return replies


def sent(letter: Letter, ours: Extension, theirs: list[Extension]) -> tuple[Any, list[str]]:
    """What a client with the extension makes of a letter, and what it has said."""
    client = ClientSession("laptop.rio.example", (ours,))
    said: list[str] = []
    offer = Offer(theirs)
    try:
        show = rehearse(deliver(client, [letter]), serve_extended(ExtendedSession("mail.rio.example", offer=offer)))
    except SMTPNotSupportedError as error:
        return error, said
    return show.client, [record.data.decode() for record in show.said if record.who == "C"]


@check(
    hints=(
        "Where does an extension see both parameters of one MAIL: in a parameter's function, or in `check`?",
        'datetime.fromisoformat(value).tzinfo is None, or letter.needs.discard("FUTURERELEASE") in `plan`',
        "The function for one parameter sees only its own value, so it can judge HOLDFOR and HOLDUNTIL each alone. "
        "Both at once are seen where the whole command is seen, in `check`. The client's `plan` copies both to "
        "MAIL and crosses off the need; where it is not called, the need stays, and the letter with it.",
    ),
    passed="Both ends of an RFC, on your own, and no session had to be touched.",
)
def check_future(MyFutureRelease: Callable[..., Extension]) -> Iterator[Problem]:
    """An extension of the learner's own, in our sessions."""
    if getattr(MyFutureRelease, "mail_parameters", None) is Extension.mail_parameters:
        raise NotYet("fill in the skeleton: `mail_parameters` first.")
    mine = MyFutureRelease(LONGEST, LATEST)
    offer = Offer([mine])

    def replies(*commands: str) -> list[Reply]:
        session = ExtendedSession("mail.rio.example", offer=offer)
        found: list[Reply] = rehearse(say(*commands), serve_extended(session)).client
        return found

    hello = replies("EHLO laptop.rio.example")[1]
    if f"FUTURERELEASE {LONGEST} {LATEST}" not in hello.lines:
        yield Problem(gave=f"{hello.lines} in the reply to EHLO", wire="A client cannot know how long you would wait.",
                      look=f"`advertise` returns the whole line: FUTURERELEASE {LONGEST} {LATEST}.")
    for parameters, code in HOLDS.items():
        if parameters.isascii():
            reply = replies("EHLO laptop.rio.example", f"MAIL FROM:<{ANA}> {parameters}")[2]
        else:                                  # only with SMTPUTF8 does it come so far
            reply = mine.mail_parameters()["HOLDFOR"](ExtendedSession(offer=offer), "²") or Reply(250)
        if reply.code != code:
            yield Problem(gave=f"{reply} to MAIL FROM:<{ANA}> {parameters}",
                          wire="The letter leaves at another time than Ana said." if code == 501
                               else "Ana's wish is refused.",
                          look=WHY.get(parameters, f"RFC 4865 wants {code} here."))
    if offer.limits["MAIL"] < 512 + 31:
        yield Problem(gave=f"MAIL lines of at most {offer.limits['MAIL']} octets",
                      look="`line_limits`: the parameter needs room.")
    envelope = Envelope(ANA, [YUI], parameters={"HOLDFOR": "3600", "SIZE": "7"})
    outcome, said = sent(Letter(envelope, [b"Monday"], needs={"FUTURERELEASE"}), mine, [mine])
    if isinstance(outcome, Exception):
        yield Problem(gave=f"a client that refuses: {outcome}",
                      look="`plan` says that the need is met: letter.needs.discard(…).")
    if not any(line == f"MAIL FROM:<{ANA}> HOLDFOR=3600\r\n" for line in said):
        mail = next((line for line in said if line.startswith("MAIL")), "no MAIL")
        yield Problem(gave=f"a client that says {mail.strip()!r}", wire="The letter leaves at once.",
                      look="`plan` puts HOLDFOR and HOLDUNTIL, and nothing else, into steps[0].parameters.")
    outcome, said = sent(Letter(Envelope(ANA, [YUI]), [b"Monday"], needs={"FUTURERELEASE"}), mine, [Dsn()])
    if not isinstance(outcome, SMTPNotSupportedError):
        yield Problem(gave="a client that sends the letter to a server without FUTURERELEASE",
                      wire="It arrives on Sunday.", look="Leave the need where it is: `plan` is not called there.")


# --- exercise 4: LMTP ------------------------------------------------------------------------------------------------

REFUSED = "nobody@example.org"


def accept(address: str, envelope: Envelope) -> Reply | None:
    """One recipient is refused."""
    return Reply(550, "nobody of that name here", "5.1.1") if address == REFUSED else None


def one_is_full(envelope: Envelope, body: Any) -> dict[str, Reply]:
    """Yui's mailbox is full."""
    return {address: Reply(452, "the mailbox is full", "4.2.2") if address == YUI else Reply(250, "kept")
            for address in envelope.recipients}


@check(
    hints=(
        "A handler says 354 and returns one reply. What could stand around it, and say that reply once for each?",
        "envelope = session.envelope; reply = yield from data(session, argument); if session.envelope is not "
        "envelope: …, yield one for each of envelope.recipients, return None",
        "The old handlers return one reply, and LMTP wants that reply once for each recipient. So wrap a handler: "
        "remember the envelope, let the old one work, and if the transaction is over then, say a reply for each "
        "recipient in order. A delivery that returns a dictionary has another reply for each.",
    ),
    passed="A sister of SMTP, of the same pieces: every dialogue of RFC 2033 passes.",
)
def check_lmtp(my_lmtp: Callable[..., Conversation[Any]]) -> Iterator[Problem]:
    """RFC 2033's dialogues, and replies that differ."""
    if my_lmtp("store.tokyo.example", lambda envelope, body: None) is None:
        raise NotYet("return a conversation: serve_extended(ExtendedSession(hostname, …)).")

    def server(deliver: Callable[..., Any]) -> Conversation[Any]:
        return my_lmtp("store.tokyo.example", deliver, accept_recipient=accept)

    played = dialogues(lambda: server(lambda envelope, body: None), "rfc2033", refused=REFUSED, lmtp=True)
    for outcome in played.outcomes:
        if outcome.status != PASSED:
            yield Problem(gave=f"“{outcome.dialogue.title}”: {outcome.reason}", wire=outcome.dialogue.asks,
                          look=f"RFC {outcome.dialogue.rfc} {outcome.dialogue.section}; the dialogues are in "
                               "conformance/dialogues/rfc2033.txt.")
    for deliver_, codes, what in (
        (one_is_full, (250, 452, 250), "a delivery for Kenji and Bo, while Yui's mailbox is full"),
        (lambda envelope, body: Reply(554, "a worm", "5.7.1"), (554, 554, 554), "a delivery that refuses the letter"),
        (lambda envelope, body: None, (250, 250, 250), "a delivery that returns None"),
    ):
        found = rehearse(three(), server(deliver_)).client
        if found != codes:
            yield Problem(gave=f"{found} after {what}", wire=f"Each recipient has a reply: {codes}.",
                          look="The replies of `{recipient: Reply}`, in the order of the RCPTs; else the same for all.")


def three() -> Conversation[tuple[int, ...]]:
    """A client that says all it has in two flights, and hears a reply for each of three recipients."""
    yield from read_reply()
    for command in ("LHLO mx.tokyo.example", f"MAIL FROM:<{ANA}>", f"RCPT TO:<{KENJI}>", f"RCPT TO:<{YUI}>",
                    "RCPT TO:<bo@oslo.example>", "DATA"):
        yield f"{command}\r\n".encode()
        yield from read_reply()
    yield b"Subject: news\r\n\r\n.\r\n"
    codes: list[int] = []
    for _ in range(3):
        codes.append((yield from read_reply()).code)
    return tuple(codes)

"""The checks of `report`: one line, actions, who is told, reading a group, who leaves the list, a forged report."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from smtp_from_scratch.dsn import parse_notify, request
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.parts import fields_of
from smtp_from_scratch.report import RecipientStatus, build_report, parse_report
from smtp_from_scratch.wire import Reply

ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"

# --- your turn: one line ----------------------------------------------------------------------------------------------

LINES = {
    "550 nobody of that name": "550 nobody of that name",
    "550 no\nStatus: 5.1.1\n\nAction: failed": "550 no Status: 5.1.1 Action: failed",
    "a\r\nb\tc  d": "a b c d", "  in the middle  ": "in the middle", "": "",
    "café": "caf\\xe9", "麻衣": "\\u9ebb\\u8863", "bell\a and \x1b[31mred": "bell? and ?[31mred", "a\x7fb": "a?b",
    "x" * 901: "x" * 900, "ab " * 400: ("ab " * 300),
}


@check(
    hints=(
        "Which method of text splits at every kind of white space, line ends among them?",
        '" ".join(text.split()).encode("ascii", "backslashreplace").decode()',
        "Split the text into words and join them with single spaces: then no line end is left. Encode what is not "
        "ASCII with backslashreplace. Then put a question mark in place of each character that is not between a "
        "space and a tilde, and cut at 900.",
    ),
    passed="Whatever a server says, it stays in its field.",
)
def check_one_line(my_one_line: Callable[[str], Any]) -> Problem | None:
    """A stranger's text in a field."""
    for text, line in LINES.items():
        found = my_one_line(text)
        if found is None or found is ...:
            raise NotYet("return the text in one line.")
        if found != line:
            wire = "A line end in a field ends it: the stranger writes the next one." if "\n" in str(found) else \
                   "The report does not say what the server said, or cannot travel."
            return Problem(gave=f"{found!r:.200} for {text!r:.200}", wire=wire, look=f"It would be {line!r:.200}.")
    return None


# --- your turn: action and wish ---------------------------------------------------------------------------------------

ACTIONS = [
    ((Reply(250, "ok"), "delivered", False), "delivered"), ((Reply(250, "ok"), "relayed", False), "relayed"),
    ((Reply(251, "forwarded"), "relayed", True), "relayed"), ((Reply(550, "no"), "delivered", False), "failed"),
    ((Reply(554, "no"), "relayed", True), "failed"), ((Reply(452, "full"), "delivered", False), "delayed"),
    ((Reply(452, "full"), "delivered", True), "failed"), ((Reply(421, "closing"), "relayed", False), "delayed"),
]


@check(
    hints=(
        "What does the first digit of a reply say, and when is a temporary refusal the last word?",
        'success if reply.positive else "failed" if reply.permanent or give_up else "delayed"',
        "A 2yz means the action that the caller calls success. A 5yz has failed. A 4yz is a delay as long as there "
        "will be another attempt, and a failure when there will be none.",
    ),
    passed="A delay until the last attempt is over, then a failure.",
)
def check_action_of(my_action_of: Callable[..., Any]) -> Problem | None:
    """The action of RFC 3464 that a reply means."""
    for (reply, success, give_up), action in ACTIONS:
        found = my_action_of(reply, success, give_up)
        if found is None or found is ...:
            raise NotYet(f"return the action that {reply.code} means.")
        if found != action:
            return Problem(gave=f"{found!r} for {reply.code}, success={success!r}, give_up={give_up}",
                           wire="Ana is told something else than what happened.", look=f"RFC 3461 §5.2: {action}.")
    return None


EVENTS = {"delivered": "SUCCESS", "relayed": "SUCCESS", "expanded": "SUCCESS", "failed": "FAILURE", "delayed": "DELAY"}


@check(
    hints=(
        "Which event is each of the five actions? And what was asked for where there is no NOTIFY?",
        'parse_notify(notify) if notify else {"FAILURE", "DELAY"}',
        "Make the action an event: three of the five are a SUCCESS. If the recipient has a NOTIFY, ask whether the "
        "event is in its set; NEVER is the empty one. If there is none, failure and delay are told.",
    ),
    passed="Each is told what was asked for, and no more.",
)
def check_wanted(my_wanted: Callable[[Envelope, str, str], Any]) -> Problem | None:
    """Whether a recipient's action is reported."""
    for notify in ("", "NEVER", "never", "SUCCESS", "failure", "DELAY", "SUCCESS,FAILURE", "Delay,Success"):
        options: dict[str, dict[str, str | None]] = {YUI: {"NOTIFY": notify}} if notify else {}
        envelope = Envelope(ANA, [YUI, KENJI], options=options | {KENJI: {"NOTIFY": "SUCCESS,FAILURE,DELAY"}})
        for action, event in EVENTS.items():
            found = my_wanted(envelope, YUI, action)
            if found is None or found is ...:
                raise NotYet("return True or False.")
            if bool(found) != (event in (parse_notify(notify) if notify else {"FAILURE", "DELAY"})):
                return Problem(gave=f"{found} for {action!r} with {'NOTIFY=' + notify if notify else 'no NOTIFY'}",
                               wire="Ana hears what she does not want to, or does not hear what she asked for.",
                               look=f"{action} is a {event} (RFC 3461 §5.2).")
    return None


# --- your turn: read a group ------------------------------------------------------------------------------------------

GROUP = (b"FINAL-recipient: rfc822; y.tanaka@kyoto.example\r\naction: FAILED\r\nStatus: 5.1.1\r\n (nobody)\r\n"
         b"Original-Recipient: rfc822; yui@tokyo.example\r\nRemote-MTA: dns; mx.kyoto.example\r\n"
         b"Diagnostic-Code: smtp; 550 5.1.1 no; never\r\nX-Hall: small\r\n")
SHORT = b"Final-Recipient: rfc822; yui@tokyo.example\r\nAction: delayed\r\nStatus: 4.2.2\r\n"
BARE = b"Final-Recipient: yui@tokyo.example\r\nAction: failed\r\nStatus: 5.0.0\r\n"
GROUPS = {
    GROUP: RecipientStatus("y.tanaka@kyoto.example", "failed", "5.1.1", "yui@tokyo.example", "mx.kyoto.example",
                           "550 5.1.1 no; never"),
    SHORT: RecipientStatus("yui@tokyo.example", "delayed", "4.2.2"),
    BARE: RecipientStatus("yui@tokyo.example", "failed", "5.0.0"),
}


@check(
    hints=(
        "Which three fields must be there? Which values have a type in front, and which have something after them?",
        'value_of(fields, "Status").split()[0], and value_of(fields, "Original-Recipient", bare=True)',
        "`value_of` gives an empty text for a field that is missing: raise ValueError if that happens to one of the "
        "three that are due. The two recipients, Remote-MTA and Diagnostic-Code are asked for with `bare`. Action "
        "is made small, and of Status the first word counts.",
    ),
    passed="What a stranger wrote is a value of yours, or a ValueError.",
)
def check_recipient_status(my_recipient_status: Callable[[dict[str, str]], Any]) -> Iterator[Problem]:
    """One group of fields, as a value."""
    for group, status in GROUPS.items():
        found = my_recipient_status(fields_of(group))
        if found is None or found is ...:
            raise NotYet("return a RecipientStatus.")
        for name in RecipientStatus.__slots__:
            given = getattr(found, name, None)
            if given != getattr(status, name):
                yield Problem(gave=f"{name}={given!r} for\n{group.decode()}", look="RFC 3464 §2.3",
                              wire=f"The program looks for {getattr(status, name)!r}, and does not find it.")
    for due in (b"Final-Recipient", b"Action", b"Status"):
        for octets in (SHORT.replace(due, b"X-" + due), SHORT.replace(due + b": ", due + b":\r\nX-Was: ")):
            try:
                found = my_recipient_status(fields_of(octets))
            except ValueError:
                continue
            yield Problem(gave=f"{found!r} for a group without {due.decode()}", look="Raise ValueError.",
                          wire="The program acts on half of a report.")


# --- exercise 1: who is told ------------------------------------------------------------------------------------------


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


# --- exercise 2: who leaves -------------------------------------------------------------------------------------------

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
        if found is None or found is ...:
            raise NotYet("return a set of addresses.")
        if not isinstance(found, set | frozenset | list | tuple):
            yield Problem(gave=f"{found!r} for {what}", look="Return a set of addresses.")
            return
        if set(found) != leave:
            wire = "A member who is gone is written to for ever." if leave else "A member gets no more news."
            yield Problem(gave=f"{set(found) or 'nobody'} for {what}", wire=wire, look=look)
    everybody = my_leavers([letter for letter, *_ in LEAVERS], SENT)
    if set(everybody) != {YUI}:
        yield Problem(gave=f"{everybody!r} for all of these letters together",
                      look="One letter must not stop the others.")


# --- exercise 3: break ------------------------------------------------------------------------------------------------


def gullible(letter: bytes) -> set[str]:
    """Believes every report."""
    return {about.recipient for about in parse_report(letter).recipients if about.action == "failed"}


def careful(letter: bytes) -> set[str]:
    """Believes only what is about an issue of its own."""
    found = parse_report(letter)
    return {about.recipient for about in found.recipients if about.recipient in SENT.get(found.envelope_id, ())}


@check(
    hints=(
        "What does `parse_report` want to see, and which of it could only the real server know?",
        'build_report(Envelope("a@b.example", [victim]), {victim: Reply(550, "no", "5.1.1")}, b"", "mx.example")',
        "You have a function that writes reports, and it asks nobody whether the message ever existed. Make an "
        "envelope from the list to the victim, and let the outcome be a 5yz. Return the octets of the report.",
    ),
    passed="One letter, and a member is gone. A program that asks for an envelope id kept them.",
)
def check_forged(my_forged: Callable[[str], Any]) -> Problem | None:
    """A report that nobody's server wrote."""
    for victim in (KENJI, "bo@oslo.example"):
        letter = my_forged(victim)
        if letter is None or letter is ...:
            raise NotYet("return the octets of a letter.")
        octets = letter if isinstance(letter, bytes) else getattr(letter, "as_bytes", lambda: b"")()
        try:
            struck = gullible(octets)
        except ValueError as error:
            return Problem(gave=f"{octets[:120]!r}", wire=f"`gullible` cannot read it: {error}",
                           look="`build_report` writes what `parse_report` reads.")
        if struck != {victim}:
            return Problem(gave=f"a letter after which {struck or 'nobody'} is struck off", look="Who is the victim?",
                           wire="The victim still sings." if victim not in struck else "Others are struck off, too.")
        if careful(octets):
            return Problem(gave="a report with an envelope id of the list", look="How would a stranger know it?",
                           wire="That one could only be written by somebody who has seen the envelope.")
    return None

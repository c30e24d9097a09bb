"""The checks of `report`: lines, fields, who is told, a delivery that reports, reading, who leaves, a forged report."""
from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

from smtp_from_scratch.dsn import parse_notify, request
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_word, check
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
    "x" * 901: "x" * 900, "ab " * 400: ("ab " * 300), "é" * 500: "\\xe9" * 225, "a" + 900 * " " + "b": "a b",
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
        if found not in (line, line.rstrip()):     # a space at the cut may go as well
            wire = "A line end in a field ends it: the stranger writes the next one." if "\n" in str(found) else \
                   "The report does not say what the server said, or cannot travel."
            return Problem(gave=f"{found!r:.200} for {text!r:.200}", wire=wire, look=f"It would be {line!r:.200}.")
    return None


# --- your turn: fields about a recipient ------------------------------------------------------------------------------

ASKED = Envelope(ANA, [YUI, KENJI], options={YUI: {"ORCPT": "rfc822;Yui+2Bchoir@tokyo.example"}})
FOREIGN = Envelope(ANA, [YUI], options={YUI: {"ORCPT": "utf-8;ユイ@tokyo.example"}})
REMOTE = "mx.tokyo.example"
NOBODY = Reply(550, "nobody of that name", "5.1.1")
LIAR = Reply(550, "no\nStatus: 2.0.0\n\nFinal-Recipient: rfc822; bo@oslo.example", "5.1.1")
ABOUT: list[tuple[str, tuple[Any, ...], dict[str, str]]] = [
    ("Yui, whose ORCPT is rfc822;Yui+2Bchoir@tokyo.example, refused by another host",
     (ASKED, YUI, "failed", NOBODY, REMOTE),
     {"Original-Recipient": "rfc822; Yui+choir@tokyo.example", "Final-Recipient": f"rfc822; {YUI}", "Action": "failed",
      "Status": "5.1.1", "Remote-MTA": f"dns; {REMOTE}", "Diagnostic-Code": "smtp; 550 5.1.1 nobody of that name"}),
    ("Kenji, who has no ORCPT, refused here without an enhanced code",
     (ASKED, KENJI, "failed", Reply(554, "no"), ""),
     {"Final-Recipient": f"rfc822; {KENJI}", "Action": "failed", "Status": "5.0.0"}),
    ("Kenji, delayed by another host without an enhanced code",
     (ASKED, KENJI, "delayed", Reply(452, "the mailbox is full"), REMOTE),
     {"Final-Recipient": f"rfc822; {KENJI}", "Action": "delayed", "Status": "4.0.0", "Remote-MTA": f"dns; {REMOTE}",
      "Diagnostic-Code": "smtp; 452 the mailbox is full"}),
    ("Kenji, and another host's reply has four lines",
     (ASKED, KENJI, "failed", LIAR, REMOTE),
     {"Final-Recipient": f"rfc822; {KENJI}", "Action": "failed", "Status": "5.1.1", "Remote-MTA": f"dns; {REMOTE}",
      "Diagnostic-Code": "smtp; 550 5.1.1 no / Status: 2.0.0 / / Final-Recipient: rfc822; bo@oslo.example"}),
    ("Yui, whose ORCPT is utf-8;ユイ@tokyo.example, delivered here",
     (FOREIGN, YUI, "delivered", Reply(250, "kept", "2.1.5"), ""),
     {"Original-Recipient": "utf-8; \\x{30E6}\\x{30A4}@tokyo.example", "Final-Recipient": f"rfc822; {YUI}",
      "Action": "delivered", "Status": "2.1.5"}),
]


@check(
    hints=(
        "Which of the four has a value in every report, and on what does each of the others depend?",
        '"Remote-MTA": f"dns; {remote_mta}" if remote_mta else ""',
        "An empty value is left out by `group`, so give it one where the field must not be there. Status is always "
        "there: the enhanced code, or the first digit and two zeros. What another host said goes through `one_line`, "
        "because it may have line ends in it.",
    ),
    passed="Each field is there if and only if it has something to say.",
)
def check_per_recipient(my_per_recipient: Callable[..., Any]) -> Problem | None:
    """The fields about one recipient."""
    for what, given, expected in ABOUT:
        text = my_per_recipient(*given)
        if text is None or text is ... or "Ellipsis" in str(text):
            raise NotYet("four values wait: Original-Recipient, Status, Remote-MTA and Diagnostic-Code.")
        lines = text.splitlines() if isinstance(text, str) else []
        if not all(": " in line for line in lines) or not text:
            return Problem(gave=f"{text!r} for {what}", look="Each line is `Name: value`; `one_line` and `group` help.",
                           wire="A program that reads this finds other groups, or none.")
        if lines and not text.endswith("\n"):
            return Problem(gave=f"a last line without its end, for {what}", look="`group` ends each line.",
                           wire="The next recipient's fields follow without an empty line, as if they were this one's.")
        found = dict(line.split(": ", 1) for line in lines)
        if wrong := [name for name in {**expected, **found} if found.get(name) != expected.get(name)]:
            name = wrong[0]
            return Problem(gave=f"{name}: {found[name]!r} for {what}" if name in found else f"no {name} for {what}",
                           wire=f"RFC 3461 §6.3 has {expected[name]!r}." if name in expected
                           else "RFC 3461 §6.3 has no such field here.",
                           look="What another host said goes through `one_line`." if name in expected and name in found
                           and name == "Diagnostic-Code" else "Is it there if and only if there is something to say?")
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
        "Which event is each of the five actions? And what does a sender hear of who gave no NOTIFY?",
        'parse_notify(notify) if notify else {"FAILURE", "DELAY"}',
        "Make the action an event: three of the five are a SUCCESS. If the recipient has a NOTIFY, ask whether the "
        "event is in its set; NEVER is the empty set. Without NOTIFY, the sender hears of failure and delay.",
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


# --- your turn: deliver and report ------------------------------------------------------------------------------------

KEPT, WORM, FULL = Reply(250, "kept"), Reply(552, "a worm", "5.7.1"), Reply(452, "full", "4.2.2")
DELIVERED: list[tuple[str, Any, dict[str, str], bool]] = [      # what is told of whom; does the client keep the letter?
    ("keeps Yui's copy and refuses Kenji's for good", {YUI: KEPT, KENJI: WORM}, {KENJI: "failed"}, False),
    ("keeps Yui's copy, while Kenji's mailbox is full today", {YUI: KEPT, KENJI: FULL}, {}, True),
    ("refuses both for good", {YUI: WORM, KENJI: WORM}, {}, True),
    ("refuses the letter for good with one Reply", WORM, {}, True),
    ("refuses one for good, the other until tomorrow", {YUI: WORM, KENJI: FULL}, {}, True),
    ("returns None: both copies are kept", None, {}, False),
    ("keeps both copies, and Yui's success was asked for", None, {YUI: "delivered"}, False),
]


@check(
    hints=(
        "Who has the letter after each answer of `deliver`: somebody here, or only the client?",
        "if any(reply.temporary for reply in outcomes.values()) or not any(…): return outcome",
        "The client still has the letter if anybody's reply is temporary, or if nobody's is positive. Then its answer "
        "is what `deliver` said, and it must report. Otherwise somebody here has the letter: call `report_to` with "
        "`send`, the host's name, the envelope, the outcomes and the body, and answer 250 whatever becomes of it.",
    ),
    passed="Whoever has the letter reports, and nobody reports twice.",
)
def check_reporting(my_reporting: Callable[..., Any]) -> Iterator[Problem]:
    """A delivery whose senders hear of it."""
    for what, outcome, told_of, keeps in DELIVERED:
        answer, letters = reported(my_reporting, outcome, notify=bool(outcome is None and told_of))
        if outcome is DELIVERED[0][1] and not letters and answer is outcome:
            raise NotYet("three places wait: when the client still has the letter, the report, and the answer.")
        told_now = {about.recipient: about.action for letter, _ in letters
                    for about in parse_report(letter.as_bytes()).recipients}
        after = f"after a delivery that {what}"
        if told_now != told_of or len(letters) != bool(told_of):
            yield Problem(gave=f"{len(letters)} reports, about {told_now or 'nobody'}, {after}",
                          wire=f"Ana is to hear of {told_of or 'nobody'}.",
                          look="Who has the letter now, and so must report? The table has the three cases.")
        if keeps and answer is not outcome:
            yield Problem(gave=f"{answer!r} {after}", wire="The client does not hear what it has to do.",
                          look="Hand back what `deliver` answered.")
        if not keeps and not (answer is None or isinstance(answer, Reply) and answer.positive):
            yield Problem(gave=f"{answer!r} {after}", look="Somebody has the letter: 250 is the answer.",
                          wire="The client brings the letter again, or reports it as well.")
        if any((envelope.sender, envelope.recipients) != ("", [ANA]) for _, envelope in letters):
            yield Problem(gave=f"a report with the envelope {letters[0][1]}", wire="A report of a report may follow.",
                          look="A report comes from <>, and goes to the sender; `report_to` knows that.")
    answer, _ = reported(my_reporting, DELIVERED[0][1], notify=False, fails=True)
    if not (answer is None or isinstance(answer, Reply) and answer.positive):
        yield Problem(gave=f"{answer!r} when the report could not be sent", look="`report_to` logs it and returns.",
                      wire="The client brings the letter again, and Yui gets another copy each time.")


def reported(my_reporting: Callable[..., Any], outcome: Any, notify: bool, fails: bool = False) -> tuple[
        Any, list[tuple[EmailMessage, Envelope]]]:
    """What the client hears of a delivery with this outcome, and what was sent to whom."""
    letters: list[tuple[EmailMessage, Envelope]] = []

    def send(letter: EmailMessage, envelope: Envelope) -> None:
        if fails:
            raise OSError("no route to Rio")
        letters.append((letter, envelope))

    options: dict[str, dict[str, str | None]] = {YUI: {"NOTIFY": "SUCCESS"}} if notify else {}
    body = io.BytesIO(b"From: ana@rio.example\r\nSubject: Choir\r\n\r\nMonday.\r\n")
    wrapped = my_reporting(lambda envelope, body: body.read() and outcome, REMOTE, send)
    if not callable(wrapped):
        raise NotYet("return a function: `deliver_and_report`.")
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL if fails else before)     # that it failed is no news
    try:
        return wrapped(Envelope(ANA, [YUI, KENJI], options=options), body), letters
    finally:
        logging.disable(before)


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
                yield Problem(gave=f"{name}={given!r} for\n{group.decode()}",
                              wire=f"The program looks for {getattr(status, name)!r}, and does not find it.",
                              look="Six values: four without their type, the action in small letters, and of Status "
                              "the first word (RFC 3464 §2.3).")
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
        "For each letter: which event is it, and did the sender ask for it?",
        "Four of the eight are None.",
        "For each letter find the event first: success, failure, delay, or none of them at this host. Then ask "
        "whether NOTIFY named that event; without NOTIFY, failure and delay count. Last, ask whether another host "
        "will report it, and whether the letter has a sender at all.",
    ),
    passed="You know who is told, what, and by which host.",
)
def check_told(my_told: dict[str, str | None]) -> Iterator[Problem]:
    """The action that is reported, or None."""
    for name, (action, look) in TOLD.items():
        if name not in my_told:
            raise NotYet(f"an answer for {name} is missing.")
        if as_word(my_told[name]) != action:
            yield Problem(gave=f"{my_told[name]!r} for {name}", wire="RFC 3461 has it otherwise.", look=look)


# --- exercise 2: who leaves -------------------------------------------------------------------------------------------

SENT = {"issue 7, a6F2": [YUI, KENJI, "li@beijing.example", "bo@oslo.example"], "issue 8, Qx19": [YUI, KENJI]}
HOLIDAY = b"From: bo@oslo.example\r\nSubject: On holiday\r\n\r\nBack in August.\r\n"


def report_on(recipient: str, reply: Reply, envid: str = "issue 7, a6F2", now: str = "", also: str = "",
              **facts: Any) -> bytes:
    """A report about an issue; `now` is where the recipient's mail is forwarded to, `also` one more recipient."""
    names = {now or recipient: recipient} | ({also: also} if also else {})
    envelope = request(Envelope("news@choir.example", list(names)), envid=envid, notify="SUCCESS,FAILURE,DELAY",
                       orcpt=names)
    outcomes = dict.fromkeys(names, reply)
    report = build_report(envelope, outcomes, b"Subject: news\r\n\r\n", "mx.tokyo.example", **facts)
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
    (report_on(YUI, GONE, also=KENJI), {YUI, KENJI}, "one report about Yui and Kenji",
     "A report may be about several recipients: look at each."),
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
        try:
            found = my_leavers([letter], SENT)
        except ValueError as error:
            yield Problem(gave=f"a ValueError for {what}: {error}", wire="The program reads no other letter.",
                          look="`parse_report` raises it for what is no report. Go on with the next letter.")
            return
        if found is None or found is ...:
            raise NotYet("return a set of addresses.")
        if not isinstance(found, set | frozenset | list | tuple):
            yield Problem(gave=f"{found!r} for {what}", look="Return a set of addresses.")
            return
        if set(found) != leave:
            wire = "A member who is gone is written to for ever." if leave else "A member gets no more news."
            yield Problem(gave=f"{set(found) or 'nobody'} for {what}", wire=wire, look=look)
    everybody = my_leavers([letter for letter, *_ in reversed(LEAVERS)], SENT)     # what is no report comes first
    if set(everybody) != {YUI, KENJI}:
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
        "What does `parse_report` want to see? Can a stranger write all of it?",
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

"""The checks of `ehlo`: parameters, what an offer allows, servers' bugs, an extension of one's own, a quota."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.wire import Reply

# --- your turn: parameters ------------------------------------------------------------------------------------------

PARAMETERS: dict[str, Any] = {
    "": {}, " SIZE=1000": {"SIZE": "1000"}, " SIZE=1000 body=8BITMIME": {"SIZE": "1000", "BODY": "8BITMIME"},
    " SMTPUTF8": {"SMTPUTF8": None}, "  size=1   BODY=7BIT ": {"SIZE": "1", "BODY": "7BIT"},
    " SIZE=1 SIZE=2": 501, " size=1 SIZE=1": 501, " SMTPUTF8 smtputf8": 501,
}


@check(
    hints=(
        "Is `name` in `found` already? In which case, and in which case of letters?",
        "found[name.upper()] = value if equals else None",
        "Parameters are separated by spaces, and names count in any case of letters, so keep them in upper case. A "
        "parameter with an equals sign has a value, one without has None. A name that is there already is an "
        "error, and the reply to it is 501.",
    ),
    passed="Names in any case, values as they are, and nothing twice.",
)
def check_parameters(my_parameters: Callable[[str], Any]) -> Problem | None:
    """The words behind a path are read."""
    for text, expected in PARAMETERS.items():
        found = my_parameters(text)
        if found is None or (isinstance(found, dict) and ... in found):
            raise NotYet("two places wait: is the name there already, and what is put down under which name?")
        if expected == 501:
            if getattr(found, "code", 0) != 501:
                return Problem(gave=f"{found!r} for {text!r}",
                               wire="The second value would silently win, and the client might have meant the first.",
                               look="Names count in any case: compare what you have put down with `name.upper()`.")
        elif found != expected:
            return Problem(gave=f"{found!r} for {text!r}", wire=f"The client said {expected!r}.",
                           look="`partition` returns three parts; without `=` the second one is empty.")
    return None


# --- exercise 1: what may be said ------------------------------------------------------------------------------------

OFFERS: dict[str, dict[str, str]] = {
    "A": {"SIZE": "1000000", "8BITMIME": "", "HELP": ""}, "B": {"8BITMIME": "", "HELP": ""},
    "C": {"SIZE": "", "PIPELINING": ""}, "D": {}, "E": {"8BITMIME": "", "SIZE": "100000"},
}
WHY = {
    "A": "Both keywords are there, and the letter is below the limit.",
    "B": "Keywords count in any case. No SIZE was offered.",
    "C": "`é` is beyond ASCII. Which keyword must be there?",
    "D": "After HELO there are no parameters, and `é` needs one.",
    "E": "Look at the limit before anything is said.",
}


def same_line(said: Any, expected: list[str] | None) -> bool:
    """Whether these are the words: verb and FROM in any case of letters and in their place, parameters in any order."""
    if said is None or expected is None:
        return said is expected
    words = str(said).removesuffix("\r\n").split(" ")
    verb, path = words[0].upper(), " ".join(words[1:2])
    begins = [verb, path[:5].upper() + path[5:]] == expected[:2]
    return begins and sorted(word.upper() for word in words[2:]) == sorted(expected[2:])


def truth(offered: dict[str, str]) -> list[str] | None:
    """The words of the MAIL line that chapter `ehlo`'s client says, or None."""
    from smtp_from_scratch.client import SMTPNotSupportedError
    from smtp_from_scratch.ehlo import ClientSession, EightBitMime, Letter, Size, closed, make_plan
    from smtp_from_scratch.envelope import Envelope

    client = ClientSession("rio.example", closed([Size(), EightBitMime()]))
    client.learn(offered)
    letter = Letter(Envelope("ana@rio.example", ["kenji@tokyo.example"]), [], 300_000, {"8BITMIME"})
    try:
        return make_plan(client, letter)[0].line().decode().split()
    except SMTPNotSupportedError:
        return None


@check(
    hints=(
        "For each: is the letter too large, and may it have an é?",
        'A: "MAIL FROM:<…> SIZE=300000 BODY=8BITMIME"',
        "A client says a parameter only if its keyword stood in the reply to EHLO, in any case of letters. SIZE is "
        "said wherever it is offered, and a letter above the offered limit is not sent at all. A text with an é "
        "needs 8BITMIME, and without it the letter stays here.",
    ),
    passed="You read an offer as the client does.",
)
def check_mail_lines(my_lines: dict[str, Any]) -> Problem | None:
    """The line with MAIL for each of five offers."""
    for name, offered in OFFERS.items():
        if name not in my_lines or my_lines[name] is ...:
            raise NotYet(f"a line (or None) for `{name}` is missing.")
        said, expected = my_lines[name], truth(offered)
        if not same_line(said, expected):
            wire = f"The client says {len(expected)} words." if expected else "Such a letter is not sent at all."
            return Problem(gave=f"{said!r} for server {name}", wire=wire, look=WHY[name])
    return None


# --- exercise 2: bugs -----------------------------------------------------------------------------------------------

BUGS = {"A": 2, "B": 7, "C": 5, "D": 5, "E": 4}
BUGS_LOOK = {
    "A": "Is the reply over behind its first line? What stands behind the code?",
    "B": "Class, subject, detail: what does the first digit of an enhanced code have to do with the reply?",
    "C": "The server has named its limit. What did MAIL announce?",
    "D": "Is the *verb* unknown? There is a code of its own for a parameter that nobody knows.",
    "E": "What was offered in this session, and to whom?",
}


@check(
    hints=(
        "In which line does the server break something that it has said itself?",
        "A: line 2 says that the reply is over, and line 3 goes on.",
        "A server must do what its own words promise. Compare each reply with what was said before it: the hyphen, "
        "the offer, the limit, and what kind of mistake the code names. The wrong line is where one of these is "
        "broken for the first time.",
    ),
    passed="All five, in the line where a client would notice.",
)
def check_ehlo_bugs(my_bugs: dict[str, Any]) -> Problem | None:
    """The line of each bug."""
    for name, line in BUGS.items():
        if not isinstance(as_number(my_bugs.get(name)), int):
            raise NotYet(f"the number of a line for `{name}` is missing.")
        if as_number(my_bugs[name]) != line:
            return Problem(gave=f"line {my_bugs[name]} for {name}", look=BUGS_LOOK[name])
    return None


# --- exercise 3: an extension ---------------------------------------------------------------------------------------


def replies(extension: Any, *lines: str) -> list[Reply]:
    """What a server with this extension answers to EHLO and to some lines."""
    from smtp_from_scratch.conversation import read_reply, rehearse
    from smtp_from_scratch.ehlo import ExtendedSession, Offer, serve_extended

    def dictate() -> Any:
        heard = [(yield from read_reply())]
        for line in ("EHLO rio.example", *lines):
            yield line.encode() + b"\r\n"
            heard.append((yield from read_reply()))
        return heard[1:]

    session = ExtendedSession("mx.example", offer=Offer([extension]))
    return list(rehearse(dictate(), serve_extended(session)).client)


GOOD, BAD = ("0", "9", "-9", "3"), ("10", "-10", "+1", "01", "-0", "", "two", "1.5")


@check(
    hints=(
        "Which hook names a parameter of MAIL, and what does a judge return when all is well?",
        "def mail_parameters(self): return {'MT-PRIORITY': self.judge}",
        "An extension has a server's end and a client's end. The server's end names the parameter, judges its "
        "value with a function that returns None or a Reply, and makes room on the line of MAIL. The client's end "
        "puts the value on the first step of the plan, and only where somebody asked for it.",
    ),
    passed="Both ends: offered, judged, and said where it is offered.",
)
def check_priority(MyPriority: type) -> Problem | None:
    """MT-PRIORITY at both ends."""
    from smtp_from_scratch.ehlo import ClientSession, Letter, closed, make_plan
    from smtp_from_scratch.envelope import Envelope

    extension = MyPriority()
    if not extension.mail_parameters() and not extension.plan:
        raise NotYet("write the server's end (which parameter, and who judges its value?), then the client's.")
    offer = replies(extension)[0]
    if "MT-PRIORITY" not in offer.lines[1:]:
        return Problem(gave=f"an EHLO reply {offer}", look="`advertise` says `keyword`, unless you write your own.")
    for value in (*GOOD, *BAD):
        reply = replies(extension, f"MAIL FROM:<ana@rio.example> MT-PRIORITY={value}")[1]
        expected = 250 if value in GOOD else 501
        if reply.code != expected:
            return Problem(gave=f"{reply.code} to MT-PRIORITY={value}", wire=f"RFC 6710 makes that a {expected}.",
                           look="A whole number from -9 to 9, as Python writes it: `str(int(value)) == value`.")
    if extension.line_limits.get("MAIL") != 15:
        return Problem(gave=f"line_limits of {extension.line_limits!r}", look="The line of MAIL may be 15 longer.")
    offers: dict[str, str] = {"MT-PRIORITY": ""}
    for offered, given, expected in ((offers, "5", True), ({}, "5", False), (offers, "", False)):
        client = ClientSession("rio.example", closed([extension]))
        client.learn(offered)
        envelope = Envelope("ana@rio.example", ["kenji@tokyo.example"])
        envelope.parameters |= {"MT-PRIORITY": given} if given else {}
        mail, *others = [step.line() for step in make_plan(client, Letter(envelope, []))]
        if any(b"MT-PRIORITY" in line for line in others):
            return Problem(gave=f"{others[0]!r}", wire="501: RFC 6710 has it on MAIL, and on nothing else.",
                           look="`steps[0]` is MAIL; the others are left alone.")
        if (b" MT-PRIORITY=5\r\n" in mail) != expected or (b"MT-PRIORITY" in mail) != expected:
            return Problem(gave=f"{mail!r}", wire="The server has offered it." if expected else "Nobody asked for it.",
                           look="`plan(self, client, letter, steps)`: `steps[0]` is MAIL, with a dict `parameters`.")
    return None


# --- exercise 4: quota ----------------------------------------------------------------------------------------------


@check(
    hints=(
        "A client repeats what was refused with 4yz. Should it repeat this one, and when would that succeed?",
        "if announced > limit: return Reply(552, …); if used + announced > limit: return Reply(452, …)",
        "A letter above the limit will never fit, so the answer is 5yz and the client gives up. A letter that "
        "would fit into an empty mailbox may fit tomorrow, so the answer is 4yz. A client that announces nothing "
        "can only be refused when nothing at all is left.",
    ),
    passed="5yz for what will never fit, 4yz for what fits tomorrow.",
)
def check_quota(my_quota: Callable[..., Any]) -> Problem | None:
    """Refused for good, or for today."""
    cases = [(0, "1000", 0), (999_000, "1000", 0), (999_001, "1000", 4), (0, "1000001", 5), (500_000, "1000001", 5),
             (1_000_000, None, 4), (10, None, 0)]
    answers = [my_quota(used, announced) for used, announced, _ in cases]
    if all(answer is None for answer in answers):
        raise NotYet("return a Reply where the letter does not fit.")
    for (used, announced, expected), answer in zip(cases, answers, strict=True):
        given = 0 if answer is None else answer.code // 100
        if given != expected:
            wish = {0: "None: it fits", 4: "4yz: tomorrow it will fit", 5: "5yz: it will never fit"}[expected]
            return Problem(gave=f"{answer} for used={used}, announced={announced!r}", wire=wish + ".",
                           look="Octets arrive as text. Whoever announces nothing is refused once nothing is left.")
    return None

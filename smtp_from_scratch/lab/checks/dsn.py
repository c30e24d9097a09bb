"""The checks of `dsn`: NOTIFY, ENVID, a hop that passes wishes on, which values stay, a newsletter's envelope."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from smtp_from_scratch.conversation import rehearse
from smtp_from_scratch.dsn import Dsn
from smtp_from_scratch.ehlo import Extension, ExtensionSet
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_word, check, foreseeable
from smtp_from_scratch.session import serve
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import OutgoingMessage, Plan, leave, open_session
from smtp_from_scratch.xtext import decode_xtext

ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"

# --- your turn: notify ------------------------------------------------------------------------------------------------

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
        if found is None or found is ...:
            raise NotYet(f"return the set of events for {value!r}.")
        if not isinstance(found, set | frozenset | list | tuple) or set(found) != events:
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


# --- your turn: envid -------------------------------------------------------------------------------------------------

NAMES = {"QQ314159": "QQ314159", "choir,+2014+20June": "choir, 14 June", "a+3Db+2Bc": "a=b+c", "a+09b": "a\tb",
         "x" * 100: "x" * 100}
SPOILED = {
    "1+0D+0AAction:+20delivered": "A line end would end a field of the report, and begin another.",
    "a+00b": "NUL is not printable.", "a+7Fb": "DEL is not printable.",
    "a+C3+A9": "An é is not ASCII.", "a=b": "An equals sign travels as +3D.",
    "a+b": "After a plus stand two hex digits.", "a+2b": "The hex digits are capitals (RFC 3461 §4).",
    "x" * 101: "A hundred characters, and no more (RFC 3461 §4.4).",
    34 * "+2B": "The limit is for the value: 102 characters travel, though they stand for 34.",
    "": "A message without a name was not named.",
}


@check(
    hints=(
        "Is the limit for the value, or for the decoded text? And which characters may be in the text?",
        'text = decode_xtext(value), then raise ValueError unless all(" " <= c <= "~" or c == "\\t" for c in text)',
        "`decode_xtext` raises ValueError by itself for what is not xtext. Look at the length of the value before "
        "that, and at every character after it. An empty text is no name.",
    ),
    passed="A name that fits into a command, and spoils no report.",
)
def check_envid(my_envid: Callable[[str], Any]) -> Problem | None:
    """The text of an ENVID."""
    for value, text in NAMES.items():
        try:
            found = my_envid(value)
        except ValueError as error:
            return Problem(gave=f"ValueError for {value!r}: {error}",
                           wire="A good value is never refused (RFC 3461 §5.1).", look=f"It stands for {text!r}.")
        if found is None or found is ...:
            raise NotYet(f"return the text that {value!r} stands for.")
        if found != text:
            return Problem(gave=f"{found!r} for {value!r}", wire="The report names another message.",
                           look=f"`decode_xtext` makes {text!r} of it.")
    for value, why in SPOILED.items():
        try:
            found = my_envid(value)
        except ValueError:
            continue
        return Problem(gave=f"{found!r} for {value!r}", wire=why, look="Raise ValueError.")
    return None


# --- your turn: a hop -------------------------------------------------------------------------------------------------

WISHES = Envelope(ANA, [YUI, KENJI], parameters={"RET": "hdrs", "ENVID": "QQ+2B1", "SIZE": "7", "BODY": "7BIT"},
                  options={YUI: {"NOTIFY": "Success,failure", "ORCPT": "RFC822;Yui+40@tokyo.example"},
                           KENJI: {"NOTIFY": "NEVER", "X-HALL": "small"}})
SAID = (f"MAIL FROM:<{ANA}> RET=hdrs ENVID=QQ+2B1",
        f"RCPT TO:<{YUI}> NOTIFY=Success,failure ORCPT=RFC822;Yui+40@tokyo.example", f"RCPT TO:<{KENJI}> NOTIFY=NEVER")


def said_by(extension: Extension, server: list[Extension], envelope: Envelope) -> list[str]:
    """The MAIL and RCPT commands of a client with this extension."""
    client = CodedClientSession("relay.rio.example", (extension,))

    def talk() -> Any:
        yield from open_session(client)
        yield from Plan(client, OutgoingMessage(envelope, [b"Subject: Choir\r\n\r\nMonday.\r\n"])).run()
        yield from leave(client)

    show = rehearse(talk(), serve(CodedSession("mx.tokyo.example", extensions=ExtensionSet(server))))
    lines = b"".join(said.data for said in show.said if said.role == "C").decode().split("\r\n")
    return [line for line in lines if line.startswith(("MAIL", "RCPT"))]


def words(line: str) -> tuple[str, set[str]]:
    """A command and its parameters, whose order means nothing."""
    command, *parameters = line.split(" ")
    return f"{command} {parameters[0]}", set(parameters[1:])


@check(
    hints=(
        "Which wishes are in `envelope.parameters`, and which in `envelope.options`?",
        "for address, parameters in plan.recipients.items(): wishes = envelope.options.get(address, {})",
        "The wishes about the whole message are in `envelope.parameters`: copy RET and ENVID to `plan.mail`. Those "
        "about a recipient are in `envelope.options` under the recipient's address: copy NOTIFY and ORCPT to that "
        "recipient's parameters. `ON_MAIL` and `ON_RCPT` hold the names that are yours to copy.",
    ),
    passed="Every wish goes on as it came, to hosts that understand it.",
)
def check_relay(MyDsn: Callable[[], Extension]) -> Iterator[Problem]:
    """A client's end of DSN."""
    mine = MyDsn()
    said = said_by(mine, [Dsn()], WISHES)
    if said == [line.partition("> ")[0] + ">" for line in SAID]:
        raise NotYet("copy the wishes in `plan`.")
    for line, wanted in zip(said, SAID, strict=True):
        if words(line) != words(wanted):
            yield Problem(gave=line, wire="The next hop hears other wishes than Ana's (RFC 3461 §5.2.1).",
                          look=f"It would be: {wanted}")
    bare = said_by(mine, [Dsn()], Envelope(ANA, [YUI]))
    if bare != [f"MAIL FROM:<{ANA}>", f"RCPT TO:<{YUI}>"]:
        yield Problem(gave=" / ".join(bare), wire="Nobody asked for that.",
                      look="An envelope without wishes adds none.")
    if dict(WISHES.options[KENJI]) != {"NOTIFY": "NEVER", "X-HALL": "small"} or len(WISHES.parameters) != 4:
        yield Problem(gave="an envelope that has changed", wire="The next attempt says something else.",
                      look="Copy; take nothing away.")


# --- exercise 1: which may stay ---------------------------------------------------------------------------------------

STAY: dict[str, tuple[int, str]] = {
    "A": (250, "RFC 3461 §4.3 does not mind capitals."), "B": (501, "In xtext an equals sign is +3D."),
    "C": (250, "A report may have a name, too; nobody is told of it all the same."),
    "D": (501, "ENVID needs a value."), "E": (501, "NEVER stands alone."), "F": (250, "The events stand in any order."),
    "G": (501, "The type of the address is missing, and its semicolon."),
    "H": (250, "A type that you have never seen is no reason: a gateway may know it. `+2B` is a plus."),
}


@check(
    hints=(
        "For each: is there a value, is it of the form that RFC 3461 §4 gives, and is it xtext where it must be?",
        "Four of the eight are 501.",
        "A value is refused only if it cannot be read. Words are read in any case and in any order, but NEVER "
        "stands alone. ENVID and the address in ORCPT are xtext, and ORCPT has a type before its semicolon, of "
        "which you need not have heard.",
    ),
    passed="What can be read stays, and nothing else does.",
)
def check_wish_codes(my_wish_codes: Mapping[str, int]) -> Iterator[Problem]:
    """250 or 501."""
    for name, (code, look) in STAY.items():
        if name not in my_wish_codes:
            raise NotYet(f"an answer for {name} is missing.")
        given = my_wish_codes[name]
        if str(given) != str(code):
            yield Problem(gave=f"{given!r} for {name}", look=look,
                          wire="The wish is refused." if code == 250 else "Nobody could do what that asks for.")


# --- exercise 2: find the bug -----------------------------------------------------------------------------------------

TIDY: dict[str, tuple[str | None, str]] = {
    "A": ("changed", "ORCPT is the address as the sender knows it, and the sender does not know Kyoto."),
    "B": (None, "Parameters stand in any order (RFC 5321 §4.1.1.11)."),
    "C": ("changed", "Not even the case of a letter in ORCPT may change (RFC 3461 §5.2.1)."),
    "D": ("lost", "Which address will the report name?"),
    "E": ("invented", "Did anybody ask for news of a success?"),
}


@check(
    hints=(
        "Compare each line with what the relay heard. Is every wish there, unchanged? Is one more there?",
        "Two of the five have changed a wish, and one has done nothing wrong.",
        "A forwarding host may send to another address, and may put the parameters in another order. The value of "
        "ORCPT must stay the same, to the letter, because the report names it. The relay must not add a NOTIFY, or an "
        "event to it.",
    ),
    passed="You know what a relay may touch: the address, and no wish.",
)
def check_tidy(my_tidy: Mapping[str, str | None]) -> Iterator[Problem]:
    """What becomes of wishes at five relays."""
    for name, (fault, look) in TIDY.items():
        if name not in my_tidy:
            raise NotYet(f"an answer for {name} is missing.")
        if as_word(my_tidy[name]) != fault:
            yield Problem(gave=f"{my_tidy[name]!r} for {name}", wire="RFC 3461 has it otherwise.", look=look)


# --- exercise 3: a newsletter -----------------------------------------------------------------------------------------

MEMBERS = [YUI, KENJI, "Li+choir@Beijing.example"]
ISSUE = "Advent"
FEWEST = 8                                     # characters that a stranger would have to guess


@check(
    hints=(
        "Which function of the chapter takes wishes in plain words? Which module makes text that nobody can guess?",
        'request(Envelope("news@choir.example", list(members)), envid=f"issue {issue}, {secrets.token_urlsafe(9)}", …)',
        "`request` takes all four wishes in plain words: RET is HDRS, NOTIFY is FAILURE for everybody, and ORCPT is "
        "for each member the address that the list has. ENVID holds the issue and a part from `secrets`. A counter, "
        "the time or `random` can be guessed.",
    ),
    passed="News of failures only, under your names, about an issue that nobody can make up.",
)
def check_newsletter(my_newsletter: Callable[[str, list[str]], Any]) -> Iterator[Problem]:
    """The wishes of a newsletter."""
    envelopes = [my_newsletter(ISSUE, list(MEMBERS)) for _ in range(20)]
    one = envelopes[0]
    if one is None or one is ...:
        raise NotYet("return an Envelope.")
    if not isinstance(one, Envelope):
        yield Problem(gave=f"{one!r}, of type {type(one).__name__}",
                      look="`request` gives back the envelope that it was given.")
        return
    if one.sender != "news@choir.example" or one.recipients != MEMBERS:
        yield Problem(gave=f"an envelope from <{one.sender}> to {one.recipients}", wire="The issue goes elsewhere.",
                      look="From news@choir.example, to the members in their order.")
    if (one.parameters.get("RET") or "").upper() != "HDRS":
        yield Problem(gave=f"RET={one.parameters.get('RET')}", wire="A thousand photographs may come back.",
                      look="FULL or HDRS: which of them is short?")
    for member in MEMBERS:
        yield from unasked(member, one.options.get(member, {}))
    yield from guessed([decode_xtext(envelope.parameters.get("ENVID") or "") for envelope in envelopes])
    if foreseeable(lambda: my_newsletter(ISSUE, list(MEMBERS)).parameters):
        yield Problem(gave="ENVIDs made with `random`", wire="A stranger who has seen a few computes the next one.",
                      look="Python has another module for what nobody can guess: `secrets`.")


def unasked(member: str, wishes: Mapping[str, str | None]) -> Iterator[Problem]:
    """What is wrong with the wishes about one member."""
    notify, orcpt = wishes.get("NOTIFY"), wishes.get("ORCPT")
    if (notify or "").upper() != "FAILURE":
        yield Problem(gave=f"NOTIFY={notify} for {member}",
                      wire="The program hears of something else than failures." if notify
                      else "Without NOTIFY, news of delays comes too.", look="`notify` is for everybody.")
    if (orcpt or "").partition(";")[2] != member.replace("+", "+2B"):
        yield Problem(gave=f"ORCPT={orcpt} for {member}",
                      wire="The report may name an address that the list does not have.",
                      look="`orcpt` of `request` takes `{member: member}`, and writes the xtext.")


def guessed(names: list[str]) -> Iterator[Problem]:
    """What is wrong with the ENVIDs of twenty copies of one issue: no issue in them, or nothing but it."""
    if not all(ISSUE in name for name in names):
        yield Problem(gave=f"ENVID {names[0]!r}", wire="The program does not know which issue failed.",
                      look=f"The issue, {ISSUE!r} here, must be in it.")
    in_order = names == sorted(names)          # as counters and clocks are
    if len(set(names)) < len(names) or min(map(len, names)) < len(ISSUE) + FEWEST or in_order:
        yield Problem(gave=f"ENVIDs {names[0]!r}, {names[1]!r}, …", wire="A stranger guesses the next one.",
                      look="`secrets.token_urlsafe` makes what nobody can guess.")

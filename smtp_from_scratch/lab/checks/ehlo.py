"""The checks of `ehlo`: the list, parameters and who judges them, what an offer allows, an extension of one's own."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from smtp_from_scratch.ehlo import EightBitMime, ExtendedSession, Extension, ExtensionSet, Parameter, Size
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, as_word, check
from smtp_from_scratch.rules import Limits
from smtp_from_scratch.wire import Reply

HOST = "mail.tokyo.example"


def shown(answer: Any) -> str:
    """A reply as a problem quotes it, or what came in its place."""
    return str(answer) if isinstance(answer, Reply) else repr(answer)


def code_of(answer: Any) -> Any:
    """The code of a refusal; None for None."""
    return getattr(answer, "code", answer)


# --- your turn: EHLO ------------------------------------------------------------------------------------------------


class Hidden(Extension):
    """What is not shown today."""

    keyword = "XHIDDEN"

    def advertise(self, session: ExtendedSession) -> None:
        return None


def greeted(my_ehlo: Callable[[Any, str], Any], verb: str, argument: str, *extensions: Extension,
            **options: Any) -> tuple[ExtendedSession, Any]:
    """A session that was in a transaction, and what its caller hears to EHLO or HELO."""
    session = ExtendedSession(HOST, state="rcpt", verb=verb, extensions=ExtensionSet(extensions), **options)
    session.envelope = Envelope("ana@rio.example", ["kenji@tokyo.example"], hello="rio.example")
    return session, my_ehlo(session, argument)


@check(
    hints=(
        "Which of the two verbs has a list, and what is in it besides what the extensions advertise?",
        r'lines = [session.hostname, *(line for … if line is not None), "HELP"]; return Reply(250, "\n".join(lines))',
        "Let `helo` do what is old, and go on only when its reply is positive. Then note in `session.extended` which "
        "verb it was; after HELO its own reply is right. After EHLO join our name, all lines but None, and HELP.",
    ),
    passed="A list for EHLO, a line for HELO, and what hides stays hidden.",
    not_yet="write the rest of `my_ehlo`, then run the cell again.",
)
def check_ehlo(my_ehlo: Callable[[Any, str], Any]) -> Iterator[Problem]:
    """EHLO says what is offered."""
    sets: list[tuple[list[Extension], list[str]]] = [
        ([], []), ([Size()], ["SIZE 5000"]), ([EightBitMime(), Hidden(), Size()], ["8BITMIME", "SIZE 5000"])]
    for extensions, offers in sets:
        session, reply = greeted(my_ehlo, "EHLO", "lima.example", *extensions, limits=Limits(max_size=5000))
        if reply is None or reply is ...:
            raise NotYet("write the rest of `my_ehlo`, then run the cell again.")
        yield from problems_of_a_list(session, reply, [HOST, *offers, "HELP"])
    yield from problems_after_helo(my_ehlo)
    for verb in ("EHLO", "HELO"):
        yield from problems_of_a_refusal(my_ehlo, verb)


def problems_of_a_list(session: ExtendedSession, reply: Any, expected: list[str]) -> Iterator[Problem]:
    """What a client hears to EHLO, and what the session knows then."""
    if not isinstance(reply, Reply) or reply.code != 250:
        yield Problem(gave=f"{shown(reply)} to EHLO", wire="The client falls back to HELO.",
                      look="Return Reply(250, …), its lines joined by a line feed.")
    elif reply.lines != expected:
        yield Problem(gave=f"the lines {reply.lines}", wire="A client believes each line after the first.",
                      look=f"{expected} is due: our name, each advertised line in its order, HELP; None is hidden.")
    elif not session.extended:
        yield Problem(gave="a list, and `session.extended` is False",
                      wire="The client says SIZE=, as you have offered, and hears 555.",
                      look="Note in `session.extended` that the client said EHLO.")
    elif session.envelope.recipients or session.envelope.hello != "lima.example" or session.state != "ready":
        yield Problem(gave="a session that still has its transaction", wire="The next message goes to Kenji too.",
                      look="`helo` ends the transaction and notes the name: call it first.")


def problems_after_helo(my_ehlo: Callable[[Any, str], Any]) -> Iterator[Problem]:
    """HELO from a client that had said EHLO before."""
    session, reply = greeted(my_ehlo, "HELO", "lima.example", Size(), extended=True)
    if shown(reply) != f"250 {HOST}":
        yield Problem(gave=f"{shown(reply)} to HELO", wire="A client of 1982 never asked for a list.",
                      look="After HELO return what `helo` returned.")
    elif session.extended:
        yield Problem(gave="HELO after EHLO, and `session.extended` is still True",
                      wire="Parameters are taken that were not offered in this session.",
                      look="HELO sets `session.extended` to False.")


def problems_of_a_refusal(my_ehlo: Callable[[Any, str], Any], verb: str) -> Iterator[Problem]:
    """A name that `helo` refuses."""
    session, reply = greeted(my_ehlo, verb, "(rio", Size(), extended=True)
    if code_of(reply) != 501 or verb not in getattr(reply, "text", ""):
        yield Problem(gave=f"{shown(reply)} to `{verb} (rio`", wire="The client looks for its mistake at HELO.",
                      look=f"`helo` has refused the name: pass its 501 on, with the word {verb} in it.")
    elif not session.extended or session.envelope.hello != "rio.example":
        yield Problem(gave=f"501 to {verb}, and the session has changed", wire="A refused command moves nothing.",
                      look="Return the refusal before you touch `session.extended`.")


# --- your turn: parameters ------------------------------------------------------------------------------------------

PARAMETERS: dict[str, Any] = {
    "": {}, " SIZE=1000": {"SIZE": "1000"}, " SIZE=1000 body=8BITMIME": {"SIZE": "1000", "BODY": "8BITMIME"},
    " SMTPUTF8": {"SMTPUTF8": None}, "  size=1   BODY=7BIT ": {"SIZE": "1", "BODY": "7BIT"},
    " SIZE=1 SIZE=2": 501, " size=1 SIZE=1": 501, " SMTPUTF8 smtputf8": 501, " X-1=<a>": {"X-1": "<a>"},
    " BODY=a=b": 501, " A=": 501, " =1": 501, " -A=1": 501, " A_B=1": 501, " SIZE=1\tBODY=7BIT": 501, "SIZE=1": 501,
}


@check(
    hints=(
        "What is `match` when a word is not a parameter? And is the name in `found` already, in any case of letters?",
        "found[match[1].upper()] = match[2]",
        "A word that does not match is an error, and the reply to it is 501. Names count in any case of letters, so "
        "keep them in upper case, and a name that is there already is the same error. The value is the second group, "
        "which is None where there is no equals sign.",
    ),
    passed="Names in any case, values as they are, nothing twice, and nothing guessed.",
)
def check_parameters(my_parameters: Callable[[str], Any]) -> Problem | None:
    """The words after a path are read."""
    for text, expected in PARAMETERS.items():
        found = my_parameters(text)
        if found is None or (isinstance(found, dict) and ... in found):
            raise NotYet("two places are open: is the name there already, and what do you store under it?")
        if not isinstance(found, dict | Reply):
            return Problem(gave=f"{found!r} for {text!r}", wire="The stage has no code to say.",
                           look="Return a dict, or a Reply when something is wrong: `Reply(501, \"…\")`.")
        if expected == 501:
            if getattr(found, "code", 0) != 501:
                twice = "PARAMETER matches no such word: look at the match before you use it."
                wire = "A server that guesses what was meant takes another message than the client sends."
                if len({word.partition("=")[0].upper() for word in text.split()}) < len(text.split()):
                    wire = "The second value would silently win, and the client might have meant the first."
                    twice = "Names count in any case: compare what you have stored with `match[1].upper()`."
                return Problem(gave=f"{found!r} for {text!r}", wire=wire, look=twice)
        elif found != expected:
            return Problem(gave=f"{found!r} for {text!r}", wire=f"The client said {expected!r}.",
                           look="match[1] is the name, in upper case please; match[2] the value, None without `=`.")
    return None


# --- your turn: values ----------------------------------------------------------------------------------------------


@check(
    hints=(
        "What does `Parameter` want: the answer to a value, or a function that answers?",
        "def check(session, value): …; return Parameter(check, octets)",
        "Define a function within yours, and let it compare `value.upper()` with the allowed values. A value that is "
        "missing is None, which has no `upper`. Return a Parameter with that function and the octets.",
    ),
    passed="The values in any case, and 501 for everything else.",
    not_yet="write the body of `my_one_of`, then run the cell again.",
)
def check_one_of(my_one_of: Callable[..., Any]) -> Iterator[Problem]:
    """A parameter that takes one of some values."""
    made, other = my_one_of("7BIT", "8BITMIME", octets=17), my_one_of("YES", octets=3)
    if not isinstance(getattr(made, "octets", None), int) or not callable(getattr(made, "check", None)):
        yield Problem(gave=f"{made!r}", wire="Nobody can ask it about a value.",
                      look="Return Parameter(check, octets), where `check` is a function of a session and a value.")
    if (made.octets, other.octets, my_one_of("A").octets) != (17, 3, 0):
        yield Problem(gave=f"{made.octets} octets for octets=17", wire="The line of MAIL is refused as too long.",
                      look="Hand `octets` on to the Parameter.")
    for value in ("7BIT", "9BIT"):
        if isinstance(made.check(None, value), bool):
            yield Problem(gave=f"a `check` that returns {made.check(None, value)} for {value!r}",
                          wire="The stage has no code to say.", look="None when the value is good, else a Reply.")
    for value in ("7BIT", "8BITMIME", "8bitmime", "8BitMime"):
        if made.check(None, value) is not None:
            yield Problem(gave=f"{shown(made.check(None, value))} for {value!r}",
                          wire="A good message is refused.", look="Values count in any case: compare `value.upper()`.")
    refused: tuple[str | None, ...] = (None, "", "9BIT", "7BIT ", "8BITMIME8", "YES")
    for wrong in refused:
        if code_of(made.check(None, wrong)) != 501:
            yield Problem(gave=f"{shown(made.check(None, wrong))} for {wrong!r}",
                          wire="You have agreed to something that you do not know.",
                          look="Everything that is not in the list is 501; None is a parameter without a value.")
    if other.check(None, "YES") is not None or code_of(other.check(None, "7BIT")) != 501:
        yield Problem(gave="one list for two parameters", look="Each call of `my_one_of` has its own `values`.")


def at_most(limit: int, code: int) -> Parameter:
    """A parameter that takes a number up to a limit; its refusal has this code."""
    return Parameter(lambda session, value: None if value and int(value) <= limit else Reply(code, "too much"))


@check(
    hints=(
        "Three things can be wrong with NAME=value: which of them is 555?",
        "verdicts = [parameter.check(session, value) for parameter in known[name]]",
        "If the session is not extended, no name is known, and an unknown name is 555. For a known name, collect the "
        "verdicts of all its Parameters. One None is enough, because that extension accepts the value; without a None, "
        "return the first verdict.",
    ),
    passed="555 for names, the extension's own refusal for values, and nothing after HELO.",
    not_yet="write the body of `my_check_parameters`, then run the cell again.",
)
def check_known(my_check_parameters: Callable[[Any, str, Mapping[str, Any]], Any]) -> Iterator[Problem]:
    """Names that nobody knows, and values that are refused."""
    session = ExtendedSession(HOST, extensions=ExtensionSet([Size()]), extended=True)
    session.extensions.parameters = {
        "MAIL": {"A": (at_most(5, 501),), "B": (at_most(5, 501), at_most(9, 504)), "C": (at_most(1, 552),)},
        "RCPT": {"D": (at_most(5, 501),)}}
    for verb, given, expected in (
            ("MAIL", {}, None), ("MAIL", {"A": "1"}, None), ("MAIL", {"A": "6"}, 501), ("MAIL", {"X": "1"}, 555),
            ("MAIL", {"X": None}, 555), ("MAIL", {"A": None}, 501), ("MAIL", {"B": "7"}, None),
            ("MAIL", {"B": "10"}, 501), ("MAIL", {"A": "1", "X": "1"}, 555), ("MAIL", {"A": "1", "C": "2"}, 552),
            ("MAIL", {"C": "2", "X": "1"}, 552), ("MAIL", {"D": "1"}, 555), ("RCPT", {"D": "1"}, None),
            ("RCPT", {"A": "1"}, 555), ("DATA", {"A": "1"}, 555)):
        answer = my_check_parameters(session, verb, given)
        if answer is not None and not isinstance(answer, Reply):
            yield Problem(gave=f"{answer!r} for {verb} with {given}", wire="The stage has no code to say.",
                          look="Return a Reply, or None when all is well.")
        elif code_of(answer) != expected:
            yield Problem(gave=f"{shown(answer)} for {verb} with {given}", wire=why(expected),
                          look=f"{expected}: {verb} knows {sorted(session.extensions.parameters.get(verb, {}))}; "
                          "B is known by two extensions, the second takes up to 9.")
    session.extended = False
    if code_of(my_check_parameters(session, "MAIL", {"A": "1"})) != 555:
        yield Problem(gave=f"{shown(my_check_parameters(session, 'MAIL', {'A': '1'}))} after HELO",
                      wire="In 1982 there were no parameters, and none was offered in this session.",
                      look="Unless `session.extended` is True, nobody knows any name.")
    if my_check_parameters(session, "MAIL", {}) is not None:
        yield Problem(gave="a refusal of a plain MAIL after HELO", wire="No mail comes in from old clients.",
                      look="Where nothing is given, nothing is wrong.")


def why(expected: int | None) -> str:
    """What a wrong verdict does."""
    if expected is None:
        return "A good command is refused."
    return "The client must learn that this name is unknown here." if expected == 555 else (
        "The extension that knows the name has another reason.")


# --- your turn: 8BITMIME --------------------------------------------------------------------------------------------


def misshapen(kind: type) -> Problem | None:
    """What is wrong with the form of a class that shall be an extension."""
    if not hasattr(kind, "advertise"):
        return Problem(gave="a class that is no Extension", wire="The set of extensions cannot ask it anything.",
                       look=f"`class {kind.__name__}(Extension):`")
    mine: Any = kind()
    if not callable(mine.parameters):
        return Problem(gave="`parameters` that is no method", wire="The set of extensions calls it.",
                       look="`def parameters(self):`, and return the dict.")
    try:
        known = mine.parameters()
    except TypeError as error:
        if "takes 0 positional arguments" not in str(error):
            raise
        return Problem(gave="a method without `self`", wire="Python hands each method its object.",
                       look="`def parameters(self):`")
    if not mine.keyword and not known:
        raise NotYet("give the class its keyword and its parameter, then run the cell again.")
    if known is None:
        return Problem(gave="a method `parameters` that returns nothing", wire="The list has a keyword without a use.",
                       look='`return {"MAIL": {…}}`')
    if not isinstance(known, Mapping) or not all(isinstance(names, Mapping) for names in known.values()):
        return Problem(gave=f"{known!r}", wire="The server does not know of which command that is a parameter.",
                       look='By verb, then by name: {"MAIL": {…}}.')
    if odd := [one for names in known.values() for one in names.values() if not hasattr(one, "octets")]:
        return Problem(gave=f"{odd[0]!r} as a parameter", wire="Nobody can ask it about a value.",
                       look="A `Parameter(check, octets)`; `one_of(…)` makes one.")
    return None


@check(
    hints=(
        "Which of the six methods of `Extension` must return something else here?",
        'keyword = "8BITMIME"; def parameters(self): return {"MAIL": {"BODY": …}}',
        "The keyword is a line of the class, and with it the line in the list is right already. `parameters` returns "
        "a dict of dicts, by verb and name. The value of BODY is one of two words, and `one_of` makes that Parameter.",
    ),
    passed="Two members, and the server takes eight bits.",
    not_yet="give the class its keyword and its parameter, then run the cell again.",
)
def check_eight_bit(MyEightBitMime: type) -> Iterator[Problem]:
    """8BITMIME at the server's end."""
    if problem := misshapen(MyEightBitMime):
        yield problem
        return
    mine: Any = MyEightBitMime()
    offer = replies(mine)[0]
    if mine.keyword != "8BITMIME" and mine.keyword.upper() == "8BITMIME":
        yield Problem(gave=f"the keyword {mine.keyword!r}",
                      wire="A client understands it. But our own rooms look for the keyword as the RFC writes it.",
                      look='`keyword = "8BITMIME"`')
    if "8BITMIME" not in offer.lines[1:]:
        yield Problem(gave=f"an EHLO reply {offer}", wire="No client ever says BODY=.",
                      look='`keyword = "8BITMIME"`; RFC 6152 gives it no parameter in the list.')
    for words, expected in (("BODY=8BITMIME", 250), ("BODY=7BIT", 250), ("body=8bitmime", 250), ("BODY=9BIT", 501),
                            ("BODY", 501), ("BODY=BINARYMIME", 501), ("SIZE=5", 555)):
        reply = replies(mine, f"MAIL FROM:<ana@rio.example> {words}")[1]
        if reply.code != expected:
            yield Problem(gave=f"{reply.code} to `MAIL FROM:<ana@rio.example> {words}`",
                          wire="Those who write in Japanese get no mail out." if expected == 250 else
                          "You have agreed to something that you do not know.",
                          look="`parameters`: MAIL has BODY, and its value is 7BIT or 8BITMIME (RFC 6152 §2).")
    if replies(mine, "MAIL FROM:<>", "RCPT TO:<postmaster> BODY=7BIT")[2].code != 555:
        yield Problem(gave="BODY taken at RCPT", wire="All recipients get one body.", look="It belongs to MAIL alone.")
    limit = ExtensionSet([mine]).limits["MAIL"]
    if limit != 529:
        yield Problem(gave=f"{limit} octets for the line of MAIL", wire="A long path with BODY= after it is refused.",
                      look="BODY=8BITMIME may add 17 octets (RFC 6152 §2): octets=17.")


# --- your turn: offers ----------------------------------------------------------------------------------------------

LISTS: list[tuple[str, dict[str, str]]] = [
    ("mx", {}), ("mx says hello\nSIZE 100\npipelining", {"SIZE": "100", "PIPELINING": ""}),
    ("mx\nSIZE", {"SIZE": ""}), ("SIZE.example\n8BITMIME", {"8BITMIME": ""}),
    ("mx\nAUTH PLAIN LOGIN", {"AUTH": "PLAIN LOGIN"}), ("mx\nAUTH=LOGIN PLAIN", {"AUTH": "LOGIN PLAIN"}),
    ("mx\nAUTH=LOGIN PLAIN\nAUTH PLAIN CRAM-MD5", {"AUTH": "LOGIN PLAIN CRAM-MD5"}),
    ("mx\nauth PLAIN\nSIZE 5\nAuth=PLAIN LOGIN", {"AUTH": "PLAIN LOGIN", "SIZE": "5"}),
    ("mx\nLIMITS RCPTMAX=20 MAILMAX=5", {"LIMITS": "RCPTMAX=20 MAILMAX=5"}),
]


@check(
    hints=(
        "Is the first line an offer? And what splits a line at its first space?",
        'keyword, _, rest = line.partition(" ")',
        "Leave the first line out, it is the server's name. Split each other line at its first space, and keep the "
        "keyword in upper case. A line that begins with AUTH= is AUTH with a space, and the words of all AUTH lines go "
        "together.",
    ),
    passed="You read the list as the client does.",
    not_yet="write the body of `my_offers`, then run the cell again.",
)
def check_offers(my_offers: Callable[[Reply], Any]) -> Iterator[Problem]:
    """EHLO's reply as a dict."""
    for text, expected in LISTS:
        found = my_offers(Reply(250, text))
        if found != expected:
            wire = "The client uses what was not offered, or leaves unused what was."
            if "auth" in text.lower():
                wire = "The client picks a mechanism from this list, and may find none that it knows."
            yield Problem(gave=f"{found!r} for {text!r}", wire=wire, look=f"{expected!r} is due.")


# --- exercise 1: what may be said ------------------------------------------------------------------------------------

OFFERS: dict[str, dict[str, str]] = {
    "A": {"SIZE": "1000000", "8BITMIME": "", "HELP": ""}, "B": {"8BITMIME": "", "HELP": ""},
    "C": {"SIZE": "", "PIPELINING": ""}, "D": {}, "E": {"8BITMIME": "", "SIZE": "100000"},
}
WHY = {
    "A": "Both keywords are there, and the message is below the limit.",
    "B": "Keywords count in any case. No SIZE was offered.",
    "C": "`é` is beyond ASCII. Which keyword must be there?",
    "D": "After HELO there are no parameters, and `é` needs one.",
    "E": "Look at the limit before anything is said.",
}


def what_differs(said: Any, expected: list[str], why: str) -> tuple[str, str]:
    """What to say about a MAIL line that is not the one that a client says: its beginning first."""
    words = str(said).split(" ")
    if [words[0].upper(), *words[1:2]] != expected[:2]:
        return "The server answers 501, or bounces go to somebody else.", (
            "The line begins with `MAIL FROM:<…>`, the sender in the brackets, with no space after the colon.")
    more = [word for word in words[2:] if word.upper() not in expected]
    wire = f"The server has not offered `{more[0]}`, or does not understand it." if more else (
        f"The server has offered more: the line has {len(expected)} words.")
    return wire, f"{why} A number has digits and nothing else." if more and "," in more[0] else why


def same_line(said: Any, expected: list[str] | None) -> bool:
    """Whether these are the words: verb and FROM in any case of letters and in their place, parameters in any order."""
    if said is None or expected is None:
        return said is expected
    words = str(said).removesuffix("\r\n").split(" ")
    verb, path = words[0].upper(), " ".join(words[1:2])
    begins = [verb, path[:5].upper() + path[5:]] == expected[:2]
    return begins and sorted(word.upper() for word in words[2:]) == sorted(expected[2:])


def truth(offered: dict[str, str]) -> list[str] | None:
    """The words of the MAIL line that a client of ours says, or None."""
    from smtp_from_scratch.client import SMTPNotSupportedError
    from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, Plan

    client = ClientSession("rio.example", (Size(), EightBitMime()))
    client.learn(offered)
    envelope = Envelope("ana@rio.example", ["kenji@tokyo.example"])
    try:
        plan = Plan(client, OutgoingMessage(envelope, [], 300_000, frozenset({"8BITMIME"})))
        return plan.mail.line().decode().split()
    except SMTPNotSupportedError:
        return None


@check(
    hints=(
        "For each: is the letter too large, and may it have an é?",
        'A: "MAIL FROM:<…> SIZE=300000 BODY=8BITMIME"',
        "A client says a parameter only if its keyword was in the reply to EHLO, in any case of letters. SIZE is "
        "said wherever it is offered, and a message above the offered limit is not sent at all. A text with an é "
        "needs 8BITMIME, and without it the message stays here.",
    ),
    passed="You read an offer as the client does.",
)
def check_mail_lines(my_lines: dict[str, Any]) -> Problem | None:
    """The line with MAIL for each of five offers."""
    for name, offered in OFFERS.items():
        if name not in my_lines or my_lines[name] is ...:
            raise NotYet(f"a line (or None) for `{name}` is missing.")
        said, expected = my_lines[name], truth(offered)
        said = said.decode("ascii", "replace") if isinstance(said, bytes) else said
        said = None if as_word(said) is None else said
        if not same_line(said, expected):
            wire, look = "Such a message is not sent at all.", WHY[name]
            if expected and said is not None:
                wire, look = what_differs(said, expected, look)
            elif expected:
                wire = "A message that this server would take is not sent."
            return Problem(gave=f"{my_lines[name]!r} for server {name}", wire=wire, look=look)
    return None


# --- exercise 2: bugs -----------------------------------------------------------------------------------------------

BUGS = {"A": 2, "B": 4, "C": 5, "D": 5, "E": 5}
SAID_BY_THE_SERVER = {"A": (2, 3, 5, 7), "B": (2, 4, 6), "C": (2, 3, 5, 7), "D": (2, 3, 5, 7), "E": (2, 3, 5, 7)}
BUGS_LOOK = {
    "A": "Is the reply over after its first line? What follows the code?",
    "B": "What was offered in this session, and to whom?",
    "C": "The server has named its limit. What did MAIL announce?",
    "D": "Is the *verb* unknown? There is a code of its own for a parameter that nobody knows.",
    "E": "Which of the two sizes does the server believe, and which did the client mean?",
}


@check(
    hints=(
        "In which line does the server break its own promise?",
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
        if (given := as_number(my_bugs[name])) != line:
            wire = "The server does not say that line, and the bug is the server's."
            if given in SAID_BY_THE_SERVER[name]:
                wire = "A good server may say that there." if given < line else "By then the mistake has been made."
            return Problem(gave=f"line {given} for {name}", wire=wire, look=BUGS_LOOK[name])
    return None


# --- exercise 3: an extension ---------------------------------------------------------------------------------------


def replies(extension: Any, *lines: str, busy: bool = False) -> list[Reply]:
    """What a server with this extension answers to EHLO and to some lines."""
    from smtp_from_scratch.conversation import read_reply, rehearse
    from smtp_from_scratch.session import serve

    def dictate() -> Any:
        heard = [(yield from read_reply())]
        for line in ("EHLO rio.example", *lines):
            yield line.encode() + b"\r\n"
            heard.append((yield from read_reply()))
        return heard[1:]

    session = ExtendedSession("mx.example", extensions=ExtensionSet([extension]), notes={"busy": True} if busy else {})
    return list(rehearse(dictate(), serve(session)).client)


GOOD, BAD = ("0", "9", "-9", "3"), ("10", "-10", "+1", "01", "-0", "", "two", "1.5", "1_0", "\u0663")


@check(
    hints=(
        "Which method names a parameter of MAIL, and what does its `check` return when all is well?",
        'def parameters(self): return {"MAIL": {"MT-PRIORITY": Parameter(self.check_priority, octets=15)}}',
        "Give the class a method that looks at a session and a value. A value is good if it is what Python writes for "
        "a number from -9 to 9; else 501. Only then ask the session whether it is busy: 450 for a number below 0.",
    ),
    passed="Offered, judged, and put off when there is no time for it.",
    not_yet="give the class its keyword and its parameter, then run the cell again.",
)
def check_priority(MyPriority: type) -> Iterator[Problem]:
    """MT-PRIORITY at the server's end."""
    if problem := misshapen(MyPriority):
        yield problem
        return
    mine: Any = MyPriority()
    offer = replies(mine)[0]
    if "MT-PRIORITY" not in offer.lines[1:]:
        yield Problem(gave=f"an EHLO reply {offer}", wire="No client ever says MT-PRIORITY=.",
                      look="`advertise` says `keyword`, unless you write your own.")
    yield from problems_of_values(mine)
    yield from problems_when_busy(mine)
    limit = ExtensionSet([mine]).limits["MAIL"]
    if limit != 527:
        yield Problem(gave=f"{limit} octets for the line of MAIL", wire="A long path with a priority is refused.",
                      look="It may be 15 longer than 512: octets=15.")


def problems_of_values(mine: Any) -> Iterator[Problem]:
    """Which values are taken, and where."""
    for value in (*GOOD, *BAD):
        reply = replies(mine, f"MAIL FROM:<ana@rio.example> MT-PRIORITY={value}")[1]
        expected = 250 if value in GOOD else 501
        if reply.code != expected:
            yield Problem(gave=f"{reply.code} to MT-PRIORITY={value}", wire=f"RFC 6710 makes that a {expected}.",
                          look="A whole number from -9 to 9, as Python writes it: `str(int(value)) == value`.")
    if replies(mine, "MAIL FROM:<ana@rio.example> MT-PRIORITY")[1].code != 501:
        yield Problem(gave="MT-PRIORITY taken without a value", wire="Nobody knows how urgent the message is.",
                      look="A value that is missing is None.")
    if replies(mine, "MAIL FROM:<>", "RCPT TO:<postmaster> MT-PRIORITY=1")[2].code != 555:
        yield Problem(gave="MT-PRIORITY taken at RCPT", wire="555: RFC 6710 has it on MAIL, and on nothing else.",
                      look='The dict of `parameters` has one key, "MAIL".')


def problems_when_busy(mine: Any) -> Iterator[Problem]:
    """What a busy server puts off, and what it does not."""
    for value, expected in (("-1", 450), ("-9", 450), ("0", 250), ("5", 250), ("-10", 501)):
        reply = replies(mine, f"MAIL FROM:<ana@rio.example> MT-PRIORITY={value}", busy=True)[1]
        if reply.code != expected:
            yield Problem(gave=f"{reply.code} to MT-PRIORITY={value} at a busy server",
                          wire="450 makes the client come again: it is for what is well formed, and welcome later.",
                          look='`session.notes.get("busy")`, and the number below 0.')
    if replies(mine, "MAIL FROM:<ana@rio.example>", busy=True)[1].code != 250:
        yield Problem(gave="a MAIL without a priority refused at a busy server", wire="Ordinary mail is 0, not below.",
                      look="Only the parameter's check has a say here, not the method `check`.")

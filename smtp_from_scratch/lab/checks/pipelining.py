"""The checks of `pipelining`: groups, round trips, replies matched by order, and LIMITS implemented alone."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from types import EllipsisType
from typing import Any

from smtp_from_scratch.client import Receipt
from smtp_from_scratch.conversation import Disconnected, Line, rehearse
from smtp_from_scratch.ehlo import ExtendedSession, Extension, ExtensionSet, check_requirements
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.session import serve
from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, Plan, leave, open_session
from smtp_from_scratch.wire import CRLF, Reply, WireError, parse_reply

Talk = Generator[Any, Any, Any]
FREE = {"", "RSET", "MAIL", "SEND", "SOML", "SAML", "RCPT"}
BODY = [b"Subject: Choir\r\n\r\nRehearsal moved to Monday, 8 pm.\r\n"]

# --- your turn: groups -------------------------------------------------------------------------------------------


@check(
    hints=(
        "When is a group complete: before or after a verb that must end it?",
        "Put every verb into the last group; after one that is not free, begin a new, empty group.",
        "Walk through the verbs and put each into the last group. A verb that is not free ends its group, so begin "
        "a new group after it. A list that is still empty at the end is not a group.",
    ),
    passed="The fewest groups that may fly, and every command in its place.",
)
def check_groups(my_groups: Callable[[Sequence[str]], Any]) -> Problem | None:
    """Verbs cut into groups."""
    cases: list[tuple[list[str], list[list[str]]]] = [
        (["EHLO", "MAIL", "RCPT", "DATA", "", "QUIT"], [["EHLO"], ["MAIL", "RCPT", "DATA"], ["", "QUIT"]]),
        (["MAIL", "RCPT"], [["MAIL", "RCPT"]]),
        (["NOOP", "NOOP"], [["NOOP"], ["NOOP"]]),
        (["", "RSET", "MAIL", "RCPT", "DATA"], [["", "RSET", "MAIL", "RCPT", "DATA"]]),
        (["STARTTLS", "XYZZY", "MAIL"], [["STARTTLS"], ["XYZZY"], ["MAIL"]]),
        ([], []),
    ]
    for verbs, truth in cases:
        given = my_groups(list(verbs))
        if given is None or isinstance(given, EllipsisType):
            raise NotYet("return a list of groups, each a list of verbs.")
        try:
            groups = [list(group) for group in given]
        except TypeError:
            return Problem(gave=f"{given!r} for {verbs}", look="A list of groups, each a list of verbs.")
        if [verb for group in groups for verb in group] != verbs:
            return Problem(gave=f"{given!r} for {verbs}", wire="The server hears other commands, or in another order.",
                           look="Every verb is in one group, and the order stays.")
        if problem := unlawful(groups):
            return problem
        if [] in groups:
            return Problem(gave=f"{given!r} for {verbs}", wire="A flight of nothing.",
                           look="Which list did you open and never fill: the first, or the one after the last verb?")
        if groups != truth:
            return Problem(gave=f"{len(groups)} groups for {verbs}", wire=f"{len(truth)} would do; each costs a round "
                           "trip.", look="Which of your cuts comes after a verb that is free?")
    return None


def unlawful(groups: list[list[str]]) -> Problem | None:
    """A verb that should have ended its group and did not."""
    for group in groups:
        for verb, follower in zip(group, group[1:], strict=False):
            if verb not in FREE:
                return Problem(gave=f"a group in which {follower or 'a letter'} flies after {verb}",
                               wire=f"It is said before the reply to {verb} is heard.",
                               look="The list in loop 1: which verbs are free, and what does that say of all others?")
    return None


# --- exercise 1: twelve commands ---------------------------------------------------------------------------------

TWELVE = ["EHLO rio.example", "MAIL FROM:<ana@rio.example>", "NOOP", "RCPT TO:<kenji@tokyo.example>", "DATA",
          "(the first letter)", "RSET", "MAIL FROM:<ana@rio.example>", "RCPT TO:<yui@tokyo.example>", "DATA",
          "(the second letter)", "QUIT"]
WHY = {
    "EHLO": "Whether the server knows PIPELINING at all is in the reply to EHLO.",
    "NOOP": "NOOP asks: have you done everything so far? A client that does not wait has no reason to ask.",
    "DATA": "If DATA is refused, every line of the letter is obeyed as a command.",
}


@check(
    hints=(
        "After which of the twelve must Ana wait? The last one ends a group in any case.",
        "Five groups; the fourth begins with a letter.",
        "A group may fly until a command whose answer decides how the next octets are read. DATA, EHLO, NOOP and "
        "QUIT are such commands; MAIL, RCPT, RSET and the text of a letter are not. So cut after each of those, "
        "and nowhere else.",
    ),
    passed="Five groups, and not a cut too many: with dialing and the greeting that makes seven round trips.",
)
def check_flights(my_flights: list[list[str]]) -> Problem | None:
    """Twelve commands in the fewest groups."""
    if not all(isinstance(group, list | tuple) for group in my_flights):
        return Problem(gave=f"{my_flights[0]!r} as the first group", look="A list of lists, each a group.")
    said = [command for group in my_flights for command in group]
    if said != TWELVE:
        position = next((i for i, pair in enumerate(zip(said, TWELVE, strict=False)) if pair[0] != pair[1]),
                        min(len(said), len(TWELVE)))
        return Problem(gave=f"{said[position] if position < len(said) else 'nothing'!r} as number {position + 1}",
                       wire=f"Number {position + 1} is {(*TWELVE, 'nothing')[position]!r}.",
                       look="All twelve, in this order: only the cuts are yours.")
    verbs = [["" if command.startswith("(") else command.split()[0] for command in group]
             for group in my_flights if group]
    if problem := unlawful(verbs):
        verb = problem.gave.rpartition(" ")[2]
        return Problem(gave=problem.gave, wire=problem.wire, look=WHY[verb])
    if len(verbs) != 5:
        return Problem(gave=f"{len(verbs)} groups", wire="Every group costs a round trip, and five are enough.",
                       look="Can a letter's text fly together with what comes after it?")
    return None


# --- exercise 2: round trips -------------------------------------------------------------------------------------


@check(
    hints=(
        "Begin with what every session has: dialing, the greeting, EHLO. When does the first reply to MAIL come?",
        "One at a time, a letter costs MAIL, each RCPT, DATA and its text; in groups, one flight each, and one "
        "more for the last text with QUIT.",
        "Every session dials, hears a greeting and asks EHLO, which is three. One at a time, each command and each "
        "text costs one more. In groups, an envelope with its DATA is one flight, and the text of a letter flies "
        "with the envelope that follows it, or with QUIT.",
    ),
    passed="Your sums and the rehearsals agree, for every choir.",
)
def check_round_trips(my_round_trips: Callable[[int, int, bool], Any]) -> Problem | None:
    """Round trips by arithmetic, against the rehearsal."""
    from smtp_from_scratch.pipelining import Pipelining

    for recipients, messages, pipelining in ((1, 1, False), (50, 1, False), (3, 2, False), (50, 1, True), (1, 1, True),
                                            (7, 2, True), (2, 10, True)):
        given = my_round_trips(recipients, messages, pipelining)
        if given is None or isinstance(given, EllipsisType):
            raise NotYet("return a number of round trips.")
        offers = [Pipelining()] if pipelining else []
        people = [f"reader{n}@tokyo.example" for n in range(recipients)]
        client = ClientSession("rio.example", check_requirements(offers))
        show = rehearse(one_after_another(client, messages * [people]), tokyo(offers))
        if given != (truth := show.turns // 2 + 2):
            return Problem(gave=f"{given} for {recipients} recipients, {messages} messages and pipelining={pipelining}",
                           wire=f"The rehearsal takes {truth}, the dial included.",
                           look="Write down the flights of that session. Which of them wait for a reply?")
    return None


def one_after_another(client: ClientSession, letters: list[list[str]]) -> Talk:
    """A whole session: a message to each of these lists of people."""
    yield from open_session(client)
    for people in letters:
        yield from Plan(client, OutgoingMessage(Envelope("ana@rio.example", people), BODY)).run()
    yield from leave(client)


def tokyo(extensions: Sequence[Extension] = (), kept: list[Envelope] | None = None) -> Talk:
    """A server that keeps the envelopes of what it took."""
    keep = (lambda envelope, body: kept.append(envelope)) if kept is not None else (lambda envelope, body: None)
    return serve(ExtendedSession("mail.tokyo.example", keep, extensions=ExtensionSet(extensions)))


# --- exercise 3: replies that deceive ----------------------------------------------------------------------------

PEOPLE = ["kenji@tokyo.example", "yui@tokyo.example", "sora@tokyo.example"]


def by_code(replies: list[Reply]) -> dict[str, Reply]:
    """The first hasty client: it looks for codes that it knows."""
    return dict(zip(PEOPLE, [reply for reply in replies if reply.code in (250, 550)][1:], strict=False))


def by_text(replies: list[Reply]) -> dict[str, Reply]:
    """The second one: it looks for the address."""
    return {person: reply for person in PEOPLE for reply in replies if person in reply.text}


@check(
    hints=(
        "By code: RFC 5321 has other good answers than 250, and other bad ones than 550. What happens after one "
        "of them? By text: which good reply to RCPT names somebody else?",
        '"251 not here; I forward to <sora@tokyo.example>" to Yui, and then a refusal without a name to Sora.',
        "A client that sorts replies by their code knows only the codes that its author thought of. A client that "
        "looks for an address in the text believes whatever address is there. Give each of them a proper reply "
        "that it does not expect, so that a yes becomes a no, or the other way round.",
    ),
    passed="Both clients are wrong about somebody, and every reply was a proper one.",
)
def check_replies(my_replies: dict[str, Any]) -> Problem | None:
    """Replies that a hasty client matches with the wrong recipient."""
    for name, client in (("by_code", by_code), ("by_text", by_text)):
        lines = my_replies.get(name)
        if not isinstance(lines, list | tuple) or any(line is ... for line in lines):
            raise NotYet(f"five replies for `{name}` are missing.")
        try:
            replies = [parse_reply(line.encode().split(CRLF)) for line in lines]
        except (WireError, UnicodeError) as error:
            return Problem(gave=f"something that is not a reply: {error}", wire="Every client would hang up.",
                           look="Three digits, a space, a text.")
        codes = [reply.code for reply in replies]
        proper = len(codes) == 5 and codes[0] == 250 and codes[4] == 354 and all(
            code // 100 in (2, 4, 5) and code not in (221, 421) for code in codes[1:4])
        if not proper or not any(code // 100 == 2 for code in codes[1:4]):
            return Problem(gave=f"{codes} for `{name}`", wire="An honest server would not answer so.",
                           look="250 to MAIL, then 2yz, 4yz or 5yz to three RCPT, one of them a 2yz, and 354 to DATA.")
        believed, truth = client(replies), dict(zip(PEOPLE, replies[1:4], strict=True))
        if not any(believed[person].positive != truth[person].positive for person in believed):
            told = ", ".join(f"{reply.code} for {person}" for person, reply in believed.items())
            return Problem(gave=f"{codes} for `{name}`",
                           wire=f"It reports {told or 'nothing'}: no yes for a no, and no no for a yes.",
                           look="By code: which replies does its list leave out? By text: whose address may a reply "
                           "contain?")
    return None


# --- exercise 4: LIMITS ------------------------------------------------------------------------------------------


def to_everybody(client: ClientSession, people: list[str]) -> Talk:
    """Messages until nobody is put off any more: chapter `client`'s exercise, as a client would do it."""
    yield from open_session(client)
    rounds = 0
    while people and (rounds := rounds + 1) <= 10:
        plan = Plan(client, OutgoingMessage(Envelope("ana@rio.example", people), BODY))
        yield from plan.run()
        yield from client.read_replies()
        people = put_off(plan.receipt)
    yield from leave(client)


def put_off(receipt: Receipt) -> list[str]:
    """Who may be written to at once: those who were too many, when somebody was not."""
    return [who for who, reply in receipt.refused.items() if reply.code == 452 and receipt.accepted]


def announcing(line: str, log: list[list[str]]) -> Talk:
    """A server that says what it was told to say, and takes everybody; `log` has the recipients of each letter."""
    yield b"220 mail.tokyo.example\r\n"
    with suppress(Disconnected):
        while (command := (yield Line())) != b"QUIT":
            if command.startswith(b"EHLO"):
                yield f"250-mail.tokyo.example\r\n250 {line}\r\n".encode()
                continue
            if command.startswith(b"MAIL"):
                log.append([])
            elif command.startswith(b"RCPT"):
                log[-1].append(command.decode())
            elif command == b"DATA":
                yield b"354 go on\r\n"
                while (yield Line()) != b".":
                    pass
            yield b"250 fine\r\n"
        yield b"221 goodbye\r\n"


ANNOUNCED = [
    ("LIMITS RCPTMAX=100", [100, 1]), ("8BITMIME", [101]), ("LIMITS", [101]), ("LIMITS MAILMAX=7", [101]),
    ("LIMITS MAILMAX=20 RCPTMAX=60", [60, 41]), ("limits rcptmax=51", [51, 50]), ("LIMITS RCPTMAX=500", [101]),
    ("LIMITS RCPTMAX=many", [101]), ("LIMITS RCPTMAX=0", [101]), ("LIMITS RCPTMAX", [101]),
]


@check(
    hints=(
        "Server: how many recipients has `session.envelope` when one more RCPT comes? Client: what is in "
        '`plan.client.offered["LIMITS"]`, and who reads `plan.receipt.recipients`?',
        "for address in list(plan.recipients)[most:]: plan.receipt.recipients[address] = Reply(452, …); then "
        "del plan.recipients[address]",
        "The server's `check` sees every command before it is dispatched, and can answer 452 to a RCPT when the "
        "envelope has all the recipients that it may have. The client's `plan` reads the number from the offer, keeps "
        "the first so many recipients, and takes out the others. Each of these gets a 452 in the receipt, as if the "
        "server had said it, so that a second transaction follows.",
    ),
    passed="An RFC of 2024, at both ends, in a class of your own: 101 people have the letter, each once.",
)
def check_limits(MyLimits: type[Extension]) -> Iterator[Problem]:
    """LIMITS (RFC 9422) at both ends."""
    people = [f"reader{number}@tokyo.example" for number in range(1, 102)]
    for most in (100, 7):
        yield from announces(MyLimits, most)
    for line, expected in ANNOUNCED:
        log: list[list[str]] = []
        client = ClientSession("rio.example", check_requirements([MyLimits(100)]))  # type: ignore[call-arg]
        rehearse(to_everybody(client, people), announcing(line, log))
        heard = [command for letter in log for command in letter]
        if len(heard) != len(set(heard)) or len(set(heard)) != 101:
            yield Problem(gave=f"a client that names {len(set(heard))} of 101 people, {len(heard)} in all, where "
                          f"the server says {line!r}", wire="Somebody gets the letter twice, or not at all.",
                          look="Those who do not fit get a 452 in the receipt; the next letter is for them.")
        if [len(letter) for letter in log] != expected:
            yield Problem(gave=f"letters to {[len(letter) for letter in log]} people where the server says {line!r}",
                          wire=f"It should be {expected}.",
                          look="What the server says counts, not what your object was made with. Names and keywords "
                          "come in any case. A client skips a limit that makes no sense or that it does not know.")
    kept: list[Envelope] = []
    ends = [MyLimits(100)]  # type: ignore[call-arg]
    rehearse(to_everybody(ClientSession("rio.example", check_requirements(ends)), people), tokyo(ends, kept))
    if [len(envelope.recipients) for envelope in kept] != [100, 1]:
        yield Problem(gave=f"letters to {[len(envelope.recipients) for envelope in kept]} people between your two ends",
                      wire="It should be 100, and then 1.", look="Does each end alone do what it should?")


def announces(my_limits: type[Extension], most: int) -> Iterator[Problem]:
    """The server's end: it says the limit, and keeps it."""
    said: list[str] = []

    def caller() -> Talk:
        yield Line()
        yield b"EHLO rio.example\r\n"
        said.append((yield Line()).decode())
        while said[-1][3:4] == "-":
            said.append((yield Line()).decode())
        yield b"MAIL FROM:<ana@rio.example>\r\n"
        yield Line()
        for number in range(most + 1):
            yield f"RCPT TO:<reader{number}@tokyo.example>\r\n".encode()
            said.append((yield Line()).decode())

    rehearse(caller(), tokyo([my_limits(most)]))  # type: ignore[call-arg]
    if f"LIMITS RCPTMAX={most}" not in [line[4:] for line in said]:
        yield Problem(gave=f"a server that says {said[1][4:] if len(said) > most + 1 else 'nothing'!r}",
                      wire=f"MyLimits({most}) should announce LIMITS RCPTMAX={most}.",
                      look="`advertise` returns the line; `keyword` alone is not enough.")
    codes = [line[:3] for line in said[-most - 1 :]]
    if codes[:-1] != ["250"] * most or codes[-1] != "452":
        yield Problem(gave=f"{codes[-2]} to recipient {most} and {codes[-1]} to recipient {most + 1}",
                      wire=f"A limit of {most} was announced.",
                      look="`check` is called before each command; whom does the envelope have by then?")

"""The checks of `conversation`. A notebook's wants are not the package's, so they are asked for what they have."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from types import SimpleNamespace
from typing import Any

from smtp_from_scratch import conversation
from smtp_from_scratch.lab.check import NotYet, Problem, check, is_unsolved
from smtp_from_scratch.wire import BadReply, Inbox, LineTooLong, Reply, WireError, parse_reply

Talk = Generator[Any, Any, Any]


class Astray(Exception):
    """A conversation did what leads nowhere; `problem` says what."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.gave)
        self.problem = problem


def known(mine: Any, name: str) -> Any:
    """What the learner's function or class takes for `NOT_YET`, say: the notebook's, if it has one."""
    functions = [mine, *vars(mine).values()] if isinstance(mine, type) else [mine]
    places = [place for function in functions if (place := getattr(function, "__globals__", None))]
    return next((place[name] for place in places if name in place), getattr(conversation, name))


def unfinished(*functions: Any) -> None:
    if any(map(is_unsolved, functions)):
        raise NotYet


# -- wants --


def taken(want: Any, *arrived: bytes, waiting: int = 0) -> Any:
    """What a want takes out of a channel in which these pieces have arrived."""
    inbox = Inbox()
    for piece in arrived:
        inbox.feed(piece)
    return want.take(SimpleNamespace(inbox=inbox, waiting=waiting))


@check(
    hints=(
        "What does `inbox.line` return while the line is incomplete, and what must `take` return then?",
        "line = channel.inbox.line(self.limit)",
        "The inbox knows where lines end, so ask it for one, of at most `limit` octets. It says None while none is "
        "complete, and a want says NOT_YET then. Compare with `is None`: an empty line is a line.",
    ),
    passed="it takes one line when there is one, and nothing before.",
)
def check_line(MyLine: Any) -> Iterator[Problem]:
    """A want for a line."""
    unfinished(MyLine.take)
    not_yet = known(MyLine, "NOT_YET")
    for pieces, line in (((b"220 ready\r\n250",), b"220 ready"), ((b"220 re", b"ady\r", b"\n"), b"220 ready"),
                         ((b"\r\n",), b"")):
        if (got := taken(MyLine(), *pieces)) != line:
            look = ("An empty line is a line, and false in an `if`. What tells it from None?" if line == b"" else
                    "`channel.inbox.line(self.limit)` has it.")
            yield Problem(f"{shown(got, not_yet)} when {b''.join(pieces)!r} has arrived",
                          f"The line is {line!r}, and the conversation waits on." if got is not_yet else
                          f"The conversation hears that in place of {line!r}.", look)
    if (got := taken(MyLine(), b"220 rea")) is not not_yet:
        yield Problem(f"{shown(got, not_yet)} when b'220 rea' has arrived",
                      "The conversation is resumed with that, though no line is there.",
                      "While the inbox says None, the answer is NOT_YET.")
    try:
        got = taken(MyLine(limit=12), b"NOOP too long\r\n")
    except LineTooLong:
        got = taken(MyLine(limit=600), b"x" * 590 + b"\r\n")
        if got is not_yet or len(got) != 590:
            yield Problem("a line of 592 octets refused, though `limit` is 600", "", "`self.limit` is the limit.")
    except WireError as error:
        yield Problem(f"{type(error).__name__} for a line that is too long", "", "The inbox raises it by itself.")
    else:
        yield Problem(f"{shown(got, not_yet)} for a line of 15 octets when `limit` is 12",
                      "Whoever sends endless lines fills the memory.", "Hand `self.limit` to the inbox.")


def shown(answer: Any, not_yet: Any) -> str:
    return "NOT_YET" if answer is not_yet else repr(answer)


@check(
    hints=(
        "Which is earlier: what was promised before, or `now + timeout`?",
        "self.until = min(self.until, now + self.timeout)",
        "The first time, `until` is infinite, so `now + timeout` is earlier. Keep it. From then on the kept moment is "
        "the earlier one, however late the next line is wanted.",
    ),
    passed="one deadline for all the lines of a reply.",
)
def check_reply_line(MyReplyLine: Any) -> Iterator[Problem]:
    """A deadline that does not move."""
    unfinished(MyReplyLine.deadline)
    want = MyReplyLine()
    first, second, third = want.deadline(1000.0), want.deadline(1299.0), want.deadline(1299.5)
    if first is None:
        raise NotYet("`deadline` returns nothing yet.")
    if first != 1300.0:
        yield Problem(f"{first!r}, asked at second 1000 for the first time", "Its timeout is 300 seconds.",
                      "The first deadline is `now + self.timeout`.")
    elif (second, third) != (1300.0, 1300.0):
        yield Problem(f"{second!r} at second 1299, and {third!r} at 1299.5, after 1300.0 the first time",
                      "A line every 299 seconds keeps the client listening for days." if second != 1300.0 else
                      "The moment has been forgotten.",
                      "What keeps the first answer from one call to the next?")
    if MyReplyLine().deadline(5000.0) != 5300.0:
        yield Problem("a second reply that has the deadline of the first", "", "Keep it in `self`, not in the class.")
    if MyReplyLine(timeout=2.0).deadline(10.0) != 12.0:
        yield Problem("a deadline that does not ask `self.timeout`", "", "Another timeout, another deadline.")


# -- a reply --

REPLIES = (
    [b"220 ready"], [b"250-tokyo.example", b"250-SIZE 1000000", b"250 HELP"], [b"250"], [b"220 ready - steady"],
    [b"250-one", b"250 two - and three"], [b"250-a", b"250-b", b"250-c", b"250-d", b"250"],
)


@check(
    hints=(
        "What does the octet after the code tell about the lines that follow?",
        'while lines[-1][3:4] == b"-":',
        "Want a first line. As long as the last one has a hyphen in fourth place, want another, and append it. Then "
        "parse all of them together.",
    ),
    passed="it wants exactly the lines of the reply, and returns a Reply.",
)
def check_read_reply(my_read_reply: Callable[[], Talk]) -> Iterator[Problem]:
    """A reply of any number of lines."""
    try:
        yield from problems_of_replies(my_read_reply)
    except Astray as astray:
        yield astray.problem
    else:
        yield from problems_of_limit(my_read_reply().send(None))


def problems_of_replies(my_read_reply: Callable[[], Talk]) -> Iterator[Problem]:
    """Whether each reply is read to its end, and no further."""
    for lines in REPLIES:
        talk = my_read_reply()
        if not hasattr(talk, "send"):
            yield Problem(f"a function that returns {talk!r}", "", "Somewhere in it there is a `yield`.")
            return
        now, done = resumed(talk, None)
        for number, line in enumerate(lines, 1):
            if done:
                yield Problem(f"a reply of {lines!r}, of which {number - 1} lines were heard",
                              "The rest is taken for the answer to the next command.",
                              "Which octet of a line says that another one follows?")
                return
            if not hasattr(now, "take"):
                yield Problem(f"a conversation that yields {now!r}", "", "Want a line: `yield Line(REPLY_LIMIT)`.")
                return
            now, done = resumed_in(lines, talk, line)
        if not done and isinstance(now, Reply):
            yield Problem(f"a conversation that yields {now!r}", "To yield a reply is to say it.",
                          "The result of a conversation is what it returns.")
        elif not done:
            yield Problem(f"one more line wanted after {lines!r}", "Both ends listen.",
                          "A hyphen counts in one place only: right after the code.")
        elif now is None:
            raise NotYet("it returns nothing yet.")
        elif not isinstance(now, Reply) or now != parse_reply(lines):
            yield Problem(f"{now!r} for {lines!r}", "", "Return `parse_reply(lines)`, of all the lines.")


def resumed_in(lines: list[bytes], talk: Talk, line: bytes) -> tuple[Any, bool]:
    """As `resumed`, with a line of a reply; Astray says in which reply an exception came up."""
    try:
        return resumed(talk, line)
    except Exception as error:
        raise Astray(Problem(
            f"{type(error).__name__} for a reply of {lines!r}, at {line!r}: {error}", "",
            'A line is bytes, and may be a code alone: `line[3:4] == b"-"` asks for its hyphen.')) from error


def problems_of_limit(want: Any) -> Iterator[Problem]:
    """Whether a long line of a reply is read."""
    if getattr(want, "limit", 8192) < 8192 and not hasattr(want, "until"):
        yield Problem(f"a want for a line of at most {want.limit} octets",
                      "Some servers announce more than that in one line of EHLO's reply, and are hung up on.",
                      "`Line(REPLY_LIMIT)`.")


# -- stages --


class Sayer:
    """Looks like an actor. Says one thing at each `run`, as after a FLUSH."""

    def __init__(self, *flights: bytes) -> None:
        self.flights, self.queued, self.log, self.done = list(flights), b"", list[str](), False
        self.channel, self.want, self.inbox, self.layer, self.over = self, conversation.FLUSH, b"", None, False

    def run(self) -> None:
        self.log.append("run")
        self.queued = self.queued or (self.flights.pop(0) if self.flights else b"")

    @property
    def waiting(self) -> int:
        return len(self.queued)

    def output(self) -> bytes:
        if "run" not in self.log:
            self.log.append("output before run")
        self.queued, data = b"", self.queued
        return data


@check(
    hints=(
        "When may an actor have more to say: before or after its flight has left?",
        "while flight := actor.channel.output():",
        "Run the actor first, so that it says what it has to say. Then yield its output, and run it again, because "
        "some wants are answered only when everything has left. It is over when there is no output.",
    ),
    passed="each flight once, in order, and nothing forgotten.",
)
def check_all_flights(my_flights: Callable[[Any], Any]) -> Iterator[Problem]:
    """All flights of an actor."""
    for flown in ([], [b"QUIT\r\n"], [b"354 go on\r\n", b"250 fine\r\n", b"221 bye\r\n"]):
        sayer = Sayer(*flown)
        given = my_flights(sayer)
        if not hasattr(given, "__iter__"):
            yield Problem(f"a function that returns {given!r}", "", "Yield each flight.")
            return
        got = []
        for flight in given:
            got.append(flight)
            if len(got) > 9:
                break
        if got != flown:
            yield Problem(f"the flights {got!r}", f"An actor that is run says {flown!r}, one flight at each run.",
                          "Run it before the first look at its output, and again after each flight."
                          if len(got) < len(flown) else
                          "No output, no flight. `output()` empties the outbox: ask once, and keep what it gave.")


class Wire:
    """Looks like a connected socket; what arrives, and in which pieces, is written down beforehand."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces, self.sent, self.ends = list(pieces), b"", 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.pieces:
            self.ends += 1
            if self.ends > 3:
                raise Astray(Problem(
                    "a stage that goes on reading after `recv` has returned b\"\"",
                    "The server has hung up. Your stage asks again, gets b\"\" again, and spins forever.",
                    "What does `actor.resume(error=Disconnected())` do, and when is it due?"))
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def sendall(self, data: bytes) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise Astray(Problem(f"sendall({data!r})", "Only bytes can travel.",
                                 "Which of the things that a conversation yields are said, and which are wanted?"))
        self.sent += data

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)


def two_lines(line: Any, flush: Any) -> Talk:
    """Hear, say, hear again; and one last word that nothing waits for."""
    first = yield line()
    yield b"EHLO rio.example\r\n"
    yield flush
    yield b"NOOP\r\n"
    second = yield line()
    yield b"QUIT\r\n"
    return first, second


def two_limits(line: Any, heard: list[bytes]) -> Talk:
    """Hear a line that may be long, and one that may not."""
    heard.append((yield line(limit=1000)))
    heard.append((yield line(limit=9)))


def last_words(line: Any, gone: type[BaseException]) -> Talk:
    """Notes that the other end is gone."""
    try:
        yield line()
    except gone:
        return "gone"
    return "a line"


SAID = b"EHLO rio.example\r\nNOOP\r\nQUIT\r\n"


@check(
    hints=(
        "There is something to send, or the actor is done, or it waits. In which order do you ask?",
        "for flight in flights(actor): sock.sendall(flight)",
        "Again and again: send all its flights; if the actor is done, return its result; else receive. What arrives "
        'goes to `actor.channel.receive`. When `recv` returns `b""`, which means that the other end has hung up, '
        "the conversation is told with `resume(error=Disconnected())`, and may still have a result.",
    ),
    passed="bytes are sent, lines are found in any pieces, and a broken line is noticed.",
)
def check_play(my_play: Callable[[Talk, Any], Any]) -> Iterator[Problem]:
    """A stage plays a conversation on a socket."""
    line, flush, gone = (known(my_play, name) for name in ("Line", "FLUSH", "Disconnected"))
    try:
        for pieces in ([b"220 ready\r\n", b"250 fine\r\n"], [b"220 re", b"ady\r", b"\n250 fi", b"ne\r\n"],
                       [b"220 ready\r\n250 fine\r\n"]):
            yield from problems_of_play(my_play, two_lines(line, flush), pieces)
        yield from problems_of_limits(my_play, line)
        result = played(my_play, Wire([b"220 rea"]), last_words(line, gone))
    except Astray as astray:
        yield astray.problem
        return
    if result != "gone":
        yield Problem(f"a stage that returns {result!r} when the server hangs up in the middle of a line",
                      "recv returned b\"220 rea\" and then b\"\".",
                      "`actor.resume(error=Disconnected())`; what the conversation then returns is yours to return.")


def played(my_play: Callable[[Talk, Any], Any], wire: Wire, talk: Talk) -> Any:
    """What the learner's stage returns; Astray when it lets a StopIteration through."""
    try:
        return my_play(talk, wire)
    except StopIteration:
        raise Astray(Problem("a stage that raises StopIteration", "The conversation ends, and so does your program.",
                             "An actor catches it; `done` and `result` tell.")) from None
    except known(my_play, "Disconnected"):
        raise Astray(Problem("a stage that reads on when the conversation is over, and so raises Disconnected",
                             "Its last words have left. It wants no answer, and none comes.",
                             "Ask `actor.done` once its flights have left, and before `recv`.")) from None


def problems_of_play(my_play: Callable[[Talk, Any], Any], talk: Talk, pieces: list[bytes]) -> Iterator[Problem]:
    wire, wanted = Wire(pieces), (b"220 ready", b"250 fine")
    result = played(my_play, wire, talk)
    if not wire.sent and result is None:
        raise NotYet("nothing is sent yet.")
    if wire.sent != SAID:
        yield Problem(f"a stage that sends {wire.sent!r}", f"`recv` returned {pieces!r}.",
                      f"The conversation says {SAID!r}. Is all of it sent, once, and before the result is returned?")
    if result != wanted:
        yield Problem(f"a stage that returns {result!r}; the conversation returned {wanted!r}",
                      f"`recv` returned {pieces!r}.", "What it returned is `actor.result`, once `actor.done` is true.")


def problems_of_limits(my_play: Callable[[Talk, Any], Any], line: Any) -> Iterator[Problem]:
    """A want says how long its line may be; what comes of a longer one, the conversation decides, or the caller."""
    heard, long = list[bytes](), 600 * b"x"
    try:
        played(my_play, Wire([long + b"\r\n", b"NOOP too long\r\n"]), two_limits(line, heard))
    except LineTooLong:
        if not heard:
            yield Problem("a stage that refuses a line of 602 octets", "The conversation wants one of at most 1,000.",
                          "The want knows its `limit`: let `take` ask the inbox, as an actor does.")
    if len(heard) > 1:
        yield Problem("a stage that hands on a line of 15 octets", "The conversation wants one of at most 9.",
                      "The want knows its `limit`: let `take` ask the inbox, as an actor does.")


class Listener:
    """Looks like an actor that listens, or has finished."""

    def __init__(self, deadline: float, done: bool = False) -> None:
        self.deadline, self.done, self.want, self.thrown = deadline, done, "a line", list[Any]()

    def resume(self, value: Any = None, error: Any = None) -> None:
        self.thrown.append(error or RuntimeError(f"resumed with {value!r} in place of an error"))

    @property
    def heard(self) -> list[str]:
        return [error.__name__ if isinstance(error, type) else type(error).__name__ for error in self.thrown]


# deadlines and who is done; patient; who hears what; the clock afterward
SILENT: tuple[tuple[tuple[float, bool], tuple[float, bool], bool, tuple[list[str], list[str]], float], ...] = (
    ((9.0, True), (5.0, False), False, ([], ["Disconnected"]), 1.0),
    ((9.0, False), (5.0, True), True, (["Disconnected"], []), 1.0),
    ((9.0, False), (5.0, False), True, ([], ["Timeout"]), 5.0),
    ((5.0, False), (9.0, False), True, (["Timeout"], []), 5.0),
    ((0.5, False), (9.0, False), True, (["Timeout"], []), 1.0),
)


@check(
    hints=(
        "Whom does each row of the table throw into? How do you find that actor in `ends`?",
        "first = min(listening, key=lambda actor: actor.deadline)",
        "Collect the actors that are not done. If there is one, it hears Disconnected, whatever the patience. If there "
        "are two and nobody is patient, raise BothListening; else take the one with the earlier deadline, set the "
        "clock to that moment unless it is past, and throw Timeout.",
    ),
    passed="an end that is left alone is told, and the clock jumps to the first deadline.",
)
def check_interrupt(my_interrupt: Callable[..., Any]) -> Iterator[Problem]:
    """Who is told what in a silence."""
    for (one, one_done), (two, two_done), patient, wanted, time in SILENT:
        ends, clock = [Listener(one, one_done), Listener(two, two_done)], [1.0]
        case = (f"deadlines at {one:g} and {two:g} s, " + ("the first end is done" if one_done else
                "the second end is done" if two_done else "both listen") + f", patient={patient}, the clock at 1 s")
        try:
            my_interrupt(ends, clock, patient)
        except Exception as error:
            if type(error).__name__ != "BothListening":
                raise
            yield Problem(f"BothListening, with {case}", "The rehearsal ends with a complaint, and no bug is there.",
                          "Which rows of the table raise?")
            return
        heard = tuple(end.heard for end in ends)
        if heard != wanted:
            yield Problem(f"{case}: the ends hear {heard[0]} and {heard[1]}",
                          f"They should hear {wanted[0]} and {wanted[1]}.", "Find the row of the table.")
        elif clock[0] != time:
            yield Problem(f"a clock at {clock[0]:g} s, with {case}", f"It should say {time:g} s.",
                          "It jumps to the deadline that expired, and never back.")
    ends = [Listener(9.0), Listener(5.0)]
    try:
        my_interrupt(ends, [1.0], False)
    except Exception as error:
        if type(error).__name__ != "BothListening":
            raise
    else:
        yield Problem("no exception when both listen and nobody is patient", "The rehearsal would wait forever.",
                      "`raise BothListening(\"…\")`")


# -- number guessing --


def resumed(talk: Talk, value: Any) -> tuple[Any, bool]:
    """What it yields and False, or what it returned and True."""
    try:
        return talk.send(value), False
    except StopIteration as end:
        return end.value, True


def play_dealer(talk: Talk, secret: int) -> tuple[Any, int]:
    """Play against a conversation that guesses; returns its result and the number of guesses."""
    heard, spoken = Inbox(), Inbox()
    heard.feed(b"220 I think of a number from 1 to 100\r\n")
    guesses, now, done = 0, *resumed(talk, None)
    while not done:
        if isinstance(now, bytes):
            spoken.feed(now)
            while (line := spoken.line()) is not None:
                guesses += 1
                heard.feed(dealer_says(line, secret, guesses))
            value = None
        elif hasattr(now, "take"):
            value = heard.line()
            if value is None:
                raise Astray(Problem(
                    "a conversation that listens while the dealer listens too",
                    f"It has said {guesses} whole line{'' if guesses == 1 else 's'}, and the dealer has answered each.",
                    "Does each guess end with CR LF? Is there a `read_reply()` too many?"))
        else:
            raise Astray(Problem(f"a conversation that yields {now!r}", "",
                                 "Yield bytes to say them. To hear a reply: `yield from read_reply()`."))
        now, done = resumed(talk, value)
    return now, guesses


def dealer_says(line: bytes, secret: int, guesses: int) -> bytes:
    if not line.isdigit():
        raise Astray(Problem(f"a guess {line!r}", "The dealer reads a line with a number in digits, and nothing else.",
                             "f\"{guess}\\r\\n\".encode() makes octets of a number."))
    if guesses > 7:
        raise Astray(Problem(f"an eighth guess for {secret}", "The dealer has better things to do.",
                             "Each guess should halve what is left: 100, 50, 25, 12, 6, 3, 1."))
    guess = int(line)
    return b"250 right\r\n" if guess == secret else b"350 higher\r\n" if guess < secret else b"350 lower\r\n"


@check(
    hints=(
        "Who speaks first, and what do you do with what they say?",
        "low, high = 1, 100; then, again and again: guess = (low + high) // 2, say it, hear a reply, move low or "
        "high",
        "Each answer tells in which half of the remaining numbers the right one is. Keep the lowest and the "
        "highest number that are still possible, and always guess the middle. Hear the greeting first, and return "
        "the number when the reply is 250.",
    ),
    passed="it finds every number from 1 to 100, with at most seven guesses.",
)
def check_guesser(my_guesser: Callable[[], Talk]) -> Iterator[Problem]:
    """A conversation that guesses."""
    for secret in (50, 1, 100, *range(2, 100)):
        talk = my_guesser()
        if not hasattr(talk, "send"):
            yield Problem(f"a function that returns {talk!r}", "Nothing was said, nothing was heard.",
                          "A conversation is a generator: somewhere in it there is a `yield`.")
            return
        try:
            result, guesses = play_dealer(talk, secret)
        except Astray as astray:
            yield astray.problem
            return
        if result != secret:
            yield Problem(f"a conversation that returns {result!r} when the number is {secret}",
                          f"It made {guesses} guess{'' if guesses == 1 else 'es'}.",
                          f"Read `rehearse(my_guesser(), dealer({secret})).said`. Which reply did you take for the "
                          "answer to which guess? The dealer speaks first.")


# -- silence --

SILENCES = {
    "a": ("C", b"HELO rio.example",
          "The server has `HELO rio.example` in its inbox. Is that a line?"),
    "b": ("S", b"220-tokyo.example ready\r\n",
          "The client has heard a line. What does the hyphen after 220 promise?"),
    "c": ("C", b"",
          "Greeting, command, reply: all complete. Who speaks next (RFC 821 §4.3)?"),
}


@check(
    hints=(
        "For each: is the last line complete? If it is, who was waiting for more, and for what?",
        "a lacks two octets, b the last line of a reply; in c any command will do",
        "Both ends wait when each believes that it is the other's turn. For each dialogue find the last thing that "
        "was said, and ask whether it is finished: a line needs CR LF, a reply needs a last line without a hyphen. "
        "If everything is finished, the rules of the protocol say who speaks next.",
    ),
    passed="three silences broken, each by the end that owed the words.",
)
def check_words(my_words: dict[str, tuple[str, bytes]]) -> Iterator[Problem]:
    """The words that end a silence."""
    for name, (speaker, before, look) in SILENCES.items():
        given = my_words.get(name)
        if given is None:
            raise NotYet(f"there is no answer for {name} yet.")
        if isinstance(given, list | tuple) and given and isinstance(given[0], str):
            given = (given[0].strip().upper(), *given[1:])
        if not is_saying(given):
            yield Problem(f"for {name}: {given!r}", "",
                          'A pair such as ("S", b"221 goodbye\\r\\n"): who, and which octets.')
            return
        who, words = given
        if who != speaker:
            yield Problem(f"for {name}: {who} says {words!r}",
                          "The other end still waits for what it was promised.", look)
        elif outcome := consequence(name, before + words):
            yield Problem(f"for {name}: {who} says {words!r}", outcome, look)


def is_saying(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and given[0] in ("C", "S") and isinstance(given[1], bytes)


def consequence(name: str, said: bytes) -> str:
    """What goes wrong when this is what the speaker has said in all; empty if nothing does."""
    inbox, lines = Inbox(), []
    inbox.feed(said)
    try:
        while (line := inbox.line()) is not None:
            lines.append(line)
    except WireError as error:
        return f"{error}."
    if len(inbox) or not lines:
        return f"{inbox.octets(80)!r} is no line yet, so nobody moves."
    if name == "b":
        return reply_consequence(lines)
    if name == "a":
        return "" if lines[0] == b"HELO rio.example" else f"The server hears {lines[0]!r}, which is not what Ana meant."
    return "" if lines[0][:4].isalpha() else f"The server hears {lines[0]!r}, and answers 500: no such command."


def reply_consequence(lines: list[bytes]) -> str:
    try:
        parse_reply(lines)
    except BadReply as error:
        if lines[-1][3:4] == b"-":
            return "Another line with a hyphen: the client waits for the next one."
        return f"The client refuses it: {error}."
    return ""

"""The checks of `conversation`. A notebook's wants are not the package's, so they are asked for what they have."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.wire import BadReply, Inbox, WireError, parse_reply

Talk = Generator[Any, Any, Any]


class Astray(Exception):
    """A conversation did what leads nowhere; `problem` says what."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.gave)
        self.problem = problem


# -- the learner's stage --


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
                    "What does `conversation.throw(Disconnected())` do, and when is it due?"))
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


def two_lines(line: Any) -> Talk:
    """Hear, say, hear again."""
    first = yield line
    yield b"EHLO rio.example\r\n"
    second = yield line
    return first, second


def last_words(line: Any, gone: type[BaseException]) -> Talk:
    """Notes that the other end is gone."""
    try:
        yield line
    except gone:
        return "gone"
    return "a line"


@check(
    hints=(
        "A conversation yields bytes or a want. Which of `next`, `send` and `throw` resumes it after each?",
        "`if isinstance(want, bytes): sock.sendall(want); want = next(conversation)`, all of it within `try: … "
        "except StopIteration as end: return end.value`",
        "The generator yields either bytes, which you send, or a want, which you answer. After bytes you resume it "
        'with `next`; after a want with `send(line)`; and when `recv` returns `b""`, which means that the other '
        "end has hung up, with `throw(Disconnected())`. Whichever call ends the generator raises StopIteration, "
        "and its `value` is what you return.",
    ),
    passed="bytes are sent, lines are found in any pieces, and a broken line is noticed.",
)
def check_play(my_play: Callable[[Any, Talk], Any]) -> Iterator[Problem]:
    """A stage plays a conversation on a socket."""
    names = getattr(my_play, "__globals__", {})
    line, gone = names.get("LINE"), names.get("Disconnected")
    if not hasattr(line, "limit") or gone is None:
        raise NotYet("run the export cells above first: the check needs LINE and Disconnected.")
    try:
        for pieces in ([b"220 ready\r\n", b"250 fine\r\n"], [b"220 re", b"ady\r", b"\n250 fi", b"ne\r\n"],
                       [b"220 ready\r\n250 fine\r\n"]):
            yield from problems_of_play(my_play, line, pieces)
        wire = Wire([b"220 rea"])
        result = played(my_play, wire, last_words(line, gone))
    except Astray as astray:
        yield astray.problem
        return
    if result != "gone":
        yield Problem(f"a stage that returns {result!r} when the server hangs up in the middle of a line",
                      "recv returned b\"220 rea\" and then b\"\".",
                      "Throw Disconnected at its `yield`; what the conversation then returns is yours to return.")


def played(my_play: Callable[[Any, Talk], Any], wire: Wire, talk: Talk) -> Any:
    """What the learner's stage returns; Astray when it lets a StopIteration through."""
    try:
        return my_play(wire, talk)
    except StopIteration:
        raise Astray(Problem("a stage that raises StopIteration", "The conversation ends, and so does your program.",
                             "What a generator returns rides in StopIteration, as its `value`.")) from None


def problems_of_play(my_play: Callable[[Any, Talk], Any], line: Any, pieces: list[bytes]) -> Iterator[Problem]:
    wire, wanted = Wire(pieces), (b"220 ready", b"250 fine")
    result = played(my_play, wire, two_lines(line))
    if wire.sent != b"EHLO rio.example\r\n":
        yield Problem(f"a stage that sends {wire.sent!r}", f"`recv` returned {pieces!r}.",
                      "The conversation hears a line, says b\"EHLO rio.example\\r\\n\", and hears a line. "
                      "Is what it yields sent as it is, and once?")
    if result != wanted:
        yield Problem(f"a stage that returns {result!r}; the conversation returned {wanted!r}",
                      f"`recv` returned {pieces!r}.",
                      "What a generator returns rides in StopIteration, as its `value`." if result is None else
                      "`recv` returns pieces. What makes lines of them?")


# -- number guessing --


def resume(talk: Talk, value: Any) -> tuple[Any, bool]:
    """What it yields and False, or what it returned and True."""
    try:
        return talk.send(value), False
    except StopIteration as end:
        return end.value, True


def play_dealer(talk: Talk, secret: int) -> tuple[Any, int]:
    """Play against a conversation that guesses; returns its result and the number of guesses."""
    heard, spoken = Inbox(), Inbox()
    heard.feed(b"220 I think of a number from 1 to 100\r\n")
    guesses, now, done = 0, *resume(talk, None)
    while not done:
        if isinstance(now, bytes):
            spoken.feed(now)
            while (line := spoken.line()) is not None:
                guesses += 1
                heard.feed(dealer_says(line, secret, guesses))
            value = None
        elif hasattr(now, "limit"):
            value = heard.line()
            if value is None:
                raise Astray(Problem(
                    "a conversation that listens while the dealer listens too",
                    f"It has said {guesses} whole line{'' if guesses == 1 else 's'}, and the dealer has answered each.",
                    "Does each guess end with CR LF? Is there a `read_reply()` too many?"))
        else:
            raise Astray(Problem(f"a conversation that yields {now!r}", "",
                                 "Yield bytes to say them. To hear a reply: `yield from read_reply()`."))
        now, done = resume(talk, value)
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
                          f"Read `rehearse(my_guesser(), dealer({secret})).said`. What is returned, and when?")


# -- silence --

SILENCES = {
    "a": ("C", b"HELO rio.example",
          "The server has `HELO rio.example` in its inbox. Is that a line?"),
    "b": ("S", b"220-tokyo.example ready\r\n",
          "The client has heard a line. What does the hyphen behind 220 promise?"),
    "c": ("C", b"Subject: The mangoes are ripe\r\n\r\nCome quickly.\r\n",
          "After 354 the server reads lines of a letter. Which line ends it?"),
    "d": ("C", b"",
          "Greeting, command, reply: all complete. Who speaks next (RFC 821 §4.3)?"),
}


@check(
    hints=(
        "For each: is the last line complete? If it is, who was waiting for more, and for what?",
        "a lacks two octets, b the last line of a reply, c a line with a dot; in d any command will do",
        "Both ends wait when each believes that it is the other's turn. For each dialogue find the last thing that "
        "was said, and ask whether it is finished: a line needs CR LF, a reply needs a last line without a hyphen, "
        "a letter needs its dot. If everything is finished, the rules of the protocol say who speaks next.",
    ),
    passed="four silences broken, each by the end that owed the words.",
)
def check_words(my_words: dict[str, tuple[str, bytes]]) -> Iterator[Problem]:
    """The words that end a silence."""
    for name, (speaker, before, look) in SILENCES.items():
        given = my_words.get(name)
        if given is None:
            raise NotYet(f"there is no answer for {name} yet.")
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
    if name == "c":
        ended = lines[-1] == b"." and lines.count(b".") == 1
        return "" if ended else "The server takes it for more of the letter, and goes on waiting."
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


# -- a layer --

KEY = b"ipanema"


def scrambled(data: bytes, start: int = 0) -> bytes:
    return bytes(octet ^ KEY[(start + at) % len(KEY)] for at, octet in enumerate(data))


@check(
    hints=(
        "What must a layer remember from one call to the next, and is it the same for both directions?",
        "self.sent = self.received = 0 in __init__; each call begins at its counter, and adds len(data) to it",
        "The octet at position n is combined with the key's octet at n modulo the length of the key. Since the "
        "wire may cut anywhere, the position must go on from one call to the next. Sending and receiving have a "
        "position each, because the two directions are two streams.",
    ),
    passed="it scrambles, it unscrambles, and it does not care where the wire cuts.",
)
def check_layer(my_layer: Callable[[bytes], Any]) -> Iterator[Problem]:
    """A layer with a key."""
    words = b"250 fine\r\n"
    layer = my_layer(KEY)
    out = layer.send(words)
    if out is None:
        raise NotYet("`send` returns nothing yet.")
    if not isinstance(out, bytes):
        yield Problem(f"a `send` that returns {type(out).__name__}", "Octets go in, octets come out.",
                      "bytes(…) makes them.")
        return
    if out != scrambled(words):
        yield Problem(f"send({words!r}) returns {out!r}",
                      f"With the key {KEY!r} the wire should carry {scrambled(words)!r}.",
                      "octet ^ key[position % len(key)], for each octet and its position, from 0 on.")
        return
    for cut in range(1, len(words)):
        yield from problems_of_cut(my_layer, words, cut)
    if layer.receive(scrambled(words)) != words:
        yield Problem("a layer that has sent ten octets, and then garbles what it receives",
                      "The other end begins to count its own octets at 0.",
                      "How many counters does a layer need that works in two directions?")
    if getattr(layer, "ready", None) is not True:
        yield Problem("a layer that is never `ready`", "The stage waits for a handshake that does not come.",
                      "Keep `ready = True`.")


def problems_of_cut(my_layer: Callable[[bytes], Any], words: bytes, cut: int) -> Iterator[Problem]:
    layer, wire = my_layer(KEY), scrambled(words)
    pieces = [words[:cut], words[cut:]]
    if (out := b"".join(map(layer.send, pieces))) != wire:
        yield Problem(f"send({pieces[0]!r}), then send({pieces[1]!r}), makes {out!r}",
                      "In one piece they make something else: the other end reads garbage from the second piece on.",
                      "Where does the second call begin in the key?")
    layer = my_layer(KEY)
    got = [layer.receive(wire[:cut]), layer.receive(wire[cut:])]
    if None in got:
        raise NotYet("`receive` returns nothing yet.")
    if b"".join(got) != words:
        after = f"{cut} octet{'' if cut == 1 else 's'}"
        yield Problem(f"{words!r}, scrambled and cut after {after}, is received as {b''.join(got)!r}",
                      "The wire cuts where it likes.", "Where does the second call begin in the key?")


# -- no end --

ENOUGH = 1_000_000                             # octets; read_reply gives up after 32,768


@check(
    hints=(
        "Which character says that another line of this reply follows?",
        'while True: yield b"220-…\\r\\n"',
        "A reply goes on as long as the octet after the code is a hyphen. So a server that always says another "
        "such line never comes to the end of its reply. Each line is legal, and it needs no answer, so a loop "
        "without an end that yields bytes is the whole server.",
    ),
    passed="every line is legal, and none is the last: whole_reply listens until memory is full.",
)
def check_endless(my_endless: Callable[[], Talk]) -> Iterator[Problem]:
    """A reply without an end."""
    try:
        yield from problems_of_endless(my_endless())
    except Astray as astray:
        yield astray.problem


def problems_of_endless(talk: Talk) -> Iterator[Problem]:
    inbox, heard, code = Inbox(), 0, b""
    for words in talk:
        if not isinstance(words, bytes):
            yield Problem(f"a server that yields {words!r}", "It should talk without pause.",
                          "It needs no want: only bytes.")
            return
        inbox.feed(words)
        if len(inbox) > 512 and b"\r\n" not in words:
            yield Problem("a line that does not end",
                          "A client that bounds its lines hangs up after 512 octets (RFC 5321 §4.5.3.1.5).",
                          "Many lines, each of them legal.")
            return
        while (line := legal_line(inbox)) is not None:
            heard, code = heard + len(line) + 2, code or line[:3]
            if problem := line_problem(line, code):
                yield problem
                return
        if heard > ENOUGH:
            return
    yield Problem(f"a server that stops after {heard:,} octets",
                  "It hangs up, and the client is told so: Disconnected.",
                  f"It should still talk after {ENOUGH:,} octets. Which loop has no end?")


def legal_line(inbox: Inbox) -> bytes | None:
    try:
        return inbox.line(512)
    except WireError as error:
        raise Astray(Problem("a line that is not legal", f"{error}.",
                             "Many lines, each of them legal, and none too long.")) from None


def line_problem(line: bytes, code: bytes) -> Problem | None:
    """What is wrong with a line in the middle of a reply."""
    if line[3:4] != b"-":
        return Problem(f"the line {line[:60]!r}", "`whole_reply` takes it for the last, and the client speaks.",
                       "What stands behind the code of every line but the last (RFC 5321 §4.2.1)?")
    try:
        parse_reply([line[:3] + b" " + line[4:]])
    except BadReply as error:
        return Problem(f"the line {line[:60]!r}", f"{error}.",
                       "Three digits, the first from 2 to 5, a hyphen, any text.")
    if line[:3] != code:
        return Problem(f"the line {line[:60]!r} after lines that began with {code.decode()}",
                       "All lines of a reply have the same code.", "RFC 5321 §4.2.1.")
    return None

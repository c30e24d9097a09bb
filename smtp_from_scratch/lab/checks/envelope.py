"""The checks of `envelope`: tails, octets, envelopes, cutters, and the server's half of DATA."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from smtp_from_scratch.conversation import BothListening, Conversation, Disconnected, read_reply, rehearse
from smtp_from_scratch.envelope import END_OF_BODY, BodyCutter, has_bare_newline, split_tail, stuff, unstuff
from smtp_from_scratch.lab.check import Problem, check
from smtp_from_scratch.wire import Reply

# --- your turn -------------------------------------------------------------------------------------------------------

DATA = (b"Ana", b"Ana\r", b"Ana\r\n", b"Ana\r\n.", b"Ana\r\n.\r", b"", b"\r\n", b"Ana\n", b"Ana.", b"Ana\r\r",
        b"Ana\r\n..", b".\r\n")


@check(
    hints=(
        "Which four beginnings has the end mark, and which of them is the longest?",
        "for length in (4, 3, 2, 1): if data.endswith(END[:length]): return data[:-length], data[-length:]",
        "The end mark is CR LF . CR LF, and a piece may end with one, two, three or four of its octets. Those "
        "octets must wait, since only the next piece shows whether the mark goes on. Try the longest beginning "
        "first, and hand out everything before it.",
    ),
    passed="what is certain leaves at once, and what may become the end mark waits.",
)
def check_split_tail(my_split_tail: Callable[[bytes], Any]) -> Problem | None:
    """The tail is held back, no more and no less."""
    for data in DATA:
        got, right = my_split_tail(data), split_tail(data)
        if got == right:
            continue
        gave = f"my_split_tail({data!r}) returned {got!r}"
        if not isinstance(got, tuple) or len(got) != 2:
            return Problem(gave, look="Return two things: what is certain, and the tail.")
        if b"".join(got) != data:
            return Problem(gave, "Octets were lost or added on the way.", "The two parts together are the data.")
        if len(got[1]) < len(right[1]):
            return Problem(gave, f"If {END_OF_BODY[len(right[1]):]!r} comes next, the end of the body is overlooked.",
                           f"Which beginning of the end mark does {data!r} end with?")
        return Problem(gave, "Octets that cannot belong to the end mark wait for nothing.",
                       "The tail is the start of CR LF . CR LF, from its first octet, and at most four octets long.")
    return None


# --- exercise 1 ------------------------------------------------------------------------------------------------------

OCTETS = b"".join(stuff([b"Dear Li,\r\n..\r\n.Ana"]))


@check(
    hints=(
        "Which of the three lines begin with a dot, and what does each gain?",
        "The third line travels as b'..Ana\\r\\n'. What must follow it?",
        "Every line ends with CR LF, also the last one, to which the client adds it if the text has none. A line "
        "that begins with a dot gets one more dot in front. After the last line comes a line that holds only a "
        "dot, and its CR LF is the last thing sent.",
    ),
    passed="these are the octets; Li reads three lines, as Ana wrote them.",
)
def check_octets(my_octets: Any) -> Problem | None:
    """The octets that follow 354."""
    if not isinstance(my_octets, bytes):
        return Problem(f"a {type(my_octets).__name__}", "The wire carries octets.", 'Write them as b"…".')
    if my_octets == OCTETS:
        return None
    gave = repr(my_octets)
    if has_bare_newline(my_octets.decode("latin-1")):
        return Problem(gave, "A CR or an LF stands alone. Our server reads on to the end, then says 554.",
                       "How does every line end?")
    cutter = BodyCutter()
    heard, rest = cutter.cut(my_octets)
    if not cutter.ended:
        return Problem(gave, "The server waits for the rest of the letter, for minutes.",
                       "The end mark is a line of its own, with its own line end.")
    if rest:
        return Problem(gave, f"The letter ends after {heard!r}. The server takes the next octets, {rest[:30]!r}, for a "
                       "command.", "Which of your lines is a lone dot?")
    return Problem(gave, f"Li reads {heard!r}.", "Compare that with Ana's three lines, dot by dot.")


# --- exercise 2 ------------------------------------------------------------------------------------------------------

WHO: dict[str, tuple[Any, str]] = {
    "receives": ({"kenji@tokyo.example", "li@beijing.example"},
                 "Which RCPT commands got a 250? And what does a source route change about who receives?"),
    "bounce": ("returns@poets.example", "A server that fails looks at the reverse-path, and at nothing else."),
    "author": ("ana@rio.example", "Kenji's mail program shows the header. Which of its fields names an author?"),
    "answer": ("editor@poets.example", "The header may ask for answers elsewhere than at its author's."),
}
RECEIVES = {
    "yui@kyoto.example": "Yui was refused with 550, whatever the line To: says. She gets nothing.",
    "everyone@poets.example": "No RCPT named everyone@poets.example. A header delivers nothing.",
    "ana@rio.example": "No RCPT named Ana. A header delivers nothing.",
}


@check(
    hints=(
        "For each question: is it the server that asks, or Kenji's mail program?",
        "receives: the two RCPTs with 250; bounce: MAIL FROM; author: From:; answer: Reply-To:.",
        "The envelope decides where a letter goes: RCPT commands that got a 250 name those who receive it, and "
        "MAIL FROM names who hears of a failure. The header is text that a mail program shows and uses for an "
        "answer. A source route before the colon in RCPT changes the way, not the recipient.",
    ),
    passed="the envelope decides who receives and who is told; the header decides what Kenji sees.",
)
def check_who(my_who: dict[str, Any]) -> Problem | None:
    """Envelope and header are told apart."""
    for question, (right, look) in WHO.items():
        if question not in my_who:
            return Problem(f"no answer to {question!r}", look="Keep the four keys of the stub.")
        answer = my_who[question]
        if isinstance(right, str):
            if plain(answer) != right:
                return Problem(f"{question}: {answer!r}", look=look)
            continue
        named = {plain(one) for one in (answer if isinstance(answer, set | list | tuple) else [answer])}
        if named != right:
            wrong = sorted(named - right)
            wire = RECEIVES.get(wrong[0], f"Nobody is called {wrong[0]}.") if wrong else "Somebody else was accepted."
            return Problem(f"{question}: {', '.join(sorted(named))}", wire, look)
    return None


def plain(address: object) -> str:
    """An address as people write it, without brackets, a route, or capital letters."""
    return str(address).strip(" <>").rpartition(":")[2].lower()


# --- exercise 3 ------------------------------------------------------------------------------------------------------

Cut = Callable[[Sequence[bytes]], bytes | None]


@check(
    hints=(
        "For each cutter: what does it forget, the line before the first, the dot that was doubled, or an older "
        "piece?",
        "cut_a: begin the body with a dot. cut_b: let the text have a lone dot. cut_c: cut the end mark into three.",
        "Each of the three looks at too little at a time. One forgets that a dot may stand at the very beginning, "
        "one does not tell a doubled dot from the end mark, and one looks at each piece alone. Write a legal body "
        "in which exactly that decides.",
    ),
    passed="all three are broken, and you know by what.",
)
def check_cutters(*attempts: tuple[Cut, Any]) -> Problem | None:
    """Each cutter fails on a legal body."""
    for cut, pieces in attempts:
        name = getattr(cut, "__name__", "the cutter")
        gave = f"for {name}: {pieces!r}"
        if isinstance(pieces, bytes | str) or not all(isinstance(piece, bytes) for piece in pieces):
            return Problem(gave, look='Write a list of pieces: [b"…", b"…"].')
        cutter, wire = BodyCutter(), b"".join(pieces)
        _, rest = cutter.cut(wire)
        if not cutter.ended:
            return Problem(gave, "This body has no end: every cutter would wait.",
                           "Finish with a line that is a lone dot, CR LF included.")
        if rest or cutter.bare:
            return Problem(gave, "No client of ours would send this: "
                           + (f"the body ends early, and {rest[:30]!r} is left over." if rest else
                              "a CR or an LF stands alone."), "Break it with a body that is legal.")
        right = b"".join(unstuff(pieces))
        if cut(list(pieces)) == right:
            return Problem(gave, f"{name} returns {right!r}, and that is right.",
                           f"Read {name} once more: which octets does it look at together?")
    return None


# --- exercise 4 ------------------------------------------------------------------------------------------------------

LETTERS = {
    "a plain letter": (b"Subject: Rio\r\n\r\nHello\r\n.\r\n", b"Subject: Rio\r\n\r\nHello\r\n"),
    "a letter with doubled dots": (b"...\r\n..\r\n.\r\n", b"..\r\n.\r\n"),
    "an empty letter": (b".\r\n", b""),
    "a letter with a bare LF": (b"Hello\n.\r\nRSET\r\n.\r\n", None),
    "a letter with a bare CR": (b"Hello\rthere\r\n.\r\n", None),
}


def one_by_one(flight: bytes) -> Iterable[bytes]:
    """A flight cut between all its octets."""
    return [flight[i : i + 1] for i in range(len(flight))]


def sender(wire: bytes) -> Conversation[tuple[Reply, Reply]]:
    """The client's half of DATA: hear a reply, say the octets, hear another."""
    first = yield from read_reply()
    yield wire
    return first, (yield from read_reply())


@check(
    hints=(
        "What does `yield Body(cutter)` give you, and how do you know that it was the last?",
        "while block := (yield Body(cutter)): body += block",
        "Your generator first says 354, because the client waits for it. Then it wants one block after another; an "
        "empty block means that the end mark has been read, so leave the loop. Only then look at `cutter.bare`, "
        "say one last reply, and return the body or None.",
    ),
    passed="354, every block, one reply: your half takes in letters, and no smuggler.",
)
def check_receive(my_receive: Any) -> Problem | None:
    """A conversation that takes in a letter."""
    if not inspect.isgeneratorfunction(my_receive):
        return Problem("a function without `yield`", "It says nothing and hears nothing.",
                       'A conversation yields what it says: yield Reply(354, "go on")')
    for what, (wire, body) in LETTERS.items():
        for cut in (None, one_by_one):
            if problem := one_letter(my_receive, what, wire, body, cut):
                return problem
    return None


def one_letter(my_receive: Any, what: str, wire: bytes, body: bytes | None, cut: Any) -> Problem | None:
    """Play the learner's half against a client."""
    gave = f"a server that was sent {what}{', octet by octet' if cut else ''}: {wire!r}"
    try:
        cutter = BodyCutter()
        show = rehearse(sender(wire), my_receive(cutter), cut=cut)
    except BothListening:
        return Problem(gave, "Both ends listen, and would wait forever.",
                       "Say 354 before you want a block; say the last reply after the block that is b\"\".")
    except Disconnected:
        return Problem(gave, "It hung up before the client had both replies. Who has the letter now? Nobody can tell.",
                       "A client hears one reply before the letter, and one behind it.")
    first, last = show.client
    expected = 250 if body is not None else 554
    if first.code != 354:
        return Problem(gave, f"It began with {first}.", "What does a client wait for before it sends the letter?")
    if last.code != expected:
        return Problem(gave, f"It answered {last}; we expected {expected}.",
                       "Ask cutter.bare, but only after the last block: a refusal must not come before the true end.")
    if not cutter.ended:
        return Problem(gave, f"It said {last.code} before the end mark: the server obeys the rest of the letter.",
                       "A refusal waits for the true end as well: go on until the block is b\"\".")
    if (replies := sum(said.who == "S" for said in show.said)) != 2:
        return Problem(gave, f"It said {replies} things.", "354 before the letter, one reply behind it: two.")
    if show.server != body:
        return Problem(f"{gave} It returned {show.server!r}", f"We expected {body!r}.",
                       "Return the blocks, joined; None when you refused them.")
    return None

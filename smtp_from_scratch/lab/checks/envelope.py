"""The checks of `envelope`: envelopes, paths, line ends, dots, tails, and the server's half of DATA."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.message import EmailMessage, Message
from typing import Any

from smtp_from_scratch.conversation import (
    BothListening,
    Conversation,
    Disconnected,
    Line,
    Timeout,
    read_reply,
    rehearse,
)
from smtp_from_scratch.envelope import (
    END_OF_BODY,
    BodyCutter,
    envelope_of,
    few_quotes,
    has_bare_newline,
    split_tail,
    stuff,
)
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.wire import Reply, parse_reply

# --- an envelope from a header ---------------------------------------------------------------------------------------


def message(*fields: tuple[str, str]) -> Message:
    """A message with these header fields."""
    made = EmailMessage()
    for name, value in fields:
        made[name] = value
    made.set_content("The cake is in good hands.\n")
    return made


ANA = ("From", "Ana <ana@rio.example>")
HEADERS: dict[str, tuple[Message, str]] = {
    "To with a comma in a name": (message(ANA, ("To", '"Tanaka, Kenji" <kenji@tokyo.example>, li@beijing.example')),
                                  "Let addresses_in read the field; it knows names and commas."),
    "To, Cc and Bcc": (message(ANA, ("To", "li@beijing.example"), ("Cc", "yui@kyoto.example"),
                               ("Bcc", "kenji@tokyo.example")), "Three fields name recipients."),
    "Kenji in To and in Cc": (message(ANA, ("To", "kenji@tokyo.example"), ("Cc", "kenji@tokyo.example")),
                              "Name each recipient once: nobody wants two letters."),
    "Sender and From": (message(ANA, ("Sender", "secretary@rio.example"), ("To", "li@beijing.example")),
                        "Sender pressed the button, so Sender goes before From."),
    "no recipient": (message(ANA), "An absent field names nobody; addresses_in returns [] for it."),
}


@check(
    hints=(
        "Which fields say who sent it, and which say who shall have it?",
        'senders = addresses_in(message, "Sender") or addresses_in(message, "From")',
        "Read the sender from Sender, and from From when there is none; if both are empty, raise ValueError. Read the "
        "recipients from To, Cc and Bcc, in this order. `dict.fromkeys` leaves each of them once and keeps the order.",
    ),
    passed="everybody whom the header names gets it once, and bounces go to whoever pressed the button.",
)
def check_envelope_of(my_envelope_of: Callable[[Message], Any]) -> Problem | None:
    """A header becomes an envelope."""
    for what, (asked, look) in HEADERS.items():
        try:
            given, right = my_envelope_of(asked), envelope_of(asked)
        except IndexError:
            return Problem(f"IndexError for a header with {what}", look="An absent field names nobody: `addresses_in` "
                           "returns [] for it, and [] has no first address.")
        if given is None or given is ...:
            raise NotYet("return an Envelope, then run the cell again.")
        gave = f"for a header with {what}: {given!r}"
        if not (hasattr(given, "sender") and hasattr(given, "recipients")):
            return Problem(gave, "A client is given an envelope.", "Return Envelope(sender, recipients).")
        if given.sender != right.sender:
            return Problem(gave, f"MAIL FROM names {given.sender!r}; it should be {right.sender!r}.", look)
        if sorted(given.recipients) == sorted(right.recipients) != given.recipients:
            look = "Those are the right ones. Keep their order, To, Cc, Bcc: a set forgets it."
        if list(given.recipients) != right.recipients:
            return Problem(gave, f"RCPT TO names {given.recipients!r}; it should be {right.recipients!r}.", look)
    try:
        given = my_envelope_of(message(("To", "li@beijing.example")))
    except ValueError:
        return None
    return Problem(f"for a header without a sender: {given!r}", "MAIL FROM:<> would say that this is a bounce.",
                   "Raise ValueError when neither Sender nor From names anybody.")


# --- a path to say ---------------------------------------------------------------------------------------------------

SAYABLE = ("kenji@tokyo.example", "a.b+c@tokyo.example", '"kenji sato"@tokyo.example', '"a>b"@tokyo.example',
           "kenji@[192.0.2.1]", "")
UNSAYABLE = {
    "eve@x.example>\r\nRCPT TO:<yui@kyoto.example": "a second command",
    "eve@x.example> SIZE=1": "a parameter that nobody meant",
    "eve@x.example>": "a bracket of its own",
    "kenji": "no domain",
    "<kenji@tokyo.example>": "brackets twice",
    "eve@x.example\r\n": "the end of the line",
    " kenji@tokyo.example": "a space before it",
}


@check(
    hints=(
        "What does `parse_path` return besides the path, and what is it when Eve wrote the address?",
        'path, rest = parse_path(f"<{address}>")',
        "Put the brackets around the address and let `parse_path` read it; it raises BadPath when there is no path. "
        "If anything is left over after the path, the address was more than one mailbox, so raise BadPath. "
        "`str(path)` has the brackets.",
    ),
    passed="one whole mailbox gets its brackets, and nothing rides along.",
)
def check_encode_path(my_encode_path: Callable[[str], Any]) -> Problem | None:
    """Only a whole mailbox is said."""
    for address in SAYABLE:
        try:
            given = my_encode_path(address)
        except ValueError as error:                    # the chapter's own BadPath is another class than the package's
            return Problem(f"{type(error).__name__} for {address!r}: {error}",
                           "Mail for this mailbox could never be sent.",
                           "The empty address is the null path, `<>`: a bounce comes from it." if not address
                           else "Let parse_path judge.")
        if given is None or given is ...:
            raise NotYet("return the path as text, then run the cell again.")
        if given not in (f"<{address}>", f"<{few_quotes(address)}>"):
            return Problem(f"my_encode_path({address!r}) = {given!r}", f"MAIL FROM:{given} is not understood.",
                           f"It should be <{address}>, as text.")
    for address, what in UNSAYABLE.items():
        try:
            given = my_encode_path(address)
        except ValueError:
            continue
        return Problem(f"my_encode_path({address!r}) = {given!r}", f"What goes out has {what}.",
                       "Raise BadPath. parse_path returns the path and the rest: is the rest empty?")
    return None


# --- who stands alone? -----------------------------------------------------------------------------------------------

TEXTS = (b"", b"Ana", b"Ana\r\n", b"\r\n\r\n", b"a\r\nb\r\n", b"Ana\n", b"Ana\r", b"\n", b"\r", b"a\r\n\n", b"a\r\r\n",
         b"\n\r", b"a\nb\r\n", b"a\rb\r\n", b"a\r\nb\nc\r\n")


@check(
    hints=(
        "What is left of a good text when every CR LF is taken out of it?",
        'rest = text.replace(b"\\r\\n", b"")',
        "A CR LF is one thing, so take out all of them first. If a CR is left, it had no LF after it. If an LF is "
        "left, it had no CR before it.",
    ),
    passed="no octet stands alone unseen.",
)
def check_has_bare_newline(my_has_bare_newline: Callable[[bytes], Any]) -> Problem | None:
    """A CR or an LF that stands alone is found."""
    found = [my_has_bare_newline(text) for text in TEXTS]
    if all(given is None or given is ... for given in found):          # `re.search` says None, too, but not always
        raise NotYet("return True or False, then run the cell again.")
    for text, given in zip(TEXTS, found, strict=True):
        right = has_bare_newline(text)
        if bool(given) is not right:
            return Problem(f"my_has_bare_newline({text!r}) = {given!r}",
                           "The next server may read other lines than we do." if right else
                           "A message whose lines end well would be refused.",
                           "Only CR LF ends a line: an LF wants its CR before it, a CR its LF after it.")
    return None


# --- one dot more ----------------------------------------------------------------------------------------------------

STUFFED: tuple[list[bytes], ...] = (
    [b"Ana\r\n"], [b"Ana"], [b"a\r\n.b\r\n"], [b".profile\r\nAna"], [b".\r\n"], [b"a.b\r\n"], [b"..\r\n.\r\n"],
    [], [b""], [b"\r\n"], [b"a\r\n", b".b\r\n"], [b"a\r", b"\n", b".", b".b\r\n"], [b"a", b".b\r\n"])


@check(
    hints=(
        "Where does a line begin, apart from after a CR LF?",
        'text = b"\\r\\n" + b"".join(blocks), then text.replace(b"\\r\\n.", b"\\r\\n..")[2:]',
        "Pretend that a CR LF came before the text: then every line begins after a CR LF, the first one too. After "
        "each of them one dot becomes two. If the text does not end with CR LF, add one, and then the end mark: a "
        "dot, CR LF.",
    ),
    passed="whatever Ana writes arrives as she wrote it.",
)
def check_stuff(my_stuff: Callable[[list[bytes]], Any]) -> Problem | None:
    """Dots are doubled, and the end is marked."""
    for blocks in STUFFED:
        given = my_stuff(list(blocks))
        if given is None or given is ...:
            raise NotYet("yield the octets, then run the cell again.")
        if isinstance(given, bytes | str):
            return Problem(f"my_stuff({blocks}) = {given!r}", "A client sends block after block.",
                           "Yield it, as one block or several, or return a list of blocks.")
        given = list(given)
        if not all(isinstance(block, bytes) for block in given):
            return Problem(f"my_stuff({blocks}) gave {given!r}", "The wire carries octets.", "Every block is bytes.")
        wire, right = b"".join(given), b"".join(stuff(blocks))
        if wire != right:
            cutter = BodyCutter()
            body, rest = cutter.cut(wire)
            heard = (f"The server reads {body!r}" + (f", and takes {rest!r} for commands." if rest else ".")
                     if cutter.ended else "The server waits for the end of the message, for minutes.")
            return Problem(f"my_stuff({blocks}) gave {wire!r}", heard, f"The octets should be {right!r}.")
    return None


# --- the tail -------------------------------------------------------------------------------------------------------

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
        got = tuple(got) if isinstance(got, list) else got
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


# --- by hand ------------------------------------------------------------------------------------------------------

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
    if has_bare_newline(my_octets):
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


# --- who? ------------------------------------------------------------------------------------------------------

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
            alone = list(answer) if isinstance(answer, set | list | tuple) else [answer]
            if [plain(one) for one in alone] != [right]:
                return Problem(f"{question}: {answer!r}", look=look)
            continue
        answer = answer.split(",") if isinstance(answer, str) else answer
        named = {plain(one) for one in (answer if isinstance(answer, set | list | tuple) else [answer])}
        if named != right:
            wrong = sorted(named - right)
            if wrong and "@" not in wrong[0]:
                return Problem(f"{question}: {', '.join(sorted(named))}", look="Whole addresses, please: with the @.")
            wire = RECEIVES.get(wrong[0], f"Nobody is called {wrong[0]}.") if wrong else "Somebody else was accepted."
            return Problem(f"{question}: {', '.join(sorted(named))}", wire, look)
    return None


def plain(address: object) -> str:
    """An address as people write it, without a name, brackets, a route, or capital letters."""
    return str(address).rpartition("<")[2].strip(" >").rpartition(":")[2].lower()


# --- the server's half ---------------------------------------------------------------------------------------------

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
        "What does `yield want` give you, for `want = Body(cutter)`, and how do you know that it was the last?",
        "want = Body(cutter); while block := (yield want): body += block",
        "Your generator first says 354, because the client waits for it. Then it wants one block after another; an "
        "empty block means that the end mark has been read, so leave the loop. Only then ask `has_bare_newline` about "
        "them, say one last reply, and return the body or None.",
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
    return one_trickle(my_receive)


def slow_sender() -> Conversation[Reply | None]:
    """A letter at one octet each 100 seconds, but for its end; returns the reply that it hears."""
    yield from read_reply()
    for piece in (*one_by_one(b"At eight"), b"\r\n.\r\n"):
        yield piece
        with suppress(Timeout, Disconnected):
            return parse_reply([(yield Line(timeout=100.0))])
    return (yield from read_reply())


def one_trickle(my_receive: Any) -> Problem | None:
    """A caller who keeps the line with an octet now and then: each new Body begins with 180 seconds."""
    try:
        reply = rehearse(slow_sender(), my_receive(BodyCutter()), patient=True).client
    except Exception:                          # Timeout came out of it, as it should, or was answered in another way
        return None
    return Problem("a server that takes a letter at one octet each 100 seconds",
                   "Each new Body waits 180 seconds from the beginning: one caller keeps the line for days.",
                   "Make one `Body(cutter)` before the loop, and yield that one again and again."
                   ) if reply is not None and reply.code == 250 else None


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
                       "A client hears one reply before the letter, and one after it.")
    first, last = show.client
    expected = 250 if body is not None else 554
    if first.code != 354:
        return Problem(gave, f"It began with {first}.", "What does a client wait for before it sends the letter?")
    if last.code != expected:
        return Problem(gave, f"It answered {last}; we expected {expected}.",
                       "Ask has_bare_newline, but only after the last block: no refusal before the true end.")
    if not cutter.ended:
        return Problem(gave, f"It said {last.code} before the end mark: the server obeys the rest of the letter.",
                       "A refusal waits for the true end as well: go on until the block is b\"\".")
    if (replies := sum(said.role == "S" for said in show.said)) != 2:
        return Problem(gave, f"It said {replies} things.", "354 before the letter and one reply after it: two.")
    if show.server != body:
        return Problem(f"{gave} It returned {show.server!r}", f"We expected {body!r}.",
                       "Return the blocks, joined; None when you refused them.")
    return None

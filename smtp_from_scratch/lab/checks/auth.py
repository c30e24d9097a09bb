"""The checks of `auth`: PLAIN read, servers that say too much, a mechanism of one's own, and what AUTH costs."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from smtp_from_scratch.auth import (
    Auth,
    AuthError,
    BadResponse,
    CramMd5,
    Examination,
    Login,
    Mechanism,
    Passwords,
    Plain,
    SMTPAuthenticationError,
    Users,
    as_text,
)
from smtp_from_scratch.client import SMTPNotSupportedError
from smtp_from_scratch.conversation import Actor, Channel, Conversation, Work, flights, rehearse
from smtp_from_scratch.ehlo import (
    ClientSession,
    ExtendedSession,
    Extension,
    Letter,
    Offer,
    closed,
    deliver,
    open_session,
    serve_extended,
)
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check
from smtp_from_scratch.lab.wires.authority import Authority, certificates
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.starttls import StartTLS

ANA, TIDES = "ana@rio.example", "tides"

# --- your turn: read PLAIN -------------------------------------------------------------------------------------------

PASSWORDS = {ANA: TIDES, "kenji@tokyo.example": "corrente é mar", "": "nobody"}
PLAIN = [
    (f"\0{ANA}\0{TIDES}".encode(), ANA, "Ana is turned away, though she did no wrong."),
    (f"{ANA}\0{ANA}\0{TIDES}".encode(), ANA, "Ana may say that she wants to act as herself."),
    ("\0kenji@tokyo.example\0corrente é mar".encode(), "kenji@tokyo.example", "A password is UTF-8, not ASCII."),
    (f"\0{ANA}\0friday".encode(), None, "Anybody is Ana."),
    (f"kenji@tokyo.example\0{ANA}\0{TIDES}".encode(), None, "Ana reads Kenji's letters."),
    (f"\0{ANA}\0{TIDES}\0more".encode(), None, "A password has no NUL: what stands behind it was not compared."),
    (f"{ANA}\0{TIDES}".encode(), None, "Two parts: who wants to act as whom is a guess."),
    (b"", None, "`AUTH PLAIN =` opens the door, or breaks it."),
    (b"\0\0nobody", None, "A user without a name is let in."),
    (b"\0nobody@rio.example\0", None, "Whoever has no password yet is let in with none."),
    (b"\0ana\xff@rio.example\0tides", None, "What is no UTF-8 is nobody's name."),
]


@check(
    hints=(
        'How many parts does `response.split(b"\\0")` have, and which of them may be empty?',
        'len(parts) == 3, parts[1] and parts[2] not empty, all three decode, parts[0] in (b"", parts[1]).',
        "The response is three parts with NUL between them: whom to act as, who it is, the password. Only three "
        "parts count, the user and the password may not be empty, and all must be UTF-8. A user may act as nobody "
        "but themselves, so the first part is empty or equals the second.",
    ),
    passed="Three parts, in the right form, with the right content; nobody acts for anybody else.",
)
def check_plain(my_plain: Callable[[bytes, dict[str, str]], Any]) -> Iterator[Problem | None]:
    """A response of PLAIN is read strictly."""
    for response, user, harm in PLAIN:
        try:
            found = my_plain(response, dict(PASSWORDS))
        except UnicodeDecodeError:
            yield Problem(gave=f"a UnicodeDecodeError for {response!r}",
                          look="Octets that are no UTF-8 prove nothing: None.")
            return
        except KeyError as error:
            yield Problem(gave=f"a KeyError for {response!r}: {error}",
                          wire="An unknown user ends the session with a traceback.", look="`passwords.get(user)`.")
            return
        if found in (None, ...) and user and response is PLAIN[0][0]:
            raise NotYet(f"return the user, {user!r}, for {response!r}.")
        if found != user or isinstance(found, bytes):
            yield Problem(gave=f"{found!r} for {response!r}", wire=harm, look=f"It should be {user!r} (RFC 4616 §2).")


# --- exercise 1: find the bug ----------------------------------------------------------------------------------------

BUGS = {
    "A": (2, "In CRAM-MD5 the server begins. What is the answer to a client that began anyway?"),
    "B": (4, "When does this server say 535? What does a guesser of names learn?"),
    "C": (4, "Between MAIL and the end of the letter: is AUTH allowed there?"),
    "D": (2, "`=` is a response, an empty one. To what does a server say 334: to no response, or to an empty one?"),
    "E": (0, "The client begins, without an initial response; the server asks with nothing; that is all in order."),
    "F": (4, "Who has proved who they are need not do it again. May they?"),
}


@check(
    hints=(
        "Take the rules of §4 one by one: who begins, when is it allowed, how often, what does `=` mean?",
        "Two of the six are wrong in line 2, three in line 4.",
        "RFC 4954 §4 says who begins, what an initial response is, and what `=` means. It also says when AUTH is "
        "forbidden: after a success, and during a transaction. And a reply should not tell a guesser whether the "
        "name or the password was wrong.",
    ),
    passed="Each of these was found in a server that somebody uses.",
)
def check_auth_bugs(my_bugs: dict[str, Any]) -> Iterator[Problem]:
    """The line in which a server breaks a rule."""
    for name, (line, look) in BUGS.items():
        if (answer := my_bugs.get(name, ...)) is ...:
            raise NotYet(f"`{name}` is missing.")
        answer = as_number(answer)
        if not isinstance(answer, int) or not 0 <= answer <= 4:
            yield Problem(gave=f"{answer!r} for {name}", look="The number of a line, 1 to 4, or 0.")
        if answer in (1, 3):
            yield Problem(gave=f"line {answer} for {name}", look="The client says that. Which of the server's?")
        if answer != line:
            yield Problem(gave=f"line {answer} for {name}" if answer else f"no bug in {name}", look=look)


# --- exercise 2: half a pair -----------------------------------------------------------------------------------------

TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
NOTE = b'{"status":"401","schemes":"bearer"}'


class XOAuth2(Mechanism):
    """The server's end: a token, or a challenge that wants an empty answer."""

    name = "XOAUTH2"
    turns = 2

    def __init__(self, heard: list[bytes]) -> None:
        self.heard = heard

    def examine(self, users: Users) -> Examination:
        response = yield b""
        self.heard.append(response)
        user, token = read_token(as_text(response))
        right = yield Work(lambda: users.verify(user, token))
        if not right:
            after = yield NOTE
            self.heard.append(after)
            raise AuthError("wrong token")
        return user


def read_token(text: str) -> tuple[str, str]:
    """User and token; raises BadResponse."""
    who, sep, rest = text.partition("\1auth=Bearer ")
    if not sep or not who.startswith("user=") or not rest.endswith("\1\1"):
        raise BadResponse("not of XOAUTH2's form")
    return who.removeprefix("user="), rest.removesuffix("\1\1")


@cache
def tokyo() -> Authority:
    """One certificate for all checks."""
    return certificates("mx.tokyo.example")


def log_in_by(mechanism: Any, token: str, tls: bool) -> tuple[ClientSession, list[bytes], Exception | None]:
    """One session at a server that has the other end: the client, what the server heard, what was raised."""
    heard: list[bytes] = []
    ours: list[Extension] = [Auth(Passwords({ANA: TOKEN}), mechanisms=[XOAuth2(heard)], insecure=True)]
    theirs: list[Extension] = [Auth(user=ANA, password=token, mechanisms=[mechanism])]
    if tls:
        ours, theirs = [StartTLS(tokyo().server), *ours], [StartTLS(tokyo().client), *theirs]
    client = ClientSession("rio.example", closed(theirs), host="mx.tokyo.example")
    server = serve_extended(ExtendedSession("mx.tokyo.example", offer=Offer(ours)))
    try:
        rehearse(open_session(client), server, patient=True)
    except Exception as error:
        return client, heard, error
    return client, heard, None


@check(
    hints=(
        "Like LOGIN, this client may have to speak twice. What does a generator yield first, what then?",
        'turns = 2, and: if (yield f"user=…".encode()) is not None: yield b""',
        "A client of this mechanism says one response and usually is done. If the token is refused the server "
        "sends a challenge that explains why, and wants an empty response before its 535. So after the first "
        "`yield` look at what comes back: None is the end, anything else needs one more `yield`.",
    ),
    passed="A mechanism that the package has never seen, and it takes it as one of its own.",
)
def check_token(MyXOAuth2: Any) -> Iterator[Problem | None]:
    """XOAUTH2's client, at a server that has the other end."""
    if MyXOAuth2.respond.__qualname__.split(".")[0] == "Mechanism":
        raise NotYet("write `respond(self, user, password)`: what does it yield first?")
    client, heard, error = log_in_by(MyXOAuth2(), TOKEN, tls=True)
    right = f"user={ANA}\1auth=Bearer {TOKEN}\1\1".encode()
    if heard[:1] != [right]:
        yield Problem(gave=f"{heard[0]!r}" if heard else f"nothing that a server could read: {error!r}",
                      wire=f"The server waits for {right!r}.", look="`\\1` is one octet; and say bytes, not str.")
    if error or client.user != ANA:
        yield Problem(gave=f"a client that is not logged in with a good token: {error!r}",
                      look="When 235 has come, the generator is sent None. Is there anything left to say?")
    client, heard, error = log_in_by(MyXOAuth2(), "run-out", tls=True)
    if isinstance(error, SMTPAuthenticationError) and error.reply.code == 334:
        yield Problem(gave="a client that takes the server's second challenge for the end",
                      wire="The server waits for an empty response, and takes your next command for one.",
                      look="Which flag of `Mechanism` says how often the client may have to speak?")
    if not isinstance(error, SMTPAuthenticationError) or error.reply.code != 535:
        yield Problem(gave=f"{error!r} for a token that has run out", wire="It should end with the server's 535.",
                      look="The second challenge wants an empty response: one `yield` more.")
    if heard[1:] != [b""]:
        yield Problem(gave=f"{heard[1:]!r} as the response to the second challenge", look="It is empty: b\"\".")
    client, heard, error = log_in_by(MyXOAuth2(), TOKEN, tls=False)
    if heard or not isinstance(error, SMTPNotSupportedError):
        yield Problem(gave="a client that says the token in the clear",
                      wire="Eve reads the token, and is Ana until it runs out.",
                      look="Who reads along can use what they read. Which flag says so? What is its default?")


# --- exercise 3: break the server ------------------------------------------------------------------------------------

NAMES = ["ana@rio.example", "bob@rio.example", "carla@rio.example", "kenji@tokyo.example", "li@beijing.example", "ola"]


class Gossip(Login):
    """LOGIN that asks only those for a password who have one."""

    def examine(self, users: Users) -> Examination:
        user = as_text((yield b"Username:"))
        if users.secret(user) is None:
            raise AuthError("wrong")
        password = as_text((yield b"Password:"))
        if not users.verify(user, password):
            raise AuthError("wrong")
        return user


class Puzzled(Login):
    """LOGIN that asks a user whom it does not know for the form of the password."""

    def examine(self, users: Users) -> Examination:
        user = as_text((yield b"Username:"))
        password = as_text((yield b"Password:"))
        if users.secret(user) is None:
            raise BadResponse("no such user")
        if not users.verify(user, password):
            raise AuthError("wrong")
        return user


class Call:
    """A server at the other end of a line, in memory: say a line, get the reply as text."""

    def __init__(self, conversation: Conversation[Any]) -> None:
        self.actor = Actor(conversation, Channel("S"))
        self.take()

    def take(self) -> str:
        return b"".join(flights(self.actor)).decode().strip()

    def __call__(self, line: str) -> str:
        if self.actor.done:
            raise ConnectionError("the server has hung up: dial again")
        self.actor.channel.hear(line.encode() + b"\r\n")
        return self.take()


def census_of(my_census: Callable[..., Any], mechanism: Mechanism, present: list[str]) -> Any:
    """What the learner's function finds out at a server with these users."""
    offer = Offer([Auth(Passwords(dict.fromkeys(present, "correct horse battery")), mechanisms=[mechanism])])

    def call() -> Call:
        session = ExtendedSession("mx.tokyo.example", offer=offer, secure=True)
        line = Call(serve_extended(session))
        line("EHLO mallory.example")
        return line

    return my_census(call, list(NAMES))


@check(
    hints=(
        "Say `AUTH LOGIN`, a name, a password that is surely wrong: what differs between two names?",
        "Note all the replies for each name, and compare them with those for a name that nobody has.",
        "A guesser tries each name with a password that is surely wrong and notes everything the server says. A "
        "name that nobody has gives the replies of a stranger. Each name whose replies differ from those, in code, "
        "text or number, exists.",
    ),
    passed="Any difference tells: another code, another text, another question. Ours shows none.",
)
def check_census(my_census: Callable[..., Any]) -> Iterator[Problem | None]:
    """Who exists, at servers that say too much."""
    weak: list[tuple[str, Mechanism]] = [("refuses a stranger before the password", Gossip()),
                                         ("has another code for strangers", Puzzled())]
    for what, mechanism in weak:
        for present in ([NAMES[0], NAMES[3]], NAMES[1:5], [NAMES[4]]):
            found = census_of(my_census, mechanism, present)
            if found is None or found is ...:
                raise NotYet("return the list of those who exist.")
            if sorted(found) != sorted(present):
                yield Problem(gave=f"{found!r} at the server that {what}", wire=f"There were {present!r}.",
                              look="Print every reply for two names. What differs? (Names go in base64: `encode64`.)")
    found = census_of(my_census, Login(), [NAMES[0], NAMES[3]])
    if found != []:
        yield Problem(gave=f"{found!r} at our server", wire="It tells nobody apart: all six got the same replies.",
                      look="Compare with the replies for a name that surely nobody has.")


# --- exercise 4: what it costs ---------------------------------------------------------------------------------------

METHODS: dict[str, Mechanism] = {"PLAIN": Plain(), "LOGIN": Login(), "CRAM-MD5": CramMd5()}


@cache
def seconds(name: str, pipelining: bool) -> float:
    """How long a session takes on a line with a round trip of one second."""
    def side(context: Any, *auth: Extension) -> list[Extension]:
        return [StartTLS(context), *([Pipelining()] if pipelining else []), *(auth if name else [])]

    methods = [METHODS[name]] if name else []
    known = Auth(user=ANA, password=TIDES, mechanisms=methods)
    client = ClientSession("rio.example", closed(side(tokyo().client, known)), host="mx.tokyo.example")
    offer = Offer(side(tokyo().server, Auth(Passwords({ANA: TIDES}), mechanisms=methods)))
    letter = Letter(Envelope(ANA, ["kenji@tokyo.example"]), [b"Subject: The choir\r\n\r\nSee you on Friday.\r\n"])
    server = serve_extended(ExtendedSession("mx.tokyo.example", offer=offer))
    return rehearse(deliver(client, [letter]), server, latency=0.5).seconds


@check(
    hints=(
        "Count the times that the client must hear something before it can say the next thing.",
        "A challenge costs one each, the last response one; unless MAIL may fly with it.",
        "A round trip is spent whenever the client must hear something before it can speak. Each challenge costs "
        "one, and the answer to AUTH costs one more. Under PIPELINING the last answer is free when MAIL may fly "
        "with the response, and that needs a mechanism whose last word needs no challenge.",
    ),
    passed="PLAIN under PIPELINING is free. Every question that waits for an answer costs the length of the line.",
)
def check_price(my_price: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    """Round trips that AUTH adds to a session under TLS."""
    for how in my_price:
        if how not in ("one at a time", "PIPELINING"):
            yield Problem(gave=f"a row {how!r}", look="The rows are `one at a time` and `PIPELINING`.")
    for how in ("one at a time", "PIPELINING"):
        for name in METHODS:
            answer = my_price.get(how, {}).get(name, ...)
            if answer is ...:
                raise NotYet(f"`{how}`, {name} is missing.")
            truth = seconds(name, how == "PIPELINING") - seconds("", how == "PIPELINING")
            if answer != truth:
                yield Problem(gave=f"{answer!r} for {name}, {how}", look=look_at(name, how))


def look_at(name: str, how: str) -> str:
    """Where the round trips are."""
    if name == "PLAIN":
        return ("AUTH with its initial response, and 235: how often does the client wait?" if how != "PIPELINING" else
                "May MAIL leave before AUTH PLAIN is answered, when the response stood behind it?")
    return (f"Write down the lines of AUTH {name} in our client: it waits before each line that answers a challenge, "
            "and before it may go on.")

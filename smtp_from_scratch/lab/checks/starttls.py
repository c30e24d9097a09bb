"""The checks of `starttls`: buckets, policies, servers to convict, and an extension of one's own."""
from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import cache
from textwrap import dedent
from typing import Any

from smtp_from_scratch.client import SMTPException, SMTPNotSupportedError, SMTPResponseException
from smtp_from_scratch.conformance.notation import NotationError, parse
from smtp_from_scratch.conformance.server.player import ClientPart, Difference
from smtp_from_scratch.conformance.server.runner import Target
from smtp_from_scratch.conversation import Disconnected, Interruption, read_reply, rehearse
from smtp_from_scratch.ehlo import (
    EightBitMime,
    ExtendedSession,
    Extension,
    ExtensionSet,
    Parameter,
    Size,
    check_requirements,
)
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, check, is_unsolved
from smtp_from_scratch.lab.wires.authority import Authority, certificates
from smtp_from_scratch.session import Session, Verb, serve
from smtp_from_scratch.starttls import TLSLayer, Upgrade
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, Plan, leave, open_session
from smtp_from_scratch.wire import Reply

Talk = Generator[Any, Any, Any]


@cache
def tokyo() -> Authority:
    """One certificate for all checks."""
    return certificates("mx.tokyo.example")


# --- your turn: read ------------------------------------------------------------------------------------------------


def sealed_line() -> tuple[Callable[[bytes], bytes], Callable[[], bytes], ssl.SSLObject, ssl.MemoryBIO]:
    """What seals a client's octets, its goodbye, a server that has shaken hands, and its incoming bucket."""
    to_client, from_client, to_server, from_server = (ssl.MemoryBIO() for _ in range(4))
    client = tokyo().client.wrap_bio(to_client, from_client, server_hostname="mx.tokyo.example")
    server = tokyo().server.wrap_bio(to_server, from_server, server_side=True)
    for end, there, back in 2 * ((client, from_client, to_server), (server, from_server, to_client)):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
        back.write(there.read())

    def seal(data: bytes) -> bytes:
        client.write(data)
        return from_client.read()

    def goodbye() -> bytes:
        with suppress(ssl.SSLError):
            client.unwrap()
        return from_client.read()

    return seal, goodbye, server, to_server


@check(
    hints=(
        "Chapter `wire`: one `recv` is not one reply. What ends your loop?",
        "while block := tls.read(262_144): plain += block   (and SSLWantReadError ends it, too)",
        "One `read` returns one TLS record at most, so read until there is nothing more. SSLWantReadError means "
        "only that no whole record has come yet, and an empty result that the other end has said goodbye. In both "
        "cases return what you have; any other error is real and must not be caught.",
    ),
    passed="Everything that has come, in whole records, and no exception for what has not.",
)
def check_read(my_read: Callable[[Any], Any]) -> Iterator[Problem | None]:
    """All plain octets that can be read now."""
    seal, goodbye, server, incoming = sealed_line()
    text = bytes(range(256)) * 400
    short, long = seal(b"NOOP\r\n"), seal(text)
    cut = len(long) - 100
    for what, octets, expected in (
        ("one short record", short, b"NOOP\r\n"),
        ("nothing", b"", b""),
        ("six records and most of a seventh", long[:cut], text[: 6 * 16_384]),
        ("the rest of it", long[cut:], text[6 * 16_384 :]),
        ("the other end's goodbye", goodbye(), b""),
    ):
        incoming.write(octets)
        yield read_problem(my_read, server, what, expected)
    _, _, server, incoming = sealed_line()
    incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))
    try:
        got = my_read(server)
    except ssl.SSLError:
        return
    yield Problem(gave=f"{got!r} when a record had come that somebody had tampered with",
                  wire="The session goes on as if nothing had happened.",
                  look="Only SSLWantReadError means \"no more for now\". Every other SSLError must get out.")


def read_problem(my_read: Callable[[Any], Any], server: ssl.SSLObject, what: str, expected: bytes) -> Problem | None:
    """One call of the learner's function."""
    try:
        got = my_read(server)
    except ssl.SSLWantReadError:
        return Problem(gave=f"SSLWantReadError, when {what} had come",
                       wire="The session would end there, and nothing is wrong: the rest is still on its way.",
                       look="It means \"no more for now\". Catch it, and return what you have.")
    if got is None or got is ... or (what == "one short record" and got == b""):
        raise NotYet("read, and return what you have read.")
    if got == expected:
        return None
    if not isinstance(got, bytes | bytearray):
        return Problem(gave=f"{got!r} when {what} had come", look="Return octets, as `read` gives them.")
    if len(expected) > 16_384:
        return Problem(gave=f"{len(got):,} of {len(expected):,} octets, when {what} had come",
                       wire="The rest stays in the bucket. If the other end waits for an answer, both wait forever.",
                       look="One `read` returns one record at most. Read until there is nothing more.")
    return Problem(gave=f"{got[:40]!r} when {what} had come", wire=f"It was {expected[:40]!r}.",
                   look="Return all plain octets, in order, each once.")


# --- your turn: TLS if it can be had --------------------------------------------------------------------------------


def shake_hands(client: TLSLayer) -> bool:
    """Whether a client's layer and Tokyo's server come to terms."""

    def talk(layer: TLSLayer) -> Talk:
        yield Upgrade(layer)
        return True

    try:
        return bool(rehearse(talk(client), talk(TLSLayer(tokyo().server, server_side=True))).client)
    except (OSError, Interruption):
        return False


@check(
    hints=(
        "Which two fields of a context say what is compared, and which one must be changed first?",
        "context.check_hostname = False, and then context.verify_mode = ssl.CERT_NONE",
        "A context that compares names must demand a certificate. So first switch off `check_hostname`, and "
        "then `verify_mode`. Last, set `minimum_version`, which some systems leave open.",
    ),
    passed="Sealed, whoever is at the other end. An eavesdropper gets nothing.",
)
def check_unverified(my_unverified: Callable[[], Any]) -> Iterator[Problem]:
    """A client's settings that seal, and believe anybody."""
    try:
        context = my_unverified()
    except ValueError as error:
        yield Problem(gave=f"a ValueError: {error}", wire="No session begins.", look="Mind the order of the two.")
        return
    if context is None or context is ...:
        raise NotYet("return the context.")
    if not isinstance(context, ssl.SSLContext):
        yield Problem(gave=repr(context), look="Return the context that `ssl.create_default_context()` made.")
        return
    try:
        layer = TLSLayer(context, "whoever.example")
    except (ValueError, ssl.SSLError) as error:
        yield Problem(gave=f"a context that cannot be a client's: {error}",
                      look="Begin with `ssl.create_default_context()`.")
        return
    if not shake_hands(layer):
        yield Problem(gave="a client that breaks the handshake off",
                      wire="Most servers of mail have a certificate that nobody can check: no TLS with any of them.",
                      look="Neither a certificate nor a name in it may be demanded.")
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        yield Problem(gave=f"a client that speaks {context.minimum_version.name}, where the system lets it",
                      wire="Eve could talk both ends down to a version that has been broken (RFC 8996).",
                      look="`context.minimum_version = ssl.TLSVersion.TLSv1_2`")


# --- your turn: the server's end ------------------------------------------------------------------------------------


def shaking(my_secure_server: Callable[..., Any], client: Talk) -> tuple[CodedSession, Any]:
    """A session in the middle of a transaction, after a handshake, and what the learner's function returned."""
    session = CodedSession("mx.tokyo.example", lambda envelope, body: None)
    session.extended, session.state = True, "ready"
    session.user, session.envelope = "eve", Envelope("eve@shady.example")
    return session, rehearse(client, my_secure_server(session, tokyo().server)).server


def shakes() -> Talk:
    """A client that shakes hands, and hangs up."""
    yield Upgrade(TLSLayer(tokyo().client, "mx.tokyo.example"))


def says_noop() -> Talk:
    """A client that goes on in the clear."""
    yield b"NOOP\r\n"


def hangs_up() -> Talk:
    """A client that is gone."""
    yield from ()


@check(
    hints=(
        "May a session go on after a handshake that failed? And what must it forget after one that worked?",
        "yield Upgrade(TLSLayer(context, server_side=True))   (in a `try`)",
        "Yield the upgrade inside a `try`. If it raises an OSError or an Interruption, close the session and return "
        "False. If not, everything said in the clear is forgotten: `session.restart()`, then `session.secure`, "
        "then True.",
    ),
    passed="Nothing that was said in the clear is remembered, and no failed handshake is forgiven.",
)
def check_secure_server(my_secure_server: Callable[..., Any]) -> Iterator[Problem]:
    """The server's end of a handshake."""
    if not isinstance(my_secure_server(CodedSession("mx.tokyo.example", lambda envelope, body: None), tokyo().server),
                      Generator):
        raise NotYet("it is a conversation, so it has a `yield`: which want begins TLS?")
    session, returned = shaking(my_secure_server, shakes())
    if not returned:
        yield Problem(gave=f"{returned!r} after a handshake that worked", wire="The server hangs up.",
                      look="After the upgrade return True.")
    if session.state != "start" or session.extended or session.user or session.envelope.sender:
        yield Problem(gave=f"a session that still knows {session.user or 'the client'}, in the state {session.state!r}",
                      wire="Eve said EHLO, and more, in the clear. Under TLS it counts as the client's.",
                      look="`session.restart()` forgets all of it.")
    if not session.secure:
        yield Problem(gave="a session that is not `secure`", wire="EHLO offers STARTTLS again.",
                      look="Note it after `restart`.")
    for client, what in ((says_noop(), "the client went on in the clear"), (hangs_up(), "the client hung up")):
        try:
            session, returned = shaking(my_secure_server, client)
        except (OSError, Interruption) as error:
            yield Problem(gave=f"{type(error).__name__}, when {what}", wire="The session dies of an error.",
                          look="Catch an OSError, and an Interruption, around the upgrade.")
            return
        if returned or session.secure:
            yield Problem(gave=f"{returned!r} when {what}, with secure={session.secure}",
                          wire="The server takes the line for sealed.", look="Return False, and set nothing.")
        if session.state != "closed":
            yield Problem(gave=f"the state {session.state!r} when {what}",
                          wire="The session goes on in the clear: Eve only has to break the handshake.",
                          look="The state is \"closed\" then.")


# --- exercise 1: what is left for Eve -------------------------------------------------------------------------------

TICKS = {
    "who calls whom": (True, "TLS seals what is said. Packets carry their addresses outside."),
    "when, and for how long": (True, "Eve has a clock, and sees each packet pass."),
    "the name in the first EHLO": (True, "What comes before the handshake is in the clear."),
    "the server's name": (True, "Look at the second panel of the wiretap: what does the ClientHello say?"),
    "the server's certificate": (False, "In the flights of the handshake: from which word on is everything sealed?"),
    "the addresses on the envelope": (False, "MAIL and RCPT come after the handshake. See the second panel."),
    "how many recipients": (True, "One command at a time: count the flights before the letter."),
    "the subject": (False, "It stands in the letter, and the letter is sealed."),
    "how long the letter is": (True, "A record is as long as what is in it, and some octets more."),
}


@check(
    hints=(
        "Which of these could you tell from a sealed letter on a scale, with a watch, at the post office?",
        "Three are False: what is said after the handshake, and what the server sends within it.",
        "TLS seals what is said after the handshake. Everything before it is in the clear, the name in the "
        "ClientHello included, and addresses, times and lengths can be seen from outside. The certificate is "
        "different in TLS 1.3: the server sends it when the keys are agreed.",
    ),
    passed="You know what an eavesdropper keeps: who, when, how much. Not what.",
)
def check_ticks(my_ticks: dict[str, bool]) -> Iterator[Problem]:
    """What an eavesdropper knows of a session under TLS."""
    for what, (known, why) in TICKS.items():
        if not isinstance(my_ticks.get(what), bool):
            raise NotYet(f"True or False for `{what}` is missing.")
        if my_ticks[what] != known:
            yield Problem(gave=f"{my_ticks[what]} for `{what}`", look=why)


# --- exercise 2: proceed or stop ------------------------------------------------------------------------------------

EHLOS = [
    (Reply(250, "mx.tokyo.example\nSIZE 1000000\nSTARTTLS\nHELP"), True, "STARTTLS is offered there."),
    (Reply(250, "mx.tokyo.example\nSIZE 1000000\nHELP"), False, "The offer is gone, whoever took it."),
    (Reply(250, "mx.tokyo.example\nSIZE 1000000\nXXXXXXXA\nHELP"), False, "The firewall has been here: no STARTTLS."),
    (Reply(250, "mx.tokyo.example\nstarttls"), True, "Keywords may be written in any capitals (RFC 5321 §2.4)."),
    (Reply(250, "STARTTLS.tokyo.example\nSIZE 1000000"), False, "The first line is the server's name, and no offer."),
    (Reply(250, "STARTTLS"), False, "The first line is the server's name, and no offer."),
    (Reply(250, "mx.tokyo.example\nX-NOTE no STARTTLS today"), False, "A keyword is the first word of its line."),
    (Reply(250, "mx.tokyo.example\nSTARTTLSPLUS"), False, "That is another keyword."),
    (Reply(502, "no EHLO here\nSTARTTLS"), False, "EHLO was refused: nothing is offered (RFC 5321 §3.2)."),
]


@check(
    hints=(
        "Which word of which lines is an offer? And what if it is missing: who decides?",
        "offered = {line.split()[0].upper() for line in ehlo.lines[1:]} if ehlo.positive else set()",
        "An offer is the first word of any line but the first of a positive reply to EHLO, in any case of letters. "
        "If STARTTLS is offered, use it. If it is missing, a client that requires TLS stops, and any other goes on.",
    ),
    passed="TLS where it is offered; and where it is required and missing, nothing more is said.",
)
def check_policy(my_policy: Callable[[Reply, bool], Any]) -> Iterator[Problem]:
    """starttls, clear or stop."""
    for ehlo, offered, why in EHLOS:
        for require_tls in (False, True):
            right = "starttls" if offered else "stop" if require_tls else "clear"
            given = my_policy(ehlo, require_tls)
            if given not in ("starttls", "clear", "stop"):
                raise NotYet('return "starttls", "clear" or "stop".')
            if given != right:
                wire = {"clear": "The letter would cross the line in the clear.",
                        "stop": "The letter would not get out.",
                        "starttls": "The server would answer 500, or not at all."}[given]
                if given == "stop" and not require_tls and not offered:
                    why = "TLS is not required here: an old server must still get its mail."
                yield Problem(gave=f"{given!r} for {' / '.join(ehlo.lines)!r} ({ehlo.code}), require_tls={require_tls}",
                              wire=wire, look=why)


# --- exercise 3: convict three servers ------------------------------------------------------------------------------


class KeepsAll(TLSLayer):
    """What is no TLS stays in the inbox."""

    def receive(self, data: bytes) -> bytes:
        return data if data[:1].isalpha() else super().receive(data)


class KeepsHalf(TLSLayer):
    """Of what is no TLS, a last line without its end stays."""

    def receive(self, data: bytes) -> bytes:
        return data.rpartition(b"\r\n")[2] if data[:1].isalpha() else super().receive(data)


class Discards(TLSLayer):
    """What is no TLS is thrown away."""

    def receive(self, data: bytes) -> bytes:
        return b"" if data[:1].isalpha() else super().receive(data)


class Market(Extension):
    """STARTTLS, as one of the three servers has it, or as it should be."""

    keyword = "STARTTLS"

    def __init__(self, layer: type[TLSLayer] = TLSLayer, forgets: bool = True) -> None:
        self.layer, self.forgets = layer, forgets

    def advertise(self, session: ExtendedSession) -> str | None:
        return None if session.secure else self.keyword

    def verbs(self) -> dict[str, Verb]:
        return {"STARTTLS": Verb(self.starttls, {"ready": "start"}, "STARTTLS", now=True)}

    def starttls(self, session: Session, argument: str) -> Talk:
        assert isinstance(session, CodedSession)
        if argument or session.secure:
            return Reply(501 if argument else 503, "not so")
        yield Reply(220, "shake hands")
        try:
            yield Upgrade(self.layer(tokyo().server, server_side=True))
        except (OSError, Disconnected):
            session.state = "closed"
            return None
        if self.forgets:
            session.restart()
        session.secure = True
        return None


SERVERS = {
    "A": (Market(KeepsAll), "Say something after STARTTLS, in the same segment. What shows that it was obeyed?"),
    "B": (Market(KeepsHalf), "A line is obeyed when it is complete. What completes half a line that Eve has left?"),
    "C": (Market(Discards, forgets=False), "What did the client say in the clear that it would have to say again?"),
}
HEAD = "== {}\nrfc: 3207 §6\nlevel: MUST\nasks: A server forgets what came in the clear.\nafter: EHLO\n--\n"


@check(
    hints=(
        "What is different after the handshake at a server that remembers? Which command shows it?",
        "A: `C= STARTTLS\\r\\nNOOP\\r\\n`, and under TLS `S: nothing`.",
        "A server that forgets what came in the clear cannot be made to act on it. So say something in the clear "
        "that would show afterwards: a whole command, half a line, or a greeting. Then write what a good server "
        "answers under TLS, and the weak one gives itself away.",
    ),
    passed="Convicted, all three, and ours acquitted. Your dialogues would have found CVE-2011-0411.",
)
def check_dialogues(my_dialogues: dict[str, str]) -> Iterator[Problem]:
    """Dialogues that pass at our server, and fail at three others."""
    for name, (extension, look) in SERVERS.items():
        if not isinstance(my_dialogues.get(name), str):
            raise NotYet(f"a dialogue for {name} is missing.")
        text = HEAD.format(f"Dialogue {name}") + dedent(my_dialogues[name])
        try:
            list(parse(text))
        except NotationError as error:
            yield Problem(gave=f"a dialogue {name} that cannot be read: {str(error).partition(': ')[2]}",
                          look="The notation is in the text of the exercise, and A's first lines are an example.")
        if said := verdict_on(Market(), text):
            yield Problem(gave=f"a dialogue {name} that our server fails, too: {said}",
                          wire="Ours keeps the rule: the trial is unfair.",
                          look="Which reply does the rule demand at that step? May the server hang up there?")
        if not verdict_on(extension, text):
            yield Problem(gave=f"a dialogue that server {name} passes", look=look,
                          wire="Nothing in it shows what the server kept.")


def verdict_on(extension: Extension, text: str) -> str:
    """What a server does otherwise in a dialogue; empty when it passes."""
    session = CodedSession("mx.tokyo.example", lambda envelope, body: None, extensions=ExtensionSet([extension]))
    [dialogue] = parse(text)
    try:
        player = ClientPart(dialogue, Target("mx.tokyo.example", 0).values())
        rehearse(player.conversation(), serve(session), patient=True)
    except Difference as difference:
        return str(difference)
    return ""


# --- your turn: the client's step -----------------------------------------------------------------------------------


class Refuses(Market):
    """It offers STARTTLS, and has no certificate today."""

    def starttls(self, session: Session, argument: str) -> Talk:
        yield from ()
        return Reply(454, "no certificate today")


STEPS: tuple[tuple[str, Extension | None, bool, bool, type[Exception] | None], ...] = (
    ("STARTTLS is offered", Market(), False, False, None), ("STARTTLS is offered", Market(), True, False, None),
    ("STARTTLS is not offered", None, True, False, SMTPNotSupportedError),
    ("STARTTLS is not offered", None, False, False, None),
    ("STARTTLS gets 454", Refuses(), True, False, SMTPResponseException),
    ("STARTTLS gets 454", Refuses(), False, False, None),
    ("TLS is up already, and required", None, True, True, None),
)


@check(
    hints=(
        "Which two things can go wrong before the handshake? What does `required` say about each?",
        'if "STARTTLS" not in client.offered: … raise SMTPNotSupportedError("…") if required, else return',
        "There are three ways out before a handshake: TLS is up already, it is not offered, or the server does not "
        "answer 220. In the last two, raise if TLS is required, else return. After the "
        "handshake say EHLO again, since what was offered in the clear is forgotten.",
    ),
    passed="TLS where it can be had. Where it is required and missing, an exception and no word more.",
)
def check_start_tls(my_start_tls: Callable[..., Any]) -> Iterator[Problem]:
    """The client's step to TLS."""
    for number, (what, extension, required, secure, expected) in enumerate(STEPS):
        client = CodedClientSession("rio.example", host="mx.tokyo.example")
        raised, verbs = stepped(my_start_tls, client, extension, required, secure)
        if number == 0 and not raised and not verbs:
            raise NotYet("where STARTTLS is offered, it should be said.")
        how = f"{what}, {'required' if required else 'not required'}"
        if isinstance(raised, SMTPException) and expected is None or type(raised) is not (expected or type(None)):
            yield Problem(gave=f"{type(raised).__name__ if raised else 'no exception'} ({how})",
                          wire="A handshake begins with a server that has not said 220."
                          if isinstance(raised, ssl.SSLError | Interruption)
                          else "The letter crosses the line in the clear." if expected and not raised
                          else "The letter stays here, for another reason." if expected else "The letter stays here.",
                          look=f"It {f'raises {expected.__name__}' if expected else 'returns'} then.")
            return
        if extension is None and verbs:
            yield Problem(gave=f"{' and '.join(verbs)} ({how})", look="There is nothing to say then.")
        if type(extension) is Market:
            if not client.secure:
                yield Problem(gave=f"a line in the clear ({how})", look="After 220: `secure_client(client, context)`.")
            if "SIZE" not in client.offered or "STARTTLS" in client.offered:
                yield Problem(gave=f"a client that believes in the offer {sorted(client.offered)} under TLS",
                              wire="It would not know what the server can do, or would go by what Eve let it see.",
                              look="Say EHLO again: `hello(client)`.")


def stepped(my_start_tls: Callable[..., Any], client: ClientSession, extension: Extension | None, required: bool,
            secure: bool) -> tuple[Exception | None, list[str]]:
    """What the learner's function raised, and the verbs that it said in the clear."""
    offer = ExtensionSet([Size(), *([extension] if extension else [])])
    session = CodedSession("mx.tokyo.example", lambda envelope, body: None, extensions=offer)

    def talk() -> Talk:
        yield from open_session(client)
        client.secure = secure
        try:
            step = my_start_tls(client, tokyo().client, required)
            if not isinstance(step, Generator):
                raise NotYet("it is a conversation, so it has a `yield` in it.")
            yield from step
        except (OSError, Interruption) as error:
            return error
        return None

    show = rehearse(talk(), serve(session))
    said = [line.data for line in show.said if line.role == "C"]
    verbs = [data.split()[0].decode("ascii", "replace") for data in said if data[:1].isalpha()]
    return show.client, verbs[1:]


# --- exercise 4: an extension of one's own --------------------------------------------------------------------------

WHERE = "RFC 8689, as the exercise tells it."


def answers(extension: Extension, lines: list[str], secure: bool) -> list[Reply]:
    """What a server with SIZE, 8BITMIME and this extension replies to some lines."""
    offer = ExtensionSet([Size(), EightBitMime(), extension])
    session = CodedSession("mx.tokyo.example", lambda envelope, body: None, extensions=offer)
    session.secure = secure

    def client() -> Talk:
        replies = [(yield from read_reply())]
        for line in lines:
            yield line.encode() + b"\r\n"
            replies.append((yield from read_reply()))
        return replies[1:]

    return list(rehearse(client(), serve(session)).client)


@check(
    hints=(
        "Which methods of `Extension` do SIZE and 8BITMIME use in chapter `ehlo`? Which can see `session.secure`?",
        'A parameter without a value: plan.mail.parameters["REQUIRETLS"] = None, if plan.client.secure.',
        "The server's end offers the parameter only under TLS, judges that it has no value, and makes room on the "
        "line. The client's end marks MAIL when the letter needs it, and crosses the need off, but only when the "
        "session is under TLS. A need that nobody has crossed off stops the letter, and that is what you want "
        "elsewhere.",
    ),
    passed="An RFC that the course never built, and both of its ends are yours.",
)
def check_requiretls(MyRequireTLS: type[Extension]) -> Iterator[Problem]:
    """REQUIRETLS, both ends."""
    if MyRequireTLS.parameters is Extension.parameters or is_unsolved(MyRequireTLS.parameters):
        raise NotYet("which method of `Extension` tells MAIL about a new parameter?")
    yield from server_problems(MyRequireTLS)
    yield from client_problems(MyRequireTLS)


def server_problems(my_class: type[Extension]) -> Iterator[Problem]:
    """The server's end."""
    try:
        offer = ExtensionSet([Size(), EightBitMime(), my_class()])
    except ValueError as error:
        yield Problem(gave=f"an extension that cannot be offered alone: {error}",
                      wire="A server on port 465 has TLS and never offers STARTTLS.", look="`requires` may stay empty.")
        return
    if offer.limits["MAIL"] != 512 + 26 + 17 + 11:
        yield Problem(gave=f"{offer.limits['MAIL']} octets for MAIL with SIZE, 8BITMIME and yours",
                      wire="The longest legal line would be refused, or a longer one accepted.",
                      look="`Parameter(check, octets=…)`: a space and ten letters are 11 octets.")
    for secure, line, code, wire in (
        (True, "MAIL FROM:<ana@rio.example> REQUIRETLS", 250, "A letter that asks for TLS, under TLS, is refused."),
        (True, "MAIL FROM:<ana@rio.example> SIZE=900 REQUIRETLS BODY=8BITMIME", 250, "Three parameters in one MAIL."),
        (True, "MAIL FROM:<ana@rio.example> REQUIRETLS=YES", 501, "The parameter has no value."),
        (True, "MAIL FROM:<ana@rio.example>", 250, "Most letters do not ask for it."),
        (False, "MAIL FROM:<ana@rio.example>", 250, "A letter that does not ask for it may come in the clear."),
        (False, "MAIL FROM:<requiretls@rio.example>", 250, "That is a name, and no parameter."),
        (False, "MAIL FROM:<ana@rio.example> REQUIRETLS", 500, "The letter has come in the clear already."),
    ):
        hello, reply = answers(my_class(), ["EHLO rio.example", line], secure)
        how = "under TLS" if secure else "in the clear"
        if ("REQUIRETLS" in hello.lines[1:]) != secure:
            yield Problem(gave=f"an EHLO {how} that says {' / '.join(hello.lines)}",
                          wire="It would be offered where it cannot be kept." if not secure else "Nobody would use it.",
                          look="`advertise` returns the line, or None. Which of the session's fields decides?")
        if reply.code // 100 != 5 if code == 500 else reply.code != code:
            yield Problem(gave=f"{reply} for `{line}` {how}", wire=wire, look=WHERE)


def sends(client: ClientSession, message: OutgoingMessage) -> Talk:
    """A session with one message."""
    yield from open_session(client)
    yield from Plan(client, message).run()
    yield from leave(client)


def client_problems(my_class: type[Extension]) -> Iterator[Problem]:
    """The client's end."""
    class Liar(Extension):
        keyword = "REQUIRETLS"

        def parameters(self) -> dict[str, dict[str, Parameter]]:
            return {"MAIL": {"REQUIRETLS": Parameter(lambda session, value: None, octets=11)}}

    for needs, offered, secure, right in (
        (True, my_class(), True, True), (False, my_class(), True, False), (True, Size(), True, None),
        (True, Liar(), False, None), (False, Liar(), False, False),
    ):
        how = (f"a letter that {'needs' if needs else 'does not need'} it, {'under TLS' if secure else 'no TLS'}, "
               f"the server {'offers' if offered.keyword == 'REQUIRETLS' else 'does not offer'} it")
        session = CodedSession("mx.tokyo.example", lambda envelope, body: None, extensions=ExtensionSet([offered]))
        session.secure = secure
        client = CodedClientSession("rio.example", check_requirements([my_class()]), secure=secure)
        message = OutgoingMessage(Envelope("ana@rio.example", ["kenji@tokyo.example"]), [b"Hello.\r\n"],
                                  needs=frozenset({"REQUIRETLS"} if needs else ()))
        marked: bool | None = None
        try:
            said = rehearse(sends(client, message), serve(session)).said
            marked = any(b"REQUIRETLS" in line.data for line in said if line.data.startswith(b"MAIL"))
        except SMTPNotSupportedError:
            pass
        if marked is not right:
            does = {None: "sends nothing", True: "marks the letter", False: "sends it without a mark"}
            yield Problem(gave=f"a client that {does[marked]} ({how})", wire=f"It is right that it {does[right]}.",
                          look="`plan` marks MAIL and takes the need off the list. What is needed still stops it.")

"""How SMTP grows: EHLO, and extensions as objects with two ends (RFC 5321 §2.2, RFC 1870, 6152, 2034)."""
# Exported from notebooks/08_ehlo.ipynb; edit the notebook.

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .client import (
    BODY_TIMEOUT,
    DATA_TIMEOUT,
    GREETING_TIMEOUT,
    Receipt,
    SMTPConnectError,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPServerDisconnected,
    ask,
    end_early,
    leaving,
    opened,
)
from .conversation import Conversation, Interruption, Line, read_reply
from .envelope import BadPath, Envelope, Path, encode_path, parse_path, stuff
from .session import EXPECTED, TO_READY, VERBS, Session, Verb, closing, helo, let_go, note_recipient, note_sender, serve
from .wire import COMMAND_LIMIT, Command, Reply, WireError, encode_command, parse_command

__all__ = [
    "Parameter", "Extension", "closed", "merged", "Offer", "ExtendedSession", "renew", "ehlo", "plain_helo",
    "read_parameters", "judge", "path_and_parameters", "rcpt", "EXTENDED_VERBS", "serve_extended", "Size", "values",
    "EightBitMime", "USUAL", "BY_CODE", "usual_code", "split_enhanced", "EnhancedStatusCodes", "encode_xtext",
    "decode_xtext", "Step", "Letter", "ClientSession", "offers_of", "hello", "open_session", "FLIGHT_LIMIT", "say",
    "hear", "next_reply", "ask_in_turn", "note_body", "conclude", "make_plan", "send_letter", "carry_out", "note_rset",
    "deliver", "leave",
]


# %% extension
Parameter = Callable[["ExtendedSession", "str | None"], "Reply | None"]    # None: the value is fine


class Extension:
    """One RFC that extends SMTP: its keyword, parameters and verbs, at both ends (RFC 5321 §2.2.2)."""

    keyword = ""
    requires: frozenset[str] = frozenset()
    line_limits: Mapping[str, int] = {}        # octets that it adds to the line of a verb
    counting: frozenset[str] = frozenset()     # verbs whose line says how many octets follow: refused once they came

    # the server's end
    def advertise(self, session: ExtendedSession) -> str | None:
        """The line in the reply to EHLO, None for none."""
        return self.keyword or None

    def verbs(self) -> Mapping[str, Verb]:
        """Rows for the table of verbs."""
        return {}

    def mail_parameters(self) -> Mapping[str, Parameter]:
        """Parameters of MAIL; several extensions may add values to one."""
        return {}

    def rcpt_parameters(self) -> Mapping[str, Parameter]:
        """Parameters of RCPT."""
        return {}

    begin: Callable[[ExtendedSession], None] | None = None                      # a session begins
    check: Callable[[ExtendedSession, Command], Reply | None] | None = None     # before a verb is obeyed: a refusal
    reply: Callable[[ExtendedSession, Reply], Reply] | None = None              # on a reply's way out

    # the client's end
    after_hello: Callable[[ClientSession], Conversation[None]] | None = None    # once EHLO was answered
    plan: Callable[[ClientSession, Letter, list[Step]], None] | None = None     # changes what will be said
    may_go_on: Callable[[ClientSession, Step], bool] | None = None              # before this step was answered?
    hear: Callable[[ClientSession, Reply], Reply] | None = None                 # on a reply's way in


# %% closed
def closed(extensions: Iterable[Extension]) -> tuple[Extension, ...]:
    """The extensions, if each has what it needs and none stands there twice; ValueError says what is missing."""
    extensions = tuple(extensions)
    keywords = [extension.keyword for extension in extensions]
    for extension in extensions:
        missing = sorted(extension.requires.difference(keywords))
        if missing:
            raise ValueError(f"{extension.keyword} needs {' and '.join(missing)}: add it, or leave "
                             f"{extension.keyword} out")
        if keywords.count(extension.keyword) > 1:
            raise ValueError(f"{extension.keyword or type(extension).__name__} stands in the list twice")
    return extensions


# %% offer
def merged(tables: Iterable[Mapping[str, Parameter]]) -> dict[str, tuple[Parameter, ...]]:
    """Parameters by name, each with everybody who knows values for it."""
    found: dict[str, tuple[Parameter, ...]] = {}
    for table in tables:
        for name, parameter in table.items():
            found[name] = (*found.get(name, ()), parameter)
    return found


class Offer:
    """What a server offers: extensions put together once, and shared by all its sessions."""

    def __init__(self, extensions: Iterable[Extension] = ()) -> None:
        self.extensions = ours = closed(extensions)
        self.keywords = frozenset(e.keyword for e in ours)
        self.counting = frozenset[str]().union(*(e.counting for e in ours))
        self.verbs: dict[str, Verb] = VERBS | EXTENDED_VERBS
        for extension in ours:
            self.verbs = self.verbs | dict(extension.verbs())
        self.mail = merged(e.mail_parameters() for e in ours)
        self.rcpt = merged(e.rcpt_parameters() for e in ours)
        self.checks = [e.check for e in ours if e.check]
        self.dressings = [e.reply for e in ours if e.reply]
        self.limits = {verb: COMMAND_LIMIT + sum(e.line_limits.get(verb, 0) for e in ours) for verb in self.verbs}
        self.longest = max(self.limits.values())

    def refusal(self, session: ExtendedSession, command: Command) -> Reply | None:
        """The first that an extension has; 530, TLS or a login comes first, before all others (RFC 3207 §4)."""
        found = [reply for check in self.checks if (reply := check(session, command))]
        return min(found, key=lambda reply: reply.code != 530, default=None)


# %% extended-session
@dataclass(slots=True)
class ExtendedSession(Session):
    """A session whose verbs and parameters come from what is offered; TLS clears what it remembers."""

    offer: Offer = field(default_factory=Offer)
    extended: bool = False                     # the client said EHLO
    secure: bool = False                       # TLS is up
    user: str = ""                             # who the client has proved to be
    verb: str = ""                             # of the command in hand
    notes: dict[str, Any] = field(default_factory=dict)    # what extensions remember, by keyword

    def __post_init__(self) -> None:
        self.verbs, self.service, self.obey = self.offer.verbs, "ESMTP", obey
        self.busy_line = Line(self.offer.longest, self.busy_line.timeout)
        self.idle_line = Line(self.offer.longest, self.idle_line.timeout, idle=True)
        for extension in self.offer.extensions:
            if extension.begin:
                extension.begin(self)


def renew(session: ExtendedSession) -> None:
    """Forget all that the client has said: the session begins anew (RFC 3207 §4.2)."""
    let_go(session)
    session.envelope, session.state, session.notes = Envelope(peer=session.peer), "start", {}
    session.extended, session.user = False, ""


# %% ehlo
def ehlo(session: Session, argument: str) -> Reply:
    """EHLO: who is calling, and what is offered here, a line each (RFC 5321 §4.1.1.1)."""
    assert isinstance(session, ExtendedSession)
    reply = helo(session, argument)
    if not reply.positive:
        return Reply(reply.code, reply.text.replace("HELO", "EHLO"))
    session.extended = True
    offers = (extension.advertise(session) for extension in session.offer.extensions)
    return Reply(250, "\n".join([session.hostname, *filter(None, offers), "HELP"]))    # §4.5.1: not every server has it


def plain_helo(session: Session, argument: str) -> Reply:
    """HELO: as in 1982, without any extension."""
    assert isinstance(session, ExtendedSession)
    reply = helo(session, argument)
    session.extended = session.extended and not reply.positive
    return reply


# %% parameters
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")


def read_parameters(text: str) -> dict[str, str | None] | Reply:
    """What stands behind a path, `{NAME: value or None}`, or the reply that says what is wrong (RFC 5321 §4.1.2)."""
    found: dict[str, str | None] = {}
    if text and not text.startswith(" "):
        return Reply(501, f"a space must stand before parameters: {text[:80]!r}", "5.5.4")
    for word in filter(None, text.split(" ")):             # a space, and no other blank there is
        match = _PARAMETER.fullmatch(word)
        if not match:
            return Reply(501, f"not a parameter: {word[:80]!r}", "5.5.4")
        if match[1].upper() in found:
            return Reply(501, f"{match[1].upper()} is given twice", "5.5.4")
        found[match[1].upper()] = match[2]
    return found


# %% judge
def judge(session: ExtendedSession, known: Mapping[str, tuple[Parameter, ...]],
          given: Mapping[str, str | None]) -> Reply | None:
    """A refusal of the first parameter that is unknown (555, RFC 5321 §4.1.1.11) or has an unknown value."""
    for name, value in given.items():
        if name not in known or not session.extended:
            return Reply(555, f"no such parameter here: {name}", "5.5.4")
        verdicts = [parameter(session, value) for parameter in known[name]]
        if None not in verdicts:
            return verdicts[0]
    return None


# %% argument
def path_and_parameters(argument: str, keyword: str) -> tuple[Path, dict[str, str | None]] | Reply:
    """The path behind `FROM:` or `TO:` and the parameters behind it, or what is wrong (RFC 5321 §4.1.1.2)."""
    if argument[: len(keyword)].upper() != keyword:
        return Reply(501, f"{keyword} and a path in angle brackets must follow", "5.5.4")
    try:
        path, rest = parse_path(argument[len(keyword) :].lstrip(" "))
    except BadPath as error:
        return Reply(501, str(error), "5.1.7" if keyword == "FROM:" else "5.1.3")
    parameters = read_parameters(rest)
    return parameters if isinstance(parameters, Reply) else (path, parameters)


# %% mail
def mail(session: Session, argument: str) -> Reply:
    """MAIL with parameters (RFC 5321 §4.1.1.2)."""
    assert isinstance(session, ExtendedSession)
    found = path_and_parameters(argument, "FROM:")
    if isinstance(found, Reply):
        return found
    path, parameters = found
    if refusal := judge(session, session.offer.mail, parameters):
        return refusal
    session.envelope.parameters = parameters
    session.envelope.protocol, session.envelope.user = protocol(session), session.user
    reply = note_sender(session, path)
    if not reply.positive:
        session.envelope.parameters = {}
    return reply


def protocol(session: ExtendedSession) -> str:
    """What `with` in Received says about how the letter came (RFC 3848, RFC 6531 §4.3)."""
    if not session.extended:
        return "SMTP"
    name = "UTF8SMTP" if "SMTPUTF8" in session.envelope.parameters else "ESMTP"
    return name + "S" * session.secure + "A" * bool(session.user)


# %% rcpt
def rcpt(session: Session, argument: str) -> Reply:
    """RCPT with parameters (RFC 5321 §4.1.1.3)."""
    assert isinstance(session, ExtendedSession)
    found = path_and_parameters(argument, "TO:")
    if isinstance(found, Reply):
        return found
    path, parameters = found
    if refusal := judge(session, session.offer.rcpt, parameters):
        return refusal
    reply = note_recipient(session, path)
    if reply.positive and parameters:
        session.envelope.options[path.mailbox] = parameters
    return reply


EXTENDED_VERBS: dict[str, Verb] = {
    "EHLO": Verb(ehlo, TO_READY, "EHLO your.host.name", now=True),
    "HELO": replace(VERBS["HELO"], handler=plain_helo),
    "MAIL": replace(VERBS["MAIL"], handler=mail),
    "RCPT": replace(VERBS["RCPT"], handler=rcpt),
}


# %% refuse
def refuse(session: ExtendedSession, line: bytes, command: Command, verb: Verb | None) -> Reply | None:
    """Why a command is not obeyed, or None (RFC 5321 §4.2.4, §4.5.3.1.9)."""
    offer = session.offer
    if b"\0" in line or not (line.isascii() or "SMTPUTF8" in offer.keywords):
        return Reply(501, "a command is 7-bit ASCII, without NUL", "5.5.2")
    if verb is None:
        return Reply(500, f"no such command; I know {' '.join(session.verbs)}", "5.5.1")
    if len(line) + 2 > offer.limits.get(command.verb, COMMAND_LIMIT):
        return Reply(500, f"{command.verb} may have {offer.limits[command.verb]} octets, CR LF included", "5.5.2")
    refusal = None if command.verb in offer.counting else offer.refusal(session, command)
    if session.state not in verb.moves and not (refusal and refusal.code == 530):
        return Reply(503, EXPECTED[session.state].replace("HELO", "EHLO"), "5.5.1")
    return refusal


# %% obey
def obey(session: ExtendedSession, line: bytes) -> Generator[Any, Any, tuple[Reply | None, Verb | None]]:
    """As in chapter 05, but the extensions have a say; a handler may change the state itself."""
    command = parse_command(line)
    session.verb = command.verb
    verb = session.verbs.get(command.verb)
    if refusal := refuse(session, line, command, verb):
        if command.verb in session.offer.counting:
            refusal = closing(session, f"cannot tell where the next command begins: {refusal.text}")
        return refusal, verb
    assert verb
    before = session.state
    answer = verb.handler(session, command.argument)
    reply = answer if isinstance(answer, Reply) else (yield from answer)
    if reply and reply.positive and session.state == before:
        session.state = verb.moves[before]
    return reply, verb


# %% serve-extended
def serve_extended(session: ExtendedSession) -> Conversation[None]:
    """A whole session (chapter 05), every reply passing the extensions on its way out."""
    talk = serve(session)
    if not session.offer.dressings:
        return (yield from talk)
    value, error = None, None
    while True:
        try:
            said = talk.throw(error) if error else talk.send(value)
        except StopIteration:
            return None
        if isinstance(said, Reply):
            for dress in session.offer.dressings:
                said = dress(session, said)
            session.verb = session.verb if said.code // 100 == 3 else ""      # answered
        value, error = None, None
        try:
            value = yield said
        except Exception as interruption:
            error = interruption


# %% size
class Size(Extension):
    """SIZE: how large a letter may be, and how large this one is, before it is sent (RFC 1870)."""

    keyword = "SIZE"
    line_limits = {"MAIL": 26}                 # RFC 1870 §3

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit <= 0:
            raise ValueError("SIZE takes a number of octets, or None for no limit")
        self.limit = limit

    def begin(self, session: ExtendedSession) -> None:
        """What is not announced is found while the body runs."""
        session.max_size = self.limit or session.max_size

    def advertise(self, session: ExtendedSession) -> str:
        return f"SIZE {self.limit or 0}"       # 0: no fixed limit (§3)

    def mail_parameters(self) -> Mapping[str, Parameter]:
        return {"SIZE": self.judge}

    def judge(self, session: ExtendedSession, value: str | None) -> Reply | None:
        """MAIL … SIZE=n: too large is refused before a byte of it was sent (§6.1)."""
        if value is None or not (value.isascii() and value.isdigit() and len(value) <= 20):
            return Reply(501, "SIZE= takes a number of octets", "5.5.4")
        if self.limit and int(value) > self.limit:
            return Reply(552, f"a letter may have {self.limit} octets", "5.3.4")
        return None

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:
        """Say how large it is; do not even try what is too large."""
        limit = client.offered["SIZE"].strip()
        if letter.size is None:
            return
        known = limit.isascii() and limit.isdigit() and len(limit) <= 20       # of anything else nothing is known (§3)
        if known and 0 < int(limit) < letter.size:
            raise SMTPNotSupportedError(f"the letter has {letter.size} octets; the server takes {limit}")
        steps[0].parameters["SIZE"] = str(letter.size)


# %% eight-bit
def values(*allowed: str) -> Parameter:
    """A parameter that takes one of these values."""

    def judge(session: ExtendedSession, value: str | None) -> Reply | None:
        if value is not None and value.isascii() and value.upper() in allowed:
            return None
        return Reply(501, f"no such value here: {value}", "5.5.4")

    return judge


class EightBitMime(Extension):
    """8BITMIME: bodies may have octets beyond ASCII, when the client says so (RFC 6152)."""

    keyword = "8BITMIME"
    line_limits = {"MAIL": 17}

    def mail_parameters(self) -> Mapping[str, Parameter]:
        return {"BODY": values("7BIT", "8BITMIME")}

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:
        """Announce what needs it."""
        if "8BITMIME" in letter.needs:
            steps[0].parameters["BODY"] = "8BITMIME"
            letter.needs.discard("8BITMIME")


# %% enhanced-codes
USUAL = {
    ("MAIL", 250): "2.1.0", ("RCPT", 250): "2.1.5", ("DATA", 250): "2.6.0", ("BDAT", 250): "2.6.0",
    ("RCPT", 452): "4.5.3", ("RCPT", 550): "5.1.1", ("VRFY", 252): "2.5.0",
}
BY_CODE = {
    421: "4.3.2", 451: "4.3.0", 452: "4.3.1", 500: "5.5.2", 501: "5.5.4", 502: "5.5.1", 503: "5.5.1", 504: "5.5.4",
    552: "5.3.4", 555: "5.5.4",
}
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?: |$)")


def usual_code(verb: str, code: int) -> str:
    """The enhanced code that a reply has unless it has one of its own (RFC 3463)."""
    return USUAL.get((verb, code)) or BY_CODE.get(code) or f"{code // 100}.0.0"


def split_enhanced(reply: Reply) -> Reply:
    """The same reply, its enhanced code in a field of its own, if all its lines begin with one."""
    found = _ENHANCED.match(reply.text)
    if not found or found[1] != str(reply.code)[0] or reply.enhanced:
        return reply
    code = found[0].rstrip()
    lines = [line.removeprefix(code).lstrip(" ") for line in reply.lines]
    return Reply(reply.code, "\n".join(lines), code)


# %% enhanced-status-codes
class EnhancedStatusCodes(Extension):
    """ENHANCEDSTATUSCODES: three numbers that say what is wrong, in every language (RFC 2034, RFC 3463)."""

    keyword = "ENHANCEDSTATUSCODES"

    def reply(self, session: ExtendedSession, reply: Reply) -> Reply:
        """Codes on all 2yz, 4yz and 5yz, but not on the greeting and on the reply to EHLO and HELO (RFC 2034 §4)."""
        hello = session.verb in ("EHLO", "HELO") or (reply.code == 220 and not session.verb)
        if hello or reply.enhanced or 300 <= reply.code < 400:
            return reply
        return Reply(reply.code, reply.text, usual_code(session.verb, reply.code))

    def hear(self, client: ClientSession, reply: Reply) -> Reply:
        """The code in a field of its own."""
        return split_enhanced(reply)


# %% xtext
_PLUS = re.compile(r"\+([0-9A-F]{2})")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")


def encode_xtext(text: str) -> str:
    """Text as a parameter can carry it: `+` and `=`, and all that is not printable ASCII, in hex (RFC 3461 §4)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else "".join(f"+{octet:02X}" for octet in c.encode())
                   for c in text)


def decode_xtext(text: str) -> str:
    """The text again; ValueError for what is no xtext."""
    if not _XTEXT.fullmatch(text):
        raise ValueError(f"not xtext: {text[:80]!r}")
    return _PLUS.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1").decode()


# %% step
@dataclass(slots=True, eq=False)
class Step:
    """One thing that a client will say: a command, and octets behind it; then what it was answered."""

    verb: str                                  # empty: only octets, no command
    argument: str = field(default="", repr=False)      # it may be a password
    parameters: dict[str, str | None] = field(default_factory=dict)
    octets: Callable[[], Iterable[bytes]] = tuple
    timeout: float = 300.0                     # seconds (RFC 5321 §4.5.3.2)
    last: bool = False                         # nothing may follow before it was answered
    note: Callable[[ClientSession, Step, Reply], None] = lambda client, step, reply: None
    letter: Letter | None = None
    about: str = ""                            # the recipient that it is about
    reply: Reply | None = None

    def line(self) -> bytes:
        """The command; ValueError when it would be more than one line."""
        parameters = [name if value is None else f"{name}={value}" for name, value in self.parameters.items()]
        return encode_command(self.verb, " ".join(filter(None, [self.argument, *parameters])))


# %% letter
@dataclass(slots=True, eq=False)
class Letter:
    """A letter on its way: what it needs of a server, by keyword, and what has become of it."""

    envelope: Envelope
    body: Iterable[bytes]
    size: int | None = None                    # octets of the body, where they are known beforehand
    needs: set[str] = field(default_factory=set)
    binary: bool = False                       # not to be touched: no line ends, only octets
    fault: str = field(default="", repr=False)         # why it can be sent nowhere
    body_steps: Callable[[ClientSession, Letter], Iterator[Step]] = lambda client, letter: data_steps(letter)
    receipt: Receipt = field(init=False)
    people: int = field(init=False)            # how many recipients, each counted once

    def __post_init__(self) -> None:
        self.receipt, self.people = Receipt(self.envelope.sender), len(set(self.envelope.recipients))

    @property
    def hopeless(self) -> bool:
        """Nobody will get it any more."""
        return bool(self.receipt.refused_by)

    @property
    def settled(self) -> bool:
        """It is known what has become of it."""
        return self.hopeless or self.receipt.reply is not None

    def lose(self) -> None:
        """The line broke: nothing is known of those who were not refused, unless all is settled."""
        if not self.settled:
            refused = self.receipt.refused
            self.receipt.unknown = [a for a in dict.fromkeys(self.envelope.recipients) if a not in refused]


# %% client-session
@dataclass(slots=True)
class ClientSession:
    """What a client knows of the server that it talks to, and what it has not been answered yet."""

    hostname: str
    extensions: tuple[Extension, ...] = ()
    host: str = ""                             # the server's name, for TLS
    offered: dict[str, str] = field(default_factory=dict)      # keyword: what stands behind it
    active: tuple[Extension, ...] = ()         # ours that the server offers
    secure: bool = False                       # TLS is up
    user: str = ""                             # who we have proved to be
    open: bool = False                         # the server holds a MAIL of ours, as far as it has answered
    unanswered: deque[Step] = field(default_factory=deque)

    def learn(self, offered: Mapping[str, str]) -> None:
        """Note what the server offers now; what it offered before is forgotten."""
        self.offered = dict(offered)
        self.active = tuple(e for e in self.extensions if e.keyword in self.offered)


# %% offers
def offers_of(reply: Reply) -> dict[str, str]:
    """What EHLO's reply offers: `{KEYWORD: the rest of its line}` (RFC 5321 §4.1.1.1)."""
    offered: dict[str, str] = {}
    for line in reply.lines[1:]:
        if line.upper().startswith("AUTH="):   # said before there was an RFC, and still beside the other
            line = line.replace("=", " ", 1)
        keyword, _, rest = line.partition(" ")
        if keyword.upper() == "AUTH":          # mechanisms, each once
            rest = " ".join(dict.fromkeys(f"{offered.get('AUTH', '')} {rest}".split()))
        offered[keyword.upper()] = rest
    return offered


# %% hello
def hello(client: ClientSession) -> Conversation[Reply]:
    """EHLO, and HELO where that is not understood (RFC 5321 §3.2)."""
    client.learn({})
    reply = yield from ask("EHLO", client.hostname)
    if reply.positive:
        client.learn(offers_of(reply))
    elif reply.permanent:
        reply = yield from ask("HELO", client.hostname)
    if not reply.positive:
        raise SMTPHeloError(reply, "EHLO")
    return reply


# %% open-session
def open_session(client: ClientSession) -> Conversation[Reply]:
    """Hear the greeting, say EHLO, and whatever the extensions want to do next; returns the last hello's reply."""
    greeting = yield from read_reply(GREETING_TIMEOUT)
    if greeting.code == 421:
        raise leaving(greeting)
    if not greeting.positive:
        raise SMTPConnectError(greeting, "greeting")
    reply = yield from hello(client)
    for extension in client.extensions:
        if extension.after_hello:
            yield from extension.after_hello(client)
    return reply


# %% say
FLIGHT_LIMIT = 1000                            # steps that may wait for an answer at once


def say(client: ClientSession, step: Step) -> Conversation[None]:
    """Say a step; hear the answers before going on, unless an extension knows better."""
    if step.verb:
        yield step.line()
    client.unanswered.append(step)
    yield from step.octets()
    if step.last or not any(e.may_go_on and e.may_go_on(client, step) for e in client.active):
        yield from hear(client)


def hear(client: ClientSession) -> Conversation[None]:
    """Hear what was not answered yet, in order."""
    while client.unanswered:
        step = client.unanswered[0]
        reply = yield from next_reply(client, step.timeout)
        client.unanswered.popleft()
        step.reply = reply
        step.note(client, step, reply)


# %% reader
def next_reply(client: ClientSession, timeout: float = 300.0) -> Conversation[Reply]:
    """The next reply, as the extensions read it; 421 at any time means that the server is leaving.

    All replies after EHLO come this way.
    """
    reply = yield from read_reply(timeout)
    for extension in client.active:
        reply = extension.hear(client, reply) if extension.hear else reply
    if reply.code == 421:
        raise leaving(reply)
    return reply


def ask_in_turn(client: ClientSession, verb: str, argument: str = "", timeout: float = 300.0) -> Conversation[Reply]:
    """Say any one command, hear whatever was not answered before it, and return its own reply."""
    step = Step(verb, argument, timeout=timeout, last=True)
    yield from say(client, step)
    assert step.reply
    return step.reply


# %% notes
def note_mail(client: ClientSession, step: Step, reply: Reply) -> None:
    """MAIL refused: nobody gets the letter."""
    assert step.letter
    client.open = reply.positive
    if not reply.positive:
        end_early(step.letter.receipt, "MAIL", reply, step.letter.envelope.recipients)


def note_rcpt(client: ClientSession, step: Step, reply: Reply) -> None:
    """RCPT: a reply for one recipient; when all are refused, the letter is hopeless."""
    assert step.letter
    receipt = step.letter.receipt
    if not step.letter.hopeless:
        receipt.recipients[step.about] = reply
        if len(receipt.recipients) == step.letter.people and not receipt.accepted:
            receipt.refused_by = "RCPT"


def note_data(client: ClientSession, step: Step, reply: Reply) -> None:
    """DATA refused: nobody gets the letter, and the server still holds our MAIL."""
    assert step.letter
    if reply.code // 100 != 3 and not step.letter.hopeless:
        end_early(step.letter.receipt, "DATA", reply, step.letter.receipt.accepted)


# %% note-body
def note_body(client: ClientSession, step: Step, reply: Reply) -> None:
    """The reply to a whole body: whose letter it is now (RFC 5321 §4.1.1.4)."""
    assert step.letter
    client.open = False
    conclude(step.letter, reply)


def conclude(letter: Letter, reply: Reply) -> None:
    """Note the reply that ends a transaction, for all who had a chance."""
    receipt = letter.receipt
    if letter.hopeless:
        return
    if not reply.positive:
        end_early(receipt, "body", reply, receipt.accepted)
        return
    receipt.recipients |= dict.fromkeys(receipt.accepted, reply)
    receipt.reply = reply


# %% plan
def envelope_steps(letter: Letter) -> list[Step]:
    """MAIL, and RCPT for each recipient; raises BadPath or ValueError for what they cannot say."""
    envelope = letter.envelope
    if not envelope.recipients or "" in envelope.recipients:
        raise ValueError("name at least one recipient, and none that is empty; only a sender may be")
    if not all(address.isascii() for address in (envelope.sender, *envelope.recipients)):
        letter.needs.add("SMTPUTF8")
    steps = [Step("MAIL", f"FROM:{encode_path(envelope.sender)}", note=note_mail, letter=letter)]
    for address in dict.fromkeys(envelope.recipients):
        steps.append(Step("RCPT", f"TO:{encode_path(address)}", note=note_rcpt, letter=letter, about=address))
    return steps


def data_steps(letter: Letter) -> Iterator[Step]:
    """DATA, then the body; an empty one when the server wants it and nobody will get it (RFC 2920 §3.1)."""
    if letter.hopeless:
        return
    data = Step("DATA", note=note_data, letter=letter, timeout=DATA_TIMEOUT, last=True)
    yield data
    if data.reply and data.reply.code // 100 == 3:
        yield Step("", octets=lambda: stuff(() if letter.hopeless else letter.body), note=note_body, letter=letter,
                   timeout=BODY_TIMEOUT)


# %% make-plan
def make_plan(client: ClientSession, letter: Letter) -> list[Step]:
    """What will be said before the body, once all extensions have seen it.

    Raises ValueError, or SMTPNotSupportedError for a letter that needs what is not offered; nothing was said then.
    """
    if letter.fault:
        raise ValueError(letter.fault)
    steps = envelope_steps(letter)
    for extension in client.active:
        if extension.plan:
            extension.plan(client, letter, steps)
    if letter.needs:
        raise SMTPNotSupportedError(f"the letter needs {' and '.join(sorted(letter.needs))}, "
                                    "which is not offered here")
    for step in steps:
        step.line()                            # a line break in a parameter is found before anything is said
    return steps


# %% send-letter
def send_letter(client: ClientSession, letter: Letter) -> Conversation[Receipt]:
    """One transaction. Its last replies may be out when this returns: `hear` settles them, or the next letter does."""
    return (yield from carry_out(client, letter, make_plan(client, letter)))


def carry_out(client: ClientSession, letter: Letter, steps: list[Step]) -> Conversation[Receipt]:
    """Say what was planned, then the body, as long as the letter has hope."""
    if client.open or any(step.letter for step in client.unanswered):      # the server may hold a MAIL of ours
        yield from say(client, Step("RSET", note=note_rset))
    for step in steps:
        if letter.hopeless:
            break
        yield from say(client, step)
    for step in letter.body_steps(client, letter):
        yield from say(client, step)
    return letter.receipt


def note_rset(client: ClientSession, step: Step, reply: Reply) -> None:
    """RSET: the server holds nothing of ours."""
    client.open = client.open and not reply.positive


# %% deliver
def deliver(client: ClientSession, letters: Iterable[Letter],
            receipts: list[Receipt] | None = None) -> Conversation[list[Receipt]]:
    """A whole session: greeting, EHLO, the letters one after another, QUIT.

    A list given as `receipts` gets one for each letter that was begun, also when an exception ends the session.
    """
    receipts, begun = [] if receipts is None else receipts, list[Letter]()
    try:
        yield from opened(open_session(client))
        for letter in letters:
            steps = make_plan(client, letter)
            begun.append(letter)
            yield from carry_out(client, letter, steps)
        yield from leave(client)
    finally:
        for letter in begun:
            letter.lose()
        receipts += [letter.receipt for letter in begun]
    return receipts


# %% leave
def leave(client: ClientSession) -> Conversation[Reply | None]:
    """QUIT, riding along with what was not answered yet; a goodbye gone wrong changes no receipt."""
    goodbye = Step("QUIT", last=True)
    try:
        yield from say(client, goodbye)
    except (Interruption, SMTPServerDisconnected, WireError):
        if client.unanswered and client.unanswered[0] is not goodbye:
            raise
    return goodbye.reply

"""The server's side of a session: a table of verbs, and one place that obeys it (RFC 821, RFC 5321 §4.1)."""
# Exported from notebooks/05_session.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import re
import reprlib
import tempfile
import threading
from collections.abc import Callable, Collection, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from .conversation import FLUSH, Body, Closing, Conversation, Disconnected, Line, Timeout, Work
from .envelope import NULL_PATH, BadPath, BodyCutter, Envelope, Path, parse_path
from .wire import Reply, WireError, encode_reply, logger, parse_command

__all__ = [
    "log", "Handler", "Verb", "Outcome", "Deliver", "Policy", "Memory", "MEMORY", "SPOOL_IN_MEMORY", "Session",
    "let_go", "forget", "helo", "path_argument", "mail", "note_sender", "rcpt", "note_recipient", "STATES", "EXPECTED",
    "closing", "count_nonsense", "serve", "vrfy", "not_here", "help_", "data", "Spool", "take_over", "hand_over",
    "one_reply", "reply_for_each", "STAY", "TO_READY", "VERBS",
]


# %% verb
log = logger(__name__)
Handler = Callable[["Session", str], "Reply | Conversation[Reply | None]"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One row of the table: who handles a verb, from which state to which it leads (RFC 5321 §4.1.4).

    A handler returns its reply, or is a conversation that returns it, when it has more to say or to hear;
    None if it has said all there is to say.
    `now`: its reply may not wait in a buffer (RFC 2920 §3.2). `usage` is what HELP says.
    `idle`: it leads nowhere, and counts as idle talk in every state.
    """

    handler: Handler
    moves: Mapping[str, str]
    usage: str
    now: bool = False
    idle: bool = False


# %% policies
Outcome = Reply | Mapping[str, Reply] | None
Deliver = Callable[[Envelope, IO[bytes]], Outcome]      # {recipient: Reply}; None for 250
Policy = Callable[[str, Envelope], Reply | None]        # None: accepted


# %% memory
class Memory:
    """How many octets of bodies may be in memory at once, in all sessions that share it."""

    def __init__(self, octets: int) -> None:
        self.free, self._lock = octets, threading.Lock()

    def take(self, octets: int) -> bool:
        """Take so many, if there are as many."""
        with self._lock:
            enough = octets <= self.free
            self.free -= octets * enough
        return enough

    def give_back(self, octets: int) -> None:
        """They are free again."""
        with self._lock:
            self.free += octets


MEMORY: Memory = Memory(67_108_864)
SPOOL_IN_MEMORY = 1_048_576                             # octets of one body kept in memory


# %% session-class
@dataclass(slots=True)
class Session:
    """What one end remembers between two lines, and the rules it was given."""

    hostname: str = "localhost"
    deliver: Deliver = lambda envelope, body: None
    accept_sender: Policy = lambda address, envelope: None
    accept_recipient: Policy = lambda address, envelope: None
    peer: str = ""
    max_size: int | None = None                         # octets of a body (RFC 5321 §4.5.3.1.7)
    max_recipients: int = 1000                          # at least 100 (§4.5.3.1.8)
    max_errors: int = 20                                # commands that make no sense
    max_idle_talk: int = 100                            # commands that lead nowhere, NOOP and the like
    max_refused: int = 100                              # recipients that were refused (RFC 5321 §7.3)
    verbs: Mapping[str, Verb] = field(default_factory=lambda: VERBS)
    busy_line: Line = Line()
    idle_line: Line = Line(idle=True)
    state: str = "start"
    envelope: Envelope = field(default_factory=Envelope)
    errors: int = 0
    idle_talk: int = 0
    refused: int = 0
    memory: Memory = field(default_factory=lambda: MEMORY)      # for bodies, shared by all sessions
    held: dict[str, Any] = field(default_factory=dict)  # what the transaction keeps open; each can be closed
    service: str = "SMTP"                               # how the greeting names what is spoken here
    obey: Callable[..., Any] | None = None              # instead of `obey` below, from chapter 08 on


# %% noop
def noop(session: Session, argument: str) -> Reply:
    """NOOP: still here; whatever follows is ignored (RFC 5321 §4.1.1.9)."""
    return Reply(250, "still here")


def quit(session: Session, argument: str) -> Reply:
    """QUIT: goodbye (RFC 5321 §4.1.1.10)."""
    return Reply(501, "QUIT stands alone") if argument else Reply(221, f"{session.hostname} says goodbye")


# %% forget
def let_go(session: Session) -> None:
    """Close what the transaction has kept open."""
    while session.held:
        session.held.popitem()[1].close()


def forget(session: Session) -> None:
    """End the transaction: a new envelope, and nothing remembered of the old one (RFC 5321 §4.1.1.5)."""
    let_go(session)
    session.envelope = Envelope(hello=session.envelope.hello, peer=session.peer)
    if session.state != "start":
        session.state = "ready"


# %% rset
def rset(session: Session, argument: str) -> Reply:
    """RSET: forget the transaction, not the client (RFC 5321 §4.1.1.5)."""
    if argument:
        return Reply(501, "RSET stands alone")
    forget(session)
    return Reply(250, "forgotten")


# %% helo
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[A-Za-z0-9.:-]{1,80}\]")    # it will stand in Received, so nothing else


def helo(session: Session, argument: str) -> Reply:
    """HELO: who is calling (RFC 5321 §4.1.1.1). The name is noted, not believed (§4.1.4)."""
    if not _HOST.fullmatch(argument):
        return Reply(501, "say HELO and the name of your host, or its address in brackets")
    forget(session)
    session.envelope.hello = argument
    return Reply(250, session.hostname)


# %% path-argument
def path_argument(argument: str, keyword: str) -> Path | Reply:
    """The path behind `FROM:` or `TO:`, or the reply that says what is wrong (RFC 5321 §4.1.1.2, §4.1.1.3)."""
    if argument[: len(keyword)].upper() != keyword:
        return Reply(501, f"{keyword} and a path in angle brackets must follow")
    try:
        path, rest = parse_path(argument[len(keyword) :].lstrip(" "))    # a space: common, if wrong (§3.3)
    except BadPath as error:
        return Reply(501, str(error))
    return Reply(501, f"nothing may follow the path: {rest.strip()[:80]!r}") if rest else path


# %% as-reply
BROKEN = Reply(451, "something is broken here; please try again later")


def as_reply(answer: object, expected: str) -> Reply:
    """What a function of ours answered, if it can be said at the end of a command; TypeError, ValueError (§4.2.1)."""
    if isinstance(answer, Coroutine):
        answer.close()                                  # nobody would ever run it
    if not isinstance(answer, Reply) or not isinstance(answer.code, int):
        raise TypeError(f"expected {expected}, got {reprlib.repr(answer)}")
    if answer.code // 100 == 3:
        raise ValueError(f"expected {expected}, got {answer.code}, which asks the client to go on")
    encode_reply(answer)                                # a UnicodeEncodeError is a ValueError
    return Reply(answer.code, answer.text, answer.enhanced)


# %% ask-policy
def ask_policy(policy: Policy, address: str, session: Session) -> Reply | None:
    """What a policy says about an address; if it breaks, 451: that is no fault of the client's (§4.2.3)."""
    try:
        answer = policy(address, session.envelope)
        return None if answer is None else as_reply(answer, "a Reply, or None, of a policy")
    except Exception:
        log.exception("%s: a policy failed", session.peer)
        return BROKEN


# %% mail
def mail(session: Session, argument: str) -> Reply:
    """MAIL: a transaction begins, with the reverse-path (RFC 5321 §4.1.1.2)."""
    path = path_argument(argument, "FROM:")
    return path if isinstance(path, Reply) else note_sender(session, path)


def note_sender(session: Session, path: Path) -> Reply:
    """Begin a transaction, if the sender is acceptable."""
    if path != NULL_PATH and not path.domain:
        return Reply(501, "a reverse-path has a domain, or is <>")
    refusal = ask_policy(session.accept_sender, path.mailbox, session)
    if refusal is None or refusal.positive:
        session.envelope.sender = path.mailbox
    return refusal or Reply(250, "sender noted")


# %% rcpt
def rcpt(session: Session, argument: str) -> Reply:
    """RCPT: one more recipient (RFC 5321 §4.1.1.3); too many are put off to another transaction (§4.5.3.1.10)."""
    path = path_argument(argument, "TO:")
    return path if isinstance(path, Reply) else note_recipient(session, path)


def note_recipient(session: Session, path: Path) -> Reply:
    """Add a recipient, if it is acceptable."""
    if path == NULL_PATH:
        return Reply(501, "a forward-path names somebody")
    if len(session.envelope.recipients) >= session.max_recipients:
        return Reply(452, f"no more than {session.max_recipients} recipients in one transaction")
    refusal = ask_policy(session.accept_recipient, path.mailbox, session)
    if refusal is None or refusal.positive:
        session.envelope.recipients.append(path.mailbox)
    else:
        session.refused += refusal.code not in (452, 552)      # those say "too many", and nothing about a name
    return refusal or Reply(250, "recipient noted")


# %% states
STATES = ("start", "ready", "mail", "rcpt", "closed")
EXPECTED = {
    "start": "say HELO first",
    "ready": "MAIL comes next",
    "mail": "a transaction is open: RCPT comes next, or RSET to give it up",
    "rcpt": "a transaction is open: RCPT, DATA, or RSET to give it up",
}


# %% obey
def obey(session: Session, line: bytes) -> Generator[Any, Any, tuple[Reply | None, Verb | None]]:
    """Find a command's verb in the table, check that it is its turn, run its handler; the reply, and the row."""
    if b"\0" in line or not line.isascii():
        return Reply(501, "a command is 7-bit ASCII, without NUL"), None
    command = parse_command(line)
    verb = session.verbs.get(command.verb)
    if verb is None:
        return Reply(500, f"no such command; I know {' '.join(session.verbs)}"), None
    before = session.state
    if before not in verb.moves:
        return Reply(503, EXPECTED[before]), verb
    answer = verb.handler(session, command.argument)
    reply = answer if isinstance(answer, Reply) else (yield from answer)
    if reply and reply.positive:
        session.state = verb.moves[before]
    return reply, verb


# %% count-nonsense
def closing(session: Session, reason: str, enhanced: str = "") -> Reply:
    """421, the last word of a session that we end (RFC 5321 §3.8); the domain comes first (§4.2.3)."""
    return Reply(421, f"{session.hostname} {reason}, closing the connection", enhanced)


def count_nonsense(session: Session, reply: Reply, verb: Verb | None) -> Reply:
    """The reply, or 421 for a client that has said too much that leads nowhere (RFC 5321 §7.8)."""
    session.errors += 500 <= reply.code <= 504
    session.idle_talk += session.state in ("start", "ready") or (verb is not None and verb.idle)
    if (session.errors > session.max_errors or session.idle_talk > session.max_idle_talk
            or session.refused > session.max_refused):
        return closing(session, "has heard enough")
    return reply


# %% one-command
def one_command(session: Session) -> Conversation[None]:
    """Hear a line, obey it, say the reply; after 421 the session is over."""
    idle = session.state in ("start", "ready")
    reply: Reply | None
    verb: Verb | None = None
    try:
        line = yield session.idle_line if idle else session.busy_line
    except WireError as error:
        reply = closing(session, f"gives up: {error}") if error.hopeless else Reply(500, str(error))
    else:
        reply, verb = yield from (session.obey or obey)(session, line)
    if reply:
        reply = reply if reply.code == 421 else count_nonsense(session, reply, verb)
        session.state = "closed" if reply.code == 421 else session.state
        yield reply
    if verb is None or verb.now:
        yield FLUSH


# %% serve
def serve(session: Session) -> Conversation[None]:
    """A whole session, from the greeting to the goodbye (RFC 5321 §3.1 to §3.8)."""
    try:
        yield Reply(220, f"{session.hostname} {session.service} ready")
        while session.state != "closed":
            yield from one_command(session)
    except Timeout:
        yield closing(session, "waited long enough")
    except Closing:
        yield closing(session, "is shutting down")
    except Disconnected:
        log.info("%s hung up without QUIT", session.peer or "client")
    finally:
        let_go(session)


# %% vrfy
def vrfy(session: Session, argument: str) -> Reply:
    """VRFY: we do not tell who has a mailbox, and say so politely (RFC 5321 §3.5.3, §7.3)."""
    if not argument:
        return Reply(501, "VRFY whom?")
    return Reply(252, "I do not verify; send the letter and see")


def not_here(session: Session, argument: str) -> Reply:
    """EXPN: known by name, not done here (RFC 5321 §4.2.4)."""
    return Reply(502, "I know that command and do not do it")


def help_(session: Session, argument: str) -> Reply:
    """HELP: the verbs, or how one is used (RFC 5321 §4.1.1.8)."""
    if not argument:
        return Reply(214, "I understand\n" + " ".join(session.verbs))
    verb = session.verbs.get(argument.upper())
    return Reply(214, verb.usage) if verb else Reply(504, f"no help on {argument[:80]!r}")


# %% data
def data(session: Session, argument: str) -> Conversation[Reply]:
    """DATA: 354, the body up to its lone dot, and 250 once somebody has it (RFC 5321 §4.1.1.4)."""
    if argument:
        return Reply(501, "DATA stands alone")
    yield Reply(354, "go on; a line with a dot alone ends the letter")
    yield FLUSH
    cutter = BodyCutter()
    want = Body(cutter)
    spool = session.held["DATA"] = Spool(session.max_size, session.memory)
    while block := (yield want):
        spool.write(block)
    return (yield from take_over(session, spool, cutter.bare))


# %% spool
class Spool:
    """A body on its way in, in memory while it is small; `fault` is the reply due once something has gone wrong."""

    def __init__(self, limit: int | None, memory: Memory) -> None:
        self.file = tempfile.SpooledTemporaryFile(0)    # which never moves by itself
        self.limit, self.octets = limit, 0
        self.fault: Reply | None = None
        self._memory, self._taken, self._on_disk = memory, 0, False

    def write(self, block: bytes) -> None:
        """Put some octets aside; once there is a fault, only count them (RFC 5321 §4.5.3.1.9, §4.2.3)."""
        self.octets += len(block)
        if self.limit is not None and self.octets > self.limit:
            self.fault = self.fault or Reply(552, f"a letter may have {self.limit} octets")
        if self.fault is None:
            try:
                if not self._on_disk:
                    self._make_room(len(block))
                self.file.write(block)
            except OSError:
                log.exception("no room for a letter")
                self.fault = Reply(452, "no room for the letter now; please try again later")

    def _make_room(self, octets: int) -> None:
        self._on_disk = self._taken + octets > SPOOL_IN_MEMORY or not self._memory.take(octets)
        if self._on_disk:
            self.file.rollover()
            self._give_back()
        else:
            self._taken += octets

    def _give_back(self) -> None:
        self._memory.give_back(self._taken)
        self._taken = 0

    def close(self) -> None:
        """Drop it."""
        self._give_back()
        with contextlib.suppress(OSError):              # a full disk complains once more here
            self.file.close()


# %% take-over
def take_over(session: Session, spool: Spool, bare: bool) -> Conversation[Reply]:
    """The end of a body: it is delivered or refused, and the transaction is over (RFC 5321 §4.1.1.4).

    `bare`: somewhere in it a CR or an LF stood alone (§2.3.8).
    """
    if bare:
        reply = Reply(554, "a CR or an LF stands alone in the letter; lines end with CR LF", "5.6.0")
    else:
        reply = spool.fault or (yield Work(lambda: hand_over(session, spool.file)))
    log.info("%s from=<%s> to=%d size=%d: %s", session.peer, session.envelope.sender,
             len(session.envelope.recipients), spool.octets, reply)
    forget(session)
    session.idle_talk = 0
    return reply


# %% hand-over
def hand_over(session: Session, spool: IO[bytes]) -> Reply:
    """Deliver, and say what became of it; an error of ours is 451: the client keeps the letter (§4.2.5)."""
    try:
        spool.seek(0)
        outcome = session.deliver(session.envelope, spool)
        return one_reply(reply_for_each(session.envelope.recipients, outcome))
    except Exception:
        log.exception("%s: delivery failed", session.peer)
        return BROKEN


def one_reply(outcome: Mapping[str, Reply]) -> Reply:
    """DATA has one reply for all recipients: the first that asks to try again, else the first refusal."""
    return min(outcome.values(), key=lambda reply: (reply.positive, reply.permanent))


# %% reply-for-each
def reply_for_each(recipients: Collection[str], outcome: object) -> dict[str, Reply]:
    """What `deliver` said of each recipient; TypeError or ValueError for what it never says.

    451, and a line in the log, for whoever is missing from its mapping, or has something else there than a Reply.
    """
    if not isinstance(outcome, Mapping):
        reply = Reply(250, "the letter is ours now") if outcome is None else as_reply(
            outcome, "a Reply, {recipient: Reply} or None of deliver")
        return dict.fromkeys(recipients, reply)
    if strangers := set(outcome).difference(recipients):
        log.error("deliver answered for %s, to whom nobody has written", reprlib.repr(strangers))
    found = {}
    for address in recipients:
        try:
            found[address] = as_reply(outcome.get(address), f"a Reply of deliver for {address!r}")
        except (TypeError, ValueError) as error:
            log.error("delivery failed: %s", error)
            found[address] = BROKEN
    return found


# %% verbs
STAY = {state: state for state in STATES[:-1]}
TO_READY = dict.fromkeys(STATES[:-1], "ready")

VERBS: dict[str, Verb] = {
    "HELO": Verb(helo, TO_READY, "HELO your.host.name", now=True),
    "MAIL": Verb(mail, {"ready": "mail"}, "MAIL FROM:<you@your.domain>, or MAIL FROM:<> for a bounce"),
    "RCPT": Verb(rcpt, {"mail": "rcpt", "rcpt": "rcpt"}, "RCPT TO:<somebody@some.domain>"),
    "DATA": Verb(data, {"rcpt": "ready"}, "DATA, then the letter, then a line with a dot alone", now=True),
    "RSET": Verb(rset, TO_READY | {"start": "start"}, "RSET forgets the transaction"),
    "NOOP": Verb(noop, STAY, "NOOP does nothing", now=True, idle=True),
    "QUIT": Verb(quit, dict.fromkeys(STAY, "closed"), "QUIT ends the session", now=True),
    "VRFY": Verb(vrfy, STAY, "VRFY somebody", now=True, idle=True),
    "HELP": Verb(help_, STAY, "HELP, or HELP and a verb", now=True, idle=True),
    "EXPN": Verb(not_here, STAY, "EXPN is not done here", now=True, idle=True),
}

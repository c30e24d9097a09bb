"""The server's side of a session: a table of verbs, and one place that dispatches commands (RFC 5321 §4.1)."""
# Exported from notebooks/05_session.ipynb; edit the notebook.

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from .bodies import Spool
from .conversation import Closing, Conversation, Disconnected, Line, Timeout, Work
from .envelope import NULL_PATH, BadPath, Body, BodyCutter, Envelope, Path, parse_path
from .printable import logger
from .rules import BROKEN, Delivery, ask_policy, usual
from .rules import Deliver as Deliver
from .rules import Limits as Limits
from .rules import Policy as Policy
from .rules import reply_for_each as reply_for_each
from .stream import PUSH
from .wire import COMMAND_LIMIT, Command, Reply, WireError, parse_command

__all__ = [
    "Handler", "STATES", "EXPECTED", "Verb", "STAY", "TO_READY", "SessionState", "saying", "UNKNOWN", "rset", "helo",
    "path_argument", "with_path", "note_sender", "note_recipient", "limit_errors", "Session", "serve", "one_reply",
    "data", "finish", "help_", "VERBS",
]


# %% module
log = logger(__name__)


# %% verb
Handler = Callable[..., "Reply | Conversation[Reply | None]"]      # of a session and the argument
STATES = ("start", "ready", "mail", "rcpt", "closed")
EXPECTED = {
    "start": "say HELO first",
    "ready": "MAIL comes next",
    "mail": "a transaction is open: RCPT comes next, or RSET to give it up",
    "rcpt": "a transaction is open: RCPT, DATA, or RSET to give it up",
}


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """One row of the table: who handles a verb, from which state to which it leads (RFC 5321 §4.1.4).

    A handler returns its reply. When it has more to say or to hear, it is a conversation that returns it, or
    None if it has said it all. `argument`: one must follow (True), none may (False), either (None).
    `now`: its reply may not wait in a buffer (RFC 2920 §3.2). `usage` is what HELP says.
    `idle`: it leads nowhere, and counts as such in every state. `limit`: octets of its line.
    `counts_octets`: its line says how many octets follow it.
    """

    handler: Handler
    moves: Mapping[str, str]
    usage: str
    now: bool = False
    idle: bool = False
    limit: int = COMMAND_LIMIT
    counts_octets: bool = False
    argument: bool | None = None

    def misused(self, command: Command) -> Reply | None:
        """501 where an argument is missing, or is one too many (RFC 5321 §4.1.1)."""
        if self.argument is None or self.argument == bool(command.argument):
            return None
        word = command.verb
        return Reply(501, f"{word} needs an argument" if self.argument else f"{word} stands alone")


# %% session-state
STAY = {state: state for state in STATES[:-1]}
TO_READY = dict.fromkeys(STATES[:-1], "ready")


@dataclass(slots=True, eq=False)
class SessionState:
    """What one end remembers between two lines, and the rules it was given."""

    service: ClassVar[str] = "SMTP"                     # how the greeting names what is spoken here
    known: ClassVar[Mapping[bytes, Command]] = {}       # what lines say that were read before
    hostname: str = "localhost"
    deliver: Deliver = lambda envelope, body: None
    accept_sender: Policy | None = None                 # None: everybody may send
    accept_recipient: Policy | None = None              # None: everybody may receive
    peer: str = ""
    limits: Limits = field(default_factory=Limits)
    verbs: Mapping[str, Verb] = field(default_factory=lambda: VERBS)
    state: str = "start"
    verb: str = ""                                      # of the command in hand
    envelope: Envelope = field(default_factory=Envelope)
    counts: Counter[str] = field(default_factory=Counter)      # errors, idle commands, refused recipients
    resources: dict[str, Any] = field(default_factory=dict)    # what the transaction keeps open

    def closing(self, reason: str, enhanced: str = "") -> Reply:
        """421, the last word of a session that we end (RFC 5321 §3.8); the domain comes first (§4.2.3)."""
        return Reply(421, f"{self.hostname} {reason}, closing the connection", enhanced)

    def release(self) -> None:
        """Close what the transaction has kept open."""
        while self.resources:
            self.resources.popitem()[1].close()

    def reset(self) -> None:
        """End the transaction: a new envelope, and nothing remembered of the old one (RFC 5321 §4.1.1.5)."""
        self.release()
        self.envelope = Envelope(hello=self.envelope.hello, peer=self.peer)
        if self.state != "start":
            self.state = "ready"


# %% rset-helo
def saying(code: int, text: str) -> Handler:
    """A handler that always says the same; `{}` in its text is the name of this host."""
    return lambda session, argument: usual(code, text.replace("{}", session.hostname))


UNKNOWN = Verb(saying(500, "no such command"), STAY, "", now=True)


def rset(session: Session, argument: str) -> Reply:
    """RSET: forget the transaction, not the client (RFC 5321 §4.1.1.5)."""
    session.reset()
    return Reply(250, "forgotten")


_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[A-Za-z0-9.:-]{1,80}\]")    # Received will quote it


def helo(session: Session, argument: str) -> Reply:
    """HELO: who is calling (RFC 5321 §4.1.1.1). The name is noted, not believed (§4.1.4)."""
    if not _HOST.fullmatch(argument):
        return Reply(501, "say HELO and the name of your host, or its address in brackets")
    session.reset()
    session.envelope.hello = argument
    return usual(250, session.hostname)


# %% path-argument
@lru_cache(1024)                               # those who write, and whom they write to, come again
def path_argument(argument: str, keyword: str) -> tuple[Path, str] | Reply:
    """The path after `FROM:` or `TO:` and what follows it, or the reply that says what is wrong (§4.1.1.2)."""
    if argument[: len(keyword)].upper() != keyword:
        return Reply(501, f"{keyword} and a path in angle brackets must follow")
    try:
        return parse_path(argument[len(keyword) :].lstrip(" "))        # a space: common, if wrong (§3.3)
    except BadPath as error:
        return Reply(501, str(error), "5.1.7" if keyword == "FROM:" else "5.1.3")


def with_path(keyword: str, note: Callable[[Session, Path], Reply]) -> Handler:
    """A handler for a path and nothing after it: the parameters came later (RFC 821 §4.1.2)."""

    def handle(session: Session, argument: str) -> Reply:
        found = path_argument(argument, keyword)
        if isinstance(found, Reply):
            return found
        path, rest = found
        if rest:
            return Reply(501, f"nothing may follow the path: {rest.strip()[:80]!r}")
        return note(session, path)

    return handle


# %% notes
_SENDER_NOTED, _RECIPIENT_NOTED = Reply(250, "sender noted"), Reply(250, "recipient noted")


def note_sender(session: Session, path: Path) -> Reply:
    """MAIL: a transaction begins, if the sender is acceptable (RFC 5321 §4.1.1.2)."""
    if not path.domain and path != NULL_PATH:
        return Reply(501, "a reverse-path has a domain, or is <>")
    refusal = ask_policy(session.accept_sender, mailbox := path.mailbox, session.envelope)
    if refusal is None or refusal.positive:
        session.envelope.sender = mailbox
    return refusal or _SENDER_NOTED


def note_recipient(session: Session, path: Path) -> Reply:
    """RCPT: one more recipient, if acceptable (RFC 5321 §4.1.1.3), and not too many (§4.5.3.1.10)."""
    if not path.local:
        return Reply(501, "a forward-path names somebody")
    if len(session.envelope.recipients) >= session.limits.max_recipients:
        return Reply(452, f"no more than {session.limits.max_recipients} recipients in one transaction")
    refusal = ask_policy(session.accept_recipient, mailbox := path.mailbox, session.envelope)
    if refusal is None or refusal.positive:
        session.envelope.recipients.append(mailbox)
    return refusal or _RECIPIENT_NOTED


# %% limit-errors
def limit_errors(session: SessionState, reply: Reply, verb: Verb) -> Reply:
    """The reply, or 421 for a client that has said too much that leads nowhere (RFC 5321 §7.8)."""
    counts, limits = session.counts, session.limits
    if 500 <= reply.code <= 504:
        counts["errors"] += 1
    elif session.verb == "RCPT" and reply.code >= 400 and reply.code not in (452, 552):  # those say "too many"
        counts["refused recipients"] += 1
    if verb.idle or session.state in ("start", "ready"):
        counts["idle commands"] += 1
    if (counts.get("errors", 0) > limits.max_errors or counts.get("idle commands", 0) > limits.max_idle_commands
            or counts.get("refused recipients", 0) > limits.max_refused):
        return session.closing("has heard enough")
    return reply


# %% session-class
class Session(SessionState):
    """One end of a session: each command comes in by `dispatch`, each reply leaves by `reply`."""

    __slots__ = ()                                      # no fields of its own, so no dataclass again

    def line(self) -> Line:
        """The want for the next command; before a transaction nothing is lost if the client is sent away."""
        return Line(idle=self.state in ("start", "ready"))

    def refuse(self, line: bytes, command: Command) -> Reply | None:
        """Why a command is not dispatched, or None (RFC 5321 §4.2.4, §4.1.4)."""
        if 0 in line or not line.isascii():     # octet 0, NUL
            return Reply(501, "a command is 7-bit ASCII, without NUL")
        verb = self.verbs.get(command.verb)
        if verb is None:
            return Reply(500, f"no such command; I know {' '.join(self.verbs)}")
        return verb.misused(command) if self.state in verb.moves else Reply(503, EXPECTED[self.state])

    def dispatch(self, line: bytes) -> Conversation[None]:
        """Find a command's verb in the table, see whether it is its turn, run its handler, say the reply."""
        command = self.known.get(line) or parse_command(line)
        self.verb, before = command.verb, self.state
        verb = self.verbs.get(command.verb, UNKNOWN)
        answer = self.refuse(line, command) or verb.handler(self, command.argument)
        reply = answer if isinstance(answer, Reply) else (yield from answer)
        if reply:
            if reply.code < 300 and self.state == before:
                self.state = verb.moves[before]
            yield self.reply(reply, verb)
        if verb.now:
            yield PUSH

    def reply(self, reply: Reply, verb: Verb | None = None) -> Reply:
        """A reply as it leaves: the last one to a verb may be 421 instead; after 421 the session is over."""
        useful = reply.code < 400 and self.state in ("mail", "rcpt")
        if useful and verb and not (verb.idle or verb.counts_octets): return reply     # nearly always
        if verb and reply.code != 421:
            reply = limit_errors(self, reply, verb)
        if reply.code == 421: self.state = "closed"
        return reply


# %% serve
def serve(session: Session) -> Conversation[None]:
    """A whole session, from the greeting to the goodbye (RFC 5321 §3.1 to §3.8)."""
    try:
        yield usual(220, f"{session.hostname} {session.service} ready")
        while session.state != "closed":
            try:
                line = yield session.line()
            except WireError as error:
                reply = session.closing(f"gives up: {error}") if error.hopeless else Reply(500, str(error))
                yield session.reply(reply, UNKNOWN)
                yield PUSH
            else:
                yield from session.dispatch(line)
                session.verb = ""
    except Timeout:
        yield session.reply(session.closing("waited long enough"))
    except Closing:
        yield session.reply(session.closing("is shutting down"))
    except Disconnected:
        log.info("%s hung up without QUIT", session.peer or "client")
    finally:
        session.release()


# %% one-reply
def one_reply(outcome: Mapping[str, Reply]) -> Reply:
    """DATA has one reply for all recipients: the first that asks to try again, else the first refusal.

    451 for a message without recipients: nobody has it.
    """
    several = {*map(id, outcome.values())}
    if len(several) == 1:                      # mostly all have the same
        return next(iter(outcome.values()))
    return min(outcome.values(), key=lambda reply: (reply.positive, reply.permanent), default=BROKEN)


# %% data
_GO_ON = Reply(354, "go on; a line with a dot alone ends the message")


def data(session: Session, argument: str) -> Conversation[Reply]:
    """DATA: 354, the body up to its lone dot, and 250 once somebody has it (RFC 5321 §4.1.1.4)."""
    yield session.reply(_GO_ON)
    yield PUSH
    spool = session.resources["spool"] = Spool(session.limits.max_size, session.limits.memory)
    want = Body(BodyCutter())
    while not want.cutter.ended:
        spool.add((yield want))
    return (yield from finish(session, spool))


def finish(session: Session, spool: Spool) -> Conversation[Reply]:
    """The end of a body, however it came: deliver it, and say what became of it."""
    keep = Delivery(session.deliver, session.envelope, spool.file)
    quick = getattr(session.deliver, "at_once", 1) == 0        # it never blocks: why wake another thread
    reply = spool.finish() or one_reply(keep() if quick else (yield Work(keep)))
    log.info("%s from=<%s> to=%d size=%d: %s", session.peer, session.envelope.sender,
             len(session.envelope.recipients), spool.octets, reply)
    session.reset()
    session.counts["idle commands"] = 0
    return reply


# %% verbs
def help_(session: Session, argument: str) -> Reply:
    """HELP: the verbs, or how one is used (RFC 5321 §4.1.1.8)."""
    if not argument:
        return Reply(214, "I understand\n" + " ".join(session.verbs))
    verb = session.verbs.get(argument.upper())
    return Reply(214, verb.usage) if verb else Reply(504, f"no help on {argument[:80]!r}")


VERBS: dict[str, Verb] = {
    "HELO": Verb(helo, TO_READY, "HELO your.host.name", now=True),
    "MAIL": Verb(with_path("FROM:", note_sender), {"ready": "mail"},
                 "MAIL FROM:<you@your.domain>, or MAIL FROM:<> for a bounce"),
    "RCPT": Verb(with_path("TO:", note_recipient), {"mail": "rcpt", "rcpt": "rcpt"},
                 "RCPT TO:<somebody@some.domain>"),
    "DATA": Verb(data, {"rcpt": "ready"}, "DATA, the message, a dot alone in its line",
                 now=True, argument=False),
    "RSET": Verb(rset, TO_READY | {"start": "start"}, "RSET forgets the transaction", argument=False),
    "NOOP": Verb(saying(250, "still here"), STAY, "NOOP does nothing", now=True, idle=True),
    "QUIT": Verb(saying(221, "{} says goodbye"), dict.fromkeys(STAY, "closed"),
                 "QUIT ends the session", now=True, argument=False),
    "VRFY": Verb(saying(252, "I do not verify; send the message and see"), STAY,
                 "VRFY somebody", now=True, idle=True, argument=True),
    "HELP": Verb(help_, STAY, "HELP, or HELP and a verb", now=True, idle=True),
    "EXPN": Verb(saying(502, "I know it and do not do it"), STAY, "EXPN is not done here", now=True, idle=True),
}

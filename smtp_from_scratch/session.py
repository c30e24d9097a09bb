"""The server's side of a session: a table of verbs, and one place that obeys it (RFC 821, RFC 5321 §4.1)."""
# Exported from notebooks/05_session.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from .conversation import FLUSH, Body, Closing, Conversation, Disconnected, Line, Timeout, Work
from .envelope import NULL_PATH, BadPath, BodyCutter, Envelope, Path, parse_path
from .wire import LineTooLong, Reply, WireError, parse_command

__all__ = [
    "log", "Handler", "Verb", "Deliver", "Policy", "Session", "let_go", "forget", "helo", "path_argument", "mail",
    "note_sender", "rcpt", "note_recipient", "STATES", "EXPECTED", "serve", "vrfy", "not_here", "help_", "data",
    "SPOOL_IN_MEMORY", "keep", "body_fault", "hand_over", "one_reply", "STAY", "TO_READY", "VERBS",
]


# %% verb
log = logging.getLogger(__name__)
Handler = Callable[["Session", str], "Reply | Conversation[Reply | None]"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One row of the table: who handles a verb, from which state to which it leads (RFC 5321 §4.1.4).

    A handler returns its reply, or is a conversation that returns it, when it has more to say or to hear;
    None if it has said all there is to say.
    `now`: its reply may not wait in a buffer (RFC 2920 §3.2). `usage` is what HELP says.
    """

    handler: Handler
    moves: Mapping[str, str]
    usage: str
    now: bool = False


# %% policies
Deliver = Callable[[Envelope, IO[bytes]], Any]          # returns a Reply, {recipient: Reply}, or None for 250
Policy = Callable[[str, Envelope], Reply | None]        # None: accepted


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
    verbs: Mapping[str, Verb] = field(default_factory=lambda: VERBS)
    busy_line: Line = Line()
    idle_line: Line = Line(idle=True)
    state: str = "start"
    envelope: Envelope = field(default_factory=Envelope)
    errors: int = 0
    idle_talk: int = 0
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
def helo(session: Session, argument: str) -> Reply:
    """HELO: who is calling (RFC 5321 §4.1.1.1). The name is noted, not believed (§4.1.4)."""
    if not argument or " " in argument or not argument.isprintable():
        return Reply(501, "say HELO and the name of your host")
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


# %% ask-policy
def ask_policy(policy: Policy, address: str, session: Session) -> Reply | None:
    """What a policy says about an address; if it breaks, 451: that is no fault of the client's (§4.2.3)."""
    try:
        return policy(address, session.envelope)
    except Exception:
        log.exception("%s: a policy failed", session.peer)
        return Reply(451, "something is broken here; please try again later")


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
def obey(session: Session, line: bytes) -> Generator[Any, Any, tuple[Reply | None, bool]]:
    """Find a command's verb in the table, check that it is its turn, and run its handler."""
    if b"\0" in line or not line.isascii():
        return Reply(501, "a command is 7-bit ASCII, without NUL"), True
    command = parse_command(line)
    verb = session.verbs.get(command.verb)
    if verb is None:
        return Reply(500, f"no such command; I know {' '.join(session.verbs)}"), True
    before = session.state
    if before not in verb.moves:
        return Reply(503, EXPECTED[before]), verb.now
    answer = verb.handler(session, command.argument)
    reply = answer if isinstance(answer, Reply) else (yield from answer)
    if reply and reply.positive:
        session.state = verb.moves[before]
    return reply, verb.now


# %% count-nonsense
def count_nonsense(session: Session, reply: Reply) -> Reply:
    """The reply, or 421 for a client that has said too much that leads nowhere (RFC 5321 §7.8)."""
    session.errors += 500 <= reply.code <= 504
    session.idle_talk += session.state in ("start", "ready")
    if session.errors > session.max_errors or session.idle_talk > session.max_idle_talk:
        session.state = "closed"
        return Reply(421, f"{session.hostname} has heard enough, closing the connection")
    return reply


# %% one-command
def one_command(session: Session) -> Conversation[None]:
    """Hear a line, obey it, say the reply."""
    idle = session.state in ("start", "ready")
    reply: Reply | None
    try:
        line = yield session.idle_line if idle else session.busy_line
    except WireError as error:
        now, reply = True, Reply(500, str(error))
        if isinstance(error, LineTooLong) and error.hopeless:
            session.state = "closed"
    else:
        reply, now = yield from (session.obey or obey)(session, line)
    if reply:
        yield count_nonsense(session, reply)
    if now:
        yield FLUSH


# %% serve
def serve(session: Session) -> Conversation[None]:
    """A whole session, from the greeting to the goodbye (RFC 5321 §3.1 to §3.8)."""
    try:
        yield Reply(220, f"{session.hostname} {session.service} ready")
        while session.state != "closed":
            yield from one_command(session)
    except Timeout:
        yield Reply(421, f"{session.hostname} waited long enough, closing the connection")
    except Closing:
        yield Reply(421, f"{session.hostname} is shutting down, closing the connection")
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
    cutter, full = BodyCutter(session.max_size), None
    want = Body(cutter)
    spool = tempfile.SpooledTemporaryFile(SPOOL_IN_MEMORY)
    try:
        while block := (yield want):
            full = full or keep(spool, block)
        reply = body_fault(cutter) or full or (yield Work(lambda: hand_over(session, spool)))
    finally:
        with contextlib.suppress(OSError):              # a full disk complains once more here
            spool.close()
    log.info("%s from=<%s> to=%d size=%d: %s", session.peer, session.envelope.sender,
             len(session.envelope.recipients), cutter.octets, reply)
    forget(session)
    session.idle_talk = 0
    return reply


# %% body-fault
SPOOL_IN_MEMORY = 1_048_576                             # octets of a body kept in memory, the rest on disk


def keep(spool: IO[bytes], block: bytes) -> Reply | None:
    """Put a block aside; when there is no room, the reply that will be due at the end of the body (§4.2.3)."""
    try:
        spool.write(block)
    except OSError:
        log.exception("no room for a letter")
        return Reply(452, "no room for the letter now; please try again later")
    return None


def body_fault(cutter: BodyCutter) -> Reply | None:
    """Why a body is refused once it has been read to its true end, or None (RFC 5321 §2.3.8, §4.5.3.1.9)."""
    if cutter.bare:
        return Reply(554, "a CR or an LF stands alone in the letter; lines end with CR LF", "5.6.0")
    if cutter.too_large:
        return Reply(552, f"a letter may have {cutter.limit} octets, this one has {cutter.octets}")
    return None


# %% hand-over
def hand_over(session: Session, spool: IO[bytes]) -> Reply:
    """Deliver, and say what became of it; an error of ours is 451: the client keeps the letter (§4.2.5)."""
    try:
        spool.seek(0)
        outcome = session.deliver(session.envelope, spool)
    except Exception:
        log.exception("%s: delivery failed", session.peer)
        return Reply(451, "something is broken here; please try again later")
    if isinstance(outcome, dict):
        return one_reply(outcome)
    return outcome if isinstance(outcome, Reply) else Reply(250, "the letter is ours now")


def one_reply(outcome: dict[str, Reply]) -> Reply:
    """DATA has one reply for all recipients: the first that asks to try again, else the first refusal."""
    replies = sorted(outcome.values(), key=lambda reply: (reply.positive, reply.permanent))
    return replies[0] if replies else Reply(250, "the letter is ours now")


# %% verbs
STAY = {state: state for state in STATES[:-1]}
TO_READY = dict.fromkeys(STATES[:-1], "ready")

VERBS: dict[str, Verb] = {
    "HELO": Verb(helo, TO_READY, "HELO your.host.name", now=True),
    "MAIL": Verb(mail, {"ready": "mail"}, "MAIL FROM:<you@your.domain>, or MAIL FROM:<> for a bounce"),
    "RCPT": Verb(rcpt, {"mail": "rcpt", "rcpt": "rcpt"}, "RCPT TO:<somebody@some.domain>"),
    "DATA": Verb(data, {"rcpt": "ready"}, "DATA, then the letter, then a line with a dot alone", now=True),
    "RSET": Verb(rset, TO_READY | {"start": "start"}, "RSET forgets the transaction"),
    "NOOP": Verb(noop, STAY, "NOOP does nothing", now=True),
    "QUIT": Verb(quit, dict.fromkeys(STAY, "closed"), "QUIT ends the session", now=True),
    "VRFY": Verb(vrfy, STAY, "VRFY somebody", now=True),
    "HELP": Verb(help_, STAY, "HELP, or HELP and a verb", now=True),
    "EXPN": Verb(not_here, STAY, "EXPN is not done here", now=True),
}

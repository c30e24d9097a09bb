"""The client makes a plan: what it will say for a message, and what each reply means (RFC 5321 §3.3)."""
# Exported from notebooks/10_transaction.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple

from .client import (
    BODY_TIMEOUT,
    DATA_TIMEOUT,
    GREETING_TIMEOUT,
    Receipt,
    SMTPConnectError,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPServerDisconnected,
    refuse_rest,
)
from .conversation import Conversation, Disconnected, Interruption, known_reply
from .ehlo import Extension, read_offers
from .envelope import Envelope, encode_path, stuff
from .replies import Due, Replies, to_the_end
from .wire import Reply, WireError, encode_command

__all__ = [
    "FLIGHT_LIMIT", "ignore", "PlannedCommand", "ClientSession", "hello", "open_session", "OutgoingMessage",
    "settle_mail", "settle_rcpt", "settle_rset", "settle_data", "settle_body", "data", "rcpt_line", "Recipients",
    "Plan", "leave",
]


# %% planned-command
FLIGHT_LIMIT = 1000                            # commands that may wait for a reply at once


def ignore(reply: Reply) -> None:
    """Nothing depends on this reply."""


@dataclass(slots=True, eq=False)
class PlannedCommand:
    """One thing that a client will say: a command, and octets after it; then the reply to it."""

    verb: str                                  # empty: only octets, no command
    argument: str = field(default="", repr=False)      # it may be a password
    parameters: dict[str, str | None] = field(default_factory=dict)
    octets: Callable[[], Iterable[bytes]] = tuple
    timeout: float = 300.0                     # seconds (RFC 5321 §4.5.3.2)
    may_fly: bool = False                      # the next one may be said before this one is answered
    settle: Callable[[Reply], None] = ignore   # notes what the reply means
    reply: Reply | None = None

    def line(self) -> bytes:
        """The command's octets; ValueError when they would be more than one line."""
        if not self.parameters:                # nearly every RCPT
            return encode_command(self.verb, self.argument)
        parameters = [name if value is None else f"{name}={value}" for name, value in self.parameters.items()]
        return encode_command(self.verb, " ".join(filter(None, [self.argument, *parameters])))

    def answer(self, reply: Reply) -> None:
        """Note the reply, and what it means; then let go of the plan, and so of the message."""
        self.reply = reply
        self.settle(reply)
        self.settle = ignore


# %% known-server
@dataclass(slots=True, eq=False)
class KnownServer:
    """What a client knows of its server."""

    hostname: str                              # our own name
    extensions: tuple[Extension, ...] = ()
    host: str = ""                             # the server's name, for TLS
    offered: dict[str, str] = field(default_factory=dict)      # keyword: what follows it
    active: tuple[Extension, ...] = ()         # ours that the server offers
    keywords: frozenset[str] = frozenset()     # of these
    secure: bool = False                       # TLS is up
    user: str = ""                             # who we have proved to be
    open: bool = False                         # the server holds a MAIL of ours, as far as it has answered

    def learn(self, offered: Mapping[str, str]) -> None:
        """Note what the server offers now; what it offered before is forgotten."""
        self.offered = dict(offered)
        self.active = tuple(e for e in self.extensions if e.keyword in self.offered)
        self.keywords = frozenset(e.keyword for e in self.active)

    def uses(self, keyword: str) -> bool:
        """Whether both ends have this extension."""
        return keyword in self.keywords


# %% client-session
@dataclass(slots=True, eq=False)
class ClientSession(KnownServer):
    """A client's end of a session: what it knows, and what it has said that was not answered yet."""

    unanswered: deque[Due] = field(default_factory=deque)

    @property
    def room(self) -> int:
        """How many commands may be said before a reply is read (RFC 2920 §3.1)."""
        return (FLIGHT_LIMIT if "PIPELINING" in self.keywords else 1) - len(self.unanswered)

    def send(self, command: PlannedCommand) -> Conversation[None]:
        """Say a command; read the replies before going on, unless it may fly."""
        if command.verb:
            yield command.line()
        self.unanswered.append(command)
        with contextlib.suppress(Disconnected):        # the line takes no more; perhaps the server has said why
            yield from command.octets()
        if not command.may_fly or self.room < 1:
            yield from self.read_replies()

    def reader(self) -> Callable[[tuple[bytes, ...]], Reply]:
        """The function that makes a reply of its lines."""
        return known_reply

    def read_replies(self) -> Conversation[None]:
        """Read what was not answered yet, in order; SMTPServerDisconnected for 421 (RFC 5321 §3.8)."""
        want = Replies(self.unanswered, self.reader())
        while self.unanswered:
            yield want

    def read(self, timeout: float) -> Conversation[Reply]:
        """Read a reply to no command, such as the greeting."""
        return self.command("", timeout=timeout)

    def command(self, verb: str, argument: str = "", timeout: float = 300.0) -> Conversation[Reply]:
        """Say one command, after what is still unanswered, and read its reply."""
        replies: list[Reply] = []
        yield from self.send(PlannedCommand(verb, argument, timeout=timeout, settle=replies.append))
        return replies[0]


# %% hello
def hello(client: ClientSession) -> Conversation[Reply]:
    """EHLO, and HELO where that is not understood (RFC 5321 §3.2)."""
    yield from client.read_replies()           # with the extensions that they were sent with
    client.learn({})
    reply = yield from client.command("EHLO", client.hostname)
    if reply.positive:
        client.learn(read_offers(reply))
    elif reply.permanent:
        reply = yield from client.command("HELO", client.hostname)
    if not reply.positive:
        raise SMTPHeloError(reply, "EHLO")
    return reply


def open_session(client: ClientSession) -> Conversation[Reply]:
    """Hear the greeting, say EHLO, and what the extensions want to do next; returns the last hello's reply."""
    greeting = yield from client.read(GREETING_TIMEOUT)
    if not greeting.positive:
        raise SMTPConnectError(greeting, "greeting")
    reply = yield from hello(client)
    for extension in client.extensions:
        yield from extension.after_hello(client)
    return reply


# %% outgoing-message
class OutgoingMessage(NamedTuple):
    """A message to be sent: for whom, its octets, and what it needs of a server, by keyword."""

    envelope: Envelope
    body: Iterable[bytes]
    size: int | None = None                    # octets of the body as it will be sent; None: not known
    needs: frozenset[str] = frozenset()
    binary: bool = False                       # no line ends, only octets


# %% settle-envelope
def settle_mail(plan: Plan, reply: Reply) -> None:
    """MAIL refused: nobody gets the message."""
    plan.client.open = reply.positive
    if not reply.positive:
        refuse_rest(plan.receipt, "MAIL", reply, plan.message.envelope.recipients)


def settle_rcpt(plan: Plan, recipient: str, reply: Reply) -> None:
    """RCPT: a reply for one recipient; when all are refused, the plan has failed."""
    receipt = plan.receipt
    if not receipt.refused_by:
        receipt.recipients[recipient] = reply
        if len(receipt.recipients) == plan.recipient_count and not (reply.positive or receipt.accepted):
            receipt.refused_by = "RCPT"


def settle_rset(client: ClientSession, reply: Reply) -> None:
    """RSET: the server holds nothing of ours."""
    client.open = client.open and not reply.positive


# %% settle-body
def settle_data(plan: Plan, reply: Reply) -> None:
    """DATA refused: nobody gets the message, and the server still holds our MAIL."""
    if reply.code // 100 != 3 and not plan.failed:
        refuse_rest(plan.receipt, "DATA", reply, plan.receipt.accepted)


def settle_body(plan: Plan, reply: Reply) -> None:
    """The reply to a whole body: whose message it is now (RFC 5321 §4.1.1.4)."""
    plan.client.open, receipt = False, plan.receipt
    if plan.failed: return
    if reply.positive:
        receipt.recipients |= dict.fromkeys(receipt.accepted, reply)
        receipt.reply = reply
    else:
        refuse_rest(receipt, "body", reply, receipt.accepted)


# %% data
def data(plan: Plan) -> Iterator[PlannedCommand]:
    """DATA, then the body; an empty one when the server wants it and nobody will get it (RFC 2920 §3.1)."""
    if plan.failed:
        return
    command = PlannedCommand("DATA", timeout=DATA_TIMEOUT, settle=partial(settle_data, plan))
    plan.receipt.ended = False
    yield command
    if command.reply and command.reply.code // 100 == 3:
        text = partial(to_the_end, plan.receipt, lambda: stuff(() if plan.failed else plan.message.body))
        yield PlannedCommand("", octets=text, may_fly=True,
                             timeout=BODY_TIMEOUT, settle=partial(settle_body, plan))


# %% envelope-commands
rcpt_line = lru_cache(1024)(lambda address: encode_command("RCPT", f"TO:{encode_path(address)}"))


class Recipients:
    """The recipients of a plan: each has a line, and gets the reply to it."""

    verb, timeout = "RCPT", 300.0

    def __init__(self, plan: Plan) -> None:
        self.plan, self.names = plan, iter(plan.recipients)

    def lines(self) -> list[bytes]:
        """MAIL, and RCPT for each; BadPath or ValueError for what cannot be said."""
        if not self.plan.recipients or "" in self.plan.recipients:
            raise ValueError("name at least one recipient, and none that is empty; only a sender may be")
        lines = [PlannedCommand("RCPT", f"TO:{encode_path(address)}", parameters).line()
                 if parameters else rcpt_line(address) for address, parameters in self.plan.recipients.items()]
        return [self.plan.mail.line(), *lines]

    def answer(self, reply: Reply) -> None:
        """Replies come in the order of the lines."""
        settle_rcpt(self.plan, next(self.names), reply)

    def say(self) -> Conversation[None]:
        """Say the plan's lines, together where that may be, as long as there is hope."""
        plan, client, said = self.plan, self.plan.client, 0
        dues: list[Due] = [plan.mail] + [self] * (len(plan.lines) - 1)
        while said < len(dues) and not plan.failed:
            end = said + client.room
            yield b"".join(plan.lines[said:end])
            client.unanswered.extend(dues[said:end])
            said = end
            if client.room < 1:
                yield from client.read_replies()


# %% plan
class Plan:
    """What will be said for one message to one server. Extensions change it before a word is said.

    Raises ValueError for what cannot be said, SMTPNotSupportedError when a message needs what is not offered.
    """

    def __init__(self, client: ClientSession, message: OutgoingMessage) -> None:
        envelope = message.envelope
        self.client, self.message, self.receipt = client, message, Receipt(envelope.sender, ended=False)
        self.mail = PlannedCommand("MAIL", f"FROM:{encode_path(envelope.sender)}", may_fly=True,
                                   settle=partial(settle_mail, self))
        self.recipients: dict[str, dict[str, str | None]] = {a: {} for a in envelope.recipients}   # of RCPT
        self.recipient_count = len(self.recipients)
        self.waits = False                     # the body, until it is known who gets it
        self.body: Callable[[Plan], Iterator[PlannedCommand]] = data
        self.needs = set(message.needs)        # each extension crosses off what it provides
        if not "".join((envelope.sender, *envelope.recipients)).isascii(): self.needs.add("SMTPUTF8")
        for extension in client.active:
            extension.plan(self)
        if self.needs:
            raise SMTPNotSupportedError(f"the message needs {' and '.join(sorted(self.needs))}, "
                                        "which the server does not offer")
        self.lines = Recipients(self).lines()  # what cannot be said is found before anything is said

    @property
    def failed(self) -> bool:
        """Nobody will get the message any more."""
        return bool(self.receipt.refused_by)

    def run(self) -> Conversation[None]:
        """Say it, as long as there is hope. The last replies may be out after that: see `read_replies`."""
        client = self.client
        if client.open or (client.unanswered and any(due.verb in ("MAIL", "") for due in client.unanswered)):
            yield from client.send(PlannedCommand("RSET", may_fly=True, settle=partial(settle_rset, client)))
        yield from Recipients(self).say()
        if self.waits: yield from client.read_replies()
        self.receipt.ended = True              # perhaps; a `body` that can tell does, as `data`
        for command in self.body(self):
            yield from client.send(command)


# %% leave
def leave(client: ClientSession) -> Conversation[Reply | None]:
    """QUIT, riding along with what was not answered yet; a goodbye gone wrong changes no receipt."""
    goodbye = PlannedCommand("QUIT")
    try:
        yield from client.send(goodbye)
    except (Interruption, SMTPServerDisconnected, WireError, ConnectionError):
        if client.unanswered and client.unanswered[0] is not goodbye:
            raise
    return goodbye.reply

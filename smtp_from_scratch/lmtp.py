"""LMTP, at both ends: SMTP for the last step, into mailboxes, with a reply for each recipient (RFC 2033)."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import IO, ClassVar

from .client import CUT_OFF, Receipt, SMTPNotSupportedError, refuse_rest
from .conversation import Conversation
from .ehlo import ExtendedSession, Extension, ExtensionSet, ehlo
from .envelope import Envelope
from .rules import Outcome, reply_for_each
from .session import TO_READY, Handler, Verb
from .status import CodedClientSession, CodedSession
from .together import Steps, around, calling
from .transaction import Plan, PlannedCommand
from .wire import Command, Reply

__all__ = ["PORT", "LmtpClientSession", "LmtpSession", "LmtpSet"]

PORT = 24                                       # by custom; never 25 (RFC 2033 §5)
REQUIRED = frozenset({"PIPELINING", "ENHANCEDSTATUSCODES"})        # §5


# --- the server --------------------------------------------------------------------------------------------------


class LmtpSession(CodedSession):
    """A session in LMTP."""

    service: ClassVar[str] = "LMTP"

    def refuse(self, line: bytes, command: Command) -> Reply | None:
        """As in SMTP; what it tells to say first has another name here."""
        refusal = CodedSession.refuse(self, line, command)
        return refusal and replace(refusal, text=refusal.text.replace("EHLO", "LHLO"))

    def objection(self, command: Command) -> Reply | None:
        """As in SMTP; what may come before TLS or AUTH, LHLO may."""
        return CodedSession.objection(self, command._replace(verb="EHLO") if command.verb == "LHLO" else command)


class LmtpSet(ExtensionSet):
    """What an LMTP server offers: its table has LHLO in place of HELO and EHLO, and a reply for each after the body.

    ValueError without what every server of LMTP has (RFC 2033 §5).
    """

    def __init__(self, extensions: Iterable[Extension]) -> None:
        super().__init__(extensions)
        if missing := sorted(REQUIRED - self.keywords):
            raise ValueError(f"an LMTP server offers {' and '.join(missing)}, too (RFC 2033 §5)")
        self.verbs["LHLO"] = Verb(lhlo, TO_READY, "LHLO your.host.name", now=True)
        self.verbs["MAIL"] = replace(self.verbs["MAIL"], handler=named_lmtp(self.verbs["MAIL"].handler))
        for verb in self.verbs.keys() & {"DATA", "BDAT"}:
            self.verbs[verb] = replace(self.verbs[verb], handler=for_each(self.verbs[verb].handler))
        self.limits["LHLO"] = self.limits["EHLO"]
        for verb in ("HELO", "EHLO"):           # 500 to these (§4.1)
            del self.verbs[verb], self.limits[verb]


def lhlo(session: ExtendedSession, argument: str) -> Reply:
    """LHLO, which means what EHLO does, so that its reply has no enhanced code, either (RFC 2033 §4.1)."""
    session.verb = "EHLO"
    reply = ehlo(session, argument)
    return replace(reply, text=reply.text.replace("EHLO", "LHLO")) if not reply.positive else reply


def named_lmtp(mail: Handler) -> Handler:
    """MAIL, after which Received says `with LMTP` (RFC 3848)."""
    def handle(session: ExtendedSession, argument: str) -> Reply | Conversation[Reply | None]:
        answer = mail(session, argument)
        session.envelope.protocol = session.envelope.protocol.replace("ESMTP", "LMTP").replace("8SMTP", "8LMTP")
        return answer

    return handle


def for_each(handler: Handler) -> Handler:
    """DATA or BDAT with a reply for each recipient, in their order, once the message is over (RFC 2033 §4.2)."""
    def handle(session: ExtendedSession, argument: str) -> Conversation[Reply | None]:
        envelope, deliver, outcomes = session.envelope, session.deliver, dict[str, Reply]()
        recipients = tuple(envelope.recipients)                 # `deliver` may change them

        def keep(envelope: Envelope, body: IO[bytes]) -> Steps[Outcome]:
            outcomes.update(reply_for_each(recipients, (yield from calling(deliver, envelope, body))))
            return dict(outcomes)

        session.deliver = around(deliver, keep)
        try:
            answer = handler(session, argument)
            reply = answer if isinstance(answer, Reply) else (yield from answer)
        finally:
            session.deliver = deliver
        if reply is None or session.envelope is envelope:       # the transaction goes on
            return reply
        for recipient in recipients:
            yield session.reply(outcomes.get(recipient, reply))
        return None

    return handle


# --- the client --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class LmtpReceipt(Receipt):
    """A receipt that is settled recipient by recipient."""

    waiting: list[str] = field(default_factory=list, repr=False)   # whose reply to the message is still to come
    told: bool = field(default=False, repr=False)          # somebody's reply to the message has come

    def lose(self, recipients: Iterable[str], reply: Reply = CUT_OFF) -> None:
        """The line broke: nothing is known of those who were not answered for, unless a 421 answers for them all."""
        while self.told and self.waiting and reply.code == 421:
            self.settle(reply)
        Receipt.lose(self, self.waiting if self.told else recipients, reply)

    def settle(self, reply: Reply) -> None:
        """The next reply to the message."""
        self.told = True
        self.recipients[self.waiting.pop(0)] = reply
        if self.waiting:
            return
        kept = [answer for answer in self.recipients.values() if answer.positive]
        self.reply = kept[-1] if kept else reply
        self.refused_by = "" if kept else "body"


class ReplyForEach(Extension):
    """What no server offers and every server of LMTP does: a reply for each recipient (RFC 2033 §4.2)."""

    def plan(self, plan: Plan) -> None:
        """Wait for these replies; a body goes out when it is known how many there will be."""
        plan.receipt = receipt = LmtpReceipt(plan.message.envelope.sender, ended=False)
        plan.waits = True
        plan.body = partial(answered_for_each, plan.body, receipt)


def answered_for_each(body: Callable[[Plan], Iterator[PlannedCommand]], receipt: LmtpReceipt,
                      plan: Plan) -> Iterator[PlannedCommand]:
    """The commands of a body; the last of them is answered for each recipient who was accepted."""
    receipt.waiting, client = receipt.accepted, plan.client

    def settle(reply: Reply) -> None:
        if reply.code == 503 and not receipt.told:         # there is no transaction, so one reply is all
            for due in others:
                with contextlib.suppress(ValueError): client.unanswered.remove(due)
            others.clear()
            if not plan.failed: refuse_rest(receipt, "body", reply, receipt.accepted)
            return
        client.open = False
        if receipt.told or not plan.failed:    # else an earlier piece was refused, and that is why
            receipt.settle(reply)

    others = [PlannedCommand("", may_fly=True, settle=settle) for _ in receipt.waiting[1:]]
    for command in body(plan):
        last = not command.verb or command.argument.endswith(" LAST")
        if last:
            command.settle = settle
        yield command
        if last:
            for due in others: due.timeout = command.timeout
            yield from others


class LmtpClientSession(CodedClientSession):
    """A client's session that says LHLO, and hears a reply for each recipient."""

    __slots__ = ()

    def learn(self, offered: Mapping[str, str]) -> None:
        """As in SMTP; and what is never offered."""
        CodedClientSession.learn(self, offered)
        self.active = (*self.active, ReplyForEach())

    def command(self, verb: str, argument: str = "", timeout: float = 300.0) -> Conversation[Reply]:
        """As in SMTP; LHLO in place of EHLO, and nothing in place of HELO: SMTPNotSupportedError."""
        if verb == "HELO":
            raise SMTPNotSupportedError("the server does not understand LHLO, so what it speaks is not LMTP")
        return (yield from CodedClientSession.command(self, "LHLO" if verb == "EHLO" else verb, argument, timeout))

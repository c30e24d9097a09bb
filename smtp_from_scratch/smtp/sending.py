"""Messages on their way over one session: a receipt for each that was begun, whatever happens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from smtp_from_scratch.client import CUT_OFF, Receipt, SMTPNotSupportedError, SMTPServerDisconnected, refuse_rest
from smtp_from_scratch.conversation import Conversation
from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, Plan
from smtp_from_scratch.wire import Reply

MANY = 100                                      # recipients that every server takes at once (RFC 5321 §4.5.3.1.8)
TRANSACTIONS = 20                               # that one message may take at most


class Receipts:
    """A receipt for each message that was begun, in order, and how far they have been handed on."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self._recipients: list[list[str]] = []      # of each
        self._told = 0                              # how many have been handed on

    def note(self, receipt: Receipt, recipients: list[str]) -> None:
        """A message is begun."""
        self.receipts.append(receipt)
        self._recipients.append(recipients)

    def settled(self) -> Iterator[Receipt]:
        """Receipts of which all is known by now, each once."""
        while self._told < len(self.receipts) and self.receipts[self._told].done:
            self._told += 1
            yield self.receipts[self._told - 1]

    def untold(self) -> Iterator[Receipt]:
        """The others, whatever is known of them."""
        yield from self.receipts[self._told :]

    def account_for(self, error: BaseException) -> None:
        """Something ended the session: say for whom nothing is known, and put all receipts into the exception."""
        for receipt, recipients in zip(self.receipts, self._recipients, strict=True):
            receipt.lose(recipients, reason(error))
        error.receipts = self.receipts          # type: ignore[attr-defined]


class Sending(Receipts):
    """What is sent over one session."""

    def __init__(self, client: ClientSession) -> None:
        super().__init__()
        self.client = client

    def check_line(self, client: ClientSession) -> None:
        """SMTPServerDisconnected if the line is not any more the one on which these messages were begun."""
        if client is not self.client:
            raise SMTPServerDisconnected("the connection of these messages was closed, and this is another one")

    def refuse(self, recipients: Iterable[str], error: Exception, sender: str = "") -> None:
        """Note a message that cannot be sent: refused on its own, 554, without troubling the server."""
        sentence = " ".join(str(error).replace("\0", " ").split()) or type(error).__name__
        self.note(refuse_rest(Receipt(sender), "MAIL", Reply(554, sentence), recipients), [])

    def send(self, message: OutgoingMessage) -> Conversation[None]:
        """Send a message, in as many transactions as it takes; the replies to the last may be out after it.

        What cannot go to this server is refused on its own.
        """
        try:
            plan = Plan(self.client, message)
        except (ValueError, SMTPNotSupportedError) as error:
            return self.refuse(message.envelope.recipients, error, message.envelope.sender)
        self.note(plan.receipt, list(plan.recipients))
        yield from plan.run()
        if plan.recipient_count > MANY or too_many(plan.receipt, "SIZE" in self.client.offered):
            yield from finish(plan)


def reason(error: BaseException) -> Reply:
    """Why a message was cut off: the server's own 421, or that the line broke."""
    reply = error.reply if isinstance(error, SMTPServerDisconnected) else None
    return reply or CUT_OFF


def send_alone(plan: Plan) -> Conversation[None]:
    """Send the only message, in as many transactions as it takes, and read all replies."""
    yield from plan.run()
    yield from finish(plan)


def ended(plan: Plan, error: BaseException) -> None:
    """Something ended the session while the only message was sent: raise it, with the receipt.

    Unless somebody has the message: that must be told, whatever the server did after it.
    """
    plan.receipt.lose(plan.recipients, reason(error))
    error.receipts = [plan.receipt]             # type: ignore[attr-defined]
    if not (isinstance(error, SMTPServerDisconnected) and plan.receipt.accepted):
        raise error


def finish(first: Plan) -> Conversation[None]:
    """Read the replies, and send to those who were too many; what came of them is noted in the first's receipt."""
    plan, client = first, first.client
    yield from client.read_replies()
    for _ in range(TRANSACTIONS - 1):
        rest = too_many(plan.receipt, "SIZE" in client.offered)
        if not rest or not getattr(plan.message.body, "rereadable", False):
            return
        plan = Plan(client, plan.message._replace(envelope=replace(plan.message.envelope, recipients=rest)))
        try:
            yield from plan.run()
            yield from client.read_replies()
        except BaseException as error:
            plan.receipt.lose(rest, reason(error))
            first.receipt.unknown += plan.receipt.unknown
            for address in plan.receipt.unknown:
                del first.receipt.recipients[address]
            raise
        finally:
            merge(first.receipt, plan.receipt)


def too_many(receipt: Receipt, sized: bool) -> list[str]:
    """The last recipients, if they were one too many for a transaction: 452, or as RFC 821 had it 552.

    They are sent to in another (RFC 5321 §4.5.3.1.10). An enhanced code can tell that something else is full; and
    where sizes are declared, a bare 552 may be about this one's (RFC 1870 §6.4).
    """
    rest = []
    for address, reply in reversed(receipt.recipients.items()):
        if reply.code not in (452, 552):
            break
        bare = not reply.enhanced and not (reply.code == 552 and sized)
        if not (bare or reply.enhanced[2:] == "5.3"):
            break
        rest.append(address)
    return rest[::-1] if rest and receipt.accepted else []


def merge(receipt: Receipt, part: Receipt) -> None:
    """Note what came of those who got a transaction of their own; a 2yz to RCPT is no promise yet."""
    accepted, refused = set(part.accepted), part.refused
    receipt.recipients |= {address: reply for address, reply in part.recipients.items()
                           if address in accepted or (address in refused and not reply.positive)}

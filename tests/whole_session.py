"""A client's whole session as one conversation, for rehearsals: what `Client.send_all` says over sockets."""
from __future__ import annotations

from collections.abc import Iterable

from smtp_from_scratch.client import Receipt, quit_if_refused
from smtp_from_scratch.conversation import Conversation
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import Body, outgoing
from smtp_from_scratch.smtp.sending import Sending
from smtp_from_scratch.transaction import ClientSession, OutgoingMessage, leave, open_session


def whole_session(client: ClientSession, messages: Iterable[OutgoingMessage],
                  receipts: list[Receipt] | None = None) -> Conversation[list[Receipt]]:
    """Greeting, EHLO, the messages one after another, QUIT. `receipts` gets them also when something ends it."""
    sending = Sending(client)
    try:
        yield from quit_if_refused(open_session(client))
        for message in messages:
            yield from sending.send(message)
        yield from leave(client)
    except BaseException as error:
        sending.account_for(error)
        raise
    finally:
        if receipts is not None:
            receipts += sending.receipts
    return sending.receipts


def ready(client: ClientSession, envelope: Envelope, body: Body, binary: bool = False) -> OutgoingMessage:
    """A message as `Client` makes it ready for its server."""
    return outgoing(envelope, body, eight_bit=client.uses("8BITMIME"), binary=binary)

"""A next host without a line: what would be a Client hands the message to a `deliver`, in this process."""
from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:                               # the rooms are loaded by whoever sends
    from smtp_from_scratch.client import Receipt
    from smtp_from_scratch.envelope import Envelope
    from smtp_from_scratch.wire import Reply

__all__ = ["straight"]


class straight:
    """`with lab.straight(deliver) as host:` takes messages as a Client does. `said` has each reply so far."""

    def __init__(self, deliver: Callable[[Envelope, IO[bytes]], Any]) -> None:
        self.deliver = deliver
        self.said: list[Reply] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def has_extn(self, keyword: str) -> bool:
        """It offers nothing."""
        return False

    def transact(self, envelope: Envelope, body: IO[bytes], **_: Any) -> Receipt:
        """Hand it over; the receipt says what `deliver` said."""
        from smtp_from_scratch.client import Receipt, refuse_rest
        from smtp_from_scratch.rules import reply_for_each

        replies = reply_for_each(envelope.recipients, self.deliver(envelope, body))
        self.said += replies.values()
        receipt = Receipt(envelope.sender, replies, reply=next(iter(replies.values())))
        if not any(reply.positive for reply in replies.values()) and receipt.reply:
            refuse_rest(receipt, "body", receipt.reply, [])
        return receipt

"""A receipt that names nobody who has the message, as the exception that `smtplib` would raise."""
from __future__ import annotations

import smtplib
from collections.abc import Mapping

from .client import Receipt, SMTPException, SMTPResponseException, SMTPServerDisconnected
from .wire import Reply

__all__ = ["SMTPDataError", "SMTPRecipientsRefused", "SMTPSenderRefused", "SMTPTimeout", "pairs", "raise_for_refusal"]


class SMTPTimeout(SMTPServerDisconnected, TimeoutError):
    """The server did not answer in time (RFC 5321 §4.5.3.2)."""


class SMTPSenderRefused(SMTPResponseException, smtplib.SMTPSenderRefused):
    """MAIL was refused; `sender` is who it named."""

    def __init__(self, reply: Reply, about: str = "MAIL", sender: str = "") -> None:
        super().__init__(reply, about)
        self.sender = sender
        self.args = (self.smtp_code, self.smtp_error, sender)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reply, self.about, self.sender), vars(self)


class SMTPDataError(SMTPResponseException, smtplib.SMTPDataError):
    """DATA, or the body, was refused."""


class SMTPRecipientsRefused(SMTPException, smtplib.SMTPRecipientsRefused):
    """Every recipient was refused; `recipients` has a code and octets for each, and `receipt` the replies."""

    def __str__(self) -> str:
        said = {address: Reply(code, text.decode()) for address, (code, text) in self.recipients.items()}
        return "; ".join(f"{address}: {reply}" for address, reply in said.items())


def pairs(replies: Mapping[str, Reply]) -> dict[str, tuple[int, bytes]]:
    """Replies as `smtplib` has them: a code, and octets, with the enhanced code."""
    errors = {address: SMTPResponseException(reply) for address, reply in replies.items()}
    return {address: (error.smtp_code, error.smtp_error) for address, error in errors.items()}


def raise_for_refusal(receipt: Receipt) -> Receipt:
    """The receipt, unless nobody got the message: then the exception that `smtplib` would raise, with the receipt."""
    if not receipt.refused_by:
        return receipt
    error: SMTPException
    if receipt.refused_by == "RCPT":
        error = SMTPRecipientsRefused(pairs(receipt.refused))
    elif receipt.refused_by == "MAIL" and receipt.reply:
        error = SMTPSenderRefused(receipt.reply, sender=receipt.sender)
    elif receipt.reply:
        error = SMTPDataError(receipt.reply, receipt.refused_by)
    else:
        return receipt
    error.receipts = [receipt]
    raise error

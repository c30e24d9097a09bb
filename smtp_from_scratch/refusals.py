"""A receipt that names nobody who has the message, as the exception that `smtplib` would raise."""
from __future__ import annotations

from .client import Receipt, SMTPException, SMTPResponseException, SMTPServerDisconnected
from .wire import Reply

__all__ = ["SMTPDataError", "SMTPRecipientsRefused", "SMTPSenderRefused", "SMTPTimeout", "raise_for_refusal"]


class SMTPTimeout(SMTPServerDisconnected, TimeoutError):
    """The server did not answer in time (RFC 5321 §4.5.3.2)."""


class SMTPSenderRefused(SMTPResponseException):
    """MAIL was refused."""


class SMTPDataError(SMTPResponseException):
    """DATA, or the body, was refused."""


class SMTPRecipientsRefused(SMTPException):
    """Every recipient was refused; `recipients` has the reply for each."""

    def __init__(self, recipients: dict[str, Reply]) -> None:
        super().__init__("; ".join(f"{address}: {reply}" for address, reply in recipients.items()))
        self.recipients = recipients


def raise_for_refusal(receipt: Receipt) -> Receipt:
    """The receipt, unless nobody got the message: then the exception that `smtplib` would raise, with the receipt."""
    error: SMTPException | None = None
    if receipt.refused_by == "RCPT":
        error = SMTPRecipientsRefused(receipt.refused)
    elif receipt.refused_by and receipt.reply:
        kind = SMTPSenderRefused if receipt.refused_by == "MAIL" else SMTPDataError
        error = kind(receipt.reply, receipt.refused_by)
    if error is None:
        return receipt
    error.receipts = [receipt]
    raise error

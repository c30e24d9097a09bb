"""Transactions behind the names of `smtplib`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Sequence
from email.message import Message
from typing import Self

from smtp_from_scratch.client import (
    Receipt,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
    refuse_rest,
)
from smtp_from_scratch.compat.answers import Answer, Options, envelope_in, octets_of, quoteaddr, refusal, reply_of
from smtp_from_scratch.compat.identity import Login
from smtp_from_scratch.envelope import stuff
from smtp_from_scratch.message import prepare
from smtp_from_scratch.refusals import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused
from smtp_from_scratch.transaction import ClientSession


class Transaction(Login):
    """The commands of a transaction, one by one."""

    body_said = True                            # False: of the message in hand, surely nothing was

    def rset(self) -> Answer:
        """Give up the transaction."""
        self.command_encoding = "ascii"
        return self.docmd("rset")

    def _rset(self) -> None:
        with contextlib.suppress(SMTPServerDisconnected):       # the next command will say so
            self.rset()

    def mail(self, sender: str, options: Options = ()) -> Answer:
        """Say MAIL; SMTPNotSupportedError for SMTPUTF8 where it is not offered."""
        if self.does_esmtp and any(option.lower() == "smtputf8" for option in options):
            if not self.has_extn("smtputf8"):
                raise SMTPNotSupportedError("SMTPUTF8 not supported by server")
            self.command_encoding = "utf-8"
        return self.docmd("mail", " ".join([f"from:{quoteaddr(sender)}", *(options if self.does_esmtp else ())]))

    def rcpt(self, recip: str, options: Options = ()) -> Answer:
        """Say RCPT."""
        return self.docmd("rcpt", " ".join([f"to:{quoteaddr(recip)}", *(options if self.does_esmtp else ())]))

    def data(self, msg: str | bytes) -> Answer:
        """Say DATA and the message; returns the reply to the message, and raises SMTPDataError if DATA is refused."""
        self.body_said = False
        answer = self.docmd("data")
        self.body_said = True
        if answer[0] != 354:
            raise refusal(SMTPDataError, answer)
        self.send(b"".join(stuff([octets_of(msg)])))
        return self.getreply()

    def abandon(self, answer: Answer) -> None:
        """After a refusal: 421 was the server's last word, else it still holds our MAIL."""
        if answer[0] == 421:
            self.close()
        else:
            self._rset()


class Noted(Transaction):
    """A transaction in one go, with a receipt."""

    def transact(self, receipt: Receipt, to_addrs: Sequence[str], octets: bytes, mail_options: Options,
                 rcpt_options: Options) -> dict[str, Answer]:
        """MAIL, RCPT, DATA; what becomes of them is noted in the receipt."""
        receipt.ended = False
        size = [f"size={len(octets)}"] if self.has_extn("size") else []
        answer = self.mail(receipt.sender, [*size, *mail_options])
        if answer[0] != 250:
            refuse_rest(receipt, "MAIL", reply_of(answer), to_addrs)
            self.abandon(answer)
            raise refusal(SMTPSenderRefused, answer, sender=receipt.sender)
        refused = self.name_all(receipt, to_addrs, rcpt_options)
        if len(refused) == len(to_addrs):
            receipt.refused_by = "RCPT"
            self._rset()
            raise SMTPRecipientsRefused(refused)
        self.body_said = True                   # who overrides `data` need not know of it
        try:
            answer = self.data(octets)
        except SMTPDataError as error:
            refuse_rest(receipt, "DATA", error.reply, receipt.accepted)
            raise
        finally:
            receipt.ended = self.body_said
        if answer[0] != 250:
            if 200 <= answer[0] <= 599:         # what is no reply tells nothing
                refuse_rest(receipt, "body", reply_of(answer), receipt.accepted)
            self.abandon(answer)
            raise refusal(SMTPDataError, answer)
        return refused

    def name_all(self, receipt: Receipt, to_addrs: Iterable[str], rcpt_options: Options) -> dict[str, Answer]:
        """Say RCPT for each; returns those who were refused."""
        refused = {}
        for address in to_addrs:
            answer = self.rcpt(address, rcpt_options)
            receipt.recipients[address] = reply_of(answer)
            if answer[0] not in (250, 251):
                refused[address] = answer
            if answer[0] == 421:
                refuse_rest(receipt, "RCPT", reply_of(answer), set(to_addrs) - set(refused))
                self.close()
                raise SMTPRecipientsRefused(refused)
        return refused


class Sender(Noted):
    """Whole messages."""

    def sendmail(self, from_addr: str, to_addrs: str | Sequence[str], msg: str | bytes, mail_options: Options = (),
                 rcpt_options: Options = ()) -> dict[str, Answer]:
        """Send a message as it is; returns those who were refused, `{address: (code, octets)}`.

        SMTPHeloError, SMTPSenderRefused, SMTPRecipientsRefused (all of them), SMTPDataError, SMTPNotSupportedError.
        Once MAIL was said, an exception has the `receipt`.
        """
        self.ehlo_or_helo_if_needed()
        octets = octets_of(msg)
        self.check_connected()
        to_addrs = [to_addrs] if isinstance(to_addrs, str) else to_addrs
        receipt = Receipt(from_addr)
        try:
            return self.transact(receipt, to_addrs, octets, mail_options, rcpt_options)
        except (SMTPResponseException, SMTPRecipientsRefused, SMTPServerDisconnected) as error:
            receipt.lose(to_addrs)
            error.receipts = [receipt]
            raise

    def send_message(self, msg: Message, from_addr: str | None = None, to_addrs: str | Sequence[str] | None = None,
                     mail_options: Options = (), rcpt_options: Options = ()) -> dict[str, Answer]:
        """Send an `EmailMessage`, without Bcc; its header says for whom, unless that is given. As `sendmail`."""
        self.ehlo_or_helo_if_needed()
        offered = frozenset(keyword.upper() for keyword in self.esmtp_features)
        if from_addr is None or to_addrs is None:
            known = envelope_in(msg)
            from_addr = known.sender if from_addr is None else from_addr
            to_addrs = known.recipients if to_addrs is None else to_addrs
        envelope, octets = prepare(msg, from_addr, to_addrs, offered)
        if not all(address.isascii() for address in (envelope.sender, *envelope.recipients)):
            if not self.has_extn("smtputf8"):
                raise SMTPNotSupportedError("One or more source or delivery addresses require internationalized email "
                                            "support, but the server does not advertise the required SMTPUTF8 "
                                            "capability")
            mail_options = (*mail_options, "SMTPUTF8", "BODY=8BITMIME")
        elif not octets.isascii() and not any(option.upper().startswith("BODY=") for option in mail_options):
            mail_options = (*mail_options, "BODY=8BITMIME")
        return self.sendmail(envelope.sender, envelope.recipients, octets, mail_options, rcpt_options)


class Talk(Sender):
    """From the greeting to the goodbye."""

    def greeted(self, host: str, sock: socket.socket) -> Answer:
        """What a server says that we have called."""
        self.sock, self.session = sock, ClientSession(getattr(self, "local_hostname", ""), host=host)
        self.secure()
        answer = self.getreply()
        if self.debuglevel > 0:
            self._print_debug("connect:", repr(answer[1]))
        return answer

    def secure(self) -> None:
        """TLS, where it begins at once."""

    def quit(self) -> Answer:
        """Say goodbye and close."""
        answer = self.docmd("quit")
        self.forget()
        self.close()
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        try:
            answer = self.docmd("QUIT")
            if answer[0] != 221:
                raise refusal(SMTPResponseException, answer)
        except SMTPServerDisconnected:
            pass
        finally:
            self.close()

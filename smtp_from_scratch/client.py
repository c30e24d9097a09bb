"""The client of 1982: five commands, and what becomes of each recipient (RFC 821 §3)."""
# Exported from notebooks/04_client.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .conversation import Conversation, Disconnected, Interruption, Result, read_reply
from .envelope import Envelope, encode_path, stuff
from .wire import Reply, WireError, encode_command

__all__ = [
    "SMTPException", "SMTPServerDisconnected", "SMTPResponseException", "SMTPConnectError", "SMTPHeloError",
    "GREETING_TIMEOUT", "MAIL_TIMEOUT", "RCPT_TIMEOUT", "DATA_TIMEOUT", "BODY_TIMEOUT", "disconnected_by", "command",
    "greet", "check_envelope", "CUT_OFF", "Receipt", "refuse_rest", "send_body", "transaction",
    "SMTPNotSupportedError", "quit_if_refused", "deliver",
]


# %% errors
class SMTPException(smtplib.SMTPException):
    """Whatever goes wrong in a session; each is also the exception of `smtplib` that has its name."""

    receipts: Sequence[Receipt] = ()           # one for each message that was begun: what became of it

    @property
    def receipt(self) -> Receipt | None:
        """The last message's."""
        return self.receipts[-1] if self.receipts else None


class SMTPServerDisconnected(SMTPException, smtplib.SMTPServerDisconnected):
    """The server hung up, said 421, or was never there; `reply` is its 421 if it said so."""

    reply: Reply | None = None


class SMTPResponseException(SMTPException, smtplib.SMTPResponseException):
    """The server refused; `reply` is what it said, `smtp_code` and `smtp_error` the same as smtplib has it."""

    def __init__(self, reply: Reply, about: str = "") -> None:
        text = "\n".join(f"{reply.enhanced} {line}".strip() for line in reply.lines)
        self.reply, self.about, self.smtp_code = reply, about, reply.code
        self.smtp_error: bytes = text.encode()
        self.args = (self.smtp_code, self.smtp_error)

    def __str__(self) -> str:
        return f"{self.about}: {self.reply}" if self.about else str(self.reply)

    def __reduce__(self) -> tuple[object, ...]:            # so that it can be copied, and leave a process
        return type(self), (self.reply, self.about), vars(self)


class SMTPConnectError(SMTPResponseException, smtplib.SMTPConnectError):
    """The greeting was not 2yz."""


class SMTPHeloError(SMTPResponseException, smtplib.SMTPHeloError):
    """HELO was refused."""


# %% command
GREETING_TIMEOUT = MAIL_TIMEOUT = RCPT_TIMEOUT = 300.0     # seconds (RFC 5321 §4.5.3.2)
DATA_TIMEOUT, BODY_TIMEOUT = 120.0, 600.0


def disconnected_by(reply: Reply) -> SMTPServerDisconnected:
    """The exception for a 421 (RFC 5321 §3.8)."""
    error = SMTPServerDisconnected(f"the server is leaving: {reply}")
    error.reply = reply
    return error


def command(verb: str, argument: str = "", timeout: float = 300.0) -> Conversation[Reply]:
    """Say one command and read its reply; 421 at any time means that the server is leaving (RFC 5321 §3.8)."""
    yield encode_command(verb, argument)
    reply = yield from read_reply(timeout)
    if reply.code == 421:
        raise disconnected_by(reply)
    return reply


# %% greet
def greet(hostname: str) -> Conversation[Reply]:
    """Read the greeting and introduce ourselves (RFC 821 §3.5)."""
    greeting = yield from read_reply(GREETING_TIMEOUT)
    if not greeting.positive:
        raise SMTPConnectError(greeting, "greeting")
    hello = yield from command("HELO", hostname)
    if not hello.positive:
        raise SMTPHeloError(hello, "HELO")
    return hello


# %% check-envelope
def check_envelope(envelope: Envelope) -> tuple[str, dict[str, str]]:
    """An envelope's paths as MAIL and RCPT need them; raises BadPath or ValueError for what they cannot say."""
    for address in (envelope.sender, *envelope.recipients):
        if not address.isascii():
            raise ValueError(f"{address!r} is not ASCII; such an address needs SMTPUTF8 (RFC 6531)")
    if not envelope.recipients or "" in envelope.recipients:
        raise ValueError("name at least one recipient, and none that is empty; only a sender may be")
    return encode_path(envelope.sender), {address: encode_path(address) for address in envelope.recipients}


# %% receipt
CUT_OFF = Reply(451, "the message was cut off before its end", "4.4.2")


@dataclass(slots=True)
class Receipt:
    """What became of a message: the last reply about each recipient, and where it ended if it ended early."""

    sender: str
    recipients: dict[str, Reply] = field(default_factory=dict)
    refused_by: str = ""                       # "MAIL", "RCPT", "DATA", "body", "line"; empty: somebody has it
    reply: Reply | None = None                 # the reply to the body, or the one that ended the transaction
    unknown: list[str] = field(default_factory=list)       # the line broke before the reply to the body
    ended: bool = field(default=True, compare=False)       # False: the body's end was surely not said

    @property
    def accepted(self) -> list[str]:
        """Those for whom the server has taken over the message."""
        return [] if self.refused_by else [a for a, reply in self.recipients.items() if reply.positive]

    @property
    def refused(self) -> dict[str, Reply]:
        """Those for whom it has not, and why; 4yz may succeed later, 5yz will not."""
        return {a: reply for a, reply in self.recipients.items() if self.refused_by or not reply.positive}

    @property
    def done(self) -> bool:
        """It is known what became of it."""
        return bool(self.refused_by) or self.reply is not None

    def lose(self, recipients: Iterable[str], reply: Reply = CUT_OFF) -> None:
        """The line broke: who was not refused is `unknown`, or gets `reply`: 421, or the body had not ended."""
        if self.done: return
        refused = self.refused
        others = [a for a in dict.fromkeys(recipients) if a not in refused]
        if self.ended and reply.code != 421:   # a 4yz: not done (RFC 5321 §4.2.1)
            self.unknown = others
            for address in others: self.recipients.pop(address, None)      # their 250 was only "I would"
        else:
            self.recipients |= dict.fromkeys(others, reply)
            self.refused_by, self.reply = "line", reply


# %% send-body
def refuse_rest(receipt: Receipt, where: str, reply: Reply, addresses: Iterable[str]) -> Receipt:
    """Note that a refusal ended the transaction, for all these recipients."""
    receipt.recipients |= dict.fromkeys(addresses, reply)
    receipt.refused_by, receipt.reply = where, reply
    return receipt


def send_body(receipt: Receipt, body: Iterable[bytes]) -> Conversation[Receipt]:
    """DATA, the body, and the reply that says whose message it is now (RFC 5321 §4.1.1.4)."""
    reply = yield from command("DATA", timeout=DATA_TIMEOUT)
    if reply.code // 100 != 3:                 # 354; a 3yz of any other name says the same (§4.3.2)
        return refuse_rest(receipt, "DATA", reply, receipt.accepted)
    yield from stuff(body)
    reply = yield from read_reply(BODY_TIMEOUT)
    if reply.code == 421:
        raise disconnected_by(reply)
    if not reply.positive:
        return refuse_rest(receipt, "body", reply, receipt.accepted)
    receipt.recipients |= dict.fromkeys(receipt.accepted, reply)
    receipt.reply = reply
    return receipt


# %% transaction
def transaction(envelope: Envelope, body: Iterable[bytes]) -> Conversation[Receipt]:
    """One message: MAIL, RCPT for each recipient, DATA and the body (RFC 821 §3.1).

    Addresses are checked before an octet is sent: BadPath or ValueError.
    """
    sender, paths = check_envelope(envelope)
    receipt = Receipt(envelope.sender)
    reply = yield from command("MAIL", f"FROM:{sender}")
    if not reply.positive:
        return refuse_rest(receipt, "MAIL", reply, paths)
    for address, path in paths.items():
        receipt.recipients[address] = yield from command("RCPT", f"TO:{path}")
    if receipt.accepted:
        yield from send_body(receipt, body)
    else:
        receipt.refused_by = "RCPT"
    if receipt.refused_by in ("RCPT", "DATA"):         # the server still holds our MAIL (RFC 5321 §4.1.1.5)
        with contextlib.suppress(Disconnected, SMTPServerDisconnected):
            yield from command("RSET")
    return receipt


# %% quit-if-refused
class SMTPNotSupportedError(SMTPException, smtplib.SMTPNotSupportedError):
    """The message needs what the server did not offer."""


def quit_if_refused(opening: Conversation[Result]) -> Conversation[Result]:
    """An opening; and QUIT when it is refused: a server that does not want us waits for it (RFC 5321 §3.1)."""
    try:
        return (yield from opening)
    except (SMTPResponseException, SMTPNotSupportedError):
        with contextlib.suppress(SMTPServerDisconnected, Interruption, WireError):
            yield from command("QUIT")
        raise


# %% deliver
def deliver(hostname: str, messages: Iterable[tuple[Envelope, Iterable[bytes]]],
            receipts: list[Receipt] | None = None) -> Conversation[list[Receipt]]:
    """A whole session: greeting, HELO, the messages one after another, QUIT.

    A list given as `receipts` keeps what was settled, also when an exception ends the session.
    """
    receipts = [] if receipts is None else receipts
    yield from quit_if_refused(greet(hostname))
    for envelope, body in messages:
        receipts.append((yield from transaction(envelope, body)))
    with contextlib.suppress(Interruption, SMTPServerDisconnected, WireError):
        yield from command("QUIT")             # a goodbye gone wrong changes no receipt
    return receipts

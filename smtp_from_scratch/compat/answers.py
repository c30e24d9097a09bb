"""Addresses, octets and replies as `smtplib` has them."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Sequence
from email.message import Message

from smtp_from_scratch.client import SMTPResponseException
from smtp_from_scratch.conversation import Conversation, ReplyLine
from smtp_from_scratch.envelope import Envelope, envelope_of, normalize
from smtp_from_scratch.wire import BadReply, Reply

MOST_OCTETS = 1_048_576                         # of one reply, however many lines it has

Answer = tuple[int, bytes]                      # a reply: its code, -1 where there was none, and its text
Options = Sequence[str]


def addr_only(addrstring: str) -> str:
    """An address without what stands around it."""
    name, address = email.utils.parseaddr(addrstring)
    return address if name or address else addrstring


def quoteaddr(addrstring: str) -> str:
    """An address in angle brackets, without what stands around it."""
    name, address = email.utils.parseaddr(addrstring)
    if name or address:
        return f"<{address}>"
    return addrstring if addrstring.strip().startswith("<") else f"<{addrstring}>"


def quotedata(data: str) -> str:
    """Text with CR LF at line ends, and dots at line starts doubled."""
    return re.sub(r"(?m)^\.", "..", re.sub(r"\r\n|\n|\r", "\r\n", data))


def envelope_in(msg: Message) -> Envelope:
    """Who sends a message to whom; names without a domain are let pass, as they are on one machine."""
    try:
        return envelope_of(msg)
    except ValueError:
        resent = msg.get_all("Resent-Date", [])
        prefix = "Resent-" if resent else ""
        senders = addresses_of(msg, prefix + "Sender") or addresses_of(msg, prefix + "From")
        if len(resent) > 1 or not senders:
            raise
        return Envelope(senders[0], addresses_of(msg, *(prefix + name for name in ("To", "Cc", "Bcc"))))


def addresses_of(msg: Message, *names: str) -> list[str]:
    """The addresses in these fields, as `email.utils` reads them."""
    fields = [str(value) for name in names for value in msg.get_all(name, [])]
    return [address for _, address in email.utils.getaddresses(fields) if address]


def octets_of(msg: str | bytes) -> bytes:
    """A message's octets, line ends CR LF; UnicodeEncodeError for text that is not ASCII."""
    return b"".join(normalize([msg.encode("ascii") if isinstance(msg, str) else msg]))


def refusal(kind: type[SMTPResponseException], answer: Answer, **about: str) -> SMTPResponseException:
    """An exception with a code and octets as they came, also where these are no reply of RFC 5321."""
    code, text = answer
    error = kind(reply_of(answer), **about)
    error.smtp_code, error.smtp_error, error.args = code, text, (code, text, *error.args[2:])
    return error


def reply_of(answer: Answer) -> Reply:
    """An answer as a reply of RFC 5321; 554 stands for a code that is none."""
    code, text = answer
    said = text.decode("utf-8", "backslashreplace").replace("\r", "").replace("\0", "")
    return Reply(code if 200 <= code <= 599 else 554, said)


def answered(timeout: float = 300.0) -> Conversation[Answer]:
    """A reply, as lenient as smtplib reads it: any digits will do, and none."""
    want, texts, octets = ReplyLine(timeout), list[bytes](), 0
    while octets <= MOST_OCTETS:
        line = yield want
        texts.append(line[4:].strip(b" \t\r\n"))
        octets += len(line)
        if not line[:3].isdigit() or line[3:4] != b"-":
            return (int(line[:3]) if line[:3].isdigit() else -1), b"\n".join(texts)
    raise BadReply(f"a reply of more than {MOST_OCTETS} octets")


def saying(octets: bytes) -> Conversation[None]:
    """Say octets, and want nothing."""
    yield octets

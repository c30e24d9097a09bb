"""SMTP from scratch: a mail system whose source code is a course."""

from __future__ import annotations

import sys
from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Client": "smtp.client", "deliver": "smtp.client", "Server": "smtp.server", "ReceivedMessage": "smtp.server",
    "Pop3Server": "smtp.pop3",
    "AsyncClient": "smtp.aio", "send_all": "smtp.many",
    "client_extensions": "smtp.sets", "server_extensions": "smtp.sets",
    "Extension": "ehlo", "Size": "ehlo", "EightBitMime": "ehlo", "EnhancedStatusCodes": "status",
    "Pipelining": "pipelining", "Chunking": "chunking", "BinaryMime": "chunking", "StartTLS": "starttls",
    "Auth": "auth", "Passwords": "auth", "UserFile": "users", "SmtpUtf8": "smtputf8", "Submission": "submission",
    "Dsn": "dsn",
    "Maildir": "maildir",
    "Queue": "queue",
    "Relay": "relay",
    "Signer": "trust", "Trust": "trust",
    "Envelope": "envelope",
    "Reply": "wire",
    "Receipt": "client",
    "SMTPException": "client", "SMTPServerDisconnected": "client", "SMTPTimeout": "refusals",
    "SMTPNotSupportedError": "client", "SMTPResponseException": "client", "SMTPConnectError": "client",
    "SMTPHeloError": "client", "SMTPSenderRefused": "refusals", "SMTPRecipientsRefused": "refusals",
    "SMTPDataError": "refusals", "SMTPAuthenticationError": "sasl",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOME]


if sys.platform == "emscripten":               # a browser: no sockets, no threads
    import_module(f"{__name__}.memory").install()

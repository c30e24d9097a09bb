"""The types of the front door: `__init__.py` looks a name up when it is used, which a type checker cannot do."""

from .auth import Auth, Passwords
from .chunking import BinaryMime, Chunking
from .client import (
    Receipt,
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from .dsn import Dsn
from .ehlo import EightBitMime, Extension, Size
from .envelope import Envelope
from .maildir import Maildir
from .pipelining import Pipelining
from .queue import Queue
from .refusals import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused, SMTPTimeout
from .relay import Relay
from .sasl import SMTPAuthenticationError
from .smtp.aio import AsyncClient
from .smtp.client import Client, deliver
from .smtp.many import send_all
from .smtp.pop3 import Pop3Server
from .smtp.server import ReceivedMessage, Server
from .smtp.sets import client_extensions, server_extensions
from .smtputf8 import SmtpUtf8
from .starttls import StartTLS
from .status import EnhancedStatusCodes
from .submission import Submission
from .trust import Signer, Trust
from .users import UserFile
from .wire import Reply

__version__: str
__all__ = [
    "AsyncClient", "Auth", "BinaryMime", "Chunking", "Client", "Dsn", "EightBitMime", "EnhancedStatusCodes",
    "Envelope", "Extension", "Maildir", "Passwords", "Pipelining", "Pop3Server", "Queue", "Receipt", "ReceivedMessage",
    "Relay", "Reply", "SMTPAuthenticationError", "SMTPConnectError", "SMTPDataError", "SMTPException", "SMTPHeloError",
    "SMTPNotSupportedError", "SMTPRecipientsRefused", "SMTPResponseException", "SMTPSenderRefused",
    "SMTPServerDisconnected", "SMTPTimeout", "Server", "Signer", "Size", "SmtpUtf8", "StartTLS", "Submission", "Trust",
    "UserFile", "client_extensions", "deliver", "send_all", "server_extensions"
]

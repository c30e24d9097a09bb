"""What all mechanisms of AUTH have in common: two ends that take turns, and the ways to fail (RFC 4422)."""
from __future__ import annotations

import base64
import smtplib
from collections.abc import Generator
from typing import Any

from .client import SMTPResponseException
from .conversation import Work
from .passwords import Users
from .saslprep import saslprep

__all__ = ["AuthError", "BadResponse", "Cancelled", "Examination", "Mechanism", "Responses", "SMTPAuthenticationError",
           "as_text", "encode64", "heard", "name_of", "of_the_store"]


class AuthError(Exception):
    """The exchange failed; the text is for the log, never for the other end."""


class BadResponse(AuthError):
    """What the client said is not of the mechanism's form."""


class Cancelled(AuthError):
    """The client said `*` (RFC 4954 §4)."""


class SMTPAuthenticationError(SMTPResponseException, smtplib.SMTPAuthenticationError):
    """The server did not believe us, or did not prove that it knows us."""


Examination = Generator["bytes | Work", Any, str]           # yields challenges, is sent responses; returns the user
Responses = Generator[bytes, "bytes | None", None]          # yields responses, is sent challenges; None: it is over


class Mechanism:
    """One way to prove who you are. Each end is a generator that takes turns with the other (RFC 4422 §3)."""

    name = ""
    needs = "verify"                           # what the server's store must know
    client_first = True                        # the client has something to say before it is asked
    takes_initial = True                       # the server puts up with an initial response
    clear = True                               # who reads along can use it, or try passwords on it
    turns = 1                                  # how often the client speaks

    def examine(self, users: Users) -> Examination:
        """The server's end; raises AuthError. What a client that begins has to say answers its first challenge."""
        raise NotImplementedError

    def respond(self, user: str, password: str) -> Responses:
        """The client's end: first what it begins with (empty if it does not), then a response to each challenge."""
        raise NotImplementedError


def of_the_store(work: Work) -> Work:
    """A question to a store of users, whose ValueError is its own failure, and no mistake of the client's."""
    def ask() -> Any:
        try:
            return work.function()
        except ValueError as error:
            raise RuntimeError("the store of users failed") from error

    return Work(ask)


def encode64(octets: bytes) -> str:
    """Octets as AUTH writes them; `decode64` in `auth` reads them."""
    return base64.b64encode(octets).decode()


def as_text(octets: bytes) -> str:
    """UTF-8 as text; BadResponse for anything else."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise BadResponse("not UTF-8") from None


def name_of(text: str) -> str:
    """A user's name in its one spelling; AuthError for what nobody can be called (RFC 4616 §2)."""
    try:
        return saslprep(text)
    except ValueError:
        raise AuthError("nobody has such a name") from None


def heard(challenge: bytes | None) -> str:
    """A challenge as text; AuthError for a 235 in its place, from a server that has proved nothing."""
    if challenge is None:
        raise AuthError("the server is content, and has proved nothing")
    return as_text(challenge)

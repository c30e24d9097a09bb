"""Tokens in place of passwords: OAUTHBEARER (RFC 7628), and XOAUTH2, which large providers spoke before it."""
from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .conversation import Work
from .passwords import sure
from .sasl import AuthError, BadResponse, Cancelled, Examination, Mechanism, Responses, as_text, name_of

__all__ = ["OAuthBearer", "Token", "Tokens", "XOAuth2"]

Token = str | Callable[[], str]                # a token, or a function that fetches one; it is called at each login
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")   # RFC 6750 §2.1
_AUTH = re.compile(r"bearer +([^ ]+)", re.IGNORECASE)


class Tokens:
    """A store of users who show a token; `check(user, token)` says whether it is good, and for whom."""

    knows = frozenset({"token"})

    def __init__(self, check: Callable[[str, str], bool]) -> None:
        self._check = check

    def verify_token(self, user: str, token: str) -> bool:
        """Whether this token is this user's, and good now."""
        return self._check(user, token) is True

    def verify(self, user: str, password: str) -> bool:
        """There are no passwords."""
        return False

    def secret(self, user: str) -> str | None:
        """There are no passwords."""
        return None

    def scram_keys(self, user: str) -> Any | None:
        """There are no passwords."""
        return None


class Bearer(Mechanism):
    """What both have in common: the client shows user and token, and a refusal takes one more turn."""

    needs = "token"
    turns = 2                                  # the second one only after a refusal
    failure: Mapping[str, str] = {}            # what the server says of a bad token
    consent = b""                              # what the client answers to that

    def __init__(self, token: Token = "") -> None:
        self._token = token

    def read(self, response: bytes) -> tuple[str, str]:
        """User and token; BadResponse for what has another form."""
        raise NotImplementedError

    def write(self, user: str, token: str) -> bytes:
        """User and token as they travel."""
        raise NotImplementedError

    def examine(self, users: Any) -> Examination:
        typed, token = self.read((yield b""))
        user = name_of(typed)
        right = yield Work(lambda: sure(users.verify_token(user, token)))
        if not right:
            with contextlib.suppress(Cancelled):       # who gives up now has guessed as well
                yield json.dumps(self.failure).encode()    # RFC 7628 §3.2.2; what comes back says nothing
            raise AuthError("no such token")
        return user

    def respond(self, user: str, password: str) -> Responses:
        token = self._token() if callable(self._token) else self._token or password
        if not _TOKEN.fullmatch(token):
            raise ValueError("a bearer token has letters, digits and -._~+/ only")
        if not user.isprintable():
            raise ValueError("a user's name has no control characters")
        refusal = yield self.write(user, token)
        if refusal is not None and (yield self.consent) is not None:   # answered once, so that 535 may come
            raise AuthError("the server goes on asking")


def token_in(field: str) -> str:
    """The token of `auth=Bearer …`; BadResponse for anything else."""
    found = _AUTH.fullmatch(field)
    if not found or not _TOKEN.fullmatch(found[1]):
        raise BadResponse("no bearer token")
    return found[1]


class XOAuth2(Bearer):
    """XOAUTH2: user and token, between control characters."""

    name = "XOAUTH2"
    failure = {"status": "401", "schemes": "bearer"}

    def write(self, user: str, token: str) -> bytes:
        return f"user={user}\x01auth=Bearer {token}\x01\x01".encode()

    def read(self, response: bytes) -> tuple[str, str]:
        found = re.fullmatch(r"user=([^\x01]+)\x01auth=([^\x01]+)\x01\x01", as_text(response))
        if not found:
            raise BadResponse("XOAUTH2 is user= and auth=")
        return found[1], token_in(found[2])


class OAuthBearer(Bearer):
    """OAUTHBEARER: the same in the form that the IETF gave it, with a GS2 header before (RFC 7628 §3.1)."""

    name = "OAUTHBEARER"
    failure = {"status": "invalid_token"}
    consent = b"\x01"                            # §3.2.3

    def write(self, user: str, token: str) -> bytes:
        escaped = user.replace("=", "=3D").replace(",", "=2C")         # RFC 5801 §4
        return f"n,a={escaped},\x01auth=Bearer {token}\x01\x01".encode()

    def read(self, response: bytes) -> tuple[str, str]:
        header, *pairs = as_text(response).split("\x01")
        found = re.fullmatch(r"[ny],a=([^,]+),", header)
        fields = dict(pair.partition("=")[::2] for pair in pairs if pair)
        if not found or pairs[-2:] != ["", ""] or "auth" not in fields or re.search("=(?!3D|2C)", found[1]):
            raise BadResponse("OAUTHBEARER is a header with a= and fields, auth among them")
        return found[1].replace("=2C", ",").replace("=3D", "="), token_in(fields["auth"])

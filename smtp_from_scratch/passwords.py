"""Where a server looks users up: what is asked of any store, and a store of passwords in memory."""
from __future__ import annotations

import hmac
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from .saslprep import by_name, saslprep

__all__ = ["Passwords", "Users", "sure"]


class Users(Protocol):
    """Where a server looks users up, by prepared names. `knows`: what it can tell: "verify", "secret", "scram_keys"."""

    knows: frozenset[str]

    def verify(self, user: str, password: str) -> bool: ...
    def secret(self, user: str) -> str | None: ...
    def scram_keys(self, user: str) -> Any | None: ...


def sure(answer: object) -> bool:
    """What a store has said; TypeError for what is neither yes nor no: a coroutine would pass for a yes."""
    if isinstance(answer, bool):
        return answer
    if isinstance(answer, Coroutine):
        answer.close()                          # nobody would ever run it
    raise TypeError(f"a store of users answers True or False, not {type(answer).__name__}")


class Passwords:
    """Users and their passwords in memory: for tests, and for a chapter. ValueError for what SASLprep refuses."""

    knows = frozenset({"verify", "secret"})

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self._passwords = {user: saslprep(word, stored=True) for user, word in by_name(passwords).items()}

    def verify(self, user: str, password: str) -> bool:
        """Whether this is the user's password; an unknown user is compared with, too."""
        try:
            name, given = saslprep(user), saslprep(password)
        except ValueError:                     # nobody has such a name or password
            return False
        right = self._passwords.get(name, "")  # which is nobody's password
        return hmac.compare_digest(right.encode(), given.encode())

    def secret(self, user: str) -> str | None:
        """The password itself, which CRAM-MD5 needs; None for an unknown user."""
        return self._passwords.get(user)

    def scram_keys(self, user: str) -> Any | None:
        """None: a store with keys is `Keys`, in `scram`."""
        return None

    def __repr__(self) -> str:
        return f"<Passwords of {len(self._passwords)}>"

"""The full set of extensions by name, and what security arguments ask for: it takes effect, or is refused."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from smtp_from_scratch.chunking import BinaryMime, Chunking
from smtp_from_scratch.dsn import Dsn
from smtp_from_scratch.ehlo import EightBitMime, Extension, Size
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.smtputf8 import SmtpUtf8
from smtp_from_scratch.status import EnhancedStatusCodes

if TYPE_CHECKING:                               # what has no part in a session in the clear is imported where it has
    from smtp_from_scratch.oauth import Token
    from smtp_from_scratch.passwords import Users
    from smtp_from_scratch.sasl import Mechanism

KEYWORDS = ("SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "BINARYMIME", "SMTPUTF8",
            "DSN", "STARTTLS", "AUTH")


def server_extensions(*, tls: ssl.SSLContext | None = None, require_tls: bool = False, users: Users | None = None,
                      require_auth: bool = False, insecure_auth: bool = False,
                      without: Iterable[str] = ()) -> list[Extension]:
    """Everything that a server can offer: STARTTLS with a TLS context, AUTH with users; `without` some keywords.

    ValueError for what cannot take effect: see `server_security`, `leave_out`.
    """
    everything: list[Extension] = [Size(), EightBitMime(), EnhancedStatusCodes(), Pipelining(), Chunking(),
                                   BinaryMime(), SmtpUtf8(), Dsn()]
    everything += server_security(tls, require_tls, users, require_auth, insecure_auth)
    return leave_out(everything, without, {"STARTTLS": require_tls, "AUTH": require_auth})


def client_extensions(*, tls: ssl.SSLContext | None = None, require_tls: bool = True, user: str = "",
                      password: str = "", token: Token = "", insecure_auth: bool = False, eager: bool = False,
                      mechanisms: Iterable[Mechanism] | None = None, without: Iterable[str] = ()) -> list[Extension]:
    """Everything that a client can make use of: STARTTLS with a TLS context, AUTH with a user and a password or token.

    `mechanisms`: those that may be used, the best first; None: all of them. `eager`: see `Chunking`. What follows from
    others, such as SMTPUTF8 from 8BITMIME, leaves with them. ValueError for what cannot take effect: see
    `client_security`, `leave_out`.
    """
    everything: list[Extension] = [Size(), EightBitMime(), EnhancedStatusCodes(), Pipelining(), Chunking(eager),
                                   BinaryMime(), SmtpUtf8(), Dsn()]
    everything += client_security(tls, require_tls, user, password, insecure_auth, mechanisms, token)
    return leave_out(everything, without, {"STARTTLS": bool(tls) and require_tls, "AUTH": bool(user)})


def leave_out(extensions: Iterable[Extension], without: Iterable[str],
              required: Mapping[str, bool] | None = None) -> list[Extension]:
    """The extensions without some, and without those that need them.

    ValueError for a keyword that does not exist, and for one that is required.
    """
    gone = {keyword.upper() for keyword in without}
    if unknown := gone.difference(KEYWORDS):
        raise ValueError(f"no such extension: {', '.join(sorted(unknown))}; there are {', '.join(KEYWORDS)}")
    for keyword, needed in (required or {}).items():
        if needed and keyword in gone:
            raise ValueError(f"{keyword} is required and left out: without it, do not ask for what it does")
    left = list(extensions)
    while left_over := [e for e in left if e.keyword in gone or e.requires & gone]:
        gone |= {e.keyword for e in left_over}
        left = [e for e in left if e not in left_over]
    return left


def client_security(tls: ssl.SSLContext | None, require_tls: bool, user: str, password: str, insecure_auth: bool,
                    mechanisms: Iterable[Mechanism] | None = None, token: Token = "") -> list[Extension]:
    """STARTTLS and AUTH for a client; ValueError for a user who has no password or token, or two, or the reverse."""
    if bool(user) != bool(password or token):
        raise ValueError(f"user and password go together: there is no {'password' if user else 'user'}")
    if password and token:
        raise ValueError("a password and a token: leave one of them out")
    asked = starttls_with(tls, require_tls)
    if user:
        from smtp_from_scratch.smtp.logins import client_auth

        asked.append(client_auth(user, password, token, insecure_auth, mechanisms))
    return asked


def starttls_with(tls: ssl.SSLContext | None, required: bool) -> list[Extension]:
    """STARTTLS, if there is a context for it."""
    if not tls:
        return []
    from smtp_from_scratch.starttls import StartTLS

    return [StartTLS(tls, required)]


def server_security(tls: ssl.SSLContext | None, require_tls: bool, users: Users | None, require_auth: bool,
                    insecure_auth: bool) -> list[Extension]:
    """STARTTLS and AUTH for a server; ValueError for rules about what is not there."""
    check_tls(tls)
    if require_tls and tls is None:
        raise ValueError("require_tls needs a context with a certificate: tls=…")
    if users is None and (require_auth or insecure_auth):
        raise ValueError(f"{'require_auth' if require_auth else 'insecure_auth'} is about users: say who they are by "
                         "users=…; an Auth(…) in extensions has arguments of its own")
    asked = starttls_with(tls, require_tls)
    if users is not None:
        check_users(users)
        from smtp_from_scratch.smtp.logins import server_auth

        asked.append(server_auth(users, require_auth, insecure_auth))
    return asked


def check_tls(tls: ssl.SSLContext | None) -> None:
    """ValueError for what is no server's context."""
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise ValueError(f"tls is a context with a certificate, as server_context(…) makes it, not {tls!r}")
    if tls is not None and tls.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError("tls is a client's context: server_context(…) makes one with a certificate")


def check_users(users: Users) -> None:
    """ValueError for what is no store, TypeError for one that is async."""
    if not hasattr(users, "knows"):             # what it is instead may be passwords: it is not shown
        raise ValueError("users is a store, such as UserFile(…), or Passwords(…) in a test, and not a "
                         + type(users).__name__)
    for name in ("verify", "secret", "scram_keys", "verify_token"):
        if inspect.iscoroutinefunction(getattr(users, name, None)):
            raise TypeError(f"{name} is an async function, which nobody runs here: give users whose functions are "
                            "plain ones; they may block")


class Everything:
    """The default of `extensions`: all that can be had with the other arguments."""

    def __repr__(self) -> str:
        return "everything"


EVERYTHING = Everything()
Extensions = Iterable[Extension] | None | Everything


def joined(extensions: Extensions, everything: Callable[[], list[Extension]],
           asked: list[Extension]) -> list[Extension] | None:
    """The extensions, and what other arguments ask for; AUTH comes last, after STARTTLS. None as it came.

    ValueError for what is asked for twice, or asked of a session that knows no EHLO.
    """
    names = " and ".join(extension.keyword for extension in asked)
    if extensions is None:
        if asked:
            raise ValueError(f"extensions=None is SMTP as in 1982, without {names}: give a list, or leave it out")
        return None
    found = everything() if isinstance(extensions, Everything) else list(extensions)
    for extension in found:
        if not isinstance(extension, Extension):
            raise ValueError(f"extensions are objects, such as Pipelining(), and not {extension!r}")
    if twice := {e.keyword for e in found} & {e.keyword for e in asked}:
        raise ValueError(f"{' and '.join(sorted(twice))} is in extensions, and is asked for by another argument: "
                         "say it in one of these places")
    return sorted([*found, *asked], key=lambda extension: extension.keyword == "AUTH")

"""Who is sending? AUTH, and its mechanisms PLAIN, LOGIN and CRAM-MD5 (RFC 4954, 4616, 2195)."""
# Exported from notebooks/15_auth.ipynb; edit the notebook.

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from .client import SMTPNotSupportedError
from .conversation import FLUSH, Conversation, Interruption, Line, Work
from .ehlo import ExtendedSession, Extension, Parameter
from .passwords import Passwords as Passwords
from .passwords import Users as Users
from .passwords import sure
from .printable import logger
from .sasl import (
    AuthError,
    BadResponse,
    Cancelled,
    Examination,
    Mechanism,
    Responses,
    SMTPAuthenticationError,
    as_text,
    encode64,
    name_of,
    of_the_store,
)
from .saslprep import saslprep
from .session import Verb
from .throttle import Guesses, wait_for_turn
from .transaction import ClientSession, Plan, PlannedCommand
from .wire import COMMAND_LIMIT, CRLF, Command, LineTooLong, Reply, WireError
from .xtext import check_auth
from .xtext import decode_xtext as decode_xtext
from .xtext import encode_xtext as encode_xtext

__all__ = [
    "decode64", "Login", "read_plain", "Plain", "cram_md5", "fresh", "CramMd5", "MECHANISMS", "AUTH_LIMIT", "examine",
    "log", "MOST_FAILURES", "BEFORE_AUTH", "BETWEEN", "verdict", "auth", "Auth", "choose", "settle_auth", "exchange",
    "log_in",
]


# %% login
def decode64(text: str) -> bytes:
    """Octets that AUTH has written; ValueError for anything else (RFC 4954 §4)."""
    if len(text) % 4 or text.endswith("==="):  # Python puts up with more `=` than there can be
        raise ValueError("not base64: it comes in groups of four, the last of which may end with = or ==")
    return base64.b64decode(text, validate=True)


class Login(Mechanism):
    """LOGIN: user, then password, each when asked; never a standard, and everywhere."""

    name = "LOGIN"
    client_first = False
    turns = 2

    def examine(self, users: Users) -> Examination:
        typed = as_text((yield b"Username:"))
        password = as_text((yield b"Password:"))
        user = name_of(typed)
        right = password and (yield Work(lambda: sure(users.verify(user, password))))     # "" opens some stores
        if not right:
            raise AuthError("wrong")
        return user

    def respond(self, user: str, password: str) -> Responses:
        yield b""
        yield user.encode()
        yield password.encode()


# %% plain
def read_plain(response: bytes) -> tuple[str, str, str]:
    """As whom to act, the user, the password; BadResponse for what has another form (RFC 4616 §2)."""
    parts = response.split(b"\0")
    if len(parts) != 3 or not all(parts[1:]):
        raise BadResponse("PLAIN has three parts, of which the first may be empty")
    identity, user, password = map(as_text, parts)
    return identity, user, password


class Plain(Mechanism):
    """PLAIN: user and password, between NULs (RFC 4616)."""

    name = "PLAIN"

    def examine(self, users: Users) -> Examination:
        identity, typed, password = read_plain((yield b""))
        user = name_of(typed)
        right = yield Work(lambda: sure(users.verify(user, password)))
        if not right or (identity and name_of(identity) != user):
            raise AuthError("wrong")
        return user

    def respond(self, user: str, password: str) -> Responses:
        if "\0" in user + password or not user or not password:
            raise ValueError("user and password have at least one character, and no NUL")
        yield f"\0{user}\0{password}".encode()


# %% cram
def cram_md5(secret: str, challenge: bytes) -> str:
    """The digest that only those who know the secret can compute (RFC 2195 §2)."""
    return hmac.new(secret.encode(), challenge, hashlib.md5).hexdigest()


def fresh(hostname: str = "localhost") -> str:
    """A challenge that never was before: random digits, the time, a host, as in a message id (RFC 2195 §2)."""
    return f"<{secrets.randbits(63)}.{int(time.time())}@{hostname}>"


class CramMd5(Mechanism):
    """CRAM-MD5: the password never travels, but the server must keep it as it is (RFC 2195). History."""

    name = "CRAM-MD5"
    needs = "secret"
    client_first = takes_initial = False

    def __init__(self, challenge: Callable[[], str] = fresh) -> None:
        self._challenge = challenge

    def examine(self, users: Users) -> Examination:
        challenge = self._challenge().encode()
        typed, _, digest = as_text((yield challenge)).rpartition(" ")
        user = name_of(typed)
        secret = yield Work(lambda: users.secret(user))
        right = cram_md5(secret or "", challenge)
        if not hmac.compare_digest(right.encode(), digest.encode()) or secret is None:
            raise AuthError("wrong")
        return user

    def respond(self, user: str, password: str) -> Responses:
        secret = saslprep(password)            # both ends compute on the same octets
        challenge = yield b""
        yield f"{user} {cram_md5(secret, challenge or b'')}".encode()


MECHANISMS: tuple[Mechanism, ...] = (Plain(), Login(), CramMd5())


# %% examine
AUTH_LIMIT = 12_288                            # octets of a line of AUTH, CR LF included (RFC 4954 §4)


def examine(mechanism: Mechanism, users: Users, initial: bytes | None) -> Conversation[str]:
    """Put a client through an examination, and return who it is; AuthError, ValueError for bad base64."""
    exam = mechanism.examine(users)
    said: Any = next(exam)
    while True:
        if isinstance(said, Work):
            answer = yield of_the_store(said)
        elif initial is not None:
            answer, initial = initial, None
        else:
            yield f"334 {encode64(said)}".encode() + CRLF       # its blank even before nothing (RFC 4954 §8)
            yield FLUSH
            line = yield Line(AUTH_LIMIT)
            if line == b"*": exam.throw(Cancelled)     # comes back out, or as another AuthError
            answer = decode64(line.decode("latin-1"))
        try:
            said = exam.send(answer)
        except StopIteration as end:
            return saslprep(str(end.value))    # whatever the mechanism: one user has one name


# %% verdict
log = logger(__name__)
MOST_FAILURES = 3                              # wrong guesses; then the connection is closed (RFC 4954 §9)
BEFORE_AUTH = frozenset({"AUTH", "EHLO", "HELO", "STARTTLS", "NOOP", "RSET", "QUIT", "HELP"})
BETWEEN = {"start": "start", "ready": "ready"}         # messages, and not within one (RFC 4954 §4)


def verdict(guesses: Guesses, session: ExtendedSession, error: Exception) -> Reply:
    """The reply to an examination that failed (RFC 4954 §4, §6); it never says what was wrong with it."""
    wrong = isinstance(error, AuthError) and not isinstance(error, BadResponse | Cancelled)
    if not wrong: guesses.take_back(session.peer)          # `wait_for_turn`, below, has counted it
    if isinstance(error, WireError) and error.hopeless: return session.closing(f"gives up: {error}", "4.5.0")
    if isinstance(error, WireError):
        return Reply(500, str(error), "5.5.6" if isinstance(error, LineTooLong) else "5.5.2")
    if isinstance(error, Cancelled): return Reply(501, "as you like", "5.7.0")
    if isinstance(error, ValueError | BadResponse):
        return Reply(501, "I cannot read that", "5.5.2")
    if not wrong:
        log.error("%s: the examination failed", session.peer, exc_info=error)
        return Reply(454, "something is broken here; please try again later", "4.7.0")
    session.counts["AUTH"] += 1                # not in `notes`: STARTTLS makes a session forget those
    log.info("%s: wrong user or password, %d times", session.peer or "client", session.counts["AUTH"])
    if session.counts["AUTH"] >= MOST_FAILURES:
        session.state = "closed"
        return Reply(421, "too many wrong guesses, closing the connection", "4.7.0")
    return Reply(535, "wrong user or password", "5.7.8")


# %% auth-verb
def auth(extension: Auth, session: ExtendedSession, argument: str) -> Conversation[Reply | None]:
    """AUTH: which mechanism, perhaps an initial response, then the examination (RFC 4954 §4)."""
    name, _, initial = argument.partition(" ")
    mechanism = {m.name: m for m in extension.possible}.get(name.upper())
    if not session.secure and not extension.insecure:
        return Reply(538, "not in the clear: say STARTTLS first", "5.7.11")
    if session.user or not session.extended:
        return Reply(503, "you have proved who you are" if session.user else "say EHLO first", "5.5.1")
    if mechanism is None or extension.users is None:
        return Reply(504 if name else 501, "no such mechanism here", "5.5.4")
    if initial and not mechanism.takes_initial:
        return Reply(501, f"in {mechanism.name} the server begins", "5.7.0")
    if refusal := (yield from wait_for_turn(extension.guesses, session.peer)):
        return refusal
    try:
        first = decode64("" if initial == "=" else initial) if initial else None
        session.user = yield from examine(mechanism, extension.users, first)
    except Interruption:
        raise
    except Exception as error:
        return verdict(extension.guesses, session, error)
    extension.guesses.take_back(session.peer)  # it was right
    return Reply(235, "welcome", "2.7.0")


# %% auth
class Auth(Extension):
    """AUTH: the client proves who it is (RFC 4954).

    Server: `users` is a store; `required` refuses strangers' mail (530); `insecure` offers AUTH without TLS.
    Client: the first of `mechanisms` offered; in the clear none that tells the password, unless `insecure`.
    """

    keyword = "AUTH"

    def __init__(self, users: Users | None = None, *, user: str = "", password: str = "",
                 required: bool = False, insecure: bool = False,
                 mechanisms: Iterable[Mechanism] = MECHANISMS, guesses: Guesses | None = None) -> None:
        self.users, self.required, self.insecure, self.mechanisms = users, required, insecure, tuple(mechanisms)
        self.possible = [m for m in self.mechanisms if users is not None and m.needs in users.knows]
        self.guesses, self._user, self._password = guesses or Guesses(), user, password

    def advertise(self, session: ExtendedSession) -> str | None:
        offered = self.possible and (session.secure or self.insecure)
        return " ".join([self.keyword, *(m.name for m in self.possible)]) if offered else None

    def verbs(self) -> Mapping[str, Verb]:
        return {"AUTH": Verb(partial(auth, self), BETWEEN, "AUTH MECHANISM", now=True, limit=AUTH_LIMIT)}

    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        return {"MAIL": {"AUTH": Parameter(check_auth, octets=500)}}       # §3 (6)

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """530 for strangers (RFC 4954 §6)."""
        stranger = self.required and not session.user and command.verb not in BEFORE_AUTH
        return Reply(530, "prove who you are first: AUTH", "5.7.0") if stranger else None

    def after_hello(self, client: ClientSession) -> Conversation[None]:
        """Prove who we are, if we were told."""
        if self._user and not client.user:
            yield from log_in(client, self._user, self._password, self.mechanisms, self.insecure)

    def plan(self, plan: Plan) -> None:
        """Pass on who submitted the message, where somebody said so (RFC 4954 §5)."""
        if value := plan.message.envelope.parameters.get("AUTH"):
            plan.mail.parameters["AUTH"] = value


# %% choose
def choose(client: ClientSession, mechanisms: Iterable[Mechanism], insecure: bool) -> Mechanism:
    """The first mechanism that the server offers and the line is fit for; SMTPNotSupportedError if none is."""
    offered = client.offered.get("AUTH", "").upper().split()
    common = [m for m in mechanisms if m.name in offered]
    for mechanism in common:
        if client.secure or insecure or not mechanism.clear:
            return mechanism
    if common:
        raise SMTPNotSupportedError("the line is not sealed: from what we would say, anybody on the way could "
                                    "learn or guess the password")
    raise SMTPNotSupportedError(f"the server offers no AUTH that we know: {' '.join(offered) or 'none at all'}")


def settle_auth(client: ClientSession, talk: Responses, user: str, reply: Reply) -> None:
    """235, and nothing left to prove: we are known. Anything else raises SMTPAuthenticationError."""
    if reply.code != 235:
        raise SMTPAuthenticationError(reply, "AUTH")
    try:
        talk.send(None)
        raise SMTPAuthenticationError(reply, "the server was content too early")
    except StopIteration:
        client.user = user
    except AuthError as error:
        raise SMTPAuthenticationError(reply, str(error)) from None


# %% exchange
def exchange(client: ClientSession, talk: Responses, reply: Reply, first: bytes | None) -> Conversation[Reply]:
    """Answer challenges until the server has decided; `*` when it asks what makes no sense (RFC 4954 §4)."""
    while reply.code == 334:
        try:
            challenge = decode64(reply.text)
            response, first = (talk.send(challenge) if first is None else first), None
        except (ValueError, AuthError, StopIteration) as error:
            yield b"*" + CRLF
            reply = yield from client.read(300.0)
            raise SMTPAuthenticationError(reply, f"gave up: {str(error) or 'one challenge too many'}") from None
        yield encode64(response).encode() + CRLF
        reply = yield from client.read(300.0)
    return reply


# %% log-in-by
def log_in_by(mechanism: Mechanism, client: ClientSession, user: str, password: str,
              pipelined: bool = True) -> Conversation[None]:
    """Prove who we are by this mechanism; an empty challenge gets the initial response, even a second time."""
    talk = mechanism.respond(user, password)
    first, argument = next(talk), mechanism.name
    told = mechanism.client_first and len(f"AUTH {argument} {encode64(first)}") + 2 <= COMMAND_LIMIT    # §4
    if told: argument += f" {encode64(first) or '='}"
    single = told and mechanism.turns == 1
    settle = partial(settle_auth, client, talk, user)
    if single and pipelined and client.uses("PIPELINING"):     # it rides along with what follows
        yield from client.send(PlannedCommand("AUTH", argument, may_fly=True, settle=settle))
    else:
        reply = yield from client.command("AUTH", argument)
        held = first if mechanism.client_first and not (told and reply.text) else None    # for an empty 334
        settle((yield from exchange(client, talk, reply, held)))


# %% log-in
def log_in(client: ClientSession, user: str, password: str, mechanisms: Iterable[Mechanism] = MECHANISMS,
           insecure: bool = False, pipelined: bool = True) -> Conversation[str]:
    """Prove who we are, and return by which mechanism; raises SMTPAuthenticationError, SMTPNotSupportedError.

    Where a mechanism is not wanted after all, 504 or 534, the next one is tried (RFC 4954 §6). But if
    `pipelined`, one in which we speak once rides along with what follows: its error comes with the reply.
    """
    left, refusal = list(mechanisms), None
    while True:
        try:
            mechanism = choose(client, left, insecure)
        except SMTPNotSupportedError as error:
            raise refusal or error from None
        left.remove(mechanism)
        try:
            yield from log_in_by(mechanism, client, user, password, pipelined)
            return mechanism.name
        except SMTPAuthenticationError as error:
            if error.reply.code not in (504, 534):
                raise
            refusal = error

"""Who is sending? AUTH, and its mechanisms PLAIN, LOGIN and CRAM-MD5 (RFC 4954, 4616, 2195)."""
# Exported from notebooks/12_auth.ipynb; edit the notebook.

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import stringprep
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar
from unicodedata import ucd_3_2_0

from .client import SMTPNotSupportedError, SMTPResponseException, leaving
from .conversation import FLUSH, Conversation, Interruption, Line, Work
from .ehlo import ClientSession, ExtendedSession, Extension, Letter, Parameter, Step, decode_xtext, next_reply, say
from .session import Verb
from .wire import COMMAND_LIMIT, CRLF, Command, LineTooLong, Reply, WireError, logger

__all__ = [
    "AUTH_LIMIT", "encode64", "decode64", "AuthError", "BadResponse", "Examination", "Responses", "Mechanism",
    "PROHIBITED", "saslprep", "T", "by_name", "name_of", "Users", "Passwords", "Login", "as_text", "Plain", "cram_md5",
    "fresh", "CramMd5", "Cancelled", "examine", "log", "MOST_FAILURES", "MECHANISMS", "BEFORE_AUTH", "place_of",
    "Guesses", "auth", "auth_parameter", "Auth", "SMTPAuthenticationError", "choose", "log_in", "log_in_by", "AuthStep",
]


# %% base64
AUTH_LIMIT = 12_288                            # octets of a line of AUTH, CR LF included (RFC 4954 §4)


def encode64(octets: bytes) -> str:
    """Octets as AUTH writes them."""
    return base64.b64encode(octets).decode()


def decode64(text: str) -> bytes:
    """Octets that AUTH has written; ValueError for anything else (RFC 4954 §4)."""
    if len(text) % 4 or text.endswith("==="):  # Python puts up with more `=` than there can be
        raise ValueError("not base64: it comes in groups of four, the last of which may end with = or ==")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


# %% mechanism
class AuthError(Exception):
    """The exchange failed; the text is for the log, never for the other end."""


class BadResponse(AuthError):
    """What the client said is not of the mechanism's form."""


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


# %% saslprep
PROHIBITED = {                                 # RFC 4013 §2.3
    stringprep.in_table_c21_c22: "a control character", stringprep.in_table_c3: "a private character",
    stringprep.in_table_c4: "what is no character", stringprep.in_table_c5: "half a surrogate pair",
    stringprep.in_table_c6: "a stand-in for what cannot be shown", stringprep.in_table_c7: "a description of a glyph",
    stringprep.in_table_c8: "a character that changes how others are shown", stringprep.in_table_c9: "a tag"}


def saslprep(text: str, stored: bool = False) -> str:
    """One spelling of a name or password, however it was typed; ValueError for what may not be in it (RFC 4013).

    `stored`: characters that Unicode 3.2 did not have are refused; a password is such a string (RFC 5802 §2.2).
    """
    spaced = (" " if stringprep.in_table_c12(c) else c for c in text)
    normal = ucd_3_2_0.normalize("NFKC", "".join(c for c in spaced if not stringprep.in_table_b1(c)))
    if not normal:
        raise ValueError("a name or a password has at least one character")
    for prohibited, what in PROHIBITED.items():
        if any(map(prohibited, normal)):
            raise ValueError(f"a name or a password may not have {what} in it (RFC 4013 §2.3)")
    if stored and any(map(stringprep.in_table_a1, normal)):
        raise ValueError("a password may not have a character newer than Unicode 3.2 in it (RFC 5802 §2.2)")
    check_direction(normal)
    return normal


# %% direction
def check_direction(text: str) -> None:
    """ValueError for text that runs from right to left in parts (RFC 4013 §2.4, RFC 3454 §6)."""
    to_the_left = [stringprep.in_table_d1(c) for c in text]
    if any(to_the_left):
        if any(map(stringprep.in_table_d2, text)) or not (to_the_left[0] and to_the_left[-1]):
            raise ValueError("a name or a password runs from right to left as a whole, or not at all (RFC 4013 §2.4)")


# %% by-name
T = TypeVar("T")


def by_name(users: Mapping[str, T]) -> dict[str, T]:
    """The same by prepared name; ValueError for a name that is refused, or stands there in two spellings."""
    prepared: dict[str, T] = {}
    for user, what in users.items():
        name = saslprep(user)
        if name in prepared:
            raise ValueError(f"{name!r} is there twice, in two spellings: one user has one line")
        prepared[name] = what
    return prepared


def name_of(text: str) -> str:
    """A user's name in its one spelling; AuthError for what nobody can be called (RFC 4616 §2)."""
    try:
        return saslprep(text)
    except ValueError:
        raise AuthError("nobody has such a name") from None


# %% store
class Users(Protocol):
    """Where a server looks users up, by prepared names. `knows`: what it can tell: "verify", "secret", "scram_keys"."""

    knows: frozenset[str]

    def verify(self, user: str, password: str) -> bool: ...
    def secret(self, user: str) -> str | None: ...
    def scram_keys(self, user: str) -> Any | None: ...


class Passwords:
    """Users and their passwords in memory: for tests, and for this chapter. ValueError for what SASLprep refuses."""

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
        """None: chapter 13 has a store with keys."""
        return None

    def __repr__(self) -> str:
        return f"<Passwords of {len(self._passwords)}>"


# %% login
class Login(Mechanism):
    """LOGIN: user, then password, each when asked; never a standard, and everywhere."""

    name = "LOGIN"
    client_first = False
    turns = 2

    def examine(self, users: Users) -> Examination:
        typed = as_text((yield b"Username:"))
        password = as_text((yield b"Password:"))
        user = name_of(typed)
        right = yield Work(lambda: users.verify(user, password))
        if not right:
            raise AuthError("wrong")
        return user

    def respond(self, user: str, password: str) -> Responses:
        yield b""
        yield user.encode()
        yield password.encode()


def as_text(octets: bytes) -> str:
    """UTF-8 as text; BadResponse for anything else."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise BadResponse("not UTF-8") from None


# %% plain
class Plain(Mechanism):
    """PLAIN: user and password, between NULs (RFC 4616)."""

    name = "PLAIN"

    def examine(self, users: Users) -> Examination:
        parts = (yield b"").split(b"\0")
        if len(parts) != 3 or not all(parts[1:]):
            raise BadResponse("PLAIN has three parts, of which the first may be empty")
        identity, typed, password = map(as_text, parts)
        user = name_of(typed)
        right = yield Work(lambda: users.verify(user, password))
        if not right or (identity and name_of(identity) != user):
            raise AuthError("wrong")
        return user

    def respond(self, user: str, password: str) -> Responses:
        if "\0" in user + password or not user or not password:
            raise ValueError("user and password have at least one character, and no NUL")
        yield f"\0{user}\0{password}".encode()


# %% cram
def cram_md5(secret: str, challenge: bytes) -> str:
    """The digest that only who knows the secret can compute (RFC 2195 §2)."""
    return hmac.new(secret.encode(), challenge, hashlib.md5).hexdigest()


def fresh(hostname: str = "localhost") -> str:
    """A challenge that never was before: random digits, the time, a host, as in a message id (RFC 2195 §2)."""
    return f"<{secrets.randbits(63)}.{int(time.time())}@{hostname}>"


# %% cram-md5
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


# %% examine
class Cancelled(AuthError):
    """The client said `*` (RFC 4954 §4)."""


def examine(mechanism: Mechanism, users: Users, initial: bytes | None) -> Conversation[str]:
    """Put a client through an examination, and return who it is; raises AuthError, ValueError for bad base64."""
    exam = mechanism.examine(users)
    said: Any = next(exam)
    while True:
        if isinstance(said, Work):
            answer = yield said
        elif initial is not None:
            answer, initial = initial, None
        else:
            yield f"334 {encode64(said)}".encode() + CRLF       # its blank even before nothing (RFC 4954 §8)
            yield FLUSH
            line = yield Line(AUTH_LIMIT)
            if line == b"*":
                raise Cancelled
            answer = decode64(line.decode("latin-1"))
        try:
            said = exam.send(answer)
        except StopIteration as end:
            return saslprep(str(end.value))    # whatever the mechanism: one user has one name


# %% auth-settings
log = logger(__name__)
MOST_FAILURES = 3                              # wrong guesses; then the connection is closed (RFC 4954 §9)
MECHANISMS: tuple[Mechanism, ...] = (Plain(), Login(), CramMd5())
BEFORE_AUTH = frozenset({"AUTH", "EHLO", "HELO", "STARTTLS", "NOOP", "RSET", "QUIT", "HELP"})


# %% verdict
def verdict(guesses: Guesses, session: ExtendedSession, error: Exception) -> Reply:
    """The reply to an examination that failed (RFC 4954 §4, §6); it never says what was wrong with it."""
    if isinstance(error, WireError):
        return Reply(500, str(error), "5.5.6" if isinstance(error, LineTooLong) else "5.5.2")
    if isinstance(error, Cancelled):
        return Reply(501, "as you like", "5.7.0")
    if isinstance(error, ValueError | BadResponse):
        return Reply(501, "I cannot read that", "5.5.2")
    if not isinstance(error, AuthError):
        log.error("%s: the examination failed", session.peer, exc_info=error)
        return Reply(454, "something is broken here; please try again later", "4.7.0")
    guesses.note(session.peer)
    failures = session.notes["AUTH"] = session.notes.get("AUTH", 0) + 1
    log.info("%s: wrong user or password, %d times", session.peer or "client", failures)
    if failures >= MOST_FAILURES:
        session.state = "closed"
        return Reply(421, "too many wrong guesses, closing the connection", "4.7.0")
    return Reply(535, "wrong user or password", "5.7.8")


# %% place-of
def place_of(address: str) -> str:
    """Where a guesser sits: an IPv4 address, or the 64 bits that begin an IPv6 address; empty for a rehearsal."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> 64 << 64, 64)))


# %% guesses
class Guesses:
    """Wrong guesses by place, on however many connections: FREE cost nothing, then each must wait its turn."""

    FREE, PACE, LONGEST = 40, 3.0, 9.0         # guesses; seconds: until one is forgotten, and that one may wait
    PLACES = 10_000                            # how many are remembered

    def __init__(self, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._now, self.sleep, self._lock = now, sleep, threading.Lock()
        self._forgotten: dict[str, float] = {}         # when all of a place's guesses are; the latest place last

    def turn(self, address: str) -> float | None:
        """How many seconds a guess from this address must wait, in its place in the line; None: the line is full."""
        with self._lock:
            place = place_of(address)
            wait = self._forgotten.get(place, 0.0) - self._now() - (self.FREE - 1) * self.PACE
            if wait > self.LONGEST:
                return None
            if wait > 0:
                self._add(place)
            return max(0.0, wait)

    def note(self, address: str) -> None:
        """A guess from this address was wrong; from none, in a rehearsal, nobody is slowed."""
        if place := place_of(address):
            with self._lock:
                self._add(place)

    def _add(self, place: str) -> None:
        now = self._now()
        due = max(now, self._forgotten.pop(place, now)) + self.PACE
        self._forgotten[place] = min(due, now + self.FREE * self.PACE + self.LONGEST)
        if len(self._forgotten) > self.PLACES:
            del self._forgotten[next(iter(self._forgotten))]


# %% wait-for-turn
def wait_for_turn(guesses: Guesses, session: ExtendedSession) -> Conversation[Reply | None]:
    """Let a caller wait whose place has guessed wrong too often; 454 where too many wait already (RFC 4954 §6)."""
    wait = guesses.turn(session.peer)
    if wait is None:
        log.info("%s: too many wrong passwords from there", session.peer)
        return Reply(454, "too many wrong guesses from where you are; please try again later", "4.7.0")
    if wait:
        yield FLUSH
        yield Work(lambda: guesses.sleep(wait))
    return None


# %% auth-server
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
    if refusal := (yield from wait_for_turn(extension.guesses, session)):
        return refusal
    try:
        first = decode64("" if initial == "=" else initial) if initial else None
        session.user = yield from examine(mechanism, extension.users, first)
    except Interruption:
        raise
    except Exception as error:
        return verdict(extension.guesses, session, error)
    return Reply(235, "welcome", "2.7.0")


# %% auth-parameter
def auth_parameter(session: ExtendedSession, value: str | None) -> Reply | None:
    """MAIL … AUTH=who: `<>`, or a mailbox in xtext; noted, and believed of nobody (RFC 4954 §5)."""
    try:
        local, _, domain = decode_xtext(value or "").rpartition("@")
        if value != "<>" and not (local and domain):
            raise ValueError(value)
    except ValueError:
        return Reply(501, "AUTH= takes <>, or a mailbox in xtext", "5.5.4")
    return None


# %% auth
class Auth(Extension):
    """AUTH: the client proves who it is (RFC 4954).

    Server: `users` is a store; `required` refuses mail from strangers (530); `insecure` offers AUTH without TLS.
    Client: the first of `mechanisms` offered; on an open line nothing made of the password, unless `insecure`."""

    keyword = "AUTH"
    line_limits = {"AUTH": AUTH_LIMIT - 512, "MAIL": 500}      # RFC 4954 §4, §3 (6)

    def __init__(self, users: Users | None = None, *, user: str = "", password: str = "", required: bool = False,
                 insecure: bool = False, mechanisms: Iterable[Mechanism] = MECHANISMS,
                 guesses: Guesses | None = None) -> None:
        self.users, self.required, self.insecure, self.mechanisms = users, required, insecure, tuple(mechanisms)
        self.possible = [m for m in self.mechanisms if users is not None and m.needs in users.knows]
        self._user, self._password, self.guesses = user, password, guesses or Guesses()

    def advertise(self, session: ExtendedSession) -> str | None:
        offered = self.possible and (session.secure or self.insecure)
        return " ".join([self.keyword, *(m.name for m in self.possible)]) if offered else None

    def verbs(self) -> Mapping[str, Verb]:
        return {"AUTH": Verb(partial(auth, self), {"start": "start", "ready": "ready"}, "AUTH MECHANISM", now=True)}

    def mail_parameters(self) -> Mapping[str, Parameter]:
        return {"AUTH": auth_parameter}

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """530 for strangers (RFC 4954 §6)."""
        stranger = self.required and not session.user and command.verb not in BEFORE_AUTH
        return Reply(530, "prove who you are first: AUTH", "5.7.0") if stranger else None

    def after_hello(self, client: ClientSession) -> Conversation[None]:
        """Prove who we are, if we were told."""
        if self._user and not client.user:
            yield from log_in(client, self._user, self._password, self.mechanisms, self.insecure)

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:
        """Pass on who submitted the letter, where somebody said so (RFC 4954 §5)."""
        if value := letter.envelope.parameters.get("AUTH"):
            steps[0].parameters["AUTH"] = value


# %% choose
class SMTPAuthenticationError(SMTPResponseException):
    """The server did not believe us, or did not prove that it knows us."""


def choose(client: ClientSession, mechanisms: Iterable[Mechanism], insecure: bool) -> Mechanism:
    """The first mechanism that the server offers and the line is fit for; SMTPNotSupportedError if none is."""
    offered = client.offered.get("AUTH", "").upper().split()
    common = [m for m in mechanisms if m.name in offered]
    for mechanism in common:
        if client.secure or insecure or not mechanism.clear:
            return mechanism
    way = "; it offers STARTTLS: pass tls=True" if "STARTTLS" in client.offered and not client.secure else ""
    if common:
        raise SMTPNotSupportedError("the line is not sealed: from what we would say, anybody on the way could learn or "
                                    f"guess the password{way}")
    raise SMTPNotSupportedError(f"the server offers no AUTH that we know: {' '.join(offered) or 'none at all'}{way}")


# %% log-in
def log_in(client: ClientSession, user: str, password: str, mechanisms: Iterable[Mechanism] = MECHANISMS,
           insecure: bool = False) -> Conversation[None]:
    """Prove who we are; raises SMTPAuthenticationError or SMTPNotSupportedError.

    Where a mechanism is not wanted after all, 504 or 534, the next one is tried (RFC 4954 §6). One in which we speak
    once rides along with what follows: then the error comes with its reply.
    """
    left, refusal = list(mechanisms), None
    while True:
        try:
            mechanism = choose(client, left, insecure)
        except SMTPNotSupportedError as error:
            raise refusal or error from None
        left.remove(mechanism)
        try:
            return (yield from log_in_by(mechanism, client, user, password))
        except SMTPAuthenticationError as error:
            if error.reply.code not in (504, 534):
                raise
            refusal = error


# %% log-in-by
def log_in_by(mechanism: Mechanism, client: ClientSession, user: str, password: str) -> Conversation[None]:
    """Prove who we are by this mechanism."""
    talk = mechanism.respond(user, password)
    first, argument = next(talk), mechanism.name
    told = mechanism.client_first and len(f"AUTH {argument} {encode64(first)}") + 2 <= COMMAND_LIMIT    # §4
    if told:
        argument += f" {encode64(first) or '='}"
    single = told and mechanism.turns == 1
    step = AuthStep("AUTH", argument, last=not single, note=partial(note_auth, talk, user) if single else unjudged)
    yield from say(client, step)
    if not single:
        assert step.reply
        reply = yield from exchange(client, talk, step.reply, None if told or not mechanism.client_first else first)
        note_auth(talk, user, client, step, reply)


class AuthStep(Step):
    """A step that does not show its argument, in which a password may be."""

    def __repr__(self) -> str:
        return f"<AUTH, {self.reply or 'not answered yet'}>"


# %% exchange
def exchange(client: ClientSession, talk: Responses, reply: Reply, first: bytes | None) -> Conversation[Reply]:
    """Answer challenges until the server makes up its mind; `*` when it asks what makes no sense (RFC 4954 §4)."""
    while reply.code == 334:
        try:
            challenge = decode64(reply.text)
            response, first = (talk.send(challenge) if first is None else first), None
        except (ValueError, AuthError, StopIteration) as error:
            yield b"*" + CRLF
            reply = yield from next_reply(client)
            raise SMTPAuthenticationError(reply, f"gave up: {error or 'one challenge too many'}") from None
        yield encode64(response).encode() + CRLF
        reply = yield from next_reply(client)
    return reply


# %% note-auth
def note_auth(talk: Responses, user: str, client: ClientSession, step: Step, reply: Reply) -> None:
    """235, and nothing left to prove: we are known. Anything else raises."""
    if reply.code == 421:
        raise leaving(reply)
    if reply.code != 235:
        raise SMTPAuthenticationError(reply, "AUTH")
    try:
        talk.send(None)
    except StopIteration:
        client.user = user
    except AuthError as error:
        raise SMTPAuthenticationError(reply, str(error)) from None
    else:
        raise SMTPAuthenticationError(reply, "the server was content too early")


def unjudged(client: ClientSession, step: Step, reply: Reply) -> None:
    """The exchange is not over yet."""

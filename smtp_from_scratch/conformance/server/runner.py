"""Plays many dialogues at a server, several at once, each on a connection of its own, in bounded time and memory."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from smtp_from_scratch.conformance.notation import Dialogue, load
from smtp_from_scratch.conformance.server.doors import FREE, amount, commands, names, opened, under_tls, verbs
from smtp_from_scratch.conformance.server.gate import Gate
from smtp_from_scratch.conformance.server.player import LATE, ClientPart, Difference, NotReached
from smtp_from_scratch.conformance.values import UnknownValue, Values
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Interruption, read_reply
from smtp_from_scratch.starttls import TLSLayer, Upgrade, unverified
from smtp_from_scratch.transcript import Said
from smtp_from_scratch.wire import Reply, WireError

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
NO_CALL = "does not take this call"
GONE = "is gone: nobody answers its port any more"
EXCUSE = "refuses this message, as a submission server may (RFC 6409 §8)"
GAP = "…"
HIDDEN = "***"                                  # what stands for a password, and for what is made of it
SHORT = 4                                       # characters: a shorter password is in every second word by chance
KEPT = 1000                                     # entries at the beginning and at the end of a transcript that are kept


class Record:
    """A tap: what is said, its beginning and its end, whatever the length."""

    def __init__(self) -> None:
        self.head: list[Said] = []
        self.tail: deque[Said] = deque(maxlen=KEPT)
        self.left_out = 0

    def __call__(self, said: Said) -> None:
        if len(self.head) < KEPT:
            self.head.append(said)
        else:
            self.left_out += len(self.tail) == KEPT
            self.tail.append(said)

    @property
    def said(self) -> list[Said]:
        """What is kept; where something is left out, a record of the role GAP says how much."""
        gap = [self.tail[0]._replace(role=GAP, data=f"{self.left_out} pieces".encode())] if self.left_out else []
        return [*self.head, *gap, *self.tail]


@dataclass(slots=True)
class Outcome:
    """What came of one dialogue."""

    dialogue: Dialogue
    status: str
    reason: str = ""
    line: int = 0                               # of the dialogue's file, where it differed
    said: list[Said] = field(default_factory=list)


class Slow(TimeoutError):
    """The time that a dialogue may take was over before its end: we hung up, not the other end."""


class Calls:
    """Connections in hand: each ends when its time is over, or when all shall end."""

    def __init__(self) -> None:
        self.socks: set[socket.socket] = set()
        self.over = False

    @contextmanager
    def held(self, sock: socket.socket, limit: float) -> Iterator[None]:
        """One more, for so many seconds at most; raises Slow when they were not enough."""
        over = threading.Event()

        def end() -> None:
            over.set()
            cut_off(sock)

        timer = threading.Timer(limit, end)
        timer.daemon = True
        timer.start()
        self.socks.add(sock)
        try:
            if self.over:                       # it began meanwhile
                cut_off(sock)
            yield
        except Exception:
            if not over.is_set():
                raise
        finally:
            timer.cancel()
            self.socks.discard(sock)
        if over.is_set():
            raise Slow(f"this takes more than {limit:g} s")

    def end(self) -> None:
        """End all, and those that are about to begin."""
        self.over = True
        for sock in self.socks.copy():
            cut_off(sock)


@dataclass(slots=True)
class Target:
    """The server to examine, and what it has been prepared for. Nothing else is ever contacted."""

    host: str
    port: int
    recipient: str = "postmaster@example.org"
    refused: str = ""                           # a recipient that it refuses
    sender: str = "sender@example.org"
    user: str = ""
    password: str = ""
    context: ssl.SSLContext | None = None
    implicit_tls: bool = False                  # TLS before the greeting (RFC 8314 §3)
    submission: bool = False                    # takes messages from its users only (RFC 6409)
    lmtp: bool = False                          # speaks LMTP (RFC 2033)
    moment: float = 0.3                         # seconds of silence that count as silence
    patience: float = 10.0                      # seconds that a reply may take
    dialogue_limit: float = 60.0                # seconds that a dialogue may take
    wants_tls: bool = False                     # no MAIL without TLS; `scout` fills this and the next four
    all_under_tls: bool = False                 # without TLS no more than NOOP, EHLO, STARTTLS, QUIT (RFC 3207 §4)
    no_sender: str = ""                         # how the sender was refused, if it was
    no_recipient: str = ""                      # how the recipient was refused, if it was
    takes_refused: bool = False                 # who should be refused was not
    name: str = ""                              # what the server calls itself
    keywords: dict[str, str] = field(default_factory=dict)      # what EHLO offers; `probe` fills it
    secured: dict[str, str] = field(default_factory=dict)       # the same under TLS, where there is STARTTLS
    calls: Calls = field(default_factory=Calls)
    secrets: set[bytes] = field(default_factory=set)            # what was made of the password, as it travelled

    @property
    def size(self) -> int:
        """The limit that EHLO names; 0: none, or one that is no number (RFC 1870 §3: up to 20 digits)."""
        return int(self.keywords["SIZE"]) if re.fullmatch(r"\s*[0-9]{1,20}\s*", self.keywords.get("SIZE", "")) else 0

    def values(self) -> Values:
        """The names that dialogues use."""
        return Values({
            "client": "client.example", "sender": self.sender, "sender-domain": self.sender.rpartition("@")[2],
            "recipient": self.recipient, "refused": self.refused, "user": self.user, "password": self.password,
            "domain": self.recipient.rpartition("@")[2], "DOMAIN": self.recipient.rpartition("@")[2].upper(),
            "server": self.host, "size": str(self.size or ""), "nonce": secrets.token_urlsafe(18),
            "header": f"From: <{self.sender}>\r\nDate: {formatdate()}\r\n",
        })

    def gone(self) -> str:
        """Why no connection to the server can be made, or an empty text."""
        try:
            socket.create_connection((self.host, self.port), self.patience).close()
        except OSError as error:
            return str(error) or type(error).__name__
        return ""

    @contextmanager
    def line(self, tap: Callable[[Said], None] | None = None) -> Iterator[Connection]:
        """A connection that ends, whatever the server does, when its time is over."""
        with socket.create_connection((self.host, self.port), self.patience) as sock, self.calls.held(
                sock, self.dialogue_limit):
            connection = Connection(sock, "C", tap)
            if self.implicit_tls: connection.play(shake_hands(self))
            yield connection


def cut_off(sock: socket.socket) -> None:
    """End a connection that another thread waits on."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def all_dialogues() -> list[Dialogue]:
    """Every dialogue that ships with the package."""
    folder = Path(str(files("smtp_from_scratch.conformance"))) / "dialogues"
    return [dialogue for path in sorted(folder.glob("*.txt")) for dialogue in load(path)]


def shake_hands(target: Target) -> Conversation[None]:
    """TLS, from here on; raises an OSError, Timeout or Disconnected."""
    yield Upgrade(TLSLayer(target.context or unverified(), target.host), target.patience)


def probe(target: Target) -> None:
    """Ask the server once what it offers; raises OSError when there is none, WireError when it is no SMTP."""
    with target.line() as connection:
        connection.play(inquire(target))


def inquire(target: Target) -> Conversation[None]:
    """What `probe` says, from the greeting on; it notes the answers in the target."""
    greeting = yield from read_reply(target.patience)
    if greeting.code != 220:
        raise WireError(f"the server greets with {greeting}")
    target.name = greeting.text.partition(" ")[0]
    target.keywords = yield from hello(target)
    target.secured = {word: rest for word, rest in target.keywords.items() if word != "STARTTLS"}
    if "STARTTLS" in target.keywords:
        with suppress(OSError, Interruption, WireError):        # the dialogues of RFC 3207 will tell
            yield b"STARTTLS\r\n"
            if (yield from read_reply(target.patience)).code == 220:
                yield from shake_hands(target)
                target.secured = yield from hello(target)
    yield b"QUIT\r\n"


def hello(target: Target) -> Conversation[dict[str, str]]:
    """EHLO or LHLO, and what is offered."""
    verb = "LHLO" if target.lmtp else "EHLO"
    yield f"{verb} client.example\r\n".encode()
    offer = yield from read_reply(target.patience)
    target.name = offer.text.split()[0] if offer.positive and offer.text.split() else target.name
    lines = [verb, *offer.lines[1:]] if offer.positive else []
    return {word.upper(): rest for word, _, rest in (line.partition(" ") for line in lines)}


def ask(target: Target, commands: list[str], sealed: bool | None = None) -> list[Reply]:
    """The replies to some commands, up to the first refusal, in a session of their own as dialogues have it."""
    with target.line() as connection:
        return connection.play(session(target, commands, target.wants_tls if sealed is None else sealed))


def session(target: Target, commands: list[str], sealed: bool) -> Conversation[list[Reply]]:
    """The greeting, EHLO, the doors, the commands."""
    replies = []
    yield from read_reply(target.patience)
    yield from hello(target)
    if not target.keywords:                     # a server of 1982
        yield b"HELO client.example\r\n"
        yield from read_reply(target.patience)
    if (sealed or target.submission) and "STARTTLS" in target.keywords:
        yield b"STARTTLS\r\n"
        yield from read_reply(target.patience)
        yield from shake_hands(target)
        yield from hello(target)
    if target.submission and target.user:
        values = target.values()
        yield b"AUTH PLAIN " + values.expand("{plain}")[0] + b"\r\n"
        target.secrets |= values.secrets
        yield from read_reply(target.patience)
    for command in commands:
        yield command.encode() + b"\r\n"
        replies.append((yield from read_reply(target.patience)))
        if not replies[-1].positive:
            break
    yield b"QUIT\r\n"
    return replies


def puts_off(target: Target) -> bool:
    """Whether it would rather not take an ordinary sender and recipient now: another 4yz of it proves nothing then."""
    try:
        replies = ask(target, [f"MAIL FROM:<{target.sender}>", f"RCPT TO:<{target.recipient}>"])
    except (OSError, Interruption, ValueError):
        return False
    return bool(replies) and replies[-1].temporary


def obstacle(dialogue: Dialogue, target: Target) -> str:
    """Why a dialogue cannot be played at this server, or an empty text."""
    behind = guarded(dialogue, target)
    if behind and (reason := closed_door(dialogue, target)):
        return reason
    for need in dialogue.needs:
        if reason := lacking(need, target, under_tls=behind or "tls" in dialogue.setup):
            return reason
    if target.lmtp != ("lmtp" in dialogue.setup):
        return "is for SMTP, and this is LMTP" if target.lmtp else "is for an LMTP server (--lmtp)"
    for setup in dialogue.setup:
        if reason := unprepared(setup, target, "submission" in dialogue.setup):
            return reason
    if target.size and "CHUNKING" in dialogue.needs and "size" not in dialogue.setup and (
            amount(dialogue.steps) > target.size):
        return "has a smaller size limit than this message needs"
    said = names(dialogue.steps)
    if target.no_sender and "MAIL" in verbs(dialogue.steps):
        return f"refuses the sender {target.sender} ({target.no_sender}): --sender says another"
    if target.no_recipient and "to" in said and said & {"recipient", "domain", "DOMAIN"}:
        if target.no_recipient.startswith("4"):
            return f"puts {target.recipient} off ({target.no_recipient}): later it may not, nor another (--recipient)"
        return f"refuses {target.recipient} ({target.no_recipient}): --recipient says who has a mailbox"
    if target.lmtp and {"recipient", "postmaster"} <= said and target.recipient.lower().startswith("postmaster@"):
        return "needs a second recipient: --recipient says another than postmaster"
    return ""


def unprepared(setup: str, target: Target, for_users: bool) -> str:
    """Why the server does not have, or is not, what a word of `setup:` says, or an empty text.

    `for_users`: in a dialogue with a server whose users may send to everybody.
    """
    if setup == "user" and not target.user:
        return "needs --user and --password-file"
    if setup == "refused" and not target.refused:
        return "needs --refused-recipient"
    if setup == "refused" and target.takes_refused and not for_users:
        return f"takes {target.refused}, whom it should refuse: --refused-recipient says another"
    if setup == "size" and not target.size:
        return "has no size limit"
    if setup == "size" and target.size > 50_000_000:
        return "has a size limit above 50 MB"
    if setup == "submission" and not target.submission:
        return "is for a submission server (--submission)"
    if setup == "implicit" and not target.implicit_tls:
        return "is for a server with implicit TLS (--implicit-tls)"
    return ""


def guarded(dialogue: Dialogue, target: Target) -> bool:
    """Whether a dialogue meets a door: this server wants TLS, or a login, before what it says."""
    if "submission" in dialogue.setup:
        return False
    if target.all_under_tls and not set(commands(dialogue.steps)) <= FREE and not under_tls(dialogue.steps):
        return True
    return (target.submission or target.wants_tls) and next(verbs(dialogue.steps), "AUTH") != "AUTH"


def closed_door(dialogue: Dialogue, target: Target) -> str:
    """Why a dialogue cannot pass the door that it meets, or an empty text."""
    if target.submission and not target.user:
        return "takes messages from its users only: --user and --password-file log in"
    if target.submission and lacking("AUTH=PLAIN", target, under_tls=True):
        return "wants a login, and offers no AUTH PLAIN"
    if opened(dialogue, target.submission) is None:
        return f"wants {'a login' if target.submission else 'TLS'} first, and this dialogue has no place for it"
    return ""


def lacking(need: str, target: Target, under_tls: bool) -> str:
    """What a server does not offer of `SIZE`, `AUTH=PLAIN`, or offers in spite of `!SIZE`; "EHLO": it knows EHLO."""
    keyword, _, word = need.lstrip("!").partition("=")
    offered = target.secured if under_tls and keyword not in ("EHLO", "STARTTLS") else target.keywords
    offers = keyword in offered and (not word or word in offered[keyword].upper().split())
    if need.startswith("!"):
        return f"offers {keyword} {word}".rstrip() if offers else ""
    return "" if offers else f"does not offer {keyword} {word}".rstrip()


def part_for(dialogue: Dialogue, target: Target) -> ClientPart:
    """The client's part of a dialogue, with what must be said first at this server."""
    played = opened(dialogue, target.submission) if guarded(dialogue, target) else dialogue
    return ClientPart(played or dialogue, target.values(), target.moment, target.patience, target.context)


def excused(part: ClientPart, target: Target, difference: Difference) -> bool:
    """Whether a message that a relay must take was refused by a server for users, which may want more of it."""
    user = target.submission and "submission" not in part.dialogue.setup
    return user and part.sent and difference.got.startswith("5")


def play(dialogue: Dialogue, target: Target) -> Outcome:
    """One dialogue, on a connection of its own. Never raises, and shows nothing that is made of the password.

    What was made of it is noted in `target.secrets`.
    """
    if dialogue.end != "server":
        return Outcome(dialogue, SKIPPED, "examines a client")
    if reason := obstacle(dialogue, target):
        return Outcome(dialogue, SKIPPED, reason)
    player = part_for(dialogue, target)
    outcome = judged(dialogue, player, target)
    secrets = player.values.secrets | ({target.password.encode()} if len(target.password) >= SHORT else set())
    outcome.said = list(without(secrets, outcome.said))
    outcome.reason = masked(outcome.reason, secrets)
    target.secrets |= secrets
    return outcome


def masked(text: str, secrets: Collection[bytes]) -> str:
    """A text with HIDDEN where a secret stands."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret.decode(), HIDDEN)
    return text


def judged(dialogue: Dialogue, player: ClientPart, target: Target) -> Outcome:
    """What comes of a dialogue when it is played, with all that was said."""
    record = Record()
    status, reason, line = PASSED, "", 0
    try:
        with target.line(record) as connection:
            connection.play(player.conversation())
    except Slow as slow:
        status, reason = SKIPPED, f"is slow: {slow}"
    except Difference as difference:
        line = difference.line
        if why := no_proof(player, target, difference, record.said):
            status, reason = SKIPPED, why
        else:
            status, reason = verdict(dialogue, difference)
        if LATE in reason:
            reason += ": --patience gives it more time"
    except UnknownValue as error:
        status, reason = FAILED, f"{dialogue.source}: {error}"
    except (OSError, ValueError, Interruption) as error:
        why = str(error) or type(error).__name__
        if not heard(record.said):
            status, reason = SKIPPED, f"{NO_CALL} ({why})"
        elif target.gone():
            status, reason = SKIPPED, GONE
        else:
            status, reason = FAILED, f"the connection failed: {why}"
    return Outcome(dialogue, status, reason, line, record.said)


def heard(said: Iterable[Said]) -> bool:
    """Whether the server said anything."""
    return any(record.role == "S" for record in said)


def no_proof(part: ClientPart, target: Target, difference: Difference, said: list[Said]) -> str:
    """Why a difference says nothing about the rule of its dialogue; empty where it does."""
    code = difference.surprise
    if not heard(said):
        return f"{NO_CALL} ({difference.got})"
    if code[:1] in ("4", "5") and all(record.role == "S" for record in said):
        return f"{NO_CALL} ({code})"
    if code == "421" and difference.expected != "closed":               # RFC 5321 §3.8, §4.2.3: at any time
        return "says 421, and ends the session"
    if excused(part, target, difference):
        return EXCUSE
    if isinstance(difference, NotReached):
        return difference.reason
    again = part.said.upper() == "RCPT" and part.values.numbers.get("n", 0) > 1         # the same was taken before
    if code[:1] == "4" and difference.wants_success and not again:          # RFC 5321 §4.2.1: it may do later
        return f"says {code}: not now"
    if code[:1] == "4" and part.said.upper() in ("MAIL", "RCPT", "DATA") and puts_off(target):
        return f"says {code}, and so to any recipient: not now"
    return GONE if not difference.got[:3].isdigit() and target.gone() else ""


def without(secrets: Collection[bytes], said: Iterable[Said]) -> Iterator[Said]:
    """The same records, with HIDDEN where a secret was said, in one piece or in several."""
    for _, records in groupby(said, lambda record: record.role):
        turn = list(records)
        whole = b"".join(record.data for record in turn)
        if any(secret in whole for secret in secrets):
            for secret in sorted(secrets, key=len, reverse=True):
                whole = whole.replace(secret, HIDDEN.encode())
            turn = [turn[0]._replace(data=whole)]
        yield from turn


def verdict(dialogue: Dialogue, difference: Difference) -> tuple[str, str]:
    """What a difference is, and why: nothing that is broken, where the RFC says MAY."""
    return (SKIPPED, "does otherwise, as it may") if dialogue.level == "MAY" else (FAILED, str(difference))


def play_later(dialogue: Dialogue, target: Target, gate: Gate) -> Outcome:
    """The same as `play`, and again after a pause where a server that is there does not take the call."""
    while True:
        with gate.passed():
            began = time.monotonic()
            outcome = play(dialogue, target)
        if not outcome.reason.startswith(NO_CALL):
            if outcome.said:
                gate.taken()
            return outcome
        if "(5" in outcome.reason or target.gone() or not gate.refused(began, outcome.reason):
            return outcome


def check(target: Target, dialogues: Iterable[Dialogue], at_once: int = 8,
          told: Callable[[str], None] = lambda sentence: None) -> Generator[Outcome, None, None]:
    """Play dialogues, several at once; yields the outcomes in their order. Who stops early ends those in hand.

    `told` is what happens meanwhile, in sentences about the server.
    """
    gate = Gate(at_once, told)
    try:
        with ThreadPoolExecutor(at_once, "check") as pool:
            try:
                yield from pool.map(lambda dialogue: play_later(dialogue, target, gate), dialogues)
            except BaseException:               # Ctrl-C, or nobody wants the rest
                gate.close()
                pool.shutdown(wait=False, cancel_futures=True)
                target.calls.end()
                raise
    finally:
        target.calls.over = False

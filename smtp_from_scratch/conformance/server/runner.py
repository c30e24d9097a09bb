"""Plays many dialogues at a server, several at once, each on a connection of its own, in bounded time and memory."""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from smtp_from_scratch.conformance.notation import Block, Dialogue, Say, Step, load
from smtp_from_scratch.conformance.server.player import ClientPart, Difference
from smtp_from_scratch.conformance.values import UnknownValue, Values
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Interruption, read_reply
from smtp_from_scratch.starttls import TLSLayer, Upgrade, unverified
from smtp_from_scratch.transcript import Said
from smtp_from_scratch.wire import WireError

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
SAID_LIMIT = 2000                               # entries of a transcript that are kept


@dataclass(slots=True)
class Outcome:
    """What came of one dialogue."""

    dialogue: Dialogue
    status: str
    reason: str = ""
    line: int = 0                               # of the dialogue's file, where it differed
    said: list[Said] = field(default_factory=list)


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
    submission: bool = False                    # takes letters from its users only (RFC 6409)
    lmtp: bool = False                          # speaks LMTP (RFC 2033)
    moment: float = 0.3                         # seconds of silence that count as silence
    patience: float = 10.0                      # seconds that a reply may take
    dialogue_limit: float = 60.0                # seconds that a dialogue may take
    keywords: dict[str, str] = field(default_factory=dict)      # what EHLO offers; `probe` fills it
    secured: dict[str, str] = field(default_factory=dict)       # the same under TLS, where there is STARTTLS

    @property
    def size(self) -> int:
        """The limit that EHLO names; 0: none, or one that is no number (RFC 1870 §3: up to 20 digits)."""
        limit = self.keywords.get("SIZE", "").strip()
        return int(limit) if limit.isascii() and limit.isdigit() and len(limit) <= 20 else 0

    def values(self) -> Values:
        """The names that dialogues use."""
        return Values({
            "client": "client.example", "sender": self.sender, "recipient": self.recipient, "refused": self.refused,
            "user": self.user, "password": self.password, "server": self.host,
            "domain": self.recipient.rpartition("@")[2], "DOMAIN": self.recipient.rpartition("@")[2].upper(),
            "size": str(self.size or ""), "nonce": secrets.token_urlsafe(18),
        })


def all_dialogues() -> list[Dialogue]:
    """Every dialogue that ships with the package."""
    folder = Path(str(files("smtp_from_scratch.conformance"))) / "dialogues"
    return [dialogue for path in sorted(folder.glob("*.txt")) for dialogue in load(path)]


@contextmanager
def line_to(target: Target, tap: Callable[[Said], None] | None = None) -> Iterator[Connection]:
    """A connection that ends, whatever the server does, when its time is over."""
    with socket.create_connection((target.host, target.port), target.patience) as sock:
        connection = Connection(sock, "C", tap)

        def cut_off() -> None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(target.dialogue_limit, cut_off)
        timer.daemon = True
        timer.start()
        try:
            if target.implicit_tls:
                connection.play(shake_hands(target))
            yield connection
        finally:
            timer.cancel()


def shake_hands(target: Target) -> Conversation[None]:
    """TLS, from here on; raises an OSError, Timeout or Disconnected."""
    yield Upgrade(TLSLayer(target.context or unverified(), target.host), target.patience)


def probe(target: Target) -> None:
    """Ask the server once what it offers; raises OSError when there is none, WireError when it is no SMTP."""
    with line_to(target) as connection:
        connection.play(inquire(target))


def inquire(target: Target) -> Conversation[None]:
    """What `probe` says, from the greeting on; it notes the answers in the target."""
    greeting = yield from read_reply(target.patience)
    if greeting.code != 220:
        raise WireError(f"the server greets with {greeting}")
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
    lines = [verb, *offer.lines[1:]] if offer.positive else []
    return {word.upper(): rest for word, _, rest in (line.partition(" ") for line in lines)}


def obstacle(dialogue: Dialogue, target: Target) -> str:
    """Why a dialogue cannot be played at this server, or an empty text."""
    for need in dialogue.needs:
        if reason := lacking(need, target, under_tls="tls" in dialogue.setup):
            return reason
    if target.lmtp != ("lmtp" in dialogue.setup):
        return "is for SMTP, and this is LMTP" if target.lmtp else "is for an LMTP server (--lmtp)"
    for setup in dialogue.setup:
        if setup == "user" and not target.user:
            return "needs --user and --password-file"
        if setup == "refused" and not target.refused:
            return "needs --refused-recipient"
        if setup == "size" and not target.size:
            return "has no size limit"
        if setup == "size" and target.size > 50_000_000:
            return "has a size limit above 50 MB"
        if setup == "submission" and not target.submission:
            return "is for a submission server (--submission)"
        if setup == "implicit" and not target.implicit_tls:
            return "is for a server with implicit TLS (--implicit-tls)"
    if target.submission and "submission" not in dialogue.setup and next(verbs(dialogue.steps), "AUTH") != "AUTH":
        return "does not log in, and this is a submission server"
    return ""


def lacking(need: str, target: Target, under_tls: bool) -> str:
    """What a server does not offer of `SIZE`, `AUTH=PLAIN`, or offers in spite of `!SIZE`; "EHLO": it knows EHLO."""
    keyword, _, word = need.lstrip("!").partition("=")
    offered = target.secured if under_tls and keyword not in ("EHLO", "STARTTLS") else target.keywords
    offers = keyword in offered and (not word or word in offered[keyword].upper().split())
    if need.startswith("!"):
        return f"offers {keyword} {word}".rstrip() if offers else ""
    return "" if offers else f"does not offer {keyword} {word}".rstrip()


def verbs(steps: Iterable[Step]) -> Iterator[str]:
    """Which of MAIL, VRFY, EXPN and AUTH a dialogue says, in their order."""
    for step in steps:
        if isinstance(step, Block):
            yield from verbs(step.steps)
        elif isinstance(step, Say):
            verb = step.text.replace("{cut}", "")[:4].upper()
            if verb in ("MAIL", "VRFY", "EXPN", "AUTH"):
                yield verb


def play(dialogue: Dialogue, target: Target) -> Outcome:
    """One dialogue, on a connection of its own. Never raises."""
    if dialogue.end != "server":
        return Outcome(dialogue, SKIPPED, "examines a client")
    if reason := obstacle(dialogue, target):
        return Outcome(dialogue, SKIPPED, reason)
    said: list[Said] = []

    def tap(record: Said) -> None:
        if len(said) < SAID_LIMIT:
            said.append(record)

    try:
        with line_to(target, tap) as connection:
            player = ClientPart(dialogue, target.values(), target.moment, target.patience, target.context)
            connection.play(player.conversation())
    except Difference as difference:
        return Outcome(dialogue, FAILED, str(difference), difference.line, said)
    except UnknownValue as error:
        return Outcome(dialogue, FAILED, f"{dialogue.source}: {error}", 0, said)
    except (OSError, ValueError, Interruption) as error:
        return Outcome(dialogue, FAILED, f"the connection failed: {error or type(error).__name__}", 0, said)
    return Outcome(dialogue, PASSED, said=said)


def check(target: Target, dialogues: Iterable[Dialogue], at_once: int = 8) -> Generator[Outcome, None, None]:
    """Play dialogues, several at once; yields the outcomes in their order."""
    with ThreadPoolExecutor(at_once, "check") as pool:
        yield from pool.map(lambda dialogue: play(dialogue, target), dialogues)

"""Plays many dialogues at a server, several at once, each on a connection of its own, in bounded time and memory."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from smtp_from_scratch.conformance.notation import Dialogue, load
from smtp_from_scratch.conformance.player import Difference, Player
from smtp_from_scratch.conformance.values import UnknownValue, Values
from smtp_from_scratch.conversation import Connection, Conversation, Said, read_reply
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
    implicit_tls: bool = False
    moment: float = 0.3                         # seconds of silence that count as silence
    patience: float = 10.0                      # seconds that a reply may take
    dialogue_limit: float = 60.0                # seconds that a dialogue may take
    keywords: dict[str, str] = field(default_factory=dict)      # what EHLO offers; `probe` fills it

    def values(self) -> Values:
        """The names that dialogues use."""
        return Values({
            "client": "client.example", "sender": self.sender, "recipient": self.recipient, "refused": self.refused,
            "user": self.user, "password": self.password, "server": self.host,
            "domain": self.recipient.rpartition("@")[2], "DOMAIN": self.recipient.rpartition("@")[2].upper(),
            "size": self.keywords.get("SIZE", ""),
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
            yield connection
        finally:
            timer.cancel()


def probe(target: Target) -> None:
    """Ask the server once what it offers; raises OSError when there is none, WireError when it is no SMTP."""

    def ask() -> Conversation[dict[str, str]]:
        greeting = yield from read_reply(target.patience)
        if greeting.code != 220:
            raise WireError(f"the server greets with {greeting}")
        yield b"EHLO client.example\r\n"
        offer = yield from read_reply(target.patience)
        yield b"QUIT\r\n"
        lines = ["EHLO", *offer.lines[1:]] if offer.positive else []
        return {word.upper(): rest for word, _, rest in (line.partition(" ") for line in lines)}

    with line_to(target) as connection:
        target.keywords = connection.play(ask())


def obstacle(dialogue: Dialogue, target: Target) -> str:
    """Why a dialogue cannot be played at this server, or an empty text."""
    for keyword in dialogue.needs:              # "EHLO": it knows EHLO at all; "!X": it does not offer X
        missing = keyword.startswith("!") and keyword[1:] in target.keywords
        if missing or (not keyword.startswith("!") and keyword not in target.keywords):
            return f"offers {keyword[1:]}" if missing else f"does not offer {keyword}"
    for setup in dialogue.setup:
        if setup == "user" and not target.user:
            return "needs --user and --password-file"
        if setup == "refused" and not target.refused:
            return "needs --refused-recipient"
        if setup == "size" and not target.keywords.get("SIZE", "").strip("0"):
            return "has no size limit"
        if setup == "size" and int(target.keywords["SIZE"]) > 50_000_000:
            return "has a size limit above 50 MB"
        if setup in ("lmtp", "submission", "implicit"):
            return f"is for another kind of server ({setup})"
    return ""


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
            player = Player(dialogue, target.values(), target.moment, target.patience, target.context)
            connection.play(player.conversation())
    except Difference as difference:
        return Outcome(dialogue, FAILED, str(difference), difference.line, said)
    except UnknownValue as error:
        return Outcome(dialogue, FAILED, f"{dialogue.source}: {error}", 0, said)
    except (OSError, ValueError) as error:
        return Outcome(dialogue, FAILED, f"the connection failed: {error}", 0, said)
    return Outcome(dialogue, PASSED, said=said)


def check(target: Target, dialogues: Iterable[Dialogue], at_once: int = 8) -> Iterator[Outcome]:
    """Play dialogues, several at once; yields the outcomes in their order."""
    with ThreadPoolExecutor(at_once, "check") as pool:
        yield from pool.map(lambda dialogue: play(dialogue, target), dialogues)

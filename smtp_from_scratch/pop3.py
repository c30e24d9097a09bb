"""The other half of the journey: a maildrop, fetched by its owner (RFC 1939, RFC 2449, RFC 2595)."""
# Exported from notebooks/23_pop3.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO

from .auth import MOST_FAILURES
from .conversation import Conversation, Disconnected, Interruption, Line, Work
from .desk import Claim, Handler, Refused, Row, blocks_of, discard, proves, top
from .envelope import normalize, stuff
from .maildir import folder_name
from .passwords import Users
from .printable import logger
from .starttls import TLSLayer, Upgrade
from .throttle import Guesses, wait_for_turn
from .wire import CRLF, WireError

__all__ = [
    "MOST_LETTERS", "MOST_ERRORS", "scan", "uid_of", "log", "octets_of", "multi_line", "Maildrop", "Pop3Session",
    "listing", "retr", "quit_", "capa", "VERBS", "serve",
]


# %% scan
MOST_LETTERS, MOST_ERRORS = 50_000, 20         # that a session lists; after which it ends


def scan(folder: str) -> dict[str, str]:
    """The letters of a Maildir, the oldest first: their unique names, and where each is."""
    found: dict[str, str] = {}
    for place in ("new", "cur"):               # in this order: others move letters from new to cur
        with contextlib.suppress(FileNotFoundError), os.scandir(f"{folder}/{place}") as entries:
            found |= {entry.name.partition(":")[0]: entry.path for entry in entries
                      if entry.name[0] != "." and entry.is_file(follow_symlinks=False)}
    return dict(sorted(found.items())[:MOST_LETTERS])


def uid_of(name: str) -> str:
    """What UIDL calls a letter, today and tomorrow: its unique name, or a digest of that (RFC 1939 §7)."""
    return name if re.fullmatch("[!-~]{1,70}", name) else hashlib.sha256(os.fsencode(name)).hexdigest()


# %% octets-of
log = logger(__name__)


def octets_of(blocks: Iterable[bytes]) -> int:
    """The octets of a letter as it travels, without doubled dots and the end mark (RFC 1939 §11)."""
    octets, end = 0, CRLF
    for block in normalize(blocks):
        octets, end = octets + len(block), (end + block[-2:])[-2:]
    return octets if end == CRLF else octets + 2


# %% multi-line
def multi_line(text: str, blocks: Iterable[bytes]) -> Conversation[None]:
    """`+OK`, then lines up to a dot alone; each block is fetched when the one before has left (RFC 1939 §3)."""
    lines = stuff(blocks)
    block = yield Work(lambda: next(lines))    # a disk that fails now is an -ERR
    yield f"+OK {text}".encode() + CRLF
    try:
        while block:
            yield block
            block = yield Work(lambda: next(lines, b""))
    except OSError as error:                   # and now it is a letter without an end
        log.error("a letter cannot be read: %s", error)
        raise Disconnected from error


# %% contents
class Contents:
    """What was in a Maildir when a session began, and is there for this session alone (RFC 1939 §4)."""

    def __init__(self, folder: str) -> None:
        self.folder, self.claim = folder, Claim(folder)
        self.names, self.octets = list[str](), list[int]()
        self._paths: dict[str, str] = {}

    def open(self) -> None:
        """Claim it, and list what is there; Refused while another session has it."""
        self.claim.take()
        self._paths = scan(self.folder)
        for name, path in self._paths.items():
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                self.octets.append(octets_of(blocks_of(file)))
                self.names.append(name)

    def file(self, index: int) -> IO[bytes]:
        """A letter, to be read, wherever it is now; Refused if another program has removed it."""
        name = self.names[index]
        with contextlib.suppress(FileNotFoundError):
            return open(self._paths[name], "rb")
        with contextlib.suppress(FileNotFoundError, KeyError):
            return open(scan(self.folder)[name], "rb")
        raise Refused("this letter is gone")


# %% maildrop
class Maildrop(Contents):
    """A Maildir in one session: its contents, and what is marked (RFC 1939 §5, §6)."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.marked = set[int]()

    @property
    def present(self) -> list[int]:
        """The letters that are not marked."""
        return [index for index in range(len(self.names)) if index not in self.marked]

    def index(self, number: str) -> int:
        """The letter that a client calls so; Refused if there is none, or it is marked."""
        index = int(number) - 1 if number.isascii() and number.isdigit() else -1
        if not 0 <= index < len(self.names) or index in self.marked:
            raise Refused("no such letter")
        return index

    def total(self) -> str:
        """How many letters and octets are not marked, as STAT says it."""
        return f"{len(self.present)} {sum(self.octets[index] for index in self.present)}"

    def mark(self, number: str) -> str:
        """DELE: from now on the letter is not shown; on disk nothing has changed."""
        self.marked.add(self.index(number))
        return "marked"

    def unmark(self) -> str:
        """RSET: nothing is marked."""
        self.marked.clear()
        return "nothing is marked"

    def remove(self) -> int:
        """Remove what is marked, on disk when it returns; how many could not be removed."""
        found = scan(self.folder)
        return discard([found[name] for index in self.marked if (name := self.names[index]) in found])


# %% session
@dataclass(slots=True, eq=False)
class Pop3Session:
    """What the server's end remembers between two lines, and the rules it was given (RFC 1939 §3)."""

    root: str | os.PathLike[str]               # a Maildir for each user is in it
    users: Users
    tls: ssl.SSLContext | None = None          # for STLS
    insecure: bool = False                     # passwords may come in the clear
    domain: str = ""                           # of users whose names have none
    peer: str = ""
    guesses: Guesses = field(default_factory=Guesses)
    state: str = "authorization"
    secure: bool = False
    name: str = ""                             # what USER has said
    maildrop: Maildrop = field(default_factory=lambda: Maildrop(""))
    counts: Counter[str] = field(default_factory=Counter)      # errors, wrong passwords

    def own(self) -> Maildrop:
        """The maildrop of whoever has proved to be `name`; Refused for a name that is no folder's."""
        address = self.name if "@" in self.name or not self.domain else f"{self.name}@{self.domain}"
        if not (name := folder_name(address)).strip("."):
            raise Refused("nobody has such a maildrop")
        return Maildrop(f"{os.fspath(self.root)}/{name}")

    def seal(self, context: ssl.SSLContext) -> Conversation[None]:
        """Shake hands; nothing that was said in the clear counts any more (RFC 2595 §4)."""
        try:
            yield Upgrade(TLSLayer(context, server_side=True))
        except OSError as error:
            raise Disconnected(f"no TLS: {error}") from error
        self.secure, self.name = True, ""

    def refuse(self, error: Exception) -> bytes:
        """What is said in place of an answer; after too many of them, or a hopeless one, the last word."""
        if not isinstance(error, Refused | WireError):
            log.error("%s: a command failed", self.peer or "client", exc_info=error)
            error = Refused("[SYS/TEMP] something is broken here")
        self.counts["errors"] += 1
        if self.counts["errors"] > MOST_ERRORS or getattr(error, "hopeless", False): self.state = "update"
        return f"-ERR {error}".encode() + CRLF


# %% login
def user(session: Pop3Session, name: str) -> str:
    """USER: who says so; the same answer for everybody (RFC 1939 §7)."""
    if not (session.secure or session.insecure):
        raise Refused("not in the clear: say STLS first")
    session.name = name
    return "and the password?"


def stls(session: Pop3Session) -> Conversation[None]:
    """STLS: from here on nobody else reads along (RFC 2595 §4)."""
    if session.secure or session.tls is None:
        raise Refused("TLS is up already" if session.secure else "there is no TLS here")
    yield b"+OK shake hands" + CRLF
    yield from session.seal(session.tls)


# %% pass
def pass_(session: Pop3Session, password: str) -> Conversation[str]:
    """PASS: the maildrop of whoever proves to be its user, for this session alone (RFC 1939 §4, §7)."""
    if not session.name:
        raise Refused("say USER first")
    if refusal := (yield from wait_for_turn(session.guesses, session.peer)):
        raise Refused(f"[SYS/TEMP] {refusal.text}")
    if not (yield Work(lambda: proves(session.users, session.name, password))):
        session.counts["wrong"] += 1
        log.info("%s: wrong user or password, %d times", session.peer or "client", session.counts["wrong"])
        if session.counts["wrong"] >= MOST_FAILURES: session.state = "update"
        raise Refused("[AUTH] wrong user or password")
    session.guesses.take_back(session.peer)
    session.maildrop = session.own()
    try:
        yield Work(session.maildrop.open)
    except Exception:
        session.maildrop.claim.give_back()
        raise
    return "welcome"


# %% listing
def listing(column: Callable[[Maildrop, int], object]) -> Handler:
    """A handler for LIST and UIDL: a line for one letter, or for each that is not marked (RFC 1939 §5, §7)."""

    def handle(session: Pop3Session, number: str = "") -> str | Conversation[None]:
        drop = session.maildrop
        if number:
            return f"{number} {column(drop, drop.index(number))}"
        lines = [f"{index + 1} {column(drop, index)}\r\n" for index in drop.present]
        return multi_line(f"{len(lines)} letters", ["".join(lines).encode()])

    return handle


def retr(session: Pop3Session, number: str, lines: str = "all") -> Conversation[None]:
    """RETR: a letter. TOP: its header, and so many lines of its body (RFC 1939 §5, §7)."""
    drop = session.maildrop
    index = drop.index(number)
    if lines != "all" and not (lines.isascii() and lines.isdigit()):
        raise Refused("how many lines?")
    with (yield Work(lambda: drop.file(index))) as file:
        blocks = blocks_of(file) if lines == "all" else top(file, int(lines))
        yield from multi_line(f"{drop.octets[index]} octets", blocks)


# %% quit
_LOGIN, _STAY = {"authorization": "authorization"}, {"transaction": "transaction"}


def quit_(session: Pop3Session) -> Conversation[str]:
    """QUIT: the only way to UPDATE, in which what is marked is removed (RFC 1939 §6)."""
    if session.state == "transaction":
        left = yield Work(session.maildrop.remove)
        log.info("%s: %s has removed %d of %d letters", session.peer or "client", session.name,
                 len(session.maildrop.marked) - left, len(session.maildrop.names))
        if left:
            session.state = "update"
            raise Refused("some deleted messages not removed")
    return "goodbye"


def capa(session: Pop3Session) -> Conversation[None]:
    """CAPA: what there is beyond RFC 1939, here and now (RFC 2449 §5, §6; RFC 3206)."""
    words = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
    if session.secure or session.insecure: words.append("USER")
    if session.tls and not session.secure and session.state == "authorization": words.append("STLS")
    return multi_line("I can", ["\r\n".join(words).encode()])


# %% verbs
VERBS: dict[str, Row] = {
    "USER": Row(user, _LOGIN, "USER name"),
    "PASS": Row(pass_, {"authorization": "transaction"}, "PASS password"),
    "STLS": Row(stls, _LOGIN, "STLS"),
    "CAPA": Row(capa, _LOGIN | _STAY, "CAPA"),
    "STAT": Row(lambda session: session.maildrop.total(), _STAY, "STAT"),
    "LIST": Row(listing(lambda drop, index: drop.octets[index]), _STAY, "LIST [number]"),
    "UIDL": Row(listing(lambda drop, index: uid_of(drop.names[index])), _STAY, "UIDL [number]"),
    "RETR": Row(retr, _STAY, "RETR number"),
    "TOP": Row(retr, _STAY, "TOP number lines"),
    "DELE": Row(lambda session, number: session.maildrop.mark(number), _STAY, "DELE number"),
    "RSET": Row(lambda session: session.maildrop.unmark(), _STAY, "RSET"),
    "NOOP": Row(lambda session: "", _STAY, "NOOP"),
    "QUIT": Row(quit_, {"authorization": "update", "transaction": "update"}, "QUIT"),
}


# %% serve
IN_USE = ("authorization", "transaction")      # the states in which commands are heard; after them, "update"
LINE_LIMIT, PATIENCE = 255, 600.0              # octets of a command (RFC 2449 §4); seconds (RFC 1939 §3)


def dispatch(session: Pop3Session, line: bytes) -> Conversation[str | None]:
    """Find a command's row, see whether it is its turn, run its handler; the answer, None if it is said."""
    word, _, rest = line.partition(b" ")
    row = VERBS.get(word.upper().decode("latin-1"))
    if row is None or session.state not in row.moves:
        raise Refused("no such command" if row is None else f"not in the state {session.state.upper()}")
    answer = row.handler(session, *row.words(rest.decode("utf-8", "surrogateescape")))
    said = answer if isinstance(answer, str) else (yield from answer)
    if session.state in row.moves: session.state = row.moves[session.state]
    return said


# %% serve-whole
def serve(session: Pop3Session, implicit: ssl.SSLContext | None = None) -> Conversation[None]:
    """A whole session; with `implicit`, under TLS from the first octet on (RFC 8314 §3.3)."""
    try:
        if implicit is not None: yield from session.seal(implicit)
        yield b"+OK POP3 server ready" + CRLF
        while session.state in IN_USE:
            try:
                line = yield Line(LINE_LIMIT, PATIENCE, True)
                answer = yield from dispatch(session, line)
                if answer is not None: yield f"+OK {answer}".rstrip().encode() + CRLF
            except (Interruption, ConnectionError):
                raise
            except Exception as error:
                yield session.refuse(error)
    except (Interruption, ConnectionError) as error:
        log.info("%s: gone without QUIT: %s", session.peer or "client", str(error) or type(error).__name__)
    finally:
        session.maildrop.claim.give_back()

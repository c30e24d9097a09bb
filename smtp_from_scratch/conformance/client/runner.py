"""Plays many dialogues at a client: for each a server of its own on a free port of loopback, in bounded time."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from smtp_from_scratch.conformance.client.player import NotExercised, ServerPart
from smtp_from_scratch.conformance.client.tasks import Task, fill, lacking, task_of
from smtp_from_scratch.conformance.notation import Act, Dialogue, parse
from smtp_from_scratch.conformance.process import Process
from smtp_from_scratch.conformance.server.player import Difference
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, SKIPPED, Outcome, Record, verdict
from smtp_from_scratch.conformance.values import UnknownValue
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Interruption, rehearse

WHOLE = """
== a letter
rfc: 5321 §3.3
level: MUST
end: client
asks: Does the command talk to our server at all?
after: EHLO
--
serve
letter text
"""


class Calls(Protocol):
    """A client at work: a process, or a thread."""

    def status(self, seconds: float) -> int | None:
        """Its exit status, as soon as it has one, or None."""

    def stop(self) -> None:
        """End it, if it has not ended."""

    def said(self) -> str:
        """What it told its user last."""


Client = Callable[[str, int, Task, Path], Calls]        # host, port, task, a folder for files


# --- clients ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """A command line as a client; `stdin`: it reads the message from standard input."""

    words: tuple[str, ...]
    stdin: bool = False

    def __call__(self, host: str, port: int, task: Task, folder: Path) -> Calls:
        words = fill(self.words, task, host, port, folder)
        return Process(words, folder / "letter.eml" if self.stdin else None)


class InThread:
    """A function as a client, in a thread of its own: it returns an exit status, or raises."""

    def __init__(self, function: Callable[[str, int, Task], int], host: str, port: int, task: Task) -> None:
        self.result: int | None = None
        self.words = ""

        def work() -> None:
            try:
                self.result = function(host, port, task)
            except Exception as error:
                self.words, self.result = f"{type(error).__name__}: {error}", 1

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def status(self, seconds: float) -> int | None:
        self.thread.join(seconds)
        return self.result

    def stop(self) -> None:
        self.thread.join(1)

    def said(self) -> str:
        return self.words


# --- certificates ----------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority for one run, and servers' certificates: good ones, and some to be refused.

    Raises ImportError where `trustme` is not installed.
    """

    def __init__(self) -> None:
        import trustme

        self.trustme: Any = trustme
        self.good, self.other = trustme.CA(), trustme.CA()
        self.contexts: dict[str, ssl.SSLContext] = {}
        self.lock = threading.Lock()
        self.pem = self.good.cert_pem.bytes()

    def context(self, kind: str = "") -> ssl.SSLContext:
        """The server's TLS context with a certificate of this kind."""
        with self.lock:
            if kind not in self.contexts:
                self.contexts[kind] = self._context(kind)
            return self.contexts[kind]

    def _context(self, kind: str) -> ssl.SSLContext:
        authority = self.other if kind == "untrusted" else self.good
        names = ["else.example"] if kind == "misnamed" else ["127.0.0.1", "localhost", "server.example"]
        then = datetime.now(UTC) - timedelta(days=9)
        past: dict[str, Any] = {"not_before": then, "not_after": then + timedelta(days=7)} if kind == "expired" else {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0                 # tickets would be a flight that nobody asked for
        authority.issue_cert(*names, **past).configure_cert(context)
        return context


def authority() -> Authority | None:
    """A new authority, or None where `trustme` is not installed."""
    try:
        return Authority()
    except ImportError:
        return None


# --- playing ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ClientTarget:
    """The client to examine. Everything happens on loopback."""

    client: Client
    words: tuple[str, ...] = ()                 # of its command line; empty: it can do every task
    stdin: bool = False
    fixed: dict[str, Any] = field(default_factory=dict)     # of a task, what the command cannot be told; see `scout`
    authority: Authority | None = field(default_factory=authority)
    patience: float = 10.0                      # seconds that the client may take for its next line
    start: float = 30.0                         # seconds until it calls
    limit: float = 60.0                         # seconds that a dialogue may take


def obstacle(dialogue: Dialogue, target: ClientTarget) -> str:
    """Why a dialogue cannot be played at this client, or an empty text."""
    if target.words and (reason := lacking(dialogue, target.words, target.stdin)):
        return reason
    if {"tls", "implicit"}.intersection(dialogue.setup) and target.authority is None:
        return "cannot be given a certificate: trustme is not installed here"
    return ""


def play(dialogue: Dialogue, target: ClientTarget) -> Outcome:
    """One dialogue, with a server of its own. Raises OSError where the command cannot be started."""
    if reason := obstacle(dialogue, target):
        return Outcome(dialogue, SKIPPED, reason)
    task = replace(task_of(dialogue), **target.fixed)
    with (tempfile.TemporaryDirectory(prefix="smtp-client-") as name,
          socket.create_server(("127.0.0.1", 0)) as listener):
        folder = Path(name)
        if task.tls and target.authority:
            (folder / "ca.pem").write_bytes(target.authority.pem)
            task = replace(task, ca_file=str(folder / "ca.pem"))
        contexts = target.authority.context if target.authority else (lambda kind: None)
        calls = target.client("127.0.0.1", listener.getsockname()[1], task, folder)
        try:
            return examine(ServerPart(dialogue, task, contexts, target.patience), listener, calls, target)
        finally:
            calls.stop()


def examine(part: ServerPart, listener: socket.socket, calls: Calls, target: ClientTarget) -> Outcome:
    """Wait for the client's call, play the dialogue, and look at how the client ended."""
    outcome = Outcome(part.dialogue, PASSED)
    sock = first_call(listener, calls, target.start)
    if sock is None:
        status = calls.status(0.1)
        if part.dialogue.facts.get("may") and status:
            return outcome                      # it declined the task before it called
        what = f"ended with status {status}" if status is not None else f"did not call within {target.start:g} s"
        return finding(outcome, FAILED, f"the client {what} and never called", 0, calls)
    over = threading.Event()
    turned_away = threading.Thread(target=turn_away, args=(listener, over), daemon=True)
    turned_away.start()
    deadline = time.monotonic() + target.limit
    try:
        converse(part, sock, outcome, target.limit)
        if outcome.status == PASSED:
            settle(part, calls.status(max(1.0, deadline - time.monotonic())), outcome, calls)
    finally:
        over.set()
        turned_away.join(1)
    return outcome


def first_call(listener: socket.socket, calls: Calls, seconds: float) -> socket.socket | None:
    """The client's first connection; None if it ends or dawdles without one."""
    listener.settimeout(0.05)
    deadline = time.monotonic() + seconds
    ended = False
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            sock, _ = listener.accept()
            return sock
        if ended:
            return None
        ended = calls.status(0) is not None     # look once more: it may have called before it ended
    return None


def turn_away(listener: socket.socket, over: threading.Event) -> None:
    """Further calls get a 421: the dialogue is about the first."""
    while not over.is_set():
        with contextlib.suppress(OSError):
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"421 server.example one call at a time\r\n")


def converse(part: ServerPart, sock: socket.socket, outcome: Outcome, limit: float) -> None:
    """Play the dialogue on a connection; the outcome tells what came of it."""
    record = Record()

    def cut_off() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit, cut_off)
    timer.daemon = True
    timer.start()
    try:
        with sock:
            Connection(sock, "S", record).play(part.conversation())
            linger(sock)
    except Difference as difference:
        finding(outcome, *verdict(part.dialogue, difference), difference.line)
    except NotExercised as reason:
        finding(outcome, SKIPPED, str(reason))
    except UnknownValue as error:
        finding(outcome, FAILED, f"{part.dialogue.source}: {error}")
    except (OSError, ValueError, Interruption) as error:
        finding(outcome, FAILED, f"the connection failed: {str(error) or type(error).__name__}")
    finally:
        timer.cancel()
        outcome.said = record.said


def linger(sock: socket.socket) -> None:
    """Hang up so that what was said still arrives, whatever the client is saying meanwhile."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(0.5)
        deadline = time.monotonic() + 1.0
        while sock.recv(65_536) and time.monotonic() < deadline:
            pass


def settle(part: ServerPart, status: int | None, outcome: Outcome, calls: Calls) -> None:
    """See whether the client's exit status is what the dialogue asks for."""
    if status is None:
        finding(outcome, FAILED, "the client did not end after the connection had", 0, calls)
    elif part.refused and status == 0:
        finding(outcome, FAILED, "the client declined the task, and says that all went well", 0, calls)
    elif not part.refused:
        for step in part.dialogue.steps:
            if isinstance(step, Act) and step.verb == "exit" and not exits(status, step.argument):
                finding(outcome, FAILED, f"expected exit {step.argument}, got {status}", step.line, calls)


def rehearsed(dialogue: Dialogue, task: Task, contexts: Callable[[str], Any], client: Conversation[int]) -> Outcome:
    """A dialogue at a client's conversation, in memory; it returns the exit code that a command would have.

    Raises Difference.
    """
    part = ServerPart(dialogue, task, contexts)
    try:
        show = rehearse(client, part.conversation(), patient=True)
    except NotExercised as reason:
        return Outcome(dialogue, SKIPPED, str(reason))
    except ssl.SSLError:                        # the client broke the handshake off, and was gone before its end
        allowed = any(isinstance(step, Act) and step.argument == "or closed" for step in dialogue.steps)
        return Outcome(dialogue, PASSED if allowed else FAILED, "the handshake was broken off")
    if part.refused and show.client:
        return Outcome(dialogue, PASSED, "declined, as it may", 0, show.said)
    if part.refused:
        return Outcome(dialogue, FAILED, "declined, and called a success", 0, show.said)
    for step in dialogue.steps:
        if isinstance(step, Act) and step.verb == "exit" and not exits(show.client, step.argument):
            return Outcome(dialogue, FAILED, f"expected exit {step.argument}, got {show.client}", step.line, show.said)
    return Outcome(dialogue, PASSED, said=show.said)


def exits(status: int, wanted: str) -> bool:
    """Whether an exit status is what is wanted: `0`, `failure`, `1|75`."""
    return status != 0 if wanted == "failure" else str(status) in wanted.split("|")


def finding(outcome: Outcome, status: str, reason: str, line: int = 0, calls: Calls | None = None) -> Outcome:
    """Note what came of a dialogue, and what the client said last."""
    said = calls.said() if calls else ""
    outcome.status, outcome.line = status, line
    outcome.reason = f"{reason}; it says: {said}" if said else reason
    return outcome


def probe(target: ClientTarget) -> Outcome:
    """Let the client send one plain message; raises OSError when it cannot be started or does not call."""
    if target.words and shutil.which(target.words[0]) is None:
        raise OSError(f"there is no command {target.words[0]!r}")
    [dialogue] = parse(WHOLE)
    outcome = play(dialogue, target)
    if not outcome.said:
        raise OSError(outcome.reason)
    return outcome


def check(target: ClientTarget, dialogues: Iterable[Dialogue], at_once: int = 4) -> Generator[Outcome, None, None]:
    """Play dialogues, several at once; yields the outcomes in their order."""
    with ThreadPoolExecutor(at_once, "check-client") as pool:
        yield from pool.map(lambda dialogue: play(dialogue, target), dialogues)

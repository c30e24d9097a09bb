"""A conversation is a generator: it says octets and wants answers, and never touches a socket."""
# Exported from notebooks/02_conversation.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from .wire import COMMAND_LIMIT, REPLY_LIMIT, BadReply, Inbox, Reply, WireError, encode_reply, parse_reply

__all__ = [
    "Line", "LINE", "REPLY_LINE", "Cutter", "Octets", "Body", "Layer", "Upgrade", "Work", "Flush", "FLUSH", "Want",
    "Result", "Conversation", "Interruption", "Timeout", "Disconnected", "Closing", "BothListening", "read_reply",
    "Said", "Tap", "OUTBOX_LIMIT", "unwrap", "Channel", "Actor", "flights", "Rehearsal", "rehearse", "INBOX_LIMIT",
    "LINE_READ", "BULK_READ", "send_all", "Connection", "hang_up",
]


# %% wants
@dataclass(frozen=True, slots=True)
class Line:
    """Want: one line without its CR LF, complete within `timeout` seconds (RFC 5321 §4.5.3.2).

    `idle` says that nothing is lost if the other end is sent away now; `continued`, that an earlier line goes on in
    this one, and its deadline with it: a reply of many lines has one.
    """

    limit: int = COMMAND_LIMIT
    timeout: float = 300.0
    idle: bool = False
    continued: bool = False


LINE = Line()
REPLY_LINE = Line(limit=REPLY_LIMIT)


# %% bulk-wants
class Cutter(Protocol):
    """Finds the end of a body that arrives in pieces."""

    ended: bool

    def cut(self, data: bytes) -> tuple[bytes, bytes]: ...


@dataclass(frozen=True, slots=True)
class Octets:
    """Want: some octets, at most `count`; `rate` octets a second are the slowest we put up with."""

    count: int
    timeout: float = 180.0
    rate: float = 500.0


@dataclass(frozen=True, slots=True)
class Body:
    """Want: the next block of a body; `b""` when `cutter` has seen the end."""

    cutter: Cutter
    timeout: float = 180.0
    rate: float = 500.0


# %% other-wants
class Layer(Protocol):
    """Turns octets into octets between the conversation and the wire (TLS is one).

    A layer in which the other end can say goodbye has `ended`, too: from then on nothing more is fed into it.
    """

    ready: bool

    def receive(self, data: bytes) -> bytes: ...
    def send(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Want: from here on everything passes through `layer`; unread input is fed into it."""

    layer: Layer
    timeout: float = 300.0
    idle: bool = True                          # nothing is lost with a handshake


@dataclass(frozen=True, slots=True)
class Work:
    """Want: the result of calling `function`, which may block: disk, DNS, password hashing."""

    function: Callable[[], Any]


# %% flush
class Flush:
    """Said after a reply that must leave at once (RFC 2920 §3.2)."""


FLUSH = Flush()
Want = Line | Octets | Body | Upgrade | Work | Flush
Result = TypeVar("Result")
Conversation = Generator[bytes | Reply | Want, Any, Result]


# %% interruptions
class Interruption(Exception):
    """Thrown into a conversation in place of an answer; it decides what is still said."""


class Timeout(Interruption):
    """What was wanted did not come in time."""


class Disconnected(Interruption):
    """The other end is gone."""


class Closing(Interruption):
    """This end is being shut down, and the conversation is idle."""


class BothListening(RuntimeError):
    """Both ends wait for the other to speak: a bug in one of the two."""


# %% read-reply
def read_reply(timeout: float = 300.0, limit: int = 32_768) -> Conversation[Reply]:
    """Want lines until a reply is complete, in `timeout` seconds (RFC 5321 §4.2.1); at most `limit` octets in all."""
    lines = [(yield REPLY_LINE if timeout == 300.0 else Line(REPLY_LIMIT, timeout))]
    while lines[-1][:3].isdigit() and lines[-1][3:4] == b"-":
        lines.append((yield Line(REPLY_LIMIT, timeout, continued=True)))
        if sum(map(len, lines)) > limit:
            raise BadReply(f"a reply of more than {limit} octets")
    return parse_reply(lines)


# %% channel
class Said(NamedTuple):
    """One thing that one end said: when (seconds), who ("C" or "S"), and the octets."""

    when: float
    who: str
    data: bytes


Tap = Callable[[Said], None]
OUTBOX_LIMIT = 65_536                          # octets that may wait before they are sent


def unwrap(layer: Layer | None, data: bytes) -> tuple[bytes, Exception | None]:
    """What a layer makes of octets from the wire, and why it takes no more: nonsense, or the other end's goodbye."""
    try:
        plain = layer.receive(data) if layer else data
    except (WireError, OSError) as error:
        return b"", error
    return plain, Disconnected() if getattr(layer, "ended", False) else None


# %% channel-class
class Channel:
    """What a connection holds between conversations: octets to read and to send, a layer, a tap."""

    def __init__(self, who: str = "", tap: Tap | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.who, self.tap, self.now = who, tap, now
        self.other = ""                        # who the tap believes to hear; empty: only what we say is tapped
        self.inbox = Inbox()
        self.layer: Layer | None = None
        self.over: Exception | None = None     # why the layer takes no more; thrown when more is wanted
        self._sealed = b""                     # waits to be sent, and has passed its layer already
        self._outbox, self.waiting = list[bytes](), 0           # what waits to be sent, and how many octets
        self.longest_wait = self.deadline = math.inf    # seconds that cap every timeout; the time that ends all waits

    def say(self, data: bytes) -> None:
        """Queue octets for the other end."""
        self._outbox.append(data)
        self.waiting += len(data)
        if self.tap is not None:
            self.tap(Said(self.now(), self.who, data))

    def output(self) -> bytes:
        """All that waits to be sent, as it must appear on the wire."""
        data = self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox)
        self._outbox.clear()
        self.waiting = 0
        if self.layer:
            data, self._sealed = self._sealed + self.layer.send(data), b""
        return data

    def hear(self, data: bytes) -> None:
        """Take in octets from the wire; none any more when the layer has ended."""
        data, self.over = (b"", self.over) if self.over else unwrap(self.layer, data)
        if self.tap is not None and self.other and data:
            self.tap(Said(self.now(), self.other, data))
        self.inbox.feed(data)

    def upgrade(self, layer: Layer) -> None:
        """Put a layer in; what arrived and was not read goes through it, like all that follows."""
        self._sealed, self.layer = self.output(), layer
        self.hear(self.inbox.octets(len(self.inbox)))


# %% answer
def answer(want: Any, channel: Channel) -> Any:
    """What the channel can answer to a want out of what has arrived; None when that is not enough."""
    match want:
        case Line():
            return channel.inbox.line(want.limit)
        case Octets():
            return channel.inbox.octets(want.count) or None
        case Body():
            return next_block(want.cutter, channel.inbox)
        case Upgrade():
            if channel.layer is not want.layer:
                channel.upgrade(want.layer)
            return want.layer if want.layer.ready else None
        case Work() | Flush():
            return None                        # the stage sees to these
        case _:
            raise TypeError(f"a conversation yields bytes, a Reply or a want, not {want!r}")


# %% next-block
def next_block(cutter: Cutter, inbox: Inbox) -> bytes | None:
    """The next block of a body, `b""` at its end, else None; what follows the end stays in the inbox."""
    if not cutter.ended:
        block, rest = cutter.cut(inbox.octets(len(inbox)))
        inbox.feed(rest)
        if block:
            return block
    return b"" if cutter.ended else None


# %% patience
BULK = (Octets, Body)


class Patience:
    """How long an end waits: for a line its timeout, for a body as long as it keeps up its rate."""

    def __init__(self) -> None:
        self.deadline = self.earned = 0.0
        self._bulk = False

    def begin(self, want: Any, channel: Channel) -> bool:
        """Start to wait. The octets of a body earn time, but never more than one timeout ahead."""
        bulk = type(want) in BULK
        latest = latest_end(channel, getattr(want, "timeout", 0.0))
        self.deadline = min(latest, self.deadline + self.earned) if bulk and self._bulk else latest
        self._bulk, self.earned = bulk, 0.0
        return False


def latest_end(channel: Channel, timeout: float) -> float:
    """When a wait that begins now must have ended."""
    return min(channel.now() + min(timeout, channel.longest_wait), channel.deadline)


# %% actor
class Actor:
    """One end at work: a conversation, played on a channel. It does no I/O; the stages do."""

    def __init__(self, conversation: Conversation[Any], channel: Channel) -> None:
        self.conversation, self.channel = conversation, channel
        self.want: Any = None                  # what the conversation waits for
        self.done, self.result = False, None
        self.patience, self._fresh = Patience(), True
        self.go_on()

    def go_on(self, value: Any = None, error: BaseException | None = None) -> None:
        """Resume with an answer, or with an exception, and play up to the next want."""
        talk, channel = self.conversation, self.channel
        try:
            said: Any = talk.throw(error) if error else talk.send(value)
            while (kind := type(said)) is Reply or kind is bytes:
                channel.say(encode_reply(said) if kind is Reply else said)
                said = FLUSH if channel.waiting >= OUTBOX_LIMIT else talk.send(None)
            self.want, self._fresh = said, self._fresh or not getattr(said, "continued", False)
        except StopIteration as end:
            self.want, self.done, self.result = None, True, end.value

    def advance(self) -> Any:
        """Play until something is wanted that has not arrived, and return the want; None at the end."""
        while not self.done:
            want = self.want
            try:
                value = self.channel.inbox.line(want.limit) if type(want) is Line else answer(want, self.channel)
                if value is None and self.channel.over and type(want) not in (Work, Flush):
                    raise self.channel.over
            except (WireError, OSError, Disconnected) as error:
                self.go_on(error=error)
                continue
            if value is None:
                self._fresh = self._fresh and self.patience.begin(want, self.channel)
                break
            if type(want) in BULK:
                self.patience.earned += len(value) / want.rate
            self.go_on(value)
        return self.want


# %% perform
def perform(actor: Actor, want: Work | Flush) -> None:
    """Do what needs no input: go on after a `Flush`, call a `Work` and hand over what comes of it."""
    if isinstance(want, Flush):
        return actor.go_on()
    try:
        value = want.function()
    except Exception as error:                 # the conversation decides what becomes of it
        actor.go_on(error=error)
    else:
        actor.go_on(value)


# %% flights
def flights(actor: Actor) -> Iterator[bytes]:
    """Play an end as far as it goes with what it has heard; yields what must be sent meanwhile."""
    while True:
        want = actor.advance()
        if flight := actor.channel.output():
            yield flight
            continue                           # meanwhile more was heard, perhaps, or the waiting has ended
        if type(want) not in (Work, Flush):
            return
        perform(actor, want)


# %% rehearsal
@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of a rehearsal: both results, what was said, and the seconds it would have taken."""

    client: Any
    server: Any
    said: list[Said]
    seconds: float

    @property
    def turns(self) -> int:
        """How often somebody else began to speak."""
        speakers = [said.who for said in self.said]
        return sum(before != after for before, after in zip(["", *speakers], speakers, strict=False))


# %% rehearse
def rehearse(client: Conversation[Any], server: Conversation[Any], *, latency: float = 0.0,
             cut: Callable[[bytes], Iterable[bytes]] | None = None, patient: bool = False) -> Rehearsal:
    """Play both ends in memory; `latency` is the way there in seconds, on a clock that nobody waits for.

    `cut` says in which pieces a flight arrives. When both ends listen, BothListening is raised, or, with
    `patient`, the clock jumps to the first timeout.
    """
    clock, said, wire = [0.0], list[Said](), deque[tuple[float, Actor, Actor, bytes]]()
    ends = [Actor(talk, Channel(who, said.append, lambda: clock[0])) for who, talk in (("C", client), ("S", server))]
    moving = [ends, ends[::-1]]                # who has something to do, and who will hear of it
    while True:
        for actor, other in moving:
            for flight in flights(actor):
                wire.extend((clock[0] + latency, other, actor, piece) for piece in (cut(flight) if cut else (flight,)))
        if wire:
            clock[0], actor, other, piece = wire.popleft()
            actor.channel.hear(piece)
            moving = [[actor, other]]
        elif all(actor.done for actor in ends):
            return Rehearsal(ends[0].result, ends[1].result, said, clock[0])
        else:
            interrupt(ends, clock, patient)
            moving = [ends, ends[::-1]]


# %% interrupt
def interrupt(ends: list[Actor], clock: list[float], patient: bool) -> None:
    """Nobody speaks any more: hang up on an end that is left alone, or let the clock jump ahead."""
    listening = [actor for actor in ends if not actor.done]
    if len(listening) == 1:
        return listening[0].go_on(error=Disconnected())
    if not patient:
        raise BothListening(f"both ends are listening: {' and '.join(repr(actor.want) for actor in listening)}")
    first = min(listening, key=lambda actor: actor.patience.deadline)
    clock[0] = max(clock[0], first.patience.deadline)
    first.go_on(error=Timeout())


# %% socket-timeout
def limit_recv(sock: socket.socket, seconds: float) -> None:
    """Let `recv` wait no longer than this, in the kernel: no second system call for each read."""
    if sys.platform == "win32":
        value = struct.pack("L", max(1, int(seconds * 1000)))
    else:
        value = struct.pack("ll", int(seconds), max(1, int(seconds % 1 * 1_000_000)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)


# %% send-all
INBOX_LIMIT = 1_048_576                        # octets that may arrive while we write
LINE_READ, BULK_READ = 65_536, 262_144         # octets asked of the system at a time


def send_all(sock: socket.socket, data: bytes, channel: Channel, timeout: float = 180.0) -> None:
    """Send everything, reading meanwhile: two ends that both only write wait forever (RFC 2920 §3.1)."""
    view, deadline, heard = memoryview(data), time.monotonic() + timeout, data
    while view:
        try:
            view = view[sock.send(view, getattr(socket, "MSG_DONTWAIT", 0)) :]
        except BlockingIOError:
            if (seconds := deadline - time.monotonic()) <= 0:
                raise Timeout from None
            hearing = heard and not channel.over and len(channel.inbox) < INBOX_LIMIT
            events = selectors.EVENT_WRITE | (selectors.EVENT_READ if hearing else 0)
            with selectors.DefaultSelector() as selector:
                selector.register(sock, events)
                ready = selector.select(seconds)
            if ready and ready[0][1] & selectors.EVENT_READ:
                if heard := sock.recv(65_536):         # who says no more may still listen
                    channel.hear(heard)


# %% connection
class Connection:
    """The blocking stage: a connected socket, and the conversations played on it one after another."""

    def __init__(self, sock: socket.socket, who: str = "", tap: Tap | None = None) -> None:
        self.socket, self.channel = sock, Channel(who, tap)
        self.channel.other = {"C": "S", "S": "C"}.get(who, "")
        self.closing = self.idle = False       # `closing`: hang up as soon as the conversation is idle
        self.deaf = False                      # the other end takes no more octets
        self._timeout = 0.0
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(None)

    def play(self, conversation: Conversation[Result]) -> Result:
        """Play a conversation to its end and return its result; raises what it raises."""
        actor = Actor(conversation, self.channel)
        while True:
            for flight in flights(actor):
                speak(self, actor, flight)
            if actor.done:
                return actor.result  # type: ignore[return-value]
            listen(self, actor)

    def receive(self, seconds: float, size: int) -> bytes:
        """What arrives within so many seconds, `b""` if the other end is gone; raises Timeout."""
        seconds = math.ceil(seconds * 10) / 10
        if seconds <= 0:
            raise Timeout
        if seconds != self._timeout:
            limit_recv(self.socket, seconds)
            self._timeout = seconds
        try:
            return self.socket.recv(size)
        except (BlockingIOError, TimeoutError):
            raise Timeout from None
        except OSError:
            return b""


# %% speak
def speak(connection: Connection, actor: Actor, flight: bytes) -> None:
    """Send a flight. Who hung up may have said why: so a broken line is noticed by reading."""
    if not connection.deaf:
        channel = connection.channel
        try:
            send_all(connection.socket, flight, channel, latest_end(channel, 180.0) - channel.now())
        except OSError:
            connection.deaf = True
        except Timeout as error:
            connection.deaf = True
            if not actor.done:
                actor.go_on(error=error)


# %% hang-up
def hang_up(connection: Connection) -> None:
    """Ask a connection, from another thread, to end as soon as no transaction is in hand."""
    connection.closing = True
    if connection.idle:
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RD)


# %% listen
def listen(connection: Connection, actor: Actor) -> None:
    """Wait for octets until the deadline; what comes instead is thrown into the conversation."""
    want = actor.want
    connection.idle = getattr(want, "idle", False)
    if connection.closing and connection.idle:
        return actor.go_on(error=Closing())
    seconds = actor.patience.deadline - actor.channel.now()
    try:
        data = connection.receive(seconds, BULK_READ if isinstance(want, Octets | Body) else LINE_READ)
    except Timeout as error:
        return actor.go_on(error=error)
    finally:
        connection.idle = False
    if data:
        actor.channel.hear(data)
    else:                                      # the other end is gone, or `hang_up` woke us
        actor.go_on(error=Closing() if connection.closing else Disconnected())

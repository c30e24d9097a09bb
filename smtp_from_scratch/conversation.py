"""A conversation is a generator: it says octets and wants answers, without a socket (RFC 821 §4.2, §4.3)."""
# Exported from notebooks/02_conversation.ipynb; edit the notebook.

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from .channel import Channel
from .transcript import Rehearsal, Said
from .wire import COMMAND_LIMIT, REPLY_LIMIT, BadReply, Reply, encode_reply, parse_reply

__all__ = [
    "NotYet", "NOT_YET", "Want", "Line", "Interruption", "Timeout", "Disconnected", "BothListening", "Work", "FLUSH",
    "OUTBOX_LIMIT", "Result", "Conversation", "Actor", "flights", "play", "rehearse", "Closing", "interrupt",
    "ReplyLine", "known_reply", "read_reply",
]


# %% module
class NotYet:
    """What `take` returns while the answer has not arrived."""


NOT_YET = NotYet()


class Want:
    """What a conversation waits for. It knows how to take its answer out of what has arrived."""

    __slots__ = ()
    timeout = 300.0                            # seconds (RFC 5321 §4.5.3.2)
    idle = False                               # nothing is lost if the other end is sent away now
    block = 65_536                             # octets to ask the system for at a time

    def take(self, channel: Channel) -> Any:
        """The answer, or NOT_YET; what it raises is thrown into the conversation."""
        raise NotImplementedError

    def deadline(self, now: float) -> float:
        """Until when to wait for it; asked once each time that it has to be waited for."""
        return now + self.timeout


# %% line
@dataclass(frozen=True, slots=True)
class Line(Want):
    """Want: one line without its CR LF, complete within `timeout` seconds (RFC 5321 §4.5.3.2)."""

    limit: int = COMMAND_LIMIT                 # octets, CR LF included
    timeout: float = 300.0
    idle: bool = False

    def take(self, channel: Channel) -> bytes | NotYet:
        line = channel.inbox.line(self.limit)
        return NOT_YET if line is None else line


# %% interruptions
class Interruption(Exception):
    """Thrown into a conversation in place of an answer; it decides what is still said."""


class Timeout(Interruption):
    """What was wanted did not come in time."""


class Disconnected(Interruption):
    """The other end is gone."""


class BothListening(RuntimeError):
    """Both ends wait for the other to speak: a bug in one of the two."""


# %% work
@dataclass(frozen=True, slots=True)
class Work(Want):
    """Want: what `function` returns, called once all that was said has left. It may block, as disks do."""

    function: Callable[[], Any]

    def take(self, channel: Channel) -> Any:
        if channel.waiting: return NOT_YET
        return channel.work(self) if channel.work and self is not FLUSH else self.function()


FLUSH = Work(lambda: None)                     # only the wait: all that was said has left (RFC 2920 §3.2)
OUTBOX_LIMIT = 65_536                          # octets that may wait before they are sent
Result = TypeVar("Result")
Conversation = Generator[bytes | Reply | Want, Any, Result]


# %% actor
class Actor:
    """One end at work: a conversation, played on a channel. It does no I/O; the stages do."""

    def __init__(self, conversation: Conversation[Any], channel: Channel) -> None:
        self.conversation, self.channel = conversation, channel
        self.want: Want = FLUSH                # what the conversation waits for
        self.done, self.result, self.deadline = False, None, 0.0
        self.resume()

    def resume(self, value: Any = None, error: BaseException | None = None) -> None:
        """Hand the conversation an answer, or an exception, and play it to its next want."""
        talk, channel = self.conversation, self.channel
        try:
            said: Any = talk.throw(error) if error else talk.send(value)
            while not isinstance(said, Want):
                if type(said) is Reply: said = encode_reply(said)
                elif type(said) is not bytes:
                    raise TypeError(f"a conversation yields bytes, a Reply or a want, not {said!r}")
                channel.say(said)
                said = FLUSH if channel.waiting >= OUTBOX_LIMIT else talk.send(None)
            self.want, self.deadline = said, 0.0
        except StopIteration as end:
            self.done, self.result = True, end.value

    def run(self) -> None:
        """Answer wants as long as the channel can; note the deadline of the one that it cannot answer."""
        channel = self.channel
        while not self.done:
            try:
                value = self.want.take(channel)
            except Exception as error:         # the conversation decides what becomes of it
                self.resume(error=error)
                continue
            if value is not NOT_YET:
                self.resume(value)
            elif channel.over and not (channel.waiting or isinstance(self.want, Work)):
                self.resume(error=channel.failure or Disconnected())
            else:
                self.deadline = self.deadline or channel.until(self.want)
                return


# %% play
def flights(actor: Actor) -> Iterator[bytes]:
    """Play an end as far as it goes with what it has heard; yields what must be sent meanwhile."""
    channel = actor.channel
    while True:
        actor.run()                            # meanwhile more was heard, perhaps, or the waiting has ended
        waiting, flight = channel.waiting, channel.output()
        if flight:
            yield flight
            if not (len(channel.inbox) or channel.layer or channel.over or isinstance(actor.want, Work)):
                return                         # nothing that could be answered now: no need to look
        elif not waiting: return               # else a layer that is broken has swallowed what was said


def play(conversation: Conversation[Result], sock: socket.socket) -> Result:
    """Play a conversation on a connected socket, and return its result; raises what it raises."""
    actor = Actor(conversation, Channel())
    while True:
        for flight in flights(actor):
            sock.sendall(flight)
        if actor.done:
            return actor.result  # type: ignore[return-value]
        if data := sock.recv(65_536):
            actor.channel.receive(data)
        else:
            actor.resume(error=Disconnected())


# %% rehearse
def rehearse(client: Conversation[Any], server: Conversation[Any], *, latency: float = 0.0,
             cut: Callable[[bytes], Iterable[bytes]] | None = None, patient: bool = False) -> Rehearsal:
    """Play both ends in memory; `latency` is the way there in seconds, on a clock that nobody waits for.

    `cut` says in which pieces a flight arrives. When both ends listen, BothListening is raised, or, with
    `patient`, the clock jumps to the first timeout.
    """
    clock, said, wire = [0.0], list[Said](), deque[tuple[float, Actor, Actor, bytes]]()
    ends = [Actor(talk, Channel(role, said.append, lambda: clock[0]))
            for role, talk in (("C", client), ("S", server))]
    moving = [ends, ends[::-1]]                # who has something to do, and who will hear of it
    while True:
        for actor, other in moving:
            for flight in flights(actor):
                for piece in cut(flight) if cut else (flight,):
                    wire.append((clock[0] + latency, other, actor, piece))
        if wire:
            clock[0], actor, other, piece = wire.popleft()
            actor.channel.receive(piece)
            moving = [[actor, other]]
        elif all(actor.done for actor in ends):
            return Rehearsal(ends[0].result, ends[1].result, said, clock[0])
        else:
            interrupt(ends, clock, patient)
            moving = [ends, ends[::-1]]


# %% interrupt
class Closing(Interruption):
    """This end is being shut down, and the conversation is idle."""


def interrupt(ends: list[Actor], clock: list[float], patient: bool) -> None:
    """Nobody speaks any more: hang up on an end that is left alone, or let the clock jump ahead."""
    listening = [actor for actor in ends if not actor.done]
    if len(listening) == 1:
        return listening[0].resume(error=Disconnected())
    if not patient:
        raise BothListening(f"both ends are listening: {' and '.join(repr(actor.want) for actor in listening)}")
    first = min(listening, key=lambda actor: actor.deadline)
    clock[0] = max(clock[0], first.deadline)
    first.resume(error=Timeout())


# %% read-reply
@dataclass(slots=True)
class ReplyLine(Want):
    """Want: the next line of a reply. All its lines share one deadline (RFC 5321 §4.5.3.2)."""

    timeout: float = 300.0                     # seconds for the whole reply
    until: float = math.inf

    def take(self, channel: Channel) -> bytes | NotYet:
        line = channel.inbox.line(REPLY_LIMIT)
        return NOT_YET if line is None else line

    def deadline(self, now: float) -> float:
        self.until = min(self.until, now + self.timeout)
        return self.until


known_reply = lru_cache(64)(parse_reply)        # fifty recipients get the same line fifty times


def read_reply(timeout: float = 300.0, limit: int = 32_768) -> Conversation[Reply]:
    """Want lines until a reply is complete (RFC 5321 §4.2.1), in `limit` octets, `timeout` seconds in all."""
    want = ReplyLine(timeout)
    lines = [line := (yield want)]
    while line[3:4] == b"-" and line[:3].isdigit():       # what is no reply is not read on
        lines.append(line := (yield want))
        if sum(map(len, lines)) > limit:
            raise BadReply(f"a reply of more than {limit} octets")
    return known_reply(tuple(lines))

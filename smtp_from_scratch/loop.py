"""One thread for all callers: whoever is ready goes on, and nobody waits for anybody else (RFC 5321 §4.5.3)."""
# Exported from notebooks/26_loop.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

from .channel import Channel
from .connection import INBOX_LIMIT, SEND_TIMEOUT, Connection
from .conversation import NOT_YET, Actor, Closing, Conversation, Disconnected, Timeout, Want, Work
from .flight import TOGETHER, Flights, Kept
from .printable import logger
from .server import Caller, Places, ThreadedServer, shut_down
from .throttle import Pause, origin
from .together import together
from .transcript import Tap
from .tray import GROUP, Tray, drop
from .unix import caller_of

__all__ = [
    "send_some", "Job", "do_all", "Call", "FLIGHTS", "play", "events_for", "Worker", "log", "SWEEP", "overdue", "Loop",
    "ACCEPTS", "PLACES", "HERE", "Door", "LoopServer",
]


# %% module
def send_some(sock: socket.socket, data: bytes) -> bytes:
    """Send what the line takes at once; returns the rest. Raises OSError when the line is broken."""
    try:
        return data[sock.send(data) :]
    except BlockingIOError:
        return data


# %% non-blocking
class NonBlocking(Connection):
    """A connection whose socket never waits: what the line does not take at once stays in `unsent`."""

    def __init__(self, sock: socket.socket, tap: Tap | None = None) -> None:
        super().__init__(sock, "S", tap)
        sock.setblocking(False)
        self.unsent, self.deadline = b"", math.inf         # until when it waits, for whatever it waits for
        self.deaf = self.parting = self.gone = False       # it has said all; so have we; nobody is there

    def send(self, data: bytes) -> None:
        """Send what the line takes. A broken one is noticed by reading: the other end may have said why."""
        waited = self.unsent
        try:
            self.unsent = b"" if self.write_failed else send_some(self.socket, data)
        except OSError:
            self.unsent, self.write_failed = b"", True
        if self.unsent and not waited:
            channel = self.channel
            self.deadline = min(channel.now() + min(SEND_TIMEOUT, channel.longest_wait), channel.deadline)

    def hear(self, size: int) -> bytes | None:
        """What has arrived; `b""` at the end of it, None when there is nothing yet."""
        try:
            return self.socket.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def part(self, patience: float = 1.0) -> None:
        """Say the last words, and read on for a moment: with octets unread, closing would destroy them."""
        self.write_failed, self.unsent = self.write_failed or bool(self.unsent), b""
        self.parting, self.deadline = True, self.channel.now() + patience
        with contextlib.suppress(OSError):
            if last := self.goodbye():
                self.socket.send(last)
            self.socket.shutdown(socket.SHUT_WR)


# %% job
@dataclass(slots=True, eq=False)
class Job(Want):
    """Want: the result of a function that somebody else calls, or the end of a pause."""

    function: Callable[[], Any]
    until: float = math.inf                    # when the pause is over
    outcome: Any = NOT_YET
    error: BaseException | None = None

    def do(self) -> None:
        """Call the function, and note what came of it."""
        try:
            self.outcome = self.function()
        except BaseException as error:         # also SystemExit: it must not end the thread of the others
            self.error = error

    def take(self, channel: Channel) -> Any:
        if self.error is not None:
            raise self.error
        return self.outcome


def do_all(jobs: list[Job]) -> None:
    """Do jobs one after the other, but those that consist of steps together."""
    letters = {job: steps for job in jobs if (steps := getattr(job.function, "together", None))}
    for job, played in zip(letters, together(steps() for steps in letters.values()), strict=True):
        job.outcome, job.error = played.result, played.error
    for job in jobs:
        if job not in letters: job.do()


# %% delegating
class Delegating(NonBlocking):
    """A line whose conversation does no work itself: it becomes a job for somebody else."""

    def __init__(self, sock: socket.socket, tap: Tap | None = None) -> None:
        super().__init__(sock, tap)
        self.job: Job | None = None            # what must be done before the conversation goes on
        self.new = False                       # True until the job is handed over
        self.channel.work = self.work

    def work(self, work: Work) -> Any:
        """The outcome of some work, and NOT_YET until there is one; raises what it raised."""
        job, self.job = self.job, None
        if job is None:
            pause = work.seconds if isinstance(work, Pause) else math.inf
            job = Job(work.function, self.channel.now() + pause)
            self.new = pause == math.inf       # a pause needs no worker
        outcome = job.take(self.channel)
        if outcome is NOT_YET:
            self.job = job
        return outcome

    def part(self, patience: float = 1.0) -> None:
        self.job, self.new = None, False       # a worker that has begun ends it, and nobody asks
        super().part(patience)


# %% call
class Call(Kept, Delegating):
    """A caller, and a conversation that goes on whenever it can."""

    def __init__(self, sock: socket.socket, peer: str, talk: Conversation[Any], tap: Tap | None = None) -> None:
        super().__init__(sock, tap)
        self.peer, self.actor = peer, Actor(talk, self.channel)
        self.busy = False                      # more to do than fits into a turn
        self.awaited = self.watched = 0        # events that it waits for; those that are looked for

    def take_in(self) -> None:
        """Hand on what has arrived, and the end of it when all is sent: who says no more may still listen."""
        data = self.hear(self.actor.want.block)
        if data:
            if not self.parting: self.channel.receive(data)
        elif data is not None:
            self.gone, self.deaf = self.parting, bool(self.unsent)
            if not (self.gone or self.deaf or self.actor.done):
                self.actor.resume(error=Closing() if self.closing else Disconnected())

    def give_up(self) -> None:
        """The time of what it waited for is over, or the pause that it waits for."""
        job, stuck = self.job, bool(self.unsent)
        self.write_failed, self.unsent, self.gone = self.write_failed or stuck, b"", self.parting
        if job is not None:                    # only a pause has an end
            if job.until <= self.channel.now(): job.outcome = None
        elif not (self.gone or self.actor.done):
            self.actor.resume(error=Timeout())

    def break_off(self) -> None:
        """Part in the midst of the conversation, which lets go of what it has open."""
        with contextlib.suppress(Exception): self.actor.conversation.close()
        self.part()


# %% play
FLIGHTS = 8                                    # that may leave in one turn


def play(call: Call) -> bool:
    """Play on until something must come, or the line is full; True when a turn is not enough for that."""
    actor, channel = call.actor, call.channel
    for _ in range(FLIGHTS):
        actor.run()
        if call.job or not (isinstance(actor.want, Work) or channel.over):
            return False                       # what was said leaves with the flights of all
        waiting = channel.waiting
        call.set_off()
        if call.unsent or not waiting: return False
    return True


def events_for(call: Call) -> int:
    """The events that a call waits for: octets, room on the line, or none as long as somebody works for it."""
    if call.unsent:
        hearing = not (call.deaf or call.channel.over) and len(call.channel.inbox) < INBOX_LIMIT
        return EVENT_WRITE | EVENT_READ if hearing else EVENT_WRITE
    return 0 if call.busy or call.job else EVENT_READ


# %% go-on
LATE = 4                                       # what may happen beside EVENT_READ, 1, and EVENT_WRITE, 2


def go_on(call: Call, happened: int = 0) -> None:
    """Act on what has happened to a call, play on, and note what it waits for then."""
    if happened & LATE:
        call.give_up()
    call.idle = call.busy = False
    if happened & EVENT_READ:                  # first: while something is unsent, the end is not the end yet
        call.take_in()
    if happened & EVENT_WRITE:
        call.set_off()
    if call.parting or len(call.unsent):
        return
    call.busy, actor = play(call), call.actor
    if actor.done: call.set_off()              # the goodbye, before we part
    if call.unsent: return
    if actor.done: return call.part()
    if call.busy or call.job:
        call.deadline = call.job.until if call.job else math.inf
    else:
        call.deadline, call.idle = actor.deadline, actor.want.idle
    if call.closing and call.idle:
        actor.resume(error=Closing())
        call.busy = True


# %% worker
class Worker:
    """Threads for whatever may block, and one for letters that go together; each rings a bell when done."""

    def __init__(self, count: int = 1) -> None:
        self.alone, self.letters, self.finished = Tray[Call](count), Tray[Call](1, GROUP, 0.001), deque[Call]()
        self.bell, self._ringer = socket.socketpair()      # sockets: a selector cannot look out for a queue
        for end in self.bell, self._ringer: end.setblocking(False)
        self.threads = [threading.Thread(target=self.work, args=[tray], name="worker", daemon=True)
                        for tray in (self.alone, self.letters) for _ in range(tray.threads)]

    def start(self) -> None:
        """Begin to work."""
        for thread in self.threads: thread.start()

    def hand_over(self, batch: list[Call]) -> None:
        """Sort the jobs of a turn; a call that has parted meanwhile has none."""
        steps = [getattr(call.job and call.job.function, "together", None) for call in batch]
        self.letters.put([call for call, found in zip(batch, steps, strict=True) if found])
        self.alone.put([call for call, found in zip(batch, steps, strict=True) if not found])

    def work(self, tray: Tray[Call]) -> None:
        """The loop of a thread, which ends when its tray is closed."""
        while batch := tray.take():
            do_all([job for call in batch if (job := call.job)])
            self.finished.extend(batch)
            self.ring()

    def ring(self) -> None:
        """Wake whoever looks out for the bell."""
        with contextlib.suppress(OSError): self._ringer.send(b"!")     # full: it rings; closed: nobody hears

    def collect(self) -> list[Call]:
        """Silence the bell; returns those whose jobs are done."""
        with contextlib.suppress(OSError): self.bell.recv(4096)
        return [self.finished.popleft() for _ in range(len(self.finished))]

    def close(self) -> None:
        """Let each thread end after what it has in hand."""
        for tray in self.alone, self.letters: tray.close()
        for end in self.bell, self._ringer: end.close()


# %% overdue
log = logger(__name__)
SWEEP = 0.1                                    # seconds between two looks at all deadlines


def overdue(calls: Iterable[Call], now: float) -> tuple[list[Call], float]:
    """Those whose time is over, and the moment of the next look: not at once, since everybody is looked at."""
    late = [call for call in calls if call.deadline <= now]
    ahead = min((call.deadline for call in calls if call.deadline > now), default=math.inf)
    return late, max(ahead, now + SWEEP)


# %% calls
class Calls:
    """All calls, in the server's table, and what each of them waits for."""

    def __init__(self, calls: dict[Any, Any]) -> None:
        self.selector, self.calls, self.flights = selectors.DefaultSelector(), calls, Flights(self.attend)
        self.busy, self.batch = set[Call](), dict[Call, None]()  # who has more to do; whose job is new
        self.alarm = math.inf                  # when to look who is late

    def attend(self, call: Call, happened: int = 0) -> None:
        """Let a call go on; whatever goes wrong is the end of this call alone."""
        if happened and not call.awaited and happened != LATE:
            self.selector.unregister(call.socket)          # what it says must wait, or would wake us each turn
            call.watched = 0
            return
        try:
            go_on(call, happened)
        except BaseException as error:
            note = log.info if isinstance(error, ConnectionError) else log.exception
            note("%s: the session broke off: %s", call.peer, error)
            call.break_off()
        if call.gone: return self.leave(call)
        if (call.channel.waiting or call.channel.layer) and not call.parting: self.flights.lines.append(call)
        call.awaited = events = events_for(call)
        if not events or events != call.watched: self.watch(call)
        if call.deadline < self.alarm: self.alarm = call.deadline

    def watch(self, call: Call) -> None:
        """It waits for something new: somebody's work, its next turn, or other events."""
        if call.busy: self.busy.add(call)
        elif call.new: self.batch[call] = None
        if call.awaited:
            tell = self.selector.modify if call.watched else self.selector.register
            tell(call.socket, call.awaited, partial(self.attend, call))
            call.watched = call.awaited

    def leave(self, call: Call) -> None:
        """Both ends have said all."""
        if call.watched: self.selector.unregister(call.socket)
        call.socket.close()
        del self.calls[call]


# %% loop
class Loop(Calls):
    """One thread that turns to whoever is ready, and to nobody else."""

    def __init__(self, calls: dict[Any, Any], workers: int = 1) -> None:
        super().__init__(calls)
        self.worker = Worker(workers)
        self.selector.register(self.worker.bell, EVENT_READ, self.collect)

    def turn(self) -> None:
        """Wait until something happens; let those concerned go on; hand over what is work."""
        patience = 0.0 if self.busy else self.alarm - time.monotonic()
        ready = self.selector.select(None if patience == math.inf else patience)
        busy, self.busy = self.busy, set()
        for call in busy: self.attend(call)
        for key, happened in ready:
            key.data(happened)
            if len(self.flights.lines) >= TOGETHER: self.flights.leave()
        if (now := time.monotonic()) >= self.alarm:
            self.sweep(now)
        self.flights.leave()
        if self.batch:
            self.worker.hand_over([*self.batch])
            for call in self.batch: call.new = False
            self.batch.clear()

    def collect(self, happened: int) -> None:
        """The bell has rung: some jobs are done."""
        for call in self.worker.collect():
            if call in self.calls: self.attend(call)       # it may have left meanwhile

    def sweep(self, now: float) -> None:
        """Whoever is late hears of it."""
        late, self.alarm = overdue(self.calls, now)
        for call in late:
            self.attend(call, LATE)

    def close(self) -> None:
        """Nobody is left."""
        self.selector.close()
        self.worker.close()


# %% door
ACCEPTS, PLACES, HERE = 16, Places(), "127.0.0.1"      # let in in one turn; there at all; where


class Door:
    """A listening socket that a loop looks after: a few callers in a turn, since others are on the line."""

    def __init__(self, listener: socket.socket, loop: Loop,
                 accept: Callable[[socket.socket, str], None]) -> None:
        self.listener, self.loop, self.accept, self.closed = listener, loop, accept, threading.Event()
        self.shut_until = 0.0
        listener.setblocking(False)

    def open(self) -> None:
        """Answer calls, if the door is shut, and need not be any longer."""
        if self.shut_until < math.inf and time.monotonic() >= self.shut_until:
            self.loop.selector.register(self.listener, EVENT_READ, self.answer)
            self.shut_until = math.inf
        self.loop.alarm = min(self.loop.alarm, self.shut_until)        # a sweep forgets it

    def answer(self, happened: int) -> None:
        """Let in whoever is there, but not too many at a time."""
        try:
            for _ in range(ACCEPTS):
                sock, peer = self.listener.accept()
                self.accept(sock, caller_of(peer))
        except BlockingIOError:
            pass
        except OSError:                        # out of file descriptors: somebody will leave
            self.loop.selector.unregister(self.listener)
            self.shut_until = time.monotonic() + SWEEP

    def close(self) -> None:
        """From now on nobody is let in."""
        with contextlib.suppress(KeyError):    # it waits for a file descriptor
            self.loop.selector.unregister(self.listener)
        self.listener.close()
        self.closed.set()


# %% loop-server
class LoopServer(ThreadedServer):
    """Plays `conversation(peer)` for every caller, all of them in one thread."""

    def __init__(self, conversation: Callable[[str], Conversation[Any]], host: str | socket.socket = HERE,
                 port: int = 0, *, places: Places = PLACES, tap: Tap | None = None, workers: int = 1) -> None:
        super().__init__(conversation, host, port, places=places, tap=tap)
        self.loop = Loop(self.callers, workers)
        self.door = Door(self.listener, self.loop, self.accept)

    def admit(self, sock: socket.socket, peer: str) -> None:
        """Begin to play with a caller."""
        try: call = Call(sock, peer, self.conversation(peer), self.tap)
        except BaseException:                  # in the conversation's first words: only this call ends
            log.exception("%s: the session failed", peer)
            return sock.close()
        channel, self.callers[call] = call.channel, Caller(call, self._doorman, origin(peer))
        channel.longest_wait, channel.deadline = self.longest_wait, channel.now() + self.longest_session
        self.loop.attend(call)

    def answer_calls(self) -> None:
        """The loop of the only thread, until everybody has left after closing time."""
        self.loop.worker.start()
        while not self.stopping:
            self.door.open()
            self.loop.turn()
        self.door.close()
        while self.callers: self.loop.turn()
        self.loop.close()

    def stop(self, grace: float = 10.0) -> None:
        """Take no more calls; let transactions in hand finish for `grace` seconds, then cut them off."""
        self.stopping = True
        self.loop.worker.ring()
        if self._doorman.is_alive():
            self.door.closed.wait(1.0 + grace)             # a policy that blocks delays the door
            shut_down(list(self.callers.copy().values()), grace)
            drop(self.loop.worker)
        elif not self.door.closed.is_set():    # nobody has begun
            self.door.close()
            self.loop.close()

"""A server without threads: its callers are players, who play on whenever somebody waits."""

from __future__ import annotations

import math
from typing import Any

from smtp_from_scratch.connection import Connection, linger
from smtp_from_scratch.conversation import Actor, Closing, Conversation, Disconnected, Timeout, flights
from smtp_from_scratch.memory.turns import Turns
from smtp_from_scratch.server import Caller, Doorman, ThreadedServer, log
from smtp_from_scratch.throttle import origin


class Guest:
    """What is known of a caller; it is waited for as for a thread."""

    def __init__(self, server: ThreadedServer, connection: Connection, peer: str, turns: Turns) -> None:
        self.server, self.connection, self.peer, self.turns = server, connection, peer, turns
        self.actor: Actor | None = None
        self.busy = self.done = False
        connection.channel.now = turns.now

    def join(self, timeout: float | None = None) -> None:
        """As `Thread.join`."""
        self.turns.wait(lambda: self.done, math.inf if timeout is None else self.turns.now() + timeout)

    def is_alive(self) -> bool:
        """As `Thread.is_alive`."""
        return not self.done


class Played(Guest):
    """A caller of a server, as a player."""

    def step(self) -> bool:
        """Play as far as can be played now."""
        if self.busy or self.done:             # somebody whom this very caller waits for
            return False
        self.busy = True
        try:
            return self.play_on()
        except ConnectionError as error:
            log.info("%s: the line broke: %s", self.peer, error)
        except Exception:
            log.exception("%s: the session failed", self.peer)
        finally:
            self.busy = False
        self.end()
        return True

    def play_on(self) -> bool:
        """Hear, and answer; whether there was anything to hear."""
        channel = self.connection.channel
        if self.actor is None:
            conversation: Conversation[Any] = self.server.conversation(self.peer)
            self.actor = Actor(conversation, channel)
        elif not self.hear(self.actor):
            return False
        for flight in flights(self.actor):
            self.connection.socket.force(flight)  # type: ignore[attr-defined]
        if self.actor.done:
            self.end()
        return True

    def hear(self, actor: Actor) -> bool:
        """Take in what has arrived, or what happened instead."""
        closing = self.connection.closing
        if closing and actor.want.idle:
            actor.resume(error=Closing())
        elif self.connection.socket.readable():  # type: ignore[attr-defined]
            if data := self.connection.socket.recv(actor.want.block):
                self.connection.channel.receive(data)
            else:
                actor.resume(error=Closing() if closing else Disconnected())
        elif actor.deadline <= self.turns.now():
            actor.resume(error=Timeout())
        else:
            return False
        return True

    def end(self) -> None:
        """Say what is still to be said, and hang up."""
        self.done = True
        self.turns.players.remove(self)
        self.server.callers.pop(self.connection, None)
        linger(self.connection.socket, 0.0, last=self.connection.goodbye())

    def due(self) -> float:
        """When the conversation has waited long enough."""
        return math.inf if self.actor is None or self.busy else self.actor.deadline


class Answering:
    """A server's doorman, who plays too."""

    def __init__(self, doorman: Doorman) -> None:
        self.doorman = doorman

    def step(self) -> bool:
        """Answer who calls."""
        listener: Any = self.doorman.listener
        if self.doorman.stopping or listener.closed:
            listener.network.turns.players.remove(self)
            return False
        if not listener.calls:
            return False
        sock, peer = listener.accept()
        self.doorman.accept(sock, peer[0])
        return True

    def due(self) -> float:
        """Never: somebody calls, or nobody does."""
        return math.inf


def start(self: Doorman) -> None:
    """In place of `Doorman.start`: begin to answer calls."""
    listener: Any = self.listener
    listener.network.turns.players.append(Answering(self))


def admit(self: ThreadedServer, sock: Any, peer: str) -> None:
    """In place of `ThreadedServer.admit`: begin to play with a caller."""
    player = Played(self, Connection(sock, "S", self.tap), peer, sock.network.turns)
    channel = player.connection.channel
    channel.longest_wait, channel.deadline = self.longest_wait, channel.now() + self.longest_session
    thread: Any = player
    self.callers[player.connection] = Caller(player.connection, thread, origin(peer))
    player.turns.players.append(player)

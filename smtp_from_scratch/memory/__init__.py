"""The stage for a machine without sockets and threads, such as a browser: both ends in one thread, in memory.

A server listens in this process. Whoever waits, for octets or for a time, lets the others play on meanwhile, and time
in which nobody has anything to do is skipped. `installed()` puts it in the place of sockets, for a while; in the
browser the package does so when it is imported, and nowhere else is anything of this loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import time
from collections.abc import Iterator
from typing import Any

from smtp_from_scratch.memory.network import CONSTANTS, Network
from smtp_from_scratch.memory.selector import selector_class
from smtp_from_scratch.memory.sockets import socket_class, socket_pair
from smtp_from_scratch.memory.turns import NobodyLeft, Turns

__all__ = ["Network", "NobodyLeft", "Turns", "install", "installed"]

Patch = tuple[Any, str, Any]                   # an object, the name of an attribute, what it is to be


def sockets(network: Network) -> list[Patch]:
    """What stands in for sockets."""
    return [(socket, "socket", socket_class(network)), (socket, "socketpair", socket_pair(network)),
            (socket, "getaddrinfo", network.find_address), (socket, "has_dualstack_ipv6", lambda: True),
            (selectors, "DefaultSelector", selector_class(network.turns))]


def servers(threads: bool = False) -> list[Patch]:
    """What stands in for the threads of a server, and for the loop's one thread where there is none either."""
    from smtp_from_scratch.loop import LoopServer
    from smtp_from_scratch.memory import stage
    from smtp_from_scratch.server import Doorman, ThreadedServer

    patches: list[Patch] = [(ThreadedServer, "start", stage.start), (ThreadedServer, "admit", stage.admit)]
    if threads:
        return [*patches, (LoopServer, "start", Doorman.start)]
    return [*patches, (LoopServer, "admit", stage.admit), (LoopServer, "stop", ThreadedServer.stop)]


def clock(turns: Turns) -> list[Patch]:
    """What stands in for the clock, for all of the process."""
    ahead = time.time() - turns.now()
    return [(time, "monotonic", turns.now), (time, "perf_counter", turns.now), (time, "sleep", turns.sleep),
            (time, "time", lambda: ahead + turns.now())]


def put(patches: list[Patch]) -> None:
    """Put things in the place of others."""
    for target, name, new in patches:
        setattr(target, name, new)


@contextlib.contextmanager
def installed() -> Iterator[Network]:
    """Sockets in memory, servers that play on while somebody waits, and their clock, until the block ends."""
    network = Network(Turns())
    patches = sockets(network) + servers() + clock(network.turns)
    before = [(target, name, vars(target).get(name, ...)) for target, name, _ in patches]
    put(patches)
    try:
        yield network
    finally:
        for target, name, old in before:
            delattr(target, name) if old is ... else setattr(target, name, old)


def install() -> None:
    """The same for good, with the clock, and with threads where the browser can set a stack aside."""
    from smtp_from_scratch.memory.browser import collect_between_cells, files, loops, tls
    from smtp_from_scratch.memory.browser import turns as turns_here
    from smtp_from_scratch.memory.fibers import Fibers, locks, threads
    from smtp_from_scratch.memory.stretch import by_browser, pbkdf2_hmac

    turns = turns_here()
    put([(socket, name, number) for name, number in CONSTANTS.items() if not hasattr(socket, name)])
    put([*sockets(Network(turns)), *clock(turns), *locks(turns), *files(), *tls()])
    if not hasattr(hashlib, "pbkdf2_hmac"):
        put([(hashlib, "pbkdf2_hmac", by_browser if isinstance(turns, Fibers) else pbkdf2_hmac)])
    if isinstance(turns, Fibers):
        put([*threads(turns), *loops(selectors.DefaultSelector)])
        collect_between_cells()
    put(servers(isinstance(turns, Fibers)))

"""Which server is next? The hosts of a domain, in order, and a delivery that tries them (RFC 5321 §5)."""
# Exported from notebooks/22_relay.ipynb; edit the notebook.

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import IO, Any

from .client import SMTPServerDisconnected
from .envelope import Envelope
from .printable import logger
from .queue import UNKNOWN, Relayed, forward
from .resolver import Address, NoRoute, NoSuchDomain, Record, Resolver
from .wire import Reply

__all__ = [
    "log", "Zone", "look_up", "in_order", "exchanges", "left_over", "Try", "try_each", "Connect", "reach", "Route",
    "by_route", "Carried", "Door", "knock", "say_of_all", "ADDRESS_LIMIT", "NOWHERE", "Relay",
]


# %% module
log = logger(__name__)


# %% zone
@dataclass(slots=True)
class Zone:
    """A small DNS in memory: MX records by domain, addresses by host. None: nobody answers."""

    records: Mapping[str, Sequence[Record] | None] = field(default_factory=dict)
    hosts: Mapping[str, Sequence[Address]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)         # the questions so far

    def mx(self, domain: str) -> Iterable[Record]:
        return self.answer(self.records, domain, "MX")

    def addresses(self, host: str) -> Iterable[Address]:
        return self.answer(self.hosts, host, "A")

    def answer(self, table: Mapping[str, Sequence[Any] | None], name: str, kind: str) -> Sequence[Any]:
        """What a table has about a name."""
        self.asked.append(f"{name} {kind}")
        if name not in self.records and name not in self.hosts:
            raise NoSuchDomain(name)
        found = table.get(name, ())
        if found is None:
            raise TimeoutError(f"nobody answers for {name}")
        return found


# %% noroute
def look_up(question: Callable[[str], Iterable[Any]], name: str) -> list[Any]:
    """The answer to a question about a name; NoRoute if there is no such name, or no answer (RFC 5321 §5.1)."""
    try:
        return list(question(name))
    except NoSuchDomain: raise NoRoute(550, f"there is no domain {name}", "5.1.2") from None
    except Exception as error:                 # even a mistake of ours costs time, and no letter
        log.info("no answer about %s: %s: %s", name, type(error).__name__, error)
        raise NoRoute(451, f"nobody answers questions about {name} now", "4.4.3") from None


# %% in-order
def in_order(records: Iterable[Record],
             shuffle: Callable[[MutableSequence[Any]], Any] = random.shuffle) -> list[str]:
    """The hosts, low preferences first, equals in any order (RFC 5321 §5.1)."""
    mixed = list(records)
    shuffle(mixed)
    return [host for _, host in sorted(mixed, key=itemgetter(0))]


# %% exchanges
def exchanges(domain: str, resolver: Resolver, ourselves: Collection[str] = ()) -> list[Record]:
    """The records of the hosts to try for a domain; NoRoute if there are none (RFC 5321 §5.1, RFC 7505 §3)."""
    domain = domain.lower()
    found = [] if domain.startswith("[") else look_up(resolver.mx, domain)     # an address needs no question
    records = [(preference, host.lower().rstrip(".")) for preference, host in found] or [(0, domain)]
    named = [(preference, host) for preference, host in records if host]
    if not named:                              # `MX 0 .`
        raise NoRoute(556, f"{domain} takes no mail", "5.1.10")
    ours = min((preference for preference, host in named if host in ourselves), default=None)
    better = [(preference, host) for preference, host in named if ours is None or preference < ours]
    if not better:
        raise NoRoute(554, f"the mail for {domain} would come back to us", "5.4.6")
    return sorted(better)


# %% left-over
def left_over(replies: Mapping[str, Reply]) -> list[str]:
    """Those whom the next host may help: a refusal for now, unless the message may have arrived."""
    return [address for address, reply in replies.items() if reply.temporary and reply != UNKNOWN]


# %% try-each
Try = Callable[[list[str]], Mapping[str, Reply]]       # asks a host about recipients


def try_each(tries: Iterable[Try], recipients: Iterable[str]) -> dict[str, Reply]:
    """Ask one host after another about those who are left; the last word about each (RFC 5321 §5.1)."""
    replies, left = dict[str, Reply](), list(recipients)
    for ask in tries:
        said = ask(left)
        replies |= said
        left = left_over(said)
        if not left:
            break
    return replies


# %% reach
Connect = Callable[[str, Address, bool], Any]  # returns a Client; True: with TLS, if the host offers it


def reach(connect: Connect, host: str, address: Address) -> Any:
    """A session: sealed where STARTTLS is offered, in the clear where TLS fails (RFC 7435 §3)."""
    try:
        return connect(host, address, True)
    except (ssl.SSLError, SMTPServerDisconnected) as error:
        if isinstance(error, TimeoutError) or getattr(error, "reply", None):
            raise                              # slow, or a 421: the host does not want us now
        log.info("%s: %s; once more without TLS", host, error)
        return connect(host, address, False)


# %% by-route
Route = tuple[Record, ...]


def by_route(recipients: Iterable[str], find: Callable[[str], list[Record]]
             ) -> tuple[dict[Route, list[str]], dict[str, Reply]]:
    """Recipients by the records that `find` has for their domains, and a reply for each who has none.

    Each domain is asked for once; domains with the same servers share a transaction.
    """
    routes, refused = dict[Route, list[str]](), dict[str, Reply]()
    known = dict[str, Route | Reply]()
    for address in recipients:
        domain = address.rpartition("@")[2].lower()
        if domain not in known:
            try:
                known[domain] = tuple(find(domain))
            except NoRoute as error:
                known[domain] = error.reply
        match known[domain]:
            case Reply() as reply: refused[address] = reply
            case route: routes.setdefault(route, []).append(address)
    return routes, refused


# %% carried
class Carried(Relayed):
    """The last reply about each recipient; `attempts`: which host said what, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[tuple[str, Relayed]] = []

    @property
    def parts(self) -> list[Relayed]:
        """The same by who had the last word: a report names one host."""
        parts, rest = list[Relayed](), dict(self)
        for _, said in reversed(self.attempts):
            part = Relayed((address, rest.pop(address)) for address in said if address in rest)
            part.remote_mta, part.success = said.remote_mta, said.success
            parts.append(part)
        return [part for part in (Relayed(rest), *reversed(parts)) if part]


Door = Callable[[Envelope, IO[bytes]], Any]    # a `deliver` to one address of a host; its answer is a Relayed


def knock(outcome: Carried, host: str, deliver: Door, envelope: Envelope, body: IO[bytes],
          left: list[str]) -> Mapping[str, Reply]:
    """One attempt for those who are left; it is noted."""
    body.seek(0)
    said: Relayed = deliver(replace(envelope, recipients=left), body)
    outcome.attempts.append((host, said))
    return said


def say_of_all(reply: Reply, envelope: Envelope, body: IO[bytes]) -> Relayed:
    """A `deliver` that asks nobody."""
    return Relayed((address, reply) for address in envelope.recipients)


# %% relay
ADDRESS_LIMIT = 5                              # addresses that a message tries in vain before it waits
NOWHERE = Reply(550, "none of the domain's servers has an address", "5.4.4")


class Relay:
    """A `deliver` that hands a message to the servers of its recipients' domains; put a Queue before it.

    `connect(host, address, secure)` returns a Client. `ourselves`: other names of this host (RFC 5321 §5.1).
    """

    def __init__(self, hostname: str, resolver: Resolver, connect: Connect,
                 ourselves: Iterable[str] = ()) -> None:
        self.resolver, self.connect = resolver, connect
        self.ourselves = frozenset(name.lower() for name in (hostname, *ourselves))

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Carried:
        """A reply for each recipient: 2yz is on its way, 4yz may be tried again, 5yz goes back."""
        outcome = Carried()
        find = partial(exchanges, resolver=self.resolver, ourselves=self.ourselves)
        routes, refused = by_route(envelope.recipients, find)
        outcome |= refused
        for route, recipients in routes.items():
            tries = (partial(knock, outcome, host, door, envelope, body) for host, door in self.doors(route))
            outcome |= dict.fromkeys(recipients, NOWHERE) | try_each(islice(tries, ADDRESS_LIMIT), recipients)
        return outcome

    def doors(self, route: Route) -> Iterator[tuple[str, Door]]:
        """Each address of each host, to try in this order; a host that has none is passed over."""
        for host in in_order(route):
            try:
                for address in look_up(self.resolver.addresses, host):
                    yield host, forward(partial(reach, self.connect, host, address), host)
            except NoRoute as error:
                if error.reply.temporary:
                    yield host, partial(say_of_all, error.reply)

"""The checks of `relay`: hosts in order, records, who is left, tries, routes; who is called, and where it came in."""
from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from smtp_from_scratch import relay as ours
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.queue import UNKNOWN
from smtp_from_scratch.relay import Zone
from smtp_from_scratch.resolver import NoRoute, Record
from smtp_from_scratch.wire import Reply

YUI, KENJI, LI, BO = "yui@tokyo.example", "kenji@tokyo.example", "li@tokyo.example", "bo@oslo.example"
KEPT, FULL, NOBODY = Reply(250, "kept"), Reply(452, "full", "4.2.2"), Reply(550, "nobody", "5.1.1")
CLOSING = Reply(421, "closing")


def blank(value: object) -> bool:
    """Whether this is still what the stub returns."""
    return value is None or value is ...


# --- your turn: in order ---------------------------------------------------------------------------------------------

MIXED = [(20, "c"), (100, "e"), (10, "a"), (20, "d"), (10, "b")]


@check(
    hints=(
        "What becomes of the order of equals if you sort a list that has been shuffled?",
        "mixed = list(records); shuffle(mixed); then sorted(mixed, key=lambda record: record[0])",
        "Make a list of your own, so that the caller's stays as it is. Shuffle it, then sort it by the preference "
        "alone: a sort leaves equals in the order that they had. Return the hosts without their preferences.",
    ),
    passed="Low preferences first, and each of several equals has its share.",
)
def check_in_order(my_in_order: Callable[..., Any]) -> Problem | None:
    """Hosts in the order in which to try them."""
    found = set()
    for number in range(60):
        given = list(MIXED)
        hosts = my_in_order(given, random.Random(number).shuffle)
        if blank(hosts):
            raise NotYet("return a list of hosts.")
        if problem := problem_of_order(hosts, given):
            return problem
        found.add(tuple(hosts))
    if len(found) < 4:
        return Problem(gave=f"{len(found)} different {'order' if len(found) == 1 else 'orders'} in 60 attempts",
                       wire="One of two equal hosts gets more than its share of the calls, or all of them.",
                       look="RFC 5321 §5.1: equals in a random order; the two pairs here have four. Use the `shuffle` "
                            "that was given.")
    return None


def problem_of_order(hosts: Any, given: list[Record]) -> Problem | None:
    """What is wrong with one answer."""
    if not isinstance(hosts, list | tuple) or not all(isinstance(host, str) for host in hosts):
        return Problem(gave=f"{hosts!r:.200}", wire="There is nobody of that name to call.",
                       look="A list of hosts, such as `['a', 'b']`, without preferences.")
    if given != MIXED:
        return Problem(gave="records in another order than before", wire="Whoever owns the list did not ask for that.",
                       look="Shuffle a copy: `list(records)`.")
    if sorted(hosts) != list("abcde"):
        return Problem(gave=f"{list(hosts)!r:.200} for {MIXED}", wire="A host is called twice, or never.",
                       look="Each record's host, once.")
    places = [preference for host in hosts for preference, name in MIXED if name == host]
    if places != sorted(places):
        return Problem(gave=f"{list(hosts)} for {MIXED}", wire="A backup gets the letter while the first host is up.",
                       look="The lowest number is tried first. Numbers, not text: 100 is more than 20.")
    return None


# --- your turn: exchanges --------------------------------------------------------------------------------------------

US = frozenset({"relay.rio.example", "b"})
ZONE = {
    "tokyo.example": [(20, "backup.tokyo.example"), (10, "MX.Tokyo.example.")], "oslo.example": [],
    "list.example": [(0, ".")], "list7.example": [(7, ".")], "both.example": [(0, "."), (10, "mx.both.example")],
    "kyoto.example": None, "ours.example": [(10, "a"), (20, "b"), (20, "c"), (30, "d")],
    "first.example": [(10, "b"), (20, "c")],
    "twice.example": [(10, "a"), (20, "Relay.Rio.Example"), (30, "b"), (25, "c")],
    "relay.rio.example": [],
}
ROUTES: list[tuple[str, Any, str]] = [
    ("tokyo.example", [(10, "mx.tokyo.example"), (20, "backup.tokyo.example")], "Two records, the lower one first."),
    ("oslo.example", [(0, "oslo.example")], "RFC 5321 §5.1: without MX, the domain itself, with preference 0."),
    ("OSLO.example", [(0, "oslo.example")], "Domains know no capitals."),
    ("[192.0.2.1]", [(0, "[192.0.2.1]")], "An address is its own host, and no question is asked."),
    ("list.example", "5.1.10", "RFC 7505 §3: the host `.` says that there is none."),
    ("list7.example", "5.1.10", "The host says it, whatever the preference."),
    ("both.example", [(10, "mx.both.example")], "A record without a name beside others is left out."),
    ("ours.example", [(10, "a")], "RFC 5321 §5.1: our own record, and all that are no better, are dropped: "
                                  "also those with the same preference."),
    ("twice.example", [(10, "a")], "Two of our names are in it; the better one counts."),
    ("first.example", "5.4.6", "Nobody is better than we are: the letter goes back."),
    ("relay.rio.example", "5.4.6", "Without MX the domain itself is the host, and that is us."),
    ("kyoto.example", "4.4.3", "`look_up` raises NoRoute on its own: let it."),
    ("nowhere.example", "5.1.2", "`look_up` raises NoRoute on its own: let it."),
]


@check(
    hints=(
        "In which order must the rules stand, so that `oslo.example` without MX and `list.example` with `0 .` differ?",
        'best = min((p for p, host in records if host in ourselves), default=None)',
        "First: if there is no record at all, take one with the domain itself and preference 0. Then leave out records "
        "without a name; if none is left, raise NoRoute with 556. Then find the best preference among your own names, "
        "keep only what is lower, and raise NoRoute with 554 if nothing is.",
    ),
    passed="The hosts to try, or the reason why there are none.",
    not_yet="three places wait: no record, no name, ourselves.",
)
def check_exchanges(my_exchanges: Callable[..., Any]) -> Iterator[Problem]:
    """The records of the hosts to try."""
    for domain, expected, rule in ROUTES:
        zone = Zone(ZONE)
        try:
            found = my_exchanges(domain, zone, US)
        except NoRoute as error:
            found = error.reply.enhanced
        if blank(found) or (found == [] and domain == "oslo.example"):
            raise NotYet("three places wait: no record, no name, ourselves.")
        shown = f"{found!r:.200} for {domain}, whose records are {ZONE.get(domain, 'not there')}"
        if isinstance(found, list | tuple):
            found = list(found)
        if found != expected:
            us = f" We are {' and '.join(sorted(US))}." if "5.4.6" in (expected, found) or domain.startswith(
                ("ours", "twice")) else ""
            yield Problem(gave=shown, look=f"It would be {expected!r}. {rule}{us}",
                          wire="A letter goes to a host that cannot help, or comes back for no reason.")
        if domain.startswith("[") and zone.asked:
            yield Problem(gave=f"the question {zone.asked[0]}", look=rule, wire="The DNS knows no domain of that name.")


# --- your turn: who is left ------------------------------------------------------------------------------------------

LEFT: list[tuple[dict[str, Reply], list[str], str]] = [
    ({YUI: KEPT, KENJI: FULL, LI: NOBODY}, [KENJI], "2yz and 5yz are settled."),
    ({YUI: CLOSING, KENJI: Reply(451, "no answer from the next host", "4.4.1")}, [YUI, KENJI], "Every 4yz goes on."),
    ({YUI: UNKNOWN, KENJI: FULL}, [KENJI], "`UNKNOWN` is a 451, too, and the next host would deliver a second copy."),
    ({YUI: Reply(251, "forwarded"), LI: Reply(554, "no")}, [], "2yz and 5yz are settled."),
    ({}, [], "Nobody was asked about."),
]


@check(
    hints=(
        "Which class of replies may be better at the next host, and which single one of them must not go there?",
        "[address for address, reply in replies.items() if reply.temporary and reply != UNKNOWN]",
        "A 2yz has the letter, a 5yz never will. A 4yz goes on, with one exception: after UNKNOWN the letter may have "
        "arrived, so the queue tries again later, and nobody else does now.",
    ),
    passed="Only those go on for whom the next host can do better.",
)
def check_left_over(my_left_over: Callable[..., Any]) -> Problem | None:
    """Those whom the next host may help."""
    for replies, expected, rule in LEFT:
        found = my_left_over(dict(replies))
        if blank(found):
            raise NotYet("return a list of addresses.")
        if not isinstance(found, list | tuple | set) or sorted(map(str, found)) != sorted(expected):
            said = {address: str(reply) for address, reply in replies.items()}
            return Problem(gave=f"{found!r:.200} for {said}", look=f"It would be {expected}. {rule}",
                           wire="Somebody gets two copies, or none, or hears of a refusal that was not final.")
    return None


# --- your turn: one after another ------------------------------------------------------------------------------------


class Hosts:
    """Hosts that note about whom they are asked, each looked up when its turn comes."""

    def __init__(self, *says: Mapping[str, Reply]) -> None:
        self.says, self.heard, self.looked_up = says, list[list[str]](), 0

    def __iter__(self) -> Iterator[Callable[[list[str]], dict[str, Reply]]]:
        for said in self.says:
            self.looked_up += 1
            yield lambda left, said=said: self.answer(list(left), said)        # type: ignore[misc]

    def answer(self, left: list[str], said: Mapping[str, Reply]) -> dict[str, Reply]:
        self.heard.append(left)
        return {address: said.get(address, NOBODY) for address in left}


TRIES: list[tuple[list[Mapping[str, Reply]], dict[str, Reply], list[list[str]]]] = [
    ([{YUI: KEPT, KENJI: KEPT, LI: KEPT}, {}], dict.fromkeys((YUI, KENJI, LI), KEPT), [[YUI, KENJI, LI]]),
    ([{YUI: KEPT, KENJI: FULL, LI: NOBODY}, {KENJI: KEPT}, {}], {YUI: KEPT, KENJI: KEPT, LI: NOBODY},
     [[YUI, KENJI, LI], [KENJI]]),
    ([{YUI: CLOSING, KENJI: FULL, LI: KEPT}, {YUI: FULL, KENJI: NOBODY}, {YUI: CLOSING}],
     {YUI: CLOSING, KENJI: NOBODY, LI: KEPT}, [[YUI, KENJI, LI], [YUI, KENJI], [YUI]]),
    ([{YUI: UNKNOWN, KENJI: FULL, LI: KEPT}, {KENJI: KEPT}], {YUI: UNKNOWN, KENJI: KEPT, LI: KEPT},
     [[YUI, KENJI, LI], [KENJI]]),
    ([], {}, []),
]


@check(
    hints=(
        "What do you do with the answers of a host, and who is asked about after that?",
        "said = ask(left); replies |= said; left = left_over(said)",
        "Ask the host about those who are left, and put its answers over what you know. Then those are left whom "
        "`left_over` names. When it names nobody, break, before the loop takes the next host from the generator.",
    ),
    passed="Each host hears only about those whom nobody before it could settle.",
)
def check_try_each(my_try_each: Callable[..., Any]) -> Iterator[Problem]:
    """One host after another."""
    for says, expected, heard in TRIES:
        hosts, people = Hosts(*says), [YUI, KENJI, LI]
        found = my_try_each(iter(hosts), people)
        if blank(found) or (says and not found and not hosts.heard):
            raise NotYet("the loop waits: ask, note, who is left?")
        story = "; ".join(str({a.partition("@")[0]: str(r) for a, r in said.items()}) for said in says) or "nobody"
        if hosts.heard != heard:
            yield Problem(gave=f"calls about {hosts.heard} when the hosts say {story}",
                          wire="A host is asked about somebody who is settled, or not about somebody who is left.",
                          look=f"They would be about {heard}.")
        if not isinstance(found, Mapping) or dict(found) != expected:
            yield Problem(gave=f"{found!r:.300} when the hosts say {story}", wire="The queue believes something else.",
                          look="The last word about each recipient, those of the first hosts included.")
        if hosts.looked_up != len(heard):
            yield Problem(gave="one host more than were needed",
                          wire="The DNS is asked about a host that nobody calls.",
                          look="Leave the loop as soon as nobody is left, not at the next host.")
        if people != [YUI, KENJI, LI]:
            yield Problem(gave="a list of recipients that is not the caller's any more", look="Use a list of your own.",
                          wire="The queue loses recipients.")


# --- your turn: routes -----------------------------------------------------------------------------------------------

RECORDS: dict[str, list[Record]] = {
    **dict.fromkeys(("tokyo.example", "kyoto.example"), [(10, "mx"), (20, "backup")]),
    "osaka.example": [(10, "mx")], "oslo.example": [(0, "oslo.example")],
}
PEOPLE = [YUI, BO, "li@KYOTO.example", "no@list.example", KENJI, "mio@osaka.example", "nor@List.example",
          '"a@b"@oslo.example']


@check(
    hints=(
        "Two recipients have the same key in `routes` if their records are equal. When is a domain asked for again?",
        "if domain not in known: try: known[domain] = tuple(find(domain)) … except NoRoute as error: … = error.reply",
        "Ask `find` only for a domain that is not in `known`, and keep there its records as a tuple, or the reply of "
        "the NoRoute. Then look at what is known: a Reply goes into `refused`, a tuple is the key in `routes`, whose "
        "list gets the address: `routes.setdefault(route, []).append(address)`.",
    ),
    passed="Those who share their hosts travel together.",
    not_yet="the loop waits: which records, and where does the address go?",
)
def check_by_route(my_by_route: Callable[..., Any]) -> Iterator[Problem]:
    """Recipients by their hosts."""
    asked: list[str] = []

    def find(domain: str) -> list[Record]:
        asked.append(domain)
        if domain not in RECORDS:
            raise NoRoute(556, f"{domain} takes no mail", "5.1.10")
        return list(RECORDS[domain])

    found = my_by_route(list(PEOPLE), find)
    if blank(found) or found == ({}, {}):
        raise NotYet("the loop waits: which records, and where does the address go?")
    routes, refused = ours.by_route(PEOPLE, lambda domain: RECORDS[domain] if domain in RECORDS else find(domain))
    asked = asked[: -len({domain for domain in asked if domain not in RECORDS})] if asked else asked
    if not (isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(part, Mapping) for part in found)):
        yield Problem(gave=f"{found!r:.200}", wire="Nobody can tell who goes where.",
                      look="Two dictionaries: `routes, refused`.")
        return
    if len(asked) != len(set(asked)):
        yield Problem(gave=f"{len(asked)} questions, about {len(set(asked))} domains",
                      wire="A letter to a thousand people at one domain asks the same a thousand times.",
                      look="Ask only for a domain that is not in `known`; also when the answer was NoRoute.")
    if {address: getattr(reply, "code", reply) for address, reply in found[1].items()} != dict.fromkeys(refused, 556):
        yield Problem(gave=f"refused: {dict(found[1])!r:.200}", wire="Somebody waits for a host that does not exist.",
                      look=f"The reply of the NoRoute, for {' and '.join(refused)}.")
    if in_any_order(found[0]) != in_any_order(routes):
        yield Problem(gave=f"routes: {dict(found[0])!r:.300}", look=f"It would be {routes}",
                      wire="One text travels more often than it must, or to the wrong host.")


def in_any_order(routes: Mapping[Any, Iterable[str]]) -> dict[Any, list[str]]:
    """The same, with people sorted: who is named first within a transaction says nothing."""
    return {route: sorted(people) for route, people in routes.items()}


# --- exercise: who is called -----------------------------------------------------------------------------------------

CALLED = {"A": ["b", "a"], "B": ["a"], "C": ["a"], "D": ["domain"], "E": ["nobody"], "F": ["a"]}
WHY = {
    "A": "The order of the records says nothing; the numbers do. After a 4yz, the next host may do better.",
    "B": "A 5yz is a verdict: b has the same people.",
    "C": "Perhaps a has the letter. b would deliver a second copy; the queue asks a again, later.",
    "D": "RFC 5321 §5.1: the domain itself is the host.",
    "E": "RFC 7505 §3: this domain takes no mail, whatever address it has.",
    "F": "b drops itself and what is no better, so c, too. The letter waits for a.",
}


@check(
    hints=(
        "For each host, ask: was its word the last?",
        'D is "domain", and E is "nobody"',
        "Sort by the numbers first. Then walk: no answer and 4yz lead to the next host; 250 and 550 end the walk; "
        "so does a line that breaks after the dot. For F, drop our own record, and all that are no better.",
    ),
    passed="You know whom a relay calls, and when it stops.",
    not_yet="write who is called for each of A to F.",
)
def check_called(my_called: Any) -> Iterator[Problem]:
    """Exercise: who is called."""
    if not isinstance(my_called, Mapping):
        yield Problem(gave=f"{my_called!r:.100}", wire="There is no case of that name.",
                      look='A dictionary: `{"A": "a", …}`.')
        return
    for case, expected in CALLED.items():
        answer = my_called.get(case, ...)
        if blank(answer):
            raise NotYet(f"write who is called in case {case}.")
        words = answer.replace(",", " ").lower().split() if isinstance(answer, str) else answer
        if words != expected:
            yield Problem(gave=f"{answer!r:.100} for {case}", look=WHY[case],
                          wire="Somebody is called in vain, twice, or never.")


# --- exercise: the forged line ---------------------------------------------------------------------------------------

Line = tuple[str, str, str]
HOSTS = {"store.tokyo.example": "192.0.2.11", "mx.tokyo.example": "192.0.2.10", "mx2.tokyo.example": "2001:db8::10"}
STORE: Line = ("mx.tokyo.example", "192.0.2.10", "store.tokyo.example")
HEADERS: list[tuple[str, list[Line], tuple[int, str]]] = [
    ("the letter above", [STORE, ("mail.bank.example", "203.0.113.66", "mx.tokyo.example"),
                          ("desk.bank.example", "198.51.100.1", "mail.bank.example")], (2, "203.0.113.66")),
    ("a letter without lines", [], (0, "")),
    ("a header of another house", [("a.example", "198.51.100.7", "b.example")], (0, "")),
    ("a caller that introduces itself as our own host",
     [("store.tokyo.example", "203.0.113.66", "mx.tokyo.example"), ("a.example", "198.51.100.1", "mx2.tokyo.example")],
     (1, "203.0.113.66")),
    ("forged lines that name our hosts and addresses",
     [STORE, ("bank.example", "203.0.113.66", "mx.tokyo.example"), STORE,
      ("bank.example", "198.51.100.9", "mx.tokyo.example")], (2, "203.0.113.66")),
    ("a letter that came by the second host, over IPv6",
     [("mx2.tokyo.example", "2001:db8::10", "store.tokyo.example"),
      ("relay.rio.example", "198.51.100.25", "mx2.tokyo.example"),
      ("laptop.rio.example", "198.51.100.7", "relay.rio.example")], (2, "198.51.100.25")),
    ("a caller that gives no real name", [STORE, ("x", "203.0.113.8", "mx.tokyo.example")], (2, "203.0.113.8")),
    ("a letter that our own host has written",
     [STORE, ("store.tokyo.example", "192.0.2.11", "mx.tokyo.example")], (2, "192.0.2.11")),
]


@check(
    hints=(
        "Who wrote the top line, and which of its three values did they see with their own eyes?",
        "for name, address, by in lines: stop before a line whose `by` is not ours, and after one whose address is not",
        "Walk from the top. A line counts if one of our hosts wrote it. If the address in it is that of one of our "
        "hosts, that host wrote the line below, so go on. At the first address that is not ours the letter came in: "
        "everything below it was in the letter by then.",
    ),
    passed="You know where belief ends: at the first address that is not yours.",
)
def check_entry(my_entry: Callable[..., Any]) -> Problem | None:
    """Exercise: where a letter came in."""
    for what, lines, expected in HEADERS:
        found = my_entry(list(lines), dict(HOSTS))
        if blank(found):
            raise NotYet("return how many lines can be believed, and an address.")
        if not isinstance(found, tuple | list) or tuple(found) != expected:
            shown = "; ".join(f"from {name} ([{address}]) by {by}" for name, address, by in lines) or "none"
            return Problem(gave=f"{found!r:.100} for {what}: {shown}",
                           wire="Somebody who has done nothing is accused, or a forger is believed.",
                           look=f"It would be {expected}. The name after `from` is what the caller said; the address "
                                "is what our host saw.")
    return None


# --- exercise: a careless backup -------------------------------------------------------------------------------------

FIRST, HERE = "mx.tokyo.example", "a.tokyo.example"


@check(
    hints=(
        "Whom does `a` call after `mx`, and whom does that host call?",
        'Three records: `mx.tokyo.example`, `a.tokyo.example`, and one more host, which is no better than `a`',
        "With two backups, each drops its own record and keeps the other's. While `mx` is down, `a` hands the letter "
        "to the other one, which hands it back. `exchanges` drops all that is no better than `a`, so the letter stays.",
    ),
    passed="Careless hosts play ping-pong until the Received lines are counted; ours waits for `mx`.",
)
def check_records(my_records: Any) -> Problem | None:
    """Exercise: records with which careless hosts never end."""
    if not isinstance(my_records, Sequence) or isinstance(my_records, str) or not all(map(is_record, my_records)):
        return Problem(gave=f"{my_records!r:.200}", wire="The DNS has no such record.",
                       look='A list of records: `[(10, "mx.tokyo.example"), …]`.')
    if FIRST not in [host for _, host in my_records]:
        return Problem(gave="records without `mx.tokyo.example`", look="Tokyo's first host is in its records, too.",
                       wire="The letter has nobody to wait for.")
    waits = ours.exchanges("tokyo.example", Zone({"tokyo.example": list(my_records)}), {HERE}) if any(
        host == HERE for _, host in my_records) and best(my_records) == FIRST else None
    if waits is None or [host for _, host in waits] != [FIRST]:
        return Problem(gave=f"{list(my_records)}", look="`a` has a record, `mx` the lowest preference, and all others "
                       "are no better than `a`.", wire="With `exchanges`, the letter does not wait at `a` for `mx`.")
    holder, visited = HERE, list[str]()
    while holder and len(visited) < 100:
        visited.append(holder)
        called = sorted(record for record in my_records if record[1] != holder)
        holder = next((host for _, host in called if host != FIRST), "")
    if holder:
        return None
    return Problem(gave=f"{list(my_records)}", wire=f"The letter goes by {' and '.join(visited)}, and waits there.",
                   look="There must be somebody else to hand it to, who hands it back.")


def is_record(record: Any) -> bool:
    """Whether this is a preference and a host."""
    return (isinstance(record, tuple | list) and len(record) == 2
            and isinstance(record[0], int) and isinstance(record[1], str))


def best(records: Sequence[Record]) -> str:
    """The host with the lowest preference, if it is alone there."""
    lowest = min(preference for preference, _ in records)
    hosts = [host for preference, host in records if preference == lowest]
    return hosts[0] if len(hosts) == 1 else ""

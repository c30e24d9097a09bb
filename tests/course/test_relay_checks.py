"""The checks of `relay` tell right answers from wrong ones, in any style, and say which wrong one it is."""
from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from smtp_from_scratch import lab, relay
from smtp_from_scratch.queue import UNKNOWN
from smtp_from_scratch.relay import left_over, look_up
from smtp_from_scratch.resolver import NoRoute
from smtp_from_scratch.wire import Reply
from tests.solutions import SOLUTIONS, nbformat, solution

SOLVED = "22_relay"


def wrong(verdict: Any, *words: str) -> None:
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


def mixed(records: Any, shuffle: Any) -> list[Any]:
    found = list(records)
    shuffle(found)
    return found


def in_place(records: Any, shuffle: Any) -> Any:
    shuffle(records)
    return [host for _, host in sorted(records, key=lambda record: record[0])]


@pytest.mark.parametrize("answer, says", [
    (lambda records, shuffle: None, "Not yet"), (lambda records, shuffle: [], "twice, or never"),
    (lambda records, shuffle: sorted(records), "without preferences"), (in_place, "another order than before"),
    (lambda records, shuffle: [host for _, host in sorted(records)], "1 different order"),
    (lambda records, shuffle: [host for _, host in sorted(mixed(records, shuffle))], "1 different order"),
    (lambda records, shuffle: [host for _, host in mixed(records, shuffle)], "while the first host is up"),
    (lambda records, shuffle: [host for _, host in sorted(mixed(records, shuffle), key=lambda r: str(r[0]))],
     "100 is more than 20"),
    (lambda records, shuffle: [h for _, h in sorted(mixed(records, shuffle), key=lambda r: -r[0])], "first host is up"),
    (lambda records, shuffle: [h for _, h in sorted(mixed(records, shuffle), key=lambda r: r[0])][:3], "or never"),
])
def test_in_order_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_in_order(answer), says)


def by_groups(records: Any, shuffle: Callable[[list[str]], None] = random.shuffle) -> tuple[str, ...]:
    groups: dict[int, list[str]] = {}
    for preference, host in records:
        groups.setdefault(preference, []).append(host)
    found: list[str] = []
    for preference in sorted(groups):
        shuffle(groups[preference])
        found.extend(groups[preference])
    return tuple(found)


@pytest.mark.parametrize("answer", [relay.in_order, by_groups, solution(SOLVED, "in-order-code")["my_in_order"]])
def test_in_order_in_any_style(answer: Any) -> None:
    assert lab.check_in_order(answer).passed


def with_rules(implicit: bool = True, null: str = "host", ours: str = "no better", case: bool = True,
               raises: bool = True) -> Any:
    """A `my_exchanges` with one of its rules changed."""
    def my_exchanges(domain: str, resolver: Any, ourselves: Any = ()) -> Any:
        domain = domain.lower() if case else domain
        records = [] if domain.startswith("[") else look_up(resolver.mx, domain.lower())
        found = [(preference, host.lower().rstrip(".")) for preference, host in records]
        if not found and implicit:
            found = [(0, domain)]
        if null == "host" and not [record for record in found if record[1]]:
            raise NoRoute(556, "no mail", "5.1.10")
        if null == "preference" and any(preference == 0 and not host for preference, host in found):
            raise NoRoute(556, "no mail", "5.1.10")
        found = [(preference, host or domain) for preference, host in found if host or null == "ignored"]
        if null == "fallback" and not found:
            found = [(0, domain)]
        own = [preference for preference, host in found if host in ourselves]
        if own and ours != "never":
            found = {"no better": [r for r in found if r[0] < min(own)], "worst": [r for r in found if r[0] < max(own)],
                     "only ours": [r for r in found if r[1] not in ourselves],
                     "equals stay": [r for r in found if r[0] <= min(own) and r[1] not in ourselves]}[ours]
        if not found and raises:
            raise NoRoute(554, "a circle", "5.4.6")
        return sorted(found)
    return my_exchanges


@pytest.mark.parametrize("answer, says", [
    (lambda *given: None, "Not yet"), (lambda domain, resolver, ourselves: sorted(look_up(resolver.mx, domain)), ""),
    (with_rules(implicit=False, raises=False, null=""), "Not yet"),
    (with_rules(null="preference"), "list7.example"), (with_rules(null="fallback"), "list.example"),
    (with_rules(null="ignored"), "list.example"), (with_rules(ours="never"), "ours.example"),
    (with_rules(ours="only ours"), "no better"), (with_rules(ours="equals stay"), "no better"),
    (with_rules(ours="worst"), "the better one counts"), (with_rules(raises=False), "the letter goes back"),
    (with_rules(case=False), "capitals"),
])
def test_exchanges_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_exchanges(answer), says)


@pytest.mark.parametrize("answer", [
    relay.exchanges, with_rules(), solution(SOLVED, "exchanges-code")["my_exchanges"],
    lambda *given: tuple(relay.exchanges(*given)),
])
def test_exchanges_in_any_style(answer: Any) -> None:
    assert lab.check_exchanges(answer).passed


@pytest.mark.parametrize("answer, says", [
    (lambda replies: None, "Not yet"), (lambda replies: [], "would be ['kenji"),
    (lambda replies: list(replies), "settled"),
    (lambda replies: [a for a, r in replies.items() if r.temporary], "second copy"),
    (lambda replies: [a for a, r in replies.items() if not r.positive and r != UNKNOWN], "settled"),
    (lambda replies: [a for a, r in replies.items() if r.code == 452], "Every 4yz"),
    (lambda replies: [a for a, r in replies.items() if r.temporary and r.code != 451], "Every 4yz"),
    (lambda replies: 5, "5 for"),
])
def test_left_over_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_left_over(answer), says)


@pytest.mark.parametrize("answer", [
    left_over, solution(SOLVED, "left-over-code")["my_left_over"],
    lambda replies: {a for a, r in replies.items() if 400 <= r.code <= 499 and not r == UNKNOWN},
    lambda replies: tuple(filter(lambda a: replies[a].code // 100 == 4 and replies[a] != UNKNOWN, replies)),
])
def test_left_over_in_any_style(answer: Any) -> None:
    assert lab.check_left_over(answer).passed


def trying(everybody: bool = False, last: bool = False, eager: bool = False, first: bool = False,
           in_place: bool = False, late: bool = False) -> Any:
    """A `my_try_each` with one of its rules changed."""
    def my_try_each(tries: Any, recipients: Any) -> Any:
        replies: dict[str, Reply] = {}
        left = recipients if in_place else list(recipients)
        for ask in list(tries) if eager else tries:
            if late and not left:
                break
            said = ask(recipients if everybody else left)
            replies = dict(said) if last else said | replies if first else replies | said
            again = left_over(said)
            if in_place:
                recipients[:] = again
            else:
                left = again
            if not late and not left:
                break
        return replies
    return my_try_each


@pytest.mark.parametrize("answer, says", [
    (lambda tries, people: None, "Not yet"), (lambda tries, people: {}, "Not yet"),
    (trying(everybody=True), "who is settled"), (trying(last=True), "those of the first hosts included"),
    (trying(first=True), "last word"), (trying(eager=True), "more than were needed"),
    (trying(late=True), "more than were needed"), (trying(in_place=True), "not the caller's any more"),
    (lambda tries, people: dict(next(tries)(people)) if people else {}, ""),
])
def test_try_each_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_try_each(answer), says)


def recursive(tries: Any, recipients: Any) -> dict[str, Reply]:
    tries, people = iter(tries), list(recipients)
    ask = next(tries, None) if people else None
    if ask is None:
        return {}
    said = dict(ask(people))
    return said | recursive(tries, left_over(said))


@pytest.mark.parametrize("answer", [relay.try_each, trying(), recursive,
                                    solution(SOLVED, "try-each-code")["my_try_each"]])
def test_try_each_in_any_style(answer: Any) -> None:
    assert lab.check_try_each(answer).passed


def routing(asks: str = "once", case: bool = True, at: str = "last", key: str = "records") -> Any:
    """A `my_by_route` with one of its rules changed."""
    def my_by_route(recipients: Any, find: Any) -> Any:
        routes: dict[Any, list[str]] = {}
        refused: dict[str, Reply] = {}
        known: dict[str, Any] = {}
        for address in recipients:
            domain = address.rpartition("@")[2] if at == "last" else address.split("@")[1]
            domain = domain.lower() if case else domain
            if domain not in known or asks == "always":
                try:
                    known[domain] = tuple(find(domain))
                except NoRoute as error:
                    known[domain] = error.reply
            found = known[domain]
            if isinstance(found, Reply):
                refused[address] = found
                if asks == "unless refused":
                    del known[domain]
            else:
                routes.setdefault(found if key == "records" else (domain, *found), []).append(address)
        return routes, refused
    return my_by_route


@pytest.mark.parametrize("answer, says", [
    (lambda people, find: None, "Not yet"), (lambda people, find: ({}, {}), "Not yet"),
    (lambda people, find: {}, "Two dictionaries"), (routing(asks="always"), "questions"),
    (routing(asks="unless refused"), "also when the answer was NoRoute"), (routing(case=False), ""),
    (routing(at="first"), ""), (routing(key="domain"), "more often than it must"),
    (lambda people, find: (routing()(people, find)[0], {}), "refused"),
    (lambda people, find: ({k: v[:1] for k, v in routing()(people, find)[0].items()}, routing()(people, find)[1]), ""),
])
def test_by_route_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_by_route(answer), says)


def in_two_passes(recipients: Any, find: Any) -> Any:
    answers: dict[str, Any] = {}
    for domain in dict.fromkeys(address.rsplit("@", 1)[-1].lower() for address in recipients):
        try:
            answers[domain] = tuple(find(domain))
        except NoRoute as error:
            answers[domain] = error.reply
    routes: dict[Any, Any] = {}
    for address in recipients:
        answer = answers[address.rsplit("@", 1)[-1].lower()]
        if isinstance(answer, tuple):
            routes[answer] = (*routes.get(answer, ()), address)
    return [routes, {a: answers[a.rsplit("@", 1)[-1].lower()] for a in recipients
                     if isinstance(answers[a.rsplit("@", 1)[-1].lower()], Reply)}]


def domain_by_domain(recipients: Any, find: Any) -> Any:
    """Those of a domain first, then those of the next: the order within a transaction says nothing."""
    people: dict[str, list[str]] = {}
    for address in recipients:
        people.setdefault(address.split("@")[-1].lower(), []).append(address)
    routes: dict[Any, list[str]] = {}
    refused: dict[str, Reply] = {}
    for domain, addresses in people.items():
        try:
            routes.setdefault(tuple(find(domain)), []).extend(addresses)
        except NoRoute as error:
            refused.update(dict.fromkeys(addresses, error.reply))
    return routes, refused


@pytest.mark.parametrize("answer", [relay.by_route, routing(), in_two_passes, domain_by_domain,
                                    solution(SOLVED, "by-route-code")["my_by_route"]])
def test_by_route_in_any_style(answer: Any) -> None:
    assert lab.check_by_route(answer).passed


CALLED = {"A": "b a", "B": "a", "C": "a", "D": "domain", "E": "nobody", "F": "a"}


@pytest.mark.parametrize("answer, says", [
    ({}, "Not yet"), (CALLED | {"A": ...}, "Not yet"), (CALLED | {"A": "a b"}, "the numbers do"),
    (CALLED | {"A": "b"}, "4yz"), (CALLED | {"B": "a b"}, "verdict"), (CALLED | {"C": "a b"}, "second copy"),
    (CALLED | {"D": "nobody"}, "itself is the host"), (CALLED | {"E": "domain"}, "takes no mail"),
    (CALLED | {"F": "a c"}, "no better"), (["b a"], "dictionary"),
])
def test_called_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_called(answer), says)


@pytest.mark.parametrize("answer", [CALLED, CALLED | {"A": " B, a "}, solution(SOLVED, "called-code")["my_called"],
                                    CALLED | {"A": ["b", "a"]}])
def test_called_in_any_style(answer: Any) -> None:
    assert lab.check_called(answer).passed


def entering(by: bool = True, stop: bool = True, value: int = 1, last: bool = False) -> Any:
    """A `my_entry` with one of its rules changed."""
    def my_entry(lines: Any, ours: Any) -> Any:
        count, entry = 0, ""
        for line in lines:
            if by and line[2] not in ours:
                break
            count, entry = count + 1, line[value]
            if stop and (line[0] not in ours if last else line[1] not in ours.values()):
                break
        return count, entry
    return my_entry


@pytest.mark.parametrize("answer, says", [
    (lambda lines, ours: None, "Not yet"), (lambda lines, ours: (0, ""), "for the letter above"),
    (entering(by=False), "another house"), (entering(stop=False), "our own host"), (entering(value=0), "would be (2"),
    (entering(last=True), "introduces itself"),
    (lambda lines, ours: entering()(lines, ours)[1], "for the letter above"),
    (lambda lines, ours: (len(lines), lines[-1][1]) if lines else (0, ""), "198.51.100.1"),
    (lambda lines, ours: (1, lines[0][1]) if lines else (0, ""), "would be (2"),
])
def test_entry_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_entry(answer), says)


def with_names(lines: Any, ours: Any) -> list[Any]:
    believed = [line for line in lines[:1] if line[2] in ours]
    while believed and believed[-1][1] in set(ours.values()) and len(believed) < len(lines):
        if lines[len(believed)][2] not in ours:
            break
        believed.append(lines[len(believed)])
    return [len(believed), believed[-1][1] if believed else ""]


@pytest.mark.parametrize("answer", [entering(), with_names, solution(SOLVED, "entry-code")["my_entry"]])
def test_entry_in_any_style(answer: Any) -> None:
    assert lab.check_entry(answer).passed


MX, A, B = (10, "mx.tokyo.example"), (20, "a.tokyo.example"), (30, "b.tokyo.example")


@pytest.mark.parametrize("answer, says", [
    (..., "Not yet"), ("mx", "no such record"), ([MX, "a"], "no such record"), ([MX, A], "waits there"),
    ([A, B], "first host"), ([MX, B], "a` has a record"), ([], "Not yet"),
    ([(20, MX[1]), (10, A[1]), B], "lowest preference"), ([MX, A, (15, "b.tokyo.example")], "no better"),
    ([MX, A, (10, "b.tokyo.example")], "lowest preference"),
])
def test_records_refuse(answer: Any, says: str) -> None:
    wrong(lab.check_records(answer), says)


@pytest.mark.parametrize("answer", [
    [MX, A, B], ((30, B[1]), (20, A[1]), (0, MX[1])), [MX, A, (20, B[1])], [MX, A, B, (40, "c.tokyo.example")],
    [[10, MX[1]], [20, A[1]], [30, B[1]]], solution(SOLVED, "records-code")["my_records"],
])
def test_records_in_any_style(answer: Any) -> None:
    assert lab.check_records(answer).passed


def test_every_solution_is_checked() -> None:
    cells = nbformat.read(SOLUTIONS / f"{SOLVED}.ipynb", as_version=4).cells
    sources = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for name in ("in_order", "exchanges", "left_over", "try_each", "by_route", "called", "entry", "records"):
        assert f"lab.check_{name}(my_{name})" in sources

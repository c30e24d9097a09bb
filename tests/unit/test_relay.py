"""Which host is next: every rule of RFC 5321 §5.1 about MX records, and what becomes of a message on the way."""
from __future__ import annotations

import io
import logging
import random
import ssl
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client, Server
from smtp_from_scratch.client import CUT_OFF, Receipt, SMTPConnectError, SMTPServerDisconnected
from smtp_from_scratch.dsn import request
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.wires.straight import straight
from smtp_from_scratch.queue import UNKNOWN, Queue, Relayed
from smtp_from_scratch.refusals import SMTPTimeout
from smtp_from_scratch.relay import (
    ADDRESS_LIMIT,
    NOWHERE,
    Carried,
    Relay,
    Zone,
    by_route,
    exchanges,
    in_order,
    left_over,
    log,
    look_up,
    reach,
    try_each,
)
from smtp_from_scratch.report import parse_report
from smtp_from_scratch.resolver import NoRoute, NoSuchDomain
from smtp_from_scratch.rules import reply_for_each
from smtp_from_scratch.smtp.nexthost import next_host
from smtp_from_scratch.testing import FakeServer
from smtp_from_scratch.wire import Reply

ANA, YUI, KENJI, BO = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example", "bo@oslo.example"
LETTER = b"Subject: Choir\r\n\r\nSaturday at seven.\r\n"
OURS = "relay.rio.example"
MX = [(20, "backup.tokyo.example"), (10, "mx.tokyo.example")]
KEPT, FULL, NOBODY = Reply(250, "kept", "2.6.0"), Reply(452, "full", "4.2.2"), Reply(550, "nobody", "5.1.1")


# --- which hosts -----------------------------------------------------------------------------------------------------


def hosts(records: Any, domain: str = "tokyo.example", ourselves: Iterable[str] = ()) -> list[str]:
    return [host for _, host in exchanges(domain, Zone({"tokyo.example": records}), frozenset(ourselves))]


def refusal(records: Any, domain: str = "tokyo.example", ourselves: Iterable[str] = ()) -> str:
    with pytest.raises(NoRoute) as caught:
        hosts(records, domain, ourselves)
    return f"{caught.value.reply.code} {caught.value.reply.enhanced}"


def test_the_lowest_preference_comes_first() -> None:
    assert hosts(MX) == ["mx.tokyo.example", "backup.tokyo.example"]
    assert hosts([(100, "c"), (9, "a"), (20, "b")]) == ["a", "b", "c"], "preferences are numbers, not text"


def test_without_mx_the_domain_is_its_own_host() -> None:
    assert hosts([]) == ["tokyo.example"]


def test_a_domain_that_takes_no_mail_says_so() -> None:
    assert refusal([(0, ".")]) == refusal([(0, "")]) == "556 5.1.10"


def test_a_null_mx_beside_others_is_passed_over() -> None:
    assert hosts([(0, "."), *MX]) == ["mx.tokyo.example", "backup.tokyo.example"]


def test_no_such_domain_and_no_answer() -> None:
    assert refusal([], "nowhere.example") == "550 5.1.2"
    assert refusal(None) == "451 4.4.3"


def test_a_mistake_of_a_resolver_costs_no_letter(caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str) -> list[Any]:
        raise KeyError(name)

    with caplog.at_level(logging.INFO, logger=log.name), pytest.raises(NoRoute) as caught:
        look_up(broken, "tokyo.example")
    assert caught.value.reply.temporary and "KeyError" in caplog.text, "whoever runs it can find the mistake"


def test_the_relay_drops_itself_and_what_is_no_better() -> None:
    many = [(10, "a"), (20, "b"), (20, "us"), (30, "c")]
    assert hosts(many, ourselves=["us"]) == ["a"]
    assert refusal([*many, (5, "us2")], ourselves=["us", "us2"]) == "554 5.4.6", "the best of our names counts"
    assert refusal([], ourselves=["tokyo.example"]) == "554 5.4.6", "the implicit MX, too"


def test_names_know_no_capitals_and_no_dot_at_their_end() -> None:
    assert hosts([(10, "MX.Tokyo.Example.")], "TOKYO.example") == ["mx.tokyo.example"]
    assert refusal([(10, "Relay.Rio.Example.")], ourselves=[OURS]) == "554 5.4.6"


def test_an_address_in_brackets_needs_no_question() -> None:
    zone = Zone()
    assert exchanges("[192.0.2.1]", zone) == [(0, "[192.0.2.1]")] and not zone.asked


def test_equals_are_mixed_and_others_are_not() -> None:
    records = [(10, "a"), (10, "b"), (5, "first"), (20, "last")]
    found = {tuple(in_order(records, random.Random(seed).shuffle)) for seed in range(50)}
    assert found == {("first", "a", "b", "last"), ("first", "b", "a", "last")}
    assert records == [(10, "a"), (10, "b"), (5, "first"), (20, "last")], "what was given is left as it was"
    assert {tuple(in_order(records)) for _ in range(200)} == found, "without a shuffle of ours, by chance"


# --- who travels together --------------------------------------------------------------------------------------------


def test_a_domain_is_asked_for_once_and_equal_routes_share() -> None:
    zone = Zone({"tokyo.example": MX, "kyoto.example": MX[::-1], "oslo.example": [], "none.example": [(0, ".")]})
    people = [YUI, BO, "li@KYOTO.example", KENJI, "no@none.example", "nor@none.example"]
    routes, refused = by_route(people, lambda domain: exchanges(domain, zone))
    assert [*routes.values()] == [[YUI, "li@KYOTO.example", KENJI], [BO]]
    assert {address: reply.code for address, reply in refused.items()} == {people[4]: 556, people[5]: 556}
    assert sorted(zone.asked) == sorted(set(zone.asked)) and len(zone.asked) == 4


def test_a_local_part_may_have_an_at_sign() -> None:
    routes, _ = by_route(['"a@b"@oslo.example'], lambda domain: exchanges(domain, Zone({"oslo.example": []})))
    assert [*routes] == [((0, "oslo.example"),)]


# --- one host after another ------------------------------------------------------------------------------------------


def test_a_refusal_for_now_goes_on_and_every_other_word_is_the_last() -> None:
    assert left_over({"a": FULL, "b": KEPT, "c": NOBODY, "d": UNKNOWN}) == ["a"]


def test_the_next_host_hears_of_those_who_are_left() -> None:
    heard: list[tuple[str, list[str]]] = []

    def host(name: str, said: dict[str, Reply]) -> Callable[[list[str]], dict[str, Reply]]:
        def ask(left: list[str]) -> dict[str, Reply]:
            heard.append((name, left))
            return {address: said[address] for address in left}
        return ask

    tries = [host("1", {YUI: KEPT, KENJI: FULL, BO: FULL}), host("2", {KENJI: NOBODY, BO: FULL}),
             host("3", {BO: KEPT}), host("4", {})]
    assert try_each(tries, [YUI, KENJI, BO]) == {YUI: KEPT, KENJI: NOBODY, BO: KEPT}
    assert heard == [("1", [YUI, KENJI, BO]), ("2", [KENJI, BO]), ("3", [BO])]
    assert try_each(tries[:2], [YUI, KENJI, BO])[BO] == FULL, "the last word stays"
    assert try_each([], [YUI]) == {}


# --- a session, sealed if it may be ----------------------------------------------------------------------------------


def reaching(*outcomes: Any) -> tuple[list[bool], Any]:
    """What `reach` asks of `connect`, which has these outcomes, and what it returns or raises."""
    asked, waiting = list[bool](), list(outcomes)

    def connect(host: str, address: Any, secure: bool) -> Any:
        asked.append(secure)
        if isinstance(found := waiting.pop(0), Exception):
            raise found
        return found

    try:
        return asked, reach(connect, "mx.tokyo.example", ("127.0.0.1", 25))
    except Exception as error:
        return asked, error


def test_tls_that_fails_is_followed_by_the_clear() -> None:
    assert reaching("sealed") == ([True], "sealed")
    assert reaching(ssl.SSLError("bad"), "clear") == ([True, False], "clear")
    assert reaching(SMTPServerDisconnected("hung up"), "clear") == ([True, False], "clear")


def test_what_has_nothing_to_do_with_tls_is_not_tried_again() -> None:
    leaving = SMTPServerDisconnected("421")
    leaving.reply = Reply(421, "busy")
    for error in (ConnectionRefusedError(), SMTPConnectError(Reply(554, "no")), leaving, SMTPTimeout("slow"),
                  TimeoutError()):
        assert reaching(error) == ([True], error)


# --- the whole: with stand-ins for hosts -----------------------------------------------------------------------------


class Host:
    """A stand-in for a Client: says this of each recipient, or raises it where it is told to."""

    def __init__(self, *, says: Any = KEPT, opening: Exception | None = None, keywords: str = "DSN") -> None:
        self.says, self.opening, self.keywords = says, opening, keywords.split()
        self.heard: list[tuple[list[str], bytes]] = []

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def has_extn(self, keyword: str) -> bool:
        return keyword in self.keywords

    def transact(self, envelope: Envelope, body: Any, **_: Any) -> Receipt:
        self.heard.append((list(envelope.recipients), body.read()))
        if isinstance(self.says, Exception):
            raise self.says
        if isinstance(self.says, Receipt):
            return self.says
        said = {a: self.says.get(a, KEPT) if isinstance(self.says, dict) else self.says for a in envelope.recipients}
        nobody = all(reply.code >= 400 for reply in said.values())
        return Receipt(envelope.sender, said, "RCPT" if nobody else "", None if nobody else KEPT)


def relayed(hosts: dict[str, Host], records: Any = None, recipients: Iterable[str] = (YUI, KENJI),
            addresses: dict[str, Any] | None = None, **more: Any) -> tuple[Carried, Zone]:
    """What a relay makes of a letter, when these hosts are in the zone, all of the same preference or as `records`."""
    def connect(host: str, address: Any, secure: bool) -> Host:
        found = hosts[address[0]] if address[0] in hosts else hosts[host]
        if found.opening:
            raise found.opening
        return found

    where = {host: [(host, 25)] for host in hosts} if addresses is None else addresses
    zone = Zone({"tokyo.example": [*enumerate(hosts)] if records is None else records, "oslo.example": []},
                where | {"oslo.example": where.get("oslo.example", [("oslo.example", 25)])})
    return Relay(OURS, zone, connect, **more)(Envelope(ANA, list(recipients)), io.BytesIO(LETTER)), zone


def test_the_second_host_gets_what_the_first_cannot_take_now() -> None:
    down = [Host(opening=error) for error in (
        ConnectionRefusedError(111, "refused"), TimeoutError(), SMTPConnectError(Reply(421, "busy")),
        SMTPConnectError(Reply(554, "no service")), SMTPServerDisconnected("hung up"), ssl.SSLError("no"), OSError())]
    for first in down:
        second = Host()
        outcome, _ = relayed({"a": first, "b": second})
        assert outcome == {YUI: KEPT, KENJI: KEPT} and not first.heard, first.opening
        assert second.heard == [([YUI, KENJI], LETTER)], "the whole letter, from its start"
        assert [host for host, _ in outcome.attempts] == ["a", "b"]


def test_a_refusal_for_good_is_the_verdict() -> None:
    first, second = Host(says={KENJI: NOBODY}), Host()
    outcome, _ = relayed({"a": first, "b": second})
    assert outcome == {YUI: KEPT, KENJI: NOBODY} and not second.heard
    outcome, _ = relayed({"a": Host(says=NOBODY), "b": second})
    assert outcome == {YUI: NOBODY, KENJI: NOBODY} and not second.heard


def test_half_of_the_recipients_go_on() -> None:
    first, second = Host(says={KENJI: FULL}), Host()
    outcome, _ = relayed({"a": first, "b": second})
    assert outcome == {YUI: KEPT, KENJI: KEPT} and second.heard == [([KENJI], LETTER)]


def test_a_host_that_leaves_in_the_middle_is_followed_by_the_next() -> None:
    lost = SMTPServerDisconnected("421")
    receipt = Receipt(ANA, {YUI: KEPT}, ended=False)
    receipt.lose([YUI, KENJI], CUT_OFF)
    lost.receipts = [receipt]
    outcome, _ = relayed({"a": Host(says=lost), "b": Host()})
    assert outcome == {YUI: KEPT, KENJI: KEPT} and len(outcome.attempts) == 2


def test_a_line_broken_after_the_dot_is_for_later_and_for_nobody_else() -> None:
    lost = SMTPServerDisconnected("hung up")
    receipt = Receipt(ANA, {YUI: KEPT, KENJI: NOBODY})
    receipt.lose([YUI, KENJI])
    lost.receipts = [receipt]
    second = Host()
    outcome, _ = relayed({"a": Host(says=lost), "b": second})
    assert outcome == {YUI: UNKNOWN, KENJI: NOBODY} and outcome[YUI].temporary and not second.heard


def test_all_hosts_down_is_for_later() -> None:
    outcome, _ = relayed({"a": Host(opening=OSError()), "b": Host(says=FULL)})
    assert outcome == {YUI: FULL, KENJI: FULL}
    outcome, _ = relayed({"a": Host(says=FULL), "b": Host(opening=OSError())})
    assert all(reply.temporary for reply in outcome.values())


def test_each_address_of_a_host_is_tried() -> None:
    hosts = {"::1": Host(opening=OSError()), "127.0.0.1": Host()}
    outcome, _ = relayed(hosts, [(10, "mx")], addresses={"mx": [("::1", 25), ("127.0.0.1", 25)]})
    assert outcome[YUI] == KEPT and [host for host, _ in outcome.attempts] == ["mx", "mx"]


def test_attempts_have_a_limit_but_at_least_two() -> None:
    outcome, zone = relayed({str(number): Host(opening=OSError()) for number in range(50)})
    assert len(outcome.attempts) == ADDRESS_LIMIT >= 2
    assert len(zone.asked) <= ADDRESS_LIMIT + 2, "names that are not tried are not asked for"


def test_a_host_without_an_address_is_passed_over() -> None:
    outcome, _ = relayed({"b": Host()}, [(10, "gone.example"), (15, "empty.example"), (20, "b")],
                         addresses={"b": [("b", 25)], "empty.example": []})
    assert outcome[YUI] == KEPT and len(outcome.attempts) == 1
    outcome, _ = relayed({}, [(10, "gone.example")])
    assert outcome == {YUI: NOWHERE, KENJI: NOWHERE} and NOWHERE.permanent


def test_a_silent_resolver_is_for_later_even_if_another_host_is_gone() -> None:
    for records in ([(10, "silent"), (20, "gone")], [(10, "gone"), (20, "silent")]):
        outcome, _ = relayed({}, records, addresses={"silent": None})
        assert outcome[YUI].enhanced == "4.4.3", records
    outcome, _ = relayed({"b": Host()}, [(10, "silent"), (20, "b")], addresses={"silent": None, "b": [("b", 25)]})
    assert outcome[YUI] == KEPT


def test_we_are_no_next_host() -> None:
    first = Host(opening=OSError())
    outcome, _ = relayed({"a": first, OURS: Host(), "c": Host()})
    assert len(outcome.attempts) == 1 and outcome[YUI].temporary
    outcome, _ = relayed({"mail.rio.example": Host(), "c": Host()}, ourselves=["Mail.Rio.example"])
    assert outcome[YUI].enhanced == "5.4.6" and not outcome.attempts


def test_each_recipient_has_a_reply_that_a_session_can_say() -> None:
    people = [YUI, BO, "li@nowhere.example", "postmaster", "x@[192.0.2.1]"]
    outcome, _ = relayed({"a": Host(says=NOBODY), "oslo.example": Host()}, [(1, "a")], people)
    assert [reply_for_each(people, outcome)[address].code for address in people] == [550, 250, 550, 550, 550]


def test_parts_tell_apart_who_had_the_last_word() -> None:
    outcome, _ = relayed({"a": Host(says={KENJI: FULL}), "b": Host(keywords=""), "oslo.example": Host(says=NOBODY)},
                         [(1, "a"), (2, "b")], [YUI, KENJI, BO, "li@nowhere.example"])
    parts = [(set(part), part.remote_mta, part.success) for part in outcome.parts]
    assert parts[0][:2] == ({"li@nowhere.example"}, "")
    assert parts[1:] == [({YUI}, "a", ""), ({KENJI}, "b", "relayed"), ({BO}, "oslo.example", "")]
    assert {**Relayed(), **dict(item for part in outcome.parts for item in part.items())} == outcome


def test_parts_of_a_host_that_was_never_reached_name_nobody() -> None:
    outcome, _ = relayed({"a": Host(opening=OSError())})
    assert [(part.remote_mta, {*part}) for part in outcome.parts] == [("", {YUI, KENJI})]


# --- over sockets ----------------------------------------------------------------------------------------------------


def test_two_servers_and_one_that_is_down() -> None:
    with Server() as down:
        gone = down.address
    with Server(accept_recipient=lambda address, envelope: NOBODY if address == KENJI else None) as one, \
            Server() as two:
        zone = Zone({"tokyo.example": MX, "oslo.example": []},
                    {"mx.tokyo.example": [gone], "backup.tokyo.example": [one.address], "oslo.example": [two.address]})
        outcome = Relay(OURS, zone, next_host(OURS))(Envelope("", [YUI, KENJI, BO]), io.BytesIO(LETTER))
        assert {address: reply.code for address, reply in outcome.items()} == {YUI: 250, KENJI: 550, BO: 250}
        assert [message.envelope.recipients for message in (*one.messages, *two.messages)] == [[YUI], [BO]]
        assert one.messages[0].envelope.sender == "", "a report stays one"
        assert one.messages[0].envelope.hello == OURS


def test_wishes_are_passed_on() -> None:
    with Server() as mx:
        zone = Zone({"tokyo.example": [(10, "mx")]}, {"mx": [mx.address]})
        envelope = request(Envelope(ANA, [YUI, KENJI]), ret="HDRS", envid="choir", notify={YUI: "SUCCESS"})
        outcome = Relay(OURS, zone, next_host(OURS))(envelope, io.BytesIO(LETTER))
        [message] = mx.messages
    assert message.envelope.parameters["ENVID"] == "choir" and message.envelope.options[YUI] == {"NOTIFY": "SUCCESS"}
    assert [part.success for part in outcome.parts] == [""], "that host reports"


def test_a_message_that_needs_utf8_comes_back_from_a_host_without_it() -> None:
    address = "ユイ@tokyo.example"
    with Server(extensions=[]) as mx:
        zone = Zone({"tokyo.example": [(10, "mx")]}, {"mx": [mx.address]})
        outcome = Relay(OURS, zone, next_host(OURS))(Envelope(ANA, [address]), io.BytesIO(LETTER))
    assert outcome[address].permanent and outcome[address].enhanced == "5.6.7"


def test_tls_with_any_certificate_and_the_clear_without() -> None:
    from smtp_from_scratch.lab import certificates

    for tls, protocol in ((certificates("elsewhere.example").server, "ESMTPS"), (None, "ESMTP")):
        with Server(tls=tls) as mx:
            zone = Zone({"tokyo.example": [(10, "mx")]}, {"mx": [mx.address]})
            outcome = Relay(OURS, zone, next_host(OURS))(Envelope(ANA, [YUI]), io.BytesIO(LETTER))
            assert outcome[YUI].positive and mx.messages[0].envelope.protocol == protocol


def test_a_host_whose_tls_fails_gets_the_letter_in_the_clear() -> None:
    from smtp_from_scratch.lab import certificates

    old = certificates("mx").server
    old.maximum_version = old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA256")           # a kind that our client does not use
    with Server(tls=old) as mx:
        zone = Zone({"tokyo.example": [(10, "mx")]}, {"mx": [mx.address]})
        outcome = Relay(OURS, zone, next_host(OURS))(Envelope(ANA, [YUI]), io.BytesIO(LETTER))
        assert outcome[YUI].positive and mx.messages[0].envelope.protocol == "ESMTP"


def test_a_server_that_hangs_up_after_the_dot() -> None:
    with FakeServer() as mx, Server() as backup:
        mx.disconnect(after="END")
        zone = Zone({"tokyo.example": MX}, {"mx.tokyo.example": [mx.address], "backup.tokyo.example": [backup.address]})
        outcome = Relay(OURS, zone, next_host(OURS))(Envelope(ANA, [YUI]), io.BytesIO(LETTER))
        assert outcome == {YUI: UNKNOWN} and not backup.messages, "a second copy would be sure"


def test_a_server_that_hangs_up_before_the_body() -> None:
    with FakeServer() as mx, Server() as backup:
        mx.disconnect(after="RCPT")
        zone = Zone({"tokyo.example": MX}, {"mx.tokyo.example": [mx.address], "backup.tokyo.example": [backup.address]})
        outcome = Relay(OURS, zone, next_host(OURS))(Envelope(ANA, [YUI]), io.BytesIO(LETTER))
        assert outcome[YUI].positive and [bytes(message.data) for message in backup.messages] == [LETTER]


def test_an_address_in_brackets() -> None:
    with Server() as mx:
        zone = Zone({}, {"[127.0.0.1]": [mx.address]})
        outcome = Relay(OURS, zone, next_host(OURS))(Envelope(ANA, ["yui@[127.0.0.1]"]), io.BytesIO(LETTER))
        assert outcome["yui@[127.0.0.1]"].positive and zone.asked == ["[127.0.0.1] A"]


def test_zone_says_what_it_was_asked() -> None:
    zone = Zone({"a.example": [], "b.example": None})
    assert zone.mx("a.example") == []
    with pytest.raises(TimeoutError):
        zone.mx("b.example")
    with pytest.raises(NoSuchDomain):
        zone.addresses("c.example")
    assert zone.asked == ["a.example MX", "b.example MX", "c.example A"]


def test_next_host_is_a_client() -> None:
    with Server() as mx, next_host(OURS, timeout=5.0)("mx", mx.address, True) as client:
        assert isinstance(client, Client) and client.has_extn("DSN") and client.session.host


# --- behind a queue --------------------------------------------------------------------------------------------------


def reports_of(tmp_path: Path, outcome: Callable[[Envelope, Any], Any], envelope: Envelope) -> list[Any]:
    """The reports that a queue writes about a letter whose first attempt ends so."""
    found: list[Any] = []

    def deliver(envelope: Envelope, body: Any) -> Any:
        if envelope.recipients != [ANA]:
            return outcome(envelope, body)
        found.append(parse_report(body.read()))
        return None

    with closing(Queue(tmp_path / "queue", OURS)) as queue:
        queue(envelope, io.BytesIO(LETTER))
        while queue.attempt(deliver):          # the letter, then the reports
            pass
    return found


def test_each_host_has_a_report_of_its_own(tmp_path: Path) -> None:
    hosts = {"a": Host(keywords=""), "oslo.example": Host(says=NOBODY), "c": Host()}
    zone = Zone({"tokyo.example": [(1, "a")], "oslo.example": [], "kyoto.example": [(1, "c")]},
                {host: [(host, 25)] for host in hosts})
    relay = Relay(OURS, zone, lambda host, address, secure: hosts[host])
    people = [YUI, BO, "mio@kyoto.example", "li@nowhere.example"]
    envelope = request(Envelope(ANA, people), notify="SUCCESS,FAILURE")
    found = {about.recipient: (about.action, about.remote_mta, about.status)
             for report in reports_of(tmp_path, relay, envelope) for about in report.recipients}
    assert found == {YUI: ("relayed", "a", "2.6.0"), BO: ("failed", "oslo.example", "5.1.1"),
                     "li@nowhere.example": ("failed", "", "5.1.2")}, "the host with DSN reports about Mio itself"


def test_two_servers_that_point_at_each_other(tmp_path: Path) -> None:
    news: list[Any] = []
    with closing(Queue(tmp_path / "rio", "rio.example")) as rio, closing(Queue(tmp_path / "osaka", "osaka")) as osaka:
        lines = {"rio": straight(rio), "osaka": straight(osaka),
                 "home": straight(lambda envelope, body: news.append(parse_report(body.read())))}
        where = dict.fromkeys(lines, [("192.0.2.1", 25)])
        tables = {rio: "osaka", osaka: "rio"}
        relays = {queue: Relay(queue.hostname, Zone({"tokyo.example": [(10, other)], "rio.example": [(10, "home")]},
                                                    where), lambda host, address, secure: lines[host])
                  for queue, other in tables.items()}
        rio(Envelope(ANA, [YUI]), io.BytesIO(LETTER))
        while any(queue.attempt(relay) for queue, relay in relays.items()):
            pass
    assert [(about.recipient, about.status) for report in news for about in report.recipients] == [(YUI, "5.4.6")]
    assert len(lines["rio"].said) + len(lines["osaka"].said) == 101

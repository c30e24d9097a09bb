"""A run with an address and no option: the server is looked at first, and is not accused of our own mistakes."""
from __future__ import annotations

from dataclasses import replace

import pytest

from smtp_from_scratch import Reply, Server
from smtp_from_scratch.cli.common import host_or_port
from smtp_from_scratch.conformance.notation import Dialogue, parse
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.doors import opened
from smtp_from_scratch.conformance.server.runner import (
    FAILED,
    PASSED,
    SKIPPED,
    Outcome,
    Target,
    all_dialogues,
    check,
    obstacle,
    play,
)
from smtp_from_scratch.conformance.server.scout import explore, postmasters
from smtp_from_scratch.smtp import server_extensions
from smtp_from_scratch.starttls import StartTLS
from tests.ours import PASSWORD, ROLES, TLS, USER

DIALOGUES = [dialogue for dialogue in all_dialogues() if dialogue.end == "server"]
ORDER = [dialogue for dialogue in DIALOGUES if dialogue.source.startswith(("rfc5321-order", "rfc2920", "rfc1870"))]


def first_run(target: Target, dialogues: list[Dialogue], **known: object) -> tuple[list[str], list[Outcome]]:
    """What is found out with an address (and what is `known`), and what came of the dialogues."""
    bare = replace(Target(target.host, target.port, moment=0.1), **known)  # type: ignore[arg-type]
    return explore(bare, recipient_given=False), list(check(bare, dialogues))


@pytest.mark.parametrize("name", [name for name in ROLES if name != "submissions"])
def test_our_server_is_accused_of_nothing_with_its_address_alone(name: str) -> None:
    asked = [dialogue for dialogue in all_dialogues() if "lmtp" in dialogue.setup] if ROLES[name].lmtp else ORDER
    with ROLES[name].listening() as target:
        told, outcomes = first_run(target, asked)
    assert not [failure(outcome) for outcome in outcomes if outcome.status == FAILED]
    assert any("--submission" in sentence for sentence in told) == ROLES[name].submission
    assert any("--implicit-tls" in sentence for sentence in told) == ROLES[name].implicit
    assert any("--lmtp" in sentence for sentence in told) == ROLES[name].lmtp
    many = sum(outcome.status == PASSED for outcome in outcomes)
    assert many > (0 if ROLES[name].submission else 10)


@pytest.mark.parametrize("name", ["submission", "submissions"])
def test_a_login_opens_the_general_dialogues(name: str) -> None:
    with ROLES[name].listening() as target:
        _, outcomes = first_run(target, ORDER, user=USER, password=PASSWORD, implicit_tls=target.implicit_tls)
    assert not [failure(outcome) for outcome in outcomes if outcome.status == FAILED]
    assert sum(outcome.status == PASSED for outcome in outcomes) > 40
    closed = {outcome.reason for outcome in outcomes if outcome.status == SKIPPED}
    assert not any("--user" in reason for reason in closed), closed


def refusing(code: int, *domains: str) -> Server:
    """A server that takes mail for some domains, with extensions as usual."""
    return Server(hostname="mx.rio.example", accept_recipient=lambda address, envelope: (
        None if address.rpartition("@")[2] in domains else Reply(code, "nobody here", "5.1.1")))


def test_postmaster_of_its_own_domain_is_found() -> None:
    with refusing(550, "rio.example") as server:
        told, outcomes = first_run(Target(*server.address), ORDER)
    assert told == ["messages go to postmaster@rio.example (--recipient)"]
    assert not [failure(outcome) for outcome in outcomes if outcome.status == FAILED]
    assert sum(outcome.status == PASSED for outcome in outcomes) > 50


def test_who_takes_nobody_that_we_know_breaks_nothing() -> None:
    with refusing(550, "hidden.example") as server:
        told, outcomes = first_run(Target(*server.address), DIALOGUES)
    must = [outcome for outcome in outcomes if outcome.status == FAILED and outcome.dialogue.level == "MUST"]
    assert told == [] and [outcome.dialogue.title for outcome in must] == ["Postmaster without a domain"]
    reasons = {outcome.reason for outcome in outcomes if outcome.status == SKIPPED}
    assert "refuses postmaster@example.org (550): --recipient says who has a mailbox" in reasons
    assert sum(outcome.status == PASSED for outcome in outcomes) > 100


def test_a_given_recipient_is_taken_at_its_word() -> None:
    with refusing(550, "rio.example") as server:
        target = Target(*server.address, recipient="ana@oslo.example")
        assert explore(target) == [] and (target.recipient, target.no_recipient) == ("ana@oslo.example", "550")
        who = Target(*server.address, recipient="ana@rio.example", refused="also@rio.example")
        explore(who)
        assert who.takes_refused and not who.no_recipient
    [dialogue] = [dialogue for dialogue in DIALOGUES if dialogue.title == "A refused recipient among good ones"]
    assert "whom it should refuse" in obstacle(dialogue, who)


@pytest.mark.parametrize("name, tried", [
    ("mx.rio.example", ["postmaster@mx.rio.example", "postmaster@rio.example"]), ("localhost", []), ("[127.0.0.1]", []),
    ("x>\r\nDATA", [])])
def test_whom_a_server_may_have_a_mailbox_for(name: str, tried: list[str]) -> None:
    assert list(postmasters(Target("127.0.0.1", 0, name=name))) == tried


def test_what_a_dialogue_builds_on_is_no_fault_of_its_rule() -> None:
    text = """
== a rule
rfc: 5321 §3.3
level: MUST
asks: something
after: HELO MAIL
--
S? 250
C: NOOP
S: 251
"""
    [with_mail] = parse(text.replace("S? 250\n", ""))
    [with_question] = parse(text.replace(" MAIL", "").replace("S? 250", "C: RCPT TO:<{recipient}>\nS? 250"))
    with Server() as server:
        target = Target(*server.address, sender="no address <")
        outcome = play(with_mail, target)
        assert (outcome.status, outcome.reason) == (
            SKIPPED, "answers MAIL with 501, and this builds on another answer")
        outcome = play(with_question, target)
        assert outcome.status == SKIPPED and outcome.reason.startswith("answers RCPT with 503")
        assert play(with_mail, Target(*server.address)).status == FAILED


def test_doors_are_passed_where_there_is_a_place_for_it() -> None:
    def texts(title: str, login: bool) -> list[str]:
        [dialogue] = [dialogue for dialogue in DIALOGUES if dialogue.title == title]
        found = opened(dialogue, login)
        return [getattr(step, "text", getattr(step, "verb", "S")) for step in found.steps][:9] if found else []

    assert texts("RSET ends a transaction", True) == [
        "S", "EHLO {client}", "S", "secure", "AUTH PLAIN {plain}", "S", "HELO {client}", "S", "MAIL FROM:<{sender}>"]
    assert texts("EHLO twice", False) == ["S", "EHLO {client}", "S", "secure", "EHLO {client}", "S",
                                          "MAIL FROM:<{sender}>", "S"]
    assert texts("MAIL before HELO", True) == texts("A letter under TLS", True) == []


def test_where_all_is_said_under_tls_a_530_in_the_clear_is_no_fault() -> None:
    """RFC 3207 §4: to every command other than NOOP, EHLO, STARTTLS, QUIT."""
    required = [StartTLS(TLS.server, required=True) if isinstance(one, StartTLS) else one
                for one in server_extensions(tls=TLS.server)]
    with Server(extensions=required) as server:
        told, outcomes = first_run(Target(*server.address), DIALOGUES)
    assert told == ["it wants TLS before a message: dialogues begin with STARTTLS"]
    assert not [failure(outcome) for outcome in outcomes if outcome.status == FAILED]
    reached = {outcome.dialogue.title for outcome in outcomes if outcome.status == PASSED}
    assert {"RSET ends a transaction", "RSET without a transaction"} <= reached and len(reached) > 300
    assert "RSET before HELO" not in reached


def test_a_difference_from_what_may_be_is_not_broken() -> None:
    [http] = [dialogue for dialogue in DIALOGUES if dialogue.title == "A request of HTTP"]
    [other] = parse("== a rule\nrfc: 5321 §3.3\nlevel: MAY\nasks: something\n--\nS: 220\nC: NOOP\nS: 251\n")
    with Server() as server:
        assert play(http, Target(*server.address)).status == PASSED
        assert play(other, Target(*server.address)).reason == "does otherwise, as it may"


@pytest.mark.parametrize("text, address", [
    ("localhost", ("localhost", 25)), ("mx.rio.example:2525", ("mx.rio.example", 2525)), ("[::1]", ("::1", 25)),
    ("[::1]:26", ("::1", 26))])
def test_a_host_alone_means_its_port_25(text: str, address: tuple[str, int]) -> None:
    assert host_or_port(text) == address

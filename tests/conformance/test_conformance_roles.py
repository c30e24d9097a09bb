"""Every dialogue about a server, at ours in each role that it has: in rehearsal and over sockets."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.player import Difference, NotReached
from smtp_from_scratch.conformance.server.runner import EXCUSE, PASSED, Outcome, all_dialogues, check, obstacle
from smtp_from_scratch.smtp.logins import MECHANISMS
from smtp_from_scratch.smtp.server import STAGES
from smtp_from_scratch.smtp.sets import KEYWORDS
from tests.ours import ROLES, rehearsed

DIALOGUES = [dialogue for dialogue in all_dialogues() if dialogue.end == "server"]
NOT_HERE = {
    "SCRAM-SHA-256-PLUS": "the standard library offers no binding that holds under TLS 1.3",
}


def absent(dialogue: Dialogue) -> str:
    """Which of the things that our server does not have a dialogue is about; empty: it must be played."""
    return "SCRAM-SHA-256-PLUS" if "AUTH=SCRAM-SHA-256-PLUS" in dialogue.needs else ""


PLAYED = [dialogue for dialogue in DIALOGUES if not absent(dialogue)]


def roles(dialogue: Dialogue) -> list[str]:
    """Where a dialogue can be played."""
    return [name for name, role in ROLES.items() if not obstacle(dialogue, role.target)]


@pytest.mark.parametrize("dialogue", PLAYED, ids=lambda dialogue: dialogue.source)
def test_our_server_keeps_it_in_rehearsal(dialogue: Dialogue) -> None:
    played = roles(dialogue)
    assert played, f"there is no role of our server for {dialogue.title}"
    for name in played:
        with ROLES[name].sessions() as session:
            try:
                rehearsed(dialogue, ROLES[name].target, session)
            except NotReached:
                assert ROLES[name].submission
            except Difference as difference:
                pytest.fail(f"as {name}: {difference} ({dialogue.source}, line {difference.line})")


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], dict[str, Outcome]]:
    """All dialogues in all roles at both stages over sockets, several at once: by stage and role, then by source."""
    found: dict[tuple[str, str], dict[str, Outcome]] = {}
    for stage, (name, role) in product(STAGES, ROLES.items()):
        here = [dialogue for dialogue in PLAYED if not obstacle(dialogue, role.target)]
        with role.listening(stage) as target:
            found[stage, name] = {outcome.dialogue.source: outcome for outcome in check(target, here, 16)}
    return found


@pytest.mark.parametrize("dialogue", PLAYED, ids=lambda dialogue: dialogue.source)
def test_our_server_keeps_it_over_a_socket(dialogue: Dialogue,
                                           outcomes: dict[tuple[str, str], dict[str, Outcome]]) -> None:
    for stage, name in product(STAGES, roles(dialogue)):
        outcome = outcomes[stage, name][dialogue.source]
        excused = ROLES[name].submission and outcome.reason == EXCUSE
        assert outcome.status == PASSED or excused, f"as {name}, {stage}:\n{failure(outcome)}"


def test_what_is_not_played_is_not_built() -> None:
    assert {absent(dialogue) for dialogue in DIALOGUES} - {""} == set(NOT_HERE)
    assert not NOT_HERE.keys() & {*KEYWORDS, *(mechanism.name for mechanism in MECHANISMS)}
    assert len(PLAYED) > 450


@pytest.mark.parametrize("name", ROLES)
def test_each_role_is_examined(name: str) -> None:
    played = [dialogue for dialogue in PLAYED if not obstacle(dialogue, ROLES[name].target)]
    assert len(played) > (20 if ROLES[name].lmtp else 100)


def offers(name: str) -> Iterator[str]:
    yield from ROLES[name].target.keywords


def test_roles_offer_what_their_names_say() -> None:
    assert "AUTH" not in offers("smtp") and "AUTH" in ROLES["smtp"].target.secured
    assert "AUTH" in offers("smtp, AUTH in the clear") and "STARTTLS" not in offers("submissions")
    assert not list(offers("1982"))

"""The client's dialogues at our own client, in rehearsal and over sockets."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smtp_from_scratch.conformance.client.runner import (
    Authority,
    ClientTarget,
    InThread,
    check,
    obstacle,
    rehearsed,
)
from smtp_from_scratch.conformance.client.tasks import task_of
from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.runner import PASSED, SKIPPED, Outcome
from tests.our_client import CAN, DIALOGUES, by_async_class, by_class, by_conversation, not_built

PEERS_FILES = Path(__file__).parents[1] / "peers"


@pytest.fixture(scope="module", params=[by_class, by_async_class], ids=["Client", "AsyncClient"])
def over_sockets(request: pytest.FixtureRequest, authority: Authority) -> dict[str, Outcome]:
    """All dialogues at `Client` and `AsyncClient`, several at once."""
    target = ClientTarget(lambda host, port, task, folder: InThread(request.param, host, port, task), CAN,
                          authority=authority, patience=5.0)
    return {outcome.dialogue.source: outcome for outcome in check(target, DIALOGUES, 6)}


def must_pass(outcome: Outcome) -> None:
    """Our client keeps every rule; it may skip only what is not built yet, and that is said by name."""
    if outcome.status == SKIPPED and outcome.reason == "does not say QUIT":
        pytest.skip("a `Client` says QUIT when its user does; `whole_session` lets it ride along, see the rehearsal")
    if outcome.status == SKIPPED:
        missing = not_built(outcome.dialogue)
        assert missing, f"our client has it, and does not use it: {outcome.reason}"
        pytest.skip(f"not built yet: {missing}")
    assert outcome.status == PASSED, failure(outcome)


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.source)
def test_our_client_keeps_it_over_a_socket(dialogue: Dialogue, over_sockets: dict[str, Outcome]) -> None:
    must_pass(over_sockets[dialogue.source])


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.source)
def test_our_client_keeps_it_in_rehearsal(dialogue: Dialogue, authority: Authority, tmp_path: Path) -> None:
    if reason := obstacle(dialogue, ClientTarget(lambda *_: None, CAN, authority=authority)):
        return must_pass(Outcome(dialogue, SKIPPED, reason))
    task = task_of(dialogue)
    if task.tls:
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        task = replace(task, ca_file=str(tmp_path / "ca.pem"))
    must_pass(rehearsed(dialogue, task, authority.context, by_conversation(task)))


def test_enough_dialogues_and_titles_of_their_own() -> None:
    titles = [(dialogue.rfc, dialogue.title) for dialogue in DIALOGUES]
    assert len(titles) == len(set(titles)) >= 55

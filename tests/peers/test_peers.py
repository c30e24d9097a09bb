"""The dialogues at servers that nobody here wrote: where one differs, tests/peers/differences.toml says so and why.

A recorded difference was settled by the RFC's text. Only a new one fails: then read the RFC, and either correct the
dialogue or record what the server does.
"""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, SKIPPED, Outcome
from tests.peers import NAMES, Peer, missing, running
from tests.peers.conformity import dialogues, differences, examine, name_of
from tests.peers.matrix import Matrix


@pytest.fixture(scope="module", params=NAMES)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    if reason := missing(request.param):
        pytest.skip(f"{request.param} is not here: {reason}")
    with running(request.param) as peer:
        yield peer


@pytest.fixture(scope="module")
def outcomes(peer: Peer) -> list[Outcome]:
    return examine(peer, dialogues())


def test_a_peer_differs_only_as_recorded(peer: Peer, outcomes: list[Outcome]) -> None:
    known = differences()[peer.name]
    new = [failure(outcome) for outcome in outcomes
           if outcome.status == FAILED and name_of(outcome.dialogue) not in known]
    assert not new, f"{peer.name} {peer.version} differs in {len(new)} dialogues more:\n\n" + "\n\n".join(new)


def test_the_run_was_one(peer: Peer, outcomes: list[Outcome]) -> None:
    """A server that lets nobody in would differ nowhere else."""
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in (PASSED, FAILED, SKIPPED)}
    assert counts[PASSED] > 70 and sum(counts.values()) == len(dialogues()), counts


def test_what_is_recorded_is_there_still() -> None:
    names = {name_of(dialogue) for dialogue in dialogues()}
    gone = {peer: lost for peer, recorded in differences().items() if (lost := sorted(set(recorded) - names))}
    assert not gone, f"no dialogue has these names any more: {gone}"
    assert set(differences()) <= set(NAMES)
    assert all(len(text) > 20 for recorded in differences().values() for text in recorded.values())


def test_the_stored_matrix_agrees() -> None:
    """It is what notebooks/extra/who_implements_what.ipynb shows to readers who have no peers."""
    matrix = Matrix.stored()
    renew = "where all peers are: python -m tests.peers.matrix"
    assert set(matrix.columns) == set(NAMES)
    failed = {peer: set(column.failed) for peer, column in matrix.columns.items()}
    recorded = {peer: set(names) & set(matrix.dialogues) for peer, names in differences().items()}
    assert failed == recorded, renew
    names = {name_of(dialogue) for dialogue in dialogues()}
    assert set(matrix.dialogues) <= names and len(matrix.dialogues) > 0.9 * len(names), renew

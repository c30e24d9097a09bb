"""The client's dialogues at other people's clients."""
from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from smtp_from_scratch.conformance.client.runner import (
    Authority,
    ClientTarget,
    Command,
    check,
)
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, Outcome
from tests.our_client import DIALOGUES
from tests.peers.clients import COMMANDS, PEERS, installed

PEERS_FILES = Path(__file__).parents[1] / "peers"


DIFFERENCES: dict[str, dict[str, str]] = tomllib.loads((PEERS_FILES / "client_differences.toml").read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("peer", COMMANDS)
def test_other_clients_differ_where_we_know_it(peer: str, authority: Authority,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed(peer):
        pytest.skip(f"{peer} is not installed: tools/peers.sh brings it")
    monkeypatch.setenv("NODE_PATH", str(PEERS / "node" / "node_modules"))
    words = tuple(COMMANDS[peer])
    outcomes = list(check(ClientTarget(Command(words), words, authority=authority, patience=8.0), DIALOGUES, 3))
    new = [outcome for outcome in outcomes if outcome.status == FAILED and named(outcome) not in DIFFERENCES[peer]]
    assert not new, "\n\n".join(map(failure, new))
    assert sum(outcome.status == PASSED for outcome in outcomes) > 90


def named(outcome: Outcome) -> str:
    """A dialogue's name in the list of differences."""
    return f"{outcome.dialogue.rfc} {outcome.dialogue.title}"


def test_known_differences_are_about_dialogues_that_exist() -> None:
    names = {f"{dialogue.rfc} {dialogue.title}" for dialogue in DIALOGUES}
    for peer, differences in DIFFERENCES.items():
        assert peer in COMMANDS and set(differences) <= names, set(differences) - names

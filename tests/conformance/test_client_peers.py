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
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED
from tests.our_client import DIALOGUES
from tests.peers.clients import COMMANDS, PEERS, installed
from tests.peers.conformity import name_of

PEERS_FILES = Path(__file__).parents[1] / "peers"


DIFFERENCES: dict[str, dict[str, str]] = tomllib.loads((PEERS_FILES / "client_differences.toml").read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", ["some", pytest.param("all", marks=pytest.mark.long)])
@pytest.mark.parametrize("peer", COMMANDS)
def test_other_clients_differ_where_we_know_it(peer: str, part: str, authority: Authority,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dialogue starts a program. Some: every fifth of those that should pass."""
    if not installed(peer):
        pytest.skip(f"{peer} is not installed: tools/peers.sh brings it")
    monkeypatch.setenv("NODE_PATH", str(PEERS / "node" / "node_modules"))
    words = tuple(COMMANDS[peer])
    others = [dialogue for dialogue in DIALOGUES if name_of(dialogue) not in DIFFERENCES[peer]]
    wanted = DIALOGUES if part == "all" else others[::5]
    outcomes = list(check(ClientTarget(Command(words), words, authority=authority, patience=8.0), wanted, 3))
    new = [outcome for outcome in outcomes if outcome.status == FAILED and outcome.dialogue in others]
    assert not new, "\n\n".join(map(failure, new))
    assert sum(outcome.status == PASSED for outcome in outcomes) > (90 if part == "all" else 15)


def test_known_differences_are_about_dialogues_that_exist() -> None:
    names = set(map(name_of, DIALOGUES))
    for peer, differences in DIFFERENCES.items():
        assert peer in COMMANDS and set(differences) <= names, set(differences) - names

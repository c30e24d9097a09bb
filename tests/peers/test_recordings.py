"""All dialogues at what real servers answered: they come to the verdicts that were settled, also where no peer is."""
from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, SKIPPED, Outcome
from tests.peers import NAMES
from tests.peers.conformity import differences, name_of
from tests.peers.matrix import Matrix
from tests.peers.recordings import FOLDER, STALE, load, replayed

RENEW = "where all peers are: python -m tests.peers.recordings"
Both = tuple[list[Outcome], list[Outcome]]      # with all options, and with the address alone


@pytest.fixture(scope="module")
def outcomes() -> Callable[[str], Both]:
    """What comes of all dialogues at a peer's recording."""
    found: dict[str, Both] = {}

    def at(name: str) -> Both:
        if name not in found:
            found[name] = replayed(load(name)[1], name)
        return found[name]

    return at


def names(outcomes: list[Outcome], *statuses: str) -> set[str]:
    return {name_of(outcome.dialogue) for outcome in outcomes if outcome.status in statuses}


@pytest.mark.parametrize("name", NAMES)
def test_verdicts_are_those_that_were_settled(name: str, outcomes: Callable[[str], Both]) -> None:
    with_all, _ = outcomes(name)
    stale, settled = names(with_all, STALE), set(differences()[name])
    assert not [failure(outcome) for outcome in with_all
                if outcome.status == FAILED and name_of(outcome.dialogue) not in settled]
    assert names(with_all, FAILED) == settled - stale
    column = Matrix.stored().columns[name]
    skipped = {title: reason for reason, titles in column.skipped.items() for title in titles if title not in stale}
    assert {name_of(one.dialogue): one.reason for one in with_all if one.status == SKIPPED} == skipped


@pytest.mark.parametrize("name", NAMES)
def test_an_address_alone_accuses_of_nothing_more(name: str, outcomes: Callable[[str], Both]) -> None:
    with_all, alone = outcomes(name)
    assert names(alone, FAILED) <= names(with_all, FAILED)
    assert len(names(alone, PASSED)) > 100


@pytest.mark.parametrize("name", NAMES)
def test_recordings_are_of_the_dialogues_that_there_are(name: str, outcomes: Callable[[str], Both]) -> None:
    """Whoever writes a dialogue may have no peers; then it is not judged until somebody renews the recordings."""
    with_all, _ = outcomes(name)
    assert len(names(with_all, STALE)) < 0.05 * len(with_all), f"{RENEW}: {sorted(names(with_all, STALE))}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_recordings_are_small_and_say_nothing_of_a_machine(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text) < 80_000 and path.stem in NAMES
    _, tapes = load(path.stem)
    notes = {note for tape in tapes.values() for sessions in tape.sessions.values() for one in sessions
             for note in one.notes}
    said = "\n".join([*notes, *(base64.b64decode(note[4:]).decode("latin-1") for note in notes if note[:4] == "334 ")])
    assert not re.search(r"/(tmp|home|root|usr|var)/|\d\d:\d\d:\d\d|\d{10}", said)
    assert set(re.findall(r"\[(\d+\.\d+\.\d+\.\d+)\]", said)) <= {"127.0.0.1"}

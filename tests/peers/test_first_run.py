"""`check` with the address of somebody else's server, and no option, accuses of nothing that is not recorded."""
from __future__ import annotations

import pytest

from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, Target, check, play
from smtp_from_scratch.conformance.server.scout import explore
from tests.peers import NAMES, missing, running
from tests.peers.conformity import dialogues, differences, name_of


@pytest.mark.long                               # test_recordings asks the same of what they answered once
@pytest.mark.parametrize("name", NAMES)
def test_an_address_is_enough(name: str) -> None:
    """Recorded are the differences that show with all options; each new one has failed twice."""
    if reason := missing(name):
        pytest.skip(f"{name} is not here: {reason}")
    with running(name) as peer:
        target = Target(peer.host, peer.port, moment=0.2, patience=3.0)
        told = explore(target, recipient_given=False)
        outcomes = list(check(target, dialogues(), 12))
        again = [play(outcome.dialogue, target) for outcome in outcomes
                 if outcome.status == FAILED and name_of(outcome.dialogue) not in differences()[name]]
    assert not [failure(outcome) for outcome in again if outcome.status == FAILED]
    assert sum(outcome.status == PASSED for outcome in outcomes) > 100, told

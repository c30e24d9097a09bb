"""The dialogues at a peer: each at the first of its ports that is what the dialogue needs."""
from __future__ import annotations

import ssl
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.server.runner import (
    FAILED,
    PASSED,
    SKIPPED,
    Outcome,
    Target,
    all_dialogues,
    check,
)
from smtp_from_scratch.conformance.server.scout import explore
from tests.peers import RECIPIENT, REFUSED, ROLES, SENDER, Peer
from tests.peers.stage import PASSWORD, USER

DIFFERENCES = Path(__file__).with_name("differences.toml")


def dialogues() -> list[Dialogue]:
    """Those that examine a server."""
    return [dialogue for dialogue in all_dialogues() if dialogue.end == "server"]


def name_of(dialogue: Dialogue) -> str:
    """What a dialogue is called in differences.toml."""
    return f"{dialogue.rfc} {dialogue.title}"


def differences() -> dict[str, dict[str, str]]:
    """By peer and dialogue: what the peer does, and what the RFC says."""
    return tomllib.loads(DIFFERENCES.read_text("utf-8"))


def prepared(role: str, **more: Any) -> Target:
    """One of a peer's ports, as the runner wants it, with what else is known of the server."""
    return Target(host="127.0.0.1", recipient=RECIPIENT, refused=REFUSED, sender=SENDER, user=USER, password=PASSWORD,
                  moment=0.2, implicit_tls=role == "submissions", lmtp=role == "lmtp",
                  submission=role in ("submission", "submissions"), **({"patience": 3.0} | more))


def target(peer: Peer, role: str) -> Target:
    """One of a peer's ports, looked at."""
    found = prepared(role, port=peer.ports[role], context=ssl.create_default_context(cafile=peer.ca_file))
    explore(found)
    return found


Playing = Callable[[Target, Iterable[Dialogue]], Iterable[Outcome]]


def everywhere(targets: Sequence[Target], wanted: Iterable[Dialogue], playing: Playing) -> list[tuple[Target, Outcome]]:
    """Each dialogue at the first target that does not have it skipped, in their order."""
    outcomes = [(targets[0], outcome) for outcome in playing(targets[0], wanted)]
    for other in targets[1:]:
        skipped = [outcome.dialogue for _, outcome in outcomes if outcome.status == SKIPPED]
        played = {name_of(new.dialogue): (other, new) for new in playing(other, skipped) if new.status != SKIPPED}
        outcomes = [played.get(name_of(outcome.dialogue), (at, outcome)) for at, outcome in outcomes]
    return outcomes


def once_more(pairs: Iterable[tuple[Target, Outcome]], name: str, playing: Playing = check) -> list[Outcome]:
    """The outcomes; what was played, and did not come out as settled, is played again, alone and with patience."""
    known = differences().get(name, {})
    return [outcome if outcome.status == (FAILED if name_of(outcome.dialogue) in known else PASSED)
            or outcome.status == SKIPPED else
            next(iter(playing(replace(at, patience=8.0, moment=0.5), [outcome.dialogue]))) for at, outcome in pairs]


def examine(peer: Peer, wanted: Iterable[Dialogue]) -> list[Outcome]:
    """All dialogues, in their order; those that fail have failed twice."""
    targets = [target(peer, role) for role in ROLES if role in peer.ports]
    return once_more(everywhere(targets, wanted, partial(check, at_once=12)), peer.name)


def offers(peer: Peer) -> dict[str, str]:
    """What EHLO offers, before TLS and under it."""
    plain = target(peer, "smtp")
    return {word: rest for word, rest in sorted({**plain.secured, **plain.keywords}.items()) if word != "EHLO"}

"""The dialogues at a peer: each at the first of its ports that is what the dialogue needs."""
from __future__ import annotations

import ssl
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.server.runner import (
    FAILED,
    SKIPPED,
    Outcome,
    Target,
    all_dialogues,
    check,
    play,
)
from smtp_from_scratch.conformance.server.scout import explore
from tests.peers import ROLES, Peer

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


def target(peer: Peer, role: str, patience: float = 3.0) -> Target:
    """One of a peer's ports, as the runner wants it."""
    found = Target(peer.host, peer.ports[role], peer.recipient, peer.refused, peer.sender, peer.user, peer.password,
                   ssl.create_default_context(cafile=peer.ca_file), moment=0.2, patience=patience,
                   implicit_tls=role == "submissions", submission=role in ("submission", "submissions"),
                   lmtp=role == "lmtp")
    explore(found)
    return found


def examine(peer: Peer, wanted: Iterable[Dialogue], at_once: int = 12) -> list[Outcome]:
    """All dialogues, in their order; those that fail have failed twice, the second time alone and with patience."""
    targets = [target(peer, role) for role in ROLES if role in peer.ports]
    outcomes = [(targets[0], outcome) for outcome in check(targets[0], wanted, at_once)]
    for other in targets[1:]:
        skipped = [outcome.dialogue for _, outcome in outcomes if outcome.status == SKIPPED]
        played = {name_of(new.dialogue): (other, new) for new in check(other, skipped, at_once)
                  if new.status != SKIPPED}
        outcomes = [played.get(name_of(outcome.dialogue), (at, outcome)) for at, outcome in outcomes]
    known = differences().get(peer.name, {})
    return [outcome if outcome.status != FAILED or name_of(outcome.dialogue) in known
            else play(outcome.dialogue, replace(at, patience=8.0, moment=0.5)) for at, outcome in outcomes]


def offers(peer: Peer) -> dict[str, str]:
    """What EHLO offers, before TLS and under it."""
    plain = target(peer, "smtp")
    return {word: rest for word, rest in sorted({**plain.secured, **plain.keywords}.items()) if word != "EHLO"}

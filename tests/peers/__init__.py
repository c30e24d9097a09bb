"""Other people's mail servers, each started on loopback for as long as a test needs it.

    with running("postfix") as peer:
        smtplib.SMTP(peer.host, peer.port)

tools/peers.sh brings them. `python -m tests.peers NAME` starts one for a person to talk to.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.peers import servers
from tests.peers.stage import ROLES, Failed, Stage

NAMES = ("postfix", "exim", "opensmtpd", "aiosmtpd", "nodemailer")
RECIPIENT, REFUSED, SENDER = "somebody@peer.example", "nobody@elsewhere.example", "sender@client.example"

__all__ = ["NAMES", "ROLES", "Failed", "Peer", "missing", "running"]


@dataclass(frozen=True)
class Peer:
    """A server that runs: one domain, peer.example, whose mail it takes and discards."""

    name: str
    version: str
    host: str
    ports: dict[str, int]                       # by role, those of ROLES that it has
    user: str
    password: str
    ca_file: str
    log: Path
    recipient: str = RECIPIENT
    refused: str = REFUSED
    sender: str = SENDER
    port: int = field(init=False)               # of the role "smtp"

    def __post_init__(self) -> None:
        object.__setattr__(self, "port", self.ports["smtp"])


def missing(name: str) -> str:
    """What to do to have this peer, or an empty text when it is here."""
    return servers.SERVERS[name].missing() or ("" if find_spec("trustme") else "pip install trustme")


@contextmanager
def running(name: str) -> Iterator[Peer]:
    """Start a peer, yield what a client must know of it, stop it. Raises Failed with its log when it does not start."""
    server = servers.SERVERS[name]
    if reason := missing(name):
        raise Failed(f"{name} is not here: {reason}")
    with ExitStack() as stack:
        try:
            stage = start(server, stack)
        except Failed:                          # another program may have taken a port that was free
            stage = start(server, stack)
        yield Peer(name, server.version(), "127.0.0.1", {role: stage.ports[role] for role in server.roles},
                   stage.user, stage.password, str(stage.ca_file), stage.folder / "log")


def start(server: servers.Server, stack: ExitStack) -> Stage:
    """Start a server on a new stage; `stack` ends both."""
    stage = stack.enter_context(Stage.set_up())
    stack.enter_context(server.started(stage))
    return stage

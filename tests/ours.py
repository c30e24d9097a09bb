"""Our own server in each of its roles, for rehearsals and over sockets, and what each role is prepared for."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from smtp_from_scratch import Reply, Server
from smtp_from_scratch.auth import Auth, Passwords
from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.server.player import Difference, NotReached
from smtp_from_scratch.conformance.server.runner import Target, excused, inquire, part_for, shake_hands
from smtp_from_scratch.conversation import Conversation, rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab import certificates
from smtp_from_scratch.scram import Keys, ScramKeys, scram_keys
from smtp_from_scratch.smtp import server_extensions
from smtp_from_scratch.submission import Submission
from smtp_from_scratch.throttle import Guesses
from smtp_from_scratch.transcript import Rehearsal

REFUSED = "nobody@elsewhere.example"
USER, PASSWORD = "tim", "tanstaaftanstaaf"
MAX_SIZE = 1_000_000                            # octets of a letter: a dialogue sends a little more
TLS = certificates("127.0.0.1", "localhost", "mx.example.org")
HIDDEN = "192.0.2.1"                            # the client's address in rehearsal


class AllUsers(Passwords):
    """A store that every mechanism can use: the password, and keys made of it."""

    knows = frozenset({"verify", "secret", "scram_keys"})
    keys = Keys({USER: scram_keys(PASSWORD, iterations=4096)})

    def scram_keys(self, user: str) -> ScramKeys:
        return self.keys.scram_keys(user)


class Unhurried(Guesses):
    """No brake: dialogues guess wrong on purpose, one after another from one address."""

    FREE = 1_000_000


USERS = AllUsers({USER: PASSWORD})


def strangers_only_here(address: str, envelope: Envelope) -> Reply | None:
    """One domain is not served, except to users."""
    if address != REFUSED or envelope.protocol.endswith("A"):
        return None
    return Reply(550, "not served here", "5.7.1")


def everything(*without: str, **options: Any) -> Callable[[], Sequence[Any] | None]:
    """The extensions of a role, made anew for each server."""
    options = {"tls": TLS.server, "users": USERS, **options}

    def extensions() -> Sequence[Any]:
        found = server_extensions(without=without, **options)
        for extension in found:
            if isinstance(extension, Auth):
                extension.guesses = Unhurried()
        return found

    return extensions


@dataclass(eq=False)
class Role:
    """A way to set up our server. `server()` makes one; `target` says what a dialogue may expect of it."""

    name: str
    extensions: Callable[[], Sequence[Any] | None] = everything()
    implicit: bool = False                      # TLS before the greeting
    submission: bool = False                    # takes letters of users only
    lmtp: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def server(self) -> Server:
        """A server, not started yet; `stop` it."""
        return Server(hostname="mx.example.org", extensions=self.extensions(), implicit_tls=self.implicit,
                      tls=TLS.server if self.implicit else None, submission=Submission() if self.submission else None,
                      lmtp=self.lmtp,
                      **{"accept_recipient": strangers_only_here, "max_size": MAX_SIZE, **self.options})

    @contextmanager
    def sessions(self) -> Iterator[Callable[[], Conversation[None]]]:
        """What makes a session, for rehearsals: the very conversation that a caller gets."""
        server = self.server()
        try:
            yield lambda: server._conversation(HIDDEN)
        finally:
            server.stop(0.0)

    @cached_property
    def target(self) -> Target:
        """What this role offers, asked in rehearsal."""
        target = Target("127.0.0.1", 0, refused=REFUSED, user=USER, password=PASSWORD, context=TLS.client,
                        implicit_tls=self.implicit, submission=self.submission, lmtp=self.lmtp, moment=0.1,
                        takes_refused=self.submission)
        if self.lmtp:
            target.recipient = "kenji@example.org"      # beside the postmaster
        with self.sessions() as session:
            rehearse(sealed(target, inquire(target)), session())
        return target

    @contextmanager
    def listening(self, stage: str = "threads") -> Iterator[Target]:
        """A server over sockets, and how to call it."""
        server = replace(self, options={**self.options, "stage": stage}).server()
        with server:
            yield replace(self.target, host=server.address[0], port=server.address[1])


ROLES = {role.name: role for role in (
    Role("smtp"),
    Role("smtp, AUTH in the clear", everything(insecure_auth=True)),
    Role("smtp, a few extensions", everything("SIZE", "CHUNKING", "AUTH")),
    Role("smtp, no binary letters", everything("BINARYMIME")),
    Role("submission", everything(require_auth=True), submission=True),
    Role("submissions", everything("STARTTLS", require_auth=True), submission=True, implicit=True),
    Role("smtp under TLS", everything("STARTTLS"), implicit=True),
    Role("1982", lambda: None),
    Role("lmtp", everything("AUTH"), lmtp=True),
)}


def sealed(target: Target, talk: Conversation[Any]) -> Conversation[Any]:
    """A client's conversation, under TLS from the first octet where the server wants that."""
    if target.implicit_tls:
        yield from shake_hands(target)
    return (yield from talk)


def rehearsed(dialogue: Dialogue, target: Target, session: Callable[[], Conversation[Any]]) -> Rehearsal:
    """Play a dialogue in memory; raises Difference, NotReached where this server need not do what it builds on."""
    player = part_for(dialogue, target)
    try:
        return rehearse(sealed(target, player.conversation()), session(), patient=True)
    except Difference as difference:
        if excused(player, target, difference):
            raise NotReached(difference, "a letter") from None
        raise

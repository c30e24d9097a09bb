"""The rules that a session is given: its bounds, and what the functions of whoever runs the server may answer."""
from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import IO, TypeVar

from .bodies import MEMORY, Memory
from .envelope import Envelope
from .printable import logger
from .together import Steps, alone, steps_of
from .wire import Reply

__all__ = ["BROKEN", "Deliver", "Delivery", "Limits", "Outcome", "Policy", "about", "about_utf8", "as_reply",
           "ask_policy", "by_verb", "reply_for_each", "usual"]

log = logger(__name__)

Outcome = Reply | Mapping[str, Reply] | None
Deliver = Callable[[Envelope, IO[bytes]], Outcome]      # {recipient: Reply}; None for 250
Policy = Callable[[str, Envelope], Reply | None]        # None: accepted

usual = lru_cache(256)(Reply)                           # a reply that is said often is made once
BROKEN = Reply(451, "something is broken here; please try again later")
TAKEN = Reply(250, "the message is ours now")


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a session; beyond each there is a reply (RFC 5321 §4.5.3.1). ValueError for what bounds nothing."""

    max_size: int | None = None                         # octets of a body (§4.5.3.1.7); None: no limit
    max_recipients: int = 1000                          # at least 100 (§4.5.3.1.8)
    max_errors: int = 20                                # commands that make no sense
    max_idle_commands: int = 100                        # that lead nowhere, NOOP and the like, since the last message
    max_refused: int = 100                              # recipients that were refused (§7.3)
    memory: Memory = MEMORY                             # for bodies; all sessions share it

    def __post_init__(self) -> None:
        if not (self.max_size is None or (isinstance(self.max_size, int) and self.max_size > 0)):
            raise ValueError(f"max_size is a number of octets above 0, or None for no limit, not {self.max_size!r}")
        for name, least in (("max_recipients", 1), ("max_errors", 0), ("max_idle_commands", 0), ("max_refused", 0)):
            if not (isinstance(number := getattr(self, name), int) and number >= least):
                raise ValueError(f"{name} is a number, at least {least}, not {number!r}")


def as_reply(answer: object, expected: str) -> Reply:
    """What a function of ours answered, if it can end a command; TypeError, ValueError (RFC 5321 §4.2.1)."""
    if not isinstance(answer, Reply) or not isinstance(answer.code, int):
        if isinstance(answer, Coroutine):
            answer.close()                              # nobody would ever run it
        raise TypeError(f"expected {expected}, got {reprlib.repr(answer)}")
    if answer.code // 100 == 3:
        raise ValueError(f"expected {expected}, got {answer.code}, which asks the client to go on")
    f"{answer.enhanced}{answer.text}".encode()          # as when it leaves; a UnicodeEncodeError is a ValueError
    return answer if type(answer) is Reply else Reply(answer.code, answer.text, answer.enhanced)


def ask_policy(policy: Policy | None, address: str, envelope: Envelope) -> Reply | None:
    """What a policy says about an address; if it breaks, 451: that is no fault of the client's (RFC 5321 §4.2.3)."""
    if policy is None: return None
    try:
        answer = policy(address, envelope)
        return None if answer is None else as_reply(answer, "a Reply, or None, of a policy")
    except Exception:
        log.exception("%s: a policy failed", envelope.peer)
        return BROKEN


Check = TypeVar("Check", bound=Callable[..., Reply | None])


def about(*verbs: str) -> Callable[[Check], Check]:
    """Decorator of an extension's `check` that objects to these verbs only: it is not asked about others."""

    def mark(check: Check) -> Check:
        vars(check)["verbs"] = verbs
        return check

    return mark


def about_utf8(check: Check) -> Check:
    """Decorator of a `check` that objects to names beyond ASCII only: it is not asked about other lines."""
    vars(check)["plain"] = False
    return check


def concerns(check: Callable[..., Reply | None], verb: str, plain: bool) -> bool:
    """Whether a check has something to say about a verb, in a line that is ASCII (`plain`) or is not.

    Without `about` it is asked about all verbs, without `about_utf8` about all lines.
    """
    return verb in getattr(check, "verbs", (verb,)) and not (plain and not getattr(check, "plain", True))


def by_verb(checks: Collection[Check], verbs: Iterable[str]) -> dict[tuple[str, bool], list[Check]]:
    """Those that have something to say about a verb, in a line that is ASCII (True) or is not."""
    return {(verb, plain): [check for check in checks if concerns(check, verb, plain)]
            for verb in verbs for plain in (True, False)}


@dataclass(slots=True, eq=False)
class Delivery:
    """A message for `deliver`. Called, it says what became of it for each recipient.

    451 if `deliver` breaks: the client keeps the message (RFC 5321 §4.2.5).
    """

    deliver: Deliver
    envelope: Envelope
    body: IO[bytes]

    @property
    def together(self) -> Callable[[], Steps[dict[str, Reply]]] | None:
        """`steps`, if they may be played with those of others. A letter too large for memory would hold them up."""
        return self.steps if isinstance(self.body, BytesIO) and steps_of(self.deliver) else None

    def __call__(self) -> dict[str, Reply]:
        return alone(self.steps())

    def steps(self) -> Steps[dict[str, Reply]]:
        """The same in steps, those of `deliver` if it has some."""
        recipients, steps = tuple(self.envelope.recipients), steps_of(self.deliver)      # which `deliver` may change
        try:
            self.body.seek(0)
            outcome = (yield from steps(self.envelope, self.body)) if steps else self.deliver(self.envelope, self.body)
            return reply_for_each(recipients, outcome)
        except Exception:
            log.exception("%s: delivery failed", self.envelope.peer)
            return dict.fromkeys(recipients, BROKEN)


def reply_for_each(recipients: Collection[str], outcome: object) -> dict[str, Reply]:
    """What `deliver` said of each recipient; TypeError or ValueError for what it never says.

    451, and a line in the log, for a recipient that is missing from its mapping, or has something else than a Reply.
    """
    if outcome is None:
        return dict.fromkeys(recipients, TAKEN)
    if not isinstance(outcome, Mapping):
        return dict.fromkeys(recipients, as_reply(outcome, "a Reply, {recipient: Reply} or None of deliver"))
    if strangers := set(outcome).difference(recipients):
        log.error("deliver answered for %s, to whom nobody has written", reprlib.repr(strangers))
    found = {}
    for address in recipients:
        try:
            found[address] = as_reply(outcome.get(address), f"a Reply of deliver for {address!r}")
        except (TypeError, ValueError) as error:
            log.error("delivery failed: %s", error)
            found[address] = BROKEN
    return found

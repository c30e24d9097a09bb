"""The dialogues of the conformance suite at the learner's own server: in rehearsal, or over a socket."""
from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from smtp_from_scratch.lab.figures.faces import Face, rich, table

if TYPE_CHECKING:                              # at run time only where a dialogue is played: lab loads no chapter
    from smtp_from_scratch.conformance.notation import Dialogue
    from smtp_from_scratch.conformance.server.runner import Outcome, Target

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
SIGNS = {PASSED: "✓", FAILED: "✗", SKIPPED: "–"}
TAKEN = {False: "postmaster@example.org", True: "kenji@example.org"}       # the recipient; LMTP's need another beside


class DialogueTable(Face):
    """A row a dialogue; `outcomes` is the data, `failed` those that differ."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes

    @property
    def failed(self) -> list[Outcome]:
        """What the server does otherwise."""
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]

    @property
    def summary(self) -> str:
        """How many passed, failed, were skipped."""
        counts = {status: sum(outcome.status == status for outcome in self.outcomes) for status in SIGNS}
        return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no dialogues"

    def text(self) -> str:
        wide = max((len(outcome.dialogue.title) for outcome in self.outcomes), default=0)
        rows = [f"{SIGNS[o.status]} {o.dialogue.title:{wide}}  {o.dialogue.section:<12} {o.reason}".rstrip()
                for o in self.outcomes]
        return "\n".join([*rows, self.summary])

    def html(self) -> str:
        rows = [[SIGNS[o.status], rich(o.dialogue.title), rich(f"RFC {o.dialogue.rfc} {o.dialogue.section}"),
                 rich(o.reason)] for o in self.outcomes]
        return table(["", "dialogue", "rule", "what was different"], rows) + f"<p>{escape(self.summary)}</p>"


def dialogues(server: Callable[[], Any] | tuple[str, int], *files: str, only: str = "", offers: str = "",
              refused: str = "", user: str = "", password: str = "", lmtp: bool = False,
              submission: bool = False) -> DialogueTable:
    """Play dialogues at a server: a function that returns its conversation, or a host and a port.

    `files` are names such as "rfc5321-order" (none: all), `only` a part of a title, `offers` the extensions of a
    server that is rehearsed (`SIZE=1000000` with its limit), `refused` a recipient that it refuses. With a `user` and
    a `password` the server is asked what it offers, in the clear and under TLS; with `lmtp`, it speaks LMTP, and is
    asked, too; with `submission`, it takes messages from its users only.
    """
    from smtp_from_scratch.conformance.server.runner import Target, all_dialogues, inquire, play, probe
    from smtp_from_scratch.conversation import rehearse

    chosen = [dialogue for dialogue in all_dialogues()
              if dialogue.end == "server" and (not files or dialogue.source.partition(".")[0] in files)
              and only.lower() in dialogue.title.lower()]
    keywords = {name: value for name, _, value in (word.partition("=") for word in offers.upper().split())}
    if not callable(server):
        target = Target(*server, TAKEN[lmtp], refused=refused, keywords=keywords, user=user, password=password,
                        lmtp=lmtp, submission=submission)
        if user or lmtp:
            probe(target)
        return DialogueTable([play(dialogue, target) for dialogue in chosen])
    target = Target("localhost", 0, TAKEN[lmtp], refused=refused, keywords=keywords, user=user, password=password,
                    lmtp=lmtp, submission=submission)
    if user or lmtp:
        rehearse(inquire(target), server(), patient=True)
    return DialogueTable([rehearsed(dialogue, target, server) for dialogue in chosen])


def rehearsed(dialogue: Dialogue, target: Target, server: Callable[[], Any]) -> Outcome:
    """One dialogue in memory; an error of the server's code is a failure, too."""
    from smtp_from_scratch.conformance.server.player import ClientPart, Difference
    from smtp_from_scratch.conformance.server.runner import Outcome, obstacle
    from smtp_from_scratch.conversation import rehearse

    if reason := obstacle(dialogue, target):
        return Outcome(dialogue, SKIPPED, reason)
    try:
        rehearse(ClientPart(dialogue, target.values()).conversation(), server(), patient=True)
    except Difference as difference:
        return Outcome(dialogue, FAILED, str(difference), difference.line)
    except Exception as error:
        return Outcome(dialogue, FAILED, f"{type(error).__name__}: {error}")
    return Outcome(dialogue, PASSED)


def client_dialogues(client: Callable[[Any, bytes], Any], *files: str, only: str = "") -> DialogueTable:
    """Play the server's part of dialogues at a client, in rehearsal.

    `client(envelope, letter)` returns a conversation for a whole session. What it returns tells whether all went well
    by its `refused` (a list may hold several such receipts); an exception says that it did not. `files` are names such
    as "client-session", `only` a part of a title.
    """
    from smtp_from_scratch.conformance.server.runner import all_dialogues

    return DialogueTable([rehearsed_at(dialogue, client) for dialogue in all_dialogues()
                          if dialogue.end == "client" and dialogue.source.partition(".")[0] in files
                          and only.lower() in dialogue.title.lower()])


def rehearsed_at(dialogue: Dialogue, client: Callable[[Any, bytes], Any]) -> Outcome:
    """One dialogue at a client; an error of its code is a failure, too."""
    from smtp_from_scratch.conformance.client.runner import rehearsed as play
    from smtp_from_scratch.conformance.client.tasks import task_of
    from smtp_from_scratch.conformance.server.player import Difference
    from smtp_from_scratch.conformance.server.runner import Outcome

    task = task_of(dialogue)
    if task.tls or task.user or task.twice or task.notify or task.ret or task.envid or task.orcpt:
        return Outcome(dialogue, SKIPPED, "asks for more than a letter")
    try:
        return play(dialogue, task, lambda kind: None, told(client, task))
    except Difference as difference:
        return Outcome(dialogue, FAILED, str(difference), difference.line)
    except Exception as error:
        return Outcome(dialogue, FAILED, f"{type(error).__name__}: {error}")


def told(client: Callable[[Any, bytes], Any], task: Any) -> Any:
    """The client at its task; returns 0 if it reports success, else 1."""
    from smtp_from_scratch.conversation import Interruption
    from smtp_from_scratch.envelope import Envelope

    try:
        result = yield from client(Envelope(task.sender, list(task.recipients)), task.letter)
    except (Interruption, OSError, ValueError):
        return 1
    receipts = result if isinstance(result, list) else [result]
    return int(any(getattr(receipt, "refused", None) for receipt in receipts))

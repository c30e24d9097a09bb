"""The client's dialogues: at our own client, in rehearsal and over sockets, and at other people's clients."""
from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client
from smtp_from_scratch.auth import MECHANISMS
from smtp_from_scratch.client import SMTPException
from smtp_from_scratch.conformance.client_runner import Authority, ClientTarget, InThread, check, exits, obstacle
from smtp_from_scratch.conformance.host import Host, NotExercised
from smtp_from_scratch.conformance.notation import Act, Dialogue
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.runner import FAILED, PASSED, SKIPPED, Outcome, all_dialogues
from smtp_from_scratch.conformance.tasks import PLACEHOLDERS, Task, task_of
from smtp_from_scratch.conversation import Conversation, Interruption, rehearse
from smtp_from_scratch.ehlo import ClientSession, deliver
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.smtp import KEYWORDS, client_extensions, letter_for

DIALOGUES = [dialogue for dialogue in all_dialogues() if dialogue.end == "client"]
DSN = {"notify", "ret", "envid", "orcpt"}       # what a client can be asked to ask for by RFC 3461
CAN = tuple(f"{{{name}}}" for name in PLACEHOLDERS if name not in DSN or "DSN" in KEYWORDS)
LATER = {                                       # rules that `ehlo.deliver` breaks, and `Client` keeps
    "A server greets with 554: QUIT": "the conversation raises without saying QUIT; Client.connect says it",
}
INTERRUPTED = (SMTPException, Interruption, OSError, ValueError)


def not_built(dialogue: Dialogue) -> str:
    """What our client would need for a dialogue, and has not yet; empty as soon as the front door has it."""
    wanted = {need.partition("=")[0] for need in dialogue.needs} - {"EHLO"}
    wanted |= {"DSN"} if DSN.intersection(dialogue.setup) else set()
    mechanisms = {mechanism.name for mechanism in MECHANISMS}
    missing = wanted.difference(KEYWORDS) | {
        name for need in dialogue.needs if need.startswith("AUTH=") and len(need.split(",")) == 1
        for name in need[5:].split(",") if name not in mechanisms}
    return " and ".join(sorted(missing))


def extensions(task: Task) -> dict[str, Any]:
    """What a task makes of the client's options."""
    options: dict[str, Any] = {"user": task.user, "password": task.password} if task.user else {}
    if DSN.intersection(name for name in DSN if getattr(task, name)):
        raise NotImplementedError("our client learned DSN: let this test ask it for reports")
    return options | ({"tls": ssl.create_default_context(cafile=task.ca_file)} if task.ca_file else {})


def by_class(host: str, port: int, task: Task) -> int:
    """Our `Client` as a client program: the exit status says whether everybody got the letter."""
    with Client(host, port, timeout=20, **extensions(task)) as smtp:
        receipt = smtp.transact(Envelope(task.sender, list(task.recipients)), task.letter,
                                binary=b"\0" in task.letter)
    return 1 if receipt.refused else 0


def by_conversation(task: Task) -> Conversation[int]:
    """The same as a conversation, for rehearsal."""
    session = ClientSession("client.example", tuple(client_extensions(**extensions(task))), "127.0.0.1")
    envelope = Envelope(task.sender, list(task.recipients))
    letters = (letter_for(session, envelope, task.letter, b"\0" in task.letter) for _ in range(1))
    try:
        [receipt] = yield from deliver(session, letters)
    except INTERRUPTED:
        return 1
    return 1 if receipt.refused else 0


# --- our client ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def over_sockets(authority: Authority) -> dict[str, Outcome]:
    """All dialogues at `Client`, several at once."""
    target = ClientTarget(lambda host, port, task, folder: InThread(by_class, host, port, task), CAN,
                          authority=authority, patience=5.0)
    return {outcome.dialogue.source: outcome for outcome in check(target, DIALOGUES, 6)}


def must_pass(outcome: Outcome) -> None:
    """Our client keeps every rule; it may skip only what is not built yet, and that is said by name."""
    if outcome.status == SKIPPED and outcome.reason == "does not say QUIT":
        pytest.skip("a `Client` says QUIT when its user does; `deliver` lets it ride along, see the rehearsal")
    if outcome.status == SKIPPED:
        missing = not_built(outcome.dialogue)
        assert missing, f"our client has it, and does not use it: {outcome.reason}"
        pytest.skip(f"not built yet: {missing}")
    assert outcome.status == PASSED, failure(outcome)


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.source)
def test_our_client_keeps_it_over_a_socket(dialogue: Dialogue, over_sockets: dict[str, Outcome]) -> None:
    must_pass(over_sockets[dialogue.source])


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.source)
def test_our_client_keeps_it_in_rehearsal(dialogue: Dialogue, authority: Authority, tmp_path: Path,
                                          request: pytest.FixtureRequest) -> None:
    if dialogue.title in LATER:
        request.applymarker(pytest.mark.xfail(reason=LATER[dialogue.title], strict=True))
    if reason := obstacle(dialogue, ClientTarget(lambda *_: None, CAN, authority=authority)):
        return must_pass(Outcome(dialogue, SKIPPED, reason))
    task = task_of(dialogue)
    if task.tls:
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        task = replace(task, ca_file=str(tmp_path / "ca.pem"))
    must_pass(rehearsed(dialogue, task, authority, by_conversation(task)))


def rehearsed(dialogue: Dialogue, task: Task, authority: Authority, client: Conversation[int]) -> Outcome:
    """A dialogue and a client in one process, without a socket. Raises Difference."""
    host = Host(dialogue, task, authority.context)
    try:
        show = rehearse(client, host.conversation(), patient=True)
    except NotExercised as reason:
        return Outcome(dialogue, SKIPPED, str(reason))
    except ssl.SSLError:                        # the client broke the handshake off, and was gone before its end
        allowed = any(isinstance(step, Act) and step.argument == "or closed" for step in dialogue.steps)
        return Outcome(dialogue, PASSED if allowed else FAILED, "the handshake was broken off")
    if host.refused:
        return Outcome(dialogue, PASSED if show.client else FAILED, "declined, and called a success", 0, show.said)
    for step in dialogue.steps:
        if isinstance(step, Act) and step.verb == "exit" and not exits(show.client, step.argument):
            return Outcome(dialogue, FAILED, f"expected exit {step.argument}, got {show.client}", step.line, show.said)
    return Outcome(dialogue, PASSED, said=show.said)

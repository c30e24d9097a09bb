"""Our client, asked to do what a client's dialogue wants: as a program, and as a conversation."""
from __future__ import annotations

import asyncio
import ssl
from typing import Any

from smtp_from_scratch import AsyncClient, Client, starttls
from smtp_from_scratch.auth import MECHANISMS
from smtp_from_scratch.client import SMTPException
from smtp_from_scratch.conformance.client.tasks import PLACEHOLDERS, Task
from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.server.runner import all_dialogues
from smtp_from_scratch.conversation import Conversation, Interruption
from smtp_from_scratch.dsn import request
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import outgoing
from smtp_from_scratch.smtp import client_extensions
from smtp_from_scratch.smtp.sets import KEYWORDS
from smtp_from_scratch.status import CodedClientSession
from tests.whole_session import whole_session

DIALOGUES = [dialogue for dialogue in all_dialogues() if dialogue.end == "client"]
DSN = {"notify", "ret", "envid", "orcpt"}       # what a client can be asked to ask for by RFC 3461
CAN = tuple(f"{{{name}}}" for name in PLACEHOLDERS if name not in DSN or "DSN" in KEYWORDS)
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
    return options | ({"tls": ssl.create_default_context(cafile=task.ca_file)} if task.ca_file else {})


def envelope_of(task: Task) -> Envelope:
    """A task's envelope, with what it asks for of reports."""
    envelope = Envelope(task.sender, list(task.recipients))
    orcpt = dict.fromkeys(task.recipients, task.orcpt) if task.orcpt else {}
    return request(envelope, ret=task.ret, envid=task.envid, notify=task.notify, orcpt=orcpt)


def by_class(host: str, port: int, task: Task) -> int:
    """Our `Client` as a client program: the exit status says whether everybody got the letter."""
    with Client(host, port, timeout=20, implicit_tls=task.implicit, **extensions(task)) as smtp:
        receipts = [smtp.transact(envelope_of(task), task.letter, binary=b"\0" in task.letter)
                    for _ in range(1 + task.twice)]
    return 1 if any(receipt.refused for receipt in receipts) else 0


def by_async_class(host: str, port: int, task: Task) -> int:
    """The same with our `AsyncClient`."""
    async def main() -> int:
        async with AsyncClient(host, port, timeout=20, implicit_tls=task.implicit, **extensions(task)) as smtp:
            receipts = [await smtp.transact(envelope_of(task), task.letter, binary=b"\0" in task.letter)
                        for _ in range(1 + task.twice)]
        return 1 if any(receipt.refused for receipt in receipts) else 0

    return asyncio.run(main())


def by_conversation(task: Task) -> Conversation[int]:
    """The same as a conversation, for rehearsal."""
    options = extensions(task)
    context = options.pop("tls") if task.implicit else None
    session = CodedClientSession("client.example", tuple(client_extensions(**options)), "127.0.0.1")
    letters = (outgoing(envelope_of(task), task.letter, eight_bit=session.uses("8BITMIME"), binary=b"\0" in task.letter)
               for _ in range(1 + task.twice))
    try:
        if context:
            yield from starttls.secure_client(session, context)
        receipts = yield from whole_session(session, letters)
    except INTERRUPTED:
        return 1
    return 1 if any(receipt.refused for receipt in receipts) else 0

"""One rule at a time is taken from our client: some dialogue must notice each time."""
from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Reply, auth, chunking, client, ehlo, smtputf8, starttls, transaction
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.conformance.client.runner import (
    Authority,
    ClientTarget,
    obstacle,
    rehearsed,
)
from smtp_from_scratch.conformance.client.tasks import task_of
from smtp_from_scratch.conformance.server.player import Difference
from smtp_from_scratch.conformance.server.runner import FAILED
from smtp_from_scratch.conversation import NOT_YET, Conversation, Line, NotYet
from smtp_from_scratch.envelope import normalize, stuff
from smtp_from_scratch.replies import Replies
from smtp_from_scratch.status import CodedClientSession
from smtp_from_scratch.transaction import Plan, PlannedCommand, settle_body
from smtp_from_scratch.wire import parse_reply
from tests import whole_session
from tests.our_client import CAN, DIALOGUES, by_conversation

PEERS_FILES = Path(__file__).parents[1] / "peers"


class LineByLine(Replies):
    """Takes each line for a reply."""

    def take(self, channel: Channel) -> NotYet | None:
        line = channel.inbox.line(8192)
        if line is None:
            return NOT_YET
        self._unanswered.popleft().answer(parse_reply([line.replace(b"-", b" ", 1)]))
        return None


def without(name: str, patch: pytest.MonkeyPatch) -> list[str]:
    """Remove one rule from our client; returns all names there are."""
    learn, line, plan = CodedClientSession.learn, transaction.PlannedCommand.line, ehlo.Size.plan

    def no_dots(blocks: Iterable[bytes]) -> Iterator[bytes]:
        yield from normalize(blocks)
        yield b"\r\n.\r\n"

    def as_it_is(blocks: Iterable[bytes]) -> Iterator[bytes]:
        whole = b"".join(blocks)
        yield whole.replace(b"\r\n.", b"\r\n..")
        yield b".\r\n" if whole.endswith(b"\r\n") else b"\r\n.\r\n"

    def data_without_asking(plan: Plan) -> Iterator[PlannedCommand]:
        yield PlannedCommand("DATA")
        yield PlannedCommand("", octets=lambda: stuff(plan.message.body), settle=partial(settle_body, plan))

    def data_at_once(plan: Plan) -> Iterator[PlannedCommand]:
        yield PlannedCommand("", octets=lambda: [b"DATA\r\n", *stuff(plan.message.body)],
                             settle=partial(settle_body, plan))

    def everything_active(client: CodedClientSession, offered: Mapping[str, str]) -> None:
        learn(client, dict.fromkeys(unoffered, "") | dict(offered))

    def never_forget(client: CodedClientSession, offered: Mapping[str, str]) -> None:
        learn(client, {**client.offered, **offered})

    def miscounted(command: PlannedCommand) -> bytes:
        return re.sub(rb"BDAT (\d+)", lambda m: b"BDAT %d" % (int(m[1]) - 1), line(command))

    def never_last(command: PlannedCommand) -> bytes:
        return line(command).replace(b" LAST", b"")

    def one_line(timeout: float = 300.0, limit: int = 0) -> Conversation[Reply]:
        return parse_reply([(yield Line(8192, timeout)).replace(b"-", b" ", 1)])

    def by_text(reply: Reply) -> bool:
        return not any(word in reply.text.lower() for word in ("no ", "error", "fail"))

    def any_code(reply: Reply) -> bool:
        return reply.code in (220, 221, 235, 250)

    def first_and_go(*_: object) -> None:
        return None

    def well_received(plan: Plan, reply: Reply) -> None:
        plan.client.open, plan.receipt.reply = False, Reply(250)

    def wrong_size(extension: ehlo.Size, made: Plan) -> None:
        made.message = made.message._replace(size=1)
        plan(extension, made)

    def swallow(extension: ehlo.Extension, plan: Plan) -> None:
        plan.needs.clear()

    def opened(client: CodedClientSession) -> Conversation[Reply]:
        yield b"EHLO client.example\r\n"
        return (yield from open_as_it_should(client))

    def unread(client: CodedClientSession) -> Conversation[Reply]:
        client.learn({})
        return Reply(250)
        yield b""

    def believe(client: CodedClientSession, context: ssl.SSLContext) -> Conversation[None]:
        return secure(client, starttls.unverified())

    open_as_it_should, unoffered, secure = transaction.open_session, set[str](), starttls.secure_client
    rules: dict[str, Callable[[], Any]] = {
        "dots are doubled": lambda: patch.setattr(transaction, "stuff", no_dots),
        "line ends": lambda: patch.setattr(transaction, "stuff", as_it_is),
        "354 is looked at": lambda: patch.setattr(transaction, "data", data_without_asking),
        "354 is waited for": lambda: patch.setattr(transaction, "data", data_at_once),
        "the greeting is waited for": lambda: patch.setattr(whole_session, "open_session", opened),
        "replies of several lines": lambda: (patch.setattr(client, "read_reply", one_line),
                                             patch.setattr(transaction, "Replies", LineByLine)),
        "codes, not texts": lambda: patch.setattr(Reply, "positive", property(by_text)),
        "codes by their first digit": lambda: patch.setattr(Reply, "positive", property(any_code)),
        "a refused letter": lambda: [patch.setattr(module, "settle_body", well_received)
                                      for module in (transaction, chunking)],
        "a refused MAIL": lambda: patch.setattr(transaction, "settle_mail", first_and_go),
        "a refused RCPT": lambda: patch.setattr(transaction, "settle_rcpt", first_and_go),
        "HELO": lambda: patch.setattr(Reply, "permanent", property(lambda reply: False)),
        "line breaks in addresses": lambda: (patch.setattr(transaction, "encode_path", lambda address: f"<{address}>"),
                                             patch.setattr(transaction, "encode_command", lambda verb, argument:
                                                           f"{verb} {argument}".rstrip().encode() + b"\r\n")),
        "PIPELINING is offered": lambda: (unoffered.add("PIPELINING"),
                                          patch.setattr(CodedClientSession, "learn", everything_active)),
        "SIZE is offered": lambda: (unoffered.add("SIZE"),
                                    patch.setattr(CodedClientSession, "learn", everything_active)),
        "CHUNKING is offered": lambda: (unoffered.add("CHUNKING"),
                                        patch.setattr(CodedClientSession, "learn", everything_active)),
        "8BITMIME is offered": lambda: (unoffered.add("8BITMIME"),
                                        patch.setattr(CodedClientSession, "learn", everything_active)),
        "DATA ends its group": lambda: patch.setattr(transaction, "data", data_at_once),
        "SIZE is true": lambda: patch.setattr(ehlo.Size, "plan", wrong_size),
        "8-bit letters need 8BITMIME": lambda: patch.setattr(ehlo.EightBitMime, "plan", swallow),
        "UTF-8 needs SMTPUTF8": lambda: patch.setattr(smtputf8.SmtpUtf8, "plan", swallow),
        "BDAT counts": lambda: patch.setattr(PlannedCommand, "line", miscounted),
        "BDAT LAST": lambda: patch.setattr(PlannedCommand, "line", never_last),
        "a refused chunk": lambda: patch.setattr(chunking, "settle_chunk", first_and_go),
        "BDAT's line ends": lambda: patch.setattr(chunking, "whole_lines", lambda blocks: blocks),
        "TLS forgets": lambda: patch.setattr(CodedClientSession, "learn", never_forget),
        "EHLO under TLS": lambda: patch.setattr(starttls, "hello", unread),
        "TLS is required": lambda: patch.setattr(starttls.StartTLS, "after_hello", lambda extension, client:
                                                 starttls.start_tls(client, extension.context, False)),
        "certificates": lambda: patch.setattr(starttls, "secure_client", believe),
        "no passwords in clear": lambda: patch.setattr(auth.Mechanism, "clear", False),
        "nonsense is answered with *": lambda: patch.setattr(auth, "decode64", base64.b64decode),
    }
    if name:
        rules[name]()
    return list(rules)


@pytest.mark.parametrize("name", without("", pytest.MonkeyPatch()))
def test_a_client_without_this_rule_is_caught(name: str, monkeypatch: pytest.MonkeyPatch, authority: Authority,
                                              tmp_path: Path) -> None:
    without(name, monkeypatch)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    target = ClientTarget(lambda *_: None, CAN, authority=authority)
    for dialogue in DIALOGUES:
        if obstacle(dialogue, target):
            continue
        task = task_of(dialogue)
        task = replace(task, ca_file=str(tmp_path / "ca.pem")) if task.tls else task
        try:
            if rehearsed(dialogue, task, authority.context, by_conversation(task)).status == FAILED:
                return
        except Difference:
            return
    pytest.fail("no dialogue noticed")

"""The check of the page on LMTP: a reply for each recipient."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from smtp_from_scratch.conversation import Conversation, read_reply, rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.lab.figures.conformity import PASSED, dialogues
from smtp_from_scratch.wire import Reply

ANA, YUI, KENJI = "ana@rio.example", "yui@tokyo.example", "kenji@tokyo.example"
REFUSED = "nobody@example.org"


def accept(address: str, envelope: Envelope) -> Reply | None:
    """One recipient is refused."""
    return Reply(550, "nobody of that name here", "5.1.1") if address == REFUSED else None


def one_is_full(envelope: Envelope, body: Any) -> dict[str, Reply]:
    """Yui's mailbox is full."""
    return {address: Reply(452, "the mailbox is full", "4.2.2") if address == YUI else Reply(250, "kept")
            for address in envelope.recipients}


@check(
    hints=(
        "A handler says 354 and returns one reply. How can you wrap it, and say that reply once for each recipient?",
        "envelope = session.envelope; reply = yield from data(session, argument); if session.envelope is not "
        "envelope: …, yield one for each of envelope.recipients, return None",
        "The old handlers return one reply, and LMTP wants that reply once for each recipient. So wrap a handler: "
        "remember the envelope, let the old one work, and if the transaction is over then, say a reply for each "
        "recipient in order. A delivery that returns a dictionary has another reply for each.",
    ),
    passed="A sister of SMTP, of the same pieces: every dialogue of RFC 2033 passes.",
)
def check_lmtp(my_lmtp: Callable[..., Any]) -> Iterator[Problem]:
    """RFC 2033's dialogues, and replies that differ."""
    conversation = my_lmtp("store.tokyo.example", lambda envelope, body: None)
    if conversation is None or conversation is ...:
        raise NotYet("return a conversation: serve(CodedSession(hostname, …)).")
    if not isinstance(conversation, Generator):
        yield Problem(gave=f"{conversation!r}", look="Return a conversation: serve(CodedSession(hostname, …)).")
        return

    def server(deliver: Callable[..., Any]) -> Conversation[Any]:
        return my_lmtp("store.tokyo.example", deliver, accept_recipient=accept)

    played = dialogues(lambda: server(lambda envelope, body: None), "rfc2033", refused=REFUSED, lmtp=True)
    for outcome in played.outcomes:
        if outcome.status != PASSED:
            yield Problem(gave=f"“{outcome.dialogue.title}”: {outcome.reason}", wire=outcome.dialogue.asks,
                          look=f"RFC {outcome.dialogue.rfc} {outcome.dialogue.section}; the dialogues are in "
                               "conformance/dialogues/rfc2033.txt.")
    for deliver_, codes, what in (
        (one_is_full, (250, 452, 250), "a delivery for Kenji and Bo, while Yui's mailbox is full"),
        (lambda envelope, body: Reply(554, "a worm", "5.7.1"), (554, 554, 554), "a delivery that refuses the letter"),
        (lambda envelope, body: None, (250, 250, 250), "a delivery that returns None"),
    ):
        found = rehearse(three(), server(deliver_)).client
        if found != codes:
            yield Problem(gave=f"{found} after {what}", wire=f"Each recipient has a reply: {codes}.",
                          look="The replies of `{recipient: Reply}`, in the order of the RCPTs; else the same for all.")


def three() -> Conversation[tuple[int, ...]]:
    """A client that says all it has in two flights, and hears a reply for each of three recipients."""
    yield from read_reply()
    for command in ("LHLO mx.tokyo.example", f"MAIL FROM:<{ANA}>", f"RCPT TO:<{KENJI}>", f"RCPT TO:<{YUI}>",
                    "RCPT TO:<bo@oslo.example>", "DATA"):
        yield f"{command}\r\n".encode()
        yield from read_reply()
    yield b"Subject: news\r\n\r\n.\r\n"
    codes: list[int] = []
    for _ in range(3):
        codes.append((yield from read_reply()).code)
    return tuple(codes)

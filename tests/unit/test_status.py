"""Enhanced status codes: on which replies they stand, which they are, and what a client believes of them (RFC 2034)."""
from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest

from smtp_from_scratch import Reply
from smtp_from_scratch.client import SMTPServerDisconnected
from smtp_from_scratch.conversation import Conversation, Disconnected, Line, Timeout, read_reply, rehearse
from smtp_from_scratch.ehlo import ExtensionSet, Size
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.rules import Limits
from smtp_from_scratch.session import serve
from smtp_from_scratch.smtp import server_extensions
from smtp_from_scratch.status import CodedClientSession, CodedSession, EnhancedStatusCodes, split_enhanced, usual_code
from smtp_from_scratch.transaction import open_session

ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?= |$)")

# --- which ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", range(200, 600))
def test_every_reply_may_have_a_code_of_its_class(code: int) -> None:
    for verb in ("MAIL", "RCPT", "DATA", "BDAT", "VRFY", "FROB", ""):
        assert usual_code(verb, code).startswith(f"{code // 100}.")


@pytest.mark.parametrize("verb, code, enhanced", [
    ("MAIL", 250, "2.1.0"), ("RCPT", 250, "2.1.5"), ("DATA", 250, "2.6.0"), ("BDAT", 250, "2.6.0"),
    ("NOOP", 250, "2.0.0"), ("RCPT", 452, "4.5.3"), ("MAIL", 452, "4.3.1"), ("RCPT", 550, "5.1.1"),
    ("MAIL", 550, "5.0.0"), ("VRFY", 252, "2.5.0"), ("RCPT", 503, "5.5.1"), ("", 421, "4.3.2"), ("DATA", 554, "5.0.0"),
])
def test_the_usual_code(verb: str, code: int, enhanced: str) -> None:
    assert usual_code(verb, code) == enhanced


# --- the server's end -------------------------------------------------------------------------------------------------


def said(session: CodedSession, *lines: str) -> list[Reply]:
    """What a session says to these lines, the greeting first."""

    def client() -> Conversation[list[Reply]]:
        heard = [(yield from read_reply())]
        with suppress(Disconnected):
            for line in lines:
                yield line.encode() + b"\r\n"
                heard.append((yield from read_reply()))
        return heard

    return list(rehearse(client(), serve(session)).client)


def tokyo(**options: Any) -> CodedSession:
    return CodedSession("mail.tokyo.example", extensions=ExtensionSet(server_extensions()), **options)


EVERY = ("FROB", "MAIL FROM:<a@b.example>", "EHLO c.example", "NOOP", "RCPT TO:<x@y.example>",
         "MAIL FROM:<a@b.example>", "RCPT TO:<x@y.example>",
         "RCPT TO:x", "VRFY", "VRFY x", "EXPN x", "HELP", "HELP FROB", "DATA now", "RSET",
         "MAIL FROM:<a@b.example> FROB=1", "MAIL FROM:<a@b.example> SIZE=9", "RCPT TO:<x@y.example>", "DATA",
         "Subject: x\r\n\r\nx\r\n.", "NOOP " + "x" * 600, "HELO c.example", "QUIT now", "QUIT")


def test_where_a_code_stands_and_where_it_does_not() -> None:
    """On every line of each 2yz, 4yz, 5yz; on no greeting, no reply to EHLO or HELO, no 3yz (RFC 2034 §4)."""
    replies = said(tokyo(), *EVERY)
    assert len(replies) == len(EVERY) + 1
    for line, reply in zip(("", *EVERY), replies, strict=True):
        codes = [found and found[0] for found in map(ENHANCED.match, reply.lines)]
        if not line or line.startswith(("EHLO", "HELO")) or reply.code == 354:
            assert not any(codes), f"{line!r}: {reply}"
        else:
            assert codes[0] and set(codes) == {codes[0]} and codes[0][0] == str(reply.code)[0], f"{line!r}: {reply}"


@pytest.mark.parametrize("line", ["EHLO (x", "HELO (x", "EHLO", "HELO"])
def test_a_hello_that_is_refused_has_no_code_either(line: str) -> None:
    _, reply = said(tokyo(), line)
    assert reply.code == 501 and not ENHANCED.match(reply.text)


def test_what_a_handler_has_chosen_stays() -> None:
    policy = {"accept_recipient": lambda address, envelope: Reply(550, "blocked", "5.7.1")}
    assert said(tokyo(**policy), "EHLO c.example", "MAIL FROM:<>", "RCPT TO:<x@y.example>")[-1].text == "5.7.1 blocked"


def test_where_it_is_not_offered_nothing_is_added() -> None:
    session = CodedSession("mail.tokyo.example", extensions=ExtensionSet([Size()]))
    replies = said(session, "EHLO c.example", "NOOP", "MAIL FROM:<a@b.example>", "RCPT TO:<x@y.example>", "QUIT")
    assert not any(ENHANCED.match(reply.text) for reply in replies)


def test_a_last_word_has_a_code() -> None:
    *_, last = said(tokyo(limits=Limits(max_errors=1)), *["FROB"] * 5)
    assert last.code == 421 and last.text.startswith("4.3.2 mail.tokyo.example ")

    def mute() -> Conversation[list[Reply]]:
        replies = []
        with suppress(Timeout, Disconnected):
            while True:
                replies.append((yield from read_reply(900.0)))
        return replies

    [_, timeout] = rehearse(mute(), serve(tokyo()), patient=True).client
    assert timeout.text.startswith("4.3.2 mail.tokyo.example waited")


@pytest.mark.parametrize("body", [("DATA", "x\r\n."), ("BDAT 3 LAST\r\nx",)], ids=["DATA", "BDAT"])
def test_a_delivery_gets_the_code_of_its_verb(body: tuple[str, ...]) -> None:
    replies = said(tokyo(), "EHLO c.example", "MAIL FROM:<>", "RCPT TO:<x@y.example>", *body)
    assert replies[-1] == Reply(250, "2.6.0 the message is ours now")


# --- the client's end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, code, rest", [
    ("2.1.0 fine", "2.1.0", "fine"), ("2.1.0", "2.1.0", ""), ("2.1.0\n2.1.0 b", "2.1.0", "\nb"),
    ("2.1.0 a\n2.1.0 b", "2.1.0", "a\nb"),
    ("fine", "", "fine"),
    ("5.1.0 wrong class", "", "5.1.0 wrong class"), ("2.1 short", "", "2.1 short"), ("2.1.0x", "", "2.1.0x"),
    ("2.1000.0 long", "", "2.1000.0 long"), ("192.0.2.1 at your service", "", "192.0.2.1 at your service"),
])
def test_an_enhanced_code_gets_a_field_of_its_own(text: str, code: str, rest: str) -> None:
    reply = split_enhanced(Reply(250, text))
    assert (reply.code, reply.enhanced, reply.text) == (250, code, rest)


def test_a_reply_that_has_a_code_keeps_it() -> None:
    reply = Reply(250, "2.1.0 fine", "2.0.0")
    assert split_enhanced(reply) is reply


def mute_server(*replies: bytes) -> Conversation[None]:
    """A server that answers each line with the next of these."""
    yield b"220 5.0.0 mx.example\r\n"
    for reply in replies:
        yield Line()
        yield reply


@pytest.mark.parametrize("offer, enhanced, text", [
    (b"250-mx\r\n250 ENHANCEDSTATUSCODES\r\n", "5.1.1", "nobody"), (b"250 mx\r\n", "", "5.1.1 nobody"),
])
@pytest.mark.parametrize("ours", [True, False])
def test_the_client_splits_where_both_ends_have_it(offer: bytes, enhanced: str, text: str, ours: bool) -> None:
    client = CodedClientSession("c.example", (EnhancedStatusCodes(),) if ours else ())

    def talk() -> Conversation[Reply]:
        yield from open_session(client)
        return (yield from client.command("RCPT", "TO:<x@y.example>"))

    reply = rehearse(talk(), mute_server(offer, b"550 5.1.1 nobody\r\n")).client
    assert (reply.enhanced, reply.text) == ((enhanced, text) if ours else ("", "5.1.1 nobody"))


def test_421_ends_the_session_with_its_code() -> None:
    client = CodedClientSession("c.example", (EnhancedStatusCodes(),))

    def talk() -> Conversation[Any]:
        yield from open_session(client)
        return (yield from client.command("NOOP"))

    with pytest.raises(SMTPServerDisconnected, match="4.3.2"):
        rehearse(talk(), mute_server(b"250-mx\r\n250 ENHANCEDSTATUSCODES\r\n", b"421 4.3.2 going down\r\n"))


def test_a_receipt_says_why() -> None:
    from smtp_from_scratch import Client, Server

    policy = {"accept_recipient": lambda address, envelope: Reply(550, "off", "5.2.1") if "b" in address else None}
    with Server(**policy) as server, Client(*server.address) as smtp:
        receipt = smtp.transact(Envelope("a@x.example", ["b@y.example", "c@y.example"]), b"x\r\n")
    assert receipt.refused == {"b@y.example": Reply(550, "off", "5.2.1")} and receipt.reply
    assert receipt.reply.enhanced == "2.6.0"

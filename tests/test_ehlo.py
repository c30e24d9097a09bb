"""Chapter 08's module: extensions put together, parameters, xtext, codes; and a client among rude servers."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Envelope, Reply, SMTPException
from smtp_from_scratch.chunking import BinaryMime, Chunking
from smtp_from_scratch.client import SMTPConnectError, SMTPHeloError, SMTPNotSupportedError, SMTPServerDisconnected
from smtp_from_scratch.conversation import Body, Conversation, Disconnected, Interruption, Line, Octets, rehearse
from smtp_from_scratch.ehlo import (
    ClientSession,
    EightBitMime,
    ExtendedSession,
    Letter,
    Offer,
    Size,
    Step,
    closed,
    decode_xtext,
    deliver,
    encode_xtext,
    make_plan,
    offers_of,
    open_session,
    read_parameters,
    serve_extended,
    split_enhanced,
    usual_code,
)
from smtp_from_scratch.envelope import BodyCutter
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.smtp import KEYWORDS, client_extensions, letter_for, server_extensions
from smtp_from_scratch.smtputf8 import SmtpUtf8
from smtp_from_scratch.wire import WireError

# --- putting extensions together -------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions, complaint", [
    ([BinaryMime()], "BINARYMIME needs CHUNKING: add it, or leave BINARYMIME out"),
    ([SmtpUtf8()], "SMTPUTF8 needs 8BITMIME"),
    ([Size(), Size()], "SIZE stands in the list twice"),
    ([Pipelining(), Chunking(), Chunking(eager=True)], "CHUNKING stands in the list twice"),
])
def test_a_set_that_is_not_closed_is_refused_in_a_sentence(extensions: list[Any], complaint: str) -> None:
    for put_together in (closed, Offer):
        with pytest.raises(ValueError, match=complaint):
            put_together(extensions)


def test_the_order_does_not_matter() -> None:
    assert len(closed([BinaryMime(), SmtpUtf8(), Chunking(), EightBitMime()])) == 4
    assert closed([]) == ()


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_what_follows_from_an_extension_leaves_with_it(keyword: str) -> None:
    for extensions in (server_extensions(without=[keyword.lower()]), client_extensions(without=[keyword])):
        left = {extension.keyword for extension in closed(extensions)}
        assert keyword not in left
        assert ("BINARYMIME" in left) == (keyword not in ("CHUNKING", "BINARYMIME"))
        assert ("SMTPUTF8" in left) == (keyword not in ("8BITMIME", "SMTPUTF8"))


@pytest.mark.parametrize("make", [server_extensions, client_extensions])
def test_an_unknown_keyword_is_an_error_that_names_those_there_are(make: Any) -> None:
    with pytest.raises(ValueError, match="no such extension: XYZZY; there are SIZE, "):
        make(without=["SIZE", "XYZZY"])


@pytest.mark.parametrize("limit", [0, -1])
def test_a_size_limit_is_positive_or_none(limit: int) -> None:
    with pytest.raises(ValueError, match="SIZE"):
        Size(limit)
    assert Size().advertise(ExtendedSession()) == "SIZE 0"


# --- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, found", [
    ("", {}), (" ", {}), ("  SIZE=1  BODY=8BITMIME ", {"SIZE": "1", "BODY": "8BITMIME"}),
    (" smtputf8", {"SMTPUTF8": None}),
    (" size=+-*/", {"SIZE": "+-*/"}), (" X-1=é", {"X-1": "é"}), (" A=<>", {"A": "<>"}),
])
def test_parameters_are_read(text: str, found: dict[str, str | None]) -> None:
    assert read_parameters(text) == found


@pytest.mark.parametrize("text",
                         ["SIZE=1", "x", " =1", " A=", " A=1=2", " -A=1", " A_B=1", " A=1 a=2", " A A", " A=\x7f",
                          " é=1",
                                  " A=\x00", " A,B"])
def test_what_are_no_parameters(text: str) -> None:
    reply = read_parameters(text)
    assert isinstance(reply, Reply) and (reply.code, reply.enhanced) == (501, "5.5.4")


names = st.from_regex(r"[A-Z0-9][A-Z0-9-]{0,10}", fullmatch=True)
values_ = st.one_of(st.none(),
                    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="="), min_size=1))


@given(st.dictionaries(names, values_, max_size=5))
def test_what_a_client_says_a_server_reads(parameters: dict[str, str | None]) -> None:
    line = Step("MAIL", "FROM:<a@x.example>", parameters).line().decode()
    assert read_parameters(line.removesuffix("\r\n").removeprefix("MAIL FROM:<a@x.example>")) == parameters


@given(st.text())
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    assert isinstance(read_parameters(text), dict | Reply)


@pytest.mark.parametrize("value", ["a\r\nRCPT TO:<e@x.example>", "a\nb", "a\0b", "\r"])
def test_a_parameter_is_one_line_or_none(value: str) -> None:
    with pytest.raises(ValueError):
        Step("MAIL", "FROM:<>", {"ENVID": value}).line()


@pytest.mark.parametrize("plain, coded", [
    ("", ""), ("a@x.example", "a@x.example"), ("a+b=c", "a+2Bb+3Dc"), ("a b", "a+20b"), ("é", "+C3+A9"),
    ("\x7f\0", "+7F+00")])
def test_xtext(plain: str, coded: str) -> None:
    assert (encode_xtext(plain), decode_xtext(coded)) == (coded, plain)


@given(st.text())
def test_xtext_and_back(text: str) -> None:
    assert decode_xtext(encode_xtext(text)) == text and encode_xtext(text).isascii()


@pytest.mark.parametrize("coded", ["+", "+4", "+4g", "+c3+a9", "a=b", "a b", "é", "a\n", "+FF", "+C3"])
def test_what_is_no_xtext(coded: str) -> None:
    with pytest.raises(ValueError):
        decode_xtext(coded)


# --- replies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, offers", [
    ("mx", {}), ("mx says hello\nSIZE 100\npipelining", {"SIZE": "100", "PIPELINING": ""}),
    ("mx\nAUTH PLAIN LOGIN\nAUTH=PLAIN LOGIN", {"AUTH": "PLAIN LOGIN"}), ("mx\nX-A  b ", {"X-A": " b "}),
    ("mx\n", {"": ""}),
])
def test_offers(text: str, offers: dict[str, str]) -> None:
    assert offers_of(Reply(250, text)) == offers


@pytest.mark.parametrize("text, code, rest", [
    ("2.1.0 fine", "2.1.0", "fine"), ("2.1.0", "2.1.0", ""), ("2.1.0 a\n2.1.0 b", "2.1.0", "a\nb"),
    ("fine", "", "fine"),
    ("5.1.0 wrong class", "", "5.1.0 wrong class"), ("2.1 short", "", "2.1 short"), ("2.1.0x", "", "2.1.0x"),
    ("2.1000.0 long", "", "2.1000.0 long"), ("192.0.2.1 at your service", "", "192.0.2.1 at your service"),
])
def test_an_enhanced_code_gets_a_field_of_its_own(text: str, code: str, rest: str) -> None:
    reply = split_enhanced(Reply(250, text))
    assert (reply.code, reply.enhanced, reply.text) == (250, code, rest)


@pytest.mark.parametrize("code", range(200, 600))
def test_every_reply_may_have_a_code_of_its_class(code: int) -> None:
    for verb in ("MAIL", "RCPT", "DATA", "VRFY", ""):
        assert usual_code(verb, code).startswith(f"{code // 100}.")


# --- what fits -------------------------------------------------------------------------------------------------------


def planned(needs: set[str], offered: dict[str, str], *extensions: Any, **letter: Any) -> Step:
    client = ClientSession("c.example", closed(extensions))
    client.learn(offered)
    envelope = Envelope(letter.pop("sender", "a@x.example"), ["b@y.example"])
    return make_plan(client, Letter(envelope, [b"x"], needs=needs, **letter))[0]


def test_plans_announce_what_a_letter_needs() -> None:
    everything = (Size(), EightBitMime(), SmtpUtf8(), Chunking(), BinaryMime())
    offered = dict.fromkeys(("SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME"), "")
    assert planned(set(), offered, *everything).parameters == {}
    assert planned(set(), offered, *everything, size=9).parameters == {"SIZE": "9"}
    assert planned({"8BITMIME"}, offered, *everything).parameters == {"BODY": "8BITMIME"}
    assert planned({"BINARYMIME"}, offered, *everything).parameters == {"BODY": "BINARYMIME"}
    assert planned(set(), offered, *everything, sender="josé@x.example").parameters == {
        "SMTPUTF8": None, "BODY": "8BITMIME"}


@pytest.mark.parametrize("needs, offered, extensions", [
    ({"8BITMIME"}, {}, [EightBitMime()]), ({"8BITMIME"}, {"8BITMIME": ""}, []), ({"BINARYMIME"}, {"BINARYMIME": ""},
                                                                             [Chunking(), BinaryMime()]),
    ({"SMTPUTF8"}, {"SMTPUTF8": ""}, [EightBitMime(), SmtpUtf8()]), ({"SMTPUTF8"}, {"8BITMIME": ""}, [EightBitMime()]),
    ({"XYZZY"}, {"XYZZY": ""}, []),
])
def test_a_letter_that_needs_what_is_not_there_is_not_begun(needs: set[str], offered: dict[str, str],
                                                           extensions: list[Any]) -> None:
    with pytest.raises(SMTPNotSupportedError, match=next(iter(needs))):
        planned(needs, offered, *extensions)


@pytest.mark.parametrize("limit, fits", [("10", True), ("9", False), ("0", True), ("", True), ("x", True), ("-1", True),
                                         ("٩", True), (" 9 ", False), ("9 9", True)])
def test_what_is_too_large_is_not_begun(limit: str, fits: bool) -> None:
    if fits:
        assert planned(set(), {"SIZE": limit}, Size(), size=10).parameters == {"SIZE": "10"}
    else:
        with pytest.raises(SMTPNotSupportedError, match="10 octets; the server takes 9"):
            planned(set(), {"SIZE": limit}, Size(), size=10)


@pytest.mark.parametrize("answers, said, error", [
    (["250 mx"], ["EHLO c.example"], None), (["500 what?", "250 mx"], ["EHLO c.example", "HELO c.example"], None),
    (["502 no", "250 mx"], ["EHLO c.example", "HELO c.example"], None),
    (["550 no", "550 no"], ["EHLO c.example", "HELO c.example"], SMTPHeloError),
    (["451 later"], ["EHLO c.example"], SMTPHeloError),
    (["421 bye"], ["EHLO c.example"], SMTPServerDisconnected),
    (["500 what?", "421 bye"], ["EHLO c.example", "HELO c.example"],
                                                               SMTPServerDisconnected),
    (["354 go on"], ["EHLO c.example"], SMTPHeloError),
])
def test_helo_where_ehlo_is_not_understood(answers: list[str], said: list[str], error: type[Exception] | None) -> None:
    heard: list[str] = []

    def server() -> Conversation[None]:
        yield b"220 mx\r\n"
        for answer in answers:
            heard.append((yield Line()).decode())
            yield answer.encode() + b"\r\n"

    client = ClientSession("c.example", (Size(),))
    if error:
        with pytest.raises(error):
            rehearse(open_session(client), server())
    else:
        rehearse(open_session(client), server())
    assert heard == said and not client.offered


@pytest.mark.parametrize("greeting, error",
                         [(b"554 no\r\n", SMTPConnectError), (b"421 busy\r\n", SMTPServerDisconnected),
                                             (b"354 what?\r\n", SMTPConnectError),
                          (b"450 later\r\n", SMTPConnectError)])
def test_greetings_that_are_none(greeting: bytes, error: type[Exception]) -> None:
    def server() -> Conversation[None]:
        yield greeting

    with pytest.raises(error):
        rehearse(open_session(ClientSession("c.example")), server())


# --- RSET ------------------------------------------------------------------------------------------------------------


def verbs_of(extensions: list[Any], letters: int = 3, **session: Any) -> str:
    """What a client says to our server, by first words."""
    client = ClientSession("c.example", tuple(extensions))
    sent = (letter_for(client, Envelope("a@x.example", ["b@y.example"]),
                       b"Subject: x\r\n\r\nx\r\n") for _ in range(letters))
    server = ExtendedSession("mx", offer=Offer(server_extensions()), **session)
    said = b"".join(record.data for record in rehearse(deliver(client, sent),
                                                       serve_extended(server)).said if record.who == "C")
    return " ".join(line.split(" ")[0] for line in said.decode().split("\r\n")
                    if line.split(" ")[0] in ("RSET", "MAIL", "RCPT", "DATA", "BDAT", "QUIT"))


def no(*_: Any) -> Reply:
    return Reply(550, "no")


@pytest.mark.parametrize("options, session, verbs", [
    ({"without": ["PIPELINING", "CHUNKING"]}, {}, "MAIL RCPT DATA " * 3),
    ({"without": ["PIPELINING"]}, {}, "MAIL RCPT BDAT " * 3),
    ({"without": ["CHUNKING"]}, {}, "MAIL RCPT DATA RSET MAIL RCPT DATA RSET MAIL RCPT DATA "),
    ({}, {}, "MAIL RCPT BDAT RSET MAIL RCPT BDAT RSET MAIL RCPT BDAT "),
    ({"without": ["PIPELINING"]}, {"accept_sender": no}, "MAIL " * 3),
    ({"without": ["PIPELINING"]}, {"accept_recipient": no}, "MAIL RCPT RSET MAIL RCPT RSET MAIL RCPT "),
    ({"without": ["PIPELINING", "CHUNKING"]}, {"deliver": no}, "MAIL RCPT DATA " * 3),
    ({"without": ["CHUNKING"]}, {"accept_recipient": no}, "MAIL RCPT DATA RSET MAIL RCPT DATA RSET MAIL RCPT DATA "),
    ({}, {"accept_recipient": no}, "MAIL RCPT RSET MAIL RCPT RSET MAIL RCPT "),
])
def test_rset_stands_before_mail_where_the_server_may_hold_another(options: dict[str, Any], session: dict[str, Any],
                                                                   verbs: str) -> None:
    said = verbs_of(client_extensions(**options), **session)
    assert said == verbs + "QUIT"


# --- rude servers ----------------------------------------------------------------------------------------------------


@dataclass
class Rude:
    """A server that keeps the order of commands, except that its reply number `at` is `answer`."""

    at: int
    answer: bytes                               # empty: it hangs up
    offer: bytes
    said: int = 0
    lines: list[bytes] = field(default_factory=list)           # heard, bodies left out
    kept: set[bytes] = field(default_factory=set)               # bodies that were answered with 2yz
    left: bool = False                                          # it said 421
    after: list[bytes] = field(default_factory=list)            # heard after that

    def reply(self, usual: bytes) -> Conversation[bytes]:
        """Say the usual, or what is to be said instead."""
        answer = self.answer if self.said == self.at else usual
        self.said += 1
        if not answer:
            raise Disconnected
        yield answer + b"\r\n"
        self.left |= answer.startswith(b"421")
        return answer

    def conversation(self) -> Conversation[None]:
        try:
            yield from self.serve()
        except (Disconnected, WireError):
            return

    def serve(self) -> Conversation[None]:
        yield from self.reply(b"220 mx")
        begun, people, chunks = False, 0, b""
        while True:
            line = yield Line(5000)
            (self.after if self.left else self.lines).append(line)
            verb, _, argument = line.partition(b" ")
            if verb == b"EHLO":
                yield from self.reply(b"250-mx\r\n" + self.offer + b"250 SIZE")
            elif verb == b"RCPT":
                people += (yield from self.reply(b"250 ok" if begun else b"503 no")).startswith(b"2")
            elif verb == b"DATA":
                if not (yield from self.reply(b"354 go on" if people else b"503 no")).startswith(b"3"):
                    continue
                body = yield from self.body()
                if (yield from self.reply(b"250 kept" if people else b"554 nobody")).startswith(b"2"):
                    self.kept.add(body)
                people = 0
            elif verb == b"BDAT":
                size, last = int(argument.split()[0]), argument.endswith(b"LAST")
                while size:
                    block = yield Octets(size)
                    chunks, size = chunks + block, size - len(block)
                answer = yield from self.reply(b"250 ok" if people else b"503 no")
                if last and people and answer.startswith(b"2"):
                    self.kept.add(chunks)
                if last:
                    people, chunks = 0, b""
            else:
                if verb in (b"RSET", b"MAIL"):
                    people, chunks = 0, b""
                answer = yield from self.reply(b"221 bye" if verb == b"QUIT" else b"250 ok")
                begun = begun if verb == b"QUIT" else verb == b"MAIL" and answer.startswith(b"2")

    def body(self) -> Conversation[bytes]:
        body, cutter = b"", BodyCutter()
        while block := (yield Body(cutter)):
            body += block
        return body


OFFERS = {"plain": b"", "PIPELINING": b"250-PIPELINING\r\n", "CHUNKING": b"250-CHUNKING\r\n",
          "both": b"250-PIPELINING\r\n250-CHUNKING\r\n", "eager": b"250-PIPELINING\r\n250-CHUNKING\r\n"}
ANSWERS = (b"", b"421 leaving", b"550 no", b"450 later", b"354 go on", b"250 ok", b"250-more\r\n250 ok", b"nonsense",
           b"250-a\r\n550 b")


def told(client: ClientSession, letters: Iterator[Letter], receipts: list[Any]) -> Conversation[str]:
    try:
        yield from deliver(client, letters, receipts)
    except (SMTPException, Interruption, WireError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.decode().replace("\r\n", " / ") or "hangs up")
@pytest.mark.parametrize("config", OFFERS)
def test_a_rude_answer_at_every_step(config: str, answer: bytes) -> None:
    """Wherever it comes: the session ends, and nobody is told of a letter that the server has not answered for."""
    bodies = [b"Subject: %d\r\n\r\n%s" % (n, b"text\r\n" * n) for n in (1, 2, 3)]
    for at in range(100):
        server = Rude(at, answer, OFFERS[config])
        client = ClientSession("c.example", tuple(client_extensions(eager=config == "eager")))
        letters = (letter_for(client, Envelope("a@x.example", ["b@y.example", "c@y.example"]), body) for body in bodies)
        receipts: list[Any] = []
        trouble = rehearse(told(client, letters, receipts), server.conversation()).client
        accepted = {body for body, receipt in zip(bodies, receipts, strict=False) if receipt.accepted}
        assert accepted <= server.kept, f"reply {at}: {answer!r}: the server never said 250 to {accepted - server.kept}"
        assert trouble or accepted == server.kept, f"reply {at}: {answer!r}: the client does not know of {server.kept}"
        assert trouble or len(receipts) == 3
        if answer in (b"", b"421 leaving") and server.said <= at:
            assert not trouble and accepted == set(bodies) and at > 10
            return                             # every step has had its turn
        if not trouble and server.said <= at:
            return
        if config == "plain" and server.left:
            assert not server.after, f"reply {at}: {server.after} was said to a server that had said 421"
    pytest.fail("the session never ends")

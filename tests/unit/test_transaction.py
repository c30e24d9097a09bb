"""A client that plans what it says: plans, replies matched by order, RSET where it must be, and rude servers."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Envelope, Receipt, Reply, SMTPException
from smtp_from_scratch.chunking import BinaryMime, Chunking, Octets
from smtp_from_scratch.client import SMTPConnectError, SMTPHeloError, SMTPNotSupportedError, SMTPServerDisconnected
from smtp_from_scratch.conversation import Conversation, Disconnected, Interruption, Line, rehearse
from smtp_from_scratch.ehlo import (
    EightBitMime,
    ExtendedSession,
    Extension,
    ExtensionSet,
    Size,
    check_requirements,
    read_parameters,
)
from smtp_from_scratch.envelope import BadPath, Body, BodyCutter
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.session import Limits, Session, serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.smtputf8 import SmtpUtf8
from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.transaction import (
    FLIGHT_LIMIT,
    ClientSession,
    OutgoingMessage,
    Plan,
    PlannedCommand,
    Recipients,
    leave,
    open_session,
    settle_body,
    settle_data,
    settle_mail,
    settle_rcpt,
    settle_rset,
)
from smtp_from_scratch.wire import CRLF, WireError
from tests.whole_session import ready, whole_session

BODY = [b"Subject: Choir\r\n\r\nRehearsal moved to Monday, 8 pm.\r\n"]
KENJI, YUI = "kenji@tokyo.example", "yui@tokyo.example"


def message(*names: str, body: Any = BODY, **known: Any) -> OutgoingMessage:
    return OutgoingMessage(Envelope("ana@rio.example", [f"{name}@tokyo.example" for name in names]), body, **known)


def rio(messages: list[OutgoingMessage], *extensions: Extension) -> Conversation[list[Receipt]]:
    """A whole session, with PIPELINING unless other extensions are given."""
    return whole_session(ClientSession("rio.example", check_requirements(extensions or [Pipelining()])), messages)


# --- what is said ----------------------------------------------------------------------------------------------------

names = st.from_regex(r"[A-Z0-9][A-Z0-9-]{0,10}", fullmatch=True)
values = st.one_of(st.none(),
                   st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="="), min_size=1))


@given(st.dictionaries(names, values, max_size=5))
def test_what_a_client_says_a_server_reads(parameters: dict[str, str | None]) -> None:
    line = PlannedCommand("MAIL", "FROM:<a@x.example>", parameters).line().decode()
    assert read_parameters(line.removesuffix("\r\n").removeprefix("MAIL FROM:<a@x.example>")) == parameters


@pytest.mark.parametrize("value", ["a\r\nRCPT TO:<e@x.example>", "a\nb", "a\0b", "\r"])
def test_a_parameter_is_one_line_or_none(value: str) -> None:
    with pytest.raises(ValueError):
        PlannedCommand("MAIL", "FROM:<>", {"ENVID": value}).line()


@pytest.mark.parametrize("value", ["a\r\nRCPT TO:<e@x.example>", "a\0b"])
def test_a_line_break_in_a_parameter_is_found_before_anything_is_said(value: str) -> None:
    class Careless(Extension):
        keyword = "X-NOTE"

        def plan(self, plan: Plan) -> None:
            plan.recipients[YUI]["NOTE"] = value

    client = ClientSession("c.example", (Careless(),))
    client.learn({"X-NOTE": ""})
    with pytest.raises(ValueError, match="one line"):
        Plan(client, message("kenji", "yui"))


def test_a_command_does_not_show_its_argument() -> None:
    """It may be a password."""
    assert "c2VjcmV0" not in repr(PlannedCommand("", "c2VjcmV0"))


# --- what fits -------------------------------------------------------------------------------------------------------


def planned(needs: set[str], offered: dict[str, str], *extensions: Any, **known: Any) -> PlannedCommand:
    client = ClientSession("c.example", check_requirements(extensions))
    client.learn(offered)
    envelope = Envelope(known.pop("sender", "a@x.example"), ["b@y.example"])
    return Plan(client, OutgoingMessage(envelope, [b"x"], needs=frozenset(needs), **known)).mail


def test_plans_announce_what_a_message_needs() -> None:
    everything = (Size(), EightBitMime(), SmtpUtf8(), Chunking(), BinaryMime())
    offered = dict.fromkeys(("SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME"), "")
    assert planned(set(), offered, *everything).parameters == {}
    assert planned(set(), offered, *everything, size=9).parameters == {"SIZE": "9"}
    assert planned({"8BITMIME"}, offered, *everything).parameters == {"BODY": "8BITMIME"}
    assert planned({"BINARYMIME"}, offered, *everything).parameters == {"BODY": "BINARYMIME"}
    assert planned(set(), offered, *everything, sender="josé@x.example").parameters == {
        "SMTPUTF8": None, "BODY": "8BITMIME"}


def test_a_plan_says_mail_then_each_recipient_once() -> None:
    plan = Plan(ClientSession("c.example"), message("kenji", "yui", "kenji"))
    assert Recipients(plan).lines() == [
        b"MAIL FROM:<ana@rio.example>\r\n", b"RCPT TO:<kenji@tokyo.example>\r\n", b"RCPT TO:<yui@tokyo.example>\r\n"]
    assert list(plan.recipients) == [KENJI, YUI] and plan.recipient_count == 2


def test_a_message_can_be_planned_again() -> None:
    """A plan is made for one server; the message is not changed by it."""
    sent = message("kenji", needs=frozenset({"8BITMIME"}))
    for _ in range(2):
        client = ClientSession("c.example", (EightBitMime(),))
        client.learn({"8BITMIME": ""})
        assert Plan(client, sent).mail.parameters == {"BODY": "8BITMIME"}
    assert sent.needs == {"8BITMIME"}


@pytest.mark.parametrize("sender, recipients, error", [
    ("a@x.example", [], ValueError), ("a@x.example", [""], ValueError),
    ("a@x.example", ["b@y.example", ""], ValueError),
    ("a@x.example", ["b@y.example>\r\nDATA"], BadPath), ("two words@x.example", ["b@y.example"], BadPath),
    ("a@x.example", ["josé@y.example"], SMTPNotSupportedError),
])
def test_what_cannot_be_said_is_not_begun(sender: str, recipients: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        Plan(ClientSession("c.example"), OutgoingMessage(Envelope(sender, recipients), BODY))


@pytest.mark.parametrize("needs, offered, extensions", [
    ({"8BITMIME"}, {}, [EightBitMime()]), ({"8BITMIME"}, {"8BITMIME": ""}, []), ({"BINARYMIME"}, {"BINARYMIME": ""},
                                                                             [Chunking(), BinaryMime()]),
    ({"SMTPUTF8"}, {"SMTPUTF8": ""}, [EightBitMime(), SmtpUtf8()]), ({"SMTPUTF8"}, {"8BITMIME": ""}, [EightBitMime()]),
    ({"XYZZY"}, {"XYZZY": ""}, []),
])
def test_a_message_that_needs_what_is_not_there_is_not_begun(needs: set[str], offered: dict[str, str],
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


# --- replies, matched by order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["EHLO", "DATA", "VRFY", "EXPN", "TURN", "QUIT", "NOOP", "STARTTLS", "HELP", "XYZZY"])
def test_what_may_not_fly_waits(verb: str) -> None:
    client = ClientSession("rio.example", (Pipelining(),))
    client.learn({"PIPELINING": ""})
    talk = client.send(PlannedCommand(verb))
    assert next(talk) == verb.encode() + CRLF
    assert not isinstance(talk.send(None), bytes), "it listens before it says more"


def test_a_command_s_reply_is_its_own_whatever_is_outstanding() -> None:
    client = ClientSession("rio.example", (Pipelining(),))

    def talk() -> Conversation[list[int]]:
        yield from open_session(client)
        flying = [PlannedCommand("NOOP", str(number), may_fly=True) for number in range(3)]
        for command in flying:
            yield from client.send(command)
        assert len(client.unanswered) == 3
        last = yield from client.command("VRFY", "yui")
        assert not client.unanswered
        return [*(command.reply.code for command in flying if command.reply), last.code]

    show = rehearse(talk(), obliging("250 one", "251 two", "450 three", "252 who knows"))
    assert show.client == [250, 251, 450, 252]


def test_421_leaves_what_was_not_answered_unanswered() -> None:
    client = ClientSession("rio.example", (Pipelining(),))
    receipts: list[Receipt] = []
    trouble = rehearse(told(client, iter([message("kenji", "yui")]), receipts),
                       obliging("250 sender", "421 leaving")).client
    assert trouble.startswith("SMTPServerDisconnected") and len(client.unanswered) == 3
    assert receipts[0].refused == dict.fromkeys([KENJI, YUI], Reply(421, "leaving")) and not receipts[0].unknown


def obliging(*replies: str) -> Conversation[list[bytes]]:
    """A server that says these, a line each, and returns what it heard."""
    heard = []
    yield b"220 obliging.example\r\n"
    for reply in ("250-obliging.example\r\n250 PIPELINING", *replies):
        heard.append((yield Line()))
        yield reply.encode() + CRLF
    try:
        while True:
            heard.append((yield Line()))
    except Disconnected:
        return heard


@pytest.mark.parametrize("replies, where", [
    (["250 ok", "550 no", "550 no", "354 go on", "250 kept"], "RCPT"),
    (["550 not you", "503 no", "503 no", "354 go on", "250 kept"], "MAIL"),
    (["550 not you", "250 ok", "250 ok", "354 go on", "554 nobody"], "MAIL"),
    (["250 ok", "550 no", "450 later", "354 go on", "554 nobody"], "RCPT"),
])
def test_a_dot_alone_when_354_comes_and_nobody_is_there(replies: list[str], where: str) -> None:
    show = rehearse(rio([message("kenji", "yui")]), obliging(*replies, "221 bye"))
    assert show.server[-2:] == [b".", b"QUIT"] and b"Subject: Choir" not in show.server
    [receipt] = show.client
    assert receipt.refused_by == where and not receipt.accepted


def test_data_refused_with_recipients_then_rset() -> None:
    show = rehearse(rio([message("kenji"), message("yui")]), obliging(
        "250 ok", "250 ok", "451 not now", "250 reset", "250 ok", "250 ok", "354 go on", "250 kept", "221 bye"))
    assert b"RSET" in show.server and show.server.index(b"RSET") == 4
    first, second = show.client
    assert first.refused_by == "DATA" and first.refused[KENJI].code == 451 and second.accepted == [YUI]


def test_ten_thousand_recipients_are_bounded() -> None:
    """The queue of what was not answered does not grow with the message, and everybody's reply is their own."""
    class Watched(ClientSession):
        most = 0

        def read_replies(self) -> Conversation[None]:
            Watched.most = max(Watched.most, len(self.unanswered))
            return ClientSession.read_replies(self)

    def not_nobody(address: str, envelope: Envelope) -> Reply | None:
        return Reply(550, "nobody of that name") if address.startswith("nobody") else None

    people = [f"{'nobody' if n % 7 == 3 else 'reader'}{n}" for n in range(10_000)]
    kept: list[list[str]] = []
    server = ExtendedSession("mail.tokyo.example", lambda envelope, body: kept.append(envelope.recipients),
                             accept_recipient=not_nobody, extensions=ExtensionSet([Pipelining()]),
                             limits=Limits(max_recipients=10_000, max_refused=10_000))
    show = rehearse(whole_session(Watched("rio.example", (Pipelining(),)), [message(*people)]), serve(server))
    [receipt] = show.client
    assert len(receipt.recipients) == 10_000
    assert {a.partition("@")[0] for a in receipt.refused} == {name for name in people if name.startswith("nobody")}
    assert kept == [[f"{name}@tokyo.example" for name in people if name.startswith("reader")]]
    assert Watched.most == FLIGHT_LIMIT and show.turns // 2 + 2 <= 6 + 10_001 // FLIGHT_LIMIT


# --- what a reply means ----------------------------------------------------------------------------------------------


def plan_for_two() -> Plan:
    return Plan(ClientSession("c.example"), message("kenji", "yui"))


def test_a_refused_mail_is_a_refusal_for_everybody() -> None:
    plan = plan_for_two()
    settle_mail(plan, Reply(451, "not now"))
    assert plan.failed and not plan.client.open and plan.receipt.refused_by == "MAIL"
    assert plan.receipt.refused == dict.fromkeys((KENJI, YUI), Reply(451, "not now"))
    settle_rcpt(plan, KENJI, Reply(250))       # a server's slip: nobody gets it
    assert not plan.receipt.accepted


def test_a_plan_has_failed_when_the_last_recipient_is_refused() -> None:
    plan = plan_for_two()
    settle_mail(plan, Reply(250))
    settle_rcpt(plan, KENJI, Reply(550))
    assert plan.client.open and not plan.failed
    settle_rcpt(plan, YUI, Reply(450))
    assert plan.failed and plan.receipt.refused_by == "RCPT" and plan.receipt.done
    settle_rset(plan.client, Reply(250))
    assert not plan.client.open


@pytest.mark.parametrize("reply", [Reply(450), Reply(554), Reply(354)])
def test_only_2yz_to_the_body_hands_it_over(reply: Reply) -> None:
    plan = plan_for_two()
    settle_mail(plan, Reply(250))
    settle_rcpt(plan, KENJI, Reply(250))
    settle_rcpt(plan, YUI, Reply(550, "no Yui"))
    settle_body(plan, reply)
    assert plan.receipt.refused_by == "body" and not plan.receipt.accepted and not plan.client.open
    assert plan.receipt.refused == {KENJI: reply, YUI: Reply(550, "no Yui")}


def test_a_taken_body_is_for_those_who_were_accepted() -> None:
    plan = plan_for_two()
    settle_rcpt(plan, KENJI, Reply(250))
    settle_rcpt(plan, YUI, Reply(550, "no Yui"))
    settle_data(plan, Reply(354))
    assert not plan.receipt.done
    settle_body(plan, Reply(250, "kept"))
    assert plan.receipt.accepted == [KENJI] and plan.receipt.recipients[KENJI].text == "kept" and plan.receipt.done


def test_a_refused_data_leaves_our_mail_open() -> None:
    plan = plan_for_two()
    settle_mail(plan, Reply(250))
    settle_rcpt(plan, KENJI, Reply(250))
    settle_data(plan, Reply(250, "what?"))     # 2yz to DATA means nothing
    assert plan.failed and plan.client.open and plan.receipt.refused_by == "DATA"


@pytest.mark.parametrize("farewell, reply", [(["221 bye"], 221), ([], None), (["421 leaving"], None), (["?"], None)])
def test_a_goodbye_gone_wrong_changes_no_receipt(farewell: list[str], reply: int | None) -> None:
    client = ClientSession("rio.example", (Pipelining(),))

    def talk() -> Conversation[tuple[Receipt, Reply | None]]:
        yield from open_session(client)
        plan = Plan(client, message("kenji"))
        yield from plan.run()
        assert client.unanswered, "the body's reply is out"
        return plan.receipt, (yield from leave(client))

    def server() -> Conversation[None]:
        yield b"220 hi\r\n"
        for said in ("250-hi\r\n250 PIPELINING", "250 ok", "250 ok", "354 go on"):
            yield Line()
            yield said.encode() + CRLF
        while (yield Line()) != b".":
            pass
        yield b"250 kept\r\n"
        yield Line()
        for said in farewell:
            yield said.encode() + CRLF

    receipt, goodbye = rehearse(talk(), server()).client
    assert receipt.accepted == [KENJI] and (goodbye.code if goodbye else None) == reply


def test_a_goodbye_over_a_broken_seal_changes_no_receipt() -> None:
    client = ClientSession("rio.example")
    talk = leave(client)
    assert next(talk) == b"QUIT\r\n" and talk.send(None)      # it waits for the reply
    with pytest.raises(StopIteration) as ended:
        talk.throw(ConnectionAbortedError())
    assert ended.value.value is None


def test_the_server_of_1982_gets_its_message() -> None:
    kept: list[bytes] = []
    old = Session("old.oslo.example", lambda envelope, body: kept.append(body.read()))
    [receipt] = rehearse(rio([message("kenji", size=99)], Size(), Pipelining()), serve(old)).client
    assert receipt.accepted == [KENJI] and kept == BODY


# --- RSET ------------------------------------------------------------------------------------------------------------


def verbs_of(extensions: list[Any], messages: int = 3, **session: Any) -> str:
    """What a client says to our server, by first words."""
    client = ClientSession("c.example", tuple(extensions))
    sent = (ready(client, Envelope("a@x.example", ["b@y.example"]),
                       b"Subject: x\r\n\r\nx\r\n") for _ in range(messages))
    server = CodedSession("mx", extensions=ExtensionSet(server_extensions()), **session)
    said = b"".join(record.data for record in rehearse(whole_session(client, sent),
                                                       serve(server)).said if record.role == "C")
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


def told(client: ClientSession, messages: Iterator[OutgoingMessage], receipts: list[Receipt]) -> Conversation[str]:
    try:
        yield from whole_session(client, messages, receipts)
    except (SMTPException, Interruption, WireError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.decode().replace("\r\n", " / ") or "hangs up")
@pytest.mark.parametrize("config", OFFERS)
def test_a_rude_answer_at_every_step(config: str, answer: bytes) -> None:
    """Wherever it comes: the session ends, and nobody is told of a message that the server has not answered for."""
    bodies = [b"Subject: %d\r\n\r\n%s" % (n, b"text\r\n" * n) for n in (1, 2, 3)]
    for at in range(100):
        server = Rude(at, answer, OFFERS[config])
        client = ClientSession("c.example", tuple(client_extensions(eager=config == "eager")))
        messages = (ready(client, Envelope("a@x.example", ["b@y.example", "c@y.example"]), body) for body in bodies)
        receipts: list[Any] = []
        trouble = rehearse(told(client, messages, receipts), server.conversation()).client
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

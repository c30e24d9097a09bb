"""EHLO at the server's end: extensions put together, parameters, and what a session refuses; the list as it is read."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Reply
from smtp_from_scratch.chunking import BinaryMime, Chunking
from smtp_from_scratch.conversation import Conversation, read_reply, rehearse
from smtp_from_scratch.ehlo import (
    EightBitMime,
    ExtendedSession,
    Extension,
    ExtensionSet,
    Parameter,
    Size,
    check_requirements,
    one_of,
    read_offers,
    read_parameters,
)
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.rules import Limits
from smtp_from_scratch.session import VERBS, Verb, saying, serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.smtp.sets import KEYWORDS
from smtp_from_scratch.smtputf8 import SmtpUtf8
from smtp_from_scratch.transaction import PlannedCommand
from smtp_from_scratch.wire import Command

# --- putting extensions together -------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions, complaint", [
    ([BinaryMime()], "BINARYMIME needs CHUNKING: add it, or leave BINARYMIME out"),
    ([SmtpUtf8()], "SMTPUTF8 needs 8BITMIME"),
    ([Size(), Size()], "SIZE is in the list twice"),
    ([Pipelining(), Chunking(), Chunking(eager=True)], "CHUNKING is in the list twice"),
])
def test_a_set_that_is_not_closed_is_refused_in_a_sentence(extensions: list[Any], complaint: str) -> None:
    for put_together in (check_requirements, ExtensionSet):
        with pytest.raises(ValueError, match=complaint):
            put_together(extensions)


def test_the_order_does_not_matter() -> None:
    assert len(check_requirements([BinaryMime(), SmtpUtf8(), Chunking(), EightBitMime()])) == 4
    assert check_requirements([]) == ()


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_what_follows_from_an_extension_leaves_with_it(keyword: str) -> None:
    for extensions in (server_extensions(without=[keyword.lower()]), client_extensions(without=[keyword])):
        left = {extension.keyword for extension in check_requirements(extensions)}
        assert keyword not in left
        assert ("BINARYMIME" in left) == (keyword not in ("CHUNKING", "BINARYMIME"))
        assert ("SMTPUTF8" in left) == (keyword not in ("8BITMIME", "SMTPUTF8"))


@pytest.mark.parametrize("make", [server_extensions, client_extensions])
def test_an_unknown_keyword_is_an_error_that_names_those_there_are(make: Any) -> None:
    with pytest.raises(ValueError, match="no such extension: XYZZY; there are SIZE, "):
        make(without=["SIZE", "XYZZY"])


def test_extensions_without_a_keyword_may_be_many() -> None:
    assert len(check_requirements([Extension(), Extension()])) == 2


@pytest.mark.parametrize("limit", [0, -1])
def test_a_size_limit_is_positive_or_none(limit: int) -> None:
    with pytest.raises(ValueError, match="max_size"):
        Limits(max_size=limit)


@pytest.mark.parametrize("limit, line", [(None, "SIZE 0"), (1, "SIZE 1"), (200_000_000, "SIZE 200000000")])
def test_size_advertises_the_limit_of_the_session(limit: int | None, line: str) -> None:
    assert Size().advertise(ExtendedSession(limits=Limits(max_size=limit))) == line


class Word(Extension):
    """MAIL XWORD=one, up to 40 octets, and a verb of its own."""

    keyword = "XWORD"

    def verbs(self) -> Mapping[str, Verb]:
        return {"XSAY": Verb(saying(250, "said"), VERBS["NOOP"].moves, "XSAY", limit=600)}

    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        return {"MAIL": {"XWORD": one_of("ONE", octets=40), "BODY": one_of("XBIT", octets=5)},
                "XSAY": {"LOUD": one_of("YES", octets=9)}}


def test_a_line_may_be_longer_by_what_its_parameters_add() -> None:
    """Of a parameter that two extensions share, the longer value counts, once."""
    every = ExtensionSet([Size(), EightBitMime(), Word()])
    assert (every.limits["MAIL"], every.limits["RCPT"], every.limits["XSAY"]) == (512 + 26 + 40 + 17, 512, 609)
    assert every.busy_line.limit == every.idle_line.limit == 609 and every.idle_line.idle and not every.busy_line.idle
    assert ExtensionSet().limits["MAIL"] == 512 and "XSAY" not in ExtensionSet().verbs


def test_two_sets_share_no_tables() -> None:
    ExtensionSet([Word()])
    assert "XWORD" not in str(ExtensionSet([Size()]).parameters) and "XSAY" not in VERBS


def test_a_shared_parameter_is_asked_of_all_who_know_it() -> None:
    extensions = [EightBitMime(), Word()]
    for value, code in (("8BITMIME", 250), ("XBIT", 250), ("9BIT", 501)):
        assert codes(extensions, "EHLO c.example", f"MAIL FROM:<a@b.example> BODY={value}")[-1] == code


# --- the server's end ------------------------------------------------------------------------------------------------


def talk(extensions: list[Extension], *lines: str, **session: Any) -> tuple[ExtendedSession, list[Reply]]:
    """A session, and what it says to these lines, the greeting first."""
    made = ExtendedSession("mx.example", extensions=ExtensionSet(extensions), **session)

    def client() -> Conversation[list[Reply]]:
        heard = [(yield from read_reply())]
        for line in lines:
            yield line.encode() + b"\r\n"
            heard.append((yield from read_reply()))
        return heard

    return made, list(rehearse(client(), serve(made)).client)


def codes(extensions: list[Extension], *lines: str, **session: Any) -> list[int]:
    return [reply.code for reply in talk(extensions, *lines, **session)[1]]


class Hidden(Extension):
    keyword = "XHIDDEN"

    def advertise(self, session: ExtendedSession) -> str | None:
        return None


def test_ehlo_lists_what_is_offered_in_its_order_and_hides_the_rest() -> None:
    _, [greeting, reply] = talk([EightBitMime(), Hidden(), Size(), Word()], "EHLO c.example",
                                limits=Limits(max_size=1000))
    assert greeting == Reply(220, "mx.example ESMTP ready")
    assert reply == Reply(250, "mx.example\n8BITMIME\nSIZE 1000\nXWORD\nHELP")
    assert talk([], "EHLO c.example")[1][1] == Reply(250, "mx.example\nHELP")


def test_helo_is_as_in_1982() -> None:
    session, replies = talk([Size()], "EHLO c.example", "HELO d.example", "MAIL FROM:<a@b.example> SIZE=1")
    assert replies[2] == Reply(250, "mx.example") and replies[3].code == 555
    assert not session.extended and session.envelope.hello == "d.example"


@pytest.mark.parametrize("verb, extended", [("EHLO", False), ("HELO", True)])
def test_a_hello_that_is_refused_changes_nothing(verb: str, extended: bool) -> None:
    opening = "EHLO c.example" if extended else "HELO c.example"
    session, replies = talk([Size()], opening, "MAIL FROM:<a@b.example>", f"{verb} (x", "RCPT TO:<c@d.example>")
    assert [reply.code for reply in replies[3:]] == [501, 250] and f"say {verb} " in replies[3].text
    assert session.extended is extended and session.envelope.hello == "c.example"


@pytest.mark.parametrize("words, code, enhanced", [
    ("SIZE=1000", 250, ""), ("size=0", 250, ""), ("SIZE=1001", 552, "5.3.4"), ("SIZE=" + "9" * 20, 552, "5.3.4"),
    ("SIZE=" + "9" * 21, 501, "5.5.4"), ("SIZE", 501, "5.5.4"), ("SIZE=", 501, "5.5.4"), ("SIZE=-1", 501, "5.5.4"),
    ("SIZE=+1", 501, "5.5.4"), ("SIZE=1.5", 501, "5.5.4"), ("SIZE=much", 501, "5.5.4"), ("SIZE=1_0", 501, "5.5.4"),
    ("BODY=8bitmime", 250, ""), ("BODY=7BIT", 250, ""), ("BODY=BINARYMIME", 501, "5.5.4"), ("BODY", 501, "5.5.4"),
    ("BODY=8BITMIME SIZE=10", 250, ""), ("SIZE=10 BODY=9BIT", 501, "5.5.4"), ("FROB=1", 555, "5.5.4"),
    ("SIZE=9999 FROB=1", 552, "5.3.4"), ("FROB=1 SIZE=9999", 555, "5.5.4"),
])
def test_parameters_of_mail(words: str, code: int, enhanced: str) -> None:
    session, replies = talk([Size(), EightBitMime()], "EHLO c.example", f"MAIL FROM:<a@b.example> {words}",
                            limits=Limits(max_size=1000))
    assert (replies[2].code, session.state) == (code, "mail" if code == 250 else "ready")
    assert replies[2].text.partition(" ")[0] == enhanced or not enhanced
    assert bool(session.envelope.parameters) == (code == 250) and bool(session.envelope.sender) == (code == 250)


def test_without_a_limit_every_size_fits() -> None:
    assert codes([Size()], "EHLO c.example", "MAIL FROM:<a@b.example> SIZE=99999999999999999999")[-1] == 250


def test_parameters_of_a_sender_whom_the_policy_refuses_are_not_noted() -> None:
    session, replies = talk([Size()], "EHLO c.example", "MAIL FROM:<a@b.example> SIZE=5",
                            accept_sender=lambda address, envelope: Reply(550, "no"))
    assert replies[-1].code == 550 and session.envelope.parameters == {} and session.state == "ready"


def test_a_policy_for_recipients_sees_what_mail_has_announced() -> None:
    def small(address: str, envelope: Envelope) -> Reply | None:
        return Reply(552, "too much for this mailbox") if int(envelope.parameters["SIZE"] or 0) > 10 else None

    said = ("EHLO c.example", "MAIL FROM:<a@b.example> SIZE=11", "RCPT TO:<c@d.example>")
    assert codes([Size()], *said, accept_recipient=small)[-1] == 552


@pytest.mark.parametrize("hello, extended, secure, user, stamp", [
    ("HELO", False, False, "", "SMTP"), ("EHLO", True, False, "", "ESMTP"), ("EHLO", True, True, "", "ESMTPS"),
    ("EHLO", True, False, "ana", "ESMTPA"), ("EHLO", True, True, "ana", "ESMTPSA"), ("HELO", False, True, "", "SMTP"),
])
def test_what_received_will_say(hello: str, extended: bool, secure: bool, user: str, stamp: str) -> None:
    session, _ = talk([], f"{hello} c.example", "MAIL FROM:<a@b.example>", secure=secure, user=user)
    assert (session.envelope.protocol, session.envelope.user, session.extended) == (stamp, user, extended)


class Objector(Extension):
    """Wants no VRFY, and nothing at all before a login."""

    def __init__(self, keyword: str, code: int) -> None:
        self.keyword, self.code = keyword, code  # type: ignore[misc]

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        return Reply(self.code, f"{self.keyword} says no") if command.verb in ("VRFY", "RCPT") else None


@pytest.mark.parametrize("extensions, replies", [
    ([], [503, 252]), ([Objector("A", 550)], [503, 550]), ([Objector("A", 530)], [530, 530]),
    ([Objector("A", 550), Objector("B", 530)], [530, 530]), ([Objector("A", 550), Objector("B", 554)], [503, 550]),
])
def test_extensions_object_and_530_comes_before_503(extensions: list[Extension], replies: list[int]) -> None:
    assert codes(extensions, "EHLO c.example", "RCPT TO:<c@d.example>", "VRFY kenji")[2:] == replies


def test_restart_forgets_all_that_the_client_has_said() -> None:
    session, _ = talk([Size()], "EHLO c.example", "MAIL FROM:<a@b.example> SIZE=5", user="ana", peer="192.0.2.1")
    closed = []
    session.resources["x"] = type("Thing", (), {"close": lambda self: closed.append(1)})()
    session.notes["X"] = 1
    session.restart()
    assert (session.state, session.extended, session.user, session.notes) == ("start", False, "", {})
    assert session.envelope == Envelope(peer="192.0.2.1") and closed == [1] and not session.resources


@pytest.mark.parametrize("line, code, text", [
    (b"NOOP \xc3\xa9", 501, "5.5.2 a command is 7-bit"), (b"NO\0OP", 501, "5.5.2"), (b"FROB", 500, "5.5.1 no such"),
    (b"NOOP " + b"x" * 506, 500, "5.5.2 NOOP may have 512 octets"),
    (b"MAIL FROM:<a@b.example> " + b"x" * 590, 500, "5.5.2 MAIL may have 595 octets"),
    (b"DATA now", 501, "DATA stands alone"), (b"VRFY", 501, "VRFY needs"), (b"XSAY", 250, ""),
])
def test_lines_that_are_refused_before_anybody_looks_at_their_meaning(line: bytes, code: int, text: str) -> None:
    session = ExtendedSession("mx.example", state="rcpt", extensions=ExtensionSet([Size(), EightBitMime(), Word()]))
    [reply] = [said for said in session.dispatch(line) if isinstance(said, Reply)]
    assert reply.code == code and " ".join(filter(None, (reply.enhanced, reply.text))).startswith(text)
    assert session.state == "rcpt"


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
    line = PlannedCommand("MAIL", "FROM:<a@x.example>", parameters).line().decode()
    assert read_parameters(line.removesuffix("\r\n").removeprefix("MAIL FROM:<a@x.example>")) == parameters


@given(st.text())
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    assert isinstance(read_parameters(text), dict | Reply)


@pytest.mark.parametrize("value", ["a\r\nRCPT TO:<e@x.example>", "a\nb", "a\0b", "\r"])
def test_a_parameter_is_one_line_or_none(value: str) -> None:
    with pytest.raises(ValueError):
        PlannedCommand("MAIL", "FROM:<>", {"ENVID": value}).line()


# --- the list, as a client reads it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text, offers", [
    ("mx", {}), ("mx says hello\nSIZE 100\npipelining", {"SIZE": "100", "PIPELINING": ""}),
    ("mx\nAUTH PLAIN LOGIN\nAUTH=PLAIN LOGIN", {"AUTH": "PLAIN LOGIN"}),
    ("mx\nAUTH=LOGIN\nauth plain cram-md5", {"AUTH": "LOGIN plain cram-md5"}), ("mx\nX-A  b ", {"X-A": " b "}),
    ("mx\n", {"": ""}),
])
def test_offers(text: str, offers: dict[str, str]) -> None:
    assert read_offers(Reply(250, text)) == offers

"""The client, rehearsed against servers in every mood: each phase, each kind of reply, each way to fail."""
from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Client, Server, refusals
from smtp_from_scratch import client as c
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Disconnected, Line, Timeout, rehearse
from smtp_from_scratch.envelope import BadPath, Envelope
from smtp_from_scratch.refusals import (
    SMTPDataError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPTimeout,
    pairs,
    raise_for_refusal,
)
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.transcript import Rehearsal
from smtp_from_scratch.wire import BadReply, BareNewline, LineTooLong, Reply, WireError, encode_command

YUI, KENJI, SORA = "yui@tokyo.example", "kenji@tokyo.example", "sora@tokyo.example"
BODY = [b"Subject: Choir\r\n\r\nMonday, 8 pm.\r\n"]
GOOD = ["220 hi", "250 hello", "250 sender", "250 yui", "354 go on", "250 kept", "221 bye"]
PHASES = ["greeting", "HELO", "MAIL", "RCPT", "DATA", "body", "QUIT"]


def scripted(*script: str | tuple[float, str]) -> Generator[Any, Any, None]:
    """A server that says one line of its script after each command and after a body, then hangs up.

    `(seconds, line)`: it is silent for so long first. Hearing a body begins after a 3yz.
    """
    said = ""
    with suppress(Disconnected):
        for item in script:
            while said and (yield Line()) != b"." and said.startswith("3"):
                pass
            seconds, said = (0.0, item) if isinstance(item, str) else item
            if seconds:
                with suppress(Timeout):
                    yield Line(timeout=seconds)
            yield said.encode() + b"\r\n"


def letters(*recipients: str, body: Any = BODY) -> list[tuple[Envelope, Any]]:
    return [(Envelope("ana@rio.example", list(recipients or [YUI])), body)]


def session(*script: str | tuple[float, str], recipients: tuple[str, ...] = (YUI,)) -> Rehearsal:
    return rehearse(c.deliver("rio.example", letters(*recipients)), scripted(*script))


def commands(show: Rehearsal) -> list[str]:
    """The verbs that the client said, in order; the body counts as none."""
    said = b"".join(said.data for said in show.said if said.role == "C").replace(b"".join(BODY) + b".\r\n", b"")
    return [line.split()[0].decode() for line in said.splitlines()]


def overheard(talk: Any, said: list[bytes]) -> Generator[Any, Any, Any]:
    """A conversation, and a note of all octets that it says, also when it breaks off."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            thing = talk.throw(error) if error else talk.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(thing, bytes):
            said.append(thing)
        answer = error = None
        try:
            answer = yield thing
        except Exception as thrown:
            error = thrown


# --- a good session ------------------------------------------------------------------------------------------------


def test_a_good_session() -> None:
    show = session(*GOOD)
    [receipt] = show.client
    assert commands(show) == ["HELO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert receipt == c.Receipt("ana@rio.example", {YUI: Reply(250, "kept")}, "", Reply(250, "kept"))
    assert receipt.accepted == [YUI] and receipt.refused == {}
    assert raise_for_refusal(receipt) is receipt


def test_every_octet_of_a_good_session() -> None:
    show = rehearse(c.deliver("rio.example", letters(body=[b".\na", b"\r", b"\n..b"])), scripted(*GOOD))
    assert b"".join(said.data for said in show.said if said.role == "C") == (
        b"HELO rio.example\r\nMAIL FROM:<ana@rio.example>\r\nRCPT TO:<yui@tokyo.example>\r\nDATA\r\n"
        b"..\r\na\r\n...b\r\n.\r\nQUIT\r\n")


def test_a_bounce_has_no_sender() -> None:
    show = rehearse(c.deliver("rio.example", [(Envelope("", ["ana@rio.example"]), BODY)]), scripted(*GOOD))
    assert any(said.data == b"MAIL FROM:<>\r\n" for said in show.said)


def test_each_recipient_is_said_once() -> None:
    show = session(*GOOD, recipients=(YUI, YUI))
    assert commands(show).count("RCPT") == 1


def test_letters_one_after_another() -> None:
    two = [*letters(YUI), *letters(KENJI)]
    show = rehearse(c.deliver("rio.example", two), scripted(*GOOD[:6], *GOOD[2:]))
    assert [receipt.accepted for receipt in show.client] == [[YUI], [KENJI]]


def test_no_letters_at_all() -> None:
    show = rehearse(c.deliver("rio.example", []), scripted("220 hi", "250 hello", "221 bye"))
    assert show.client == [] and commands(show) == ["HELO", "QUIT"]


def test_our_own_server_at_the_other_end() -> None:
    got = []
    server = serve(Session("tokyo.example", lambda envelope, body: got.append((envelope.recipients, body.read()))))
    [receipt] = rehearse(c.deliver("rio.example", letters(YUI, KENJI)), server).client
    assert receipt.accepted == [YUI, KENJI] and got == [([YUI, KENJI], BODY[0])]


# --- every phase, every class of reply -----------------------------------------------------------------------------

CODES = [200, 211, 250, 251, 299, 300, 334, 354, 399, 400, 450, 452, 499, 500, 550, 552, 554, 599]
EXPECTED = [2, 2, 2, 2, 3, 2, 2]               # the first digit that lets each phase go on


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("phase", range(7), ids=PHASES)
def test_the_first_digit_decides(phase: int, code: int) -> None:
    if code // 100 == EXPECTED[phase]:
        follow = GOOD[phase + 1 :]
    else:                                      # after a 3yz out of turn a server would hear a body: let it hang up
        follow = [] if code // 100 == 3 else ["250 ok", "221 bye"]
    said: list[bytes] = []
    receipts: list[c.Receipt] = []
    raised: Exception | None = None
    try:
        rehearse(overheard(c.deliver("rio.example", letters(), receipts), said),
                 scripted(*GOOD[:phase], f"{code} whatever", *follow))
    except c.SMTPException as error:
        raised = error
    handed_over = bool(said) and BODY[0] + b".\r\n" in b"".join(said)
    if phase == 6 or code // 100 == EXPECTED[phase]:
        assert raised is None and receipts[0].accepted == [YUI] and handed_over
    elif phase < 2:
        assert isinstance(raised, c.SMTPHeloError if phase else c.SMTPConnectError)
        assert raised.smtp_code == code and said[phase:] == [b"QUIT\r\n"] and receipts == []
    else:
        [receipt] = receipts
        assert handed_over == (phase == 5), "the body goes out after a 3yz to DATA and at no other time"
        assert receipt.accepted == [] and receipt.refused == {YUI: Reply(code, "whatever")}
        assert receipt.refused_by == PHASES[phase]
        kind = {2: SMTPSenderRefused, 3: SMTPRecipientsRefused}.get(phase, SMTPDataError)
        with pytest.raises(kind, match=str(code)):
            raise_for_refusal(receipt)


@pytest.mark.parametrize("code", [250, 450, 550])
@pytest.mark.parametrize("phase", range(7), ids=PHASES)
def test_a_reply_of_many_lines_counts_once(phase: int, code: int) -> None:
    good = GOOD[phase][:3] if code == 250 else str(code)
    lines = f"{good}-one\r\n{good}-\r\n{good} three"
    follow = GOOD[phase + 1 :] if code == 250 else ["250 ok", "221 bye"]
    if phase < 2 and code != 250:
        with pytest.raises(c.SMTPResponseException, match="one /  / three"):
            session(*GOOD[:phase], lines)
        return
    # the script looks at the start of what it said, so a 354 of three lines works too
    [receipt] = session(*GOOD[:phase], lines, *follow).client
    assert bool(receipt.accepted) == (code == 250 or phase == 6)


# --- 421, hanging up, nonsense, silence, at every step -------------------------------------------------------------


@pytest.mark.parametrize("phase", range(7), ids=PHASES)
def test_421_at_any_time(phase: int) -> None:
    said: list[bytes] = []
    receipts: list[c.Receipt] = []
    talk = overheard(c.deliver("rio.example", letters(), receipts), said)
    script = scripted(*GOOD[:phase], "421 good night")
    if phase == 6:
        assert rehearse(talk, script).client[0].accepted == [YUI]
        return
    with pytest.raises(c.SMTPException) as caught:
        rehearse(talk, script)
    assert isinstance(caught.value, c.SMTPConnectError if phase == 0 else c.SMTPServerDisconnected)
    assert caught.value.reply == Reply(421, "good night") and receipts == []
    verb = ["", "HELO", "MAIL", "RCPT", "DATA", "."][phase]
    last = b"".join(said).splitlines()[-1:]
    assert phase == 0 and last == [] or last[0].startswith(verb.encode()), "nothing is said after 421"


@pytest.mark.parametrize("phase", range(7), ids=PHASES)
def test_the_server_hangs_up(phase: int) -> None:
    receipts: list[c.Receipt] = []
    talk = c.deliver("rio.example", letters(), receipts)
    if phase == 6:
        assert rehearse(talk, scripted(*GOOD[:6])).client[0].accepted == [YUI]
        return
    with pytest.raises(Disconnected):
        rehearse(talk, scripted(*GOOD[:phase]))
    assert receipts == []


NONSENSE = {
    "words": ("hello there", BadReply), "1yz": ("150 wait", BadReply), "6yz": ("600 x", BadReply),
    "two digits": ("25 ok", BadReply), "four digits": ("2500 ok", BadReply), "no space": ("250ok", BadReply),
    "empty": ("", BadReply), "two codes": ("250-ok\r\n251 ok", BadReply), "a NUL": ("250 a\0b", BadReply),
    "a bare LF": ("250-a\n250 b", BareNewline), "a bare CR": ("250 a\rb", BareNewline),
    "too long": ("250 " + "x" * 9000, LineTooLong), "endless": ("\r\n".join(["250-" + "x" * 8000] * 5), BadReply),
}


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize("phase", range(7), ids=PHASES)
def test_a_malformed_reply(phase: int, kind: str) -> None:
    reply, error = NONSENSE[kind]
    said: list[bytes] = []
    receipts: list[c.Receipt] = []
    talk = overheard(c.deliver("rio.example", letters(), receipts), said)
    if phase == 6:
        assert rehearse(talk, scripted(*GOOD[:6], reply)).client[0].accepted == [YUI]
        return
    with pytest.raises(error) as caught:
        rehearse(talk, scripted(*GOOD[:phase], reply))
    assert isinstance(caught.value, WireError) and receipts == []
    assert not any(line.startswith(b"QUIT") for line in said), "who does not speak SMTP is not spoken to"


PATIENCE = [300.0, 300.0, 300.0, 300.0, 120.0, 600.0, 300.0]      # RFC 5321 §4.5.3.2


@pytest.mark.parametrize("phase", range(7), ids=PHASES)
def test_patience_has_an_end(phase: int) -> None:
    def slow(seconds: float) -> list[Any]:
        return [*GOOD[:phase], (seconds, GOOD[phase]), *GOOD[phase + 1 :]]

    def play(seconds: float) -> Rehearsal:
        receipts.clear()
        return rehearse(c.deliver("rio.example", letters(), receipts), scripted(*slow(seconds)), patient=True)

    receipts: list[c.Receipt] = []
    show = play(PATIENCE[phase] - 1)
    assert show.client[0].accepted == [YUI] and show.seconds == PATIENCE[phase] - 1
    if phase == 6:
        assert play(PATIENCE[phase] + 1).client[0].accepted == [YUI]
        return
    with pytest.raises(Timeout):
        play(PATIENCE[phase] + 1)
    assert receipts == []


def test_settled_letters_stay_settled() -> None:
    receipts: list[c.Receipt] = []
    with pytest.raises(Disconnected):
        two = [*letters(YUI), *letters(KENJI)]
        rehearse(c.deliver("rio.example", two, receipts), scripted(*GOOD[:6], "250 sender"))
    assert [receipt.accepted for receipt in receipts] == [[YUI]]


# --- some recipients, none, too many -------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [(a, b, d) for a in "245" for b in "245" for d in "245"])
def test_a_reply_for_each_recipient(answers: tuple[str, ...]) -> None:
    people = (YUI, KENJI, SORA)
    replies = [f"{digit}50 {name}" for digit, name in zip(answers, people, strict=True)]
    rest = GOOD[4:] if "2" in answers else ["250 forgotten", "221 bye"]
    show = session(*GOOD[:3], *replies, *rest, recipients=people)
    [receipt] = show.client
    assert list(receipt.recipients) == list(people)
    assert receipt.accepted == [name for digit, name in zip(answers, people, strict=True) if digit == "2"]
    assert receipt.refused == {name: Reply(int(f"{digit}50"), name)
                               for digit, name in zip(answers, people, strict=True) if digit != "2"}
    if "2" in answers:
        assert receipt.refused_by == "" and receipt.reply == Reply(250, "kept")
        assert raise_for_refusal(receipt) is receipt
    else:
        assert commands(show) == ["HELO", "MAIL", "RCPT", "RCPT", "RCPT", "RSET", "QUIT"]
        with pytest.raises(SMTPRecipientsRefused) as caught:
            raise_for_refusal(receipt)
        assert caught.value.recipients == pairs(receipt.refused)


@pytest.mark.parametrize("body", ["450 later", "554 never"])
def test_a_refused_body_leaves_earlier_refusals_alone(body: str) -> None:
    [receipt] = session(*GOOD[:3], "250 yui", "550 kenji", "354 go on", body, "221 bye", recipients=(YUI, KENJI)).client
    assert receipt.accepted == []
    assert {address: reply.code for address, reply in receipt.refused.items()} == {YUI: int(body[:3]), KENJI: 550}


@pytest.mark.parametrize("farewell", [[], ["421 leaving"], ["500 what?"], ["250 ok"]])
@pytest.mark.parametrize("refusal", [["550 no"], ["250 yui", "554 no"]], ids=["RCPT", "DATA"])
def test_what_was_refused_is_known_though_rset_fails(refusal: list[str], farewell: list[str]) -> None:
    [receipt] = session(*GOOD[:3], *refusal, *farewell).client
    assert receipt.accepted == [] and receipt.refused[YUI].permanent


def test_a_refusal_does_not_spoil_the_next_letter() -> None:
    for refusal in (["550 no sender"], ["250 ok", "550 no yui", "250 reset"],
                    ["250 ok", "250 yui", "451 no", "250 reset"], ["250 ok", "250 yui", "354 go on", "554 no"]):
        two = [*letters(YUI), *letters(KENJI)]
        show = rehearse(c.deliver("rio.example", two), scripted(*GOOD[:2], *refusal, *GOOD[2:]))
        assert [receipt.accepted for receipt in show.client] == [[], [KENJI]]


# --- bad arguments -------------------------------------------------------------------------------------------------

BAD = ["yui@tokyo.example>\r\nRCPT TO:<x@shady.example", "yui@tokyo.example\r\n", "yui@tokyo.example\n",
       "yui\0@tokyo.example", "yui@tokyo.example> SIZE=1", "yui@tokyo.example, kenji@tokyo.example",
       "<yui@tokyo.example>", "yui", "@", "yui@", "y ui@tokyo.example", " yui@tokyo.example", "yui@tokyo..example",
       "josé@rio.example", "yui@例え.example", "yui\udcff@tokyo.example", "y" * 65 + "@tokyo.example",
       "yui@[999.1.1.1]", '"yui\r\nDATA"@tokyo.example']


@pytest.mark.parametrize("address", BAD)
def test_nothing_is_said_when_an_address_is_bad(address: str) -> None:
    for envelope in (Envelope("ana@rio.example", [YUI, address]), Envelope(address, [YUI])):
        with pytest.raises(ValueError):
            next(c.transaction(envelope, BODY))


@pytest.mark.parametrize("recipients", [[], [""], [YUI, ""]])
def test_somebody_must_be_named(recipients: list[str]) -> None:
    with pytest.raises(ValueError, match="recipient"):
        next(c.transaction(Envelope("ana@rio.example", recipients), BODY))


@pytest.mark.parametrize("argument", ["a\r\nRSET", "a\n", "\ra", "a\0"])
def test_nothing_is_said_when_an_argument_is_bad(argument: str) -> None:
    for talk in (c.command("VRFY", argument), c.command(f"NOOP {argument}")):
        with pytest.raises(ValueError):
            next(talk)
    said: list[bytes] = []
    with pytest.raises(ValueError):
        rehearse(overheard(c.deliver(f"rio.example{argument}", letters()), said), scripted(*GOOD))
    assert said == []


@given(st.text(st.characters(codec="utf-8"), max_size=30) | st.text("ab@.<>\r\n\" ,:[]\\\0", max_size=20))
def test_an_address_is_one_line_or_none(address: str) -> None:
    said: list[bytes] = []
    with suppress(ValueError):
        rehearse(overheard(c.transaction(Envelope("ana@rio.example", [address]), BODY), said), parrot())
    assert len(said) == 0 or said[1] == encode_command("RCPT", f"TO:<{address}>")
    assert b"".join(said[:2]).count(b"\r\n") in (0, 2) and b"".join(said[:2]).count(b"\n") in (0, 2)


def parrot() -> Generator[Any, Any, None]:
    """A server that has been greeted, and agrees with everything."""
    with suppress(Disconnected):
        while True:
            line = yield Line()
            yield b"354 go on\r\n" if line == b"DATA" else b"250 ok\r\n"
            while line == b"DATA" and (yield Line()) != b".":
                pass
            if line == b"DATA":
                yield b"250 kept\r\n"


# --- a body that breaks --------------------------------------------------------------------------------------------


class Torn(Exception):
    """The letter could not be read to its end."""


def torn(*blocks: bytes) -> Iterator[bytes]:
    yield from blocks
    raise Torn


TEARS = [(), (b"Subject: x\r\n",), (b"Subject: x\r\n\r\n",), (b"x\r\n.",), (b"x\r\n.\r",), (b"x\r\n.\r\n",),
         (b"x" * 300_000,)]


@pytest.mark.parametrize("blocks", TEARS)
def test_half_a_letter_has_no_end(blocks: tuple[bytes, ...]) -> None:
    said: list[bytes] = []
    receipts: list[c.Receipt] = []
    with pytest.raises(Torn):
        rehearse(overheard(c.deliver("rio.example", letters(body=torn(*blocks)), receipts), said), scripted(*GOOD))
    octets = b"".join(said)
    assert receipts == [] and b"\r\n.\r\n" not in octets and not octets.endswith(b"QUIT\r\n")


@pytest.mark.parametrize("body", [b"Subject: bytes", "Subject: str", [b"bytes and", "str"], [None], 7])
def test_a_body_of_the_wrong_kind_is_never_accepted(body: Any) -> None:
    said: list[bytes] = []
    with pytest.raises(TypeError):
        rehearse(overheard(c.deliver("rio.example", letters(body=body)), said), scripted(*GOOD))
    assert b"\r\n.\r\n" not in b"".join(said)


@pytest.mark.parametrize("blocks", TEARS)
def test_half_a_letter_is_not_accepted_by_a_server(blocks: tuple[bytes, ...]) -> None:
    with Server() as server:
        with Client(*server.address, timeout=10) as smtp:
            with pytest.raises(Torn):
                smtp.transact(*letters(body=torn(*blocks))[0])
        with socket.create_connection(server.address) as sock, pytest.raises(Torn):
            Connection(sock, "C").play(c.deliver("rio.example", letters(body=torn(*blocks))))
        with Client(*server.address, timeout=10) as smtp:
            assert smtp.transact(*letters()[0]).accepted == [YUI]
        server.wait_for(1)
    assert [message.data for message in server.messages] == BODY


# --- the same over sockets -----------------------------------------------------------------------------------------


def over_sockets(server: Generator[Any, Any, Any], client: Callable[[Connection], Any]) -> Any:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)

    def serve_and_hang_up() -> None:
        with theirs, suppress(Exception):
            Connection(theirs, "S").play(server)

    thread = threading.Thread(target=serve_and_hang_up, daemon=True)
    thread.start()
    try:
        with ours:
            return client(Connection(ours, "C"))
    finally:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("phase", range(8), ids=[*PHASES, "after"])
@pytest.mark.parametrize("last", [None, "450 later", "550 never", "421 good night"])
def test_sockets_and_rehearsal_agree(phase: int, last: str | None) -> None:
    script = [*GOOD[:phase], *([last, "250 ok", "221 bye"] if last else [])]

    def outcome(play: Callable[[Any], Any]) -> Any:
        try:
            return play(c.deliver("rio.example", letters()))
        except (OSError, ValueError, Disconnected) as error:
            return type(error), str(error)

    assert (outcome(lambda talk: rehearse(talk, scripted(*script)).client)
            == outcome(lambda talk: over_sockets(scripted(*script), lambda line: line.play(talk))))


# --- exceptions ----------------------------------------------------------------------------------------------------


def test_exceptions_are_named_like_those_of_smtplib() -> None:
    import smtplib

    for name, kind in (vars(c) | vars(refusals)).items():
        if isinstance(kind, type) and issubclass(kind, c.SMTPException) and name != "SMTPTimeout":
            theirs = getattr(smtplib, name)
            ours = {base.__name__ for base in kind.__mro__}
            assert {base.__name__ for base in theirs.__mro__} <= ours, f"{name} is not all that smtplib's is"
    assert issubclass(SMTPTimeout, TimeoutError) and issubclass(SMTPTimeout, c.SMTPServerDisconnected)


def test_exceptions_tell_what_the_server_said() -> None:
    error = SMTPDataError(Reply(554, "no\nreally no"), "body")
    assert str(error) == "body: 554 no / really no"
    assert (error.smtp_code, error.smtp_error) == (554, b"no\nreally no")
    assert "tokyo.example: 550 no" in str(SMTPRecipientsRefused({YUI: (550, b"no")}))
    assert issubclass(BadPath, ValueError)

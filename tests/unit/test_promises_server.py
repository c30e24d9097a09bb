"""Promises of the server: a mistake of ours is never 250, 421 comes before we hang up, a web page delivers nothing."""
from __future__ import annotations

import functools
import inspect
import io
import random
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import Client, Envelope, Reply, Server, bodies, lab, submission
from smtp_from_scratch.bodies import SPOOL_IN_MEMORY, Memory, Spool
from smtp_from_scratch.conformance.server.runner import all_dialogues
from smtp_from_scratch.conversation import Conversation, Disconnected, Timeout, read_reply, rehearse
from smtp_from_scratch.ehlo import ExtensionSet, read_parameters
from smtp_from_scratch.maildir import Maildir
from smtp_from_scratch.report import reporting
from smtp_from_scratch.session import Limits, Session, serve
from smtp_from_scratch.smtp import server_extensions
from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.submission import Submission
from tests.ours import TLS, USERS, Role, everything, rehearsed

HELLO = b"EHLO rio.example\r\n"
MAIL = b"MAIL FROM:<ana@rio.example>\r\n"
KENJI, YUI = "kenji@tokyo.example", "yui@tokyo.example"
RCPT = b"".join(f"RCPT TO:<{address}>\r\n".encode() for address in (KENJI, YUI))
TEXT = b"Subject: Choir\r\n\r\nMonday.\r\n"
WAYS = {"DATA": b"DATA\r\n" + TEXT + b".\r\n", "BDAT": b"BDAT %d LAST\r\n" % len(TEXT) + TEXT}


LIMITS = set(Limits.__slots__)


class Tokyo:
    """Our server, rehearsed, with all its extensions: what it was left with."""

    def __init__(self, without: tuple[str, ...] = (), extensions: Any = None, **options: Any) -> None:
        self.letters: list[tuple[Envelope, bytes]] = []
        options.setdefault("deliver", lambda envelope, body: self.letters.append((envelope, body.read())))
        limits = Limits(**{"max_size": 10_000, **{name: options.pop(name) for name in LIMITS & set(options)}})
        offered = ExtensionSet(server_extensions(without=without, **(extensions or {})))
        self.session = CodedSession("mail.tokyo.example", limits=limits, extensions=offered, **options)

    def hears(self, octets: bytes, cut: Callable[[bytes], Iterable[bytes]] | None = None) -> list[Reply]:
        """Its replies, the greeting left out, to a client that says all at once."""
        return rehearse(caller(octets), serve(self.session), cut=cut, patient=True).client[1:]

    def codes(self, octets: bytes) -> list[int]:
        return [reply.code for reply in self.hears(octets)]


def caller(octets: bytes) -> Conversation[list[Reply]]:
    replies: list[Reply] = []
    yield octets
    with suppress(Disconnected, Timeout):
        while True:
            replies.append((yield from read_reply(10.0)))
    return replies


# --- a wrong answer of ours is never 250 ------------------------------------------------------------------------------


async def late() -> Reply:
    return Reply(250, "kept")


class Unspeakable:
    """Its own repr is broken, too."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


FINE, FOREIGN = Reply(250, "kept"), "eve@shady.example"
NO_REPLIES: dict[str, Callable[[], Any]] = {
    "a str": lambda: "554 5.7.1 spam", "bytes": lambda: b"250 ok", "True": lambda: True, "False": lambda: False,
    "0": lambda: 0, "an int": lambda: 250, "a tuple": lambda: (250, "kept"), "a list": lambda: [FINE],
    "a coroutine": late, "a generator": lambda: (reply for reply in [FINE]), "a class": lambda: Reply,
    "354": lambda: Reply(354, "go on"), "a lone surrogate": lambda: Reply(250, "\ud800"),
    "a code that is no int": lambda: Reply(250.5, "kept"),  # type: ignore[arg-type]
    "what has no repr": Unspeakable,
}
WRONG = NO_REPLIES | {
    "an empty str": lambda: "", "{}": dict, "a recipient is missing": lambda: {KENJI: FINE},
    "strangers only": lambda: {FOREIGN: FINE}, "another case": lambda: {KENJI.upper(): FINE, YUI: FINE},
    "{address: None}": lambda: {KENJI: FINE, YUI: None}, "{address: True}": lambda: {KENJI: FINE, YUI: True},
    "{address: str}": lambda: {KENJI: FINE, YUI: "250 ok"}, "{address: 354}": lambda: {KENJI: FINE, YUI: Reply(354)},
    "{address: a surrogate}": lambda: {KENJI: FINE, YUI: Reply(250, "\udcff")},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_delivery_must_not_say_is_451(wrong: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    tokyo = Tokyo(deliver=lambda envelope, body: WRONG[wrong]())
    assert tokyo.codes(HELLO + MAIL + RCPT + WAYS[way] + MAIL + b"QUIT\r\n")[-3:] == [451, 250, 221]
    assert "expected a" in caplog.text or "surrogates not allowed" in caplog.text
    assert not tokyo.session.resources


@pytest.mark.parametrize("wrong", WRONG)
def test_the_server_of_1982_says_451_as_well(wrong: str) -> None:
    session = Session("mail.tokyo.example", lambda envelope, body: WRONG[wrong]())
    said = HELLO.replace(b"EHLO", b"HELO") + MAIL + RCPT + WAYS["DATA"] + b"NOOP\r\n"
    assert [reply.code for reply in rehearse(caller(said), serve(session), patient=True).client[-2:]] == [451, 250]


def test_a_mistake_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    Tokyo(deliver=lambda envelope, body: "554 5.7.1 spam").hears(HELLO + MAIL + RCPT + WAYS["DATA"])
    assert "TypeError: expected a Reply, {recipient: Reply} or None of deliver, got '554 5.7.1 spam'" in caplog.text
    caplog.clear()
    Tokyo(deliver=lambda envelope, body: {KENJI: FINE, FOREIGN: FINE}).hears(HELLO + MAIL + RCPT + WAYS["DATA"])
    assert f"expected a Reply of deliver for {YUI!r}, got None" in caplog.text
    assert FOREIGN in caplog.text


def test_a_coroutine_is_closed_since_nobody_will_run_it() -> None:
    coroutine = late()
    Tokyo(deliver=lambda envelope, body: coroutine).hears(HELLO + MAIL + RCPT + WAYS["DATA"])
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("outcome, code", [
    ({KENJI: FINE, YUI: FINE}, 250), ({KENJI: FINE, YUI: FINE, FOREIGN: Reply(550, "who?")}, 250),
    ({KENJI: FINE, YUI: Reply(550, "no")}, 550), ({KENJI: Reply(550, "no"), YUI: None}, 451),
    ({KENJI: Reply(550, "no")}, 451),
])
def test_one_reply_stands_for_all_recipients_and_451_before_all_others(outcome: Any, code: int) -> None:
    """Who is not named may not have the letter: it must come again, even if others get it twice."""
    assert Tokyo(deliver=lambda envelope, body: outcome).codes(HELLO + MAIL + RCPT + WAYS["DATA"])[-1] == code


@pytest.mark.parametrize("wrong", ["a str", "{}", "a recipient is missing", "{address: None}", "354"])
def test_a_server_that_reports_makes_no_250_of_it(wrong: str) -> None:
    sent: list[object] = []
    deliver = reporting(lambda envelope, body: WRONG[wrong](), "mail.tokyo.example", lambda *said: sent.append(said))
    assert Tokyo(deliver=deliver).codes(HELLO + MAIL + RCPT + WAYS["DATA"])[-1] == 451 and not sent


@pytest.mark.parametrize("policy", ["accept_sender", "accept_recipient"])
@pytest.mark.parametrize("wrong", NO_REPLIES)
def test_what_a_policy_must_not_say_is_451(wrong: str, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    tokyo = Tokyo(**{policy: lambda address, envelope: NO_REPLIES[wrong]()})
    said = HELLO + MAIL + (RCPT if policy == "accept_recipient" else b"") + b"DATA\r\nNOOP\r\nQUIT\r\n"
    replies = tokyo.codes(said)
    assert replies[-4:] == [451, 503, 250, 221] and "expected a Reply, or None, of a policy" in (
        caplog.text + "expected a Reply, or None, of a policy" * ("surrogates" in caplog.text))
    assert not tokyo.session.envelope.sender or policy == "accept_recipient"
    assert tokyo.session.envelope.recipients == []


def test_over_a_socket_nobody_is_dropped() -> None:
    """The line survives whatever the two functions return; the next letter is taken."""
    answers = iter([*WRONG.values(), lambda: None])
    with Server(deliver=lambda envelope, body: next(answers)()) as server, Client(*server.address) as smtp:
        envelope = Envelope("ana@rio.example", [KENJI, YUI])
        codes = [smtp.transact(envelope, TEXT).reply for _ in range(len(WRONG) + 1)]
    assert [reply and reply.code for reply in codes] == [451] * len(WRONG) + [250]


def never_runs(*_: object) -> Any:
    yield Reply(250)


async def neither(*_: object) -> Any:
    yield Reply(250)


@pytest.mark.parametrize("name", ["deliver", "accept_sender", "accept_recipient"])
@pytest.mark.parametrize("function", [never_runs, functools.partial(never_runs, 1), neither, "deliver", "", Reply(250)],
                         ids=["generator", "partial", "async generator", "str", "empty str", "Reply"])
def test_what_cannot_run_is_refused_when_the_server_is_made(name: str, function: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} is "):
        Server(**{name: function})


# --- 421 before we hang up --------------------------------------------------------------------------------------------

ENDINGS = {
    "BDAT without a size": b"BDAT\r\n", "BDAT with a negative one": b"BDAT -1\r\n", "BDAT of 1e3": b"BDAT 1e3\r\n",
    "BDAT with NUL": b"BDAT 5\0\r\n", "BDAT beyond ASCII": "BDAT ٥\r\n".encode(),
    "BDAT beyond all sizes": b"BDAT 999999999999 LAST\r\n", "BDAT in a long line": b"BDAT 5" + b" " * 600 + b"\r\n",
    "a line without an end": b"x" * 70_000, "nonsense": b"FROB\r\n" * 21, "idle commands": b"NOOP\r\n" * 101,
}


@pytest.mark.parametrize("before", [b"", HELLO, HELLO + MAIL + RCPT], ids=["start", "ready", "rcpt"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_421_comes_before_we_hang_up(ending: str, before: bytes) -> None:
    tokyo = Tokyo()
    replies = tokyo.hears(before + ENDINGS[ending] + b"\r\nNOOP\r\nRSET\r\n")
    assert replies[-1].code == 421 and sum(reply.code == 421 for reply in replies) == 1
    assert replies[-1].text.split(" ", 1)[1].startswith("mail.tokyo.example ")
    assert tokyo.session.state == "closed" and not tokyo.session.resources


def test_421_says_why() -> None:
    said = str(Tokyo().hears(b"BDAT x\r\n")[-1])
    assert said.startswith("421 4.5.4") and "BDAT takes a number" in said
    said = str(Tokyo().hears(b"BDAT 999999999999\r\n")[-1])
    assert said.startswith("421 4.3.4") and "10000 octets" in said
    said = str(Tokyo(max_idle_commands=0).hears(b"BDAT x\r\n")[-1])
    assert "BDAT takes a number" in said, "the first reason, where there are two"


def test_421_of_a_delivery_or_a_policy_ends_the_session() -> None:
    """The code means that; a client that was told so waits for nothing more."""
    tokyo = Tokyo(deliver=lambda envelope, body: Reply(421, "going down"))
    assert tokyo.codes(HELLO + MAIL + RCPT + WAYS["DATA"] + b"NOOP\r\n")[-2:] == [354, 421]
    tokyo = Tokyo(accept_sender=lambda address, envelope: Reply(421, "no"))
    assert tokyo.codes(HELLO + MAIL + b"NOOP\r\n") == [250, 421]


# --- 530, whatever the order ------------------------------------------------------------------------------------------

COMMANDS = [b"MAIL FROM:<a@b.example>", b"RCPT TO:<a@b.example>", b"DATA", b"VRFY ana", b"EXPN ana",
            b"BDAT 6 LAST\r\nQUIT\r"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("hello", [b"", HELLO], ids=["start", "ready"])
@pytest.mark.parametrize("needs", ["TLS", "a login"])
def test_530_comes_before_503(needs: str, hello: bytes, command: bytes) -> None:
    wanted = {"tls": TLS.server, "require_tls": True} if needs == "TLS" else {
        "users": USERS, "require_auth": True, "insecure_auth": True}
    replies = Tokyo(extensions=wanted).hears(hello + command + b"\r\n" * (command[-1:] != b"\r") + b"\n" * (
        command[-1:] == b"\r") + b"NOOP\r\n")
    assert [reply.code for reply in replies][-2:] == [530, 250], replies
    assert replies[-2].text.startswith("5.7.0 "), "RFC 3207 §4, RFC 4954 §6"


def test_the_dialogue_about_530_is_played_at_a_server_that_demands_tls() -> None:
    [dialogue] = [d for d in all_dialogues() if d.title == "TLS is demanded of every command"]
    role = Role("smtp, TLS demanded", everything(require_tls=True))
    with role.sessions() as session:
        show = rehearsed(dialogue, role.target, session)
    assert sum(said.data.startswith(b"530 ") for said in show.said) == 3


# --- other protocols --------------------------------------------------------------------------------------------------

LETTER = HELLO + MAIL + RCPT + b"DATA\r\n" + TEXT + b".\r\nQUIT\r\n"
BROWSER = (b"POST / HTTP/1.1\r\nHost: localhost:25\r\nUser-Agent: Mozilla/5.0\r\nContent-Type: text/plain\r\n"
           b"Content-Length: %d\r\n\r\n" % len(LETTER)) + LETTER
FIRST_LINES = [b"GET / HTTP/1.1", b"get /", b"GET", b"HEAD / HTTP/1.0", b"PUT /x HTTP/1.1", b"POST /?" + b"x" * 3000,
               b"OPTIONS * HTTP/1.1", b"CONNECT mail:25 HTTP/1.1", b"DELETE / HTTP/1.1", b"PRI * HTTP/2.0",
               b"Host: localhost", b"HOST:x", b"SSH-2.0-OpenSSH_9.2"]


def client_hello(ticket: bytes = b"") -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = TLS.client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read() + ticket


@pytest.mark.parametrize("way", ["messages", "maildir"])
def test_a_web_page_cannot_deliver_a_letter(way: str, tmp_path: Path) -> None:
    deliver = Maildir(tmp_path / "inbox") if way == "maildir" else None
    with Server(deliver=deliver, timeout=30.0) as server, socket.create_connection(server.address, 10) as sock:
        sock.sendall(BROWSER)
        heard = b"".join(iter(lambda: sock.recv(65_536), b""))
    assert not server.messages
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [line[:3] for line in heard.splitlines()] == [b"220", b"421"]


@pytest.mark.parametrize("line", FIRST_LINES)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("before", [b"", HELLO, HELLO + MAIL + RCPT], ids=["start", "ready", "rcpt"])
@pytest.mark.parametrize("size", [1, 3, 100_000])
def test_other_protocols_hear_421_once(line: bytes, end: bytes, before: bytes, size: int) -> None:
    tokyo = Tokyo()
    replies = tokyo.hears(before + line + end + LETTER, lambda data: (
        data[at : at + size] for at in range(0, len(data), size)))
    assert [reply.code for reply in replies] == [250] * before.count(b"\r\n") + [421]
    assert tokyo.session.state == "closed" and not tokyo.letters


@pytest.mark.parametrize("ticket", [b"", b"\r\n" + LETTER])
def test_tls_on_a_plain_port_does_not_wait(ticket: bytes) -> None:
    """A ClientHello has no LF, as a rule; and where it has one, what follows was chosen by somebody."""
    for octets in (client_hello(ticket), bytes(octet for octet in client_hello() if octet not in b"\r\n") + ticket):
        tokyo = Tokyo()
        assert tokyo.codes(octets) == [421] and not tokyo.letters
    with Server() as server, socket.create_connection(server.address, 10) as sock:      # it would wait for 300 s
        sock.sendall(octets)
        assert b"".join(iter(lambda: sock.recv(65_536), b"")).split(b"\r\n")[1].startswith(b"421 ")
    assert not server.messages


def test_a_long_line_is_not_read_for_another_protocol_in_its_middle() -> None:
    """Where a line that is too long is thrown away piece by piece, a piece may begin with anything."""
    tokyo = Tokyo()
    said = b"NOOP " + b"x" * 3000 + b"GET / HTTP/1.1\r\n"
    replies = tokyo.hears(said + b"NOOP\r\n", lambda data: [data[:3006], data[3006:]])
    assert [reply.code for reply in replies] == [500, 250]


def test_no_verb_of_ours_is_taken_for_one_of_http() -> None:
    tokyo = Tokyo()
    assert tokyo.codes(HELLO + b"POSTS\r\nGETX\r\nHOST\r\nSSH\r\n\x16\r\nNOOP GET / HTTP/1.1\r\n") == [
        250, 500, 500, 500, 500, 500, 250]
    text = b"GET / HTTP/1.1\r\nHost: x\r\nSSH-2.0\r\n\x16\x03\x01\r\n"
    assert tokyo.codes(HELLO + MAIL + RCPT + b"DATA\r\n" + text + b".\r\n")[-1] == 250
    assert tokyo.letters[0][1] == text


# --- idle commands, refused recipients --------------------------------------------------------------------------------

IN_EVERY_STATE = [b"NOOP\r\n", b"HELP\r\n", b"VRFY kenji\r\n", b"EXPN x\r\n", b"NOOP x\r\n"]


@pytest.mark.parametrize("before", [b"", HELLO, HELLO + MAIL, HELLO + MAIL + RCPT,
                                    HELLO + MAIL + RCPT + b"BDAT 1\r\nx"],
                         ids=["start", "ready", "mail", "rcpt", "between chunks"])
@pytest.mark.parametrize("line", IN_EVERY_STATE)
def test_idle_talk_counts_in_every_state(line: bytes, before: bytes) -> None:
    tokyo = Tokyo(max_idle_commands=30, max_errors=1000)
    replies = tokyo.codes(before + line * 100 + WAYS["DATA"])
    assert replies[-1] == 421 and len(replies) - before.count(b"\r\n") <= 31 and not tokyo.letters


def test_empty_chunks_are_idle_talk() -> None:
    tokyo = Tokyo(max_idle_commands=30)
    replies = tokyo.codes(HELLO + MAIL + RCPT + b"BDAT 0\r\n" * 100)
    assert replies[-1] == 421 and len(replies) < 40


def test_senders_that_are_refused_are_idle_talk() -> None:
    tokyo = Tokyo(max_idle_commands=30, accept_sender=lambda address, envelope: Reply(550, "not you"))
    assert tokyo.codes(HELLO + MAIL * 100) == [250] + [550] * 29 + [421]


def test_work_is_no_idle_talk() -> None:
    """A thousand recipients, a letter in a thousand chunks, a hundred letters: nobody is sent away."""
    tokyo = Tokyo(max_idle_commands=5)
    said = HELLO + MAIL + RCPT * 400 + b"BDAT 2\r\n\r\n" * 300 + b"BDAT 0 LAST\r\n"
    said += (MAIL + RCPT + WAYS["DATA"]) * 50 + (MAIL + RCPT + WAYS["BDAT"]) * 50
    assert set(tokyo.codes(said)) == {250, 354} and len(tokyo.letters) == 101


def test_the_reply_to_a_letter_is_never_replaced() -> None:
    """It was delivered: a 421 in place of its 250 would bring it again."""
    for way in WAYS.values():
        tokyo = Tokyo(max_idle_commands=1, max_errors=0, max_refused=0)
        assert tokyo.codes(HELLO + MAIL + RCPT + way)[-1] == 250 and len(tokyo.letters) == 1


def test_refused_recipients_are_counted() -> None:
    """Nobody tries all names in a session; the right one, found in time, is no way out."""
    def only_kenji(address: str, envelope: Envelope) -> Reply | None:
        return None if address == KENJI else Reply(550, "nobody of that name")

    guesses = b"".join(b"RCPT TO:<guess%d@tokyo.example>\r\n" % n for n in range(40))
    for said in (MAIL + guesses, MAIL + guesses[:600] + RCPT + b"DATA\r\n.\r\n" + MAIL + guesses[600:] + guesses):
        tokyo = Tokyo(accept_recipient=only_kenji, max_refused=30)
        replies = tokyo.codes(HELLO + said + RCPT)
        assert replies[-1] == 421 and replies.count(550) == 30
    assert Tokyo(accept_recipient=only_kenji).codes(HELLO + MAIL + guesses + b"QUIT\r\n")[-1] == 221


@pytest.mark.parametrize("code", [452, 552])
def test_recipients_that_are_too_many_are_not_counted(code: int) -> None:
    """A client may say all its recipients at once, and send to those who were too many in another transaction."""
    tokyo = Tokyo(accept_recipient=lambda address, envelope: Reply(code, "too many"), max_refused=3)
    assert tokyo.codes(HELLO + MAIL + RCPT * 50 + b"QUIT\r\n") == [250, 250, *[code] * 100, 221]


@pytest.mark.parametrize("limit, said", [("max_idle_commands", b"NOOP\r\n"), ("max_errors", b"FROB\r\n"),
                                         ("max_refused", b"RCPT TO:<a@b.example>\r\n")])
def test_a_server_can_be_told_its_patience(limit: str, said: bytes) -> None:
    refuse = {"accept_recipient": lambda address, envelope: Reply(550, "no")}
    with Server(**{limit: 3, **refuse}) as server, lab.raw(server.address) as line:
        for octets in (b"", b"EHLO rio.example\r\n", MAIL):
            line.say(octets)
            line.hear()
        codes = []
        for _ in range(4):
            line.say(said)
            codes.append(line.hear()[:3])
        assert b"421" in codes and set(codes) - {b"421"}, codes


# --- one spool, and memory that all share -----------------------------------------------------------------------------


def on_disk(spool: Spool) -> bool:
    return not isinstance(spool.file, io.BytesIO)


def test_spools_share_their_memory() -> None:
    memory, block = Memory(100_000), b"x" * 10_000
    spools = [Spool(None, memory) for _ in range(20)]
    for _ in range(3):
        for spool in spools:
            spool.add(block)
    in_memory = [spool for spool in spools if not on_disk(spool)]
    assert 0 < len(in_memory) * 30_000 <= 100_000 and memory.free == 100_000 - len(in_memory) * 30_000
    for spool in spools:
        spool.file.seek(0)
        assert spool.file.read() == block * 3 and spool.fault is None and spool.octets == 30_000
        spool.close()
        spool.close()
    assert memory.free == 100_000


def test_a_large_letter_gives_its_memory_back_when_it_moves() -> None:
    memory = Memory(10 * SPOOL_IN_MEMORY)
    spool = Spool(None, memory)
    spool.add(b"x" * SPOOL_IN_MEMORY)
    assert not on_disk(spool) and memory.free == 9 * SPOOL_IN_MEMORY
    spool.add(b"x")
    assert on_disk(spool) and memory.free == 10 * SPOOL_IN_MEMORY
    spool.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("left", [0, 10, 1_000_000])
def test_with_little_memory_letters_go_to_disk_and_arrive(way: str, left: int) -> None:
    memory = Memory(left)
    tokyo = Tokyo(memory=memory)
    assert tokyo.codes(HELLO + (MAIL + RCPT + WAYS[way]) * 3)[-1] == 250
    assert [text for _, text in tokyo.letters] == [TEXT] * 3 and memory.free == left


@pytest.mark.parametrize("end", [b"", b"RSET\r\n", b"QUIT\r\n", b"BDAT x\r\n", HELLO, b"BDAT 9999\r\nhalf",
                                 b"BDAT 10000 LAST\r\n" + b"y" * 10_000])
def test_memory_is_free_again_however_a_letter_ends(end: bytes) -> None:
    memory = Memory(50_000)
    tokyo = Tokyo(memory=memory)
    tokyo.hears(HELLO + MAIL + RCPT + b"BDAT 5000\r\n" + b"x" * 5000 + end)
    assert memory.free == 50_000 and not tokyo.session.resources and not tokyo.letters


def mended(memory: Memory, letters: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Tokyo:
    """A submission server, which puts a Message-ID before the message: a second spool, from the process's memory."""
    monkeypatch.setattr("smtp_from_scratch.submission.MEMORY", memory)
    deliver = Submission().deliver(lambda envelope, body: letters.append(body.read()), "mail.tokyo.example")
    return Tokyo(memory=memory, deliver=deliver)


def test_the_process_has_one_memory() -> None:
    assert Limits().memory is Limits().memory is submission.MEMORY


def test_a_letter_that_is_mended_takes_memory_of_the_same_store(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"From: ana@rio.example\r\nDate: Mon, 1 Sep 2026 20:00:00 +0900\r\n\r\nMonday.\r\n"
    said = HELLO + MAIL + RCPT + b"DATA\r\n" + text + b".\r\n"
    for octets in (0, len(text) + 10, 1_000_000):
        memory, letters = Memory(octets), list[bytes]()
        assert mended(memory, letters, monkeypatch).codes(said)[-1] == 250
        assert letters[0].startswith(b"Message-ID: ") and letters[0].endswith(text) and memory.free == octets


def test_a_letter_for_whose_mending_there_is_no_room_hears_452(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BytesIO", Hiccup)
    letters: list[bytes] = []
    text = b"From: ana@rio.example\r\n\r\nMonday.\r\n"
    tokyo = mended(Memory(10_000), letters, monkeypatch)
    assert tokyo.codes(HELLO + MAIL + RCPT + b"DATA\r\n" + text + b".\r\n")[-1] == 452
    assert not letters


class Hiccup(io.BytesIO):
    """A file whose second write finds the disk full, and only that one."""

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.writes = 0
        FILES.append(self)

    def write(self, block: Any) -> int:
        self.writes += 1
        if self.writes == 2:
            raise OSError("no space left")
        return super().write(block)


FILES: list[Hiccup] = []


@pytest.mark.parametrize("way", WAYS)
def test_after_a_fault_nothing_is_spooled_and_nothing_delivered(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be room again a moment later: a letter with a hole would be delivered."""
    monkeypatch.setattr(bodies, "BytesIO", Hiccup)
    FILES.clear()
    chunks = [b"one\r\n" * 20, b"two\r\n" * 20, b"three\r\n" * 20]
    tokyo = Tokyo()
    if way == "BDAT":
        said = b"".join(b"BDAT %d\r\n" % len(chunk) + chunk for chunk in chunks) + b"BDAT 0 LAST\r\n"
        codes = [250, 452, 452, 452]
    else:
        said, codes = b"DATA\r\n" + b"".join(chunks) + b".\r\n", [354, 452]
    size = 60 if way == "DATA" else 10_000
    replies = tokyo.hears(HELLO + MAIL + RCPT + said + MAIL, lambda data: (
        data[at : at + size] for at in range(0, len(data), size)))
    assert [reply.code for reply in replies[4:]] == [*codes, 250] and not tokyo.letters
    assert [file.writes for file in FILES] == [2]


def test_beyond_the_limit_nothing_is_spooled() -> None:
    spool = Spool(1000, Memory(1_000_000))
    for _ in range(20):
        spool.add(b"x" * 100)
    assert spool.file.tell() == 1000 and spool.octets == 2000 and spool.fault and spool.fault.code == 552
    spool.close()


# --- a slow letter beyond the limit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_slow_letter_beyond_the_limit_hears_552(way: str) -> None:
    """It keeps up its rate, 600 octets a second for seven minutes: its sender must hear not to try again."""
    line = b"x" * 598 + b"\r\n"

    def slow() -> Conversation[list[int]]:
        yield HELLO + MAIL + RCPT
        replies = []
        for _ in range(5):
            replies.append((yield from read_reply()))
        yield b"DATA\r\n" if way == "DATA" else b"BDAT %d LAST\r\n" % (420 * len(line))
        if way == "DATA":
            replies.append((yield from read_reply()))
        for _ in range(420):
            yield line
            with suppress(Timeout):
                replies.append((yield from read_reply(timeout=1.0)))
        yield b".\r\n" * (way == "DATA") + b"NOOP\r\n"
        with suppress(Timeout):
            while True:
                replies.append((yield from read_reply(timeout=10.0)))
        return [reply.code for reply in replies[-2:]]

    show = rehearse(slow(), serve(Tokyo(max_size=30_000).session), patient=True)
    assert show.client == [552, 250] and show.seconds > 400


# --- what stands in commands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", ["\t", "\v", "\f", "\x1c", "\x1f", "\x85", "\u00a0", "\u2028", "\u3000"])
def test_only_spaces_separate_parameters(blank: str) -> None:
    assert isinstance(read_parameters(f" SIZE=1{blank}BODY=8BITMIME"), Reply)
    found = read_parameters(f" SMTPUTF8 SIZE=1{blank}BODY")
    assert isinstance(found, Reply) or set(found) == {"SMTPUTF8", "SIZE"}
    said = HELLO + f"MAIL FROM:<a@b.example> SIZE=1{blank}BODY=8BITMIME\r\nNOOP\r\n".encode()
    replies = Tokyo().codes(said)
    assert replies[1] >= 500 and replies[2] == 250
    assert read_parameters("  SIZE=1   BODY=8BITMIME ") == {"SIZE": "1", "BODY": "8BITMIME"}


NAMES = ["rio.example", "localhost", "a_b.example", "x--y", "1.2.3.4", "rio.example.", "[192.0.2.1]",
         "[IPv6:2001:db8::1]", "_", "-"]
NO_NAMES = ["", "a b", "a(b", "a)b", "a;b", "a,b", "<rio.example>", "a@b", '"a"', "a\tb", "a\x1b[2J", "a\x7f",
            "münchen", "a\u2028b", "[", "[]", "[1.2.3.4", "[a b]", "[a(b]", "x" * 256, "a\\b"]


@pytest.mark.parametrize("verb", ["EHLO", "HELO"])
@pytest.mark.parametrize("name", NAMES + NO_NAMES)
def test_a_name_is_looked_at_before_it_stands_in_received(name: str, verb: str, tmp_path: Path) -> None:
    tokyo = Tokyo()
    replies = tokyo.codes(f"{verb} {name}\r\nNOOP\r\n".encode())
    assert replies == ([250, 250] if name in NAMES else [501, 250])
    assert tokyo.session.envelope.hello == (name if name in NAMES else "")
    session = Session("mail.tokyo.example")
    said = rehearse(caller(f"HELO {name}\r\n".encode()), serve(session), patient=True).client[1:]
    assert [reply.code for reply in said] == [250 if name in NAMES else 501]


def test_bdat_after_helo_is_refused_and_its_octets_are_read() -> None:
    tokyo = Tokyo()
    said = HELLO.replace(b"EHLO", b"HELO") + MAIL + RCPT + b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
    assert tokyo.codes(said) == [250, 250, 250, 250, 503, 250] and not tokyo.letters
    assert tokyo.codes(HELLO + HELLO.replace(b"EHLO", b"HELO") + MAIL + RCPT + b"BDAT 6 LAST\r\nQUIT\r\n")[-1] == 503


def test_options_of_refused_recipients_are_not_noted() -> None:
    """What was asked of somebody who will not get the letter would be asked of whoever comes next by that name."""
    refused: set[str] = {YUI}
    tokyo = Tokyo(accept_recipient=lambda address, envelope: Reply(550, "no") if address in refused else None)
    said = HELLO + MAIL + f"RCPT TO:<{YUI}> NOTIFY=NEVER\r\nRCPT TO:<{KENJI}> NOTIFY=SUCCESS\r\n".encode()
    assert tokyo.codes(said + WAYS["DATA"])[2:4] == [550, 250]
    [(envelope, _)] = tokyo.letters
    assert envelope.recipients == [KENJI] and envelope.options == {KENJI: {"NOTIFY": "SUCCESS"}}
    assert YUI not in str(envelope.options)


def test_a_cut_anywhere_changes_nothing() -> None:
    """All of this file's odd input, in random pieces: the same replies, the same letters."""
    odd = [*ENDINGS.values(), *(line + b"\r\n" for line in FIRST_LINES), BROWSER, client_hello(), LETTER]
    dice = random.Random(8)
    for octets in odd:
        whole = Tokyo()
        expected = [reply.code for reply in whole.hears(HELLO + octets + b"\r\nNOOP\r\n")]
        for _ in range(3):
            parts = Tokyo()
            edges = sorted(dice.choices(range(len(octets) + 20), k=12))
            replies = parts.hears(HELLO + octets + b"\r\nNOOP\r\n", lambda data, edges=edges: [
                data[a:b] for a, b in zip([0, *edges], [*edges, len(data)], strict=True) if a < b])
            assert [reply.code for reply in replies] == expected and len(parts.letters) == len(whole.letters)


@pytest.mark.parametrize("line", [b"GET /\x1b[2J\xff HTTP/1.1", b"\x16\x03\x01"])
def test_whoever_speaks_another_protocol_is_told_which_is_spoken_here(line: bytes) -> None:
    [reply] = Tokyo().hears(line + b"\r\n\r\n")
    assert "this is SMTP" in reply.text and reply.text.isascii() and reply.text.isprintable()

"""PIPELINING (RFC 2920): what a server may hold back, what a client may say unheard, and LIMITS by a learner."""
from __future__ import annotations

import random
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.client import Receipt
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Disconnected, Line, rehearse
from smtp_from_scratch.ehlo import Extension, ExtensionSet, check_requirements
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.pipelining import FREE, Pipelining, groups
from smtp_from_scratch.replies import Due
from smtp_from_scratch.server import ThreadedServer
from smtp_from_scratch.session import Limits, serve
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import FLIGHT_LIMIT, OutgoingMessage, Plan, PlannedCommand, leave, open_session
from smtp_from_scratch.transcript import Rehearsal, Said
from smtp_from_scratch.wire import CRLF, Reply
from tests.ours import everything
from tests.solutions import solution
from tests.whole_session import whole_session

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
BODY = [b"Subject: Choir\r\n\r\nRehearsal moved to Monday, 8 pm.\r\n"]
WITHOUT_WAITING = ["EHLO", "DATA", "VRFY", "EXPN", "TURN", "QUIT", "NOOP"]        # RFC 2920 §3.2 (5)
MAY_WAIT = {"MAIL", "RCPT", "RSET"}                                  # (2); SEND, SOML and SAML are unknown here


def not_nobody(address: str, envelope: Envelope) -> Reply | None:
    return Reply(550, "nobody of that name") if address.startswith("nobody") else None


def tokyo(*extensions: Extension, kept: list[tuple[Envelope, bytes]] | None = None,
          **limits: Any) -> Conversation[None]:
    def keep(envelope: Envelope, body: Any) -> None:
        if kept is not None:
            kept.append((envelope, body.read()))

    return serve(CodedSession("mail.tokyo.example", keep, accept_recipient=not_nobody, limits=Limits(**limits),
                              extensions=ExtensionSet(extensions or [Pipelining()])))


def letter(*names: str, body: Any = BODY) -> OutgoingMessage:
    return OutgoingMessage(Envelope("ana@rio.example", [f"{name}@tokyo.example" for name in names]), body)


def rio(letters: list[OutgoingMessage], *extensions: Extension) -> Conversation[list[Receipt]]:
    return whole_session(CodedClientSession("rio.example", check_requirements(extensions or [Pipelining()])), letters)


def pieces(session: CodedSession, *flights: bytes) -> list[bytes]:
    """What a server sends, a bytes object for each sending, when these flights arrive one after another."""
    seen: list[bytes] = []

    def caller() -> Conversation[None]:
        for flight in flights:
            yield flight
            yield Line()                       # something was heard; the rest is read by nobody

    def note(flight: bytes) -> list[bytes]:
        seen.append(flight)
        return [flight]

    with suppress(Disconnected):
        rehearse(caller(), serve(session), cut=note)
    return [piece for piece in seen if piece not in flights][1:]


def whole() -> CodedSession:
    """A session with every extension that there is."""
    extensions = everything()()
    assert extensions is not None
    return CodedSession("mail.tokyo.example", extensions=ExtensionSet(extensions))


# --- the server: what waits, and what does not -------------------------------------------------------------------


@pytest.mark.parametrize("verb", sorted({*whole().verbs, *WITHOUT_WAITING, "XYZZY"}))
@pytest.mark.parametrize("argument", ["", " nonsense"])
def test_only_mail_rcpt_and_rset_wait_for_more_input(verb: str, argument: str) -> None:
    """More input has come; the reply leaves together with the next one only if it may wait (§3.2 (2), (5), (6))."""
    [*_, alone_or_not] = pieces(whole(), b"EHLO rio.example\r\n" + (verb + argument).encode() + b"\r\nRSET\r\n")
    codes = [line[:3] for line in alone_or_not.splitlines() if line[3:4] == b" "]
    if verb == "QUIT" and not argument:
        assert codes == [b"221"], "nothing is obeyed after QUIT"
    elif verb == "DATA" and not argument:
        assert codes == [b"250"]               # 503 left before
    else:
        assert len(codes) == (2 if verb in MAY_WAIT else 1), f"{verb}: {codes}"


ENVELOPE = b"EHLO rio.example\r\nMAIL FROM:<ana@rio.example>\r\nRCPT TO:<kenji@tokyo.example>\r\n"


@pytest.mark.parametrize("line, code", [
    (b"NOOP", b"250"), (b"VRFY yui", b"252"), (b"EXPN choir", b"502"), (b"TURN", b"500"), (b"QUIT", b"221"),
    (b"HELP", b"214"), (b"", b"500"), (b"\xff\xfe", b"50"), (b"NO\0OP", b"50"), (b"x" * 3000, b"500"),
    (b"HELO rio.example", b"250"), (b"EHLO rio.example", b"250"), (b"STARTTLS now", b"50"), (b"AUTH NONE", b"50"),
    (b"BDAT 0", b"250"), (b"DATA now", b"501"), (b"DATA", b"354"),
])
def test_what_waited_leaves_with_what_may_not_wait(line: bytes, code: bytes) -> None:
    seen = pieces(whole(), ENVELOPE + line + b"\r\nRSET\r\n.\r\n")
    held = next(piece for piece in seen[1:] if piece.startswith(b"250"))
    last = held.splitlines()[-1]
    assert held.count(b"250 2.1.") == 2, "MAIL and RCPT have waited for it"
    assert last.startswith(code) and last[3:4] == b" ", "and it did not wait for what follows"


def test_a_text_s_reply_leaves_before_the_next_envelope_is_answered() -> None:
    """250 takes over a letter: the sooner it leaves, the fewer letters arrive twice."""
    next_envelope = b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<yui@tokyo.example>\r\n"
    seen = pieces(whole(), ENVELOPE + b"DATA\r\n", b"hello\r\n.\r\n" + next_envelope)
    assert [[line[:3] for line in piece.splitlines()] for piece in seen[2:]] == [[b"250"], [b"250", b"250", b"250"]]


def test_what_may_wait_leaves_when_nothing_more_has_come() -> None:
    seen = pieces(whole(), b"EHLO rio.example\r\n", b"MAIL FROM:<>\r\n",
                  b"RCPT TO:<kenji@tokyo.example>\r\nRCPT TO:<yu")
    assert [piece[:3] for piece in seen] == [b"250"] * 3, "half a command is no reason to hold a reply back"


def test_replies_that_wait_are_bounded() -> None:
    """A caller who says RSET for ever and hears nothing does not fill our memory."""
    seen = pieces(CodedSession("mail.tokyo.example", extensions=ExtensionSet([Pipelining()]),
                               limits=Limits(max_idle_commands=10**6)),
                  b"EHLO rio.example\r\n" + b"RSET\r\n" * 20_000)
    assert sum(len(piece) for piece in seen[1:]) == 20_000 * len(b"250 forgotten\r\n")
    assert max(map(len, seen)) <= 65_536 + 512


# --- groups ------------------------------------------------------------------------------------------------------


def test_groups_are_the_fewest_that_may_fly() -> None:
    assert groups(["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "", "RSET", "MAIL", "RCPT", "DATA", "", "QUIT"]) == [
        ["EHLO"], ["MAIL", "RCPT", "RCPT", "DATA"], ["", "RSET", "MAIL", "RCPT", "DATA"], ["", "QUIT"]]
    assert groups(["noop", "mail", "Rcpt"]) == [["noop"], ["mail", "Rcpt"]] and groups([]) == []


@pytest.mark.parametrize("verb", [*WITHOUT_WAITING, "STARTTLS", "HELP", "HELO", "XYZZY"])
def test_what_no_rfc_calls_free_ends_its_group(verb: str) -> None:
    assert groups(["MAIL", verb, "RCPT"]) == [["MAIL", verb], ["RCPT"]]
    client = CodedClientSession("rio.example", check_requirements([Pipelining()]))
    client.learn({"PIPELINING": ""})
    talk = client.send(PlannedCommand(verb))
    assert next(talk) == verb.encode() + CRLF
    assert not isinstance(talk.send(None), bytes), "it listens before it says more"


def test_a_plan_lets_fly_only_what_is_free() -> None:
    """A command does not fly unless somebody has said so, and of a plan nobody says so but of what is free."""
    client = CodedClientSession("rio.example")
    plan = Plan(client, letter("kenji", "yui"))
    assert not PlannedCommand("XYZZY").may_fly
    commands = [plan.mail]
    for command in plan.body(plan):
        command.reply = Reply(354)
        commands.append(command)
    assert [(command.verb, command.may_fly) for command in commands] == [
        (verb, verb in FREE) for verb in ("MAIL", "DATA", "")]


def verbs_by_flight(show: Rehearsal) -> list[list[str]]:
    """What the client said without hearing anything in between; a letter's text is the empty verb."""
    flights: list[list[str]] = []
    who = ""
    for line in lab.Transcript(show.said).lines:
        if line.role == "C":
            if who != "C":
                flights.append([])
            verb = line.data.split()[0].decode() if line.kind == "command" else ""
            if verb or flights[-1][-1:] != [""]:
                flights[-1].append(verb)
        who = line.role
    return flights


@pytest.mark.parametrize("seed", range(20))
def test_a_client_s_flights_are_groups_and_every_receipt_is_right(seed: int) -> None:
    """Letters to some who exist and some who do not, in pieces of any size: groups, RSET, and who got what."""
    chance = random.Random(seed)
    people = [[f"{chance.choice(('nobody', 'reader'))}{n}" for n in range(chance.randint(1, 6))] for _ in range(5)]
    letters = [letter(*names, body=[b"number %d\r\n" % n]) for n, names in enumerate(people)]
    kept: list[tuple[Envelope, bytes]] = []

    def cut(flight: bytes) -> Iterator[bytes]:
        while flight:
            size = chance.randint(1, 200)
            yield flight[:size]
            flight = flight[size:]

    receipts = rehearse(rio(letters), tokyo(kept=kept), cut=cut).client
    for names, receipt in zip(people, receipts, strict=True):
        good = [f"{name}@tokyo.example" for name in names if name.startswith("reader")]
        assert sorted(receipt.accepted) == sorted(good)
        assert set(receipt.refused) == {f"{name}@tokyo.example" for name in names if name.startswith("nobody")}
    assert [envelope.recipients for envelope, _ in kept] == [
        [f"{name}@tokyo.example" for name in names if name.startswith("reader")]
        for names in people if any(name.startswith("reader") for name in names)]

    show = rehearse(rio([letter(*names) for names in people]), tokyo())
    for flight in verbs_by_flight(show):
        assert len(groups(flight)) == 1, flight
        for before, verb in zip(flight, flight[1:], strict=False):
            assert verb != "MAIL" or before == "RSET", "MAIL shares its flight with a text that was not answered"


def test_nothing_is_said_unheard_where_it_was_not_offered() -> None:
    show = rehearse(rio([letter("kenji", "yui")]), tokyo(Extension()))
    assert all(len(flight) == 1 for flight in verbs_by_flight(show)), "one at a time"


def test_ten_thousand_recipients_are_bounded() -> None:
    """The queue of what was not answered does not grow with the letter, and everybody's reply is their own."""
    class Watched(deque[Due]):
        most = 0

        def extend(self, commands: Iterable[Due]) -> None:
            super().extend(commands)
            self.most = max(self.most, len(self))

    watched, names = Watched(), [f"{'nobody' if n % 7 == 3 else 'reader'}{n}" for n in range(10_000)]
    client = CodedClientSession("rio.example", check_requirements([Pipelining()]), unanswered=watched)
    kept: list[tuple[Envelope, bytes]] = []

    def session() -> Conversation[Receipt]:
        yield from open_session(client)
        plan = Plan(client, letter(*names))
        yield from plan.run()
        yield from leave(client)
        return plan.receipt

    show = rehearse(session(), tokyo(kept=kept, max_recipients=10_000, max_refused=10_000))
    receipt = show.client
    assert len(receipt.recipients) == 10_000
    assert {a.partition("@")[0] for a in receipt.refused} == {name for name in names if name.startswith("nobody")}
    assert kept[0][0].recipients == [f"{name}@tokyo.example" for name in names if name.startswith("reader")]
    assert watched.most == FLIGHT_LIMIT and show.turns // 2 + 2 <= 5 + 10_001 // FLIGHT_LIMIT


# --- a client that stays safe ------------------------------------------------------------------------------------


def obliging(*replies: str) -> Conversation[list[bytes]]:
    """A server that says these, a line each, and returns what it heard."""
    heard = []
    yield b"220 obliging.example\r\n"
    for reply in ("250-obliging.example\r\n250 PIPELINING", *replies):
        heard.append((yield Line()))
        yield reply.encode() + CRLF
    with suppress(Disconnected):
        while True:
            heard.append((yield Line()))
    return heard


@pytest.mark.parametrize("replies, where", [
    (["250 ok", "550 no", "550 no", "354 go on", "250 kept"], "RCPT"),
    (["550 not you", "503 no", "503 no", "354 go on", "250 kept"], "MAIL"),
    (["550 not you", "250 ok", "250 ok", "354 go on", "554 nobody"], "MAIL"),
    (["250 ok", "550 no", "450 later", "354 go on", "554 nobody"], "RCPT"),
])
def test_a_dot_alone_when_354_comes_and_nobody_is_there(replies: list[str], where: str) -> None:
    show = rehearse(rio([letter("kenji", "yui")]), obliging(*replies, "221 bye"))
    assert show.server[-2:] == [b".", b"QUIT"] and b"Subject: Choir" not in show.server
    [receipt] = show.client
    assert receipt.refused_by == where and not receipt.accepted


def test_data_refused_with_recipients_then_rset() -> None:
    show = rehearse(rio([letter("kenji"), letter("yui")]), obliging(
        "250 ok", "250 ok", "451 not now", "250 reset", "250 ok", "250 ok", "354 go on", *["250 kept"], "221 bye"))
    assert b"RSET" in show.server and show.server.index(b"RSET") == 4
    first, second = show.client
    assert first.refused_by == "DATA" and first.refused["kenji@tokyo.example"].code == 451


def test_an_empty_letter_for_nobody_goes_to_nobody() -> None:
    """§3.2 (3), (4): our server does not say 354, and what follows is not kept."""
    kept: list[tuple[Envelope, bytes]] = []
    [receipt] = rehearse(rio([letter("nobody")]), tokyo(kept=kept)).client
    assert receipt.refused_by == "RCPT" and not kept


# --- two who only talk -------------------------------------------------------------------------------------------


def tiny_line() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection with the smallest buffers there are."""
    listener, client = socket.socket(), socket.socket()
    for end in (listener, client):
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, buffer, 4096)
    with listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        return client, listener.accept()[0]


def plain_server(sock: socket.socket, stuck: list[bool]) -> None:
    """Answers a line before it reads the next, and reads nothing while it says something."""
    sock.settimeout(2)
    try:
        with sock, sock.makefile("rb") as lines:
            for _ in lines:
                sock.sendall(b"250 " + b"x" * 100 + CRLF)
    except OSError:
        stuck.append(True)


COMMANDS = 1500


def talk_first() -> Conversation[int]:
    yield b"RCPT TO:<reader@tokyo.example>\r\n" * COMMANDS
    for _ in range(COMMANDS):
        yield Line()
    return COMMANDS


@pytest.mark.parametrize("careful", [False, True])
def test_two_who_only_talk_are_stuck_and_one_who_listens_meanwhile_helps(careful: bool) -> None:
    (client, server), stuck = tiny_line(), list[bool]()
    thread = threading.Thread(target=plain_server, args=(server, stuck), daemon=True)
    thread.start()
    with client:
        if careful:
            assert Connection(client, "C").play(talk_first()) == COMMANDS
        else:
            client.settimeout(1)
            with pytest.raises(TimeoutError):
                client.sendall(b"RCPT TO:<reader@tokyo.example>\r\n" * COMMANDS)
            thread.join(10)
    thread.join(10)
    assert not thread.is_alive() and bool(stuck) != careful


# --- round trips -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letters, recipients, extensions, expected", [
    (1, 1, [Pipelining()], 5), (1, 50, [Pipelining()], 5), (10, 3, [Pipelining()], 14), (1, 50, [Extension()], 57),
])
def test_round_trips_rehearsed(letters: int, recipients: int, extensions: list[Extension], expected: int) -> None:
    post = [letter(*(f"reader{n}" for n in range(recipients))) for _ in range(letters)]
    show = rehearse(rio(post, *extensions), tokyo(*extensions), latency=0.1)
    assert show.turns // 2 + 2 == expected
    assert round(show.seconds / 0.2 + 1.5) == expected, "the clock of the rehearsal agrees"


def test_round_trips_measured() -> None:
    try:
        with ThreadedServer(lambda peer: tokyo()) as server, lab.count_turns(server.address, rtt=0.05) as line:
            with socket.create_connection(line.address) as sock:
                Connection(sock, "C").play(rio([letter(*(f"reader{n}" for n in range(50)))]))
            assert line.round_trips == 5
    finally:
        lab.reset()


# --- LIMITS, by a learner ----------------------------------------------------------------------------------------


@pytest.fixture
def limits() -> Callable[[int], Extension]:
    return solution("12_pipelining", "limits-code")["MyLimits"]  # type: ignore[no-any-return]


def to_everybody(client: CodedClientSession, people: list[str]) -> Conversation[list[Receipt]]:
    """A message, and another one for those who were put off."""
    receipts = []
    yield from open_session(client)
    while people:
        plan = Plan(client, OutgoingMessage(Envelope("ana@rio.example", people), BODY))
        receipts.append(plan.receipt)
        yield from plan.run()
        yield from client.read_replies()
        people = [who for who, reply in receipts[-1].refused.items() if reply.code == 452 and receipts[-1].accepted]
    yield from leave(client)
    return receipts


@pytest.mark.parametrize("together", [False, True])
def test_the_solution_of_limits_serves_101_people(limits: Callable[[int], Extension], together: bool) -> None:
    people = [f"reader{n}@tokyo.example" for n in range(101)]
    kept: list[tuple[Envelope, bytes]] = []
    ours, theirs = ([limits(100), Pipelining()] if together else [limits(100)] for _ in range(2))
    client = CodedClientSession("rio.example", check_requirements(ours))
    with (ThreadedServer(lambda peer: tokyo(*theirs, kept=kept)) as server,
          socket.create_connection(server.address) as sock):
        first, second = Connection(sock, "C").play(to_everybody(client, people))
    assert client.offered["LIMITS"] == "RCPTMAX=100"
    assert [envelope.recipients for envelope, _ in kept] == [people[:100], people[100:]]
    assert first.accepted == people[:100] and first.refused[people[100]].code == 452 and second.accepted == people[100:]


def test_a_server_with_limits_keeps_them_though_a_client_does_not(limits: Callable[[int], Extension]) -> None:
    show = rehearse(rio([letter(*(f"reader{n}" for n in range(101)))]), tokyo(limits(100), Pipelining()))
    [receipt] = show.client
    assert len(receipt.accepted) == 100 and receipt.refused["reader100@tokyo.example"].code == 452


# --- sessions recorded from others -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_what_others_heard_from_us_was_in_groups(name: str) -> None:
    lines = (NOTEBOOKS / "data" / f"pipelining_{name}.txt").read_text().splitlines()
    said = [Said(0.0, line[0], line[3:].encode() + CRLF) for line in lines]
    assert verbs_by_flight(Rehearsal(None, None, said, 0.0)) == [
        ["EHLO"], ["MAIL", "RCPT", "RCPT", "RCPT", "DATA"], ["", "RSET", "MAIL", "RCPT", "DATA"], ["", "QUIT"]]

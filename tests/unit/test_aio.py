"""The client for asyncio: cuts, cancellation in every turn of the loop, deadlines, several sessions at once."""
from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from smtp_from_scratch import (
    AsyncClient,
    Client,
    Envelope,
    Receipt,
    Reply,
    Server,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPServerDisconnected,
    SMTPTimeout,
    client_extensions,
    send_all,
)
from smtp_from_scratch.aio import AsyncConnection
from smtp_from_scratch.auth import Passwords
from smtp_from_scratch.client import CUT_OFF
from smtp_from_scratch.conversation import Conversation, Disconnected, Line
from smtp_from_scratch.lab import aiosmtpd_server
from smtp_from_scratch.oauth import Tokens
from smtp_from_scratch.transcript import Said
from tests.memory_loop import run, server_in_memory
from tests.ours import TLS
from tests.unit.test_promises_client import CONFIGS, POST, WANTED, Batch, Office, keep_sending

ANA, KENJI = "ana@rio.example", "kenji@tokyo.example"


def letter(subject: str = "Mangoes", to: str = KENJI, body: str = "They are ripe.\n") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = ANA, to, subject
    made.set_content(body)
    return made


def letters(batch: Batch) -> Iterator[tuple[Envelope, bytes]]:
    for subject, people in batch:
        yield Envelope(ANA, people), f"Subject: {subject}\r\n\r\nMonday\r\n".encode()


async def whole_session(batch: Batch, **options: Any) -> list[Receipt]:
    """A receipt for each message that was begun, whatever ends the session; a CancelledError goes on."""
    client = AsyncClient(**options)
    try:
        await client.connect("mx.tokyo.example")
        return [receipt async for receipt in client.send_all(letters(batch), goodbye=True)]
    except SMTPException as error:
        return list(error.receipts)
    finally:
        client.close()


# --- the same face as Client's ---------------------------------------------------------------------------------------


def test_it_has_every_method_of_client_s_with_the_same_parameters() -> None:
    def faces(kind: type) -> dict[str, list[str]]:
        return {name: list(inspect.signature(value).parameters) for name, value in inspect.getmembers(kind, callable)
                if not name.startswith("_") and name not in ("dial", "connect")}

    assert faces(AsyncClient) == faces(Client)
    assert list(inspect.signature(AsyncClient).parameters) == list(inspect.signature(Client).parameters)


# --- cuts and ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 7])
def test_cuts_change_nothing(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    server_in_memory(monkeypatch, office.conversation,
                     lambda flight: (flight[at : at + pieces] for at in range(0, len(flight), pieces)))
    receipts, _, _ = run(whole_session(POST))
    assert [receipt.accepted for receipt in receipts] == [
        [address for address in people if (subject, address) in WANTED] for subject, people in POST]
    assert office.acknowledged == WANTED


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("how", ["hangs up", "421"])
def test_nothing_acknowledged_is_sent_twice_wherever_it_ends(how: str, config: str,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    eager = client_extensions(eager=config == "eager")
    whole = Office(without=CONFIGS[config])
    server_in_memory(monkeypatch, whole.conversation)
    run(whole_session(POST, extensions=eager))
    places = {at + more for at in whole.starts for more in (0, 1, 5)} if how == "hangs up" else range(len(whole.starts))
    for at in places:
        office = Office(at, how, CONFIGS[config])
        server_in_memory(monkeypatch, office.conversation)
        keep_sending(lambda batch: run(whole_session(batch, extensions=eager))[0])
        assert office.acknowledged == WANTED, f"{how} at {at}"


# --- cancellation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_a_task_canceled_in_any_turn_accounts_for_all_it_has_begun(config: str,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says was accepted or refused is so, and what it has not begun has nobody."""
    eager = client_extensions(eager=config == "eager")

    def canceled_in(turn: int | None) -> tuple[Office, list[Receipt] | None, int]:
        office = Office(without=CONFIGS[config])
        lines = server_in_memory(monkeypatch, office.conversation, lambda flight: (flight[:50], flight[50:]))
        try:
            receipts, _, turns = run(whole_session(POST, extensions=eager), turn)
        except asyncio.CancelledError as error:
            assert all(line.closed for line in lines), "the line is closed"
            return office, list(getattr(error, "receipts", [])), 0
        return office, receipts, turns

    _, _, turns = canceled_in(None)
    assert turns > 12
    some_unknown = 0
    for turn in range(turns):
        office, receipts, _ = canceled_in(turn)
        assert receipts is not None
        has = office.acknowledged
        for (subject, people), receipt in zip(POST, receipts, strict=False):
            assert {*receipt.accepted, *receipt.refused, *receipt.unknown} == set(people), f"in turn {turn}"
            assert all(has[subject, address] == 1 for address in receipt.accepted), f"in turn {turn}"
            assert not any(has[subject, address] for address in receipt.refused), f"in turn {turn}"
            some_unknown += bool(receipt.unknown)
        assert not any(subject in dict(POST[len(receipts):]) for subject, _ in has), f"in turn {turn}"
    assert some_unknown > 3


@pytest.mark.parametrize("what", ["send_message", "noop", "quit", "connect", "starttls"])
def test_a_canceled_command_closes_the_line(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def conversation() -> Conversation[None]:
        yield Reply(220, "mx.tokyo.example")
        if what == "connect":
            yield Line()
        yield (yield Line()) and Reply(250, "mx.tokyo.example\nSTARTTLS")
        yield Line()
        yield Line()

    async def main() -> str:
        lines = server_in_memory(monkeypatch, conversation)
        smtp = AsyncClient("mx.tokyo.example")
        if what != "connect":
            await smtp.connect()
        talk: Coroutine[Any, Any, Any] = (smtp.send_message(letter()) if what == "send_message"
                                          else getattr(smtp, what)())
        task = asyncio.create_task(talk)
        await asyncio.sleep(1.0)
        assert not task.done() and not lines[0].closed
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as canceled:
            await task
        assert lines[0].closed and smtp.connection is None
        with pytest.raises(SMTPServerDisconnected, match="connect first"):
            await smtp.noop()
        receipts = getattr(canceled.value, "receipts", [])
        return str([(receipt.refused_by, list(receipt.refused)) for receipt in receipts])

    refused, _, _ = run(main())
    assert refused == ("[('line', ['kenji@tokyo.example'])]" if what == "send_message" else "[]")


def test_a_timeout_of_asyncio_has_the_receipts_in_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        server_in_memory(monkeypatch, Silent("DATA"))
        async with AsyncClient("mx.tokyo.example", extensions=[]) as smtp:
            with pytest.raises(TimeoutError) as late:
                async with asyncio.timeout(3.0):
                    await smtp.send_message(letter())
            canceled = late.value.__context__  # Python 3.11.2 has no __cause__ here
            assert isinstance(canceled, asyncio.CancelledError)
            [receipt] = canceled.receipts      # type: ignore[attr-defined]
            assert receipt.refused == {KENJI: CUT_OFF} and smtp.connection is None

    assert 3.0 <= run(main())[1] < 3.1


def test_whoever_waits_for_a_turn_may_leave_and_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        office = Office()
        lines = server_in_memory(monkeypatch, office.conversation)
        async with AsyncClient("mx.tokyo.example") as smtp:
            first, second = (asyncio.create_task(smtp.send_message(letter(name))) for name in ("one", "two"))
            await asyncio.sleep(0)
            second.cancel()
            assert (await first).accepted == [KENJI]
            with pytest.raises(asyncio.CancelledError) as canceled:
                await second
            assert not hasattr(canceled.value, "receipts"), "it has begun nothing"
            assert not lines[0].closed and (await smtp.noop()).positive
        assert office.acknowledged == Counter([("one", KENJI)])

    run(main())


def test_tasks_may_share_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        office = Office()
        server_in_memory(monkeypatch, office.conversation)
        async with AsyncClient("mx.tokyo.example") as smtp:
            async with asyncio.TaskGroup() as group:
                for number in range(10):
                    group.create_task(smtp.send_message(letter(str(number))))
                    group.create_task(smtp.noop())
        assert office.acknowledged == Counter((str(number), KENJI) for number in range(10))

    run(main())


# --- time ------------------------------------------------------------------------------------------------------------


class Silent:
    """A server of 1982 that falls silent at one verb, the greeting with ""."""

    def __init__(self, verb: str) -> None:
        self.verb = verb

    def __call__(self) -> Conversation[None]:
        if self.verb:
            yield Reply(220, "mx.tokyo.example")
        while (line := (yield Line(timeout=1e6))).decode().partition(" ")[0] != self.verb:
            if line != b"x":
                yield Reply(354 if line == b"DATA" else 250, "go on")
        yield Line(timeout=1e6)


@pytest.mark.parametrize(("verb", "seconds"), [("", 300), ("EHLO", 300), ("MAIL", 300), ("RCPT", 300), ("DATA", 120),
                                               (".", 600)])
@pytest.mark.parametrize("timeout", [None, 7.0])
def test_a_silent_server_is_waited_for_as_long_as_the_rfc_says(verb: str, seconds: float, timeout: float | None,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Any:
        server_in_memory(monkeypatch, Silent(verb))
        smtp = AsyncClient("mx.tokyo.example", timeout=timeout, extensions=[])
        with pytest.raises(SMTPTimeout) as late:
            async with smtp:
                await smtp.sendmail(ANA, KENJI, b"x\r\n")
        assert smtp.connection is None
        return late.value

    error, passed, _ = run(main())
    assert passed == pytest.approx(timeout or seconds)
    assert isinstance(error, TimeoutError)
    known = [(receipt.refused_by, receipt.unknown) for receipt in error.receipts]
    assert known == ([] if verb in ("", "EHLO") else [("", [KENJI])] if verb == "." else [("line", [])])


def test_a_reply_that_trickles_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    def conversation() -> Conversation[None]:
        yield b"220-"
        yield Line(timeout=1e6)

    async def main() -> None:
        lines = server_in_memory(monkeypatch, conversation)
        smtp = AsyncClient("mx.tokyo.example")
        task, ended = asyncio.create_task(smtp.connect()), list[float]()
        task.add_done_callback(lambda _: ended.append(asyncio.get_running_loop().time()))
        for _ in range(40):
            await asyncio.sleep(10.0)
            if task.done():
                break
            lines[0].hand_over(b"mx\r\n220-")
        with pytest.raises(SMTPTimeout):
            await task
        assert ended == [pytest.approx(300.0)]

    run(main())


def test_a_line_that_takes_nothing_has_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[Receipt]:
        server_in_memory(monkeypatch, Office().conversation, takes=100_000)
        smtp = AsyncClient("mx.tokyo.example", extensions=[])
        with pytest.raises(SMTPTimeout) as late:
            async with smtp:
                await smtp.sendmail(ANA, KENJI, b"line\r\n" * 100_000)
        return list(late.value.receipts)

    [receipt], passed, _ = run(main())
    assert passed == pytest.approx(180.0) and receipt.refused == {KENJI: CUT_OFF}


def test_a_large_body_leaves_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> int:
        server_in_memory(monkeypatch, Office().conversation)
        turns, over = 0, False

        async def other() -> None:
            nonlocal turns
            while not over:
                await asyncio.sleep(0)
                turns += 1

        async with AsyncClient("mx.tokyo.example", extensions=[]) as smtp, asyncio.TaskGroup() as group:
            group.create_task(other())
            await smtp.sendmail(ANA, KENJI, b"line\r\n" * 500_000)
            over = True
        return turns

    assert run(main())[0] > 20


# --- over sockets ----------------------------------------------------------------------------------------------------


def test_tls_and_auth_and_every_command() -> None:
    async def main(server: Server, **options: Any) -> None:
        async with AsyncClient("localhost", server.address[1], timeout=20, **options) as smtp:
            assert (await smtp.send_message(letter())).accepted == [KENJI]
            assert smtp.session.secure and smtp.session.user == "ana" and smtp.has_extn("size")
            assert (await smtp.ehlo()).code == 250 and (await smtp.rset()).code == 250
            assert (await smtp.verify(KENJI)).code == 252 and (await smtp.docmd("HELP")).code == 214
            with pytest.raises(ValueError, match="already"):
                await smtp.connect("localhost", server.address[1])
            assert (await smtp.quit()).code == 221

    users = Passwords({"ana": "mango"})
    for implicit in (False, True):
        with Server(tls=TLS.server, implicit_tls=implicit, users=users, require_auth=True) as server:
            asyncio.run(main(server, tls=TLS.client, implicit_tls=implicit, user="ana", password="mango"), debug=True)
            assert server.messages[0].envelope.protocol == "ESMTPSA"


def test_starttls_and_login_by_hand() -> None:
    async def main(server: Server) -> str:
        async with AsyncClient("localhost", server.address[1], timeout=20) as smtp:
            await smtp.starttls(TLS.client)
            return await smtp.login("ana", "mango")

    with Server(tls=TLS.server, users=Passwords({"ana": "mango"})) as server:
        assert asyncio.run(main(server)) in ("CRAM-MD5", "PLAIN", "LOGIN")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_belongs_to_one_event_loop() -> None:
    """"Event loop is closed" named nothing to be done, and a loop that was gone kept the client from being closed."""
    with Server() as server:
        smtp = AsyncClient(*server.address, timeout=20)
        asyncio.run(smtp.connect())
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(smtp.noop())
        smtp.close()                           # there is nobody any more who could hang up

        async def again() -> Reply:
            async with smtp:
                return await smtp.noop()

        assert asyncio.run(again()).code == 250


@pytest.mark.parametrize("password", ["", "man\0go", "man\ud800go"])
def test_a_password_that_cannot_be_said_costs_no_connection(password: str) -> None:
    async def main(server: Server) -> str:
        async with AsyncClient(*server.address, timeout=20) as smtp:
            with pytest.raises(ValueError):
                await smtp.login("ana", password, insecure=True)
            return await smtp.login("ana", "mango", insecure=True)

    with Server(users=Passwords({"ana": "mango"}), insecure_auth=True) as server:
        with Client(*server.address, timeout=20) as smtp:
            with pytest.raises(ValueError):
                smtp.login("ana", password, insecure=True)
            assert smtp.login("ana", "mango", insecure=True) == asyncio.run(main(server)) == "PLAIN"


def test_whoever_is_not_connected_is_told_so_at_login() -> None:
    with pytest.raises(SMTPServerDisconnected, match="connect first"):
        Client().login("ana", "mango")


async def from_afar() -> str:
    await asyncio.sleep(0)
    return "mango"


class Fetcher:
    """Somebody's object that fetches tokens."""

    async def __call__(self) -> str:
        return await from_afar()


TOKENS = {"str": "mango", "function": lambda: "mango", "async function": from_afar, "async object": Fetcher(),
          "function with an awaitable": lambda: from_afar()}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_tokens(token: Any) -> None:
    async def main(server: Server) -> None:
        async with AsyncClient("localhost", server.address[1], timeout=20, tls=TLS.client, user="ana",
                               token=token) as smtp:
            assert (await smtp.noop()).positive and smtp.session.user == "ana"

    with Server(tls=TLS.server, users=Tokens(lambda user, token: token == "mango")) as server:
        asyncio.run(main(server))


def test_a_token_is_fetched_for_each_connection_and_none_is_no_connection() -> None:
    fetched = ["mango", "mango"]

    async def fetch() -> str:
        await asyncio.sleep(0)
        return fetched.pop()

    async def main(server: Server) -> None:
        smtp = AsyncClient("localhost", server.address[1], timeout=20, tls=TLS.client, user="ana", token=fetch)
        for _ in range(2):
            async with smtp:
                assert smtp.session.user == "ana"
        with pytest.raises(IndexError):
            await smtp.connect()
        assert smtp.connection is None

    with Server(tls=TLS.server, users=Tokens(lambda user, token: token == "mango")) as server:
        asyncio.run(main(server))


def test_an_async_token_needs_somebody_to_wait_for_it() -> None:
    with pytest.raises(TypeError, match="AsyncClient"):
        Client(user="ana", token=from_afar, insecure_auth=True)


def test_a_large_letter_through_either_stage() -> None:
    body = b"0123456789" * 6 + b"\r\n"
    for stage in ("threads", "loop"):
        with Server(stage=stage) as server:
            async def main(where: tuple[str, int]) -> None:
                for extensions in ([], client_extensions()):
                    async with AsyncClient(*where, extensions=extensions) as smtp:
                        assert (await smtp.sendmail(ANA, KENJI, body * 200_000)).accepted

            asyncio.run(main(server.address))
            assert [len(one.data) for one in server.messages] == [62 * 200_000] * 2


def test_the_last_words_of_a_server_that_leaves_in_a_body_are_heard() -> None:
    """A transport of asyncio that cannot send any more does not read any more; we do."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        sock, _ = listener.accept()
        with sock, sock.makefile("rb") as lines:
            sock.sendall(b"220 mx\r\n")
            for line in lines:
                sock.sendall(b"354 go on\r\n" if line == b"DATA\r\n" else b"250 ok\r\n")
                if line == b"DATA\r\n":
                    lines.readline()
                    sock.sendall(b"421 4.3.2 leaving\r\n")
                    return                      # with octets unread: the line is reset

    async def main() -> Any:
        with pytest.raises(SMTPServerDisconnected) as left:
            async with AsyncClient(*listener.getsockname(), extensions=[], timeout=20) as smtp:
                await smtp.sendmail(ANA, KENJI, (b"line\r\n" * 20_000 for _ in range(500)))
        return left.value

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        error = asyncio.run(main())
    thread.join(20)
    [receipt] = error.receipts
    assert list(receipt.refused) == [KENJI] and receipt.refused_by == "line", "its end was never said"
    assert error.reply is None or error.reply.code == 421      # a reset may overtake it; what has come is heard


def test_what_came_before_the_line_broke_is_heard() -> None:
    """The same without a race: octets that are there already when writing fails."""
    ours, theirs = socket.socketpair()

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: AsyncConnection("C"), sock=ours)
        connection.transport.pause_reading()
        theirs.sendall(b"421 leaving\r\n")
        theirs.close()
        await connection.send(b"half a body")
        await asyncio.wait_for(connection.gone.wait(), 20)
        return connection.channel.inbox.octets(100)

    assert asyncio.run(main()) == b"421 leaving\r\n"


def test_refusals_and_nobody_there() -> None:
    async def main() -> None:
        with Server(accept_recipient=lambda address, envelope: Reply(550, "no")) as server:
            async with AsyncClient("{}:{}".format(*server.address)) as smtp:
                with pytest.raises(SMTPRecipientsRefused) as refused:
                    await smtp.send_message(letter())
                assert refused.value.receipt and (await smtp.noop()).positive
        with pytest.raises(OSError, match=r".+"):
            await AsyncClient().connect(*server.address)
        with pytest.raises(ValueError, match="twice"):
            await AsyncClient().connect("127.0.0.1:25", 25)

    asyncio.run(main())


def test_aiosmtpd_takes_what_we_send() -> None:
    async def main(where: tuple[str, int]) -> list[Receipt]:
        async with AsyncClient(*where, timeout=20) as smtp:
            return [await smtp.send_message(letter("one")), *[receipt async for receipt in smtp.send_messages(
                [letter("two"), letter("three", "li@beijing.example, kenji@tokyo.example")])]]

    with aiosmtpd_server() as theirs:
        receipts = asyncio.run(main(theirs.address))
    assert [len(receipt.accepted) for receipt in receipts] == [1, 1, 2]


def test_a_canceled_task_of_asyncio_run_leaves_nothing(recwarn: pytest.WarningsRecorder) -> None:
    async def main(where: tuple[str, int]) -> None:
        async with AsyncClient(*where) as smtp:
            async for _ in smtp.send_messages(letter(str(number)) for number in range(1000)):
                task = asyncio.current_task()
                assert task
                task.cancel()

    with Server() as server, pytest.raises(asyncio.CancelledError):
        asyncio.run(main(server.address), debug=True)
    assert not [str(warning.message) for warning in recwarn]


# --- several sessions ------------------------------------------------------------------------------------------------


class Busy:
    """A deliver that knows how many it is asked for at a time."""

    def __init__(self) -> None:
        self.now, self.most, self.lock = 0, 0, threading.Lock()

    def __call__(self, envelope: Envelope, body: Any) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        body.read()
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize("sessions", [1, 3])
def test_receipts_are_in_the_order_of_the_messages(sessions: int) -> None:
    busy = Busy()
    with Server(deliver=busy) as server:
        receipts = asyncio.run(send_all(server.address, [letter(to=f"{n}@x.example") for n in range(30)],
                                        sessions=sessions))
    assert [receipt.accepted for receipt in receipts] == [[f"{n}@x.example"] for n in range(30)]
    assert busy.most <= sessions


def test_messages_are_asked_for_one_at_a_time_and_no_session_is_opened_in_vain() -> None:
    async def some() -> AsyncIterator[EmailMessage]:
        for number in range(2):
            await asyncio.sleep(0)
            yield letter(str(number))

    greeted: list[Any] = []
    with Server(tap=lambda said: greeted.append(said) if said.data.startswith(b"220") else None) as server:
        receipts = asyncio.run(send_all("{}:{}".format(*server.address), some(), sessions=50))
    assert len(receipts) == 2 and 1 <= len(greeted) <= 2
    assert asyncio.run(send_all(server.address, [])) == [], "nobody is called: the server has gone"


def test_a_server_that_lets_in_fewer_is_no_error() -> None:
    with Server(max_connections_per_address=1) as server:
        receipts = asyncio.run(send_all(server.address, [letter(str(n)) for n in range(20)], sessions=5))
    assert len(receipts) == 20 and all(receipt.accepted for receipt in receipts)


def test_a_server_that_lets_in_nobody_is_one() -> None:
    with Server(max_connections=1) as server, Client(*server.address):
        with pytest.raises(SMTPServerDisconnected, match="too many") as refused:
            asyncio.run(send_all(server.address, [letter(str(n)) for n in range(20)], sessions=5))
    assert refused.value.receipts == []
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(send_all(server.address, [letter()]))


def test_a_session_that_breaks_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(at=4, how="421")            # the first session's fifth reply
    server_in_memory(monkeypatch, office.conversation)
    batch: Batch = [(str(number), [KENJI]) for number in range(20)]
    with pytest.raises(SMTPServerDisconnected) as left:
        run(send_all("mx.tokyo.example", letters(batch), sessions=3))
    receipts = left.value.receipts
    assert len(receipts) == 20
    assert {subject for subject, _ in office.acknowledged} == {
        subject for (subject, _), receipt in zip(batch, receipts, strict=True) if receipt.accepted}
    assert 1 <= sum(receipt.refused_by == "line" for receipt in receipts) <= 2


@pytest.mark.parametrize("source", ["breaks", "is no message"])
def test_messages_that_cannot_be_had_end_it_with_the_receipts(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def some() -> Iterator[Any]:
        yield from letters([("one", [KENJI]), ("two", [KENJI])])
        if source == "breaks":
            raise KeyError("three")
        yield "three"

    office = Office()
    server_in_memory(monkeypatch, office.conversation)
    with pytest.raises((KeyError, TypeError)) as broken:
        run(send_all("mx.tokyo.example", some(), sessions=2))
    assert [receipt.accepted for receipt in broken.value.receipts] == [[KENJI]] * 2  # type: ignore[union-attr]
    assert len(office.acknowledged) == 2


def test_receipts_in_an_error_are_in_order_without_what_was_not_begun() -> None:
    some: list[Any] = [letter(to=f"{n}@x.example") for n in range(10)]
    some[3] = "no message"
    with Server() as server, pytest.raises(TypeError) as broken:
        asyncio.run(send_all(server.address, some, sessions=2))
    receipts = broken.value.receipts  # type: ignore[attr-defined]
    assert [receipt.accepted for receipt in receipts] == [[f"{n}@x.example"] for n in range(10) if n != 3]


def test_canceled_in_any_turn_it_accounts_for_all_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    batch: Batch = [(str(number), [KENJI]) for number in range(6)]

    def canceled_in(turn: int | None) -> int:
        office = Office()
        lines = server_in_memory(monkeypatch, office.conversation)
        try:
            receipts, _, turns = run(send_all("mx.tokyo.example", letters(batch), sessions=2), turn)
        except asyncio.CancelledError as error:
            receipts, turns = list(getattr(error, "receipts", [])), 0
        assert all(line.closed for line in lines)
        assert set(office.acknowledged) >= {(str(number), KENJI) for number, receipt in enumerate(receipts)
                                            if receipt.accepted}
        assert {int(subject) for subject, _ in office.acknowledged} <= set(range(len(receipts)))
        return turns

    for turn in range(canceled_in(None)):
        canceled_in(turn)


@pytest.mark.parametrize("sessions", [0, -1])
def test_no_session_is_no_number_of_sessions(sessions: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        asyncio.run(send_all("mx.tokyo.example", [], sessions=sessions))


def test_options_that_contradict_each_other_are_told_as_they_are() -> None:
    with pytest.raises(ValueError, match="no password"):
        asyncio.run(send_all("mx.tokyo.example", [letter()], user="ana"))


@pytest.mark.parametrize("who, word", [("S", b"220"), ("S", b"250 2.6.0"), ("C", b"MAIL")])
def test_a_tap_that_raises_is_heard_as_with_client(who: str, word: bytes, caplog: pytest.LogCaptureFixture) -> None:
    def tap(said: Said) -> None:
        if said.role == who and word in said.data:
            raise LookupError("the tap is broken")

    async def main() -> None:
        async with AsyncClient(*server.address, tap=tap) as smtp:
            await smtp.sendmail(ANA, KENJI, "hello")

    with Server() as server:
        with pytest.raises(LookupError, match="the tap is broken"):
            asyncio.run(main())
        with pytest.raises(LookupError, match="the tap is broken"), Client(*server.address, tap=tap) as smtp:
            smtp.sendmail(ANA, KENJI, "hello")
    assert "Fatal error" not in caplog.text


def test_a_connection_hears_what_a_conversation_makes_of_an_end() -> None:
    """The stage itself: Disconnected is thrown into the conversation, which still decides what it returns."""
    ours, theirs = socket.socketpair()

    def conversation() -> Conversation[str]:
        try:
            return (yield Line()).decode()
        except Disconnected:
            return "gone"

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: AsyncConnection("C"), sock=ours)
        theirs.sendall(b"one\r\ntwo\r\n")
        theirs.close()
        found = [await connection.play(conversation()) for _ in range(3)]
        connection.close()
        await connection.gone.wait()
        return found

    assert asyncio.run(main()) == ["one", "two", "gone"]

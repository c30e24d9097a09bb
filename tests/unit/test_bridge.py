"""A server whose functions are async: they run in the event loop of whoever started it, and sessions wait for them."""
from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import IO, Any

import pytest

from smtp_from_scratch import (
    AsyncClient,
    Client,
    Envelope,
    Passwords,
    Reply,
    Server,
    SMTPDataError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    Submission,
)
from smtp_from_scratch.rules import ask_policy

ANA, KENJI = "ana@rio.example", "kenji@tokyo.example"
TEXT = b"From: ana@rio.example\r\nSubject: Mangoes\r\n\r\nThey are ripe.\r\n"


async def yes(*_: object) -> None:
    await asyncio.sleep(0)


class Async:
    async def __call__(self, *_: object) -> None: ...


async def send(server: Server, *people: str, sender: str = ANA, **options: Any) -> Any:
    async with AsyncClient(*server.address, timeout=20, **options) as smtp:
        return await smtp.sendmail(sender, people or [KENJI], TEXT)


# --- where they run --------------------------------------------------------------------------------------------------


def test_everything_may_be_async_and_runs_in_the_loop() -> None:
    seen: list[tuple[str, object, bytes]] = []

    def noting(name: str, answer: Any = None) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def function(*arguments: Any) -> Any:
            octets = arguments[1].read() if name == "deliver" else b""
            await asyncio.sleep(0)
            seen.append((name, asyncio.get_running_loop(), octets))
            return answer

        return function

    async def main() -> None:
        async with Server(deliver=noting("deliver", {KENJI: Reply(250, "kept")}), accept_sender=noting("sender"),
                          accept_recipient=noting("recipient"), submission=Submission(noting("may_send", True)),
                          users=Passwords({ANA: "mango"}), insecure_auth=True, require_auth=True) as server:
            receipt = await send(server, user=ANA, password="mango", insecure_auth=True)
        assert receipt.recipients[KENJI].text == "kept"
        assert [name for name, _, _ in seen] == ["may_send", "sender", "recipient", "deliver"]
        assert {loop for _, loop, _ in seen} == {asyncio.get_running_loop()}
        assert b"Message-ID" in seen[-1][2] and seen[-1][2].endswith(b"They are ripe.\r\n")

    asyncio.run(main(), debug=True)


class Friends(set[str]):
    """Who may write and be written to: a policy with a length, which is 0, and so no truth."""

    def __call__(self, address: str, envelope: Envelope) -> Reply | None:
        return None if address in self else Reply(550, "no friend of ours")


@pytest.mark.parametrize("policy", ["accept_sender", "accept_recipient"])
@pytest.mark.parametrize("role", [{}, {"submission": Submission(lambda user, address: True)}], ids=["", "submission"])
def test_a_policy_is_asked_even_if_it_is_empty(policy: str, role: dict[str, Any]) -> None:
    with (Server(**{policy: Friends()}, **role) as server, Client(*server.address) as smtp,
          pytest.raises((SMTPSenderRefused, SMTPRecipientsRefused), match="no friend of ours")):
        smtp.sendmail(ANA, [KENJI], TEXT)


def test_plain_functions_do_not_hold_up_the_loop() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        reached.set()
        assert go_on.wait(20)

    async def main() -> None:
        async with Server(deliver=deliver) as server:
            task = asyncio.create_task(send(server))
            await asyncio.to_thread(reached.wait, 20)
            await asyncio.sleep(0)              # the loop is free
            go_on.set()
            assert (await task).accepted == [KENJI]

    asyncio.run(main())


def test_deliveries_wait_for_nobody_else_s() -> None:
    async def main() -> None:
        together = 0
        all_here = asyncio.Event()

        async def deliver(envelope: Envelope, body: IO[bytes]) -> None:
            nonlocal together
            together += 1
            if together == 10:
                all_here.set()
            await all_here.wait()

        async with Server(deliver=deliver) as server, asyncio.timeout(60):
            await asyncio.gather(*(send(server) for _ in range(10)))

    asyncio.run(main())


# --- what they answer ------------------------------------------------------------------------------------------------


async def no(*_: object) -> Reply:
    return Reply(550, "no", "5.7.1")


async def breaks(*_: object) -> Any:
    raise KeyError("broken")


async def wrong(*_: object) -> Any:
    return "250 ok"


async def false(*_: object) -> bool:
    return False


@pytest.mark.parametrize(("options", "kind", "code"), [
    ({"deliver": no}, SMTPDataError, 550), ({"deliver": breaks}, SMTPDataError, 451),
    ({"deliver": wrong}, SMTPDataError, 451), ({"accept_sender": no}, SMTPSenderRefused, 550),
    ({"accept_sender": breaks}, SMTPSenderRefused, 451), ({"accept_recipient": no}, SMTPRecipientsRefused, 550),
    ({"accept_recipient": wrong}, SMTPRecipientsRefused, 451),
    ({"submission": Submission(false)}, SMTPSenderRefused, 550),  # type: ignore[arg-type]
    ({"submission": Submission(breaks)}, SMTPSenderRefused, 451),  # type: ignore[arg-type]
])
def test_refusals_and_mistakes_are_told_as_those_of_plain_functions(options: Any, kind: Any, code: int) -> None:
    async def main() -> None:
        async with Server(**options) as server:
            with pytest.raises(kind) as refused:
                await send(server)
        [receipt] = refused.value.receipts
        assert receipt.refused[KENJI].code == code

    asyncio.run(main())


def test_a_coroutine_that_nobody_awaits_lets_nobody_in() -> None:
    """A role that is used without Server: the coroutine of an async may_send is true."""
    accept = Submission(false).accept_sender(lambda address, envelope: None)  # type: ignore[arg-type]
    with pytest.warns(RuntimeWarning, match="never awaited"):
        refusal = accept(ANA, Envelope(user="eve"))
    assert refusal and refusal.code == 550


# --- who may start it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deliver", "accept_sender", "accept_recipient"])
@pytest.mark.parametrize("function", [yes, functools.partial(yes, 1), Async()], ids=["function", "partial", "object"])
def test_threads_start_no_server_with_async_functions(name: str, function: Any) -> None:
    server = Server(**{name: function})
    with pytest.raises(TypeError, match=f"^{name}: .*async with"), server:
        pytest.fail("it has started")
    with pytest.raises(ConnectionRefusedError):
        Client(*server.address)
    with pytest.raises(TypeError, match=f"^{name} .*stage"):
        Server(stage="loop", **{name: function})


def test_nor_one_with_an_async_may_send() -> None:
    with pytest.raises(TypeError, match="^may_send: "), Server(submission=Submission(yes)):  # type: ignore[arg-type]
        pytest.fail("it has started")


@pytest.mark.parametrize("stage", ["threads", "loop"])
def test_a_server_of_plain_functions_may_be_started_either_way(stage: str) -> None:
    async def main() -> None:
        async with Server(stage=stage) as server:
            assert (await send(server)).accepted and len(server.messages) == 1

    asyncio.run(main())


# --- the end ---------------------------------------------------------------------------------------------------------


def test_a_second_start_in_the_block_is_refused_and_the_server_goes_on() -> None:
    async def main() -> None:
        kept: list[str] = []

        async def deliver(envelope: Envelope, body: IO[bytes]) -> None:
            kept.append(envelope.sender)

        async with Server(deliver=deliver) as server:
            for start in (server.start, server.__enter__):
                with pytest.raises(RuntimeError, match="answers already"):
                    start()
            with pytest.raises(RuntimeError, match="answers already"):
                await server.__aenter__()
            await send(server, KENJI)
        assert kept == [ANA]
        with pytest.raises(RuntimeError, match="has been stopped"):
            server.start()

    asyncio.run(main())


def test_serve_forever_ends_when_its_task_is_canceled_and_finishes_what_is_in_hand() -> None:
    async def main() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def deliver(envelope: Envelope, body: IO[bytes]) -> None:
            begun.set()
            await go_on.wait()

        server = Server(deliver=deliver)
        serving = asyncio.create_task(server.serve_forever())
        sending = asyncio.create_task(send(server))
        await begun.wait()
        serving.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await serving
        try:
            assert (await sending).accepted == [KENJI]
        except SMTPServerDisconnected as error:     # its QUIT came too late
            assert error.receipt and error.receipt.accepted == [KENJI]
        with pytest.raises(OSError, match=r".+"):
            await send(server)

    asyncio.run(main())


def test_a_delivery_that_never_ends_is_canceled_and_the_client_keeps_the_message() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def deliver(envelope: Envelope, body: IO[bytes]) -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append("canceled")
            raise

    async def main() -> None:
        async with Server(deliver=deliver) as server:
            stop, server.stop = server.stop, lambda grace=0.0: stop(0.1)  # type: ignore[method-assign]
            sending = asyncio.create_task(send(server))
            await begun.wait()
        with pytest.raises(SMTPServerDisconnected) as left:
            await sending
        assert left.value.receipt and left.value.receipt.unknown == [KENJI]

    asyncio.run(main())
    assert ended == ["canceled"]


def test_whoever_is_still_asked_after_the_loop_has_ended_says_so() -> None:
    """451, and no thread that waits forever."""
    server = Server(deliver=yes)

    async def begin() -> None:
        await server.__aenter__()

    asyncio.run(begin())
    try:
        with pytest.raises(SMTPDataError) as refused, Client(*server.address) as smtp:
            smtp.sendmail(ANA, KENJI, TEXT)
        assert refused.value.smtp_code == 451
    finally:
        server.stop()


@pytest.mark.parametrize("where", ["accept_sender", "accept_recipient"])
def test_a_policy_that_is_asked_after_the_block_has_ended_lets_nobody_in(where: str) -> None:
    """Its session was cut off; if it asks all the same, it neither waits nor leaves a coroutine that nobody awaits."""
    async def main() -> Reply | None:
        async with Server(**{where: yes}) as server:  # type: ignore[arg-type]
            policy = getattr(server.session("192.0.2.7"), where)
            assert await asyncio.to_thread(ask_policy, policy, ANA, Envelope()) is None
        return await asyncio.to_thread(ask_policy, policy, ANA, Envelope())

    refusal = asyncio.run(main())
    assert refusal and refusal.code == 451


@pytest.mark.parametrize("where", ["deliver", "accept_sender"])
def test_a_server_may_be_stopped_by_an_async_function_that_it_calls(where: str) -> None:
    """It waited for itself, and the event loop with it, until the grace was over."""
    async def stop(*_: object) -> None:
        server.stop(grace=60.0)

    async def main() -> Any:
        nonlocal server
        async with Server(**{where: stop}) as server:  # type: ignore[arg-type]
            try:
                return await send(server)
            except SMTPServerDisconnected as error:     # its QUIT came too late
                return error.receipt

    server: Any = None
    assert asyncio.run(main()).accepted == [KENJI]

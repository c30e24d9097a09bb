"""Many messages over several sessions at once, with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from email.message import Message
from typing import Any

from smtp_from_scratch.client import Receipt
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import Body
from smtp_from_scratch.smtp.aio import AsyncClient, Outgoing, each

Numbered = tuple[int, Message | tuple[Envelope, Body]]


class Supply:
    """Messages that several sessions take, each message once, and what came of them."""

    def __init__(self, messages: Outgoing) -> None:
        self._messages, self._turn, self._count = each(messages), asyncio.Lock(), 0
        self.returned: list[Numbered] = []      # taken, and not begun: the next to be taken
        self._receipts: dict[int, Receipt] = {}
        self.unreachable: list[Exception] = []  # why sessions could not begin
        self.broken: list[Exception] = []       # what ended sessions early

    async def take(self) -> Numbered | None:
        """The next message, with its number; None when there is none."""
        async with self._turn:
            if self.returned:
                return self.returned.pop()
            async for message in self._messages:
                self._count += 1
                return self._count, message
            return None

    def note(self, numbers: Iterable[int], receipts: Iterable[Receipt]) -> None:
        """Receipts, for the messages with these numbers."""
        self._receipts |= zip(numbers, receipts, strict=False)     # the last one may not have been begun

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts so far, in the order of the messages."""
        return [self._receipts[number] for number in sorted(self._receipts)]


async def session(client: AsyncClient, supply: Supply, first: Numbered) -> None:
    """What is said by one client, once it is connected: the first message, and whatever is left in the supply."""
    numbers, receipts = list[int](), list[Receipt]()

    async def taken() -> AsyncIterator[Message | tuple[Envelope, Body]]:
        mine: Numbered | None = first
        while mine:
            numbers.append(mine[0])
            yield mine[1]
            mine = await supply.take()

    try:
        async for receipt in client.send_all(taken(), goodbye=True):
            receipts.append(receipt)
    except BaseException as error:
        receipts = getattr(error, "receipts", receipts)
        raise
    finally:
        supply.note(numbers, receipts)


async def call(address: tuple[str, int], supply: Supply, client: AsyncClient) -> None:
    """A whole session, if there is anything to send; what goes wrong is noted in the supply."""
    try:
        first = await supply.take()
        if first is None:
            return
        try:
            await client.connect(*address)
        except Exception as error:
            supply.returned.append(first)
            supply.unreachable.append(error)
        else:
            await session(client, supply, first)
    except Exception as error:
        supply.broken.append(error)
    finally:
        client.close()


async def send_all(address: str | tuple[str, int], messages: Outgoing, *, sessions: int = 4,
                   **options: Any) -> list[Receipt]:
    """Send messages over at most so many sessions at a time; returns a receipt for each, in their order.

    `messages` may be an async iterable; it is asked for the next one when a session is free. Options are those of
    `AsyncClient`. When a session ends early the others go on; then its error is raised, with all the `receipts`, in
    the same order: what is not in there, if in the middle, has not been begun. A server that lets in fewer sessions is
    no error, as long as it lets in one.
    """
    if sessions < 1:
        raise ValueError(f"sessions is a number of sessions, at least 1, and not {sessions}")
    where, supply, known = (address, 0) if isinstance(address, str) else address, Supply(messages), -1
    try:
        while len(supply.receipts) > known and not supply.broken:  # again, if what one could not begin was left
            known = len(supply.receipts)
            clients = [AsyncClient(**options) for _ in range(sessions)]
            async with asyncio.TaskGroup() as group:
                for client in clients:
                    group.create_task(call(where, supply, client))
        for error in (*supply.broken, *(supply.unreachable if supply.returned else ())):
            raise error
    except BaseException as error:
        error.receipts = supply.receipts        # type: ignore[attr-defined]
        raise
    return supply.receipts

"""Trays: nothing is lost, nothing is taken twice, and whoever waits is woken."""
from __future__ import annotations

import math
import threading
import time
from collections import deque

import pytest

from smtp_from_scratch.tray import GROUP, Tray

GUARD = 30.0                                   # seconds


def test_the_only_thread_takes_all_that_has_come_meanwhile() -> None:
    tray = Tray[int](1, GROUP)
    for items in ([1], [2, 3], [], [4]):
        tray.put(items)
    assert tray.take() == [1, 2, 3, 4]
    tray.put([5])
    assert tray.take() == [5]                  # what was put before has left nothing behind


@pytest.mark.parametrize("threads", [1, 2])
def test_where_nothing_goes_together_each_thread_takes_one(threads: int) -> None:
    tray = Tray[int](threads)
    tray.put([1, 2, 3])
    assert [tray.take() for _ in range(3)] == [[1], [2], [3]]


@pytest.mark.parametrize("sizes", [[GROUP + 1], [3 * GROUP], [1] * (2 * GROUP + 1), [GROUP - 1, 2, GROUP]])
def test_nobody_takes_too_much(sizes: list[int]) -> None:
    tray, count = Tray[int](1, GROUP), 0
    for size in sizes:
        tray.put(range(count, count + size))
        count += size
    tray.close()
    taken = list(iter(tray.take, []))
    assert [item for batch in taken for item in batch] == list(range(count))
    assert all(len(batch) == GROUP for batch in taken[:-1]) and len(taken[-1]) <= GROUP


def later(tray: Tray[int], *batches: list[int]) -> None:
    """Put one batch after the other, while somebody waits for them."""
    def work() -> None:
        for batch in batches:
            time.sleep(0.05)
            tray.put(batch)

    threading.Thread(target=work, daemon=True).start()


def test_who_came_together_is_waited_for() -> None:
    tray = Tray[int](1, GROUP, GUARD)
    tray.put([1, 2, 3])
    assert tray.take() == [1, 2, 3]
    later(tray, [4], [5], [6, 7])
    assert tray.take() == [4, 5, 6, 7]         # as many as last time, and who came with the last of them
    tray.put([8])
    tray.close()
    assert tray.take() == [8] and tray.take() == []        # nobody comes any more


def test_nobody_is_waited_for_long() -> None:
    tray = Tray[int](1, GROUP, 0.01)
    tray.put([1, 2, 3])
    tray.take()
    begun = time.monotonic()
    for item in (4, 5):
        tray.put([item])
        assert tray.take() == [item]
    assert 0.01 <= time.monotonic() - begun < GUARD


def test_who_comes_alone_waits_for_nobody() -> None:
    tray = Tray[int](1, GROUP, math.inf)
    for item in range(3):
        tray.put([item])
        assert tray.take() == [item]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_several_threads_share_it_and_each_ends(threads: int) -> None:
    tray, done = Tray[int](threads), deque[int]()

    def work() -> None:
        while batch := tray.take():
            done.extend(batch)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for start in range(0, 3000, 10):
        tray.put(range(start, start + 10 - start % 3))
    tray.close()
    for worker in workers:
        worker.join(GUARD)
        assert not worker.is_alive()
    assert sorted(done) == [number for start in range(0, 3000, 10) for number in range(start, start + 10 - start % 3)]

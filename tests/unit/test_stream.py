"""How long to wait for octets that keep coming."""
from __future__ import annotations

from smtp_from_scratch.envelope import Body, BodyCutter
from smtp_from_scratch.stream import Stream


def test_the_first_octet_may_take_the_whole_timeout() -> None:
    assert Stream(timeout=180, rate=500).deadline(now=10) == 190


def test_each_octet_earns_time_at_the_rate() -> None:
    stream = Stream(timeout=180, rate=500)
    stream.deadline(now=0)
    assert stream.earn(b"x" * 5000) == b"x" * 5000
    assert stream.deadline(now=60) == 190
    stream.earn(b"x")
    assert stream.deadline(now=120) == 190.002


def test_nobody_saves_up_more_than_one_timeout() -> None:
    stream = Stream(timeout=180, rate=500)
    stream.deadline(now=0)
    stream.earn(b"x" * 10_000_000)
    assert stream.deadline(now=1) == 181


def test_a_caller_that_says_nothing_gets_no_more_time_by_being_waited_for_again() -> None:
    body = Body(BodyCutter(), timeout=100)
    assert [body.deadline(now=now) for now in (0, 50, 99)] == [100, 100, 100]

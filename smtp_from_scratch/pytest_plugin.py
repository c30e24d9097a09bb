"""Fixtures for pytest: `smtp_server`, a running server that keeps what it is sent and fails on demand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from smtp_from_scratch.testing import FakeServer


@pytest.fixture
def smtp_server_factory() -> Iterator[Callable[..., FakeServer]]:
    """Makes servers that end with the test: `smtp_server_factory(tls=True, users={"ana": "mango"})`.

    Arguments are those of `smtp_from_scratch.testing.FakeServer`.
    """
    from smtp_from_scratch.testing import FakeServer

    with contextlib.ExitStack() as stack:
        def make(**options: Any) -> FakeServer:
            return stack.enter_context(FakeServer(**options))

        yield make


@pytest.fixture
def smtp_server(smtp_server_factory: Callable[..., FakeServer]) -> FakeServer:
    """A server on a free port: `.host`, `.port`, `.env()`; `.assert_sent(to=…)`, `.messages`; `.refuse(…)`."""
    return smtp_server_factory()

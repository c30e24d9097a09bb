"""Fixtures for pytest: `smtp_server`, a running server that keeps what it is sent and fails on demand."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from smtp_from_scratch.testing import FakeServer


SERVERS = pytest.StashKey[list["FakeServer"]]()


@pytest.fixture
def smtp_server_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., FakeServer]]:
    """Makes servers that end with the test: `smtp_server_factory(tls=True, users={"ana": "mango"})`.

    Arguments are those of `smtp_from_scratch.testing.FakeServer`.
    """
    from smtp_from_scratch.testing import FakeServer

    servers = request.node.stash.setdefault(SERVERS, [])
    with contextlib.ExitStack() as stack:
        def make(**options: Any) -> FakeServer:
            server = stack.enter_context(FakeServer(**options))
            servers.append(server)
            return server

        yield make


@pytest.fixture
def smtp_server(smtp_server_factory: Callable[..., FakeServer]) -> FakeServer:
    """A server on a free port: `.host`, `.port`, `.env()`; `.assert_sent(to=…)`, `.messages`; `.refuse(…)`."""
    return smtp_server_factory()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that failed shows what was said to its servers, those of your own fixtures, too."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.when != "call" or not report.failed or not (ours := sys.modules.get("smtp_from_scratch.testing")):
        return
    own = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, ours.FakeServer)]
    for server in dict.fromkeys([*item.stash.get(SERVERS, []), *own]):
        said = server.calls() or "(nobody called)"
        report.sections.append(("mail server at {}:{}".format(*server.address), said))

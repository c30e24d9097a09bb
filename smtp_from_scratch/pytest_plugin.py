"""A pytest fixture: `smtp_server`, a running server that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from smtp_from_scratch.smtp import Server


@pytest.fixture
def smtp_server() -> Iterator[Server]:
    """A server on a free port: send to `smtp_server.address`, look into `smtp_server.messages`."""
    from smtp_from_scratch.smtp import Server

    with Server() as server:
        yield server

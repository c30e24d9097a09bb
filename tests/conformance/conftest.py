"""What dialogues share."""
from __future__ import annotations

import pytest

from smtp_from_scratch.conformance.client.runner import Authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()

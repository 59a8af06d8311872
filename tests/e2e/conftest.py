"""One whole night, as the demo runs it; each module has its own, so that they can run side by side."""

from __future__ import annotations

import pytest
from nights import CANARY

from cli.demo import Result, deliver
from local.stack import Stack


@pytest.fixture(scope="module")
def night(stack: Stack) -> Result:
    """The warehouse holds nine business dates; NIGHT's batches are delivered, to both partners."""
    result = deliver(stack, 4000, days=9, canary=CANARY)
    assert result.failure is None
    return result

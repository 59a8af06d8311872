"""Helpers of the tests of the stand-ins."""

from __future__ import annotations

import time
from collections.abc import Callable

from azure.identity import DefaultAzureCredential

Become = Callable[[str], DefaultAzureCredential]


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition holds; a test that waits for ever is a failed one."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)

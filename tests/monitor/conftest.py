"""The pages over real storage, with batches in every state, and without a vault: no page may read one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from monitor_world import Pages, pages_on

from local.azurite import Azurite


@pytest.fixture(scope="module")
def seeded(azurite: Azurite) -> Iterator[Pages]:
    """Pages that every test of a module reads and none changes."""
    with pages_on(azurite, uuid.uuid4().hex[:8]) as pages:
        pages.every_state()
        yield pages


@pytest.fixture
def pages(azurite: Azurite) -> Iterator[Pages]:
    """Pages over empty containers."""
    with pages_on(azurite, uuid.uuid4().hex[:8]) as pages:
        yield pages


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR", "on")

"""A new trigger never starts with windows of long ago unless that is asked for; one that exists keeps its start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from infra.deploy.errors import OldStartError
from infra.deploy.source import Item
from infra.deploy.starts import with_starts

NOW = datetime(2026, 11, 29, 9, 20, tzinfo=UTC)


def trigger(start: str) -> Item:
    properties: dict[str, Any] = {
        "type": "TumblingWindowTrigger",
        "typeProperties": {"startTime": start, "interval": 1},
    }
    return Item(kind="trigger", name="hourly_window", properties=properties)


def started(written: str, live: str | None = None, start: str = "") -> str:
    item = trigger(written)
    there = {item.key: trigger(live)} if live else {}
    found: str = with_starts({item.key: item}, there, start, NOW)[item.key].properties["typeProperties"]["startTime"]
    return found


def test_new_trigger_with_an_old_start_is_refused() -> None:
    with pytest.raises(OldStartError, match="would start at 2026-11-21T00:00:00Z") as caught:
        started("2026-11-21T00:00:00Z")

    assert "--start now" in caught.value.hint


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("now", "2026-11-29T09:00:00Z"),
        ("as-written", "2026-11-21T00:00:00Z"),
        ("2026-11-25T00:00:00Z", "2026-11-25T00:00:00Z"),
    ],
)
def test_start_that_is_asked_for_is_taken(start: str, expected: str) -> None:
    assert started("2026-11-21T00:00:00Z", start=start) == expected


def test_new_trigger_with_a_young_start_needs_no_word() -> None:
    assert started("2026-11-28T00:00:00Z") == "2026-11-28T00:00:00Z"


def test_trigger_that_exists_keeps_its_start() -> None:
    assert started("2026-11-21T00:00:00Z", live="2026-01-01T00:00:00Z", start="now") == "2026-01-01T00:00:00Z"

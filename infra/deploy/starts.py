"""The first window of a tumbling trigger: a factory that is made months later must not send partners months of old files.

Azure never changes a trigger's start, so one that exists keeps its own. A new one starts where its file says, when that is not
longer ago than two days; else the start is given: now, as written, or an instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.deploy.errors import OldStartError
from infra.deploy.source import Item, Key

OLDEST = timedelta(days=2)
NOW, AS_WRITTEN = "now", "as-written"


def with_starts(wanted: Mapping[Key, Item], live: Mapping[Key, Item], start: str, now: datetime) -> dict[Key, Item]:
    """Return what should be there, each tumbling trigger with its start. Raises OldStartError."""
    return {key: _with_start(item, live.get(key), start, now) for key, item in wanted.items()}


def _with_start(item: Item, live: Item | None, start: str, now: datetime) -> Item:
    if item.kind != "trigger" or item.properties.get("type") != "TumblingWindowTrigger":
        return item
    written = str(item.properties["typeProperties"].get("startTime", ""))
    if live is not None:
        kept = live.properties.get("typeProperties", {}).get("startTime")
        return _replaced(item, str(kept)) if kept else item
    if start == AS_WRITTEN:
        return item
    if start:
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return _replaced(item, hour.strftime("%Y-%m-%dT%H:%M:%SZ") if start == NOW else start)
    if _instant(written) < now - OLDEST:
        raise OldStartError(
            f"{item.title} is new and would start at {written}: it would send everything due since then",
            "give its first window: --start now, --start 2026-11-29T00:00:00Z, or --start as-written",
        )
    return item


def _replaced(item: Item, start: str) -> Item:
    properties: dict[str, Any] = dict(item.properties)
    properties["typeProperties"] = {**properties["typeProperties"], "startTime": start}
    return replace(item, properties=properties)


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

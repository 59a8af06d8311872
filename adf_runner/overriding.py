"""A file of overrides: what a local run replaces, as JSON that can be committed beside the tests that use it.

{"globalParameters": {...}, "linkedServices": {name: typeProperties}, "outcomes": {activity: {"output": {...}}},
 "at": "2026-11-21T02:00:00Z", "waiting": "skipped" | "real"}. Everything is optional.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from adf_runner.errors import InvalidOverride
from adf_runner.factory.shapes import nearest
from adf_runner.run.records import Credential, Overrides, wall_clock

KEYS = ("globalParameters", "linkedServices", "outcomes", "at", "waiting")


class VirtualTime:
    """A clock that begins at an instant and jumps over what would be waited for."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or wall_clock()
        self._began = time.monotonic()
        self._slept = 0.0
        self._lock = threading.Lock()

    def clock(self) -> datetime:
        """Return the instant, aware and in UTC."""
        return self._start + timedelta(seconds=time.monotonic() - self._began + self._slept)

    def sleep(self, duration: float) -> None:
        """Let `duration` seconds pass at once."""
        with self._lock:
            self._slept += duration


def read_overrides(path: Path, credential: Credential | None = None) -> Overrides:
    """Read a file of overrides. Raises InvalidOverride, and OSError when there is no such file."""
    try:
        document = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise InvalidOverride(f"{path} is not JSON: {error}", "fix it there") from error
    return overrides_of(document, str(path), credential)


def overrides_of(document: Any, what: str = "the overrides", credential: Credential | None = None) -> Overrides:
    """Turn a document into overrides; waiting is skipped unless it says `real`. Raises InvalidOverride."""
    if not isinstance(document, Mapping):
        raise InvalidOverride(f"{what} must be a JSON object", f"its keys are: {', '.join(KEYS)}")
    for key in document:
        if key not in KEYS:
            raise InvalidOverride(
                f"{what}: unknown key {key!r}{nearest(str(key), list(KEYS))}", f"its keys are: {', '.join(KEYS)}"
            )
    for key in KEYS[:3]:
        if not isinstance(document.get(key, {}), Mapping):
            raise InvalidOverride(f"{what}: {key!r} must be an object", "each of its keys is a name")
    waiting = document.get("waiting", "skipped")
    if waiting not in {"skipped", "real"}:
        raise InvalidOverride(f"{what}: 'waiting' is {waiting!r}", "it is 'skipped' or 'real'")
    virtual = VirtualTime(_instant(document["at"], what) if "at" in document else None)
    return Overrides(
        global_parameters=document.get("globalParameters", {}),
        linked_services=document.get("linkedServices", {}),
        outcomes=document.get("outcomes", {}),
        credential=credential,
        clock=virtual.clock,
        sleep=virtual.sleep if waiting == "skipped" else None,
    )


def _instant(text: Any, what: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise InvalidOverride(f"{what}: 'at' is {text!r}", "write it as 2026-11-21T02:00:00Z") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

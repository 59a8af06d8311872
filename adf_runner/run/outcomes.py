"""Scripted outcomes: activities that do not run and give what the caller said, so that the logic around them can be tried."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adf_runner.errors import InvalidOverride
from adf_runner.factory.model import Factory
from adf_runner.factory.shapes import nearest
from adf_runner.run.records import ActivityRun

KEYS = {"output", "error"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of an activity gives: an output, or an error with its message and code."""

    output: Mapping[str, Any]
    error: Mapping[str, Any] | None = None

    def record(self, record: ActivityRun, name: str) -> dict[str, Any]:
        """Write the outcome into an activity's record and return what expressions see of it."""
        record.output = dict(self.output)
        if self.error is None:
            record.status = "Succeeded"
            return {"status": "Succeeded", "output": record.output}
        error = {
            "errorCode": str(self.error.get("errorCode", "Scripted")),
            "message": str(self.error["message"]),
            "failureType": str(self.error.get("failureType", "UserError")),
            "target": name,
            "details": self.error.get("details", []),
        }
        record.status, record.error = "Failed", error
        return {"status": "Failed", "output": record.output, "error": error}


class Outcomes:
    """All scripted outcomes of an engine. Raises InvalidOverride for an activity that the factory does not have."""

    def __init__(self, factory: Factory, scripted: Mapping[str, Any]) -> None:
        known = {name for pipeline in factory.pipelines.values() for each in pipeline.walk()
                 for name in (each.name, f"{pipeline.name}/{each.name}")}  # fmt: skip
        for name in scripted:
            if name not in known:
                raise InvalidOverride(
                    f"outcomes: the factory has no activity {name!r}{nearest(name, sorted(known))}",
                    "name it as Activity or pipeline/Activity",
                )
        self._lock = threading.Lock()
        self._left = {name: _read(name, value) for name, value in scripted.items()}

    def next(self, pipeline: str, activity: str) -> Outcome | None:
        """Return what this run of an activity gives; None when it runs for real."""
        with self._lock:
            left = self._left.get(f"{pipeline}/{activity}") or self._left.get(activity)
            if left is None:
                return None
            return left.pop(0) if len(left) > 1 else left[0]


def _read(name: str, value: Any) -> list[Outcome]:
    items = value if isinstance(value, list) else [value]
    if not items:
        raise InvalidOverride(f"outcomes: {name!r} has an empty list", 'give at least {"output": {}}')
    return [_one(name, item) for item in items]


def _one(name: str, item: Any) -> Outcome:
    if not isinstance(item, Mapping) or not set(item) <= KEYS or not item:
        raise InvalidOverride(
            f"outcomes: {name!r} must be an object with 'output' or 'error'", 'for example {"output": {"rows": 3}}'
        )
    output, error = item.get("output", {}), item.get("error")
    if not isinstance(output, Mapping):
        raise InvalidOverride(f"outcomes: the output of {name!r} must be an object", 'for example {"rows": 3}')
    if error is not None and (not isinstance(error, Mapping) or "message" not in error):
        raise InvalidOverride(
            f"outcomes: the error of {name!r} needs a message", 'for example {"message": "no server", "errorCode": "1"}'
        )
    return Outcome(output, error)

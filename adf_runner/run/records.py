"""The record of a run: what ran, when, with which outcome; data for the monitor table, the Gantt picture and tools.

A record never shows what secureInput and secureOutput hide; the values themselves stay inside the executor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

HIDDEN = "hidden: secureInput or secureOutput is set"


class Credential(Protocol):
    """What azure-core calls a TokenCredential."""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Return an access token with `.token` and `.expires_on`."""


def wall_clock() -> datetime:
    """Return the time of this machine, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a local run replaces, and nothing else: addresses and credentials, the clock, sleep.

    `linked_services` maps a name to typeProperties that replace those of the file. `outcomes` maps an activity, as
    `Activity` or `pipeline/Activity`, to what it gives without running: {"output": {...}} or {"error": {"message",
    "errorCode"}}, or a list of those for its runs one after the other, of which the last stays. `sleep` takes seconds;
    without one the executor waits for real, and Ctrl-C ends the wait.
    """

    global_parameters: Mapping[str, Any] = field(default_factory=dict)
    linked_services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outcomes: Mapping[str, Any] = field(default_factory=dict)
    credential: Credential | None = field(default=None, repr=False)
    clock: Callable[[], datetime] = wall_clock
    sleep: Callable[[float], None] | None = None


@dataclass(slots=True, kw_only=True)
class ActivityRun:
    """One activity that ran, was skipped or is running.

    `seconds` and `offset` (from the start of the whole run) are real time; `start` and `end` are the clock's.
    """

    name: str
    type: str
    run_id: str
    status: str = "InProgress"
    start: datetime | None = None
    end: datetime | None = None
    offset: float = 0.0
    seconds: float = 0.0
    iteration: int | None = None
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    user_properties: dict[str, Any] = field(default_factory=dict)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    children: list[ActivityRun] = field(default_factory=list)
    child_run: PipelineRun | None = None

    def walk(self) -> Iterator[ActivityRun]:
        yield self
        for child in self.children:
            yield from child.walk()

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON, in ADF's names where ADF has one."""
        found: dict[str, Any] = {
            "activityName": self.name,
            "activityType": self.type,
            "activityRunId": self.run_id,
            "status": self.status,
            "activityRunStart": _stamp(self.start),
            "activityRunEnd": _stamp(self.end),
            "durationInMs": round(self.seconds * 1000),
            "offsetInMs": round(self.offset * 1000),
            "input": self.input,
            "output": self.output,
            "error": self.error,
        }
        if self.iteration is not None:
            found["iteration"] = self.iteration
        if self.user_properties:
            found["userProperties"] = self.user_properties
        if self.attempts:
            found["attempts"] = self.attempts
        if self.child_run is not None:
            found["pipelineRunId"] = self.child_run.run_id
        if self.children:
            found["activities"] = [child.to_json() for child in self.children]
        return found


@dataclass(slots=True, kw_only=True)
class PipelineRun:
    """One run of a pipeline and, in `activities`, all that ran inside it."""

    pipeline: str
    run_id: str
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    status: str = "InProgress"
    message: str = ""
    start: datetime | None = None
    end: datetime | None = None
    seconds: float = 0.0
    activities: list[ActivityRun] = field(default_factory=list)
    return_value: dict[str, Any] = field(default_factory=dict)
    invoked_by: str = "Manual"
    hidden: frozenset[str] = frozenset()

    @property
    def shown_parameters(self) -> dict[str, Any]:
        """The parameters as a record may show them: a SecureString is hidden."""
        return {key: HIDDEN if key in self.hidden else value for key, value in self.parameters.items()}

    @property
    def succeeded(self) -> bool:
        return self.status == "Succeeded"

    def walk(self) -> Iterator[ActivityRun]:
        """Yield every activity run at any depth, parents before children."""
        for activity in self.activities:
            yield from activity.walk()

    def find(self, name: str) -> ActivityRun:
        """Return the first run of an activity at any depth; KeyError when it never came up."""
        for activity in self.walk():
            if activity.name == name:
                return activity
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        return {
            "pipelineName": self.pipeline,
            "runId": self.run_id,
            "invokedBy": self.invoked_by,
            "status": self.status,
            "message": self.message,
            "runStart": _stamp(self.start),
            "runEnd": _stamp(self.end),
            "durationInMs": round(self.seconds * 1000),
            "parameters": self.shown_parameters,
            "pipelineReturnValue": self.return_value,
            "activities": [activity.to_json() for activity in self.activities],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened: kind is `run`, `start`, `retry`, `end` (of an activity) or `done` (of a pipeline run)."""

    kind: str
    run: PipelineRun
    activity: ActivityRun | None = None
    depth: int = 0


class Listener:
    """Calls `on_event` from many threads, one event at a time. When it raises, `on_fault` is called and it hears no more."""

    def __init__(self, on_event: Callable[[Event], None] | None, on_fault: Callable[[], None]) -> None:
        self.fault: BaseException | None = None
        self._on_event = on_event
        self._on_fault = on_fault
        self._lock = threading.Lock()

    def tell(self, kind: str, run: PipelineRun, activity: ActivityRun | None = None, depth: int = 0) -> None:
        if self._on_event is None or self.fault is not None:
            return
        try:
            with self._lock:
                self._on_event(Event(kind=kind, run=run, activity=activity, depth=depth))
        except BaseException as fault:  # noqa: BLE001 - run_pipeline raises it once the run has stopped
            self.fault = fault
            self._on_fault()


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"

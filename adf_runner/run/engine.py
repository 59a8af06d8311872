"""Control flow: which activity runs when, what its outcome does to the others, and how a run ends.

Keeps the documented rules: conditions are ORed within an edge and ANDed across edges; Completed is Succeeded or Failed;
Skipped travels down; a run succeeds when every leaf does, and a skipped leaf is judged by its parents. Work itself
is done by handlers: containers.py for what holds or counts other activities, web.py, copying.py and others for the rest.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from adf_runner.errors import ActivityFailed, Cancelled, InvalidOverride
from adf_runner.expressions import NO_ITEM, ExpressionError, Scope, evaluate_tree
from adf_runner.factory import subset
from adf_runner.factory.model import Activity, Factory, Pipeline
from adf_runner.factory.shapes import check_fields
from adf_runner.run.linked_services import Services
from adf_runner.run.outcomes import Outcomes
from adf_runner.run.records import HIDDEN, ActivityRun, Event, Listener, Overrides, PipelineRun
from adf_runner.run.rules import bind, conditions_met, first_failure, span_seconds

Handler = Callable[["Call"], dict[str, Any]]
GATE_SECONDS = 0.2
# These evaluate their own properties: when, how often and for which item is what they are about.
SELF_EVALUATING = frozenset(
    {"ExecutePipeline", "ForEach", "IfCondition", "Switch", "Until", "SetVariable", "AppendVariable", "Filter", "Fail"}
)


@dataclass(slots=True, kw_only=True)
class Frame:
    """What the activities of one pipeline run share."""

    run: PipelineRun
    pipeline: Pipeline
    system: Mapping[str, Any]
    trigger: Mapping[str, Any] | None
    variables: dict[str, Any]
    depth: int
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one list of activities runs: outcomes it sees and adds to, its item, and where its records go."""

    outcomes: dict[str, Any] = field(default_factory=dict)
    item: Any = NO_ITEM
    iteration: int | None = None
    records: list[ActivityRun]
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a handler is given: its activity, evaluated properties and a way to evaluate more."""

    engine: Engine
    frame: Frame
    activity: Activity
    record: ActivityRun
    place: Place
    properties: Mapping[str, Any]
    deadline: float

    def scope(self) -> Scope:
        return self.engine.scope(self.frame, self.place)

    def evaluate(self, value: Any, path: str, scope: Scope | None = None) -> Any:
        """Evaluate more of the activity; an error names file and path."""
        return self.engine.evaluate(value, scope or self.scope(), self.activity, path)

    def pause(self, duration: float) -> None:
        self.engine.pause(duration)

    def check_time(self) -> None:
        """Raise when the run was cancelled or the activity's policy timeout has passed; copies call it between pieces."""
        self.engine.check_cancelled()
        if time.monotonic() > self.deadline:
            raise ActivityFailed(
                f"timed out after {self.activity.policy.get('timeout')}", code="Timeout", failure_type="SystemError"
            )


class Engine:
    """Runs pipelines of one factory, many at a time if need be; a pipeline's `concurrency` holds across them."""

    def __init__(
        self,
        factory: Factory,
        overrides: Overrides,
        handlers: Mapping[str, Handler],
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.factory = factory
        self.overrides = overrides
        self.listener = Listener(on_event, self.cancel)
        self.handlers: dict[str, Handler] = dict(handlers)
        self.cancelled = threading.Event()
        self.services = Services(factory, overrides)
        self.outcomes = Outcomes(factory, overrides.outcomes)
        self.started = time.monotonic()
        self.background: list[threading.Thread] = []
        self._stops: list[Callable[[], object]] = []
        self._gates = {
            pipeline.name: threading.BoundedSemaphore(pipeline.concurrency)
            for pipeline in factory.pipelines.values()
            if pipeline.concurrency
        }
        unknown = sorted(set(overrides.global_parameters) - set(factory.global_parameters))
        if unknown:
            raise InvalidOverride(f"the factory has no global parameter {unknown[0]!r}", "declare it in adf/factory/")
        self.global_parameters = {**factory.global_parameters, **overrides.global_parameters}

    def close(self) -> None:
        self.services.close()

    def cancel(self) -> None:
        """Cancel all runs: waits end, queries in the database are cancelled, copies stop at their next piece."""
        self.cancelled.set()
        for stop in list(self._stops):
            with contextlib.suppress(Exception):
                stop()

    @contextlib.contextmanager
    def cancelling(self, stop: Callable[[], object]) -> Iterator[None]:
        """Have `stop` called when the run is cancelled inside this block."""
        self._stops.append(stop)
        try:
            self.check_cancelled()
            yield
        finally:
            self._stops.remove(stop)

    def check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled

    def pause(self, duration: float) -> None:
        """Sleep as the overrides say; cancelling ends a real sleep at once."""
        self.check_cancelled()
        if self.overrides.sleep is None:
            self.cancelled.wait(duration)
        else:
            self.overrides.sleep(duration)
        self.check_cancelled()

    def evaluate(self, value: Any, scope: Scope, activity: Activity, path: str) -> Any:
        try:
            return evaluate_tree(value, scope, path)
        except ExpressionError as error:
            where = f"{activity.file}: {activity.path} {error.path}".rstrip()
            raise ActivityFailed(
                f"{where}: {error.reason}",
                error.hint,
                code="InvalidTemplate",
                details=error.caret or None,
                retriable=False,
            ) from error

    def scope(self, frame: Frame, place: Place, **changes: Any) -> Scope:
        values: dict[str, Any] = {
            "parameters": frame.run.parameters,
            "global_parameters": self.global_parameters,
            "variables": frame.variables,
            "activities": place.outcomes,
            "item": place.item,
            "system": frame.system,
            "trigger": frame.trigger,
            "now": self.overrides.clock,
        }
        return Scope(**{**values, **changes})

    # Pipelines

    def start(
        self,
        name: str,
        parameters: Mapping[str, Any],
        *,
        trigger: Mapping[str, Any] | None = None,
        parent: Frame | None = None,
        records: list[ActivityRun] | None = None,
    ) -> tuple[Pipeline, Frame]:
        """Make a run's frame; raises on unknown pipelines and on parameters that do not fit."""
        pipeline = self.factory.pipeline(name)
        values = bind(pipeline.parameters, parameters, f"pipeline {name!r}")
        now = self.overrides.clock()
        run_id = str(uuid.uuid4())
        run = PipelineRun(
            pipeline=name,
            run_id=run_id,
            parameters=values,
            hidden=frozenset(
                key for key, declared in pipeline.parameters.items() if str(declared["type"]).lower() == "securestring"
            ),
            start=now,
            activities=[] if records is None else records,
            invoked_by=parent.run.pipeline if parent else str((trigger or {}).get("name") or "Manual"),
        )
        frame = Frame(
            run=run,
            pipeline=pipeline,
            system=self._system(run, trigger, parent),
            trigger=trigger_scope(trigger),
            variables={key: variable.get("defaultValue") for key, variable in pipeline.variables.items()},
            depth=parent.depth + 1 if parent else 0,
        )
        return pipeline, frame

    def _system(self, run: PipelineRun, trigger: Mapping[str, Any] | None, parent: Frame | None) -> dict[str, Any]:
        stamp = _iso(run.start)
        system: dict[str, Any] = {
            "RunId": run.run_id,
            "Pipeline": run.pipeline,
            "DataFactory": self.factory.name,
            "GroupId": parent.system["GroupId"] if parent else run.run_id,
            "TriggerType": "PipelineActivity" if parent else str((trigger or {}).get("type") or "Manual"),
            "TriggerId": parent.run.run_id if parent else str((trigger or {}).get("id") or uuid.uuid4()),
            "TriggerName": parent.run.pipeline if parent else str((trigger or {}).get("name") or "Manual"),
            "TriggerTime": stamp,
        }
        if parent:
            system["TriggeredByPipelineName"] = parent.run.pipeline
            system["TriggeredByPipelineRunId"] = parent.run.run_id
        return system

    def run(self, pipeline: Pipeline, frame: Frame) -> PipelineRun:
        """Run a prepared frame to its end in this thread."""
        gate = self._gates.get(pipeline.name)
        while gate and not gate.acquire(timeout=GATE_SECONDS):
            if self.cancelled.is_set():
                frame.run.status = "Cancelled"
                return frame.run
        run, began = frame.run, time.monotonic()
        self.listener.tell("run", run, depth=frame.depth)
        try:
            place = Place(records=run.activities, depth=frame.depth)
            records = self.run_activities(frame, pipeline.activities, place)
            failed = first_failure(pipeline.activities, records)
            if self.cancelled.is_set():
                run.status = "Cancelled"
            elif failed is None:
                run.status = "Succeeded"
            else:
                run.status = "Failed"
                run.message = (
                    f"Operation on target {failed.name} failed: {(failed.error or {}).get('message', failed.status)}"
                )
        finally:
            if gate:
                gate.release()
            run.end, run.seconds = self.overrides.clock(), time.monotonic() - began
            self.listener.tell("done", run, depth=frame.depth)
        return run

    # Lists of activities

    def run_activities(self, frame: Frame, activities: tuple[Activity, ...], place: Place) -> dict[str, ActivityRun]:
        """Run a list to its end and return each activity's record; activities that may run together do."""
        done: dict[str, ActivityRun] = {}
        waiting = list(activities)
        ended: queue.SimpleQueue[tuple[Activity, ActivityRun | BaseException]] = queue.SimpleQueue()
        running = 0
        while waiting or running:
            ready = [activity for activity in waiting if all(edge.activity in done for edge in activity.depends_on)]
            assert ready or running, "lint refuses cycles"
            waiting = [activity for activity in waiting if activity not in ready]
            runnable = []
            for activity in ready:
                if self.cancelled.is_set() or not conditions_met(activity, done):
                    done[activity.name] = self._skip(frame, activity, place)
                else:
                    runnable.append(activity)
            alone = len(runnable) == 1 and not running
            for activity in runnable:
                if alone:
                    ended.put((activity, self._run_activity(frame, activity, place)))
                else:
                    start_thread(partial(self._run_into, ended, frame, activity, place))
                running += 1
            if not runnable and not running:
                continue
            activity, record = ended.get()
            running -= 1
            if isinstance(record, BaseException):
                self.cancel()
                raise record
            done[activity.name] = record
        return done

    def _run_into(self, ended: queue.SimpleQueue[Any], frame: Frame, activity: Activity, place: Place) -> None:
        """Run an activity and say so whatever happens: a list that waits for a dead thread would wait for ever."""
        try:
            ended.put((activity, self._run_activity(frame, activity, place)))
        except BaseException as fault:  # noqa: BLE001 - raised again by run_activities
            ended.put((activity, fault))

    def _skip(self, frame: Frame, activity: Activity, place: Place) -> ActivityRun:
        now = self.overrides.clock()
        record = ActivityRun(
            name=activity.name, type=activity.type, run_id=str(uuid.uuid4()), status="Skipped", start=now, end=now,
            offset=time.monotonic() - self.started, iteration=place.iteration,
        )  # fmt: skip
        place.records.append(record)
        self.listener.tell("end", frame.run, record, place.depth)
        return record

    def _run_activity(self, frame: Frame, activity: Activity, place: Place) -> ActivityRun:
        """Run one activity with its retries and record the outcome; never raises."""
        record = ActivityRun(
            name=activity.name, type=activity.type, run_id=str(uuid.uuid4()), start=self.overrides.clock(),
            offset=time.monotonic() - self.started, iteration=place.iteration,
        )  # fmt: skip
        place.records.append(record)
        outcome: dict[str, Any]
        if activity.inactive:
            record.status = activity.inactive_status
            outcome = {"status": record.status, "output": {}}
        elif scripted := self.outcomes.next(frame.run.pipeline, activity.name):
            self.listener.tell("start", frame.run, record, place.depth)
            outcome = scripted.record(record, activity.name)
        else:
            self.listener.tell("start", frame.run, record, place.depth)
            outcome = self._attempt(frame, activity, record, place)
        record.end = self.overrides.clock()
        record.seconds = time.monotonic() - self.started - record.offset
        if record.status in {"Succeeded", "Failed"}:
            place.outcomes[activity.name] = outcome
        self.listener.tell("end", frame.run, record, place.depth)
        return record

    def _attempt(self, frame: Frame, activity: Activity, record: ActivityRun, place: Place) -> dict[str, Any]:
        hides_input, hides_output = bool(activity.policy.get("secureInput")), bool(activity.policy.get("secureOutput"))
        tries = 1
        while True:
            began = self.overrides.clock()
            try:
                output = self._execute(frame, activity, record, place, hides_input=hides_input)
            except Cancelled:
                record.status = "Cancelled"
                return {}
            except ActivityFailed as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a fault of ours must end as a failed activity, not as a hung run
                failure = ActivityFailed(
                    f"{type(error).__name__}: {error}", code="InternalError", failure_type="SystemError"
                )
            else:
                record.status, record.output, record.error = "Succeeded", HIDDEN if hides_output else output, None
                return {"status": "Succeeded", "output": output}
            real = error_object(failure, activity.name)
            shown = {**real, "message": HIDDEN, "details": []} if hides_input or hides_output else real
            if failure.hint and shown is real:
                shown = {**real, "hint": failure.hint}  # for people; an expression sees Data Factory's error
            retries = self._retries(frame, activity, place)
            if failure.retriable and tries <= retries:
                record.attempts.append({"start": _iso(began), "end": _iso(self.overrides.clock()), "error": shown})
                self.listener.tell("retry", frame.run, record, place.depth)
                tries += 1
                try:
                    self.pause(float(activity.policy.get("retryIntervalInSeconds", 30)))
                except Cancelled:
                    record.status = "Cancelled"
                    return {}
                continue
            record.status, record.error = "Failed", shown
            record.output = HIDDEN if hides_output and failure.output else failure.output
            return {"status": "Failed", "output": failure.output or {}, "error": real}

    def _retries(self, frame: Frame, activity: Activity, place: Place) -> int:
        value = activity.policy.get("retry", 0)
        if isinstance(value, int):
            return value
        try:
            return int(self.evaluate(value, self.scope(frame, place), activity, "policy.retry"))
        except (ActivityFailed, ValueError, TypeError):
            return 0

    def _execute(
        self, frame: Frame, activity: Activity, record: ActivityRun, place: Place, *, hides_input: bool
    ) -> dict[str, Any]:
        kind = subset.ACTIVITIES[activity.type]
        scope = self.scope(frame, place)
        raw = {key: value for key, value in activity.properties.items() if activity.type not in SELF_EVALUATING}
        properties = {key: self.evaluate(value, scope, activity, key) for key, value in raw.items()}
        if activity.type not in SELF_EVALUATING:
            for path, message, _ in check_fields(properties, kind.properties, "", evaluated=True):
                raise ActivityFailed(
                    f"{activity.file}: {activity.path} {path}: {message}", code="InvalidTemplate", retriable=False
                )
        timeout = self.evaluate(activity.policy.get("timeout", "7.00:00:00"), scope, activity, "policy.timeout")
        call = Call(
            engine=self, frame=frame, activity=activity, record=record, place=place, properties=properties,
            deadline=time.monotonic() + span_seconds(timeout, "policy.timeout"),
        )  # fmt: skip
        record.input = HIDDEN if hides_input else properties
        if activity.user_properties:
            record.user_properties = self.evaluate(dict(activity.user_properties), scope, activity, "userProperties")
        return self.handlers[activity.type](call)


def error_object(error: ActivityFailed, target: str) -> dict[str, Any]:
    """Return what `activity('X').error` shows."""
    return {
        "errorCode": error.code,
        "message": error.message,
        "failureType": error.failure_type,
        "target": target,
        "details": [] if error.details is None else error.details,
    }


def trigger_scope(trigger: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what `trigger()` gives in an expression."""
    return None if trigger is None else {key: value for key, value in trigger.items() if key not in {"type", "id"}}


def _iso(moment: Any) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def start_thread(work: Callable[[], object]) -> threading.Thread:
    """Start work in a thread that does not outlive the process."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread

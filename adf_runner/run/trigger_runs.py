"""Run what a trigger would have started in a period.

Windows run oldest first, at most maxConcurrency at a time, each after the windows it depends on, with the trigger's
own retries. Windows before the period count as done, and those of other triggers only when the caller says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adf_runner.activities.table import HANDLERS
from adf_runner.errors import ActivityFailed, FactoryError, UnknownPipeline
from adf_runner.expressions import ExpressionError, Scope, evaluate_tree
from adf_runner.factory.model import Factory, Trigger
from adf_runner.factory.shapes import nearest
from adf_runner.pipeline import GRACE_SECONDS, run_in
from adf_runner.run.engine import Engine
from adf_runner.run.records import Event, Overrides, PipelineRun
from adf_runner.run.triggers import Firing, InvalidTrigger, self_dependency, waits_for

RETRY_SECONDS = 30
EVENT_TRIGGERS = ("BlobEventsTrigger", "CustomEventsTrigger")


@dataclass(slots=True, kw_only=True)
class WindowRun:
    """One firing and what came of it: status Waiting, Running, Succeeded, Failed, Cancelled, or WaitingOnDependency."""

    firing: Firing
    status: str = "Waiting"
    runs: list[PipelineRun] = field(default_factory=list)


def find_trigger(factory: Factory, name: str) -> Trigger:
    """Return a trigger by name. Raises UnknownPipeline with the nearest name."""
    if name not in factory.triggers:
        raise UnknownPipeline(
            f"no trigger {name!r} in {factory.root}{nearest(name, list(factory.triggers))}",
            f"there are: {', '.join(sorted(factory.triggers)) or 'none'}",
        )
    return factory.triggers[name]


def call_parameters(
    factory: Factory, trigger: Trigger, call: dict[str, Any], scope: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the pipeline that a trigger calls and its evaluated parameters."""
    name = call["pipelineReference"]["referenceName"]
    seen = Scope(trigger=scope, global_parameters=factory.global_parameters)
    try:
        return name, evaluate_tree(call.get("parameters", {}), seen, "parameters")
    except ExpressionError as error:
        raise ActivityFailed(f"{trigger.file}: {error}", error.hint, code="InvalidTemplate") from error


def run_trigger(
    factory: Factory,
    trigger: Trigger,
    firings: Sequence[Firing],
    overrides: Overrides,
    on_event: Callable[[Event], None] | None = None,
    on_window: Callable[[WindowRun], None] | None = None,
) -> list[WindowRun]:
    """Run all firings under the trigger's rules and return what came of each; Ctrl-C cancels what runs and starts no more.

    The windows of other triggers that it depends on are not run: they count as done.
    """
    engine = Engine(factory, overrides, HANDLERS, on_event)
    plan = _Plan(engine, trigger, [WindowRun(firing=firing) for firing in firings], on_window)
    try:
        plan.run()
    except KeyboardInterrupt:
        engine.cancel()
        plan.wind_up()
    finally:
        engine.close()
    return plan.windows


def event_runs(
    factory: Factory,
    trigger: Trigger,
    body: Mapping[str, Any],
    overrides: Overrides,
    on_event: Callable[[Event], None] | None = None,
) -> list[PipelineRun]:
    """Run what an event trigger starts for one event; triggerBody() gives its body. Raises InvalidTrigger."""
    if trigger.type not in EVENT_TRIGGERS:
        raise InvalidTrigger(f"{trigger.name} is a {trigger.type}: no event starts it", "run it with ./sealift trigger")
    scope = Firing(scheduled=overrides.clock()).scope(trigger, overrides.clock()) | {"outputs": {"body": dict(body)}}
    engine = Engine(factory, overrides, HANDLERS, on_event)
    try:
        calls = [call_parameters(factory, trigger, dict(call), scope) for call in trigger.calls]
        return [run_in(engine, name, parameters, scope) for name, parameters in calls]
    finally:
        engine.close()


class _Plan:
    """Who may run now: oldest first, within maxConcurrency, after dependencies."""

    def __init__(
        self, engine: Engine, trigger: Trigger, windows: list[WindowRun], on_window: Callable[[WindowRun], None] | None
    ) -> None:
        self.windows = windows
        self._engine = engine
        self._trigger = trigger
        self._tell = on_window or (lambda _window: None)
        self._changed = threading.Condition()
        self._running: list[threading.Thread] = []
        self._dependency = self_dependency(trigger.properties) if trigger.type == "TumblingWindowTrigger" else None
        self._most = trigger.properties.get("maxConcurrency", 1) if trigger.type == "TumblingWindowTrigger" else 1

    def run(self) -> None:
        with self._changed:
            while True:
                self._running = [thread for thread in self._running if thread.is_alive()]
                waiting = [window for window in self.windows if window.status == "Waiting"]
                ready = [window for window in waiting if self._verdict(window) == "ready"]
                if self._engine.cancelled.is_set() or (not ready and not self._running):
                    break
                if ready and len(self._running) < self._most:
                    self._start(ready[0])
                    continue
                self._changed.wait(0.5)
        self._close("Waiting", "Cancelled" if self._engine.cancelled.is_set() else "WaitingOnDependency")

    def wind_up(self) -> None:
        """Let the cancelled runs end; one that cannot be broken off ends with this process."""
        self._close("Waiting", "Cancelled")
        with self._changed:
            self._changed.wait_for(
                lambda: all(window.status != "Running" for window in self.windows), timeout=GRACE_SECONDS
            )
        self._close("Running", "Cancelled")

    def _close(self, status: str, verdict: str) -> None:
        for window in self.windows:
            if window.status == status:
                window.status = verdict
                self._tell(window)

    def _verdict(self, window: WindowRun) -> str:
        """Say whether a window is ready, or waits for one that has not succeeded."""
        if self._dependency is None:
            return "ready"
        begin, end = waits_for(window.firing, self._dependency)
        for other in self.windows:
            span = other.firing.window
            if span and other is not window and span[0] < end and span[1] > begin and other.status != "Succeeded":
                return "waits"
        return "ready"

    def _start(self, window: WindowRun) -> None:
        window.status = "Running"
        self._tell(window)
        thread = threading.Thread(target=self._work, args=(window,), daemon=True)
        self._running.append(thread)
        thread.start()

    def _work(self, window: WindowRun) -> None:
        status = "Failed"
        try:
            status = self._attempts(window)
        except FactoryError as error:
            window.runs.append(
                PipelineRun(pipeline=self._trigger.name, run_id="", status="Failed", message=error.message)
            )
        finally:
            with self._changed:
                window.status = status
                self._tell(window)
                self._changed.notify_all()

    def _attempts(self, window: WindowRun) -> str:
        policy = self._trigger.properties.get("retryPolicy", {})
        for attempt in range(policy.get("count", 0) + 1):
            if attempt:
                self._engine.pause(float(policy.get("intervalInSeconds", RETRY_SECONDS)))
            scope = window.firing.scope(self._trigger, self._engine.overrides.clock())
            runs = []
            for call in self._trigger.calls:
                name, parameters = call_parameters(self._engine.factory, self._trigger, dict(call), scope)
                runs.append(run_in(self._engine, name, parameters, scope))
            window.runs += runs
            if any(run.status == "Cancelled" for run in runs):
                return "Cancelled"
            if all(run.succeeded for run in runs):
                return "Succeeded"
        return "Failed"


# The command

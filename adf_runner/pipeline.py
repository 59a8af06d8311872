"""The entry point: run one pipeline of a factory to its end, in a thread that Ctrl-C can cancel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from adf_runner.activities.table import HANDLERS
from adf_runner.factory.model import Factory
from adf_runner.run.engine import Engine, Handler
from adf_runner.run.records import Event, Overrides, PipelineRun

WAKE_SECONDS = 0.5
GRACE_SECONDS = 10


def run_pipeline(
    factory: Factory,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    overrides: Overrides | None = None,
    on_event: Callable[[Event], None] | None = None,
    trigger: Mapping[str, Any] | None = None,
    *,
    handlers: Mapping[str, Handler] | None = None,
) -> PipelineRun:
    """Run a pipeline and return its record; a failed run is a record with status Failed, not an exception.

    `trigger` is what `trigger()` shows: {"type", "name", "scheduledTime", "startTime", "outputs": {...}}. Raises
    UnknownPipeline, InvalidParameters and InvalidOverride before anything runs. Ctrl-C ends the run
    with status Cancelled; a second Ctrl-C leaves at once (KeyboardInterrupt).
    """
    engine = Engine(factory, overrides or Overrides(), HANDLERS if handlers is None else handlers, on_event)
    try:
        return run_in(engine, name, parameters or {}, trigger)
    finally:
        engine.close()


def run_in(
    engine: Engine, name: str, parameters: Mapping[str, Any], trigger: Mapping[str, Any] | None = None
) -> PipelineRun:
    """Run a pipeline in an engine that the caller made and closes."""
    pipeline, frame = engine.start(name, parameters, trigger=trigger)
    faults: list[BaseException] = []
    done = threading.Event()  # not Thread.join: a Ctrl-C inside join marks a living thread as ended (Python 3.11)

    def work() -> None:
        try:
            engine.run(pipeline, frame)
            for thread in engine.background:
                thread.join()
        except BaseException as fault:  # noqa: BLE001 - raised again in the caller's thread
            faults.append(fault)
        finally:
            done.set()

    try:
        threading.Thread(target=work, name=f"pipeline {name}", daemon=True).start()  # waits, so Ctrl-C can hit it too
        while not done.wait(WAKE_SECONDS):
            pass
    except KeyboardInterrupt:
        engine.cancel()
        if not done.wait(GRACE_SECONDS):  # a call that cannot be broken off ends with this process
            frame.run.status = "Cancelled"
    if faults or engine.listener.fault:
        raise faults[0] if faults else engine.listener.fault  # type: ignore[misc] # one of both is there
    return frame.run

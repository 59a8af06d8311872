"""What the app logs: one JSON object per event, on one line, and the same steps as OpenTelemetry spans and metrics.

Run id, batch, file and attempt are bound once for a step and are in every event of it. Never a row, a key or a secret.
OpenTelemetry is used where it is installed; without it, only the lines are written. The platform's worker attaches the
trace to `async def` functions alone, so a step takes the caller's `traceparent` and attaches it by hand.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from types import MappingProxyType
from typing import Any

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # the app works without it
    trace = None  # type: ignore[assignment]

_logger = logging.getLogger("sealift")

# Microsoft's workers export the root logger at INFO, and each export is itself an SDK call that logs three lines, which are
# exported next: an idle worker filled the workspace's daily cap, and alerts went blind. Warnings of the SDK are kept.
logging.getLogger("azure").setLevel(logging.WARNING)
_NOTHING: Mapping[str, object] = MappingProxyType({})
_about: ContextVar[Mapping[str, object]] = ContextVar("sealift_about", default=_NOTHING)
_traceparent: ContextVar[str | None] = ContextVar("sealift_traceparent", default=None)


def log_event(event: str, **fields: object) -> None:
    """Log an event with its sizes in bytes and durations in seconds; what the step is about is added."""
    _logger.info(_line(event, fields))


def log_failure(event: str, **fields: object) -> None:
    """Log an event that somebody must look at."""
    _logger.error(_line(event, fields))


@contextmanager
def step(name: str, *, traceparent: str | None, **about: object) -> Iterator[None]:
    """Bind what a step is about, and make it a span of the caller's trace. What it raises is logged by type and raised on."""
    known = {key: value for key, value in about.items() if value is not None}
    bound = _about.set({**_about.get(), **known})
    carried = _traceparent.set(traceparent or _traceparent.get())
    started = time.monotonic()
    outcome = "raised"
    try:
        with _span(name, known):
            yield
        outcome = "done"
    except Exception as error:
        log_failure("step.raised", step=name, error=type(error).__name__)
        raise
    finally:
        _measure(time.monotonic() - started, step=name, outcome=outcome)
        _about.reset(bound)
        _traceparent.reset(carried)


def count_sealed(plaintext_bytes: int) -> None:
    """Count one sealed file."""
    if trace is not None:
        _counter("sealift.sealed.files").add(1)
        _counter("sealift.sealed.bytes", "By").add(plaintext_bytes)


def current_traceparent() -> str | None:
    """Return the trace that is going on, to be carried by a message."""
    if trace is not None and trace.get_current_span().get_span_context().is_valid:
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get("traceparent")
    return _traceparent.get()


def _span(name: str, attributes: Mapping[str, object]) -> AbstractContextManager[Any]:
    if trace is None:
        return nullcontext()
    inside = trace.get_current_span().get_span_context().is_valid
    carrier = {"traceparent": _traceparent.get() or ""}
    parent = None if inside else TraceContextTextMapPropagator().extract(carrier)
    shown = {f"sealift.{key}": str(value) for key, value in attributes.items()}
    return trace.get_tracer("sealift").start_as_current_span(name, context=parent, attributes=shown)


def _measure(seconds: float, **attributes: str) -> None:
    if trace is not None:
        _histogram("sealift.step.seconds", "s").record(seconds, attributes)


@cache
def _counter(name: str, unit: str = "") -> metrics.Counter:
    return metrics.get_meter("sealift").create_counter(name, unit)


@cache
def _histogram(name: str, unit: str) -> metrics.Histogram:
    return metrics.get_meter("sealift").create_histogram(name, unit)


def _line(event: str, fields: Mapping[str, object]) -> str:
    return json.dumps({"event": event, **_about.get(), **fields}, default=str)

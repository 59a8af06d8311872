"""What the app logs: one line an event, about which run, batch and file, inside the caller's trace."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import pytest
from batch_world import World

import batches
from batches.log import current_traceparent, step
from local.azurite import Azurite

sdk = pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(scope="module")
def telemetry() -> tuple[Any, Any]:
    """An exporter of spans and a reader of metrics: OpenTelemetry takes one of each for a whole process."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    return exporter, reader


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(record.getMessage()))

    handler = Collect()
    logging.getLogger("sealift").addHandler(handler)
    logging.getLogger("sealift").setLevel(logging.INFO)
    yield found
    logging.getLogger("sealift").removeHandler(handler)


def test_sealing_tells_run_batch_file_attempt_duration_and_bytes(world: World, lines: list[dict[str, Any]]) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)
    (message,) = world.stores.seal_queue.receive_messages()

    batches.seal_files(world.context, message.content, attempt=3)

    (event,) = [line for line in lines if line["event"] == "file.sealed"]
    assert (event["run_id"], event["batch"], event["file"], event["attempt"]) == (
        "run",
        record.batch,
        record.files[0],
        3,
    )
    assert event["plaintext_bytes"] < event["sealed_bytes"]
    assert event["seconds"] >= 0


def test_worker_continues_the_trace_of_the_request(world: World, telemetry: tuple[Any, Any]) -> None:
    exporter, reader = telemetry
    exporter.clear()
    record = world.plan()
    world.stage(record)

    with step("request", traceparent=PARENT, run_id="run"):
        world.request(record)
    world.work()

    spans = {span.name: span for span in exporter.get_finished_spans()}
    request, seal = spans["request"], spans["seal file"]
    assert f"{request.context.trace_id:032x}" == f"{seal.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == SPAN
    assert seal.parent.span_id == request.context.span_id
    assert seal.attributes["sealift.batch"] == record.batch
    names = {
        metric.name
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert names >= {"sealift.step.seconds", "sealift.sealed.files", "sealift.sealed.bytes"}


def test_trace_is_carried_without_opentelemetry_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batches.log.trace", None)

    with step("request", traceparent=PARENT):
        assert current_traceparent() == PARENT
    assert current_traceparent() is None


def test_step_that_raises_is_told_by_type_and_raised_on(lines: list[dict[str, Any]]) -> Never:
    with pytest.raises(OSError, match="secret"), step("seal file", traceparent=None, batch="b"):
        raise OSError("a text that may hold a secret")

    assert lines == [{"event": "step.raised", "batch": "b", "step": "seal file", "error": "OSError"}]


UNDER_A_LOUD_ROOT = """
import logging, os, sys
seen = []
class Export(logging.Handler):
    def emit(self, record):
        seen.append((record.name, record.levelno))
logging.getLogger().setLevel(logging.INFO)  # as Microsoft's workers do, before the app is loaded
logging.getLogger().addHandler(Export())
import function_app, batches
from azure.storage.blob import BlobServiceClient
service = BlobServiceClient.from_connection_string(os.environ["STORAGE"])
list(service.list_containers())
batches.log_failure("test.event")
logging.getLogger("azure.core").warning("kept")
logging.getLogger("encryption.vault").warning("the certificate expires")
quiet = [name for name, level in seen if name.startswith("azure") and level < logging.WARNING]
loud = [name for name, level in seen if level >= logging.WARNING]
print(quiet, loud)
"""


def test_the_app_exports_no_line_of_the_sdk_below_a_warning(azurite: Azurite, repository: Path) -> None:
    environment = os.environ | {"STORAGE": azurite.connection_string("sealiftraw")}

    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LOUD_ROOT],
        cwd=repository, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.strip() == "[] ['sealift', 'azure.core', 'encryption.vault']"

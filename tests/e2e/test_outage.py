"""The queue refuses the app in the middle of a night: the host ends, is replaced, and nothing is lost or sent twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adf_runner import Event, load_factory, run_pipeline
from cli.demo import BUSINESS_DATE, WINDOW
from cli.run import raise_if_failed
from local.partner import expected_file
from local.sample_data import load
from local.stack import HOST, ROOT, Stack
from local.wire.fault_proxy import FaultProxy
from local.wire.faults import Fault

FEEDS = {"northwind": "accruals", "cedarway": "purchases"}
FILES = {"northwind": 4, "cedarway": 5}  # with keys, manifest and signature


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A system of its own for each test: the night is played once on each."""
    with Stack() as running:
        yield running


@pytest.fixture
def proxy(stack: Stack) -> Iterator[FaultProxy]:
    """The app reaches its queues through a proxy; what a host that was cut had received comes back after seconds."""
    direct = stack.azurite.queue_url(HOST)
    with FaultProxy(direct.rpartition("/")[0], stack.ca) as proxy:
        stack.function.stop()
        stack.function.environment["AzureWebJobsStorage__queueServiceUri"] = proxy.before(direct)
        stack.function.lease_seconds = 10
        stack.function.start()
        yield proxy


class Outage:
    """From the first request to seal that was answered, the queue refuses everything for so many seconds."""

    def __init__(self, proxy: FaultProxy, seconds: float) -> None:
        self._proxy = proxy
        self._end = threading.Timer(seconds, proxy.faults.clear)
        self._lock = threading.Lock()
        self.began = False

    def __call__(self, event: Event) -> None:
        is_queued = event.kind == "end" and event.activity is not None and event.activity.name == "Seal"
        with self._lock:
            if is_queued and not self.began:
                self.began = True
                self._proxy.faults.add(Fault(status=403, times=None))
                self._end.start()


def arrived(stack: Stack, partner: str) -> Counter[str]:
    """Return how often each file was given its final name at a partner."""
    entries = stack.partners[partner].server.operations()
    return Counter(
        entry["to"] for entry in entries if entry["operation"].endswith("rename") and entry["status"] == "ok"
    )


# Data Factory tries a call four times, 30 s apart: that outlasts a minute, as 15 s outlast the short outage.
@pytest.mark.parametrize(
    ("seconds", "retry_seconds"),
    [pytest.param(12, 15, id="short"), pytest.param(60, 30, id="a minute", marks=pytest.mark.slow)],
)
def test_queue_that_refuses_in_the_middle_of_a_night_loses_nothing_and_doubles_nothing(
    stack: Stack, proxy: FaultProxy, tmp_path: Path, seconds: float, retry_seconds: float
) -> None:
    load(stack.postgres.dsn(), 4000, days=3)
    outage = Outage(proxy, seconds)
    overrides = replace(
        stack.connection().overrides(), sleep=lambda asked: time.sleep(asked if asked < 5 else retry_seconds)
    )

    run = run_pipeline(load_factory(ROOT / "adf"), "nightly", WINDOW, overrides, outage)

    raise_if_failed(run)
    assert outage.began
    assert proxy.faults.injected > 0
    assert stack.function.restarts >= 1
    assert '"message": "Host ends"' in stack.function.log.read_text()
    for name, feed in FEEDS.items():
        batch = f"{name}.{feed}.{BUSINESS_DATE}.1"
        (opened,) = stack.partners[name].open_batch(batch, stack.verification_certificate(), tmp_path / name)
        assert opened.sha256 == expected_file(stack.postgres.dsn(), name, feed, BUSINESS_DATE)[1]
        assert list(arrived(stack, name).values()) == [1] * FILES[name]
    assert list(stack.container("raw").list_blob_names()) == []

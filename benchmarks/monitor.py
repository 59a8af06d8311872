"""`./sealift bench monitor`: the overview of many feeds and the page of a batch, on Azurite, with requests to storage counted.

Partner files, records and the feeds' indexes are made first and not measured (benchmarks/monitor_history.py says how).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import yaml
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient

from batches import Context, Stores
from batches.stores import PATIENCE, RANGES
from benchmarks.monitor_history import ACCOUNT, CONTAINER, Feed, certificates, indexes, records, write_blobs
from local.azurite import Azurite

FEEDS_A_PARTNER = 4
MOST_SECONDS, MOST_WARM_SECONDS, MOST_REQUESTS, MOST_BATCH_REQUESTS, MOST_MIB = 1.0, 0.3, 250, 12, 40
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
MIB = 1024 * 1024
INSIDE, AT, FIRST = "SEALIFT_BENCH_FOLDER", "SEALIFT_BENCH_STORAGE", "SEALIFT_BENCH_FIRST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One page: wall and CPU seconds of this process, requests to storage, and the size of the answer."""

    seconds: float
    cpu_seconds: float
    requests: int
    answer_bytes: int


def main(argv: list[str]) -> int:
    """Measure; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser("sealift bench monitor", description=__doc__)
    parser.add_argument("--feeds", type=int, default=200)
    parser.add_argument("--history", type=int, default=100_000, help="batches whose records are in storage (100000)")
    arguments = parser.parse_args(argv)
    if AT in os.environ:
        with _context(os.environ[AT]) as context:
            return _measure_all(context)
    if INSIDE in os.environ:
        return _seed(Path(os.environ[INSIDE]), arguments.history)
    with tempfile.TemporaryDirectory() as folder:
        _write_partners(Path(folder) / "partners", arguments.feeds)
        # The folder of partner files is read when `partners` is imported: the app is measured in a process of its own.
        own = {INSIDE: folder, "PARTNERS_FOLDER": f"{folder}/partners", "MONITOR": "on"}
        command = [sys.executable, "-m", "benchmarks.monitor", *argv]
        return subprocess.run(command, env=os.environ | own, check=False).returncode


def _seed(folder: Path, history: int) -> int:
    """Write everything, then measure in processes that have done nothing before, on an Azurite that has nothing to save."""
    from batches import complete_recent

    feeds, began = _feeds(), time.monotonic()
    write_blobs(folder / "azurite", [*records(feeds, NOW, history), *indexes(feeds, NOW), *certificates(NOW)])
    with Azurite(folder / "azurite") as azurite:
        connection = azurite.connection_string(ACCOUNT)
        took = time.monotonic() - began
        print(f"{len(feeds)} feeds, {history} batches of history, written in {took:.0f} s", flush=True)
        _run({AT: connection, FIRST: "yes"})
        with _context(connection) as context:
            complete_recent(context, feeds)
    with Azurite(folder / "azurite") as azurite:
        return _run({AT: azurite.connection_string(ACCOUNT)})


def _run(more: dict[str, str]) -> int:
    command = [sys.executable, "-m", "benchmarks.monitor"]
    return subprocess.run(command, env=os.environ | more, check=False).returncode


def _feeds() -> list[Feed]:
    from partners import load_partners

    return [(partner.name, feed) for partner in load_partners() for feed in partner.feeds]


@contextmanager
def _context(connection: str) -> Iterator[Context]:
    with BlobServiceClient.from_connection_string(connection, **RANGES, **PATIENCE) as service:
        container = service.get_container_client(CONTAINER)
        stores = Stores(
            raw=container,
            encrypted=service.get_container_client(CONTAINER),
            batches=container,
            seal_queue=None,  # type: ignore[arg-type]  # no page has a queue
            deliver_queue=None,  # type: ignore[arg-type]
        )
        yield Context(stores=stores, vault=None, clock=lambda: NOW)  # type: ignore[arg-type]  # no page reads a vault


def _measure_all(context: Context) -> int:
    import monitor
    from batches import BatchId

    feeds = _feeds()
    batch = BatchId.of(*feeds[0], NOW.date() - timedelta(days=1), 1)

    def page(path: str, **query: str) -> Callable[[], str]:
        return lambda: monitor.answer(context, path=path, query=query, key=None).body

    before = psutil.Process().memory_info().rss
    overview = _measure(page(""))
    if FIRST in os.environ:
        _show({"before the timer's look": overview})
        return 0
    warm, listing = _measure(page("")), _measure(page("batches"))
    one, partner = _measure(page(f"batch/{batch}")), _measure(page(f"partner/{feeds[0][0]}"))
    again = _measure(page("", fresh="1"))
    grown = (psutil.Process().memory_info().rss - before) / MIB
    assert f"<h1>{batch}</h1>" in page(f"batch/{batch}")(), "the batch is there"
    _show(
        {
            "overview, first time": overview,
            "again within 15 s": warm,
            "again after 15 s": again,
            "batches": listing,
            "a batch": one,
            "a partner": partner,
        }
    )
    print(f"memory grew by {grown:.0f} MiB; load of this machine {os.getloadavg()[0]:.1f}")
    bars = {
        f"overview under {MOST_SECONDS} s": overview.seconds < MOST_SECONDS,
        f"overview again under {MOST_WARM_SECONDS} s": warm.seconds < MOST_WARM_SECONDS,
        f"overview with at most {MOST_REQUESTS} requests": overview.requests <= MOST_REQUESTS,
        f"a batch with at most {MOST_BATCH_REQUESTS} requests": one.requests <= MOST_BATCH_REQUESTS,
        f"memory grows by less than {MOST_MIB} MiB": grown < MOST_MIB,
    }
    for name, is_met in bars.items():
        print(f"{'met   ' if is_met else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


def _show(pages: dict[str, Measured]) -> None:
    print(f"{'page':<24}{'seconds':>9}{'CPU':>9}{'requests':>10}{'KiB':>8}")
    for name, each in pages.items():
        print(
            f"{name:<24}{each.seconds:>9.2f}{each.cpu_seconds:>9.2f}{each.requests:>10}{each.answer_bytes // 1024:>8}"
        )
    sys.stdout.flush()


def _measure(page: Callable[[], str]) -> Measured:
    with _counted() as sent:
        began, cpu = time.monotonic(), time.process_time()
        body = page()
        seconds, used = time.monotonic() - began, time.process_time() - cpu
    return Measured(seconds=seconds, cpu_seconds=used, requests=len(sent), answer_bytes=len(body.encode()))


@contextmanager
def _counted() -> Iterator[list[str]]:
    """Count what leaves this process towards storage."""
    sent: list[str] = []
    send = RequestsTransport.send

    def counting(self: RequestsTransport, request: Any, **options: Any) -> Any:
        sent.append(request.url)
        return send(self, request, **options)

    RequestsTransport.send = counting  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        RequestsTransport.send = send  # type: ignore[method-assign]


def _write_partners(folder: Path, feeds: int) -> None:
    from partners.loading import FOLDER

    folder.mkdir()
    document = yaml.safe_load((FOLDER / "northwind.yaml").read_text())
    model = document["feeds"]["accruals"]
    for number in range(-(-feeds // FEEDS_A_PARTNER)):
        names = [f"feed-{each}" for each in range(min(FEEDS_A_PARTNER, feeds - number * FEEDS_A_PARTNER))]
        files = {name: {**model, "file_name": f"{name}_{{date:%Y%m%d}}_{{sequence:06d}}.txt"} for name in names}
        for feed in files.values():
            feed["expected"] = {**feed["expected"], "since": (NOW - timedelta(days=365)).date()}
        partner = {**document, "name": f"partner-{number:03d}", "feeds": files}
        (folder / f"{partner['name']}.yaml").write_text(yaml.safe_dump(partner))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

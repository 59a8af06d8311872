"""`./sealift bench monitor`: the overview of many feeds and the page of a batch, on Azurite, with requests to storage counted.

Partner files, records and `recent.json` are made first and not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import yaml
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerClient

from local.azurite import Azurite

FEEDS_A_PARTNER = 4
MOST_SECONDS, MOST_WARM_SECONDS, MOST_REQUESTS, MOST_BATCH_REQUESTS, MOST_MIB = 1.0, 0.3, 250, 12, 40
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
MIB = 1024 * 1024
INSIDE = "SEALIFT_BENCH_FOLDER"


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
    if INSIDE in os.environ:
        return _inside(Path(os.environ[INSIDE]), arguments.history)
    with tempfile.TemporaryDirectory() as folder:
        _write_partners(Path(folder) / "partners", arguments.feeds)
        # The folder of partner files is read when `partners` is imported: the app is measured in a process of its own.
        own = {INSIDE: folder, "PARTNERS_FOLDER": f"{folder}/partners", "MONITOR": "on"}
        command = [sys.executable, "-m", "benchmarks.monitor", *argv]
        return subprocess.run(command, env=os.environ | own, check=False).returncode


def _inside(folder: Path, history: int) -> int:
    with Azurite(folder / "azurite", in_memory=True) as azurite:
        connection = azurite.connection_string("sealiftencrypted")
        with BlobServiceClient.from_connection_string(connection) as service:
            return _measure_all(service, history)


def _measure_all(service: BlobServiceClient, history: int) -> int:
    import monitor
    from batches import Context, Stores
    from batches.certificates import InUse, remember_certificates
    from partners import load_partners

    container = service.create_container("batches")
    stores = Stores(
        raw=container,
        encrypted=service.create_container("encrypted"),
        batches=container,
        seal_queue=None,  # type: ignore[arg-type]  # no page has a queue
        deliver_queue=None,  # type: ignore[arg-type]
    )
    context = Context(stores=stores, vault=None, clock=lambda: NOW)  # type: ignore[arg-type]  # no page reads a vault
    for partner in load_partners():
        used = InUse(purpose="partner", secret=partner.certificate, expires=NOW + timedelta(days=40))
        remember_certificates(context, partner.name, (used,))
    batch = _write_history(container, history)

    def page(path: str) -> Callable[[], str]:
        return lambda: monitor.answer(context, path=path, query={}, key=None).body

    before = psutil.Process().memory_info().rss
    cold, warm = _measure(page("")), _measure(page(""))
    listing, one = _measure(page("batches")), _measure(page(f"batch/{batch}"))
    grown = (psutil.Process().memory_info().rss - before) / MIB
    print(f"{'page':<24}{'seconds':>9}{'CPU':>9}{'requests':>10}{'KiB':>8}")
    for name, each in (("overview", cold), ("overview again", warm), ("batches", listing), ("a batch", one)):
        print(
            f"{name:<24}{each.seconds:>9.2f}{each.cpu_seconds:>9.2f}{each.requests:>10}{each.answer_bytes // 1024:>8}"
        )
    print(f"memory grew by {grown:.0f} MiB")
    bars = {
        f"overview under {MOST_SECONDS} s": cold.seconds < MOST_SECONDS,
        f"overview again under {MOST_WARM_SECONDS} s": warm.seconds < MOST_WARM_SECONDS,
        f"overview with at most {MOST_REQUESTS} requests": cold.requests <= MOST_REQUESTS,
        f"a batch with at most {MOST_BATCH_REQUESTS} requests": one.requests <= MOST_BATCH_REQUESTS,
        f"memory grows by less than {MOST_MIB} MiB": grown < MOST_MIB,
    }
    for name, is_met in bars.items():
        print(f"{'met   ' if is_met else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


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


def _write_history(container: ContainerClient, history: int) -> str:
    """Write records and receipts of so many batches, and each feed's recent.json; return the newest batch."""
    from batches import BatchId, Record
    from batches.recent import KEPT_DAYS, Recent, Seen
    from partners import load_partners

    feeds = [(partner.name, feed) for partner in load_partners() for feed in partner.feeds]
    newest = BatchId.of(*feeds[0], NOW.date() - timedelta(days=1), 1)

    def one(at: int) -> None:
        partner, feed = feeds[at % len(feeds)]
        batch = BatchId.of(partner, feed, NOW.date() - timedelta(days=1 + at // len(feeds)), 1)
        planned = NOW - timedelta(days=at // len(feeds))
        record = Record(
            batch=batch, sequence=1, window_start=planned, window_end=planned, planned_at=planned, files=["a.txt"],
            query="select 1", format="native", route="adf", folder="/inbox",
        )  # fmt: skip
        container.upload_blob(f"{batch.folder}/batch.json", record.model_dump_json().encode())

    def index(each: tuple[str, str]) -> None:
        days = [NOW - timedelta(days=back) for back in range(KEPT_DAYS)]
        batches = [(BatchId.of(*each, day.date() - timedelta(days=1), 1), day.replace(hour=2)) for day in days]
        seen = {
            batch: Seen(
                batch=batch, state="delivered", sequence=7, route="adf", format="native", planned_at=day,
                delivered_at=day + timedelta(minutes=9), files=1, rows=31_000, bytes=2_400_000,
            )
            for batch, day in batches
        }  # fmt: skip
        content = Recent(seen=seen).model_dump_json(exclude_defaults=True).encode()
        container.upload_blob(f"{each[0]}/{each[1]}/recent.json", content)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(history)))
        list(pool.map(index, feeds))
    entry = {"number": 1, "batch": newest, "step": "planned", "delivery": 1, "details": {}, "previous": None}
    container.get_blob_client(f"{newest.partner}/{newest.feed}/ledger.jsonl").upload_blob(
        json.dumps(entry).encode() + b"\n"
    )
    return str(newest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

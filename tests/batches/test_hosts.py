"""The app on real hosts: many workers on one queue, killed at random, with messages twice, strange or poisonous."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import date
from pathlib import Path

import pytest
from app_world import App, app_folder, app_settings, days, make_storage, running
from azure.storage.blob import BlobBlock
from azure.storage.queue import QueueClient
from batch_world import PARTNER_KEY, use_certificate
from staged_rows import staged_rows

import batches
from batches import BatchId, Record, Stores
from batches.accepting import SealMessage
from batches.manifest import list_sealed
from batches.record import StagedFile
from encryption import open_sealed
from local.azurite import Azurite
from local.functions_host.host import FunctionHost
from local.key_vault.server import KeyVault
from local.partner import self_signed
from local.stack import HOST
from local.wire.fault_proxy import FaultProxy
from local.wire.faults import Fault

DAYS = days(date(2023, 1, 9))
Hosts = Callable[..., App]


@pytest.fixture
def hosts(
    app_storage: tuple[Azurite, Stores],
    app_code: Path,
    key_vault: KeyVault,
    app_identity: dict[str, str],
    tmp_path: Path,
) -> Iterator[Hosts]:
    """Start any number of hosts on the same storage; a lease that a dead one leaves ends after three seconds."""
    use_certificate(key_vault, self_signed(PARTNER_KEY, "Northwind"))
    with ExitStack() as stack:

        def start(
            *, workers: int = 1, on: tuple[Azurite, Stores] = app_storage, code: Path = app_code, **storage: str
        ) -> App:
            settings = app_settings(on[0], key_vault.url, **storage) | app_identity
            folder = tmp_path / f"host-{random.randint(0, 10**9)}"
            host = FunctionHost(code, settings, folder=folder, workers=workers, lease_seconds=3)
            return stack.enter_context(running(host, on[1]))

        yield start


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[tuple[Azurite, Stores]]:
    with Azurite(tmp_path / "azurite") as storage:
        yield storage, make_storage(storage)


def content(name: str, repeats: int = 25_000) -> bytes:
    """Return a file's bytes, by default half a megabyte."""
    return name.encode() * repeats


def send_again(app: App, record: Record) -> None:
    """Put every message into the queue once more, as a queue that delivers at least once may."""
    accepted = batches.read(app.stores.batches, record.batch).staged or []
    for file in accepted:
        last = file is accepted[-1]
        message = SealMessage(version=1, batch=record.batch, files=[file], format=record.format, last=last)
        app.stores.seal_queue.send_message(message.model_dump_json())


def each_file_is_sealed_once(app: App, record: Record, repeats: int = 25_000) -> None:
    folder = f"{record.batch.folder}/"
    names = [name.removeprefix(folder) for name in app.stores.encrypted.list_blob_names(name_starts_with=folder)]
    sealed = list_sealed(app.context, record)
    assert sorted(names) == sorted([*sealed, "keys.json", "manifest.json", "manifest.json.sig"])
    assert len(sealed) == len(record.files)
    for result in sealed.values():
        data = app.stores.encrypted.download_blob(f"{folder}{result.sealed_name}").readall()
        assert b"".join(open_sealed([data], PARTNER_KEY)) == content(result.name, repeats)
    verdict = app.ok("GET", f"batches/{record.batch}/verify")
    assert verdict["ok"], verdict
    steps = [entry["step"] for entry in app.ok("GET", f"batches/{record.batch}/ledger")["entries"]]
    assert [step for step in steps if step not in ("failed", "accepted", "replayed")] == ["planned", "sealed"]


def kill_at_random(apps: list[App], kills: int, until: threading.Event) -> int:
    """SIGKILL one worker process at once, then one after the other; a host starts another each time."""
    done = 0
    while done < kills and not (done and until.wait(random.uniform(0.02, 0.25))):
        pids = random.choice(apps).host.worker_pids()
        with suppress(ProcessLookupError):  # it is dead already, and its host has not noticed yet
            if pids:
                os.kill(random.choice(pids), signal.SIGKILL)
                done += 1
    return done


def replay(app: App, batch: BatchId) -> None:
    """Let a failed batch go on, as an operator does; the last file may have been sealed while he typed."""
    for start in ("seal", "deliver"):
        answer = app.call("POST", f"batches/{batch}/replay", json={"who": "a test", "from": start})
        if answer.status_code == 202:
            return
    raise AssertionError(answer.text)


def seal_under_fire(hosts: Hosts, files: int, kills: int, repeats: int = 25_000) -> int:
    """Seal on two hosts with two workers each, every message twice, workers killed; return how many died."""
    apps = [hosts(workers=2), hosts(workers=2)]
    apps[0].patient = True
    record = apps[0].plan_many(next(DAYS), files)
    apps[0].stage(record, lambda name: content(name, repeats))
    apps[0].ok("POST", f"batches/{record.batch}/seal", json={"runId": "run-1"})
    send_again(apps[0], record)
    finished = threading.Event()
    killed: list[int] = []
    killer = threading.Thread(target=lambda: killed.append(kill_at_random(apps, kills, finished)))
    killer.start()
    try:
        while apps[0].wait(record.batch, "sealed", "failed", seconds=300) == "failed":
            # A message that was killed with its worker five times is poison: the operator's replay queues the file again.
            replay(apps[0], record.batch)
    finally:
        finished.set()
        killer.join()
    each_file_is_sealed_once(apps[0], record, repeats)
    return killed[0]


def test_two_hosts_with_killed_workers_and_doubled_messages_seal_each_file_once(hosts: Hosts) -> None:
    assert seal_under_fire(hosts, files=12, kills=5) >= 1


@pytest.mark.slow
def test_hundred_files_survive_fifty_kills(hosts: Hosts) -> None:
    assert seal_under_fire(hosts, files=100, kills=50, repeats=300_000) == 50


def test_host_that_dies_leaves_its_files_to_another(hosts: Hosts) -> None:
    first, second = hosts(), hosts()
    record = first.plan_many(next(DAYS), 6)
    first.stage(record, content)
    first.ok("POST", f"batches/{record.batch}/seal", json={})
    first.host.kill()

    second.wait(record.batch, "sealed")

    each_file_is_sealed_once(second, record)


def test_message_of_another_version_fails_the_batch_that_it_names(app: App) -> None:
    batch = app.plan(next(DAYS))["batch"]

    app.stores.seal_queue.send_message(json.dumps({"version": 9, "batch": batch, "shape": "of tomorrow"}))

    app.wait(batch, "failed")
    assert "not a seal message" in app.ok("GET", f"batches/{batch}")["failure"]["cause"]


@pytest.mark.parametrize(
    "body",
    ["not json", "{}", "[]", '{"version": 1}', '{"version": 9, "batch": "a.b.2026-01-01.1", "file": "x", "last": true}'],
    ids=["no JSON", "empty", "list", "half", "of another version"],
)  # fmt: skip
def test_strange_message_ends_in_the_log_and_holds_up_nobody(app: App, body: str) -> None:
    before = sum(1 for event in app.events() if event["event"] == "message.dropped")
    app.stores.seal_queue.send_message(body)
    plan = app.plan(next(DAYS))
    app.stores.raw.upload_blob(f"{plan['raw']['folder']}/{plan['raw']['file']}", staged_rows())
    app.ok("POST", f"batches/{plan['batch']}/seal", json={})

    assert app.wait(plan["batch"], "sealed", "failed") == "sealed"
    deadline = time.monotonic() + 60
    while sum(1 for event in app.events() if event["event"] == "message.dropped") == before:
        assert time.monotonic() < deadline, "the message was not dropped"
        time.sleep(0.1)  # between two looks, not for a time


def test_poison_message_fails_its_file_and_batch_with_a_fix(app: App) -> None:
    other = app.plan(next(DAYS))
    file = StagedFile(name=other["files"][0], etag='"0"', size_bytes=1)
    message = SealMessage(version=1, batch=other["batch"], files=[file], format="native", last=True)

    app.session.post(
        f"{app.host.url}/admin/functions/seal_poison",
        json={"input": message.model_dump_json()},
        headers={"x-functions-key": app.host.master_key},
        timeout=10,
    ).raise_for_status()

    app.wait(other["batch"], "failed")
    failure = app.ok("GET", f"batches/{other['batch']}")["failure"]
    assert "after every retry" in failure["cause"]
    assert "deliver_batch" in failure["hint"]


def test_poison_function_that_fails_is_tried_again_until_the_batch_has_failed(
    hosts: Hosts, on_disk: tuple[Azurite, Stores]
) -> None:
    azurite = on_disk[0]  # of its own: another host on these queues would not meet the fault
    with FaultProxy(azurite.blob_url("sealiftencrypted").rpartition("/")[0]) as proxy:
        app = hosts(on=on_disk, EncryptedStorage=proxy.before(azurite.connection_string("sealiftencrypted")))
        plan = app.plan(next(DAYS))
        file = StagedFile(name=plan["files"][0], etag='"0"', size_bytes=1)
        message = SealMessage(version=1, batch=plan["batch"], files=[file], format="native", last=True)
        proxy.faults.add(Fault(path=f"*/{BatchId.parse(plan['batch']).folder}/batch.json", method="PUT", status=403))
        poison = QueueClient.from_connection_string(azurite.connection_string(HOST), "seal-poison")

        poison.send_message(base64.b64encode(message.model_dump_json().encode()).decode())
        app.wait(plan["batch"], "failed")

        assert proxy.faults.injected == 1
        assert "after every retry" in app.ok("GET", f"batches/{plan['batch']}")["failure"]["cause"]
        put_off = [event for event in app.events() if event["event"] == "message.put_off"]
        assert [(event["queue"], event["attempt"]) for event in put_off] == [("seal-poison", 1)]


@pytest.mark.slow
def test_ten_thousand_files_are_one_batch(hosts: Hosts, tmp_path: Path) -> None:
    # Azurite sorts the whole queue for every receive: sixteen messages a receive keep it out of the picture.
    code = app_folder(tmp_path / "code", batchSize=16, newBatchThreshold=8)
    app, _second = hosts(code=code), hosts(code=code)
    record = app.plan_many(next(DAYS), 10_000)
    app.stage(record, lambda name: name.encode())

    started = time.monotonic()
    app.ok("POST", f"batches/{record.batch}/seal", json={"runId": "run-1"}, timeout=230)
    print(f"accepted and queued in {time.monotonic() - started:.0f} s")

    assert app.wait(record.batch, "sealed", "failed", seconds=3600, pause_seconds=5) == "sealed"
    print(f"sealed after {time.monotonic() - started:.0f} s")
    begun = time.monotonic()
    report = app.send(record.batch, "run-1")
    receipt = app.ok("POST", f"batches/{record.batch}/confirm", json=report, timeout=230)
    print(f"reported and purged in {time.monotonic() - begun:.0f} s, all in {time.monotonic() - started:.0f} s")
    assert len(receipt["files"]) == 10_003
    assert app.ok("GET", f"batches/{record.batch}/verify")["ok"]


@pytest.mark.slow
def test_memory_stays_flat_for_twenty_gibibytes(hosts: Hosts, on_disk: tuple[Azurite, Stores]) -> None:
    app = hosts(on=on_disk)
    gibibytes = int(os.environ.get("SEALIFT_TEST_GIB", "20"))
    plan = app.plan(next(DAYS))
    record = batches.read(app.stores.batches, batches.BatchId.parse(plan["batch"]))
    # One block, named again and again: storage holds eight MiB, and gives as many as were asked for.
    blob = app.stores.raw.get_blob_client(f"{record.batch.folder}/{record.files[0]}")
    blob.stage_block("0001", bytes(8 * 2**20))
    blob.commit_block_list([BlobBlock("0001")] * (gibibytes * 128))
    peak = 0

    app.ok("POST", f"batches/{record.batch}/seal", json={})
    started = time.monotonic()
    while app.state(record.batch) == "sealing":
        peak = max(peak, *(resident_bytes(pid) for pid in app.host.worker_pids()))

    assert app.state(record.batch) == "sealed"
    assert list_sealed(app.context, record)[record.sealed_name(record.files[0])].plaintext_bytes == gibibytes * 2**30
    print(f"{gibibytes} GiB in {time.monotonic() - started:.0f} s, at most {peak / 2**20:.0f} MiB in a worker")
    assert peak <= 300 * 2**20


def resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGESIZE")

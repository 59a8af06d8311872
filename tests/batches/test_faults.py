"""What storage, the vault, clocks and other workers can do to a batch: every file is sealed once, or the cause is recorded."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from batch_world import PARTNER_KEY, ROWS, World

import batches
from batches import Record, ledger
from batches.accepting import SealMessage, parse_message
from batches.sealing import fail_file
from encryption import VaultUnreachable, open_sealed
from local.azurite import Azurite
from local.wire.fault_proxy import FaultProxy
from local.wire.faults import Fault

# As in production, but without the waits.
QUICK = {"initial_backoff": 0, "increment_base": 0, "random_jitter_range": 0, "retry_total": 4}
BIG = b"0123456789abcdef" * (2**20 + 1)  # three ranges, and three blocks


@dataclass
class Faulty:
    """A world whose storage is reached through a proxy that spoils what a test names."""

    world: World
    proxy: FaultProxy

    def sealed_once(self, record: Record, data: bytes) -> None:
        """Check the end: state, bytes, chain; as seen past the proxy."""
        self.proxy.faults.clear()
        assert self.world.status(record)["state"] == "sealed"
        folder = f"{record.batch.folder}/"
        names = [n.removeprefix(folder) for n in self.world.stores.encrypted.list_blob_names(name_starts_with=folder)]
        assert sorted(names) == sorted(
            [*map(record.sealed_name, record.files), "keys.json", "manifest.json", "manifest.json.sig"]
        )
        for file in record.files:
            opened = hashlib.sha256(
                b"".join(open_sealed([self.world.blob(record, record.sealed_name(file))], PARTNER_KEY))
            )
            assert opened.digest() == hashlib.sha256(data).digest()
        assert batches.verify(self.world.context, record.batch)["ok"]
        steps = [entry["step"] for entry in batches.history(self.world.context, record.batch)]
        assert steps == ["planned", "accepted", "sealed"]


@pytest.fixture
def faulty(world: World, azurite: Azurite) -> Iterator[Faulty]:
    with FaultProxy(azurite.blob_url("sealiftraw").rpartition("/")[0]) as proxy, ExitStack() as clients:

        def through_proxy(name: str, account: str) -> Any:
            connection = proxy.before(azurite.connection_string(account))
            service = clients.enter_context(
                BlobServiceClient.from_connection_string(connection, **QUICK, read_timeout=2)
            )
            return service.get_container_client(getattr(world.stores, name).container_name)

        stores = replace(
            world.stores,
            raw=through_proxy("raw", "sealiftraw"),
            encrypted=through_proxy("encrypted", "sealiftencrypted"),
            batches=through_proxy("batches", "sealiftencrypted"),
        )
        yield Faulty(replace(world, stores=stores), proxy)


# Storage


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, times=3),
        Fault(status=500, times=3, skip=1),
        Fault(path="*/batch.json", method="PUT", status=500, after=True),
        Fault(path="*/batch.json", method="PUT", drop=True, after=True),
        Fault(path="*/sequence.json", method="PUT", drop=True, after=True),
        Fault(path="*/ledger.jsonl", query="*comp=appendblock*", drop=True, after=True, times=2),
        Fault(path="*/ledger.jsonl", query="*comp=appendblock*", status=500, after=True),
        Fault(path="*/raw-*/*", method="GET", status=503, times=2),
        Fault(path="*/raw-*/*", method="GET", drop=True, times=2),
        Fault(path="*/raw-*/*", method="GET", cut_after_bytes=1_000_000, skip=2),
        Fault(path="*/raw-*/*.txt", method="GET", delay_seconds=3, skip=1),
        Fault(query="*comp=block&*", status=503, times=2),
        Fault(query="*comp=block&*", drop=True, after=True, times=2),
        Fault(query="*comp=block&*", delay_seconds=3),
        Fault(query="*comp=blocklist*", status=500, after=True),
        Fault(query="*comp=blocklist*", drop=True, after=True),
        Fault(path="*.sealed", method="PUT", status=500, after=True),
        Fault(path="*.sealed", method="PUT", drop=True, after=True),
        Fault(query="*comp=list*", status=500),
        Fault(path="*/keys.json", method="PUT", drop=True, after=True),
        Fault(path="*/manifest.json", method="PUT", status=500, after=True),
        Fault(path="*/manifest.json.sig", method="PUT", drop=True, after=True),
    ],
    ids=str,
)
def test_storage_that_fails_for_a_moment_changes_nothing(faulty: Faulty, fault: Fault) -> None:
    faulty.proxy.faults.add(fault)
    data = BIG if "raw" in fault.path or "block" in str(fault.query) else ROWS
    record = faulty.world.plan()
    faulty.world.stage(record, data)

    faulty.world.request(record)
    faulty.world.work()

    faulty.world.status(record)
    assert faulty.proxy.faults.injected >= 1
    faulty.sealed_once(record, data)


@pytest.mark.parametrize(("query", "data"), [("*comp=block&*", BIG), ("*comp=blocklist*", BIG), (None, ROWS)])
def test_storage_that_stays_down_leaves_the_message_to_the_queue(
    faulty: Faulty, query: str | None, data: bytes
) -> None:
    record = faulty.world.plan()
    faulty.world.stage(record, data)
    faulty.world.request(record)
    faulty.proxy.faults.add(Fault(path="*.sealed", method="PUT", query=query, status=503, times=None))

    with pytest.raises(AzureError):
        batches.seal_files(faulty.world.context, faulty.world.message(record))
    assert faulty.world.status(record)["state"] == "sealing"

    faulty.proxy.faults.clear()
    assert faulty.world.work() == 1
    faulty.sealed_once(record, data)


def test_file_replaced_while_it_is_sealed_is_refused_and_never_mixed(faulty: Faulty) -> None:
    record = faulty.world.plan()
    faulty.world.stage(record, BIG)
    faulty.world.request(record)
    # The third range is held back until the file has been replaced.
    faulty.proxy.faults.add(Fault(path="*/raw-*/*.txt", method="GET", delay_seconds=60, skip=2))
    sealing = threading.Thread(target=faulty.world.work)
    sealing.start()
    while faulty.proxy.faults.injected == 0:
        assert sealing.is_alive()
    name = f"{record.batch.folder}/{record.files[0]}"
    faulty.world.stores.raw.upload_blob(name, BIG[::-1], overwrite=True)
    faulty.proxy.faults.clear()
    sealing.join()

    status = faulty.world.status(record)

    assert status["state"] == "failed"
    assert "changed" in status["failure"]["cause"]
    assert not list(faulty.world.stores.encrypted.list_blobs())


def test_receipt_whose_answer_was_lost_is_the_receipt(faulty: Faulty) -> None:
    record = faulty.world.sealed()
    faulty.proxy.faults.add(Fault(path="*/receipt.json", method="PUT", drop=True, after=True))

    receipt = faulty.world.confirm(record)

    assert receipt == faulty.world.confirm(record)
    assert batches.verify(faulty.world.context, record.batch)["ok"]


def test_resend_whose_answer_was_lost_is_one_resend(faulty: Faulty) -> None:
    record = faulty.world.sealed()
    faulty.world.confirm(record)
    faulty.proxy.faults.add(Fault(path="*/batch.json", method="PUT", drop=True, after=True))

    record = batches.resend(faulty.world.context, record.batch, reason="lost", who="ana")

    assert record.delivery == 2
    assert [entry["step"] for entry in batches.history(faulty.world.context, record.batch)][-1] == "resend asked"


# The vault


@pytest.mark.parametrize("path", ["/secrets/*", "/keys/*/sign"])
@pytest.mark.parametrize("status", [429, 503])
def test_vault_that_asks_to_wait_is_waited_for(world: World, path: str, status: int) -> None:
    world.key_vault.faults.add(Fault(path=path, status=status, retry_after_seconds=0, times=2))

    record = world.sealed()

    assert world.status(record)["state"] == "sealed"


def test_vault_that_stays_busy_leaves_the_message_to_the_queue(world: World) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)
    world.key_vault.faults.add(Fault(path="/secrets/*", status=429, retry_after_seconds=0, times=None))

    with pytest.raises(VaultUnreachable):
        batches.seal_files(world.context, world.message(record))
    world.key_vault.faults.clear()
    world.work()

    assert world.status(record)["state"] == "sealed"


def test_batch_whose_signature_is_refused_fails_with_the_cause_and_goes_on_after_the_fix(world: World) -> None:
    world.key_vault.faults.add(Fault(path="/keys/*/sign", status=403, times=None))
    record = world.sealed()
    world.key_vault.faults.clear()

    failure = batches.read(world.stores.batches, record.batch).failure

    assert failure is not None
    assert "may not use key 'sealift-signing'" in failure.cause
    world.plan()
    assert world.status(record)["state"] == "sealed"


# Clocks and other workers


@pytest.mark.parametrize("hours", [-12, 12])
def test_worker_whose_clock_is_off_seals_all_the_same(world: World, hours: int) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)

    batches.seal_files(world.at(datetime.now(UTC) + timedelta(hours=hours)), world.message(record))

    assert world.status(record)["state"] == "sealed"
    assert batches.verify(world.context, record.batch)["ok"]


def test_file_that_another_attempt_sealed_does_not_fail_its_batch(world: World) -> None:
    record = world.sealed()

    message = parse_message(world.message(record))
    fail_file(world.context, message, message.files[0], cause="sealing failed after every retry", hint="fix")

    assert world.status(record)["state"] == "sealed"


def one_by_one(message: SealMessage) -> list[SealMessage]:
    return [
        message.model_copy(update={"files": [file], "last": message.last and file is message.files[-1]})
        for file in message.files
    ]


def test_many_files_sealed_at_once_are_one_batch(world: World) -> None:
    record = world.plan()
    names = [f"NW_{number:03d}.txt" for number in range(40)]
    record = batches.record.update(
        world.stores.batches, record.batch, lambda current: current.model_copy(update={"files": names})
    )
    for name in names:
        world.stores.raw.upload_blob(f"{record.batch.folder}/{name}", ROWS)
    world.request(record)
    bodies = [message.content for message in world.stores.seal_queue.receive_messages(visibility_timeout=600)]
    assert [len(parse_message(body).files) for body in bodies] == [40], "small files share a message"
    bodies = [message.model_dump_json() for message in one_by_one(parse_message(bodies[0]))]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: batches.seal_files(world.context, body), bodies * 2))

    assert world.status(record)["state"] == "sealed"
    entries = ledger.read_entries(world.context, record.batch)
    assert [entry.content["step"] for entry in entries] == ["planned", "accepted", "sealed"]
    assert batches.verify(world.context, record.batch)["ok"]

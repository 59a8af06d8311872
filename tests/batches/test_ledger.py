"""The ledger: every step has its line, the chain holds through races, lost answers and crashes, and a rewrite shows."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobClient
from batch_world import DAY, NOW, ROWS, START, World

import batches
from batches import BatchId, ledger
from batches.ledger import Note
from encryption import Manifest, VaultForbidden
from encryption.vault import Vault
from local.key_vault.identity import IdentityEndpoint

BATCH = BatchId.parse("northwind.accruals.2026-11-21.1")


def note(world: World, step: str, **changes: Any) -> str:
    context = world.at(changes.pop("now", NOW), run_id=changes.pop("run_id", None))
    once = changes.pop("once", False)
    known = {name: changes.pop(name) for name in ("delivery", "who", "since") if name in changes}
    return ledger.note(context, BATCH, Note(step, **known, details=changes), once=once)


def ledgers(world: World) -> dict[int, int]:
    """Return how many lines each blob of the ledger has."""
    found: dict[int, int] = {}
    for blob in world.stores.batches.list_blobs(name_starts_with=f"{BATCH.partner}/{BATCH.feed}/ledger."):
        number = blob.name.removesuffix(".jsonl").rpartition(".")[2]
        found[int(number) if number.isdigit() else 1] = len(
            world.stores.batches.download_blob(blob.name).readall().splitlines()
        )
    return found


def steps(world: World) -> list[str]:
    return [entry.content["step"] for entry in ledger.read_entries(world.context, BATCH)]


def checks(world: World, batch: BatchId = BATCH) -> dict[str, tuple[bool, str]]:
    answer = batches.verify(world.context, batch)
    assert answer["ok"] == all(check["ok"] for check in answer["checks"])
    return {check["what"]: (check["ok"], check["found"]) for check in answer["checks"]}


def rewrite(world: World, old: bytes, new: bytes) -> None:
    name = f"{BATCH.partner}/{BATCH.feed}/ledger.jsonl"
    text = world.stores.batches.download_blob(name).readall()
    assert old in text
    world.stores.batches.delete_blob(name)
    blob = world.stores.batches.get_blob_client(name)
    blob.create_append_blob()
    blob.append_block(text.replace(old, new))


def test_a_delivered_batch_has_one_entry_for_each_step(world: World) -> None:
    record = world.sealed()
    world.plan()
    world.confirm(record)
    world.confirm(record)
    world.status(record)

    entries = batches.history(world.context, record.batch)

    assert [entry["step"] for entry in entries] == ["planned", "accepted", "sealed", "delivered", "purged"]
    assert [entry["who"] for entry in entries] == ["data-factory", "data-factory"] + ["function-app"] * 3
    assert {entry["run_id"] for entry in entries[:2]} == {"run"}
    assert entries[-1]["details"]["files"] == 1


def test_entries_written_at_the_same_time_make_one_chain(world: World) -> None:
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: note(world, f"step {n}"), range(36)))

    entries = ledger.read_entries(world.context, BATCH)
    assert sorted(steps(world)) == sorted(f"step {n}" for n in range(36))
    assert ledger.find_break(entries) is None


@pytest.mark.parametrize("tail_bytes", [400, 1_000, 1 << 20])
def test_many_blobs_hold_one_chain(world: World, monkeypatch: pytest.MonkeyPatch, tail_bytes: int) -> None:
    monkeypatch.setattr(ledger, "VOLUME_LINES", 5)
    monkeypatch.setattr(ledger, "TAIL_BYTES", tail_bytes)
    with ThreadPoolExecutor(6) as pool:
        hashes = list(pool.map(lambda n: note(world, f"step {n}", once=n % 2 == 0), range(17)))

    entries = ledger.read_entries(world.context, BATCH)
    assert sorted(steps(world)) == sorted(f"step {n}" for n in range(17))
    assert ledger.find_break(entries) is None
    assert {entry.sha256 for entry in entries} == set(hashes)
    assert ledger.head(world.context, BATCH) == entries[-1].sha256
    assert ledgers(world) == {1: 5, 2: 5, 3: 5, 4: 2}


def test_writer_that_was_killed_between_a_new_blob_and_its_first_line_leaves_no_gap(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "VOLUME_LINES", 2)
    note(world, "one")
    note(world, "two")
    world.stores.batches.get_blob_client(f"{BATCH.partner}/{BATCH.feed}/ledger.2.jsonl").create_append_blob()
    assert ledger.head(world.context, BATCH) == ledger.read_entries(world.context, BATCH)[-1].sha256

    note(world, "three")

    assert steps(world) == ["one", "two", "three"]
    assert ledger.find_break(ledger.read_entries(world.context, BATCH)) is None
    assert ledgers(world) == {1: 2, 2: 1}


def test_ledger_that_an_older_version_filled_further_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        note(world, f"step {number}")
    monkeypatch.setattr(ledger, "VOLUME_LINES", 5)

    note(world, "later")

    assert ledgers(world) == {1: 7, 2: 1}
    assert ledger.find_break(ledger.read_entries(world.context, BATCH)) is None


def test_entry_that_is_older_than_the_newest_lines_is_not_written_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "TAIL_BYTES", 600)
    first = note(world, "planned", once=True, since=NOW)
    for hours in range(1, 9):
        note(world, f"step {hours}", now=NOW + timedelta(hours=hours))

    assert note(world, "planned", once=True, since=NOW) == first
    assert steps(world).count("planned") == 1


def test_line_larger_than_what_is_read_and_one_that_is_no_entry_fork_no_chain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "TAIL_BYTES", 300)
    note(world, "failed", cause="x" * 2000)
    note(world, "again")
    entries = ledger.read_entries(world.context, BATCH)
    assert ledger.find_break(entries) is None

    blob = world.stores.batches.get_blob_client(f"{BATCH.partner}/{BATCH.feed}/ledger.jsonl")
    blob.append_block(b"garbage\n")
    note(world, "later")

    entries = ledger.read_entries(world.context, BATCH)
    assert (entries[-1].content["number"], ledger.find_break(entries)) == (4, 3)


def test_a_note_about_a_new_batch_reads_the_newest_lines_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    read_all = ledger._read_all
    monkeypatch.setattr(ledger, "_read_all", lambda *about: read.append(1) or read_all(*about))
    monkeypatch.setattr(ledger, "TAIL_BYTES", 2_000)
    for hours in range(20):
        note(world, f"step {hours}", now=NOW + timedelta(hours=hours))

    later = NOW + timedelta(hours=21)
    note(world, "planned", once=True, now=later, since=later)

    assert read == []
    note(world, "planned", once=True, now=later, since=NOW)
    assert read == [1]


def test_entry_asked_for_once_by_many_is_written_once(world: World) -> None:
    with ThreadPoolExecutor(12) as pool:
        hashes = set(pool.map(lambda _: note(world, "sealed", once=True), range(24)))

    assert steps(world) == ["sealed"]
    assert len(hashes) == 1


def test_entry_of_another_delivery_is_another_entry(world: World) -> None:
    note(world, "delivered", once=True)
    note(world, "delivered", once=True, delivery=2)

    assert steps(world) == ["delivered", "delivered"]


def test_entry_whose_answer_was_lost_is_not_written_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    append = BlobClient.append_block
    calls = []

    def lose_the_first_answer(self: BlobClient, *arguments: Any, **options: Any) -> Any:
        answer = append(self, *arguments, **options)
        calls.append(answer)
        if len(calls) == 1:
            # As the SDK does: it asks again, and storage refuses the place that is taken by now.
            return append(self, *arguments, **options)
        return answer

    monkeypatch.setattr(BlobClient, "append_block", lose_the_first_answer)
    note(world, "failed", cause="the table is missing")

    assert steps(world) == ["failed"]


def test_crash_between_outcome_and_entry_is_healed_by_repeating_the_step(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.sealed()

    def crash(*_: object, **__: object) -> None:
        raise ServiceResponseError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(BlobClient, "append_block", crash)
        with pytest.raises(ServiceResponseError):
            world.confirm(record)
    assert "delivered" not in steps(world)
    assert not checks(world)["delivery 1"][0]

    world.confirm(record)

    assert steps(world)[-2:] == ["delivered", "purged"]
    assert checks(world)["delivery 1"][0]


def test_manifest_carries_the_head_of_the_chain(world: World) -> None:
    record = world.sealed()

    manifest = Manifest.from_bytes(world.blob(record, "manifest.json"))

    accepted = batches.history(world.context, record.batch)[1]
    assert manifest.record_head == accepted["sha256"]


def test_verify_finds_a_delivered_batch_whole(world: World) -> None:
    world.sealed()
    record = world.sealed(START + DAY)
    world.confirm(record)

    found = checks(world, record.batch)

    assert [what for what, (ok, _) in found.items() if not ok] == []
    assert list(found) == [
        "ledger chain", "signature", "plan", "keys.json", "sealed files", "manifest before", "ledger and manifest",
        "delivery 1", "plaintext",
    ]  # fmt: skip


def test_verify_of_a_batch_that_was_never_sealed_says_so(world: World) -> None:
    world.plan()

    assert "no manifest.json" in checks(world)["sealed"][1]


def test_changed_entry_breaks_the_chain(world: World) -> None:
    world.confirm(world.sealed())

    rewrite(world, b'"bytes":%d' % len(ROWS), b'"bytes":1')

    assert checks(world)["ledger chain"] == (False, "it breaks at entry 3")


def test_line_that_is_no_entry_breaks_the_chain(world: World) -> None:
    world.confirm(world.sealed())

    rewrite(world, b'{"at"', b"?")

    assert checks(world)["ledger chain"] == (False, "it breaks at entry 1")


def test_history_that_was_rewritten_as_a_whole_does_not_fit_the_manifest(world: World) -> None:
    record = world.sealed()
    entries = batches.history(world.context, record.batch)
    name = f"{BATCH.partner}/{BATCH.feed}/ledger.jsonl"
    world.stores.batches.delete_blob(name)
    for entry in entries:
        note(world, entry["step"], **{**entry["details"], "now": NOW - timedelta(days=1)})

    found = checks(world)

    assert found["ledger chain"][0]
    assert found["ledger and manifest"] == (False, "the ledger does not hold the head that the manifest carries")


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sig", "keys.json"])
def test_verify_sees_a_changed_byte(world: World, name: str) -> None:
    record = world.sealed()
    data = bytearray(world.blob(record, name))
    data[len(data) // 2] ^= 1
    world.stores.encrypted.upload_blob(f"{record.batch.folder}/{name}", bytes(data), overwrite=True)

    assert not batches.verify(world.context, record.batch)["ok"]


def test_verify_of_a_files_bytes_sees_a_changed_byte(world: World) -> None:
    record = world.sealed()
    (name,) = batches.verify(world.context, record.batch)["files"]
    assert batches.verify_file(world.context, record.batch, name)["ok"]

    blob = world.stores.encrypted.get_blob_client(f"{record.batch.folder}/{name}")
    data = bytearray(blob.download_blob().readall())
    data[-1] ^= 1
    blob.upload_blob(bytes(data), overwrite=True, metadata=blob.get_blob_properties().metadata)

    assert batches.verify(world.context, record.batch)["ok"], "sizes and records are as they were"
    assert not batches.verify_file(world.context, record.batch, name)["ok"]


def test_verify_reads_no_file_that_the_manifest_does_not_name(world: World) -> None:
    record = world.sealed()

    with pytest.raises(batches.InvalidRequest):
        batches.verify_file(world.context, record.batch, "../keys.json")


def test_batch_stays_verifiable_after_the_signing_key_was_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.sealed()
    world.key_vault.create_key("sealift-signing")
    world.key_vault.create_key("sealift-signing-next")
    world.key_vault.allow("function-app", keys=("sealift-signing-next",))
    monkeypatch.setenv("SIGNING_KEY", "sealift-signing-next")

    assert batches.verify(world.context, record.batch)["ok"]
    later = world.sealed(START + DAY)
    assert Manifest.from_bytes(world.blob(later, "manifest.json")).signing_key.split("/")[-2] == "sealift-signing-next"
    assert batches.verify(world.context, later.batch)["ok"]


def test_batch_stays_verifiable_when_the_app_may_only_read_the_old_signing_key(
    world: World, identity: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.sealed()
    for name, value in {**identity.environment("app-later"), "SIGNING_KEY": "sealift-signing-next"}.items():
        monkeypatch.setenv(name, value)
    later = Vault(world.key_vault.url, DefaultAzureCredential())

    world.key_vault.allow("app-later", keys=("sealift-signing-next",))
    assert not batches.verify(replace(world.context, vault=later), record.batch)["ok"]
    world.key_vault.allow("app-later", public_keys=("sealift-signing",))
    assert batches.verify(replace(world.context, vault=later), record.batch)["ok"]
    with pytest.raises(VaultForbidden):
        later.sign("sealift-signing", b"anything")
    later.close()


def test_missing_sealed_file_is_seen(world: World) -> None:
    record = world.sealed()
    world.stores.encrypted.delete_blob(f"{record.batch.folder}/{record.sealed_name(record.files[0])}")

    assert "is gone" in checks(world)["sealed files"][1]


def test_details_cannot_pass_for_an_entry(world: World) -> None:
    note(world, "failed", cause=json.dumps({"batch": str(BATCH), "delivery": 1, "step": "sealed"}))
    note(world, "sealed", once=True)

    assert steps(world) == ["failed", "sealed"]

"""What leaves is what the signed manifest names: nothing less, nothing else, and nothing that sealing did not write."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from batch_world import World

import batches
from batches import Record
from batches.manifest import finish_if_sealed
from encryption import Manifest


def names_of(world: World, record: Record) -> list[str]:
    return [file.name for file in batches.remote_files(world.context, record)]


def delete(world: World, record: Record, name: str) -> None:
    world.stores.encrypted.delete_blob(f"{record.batch.folder}/{name}")


@pytest.fixture
def sealed(world: World) -> Record:
    return world.sealed()


def test_only_the_files_of_the_manifest_are_sent(world: World, sealed: Record) -> None:
    before = names_of(world, sealed)

    world.stores.encrypted.upload_blob(f"{sealed.batch.folder}/stray.sealed", b"not of this batch")

    assert names_of(world, sealed) == before
    assert before[-1] == "manifest.json"


@pytest.mark.parametrize("name", ["{file}.sealed", "keys.json"])
def test_a_sealed_blob_that_is_gone_stops_the_delivery_on_route_adf(world: World, sealed: Record, name: str) -> None:
    gone = name.format(file=sealed.files[0])
    delete(world, sealed, gone)

    status = world.status(sealed)

    assert status["state"] == "failed"
    assert (
        f"{gone} of batch {sealed.batch} is sealed but no longer in the encrypted container"
        in status["failure"]["cause"]
    )
    assert "correction" in status["failure"]["hint"]
    with pytest.raises((batches.SealedMissing, batches.ForeignContent)):
        batches.begin_copy(world.at(run_id="run"), sealed.batch, [])


@pytest.mark.parametrize("name", ["{file}.sealed", "keys.json"])
def test_no_receipt_and_no_purge_while_a_blob_is_gone(world: World, sealed: Record, name: str) -> None:
    arrived = {file.to: file.bytes for file in batches.remote_files(world.context, sealed)}
    delete(world, sealed, name.format(file=sealed.files[0]))

    with pytest.raises(batches.SealedMissing):
        world.confirm(sealed, arrived)

    assert list(world.stores.raw.list_blob_names(name_starts_with=sealed.batch.folder))
    assert not world.stores.batches.get_blob_client(f"{sealed.batch.folder}/receipt.json").exists()


def test_a_sealed_blob_of_another_size_is_not_sent(world: World, sealed: Record) -> None:
    name = f"{sealed.batch.folder}/{sealed.files[0]}.sealed"
    metadata = world.stores.encrypted.get_blob_client(name).get_blob_properties().metadata
    world.stores.encrypted.upload_blob(name, b"shorter", metadata=metadata, overwrite=True)

    with pytest.raises(batches.SealedMissing, match="is not the one that the manifest names"):
        batches.remote_files(world.context, sealed)


def test_resend_of_what_is_gone_is_refused_before_it_is_recorded(world: World, sealed: Record) -> None:
    world.confirm(sealed)
    delete(world, sealed, f"{sealed.files[0]}.sealed")

    with pytest.raises(batches.SealedMissing):
        batches.resend(world.context, sealed.batch, reason="the partner lost it", who="ana")

    assert batches.read(world.stores.batches, sealed.batch).resends == []
    assert not batches.verify(world.context, sealed.batch)["ok"]


def test_replay_of_what_is_gone_is_refused(world: World, sealed: Record) -> None:
    delete(world, sealed, f"{sealed.files[0]}.sealed")

    with pytest.raises(batches.SealedMissing):
        batches.replay(world.context, sealed.batch, start="deliver", who="ana")


# The signing key signs only what was built here.


def all_but_finished(world: World, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Seal every file, and stop before keys.json."""
    record = world.plan()
    world.stage(record)
    world.request(record)
    with monkeypatch.context() as patch:
        patch.setattr("batches.sealing.finish_and_go_on", lambda *_: False)
        world.work()
    return batches.read(world.stores.batches, record.batch)


def foreign_manifest(world: World) -> bytes:
    other = world.sealed(data=b"id|amount\n1|9999999.00\n")
    return world.blob(other, "manifest.json")


@pytest.mark.parametrize("name", ["manifest.json", "keys.json"])
def test_a_foreign_blob_is_never_signed(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    record = all_but_finished(world, monkeypatch)
    signed: list[bytes] = []
    monkeypatch.setattr(world.vault, "sign", lambda _key, data: signed.append(data) or b"signature")
    world.stores.encrypted.upload_blob(f"{record.batch.folder}/{name}", b'{"type":"of somebody else"}')

    with pytest.raises(batches.ForeignContent):
        finish_if_sealed(world.context, record)

    assert signed == []
    assert world.status(record)["state"] == "failed"


def test_a_manifest_with_one_other_figure_is_never_signed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = all_but_finished(world, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(world.vault, "sign", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):  # killed between the manifest and its signature
            finish_if_sealed(world.context, record)
    name = f"{record.batch.folder}/manifest.json"
    written = world.stores.encrypted.download_blob(name).readall()
    changed = written.replace(b'"rows":null', b'"rows":7777', 1)
    assert Manifest.from_bytes(written).batch == record.batch
    world.stores.encrypted.upload_blob(name, changed, overwrite=True)

    with pytest.raises(batches.ForeignContent):
        finish_if_sealed(world.context, record)


def test_a_manifest_of_an_attempt_that_was_killed_is_signed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = all_but_finished(world, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(world.vault, "sign", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finish_if_sealed(world.context, record)

    assert world.status(record)["state"] == "sealed"
    assert batches.verify(world.context, record.batch)["ok"]


def test_a_blob_that_sealing_did_not_write_is_not_taken_for_sealed(world: World) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)
    world.stores.encrypted.upload_blob(f"{record.batch.folder}/{record.files[0]}.sealed", b"foreign")

    world.work()

    status = world.status(record)
    assert status["state"] == "failed"
    assert "was not written by sealing" in status["failure"]["cause"]


def test_the_result_of_another_batch_is_not_taken(
    world: World, sealed: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = world.plan(revision=2)
    world.stage(other)
    world.request(other)
    source = world.stores.encrypted.get_blob_client(f"{sealed.batch.folder}/{sealed.files[0]}.sealed")
    world.stores.encrypted.upload_blob(
        f"{other.batch.folder}/{other.files[0]}.sealed",
        source.download_blob().readall(),
        metadata=source.get_blob_properties().metadata,
    )

    world.work()

    assert "was not sealed for this batch" in world.status(other)["failure"]["cause"]


# One bad thing stays one bad thing.


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"{}", b'{"batch": 1}', b"[" * 30_000])
@pytest.mark.parametrize("name", ["batch.json", "receipt.json", "answer.json"])
def test_a_blob_that_cannot_be_read_is_a_state_of_its_batch_alone(
    world: World, sealed: Record, name: str, content: bytes
) -> None:
    good = world.plan(revision=2)
    world.confirm(sealed)
    world.stores.batches.upload_blob(f"{sealed.batch.folder}/{name}", content, overwrite=True)

    listed = batches.list_batches(world.context, batches.Wanted(), limit=10)

    assert {each["batch"]: each["state"] for each in listed} == {sealed.batch: "unreadable", good.batch: "planned"}
    status = world.status(sealed)
    assert status["state"] == "unreadable"
    assert f"{sealed.batch.folder}/{name}" in status["failure"]["cause"]


def test_steps_of_an_unreadable_batch_are_refused_as_no_fault_of_the_caller(world: World, sealed: Record) -> None:
    world.stores.batches.upload_blob(f"{sealed.batch.folder}/batch.json", b"null", overwrite=True)

    for step in (
        lambda: batches.request_sealing(world.context, sealed.batch, {}),
        lambda: batches.request_delivery(world.context, sealed.batch),
        lambda: batches.resend(world.context, sealed.batch, reason="lost", who="ana"),
        lambda: batches.verify(world.context, sealed.batch),
    ):
        with pytest.raises(batches.Unreadable) as caught:
            step()
        assert caught.value.status == 409
        assert caught.value.hint


def test_sweep_goes_on_past_an_unreadable_batch(world: World, sealed: Record) -> None:
    world.confirm(sealed)
    left: Any = world.plan(revision=2)
    world.stage(left)
    world.stage(sealed)
    world.stores.batches.upload_blob(f"{left.batch.folder}/batch.json", b"{", overwrite=True)

    swept = batches.sweep(world.at(world.context.now() + timedelta(days=2)), older_than=timedelta(0), who="ana")

    assert swept.purged == [sealed.batch]
    assert [name.rpartition("/")[0] for name in swept.overdue] == [left.batch.folder]

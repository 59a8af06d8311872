"""The operator's wishes: the same bytes again, going on after a failure, and plaintext that is gone for sure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from batch_world import DAY, NOW, START, World

import batches
from batches import Record
from batches.delivering import parse_deliver_message
from partners import UnknownFeed, UnknownPartner


def resend(world: World, record: Record, **changes: Any) -> Record:
    wish = {"reason": "the partner lost it", "who": "ana"} | changes
    return batches.resend(world.at(wish.pop("now", NOW)), record.batch, **wish)


def replay(world: World, record: Record, start: Any) -> Record:
    return batches.replay(world.context, record.batch, start=start, who="ana")


def sweep(world: World, hours: int = 0, now: datetime = NOW + DAY) -> batches.Sweep:
    return batches.sweep(world.at(now), older_than=timedelta(hours=hours), who="ana")


def sealed_bytes(world: World, record: Record) -> dict[str, bytes]:
    folder = f"{record.batch.folder}/"
    names = world.stores.encrypted.list_blob_names(name_starts_with=folder)
    return {name: world.stores.encrypted.download_blob(name).readall() for name in names}


# Re-send


def test_resend_delivers_the_same_bytes_as_a_new_delivery_with_its_reason(world: World) -> None:
    record = world.sealed()
    first = world.confirm(record)
    before = sealed_bytes(world, record)

    record = resend(world, record)
    assert world.status(record)["state"] == "sealed"
    again = world.confirm(record)

    assert sealed_bytes(world, record) == before
    assert (first.delivery, again.delivery) == (1, 2)
    assert first.files == again.files
    assert world.status(record)["state"] == "delivered"
    assert [wish.reason for wish in batches.read(world.stores.batches, record.batch).resends] == ["the partner lost it"]
    steps = [(entry["step"], entry["delivery"]) for entry in batches.history(world.context, record.batch)]
    assert steps[-2:] == [("resend asked", 2), ("delivered", 2)]
    assert batches.verify(world.context, record.batch)["ok"]


def test_resend_extracts_and_seals_nothing(world: World) -> None:
    record = world.sealed()
    world.confirm(record)
    resend(world, record)

    assert world.plan().staged is not None, "the plan of a batch that was accepted never asks for another extraction"
    world.request(record)

    assert world.work() == 0


def test_resend_of_what_was_never_delivered_is_refused(world: World) -> None:
    record = world.sealed()

    with pytest.raises(batches.NotRepeatable, match="has not happened yet"):
        resend(world, record)


def test_second_resend_waits_for_the_first(world: World) -> None:
    record = world.sealed()
    world.confirm(record)
    resend(world, record)

    with pytest.raises(batches.NotRepeatable, match="delivery 2"):
        resend(world, record, reason="another reason")


def test_same_wish_again_is_the_same_resend(world: World) -> None:
    record = world.sealed()
    world.confirm(record)

    assert resend(world, record) == resend(world, record)


# Replay


def test_replay_from_seal_queues_what_is_not_sealed(world: World) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)
    world.stores.seal_queue.clear_messages()

    replay(world, record, "seal")

    assert world.work() == 1
    assert world.status(record)["state"] == "sealed"
    assert "replayed" in [entry["step"] for entry in batches.history(world.context, record.batch)]


def test_replay_from_deliver_clears_the_failure(world: World) -> None:
    record = world.sealed()
    batches.record_failure(world.at(run_id="run"), record.batch, step="deliver", cause="full", hint="wait")
    assert world.status(record)["state"] == "failed"

    replay(world, record, "deliver")

    assert world.status(record)["state"] == "sealed"


def test_replay_from_deliver_queues_the_delivery_that_the_app_makes(world: World) -> None:
    record = world.sealed()
    name = f"{record.batch.folder}/batch.json"
    text = world.stores.batches.download_blob(name).readall()
    world.stores.batches.upload_blob(name, text.replace(b'"adf"', b'"function"'), overwrite=True)

    replay(world, record, "deliver")

    assert world.status(record)["state"] == "delivering"
    (message,) = world.stores.deliver_queue.receive_messages()
    assert parse_deliver_message(message.content).batch == record.batch


@pytest.mark.parametrize("start", ["seal", "deliver"])
def test_replay_never_extracts(world: World, start: str) -> None:
    with pytest.raises(batches.NotRepeatable, match=r"never accepted|not sealed"):
        replay(world, world.plan(), start)


@pytest.mark.parametrize("start", ["seal", "deliver"])
def test_replay_of_a_delivered_batch_is_refused(world: World, start: str) -> None:
    record = world.sealed()
    world.confirm(record)

    with pytest.raises(batches.NotRepeatable, match="delivered"):
        replay(world, record, start)


def test_replay_with_other_content_is_a_conflict(world: World) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)
    world.stage(record, b"other")

    with pytest.raises(batches.ContentChanged):
        replay(world, record, "seal")


# List


def test_list_shows_the_newest_batches_with_their_states(world: World) -> None:
    delivered = world.sealed()
    world.confirm(delivered)
    world.sealed(START + DAY)
    failed = world.plan(START + 2 * DAY)
    batches.record_failure(world.context, failed.batch, step="run", cause="why", hint="fix")

    found = batches.list_batches(world.context, batches.Wanted(), limit=10)

    assert [(batch["batch"][19:29], batch["state"]) for batch in found] == [
        ("2026-11-23", "failed"),
        ("2026-11-22", "sealed"),
        ("2026-11-21", "delivered"),
    ]
    assert len(batches.list_batches(world.context, batches.Wanted(partner="northwind", feed="accruals"), limit=1)) == 1
    with pytest.raises(UnknownPartner):
        batches.list_batches(world.context, batches.Wanted(partner="southwind"), limit=10)
    with pytest.raises(UnknownFeed):
        batches.list_batches(
            world.context, batches.Wanted(partner="northwind", feed="acruals", day="1999-01-01"), limit=10
        )


# Purge


def test_sweep_purges_what_a_delivered_batch_left(world: World) -> None:
    record = world.sealed()
    world.confirm(record)
    world.stage(record)

    swept = sweep(world)

    assert (swept.purged, swept.overdue) == ([record.batch], [])
    assert world.raw_versions() == []
    evidence = batches.history(world.context, record.batch)[-1]
    assert (evidence["step"], evidence["who"], evidence["details"]["files"]) == ("purged", "ana", 1)


def test_sweep_names_old_plaintext_of_an_undelivered_batch_and_keeps_it(world: World) -> None:
    record = world.plan()
    world.stage(record)
    world.stores.raw.upload_blob("stray.txt", b"who wrote this?")

    assert sweep(world, hours=48).overdue == []
    assert sweep(world).overdue == [f"{record.batch.folder}/{record.files[0]}", "stray.txt"]
    assert len(world.raw_versions()) == 2


def test_purge_tells_of_copies_that_storage_keeps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = world.sealed()
    kept = list(world.stores.raw.list_blobs())
    listing = world.stores.raw.list_blobs
    monkeypatch.setattr(
        world.stores.raw, "list_blobs", lambda **options: kept if options.get("include") else listing(**options)
    )

    with pytest.raises(batches.PlaintextRemains, match="can still be recovered"):
        world.confirm(record)

    assert batches.read(world.stores.batches, record.batch).plaintext_purged_at is None


def test_detached_files_bring_their_key_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = world.plan(START + 5 * DAY)
    name = f"{record.batch.folder}/batch.json"
    text = world.stores.batches.download_blob(name).readall()
    world.stores.batches.upload_blob(name, text.replace(b'"native"', b'"detached"'), overwrite=True)
    world.stage(record)
    world.request(record)
    world.work()

    sent = [file.name for file in batches.remote_files(world.context, record)]

    assert sent[:2] == [f"{record.files[0]}.enc", f"{record.files[0]}.key"]
    assert batches.verify(world.context, record.batch)["ok"]
    assert batches.verify_file(world.context, record.batch, sent[0])["ok"]
    world.stores.encrypted.upload_blob(f"{record.batch.folder}/{sent[1]}", b"another key", overwrite=True)
    assert not batches.verify_file(world.context, record.batch, sent[0])["ok"]

"""Who may work on a batch and who may send it; what was accepted is never overwritten, what was sent is not sent again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from batch_world import NOW, World
from staged_rows import staged_rows

import batches
from batches import Context, Record
from batches.context import CLAIM_EXPIRES
from local.stack import ROOT

FIRST, SECOND = "run-1", "run-2"


def extract(world: World, record: Record, run: str, data: bytes | None = None) -> str:
    """Write what a run extracted, under that run's name."""
    name = f"{run}.rows.jsonl"
    world.stores.raw.upload_blob(f"{record.batch.folder}/{name}", data or staged_rows(), overwrite=True)
    return name


def accept(world: World, record: Record, run: str) -> Record:
    return batches.request_sealing(world.at(run_id=run), record.batch, {}, extract=f"{run}.rows.jsonl")


def sealed(world: World) -> Record:
    record = world.plan()
    extract(world, record, FIRST)
    accept(world, record, FIRST)
    while world.work():
        pass
    return batches.read(world.stores.batches, record.batch)


def to_send(context: Context, record: Record) -> list[dict[str, Any]]:
    status = batches.read_status(context, record.batch)
    return [*status["send"], *status["last"]]


def fail(context: Context, record: Record) -> Record:
    return batches.record_run_failure(context, record.batch, step="run", cause="the network", hint="run it again")


# Extraction


def test_second_run_joins_the_rows_that_the_first_has_extracted(world: World) -> None:
    record = world.plan()
    extract(world, record, FIRST, staged_rows())
    accepted = accept(world, record, FIRST)
    extract(world, record, SECOND, staged_rows() + b"\n")

    joined = accept(world, record, SECOND)
    while world.work():
        pass

    assert joined.rows == accepted.rows
    assert world.status(record)["state"] == "sealed"
    assert world.status(record)["failure"] is None
    (raw,) = [blob.name.rpartition("/")[2] for blob in world.stores.raw.list_blobs()]
    assert raw == batches.read(world.stores.batches, record.batch).files[0], "no extraction stays"


def test_run_that_extracted_after_the_batch_was_sealed_leaves_nothing(world: World) -> None:
    record = sealed(world)
    extract(world, record, SECOND)

    accept(world, record, SECOND)

    assert [blob.name for blob in world.stores.raw.list_blobs() if blob.name.endswith("rows.jsonl")] == []
    assert world.status(record)["state"] == "sealed"


def test_shaping_twice_at_once_is_no_failure(world: World) -> None:
    record = world.plan()
    extract(world, record, FIRST)
    accept(world, record, FIRST)
    accept(world, record, SECOND)
    messages = list(world.stores.seal_queue.receive_messages())
    assert len(messages) == 2

    for message in messages:
        batches.seal_files(world.context, message.content)
        world.stores.seal_queue.delete_message(message)
    batches.seal_files(world.context, messages[0].content)  # the rows are gone by now
    while world.work():
        pass

    assert world.status(record)["failure"] is None
    assert world.status(record)["state"] == "sealed"


# Failures of runs


def test_run_that_does_not_hold_the_work_does_not_fail_the_batch(world: World) -> None:
    record = world.plan()
    extract(world, record, FIRST)
    accept(world, record, FIRST)

    fail(world.at(run_id=SECOND), record)

    assert world.status(record)["failure"] is None
    assert world.status(record)["worked_by"]["run_id"] == FIRST
    fail(world.at(run_id=FIRST), record)
    assert world.status(record)["failure"]["run_id"] == FIRST


def test_run_that_was_silent_for_too_long_holds_nothing(world: World) -> None:
    record = world.plan()
    extract(world, record, FIRST)
    accept(world, record, FIRST)

    fail(world.at(NOW + CLAIM_EXPIRES + timedelta(seconds=1), run_id=SECOND), record)

    assert world.status(record)["failure"]["run_id"] == SECOND


# Sending


def test_one_run_reads_what_to_send_and_the_others_see_that_it_is_delivering(world: World) -> None:
    record = sealed(world)

    mine, others = to_send(world.at(run_id=FIRST), record), batches.read_status(world.at(run_id=SECOND), record.batch)

    assert len(mine) == 4
    assert (others["state"], others["send"], others["last"]) == ("delivering", [], [])
    assert others["worked_by"]["run_id"] == FIRST
    assert to_send(world.at(run_id=FIRST), record) == mine, "asking again is harmless"


def test_run_that_does_not_hold_the_delivery_is_refused_with_the_holder(world: World) -> None:
    record = sealed(world)
    (file, *_) = to_send(world.at(run_id=FIRST), record)
    words = rf"batch {record.batch} is being worked on by run {FIRST} since 2"

    with pytest.raises(batches.WorkedOn, match=words):
        batches.begin_file(world.at(run_id=SECOND), record, file["to"], sealed_bytes=file["bytes"], found_bytes=None)
    with pytest.raises(batches.WorkedOn, match=words):
        batches.confirm_arrived(world.at(run_id=SECOND), record.batch, {})


@pytest.mark.parametrize("ending", ["failure", "replay", "silence"])
def test_delivery_is_free_again_after(world: World, ending: str) -> None:
    record = sealed(world)
    files = to_send(world.at(run_id=FIRST), record)
    later = NOW

    if ending == "failure":
        fail(world.at(run_id=FIRST), record)
        world.plan(run_id=SECOND)
    elif ending == "replay":
        batches.replay(world.at(), record.batch, start="deliver", who="ana")
    else:
        later = NOW + CLAIM_EXPIRES + timedelta(seconds=1)

    assert to_send(world.at(later, run_id=SECOND), record) == files


def test_file_that_was_sent_is_not_sent_again_whatever_the_partner_did_with_it(world: World) -> None:
    record = sealed(world)
    first, second = world.at(run_id=FIRST), world.at(run_id=SECOND)
    (file, *_) = to_send(first, record)
    about = {"sealed_bytes": file["bytes"], "found_bytes": None}
    assert batches.begin_file(first, record, file["to"], **about)
    batches.note_sent(first, record, file["to"], sealed_bytes=file["bytes"])
    fail(first, record)
    world.plan(run_id=SECOND)
    to_send(second, record)

    assert not batches.begin_file(second, record, file["to"], **about)


def test_file_whose_copy_was_cut_off_is_sent_again_unless_it_is_there(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    (file, *_) = to_send(run, record)
    name, size = file["to"], file["bytes"]

    assert batches.begin_file(run, record, name, sealed_bytes=size, found_bytes=None)
    assert batches.begin_file(run, record, name, sealed_bytes=size, found_bytes=None)
    assert not batches.begin_file(run, record, name, sealed_bytes=size, found_bytes=size)
    assert not batches.begin_file(run, record, name, sealed_bytes=size, found_bytes=None), "it counts as sent now"


def test_foreign_file_of_our_name_and_size_never_counts(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    files = to_send(run, record)
    name, size = files[0]["to"], files[0]["bytes"]

    with pytest.raises(batches.NotDelivered, match="before we sent it"):
        batches.begin_file(run, record, name, sealed_bytes=size, found_bytes=size)
    with pytest.raises(batches.NotDelivered, match="no run has sent"):
        batches.confirm_arrived(run, record.batch, {file["to"]: file["bytes"] for file in files})


def test_copy_that_ends_after_the_delivery_was_taken_away_is_on_record(world: World) -> None:
    record = sealed(world)
    first, second = world.at(run_id=FIRST), world.at(run_id=SECOND)
    (file, *_) = to_send(first, record)
    batches.begin_file(first, record, file["to"], sealed_bytes=file["bytes"], found_bytes=None)
    batches.replay(world.at(), record.batch, start="deliver", who="ana")
    to_send(second, record)

    with pytest.raises(batches.WorkedOn, match=SECOND):
        batches.note_sent(first, record, file["to"], sealed_bytes=file["bytes"])

    assert not batches.begin_file(second, record, file["to"], sealed_bytes=file["bytes"], found_bytes=None)


def test_whole_delivery_ends_with_a_receipt_and_no_claim(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    files = to_send(run, record)
    for file in files:
        batches.begin_file(run, record, file["to"], sealed_bytes=file["bytes"], found_bytes=None)
        batches.note_sent(run, record, file["to"], sealed_bytes=file["bytes"])

    receipt = batches.confirm_arrived(run, record.batch, {file["to"]: file["bytes"] for file in files})

    assert receipt.run_id == FIRST
    assert world.status(record)["state"] == "delivered"
    assert not world.stores.batches.get_blob_client(f"{record.batch.folder}/sending.json").exists()
    assert list(world.stores.raw.list_blobs()) == []


def test_claim_outlasts_the_longest_silence_of_a_run_that_sends() -> None:
    """From one call about a file to the next: two looks, the Copy with its retries, and the calls themselves."""
    pipeline = json.loads((ROOT / "adf" / "pipeline" / "send_file.json").read_text())["properties"]
    top = {activity["name"]: activity for activity in pipeline["activities"]}
    due = {activity["name"]: activity for activity in top["Is due"]["typeProperties"]["ifTrueActivities"]}

    silent = sum((longest(each) for each in (due["Send"], due["Sent"])), timedelta())
    between_files = sum((longest(each) for each in (top["After"], top["Before"], top["Begin"])), timedelta())

    assert max(silent, between_files) < CLAIM_EXPIRES


def longest(activity: dict[str, Any]) -> timedelta:
    """Return how long an activity may take with all its retries."""
    policy = activity["policy"]
    days, clock = policy["timeout"].split(".")
    hours, minutes, seconds = map(int, clock.split(":"))
    once = timedelta(days=int(days), hours=hours, minutes=minutes, seconds=seconds)
    return once * (policy["retry"] + 1) + timedelta(seconds=policy["retryIntervalInSeconds"]) * policy["retry"]

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
from batches.copying import NextCopy
from batches.sending import read_list, sent_files
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


def begin(context: Context, record: Record, *found: str) -> NextCopy:
    return batches.begin_copy(context, record.batch, found)


def names(context: Context, record: Record, *lists: str) -> list[str]:
    """Return the files that lists name, in order."""
    return [name for each in lists if each for name in read_list(context, record, each)]


def copied(context: Context, record: Record, name: str) -> None:
    """Report a Copy that wrote every file of a list, all of which the partner still has."""
    files = names(context, record, name)
    sent = sent_files(context, record)
    batches.note_copied(context, record.batch, name, written=batches.Written(files=len(files)), found=[*files, *sent])


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


def test_one_run_is_given_what_to_send_and_the_others_see_that_it_is_delivering(world: World) -> None:
    record = sealed(world)
    first = world.at(run_id=FIRST)

    mine, others = begin(first, record), begin(world.at(run_id=SECOND), record)

    sent = names(first, record, mine.files)
    assert len(sent) == 3
    assert names(first, record, mine.last) == [f"{record.batch}.manifest.json"]
    assert (others.files, others.last, others.look) == ("", "", ())
    seen = batches.read_status(world.at(run_id=SECOND), record.batch)
    assert (seen["state"], seen["worked_by"]["run_id"]) == ("delivering", FIRST)
    assert begin(first, record) == mine, "asking again is harmless"


def test_files_are_there_under_the_names_that_they_get_at_the_partner(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)

    todo = begin(run, record)

    there = {blob.name: blob.size for blob in world.stores.encrypted.list_blobs()}
    for file in batches.remote_files(run, record):
        assert there[f"{todo.folder}/{file.to}"] == file.bytes


def test_run_that_does_not_hold_the_delivery_is_refused_with_the_holder(world: World) -> None:
    record = sealed(world)
    todo = begin(world.at(run_id=FIRST), record)
    words = rf"batch {record.batch} is being worked on by run {FIRST} since 2"

    with pytest.raises(batches.WorkedOn, match=words):
        copied(world.at(run_id=SECOND), record, todo.files)
    with pytest.raises(batches.WorkedOn, match=words):
        batches.confirm_copied(world.at(run_id=SECOND), record.batch)


@pytest.mark.parametrize("ending", ["failure", "replay", "silence"])
def test_delivery_is_free_again_after(world: World, ending: str) -> None:
    record = sealed(world)
    todo = begin(world.at(run_id=FIRST), record)
    later = NOW

    if ending == "failure":
        fail(world.at(run_id=FIRST), record)
        world.plan(run_id=SECOND)
    elif ending == "replay":
        batches.replay(world.at(), record.batch, start="deliver", who="ana")
    else:
        later = NOW + CLAIM_EXPIRES + timedelta(seconds=1)

    assert begin(world.at(later, run_id=SECOND), record) == todo


def test_files_that_were_sent_are_not_sent_again(world: World) -> None:
    record = sealed(world)
    first, second = world.at(run_id=FIRST), world.at(run_id=SECOND)
    todo = begin(first, record)
    copied(first, record, todo.files)
    fail(first, record)
    world.plan(run_id=SECOND)

    then = begin(second, record, *names(first, record, todo.files))

    assert (then.files, then.last) == ("", todo.last)


def test_files_that_the_partner_took_away_hold_back_the_manifest_unless_its_file_allows_that(
    world: World,
) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    todo = begin(run, record)
    files = names(run, record, todo.files)

    with pytest.raises(batches.NotDelivered, match="was sent whole, and is no longer at the partner"):
        batches.note_copied(run, record.batch, todo.files, written=batches.Written(files=len(files)), found=files[1:])
    with pytest.raises(batches.NotDelivered, match="confirm: false"):
        begin(run, record, *files[1:])


def test_copy_that_wrote_too_few_files_counts_for_none(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    todo = begin(run, record)

    with pytest.raises(batches.NotDelivered, match="wrote 2 of 3 files"):
        batches.note_copied(run, record.batch, todo.files, written=batches.Written(files=2), found=[])

    assert begin(run, record) == todo


def test_copy_that_wrote_too_few_bytes_counts_for_none(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    todo = begin(run, record)
    files = names(run, record, todo.files)

    with pytest.raises(batches.NotDelivered, match=r"wrote 7 of \d+ bytes"):
        batches.note_copied(
            run, record.batch, todo.files, written=batches.Written(files=len(files), bytes=7), found=files
        )

    assert begin(run, record) == todo


def test_file_of_a_copy_that_was_cut_off_counts_only_with_its_size(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    todo = begin(run, record)
    name, *others = names(run, record, todo.files)

    (look,) = begin(run, record, name).look
    assert look.name == name
    with pytest.raises(batches.NotDelivered, match="never overwritten"):
        batches.note_looked(run, record.batch, name, look.bytes - 1)
    batches.note_looked(run, record.batch, name, None)
    assert begin(run, record, name).look == (look,)
    batches.note_looked(run, record.batch, name, look.bytes)

    then = begin(run, record, name)
    assert names(run, record, then.files) == others


def test_foreign_file_of_our_name_never_counts(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    name = batches.remote_files(run, record)[0].to

    with pytest.raises(batches.NotDelivered, match="before we sent it"):
        begin(run, record, name)
    with pytest.raises(batches.NotDelivered, match="no run has sent"):
        batches.confirm_copied(run, record.batch)


def test_copy_that_ends_after_the_delivery_was_taken_away_is_on_record(world: World) -> None:
    record = sealed(world)
    first, second = world.at(run_id=FIRST), world.at(run_id=SECOND)
    todo = begin(first, record)
    batches.replay(world.at(), record.batch, start="deliver", who="ana")
    begin(second, record)

    with pytest.raises(batches.WorkedOn, match=SECOND):
        copied(first, record, todo.files)

    then = begin(second, record, *names(second, record, todo.files))
    assert (then.files, then.last) == ("", todo.last)


def test_whole_delivery_ends_with_a_receipt_and_no_claim(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    todo = begin(run, record)
    copied(run, record, todo.files)
    copied(run, record, todo.last)

    receipt = batches.confirm_copied(run, record.batch)

    assert receipt.run_id == FIRST
    assert {file.name: file.bytes for file in receipt.files} == {
        file.to: file.bytes for file in batches.remote_files(run, record)
    }
    assert world.status(record)["state"] == "delivered"
    assert not world.stores.batches.get_blob_client(f"{record.batch.folder}/sending.json").exists()
    assert list(world.stores.raw.list_blobs()) == []


def test_run_that_finds_everything_sent_confirms_it(world: World) -> None:
    record = sealed(world)
    run = world.at(run_id=FIRST)
    todo = begin(run, record)
    copied(run, record, todo.files)
    copied(run, record, todo.last)

    then = begin(run, record, *names(run, record, todo.files, todo.last))

    assert (then.files, then.last) == ("", "")
    assert world.status(record)["state"] == "delivered"


def test_claim_outlasts_the_longest_silence_of_a_run_that_sends() -> None:
    """From one call about a batch to the next: the Copy, the look after it, and the call itself with its retries."""
    pipeline = json.loads((ROOT / "adf" / "pipeline" / "send_batch.json").read_text())["properties"]
    top = {activity["name"]: activity for activity in pipeline["activities"]}

    for group in ("Files", "Last"):
        steps = top[group]["typeProperties"]["ifTrueActivities"]
        assert sum((longest(each) for each in steps), timedelta()) < CLAIM_EXPIRES


def longest(activity: dict[str, Any]) -> timedelta:
    """Return how long an activity may take with all its retries."""
    policy = activity["policy"]
    days, clock = policy["timeout"].split(".")
    hours, minutes, seconds = map(int, clock.split(":"))
    once = timedelta(days=int(days), hours=hours, minutes=minutes, seconds=seconds)
    return once * (policy["retry"] + 1) + timedelta(seconds=policy["retryIntervalInSeconds"]) * policy["retry"]

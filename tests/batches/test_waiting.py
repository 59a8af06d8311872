"""A batch goes on by itself after it was extracted, and one look says how all batches of a run stand."""

from __future__ import annotations

from typing import Any

import pytest
from batch_world import DAY, PARTNER_KEY, START, World
from cryptography.hazmat.primitives import serialization
from staged_rows import staged_rows

import batches
from batches import Record, accepting
from batches.failing import record_failure
from local.partner import self_signed

RUN = "run"


def extract(world: World, record: Record) -> Record:
    """Do what a run does: extract, and ask for all that comes after."""
    world.stores.raw.upload_blob(f"{record.batch.folder}/rows.jsonl", staged_rows(), overwrite=True)
    return batches.request_sealing(world.at(run_id=RUN), record.batch, {}, deliver=True)


def cedarway(world: World) -> Record:
    """Return a planned batch that the function delivers."""
    world.key_vault.allow("function-app", secrets=("cedarway-certificate",))
    certificate = self_signed(PARTNER_KEY, "Cedarway").public_bytes(serialization.Encoding.PEM)
    world.key_vault.set_secret("cedarway-certificate", certificate.decode())
    start = START.replace(hour=12)
    return world.plan(partner="cedarway", feed="purchases", window_start=start, window_end=start + DAY)


def stage(world: World, record: Record, **request: Any) -> None:
    world.stage(record)
    batches.request_sealing(world.at(run_id=RUN), record.batch, {}, **request)
    message = next(iter(world.stores.seal_queue.receive_messages()))  # one queue is both in these tests
    batches.seal_files(world.context, message.content)
    world.stores.seal_queue.delete_message(message)


def look(world: World, *records: Record, waited: float = 0) -> dict[str, Any]:
    ids = [record.batch for record in records]
    return batches.look(world.at(run_id=RUN), ids, waited_seconds=waited, longest_seconds=60)


def deliveries(world: World) -> list[str]:
    return [message.content for message in world.stores.deliver_queue.receive_messages(visibility_timeout=600)]


def test_batch_of_the_function_is_queued_for_delivery_when_it_is_sealed(world: World) -> None:
    record = cedarway(world)

    stage(world, record, deliver=True)

    (message,) = deliveries(world)
    assert record.batch in message
    assert world.status(record)["state"] == "delivering"


def test_batch_whose_delivery_nobody_asked_for_stays_sealed_until_a_look(world: World) -> None:
    record = cedarway(world)
    stage(world, record)
    assert deliveries(world) == []

    found = look(world, record)

    assert (found["next"], found["busy"]) == ("wait", 1)
    assert len(deliveries(world)) == 1
    assert look(world, record)["next"] == "wait"
    assert deliveries(world) == [], "it is asked for once"


def test_asking_again_for_a_sealed_batch_queues_its_delivery_again(world: World) -> None:
    record = cedarway(world)
    stage(world, record)

    batches.request_sealing(world.at(run_id=RUN), record.batch, {}, deliver=True)

    assert len(deliveries(world)) == 1


def test_batch_of_data_factory_is_to_be_sent_when_it_is_sealed(world: World) -> None:
    record = world.plan()
    extract(world, record)
    assert look(world, record)["next"] == "wait"

    while world.work():
        pass

    found = look(world, record)
    assert found["next"] == "send"
    ((batch, sftp),) = ((each["batch"], each["sftp"]) for each in found["send"])
    assert batch == record.batch
    assert sftp["folder"] == record.folder
    assert deliveries(world) == []


def test_one_look_covers_all_batches_and_names_each_cause(world: World) -> None:
    sealed, failed = world.sealed(), world.plan(START + DAY)
    record_failure(world.at(run_id=RUN), failed.batch, step="seal", cause="the vault did not answer", hint="wait")
    planned = world.plan(START - DAY)
    unknown = batches.BatchId.of("northwind", "accruals", "2020-01-01", 1)

    found = batches.look(
        world.at(run_id=RUN),
        [sealed.batch, failed.batch, planned.batch, unknown],
        waited_seconds=0,
        longest_seconds=60,
    )

    assert (found["next"], [each["batch"] for each in found["send"]], found["failed"]) == ("send", [sealed.batch], 3)
    assert f"batch {failed.batch} failed: the vault did not answer" in found["causes"]
    assert f"batch {planned.batch} failed: its run ended before its rows were extracted" in found["causes"]
    assert f"batch {unknown} failed: it was not planned" in found["causes"]


def test_look_ends_with_what_happened(world: World) -> None:
    record = world.sealed()
    world.confirm(record)

    found = look(world, record)

    assert (found["next"], found["failed"]) == ("end", 0)
    assert found["outcome"].startswith("delivered before, at ")
    assert found["outcome"].endswith("; nothing was sent")


@pytest.mark.parametrize(("waited", "wait"), [(0, 10), (4, 10), (20, 20), (59, 59), (3600, 60)])
def test_first_looks_follow_each_other_closely(world: World, waited: float, wait: int) -> None:
    record = world.plan()
    extract(world, record)

    assert look(world, record, waited=waited)["wait"] == wait


def test_last_message_that_is_worked_first_looks_again_until_the_batch_is_sealed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batches.sealing.LOOK_AGAIN_SECONDS", 1)
    monkeypatch.setattr(accepting, "GROUP_FILES", 1)
    record = world.plan()
    world.stage(record)
    several = record.model_copy(update={"files": [record.files[0], "second.txt"]})
    world.stores.raw.upload_blob(f"{record.batch.folder}/second.txt", b"x\n")
    batches.record.update(world.stores.batches, record.batch, lambda _: several)
    batches.request_sealing(world.at(run_id=RUN), record.batch, {})
    first, last = sorted(world.stores.seal_queue.receive_messages(), key=lambda each: '"last":true' in each.content)

    batches.seal_files(world.context, last.content)
    world.stores.seal_queue.delete_message(last)
    batches.seal_files(world.context, first.content)
    world.stores.seal_queue.delete_message(first)

    while not world.work():  # the message that looks again is hidden for a second
        pass
    assert world.stores.encrypted.get_blob_client(f"{record.batch.folder}/manifest.json.sig").exists()
    assert not list(world.stores.seal_queue.peek_messages())

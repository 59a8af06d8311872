"""The story of a batch on real storage: every step can be repeated, interrupted and raced, and ends in the same place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from batch_world import DAY, NOW, PARTNER_KEY, ROWS, START, World, use_certificate
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

import batches
from batches import BatchId, Record
from batches.accepting import parse_message
from batches.manifest import list_sealed
from batches.sealing import fail_file
from encryption import Manifest, open_sealed, verify_signature
from local.partner import self_signed

# Plan


def test_same_window_gives_the_same_batch(world: World) -> None:
    first = world.plan()

    assert world.plan() == first
    assert (first.batch, first.sequence) == ("northwind.accruals.2026-11-21.1", 1)
    assert first.files == ["NW_ACCRUALS_20261121_000001.txt"]


def test_next_window_takes_the_next_number(world: World) -> None:
    world.plan()

    assert world.plan(START + DAY).sequence == 2


def test_a_correction_is_a_new_revision_with_its_own_number(world: World) -> None:
    world.plan()

    correction = world.plan(revision=2)

    assert (correction.batch, correction.sequence) == ("northwind.accruals.2026-11-21.2", 2)


def test_plans_at_the_same_time_agree_and_leave_no_gap(world: World) -> None:
    windows = [START + DAY * (n // 3) for n in range(12)]

    with ThreadPoolExecutor(12) as pool:
        records = list(pool.map(world.plan, windows))

    assert sorted({(record.batch, record.sequence) for record in records}, key=lambda pair: pair[1]) == [
        (record.batch, number) for number, record in enumerate(sorted(set_of(records), key=lambda r: r.sequence), 1)
    ]
    assert len({record.batch for record in records}) == 4


def set_of(records: list[Record]) -> list[Record]:
    return list({record.batch: record for record in records}.values())


def test_number_taken_before_a_crash_is_kept(world: World) -> None:
    record = world.plan()
    world.plan(START + DAY)
    world.stores.batches.delete_blob(f"{record.batch.folder}/batch.json")

    assert world.plan().sequence == record.sequence


def test_other_window_of_the_same_date_is_refused(world: World) -> None:
    world.plan()

    with pytest.raises(batches.OtherWindow):
        world.plan(window_end=START + DAY / 2)


def test_plan_for_another_window_leaves_a_failure_where_it_is(world: World) -> None:
    record = world.plan()
    batches.record_failure(world.context, record.batch, step="extract", cause="no table", hint="fix")

    with pytest.raises(batches.OtherWindow):
        world.plan(window_end=START + DAY / 2)

    assert world.status(record)["state"] == "failed"


def test_window_that_ends_before_it_starts_is_refused(world: World) -> None:
    with pytest.raises(batches.InvalidRequest):
        world.plan(window_end=START)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "northwind.accruals.2026-11-21",
        "northwind.accruals.2026-02-30.1",
        "northwind.accruals.2026-11-21.0",
        "../x.accruals.2026-11-21.1",
        "northwind.accruals.2026-11-21.1/..",
        "northwind.accruals.2026-11-21.1\n",
        "NORTHWIND.accruals.2026-11-21.1",
    ],
)
def test_text_that_is_no_batch_id_is_refused(text: str) -> None:
    with pytest.raises(batches.InvalidRequest):
        BatchId.parse(text)


# Seal


def test_sealed_file_opens_to_the_same_bytes_with_the_partners_key(world: World) -> None:
    record = world.sealed()

    sealed = world.blob(record, "NW_ACCRUALS_20261121_000001.txt.sealed")

    assert b"".join(open_sealed([sealed], PARTNER_KEY)) == ROWS
    assert world.status(record)["state"] == "sealed"


@pytest.mark.parametrize("size_bytes", [0, 1, 8 * 1024 * 1024 - 1, 8 * 1024 * 1024, 8 * 1024 * 1024 + 1, 20_000_000])
def test_any_size_is_sealed(world: World, size_bytes: int) -> None:
    data = (b"0123456789abcdef" * (size_bytes // 16 + 1))[:size_bytes]
    record = world.sealed(data=data)

    opened = b"".join(open_sealed([world.blob(record, record.sealed_name(record.files[0]))], PARTNER_KEY))

    assert hashlib.sha256(opened).digest() == hashlib.sha256(data).digest()


def test_manifest_is_signed_and_names_what_was_sealed(world: World) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record, rows={record.files[0]: 2000})
    world.work()

    written = world.blob(record, "manifest.json")
    public_key = load_pem_public_key(world.vault.public_key_pem("sealift-signing"))
    assert isinstance(public_key, rsa.RSAPublicKey)
    verify_signature(written, world.blob(record, "manifest.json.sig"), public_key)
    manifest = Manifest.from_bytes(written)

    sealed = world.blob(record, record.sealed_name(record.files[0]))
    assert manifest.keys_sha256 == hashlib.sha256(world.blob(record, "keys.json")).hexdigest()
    assert [(f.name, f.rows, f.sealed_sha256) for f in manifest.files] == [
        (record.files[0], 2000, hashlib.sha256(sealed).hexdigest())
    ]


def test_manifest_names_the_manifest_before_it(world: World) -> None:
    first = world.sealed()
    second = world.sealed(START + DAY)

    assert Manifest.from_bytes(world.blob(first, "manifest.json")).previous_manifest_sha256 is None
    assert (
        Manifest.from_bytes(world.blob(second, "manifest.json")).previous_manifest_sha256
        == hashlib.sha256(world.blob(first, "manifest.json")).hexdigest()
    )


def test_sealing_without_the_plaintext_is_refused(world: World) -> None:
    with pytest.raises(batches.NotStaged):
        world.request(world.plan())


def test_sealing_an_unknown_batch_is_refused(world: World) -> None:
    with pytest.raises(batches.UnknownBatch):
        batches.request_sealing(world.context, BatchId.parse("northwind.accruals.2001-01-01.1"), rows={})


def test_message_that_arrives_twice_changes_nothing(world: World) -> None:
    record = world.sealed()
    before = {blob.name: blob.etag for blob in world.stores.encrypted.list_blobs()}

    batches.seal_files(world.context, world.message(record))

    assert {blob.name: blob.etag for blob in world.stores.encrypted.list_blobs()} == before


def test_messages_worked_at_the_same_time_leave_one_file_that_opens(world: World) -> None:
    record = world.plan()
    world.stage(record, ROWS * 400)
    world.request(record)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: batches.seal_files(world.context, world.message(record)), range(4)))

    sealed = world.blob(record, record.sealed_name(record.files[0]))
    assert b"".join(open_sealed([sealed], PARTNER_KEY)) == ROWS * 400
    assert list_sealed(world.context, record)[record.sealed_name(record.files[0])].sealed_sha256 == (
        hashlib.sha256(sealed).hexdigest()
    )
    assert world.status(record)["state"] == "sealed"


def test_asking_again_queues_only_what_is_not_sealed(world: World) -> None:
    record = world.sealed()

    world.request(record)

    assert world.work() == 0


def test_two_requests_at_once_forget_a_failure_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)
    message = parse_message(world.message(record))
    fail_file(world.context, message, message.files[0], cause="no vault", hint="fix")
    listing = world.stores.batches.list_blob_names

    def other_request_is_faster(**options: Any) -> list[str]:
        names = list(listing(**options))
        for name in names:
            world.stores.batches.delete_blob(name)
        return names

    monkeypatch.setattr(world.stores.batches, "list_blob_names", other_request_is_faster)

    world.request(record)

    assert world.status(record)["state"] == "sealing"


def test_batch_whose_last_worker_died_is_finished_by_the_next_look(world: World) -> None:
    record = world.sealed()
    for name in ("manifest.json.sig", "manifest.json", "keys.json"):
        world.stores.encrypted.delete_blob(f"{record.batch.folder}/{name}")

    assert world.status(record)["state"] == "sealed"
    assert world.blob(record, "manifest.json.sig")


def test_raw_file_replaced_after_it_was_accepted_is_refused(world: World) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)
    world.stage(record, ROWS + b"another\n")

    world.work()

    status = world.status(record)
    assert status["state"] == "failed"
    assert "changed" in status["failure"]["cause"]
    assert "revision" in status["failure"]["hint"]
    assert not list(world.stores.encrypted.list_blobs())


def test_other_content_after_acceptance_is_a_conflict(world: World) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)
    world.stage(record, b"other")

    with pytest.raises(batches.ContentChanged):
        world.request(record)


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (lambda: self_signed(PARTNER_KEY, "N", starts=NOW - 2 * DAY, ends=NOW - DAY), "expired on"),
        (lambda: self_signed(PARTNER_KEY, "N", starts=NOW + DAY, ends=NOW + 2 * DAY), "starts"),
        (lambda: self_signed(rsa.generate_private_key(65537, 2048), "N"), "2048"),
        (lambda: self_signed(ec.generate_private_key(ec.SECP256R1()), "N"), "RSA"),  # type: ignore[arg-type]
    ],
    ids=["expired", "not yet valid", "too small", "not RSA"],
)
def test_unusable_certificate_fails_the_batch_and_the_mend_completes_it(
    world: World, certificate: Callable[[], Any], words: str
) -> None:
    use_certificate(world.key_vault, certificate())
    record = world.sealed()

    status = world.status(record)
    assert status["state"] == "failed"
    assert words in status["failure"]["cause"]
    assert status["failure"]["hint"]
    assert not list(world.stores.encrypted.list_blobs())

    use_certificate(world.key_vault, self_signed(PARTNER_KEY, "Northwind"))
    world.plan()
    world.request(record)
    world.work()

    assert world.status(record)["state"] == "sealed"
    assert [failure.step for failure in batches.read(world.stores.batches, record.batch).failures_before] == ["seal"]


def test_vault_that_is_busy_is_tried_again_by_the_queue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = world.plan()
    world.stage(record)
    world.request(record)

    class Busy(Exception):
        transient = True

    def refuse(*_: object) -> None:
        raise Busy

    monkeypatch.setattr(world.vault, "recipients", refuse)
    with pytest.raises(Busy):
        batches.seal_files(world.context, world.message(record))

    assert world.status(record)["state"] == "sealing"


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"version": 2}', "not json"])
def test_strange_message_is_refused(body: str) -> None:
    with pytest.raises(batches.InvalidRequest):
        parse_message(body)


def test_message_of_another_version_is_refused(world: World) -> None:
    body = world.message(world.plan()).replace('"version":1', '"version":9')

    with pytest.raises(batches.InvalidRequest, match="version 9"):
        parse_message(body)


@pytest.mark.parametrize("name", ["../other/file.txt", "a/b", "", ".hidden", "x" * 200])
def test_message_with_a_strange_file_name_is_refused(world: World, name: str) -> None:
    record = world.plan()
    body = world.message(record).replace(record.files[0], name)

    with pytest.raises(batches.InvalidRequest):
        parse_message(body)


def test_certificates_are_read_only_while_sealing(world: World) -> None:
    def certificate_reads() -> int:
        return sum("/secrets/northwind-certificate" in entry["path"] for entry in world.key_vault.requests())

    before = certificate_reads()
    record = world.plan()
    world.stage(record)
    world.request(record)
    assert certificate_reads() == before
    world.work()
    after = certificate_reads()
    assert after > before
    world.status(record)
    world.confirm(record)
    assert certificate_reads() == after


# Confirm


def test_receipt_is_written_and_the_plaintext_is_gone(world: World) -> None:
    record = world.sealed()

    receipt = world.confirm(record)

    assert receipt.batch == record.batch
    assert [file.name for file in receipt.files] == [
        "NW_ACCRUALS_20261121_000001.txt.sealed",
        f"{record.batch}.keys.json",
        f"{record.batch}.manifest.json.sig",
        f"{record.batch}.manifest.json",
    ]
    assert world.raw_versions() == []
    assert world.status(record)["state"] == "delivered"
    assert batches.read(world.stores.batches, record.batch).plaintext_purged_at == NOW


def test_confirming_again_gives_the_first_receipt(world: World) -> None:
    record = world.sealed()

    assert world.confirm(record) == world.confirm(record, arrived={})


def test_plaintext_left_by_a_crash_after_the_receipt_is_purged_by_the_next_confirmation(world: World) -> None:
    record = world.sealed()
    world.confirm(record)
    world.stage(record)

    world.confirm(record)

    assert world.raw_versions() == []


@pytest.mark.parametrize("missing", ["manifest.json", "sealed"])
def test_incomplete_delivery_is_refused_and_the_plaintext_stays(world: World, missing: str) -> None:
    record = world.sealed()
    arrived = {file.to: file.bytes for file in batches.remote_files(world.context, record)}
    arrived = {name: size for name, size in arrived.items() if not name.endswith(missing)}

    with pytest.raises(batches.NotDelivered, match="absent"):
        world.confirm(record, arrived)

    assert world.raw_versions()
    assert world.status(record)["state"] == "sealed"


def test_short_file_at_the_partner_is_refused(world: World) -> None:
    record = world.sealed()
    arrived = {file.to: file.bytes - 1 for file in batches.remote_files(world.context, record)}

    with pytest.raises(batches.NotDelivered, match="bytes, sealed"):
        world.confirm(record, arrived)


def test_first_cause_of_a_failure_stands(world: World) -> None:
    record = world.plan()
    for cause in ("the table is missing", "what followed"):
        batches.record_failure(world.context, record.batch, step="extract", cause=cause, hint="fix")

    assert world.status(record)["failure"]["cause"] == "the table is missing"


def test_deployed_code_keeps_no_state_between_calls(repository: Path) -> None:
    kept = {
        f"{path.stem}.{name}"
        for path in (repository / "batches").glob("*.py")
        for name, value in vars(__import__(f"batches.{path.stem}", fromlist=["x"])).items()
        if isinstance(value, dict | list | set) and not name.startswith("__") and not name.isupper()
    }

    assert kept == set()

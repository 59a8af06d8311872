"""Confirm: what arrived is compared with what was sealed, the receipt is written, and the plaintext is purged; in that order.

Also the place where a failure that Data Factory saw is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from batches import record as records
from batches.errors import NotDelivered
from batches.log import log_event, log_failure
from batches.record import BatchId, Record
from batches.stores import Stores


def read_receipt(stores: Stores, batch: BatchId) -> dict[str, Any] | None:
    """Return the proof of delivery, if the batch has one."""
    try:
        receipt: dict[str, Any] = json.loads(stores.batches.download_blob(f"{batch.folder}/receipt.json").readall())
    except ResourceNotFoundError:
        return None
    return receipt


def confirm(
    stores: Stores,
    record: Record,
    *,
    expected: Iterable[Mapping[str, Any]],
    arrived: Mapping[str, int],
    run_id: str | None,
    now: datetime,
) -> dict[str, Any]:
    """Compare sizes in bytes by remote name, write the receipt once and purge the plaintext.

    Asking again returns the receipt that was written first. Raises NotDelivered.
    """
    receipt = read_receipt(stores, record.id)
    if receipt is None:
        wrong = [
            f"{file['to']}: {_seen(arrived.get(file['to']))}, sealed {file['bytes']} bytes"
            for file in expected
            if arrived.get(file["to"]) != file["bytes"]
        ]
        if wrong:
            raise NotDelivered(
                f"batch {record.batch} is not complete at the partner: {'; '.join(wrong[:5])}",
                "run deliver_batch again for this window: what is there already is not sent twice",
            )
        receipt = {
            "batch": record.batch,
            "sequence": record.sequence,
            "delivered_at": now.isoformat(),
            "route": record.route,
            "run_id": run_id,
            "files": [{"name": file["to"], "bytes": file["bytes"]} for file in expected],
        }
        receipt = _write_receipt(stores, record.id, receipt)
    purge(stores, record, now)
    return receipt


def purge(stores: Stores, record: Record, now: datetime) -> None:
    """Delete the batch's plaintext with its snapshots, and record when."""
    for name in list(stores.raw.list_blob_names(name_starts_with=f"{record.id.folder}/")):
        try:
            stores.raw.delete_blob(name, delete_snapshots="include")
        except ResourceNotFoundError:
            continue
    if record.plaintext_purged_at is None:
        records.update(
            stores.batches,
            record.id,
            lambda current: (
                current if current.plaintext_purged_at else current.model_copy(update={"plaintext_purged_at": now})
            ),
        )
        log_event("batch.purged", batch=record.batch)


def record_failure(
    stores: Stores, batch: BatchId, *, step: str, cause: str, hint: str, run_id: str | None, now: datetime
) -> Record:
    """Record that a run gave up. The first cause stands. Raises UnknownBatch."""
    log_failure("batch.failed", batch=str(batch), step=step, cause=cause[:500], run_id=run_id)
    return records.update(
        stores.batches,
        batch,
        lambda record: records.fail(record, step=step, cause=cause, hint=hint, now=now, run_id=run_id),
    )


def _write_receipt(stores: Stores, batch: BatchId, receipt: dict[str, Any]) -> dict[str, Any]:
    blob = stores.batches.get_blob_client(f"{batch.folder}/receipt.json")
    try:
        blob.upload_blob(json.dumps(receipt, indent=1).encode(), match_condition=MatchConditions.IfMissing)
    except (ResourceExistsError, ResourceModifiedError):
        return json.loads(blob.download_blob().readall())  # type: ignore[no-any-return]
    log_event("batch.delivered", batch=str(batch), files=len(receipt["files"]))
    return receipt


def _seen(size_bytes: int | None) -> str:
    return "absent" if size_bytes is None else f"{size_bytes} bytes"

"""Purge: plaintext goes as soon as a batch has its receipt, and the ledger says what went, when and on whose word.

Deletes nothing of a batch that was not delivered: plaintext that is overdue is reported, never lost.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from azure.core.exceptions import ResourceNotFoundError

from batches import ledger
from batches import record as records
from batches.errors import InvalidRequest, PlaintextRemains, UnknownBatch
from batches.log import log_event
from batches.receipts import read_receipt
from batches.record import BatchId, Record
from batches.stores import Stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep of the raw container did: batches whose plaintext went now, and plaintext that waits for too long."""

    purged: list[str]
    overdue: list[str]


def purge(stores: Stores, record: Record, now: datetime, *, who: str | None = None, run_id: str | None = None) -> None:
    """Delete the batch's plaintext with every trace that storage keeps of it, and write down the evidence.

    Raises PlaintextRemains when the account still holds a recoverable copy.
    """
    prefix = f"{record.id.folder}/"
    found = list(stores.raw.list_blobs(name_starts_with=prefix))
    for blob in found:
        try:
            stores.raw.delete_blob(blob.name, delete_snapshots="include")
        except ResourceNotFoundError:
            continue
    if remains := list(stores.raw.list_blobs(name_starts_with=prefix, include=["snapshots", "versions", "deleted"])):
        raise PlaintextRemains(
            f"{len(remains)} deleted copies of batch {record.batch} can still be recovered in the raw account",
            "turn off soft delete and versioning of the raw account, as infra/ states it, then ./sealift batch purge",
        )
    if found or record.plaintext_purged_at is None:
        listed = "\n".join(f"{blob.name} {blob.size} {blob.etag}" for blob in found)
        ledger.note(
            stores.batches,
            record.id,
            "purged",
            now=now,
            run_id=run_id,
            who=who,
            once=not found,
            files=len(found),
            bytes=sum(blob.size for blob in found),
            listed_sha256=hashlib.sha256(listed.encode()).hexdigest(),
        )
        records.update(
            stores.batches,
            record.id,
            lambda current: (
                current if current.plaintext_purged_at else current.model_copy(update={"plaintext_purged_at": now})
            ),
        )
        log_event("batch.purged", batch=record.batch, files=len(found))


def sweep(stores: Stores, now: datetime, *, older_than: timedelta, who: str | None = None) -> Sweep:
    """Purge what delivered batches left behind, and name every other raw blob that is older than its limit."""
    purged: list[str] = []
    overdue: list[str] = []
    folders: dict[str, list[str]] = {}
    for blob in stores.raw.list_blobs():
        folders.setdefault(blob.name.rpartition("/")[0], [])
        if now - blob.last_modified > older_than:
            folders[blob.name.rpartition("/")[0]].append(blob.name)
    for folder, old in folders.items():
        record = _record_of(stores, folder)
        if record is not None and (record.emptied_at or read_receipt(stores, record, delivery=1) is not None):
            purge(stores, record, now, who=who)
            purged.append(record.batch)
        else:
            overdue += old
    return Sweep(purged=purged, overdue=overdue)


def _record_of(stores: Stores, folder: str) -> Record | None:
    """Return the batch that a raw folder belongs to; anything else in that container belongs to nobody."""
    try:
        return records.read(stores.batches, BatchId.parse(folder.replace("/", ".")))
    except (InvalidRequest, UnknownBatch):
        return None

"""Purge: plaintext goes as soon as a batch has its receipt, and the ledger says what went, when and on whose word.

Deletes nothing of a batch that was not delivered: plaintext that is overdue is reported, never lost.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from batches import ledger
from batches import record as records
from batches.context import Context
from batches.errors import InvalidRequest, PlaintextRemains, UnknownBatch, Unreadable
from batches.ledger import Note
from batches.log import log_event, log_failure
from batches.receipts import read_receipt
from batches.record import BatchId, Record

FEW, MOST_AT_ONCE = 4, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep of the raw container did: batches whose plaintext went now, and plaintext that waits for too long."""

    purged: list[str]
    overdue: list[str]


def purge(context: Context, record: Record, *, who: str | None = None) -> None:
    """Delete the batch's plaintext with every trace that storage keeps of it, and write down the evidence.

    Raises PlaintextRemains when the account still holds a recoverable copy.
    """
    raw, prefix = context.stores.raw, f"{record.batch.folder}/"
    found = list(raw.list_blobs(name_starts_with=prefix))
    _delete(raw, [blob.name for blob in found])
    if remains := list(raw.list_blobs(name_starts_with=prefix, include=["snapshots", "versions", "deleted"])):
        raise PlaintextRemains(
            f"{len(remains)} deleted copies of batch {record.batch} can still be recovered in the raw account",
            "turn off soft delete and versioning of the raw account, as infra/ states it, then ./sealift batch purge",
        )
    if found or record.plaintext_purged_at is None:
        listed = "\n".join(f"{blob.name} {blob.size} {blob.etag}" for blob in found)
        details = {
            "files": len(found),
            "bytes": sum(blob.size for blob in found),
            "listed_sha256": hashlib.sha256(listed.encode()).hexdigest(),
        }
        ledger.note(
            context, record.batch, Note("purged", since=record.planned_at, who=who, details=details), once=not found
        )
        now = context.now()
        records.update(
            context.stores.batches,
            record.batch,
            lambda current: (
                current if current.plaintext_purged_at else current.model_copy(update={"plaintext_purged_at": now})
            ),
        )
        log_event("batch.purged", batch=record.batch, files=len(found))


def _delete(raw: ContainerClient, names: list[str]) -> None:
    """Delete blobs that may be gone already: few one by one, many by batches of as many as storage takes in one request."""
    if len(names) <= FEW:
        for name in names:
            with suppress(ResourceNotFoundError):
                raw.delete_blob(name, delete_snapshots="include")
        return
    for at in range(0, len(names), MOST_AT_ONCE):
        answers = raw.delete_blobs(
            *names[at : at + MOST_AT_ONCE], delete_snapshots="include", raise_on_any_failure=False
        )
        if wrong := {answer.status_code for answer in answers} - {202, 404}:
            raise HttpResponseError(f"plaintext was not deleted: status {', '.join(map(str, sorted(wrong)))}")


def sweep(context: Context, *, older_than: timedelta, who: str | None = None) -> Sweep:
    """Purge what delivered batches left behind, and name every other raw blob that is older than its limit."""
    purged: list[str] = []
    overdue: list[str] = []
    folders: dict[str, list[str]] = {}
    for blob in context.stores.raw.list_blobs():
        old = folders.setdefault(blob.name.rpartition("/")[0], [])
        if context.now() - blob.last_modified > older_than:
            old.append(blob.name)
    for folder, old in folders.items():
        record = _done_batch(context, folder)
        if record is None:
            overdue += old
        else:
            purge(context, record, who=who)
            purged.append(record.batch)
    return Sweep(purged=purged, overdue=overdue)


def _done_batch(context: Context, folder: str) -> Record | None:
    """Return the batch of a raw folder when it was delivered, empty or superseded; what cannot be read is overdue."""
    try:
        record = records.read(context.stores.batches, BatchId.parse(folder.replace("/", ".")))
        if record.emptied_at or record.superseded_by or read_receipt(context, record, delivery=1) is not None:
            return record
    except (InvalidRequest, UnknownBatch):
        return None
    except Unreadable as error:
        log_failure("batch.unreadable", cause=error.message, hint=error.hint)
    return None

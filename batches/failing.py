"""A batch that stands still: the first cause is kept with its mend, and a later run that goes on keeps it as history."""

from __future__ import annotations

from datetime import datetime

from batches import ledger
from batches import record as records
from batches.log import log_failure
from batches.record import BatchId, Record
from batches.stores import Stores


def record_failure(
    stores: Stores, batch: BatchId, *, step: str, cause: str, hint: str, run_id: str | None, now: datetime
) -> Record:
    """Record that a run gave up. The first cause stands. Raises UnknownBatch."""
    log_failure("batch.failed", batch=str(batch), step=step, cause=cause[:500], run_id=run_id)
    record = records.update(
        stores.batches,
        batch,
        lambda current: records.fail(current, step=step, cause=cause, hint=hint, now=now, run_id=run_id),
    )
    failure = record.failure
    if failure is not None and failure.at == now:
        ledger.note(
            stores.batches,
            batch,
            "failed",
            now=now,
            run_id=run_id,
            delivery=record.delivery,
            failed_step=failure.step,
            cause=failure.cause,
        )
    return record

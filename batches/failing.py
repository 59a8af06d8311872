"""A batch that stands still: the first cause is kept with the action that helps; a later run that goes on keeps it as history."""

from __future__ import annotations

from batches import ledger
from batches import record as records
from batches.context import Context
from batches.ledger import Note
from batches.log import log_failure
from batches.record import BatchId, Failure, Record
from batches.sending import release_own, worker


def record_run_failure(context: Context, batch: BatchId, *, step: str, cause: str, hint: str) -> Record:
    """Record that a run of Data Factory gave up, and end its claim on the delivery; the run of another's batch fails alone.

    Raises UnknownBatch.
    """
    record = records.read(context.stores.batches, batch)
    work = worker(context, record)
    if work and work.run_id != context.run_id:
        about = {"run_id": context.run_id, "worked_by": work.run_id}
        log_failure("run.failed", batch=batch, step=step, cause=cause[:500], **about)
        return record
    record = record_failure(context, batch, step=step, cause=cause, hint=hint)
    release_own(context, record)
    return record


def record_failure(context: Context, batch: BatchId, *, step: str, cause: str, hint: str) -> Record:
    """Record that a run gave up. The first cause stands. Raises UnknownBatch."""
    failure = Failure(step=step, cause=cause, hint=hint, at=context.now(), run_id=context.run_id)
    log_failure("batch.failed", batch=batch, step=step, cause=failure.cause[:500], run_id=context.run_id)
    record = records.update(context.stores.batches, batch, lambda current: records.fail(current, failure))
    if record.failure == failure:
        details = {"failed_step": failure.step, "cause": failure.cause}
        ledger.note(context, batch, Note("failed", delivery=record.delivery, details=details))
    return record

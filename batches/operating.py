"""What an operator may ask for: look at batches, deliver the same bytes again, or let a batch that stands still go on.

Nothing here extracts. What was accepted for sealing stays what it was; other content needs a new revision.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Literal

from batches import ledger
from batches import record as records
from batches.accepting import request_sealing
from batches.delivering import request_delivery
from batches.errors import NotRepeatable
from batches.manifest import is_finished
from batches.receipts import read_receipt
from batches.record import BatchId, Record, Resend
from batches.status import state_of
from batches.stores import Stores

READS_AT_ONCE = 8


def list_batches(stores: Stores, *, partner: str | None, feed: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest batches with their state, newest business date first."""
    prefix = "/".join(part for part in (partner, feed if partner else None) if part)
    found: list[BatchId] = []
    for name in stores.batches.list_blob_names(name_starts_with=prefix and f"{prefix}/"):
        batch = BatchId.of_blob(name)
        if batch and name.endswith("/batch.json"):
            found.append(batch)
    if feed:
        found = [batch for batch in found if batch.feed == feed]
    found.sort(key=lambda batch: (batch.business_date, batch.partner, batch.feed, batch.revision), reverse=True)
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return list(pool.map(lambda batch: _summary(stores, batch), found[:limit]))


def history(stores: Stores, batch: BatchId) -> list[dict[str, Any]]:
    """Return the ledger's entries about a batch, oldest first. Raises UnknownBatch."""
    records.read(stores.batches, batch)
    entries = ledger.read_entries(stores.batches, batch)
    return [{**entry.content, "sha256": entry.sha256} for entry in entries if entry.content["batch"] == str(batch)]


def resend(stores: Stores, batch: BatchId, *, reason: str, who: str, now: datetime) -> Record:
    """Make a delivered batch deliverable once more: the same bytes, under the same names, as a new delivery.

    A file that is still at the partner with its size counts as there and is not sent twice; a partner that has swept its
    inbox gets every file again. Raises UnknownBatch, NotRepeatable.
    """
    wish = Resend(at=now, who=who, reason=reason)

    def add(current: Record) -> Record:
        if wish in current.resends:  # written already, although the answer was lost
            return current
        if read_receipt(stores, current) is None:
            raise NotRepeatable(
                f"delivery {current.delivery} of batch {batch} has not happened yet",
                "run deliver_batch for its window: a re-send is for what was delivered",
            )
        return current.model_copy(update={"resends": [*current.resends, wish], "failure": None})

    record = records.update(stores.batches, batch, add)
    ledger.note(
        stores.batches,
        batch,
        "resend asked",
        now=now,
        run_id=None,
        who=who,
        once=True,
        delivery=record.delivery,
        reason=reason,
    )
    return record


def replay(stores: Stores, batch: BatchId, *, start: Literal["seal", "deliver"], who: str, now: datetime) -> Record:
    """Let a batch that failed or hangs go on from a step. Raises UnknownBatch, NotStaged, ContentChanged, NotRepeatable."""
    record = records.read(stores.batches, batch)
    if read_receipt(stores, record) is not None:
        raise NotRepeatable(
            f"batch {batch} was delivered", f"./sealift batch resend {batch} --reason TEXT sends it again"
        )
    finished = is_finished(stores, batch)
    if start == "seal" and finished:
        raise NotRepeatable(
            f"batch {batch} is sealed", f"./sealift batch replay {batch} --from deliver goes on from there"
        )
    if record.emptied_at is not None:
        raise NotRepeatable(
            f"batch {batch} had no rows, and its feed sends no file then", "plan a correction: a new revision"
        )
    if start == "seal" and record.staged is None and record.rows is None:
        raise NotRepeatable(
            f"batch {batch} was never accepted for sealing", "run deliver_batch for its window: that extracts it first"
        )
    if start == "deliver" and not finished:
        raise NotRepeatable(f"batch {batch} is not sealed", f"./sealift batch replay {batch} --from seal")
    if start == "seal":
        record = request_sealing(stores, batch, rows={}, run_id=None, now=now)
    elif record.route == "function":
        record = request_delivery(stores, batch, run_id=None, now=now)
    else:
        record = records.update(stores.batches, batch, records.resume)
    ledger.note(stores.batches, batch, "replayed", now=now, run_id=None, who=who, delivery=record.delivery, start=start)
    return record


def _summary(stores: Stores, batch: BatchId) -> dict[str, Any]:
    record = records.read(stores.batches, batch)
    return {
        "batch": record.batch,
        "state": state_of(stores, record),
        "sequence": record.sequence,
        "delivery": record.delivery,
        "files": len(record.files),
        "route": record.route,
        "cause": record.failure.cause if record.failure else None,
    }

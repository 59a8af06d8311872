"""Planned: which batches of a day exist, answered by one listing for all feeds.

Plan leaves an empty blob `_planned/<business date>/<batch id>` after the record. It only spares looks: a batch without one may
exist all the same, for a crash came between the two or an older version planned it, so its record is looked for then. No
partner's name begins with an underscore.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from batches import blobs
from batches.context import Context
from batches.record import BatchId

READS_AT_ONCE = 16


def mark_planned(context: Context, batch: BatchId) -> None:
    """Leave the mark of a batch whose record is written."""
    blobs.write_once(context.stores.batches, f"{_folder(batch.business_date)}{batch}", b"")


def not_planned(context: Context, batches: Iterable[BatchId]) -> set[BatchId]:
    """Return those of the batches that nobody has planned: one call for each day, and one for each that has no mark."""
    asked = list(batches)
    container = context.stores.batches
    marks: set[str] = set()
    for day in sorted({batch.business_date for batch in asked}):
        marks.update(name.rpartition("/")[2] for name in container.list_blob_names(name_starts_with=_folder(day)))
    unmarked = [batch for batch in asked if batch not in marks]
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        there = list(pool.map(lambda batch: container.get_blob_client(f"{batch.folder}/batch.json").exists(), unmarked))
    return {batch for batch, exists in zip(unmarked, there, strict=True) if not exists}


def _folder(day: date) -> str:
    return f"_planned/{day}/"

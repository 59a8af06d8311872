"""Confirm: what arrived is compared with what was sealed, the receipt is written, and the plaintext is purged; in that order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from batches import ledger
from batches.errors import NotDelivered
from batches.log import log_event
from batches.purging import purge
from batches.receipts import digest, read_receipt, write_receipt
from batches.record import Record
from batches.stores import Stores


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
    if record.emptied_at is not None:
        purge(stores, record, now, run_id=run_id)
        return {
            "batch": record.batch,
            "delivered_at": record.emptied_at.isoformat(),
            "route": record.route,
            "files": [],
        }
    receipt = read_receipt(stores, record)
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
            "delivery": record.delivery,
            "delivered_at": now.isoformat(),
            "route": record.route,
            "run_id": run_id,
            "files": [{"name": file["to"], "bytes": file["bytes"]} for file in expected],
        }
        receipt = write_receipt(stores, record, receipt)
        log_event("batch.delivered", batch=record.batch, delivery=record.delivery, files=len(receipt["files"]))
    ledger.note(
        stores.batches,
        record.id,
        "delivered",
        now=now,
        run_id=run_id,
        once=True,
        delivery=record.delivery,
        receipt_sha256=digest(receipt),
    )
    purge(stores, record, now, run_id=run_id)
    return receipt


def _seen(size_bytes: int | None) -> str:
    return "absent" if size_bytes is None else f"{size_bytes} bytes"

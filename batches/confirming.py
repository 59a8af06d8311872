"""Confirm: what arrived is compared with what was sealed, the receipt is written, and the plaintext is purged; in that order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from batches import ledger
from batches.context import Context
from batches.errors import NotDelivered
from batches.ledger import Note
from batches.log import log_event
from batches.outgoing import RemoteFile
from batches.purging import purge
from batches.receipts import Receipt, ReceivedFile, read_receipt, write_receipt
from batches.record import Record


def confirm(context: Context, record: Record, expected: Iterable[RemoteFile], arrived: Mapping[str, int]) -> Receipt:
    """Compare sizes in bytes by remote name, write the receipt once and purge the plaintext.

    Asking again returns the receipt that was written first. Raises NotDelivered.
    """
    receipt = read_receipt(context, record)
    if receipt is None:
        files = list(expected)
        _refuse_incomplete(record, files, arrived)
        receipt = Receipt(
            batch=record.batch,
            sequence=record.sequence,
            delivery=record.delivery,
            delivered_at=context.now(),
            route=record.route,
            run_id=context.run_id,
            files=[ReceivedFile(name=file.to, bytes=file.bytes) for file in files],
        )
        receipt = write_receipt(context, record, receipt)
        log_event("batch.delivered", batch=record.batch, delivery=record.delivery, files=len(receipt.files))
    details = {"receipt_sha256": receipt.digest}
    ledger.note(
        context,
        record.batch,
        Note("delivered", since=record.planned_at, delivery=record.delivery, details=details),
        once=True,
    )
    purge(context, record)
    return receipt


def confirm_empty(context: Context, record: Record) -> Receipt:
    """Return what stands for the receipt of a batch without rows, which sends nothing; nothing of it is kept."""
    assert record.emptied_at is not None, "only batches without rows have no delivery"
    purge(context, record)
    return Receipt(
        batch=record.batch,
        sequence=record.sequence,
        delivery=record.delivery,
        delivered_at=record.emptied_at,
        route=record.route,
        run_id=context.run_id,
        files=[],
    )


def _refuse_incomplete(record: Record, expected: list[RemoteFile], arrived: Mapping[str, int]) -> None:
    wrong = [
        f"{file.to}: {_seen(arrived.get(file.to))}, sealed {file.bytes} bytes"
        for file in expected
        if arrived.get(file.to) != file.bytes
    ]
    if wrong:
        raise NotDelivered(
            f"batch {record.batch} is not complete at the partner: {'; '.join(wrong[:5])}",
            "run deliver_batch again for this window: what is there already is not sent twice",
        )


def _seen(size_bytes: int | None) -> str:
    return "absent" if size_bytes is None else f"{size_bytes} bytes"

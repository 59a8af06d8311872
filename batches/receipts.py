"""The proof that a delivery arrived: one receipt for each delivery of a batch, written once."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from pydantic import AwareDatetime, field_serializer

from batches import blobs
from batches.context import Context
from batches.record import BatchId, Record, Stored


class ReceivedFile(Stored):
    """A file as it was seen at the partner, under its name there."""

    name: str
    bytes: int


class Receipt(Stored):
    """receipt.json."""

    batch: BatchId
    sequence: int
    delivery: int
    delivered_at: AwareDatetime
    route: str
    run_id: str | None
    files: list[ReceivedFile]

    @field_serializer("delivered_at")
    def _with_offset(self, moment: datetime) -> str:
        return moment.isoformat()

    @property
    def digest(self) -> str:
        """The receipt's SHA-256, as the ledger names it."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def read_receipt(context: Context, record: Record, *, delivery: int | None = None) -> Receipt | None:
    """Return the receipt of a delivery, by default of the one that is due or done, if there is one. Raises Unreadable."""
    return blobs.read_model(context.stores.batches, record.of_delivery("receipt", delivery), Receipt)


def write_receipt(context: Context, record: Record, receipt: Receipt) -> Receipt:
    """Write the receipt of the current delivery, or return the one that another call wrote first. Raises Unreadable."""
    name = record.of_delivery("receipt")
    written = blobs.write_once(context.stores.batches, name, receipt.model_dump_json(indent=1).encode())
    return blobs.parse(written, name, Receipt)


def is_delivered(context: Context, batch: BatchId) -> bool:
    """Return whether the batch has the receipt of any delivery, readable or not."""
    return context.stores.batches.get_blob_client(f"{batch.folder}/receipt.json").exists()

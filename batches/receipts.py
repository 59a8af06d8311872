"""The proof that a delivery arrived: one receipt for each delivery of a batch, written once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from batches.record import Record
from batches.stores import Stores


def read_receipt(stores: Stores, record: Record, *, delivery: int | None = None) -> dict[str, Any] | None:
    """Return the receipt of a delivery, by default of the one that is due or done, if there is one."""
    try:
        data = stores.batches.download_blob(_name(record, delivery or record.delivery)).readall()
    except ResourceNotFoundError:
        return None
    receipt: dict[str, Any] = json.loads(data)
    return receipt


def write_receipt(stores: Stores, record: Record, receipt: dict[str, Any]) -> dict[str, Any]:
    """Write the receipt of the current delivery, or return the one that another call wrote first."""
    blob = stores.batches.get_blob_client(_name(record, record.delivery))
    try:
        blob.upload_blob(json.dumps(receipt, indent=1).encode(), match_condition=MatchConditions.IfMissing)
    except (ResourceExistsError, ResourceModifiedError):
        written: dict[str, Any] = json.loads(blob.download_blob().readall())
        return written
    return receipt


def digest(receipt: dict[str, Any]) -> str:
    """Return the receipt's SHA-256, as the ledger names it."""
    return hashlib.sha256(json.dumps(receipt, sort_keys=True).encode()).hexdigest()


def _name(record: Record, delivery: int) -> str:
    name = "receipt.json" if delivery == 1 else f"receipt.{delivery}.json"
    return f"{record.id.folder}/{name}"

"""The state of a batch, derived from what exists: receipt, signature, accepted files, failure. Nothing is stored for it.

planned -> sealing -> sealed -> (delivering) -> delivered -> (acknowledged | rejected)
        or -> empty: there were no rows, and the feed sends no file then

While sealing, the extracted rows are first shaped into files.

Any before delivered may become failed, until the batch is planned, sealed or delivered again; delivering is the route `function`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from batches import record as records
from batches.answers import read_answer
from batches.manifest import KEYS, MANIFEST, SIGNATURE, finish_if_sealed, is_finished
from batches.receipts import read_receipt
from batches.record import BatchId, Record
from batches.stores import Stores
from encryption.vault import Vault


def state_of(stores: Stores, record: Record) -> str:
    """Return the state as one word."""
    if read_receipt(stores, record) is not None:
        answer = read_answer(stores, record)
        return str(answer["says"]) if answer else "delivered"
    if record.failure:
        return "failed"
    if is_finished(stores, record.id):
        return "delivering" if record.delivering == record.delivery else "sealed"
    if record.emptied_at is not None:
        return "empty"
    return "sealing" if record.staged or record.rows else "planned"


def read_status(stores: Stores, vault: Vault, batch: BatchId, now: datetime) -> dict[str, Any]:
    """Return the batch's state and, once it is sealed, what must be sent. Raises UnknownBatch.

    A batch whose files are all sealed is finished here when the worker that should have done it was killed.
    """
    record = records.read(stores.batches, batch)
    state = state_of(stores, record)
    if state == "sealing" and finish_if_sealed(stores, vault, record, now):
        state = "sealed"
    answer: dict[str, Any] = {
        "batch": record.batch,
        "state": state,
        "sequence": record.sequence,
        "route": record.route,
        "window": {"start": record.window_start.isoformat(), "end": record.window_end.isoformat()},
        "failure": record.failure.model_dump(mode="json") if record.failure else None,
        "send": [],
        "last": [],
    }
    if state in ("delivered", "acknowledged", "rejected"):
        answer |= {"receipt": read_receipt(stores, record), "answer": read_answer(stores, record)}
    if state == "sealed" and record.route == "adf":
        *first, manifest = remote_files(stores, record)
        answer |= {"send": first, "last": [manifest]}
    return answer


def remote_files(stores: Stores, record: Record) -> list[dict[str, Any]]:
    """Return what the partner receives, in order, the manifest last: `{"folder", "name", "to", "bytes"}`.

    Sealed files keep their name; the batch's own files carry the batch id, since one inbox holds many batches.
    """
    sizes = {
        blob.name.rpartition("/")[2]: blob.size
        for blob in stores.encrypted.list_blobs(name_starts_with=f"{record.id.folder}/")
    }
    own = (KEYS, SIGNATURE, MANIFEST)
    names = [name for name in sorted(sizes) if name not in own] + list(own)
    return [
        {
            "folder": record.id.folder,
            "name": name,
            "to": f"{record.batch}.{name}" if name in own else name,
            "bytes": sizes[name],
        }
        for name in names
    ]

"""The partner's answer to a delivery, as it is on record: one for each delivery of a batch, written once."""

from __future__ import annotations

import json
from typing import Any

from azure.core.exceptions import ResourceNotFoundError

from batches.record import Record
from batches.stores import Stores


def read_answer(stores: Stores, record: Record) -> dict[str, Any] | None:
    """Return the partner's answer to the delivery that is done, if it has come."""
    return _read(stores, answer_name(record))


def written_before(stores: Stores, record: Record) -> float:
    """Return the time after which an answer to the newest delivery was written: none of an earlier delivery is taken for it.

    It is the time of the answer before, by the partner's own clock; where none is known, that of the wish to send again.
    """
    if not record.resends:
        return 0
    earlier = _read(stores, _name(record, record.delivery - 1))
    return (earlier or {}).get("newest_seconds") or record.resends[-1].at.timestamp()


def _read(stores: Stores, name: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = json.loads(stores.batches.download_blob(name).readall())
    except ResourceNotFoundError:
        return None
    return answer


def answer_name(record: Record) -> str:
    """Return the blob name of the answer to the delivery that is due or done."""
    return _name(record, record.delivery)


def _name(record: Record, delivery: int) -> str:
    name = "answer.json" if delivery == 1 else f"answer.{delivery}.json"
    return f"{record.id.folder}/{name}"

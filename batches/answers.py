"""The partner's answer to a delivery, as it is on record: one for each delivery of a batch, written once."""

from __future__ import annotations

import json
from typing import Any

from azure.core.exceptions import ResourceNotFoundError

from batches.record import Record
from batches.stores import Stores


def read_answer(stores: Stores, record: Record) -> dict[str, Any] | None:
    """Return the partner's answer to the delivery that is done, if it has come."""
    try:
        answer: dict[str, Any] = json.loads(stores.batches.download_blob(answer_name(record)).readall())
    except ResourceNotFoundError:
        return None
    return answer


def answer_name(record: Record) -> str:
    """Return the blob name of the answer to the delivery that is due or done."""
    name = "answer.json" if record.delivery == 1 else f"answer.{record.delivery}.json"
    return f"{record.id.folder}/{name}"

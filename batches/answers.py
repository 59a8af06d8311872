"""The partner's answer to a delivery, as it is on record: one for each delivery of a batch, written once."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from batches import blobs
from batches.context import Context
from batches.record import BatchId, Record, Stored


class AnsweredFile(Stored):
    """What the partner says about one file."""

    name: str
    says: str
    reason: str


class Answer(Stored):
    """answer.json; `newest_seconds` is when the partner wrote it, by the partner's clock, since 1970."""

    batch: BatchId
    delivery: int
    says: Literal["acknowledged", "rejected"]
    reason: str
    seen_at: AwareDatetime
    newest_seconds: float
    files: list[AnsweredFile]


def read_answer(context: Context, record: Record) -> Answer | None:
    """Return the partner's answer to the delivery that is done, if it has come. Raises Unreadable."""
    return blobs.read_model(context.stores.batches, record.of_delivery("answer"), Answer)


def write_answer(context: Context, record: Record, answer: Answer) -> Answer:
    """Write the answer, or return the one that another call wrote first. Raises Unreadable."""
    name = record.of_delivery("answer")
    written = blobs.write_once(context.stores.batches, name, answer.model_dump_json(indent=1).encode())
    return blobs.parse(written, name, Answer)


def written_before(context: Context, record: Record) -> float:
    """Return the time after which an answer to the newest delivery was written: none of an earlier delivery counts for it.

    It is the time of the answer before, by the partner's own clock; where none is known, that of the request to send again.
    """
    if not record.resends:
        return 0
    earlier = blobs.read_model(context.stores.batches, record.of_delivery("answer", record.delivery - 1), Answer)
    return (earlier.newest_seconds if earlier else 0) or record.resends[-1].at.timestamp()

"""The state of a batch, derived from what exists: receipt, signature, accepted files, failure. Nothing is stored for it.

planned -> sealing -> sealed -> (delivering) -> delivered -> (acknowledged | rejected)
        or -> empty: there were no rows, and the feed sends no file then

While sealing, the extracted rows are first shaped into files.

A batch of a `since_last` feed that never left is `superseded` when a later one took its days: it is never sent.

Any before delivered may become failed, until the batch is planned, sealed or delivered again. Delivering: the function is asked
to, or a run of Data Factory sends; for that run itself the batch is still sealed.

A batch whose blobs cannot be read is `unreadable`; one whose sealed files are gone is `failed`, whatever its record says.
"""

from __future__ import annotations

from typing import Any

from batches import record as records
from batches.answers import Answer, read_answer
from batches.context import Context
from batches.deliver_messages import finish_and_go_on
from batches.errors import BatchError, ForeignContent, SealedMissing, Unreadable
from batches.manifest import is_finished
from batches.outgoing import remote_files
from batches.receipts import Receipt, read_receipt
from batches.record import BatchId, Failure, Record, Stored, Work
from batches.sending import sender, worker


class Status(Stored):
    """A batch as a caller sees it: `worked_by` is the run at work."""

    batch: BatchId
    state: str
    sequence: int
    route: str
    window: dict[str, str] | None
    failure: Failure | None
    worked_by: Work | None = None
    receipt: Receipt | None = None
    answer: Answer | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; receipt and answer only where there may be one."""
        shown = self.model_dump(mode="json")
        return shown if self.receipt else {key: shown[key] for key in shown if key not in ("receipt", "answer")}


def state_of(context: Context, record: Record) -> str:
    """Return the state as one word. Raises Unreadable."""
    if read_receipt(context, record) is not None:
        answer = read_answer(context, record)
        return answer.says if answer else "delivered"
    if record.superseded_by is not None:
        return "superseded"
    if record.failure:
        return "failed"
    if is_finished(context, record.batch):
        return "delivering" if _is_delivering(context, record) else "sealed"
    if record.emptied_at is not None:
        return "empty"
    return "sealing" if record.staged or record.rows else "planned"


def _is_delivering(context: Context, record: Record) -> bool:
    if record.route == "function":
        return record.delivering == record.delivery
    sending = sender(context, record)
    return sending is not None and sending.run_id != context.run_id


def shown_state(context: Context, record: Record) -> str:
    """Return the state as one word, for a list: what cannot be read is a state of its own."""
    try:
        return state_of(context, record)
    except Unreadable:
        return "unreadable"


def read_status(context: Context, batch: BatchId) -> dict[str, Any]:
    """Return the batch's state, and its receipt once it is delivered. Raises UnknownBatch.

    A batch whose files are all sealed is finished here when the worker that should have done it was killed.
    """
    try:
        record = records.read(context.stores.batches, batch)
    except Unreadable as error:
        return _unreadable(context, batch, error)
    status = Status(
        batch=batch,
        state="unreadable",
        sequence=record.sequence,
        route=record.route,
        window={"start": record.window_start.isoformat(), "end": record.window_end.isoformat()},
        failure=record.failure,
    )
    try:
        found = _found(context, record)
        at_work = found["state"] in ("sealing", "sealed", "delivering")
        return status.model_copy(update={**found, "worked_by": worker(context, record) if at_work else None}).to_json()
    except Unreadable as error:
        return status.model_copy(update={"failure": _as_failure(context, "read", error)}).to_json()
    except (SealedMissing, ForeignContent) as error:
        return status.model_copy(
            update={"state": "failed", "failure": _as_failure(context, "deliver", error)}
        ).to_json()


def _found(context: Context, record: Record) -> dict[str, Any]:
    state = state_of(context, record)
    if state == "sealing" and finish_and_go_on(context, record):
        state = state_of(context, record)
    if state in ("delivered", "acknowledged", "rejected"):
        return {"state": state, "receipt": read_receipt(context, record), "answer": read_answer(context, record)}
    if state == "sealed":
        remote_files(context, record)  # raises where a sealed file is gone
    return {"state": state}


def _as_failure(context: Context, step: str, error: BatchError) -> Failure:
    return Failure(step=step, cause=error.message, hint=error.hint, at=context.now())


def _unreadable(context: Context, batch: BatchId, error: Unreadable) -> dict[str, Any]:
    failure = _as_failure(context, "read", error)
    return Status(batch=batch, state="unreadable", sequence=0, route="", window=None, failure=failure).to_json()

"""The messages of the queue `deliver`: one delivery to make, by its number. Written here, read by the worker in `delivering`."""

from __future__ import annotations

from pydantic import ValidationError

from batches.context import Context
from batches.errors import InvalidRequest
from batches.log import current_traceparent, log_event
from batches.manifest import finish_if_sealed
from batches.record import BatchId, Record, Stored

MESSAGE_VERSION = 1


class DeliverMessage(Stored):
    """One delivery to make, by its number: a message that a re-send has overtaken is dropped.

    `put_back`: it has found another worker at the batch before.
    """

    version: int
    batch: BatchId
    delivery: int
    run_id: str | None = None
    traceparent: str | None = None
    put_back: bool = False


def is_asked(record: Record) -> bool:
    """Whether this app is to bring the batch to its partner as soon as it is sealed."""
    return record.route == "function" and record.delivering == record.delivery


def ask(record: Record) -> Record:
    """Return the record of a batch whose delivery by this app is asked for; the route `adf` stays as it is."""
    return record.model_copy(update={"delivering": record.delivery}) if record.route == "function" else record


def queue_delivery(context: Context, record: Record) -> None:
    """Queue the delivery that is due. A second message for the same delivery is harmless."""
    message = DeliverMessage(
        version=MESSAGE_VERSION,
        batch=record.batch,
        delivery=record.delivery,
        run_id=context.run_id,
        traceparent=current_traceparent(),
    )
    context.stores.deliver_queue.send_message(message.model_dump_json())
    log_event("delivery.requested", batch=record.batch, delivery=record.delivery, run_id=context.run_id)


def finish_and_go_on(context: Context, record: Record) -> bool:
    """Finish the batch if all its files are sealed, queue its delivery if that is asked for; return whether it is finished."""
    if not finish_if_sealed(context, record):
        return False
    if is_asked(record):
        queue_delivery(context, record)
    return True


def parse_deliver_message(body: str) -> DeliverMessage:
    """Read one queue message. Raises InvalidRequest."""
    try:
        message = DeliverMessage.model_validate_json(body)
    except ValidationError:
        raise InvalidRequest(
            "the queue message is not a deliver message", "only POST /api/batches/{id}/deliver writes them"
        ) from None
    if message.version != MESSAGE_VERSION:
        raise InvalidRequest(
            f"the queue message has version {message.version}, this app knows {MESSAGE_VERSION}",
            "let the app that wrote it finish, or ask for delivery again: POST /api/batches/{id}/deliver",
        )
    return message

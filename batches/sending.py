"""Sending, the route `adf`: which run of Data Factory may send a batch, and which of its files our record says were sent.

One run at a time holds a delivery, by a claim that each of its calls renews. The claim ends with the receipt, with the run's
failure, with an operator's replay, or when its run has been silent for too long. What was sent is a fact of its own, written
once for each file and delivery: no later run sends that file again, whatever the partner did with it meanwhile.

Does not look at the partner's server: Data Factory does, and reports what it found there.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from pydantic import AwareDatetime

from batches import blobs
from batches.context import Context
from batches.errors import NotDelivered, WorkedOn
from batches.log import log_event
from batches.record import Record, Stored, Work


class Claim(Stored):
    """sending.json: the run that sends, since when, and its last sign of life."""

    run_id: str
    since: AwareDatetime
    seen: AwareDatetime


class Sent(Stored):
    """sent/<delivery>/<file>.json, and sent/begun/<file>.json for the first attempt: written once."""

    bytes: int
    run_id: str | None
    at: AwareDatetime


def claim(context: Context, record: Record) -> Claim:
    """Take or renew the claim on the delivery for the caller's run; return it, or the claim of the run that holds it."""
    assert context.run_id, "only a run can hold a delivery"
    mine, now = context.run_id, context.now()
    held: list[Claim] = []

    def take(content: bytes | None) -> bytes:
        current = blobs.parse(content, _name(record), Claim) if content else None
        if current and current.run_id != mine and not _is_silent(context, current.seen):
            held[:] = [current]
        elif current and current.run_id == mine:
            held[:] = [current.model_copy(update={"seen": now})]
        else:
            held[:] = [Claim(run_id=mine, since=now, seen=now)]
        return held[0].model_dump_json().encode()

    blobs.update(context.stores.batches, _name(record), take)
    return held[0]


def sender(context: Context, record: Record) -> Claim | None:
    """Return the claim of the run that sends now, if one does. Raises Unreadable."""
    found = blobs.read_model(context.stores.batches, _name(record), Claim)
    return None if found is None or _is_silent(context, found.seen) else found


def worker(context: Context, record: Record) -> Work | None:
    """Return the run that works on the batch and has not failed, if one is known. Raises Unreadable."""
    if record.route == "adf" and (sending := sender(context, record)):
        return Work(run_id=sending.run_id, since=sending.since)
    work = record.worked_by
    return None if work is None or record.failure or _is_silent(context, work.since) else work


def release(context: Context, record: Record) -> None:
    """End the claim on the delivery, whichever run holds it."""
    with suppress(ResourceNotFoundError):
        context.stores.batches.delete_blob(_name(record))


def release_own(context: Context, record: Record) -> None:
    """End the claim on the delivery if the caller's run holds it."""
    blob = context.stores.batches.get_blob_client(_name(record))
    with suppress(ResourceNotFoundError, ResourceModifiedError):
        download = blob.download_blob()
        found = blobs.parse(download.readall(), _name(record), Claim)
        if found.run_id == context.run_id:
            blob.delete_blob(etag=download.properties.etag, match_condition=MatchConditions.IfNotModified)


def begin_file(context: Context, record: Record, file: str, *, sealed_bytes: int, found_bytes: int | None) -> bool:
    """Return whether the run is to send the file now; `found_bytes` is the size of what the partner has under its name.

    What is at the partner counts as sent only where an attempt of ours is on record, or a receipt: a re-send has one.
    Raises WorkedOn for a run that does not hold the delivery, NotDelivered for a file that is not ours or not whole.
    """
    _hold(context, record)
    if blobs.read(context.stores.batches, _sent_name(record, file)) is not None:
        return False
    begun = f"{record.batch.folder}/sent/begun/{file}.json"
    fact = Sent(bytes=sealed_bytes, run_id=context.run_id, at=context.now()).model_dump_json().encode()
    if found_bytes is None:
        blobs.write_once(context.stores.batches, begun, fact)
        return True
    if record.delivery == 1 and blobs.read(context.stores.batches, begun) is None:
        raise NotDelivered(
            f"{file} was at the partner before we sent it, with {found_bytes} bytes: it is not ours, and is never overwritten",
            "ask the partner to remove it, then run deliver_batch again for the window",
        )
    if found_bytes != sealed_bytes:
        raise NotDelivered(
            f"{file} at the partner has {found_bytes} bytes, sealed were {sealed_bytes}: it is never overwritten",
            "ask the partner to remove it, then run deliver_batch again for the window",
        )
    blobs.write_once(context.stores.batches, _sent_name(record, file), fact)
    return False


def note_sent(context: Context, record: Record, file: str, *, sealed_bytes: int) -> None:
    """Record that the Copy of a file was completed. Raises WorkedOn, after that, for a run that no longer holds the delivery."""
    fact = Sent(bytes=sealed_bytes, run_id=context.run_id, at=context.now())
    blobs.write_once(context.stores.batches, _sent_name(record, file), fact.model_dump_json().encode())
    log_event("file.sent", batch=record.batch, file=file, delivery=record.delivery, run_id=context.run_id)
    _hold(context, record)


def sent_files(context: Context, record: Record) -> set[str]:
    """Return the names of the files that were sent in the delivery that is due."""
    prefix = f"{record.batch.folder}/sent/{record.delivery}/"
    names = context.stores.batches.list_blob_names(name_starts_with=prefix)
    return {name.removeprefix(prefix).removesuffix(".json") for name in names}


def refuse_others(context: Context, record: Record) -> None:
    """Raise WorkedOn when another run than the caller's holds the delivery."""
    holder = sender(context, record)
    if holder and holder.run_id != context.run_id:
        raise worked_on(record, holder)


def worked_on(record: Record, holder: Claim) -> WorkedOn:
    """Return the error about a batch that another run holds."""
    return WorkedOn(
        f"batch {record.batch} is being worked on by run {holder.run_id} since {holder.since.isoformat(timespec='seconds')}",
        f"wait for that run; if it was cancelled, run ./sealift batch replay {record.batch} --from deliver",
    )


def _hold(context: Context, record: Record) -> None:
    """Renew the claim of the caller's run. Raises WorkedOn."""
    mine = context.run_id
    if mine is None:
        raise WorkedOn(f"batch {record.batch} is sent by runs only", "give the run's id as runId")
    current = sender(context, record)
    if current is None:
        raise WorkedOn(
            f"run {mine} does not hold batch {record.batch}: it was silent for too long, or an operator replayed the batch",
            "run deliver_batch again for the window: what was sent is not sent again",
        )
    holder = claim(context, record) if current.run_id == mine else current
    if holder.run_id != mine:
        raise worked_on(record, holder)


def _is_silent(context: Context, since: datetime) -> bool:
    return context.now() - since > context.claim_expires


def _name(record: Record) -> str:
    return record.of_delivery("sending")


def _sent_name(record: Record, file: str) -> str:
    return f"{record.batch.folder}/sent/{record.delivery}/{file}.json"

"""Copy, the route `adf`: what a run of Data Factory is to send next, and what its report means.

A Copy sends a list of files: first all but the last, then the last, which is the manifest where the partner takes one. The run
looks at the partner's folder before and after, and reports the names that are there. What is at the partner is never
overwritten: it counts as sent where an attempt of ours is on record and its size is right, else the batch stops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from batches import blobs
from batches import record as records
from batches.confirming import confirm, confirm_empty
from batches.context import Context
from batches.errors import ForeignContent, InvalidRequest, NotDelivered, SealedMissing
from batches.log import log_event
from batches.outgoing import RemoteFile, missing, remote_files
from batches.receipts import Receipt, read_receipt
from batches.record import BatchId, Record, Stored
from batches.sending import (
    begun_files,
    claim,
    hold,
    note_file,
    note_list,
    read_list,
    refuse_others,
    release,
    sent_files,
    write_list,
)
from batches.status import state_of

SHOWN = 5


class LookAt(Stored):
    """A file of ours at the partner of which only the name is known: is it whole?"""

    name: str
    bytes: int


class NextCopy(Stored):
    """What a run does next: `files` and then `last` are lists to copy, "" for nothing; `look` comes before, and alone."""

    batch: BatchId
    folder: str
    look: tuple[LookAt, ...] = ()
    files: str = ""
    last: str = ""


def begin_copy(context: Context, batch: BatchId, found: Collection[str]) -> NextCopy:
    """Take the delivery for the caller's run and return what it is to send, given the names in the partner's folder.

    Nothing is to be sent where another run holds the delivery, or where it has happened. A delivery whose files were all
    sent is confirmed here. Raises UnknownBatch, NotDelivered, SealedMissing, ForeignContent, InvalidRequest.
    """
    record = records.read(context.stores.batches, batch)
    state = state_of(context, record)
    nothing = NextCopy(batch=batch, folder=record.batch.folder)
    if record.route != "adf":
        raise InvalidRequest(f"batch {batch} takes the route {record.route!r}", "ask for it: .../deliver")
    if state in ("delivering", "delivered", "acknowledged", "rejected", "empty"):
        return nothing
    if state != "sealed":
        raise NotDelivered(f"batch {batch} is {state}", "seal it first: POST /api/batches/{id}/seal")
    leaving = remote_files(context, record)
    if claim(context, record).run_id != context.run_id:
        return nothing
    sent, there = sent_files(context, record), set(found)
    _refuse_vanished(context, record, [file.to for file in leaving if file.to in sent], there)
    unclear = [file for file in leaving if file.to in there and file.to not in sent]
    if unclear:
        _refuse_foreign(context, record, unclear)
        return nothing.model_copy(update={"look": tuple(LookAt(name=file.to, bytes=file.bytes) for file in unclear)})
    todo = [file for file in leaving if file.to not in sent]
    if not todo:
        finish_copy(context, record)
        return nothing
    _stage_names(context, todo)
    before, last = [file.to for file in todo if file != leaving[-1]], todo[-1:] if todo[-1] == leaving[-1] else []
    return nothing.model_copy(
        update={
            "files": write_list(context, record, before) if before else "",
            "last": write_list(context, record, [file.to for file in last]) if last else "",
        }
    )


def note_looked(context: Context, batch: BatchId, file: str, found_bytes: int | None) -> None:
    """Judge a file of a Copy that was cut off, by its size at the partner: None where it is gone, then it is sent again.

    Raises UnknownBatch, WorkedOn, NotDelivered.
    """
    record = records.read(context.stores.batches, batch)
    hold(context, record)
    leaving = {each.to: each for each in remote_files(context, record)}
    if file not in leaving:
        raise InvalidRequest(f"batch {batch} has no file {file!r}", "send a name that `sending` answered")
    if found_bytes is None:
        return
    if found_bytes != leaving[file].bytes:
        raise NotDelivered(
            f"{file} at the partner has {found_bytes} bytes, sealed were {leaving[file].bytes}: it is never overwritten",
            "ask the partner to remove it, then run deliver_batch again for the window",
        )
    note_file(context, record, file, sealed_bytes=found_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a Copy says that it wrote: files and, where it says so, bytes."""

    files: int
    bytes: int | None = None


def note_copied(context: Context, batch: BatchId, name: str, *, written: Written, found: Collection[str]) -> None:
    """Record that the Copy of a list was completed; `found` are the names in the partner's folder after it.

    Raises WorkedOn, after that, for a run that no longer holds the delivery; NotDelivered for a Copy that was not whole.
    """
    record = records.read(context.stores.batches, batch)
    names = read_list(context, record, name)
    if written.files != len(names):
        raise NotDelivered(
            f"the Copy wrote {written.files} of {len(names)} files of batch {batch}",
            "run deliver_batch again for the window",
        )
    expected = sum(file.bytes for file in remote_files(context, record) if file.to in names)
    if written.bytes is not None and written.bytes < expected:
        raise NotDelivered(
            f"the Copy wrote {written.bytes} of {expected} bytes of batch {batch}",
            "run deliver_batch again for the window",
        )
    note_list(context, record, name)
    log_event("files.sent", batch=batch, files=len(names), delivery=record.delivery, run_id=context.run_id)
    hold(context, record)
    _refuse_vanished(context, record, names, set(found))


def finish_copy(context: Context, record: Record) -> None:
    """Write the receipt of a delivery whose files were all sent, purge, and end the claim. Raises NotDelivered."""
    expected = remote_files(context, record)
    sent = sent_files(context, record)
    if unsent := [file.to for file in expected if file.to not in sent]:
        raise NotDelivered(
            f"batch {record.batch} is not complete: no run has sent {_shown(unsent)}",
            "run deliver_batch again for this window: what was sent is not sent again",
        )
    confirm(context, record, expected, {file.to: file.bytes for file in expected})
    release(context, record)


def confirm_copied(context: Context, batch: BatchId) -> Receipt:
    """Return the receipt of a batch, written now if a run of Data Factory has sent all of it.

    Raises UnknownBatch, NotDelivered, WorkedOn, SealedMissing.
    """
    record = records.read(context.stores.batches, batch)
    state = state_of(context, record)
    if state == "empty":
        return confirm_empty(context, record)
    if record.route == "adf" and state in ("sealed", "delivering"):
        refuse_others(context, record)
        finish_copy(context, record)
    receipt = read_receipt(context, record)
    if receipt is None:
        raise NotDelivered(f"batch {batch} is {state}", "seal and deliver it first")
    return confirm(context, record, (), {})


def _refuse_vanished(context: Context, record: Record, names: Sequence[str], there: Collection[str]) -> None:
    """Raise NotDelivered where the partner no longer has what was sent, unless its file says that it takes files away."""
    gone = [name for name in names if name not in there]
    if gone and context.partner(record.batch.partner).delivery.confirm:
        raise NotDelivered(
            f"{_shown(gone)} was sent whole, and is no longer at the partner: where the partner takes files away at once, "
            "write confirm: false under delivery in the partner file",
            "then run deliver_batch again for the window: what was sent is not sent again",
        )


def _refuse_foreign(context: Context, record: Record, unclear: Iterable[RemoteFile]) -> None:
    """Raise NotDelivered for a file under our name that no attempt of ours can have written: a re-send has a receipt."""
    if record.delivery > 1:
        return
    begun = begun_files(context, record)
    if foreign := [file.to for file in unclear if file.to not in begun]:
        raise NotDelivered(
            f"{_shown(foreign)} was at the partner before we sent it: it is not ours, and is never overwritten",
            "ask the partner to remove it, then run deliver_batch again for the window",
        )


def _stage_names(context: Context, files: Iterable[RemoteFile]) -> None:
    """Write the batch's own files once more under the names that they get at the partner: one Copy keeps names as they are.

    Raises SealedMissing, ForeignContent.
    """
    for file in files:
        if file.to == file.name:
            continue
        content = blobs.read(context.stores.encrypted, f"{file.folder}/{file.name}")
        if content is None or len(content) != file.bytes or not _is_right(file, content):
            raise missing(file) if content is None else _other(file)
        if blobs.write_once(context.stores.encrypted, f"{file.folder}/{file.to}", content) != content:
            raise ForeignContent(f"{file.to} in the encrypted container is not {file.name}: nothing is sent")


def _is_right(file: RemoteFile, content: bytes) -> bool:
    return file.sha256 is None or hashlib.sha256(content).hexdigest() == file.sha256


def _other(file: RemoteFile) -> SealedMissing:
    return missing(file, "is not the one that the manifest names")


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

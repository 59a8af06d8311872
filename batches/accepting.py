"""Accept: the raw files of a batch become its content for good, and are queued: a message for a large file, or for small ones.

What was accepted is pinned by name and ETag and never replaced: the request of another run joins it. Asking again queues only
what is not sealed yet.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Literal

from azure.core.exceptions import ResourceNotFoundError
from pydantic import AwareDatetime, ValidationError

from batches import ledger
from batches import record as records
from batches.context import Context
from batches.deliver_messages import ask, queue_delivery
from batches.errors import ContentChanged, InvalidRequest, NotStaged
from batches.ledger import Note
from batches.log import current_traceparent, log_event
from batches.manifest import is_finished, sealed_names
from batches.receipts import read_receipt
from batches.record import ROWS, BatchId, Record, StagedFile, StagedRows, Stored, Work, is_extract
from batches.stores import BLOCK_BYTES
from batches.transfer import quoted
from encryption.sealing import Format
from partners.model import FileWishes, OpenPgpFiles, SmimeFiles
from partners.naming import SAFE_FILE_NAME

MESSAGE_VERSION = 1
MESSAGES_AT_ONCE = 16

# Small files share a message: 10,000 of them are queued within one HTTP call, and a worker's message still takes seconds.
GROUP_FILES = 50
GROUP_BYTES = 16 * 1024 * 1024

# A blob has at most 50,000 blocks; the rest is room for what sealing adds.
LARGEST_BYTES = 49_000 * BLOCK_BYTES


class SealMessage(Stored):
    """Files to seal, as they were accepted: a worker need not read the record, which may list 10,000 files.

    `last` marks the message whose worker looks whether the whole batch is done.
    """

    version: int
    batch: BatchId
    files: list[StagedFile]
    format: Format
    openpgp: OpenPgpFiles | None = None
    smime: SmimeFiles | None = None
    last: bool
    planned_at: AwareDatetime | None = None
    parts: int | None = None
    run_id: str | None = None
    traceparent: str | None = None

    @property
    def wishes(self) -> FileWishes | None:
        """How the partner wants the files of a format that leaves a choice."""
        return self.openpgp or self.smime


class ShapeMessage(Stored):
    """Rows to shape, as they were accepted."""

    version: int
    shape: Literal["rows"] = "rows"
    batch: BatchId
    etag: str
    run_id: str | None = None
    traceparent: str | None = None


def request_sealing(
    context: Context, batch: BatchId, rows: Mapping[str, int], *, extract: str = ROWS, deliver: bool = False
) -> Record:
    """Accept what was extracted as the batch's content and queue it: rows to be shaped, or files that are not sealed yet.

    `rows` is the number of rows by file, where the caller knows it; `extract` the name of the caller's extraction. With
    `deliver` a batch of the route `function` is delivered as soon as it is sealed. Asking again is harmless, and a run that
    comes second joins what was accepted: its own extraction is dropped.
    Raises UnknownBatch, NotStaged, ContentChanged, InvalidRequest, Superseded.
    """
    record = records.read(context.stores.batches, batch)
    if record.emptied_at is not None:
        drop_extracts(context, batch)
        return record
    if record.superseded_by is not None:
        drop_extracts(context, batch)
        records.refuse_superseded(record)
    if is_finished(context, batch):
        drop_extracts(context, batch)
        _refuse_other_content(context, record)
        return _go_on(context, record, deliver=deliver)
    if record.staged is None and (extracted := _staged_rows(context, record, extract)) is not None:
        return _queue_shaping(context, record, extracted, deliver=deliver)
    staged = _accept(context, record, rows)

    def accept(current: Record) -> Record:
        if current.staged and _content(current.staged) != _content(staged):
            raise ContentChanged(
                f"batch {batch} was accepted with other content than the raw container holds now",
                "what was accepted is never replaced: plan a correction with the next revision",
            )
        resumed = take_over(context, records.resume(current))
        return _asked(resumed, deliver=deliver).model_copy(update={"staged": current.staged or staged})

    record = records.update(context.stores.batches, batch, accept)
    details = {
        "files": len(staged),
        "bytes": sum(file.size_bytes for file in staged),
        "content_sha256": hashlib.sha256(repr(_content(record.staged or [])).encode()).hexdigest(),
    }
    ledger.note(context, batch, Note("accepted", since=record.planned_at, details=details), once=True)
    queue_sealing(context, record)
    drop_extracts(context, batch)
    return record


def take_over(context: Context, record: Record) -> Record:
    """Return the record with the caller's run as the one that works on it."""
    if record.worked_by and record.worked_by.run_id == context.run_id:
        return record
    work = Work(run_id=context.run_id, since=context.now()) if context.run_id else None
    return record.model_copy(update={"worked_by": work})


def _asked(record: Record, *, deliver: bool) -> Record:
    return ask(record) if deliver else record


def _go_on(context: Context, record: Record, *, deliver: bool) -> Record:
    """Take over a batch that is sealed, and queue its delivery where that is asked for and has not happened."""
    goes_on = deliver and record.route == "function" and read_receipt(context, record) is None

    def take(current: Record) -> Record:
        return ask(take_over(context, records.resume(current))) if goes_on else take_over(context, current)

    record = records.update(context.stores.batches, record.batch, take)
    if goes_on:
        queue_delivery(context, record)
    return record


def drop_extracts(context: Context, batch: BatchId) -> None:
    """Delete what runs have extracted, once the batch's files are made: nothing is made from it any more."""
    raw, prefix = context.stores.raw, f"{batch.folder}/"
    for name in raw.list_blob_names(name_starts_with=prefix):
        if is_extract(name.removeprefix(prefix)):
            with suppress(ResourceNotFoundError):
                raw.delete_blob(name)


def queue_sealing(context: Context, record: Record) -> None:
    """Queue the accepted files that are not sealed yet."""
    _forget_failures(context, record.batch)
    sealed = sealed_names(context, record)
    todo = [file for file in record.staged or [] if record.sealed_name(file.name) not in sealed]
    common: dict[str, Any] = {
        "version": MESSAGE_VERSION,
        "batch": record.batch,
        "format": record.format,
        "openpgp": record.openpgp,
        "smime": record.smime,
        "run_id": context.run_id,
        "traceparent": current_traceparent(),
        "parts": len(record.files),
        "planned_at": record.planned_at,
    }
    messages = [SealMessage(**common, files=files, last=files[-1] is todo[-1]) for files in _group(todo)]
    send = context.stores.seal_queue.send_message
    with ThreadPoolExecutor(MESSAGES_AT_ONCE) as pool:
        deque(pool.map(lambda message: send(message.model_dump_json()), messages), maxlen=0)
    log_event("seal.requested", batch=record.batch, files=len(record.files), queued=len(todo), run_id=context.run_id)


def parse_shape_message(body: str) -> ShapeMessage | None:
    """Return the message when it asks for shaping, None for any other. Raises InvalidRequest for another version."""
    try:
        message = ShapeMessage.model_validate_json(body)
    except ValidationError:
        return None
    if message.version != MESSAGE_VERSION:
        raise InvalidRequest(
            f"the queue message has version {message.version}, this app knows {MESSAGE_VERSION}",
            "let the app that wrote it finish, or ask for sealing again: POST /api/batches/{id}/seal",
        )
    return message


def _staged_rows(context: Context, record: Record, extract: str) -> StagedRows | None:
    """Return the rows that were accepted, else those that the caller has extracted, as they are in the raw container."""
    for name in (record.rows.name, extract) if record.rows else (extract,):
        with suppress(ResourceNotFoundError):
            found = context.stores.raw.get_blob_client(f"{record.batch.folder}/{name}").get_blob_properties()
            return StagedRows(name=name, etag=quoted(found.etag), size_bytes=found.size)
    return None


def _queue_shaping(context: Context, record: Record, staged: StagedRows, *, deliver: bool) -> Record:
    """Pin the rows, unless those of another run are pinned already, and queue a message that shapes what is pinned."""

    def pin(current: Record) -> Record:
        if current.rows is not None and current.rows.name == staged.name and current.rows != staged:
            raise ContentChanged(
                f"the rows of batch {record.batch} were extracted again while they are being shaped",
                "wait until the batch is sealed or has failed, then run the window again",
            )
        resumed = take_over(context, records.resume(current))
        return _asked(resumed, deliver=deliver).model_copy(update={"rows": current.rows or staged})

    record = records.update(context.stores.batches, record.batch, pin)
    assert record.rows is not None, "the rows were pinned"
    staged = record.rows
    details = {"bytes": staged.size_bytes, "etag": staged.etag}
    ledger.note(context, record.batch, Note("extracted", since=record.planned_at, details=details), once=True)
    message = ShapeMessage(
        version=MESSAGE_VERSION,
        batch=record.batch,
        etag=staged.etag,
        run_id=context.run_id,
        traceparent=current_traceparent(),
    )
    context.stores.seal_queue.send_message(message.model_dump_json())
    log_event("shape.requested", batch=record.batch, bytes=staged.size_bytes, run_id=context.run_id)
    return record


def parse_message(body: str) -> SealMessage:
    """Raises InvalidRequest."""
    try:
        message = SealMessage.model_validate_json(body)
    except ValidationError:
        raise InvalidRequest(
            "the queue message is not a seal message", "only POST /api/batches/{id}/seal writes them"
        ) from None
    if message.version != MESSAGE_VERSION:
        raise InvalidRequest(
            f"the queue message has version {message.version}, this app knows {MESSAGE_VERSION}",
            "let the app that wrote it finish, or ask for sealing again: POST /api/batches/{id}/seal",
        )
    if not all(SAFE_FILE_NAME.match(file.name) for file in message.files):
        raise InvalidRequest(
            "the queue message names a file that no feed has", "find out which other program writes into this queue"
        )
    return message


def _group(files: Iterable[StagedFile]) -> Iterator[list[StagedFile]]:
    """Yield files that share a message: one large file, or small ones that follow each other."""
    group: list[StagedFile] = []
    size = 0
    for file in files:
        if group and (len(group) == GROUP_FILES or size + file.size_bytes > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size_bytes
    if group:
        yield group


def _accept(context: Context, record: Record, rows: Mapping[str, int]) -> list[StagedFile]:
    """Return the batch's raw files as they are now. Raises NotStaged."""
    prefix = f"{record.batch.folder}/"
    if not record.files:
        raise NotStaged(f"{ROWS} of batch {record.batch} is not in the raw container", "extract it first")
    found = {blob.name.removeprefix(prefix): blob for blob in context.stores.raw.list_blobs(name_starts_with=prefix)}
    if missing := [name for name in record.files if name not in found]:
        raise NotStaged(
            f"{', '.join(missing[:5])} of batch {record.batch} is not in the raw container",
            "extract it first, then ask for sealing again",
        )
    if large := [name for name in record.files if found[name].size > LARGEST_BYTES]:
        raise InvalidRequest(
            f"{large[0]} of batch {record.batch} is larger than {LARGEST_BYTES:,} bytes, the most that a blob can hold sealed",
            "split the feed",
        )
    return [
        StagedFile(name=name, etag=quoted(found[name].etag), size_bytes=found[name].size, rows=rows.get(name))
        for name in record.files
    ]


def _refuse_other_content(context: Context, record: Record) -> None:
    """Raise ContentChanged when raw holds plaintext that is not what was sealed; an empty container is normal."""
    accepted = {file.name: file.etag for file in record.staged or []}
    for blob in context.stores.raw.list_blobs(name_starts_with=f"{record.batch.folder}/"):
        name = blob.name.rpartition("/")[2]
        if not is_extract(name) and accepted.get(name) != quoted(blob.etag):
            raise ContentChanged(
                f"batch {record.batch} is sealed, and the raw container holds other content for it now",
                "what was accepted is never replaced: plan a correction with the next revision",
            )


def _content(staged: list[StagedFile]) -> list[tuple[str, str]]:
    return [(file.name, file.etag) for file in staged]


def _forget_failures(context: Context, batch: BatchId) -> None:
    container = context.stores.batches
    for name in container.list_blob_names(name_starts_with=f"{batch.folder}/files/"):
        with suppress(ResourceNotFoundError):  # another request was faster
            container.delete_blob(name)

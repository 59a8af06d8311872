"""Seal: every plaintext file of a batch becomes a sealed blob, each by one queue message; then the manifest is written.

A sealed blob carries its own result as metadata, set by the commit that makes it visible, so there is no instant at which
data and result can disagree. Every step can be killed anywhere and run again; messages may arrive twice or at the same time.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobClient
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from batches import ledger
from batches import record as records
from batches.errors import BatchError, ContentChanged, InvalidRequest, NotStaged
from batches.failing import record_failure
from batches.log import count_sealed, current_traceparent, log_event, log_failure, step
from batches.manifest import finish, is_finished
from batches.record import BatchId, Record, StagedFile
from batches.stores import BLOCK_BYTES, Stores
from batches.transfer import BlockWriter, read_blob
from encryption import EXTENSIONS, EncryptionError, FileInfo, Recipient, SealedFile, seal
from encryption.sealing import Format
from encryption.vault import Vault
from partners import PartnerError, load_partner
from partners.model import SAFE_FILE_NAME

MESSAGE_VERSION = 1
MESSAGES_AT_ONCE = 16

# A blob has at most 50,000 blocks; the rest is room for what sealing adds.
LARGEST_BYTES = 49_000 * BLOCK_BYTES


class SealMessage(BaseModel):
    """One file to seal, as it was accepted: a worker need not read the record, which may list 10,000 files.

    `last` marks the message whose worker looks whether the whole batch is done.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    batch: str
    file: StagedFile
    format: Format
    last: bool
    run_id: str | None = None
    traceparent: str | None = None


class FileFailure(BaseModel):
    """files/<file>.json: why a file could not be sealed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    cause: str
    hint: str
    at: AwareDatetime


def request_sealing(
    stores: Stores, batch: BatchId, *, rows: Mapping[str, int], run_id: str | None, now: datetime
) -> Record:
    """Accept the raw files as the batch's content and queue one message for each that is not sealed yet.

    `rows` is the number of rows by file, where the caller knows it. Asking again is harmless.
    Raises UnknownBatch, NotStaged, ContentChanged, InvalidRequest.
    """
    record = records.read(stores.batches, batch)
    if is_finished(stores, batch):
        _refuse_other_content(stores, record)
        return record
    staged = _accept(stores, record, rows)

    def accept(current: Record) -> Record:
        if current.staged and _content(current.staged) != _content(staged):
            raise ContentChanged(
                f"batch {batch} was accepted with other content than the raw container holds now",
                "what was accepted is never replaced: plan a correction with the next revision",
            )
        return records.resume(current).model_copy(update={"staged": current.staged or staged})

    record = records.update(stores.batches, batch, accept)
    ledger.note(
        stores.batches,
        batch,
        "accepted",
        now=now,
        run_id=run_id,
        once=True,
        files=len(staged),
        bytes=sum(file.size_bytes for file in staged),
        content_sha256=hashlib.sha256(repr(_content(record.staged or [])).encode()).hexdigest(),
    )
    _forget_failures(stores, batch)
    sealed = _sealed_names(stores, record)
    todo = [file for file in record.staged or [] if record.sealed_name(file.name) not in sealed]
    common: dict[str, Any] = {"version": MESSAGE_VERSION, "batch": str(batch), "format": record.format}
    common |= {"run_id": run_id, "traceparent": current_traceparent()}
    messages = [SealMessage(**common, file=file, last=file is todo[-1]) for file in todo]
    with ThreadPoolExecutor(MESSAGES_AT_ONCE) as pool:
        deque(pool.map(lambda message: stores.seal_queue.send_message(message.model_dump_json()), messages), maxlen=0)
    log_event("seal.requested", batch=str(batch), files=len(record.files), queued=len(todo), run_id=run_id, at=now)
    return record


def seal_file(stores: Stores, vault: Vault, body: str, *, now: datetime, attempt: int = 1) -> None:
    """Work one queue message. Faults that a retry cannot mend are recorded; any other is raised, and the queue retries."""
    message = parse_message(body)
    about = {"run_id": message.run_id, "batch": message.batch, "file": message.file.name, "attempt": attempt}
    with step("seal file", traceparent=message.traceparent, **about):
        started = time.monotonic()
        try:
            sealed = _seal(stores, vault, message, now)
        except (EncryptionError, PartnerError, BatchError) as error:
            if getattr(error, "transient", False):
                raise
            fail_file(stores, message, cause=str(error), hint=error.hint, now=now)
            return
        seconds = round(time.monotonic() - started, 3)
        sizes = {"plaintext_bytes": sealed.plaintext_bytes, "sealed_bytes": sealed.sealed_bytes}
        log_event("file.sealed", **sizes, seconds=seconds)
        count_sealed(sealed.plaintext_bytes)
        if message.last:
            _finish_or_fail(stores, vault, message, now)


def fail_file(stores: Stores, message: SealMessage, *, cause: str, hint: str, now: datetime) -> None:
    """Record that a file cannot be sealed, and so that its batch has failed; unless another attempt has sealed it."""
    batch, file = BatchId.parse(message.batch), message.file.name
    if _result_of(_target(stores, message)) is not None:
        log_event("file.sealed.before", batch=message.batch, file=file, run_id=message.run_id, cause=cause)
        return
    failure = FileFailure(file=file, cause=cause[:500], hint=hint[:500], at=now)
    stores.batches.upload_blob(f"{batch.folder}/files/{file}.json", failure.model_dump_json().encode(), overwrite=True)
    record_failure(stores, batch, step="seal", cause=f"{file}: {cause}", hint=hint, run_id=message.run_id, now=now)
    log_failure("file.failed", batch=message.batch, file=file, run_id=message.run_id, cause=cause, hint=hint)


def give_up(stores: Stores, body: str, *, now: datetime) -> None:
    """Record what a message that failed after every retry was about: its file, or the batch that a strange one names."""
    try:
        message = parse_message(body)
    except InvalidRequest as error:
        batch = _named_batch(body)
        log_failure("message.dropped", error=str(error), batch=str(batch) if batch else None)
        if batch:
            record_failure(stores, batch, step="seal", cause=str(error), hint=error.hint, run_id=None, now=now)
        return
    fail_file(
        stores,
        message,
        cause="sealing failed after every retry",
        hint="see the app's log for this file; when the cause is mended, run deliver_batch again for the window",
        now=now,
    )


def _named_batch(body: str) -> BatchId | None:
    try:
        return BatchId.parse(str(json.loads(body)["batch"]))
    except (ValueError, KeyError, TypeError, InvalidRequest):
        return None


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
    if not SAFE_FILE_NAME.match(message.file.name):
        raise InvalidRequest("the queue message names a file that no feed has", "who else writes into this queue?")
    return message


def finish_if_sealed(stores: Stores, vault: Vault, record: Record, now: datetime) -> bool:
    """Finish the batch if all its files are sealed; tell whether it is finished."""
    if len(_sealed_names(stores, record)) < len(record.files):
        return False
    return finish(stores, vault, record, list_sealed(stores, record), now)


def _finish_or_fail(stores: Stores, vault: Vault, message: SealMessage, now: datetime) -> None:
    batch = BatchId.parse(message.batch)
    try:
        finish_if_sealed(stores, vault, records.read(stores.batches, batch), now)
    except (EncryptionError, BatchError) as error:
        if getattr(error, "transient", False):
            raise
        record_failure(stores, batch, step="seal", cause=str(error), hint=error.hint, run_id=message.run_id, now=now)


def list_sealed(stores: Stores, record: Record) -> dict[str, SealedFile]:
    """Return what is sealed so far, by sealed name, from the sealed blobs themselves."""
    wanted = {f"{record.id.folder}/{record.sealed_name(name)}" for name in record.files}
    blobs = stores.encrypted.list_blobs(name_starts_with=f"{record.id.folder}/", include=["metadata"])
    return {
        blob.name.rpartition("/")[2]: SealedFile.from_metadata(blob.metadata or {})
        for blob in blobs
        if blob.name in wanted
    }


def _sealed_names(stores: Stores, record: Record) -> set[str]:
    """Return which files are sealed so far, by sealed name: names only, since a batch may have 10,000 files."""
    prefix = f"{record.id.folder}/"
    names = stores.encrypted.list_blob_names(name_starts_with=prefix)
    return {record.sealed_name(name) for name in record.files} & {name.removeprefix(prefix) for name in names}


def _seal(stores: Stores, vault: Vault, message: SealMessage, now: datetime) -> SealedFile:
    """Seal one file with a fresh key and commit it, or find it sealed already."""
    batch, file, target = BatchId.parse(message.batch), message.file, _target(stores, message)
    if (done := _result_of(target)) is not None:
        return done
    sealing = seal(
        read_blob(stores.raw.get_blob_client(f"{batch.folder}/{file.name}"), file.size_bytes, file.etag),
        file=FileInfo(batch=message.batch, name=file.name, plaintext_bytes=file.size_bytes, created=now),
        recipients=_recipients(vault, batch, now),
        format=message.format,
    )
    writer = BlockWriter(target, attempt=uuid.uuid4().hex)
    try:
        writer.stage(sealing)
    finally:
        sealing.close()
    result = sealing.result
    if writer.commit(sealing.metadata):
        return result
    winner = _result_of(target)
    assert winner is not None, "a commit is refused only where a blob is"
    return winner


def _recipients(vault: Vault, batch: BatchId, now: datetime) -> list[Recipient]:
    """Read the certificates that the file key is wrapped for: the only place where they are read."""
    partner = load_partner(batch.partner)
    recipients = vault.recipients(partner.certificate, now)
    if partner.escrow_certificate:
        recipients += vault.recipients(partner.escrow_certificate, now)
    return recipients


def _accept(stores: Stores, record: Record, rows: Mapping[str, int]) -> list[StagedFile]:
    """Return the batch's raw files as they are now. Raises NotStaged."""
    prefix = f"{record.id.folder}/"
    found = {blob.name.removeprefix(prefix): blob for blob in stores.raw.list_blobs(name_starts_with=prefix)}
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
        StagedFile(name=name, etag=_quoted(found[name].etag), size_bytes=found[name].size, rows=rows.get(name))
        for name in record.files
    ]


def _refuse_other_content(stores: Stores, record: Record) -> None:
    """Raise ContentChanged when plaintext lies in raw that is not what was sealed; that none is there is as it should be."""
    accepted = {file.name: file.etag for file in record.staged or []}
    for blob in stores.raw.list_blobs(name_starts_with=f"{record.id.folder}/"):
        if accepted.get(blob.name.rpartition("/")[2]) != _quoted(blob.etag):
            raise ContentChanged(
                f"batch {record.batch} is sealed, and the raw container holds other content for it now",
                "what was accepted is never replaced: plan a correction with the next revision",
            )


def _quoted(etag: str) -> str:
    """Return an ETag as a blob's properties write it; a listing leaves the quotes out."""
    return etag if etag.startswith('"') else f'"{etag}"'


def _content(staged: list[StagedFile]) -> list[tuple[str, str]]:
    return [(file.name, file.etag) for file in staged]


def _forget_failures(stores: Stores, batch: BatchId) -> None:
    for name in stores.batches.list_blob_names(name_starts_with=f"{batch.folder}/files/"):
        stores.batches.delete_blob(name)


def _target(stores: Stores, message: SealMessage) -> BlobClient:
    folder = BatchId.parse(message.batch).folder
    return stores.encrypted.get_blob_client(f"{folder}/{message.file.name}{EXTENSIONS[message.format]}")


def _result_of(blob: BlobClient) -> SealedFile | None:
    try:
        metadata = blob.get_blob_properties().metadata
    except ResourceNotFoundError:
        return None
    return SealedFile.from_metadata(metadata)

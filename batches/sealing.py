"""Seal: each plaintext file of a queue message becomes a sealed blob; whoever is last finishes the batch.

A sealed blob carries its own result as metadata, set by the commit that makes it visible, so there is no instant at which
data and result can disagree. Every step can be killed anywhere and run again; messages may arrive twice or at the same time.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobClient
from pydantic import AwareDatetime, BaseModel, ConfigDict

from batches import recipe
from batches import record as records
from batches.accepting import SealMessage, parse_message, parse_shape_message
from batches.errors import InvalidRequest
from batches.failing import record_failure
from batches.log import count_sealed, log_event, log_failure, step
from batches.manifest import finish_if_sealed, is_finished
from batches.record import BatchId, StagedFile
from batches.shaping import give_up_shaping, shape_rows
from batches.stores import Stores
from batches.transfer import BlockWriter, read_blob
from encryption import EXTENSIONS, FileInfo, SealedFile, seal
from encryption.vault import Vault
from encryption.wrapping import Receiver
from fault import Fault
from partners import load_partner
from partners.compressing import Decompressor
from partners.figures import FileFigures
from partners.rereading import Place, Rereader


class FileFailure(BaseModel):
    """files/<file>.json: why a file could not be sealed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    cause: str
    hint: str
    at: AwareDatetime


def seal_files(stores: Stores, vault: Vault, body: str, *, now: datetime, attempt: int = 1) -> None:
    """Work one queue message. Faults that a retry cannot mend are recorded; any other is raised, and the queue retries."""
    if (rows := parse_shape_message(body)) is not None:
        shape_rows(stores, rows, now=now, attempt=attempt)
        return
    message = parse_message(body)
    reading = _Reading(stores, message)
    about = {"run_id": message.run_id, "batch": message.batch, "attempt": attempt}
    for file in message.files:
        with step("seal file", traceparent=message.traceparent, **about, file=file.name):
            try:
                _seal(stores, vault, message, file, reading, now)
            except Fault as error:
                if error.transient:
                    raise
                fail_file(stores, message, file, cause=str(error), hint=error.hint, now=now)
    if message.last:
        with step("finish batch", traceparent=message.traceparent, **about):
            _finish_or_fail(stores, vault, message, now)


def fail_file(stores: Stores, message: SealMessage, file: StagedFile, *, cause: str, hint: str, now: datetime) -> None:
    """Record that a file cannot be sealed, and so that its batch has failed; unless another attempt has sealed it."""
    batch, name, run_id = BatchId.parse(message.batch), file.name, message.run_id
    if _result_of(_target(stores, message, file)) is not None:
        log_event("file.sealed.before", batch=message.batch, file=name, run_id=run_id, cause=cause)
        return
    failure = FileFailure(file=name, cause=cause[:500], hint=hint[:500], at=now)
    stores.batches.upload_blob(f"{batch.folder}/files/{name}.json", failure.model_dump_json().encode(), overwrite=True)
    record_failure(stores, batch, step="seal", cause=f"{name}: {cause}", hint=hint, run_id=run_id, now=now)
    log_failure("file.failed", batch=message.batch, file=name, run_id=run_id, cause=cause, hint=hint)


def give_up(stores: Stores, body: str, *, now: datetime) -> None:
    """Record what a message that failed after every retry was about: its files, or the batch that a strange one names."""
    try:
        if (rows := parse_shape_message(body)) is not None:
            give_up_shaping(stores, rows, now=now)
            return
        message = parse_message(body)
    except InvalidRequest as error:
        batch = _named_batch(body)
        log_failure("message.dropped", error=str(error), batch=str(batch) if batch else None)
        if batch and not is_finished(stores, batch):
            record_failure(stores, batch, step="seal", cause=str(error), hint=error.hint, run_id=None, now=now)
        return
    hint = "see the app's log for this file; when the cause is mended, run deliver_batch again for the window"
    for file in message.files:
        fail_file(stores, message, file, cause="sealing failed after every retry", hint=hint, now=now)


def _named_batch(body: str) -> BatchId | None:
    try:
        return BatchId.parse(str(json.loads(body)["batch"]))
    except (ValueError, KeyError, TypeError, RecursionError, InvalidRequest):
        return None


def _finish_or_fail(stores: Stores, vault: Vault, message: SealMessage, now: datetime) -> None:
    batch = BatchId.parse(message.batch)
    try:
        finish_if_sealed(stores, vault, records.read(stores.batches, batch), now)
    except Fault as error:
        if error.transient:
            raise
        record_failure(stores, batch, step="seal", cause=str(error), hint=error.hint, run_id=message.run_id, now=now)


class _Reading:
    """Reads the files of a message back while they are sealed; compiled with the first of them."""

    def __init__(self, stores: Stores, message: SealMessage) -> None:
        self._stores = stores
        self._message = message
        self._compiled: tuple[Rereader, str | None] | None = None

    def through(self, file: StagedFile, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces, and refuse to end when the file is not what its layout says. Raises Mismatch."""
        if file.sums is None:  # not shaped here
            yield from pieces
            return
        rereader, compress = self._compile()
        place = Place(
            part=file.part, sequence=file.sequence or 0, rows_before=file.rows_before, parts=self._message.parts
        )
        reader = rereader.file(place)
        unpacked = Decompressor(compress) if compress else None
        for piece in pieces:
            for data in unpacked.feed(piece) if unpacked else (piece,):
                reader.feed(data)
            yield piece
        sums = {name: int(value) for name, value in file.sums.items()}
        reader.check(FileFigures(part=file.part, rows=file.rows or 0, lines=file.lines or 0, sums=sums))

    def _compile(self) -> tuple[Rereader, str | None]:
        if self._compiled is None:
            batch = BatchId.parse(self._message.batch)
            made = recipe.read(self._stores.batches, batch)
            assert self._message.planned_at is not None, "messages about shaped files say when they were planned"
            rereader = Rereader(made.layout, made.columns, made.facts(batch, self._message.planned_at))
            self._compiled = rereader, made.layout.compress
        return self._compiled


def _seal(
    stores: Stores, vault: Vault, message: SealMessage, file: StagedFile, reading: _Reading, now: datetime
) -> None:
    """Seal one file with a fresh key and commit it, unless it is sealed already. It is read back on the way."""
    batch, target, started = BatchId.parse(message.batch), _target(stores, message, file), time.monotonic()
    if _result_of(target) is not None:
        return
    plain = read_blob(stores.raw.get_blob_client(f"{batch.folder}/{file.name}"), file.size_bytes, file.etag)
    sealing = seal(
        reading.through(file, plain),
        file=FileInfo(batch=message.batch, name=file.name, plaintext_bytes=file.size_bytes, created=now),
        recipients=_recipients(vault, batch, now),
        format=message.format,
        hash_threads=False,  # storage is slower than one core that does it all; its other cores have other messages
    )
    writer = BlockWriter(target, attempt=uuid.uuid4().hex)
    try:
        writer.stage(sealing)
    finally:
        sealing.close()
    if writer.commit(sealing.metadata):
        sizes = {"plaintext_bytes": file.size_bytes, "sealed_bytes": sealing.result.sealed_bytes}
        log_event("file.sealed", **sizes, seconds=round(time.monotonic() - started, 3))
        count_sealed(file.size_bytes)
    else:
        assert _result_of(target) is not None, "a commit is refused only where a blob is"


def _recipients(vault: Vault, batch: BatchId, now: datetime) -> list[Receiver]:
    """Read the certificates that the file key is wrapped for: the only place where they are read."""
    partner = load_partner(batch.partner)
    recipients = vault.recipients(partner.certificate, now)
    if partner.escrow_certificate:
        recipients += vault.recipients(partner.escrow_certificate, now)
    return recipients


def _target(stores: Stores, message: SealMessage, file: StagedFile) -> BlobClient:
    folder = BatchId.parse(message.batch).folder
    return stores.encrypted.get_blob_client(f"{folder}/{file.name}{EXTENSIONS[message.format]}")


def _result_of(blob: BlobClient) -> SealedFile | None:
    try:
        metadata = blob.get_blob_properties().metadata
    except ResourceNotFoundError:
        return None
    return SealedFile.from_metadata(metadata)

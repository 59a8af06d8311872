"""Seal: each plaintext file of a queue message becomes a sealed blob; the last one finishes the batch.

A sealed blob carries its own result as metadata, set by the commit that makes it visible, so there is no instant at which
data and result can disagree. Every step can be killed anywhere and run again; messages may arrive twice or at the same time.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from functools import cached_property

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobClient
from pydantic import AwareDatetime

from batches import recipe
from batches import record as records
from batches.accepting import SealMessage, parse_message, parse_shape_message
from batches.certificates import InUse, Purpose, remember_certificates
from batches.context import Context
from batches.deliver_messages import finish_and_go_on
from batches.errors import ForeignContent, InvalidRequest
from batches.failing import record_failure
from batches.log import count_sealed, log_event, log_failure, step
from batches.manifest import is_finished, result_of
from batches.receipts import is_delivered
from batches.record import BatchId, StagedFile, Stored, sealed_name
from batches.sealing_formats import sealing_format
from batches.shaping import give_up_shaping, shape_rows
from batches.transfer import BlockWriter, read_blob
from encryption import FileInfo, OpenPgp, SealedFile, Smime, seal
from encryption.wrapping import Receiver
from fault import Fault
from partners.compressing import Decompressor
from partners.figures import FileFigures
from partners.rereading import Place, Rereader

# A batch of many messages is finished by the last of them, which may be worked before the others.
LOOK_AGAIN_SECONDS = 5


class FileFailure(Stored):
    """files/<file>.json: why a file could not be sealed."""

    file: str
    cause: str
    hint: str
    at: AwareDatetime


def seal_files(context: Context, body: str, *, attempt: int = 1) -> None:
    """Work one queue message. Faults that a retry cannot fix are recorded; any other is raised, and the queue retries."""
    if (rows := parse_shape_message(body)) is not None:
        shape_rows(context.for_run(rows.run_id), rows, attempt=attempt)
        return
    message = parse_message(body)
    context = context.for_run(message.run_id)
    worker = _Worker(context, message)
    about = {"run_id": message.run_id, "batch": message.batch, "attempt": attempt}
    for file in message.files:
        with step("seal file", traceparent=message.traceparent, **about, file=file.name):
            try:
                worker.seal(file)
            except Fault as error:
                if error.transient:
                    raise
                fail_file(context, message, file, cause=error.message, hint=error.hint)
    if message.last:
        with step("finish batch", traceparent=message.traceparent, **about):
            _finish_or_fail(context, message)


def fail_file(context: Context, message: SealMessage, file: StagedFile, *, cause: str, hint: str) -> None:
    """Record that a file cannot be sealed, and so that its batch has failed; unless another attempt has sealed it."""
    batch, name, run_id = message.batch, file.name, message.run_id
    if _is_sealed(_target(context, message, file)):
        log_event("file.sealed.before", batch=batch, file=name, run_id=run_id, cause=cause)
        return
    failure = FileFailure(file=name, cause=cause[:500], hint=hint[:500], at=context.now())
    context.stores.batches.upload_blob(
        f"{batch.folder}/files/{name}.json", failure.model_dump_json().encode(), overwrite=True
    )
    record_failure(context, batch, step="seal", cause=f"{name}: {cause}", hint=hint)
    log_failure("file.failed", batch=batch, file=name, run_id=run_id, cause=cause, hint=hint)


def give_up(context: Context, body: str) -> None:
    """Record what a message that failed after every retry was about: its files, or the batch that a strange one names.

    Raises UnknownBatch.
    """
    try:
        if (rows := parse_shape_message(body)) is not None:
            give_up_shaping(context.for_run(rows.run_id), rows)
            return
        message = parse_message(body)
    except InvalidRequest as error:
        drop_message(context, body, error, step="seal")
        return
    hint = "see the app's log for this file; when the cause is fixed, run deliver_batch again for the window"
    if not message.files:
        record_failure(context, message.batch, step="seal", cause="finishing failed after every retry", hint=hint)
    for file in message.files:
        fail_file(context.for_run(message.run_id), message, file, cause="sealing failed after every retry", hint=hint)


def drop_message(context: Context, body: str, error: InvalidRequest, *, step: str) -> None:
    """Log a message that nobody can work, and fail the batch that it names, unless that is further already."""
    batch = _named_batch(body)
    log_failure("message.dropped", error=error.message, batch=batch)
    if batch and not (is_finished(context, batch) if step == "seal" else is_delivered(context, batch)):
        record_failure(context, batch, step=step, cause=error.message, hint=error.hint)


def _named_batch(body: str) -> BatchId | None:
    try:
        return BatchId(str(json.loads(body)["batch"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _finish_or_fail(context: Context, message: SealMessage) -> None:
    """Finish the batch and let it go on; while other messages of it are being worked, look again later."""
    record = records.read(context.stores.batches, message.batch)
    try:
        finished = finish_and_go_on(context, record)
    except Fault as error:
        if error.transient:
            raise
        record_failure(context, message.batch, step="seal", cause=error.message, hint=error.hint)
        return
    if not finished and record.failure is None and record.superseded_by is None:
        look = message.model_copy(update={"files": []})
        context.stores.seal_queue.send_message(look.model_dump_json(), visibility_timeout=LOOK_AGAIN_SECONDS)


class _Worker:
    """Seals the files of one message. Recipients and layout are read once, with the first file that needs them."""

    def __init__(self, context: Context, message: SealMessage) -> None:
        self._context = context
        self._message = message

    def seal(self, file: StagedFile) -> None:
        """Seal one file with a fresh key and commit it, unless it is sealed already. It is read back on the way."""
        message, target, started = self._message, _target(self._context, self._message, file), time.monotonic()
        if _result(target) is not None:
            return
        raw = self._context.stores.raw.get_blob_client(f"{message.batch.folder}/{file.name}")
        sealing = seal(
            self._read_back(file, read_blob(raw, file.size_bytes, file.etag)),
            file=FileInfo(
                batch=message.batch, name=file.name, plaintext_bytes=file.size_bytes, created=self._context.now()
            ),
            recipients=self._recipients,
            format=self._format,
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
            assert _result(target) is not None, "a commit is refused only where a blob is"

    @cached_property
    def _format(self) -> str | OpenPgp | Smime:
        return sealing_format(self._message.format, self._message.wishes, self._context.vault)

    @cached_property
    def _recipients(self) -> list[Receiver]:
        """The certificates that the file key is wrapped for: the only place where they are read."""
        vault, now = self._context.vault, self._context.now()
        partner = self._context.partner(self._message.batch.partner)
        secrets: dict[Purpose, str | None] = {"partner": partner.certificate, "escrow": partner.escrow_certificate}
        found = {purpose: (name, vault.recipients(name, now)) for purpose, name in secrets.items() if name}
        used = [
            InUse(purpose=purpose, secret=name, expires=each.expires, thumbprint=each.thumbprint)
            for purpose, (name, recipients) in found.items()
            for each in recipients
        ]
        remember_certificates(self._context, partner.name, tuple(used), partner.sftp.host_keys)
        return [each for _, recipients in found.values() for each in recipients]

    def _read_back(self, file: StagedFile, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces, and refuse to end when the file is not what its layout says. Raises Mismatch."""
        if file.sums is None:  # not shaped here
            yield from pieces
            return
        rereader, compress = self._rereader
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

    @cached_property
    def _rereader(self) -> tuple[Rereader, str | None]:
        batch, planned_at = self._message.batch, self._message.planned_at
        made = recipe.read(self._context, batch)
        assert planned_at is not None, "messages about shaped files say when they were planned"
        return Rereader(made.layout, made.columns, made.facts(batch, planned_at)), made.layout.compress


def _target(context: Context, message: SealMessage, file: StagedFile) -> BlobClient:
    name = sealed_name(file.name, message.format, message.wishes)
    return context.stores.encrypted.get_blob_client(f"{message.batch.folder}/{name}")


def _is_sealed(blob: BlobClient) -> bool:
    try:
        return _result(blob) is not None
    except ForeignContent:  # that is the cause that is about to be recorded
        return False


def _result(blob: BlobClient) -> SealedFile | None:
    """Return the result of sealing when the blob is there. Raises ForeignContent."""
    try:
        metadata = blob.get_blob_properties().metadata
    except ResourceNotFoundError:
        return None
    return result_of(blob.blob_name, metadata)

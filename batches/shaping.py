"""Shape: the staged rows of a batch become its files in the raw container, in the partner's exact form; then they are sealed.

The rows are pinned by ETag and read from storage only: the warehouse is never asked twice. Every step can be killed anywhere
and run again: a file is committed once and carries the ETag of the rows that it was made from; the batch's files are accepted
for sealing together, when all of them are there. Rows that do not fit leave no file.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobClient

from batches import ledger, recipe
from batches import record as records
from batches.accepting import ShapeMessage, drop_extracts, queue_sealing
from batches.context import Context
from batches.errors import BatchError, ContentChanged
from batches.failing import record_failure
from batches.ledger import Note
from batches.log import log_event, step
from batches.numbering import release_sequence, take_numbers
from batches.plausible import refuse_implausible
from batches.purging import purge
from batches.record import Record, StagedFile, is_extract
from batches.stores import BLOCK_BYTES
from batches.transfer import read_blob, read_range
from partners import PartnerError
from partners.compressing import Compressor
from partners.figures import Control, FileFigures, as_decimal
from partners.refusals import FileRefused
from partners.shaping import Shaped, Shaper

_MADE_FROM = "rows"
_TAIL_BYTES = 1 << 16
_PIECE_BYTES = 1 << 18
_UPLOADS_AT_ONCE = 8
_UPLOADING_BYTES = 2 * BLOCK_BYTES


def shape_rows(context: Context, message: ShapeMessage, *, attempt: int = 1) -> None:
    """Make a batch's files from its rows and queue them for sealing. Rows that do not fit are recorded as its failure."""
    record = records.read(context.stores.batches, message.batch)
    if record.rows is None or record.rows.etag != message.etag:
        log_event("rows.superseded", batch=message.batch, run_id=message.run_id)
        return
    about = {"run_id": message.run_id, "batch": message.batch, "attempt": attempt}
    with step("shape batch", traceparent=message.traceparent, **about):
        try:
            if record.staged is None and record.emptied_at is None:
                record = _Shaping(context, record).run()
        except (BatchError, PartnerError) as error:
            if error.transient:
                raise
            _refuse(context, message, error.message, error.hint)
            return
        if record.staged is None and record.emptied_at is None:
            log_event("rows.superseded", batch=message.batch, run_id=message.run_id)
        elif record.emptied_at is not None:
            release_sequence(context, message.batch)
            purge(context, record)
        else:
            queue_sealing(context, record)
            drop_extracts(context, record.batch)


def give_up_shaping(context: Context, message: ShapeMessage) -> None:
    """Record that a batch's rows could not be shaped after every retry. Raises UnknownBatch."""
    hint = "see the app's log for this batch; when the cause is fixed, run deliver_batch again for the window"
    _refuse(context, message, "shaping failed after every retry", hint)


def _refuse(context: Context, message: ShapeMessage, cause: str, hint: str) -> None:
    """Record the failure and let go of the rows: the window's next run extracts them anew.

    A batch that another worker has shaped meanwhile, or that has other rows by now, did not fail.
    """
    record = records.read(context.stores.batches, message.batch)
    if not _awaits(record, message):
        log_event("rows.superseded", batch=message.batch, run_id=message.run_id)
        return
    record_failure(context, message.batch, step="shape", cause=cause, hint=hint)
    records.update(
        context.stores.batches,
        message.batch,
        lambda current: current.model_copy(update={"rows": None}) if _awaits(current, message) else current,
    )


def _awaits(record: Record, message: ShapeMessage) -> bool:
    """Return whether the batch's files are still to be made from the rows of the message."""
    is_shaped = record.staged is not None or record.emptied_at is not None
    return not is_shaped and record.rows is not None and record.rows.etag == message.etag


class _Shaping:
    """One run of shaping a batch."""

    def __init__(self, context: Context, record: Record) -> None:
        assert record.rows is not None, "the rows are accepted before they are shaped"
        self._context = context
        self._raw = context.stores.raw
        self._record = record
        self._rows = record.rows
        self._recipe = recipe.read(context, record.batch)
        self._blob = self._raw.get_blob_client(f"{record.batch.folder}/{record.rows.name}")
        self._uploads: deque[tuple[_RawFile, Future[None]]] = deque()
        self._staged: list[StagedFile] = []
        self._rows_before = 0

    def run(self) -> Record:
        """Return the record with its accepted files, or marked as empty."""
        made = self._recipe
        shaper = Shaper(made.layout, made.columns, made.facts(self._record.batch, self._record.planned_at))
        self._numbers = self._take_numbers()
        self._delete_others()
        try:
            with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
                self._pool = pool
                shaped = shaper.shape(self._lines, self._open, self._sequence, has_totals=made.has_totals)
                self._settle(0)
        except PartnerError:  # of the rows or the layout: every other run of these rows ends in the same way
            self._delete_own()
            raise
        return self._accept(shaped)

    def _take_numbers(self) -> list[int]:
        """Take the files' numbers, as many as the control object's rows need."""
        start = max(0, self._rows.size_bytes - _TAIL_BYTES)
        tail = _read(self._blob, start, self._rows.size_bytes - start, self._rows.etag)
        control = Control.parse(tail.decode("utf-8", "replace").removesuffix("\n").rpartition("\n")[2])
        if control is None:
            raise FileRefused(
                "the extract does not end with its control object: it was cut, or changed",
                "run the window again: the rows are extracted anew",
            )
        layout = self._recipe.layout
        refuse_implausible(self._record, layout, control)
        if control.rows == 0 and layout.empty in ("skip", "fail"):
            return []
        parts = -(-control.rows // layout.rows_per_file) if layout.rows_per_file else 1
        return take_numbers(self._context, self._record, self._recipe, max(parts, 1))

    def _sequence(self, part: int) -> int:
        return self._numbers[part - 1] if part <= len(self._numbers) else 0

    def _lines(self) -> Iterator[str]:
        """Yield the staged lines, all of the pinned version."""
        rest = b""
        for block in read_blob(self._blob, self._rows.size_bytes, self._rows.etag):
            for at in range(0, len(block), _PIECE_BYTES):
                rest += block[at : at + _PIECE_BYTES]
                end = rest.rfind(b"\n") + 1
                if end:
                    yield from _text(rest[: end - 1]).split("\n")
                    rest = rest[end:]
        if rest:
            yield _text(rest)

    def _open(self, part: int) -> _RawFile:
        try:
            name = self._recipe.name_file(self._record.batch, self._record.planned_at, self._sequence(part), part)
        except ValueError as error:
            raise FileRefused(str(error), "correct file_name in the partner file, then plan a new revision") from None
        blob = self._raw.get_blob_client(f"{self._record.batch.folder}/{name}")
        return _RawFile(self, blob, name, self._recipe.layout.compress, self._rows.etag)

    def commit(self, file: _RawFile, figures: FileFigures) -> None:
        """Commit a file in another thread; at most a few wait at a time."""
        self._uploads.append((file, self._pool.submit(file.upload)))
        file.figures, file.rows_before = figures, self._rows_before
        self._rows_before += figures.rows
        self._settle(_UPLOADS_AT_ONCE)

    def _settle(self, most: int) -> None:
        """Wait for uploads until at most so many, and their bytes, are under way."""
        while len(self._uploads) > most or sum(file.waiting_bytes for file, _ in self._uploads) > _UPLOADING_BYTES:
            file, upload = self._uploads.popleft()
            upload.result()
            figures = file.figures
            assert figures is not None, "a file that is committed has its figures"
            self._staged.append(
                StagedFile(
                    name=file.name,
                    etag=file.etag,
                    size_bytes=file.size_bytes,
                    rows=figures.rows,
                    part=figures.part,
                    sequence=self._sequence(figures.part),
                    rows_before=file.rows_before,
                    lines=figures.lines,
                    sums={name: str(value) for name, value in figures.sums.items()},
                )
            )

    def _delete_others(self) -> None:
        """Delete files that were made from other rows, by a run before this extraction."""
        for blob in self._own_blobs():
            if (blob.metadata or {}).get(_MADE_FROM) != _tag(self._rows.etag):
                with suppress(ResourceNotFoundError):
                    self._raw.delete_blob(blob.name)

    def _delete_own(self) -> None:
        """Delete what a refused run has committed: rows that do not fit leave no file."""
        if records.read(self._context.stores.batches, self._record.batch).staged is None:
            for blob in self._own_blobs():
                with suppress(ResourceNotFoundError):
                    self._raw.delete_blob(blob.name)

    def _own_blobs(self) -> list[Any]:
        prefix = f"{self._record.batch.folder}/"
        found = self._raw.list_blobs(name_starts_with=prefix, include=["metadata"])
        return [blob for blob in found if not is_extract(blob.name.removeprefix(prefix))]

    def _accept(self, shaped: Shaped) -> Record:
        """Write the files into the record, all at once; another run that was faster wins, with the same bytes."""

        def accept(current: Record) -> Record:
            if current.staged is not None or current.emptied_at is not None or current.rows != self._rows:
                return current
            if not shaped.files:
                return records.resume(current).model_copy(update={"emptied_at": self._context.now(), "files": []})
            names = [file.name for file in self._staged]
            return records.resume(current).model_copy(update={"staged": self._staged, "files": names})

        record = records.update(self._context.stores.batches, self._record.batch, accept)
        if record.rows != self._rows:
            return record
        details = {
            "files": len(shaped.files),
            "rows": shaped.rows,
            "sums": {name: as_decimal(value) for name, value in shaped.sums.items()},
            "control_totals_agree": True if self._recipe.has_totals else None,
        }
        ledger.note(
            self._context,
            record.batch,
            Note("shaped" if shaped.files else "empty", since=record.planned_at, details=details),
            once=True,
        )
        log_event("batch.shaped", batch=record.batch, files=len(shaped.files), rows=shaped.rows)
        return record


class _RawFile:
    """One file on its way into the raw container: small ones are one call, large ones are staged in blocks."""

    def __init__(self, shaping: _Shaping, blob: BlobClient, name: str, compress: str | None, rows_etag: str) -> None:
        self.name = name
        self.size_bytes = 0
        self.etag = ""
        self.figures: FileFigures | None = None
        self.rows_before = 0
        self._shaping = shaping
        self._blob = blob
        self._metadata = {_MADE_FROM: _tag(rows_etag)}
        self._compressor = Compressor(compress, name) if compress else None
        self._waiting = bytearray()
        self._attempt = uuid.uuid4().hex
        self._blocks: list[BlobBlock] = []

    def write(self, data: bytes) -> None:
        self._waiting += self._compressor.feed(data) if self._compressor else data
        while len(self._waiting) >= BLOCK_BYTES:
            self._stage(bytes(self._waiting[:BLOCK_BYTES]))
            del self._waiting[:BLOCK_BYTES]

    def close(self, figures: FileFigures) -> None:
        if self._compressor:
            self._waiting += self._compressor.close()
        self._shaping.commit(self, figures)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of the file are in memory."""
        return len(self._waiting)

    def upload(self) -> None:
        """Commit the file, once: one that is there already was made from the same rows, with the same bytes."""
        try:
            if self._blocks:
                self._stage(bytes(self._waiting))
                done = self._blob.commit_block_list(
                    self._blocks, metadata=self._metadata, match_condition=MatchConditions.IfMissing
                )
            else:
                self.size_bytes = len(self._waiting)
                done = self._blob.upload_blob(
                    bytes(self._waiting), metadata=self._metadata, match_condition=MatchConditions.IfMissing
                )
            self.etag = str(done["etag"])
        except (ResourceExistsError, ResourceModifiedError):
            there = self._blob.get_blob_properties()
            if (there.metadata or {}).get(_MADE_FROM) != self._metadata[_MADE_FROM] or there.size != self.size_bytes:
                raise ContentChanged(
                    f"{self.name} is in the raw container with other content",
                    "run the window again; nothing but this app may write there",
                ) from None
            self.etag = str(there.etag)

    def _stage(self, data: bytes) -> None:
        block = BlobBlock(f"{self._attempt}-{len(self._blocks):08d}")
        self._blocks.append(block)
        self._blob.stage_block(block.id, data, length=len(data))
        self.size_bytes += len(data)


def _read(blob: BlobClient, offset: int, length: int, etag: str) -> bytes:
    try:
        return read_range(blob, offset, length, etag) if length else b""
    except (ResourceModifiedError, ResourceNotFoundError):
        raise ContentChanged(
            "the extracted rows changed or vanished before they were shaped", "run deliver_batch again for the window"
        ) from None


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise FileRefused(
            "the extract is not UTF-8", "run the window again; when it happens again, report it"
        ) from None


def _tag(etag: str) -> str:
    return etag.strip('"')

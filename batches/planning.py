"""Plan: a window of a feed becomes a batch with an id, a sequence number, file names, a query and a way to the partner.

The same window planned twice gives the same batch; planning a failed batch again means that it is being worked on again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from batches import ledger, recipe
from batches import record as records
from batches.errors import InvalidRequest, OtherWindow, UnknownBatch
from batches.numbering import open_book
from batches.recipe import Recipe
from batches.record import ROWS, BatchId, Record
from batches.stores import Stores
from partners import Partner, UnknownFeed, load_partner, stage_query

SftpAddresses = Mapping[str, Mapping[str, object]]


def plan(
    stores: Stores,
    *,
    partner: str,
    feed: str,
    window_start: datetime,
    window_end: datetime,
    revision: int,
    run_id: str | None,
    now: datetime,
    sftp: SftpAddresses,
) -> Record:
    """Return the record of the window's batch, made now or before. Raises PartnerError, InvalidRequest, OtherWindow."""
    if window_start >= window_end:
        raise InvalidRequest("the window ends before it starts", "windowStart must be earlier than windowEnd")
    whose = load_partner(partner, sftp)
    if feed not in whose.feeds:
        raise UnknownFeed(f"{partner} has no feed {feed!r}", f"its feeds are: {', '.join(whose.feeds)}")
    batch = BatchId(partner, feed, whose.business_date(window_start), revision)

    def resume(current: Record) -> Record:
        _refuse_other_window(current, window_start, window_end)
        return records.resume(_renewed(stores, whose, current))

    try:
        record = records.update(stores.batches, batch, resume)
    except UnknownBatch:
        record = records.create(
            stores.batches, _new_record(stores, whose, batch, (window_start, window_end), run_id, now)
        )
        _refuse_other_window(record, window_start, window_end)
    with suppress(UnknownBatch):  # a batch that an older version sealed has no recipe
        open_book(stores, record, recipe.read(stores.batches, batch))
    ledger.note(
        stores.batches,
        batch,
        "planned",
        now=now,
        run_id=run_id,
        once=True,
        sequence=record.sequence,
        window_start=record.window_start.isoformat(),
        window_end=record.window_end.isoformat(),
        files=len(record.files),
        query_sha256=hashlib.sha256(record.query.encode()).hexdigest(),
    )
    return record


def describe(record: Record, sftp: SftpAddresses) -> dict[str, Any]:
    """Return all that Data Factory needs to extract and deliver the batch. Secrets are named, never contained."""
    partner = load_partner(record.id.partner, sftp)
    return {
        "batch": record.batch,
        "sequence": record.sequence,
        "query": record.query,
        "files": record.files,
        "raw": {"folder": record.id.folder, "file": ROWS},
        "route": record.route,
        "sftp": {
            "host": partner.sftp.host,
            "port": partner.sftp.port,
            "user": partner.sftp.user,
            "hostKeyFingerprint": partner.sftp.adf_host_key,
            "privateKeySecret": partner.sftp.private_key,
            "folder": record.folder,
        },
    }


def _renewed(stores: Stores, partner: Partner, record: Record) -> Record:
    """Return a batch that an older version planned and did not extract with today's query and recipe."""
    if record.layout is None or record.staged is not None:
        return record
    recipe.write(stores.batches, record.id, Recipe.of(partner, record.id.feed))
    query = stage_query(partner.feeds[record.id.feed], record.id.business_date)
    return record.model_copy(update={"layout": None, "query": query})


def _refuse_other_window(record: Record, start: datetime, end: datetime) -> None:
    if (record.window_start, record.window_end) != (start, end):
        raise OtherWindow(
            f"batch {record.batch} belongs to the window "
            f"{record.window_start.isoformat()} to {record.window_end.isoformat()}",
            "ask for that window, or plan a correction with the next revision",
        )


def _new_record(
    stores: Stores,
    partner: Partner,
    batch: BatchId,
    window: tuple[datetime, datetime],
    run_id: str | None,
    now: datetime,
) -> Record:
    feed = partner.feeds[batch.feed]
    made = Recipe.of(partner, batch.feed)
    _check_names(made, batch, now)
    made = recipe.write(stores.batches, batch, made)
    sequence = _take_sequence(stores, batch)
    return Record(
        batch=str(batch),
        sequence=sequence,
        window_start=window[0],
        window_end=window[1],
        planned_at=now,
        run_id=run_id,
        # The names of a batch with several files, or perhaps none, are known when its rows are.
        files=[made.name_file(batch, now, sequence)] if made.numbers_batches else [],
        query=stage_query(feed, batch.business_date),
        format=feed.format,
        route=feed.route,
        folder=feed.folder,
    )


def release_sequence(stores: Stores, batch: BatchId) -> None:
    """Give the number of a batch without files back, when it is the feed's last: manifests are numbered without a gap."""
    key = f"{batch.business_date}.{batch.revision}"
    blob = stores.batches.get_blob_client(f"{batch.partner}/{batch.feed}/sequence.json")
    while True:
        taken, etag = _read_sequences(stores, batch)
        if key not in taken or taken[key] < max(taken.values()):
            return
        del taken[key]
        body = json.dumps(taken, indent=1).encode()
        try:
            blob.upload_blob(body, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified)
        except ResourceModifiedError:
            continue
        return


def _check_names(made: Recipe, batch: BatchId, now: datetime) -> None:
    """Refuse what would fail after the extract: a revision without a letter, a correction with the name that it corrects."""
    try:
        name = made.name_file(batch, now, 1)
        before = made.name_file(replace(batch, revision=batch.revision - 1), now, 2) if batch.revision > 1 else None
    except ValueError as error:
        raise InvalidRequest(str(error), "agree on other names with the partner") from None
    if name == before:
        raise InvalidRequest(
            f"revision {batch.revision} of {batch.partner} {batch.feed} would have the file name of the one that it corrects",
            "write {letter} or {sequence} into file_name",
        )


def read_sequences(stores: Stores, batch: BatchId) -> dict[str, int]:
    """Return the sequence number of every batch of the feed, by `{date}.{revision}`."""
    return _read_sequences(stores, batch)[0]


def _read_sequences(stores: Stores, batch: BatchId) -> tuple[dict[str, int], str | None]:
    blob = stores.batches.get_blob_client(f"{batch.partner}/{batch.feed}/sequence.json")
    try:
        download = blob.download_blob()
    except ResourceNotFoundError:
        return {}, None
    return json.loads(download.readall()), download.properties.etag


def _take_sequence(stores: Stores, batch: BatchId) -> int:
    """Number the batch: one more than the feed's last. A batch that was numbered before a crash keeps its number."""
    key = f"{batch.business_date}.{batch.revision}"
    blob = stores.batches.get_blob_client(f"{batch.partner}/{batch.feed}/sequence.json")
    while True:
        taken, etag = _read_sequences(stores, batch)
        if key in taken:
            return taken[key]
        taken[key] = max(taken.values(), default=0) + 1
        body = json.dumps(taken, indent=1).encode()
        try:
            if etag is None:
                blob.upload_blob(body, match_condition=MatchConditions.IfMissing)
            else:
                blob.upload_blob(body, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified)
        except (ResourceExistsError, ResourceModifiedError):
            continue
        return taken[key]

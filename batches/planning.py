"""Plan: a window of a feed becomes a batch with an id, a sequence number, file names, a query and a way to the partner.

The same window planned twice gives the same batch; planning a failed batch again means that it is being worked on again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from batches import ledger
from batches import record as records
from batches.errors import InvalidRequest, OtherWindow, UnknownBatch
from batches.record import BatchId, Record
from batches.stores import Stores
from partners import Partner, PartnerInvalid, ShortForm, UnknownFeed, load_partner, render_query

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
        return records.resume(current)

    try:
        record = records.update(stores.batches, batch, resume)
    except UnknownBatch:
        record = records.create(
            stores.batches, _new_record(stores, whose, batch, (window_start, window_end), run_id, now)
        )
        _refuse_other_window(record, window_start, window_end)
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
        "raw": {"folder": record.id.folder, "file": record.files[0]},
        "layout": _adf_layout(record.layout),
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
    if not isinstance(feed.layout, ShortForm):
        raise PartnerInvalid(
            f"{batch.partner}: feed {batch.feed} has a layout of records, which the night does not write yet",
            "use the short form of the layout, or ./sealift partner render",
        )
    facts = partner.facts(batch.feed, batch.business_date, batch.revision, now)
    sequence = _take_sequence(stores, batch)
    return Record(
        batch=str(batch),
        sequence=sequence,
        window_start=window[0],
        window_end=window[1],
        planned_at=now,
        run_id=run_id,
        files=[feed.name_file(facts, sequence)],
        query=render_query(feed, batch.business_date),
        layout=feed.layout,
        format=feed.format,
        route=feed.route,
        folder=feed.folder,
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


def _adf_layout(layout: ShortForm) -> dict[str, Any]:
    """Return the layout in the words of Data Factory's delimited text dataset."""
    encodings = {"utf-8": "UTF-8 without BOM", "us-ascii": "US-ASCII", "iso-8859-1": "ISO-8859-1"}
    return {
        "columnDelimiter": layout.delimiter,
        "rowDelimiter": {"lf": "\n", "crlf": "\r\n"}[layout.line_end],
        "quoteChar": layout.quote,
        "escapeChar": layout.escape,
        "quoteAllText": layout.quote_all,
        "firstRowAsHeader": layout.header,
        "nullValue": layout.null,
        "encodingName": encodings[layout.encoding],
    }

"""Plan: a window of a feed becomes a batch with an id, a sequence number, file names, a query and a way to the partner.

The same window planned twice gives the same batch; planning a failed batch again means that it is being worked on again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batches import ledger, recipe
from batches import record as records
from batches.context import Context
from batches.covering import give_up_if_superseded, take
from batches.errors import InvalidRequest, OtherWindow, UnknownBatch
from batches.ledger import Note
from batches.numbering import open_book, take_sequence
from batches.planned import mark_planned
from batches.plausible import as_loaded, load_limit
from batches.recipe import Recipe
from batches.record import ROWS, BatchId, Covered, Record
from partners import Partner, UnknownFeed, stage_query
from partners.schedule import Cover, Timetable
from partners.sources import WAREHOUSE

LONGEST_WINDOW = timedelta(days=366)
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Window:
    """The period that a batch is about: from `start` up to, but not including, `end`; aware instants.

    `force` is the reason to plan what is refused otherwise: a window that has not ended, that is longer than the feed's
    cadence, or that is from before the feed began.
    """

    start: datetime
    end: datetime
    force: str | None = None

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise InvalidRequest("the window ends before it starts", "windowStart must be earlier than windowEnd")
        if self.end - self.start > LONGEST_WINDOW:
            raise InvalidRequest(
                f"the window is longer than {LONGEST_WINDOW.days} days", "check the years of windowStart and windowEnd"
            )


def plan(context: Context, partner: str, feed: str, window: Window, revision: int = 1) -> Record:
    """Return the record of the window's batch, made now or before. Raises PartnerError, InvalidRequest, OtherWindow."""
    whose = context.partner(partner)
    if feed not in whose.feeds:
        raise UnknownFeed(f"{partner} has no feed {feed!r}", f"its feeds are: {', '.join(whose.feeds)}")
    timetable = whose.timetable(feed)
    nominal = timetable.cover_of(window.start, window.end)
    batch = BatchId.of(partner, feed, nominal.slot, revision)

    def resume(current: Record) -> Record:
        _refuse_other_window(timetable, current, window, nominal)
        resumed = records.resume(_renewed(context, whose, current))
        is_open = resumed.staged is None and resumed.emptied_at is None
        return resumed.model_copy(update={"force": window.force}) if window.force and is_open else resumed

    try:
        record = records.update(context.stores.batches, batch, resume)
    except UnknownBatch:
        refuse(timetable, window, nominal, context.now())
        made = _new_record(context, whose, batch, window, nominal)
        record = records.create(context.stores.batches, made)
        if timetable.covers == "since_last":
            give_up_if_superseded(context, batch)
        mark_planned(context, batch)
        _refuse_other_window(timetable, record, window, nominal)
    with suppress(UnknownBatch):  # a batch that an older version sealed has no recipe
        open_book(context, record, recipe.read(context, batch))
    details = {
        "sequence": record.sequence,
        "window_start": record.window_start.isoformat(),
        "window_end": record.window_end.isoformat(),
        "first_day": record.cover.first if record.cover else None,
        "last_day": record.cover.last if record.cover else None,
        "force": window.force,
        "loaded_before": record.loads.until.isoformat() if record.loads else None,
        "files": len(record.files),
        "query_sha256": hashlib.sha256(record.query.encode()).hexdigest(),
    }
    ledger.note(context, batch, Note("planned", since=record.planned_at, details=details), once=True)
    if window.force and record.force == window.force:
        ledger.note(
            context, batch, Note("forced", since=record.planned_at, details={"reason": record.force}), once=True
        )
    return record


def describe(context: Context, record: Record) -> dict[str, Any]:
    """Return all that Data Factory needs to extract and deliver the batch. Secrets are named, never contained."""
    return {
        "batch": record.batch,
        "sequence": record.sequence,
        "covers": describe_cover(record),
        "source": describe_source(context, record),
        "query": record.query,
        "files": record.files,
        "raw": {"folder": record.batch.folder, "file": ROWS},
        "route": record.route,
        "sftp": describe_sftp(context, record),
    }


def describe_source(context: Context, record: Record) -> dict[str, str]:
    """Return the database as Data Factory needs it; `kind` chooses the Copy. The password is named, never contained."""
    if record.source == WAREHOUSE:
        return {"kind": WAREHOUSE}
    source = context.source(record.source)
    found = {"kind": source.kind, "server": source.server, "database": source.database}
    return (
        found
        if source.kind == "azure-sql"
        else found | {"user": str(source.user), "passwordSecret": str(source.password)}
    )


def describe_sftp(context: Context, record: Record) -> dict[str, Any]:
    """Return the way to the partner as Data Factory needs it. The key is named, never contained."""
    sftp = context.partner(record.batch.partner).sftp
    return {
        "host": sftp.host,
        "port": sftp.port,
        "user": sftp.user,
        "hostKeyFingerprint": sftp.adf_host_key,
        "privateKeySecret": sftp.private_key,
        "folder": record.folder,
    }


def describe_cover(record: Record) -> dict[str, str] | None:
    """Return what the batch covers, for people and programs; None for a batch of an older version."""
    return record.cover.model_dump(mode="json") if record.cover else None


def refuse(timetable: Timetable, window: Window, cover: Cover, now: datetime) -> None:
    """Raise InvalidRequest for a new batch that would be wrong, unless the window has a reason for it."""
    if window.force:
        return
    if max(window.end, cover.end) > now + CLOCK_SKEW:
        raise InvalidRequest(
            f"the window covers rows until {max(window.end, cover.end).isoformat()}, by the clock of {timetable.time_zone}: "
            "that is still to come, and its rows may change",
            "plan it when it has ended, or give the reason as force",
        )
    if window.end - window.start > timetable.longest():
        raise InvalidRequest(
            f"the window lasts {window.end - window.start}, and a batch of this feed at most {timetable.longest()}",
            "plan each batch by its own window, or give the reason as force",
        )
    if timetable.since and cover.last < timetable.since:
        raise InvalidRequest(
            f"the feed began on {timetable.since}, and this batch is of {cover.last}, before that",
            "to send older days: ./sealift feeds --backfill FROM TO",
        )


def _renewed(context: Context, partner: Partner, record: Record) -> Record:
    """Return a batch that an older version planned and did not extract with today's query and recipe."""
    if record.layout is None or record.staged is not None:
        return record
    batch = record.batch
    recipe.write(context, batch, Recipe.of(partner, batch.feed))
    return record.model_copy(
        update={"layout": None, "query": stage_query(partner.feeds[batch.feed], batch.business_date)}
    )


def _refuse_other_window(timetable: Timetable, record: Record, window: Window, nominal: Cover) -> None:
    """Refuse a window that the batch was not planned for; its days, cut by the partner's midnight, are the same as it."""
    asked = (window.start, window.end)
    if asked in ((record.window_start, record.window_end), (nominal.start, nominal.end)):
        return
    if timetable.covers == "since_last" and record.cover and window.end in (record.window_end, record.cover.end):
        return
    raise OtherWindow(
        f"batch {record.batch} belongs to the window {record.window_start.isoformat()} to {record.window_end.isoformat()}",
        "ask for that window, or plan a correction with the next revision",
    )


def _new_record(context: Context, partner: Partner, batch: BatchId, window: Window, nominal: Cover) -> Record:
    feed, now = partner.feeds[batch.feed], context.now()
    cover, loads = nominal, None
    if feed.covers == "since_last":
        limit = load_limit(context, partner, batch.feed)
        cover, loads = take(context, partner.timetable(batch.feed), batch, nominal, limit)
    made = Recipe.of(partner, batch.feed)
    _check_names(made, batch, now)
    made = recipe.write(context, batch, made)
    sequence = take_sequence(context, batch)
    return Record(
        batch=batch,
        sequence=sequence,
        window_start=window.start,
        window_end=window.end,
        planned_at=now,
        cover=Covered.of(cover),
        loads=loads if as_loaded(loads, batch.revision) else None,
        force=window.force,
        run_id=context.run_id,
        # The names of a batch with several files, or perhaps none, are known when its rows are.
        files=[made.name_file(batch, now, sequence)] if made.numbers_batches else [],
        source=feed.source,
        query=stage_query(feed, cover, as_loaded(loads, batch.revision)),
        format=feed.format,
        openpgp=feed.openpgp,
        smime=feed.smime,
        side_files=feed.side_files,
        manifest_totals=feed.manifest_totals,
        route=feed.route,
        folder=feed.folder,
    )


def _check_names(made: Recipe, batch: BatchId, now: datetime) -> None:
    """Refuse what would fail after the extract: a revision without a letter, a correction with the name that it corrects."""
    corrected = BatchId.of(batch.partner, batch.feed, batch.slot, max(1, batch.revision - 1))
    try:
        name = made.name_file(batch, now, 1)
        before = made.name_file(corrected, now, 2) if batch.revision > 1 else None
    except ValueError as error:
        raise InvalidRequest(str(error), "agree on other names with the partner") from None
    if name == before:
        raise InvalidRequest(
            f"revision {batch.revision} of {batch.partner} {batch.feed} would have the file name of the one that it corrects",
            "write {letter} or {sequence} into file_name",
        )

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
from batches.errors import InvalidRequest, OtherWindow, UnknownBatch
from batches.ledger import Note
from batches.numbering import open_book, take_sequence
from batches.recipe import Recipe
from batches.record import ROWS, BatchId, Record
from partners import Partner, UnknownFeed, stage_query

LONGEST_WINDOW = timedelta(days=366)
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Window:
    """The period that a batch is about: from `start` up to, but not including, `end`; aware instants.

    `early` is the reason to plan it before it has ended.
    """

    start: datetime
    end: datetime
    early: str | None = None

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise InvalidRequest("the window ends before it starts", "windowStart must be earlier than windowEnd")
        if self.end - self.start > LONGEST_WINDOW:
            raise InvalidRequest(
                f"the window is longer than {LONGEST_WINDOW.days} days", "check the years of windowStart and windowEnd"
            )

    def refuse_unended(self, now: datetime) -> None:
        """Raise InvalidRequest for a window in which rows may still change, unless a reason was given."""
        if self.end > now + CLOCK_SKEW and not self.early:
            raise InvalidRequest(
                f"the window ends at {self.end.isoformat()}, which is still to come: its rows may change",
                "plan it when it has ended, or give the reason as early",
            )


def plan(context: Context, partner: str, feed: str, window: Window, revision: int = 1) -> Record:
    """Return the record of the window's batch, made now or before. Raises PartnerError, InvalidRequest, OtherWindow."""
    window.refuse_unended(context.now())
    whose = context.partner(partner)
    if feed not in whose.feeds:
        raise UnknownFeed(f"{partner} has no feed {feed!r}", f"its feeds are: {', '.join(whose.feeds)}")
    batch = BatchId.of(partner, feed, whose.business_date(window.start), revision)

    def resume(current: Record) -> Record:
        _refuse_other_window(current, window)
        return records.resume(_renewed(context, whose, current))

    try:
        record = records.update(context.stores.batches, batch, resume)
    except UnknownBatch:
        record = records.create(context.stores.batches, _new_record(context, whose, batch, window))
        _refuse_other_window(record, window)
    with suppress(UnknownBatch):  # a batch that an older version sealed has no recipe
        open_book(context, record, recipe.read(context, batch))
    details = {
        "sequence": record.sequence,
        "window_start": record.window_start.isoformat(),
        "window_end": record.window_end.isoformat(),
        "early": window.early,
        "files": len(record.files),
        "query_sha256": hashlib.sha256(record.query.encode()).hexdigest(),
    }
    ledger.note(context, batch, Note("planned", details=details), once=True)
    return record


def describe(context: Context, record: Record) -> dict[str, Any]:
    """Return all that Data Factory needs to extract and deliver the batch. Secrets are named, never contained."""
    sftp = context.partner(record.batch.partner).sftp
    return {
        "batch": record.batch,
        "sequence": record.sequence,
        "query": record.query,
        "files": record.files,
        "raw": {"folder": record.batch.folder, "file": ROWS},
        "route": record.route,
        "sftp": {
            "host": sftp.host,
            "port": sftp.port,
            "user": sftp.user,
            "hostKeyFingerprint": sftp.adf_host_key,
            "privateKeySecret": sftp.private_key,
            "folder": record.folder,
        },
    }


def _renewed(context: Context, partner: Partner, record: Record) -> Record:
    """Return a batch that an older version planned and did not extract with today's query and recipe."""
    if record.layout is None or record.staged is not None:
        return record
    batch = record.batch
    recipe.write(context, batch, Recipe.of(partner, batch.feed))
    return record.model_copy(
        update={"layout": None, "query": stage_query(partner.feeds[batch.feed], batch.business_date)}
    )


def _refuse_other_window(record: Record, window: Window) -> None:
    if (record.window_start, record.window_end) != (window.start, window.end):
        raise OtherWindow(
            f"batch {record.batch} belongs to the window "
            f"{record.window_start.isoformat()} to {record.window_end.isoformat()}",
            "ask for that window, or plan a correction with the next revision",
        )


def _new_record(context: Context, partner: Partner, batch: BatchId, window: Window) -> Record:
    feed, now = partner.feeds[batch.feed], context.now()
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
        run_id=context.run_id,
        # The names of a batch with several files, or perhaps none, are known when its rows are.
        files=[made.name_file(batch, now, sequence)] if made.numbers_batches else [],
        query=stage_query(feed, batch.business_date),
        format=feed.format,
        openpgp=feed.openpgp,
        side_files=feed.side_files,
        route=feed.route,
        folder=feed.folder,
    )


def _check_names(made: Recipe, batch: BatchId, now: datetime) -> None:
    """Refuse what would fail after the extract: a revision without a letter, a correction with the name that it corrects."""
    corrected = BatchId.of(batch.partner, batch.feed, batch.business_date, max(1, batch.revision - 1))
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

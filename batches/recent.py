"""The newest batches of a feed in one small blob, `_recent/<partner>/<feed>.json`: what pages about many batches read.

It is derived from records, receipts and answers, and holds nothing that they do not. Each step that writes to the ledger writes
the batch's line anew; a blob that is missing or unreadable is made again from the records by the next step or by the timer, so
deleting it is safe at any time. No step fails because of it: what it cannot read, it shows as `unreadable`.
"""

from __future__ import annotations

import json
from datetime import date, timedelta

from pydantic import AwareDatetime, Field

from batches import blobs
from batches import record as records
from batches.answers import read_answer
from batches.context import Context
from batches.errors import UnknownBatch, Unreadable
from batches.receipts import read_receipt
from batches.record import BatchId, Record, Stored, shown

FOLDER = "_recent/"
KEPT_DAYS = 100
MOST_KEPT = 400  # a feed that covers hours has several batches a day
_CAUSE_LETTERS = 300


class Seen(Stored):
    """One batch in short. `state` is that of the record alone: a batch whose rows were accepted is `under way`.

    `delivered_at` is the time of the first delivery; `sequence` 0 and `planned_at` None are those of an unreadable record.
    """

    batch: BatchId
    state: str
    sequence: int = 0
    delivery: int = 1
    route: str = ""
    format: str = ""
    planned_at: AwareDatetime | None = None
    delivered_at: AwareDatetime | None = None
    files: int = 0
    rows: int | None = None
    bytes: int = 0
    cause: str = ""


class Recent(Stored):
    """recent.json: by batch id."""

    seen: dict[BatchId, Seen] = Field(default={})

    @property
    def newest_first(self) -> list[Seen]:
        return sorted(self.seen.values(), key=lambda each: (each.batch.slot, each.batch.revision), reverse=True)


def blob_name(partner: str, feed: str) -> str:
    """Return where a feed's blob is. No partner's name begins with an underscore, so no batch's folder is there."""
    return f"{FOLDER}{partner}/{feed}.json"


def read_recent(context: Context, partner: str, feed: str, *, since: date) -> Recent | None:
    """Return a feed's batches from a business date on, None where nobody has written them yet. Raises Unreadable.

    Only what is wanted becomes a value: an overview reads hundreds of these blobs.
    """
    name = blob_name(partner, feed)
    content = blobs.read(context.stores.batches, name)
    if content is None:
        return None
    try:
        seen = json.loads(content).get("seen", {})
        return Recent.model_validate({"seen": {key: seen[key] for key in seen if key.split(".")[2] >= str(since)}})
    except (ValueError, AttributeError, IndexError, TypeError, RecursionError):
        raise Unreadable(name) from None


def newest(context: Context, partner: str, feed: str, *, since: date = date.min) -> list[Seen] | None:
    """Return a feed's batches from a business date on, newest first; None where they must be looked for among the records."""
    try:
        recent = read_recent(context, partner, feed, since=since)
    except Unreadable:
        return None
    return None if recent is None else recent.newest_first


def is_cut(newest_first: list[Seen]) -> bool:
    """Whether a feed may have older batches than those that are written down."""
    days = newest_first[0].batch.business_date - newest_first[-1].batch.business_date
    return len(newest_first) >= MOST_KEPT or days >= timedelta(days=KEPT_DAYS - 31)


def feeds_seen(context: Context) -> list[tuple[str, str]]:
    """Return partner and feed of every feed whose newest batches are written down."""
    names = context.stores.batches.list_blob_names(name_starts_with=FOLDER)
    parts = [name.removeprefix(FOLDER).removesuffix(".json").split("/") for name in names]
    return [(each[0], each[1]) for each in parts if len(each) == 2]


def remember(context: Context, batch: BatchId) -> None:
    """Write the batch's line anew; make the blob from the records where it is missing or unreadable."""
    container, name = context.stores.batches, blob_name(batch.partner, batch.feed)
    try:
        mine = see(context, batch)
    except UnknownBatch:
        return

    def change(content: bytes | None) -> bytes:
        current = _parse(content, name)
        if current is None:
            current = derive(context, batch.partner, batch.feed, first=mine.batch.business_date - timedelta(KEPT_DAYS))
        return _cut({**current.seen, batch: mine}).model_dump_json(exclude_defaults=True).encode()

    blobs.update(container, name, change)


def rebuild(context: Context, partner: str, feed: str) -> Recent:
    """Make a feed's blob from its records, whatever the blob holds now, and return it."""
    first = context.now().date() - timedelta(days=KEPT_DAYS)
    made = Recent()

    def change(_content: bytes | None) -> bytes:
        # A step that writes its batch's line meanwhile changes the ETag: then this is asked again, and sees that step's record.
        nonlocal made
        made = _cut(derive(context, partner, feed, first=first).seen)
        return made.model_dump_json(exclude_defaults=True).encode()

    blobs.update(context.stores.batches, blob_name(partner, feed), change)
    return made


def derive(context: Context, partner: str, feed: str, *, first: date, last: date | None = None) -> Recent:
    """Return the batches of a feed with a business date from `first` on, from their records."""
    names = context.stores.batches.list_blob_names(name_starts_with=_prefix(partner, feed, first, last))
    ids = [BatchId.of_blob(name) for name in names if name.endswith("/batch.json")]
    wanted = [each for each in ids if each and first <= each.business_date <= (last or date.max)]
    wanted.sort(key=lambda each: (each.slot, each.revision), reverse=True)
    return Recent(seen={batch: see(context, batch) for batch in wanted[:MOST_KEPT]})


def see(context: Context, batch: BatchId) -> Seen:
    """Return a batch in short. Raises UnknownBatch."""
    try:
        return _see(context, records.read(context.stores.batches, batch))
    except Unreadable as error:
        return Seen(batch=batch, state="unreadable", cause=error.message)


def _see(context: Context, record: Record) -> Seen:
    first = read_receipt(context, record, delivery=1)
    current = first if record.delivery == 1 else read_receipt(context, record)
    state, cause = _state(record), ""
    if current:
        answer = read_answer(context, record)
        state, cause = (
            (answer.says, answer.reason if answer.says == "rejected" else "") if answer else ("delivered", "")
        )
    elif record.superseded_by is not None:
        cause = f"it never left: its days are in batch {record.superseded_by}"
    elif record.failure:
        cause = record.failure.cause
    staged = record.staged or []
    counts = [file.rows for file in staged]
    return Seen(
        batch=record.batch,
        state=state,
        sequence=record.sequence,
        delivery=record.delivery,
        route=record.route,
        format=record.format,
        planned_at=record.planned_at,
        delivered_at=first.delivered_at if first else record.emptied_at,
        files=len(record.files),
        rows=sum(count or 0 for count in counts) if counts and None not in counts else None,
        bytes=sum(file.size_bytes for file in staged),
        cause=shown(cause)[:_CAUSE_LETTERS],
    )


def _state(record: Record) -> str:
    if record.superseded_by is not None:
        return "superseded"
    if record.failure:
        return "failed"
    if record.emptied_at is not None:
        return "empty"
    return "under way" if record.staged or record.rows else "planned"


def _cut(seen: dict[BatchId, Seen]) -> Recent:
    newest = sorted(seen, key=lambda batch: (batch.slot, batch.revision), reverse=True)[:MOST_KEPT]
    oldest = newest[0].business_date - timedelta(days=KEPT_DAYS) if newest else date.min
    return Recent(seen={batch: seen[batch] for batch in newest if batch.business_date >= oldest})


def _parse(content: bytes | None, name: str) -> Recent | None:
    if content is None:
        return None
    try:
        return blobs.parse(content, name, Recent)
    except Unreadable:
        return None


def _prefix(partner: str, feed: str, first: date, last: date | None) -> str:
    """Return the longest beginning that all names of the period have."""
    ends = (str(first), str(last or date.max))
    same = next((at for at in range(10) if ends[0][at] != ends[1][at]), 10) if last else 0
    return f"{partner}/{feed}/{ends[0][:same]}"

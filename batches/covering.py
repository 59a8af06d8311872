"""Cover: which days a batch of a `since_last` feed takes: those after the last batch that left, without a gap or an overlap.

`<partner>/<feed>/covers.json` says which days each batch took, and changes only under its ETag, so that batches that are planned
at the same time never take the same days. A batch has left once it is sealed, for from then on its bytes are sent again until
they arrive, or once it was found to have no rows. One that stopped before that is superseded: its days go with the next batch,
and it is never worked on again. What a batch took never changes.
"""

from __future__ import annotations

from datetime import date, timedelta

from pydantic import AwareDatetime, Field

from batches import blobs
from batches import record as records
from batches.context import Context
from batches.errors import InvalidRequest, Superseded, UnderWay, UnknownBatch
from batches.manifest import is_finished
from batches.plausible import after
from batches.receipts import read_receipt
from batches.recent import remember
from batches.record import BatchId, Loads, Record, Stored
from partners.schedule import Cover, Timetable

MOST_KEPT = 800
FARTHEST_RUN_DAYS = 400
# No call lasts longer: a batch without a record whose days were taken before that is one that crashed.
LONGEST_CALL_SECONDS = 600


class Taken(Stored):
    """The days of one batch, and its revisions; `superseded_by` is the slot of the batch that took them over."""

    first: date
    last: date
    at: AwareDatetime
    loads: Loads | None = None
    revisions: tuple[int, ...] = (1,)
    superseded_by: str | None = None


class Book(Stored):
    """covers.json: what each batch took, by slot."""

    version: int = 1
    taken: dict[str, Taken] = Field(default_factory=dict)


def read_book(context: Context, partner: str, feed: str) -> Book:
    """Raises Unreadable."""
    name = f"{partner}/{feed}/covers.json"
    return blobs.read_model(context.stores.batches, name, Book) or Book()


def take(
    context: Context, timetable: Timetable, batch: BatchId, nominal: Cover, limit: Loads | None = None
) -> tuple[Cover, Loads | None]:
    """Return what the batch covers, and write it down: the same each time. `nominal` ends with the batch's last day.

    `limit` is up to which load it would take rows, were it the feed's first batch.

    Raises Superseded, UnderWay, InvalidRequest.
    """
    found: list[Book] = []

    def rewrite(content: bytes | None) -> bytes:
        book = Book() if content is None else blobs.parse(content, name, Book)
        changed = _taken(context, timetable, batch, nominal, book)
        if limit and batch.slot not in book.taken:
            changed = _limited(changed, batch.slot, limit)
        found[:] = [changed]
        return content if content and changed == book else changed.model_dump_json(indent=1).encode()

    if _is_from_before(timetable, nominal):
        return _of_the_past(timetable, nominal), None
    name = f"{batch.partner}/{batch.feed}/covers.json"
    blobs.update(context.stores.batches, name, rewrite)
    (book,) = found
    for slot, stopped in book.taken.items():
        if stopped.superseded_by == batch.slot:  # again: a record may have been made since the book was read
            _supersede(context, batch, slot, stopped)
    taken = book.taken[batch.slot]
    return timetable.days(taken.first, taken.last), taken.loads


def give_up_if_superseded(context: Context, batch: BatchId) -> None:
    """Give up a record that was made after a later batch took its days, because planning it took too long. Raises Superseded."""
    mine = read_book(context, batch.partner, batch.feed).taken.get(batch.slot)
    if mine is None or mine.superseded_by is None:
        return
    _supersede(context, BatchId.of(batch.partner, batch.feed, mine.superseded_by, 1), batch.slot, mine)
    raise _superseded(batch, mine.superseded_by)


def preview(context: Context, timetable: Timetable, batch: BatchId) -> Cover | None:
    """Return what `take` would give now, None when nothing is left to take; writes nothing. Raises UnderWay, Superseded."""
    nominal = timetable.days(batch.business_date, batch.business_date)
    if _is_from_before(timetable, nominal):
        return _of_the_past(timetable, nominal)
    book = read_book(context, batch.partner, batch.feed)
    mine = book.taken.get(batch.slot)
    if mine is not None:
        return timetable.days(mine.first, mine.last)
    last, _ = _walk(context, batch, book)
    return timetable.extended(nominal, last)


def _is_from_before(timetable: Timetable, nominal: Cover) -> bool:
    """Whether a batch is from before the feed began: a backfill, for which somebody gave a reason."""
    return timetable.since is not None and nominal.last < timetable.since


def _of_the_past(timetable: Timetable, nominal: Cover) -> Cover:
    """Return the days after the run before, whatever became of that: batches of a backfill do not take over each other's days."""
    runs = timetable.runs(nominal.start - timedelta(days=FARTHEST_RUN_DAYS), nominal.end - timedelta(microseconds=1))
    before = [run.cover.last for run in runs if run.cover.last < nominal.last]
    return timetable.days(before[-1] + timedelta(days=1), nominal.last) if before else nominal


def _taken(context: Context, timetable: Timetable, batch: BatchId, nominal: Cover, book: Book) -> Book:
    mine = book.taken.get(batch.slot)
    if mine is not None:
        if mine.superseded_by:
            raise _superseded(batch, mine.superseded_by)
        revisions = tuple(sorted({*mine.revisions, batch.revision}))
        kept = mine.model_copy(update={"revisions": revisions})
        return _with(book, batch.slot, kept)
    if batch.revision > 1:
        raise InvalidRequest(f"there is no batch that {batch} could correct", "plan revision 1 first")
    last, stopped = _walk(context, batch, book)
    cover = timetable.extended(nominal, last)
    if cover is None:
        raise Superseded(f"the days up to {nominal.last} of {batch.partner} {batch.feed} have left", "no action needed")
    for slot in stopped:
        _supersede(context, batch, slot, book.taken[slot])
        book = _with(book, slot, book.taken[slot].model_copy(update={"superseded_by": batch.slot}))
    return _with(book, batch.slot, Taken(first=cover.first, last=cover.last, at=context.now()))


def _superseded(batch: BatchId, by: str) -> Superseded:
    taker = BatchId.of(batch.partner, batch.feed, by, 1)
    return Superseded(f"the days of batch {batch} are in batch {taker}", "no action needed: they leave with that")


def _limited(book: Book, slot: str, limit: Loads) -> Book:
    """Return the book with the load limit of a batch that is new in it: it goes on from that of the batch before."""
    mine = book.taken[slot]
    left = [each for each in book.taken.values() if each.superseded_by is None and each.last < mine.first]
    before = max(left, key=lambda each: each.last, default=None)
    seen = before.loads.until if before and before.loads else None
    return _with(book, slot, mine.model_copy(update={"loads": after(limit, before.last if before else None, seen)}))


def _walk(context: Context, batch: BatchId, book: Book) -> tuple[date | None, list[str]]:
    """Return the last day that has left, and the slots of later batches that stopped before they left. Raises UnderWay."""
    stopped: list[str] = []
    for slot in sorted(book.taken, reverse=True):
        taken = book.taken[slot]
        if taken.superseded_by:
            continue
        ids = [BatchId.of(batch.partner, batch.feed, slot, revision) for revision in taken.revisions]
        if any(_has_left(context, each) for each in ids):
            return taken.last, stopped
        if slot > batch.slot:
            raise Superseded(
                f"the later batch {ids[0]} has taken the days up to {taken.last}",
                f"no action needed; to send them, run the window of {ids[0]} again",
            )
        for each in ids:
            _refuse_moving(context, each, taken)
        stopped.append(slot)
    return None, stopped


def _has_left(context: Context, batch: BatchId) -> bool:
    record = _read(context, batch)
    if record is None:
        return False
    return record.emptied_at is not None or is_finished(context, batch) or read_receipt(context, record) is not None


def _refuse_moving(context: Context, batch: BatchId, taken: Taken) -> None:
    """Raise UnderWay for a batch that may still leave by itself."""
    record = _read(context, batch)
    is_planning = record is None and (context.now() - taken.at).total_seconds() < LONGEST_CALL_SECONDS
    if is_planning or (record is not None and _is_moving(record)):
        raise UnderWay(
            f"batch {batch} is still being worked on, and this one begins where it ends",
            f"wait until it is sealed, then run this window again; if it hangs: ./sealift batch replay {batch} --from seal",
        )


def _is_moving(record: Record) -> bool:
    """Whether rows were accepted and nothing has failed: a worker may seal them at any moment."""
    return record.failure is None and (record.rows is not None or record.staged is not None)


def _supersede(context: Context, batch: BatchId, slot: str, taken: Taken) -> None:
    """Mark the records of a batch that stopped: under their ETags, so that none of them goes on meanwhile."""
    for revision in taken.revisions:
        stopped = BatchId.of(batch.partner, batch.feed, slot, revision)

        def mark(current: Record) -> Record:
            if _is_moving(current):
                raise UnderWay(f"batch {current.batch} is being worked on again", "run this window again later")
            return current.model_copy(update={"superseded_by": batch})

        try:
            records.update(context.stores.batches, stopped, mark)
            remember(context, stopped)
        except UnknownBatch:
            continue


def _read(context: Context, batch: BatchId) -> Record | None:
    try:
        return records.read(context.stores.batches, batch)
    except UnknownBatch:
        return None


def _with(book: Book, slot: str, taken: Taken) -> Book:
    kept = sorted({**book.taken, slot: taken}.items())[-MOST_KEPT:]
    return book.model_copy(update={"taken": dict(kept)})

"""What an operator may ask for: look at batches, deliver the same bytes again, or let a batch that stands still go on.

Nothing here extracts. What was accepted for sealing stays what it was; other content needs a new revision.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from batches import ledger
from batches import record as records
from batches.accepting import request_sealing, take_over
from batches.context import Context
from batches.delivering import request_delivery
from batches.errors import NotRepeatable, Unreadable
from batches.ledger import Note
from batches.manifest import is_finished
from batches.outgoing import remote_files
from batches.receipts import read_receipt
from batches.recent import feeds_seen, is_cut, newest
from batches.record import BatchId, Record, Resend
from batches.sending import release
from batches.status import shown_state
from partners import UnknownFeed

READS_AT_ONCE = 8
MOST_STATES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which batches a list shows; None: all. `day` is a business date."""

    partner: str | None = None
    feed: str | None = None
    state: str | None = None
    day: str | None = None


def list_batches(context: Context, wanted: Wanted, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest batches with their state, newest business date first. Raises UnknownPartner, UnknownFeed.

    A state is read from each batch: with one, at most the 500 newest are looked at.
    """
    most = MOST_STATES if wanted.state else limit
    found = _newest(context, wanted, most)
    if found is None:
        found = _listed(context, wanted)
    looked_at = sorted(found, key=_age, reverse=True)[:most]
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        shown = list(pool.map(lambda batch: _summary(context, batch), looked_at))
    return [each for each in shown if wanted.state in (None, each["state"])][:limit]


def _age(batch: BatchId) -> tuple[str, str, str, int]:
    return batch.slot, batch.partner, batch.feed, batch.revision


def _newest(context: Context, wanted: Wanted, most: int) -> list[BatchId] | None:
    """Return the wanted batches by the feeds' small blobs, None where those may lack one of the `most` newest.

    Each holds a feed's newest batches: where it was cut, nothing that is newer than the oldest of them is missing.
    """
    if wanted.day is not None:
        return None
    feeds = [
        each for each in feeds_seen(context) if wanted.partner in (None, each[0]) and wanted.feed in (None, each[1])
    ]
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        known = list(pool.map(lambda feed: newest(context, *feed), feeds))
    if any(each is None for each in known):
        return None
    found = sorted((seen.batch for each in known for seen in each or ()), key=_age, reverse=True)
    cut = max((each[-1].batch.slot for each in known if each and is_cut(each)), default="")
    return found if len(found) >= most and found[most - 1].slot > cut else None


def _listed(context: Context, wanted: Wanted) -> list[BatchId]:
    """Return the wanted batches by a listing of all that there are. Raises UnknownPartner, UnknownFeed."""
    prefix = "/".join(part for part in (wanted.partner, wanted.feed if wanted.partner else None) if part)
    found: list[BatchId] = []
    for name in context.stores.batches.list_blob_names(name_starts_with=prefix and f"{prefix}/"):
        batch = BatchId.of_blob(name)
        if batch and name.endswith("/batch.json"):
            found.append(batch)
    if not found:
        _refuse_unknown(context, wanted)
    return [
        batch for batch in found if wanted.feed in (None, batch.feed) and wanted.day in (None, str(batch.business_date))
    ]


def _refuse_unknown(context: Context, wanted: Wanted) -> None:
    """Raise for a partner or feed that neither has a batch nor a file: a typo must not look like an empty list."""
    if wanted.partner is None:
        return
    feeds = context.partner(wanted.partner).feeds
    if wanted.feed is not None and wanted.feed not in feeds:
        raise UnknownFeed(f"{wanted.partner} has no feed {wanted.feed!r}", f"its feeds are: {', '.join(feeds)}")


def history(context: Context, batch: BatchId) -> list[dict[str, Any]]:
    """Return the ledger's entries about a batch, oldest first. Raises UnknownBatch."""
    with suppress(Unreadable):
        records.read(context.stores.batches, batch)
    entries = ledger.read_entries(context, batch)
    return [{**entry.content, "sha256": entry.sha256} for entry in entries if entry.content["batch"] == batch]


def resend(context: Context, batch: BatchId, *, reason: str, who: str) -> Record:
    """Make a delivered batch deliverable once more: the same bytes, under the same names, as a new delivery.

    A file that is still at the partner with its size counts as there and is not sent twice; a partner that has swept its
    inbox gets every file again. Raises UnknownBatch, NotRepeatable, SealedMissing.
    """
    wish = Resend(at=context.now(), who=who, reason=reason)

    def add(current: Record) -> Record:
        if wish in current.resends:  # written already, although the answer was lost
            return current
        if read_receipt(context, current) is None:
            raise NotRepeatable(
                f"delivery {current.delivery} of batch {batch} has not happened yet",
                "run deliver_batch for its window: a re-send is for what was delivered",
            )
        remote_files(context, current)
        return current.model_copy(update={"resends": [*current.resends, wish], "failure": None})

    record = records.update(context.stores.batches, batch, add)
    about = Note("resend asked", since=record.planned_at, delivery=record.delivery, who=who, details={"reason": reason})
    ledger.note(context, batch, about, once=True)
    return record


def replay(context: Context, batch: BatchId, *, start: Literal["seal", "deliver"], who: str) -> Record:
    """Let a batch that failed or hangs go on from a step.

    Raises UnknownBatch, NotStaged, ContentChanged, NotRepeatable, SealedMissing.
    """
    record = records.read(context.stores.batches, batch)
    _refuse_replay(context, record, start)
    if start == "seal":
        record = request_sealing(context, batch, rows={})
    elif record.route == "function":
        record = request_delivery(context, batch)
    else:
        remote_files(context, record)
        record = records.update(
            context.stores.batches, batch, lambda current: take_over(context, records.resume(current))
        )
        release(context, record)
    about = Note("replayed", delivery=record.delivery, who=who, details={"start": start})
    ledger.note(context, batch, about)
    return record


def _refuse_replay(context: Context, record: Record, start: Literal["seal", "deliver"]) -> None:
    """Raise NotRepeatable, with the command that does what may be meant."""
    batch, finished = record.batch, is_finished(context, record.batch)
    if read_receipt(context, record) is not None:
        raise NotRepeatable(
            f"batch {batch} was delivered", f"./sealift batch resend {batch} --reason TEXT sends it again"
        )
    if record.emptied_at is not None:
        raise NotRepeatable(
            f"batch {batch} had no rows, and its feed sends no file then", "plan a correction: a new revision"
        )
    if start == "deliver" and not finished:
        raise NotRepeatable(f"batch {batch} is not sealed", f"./sealift batch replay {batch} --from seal")
    if start == "seal" and finished:
        raise NotRepeatable(
            f"batch {batch} is sealed", f"./sealift batch replay {batch} --from deliver goes on from there"
        )
    if start == "seal" and record.staged is None and record.rows is None:
        raise NotRepeatable(
            f"batch {batch} was never accepted for sealing", "run deliver_batch for its window: that extracts it first"
        )


def _summary(context: Context, batch: BatchId) -> dict[str, Any]:
    """Return a batch as a list shows it; one that cannot be read has a state of its own and hides none."""
    try:
        record = records.read(context.stores.batches, batch)
    except Unreadable as error:
        nothing = {"sequence": 0, "delivery": 0, "files": 0, "rows": None, "bytes": 0, "route": ""}
        return {"batch": batch, "state": "unreadable", **nothing, "cause": error.message}
    return {
        "batch": batch,
        "state": shown_state(context, record),
        "sequence": record.sequence,
        "delivery": record.delivery,
        "files": len(record.files),
        "rows": _rows(record),
        "bytes": sum(file.size_bytes for file in record.staged or []),
        "route": record.route,
        "cause": record.failure.cause if record.failure else None,
    }


def _rows(record: Record) -> int | None:
    """Return how many rows the batch has, None until it is shaped."""
    counts = [file.rows for file in record.staged or []]
    return sum(count or 0 for count in counts) if counts and None not in counts else None

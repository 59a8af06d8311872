"""Wait: what a run of Data Factory does next about the batches that it started, asked once for all of them.

The answer is derived from what is on record, in parallel; nothing is kept between two looks. Batches that this app delivers need
no step of Data Factory: the run only waits for their end. A batch of the route `adf` is to be sent as soon as it is sealed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from batches import record as records
from batches.context import Context
from batches.deliver_messages import ask, finish_and_go_on, is_asked, queue_delivery
from batches.errors import BatchError, UnknownBatch, Unreadable
from batches.planning import describe_sftp
from batches.receipts import read_receipt
from batches.recent import Seen, read_recent
from batches.record import BatchId, Record
from batches.status import state_of
from partners import PartnerError

READS_AT_ONCE = 16
SHORTEST_WAIT_SECONDS = 10
CAUSES_LETTERS = 3000

_DONE = frozenset({"delivered", "acknowledged", "empty"})
_BUSY = frozenset({"sealing", "delivering"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a look found of one batch: `says` is its end or its cause in words."""

    batch: BatchId
    stands: Literal["busy", "send", "done", "failed"]
    says: str = ""
    way: dict[str, Any] | None = None


def look(
    context: Context, batches: Sequence[BatchId], *, waited_seconds: float, longest_seconds: float
) -> dict[str, Any]:
    """Return `next` (send, wait or end) for a run that started these batches, what to `send`, and how they stand.

    `wait` grows with the time that was waited: the first looks follow each other closely, later ones rarely.
    """
    seen = _glance(context, batches) if len(batches) > 1 else {}
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        found = list(pool.map(lambda batch: _find(context, batch, seen.get(batch)), batches))
    count: Counter[str] = Counter(each.stands for each in found)
    return {
        "next": "send" if count["send"] else "wait" if count["busy"] else "end",
        "wait": int(min(max(SHORTEST_WAIT_SECONDS, waited_seconds), max(1, longest_seconds))),
        "send": [{"batch": each.batch, "sftp": each.way} for each in found if each.stands == "send"],
        "busy": count["busy"],
        "failed": count["failed"],
        "causes": _causes(found),
        "outcome": found[0].says if len(found) == 1 else _summary(count),
    }


def _glance(context: Context, batches: Iterable[BatchId]) -> dict[BatchId, Seen]:
    """Return what the feeds' newest batches say in one read a feed. It only spares looks: what it lacks is looked at."""
    days: dict[tuple[str, str], date] = {}
    for batch in batches:
        key = (batch.partner, batch.feed)
        days[key] = min(batch.business_date, days.get(key, batch.business_date))

    def read(feed: tuple[str, str]) -> dict[BatchId, Seen]:
        try:
            recent = read_recent(context, *feed, since=days[feed])
        except Unreadable:
            return {}
        return recent.seen if recent else {}

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return {batch: seen for each in pool.map(read, days) for batch, seen in each.items()}


def _find(context: Context, batch: BatchId, seen: Seen | None) -> _Found:
    if seen is not None and seen.state in _DONE:
        return _Found(batch=batch, stands="done")
    try:
        return _look_at(context, records.read(context.stores.batches, batch))
    except UnknownBatch:
        return _Found(batch=batch, stands="failed", says="it was not planned: see its run of start_batch")
    except Unreadable as error:
        return _Found(batch=batch, stands="failed", says=error.message)


def _look_at(context: Context, record: Record) -> _Found:
    state = state_of(context, record)
    try:
        if state == "sealing" and finish_and_go_on(context, record):
            state = state_of(context, record)
        elif state == "sealed" and record.route == "function" and not is_asked(record):
            # Sealed without a request to deliver it, by an older version or an operator's replay.
            record = records.update(context.stores.batches, record.batch, ask)
            queue_delivery(context, record)
            state = "delivering"
        if state == "sealed":
            return _Found(batch=record.batch, stands="send", way=describe_sftp(context, record))
    except (BatchError, PartnerError) as error:
        return _Found(batch=record.batch, stands="failed", says=error.message)
    if state in _BUSY:
        return _Found(batch=record.batch, stands="busy")
    if state in _DONE:
        return _Found(batch=record.batch, stands="done", says=_end(context, record))
    return _Found(batch=record.batch, stands="failed", says=_why(record, state))


def _end(context: Context, record: Record) -> str:
    receipt = read_receipt(context, record)
    if receipt is None:
        return "empty: there were no rows, and this feed sends no file then"
    when = receipt.delivered_at.isoformat()
    if context.run_id and receipt.run_id == context.run_id:
        return f"delivered at {when}"
    return f"delivered before, at {when}; nothing was sent"


def _why(record: Record, state: str) -> str:
    if record.failure and state == "failed":
        return record.failure.cause
    if state == "superseded":
        return f"its days are in batch {record.superseded_by}"
    if state == "planned":
        return "its run ended before its rows were extracted"
    return f"the batch is {state}"


def _causes(found: Iterable[_Found]) -> str:
    return "; ".join(f"batch {each.batch} failed: {each.says}" for each in found if each.stands == "failed")[
        :CAUSES_LETTERS
    ]


def _summary(count: Counter[str]) -> str:
    return f"{count['done']} delivered or empty, {count['failed']} failed"

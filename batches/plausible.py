"""Plausible: what the database counted beside a batch's rows, judged before its files are made.

Late rows (`late: refuse`), rows without a time of their load, and days without rows that are outside the table's own range: a
wrong year, or a table that was never loaded, would else be an empty file that is final. A batch that is planned with `force`
passes; rows without a time of their load never do, for they would leave twice or not at all.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from batches.context import Context
from batches.errors import InvalidRequest
from batches.readiness import Readiness, waits_for_dbt
from batches.record import Loads, Record
from partners import Layout, Partner
from partners.figures import Control
from partners.late import Loaded
from partners.refusals import FileRefused

# So many days without rows after the table's last are holidays, not a table that was not loaded.
QUIET_DAYS = 7
_FORCE = (
    "fix the table, then run the window again; if it is right as it is, run deliver_batch with force and the reason"
)


def load_limit(context: Context, partner: Partner, name: str) -> Loads | None:
    """Return up to which load a batch that is planned now takes rows, None when the feed does not ask. Raises InvalidRequest.

    What dbt has not built yet cannot be in the table: the limit is before the oldest run that built what the feed reads.
    """
    feed = partner.feeds[name]
    late = feed.late
    if late is None or late.rows == "ignore" or late.column is None or feed.since is None:
        return None
    until = _built(context, partner, name) - timedelta(minutes=late.settle_minutes)
    return Loads(column=late.column, rows=late.rows, since=feed.since, until=until)


def _built(context: Context, partner: Partner, name: str) -> datetime:
    """Return from when the rows are that a feed reads now: from when dbt began to build them, else from now."""
    feed, now = partner.feeds[name], context.now()
    if not waits_for_dbt(feed):
        return now
    verdicts = Readiness(context.stores).verdicts
    nodes = verdicts.nodes_of(partner.name, name, feed) if verdicts else frozenset()
    since = verdicts.built_since(nodes) if verdicts and nodes else None
    if verdicts is None or (nodes and since is None):
        raise InvalidRequest(f"dbt has not built all models of {partner.name} {name} yet", "run dbt: ./sealift dbt run")
    return min(now, since or now)


def after(limit: Loads | None, before: date | None, seen: datetime | None) -> Loads | None:
    """Return the limit of a batch that follows one of these days and this limit: it never goes back."""
    if limit is None or before is None or seen is None:
        return limit
    return limit.model_copy(update={"before": before, "seen": seen, "until": max(limit.until, seen)})


def as_loaded(loads: Loads | None, revision: int) -> Loaded | None:
    """Return what the query needs. A correction of a feed that refuses late rows has them: it takes its days as they are."""
    if loads is None or (revision > 1 and loads.rows == "refuse"):
        return None
    return Loaded(
        column=loads.column,
        until=loads.until,
        since=loads.since,
        before=loads.before,
        seen=loads.seen,
        takes_late=loads.rows == "next",
    )


def refuse_implausible(record: Record, layout: Layout, control: Control) -> None:
    """Raise FileRefused for an extract whose control object says that its rows are not what the partner should have."""
    loads = record.loads
    if control.undated and loads:
        raise FileRefused(
            f"{control.undated} rows have no {loads.column}: nobody knows when they were loaded",
            f"give the column {loads.column} a value in each row, then run the window again",
        )
    if record.force:
        return
    if loads and loads.rows == "refuse" and control.late and loads.seen:
        raise FileRefused(
            f"{control.late} rows of days up to {loads.before} were loaded after {loads.seen:%Y-%m-%d %H:%M} UTC, when these "
            "had left",
            "plan a correction (the next revision) of the batch of those days, then run this window with force and the reason",
        )
    if control.rows == 0 and control.range is not None:
        _refuse_outside(record, control.range, is_sent=layout.empty != "skip")


def _refuse_outside(record: Record, known: tuple[date | None, date | None], *, is_sent: bool) -> None:
    """Refuse no rows for days outside the table; `is_sent`: the partner would get a file without rows."""
    first, last = known
    cover = record.cover
    if cover is None:
        return
    if first is None or last is None:
        if is_sent:
            raise FileRefused("the table has no rows at all", _FORCE)
        return
    # A block's days are the partner's, those of the table UTC's: they may differ by one.
    is_before = cover.last < first - timedelta(days=1 if "T" in record.batch.slot else 0)
    if is_before or (is_sent and cover.first > last + timedelta(days=QUIET_DAYS)):
        days = str(cover.first) if cover.first == cover.last else f"{cover.first} to {cover.last}"
        raise FileRefused(f"the batch is of {days}, and the table has rows of {first} to {last}", _FORCE)

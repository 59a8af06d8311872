"""Explain: how every feed stands and when it runs next, and why one is due or not on a day. From the code that decides."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from batches import record as records
from batches.context import Context
from batches.covering import preview
from batches.errors import BatchError, UnknownBatch
from batches.expecting import expectation, read_standings, usable_partners
from batches.readiness import Readiness
from batches.record import BatchId
from batches.status import shown_state
from partners import Partner, UnknownFeed
from partners.schedule import Cover, Run

MOST_DAYS = 35


def overview(context: Context, *, back_days: int, ahead_days: int = 0) -> dict[str, Any]:
    """Return `standings` of the last days and of those ahead, and for every feed its zone, its next run, and its pause."""
    partners = usable_partners(context)
    now = context.now()
    standings = read_standings(context, partners, back_days=back_days, ahead_days=ahead_days)
    return {
        "standings": [_standing(each) for each in standings],
        "feeds": [_outlook(partner, name, now) for partner in partners for name in partner.feeds],
    }


def explain(context: Context, partner: str, feed: str, day: date | None) -> dict[str, Any]:
    """Return why a feed is due or not on a local day (today if None): its runs, what they cover, and what they wait for.

    Raises PartnerError.
    """
    whose = context.partner(partner)
    if feed not in whose.feeds:
        raise UnknownFeed(f"{partner} has no feed {feed!r}", f"its feeds are: {', '.join(whose.feeds)}")
    table = whose.timetable(feed)
    zone = ZoneInfo(whose.time_zone)
    day = day or context.now().astimezone(zone).date()
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=zone)
    runs = table.runs(start - timedelta(microseconds=1), end - timedelta(microseconds=1))
    return {
        **_outlook(whose, feed, context.now()),
        "day": day.isoformat(),
        "whyNone": "" if runs else (table.why_closed(day) or "no run on this day covers anything new"),
        "runs": [_run(context, whose, feed, run) for run in runs],
    }


def _standing(each: Any) -> dict[str, Any]:
    return {
        "partner": each.partner,
        "feed": each.feed,
        "businessDate": each.business_date.isoformat(),
        "state": each.state,
        "dueBy": each.due_by.isoformat(),
        "reason": each.reason,
        "batch": each.batch or None,
    }


def _outlook(partner: Partner, name: str, now: datetime) -> dict[str, Any]:
    feed = partner.feeds[name]
    found = partner.timetable(name).next_run(now)
    covers = feed.covers if isinstance(feed.covers, str) else f"{feed.covers.hours} hours"
    return {
        "partner": partner.name,
        "feed": name,
        "timeZone": partner.time_zone,
        "covers": covers,
        "nextRun": found.at.isoformat() if found else None,
        "paused": f"until {feed.paused.until}: {feed.paused.reason}" if feed.paused else None,
    }


def _run(context: Context, partner: Partner, name: str, run: Run) -> dict[str, Any]:
    feed = partner.feeds[name]
    batch = BatchId.of(partner.name, name, run.cover.slot, 1)
    cover, reason = _cover(context, partner, name, run)
    return {
        "at": run.at.isoformat(),
        "batch": batch,
        "covers": {"first": cover.first.isoformat(), "last": cover.last.isoformat()} if cover else None,
        "windowStart": run.cover.start.isoformat(),
        "windowEnd": run.cover.end.isoformat(),
        "whyNot": partner.timetable(name).why_not(run) or reason,
        "waitsFor": Readiness(context.stores).why_waiting(partner.name, name, feed, run.cover.end),
        "state": _state(context, batch),
        "dueBy": expectation(partner, name, feed).due_by(run.cover.last).isoformat() if feed.expected else None,
    }


def _cover(context: Context, partner: Partner, name: str, run: Run) -> tuple[Cover | None, str]:
    """Return what the run covers, and for a `since_last` feed why nothing is left for it."""
    if partner.feeds[name].covers != "since_last":
        return run.cover, ""
    try:
        cover = preview(context, partner.timetable(name), BatchId.of(partner.name, name, run.cover.slot, 1))
    except BatchError as error:
        return None, error.message
    return cover, "" if cover else "all days up to it have left"


def _state(context: Context, batch: BatchId) -> str | None:
    try:
        return shown_state(context, records.read(context.stores.batches, batch))
    except UnknownBatch:
        return None

"""The list of batches: filtered, sorted, fifty a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from batches import Context, InvalidRequest
from batches.expecting import read_partners
from batches.recent import KEPT_DAYS, Seen, derive
from monitor.reading import DAYS, FeedSeen, read_feeds

PAGE_ROWS = 50
MOST_DAYS = 62
SORTS = ("date", "state", "rows", "size", "delivered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is asked for; None: all. `first` and `last` are business dates, both included."""

    partner: str | None = None
    feed: str | None = None
    state: str | None = None
    first: date | None = None
    last: date | None = None
    sort: str = "date"
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page of the list. `problems`: feeds whose batches cannot be shown."""

    asked: Filter
    rows: tuple[Seen, ...]
    found: int
    pages: int
    first: date
    last: date
    partners: tuple[str, ...]
    feeds: tuple[str, ...]
    states: tuple[str, ...]
    problems: tuple[str, ...]


def read_listing(context: Context, asked: Filter) -> Listing:
    """Return a page of batches: by default those of the last 35 business dates. Raises InvalidRequest."""
    partners, _ = read_partners(context)
    feeds = [
        (partner.name, name)
        for partner in partners
        for name in partner.feeds
        if asked.partner in (None, partner.name) and asked.feed in (None, name)
    ]
    first, last = _period(context, asked)
    found = _read(context, feeds, first, last)
    rows = [each for feed in found for each in feed.seen if first <= each.batch.business_date <= last]
    states = sorted({each.state for each in rows})
    rows = [each for each in rows if asked.state in (None, each.state)]
    rows.sort(
        key=lambda each: (each.batch.slot, each.batch.partner, each.batch.feed, each.batch.revision), reverse=True
    )
    _sort(rows, asked.sort)
    pages = max(1, -(-len(rows) // PAGE_ROWS))
    start = (min(asked.page, pages) - 1) * PAGE_ROWS
    return Listing(
        asked=asked,
        rows=tuple(rows[start : start + PAGE_ROWS]),
        found=len(rows),
        pages=pages,
        first=first,
        last=last,
        partners=tuple(partner.name for partner in partners),
        feeds=tuple(sorted({name for partner in partners for name in partner.feeds})),
        states=tuple(sorted({*states, *([asked.state] if asked.state else [])})),
        problems=tuple(f"{feed.partner} {feed.feed}: {feed.problem}" for feed in found if feed.problem),
    )


def _period(context: Context, asked: Filter) -> tuple[date, date]:
    today = context.now().date()
    last = asked.last or (max(asked.first + timedelta(days=MOST_DAYS), today) if asked.first else today + timedelta(1))
    first = asked.first or last - timedelta(days=DAYS)
    if first > last:
        raise InvalidRequest("?from= is after ?to=", "swap them")
    return first, last


def _read(context: Context, feeds: list[tuple[str, str]], first: date, last: date) -> list[FeedSeen]:
    """Return the batches: recent ones from one blob a feed, older ones of a single feed from their records."""
    age = (context.now().date() - first).days
    if age <= KEPT_DAYS:
        return read_feeds(context, feeds, days=max(age, DAYS + 1))
    if len(feeds) != 1 or (last - first).days > MOST_DAYS:
        raise InvalidRequest(
            f"batches older than {KEPT_DAYS} days are listed for one feed and at most {MOST_DAYS} days",
            "choose partner, feed, from and to",
        )
    [(partner, feed)] = feeds
    seen = derive(context, partner, feed, first=first, last=last).newest_first
    return [FeedSeen(partner=partner, feed=feed, seen=tuple(seen))]


def _sort(rows: list[Seen], by: str) -> None:
    if by == "state":
        rows.sort(key=lambda each: each.state)
    elif by == "rows":
        rows.sort(key=lambda each: each.rows or 0, reverse=True)
    elif by == "size":
        rows.sort(key=lambda each: each.bytes, reverse=True)
    elif by == "delivered":
        rows.sort(key=lambda each: each.delivered_at.timestamp() if each.delivered_at else 0.0, reverse=True)

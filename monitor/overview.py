"""The first page: every feed by business date, what needs attention, certificates that expire, and what runs next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from batches import Context
from batches.certificates import read_certificates
from batches.expecting import choose, judge, read_partners
from batches.recent import Seen
from monitor.reading import DAYS, Expiry, FeedSeen, expiries_of, facts_of, read_feeds
from monitor.states import ALARMING, STRIP
from partners import Partner
from partners.deadlines import Facts, Standing

MOST_NEXT = 10
MOST_ATTENTION = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One feed on one business date."""

    day: date
    state: str
    batch: str = ""
    reason: str = ""
    due_by: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One feed. `problem`: why its batches cannot be shown."""

    partner: str
    feed: str
    title: str
    time_zone: str
    cells: tuple[Cell, ...]
    next_run: datetime | None
    paused: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """What needs attention: the newest business date, and how many older ones are in the same state for the same cause."""

    row: Row
    cell: Cell
    older: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """`faulty`: partners whose files are refused, none of which is judged."""

    now: datetime
    days: tuple[date, ...]
    strip: tuple[tuple[str, int], ...]
    rows: tuple[Row, ...]
    attention: tuple[Attention, ...]
    expiries: tuple[Expiry, ...]
    next_runs: tuple[Row, ...]
    faulty: tuple[str, ...]


def read_overview(context: Context) -> Overview:
    """Return the page's values: one request to storage for each feed, and one for dbt's verdicts."""
    partners, faulty = read_partners(context)
    now = context.now()
    feeds = [(partner.name, name) for partner in partners for name in partner.feeds]
    seen = {(each.partner, each.feed): each for each in read_feeds(context, feeds, days=DAYS + 1)}
    standings = _standings(context, partners, seen.values())
    # One day more than the newest of any zone, so that no partner's today is left out.
    last = max((now.astimezone(ZoneInfo(partner.time_zone)).date() for partner in partners), default=now.date())
    days = tuple(last - timedelta(days=back) for back in range(DAYS - 1, -1, -1))
    rows = tuple(
        _row(partner, name, now, [_cell(day, seen[partner.name, name], standings) for day in days], seen)
        for partner in partners
        for name in partner.feeds
    )
    attention = sorted(_attention(rows), key=lambda each: each.cell.day, reverse=True)
    counts = Counter(cell.state for row in rows for cell in row.cells[-8:])
    running = sorted((row for row in rows if row.next_run), key=lambda row: (row.next_run, row.partner, row.feed))
    return Overview(
        now=now,
        days=days,
        strip=tuple((state, counts[state]) for state in STRIP),
        rows=rows,
        attention=tuple(attention[:MOST_ATTENTION]),
        expiries=tuple(expiries_of(read_certificates(context), partners, now)),
        next_runs=tuple(running[:MOST_NEXT]),
        faulty=tuple(faulty),
    )


def _attention(rows: Iterable[Row]) -> Iterator[Attention]:
    for row in rows:
        causes: dict[tuple[str, str], list[Cell]] = {}
        for cell in reversed(row.cells):
            if cell.state in ALARMING:
                causes.setdefault((cell.state, cell.reason), []).append(cell)
        for newest, *older in causes.values():
            yield Attention(row=row, cell=newest, older=len(older))


def _standings(
    context: Context, partners: list[Partner], seen: Iterable[FeedSeen]
) -> dict[tuple[str, str, date], Standing]:
    facts: dict[tuple[str, str, date], Facts] = {
        (each.partner, each.feed, day): choose(found) for each in seen for day, found in facts_of(each.seen)
    }
    judged = judge(context, partners, facts, back_days=DAYS)
    return {(each.partner, each.feed, each.business_date): each for each in judged}


def _row(partner: Partner, name: str, now: datetime, cells: list[Cell], seen: dict[tuple[str, str], FeedSeen]) -> Row:
    feed = partner.feeds[name]
    found = partner.timetable(name).next_run(now)
    return Row(
        partner=partner.name,
        feed=name,
        title=feed.title,
        time_zone=partner.time_zone,
        cells=tuple(cells),
        next_run=found.at if found else None,
        paused=f"until {feed.paused.until}: {feed.paused.reason}" if feed.paused else "",
        problem=seen[partner.name, name].problem,
    )


def _cell(day: date, feed: FeedSeen, standings: dict[tuple[str, str, date], Standing]) -> Cell:
    """Return how a feed stands on a day: by its deadline where it has one, else by its batch alone."""
    standing = standings.get((feed.partner, feed.feed, day))
    newest = next((each for each in feed.seen if each.batch.business_date == day), None)
    if feed.problem:
        return Cell(day=day, state="unreadable", reason=feed.problem)
    if standing is None:
        return (
            Cell(day=day, state=newest.state, batch=newest.batch, reason=newest.cause)
            if newest
            else Cell(day=day, state="no batch")
        )
    return Cell(
        day=day, state=_state(standing, newest), batch=standing.batch, reason=standing.reason, due_by=standing.due_by
    )


def _state(standing: Standing, newest: Seen | None) -> str:
    """Return the standing's state; what happens to the batch is more exact than that its deadline is not near."""
    if newest is not None and newest.state == "unreadable" and standing.state in ALARMING:
        return "unreadable"
    if newest is not None and standing.state == "open":
        return newest.state
    return standing.state

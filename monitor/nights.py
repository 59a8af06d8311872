"""One night as a picture: the runs of dbt and every feed from planning to its receipt, with its deadline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from azure.core.exceptions import ResourceNotFoundError
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict

from batches import Context, Unreadable, blobs
from batches.expecting import expectation, read_partners
from batches.recent import Seen
from monitor.reading import read_feeds
from partners import Partner

LABEL, WIDTH, ROW, TOP = 220, 960, 24, 40
MOST_BARS = 300
_STEPS_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360)


# A run that was refused before it began has empty texts for its times.
_Instant = Annotated[AwareDatetime | None, BeforeValidator(lambda text: text or None)]


class DbtRun(BaseModel):
    """One run in short, as the runner's state/runs.json lists it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    run_id: str = ""
    status: str = ""
    message: str = ""
    started: _Instant = None
    finished: _Instant = None


class _Runs(BaseModel):
    model_config = ConfigDict(extra="ignore")

    runs: list[DbtRun] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One line of the picture. `x` and `width` are in units of the picture; `due_x` None: outside, or no deadline."""

    name: str
    state: str
    batch: str
    start: datetime
    end: datetime | None
    due_by: datetime | None
    x: float
    width: float
    due_x: float | None
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """The page's values."""

    day: date
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    height: int
    dbt: tuple[DbtRun, ...]
    more: int

    @property
    def day_before(self) -> date:
        return self.day - timedelta(days=1)

    @property
    def day_after(self) -> date:
        return self.day + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    name: str
    state: str
    start: datetime
    end: datetime | None
    batch: str = ""
    due_by: datetime | None = None


def read_night(context: Context, day: date) -> Night:
    """Return the batches that were planned on a day (UTC): one request a feed, and one about dbt."""
    partners, _ = read_partners(context)
    start = datetime.combine(day, time(), tzinfo=UTC)
    end = start + timedelta(days=1)
    feeds = [(partner.name, name) for partner in partners for name in partner.feeds]
    by_name = {partner.name: partner for partner in partners}
    age = (context.now().date() - day).days
    found = read_feeds(context, feeds, days=max(35, age + 8))
    planned = [each for feed in found for each in feed.seen if each.planned_at and start <= each.planned_at < end]
    dbt = [run for run in _read_dbt(context) if run.started and start <= run.started < end]
    spans = [_of_batch(by_name[each.batch.partner], each) for each in planned]
    spans += [_Span(name="dbt", state=run.status, start=run.started, end=run.finished) for run in dbt if run.started]
    spans.sort(key=lambda each: (each.start, each.name))
    return _draw(day, spans, tuple(dbt), min(context.now(), end))


def _of_batch(partner: Partner, seen: Seen) -> _Span:
    assert seen.planned_at, "only planned batches are asked"
    feed = partner.feeds[seen.batch.feed]
    due_by = expectation(partner, seen.batch.feed, feed).due_by(seen.batch.business_date) if feed.expected else None
    name = f"{seen.batch.partner} {seen.batch.feed}"
    is_late = due_by and seen.state == "delivered" and seen.delivered_at and seen.delivered_at > due_by
    return _Span(
        name=name,
        state="delivered late" if is_late else seen.state,
        start=seen.planned_at,
        end=seen.delivered_at,
        batch=seen.batch,
        due_by=due_by,
    )


def _draw(day: date, spans: list[_Span], dbt: tuple[DbtRun, ...], now: datetime) -> Night:
    shown = spans[:MOST_BARS]
    if not shown:
        return Night(day=day, bars=(), ticks=(), height=0, dbt=dbt, more=0)
    first = min(each.start for each in shown)
    last = max([*(each.end or max(now, each.start) for each in shown), first + timedelta(minutes=1)])
    scale = (WIDTH - LABEL - 20) / (last - first).total_seconds()

    def place(moment: datetime) -> float:
        return round(LABEL + (moment - first).total_seconds() * scale, 1)

    bars = [
        Bar(
            name=each.name,
            state=each.state,
            batch=each.batch,
            start=each.start,
            end=each.end,
            due_by=each.due_by,
            x=place(each.start),
            width=max(3.0, round(place(each.end or max(now, each.start)) - place(each.start), 1)),
            due_x=place(each.due_by) if each.due_by and first <= each.due_by <= last else None,
            y=TOP + ROW * at,
        )
        for at, each in enumerate(shown)
    ]
    ticks = tuple((place(moment), f"{moment:%H:%M}") for moment in _ticks(first, last))
    height = TOP + ROW * len(bars) + 10
    return Night(day=day, bars=tuple(bars), ticks=ticks, height=height, dbt=dbt, more=len(spans) - len(shown))


def _ticks(first: datetime, last: datetime) -> Iterable[datetime]:
    minutes = (last - first).total_seconds() / 60
    step = timedelta(minutes=next((each for each in _STEPS_MINUTES if minutes / each <= 8), 720))
    midnight = datetime.combine(first.astimezone(UTC).date(), time(), tzinfo=UTC)
    moment = midnight + step * -(-(first - midnight) // step)
    while moment <= last:
        yield moment
        moment += step


def _read_dbt(context: Context) -> list[DbtRun]:
    """Return the runs that the runner lists, newest first; none where there is no list or it cannot be read."""
    if context.stores.dbt is None:
        return []
    try:
        found = blobs.read_model(context.stores.dbt, "state/runs.json", _Runs)
    except (ResourceNotFoundError, Unreadable):
        return []
    return found.runs if found else []

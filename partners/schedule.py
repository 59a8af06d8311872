"""When a feed runs and what a run covers. Pure: a schedule, a calendar and two instants give the runs between them.

A run covers whole days of the partner's time zone, or whole blocks of hours, that have ended when it runs; so what it covers does
not depend on how late it really starts. What the last batch that left has covered is not known here: `extended` takes it.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from partners.calendars import Calendar

Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Covers = Literal["day", "since_last", "week", "month"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WORDS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
_RULE = re.compile(r"(?:(first|second|third|fourth|fifth|last)|(\d{1,2})(?:st|nd|rd|th)?)( to last)?( business)? day")
_ONE_DAY = timedelta(days=1)
_CADENCE_DAYS: dict[Covers, int] = {"day": 1, "since_last": 366, "week": 7, "month": 31}
# A month's rule that falls on closed days may move its run so far.
_FARTHEST_MOVE_DAYS = 62


def check_time_zone(name: str) -> str:
    """Return the name of a time zone. Raises ValueError for any other text."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write an IANA name such as Europe/London") from None
    return name


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, slots=True)
class Rule:
    """One day of each month: its `number`-th day, from the end when negative; of business days only, or of all."""

    number: int
    business: bool

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Raises ValueError for a text that names no day of a month."""
        match = _RULE.fullmatch(text)
        number = (_WORDS.get(match[1]) or int(match[2])) if match else 0
        if match and match[3]:
            number = -number
        if not match or not (1 <= abs(number) <= 31) or (match[3] and match[1] == "last"):
            raise ValueError(
                f"{text!r} names no day of a month; write first day, 15th day, last day, first business day, "
                "3rd business day, last business day or 2nd to last business day"
            )
        return cls(number, bool(match[4]))

    def falls_on(self, day: date, calendar: Calendar) -> bool:
        """Whether the rule names this day. The 31st day of a shorter month is its last."""
        if self.business:
            return calendar.business_day(day.year, day.month, self.number) == day
        length = monthrange(day.year, day.month)[1]
        number = min(self.number, length) if self.number > 0 else max(length + 1 + self.number, 1)
        return day.day == number


def _check_rule(text: str) -> str:
    Rule.parse(text)
    return text


class Schedule(_Model):
    """When a feed runs, by the clock of the partner's zone unless `time_zone` names another."""

    at: Clock | Annotated[list[Clock], Field(min_length=1, max_length=48)] = Field(
        default="02:00", description="The time of day, or several."
    )
    every_hours: Literal[1, 2, 3, 4, 6, 8, 12] | None = Field(
        default=None, description="Instead of `at`: every so many hours, from midnight."
    )
    time_zone: Annotated[str, AfterValidator(check_time_zone)] | None = Field(
        default=None, description="The zone of `at`; the partner's if left out."
    )
    days: Annotated[list[Day], Field(min_length=1)] = Field(
        default=list(DAYS), description="Week days on which it runs."
    )
    months: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Field(min_length=1)] = Field(
        default=list(range(1, 13)), description="Months in which it runs."
    )
    when: Annotated[str, AfterValidator(_check_rule)] | None = Field(
        default=None, description="One day of each month, such as first business day, last day, 15th day."
    )
    when_closed: Literal["skip", "next", "previous", "run"] = Field(
        default="skip", description="What becomes of a run on a day on which the partner is closed."
    )

    @model_validator(mode="after")
    def _check_times(self) -> Schedule:
        if self.every_hours and "at" in self.model_fields_set:
            raise ValueError("write at or every_hours, not both")
        if not self.every_hours and len(set(self.times)) < len(self.times):
            raise ValueError("at names a time more than once")
        return self

    @property
    def times(self) -> list[time]:
        """The times of day, earliest first."""
        if self.every_hours:
            return [time(hour) for hour in range(0, 24, self.every_hours)]
        return sorted(time.fromisoformat(each) for each in ([self.at] if isinstance(self.at, str) else self.at))


# What a feed without a schedule has: one run a night, for every business date that its calendar does not exclude.
NIGHTLY = Schedule(at="02:00", time_zone="UTC", when_closed="run")


class Hours(_Model):
    """A batch covers a block of so many hours, counted from midnight by the partner's clock."""

    hours: Literal[1, 2, 3, 4, 6, 8, 12] = Field(description="How many hours a block has.")
    column: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = Field(
        description="The timestamp column (with a time zone) that decides in which block a row is."
    )


class Paused(_Model):
    """Until that day, exclusive, no batch of the feed is due."""

    until: date = Field(description="The first day on which it runs again.")
    reason: Annotated[str, StringConstraints(min_length=3, max_length=200)] = Field(
        description="Why, for the people who look at the feed."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """What a batch covers: the days from `first` to `last`, both included, or a block of hours of the day `last`.

    `start` and `end` are the same as instants in UTC, end excluded. `slot` names the batch: the last day it covers, and for a
    block the local time at which it begins.
    """

    first: date
    last: date
    start: datetime
    end: datetime
    slot: str

    @property
    def is_block(self) -> bool:
        return "T" in self.slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a feed: when (UTC) and for what; `day` is its day in the schedule's zone."""

    at: datetime
    day: date
    cover: Cover


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """All that decides about a feed's runs. `schedule` None: a run each night for every day that is open in the calendar."""

    time_zone: str
    calendar: Calendar
    schedule: Schedule | None = None
    covers: Covers | Hours = "day"
    since: date | None = None
    paused: Paused | None = None

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def runs(self, after: datetime, until: datetime) -> list[Run]:
        """Return the runs with after < at <= until, oldest first; of several runs for the same cover, the first."""
        return [run for run in self._all(after, until) if not self._is_repeated(run)]

    def why_not(self, run: Run) -> str:
        """Return why a run of the schedule is not due after all, "" when it is."""
        if self.since and run.cover.last < self.since:
            return f"the feed began on {self.since}"
        if self.paused and run.day < self.paused.until:
            return f"paused until {self.paused.until}: {self.paused.reason}"
        return ""

    def due(self, after: datetime, until: datetime) -> list[Run]:
        """Return the runs that are due: neither before the feed began nor while it is paused."""
        return [run for run in self.runs(after, until) if not self.why_not(run)]

    def run_for(self, last: date) -> Run | None:
        """Return the first run that covers up to this day, None when there is none: its rows go with a later run, or never."""
        end = self.instant(last + _ONE_DAY, time())
        span = timedelta(days=31 if self.covers == "month" else 7 if self.covers == "week" else 1, hours=1)
        found = self.runs(end - timedelta(microseconds=1), end + span)
        return next((run for run in found if run.cover.last == last), None)

    def next_run(self, after: datetime, *, days: int = 400) -> Run | None:
        """Return the next run that is due, None when there is none within so many days."""
        for span in (2, 8, 40, days):
            if found := self.due(after, after + timedelta(days=span)):
                return found[0]
        return None

    def why_closed(self, day: date) -> str:
        """Return why no run is on this local day, or for this business date where the feed has no schedule; "" if one is."""
        if reason := self.calendar.why_closed(day):
            return "" if self.schedule and self._runs_on(day) else reason
        return "" if self.schedule is None or self._runs_on(day) else "the schedule has no run"

    def cover_at(self, moment: datetime) -> Cover:
        """Return what a run at this instant covers: the last day, week, month or block that has ended."""
        today = moment.astimezone(self.zone).date()
        if isinstance(self.covers, Hours):
            blocks = [*self._blocks(today - _ONE_DAY), *self._blocks(today)]
            return [block for block in blocks if block.end <= moment][-1]
        return self._last_ended(today - _ONE_DAY)

    def cover_of(self, start: datetime, end: datetime) -> Cover:
        """Return what a window asks for, as `Plan` is given it: it need not be cut by the partner's midnight.

        A day is that on which the window starts, by the partner's clock; a week, month or block the one in its middle;
        `since_last` ends with the last day that has ended when the window does.
        """
        if self.covers == "since_last":
            return self.cover_at(end)
        middle = (start + (end - start) / 2).astimezone(self.zone).date()
        if isinstance(self.covers, Hours):
            moment = start + (end - start) / 2
            return next(block for block in self._blocks(middle) if block.start <= moment < block.end)
        if self.covers == "day":
            day = start.astimezone(self.zone).date()
            return self.days(day, day)
        if self.covers == "week":
            monday = middle - timedelta(days=middle.weekday())
            return self.days(monday, monday + timedelta(days=6))
        length = monthrange(middle.year, middle.month)[1]
        return self.days(middle.replace(day=1), middle.replace(day=length))

    def extended(self, cover: Cover, left_until: date | None) -> Cover | None:
        """Return a `since_last` cover from the day after `left_until`, the last day that has left; None if no day remains.

        Before anything has left, it begins with `since`; without that, with its last day.
        """
        first = left_until + _ONE_DAY if left_until else (self.since or cover.last)
        return self.days(first, cover.last) if first <= cover.last else None

    def longest(self) -> timedelta:
        """Return how long a window of this cadence may be: the days and the hour that a clock change adds."""
        if isinstance(self.covers, Hours):
            return timedelta(hours=self.covers.hours + 1)
        return timedelta(days=_CADENCE_DAYS[self.covers], hours=1)

    def instant(self, day: date, moment: time) -> datetime:
        """Return a local time as UTC. A time that a clock change skips counts as the moment after."""
        return datetime.combine(day, moment, tzinfo=self.zone).astimezone(UTC)

    def days(self, first: date, last: date) -> Cover:
        """Return the cover of these days, both included."""
        start, end = self.instant(first, time()), self.instant(last + _ONE_DAY, time())
        return Cover(first=first, last=last, start=start, end=end, slot=str(last))

    def _all(self, after: datetime, until: datetime) -> list[Run]:
        schedule = self.schedule or NIGHTLY
        zone = ZoneInfo(schedule.time_zone or self.time_zone)
        first, last = after.astimezone(zone).date() - _ONE_DAY, until.astimezone(zone).date() + _ONE_DAY
        found: dict[datetime, Run] = {}
        for day in self._run_days(first, last):
            for clock in schedule.times:
                moment = datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)
                if after < moment <= until and moment not in found:
                    cover = self.cover_at(moment)
                    if self.schedule or not self.calendar.why_closed(cover.last):
                        found[moment] = Run(at=moment, day=day, cover=cover)
        return [found[moment] for moment in sorted(found)]

    def _is_repeated(self, run: Run) -> bool:
        """Whether an earlier run covers the same: there is one between the end of the cover and this run."""
        return any(
            each.cover == run.cover for each in self._all(run.cover.end - timedelta(microseconds=1), run.at)[:-1]
        )

    def _run_days(self, first: date, last: date) -> list[date]:
        schedule = self.schedule or NIGHTLY
        if schedule.when_closed not in ("next", "previous"):
            return [day for day in _between(first, last) if self._runs_on(day)]
        step = 1 if schedule.when_closed == "next" else -1
        margin = timedelta(days=_FARTHEST_MOVE_DAYS)
        begin, end = (first - margin, last) if step > 0 else (first, last + margin)
        moved = {self.calendar.next_working_day(day, step) for day in _between(begin, end) if self._is_named(day)}
        return sorted(day for day in moved if first <= day <= last)

    def _runs_on(self, day: date) -> bool:
        schedule = self.schedule or NIGHTLY
        if schedule.when_closed in ("next", "previous"):
            return day in self._run_days(day, day)
        return self._is_named(day) and (schedule.when_closed == "run" or not self.calendar.why_closed(day))

    def _is_named(self, day: date) -> bool:
        schedule = self.schedule or NIGHTLY
        if day.month not in schedule.months or DAYS[day.weekday()] not in schedule.days:
            return False
        return schedule.when is None or Rule.parse(schedule.when).falls_on(day, self.calendar)

    def _last_ended(self, yesterday: date) -> Cover:
        if self.covers == "week":
            sunday = yesterday - timedelta(days=(yesterday.weekday() + 1) % 7)
            return self.days(sunday - timedelta(days=6), sunday)
        if self.covers == "month":
            end = (yesterday + _ONE_DAY).replace(day=1) - _ONE_DAY
            return self.days(end.replace(day=1), end)
        return self.days(yesterday, yesterday)

    def _blocks(self, day: date) -> list[Cover]:
        """Return the day's blocks; one that a clock change skips is not there."""
        assert isinstance(self.covers, Hours), "only such feeds have blocks"
        starts = [time(hour) for hour in range(0, 24, self.covers.hours)]
        instants = [*(self.instant(day, start) for start in starts), self.instant(day + _ONE_DAY, time())]
        return [
            Cover(first=day, last=day, start=begin, end=end, slot=f"{day}T{start:%H%M}")
            for start, begin, end in zip(starts, instants, instants[1:], strict=False)
            if begin < end
        ]


def _between(first: date, last: date) -> Iterator[date]:
    for ahead in range((last - first).days + 1):
        yield first + timedelta(days=ahead)

"""When a trigger fires: its file in, the instants or windows of a period out. Pure; runs nothing.

Tumbling windows follow each other without gaps from startTime. Schedules follow the wall clock of their time zone, as
Data Factory documents them; an occurrence that a change of clocks skips falls on the next instant that exists.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from adf_runner.errors import FactoryError
from adf_runner.expressions.zones import find_zone
from adf_runner.factory.model import Trigger
from adf_runner.factory.shapes import seconds

FIRINGS_LIMIT = 100_000
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class InvalidTrigger(FactoryError):
    """A period or schedule that gives no sense."""

    status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One time that a trigger starts its pipelines; `window` is None for a schedule."""

    scheduled: datetime
    window: tuple[datetime, datetime] | None = None

    @property
    def name(self) -> str:
        return stamp(self.window[0] if self.window else self.scheduled)

    def scope(self, trigger: Trigger, started: datetime) -> dict[str, Any]:
        """Return what trigger() shows to expressions."""
        outputs: dict[str, Any] = {}
        if self.window:
            outputs = {"windowStartTime": stamp(self.window[0]), "windowEndTime": stamp(self.window[1])}
        return {
            "type": trigger.type,
            "name": trigger.name,
            "scheduledTime": stamp(self.scheduled),
            "startTime": stamp(started),
            "outputs": outputs,
        }


def stamp(moment: datetime) -> str:
    """Return a moment as Data Factory writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def offset_of(text: str) -> timedelta:
    """Read a dependency's offset: a time span that may be negative."""
    sign = -1 if text.startswith("-") else 1
    return sign * timedelta(seconds=seconds(text.lstrip("+-")))


def expand(trigger: Trigger, start: datetime, end: datetime) -> list[Firing]:
    """Return all firings from `start` up to, not including, `end`, oldest first: windows by their start."""
    if end <= start:
        raise InvalidTrigger("the period ends before it begins", "give --to later than --from")
    if trigger.type not in {"TumblingWindowTrigger", "ScheduleTrigger"}:
        raise InvalidTrigger(
            f"{trigger.name} is a {trigger.type}: it fires for events, not at times",
            "run it for one event: ./sealift adf run FOLDER --trigger NAME --event container/folder/file",
        )
    source = (
        windows(trigger.properties, start, end)
        if trigger.type == "TumblingWindowTrigger"
        else schedule(trigger.properties, start, end)
    )
    firings = []
    for firing in source:
        firings.append(firing)
        if len(firings) > FIRINGS_LIMIT:
            raise InvalidTrigger(f"the period holds more than {FIRINGS_LIMIT} firings", "choose a shorter one")
    return firings


def others(trigger: Trigger) -> list[str]:
    """Return the names of the other triggers whose windows a trigger waits for."""
    references = [each.get("referenceTrigger") for each in trigger.properties.get("dependsOn") or []]
    return [str(reference["referenceName"]) for reference in references if reference]


# Tumbling windows


def windows(properties: Mapping[str, Any], start: datetime, end: datetime) -> Iterator[Firing]:
    """Yield the windows that begin in the period and lie within the trigger's own start and end."""
    first = datetime.fromisoformat(properties["startTime"])
    last = datetime.fromisoformat(properties["endTime"]) if "endTime" in properties else None
    delay = timedelta(seconds=seconds(properties.get("delay", "00:00:00")))
    interval, frequency = properties["interval"], properties["frequency"]
    index = 0
    if frequency != "Month" and start > first:
        step = timedelta(minutes=interval) if frequency == "Minute" else timedelta(hours=interval)
        index = (start - first) // step
    while True:
        begin, finish = boundary(first, frequency, interval * index), boundary(first, frequency, interval * (index + 1))
        if begin >= end or (last is not None and finish > last):
            return
        if begin >= start:
            yield Firing(scheduled=finish + delay, window=(begin, finish))
        index += 1


def boundary(first: datetime, frequency: str, count: int) -> datetime:
    """Return the start of the window that is `count` units after the first."""
    if frequency == "Month":
        return add_months(first, count)
    return first + (timedelta(minutes=count) if frequency == "Minute" else timedelta(hours=count))


def add_months(moment: datetime, count: int) -> datetime:
    """Add months; a day that the month lacks becomes its last."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + count, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def self_dependency(properties: Mapping[str, Any]) -> tuple[timedelta, timedelta | None] | None:
    """Return offset and size of a trigger's dependency on its own earlier windows, if it has one."""
    for dependency in properties.get("dependsOn", []):
        if dependency["type"] == "SelfDependencyTumblingWindowTriggerReference":
            size = timedelta(seconds=seconds(dependency["size"])) if "size" in dependency else None
            return offset_of(dependency["offset"]), size
    return None


def waits_for(firing: Firing, dependency: tuple[timedelta, timedelta | None]) -> tuple[datetime, datetime]:
    """Return the span of time whose windows must have succeeded before this one may run."""
    assert firing.window is not None
    offset, size = dependency
    begin = firing.window[0] + offset
    return begin, begin + (size or firing.window[1] - firing.window[0])


# Schedules


def schedule(properties: Mapping[str, Any], start: datetime, end: datetime) -> Iterator[Firing]:
    """Yield a schedule's occurrences in the period."""
    recurrence = properties["recurrence"]
    zone = zone_of(recurrence.get("timeZone", "UTC"))
    first = local_time(recurrence["startTime"], zone)
    last = local_time(recurrence["endTime"], zone) if "endTime" in recurrence else None
    seen: datetime | None = None
    for wall in occurrences(
        recurrence, first.replace(tzinfo=None), start.astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
    ):
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
        if moment >= end or (last is not None and moment > last):
            return
        if moment >= max(start, first) and moment != seen:
            seen = moment
            yield Firing(scheduled=moment)


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its Windows or IANA name. Raises InvalidTrigger."""
    if name.upper() in {"UTC", "COORDINATED UNIVERSAL TIME"}:
        return UTC
    zone = find_zone(name)
    if zone is None:
        raise InvalidTrigger(
            f"{name!r} is not a time zone", "Data Factory takes Windows names, as 'W. Europe Standard Time'"
        )
    return zone


def local_time(text: str, zone: tzinfo) -> datetime:
    """Read a start or end: with an offset it is that instant, without one the wall clock of the zone."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)


def occurrences(recurrence: Mapping[str, Any], first: datetime, near: datetime) -> Iterator[datetime]:
    """Yield wall-clock times without end, in order, from about `near` on."""
    frequency, interval = recurrence["frequency"], recurrence.get("interval", 1)
    plan = recurrence.get("schedule", {})
    if frequency in {"Minute", "Hour"}:
        yield from _steps(frequency, interval, plan, first, near)
        return
    times = [
        time(hour, minute, first.second)
        for hour in sorted(plan.get("hours", [first.hour]))
        for minute in sorted(plan.get("minutes", [first.minute]))
    ]
    for day in _days(frequency, interval, plan, first.date(), near.date()):
        for moment in times:
            wall = datetime.combine(day, moment)
            if wall >= first:
                yield wall


def _steps(
    frequency: str, interval: int, plan: Mapping[str, Any], first: datetime, near: datetime
) -> Iterator[datetime]:
    step = timedelta(minutes=interval) if frequency == "Minute" else timedelta(hours=interval)
    index = max(0, (near - first) // step)
    minutes = sorted(plan.get("minutes", [])) if frequency == "Hour" else []
    while True:
        moment = first + step * index
        index += 1
        if not minutes:
            yield moment
            continue
        for minute in minutes:
            wall = moment.replace(minute=minute)
            if wall >= first:
                yield wall


def _days(frequency: str, interval: int, plan: Mapping[str, Any], first: date, near: date) -> Iterator[date]:
    """Yield the days on which a daily, weekly, monthly or yearly schedule fires."""
    if frequency == "Year":
        interval *= 12
    if frequency == "Day":
        index = max(0, (near - first).days // interval)
        while True:
            yield first + timedelta(days=interval * index)
            index += 1
    if frequency == "Week":
        names = plan.get("weekDays", [DAY_NAMES[first.weekday()]])
        weekdays = sorted(DAY_NAMES.index(name) for name in names)
        monday = first - timedelta(days=first.weekday())
        index = max(0, (near - monday).days // (7 * interval))
        while True:
            for weekday in weekdays:
                yield monday + timedelta(days=7 * interval * index + weekday)
            index += 1
    index = max(0, ((near.year - first.year) * 12 + near.month - first.month) // interval)
    while True:
        year, month = divmod(first.year * 12 + first.month - 1 + interval * index, 12)
        yield from _month_days(plan, first, year, month + 1)
        index += 1


def _month_days(plan: Mapping[str, Any], first: date, year: int, month: int) -> Iterator[date]:
    """Yield the days of one month; a day that the month lacks is left out."""
    length = calendar.monthrange(year, month)[1]
    days: set[int] = set()
    if "monthDays" in plan:
        days |= {day if day > 0 else length + 1 + day for day in plan["monthDays"] if day}
    for occurrence in plan.get("monthlyOccurrences", []):
        matching = [
            day for day in range(1, length + 1) if DAY_NAMES[date(year, month, day).weekday()] == occurrence["day"]
        ]
        number = occurrence.get("occurrence")
        if number is None:
            days |= set(matching)
        elif number and abs(number) <= len(matching):
            days.add(matching[number - 1 if number > 0 else number])
    if not ("monthDays" in plan or "monthlyOccurrences" in plan):
        days = {first.day}
    yield from (date(year, month, day) for day in sorted(days) if 1 <= day <= length)

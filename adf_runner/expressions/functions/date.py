"""Date functions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from adf_runner.expressions.date_formatting import FormatFault, format_date
from adf_runner.expressions.date_parsing import parse_date
from adf_runner.expressions.dates import DAY, HOUR, MINUTE, SECOND, UNSPECIFIED, UTC, Instant, instant_of, ticks_of
from adf_runner.expressions.errors import ValueFault, did_you_mean
from adf_runner.expressions.functions.signature import Function, as_count, as_integer, as_text
from adf_runner.expressions.numbers import wrapped
from adf_runner.expressions.scope import Scope
from adf_runner.expressions.windows_zones import WINDOWS_NAMES
from adf_runner.expressions.zones import find_zone, from_utc, to_utc

ENGLISH = ("en-us", "en", "")


def instant(name: str, value: Any, scope: Scope) -> Instant:
    """Return the moment that a text names. Raises ValueFault."""
    text = as_text(name, value, "the date")
    found = parse_date(text, scope.now)
    if found is None:
        raise ValueFault(f"{name}: '{text}' is not a date", hint="write dates as 2026-11-22T06:00:00Z")
    return found


def written(name: str, moment: Instant, rest: list[Any]) -> str:
    """Return a moment in the asked format, by default `o`. Raises ValueFault."""
    pattern = as_text(name, rest[0], "the format") if rest else "o"
    try:
        return format_date(moment, pattern)
    except FormatFault:
        raise ValueFault(f"{name}: '{pattern}' is not a date format") from None


def moved(name: str, moment: Instant, count: int, unit: str) -> Instant:
    """Return a moment moved by so many units. Raises ValueFault outside the years 1 to 9999."""
    ticks = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY, "week": 7 * DAY}
    months = {"month": 1, "year": 12}
    try:
        if unit.lower() in ticks:
            return moment.moved(count * ticks[unit.lower()])
        if unit.lower() in months:
            return moment.moved_months(count * months[unit.lower()])
    except OverflowError:
        raise ValueFault(f"{name}: the result is outside the years 1 to 9999") from None
    raise ValueFault(f"{name}: '{unit}' is none of Second, Minute, Hour, Day, Week, Month, Year")


def adder(name: str, unit: str) -> Function:
    """Make addDays and its like."""

    def run(arguments: list[Any], scope: Scope) -> str:
        count = as_integer(name, arguments[1], "the number")
        return written(name, moved(name, instant(name, arguments[0], scope), count, unit), arguments[2:])

    return Function(name, 2, 3, run)


def mover(name: str, sign: int) -> Function:
    """Make addToTime and subtractFromTime."""

    def run(arguments: list[Any], scope: Scope) -> str:
        count = as_count(name, arguments[1], "the number")
        unit = as_text(name, arguments[2], "the unit").strip()
        return written(
            name, moved(name, instant(name, arguments[0], scope), wrapped(sign * count), unit), arguments[3:]
        )

    return Function(name, 3, 4, run)


def from_now(name: str, sign: int) -> Function:
    """Make getFutureTime and getPastTime."""

    def run(arguments: list[Any], scope: Scope) -> str:
        count = as_count(name, arguments[0], "the number")
        unit = as_text(name, arguments[1], "the unit").strip()
        return written(name, moved(name, instant_of(scope.now()), wrapped(sign * count), unit), arguments[2:])

    return Function(name, 2, 3, run)


def part(name: str, read: Callable[[Instant], int]) -> Function:
    """Make a function that reads a part of a date."""
    return Function(name, 1, 1, lambda arguments, scope: read(instant(name, arguments[0], scope)))


def floor(name: str, cut: Callable[[Instant], int]) -> Function:
    """Make startOfDay and its like."""

    def run(arguments: list[Any], scope: Scope) -> str:
        moment = instant(name, arguments[0], scope)
        return written(name, Instant(cut(moment), moment.zone), arguments[1:])

    return Function(name, 1, 2, run)


def format_date_time(arguments: list[Any], scope: Scope) -> str:
    """Return a date in a format, for the invariant culture."""
    name = "formatDateTime"
    if len(arguments) == 3 and as_text(name, arguments[2], "the locale").lower() not in ENGLISH:
        raise ValueFault(f"{name}: the locale '{arguments[2]}' is not supported; only en-US is")
    return written(name, instant(name, arguments[0], scope), arguments[1:2])


def utc_now(arguments: list[Any], scope: Scope) -> str:
    """Return the run's clock in a format."""
    return written("utcNow", instant_of(scope.now()), arguments)


def convert_from_utc(arguments: list[Any], scope: Scope) -> str:
    """Return a UTC date as a zone's clock shows it."""
    name = "convertFromUtc"
    moment = instant(name, arguments[0], scope)
    target = zone(name, arguments[1])
    if moment.zone != UTC:
        raise ValueFault(f"{name}: '{arguments[0]}' is not in UTC", hint="end the date with Z")
    return written(name, shown_in(moment.ticks, target), arguments[2:])


def convert_to_utc(arguments: list[Any], scope: Scope) -> str:
    """Return a zone's date in UTC."""
    name = "convertToUtc"
    moment = instant(name, arguments[0], scope)
    source = zone(name, arguments[1])
    if moment.zone == UNSPECIFIED:
        moment = Instant(understood(name, moment.ticks, source, arguments[0]), UTC)
    elif moment.zone != UTC or source is not dt.UTC:
        raise ValueFault(
            f"{name}: '{arguments[0]}' says its own zone", hint="give the date without Z and without an offset"
        )
    return written(name, moment, arguments[2:])


def convert_time_zone(arguments: list[Any], scope: Scope) -> str:
    """Return the date of one zone as another's clock shows it."""
    name = "convertTimeZone"
    moment = instant(name, arguments[0], scope)
    source, target = zone(name, arguments[1]), zone(name, arguments[2])
    ticks = moment.ticks if moment.zone != UNSPECIFIED else understood(name, moment.ticks, source, arguments[0])
    return written(name, shown_in(ticks, target), arguments[3:])


def zone(name: str, value: Any) -> dt.tzinfo:
    """Return a time zone by its Windows or IANA name. Raises ValueFault."""
    found = find_zone(as_text(name, value, "the time zone"))
    if found is None:
        near = did_you_mean(value, WINDOWS_NAMES)
        raise ValueFault(f"{name}: '{value}' is not a time zone{near}", hint="Windows names: 'W. Europe Standard Time'")
    return found


def understood(name: str, ticks: int, source: dt.tzinfo, text: str) -> int:
    """Return a zone's clock as UTC ticks. Raises ValueFault for a time that the zone leaves out."""
    found = to_utc(ticks, source)
    if found is None:
        raise ValueFault(
            f"{name}: the clocks of the zone showed '{text}' never or twice, because they were changed then"
        )
    return found


def shown_in(ticks: int, target: dt.tzinfo) -> Instant:
    """Return UTC ticks as a zone's clock shows them."""
    return Instant(from_utc(ticks, target), UTC if target is dt.UTC else UNSPECIFIED)


FUNCTIONS = (
    adder("addDays", "day"),
    adder("addHours", "hour"),
    adder("addMinutes", "minute"),
    adder("addSeconds", "second"),
    mover("addToTime", 1),
    mover("subtractFromTime", -1),
    from_now("getFutureTime", 1),
    from_now("getPastTime", -1),
    Function("convertFromUtc", 2, 3, convert_from_utc),
    Function("convertTimeZone", 3, 4, convert_time_zone),
    Function("convertToUtc", 2, 3, convert_to_utc),
    part("dayOfMonth", lambda moment: moment.day.day),
    part("dayOfWeek", lambda moment: moment.day.isoweekday() % 7),
    part("dayOfYear", lambda moment: moment.day.timetuple().tm_yday),
    part("ticks", lambda moment: moment.ticks),
    Function("formatDateTime", 1, 3, format_date_time),
    floor("startOfDay", lambda moment: moment.ticks // DAY * DAY),
    floor("startOfHour", lambda moment: moment.ticks // HOUR * HOUR),
    floor("startOfMonth", lambda moment: ticks_of(moment.day.year, moment.day.month)),
    Function("utcNow", 0, 1, utc_now),
)

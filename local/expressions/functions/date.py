"""Date functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.expressions.date_formatting import FormatFault, format_date
from local.expressions.date_parsing import parse_date
from local.expressions.dates import DAY, HOUR, MINUTE, SECOND, UNSPECIFIED, UTC, Instant, instant_of, ticks_of
from local.expressions.errors import ValueFault
from local.expressions.functions.signature import Function, as_integer, as_text
from local.expressions.scope import Scope
from local.expressions.zones import find_zone, from_utc, to_utc


def instant(name: str, value: Any) -> Instant:
    text = as_text(name, value, "the date")
    found = parse_date(text)
    if found is None:
        raise ValueFault(f"{name}: '{text}' is not a date", hint="write dates as 2026-11-22T06:00:00Z")
    return found


def written(name: str, moment: Instant, rest: list[Any]) -> str:
    pattern = as_text(name, rest[0], "the format") if rest else "o"
    try:
        return format_date(moment, pattern)
    except FormatFault:
        raise ValueFault(f"{name}: '{pattern}' is not a date format") from None


def moved(name: str, moment: Instant, count: int, unit: str) -> Instant:
    ticks = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY, "week": 7 * DAY}
    months = {"month": 1, "year": 12}
    try:
        if unit.lower() in ticks:
            return moment.moved(count * ticks[unit.lower()])
        if unit.lower() in months:
            return moment.moved_months(count * months[unit.lower()])
    except OverflowError:
        raise ValueFault(f"{name}: the result lies outside of the years 1 to 9999") from None
    raise ValueFault(f"{name}: '{unit}' is none of Second, Minute, Hour, Day, Week, Month, Year")


def adder(name: str, unit: str) -> Function:
    def run(arguments: list[Any], _scope: Scope) -> str:
        count = as_integer(name, arguments[1], "the number")
        return written(name, moved(name, instant(name, arguments[0]), count, unit), arguments[2:])

    return Function(name, 2, 3, run)


def mover(name: str, sign: int) -> Function:
    def run(arguments: list[Any], _scope: Scope) -> str:
        count = as_integer(name, arguments[1], "the number")
        unit = as_text(name, arguments[2], "the unit")
        return written(name, moved(name, instant(name, arguments[0]), sign * count, unit), arguments[3:])

    return Function(name, 3, 4, run)


def from_now(name: str, sign: int) -> Function:
    def run(arguments: list[Any], scope: Scope) -> str:
        count = as_integer(name, arguments[0], "the number")
        unit = as_text(name, arguments[1], "the unit")
        return written(name, moved(name, instant_of(scope.now()), sign * count, unit), arguments[2:])

    return Function(name, 2, 3, run)


def part(name: str, read: Callable[[Instant], int]) -> Function:
    return Function(name, 1, 1, lambda arguments, _scope: read(instant(name, arguments[0])))


def floor(name: str, cut: Callable[[Instant], int]) -> Function:
    def run(arguments: list[Any], _scope: Scope) -> str:
        moment = instant(name, arguments[0])
        return written(name, Instant(cut(moment), moment.zone), arguments[1:])

    return Function(name, 1, 2, run)


def format_date_time(arguments: list[Any], _scope: Scope) -> str:
    return written("formatDateTime", instant("formatDateTime", arguments[0]), arguments[1:2])


def utc_now(arguments: list[Any], scope: Scope) -> str:
    return written("utcNow", instant_of(scope.now()), arguments)


def convert_from_utc(arguments: list[Any], _scope: Scope) -> str:
    name = "convertFromUtc"
    moment, zone = instant(name, arguments[0]), as_text(name, arguments[1], "the time zone")
    return written(name, converted(name, moment.ticks, "UTC", zone), arguments[2:])


def convert_to_utc(arguments: list[Any], _scope: Scope) -> str:
    name = "convertToUtc"
    moment, zone = instant(name, arguments[0]), as_text(name, arguments[1], "the time zone")
    return written(name, converted(name, moment.ticks, zone, "UTC"), arguments[2:])


def convert_time_zone(arguments: list[Any], _scope: Scope) -> str:
    name = "convertTimeZone"
    moment = instant(name, arguments[0])
    source, target = (as_text(name, value, "the time zone") for value in arguments[1:3])
    return written(name, converted(name, moment.ticks, source, target), arguments[3:])


def converted(name: str, ticks: int, source: str, target: str) -> Instant:
    zones = []
    for zone_name in (source, target):
        zone = find_zone(zone_name)
        if zone is None:
            raise ValueFault(
                f"{name}: '{zone_name}' is not a time zone", hint="Windows names: 'W. Europe Standard Time'"
            )
        zones.append(zone)
    ticks = from_utc(Instant(to_utc(ticks, zones[0])), zones[1])
    return Instant(ticks, UTC if target.lower() in ("utc", "etc/utc") else UNSPECIFIED)


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

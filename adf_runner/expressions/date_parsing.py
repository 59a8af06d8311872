"""Reads a date text as .NET's DateTime.Parse does for the invariant culture: ISO 8601 first, then the shapes people write.

Known: `2026-11-22`, `2026-11-22T10:20:30.1234567+02:00`, `11/22/2026 10:20 PM`, `22 Nov 2026`, `Sun, 22 Nov 2026 10:20:30 GMT`,
`10:20` (today); a weekday, the era AD, AM or PM, and Z or GMT may be anywhere, once. Not known: other calendars, names in
other languages, dates without separators (`20261122`), and what depends on the version of .NET (docs/expressions.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from adf_runner.expressions.dates import (
    DAY,
    HOUR,
    LOCAL,
    MINUTE,
    MOST_TICKS,
    SECOND,
    UNSPECIFIED,
    UTC,
    Instant,
    days_in,
    ticks_of,
)
from adf_runner.expressions.texts import BLANKS

MONTH_NAMES: Final = {
    name: index
    for index, full in enumerate(
        ("january", "february", "march", "april", "may", "june",
         "july", "august", "september", "october", "november", "december"),
        1,
    )
    for name in (full, full[:3])
}  # fmt: skip
WEEKDAYS: Final = {
    name: index
    for index, full in enumerate(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
    for name in (full, full[:3])
}
MONTH: Final = f"(?P<name>{'|'.join(sorted(MONTH_NAMES, key=len, reverse=True))})"
WEEKDAY: Final = re.compile(
    rf"(?<![a-z])(?P<weekday>{'|'.join(sorted(WEEKDAYS, key=len, reverse=True))})(?![a-z])\.?[\s,]*", re.IGNORECASE
)
ERA: Final = re.compile(r"(?<![a-z])A\.?D\.?(?![a-z])", re.IGNORECASE)
HALF: Final = re.compile(r"(?<![a-z])(?P<half>[AP]M)(?![a-z])", re.IGNORECASE)
ZONE_WORD: Final = re.compile(r"(?<![a-z])(?P<zone>Z|GMT)(?![a-z])", re.IGNORECASE)
CLOCK: Final = re.compile(r"[0-9]{1,2}\s*:\s*[0-9]{1,2}(?:\s*:\s*[0-9]{1,2}(?:\.[0-9]*)?)?")
LEADING_ZEROS: Final = re.compile(r"0+(?=[0-9]{4}-)")
ZONE: Final = r"(?P<zone>Z|GMT|(?P<sign>[+-])(?P<zh>[0-9]{1,2})(?::(?P<zm>[0-9]{1,2})|(?P<zmm>[0-9]{2}))?(?![0-9]))"
ISO: Final = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?"
    rf"{ZONE.replace('|GMT', '')}?)?"
)
TIME: Final = re.compile(
    r"(?P<hour>[0-9]{1,2})\s*(?::\s*(?P<minute>[0-9]{1,2})(?:\s*:\s*(?P<second>[0-9]{1,2})(?:\.(?P<fraction>[0-9]*))?)?"
    r"(?:\s*(?P<half>[AP]M)(?![a-z]))?|(?P<only>[AP]M)(?![a-z]))" + rf"(?:\s*{ZONE})?",
    re.IGNORECASE,
)
STRICT_TIME: Final = re.compile(
    r"T\s*(?P<hour>[0-9]{2})\s*:\s*(?P<minute>[0-9]{2})(?:\s*:\s*(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?"
    rf"(?:\s*{ZONE})?",
    re.IGNORECASE,
)
ZONE_ONLY: Final = re.compile(ZONE, re.IGNORECASE)
GAP: Final = r"(?:\s*[-/.]\s*|[\s,]+)"
WIDE: Final = r"(?:\s*[-/]\s*|\.?[\s,]*)"
NUMERIC: Final = re.compile(rf"(?P<a>[0-9]{{1,4}}){GAP}(?P<b>[0-9]{{1,4}})(?:{GAP}(?P<c>[0-9]{{1,4}}))?(?![0-9])")
NAMED: Final = (
    re.compile(rf"(?P<day>[0-9]{{1,2}}){WIDE}{MONTH}{WIDE}(?P<year>[0-9]{{1,4}})(?![0-9:])", re.IGNORECASE),
    re.compile(rf"{MONTH}{WIDE}(?P<day>[0-9]{{1,2}}){GAP}(?P<year>[0-9]{{1,4}})(?![0-9:])", re.IGNORECASE),
    re.compile(rf"(?P<year>[0-9]{{3,4}}){WIDE}{MONTH}(?:{WIDE}(?P<day>[0-9]{{1,2}})(?![0-9:]))?", re.IGNORECASE),
    re.compile(rf"(?P<year>[0-9]{{3,4}}){GAP}(?P<day>[0-9]{{1,2}}){WIDE}{MONTH}", re.IGNORECASE),
    re.compile(rf"(?P<day>[0-9]{{1,2}}){GAP}(?P<year>[0-9]{{3,4}}){WIDE}{MONTH}", re.IGNORECASE),
    re.compile(rf"{MONTH}{WIDE}(?P<year>[0-9]{{3,4}}){GAP}(?P<day>[0-9]{{1,2}})(?![0-9:])", re.IGNORECASE),
    re.compile(rf"(?P<year>[0-9]{{1,2}}){WIDE}{MONTH}(?=\s*\Z)", re.IGNORECASE),
    re.compile(rf"{MONTH}{WIDE}(?P<year>[0-9]{{3,4}})(?![0-9])", re.IGNORECASE),
    re.compile(rf"{MONTH}{WIDE}(?P<day>[0-9]{{1,2}})(?![0-9:])", re.IGNORECASE),
)
MOST_CHARACTERS: Final = 200
NEWEST_SHORT_YEAR: Final = 2029
YEAR_FIRST: Final = "year first"
COMPLETE: Final = "complete"
PARTIAL: Final = "partial"  # no year, or no day
MONTH_OF_YEAR: Final = "month of a year"
INCOMPLETE: Final = (PARTIAL, MONTH_OF_YEAR)


class NoDate(ValueError):
    """The text is not a date."""


def parse_date(text: str, now: Callable[[], datetime]) -> Instant | None:
    """Return the instant of a date text, or None when it is none; `now` completes a time without a date."""
    if len(text) > MOST_CHARACTERS:
        return None
    text = text.rstrip("\0")
    if text.startswith("#") and text.endswith("#") and len(text) > 1:
        text = text[1:-1]  # as Visual Basic writes a date
    text = LEADING_ZEROS.sub("", text, count=1) if LEADING_ZEROS.match(text) else text
    try:
        match = ISO.fullmatch(text)
        if match is not None:
            year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
            return zoned(date_ticks(year, month, day) + time_ticks(match), match)
        return parse_loose(text.strip(BLANKS), now)
    except NoDate:
        return None


def date_ticks(year: int, month: int, day: int) -> int:
    """Return the ticks (100 ns since the year 1) of a day. Raises NoDate."""
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= days_in(year, month)):
        raise NoDate
    return ticks_of(year, month, day)


def time_ticks(match: re.Match[str]) -> int:
    """Return the ticks (100 ns) of a time of day that was matched. Raises NoDate."""
    parts = match.groupdict()
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        raise NoDate
    half = (parts.get("half") or parts.get("only") or "").upper()
    if half == "AM" and hour > 12:
        raise NoDate
    if half:
        hour = hour % 12 + 12 * (half == "PM") if hour <= 12 else hour
    ticks = hour * HOUR + minute * MINUTE + second * SECOND
    fraction = parts.get("fraction") or ""
    return ticks + int(fraction[:7].ljust(7, "0")) + (fraction[7:8] >= "5")


def zoned(ticks: int, match: re.Match[str] | None) -> Instant:
    """Return an instant in UTC when a zone was read, else one without a zone."""
    zone = match["zone"] if match is not None else None
    if ticks > MOST_TICKS:
        raise NoDate
    if match is None or zone is None:
        return Instant(ticks, UNSPECIFIED)
    if match["sign"] is None:
        return Instant(ticks, UTC)
    hours, minutes = int(match["zh"]), int(match["zm"] or match["zmm"] or 0)
    offset = hours * HOUR + minutes * MINUTE
    if minutes > 59 or offset > 14 * HOUR:
        raise NoDate
    ticks += offset if match["sign"] == "-" else -offset
    if ticks < 0:
        ticks += DAY
    if ticks > MOST_TICKS:
        raise NoDate
    return Instant(ticks, LOCAL)


def parse_loose(text: str, now: Callable[[], datetime]) -> Instant:
    """Return the instant of a text with a weekday, which is compared with the date as it is written, before the shift."""
    weekday = WEEKDAY.search(text)
    rest = text[: weekday.start()] + " " + text[weekday.end() :] if weekday else text
    try:
        ticks, zone = date_then_time(rest.strip(BLANKS), now)
    except NoDate:
        ticks, zone = date_then_time(arranged(rest), now)
    if weekday and (ticks // DAY) % 7 != WEEKDAYS[weekday["weekday"].lower()]:
        raise NoDate
    return zoned(ticks, zone)


def arranged(text: str) -> str:
    """Return a text without an era, with AM or PM right after the time, and Z or GMT and no separator at the end."""
    text = ERA.sub(" ", text, count=1).strip(BLANKS + ",")
    if not re.search(r"[0-9]T[0-9]", text, re.IGNORECASE):  # after `T10:20:30` no separator is skipped
        text = re.sub(r"(?<=[0-9a-z])[,.]\Z", "", text, flags=re.IGNORECASE)
    half, clock = HALF.search(text), CLOCK.search(text)
    if half is not None and clock is not None:
        written = text[clock.start() : clock.end()]
        text = text.replace(written, f"{written}\n", 1)
        text = HALF.sub(" ", text, count=1).replace("\n", f" {half['half']} ", 1)
    zone = ZONE_WORD.search(text)
    if zone is not None:
        text = f"{text[: zone.start()]} {text[zone.end() :]}".strip(BLANKS) + f" {zone['zone']}"
    return text.strip(BLANKS + ",")


def date_then_time(text: str, now: Callable[[], datetime]) -> tuple[int, re.Match[str] | None]:
    """Return the ticks of a date, a time or both, in the zone of the match that is returned with them."""
    time = TIME.match(text)
    if time is not None:
        ticks, zone = date_after_time(text[time.end() :], now)
        if zone is not None and time["zone"] is not None:
            raise NoDate
        return time_ticks(time) + ticks, zone or time
    date = read_date(text, now)
    rest = text[date.end :]
    if not rest.strip():
        return date.ticks, None
    zone = ZONE_ONLY.fullmatch(rest.strip())
    # After a date without a year or a day, a minus is a separator and never an offset.
    if zone is not None and (date.form not in INCOMPLETE or zone["sign"] == "+"):
        return date.ticks, zone
    if date.form in INCOMPLETE:
        raise NoDate
    after = rest.lstrip(BLANKS + ",")
    if after[:1] in "Tt":
        time = STRICT_TIME.fullmatch(after) if date.form == YEAR_FIRST else None
    else:
        time = TIME.fullmatch(after) if after != rest else None
    if time is None or (time.re is STRICT_TIME and (time["zone"] or "").upper() == "GMT"):
        raise NoDate
    return date.ticks + time_ticks(time), time


def date_after_time(text: str, now: Callable[[], datetime]) -> tuple[int, re.Match[str] | None]:
    """Return the ticks and the zone of the date after a time: today where there is none; only Z or GMT may follow it."""
    if not text.strip():
        today = now().date()
        return date_ticks(today.year, today.month, today.day), None
    rest = text.lstrip(BLANKS + ",")
    if rest == text:
        raise NoDate
    date = read_date(rest, now)
    zone = ZONE_WORD.fullmatch(rest[date.end :].strip())
    if (date.end != len(rest) and zone is None) or date.form == PARTIAL:
        raise NoDate
    return date.ticks, zone and ZONE_ONLY.fullmatch(zone[0])


class ReadDate(NamedTuple):
    """The ticks of a date, where its text ends, and its form; a `T` follows only dates that begin with the year."""

    ticks: int
    end: int
    form: str


def read_date(text: str, now: Callable[[], datetime]) -> ReadDate:
    """Return the date that the text begins with."""
    for pattern in NAMED:
        match = pattern.match(text)
        if match is not None:
            parts = match.groupdict()
            complete = bool(parts.get("day") and parts.get("year"))
            year = full_year(parts["year"]) if parts.get("year") else now().year
            ticks = date_ticks(year, MONTH_NAMES[parts["name"].lower()], int(parts.get("day") or 1))
            form = COMPLETE if complete else MONTH_OF_YEAR if parts.get("year") else PARTIAL
            return ReadDate(ticks, match.end(), form)
    match = NUMERIC.match(text)
    if match is None:
        raise NoDate
    a, b, c = match["a"], match["b"], match["c"]
    if c is not None:
        if len(a) > 2:
            return ReadDate(date_ticks(int(a), int(b), int(c)), match.end(), YEAR_FIRST)
        if len(b) > 2:
            return ReadDate(date_ticks(int(b), int(a), int(c)), match.end(), COMPLETE)
        return ReadDate(date_ticks(full_year(c), int(a), int(b)), match.end(), COMPLETE)
    if len(a) > 2:
        return ReadDate(date_ticks(int(a), int(b), 1), match.end(), MONTH_OF_YEAR)
    if len(b) > 2:
        return ReadDate(date_ticks(int(b), int(a), 1), match.end(), MONTH_OF_YEAR)
    return ReadDate(date_ticks(now().year, int(a), int(b)), match.end(), PARTIAL)


def full_year(digits: str) -> int:
    """Return a year; two digits mean 1930 to 2029."""
    if len(digits) > 2:
        return int(digits)
    year = 2000 + int(digits)
    return year if year <= NEWEST_SHORT_YEAR else year - 100

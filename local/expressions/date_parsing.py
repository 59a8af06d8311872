"""Reads a date text as .NET's DateTime.Parse does for the invariant culture, for the shapes that pipelines hold."""

from __future__ import annotations

import re
from typing import Final

from local.expressions.dates import (
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

ISO: Final = re.compile(
    r"""\s*(?P<year>\d{4})-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?
    (?:[T\s]\s*(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d+))?)?
    \s*(?P<zone>Z|GMT|[+-]\d{1,2}(?::?\d{2})?)?)?\s*""",
    re.VERBOSE | re.IGNORECASE,
)
AMERICAN: Final = re.compile(
    r"""\s*(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})
    (?:\s+(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d+))?)?
    \s*(?P<zone>Z|GMT|[+-]\d{1,2}(?::?\d{2})?)?)?\s*""",
    re.VERBOSE | re.IGNORECASE,
)


def parse_date(text: str) -> Instant | None:
    """Return the instant of a date text, or None when it is none."""
    match = ISO.fullmatch(text) or AMERICAN.fullmatch(text)
    if match is None:
        return None
    parts = match.groupdict()
    year, month, day = int(parts["year"]), int(parts["month"]), int(parts["day"] or 1)
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    if not (
        1 <= year
        and 1 <= month <= 12
        and 1 <= day <= days_in(year, month)
        and hour < 24
        and minute < 60
        and second < 60
    ):
        return None
    ticks = ticks_of(year, month, day) + hour * HOUR + minute * MINUTE + second * SECOND
    fraction = parts["fraction"]
    if fraction:
        ticks += int(fraction[:7].ljust(7, "0")) + (len(fraction) > 7 and fraction[7] >= "5")
    zone = parts["zone"]
    if zone is None:
        return Instant(ticks, UNSPECIFIED)
    if zone.upper() in ("Z", "GMT"):
        return Instant(ticks, UTC)
    digits = zone[1:].replace(":", "")
    hours, minutes = (int(digits), 0) if len(digits) <= 2 else (int(digits[:-2]), int(digits[-2:]))
    if hours > 14 or minutes > 59:
        return None
    offset = hours * HOUR + minutes * MINUTE
    ticks += offset if zone[0] == "-" else -offset
    return Instant(ticks, LOCAL) if 0 <= ticks <= MOST_TICKS and DAY else None

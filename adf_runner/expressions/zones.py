"""Time zones by Windows name (as the service documents) or by IANA name."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from adf_runner.expressions.dates import MINUTE, MOST_TICKS
from adf_runner.expressions.windows_zones import IANA_OF_WINDOWS

START = datetime(1, 1, 1)  # noqa: DTZ001 - a wall clock on purpose
SAFE_TICKS = 2 * 24 * 60 * MINUTE


@lru_cache(maxsize=1024)
def find_zone(name: str) -> tzinfo | None:
    """Return the zone of a Windows or IANA name, whatever its case, or None when there is none."""
    if name.lower() == "utc":
        return UTC
    iana = IANA_OF_WINDOWS.get(name.lower()) or name
    try:
        return zoneinfo.ZoneInfo(iana)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        spelled = iana_names().get(iana.lower())
        return zoneinfo.ZoneInfo(spelled) if spelled else None


@lru_cache(maxsize=1)
def iana_names() -> dict[str, str]:
    """Return the IANA names of this machine by their lower case."""
    return {name.lower(): name for name in zoneinfo.available_timezones()}


def wall_clock(ticks: int) -> datetime:
    """Return ticks as a datetime, kept two days inside of what datetime can hold."""
    return START + timedelta(microseconds=min(max(ticks, SAFE_TICKS), MOST_TICKS - SAFE_TICKS) // 10)


def offset(moment: datetime) -> int:
    """Return the UTC offset at an aware datetime, in ticks of whole minutes."""
    delta = moment.utcoffset() or timedelta(0)
    return round(delta.total_seconds() / 60) * MINUTE


def from_utc(ticks: int, zone: tzinfo) -> int:
    """Return what the zone's clock shows at an instant given in UTC; the ends of time are not left."""
    moment = wall_clock(ticks).replace(tzinfo=zone)
    return clamped(ticks + offset(zone.fromutc(moment)))


def to_utc(ticks: int, zone: tzinfo) -> int | None:
    """Return the instant when the zone's clock showed that; None when it never did or did twice."""
    early = wall_clock(ticks).replace(tzinfo=zone)
    if early.utcoffset() != early.replace(fold=1).utcoffset():
        return None
    return clamped(ticks - offset(early))


def clamped(ticks: int) -> int:
    """Return ticks within the years 1 to 9999."""
    return min(max(ticks, 0), MOST_TICKS)

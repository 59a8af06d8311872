"""Time zones by Windows name (as the service documents) or by IANA name."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta

from local.expressions.dates import DAY, Instant
from local.expressions.windows_zones import IANA_OF_WINDOWS

EPOCH_TICKS = 621_355_968_000_000_000


def find_zone(name: str) -> zoneinfo.ZoneInfo | None:
    """Return a zone, or None when no zone has that name."""
    try:
        return zoneinfo.ZoneInfo(IANA_OF_WINDOWS.get(name.lower(), name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def offset_ticks(zone: zoneinfo.ZoneInfo, ticks: int, *, utc: bool) -> int:
    """Return the zone's offset at an instant that is given in UTC or on the zone's own clock."""
    moment = datetime(1, 1, 1) + timedelta(microseconds=ticks // 10)  # noqa: DTZ001 - a wall clock on purpose
    offset = zone.fromutc(moment.replace(tzinfo=zone)).utcoffset() if utc else moment.replace(tzinfo=zone).utcoffset()
    return int((offset or timedelta(0)).total_seconds()) * 10_000_000


def from_utc(moment: Instant, zone: zoneinfo.ZoneInfo) -> int:
    return moment.ticks + offset_ticks(zone, moment.ticks, utc=True)


def to_utc(ticks: int, zone: zoneinfo.ZoneInfo) -> int:
    return ticks - offset_ticks(zone, ticks, utc=False)


__all__ = ["DAY", "find_zone", "from_utc", "offset_ticks", "to_utc"]

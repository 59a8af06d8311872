"""Instants the .NET way: 100-nanosecond ticks since year 1, and how much is known of the zone.

A date text without an offset stays without one, `Z` stays `Z`, any other offset is turned into UTC and printed `+00:00`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

UNSPECIFIED: Final = ""
UTC: Final = "Z"
LOCAL: Final = "+00:00"

SECOND: Final = 10_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
MOST_TICKS: Final = 3_155_378_975_999_999_999
MONTH_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Instant:
    """A date and time: its ticks, and UNSPECIFIED, UTC or LOCAL (an offset was given; the machine's zone is UTC)."""

    ticks: int
    zone: str = UNSPECIFIED

    @property
    def day(self) -> date:
        return date.fromordinal(self.ticks // DAY + 1)

    @property
    def clock(self) -> tuple[int, int, int, int]:
        """Return hour, minute, second and the ticks within the second."""
        rest = self.ticks % DAY
        return rest // HOUR, rest % HOUR // MINUTE, rest % MINUTE // SECOND, rest % SECOND

    def moved(self, ticks: int) -> Instant:
        """Return an instant that many ticks later; raises OverflowError outside of the years 1 to 9999."""
        total = self.ticks + ticks
        if not 0 <= total <= MOST_TICKS:
            raise OverflowError
        return Instant(total, self.zone)

    def moved_months(self, months: int) -> Instant:
        """Return the same day that many months later, or the month's last day where there is no such day."""
        today = self.day
        year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
        if not 1 <= year <= 9999:
            raise OverflowError
        day = min(today.day, days_in(year, month + 1))
        return Instant(ticks_of(year, month + 1, day) + self.ticks % DAY, self.zone)


def days_in(year: int, month: int) -> int:
    """Return how many days a month has."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap else MONTH_DAYS[month - 1]


def ticks_of(year: int, month: int = 1, day: int = 1) -> int:
    """Return the ticks (100 ns since the year 1) at which a day begins."""
    return (date(year, month, day).toordinal() - 1) * DAY


def instant_of(moment: datetime) -> Instant:
    """Return an aware UTC datetime as an instant."""
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return Instant(ticks_of(moment.year, moment.month, moment.day) + seconds * SECOND + moment.microsecond * 10, UTC)

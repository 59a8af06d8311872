"""On which days a partner works: week days, public and market holidays, exceptions of its own."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from delivery.errors import Unusable

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Days on which the partner works: week days, without public or market holidays, with own exceptions.

    `country` (ISO, e.g. GB), `subdivision` (e.g. ENG) and `market` (e.g. ECB, XNYS) are those of the library
    `holidays`. `closed` names further days off; `open` lists days that are worked whatever the calendars say.
    """

    days: frozenset[str] = frozenset(_DAYS)
    country: str = ""
    subdivision: str = ""
    market: str = ""
    closed: Mapping[date, str] = field(default_factory=dict)
    open: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        if not self.days or self.days - set(_DAYS):
            raise Unusable(f"days {sorted(self.days)} are not week days", hint=f"of {', '.join(_DAYS)}")
        if self.subdivision and not self.country:
            raise Unusable(f"the subdivision '{self.subdivision}' has no country", hint="name its country too")
        if self.country or self.market:
            _holidays_of(self.country, self.subdivision, self.market, 2026)

    def why_closed(self, day: date) -> str:
        """Return the reason why the partner does not work on this day, "" when it does."""
        if day in self.open:
            return ""
        if day in self.closed:
            return self.closed[day]
        if _DAYS[day.weekday()] not in self.days:
            return f"{day:%A}"
        if not (self.country or self.market):
            return ""
        return _holidays_of(self.country, self.subdivision, self.market, day.year).get(day, "")

    def next_working_day(self, day: date, step: int = 1) -> date:
        """Return the day itself when the partner works on it, else the next that it works on (`step` -1: the one before)."""
        for ahead in range(62):
            candidate = day + timedelta(days=ahead * step)
            if not self.why_closed(candidate):
                return candidate
        raise Unusable(f"no working day within two months of {day}", hint="check the calendar's days and closed dates")

    def business_day(self, year: int, month: int, number: int) -> date | None:
        """Return the month's first (1), second (2), ..., last (-1), last but one (-2), ... working day; None if it has fewer."""
        days = [date(year, month, day) for day in range(1, monthrange(year, month)[1] + 1)]
        worked = [day for day in days if not self.why_closed(day)]
        at = number - 1 if number > 0 else number
        return worked[at] if -len(worked) <= at < len(worked) else None


@lru_cache(maxsize=256)
def _holidays_of(country: str, subdivision: str, market: str, year: int) -> Mapping[date, str]:
    # The library takes a tenth of a second to import: only feeds with a calendar pay for it.
    import holidays

    found: dict[date, str] = {}
    try:
        if country:
            found.update(holidays.country_holidays(country, subdiv=subdivision or None, years=year))
        if market:
            found.update(holidays.financial_holidays(market, years=year))
    except NotImplementedError as error:
        raise Unusable(
            f"no holiday calendar for '{country or market}{' ' + subdivision if subdivision else ''}'",
            hint="ISO codes such as country GB with subdivision ENG, or market ECB; name other days under `closed`",
        ) from error
    return found

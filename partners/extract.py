"""What one statement must select for a batch, whatever the database: plain values, from which each dialect writes its SQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from partners.late import Loaded
from partners.layout import Column
from partners.model import ControlTotals


@dataclass(frozen=True, slots=True)
class Dates:
    """The rows of the days from `first` to `last`, both included, by a date column."""

    column: str
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Instants:
    """The rows from `start` to `end`, the end excluded, by a timestamp column; aware instants."""

    column: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """What one statement must select: neither names nor texts are quoted yet. `order` says which columns are texts."""

    table: str
    columns: tuple[Column, ...]
    where: tuple[tuple[str, str], ...]
    period: Dates | Instants
    order: tuple[tuple[str, bool], ...]
    unique: tuple[str, ...]
    control: ControlTotals | None
    loaded: Loaded | None = None

    @property
    def rows_period(self) -> Dates | Instants:
        """The period of all rows that leave, late ones included."""
        loaded, period = self.loaded, self.period
        if loaded is None or loaded.seen is None or not loaded.takes_late or isinstance(period, Instants):
            return period
        return Dates(period.column, min(loaded.since, period.first), period.last)

    @property
    def numbers(self) -> list[Column]:
        """The columns that the control object has the sums of."""
        return [column for column in self.columns if column.is_number]


def counted_loads(
    extract: Extract,
    loaded: Loaded,
    name: Callable[[str], str],
    day: Callable[[date], str],
    instant: Callable[[datetime], str],
) -> dict[str, list[str]]:
    """Return which rows of the table, called `whole`, are undated and which are late: conditions, joined by AND.

    `name`, `day` and `instant` write an identifier, a date and a time (UTC) in the source's dialect.
    """
    assert isinstance(extract.period, Dates), "blocks of hours have no late rows"
    of_day, at = f"whole.{name(extract.period.column)}", f"whole.{name(loaded.column)}"
    begin = day(min(loaded.since, extract.period.first))
    counted = {"undated": [f"{of_day} BETWEEN {begin} AND {day(extract.period.last)}", f"{at} IS NULL"]}
    if loaded.seen and loaded.before:
        counted["late"] = [
            f"{of_day} BETWEEN {begin} AND {day(loaded.before)}",
            f"{at} >= {instant(loaded.seen)}",
            f"{at} < {instant(loaded.until)}",
        ]
    return counted

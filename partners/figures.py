"""The figures of a file and of a batch: what the database, the writer and the reader each count, and must agree on.

Sums are whole numbers of units of 10^-12, so that they are exact whatever the column's scale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation, localcontext

UNIT = 10**12
_IN_NO_ZONE = (
    "it is in no zone; a timestamp needs zone: UTC (or such as +02:00), a date or a window a view that converts it"
)
_FLOATING = "write stored: {} if the feed's column has the decimals of its values, or cast it to decimal in a view"
# What a feed says about a column of SQL Server whose type it does not expect.
_REMEDIES = {
    **dict.fromkeys(("datetime", "datetime2", "smalldatetime"), _IN_NO_ZONE),
    **{kind: _FLOATING.format(kind) for kind in ("float", "real")},
    **dict.fromkeys(("binary", "varbinary"), "write stored: binary, for its bytes as hexadecimal digits"),
    **dict.fromkeys(("money", "smallmoney"), "write type: decimal, scale: 4"),
    **dict.fromkeys(
        ("bit", "tinyint", "smallint", "int", "bigint"), "write type: integer, and in where its digits, such as 1"
    ),
    "time": "write type: text, stored: time",
    "date": "write type: date",
    "datetimeoffset": "write type: timestamp without zone; business_date must be a date, such as a view gives",
    "unknown": "its type cannot be seen; name a table or view that the feed's user may select from, not a synonym",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFigures:
    """What one file holds: `sums` by number column, as far as they can be known."""

    part: int
    rows: int
    lines: int
    sums: Mapping[str, int]

    def differences(self, other: FileFigures) -> Iterator[str]:
        """Yield what another witness counted differently; sums that only one of them can know are left out."""
        if self.rows != other.rows:
            yield "the number of rows"
        if self.lines != other.lines:
            yield "the number of lines"
        for name in self.sums.keys() & other.sums.keys():
            if self.sums[name] != other.sums[name]:
                yield f"the sum of {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The last object of the staged rows: what the database counted in the same statement.

    `aliens` are the columns whose type in the table is not one that the feed states, with that type (SQL Server).
    `ties` is how many rows share their place in the order with the row before, `repeated` how often a value of a unique
    column occurs again, `types` the database's type of each number column's sum, `totals` the figures of the mart's totals.
    `late` counts the rows of days before that were loaded since the batch before, `undated` those without a time of their load.
    `range` is the first and the last day of the whole table, None for each when it is empty; known only when there are no rows.
    """

    rows: int
    sums: Mapping[str, int | None]
    ties: int = 0
    repeated: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    aliens: Mapping[str, str] = field(default_factory=dict)
    totals: Sequence[tuple[int, Mapping[str, int | None]]] = ()
    late: int = 0
    undated: int = 0
    range: tuple[date | None, date | None] | None = None

    @classmethod
    def parse(cls, line: str) -> Control | None:
        """Return the control object of a staged line, or None when the line is none."""
        try:
            data = json.loads(line)
            totals = [(int(one["rows"]), _all_units(one["sums"])) for one in data.get("totals") or []]
            return cls(
                rows=int(data["rows"]),
                sums=_all_units(data["sums"]),
                ties=int(data.get("ties", 0)),
                repeated={name: int(value) for name, value in data.get("repeated", {}).items()},
                types=dict(data.get("types", {})),
                aliens=dict(data.get("aliens", {})),
                totals=totals,
                late=int(data.get("late", 0)),
                undated=int(data.get("undated", 0)),
                range=_range(data.get("range")),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def faults(self, rows: int, sums: Mapping[str, int], *, has_totals: bool = False) -> Iterator[str]:
        """Yield where the database's figures differ from what was written, or show that a file would not be right."""
        for name, kind in self.types.items():
            if kind in ("double precision", "real", "float"):
                yield f"column {name} is a floating-point number in the table: cast it to numeric in the mart"
        for name, kind in self.aliens.items():
            yield f"column {name} is of type {kind} in the table: {_REMEDIES.get(kind, 'convert it in a view')}"
        if self.rows != rows:
            yield f"the database counted {self.rows} rows, the files hold {rows}"
        for name, value in self.sums.items():
            if name in sums and sums[name] != value:
                yield f"the database's sum of {name} differs from the written one"
        if self.ties:
            yield f"order_by does not decide the order of {self.ties + 1} or more rows: name a unique column in it"
        for name, count in self.repeated.items():
            if count:
                yield f"column {name} must be unique, and {count} of its values occur again"
        if has_totals:
            yield from self._total_faults()

    def _total_faults(self) -> Iterator[str]:
        if len(self.totals) > 1:
            yield f"the mart's control totals have {len(self.totals)} rows for this batch, and one is wanted"
            return
        rows, sums = self.totals[0] if self.totals else (0, {})
        if rows != self.rows:
            yield f"the mart's control totals count {rows} rows, the extract {self.rows}"
        for name, value in sums.items():
            if self.sums.get(name, 0) != value:
                yield f"the mart's control total of {name} differs from the sum of the extract"


def _range(value: list[str | None] | None) -> tuple[date | None, date | None] | None:
    """Return the two days, None for what PostgreSQL knows and Python does not: a date that is infinite or B.C."""
    try:
        first, last = (date.fromisoformat(each) if each else None for each in value or ())
    except ValueError:
        return None
    return first, last


def _all_units(values: Mapping[str, object]) -> dict[str, int | None]:
    return {name: _units(value) for name, value in values.items()}


def _units(value: object) -> int | None:
    """Return a number's text in units of 10^-12, None for what is not an exact number; NULL, the sum of no rows, is 0."""
    if value is None:
        return 0
    try:
        number = Decimal(str(value))
        with localcontext(prec=200):
            units = number.scaleb(12)
            return int(units) if number.is_finite() and units == units.to_integral_value() else None
    except InvalidOperation:
        return None


def as_decimal(units: int) -> str:
    """Return a sum as plain decimal text without trailing zeros."""
    whole, part = divmod(abs(units), UNIT)
    text = f"{whole}.{part:012d}".rstrip("0").rstrip(".")
    return f"-{text}" if units < 0 else text

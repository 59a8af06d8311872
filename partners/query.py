"""The query of a batch: exactly the columns that the partner file names, for what the batch covers, each value as final text.

Values become text in PostgreSQL, so the bytes of a file do not depend on a copy tool's type conversion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from partners.layout import Column
from partners.model import ControlTotals, Feed
from partners.schedule import Cover, Hours


def _identifier(name: str) -> str:
    return f'"{name}"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# Before each column of the control totals: a name that their table lacks must not become a column of the extract around it.
_TOTALS = "totals."


# The staged query: rows for the writer, and what the database counts about them, in one statement and one snapshot.


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
    """What one statement must select: names are validated, texts are not escaped yet."""

    table: str
    columns: tuple[Column, ...]
    where: tuple[tuple[str, str], ...]
    period: Dates | Instants
    order: tuple[tuple[str, bool], ...]
    unique: tuple[str, ...]
    control: ControlTotals | None


def stage_query(feed: Feed, cover: Cover | date) -> str:
    """Return the statement of a batch's extract: one text column `row`, a JSON array per row and last the control object."""
    types = {column.name: column.type for column in feed.columns}
    fields = [f for record in feed.full_layout.records for f in record.fields]
    return _postgresql(
        Extract(
            table=feed.table,
            columns=tuple(feed.columns),
            where=tuple(feed.where.items()),
            period=_period(feed, cover),
            order=tuple((name, types.get(name) == "text") for name in feed.order_by),
            unique=tuple(dict.fromkeys(f.column for f in fields if f.unique and f.column)),
            control=feed.control,
        )
    )


def _period(feed: Feed, cover: Cover | date) -> Dates | Instants:
    if not isinstance(cover, Cover):
        return Dates(feed.business_date, cover, cover)
    if isinstance(feed.covers, Hours):
        return Instants(feed.covers.column, cover.start, cover.end)
    return Dates(feed.business_date, cover.first, cover.last)


def _postgresql(extract: Extract) -> str:
    """Return the statement for PostgreSQL.

    Rows are numbered in the order of a text's bytes (COLLATE "C"), not of the server's language. The parts of a UNION ALL come
    in their order; the writer refuses rows that do not, by their numbers.
    """
    names = ", ".join(_identifier(column.name) for column in extract.columns)
    order = ", ".join(
        f'{_identifier(name)} COLLATE "C"' if is_text else _identifier(name) for name, is_text in extract.order
    )
    return (
        f"WITH picked AS MATERIALIZED (SELECT row_number() OVER o AS row_n, rank() OVER o AS row_r, {names}"  # noqa: S608 - see docstring
        f" FROM {_table(extract.table)} WHERE {_postgresql_where(extract)} WINDOW o AS (ORDER BY {order}))"
        f" SELECT {_postgresql_row(extract.columns)} AS row FROM picked"
        f" UNION ALL SELECT {_postgresql_control(extract)} FROM picked"
    )


def _postgresql_where(extract: Extract, table: str = "") -> str:
    conditions = list(_postgresql_period(extract.period, table))
    return " AND ".join(
        conditions + [f"{table}{_identifier(name)} = {_literal(value)}" for name, value in extract.where]
    )


def _postgresql_period(period: Dates | Instants, table: str) -> Iterator[str]:
    column = f"{table}{_identifier(period.column)}"
    if isinstance(period, Instants):
        yield f"{column} >= TIMESTAMPTZ {_literal(period.start.isoformat())}"
        yield f"{column} < TIMESTAMPTZ {_literal(period.end.isoformat())}"
    elif period.first == period.last:
        yield f"{column} = DATE {_literal(period.first.isoformat())}"
    else:
        yield f"{column} BETWEEN DATE {_literal(period.first.isoformat())} AND DATE {_literal(period.last.isoformat())}"


def _postgresql_row(columns: tuple[Column, ...]) -> str:
    """Return the row as a JSON array. A function takes 100 arguments at most: wider rows are joined from several arrays."""
    values = ["row_n", *(_postgresql_value(column) for column in columns)]
    arrays = [f"json_build_array({', '.join(values[at : at + 90])})::text" for at in range(0, len(values), 90)]
    if len(arrays) == 1:
        return arrays[0]
    first, *more = arrays
    return " || ', ' || ".join([f"left({first}, -1)", *(f"left(substr({each}, 2), -1)" for each in more)]) + " || ']'"


def _postgresql_value(column: Column) -> str:
    """Return a value as the writer reads it: digits as text; dates as JSON writes them, with the zone if there is one."""
    name = _identifier(column.name)
    return name if column.type in ("date", "timestamp") else f"{name}::text"


def _postgresql_control(extract: Extract) -> str:
    numbers = [column.name for column in extract.columns if column.is_number]
    members = {
        "rows": "count(*)",
        "ties": "count(*) FILTER (WHERE row_n <> row_r)",
        "sums": _object({name: f"sum({_identifier(name)})::text" for name in numbers}),
        "types": _object({name: f"pg_typeof(sum({_identifier(name)}))" for name in numbers}),
    }
    if extract.unique:
        counts = {name: f"count({_identifier(name)}) - count(DISTINCT {_identifier(name)})" for name in extract.unique}
        members["repeated"] = _object(counts)
    if extract.control is not None:
        members["totals"] = (
            f"(SELECT {_postgresql_totals(extract.control, extract.period)}"  # noqa: S608 - as above
            f" FROM {_table(extract.control.table)} AS totals WHERE {_postgresql_where(extract, _TOTALS)})"
        )
    return f"{_object(members)}::text"


def _postgresql_totals(control: ControlTotals, period: Dates | Instants) -> str:
    """Return the mart's totals as a JSON array: for one day each row of the table, for more days their sum."""
    columns = {name: f"{_TOTALS}{_identifier(total)}" for name, total in control.sums.items()}
    count = f"{_TOTALS}{_identifier(control.rows)}"
    if isinstance(period, Dates) and period.first == period.last:
        sums = _object({name: f"{column}::text" for name, column in columns.items()})
        return f"json_agg({_object({'rows': f'{count}::text', 'sums': sums})})"
    sums = _object({name: f"sum({column})::text" for name, column in columns.items()})
    rows = f"coalesce(sum({count}), 0)::text"
    return f"json_build_array({_object({'rows': rows, 'sums': sums})})"


def _object(members: dict[str, str]) -> str:
    return f"json_build_object({', '.join(f'{_literal(name)}, {value}' for name, value in members.items())})"


def _table(name: str) -> str:
    return ".".join(_identifier(part) for part in name.split("."))

"""The query of a batch: exactly the columns that the partner file names, for what the batch covers, each value as final text.

Values become text in the database, so the bytes of a file do not depend on a copy tool's type conversion. PostgreSQL's
statement is here, SQL Server's in `tsql`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from partners.extract import Dates, Extract, Instants, counted_loads
from partners.late import Loaded
from partners.layout import Column
from partners.model import ControlTotals, Feed
from partners.schedule import Cover, Hours
from partners.sources import WAREHOUSE
from partners.tsql import sql_server


def _identifier(name: str) -> str:
    return f'"{name}"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# Before each column of the control totals: a name that their table lacks must not become a column of the extract around it.
_TOTALS = "totals."


def stage_query(feed: Feed, cover: Cover | date, loaded: Loaded | None = None) -> str:
    """Return the statement of a batch's extract: one text column `row`, a JSON array per row and last the control object."""
    types = {column.name: column.type for column in feed.columns}
    fields = [f for record in feed.full_layout.records for f in record.fields]
    extract = Extract(
        table=feed.table,
        columns=tuple(feed.columns),
        where=tuple(feed.where.items()),
        period=_period(feed, cover),
        order=tuple((name, types.get(name) == "text") for name in feed.order_by),
        unique=tuple(dict.fromkeys(f.column for f in fields if f.unique and f.column)),
        control=feed.control,
        loaded=loaded,
    )
    return _postgresql(extract) if feed.source == WAREHOUSE else sql_server(extract)


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
        f" FROM {_table(extract.table)} WHERE {_postgresql_rows(extract)} WINDOW o AS (ORDER BY {order}))"
        f" SELECT {_postgresql_row(extract.columns)} AS row FROM picked"
        f" UNION ALL SELECT {_postgresql_control(extract)} FROM picked"
    )


def _postgresql_rows(extract: Extract) -> str:
    conditions = [*_postgresql_period(extract.rows_period), *_postgresql_texts(extract)]
    loaded = extract.loaded
    if loaded is not None:
        at = _identifier(loaded.column)
        conditions.append(f"{at} < {_instant(loaded.until)}")
        if loaded.takes_late and loaded.seen and loaded.before:
            day = _identifier(extract.period.column)
            conditions.append(f"NOT ({day} <= {_day(loaded.before)} AND {at} < {_instant(loaded.seen)})")
    return " AND ".join(conditions)


def _postgresql_texts(extract: Extract, table: str = "") -> Iterator[str]:
    return (f"{table}{_identifier(name)} = {_literal(value)}" for name, value in extract.where)


def _postgresql_period(period: Dates | Instants, table: str = "") -> Iterator[str]:
    column = f"{table}{_identifier(period.column)}"
    if isinstance(period, Instants):
        yield f"{column} >= {_instant(period.start)}"
        yield f"{column} < {_instant(period.end)}"
    elif period.first == period.last:
        yield f"{column} = {_day(period.first)}"
    else:
        yield f"{column} BETWEEN {_day(period.first)} AND {_day(period.last)}"


def _instant(moment: datetime) -> str:
    return f"TIMESTAMPTZ {_literal(moment.isoformat())}"


def _day(day: date) -> str:
    return f"DATE {_literal(day.isoformat())}"


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
    numbers = [column.name for column in extract.numbers]
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
        where = " AND ".join([*_postgresql_period(extract.period, _TOTALS), *_postgresql_texts(extract, _TOTALS)])
        members["totals"] = (
            f"(SELECT {_postgresql_totals(extract.control, extract.period)}"  # noqa: S608 - as above
            f" FROM {_table(extract.control.table)} AS totals WHERE {where})"
        )
    if extract.loaded is not None:
        members |= _postgresql_loads(extract, extract.loaded)
    members["range"] = f"CASE WHEN count(*) = 0 THEN ({_postgresql_range(extract)}) END"
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


def _postgresql_loads(extract: Extract, loaded: Loaded) -> dict[str, str]:
    """Return the counts of late rows, and of rows of which nobody knows when they were loaded."""
    source = f"(SELECT count(*) FROM {_table(extract.table)} AS whole WHERE "  # noqa: S608 - as above
    return {
        name: source + " AND ".join([*conditions, *_postgresql_texts(extract, "whole.")]) + ")"
        for name, conditions in counted_loads(extract, loaded, _identifier, _day, _instant).items()
    }


def _postgresql_range(extract: Extract) -> str:
    """Return the first and the last day of the whole table, of all partners: asked only where a batch has no rows."""
    column = f"whole.{_identifier(extract.period.column)}"
    zone = "" if isinstance(extract.period, Dates) else " AT TIME ZONE 'UTC'"
    ends = ", ".join(f"({end}({column}){zone})::date" for end in ("min", "max"))
    return f"SELECT json_build_array({ends}) FROM {_table(extract.table)} AS whole"  # noqa: S608 - as above


def _object(members: dict[str, str]) -> str:
    return f"json_build_object({', '.join(f'{_literal(name)}, {value}' for name, value in members.items())})"


def _table(name: str) -> str:
    return ".".join(_identifier(part) for part in name.split("."))

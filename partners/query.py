"""The query of a batch: exactly the columns that the partner file names, for one business date, each value as final text.

Values become text in PostgreSQL, so the bytes of a file do not depend on a copy tool's type conversion.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from partners.layout import Column
from partners.model import ControlTotals, Feed


def _identifier(name: str) -> str:
    return f'"{name}"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# The staged query: rows for the writer, and what the database counts about them, in one statement and one snapshot.


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """What one statement must select: names are validated, texts are not escaped yet."""

    table: str
    columns: tuple[Column, ...]
    where: tuple[tuple[str, str], ...]
    date_column: str
    business_date: date
    order: tuple[tuple[str, bool], ...]
    unique: tuple[str, ...]
    control: ControlTotals | None


def stage_query(feed: Feed, business_date: date) -> str:
    """Return the statement of a batch's extract: one text column `row`, a JSON array per row and last the control object."""
    types = {column.name: column.type for column in feed.columns}
    fields = [f for record in feed.full_layout.records for f in record.fields]
    return _postgresql(
        Extract(
            table=feed.table,
            columns=tuple(feed.columns),
            where=tuple(feed.where.items()),
            date_column=feed.business_date,
            business_date=business_date,
            order=tuple((name, types.get(name) == "text") for name in feed.order_by),
            unique=tuple(dict.fromkeys(f.column for f in fields if f.unique and f.column)),
            control=feed.control,
        )
    )


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


def _postgresql_where(extract: Extract) -> str:
    conditions = [f"{_identifier(extract.date_column)} = DATE {_literal(extract.business_date.isoformat())}"]
    return " AND ".join(conditions + [f"{_identifier(name)} = {_literal(value)}" for name, value in extract.where])


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
        sums = _object({name: f"{_identifier(total)}::text" for name, total in extract.control.sums.items()})
        totals = _object({"rows": f"{_identifier(extract.control.rows)}::text", "sums": sums})
        members["totals"] = (
            f"(SELECT json_agg({totals}) FROM {_table(extract.control.table)} WHERE {_postgresql_where(extract)})"  # noqa: S608 - as above
        )
    return f"{_object(members)}::text"


def _object(members: dict[str, str]) -> str:
    return f"json_build_object({', '.join(f'{_literal(name)}, {value}' for name, value in members.items())})"


def _table(name: str) -> str:
    return ".".join(_identifier(part) for part in name.split("."))

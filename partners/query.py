"""The query of a batch: exactly the columns that the partner file names, for one business date, each value as final text.

Values become text in PostgreSQL, so the bytes of a file do not depend on a copy tool's type conversion.
"""

from __future__ import annotations

from datetime import date

from partners.model import Column, Feed


def render_query(feed: Feed, business_date: date) -> str:
    """Return the SQL that extracts one batch. Identifiers are validated by the model; literals are escaped here."""
    columns = ", ".join(f"{_as_text(column)} AS {_identifier(column.name)}" for column in feed.columns)
    table = ".".join(_identifier(part) for part in feed.table.split("."))
    conditions = [f"{_identifier(feed.business_date)} = DATE {_literal(business_date.isoformat())}"]
    conditions += [f"{_identifier(name)} = {_literal(value)}" for name, value in feed.where.items()]
    order = ", ".join(_identifier(name) for name in feed.order_by)
    return f"SELECT {columns} FROM {table} WHERE {' AND '.join(conditions)} ORDER BY {order}"  # noqa: S608 - see docstring


def _as_text(column: Column) -> str:
    name = _identifier(column.name)
    match column.type:
        case "text":
            return f"{name}::text"
        case "integer" | "decimal":
            # A value with more digits than the file has is refused, never rounded away: the division is by zero unless
            # rounding changes nothing.
            scale = column.scale or 0
            exact = f"({name} / CASE WHEN {name} = round({name}, {scale}) THEN 1 ELSE 0 END)"
            return f"round({exact}, {scale})::text"
        case "date":
            return f"to_char({name}, 'YYYY-MM-DD')"
        case "timestamp":
            return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"


def _identifier(name: str) -> str:
    return f'"{name}"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

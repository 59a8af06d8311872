"""Does what a partner file reads exist in the dbt project: table, columns, and types that a file can hold exactly?

Only tables of the warehouse in schemas that the project builds are checked. No database is asked, only the project's files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from partners.checking import unknown_name
from partners.places import Document, Misread
from partners.sources import WAREHOUSE

MODELS = Path(__file__).resolve().parent.parent / "dbt_runner" / "project" / "models"
_FLOATS = ("double precision", "real", "float", "float4", "float8")
_NAIVE = ("timestamp", "timestamp without time zone")

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A model: its columns and their types, as far as the project states them."""

    columns: dict[str, str]


def table_faults(path: Path, models: Path = MODELS) -> list[str]:
    """Return every table or column of a partner file that the dbt project does not have, each with its line.

    The file is read as it is, also when it has other faults: all are found in one round.
    """
    try:
        document = Document(path.read_bytes())
    except (Misread, OSError):
        return []
    tables, feeds = _tables(models), _mapping(_mapping(document.data).get("feeds"))
    return [
        f"partners/{path.name}:{document.line_of(('feeds', name, *place))}: feeds.{name}.{'.'.join(map(str, place))}: {text}"
        for name, feed in feeds.items()
        for place, text in _faults(_mapping(feed), tables)
    ]


def tables_of(models: Path = MODELS) -> list[str]:
    """Return the tables of the marts whose columns and types the project states."""
    return [name for name, table in _tables(models).items() if any(table.columns.values())]


def columns_of(table: str, models: Path = MODELS) -> dict[str, str]:
    """Return the columns of a table of the marts with their SQL types."""
    return dict(_tables(models)[table].columns)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, (list, dict)) else []


def _faults(feed: dict[str, Any], tables: dict[str, _Table]) -> Iterator[tuple[Place, str]]:
    if feed.get("source", WAREHOUSE) != WAREHOUSE:
        return
    table, listed = str(feed.get("table", "")), feed.get("columns")
    columns = [
        (index, {"name": each} if isinstance(each, str) else _mapping(each))
        for index, each in enumerate(listed if isinstance(listed, list) else [])
    ]
    used: list[tuple[Place, str]] = [(("columns", index), str(column.get("name"))) for index, column in columns]
    used += [(("order_by", index), name) for index, name in enumerate(_texts(feed.get("order_by")))]
    used += [(("where", name), name) for name in _texts(feed.get("where"))]
    used += [(("business_date",), name) for name in _texts([feed.get("business_date")])]
    yield from _missing(table, ("table",), used, tables)
    types = tables[table].columns if table in tables else {}
    for index, column in columns:
        name, kind = str(column.get("name")), types.get(str(column.get("name")), "")
        if column.get("type") in ("integer", "decimal") and kind in _FLOATS:
            yield ("columns", index), f"{name} is {kind} in the table: cast it to numeric in the model"
        if column.get("type") == "timestamp" and kind in _NAIVE:
            yield ("columns", index), f"{name} has no time zone in the table: make it timestamptz in the model"
    control = _mapping(feed.get("control"))
    if control:
        totals: list[tuple[Place, str]] = [(("control", "rows"), str(control.get("rows")))]
        sums = _mapping(control.get("sums")).items()
        totals += [(("control", "sums", key), str(name)) for key, name in sums]
        yield from _missing(str(control.get("table", "")), ("control", "table"), totals, tables)


def _missing(
    table: str, place: Place, used: list[tuple[Place, str]], tables: dict[str, _Table]
) -> Iterator[tuple[Place, str]]:
    schemas = {name.partition(".")[0] for name in tables}
    if table.partition(".")[0] not in schemas:
        return
    if table not in tables:
        yield place, unknown_name(table, list(tables), "table of the dbt project")
        return
    columns = tables[table].columns
    for where, name in used:
        if columns and name not in columns:
            yield where, unknown_name(name, columns, f"column of {table}")


def _tables(models: Path) -> dict[str, _Table]:
    """Return the models of each schema that is built for readers: the folder `marts`."""
    stated: dict[str, Any] = {}
    for path in models.rglob("*.yml"):
        for model in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("models", []):
            stated[model["name"]] = {
                column["name"]: str(column.get("data_type", "")) for column in model.get("columns", [])
            }
    return {
        f"marts.{path.stem}": _Table(columns=stated.get(path.stem, {}))
        for path in sorted((models / "marts").glob("*.sql"))
    }

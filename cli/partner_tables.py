"""Does what a partner file reads exist in the dbt project: table, columns, and types that a file can hold exactly?

Only tables of schemas that the project builds are checked. Reads the project's files alone; no database is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from partners import PartnerInvalid
from partners.checking import unknown_name
from partners.model import Feed, Partner
from partners.places import Document

MODELS = Path(__file__).resolve().parent.parent / "dbt_runner" / "project" / "models"
_FLOATS = ("double precision", "real", "float", "float4", "float8")
_NAIVE = ("timestamp", "timestamp without time zone")

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A model: its columns and their types, as far as the project states them."""

    columns: dict[str, str]


def raise_table_faults(path: Path, partner: Partner, models: Path = MODELS) -> None:
    """Raise PartnerInvalid with every table or column that the dbt project does not have, each with its line."""
    tables = _tables(models)
    document = Document(path.read_bytes())
    faults = [
        f"partners/{path.name}:{document.line_of(('feeds', name, *place))}: feeds.{name}.{'.'.join(map(str, place))}: {text}"
        for name, feed in partner.feeds.items()
        for place, text in _faults(feed, tables)
    ]
    if faults:
        raise PartnerInvalid("\n".join(faults), "correct the name, or build the table in dbt_runner/project")


def _faults(feed: Feed, tables: dict[str, _Table]) -> Iterator[tuple[Place, str]]:
    used: list[tuple[Place, str]] = [(("columns", index), column.name) for index, column in enumerate(feed.columns)]
    used += [(("order_by", index), name) for index, name in enumerate(feed.order_by)]
    used += [(("where", name), name) for name in feed.where] + [(("business_date",), feed.business_date)]
    yield from _missing(feed.table, ("table",), used, tables)
    types = tables[feed.table].columns if feed.table in tables else {}
    for index, column in enumerate(feed.columns):
        kind = types.get(column.name, "")
        if column.is_number and kind in _FLOATS:
            yield ("columns", index), f"{column.name} is {kind} in the table: cast it to numeric in the model"
        if column.type == "timestamp" and kind in _NAIVE:
            yield ("columns", index), f"{column.name} has no time zone in the table: make it timestamptz in the model"
    if feed.control is not None:
        totals = [(("control", "rows"), feed.control.rows)]
        named: list[tuple[Place, str]] = [
            *totals,
            *((("control", "sums", key), name) for key, name in feed.control.sums.items()),
        ]
        yield from _missing(feed.control.table, ("control", "table"), named, tables)


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

"""Activities that only look: Lookup (rows of a query or file) and GetMetadata (what a file or folder is)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING, Any

from psycopg import sql

from adf_runner.errors import ActivityFailed
from adf_runner.stores import postgres, rest, sqlserver
from adf_runner.stores.delimited import Layout, is_true
from adf_runner.stores.delimited_reading import read_rows
from adf_runner.stores.opening import open_store
from adf_runner.stores.postgres import JSON_DATETIME, Column, Conversion, json_value
from adf_runner.stores.rows import stream_objects
from adf_runner.stores.sqlserver_types import SqlColumn, columns_of
from adf_runner.stores.store import Entry, Store, path_of

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data

LOOKUP_ROWS = 5_000
LOOKUP_BYTES = 4 * 1024 * 1024
METADATA_BYTES = 4 * 1024 * 1024
METADATA_SECONDS = 600.0
JSON_CONVERSION = Conversion(datetime=JSON_DATETIME, datetimeoffset=JSON_DATETIME)
TABLE_FIELDS = ("structure", "columnCount", "exists")


def lookup(call: Call) -> dict[str, Any]:
    """Read rows as objects: output.firstRow, or output.count and output.value."""
    data = call.engine.services.dataset(call, call.properties["dataset"], "dataset")
    first_only = is_true(call.properties.get("firstRowOnly", True))
    limit = 1 if first_only else LOOKUP_ROWS
    kind = call.properties["source"]["type"]
    readers = {
        **dict.fromkeys(sqlserver.SOURCES, _sql_server_rows),
        "AzurePostgreSqlSource": _query_rows,
        "DelimitedTextSource": _delimited_rows,
        "JsonSource": _json_rows,
        "RestSource": _rest_rows,
    }
    read = readers[kind]
    rows = read(call, data, limit)
    if len(json.dumps(rows, ensure_ascii=False).encode()) > LOOKUP_BYTES:
        raise ActivityFailed(
            "the rows are larger than 4 MB", "select fewer columns or rows", code="2100", retriable=False
        )
    if first_only:
        return {"firstRow": rows[0]} if rows else {}
    return {"count": len(rows), "value": rows}


def _query_rows(call: Call, data: Data, limit: int) -> list[dict[str, Any]]:
    source = call.properties["source"]
    query = postgres.query_of(data, source)
    with postgres.connect(call, data.service, postgres.timeout_of(source)) as connection:
        columns = postgres.describe(connection, query)
        select = sql.SQL("{} LIMIT {}").format(
            postgres.text_select(query, columns, JSON_CONVERSION), sql.Literal(limit)
        )
        return [
            json_row(columns, row) for row in postgres.text_rows(call, connection, sql.Composed([select]), len(columns))
        ]


def _sql_server_rows(call: Call, data: Data, limit: int) -> list[dict[str, Any]]:
    source = call.properties["source"]
    with sqlserver.connect(call, data.service, postgres.timeout_of(source)) as session:
        columns = columns_of(sqlserver.start_query(session, data, source), JSON_CONVERSION)
        return [json_row(columns, row) for row in islice(session.texts(columns), limit)]


def json_row(columns: Sequence[Column | SqlColumn], row: Sequence[str | None]) -> dict[str, Any]:
    """Turn a row of text back into JSON values by the columns' kinds."""
    return {column.name: json_value(column.kind, text) for column, text in zip(columns, row, strict=True)}


def _delimited_rows(call: Call, data: Data, limit: int) -> list[dict[str, Any]]:
    layout = Layout.of(data.properties)
    skip = int(call.properties["source"].get("formatSettings", {}).get("skipLineCount", 0))
    with ExitStack() as stack:
        store = stack.enter_context(open_store(call, data))
        rows = read_rows(layout, store.read(path_of(data)), skip)
        names = next(rows, None) if layout.header else None
        return [_named(names, row) for row in islice(rows, limit)]


def _named(names: Sequence[str | None] | None, row: Sequence[str | None]) -> dict[str, Any]:
    """Name a row's values by its header, or Prop_0, Prop_1, ... without one."""
    keys = (
        [name or f"Prop_{index}" for index, name in enumerate(names)]
        if names
        else [f"Prop_{index}" for index in range(len(row))]
    )
    if len(set(keys)) != len(keys):
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise ActivityFailed(f"the header has the column {twice!r} twice", code="UserErrorInvalidFormat")
    if len(keys) != len(row):
        raise ActivityFailed(f"a row has {len(row)} columns, not {len(keys)}", code="UserErrorInvalidFormat")
    return dict(zip(keys, row, strict=True))


def _json_rows(call: Call, data: Data, limit: int) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        store = stack.enter_context(open_store(call, data))
        return list(islice(stream_objects(store.read(path_of(data))), limit))


def _rest_rows(call: Call, data: Data, limit: int) -> list[dict[str, Any]]:
    return list(islice((item for page in rest.pages(call, data) for item in rest.objects_of(page, "")), limit))


def get_metadata(call: Call) -> dict[str, Any]:
    """Describe a file or folder; with `exists` in the list, a missing one is not an error."""
    data = call.engine.services.dataset(call, call.properties["dataset"], "dataset")
    fields = list(dict.fromkeys(call.properties["fieldList"]))
    if sqlserver.is_sql_server(data.service):
        return _table_metadata(call, data, fields)
    path = path_of(data)
    with ExitStack() as stack:
        store = stack.enter_context(open_store(call, data))
        entry = store.find(path)
        if entry is None:
            if "exists" in fields:
                return {"exists": False}
            raise ActivityFailed(
                f"there is no file or folder {path}", "ask for the field exists", code="UserErrorFileNotFound"
            )
        output = {field: value for field in fields if (value := _field(store, entry, field)) is not None}
    if len(json.dumps(output).encode()) > METADATA_BYTES:
        raise ActivityFailed("the metadata is larger than 4 MB", code="BadRequest", retriable=False)
    return output


def _table_metadata(call: Call, data: Data, fields: Sequence[str]) -> dict[str, Any]:
    """Describe a table: its columns with Data Factory's interim types, how many there are, and whether it is there."""
    wrong = next((field for field in fields if field not in TABLE_FIELDS), None)
    if wrong is not None:
        raise ActivityFailed(
            f"a table has no {wrong}", f"ask for {', '.join(TABLE_FIELDS)}", code="BadRequest", retriable=False
        )
    table = sqlserver.table_of(data)
    with sqlserver.connect(call, data.service, METADATA_SECONDS) as session:
        structure = sqlserver.structure_of(session, table)
    if not structure and "exists" not in fields:
        raise ActivityFailed(f"there is no table {table}", "ask for the field exists", code="UserErrorTableMissing")
    whole = {"structure": structure, "columnCount": len(structure), "exists": bool(structure)}
    return {field: whole[field] for field in fields if structure or field == "exists"}


def _field(store: Store, entry: Entry, field: str) -> Any:
    if field == "exists":
        return True
    if field == "itemName":
        return entry.name
    if field == "itemType":
        return "Folder" if entry.is_folder else "File"
    if field == "lastModified":
        return None if entry.modified is None else entry.modified.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if field == "childItems":
        _only(field, wanted_folder=True, entry=entry)
        return [
            {"name": item.name, "type": "Folder" if item.is_folder else "File"}
            for item in store.list(entry.path, recursive=False)
        ]
    _only(field, wanted_folder=False, entry=entry)
    return entry.size if field == "size" else entry.md5


def _only(field: str, *, wanted_folder: bool, entry: Entry) -> None:
    if entry.is_folder != wanted_folder:
        raise ActivityFailed(
            f"{field} is there for {'folders' if wanted_folder else 'files'} only, and {entry.path} is none",
            code="BadRequest",
            retriable=False,
        )

"""Rows on their way through a Copy: read from a table, delimited text or JSON, written to any of them.

A row is a list of JSON values beside a list of column names. One row at a time is in memory, however long the file.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from adf_runner.errors import ActivityFailed
from adf_runner.stores import postgres, sqlserver, sqlserver_sink
from adf_runner.stores.delimited import Layout
from adf_runner.stores.delimited_reading import read_rows
from adf_runner.stores.json_path import MISSING, look
from adf_runner.stores.postgres import JSON_DATETIME, Column, Conversion, json_value
from adf_runner.stores.sqlserver_types import SqlColumn, columns_of
from adf_runner.stores.store import Store
from adf_runner.stores.values import as_text

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data

READ_ERROR = "UserErrorInvalidFormat"
BUFFER_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Column names and an iterator of rows, each as long as the names."""

    names: list[str]
    values: Iterator[list[Any]]


@dataclass(slots=True)
class Count:
    """Bytes and files that a reader went through."""

    data: int = 0
    files: int = 0


# Reading


def read_query(
    call: Call, stack: ExitStack, data: Data, conversion: Conversion | None, refused: frozenset[str] = frozenset()
) -> Rows:
    """Read a query: Data Factory's text by a conversion, or without one numbers, booleans and ISO dates.

    Raises ActivityFailed for a column of a `refused` kind.
    """
    source = call.properties["source"]
    writing = conversion or Conversion(datetime=JSON_DATETIME, datetimeoffset=JSON_DATETIME)
    columns: Sequence[Column | SqlColumn]
    rows: Iterator[list[str | None]]
    if sqlserver.is_sql_server(data.service):
        session = stack.enter_context(sqlserver.connect(call, data.service, postgres.timeout_of(source)))
        columns = found = columns_of(sqlserver.start_query(session, data, source), writing)
        _refuse(columns, refused, "cast({} as nvarchar(100))")
        rows = session.all_texts(found)
    else:
        query = postgres.query_of(data, source)
        connection = stack.enter_context(postgres.connect(call, data.service, postgres.timeout_of(source)))
        columns = described = postgres.describe(connection, query)
        _refuse(columns, refused, "{}::text")
        rows = postgres.text_rows(call, connection, postgres.text_select(query, described, writing), len(columns))
    if conversion is None:
        kinds = [column.kind for column in columns]
        return Rows(
            names=[column.name for column in columns],
            values=([json_value(kind, value) for kind, value in zip(kinds, row, strict=True)] for row in rows),
        )
    return Rows(names=[column.name for column in columns], values=rows)


def _refuse(columns: Sequence[Column | SqlColumn], refused: frozenset[str], cast: str) -> None:
    for column in columns:
        if column.kind in refused:
            raise ActivityFailed(
                f"column {column.name!r} is a {column.kind}, which this sink does not take here",
                f"cast it in the query: {cast.format(column.name)}",
                code="UserErrorTypeNotRun",
                retriable=False,
            )


def counted(store: Store, paths: Sequence[str], count: Count) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each file with its pieces, and count files and bytes on the way."""
    for path in paths:
        count.files += 1
        yield path, _count(store.read(path), count)


def _count(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    for piece in pieces:
        count.data += len(piece)
        yield piece


def read_delimited(store: Store, paths: Sequence[str], data: Data, skip: int, count: Count) -> Rows:
    """Read delimited files one after the other; with headers, each must have the same one."""
    layout = Layout.of(data.properties)
    values = _delimited(store, paths, layout, skip, count)
    first = next(values, None)
    if first is None:
        return Rows(names=[], values=iter(()))
    if layout.header:
        return Rows(names=[name or f"Prop_{index}" for index, name in enumerate(first)], values=values)
    return Rows(names=[f"Prop_{index}" for index in range(len(first))], values=_before(first, values))


def _before(first: list[Any], rest: Iterator[list[Any]]) -> Iterator[list[Any]]:
    yield first
    yield from rest


def _delimited(store: Store, paths: Sequence[str], layout: Layout, skip: int, count: Count) -> Iterator[list[Any]]:
    header: list[Any] | None = None
    width = 0
    for path, pieces in counted(store, paths, count):
        for number, row in enumerate(read_rows(layout, pieces, skip)):
            width = width or len(row)
            if len(row) != width:
                raise ActivityFailed(f"{path}: row {number + 1} has {len(row)} columns, not {width}", code=READ_ERROR)
            if layout.header and number == 0:
                if header is None:
                    header = row
                    yield row
                elif row != header:
                    raise ActivityFailed(f"{path}: its header differs from the first file's", code=READ_ERROR)
                continue
            yield row


def json_objects(store: Store, paths: Sequence[str], count: Count) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON files."""
    return (item for _, pieces in counted(store, paths, count) for item in stream_objects(pieces))


def rows_of_objects(objects: Iterator[dict[str, Any]], paths: Mapping[str, str] | None = None) -> Rows:
    """Make rows of objects; with `paths`, column name to JSON path, else the first object gives the columns.

    A later object may lack some columns of the first, but has no others.
    """
    if paths:
        return Rows(names=list(paths), values=([_at(item, path) for path in paths.values()] for item in objects))
    first = next(objects, None)
    if first is None:
        return Rows(names=[], values=iter(()))
    names = list(first)

    def values() -> Iterator[list[Any]]:
        yield [first[name] for name in names]
        for item in objects:
            unknown = next((name for name in item if name not in first), None)
            if unknown is not None:
                raise ActivityFailed(
                    f"an object has the property {unknown!r}, which the first one lacks", code=READ_ERROR
                )
            yield [item.get(name) for name in names]

    return Rows(names=names, values=values())


def _at(item: dict[str, Any], path: str) -> Any:
    value = look(item, path)
    return None if value is MISSING else value


def stream_objects(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON text: one array of objects, or objects one after the other."""
    decoder, decode = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8-sig")()
    source = iter(pieces)
    buffer, position, ended, array = "", 0, False, None
    while True:
        while position < len(buffer) and buffer[position] in " \t\r\n" + ("," if array else ""):
            position += 1
        if position < len(buffer) and array is None:
            array = buffer[position] == "["
            position += int(array)
            continue
        if position < len(buffer) and array and buffer[position] == "]":
            return
        if position < len(buffer):
            try:
                value, position = decoder.raw_decode(buffer, position)
            except ValueError as error:
                if ended:
                    raise ActivityFailed("the file is not JSON", code=READ_ERROR) from error
            else:
                if not isinstance(value, dict):
                    raise ActivityFailed("the file must hold JSON objects", code=READ_ERROR)
                yield value
                continue
        if ended:
            if array:
                raise ActivityFailed("the file's array does not end", code=READ_ERROR)
            return
        piece = next(source, None)
        ended = piece is None
        try:
            buffer, position = buffer[position:] + decode.decode(piece or b"", final=ended), 0
        except UnicodeDecodeError as error:
            raise ActivityFailed("the file is not UTF-8", code="UserErrorInvalidEncoding") from error
        if len(buffer) > BUFFER_LIMIT:
            raise ActivityFailed("an object is larger than 64 MB", code=READ_ERROR)


# Writing


def write_delimited(rows: Rows, layout: Layout, write: Callable[[bytes], None], conversion: Conversion) -> int:
    """Write rows as delimited text and return how many."""
    if layout.header:
        write(layout.encode(layout.row(rows.names)))
    number = 0
    for row in rows.values:
        number += 1
        write(
            layout.encode(layout.row([as_text(value, boolean_as_number=conversion.boolean_as_number) for value in row]))
        )
    return number


def write_json(rows: Rows, pattern: str, write: Callable[[bytes], None]) -> int:
    """Write rows as JSON objects: one a line (setOfObjects) or as one array (arrayOfObjects)."""
    array = pattern == "arrayOfObjects"
    number = 0
    for row in rows.values:
        lead = ("[" if number == 0 else ",") if array else ("" if number == 0 else "\r\n")
        text = json.dumps(dict(zip(rows.names, row, strict=True)), ensure_ascii=False, separators=(",", ":"))
        write((lead + text).encode())
        number += 1
    if array:
        write(b"]" if number else b"[]")
    return number


def write_table(call: Call, rows: Rows, data: Data, sink: Mapping[str, Any]) -> int:
    """Write rows into a table in one transaction with the preCopyScript: all of it or nothing."""
    if sqlserver.is_sql_server(data.service):
        return sqlserver_sink.write_table(call, rows.names, rows.values, data)
    with (
        postgres.connect(call, data.service, 7 * 86400.0) as connection,
        connection.transaction(),
        connection.cursor() as cursor,
    ):
        if sink.get("preCopyScript"):
            cursor.execute(str(sink["preCopyScript"]).encode())
        columns = sql.SQL(", ").join(map(sql.Identifier, rows.names))
        number = 0
        if rows.names:
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(postgres.table_of(data), columns)
            with cursor.copy(statement) as copy:
                for row in rows.values:
                    number += 1
                    copy.write_row([as_text(value) for value in row])
                    if number % postgres.CHECK_EVERY_ROWS == 0:
                        call.check_time()
        return number

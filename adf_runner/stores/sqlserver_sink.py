"""Rows into a table of SQL Server: insert or upsert, in one transaction with the preCopyScript.

Rows go as JSON in one parameter a batch (openjson: SQL Server 2016 and later, compatibility level 130), a few as one
parameter a value. The server casts them to the table's types; texts are not cast, so that one that is too long is an
error. A table that is missing is not made here. Stored procedures as sinks are not run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adf_runner.errors import ActivityFailed
from adf_runner.stores.sqlserver import Session, connect, table_of
from adf_runner.stores.sqlserver_types import quoted
from adf_runner.stores.values import as_text

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data

BATCH_ROWS, BATCH_BYTES = 2_000, 1024 * 1024
MOST_PARAMETERS = 1_000  # of one statement; the server allows 2,100
NULL = "cast(null as nvarchar(max))"
WEEK_SECONDS = 7 * 86400.0
TEXTS = {"char", "varchar", "nchar", "nvarchar", "text", "ntext", "xml", "sysname"}
SIZED = {"char": 1, "varchar": 1, "nchar": 2, "nvarchar": 2}
SCALED = {"datetime2", "datetimeoffset", "time"}
CAST = TEXTS | SCALED | {
    "bit", "tinyint", "smallint", "int", "bigint", "decimal", "numeric", "money", "smallmoney", "float", "real", "date",
    "datetime", "smalldatetime", "uniqueidentifier",
}  # fmt: skip
COLUMNS = (
    "select c.name, t.name, c.max_length, c.precision, c.scale from sys.columns c"
    " left join sys.types t on t.user_type_id = c.system_type_id where c.object_id = object_id(%s) order by c.column_id"
)
PRIMARY_KEY = (
    "select c.name from sys.indexes i"
    " join sys.index_columns k on k.object_id = i.object_id and k.index_id = i.index_id"
    " join sys.columns c on c.object_id = k.object_id and c.column_id = k.column_id"
    " where i.is_primary_key = 1 and i.object_id = object_id(%s) order by k.key_ordinal"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A column of the table: its name and type as SQL Server declares it."""

    name: str
    type: str
    declared: str

    @property
    def interim(self) -> str:
        """Return the type in the interim table, whose texts compare as the database's do and not as tempdb's."""
        return f"{self.declared} collate database_default" if self.type in SIZED else self.declared

    def cast(self, value: str) -> str:
        """Return the SQL that makes a text a value of the column."""
        if self.type in TEXTS:
            return value
        if self.type in {"datetime", "smalldatetime"}:  # neither reads a text with seven digits of a second
            return f"cast(cast({value} as datetime2) as {self.declared})"
        return f"cast({value} as {self.declared})"


def write_table(call: Call, names: Sequence[str], rows: Iterator[list[Any]], data: Data) -> int:
    """Write rows and return how many; nothing of them is there after a failure."""
    sink = call.properties["sink"]
    table = table_of(data)
    with connect(call, data.service, WEEK_SECONDS, autocommit=False) as session:
        session.run("set xact_abort on")
        if sink.get("preCopyScript"):
            session.run(str(sink["preCopyScript"]))
            session.drain()
        number = 0
        if names:
            targets = [_target(column, found, table) for column, found in _matched(session, table, names)]
            if str(sink.get("writeBehavior") or "insert").lower() == "upsert":
                keys = _keys(session, table, sink.get("upsertSettings") or {}, targets)
                number = _upsert(session, table, targets, keys, rows)
            else:
                number = _insert(session, table, targets, rows)
        session.connection.commit()
        return number


def _matched(session: Session, table: str, names: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each name of the rows with its column of the table, whose names differ in no case."""
    session.run(COLUMNS, (table,))
    found = {str(row[0]).lower(): row for row in session.rows()}
    if not found:
        raise ActivityFailed(
            f"there is no table {table}", "create it; tables are not made here", code="UserErrorTableMissing"
        )
    for name in names:
        if name.lower() not in found:
            raise ActivityFailed(
                f"the table {table} has no column {name!r}",
                "map it to one of its columns",
                code="UserErrorColumnMapping",
            )
        yield name, found[name.lower()]


def _target(name: str, found: Sequence[Any], table: str) -> Target:
    kind, length, precision, scale = str(found[1]), int(found[2]), int(found[3]), int(found[4])
    if kind not in CAST:
        raise ActivityFailed(
            f"column {name!r} of {table} is of type {kind}, which is not written here",
            "write into a column of another type", code="UserErrorUnsupportedType", retriable=False,
        )  # fmt: skip
    declared = kind
    if kind in SIZED:
        declared = f"{kind}({'max' if length < 0 else length // SIZED[kind]})"
    elif kind in {"decimal", "numeric"}:
        declared = f"{kind}({precision},{scale})"
    elif kind in SCALED:
        declared = f"{kind}({scale})"
    return Target(name=str(found[0]), type=kind, declared=declared)


def _keys(session: Session, table: str, settings: Mapping[str, Any], targets: Sequence[Target]) -> list[Target]:
    """Return the columns that say which row is which: upsertSettings.keys, or the table's primary key."""
    names = [str(name) for name in settings.get("keys") or []]
    if not names:
        session.run(PRIMARY_KEY, (table,))
        names = [str(row[0]) for row in session.rows()]
    by_name = {target.name.lower(): target for target in targets}
    missing = next((name for name in names if name.lower() not in by_name), None)
    if not names or missing is not None:
        what = f"the rows have no key column {missing!r}" if names else f"the table {table} has no primary key"
        raise ActivityFailed(what, "give upsertSettings.keys", code="UserErrorInvalidUpsertKey", retriable=False)
    return [by_name[name.lower()] for name in names]


def _insert(session: Session, table: str, targets: Sequence[Target], rows: Iterator[list[Any]]) -> int:
    columns = ", ".join(quoted(target.name) for target in targets)
    values = ", ".join(target.cast(f"j.c{index}") for index, target in enumerate(targets))
    head = f"insert into {table} ({columns}) select {values} from ".replace("%", "%%")  # noqa: S608 - names are quoted
    shape = ", ".join(f"c{index} nvarchar(max) '$[{index}]'" for index in range(len(targets)))
    names = ", ".join(f"c{index}" for index in range(len(targets)))
    number = 0
    for lines, others in _batches(rows, max(1, MOST_PARAMETERS // len(targets))):
        if lines:
            session.run(f"{head}openjson(%s) with ({shape}) as j", (f"[{','.join(lines)}]",))
            session.drain()
        if others:
            marks = ", ".join(f"({', '.join(NULL if value is None else '%s' for value in row)})" for row in others)
            given = [value for row in others for value in row if value is not None]
            statement = f"{head}(values {marks}) as j ({names})"
            session.run(statement if given else statement.replace("%%", "%"), given)
            session.drain()
        number += len(lines) + len(others)
    return number


def _batches(rows: Iterator[list[Any]], most: int) -> Iterator[tuple[list[str], list[list[str | None]]]]:
    """Yield rows as JSON arrays of texts, some thousands or about a megabyte at a time, and `most` others at most.

    Rows with a text that JSON must escape are the others, and go as one parameter a value: Babelfish's openjson keeps
    the escapes in its texts.
    """
    lines: list[str] = []
    others: list[list[str | None]] = []
    size = 0
    for row in rows:
        texts = [as_text(value) for value in row]
        line = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
        size += len(line)
        if "\\" in line:
            others.append(texts)
        else:
            lines.append(line)
        if len(lines) >= BATCH_ROWS or size >= BATCH_BYTES or len(others) >= most:
            yield lines, others
            lines, others, size = [], [], 0
    if lines or others:
        yield lines, others


def _upsert(
    session: Session, table: str, targets: Sequence[Target], keys: Sequence[Target], rows: Iterator[list[Any]]
) -> int:
    """Load into an interim table, then update the rows that are there and insert the others."""
    interim = "[#adf_runner_interim]"
    declared = ", ".join(f"{quoted(target.name)} {target.interim} null" for target in targets)
    session.run(f"create table {interim} ({declared})")
    number = _insert(session, interim, targets, rows)
    names = ", ".join(quoted(key.name) for key in keys)
    session.run(f"select top 1 1 from {interim} group by {names} having count(*) > 1")  # noqa: S608 - names are quoted
    if list(session.rows()):
        raise ActivityFailed(
            "two rows have the same key, and an upsert cannot write both", "make the rows distinct by the keys",
            code="SqlOperationFailed", retriable=False,
        )  # fmt: skip
    same = " and ".join(f"t.{quoted(key.name)} = s.{quoted(key.name)}" for key in keys)
    others = [target for target in targets if target not in keys]
    if others:
        changes = ", ".join(f"{quoted(target.name)} = s.{quoted(target.name)}" for target in others)
        session.run(f"update t set {changes} from {table} as t join {interim} as s on {same}")  # noqa: S608
    columns = ", ".join(quoted(target.name) for target in targets)
    values = ", ".join(f"s.{quoted(target.name)}" for target in targets)
    session.run(
        f"insert into {table} ({columns}) select {values} from {interim} as s"  # noqa: S608
        f" where not exists (select 1 from {table} as t where {same})"
    )
    session.run(f"drop table {interim}")
    return number

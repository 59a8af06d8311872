"""PostgreSQL as a source, a sink and a place for scripts (linked service AzurePostgreSql 2.0).

Rows are read with COPY, so memory stays constant; the server turns values into the text that Data Factory writes.
A type whose text in Data Factory is not known is refused with the cast that settles it. Messages of the database are
kept only where they cannot hold row data.
"""

from __future__ import annotations

import re
import selectors
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from adf_runner.errors import ActivityFailed
from adf_runner.factory.shapes import seconds

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data, Service

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SPEAKING_CLASSES = {"08", "0A", "28", "3D", "3F", "42", "53", "55", "57", "58"}
KINDS = {
    16: "boolean", 20: "integer", 21: "integer", 23: "integer", 26: "integer", 700: "float", 701: "float", 1700: "decimal",
    18: "string", 19: "string", 25: "string", 114: "string", 142: "string", 705: "string", 1042: "string", 1043: "string",
    2950: "string", 3802: "string", 1082: "date", 1114: "datetime", 1184: "datetimeoffset",
}  # fmt: skip
ADF_DATETIME = "yyyy-MM-dd HH:mm:ss.fffffff"
ADF_DATETIMEOFFSET = "yyyy-MM-dd HH:mm:ss.fffffff zzz"
JSON_DATETIME = "yyyy-MM-ddTHH:mm:ss.fffffffZ"
DOTNET_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|\\.|yyyy|yy|MM|dd|HH|mm|ss|f{1,7}|zzz|.", re.DOTALL)
TO_CHAR = {"yyyy": "YYYY", "yy": "YY", "MM": "MM", "dd": "DD", "HH": "HH24", "mm": "MI", "ss": "SS"}
DATE_HINT = "use yyyy MM dd HH mm ss f..fffffff zzz"
CHECK_EVERY_ROWS = 5_000
BATCH_BYTES = 1024 * 1024
WAIT_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column and its interim type: string, boolean, integer, decimal, float, date, datetime, datetimeoffset."""

    name: str
    kind: str = "string"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How values become text: the formats of the Copy translator, or Data Factory's own."""

    datetime: str = ADF_DATETIME
    datetimeoffset: str = ADF_DATETIMEOFFSET
    boolean_as_number: bool = False


def database_error(error: psycopg.Error, what: str) -> ActivityFailed:
    """Make an activity error that names state and condition, and repeats the message only where it holds no data."""
    state = error.sqlstate or ""
    condition = type(error).__name__
    message = (str(error).strip().splitlines() or [condition])[0]
    if not state and isinstance(error, psycopg.OperationalError):
        return ActivityFailed(f"{what}: {message}", code="UserErrorPostgreSqlConnection", failure_type="SystemError")
    said = f": {error.diag.message_primary}" if state[:2] in SPEAKING_CLASSES and error.diag.message_primary else ""
    return ActivityFailed(f"{what}: {condition} (SQLSTATE {state or 'none'}){said}", code=f"PostgreSql{state}")


@contextmanager
def connect(call: Call, service: Service, statement_seconds: float) -> Iterator[psycopg.Connection[Any]]:
    """Open a session; cancelling the run cancels what it executes."""
    properties = service.properties
    password = call.engine.services.secret(call, properties.get("password"), "linkedServiceName.password")
    where = f"PostgreSQL {properties['server']}"
    limit = max(1, round(min(statement_seconds, call.deadline - time.monotonic()) * 1000))
    try:
        connection = psycopg.connect(
            host=str(properties["server"]), port=service.whole("port", 5432), dbname=str(properties["database"]),
            user=str(properties["username"]), password=password, sslmode=SSL_MODES[service.whole("sslMode", 2)],
            connect_timeout=service.whole("timeout", 15) or 15, autocommit=True, client_encoding="UTF8",
            options=f"-c timezone=UTC -c datestyle=ISO -c statement_timeout={min(limit, 2**31 - 1)}",
        )  # fmt: skip
    except psycopg.Error as error:
        raise database_error(error, where) from error
    with closing(connection), call.engine.cancelling(connection.cancel):
        try:
            yield connection
        except psycopg.errors.QueryCanceled as error:
            call.check_time()
            raise ActivityFailed(f"{where}: the query took longer than allowed", code="Timeout") from error
        except psycopg.Error as error:
            raise database_error(error, where) from error


def query_of(data: Data, source: Mapping[str, Any]) -> str:
    """Return the source's query, or one that reads the dataset's table."""
    if source.get("query"):
        return str(source["query"]).strip().rstrip(";").rstrip()
    return sql.SQL("SELECT * FROM {}").format(table_of(data)).as_string(None)


def table_of(data: Data) -> sql.Identifier:
    """Return the quoted name of a dataset's table."""
    properties = data.properties
    if properties.get("table"):
        parts = [part for part in (properties.get("schema"), properties["table"]) if part]
        return sql.Identifier(*map(str, parts))
    if properties.get("tableName"):
        return sql.Identifier(*(part.strip('"') for part in str(properties["tableName"]).split(".")))
    raise ActivityFailed(
        f"dataset {data.name!r} names no table and the source brings no query", code="BadRequest", retriable=False
    )


def describe(connection: psycopg.Connection[Any], query: str) -> list[Column]:
    """Return the columns of a query without running it; refuses types whose text in Data Factory is not known."""
    if not re.match(r"(?is)^(\s|--[^\n]*\n|/\*.*?\*/|\()*(select|with|values|table)\b", query):
        raise ActivityFailed(
            "the query must be one SELECT, WITH, VALUES or TABLE statement", code="BadRequest", retriable=False
        )
    raw = connection.pgconn
    prepared = raw.prepare(b"", query.encode())
    if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(prepared)
    described = raw.describe_prepared(b"")
    columns = []
    for index in range(described.nfields):
        name, oid = (described.fname(index) or b"").decode(), described.ftype(index)
        if oid not in KINDS:
            raise ActivityFailed(
                f"column {name!r} has a type (oid {oid}) whose text in Data Factory is not known",
                f"cast it in the query: {name}::text, to_char(...) or encode(...)",
                code="UserErrorUnsupportedType",
                retriable=False,
            )
        columns.append(Column(name=name, kind=KINDS[oid]))
    if not columns:
        raise ActivityFailed("the query gives no columns", code="BadRequest", retriable=False)
    return columns


def to_char(column: sql.Composable, pattern: str) -> sql.Composable:
    """Translate a custom .NET date format to SQL; anything that is not a plain custom specifier is refused."""
    parts: list[str] = []
    for part in DOTNET_TOKEN.findall(pattern):
        if part in TO_CHAR:
            parts.append(TO_CHAR[part])
        elif part[0] == "f":
            parts.append(f"FF{len(part)}" if len(part) < 7 else 'FF6"0"')
        elif part == "zzz":
            parts.append('"+00:00"')
        else:
            literal = part[1:-1] if part[0] in "'\"" else part[-1]
            if len(part) == 1 and part in "dfFgHhKmMstyz%":
                raise ActivityFailed(
                    f"date format {pattern!r}: {part!r} is not supported", DATE_HINT, code="BadRequest", retriable=False
                )
            parts.append('"' + literal.replace("\\", "\\\\").replace('"', '\\"') + '"' if literal else "")
    return sql.SQL("to_char({}, {})").format(column, sql.Literal("".join(parts)))


def as_text(column: Column, name: sql.Composable, conversion: Conversion) -> sql.Composable:
    """Return the SQL that gives a column's value as Data Factory's text."""
    if column.kind == "boolean":
        yes, no = ("1", "0") if conversion.boolean_as_number else ("True", "False")
        return sql.SQL("CASE WHEN {0} THEN {1} WHEN NOT {0} THEN {2} END").format(
            name, sql.Literal(yes), sql.Literal(no)
        )
    if column.kind == "float":
        return sql.SQL("replace({}::text, 'e', 'E')").format(name)
    if column.kind in {"date", "datetime"}:
        return to_char(sql.SQL("{}::timestamp").format(name) if column.kind == "date" else name, conversion.datetime)
    if column.kind == "datetimeoffset":
        return to_char(name, conversion.datetimeoffset)
    return name


def text_select(
    query: str, columns: Sequence[Column], conversion: Conversion, chosen: Sequence[int] | None = None
) -> sql.Composed:
    """Wrap a query so that every column comes as text; `chosen` picks and orders columns by index."""
    names = [sql.Identifier(f"c{index}") for index in range(len(columns))]
    picked = range(len(columns)) if chosen is None else chosen
    texts = sql.SQL(", ").join(as_text(columns[index], names[index], conversion) for index in picked)
    aliases = sql.SQL(", ").join(names)
    inner = sql.SQL(query)  # the pipeline's own SQL, run as it stands
    return sql.SQL("SELECT {} FROM (\n{}\n) AS source({})").format(texts, inner, aliases)


def copy_lines(
    call: Call, connection: psycopg.Connection[Any], select: sql.Composed, options: sql.Composable
) -> Iterator[list[bytes]]:
    """Yield the lines (each one row, ending in LF) that COPY TO STDOUT gives, about a megabyte at a time.

    Reads from libpq itself: a call for every row through psycopg's Copy would cost more than the row.
    """
    statement = sql.SQL("COPY ({}) TO STDOUT ({})").format(select, options)
    raw = connection.pgconn
    raw.send_query(statement.as_bytes(connection))
    while raw.flush():
        select_ready(raw.socket, call, writing=True)
    _await_result(raw, call, psycopg.pq.ExecStatus.COPY_OUT)
    take = raw.get_copy_data
    lines: list[bytes] = []
    size = 0
    while True:
        count, line = take(1)
        if count > 0:
            lines.append(bytes(line))
            size += count
            if size >= BATCH_BYTES:
                call.check_time()
                yield lines
                lines, size = [], 0
        elif count == 0:
            select_ready(raw.socket, call)
            raw.consume_input()
        else:
            break
    if lines:
        yield lines
    _await_result(raw, call, psycopg.pq.ExecStatus.COMMAND_OK)


def _await_result(raw: psycopg.pq.abc.PGconn, call: Call, wanted: psycopg.pq.ExecStatus) -> None:
    """Take the next result, waiting without blocking a cancel; raises the database's error when it is another."""
    while raw.is_busy():
        select_ready(raw.socket, call)
        raw.consume_input()
    result = raw.get_result()
    if result is None or result.status != wanted:
        if result is None:
            raise psycopg.OperationalError("the server ended the copy")
        raise psycopg.errors.error_from_result(result)


def select_ready(socket: int, call: Call, *, writing: bool = False) -> None:
    """Wait for the server a little while, then look whether the run still wants the answer."""
    with selectors.DefaultSelector() as selector:
        selector.register(socket, selectors.EVENT_WRITE if writing else selectors.EVENT_READ)
        if not selector.select(WAIT_SECONDS):
            call.check_time()


def text_rows(
    call: Call, connection: psycopg.Connection[Any], select: sql.Composed, columns: int
) -> Iterator[list[str | None]]:
    """Yield rows as lists of text and None."""
    statement = sql.SQL("COPY ({}) TO STDOUT").format(select)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["text"] * columns)
        for count, row in enumerate(copy.rows(), 1):
            if count % CHECK_EVERY_ROWS == 0:
                call.check_time()
            yield list(row)


def json_value(kind: str, text: str | None) -> Any:
    """Return a value of PostgreSQL's text form as JSON has it."""
    if text is None:
        return None
    if kind == "boolean":
        return text in {"True", "1"}
    if kind == "integer":
        return int(text)
    if kind in {"decimal", "float"}:
        return float(text) if "." in text or "E" in text or not text.lstrip("-").isdigit() else int(text)
    if kind in {"datetime", "datetimeoffset", "date"}:
        return text.replace(".0000000Z", "Z")
    return text


def timeout_of(source: Mapping[str, Any]) -> float:
    """Return the longest time of a query in seconds."""
    return float(seconds(source.get("queryTimeout", "02:00:00")))

"""SQL Server, Azure SQL Database and Managed Instance as a source, a sink and a place for scripts.

A query runs as it stands, and its rows are read one batch at a time. Names are quoted in brackets and values go as
parameters. The driver is an extra; see tds.py. Messages of the server are kept only where they cannot hold row data.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from adf_runner.errors import ActivityFailed
from adf_runner.stores.sqlserver_address import address_of
from adf_runner.stores.sqlserver_types import SqlColumn, quoted, quoted_name
from adf_runner.stores.sqlserver_values import parameters_of

if TYPE_CHECKING:
    from adf_runner.run.engine import Call
    from adf_runner.run.linked_services import Data, Service

SERVICES = ("AzureSqlDatabase", "AzureSqlMI", "SqlServer")
SOURCES = frozenset({"AzureSqlSource", "SqlMISource", "SqlServerSource", "SqlSource"})
SINKS = frozenset({"AzureSqlSink", "SqlMISink", "SqlServerSink", "SqlSink"})
ISOLATION = {
    "ReadCommitted": "read committed", "ReadUncommitted": "read uncommitted", "RepeatableRead": "repeatable read",
    "Serializable": "serializable", "Snapshot": "snapshot",
}  # fmt: skip
# Messages with these numbers name things, rights and limits, never values of rows (sys.messages).
SPEAKING = frozenset({
    102, 105, 156, 170, 201, 206, 207, 208, 209, 213, 229, 230, 262, 297, 529, 911, 916, 1033, 1205, 1222, 2714, 2812, 3701, 3902,
    3903, 3952, 3960, 4060, 4104, 4121, 8117, 8134, 8144, 8145, 8146, 10928, 10929, 18452, 18456, 40197, 40501, 40613, 40615,
    49918, 49919, 49920,
})  # fmt: skip
ASLEEP = frozenset({40197, 40501, 40613, 49918, 49919, 49920})  # an Azure SQL database that wakes, moves or is busy
FETCH_ROWS = 1_000
# Data type mapping for Azure SQL Database, learn.microsoft.com/azure/data-factory/connector-azure-sql-database
INTERIM = {
    **dict.fromkeys(("char", "varchar", "nchar", "nvarchar", "text", "ntext", "xml", "sysname"), "String"),
    **dict.fromkeys(("binary", "varbinary", "image", "timestamp"), "Byte[]"),
    **dict.fromkeys(("date", "datetime", "datetime2", "smalldatetime"), "DateTime"),
    **dict.fromkeys(("decimal", "numeric", "money", "smallmoney"), "Decimal"),
    "bigint": "Int64", "bit": "Boolean", "datetimeoffset": "DateTimeOffset", "float": "Double", "int": "Int32",
    "real": "Single", "smallint": "Int16", "time": "TimeSpan", "tinyint": "Byte", "uniqueidentifier": "Guid",
}  # fmt: skip


def is_sql_server(service: Service) -> bool:
    """Say whether a linked service is one of the three that speak T-SQL."""
    return service.type in SERVICES


class Session:
    """An open connection: runs batches and reads their rows, and ends when the run is cancelled."""

    def __init__(self, call: Call, connection: Any, next_result: Callable[[Any], bool]) -> None:
        self.call = call
        self.connection = connection
        self.cursor = connection.cursor()
        self._next = next_result

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a batch; with values, every %s is one of them. Returns the rows that its first statement changed."""
        self.call.check_time()
        if values:
            self.cursor.execute(statement, tuple(values))
        else:
            self.cursor.execute(statement)
        return max(0, int(self.cursor.rowcount))

    def next_result(self) -> bool:
        """Go on to the next statement's result."""
        return self._next(self.cursor)

    def find_rows(self) -> Any:
        """Go on to the first result that has columns; returns its description, or None when the batch has none."""
        while self.cursor.description is None and self.next_result():
            pass
        return self.cursor.description

    def rows(self) -> Iterator[list[Any]]:
        """Yield the rows of the present result, a batch of them in memory."""
        while batch := self.cursor.fetchmany(FETCH_ROWS):
            self.call.check_time()
            yield from batch

    def texts(self, columns: Sequence[SqlColumn]) -> Iterator[list[str | None]]:
        """Yield the rows as Data Factory's texts. Raises ActivityFailed for a value that has none."""
        writers = [column.write for column in columns]
        for row in self.rows():
            try:
                yield [None if value is None else write(value) for write, value in zip(writers, row, strict=True)]
            except (ValueError, OverflowError) as error:
                raise ActivityFailed(
                    "a date with its offset is outside of the years 1 to 9999", "cast the column in the query",
                    code="UserErrorInvalidValue", retriable=False,
                ) from error  # fmt: skip

    def all_texts(self, columns: Sequence[SqlColumn]) -> Iterator[list[str | None]]:
        """Yield the rows as texts and read on to the end of the batch: an error after the rows is an error."""
        yield from self.texts(columns)
        while self.next_result():
            for _ in self.rows() if self.cursor.description is not None else ():
                pass

    def drain(self) -> int:
        """Read the batch to its end, so that a late error is seen; returns the rows changed by what gave no columns."""
        changed = 0
        while True:
            if self.cursor.description is None:
                changed += max(0, int(self.cursor.rowcount))
            else:
                for _ in self.rows():
                    pass
            if not self.next_result():
                return changed


def database_error(error: Exception, what: str) -> ActivityFailed:
    """Make an activity error with the server's number; repeats its message only where that holds no data."""
    number = int(getattr(error, "number", 0))
    if not number:
        reason = str(error) or str(error.__cause__ or "") or type(error).__name__
        return ActivityFailed(f"{what}: {reason}", code="SqlFailedToConnect", failure_type="SystemError")
    text = " ".join(str(getattr(error, "text", "")).split())
    said = f": {text}" if number in SPEAKING and text else ""
    severity, state = getattr(error, "severity", 0), getattr(error, "state", 0)
    return ActivityFailed(
        f"{what}: A database operation failed, SqlErrorNumber={number},Class={severity},State={state}{said}",
        code="SqlOperationFailed",
    )


def procedure_error(error: Exception, what: str) -> ActivityFailed:
    """Make the error of a stored procedure as its activity reports it: code 2402, and the number in its words."""
    number, plain = int(getattr(error, "number", 0)), database_error(error, what)
    if not number:
        return plain
    _, _, said = plain.message.partition(f",State={getattr(error, 'state', 0)}: ")
    text = f"{what}: Execution fail against sql server. Sql error number: {number}."
    return ActivityFailed(f"{text} Error Message: {said}" if said else text, code="2402")


@contextmanager
def connect(
    call: Call, service: Service, statement_seconds: float, *, autocommit: bool = True,
    report: Callable[[Exception, str], ActivityFailed] = database_error,
) -> Iterator[Session]:  # fmt: skip
    """Open a session; cancelling the run breaks the connection, on which the server stops and rolls back.

    `report` makes the activity's error of what the server refuses.
    """
    tds = _driver(service)
    address = address_of(call, service)
    where = f"SQL Server {address.host}"
    limit = max(1.0, min(statement_seconds, call.deadline - time.monotonic()))
    try:
        connection = _open(call, service, lambda: tds.open_connection(address, limit, autocommit=autocommit))
    except TimeoutError as error:  # the driver retries until its time is over, and keeps what went wrong as the cause
        raise database_error(error.__cause__ if isinstance(error.__cause__, Exception) else error, where) from error
    except (tds.pytds.Error, OSError, tds.SSL.Error) as error:
        raise database_error(error, where) from error
    with call.engine.cancelling(lambda: tds.hang_up(connection)):
        try:
            yield Session(call, connection, tds.next_result)
        except TimeoutError as error:
            call.check_time()
            raise ActivityFailed(f"{where}: the query took longer than allowed", code="Timeout") from error
        except (tds.pytds.Error, OSError, tds.SSL.Error) as error:
            call.check_time()
            raise report(error, where) from error
        finally:
            tds.hang_up(connection)
            with contextlib.suppress(tds.pytds.Error, OSError, tds.SSL.Error):
                connection.close()


def _driver(service: Service) -> Any:
    try:
        from adf_runner.stores import tds
    except ImportError as error:
        raise ActivityFailed(
            f"linked service {service.name!r} is a {service.type}, and the driver python-tds is not installed",
            "pip install -r requirements-sqlserver.txt",
            code="DriverMissing",
            retriable=False,
        ) from error
    return tds


def _open(call: Call, service: Service, attempt: Callable[[], Any]) -> Any:
    """Connect, again where an Azure SQL database sleeps: connectRetryCount times (1), connectRetryInterval s apart (10)."""
    for _ in range(service.whole("connectRetryCount", 1)):
        try:
            return attempt()
        except Exception as error:
            cause = error.__cause__ or error
            if getattr(cause, "number", 0) not in ASLEEP:
                raise
        call.pause(service.whole("connectRetryInterval", 10))
    return attempt()


# Queries


def table_of(data: Data) -> str:
    """Return the quoted name of a dataset's table."""
    properties = data.properties
    if properties.get("table"):
        parts = [str(part) for part in (properties.get("schema"), properties["table"]) if part]
        return ".".join(map(quoted, parts))
    if properties.get("tableName"):
        return quoted_name(str(properties["tableName"]))
    raise ActivityFailed(
        f"dataset {data.name!r} names no table and the source brings no query", code="BadRequest", retriable=False
    )


def start_query(session: Session, data: Data, source: Mapping[str, Any]) -> Any:
    """Run a source's query, procedure or table; returns the description of its first rows."""
    level = source.get("isolationLevel")
    if level:
        session.run(f"set transaction isolation level {ISOLATION[str(level)]}")
    if source.get("sqlReaderStoredProcedureName"):
        run_procedure(session, str(source["sqlReaderStoredProcedureName"]), source.get("storedProcedureParameters"))
    elif source.get("sqlReaderQuery"):
        session.run(str(source["sqlReaderQuery"]))
    else:
        session.run(f"select * from {table_of(data)}")  # noqa: S608 - the name is quoted
    return session.find_rows()


def structure_of(session: Session, table: str) -> list[dict[str, str]]:
    """Return name and interim type of each column of a table or view, none where it is missing."""
    session.run(
        "select c.name, t.name from sys.columns c left join sys.types t on t.user_type_id = c.system_type_id"
        " where c.object_id = object_id(%s) order by c.column_id",
        (table,),
    )
    return [{"name": str(name), "type": INTERIM.get(str(kind), "Object")} for name, kind in session.rows()]


def run_procedure(session: Session, name: str, parameters: Any) -> None:
    """Execute a stored procedure with typed values."""
    names, values = parameters_of(parameters or {})
    arguments = ", ".join(f"{key} = %s" for key in names)
    procedure = quoted_name(name)
    session.run(f"exec {procedure.replace('%', '%%') if values else procedure} {arguments}", values)

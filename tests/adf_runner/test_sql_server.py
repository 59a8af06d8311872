"""SQL Server as a source, a sink and a place for scripts, against a real server that speaks TDS."""

from __future__ import annotations

import csv
import io
import re
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from factory_support import (
    PATHS,
    SERVICES,
    Cloud,
    Documents,
    activity,
    blob_location,
    dataset,
    expression,
    linked_service,
    pipeline,
    secret,
    to,
)
from sql_server import CuttingProxy, Server, running_server

from adf_runner import ActivityFailed, PipelineRun, factory_from_documents, run_pipeline
from adf_runner.activities.table import HANDLERS
from adf_runner.run.engine import Engine
from adf_runner.run.linked_services import Service

pytds = pytest.importorskip("pytds", reason="the driver is an extra: pip install -r requirements-sqlserver.txt")
from adf_runner.stores import tds  # noqa: E402
from adf_runner.stores.sqlserver_address import address_of  # noqa: E402
from adf_runner.stores.sqlserver_types import double_text  # noqa: E402

BLOB_WRITE = {"type": "AzureBlobStorageWriteSettings"}
BLOB_READ = {"type": "AzureBlobStorageReadSettings"}
CSV = {
    "type": "DelimitedTextSink",
    "storeSettings": BLOB_WRITE,
    "formatSettings": {"type": "DelimitedTextWriteSettings", "fileExtension": ".csv"},
}
DOCUMENTS: Documents = {
    **SERVICES,
    **linked_service("azure-sql", "AzureSqlDatabase", {
        "server": "sql.example", "database": "d", "encrypt": "mandatory", "trustServerCertificate": True,
        "authenticationType": "SQL", "userName": "u", "encryptedCredential": "only Azure reads it", "connectTimeout": 5,
    }),
    **linked_service("old", "SqlServer", {
        "connectionString": "Integrated Security=False;Data Source=db;Initial Catalog=master;User ID=sa",
        "password": {"type": "SecureString", "value": "x"}, "connectTimeout": 3,
    }),
    **dataset("table", "AzureSqlTable", "azure-sql", {"schema": "dbo", "table": expression("@dataset().table")},
              parameters={"table": {"type": "string", "defaultValue": "none"}}),
    **dataset("old-table", "SqlServerTable", "old", {"schema": "dbo", "table": "t"}),
    **dataset("text", "DelimitedText", "storage", {"location": blob_location(), "firstRowAsHeader": True, "escapeChar": '"',
                                                   "quoteChar": '"'}, **PATHS),
    **dataset("json", "Json", "storage", {"location": blob_location()}, **PATHS),
}  # fmt: skip
EVERYTHING = (
    "select cast(1 as bit) as b, cast(255 as tinyint) as t, cast(-9223372036854775808 as bigint) as l,"
    " cast('12345678901234567890123456789012345.678' as decimal(38,3)) as d, cast(1.5 as decimal(10,2)) as d2,"
    " cast('-922337203685477.5808' as money) as m, cast(0.1 as float) as f, cast('1e300' as float) as big,"
    " cast('2026-01-02' as date) as day, cast('9999-12-31 23:59:59.997' as datetime) as dt,"
    " cast('0001-01-01 10:11:12.123456' as datetime2(6)) as dt2,"
    " cast('2026-01-02 10:11:12.123456 +02:00' as datetimeoffset(6)) as dto, cast(N'aé😀\"' as nvarchar(10)) as n,"
    " cast('00112233-4455-6677-8899-aabbccddeeff' as uniqueidentifier) as u, cast(null as int) as nothing"
)
TEXTS = (
    "True,255,-9223372036854775808,12345678901234567890123456789012345.678,1.50,-922337203685477.5808,0.1,1E+300,"
    "2026-01-02 00:00:00.0000000,9999-12-31 23:59:59.9970000,0001-01-01 10:11:12.1234560,2026-01-02 10:11:12.1234560 +02:00,"
    '"aé😀""",00112233-4455-6677-8899-aabbccddeeff,'
)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as found:
        yield found


@pytest.fixture
def sql(server: dict[str, str]) -> Iterator[Callable[..., list[list[Any]]]]:
    """Run a batch by a connection of its own, and return its rows."""
    address = tds.Address(
        host=server["host"], port=int(server["port"]), database=server["database"], user=server["user"],
        password=server["password"], trust=True,
    )  # fmt: skip
    connection = tds.open_connection(address, 60, autocommit=True)

    def execute(*statements: str) -> list[list[Any]]:
        rows: list[list[Any]] = []
        for statement in statements:
            cursor = connection.cursor()
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
        return rows

    yield execute
    tds.hang_up(connection)
    connection.close()


def overriding(server: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "server": f"{server['host']},{server['port']}",
        "database": server["database"],
        "userName": server["user"],
        "password": server["password"],
        **more,
    }


def run_one(cloud: Cloud, server: dict[str, str], *activities: dict[str, Any], **more: Any) -> PipelineRun:
    documents = {**DOCUMENTS, **pipeline(list(activities))}
    linked = {"azure-sql": overriding(server, **more), "old": overriding(server)}
    return run_pipeline(factory_from_documents(documents), "main", {}, cloud.overrides(**linked))


def look(query: str = "", **source: Any) -> dict[str, Any]:
    given_source = {"type": "AzureSqlSource", **({"sqlReaderQuery": query} if query else {}), **source}
    return activity("Look", "Lookup", {"source": given_source, "dataset": to("table"), "firstRowOnly": False})


def extract(query: str = "", *, file: str = "sql.csv", table: str = "none", **more: Any) -> dict[str, Any]:
    source = {"type": "AzureSqlSource", **({"sqlReaderQuery": query} if query else {}), **more.pop("source", {})}
    properties = {"source": source, "sink": CSV, **more}
    return activity(
        "Copy", "Copy", properties, inputs=[to("table", table=table)], outputs=[to("text", folder="sql", file=file)]
    )


def load(table: str, file: str, **sink: Any) -> dict[str, Any]:
    properties = {
        "source": {"type": "DelimitedTextSource", "storeSettings": BLOB_READ},
        "sink": {"type": "AzureSqlSink", **sink},
    }
    return activity(
        "Copy", "Copy", properties, inputs=[to("text", folder="sql", file=file)], outputs=[to("table", table=table)]
    )


def script(*blocks: dict[str, Any]) -> dict[str, Any]:
    return activity("Script", "Script", {"scripts": list(blocks)}, linkedServiceName=AZURE_SQL)


NUMBERS = (
    "with ten as (select n from (values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) as v(n)), numbers as"
    " (select a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n as n from ten a, ten b, ten c, ten d, ten e)"
)
# Some ten seconds, not for ever: the test server goes on with the statement of a client that has left.
SLOW = f"{NUMBERS} select max(a.n - b.n) as x from numbers a cross join (select top (400) n from numbers) b"
AZURE_SQL = {"referenceName": "azure-sql", "type": "LinkedServiceReference"}


def test_every_type_becomes_the_text_of_data_factory(cloud: Cloud, server: dict[str, str]) -> None:
    run = run_one(cloud, server, extract(EVERYTHING))

    assert run.status == "Succeeded", run.message
    assert cloud.blob("sql/sql.csv").decode().split("\r\n")[1] == TEXTS
    assert run.activities[0].output["rowsCopied"] == 1


def test_a_lookup_has_numbers_booleans_and_iso_dates(cloud: Cloud, server: dict[str, str]) -> None:
    run = run_one(cloud, server, look(EVERYTHING))

    assert run.status == "Succeeded", run.message
    row = run.activities[0].output["value"][0]
    assert (row["b"], row["t"], row["f"], row["nothing"], row["n"]) == (True, 255, 0.1, None, 'aé😀"')
    assert (row["day"], row["dto"]) == ("2026-01-02T00:00:00Z", "2026-01-02T08:11:12.1234560Z")


@pytest.mark.parametrize(
    ("value", "cast"),
    [("cast('10:00' as time)", "convert(varchar(16), [x])"), ("0x01", "convert(varchar(max), [x], 2)")],
)
def test_a_type_whose_text_is_unknown_is_refused_with_the_cast(
    cloud: Cloud, server: dict[str, str], value: str, cast: str
) -> None:
    run = run_one(cloud, server, extract(f"select {value} as x"))

    assert cast in str(run.to_json()["activities"][0]["error"]["hint"])


def test_a_query_with_an_order_and_common_table_expressions_runs_as_it_stands(
    cloud: Cloud, server: dict[str, str]
) -> None:
    run = run_one(cloud, server, look("with a as (select 2 as n union all select 1) select n from a order by n"))

    assert run.activities[0].output == {"count": 2, "value": [{"n": 1}, {"n": 2}]}


def test_names_of_a_dataset_are_quoted(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    name = "o'x\"; drop table victim -- %s"
    sql("drop table if exists victim, [o'x\"; drop table victim -- %s]", "create table victim(a int)",
        "create table [o'x\"; drop table victim -- %s](a int)",
        "insert into [o'x\"; drop table victim -- %s] values (7)")  # fmt: skip

    run = run_one(cloud, server, extract(table=name))

    assert run.status == "Succeeded", run.message
    assert cloud.blob("sql/sql.csv") == b"a\r\n7\r\n"
    assert sql("select count(*) from victim") == [[0]]


def test_a_stored_procedure_is_read_with_typed_parameters(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    sql("drop procedure if exists echo_typed",
        "create procedure echo_typed @n int, @t nvarchar(40), @d datetime2, @z int as"
        " select @n + 1 as n, @t as t, @d as d, @z as z")  # fmt: skip
    parameters = {
        "n": {"value": "41", "type": "Int32"},
        "t": {"value": "'; drop table x --", "type": "String"},
        "d": {"value": "2026-11-21T10:00:00Z", "type": "DateTime"},
        "z": {"value": None, "type": "Int32"},
    }
    procedure: dict[str, Any] = {
        "sqlReaderStoredProcedureName": "[dbo].[echo_typed]",
        "storedProcedureParameters": parameters,
    }

    run = run_one(cloud, server, look(**procedure))

    assert run.status == "Succeeded", run.message
    row = run.activities[0].output["value"][0]
    assert (row["n"], row["t"], row["d"], row["z"]) == (42, "'; drop table x --", "2026-11-21T10:00:00Z", None)


def test_a_value_that_is_not_of_its_type_is_refused_without_the_value(cloud: Cloud, server: dict[str, str]) -> None:
    parameters = {"n": {"value": "secret", "type": "Int32"}}

    run = run_one(cloud, server, look(sqlReaderStoredProcedureName="p", storedProcedureParameters=parameters))

    assert "the value of parameter 'n' is not of type Int32" in run.message
    assert "secret" not in run.message


def test_an_error_carries_the_number_and_no_row_data(cloud: Cloud, server: dict[str, str]) -> None:
    divided = run_one(cloud, server, extract("select 1/0 as x"))
    converted = run_one(cloud, server, extract("select cast('secret' as int) as x"))

    assert "SqlErrorNumber=8134,Class=16,State=" in divided.message
    assert converted.status == "Failed"
    assert "secret" not in str(converted.to_json()["activities"][0]["error"])


def test_a_copy_that_fails_in_the_middle_leaves_no_blob(cloud: Cloud, server: dict[str, str]) -> None:
    query = f"{NUMBERS} select n, 10 / (90000 - n) as x from numbers"

    run = run_one(cloud, server, extract(query, file="half.csv"))

    assert "SqlErrorNumber=8134" in run.message
    assert not cloud.container.get_blob_client("sql/half.csv").exists()


def test_an_error_after_the_rows_fails_the_copy(cloud: Cloud, server: dict[str, str]) -> None:
    run = run_one(cloud, server, extract("select 1 as a; select 1/0 as b", file="late.csv"))

    assert "SqlErrorNumber=8134" in run.message
    assert not cloud.container.get_blob_client("sql/late.csv").exists()


def test_rows_go_into_a_table_in_one_transaction_with_the_script_before(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    sql("drop table if exists goal", "create table goal(id int primary key, [na'me] nvarchar(5), at datetime, ok bit, u money)",
        "insert into goal(id) values (1)")  # fmt: skip
    good = "id,na'me,at,ok,u\r\n1,é%s,2026-01-02 10:11:12.1230000,True,1.5\r\n2,,,,\r\n"
    cloud.container.upload_blob("sql/good.csv", good.encode(), overwrite=True)
    cloud.container.upload_blob("sql/bad.csv", good.replace("2,,", "3,longer than five,").encode(), overwrite=True)

    bad = run_one(cloud, server, load("goal", "bad.csv", preCopyScript="delete from goal"))
    before = sql("select id from goal")
    run = run_one(cloud, server, load("goal", "good.csv", preCopyScript="delete from goal"))

    assert (bad.status, before) == ("Failed", [[1]])
    assert run.status == "Succeeded", run.message
    assert run.activities[0].output["rowsCopied"] == 2
    found = sql("select id, [na'me], convert(varchar(30), at, 121), ok, u from goal order by id")
    assert found[0] == [1, "é%s", "2026-01-02 10:11:12.123", True, Decimal("1.5")]


def test_an_upsert_updates_by_the_keys_and_inserts_the_rest(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    sql("drop table if exists merged", "create table merged(id varchar(5) primary key, name nvarchar(20), kept int)",
        "insert into merged values ('1', 'old', 5), ('3', 'three', 6)")  # fmt: skip
    cloud.container.upload_blob("sql/up.csv", b"id,name\r\n1,new\r\n2,two\r\n", overwrite=True)
    cloud.container.upload_blob("sql/twice.csv", b"id,name\r\n1,a\r\n1,b\r\n", overwrite=True)

    run = run_one(cloud, server, load("merged", "up.csv", writeBehavior="upsert", upsertSettings={"keys": ["ID"]}))
    by_primary_key = run_one(cloud, server, load("merged", "up.csv", writeBehavior="upsert"))
    twice = run_one(cloud, server, load("merged", "twice.csv", writeBehavior="upsert"))

    assert run.status == "Succeeded", run.message
    assert sql("select * from merged order by id") == [["1", "new", 5], ["2", "two", None], ["3", "three", 6]]
    assert by_primary_key.status == "Succeeded", by_primary_key.message
    assert "two rows have the same key" in twice.message


def test_a_missing_table_and_a_missing_column_are_named(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    sql("drop table if exists narrow", "create table narrow(id int)")
    cloud.container.upload_blob("sql/wide.csv", b"id,other\r\n1,2\r\n", overwrite=True)

    assert "there is no table [dbo].[nowhere]" in run_one(cloud, server, load("nowhere", "wide.csv")).message
    assert "has no column 'other'" in run_one(cloud, server, load("narrow", "wide.csv")).message


def test_a_script_gives_every_set_of_rows_and_its_output_parameters(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    sql("drop table if exists counted", "create table counted(a int)")
    parameters = [
        {"name": "a", "type": "Int32", "value": 5, "direction": "Input"},
        {"name": "t", "type": "String", "value": "it's", "direction": "InputOutput", "size": 50},
        {"name": "out", "type": "Int64", "direction": "Output"},
    ]
    run = run_one(
        cloud,
        server,
        script(
            {"type": "NonQuery", "text": "insert into counted values (1), (2); insert into counted values (3)"},
            {"type": "Query", "text": "select a from counted order by a; select '50%' as b where 1 = 0; select 2 as c"},
            {
                "type": "Query",
                "text": "select @a as a; set @t = @t + N'!'; set @out = @a * 2",
                "parameters": parameters,
            },
        ),
    )

    assert run.status == "Succeeded", run.message
    output = run.activities[0].output
    assert output["recordsAffected"] == 3
    assert [entry["rows"] for entry in output["resultSets"]] == [
        [{"a": 1}, {"a": 2}, {"a": 3}],
        [],
        [{"c": 2}],
        [{"a": 5}],
    ]
    assert output["outputParameters"] == {"t": "it's!", "out": 10}


def test_a_stored_procedure_runs_and_its_errors_have_the_number(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    sql("drop table if exists log", "create table log(t nvarchar(20), n int)", "drop procedure if exists note",
        "create procedure note @t nvarchar(20), @n int as begin insert into log values (@t, @n); select 1 as x;"
        " if @n < 0 throw 51000, 'too small', 1 end")  # fmt: skip

    def call(number: int) -> PipelineRun:
        parameters = {"t": {"value": "x", "type": "String"}, "n": {"value": number, "type": "Int32"}}
        properties = {"storedProcedureName": "[dbo].[note]", "storedProcedureParameters": parameters}
        return run_one(
            cloud, server, activity("Run", "SqlServerStoredProcedure", properties, linkedServiceName=AZURE_SQL)
        )

    good, bad = call(7), call(-1)

    assert good.status == "Succeeded", good.message
    assert [7] in [row[1:] for row in sql("select * from log")]
    assert "Sql error number: 51000" in bad.message
    assert bad.to_json()["activities"][0]["error"]["errorCode"] == "2402"


def test_metadata_of_a_table_are_structure_columns_and_existence(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    sql("drop table if exists shaped", "create table shaped(id int, name nvarchar(20), at datetimeoffset)")

    def metadata(table: str, *fields: str) -> PipelineRun:
        properties = {"dataset": to("table", table=table), "fieldList": list(fields)}
        return run_one(cloud, server, activity("Meta", "GetMetadata", properties))

    assert metadata("shaped", "structure", "columnCount", "exists").activities[0].output == {
        "structure": [
            {"name": "id", "type": "Int32"}, {"name": "name", "type": "String"}, {"name": "at", "type": "DateTimeOffset"},
        ],
        "columnCount": 3,
        "exists": True,
    }  # fmt: skip
    assert metadata("gone", "exists", "structure").activities[0].output == {"exists": False}
    assert "there is no table" in metadata("gone", "structure").message


def test_the_old_connection_string_is_read_with_the_override_on_top(cloud: Cloud, server: dict[str, str]) -> None:
    source = {"type": "SqlServerSource", "sqlReaderQuery": "select 1 as a"}

    run = run_one(cloud, server, activity("Look", "Lookup", {"source": source, "dataset": to("old-table")}))

    assert run.activities[0].output == {"firstRow": {"a": 1}}, run.message


def test_a_credential_that_only_azure_reads_needs_an_override(cloud: Cloud) -> None:
    documents = {**DOCUMENTS, **pipeline([look("select 1 as a")])}

    run = run_pipeline(factory_from_documents(documents), "main", {}, cloud.overrides())

    assert "has no password that can be read here" in run.message
    assert "override azure-sql: give userName and password" in str(run.to_json()["activities"][0]["error"]["hint"])


def test_a_certificate_is_checked_against_roots_and_host(
    cloud: Cloud, server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "certificate" not in server:
        pytest.skip("this server's certificate is not at hand")
    checked = {"trustServerCertificate": False, "connectTimeout": 2}

    unknown = run_one(cloud, server, look("select 1 as a"), **checked)
    monkeypatch.setenv("SSL_CERT_FILE", server["certificate"])
    known = run_one(cloud, server, look("select 1 as a"), **checked)

    assert unknown.status == "Failed"
    assert "certificate verify failed" in unknown.message
    assert known.status == "Succeeded", known.message


@pytest.mark.parametrize("encrypt", ["optional", "mandatory", True, "false"])
def test_both_kinds_of_encryption_connect(cloud: Cloud, server: dict[str, str], encrypt: Any) -> None:
    run = run_one(cloud, server, look("select 1 as a"), encrypt=encrypt)

    assert run.status == "Succeeded", run.message


def test_isolation_level_holds_for_the_query(cloud: Cloud, server: dict[str, str]) -> None:
    run = run_one(cloud, server, look("select 1 as a", isolationLevel="ReadUncommitted"))

    assert run.status == "Succeeded", run.message


def test_a_query_is_cut_off_at_its_timeout(cloud: Cloud, server: dict[str, str]) -> None:
    run = run_one(cloud, server, look(SLOW, queryTimeout="00:00:01"))

    assert "took longer than allowed" in run.message


def test_cancelling_a_run_ends_its_query(cloud: Cloud, server: dict[str, str]) -> None:
    documents = {**DOCUMENTS, **pipeline([look(SLOW)])}
    overrides = cloud.overrides(**{"azure-sql": overriding(server)})
    engine = Engine(factory_from_documents(documents), overrides, HANDLERS)
    ready, frame = engine.start("main", {})
    thread = threading.Thread(target=engine.run, args=(ready, frame))
    thread.start()
    while not engine._stops:
        thread.join(0.02)

    engine.cancel()
    thread.join(20)

    assert (thread.is_alive(), frame.run.status) == (False, "Cancelled")


def test_a_connection_that_breaks_in_a_copy_is_retried_and_leaves_nothing(cloud: Cloud, server: dict[str, str]) -> None:
    proxy = CuttingProxy(server["host"], int(server["port"]), 200_000)
    copy = extract(f"{NUMBERS} select n, N'some text' as t from numbers", file="cut.csv")
    broken = {**server, "host": "127.0.0.1", "port": str(proxy.port)}

    once = run_one(cloud, broken, copy)
    there = cloud.container.get_blob_client("sql/cut.csv").exists()
    proxy.connections = 0
    again = run_one(cloud, broken, {**copy, "policy": {"retry": 1, "retryIntervalInSeconds": 30}})
    proxy.close()

    assert (once.status, there) == ("Failed", False)
    assert again.status == "Succeeded", again.message
    assert len(cloud.blob("sql/cut.csv").splitlines()) == 100_001
    assert proxy.connections == 2


class Sleeping(Exception):
    """What the driver raises for a database that sleeps; its text keeps the number as the cause does."""

    number = 40613


def test_a_database_that_sleeps_is_tried_again_after_a_pause(cloud: Cloud, server: dict[str, str]) -> None:
    opened = tds.open_connection
    failures = [TimeoutError()]
    failures[0].__cause__ = Sleeping()

    def once_asleep(*arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return opened(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tds, "open_connection", once_asleep)
        run = run_one(cloud, server, look("select 1 as a"))

    assert run.status == "Succeeded", run.message
    assert not failures


def test_a_password_in_key_vault_signs_in(cloud: Cloud, server: dict[str, str]) -> None:
    cloud.vault.set_secret("sql-password", server["password"])
    properties = {"server": "x", "database": "x", "encrypt": "mandatory", "trustServerCertificate": True,
                  "authenticationType": "SQL", "userName": "x", "password": secret("sql-password")}  # fmt: skip
    documents = {
        **DOCUMENTS,
        **linked_service("azure-sql", "AzureSqlDatabase", properties),
        **pipeline([look("select 1 as a")]),
    }
    given = {key: value for key, value in overriding(server).items() if key != "password"}

    run = run_pipeline(factory_from_documents(documents), "main", {}, cloud.overrides(**{"azure-sql": given}))

    assert run.status == "Succeeded", run.message


@pytest.mark.parametrize("kind", [{}, {"authenticationType": "SystemAssignedManagedIdentity"}])
def test_a_managed_identity_signs_in_with_a_token_for_azure_sql(kind: dict[str, str]) -> None:
    asked: list[str] = []
    services = SimpleNamespace(token=lambda audience: asked.append(audience) or "a token", secret=None)
    call: Any = SimpleNamespace(engine=SimpleNamespace(services=services))
    properties = {"server": "s.database.windows.net", "database": "d", "encrypt": "mandatory", **kind}

    address = address_of(call, Service(name="sql", type="AzureSqlDatabase", properties=properties))

    assert address.token is not None
    assert (address.token(), address.user, address.encrypt, address.port) == ("a token", "", True, 1433)
    assert asked == ["https://database.windows.net/"]


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"connectionString": "Data Source=h;Initial Catalog=d;Integrated Security=True"}, "signs in with Windows"),
        ({"server": "h\\SQLEXPRESS", "database": "d", "userName": "u", "password": "p"}, "names an instance"),
        ({"server": "h", "database": "d", "userName": "u", "password": "p", "encrypt": "strict"}, "TDS 8"),
        ({"server": "h", "userName": "u", "password": "p"}, "names no server or no database"),
    ],
)
def test_a_sign_in_that_is_not_run_is_refused_with_what_to_override(properties: dict[str, str], reason: str) -> None:
    services = SimpleNamespace(secret=lambda _call, value, _path: value)
    call: Any = SimpleNamespace(engine=SimpleNamespace(services=services))

    with pytest.raises(ActivityFailed, match=re.escape(reason)) as caught:
        address_of(call, Service(name="sql", type="SqlServer", properties=properties))

    assert caught.value.hint.startswith("override sql: give")


GENERATED = 3_000
TYPES = {
    "l": "bigint", "s": "smallint", "d": "decimal(38,10)", "m": "money", "f": "float", "day": "date", "at": "datetime2(6)",
    "zoned": "datetimeoffset(6)", "ok": "bit", "t": "nvarchar(60)", "u": "uniqueidentifier",
}  # fmt: skip


def generated(random: Random) -> list[str]:
    """Return one row of TYPES as text, by Python's own decimal, datetime and uuid."""
    moment = datetime(1, 1, 2, tzinfo=UTC) + timedelta(
        days=random.randrange(3_652_055), microseconds=random.randrange(86_400_000_000)
    )
    offset = random.randrange(-840, 841)
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    letters = "abc\n\t\x01 \"',;%[]{}\\é€ßЖ漢\U0001f600\u00a0"
    number = struct.unpack("<d", struct.pack("<Q", random.getrandbits(64)))[0]
    while not 1e-300 < abs(number) < 1e300:
        number = struct.unpack("<d", struct.pack("<Q", random.getrandbits(64)))[0]
    written = f"{moment.year:04d}-{moment:%m-%d %H:%M:%S}.{moment.microsecond:06d}0"
    return [
        str(random.randrange(-(2**63), 2**63)), str(random.randrange(-(2**15), 2**15)),
        f"{Decimal(random.randrange(-(10**38) + 1, 10**38)).scaleb(-10, Context(prec=38)):.10f}",
        f"{Decimal(random.randrange(-(2**63), 2**63)).scaleb(-4):.4f}", double_text(number),
        f"{moment.year:04d}-{moment:%m-%d} 00:00:00.0000000", written, f"{written} {zone}",
        random.choice(["True", "False"]), "".join(random.choices(letters, k=random.randrange(1, 25))).strip() or "x",
        str(uuid.UUID(int=random.getrandbits(128))),
    ]  # fmt: skip


def test_generated_values_come_out_of_a_table_as_the_text_that_went_in(
    cloud: Cloud, server: dict[str, str], sql: Callable[..., list[list[Any]]]
) -> None:
    random = Random(23)
    rows = [generated(random) for _ in range(GENERATED)]
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
    sql("drop table if exists every_type", f"create table every_type({columns}, n int)")
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([*TYPES, "n"])
    writer.writerows([*row, number] for number, row in enumerate(rows))
    cloud.container.upload_blob("sql/generated.csv", text.getvalue().encode(), overwrite=True)

    loaded = run_one(cloud, server, load("every_type", "generated.csv"))
    run = run_one(cloud, server, extract("select * from every_type order by n", file="again.csv"))

    assert loaded.status == "Succeeded", loaded.message
    assert run.status == "Succeeded", run.message
    again = list(csv.reader(io.StringIO(cloud.blob("sql/again.csv").decode(), newline="")))[1:]
    assert len(again) == GENERATED
    for number, row in enumerate(rows):
        assert again[number] == [*row, str(number)]


def test_partitions_and_procedures_as_sinks_are_refused(cloud: Cloud, server: dict[str, str]) -> None:
    for document, where in (
        (extract("select 1 as a", source={"partitionOption": "DynamicRange"}), "partitionOption"),
        (load("t", "x.csv", sqlWriterStoredProcedureName="p"), "sqlWriterStoredProcedureName"),
    ):
        with pytest.raises(Exception, match=where):
            run_one(cloud, server, document)

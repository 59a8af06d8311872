"""Texts, names and connection strings of SQL Server: what needs neither the driver nor a server."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from factory_support import SERVICES, activity, dataset, linked_service, pipeline, to
from hypothesis import given, settings
from hypothesis import strategies as st

from adf_runner import ActivityFailed, factory_from_documents
from adf_runner.errors import InvalidFactory
from adf_runner.lint.lint import findings
from adf_runner.run.linked_services import Service
from adf_runner.stores.sqlserver import connect
from adf_runner.stores.sqlserver_address import parts_of
from adf_runner.stores.sqlserver_types import date_writer, double_text, quoted, quoted_name, single_text, split_name
from adf_runner.stores.sqlserver_values import parameter_name


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_double_gives_the_double_back(value: float) -> None:
    assert float(double_text(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(100.0, "100"), (1e15, "1E+15"), (1234567890123456.0, "1234567890123456"), (1e-5, "1E-05"), (0.0001, "0.0001"),
     (-1.5e300, "-1.5E+300"), (0.0, "0"), (123456789012345680.0, "1.2345678901234568E+17")],
)  # fmt: skip
def test_doubles_are_written_as_dotnet_does(value: float, text: str) -> None:
    assert double_text(value) == text


def test_reals_are_written_with_their_own_digits() -> None:
    assert [single_text(value) for value in (1.100000023841858, 16777216.0, 1e7)] == ["1.1", "16777216", "1E+07"]


def test_seven_digits_of_a_second_are_kept() -> None:
    write = date_writer("yyyy-MM-dd HH:mm:ss.fffffff zzz")

    assert write((739617 * 86400 + 36672) * 10_000_000 + 1_234_567, -330) == "2026-01-02 10:11:12.1234567 -05:30"


@settings(max_examples=300)
@given(
    st.lists(
        st.text(alphabet=st.sampled_from("ab .[]\"';-%é\uff07\u02bc\u200b"), min_size=1).filter(str.strip),
        min_size=1,
        max_size=4,
    )
)
def test_a_quoted_name_is_read_back_part_by_part(parts: list[str]) -> None:
    text = ".".join(map(quoted, parts))

    assert split_name(text) == parts
    assert quoted_name(text) == text
    assert all(re.fullmatch(r"\[(?:[^\]]|\]\])*\]", quoted(part)) for part in parts)


@pytest.mark.parametrize("name", ["", "a.b.c.d.e", "[a", "[a]b", 'x."y', "a."])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Exception, match="is not a name of SQL Server"):
        quoted_name(name)


@pytest.mark.parametrize("name", ["a b", "a=1; drop table t --", "@a,@b", "", "a'b"])
def test_what_is_no_name_of_a_parameter_is_refused(name: str) -> None:
    with pytest.raises(Exception, match="is not a name of a parameter"):
        parameter_name(name)


def test_a_connection_string_gives_its_parts_under_the_names_of_the_recommended_version() -> None:
    text = 'Data Source=tcp:db,1433; initial catalog=\'a;b\';User ID=sa;pwd="x""y";Encrypt=True;Connection Timeout=30'

    assert parts_of(text) == {
        "server": "tcp:db,1433", "database": "a;b", "userName": "sa", "password": 'x"y', "encrypt": "True",
        "connectTimeout": "30",
    }  # fmt: skip


def test_without_the_driver_the_activity_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adf_runner.stores.tds", None)
    monkeypatch.delattr("adf_runner.stores.tds", raising=False)
    call: Any = SimpleNamespace()

    with pytest.raises(ActivityFailed, match="python-tds is not installed") as caught:
        connect(call, Service(name="sql", type="SqlServer", properties={}), 1).__enter__()

    assert caught.value.hint == "pip install -r requirements-sqlserver.txt"


SQL = linked_service("sql", "AzureSqlDatabase", {"server": "s", "database": "d", "encrypt": "mandatory"})
TABLES = {
    **SERVICES, **SQL, **dataset("sql-table", "AzureSqlTable", "sql", {"schema": "dbo", "table": "t"}),
    **dataset("pg-table", "AzurePostgreSqlTable", "warehouse", {"schema": "public", "table": "t"}),
}  # fmt: skip
PARAMETERS = [{"name": "a", "type": "Int32", "value": 1}]
WITH_PARAMETERS = {"scripts": [{"type": "Query", "text": "select 1", "parameters": PARAMETERS}]}


def reads(source: str, name: str) -> dict[str, Any]:
    return activity("A", "Lookup", {"source": {"type": source}, "dataset": to(name)})


def script_on(name: str) -> dict[str, Any]:
    reference = {"referenceName": name, "type": "LinkedServiceReference"}
    return activity("A", "Script", WITH_PARAMETERS, linkedServiceName=reference)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (reads("SqlSource", "pg-table"), "SqlSource reads AzureSqlTable or"),
        (reads("SqlMISource", "sql-table"), "SqlMISource reads AzureSqlMITable"),
        (activity("A", "GetMetadata", {"dataset": to("sql-table"), "fieldList": ["size"]}), "a table has no size"),
        (activity("A", "Delete", {"dataset": to("sql-table")}), "Delete looks at files"),
        (script_on("warehouse"), "script parameters are not run on PostgreSQL here"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_table_is_found_before_anything_runs(step: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidFactory, match=re.escape(message)):
        factory_from_documents({**TABLES, **pipeline([step])})


def test_a_script_with_parameters_on_azure_sql_is_clean() -> None:
    found = findings(factory_from_documents({**TABLES, **pipeline([script_on("sql")])}))

    assert [finding for finding in found if finding.blocking] == []

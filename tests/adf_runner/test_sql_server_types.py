"""Texts, names and connection strings of SQL Server: what needs neither the driver nor a server."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    with pytest.raises(Exception, match="is no name of SQL Server"):
        quoted_name(name)


@pytest.mark.parametrize("name", ["a b", "a=1; drop table t --", "@a,@b", "", "a'b"])
def test_what_is_no_name_of_a_parameter_is_refused(name: str) -> None:
    with pytest.raises(Exception, match="is no name of a parameter"):
        parameter_name(name)


def test_a_connection_string_gives_its_parts_under_the_names_of_the_recommended_version() -> None:
    text = 'Data Source=tcp:db,1433; initial catalog=\'a;b\';User ID=sa;pwd="x""y";Encrypt=True;Connection Timeout=30'

    assert parts_of(text) == {
        "server": "tcp:db,1433", "database": "a;b", "userName": "sa", "password": 'x"y', "encrypt": "True",
        "connectTimeout": "30",
    }  # fmt: skip

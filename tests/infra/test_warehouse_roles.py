"""Roles and rights in the warehouse, on a real PostgreSQL whose administrator is not a superuser, as Azure's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL

from infra.setup import warehouse
from infra.setup.warehouse import Roles, WarehouseRefused, connect, make, missing, opens, set_new_password, wishes
from local.postgres import Postgres

ROLES = Roles(database="warehouse")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("warehouse")) as postgres:
        yield postgres


@pytest.fixture
def administrator(server: Postgres) -> Iterator[psycopg.Connection]:
    """A new database whose owner may make roles and databases and is not a superuser: the rights of azure_pg_admin."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as root:
        for role in ("sealift_dbt", "sealift_reader"):
            root.execute(SQL("drop role if exists {}").format(SQL(role)))
        root.execute("create role chief login createrole createdb password 'chief'")
        root.execute("drop database warehouse")
        root.execute("create database warehouse owner chief")
    with connect(_dsn(server), "chief", "chief") as connection:
        yield connection
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as root:
        root.execute("drop database warehouse")
        root.execute("create database warehouse")
        root.execute("drop role if exists sealift_dbt, sealift_reader")
        root.execute("drop role chief")


def _dsn(server: Postgres) -> str:
    return f"host={server.host} port={server.port} dbname=warehouse"


def as_role(server: Postgres, role: str) -> psycopg.Connection:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as root:
        root.execute(SQL("alter role {} password 'x'").format(SQL(role)))
    return psycopg.connect(_dsn(server), user=role, password="x", autocommit=True)


def test_from_an_empty_database_dbt_builds_and_the_reader_reads_what_it_built(
    administrator: psycopg.Connection, server: Postgres
) -> None:
    make(administrator, ROLES, lambda _text: None)
    administrator.execute("create table loyalty.cards (number text)")
    make(administrator, ROLES, lambda _text: None)

    with as_role(server, "sealift_dbt") as dbt:
        dbt.execute("create table marts.points as select number from loyalty.cards")
        dbt.execute("create schema staging")
    with as_role(server, "sealift_reader") as reader:
        assert reader.execute("select count(*) from marts.points").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("select * from loyalty.cards")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("delete from marts.points")


def test_a_second_run_changes_nothing(administrator: psycopg.Connection) -> None:
    assert make(administrator, ROLES, lambda _text: None) == 10

    assert missing(administrator, ROLES) == []
    assert make(administrator, ROLES, lambda _text: None) == 0


@pytest.mark.parametrize("killed_after", range(1, 10))
def test_a_run_that_was_killed_goes_on_where_it_ended(administrator: psycopg.Connection, killed_after: int) -> None:
    done: list[str] = []

    def die(text: str) -> None:
        done.append(text)
        if len(done) == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(administrator, ROLES, die)
    make(administrator, ROLES, done.append)

    assert missing(administrator, ROLES) == []
    assert len(done) == len(set(done)), "nothing is made twice"


def test_marts_that_dbt_built_before_are_readable_after(administrator: psycopg.Connection, server: Postgres) -> None:
    administrator.execute("create role sealift_dbt login")
    administrator.execute("grant create on database warehouse to sealift_dbt")
    with as_role(server, "sealift_dbt") as dbt:
        dbt.execute("create schema marts")
        dbt.execute("create table marts.old as select 1 as n")

    make(administrator, ROLES, lambda _text: None)

    with as_role(server, "sealift_reader") as reader:
        assert reader.execute("select n from marts.old").fetchone() == (1,)


def test_a_new_password_opens_and_the_old_one_does_not(administrator: psycopg.Connection, server: Postgres) -> None:
    make(administrator, ROLES, lambda _text: None)

    first = set_new_password(administrator, "sealift_reader")
    second = set_new_password(administrator, "sealift_reader")

    assert not opens(_dsn(server), "sealift_reader", first)
    assert opens(_dsn(server), "sealift_reader", second)
    assert not opens(_dsn(server), "sealift_nobody", second)


def test_the_server_never_sees_a_password_in_clear(administrator: psycopg.Connection, server: Postgres) -> None:
    make(administrator, ROLES, lambda _text: None)
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as root:
        root.execute("alter system set log_statement = 'all'")
        root.execute("select pg_reload_conf()")
        password = set_new_password(administrator, "sealift_reader")
        root.execute("alter system reset log_statement")
        root.execute("select pg_reload_conf()")

    assert password not in Path(server.log).read_text()


def test_dbt_s_role_is_tied_to_its_identity_where_the_server_takes_entra(administrator: psycopg.Connection) -> None:
    roles = Roles(database="warehouse", dbt_object_id="0b3c1c5e-0000-4000-8000-00000000000a")
    [wish] = [wish for wish in wishes(roles) if "identity" in wish.name]
    expected = (
        'security label for pgaadauth on role "sealift_dbt" is '
        "'aadauth,oid=0b3c1c5e-0000-4000-8000-00000000000a,type=service'"
    )

    assert wish.statement.as_string(administrator) == expected
    with pytest.raises(WarehouseRefused, match='"pgaadauth" is not loaded') as caught:
        make(administrator, roles, lambda _text: None)
    assert "leave out dbt's object id" in caught.value.hint


def test_who_may_not_make_roles_hears_it_with_an_action(administrator: psycopg.Connection, server: Postgres) -> None:
    make(administrator, ROLES, lambda _text: None)

    with (
        as_role(server, "sealift_reader") as reader,
        pytest.raises(WarehouseRefused, match="permission denied") as caught,
    ):
        make(reader, Roles(database="warehouse", dbt="another"), lambda _text: None)

    assert caught.value.hint == "run this as the server's administrator"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ('FATAL: no pg_hba.conf entry for host "203.0.113.7"', "operatorIpRanges"),
        ("FATAL: An error occurred while validating the access token", "az login"),
        ("ERROR: AadAuthOperationCannotBePerformedWhenServerIsNotAccessible", "wait two minutes"),
    ],
)
def test_known_words_of_azure_s_server_lead_to_one_action(words: str, hint: str) -> None:
    assert hint in warehouse._hint(psycopg.OperationalError(words))


def test_a_server_that_is_not_there_says_so(server: Postgres) -> None:
    with pytest.raises(WarehouseRefused, match="the warehouse: "):
        connect("host=127.0.0.1 port=1 dbname=warehouse", "me", "token-of-mine")

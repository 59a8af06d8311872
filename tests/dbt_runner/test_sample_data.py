"""The sample source tables: the same every time, and what the demo needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import psycopg
import pytest
from dbt_site import Site
from psycopg import sql

from local import sample_data

TABLES = ("members", "cards", "merchants", "transactions")


@pytest.fixture
def dsn(site: Site) -> Iterator[str]:
    """Return an empty database beside the one that dbt builds in."""
    site.execute("drop database if exists samples")
    site.execute("create database samples")
    yield site.postgres.dsn("samples")
    site.execute("drop database samples")


def checksums(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [
            str(
                connection.execute(
                    sql.SQL("select md5(string_agg(t::text, chr(10) order by t::text)) from loyalty.{} as t").format(
                        sql.Identifier(table)
                    )
                ).fetchone()
            )
            for table in TABLES
        ]


def test_same_arguments_give_the_same_rows(dsn: str) -> None:
    sample_data.load(dsn, 3000)
    first = checksums(dsn)

    sample_data.load(dsn, 3000)

    assert checksums(dsn) == first


def test_transactions_fill_the_days_before_and_with_the_end_date(dsn: str) -> None:
    loaded = sample_data.load(dsn, 9000, end_date=date(2026, 3, 2), days=4)

    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select (transaction_at at time zone 'UTC')::date, count(*) from loyalty.transactions group by 1 order by 1"
        ).fetchall()
    assert loaded.transactions == 9000
    assert [day for day, _ in rows] == [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 2)]
    assert all(2000 < count < 2500 for _, count in rows)


def test_canary_member_has_a_transaction_that_reaches_the_partner(dsn: str) -> None:
    sample_data.load(dsn, 500, canary_name="CANARY-NAME", canary_number="CANARY-NUMBER")

    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "select last_name, member_number, partner_code, transactions.status, members.status, transaction_at::date"
            " from loyalty.members join loyalty.cards using (member_id) join loyalty.transactions using (card_id)"
            " join loyalty.merchants using (merchant_id) where transaction_id = 'T00000000001'"
        ).fetchone()
    assert found == ("CANARY-NAME", "CANARY-NUMBER", "NORTHWIND", "settled", "active", sample_data.END_DATE)

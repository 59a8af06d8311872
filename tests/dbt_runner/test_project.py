"""The dbt project in a warehouse: names, the contract, rows that come late, terms that change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dbt_site import Runner, Site, edit

pytestmark = pytest.mark.usefixtures("built")

CONTRACT = [
    ("partner_code", "text"),
    ("business_date", "date"),
    ("member_number", "text"),
    ("merchant_number", "text"),
    ("transaction_id", "text"),
    ("transaction_at", "timestamp with time zone"),
    ("amount", "numeric"),
    ("currency", "text"),
    ("points", "integer"),
]


def build(site: Site, **request: object) -> dict[str, object]:
    ran = Runner(site=site)(ARTIFACTS_URL="", REQUEST=json.dumps({"run_id": "project"} | request))
    assert ran.code == 0, ran.output + ran.errors
    return ran.summary


def points(site: Site, transaction: str) -> list[tuple[object, ...]]:
    return site.execute(
        f"select business_date::text, points from marts.partner_daily_accruals where transaction_id = '{transaction}'"
    )


@pytest.fixture(scope="module")
def changed(site: Site, built: None) -> Iterator[Site]:
    """Let rows come late and change after a first build, then build again."""
    columns = "transaction_id, card_id, merchant_id, transaction_at, amount, currency, status, loaded_at"
    site.execute(
        f"insert into loyalty.transactions ({columns}) values"
        # Merchant 1 gives 1.50 points, and 2.00 from the first of December on.
        " ('late', 1, 1, '2026-10-02 23:30:00+00', 10.00, 'EUR', 'settled', '2026-11-30 00:00:00+00'),"
        " ('new terms', 1, 1, '2026-12-01 00:00:00+00', 10.00, 'EUR', 'settled', '2026-12-01 01:00:00+00')"
    )
    site.execute(
        "update loyalty.merchants set points_per_unit = 2, updated_at = '2026-12-01 00:00:00+00' where merchant_id = 1"
    )
    site.execute(
        "update loyalty.transactions set status = 'reversed', loaded_at = '2026-11-30 00:00:00+00'"
        " where transaction_id = 'T00000000001'"
    )
    build(site)
    yield site
    site.execute("delete from loyalty.transactions where transaction_id in ('late', 'new terms')")
    site.execute(
        "update loyalty.merchants set points_per_unit = 1.5, updated_at = '2026-12-02 00:00:00+00' where merchant_id = 1"
    )
    site.execute(
        "update loyalty.transactions set status = 'settled', loaded_at = transaction_at where transaction_id = 'T00000000001'"
    )
    site.execute("drop schema snapshots cascade")
    build(site, full_refresh=True)


def test_each_layer_has_its_schema(site: Site) -> None:
    found = site.execute(
        "select table_schema, table_name from information_schema.tables"
        " where table_schema in ('staging', 'intermediate', 'marts', 'snapshots') order by 1, 2"
    )

    assert found == [
        ("intermediate", "int_merchant_terms"),
        ("intermediate", "int_transactions_judged"),
        ("marts", "fct_qualifying_transactions"),
        ("marts", "partner_batch_totals"),
        ("marts", "partner_daily_accruals"),
        ("snapshots", "merchant_terms_history"),
        ("staging", "stg_loyalty__cards"),
        ("staging", "stg_loyalty__members"),
        ("staging", "stg_loyalty__merchants"),
        ("staging", "stg_loyalty__transactions"),
    ]


def test_exported_table_has_the_columns_that_partners_were_promised(site: Site) -> None:
    found = site.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'marts' and table_name = 'partner_daily_accruals' order by ordinal_position"
    )

    assert found == CONTRACT


def test_names_and_addresses_of_members_stay_in_the_source(site: Site) -> None:
    found = site.execute(
        "select table_schema, table_name, column_name from information_schema.columns where table_schema in"
        " ('staging', 'intermediate', 'marts') and column_name in ('first_name', 'last_name', 'email', 'card_token')"
    )

    assert found == []


def test_late_row_is_taken_with_its_own_business_date(changed: Site) -> None:
    assert points(changed, "late") == [("2026-10-02", 15)]


def test_reversed_transaction_leaves_the_mart(changed: Site) -> None:
    assert points(changed, "T00000000001") == []


def test_points_follow_the_terms_of_the_day_of_the_payment(changed: Site) -> None:
    assert points(changed, "new terms") == [("2026-12-01", 20)]


def test_totals_agree_with_the_rows(site: Site) -> None:
    found = site.execute(
        "select partner_code, business_date from marts.partner_batch_totals as totals join ("
        " select partner_code, business_date, count(*) as n, sum(amount) as amount, sum(points) as points"
        " from marts.partner_daily_accruals group by partner_code, business_date"
        ") as counted using (partner_code, business_date)"
        " where (transaction_count, amount_total, points_total) <> (counted.n, counted.amount, counted.points)"
    )

    assert found == []


def test_review_builds_what_differs_beside_production(
    site: Site, run_dbt: Runner, ask: Callable[..., str], project: Path
) -> None:
    ask()
    assert run_dbt(DBT_PROJECT_DIR=str(project)).code == 0
    edit(project / "models" / "marts" / "partner_batch_totals.sql", "count(*)", "count(1)")
    ask(target="review", mode="modified")

    ran = run_dbt(DBT_PROJECT_DIR=str(project))

    assert ran.summary["status"] == "success"
    built = site.execute(
        "select table_schema, table_name from information_schema.tables where table_schema like 'review%'"
    )
    site.execute("drop schema review_marts cascade")
    assert built == [("review_marts", "partner_batch_totals")]

"""What can go wrong on the way by Data Factory's Copy: every failure is red, says why, leaves nothing half done at the
partner, and running again after the fix completes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from encryption_support import pem
from nights import CANARY, NIGHT, at_partner, completes_after_the_fix, failed, hour, run, run_batch, status

from cli.demo import Result
from cli.run import raise_if_failed
from local.partner import self_signed
from local.sftp import SftpFaults
from local.stack import Stack


def test_missing_table(stack: Stack, night: Result, tmp_path: Path) -> None:
    day = date(2026, 11, 19)
    with psycopg.connect(stack.postgres.dsn(), autocommit=True) as connection:
        connection.execute("ALTER TABLE marts.partner_daily_accruals RENAME TO hidden")

        why = failed(run_batch(stack, day))

        assert "Extract" in why
        assert "partner_daily_accruals" in why
        assert status(stack, day)["state"] == "failed"
        assert "partner_daily_accruals" in status(stack, day)["failure"]["cause"]
        assert at_partner(stack, day) == []
        connection.execute("ALTER TABLE marts.hidden RENAME TO partner_daily_accruals")
    completes_after_the_fix(stack, day, tmp_path)


def test_unknown_partner(stack: Stack, night: Result) -> None:
    why = failed(run_batch(stack, NIGHT, partner="southwind"))

    assert "southwind" in why
    assert "northwind" in why, "the fix names the partners that there are"


def test_expired_certificate(stack: Stack, night: Result, tmp_path: Path) -> None:
    day = date(2026, 11, 18)
    now = datetime.now(UTC)
    stack.set_partner_certificate(
        "northwind",
        pem(
            self_signed(
                stack.partners["northwind"].key, "N", starts=now - timedelta(days=9), ends=now - timedelta(days=1)
            )
        ),
    )
    try:
        why = failed(run_batch(stack, day))
    finally:
        stack.set_partner_certificate("northwind", stack.partners["northwind"].certificate())

    assert "expired on" in why
    assert status(stack, day)["failure"]["step"] == "seal"
    assert "certificate" in status(stack, day)["failure"]["hint"]
    assert at_partner(stack, day) == []
    completes_after_the_fix(stack, day, tmp_path)


@pytest.fixture
def other_host_key(stack: Stack) -> Iterator[None]:
    """The partner's file pins a key that the server does not have."""
    addresses = stack.function.environment["PARTNER_SFTP"]
    wrong = json.loads(addresses)
    del wrong["northwind"]["host_keys"]
    stack.function.stop()
    stack.function.environment["PARTNER_SFTP"] = json.dumps(wrong)
    stack.function.start()
    yield
    stack.function.stop()
    stack.function.environment["PARTNER_SFTP"] = addresses
    stack.function.start()


def test_wrong_host_key(stack: Stack, night: Result, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    day = date(2026, 11, 17)
    restore = request.getfixturevalue("other_host_key")
    logins = [entry for entry in stack.partners["northwind"].server.operations() if entry["operation"] == "login"]

    why = failed(run_batch(stack, day))

    assert restore is None
    assert "host key" in why
    assert status(stack, day)["state"] == "failed"
    assert [
        entry for entry in stack.partners["northwind"].server.operations() if entry["operation"] == "login"
    ] == logins
    assert at_partner(stack, day) == []


def test_wrong_host_key_is_fixed_by_the_right_pin(stack: Stack, night: Result, tmp_path: Path) -> None:
    completes_after_the_fix(stack, date(2026, 11, 17), tmp_path)


def test_full_server(stack: Stack, night: Result, tmp_path: Path) -> None:
    day = date(2026, 11, 16)
    stack.partners["northwind"].server.set_faults(SftpFaults(full_after_bytes=2000))
    try:
        why = failed(run_batch(stack, day))
    finally:
        stack.partners["northwind"].server.set_faults(None)

    assert "Send" in why
    assert "No space left on device" in why
    assert status(stack, day)["state"] == "failed"
    assert [name for name in at_partner(stack, day) if ".keys.json" not in name and not name.endswith(".sig")] == []
    completes_after_the_fix(stack, day, tmp_path)


def test_unreachable_server(stack: Stack, night: Result, tmp_path: Path) -> None:
    day = date(2026, 11, 15)
    stack.partners["northwind"].server.stop()
    try:
        why = failed(run_batch(stack, day))
    finally:
        stack.partners["northwind"].server.start()

    assert "127.0.0.1" in why
    assert status(stack, day)["state"] == "failed"
    completes_after_the_fix(stack, day, tmp_path)


def test_failing_dbt_test_holds_back_the_feeds_below_it_until_it_is_green(
    stack: Stack, night: Result, tmp_path: Path
) -> None:
    day = date(2026, 11, 14)
    with psycopg.connect(stack.postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE loyalty.kept AS SELECT * FROM loyalty.transactions")
        connection.execute("ALTER TABLE loyalty.transactions DROP CONSTRAINT IF EXISTS transactions_pkey CASCADE")
        connection.execute("INSERT INTO loyalty.transactions SELECT * FROM loyalty.kept LIMIT 3")
        try:
            red = failed(run(stack, "run_dbt"))
            why = failed(run(stack, "nightly", **hour(day)))
        finally:
            connection.execute("TRUNCATE loyalty.transactions")
            connection.execute("INSERT INTO loyalty.transactions SELECT * FROM loyalty.kept")
            connection.execute("DROP TABLE loyalty.kept")

    assert "dbt: 1 of" in red
    assert "northwind accruals waits: keeps_every_row_of_int_transactions_judged" in why
    assert CANARY not in why
    assert at_partner(stack, day) == []

    raise_if_failed(run(stack, "run_dbt"))
    start, end = (datetime.fromisoformat(each) + timedelta(hours=1) for each in hour(day).values())
    next_hour = run(stack, "nightly", windowStart=start.isoformat(), windowEnd=end.isoformat())
    raise_if_failed(next_hour)
    assert not [each for each in next_hour.walk() if each.name == "Run dbt" and each.status == "Succeeded"]
    completes_after_the_fix(stack, day, tmp_path)

"""A feed that is closed for some days: the rows of all of them leave in the next file, once, as the mart has them."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import psycopg
import pytest
import requests
from nights import at_partner, failed, hour, run, run_batch, status

from adf_runner import PipelineRun
from cli.run import raise_if_failed
from local.partner import expected_file
from local.sample_data import load
from local.stack import Stack

SATURDAY, MONDAY, TUESDAY = date(2026, 11, 14), date(2026, 11, 16), date(2026, 11, 17)
RULES = """    days: [mon, tue, wed, thu, fri]
    holidays: {closed: {2026-11-16: the partner moves}}
    schedule: {at: "02:00"}
    covers: since_last
    since: 2026-11-14
"""


@pytest.fixture(scope="module")
def closed_days(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Northwind works on week days, and not on that Monday; nobody else takes part. Nine business dates are loaded."""
    folder = tmp_path_factory.mktemp("partners")
    shutil.copy(Path(stack.function.environment["PARTNERS_FOLDER"]) / "northwind.yaml", folder)
    text = (folder / "northwind.yaml").read_text()
    kept = [line for line in text.splitlines(True) if not line.strip().startswith(("days:", "holidays:", "expected:"))]
    (folder / "northwind.yaml").write_text("".join(kept) + RULES)
    stack.function.stop()
    stack.function.environment["PARTNERS_FOLDER"] = str(folder)
    stack.function.start()
    load(stack.postgres.dsn(), 4000, days=9)
    return stack


def night(stack: Stack, business_date: date) -> PipelineRun:
    """Run the hour in which that business date is the last that has ended."""
    done = run(stack, "nightly", **hour(business_date))
    raise_if_failed(done)
    return done


def delivered(done: PipelineRun) -> list[str]:
    return [each.output["batch"] for each in done.walk() if each.name == "Plan" and each.status == "Succeeded"]


def test_saturday_sunday_and_monday_leave_in_one_file(closed_days: Stack, tmp_path: Path) -> None:
    stack = closed_days
    quiet = [delivered(night(stack, day)) for day in (date(2026, 11, 13), SATURDAY, date(2026, 11, 15))]

    busy = night(stack, MONDAY)

    assert quiet == [[], [], []], "no run on Saturday, Sunday and the closed Monday"
    assert delivered(busy) == ["northwind.accruals.2026-11-16.1"]
    partner = stack.partners["northwind"]
    (opened,) = partner.open_batch("northwind.accruals.2026-11-16.1", stack.verification_certificate(), tmp_path)
    expected = expected_file(stack.postgres.dsn(), "northwind", "accruals", SATURDAY, MONDAY)
    assert expected is not None
    assert opened.sha256 == expected[1]
    with psycopg.connect(stack.postgres.dsn()) as connection:
        count = "SELECT count(DISTINCT business_date), count(*) FROM marts.partner_daily_accruals"
        where = " WHERE partner_code = 'NORTHWIND' AND business_date BETWEEN %s AND %s"
        assert connection.execute(f"{count}{where}", [SATURDAY, MONDAY]).fetchone() == (3, expected[0])


def test_next_file_begins_with_the_day_after(closed_days: Stack, tmp_path: Path) -> None:
    stack = closed_days
    assert delivered(night(stack, TUESDAY)) == ["northwind.accruals.2026-11-17.1"]

    partner = stack.partners["northwind"]
    (opened,) = partner.open_batch("northwind.accruals.2026-11-17.1", stack.verification_certificate(), tmp_path)

    assert opened.sha256 == expected_file(stack.postgres.dsn(), "northwind", "accruals", TUESDAY)[1]
    assert status(stack, TUESDAY)["state"] == "delivered"
    assert len(at_partner(stack, MONDAY)) == len(at_partner(stack, TUESDAY)) == 4


def test_older_days_leave_only_with_a_reason_that_the_ledger_keeps(closed_days: Stack, tmp_path: Path) -> None:
    stack, friday = closed_days, date(2026, 11, 13)
    why = failed(run_batch(stack, friday))

    raise_if_failed(run_batch(stack, friday, force="the partner asked for Friday's file"))

    assert "the feed began on 2026-11-14" in why
    ledger = stack.container("batches").download_blob("northwind/accruals/ledger.jsonl").readall().decode()
    assert '"step":"forced"' in ledger
    assert "the partner asked for Friday's file" in ledger
    partner = stack.partners["northwind"]
    (opened,) = partner.open_batch("northwind.accruals.2026-11-13.1", stack.verification_certificate(), tmp_path)
    assert opened.sha256 == expected_file(stack.postgres.dsn(), "northwind", "accruals", friday)[1]


def test_explained_run_says_what_it_covered(closed_days: Stack) -> None:
    answer = requests.get(
        f"{closed_days.function.url}/api/feeds/northwind/accruals?day={TUESDAY}",
        headers={"x-functions-key": closed_days.function_key},
        timeout=10,
    ).json()

    (run_of_tuesday,) = answer["runs"]
    assert run_of_tuesday["batch"] == "northwind.accruals.2026-11-16.1"
    assert run_of_tuesday["covers"] == {"first": "2026-11-14", "last": "2026-11-16"}
    assert run_of_tuesday["state"] == "delivered"

"""What lint says about the next 400 days of a feed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cli.partner_calendars import calendar_faults, calendar_notes
from partners import Partner, load_partner

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SINCE: dict[str, Any] = {"covers": "since_last", "since": date(2026, 11, 1)}


def partner(zone: str = "Europe/London", **changes: Any) -> Partner:
    whole = load_partner("northwind").model_dump(by_alias=True)
    whole["time_zone"] = zone
    whole["feeds"]["accruals"] |= {"holidays": {}, **changes}
    return Partner.model_validate(whole)


def expected(by: str, days_after: int = 1) -> dict[str, Any]:
    return {"by": by, "days_after": days_after}


def test_deadline_in_chicago_that_no_night_reaches_is_a_fault() -> None:
    """The night at 02:00 UTC is 20:00 the day before: the business date is the day before that, and its deadline over."""
    (fault,) = calendar_faults(partner("America/Chicago", expected=expected("09:00")), NOW)

    assert fault == (
        "accruals: every batch is late: that of 2026-11-18 is due by 2026-11-19 15:00 UTC and runs at 2026-11-20 02:00 UTC; "
        "correct schedule.at, expected.by or expected.days_after"
    )


def test_the_same_deadline_is_reached_by_a_schedule_in_the_partners_zone() -> None:
    assert calendar_faults(partner("America/Chicago", schedule={"at": "06:00"}, expected=expected("09:00")), NOW) == []


@pytest.mark.parametrize("changes", [{"schedule": {"days": ["sun"]}, "days": ["mon"]}, {"since": date(2030, 1, 1)}])
def test_feed_that_is_never_due_is_a_fault(changes: dict[str, Any]) -> None:
    (fault,) = calendar_faults(partner(**changes), NOW)

    assert "is never due in the next 400 days" in fault


def notes(*arguments: Any, **changes: Any) -> str:
    return "\n".join(calendar_notes(partner(*arguments, **changes), NOW))


def test_closed_days_that_no_batch_covers_are_named() -> None:
    weekdays = {"days": ["mon", "tue", "wed", "thu", "fri"], "schedule": {"at": "06:00"}}

    assert "are in no batch (2026-11-20, 2026-11-21 Saturday): their rows never leave" in notes(**weekdays)
    assert "in no batch" not in notes(**weekdays, covers="since_last", since=date(2026, 11, 1))


def test_other_zone_of_the_business_date_is_named() -> None:
    assert "its days are those of Europe/London, the business dates of the table those of UTC" in notes()
    assert "its days are those of" not in notes("UTC")


def test_days_on_which_the_clocks_change_while_it_runs_are_named() -> None:
    assert "the clocks change while it runs on 2027-03-28, 2027-10-31" in notes(schedule={"at": "01:30"})
    assert "the clocks change" not in notes(schedule={"at": "06:00"})


def test_numbers_that_run_out_are_named_with_the_day() -> None:
    assert "they are used up by the batch of 2026-11-29 at the latest" in notes(sequence={"from": 1, "to": 10})
    assert "numbers end" not in notes(sequence={"from": 1, "to": 10, "when_full": "restart"})


def test_numbers_that_outgrow_their_place_in_the_name_are_named() -> None:
    assert "{sequence:02d} has room for 99 numbers: the batch of 2027-02-2" in notes(
        file_name="NW_{date}_{sequence:02d}.txt"
    )
    assert "room for" not in notes(
        file_name="NW_{date}_{sequence:03d}.txt", sequence={"to": 99, "when_full": "restart"}
    )
    assert "room for" not in notes(file_name="NW_{date}_{sequence:06d}.txt")


def test_letters_that_run_out_are_named() -> None:
    assert "its letters end with Z: a batch can be corrected 25 times" in notes(file_name="NW_{date}_{letter}.txt")
    assert "letters" not in notes()


def test_table_that_knows_when_rows_were_loaded_asks_for_a_word_about_late_ones(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text("name: x\n")
    (tmp_path / "models").mkdir()
    model = "models: [{name: partner_daily_accruals, columns: [{name: business_date}, {name: loaded_at}]}]"
    (tmp_path / "models" / "partner_daily_accruals.yml").write_text(model)
    project = tmp_path / "dbt_project.yml"

    silent = [*calendar_notes(partner(), NOW, project)]
    stated = [*calendar_notes(partner(late={"rows": "ignore"}), NOW, project)]

    assert [note for note in silent if "has loaded_at" in note and "late: {column: loaded_at, rows: next}" in note]
    assert not [note for note in stated if "loaded_at" in note]
    assert "loaded" not in notes(), "the demo's table does not know it"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"late": {"rows": "next"}}, "needs column"),
        ({"late": {"rows": "refuse", "column": "loaded_at"}}, "needs covers: since_last"),
        ({"late": {"rows": "next", "column": "loaded_at"}, **SINCE}, "control has totals of business dates"),
    ],
)
def test_late_rows_that_nothing_could_tell_apart_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        partner(**changes)


def test_time_between_full_hours_waits_for_the_next_window() -> None:
    assert "at 04:30 it starts with the next window" in notes(schedule={"at": "04:30"})

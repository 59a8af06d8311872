"""When feeds run and what their runs cover, by hand-made cases: clock changes, closed days, business-day rules."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from partners.calendars import Calendar
from partners.schedule import Hours, Paused, Rule, Schedule, Timetable

WORKING_DAYS = frozenset({"mon", "tue", "wed", "thu", "fri"})
ENGLAND = Calendar(days=WORKING_DAYS, country="GB", subdivision="ENG")


def timetable(zone: str = "Europe/London", calendar: Calendar = ENGLAND, **changes: Any) -> Timetable:
    return Timetable(time_zone=zone, calendar=calendar, **changes)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def runs(table: Timetable, first: str, last: str) -> list[tuple[str, str]]:
    """Return each run's instant and the slot that it covers."""
    return [(f"{run.at:%m-%d %H:%M}", run.cover.slot) for run in table.runs(at(first), at(last))]


@pytest.mark.parametrize(
    ("zone", "slot"),
    [
        ("Pacific/Pago_Pago", "2026-11-20"),
        ("America/Chicago", "2026-11-20"),
        ("UTC", "2026-11-21"),
        ("Europe/Helsinki", "2026-11-21"),
        ("Asia/Tokyo", "2026-11-21"),
        ("Pacific/Kiritimati", "2026-11-21"),
    ],
)
def test_feed_without_a_schedule_keeps_its_night_and_its_business_date(zone: str, slot: str) -> None:
    """The business date was the local date of 00:00 UTC of the day before the run."""
    found = runs(timetable(zone, Calendar()), "2026-11-22", "2026-11-23")

    assert found == [("11-22 02:00", slot)]
    assert at("2026-11-21").astimezone(timetable(zone).zone).date().isoformat() == slot


def test_feed_without_a_schedule_skips_closed_business_dates() -> None:
    assert runs(timetable(), "2026-11-20 12:00", "2026-11-24 12:00") == [
        ("11-21 02:00", "2026-11-20"),
        ("11-24 02:00", "2026-11-23"),
    ]


def test_scheduled_feed_runs_on_open_days_by_the_partners_clock() -> None:
    table = timetable(schedule=Schedule(at="06:00"), covers="since_last", since=date(2026, 1, 1))

    assert runs(table, "2026-03-26", "2026-04-01") == [
        ("03-26 06:00", "2026-03-25"),
        ("03-27 06:00", "2026-03-26"),
        ("03-30 05:00", "2026-03-29"),  # summer time began on Sunday
        ("03-31 05:00", "2026-03-30"),
    ]


def test_time_that_a_clock_change_skips_or_repeats_gives_one_run() -> None:
    skipped = timetable(calendar=Calendar(), schedule=Schedule(at="01:30"))
    repeated = timetable("America/Chicago", Calendar(), schedule=Schedule(at="01:30"))

    assert runs(skipped, "2026-03-29", "2026-03-29 12:00") == [("03-29 01:30", "2026-03-28")]
    assert runs(repeated, "2026-11-01", "2026-11-01 12:00") == [("11-01 06:30", "2026-10-31")]


def test_run_belongs_to_the_window_that_it_ends() -> None:
    table = timetable(calendar=Calendar(), schedule=Schedule(at="06:00"))

    assert runs(table, "2026-11-23 05:00", "2026-11-23 06:00") == [("11-23 06:00", "2026-11-22")]
    assert runs(table, "2026-11-23 06:00", "2026-11-23 07:00") == []


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("first business day", ["2026-05-01", "2026-06-01"]),
        ("last business day", ["2026-05-29", "2026-06-30"]),
        ("2nd to last business day", ["2026-05-28", "2026-06-29"]),
        ("3rd business day", ["2026-05-06", "2026-06-03"]),  # 4 May 2026 is a bank holiday
        ("15th day", ["2026-05-15", "2026-06-15"]),
        ("31st day", ["2026-05-31", "2026-06-30"]),
        ("last day", ["2026-05-31", "2026-06-30"]),
    ],
)
def test_rule_names_one_day_of_each_month(rule: str, days: list[str]) -> None:
    every = [date(2026, 5, 1) + timedelta(days=ahead) for ahead in range(61)]

    assert [str(day) for day in every if Rule.parse(rule).falls_on(day, ENGLAND)] == days


@pytest.mark.parametrize("rule", ["", "day", "0th day", "32nd day", "last to last day", "first working day", "-1 day"])
def test_rule_that_names_no_day_is_refused(rule: str) -> None:
    with pytest.raises(ValidationError, match="names no day of a month"):
        Schedule(when=rule)


@pytest.mark.parametrize(
    ("when_closed", "expected"),
    [("skip", []), ("run", ["11-15"]), ("next", ["11-16"]), ("previous", ["11-13"])],
)
def test_run_on_a_closed_day_is_skipped_or_moved(when_closed: str, expected: list[str]) -> None:
    """15 November 2026 is a Sunday."""
    schedule = Schedule.model_validate({"at": "06:00", "when": "15th day", "when_closed": when_closed})

    assert [when[:5] for when, _ in runs(timetable(schedule=schedule), "2026-11-01", "2026-12-01")] == expected


def test_week_and_month_cover_what_has_ended_and_are_due_once() -> None:
    weekly = timetable(calendar=Calendar(), schedule=Schedule(at="06:00"), covers="week")
    monthly = timetable(calendar=Calendar(), schedule=Schedule(at="06:00"), covers="month")

    assert runs(weekly, "2026-11-18", "2026-12-01") == [("11-23 06:00", "2026-11-22"), ("11-30 06:00", "2026-11-29")]
    (run,) = monthly.runs(at("2026-11-15"), at("2026-12-31"))
    assert (run.at, run.cover.first, run.cover.last) == (at("2026-12-01 06:00"), date(2026, 11, 1), date(2026, 11, 30))


@pytest.mark.parametrize(
    ("zone", "day", "hours", "lengths"),
    [
        ("Europe/London", "2026-03-29", 6, [5, 6, 6, 6]),
        ("Europe/London", "2026-10-25", 6, [7, 6, 6, 6]),
        ("Europe/London", "2026-03-29", 1, [1] * 23),
        ("Australia/Sydney", "2026-10-04", 4, [3, 4, 4, 4, 4, 4]),
        ("America/Havana", "2026-03-08", 12, [11, 12]),  # midnight itself is skipped
    ],
)
def test_blocks_have_no_gap_and_no_overlap_on_clock_changes(
    zone: str, day: str, hours: int, lengths: list[int]
) -> None:
    schedule = Schedule.model_validate({"every_hours": hours})
    table = timetable(
        zone, Calendar(), schedule=schedule, covers=Hours.model_validate({"hours": hours, "column": "at"})
    )

    covers = [
        run.cover
        for run in table.runs(at(day) - timedelta(days=2), at(day) + timedelta(days=3))
        if day in run.cover.slot
    ]

    assert [(cover.end - cover.start) / timedelta(hours=1) for cover in covers] == lengths
    assert all(one.end == two.start for one, two in itertools.pairwise(covers))
    assert len({cover.slot for cover in covers}) == len(covers)


@pytest.mark.parametrize(
    ("covers", "window", "slot"),
    [
        ("day", ("2026-11-21", "2026-11-22"), "2026-11-20"),
        ("day", ("2026-11-21 06:00", "2026-11-22 06:00"), "2026-11-21"),
        ("since_last", ("2026-11-21", "2026-11-22"), "2026-11-20"),
        ("week", ("2026-11-16", "2026-11-23"), "2026-11-22"),
        ("month", ("2026-11-01", "2026-12-01"), "2026-11-30"),
    ],
)
def test_window_that_is_cut_by_another_midnight_asks_for_the_same(covers: Any, window: Any, slot: str) -> None:
    table = timetable("America/Chicago", Calendar(), covers=covers)

    assert table.cover_of(*map(at, window)).slot == slot


def test_since_last_begins_after_what_has_left() -> None:
    table = timetable(schedule=Schedule(at="06:00"), covers="since_last", since=date(2026, 11, 16))
    monday = table.cover_at(at("2026-11-23 06:00"))

    before, after, again = (table.extended(monday, left) for left in (None, date(2026, 11, 19), date(2026, 11, 22)))

    assert before is not None
    assert (before.first, before.last) == (date(2026, 11, 16), date(2026, 11, 22))
    assert after is not None
    assert (after.first, after.last, after.slot) == (
        date(2026, 11, 20),
        date(2026, 11, 22),
        "2026-11-22",
    )
    assert again is None


def test_paused_feed_is_not_due_and_says_why() -> None:
    paused = Paused(until=date(2026, 11, 25), reason="the partner moves its server")
    table = timetable(schedule=Schedule(at="06:00"), paused=paused)

    assert [run.day.day for run in table.due(at("2026-11-23"), at("2026-11-27"))] == [25, 26]
    (first, *_) = table.runs(at("2026-11-23"), at("2026-11-27"))
    assert table.why_not(first) == "paused until 2026-11-25: the partner moves its server"


def test_nothing_from_before_the_feed_began_is_due() -> None:
    table = timetable(schedule=Schedule(at="06:00"), since=date(2026, 11, 24))

    assert [run.cover.slot for run in table.due(at("2026-11-22"), at("2026-11-27"))] == ["2026-11-24", "2026-11-25"]


def test_next_run_is_found_within_a_year_or_not_at_all() -> None:
    yearly = timetable(schedule=Schedule(when="first business day", months=[1]))
    never = timetable(schedule=Schedule(days=["sun"]))

    found = yearly.next_run(at("2026-02-01"))

    assert found is not None
    assert found.at == at("2027-01-04 02:00")
    assert never.next_run(at("2026-02-01")) is None


def test_closed_day_has_its_reason() -> None:
    table = timetable(schedule=Schedule(at="06:00", days=["mon", "wed", "fri"]))

    assert table.why_closed(date(2026, 12, 25)) == "Christmas Day"
    assert table.why_closed(date(2026, 12, 24)) == "the schedule has no run"
    assert table.why_closed(date(2026, 12, 23)) == ""

"""Due, late, missing: what a clock, a calendar and the record make of a feed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from delivery import Unusable
from partners.calendars import Calendar
from partners.deadlines import Expectation, Facts, alert_text, judge_feed, judge_feeds
from partners.schedule import Paused, Schedule, Timetable

WORKING_DAYS = frozenset({"mon", "tue", "wed", "thu", "fri"})
ENGLAND = Calendar(days=WORKING_DAYS, country="GB", subdivision="ENG")
DAY = date(2026, 11, 23)  # a Monday


def expectation(**changes: Any) -> Expectation:
    values: dict[str, Any] = {
        "partner": "northwind",
        "feed": "accruals",
        "time_zone": "Europe/London",
        "deadline": time(6, 0),
        "calendar": ENGLAND,
    }
    return Expectation(**(values | changes))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "state"),
    [
        ("2026-11-23 23:00", "open"),
        ("2026-11-24 04:59", "open"),
        ("2026-11-24 05:00", "due"),
        ("2026-11-24 06:00", "due"),
        ("2026-11-24 06:01", "late"),
        ("2026-11-24 08:00", "late"),
        ("2026-11-24 08:01", "missing"),
        ("2026-12-24 08:01", "missing"),
    ],
)
def test_nothing_on_record_becomes_due_then_late_then_missing(now: str, state: str) -> None:
    standing = judge_feed(expectation(), DAY, at(now))

    assert standing.state == state
    if state in ("late", "missing"):
        assert standing.reason == "no batch was planned"


def test_a_delivery_in_time_is_delivered() -> None:
    facts = Facts(batch="b", state="delivered", delivered_at=at("2026-11-24 06:00"))

    assert judge_feed(expectation(), DAY, at("2026-11-25 00:00"), facts).state == "delivered"


def test_a_delivery_after_the_deadline_says_by_how_much() -> None:
    facts = Facts(batch="b", delivered_at=at("2026-11-24 06:45"))
    standing = judge_feed(expectation(), DAY, at("2026-11-25 00:00"), facts)

    assert (standing.state, standing.reason) == ("delivered late", "45 min late")
    assert not standing.is_alarming


def test_a_failure_alarms_before_the_deadline_and_is_the_cause_after_it() -> None:
    facts = Facts(batch="b", state="failed", failure="certificate ended")

    assert judge_feed(expectation(), DAY, at("2026-11-23 22:00"), facts).state == "failed"
    late = judge_feed(expectation(), DAY, at("2026-11-24 07:00"), facts)
    assert (late.state, late.reason) == ("late", "certificate ended")


def test_a_stuck_batch_is_late_with_its_state() -> None:
    assert (
        judge_feed(expectation(), DAY, at("2026-11-24 07:00"), Facts(batch="b", state="sealing")).reason
        == "the batch is sealing"
    )


@pytest.mark.parametrize(
    ("day", "why"),
    [
        (date(2026, 11, 22), "Sunday"),
        (date(2026, 12, 25), "Christmas Day"),
        (date(2026, 12, 24), ""),
        (date(2026, 12, 28), "Boxing Day"),  # observed on a Monday
    ],
)
def test_the_holiday_calendar_is_the_partners(day: date, why: str) -> None:
    standing = judge_feed(expectation(), day, at("2027-02-01 00:00"))

    assert standing.state == ("closed" if why else "missing")
    assert standing.reason.startswith(why or "no batch")


def test_own_days_off_and_worked_days_outweigh_the_calendar() -> None:
    calendar = Calendar(days=WORKING_DAYS, closed={DAY: "stocktaking"}, open=frozenset({date(2026, 11, 22)}))

    assert calendar.why_closed(DAY) == "stocktaking"
    assert calendar.why_closed(date(2026, 11, 22)) == ""


def test_market_calendars_are_known() -> None:
    assert Calendar(market="ECB").why_closed(date(2026, 5, 1))


def test_a_delivery_day_that_is_closed_moves_to_the_next_working_day() -> None:
    friday = date(2026, 11, 20)

    assert expectation(when_closed="next").due_by(friday) == at("2026-11-23 06:00")
    assert expectation(when_closed="same").due_by(friday) == at("2026-11-21 06:00")


def test_the_deadline_follows_the_partners_clock_through_the_year() -> None:
    assert expectation().due_by(date(2026, 7, 1)) == at("2026-07-02 05:00")  # summer time
    assert expectation().due_by(date(2026, 12, 1)) == at("2026-12-02 06:00")


def test_a_deadline_that_a_clock_change_skips_counts() -> None:
    skipped = expectation(deadline=time(1, 30), calendar=Calendar())

    assert skipped.due_by(date(2026, 3, 28)) == at("2026-03-29 01:30")


def test_nothing_is_missing_from_before_a_feed_began() -> None:
    assert judge_feed(expectation(since=date(2026, 11, 24)), DAY, at("2026-12-01 00:00")).state == "not expected"


def test_all_feeds_are_judged_for_the_days_back() -> None:
    delivered = {("northwind", "accruals", date(2026, 11, 19)): Facts(batch="b", delivered_at=at("2026-11-20 01:00"))}

    standings = judge_feeds([expectation()], at("2026-11-23 12:00"), delivered, back_days=4)

    assert [(str(standing.business_date), standing.state) for standing in standings] == [
        ("2026-11-19", "delivered"),
        ("2026-11-20", "missing"),
        ("2026-11-21", "closed"),
        ("2026-11-22", "closed"),
        ("2026-11-23", "open"),
    ]


def test_today_is_the_partners_today() -> None:
    tokyo = expectation(time_zone="Asia/Tokyo", calendar=Calendar())

    standings = judge_feeds([tokyo], at("2026-11-23 20:00"), {}, back_days=0)

    assert standings[0].business_date == date(2026, 11, 24)


def test_an_alert_says_what_since_when_and_what_to_do() -> None:
    now = at("2026-11-24 09:30")
    standing = judge_feed(expectation(), DAY, now)

    subject, body = alert_text(standing, now, time_zone="Europe/London")

    assert subject == "[sealift] missing: northwind accruals of 2026-11-23"
    assert "(none was planned)" in body
    assert "due by         2026-11-24 06:00 GMT" in body
    assert "3 h 30 min" in body
    assert "rerun" in body
    assert standing.key == "northwind.accruals.2026-11-23.missing"


@pytest.mark.parametrize(
    "make",
    [
        lambda: expectation(time_zone="Europe/Londn"),
        lambda: expectation(days_after=-1),
        lambda: expectation(grace=timedelta(hours=-1)),
        lambda: expectation(deadline=time(6, tzinfo=UTC)),
        lambda: Calendar(days=frozenset({"someday"})),
        lambda: Calendar(country="XX"),
        lambda: Calendar(country="GB", subdivision="XX"),
        lambda: Calendar(market="XXXX"),
    ],
)
def test_an_expectation_that_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(Unusable) as caught:
        make()

    assert caught.value.hint


def scheduled(**changes: Any) -> Expectation:
    """Return a feed that runs on working days and covers what has not left."""
    schedule = Schedule(at="04:00")
    table = Timetable(time_zone="Europe/London", calendar=ENGLAND, schedule=schedule, covers="since_last", **changes)
    return expectation(timetable=table)


def test_scheduled_feed_owes_a_file_for_the_last_day_that_a_run_covers() -> None:
    now = at("2026-11-24 12:00")

    found = {day: judge_feed(scheduled(), date(2026, 11, day), now) for day in (19, 20, 21, 22, 23)}

    assert {day: standing.state for day, standing in found.items()} == {
        19: "missing",
        20: "closed",
        21: "closed",
        22: "missing",
        23: "missing",
    }
    assert found[20].reason == "Saturday", "a run on Saturday would cover Friday"


def test_paused_feed_is_no_alarm_and_says_why() -> None:
    paused = Paused(until=date(2026, 12, 1), reason="they move their server")

    standing = judge_feed(scheduled(paused=paused), DAY, at("2026-11-25 12:00"))

    assert (standing.state, standing.reason) == ("paused", "paused until 2026-12-01: they move their server")


def test_feed_that_waits_for_a_model_names_it_and_is_late_by_its_deadline() -> None:
    facts = Facts(waiting="orders did not pass")

    early = judge_feed(scheduled(), DAY, at("2026-11-24 04:30"), facts)
    late = judge_feed(scheduled(), DAY, at("2026-11-24 06:30"), facts)

    assert (early.state, early.reason) == ("waiting", "orders did not pass")
    assert (late.state, late.reason) == ("late", "orders did not pass")


@pytest.mark.parametrize(
    ("state", "shown"), [("acknowledged", "acknowledged"), ("rejected", "rejected"), ("empty", "empty")]
)
def test_what_became_of_a_batch_is_its_state(state: str, shown: str) -> None:
    facts = Facts(batch="b", state=state, delivered_at=at("2026-11-24 05:00"))

    assert judge_feed(expectation(), DAY, at("2026-11-25 00:00"), facts).state == shown


def test_batch_whose_days_a_later_one_took_is_superseded_and_alarms_nobody() -> None:
    facts = Facts(batch="b", state="superseded", failure="it never left: its days are in batch c")

    standing = judge_feed(expectation(), DAY, at("2026-11-25 12:00"), facts)

    assert (standing.state, standing.reason) == ("superseded", "it never left: its days are in batch c")
    assert not standing.is_alarming

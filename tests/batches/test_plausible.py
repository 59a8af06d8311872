"""What the control object says beside the rows: late rows, a table that was not loaded, a day that it never had."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from batch_world import World

import batches
from batches import Record, Window
from batches.record import ROWS
from partners import Partner, load_partner

LATE = {"column": "loaded_at", "rows": "refuse"}


def northwind(empty: str = "send", **changes: Any) -> Partner:
    whole = load_partner("northwind").model_dump(by_alias=True)
    whole["feeds"]["accruals"] |= {
        "covers": "since_last",
        "since": date(2026, 11, 16),
        "schedule": {"at": "06:00"},
        "expected": None,
        "control": None,
        "layout": {"delimiter": "|", "empty": empty},
        **changes,
    }
    return Partner.model_validate(whole)


class Feed:
    """One feed whose nights are played with a control object of the test's choice."""

    def __init__(self, world: World, partner: Partner) -> None:
        self.world, self.partner = world, partner

    def plan(self, day: int, force: str | None = None, revision: int = 1) -> Record:
        """Plan the run of a day of November, which covers up to the day before."""
        context = self.world.at(datetime(2026, 11, day, 6, 1, tzinfo=UTC))
        context._partners["northwind"] = self.partner
        run = self.partner.timetable("accruals").run_for(date(2026, 11, day - 1))
        assert run is not None
        window = Window(run.cover.start, run.cover.end, force=force)
        return batches.plan(context, "northwind", "accruals", window, revision)

    def send(self, record: Record, **control: object) -> dict[str, Any]:
        """Extract no rows but this control object, have it sealed, and return the status."""
        counted = {"rows": 0, "sums": {"amount": None, "points": None}, "ties": 0, **control}
        body = json.dumps(counted).encode() + b"\n"
        self.world.stores.raw.upload_blob(f"{record.batch.folder}/{ROWS}", body, overwrite=True)
        self.world.request(record)
        while self.world.work():
            pass
        return self.world.status(record)


def test_late_rows_are_refused_with_their_number_until_a_reason_is_given(world: World) -> None:
    feed = Feed(world, northwind(late=LATE))
    assert feed.send(feed.plan(20))["state"] == "sealed"

    stopped = feed.send(feed.plan(21), late=3)
    forced = feed.plan(21, force="correction 2 has them")

    assert stopped["state"] == "failed"
    assert stopped["failure"]["cause"] == (
        "3 rows of days up to 2026-11-19 were loaded after 2026-11-20 05:51 UTC, when these had left"
    )
    assert "plan a correction (the next revision)" in stopped["failure"]["hint"]
    assert feed.send(forced, late=3)["state"] == "sealed"
    (entry,) = [each for each in batches.history(world.context, forced.batch) if each["step"] == "forced"]
    assert entry["details"] == {"reason": "correction 2 has them"}


def test_refused_batch_holds_back_the_next_which_counts_from_the_same_instant(world: World) -> None:
    feed = Feed(world, northwind(late=LATE))
    feed.send(feed.plan(20))
    feed.send(feed.plan(21), late=3)

    record = feed.plan(22)

    assert record.loads is not None
    assert (record.loads.before, record.loads.seen) == (date(2026, 11, 19), datetime(2026, 11, 20, 5, 51, tzinfo=UTC))
    assert "late" in record.query
    assert feed.send(record, late=3)["state"] == "failed"


def test_correction_of_a_feed_that_refuses_late_rows_has_them(world: World) -> None:
    feed = Feed(world, northwind(late=LATE))
    first = feed.plan(20)
    feed.send(first)

    correction = feed.plan(20, revision=2)

    assert "loaded_at" in first.query
    assert "loaded_at" not in correction.query


def test_limit_of_loads_never_goes_back_and_is_before_dbt_s_run(world: World) -> None:
    feed = Feed(world, northwind(late={**LATE, "settle_minutes": 0, "rows": "next"}))
    first = feed.plan(21)
    feed.send(first)

    second = feed.plan(22)
    feed.partner = northwind(late={**LATE, "settle_minutes": 1440, "rows": "next"})
    feed.send(second)
    third = feed.plan(22 + 1)

    limits = [record.loads.until for record in (first, second, third) if record.loads]
    assert limits == [datetime(2026, 11, day, 6, 1, tzinfo=UTC) for day in (21, 22, 22)]
    assert third.loads is not None
    assert third.loads.seen == third.loads.until, "nothing that was loaded since can leave yet"


def test_rows_without_a_time_of_their_load_are_refused_whatever_the_reason(world: World) -> None:
    feed = Feed(world, northwind(late={**LATE, "rows": "next"}))

    status = feed.send(feed.plan(20, force="it is right"), undated=2)

    assert status["failure"]["cause"] == "2 rows have no loaded_at: nobody knows when they were loaded"


@pytest.mark.parametrize(
    ("empty", "known", "refused"),
    [
        (
            "send",
            ["2026-11-20", "2026-11-28"],
            "the batch is of 2026-11-16 to 2026-11-19, and the table has rows of 2026-11-20",
        ),
        ("send", ["2025-01-01", "2025-11-20"], "and the table has rows of 2025-01-01 to 2025-11-20"),
        ("skip", ["2026-11-20", "2026-11-28"], "and the table has rows of 2026-11-20 to 2026-11-28"),
        ("send", [None, None], "the table has no rows at all"),
        ("send", ["2026-01-01", "2026-11-09"], ""),
        ("send", ["2026-01-01", "2026-11-28"], ""),
        ("skip", ["2025-01-01", "2025-11-20"], ""),
        ("skip", [None, None], ""),
    ],
)
def test_no_rows_of_days_outside_the_table_are_refused_unless_a_reason_is_given(
    world: World, empty: str, known: list[str | None], refused: str
) -> None:
    feed = Feed(world, northwind(empty))

    status = feed.send(feed.plan(20), range=known)

    if not refused:
        assert status["state"] == ("empty" if empty == "skip" else "sealed")
        return
    assert status["state"] == "failed"
    assert refused in status["failure"]["cause"]
    assert "run deliver_batch with force" in status["failure"]["hint"]
    assert feed.send(feed.plan(20, force="a new feed"), range=known)["state"] == (
        "empty" if empty == "skip" else "sealed"
    )

"""What batches of `since_last` feeds cover: closed days, failures, revisions, windows out of order; and what Plan refuses."""

from __future__ import annotations

import itertools
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from batch_world import World

import batches
from batches import BatchId, Context, InvalidRequest, Record, Superseded, UnderWay, Window
from partners import Partner, load_partner

WORKING_DAYS = ["mon", "tue", "wed", "thu", "fri"]
FRIDAY, MONDAY, TUESDAY = date(2026, 11, 20), date(2026, 11, 23), date(2026, 11, 24)


def partner(**changes: Any) -> Partner:
    """Return Northwind with a feed that runs each working day at 06:00 and covers what has not left."""
    whole = load_partner("northwind").model_dump(by_alias=True)
    feed = whole["feeds"]["accruals"]
    feed |= {"schedule": {"at": "06:00"}, "days": WORKING_DAYS, "covers": "since_last", "since": date(2026, 11, 16)}
    feed |= {"expected": None, "file_name": "NW_{date:%Y%m%d}_{letter}_{sequence}.txt", **changes}
    return Partner.model_validate(whole)


class Feed:
    """One feed over some days: `plan` is its run on a day."""

    def __init__(self, world: World, **changes: Any) -> None:
        self.world, self.partner = world, partner(**changes)

    def at(self, day: date, hour: int = 6) -> Context:
        context = self.world.at(datetime(day.year, day.month, day.day, hour, 1, tzinfo=UTC))
        context._partners["northwind"] = self.partner
        return context

    def plan(self, day: date, revision: int = 1, force: str | None = None) -> Record:
        context = self.at(day)
        (run,) = self.partner.timetable("accruals").runs(context.now() - timedelta(hours=1), context.now())
        window = Window(run.cover.start, run.cover.end, force=force)
        return batches.plan(context, "northwind", "accruals", window, revision)

    @staticmethod
    def id(day: date) -> BatchId:
        """Return the batch of the run on a day: that of the day before."""
        return BatchId.of("northwind", "accruals", f"{day - timedelta(days=1)}", 1)

    def send(self, record: Record) -> None:
        self.world.stage(record)
        self.world.request(record)
        self.world.work()

    def fail(self, record: Record) -> None:
        batches.record_failure(self.world.context, record.batch, step="extract", cause="no server", hint="wait")


def days(record: Record) -> tuple[int, int]:
    assert record.cover is not None
    return record.cover.first.day, record.cover.last.day


def test_first_batch_begins_with_since_and_the_next_where_it_ended(world: World) -> None:
    feed = Feed(world)

    first = feed.plan(FRIDAY)
    feed.send(first)
    second = feed.plan(MONDAY)

    assert (first.batch, days(first)) == ("northwind.accruals.2026-11-19.1", (16, 19))
    assert (second.batch, days(second)) == ("northwind.accruals.2026-11-22.1", (20, 22))
    assert "BETWEEN DATE '2026-11-20' AND DATE '2026-11-22'" in second.query
    assert batches.describe(feed.at(MONDAY), second)["covers"] == {
        "first": "2026-11-20",
        "last": "2026-11-22",
        "start": "2026-11-20T00:00:00Z",
        "end": "2026-11-23T00:00:00Z",
    }


def test_same_window_planned_again_covers_the_same_whatever_left_meanwhile(world: World) -> None:
    feed = Feed(world)
    feed.send(feed.plan(FRIDAY))
    planned = feed.plan(MONDAY)
    feed.send(planned)

    again = feed.plan(MONDAY)

    assert (again.batch, again.cover, again.query, again.files) == (
        planned.batch,
        planned.cover,
        planned.query,
        planned.files,
    )


def test_day_of_a_superseded_batch_is_not_missing_but_with_the_batch_that_took_it(world: World) -> None:
    feed = Feed(world, expected={"by": "08:00"})
    feed.send(feed.plan(FRIDAY))
    failed = feed.plan(MONDAY)
    feed.fail(failed)
    later = feed.plan(TUESDAY)

    standings = batches.read_standings(feed.at(TUESDAY, 23), [feed.partner])

    by_day = {each.business_date: each for each in standings}
    day = by_day[failed.batch.business_date]
    assert (day.state, day.batch) == ("superseded", failed.batch)
    assert day.reason == f"it never left: its days are in batch {later.batch}"
    assert by_day[later.batch.business_date].state == "missing"


def test_days_of_a_batch_that_failed_go_with_the_next_and_never_twice(world: World) -> None:
    feed = Feed(world)
    feed.send(feed.plan(FRIDAY))
    failed = feed.plan(MONDAY)
    feed.fail(failed)

    record = feed.plan(TUESDAY)

    assert days(record) == (20, 23)
    assert world.status(failed)["state"] == "superseded"
    with pytest.raises(Superseded, match=r"are in batch northwind\.accruals\.2026-11-23\.1"):
        feed.plan(MONDAY)
    with pytest.raises(Superseded):
        feed.plan(MONDAY, revision=2)
    world.stage(failed)
    with pytest.raises(Superseded):
        world.request(failed)


def test_batch_that_is_sealed_keeps_its_days_though_its_delivery_failed(world: World) -> None:
    feed = Feed(world)
    record = feed.plan(FRIDAY)
    feed.send(record)
    feed.fail(record)

    assert days(feed.plan(MONDAY)) == (20, 22)


def test_batch_waits_for_the_one_that_is_being_sealed(world: World) -> None:
    feed = Feed(world)
    record = feed.plan(FRIDAY)
    world.stage(record)
    world.request(record)

    with pytest.raises(UnderWay, match="is still being worked on"):
        feed.plan(MONDAY)

    world.work()
    assert days(feed.plan(MONDAY)) == (20, 22)


def test_batch_that_was_planned_and_forgotten_is_taken_over(world: World) -> None:
    feed = Feed(world)
    forgotten = feed.plan(FRIDAY)

    assert days(feed.plan(MONDAY)) == (16, 22)
    assert world.status(forgotten)["state"] == "superseded"


def test_extract_that_ends_after_a_later_batch_took_its_days_is_dropped(world: World) -> None:
    feed = Feed(world)
    slow = feed.plan(FRIDAY)
    taken_over = feed.plan(MONDAY)
    world.stores.raw.upload_blob(f"{slow.batch.folder}/run.rows.jsonl", b"[]")

    with pytest.raises(Superseded, match=r"are in batch northwind\.accruals\.2026-11-22\.1"):
        batches.request_sealing(world.at(run_id="run"), slow.batch, rows={}, extract="run.rows.jsonl")

    assert world.work() == 0
    assert list(world.stores.raw.list_blob_names(name_starts_with=slow.batch.folder)) == []
    feed.send(taken_over)
    assert days(feed.plan(TUESDAY)) == (23, 23)


def test_batch_is_superseded_or_accepted_but_never_both(world: World) -> None:
    """The extract of one batch ends while the next is planned: one of the two gives way."""
    outcomes = set()
    for week in range(4):
        friday, monday = (day + timedelta(weeks=week) for day in (FRIDAY, MONDAY))
        feed = Feed(world)
        slow = feed.plan(friday)
        world.stage(slow)

        def accept(record: Record = slow) -> Record | None:
            with suppress(Superseded):
                return world.request(record)
            return None

        def plan(day: date = monday, own: Feed = feed) -> Record | None:
            with suppress(UnderWay):
                return own.plan(day)
            return None

        with ThreadPoolExecutor(2) as pool:
            accepted, planned = (each.result() for each in [pool.submit(accept), pool.submit(plan)])

        assert (accepted is None) != (planned is None)
        outcomes.add("accepted" if accepted else "superseded")
        world.work()
        planned = planned or feed.plan(monday)
        assert (days(planned)[0] == days(slow)[0]) == (accepted is None)
        feed.send(planned)
    assert outcomes


def test_batch_that_hangs_while_it_is_sealed_names_the_command_that_frees_it(world: World) -> None:
    feed = Feed(world)
    record = feed.plan(FRIDAY)
    world.stage(record)
    world.request(record)
    for message in world.stores.seal_queue.receive_messages():  # the message is lost
        world.stores.seal_queue.delete_message(message)

    with pytest.raises(UnderWay) as caught:
        feed.plan(MONDAY)

    assert f"./sealift batch replay {record.batch} --from seal" in caught.value.hint
    batches.replay(world.context, record.batch, start="seal", who="a test")
    world.work()
    assert days(feed.plan(MONDAY)) == (20, 22)


def test_later_windows_wait_in_order_for_the_one_that_failed(world: World) -> None:
    """A failed window never lets a later one of the feed leave without its days; run again in between, it leaves first."""
    feed = Feed(world)
    failed = feed.plan(FRIDAY)
    feed.fail(failed)

    again = feed.plan(FRIDAY)
    feed.send(again)

    assert days(again) == (16, 19)
    assert days(feed.plan(MONDAY)) == (20, 22)
    assert days(feed.plan(TUESDAY)) == (20, 23), "Monday's stopped before it left"


def test_correction_covers_what_it_corrects(world: World) -> None:
    feed = Feed(world)
    feed.send(feed.plan(FRIDAY))
    feed.send(feed.plan(MONDAY))

    correction = feed.plan(MONDAY, revision=2)
    feed.send(correction)

    assert days(correction) == (20, 22)
    assert days(feed.plan(TUESDAY)) == (23, 23)


def test_backfill_of_days_before_the_feed_began_takes_those_since_the_run_before(world: World) -> None:
    feed = Feed(world, since=MONDAY)
    feed.send(feed.plan(TUESDAY))

    past = [feed.plan(day, force="backfill") for day in (date(2026, 11, 16), date(2026, 11, 17))]

    assert [days(record) for record in past] == [(13, 15), (16, 16)]
    assert days(feed.plan(date(2026, 11, 25))) == (24, 24)
    with pytest.raises(InvalidRequest, match="the feed began on 2026-11-23"):
        feed.plan(date(2026, 11, 18))


def test_correction_of_nothing_is_refused(world: World) -> None:
    with pytest.raises(InvalidRequest, match="there is no batch that"):
        Feed(world).plan(FRIDAY, revision=2)


def test_window_that_comes_after_a_later_one_has_nothing_left(world: World) -> None:
    feed = Feed(world)
    feed.send(feed.plan(MONDAY))

    with pytest.raises(Superseded, match="have left"):
        feed.plan(FRIDAY)


def test_two_batches_planned_at_once_never_take_the_same_days(world: World) -> None:
    feed = Feed(world)
    feed.send(feed.plan(FRIDAY))

    def plan(day: date) -> Record | None:
        try:
            return feed.plan(day)
        except (UnderWay, Superseded):
            return None

    with ThreadPoolExecutor(2) as pool:
        made = [record for record in pool.map(plan, [MONDAY, TUESDAY] * 2) if record]

    standing = {r.batch: r for r in made if batches.read(world.stores.batches, r.batch).superseded_by is None}
    taken = sorted(days(record) for record in standing.values())
    assert next(first for first, _ in taken) == 20
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(taken))


@pytest.mark.parametrize("stops_in", ["take_sequence", "records.create"])
def test_batch_whose_planning_stood_still_for_a_day_gives_its_days_up(
    world: World, monkeypatch: pytest.MonkeyPatch, stops_in: str
) -> None:
    feed = Feed(world)
    feed.send(feed.plan(FRIDAY))
    whole = f"batches.planning.{stops_in}"
    before = pkgutil.resolve_name(whole)
    later: list[Record] = []

    def stand_still(*arguments: Any) -> Any:
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(whole, before)
            later.append(feed.plan(TUESDAY))
        return before(*arguments)

    monkeypatch.setattr(whole, stand_still)
    with pytest.raises(Superseded, match=r"are in batch northwind\.accruals\.2026-11-23\.1"):
        feed.plan(MONDAY)

    assert [days(record) for record in later] == [(20, 23)]
    stopped = batches.read(world.stores.batches, feed.id(MONDAY))
    assert stopped.superseded_by == later[0].batch


def test_record_made_while_a_later_batch_takes_its_days_is_superseded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(world)
    feed.send(feed.plan(FRIDAY))
    create, update = batches.planning.records.create, batches.covering.blobs.update
    held: list[Record] = []

    def hold(container: Any, record: Record) -> Record:
        held.append(record)
        raise Superseded("the test holds this record back", "no action needed")

    def make_the_record_meanwhile(container: Any, name: str, rewrite: Any) -> None:
        def slowly(content: bytes | None) -> bytes:
            written: bytes = rewrite(content)
            while held:
                create(container, held.pop())
            return written

        update(container, name, slowly)

    monkeypatch.setattr("batches.planning.records.create", hold)
    with pytest.raises(Superseded, match="the test holds"):
        feed.plan(MONDAY)
    monkeypatch.setattr("batches.planning.records.create", create)
    monkeypatch.setattr("batches.covering.blobs.update", make_the_record_meanwhile)
    feed.plan(TUESDAY)

    stopped = batches.read(world.stores.batches, feed.id(MONDAY))
    assert stopped.superseded_by == feed.id(TUESDAY)


@pytest.mark.parametrize(
    ("changes", "window", "now", "refused"),
    [
        ({"covers": "day"}, ("2026-11-21T00", "2026-11-23T00"), "2026-11-24T00", "the window lasts 2 days"),
        ({"covers": "week"}, ("2026-11-16T00", "2026-11-23T00"), "2026-11-22T12", "is still to come"),
        ({"covers": "week"}, ("2026-11-09T00", "2026-11-30T00"), "2026-12-24T00", "the window lasts 21 days"),
        ({"covers": "day"}, ("2026-11-15T00", "2026-11-16T00"), "2026-11-24T00", "the feed began on 2026-11-16"),
        ({"covers": "month"}, ("2026-11-01T00", "2026-12-01T00"), "2026-11-30T23", "is still to come"),
    ],
)
def test_wrong_window_is_refused_unless_a_reason_is_given(
    world: World, changes: dict[str, Any], window: tuple[str, str], now: str, refused: str
) -> None:
    feed = Feed(world, **changes)
    start, end, clock = (datetime.fromisoformat(f"{text}:00+00:00") for text in (*window, now))
    context = world.at(clock)
    context._partners["northwind"] = feed.partner

    with pytest.raises(InvalidRequest, match=refused):
        batches.plan(context, "northwind", "accruals", Window(start, end))

    forced = batches.plan(context, "northwind", "accruals", Window(start, end, force="agreed with the partner"))
    entries = batches.history(context, forced.batch)
    assert entries[0]["details"]["force"] == "agreed with the partner"


def test_day_that_has_not_ended_at_the_partner_is_refused_though_the_window_has(world: World) -> None:
    feed = Feed(world, covers="day")
    chicago = feed.partner.model_copy(update={"time_zone": "America/Chicago"})
    context = world.at(datetime(2026, 11, 22, 3, tzinfo=UTC))
    context._partners["northwind"] = chicago
    start = datetime(2026, 11, 21, 7, tzinfo=UTC)

    with pytest.raises(InvalidRequest, match="2026-11-22T06:00:00\\+00:00, by the clock of America/Chicago"):
        batches.plan(context, "northwind", "accruals", Window(start, start + timedelta(hours=19)))


def test_blocks_of_hours_are_batches_of_their_own(world: World) -> None:
    feed = Feed(
        world, covers={"hours": 6, "column": "transaction_at"}, schedule={"every_hours": 6}, control=None, days=["mon"]
    )
    context = feed.at(MONDAY, hour=18)
    runs = feed.partner.timetable("accruals").runs(context.now() - timedelta(hours=13), context.now())

    made = [batches.plan(context, "northwind", "accruals", Window(r.cover.start, r.cover.end)) for r in runs]

    assert [record.batch for record in made] == [
        "northwind.accruals.2026-11-23T0000.1",
        "northwind.accruals.2026-11-23T0600.1",
        "northwind.accruals.2026-11-23T1200.1",
    ]
    assert [record.sequence for record in made] == [1, 2, 3]
    assert "\"transaction_at\" >= TIMESTAMPTZ '2026-11-23T06:00:00+00:00'" in made[1].query
    assert len({name for record in made for name in record.files}) == 3

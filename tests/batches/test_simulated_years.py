"""Two years of every cadence, on both halves of the globe: each row leaves exactly once, whatever fails on the way.

A night may be missed, fail before or after its files are sealed, be run again or corrected. In the end every instant from the
feed's first day to the end of its last batch is in exactly one batch that left, and no two files have the same name. The ledger
is left out: it grows with every step, and nothing here reads it.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, cast

import pytest
from azure.storage.blob import ContainerClient
from late_rows import is_late, is_taken
from memory_storage import MemoryContainer

import batches
from batches import Context, Receipt, Record, Stores, Superseded, Window, ledger, operating
from batches.plausible import as_loaded
from partners import Partner, load_partner
from partners.schedule import Run

START, END = date(2026, 1, 1), date(2028, 1, 1)
WORKING = ["mon", "tue", "wed", "thu", "fri"]
ENGLAND, SYDNEY = {"country": "GB", "subdivision": "ENG"}, {"country": "AU", "subdivision": "NSW"}
DAILY: dict[str, Any] = {"covers": "day"}
SINCE_LAST: dict[str, Any] = {"covers": "since_last", "days": WORKING, "schedule": {"at": "06:00"}}

CADENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "every night, as without a schedule": ("UTC", DAILY),
    "every night in Helsinki": ("Europe/Helsinki", DAILY),
    "every day by the clock of Chicago": ("America/Chicago", {"covers": "day", "schedule": {"at": "01:30"}}),
    "working days in London": ("Europe/London", {**SINCE_LAST, "holidays": ENGLAND}),
    "working days in Sydney": ("Australia/Sydney", {**SINCE_LAST, "holidays": SYDNEY}),
    "Mondays": ("America/Santiago", {**SINCE_LAST, "schedule": {"at": "00:00", "days": ["mon"]}, "days": WORKING}),
    "weeks": ("Australia/Lord_Howe", {"covers": "week", "schedule": {"at": "05:00", "days": ["mon"]}}),
    "months, on the first working day": (
        "Europe/London",
        {
            "covers": "month",
            "days": WORKING,
            "holidays": ENGLAND,
            "schedule": {"at": "07:00", "when": "first business day"},
        },
    ),
    "the last working day of the month": (
        "Pacific/Auckland",
        {**SINCE_LAST, "schedule": {"at": "18:00", "when": "last business day"}},
    ),
    "the 15th or the working day after": (
        "America/New_York",
        {**SINCE_LAST, "schedule": {"at": "09:00", "when": "15th day", "when_closed": "next"}},
    ),
    "blocks of twelve hours": (
        "Australia/Sydney",
        {"covers": {"hours": 12, "column": "transaction_at"}, "schedule": {"every_hours": 12}, "control": None},
    ),
}


KINDS, CHANCES = ["good", "failed", "stopped", "sealed", "twice", "corrected", "re-sent"], [66, 8, 6, 6, 5, 5, 4]


@pytest.fixture(autouse=True)
def _no_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "note", lambda *_arguments, **_options: "")
    # A re-send looks whether all sealed bytes are there; here a signature is all that is sealed.
    monkeypatch.setattr(operating, "remote_files", lambda *_arguments: [])


def partner(zone: str, changes: dict[str, Any]) -> Partner:
    whole = load_partner("northwind").model_dump(by_alias=True)
    feed = whole["feeds"]["accruals"]
    feed |= {
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "holidays": {},
        "expected": None,
        "since": START,
    }
    feed |= {"file_name": "NW_{date:%Y%m%d}_{letter}_{sequence:06d}.txt", **changes}
    return Partner.model_validate({**whole, "time_zone": zone})


class Row(NamedTuple):
    """A row of the mart: its day, when it was loaded, and when the load was visible to others."""

    number: int
    day: date
    loaded: datetime
    visible: datetime


def make_rows(chance: random.Random, days: int = 730) -> list[Row]:
    """Return a few rows for each day: most are loaded in its night, one in ten up to a month later.

    Loads are close to full hours, when batches are planned: some are not visible then, though their time is earlier.
    """
    rows = []
    for number in range(3 * days):
        day = START + timedelta(days=number // 3)
        hours = chance.uniform(25, 33) if chance.random() < 0.9 else chance.uniform(25, 720)
        loaded = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(
            hours=round(hours), minutes=chance.uniform(-10, 10)
        )
        rows.append(Row(number, day, loaded, loaded + timedelta(minutes=chance.uniform(0, 9))))
    return rows


@dataclass
class Years:
    """A feed, its storage, and a clock that the test moves."""

    partner: Partner
    chance: random.Random
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    store: MemoryContainer = field(default_factory=MemoryContainer)
    sealed: MemoryContainer = field(default_factory=MemoryContainer)
    happened: Counter[str] = field(default_factory=Counter)
    rows: list[Row] = field(default_factory=list)
    gone: Counter[Row] = field(default_factory=Counter)
    refused: set[Row] = field(default_factory=set)

    def context(self) -> Context:
        stores = Stores(
            raw=cast("ContainerClient", None),
            encrypted=cast("ContainerClient", self.sealed),
            batches=cast("ContainerClient", self.store),
            seal_queue=cast("Any", None),
            deliver_queue=cast("Any", None),
        )
        context = Context(stores=stores, vault=cast("Any", None), clock=lambda: self.now)
        context._partners["northwind"] = self.partner
        return context

    def plan(self, run: Run, revision: int = 1, force: str | None = None) -> Record | None:
        """Plan a run; None when its days have left with a later one."""
        window = Window(run.cover.start, run.cover.end, force=force)
        try:
            return batches.plan(self.context(), "northwind", "accruals", window, revision)
        except Superseded:
            return None

    def leave(self, record: Record) -> None:
        if record.batch.revision == 1:
            self.extract(record)
        self.sealed.upload_blob(f"{record.batch.folder}/manifest.json.sig", b"")

    def extract(self, record: Record) -> None:
        """Take the rows that the batch's query would find now; one that refuses late rows is planned again, with a reason."""
        loaded = as_loaded(record.loads, record.batch.revision)
        if loaded is None or record.cover is None:
            return
        cover = record.cover
        there = [row for row in self.rows if row.visible <= self.now]
        late = {row for row in there if is_late(loaded, row.day, row.loaded)}
        if late and not loaded.takes_late:
            self.refused |= late
            self.fail(record)
            window = Window(record.window_start, record.window_end, force="late rows were sent by hand")
            assert batches.plan(self.context(), "northwind", "accruals", window).force is not None
        self.gone.update(row for row in there if is_taken(loaded, cover.first, cover.last, row.day, row.loaded))

    def fail(self, record: Record) -> None:
        batches.record_failure(self.context(), record.batch, step="extract", cause="no server", hint="wait")

    def live(self, run: Run) -> None:
        """Let a window run, in one of the ways in which a night may go."""
        self.now = max(self.now, run.at)
        kind = self.chance.choices(KINDS, CHANCES)[0]
        self.happened[kind] += 1
        record = self.plan(run)
        if record is None:
            self.happened["nothing left"] += 1
            return
        if kind == "failed":
            self.fail(record)
        if kind in ("failed", "stopped"):
            return
        self.leave(record)
        if kind == "sealed":
            self.fail(record)
        if kind == "twice":
            assert self.plan(run) == batches.read(self.context().stores.batches, record.batch)
        if kind == "re-sent":
            self.resend(record)
        if kind == "corrected":
            corrected = self.plan(run, revision=2)
            assert corrected is not None
            assert corrected.cover == record.cover
            self.leave(corrected)

    def has_left(self, record: Record) -> bool:
        return bool(self.sealed.get_blob_client(f"{record.batch.folder}/manifest.json.sig").exists())

    def resend(self, record: Record) -> None:
        """Deliver the batch, and have the same bytes delivered once more."""
        receipt = Receipt(
            batch=record.batch,
            sequence=record.sequence,
            delivery=1,
            delivered_at=self.now,
            route=record.route,
            run_id=None,
            files=[],
        )
        self.store.upload_blob(record.of_delivery("receipt"), receipt.model_dump_json().encode())
        again = batches.resend(self.context(), record.batch, reason="the partner lost it", who="a test")
        assert (again.files, again.sequence, again.cover, again.delivery) == (
            record.files,
            record.sequence,
            record.cover,
            2,
        )

    def records(self) -> list[Record]:
        names = [name for name in self.store.list_blob_names() if name.endswith("/batch.json")]
        return [Record.model_validate_json(self.store.download_blob(name).content) for name in names]

    def left(self) -> list[Record]:
        """Return the batches that left, without corrections, in the order of what they cover."""
        found = [record for record in self.records() if record.batch.revision == 1 and self.has_left(record)]
        return sorted(found, key=lambda record: record.cover.start if record.cover else record.window_start)


def live(zone: str, changes: dict[str, Any], seed: int, rows: list[Row] | None = None) -> tuple[Years, list[Run]]:
    years = Years(partner(zone, changes), random.Random(seed), rows=rows or [])
    table = years.partner.timetable("accruals")
    runs = table.due(datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC))
    missed: list[Run] = []
    for run in runs:
        if years.chance.random() < 0.05:
            missed.append(run)
            continue
        while missed:  # windows that were missed are run first, oldest first
            years.live(missed.pop(0))
        years.live(run)
    for run in [*missed, *runs]:  # in the end, an operator has run again whatever is not done
        years.now = max(years.now, run.at)
        record = years.plan(run)
        if record is not None and not years.has_left(record):
            years.leave(record)
    return years, runs


@pytest.mark.parametrize("name", CADENCES)
def test_every_row_leaves_exactly_once_in_two_years(name: str) -> None:
    years, runs = live(*CADENCES[name], seed=14)
    left = years.left()
    covers = [record.cover for record in left]

    assert len(runs) > 20
    assert years.happened["failed"] + years.happened["sealed"] > 0
    assert len(runs) < 50 or years.happened["re-sent"] > 0
    assert all(one is not None and two is not None and one.end == two.start for one, two in itertools.pairwise(covers))
    assert covers[0] is not None
    assert covers[-1] is not None
    assert covers[0].first <= START
    assert covers[-1].end == runs[-1].cover.end
    names = [file for record in years.records() for file in record.files]
    assert len(names) == len(set(names))
    numbers = [record.sequence for record in years.records()]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("rule", ["next", "refuse"])
@pytest.mark.parametrize(
    "name", ["working days in London", "working days in Sydney", "the 15th or the working day after"]
)
def test_every_late_row_leaves_exactly_once_or_is_refused(name: str, rule: str) -> None:
    zone, changes = CADENCES[name]
    rows = make_rows(random.Random(3))
    late = {"late": {"column": "loaded_at", "rows": rule}, "control": None}

    years, _ = live(zone, {**changes, **late}, seed=14, rows=rows)

    left = years.left()
    assert left[-1].cover is not None
    assert left[-1].loads is not None
    last, until = left[-1].cover.last, left[-1].loads.until
    due = {row for row in rows if row.day <= last and row.loaded < until}
    assert len(due) > 1500
    assert set(years.gone.values()) == {1}, "no row leaves twice"
    assert set(years.gone) | years.refused == due
    assert not set(years.gone) & years.refused
    assert (len(years.refused) > 50) == (rule == "refuse")


@pytest.mark.parametrize("name", ["working days in London", "weeks"])
def test_the_same_clock_gives_the_same_plan(name: str) -> None:
    first, second = (live(*CADENCES[name], seed=7)[0] for _ in range(2))

    assert first.records() == second.records()

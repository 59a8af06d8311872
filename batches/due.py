"""Due: which feeds run in a window, what each covers, and which of them wait for dbt.

A run belongs to the window that ends with it or after it: with windows of an hour, a feed with `at: "06:00"` starts at six sharp.
A run of the day before that was held back, and that nobody has planned since, is offered again in each window until the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batches.context import Context
from batches.errors import InvalidRequest
from batches.expecting import read_partners
from batches.planned import not_planned
from batches.readiness import Readiness
from batches.record import BatchId
from partners import Feed, Partner
from partners.schedule import Run

FEED_OF_A_WRONG_FILE = "unreadable"
LOOK_BACK = timedelta(hours=24)
LONGEST_WINDOW = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """One run of one feed."""

    partner: Partner
    name: str
    run: Run

    @property
    def feed(self) -> Feed:
        return self.partner.feeds[self.name]

    @property
    def batch(self) -> BatchId:
        return BatchId.of(self.partner.name, self.name, self.run.cover.slot, 1)

    def to_json(self) -> dict[str, Any]:
        cover = self.run.cover
        window = {"windowStart": cover.start.isoformat(), "windowEnd": cover.end.isoformat()}
        about = {"batch": self.batch, "at": self.run.at.isoformat()}
        return {"partner": self.partner.name, "feed": self.name, **window, **about}


def feeds_due(context: Context, start: datetime, end: datetime) -> dict[str, Any]:
    """Return `feeds` that are due after `start` and until `end`, those that are `waiting`, and whether dbt should run first.

    A partner whose file is wrong is due too, with a feed that cannot be planned: its part of the night is red and says why.
    `batches` are the ids of those that can be planned; `held` is a sentence about the feeds that wait, "" when none does.
    Raises InvalidRequest.
    """
    if not timedelta(0) < end - start <= LONGEST_WINDOW:
        raise InvalidRequest("the window must be longer than zero and at most two days", "windows are hours or days")
    partners, faulty = read_partners(context)
    readiness = Readiness(context.stores)
    found = _runs(context, partners, start, end)
    reasons = {
        due.batch: readiness.why_waiting(due.partner.name, due.name, due.feed, due.run.cover.end) for due in found
    }
    wrong = [
        {"partner": name, "feed": FEED_OF_A_WRONG_FILE, "windowStart": start.isoformat(), "windowEnd": end.isoformat()}
        for name in faulty
    ]
    waiting = [{**due.to_json(), "waitsFor": reasons[due.batch]} for due in found if reasons[due.batch]]
    return {
        "feeds": [due.to_json() for due in found if not reasons[due.batch]] + wrong,
        "batches": [due.batch for due in found if not reasons[due.batch]],
        "waiting": waiting,
        "build": any(readiness.needs_build(due.partner.name, due.name, due.feed, due.run.cover.end) for due in found),
        "held": "; ".join(f"{each['partner']} {each['feed']} waits: {each['waitsFor']}" for each in waiting)[:2000],
    }


def _runs(context: Context, partners: list[Partner], start: datetime, end: datetime) -> list[_Due]:
    """Return the runs of the window and those that were held back before it, oldest first."""
    now, before = [], []
    for partner in partners:
        for name in partner.feeds:
            runs = partner.timetable(name).due(end - LOOK_BACK, end)
            mine = [_Due(partner=partner, name=name, run=run) for run in runs]
            within = [due for due in mine if due.run.at > start]
            now += within
            before += [] if within else mine[-1:]
    missing = not_planned(context, [due.batch for due in before])
    held = [due for due in before if due.batch in missing]
    return sorted([*held, *now], key=lambda due: (due.run.at, due.partner.name, due.name))

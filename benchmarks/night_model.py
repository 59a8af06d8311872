"""A night as a model: adf/ counted activity by activity, with Azure's overheads as parameters. Nothing is executed or measured.

What it takes for granted: every activity lasts `activity_seconds`, a Copy `copy_seconds`; the function app shapes and seals a
batch `seal_seconds` after it was asked, and delivers it `deliver_seconds` later. A choice of adf/ that the model does not know is
an error: it can never be silently wrong about another adf/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from adf_runner import load_factory
from adf_runner.estimate import Estimate, Step, estimate

ROOT = Path(__file__).resolve().parent.parent
ROUTES = ("function", "adf")

# List prices in US dollars (West Europe, 2026): activity runs, and copies by data integration unit and hour, minutes rounded up.
ACTIVITY_DOLLARS = 1.0 / 1000
DIU_HOUR_DOLLARS = 0.25
COPY_UNITS = 2
PIPELINE_HOUR_DOLLARS = 0.005  # GetMetadata and its like, by started minutes
_NEVER_TAKEN = ("Is any failed", "Held back", "Refuse a busy group", "Pause while it is busy", "Judge the verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """What Azure adds, in seconds; `slots` is the batchCount of every parallel ForEach, None for what adf/ says."""

    activity_seconds: float = 5.0
    copy_seconds: float = 20.0
    queue_seconds: float = 2.0
    seal_seconds: float = 20.0
    deliver_seconds: float = 15.0
    longest_wait_seconds: float = 60.0
    slots: int | None = None


def _cases(step: Step) -> list[str]:
    return [case["value"] for case in step.activity.properties["cases"]]


@dataclass(slots=True)
class Night:
    """The choices of one night: so many feeds, all of one route, each a batch with one file; dbt is polled `dbt_polls` times.

    Without polls dbt does not run.
    """

    feeds: int
    route: str
    overheads: Overheads
    dbt_polls: int = 0
    _asked_at: dict[int, float] = field(default_factory=dict)
    _sent: set[int] = field(default_factory=set)
    _send: list[int] = field(default_factory=list)
    _waits_from: float = 0.0
    _next: str = ""

    def branch(self, step: Step) -> str:
        name = step.activity.name
        if name in _NEVER_TAKEN:
            return "ifFalseActivities"
        if name == "Build":
            return "ifTrueActivities" if self.dbt_polls else "ifFalseActivities"
        if name == "Pause while it runs":
            return "ifTrueActivities" if step.turn < self.dbt_polls - 1 else "ifFalseActivities"
        if name == "Give up when dbt has not ended":
            return "ifFalseActivities"
        if name == "Any started":
            return "ifTrueActivities" if self.feeds else "ifFalseActivities"
        if name in ("Files", "Last"):
            return "ifTrueActivities"
        if name == "Stage":
            return f"cases[{_cases(step).index('warehouse')}]"  # every source has the same activities
        if name == "Next":
            self._look(step.at)
            return f"cases[{_cases(step).index(self._next)}]" if self._next in _cases(step) else "defaultActivities"
        raise LookupError(f"the model does not know which branch {name!r} of {step.pipeline} takes")

    def items(self, step: Step) -> Sequence[int]:
        name = step.activity.name
        if name == "Each feed":
            return range(self.feeds)
        if name == "Each batch":
            return tuple(self._send)
        if name == "Look closer":
            return ()
        raise LookupError(f"the model does not know the items of {name!r} of {step.pipeline}")

    def slots(self, step: Step, written: int) -> int:
        del step
        return written if written == 1 or self.overheads.slots is None else self.overheads.slots

    def goes_on(self, step: Step) -> bool:
        if step.activity.name == "Wait for a free group":
            return False
        if step.activity.name == "Wait until dbt has ended":
            return step.turn < self.dbt_polls
        if step.activity.name != "Until ended":
            raise LookupError(f"the model does not know when {step.activity.name!r} of {step.pipeline} ends")
        return self._next != "end"

    def seconds(self, step: Step) -> float:
        if step.activity.type == "Copy":
            return self.overheads.copy_seconds
        if step.activity.type == "Wait" and step.pipeline == "await_batches":
            waited = step.at - self._waits_from
            return self.overheads.activity_seconds + min(max(10, waited), self.overheads.longest_wait_seconds)
        if step.activity.name == "Until ended":
            self._waits_from = step.at
        return self.overheads.activity_seconds

    def ended(self, step: Step) -> None:
        if step.activity.name == "Seal":
            self._asked_at[step.item] = step.at
        if step.activity.name == "Confirm":
            self._sent.add(step.item)

    def _look(self, at: float) -> None:
        """Decide what a look answers at a moment, as batches/waiting.py does."""
        over = self.overheads
        takes = 2 * over.queue_seconds + over.seal_seconds
        if self.route == "function":
            takes += over.queue_seconds + over.deliver_seconds
        ready = [feed for feed, asked in self._asked_at.items() if asked + takes <= at]
        self._send = [feed for feed in ready if feed not in self._sent] if self.route == "adf" else []
        busy = len(self._asked_at) - len(ready)
        self._next = "send" if self._send else "wait" if busy else "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one night takes, in all."""

    route: str
    feeds: int
    activities: int
    copies: int
    seconds: float
    dollars: float


def forecast(feeds: int, route: str, overheads: Overheads | None = None, *, dbt_polls: int = 0) -> Forecast:
    """Return what a night of so many feeds takes by one route."""
    overheads = overheads or Overheads()
    found = estimate(load_factory(ROOT / "adf"), "nightly", Night(feeds, route, overheads, dbt_polls))
    return Forecast(
        route=route,
        feeds=feeds,
        activities=found.total,
        copies=found.copies,
        seconds=found.ends_at,
        dollars=dollars(found, overheads.copy_seconds),
    )


def dollars(found: Estimate, copy_seconds: float) -> float:
    """Return the price of what was counted."""
    copies = found.copies * COPY_UNITS * DIU_HOUR_DOLLARS * max(1, ceil(copy_seconds / 60)) / 60
    looks = found.activities["GetMetadata"] * PIPELINE_HOUR_DOLLARS / 60
    return found.total * ACTIVITY_DOLLARS + copies + looks

"""Estimate: how many activities and copies a pipeline takes and when it ends, from its JSON alone; nothing is executed.

Every activity is taken to succeed. What expressions would decide, a `Choices` says: which branch an If or Switch takes, the items
of a ForEach, when an Until ends, how long an activity lasts. A ForEach has `batchCount` slots; other activities start when those
before them have ended. Time is in seconds from the start of the estimate.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from adf_runner.factory.model import Activity, Factory

NO_ITEM: Any = None
DEFAULT_SLOTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One activity that is about to run: where, for which item of the innermost ForEach, in which turn, and when."""

    pipeline: str
    activity: Activity
    item: Any
    turn: int
    at: float


class Choices(Protocol):
    """What expressions would decide."""

    def branch(self, step: Step) -> str:
        """Return the branch that an If or Switch takes: ifTrueActivities, ifFalseActivities, cases[0], ..., "" for none."""

    def items(self, step: Step) -> Sequence[Any]:
        """Return the items of a ForEach."""

    def slots(self, step: Step, written: int) -> int:
        """Return how many items of a ForEach run at once; `written` is its own batchCount."""

    def goes_on(self, step: Step) -> bool:
        """Whether an Until has another turn after the one that ended at `step.at`."""

    def seconds(self, step: Step) -> float:
        """Return how long an activity itself lasts, without those inside it."""

    def ended(self, step: Step) -> None:
        """Hear of an activity that ended at `step.at`."""


@dataclass(slots=True, kw_only=True)
class Estimate:
    """What was counted: activities by type, Copy included, and when the pipeline ends."""

    activities: Counter[str] = field(default_factory=Counter)
    by_pipeline: Counter[str] = field(default_factory=Counter)
    ends_at: float = 0.0

    @property
    def total(self) -> int:
        return self.activities.total()

    @property
    def copies(self) -> int:
        return self.activities["Copy"]


def estimate(factory: Factory, pipeline: str, choices: Choices) -> Estimate:
    """Return what one run of a pipeline takes. Raises UnknownPipeline."""
    walk = _Walk(factory=factory, choices=choices)
    walk.found.ends_at = walk.pipeline(pipeline, NO_ITEM, 0.0)
    return walk.found


@dataclass(slots=True, kw_only=True)
class _Walk:
    factory: Factory
    choices: Choices
    found: Estimate = field(default_factory=Estimate)

    def pipeline(self, name: str, item: Any, at: float) -> float:
        return self.activities(name, self.factory.pipeline(name).activities, item, at)

    def activities(self, pipeline: str, activities: Sequence[Activity], item: Any, at: float, turn: int = 0) -> float:
        """Return when the last of the activities ends; those that wait for a failure never run."""
        ends: dict[str, float] = {}
        waiting = list(activities)
        while waiting:
            ready = next(
                each for each in waiting if all(edge.activity in ends for edge in each.depends_on) or _never(each)
            )
            waiting.remove(ready)
            if _never(ready) or any(ends[edge.activity] < 0 for edge in ready.depends_on):
                ends[ready.name] = -1.0
                continue
            begins = max([at, *(ends[edge.activity] for edge in ready.depends_on)])
            step = Step(pipeline=pipeline, activity=ready, item=item, turn=turn, at=begins)
            ends[ready.name] = self.activity(step)
        return max([at, *ends.values()])

    def activity(self, step: Step) -> float:
        self.found.activities[step.activity.type] += 1
        self.found.by_pipeline[step.pipeline] += 1
        begins = step.at + self.choices.seconds(step)
        ends = self._inside(step, begins)
        self.choices.ended(_at(step, ends))
        return ends

    def _inside(self, step: Step, at: float) -> float:
        activity = step.activity
        if activity.type == "ExecutePipeline":
            return self.pipeline(activity.properties["pipeline"]["referenceName"], step.item, at)
        if activity.type in ("IfCondition", "Switch"):
            branch = self.choices.branch(_at(step, at))
            return self.activities(step.pipeline, activity.branches.get(branch, ()), step.item, at, step.turn)
        if activity.type == "ForEach":
            return self._for_each(step, at)
        if activity.type == "Until":
            turn = 0
            while True:
                at = self.activities(step.pipeline, activity.branches["activities"], step.item, at, turn)
                turn += 1
                if not self.choices.goes_on(_at(step, at, turn)):
                    return at
        return at

    def _for_each(self, step: Step, at: float) -> float:
        properties = step.activity.properties
        written = 1 if properties.get("isSequential") else int(properties.get("batchCount", DEFAULT_SLOTS))
        free = [at] * self.choices.slots(step, written)
        for item in self.choices.items(_at(step, at)):
            begins = heapq.heappop(free)
            heapq.heappush(free, self.activities(step.pipeline, step.activity.branches["activities"], item, begins))
        return max(free)


def _never(activity: Activity) -> bool:
    """Whether an activity waits for a failure, which never comes here."""
    return any(not {"Succeeded", "Completed"} & set(edge.conditions) for edge in activity.depends_on)


def _at(step: Step, at: float, turn: int | None = None) -> Step:
    turn = step.turn if turn is None else turn
    return Step(pipeline=step.pipeline, activity=step.activity, item=step.item, turn=turn, at=at)

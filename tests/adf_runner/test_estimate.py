"""What a pipeline takes is counted in its JSON: branches, loops and slots, without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from factory_support import activity, expression, pipeline

from adf_runner import factory_from_documents, load_factory
from adf_runner.estimate import Step, estimate
from benchmarks.night import main
from benchmarks.night_model import ROOT, Forecast, Night, Overheads, forecast


class Choices:
    """Every If takes its true branch, a ForEach has three items, an Until has two turns; all last a second."""

    def branch(self, step: Step) -> str:
        return "ifTrueActivities"

    def items(self, step: Step) -> Sequence[int]:
        return range(3)

    def slots(self, step: Step, written: int) -> int:
        return written

    def goes_on(self, step: Step) -> bool:
        return step.turn < 2

    def seconds(self, step: Step) -> float:
        return 1.0

    def ended(self, step: Step) -> None:
        pass


def wait(name: str, *after: str, condition: str = "Succeeded") -> dict[str, Any]:
    edges = [{"activity": each, "dependencyConditions": [condition]} for each in after]
    return activity(name, "Wait", {"waitTimeInSeconds": 1}, dependsOn=edges)


def counted(*activities: dict[str, Any]) -> tuple[int, float]:
    found = estimate(factory_from_documents(pipeline(list(activities))), "main", Choices())
    return found.total, found.ends_at


def test_activities_wait_for_each_other_and_handlers_of_failures_never_run() -> None:
    assert counted(wait("A"), wait("B", "A"), wait("C", "A"), wait("Handler", "A", condition="Failed")) == (3, 2.0)


@pytest.mark.parametrize(("batch_count", "ends"), [(1, 4.0), (2, 3.0), (3, 2.0)])
def test_items_share_the_slots(batch_count: int, ends: float) -> None:
    items = {"items": expression("@createArray(1, 2, 3)"), "batchCount": batch_count, "activities": [wait("Each")]}

    assert counted(activity("Loop", "ForEach", items)) == (4, ends)


def test_until_counts_every_turn() -> None:
    turns = {"expression": expression("@equals(1, 1)"), "activities": [wait("Turn")]}

    assert counted(activity("Loop", "Until", turns)) == (3, 3.0)


def test_choice_that_the_model_does_not_know_is_an_error() -> None:
    strange = {"expression": expression("@equals(1, 1)"), "ifTrueActivities": [wait("Inside")]}
    factory = factory_from_documents(pipeline([activity("Something new", "IfCondition", strange)]))

    with pytest.raises(LookupError, match="Something new"):
        estimate(factory, "main", Night(1, "adf", Overheads()))


# The goals of a night, counted in adf/ itself.


def share(few: Forecast, many: Forecast) -> float:
    return (many.activities - few.activities) / (many.feeds - few.feeds)


@pytest.mark.parametrize(("route", "activities", "copies"), [("function", 9, 1), ("adf", 20, 3)])
def test_batch_takes_few_activities_and_copies(route: str, activities: int, copies: int) -> None:
    ten = forecast(10, route, Overheads(seal_seconds=60))

    assert ten.activities / 10 <= activities, "the night's own steps and looks included"
    assert ten.copies / 10 == copies
    assert share(ten, forecast(1000, route)) <= activities


@pytest.mark.parametrize(("route", "dollars"), [("function", 18), ("adf", 45)])
def test_thousand_feeds_end_in_time_and_within_their_price(route: str, dollars: float) -> None:
    night = forecast(1000, route, Overheads(activity_seconds=5, copy_seconds=5, slots=50))

    assert night.seconds <= 45 * 60
    assert night.dollars <= dollars


def test_bench_prints_a_row_for_each_route_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--feeds", "10", "--feeds", "20", "--slots", "50"]) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["function", "10"], ["function", "20"], ["adf", "10"], ["adf", "20"]]
    assert all(float(row[5]) > 0 for row in rows)


def test_every_pipeline_of_a_night_is_in_the_model() -> None:
    found = estimate(load_factory(ROOT / "adf"), "nightly", Night(2, "adf", Overheads(), 3))

    assert set(found.by_pipeline) == {
        "nightly",
        "run_dbt",
        "start_batch",
        "await_batches",
        "send_batches",
        "send_batch",
    }

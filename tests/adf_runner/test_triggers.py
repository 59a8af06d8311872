"""Triggers: which windows and instants a period holds, and how their runs follow each other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from factory_support import Documents, activity, expression, pipeline

from adf_runner import Factory, Overrides, factory_from_documents
from adf_runner.run.trigger_runs import WindowRun, find_trigger, run_trigger
from adf_runner.run.triggers import InvalidTrigger, expand
from cli.trigger import listing, trigger_main

FIRST_MONDAY = {"day": "Monday", "occurrence": 1}
WINDOWED = {"start": {"type": "string"}, "end": {"type": "string"}}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def tumbling(**properties: Any) -> Documents:
    body = {
        "type": "TumblingWindowTrigger",
        "runtimeState": "Stopped",
        "pipeline": {
            "pipelineReference": {"referenceName": "main", "type": "PipelineReference"},
            "parameters": {
                "start": "@trigger().outputs.windowStartTime",
                "end": expression("@trigger().outputs.windowEndTime"),
            },
        },
        "typeProperties": {
            "frequency": "Hour",
            "interval": 24,
            "startTime": "2026-11-01T00:00:00Z",
            "maxConcurrency": 1,
            **properties,
        },
    }
    return {"trigger/t.json": {"name": "t", "properties": body}}


def scheduled(**recurrence: Any) -> Documents:
    body = {
        "type": "ScheduleTrigger",
        "pipelines": [{"pipelineReference": {"referenceName": "main", "type": "PipelineReference"}}],
        "typeProperties": {"recurrence": {"startTime": "2026-01-05T03:30:00Z", **recurrence}},
    }
    return {"trigger/t.json": {"name": "t", "properties": body}}


def factory_of(trigger: Documents, *activities: dict[str, Any]) -> Factory:
    is_window = trigger["trigger/t.json"]["properties"]["type"] == "TumblingWindowTrigger"
    work = list(activities) or [activity("W", "Wait", {"waitTimeInSeconds": 1})]
    return factory_from_documents(pipeline(work, **({"parameters": WINDOWED} if is_window else {})) | trigger)


def starts(trigger: Documents, begin: str, end: str) -> list[str]:
    factory = factory_of(trigger)
    return [firing.name for firing in expand(factory.triggers["t"], moment(begin), moment(end))]


def test_windows_follow_each_other_from_the_triggers_start() -> None:
    assert starts(tumbling(), "2026-11-20", "2026-11-23") == [
        "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"
    ]  # fmt: skip


def test_no_window_begins_before_the_triggers_start_or_outlasts_its_end() -> None:
    assert starts(tumbling(endTime="2026-11-03T12:00:00Z"), "2026-10-01", "2026-12-01") == [
        "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
    ]  # fmt: skip


def test_a_period_between_boundaries_takes_windows_that_begin_in_it() -> None:
    hourly = tumbling(interval=6, startTime="2026-11-01T01:00:00Z")

    assert starts(hourly, "2026-11-02T02:00", "2026-11-02T14:00") == ["2026-11-02T07:00:00Z", "2026-11-02T13:00:00Z"]


def test_monthly_windows_follow_the_calendar() -> None:
    assert starts(tumbling(frequency="Month", interval=1, startTime="2026-01-31T00:00:00Z"), "2026-01-01", "2026-05-01") == [
        "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"
    ]  # fmt: skip


def test_a_window_runs_after_its_end_and_the_delay() -> None:
    factory = factory_of(tumbling(delay="02:00:00"))
    lines = listing(
        factory, factory.triggers["t"], expand(factory.triggers["t"], moment("2026-11-21"), moment("2026-11-22"))
    )

    assert lines[0] == (
        "2026-11-21T00:00:00Z .. 2026-11-22T00:00:00Z  runs at 2026-11-22T02:00:00Z  "
        'main {"start": "2026-11-21T00:00:00Z", "end": "2026-11-22T00:00:00Z"}'
    )


@pytest.mark.parametrize(
    ("recurrence", "begin", "end", "expected"),
    [
        ({"frequency": "Hour", "interval": 8}, "2026-01-05", "2026-01-06", ["05T03:30", "05T11:30", "05T19:30"]),
        ({"frequency": "Day", "interval": 2}, "2026-01-05", "2026-01-10", ["05T03:30", "07T03:30", "09T03:30"]),
        (
            {"frequency": "Day", "interval": 1, "schedule": {"hours": [22, 5], "minutes": [0, 15]}},
            "2026-01-06", "2026-01-07", ["06T05:00", "06T05:15", "06T22:00", "06T22:15"],
        ),
        (
            {"frequency": "Week", "interval": 2, "schedule": {"weekDays": ["Tuesday", "Friday"], "hours": [1], "minutes": [0]}},
            "2026-01-05", "2026-01-24", ["06T01:00", "09T01:00", "20T01:00", "23T01:00"],
        ),
        (
            {"frequency": "Month", "interval": 1, "schedule": {"monthDays": [-1, 10, 31]}},
            "2026-02-01", "2026-04-01", ["10T03:30", "28T03:30", "10T03:30", "31T03:30"],
        ),
        (
            {"frequency": "Month", "schedule": {"monthlyOccurrences": [{"day": "Friday", "occurrence": -1}, FIRST_MONDAY]}},
            "2026-02-01", "2026-03-01", ["02T03:30", "27T03:30"],
        ),
        (
            {"frequency": "Year", "interval": 2, "schedule": {"hours": [7], "minutes": [0]}},
            "2026-01-01", "2029-01-01", ["05T07:00", "05T07:00"],
        ),
    ],
)  # fmt: skip
def test_schedules_fire_when_documented(recurrence: dict[str, Any], begin: str, end: str, expected: list[str]) -> None:
    assert [name[8:16] for name in starts(scheduled(**recurrence), begin, end)] == expected


def test_a_schedule_follows_the_wall_clock_of_its_zone() -> None:
    berlin = scheduled(frequency="Day", interval=1, startTime="2026-03-01T06:00:00", timeZone="W. Europe Standard Time")

    assert starts(berlin, "2026-03-28", "2026-03-30") == ["2026-03-28T05:00:00Z", "2026-03-29T04:00:00Z"]


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidTrigger):
        starts(tumbling(), "2026-11-02", "2026-11-01")


SELF = [{"type": "SelfDependencyTumblingWindowTriggerReference", "size": "1.00:00:00", "offset": "-1.00:00:00"}]
FAIL_ON_21 = activity(
    "Check", "IfCondition",
    {"expression": expression("@startsWith(pipeline().parameters.start, '2026-11-21')"),
     "ifTrueActivities": [activity("Stop", "Fail", {"message": "no", "errorCode": "1"})]},
)  # fmt: skip


def run_all(
    factory: Factory, overrides: Overrides | None = None, on_window: Callable[[WindowRun], None] | None = None
) -> list[tuple[str, str]]:
    trigger = find_trigger(factory, "t")
    firings = expand(trigger, moment("2026-11-20"), moment("2026-11-24"))
    windows = run_trigger(
        factory, trigger, firings, overrides or Overrides(sleep=lambda _seconds: None), None, on_window
    )
    return [(window.firing.name[8:10], window.status) for window in windows]


def test_windows_that_depend_on_a_failed_one_do_not_run() -> None:
    assert run_all(factory_of(tumbling(dependsOn=SELF), FAIL_ON_21)) == [
        ("20", "Succeeded"), ("21", "Failed"), ("22", "WaitingOnDependency"), ("23", "WaitingOnDependency")
    ]  # fmt: skip


def test_ctrl_c_starts_no_more_windows_and_leaves_none_unended(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(window: WindowRun) -> None:
        if window.status == "Running" and window.firing.name[8:10] == "21":
            raise KeyboardInterrupt

    monkeypatch.setattr("adf_runner.run.trigger_runs.GRACE_SECONDS", 0.1)

    assert run_all(factory_of(tumbling()), on_window=interrupt) == [
        ("20", "Succeeded"), ("21", "Cancelled"), ("22", "Cancelled"), ("23", "Cancelled")
    ]  # fmt: skip


def test_without_a_self_dependency_the_others_run() -> None:
    assert run_all(factory_of(tumbling(), FAIL_ON_21)) == [
        ("20", "Succeeded"), ("21", "Failed"), ("22", "Succeeded"), ("23", "Succeeded")
    ]  # fmt: skip


def test_a_failed_window_is_retried_as_the_policy_says() -> None:
    asked: list[float] = []
    factory = factory_of(tumbling(retryPolicy={"count": 2, "intervalInSeconds": 900}), FAIL_ON_21)

    run_all(factory, Overrides(sleep=asked.append))

    assert asked == [900.0, 900.0]


def test_as_many_windows_run_at_a_time_as_the_trigger_allows() -> None:
    together = threading.Barrier(4, timeout=20)
    factory = factory_of(tumbling(maxConcurrency=4))

    statuses = run_all(factory, Overrides(sleep=lambda _seconds: together.wait() and None))

    assert [status for _, status in statuses] == ["Succeeded"] * 4


def test_the_command_lists_without_starting_services(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    def never() -> Any:
        pytest.fail("a dry run starts no services")

    code = trigger_main(
        ["hourly_window", "--from", "2026-11-21T05:00", "--to", "2026-11-21T07:00", "--dry-run"],
        repository / "adf",
        never,
    )

    assert code == 0
    assert "2026-11-21T05:00:00Z .. 2026-11-21T06:00:00Z" in capsys.readouterr().out


def test_a_dry_run_is_listed_for_programs(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    period = ["--from", "2026-11-21T05:00", "--to", "2026-11-21T06:00"]

    trigger_main(
        ["hourly_window", *period, "--dry-run", "--json", "-"], repository / "adf", lambda: nullcontext(Overrides())
    )

    (found,) = json.loads(capsys.readouterr().out)
    assert found["windowStartTime"] == "2026-11-21T05:00:00Z"
    assert [call["name"] for call in found["pipelines"]] == ["nightly"]


def test_the_command_runs_and_says_how_many_succeeded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, document in {**pipeline([FAIL_ON_21], parameters=WINDOWED), **tumbling()}.items():
        (tmp_path / "adf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "adf" / name).write_text(json.dumps(document))
    # the pipeline uses only one of its parameters: that is advice, and no reason not to run

    code = trigger_main(
        ["t", "--from", "2026-11-20", "--to", "2026-11-22", "--json", str(tmp_path / "runs.json")],
        tmp_path / "adf",
        lambda: nullcontext(Overrides(sleep=lambda _seconds: None)),
    )

    assert code == 1
    assert "1 of 2 succeeded" in capsys.readouterr().out
    assert [window["status"] for window in json.loads((tmp_path / "runs.json").read_text())] == ["Succeeded", "Failed"]

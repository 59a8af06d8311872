"""Golden status cases: small activity graphs, run by the real control flow, with scripted outcomes for the leaves.

A case says how each leaf ends (`outcome`; a list is one for each iteration of the ForEach around it, across pipelines),
what an expression gives (`value`), how often an Until turns (`iterations`) and what a child pipeline holds (`child`).
Everything else is the executor's own doing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from adf_runner.activities.control import HANDLERS
from adf_runner.errors import ActivityFailed, InvalidFactory
from adf_runner.factory.model import Factory
from adf_runner.factory.reading import read_documents
from adf_runner.pipeline import run_pipeline
from adf_runner.run.engine import Call
from adf_runner.run.records import ActivityRun, Overrides

COUNTER = "turns of "
ITERATION = "iteration"
BRANCH_LISTS = ("activities", "ifTrueActivities", "ifFalseActivities", "defaultActivities")


def run_status_case(case: Mapping[str, Any]) -> dict[str, Any]:
    """Run one case; returns {"activities": {name: status}, "pipeline": status} for the names the case expects."""
    translation = _Translation()
    translation.pipeline("main", case["activities"])
    factory = _factory(translation.documents)

    def scripted_wait(call: Call) -> dict[str, Any]:
        outcome = translation.outcomes.get((call.frame.pipeline.name, call.activity.name), "Succeeded")
        if isinstance(outcome, list):
            outcome = outcome[min(iteration_of(call), len(outcome) - 1)]
        if outcome != "Succeeded":
            raise ActivityFailed("scripted", retriable=False)
        return {}

    def child(call: Call) -> dict[str, Any]:
        properties = {**call.activity.properties, "parameters": {ITERATION: iteration_of(call)}}
        return HANDLERS["ExecutePipeline"](replace(call, activity=replace(call.activity, properties=properties)))

    start = datetime(2026, 1, 1, tzinfo=UTC)
    overrides = Overrides(clock=lambda: start, sleep=lambda _seconds: None)
    run = run_pipeline(
        factory, "main", {}, overrides, handlers={**HANDLERS, "Wait": scripted_wait, "ExecutePipeline": child}
    )
    statuses = _statuses(run.activities)
    expected = case.get("expected", {}).get("activities")
    shown = statuses if expected is None else {name: statuses.get(name) for name in expected}
    return {"activities": shown, "pipeline": run.status}


def iteration_of(call: Call) -> int:
    """Return which iteration an activity runs in: of its own loop, or of the one that called its pipeline."""
    inherited: int = call.frame.run.parameters[ITERATION]
    return inherited if call.place.iteration is None else call.place.iteration


def _factory(documents: Mapping[str, Any]) -> Factory:
    """Read without the lint's advice on nesting and names: a case is about order and status only."""
    factory = read_documents(dict(documents), "case", [])
    if factory.findings:
        raise InvalidFactory(list(factory.findings))
    return factory


def _statuses(runs: list[ActivityRun]) -> dict[str, str]:
    """Gather the outer activities and, for If and Switch, those of the branch taken."""
    found: dict[str, str] = {}
    for run in runs:
        found[run.name] = run.status
        if run.type in {"IfCondition", "Switch"}:
            found |= _statuses(run.children)
    return found


class _Translation:
    """Turns a case's activities into pipeline documents."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.outcomes: dict[tuple[str, str], Any] = {}

    def pipeline(self, name: str, activities: list[dict[str, Any]]) -> None:
        variables: dict[str, Any] = {}
        translated = [self.activity(name, activity, variables) for activity in activities]
        self.documents[f"pipeline/{name}.json"] = {
            "name": name,
            "properties": {
                "activities": translated,
                "variables": variables,
                "parameters": {ITERATION: {"type": "int", "defaultValue": 0}},
            },
        }

    def activity(self, pipeline: str, activity: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        outer = ("name", "type", "dependsOn", "state", "onInactiveMarkAs", "policy", "userProperties")
        made: dict[str, Any] = {key: activity[key] for key in outer if key in activity}
        properties: dict[str, Any] = dict(activity.get("typeProperties", {}))
        for key in BRANCH_LISTS:
            if key in activity:
                properties[key] = [self.activity(pipeline, inner, variables) for inner in activity[key]]
        kind, name = activity["type"], activity["name"]
        properties |= {key: activity[key] for key in ("isSequential", "batchCount", "timeout") if key in activity}
        if "outcome" in activity:  # whatever it would do: here it ends as scripted
            self.outcomes[pipeline, name] = activity["outcome"]
            kind = made["type"] = "Wait"
            made.pop("policy", None)  # nothing is left to retry or to time out
            properties = {}
        if kind == "Wait":
            properties.setdefault("waitTimeInSeconds", 1)
        elif kind == "Fail":
            properties = {"message": "scripted", "errorCode": "500", **properties}
        elif kind == "IfCondition" and "value" in activity:
            properties["expression"] = _expression(f"bool('{str(activity['value']).lower()}')")
        elif kind == "Switch":
            if "value" in activity:
                properties["on"] = _expression(_literal(activity["value"]))
            cases = activity.get("cases", properties.get("cases", []))
            properties["cases"] = [
                {
                    "value": str(case["value"]),
                    "activities": [self.activity(pipeline, item, variables) for item in case.get("activities", [])],
                }
                for case in cases
            ]
        elif kind == "ForEach" and "items" in activity:
            properties["items"] = _expression(f"json({_literal(json.dumps(activity['items']))})")
        elif kind == "Until" and "iterations" in activity:
            counter = f"{COUNTER}{name}"
            variables[counter] = {"type": "Array"}
            count = {"name": counter, "type": "AppendVariable", "typeProperties": {"variableName": counter, "value": 1}}
            properties["activities"] = [*properties.get("activities", []), count]
            properties["expression"] = _expression(
                f"greaterOrEquals(length(variables({_literal(counter)})), {activity['iterations']})"
            )
        elif kind == "ExecutePipeline" and "child" in activity:
            child = f"{pipeline} {name}"
            self.pipeline(child, activity["child"]["activities"])
            properties["pipeline"] = {"referenceName": child, "type": "PipelineReference"}
            properties["waitOnCompletion"] = activity.get("waitOnCompletion", True)
        made["typeProperties"] = properties
        return made


def _literal(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _expression(text: str) -> dict[str, str]:
    return {"type": "Expression", "value": f"@{text}"}

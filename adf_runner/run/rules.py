"""The documented rules as functions: when an activity runs, when a list of them failed, which parameters fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adf_runner.errors import ActivityFailed, InvalidParameters
from adf_runner.factory.model import Activity
from adf_runner.factory.shapes import TIMESPAN, json_type, nearest, seconds
from adf_runner.run.records import ActivityRun

PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "securestring": (str,), "int": (int,), "float": (float, int), "bool": (bool,), "array": (list,),
    "object": (dict,),
}  # fmt: skip
VARIABLE_TYPES: dict[str, tuple[type, ...]] = {
    "String": (str,), "Boolean": (bool,), "Bool": (bool,), "Array": (list,), "Integer": (int,)
}  # fmt: skip


def fits(value: Any, types: tuple[type, ...]) -> bool:
    """Say whether a value is of one of the types; null fits all, and true is not an integer."""
    return value is None or (isinstance(value, types) and not (isinstance(value, bool) and bool not in types))


def span_seconds(value: Any, what: str) -> float:
    """Read a time span that may have come out of an expression; raises ActivityFailed when it is none."""
    if not isinstance(value, str) or not TIMESPAN.match(value):
        raise ActivityFailed(
            f"{what} must be a time span d.hh:mm:ss, not {value!r}", code="InvalidTemplate", retriable=False
        )
    return float(seconds(value))


def conditions_met(activity: Activity, done: Mapping[str, ActivityRun]) -> bool:
    """Say whether every edge is satisfied by any one of its conditions."""
    for edge in activity.depends_on:
        status = done[edge.activity].status
        completed = status in {"Succeeded", "Failed"} and "Completed" in edge.conditions
        if status not in edge.conditions and not completed:
            return False
    return True


def first_failure(activities: tuple[Activity, ...], done: Mapping[str, ActivityRun]) -> ActivityRun | None:
    """Return the activity that makes a list fail by the leaf rule, or None when the list succeeded."""
    by_name = {activity.name: activity for activity in activities}
    inner = {edge.activity for activity in activities for edge in activity.depends_on}
    seen: set[str] = set()

    def judge(name: str) -> ActivityRun | None:
        if name in seen:
            return None
        seen.add(name)
        if done[name].status == "Skipped":
            return next((found for edge in by_name[name].depends_on if (found := judge(edge.activity))), None)
        return None if done[name].status == "Succeeded" else done[name]

    leaves = [activity.name for activity in activities if activity.name not in inner]
    return next((found for leaf in leaves if (found := judge(leaf))), None)


def bind(declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Fill declared parameters from what is given and the defaults; unknown, missing and ill-typed ones are errors."""
    for name in given:
        if name not in declared:
            raise InvalidParameters(
                f"{what} has no parameter {name!r}{nearest(name, list(declared))}",
                f"it has: {', '.join(declared) or 'none'}",
            )
    values: dict[str, Any] = {}
    for name, declaration in declared.items():
        if name not in given and "defaultValue" not in declaration:
            raise InvalidParameters(
                f"{what} needs the parameter {name!r}", f"give a value of type {declaration['type']}"
            )
        value = given.get(name, declaration.get("defaultValue"))
        if not fits(value, PARAMETER_TYPES[str(declaration["type"]).lower()]):
            raise InvalidParameters(
                f"{what}: parameter {name!r} is {json_type(value)}", f"it is declared as {declaration['type']}"
            )
        values[name] = value
    return values

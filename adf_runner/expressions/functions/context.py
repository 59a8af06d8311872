"""The functions that look into the run: pipeline(), variables(), activity(), item(), trigger(), dataset() and others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adf_runner.expressions.collation import is_same
from adf_runner.expressions.errors import UnknownName, did_you_mean, listing
from adf_runner.expressions.functions.signature import Function, as_text
from adf_runner.expressions.scope import NO_ITEM, Scope


def pipeline(_arguments: list[Any], scope: Scope) -> dict[str, Any]:
    """Return the run's names, parameters and global parameters."""
    return {**scope.system, "parameters": scope.parameters, "globalParameters": scope.global_parameters}


def variables(arguments: list[Any], scope: Scope) -> Any:
    """Return the value of a variable. Raises UnknownName."""
    name = as_text("variables", arguments[0], "the name")
    found = look_up(scope.variables, name)
    if found is None:
        raise UnknownName(
            f"variables: there is no variable '{name}'{did_you_mean(name, scope.variables)}",
            hint=f"declared: {listing(scope.variables)}",
        )
    return scope.variables[found]


def activity(arguments: list[Any], scope: Scope) -> Any:
    """Return the outcome of an activity that ended. Raises UnknownName."""
    name = as_text("activity", arguments[0], "the name")
    found = look_up(scope.activities, name)
    if found is None:
        raise UnknownName(
            f"activity: '{name}' has not run before this expression{did_you_mean(name, scope.activities)}",
            hint=f"have run: {listing(scope.activities)}",
        )
    return scope.activities[found]


def look_up(names: Mapping[str, Any], name: str) -> str | None:
    """Return a name as it was declared, whatever its case; None when it was not."""
    if name in names:
        return name
    return next((known for known in names if is_same(known, name)), None)


def item(_arguments: list[Any], scope: Scope) -> Any:
    """Return the item of the innermost loop. Raises UnknownName outside of one."""
    if scope.item is NO_ITEM:
        raise UnknownName("item: there is no item outside of a ForEach or Filter")
    return scope.item


def trigger(_arguments: list[Any], scope: Scope) -> Any:
    """Return what started the run. Raises UnknownName for a run by hand."""
    return present("trigger", scope.trigger, "the run was not started by a trigger")


def trigger_body(_arguments: list[Any], scope: Scope) -> Any:
    """Return the body of the event that started the run. Raises UnknownName where no event did."""
    outputs = present("triggerBody", scope.trigger, "the run was not started by a trigger").get("outputs") or {}
    return present("triggerBody", outputs.get("body"), "the run was not started by an event")


def dataset(_arguments: list[Any], scope: Scope) -> Any:
    """Return the dataset's parameters. Raises UnknownName elsewhere."""
    return present("dataset", scope.dataset, "only a dataset's own properties may use it")


def linked_service(_arguments: list[Any], scope: Scope) -> Any:
    """Return the linked service's parameters. Raises UnknownName elsewhere."""
    return present("linkedService", scope.linked_service, "only a linked service's own properties may use it")


def present(name: str, value: Mapping[str, Any] | None, why: str) -> Mapping[str, Any]:
    """Return a value that exists only in some places. Raises UnknownName with the reason."""
    if value is None:
        raise UnknownName(f"{name}: there is none here; {why}")
    return value


FUNCTIONS = (
    Function("pipeline", 0, 0, pipeline),
    Function("variables", 1, 1, variables),
    Function("activity", 1, 1, activity),
    Function("item", 0, 0, item),
    Function("trigger", 0, 0, trigger),
    Function("triggerBody", 0, 0, trigger_body),
    Function("dataset", 0, 0, dataset),
    Function("linkedService", 0, 0, linked_service),
)

"""Activities that hold, order or count others, and those that only touch the run: variables, Wait, Fail, Filter.

Each handler is called by control.py, which has decided that the activity runs; it raises ActivityFailed to fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from adf_runner.errors import ActivityFailed, Cancelled, InvalidParameters
from adf_runner.expressions import NO_ITEM
from adf_runner.factory.shapes import json_type
from adf_runner.run.engine import Call, Handler, Place, start_thread
from adf_runner.run.records import HIDDEN, ActivityRun
from adf_runner.run.rules import VARIABLE_TYPES, first_failure, fits, span_seconds

RETURN_VALUE = "pipelineReturnValue"


def execute_pipeline(call: Call) -> dict[str, Any]:
    """Run another pipeline; its return values become the output."""
    engine, properties = call.engine, call.activity.properties
    name = properties["pipeline"]["referenceName"]
    parameters = call.evaluate(properties.get("parameters", {}), "parameters")
    try:
        pipeline, frame = engine.start(name, parameters, parent=call.frame, records=call.record.children)
    except InvalidParameters as error:
        raise ActivityFailed(error.message, error.hint, code="BadRequest", retriable=False) from error
    frame.depth = call.place.depth + 1
    call.record.child_run = frame.run
    if call.activity.policy.get("secureInput"):
        frame.run.hidden = frozenset(frame.run.parameters)
    else:
        call.record.input = {"pipeline": {"referenceName": name}, "parameters": frame.run.shown_parameters}
    output: dict[str, Any] = {"pipelineName": name, "pipelineRunId": frame.run.run_id}
    if properties.get("waitOnCompletion") is not True:
        engine.background.append(start_thread(lambda: engine.run(pipeline, frame)))
        return output
    run = engine.run(pipeline, frame)
    output[RETURN_VALUE] = run.return_value
    if run.status == "Cancelled":
        raise Cancelled
    if not run.succeeded:
        raise ActivityFailed(run.message, code="BadRequest", output=output)
    return output


def _inner(
    call: Call, branch: str, *, item: Any = NO_ITEM, iteration: int | None = None
) -> tuple[dict[str, ActivityRun], Place]:
    """Run one branch of a container; the place returned has seen the branch's own activities."""
    seen = dict(call.place.outcomes)
    place = Place(
        outcomes=seen,
        item=call.place.item if item is NO_ITEM else item,
        iteration=call.place.iteration if iteration is None else iteration,
        records=call.record.children,
        depth=call.place.depth + 1,
    )
    activities = call.activity.branches.get(branch, ())
    return call.engine.run_activities(call.frame, activities, place), place


def _inner_error(failed: ActivityRun) -> ActivityFailed:
    message = (failed.error or {}).get("message", failed.status)
    return ActivityFailed(
        f"Activity failed because an inner activity failed; Inner activity name: {failed.name}, Error: {message}",
        code="ActionFailed",
    )


def _run_branch(call: Call, branch: str) -> dict[str, Any]:
    done, place = _inner(call, branch)
    call.place.outcomes.update(place.outcomes)  # what ran inside can be read after it
    call.engine.check_cancelled()
    failed = first_failure(call.activity.branches.get(branch, ()), done)
    if failed:
        raise _inner_error(failed)
    return {}


def if_condition(call: Call) -> dict[str, Any]:
    """Run one of two branches by a condition that is a boolean or the text of one."""
    value = call.evaluate(call.activity.properties["expression"], "expression")
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        value = value.lower() == "true"
    if not isinstance(value, bool):
        raise ActivityFailed(
            f"the expression must give true or false, not {json_type(value)}", code="InvalidTemplate", retriable=False
        )
    call.record.input = {"expressionResult": value}
    return _run_branch(call, "ifTrueActivities" if value else "ifFalseActivities")


def switch(call: Call) -> dict[str, Any]:
    """Run the case whose value is the text of `on`, else the default."""
    value = call.evaluate(call.activity.properties["on"], "on")
    call.record.input = {"on": value}
    text = value if isinstance(value, str) else str(value)
    for index, case in enumerate(call.activity.properties.get("cases", [])):
        if case["value"] == text:
            return _run_branch(call, f"cases[{index}]")
    return _run_branch(call, "defaultActivities")


def for_each(call: Call) -> dict[str, Any]:
    """Run the activities for every item, in order or `batchCount` at a time."""
    properties = call.activity.properties
    items = call.evaluate(properties["items"], "items")
    if not isinstance(items, list):
        raise ActivityFailed(f"items must be an array, not {json_type(items)}", code="InvalidTemplate", retriable=False)
    sequential = properties.get("isSequential", False)
    workers = 1 if sequential else min(properties.get("batchCount", 20), len(items))
    call.record.input = {"itemsCount": len(items), "isSequential": sequential, "batchCount": workers}
    failures: dict[int, ActivityRun] = {}

    def iterate(index: int) -> None:
        done, _ = _inner(call, "activities", item=items[index], iteration=index)
        failed = first_failure(call.activity.branches["activities"], done)
        if failed:
            failures[index] = failed

    in_parallel(iterate, len(items), workers, call.engine.cancelled)
    call.engine.check_cancelled()
    if failures:
        raise _inner_error(failures[min(failures)])
    return {}


def in_parallel(work: Callable[[int], None], count: int, workers: int, cancelled: threading.Event) -> None:
    """Call work(0..count-1), each once, in `workers` threads, in order of index; cancelling starts no more."""
    if workers <= 1:
        for index in range(count):
            if not cancelled.is_set():
                work(index)
        return
    indexes = iter(range(count))
    lock = threading.Lock()
    faults: list[BaseException] = []

    def loop() -> None:
        while not cancelled.is_set() and not faults:
            with lock:
                index = next(indexes, None)
            if index is None:
                return
            try:
                work(index)
            except BaseException as fault:  # noqa: BLE001 - raised again below, in the caller's thread
                faults.append(fault)

    for thread in [start_thread(loop) for _ in range(workers)]:
        thread.join()
    if faults:
        raise faults[0]


def until(call: Call) -> dict[str, Any]:
    """Run the activities until the expression is true; an inner failure does not end it, the timeout does."""
    properties, clock = call.activity.properties, call.engine.overrides.clock
    timeout = call.evaluate(properties.get("timeout", "7.00:00:00"), "timeout")
    limit = span_seconds(timeout, "timeout")
    began, iteration = clock(), 0
    while True:
        _, place = _inner(call, "activities", iteration=iteration)
        call.place.outcomes.update(place.outcomes)
        call.engine.check_cancelled()
        value = call.evaluate(properties["expression"], "expression", call.engine.scope(call.frame, place))
        iteration += 1
        if value is True or (isinstance(value, str) and value.lower() == "true"):
            return {"iterations": iteration}
        if value is not False and not (isinstance(value, str) and value.lower() == "false"):
            raise ActivityFailed(
                f"the expression must give true or false, not {json_type(value)}", code="InvalidTemplate"
            )
        if (clock() - began).total_seconds() >= limit:
            raise ActivityFailed(
                f"the expression was not true within {timeout}", code="Timeout", failure_type="UserError"
            )


def wait(call: Call) -> dict[str, Any]:
    """Pause for `waitTimeInSeconds`."""
    call.pause(float(call.properties["waitTimeInSeconds"]))
    return {}


def set_variable(call: Call) -> dict[str, Any]:
    """Set a variable of the pipeline, or its return values."""
    name, raw = call.activity.properties["variableName"], call.activity.properties.get("value")
    if call.activity.properties.get("setSystemVariable") is True:
        value: Any = {
            pair["key"]: _return_value(call, pair["value"], f"value[{index}]") for index, pair in enumerate(raw or [])
        }
        with call.frame.lock:
            call.frame.run.return_value.update(value)
    else:
        value = call.evaluate(raw, "value")
        _check_variable(call, name, value)
        with call.frame.lock:
            call.frame.variables[name] = value
    _show_input(call, {"variableName": name, "value": value})
    return {"name": name, "value": value}


def _return_value(call: Call, value: Mapping[str, Any], path: str) -> Any:
    kind = value.get("type")
    content = value.get("content")
    if kind == "Null":
        return None
    if kind == "Array":
        return [_return_value(call, item, f"{path}.content[{index}]") for index, item in enumerate(content or [])]
    if kind == "Object":
        return {pair["key"]: _return_value(call, pair["value"], f"{path}.{pair['key']}") for pair in content or []}
    return call.evaluate(content, f"{path}.content") if kind == "Expression" else content


def append_variable(call: Call) -> dict[str, Any]:
    """Append a value to an array variable."""
    name = call.activity.properties["variableName"]
    value = call.evaluate(call.activity.properties["value"], "value")
    with call.frame.lock:
        call.frame.variables[name] = [*(call.frame.variables[name] or []), value]
    _show_input(call, {"variableName": name, "value": value})
    return {}


def _check_variable(call: Call, name: str, value: Any) -> None:
    declared = call.frame.pipeline.variables[name]["type"]
    if not fits(value, VARIABLE_TYPES[declared]):
        raise ActivityFailed(
            f"The variable {name!r} is of type {declared} and cannot be set to {json_type(value)}",
            "convert it: string(), json(), bool(), int()",
            code="BadRequest",
            retriable=False,
        )


def _show_input(call: Call, value: Any) -> None:
    call.record.input = HIDDEN if call.activity.policy.get("secureInput") else value


def filter_items(call: Call) -> dict[str, Any]:
    """Keep the items for which the condition is true."""
    items = call.evaluate(call.activity.properties["items"], "items")
    if not isinstance(items, list):
        raise ActivityFailed(f"items must be an array, not {json_type(items)}", code="InvalidTemplate", retriable=False)
    kept = []
    for item in items:
        scope = call.engine.scope(call.frame, call.place, item=item)
        verdict = call.evaluate(call.activity.properties["condition"], "condition", scope)
        if not isinstance(verdict, bool):
            raise ActivityFailed(
                f"condition must give true or false, not {json_type(verdict)}", code="InvalidTemplate", retriable=False
            )
        if verdict:
            kept.append(item)
    return {"ItemsCount": len(items), "FilteredItemsCount": len(kept), "Value": kept}


def fail(call: Call) -> dict[str, Any]:
    """End the run red with the given message and code."""
    properties = call.activity.properties
    message, code = call.evaluate(properties["message"], "message"), call.evaluate(properties["errorCode"], "errorCode")
    _show_input(call, {"message": message, "errorCode": code})
    raise ActivityFailed(str(message), code=str(code), retriable=False)


HANDLERS: dict[str, Handler] = {
    "ExecutePipeline": execute_pipeline,
    "ForEach": for_each,
    "IfCondition": if_condition,
    "Switch": switch,
    "Until": until,
    "SetVariable": set_variable,
    "AppendVariable": append_variable,
    "Filter": filter_items,
    "Fail": fail,
    "Wait": wait,
}

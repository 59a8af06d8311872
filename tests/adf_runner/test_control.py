"""Control flow: what runs, what is skipped, what a failure does, and what expressions see of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from factory_support import Documents, Pauses, activity, after, expression, pipeline, set_variable

from adf_runner import (
    Event,
    InvalidOverride,
    InvalidParameters,
    Overrides,
    PipelineRun,
    UnknownPipeline,
    factory_from_documents,
    run_pipeline,
)
from adf_runner.activities.table import HANDLERS

Run = Callable[..., PipelineRun]
FAIL = {"message": "no", "errorCode": "7"}


def fail(name: str, **outer: Any) -> dict[str, Any]:
    return activity(name, "Fail", FAIL, **outer)


def wait(name: str, seconds: Any = 1, **outer: Any) -> dict[str, Any]:
    return activity(name, "Wait", {"waitTimeInSeconds": seconds}, **outer)


def child(name: str, activities: list[dict[str, Any]], **properties: Any) -> Documents:
    return {f"pipeline/{name}.json": {"name": name, "properties": {"activities": activities, **properties}}}


def call(name: str, target: str, parameters: dict[str, Any] | None = None, **outer: Any) -> dict[str, Any]:
    reference = {"referenceName": target, "type": "PipelineReference"}
    return activity(
        name,
        "ExecutePipeline",
        {"pipeline": reference, "waitOnCompletion": True, "parameters": parameters or {}},
        **outer,
    )


def returns(**values: str) -> dict[str, Any]:
    pairs = [{"key": key, "value": {"type": "Expression", "content": text}} for key, text in values.items()]
    return activity(
        "Return", "SetVariable", {"variableName": "pipelineReturnValue", "setSystemVariable": True, "value": pairs}
    )


STRINGS = {"s": {"type": "String"}, "t": {"type": "String", "defaultValue": "d"}}


def test_fail_tells_message_and_code_to_the_run_and_to_its_handler(run: Run) -> None:
    note = set_variable("Note", "s", expression("@concat(activity('Stop').error.errorCode, activity('Stop').error.message)"),
                        dependsOn=after("Stop", "Failed"))  # fmt: skip
    result = run(pipeline([fail("Stop"), note], variables=STRINGS))

    assert result.status == "Succeeded"
    assert result.find("Note").output == {"name": "s", "value": "7no"}


def test_a_failed_run_says_which_target_failed(run: Run) -> None:
    result = run(pipeline([fail("Stop")]))

    assert (result.status, result.message) == ("Failed", "Operation on target Stop failed: no")


def test_a_failure_in_a_child_reaches_the_parent_with_the_childs_words(run: Run) -> None:
    result = run(pipeline([call("Call", "kid")]) | child("kid", [fail("Stop")]))

    assert result.message == "Operation on target Call failed: Operation on target Stop failed: no"
    assert [inner.name for inner in result.activities[0].children] == ["Stop"]


def test_a_child_returns_values_to_its_parent(run: Run) -> None:
    take = set_variable(
        "Take", "s", expression("@activity('Call').output.pipelineReturnValue.double"), dependsOn=after("Call")
    )
    kid = child("kid", [returns(double="@string(mul(pipeline().parameters.n, 2))")], parameters={"n": {"type": "Int"}})

    result = run(pipeline([call("Call", "kid", {"n": expression("@add(1,2)")}), take], variables=STRINGS) | kid)

    assert result.find("Take").output["value"] == "6"
    assert result.find("Call").output["pipelineReturnValue"] == {"double": "6"}


def test_return_values_may_be_literals_lists_and_objects(run: Run) -> None:
    value = [
        {"key": "n", "value": {"type": "Int", "content": 3}},
        {"key": "z", "value": {"type": "Null"}},
        {
            "key": "l",
            "value": {
                "type": "Array",
                "content": [{"type": "String", "content": "@x"}, {"type": "Expression", "content": "@add(1,1)"}],
            },
        },
    ]
    result = run(
        pipeline(
            [
                activity(
                    "R",
                    "SetVariable",
                    {"variableName": "pipelineReturnValue", "setSystemVariable": True, "value": value},
                )
            ]
        )
    )

    assert result.return_value == {"n": 3, "z": None, "l": ["@x", 2]}


def test_parameters_default_and_are_checked(run: Run) -> None:
    documents = pipeline(
        [returns(v="@pipeline().parameters.a")], parameters={"a": {"type": "string", "defaultValue": "x"}}
    )

    assert run(documents).return_value == {"v": "x"}
    assert run(documents, {"a": "y"}).return_value == {"v": "y"}
    with pytest.raises(InvalidParameters, match="parameter 'a' is an integer"):
        run(documents, {"a": 1})
    with pytest.raises(InvalidParameters, match="no parameter 'b'"):
        run(documents, {"b": "y"})


def test_a_parameter_without_default_must_be_given(run: Run) -> None:
    with pytest.raises(InvalidParameters, match="needs the parameter 'a'"):
        run(pipeline([returns(v="@pipeline().parameters.a")], parameters={"a": {"type": "string"}}))


def test_unknown_pipelines_and_overrides_are_refused() -> None:
    factory = factory_from_documents(pipeline([wait("W")]))

    with pytest.raises(UnknownPipeline, match="did you mean 'main'"):
        run_pipeline(factory, "mian")
    with pytest.raises(InvalidOverride, match="no global parameter 'x'"):
        run_pipeline(factory, "main", overrides=Overrides(global_parameters={"x": 1}))
    with pytest.raises(InvalidOverride, match="no linked service 'x'"):
        run_pipeline(factory, "main", overrides=Overrides(linked_services={"x": {}}))


def test_global_parameters_come_from_the_file_and_from_overrides(run: Run) -> None:
    documents = pipeline([returns(v="@pipeline().globalParameters.place")]) | {
        "factory/f.json": {
            "name": "f",
            "properties": {"globalParameters": {"place": {"type": "string", "value": "Azure"}}},
        }
    }

    assert run(documents).return_value == {"v": "Azure"}
    assert run(documents, overrides=Overrides(global_parameters={"place": "here"})).return_value == {"v": "here"}


def test_system_variables_name_run_pipeline_factory_and_trigger(run: Run) -> None:
    kid = child(
        "kid",
        [
            returns(
                by="@pipeline().TriggeredByPipelineName", kind="@pipeline().TriggerType", group="@pipeline().GroupId"
            )
        ],
    )
    result = run(
        pipeline(
            [
                call("Call", "kid"),
            ]
        )
        | kid
    )

    value = result.find("Call").output["pipelineReturnValue"]
    assert value == {"by": "main", "kind": "PipelineActivity", "group": result.run_id}


def test_a_trigger_shows_its_window(run: Run) -> None:
    trigger = {"type": "TumblingWindowTrigger", "name": "nightly", "startTime": "s", "scheduledTime": "p",
               "outputs": {"windowStartTime": "2026-11-21T00:00:00Z", "windowEndTime": "e"}}  # fmt: skip

    result = run(
        pipeline([returns(w="@trigger().outputs.windowStartTime", n="@pipeline().TriggerName")]), trigger=trigger
    )

    assert result.return_value == {"w": "2026-11-21T00:00:00Z", "n": "nightly"}


# Containers


def loop(items: str, activities: list[dict[str, Any]], name: str = "Loop", **properties: Any) -> dict[str, Any]:
    return activity(name, "ForEach", {"items": expression(items), "activities": activities, **properties})


def test_foreach_keeps_going_after_a_failed_iteration_and_then_fails(run: Run) -> None:
    check = activity(
        "Check", "IfCondition", {"expression": expression("@equals(item(), 2)"), "ifTrueActivities": [fail("Stop")]}
    )
    gather = activity("Gather", "AppendVariable", {"variableName": "a", "value": expression("@item()")})
    result = run(
        pipeline([loop("@range(1,4)", [check, gather], isSequential=True)], variables={"a": {"type": "Array"}})
    )

    assert result.status == "Failed"
    assert [inner.input["value"] for inner in result.activities[0].children if inner.name == "Gather"] == [1, 2, 3, 4]
    assert "Inner activity name: Check" in result.message


def test_foreach_runs_its_batch_at_the_same_time() -> None:
    together = threading.Barrier(4, timeout=20)

    result = run_pipeline(
        factory_from_documents(pipeline([loop("@range(1,4)", [wait("W")], batchCount=4)])),
        "main", overrides=Overrides(sleep=lambda _seconds: together.wait() and None),
    )  # fmt: skip

    assert result.status == "Succeeded"  # each iteration waited for the three others


def test_foreach_never_runs_more_than_its_batch() -> None:
    running, most = [], [0]
    lock = threading.Lock()

    def sleep(_seconds: float) -> None:
        with lock:
            running.append(1)
            most[0] = max(most[0], len(running))
        time.sleep(0.005)
        with lock:
            running.pop()

    factory = factory_from_documents(pipeline([loop("@range(1,20)", [wait("W")], batchCount=3)]))
    run_pipeline(factory, "main", overrides=Overrides(sleep=sleep))

    assert most[0] == 3


def test_foreach_over_nothing_succeeds(run: Run) -> None:
    assert run(pipeline([loop("@json('[]')", [fail("Stop")])])).status == "Succeeded"


def test_independent_activities_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)
    factory = factory_from_documents(pipeline([wait("A"), wait("B"), wait("C")]))

    result = run_pipeline(factory, "main", overrides=Overrides(sleep=lambda _seconds: together.wait() and None))

    assert result.status == "Succeeded"


def test_a_handled_failure_inside_a_branch_does_not_fail_the_container(run: Run) -> None:
    inner = [fail("Stop"), wait("Handle", dependsOn=after("Stop", "Failed"))]
    result = run(
        pipeline([activity("If", "IfCondition", {"expression": expression("@equals(1,1)"), "ifTrueActivities": inner})])
    )

    assert result.status == "Succeeded"


def test_if_without_a_branch_to_take_succeeds(run: Run) -> None:
    result = run(
        pipeline(
            [
                activity(
                    "If", "IfCondition", {"expression": expression("@equals(1,2)"), "ifTrueActivities": [fail("Stop")]}
                )
            ]
        )
    )

    assert (result.status, result.activities[0].children) == ("Succeeded", [])


def test_if_of_something_else_than_a_boolean_fails(run: Run) -> None:
    result = run(
        pipeline(
            [activity("If", "IfCondition", {"expression": expression("@add(1,1)"), "ifTrueActivities": [wait("W")]})]
        )
    )

    assert "must give true or false" in result.message


@pytest.mark.parametrize(("value", "taken"), [("a", "InA"), ("b", "InB"), ("c", "InDefault"), ("A", "InDefault")])
def test_switch_takes_the_equal_case_or_the_default(run: Run, value: str, taken: str) -> None:
    cases = [{"value": "a", "activities": [wait("InA")]}, {"value": "b", "activities": [wait("InB")]}]
    switch = activity(
        "S",
        "Switch",
        {"on": expression("@pipeline().parameters.v"), "cases": cases, "defaultActivities": [wait("InDefault")]},
    )
    result = run(pipeline([switch], parameters={"v": {"type": "string"}}), {"v": value})

    assert [inner.name for inner in result.activities[0].children] == [taken]


def until(text: str, activities: list[dict[str, Any]], **properties: Any) -> dict[str, Any]:
    return activity("Until", "Until", {"expression": expression(text), "activities": activities, **properties})


COUNT = activity("Count", "AppendVariable", {"variableName": "a", "value": 1})


def test_until_goes_on_after_an_inner_failure(run: Run) -> None:
    result = run(
        pipeline(
            [until("@equals(length(variables('a')), 3)", [COUNT, fail("Stop")])], variables={"a": {"type": "Array"}}
        )
    )

    assert (result.status, result.activities[0].output) == ("Succeeded", {"iterations": 3})


def test_until_sees_its_own_activities(run: Run) -> None:
    documents = pipeline(
        [until("@equals(activity('Set').output.value, 'x')", [set_variable("Set", "s", "x")])], variables=STRINGS
    )

    assert run(documents).status == "Succeeded"


def test_until_fails_at_its_timeout_by_the_runs_clock() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]

    def sleep(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    factory = factory_from_documents(pipeline([until("@equals(1,2)", [wait("W", 60)], timeout="0.00:10:00")]))
    result = run_pipeline(factory, "main", overrides=Overrides(clock=lambda: now[0], sleep=sleep))

    assert result.status == "Failed"
    assert result.activities[0].error["errorCode"] == "Timeout"
    assert len(result.activities[0].children) == 10


# Variables, filter, errors in expressions


def test_a_variable_refuses_a_value_of_another_type(run: Run) -> None:
    result = run(pipeline([set_variable("Set", "s", expression("@add(1,1)"))], variables=STRINGS))

    assert "is of type String and cannot be set to an integer" in result.message


def test_filter_counts_and_keeps(run: Run) -> None:
    keep = activity(
        "Keep", "Filter", {"items": expression("@range(1,5)"), "condition": expression("@greater(item(), 3)")}
    )

    assert run(pipeline([keep])).activities[0].output == {"ItemsCount": 5, "FilteredItemsCount": 2, "Value": [4, 5]}


def test_the_output_of_a_skipped_activity_is_an_error(run: Run) -> None:
    ask = set_variable("Ask", "s", expression("@activity('Quiet').output?.x"), dependsOn=after("Quiet", "Skipped"))
    quiet = wait("Quiet", dependsOn=after("First", "Failed"))
    result = run(pipeline([wait("First"), quiet, ask], variables=STRINGS))

    assert result.status == "Failed"
    assert "adf/pipeline/main.json: activities[2] 'Ask' value" in result.message


def test_a_wait_asks_the_runs_own_sleep(run: Run, pauses: Pauses) -> None:
    run(pipeline([wait("W", expression("@add(20, 10)"))]))

    assert pauses.asked == [30.0]


# Inactive, retries, masks, concurrency


def test_an_inactive_activity_gets_its_marked_status(run: Run) -> None:
    marked = fail("Stop", state="Inactive", onInactiveMarkAs="Failed")
    result = run(pipeline([marked, wait("W", dependsOn=after("Stop", "Failed"))]))

    assert [inner.status for inner in result.activities] == ["Failed", "Succeeded"]


def test_retry_tries_again_after_its_interval(run: Run, pauses: Pauses) -> None:
    unreachable = activity(
        "Call", "WebActivity", {"url": "http://127.0.0.1:9/", "method": "GET"},
        policy={"timeout": "0.00:01:00", "retry": 2, "retryIntervalInSeconds": 45, "secureInput": False, "secureOutput": False},
    )  # fmt: skip
    result = run(pipeline([unreachable]))

    assert result.status == "Failed"
    assert pauses.asked == [45.0, 45.0]
    assert len(result.activities[0].attempts) == 2


def test_secure_input_and_output_are_masked_everywhere(run: Run) -> None:
    seen: list[str] = []

    def listen(event: Event) -> None:
        seen.append(json.dumps(event.run.to_json(), default=str))

    hide = set_variable(
        "Hide", "s", expression("@concat('sec', 'ret')"), policy={"secureInput": True, "secureOutput": True}
    )
    same = expression("@equals(activity('Hide').output.value, concat('sec', 'ret'))")
    use = activity("Use", "IfCondition", {"expression": same}, dependsOn=after("Hide"))
    result = run(pipeline([hide, use], variables=STRINGS), on_event=listen)

    assert result.find("Use").input == {"expressionResult": True}
    assert "secret" not in "".join(seen)


def test_a_secure_failure_keeps_its_words_to_itself(run: Run) -> None:
    value = expression("@int(concat('sec', 'ret'))")
    hide = set_variable("Hide", "s", value, policy={"secureInput": True, "secureOutput": False})
    result = run(pipeline([hide], variables=STRINGS))

    assert result.status == "Failed"
    assert "secret" not in json.dumps(result.to_json())


def test_secure_string_parameters_are_masked(run: Run) -> None:
    kid = child(
        "kid", [wait("W", expression("@length(pipeline().parameters.p)"))], parameters={"p": {"type": "SecureString"}}
    )
    result = run(pipeline([call("Call", "kid", {"p": expression("@concat('sec', 'ret')")})]) | kid)

    assert result.status == "Succeeded"
    assert "secret" not in json.dumps(result.to_json())


def test_secure_input_of_a_call_hides_the_childs_parameters_too(run: Run) -> None:
    seen: list[str] = []
    kid = child(
        "kid", [wait("W", expression("@length(pipeline().parameters.p)"))], parameters={"p": {"type": "string"}}
    )
    call_it = call("Call", "kid", {"p": expression("@concat('sec', 'ret')")}, policy={"secureInput": True})

    run(pipeline([call_it]) | kid, on_event=lambda event: seen.append(json.dumps(event.run.to_json())))

    assert "secret" not in "".join(seen)


def test_user_properties_are_evaluated_into_the_record(run: Run) -> None:
    marked = wait("W", userProperties=[{"name": "batch", "value": expression("@concat('a', 'b')")}])

    assert run(pipeline([marked])).to_json()["activities"][0]["userProperties"] == {"batch": "ab"}


def test_a_timeout_that_is_no_time_span_fails_its_activity(run: Run) -> None:
    odd = until("@equals(1,1)", [wait("W")], timeout=expression("@concat('a', 'b')"))

    assert "must be a time span" in run(pipeline([odd])).message


def test_concurrency_of_a_pipeline_holds_across_its_runs() -> None:
    running, most = [], [0]

    def sleep(_seconds: float) -> None:
        running.append(1)
        most[0] = max(most[0], len(running))
        time.sleep(0.005)
        running.pop()

    documents = pipeline([loop("@range(1,6)", [call("Call", "kid")], batchCount=6)]) | child(
        "kid", [wait("W")], concurrency=1
    )
    result = run_pipeline(factory_from_documents(documents), "main", overrides=Overrides(sleep=sleep))

    assert (result.status, most[0]) == ("Succeeded", 1)


def test_a_child_that_is_not_waited_for_does_not_fail_its_parent(run: Run) -> None:
    start = call("Start", "kid")
    start["typeProperties"]["waitOnCompletion"] = False
    result = run(pipeline([start]) | child("kid", [fail("Stop")]))

    assert result.status == "Succeeded"
    assert result.activities[0].child_run is not None
    assert result.activities[0].child_run.status == "Failed"


def test_cancelling_ends_a_real_wait_and_skips_the_rest() -> None:
    from adf_runner.run.engine import Engine

    factory = factory_from_documents(pipeline([wait("Long", 3600), wait("Next", dependsOn=after("Long"))]))
    started = threading.Event()
    engine = Engine(
        factory, Overrides(), HANDLERS, on_event=lambda event: started.set() if event.kind == "start" else None
    )
    ready, frame = engine.start("main", {})
    thread = threading.Thread(target=lambda: engine.run(ready, frame))
    thread.start()
    started.wait(20)

    engine.cancel()
    thread.join(20)

    assert not thread.is_alive()
    assert frame.run.status == "Cancelled"
    assert [inner.status for inner in frame.run.activities] == ["Cancelled", "Skipped"]


@pytest.mark.parametrize("activities", [[wait("A"), wait("B")], [loop("@range(1,4)", [wait("W")])], [wait("A")]])
def test_a_listener_that_raises_ends_the_run_with_its_error(activities: list[dict[str, Any]]) -> None:
    def listen(event: Event) -> None:
        if event.kind == "start" and event.activity is not None and event.activity.type == "Wait":
            raise LookupError("listener")

    factory = factory_from_documents(pipeline(activities))

    with pytest.raises(LookupError, match="listener"):
        run_pipeline(factory, "main", overrides=Overrides(sleep=lambda _seconds: None), on_event=listen)


def test_the_record_is_json(run: Run) -> None:
    result = run(pipeline([loop("@range(1,2)", [wait("W")])]))
    record = json.loads(json.dumps(result.to_json()))

    assert record["status"] == "Succeeded"
    assert [inner["iteration"] for inner in record["activities"][0]["activities"]] == [0, 1]

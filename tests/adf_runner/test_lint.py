"""Each rule of the lint, by a small factory that breaks it, and the message that names file, place and reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from factory_support import (
    PATHS,
    SERVICES,
    Documents,
    activity,
    after,
    blob_location,
    dataset,
    expression,
    linked_service,
    pipeline,
    secret,
    set_variable,
    to,
)

from adf_runner import InvalidFactory, factory_from_documents, load_factory
from adf_runner.factory.reading import read_documents
from adf_runner.lint.lint import findings
from cli.adf_check import check_main

WAIT = activity("W", "Wait", {"waitTimeInSeconds": 1})
STRING = {"v": {"type": "String"}}
BLOB = dataset("blob", "Binary", "storage", {"location": blob_location()}, **PATHS)
FAIL = activity("Stop", "Fail", {"message": "m", "errorCode": "1"})


def messages(documents: Documents) -> list[str]:
    return [str(finding) for finding in findings(read_documents(dict(documents), "adf", []))]


def only(documents: Documents, *ignored: str) -> str:
    """Return the one finding that is not advice about unused things."""
    found = [
        text
        for text in messages(documents)
        if not any(advice in text for advice in ("never used", "nothing refers", "waitOnCompletion"))
        and text not in ignored
    ]
    assert len(found) == 1, found
    return found[0]


def loop(*activities: dict[str, Any], name: str = "Loop") -> dict[str, Any]:
    return activity(name, "ForEach", {"items": expression("@range(1,2)"), "activities": list(activities)})


def web(**properties: Any) -> dict[str, Any]:
    return activity("C", "WebActivity", {"url": "https://x", "method": "GET", **properties})


def test_a_sound_factory_has_no_findings() -> None:
    assert messages(pipeline([WAIT])) == []


def test_the_policy_that_studio_writes_is_fine() -> None:
    assert messages(pipeline([WAIT], policy={"elapsedTimeMetric": {}, "cancelAfter": {}})) == []
    assert messages(pipeline([WAIT], policy={"elapsedTimeMetric": {"duration": "0.01:00:00"}})) == []
    assert "Studio writes it empty" in only(pipeline([WAIT], policy={"cancelAfter": {"duration": "0.01:00:00"}}))


def test_an_unknown_function_is_named_with_file_place_and_the_nearest() -> None:
    text = only(pipeline([WAIT, set_variable("Set", "v", expression("@cocnat('a', 'b')"))], variables=STRING))

    assert (
        text == "adf/pipeline/main.json: activities[1] 'Set' value: unknown function 'cocnat'; did you mean 'concat'?"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("@pipeline().parameters.x", "no parameter 'x'"),
        ("@pipeline().globalParameters.x", "no file in factory/ declares the global parameter 'x'"),
        ("@pipeline().RunID2", "pipeline() has no property 'RunID2'; did you mean 'RunId'?"),
        ("@variables('x')", "no variable 'x'"),
        ("@variables('v')", "a variable must not refer to itself"),
        ("@item()", "item() exists only inside ForEach"),
        ("@activity('X').output", "no activity 'X'"),
        ("@activity('W').output", "activity 'W' has not run here"),
        ("@dataset().x", "dataset() does not exist in a pipeline"),
        ("@concat('a'", ""),
        ("@equals(1)", "equals: expects 2 arguments, got 1"),
        ("@if(true, 1, utcNow('o', 'o'))", "utcNow: expects 0 to 1 arguments, got 2"),
        ("text @{pipeline('x')}", "pipeline: expects 0 arguments, got 1"),
        ("text @{add(1,}", ""),
        ("@concat('" + "x" * 8192 + "')", "longer than 8192"),
    ],
)
def test_expressions_that_cannot_work_are_found(value: str, said: str) -> None:
    found = only(pipeline([WAIT, set_variable("Set", "v", value)], variables=STRING))

    assert found.startswith("adf/pipeline/main.json: activities[1] 'Set' value: ")
    assert said in found


def test_item_is_fine_in_loops_and_filters_and_upstream_is_inherited() -> None:
    inner = activity(
        "If", "IfCondition", {"expression": expression("@equals(item(), activity('W').output)"), "ifTrueActivities": []}
    )
    keep = activity(
        "Keep", "Filter", {"items": expression("@range(1,2)"), "condition": expression("@equals(item(), 1)")}
    )
    outer = {**loop(inner), "dependsOn": after("W")}

    assert messages(pipeline([WAIT, keep, outer])) == []


def test_an_inner_activity_is_not_seen_from_outside_its_container() -> None:
    peek = set_variable("Peek", "v", expression("@string(activity('W').output)"), dependsOn=after("Loop"))

    assert "has not run here" in only(pipeline([loop(WAIT), peek], variables=STRING))


@pytest.mark.parametrize(
    ("activities", "said"),
    [
        ([WAIT, WAIT], "stands twice"),
        ([WAIT, {**WAIT, "name": "w"}], "stands twice"),
        ([{**WAIT, "dependsOn": after("X")}], "no activity 'X' beside it"),
        (
            [{**WAIT, "dependsOn": after("V")}, {**WAIT, "name": "V", "dependsOn": after("W")}],
            "waits for itself: W -> V -> W",
        ),
        (
            [WAIT, {**WAIT, "name": "V", "dependsOn": after("W", "Completed", "Failed")}],
            "Completed must not stand beside",
        ),
        ([WAIT, {**WAIT, "name": "V", "dependsOn": after("W", "Success")}], "Azure does not know 'Success'"),
        ([{**WAIT, "name": "a/b"}], "must not hold /"),
        ([{**WAIT, "name": "x" * 56}], "longer than 55"),
        (
            [{**WAIT, "type": "Wiat"}],
            "type 'Wiat' is in none of Azure's published models; did you mean 'Wait'?",
        ),
        ([{**WAIT, "colour": "red"}], "property 'colour' is in none of Azure's published models"),
        ([activity("W", "Wait", {"waitTimeInSecond": 1})], "did you mean 'waitTimeInSeconds'?"),
        ([activity("W", "Wait", {"waitTimeInSeconds": "1"})], "must be an integer, not a string"),
        ([activity("W", "Wait", {})], "Azure needs the property 'waitTimeInSeconds'"),
        ([loop(loop(WAIT, name="In"))], "ForEach must not stand inside ForEach"),
        (
            [loop(activity("U", "Until", {"expression": expression("@equals(1,1)"), "activities": [WAIT]}))],
            "Until must not stand inside ForEach",
        ),
        ([activity("F", "ForEach", {"items": "@range(1,2)", "activities": [WAIT]})], "must be an expression object"),
        (
            [activity("F", "ForEach", {"items": expression("range(1,2)"), "activities": [WAIT]})],
            "'F' items: 'range(1,2)' is text; an expression begins with @",
        ),
        ([activity("I", "IfCondition", {"expression": expression("equals(1,1)")})], "is text"),
        ([activity("U", "Until", {"expression": expression("@@true"), "activities": [WAIT]})], "is text"),
        ([activity("S", "Switch", {"on": expression("on")})], "is text"),
        (
            [activity("F", "ForEach", {"items": expression("@range(1,2)"), "activities": [WAIT], "batchCount": 51})],
            "51 is above 50",
        ),
        ([activity("C", "WebActivity", {"url": "https://x", "method": "GET", "body": "{}"})], "GET takes no body"),
        ([activity("C", "WebActivity", {"url": "https://x", "method": "POST"})], "POST needs a body"),
        ([activity("C", "WebActivity", {"url": "ftp://x", "method": "GET"})], "must begin with https://"),
        ([web(httpRequestTimeout="00:00:59")], "'00:00:59' is shorter than Azure allows"),
        ([web(httpRequestTimeout="00:10:01")], "'00:10:01' is longer than Azure allows"),
        (
            [activity("C", "WebActivity", {"url": "https://x", "method": "GET", "disableCertValidation": True})],
            "certificates are always checked",
        ),
        (
            [activity("C", "WebActivity", {"url": "https://x", "method": "GET"}, policy={"timeout": "8.00:00:00"})],
            "longer than Azure allows",
        ),
        (
            [activity("C", "WebActivity", {"url": "https://x", "method": "GET"}, policy={"retryIntervalInSeconds": 5})],
            "5 is below 30",
        ),
        ([{**WAIT, "policy": {"retry": 1}}], "property 'policy' is in none of Azure's published models"),
        (
            [activity("E", "ExecutePipeline", {"pipeline": {"referenceName": "x", "type": "PipelineReference"}})],
            "no pipeline 'x'",
        ),
        (
            [activity("E", "ExecutePipeline", {"pipeline": {"referenceName": "main", "type": "PipelineReference"}})],
            "call each other in a circle",
        ),
        ([set_variable("S", "nope", "x")], "no variable 'nope'"),
        ([activity("A", "AppendVariable", {"variableName": "v", "value": "x"})], "AppendVariable needs an Array"),
        ([set_variable("S", "v", {"type": "Expression", "valeu": "@add(1,1)"})], "is almost an expression"),
        ([set_variable("S", "v", "DefaultEndpointsProtocol=https;AccountKey=abc")], "looks like a secret inline"),
        (
            [activity("S", "Switch", {"on": expression("@string(1)"), "cases": [{"value": "1"}, {"value": "1"}]})],
            "'1' stands twice",
        ),
        ([{**WAIT, "userProperties": [{"name": "n", "value": "@nope()"}]}], "unknown function 'nope'"),
        ([], "needs at least one activity"),
    ],
)
def test_activities_that_azure_or_the_executor_refuses_are_found(activities: list[dict[str, Any]], said: str) -> None:
    assert any(said in text for text in messages(pipeline(activities, variables=STRING)))


def test_declared_things_that_nothing_uses_are_advice_that_stops_no_run() -> None:
    documents = pipeline([WAIT], variables=STRING, parameters={"p": {"type": "string"}}) | SERVICES

    found = messages(documents)

    assert "adf/pipeline/main.json: parameters.p: is declared and never used" in found
    assert "adf/pipeline/main.json: variables.v: is declared and never used" in found
    assert "adf/linkedService/storage.json: nothing refers to it" in found
    assert factory_from_documents(documents).pipelines


def called(**parameters: Any) -> Documents:
    call = {"pipeline": {"referenceName": "other", "type": "PipelineReference"}, "parameters": parameters}
    declared = {"n": {"type": "int"}, "o": {"type": "object", "defaultValue": {}}}
    other = {"activities": [WAIT], "parameters": declared}
    main = pipeline([activity("E", "ExecutePipeline", call)])
    return {**main, "pipeline/other.json": {"name": "other", "properties": other}}


def globals_of(kind: str, value: Any) -> Documents:
    declared = {"globalParameters": {"g": {"type": kind, "value": value}}}
    return {**pipeline([WAIT]), "factory/f.json": {"name": "f", "properties": declared}}


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (called(n="1"), "activities[0] 'E' parameters.n: is a string, and 'n' is declared as int"),
        (called(n=1.5), "parameters.n: is a number"),
        (called(n=True), "parameters.n: is a boolean"),
        (called(n=1, o=[]), "parameters.o: is an array, and 'o' is declared as object"),
        (globals_of("int", "x"), "adf/factory/f.json: globalParameters.g.value: is a string"),
        (globals_of("bool", "true"), "globalParameters.g.value: is a string"),
        (
            pipeline([set_variable("S", "v", 5)], variables=STRING),
            "'S' value: is an integer, and 'v' is declared as String",
        ),
        (
            pipeline([WAIT], variables={"v": {"type": "Array", "defaultValue": "[]"}}),
            "variables.v.defaultValue: is a string",
        ),
        (
            pipeline([WAIT], parameters={"p": {"type": "int", "defaultValue": "1"}}),
            "parameters.p.defaultValue: is a string",
        ),
        (pipeline([WAIT], parameters={"p": {"type": "SecureString", "defaultValue": "pw"}}), "holds a secret inline"),
    ],
)
def test_constants_of_another_type_than_declared_are_found(documents: Documents, said: str) -> None:
    assert said in only(documents)


def test_constants_of_the_declared_type_are_fine() -> None:
    assert [text for text in messages(called(n=None, o={"a": 1})) if "declared as" in text] == []
    assert [text for text in messages(called(n=expression("@int('1')"))) if "declared as" in text] == []
    assert [text for text in messages(globals_of("float", 1)) if "declared as" in text] == []


def test_a_failure_path_that_ends_well_turns_the_run_green() -> None:
    handle = activity("Tell", "Wait", {"waitTimeInSeconds": 1}, dependsOn=after("W", "Failed"))

    assert only(pipeline([WAIT, handle])) == (
        "adf/pipeline/main.json: activities[0] 'W': when it fails, 'Tell' handles it and the run turns green; "
        "end that path in a Fail"
    )


@pytest.mark.parametrize(
    "more",
    [
        [{**FAIL, "dependsOn": after("Tell")}],
        [activity("On", "Wait", {"waitTimeInSeconds": 1}, dependsOn=after("W"))],
        [activity("Or", "IfCondition", {"expression": expression("@equals(1,1)"), "ifTrueActivities": [FAIL],
                                        "ifFalseActivities": [{**FAIL, "name": "Stop too"}]}, dependsOn=after("Tell"))],
    ],
)  # fmt: skip
def test_a_failure_path_that_keeps_the_run_red_is_fine(more: list[dict[str, Any]]) -> None:
    handle = activity("Tell", "Wait", {"waitTimeInSeconds": 1}, dependsOn=after("W", "Failed"))

    assert messages(pipeline([WAIT, handle, *more])) == []


def test_a_deliberate_failure_path_says_so() -> None:
    why = [{"name": "failureIsHandled", "value": "the log is a courtesy"}]
    handle = activity("Tell", "Wait", {"waitTimeInSeconds": 1}, dependsOn=after("W", "Failed"))

    assert messages(pipeline([{**WAIT, "userProperties": why}, handle])) == []


def test_pipelines_that_call_each_other_are_found() -> None:
    def call(target: str) -> dict[str, Any]:
        return activity("E", "ExecutePipeline", {"pipeline": {"referenceName": target, "type": "PipelineReference"}})

    other = {"pipeline/other.json": {"name": "other", "properties": {"activities": [call("main")]}}}

    assert "main -> other -> main" in only(pipeline([call("other")]) | other)


def copy_of(source: dict[str, Any], sink: dict[str, Any], origin: str = "blob", target: str = "blob") -> Documents:
    return pipeline(
        [activity("C", "Copy", {"source": source, "sink": sink}, inputs=[to(origin)], outputs=[to(target)])]
    )


BINARY_SOURCE = {"type": "BinarySource", "storeSettings": {"type": "AzureBlobStorageReadSettings"}}
BINARY_SINK = {"type": "BinarySink", "storeSettings": {"type": "AzureBlobStorageWriteSettings"}}


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (copy_of({"type": "JsonSource"}, BINARY_SINK), "goes with Json, and the dataset is Binary"),
        (
            copy_of({**BINARY_SOURCE, "storeSettings": {"type": "SftpReadSettings"}}, BINARY_SINK),
            "must be AzureBlobStorageReadSettings",
        ),
        (
            copy_of({**BINARY_SOURCE, "recursive": True}, BINARY_SINK),
            "property 'recursive' is in none of Azure's published models",
        ),
        (copy_of({**BINARY_SOURCE, "type": "ExcelSource"}, BINARY_SINK), "type 'ExcelSource' is not run here"),
        (copy_of(BINARY_SOURCE, BINARY_SINK, "blbo"), "no dataset 'blbo'; did you mean 'blob'?"),
    ],
)
def test_copies_that_do_not_fit_together_are_found(documents: Documents, said: str) -> None:
    assert any(said in text for text in messages({**SERVICES, **BLOB, **documents}))


TEXT_SINK = {
    "type": "DelimitedTextSink",
    "storeSettings": {"type": "AzureBlobStorageWriteSettings"},
    "formatSettings": {"type": "DelimitedTextWriteSettings", "fileExtension": ".csv", "quoteAllText": True},
}


def text(**layout: Any) -> Documents:
    return dataset("text", "DelimitedText", "storage", {"location": blob_location(), **layout}, **PATHS)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ({"columnDelimiter": "||"}, "adf/dataset/text.json: columnDelimiter '||' must be one character for Copy"),
        ({"columnDelimiter": ""}, "must be one character"),
        ({"rowDelimiter": "\n\n"}, "must be one character or"),
        ({"quoteChar": "''"}, "quoteChar \"''\" must be one character or empty"),
        ({"escapeChar": "//"}, "escapeChar '//' must be one character or empty"),
        ({"escapeChar": ""}, "an empty escapeChar needs an empty quoteChar as well"),
        ({"columnDelimiter": "'", "quoteChar": "'"}, "columnDelimiter and quoteChar must differ"),
        ({"columnDelimiter": "\n"}, "columnDelimiter and rowDelimiter must differ"),
    ],
)
def test_layouts_that_copy_refuses_are_found(layout: dict[str, Any], said: str) -> None:
    assert said in only({**SERVICES, **pipeline([WAIT]), **text(**layout)})


def test_quotes_around_everything_need_a_quote_character() -> None:
    documents = {**SERVICES, **copy_of({"type": "JsonSource"}, TEXT_SINK, "json", "text")}
    documents |= dataset("json", "Json", "storage", {"location": blob_location()}, **PATHS)

    assert only({**documents, **text(quoteChar="")}) == (
        "adf/pipeline/main.json: activities[0] 'C' sink.formatSettings: quoteAllText needs a quoteChar"
    )
    assert [found for found in messages({**documents, **text()}) if "quoteAllText" in found] == []


def test_a_layout_that_a_parameter_makes_is_left_to_the_run() -> None:
    made = text(columnDelimiter=expression("@dataset().folder"), quoteChar="'")

    assert [found for found in messages({**SERVICES, **made}) if "nothing refers" not in found] == []


APP = {"functionAppUrl": "https://x"}
INLINE = {"type": "SecureString", "value": "abc"}
SFTP = {
    "host": "h",
    "authenticationType": "Basic",
    "userName": "u",
    "password": secret("x"),
    "hostKeyFingerprint": "SHA256:" + "A" * 43,
}


def database(**outer: Any) -> Documents:
    properties = {"server": "s", "database": "d", "username": "u", "password": secret("x")}
    return linked_service("db", "AzurePostgreSql", properties, **outer)


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (database(version="1.0"), "version: only version '2.0'"),
        (linked_service("app", "AzureFunction", {**APP, "functionKey": "abc"}), "Azure wants an object"),
        (linked_service("app", "AzureFunction", {**APP, "functionKey": INLINE}), "holds a secret inline"),
        (linked_service("p", "Sftp", {**SFTP, "authenticationType": "SshPublicKey"}), "needs 'privateKeyContent'"),
        (linked_service("p", "Sftp", {**SFTP, "hostKeyFingerprint": "aa:bb"}), "has neither the form"),
        (linked_service("p", "Sftp", {**SFTP, "skipHostKeyValidation": True}), "the server's key is always checked"),
        (linked_service("p", "Sftp", {"host": "h", "userName": "u"}), "lacks the property 'hostKeyFingerprint'"),
        (linked_service("x", "Oracle", {}), "linked service type 'Oracle'"),
        (dataset("d", "Binary", "nowhere", {"location": blob_location()}, **PATHS), "no linked service 'nowhere'"),
        (
            dataset("d", "Binary", "warehouse", {"location": blob_location()}, **PATHS),
            "is a AzurePostgreSql, not AzureBlob",
        ),
        (dataset("d", "Binary", "storage", {"location": blob_location()}), "no parameter 'folder'"),
        (
            {"pipeline/a.json": {"name": "b", "properties": {"activities": [WAIT]}}},
            "'b' must equal the file's name 'a'",
        ),
        (
            {"pipeline/a.json": {"name": "a", "type": "datasets", "properties": {"activities": [WAIT]}}},
            "'datasets' must be",
        ),
        ({"pipeline/a.json": {"name": "a", "propertys": {}}}, "did you mean 'properties'?"),
    ],
)
def test_files_that_azure_or_the_executor_refuses_are_found(documents: Documents, said: str) -> None:
    assert any(said in text for text in messages({**SERVICES, **documents})), messages({**SERVICES, **documents})


def trigger(**typed: Any) -> Documents:
    properties = {
        "frequency": "Hour",
        "interval": 24,
        "startTime": "2026-11-01T00:00:00Z",
        "maxConcurrency": 1,
        **typed,
    }
    call = {
        "pipelineReference": {"referenceName": "main", "type": "PipelineReference"},
        "parameters": typed.pop("parameters", {}),
    }
    properties.pop("parameters", None)
    return {
        "trigger/t.json": {
            "name": "t",
            "properties": {"type": "TumblingWindowTrigger", "pipeline": call, "typeProperties": properties},
        }
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frequency": "Day"}, "Azure does not know 'Day'"),
        ({"maxConcurrency": 51}, "51 is above 50"),
        ({"startTime": "2026-11-01T00:00:00"}, "must be UTC"),
        ({"startTime": "tomorrow"}, "is not a date-time"),
        ({"frequency": "Minute", "interval": 3}, "at least 5 minutes"),
        (
            {"dependsOn": [{"type": "SelfDependencyTumblingWindowTriggerReference", "offset": "1.00:00:00"}]},
            "its offset is negative",
        ),
        ({"endTime": "2026-11-01T00:00:00Z"}, "endTime: is not after startTime"),
        (
            {
                "dependsOn": [
                    {
                        "type": "TumblingWindowTriggerDependencyReference",
                        "referenceTrigger": {"referenceName": "t", "type": "TriggerReference"},
                    }
                ]
            },
            "dependsOn[0]: a trigger waits for its own windows by SelfDependency",
        ),
        (
            {"parameters": {"x": "@trigger().outputs.windowStart"}},
            "of a TumblingWindowTrigger has no 'windowStart'; did you mean",
        ),
        ({"parameters": {"x": "@trigger().outptus.windowStartTime"}}, "has no 'outptus'; did you mean 'outputs'?"),
        ({"parameters": {"x": 1}}, "pipeline 'main' has no parameter 'x'"),
        ({"parameters": {"x": "@variables('v')"}}, "variables() does not exist in a trigger"),
        ({"colour": 1}, "property 'colour' is in none of Azure's published models"),
    ],
)
def test_triggers_that_azure_refuses_are_found(change: dict[str, Any], said: str) -> None:
    assert any(said in text for text in messages(pipeline([WAIT]) | trigger(**change)))


def schedule(recurrence: dict[str, Any], given: str = "@trigger().scheduledTime") -> Documents:
    call = {"pipelineReference": {"referenceName": "main", "type": "PipelineReference"}, "parameters": {"at": given}}
    full = {"frequency": "Month", "interval": 1, "startTime": "2026-01-05T03:30:00Z", **recurrence}
    body = {"type": "ScheduleTrigger", "pipelines": [call], "typeProperties": {"recurrence": full}}
    main = pipeline([WAIT], parameters={"at": {"type": "string"}})
    return {**main, "trigger/t.json": {"name": "t", "properties": body}}


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (schedule({"timeZone": "Europe/Paris"}), "timeZone: 'Europe/Paris' is not a Windows time-zone name"),
        (schedule({"timeZone": "W. Europe Standart Time"}), "did you mean 'W. Europe Standard Time'?"),
        (schedule({}, "@trigger().outputs.windowStartTime"), "trigger() of a ScheduleTrigger has no 'outputs'"),
        (schedule({}, "@trigger().sheduledTime"), "has no 'sheduledTime'; did you mean 'scheduledTime'?"),
        (schedule({"endTime": "2026-01-05T03:30:00Z"}), "endTime: is not after startTime"),
        (schedule({"schedule": {"monthDays": [1, 0]}}), "recurrence.schedule.monthDays: 0 is not a day"),
        (schedule({"schedule": {"monthlyOccurrences": [{"day": "Friday", "occurrence": 0}]}}), "occurrence: 0 is none"),
        (
            schedule({"frequency": "Day", "schedule": {"weekDays": ["Friday"]}}),
            "weekDays: goes with the frequency Week",
        ),
        (schedule({"frequency": "Year", "schedule": {"monthDays": [1]}}), "goes with the frequency Month, not Year"),
        (schedule({"frequency": "Second"}), "Azure does not know 'Second'"),
    ],
)
def test_schedules_that_azure_refuses_are_found(documents: Documents, said: str) -> None:
    assert said in only(documents)


@pytest.mark.parametrize(
    "recurrence",
    [
        {},
        {"timeZone": "UTC"},
        {"timeZone": "W. Europe Standard Time", "endTime": "2027-01-01T00:00:00"},
        {"frequency": "Year"},
    ],
)
def test_sound_schedules_have_no_findings(recurrence: dict[str, Any]) -> None:
    assert [found for found in messages(schedule(recurrence)) if "trigger/" in found] == []


def holding(activities: str) -> str:
    return '{"name": "main", "properties": {"activities": ' + activities + "}}"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "3", '{"name": 1}', '{"a": 1, "a": 2}', '{"a": NaN}', "\ud83d", holding("{}"),
        holding('[null, 3, {"name": "A"}, {"name": "A", "type": "ForEach", "typeProperties": []}]'),
        holding('[{"name": "A", "type": "Switch", "typeProperties": {"on": 1, "cases": [null, {"value": []}]}}]'),
        holding('[{"name": "A", "type": "Copy", "typeProperties": {"source": {"type": []}, "sink": 1}, "inputs": [1]}]'),
        holding('[{"name": "A", "type": "Wait", "dependsOn": [{"activity": []}], "typeProperties": {"waitTimeInSeconds": {}}}]'),
        '{"name": "main", "properties": {"parameters": [], "variables": 3, "activities": []}}',
    ],
)  # fmt: skip
def test_broken_files_are_findings_and_never_a_crash(tmp_path: Path, text: str) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "main.json").write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(InvalidFactory) as caught:
        load_factory(tmp_path)

    assert caught.value.findings
    assert caught.value.hint


def test_check_prints_findings_and_exits_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "main.json").write_text(
        json.dumps(pipeline([{**WAIT, "dependsOn": after("Nobody")}])["pipeline/main.json"])
    )

    code = check_main([str(tmp_path)])

    assert code == 1
    assert (
        capsys.readouterr().out
        == f"error   {tmp_path}/pipeline/main.json: activities[0] 'W' dependsOn[0]: no activity 'Nobody' beside it\n"
    )

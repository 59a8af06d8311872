"""Factories that others wrote: which findings are errors, what is only not run here, and what of them runs all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from factory_support import (
    Documents,
    activity,
    after,
    dataset,
    expression,
    linked_service,
    pipeline,
    set_variable,
    to,
)

from adf_runner import InvalidFactory, InvalidOverride, UnknownPipeline, factory_from_documents, read_factory
from adf_runner.errors import Finding
from adf_runner.factory.reading import read_documents
from adf_runner.lint.lint import findings
from adf_runner.testing import run
from cli.adf import main as adf

WAIT = activity("W", "Wait", {"waitTimeInSeconds": 600})
TEXT = {"v": {"type": "String"}}
SQL = linked_service("sql", "AzureMySql", {"connectionString": "Server=x"}) | dataset(
    "table", "AzureMySqlTable", "sql", {"table": "t"}
)
LAKE = linked_service(
    "lake", "AzureBlobFS", {"url": "https://x.dfs.core.windows.net", "encryptedCredential": "abc"}
) | dataset(
    "file",
    "DelimitedText",
    "lake",
    {
        "location": {"type": "AzureBlobFSLocation", "fileSystem": "f", "fileName": "a.csv"},
        "columnDelimiter": ",",
        "escapeChar": "\\",
        "firstRowAsHeader": True,
        "quoteChar": '"',
        "compressionCodec": "none",
    },
    schema=[],
)
LOAD = activity(
    "Load",
    "Copy",
    {
        "source": {
            "type": "DelimitedTextSource",
            "storeSettings": {
                "type": "AzureBlobFSReadSettings",
                "recursive": True,
                "enablePartitionDiscovery": False,
                "maxConcurrentConnections": 2,
            },
            "formatSettings": {"type": "DelimitedTextReadSettings"},
        },
        "sink": {"type": "AzureMySqlSink", "writeBatchSize": 10000},
        "enableStaging": False,
        "parallelCopies": 4,
        "dataIntegrationUnits": 2,
        "translator": {
            "type": "TabularTranslator",
            "mappings": [
                {
                    "source": {"name": "a", "type": "String", "physicalType": "String", "ordinal": 1},
                    "sink": {"name": "a", "type": "String", "physicalType": "nvarchar"},
                }
            ],
            "typeConversion": True,
        },
    },
    inputs=[to("file")],
    outputs=[to("table")],
)


def found(documents: Documents, *kinds: str) -> list[Finding]:
    return [
        each for each in findings(read_documents(dict(documents), "adf", [])) if each.kind in (kinds or (each.kind,))
    ]


def write(folder: Path, documents: Documents) -> Path:
    for name, document in documents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    return folder


def test_a_connector_that_is_not_run_gives_one_line_however_often_it_is_used() -> None:
    documents = SQL | LAKE | pipeline([LOAD, WAIT | {"dependsOn": after("Load")}])

    assert [str(each) for each in found(documents)] == [
        "adf/linkedService/sql.json: type: linked service type 'AzureMySql' is not run here"
    ]


def test_an_activity_that_is_not_run_stays_in_its_place() -> None:
    flow = activity("Flow", "ExecuteDataFlow", {"dataflow": {"referenceName": "f", "type": "DataFlowReference"}})
    documents = pipeline([flow, WAIT | {"dependsOn": after("Flow")}])

    assert [(each.kind, each.path) for each in found(documents)] == [("not run", "activities[0] 'Flow' type")]


def test_a_slip_in_a_name_is_an_error_and_a_name_that_nobody_knows_is_not_run() -> None:
    slip = activity("W", "Wait", {"waitTimeInSecond": 1})
    unknown = activity("W", "Wait", {"waitTimeInSeconds": 1, "mood": "good"})

    assert {each.kind for each in found(pipeline([slip]))} == {"error"}
    assert [each.kind for each in found(pipeline([unknown]))] == ["not run"]


def test_what_azure_reads_in_any_case_is_no_error() -> None:
    flow = activity("Flow", "ExecuteDataFlow", {"dataFlow": {"referenceName": "f", "type": "DataFlowReference"}})

    assert [each.kind for each in found(pipeline([flow], variables={"n": {"type": "Integer"}}))] == [
        "not run",
        "advice",
    ]


def test_a_secret_in_a_file_is_advice_and_the_run_uses_it() -> None:
    inline = linked_service(
        "app", "AzureFunction", {"functionAppUrl": "https://x", "functionKey": {"type": "SecureString", "value": "k"}}
    )

    assert {each.kind for each in found(inline)} == {"advice"}


def test_files_that_are_no_factorys_are_passed_over_and_a_slip_in_a_folder_is_advice(tmp_path: Path) -> None:
    folder = write(tmp_path, pipeline([WAIT]) | {"pipelines/a.json": {}, "docs/b.json": {}, "dataflow/f.json": {}})
    (folder / "README.md").write_text("text")

    said = [(each.kind, each.message) for each in findings(read_factory(folder))]
    assert said == [("advice", "'pipelines' is not a folder of a factory; did you mean 'pipeline'?")]


def test_a_pipeline_loads_though_another_one_cannot_run() -> None:
    other = {"pipeline/other.json": {"name": "other", "properties": {"activities": [LOAD]}}}
    documents = SQL | LAKE | other | pipeline([WAIT])

    with pytest.raises(InvalidFactory):
        factory_from_documents(documents)
    assert factory_from_documents(documents, pipelines=["main"]).pipelines
    with pytest.raises(InvalidFactory, match="AzureMySql"):
        factory_from_documents(documents, pipelines=["other"])
    with pytest.raises(UnknownPipeline):
        factory_from_documents(documents, pipelines=["mian"])


def test_what_a_pipeline_calls_belongs_to_it() -> None:
    call = activity(
        "Call",
        "ExecutePipeline",
        {"pipeline": {"referenceName": "inner", "type": "PipelineReference"}, "waitOnCompletion": True},
    )
    inner = {"pipeline/inner.json": {"name": "inner", "properties": {"activities": [LOAD]}}}

    with pytest.raises(InvalidFactory):
        factory_from_documents(SQL | LAKE | inner | pipeline([call]), pipelines=["main"])


def test_a_scripted_outcome_stands_for_an_activity_that_is_not_run_here(tmp_path: Path) -> None:
    count = set_variable(
        "Count", "v", expression("@string(activity('Load').output.rowsCopied)"), dependsOn=after("Load")
    )
    folder = write(tmp_path, SQL | LAKE | pipeline([LOAD, count], variables=TEXT))

    done = run(folder, "main", outcomes={"Load": {"output": {"rowsCopied": 3}}})

    assert done.status == "Succeeded", done.message
    assert done.find("Count").output == {"name": "v", "value": "3"}


def test_a_scripted_error_takes_the_failure_path_and_its_message_is_readable(tmp_path: Path) -> None:
    alarm = set_variable("Alarm", "v", expression("@activity('Load').error.message"), dependsOn=after("Load", "Failed"))
    folder = write(tmp_path, SQL | LAKE | pipeline([LOAD, alarm], variables=TEXT))

    done = run(folder, "main", outcomes={"main/Load": {"error": {"message": "no server", "errorCode": "17"}}})

    assert done.find("Alarm").output["value"] == "no server"
    assert done.find("Load").error["errorCode"] == "17"


def test_outcomes_follow_each_other_and_the_last_stays(tmp_path: Path) -> None:
    look = activity("Look", "WebActivity", {"method": "GET", "url": "https://nowhere.example"})
    until = activity(
        "Until",
        "Until",
        {"expression": expression("@equals(activity('Look').output.state, 'done')"), "activities": [look]},
    )
    after_it = set_variable("State", "v", expression("@activity('Look').output.state"), dependsOn=after("Until"))
    folder = write(tmp_path, pipeline([until, after_it], variables=TEXT))

    done = run(folder, "main", outcomes={"Look": [{"output": {"state": "busy"}}, {"output": {"state": "done"}}]})

    assert done.find("Until").output == {"iterations": 2}
    assert done.find("State").output["value"] == "done", "what ran inside an Until can be read after it"


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ({"Lod": {"output": {}}}, "no activity 'Lod'; did you mean 'Load'?"),
        ({"Load": {"result": 1}}, "must be an object with 'output' or 'error'"),
        ({"Load": {"error": {"errorCode": "1"}}}, "needs a message"),
        ({"Load": {"output": [1]}}, "must be an object"),
        ({"Load": []}, "empty list"),
    ],
)
def test_outcomes_that_make_no_sense_are_refused(tmp_path: Path, outcomes: dict[str, Any], said: str) -> None:
    folder = write(tmp_path, pipeline([WAIT | {"name": "Load"}]))

    with pytest.raises(InvalidOverride) as caught:
        run(folder, "main", outcomes=outcomes)
    assert said in str(caught.value)
    assert caught.value.hint


def test_waiting_takes_no_time_and_the_clock_moves(tmp_path: Path) -> None:
    clock = set_variable("Now", "v", expression("@utcNow('yyyy-MM-ddTHH:mm')"), dependsOn=after("W"))
    folder = write(tmp_path, pipeline([WAIT, clock], variables=TEXT))

    done = run(folder, "main", at="2026-02-28T23:55:00Z")

    assert done.find("Now").output["value"] == "2026-03-01T00:05"
    assert done.seconds < 60


def test_global_parameters_may_come_from_overrides_where_no_file_declares_them(tmp_path: Path) -> None:
    use = set_variable("Use", "v", expression("@pipeline().globalParameters.stage"))
    folder = write(tmp_path, pipeline([use], variables=TEXT))

    with pytest.raises(InvalidFactory, match="no file in factory/ declares"):
        run(folder, "main")
    assert run(folder, "main", global_parameters={"stage": "dev"}).find("Use").output["value"] == "dev"


def event_factory(folder: Path) -> Path:
    trigger = {
        "name": "arrived",
        "properties": {
            "type": "BlobEventsTrigger",
            "pipelines": [
                {
                    "pipelineReference": {"referenceName": "main", "type": "PipelineReference"},
                    "parameters": {"file": "@triggerBody().fileName", "folder": "@trigger().outputs.body.folderPath"},
                }
            ],
            "typeProperties": {"scope": "/subscriptions/x", "events": ["Microsoft.Storage.BlobCreated"]},
        },
    }
    name = set_variable(
        "Name", "v", expression("@concat(pipeline().parameters.folder, '|', pipeline().parameters.file)")
    )
    parameters = {"file": {"type": "string"}, "folder": {"type": "string"}}
    return write(folder, pipeline([name], variables=TEXT, parameters=parameters) | {"trigger/arrived.json": trigger})


def test_an_event_starts_what_its_trigger_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = event_factory(tmp_path / "adf"), tmp_path / "out.json"

    code = adf(["run", str(folder), "--trigger", "arrived", "--event", "in/2026/a.csv", "--json", str(out)])

    assert code == 0, capsys.readouterr()
    assert json.loads(out.read_text())[0]["parameters"] == {"file": "a.csv", "folder": "in/2026"}


def test_a_slip_in_an_events_body_is_found(tmp_path: Path) -> None:
    folder = event_factory(tmp_path)
    file = folder / "trigger" / "arrived.json"
    file.write_text(file.read_text().replace("().fileName", "().filename2"))

    assert any(
        "triggerBody() of a BlobEventsTrigger has no 'filename2'" in each.message
        for each in findings(read_factory(folder))
    )


def test_adf_run_takes_its_overrides_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "adf", SQL | LAKE | pipeline([LOAD, WAIT], parameters={"day": {"type": "string"}}))
    overrides = tmp_path / "overrides.json"
    overrides.write_text(json.dumps({"outcomes": {"Load": {"output": {"rowsCopied": 1}}}, "at": "2026-11-21"}))

    assert adf(["run", str(folder), "main", "--param", "day=x", "--overrides", str(overrides)]) == 0
    assert "main succeeded" in capsys.readouterr().out


def test_a_number_given_for_a_text_parameter_stays_text(tmp_path: Path) -> None:
    value = expression("@concat(pipeline().parameters.day, '!')")
    folder = write(
        tmp_path / "adf",
        pipeline([set_variable("S", "v", value)], parameters={"day": {"type": "string"}}, variables=TEXT),
    )

    assert adf(["run", str(folder), "main", "--param", "day=20261121"]) == 0


def test_the_query_of_an_address_is_in_no_message(tmp_path: Path) -> None:
    call = activity("Call", "WebActivity", {"method": "GET", "url": "http://127.0.0.1:9/x?sig=abc"})
    folder = write(tmp_path / "adf", pipeline([call]))

    night = run(folder, "main")

    assert "http://127.0.0.1:9/x cannot be called" in night.message
    assert "abc" not in night.message


def test_a_file_that_is_nested_too_deep_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "adf", pipeline([WAIT]))
    (folder / "pipeline" / "deep.json").write_text("[" * 100_000)

    assert adf(["check", str(folder)]) == 1
    assert "nested too deep" in capsys.readouterr().out


def test_a_folder_without_a_factory_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("the factory is elsewhere")

    assert adf(["check", str(tmp_path)]) == 1
    assert "holds no factory" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"colour": 1}', '{"at": "soon"}', '{"waiting": "no"}', '{"outcomes": []}']
)
def test_overrides_that_make_no_sense_are_refused_before_anything_runs(tmp_path: Path, text: str) -> None:
    folder, file = write(tmp_path / "adf", pipeline([WAIT])), tmp_path / "overrides.json"
    file.write_text(text)

    with pytest.raises(InvalidOverride) as caught:
        adf(["run", str(folder), "main", "--overrides", str(file)])
    assert caught.value.hint


def test_check_exits_one_for_errors_only_and_strict_for_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = write(tmp_path / "sound", SQL | LAKE | pipeline([LOAD]))
    broken = write(tmp_path / "broken", pipeline([WAIT | {"dependsOn": after("Nobody")}]))

    assert adf(["check", str(sound)]) == 0
    assert adf(["check", str(sound), "--strict"]) == 1
    assert adf(["check", str(broken)]) == 1
    assert "1 error" in capsys.readouterr().err


def test_check_speaks_json_github_and_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, log = write(tmp_path / "adf", SQL | LAKE | pipeline([LOAD])), tmp_path / "log.sarif"

    adf(["check", str(folder), "--json"])
    assert [item["kind"] for item in json.loads(capsys.readouterr().out)] == ["not run"]
    adf(["check", str(folder), "--github"])
    assert capsys.readouterr().out.startswith(f"::notice file={folder}/linkedService/sql.json::type: linked service")
    adf(["check", str(folder), "--sarif", str(log)])
    (result,) = json.loads(log.read_text())["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("not-run", "note")


def test_variables_set_in_a_parallel_loop_and_calls_that_do_not_say_whether_they_wait_get_advice() -> None:
    inner = set_variable("Set", "v", "x")
    loop = activity("Loop", "ForEach", {"items": expression("@range(1,2)"), "activities": [inner]})
    call = activity("Call", "ExecutePipeline", {"pipeline": {"referenceName": "main", "type": "PipelineReference"}})
    messages = [each.message for each in found(pipeline([loop], variables=TEXT), "advice")]

    assert any("share the variable" in message for message in messages)
    other = {"pipeline/other.json": {"name": "other", "properties": {"activities": [call]}}}
    assert any("waitOnCompletion" in each.message for each in found(pipeline([WAIT]) | other, "advice"))


def test_references_are_found_in_any_case(tmp_path: Path) -> None:
    call = activity(
        "Call",
        "ExecutePipeline",
        {"pipeline": {"referenceName": "Inner", "type": "PipelineReference"}, "waitOnCompletion": True},
    )
    inner = {"pipeline/inner.json": {"name": "inner", "properties": {"activities": [WAIT]}}}
    folder = write(tmp_path, inner | pipeline([call]))

    assert [each.kind for each in findings(read_factory(folder))] == []
    assert run(folder, "MAIN").status == "Succeeded"


def test_a_misspelt_pipeline_of_a_sound_factory_is_refused_before_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, pipeline([WAIT]))

    with pytest.raises(UnknownPipeline, match="did you mean 'main'"):
        adf(["run", str(folder), "mian"])
    assert capsys.readouterr().out == ""

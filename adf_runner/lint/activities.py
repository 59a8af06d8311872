"""Activities, one by one: what each refers to, and the rules of its kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from adf_runner.errors import ActivityFailed, Finding
from adf_runner.factory import subset
from adf_runner.factory.model import Activity, Dataset, Factory, Pipeline
from adf_runner.factory.shapes import is_dynamic, nearest
from adf_runner.lint.order import finding, nesting, order, place
from adf_runner.lint.references import arguments, name_rules, objects, reference
from adf_runner.lint.types import variable
from adf_runner.stores.delimited import Layout

ACTIVITY_NAME_LIMIT, SWITCH_CASES_LIMIT, SHORTEST_RETRY_SECONDS = 55, 25, 30
SQL_TABLES = ("AzureSqlTable", "AzureSqlMITable", "SqlServerTable")
TABLES = {"AzurePostgreSqlTable", *SQL_TABLES}
TABLE_FIELDS = {"structure", "columnCount", "exists"}
LAYOUT_KEYS = set(subset.DATASETS["DelimitedText"]) - {"location"}
LOCATION_SERVICES = {
    "AzureBlobStorageLocation": "AzureBlobStorage", "AzureBlobFSLocation": "AzureBlobFS", "SftpLocation": "Sftp",
    "HttpServerLocation": "HttpServer",
}  # fmt: skip
LOCATION_READS = {
    "AzureBlobStorageLocation": "AzureBlobStorageReadSettings",
    "AzureBlobFSLocation": "AzureBlobFSReadSettings",
    "SftpLocation": "SftpReadSettings",
    "HttpServerLocation": "HttpReadSettings",
}
LOCATION_WRITES = {
    "AzureBlobStorageLocation": "AzureBlobStorageWriteSettings",
    "AzureBlobFSLocation": "AzureBlobFSWriteSettings",
    "SftpLocation": "SftpWriteSettings",
}


def layout(file: str, path: str, dataset: Dataset, settings: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Find a layout of delimited text that Copy refuses, where constants alone make it."""
    given = {key: value for key, value in dataset.properties.items() if key in LAYOUT_KEYS}
    values = [*given.values(), (settings or {}).get("quoteAllText", False)]
    if dataset.type != "DelimitedText" or any(
        is_dynamic(value) or not isinstance(value, (str, bool)) for value in values
    ):
        return
    if given.get("encodingName", "UTF-8") not in subset.ENCODINGS:
        return
    try:
        Layout.of(given, settings)
    except ActivityFailed as error:
        yield Finding(file=file, path=path, message=error.message)


def pipeline_findings(factory: Factory, pipeline: Pipeline) -> Iterator[Finding]:
    """Yield the findings of one pipeline and of all its activities."""
    yield from name_rules(pipeline.file, pipeline.name)
    if not pipeline.document.get("activities"):
        yield Finding(file=pipeline.file, path="activities", message="a pipeline needs at least one activity")
    seen: dict[str, Activity] = {}
    for activity in pipeline.walk():
        other = seen.setdefault(activity.name.lower(), activity)
        if other is not activity:
            yield finding(activity, "name", f"{activity.name!r} stands twice in this pipeline (also {other.path})")
        yield from _activity(factory, pipeline, activity)
    yield from order(factory, pipeline.activities, loop="")
    yield from nesting(pipeline.activities, ())


def _activity(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:
    for broken in name_rules(activity.file, activity.name, ACTIVITY_NAME_LIMIT):
        yield finding(activity, "name", broken.message)
    properties, kind = activity.properties, subset.ACTIVITIES.get(activity.type)
    if activity.linked_service:
        yield from reference(
            activity.file, place(activity, "linkedServiceName"), activity.linked_service, factory.linked_services,
            "linked service", kind.linked_service if kind else (),
        )  # fmt: skip
    interval = activity.policy.get("retryIntervalInSeconds")
    if isinstance(interval, int) and interval < SHORTEST_RETRY_SECONDS and not isinstance(interval, bool):
        message = f"{interval} is below {SHORTEST_RETRY_SECONDS}, the least that Azure documents"
        yield finding(activity, "policy.retryIntervalInSeconds", message, kind="advice")
    references = [(f"inputs[{index}]", item) for index, item in enumerate(activity.inputs)]
    references += [(f"outputs[{index}]", item) for index, item in enumerate(activity.outputs)]
    references += [("dataset", properties["dataset"])] if "dataset" in properties else []
    for path, item in references:
        yield from reference(activity.file, place(activity, path), item, factory.datasets, "dataset")
    for path, value in objects(activity.own_properties, ""):
        if value.get("type") == "AzureKeyVaultSecret":
            yield from reference(
                activity.file, place(activity, f"{path}.store"), value.get("store"), factory.linked_services, "linked service",
                ["AzureKeyVault"],
            )  # fmt: skip
    check = {"ExecutePipeline": _execute_pipeline, "SetVariable": _variable, "AppendVariable": _variable, "Copy": _copy,
             "Lookup": _looks, "GetMetadata": _looks, "Delete": _looks, "Validation": _looks, "WebActivity": _web,
             "Script": _script,
             "AzureFunctionActivity": _web, "Switch": _switch, "ForEach": _for_each}.get(activity.type)  # fmt: skip
    if check is not None:
        yield from check(factory, pipeline, activity)


def _execute_pipeline(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    call = activity.properties.get("pipeline")
    name = call.get("referenceName") if isinstance(call, Mapping) else None
    if not isinstance(name, str):
        return
    if name not in factory.pipelines:
        yield finding(activity, "pipeline", f"no pipeline {name!r}{nearest(name, list(factory.pipelines))}")
        return
    if "waitOnCompletion" not in activity.properties:
        message = "waitOnCompletion is left out: Data Factory then goes on at once; write true or false"
        yield finding(activity, "", message, kind="advice")
    given = activity.properties.get("parameters") or {}
    if isinstance(given, Mapping):
        where = place(activity, "parameters")
        yield from arguments(activity.file, where, given, factory.pipelines[name].parameters, f"pipeline {name!r}")


def _variable(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    name = activity.properties.get("variableName")
    if activity.properties.get("setSystemVariable") is True:
        if name != "pipelineReturnValue":
            yield finding(activity, "variableName", "with setSystemVariable true it must be 'pipelineReturnValue'")
        yield from _return_values(activity, activity.properties.get("value"), "value")
        return
    if not isinstance(name, str):
        return
    if name not in pipeline.variables:
        yield finding(activity, "variableName", f"no variable {name!r}{nearest(name, list(pipeline.variables))}")
    elif activity.type == "AppendVariable" and pipeline.variables[name].get("type") != "Array":
        yield finding(
            activity,
            "variableName",
            f"AppendVariable needs an Array, and {name!r} is {pipeline.variables[name].get('type')}",
        )
    elif activity.type == "SetVariable":
        value = activity.properties.get("value")
        yield from variable(activity.file, place(activity, "value"), value, pipeline.variables[name], name)
    if "value" not in activity.properties:
        yield finding(activity, "", "lacks the property 'value'")


def _return_values(activity: Activity, value: Any, path: str) -> Iterator[Finding]:
    from adf_runner.factory.shapes import array, check, record, text, union

    shape = array(
        record(
            {"key": text(required=True), "value": union(subset.RETURN_TYPES, required=True, dynamic=False)},
            dynamic=False,
        )
    )
    for where, message, kind in check(value, shape, path):
        yield finding(activity, where, message, kind=kind)


def _for_each(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    if activity.properties.get("isSequential") is True or activity.properties.get("batchCount") == 1:
        return
    for inner in activity.walk():
        if inner.type == "SetVariable" and inner.properties.get("setSystemVariable") is not True:
            message = f"iterations of {activity.name!r} run at the same time and share the variable; set isSequential"
            yield finding(inner, "", message, kind="advice")


def _switch(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    if len(activity.properties.get("cases", [])) > SWITCH_CASES_LIMIT:
        yield finding(activity, "cases", f"more than {SWITCH_CASES_LIMIT} cases")
    values = [case.get("value") for case in activity.properties.get("cases", []) if isinstance(case, Mapping)]
    for index, value in enumerate(values):
        if value in values[:index]:
            yield finding(activity, f"cases[{index}].value", f"{value!r} stands twice")


def _web(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    method, body = activity.properties.get("method"), activity.properties.get("body")
    if method == "GET" and body is not None:
        yield finding(activity, "body", "GET takes no body")
    if method in {"POST", "PUT"} and body is None:
        yield finding(activity, "", f"{method} needs a body (at least '{{}}')")
    url = activity.properties.get("url")
    if isinstance(url, str) and not is_dynamic(url) and not re.match(r"https?://", url):
        yield finding(activity, "url", "must begin with https:// or http://")


def _location(factory: Factory, item: Any) -> tuple[str | None, str | None]:
    """Return type and location type of the dataset that a reference names."""
    dataset = factory.datasets.get(str(item.get("referenceName"))) if isinstance(item, Mapping) else None
    if dataset is None:
        return None, None
    location = dataset.properties.get("location")
    return dataset.type, location.get("type") if isinstance(location, Mapping) else None


def _datasets_of(end: Any) -> tuple[str, ...]:
    """Return the dataset types that a source or sink goes with; those of the first version take any SQL Server's table."""
    kind = str(end.get("type")) if isinstance(end, Mapping) else ""
    if kind in {"SqlSource", "SqlSink"}:
        return SQL_TABLES
    return (subset.DATASET_OF[kind],) if kind in subset.DATASET_OF else ()


def _script(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    service = factory.linked_services.get(str((activity.linked_service or {}).get("referenceName")))
    blocks = activity.properties.get("scripts")
    if service is None or service.type != "AzurePostgreSql" or not isinstance(blocks, list):
        return
    for index, block in enumerate(blocks):
        if isinstance(block, Mapping) and block.get("parameters"):
            message = "script parameters are not run on PostgreSQL here; write their values with @{...}"
            yield finding(activity, f"scripts[{index}].parameters", message, kind="not run")


def _looks(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    kind, location = _location(factory, activity.properties.get("dataset"))
    source = activity.properties.get("source")
    wanted = _datasets_of(source)
    if isinstance(source, Mapping) and kind and wanted and kind not in wanted:
        message = f"{source['type']} reads {' or '.join(wanted)}, and the dataset is {kind}"
        yield finding(activity, "source.type", message)
    holder, prefix = (source, "source.") if isinstance(source, Mapping) else (activity.properties, "")
    yield from _settings(activity, holder, f"{prefix}storeSettings", location, LOCATION_READS)
    if activity.type == "GetMetadata" and kind:
        yield from _fields(activity, kind)
    elif activity.type in {"Delete", "Validation"} and kind in TABLES:
        yield finding(activity, "dataset", f"{activity.type} looks at files, and the dataset is a table")


def _fields(activity: Activity, kind: str) -> Iterator[Finding]:
    """Find what GetMetadata asks of a table that only files have, and the other way round."""
    if kind == "AzurePostgreSqlTable":
        yield finding(activity, "dataset", "GetMetadata looks at files, and the dataset is a table")
        return
    asked = activity.properties.get("fieldList")
    for index, field in enumerate(asked if isinstance(asked, list) else []):
        if kind in TABLES and isinstance(field, str) and not is_dynamic(field) and field not in TABLE_FIELDS:
            yield finding(activity, f"fieldList[{index}]", f"a table has no {field}")
        elif kind not in TABLES and field in TABLE_FIELDS - {"exists"}:
            yield finding(activity, f"fieldList[{index}]", f"{field} of a file is not read here", kind="not run")


def _settings(
    activity: Activity, holder: Mapping[str, Any], path: str, location: str | None, wanted: Mapping[str, str]
) -> Iterator[Finding]:
    settings = holder.get("storeSettings")
    needed = wanted.get(location or "")
    if isinstance(settings, Mapping) and needed and settings.get("type") != needed:
        message = f"must be {needed}, as the dataset's location is {location}"
        yield finding(activity, f"{path}.type", message)


def _translator(activity: Activity) -> Iterator[Finding]:
    translator = activity.properties.get("translator")
    if (
        isinstance(translator, Mapping)
        and "typeConversionSettings" in translator
        and translator.get("typeConversion") is not True
    ):
        yield finding(activity, "translator", "typeConversionSettings have no effect without typeConversion true")


def _copy(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    ends = (
        ("source", "inputs", activity.inputs, LOCATION_READS),
        ("sink", "outputs", activity.outputs, LOCATION_WRITES),
    )
    kinds = []
    yield from _translator(activity)
    for key, items_name, items, wanted in ends:
        if len(items) != 1:
            yield finding(activity, items_name, "Copy takes exactly one dataset")
            continue
        end = activity.properties.get(key)
        if not isinstance(end, Mapping):
            continue
        kind, location = _location(factory, items[0])
        kinds.append(str(end.get("type")))
        suited = _datasets_of(end)
        if kind and suited and kind not in suited:
            message = f"{end['type']} goes with {' or '.join(suited)}, and the dataset is {kind}"
            yield finding(activity, f"{key}.type", message)
        yield from _settings(activity, end, f"{key}.storeSettings", location, wanted)
        settings = end.get("formatSettings")
        if key == "sink" and isinstance(settings, Mapping) and settings.get("quoteAllText") is True:
            dataset = factory.datasets.get(str(items[0].get("referenceName")))
            if dataset is not None and not list(layout("", "", dataset)):
                yield from layout(activity.file, place(activity, "sink.formatSettings"), dataset, settings)
        if key == "sink" and location == "HttpServerLocation":
            yield finding(activity, "outputs[0]", "an HTTP server is a source only")
    if sum(kind.startswith("Binary") for kind in kinds) == 1 and len(kinds) == 2:
        yield finding(activity, "sink.type", "Binary pairs only with Binary")

"""What Azure or good sense would refuse in a factory, found before anything runs.

Reading (model.py) has checked each file by itself; this module looks at the whole: references, declarations, order,
nesting, limits, secrets, and failure paths that would turn a failed run green. Expressions are in lint_expressions.py.
A finding that blocks would make a run wrong; the rest is advice that only `./sealift adf check` shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from local.factory import subset
from local.factory.delimited import Layout
from local.factory.errors import ActivityError, Finding
from local.factory.lint_expressions import strings
from local.factory.lint_order import finding, nesting, order, pipeline_cycles, place
from local.factory.lint_types import argument, lint_types, variable
from local.factory.model import Activity, Dataset, Factory, Pipeline
from local.factory.shapes import is_dynamic, is_expression_object, nearest

PIPELINE_NAME_LIMIT, ACTIVITY_NAME_LIMIT, SWITCH_CASES_LIMIT = 140, 55, 25
FORBIDDEN_IN_NAMES = set(".+?/<>*%&:\\")
SECRET_TEXT = re.compile(
    r"(AccountKey=|SharedAccessSignature=|[?&]sig=[A-Za-z0-9%/+]{20}|password=[^;@\s]|-----BEGIN [A-Z ]*PRIVATE KEY)",
    re.IGNORECASE,
)
LAYOUT_KEYS = set(subset.DATASETS["DelimitedText"]) - {"location"}
LOCATION_SERVICES = {
    "AzureBlobStorageLocation": "AzureBlobStorage", "SftpLocation": "Sftp", "HttpServerLocation": "HttpServer"
}  # fmt: skip
LOCATION_READS = {
    "AzureBlobStorageLocation": "AzureBlobStorageReadSettings",
    "SftpLocation": "SftpReadSettings",
    "HttpServerLocation": "HttpReadSettings",
}
LOCATION_WRITES = {"AzureBlobStorageLocation": "AzureBlobStorageWriteSettings", "SftpLocation": "SftpWriteSettings"}


def lint(factory: Factory) -> list[Finding]:
    """Return every finding, in the order of files and places."""
    from local.factory.lint_expressions import lint_expressions
    from local.factory.lint_triggers import lint_triggers

    findings = [*_services(factory), *_datasets(factory), *_unused(factory)]
    for pipeline in factory.pipelines.values():
        findings += _pipeline(factory, pipeline)
        findings += lint_expressions(factory, pipeline)
    findings += lint_triggers(factory)
    findings += lint_types(factory)
    findings += pipeline_cycles(factory)
    findings += _secrets(factory)
    findings += _near_expressions(factory)
    return sorted(findings, key=lambda finding: finding.file)


# References


def reference(
    file: str, path: str, value: Any, known: Mapping[str, Any], what: str, types: Sequence[str] = ()
) -> Iterator[Finding]:
    """Check that a reference leads somewhere, to the right type, with the parameters that stand there."""
    if not isinstance(value, Mapping) or not isinstance(value.get("referenceName"), str):
        return
    name = value["referenceName"]
    target = known.get(name)
    if target is None:
        yield Finding(file=file, path=path, message=f"no {what} {name!r}{nearest(name, list(known))}")
        return
    if types and target.type not in types:
        yield Finding(file=file, path=path, message=f"{what} {name!r} is a {target.type}, not {' or '.join(types)}")
    given = value.get("parameters") or {}
    yield from arguments(
        file, f"{path}.parameters" if path else "parameters", given, target.parameters, f"{what} {name!r}"
    )


def arguments(
    file: str, path: str, given: Mapping[str, Any], declared: Mapping[str, Mapping[str, Any]], what: str
) -> Iterator[Finding]:
    """Check given parameters against declared ones: none unknown, none missing, constants of the right type."""
    for name, value in given.items():
        if name in declared:
            yield from argument(file, f"{path}.{name}", value, declared[name], name)
        else:
            yield Finding(
                file=file,
                path=f"{path}.{name}",
                message=f"{what} has no parameter {name!r}{nearest(name, list(declared))}",
            )
    for name, declaration in declared.items():
        if name not in given and "defaultValue" not in declaration:
            yield Finding(file=file, path=path, message=f"{what} needs the parameter {name!r}")


def _services(factory: Factory) -> Iterator[Finding]:
    for service in factory.linked_services.values():
        yield from name_rules(service.file, service.name)
        for path, value in _objects(service.properties, ""):
            if value.get("type") == "AzureKeyVaultSecret":
                yield from reference(
                    service.file,
                    f"{path}.store",
                    value.get("store"),
                    factory.linked_services,
                    "linked service",
                    ["AzureKeyVault"],
                )
        if service.type == "Sftp":
            yield from _sftp(service.file, service.properties)
        yield from _unused_parameters(service.file, service.parameters, service.properties, "linkedService")


def _sftp(file: str, properties: Mapping[str, Any]) -> Iterator[Finding]:
    wanted = "password" if properties.get("authenticationType") == "Basic" else "privateKeyContent"
    if wanted not in properties:
        yield Finding(
            file=file, path="", message=f"authenticationType {properties.get('authenticationType')} needs {wanted!r}"
        )
    pinned = properties.get("hostKeyFingerprint")
    if isinstance(pinned, str) and not is_dynamic(pinned) and not subset.FINGERPRINT.fullmatch(pinned):
        yield Finding(
            file=file,
            path="hostKeyFingerprint",
            message="has neither the form 'ssh-rsa 2048 aa:bb:..' nor 'SHA256:...'",
        )


def _datasets(factory: Factory) -> Iterator[Finding]:
    for dataset in factory.datasets.values():
        yield from name_rules(dataset.file, dataset.name)
        location = dataset.properties.get("location")
        kind = location.get("type") if isinstance(location, Mapping) else None
        wanted = [LOCATION_SERVICES[kind]] if kind in LOCATION_SERVICES else ["AzurePostgreSql"]
        yield from reference(
            dataset.file, "linkedServiceName", dataset.linked_service, factory.linked_services, "linked service", wanted
        )
        yield from _layout(dataset.file, "", dataset)
        used = {**dataset.properties, "linkedServiceName": dataset.linked_service}
        yield from _unused_parameters(dataset.file, dataset.parameters, used, "dataset")


def _layout(file: str, path: str, dataset: Dataset, settings: Mapping[str, Any] | None = None) -> Iterator[Finding]:
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
    except ActivityError as error:
        yield Finding(file=file, path=path, message=error.message)


def _unused_parameters(file: str, parameters: Mapping[str, Any], value: Any, scope: str) -> Iterator[Finding]:
    from local.factory.lint_expressions import used_names

    used, dynamic = used_names(value, scope)
    for name in parameters:
        if name.lower() not in used and not dynamic:
            yield Finding(file=file, path=f"parameters.{name}", message="is declared and never used", blocking=False)


def _unused(factory: Factory) -> Iterator[Finding]:
    """Say which datasets and linked services nothing refers to."""
    referred: set[tuple[str, str]] = set()
    for relative, document in factory.documents.items():
        for _, value in _objects(document, ""):
            if isinstance(value.get("referenceName"), str) and not relative.endswith(f"/{value['referenceName']}.json"):
                referred.add((str(value.get("type")), value["referenceName"]))
    for kind, items in (("DatasetReference", factory.datasets), ("LinkedServiceReference", factory.linked_services)):
        for name, item in items.items():
            if (kind, name) not in referred:
                yield Finding(file=item.file, path="", message="nothing refers to it", blocking=False)


def _objects(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        yield path, value
        for key, item in value.items():
            yield from _objects(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _objects(item, f"{path}[{index}]")


def _near_expressions(factory: Factory) -> Iterator[Finding]:
    """Find objects that were meant as {"type": "Expression", "value": ...} and are none: they would pass as plain data."""
    for relative, document in factory.documents.items():
        for path, value in _objects(document, ""):
            if "Expression" in value.values() and not (is_expression_object(value) or "content" in value):
                message = 'is almost an expression; it must be {"value": "@...", "type": "Expression"} and nothing else'
                yield Finding(file=f"{factory.root}/{relative}", path=path.removeprefix("properties."), message=message)


def _secrets(factory: Factory) -> Iterator[Finding]:
    for relative, document in factory.documents.items():
        for path, text in strings(document, ""):
            if SECRET_TEXT.search(text):
                yield Finding(
                    file=f"{factory.root}/{relative}",
                    path=path,
                    message="looks like a secret inline; put it into Key Vault",
                )


def name_rules(file: str, name: str, limit: int = PIPELINE_NAME_LIMIT) -> Iterator[Finding]:
    if len(name) > limit:
        yield Finding(file=file, path="name", message=f"is longer than {limit} characters")
    wrong = sorted(FORBIDDEN_IN_NAMES & set(name))
    if wrong:
        yield Finding(file=file, path="name", message=f"must not hold {' '.join(wrong)}")


# Pipelines


def _pipeline(factory: Factory, pipeline: Pipeline) -> Iterator[Finding]:
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
    properties, kind = activity.properties, subset.ACTIVITIES[activity.type]
    if kind.linked_service and activity.linked_service:
        yield from reference(
            activity.file, place(activity, "linkedServiceName"), activity.linked_service, factory.linked_services,
            "linked service", kind.linked_service,
        )  # fmt: skip
    references = [(f"inputs[{index}]", item) for index, item in enumerate(activity.inputs)]
    references += [(f"outputs[{index}]", item) for index, item in enumerate(activity.outputs)]
    references += [("dataset", properties["dataset"])] if "dataset" in properties else []
    for path, item in references:
        yield from reference(activity.file, place(activity, path), item, factory.datasets, "dataset")
    for path, value in _objects({key: value for key, value in properties.items() if key not in activity.branches}, ""):
        if value.get("type") == "AzureKeyVaultSecret":
            yield from reference(
                activity.file, place(activity, f"{path}.store"), value.get("store"), factory.linked_services, "linked service",
                ["AzureKeyVault"],
            )  # fmt: skip
    check = {"ExecutePipeline": _execute_pipeline, "SetVariable": _variable, "AppendVariable": _variable, "Copy": _copy,
             "Lookup": _looks, "GetMetadata": _looks, "Delete": _looks, "Validation": _looks, "WebActivity": _web,
             "AzureFunctionActivity": _web, "Switch": _switch}.get(activity.type)  # fmt: skip
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
    from local.factory.shapes import array, check, record, text, union

    shape = array(
        record(
            {"key": text(required=True), "value": union(subset.RETURN_TYPES, required=True, dynamic=False)},
            dynamic=False,
        )
    )
    for where, message in check(value, shape, path):
        yield finding(activity, where, message)


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


def _looks(factory: Factory, pipeline: Pipeline, activity: Activity) -> Iterator[Finding]:  # noqa: ARG001
    kind, location = _location(factory, activity.properties.get("dataset"))
    source = activity.properties.get("source")
    if isinstance(source, Mapping) and kind and subset.DATASET_OF.get(str(source.get("type"))) not in {None, kind}:
        yield finding(
            activity,
            "source.type",
            f"{source['type']} reads {subset.DATASET_OF[source['type']]}, and the dataset is {kind}",
        )
    holder, prefix = (source, "source.") if isinstance(source, Mapping) else (activity.properties, "")
    yield from _settings(activity, holder, f"{prefix}storeSettings", location, LOCATION_READS)
    if activity.type in {"GetMetadata", "Delete", "Validation"} and kind == "AzurePostgreSqlTable":
        yield finding(activity, "dataset", f"{activity.type} looks at files, and the dataset is a table")


def _settings(
    activity: Activity, holder: Mapping[str, Any], path: str, location: str | None, wanted: Mapping[str, str]
) -> Iterator[Finding]:
    settings = holder.get("storeSettings")
    if isinstance(settings, Mapping) and location and settings.get("type") != wanted.get(location):
        yield finding(
            activity,
            f"{path}.type",
            f"must be {wanted.get(location, 'absent')}, as the dataset's location is {location}",
        )


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
        if kind and subset.DATASET_OF.get(str(end.get("type"))) not in {None, kind}:
            yield finding(
                activity,
                f"{key}.type",
                f"{end['type']} goes with {subset.DATASET_OF[end['type']]}, and the dataset is {kind}",
            )
        yield from _settings(activity, end, f"{key}.storeSettings", location, wanted)
        settings = end.get("formatSettings")
        if key == "sink" and isinstance(settings, Mapping) and settings.get("quoteAllText") is True:
            dataset = factory.datasets.get(str(items[0].get("referenceName")))
            if dataset is not None and not list(_layout("", "", dataset)):
                yield from _layout(activity.file, place(activity, "sink.formatSettings"), dataset, settings)
        if key == "sink" and location == "HttpServerLocation":
            yield finding(activity, "outputs[0]", "an HTTP server is a source only")
    if sum(kind.startswith("Binary") for kind in kinds) == 1 and len(kinds) == 2:
        yield finding(activity, "sink.type", "Binary pairs only with Binary")
